//! Headers of one family become headers of the other: pure functions over bytes and the addresses found. No
//! tables, no counters.

use crate::buffer::Buffer;
use crate::verdict::DropReason;
use crate::wire::checksum::{self, Delta};

pub mod icmp;
mod tail;
pub mod v4_to_v6;
pub mod v6_to_v4;

/// Replaces the first `old` bytes of a packet by `new` bytes the caller writes next.
#[inline(always)]
fn resize_front(buffer: &mut impl Buffer, old: usize, new: usize) -> Result<(), DropReason> {
    let length = buffer.data().len() + new - old;
    buffer.reshape(old, new, length).map_err(|_| DropReason::NoBuffer)
}

/// Adjusts the checksum at `at` for a change of the data it covers.
#[inline(always)]
fn adjust_at(data: &mut [u8], at: usize, delta: Delta) {
    let field = u16::from_be_bytes([data[at], data[at + 1]]);
    data[at..at + 2].copy_from_slice(&checksum::adjust(field, delta).to_be_bytes());
}

/// As [`adjust_at`], for UDP.
#[inline(always)]
fn adjust_udp_at(data: &mut [u8], at: usize, delta: Delta) {
    let field = u16::from_be_bytes([data[at], data[at + 1]]);
    data[at..at + 2].copy_from_slice(&checksum::adjust_udp(field, delta).to_be_bytes());
}
