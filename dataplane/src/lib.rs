//! The packet's walk.
#![deny(unsafe_code)]

pub mod buffer;
pub mod exception;
pub mod io;
pub mod table;
pub mod verdict;
#[cfg(feature = "dpdk")]
#[allow(unsafe_code, reason = "the binding to libdpdk: the only folder of this crate with unsafe code")]
pub mod dpdk;
