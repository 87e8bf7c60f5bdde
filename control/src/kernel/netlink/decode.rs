//! Netlink messages to events. What the relay does not follow decodes to nothing.
//!
//! Refused here: bridge ports and forwarding entries (family AF_BRIDGE, which would look like removed interfaces),
//! proxy neighbours, other routing tables, cached routes, routes bound to a TOS or a source prefix.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::table::routing::MacAddress;
use ipnet::IpNet;

use super::attribute::{Attributes, Message, address_of, u8_at, u16_at, u32_at, u32_of};
use super::request::{AF_INET, AF_INET6, AF_UNSPEC};
use crate::kernel::event::{
    Address, Event, KernelHop, KernelRoute, Link, NeighborEntry, Placement, Reachability, RouteKind, Table,
};
use crate::kernel::up::PROTOCOL as ANNOUNCED_PROTOCOL;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;

const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_APPEND: u16 = 0x800;

/// A message the relay follows but cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) struct Malformed;

/// Reads one notification or one record of a dump. `Ok(None)` is a message that does not concern the relay.
pub(in crate::kernel) fn event(message: Message<'_>) -> Result<Option<Event>, Malformed> {
    let body = message.payload;
    let event = match message.kind {
        RTM_NEWLINK => link(body)?.map(Event::Link),
        RTM_DELLINK => removed_link(body)?,
        RTM_NEWADDR => address(body)?.map(Event::Address),
        RTM_DELADDR => address(body)?.map(Event::AddressRemoved),
        RTM_NEWNEIGH => neighbor(body)?.map(Event::Neighbor),
        RTM_DELNEIGH => {
            neighbor(body)?.map(|gone| Event::NeighborRemoved { index: gone.index, address: gone.address })
        }
        RTM_NEWROUTE => {
            let placement = placement(message.flags, body);
            route(body)?.map(|route| Event::Route { route, placement })
        }
        RTM_DELROUTE => route(body)?.map(Event::RouteRemoved),
        RTM_NEWNEXTHOP | RTM_DELNEXTHOP => next_hop_object(body)?,
        _ => None,
    };
    Ok(event)
}

/// ifinfomsg: 0 family, 2 type, 4 index, 8 flags, 12 change mask.
mod ifla {
    pub(super) const HEADER: usize = 16;
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const IFNAME: u16 = 3;
    pub(super) const MTU: u16 = 4;
    pub(super) const LINK: u16 = 5;
    pub(super) const MASTER: u16 = 10;
    pub(super) const LINKINFO: u16 = 18;
    pub(super) const LINK_NETNSID: u16 = 37;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
    pub(super) const VLAN_ID: u16 = 1;
    pub(super) const VLAN_PROTOCOL: u16 = 5;
    pub(super) const ETHERTYPE_8021Q: [u8; 2] = [0x81, 0x00];
    pub(super) const UP: u32 = 1;
    pub(super) const LOOPBACK: u32 = 1 << 3;
    pub(super) const LOWER_UP: u32 = 1 << 16;
}

fn link(body: &[u8]) -> Result<Option<Link>, Malformed> {
    let attributes = Attributes(body.get(ifla::HEADER..).ok_or(Malformed)?);
    let index = u32_at(body, 4).ok_or(Malformed)?;
    let flags = u32_at(body, 8).ok_or(Malformed)?;
    let mut link = Link {
        index,
        name: String::new(),
        parent: None,
        vlan: None,
        kind: String::new(),
        master: None,
        mac: None,
        mtu: 0,
        admin_up: flags & ifla::UP != 0,
        carrier: flags & ifla::LOWER_UP != 0,
        loopback: flags & ifla::LOOPBACK != 0,
    };
    let (mut complete, mut parent_elsewhere) = (false, false);
    for (kind, value) in attributes {
        match kind {
            ifla::ADDRESS => link.mac = value.try_into().ok().map(MacAddress),
            ifla::IFNAME => link.name = text(value),
            ifla::MTU => {
                link.mtu = u32_of(value).ok_or(Malformed)?;
                complete = true;
            }
            ifla::LINK => link.parent = u32_of(value),
            ifla::LINK_NETNSID => parent_elsewhere = true,
            ifla::MASTER => link.master = u32_of(value).filter(|master| *master != 0),
            ifla::LINKINFO => (link.kind, link.vlan) = (link_kind(value), vlan(value)),
            _ => {}
        }
    }
    if parent_elsewhere {
        link.parent = None;
    }
    // Bridge ports have their own family; wireless events carry no MTU and say nothing about the link itself.
    Ok((body[0] == AF_UNSPEC && complete).then_some(link))
}

