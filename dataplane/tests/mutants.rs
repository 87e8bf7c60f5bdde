//! Edges that deliberate small errors in the code have shown to be unguarded elsewhere (`docs/mutations.md`).
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared with the requirements, which use the rest")]
#[path = "translator/lab.rs"]
mod lab;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use dataplane::buffer::Buffer;
use dataplane::counters::{Counts, Event};
use dataplane::exception::{PuntReceiver, Punted, inject_ring, punt_ring};
use dataplane::io::{Frames, ReceiveQueue, TransmitQueue};
use dataplane::memory::{MemoryBuffer, MemoryPool};
use dataplane::offline::Outcome;
use dataplane::sink::Sink;
use dataplane::stage::fragment::{self, Uncut};
use dataplane::stage::identification::Identifications;
use dataplane::stage::parse::Ingress;
use dataplane::stage::{Answer, icmp_error};
use dataplane::table::eam::{Eam, EamTable};
use dataplane::table::fib::{Adjacency, Fib, Path};
use dataplane::table::icmp_source::{Choice, IcmpSourcePool};
use dataplane::table::publish::Publisher;
use dataplane::table::routing::{
    Hop, InterfaceId, Neighbor, NeighborState, Route, RouteAction, Routing, TableId,
};
use dataplane::table::snapshot::Snapshot;
use dataplane::table::translation::{Hairpin, IcmpSourceExtension, Role, UdpZeroChecksum};
use dataplane::testing::{self, MAC_PEER, MAC_V4, MAC_V6};
use dataplane::verdict::{DropReason, PuntReason};
use dataplane::walk::{Native, Output, Walk, Wanted};
use dataplane::wire::ethernet;
use dataplane::wire::ipv4::{Ipv4Header, Options, inspect_options};
use dataplane::wire::ipv6::Ipv6Header;
use dataplane::worker::{Clock, Poll, Worker, WorkerParts};
use lab::*;

// Where packets go.

/// Where each packet would go.
#[derive(Default)]
struct Ways {
    forwarded: Vec<InterfaceId>,
    waiting: Vec<(InterfaceId, IpAddr)>,
}

impl Output<MemoryBuffer> for Ways {
    fn forward(&mut self, _: MemoryBuffer, adjacency: &Adjacency, _: &mut Sink<MemoryBuffer>) {
        self.forwarded.push(adjacency.interface);
    }

    fn unresolved(&mut self, _: MemoryBuffer, wanted: Wanted, _: &mut Sink<MemoryBuffer>) {
        self.waiting.push((wanted.interface, wanted.next_hop));
    }
}

fn ways(router: &mut Router, packets: &[Vec<u8>]) -> Ways {
    let mut output = Ways::default();
    for packet in packets {
        let mut walk = Walk {
            snapshot: &router.snapshot,
            lcore: &mut router.lcore,
            sink: &mut router.sink,
            pool: &mut MemoryPool::unlimited(),
            output: &mut output,
            native: Native::Forward,
            table: TableId::MAIN,
        };
        let ingress = |side| Ingress { interface: InterfaceId(side), mtu: 1500, group: false };
        let buffer = MemoryBuffer::new(packet);
        match packet[0] >> 4 {
            4 => drop(walk.ipv4(buffer, ingress(0))),
            _ => drop(walk.ipv6(buffer, ingress(1))),
        }
    }
    output
}

fn connected(interface: u16) -> RouteAction {
    RouteAction::Via(vec![Hop { interface: InterfaceId(interface), gateway: None, weight: 1 }])
}

