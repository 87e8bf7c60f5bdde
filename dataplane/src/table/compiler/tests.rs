//! The compiler against a search through plain lists, and against itself starting anew.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::table::fib::{Adjacency, Path, Target};
use crate::table::routing::{Hop, MacAddress, NeighborState, PortId, RouteAction, Routing};
use crate::testing::Mirror;

const LINKS: u16 = 3;

/// The addresses everything is about: few, so that changes meet.
fn address(number: u8) -> IpAddr {
    let low = u32::from(number % 8);
    match number / 8 % 4 {
        0 => Ipv4Addr::from_bits(0x0a00_0000 | low).into(),
        1 => Ipv4Addr::from_bits(0x0a80_0100 | low << 16).into(),
        2 => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(low)).into(),
        _ => Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | u128::from(low) << 64).into(),
    }
}

fn interface(id: u16, mac: u8, mtu: u16, up: bool) -> Interface {
    Interface {
        id: InterfaceId(id),
        port: PortId(id),
        vlan: (id == 2).then_some(7),
        table: TableId::MAIN,
        mac: MacAddress([2, 0, 0, 0, 0, mac]),
        extra_macs: Vec::new(),
        mtu,
        up,
        ipv4_source: None,
        ipv6_source: None,
    }
}

fn state() -> impl Strategy<Value = NeighborState> {
    prop_oneof![
        3 => (0..3_u8).prop_map(|last| NeighborState::Resolved(MacAddress([2, 0, 0, 0, 1, last]))),
        1 => Just(NeighborState::Failed),
    ]
}

fn destination() -> impl Strategy<Value = IpNet> {
    (0..32_u8, 0..6_usize).prop_map(|(number, length)| {
        let address = address(number);
        let length =
            if address.is_ipv4() { [0, 8, 16, 24, 31, 32] } else { [0, 32, 47, 64, 127, 128] }[length];
        IpNet::new(address, length).unwrap().trunc()
    })
}

fn hop() -> impl Strategy<Value = Hop> {
    (0..LINKS, proptest::option::weighted(0.7, 0..32_u8), 0..4_u16).prop_map(|(link, gateway, weight)| Hop {
        interface: InterfaceId(link),
        gateway: gateway.map(address),
        weight,
    })
}

fn action() -> impl Strategy<Value = RouteAction> {
    prop_oneof![
        6 => proptest::collection::vec(hop(), 1..2).prop_map(RouteAction::Via),
        4 => proptest::collection::vec(hop(), 0..5).prop_map(RouteAction::Via),
        2 => Just(RouteAction::Local),
        1 => Just(RouteAction::Blackhole),
        1 => Just(RouteAction::Kernel),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let mtu = proptest::option::weighted(0.2, prop_oneof![Just(100_u16), Just(1400), Just(9000)]);
    prop_oneof![
        3 => (0..LINKS, 0..2_u8, prop_oneof![Just(1500_u16), Just(1300)], proptest::bool::weighted(0.8))
            .prop_map(|(id, mac, mtu, up)| Change::Interface(interface(id, mac, mtu, up))),
        1 => (0..LINKS).prop_map(|id| Change::InterfaceRemoved(InterfaceId(id))),
        6 => (0..LINKS, 0..32_u8, state()).prop_map(|(id, number, state)| {
            Change::Neighbor(Neighbor { interface: InterfaceId(id), address: address(number), state })
        }),
        2 => (0..LINKS, 0..32_u8).prop_map(|(id, number)| {
            Change::NeighborRemoved { interface: InterfaceId(id), address: address(number) }
        }),
        8 => (destination(), action(), mtu).prop_map(|(destination, action, mtu)| {
            Change::Route { table: TableId::MAIN, route: Route { destination, action, mtu } }
        }),
        4 => destination().prop_map(|destination| Change::RouteRemoved { table: TableId::MAIN, destination }),
    ]
}

/// What a search through the lists says.
struct Search<'a>(&'a Routing);

