//! Metrics over HTTP, for Prometheus: the accept loop of the control socket and its limits, on a socket and a thread of their
//! own, so that no number of scrapers takes a place from those who operate the relay.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use control_api::{Code, Refusal};
use tokio::task::spawn_blocking;

use crate::door::TcpDoor;
use crate::reply::{No, Reply, with_type};
use crate::serve::{Limits, Serving};

/// A page of metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// The text.
    pub text: Bytes,
}

/// Makes a page for a client that accepts that (the value of its `Accept`). May block.
pub type MakePage = dyn Fn(&str) -> Result<Page, Refusal> + Send + Sync;

/// What a scraper may cost.
#[must_use]
pub fn scraper_limits() -> Limits {
    Limits {
        connections: 16,
        head_time: Duration::from_secs(5),
        head_bytes: 8 * 1024,
        body_bytes: 0,
        read_time: Duration::from_secs(10),
        ..Limits::default()
    }
}

/// A socket for metrics that is open and not served yet.
#[derive(Debug)]
pub struct MetricsSocket {
    socket: TcpListener,
    address: SocketAddr,
}

/// A server of metrics that runs. Dropping it stops it.
#[derive(Debug)]
pub struct MetricsServer {
    _serving: Serving,
}

impl MetricsSocket {
    /// Opens it.
    ///
    /// # Errors
    /// When the system refuses: the address is somebody else's, or not this machine's.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { address: socket.local_addr()?, socket })
    }

    /// Where it listens, also when the system chose the port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves pages at `/metrics`, on a thread of its own.
    ///
    /// # Errors
    /// When the system gives no thread or event queue.
    pub fn serve(self, make: Arc<MakePage>, limits: Limits) -> io::Result<MetricsServer> {
        let router = Router::new()
            .route("/", get(hint))
            .route("/metrics", get(metrics))
            .fallback(async || {
                No(Refusal::new(Code::NotFound, "there are only metrics here", "ask for /metrics"))
            })
            .with_state(make);
        let serving = Serving::start("metrics", move || TcpDoor::new(self.socket), router, Arc::new(limits))?;
        Ok(MetricsServer { _serving: serving })
    }
}

async fn hint() -> Response {
    with_type(Body::from("Borderline. Metrics are at /metrics.\n"), "text/plain")
}

async fn metrics(State(make): State<Arc<MakePage>>, headers: HeaderMap) -> Reply {
    let accept = accepted(&headers);
    let made = spawn_blocking(move || make(&accept)).await;
    let broken =
        || Err(Refusal::new(Code::Internal, "the page could not be made", "report it, with the relay's log"));
    Ok(page(made.unwrap_or_else(|_| broken())?))
}

/// What a client accepts.
pub(crate) fn accepted(headers: &HeaderMap) -> String {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

/// A page as an answer.
pub(crate) fn page(page: Page) -> Response {
    with_type(Body::from(page.text), page.content_type).into_response()
}