fn link_kind(link_info: &[u8]) -> String {
    let kind = Attributes(link_info).find(|(kind, _)| *kind == ifla::INFO_KIND);
    kind.map(|(_, value)| text(value)).unwrap_or_default()
}

fn vlan(link_info: &[u8]) -> Option<u16> {
    let mut is_vlan = false;
    let mut data = &[][..];
    for (kind, value) in Attributes(link_info) {
        match kind {
            ifla::INFO_KIND => is_vlan = text(value) == "vlan",
            ifla::INFO_DATA => data = value,
            _ => {}
        }
    }
    let (mut id, mut tagged_8021q) = (None, true);
    for (kind, value) in Attributes(data) {
        match kind {
            ifla::VLAN_ID => id = u16_at(value, 0),
            ifla::VLAN_PROTOCOL => tagged_8021q = value == ifla::ETHERTYPE_8021Q,
            _ => {}
        }
    }
    id.filter(|_| is_vlan && tagged_8021q)
}

fn removed_link(body: &[u8]) -> Result<Option<Event>, Malformed> {
    let index = u32_at(body, 4).ok_or(Malformed)?;
    Ok((body[0] == AF_UNSPEC).then_some(Event::LinkRemoved { index }))
}

/// ifaddrmsg: 0 family, 1 prefix length, 2 flags, 3 scope, 4 index.
mod ifa {
    pub(super) const HEADER: usize = 8;
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const LOCAL: u16 = 2;
    pub(super) const FLAGS: u16 = 8;
    pub(super) const SECONDARY: u32 = 0x01;
    pub(super) const DAD_FAILED: u32 = 0x08;
    pub(super) const DEPRECATED: u32 = 0x20;
    pub(super) const TENTATIVE: u32 = 0x40;
    pub(super) const SCOPE_UNIVERSE: u8 = 0;
}

fn address(body: &[u8]) -> Result<Option<Address>, Malformed> {
    let attributes = Attributes(body.get(ifa::HEADER..).ok_or(Malformed)?);
    let (family, prefix_length, scope) = (body[0], body[1], body[3]);
    if family != AF_INET && family != AF_INET6 {
        return Ok(None);
    }
    let mut flags = u32::from(body[2]);
    let (mut local, mut address) = (None, None);
    for (kind, value) in attributes {
        match kind {
            ifa::LOCAL => local = address_of(value),
            ifa::ADDRESS => address = address_of(value),
            ifa::FLAGS => flags = u32_of(value).unwrap_or(flags),
            _ => {}
        }
    }
    Ok(Some(Address {
        index: u32_at(body, 4).ok_or(Malformed)?,
        address: local.or(address).ok_or(Malformed)?,
        prefix_length,
        global: scope == ifa::SCOPE_UNIVERSE,
        secondary: flags & ifa::SECONDARY != 0,
        tentative: flags & (ifa::TENTATIVE | ifa::DAD_FAILED) != 0,
        deprecated: flags & ifa::DEPRECATED != 0,
    }))
}

/// ndmsg: 0 family, 4 index, 8 state, 10 flags, 11 type.
mod nda {
    pub(super) const HEADER: usize = 12;
    pub(super) const DST: u16 = 1;
    pub(super) const LLADDR: u16 = 2;
    pub(super) const NTF_PROXY: u8 = 0x08;
}

