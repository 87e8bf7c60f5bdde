//! Pure tests of state and exchange: events in, routing, frames and counters out. No kernel, no root.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use dataplane::exception::{InjectReceiver, inject_ring};
use dataplane::table::routing::{
    Hop, InterfaceId, MacAddress, Neighbor, NeighborState, PortId, Route, RouteAction, Routing,
};

use super::event::{
    Address, Dump, Event, KernelHop, KernelRoute, Link, NeighborEntry, Placement, Reachability, RouteKind,
    Table,
};
use super::exchange::Exchange;
use super::interfaces::TwinSettings;
use super::resolver::{PATIENCE, TICK};
use super::state::{Changes, FAILED_HOLD, KernelState, News};

const LO: u32 = 1;
const MANAGEMENT: u32 = 2;
/// Port 0.
const BL_V4: u32 = 10;
/// Port 1.
const BL_V6: u32 = 11;
const VLAN: u32 = 20;

fn mac(last: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, last])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(index: u32) -> Link {
    Link {
        index,
        name: format!("if{index}"),
        parent: None,
        vlan: None,
        mac: Some(mac(u8::try_from(index).unwrap())),
        mtu: 1500,
        admin_up: true,
        carrier: true,
        loopback: index == LO,
    }
}

fn vlan(index: u32, parent: u32, id: u16) -> Link {
    Link { parent: Some(parent), vlan: Some(id), ..link(index) }
}

fn address(index: u32, text: &str) -> Address {
    Address {
        index,
        address: ip(text),
        prefix_length: 24,
        global: true,
        secondary: false,
        tentative: false,
        deprecated: false,
    }
}

fn hop(index: u32, gateway: Option<&str>) -> KernelHop {
    KernelHop { index, gateway: gateway.map(ip), weight: 1, dead: false, encapsulated: false }
}

fn unicast(destination: &str, metric: u32, hops: &[KernelHop]) -> KernelRoute {
    KernelRoute {
        table: Table::Main,
        destination: destination.parse().unwrap(),
        metric,
        kind: RouteKind::Unicast,
        hops: hops.into(),
        mtu: None,
        next_hop_object: None,
        protocol: 3,
        preferred_source: None,
    }
}

fn neighbor(index: u32, text: &str, reachability: Reachability, last: u8) -> Event {
    let known = !matches!(reachability, Reachability::Failed | Reachability::Incomplete | Reachability::None);
    Event::Neighbor(NeighborEntry { index, address: ip(text), reachability, mac: known.then_some(mac(last)) })
}

/// A box with two twins, loopback and a management interface.
struct Relay {
    state: KernelState,
    now: Instant,
}

impl Relay {
    fn new() -> Self {
        let mut new = Self { state: KernelState::new(twins()), now: Instant::now() };
        for index in [LO, MANAGEMENT, BL_V4, BL_V6] {
            new.tell(Event::Link(link(index)));
        }
        new
    }

    fn tell(&mut self, event: Event) -> Changes {
        let mut changes = Changes::default();
        self.state.apply(event, self.now, &mut changes);
        changes
    }

    fn add(&mut self, route: KernelRoute) -> Changes {
        let placement = if route.destination.addr().is_ipv4() { Placement::First } else { Placement::Last };
        self.tell(Event::Route { route, placement })
    }

    fn put(&mut self, route: KernelRoute, placement: Placement) -> Changes {
        self.tell(Event::Route { route, placement })
    }

    fn remove(&mut self, route: KernelRoute) -> Changes {
        self.tell(Event::RouteRemoved(route))
    }

    fn pass(&mut self, time: Duration) -> Changes {
        self.now += time;
        let mut changes = Changes::default();
        self.state.tick(self.now, &mut changes);
        changes
    }

    fn route(&self, destination: &str) -> Option<Route> {
        let destination = destination.parse().unwrap();
        self.state.routing().routes.into_iter().find(|route| route.destination == destination)
    }

    fn action(&self, destination: &str) -> Option<RouteAction> {
        self.route(destination).map(|route| route.action)
    }

    fn neighbor(&self, text: &str) -> Option<NeighborState> {
        let found = |neighbor: &Neighbor| neighbor.address == ip(text);
        self.state.routing().neighbors.into_iter().find(found).map(|neighbor| neighbor.state)
    }
}

fn twins() -> Vec<TwinSettings> {
    vec![
        TwinSettings { index: BL_V4, port: PortId(0), mtu: 1500 },
        TwinSettings { index: BL_V6, port: PortId(1), mtu: 9000 },
    ]
}

