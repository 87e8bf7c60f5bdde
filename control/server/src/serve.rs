//! The thread that serves, and what a client may cost.
//!
//! `axum::serve` sets no time limit for heads and no limit of connections, so the accept loop is ours: hyper reads heads within
//! [`Limits::head_time`], `body.rs` bodies, `stall.rs` gives up on clients that do not read, `connections.rs` bounds how many there are.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use control_api::{Code, Refusal};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use crate::connections::{Connection, Connections};
use crate::door::{Door, Guest, UnixDoor};
use crate::listen::{ListenError, Listener};
use crate::relay::Relay;
use crate::stall::Stall;
use crate::{reply, routes};

/// Threads on which calls of the [`Relay`] block: reads, and one change at a time.
const BLOCKING_THREADS: usize = 4;

/// What a client may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time; half as many of one user.
    pub connections: usize,
    /// For the head of a request, and between requests.
    pub head_time: Duration,
    /// Bytes of a head.
    pub head_bytes: usize,
    /// For a body in any case.
    pub body_time: Duration,
    /// A body may take a second more for as many bytes as have come.
    pub body_bytes_per_second: u64,
    /// Bytes of a body.
    pub body_bytes: u64,
    /// How long a large body may wait for others to be received.
    pub turn_time: Duration,
    /// Changes in a body.
    pub changes: usize,
    /// How long a client may read nothing of an answer.
    pub read_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            head_time: Duration::from_secs(10),
            head_bytes: 16 * 1024,
            body_time: Duration::from_secs(10),
            body_bytes_per_second: 1_000_000,
            body_bytes: 512_000_000,
            turn_time: Duration::from_secs(60),
            changes: 4_000_000,
            read_time: Duration::from_secs(30),
        }
    }
}

/// A server that runs. Dropping it stops it and removes the socket.
#[derive(Debug)]
pub struct Server {
    _serving: Serving,
    _listener: Listener,
}

/// The thread that serves. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Serving {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `relay` on `listener`, on a thread of its own.
    ///
    /// # Errors
    /// [`ListenError::System`] when the system gives no thread or event queue.
    pub fn start(listener: Listener, relay: Arc<dyn Relay>, limits: Limits) -> Result<Self, ListenError> {
        let failed = |what| move |error| ListenError::System { path: "[control]".into(), what, error };
        let socket = listener.accept_on().map_err(failed("listen on it"))?;
        let limits = Arc::new(limits);
        let router = routes::router(relay, Arc::clone(&limits));
        let serving = Serving::start("api", move || UnixDoor::new(socket), router, limits)
            .map_err(failed("start its thread"))?;
        Ok(Self { _serving: serving, _listener: listener })
    }
}

impl Serving {
    /// Serves on a thread called `name` whoever comes through the door, which is made on that thread.
    pub(crate) fn start<D: Door>(
        name: &'static str,
        door: impl FnOnce() -> io::Result<D> + Send + 'static,
        router: Router,
        limits: Arc<Limits>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name(format!("{name}-call"))
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                let door = match door() {
                    Ok(door) => door,
                    Err(error) => return tracing::error!("{name}: nobody can connect: {error}"),
                };
                tokio::select! {
                    () = accept(door, router, limits) => {}
                    _ = stopped => {}
                }
            });
            // A change that is being made goes on to its end; nobody waits for it here.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept<D: Door>(door: D, router: Router, limits: Arc<Limits>) {
    let connections = Connections::new(limits.connections);
    loop {
        match door.accept().await {
            Ok(stream) => admit::<D>(stream, &router, &connections, &limits),
            Err(error) => {
                // Out of descriptors, most likely: others will be given back.
                tracing::warn!("{} accepts no connection: {error}", D::NAME);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn admit<D: Door>(stream: D::Stream, router: &Router, connections: &Arc<Connections>, limits: &Arc<Limits>) {
    let Some(guest) = D::guest(&stream) else { return };
    let Some(seat) = connections.enter(guest.key, D::line(&stream)) else {
        return refuse::<D>(&stream, guest);
    };
    let (router, limits) = (router.clone(), Arc::clone(limits));
    tokio::spawn(async move {
        let connection = Arc::clone(&seat.connection);
        tokio::select! {
            () = converse(stream, router, guest, &connection, &limits) => {}
            () = connection.asked_to_leave() => {}
        }
        drop(seat);
    });
}

/// Says why and hangs up. What does not fit into the socket's buffer is not worth waiting for.
fn refuse<D: Door>(stream: &D::Stream, guest: Guest) {
    let who = guest.peer.map_or_else(|| "this machine".to_owned(), |peer| format!("uid {}", peer.uid));
    let refusal = Refusal::new(
        Code::Unavailable,
        format!("{who} has too many requests under way"),
        "wait until some are answered",
    );
    let body = serde_json::to_string(&refusal).unwrap_or_default();
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n";
    D::write_some(stream, format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
}

/// Answers one client until either side has enough.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    guest: Guest,
    connection: &Arc<Connection>,
    limits: &Arc<Limits>,
) {
    let answer = service_fn(move |mut request: hyper::Request<Incoming>| {
        let busy = connection.busy();
        if let Some(peer) = guest.peer {
            request.extensions_mut().insert(peer);
        }
        request.extensions_mut().insert(Arc::clone(connection));
        let router = router.clone();
        let size =
            request.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let too_large = size.is_some_and(|size: u64| size > limits.body_bytes);
        async move {
            let response = if too_large {
                let mut response =
                    axum::response::IntoResponse::into_response(reply::No(crate::body::too_large(limits)));
                response.headers_mut().insert("connection", axum::http::HeaderValue::from_static("close"));
                response
            } else {
                ask(router, request.map(Body::new)).await
            };
            drop(busy);
            Ok::<_, io::Error>(response)
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head_bytes.max(8192))
        .max_headers(64)
        // Who has asked and says no more still gets his answer.
        .half_close(true)
        .serve_connection(TokioIo::new(Stall::new(stream, limits.read_time)), answer)
        .await;
    if let Err(error) = served {
        tracing::debug!(peer = ?guest.peer, "connection: {error}");
    }
}

async fn ask(mut router: Router, request: hyper::Request<Body>) -> axum::response::Response {
    use tower_service::Service as _;
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
