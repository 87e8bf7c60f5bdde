//! A hash of packet numbers: cheap, and good enough that neighbours have nothing in common.

/// Mixes all bits of `number` into all bits of the result.
#[inline]
#[must_use]
pub(super) const fn mix(number: u64) -> u64 {
    let x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let x = (x ^ x >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ x >> 32
}
