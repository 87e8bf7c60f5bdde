//! What a worker hands to the kernel, class by class: a flood of garbage must not starve the routing protocols.
//!
//! Every [`PuntReason`] is a class with a token bucket of its own on each worker. The rates are generous for what
//! a class is for and far below what the control thread can take in all.

use crate::stage::icmp_error::TokenBucket;
use crate::stage::parse::Family;
use crate::verdict::PuntReason;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::protocol;

/// One bucket per class.
pub(crate) struct Policer([TokenBucket; PuntReason::ALL.len()]);

impl Policer {
    /// Full buckets; `hertz` cycles are one second.
    pub(crate) fn new(hertz: u64) -> Self {
        Self(std::array::from_fn(|class| TokenBucket::new(rate(PuntReason::ALL[class]), hertz)))
    }

    /// Whether one more packet of this class may pass at the time `now`.
    pub(crate) fn admit(&mut self, class: PuntReason, now: u64) -> bool {
        let bucket = &mut self.0[class.index()];
        bucket.refill(now);
        bucket.take()
    }
}

/// Packets per second and worker.
const fn rate(class: PuntReason) -> u32 {
    match class {
        PuntReason::RoutingProtocol => 50_000,
        PuntReason::Arp | PuntReason::NeighborDiscovery | PuntReason::UnresolvedNextHop => 10_000,
        PuntReason::LocalAddress | PuntReason::KernelRoute => 100_000,
        PuntReason::LocalScope => 10_000,
        PuntReason::EtherType | PuntReason::UnknownVlan | PuntReason::ForeignMac => 2_000,
    }
}

/// The class of an IP packet for the box: what keeps the network together gets a class of its own, apart from
/// what anybody can send to the box's addresses. `packet` begins with its IP header.
pub(crate) fn class(family: Family, packet: &[u8], reason: PuntReason) -> PuntReason {
    if !matches!(reason, PuntReason::LocalAddress | PuntReason::LocalScope) {
        return reason;
    }
    let transport = match family {
        Family::Ipv4 => Ipv4Header::parse_quoted(packet)
            .ok()
            .filter(|header| header.fragment_offset == 0)
            .map(|header| (header.protocol, usize::from(header.header_length))),
        Family::Ipv6 => Ipv6Header::parse_quoted(packet)
            .ok()
            .and_then(|header| ipv6::walk_extensions(packet, header.next_header).ok())
            .filter(|chain| chain.fragment.is_none_or(|fragment| fragment.offset == 0))
            .map(|chain| (chain.protocol, chain.offset)),
    };
    match transport {
        Some((number, offset)) => transport_class(family, number, &packet[offset..]).unwrap_or(reason),
        None => reason,
    }
}

fn transport_class(family: Family, number: u8, payload: &[u8]) -> Option<PuntReason> {
    const OSPF: u8 = 89;
    const PIM: u8 = 103;
    const VRRP: u8 = 112;
    const BGP_PORT: u16 = 179;
    /// BFD: single hop control and echo, multihop control.
    const BFD_PORTS: [u16; 3] = [3784, 3785, 4784];
    let port = |at: usize| payload.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    match number {
        OSPF | PIM | VRRP => Some(PuntReason::RoutingProtocol),
        protocol::TCP if port(0) == Some(BGP_PORT) || port(2) == Some(BGP_PORT) => {
            Some(PuntReason::RoutingProtocol)
        }
        protocol::UDP if port(2).is_some_and(|port| BFD_PORTS.contains(&port)) => {
            Some(PuntReason::RoutingProtocol)
        }
        // Multicast listener discovery, router and neighbour discovery, redirect, MLDv2.
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

    #[test]
    fn what_keeps_the_network_together_has_its_own_class() {
        let own = "198.51.100.254";
        let bgp = [0xc0, 0x00, 0, 179, 0, 0, 0, 0];
        let bfd = [0xc0, 0x00, 0x0e, 0xc8, 0, 8, 0, 0];
        let ssh = [0xc0, 0x00, 0, 22, 0, 0, 0, 0];
        let solicitation = [135, 0, 0, 0, 0, 0, 0, 0];
        let echo = [128, 0, 0, 0, 0, 0, 0, 0];
        let v4 = |number, payload: &[u8]| {
            class(Family::Ipv4, &testing::ipv4("192.0.2.9", own, number, payload), PuntReason::LocalAddress)
        };
        let v6 = |number, payload: &[u8]| {
            class(Family::Ipv6, &testing::ipv6("fe80::9", "ff02::1", number, payload), PuntReason::LocalScope)
        };
        assert_eq!(v4(6, &bgp), PuntReason::RoutingProtocol);
        assert_eq!(v4(17, &bfd), PuntReason::RoutingProtocol);
        assert_eq!(v4(89, &[]), PuntReason::RoutingProtocol);
        assert_eq!(v4(6, &ssh), PuntReason::LocalAddress);
        assert_eq!(v4(6, &[]), PuntReason::LocalAddress);
        assert_eq!(v6(58, &solicitation), PuntReason::NeighborDiscovery);
        assert_eq!(v6(58, &echo), PuntReason::LocalScope);
        assert_eq!(v6(112, &[]), PuntReason::RoutingProtocol);
        let foreign = testing::ipv4("192.0.2.9", own, 89, &[]);
        assert_eq!(class(Family::Ipv4, &foreign, PuntReason::KernelRoute), PuntReason::KernelRoute);
    }

    #[test]
    fn a_flood_of_one_class_leaves_the_others_alone() {
        let mut policer = Policer::new(1_000_000);
        assert_eq!((0..200_000).filter(|_| policer.admit(PuntReason::EtherType, 1)).count(), 2_000);
        assert!(policer.admit(PuntReason::RoutingProtocol, 1));
        let later = (0..200_000).filter(|_| policer.admit(PuntReason::EtherType, 500_001));
        assert_eq!(later.count(), 1_000);
    }
}