fn neighbor(body: &[u8]) -> Result<Option<NeighborEntry>, Malformed> {
    let attributes = Attributes(body.get(nda::HEADER..).ok_or(Malformed)?);
    let (family, flags) = (body[0], body[10]);
    if (family != AF_INET && family != AF_INET6) || flags & nda::NTF_PROXY != 0 {
        return Ok(None);
    }
    let (mut address, mut mac) = (None, None);
    for (kind, value) in attributes {
        match kind {
            nda::DST => address = address_of(value),
            nda::LLADDR => mac = value.try_into().ok().map(MacAddress),
            _ => {}
        }
    }
    Ok(Some(NeighborEntry {
        index: u32_at(body, 4).ok_or(Malformed)?,
        address: address.ok_or(Malformed)?,
        reachability: reachability(u16_at(body, 8).ok_or(Malformed)?),
        mac,
    }))
}

fn reachability(state: u16) -> Reachability {
    match state {
        0x01 => Reachability::Incomplete,
        0x02 => Reachability::Reachable,
        0x04 => Reachability::Stale,
        0x08 => Reachability::Delay,
        0x10 => Reachability::Probe,
        0x20 => Reachability::Failed,
        0x40 => Reachability::NoArp,
        0x80 => Reachability::Permanent,
        _ => Reachability::None,
    }
}

/// rtmsg: 0 family, 1 destination length, 2 source length, 3 TOS, 4 table, 5 protocol, 6 scope, 7 type, 8 flags.
mod rta {
    pub(super) const HEADER: usize = 12;
    pub(super) const DST: u16 = 1;
    pub(super) const OIF: u16 = 4;
    pub(super) const GATEWAY: u16 = 5;
    pub(super) const PRIORITY: u16 = 6;
    pub(super) const PREFSRC: u16 = 7;
    pub(super) const METRICS: u16 = 8;
    pub(super) const MULTIPATH: u16 = 9;
    pub(super) const TABLE: u16 = 15;
    pub(super) const VIA: u16 = 18;
    pub(super) const ENCAP: u16 = 22;
    pub(super) const NH_ID: u16 = 30;
    pub(super) const RTAX_MTU: u16 = 2;
    pub(super) const CLONED: u32 = 0x200;
    /// rtnexthop: 0 length, 2 flags, 3 hops (weight less one), 4 index.
    pub(super) const NEXT_HOP: usize = 8;
    pub(super) const RTNH_F_DEAD: u8 = 1;
}

fn placement(flags: u16, body: &[u8]) -> Placement {
    if flags & NLM_F_REPLACE != 0 {
        Placement::Replace
    } else if flags & NLM_F_APPEND != 0 || body.first() == Some(&AF_INET6) {
        Placement::Last
    } else {
        Placement::First
    }
}

fn route(body: &[u8]) -> Result<Option<KernelRoute>, Malformed> {
    let attributes = Attributes(body.get(rta::HEADER..).ok_or(Malformed)?);
    let (family, length, source_length, tos) = (body[0], body[1], body[2], body[3]);
    let flags = u32_at(body, 8).ok_or(Malformed)?;
    let Some(everywhere) = unspecified(family) else {
        return Ok(None);
    };
    let (mut destination, mut single, mut hops) = (None, Hop::default(), Vec::new());
    let mut table = u32::from(body[4]);
    let mut route = KernelRoute {
        table: Table::Main,
        destination: everywhere,
        metric: 0,
        kind: RouteKind::Unicast,
        hops: Box::default(),
        mtu: None,
        next_hop_object: None,
        protocol: body[5],
        preferred_source: None,
    };
    for (kind, value) in attributes {
        match kind {
            rta::DST => destination = address_of(value),
            rta::PRIORITY => route.metric = u32_of(value).ok_or(Malformed)?,
            rta::PREFSRC => route.preferred_source = address_of(value),
            rta::METRICS => route.mtu = metric_mtu(value),
            rta::TABLE => table = u32_of(value).ok_or(Malformed)?,
            rta::NH_ID => route.next_hop_object = u32_of(value),
            rta::MULTIPATH => hops = multipath(value)?,
            _ => single.read(kind, value),
        }
    }
    let (Some(table), Some(kind)) = (followed_table(table), route_kind(body[7])) else {
        return Ok(None);
    };
    // The relay's own announcements lead to itself: never a way out.
    if body[5] == ANNOUNCED_PROTOCOL {
        return Ok(None);
    }
    if flags & rta::CLONED != 0 || source_length != 0 || tos != 0 {
        return Ok(None);
    }
    if let (true, Some(index)) = (hops.is_empty(), single.index) {
        // rtm_flags carries the flags of a single next hop in its low bits.
        hops.push(single.build(index, 1, flags.to_ne_bytes()[low_byte()]));
    }
    let address = destination.unwrap_or(everywhere.addr());
    route.destination = IpNet::new(address, length).map_err(|_| Malformed)?;
    (route.table, route.kind, route.hops) = (table, kind, hops.into_boxed_slice());
    Ok(Some(route))
}

