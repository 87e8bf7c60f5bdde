//! The one mixing function behind flow hashes, filters and identifications, and the halves of wide numbers.
#![allow(clippy::cast_possible_truncation, reason = "each function says which bits it keeps")]

/// The finaliser of SplitMix64: every input bit reaches every output bit.
#[inline]
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Bits 64 to 127.
#[inline]
pub(crate) const fn high64(value: u128) -> u64 {
    (value >> 64) as u64
}

/// Bits 0 to 63.
#[inline]
pub(crate) const fn low64(value: u128) -> u64 {
    value as u64
}

/// Bits 0 to 31.
#[inline]
pub(crate) const fn low32(value: u64) -> u32 {
    value as u32
}

/// Bits 32 to 63.
#[inline]
pub(crate) const fn high32(value: u64) -> u32 {
    (value >> 32) as u32
}
