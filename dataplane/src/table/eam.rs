//! The Explicit Address Mapping Table (RFC 7757): longest match in both directions.
//!
//! ```text
//!  IPv4 address -> 64 Ki bits (top 16 bits: does any EAM cover it? 8 KiB, stays in L1)
//!               -> hosts by IPv4 (/32)             host_table.rs: one cache line holds key and answer
//!               -> one index per shorter length     prefix_eams.rs, longest first
//!  IPv6 address -> hosts by IPv6 (/128)
//!               -> one index per shorter length, longest first
//! ```
//!
//! Nearly every client source address misses in the bitmap. A pair of hosts takes 43 to 85 bytes per
//! direction, a prefix about 100.
//!
//! A table never changes once it is published. [`EamTable::apply`] makes the next version, which shares every page of
//! memory that the changes do not touch with the one before.

mod covering;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};

use super::host_table::{Bucket, HostTable, Pair};
use super::prefix_eams::PrefixEams;
use super::{MappedV4, MappedV6};
use crate::hash::high64;
use crate::wire::checksum::{Delta, Sum};

/// One mapping between an IPv4 and an IPv6 prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Eam {
    /// The IPv4 prefix.
    pub ipv4: Ipv4Net,
    /// The IPv6 prefix. Its suffix has at least as many bits as the IPv4 one.
    pub ipv6: Ipv6Net,
}

/// One step from a table to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A mapping the table does not have.
    Add(Eam),
    /// A mapping the table has, exactly so.
    Remove(Eam),
}

/// Why a list of EAMs is no table, or a list of changes leads to none.
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
    /// Only what is there can be removed.
    #[error("EAM {} = {} cannot be removed: the table does not have it", .0.ipv4, .0.ipv6)]
    Unknown(Eam),
}

/// How many mappings of one kind there are more after the changes.
fn gained(changes: &[Change], is_of_kind: fn(&Eam) -> bool) -> usize {
    let (mut added, mut removed) = (0_usize, 0);
    for change in changes {
        match change {
            Change::Add(eam) => added += usize::from(is_of_kind(eam)),
            Change::Remove(eam) => removed += usize::from(is_of_kind(eam)),
        }
    }
    added.saturating_sub(removed)
}

/// Mappings whose lines are fetched before the first of them is touched.
const FETCHED_AHEAD: usize = 32;

/// The table. Immutable but for the way from one version to the next.
#[derive(Clone)]
pub struct EamTable {
    cover: Cover,
    by_ipv4: HostTable<Ipv4Addr>,
    by_ipv6: HostTable<Ipv6Addr>,
    /// Every mapping that is not between two hosts. One of an IPv4 host and an IPv6 prefix is in `by_ipv4` as well.
    prefixes: Arc<PrefixEams>,
    mappings: usize,
    /// Those between hosts of which the IPv6 address is not one that every host may have.
    odd: usize,
}

/// The cache line in which the mapping of one host is looked for first.
#[derive(Clone, Copy)]
pub struct Fetched<'a>(Bucket<'a>);

impl std::fmt::Debug for Fetched<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("Fetched")
    }
}

impl EamTable {
    /// Builds the table. Host bits of prefixes are ignored: the configuration has refused them.
    ///
    /// # Errors
    /// [`EamError`], the first one found.
    pub fn build(eams: &[Eam]) -> Result<Self, EamError> {
        let hosts = |length: fn(&Eam) -> bool| eams.iter().filter(|eam| length(eam)).count();
        let mut table = Self {
            cover: Cover::new(),
            by_ipv4: HostTable::with_capacity(hosts(|eam| eam.ipv4.prefix_len() == 32)),
            by_ipv6: HostTable::with_capacity(hosts(|eam| eam.ipv6.prefix_len() == 128)),
            prefixes: Arc::default(),
            mappings: 0,
            odd: 0,
        };
        for some in eams.chunks(FETCHED_AHEAD) {
            some.iter().for_each(|eam| table.fetch(eam));
            some.iter().try_for_each(|eam| table.add(eam))?;
        }
        Ok(table)
    }

