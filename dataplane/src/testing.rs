//! Packet builders and small tables for tests. Only under test or with the feature `testing`.

mod mirror;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::table::eam::{Eam, EamTable};
use crate::table::fib::Fib;
use crate::table::icmp_source::{Choice, IcmpSourcePool};
use crate::table::prefix::TranslationPrefix;
use crate::table::routing::{
    Hop, Interface, InterfaceId, MacAddress, Neighbor, NeighborState, PortId, Route, RouteAction, Routing,
    TableId,
};
use crate::table::snapshot::Snapshot;
use crate::table::translation::{Settings, Translation, TranslationParts};
use crate::wire::checksum::Sum;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::Ipv6Header;
use crate::wire::protocol;

pub use self::mirror::Mirror;

/// Link-layer address of port 0.
pub const MAC_V4: MacAddress = MacAddress([2, 0, 0, 0, 0, 4]);
/// Link-layer address of port 1.
pub const MAC_V6: MacAddress = MacAddress([2, 0, 0, 0, 0, 6]);
/// Link-layer address of every neighbour.
pub const MAC_PEER: MacAddress = MacAddress([2, 0, 0, 0, 0, 0xee]);
/// The relay's own IPv4 address.
pub const OWN_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);
/// The relay's own IPv6 address.
pub const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);

/// What one thread writes and another uses must lie on cache lines that nothing else is on; two at a time, because
/// processors fetch the neighbour of a line along with it.
///
/// # Panics
/// When something else could lie on a line of `shared`.
pub fn assert_own_lines<T>(shared: &T) {
    const LINES: usize = 128;
    let place = std::ptr::from_ref(shared).addr();
    assert_eq!((place % LINES, size_of::<T>() % LINES), (0, 0), "{}", std::any::type_name::<T>());
}

/// A Border Relay with prefix 2001:db8:46::/96, service pool 192.0.2.0/24, ICMP source 198.51.100.1 and the
/// given EAMs, all other settings at their defaults.
///
/// # Panics
/// When an EAM does not parse or is refused: a mistake in a test.
#[must_use]
#[allow(clippy::unwrap_used, reason = "fixtures for tests")]
pub fn translation(eams: &[(&str, &str)]) -> Translation {
    translation_with(Settings::default(), eams)
}

/// As [`translation`], with these settings.
///
/// # Panics
/// When an EAM does not parse or is refused: a mistake in a test.
#[must_use]
#[allow(clippy::unwrap_used, reason = "fixtures for tests")]
pub fn translation_with(settings: Settings, eams: &[(&str, &str)]) -> Translation {
    let eams: Vec<Eam> =
        eams.iter().map(|(v4, v6)| Eam { ipv4: v4.parse().unwrap(), ipv6: v6.parse().unwrap() }).collect();
    Translation::new(TranslationParts {
        settings,
        prefixes: vec![TranslationPrefix::new("2001:db8:46::/96".parse().unwrap()).unwrap()],
        eams: EamTable::build(&eams).unwrap(),
        service_pools: vec!["192.0.2.0/24".parse().unwrap()],
        translatable_pools: Vec::new(),
        denylist: Vec::new(),
        er_addresses: Vec::new(),
        icmp_sources: IcmpSourcePool::new(&["198.51.100.1/32".parse().unwrap()], Choice::Hash),
    })
}

/// Two ports: 0 leads to all of IPv4, 1 to all of IPv6, each over a resolved default route; VLAN 100 of port 0
/// is an interface of its own.
#[must_use]
pub fn routing(ipv4_mtu: u16, ipv6_mtu: u16) -> Routing {
    let gateway_v4 = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 253));
    let gateway_v6 = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
    let interface = |id: u16, port: u16, vlan, mac, mtu| Interface {
        id: InterfaceId(id),
        port: PortId(port),
        vlan,
        table: TableId::MAIN,
        mac,
        extra_macs: Vec::new(),
        mtu,
        up: true,
        ipv4_source: Some(OWN_V4),
        ipv6_source: Some(OWN_V6),
    };
    let neighbor = |id: u16, address| Neighbor {
        interface: InterfaceId(id),
        address,
        state: NeighborState::Resolved(MAC_PEER),
    };
    let default = |id: u16, gateway: IpAddr| Route {
        destination: match gateway {
            IpAddr::V4(_) => ipnet::Ipv4Net::default().into(),
            IpAddr::V6(_) => ipnet::Ipv6Net::default().into(),
        },
        action: RouteAction::Via(vec![Hop { interface: InterfaceId(id), gateway: Some(gateway), weight: 1 }]),
        mtu: None,
    };
    let own = |address: IpAddr| Route { destination: address.into(), action: RouteAction::Local, mtu: None };
    Routing {
        interfaces: vec![
            interface(0, 0, None, MAC_V4, ipv4_mtu),
            interface(1, 1, None, MAC_V6, ipv6_mtu),
            interface(2, 0, Some(100), MAC_V4, ipv4_mtu),
        ],
        neighbors: vec![neighbor(0, gateway_v4), neighbor(1, gateway_v6)],
        routes: vec![
            default(0, gateway_v4),
            default(1, gateway_v6),
            own(IpAddr::V4(OWN_V4)),
            own(IpAddr::V6(OWN_V6)),
        ],
        ipv4_source: None,
        ipv6_source: None,
    }
}

