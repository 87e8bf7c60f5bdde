//! The compiled routing's owner: takes [`Change`]s in and gives the next immutable [`Fib`].
//!
//! A change costs what it touches: a route the few nodes on its way down the trie, a neighbour on a link a few blocks of
//! the link's hosts, a gateway its target and the multipath routes it takes part in. A version costs a handful of
//! pointers, and shares with the one before all that did not change.

mod local;
mod targets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use self::local::LocalAddresses;
use self::targets::Targets;
use super::fib::{Fib, Interfaces, Table};
use super::lpm::{self, Ipv4LpmEditor, LpmEditor, Value};
use super::routing::{Change, Interface, InterfaceId, Neighbor, Route, TableId};
use crate::wire::ipv6;

/// The routing of now, and what is needed to change it.
#[derive(Default)]
pub struct Compiler {
    tables: BTreeMap<TableId, TableEditor>,
    targets: Targets,
    interfaces: Arc<Interfaces>,
    sources: (Option<Ipv4Addr>, Option<Ipv6Addr>),
}

/// One table under change.
#[derive(Default)]
struct TableEditor {
    ipv4: Ipv4LpmEditor,
    ipv6: LpmEditor,
    local: LocalAddresses,
    routes: usize,
}

impl Compiler {
    /// Takes in one change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Interface(interface) => self.interface(interface.id, Some(interface)),
            Change::InterfaceRemoved(id) => self.interface(id, None),
            Change::Neighbor(Neighbor { interface, address, state }) => {
                self.targets.neighbor(interface, address, Some(state));
            }
            Change::NeighborRemoved { interface, address } => {
                self.targets.neighbor(interface, address, None);
            }
            Change::Route { table, route } => self.route(table, &route),
            Change::RouteRemoved { table, destination } => self.route_removed(table, destination),
            Change::Sources { ipv4, ipv6 } => self.sources = (ipv4, ipv6),
        }
    }

    /// The FIB of now: immutable, sharing with the versions before all that did not change.
    #[must_use]
    pub fn version(&mut self) -> Fib {
        let others = self.tables.iter().filter(|(id, _)| **id != TableId::MAIN);
        let (ipv4_source, ipv6_source) = self.sources;
        Fib {
            main: self.tables.get(&TableId::MAIN).map(TableEditor::version).unwrap_or_default(),
            others: others.map(|(id, table)| (*id, table.version())).collect(),
            targets: self.targets.version(),
            interfaces: Arc::clone(&self.interfaces),
            ipv4_source,
            ipv6_source,
        }
    }

    /// Destination prefixes with a route, in all tables.
    #[must_use]
    pub fn routes(&self) -> usize {
        self.tables.values().map(|table| table.routes).sum()
    }

    fn interface(&mut self, id: InterfaceId, interface: Option<Interface>) {
        self.targets.interface(id, interface);
        self.interfaces = Arc::new(Interfaces::new(self.targets.interfaces().cloned().collect()));
    }

    fn route(&mut self, table: TableId, route: &Route) {
        let destination = route.destination.addr();
        let mtu = route.mtu.map(|mtu| mtu.max(least_mtu(destination)));
        let target = self.targets.acquire(&route.action, mtu);
        let before = self.tables.entry(table).or_default().set(route.destination, target);
        self.targets.release(before);
    }

    fn route_removed(&mut self, id: TableId, destination: IpNet) {
        let Some(table) = self.tables.get_mut(&id) else { return };
        let before = table.set(destination, targets::NO_ROUTE);
        if table.routes == 0 {
            self.tables.remove(&id);
        }
        self.targets.release(before);
    }
}

impl TableEditor {
    /// What the prefix led to before.
    fn set(&mut self, destination: IpNet, target: Value) -> Value {
        let (address, length) = (destination.trunc().addr(), destination.prefix_len());
        // A route that leads nowhere hides shorter ones: it is not the same as none.
        let before = match address {
            IpAddr::V4(address) => self.ipv4.set(address, length, target),
            IpAddr::V6(_) => self.ipv6.set(lpm::key(address), length, target),
        };
        self.routes += usize::from(target != targets::NO_ROUTE);
        self.routes -= usize::from(before != targets::NO_ROUTE);
        let (was, is) = (before == targets::LOCAL, target == targets::LOCAL);
        if was != is {
            self.local.note(destination, is);
        }
        before
    }

    fn version(&self) -> Table {
        Table { ipv4: self.ipv4.version(), ipv6: self.ipv6.version(), local: self.local.filter() }
    }
}

/// What every link carries (RFC 791 3.2, RFC 8200 5). The kernel takes routes with less, which no sender can obey.
const fn least_mtu(destination: IpAddr) -> u16 {
    match destination {
        IpAddr::V4(_) => 68,
        IpAddr::V6(_) => ipv6::MIN_MTU,
    }
}
