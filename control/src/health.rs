//! Whether the relay does what it is for: tests with a name, a state, and since when.
//!
//! ```text
//!  every second:  packets of the relay's own -> inject rings -> every worker, both ways -> punt rings -> right or not
//!  20 x a second: heartbeats of the workers, links, default routes, digests of the tables, delays of the control thread
//!                        \-> Board: one entry for each test and subject -> what is announced (`crate::announce`)
//! ```
//!
//! Nothing here knows of rings or threads: the control actor says what it saw, and when.

mod audit;
mod board;
mod monitor;
mod packet;
mod pair;
mod probes;
mod pulse;

pub use self::audit::{Audit, Auditor, Clients, Mapped, TableDigest};
pub use self::board::{Board, HealthTest, Scope, TestName, TestState, Unfit};
pub use self::monitor::{Monitor, Observed, PortLink, WorkerBeat};
pub(crate) use self::packet::addresses;
pub use self::probes::{Probe, Probes};
pub use self::pulse::Pulse;