/// [`routing`], compiled.
#[must_use]
pub fn fib(ipv4_mtu: u16, ipv6_mtu: u16) -> Fib {
    Fib::build(&routing(ipv4_mtu, ipv6_mtu))
}

/// A snapshot of [`fib`] with MTUs of 1500 and this translation.
#[must_use]
pub fn snapshot(translation: Translation) -> Snapshot {
    Snapshot { generation: 1, translation: Arc::new(translation), fib: Arc::new(fib(1500, 1500)) }
}

/// An IPv4 packet without options, TTL 64, identification 0, DF 0.
///
/// # Panics
/// When an address does not parse: a mistake in a test.
#[must_use]
pub fn ipv4(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_with_options(source, destination, protocol, &[], payload)
}

/// An IPv4 packet with options, whose length must be a multiple of 4.
///
/// # Panics
/// When an address does not parse: a mistake in a test.
#[must_use]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "fixtures for tests")]
pub fn ipv4_with_options(
    source: &str,
    destination: &str,
    protocol: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let header = Ipv4Header {
        header_length: 20,
        tos: 0,
        total_length: (20 + options.len() + payload.len()) as u16,
        identification: 0,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    };
    let mut packet = vec![0; 20];
    header.emit(packet.first_chunk_mut().unwrap());
    packet.extend_from_slice(options);
    packet.extend_from_slice(payload);
    packet[0] += (options.len() / 4) as u8;
    fix_checksum_v4(&mut packet);
    packet
}

/// An IPv6 packet, hop limit 64.
///
/// # Panics
/// When an address does not parse: a mistake in a test.
#[must_use]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "fixtures for tests")]
pub fn ipv6(source: &str, destination: &str, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        traffic_class: 0,
        payload_length: payload.len() as u16,
        next_header,
        hop_limit: 64,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    };
    let mut packet = vec![0; 40];
    header.emit(packet.first_chunk_mut().unwrap());
    packet.extend_from_slice(payload);
    packet
}

/// A UDP datagram from port 40000 to 53 in IPv4, with its checksum.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "fixtures for tests")]
pub fn udp_v4(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(source, destination, protocol::UDP, &udp(payload));
    let pseudo = Sum::of(&packet[12..20]) + Sum::of_u16(17) + Sum::of_u16((packet.len() - 20) as u16);
    let checksum = nonzero((pseudo + Sum::of(&packet[20..])).checksum());
    packet[26..28].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// A UDP datagram from port 40000 to 53 in IPv6, with its checksum.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "fixtures for tests")]
pub fn udp_v6(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv6(source, destination, protocol::UDP, &udp(payload));
    let pseudo = Sum::of(&packet[8..40]) + Sum::of_u16(17) + Sum::of_u16((packet.len() - 40) as u16);
    let checksum = nonzero((pseudo + Sum::of(&packet[40..])).checksum());
    packet[46..48].copy_from_slice(&checksum.to_be_bytes());
    packet
}

#[allow(clippy::cast_possible_truncation, reason = "fixtures for tests")]
fn udp(payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0x9c, 0x40, 0, 53];
    datagram.extend_from_slice(&((payload.len() + 8) as u16).to_be_bytes());
    datagram.extend_from_slice(&[0, 0]);
    datagram.extend_from_slice(payload);
    datagram
}

/// UDP sends a computed zero as ones (RFC 768).
const fn nonzero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// A frame around an IP packet, from the neighbour to `destination`.
#[must_use]
pub fn frame(destination: MacAddress, packet: &[u8]) -> Vec<u8> {
    let mut frame = destination.0.to_vec();
    frame.extend_from_slice(&MAC_PEER.0);
    frame.extend_from_slice(if packet[0] >> 4 == 4 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
    frame.extend_from_slice(packet);
    frame
}

/// Sets identification, flags and fragment offset of an IPv4 packet.
pub fn set_fragment_v4(packet: &mut [u8], identification: u16, dont_fragment: bool, more: bool, offset: u16) {
    let word = offset | if dont_fragment { 0x4000 } else { 0 } | if more { 0x2000 } else { 0 };
    packet[4..6].copy_from_slice(&identification.to_be_bytes());
    packet[6..8].copy_from_slice(&word.to_be_bytes());
    fix_checksum_v4(packet);
}

/// Recomputes an IPv4 header checksum.
pub fn fix_checksum_v4(packet: &mut [u8]) {
    let length = usize::from(packet[0] & 0x0f) * 4;
    packet[10..12].fill(0);
    let checksum = Sum::of(&packet[..length]).checksum();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Sets the Payload Length of an IPv6 packet to what it has.
#[allow(clippy::cast_possible_truncation, reason = "fixtures for tests")]
pub fn fix_length_v6(packet: &mut [u8]) {
    let length = (packet.len() - 40) as u16;
    packet[4..6].copy_from_slice(&length.to_be_bytes());
}
