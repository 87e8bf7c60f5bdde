//! Packets that wait, frames of the twins, counters.

use std::net::Ipv6Addr;

use dataplane::exception::Injected;
use dataplane::verdict::DropReason;

use super::super::resolver::Request;
use super::*;

const MAPPED: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const MAPPED_TEXT: &str = "2001:db8::80";

struct Desk {
    exchange: Exchange,
    wires: Vec<InjectReceiver>,
    now: Instant,
}

impl Desk {
    fn new(workers: usize) -> Self {
        let (senders, wires) = (0..workers).map(|_| inject_ring(8192)).unzip();
        let mut exchange = Exchange::new(KernelState::new(twins()), senders, Box::new(|host| host == MAPPED));
        let now = Instant::now();
        for link in [link(BL_V4), link(BL_V6), vlan(VLAN, BL_V6, 100)] {
            exchange.apply(Event::Link(link), now);
        }
        Self { exchange, wires, now }
    }

    fn tell(&mut self, event: Event) {
        self.exchange.apply(event, self.now);
    }

    fn unresolved(&mut self, interface: u16, hop: &str, packet: &[u8]) {
        self.exchange.unresolved(InterfaceId(interface), ip(hop), packet, self.now);
    }

    /// The neighbours the kernel is to resolve or confirm now.
    fn asks(&mut self) -> Vec<(u32, IpAddr)> {
        let asked = |request| match request {
            Request::Use(neighbor) => Some(neighbor),
            Request::Forget(_) => None,
        };
        self.exchange.resolver.take_requests(usize::MAX).into_iter().filter_map(asked).collect()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.exchange.counters.lost.dropped(reason)
    }

    fn sent(&mut self, worker: usize) -> Vec<(u16, Vec<u8>)> {
        let wire = &mut self.wires[worker];
        std::iter::from_fn(|| match wire.receive()? {
            Injected::Frame { port, bytes } => Some((port.0, bytes.to_vec())),
            other => panic!("{other:?}"),
        })
        .collect()
    }
}

#[test]
fn waiting_packets_leave_in_order_framed_for_their_interface() {
    let mut desk = Desk::new(1);
    desk.unresolved(2, "fe80::1", &[0x45, 1]);
    desk.unresolved(2, "fe80::1", &[0x60, 2]);
    assert_eq!(desk.asks(), [(VLAN, ip("fe80::1"))], "one request, on the VLAN");
    assert_eq!(desk.sent(0), []);
    desk.tell(neighbor(BL_V6, "fe80::1", Reachability::Reachable, 9));
    assert_eq!(desk.sent(0), [], "the same address on another interface");
    desk.tell(neighbor(VLAN, "fe80::1", Reachability::Reachable, 9));
    let frame = |ether_type: [u8; 2], packet: [u8; 2]| {
        (1, [&mac(9).0[..], &mac(20).0, &[0x81, 0, 0, 100], &ether_type, &packet].concat())
    };
    assert_eq!(desk.sent(0), [frame([0x08, 0x00], [0x45, 1]), frame([0x86, 0xdd], [0x60, 2])]);
    let counters = &desk.exchange.counters;
    assert_eq!((counters.unresolved_queued, counters.unresolved_released, counters.injected), (2, 2, 2));
}

#[test]
fn untagged_interfaces_have_no_tag_and_known_neighbours_no_wait() {
    let mut desk = Desk::new(1);
    desk.tell(neighbor(BL_V4, "192.0.2.1", Reachability::Stale, 9));
    desk.unresolved(0, "192.0.2.1", &[0x45]);
    let frame = [&mac(9).0[..], &mac(10).0, &[0x08, 0x00, 0x45]].concat();
    assert_eq!(desk.sent(0), [(0, frame)]);
    assert_eq!(desk.asks(), []);
    assert_eq!(desk.exchange.counters.unresolved_queued, 0);
}

#[test]
fn failed_late_and_impossible_packets_are_counted_as_dropped() {
    let mut desk = Desk::new(1);
    for _ in 0..6 {
        desk.unresolved(0, "192.0.2.1", &[0x45]);
    }
    for _ in 0..18 {
        desk.unresolved(1, MAPPED_TEXT, &[0x60]);
    }
    desk.tell(neighbor(BL_V4, "192.0.2.1", Reachability::Failed, 0));
    desk.tell(neighbor(BL_V6, MAPPED_TEXT, Reachability::Failed, 0));
    desk.unresolved(0, "192.0.2.2", &[0x45]);
    desk.unresolved(0, "192.0.2.3", &[0x45]);
    desk.exchange.refused(Request::Use((BL_V4, ip("192.0.2.3"))), true);
    desk.exchange.tick(desk.now + PATIENCE);
    desk.unresolved(7, "192.0.2.2", &[0x45]);
    desk.unresolved(0, "192.0.2.2", &[0x15]);
    desk.unresolved(0, "192.0.2.2", &[]);
    let drops = [
        (DropReason::NeighborWaitOverflow, 2),
        (DropReason::NeighborFailed, 6 + 16),
        (DropReason::NeighborWaitExpired, 1),
        (DropReason::NeighborTableFull, 1),
        (DropReason::InterfaceDown, 3),
    ];
    for (reason, packets) in drops {
        assert_eq!(desk.dropped(reason), packets, "{}", reason.name());
    }
    assert_eq!(desk.exchange.counters.unresolved_released, 0);
}