impl Search<'_> {
    /// The paths a packet may take, by the hash of its flow.
    fn paths(&self, address: IpAddr) -> Vec<Path> {
        let covering = self.0.routes.iter().filter(|route| route.destination.contains(&address));
        let Some(route) = covering.max_by_key(|route| route.destination.prefix_len()) else {
            return vec![Path::NoRoute];
        };
        let hops = match &route.action {
            RouteAction::Local => return vec![Path::Local],
            RouteAction::Blackhole => return vec![Path::Blackhole],
            RouteAction::Kernel => return vec![Path::Kernel],
            RouteAction::Unreachable => return vec![Path::Unreachable],
            RouteAction::Prohibit => return vec![Path::Prohibited],
            RouteAction::Via(hops) => hops,
        };
        let mtu = route.mtu.map(|mtu| mtu.max(if address.is_ipv4() { 68 } else { 1280 }));
        let all: Vec<(u8, Path)> = hops.iter().map(|hop| self.hop(hop, mtu, address)).collect();
        let best = all.iter().map(|(health, _)| *health).max().unwrap_or(0);
        let paths: Vec<Path> =
            all.iter().filter(|(health, _)| *health == best).map(|(_, path)| *path).collect();
        // Where the host is known on one of several links, it is there.
        let adjacent: Vec<Path> =
            paths.iter().filter(|path| matches!(path, Path::Adjacent(_))).copied().collect();
        let on_links = hops.iter().any(|hop| hop.gateway.is_none());
        match (adjacent.is_empty(), on_links, paths.is_empty()) {
            (_, _, true) => vec![Path::NoRoute],
            (false, true, _) => adjacent,
            _ => paths,
        }
    }

    fn hop(&self, hop: &Hop, mtu: Option<u16>, address: IpAddr) -> (u8, Path) {
        let egress = self.0.interfaces.iter().find(|interface| interface.id == hop.interface && interface.up);
        let Some(egress) = egress else { return (0, Path::NoRoute) };
        let mtu = mtu.map_or(egress.mtu, |mtu| mtu.min(egress.mtu));
        let next = hop.gateway.unwrap_or(address);
        let known =
            self.0.neighbors.iter().find(|known| known.interface == egress.id && known.address == next);
        let (health, path) = match known.map(|known| known.state) {
            Some(NeighborState::Resolved(mac)) => (3, Path::Adjacent(Adjacency::new(egress, mac, mtu))),
            Some(NeighborState::Failed) => (1, Path::Failed),
            None => (2, Path::Unresolved { interface: egress.id, gateway: hop.gateway, mtu }),
        };
        // A link is as good as any, whoever is asked for on it.
        (if hop.gateway.is_none() { 3 } else { health }, path)
    }
}

