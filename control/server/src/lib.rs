//! The control socket.
//!
//! `listen.rs` makes the socket: mode, group, what a crash left behind. `serve.rs` accepts on a thread of its own and bounds what
//! a client may cost (`connections.rs`, `body.rs`, `stall.rs`: number, time, bytes). `routes/` are the paths, each a question to a
//! [`Relay`]. What the socket refuses to know: ports, tables and packets. No request names a file of the relay's machine.
//!
//! `metrics.rs` serves metrics over TCP with the same loop (`door.rs` is what differs).
//!
//! [`mappings`] is the half of a relay that this crate has itself: the mappings with their owners, the candidate, and the
//! order of a commit (check, prepare, make durable, publish), over a `Store` and `Tables`.
#![forbid(unsafe_code)]

mod body;
mod connections;
mod door;
mod listen;
pub mod mappings;
mod metrics;
mod relay;
mod reply;
mod routes;
mod serve;
mod stall;
#[cfg(feature = "testing")]
pub mod testing;

pub use listen::{ListenError, Listener};
pub use metrics::{MakePage, MetricsServer, MetricsSocket, Page, scraper_limits};
pub use relay::{CaptureQuery, Entries, Events, Intent, ListQuery, Peer, Relay, Slices, TrafficQuery};
pub use routes::openapi;
pub use serve::{Limits, Server};
