//! IPv4 identifications for packets with DF 0: unpredictable, and not repeating per destination for as long as
//! 16 bits allow (RFC 7915 5.1, RFC 6864).
//!
//! Each worker has a table of counters, chosen by a keyed hash of source, destination and protocol, and sends a
//! counter's value through a keyed permutation of 16 bits: 65,535 packets of one flow have 65,535 different
//! identifications, in an order only the key tells. Workers share nothing; RSS by address keeps a pair of
//! addresses on one worker.
#![allow(clippy::cast_possible_truncation, reason = "hashes keep the bits they need")]

use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;

use crate::hash::{high64, low64};

const COUNTERS: usize = 4096;

/// Makes identifications.
#[derive(Clone)]
pub struct Identifications {
    counters: Box<[u16; COUNTERS]>,
    keys: [u64; 2],
}

impl Default for Identifications {
    fn default() -> Self {
        // The standard library's random keys are the operating system's randomness.
        let random = |number: u32| RandomState::new().hash_one(number);
        Self::with_keys([random(0), random(1)])
    }
}

impl Identifications {
    /// A generator with these secret keys.
    #[must_use]
    pub fn with_keys(keys: [u64; 2]) -> Self {
        Self { counters: Box::new([0; COUNTERS]), keys }
    }

    /// The next identification between two addresses, never 0.
    #[inline]
    pub fn next(&mut self, source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> u16 {
        let pair = u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits());
        let product = u128::from(pair ^ self.keys[0]) * u128::from(self.keys[1] ^ u64::from(protocol) << 32);
        let hash = high64(product) ^ low64(product);
        let counter = &mut self.counters[hash as usize % COUNTERS];
        loop {
            *counter = counter.wrapping_add(1);
            let identification = permute(*counter, hash);
            if identification != 0 {
                return identification;
            }
        }
    }
}

/// A permutation of 16 bits for every key: multiplying by an odd number and adding the upper bits to the lower ones can
/// both be undone.
#[inline]
const fn permute(value: u16, key: u64) -> u16 {
    let value = (value ^ (key >> 16) as u16).wrapping_mul((key >> 32) as u16 | 1);
    let value = (value ^ value >> 8).wrapping_mul((key >> 48) as u16 | 1);
    value ^ value >> 7
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const B: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 50);

    #[test]
    fn one_flow_repeats_nothing_for_65535_packets() {
        let mut identifications = Identifications::with_keys([1, 2]);
        let mut seen = vec![false; 65536];
        for _ in 0..65_535 {
            let identification = usize::from(identifications.next(A, B, 17));
            assert!(!std::mem::replace(&mut seen[identification], true));
        }
        assert!(!seen[0]);
    }

    #[test]
    fn the_sequence_depends_on_key_and_flow_and_is_no_counter() {
        let sequence = |keys, destination| {
            let mut identifications = Identifications::with_keys(keys);
            (0..100).map(|_| identifications.next(A, destination, 6)).collect::<Vec<_>>()
        };
        let one = sequence([1, 2], B);
        assert_ne!(one, sequence([1, 3], B));
        assert_ne!(one, sequence([1, 2], A));
        let steps: std::collections::HashSet<u16> =
            one.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        assert!(steps.len() > 90, "differences between neighbours are as scattered as the values");
    }
}
