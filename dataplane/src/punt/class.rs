//! What a packet for the box is, and who sent it.

use super::Offer;
use crate::stage::error_limit::Sender;
use crate::stage::parse::Family;
use crate::verdict::PuntReason;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::protocol;

const OSPF: u8 = 89;
const PIM: u8 = 103;
const VRRP: u8 = 112;
const BGP_PORT: u16 = 179;
/// BFD: single hop control and echo, multihop control.
const BFD_PORTS: [u16; 3] = [3784, 3785, 4784];
/// What no router lets pass: the sender is next door (RFC 5082).
const NEXT_DOOR: u8 = 255;

/// The class of an IP packet for the box: what keeps the network together gets a class of its own, apart from
/// what anybody can send to the box's addresses. `packet` begins with its IP header.
pub(crate) fn of_packet(family: Family, packet: &[u8], reason: PuntReason) -> Offer {
    if !matches!(reason, PuntReason::LocalAddress | PuntReason::LocalScope) {
        return Offer { class: reason, sender: None };
    }
    let read = match family {
        Family::Ipv4 => read_ipv4(packet),
        Family::Ipv6 => read_ipv6(packet),
    };
    let Some(Read { sender, near, transport }) = read else {
        return Offer { class: reason, sender: None };
    };
    let class = transport
        .and_then(|(number, offset)| transport_class(family, number, packet.get(offset..)?, near))
        .unwrap_or(reason);
    Offer { class, sender: Some(sender) }
}

struct Read {
    /// One address next door, or a network far away.
    sender: Sender,
    /// It comes from the link itself.
    near: bool,
    /// Protocol and offset, where the packet has the beginning of the transport header.
    transport: Option<(u8, usize)>,
}

fn read_ipv4(packet: &[u8]) -> Option<Read> {
    let header = Ipv4Header::parse_quoted(packet).ok()?;
    let [a, b, c, _] = header.destination.octets();
    let link_scope = [a, b, c] == [224, 0, 0] || header.destination.is_link_local();
    let transport = (header.protocol, usize::from(header.header_length));
    let near = link_scope || header.ttl == NEXT_DOOR;
    Some(Read {
        sender: if near { Sender::host(header.source.into()) } else { header.source.into() },
        near,
        transport: (header.fragment_offset == 0).then_some(transport),
    })
}

fn read_ipv6(packet: &[u8]) -> Option<Read> {
    let header = Ipv6Header::parse_quoted(packet).ok()?;
    let [first, second, ..] = header.destination.octets();
    let link_scope = first == 0xff && second & 0x0f == 2 || header.destination.is_unicast_link_local();
    let transport = ipv6::walk_extensions(packet, header.next_header)
        .ok()
        .filter(|chain| chain.fragment.is_none_or(|fragment| fragment.offset == 0))
        .map(|chain| (chain.protocol, chain.offset));
    let near = link_scope || header.hop_limit == NEXT_DOOR;
    Some(Read {
        sender: if near { Sender::host(header.source.into()) } else { header.source.into() },
        near,
        transport,
    })
}

fn transport_class(family: Family, number: u8, payload: &[u8], near: bool) -> Option<PuntReason> {
    let port = |at: usize| payload.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let routing = match number {
        OSPF | PIM | VRRP => true,
        protocol::TCP => port(0) == Some(BGP_PORT) || port(2) == Some(BGP_PORT),
        protocol::UDP => port(2).is_some_and(|port| BFD_PORTS.contains(&port)),
        _ => false,
    };
    match number {
        _ if routing && near => Some(PuntReason::RoutingProtocol),
        _ if routing => Some(PuntReason::RoutingProtocolDistant),
        // Router and neighbour discovery and redirect come with hop limit 255 (RFC 4861), listener discovery from the link.
        protocol::ICMPV6 if family == Family::Ipv6 && matches!(payload.first(), Some(130..=137 | 143)) => {
            Some(PuntReason::NeighborDiscovery)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const OWN: &str = "198.51.100.254";

    fn v4_with(ttl: u8, destination: &str, number: u8, payload: &[u8]) -> PuntReason {
        let mut packet = testing::ipv4("192.0.2.9", destination, number, payload);
        packet[8] = ttl;
        of_packet(Family::Ipv4, &packet, PuntReason::LocalAddress).class
    }

    fn v6_with(hop_limit: u8, destination: &str, number: u8, payload: &[u8]) -> PuntReason {
        let mut packet = testing::ipv6("2001:db8::9", destination, number, payload);
        packet[7] = hop_limit;
        of_packet(Family::Ipv6, &packet, PuntReason::LocalScope).class
    }

    const BGP: [u8; 8] = [0xc0, 0x00, 0, 179, 0, 0, 0, 0];
    const BFD: [u8; 8] = [0xc0, 0x00, 0x0e, 0xc8, 0, 8, 0, 0];

    #[test]
    fn what_keeps_the_network_together_has_its_own_class() {
        let ssh = [0xc0, 0x00, 0, 22, 0, 0, 0, 0];
        let solicitation = [135, 0, 0, 0, 0, 0, 0, 0];
        let echo = [128, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(v4_with(255, OWN, 6, &BGP), PuntReason::RoutingProtocol);
        assert_eq!(v4_with(255, OWN, 17, &BFD), PuntReason::RoutingProtocol);
        assert_eq!(v4_with(1, "224.0.0.5", 89, &[]), PuntReason::RoutingProtocol);
        assert_eq!(v4_with(255, OWN, 6, &ssh), PuntReason::LocalAddress);
        assert_eq!(v4_with(64, OWN, 6, &[]), PuntReason::LocalAddress);
        assert_eq!(v6_with(255, "ff02::1:ff00:1", 58, &solicitation), PuntReason::NeighborDiscovery);
        assert_eq!(v6_with(1, "ff02::1", 58, &echo), PuntReason::LocalScope);
        assert_eq!(v6_with(1, "ff02::5", 89, &[]), PuntReason::RoutingProtocol);
        assert_eq!(v6_with(1, "fe80::1", 89, &[]), PuntReason::RoutingProtocol);
        let foreign = testing::ipv4("192.0.2.9", OWN, 89, &[]);
        let offer = of_packet(Family::Ipv4, &foreign, PuntReason::KernelRoute);
        assert_eq!(offer, Offer { class: PuntReason::KernelRoute, sender: None });
    }

    #[test]
    fn what_may_come_from_afar_is_apart_from_what_comes_from_next_door() {
        for ttl in [1, 64, 254] {
            assert_eq!(v4_with(ttl, OWN, 6, &BGP), PuntReason::RoutingProtocolDistant);
            assert_eq!(v4_with(ttl, OWN, 17, &BFD), PuntReason::RoutingProtocolDistant);
            assert_eq!(v4_with(ttl, OWN, 89, &[]), PuntReason::RoutingProtocolDistant);
            assert_eq!(v6_with(ttl, "2001:db8:ffff::1", 6, &BGP), PuntReason::RoutingProtocolDistant);
        }
    }

    #[test]
    fn the_sender_is_known_whatever_the_packet_carries() {
        let packet = testing::ipv4("192.0.2.9", OWN, 1, &[]);
        let offer = of_packet(Family::Ipv4, &packet, PuntReason::LocalAddress);
        assert_eq!(offer.sender, Some("192.0.2.77".parse::<std::net::Ipv4Addr>().unwrap().into()));
        let cut = of_packet(Family::Ipv6, &[0x60; 20], PuntReason::LocalAddress);
        assert_eq!(cut, Offer { class: PuntReason::LocalAddress, sender: None });
    }
}
