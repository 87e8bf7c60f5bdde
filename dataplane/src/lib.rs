//! The packet's walk: from a received frame to a transmitted one, in the order of the modules below.
//!
//! A worker ([`worker`]) takes a burst of frames, pins the newest [`table::snapshot::Snapshot`] and takes each
//! packet through the [`stage`]s. [`walk`] has their order on one page, and is the same code in `borderline
//! translate`; plain packets, nearly all there are, take them a burst at a time (`walk/express.rs`). Each packet ends
//! in the [`sink`], sent or with exactly one [`verdict::Verdict`], and is counted there ([`counters`]).
//!
//! What the relay does not forward itself goes to the kernel over the rings of [`exception`].
#![deny(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the numbers of tests are small"
    )
)]

pub mod buffer;
#[cfg(feature = "dpdk")]
#[allow(unsafe_code, reason = "the binding to libdpdk: the only folder of this crate with unsafe code")]
pub mod dpdk;
pub mod exception;
pub mod explain;
mod hash;
mod huge;
pub mod io;
mod limit;
pub mod memory;
pub mod meter;
pub mod offline;
mod prefetch;
mod punt;
mod ring;
pub mod sink;
pub mod stage;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod timing;
mod transmit;
pub mod verdict;
pub mod walk;
pub mod wire;
pub mod worker;

pub use sink::counters;
