//! Tables apart: VRFs, and rules for one interface.

use super::*;

const RED: u32 = 30;

/// A VRF device that looks up table 10.
fn red() -> Link {
    Link { kind: "vrf".into(), vrf: Some(10), ..link(RED) }
}

fn in_table(number: u32, route: KernelRoute) -> KernelRoute {
    KernelRoute { table: Table::Other(number), ..route }
}

fn rule(priority: u32, interface: &str, table: u32) -> Rule {
    Rule { ipv6: false, priority, interface: Some(interface.into()), everything: true, table: Some(table) }
}

fn table_of(kernel: &Relay, id: u16) -> TableId {
    let found = kernel.routing().interfaces.into_iter().find(|interface| interface.id == InterfaceId(id));
    found.unwrap().table
}

#[test]
fn an_interface_in_a_vrf_looks_up_its_table() {
    let mut kernel = Relay::new();
    let to = |last: &str| unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some(last))]);
    kernel.add(in_table(10, to("192.0.2.1")));
    kernel.tell(Event::Link(red()));
    assert_eq!(table_of(&kernel, 0), TableId::MAIN);
    let changes = kernel.tell(Event::Link(Link { master: Some(RED), ..link(BL_V4) }));
    assert!(changes.doubt, "the table has to be read first");
    assert_eq!((table_of(&kernel, 0), table_of(&kernel, 1)), (TableId(1), TableId::MAIN));
    assert_eq!(kernel.action_in(1, "10.0.0.0/8"), None, "what was told before nobody kept");
    kernel.add(in_table(10, to("192.0.2.2")));
    kernel.add(in_table(11, unicast("10.1.0.0/16", 0, &[hop(BL_V4, None)])));
    kernel.add(to("192.0.2.9"));
    let own = KernelRoute { kind: RouteKind::Local, ..unicast("192.0.2.7/32", 0, &[hop(BL_V4, None)]) };
    kernel.add(in_table(10, own));
    assert_eq!(kernel.action_in(1, "10.0.0.0/8"), Some(via(&[(0, Some("192.0.2.2"), 1)])));
    assert_eq!(kernel.action_in(1, "192.0.2.7/32"), Some(RouteAction::Local));
    assert_eq!(kernel.action("192.0.2.7/32"), None);
    assert_eq!(kernel.action("10.0.0.0/8"), Some(via(&[(0, Some("192.0.2.9"), 1)])));
    assert!(kernel.state.is_gateway(BL_V4, ip("192.0.2.2")));
    assert_eq!(kernel.state.masters().filter_map(|(_, master)| master).count(), 0, "a VRF is no complaint");

    let replaced = in_table(10, to("192.0.2.3"));
    kernel.put(replaced.clone(), Placement::Replace);
    assert_eq!(kernel.action_in(1, "10.0.0.0/8"), Some(via(&[(0, Some("192.0.2.3"), 1)])));
    assert!(!kernel.remove(replaced).doubt);
    assert_eq!(kernel.action_in(1, "10.0.0.0/8"), None);

    kernel.tell(Event::Link(link(BL_V4)));
    assert_eq!(table_of(&kernel, 0), TableId::MAIN);
    assert_eq!(kernel.mirror.routes_in(TableId(1)), [], "nobody looks it up any more");
}

#[test]
fn a_rule_for_an_interface_sends_one_family_to_its_table() {
    let mut kernel = Relay::new();
    assert!(kernel.tell(Event::Rule(rule(100, "if10", 20))).doubt);
    assert_eq!(table_of(&kernel, 0), TableId(1));
    kernel.add(in_table(20, unicast("10.0.0.0/8", 0, &[hop(BL_V6, None)])));
    kernel.add(in_table(20, unicast("2001:db8::/32", 0, &[hop(BL_V6, None)])));
    assert_eq!(kernel.action_in(1, "10.0.0.0/8"), Some(via(&[(1, None, 1)])));
    assert_eq!(kernel.action_in(1, "2001:db8::/32"), None, "the rule is of IPv4");
    let other = rule(101, "if10", 21);
    kernel.tell(Event::Rule(other.clone()));
    assert_eq!(kernel.state.unfollowed_rules(), std::slice::from_ref(&other));
    kernel.tell(Event::RuleRemoved(other));
    assert_eq!(kernel.state.unfollowed_rules(), []);
    assert!(kernel.tell(Event::RuleRemoved(rule(100, "if10", 20))).doubt, "there may be another one like it");
    assert_eq!((table_of(&kernel, 0), kernel.mirror.routes_in(TableId(1))), (TableId::MAIN, Vec::new()));
}

