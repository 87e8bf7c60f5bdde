//! Pure tests of state and exchange: events in, routing, frames and counters out. No kernel, no root.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use dataplane::exception::{InjectReceiver, inject_ring};
use dataplane::table::routing::{
    Hop, InterfaceId, MacAddress, Neighbor, NeighborState, PortId, Route, RouteAction, Routing, TableId,
};
use dataplane::testing::Mirror;

use super::event::{
    Address, Dump, Event, KernelHop, KernelRoute, Link, NeighborEntry, NextHopKind, NextHopObject, Placement,
    Reachability, RouteKind, Rule, Table,
};
use super::exchange::Exchange;
use super::interfaces::TwinSettings;
use super::resolver::{PATIENCE, TICK};
use super::state::{Changes, FAILED_HOLD, FAILED_MAX, KernelState, News};
use super::tables::DumpedTables;

mod addresses;
mod carrier;
mod exchange;
mod interfaces;
mod neighbors;
mod routes;
mod tables;

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
        kind: String::new(),
        master: None,
        vrf: None,
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
    /// What the dataplane has been told.
    mirror: Mirror,
    now: Instant,
}

impl Relay {
    fn new() -> Self {
        let mut new =
            Self { state: KernelState::new(twins()), mirror: Mirror::default(), now: Instant::now() };
        for index in [LO, MANAGEMENT, BL_V4, BL_V6] {
            new.tell(Event::Link(link(index)));
        }
        new
    }

    fn tell(&mut self, event: Event) -> Changes {
        let mut changes = Changes::default();
        self.state.apply(event, self.now, &mut changes);
        self.settle(&mut changes);
        changes
    }

    /// Tells the dataplane everything, in slices of odd sizes.
    fn settle(&mut self, changes: &mut Changes) {
        while self.state.is_untold() {
            self.state.take_changes(3).into_iter().for_each(|change| self.mirror.apply(change));
            changes.merge(self.state.take_news());
        }
    }

    fn routing(&self) -> Routing {
        self.mirror.routing()
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
        self.settle(&mut changes);
        changes
    }

    fn route(&self, destination: &str) -> Option<Route> {
        let destination = destination.parse().unwrap();
        self.routing().routes.into_iter().find(|route| route.destination == destination)
    }

    /// The same in another table than the main one.
    fn action_in(&self, table: u16, destination: &str) -> Option<RouteAction> {
        let destination = destination.parse().unwrap();
        let mut routes = self.mirror.routes_in(TableId(table)).into_iter();
        routes.find(|route| route.destination == destination).map(|route| route.action)
    }

    fn action(&self, destination: &str) -> Option<RouteAction> {
        self.route(destination).map(|route| route.action)
    }

    fn neighbor(&self, text: &str) -> Option<NeighborState> {
        let found = |neighbor: &Neighbor| neighbor.address == ip(text);
        self.routing().neighbors.into_iter().find(found).map(|neighbor| neighbor.state)
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