    /// The next version of the table, after `changes` in their order. Pages that none of them touches are shared
    /// with this version; many changes at once share the copies of the pages they touch.
    ///
    /// # Errors
    /// [`EamError`], the first one found. This version is as it was in any case.
    pub fn apply(&self, changes: &[Change]) -> Result<Self, EamError> {
        let mut next = self.clone();
        next.by_ipv4.prepare(changes.len(), gained(changes, |eam| eam.ipv4.prefix_len() == 32));
        next.by_ipv6.prepare(changes.len(), gained(changes, |eam| eam.ipv6.prefix_len() == 128));
        for some in changes.chunks(FETCHED_AHEAD) {
            for Change::Add(eam) | Change::Remove(eam) in some {
                next.fetch(eam);
            }
            for change in some {
                match change {
                    Change::Add(eam) => next.add(eam)?,
                    Change::Remove(eam) => next.remove(eam)?,
                }
            }
        }
        Ok(next)
    }

    /// Has the lines that a mapping belongs into fetched, so that the waits of several overlap.
    fn fetch(&self, eam: &Eam) {
        self.by_ipv4.fetch(eam.ipv4.addr());
        self.by_ipv6.fetch(eam.ipv6.addr());
    }

    /// Has the mapping of an IPv4 host fetched, for [`Self::host_ipv4`] soon after.
    #[inline(always)]
    #[must_use]
    pub fn fetch_ipv4(&self, address: Ipv4Addr) -> Fetched<'_> {
        Fetched(self.by_ipv4.fetch(address))
    }

    /// Has the mapping of an IPv6 host fetched, for [`Self::host_ipv6`] soon after.
    #[inline(always)]
    #[must_use]
    pub fn fetch_ipv6(&self, address: Ipv6Addr) -> Fetched<'_> {
        Fetched(self.by_ipv6.fetch(address))
    }

    /// The IPv6 address of the host `address`, if it has a mapping of its own, as nearly all do. `fetched` is the
    /// address's.
    #[inline(always)]
    #[must_use]
    pub fn host_ipv4(&self, fetched: Fetched<'_>, address: Ipv4Addr) -> Option<MappedV6> {
        self.by_ipv4.find_in(fetched.0, address).map(|ipv6| mapped_v6(address, ipv6))
    }

    /// The IPv4 address of the host `address`, if it has a mapping of its own. `fetched` is the address's.
    #[inline(always)]
    #[must_use]
    pub fn host_ipv6(&self, fetched: Fetched<'_>, address: Ipv6Addr) -> Option<MappedV4> {
        self.by_ipv6.find_in(fetched.0, address).map(|ipv4| mapped_v4(address, ipv4, false))
    }

    /// Whether the IPv6 address of every mapping that the two functions above find is global unicast (RFC 4291 section 2.4).
    #[inline(always)]
    #[must_use]
    pub const fn are_global(&self) -> bool {
        self.odd == 0
    }

    /// RFC 7757 3.3.1: the IPv6 address for an IPv4 address, or none when no EAM covers it.
    #[inline]
    #[must_use]
    pub fn lookup_ipv4(&self, address: Ipv4Addr) -> Option<MappedV6> {
        if !self.cover.may_contain(address) {
            return None;
        }
        if let Some(ipv6) = self.by_ipv4.find(address) {
            return Some(mapped_v6(address, ipv6));
        }
        self.prefixes.lookup_ipv4(address).map(|ipv6| mapped_v6(address, ipv6))
    }

    /// RFC 7757 3.3.2: the IPv4 address for an IPv6 address, or none when no EAM covers it. Bits behind the
    /// IPv4 suffix are discarded.
    #[inline]
    #[must_use]
    pub fn lookup_ipv6(&self, address: Ipv6Addr) -> Option<MappedV4> {
        let (ipv4, default_eam) = match self.by_ipv6.find(address) {
            Some(ipv4) => (ipv4, false),
            None => self.prefixes.lookup_ipv6(address)?,
        };
        Some(mapped_v4(address, ipv4, default_eam))
    }

    /// The mapping that [`Self::lookup_ipv4`] uses.
    #[must_use]
    pub fn eam_of_ipv4(&self, address: Ipv4Addr) -> Option<Eam> {
        let host = |ipv6: Ipv6Addr| Eam { ipv4: address.into(), ipv6: ipv6.into() };
        self.by_ipv4.find(address).map(host).or_else(|| self.prefixes.eam_of_ipv4(address))
    }

    /// The mapping that [`Self::lookup_ipv6`] uses.
    #[must_use]
    pub fn eam_of_ipv6(&self, address: Ipv6Addr) -> Option<Eam> {
        let host = |ipv4: Ipv4Addr| Eam { ipv4: ipv4.into(), ipv6: address.into() };
        self.by_ipv6.find(address).map(host).or_else(|| self.prefixes.eam_of_ipv6(address))
    }

    /// Whether `address` may be covered by an EAM; a no is certain, and costs one load.
    #[inline]
    #[must_use]
    pub fn may_cover(&self, address: Ipv4Addr) -> bool {
        self.cover.may_contain(address)
    }

    /// The IPv4 prefix of the mapping around `address`, the longest one.
    #[must_use]
    pub fn mapping_around(&self, address: Ipv4Addr) -> Option<Ipv4Net> {
        if self.by_ipv4.find(address).is_some() {
            return Some(address.into());
        }
        self.prefixes.around_ipv4(address)
    }

    /// What [`Self::may_cover`] looks at, for all addresses: one bit for each value of their top 16 bits.
    pub(super) fn cover(&self) -> &[u64; 1024] {
        &self.cover.bits
    }

    /// Whether `address` is covered by an EAM for fewer than all IPv4 addresses: one of ours, not the IVI-style
    /// 0.0.0.0/0 (RFC 7757 A.2) that stands for the whole IPv4 Internet.
    #[inline]
    #[must_use]
    pub fn covers_service(&self, address: Ipv4Addr) -> bool {
        self.cover.may_contain(address)
            && (self.by_ipv4.find(address).is_some() || self.prefixes.covers_service(address))
    }

    /// How many EAMs have an address in common with the IPv6 prefix.
    #[must_use]
    pub fn overlapping_ipv6(&self, network: Ipv6Net) -> usize {
        self.by_ipv6.iter().filter(|pair| network.contains(&pair.ipv6)).count()
            + self.prefixes.iter().filter(|eam| eam.overlaps_ipv6(network)).count()
    }

    /// All mappings, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Eam> + '_ {
        self.by_ipv6.iter().map(host_eam).chain(self.prefixes.iter())
    }

    /// Number of mappings.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.mappings
    }

    /// Whether there is no mapping.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.mappings == 0
    }

    /// Bytes of memory the table takes, parts shared with other versions included.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.cover.memory()
            + self.by_ipv4.memory()
            + self.by_ipv6.memory()
            + self.prefixes.memory()
    }

    fn add(&mut self, eam: &Eam) -> Result<(), EamError> {
        let eam = eam.trunc();
        if 32 - eam.ipv4.prefix_len() > 128 - eam.ipv6.prefix_len() {
            return Err(EamError::SuffixTooLong(eam));
        }
        if let Some(other) = self.with_ipv4(eam.ipv4) {
            return Err(EamError::DuplicateIpv4(eam, other));
        }
        if let Some(other) = self.with_ipv6(eam.ipv6) {
            return Err(EamError::DuplicateIpv6(eam, other));
        }
        let pair = Pair { ipv4: eam.ipv4.network(), ipv6: eam.ipv6.network() };
        if eam.ipv4.prefix_len() == 32 {
            self.by_ipv4.insert(pair);
        }
        if eam.ipv6.prefix_len() == 128 {
            self.by_ipv6.insert(pair);
        } else {
            Arc::make_mut(&mut self.prefixes).add(eam);
        }
        self.cover.add(eam.ipv4);
        self.mappings += 1;
        self.odd += usize::from(eam.is_odd());
        Ok(())
    }

    fn remove(&mut self, eam: &Eam) -> Result<(), EamError> {
        let eam = eam.trunc();
        if self.with_ipv6(eam.ipv6) != Some(eam) {
            return Err(EamError::Unknown(eam));
        }
        if eam.ipv4.prefix_len() == 32 {
            self.by_ipv4.remove(eam.ipv4.network());
        }
        if eam.ipv6.prefix_len() == 128 {
            self.by_ipv6.remove(eam.ipv6.network());
        } else {
            Arc::make_mut(&mut self.prefixes).remove(eam);
        }
        self.cover.remove(eam.ipv4);
        self.mappings -= 1;
        // The table has exactly this mapping, so it was counted.
        self.odd -= usize::from(eam.is_odd());
        Ok(())
    }

    /// The mapping of exactly this prefix.
    fn with_ipv4(&self, network: Ipv4Net) -> Option<Eam> {
        if network.prefix_len() < 32 {
            return self.prefixes.with_ipv4(network);
        }
        let pair = Pair { ipv4: network.network(), ipv6: self.by_ipv4.find(network.network())? };
        let host = self.by_ipv6.find(pair.ipv6).filter(|ipv4| *ipv4 == pair.ipv4).map(|_| host_eam(pair));
        host.or_else(|| self.prefixes.with_ipv4(network))
    }

    /// The mapping of exactly this prefix.
    fn with_ipv6(&self, network: Ipv6Net) -> Option<Eam> {
        match network.prefix_len() {
            128 => {
                let ipv6 = network.network();
                self.by_ipv6.find(ipv6).map(|ipv4| host_eam(Pair { ipv4, ipv6 }))
            }
            _ => self.prefixes.with_ipv6(network),
        }
    }
}

