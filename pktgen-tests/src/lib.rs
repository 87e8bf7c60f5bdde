//! Black-box tests of the relay in network namespaces.
//!
//! [`lab`] lays out namespaces, runs the relay and real daemons in them, and takes everything down again. The tests
//! under `tests/` know the relay only by its configuration, its wires and its counters.

#![forbid(unsafe_code)]

pub mod bench;
pub mod lab;
