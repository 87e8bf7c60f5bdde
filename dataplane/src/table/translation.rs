//! Everything that decides how addresses and headers are translated: the settings, the mappings and the pools.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};

use super::eam::{Change, EamError, EamTable, tops};
use super::icmp_source::IcmpSourcePool;
use super::ipv4_set::Ipv4Set;
use super::prefix::{NON_GLOBAL, TranslationPrefix};
use super::special::{BLOCKS_IPV4, never_forwarded_ipv6};
use super::{MappedV4, MappedV6};
use crate::wire::checksum::{Delta, Sum};

/// What the relay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Border Relay (RFC 7755).
    BorderRelay,
    /// Edge Relay (RFC 7756).
    EdgeRelay,
    /// The plain translator of RFC 7915 and RFC 7757: whatever has a mapping for both addresses.
    Siit,
}

/// How traffic between two mapped hosts is turned round (RFC 7757 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hairpin {
    /// Inside the relay (4.2.2).
    Intrinsic,
    /// By the IPv4 network, the relay only maps sources through the prefix (4.2.1).
    Simple,
    /// Not at all.
    Off,
}

/// IPv4 UDP packets without checksum (RFC 7915 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UdpZeroChecksum {
    /// Dropped.
    Drop,
    /// Given one, unless fragmented.
    Compute,
    /// Passed without one: for dual translation only.
    Forward,
}

/// The IPv4 source of an ICMPv6 error whose source has no IPv4 form, where the pool is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpSourceDefault {
    /// 192.0.0.8 (draft-ietf-v6ops-icmpext-xlat-v6only-source).
    Dummy,
    /// The relay's own address towards the destination, or 192.0.0.8 where it has none.
    Own,
}

/// How an ICMP error tells the IPv6 source it had, where that has no IPv4 form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpSourceExtension {
    /// It does not.
    Off,
    /// A Node Identification Object (draft-ietf-intarea-extended-icmp-nodeid).
    NodeId,
    /// An Interface Information Object (RFC 6791 4, RFC 5837).
    Rfc5837,
}

/// ICMP errors the relay originates (RFC 7915 4.4, 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpErrors {
    /// All of them.
    Send,
    /// So many per second and worker (RFC 4443 2.4(f)).
    Limit(u32),
    /// None.
    Off,
}

/// The `[translation]` settings that are plain values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Border Relay, Edge Relay or plain translator.
    pub role: Role,
    /// Hairpinning.
    pub hairpin: Hairpin,
    /// Size of the fragments made of packets with DF 0, in bytes, 1280 or more (RFC 7915 4).
    pub lowest_ipv6_mtu: u16,
    /// UDP without checksum.
    pub udp_zero_checksum: UdpZeroChecksum,
    /// Other choices for some ports, sorted by port.
    pub udp_zero_checksum_ports: Vec<(u16, UdpZeroChecksum)>,
    /// Traffic class towards IPv6; none copies the type of service.
    pub traffic_class: Option<u8>,
    /// Type of service towards IPv4; none copies the traffic class.
    pub type_of_service: Option<u8>,
    /// Errors the relay originates.
    pub icmp_errors: IcmpErrors,
    /// Who speaks for sources without an IPv4 form where the pool is empty.
    pub icmp_source_default: IcmpSourceDefault,
    /// How errors of such sources tell who they come from.
    pub icmp_source_extension: IcmpSourceExtension,
    /// Refuse non-global IPv4 addresses in the Well-Known Prefix (RFC 6052 3.1).
    pub wkp_strict: bool,
    /// Refuse sources that only an inside host may have.
    pub anti_spoof: bool,
    /// Refuse protocol numbers that mean something else in the other family.
    pub guard_protocols: bool,
    /// Forward packets that need no translation; otherwise they are the kernel's.
    pub forward_native: bool,
    /// Guesses for fragmentation needed without an MTU, strictly decreasing (RFC 1191 7).
    pub mtu_plateaus: Vec<u16>,
    /// Answer too big fragments with DF set; otherwise fragment them further.
    pub respect_fragment_df: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            role: Role::BorderRelay,
            hairpin: Hairpin::Intrinsic,
            lowest_ipv6_mtu: 1280,
            udp_zero_checksum: UdpZeroChecksum::Drop,
            udp_zero_checksum_ports: Vec::new(),
            traffic_class: None,
            type_of_service: None,
            icmp_errors: IcmpErrors::Limit(1000),
            icmp_source_default: IcmpSourceDefault::Dummy,
            icmp_source_extension: IcmpSourceExtension::Off,
            wkp_strict: true,
            anti_spoof: true,
            guard_protocols: true,
            forward_native: true,
            mtu_plateaus: vec![65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68],
            respect_fragment_df: true,
        }
    }
}

