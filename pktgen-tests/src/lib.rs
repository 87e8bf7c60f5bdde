//! Black-box tests of the relay in network namespaces, and the traffic generator that drives it.
//!
//! [`lab`] lays out namespaces, runs the relay and real daemons in them, and takes everything down again. The tests
//! under `tests/` know the relay only by its configuration, its wires and its counters. [`pktgen`] sends and verifies
//! packets by the million; the program of that name is made of it.

#![forbid(unsafe_code)]

pub mod bench;
pub mod changes;
pub mod idc;
pub mod lab;
pub mod pktgen;
pub mod storm;
