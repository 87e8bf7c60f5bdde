//! Changes folded into a [`Routing`] again: the model other things are compared with.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::table::routing::{
    Change, Interface, InterfaceId, Neighbor, NeighborState, Route, RouteAction, Routing, TableId,
};

type Target = (RouteAction, Option<u16>);

/// What a receiver of changes knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirror {
    interfaces: BTreeMap<InterfaceId, Interface>,
    neighbors: BTreeMap<(InterfaceId, IpAddr), NeighborState>,
    routes: BTreeMap<(TableId, IpNet), Target>,
    ipv4_source: Option<Ipv4Addr>,
    ipv6_source: Option<Ipv6Addr>,
}

impl Mirror {
    /// Takes in one change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Interface(interface) => drop(self.interfaces.insert(interface.id, interface)),
            Change::InterfaceRemoved(id) => {
                self.interfaces.remove(&id);
                self.neighbors.retain(|(interface, _), _| *interface != id);
            }
            Change::Neighbor(Neighbor { interface, address, state }) => {
                self.neighbors.insert((interface, address), state);
            }
            Change::NeighborRemoved { interface, address } => {
                self.neighbors.remove(&(interface, address));
            }
            Change::Route { table, route: Route { destination, action, mtu } } => {
                self.routes.insert((table, destination.trunc()), (action, mtu));
            }
            Change::RouteRemoved { table, destination } => {
                self.routes.remove(&(table, destination.trunc()));
            }
            Change::Sources { ipv4, ipv6 } => (self.ipv4_source, self.ipv6_source) = (ipv4, ipv6),
        }
    }

    /// The routes of a table, sorted.
    #[must_use]
    pub fn routes_in(&self, table: TableId) -> Vec<Route> {
        let route = |((_, destination), (action, mtu)): (&(TableId, IpNet), &Target)| Route {
            destination: *destination,
            action: action.clone(),
            mtu: *mtu,
        };
        self.routes.iter().filter(|((of, _), _)| *of == table).map(route).collect()
    }

    /// The main table and all else, sorted.
    #[must_use]
    pub fn routing(&self) -> Routing {
        let neighbor = |(key, state): (&(InterfaceId, IpAddr), &NeighborState)| Neighbor {
            interface: key.0,
            address: key.1,
            state: *state,
        };
        Routing {
            interfaces: self.interfaces.values().cloned().collect(),
            neighbors: self.neighbors.iter().map(neighbor).collect(),
            routes: self.routes_in(TableId::MAIN),
            ipv4_source: self.ipv4_source,
            ipv6_source: self.ipv6_source,
        }
    }
}
