//! The choice among routes, and what notifications do to it.

use super::*;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

#[test]
fn each_kind_has_its_action() {
    for (kind, expected) in [
        (RouteKind::Local, RouteAction::Local),
        (RouteKind::Blackhole, RouteAction::Blackhole),
        (RouteKind::Unreachable, RouteAction::Unreachable),
        // Nothing behind it: the kernel has no route.
        (RouteKind::Throw, RouteAction::Via(Vec::new())),
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
    assert_eq!(kernel.action("10.2.0.0/16"), Some(RouteAction::Kernel), "only the kernel can add the header");
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
    kernel.add(KernelRoute { table: Table::Local, kind: RouteKind::Local, ..unicast("10.0.0.0/8", 99, &[]) });
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
    let broadcast =
        KernelRoute { kind: RouteKind::Broadcast, ..unicast("192.0.2.255/32", 0, &[hop(BL_V4, None)]) };
    kernel.add(KernelRoute { table: Table::Local, ..broadcast });
    assert_eq!(kernel.action("192.0.2.255/32"), Some(RouteAction::Local));
    kernel.add(unicast("2001:db8::/32", 0, &[hop(BL_V4, None)]));
    kernel.tell(Event::Link(Link { admin_up: false, ..link(BL_V4) }));
    kernel.tell(Event::Link(link(BL_V4)));
    assert_eq!(kernel.action("10.0.0.0/8"), None);
    assert_eq!(kernel.action("10.1.0.0/16"), Some(via(&[(1, None, 1)])));
    assert_eq!(kernel.action("192.0.2.9/32"), Some(RouteAction::Local), "addresses stay reachable");
    assert_eq!(kernel.action("192.0.2.255/32"), None, "the broadcast address goes with the link");
    assert_eq!(kernel.action("2001:db8::/32"), Some(via(&[(0, None, 1)])), "IPv6 tells of each removal");
    let failed = kernel.tell(neighbor(BL_V4, "192.0.2.1", Reachability::Failed, 0));
    assert_eq!(
        failed.neighbors[0].news,
        News::Failed { gateway: true, lost: false },
        "10.1/16 still counts it"
    );
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

fn object(id: u32, kind: NextHopKind) -> Event {
    Event::NextHop(NextHopObject { id, kind })
}

fn over(destination: &str, id: u32) -> KernelRoute {
    KernelRoute { next_hop_object: Some(id), ..unicast(destination, 0, &[]) }
}

#[test]
fn routes_over_nexthop_objects_change_with_them_and_without_a_dump() {
    let mut kernel = Relay::new();
    let single = |last: &str| NextHopKind::Single(hop(BL_V4, Some(last)));
    kernel.tell(object(1, single("192.0.2.1")));
    kernel.tell(object(2, single("192.0.2.2")));
    kernel.tell(object(9, NextHopKind::Group([(1, 3), (2, 1)].into())));
    for (destination, id) in [("10.0.0.0/8", 9), ("10.1.0.0/16", 1), ("2001:db8::/32", 9), ("10.3.0.0/16", 7)]
    {
        assert!(!kernel.add(over(destination, id)).doubt);
    }
    let group = via(&[(0, Some("192.0.2.1"), 3), (0, Some("192.0.2.2"), 1)]);
    assert_eq!(kernel.action("10.0.0.0/8"), Some(group.clone()));
    assert_eq!(kernel.action("2001:db8::/32"), Some(group));
    assert_eq!(kernel.action("10.3.0.0/16"), None, "its object has not been heard of");
    assert!(kernel.state.is_gateway(BL_V4, ip("192.0.2.2")));

    let changes = kernel.tell(object(2, single("192.0.2.5")));
    assert!(changes.routing && !changes.doubt);
    let changed = via(&[(0, Some("192.0.2.1"), 3), (0, Some("192.0.2.5"), 1)]);
    assert_eq!(kernel.action("2001:db8::/32"), Some(changed));
    assert!(!kernel.state.is_gateway(BL_V4, ip("192.0.2.2")));

    assert!(!kernel.tell(Event::NextHopRemoved { id: 1 }).doubt);
    assert_eq!(kernel.action("10.1.0.0/16"), None, "gone without a message of its own");
    assert_eq!(kernel.action("10.0.0.0/8"), Some(via(&[(0, Some("192.0.2.5"), 1)])));
    kernel.tell(object(1, single("192.0.2.9")));
    assert_eq!(kernel.action("10.1.0.0/16"), None, "a new object does not bring it back");

    kernel.tell(object(9, NextHopKind::Blackhole));
    assert_eq!(kernel.action("10.0.0.0/8"), Some(RouteAction::Blackhole));
    kernel.tell(object(7, single("192.0.2.7")));
    assert_eq!(kernel.action("10.3.0.0/16"), Some(via(&[(0, Some("192.0.2.7"), 1)])));
    kernel.remove(over("10.0.0.0/8", 9));
    kernel.remove(over("2001:db8::/32", 9));
    assert_eq!((kernel.action("10.0.0.0/8"), kernel.action("2001:db8::/32")), (None, None));
}

#[test]
fn many_routes_over_an_object_are_rewritten_in_slices() {
    let mut kernel = Relay::new();
    let single = |last: &str| NextHopKind::Single(hop(BL_V4, Some(last)));
    kernel.tell(object(1, single("192.0.2.1")));
    (0..1000).for_each(|n| drop(kernel.add(over(&format!("10.{}.{}.0/24", n >> 8, n & 255), 1))));
    let mut changes = Changes::default();
    kernel.state.apply(object(1, single("192.0.2.2")), kernel.now, &mut changes);
    let mut slices = 0;
    while kernel.state.is_untold() {
        let slice = kernel.state.take_changes(100);
        assert!(slice.len() <= 100, "{}", slice.len());
        slice.into_iter().for_each(|change| kernel.mirror.apply(change));
        slices += 1;
    }
    assert!(slices >= 20, "each route is written and told: {slices}");
    let expected = via(&[(0, Some("192.0.2.2"), 1)]);
    assert!(kernel.routing().routes.iter().all(|route| route.action == expected));
}

#[test]
fn an_object_that_changes_while_a_dump_is_read_is_what_it_was_told_last() {
    let mut kernel = Relay::new();
    let single = |last: &str| NextHopKind::Single(hop(BL_V4, Some(last)));
    for (id, destination) in [(1, "10.1.0.0/16"), (2, "10.2.0.0/16")] {
        kernel.tell(object(id, single("192.0.2.1")));
        kernel.add(over(destination, id));
    }
    // Read with what the objects were before, and one whose object went after the routes were read.
    let dumped = [("10.1.0.0/16", 1), ("10.2.0.0/16", 2), ("10.3.0.0/16", 1)].map(|(to, id)| over(to, id));
    let next_hops = [1, 2].map(|id| NextHopObject { id, kind: single("192.0.2.1") });
    let links = kernel.state.links().values().cloned().collect();
    let dump = Dump { links, next_hops: next_hops.into(), ..Dump::default() };
    let meanwhile = vec![object(1, single("192.0.2.9")), Event::NextHopRemoved { id: 2 }];
    let mut changes = Changes::default();
    for event in meanwhile.clone() {
        kernel.state.apply(event, kernel.now, &mut changes);
    }
    kernel.state.catch_up(
        dump,
        dumped.into_iter().collect(),
        meanwhile.into_iter().collect(),
        kernel.now,
        &mut changes,
    );
    kernel.settle(&mut changes);
    assert!(!changes.doubt);
    let expected = Some(via(&[(0, Some("192.0.2.9"), 1)]));
    assert_eq!((kernel.action("10.1.0.0/16"), kernel.action("10.3.0.0/16")), (expected.clone(), expected));
    assert_eq!(kernel.action("10.2.0.0/16"), None);
}

#[test]
fn objects_over_a_link_that_goes_dark_go_with_it() {
    let mut kernel = Relay::new();
    let single = |index: u32| NextHopKind::Single(hop(index, Some("192.0.2.1")));
    kernel.tell(object(1, single(BL_V4)));
    kernel.tell(object(2, single(BL_V6)));
    kernel.tell(object(9, NextHopKind::Group([(1, 1), (2, 1)].into())));
    for (destination, id) in [("10.0.0.0/8", 9), ("2001:db8::/32", 1)] {
        kernel.add(over(destination, id));
    }
    kernel.tell(Event::Link(Link { carrier: false, ..link(BL_V4) }));
    kernel.tell(Event::Link(link(BL_V4)));
    assert_eq!(
        kernel.action("10.0.0.0/8"),
        Some(via(&[(1, Some("192.0.2.1"), 1)])),
        "the group's other member"
    );
    assert_eq!(kernel.action("2001:db8::/32"), None, "a new object has to be made");
}

#[test]
fn a_route_that_falls_from_one_object_to_another_is_the_same_to_the_kernel() {
    let mut kernel = Relay::new();
    kernel.tell(object(1, NextHopKind::Single(hop(BL_V4, Some("192.0.2.1")))));
    kernel.tell(object(2, NextHopKind::Single(hop(BL_V4, Some("192.0.2.2")))));
    for destination in ["10.0.0.0/8", "2001:db8::/32"] {
        kernel.add(over(destination, 1));
        kernel.put(over(destination, 2), Placement::Replace);
        assert_eq!(kernel.action(destination), Some(via(&[(0, Some("192.0.2.2"), 1)])));
        kernel.remove(over(destination, 2));
        assert_eq!(kernel.action(destination), None);
    }
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

    /// Subscribed at the start, dumped somewhere in between, taken over in steps while more is notified: right, or known not
    /// to be. With one route for each metric, as routing daemons install them, always right.
    #[test]
    fn a_dump_newer_than_its_notifications_is_caught_up_with(
        several in any::<bool>(),
        commands in vec((0..5_u8, 1..5_u8), 0..20),
        when in any::<proptest::sample::Index>(),
        finished in any::<proptest::sample::Index>(),
        steps in 0..4_usize,
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
        // What was dumped cannot be newer than the end of the dump.
        let finished = when.min(meanwhile.len()) + finished.index(meanwhile.len() + 1 - when.min(meanwhile.len()));
        let afterwards = meanwhile.split_off(finished);
        for event in &meanwhile {
            kernel.tell(event.clone());
        }
        let mut changes = Changes::default();
        let routes = std::mem::take(&mut dump.routes).into_iter().collect();
        kernel.state.catch_up(dump, routes, meanwhile.into_iter().collect(), kernel.now, &mut changes);
        for event in afterwards {
            kernel.state.apply(event, kernel.now, &mut changes);
            kernel.state.take_changes(steps).into_iter().for_each(|change| kernel.mirror.apply(change));
            changes.merge(kernel.state.take_news());
        }
        kernel.settle(&mut changes);
        let right = kernel.action("10.0.0.0/8") == aliases.best();
        prop_assert!(right || several && changes.doubt);
    }
}

/// One command of the model below: what kind of route, in which table, with which prefix and metric, by which twin; put
/// in or taken out.
type Command = (u8, u8, u32, u8, u32, bool, bool);

/// What a search finds, the tables one after the other and the longest prefix first within each.
fn search(routes: &[KernelRoute], up: [bool; 2], address: IpAddr) -> RouteAction {
    let usable = |route: &&KernelRoute| {
        route.kind != RouteKind::Unicast || route.hops.iter().all(|hop| up[usize::from(hop.index == BL_V6)])
    };
    for table in [Table::Local, Table::Main, Table::Default] {
        let covers = |route: &&KernelRoute| route.table == table && route.destination.contains(&address);
        let best = routes
            .iter()
            .filter(covers)
            .filter(usable)
            .min_by_key(|route| (u8::MAX - route.destination.prefix_len(), route.metric));
        match best.map(|route| route.kind) {
            None | Some(RouteKind::Throw) => {}
            Some(RouteKind::Local) => return RouteAction::Local,
            Some(RouteKind::Unicast) => {
                return via(&[(u16::from(best.unwrap().hops[0].index == BL_V6), None, 1)]);
            }
            Some(_) => return RouteAction::Blackhole,
        }
    }
    RouteAction::Via(Vec::new())
}

/// What the dataplane finds with what it was told.
fn found(told: &Routing, address: IpAddr) -> RouteAction {
    let covering = told.routes.iter().filter(|route| route.destination.contains(&address));
    let longest = covering.max_by_key(|route| route.destination.prefix_len());
    longest.map_or(RouteAction::Via(Vec::new()), |route| route.action.clone())
}

fn commanded((kind, table, bits, length, metric, second, _): Command) -> KernelRoute {
    let kind =
        [RouteKind::Unicast, RouteKind::Unicast, RouteKind::Local, RouteKind::Throw, RouteKind::Blackhole]
            [usize::from(kind)];
    let hops = [hop(if second { BL_V6 } else { BL_V4 }, None)];
    let hops = if kind == RouteKind::Unicast { &hops[..] } else { &[] };
    let prefix =
        ipnet::Ipv4Net::new(std::net::Ipv4Addr::from_bits(bits & 0xc0c0_0000), length).unwrap().trunc();
    let table = [Table::Local, Table::Main, Table::Main, Table::Default][usize::from(table)];
    KernelRoute { table, kind, ..unicast(&prefix.to_string(), metric, hops) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Local, main and default are consulted in this order, with the longest match within each, whatever comes, goes or
    /// flaps, and however it is told.
    #[test]
    fn tables_are_consulted_in_the_kernels_order(
        commands in vec(
            (0..5_u8, 0..4_u8, any::<u32>(), proptest::sample::select(vec![0_u8, 1, 2, 9, 10, 32]), 0..2_u32,
             any::<bool>(), proptest::bool::weighted(0.7)),
            0..40,
        ),
        flaps in vec(any::<bool>(), 40),
    ) {
        let (mut kernel, mut model, mut up) = (Relay::new(), Vec::<KernelRoute>::new(), [true; 2]);
        for (command, flap) in commands.into_iter().zip(flaps) {
            let route = commanded(command);
            model.retain(|known| {
                (known.table, known.destination, known.metric) != (route.table, route.destination, route.metric)
            });
            if command.6 {
                model.push(route.clone());
                kernel.put(route, Placement::Replace);
            } else {
                let routes = kernel.state.routes_to(&route.destination);
                let known = routes.iter().find(|known| (known.table, known.metric) == (route.table, route.metric));
                if let Some(known) = known.cloned() {
                    kernel.remove(known);
                }
            }
            if flap {
                let at = usize::from(command.5);
                up[at] = !up[at];
                kernel.tell(Event::Link(Link { carrier: up[at], ..link([BL_V4, BL_V6][at]) }));
            }
            let told = kernel.routing();
            for key in 0..16_u32 {
                let address = std::net::Ipv4Addr::from_bits((key & 3) << 30 | key >> 2 << 22);
                for address in [address, std::net::Ipv4Addr::from_bits(address.to_bits() | 1)] {
                    let address = IpAddr::V4(address);
                    prop_assert_eq!(found(&told, address), search(&model, up, address), "{} {:#?}", address, told.routes);
                }
            }
        }
    }
}

#[test]
fn what_the_kernel_drops_with_an_interface_goes_unless_it_came_back_meanwhile() {
    let mut kernel = Relay::new();
    let route = |third: u8| unicast(&format!("10.0.{third}.0/24"), 0, &[hop(BL_V4, Some("192.0.2.7"))]);
    (0..20).for_each(|third| drop(kernel.add(route(third))));
    let down = Event::Link(Link { admin_up: false, carrier: false, ..link(BL_V4) });
    let mut changes = Changes::default();
    kernel.state.apply(down, kernel.now, &mut changes);
    kernel.state.take_changes(3).into_iter().for_each(|change| kernel.mirror.apply(change));
    kernel.state.apply(Event::Link(link(BL_V4)), kernel.now, &mut changes);
    for third in [1, 19] {
        let event = Event::Route { route: route(third), placement: Placement::First };
        kernel.state.apply(event, kernel.now, &mut changes);
    }
    kernel.settle(&mut changes);
    let left: Vec<_> = kernel.routing().routes.iter().map(|route| route.destination.to_string()).collect();
    assert_eq!(left, ["10.0.1.0/24", "10.0.19.0/24"]);
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
        kernel.routing()
    };
    assert_eq!(replay(), replay());
    assert_eq!(replay().neighbors[0].interface, InterfaceId(2));
}
