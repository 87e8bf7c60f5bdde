//! The Internet checksum, full and incremental: all one's-complement arithmetic of the relay.
//!
//! A checksum field holds the complement of the one's-complement sum of the 16-bit words it covers. Two
//! properties make stateless translation cheap:
//!
//! - Addition is commutative and associative, so replacing some words changes the sum by *new minus old*
//!   whatever else the packet holds. That difference is a [`Delta`]. Swapping two IPv4 addresses for two IPv6
//!   addresses in a pseudo-header is one delta, known from the addresses alone: nothing else is read.
//! - The sum is independent of byte order up to a final swap (RFC 1071 2(B)), so words of any width are added as they
//!   stand in memory.
//!
//! One's complement has two zeros, 0x0000 and 0xFFFF. A sum of real words is 0x0000 only when every word is
//! zero, so [`adjust`] follows RFC 1624 equation 3 (`HC' = ~(~HC + ~m + m')`), which keeps TCP and ICMP results
//! exact. UDP alone gives 0x0000 a meaning (no checksum), hence [`adjust_udp`] (RFC 768, RFC 8200 8.1).
//!
//! Incremental update never repairs: a wrong checksum stays wrong by the same amount (RFC 1624, RFC 7915 4.5).
#![allow(clippy::cast_possible_truncation, reason = "one's-complement folding keeps the low bits on purpose")]

use std::net::{Ipv4Addr, Ipv6Addr};

/// A running one's-complement sum of 16-bit words.
///
/// Words are kept as they stand in memory, so that nothing is swapped on the way from a packet to a packet; only what
/// enters or leaves as a number is. Carries are unfolded: good for 2^32 words before it could overflow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    pub const ZERO: Self = Self(0);

    /// The sum of `bytes`, a last odd byte padded with zero on its right.
    #[inline]
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        // 2^16 = 1 modulo 2^16 - 1, so 32-bit words may be added before folding.
        let (words, rest) = bytes.as_chunks::<4>();
        let mut total: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
        total += u64::from(match *rest {
            [] => 0,
            [a] => u32::from_ne_bytes([a, 0, 0, 0]),
            [a, b] => u32::from_ne_bytes([a, b, 0, 0]),
            [a, b, c, ..] => u32::from_ne_bytes([a, b, c, 0]),
        });
        Self(total)
    }

    /// What `bytes` add to the sum of the data they stand in, `at` bytes behind its beginning.
    #[must_use]
    pub fn of_part(bytes: &[u8], at: usize) -> Self {
        match bytes {
            [first, rest @ ..] if at % 2 == 1 => Self::of(&[0, *first]) + Self::of(rest),
            _ => Self::of(bytes),
        }
    }

    /// The sum of one 16-bit word.
    #[inline]
    #[must_use]
    pub const fn of_u16(word: u16) -> Self {
        Self(word.to_be() as u64)
    }

    /// The sum of the two words of a 32-bit number.
    #[inline]
    #[must_use]
    pub const fn of_u32(value: u32) -> Self {
        Self(value.to_be() as u64)
    }

    /// The sum of the four words of a 64-bit number.
    #[inline]
    #[must_use]
    pub const fn of_u64(value: u64) -> Self {
        let value = value.to_be();
        Self((value >> 32) + (value & 0xffff_ffff))
    }

    /// The sum of the two words of an IPv4 address.
    #[inline]
    #[must_use]
    pub const fn of_ipv4(address: Ipv4Addr) -> Self {
        Self(u32::from_ne_bytes(address.octets()) as u64)
    }

    /// The sum of the eight words of an IPv6 address.
    #[inline]
    #[must_use]
    pub const fn of_ipv6(address: Ipv6Addr) -> Self {
        let bits = u128::from_ne_bytes(address.octets());
        let (high, low) = ((bits >> 64) as u64, bits as u64);
        Self((high >> 32) + (high & 0xffff_ffff) + (low >> 32) + (low & 0xffff_ffff))
    }

    /// The sum of the IPv6 pseudo-header (RFC 8200 8.1).
    #[inline]
    #[must_use]
    pub fn of_pseudo_header(source: Ipv6Addr, destination: Ipv6Addr, length: u32, next_header: u8) -> Self {
        Self::of_ipv6(source)
            + Self::of_ipv6(destination)
            + Self::of_u32(length)
            + Self::of_u16(u16::from(next_header))
    }

    /// The sum folded into 16 bits.
    #[inline]
    #[must_use]
    pub const fn fold(self) -> u16 {
        u16::from_be(fold(self.0))
    }

    /// The checksum field for data with this sum: its complement.
    #[inline]
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }
}

impl std::ops::Add for Sum {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl std::ops::AddAssign for Sum {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

/// Whether the checksum of an IPv4 header without options is right: all its words sum up to ones. Wide words with
/// end-around carries take two additions where 32-bit words take five.
#[inline(always)]
#[must_use]
pub fn is_right(header: &[u8; 20]) -> bool {
    let wide = |at: usize| u64::from_ne_bytes(header[at..at + 8].try_into().expect("8 bytes"));
    let last = u64::from(u32::from_ne_bytes(header[16..20].try_into().expect("4 bytes")));
    let (sum, first_carry) = wide(0).overflowing_add(wide(8));
    let (sum, second_carry) = sum.overflowing_add(last);
    let carries = u64::from(first_carry) + u64::from(second_carry);
    // Folded, so that the carries have room.
    fold(u64::from(fold_to_32(sum)) + carries) == 0xffff
}

/// A change of a sum: new words minus old words, in one's complement. Unfolded, as a [`Sum`] is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delta(u64);

impl Delta {
    /// No change.
    pub const NONE: Self = Self(0);

