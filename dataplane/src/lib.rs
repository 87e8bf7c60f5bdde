//! The packet's walk: from a received frame to a transmitted one, in the order of the modules below.
//!
//! A worker ([`worker`]) takes a burst of frames, pins the newest [`table::snapshot::Snapshot`] and takes each
//! packet through the [`stage`]s. [`walk`] has their order on one page, and is the same code in `borderline
//! translate`. Each packet ends in exactly one [`verdict::Verdict`], which is counted ([`counters`]).
//!
//! What the relay does not forward itself goes to the kernel over the rings of [`exception`].
#![deny(unsafe_code)]

pub mod buffer;
pub mod memory;
pub mod io;
#[cfg(feature = "dpdk")]
#[allow(unsafe_code, reason = "the binding to libdpdk: the only folder of this crate with unsafe code")]
pub mod dpdk;
mod hash;
pub mod wire;
pub mod table;
pub mod stage;
pub mod walk;
mod punt;
mod transmit;
pub mod worker;
pub mod offline;
pub mod verdict;
pub mod counters;
pub mod exception;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