#[test]
fn a_packet_waits_for_its_gateway_and_on_a_link_for_its_destination() {
    let packets = [sized_v4(60), sized_v6(80)];
    let mut router = Lab::default().router(|routing| routing.neighbors.clear());
    let gateways = ["fe80::1", "198.51.100.253"].map(|text| text.parse().unwrap());
    let expected = vec![(InterfaceId(1), gateways[0]), (InterfaceId(0), gateways[1])];
    assert_eq!(ways(&mut router, &packets).waiting, expected);
    let mut router = Lab::default().router(|routing| {
        for (network, interface) in [("203.0.113.0/24", 0), ("2001:db8:12:34::/64", 1)] {
            let destination = network.parse().unwrap();
            routing.routes.push(Route { destination, action: connected(interface), mtu: None });
        }
    });
    let expected = vec![(InterfaceId(1), HOST.parse().unwrap()), (InterfaceId(0), CLIENT.parse().unwrap())];
    assert_eq!(ways(&mut router, &packets).waiting, expected);
}

#[test]
fn flows_are_told_apart_by_either_address() {
    let mut router = Lab::default().router(|routing| {
        for (position, interface) in [(0, 0_u16), (1, 1)] {
            let RouteAction::Via(hops) = &mut routing.routes[position].action else {
                panic!("a default route")
            };
            let gateway = hops[0].gateway;
            hops.push(Hop { interface: InterfaceId(2), gateway, weight: 1 });
            let mut neighbor = routing.neighbors[usize::from(interface)].clone();
            neighbor.interface = InterfaceId(2);
            routing.neighbors.push(neighbor);
        }
    });
    let native = |source: &str, destination: &str| match source.contains(':') {
        true => udp_v6(source, destination, &[1]),
        false => udp_v4(source, destination, &[1]),
    };
    let hosts = 1..=64;
    let groups: [Vec<Vec<u8>>; 6] = [
        hosts.clone().map(|host| native(&format!("203.0.113.{host}"), SERVICE)).collect(),
        hosts.clone().map(|host| native(HOST, &format!("2001:db8:46::203.0.113.{host}"))).collect(),
        hosts.clone().map(|host| native(&format!("203.0.113.{host}"), "198.18.0.1")).collect(),
        hosts.clone().map(|host| native(CLIENT, &format!("198.18.0.{host}"))).collect(),
        hosts.clone().map(|host| native(&format!("2001:db8:ca7::{host:x}"), "2001:db8:e15e::1")).collect(),
        hosts.map(|host| native(UNMAPPED, &format!("2001:db8:e15e::{host:x}"))).collect(),
    ];
    for (number, packets) in groups.iter().enumerate() {
        let first = ways(&mut router, packets).forwarded;
        assert_eq!(first.len(), 64, "group {number}");
        let spread = first.iter().filter(|way| **way == InterfaceId(2)).count();
        assert!((16..=48).contains(&spread), "group {number}: {spread} of 64 by the second way");
        assert_eq!(ways(&mut router, packets).forwarded, first, "group {number}: a flow keeps its way");
    }
}

#[test]
fn a_route_mtu_no_sender_can_obey_is_raised_to_what_every_link_carries() {
    let mut routing = testing::routing(1500, 1500);
    for route in &mut routing.routes {
        route.mtu = Some(20);
    }
    let fib = Fib::build(&routing);
    assert_eq!(fib.lookup(CLIENT.parse().unwrap(), || 0).mtu(), Some(68));
    assert_eq!(fib.lookup(HOST.parse().unwrap(), || 0).mtu(), Some(1280));
}

#[test]
fn a_neighbour_of_another_link_is_none_of_this_one() {
    let mut routing: Routing = testing::routing(1500, 1500);
    routing.routes.push(Route {
        destination: "203.0.113.0/24".parse().unwrap(),
        action: connected(0),
        mtu: None,
    });
    let address: IpAddr = CLIENT.parse().unwrap();
    let mut neighbor =
        Neighbor { interface: InterfaceId(2), address, state: NeighborState::Resolved(MAC_PEER) };
    routing.neighbors.push(neighbor.clone());
    let glean = Path::Unresolved { interface: InterfaceId(0), gateway: None, mtu: 1500 };
    assert_eq!(*Fib::build(&routing).lookup(address, || 0), glean);
    neighbor.interface = InterfaceId(0);
    routing.neighbors.push(neighbor);
    assert!(matches!(Fib::build(&routing).lookup(address, || 0), Path::Adjacent(_)));
}