#[test]
fn nexthop_objects_and_links_bear_on_tables_apart_as_well() {
    let mut kernel = Relay::new();
    kernel.tell(Event::Rule(rule(100, "if10", 20)));
    let single = |last: &str| NextHopKind::Single(hop(BL_V6, Some(last)));
    kernel.tell(Event::NextHop(NextHopObject { id: 1, kind: single("fe80::1") }));
    let over = KernelRoute { next_hop_object: Some(1), ..unicast("10.0.0.0/8", 0, &[]) };
    kernel.add(in_table(20, over.clone()));
    kernel.add(KernelRoute { next_hop_object: Some(1), ..unicast("10.9.0.0/16", 0, &[]) });
    kernel.add(in_table(20, unicast("10.1.0.0/16", 0, &[hop(BL_V6, Some("fe80::7"))])));
    assert_eq!(kernel.action_in(1, "10.0.0.0/8"), Some(via(&[(1, Some("fe80::1"), 1)])));
    kernel.tell(Event::NextHop(NextHopObject { id: 1, kind: single("fe80::2") }));
    let expected = Some(via(&[(1, Some("fe80::2"), 1)]));
    assert_eq!(
        (kernel.action_in(1, "10.0.0.0/8"), kernel.action("10.9.0.0/16")),
        (expected.clone(), expected)
    );
    kernel.tell(Event::Link(Link { admin_up: false, ..link(BL_V6) }));
    assert_eq!((kernel.action_in(1, "10.1.0.0/16"), kernel.action_in(1, "10.0.0.0/8")), (None, None));
}

#[test]
fn a_dump_brings_tables_apart_up_to_date() {
    let mut kernel = Relay::new();
    let links = [link(LO), link(MANAGEMENT), Link { master: Some(RED), ..link(BL_V4) }, link(BL_V6), red()];
    let route = |destination: &str| in_table(10, unicast(destination, 0, &[hop(BL_V4, Some("192.0.2.1"))]));
    let dump = |routes: &[&str], rules: &[Rule]| {
        let main = unicast("10.9.0.0/16", 0, &[hop(BL_V6, None)]);
        let routes = routes.iter().map(|to| route(to)).chain([main]).collect();
        Event::Dump(Box::new(Dump {
            links: links.to_vec(),
            routes,
            rules: rules.to_vec(),
            ..Dump::default()
        }))
    };
    let all = |kernel: &Relay| {
        let routes = kernel.mirror.routes_in(TableId(1)).into_iter();
        routes.map(|route| route.destination.to_string()).collect::<Vec<_>>()
    };
    assert!(!kernel.tell(dump(&["10.0.0.0/8", "2001:db8::/32"], &[])).doubt, "it has all tables");
    assert_eq!(all(&kernel), ["10.0.0.0/8", "2001:db8::/32"]);
    assert!(kernel.action("10.9.0.0/16").is_some());
    kernel.tell(dump(&["10.1.0.0/16", "2001:db8::/32", "2001:db8:1::/48"], &[rule(5, "if11", 10)]));
    assert_eq!(all(&kernel), ["10.1.0.0/16", "2001:db8::/32", "2001:db8:1::/48"]);
    assert_eq!(
        kernel.mirror.routes_in(TableId(2)).len(),
        1,
        "the same table, of IPv4 alone, for another interface"
    );
    // A route that was notified while the dump was read is in neither or in both.
    let mut changes = Changes::default();
    let news = Event::Route { route: route("10.2.0.0/16"), placement: Placement::First };
    kernel.state.apply(news.clone(), kernel.now, &mut changes);
    let routes: DumpedTables = [route("10.1.0.0/16")].into_iter().collect();
    let dump = Dump { links: links.to_vec(), ..Dump::default() };
    kernel.state.catch_up(dump, routes, [news].into_iter().collect(), kernel.now, &mut changes);
    // And one that comes while the tables are compared.
    kernel.state.apply(
        Event::Route { route: route("10.3.0.0/16"), placement: Placement::First },
        kernel.now,
        &mut changes,
    );
    kernel.settle(&mut changes);
    assert!(!changes.doubt);
    assert_eq!(all(&kernel), ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"]);
}

#[test]
fn neighbours_of_a_link_that_is_gone_are_forgotten_in_slices() {
    let mut kernel = Relay::new();
    kernel.tell(Event::Link(vlan(VLAN, BL_V4, 100)));
    let host = |number: u32| format!("10.0.{}.{}", number >> 8, number & 255);
    for number in 0..1000 {
        kernel.tell(neighbor(VLAN, &host(number), Reachability::Reachable, 1));
    }
    let slices = |kernel: &mut Relay, event: Event| {
        kernel.state.apply(event, kernel.now, &mut Changes::default());
        let mut slices = 0;
        while kernel.state.is_untold() {
            let changes = kernel.state.take_changes(10);
            assert!(changes.len() <= 20, "{}", changes.len());
            changes.into_iter().for_each(|change| kernel.mirror.apply(change));
            slices += 1;
        }
        slices
    };
    assert!(slices(&mut kernel, Event::LinkRemoved { index: VLAN }) >= 100);
    assert_eq!(kernel.state.resolved(InterfaceId(2), ip("10.0.0.1")), None);
    // Known before their interface: told in slices, too.
    for number in 0..1000 {
        kernel.tell(neighbor(VLAN, &host(number), Reachability::Reachable, 1));
    }
    assert!(slices(&mut kernel, Event::Link(vlan(VLAN, BL_V4, 100))) >= 100);
    assert_eq!(kernel.routing().neighbors.len(), 1000);
    // Another link of the same number has none of them.
    kernel.state.apply(Event::LinkRemoved { index: VLAN }, kernel.now, &mut Changes::default());
    kernel.state.apply(Event::Link(vlan(VLAN, BL_V4, 200)), kernel.now, &mut Changes::default());
    kernel.tell(neighbor(VLAN, "10.0.0.1", Reachability::Reachable, 9));
    assert_eq!(kernel.routing().neighbors.len(), 1);
}
