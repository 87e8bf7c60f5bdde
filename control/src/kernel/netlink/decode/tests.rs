use dataplane::table::routing::MacAddress;

use super::*;
use crate::kernel::event::{
    Address, KernelHop, KernelRoute, Link, NeighborEntry, NextHopKind, NextHopObject, Placement,
    Reachability, RouteKind, Rule, Table,
};
use crate::kernel::netlink::attribute::Messages;
use crate::kernel::netlink::request::{AF_INET, AF_INET6, AF_UNSPEC};

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
    for (hex, kind, destination) in [
        (
            "3c00000018000006000000000000000002200000ff02fe020000000008000f00ff00000008000100c0000201
             08000700c00002010800040002000000",
            RouteKind::Local,
            "192.0.2.1/32",
        ),
        (
            "3c00000018000006000000000000000002200000ff02fd031000000008000f00ff00000008000100c00002ff
             08000700c00002010800040002000000",
            RouteKind::Broadcast,
            "192.0.2.255/32",
        ),
    ] {
        let (route, _) = route_of(hex);
        assert_eq!((route.destination, route.kind), (destination.parse().unwrap(), kind));
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
    assert_eq!(route_of(table).0.table, Table::Other(1000));
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
    let expected = Address { global: false, secondary: true, tentative: true, deprecated: true, ..expected };
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

const IFF_UP: u32 = 1;
const IFF_LOWER_UP: u32 = 1 << 16;

/// A link message, put together by hand: this is what 8021q would send.
fn link_message(kind: u16, family: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![family, 0, 1, 0];
    body.extend_from_slice(&20_u32.to_ne_bytes());
    body.extend_from_slice(&(IFF_UP | IFF_LOWER_UP).to_ne_bytes());
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
    let info = |protocol: &[u8], kind: &[u8]| nested(&[(1, kind), (2, &nested(&[(1, &id), (5, protocol)]))]);
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
        vrf: None,
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

/// As drivers/net/vrf.c writes it: the kernel of the machine these tests were made on has no VRF.
#[test]
fn vrf_devices_tell_their_table() {
    let (mtu, table) = (1500_u32.to_ne_bytes(), 10_u32.to_ne_bytes());
    let info = |kind: &[u8]| nested(&[(1, kind), (2, &nested(&[(1, &table)]))]);
    for (kind, expected) in [(&b"vrf\0"[..], Some(10)), (b"vlan\0", None)] {
        let info = info(kind);
        let message = link_message(RTM_NEWLINK, AF_UNSPEC, &[(3, b"red\0"), (4, &mtu), (18, &info)]);
        match link_of(&message) {
            Some(Event::Link(link)) => assert_eq!(link.vrf, expected, "{kind:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn rules_that_a_forwarded_packet_may_meet() {
    let read = |header: [u8; 12], attributes: &[(u16, &[u8])]| {
        let body: Vec<u8> = header.into_iter().chain(nested(attributes)).collect();
        rule::rule(&body).unwrap()
    };
    let to = |table: u8| [AF_INET, 0, 0, 0, table, 0, 0, 1, 0, 0, 0, 0];
    let (hundred, none) = (100_u32.to_ne_bytes(), [0xff; 4]);
    let whole = |priority: &[u8; 4], more: &[(u16, &[u8])]| {
        read(to(100), &[&[(6, &priority[..]), (14, &none[..]), (15, &hundred[..])], more].concat())
    };
    let expected = Rule { ipv6: false, priority: 100, interface: None, everything: true, table: Some(100) };
    assert_eq!(whole(&hundred, &[]), Some(expected.clone()));
    let named = Rule { interface: Some("bl-v4".into()), ..expected.clone() };
    assert_eq!(whole(&hundred, &[(3, b"bl-v4\0")]), Some(named));
    let narrow = Rule { everything: false, ..expected.clone() };
    for attribute in [22, 23, 24, 12] {
        assert_eq!(whole(&hundred, &[(attribute, &[6])]), Some(narrow.clone()));
    }
    for nobodys in [(17, &b"eth0\0"[..]), (20, &[0; 8]), (10, &[1, 0, 0, 0]), (3, b"lo\0"), (19, &[1])] {
        assert_eq!(whole(&hundred, &[nobodys]), None, "{nobodys:?}");
    }
    assert_eq!(whole(&hundred, &[(10, &[0; 4]), (16, &[0; 4])]), Some(expected.clone()), "every mark");
    assert_eq!(read([AF_INET, 0, 24, 0, 100, 0, 0, 1, 0, 0, 0, 0], &[(6, &hundred)]), Some(narrow.clone()));
    let inverted = [AF_INET, 0, 0, 0, 100, 0, 0, 1, 2, 0, 0, 0];
    assert_eq!(read(inverted, &[(6, &hundred), (10, &[1, 0, 0, 0])]), Some(narrow), "not of a mark");
    let unreachable = [AF_INET6, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0];
    let expected = Rule { ipv6: true, table: None, ..expected };
    assert_eq!(read(unreachable, &[(6, &hundred)]), Some(expected));
    for (priority, table) in [(0_u32, 255_u8), (32_766, 254), (32_767, 253)] {
        let attributes: [(u16, &[u8]); 1] = [(6, &priority.to_ne_bytes())];
        assert_eq!(read(to(table), &attributes), None, "a default rule");
        assert!(read(to(7), &attributes).is_some());
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
fn nexthop_objects_and_the_routes_over_them() {
    // ip nexthop add id 2 via 2001:db8::2 dev t0
    let single = "3c00000068000506ef2f0b6b226200000afd000000000000080001000200000008000500030000001400060020010db8000000
                  000000000000000002";
    let object = |id, kind| Ok(Some(Event::NextHop(NextHopObject { id, kind })));
    assert_eq!(decoded(single), object(2, NextHopKind::Single(hop(3, "2001:db8::2", 1))));
    // ip nexthop add id 3 blackhole; ip nexthop del id 3
    let blackhole = "2400000068000506f02f0b6b546200000200000000000000080001000300000004000400";
    assert_eq!(decoded(blackhole), object(3, NextHopKind::Blackhole));
    let removed = blackhole.replace("2400000068", "2400000069");
    assert_eq!(decoded(&removed), Ok(Some(Event::NextHopRemoved { id: 3 })));
    // ip nexthop add id 9 group 1,3/5
    let group =
        "4400000068000506f02f0b6b8a62000000000000000000000800010009000000060003000000000014000200010000000200
                 0000050000000000000008000e0000000080";
    assert_eq!(decoded(group), object(9, NextHopKind::Group([(1, 3), (5, 1)].into())));
    // ip nexthop add id 10 group 1/5 type resilient buckets 32
    let resilient = "6c00000068000506f02f0b6b8c6200000000000000000000080001000a0000000600030001000000140002000100000000
                     000000050000000000000028000c80060001002000000008000200e02e000008000300000000000c0004000000000000
                     00000008000e0000000080";
    assert_eq!(decoded(resilient), object(10, NextHopKind::Group([(1, 1), (5, 1)].into())));
    // ip nexthop add id 20 via 192.0.2.9 fdb
    let fdb = "2c00000068000506f12f0b6b8e62000002fd000000000000080001001400000004000b0008000600c0000209";
    assert_eq!(decoded(fdb), Ok(None));
    // ip route add 10.9.0.0/16 nhid 3, whose kind is the object's.
    let over =
        "3400000018000006f22f0b6b9862000002100000fe0300060000000008000f00fe000000080001000a09000008001e000300
                0000";
    let (route, _) = route_of(over);
    assert_eq!((route.next_hop_object, route.kind, route.hops.len()), (Some(3), RouteKind::Unicast, 0));
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
