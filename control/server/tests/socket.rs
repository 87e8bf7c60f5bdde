//! The socket as any client sees it, hostile ones included.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use control_api::{Code, Committed, Refusal};
use control_server::testing::{FakeRelay, impatient};
use control_server::{Limits, Server};
use serde_json::Value;
use tempfile::TempDir;

struct Lab {
    relay: Arc<FakeRelay>,
    socket: PathBuf,
    server: Option<Server>,
    _directory: TempDir,
}

impl Lab {
    fn new() -> Self {
        Self::with(impatient())
    }

    fn with(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let store = directory.path().join("mappings.db");
        let relay = FakeRelay::new(&store);
        let server = Some(relay.serve(&socket, limits).unwrap());
        Self { relay, socket, server, _directory: directory }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        // Far longer than anything takes: a test that waits so long has failed.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Status and body.
    fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = self.connect();
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        answer(&mut stream)
    }

    fn get(&self, target: &str) -> (u16, String) {
        self.ask("GET", target, "", "")
    }

    fn change(&self, headers: &str, target: &str, lines: &str) -> Result<Committed, Refusal> {
        let (status, body) = self.ask("POST", target, headers, lines);
        if status == 200 { Ok(serde_json::from_str(&body).unwrap()) } else { Err(refusal(status, &body)) }
    }

    #[track_caller]
    fn still_answers(&self) {
        assert_eq!(self.get("/v1/status").0, 200);
    }
}

/// Asks, and leaves the answer to be read.
fn begin(lab: &Lab, method: &str, target: &str) -> UnixStream {
    let mut stream = lab.connect();
    write!(stream, "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    stream
}

fn answer(stream: &mut UnixStream) -> (u16, String) {
    let mut bytes = Vec::new();
    // A peer that hangs up while we still send resets: what came before counts.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    (status, body)
}

#[track_caller]
fn refusal(status: u16, body: &str) -> Refusal {
    let refusal: Refusal =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{status} {body:?}: {error}"));
    assert_eq!(status, refusal.code.status());
    assert!(!refusal.message.is_empty() && !refusal.remedy.is_empty(), "{refusal:?}");
    refusal
}

const ADD: &str = "{\"ipv4\":\"192.0.2.1\",\"ipv6\":\"2001:db8::1\",\"comment\":\"web\"}\n";

#[test]
fn versions_and_unknown_paths_say_what_to_do() {
    let lab = Lab::new();
    let (status, body) = lab.get("/");
    let versions: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &versions["api"]["min"], &versions["api"]["max"]), (200, &1.into(), &1.into()));
    assert!(versions["build"].is_string());
    let other = lab.get("/v2/status");
    let told = refusal(other.0, &other.1);
    assert_eq!((told.code, told.api), (Code::UnsupportedApi, Some(control_api::API)));
    assert!(told.message.contains("v2") && told.message.contains("v1"), "both: {}", told.message);
    for (method, target, code) in [
        ("GET", "/v1/nothing", Code::NotFound),
        ("GET", "/v1", Code::NotFound),
        ("PUT", "/v1/status", Code::MethodNotAllowed),
        ("GET", "/v1/lookup?address=x", Code::InvalidRequest),
        ("GET", "/v1/lookup", Code::InvalidRequest),
        ("GET", "/v1/lookup?address=192.0.2.1&colour=red", Code::InvalidRequest),
        ("GET", "/v1/eam?prefix=192.0.2.77", Code::NotFound),
        ("GET", "/v1/eam?prefix=192.0.2.77/24", Code::InvalidRequest),
        ("GET", "/v1/diff?from=99", Code::NotFound),
        ("POST", "/v1/changes", Code::PreconditionRequired),
        ("POST", "/v1/commit", Code::PreconditionRequired),
    ] {
        let (status, body) = lab.ask(method, target, "", "");
        assert_eq!(refusal(status, &body).code, code, "{method} {target}");
    }
    assert_eq!(lab.get("/v1/openapi.json").1, control_server::openapi());
}

