//! The Explicit Address Mapping Table (RFC 7757): longest match in both directions.
//!
//! ```text
//!  IPv4 address -> 64 Ki bits (top 16 bits: does any EAM cover it? 8 KiB, stays in L1)
//!               -> one hash index per IPv4 prefix length present, longest first -> entry
//!  IPv6 address -> one hash index per IPv6 prefix length present, longest first -> entry
//!  entry, 48 bytes: IPv6 prefix, IPv4 prefix, both lengths, checksum delta of a host mapping
//! ```
//!
//! Nearly every client source address misses in the bitmap. Memory is 48 bytes per entry and 8 to 16 bytes per
//! entry and direction for the indices.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::hash_index::{HashIndex, Hashed};
use super::{MappedV4, MappedV6};
use crate::wire::checksum::{Delta, Sum};

/// Entries from which a table does not fit into a core's own cache.
const LARGE: usize = 32_768;

/// One mapping between an IPv4 and an IPv6 prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Eam {
    /// The IPv4 prefix.
    pub ipv4: Ipv4Net,
    /// The IPv6 prefix. Its suffix has at least as many bits as the IPv4 one.
    pub ipv6: Ipv6Net,
}

/// Why a list of EAMs is no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EamError {
    /// RFC 7757 3.2.
    #[error("EAM {} = {}: the IPv4 suffix is longer than the IPv6 suffix (RFC 7757 section 3.2)", .0.ipv4, .0.ipv6)]
    SuffixTooLong(Eam),
    /// RFC 7757 5.
    #[error("EAM {} = {}: its IPv4 prefix is also in {} = {}", .0.ipv4, .0.ipv6, .1.ipv4, .1.ipv6)]
    DuplicateIpv4(Eam, Eam),
    /// RFC 7757 5.
    #[error("EAM {} = {}: its IPv6 prefix is also in {} = {}", .0.ipv4, .0.ipv6, .1.ipv4, .1.ipv6)]
    DuplicateIpv6(Eam, Eam),
}

#[derive(Clone, Copy)]
struct Entry {
    ipv6: u128,
    ipv4: u32,
    ipv4_length: u8,
    ipv6_length: u8,
    /// IPv6 minus IPv4, for entries of one IPv4 address.
    delta: Delta,
}

/// Entries of one prefix length.
struct Level {
    length: u8,
    index: HashIndex,
}

/// The table. Immutable; control builds a new one for every change.
pub struct EamTable {
    entries: Vec<Entry>,
    ipv4_cover: Box<[u64; 1024]>,
    ipv4_levels: Vec<Level>,
    ipv6_levels: Vec<Level>,
}

impl EamTable {
    /// Builds the table. Host bits of prefixes are ignored: the configuration has refused them.
    ///
    /// # Errors
    /// [`EamError`], the first one found.
    pub fn build(eams: &[Eam]) -> Result<Self, EamError> {
        let mut table = Self {
            entries: Vec::with_capacity(eams.len()),
            ipv4_cover: Box::new([0; 1024]),
            ipv4_levels: levels(eams.iter().map(|eam| eam.ipv4.prefix_len())),
            ipv6_levels: levels(eams.iter().map(|eam| eam.ipv6.prefix_len())),
        };
        for eam in eams {
            table.insert(eam)?;
        }
        Ok(table)
    }

    /// RFC 7757 3.3.1: the IPv6 address for an IPv4 address, or none when no EAM covers it.
    #[inline]
    #[must_use]
    pub fn lookup_ipv4(&self, address: Ipv4Addr) -> Option<MappedV6> {
        let bits = address.to_bits();
        if !self.may_cover(bits) {
            return None;
        }
        let entry = &self.entries[self.find_ipv4(bits)? as usize];
        if entry.ipv4_length == 32 {
            return Some(MappedV6 { address: Ipv6Addr::from_bits(entry.ipv6), delta: entry.delta });
        }
        let suffix_bits = 32 - u32::from(entry.ipv4_length);
        let suffix = u128::from(bits & !mask_ipv4(entry.ipv4_length));
        let mapped =
            Ipv6Addr::from_bits(entry.ipv6 | suffix << (128 - u32::from(entry.ipv6_length) - suffix_bits));
        Some(MappedV6 { address: mapped, delta: Delta::new(Sum::of_ipv4(address), Sum::of_ipv6(mapped)) })
    }