#[test]
fn sources_no_packet_can_have_are_not_forwarded_natively() {
    let mut router = Lab::default().router(|_| ());
    for source in ["224.0.0.5", "239.255.255.255", "240.0.0.1", "0.1.2.3", "127.1.2.3"] {
        router.run(&udp_v4(source, "198.18.0.1", &[1])).silent("illegal_source");
    }
    for source in ["ff02::5", "fe80::9", "::", "::1", "::ffff:203.0.113.50"] {
        router.run(&udp_v6(source, "2001:db8:e15e::1", &[1])).silent("illegal_source");
    }
    assert_eq!(router.sink.counts.dropped(DropReason::IllegalSource), 10);
}

// Sizes.

#[test]
fn fragments_that_fill_their_packets_end_with_the_datagram() {
    let done = Lab::default().run(&sized_v4(20 + 2 * 1232));
    let sizes_and_m: Vec<_> = done.out.iter().map(|piece| (piece.len(), piece[43] & 1)).collect();
    assert_eq!(sizes_and_m, [(1280, 1), (1280, 0)]);
    let packet = ipv4(CLIENT, SERVICE, 17, &[7; 160]);
    let pieces = fragment::ipv4(MemoryBuffer::new(&packet), 100, &mut MemoryPool::unlimited()).unwrap();
    let sizes_and_mf: Vec<_> = pieces.iter().map(|piece| (piece.data().len(), piece.data()[6])).collect();
    assert_eq!(sizes_and_mf, [(100, 0x20), (100, 0)]);
}

#[test]
fn a_fragment_may_end_with_the_largest_datagram_and_no_later() {
    for (payload, fits) in [(1387, true), (1388, false)] {
        let packet = with_fragment(ipv4(CLIENT, SERVICE, 17, &vec![7; payload]), false, false, 8016);
        let cut = fragment::ipv4(MemoryBuffer::new(&packet), 1000, &mut MemoryPool::unlimited());
        let refused = (!fits).then_some(DropReason::FragmentInvalid);
        assert_eq!(cut.err().map(|Uncut(_, reason)| reason), refused, "8016 * 8 + {payload}");
    }
}

#[test]
fn an_ipv4_link_below_1280_is_reported_to_every_sender_of_a_packet_with_df() {
    let lab = Lab { ipv4_mtu: 1264, ..Lab::default() };
    // In IPv4 1261 bytes are the least with DF.
    for size in 1281..=1284 {
        assert_eq!(lab.run(&sized_v6(size)).translated().len(), size - 20);
    }
    for size in 1285..=1310 {
        let error = lab.run(&sized_v6(size)).answered("packet_too_big", 2, 0);
        assert_eq!(icmp(&error)[4..8], 1284_u32.to_be_bytes(), "{size}");
    }
}

#[test]
fn the_quote_of_the_largest_packet_is_translated_and_of_a_larger_one_not() {
    let mut about = udp_v6(CLIENT_V6, HOST, &payload(40));
    about[4..6].copy_from_slice(&65_515_u16.to_be_bytes());
    let out = Lab::default().run(&error_about_v6(HOST, 1, 4, [0; 4], &about)).translated();
    assert_eq!(icmp(&out)[8 + 2..8 + 4], [0xff, 0xff], "total length");
    about[4..6].copy_from_slice(&65_516_u16.to_be_bytes());
    Lab::default().run(&error_about_v6(HOST, 1, 4, [0; 4], &about)).silent("icmp_inner_untranslatable");
}

// Headers.