#[test]
fn a_released_packet_that_finds_the_ring_full_is_dropped() {
    let mut desk = Desk::new(1);
    desk.unresolved(0, "192.0.2.1", &[0x45; 5000]);
    desk.unresolved(0, "192.0.2.1", &[0x45; 5000]);
    desk.tell(neighbor(BL_V4, "192.0.2.1", Reachability::Reachable, 9));
    assert_eq!(desk.dropped(DropReason::InjectRingFull), 1);
    let counters = &desk.exchange.counters;
    assert_eq!((counters.unresolved_released, counters.injected, counters.inject_refused), (1, 1, 0));
}

/// RFC 6583 from outside: 19,000 addresses of a connected prefix a second, and those that matter have their turn at once.
#[test]
fn gateways_and_mapped_hosts_are_asked_for_in_the_middle_of_a_scan() {
    let mut desk = Desk::new(1);
    let route = unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some("192.0.2.4"))]);
    desk.tell(Event::Route { route, placement: Placement::First });
    desk.tell(neighbor(BL_V6, "2001:db8::77", Reachability::Reachable, 7));
    desk.tell(Event::NeighborRemoved { index: BL_V6, address: ip("2001:db8::77") });
    for number in 0..19_000_u32 {
        let host = Ipv6Addr::from(0x2001_0db8_ffff_0000_0000_0000_0000_0000 + u128::from(number));
        desk.unresolved(1, &host.to_string(), &[0x60]);
    }
    let asked = desk.asks();
    assert!(asked.len() <= 128, "{}", asked.len());
    desk.unresolved(1, MAPPED_TEXT, &[0x60]);
    desk.unresolved(0, "192.0.2.4", &[0x45]);
    desk.unresolved(1, "2001:db8::77", &[0x60]);
    assert_eq!(
        desk.asks(),
        [(BL_V6, ip(MAPPED_TEXT)), (BL_V4, ip("192.0.2.4")), (BL_V6, ip("2001:db8::77"))],
        "one with an EAM, a gateway, one that has answered before"
    );
}

/// A host that changes its link-layer address in silence is lost to the kernel after its probes, and the kernel asks everybody
/// with the next packet.
#[test]
fn who_answered_until_now_is_asked_for_at_once_and_not_held_as_failed() {
    let mut desk = Desk::new(1);
    desk.tell(neighbor(BL_V4, "192.0.2.1", Reachability::Reachable, 1));
    desk.tell(neighbor(BL_V4, "192.0.2.1", Reachability::Failed, 0));
    assert_eq!(desk.asks(), [(BL_V4, ip("192.0.2.1"))]);
    let mut mirror = Mirror::default();
    let mut known = |desk: &mut Desk| {
        let changes = desk.exchange.take_changes(1000, desk.now).0;
        changes.into_iter().for_each(|change| mirror.apply(change));
        mirror.routing().neighbors.first().map(|neighbor| neighbor.state)
    };
    assert_eq!(known(&mut desk), None, "packets wait for the answer");
    desk.tell(neighbor(BL_V4, "192.0.2.1", Reachability::Failed, 0));
    assert_eq!(known(&mut desk), None, "flushed: the kernel has not tried yet");
    desk.now += Duration::from_secs(1);
    desk.tell(neighbor(BL_V4, "192.0.2.1", Reachability::Incomplete, 0));
    desk.tell(neighbor(BL_V4, "192.0.2.1", Reachability::Failed, 0));
    assert_eq!(desk.asks(), []);
    assert_eq!(known(&mut desk), Some(NeighborState::Failed));
}

#[test]
fn stale_neighbours_and_dead_gateways_are_asked_for_others_are_not() {
    let mut desk = Desk::new(1);
    let route = unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some("192.0.2.4"))]);
    desk.tell(Event::Route { route, placement: Placement::First });
    desk.tell(neighbor(BL_V4, "192.0.2.1", Reachability::Reachable, 1));
    desk.tell(neighbor(BL_V4, "192.0.2.2", Reachability::Stale, 2));
    desk.tell(neighbor(BL_V4, "192.0.2.3", Reachability::Failed, 0));
    desk.tell(neighbor(BL_V4, "192.0.2.4", Reachability::Failed, 0));
    desk.tell(neighbor(MANAGEMENT, "192.0.2.5", Reachability::Stale, 5));
    desk.exchange.tick(desk.now + TICK);
    assert_eq!(desk.asks(), [(BL_V4, ip("192.0.2.2")), (BL_V4, ip("192.0.2.4"))]);
}

#[test]
fn a_port_stays_with_its_worker_and_refusals_are_counted() {
    let mut desk = Desk::new(2);
    desk.exchange.inject(PortId(0), &[0; 60]);
    desk.exchange.inject(PortId(1), &[1; 60]);
    desk.exchange.inject(PortId(2), &[2; 60]);
    assert_eq!(desk.sent(0).iter().map(|(port, _)| *port).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(desk.sent(1).iter().map(|(port, _)| *port).collect::<Vec<_>>(), [1]);
    desk.exchange.inject(PortId(1), &[0; 9000]);
    assert_eq!((desk.exchange.counters.injected, desk.exchange.counters.inject_refused), (3, 1));
}
