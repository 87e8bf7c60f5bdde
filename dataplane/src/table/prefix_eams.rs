//! The mappings that are not between two single hosts: longest match in both directions over the few prefix lengths
//! that occur.
//!
//! ```text
//!  address -> one hash map per prefix length present, longest first -> mapping
//! ```

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::eam::Eam;
use crate::hash::{high64, low64, mix};

/// The mappings of one prefix length, by their network bits.
#[derive(Clone)]
struct Level<K> {
    length: u8,
    eams: HashMap<K, Eam, BuildHasherDefault<Mixing>>,
}

/// Levels, longest first. None is empty.
type Levels<K> = Vec<Level<K>>;

/// The mappings; see the module's drawing.
#[derive(Clone, Default)]
pub(super) struct PrefixEams {
    /// IPv4 hosts are not here: the table of hosts has them.
    by_ipv4: Levels<u32>,
    by_ipv6: Levels<u128>,
}

impl PrefixEams {
    /// The IPv6 address for an IPv4 address.
    #[inline]
    pub(super) fn lookup_ipv4(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        let bits = address.to_bits();
        let eam = self.find_ipv4(bits)?;
        let suffix_bits = 32 - u32::from(eam.ipv4.prefix_len());
        let suffix = u128::from(bits & !mask_ipv4(eam.ipv4.prefix_len()));
        let shift = 128 - u32::from(eam.ipv6.prefix_len()) - suffix_bits;
        Some(Ipv6Addr::from_bits(eam.ipv6.addr().to_bits() | suffix << shift))
    }

    /// The IPv4 address for an IPv6 address, and whether the mapping is the one of 0.0.0.0/0.
    #[inline]
    pub(super) fn lookup_ipv6(&self, address: Ipv6Addr) -> Option<(Ipv4Addr, bool)> {
        let bits = address.to_bits();
        let eam = self.by_ipv6.iter().find_map(|level| level.eams.get(&(bits & mask_ipv6(level.length))))?;
        let suffix_bits = 32 - u32::from(eam.ipv4.prefix_len());
        let suffix = match suffix_bits {
            0 => 0,
            _ => bits << u32::from(eam.ipv6.prefix_len()) >> (128 - suffix_bits),
        };
        let suffix = u32::try_from(suffix).expect("at most 32 bits are left");
        Some((Ipv4Addr::from_bits(eam.ipv4.addr().to_bits() | suffix), eam.ipv4.prefix_len() == 0))
    }

    /// The mapping that [`Self::lookup_ipv4`] uses.
    pub(super) fn eam_of_ipv4(&self, address: Ipv4Addr) -> Option<Eam> {
        self.find_ipv4(address.to_bits()).copied()
    }

    /// The mapping that [`Self::lookup_ipv6`] uses.
    pub(super) fn eam_of_ipv6(&self, address: Ipv6Addr) -> Option<Eam> {
        let bits = address.to_bits();
        self.by_ipv6.iter().find_map(|level| level.eams.get(&(bits & mask_ipv6(level.length)))).copied()
    }

    /// The IPv4 prefix of the mapping around `address`.
    pub(super) fn around_ipv4(&self, address: Ipv4Addr) -> Option<Ipv4Net> {
        self.find_ipv4(address.to_bits()).map(|eam| eam.ipv4)
    }

    /// Whether a mapping other than the one of 0.0.0.0/0 covers `address`.
    #[inline]
    pub(super) fn covers_service(&self, address: Ipv4Addr) -> bool {
        self.find_ipv4(address.to_bits()).is_some_and(|eam| eam.ipv4.prefix_len() != 0)
    }

    /// The mapping of exactly this IPv4 prefix.
    pub(super) fn with_ipv4(&self, network: Ipv4Net) -> Option<Eam> {
        if network.prefix_len() == 32 {
            return self.iter().find(|eam| eam.ipv4 == network);
        }
        get(&self.by_ipv4, network.prefix_len(), network.addr().to_bits())
    }

    /// The mapping of exactly this IPv6 prefix.
    pub(super) fn with_ipv6(&self, network: Ipv6Net) -> Option<Eam> {
        get(&self.by_ipv6, network.prefix_len(), network.addr().to_bits())
    }

    /// All mappings, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Eam> + '_ {
        self.by_ipv6.iter().flat_map(|level| level.eams.values().copied())
    }

    /// Adds a mapping without host bits whose prefixes are both new.
    pub(super) fn add(&mut self, eam: Eam) {
        if eam.ipv4.prefix_len() < 32 {
            add(&mut self.by_ipv4, eam.ipv4.prefix_len(), eam.ipv4.addr().to_bits(), eam);
        }
        add(&mut self.by_ipv6, eam.ipv6.prefix_len(), eam.ipv6.addr().to_bits(), eam);
    }

    /// Takes a mapping out.
    pub(super) fn remove(&mut self, eam: Eam) {
        remove(&mut self.by_ipv4, eam.ipv4.prefix_len(), eam.ipv4.addr().to_bits());
        remove(&mut self.by_ipv6, eam.ipv6.prefix_len(), eam.ipv6.addr().to_bits());
    }

    /// Bytes of memory, about: a map's own overhead is one byte a place.
    pub(super) fn memory(&self) -> usize {
        let ipv4 = self.by_ipv4.iter().map(|level| level.eams.capacity() * (size_of::<(u32, Eam)>() + 1));
        let ipv6 = self.by_ipv6.iter().map(|level| level.eams.capacity() * (size_of::<(u128, Eam)>() + 1));
        ipv4.chain(ipv6).sum()
    }

    #[inline]
    fn find_ipv4(&self, bits: u32) -> Option<&Eam> {
        self.by_ipv4.iter().find_map(|level| level.eams.get(&(bits & mask_ipv4(level.length))))
    }
}

fn get<K: Hash + Eq>(levels: &Levels<K>, length: u8, key: K) -> Option<Eam> {
    levels.iter().find(|level| level.length == length)?.eams.get(&key).copied()
}

fn add<K: Hash + Eq>(levels: &mut Levels<K>, length: u8, key: K, eam: Eam) {
    let at = levels.partition_point(|level| level.length > length);
    if levels.get(at).is_none_or(|level| level.length != length) {
        levels.insert(at, Level { length, eams: HashMap::default() });
    }
    levels[at].eams.insert(key, eam);
}

fn remove<K: Hash + Eq>(levels: &mut Levels<K>, length: u8, key: K) {
    if let Some(level) = levels.iter_mut().find(|level| level.length == length) {
        level.eams.remove(&key);
    }
    levels.retain(|level| !level.eams.is_empty());
}

#[inline]
const fn mask_ipv4(length: u8) -> u32 {
    if length == 0 { 0 } else { u32::MAX << (32 - length as u32) }
}

#[inline]
const fn mask_ipv6(length: u8) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - length as u32) }
}

/// Hashes network bits. The standard library's hasher withstands chosen keys at four times the cost; these keys are the
/// operator's.
#[derive(Default)]
struct Mixing(u64);

impl Hasher for Mixing {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(self.0 ^ u64::from(*byte));
        }
    }

    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.0 = mix(u64::from(value));
    }

    #[inline]
    fn write_u128(&mut self, value: u128) {
        self.0 = mix(mix(high64(value)) ^ low64(value));
    }
}