fn via(hops: &[(u16, Option<&str>, u16)]) -> RouteAction {
    let hop = |(interface, gateway, weight): &(u16, Option<&str>, u16)| Hop {
        interface: InterfaceId(*interface),
        gateway: gateway.map(ip),
        weight: *weight,
    };
    RouteAction::Via(hops.iter().map(hop).collect())
}

mod interfaces {
    use super::*;

    #[test]
    fn twins_and_their_vlans_are_ours_and_nothing_else() {
        let mut kernel = Relay::new();
        kernel.tell(Event::Link(vlan(VLAN, BL_V4, 100)));
        kernel.tell(Event::Link(vlan(21, MANAGEMENT, 100)));
        kernel.tell(Event::Link(vlan(22, VLAN, 7)));
        kernel.tell(Event::Link(Link { parent: Some(BL_V4), ..link(23) }));
        let ours = kernel.state.routing().interfaces;
        let seen: Vec<_> = ours.iter().map(|i| (i.id.0, i.port.0, i.vlan, i.mac)).collect();
        assert_eq!(seen, [(0, 0, None, mac(10)), (1, 1, None, mac(11)), (2, 0, Some(100), mac(20))]);
    }

    #[test]
    fn identities_are_kept_and_never_given_to_others() {
        let mut kernel = Relay::new();
        kernel.tell(Event::Link(vlan(VLAN, BL_V4, 100)));
        kernel.tell(Event::LinkRemoved { index: VLAN });
        assert_eq!(kernel.state.routing().interfaces.len(), 2);
        assert_eq!(kernel.state.interface(InterfaceId(2)), None);
        kernel.tell(Event::Link(vlan(21, BL_V4, 200)));
        kernel.tell(Event::Link(vlan(22, BL_V4, 100)));
        let ids: Vec<_> = kernel.state.routing().interfaces.iter().map(|i| (i.id.0, i.vlan)).collect();
        assert_eq!(ids, [(0, None), (1, None), (2, Some(100)), (3, Some(200))]);
        assert_eq!(kernel.state.index(InterfaceId(2)), Some(22));
    }

    #[test]
    fn the_smallest_mtu_counts() {
        let mut kernel = Relay::new();
        kernel.tell(Event::Link(Link { mtu: 9000, ..link(BL_V4) }));
        kernel.tell(Event::Link(Link { mtu: 1400, ..link(BL_V6) }));
        kernel.tell(Event::Link(Link { mtu: 1450, ..vlan(VLAN, BL_V6, 5) }));
        kernel.tell(Event::Link(Link { mtu: 1300, ..vlan(21, BL_V6, 6) }));
        let mtus: Vec<_> = kernel.state.routing().interfaces.iter().map(|i| i.mtu).collect();
        assert_eq!(mtus, [1500, 1400, 1400, 1300], "the port, the twin, the twin again, the VLAN");
    }

    #[test]
    fn a_vlan_is_up_only_over_a_twin_that_is() {
        let mut kernel = Relay::new();
        kernel.tell(Event::Link(vlan(VLAN, BL_V4, 100)));
        let up = |kernel: &Relay| -> Vec<bool> {
            kernel.state.routing().interfaces.iter().map(|interface| interface.up).collect()
        };
        assert_eq!(up(&kernel), [true, true, true]);
        kernel.tell(Event::Link(Link { carrier: false, ..link(BL_V4) }));
        assert_eq!(up(&kernel), [false, true, false]);
        kernel.tell(Event::Link(link(BL_V4)));
        kernel.tell(Event::Link(Link { admin_up: false, ..vlan(VLAN, BL_V4, 100) }));
        assert_eq!(up(&kernel), [true, true, false]);
    }
}

mod addresses {
    use super::*;

    fn sources(kernel: &Relay) -> (Option<IpAddr>, Option<IpAddr>) {
        let routing = kernel.state.routing();
        let twin = &routing.interfaces[0];
        (twin.ipv4_source.map(IpAddr::V4), twin.ipv6_source.map(IpAddr::V6))
    }

    #[test]
    fn the_first_fit_address_is_the_source_of_errors() {
        let mut kernel = Relay::new();
        let of = |text| address(BL_V4, text);
        for unfit in [
            Address { secondary: true, ..of("192.0.2.9") },
            Address { global: false, ..of("169.254.0.1") },
            Address { global: false, ..of("fe80::1") },
            Address { tentative: true, ..of("2001:db8::1") },
            Address { deprecated: true, ..of("2001:db8::2") },
        ] {
            kernel.tell(Event::Address(unfit));
        }
        assert_eq!(sources(&kernel), (None, None));
        kernel.tell(Event::Address(of("192.0.2.1")));
        kernel.tell(Event::Address(of("192.0.2.2")));
        kernel.tell(Event::Address(of("2001:db8::1")));
        kernel.tell(Event::Address(of("2001:db8::3")));
        assert_eq!(
            sources(&kernel),
            (Some(ip("192.0.2.1")), Some(ip("2001:db8::1"))),
            "first known, first used"
        );
        kernel.tell(Event::AddressRemoved(of("192.0.2.1")));
        kernel.tell(Event::AddressRemoved(of("2001:db8::1")));
        assert_eq!(sources(&kernel), (Some(ip("192.0.2.2")), Some(ip("2001:db8::3"))));
    }

