//! Translation prefixes: the IPv4-embedded IPv6 addresses of RFC 6052.
//!
//! ```text
//!  length  bytes of the address (v = IPv4 byte, u = 0, s = suffix, zero when built)
//!    /32   P P P P v v v v u s s s s s s s
//!    /40   P P P P P v v v u v s s s s s s
//!    /48   P P P P P P v v u v v s s s s s
//!    /56   P P P P P P P v u v v v s s s s
//!    /64   P P P P P P P P u v v v v s s s
//!    /96   P P P P P P P P P P P P v v v v
//! ```
#![allow(clippy::cast_possible_truncation, reason = "addresses are taken apart bit by bit")]

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::MappedV6;
use crate::wire::checksum::{Delta, Sum};

/// The Well-Known Prefix 64:ff9b::/96 (RFC 6052 2.1).
pub const WELL_KNOWN: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

/// What the Well-Known Prefix must not represent: private, shared, link-local, loopback, documentation, benchmarking,
/// protocol assignment, 6to4 relay, multicast and reserved addresses (RFC 5735 as RFC 6052 3.1 cites it, and RFC 6598).
pub const NON_GLOBAL: [Ipv4Net; 14] = [
    net(0, 0, 0, 8),
    net(10, 0, 0, 8),
    net(100, 64, 0, 10),
    net(127, 0, 0, 8),
    net(169, 254, 0, 16),
    net(172, 16, 0, 12),
    net(192, 0, 0, 24),
    net(192, 0, 2, 24),
    net(192, 88, 99, 24),
    net(192, 168, 0, 16),
    net(198, 18, 0, 15),
    net(198, 51, 100, 24),
    net(203, 0, 113, 24),
    net(224, 0, 0, 3),
];

const fn net(a: u8, b: u8, c: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), length)
}

/// A prefix length RFC 6052 does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a translation prefix has 32, 40, 48, 56, 64 or 96 bits, not {0} (RFC 6052 section 2.2)")]
pub struct PrefixLengthError(pub u8);

/// One RFC 6052 prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TranslationPrefix {
    network: u128,
    mask: u128,
    length: u8,
    /// Change of the one's-complement sum from any IPv4 address to its embedded form, where it is the same for
    /// all: when the four bytes keep their places in 16-bit words.
    constant_delta: Option<Delta>,
}

impl TranslationPrefix {
    /// A prefix.
    ///
    /// # Errors
    /// [`PrefixLengthError`]. Bits 64 to 71 of a /96 are the configuration's to check.
    pub fn new(network: Ipv6Net) -> Result<Self, PrefixLengthError> {
        let length = network.prefix_len();
        if !matches!(length, 32 | 40 | 48 | 56 | 64 | 96) {
            return Err(PrefixLengthError(length));
        }
        let mask = u128::MAX << (128 - u32::from(length));
        let network = network.addr().to_bits() & mask;
        let constant = matches!(length, 32 | 96);
        let delta = Delta::new(Sum::ZERO, Sum::of_ipv6(Ipv6Addr::from_bits(network)));
        Ok(Self { network, mask, length, constant_delta: constant.then_some(delta) })
    }

    /// Whether `address` is inside the prefix.
    #[inline(always)]
    #[must_use]
    pub const fn contains(&self, address: Ipv6Addr) -> bool {
        address.to_bits() & self.mask == self.network
    }

    /// Whether this is the Well-Known Prefix.
    #[inline(always)]
    #[must_use]
    pub const fn is_well_known(&self) -> bool {
        self.network == WELL_KNOWN.to_bits() && self.length == 96
    }

    /// The IPv4-embedded IPv6 address for `address` (RFC 6052 2.3).
    #[inline(always)]
    #[must_use]
    pub fn embed(&self, address: Ipv4Addr) -> MappedV6 {
        let bits = u128::from(address.to_bits());
        let embedded = Ipv6Addr::from_bits(self.network | place(bits, self.length));
        let delta =
            self.constant_delta.unwrap_or_else(|| Delta::new(Sum::of_ipv4(address), Sum::of_ipv6(embedded)));
        MappedV6 { address: embedded, delta }
    }