#[test]
fn a_change_is_answered_when_it_is_in_force_and_recorded_with_who_made_it() {
    let lab = Lab::new();
    let published = || lab.relay.published.load(std::sync::atomic::Ordering::Relaxed);
    let before = published();
    let committed = lab.change("if-match: \"1\"\r\n", "/v1/changes?comment=first%20one", ADD).unwrap();
    assert_eq!((committed.added, published()), (1, before + 1));
    let revision = committed.revision;
    assert_eq!((revision.uid, revision.pid), (own_uid(), std::process::id()));
    assert_eq!(revision.comment, "first one");
    let (_, list) = lab.get("/v1/eams");
    assert!(
        list.contains(
            "\"ipv4\":\"192.0.2.1/32\",\"ipv6\":\"2001:db8::1/128\",\"owner\":\"store\",\"comment\":\"web\""
        ),
        "{list}"
    );
    assert!(list.contains("\"owner\":\"file:eams.csv:3\""), "{list}");
}

fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn whoever_commits_on_an_old_view_is_told_who_was_faster() {
    let lab = Lab::new();
    lab.change("if-match: \"1\"\r\n", "/v1/changes?comment=the%20faster", ADD).unwrap();
    let other = ADD.replace("192.0.2.1", "192.0.2.2").replace("::1", "::2");
    let refused = lab.change("if-match: \"1\"\r\n", "/v1/changes", &other).unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    assert!(refused.message.contains("the faster") && refused.message.contains("uid"), "{}", refused.message);
    assert_eq!(refused.revision.as_ref().map(|revision| revision.id), Some(2));
    lab.change("if-match: \"2\"\r\n", "/v1/changes", &other).unwrap();
}

#[test]
fn a_repeated_request_is_one_commit() {
    let lab = Lab::new();
    let auto = "{\"ipv4\":\"auto\",\"ipv6\":\"2001:db8::7\"}";
    let headers = "if-match: *\r\nidempotency-key: abc\r\n";
    let first = lab.change(headers, "/v1/changes", auto).unwrap();
    let second = lab.change(headers, "/v1/changes", auto).unwrap();
    assert_eq!(first.revision.id, second.revision.id);
    assert!(!first.repeated && second.repeated);
    let (_, history) = lab.get("/v1/history");
    assert_eq!(
        serde_json::from_str::<Value>(&history).unwrap().as_array().unwrap().len(),
        2,
        "the first, and one more"
    );
}

#[test]
fn what_cannot_be_published_is_not_kept() {
    let lab = Lab::new();
    let refuse = |refuses| lab.relay.refuses.store(refuses, std::sync::atomic::Ordering::Relaxed);
    refuse(true);
    let refused = lab.change("if-match: *\r\n", "/v1/changes", ADD).unwrap_err();
    assert_eq!((refused.code, refused.message.as_str()), (Code::Refused, "the tables are full"));
    assert_eq!(lab.get("/v1/eam?prefix=192.0.2.1").0, 404);
    assert_eq!(lab.get("/v1/history").1.matches("\"id\"").count(), 1, "the first revision alone");
    refuse(false);
    lab.change("if-match: \"1\"\r\n", "/v1/changes", ADD).unwrap();
}