fn compare(fib: &Fib, anew: &Fib, routing: &Routing) -> Result<(), TestCaseError> {
    let search = Search(routing);
    for address in (0..32).map(address).chain(["11.0.0.1".parse().unwrap(), "2001:db9::1".parse().unwrap()]) {
        let expected = search.paths(address);
        for hash in 0..64 {
            let path = fib.lookup(address, || hash);
            prop_assert_eq!(path, anew.lookup(address, || hash), "{} {}", address, hash);
            prop_assert!(expected.contains(path), "{}: {:?} of {:?}", address, path, expected);
        }
        prop_assert_eq!(fib.is_local(TableId::MAIN, address), expected == [Path::Local], "{}", address);
        prop_assert!(fib.may_be_local(TableId::MAIN, address) || expected != [Path::Local]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn change_by_change_it_is_what_is_built_anew_and_what_a_search_finds(
        changes in proptest::collection::vec(change(), 0..60),
    ) {
        let (mut compiler, mut mirror, mut versions) = (Compiler::default(), Mirror::default(), Vec::new());
        for (number, change) in changes.into_iter().enumerate() {
            compiler.apply(change.clone());
            mirror.apply(change);
            if number % 5 == 4 {
                versions.push((compiler.version(), mirror.routing()));
            }
        }
        versions.push((compiler.version(), mirror.routing()));
        for (version, routing) in &versions {
            compare(version, &Fib::build(routing), routing)?;
        }
        let routing = mirror.routing();
        prop_assert_eq!(compiler.routes(), routing.routes.len());
        for route in routing.routes {
            compiler.apply(Change::RouteRemoved { table: TableId::MAIN, destination: route.destination });
        }
        prop_assert_eq!(compiler.targets.in_use(), 0);
    }
}

fn gateway(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

fn neighbor(number: u8, state: Option<NeighborState>) -> Change {
    let (interface, address) = (InterfaceId(0), gateway(number));
    match state {
        Some(state) => Change::Neighbor(Neighbor { interface, address, state }),
        None => Change::NeighborRemoved { interface, address },
    }
}

const fn mac(last: u8) -> NeighborState {
    NeighborState::Resolved(MacAddress([2, 0, 0, 0, 1, last]))
}

/// A default route over four gateways, all resolved.
fn four_gateways() -> Compiler {
    let mut compiler = Compiler::default();
    compiler.apply(Change::Interface(interface(0, 1, 1500, true)));
    let hop = |number| Hop { interface: InterfaceId(0), gateway: Some(gateway(number)), weight: 1 };
    let action = RouteAction::Via((1..=4).map(hop).collect());
    let route = Route { destination: "0.0.0.0/0".parse().unwrap(), action, mtu: None };
    compiler.apply(Change::Route { table: TableId::MAIN, route });
    (1..=4).for_each(|number| compiler.apply(neighbor(number, Some(mac(number)))));
    compiler
}

/// The gateway of each flow.
fn flows(compiler: &mut Compiler) -> Vec<u8> {
    let fib = compiler.version();
    (0..64)
        .map(|hash| match fib.lookup("8.8.8.8".parse().unwrap(), || hash) {
            Path::Adjacent(adjacency) => adjacency.neighbor().0[5],
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn only_the_flows_of_dead_gateways_move_and_they_come_back() {
    let mut compiler = four_gateways();
    let before = flows(&mut compiler);
    let mut dead = Vec::new();
    for (number, state) in [(1, Some(NeighborState::Failed)), (3, None), (4, Some(NeighborState::Failed))] {
        let last = flows(&mut compiler);
        compiler.apply(neighbor(number, state));
        dead.push(number);
        for (was, is) in last.into_iter().zip(flows(&mut compiler)) {
            assert!(!dead.contains(&is), "{dead:?} get nothing");
            assert!(was == is || was == number, "a flow of {was} moved to {is}");
        }
    }
    for number in [4, 1, 3] {
        let last = flows(&mut compiler);
        compiler.apply(neighbor(number, Some(mac(number))));
        dead.retain(|dead| *dead != number);
        for (was, is) in last.into_iter().zip(flows(&mut compiler)) {
            assert!(was == is || is == number, "{was} to {is}");
        }
    }
    assert_eq!(flows(&mut compiler), before);
}

#[test]
fn the_flows_of_a_dead_gateway_are_spread_over_the_others() {
    let mut compiler = four_gateways();
    compiler.apply(neighbor(2, Some(NeighborState::Failed)));
    let after = flows(&mut compiler);
    for number in [1, 3, 4] {
        let share = after.iter().filter(|gateway| **gateway == number).count();
        assert!((17..=28).contains(&share), "{number} has {share} of 64");
    }
}

#[test]
fn without_any_gateway_alive_the_unresolved_ones_are_asked_for() {
    let mut compiler = four_gateways();
    (1..=3).for_each(|number| compiler.apply(neighbor(number, Some(NeighborState::Failed))));
    compiler.apply(neighbor(4, None));
    let fib = compiler.version();
    let expected = Path::Unresolved { interface: InterfaceId(0), gateway: Some(gateway(4)), mtu: 1500 };
    assert!((0..64).all(|hash| *fib.lookup("8.8.8.8".parse().unwrap(), || hash) == expected));
    compiler.apply(neighbor(4, Some(NeighborState::Failed)));
    assert_eq!(*compiler.version().lookup("8.8.8.8".parse().unwrap(), || 0), Path::Failed);
    compiler.apply(Change::Interface(interface(0, 1, 1500, false)));
    assert_eq!(*compiler.version().lookup("8.8.8.8".parse().unwrap(), || 0), Path::NoRoute);
}

#[test]
fn a_gateway_is_one_target_whatever_the_number_of_routes() {
    let mut compiler = four_gateways();
    for number in 0..50_000_u32 {
        let hop = |number: u32| Hop {
            interface: InterfaceId(0),
            gateway: Some(gateway(1 + (number % 2) as u8)),
            weight: 1,
        };
        let destination = IpNet::new(Ipv4Addr::from_bits(0x1000_0000 + (number << 8)).into(), 24).unwrap();
        let action = RouteAction::Via(vec![hop(number)]);
        compiler
            .apply(Change::Route { table: TableId::MAIN, route: Route { destination, action, mtu: None } });
    }
    let before = compiler.version();
    assert_eq!(compiler.targets.in_use(), 5, "four gateways, and all of them together");
    compiler.apply(neighbor(1, Some(mac(0x77))));
    let after = compiler.version();
    assert!(before.main.ipv4.is_same(&after.main.ipv4), "no trie is touched");
    let adjacency = |fib: &Fib, address: &str| match fib.lookup(address.parse().unwrap(), || 0) {
        Path::Adjacent(adjacency) => adjacency.neighbor().0[5],
        other => panic!("{other:?}"),
    };
    assert_eq!((adjacency(&before, "16.0.2.1"), adjacency(&after, "16.0.2.1")), (1, 0x77));
    assert_eq!((adjacency(&before, "16.0.1.1"), adjacency(&after, "16.0.1.1")), (2, 2));
}

#[test]
fn hosts_come_and_go_without_a_trie_being_touched() {
    let mut compiler = Compiler::default();
    compiler.apply(Change::Interface(interface(0, 1, 1500, true)));
    let action = RouteAction::Via(vec![Hop { interface: InterfaceId(0), gateway: None, weight: 1 }]);
    let route = Route { destination: "192.0.2.0/24".parse().unwrap(), action, mtu: None };
    compiler.apply(Change::Route { table: TableId::MAIN, route });
    let before = compiler.version();
    compiler.apply(neighbor(9, Some(mac(9))));
    let after = compiler.version();
    assert!(before.main.ipv4.is_same(&after.main.ipv4));
    assert!(matches!(before.lookup(gateway(9), || 0), Path::Unresolved { gateway: None, .. }));
    assert!(matches!(after.lookup(gateway(9), || 0), Path::Adjacent(_)));
    compiler.apply(neighbor(9, None));
    assert_eq!(compiler.version().lookup(gateway(9), || 0), before.lookup(gateway(9), || 0));
}

#[test]
fn a_host_on_a_prefix_of_two_links_is_where_it_is_known() {
    let mut compiler = Compiler::default();
    (0..2).for_each(|id| compiler.apply(Change::Interface(interface(id, 1, 1500, true))));
    let hop = |id| Hop { interface: InterfaceId(id), gateway: None, weight: 1 };
    let action = RouteAction::Via(vec![hop(0), hop(1)]);
    let route = Route { destination: "2001:db8::/64".parse().unwrap(), action, mtu: None };
    compiler.apply(Change::Route { table: TableId::MAIN, route });
    let host: IpAddr = "2001:db8::7".parse().unwrap();
    compiler.apply(Change::Neighbor(Neighbor { interface: InterfaceId(1), address: host, state: mac(7) }));
    let state = NeighborState::Failed;
    compiler.apply(Change::Neighbor(Neighbor { interface: InterfaceId(0), address: host, state }));
    let fib = compiler.version();
    for hash in 0..64 {
        let Path::Adjacent(adjacency) = fib.lookup(host, || hash) else { panic!("slow path for ever") };
        assert_eq!(adjacency.interface, InterfaceId(1));
    }
}

#[test]
fn tables_are_apart() {
    let mut compiler = Compiler::default();
    let route = |action| Route { destination: "10.0.0.0/8".parse().unwrap(), action, mtu: None };
    compiler.apply(Change::Route { table: TableId(5), route: route(RouteAction::Blackhole) });
    compiler.apply(Change::Route { table: TableId::MAIN, route: route(RouteAction::Prohibit) });
    let (fib, address) = (compiler.version(), "10.1.1.1".parse().unwrap());
    assert_eq!(*fib.lookup(address, || 0), Path::Prohibited);
    assert_eq!(*fib.lookup_in(TableId(5), address, || 0), Path::Blackhole);
    assert_eq!(
        *fib.lookup_in(TableId(6), address, || 0),
        Path::Prohibited,
        "what it lacks is in the main table"
    );
    compiler.apply(Change::RouteRemoved { table: TableId(5), destination: "10.0.0.0/8".parse().unwrap() });
    assert_eq!(*compiler.version().lookup_in(TableId(5), address, || 0), Path::Prohibited);
}

#[test]
fn a_table_without_a_route_that_leads_on_gives_way_to_the_main_table() {
    let mut compiler = Compiler::default();
    let route = |to: &str, action| Route { destination: to.parse().unwrap(), action, mtu: None };
    let mut put = |table, to: &str, action| compiler.apply(Change::Route { table, route: route(to, action) });
    put(TableId(1), "10.0.0.0/8", RouteAction::Blackhole);
    put(TableId(1), "10.1.0.0/16", RouteAction::Via(Vec::new()));
    put(TableId(1), "192.0.2.1/32", RouteAction::Local);
    put(TableId::MAIN, "0.0.0.0/0", RouteAction::Prohibit);
    put(TableId::MAIN, "192.0.2.2/32", RouteAction::Local);
    let fib = compiler.version();
    let lookup = |address: &str| *fib.lookup_in(TableId(1), address.parse().unwrap(), || 0);
    assert_eq!(lookup("10.2.0.1"), Path::Blackhole);
    assert_eq!(lookup("10.1.0.1"), Path::Prohibited, "thrown, or over an interface that is down");
    assert_eq!(lookup("10.0.0.1"), Path::Blackhole);
    let is_local = |table, address: &str| fib.is_local(table, address.parse().unwrap());
    assert!(is_local(TableId(1), "192.0.2.1") && !is_local(TableId::MAIN, "192.0.2.1"));
    assert!(is_local(TableId(1), "192.0.2.2"), "the table local is everybody's");
    assert!(fib.may_be_local(TableId(1), "192.0.2.1".parse().unwrap()));
    assert_eq!(fib.table_of(InterfaceId(0)), TableId::MAIN, "an interface nobody knows");
    compiler.apply(Change::Interface(Interface { table: TableId(1), ..interface(0, 0, 1500, true) }));
    assert_eq!(compiler.version().table_of(InterfaceId(0)), TableId(1));
}

#[test]
fn a_link_of_many_hosts_is_rewritten_in_slices_that_end_as_one_change_would() {
    const HOSTS: u32 = 20_000;
    let host = |number: u32| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number)));
    let mut compiler = Compiler::default();
    let on_link = |to: &str, mtu| Change::Route {
        table: TableId::MAIN,
        route: Route {
            destination: to.parse().unwrap(),
            action: RouteAction::Via(vec![Hop { interface: InterfaceId(0), gateway: None, weight: 1 }]),
            mtu,
        },
    };
    compiler.apply(Change::Interface(interface(0, 1, 1500, true)));
    compiler.apply(on_link("2001:db8::/64", None));
    for number in 0..HOSTS {
        let state = NeighborState::Resolved(MacAddress([2, 0, 0, 0, 9, 9]));
        compiler.apply(Change::Neighbor(Neighbor {
            interface: InterfaceId(0),
            address: host(number),
            state,
        }));
    }
    compiler.apply(on_link("2001:db8::/112", Some(1300)));
    let gateway = "2001:db8::7".parse().unwrap();
    let over = RouteAction::Via(vec![Hop { interface: InterfaceId(0), gateway: Some(gateway), weight: 1 }]);
    let destination = "2001:db8:9::/48".parse().unwrap();
    compiler
        .apply(Change::Route { table: TableId::MAIN, route: Route { destination, action: over, mtu: None } });
    let settle = |compiler: &mut Compiler| {
        let mut slices = 0;
        while compiler.is_unsettled() {
            let rewritten = compiler.settle();
            // A sixty-fourth of the hosts, give or take what chance does.
            assert!(rewritten <= HOSTS as usize / 32, "{rewritten}");
            slices += 1;
        }
        slices
    };
    assert_eq!(settle(&mut compiler), 64, "the route of its own MTU");
    compiler.apply(Change::Interface(interface(0, 2, 1400, true)));
    let behind = compiler.version();
    let Path::Adjacent(now) = behind.lookup("2001:db8:9::1".parse().unwrap(), || 0) else { panic!() };
    assert_eq!(
        (now.link_header(6), now.mtu),
        (expected(2, 1400).link_header(6), 1400),
        "gateways come first"
    );
    // Hosts come and go meanwhile.
    for number in [3, HOSTS + 1] {
        let state = NeighborState::Resolved(MacAddress([2, 0, 0, 0, 9, 9]));
        compiler.apply(Change::Neighbor(Neighbor {
            interface: InterfaceId(0),
            address: host(number),
            state,
        }));
    }
    compiler.apply(Change::NeighborRemoved { interface: InterfaceId(0), address: host(4) });
    assert_eq!(settle(&mut compiler), 128, "the link, then the route of its own MTU");
    let fib = compiler.version();
    for number in (0..HOSTS).filter(|number| *number != 4).chain([HOSTS + 1]) {
        let mtu = 1300;
        assert_eq!(*fib.lookup(host(number), || 0), Path::Adjacent(expected(2, mtu)), "{number}");
    }
    assert!(matches!(fib.lookup(host(4), || 0), Path::Unresolved { mtu: 1300, .. }));
    compiler
        .apply(Change::RouteRemoved { table: TableId::MAIN, destination: "2001:db8::/112".parse().unwrap() });
    assert_eq!(*compiler.version().lookup(host(9), || 0), Path::Adjacent(expected(2, 1400)));
    compiler.apply(Change::InterfaceRemoved(InterfaceId(0)));
    assert!(!compiler.is_unsettled());
    assert_eq!(*compiler.version().lookup(host(9), || 0), Path::NoRoute);
}

/// The way to a host of the test above.
fn expected(mac: u8, mtu: u16) -> Adjacency {
    Adjacency::new(&interface(0, mac, mtu, true), MacAddress([2, 0, 0, 0, 9, 9]), mtu)
}

#[test]
fn a_target_is_a_cache_line_or_two() {
    assert!(size_of::<Target>() <= 128 && size_of::<Path>() <= 48);
}
