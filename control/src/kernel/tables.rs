//! The routes of every table that anything of the relay looks up: the main chain (local, main, default), and tables apart
//! for interfaces in a VRF, or that a policy rule sends elsewhere.
//!
//! An interface apart looks its table up first and what is not found there in the main chain, as the kernel's rules do. Two
//! families may have two tables: a rule is of one family. What other tables hold is not kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use dataplane::table::routing::{Change, TableId};
use ipnet::IpNet;

use super::event::{KernelRoute, Placement, Table};
use super::interfaces::Exit;
use super::next_hops::NextHops;
use super::routes::{RouteTable, Trust};

/// The kernel's tables that an interface looks up before the main chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Apart {
    pub(super) ipv4: Option<u32>,
    pub(super) ipv6: Option<u32>,
}

impl Apart {
    /// The table for a destination's family.
    pub(super) fn of(self, destination: &IpNet) -> Option<u32> {
        match destination {
            IpNet::V4(_) => self.ipv4,
            IpNet::V6(_) => self.ipv6,
        }
    }
}

/// All that is followed.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) main: RouteTable,
    pub(super) apart: BTreeMap<Apart, RouteTable>,
    /// Tables that no interface looks up any more, until the dataplane has been told so.
    leaving: Vec<RouteTable>,
    ids: HashMap<Apart, TableId>,
}

/// The tables of a dump, by the kernel's number.
#[derive(Debug, Default)]
pub(super) struct DumpedTables {
    pub(super) main: RouteTable,
    pub(super) apart: BTreeMap<u32, RouteTable>,
}

impl DumpedTables {
    /// Takes in a route.
    pub(super) fn fill(&mut self, route: KernelRoute) {
        match route.table {
            Table::Other(number) => self.apart.entry(number).or_default().fill(in_its_table(route)),
            Table::Local | Table::Main | Table::Default => self.main.fill(route),
        }
    }
}

impl FromIterator<KernelRoute> for DumpedTables {
    fn from_iter<I: IntoIterator<Item = KernelRoute>>(routes: I) -> Self {
        let mut tables = Self::default();
        routes.into_iter().for_each(|route| tables.fill(route));
        tables
    }
}

/// A route of a table apart, as that table's own.
pub(super) fn in_its_table(route: KernelRoute) -> KernelRoute {
    KernelRoute { table: Table::Main, ..route }
}

impl Tables {
    /// The dataplane's name of what an interface looks up; the same for ever. Too many are none: they look up main.
    pub(super) fn id(&mut self, apart: Apart) -> TableId {
        if apart == Apart::default() {
            return TableId::MAIN;
        }
        let next = u16::try_from(self.ids.len() + 1).map_or(TableId::MAIN, TableId);
        *self.ids.entry(apart).or_insert(next)
    }

    /// Keeps these tables apart and no others; whether there is one that has to be read first.
    pub(super) fn keep(&mut self, wanted: &BTreeSet<Apart>) -> bool {
        let gone: Vec<Apart> = self.apart.keys().filter(|apart| !wanted.contains(apart)).copied().collect();
        self.leaving.extend(gone.iter().filter_map(|apart| self.apart.remove(apart)));
        let mut unread = false;
        for apart in wanted.iter().filter(|apart| **apart != Apart::default()) {
            if !self.apart.contains_key(apart) {
                let id = self.id(*apart);
                self.leaving.retain(|table| table.id() != id);
                self.apart.insert(*apart, RouteTable::called(id));
                unread = true;
            }
        }
        unread
    }

    pub(super) fn insert(&mut self, route: KernelRoute, placement: Placement) -> Trust {
        let Table::Other(number) = route.table else { return self.main.insert(route, placement) };
        let route = in_its_table(route);
        let insert = |table: &mut RouteTable| table.insert(route.clone(), placement);
        self.each(number, &route.destination, insert)
    }

    pub(super) fn remove(&mut self, route: &KernelRoute) -> Trust {
        let Table::Other(number) = route.table else { return self.main.remove(route) };
        let route = in_its_table(route.clone());
        self.each(number, &route.destination, |table| table.remove(&route))
    }

    fn each(
        &mut self,
        number: u32,
        destination: &IpNet,
        mut change: impl FnMut(&mut RouteTable) -> Trust,
    ) -> Trust {
        let mut trust = Trust::Sure;
        for (_, table) in self.apart.iter_mut().filter(|(apart, _)| apart.of(destination) == Some(number)) {
            if change(table) == Trust::Doubt {
                trust = Trust::Doubt;
            }
        }
        trust
    }

    fn all(&self) -> impl Iterator<Item = &RouteTable> {
        [&self.main].into_iter().chain(self.apart.values())
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut RouteTable> {
        [&mut self.main].into_iter().chain(self.apart.values_mut())
    }

    /// Writes what a nexthop object stands for into the routes of one more destination behind `last`, of all tables; which
    /// that is.
    pub(super) fn expand_next(&mut self, id: u32, last: Option<IpNet>, objects: &NextHops) -> Option<IpNet> {
        let next = self.all().filter_map(|table| table.user_of(id, last)).min()?;
        self.all_mut().for_each(|table| {
            if table.user_of(id, last) == Some(next) {
                table.expand(next, objects);
            }
        });
        Some(next)
    }

    pub(super) fn interface_changed(&mut self, index: u32) {
        self.all_mut().for_each(|table| table.interface_changed(index));
    }

    pub(super) fn interface_down(&mut self, index: u32) {
        self.all_mut().for_each(|table| table.interface_down(index));
    }

    /// Whether any route goes through this gateway.
    pub(super) fn is_gateway(&self, index: u32, address: IpAddr) -> bool {
        self.all().any(|table| table.is_gateway(index, address))
    }

    /// The gateways of all routes, by interface.
    pub(super) fn gateways(&self) -> impl Iterator<Item = (u32, IpAddr)> {
        self.all().flat_map(RouteTable::gateways)
    }

    /// How many destinations there are.
    pub(super) fn len(&self) -> usize {
        self.all().map(RouteTable::len).sum()
    }

    /// Whether [`Self::tell`] has something to do.
    pub(super) fn is_untold(&self) -> bool {
        !self.leaving.is_empty() || self.all().any(RouteTable::is_untold)
    }

    /// Looks at up to `steps` destinations, and notes what the dataplane has to know of them.
    pub(super) fn tell(&mut self, exits: &HashMap<u32, Exit>, steps: usize, changes: &mut Vec<Change>) {
        let mut left = steps;
        // Those apart first: there are few, and the main table may have much to say.
        for table in self.apart.values_mut().chain([&mut self.main]) {
            left -= table.tell(exits, left, changes);
        }
        while left > 0
            && let Some(table) = self.leaving.last_mut()
        {
            match table.pop_first() {
                Some((destination, _)) => {
                    changes.push(Change::RouteRemoved { table: table.id(), destination });
                    left -= 1;
                }
                None => drop(self.leaving.pop()),
            }
        }
    }
}
