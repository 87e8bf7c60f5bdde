//! Bindings to the installed libdpdk: exactly the functions, constants and types Borderline uses.
//!
//! Nothing is decided here and nothing is made safe: `dataplane::dpdk` does both and is the only user. Names
//! are DPDK's own; what starts with `bl_` is DPDK's inline function or macro of the same name, given a symbol
//! by `shim.c`, or, like [`bl_mbuf`], declared and explained in `wrapper.h`.
#![no_std]

pub use generated::*;

/// A packet buffer, or the first of a chain. Its first cache line is readable as [`bl_mbuf`].
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is DPDK's")]
pub struct rte_mbuf {
    opaque: [u8; 0],
}

/// A pool of packet buffers.
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is DPDK's")]
pub struct rte_mempool {
    opaque: [u8; 0],
}

/// A device on one of DPDK's buses.
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is DPDK's")]
pub struct rte_device {
    opaque: [u8; 0],
}

#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::undocumented_unsafe_blocks,
    reason = "generated from C: the names are DPDK's and its documentation is the reference"
)]
mod generated {
    use super::{rte_device, rte_mbuf, rte_mempool};

    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