impl Eam {
    /// Whether it has an address in common with the IPv6 prefix.
    pub(super) fn overlaps_ipv6(&self, network: Ipv6Net) -> bool {
        network.contains(&self.ipv6) || self.ipv6.contains(&network)
    }

    /// Whether it is in a table of hosts by an IPv6 address that not every host may have.
    fn is_odd(&self) -> bool {
        let is_host = self.ipv4.prefix_len() == 32 || self.ipv6.prefix_len() == 128;
        is_host && !is_global_unicast(self.ipv6.network())
    }

    /// The same without host bits.
    fn trunc(self) -> Self {
        Self { ipv4: self.ipv4.trunc(), ipv6: self.ipv6.trunc() }
    }
}

/// Neither one of the special addresses that begin with 64 zero bits nor an ORCHID nor of less than global scope. A no may
/// be wrong.
#[inline(always)]
pub(crate) const fn is_global_unicast(address: Ipv6Addr) -> bool {
    let high = high64(address.to_bits());
    high != 0 && high < 0xfe80 << 48 && high >> 36 != 0x200_1001
}

#[inline]
fn mapped_v6(from: Ipv4Addr, to: Ipv6Addr) -> MappedV6 {
    MappedV6 { address: to, delta: Delta::new(Sum::of_ipv4(from), Sum::of_ipv6(to)) }
}