    /// The IPv4 address inside `address`, which must be in the prefix. The u byte and the suffix are not
    /// looked at (RFC 6052 2.2, 2.3).
    #[inline(always)]
    #[must_use]
    pub const fn extract(&self, address: Ipv6Addr) -> Ipv4Addr {
        let bits = address.to_bits();
        let value = match self.length {
            96 => bits as u32,
            64 => (bits >> 24) as u32,
            length => {
                // `before` bytes stand before the u byte, the others behind it.
                let before = 64 - length as u32;
                let high = ((bits >> 64) as u32) & low_mask(before);
                let low = ((bits >> (56 - (32 - before))) as u32) & low_mask(32 - before);
                (((high as u64) << (32 - before)) | low as u64) as u32
            }
        };
        Ipv4Addr::from_bits(value)
    }

    /// Whether translation through it leaves transport checksums alone (RFC 6052 4.1).
    #[must_use]
    pub fn is_checksum_neutral(&self) -> bool {
        self.constant_delta
            .is_some_and(|_| matches!(Sum::of_ipv6(Ipv6Addr::from_bits(self.network)).fold(), 0 | 0xffff))
    }

    /// The prefix.
    #[must_use]
    pub fn network(&self) -> Ipv6Net {
        Ipv6Net::new_assert(Ipv6Addr::from_bits(self.network), self.length)
    }
}

/// `value` (32 bits) at its place behind a prefix of `length` bits.
#[inline]
const fn place(value: u128, length: u8) -> u128 {
    match length {
        96 => value,
        64 => value << 24,
        length => {
            let before = 64 - length as u32;
            let high = value >> (32 - before);
            let low = value & low_mask(32 - before) as u128;
            high << 64 | low << (56 - (32 - before))
        }
    }
}

#[inline]
const fn low_mask(bits: u32) -> u32 {
    if bits >= 32 { u32::MAX } else { (1 << bits) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> TranslationPrefix {
        TranslationPrefix::new(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn rfc_6052_table_1() {
        for (network, embedded) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ] {
            let embedded: Ipv6Addr = embedded.parse().unwrap();
            let address = Ipv4Addr::new(192, 0, 2, 33);
            assert_eq!(prefix(network).embed(address).address, embedded, "{network}");
            assert_eq!(prefix(network).extract(embedded), address, "{network}");
        }
    }

    #[test]
    fn other_lengths_are_refused() {
        for length in (0..=128).filter(|length| !matches!(length, 32 | 40 | 48 | 56 | 64 | 96)) {
            let network = Ipv6Net::new("2001:db8::".parse().unwrap(), length).unwrap();
            assert_eq!(TranslationPrefix::new(network), Err(PrefixLengthError(length)));
        }
    }

    #[test]
    fn the_well_known_prefix_is_neutral() {
        assert!(prefix("64:ff9b::/96").is_checksum_neutral());
        assert!(prefix("64:ff9b::/96").is_well_known());
        assert!(!prefix("2001:db8:46::/96").is_checksum_neutral());
    }

    proptest! {
        #[test]
        fn extract_undoes_embed_whatever_the_suffix(
            bits in any::<u128>(), noise in any::<u128>(), address in any::<u32>(), which in 0_usize..6,
        ) {
            let length = [32, 40, 48, 56, 64, 96][which];
            let network = Ipv6Net::new(Ipv6Addr::from_bits(bits), length).unwrap().trunc();
            let prefix = TranslationPrefix::new(network).unwrap();
            let address = Ipv4Addr::from_bits(address);
            let mapped = prefix.embed(address);
            prop_assert!(prefix.contains(mapped.address));
            prop_assert_eq!(mapped.delta.and(Delta::new(Sum::of_ipv6(mapped.address), Sum::of_ipv4(address))),
                            Delta::new(Sum::of_u16(1), Sum::of_u16(1)), "the two deltas cancel");
            let free = !(u128::MAX << (128 - u32::from(length))) & !place(u128::from(u32::MAX), length);
            let noisy = Ipv6Addr::from_bits(mapped.address.to_bits() | noise & free);
            prop_assert_eq!(prefix.extract(noisy), address);
        }
    }
}