    /// RFC 7757 3.3.2: the IPv4 address for an IPv6 address, or none when no EAM covers it. Bits behind the
    /// IPv4 suffix are discarded.
    #[inline]
    #[must_use]
    pub fn lookup_ipv6(&self, address: Ipv6Addr) -> Option<MappedV4> {
        let bits = address.to_bits();
        let entry = &self.entries[self.find_ipv6(bits)? as usize];
        let suffix_bits = 32 - u32::from(entry.ipv4_length);
        let mapped = if suffix_bits == 0 {
            Ipv4Addr::from_bits(entry.ipv4)
        } else {
            let suffix = bits << u32::from(entry.ipv6_length) >> (128 - suffix_bits);
            Ipv4Addr::from_bits(entry.ipv4 | u32::try_from(suffix).expect("at most 32 bits are left"))
        };
        let delta = if suffix_bits == 0 && entry.ipv6_length == 128 {
            entry.delta.inverse()
        } else {
            Delta::new(Sum::of_ipv6(address), Sum::of_ipv4(mapped))
        };
        Some(MappedV4 { address: mapped, delta, default_eam: entry.ipv4_length == 0 })
    }

    /// Whether lookups are likely to wait for memory, so that [`Self::warm_up`] pays.
    #[inline]
    #[must_use]
    pub const fn is_large(&self) -> bool {
        self.entries.len() >= LARGE
    }

    /// Brings what lookups of these addresses will read into cache. The waits for memory of a whole burst overlap
    /// here, where each lookup alone would wait in turn.
    #[inline]
    pub fn warm_up(&self, ipv4: &[Ipv4Addr], ipv6: &[Ipv6Addr]) {
        let mut seen = 0;
        if let Some(level) = self.ipv4_levels.first() {
            let keys = || ipv4.iter().map(|address| address.to_bits()).filter(|bits| self.may_cover(*bits));
            let key = |bits: u32| Hashed::of_ipv4(bits & mask_ipv4(level.length));
            for bits in keys() {
                seen ^= level.index.touch(key(bits));
            }
            for bits in keys() {
                seen ^= level
                    .index
                    .find(key(bits), |_| true)
                    .map_or(0, |at| u32::from(self.entries[at as usize].ipv4_length));
            }
        }
        if let Some(level) = self.ipv6_levels.first() {
            let keys =
                || ipv6.iter().map(|address| Hashed::of_ipv6(address.to_bits() & mask_ipv6(level.length)));
            for key in keys() {
                seen ^= level.index.touch(key);
            }
            for key in keys() {
                seen ^= level
                    .index
                    .find(key, |_| true)
                    .map_or(0, |at| u32::from(self.entries[at as usize].ipv4_length));
            }
        }
        std::hint::black_box(seen);
    }

    /// Whether `address` is covered by an EAM for fewer than all IPv4 addresses: one of ours, not the IVI-style
    /// 0.0.0.0/0 (RFC 7757 A.2) that stands for the whole IPv4 Internet.
    #[inline]
    #[must_use]
    pub fn covers_service(&self, address: Ipv4Addr) -> bool {
        let bits = address.to_bits();
        self.may_cover(bits)
            && self.find_ipv4(bits).is_some_and(|at| self.entries[at as usize].ipv4_length != 0)
    }

    /// Whether an EAM and the IPv6 prefix have an address in common.
    #[must_use]
    pub fn overlaps_ipv6(&self, network: Ipv6Net) -> bool {
        self.entries.iter().any(|entry| {
            let shorter = entry.ipv6_length.min(network.prefix_len());
            (entry.ipv6 ^ network.addr().to_bits()) & mask_ipv6(shorter) == 0
        })
    }