#[test]
fn eight_extension_headers_are_walked_and_nine_are_not() {
    let behind = |count: usize| {
        let udp = &udp_v6(HOST, CLIENT_V6, &[1; 4])[40..];
        let mut payload = Vec::new();
        for left in (0..count).rev() {
            payload.extend([if left == 0 { 17 } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
        }
        payload.extend(udp);
        ipv6(HOST, CLIENT_V6, 60, &payload)
    };
    Lab::default().run(&behind(8)).translated();
    Lab::default().run(&behind(9)).silent("ipv6_extension_invalid");
}

#[test]
fn a_source_route_is_used_up_once_its_pointer_has_passed_its_length() {
    for kind in [131, 137] {
        for (pointer, expected) in [
            (4, Options::SourceRoute),
            (7, Options::SourceRoute),
            (8, Options::Ignored),
            (255, Options::Ignored),
        ] {
            let options = [kind, 7, pointer, 203, 0, 113, 1, 0];
            assert_eq!(inspect_options(&options), expected, "{kind}: pointer {pointer}");
        }
    }
}

#[test]
fn priority_and_drop_eligibility_are_no_part_of_a_vlan() {
    for bits in [0x00, 0x10, 0xe0, 0xf0] {
        let frame = [2, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 0xee, 0x81, 0, bits, 100, 8, 0];
        assert_eq!(ethernet::Header::parse(&frame).unwrap().vlan, Some(100), "{bits:02x}");
    }
}

#[test]
fn a_computed_udp_checksum_is_never_zero() {
    let lab = Lab::with(|settings| settings.udp_zero_checksum = UdpZeroChecksum::Compute);
    let computed = |word: [u8; 2]| {
        let mut packet = udp_v4(CLIENT, SERVICE, &word);
        packet[26..28].fill(0);
        let out = lab.run(&packet).translated();
        [out[46], out[47]]
    };
    // The data that takes up the whole rest of the sum.
    let rest = computed([0, 0]);
    assert_eq!(computed(rest), [0xff, 0xff]);
}

#[test]
fn protocols_between_two_hosts_have_identifications_of_their_own() {
    let (one, other) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(203, 0, 113, 50));
    let sequence = |number| {
        let mut identifications = Identifications::with_keys([1, 2]);
        (0..100).map(|_| identifications.next(one, other, number)).collect::<Vec<_>>()
    };
    assert_ne!(sequence(6), sequence(17));
    assert_ne!(sequence(1), sequence(17));
}

// Addresses.

#[test]
fn a_loopback_address_in_the_well_known_prefix_is_dropped_without_a_word() {
    let lab = Lab { prefixes: vec!["64:ff9b::/96"], ..Lab::default() };
    assert!(lab.settings.wkp_strict);
    for address in ["127.0.0.1", "0.1.2.3", "240.0.0.1", "255.255.255.255", "224.0.0.5"] {
        let done = lab.run(&udp_v6(HOST, &format!("64:ff9b::{address}"), &[1]));
        done.silent("illegal_destination");
    }
    let error = lab.run(&udp_v6(HOST, "64:ff9b::10.0.0.1", &[1]));
    error.answered("well_known_prefix_non_global", 1, 1);
}

#[test]
fn an_eam_around_a_prefix_is_asked_first() {
    let mut lab = Lab::with(|settings| settings.hairpin = Hairpin::Off);
    lab.eams.push(("10.0.0.0/8", "2001:db8:46::/64"));
    let out = lab.run(&udp_v6(HOST, CLIENT_V6, &[1])).translated();
    assert_eq!(destination_v4(&out), Ipv4Addr::new(10, 0, 0, 0), "the EAM's first 24 bits behind its /64");
    let eams = [Eam { ipv4: "10.0.0.0/8".parse().unwrap(), ipv6: "2001:db8:46::/64".parse().unwrap() }];
    let table = EamTable::build(&eams).unwrap();
    for (network, overlaps) in [
        ("2001:db8:46::/96", true),
        ("2001:db8:46:0:ffff::/96", true),
        ("2001:db8:46::/64", true),
        ("2001:db8::/32", true),
        ("::/0", true),
        ("2001:db8:46:1::/96", false),
        ("2001:db8:47::/48", false),
    ] {
        assert_eq!(table.overlapping_ipv6(network.parse().unwrap()) > 0, overlaps, "{network}");
    }
}

fn edge() -> Lab {
    let mut lab = Lab::with(|settings| {
        settings.role = Role::EdgeRelay;
        settings.hairpin = Hairpin::Off;
    });
    lab.er_addresses = vec!["2001:db8:12:34::1/128"];
    lab
}

#[test]
fn an_edge_relay_translates_what_is_for_the_internet_behind_a_default_eam() {
    let mut lab = edge();
    lab.eams.push(("0.0.0.0/0", "2001:db8:ff00::/40"));
    let out = lab.run(&udp_v6(HOST_B, "2001:db8:ffcb:71:3200::", &payload(5))).translated();
    assert_eq!(
        (source_v4(&out).to_string(), destination_v4(&out).to_string()),
        (SERVICE_B.into(), CLIENT.into())
    );
}

#[test]
fn an_edge_relay_refuses_its_own_ipv4_address_through_anybodys_eam() {
    let mut lab = edge();
    lab.eams.push(("192.0.2.0/28", "2001:db8:bad::/124"));
    lab.run(&udp_v6("2001:db8:bad::1", HOST, &[1])).silent("spoofed_source");
    lab.run(&udp_v6("2001:db8:bad::5", HOST, &[1])).translated();
}

#[test]
fn icmp_sources_are_taken_from_the_pool_and_from_nowhere_else() {
    let networks: Vec<ipnet::Ipv4Net> =
        ["198.51.100.4/30", "198.51.100.9/32", "203.0.113.0/31"].map(|text| text.parse().unwrap()).into();
    for choice in [Choice::Random, Choice::Hash] {
        let pool = IcmpSourcePool::new(&networks, choice);
        let picked: HashSet<Ipv4Addr> = (0..1000_u32)
            .map(|number| {
                let router = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number));
                pool.pick(router, number.wrapping_mul(0x9e37_79b9)).unwrap()
            })
            .collect();
        let all = (4..8).chain([9]).map(|host| Ipv4Addr::new(198, 51, 100, host));
        let all: HashSet<_> = all.chain((0..2).map(|host| Ipv4Addr::new(203, 0, 113, host))).collect();
        assert_eq!(picked, all, "{choice:?}");
    }
}