impl Settings {
    /// What happens to an IPv4 UDP packet without checksum between these ports. A service is known by its own port, which
    /// is the destination of what clients send and the source of what it answers.
    #[must_use]
    pub fn udp_zero_checksum_of(&self, source_l4_port: u16, destination_l4_port: u16) -> UdpZeroChecksum {
        let ports = &self.udp_zero_checksum_ports;
        let exception =
            |port| ports.binary_search_by_key(&port, |(port, _)| *port).ok().map(|at| ports[at].1);
        exception(destination_l4_port).or_else(|| exception(source_l4_port)).unwrap_or(self.udp_zero_checksum)
    }
}

/// The parts [`Translation::new`] puts together.
pub struct TranslationParts {
    /// Plain settings.
    pub settings: Settings,
    /// Translation prefixes; the first is used towards IPv6, all are recognised.
    pub prefixes: Vec<TranslationPrefix>,
    /// Explicit address mappings.
    pub eams: EamTable,
    /// IPv4 Service Address Pools.
    pub service_pools: Vec<Ipv4Net>,
    /// IPv4 ranges reached through the prefix without an EAM.
    pub translatable_pools: Vec<Ipv4Net>,
    /// IPv4 prefixes never translated through the prefix.
    pub denylist: Vec<Ipv4Net>,
    /// IPv6 Service Addresses of an Edge Relay.
    pub er_addresses: Vec<Ipv6Net>,
    /// IPv4 sources for ICMP errors from untranslatable addresses.
    pub icmp_sources: IcmpSourcePool,
}

/// Settings, mappings and pools, ready for lookups. Immutable.
#[derive(Clone)]
pub struct Translation {
    /// Plain settings.
    pub settings: Settings,
    /// Explicit address mappings.
    pub eams: EamTable,
    /// The prefix IPv4 addresses are embedded in; none where only EAMs translate.
    pub prefix: Option<TranslationPrefix>,
    /// IPv4 Service Address Pools.
    pub service_pools: Ipv4Set,
    /// IPv4 ranges reached through the prefix without an EAM.
    pub translatable_pools: Ipv4Set,
    /// IPv4 prefixes never translated through the prefix.
    pub denylist: Ipv4Set,
    /// IPv4 sources for ICMP errors from untranslatable addresses.
    pub icmp_sources: IcmpSourcePool,
    /// Every prefix, with the number of EAMs inside it or around it.
    prefixes: Vec<(TranslationPrefix, usize)>,
    er_addresses: Vec<Ipv6Net>,
    /// The first prefix, if no EAM lies inside it and all its addresses are global unicast.
    plain_prefix: Option<TranslationPrefix>,
    /// See [`Self::is_plain`].
    plain: Box<Halves>,
    /// See [`Self::may_be_service`].
    service: Box<Halves>,
    /// Where a setting or a pool has a say about addresses, whatever the mappings.
    special: Arc<Halves>,
}

/// One bit for each value of the top 16 bits of an IPv4 address.
type Halves = [u64; 1024];