    /// Number of mappings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no mapping.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory the table takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let indices = self.ipv4_levels.iter().chain(&self.ipv6_levels).map(|level| level.index.memory());
        size_of::<Self>() + 8192 + self.entries.capacity() * size_of::<Entry>() + indices.sum::<usize>()
    }

    /// What the bitmap says.
    #[inline]
    fn may_cover(&self, bits: u32) -> bool {
        let top = (bits >> 16) as usize;
        self.ipv4_cover[top / 64] >> (top % 64) & 1 == 1
    }

    #[inline]
    fn find_ipv4(&self, bits: u32) -> Option<u32> {
        self.ipv4_levels.iter().find_map(|level| {
            let key = bits & mask_ipv4(level.length);
            level.index.find(Hashed::of_ipv4(key), |_| true)
        })
    }

    #[inline]
    fn find_ipv6(&self, bits: u128) -> Option<u32> {
        self.ipv6_levels.iter().find_map(|level| {
            let key = bits & mask_ipv6(level.length);
            level.index.find(Hashed::of_ipv6(key), |position| self.entries[position as usize].ipv6 == key)
        })
    }

    fn insert(&mut self, eam: &Eam) -> Result<(), EamError> {
        if 32 - eam.ipv4.prefix_len() > 128 - eam.ipv6.prefix_len() {
            return Err(EamError::SuffixTooLong(*eam));
        }
        let entry = Entry {
            ipv6: eam.ipv6.network().to_bits(),
            ipv4: eam.ipv4.network().to_bits(),
            ipv4_length: eam.ipv4.prefix_len(),
            ipv6_length: eam.ipv6.prefix_len(),
            delta: Delta::new(Sum::of_ipv4(eam.ipv4.network()), Sum::of_ipv6(eam.ipv6.network())),
        };
        let position = u32::try_from(self.entries.len()).expect("fewer than 2^32 EAMs");
        let (key4, key6) = (Hashed::of_ipv4(entry.ipv4), Hashed::of_ipv6(entry.ipv6));

        let level = level_of(&mut self.ipv4_levels, entry.ipv4_length);
        if let Some(other) = level.index.find(key4, |_| true) {
            return Err(EamError::DuplicateIpv4(*eam, self.eam(other)));
        }
        level.index.insert(key4, position);
        let entries = &self.entries;
        let level = level_of(&mut self.ipv6_levels, entry.ipv6_length);
        if let Some(other) = level.index.find(key6, |position| entries[position as usize].ipv6 == entry.ipv6)
        {
            return Err(EamError::DuplicateIpv6(*eam, self.eam(other)));
        }
        level.index.insert(key6, position);
        self.entries.push(entry);

        let last = entry.ipv4 | !mask_ipv4(entry.ipv4_length);
        for top in entry.ipv4 >> 16..=last >> 16 {
            self.ipv4_cover[top as usize / 64] |= 1 << (top % 64);
        }
        Ok(())
    }

    fn eam(&self, position: u32) -> Eam {
        let entry = &self.entries[position as usize];
        Eam {
            ipv4: Ipv4Net::new_assert(Ipv4Addr::from_bits(entry.ipv4), entry.ipv4_length),
            ipv6: Ipv6Net::new_assert(Ipv6Addr::from_bits(entry.ipv6), entry.ipv6_length),
        }
    }
}

/// Empty levels for the lengths present, longest first.
fn levels(lengths: impl Iterator<Item = u8>) -> Vec<Level> {
    let mut counts = [0_usize; 129];
    for length in lengths {
        counts[usize::from(length)] += 1;
    }
    (0..=128_u8)
        .rev()
        .filter(|length| counts[usize::from(*length)] > 0)
        .map(|length| Level { length, index: HashIndex::with_capacity(counts[usize::from(length)]) })
        .collect()
}

fn level_of(levels: &mut [Level], length: u8) -> &mut Level {
    levels.iter_mut().find(|level| level.length == length).expect("a level was made for every length present")
}