/// Position of the low byte of a native-endian integer.
const fn low_byte() -> usize {
    if cfg!(target_endian = "little") { 0 } else { 3 }
}

#[derive(Default)]
struct Hop {
    index: Option<u32>,
    gateway: Option<IpAddr>,
    encapsulated: bool,
}

impl Hop {
    fn read(&mut self, kind: u16, value: &[u8]) {
        match kind {
            rta::OIF => self.index = u32_of(value),
            rta::GATEWAY => self.gateway = address_of(value),
            // rtvia: the family, then an address of the other family than the route's.
            rta::VIA => self.gateway = value.get(2..).and_then(address_of),
            rta::ENCAP => self.encapsulated = true,
            _ => {}
        }
    }

    fn build(self, index: u32, weight: u16, flags: u8) -> KernelHop {
        KernelHop {
            index,
            gateway: self.gateway.filter(|gateway| !gateway.is_unspecified()),
            weight,
            dead: flags & rta::RTNH_F_DEAD != 0,
            encapsulated: self.encapsulated,
        }
    }
}

fn multipath(mut bytes: &[u8]) -> Result<Vec<KernelHop>, Malformed> {
    let mut hops = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16_at(bytes, 0).ok_or(Malformed)?);
        let flags = u8_at(bytes, 2).ok_or(Malformed)?;
        let weight = u16::from(u8_at(bytes, 3).ok_or(Malformed)?) + 1;
        let index = u32_at(bytes, 4).ok_or(Malformed)?;
        let attributes = Attributes(bytes.get(rta::NEXT_HOP..length).ok_or(Malformed)?);
        let mut hop = Hop::default();
        attributes.for_each(|(kind, value)| hop.read(kind, value));
        hops.push(hop.build(index, weight, flags));
        bytes = bytes.get(super::attribute::padded(length)..).unwrap_or_default();
    }
    Ok(hops)
}

fn metric_mtu(metrics: &[u8]) -> Option<u32> {
    Attributes(metrics)
        .find(|(kind, _)| *kind == rta::RTAX_MTU)
        .and_then(|(_, value)| u32_of(value))
        .filter(|mtu| *mtu != 0)
}

fn followed_table(table: u32) -> Option<Table> {
    match table {
        255 => Some(Table::Local),
        254 => Some(Table::Main),
        253 => Some(Table::Default),
        _ => None,
    }
}

fn route_kind(kind: u8) -> Option<RouteKind> {
    match kind {
        1 => Some(RouteKind::Unicast),
        2..=5 => Some(RouteKind::Local),
        6 => Some(RouteKind::Blackhole),
        7 => Some(RouteKind::Unreachable),
        8 => Some(RouteKind::Prohibit),
        9 => Some(RouteKind::Throw),
        _ => None,
    }
}

fn unspecified(family: u8) -> Option<IpNet> {
    match family {
        AF_INET => IpNet::new(Ipv4Addr::UNSPECIFIED.into(), 0).ok(),
        AF_INET6 => IpNet::new(Ipv6Addr::UNSPECIFIED.into(), 0).ok(),
        _ => None,
    }
}