#[inline]
fn mapped_v4(from: Ipv6Addr, to: Ipv4Addr, default_eam: bool) -> MappedV4 {
    MappedV4 { address: to, delta: Delta::new(Sum::of_ipv6(from), Sum::of_ipv4(to)), default_eam }
}

fn host_eam(pair: Pair) -> Eam {
    Eam { ipv4: pair.ipv4.into(), ipv6: pair.ipv6.into() }
}

/// Which halves of the IPv4 address space have mappings: one bit, and the number of mappings so that the bit can be
/// cleared again, for each value of the top 16 bits.
#[derive(Clone)]
struct Cover {
    bits: Box<[u64; 1024]>,
    /// By the first octet, then the second; versions share what did not change.
    mappings: Vec<Arc<[u32; 256]>>,
}

impl Cover {
    fn new() -> Self {
        let none = Arc::new([0; 256]);
        Self { bits: Box::new([0; 1024]), mappings: vec![none; 256] }
    }

    #[inline]
    fn may_contain(&self, address: Ipv4Addr) -> bool {
        let top = (address.to_bits() >> 16) as usize;
        self.bits[top / 64] >> (top % 64) & 1 == 1
    }

    fn add(&mut self, network: Ipv4Net) {
        for top in tops(network) {
            Arc::make_mut(&mut self.mappings[top / 256])[top % 256] += 1;
            self.bits[top / 64] |= 1 << (top % 64);
        }
    }

    fn remove(&mut self, network: Ipv4Net) {
        for top in tops(network) {
            let mappings = &mut Arc::make_mut(&mut self.mappings[top / 256])[top % 256];
            *mappings -= 1;
            if *mappings == 0 {
                self.bits[top / 64] &= !(1 << (top % 64));
            }
        }
    }

    const fn memory(&self) -> usize {
        size_of::<[u64; 1024]>() + self.mappings.len() * size_of::<[u32; 256]>()
    }
}