#[inline]
const fn mask_ipv4(length: u8) -> u32 {
    if length == 0 { 0 } else { u32::MAX << (32 - length as u32) }
}

#[inline]
const fn mask_ipv6(length: u8) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - length as u32) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn eam(ipv4: &str, ipv6: &str) -> Eam {
        Eam { ipv4: ipv4.parse().unwrap(), ipv6: ipv6.parse().unwrap() }
    }

    /// RFC 7757 figure 1.
    fn figure_1() -> EamTable {
        EamTable::build(&[
            eam("192.0.2.1/32", "2001:db8:aaaa::/128"),
            eam("192.0.2.2/32", "2001:db8:bbbb::b/128"),
            eam("192.0.2.16/28", "2001:db8:cccc::/124"),
            eam("192.0.2.128/26", "2001:db8:dddd::/64"),
            eam("192.0.2.192/29", "2001:db8:eeee:8::/62"),
            eam("192.0.2.224/31", "64:ff9b::/127"),
        ])
        .unwrap()
    }

    #[test]
    fn rfc_7757_figure_7_both_ways() {
        let table = figure_1();
        for (v4, v6) in [
            ("192.0.2.1", "2001:db8:aaaa::"),
            ("192.0.2.2", "2001:db8:bbbb::b"),
            ("192.0.2.16", "2001:db8:cccc::"),
            ("192.0.2.24", "2001:db8:cccc::8"),
            ("192.0.2.31", "2001:db8:cccc::f"),
            ("192.0.2.128", "2001:db8:dddd::"),
            ("192.0.2.152", "2001:db8:dddd:0:6000::"),
            ("192.0.2.183", "2001:db8:dddd:0:dc00::"),
            ("192.0.2.191", "2001:db8:dddd:0:fc00::"),
            ("192.0.2.193", "2001:db8:eeee:8:8000::"),
            ("192.0.2.195", "2001:db8:eeee:9:8000::"),
            ("192.0.2.225", "64:ff9b::1"),
        ] {
            let (v4, v6): (Ipv4Addr, Ipv6Addr) = (v4.parse().unwrap(), v6.parse().unwrap());
            assert_eq!(table.lookup_ipv4(v4).unwrap().address, v6);
            assert_eq!(table.lookup_ipv6(v6).unwrap().address, v4);
        }
        assert!(table.lookup_ipv4(Ipv4Addr::new(192, 0, 2, 3)).is_none());
        assert!(table.lookup_ipv4(Ipv4Addr::new(203, 0, 113, 50)).is_none());
        assert!(table.lookup_ipv6("2001:db8:aaaa::1".parse().unwrap()).is_none());
        let trailing = table.lookup_ipv6("2001:db8:dddd:0:63ff::1".parse().unwrap()).unwrap();
        assert_eq!(trailing.address, Ipv4Addr::new(192, 0, 2, 152), "bits behind the suffix are discarded");
    }

    #[test]
    fn refuses_long_suffixes_and_duplicates() {
        let row = eam("192.0.2.0/24", "2001:db8::/121");
        assert_eq!(EamTable::build(&[row]).err(), Some(EamError::SuffixTooLong(row)));
        let (first, second) =
            (eam("192.0.2.1/32", "2001:db8::1/128"), eam("192.0.2.1/32", "2001:db8::2/128"));
        assert_eq!(EamTable::build(&[first, second]).err(), Some(EamError::DuplicateIpv4(second, first)));
        let second = eam("192.0.2.2/32", "2001:db8::1/128");
        assert_eq!(EamTable::build(&[first, second]).err(), Some(EamError::DuplicateIpv6(second, first)));
    }

    #[test]
    fn the_default_eam_covers_everything_but_is_no_service() {
        let table = EamTable::build(&[
            eam("0.0.0.0/0", "2001:db8:ff00::/40"),
            eam("198.51.100.64/32", "2001:db8::abcd/128"),
        ])
        .unwrap();
        let mapped = table.lookup_ipv4(Ipv4Addr::new(203, 0, 113, 9)).unwrap();
        assert_eq!(mapped.address, "2001:db8:ffcb:71:900::".parse::<Ipv6Addr>().unwrap());
        assert!(!table.covers_service(Ipv4Addr::new(203, 0, 113, 9)));
        assert!(table.covers_service(Ipv4Addr::new(198, 51, 100, 64)));
        assert!(table.lookup_ipv6(mapped.address).unwrap().default_eam);
    }

    /// The table as RFC 7757 words it: look at every row.
    fn naive(eams: &[Eam], address: Ipv4Addr) -> Option<Ipv6Addr> {
        let best =
            eams.iter().filter(|eam| eam.ipv4.contains(&address)).max_by_key(|eam| eam.ipv4.prefix_len())?;
        let mut bits = best.ipv6.network().to_bits();
        for bit in u32::from(best.ipv4.prefix_len())..32 {
            if address.to_bits() >> (31 - bit) & 1 == 1 {
                bits |= 1
                    << (127 - (u32::from(best.ipv6.prefix_len()) + bit - u32::from(best.ipv4.prefix_len())));
            }
        }
        Some(Ipv6Addr::from_bits(bits))
    }

    fn naive_back(eams: &[Eam], address: Ipv6Addr) -> Option<Ipv4Addr> {
        let best =
            eams.iter().filter(|eam| eam.ipv6.contains(&address)).max_by_key(|eam| eam.ipv6.prefix_len())?;
        let mut bits = best.ipv4.network().to_bits();
        for bit in 0..32 - u32::from(best.ipv4.prefix_len()) {
            if address.to_bits() >> (127 - u32::from(best.ipv6.prefix_len()) - bit) & 1 == 1 {
                bits |= 1 << (31 - u32::from(best.ipv4.prefix_len()) - bit);
            }
        }
        Some(Ipv4Addr::from_bits(bits))
    }

    prop_compose! {
        fn any_eam()(v4 in any::<u32>(), v6 in any::<u32>(), length in 0_u8..=32, extra in 0_u8..=96) -> Eam {
            // Few distinct top bits, so that prefixes overlap.
            let v4 = Ipv4Net::new(Ipv4Addr::from_bits(v4 & 0x0300_0f0f), length).unwrap().trunc();
            let bits = u128::from(v6 & 0x0100_0f0f) << 96 | u128::from(v6) << 40;
            let v6 = Ipv6Net::new(Ipv6Addr::from_bits(bits), length + extra).unwrap().trunc();
            Eam { ipv4: v4, ipv6: v6 }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_table(
            rows in proptest::collection::vec(any_eam(), 0..40),
            probes in proptest::collection::vec((any::<u32>(), any::<u128>()), 40),
        ) {
            let mut eams: Vec<Eam> = Vec::new();
            for row in rows {
                if !eams.iter().any(|eam| eam.ipv4 == row.ipv4 || eam.ipv6 == row.ipv6) {
                    eams.push(row);
                }
            }
            let table = EamTable::build(&eams).unwrap();
            prop_assert_eq!(table.len(), eams.len());
            for (v4, v6) in probes {
                let v4 = Ipv4Addr::from_bits(v4 & 0x0300_0f0f);
                let mapped = table.lookup_ipv4(v4);
                prop_assert_eq!(mapped.map(|mapped| mapped.address), naive(&eams, v4));
                if let Some(mapped) = mapped {
                    let full = Delta::new(Sum::of_ipv4(v4), Sum::of_ipv6(mapped.address));
                    prop_assert_eq!(mapped.delta, full);
                }
                let inside = eams.first().map_or(0, |eam| eam.ipv6.network().to_bits());
                for v6 in [Ipv6Addr::from_bits(v6), Ipv6Addr::from_bits(inside | v6 >> 70)] {
                    let mapped = table.lookup_ipv6(v6);
                    prop_assert_eq!(mapped.map(|mapped| mapped.address), naive_back(&eams, v6));
                }
            }
        }
    }
}