    #[test]
    fn the_loopback_address_speaks_for_the_router() {
        let mut kernel = Relay::new();
        kernel.tell(Event::Address(Address { global: false, ..address(LO, "127.0.0.1") }));
        kernel.tell(Event::Address(address(BL_V6, "2001:db8::2")));
        kernel.tell(Event::Address(address(BL_V6, "192.0.2.2")));
        let routing = kernel.state.routing();
        assert_eq!(
            (routing.ipv4_source.map(IpAddr::V4), routing.ipv6_source.map(IpAddr::V6)),
            (Some(ip("192.0.2.2")), Some(ip("2001:db8::2")))
        );
        kernel.tell(Event::Address(address(LO, "203.0.113.1")));
        kernel.tell(Event::Address(address(LO, "2001:db8:f::1")));
        let routing = kernel.state.routing();
        assert_eq!(
            (routing.ipv4_source.map(IpAddr::V4), routing.ipv6_source.map(IpAddr::V6)),
            (Some(ip("203.0.113.1")), Some(ip("2001:db8:f::1")))
        );
    }

    #[test]
    fn a_dump_in_another_order_does_not_change_the_source() {
        let mut kernel = Relay::new();
        kernel.tell(Event::Address(address(BL_V4, "2001:db8::1")));
        kernel.tell(Event::Address(address(BL_V4, "2001:db8::2")));
        let dump = Dump {
            links: [LO, MANAGEMENT, BL_V4, BL_V6].map(link).into(),
            addresses: ["2001:db8::3", "2001:db8::2", "2001:db8::1"].map(|text| address(BL_V4, text)).into(),
            ..Dump::default()
        };
        kernel.tell(Event::Dump(dump.into()));
        assert_eq!(sources(&kernel).1, Some(ip("2001:db8::1")));
    }

    #[test]
    fn a_change_of_ipv4_addresses_casts_doubt_on_routes_a_repetition_does_not() {
        let mut kernel = Relay::new();
        assert!(kernel.tell(Event::Address(address(BL_V4, "192.0.2.1"))).doubt);
        assert_eq!(kernel.tell(Event::Address(address(BL_V4, "192.0.2.1"))), Changes::default());
        assert!(!kernel.tell(Event::Address(address(BL_V4, "2001:db8::1"))).doubt);
        assert!(kernel.tell(Event::AddressRemoved(address(BL_V4, "192.0.2.1"))).doubt);
        assert_eq!(kernel.tell(Event::AddressRemoved(address(BL_V4, "192.0.2.1"))), Changes::default());
    }
}

mod neighbors {
    use super::*;