// ICMP errors.

#[test]
fn no_error_is_sent_about_a_link_layer_broadcast() {
    let packet = sized_v4(60);
    let header = Ipv4Header::parse(&packet).unwrap();
    assert!(icmp_error::permitted_ipv4(&packet, &header, false));
    assert!(!icmp_error::permitted_ipv4(&packet, &header, true));
    let packet = sized_v6(80);
    let header = Ipv6Header::parse(&packet).unwrap();
    let answer = Answer { kind: 3, code: 0, rest: [0; 4] };
    assert!(icmp_error::permitted_ipv6(&packet, &header, false, &answer));
    assert!(!icmp_error::permitted_ipv6(&packet, &header, true, &answer));
}

#[test]
fn a_quoted_echo_reads_the_same_however_much_of_it_is_quoted() {
    let about = icmp_v4(SERVICE, CLIENT, 8, 0, [0x12, 0x34, 0, 7], &payload(16));
    let quoted = |length: usize| {
        let error = error_about_v4(CLIENT, 3, 1, [0; 4], &about[..length]);
        Lab::default().run(&error).translated()[40 + 8 + 40..].to_vec()
    };
    let whole = quoted(about.len());
    for length in 4..24 {
        assert_eq!(quoted(20 + length), whole[..length], "IPv4, {length} bytes");
    }
    let about = icmp_v6(CLIENT_V6, HOST, 128, 0, [0x12, 0x34, 0, 7], &payload(16));
    let quoted = |length: usize| {
        let error = error_about_v6(HOST, 1, 0, [0; 4], &about[..length]);
        Lab::default().run(&error).translated()[20 + 8 + 20..].to_vec()
    };
    let whole = quoted(about.len());
    for length in 4..24 {
        assert_eq!(quoted(40 + length), whole[..length], "IPv6, {length} bytes");
    }
}