impl Translation {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: TranslationParts) -> Self {
        let prefix = parts.prefixes.first().copied();
        let special = special(&parts);
        let eams = parts.eams;
        let count = |prefix: TranslationPrefix| (prefix, eams.overlapping_ipv6(prefix.network()));
        let prefixes: Vec<_> = parts.prefixes.into_iter().map(count).collect();
        Self {
            plain: plain(&special, &eams),
            service: service(parts.settings.role, &eams),
            plain_prefix: prefixes.first().and_then(|(prefix, inside)| plain_prefix(*prefix, *inside > 0)),
            special,
            settings: parts.settings,
            prefix,
            prefixes,
            er_addresses: parts.er_addresses,
            eams,
            service_pools: Ipv4Set::new(&parts.service_pools),
            translatable_pools: Ipv4Set::new(&parts.translatable_pools),
            denylist: Ipv4Set::new(&parts.denylist),
            icmp_sources: parts.icmp_sources,
        }
    }

    /// The next version, after changes of the mappings. What they do not touch is shared.
    ///
    /// # Errors
    /// [`EamError`]; this version is as it was in any case.
    pub fn apply(&self, changes: &[Change]) -> Result<Self, EamError> {
        let eams = self.eams.apply(changes)?;
        let mut prefixes = self.prefixes.clone();
        for (prefix, inside) in &mut prefixes {
            let network = prefix.network();
            for change in changes {
                match change {
                    Change::Add(eam) if eam.overlaps_ipv6(network) => *inside += 1,
                    // The table had each of them, so the number never falls below zero.
                    Change::Remove(eam) if eam.overlaps_ipv6(network) => *inside -= 1,
                    Change::Add(_) | Change::Remove(_) => {}
                }
            }
        }
        let first = prefixes.first().copied();
        let plain_prefix = first.and_then(|(prefix, inside)| plain_prefix(prefix, inside > 0));
        let (plain, service) = (plain(&self.special, &eams), service(self.settings.role, &eams));
        Ok(Self { prefixes, plain_prefix, plain, service, eams, ..self.clone() })
    }

    /// The prefix `address` is in, and whether EAMs must be asked first because one lies inside the prefix.
    #[inline]
    #[must_use]
    pub fn prefix_of(&self, address: Ipv6Addr) -> Option<(&TranslationPrefix, bool)> {
        let (prefix, inside) = self.prefixes.iter().find(|(prefix, _)| prefix.contains(address))?;
        Some((prefix, *inside > 0))
    }

    /// Whether every IPv6 destination under an EAM is translated: by a plain translator, and by a relay without a prefix,
    /// whose clients have no other addresses.
    #[must_use]
    pub fn serves_mapped_destinations(&self) -> bool {
        match self.settings.role {
            Role::Siit => true,
            Role::BorderRelay => self.prefix.is_none(),
            Role::EdgeRelay => false,
        }
    }

    /// Whether `address` has an IPv4 form, by EAM or by prefix.
    #[must_use]
    pub fn maps_ipv6(&self, address: Ipv6Addr) -> bool {
        self.eams.lookup_ipv6(address).is_some() || self.prefix_of(address).is_some()
    }

    /// Whether nothing but the translation prefix and the routes have a say about `address`: it is a client's, as most
    /// are. One load; a no only means that others must be asked.
    #[inline(always)]
    #[must_use]
    pub fn is_plain(&self, address: Ipv4Addr) -> bool {
        is_set(&self.plain, address)
    }

    /// The IPv6 form of an address of which [`Self::is_plain`] is true.
    #[inline(always)]
    #[must_use]
    pub fn embed_plain(&self, address: Ipv4Addr) -> Option<MappedV6> {
        let prefix = self.prefix.as_ref().filter(|_| self.is_plain(address))?;
        Some(prefix.embed(address))
    }

    /// Whether a mapping may cover `address` and every address near it is one a host can have. Never on an Edge Relay,
    /// which looks at every address. One load; a no only means that others must be asked.
    #[inline(always)]
    #[must_use]
    pub fn may_be_service(&self, address: Ipv4Addr) -> bool {
        is_set(&self.service, address)
    }

    /// The IPv4 address embedded in `address`, if that is all there is to know about it: it is in the first prefix, where
    /// there are no EAMs, and its IPv4 form is plain.
    #[inline(always)]
    #[must_use]
    pub fn extract_plain(&self, address: Ipv6Addr) -> Option<MappedV4> {
        let prefix = self.plain_prefix.as_ref().filter(|prefix| prefix.contains(address))?;
        let extracted = prefix.extract(address);
        let delta = Delta::new(Sum::of_ipv6(address), Sum::of_ipv4(extracted));
        let mapped = MappedV4 { address: extracted, delta, default_eam: false };
        self.is_plain(extracted).then_some(mapped)
    }

    /// Whether `address` is an IPv6 Service Address of this Edge Relay.
    #[inline]
    #[must_use]
    pub fn is_er_ipv6(&self, address: Ipv6Addr) -> bool {
        self.er_addresses.iter().any(|network| network.contains(&address))
    }

    /// Whether `address` is an IPv4 Service Address of this Edge Relay.
    #[inline]
    #[must_use]
    pub fn is_er_ipv4(&self, address: Ipv4Addr) -> bool {
        self.eams.lookup_ipv4(address).is_some_and(|mapped| self.is_er_ipv6(mapped.address))
    }
}