    /// The change that replaces words with sum `old` by words with sum `new`.
    #[inline]
    #[must_use]
    pub const fn new(old: Sum, new: Sum) -> Self {
        // The complement is taken in 32 bits, where it is the negative as well.
        Self(new.0 + !fold_to_32(old.0) as u64)
    }

    /// Both changes.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

/// Equal changes may have been come by differently.
impl PartialEq for Delta {
    fn eq(&self, other: &Self) -> bool {
        fold(self.0) == fold(other.0)
    }
}

impl Eq for Delta {}

/// `checksum` after its data changed by `delta` (RFC 1624 equation 3).
#[inline]
#[must_use]
pub const fn adjust(checksum: u16, delta: Delta) -> u16 {
    u16::from_be(!fold((!checksum.to_be()) as u64 + delta.0))
}

/// As [`adjust`], for UDP: a result of 0x0000 is sent as 0xFFFF, for 0x0000 means "no checksum".
#[inline]
#[must_use]
pub const fn adjust_udp(checksum: u16, delta: Delta) -> u16 {
    match adjust(checksum, delta) {
        0 => 0xffff,
        adjusted => adjusted,
    }
}

/// Folds carries back in until 16 bits are left. Zero only for zero.
#[inline]
const fn fold(sum: u64) -> u16 {
    let sum = fold_to_32(sum);
    (sum.wrapping_add(sum.rotate_right(16)) >> 16) as u16
}

/// Adding the halves both ways round leaves their sum, its carry included, in the upper half.
#[inline]
const fn fold_to_32(sum: u64) -> u32 {
    (sum.wrapping_add(sum.rotate_right(32)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum as u16
    }

    #[test]
    fn rfc_1071_example() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&bytes).fold(), 0xddf2);
    }

    #[test]
    fn rfc_1624_example_keeps_the_right_zero() {
        // Section 4: HC = 0xDD2F, m = 0x5555, m' = 0x3285 gives 0x0000, not 0xFFFF.
        let delta = Delta::new(Sum::of_u16(0x5555), Sum::of_u16(0x3285));
        assert_eq!(adjust(0xdd2f, delta), 0x0000);
        assert_eq!(adjust_udp(0xdd2f, delta), 0xffff);
    }

    proptest! {
        #[test]
        fn wide_words_find_the_same_headers_right(words in any::<[u32; 5]>(), repair: bool) {
            let mut header = [0; 20];
            for (bytes, word) in header.chunks_mut(4).zip(words) {
                // All ones and all zeros make carries.
                let word = match word % 4 { 0 => 0, 1 => u32::MAX, _ => word };
                bytes.copy_from_slice(&word.to_be_bytes());
            }
            if repair {
                header[10..12].fill(0);
                let checksum = Sum::of(&header).checksum();
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            prop_assert_eq!(is_right(&header), Sum::of(&header).fold() == 0xffff);
        }

        #[test]
        fn bulk_sum_equals_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Sum::of(&bytes).fold(), naive(&bytes));
        }

        #[test]
        fn parts_add_up_to_the_whole(bytes in proptest::collection::vec(any::<u8>(), 1..100), at in 0_usize..100) {
            let at = at % bytes.len();
            let sum = Sum::of(&bytes[..at]) + Sum::of_part(&bytes[at..], at);
            prop_assert_eq!(sum.fold(), naive(&bytes));
        }

        #[test]
        fn addresses_sum_like_their_bytes(v4 in any::<u32>(), v6 in any::<u128>()) {
            prop_assert_eq!(Sum::of_ipv4(Ipv4Addr::from_bits(v4)).fold(), naive(&v4.to_be_bytes()));
            let folded = Sum::of_ipv6(Ipv6Addr::from_bits(v6)).fold();
            prop_assert_eq!(folded, naive(&v6.to_be_bytes()));
            let low = v6 as u64;
            prop_assert_eq!(Sum::of_u64(low).fold(), naive(&low.to_be_bytes()));
        }

        #[test]
        fn incremental_equals_full(
            mut data in proptest::collection::vec(any::<u8>(), 40..200),
            new in proptest::collection::vec(any::<u8>(), 16),
            at in 0_usize..12,
        ) {
            data[0] |= 1; // A real header is never all zero.
            let before = Sum::of(&data).checksum();
            let at = at * 2;
            let old = data[at..at + 16].to_vec();
            let delta = Delta::new(Sum::of(&old), Sum::of(&new));
            data[at..at + 16].copy_from_slice(&new);
            prop_assume!(data.iter().any(|byte| *byte != 0));
            prop_assert_eq!(adjust(before, delta), Sum::of(&data).checksum());
            let back = Delta::new(Sum::of(&new), Sum::of(&old));
            prop_assert_eq!(adjust(adjust(before, delta), back), before);
            prop_assert_eq!(delta.and(back), Delta::new(Sum::ZERO, Sum::ZERO));
        }
    }
}