#[test]
fn a_quoted_fragment_is_as_long_as_it_was_in_ipv6() {
    let first = with_fragment(udp_v4(SERVICE, CLIENT, &payload(52)), false, true, 0);
    let whole = udp_v4(SERVICE, CLIENT, &payload(52));
    for (about, next_header, length) in [(whole, 17, 60), (first, 44, 68)] {
        let out = Lab::default().run(&error_about_v4(CLIENT, 11, 1, [0; 4], &about)).translated();
        let quoted = &icmp(&out)[8..];
        assert_eq!((quoted[6], &quoted[4..6]), (next_header, &[0, length][..]));
    }
}

/// An extension structure of this length.
fn structure(length: usize) -> Vec<u8> {
    let mut bytes = vec![0x20, 0, 0, 0];
    if length > 4 {
        bytes.extend(u16::try_from(length - 4).unwrap().to_be_bytes());
        bytes.extend([9, 1]);
        bytes.extend(payload(length - 8));
    }
    let checksum = !sum(&bytes);
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

#[test]
fn an_extension_is_kept_up_to_1280_bytes() {
    let mut quote = udp_v4(SERVICE, CLIENT, &payload(60));
    quote.resize(128, 0);
    for (length, kept) in [(4, true), (8, true), (1080, true), (1084, false)] {
        let body = [quote.clone(), structure(length)].concat();
        let out = Lab::default().run(&icmp_v4(CLIENT, SERVICE, 11, 0, [0, 32, 0, 0], &body)).translated();
        let expected = if kept { (40 + 8 + 152 + length, 19) } else { (40 + 8 + 108, 0) };
        assert_eq!((out.len(), icmp(&out)[4]), expected, "{length} bytes of extension");
        assert!(!kept || out.ends_with(&structure(length)));
    }
}

#[test]
fn an_extension_that_is_lost_is_not_replaced_by_another() {
    let lab = Lab::with(|settings| settings.icmp_source_extension = IcmpSourceExtension::Rfc5837);
    let mut quote = udp_v6(CLIENT_V6, HOST, &payload(60));
    quote.resize(128, 0);
    let body = [quote, structure(424)].concat();
    let error = icmp_v6(UNMAPPED, CLIENT_V6, 3, 0, [16, 0, 0, 0], &body);
    let out = lab.run(&error).translated();
    assert_eq!((out.len(), icmp(&out)[5]), (20 + 8 + 88, 0));
}

// What is counted.

#[test]
fn a_packet_that_turns_round_is_counted_as_that_alone() {
    let (a, b) = ("2001:db8:46::192.0.2.1", "2001:db8:46::192.0.2.2");
    let mut received_by_b = udp_v6(a, HOST_B, &payload(33));
    received_by_b[7] = 63;
    for packet in [
        udp_v6(HOST, b, &payload(33)),
        fragment_v6(HOST, b, 17, 0, true, &payload(64)),
        error_about_v6(HOST_B, 1, 4, [0; 4], &received_by_b),
        error_about_v6(HOST_B, 2, 0, [0, 0, 5, 0], &received_by_b),
    ] {
        let mut relay = Lab::default().relay();
        assert_eq!(relay.run(&packet).outcome, Outcome::Hairpinned);
        let counted: Vec<_> = Event::ALL.iter().filter(|event| relay.counts().event(**event) > 0).collect();
        assert_eq!(counted, [&Event::Hairpinned], "{packet:02x?}");
    }
}

#[derive(Clone, Default)]
struct Wire(Arc<Mutex<VecDeque<Vec<u8>>>>);

impl Wire {
    fn put(&self, frame: Vec<u8>) {
        self.0.lock().unwrap().push_back(frame);
    }
}

impl ReceiveQueue for Wire {
    type Buffer = MemoryBuffer;

    fn receive(&mut self, frames: &mut Frames<MemoryBuffer>, _: &mut Sink<MemoryBuffer>) -> usize {
        let mut wire = self.0.lock().unwrap();
        let count = wire.len().min(frames.remaining_capacity());
        frames.extend(wire.drain(..count).map(|frame| MemoryBuffer::new(&frame)));
        count
    }
}

/// Takes at most this many frames per call.
struct Narrow(usize);

impl TransmitQueue for Narrow {
    type Buffer = MemoryBuffer;

    fn transmit(&mut self, frames: &mut Frames<MemoryBuffer>) {
        frames.drain(..frames.len().min(self.0));
    }
}

/// A worker with two ports.
struct Bench {
    worker: Worker<Wire, Narrow, MemoryPool>,
    receive: [Wire; 2],
    punted: PuntReceiver,
}

impl Bench {
    fn new(transmit: usize) -> Self {
        Self::with(transmit, |_| ())
    }

    fn with(transmit: usize, change: impl FnOnce(&mut Routing)) -> Self {
        let mut routing = testing::routing(1500, 1500);
        change(&mut routing);
        let fib = Arc::new(Fib::build(&routing));
        let publisher = Publisher::new(Snapshot { fib, ..testing::snapshot(Lab::default().translation()) });
        let receive = [Wire::default(), Wire::default()];
        let (punt, punted) = punt_ring(1 << 20, Arc::new(|| ()));
        let (_, inject) = inject_ring(1 << 16);
        let worker = Worker::new(WorkerParts {
            receive: receive.to_vec(),
            transmit: vec![Narrow(transmit), Narrow(transmit)],
            pool: MemoryPool::unlimited(),
            reader: publisher.reader(),
            punt,
            inject,
            cells: Arc::default(),
            stop: Arc::default(),
            clock: Clock { now: || 1, hertz: 1_000_000_000 },
            poll: Poll::Adaptive,
            longest_sleep: Arc::default(),
            alarm: None,
            workers: 1,
        });
        Self { worker, receive, punted }
    }

    fn turn(&mut self) -> Counts {
        while self.worker.turn() {}
        self.worker.counts().clone()
    }

    fn punts(&mut self) -> HashMap<PuntReason, usize> {
        let mut counts = HashMap::new();
        while let Some(()) = self.punted.receive(|punted| match punted {
            Punted::Frame { reason, .. } => *counts.entry(reason).or_insert(0) += 1,
            other => panic!("{other:?}"),
        }) {}
        counts
    }
}

#[test]
fn the_kernel_is_told_apart_what_keeps_the_network_together() {
    let own_v4 = OWN_V4.to_string();
    let own_v6 = OWN_V6.to_string();
    let ports = |source: u16, destination: u16| {
        let mut header = source.to_be_bytes().to_vec();
        header.extend(destination.to_be_bytes());
        header.extend([0; 16]);
        header
    };
    let v4 = |number, payload: &[u8]| testing::frame(MAC_V4, &ipv4("203.0.113.1", &own_v4, number, payload));
    let v6 = |number, payload: &[u8]| testing::frame(MAC_V6, &ipv6("2001:db8::9", &own_v6, number, payload));
    let later = with_fragment(ipv4("203.0.113.1", &own_v4, 6, &ports(179, 179)), false, false, 9);
    let later_v6 = fragment_v6("2001:db8::9", &own_v6, 6, 9, false, &ports(179, 179));
    let discovery = |kind| v6(58, &[kind, 0, 0, 0, 0, 0, 0, 0]);
    for (port, frame, expected) in [
        (0, v4(6, &ports(40_000, 179)), PuntReason::RoutingProtocolDistant),
        (0, v4(6, &ports(179, 40_000)), PuntReason::RoutingProtocolDistant),
        (1, v6(6, &ports(179, 40_000)), PuntReason::RoutingProtocolDistant),
        (0, v4(6, &ports(40_000, 180)), PuntReason::LocalAddress),
        (0, v4(17, &ports(49_152, 3784)), PuntReason::RoutingProtocolDistant),
        (0, v4(17, &ports(49_152, 3785)), PuntReason::RoutingProtocolDistant),
        (1, v6(17, &ports(49_152, 4784)), PuntReason::RoutingProtocolDistant),
        (0, v4(17, &ports(3784, 49_152)), PuntReason::LocalAddress),
        (0, testing::frame(MAC_V4, &later), PuntReason::LocalAddress),
        (1, testing::frame(MAC_V6, &later_v6), PuntReason::LocalAddress),
        (1, discovery(129), PuntReason::LocalAddress),
        (1, discovery(130), PuntReason::NeighborDiscovery),
        (1, discovery(137), PuntReason::NeighborDiscovery),
        (1, discovery(138), PuntReason::LocalAddress),
        (1, discovery(143), PuntReason::NeighborDiscovery),
        (0, v4(58, &[135, 0, 0, 0, 0, 0, 0, 0]), PuntReason::LocalAddress),
    ] {
        let mut bench = Bench::new(usize::MAX);
        bench.receive[port].put(frame.clone());
        let counts = bench.turn();
        assert_eq!(bench.punts(), HashMap::from([(expected, 1)]), "{frame:02x?}");
        assert_eq!(counts.punted(expected), 1);
    }
}

#[test]
fn what_a_class_sends_above_its_rate_does_not_reach_the_kernel() {
    let mut bench = Bench::new(usize::MAX);
    let mut discovery = testing::frame(MAC_V4, &sized_v4(60));
    discovery[12..14].copy_from_slice(&[0x88, 0xcc]);
    for _ in 0..2500 {
        bench.receive[0].put(discovery.clone());
    }
    let mut arp = discovery.clone();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    bench.receive[0].put(arp);
    let counts = bench.turn();
    assert_eq!(bench.punts(), HashMap::from([(PuntReason::EtherType, 64), (PuntReason::Arp, 1)]));
    assert_eq!((counts.punted(PuntReason::EtherType), counts.dropped(DropReason::PuntPoliced)), (64, 2436));
}

#[test]
fn packets_for_one_unresolved_next_hop_leave_the_rings_to_the_others() {
    let mut bench = Bench::with(usize::MAX, |routing| routing.neighbors.clear());
    for _ in 0..20_000 {
        bench.receive[0].put(testing::frame(MAC_V4, &sized_v4(60)));
    }
    let mut arp = testing::frame(MAC_V4, &sized_v4(60));
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    for _ in 0..10 {
        bench.receive[0].put(arp.clone());
    }
    let counts = bench.turn();
    assert_eq!(counts.punted(PuntReason::Arp), 10);
    let waiting = counts.punted(PuntReason::UnresolvedNextHop);
    assert!((1..1000).contains(&waiting), "{waiting}");
    assert_eq!(counts.dropped(DropReason::PuntPoliced), 20_000 - waiting);
    assert_eq!(counts.dropped(DropReason::PuntRingFull), 0);
}

#[test]
fn bytes_are_counted_as_they_come_in_and_as_ports_take_them() {
    let mut bench = Bench::new(2);
    for size in [100, 300, 900] {
        bench.receive[0].put(testing::frame(MAC_V4, &sized_v4(size)));
    }
    let counts = bench.turn();
    assert_eq!(counts.event(Event::ReceivedBytes), 3 * 14 + 1300);
    assert_eq!(counts.event(Event::Sent), 2, "the port takes two");
    assert_eq!(counts.event(Event::SentBytes), 2 * (14 + 20) + 400, "the first two, as IPv6");
    assert_eq!(counts.dropped(DropReason::TransmitQueueFull), 1);
}
