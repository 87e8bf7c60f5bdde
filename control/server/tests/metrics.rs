//! Metrics over TCP: what scrapers get, and what hostile ones cannot do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use control_server::testing::impatient;
use control_server::{Limits, MetricsServer, MetricsSocket, Page, scraper_limits};

/// A server whose pages say what was accepted, and how many were made.
struct Stand {
    address: SocketAddr,
    made: Arc<AtomicU64>,
    _server: MetricsServer,
}

impl Stand {
    fn up(limits: Limits, size: usize) -> Self {
        let socket = MetricsSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (address, made) = (socket.address(), Arc::<AtomicU64>::default());
        let counted = Arc::clone(&made);
        let make = Arc::new(move |accept: &str| {
            counted.fetch_add(1, Ordering::Relaxed);
            let text = format!("accepted {accept}\n{}", "x".repeat(size));
            Ok(Page { content_type: "text/plain; version=0.0.4; charset=utf-8", text: text.into() })
        });
        let server = socket.serve(make, limits).unwrap();
        Self { address, made, _server: server }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // Refused clients may be hung up on.
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    fn get(&self, path: &str, headers: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n{headers}\r\n"))
    }
}

fn quick() -> Limits {
    Limits { connections: 8, body_bytes: 0, ..impatient() }
}

#[test]
fn a_scraper_gets_a_page_for_what_it_accepts() {
    let stand = Stand::up(scraper_limits(), 0);
    let page =
        stand.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\nAccept: text/plain\r\n");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{page}");
    assert!(page.contains("accepted application/openmetrics-text;version=1.0.0,text/plain\n"), "{page}");
    assert!(stand.get("/", "").contains("Metrics are at /metrics"));
    assert!(stand.get("/v1/status", "").starts_with("HTTP/1.1 404 "), "nothing else is served there");
    let post =
        stand.ask("POST /metrics HTTP/1.1\r\nHost: relay\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    assert_eq!(stand.made.load(Ordering::Relaxed), 1);
}

#[test]
fn hostile_clients_are_turned_away_and_scrapers_served() {
    let stand = Stand::up(quick(), 0);
    let idle: Vec<TcpStream> = (0..200).map(|_| stand.connect()).collect();
    assert!(stand.get("/metrics", "").starts_with("HTTP/1.1 200 "), "the idle make room");
    // Heads that never end have half a second.
    let mut slow: Vec<TcpStream> = (0..8).map(|_| stand.connect()).collect();
    for stream in &mut slow {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ");
    }
    assert!(stand.get("/metrics", "").starts_with("HTTP/1.1 200 "));
    for mut stream in slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    }
    let body = stand.ask("GET /metrics HTTP/1.1\r\nHost: relay\r\nContent-Length: 1000000000\r\n\r\n");
    assert!(body.starts_with("HTTP/1.1 413 "), "{body}");
    let head = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert!(!stand.ask(&head).starts_with("HTTP/1.1 200 "));
    drop(idle);
    assert!(stand.get("/metrics", "").starts_with("HTTP/1.1 200 "));
}

#[test]
fn who_does_not_read_is_given_up() {
    let stand = Stand::up(quick(), 64 << 20);
    let mut stuck: Vec<TcpStream> = (0..4).map(|_| stand.connect()).collect();
    for stream in &mut stuck {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: relay\r\n\r\n").unwrap();
    }
    // They keep all places of this machine until they are given up, half a second later.
    let started = std::time::Instant::now();
    while !stand.get("/metrics", "").starts_with("HTTP/1.1 200 ") {
        assert!(started.elapsed() < Duration::from_secs(20), "their places are given to others");
        std::thread::sleep(Duration::from_millis(50));
    }
}