#[test]
fn concurrent_callers_of_auto_get_addresses_of_their_own() {
    let lab = Lab::with(Limits { connections: 64, ..Limits::default() });
    let lab = &lab;
    let got: Vec<String> = thread::scope(|scope| {
        let callers: Vec<_> = (0..16)
            .map(|number| {
                scope.spawn(move || {
                    let line = format!("{{\"ipv4\":\"auto\",\"ipv6\":\"2001:db8::{number:x}\"}}");
                    lab.change("if-match: *\r\n", "/v1/changes", &line).unwrap().allocated[0].ipv4.clone()
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    let different: std::collections::BTreeSet<_> = got.iter().collect();
    assert_eq!(different.len(), 16, "{got:?}");
    assert!(!got.iter().any(|address| address == "192.0.2.10/32"), "that of the file is taken");
}

#[test]
fn nothing_in_an_answer_is_for_the_terminal_of_who_reads_it() {
    let lab = Lab::new();
    let evil = "\\u001b[2J\\u007f\\u009b31m\\u202e";
    let turned = ADD.replace("web", "\u{202e}web");
    lab.change("if-match: *\r\n", "/v1/changes?comment=%E2%80%AEturned", &turned).unwrap();
    let body = |ipv4: &str, ipv6: &str| format!("{{\"ipv4\":\"{ipv4}\",\"ipv6\":\"{ipv6}\"}}\n");
    for (method, target, lines, wanted) in [
        ("GET", "/v1/nothing/%1b%5b2J%c2%9b31m", String::new(), 404),
        ("GET", "/v1/eam?prefix=%1b%5b2J%7f", String::new(), 400),
        ("GET", "/v1/lookup?address=%c2%9b31m", String::new(), 400),
        ("GET", "/v1/eams?owner=%1b&within=%7f", String::new(), 400),
        ("GET", "/v1/eams?%e2%80%ae=1", String::new(), 400),
        ("POST", "/v1/changes", body(evil, "2001:db8::2"), 422),
        ("POST", "/v1/changes", body(evil, "2001:db8::2") + &body("192.0.2.2", evil), 422),
        ("POST", "/v1/changes?comment=%1b%5b2J", body("192.0.2.2", "2001:db8::2"), 200),
        ("POST", "/v1/changes", format!("{{\"{evil}\":1}}\n"), 422),
        ("POST", "/v1/changes", "{\"op\":\"\u{202e}\u{9b}\"}\n".to_owned(), 422),
        ("GET", "/v1/eams", String::new(), 200),
        ("GET", "/v1/eam?prefix=192.0.2.1", String::new(), 200),
        ("GET", "/v1/history", String::new(), 200),
        ("GET", "/v1/diff?from=1&to=2", String::new(), 200),
    ] {
        let (status, answer) = lab.ask(method, target, "if-match: *\r\n", &lines);
        assert_eq!(status, wanted, "{method} {target} {lines}: {answer}");
        // Line ends are those of HTTP's chunks: JSON has none inside of its strings.
        let raw = answer.find(|mark: char| !"\r\n".contains(mark) && shown::is_obeyed(mark));
        assert_eq!(raw, None, "{method} {target}: {answer:?}");
        if status != 200 {
            let told = refusal(status, &answer);
            let texts = told.findings.iter().flat_map(|told| [&told.value, &told.message, &told.remedy]);
            for text in texts.chain([&told.message, &told.remedy]) {
                assert!(!text.contains(shown::is_obeyed), "{method} {target}: {text:?}");
            }
        }
    }
    // The comment itself is what it was.
    let eam: Value = serde_json::from_str(&lab.get("/v1/eam?prefix=192.0.2.1").1).unwrap();
    assert_eq!(eam["comment"], "\u{202e}web");
}

#[test]
fn malformed_requests_harm_nobody() {
    let lab = Lab::with(Limits { head_time: Duration::from_secs(5), ..impatient() });
    let mut number = 0_u32;
    let mut random = || {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        number >> 8
    };
    let seeds: [&[u8]; 6] = [
        b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /v1/changes HTTP/1.1\r\nhost: x\r\nif-match: *\r\ncontent-length: 5\r\n\r\n{\"op\"",
        b"POST /v1/changes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for round in 0..10_000 {
        let mut bytes = seeds[round % seeds.len()].to_vec();
        for _ in 0..random() % 4 {
            let at = random() as usize % bytes.len();
            bytes[at] = u8::try_from(random() & 0xff).unwrap();
        }
        bytes.truncate(1 + random() as usize % (bytes.len() + 20));
        let mut stream = lab.connect();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        if round % 64 == 0 {
            let _ = answer(&mut stream);
        }
    }
    lab.still_answers();
    let (_, history) = lab.get("/v1/history");
    assert_eq!(
        serde_json::from_str::<Value>(&history).unwrap().as_array().unwrap().len(),
        1,
        "none was a change"
    );
}

#[test]
fn idle_connections_keep_nobody_out_and_end() {
    let lab = Lab::new();
    let mut idle: Vec<UnixStream> = (0..1000).map(|_| lab.connect()).collect();
    lab.still_answers();
    // Half a head, and nothing more.
    for stream in idle.iter_mut().rev().take(5) {
        let _ = stream.write_all(b"GET /v1/sta");
    }
    lab.still_answers();
    for stream in &mut idle {
        let (status, _) = answer(stream);
        assert!(matches!(status, 0 | 408 | 503), "hung up: {status}");
    }
}

#[test]
fn a_body_without_end_is_refused_in_bounded_memory() {
    let lab = Lab::new();
    // Announced: refused before it comes.
    let mut stream = lab.connect();
    stream
        .write_all(
            b"POST /v1/changes HTTP/1.1\r\nhost: x\r\nif-match: *\r\ncontent-length: 1000000000\r\n\r\n",
        )
        .unwrap();
    let (status, body) = answer(&mut stream);
    assert_eq!(refusal(status, &body).code, Code::TooLarge);
    // Not announced: refused at the limit.
    let before = resident();
    let mut stream = lab.connect();
    stream
        .write_all(
            b"POST /v1/changes HTTP/1.1\r\nhost: x\r\nif-match: *\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .unwrap();
    let mut reader = stream.try_clone().unwrap();
    let line =
        format!("{{\"ipv4\":\"192.0.2.1\",\"ipv6\":\"2001:db8::1\",\"comment\":\"{}\"}}\n", "x".repeat(900));
    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
    let sent = thread::spawn(move || {
        (0..1_000_000).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count()
    });
    let (status, body) = answer(&mut reader);
    drop(reader);
    assert_eq!(refusal(status, &body).code, Code::TooLarge);
    assert!(sent.join().unwrap() < 1_000_000, "it was not read to its end");
    let grown = resident().saturating_sub(before);
    assert!(grown < 64_000_000, "{grown} bytes more");
    lab.still_answers();
}

fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn a_trickle_ends() {
    let lab = Lab::new();
    let mut stream = lab.connect();
    stream
        .write_all(b"POST /v1/changes HTTP/1.1\r\nhost: x\r\nif-match: *\r\ncontent-length: 1000\r\n\r\n")
        .unwrap();
    let started = Instant::now();
    let mut writer = stream.try_clone().unwrap();
    let trickle = thread::spawn(move || {
        while started.elapsed() < Duration::from_secs(30) && writer.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let (status, body) = answer(&mut stream);
    assert_eq!(refusal(status, &body).code, Code::Timeout);
    drop(stream);
    trickle.join().unwrap();
    lab.still_answers();
    // A trickle of a head ends as well.
    let mut stream = lab.connect();
    let mut ended = false;
    while started.elapsed() < Duration::from_secs(60) && !ended {
        ended = stream.write_all(b"G").is_err();
        thread::sleep(Duration::from_millis(50));
    }
    assert!(ended);
    lab.still_answers();
}

#[test]
fn half_closed_clients_get_their_answer() {
    let lab = Lab::new();
    let mut stream = lab.connect();
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(answer(&mut stream).0, 200);
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let lab = Lab::with(Limits { changes: 100_000, body_bytes: 20_000_000, ..impatient() });
    let lines: String = (0..50_000)
        .map(|number| {
            format!(
                "{{\"ipv4\":\"10.0.{}.{}\",\"ipv6\":\"2001:db8::{number:x}\"}}\n",
                number / 256,
                number % 256
            )
        })
        .collect();
    lab.change("if-match: *\r\n", "/v1/changes", &lines).unwrap();
    let mut readers: Vec<UnixStream> = (0..6).map(|_| lab.connect()).collect();
    for stream in &mut readers {
        stream.write_all(b"GET /v1/eams HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    }
    lab.still_answers();
    thread::sleep(Duration::from_secs(2));
    let (status, list) = answer(&mut readers[0]);
    assert_eq!(status, 200);
    assert!(list.matches("ipv4").count() < 50_000, "it was given up before the end");
    assert_eq!(lab.get("/v1/eams").1.matches("ipv4").count(), 50_001, "who reads gets all");
}

#[test]
fn a_slow_reader_of_events_is_told_what_it_missed() {
    let lab = Lab::with(Limits { read_time: Duration::from_secs(30), ..impatient() });
    let mut stream = lab.connect();
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).unwrap();
    let comment = "c".repeat(900);
    let target = format!("/v1/changes?comment={comment}");
    for number in 0..1500 {
        let line = format!("{{\"op\":\"set\",\"ipv4\":\"192.0.2.1\",\"ipv6\":\"2001:db8::{number:x}\"}}");
        lab.change("if-match: *\r\n", &target, &line).unwrap();
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("\"event\":\"begin\",\"revision\":1"), "it begins with what is in force");
    let lost = text.split("\"event\":\"lost\",\"lost\":").nth(1).expect("it was told");
    let lost: usize = lost.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
    let seen = text.matches("\"event\":\"revision\"").count();
    assert!(lost > 0 && seen + lost <= 1500, "{seen} seen, {lost} lost");
}

#[test]
fn stopping_takes_the_socket_away() {
    let mut lab = Lab::new();
    let _idle = lab.connect();
    drop(lab.server.take());
    assert!(!lab.socket.exists());
}

/// Each may be hundreds of megabytes, and there are as many connections as may be open.
#[test]
fn one_body_waits_for_its_turn_while_another_is_carried_out() {
    let lab = Lab::with(Limits::default());
    let gate = lab.relay.gate.lock().unwrap();
    let body = large();
    let begin = || begin_change(&lab, body.len());
    let (mut carried_out, mut waits, mut third) = (begin(), begin(), begin());
    carried_out.write_all(body.as_bytes()).unwrap();
    // The next one is received once the first one is being carried out.
    waits.write_all(body.as_bytes()).unwrap();
    third.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    while let Ok(more) = third.write(&body.as_bytes()[sent..]) {
        sent += more;
    }
    assert!((1_000_000..2_500_000).contains(&sent), "{sent} bytes of a third body are in memory");
    third.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    drop(gate);
    third.write_all(&body.as_bytes()[sent..]).unwrap();
    for stream in [&mut carried_out, &mut waits, &mut third] {
        assert_eq!(answer(stream).0, 200);
    }
}

/// One change, in four million bytes.
fn large() -> String {
    ADD.to_owned() + &"\n".repeat(4_000_000)
}

/// Asks for a change of so many bytes, which are still to be sent.
fn begin_change(lab: &Lab, length: usize) -> UnixStream {
    let mut stream = lab.connect();
    let head = format!(
        "POST /v1/changes HTTP/1.1\r\nhost: x\r\nconnection: close\r\nif-match: *\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// A pipe that hangs, or a forward of ssh.
#[test]
fn uploads_that_stall_hold_up_nobody_and_end_together() {
    let lab = Lab::with(Limits { body_time: Duration::from_secs(5), connections: 64, ..Limits::default() });
    let started = Instant::now();
    let stalled: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = begin_change(&lab, 1000);
            stream.write_all(b"{\"op\":\"add\"").unwrap();
            stream
        })
        .collect();
    lab.change("if-match: *\r\n", "/v1/changes", ADD).unwrap();
    assert!(started.elapsed() < Duration::from_secs(4), "it waited {:?} for others", started.elapsed());
    for mut stream in stalled {
        assert_eq!(answer(&mut stream).0, 408);
    }
    assert!(started.elapsed() < Duration::from_secs(15), "one after the other: {:?}", started.elapsed());
}

#[test]
fn a_large_upload_that_stalls_holds_up_only_others_and_not_for_long() {
    let lab = Lab::with(Limits { turn_time: Duration::from_millis(500), ..Limits::default() });
    let body = large();
    let mut stalled = begin_change(&lab, body.len());
    stalled.write_all(&body.as_bytes()[..3_000_000]).unwrap();
    let mut other = begin_change(&lab, body.len());
    // It is answered before it is sent.
    let _ = other.write_all(body.as_bytes());
    let (status, text) = answer(&mut other);
    let told = refusal(status, &text);
    assert!(told.code == Code::Unavailable && told.message.contains("other large requests"), "{told:?}");
    lab.change("if-match: *\r\n", "/v1/changes", ADD).unwrap();
}

#[test]
fn a_change_whose_client_left_before_its_turn_is_not_carried_out() {
    let lab = Lab::with(Limits::default());
    let gate = lab.relay.gate.lock().unwrap();
    let send = |number: u8| {
        let line = format!("{{\"ipv4\":\"192.0.2.{number}\",\"ipv6\":\"2001:db8::{number}\"}}");
        let mut stream = begin_change(&lab, line.len());
        stream.write_all(line.as_bytes()).unwrap();
        stream
    };
    let mut first = send(1);
    thread::sleep(Duration::from_millis(300));
    let (leaves, mut stays) = (send(2), send(3));
    // It has said everything, and waits for its answer.
    stays.shutdown(std::net::Shutdown::Write).unwrap();
    thread::sleep(Duration::from_millis(300));
    drop(leaves);
    drop(gate);
    assert_eq!((answer(&mut first).0, answer(&mut stays).0), (200, 200));
    let (_, listed) = lab.get("/v1/eams?owner=store");
    assert!(listed.contains("192.0.2.1/32") && listed.contains("192.0.2.3/32"), "{listed}");
    assert!(!listed.contains("192.0.2.2/32"), "{listed}");
}

#[test]
fn whoever_confirms_again_is_told_that_it_stays() {
    let lab = Lab::new();
    let confirm = |on: &str| lab.ask("POST", "/v1/confirm", &format!("if-match: {on}\r\n"), "");
    lab.change("if-match: *\r\n", "/v1/changes?confirm_within=60", ADD).unwrap();
    let mut events = lab.connect();
    events.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut told = String::new();
    while !told.contains("\r\n\r\n") {
        let mut bytes = [0; 4096];
        let read = events.read(&mut bytes).unwrap();
        told += &String::from_utf8_lossy(&bytes[..read]);
    }
    let (status, first) = confirm("\"2\"");
    assert_eq!(status, 200, "{first}");
    // As when the answer was lost, and the next change waits already.
    assert_eq!(confirm("\"2\""), (200, first.clone()));
    let other = ADD.replace("192.0.2.1\"", "192.0.2.2\"").replace("::1\"", "::2\"");
    lab.change("if-match: *\r\n", "/v1/changes?confirm_within=60", &other).unwrap();
    assert_eq!(confirm("2"), (200, first.replace("\"active\"", "\"superseded\"")));
    assert_eq!(confirm("*").0, 200);
    for (on, why) in [("*", "nothing awaits"), ("1", "revision 1 does not wait"), ("9", "no revision 9")] {
        let (status, body) = confirm(on);
        let refused = refusal(status, &body);
        assert!(refused.code == Code::NotFound && refused.message.contains(why), "{on}: {refused:?}");
    }
    // Its reader hears of each revision once, and of each confirmation.
    let mut told_to = |end: &str| {
        while !told.contains(end) {
            let mut bytes = [0; 4096];
            let read = events.read(&mut bytes).unwrap();
            assert!(read > 0, "{told}");
            told += &String::from_utf8_lossy(&bytes[..read]);
        }
        told.clone()
    };
    lab.change(
        "if-match: *\r\n",
        "/v1/changes?comment=the%20last",
        "{\"op\":\"remove\",\"ipv4\":\"192.0.2.1\"}\n",
    )
    .unwrap();
    let told = told_to("the last");
    assert_eq!(told.matches("\"confirmed\":\"2").count(), 2, "{told}");
}

#[test]
fn whoever_lists_keeps_nobody_waiting() {
    let lab = Lab::with(Limits { connections: 64, ..Limits::default() });
    let listed = || lab.get("/v1/eams").1.matches("\"ipv4\"").count();
    let before = listed();
    let gate = Arc::clone(&lab.relay.list_gate);
    let closed = gate.lock().unwrap();
    let mut lists: Vec<_> = ["/v1/eams", "/v1/eams?within=2001:db8:ffff::/48", "/v1/eams?owner=nobody.csv"]
        .iter()
        .flat_map(|target| (0..8).map(|_| begin(&lab, "GET", target)))
        .collect();
    for list in &mut lists {
        let mut status = [0; 12];
        list.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    }
    // Each of them is in the middle of its first slice, or waits for its turn.
    assert_eq!(lab.get("/").0, 200);
    lab.still_answers();
    assert!(lab.change("if-match: *\r\n", "/v1/changes", ADD).is_ok());
    drop(closed);
    for (number, mut list) in lists.into_iter().enumerate() {
        let mut rest = String::new();
        list.read_to_string(&mut rest).unwrap();
        let lists_something = number < 8;
        assert_eq!(rest.contains("eams.csv:3"), lists_something, "{rest}");
        assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
    }
    assert_eq!(listed(), before + 1);
}

#[test]
fn whoever_changes_much_keeps_the_others_waiting_only_for_what_he_changes() {
    let lab = Lab::with(Limits { connections: 64, ..Limits::default() });
    let gate = Arc::clone(&lab.relay.table_gate);
    let closed = gate.lock().unwrap();
    thread::scope(|scope| {
        let change = scope.spawn(|| lab.change("if-match: *\r\n", "/v1/changes", ADD));
        // The store is its own once others do not get to it.
        let is_store_free = || {
            let mut stream = begin(&lab, "GET", "/v1/status");
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            stream.read(&mut [0]).is_ok()
        };
        while is_store_free() {}
        let streams = [begin(&lab, "GET", "/v1/events"), begin(&lab, "POST", "/v1/commit")];
        assert_eq!(lab.get("/").0, 200);
        drop(closed);
        assert!(change.join().unwrap().is_ok());
        for (mut stream, status) in streams.into_iter().zip([*b"HTTP/1.1 200", *b"HTTP/1.1 428"]) {
            let mut answered = [0; 12];
            stream.read_exact(&mut answered).unwrap();
            assert_eq!(answered, status);
        }
    });
}