/// The top 16 bits of all addresses of a network.
pub(super) fn tops(network: Ipv4Net) -> std::ops::RangeInclusive<usize> {
    (network.network().to_bits() >> 16) as usize..=(network.broadcast().to_bits() >> 16) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn eam(ipv4: &str, ipv6: &str) -> Eam {
        Eam { ipv4: ipv4.parse().unwrap(), ipv6: ipv6.parse().unwrap() }
    }

    #[test]
    fn it_is_known_whether_all_mapped_hosts_are_global() {
        let global = [eam("192.0.2.1/32", "2001:db8::1/128"), eam("192.0.2.2/32", "fd00::1/128")];
        let mut table = EamTable::build(&global).unwrap();
        assert!(table.are_global());
        // Link-local, ORCHID, the first 64 bits zero; the last one a host by its IPv4 address alone.
        let odd = ["fe80::1/128", "2001:10::1/128", "::1/128", "fe80:1::/64"];
        let odd = (3..).zip(odd).map(|(host, ipv6)| eam(&format!("192.0.2.{host}/32"), ipv6));
        for odd in odd {
            table = table.apply(&[Change::Add(odd)]).unwrap();
            assert!(!table.are_global(), "{odd:?}");
            table = table.apply(&[Change::Remove(global[0])]).unwrap();
            assert!(!table.are_global(), "{odd:?}");
            table = table.apply(&[Change::Add(global[0]), Change::Remove(odd)]).unwrap();
            assert!(table.are_global(), "{odd:?} is gone");
        }
        let prefix = eam("198.51.100.0/24", "fe80:2::/120");
        assert!(table.apply(&[Change::Add(prefix)]).unwrap().are_global(), "no host");
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

    #[test]
    fn changes_make_a_new_version_and_leave_the_old_one_alone() {
        let old = figure_1();
        let host = eam("192.0.2.1/32", "2001:db8:aaaa::/128");
        let moved = eam("192.0.2.1/32", "2001:db8:aaaa::/64");
        let net = eam("192.0.2.16/28", "2001:db8:cccc::/124");
        let new = old.apply(&[Change::Remove(host), Change::Add(moved), Change::Remove(net)]).unwrap();
        assert_eq!((old.len(), new.len()), (6, 5));
        let service = Ipv4Addr::new(192, 0, 2, 1);
        let inside = "2001:db8:aaaa::5".parse().unwrap();
        assert!(old.lookup_ipv6(inside).is_none());
        assert_eq!(new.lookup_ipv6(inside).unwrap().address, service);
        assert_eq!(new.lookup_ipv4(service).unwrap().address, moved.ipv6.addr());
        assert!(old.lookup_ipv4(Ipv4Addr::new(192, 0, 2, 17)).is_some());
        assert!(new.lookup_ipv4(Ipv4Addr::new(192, 0, 2, 17)).is_none());
        assert_eq!(old.apply(&[Change::Remove(moved)]).err(), Some(EamError::Unknown(moved)));
        assert_eq!(new.apply(&[Change::Add(host)]).err(), Some(EamError::DuplicateIpv4(host, moved)));
        let empty = new.apply(&new.iter().map(Change::Remove).collect::<Vec<_>>()).unwrap();
        assert!(empty.is_empty() && !empty.may_cover(service), "and the bitmap is clear again");
    }

    proptest! {
        /// A table reached by changes answers as one built at once.
        #[test]
        fn changes_agree_with_building_anew(
            rows in proptest::collection::vec(any_eam(), 0..40),
            kept in proptest::collection::vec(any::<bool>(), 40),
            probes in proptest::collection::vec(any::<u32>(), 40),
        ) {
            let mut eams: Vec<Eam> = Vec::new();
            for row in rows {
                if !eams.iter().any(|eam| eam.ipv4 == row.ipv4 || eam.ipv6 == row.ipv6) {
                    eams.push(row);
                }
            }
            let half = eams.len() / 2;
            let mut table = EamTable::build(&eams[..half]).unwrap();
            let added: Vec<Change> = eams[half..].iter().copied().map(Change::Add).collect();
            table = table.apply(&added).unwrap();
            let (left, gone): (Vec<_>, Vec<_>) = eams.iter().zip(&kept).partition(|(_, kept)| **kept);
            let removed: Vec<Change> = gone.into_iter().map(|(eam, _)| Change::Remove(*eam)).collect();
            table = table.apply(&removed).unwrap();
            let left: Vec<Eam> = left.into_iter().map(|(eam, _)| *eam).collect();
            let anew = EamTable::build(&left).unwrap();
            prop_assert_eq!(table.len(), anew.len());
            for probe in probes {
                let probe = Ipv4Addr::from_bits(probe & 0x0300_0f0f);
                prop_assert_eq!(table.lookup_ipv4(probe), anew.lookup_ipv4(probe));
                prop_assert_eq!(table.may_cover(probe), anew.may_cover(probe));
                if let Some(mapped) = anew.lookup_ipv4(probe) {
                    prop_assert_eq!(table.lookup_ipv6(mapped.address), anew.lookup_ipv6(mapped.address));
                }
            }
        }

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