    #[test]
    fn every_state_of_the_kernel_has_one_meaning() {
        use Reachability::{Delay, Failed, Incomplete, NoArp, None, Permanent, Probe, Reachable, Stale};
        for reachability in [Reachable, Stale, Delay, Probe, NoArp, Permanent] {
            let mut kernel = Relay::new();
            kernel.tell(neighbor(BL_V4, "192.0.2.7", reachability, 7));
            assert_eq!(
                kernel.neighbor("192.0.2.7"),
                Some(NeighborState::Resolved(mac(7))),
                "{reachability:?}"
            );
        }
        for reachability in [None, Incomplete] {
            let mut kernel = Relay::new();
            kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachable, 7));
            kernel.tell(neighbor(BL_V4, "192.0.2.7", reachability, 7));
            assert_eq!(kernel.neighbor("192.0.2.7"), Option::None, "{reachability:?}");
        }
        let mut kernel = Relay::new();
        kernel.tell(neighbor(BL_V4, "192.0.2.7", Failed, 7));
        assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Failed));
    }

    #[test]
    fn only_those_on_our_interfaces_count() {
        let mut kernel = Relay::new();
        kernel.tell(neighbor(MANAGEMENT, "192.0.2.7", Reachability::Reachable, 7));
        kernel.tell(neighbor(BL_V4, "224.0.0.1", Reachability::NoArp, 7));
        assert_eq!(kernel.state.routing().neighbors, []);
        kernel.tell(neighbor(VLAN, "192.0.2.8", Reachability::Reachable, 8));
        kernel.tell(Event::Link(vlan(VLAN, BL_V4, 100)));
        let seen = kernel.state.routing().neighbors;
        assert_eq!((seen.len(), seen[0].interface), (1, InterfaceId(2)), "known before its interface");
    }

    #[test]
    fn what_the_dataplane_does_not_see_is_not_published() {
        let mut kernel = Relay::new();
        assert!(kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Reachable, 7)).routing);
        let stale = kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Stale, 7));
        assert!(!stale.routing);
        assert_eq!(stale.neighbors[0].news, News::Resolved { mac: mac(7), stale: true });
        assert!(kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Stale, 8)).routing, "another MAC");
        let gone = Event::NeighborRemoved { index: BL_V4, address: ip("192.0.2.7") };
        assert!(kernel.tell(gone.clone()).routing);
        assert!(!kernel.tell(gone).routing);
        assert_eq!(kernel.neighbor("192.0.2.7"), None);
    }

    #[test]
    fn a_failed_host_is_forgotten_and_a_dump_does_not_bring_it_back() {
        let mut kernel = Relay::new();
        kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Failed, 7));
        kernel.pass(FAILED_HOLD - Duration::from_millis(1));
        assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Failed));
        assert!(kernel.pass(Duration::from_millis(1)).routing);
        assert_eq!(kernel.neighbor("192.0.2.7"), None);
        let Event::Neighbor(failed) = neighbor(BL_V4, "192.0.2.7", Reachability::Failed, 7) else { panic!() };
        let links = [LO, MANAGEMENT, BL_V4, BL_V6].map(link).into();
        let dump = Dump { links, neighbors: vec![failed], ..Dump::default() };
        assert!(!kernel.tell(Event::Dump(dump.into())).routing, "nothing new");
        assert_eq!(kernel.neighbor("192.0.2.7"), None);
        kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Failed, 7));
        assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Failed), "but a new failure counts");
    }

    #[test]
    fn a_failed_gateway_stays_failed_until_it_answers() {
        let mut kernel = Relay::new();
        kernel.add(unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some("192.0.2.7"))]));
        let failed = kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Failed, 7));
        assert_eq!(failed.neighbors[0].news, News::Failed { gateway: true });
        for _ in 0..3 {
            let later = kernel.pass(FAILED_HOLD);
            assert_eq!(later.neighbors[0].news, News::Failed { gateway: true }, "to be probed again");
            assert!(!later.routing);
            kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Incomplete, 7));
            assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Failed));
        }
        kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Reachable, 7));
        assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Resolved(mac(7))));
        assert_eq!(kernel.pass(2 * FAILED_HOLD), Changes::default());
        kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Failed, 7));
        kernel.remove(unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some("192.0.2.7"))]));
        kernel.pass(FAILED_HOLD);
        assert_eq!(kernel.neighbor("192.0.2.7"), None, "no gateway any more");
    }
}

mod routes {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn each_kind_has_its_action() {
        for (kind, expected) in [
            (RouteKind::Local, RouteAction::Local),
            (RouteKind::Blackhole, RouteAction::Blackhole),
            (RouteKind::Unreachable, RouteAction::Unreachable),
            (RouteKind::Throw, RouteAction::Unreachable),
            (RouteKind::Prohibit, RouteAction::Prohibit),
        ] {
            let mut kernel = Relay::new();
            kernel.add(KernelRoute { kind, ..unicast("10.0.0.0/8", 0, &[]) });
            assert_eq!(kernel.action("10.0.0.0/8"), Some(expected), "{kind:?}");
        }
    }

    #[test]
    fn exits_that_are_not_ours_belong_to_the_kernel() {
        let mut kernel = Relay::new();
        for (destination, index) in
            [("10.0.0.0/8", MANAGEMENT), ("10.1.0.0/16", LO), ("2001:db8::/32", MANAGEMENT)]
        {
            kernel.add(unicast(destination, 0, &[hop(index, None)]));
            assert_eq!(kernel.action(destination), Some(RouteAction::Kernel));
        }
        let tunnel = KernelHop { encapsulated: true, ..hop(BL_V4, Some("192.0.2.1")) };
        kernel.add(unicast("10.2.0.0/16", 0, &[tunnel]));
        assert_eq!(
            kernel.action("10.2.0.0/16"),
            Some(RouteAction::Kernel),
            "only the kernel can add the header"
        );
        kernel.add(unicast("10.3.0.0/16", 0, &[hop(MANAGEMENT, None), hop(BL_V4, None)]));
        assert_eq!(kernel.action("10.3.0.0/16"), Some(via(&[(0, None, 1)])), "ours, where there is one");
    }