/// nhmsg is 8 bytes; NHA_ID is attribute 1.
fn next_hop_object(body: &[u8]) -> Result<Option<Event>, Malformed> {
    let mut attributes = Attributes(body.get(8..).ok_or(Malformed)?);
    let id = attributes.find(|(kind, _)| *kind == 1).and_then(|(_, value)| u32_of(value));
    Ok(id.map(|id| Event::NextHopObject { id }))
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::attribute::Messages;
    use super::*;

    /// Messages recorded from Linux 6.18; the comment above each is the command that caused it.
    fn decoded(hex: &str) -> Result<Option<Event>, Malformed> {
        let bytes = bytes(hex);
        let mut messages = Messages(&bytes);
        let decoded = event(messages.next().unwrap());
        assert_eq!(messages.next(), None);
        decoded
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    fn route_of(hex: &str) -> (KernelRoute, Placement) {
        match decoded(hex) {
            Ok(Some(Event::Route { route, placement })) => (route, placement),
            other => panic!("{other:?}"),
        }
    }

    fn hop(index: u32, gateway: &str, weight: u16) -> KernelHop {
        let gateway = Some(gateway.parse().unwrap());
        KernelHop { index, gateway, weight, dead: false, encapsulated: false }
    }

    // ip route add 10.0.0.0/8 metric 7 mtu 1400 proto 186 src 192.0.2.1
    //   nexthop via 192.0.2.2 weight 3 nexthop via inet6 fe80::1 dev t0
    const IPV4_MULTIPATH: &str = "
        7c000000180000062dde026b9213000002080000feba00010000000008000f00fe000000080001000a00000008000600070000000c
        000800080002007805000008000700c000020134000900100010020200000008000500c00002022000000002000000160012000a00
        fe8000000000000000000000000000010000";

    #[test]
    fn ipv4_multipath_with_metrics_and_a_hop_of_the_other_family() {
        let (route, placement) = route_of(IPV4_MULTIPATH);
        let expected = KernelRoute {
            table: Table::Main,
            destination: "10.0.0.0/8".parse().unwrap(),
            metric: 7,
            kind: RouteKind::Unicast,
            // Recorded without carrier: RTNH_F_LINKDOWN is set and not kept.
            hops: [hop(2, "192.0.2.2", 3), hop(2, "fe80::1", 1)].into(),
            mtu: Some(1400),
            next_hop_object: None,
            protocol: 186,
            preferred_source: Some("192.0.2.1".parse().unwrap()),
        };
        assert_eq!((route, placement), (expected, Placement::First));
    }

    #[test]
    fn ipv6_multipath_and_the_removal_of_one_hop() {
        // ip -6 route replace default nexthop via 2001:db8::2 nexthop via 2001:db8::3
        let (route, placement) = route_of(
            "94000000180000012dde026b981300000a000000fe0300010000000008000f00fe00000008000600000400003c0009001c001000
             020000001400050020010db80000000000000000000000021c001000020000001400050020010db8000000000000000000000003
             24000c0000000000000000000000000000000000000000000000000000000000000000000500140000000000",
        );
        assert_eq!(placement, Placement::Replace);
        assert_eq!((route.destination, route.metric), ("::/0".parse().unwrap(), 1024));
        assert_eq!(*route.hops, [hop(2, "2001:db8::2", 1), hop(2, "2001:db8::3", 1)]);
        // ip -6 route del default via 2001:db8::2
        let removed = decoded(
            "74000000190000002dde026b9a1300000a000000fe0300011000000008000f00fe00000008000600000400001400050020010d
             b8000000000000000000000002080004000200000024000c00000000000000000000000000000000000000000000000000000000
             00000000000500140000000000",
        );
        match removed {
            Ok(Some(Event::RouteRemoved(route))) => assert_eq!(*route.hops, [hop(2, "2001:db8::2", 1)]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn own_and_broadcast_addresses_are_local_routes() {
        // The side effects of: ip addr add 192.0.2.1/24 dev t0
        for (hex, destination) in [
            (
                "3c00000018000006000000000000000002200000ff02fe020000000008000f00ff00000008000100c0000201
                 08000700c00002010800040002000000",
                "192.0.2.1/32",
            ),
            (
                "3c00000018000006000000000000000002200000ff02fd031000000008000f00ff00000008000100c00002ff
                 08000700c00002010800040002000000",
                "192.0.2.255/32",
            ),
        ] {
            let (route, _) = route_of(hex);
            assert_eq!((route.destination, route.kind), (destination.parse().unwrap(), RouteKind::Local));
            assert_eq!(route.table, Table::Local);
        }
    }

    #[test]
    fn routes_without_hops_of_other_tables_and_for_a_tos() {
        // ip route add blackhole 10.2.0.0/16
        let blackhole =
            "2c000000180000062dde026b9c13000002100000fe0300060000000008000f00fe000000080001000a020000";
        let (route, _) = route_of(blackhole);
        assert_eq!((route.kind, route.hops.len()), (RouteKind::Blackhole, 0));
        // ip route add 10.3.0.0/16 via 192.0.2.2 table 1000
        let table = "3c000000180000062dde026b9e13000002100000fc0300011000000008000f00e8030000080001000a030000
                     08000500c00002020800040002000000";
        assert_eq!(decoded(table), Ok(None));
        // ip route add 10.4.0.0/16 via 192.0.2.2 tos 0x10
        let tos = "3c000000180000062dde026ba013000002100010fe0300011000000008000f00fe000000080001000a040000
                   08000500c00002020800040002000000";
        assert_eq!(decoded(tos), Ok(None));
    }

    #[test]
    fn the_health_of_a_single_hop_is_in_the_flags_of_the_route() {
        // ip route append 10.1.0.0/16 via 192.0.2.3, on a link without carrier (0x10); then with RTNH_F_DEAD set.
        let hex = "3c000000180000062dde026b9613000002100000fe0300011000000008000f00fe000000080001000a010000
                   08000500c00002030800040002000000";
        assert_eq!(*route_of(hex).0.hops, [hop(2, "192.0.2.3", 1)], "the link tells of its carrier");
        let dead = hex.replace("fe03000110000000", "fe03000111000000");
        assert!(route_of(&dead).0.hops[0].dead);
        let cloned = hex.replace("fe03000110000000", "fe03000110020000");
        assert_eq!(decoded(&cloned), Ok(None));
    }

    #[test]
    fn addresses_with_their_flags() {
        // ip addr add 192.0.2.1/24 dev t0
        let ipv4 = "4c000000140000002dde026b8e130000021880000200000008000100c000020108000200c0000201
                    0700030074300000080008008000000014000600ffffffffffffffff9e5d05009e5d0500";
        let expected = Address {
            index: 2,
            address: "192.0.2.1".parse().unwrap(),
            prefix_length: 24,
            global: true,
            secondary: false,
            tentative: false,
            deprecated: false,
        };
        assert_eq!(decoded(ipv4), Ok(Some(Event::Address(expected.clone()))));
        // The same with IFA_F_SECONDARY, IFA_F_TENTATIVE and IFA_F_DEPRECATED in IFA_FLAGS, and link scope.
        let flagged = ipv4.replace("0800080080000000", "08000800e1000000").replace("021880000", "021880fd0");
        let expected =
            Address { global: false, secondary: true, tentative: true, deprecated: true, ..expected };
        assert_eq!(decoded(&flagged), Ok(Some(Event::Address(expected))));
    }

    #[test]
    fn neighbours_but_not_proxies_and_bridge_entries() {
        // ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev t0 nud permanent
        let hex =
            "4c0000001c00000000000000a213000002000000020000008000000108000100c00002070a0002000200000000070000
                   08000400000000001400030000000000000000000000000001000000";
        let expected = NeighborEntry {
            index: 2,
            address: "192.0.2.7".parse().unwrap(),
            reachability: Reachability::Permanent,
            mac: Some(MacAddress([2, 0, 0, 0, 0, 7])),
        };
        assert_eq!(decoded(hex), Ok(Some(Event::Neighbor(expected))));
        let proxy = hex.replace("8000000108000100", "8000080108000100");
        assert_eq!(decoded(&proxy), Ok(None));
        let bridge = hex.replace("a21300000200", "a21300000700");
        assert_eq!(decoded(&bridge), Ok(None));
    }

    /// A link message, put together by hand: this is what 8021q would send.
    fn link_message(kind: u16, family: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![family, 0, 1, 0];
        body.extend_from_slice(&20_u32.to_ne_bytes());
        body.extend_from_slice(&(ifla::UP | ifla::LOWER_UP).to_ne_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend(nested(attributes));
        let mut message = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&[0; 10]);
        message.extend(body);
        message
    }

    fn nested(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, value) in attributes {
            bytes.extend_from_slice(&u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn link_of(message: &[u8]) -> Option<Event> {
        event(Messages(message).next().unwrap()).unwrap()
    }

    #[test]
    fn vlans_name_their_parent_and_identifier() {
        let (id, index, mtu) = (100_u16.to_ne_bytes(), 10_u32.to_ne_bytes(), 1500_u32.to_ne_bytes());
        let info =
            |protocol: &[u8], kind: &[u8]| nested(&[(1, kind), (2, &nested(&[(1, &id), (5, protocol)]))]);
        let message = |info: &[u8], more: &[(u16, &[u8])]| {
            let mut attributes =
                vec![(3, &b"v100\0"[..]), (1, &[2, 0, 0, 0, 0, 9]), (4, &mtu), (5, &index), (18, info)];
            attributes.extend_from_slice(more);
            link_message(RTM_NEWLINK, AF_UNSPEC, &attributes)
        };
        let expected = Link {
            index: 20,
            name: "v100".into(),
            parent: Some(10),
            vlan: Some(100),
            kind: "vlan".into(),
            master: None,
            mac: Some(MacAddress([2, 0, 0, 0, 0, 9])),
            mtu: 1500,
            admin_up: true,
            carrier: true,
            loopback: false,
        };
        let dot1q = info(&[0x81, 0x00], b"vlan\0");
        assert_eq!(link_of(&message(&dot1q, &[])), Some(Event::Link(expected.clone())));
        let elsewhere = Link { parent: None, ..expected.clone() };
        assert_eq!(link_of(&message(&dot1q, &[(37, &[0; 4])])), Some(Event::Link(elsewhere)));
        let bridged = Link { master: Some(7), ..expected.clone() };
        assert_eq!(link_of(&message(&dot1q, &[(10, &7_u32.to_ne_bytes())])), Some(Event::Link(bridged)));
        for (other, kind) in
            [(info(&[0x88, 0xa8], b"vlan\0"), "vlan"), (info(&[0x81, 0x00], b"vxlan\0"), "vxlan")]
        {
            let not_ours = Link { vlan: None, kind: kind.into(), ..expected.clone() };
            assert_eq!(link_of(&message(&other, &[])), Some(Event::Link(not_ours)));
        }
    }

    #[test]
    fn bridge_ports_and_wireless_events_are_no_links() {
        let mtu = 1500_u32.to_ne_bytes();
        assert_eq!(link_of(&link_message(RTM_NEWLINK, 7, &[(4, &mtu)])), None);
        assert_eq!(link_of(&link_message(RTM_DELLINK, 7, &[(4, &mtu)])), None, "left a bridge, still there");
        assert_eq!(link_of(&link_message(RTM_NEWLINK, AF_UNSPEC, &[(11, &[0; 8])])), None);
        let removed = link_of(&link_message(RTM_DELLINK, AF_UNSPEC, &[]));
        assert_eq!(removed, Some(Event::LinkRemoved { index: 20 }));
    }

    #[test]
    fn no_truncation_panics() {
        let whole = bytes(IPV4_MULTIPATH);
        for end in 16..whole.len() {
            let mut cut = whole[..end].to_vec();
            cut[0] = u8::try_from(end).unwrap();
            for kind in 0..=110 {
                cut[4] = kind;
                let _ = Messages(&cut).next().map(event);
            }
        }
    }
}