/// Addresses that no client has, pools, denylist, and what the Well-Known Prefix must not represent. An Edge Relay looks
/// at every address.
fn special(parts: &TranslationParts) -> Arc<Halves> {
    let everything = Ipv4Net::default();
    let well_known = parts.prefixes.iter().any(TranslationPrefix::is_well_known) && parts.settings.wkp_strict;
    let mut halves = [0; 1024];
    let networks = (parts.service_pools.iter())
        .chain(&parts.denylist)
        .chain(BLOCKS_IPV4.iter().map(|(block, _)| block))
        .chain(well_known.then_some(&NON_GLOBAL).into_iter().flatten())
        .chain((parts.settings.role == Role::EdgeRelay || parts.prefixes.is_empty()).then_some(&everything));
    for top in networks.flat_map(|network| tops(*network)) {
        halves[top / 64] |= 1 << (top % 64);
    }
    Arc::new(halves)
}

/// Everything that is neither special nor under a mapping.
fn plain(special: &Halves, eams: &EamTable) -> Box<Halves> {
    let mut plain = Box::new(*special);
    for (word, covered) in plain.iter_mut().zip(eams.cover()) {
        *word = !(*word | covered);
    }
    plain
}

fn plain_prefix(prefix: TranslationPrefix, has_eams: bool) -> Option<TranslationPrefix> {
    let first = prefix.network().network();
    (!never_forwarded_ipv6(first) && !has_eams).then_some(prefix)
}

/// Everything under a mapping that is not special whatever the mappings.
fn service(role: Role, eams: &EamTable) -> Box<Halves> {
    let mut service = Box::new(*eams.cover());
    if role == Role::EdgeRelay {
        service.fill(0);
    }
    for top in BLOCKS_IPV4
        .iter()
        .filter(|(block, _)| may_be_mapped(*block, eams))
        .flat_map(|(block, _)| tops(*block))
    {
        service[top / 64] &= !(1 << (top % 64));
    }
    service
}

/// Whether mappings can put a packet's address into a block of which something is never forwarded. A small block, beside
/// which there are others' addresses, is asked address by address.
fn may_be_mapped(block: Ipv4Net, eams: &EamTable) -> bool {
    block.prefix_len() <= 16 || block.hosts().any(|address| eams.lookup_ipv4(address).is_some())
}

#[inline(always)]
fn is_set(halves: &Halves, address: Ipv4Addr) -> bool {
    let top = (address.to_bits() >> 16) as usize;
    halves[top / 64] >> (top % 64) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::eam::Eam;
    use crate::testing;

    #[test]
    fn the_fast_classification_returns_with_the_last_mapping_inside_the_prefix() {
        let client: Ipv6Addr = "2001:db8:46::203.0.113.50".parse().unwrap();
        let eam = |v4: &str, v6: &str| Eam { ipv4: v4.parse().unwrap(), ipv6: v6.parse().unwrap() };
        let inside = [
            eam("192.0.2.8/32", "2001:db8:46::192.0.2.8/128"),
            eam("192.0.2.16/28", "2001:db8:46::1:0/124"),
            eam("192.0.2.128/25", "2001:db8::/33"),
        ];
        let outside = eam("192.0.2.1/32", "2001:db8:12:34::1/128");
        let mut translation = testing::translation(&[("192.0.2.1/32", "2001:db8:12:34::1/128")]);
        let is_fast = |translation: &Translation| {
            let (_, ask_eams) = translation.prefix_of(client).unwrap();
            assert_eq!(translation.extract_plain(client).is_some(), !ask_eams);
            !ask_eams
        };
        assert!(is_fast(&translation));
        for eam in inside {
            translation = translation.apply(&[Change::Add(eam)]).unwrap();
            assert!(!is_fast(&translation), "{eam:?}");
        }
        translation = translation.apply(&[Change::Remove(inside[1]), Change::Remove(outside)]).unwrap();
        assert!(!is_fast(&translation));
        let changes = [Change::Remove(inside[0]), Change::Add(outside), Change::Remove(inside[2])];
        translation = translation.apply(&changes).unwrap();
        assert!(is_fast(&translation), "none is left inside or around the prefix");
        let again = translation.apply(&[Change::Add(inside[0]), Change::Remove(inside[0])]).unwrap();
        assert!(is_fast(&again));
    }
}