    #[test]
    fn multipath_keeps_weights_gateways_and_vlans() {
        let mut kernel = Relay::new();
        kernel.tell(Event::Link(vlan(VLAN, BL_V4, 100)));
        let heavy = KernelHop { weight: 256, ..hop(BL_V6, Some("fe80::1")) };
        kernel.add(unicast("10.0.0.0/8", 0, &[hop(VLAN, Some("192.0.2.1")), heavy]));
        let expected = via(&[(2, Some("192.0.2.1"), 1), (1, Some("fe80::1"), 256)]);
        assert_eq!(kernel.action("10.0.0.0/8"), Some(expected), "with an IPv6 next hop (RFC 5549)");
    }

    #[test]
    fn the_lowest_metric_wins_and_local_before_main_before_default() {
        let mut kernel = Relay::new();
        kernel.add(KernelRoute {
            table: Table::Default,
            ..unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some("192.0.2.1"))])
        });
        kernel.add(unicast("10.0.0.0/8", 20, &[hop(BL_V4, Some("192.0.2.2"))]));
        kernel.add(unicast("10.0.0.0/8", 10, &[hop(BL_V4, Some("192.0.2.3"))]));
        kernel.add(unicast("10.0.0.0/8", 30, &[hop(BL_V4, Some("192.0.2.4"))]));
        let order = ["192.0.2.3", "192.0.2.2", "192.0.2.4"];
        for (gateway, metric) in order.iter().zip([10, 20, 30]) {
            assert_eq!(kernel.action("10.0.0.0/8"), Some(via(&[(0, Some(gateway), 1)])));
            assert!(!kernel.remove(unicast("10.0.0.0/8", metric, &[hop(BL_V4, Some(gateway))])).doubt);
        }
        assert_eq!(kernel.action("10.0.0.0/8"), Some(via(&[(0, Some("192.0.2.1"), 1)])));
        kernel.add(KernelRoute {
            table: Table::Local,
            kind: RouteKind::Local,
            ..unicast("10.0.0.0/8", 99, &[])
        });
        assert_eq!(kernel.action("10.0.0.0/8"), Some(RouteAction::Local));
    }

    #[test]
    fn dead_next_hops_are_left_out_and_a_dead_route_gives_way() {
        let mut kernel = Relay::new();
        let dead = KernelHop { dead: true, ..hop(BL_V4, Some("192.0.2.1")) };
        kernel.add(unicast("10.0.0.0/8", 0, &[dead.clone(), hop(BL_V6, None)]));
        assert_eq!(kernel.action("10.0.0.0/8"), Some(via(&[(1, None, 1)])));
        kernel.add(unicast("10.1.0.0/16", 0, &[dead]));
        assert_eq!(kernel.action("10.1.0.0/16"), None, "a shorter prefix is used");
        kernel.add(unicast("10.1.0.0/16", 5, &[hop(BL_V6, None)]));
        assert_eq!(kernel.action("10.1.0.0/16"), Some(via(&[(1, None, 1)])), "the next best metric");
    }

    #[test]
    fn carrier_decides_at_once_and_casts_doubt() {
        let mut kernel = Relay::new();
        kernel.add(unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some("192.0.2.1"))]));
        kernel.add(unicast("10.0.0.0/8", 9, &[hop(MANAGEMENT, None)]));
        let changes = kernel.tell(Event::Link(Link { carrier: false, ..link(BL_V4) }));
        assert!(changes.routing && changes.doubt);
        assert_eq!(kernel.action("10.0.0.0/8"), Some(RouteAction::Kernel));
        kernel.tell(Event::Link(link(BL_V4)));
        assert_eq!(kernel.action("10.0.0.0/8"), Some(via(&[(0, Some("192.0.2.1"), 1)])));
    }

    #[test]
    fn ipv4_routes_over_an_interface_that_went_down_do_not_come_back_with_it() {
        let mut kernel = Relay::new();
        kernel.add(unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some("192.0.2.1"))]));
        kernel.add(unicast("10.1.0.0/16", 0, &[hop(BL_V4, Some("192.0.2.1")), hop(BL_V6, None)]));
        kernel.add(KernelRoute { kind: RouteKind::Local, ..unicast("192.0.2.9/32", 0, &[hop(BL_V4, None)]) });
        kernel.add(unicast("2001:db8::/32", 0, &[hop(BL_V4, None)]));
        kernel.tell(Event::Link(Link { admin_up: false, ..link(BL_V4) }));
        kernel.tell(Event::Link(link(BL_V4)));
        assert_eq!(kernel.action("10.0.0.0/8"), None);
        assert_eq!(kernel.action("10.1.0.0/16"), Some(via(&[(1, None, 1)])));
        assert_eq!(kernel.action("192.0.2.9/32"), Some(RouteAction::Local), "addresses stay reachable");
        assert_eq!(kernel.action("2001:db8::/32"), Some(via(&[(0, None, 1)])), "IPv6 tells of each removal");
        let failed = kernel.tell(neighbor(BL_V4, "192.0.2.1", Reachability::Failed, 0));
        assert_eq!(failed.neighbors[0].news, News::Failed { gateway: true }, "10.1/16 still counts it");
    }

    #[test]
    fn ipv4_adds_go_first_appends_last_and_replace_takes_the_first_place() {
        let mut kernel = Relay::new();
        let to = |last: u8| unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some(&format!("192.0.2.{last}")))]);
        let best = |kernel: &Relay| match kernel.action("10.0.0.0/8") {
            Some(RouteAction::Via(hops)) => hops[0].gateway.unwrap().to_string(),
            other => format!("{other:?}"),
        };
        kernel.put(to(1), Placement::First);
        kernel.put(to(2), Placement::Last);
        assert_eq!(best(&kernel), "192.0.2.1");
        kernel.put(to(3), Placement::First);
        assert_eq!(best(&kernel), "192.0.2.3");
        kernel.put(to(4), Placement::Replace);
        assert_eq!(best(&kernel), "192.0.2.4");
        kernel.remove(to(4));
        assert_eq!(best(&kernel), "192.0.2.1", "3 was replaced");
        kernel.put(to(1), Placement::First);
        kernel.remove(to(1));
        assert_eq!(best(&kernel), "192.0.2.2", "a repeated notification leaves no copy");
        kernel.remove(to(2));
        assert_eq!(kernel.action("10.0.0.0/8"), None);
    }

    #[test]
    fn what_does_not_fit_is_doubted_what_is_gone_is_not() {
        let mut kernel = Relay::new();
        let known = unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some("192.0.2.1"))]);
        let unknown = unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some("192.0.2.9"))]);
        assert!(!kernel.remove(known.clone()).doubt);
        assert!(!kernel.add(known).doubt);
        assert!(kernel.remove(unknown).doubt);
        let one = unicast("2001:db8::/32", 1024, &[hop(BL_V4, None)]);
        let two = unicast("2001:db8::/32", 1024, &[hop(BL_V6, None)]);
        assert!(!kernel.add(one).doubt);
        assert!(!kernel.add(two.clone()).doubt);
        assert!(kernel.put(two, Placement::Replace).doubt, "which of the two?");
        assert!(kernel.remove(unicast("2001:db8::/32", 1024, &[hop(MANAGEMENT, None)])).doubt);
    }

    #[test]
    fn ipv6_siblings_become_one_route() {
        let mut kernel = Relay::new();
        let to = |gateways: &[&str]| {
            let hops: Vec<_> = gateways.iter().map(|gateway| hop(BL_V6, Some(gateway))).collect();
            unicast("2001:db8::/32", 1024, &hops)
        };
        kernel.add(to(&["fe80::1"]));
        kernel.add(to(&["fe80::2"]));
        kernel.add(to(&["fe80::2"]));
        let both = via(&[(1, Some("fe80::1"), 1), (1, Some("fe80::2"), 1)]);
        assert_eq!(kernel.action("2001:db8::/32"), Some(both));
        kernel.add(to(&["fe80::1", "fe80::2", "fe80::3"]));
        kernel.remove(to(&["fe80::2"]));
        let left = via(&[(1, Some("fe80::1"), 1), (1, Some("fe80::3"), 1)]);
        assert_eq!(kernel.action("2001:db8::/32"), Some(left), "the whole route told, one hop removed");
        kernel.put(to(&["fe80::4"]), Placement::Replace);
        assert_eq!(kernel.action("2001:db8::/32"), Some(via(&[(1, Some("fe80::4"), 1)])));
        kernel.add(to(&["fe80::5"]));
        assert!(!kernel.remove(to(&["fe80::4", "fe80::5"])).doubt);
        assert_eq!(kernel.action("2001:db8::/32"), None);
    }

    #[test]
    fn ipv6_routes_without_gateway_stand_side_by_side() {
        let mut kernel = Relay::new();
        kernel.add(unicast("2001:db8::/64", 256, &[hop(BL_V4, None)]));
        kernel.add(unicast("2001:db8::/64", 256, &[hop(BL_V6, None)]));
        assert_eq!(kernel.action("2001:db8::/64"), Some(via(&[(0, None, 1), (1, None, 1)])));
        kernel.remove(unicast("2001:db8::/64", 256, &[hop(BL_V4, None)]));
        assert_eq!(kernel.action("2001:db8::/64"), Some(via(&[(1, None, 1)])));
        kernel.add(unicast("fe80::/64", 256, &[hop(BL_V6, None)]));
        assert_eq!(kernel.action("fe80::/64"), None);
    }

    #[test]
    fn the_routes_own_mtu_counts_where_it_is_smaller() {
        let mut kernel = Relay::new();
        for (mtu, expected) in [(1400, Some(1400)), (1500, None), (9000, None)] {
            kernel.put(
                KernelRoute { mtu: Some(mtu), ..unicast("10.0.0.0/8", 0, &[hop(BL_V4, None)]) },
                Placement::Replace,
            );
            assert_eq!(kernel.route("10.0.0.0/8").unwrap().mtu, expected, "{mtu}");
        }
    }

    #[test]
    fn nexthop_objects_matter_while_routes_use_them() {
        let mut kernel = Relay::new();
        let route = KernelRoute {
            next_hop_object: Some(7),
            ..unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some("192.0.2.1"))])
        };
        assert!(!kernel.tell(Event::NextHopObject { id: 7 }).doubt);
        kernel.add(route.clone());
        assert!(kernel.tell(Event::NextHopObject { id: 7 }).doubt);
        assert!(!kernel.tell(Event::NextHopObject { id: 8 }).doubt);
        kernel.remove(route);
        assert!(!kernel.tell(Event::NextHopObject { id: 7 }).doubt);
        kernel.add(KernelRoute { next_hop_object: Some(9), ..unicast("10.1.0.0/16", 0, &[]) });
        assert_eq!((kernel.state.unexpanded_routes(), kernel.action("10.1.0.0/16")), (1, None));
    }

    #[test]
    fn a_dump_replaces_everything_and_is_news_only_if_something_differs() {
        let mut kernel = Relay::new();
        kernel.add(unicast("10.0.0.0/8", 0, &[hop(BL_V4, None)]));
        let dump = Dump {
            links: [LO, MANAGEMENT, BL_V4, BL_V6].map(link).into(),
            routes: vec![unicast("10.1.0.0/16", 0, &[hop(BL_V4, None)])],
            ..Dump::default()
        };
        assert!(kernel.tell(Event::Dump(dump.clone().into())).routing);
        assert_eq!(
            (kernel.action("10.0.0.0/8"), kernel.action("10.1.0.0/16")),
            (None, Some(via(&[(0, None, 1)])))
        );
        assert_eq!(kernel.tell(Event::Dump(dump.into())), Changes::default());
    }

    /// The kernel's list of routes for one IPv4 prefix and metric (fib_table_insert), by the last byte of the gateway.
    #[derive(Default)]
    struct Aliases(Vec<u8>);

    impl Aliases {
        /// What the kernel notifies of a command, if anything.
        fn command(&mut self, verb: u8, gateway: u8) -> Option<Event> {
            let place = self.0.iter().position(|known| *known == gateway);
            let notified = |placement| Some(Event::Route { route: to(gateway), placement });
            match (verb, place) {
                // add
                (0, _) if self.0.is_empty() => {
                    self.0.push(gateway);
                    notified(Placement::First)
                }
                // replace
                (1, None) => {
                    let placement = if self.0.is_empty() { Placement::First } else { Placement::Replace };
                    self.0.drain(..self.0.len().min(1));
                    self.0.insert(0, gateway);
                    notified(placement)
                }
                // delete
                (2, Some(place)) => {
                    self.0.remove(place);
                    Some(Event::RouteRemoved(to(gateway)))
                }
                // prepend
                (3, None) => {
                    self.0.insert(0, gateway);
                    notified(Placement::First)
                }
                // append
                (4, None) => {
                    let placement = if self.0.is_empty() { Placement::First } else { Placement::Last };
                    self.0.push(gateway);
                    notified(placement)
                }
                _ => None,
            }
        }

        fn dump(&self) -> Dump {
            let links = [LO, MANAGEMENT, BL_V4, BL_V6].map(link).into();
            Dump { links, routes: self.0.iter().map(|gateway| to(*gateway)).collect(), ..Dump::default() }
        }

        fn best(&self) -> Option<RouteAction> {
            let gateway = format!("192.0.2.{}", self.0.first()?);
            Some(via(&[(0, Some(&gateway), 1)]))
        }
    }

    fn to(last: u8) -> KernelRoute {
        unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some(&format!("192.0.2.{last}")))])
    }

    proptest! {
        // The cases that tell doubt from certainty are rare.
        #![proptest_config(ProptestConfig::with_cases(8000))]

        #[test]
        fn notifications_alone_keep_in_step(commands in vec((0..5_u8, 1..5_u8), 0..40)) {
            let (mut kernel, mut aliases) = (Relay::new(), Aliases::default());
            for (verb, gateway) in commands {
                if let Some(event) = aliases.command(verb, gateway) {
                    prop_assert!(!kernel.tell(event).doubt);
                }
                prop_assert_eq!(kernel.action("10.0.0.0/8"), aliases.best());
            }
        }

        /// Subscribed at the start, dumped somewhere in between: right, or known not to be. With one route for each
        /// metric, as routing daemons install them, always right.
        #[test]
        fn a_dump_newer_than_its_notifications_is_caught_up_with(
            several in any::<bool>(),
            commands in vec((0..5_u8, 1..5_u8), 0..20),
            when in any::<proptest::sample::Index>(),
        ) {
            let (mut kernel, mut aliases) = (Relay::new(), Aliases::default());
            let (mut dump, mut meanwhile) = (aliases.dump(), Vec::new());
            let when = when.index(commands.len() + 1);
            for (position, (verb, gateway)) in commands.iter().enumerate() {
                let verb = if several { *verb } else { verb % 3 };
                meanwhile.extend(aliases.command(verb, *gateway));
                if position + 1 == when {
                    dump = aliases.dump();
                }
            }
            for event in &meanwhile {
                kernel.tell(event.clone());
            }
            let mut changes = Changes::default();
            kernel.state.catch_up(dump, meanwhile, kernel.now, &mut changes);
            let right = kernel.action("10.0.0.0/8") == aliases.best();
            prop_assert!(right || several && changes.doubt);
        }
    }

    #[test]
    fn a_recorded_run_replays() {
        let events = [
            Event::Link(vlan(VLAN, BL_V4, 100)),
            Event::Address(address(VLAN, "192.0.2.1")),
            Event::Route {
                route: unicast("0.0.0.0/0", 0, &[hop(VLAN, Some("192.0.2.2"))]),
                placement: Placement::First,
            },
            neighbor(VLAN, "192.0.2.2", Reachability::Reachable, 2),
        ];
        let replay = || -> Routing {
            let mut kernel = Relay::new();
            events.iter().cloned().for_each(|event| drop(kernel.tell(event)));
            kernel.state.routing()
        };
        assert_eq!(replay(), replay());
        assert_eq!(replay().neighbors[0].interface, InterfaceId(2));
    }
}

