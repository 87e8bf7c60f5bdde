//! The compiled routing's owner: takes [`Change`]s in and gives the next immutable [`Fib`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::fib::Fib;
use super::routing::{Change, Interface, InterfaceId, Neighbor, Route, Routing, TableId};

/// The routing of now, and what is needed to change it.
#[derive(Default)]
pub struct Compiler {
    interfaces: BTreeMap<InterfaceId, Interface>,
    neighbors: BTreeMap<(InterfaceId, IpAddr), Neighbor>,
    routes: BTreeMap<(TableId, IpNet), Route>,
    rest: Routing,
}

impl Compiler {
    /// Takes in one change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Interface(interface) => {
                self.interfaces.insert(interface.id, interface);
            }
            Change::InterfaceRemoved(id) => {
                self.interfaces.remove(&id);
            }
            Change::Neighbor(neighbor) => {
                self.neighbors.insert((neighbor.interface, neighbor.address), neighbor);
            }
            Change::NeighborRemoved { interface, address } => {
                self.neighbors.remove(&(interface, address));
            }
            Change::Route { table, route } => {
                self.routes.insert((table, route.destination.trunc()), route);
            }
            Change::RouteRemoved { table, destination } => {
                self.routes.remove(&(table, destination.trunc()));
            }
            Change::Sources { ipv4, ipv6 } => {
                self.rest.ipv4_source = ipv4;
                self.rest.ipv6_source = ipv6;
            }
        }
    }

    /// The FIB of now: immutable, sharing with the versions before all that did not change.
    #[must_use]
    pub fn version(&self) -> Fib {
        Fib::build(&Routing {
            interfaces: self.interfaces.values().cloned().collect(),
            neighbors: self.neighbors.values().cloned().collect(),
            routes: self.routes.values().cloned().collect(),
            ..self.rest.clone()
        })
    }
}