mod exchange {
    use super::*;

    struct Desk {
        exchange: Exchange,
        wires: Vec<InjectReceiver>,
        now: Instant,
    }

    impl Desk {
        fn new(workers: usize) -> Self {
            let (senders, wires) = (0..workers).map(|_| inject_ring(8192)).unzip();
            let mut exchange = Exchange::new(KernelState::new(twins()), senders);
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

        fn sent(&mut self, worker: usize) -> Vec<(u16, Vec<u8>)> {
            let wire = &mut self.wires[worker];
            std::iter::from_fn(|| wire.receive().map(|(port, frame)| (port.0, frame.to_vec()))).collect()
        }
    }

    #[test]
    fn waiting_packets_leave_in_order_framed_for_their_interface() {
        let mut desk = Desk::new(1);
        desk.unresolved(2, "fe80::1", &[0x45, 1]);
        desk.unresolved(2, "fe80::1", &[0x60, 2]);
        assert_eq!(desk.exchange.take_asks(), [(VLAN, ip("fe80::1"))], "one request, on the VLAN");
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
        assert_eq!(desk.exchange.take_asks(), []);
        assert_eq!(desk.exchange.counters.unresolved_queued, 0);
    }

    #[test]
    fn failed_late_and_impossible_packets_are_counted() {
        let mut desk = Desk::new(1);
        for _ in 0..18 {
            desk.unresolved(0, "192.0.2.1", &[0x45]);
        }
        desk.tell(neighbor(BL_V4, "192.0.2.1", Reachability::Failed, 0));
        desk.unresolved(0, "192.0.2.2", &[0x45]);
        desk.exchange.tick(desk.now + PATIENCE);
        desk.unresolved(7, "192.0.2.2", &[0x45]);
        desk.unresolved(0, "192.0.2.2", &[0x15]);
        desk.unresolved(0, "192.0.2.2", &[]);
        let counters = &desk.exchange.counters;
        assert_eq!((counters.unresolved_queued, counters.unresolved_overflow), (17, 2));
        assert_eq!((counters.unresolved_failed, counters.unresolved_expired), (16, 1));
        assert_eq!((counters.unresolved_invalid, counters.unresolved_released), (3, 0));
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
        assert_eq!(desk.exchange.take_asks(), [(BL_V4, ip("192.0.2.2")), (BL_V4, ip("192.0.2.4"))]);
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
}
