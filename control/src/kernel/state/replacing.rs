//! A finished dump takes the place of what is known, a few entries at a time, while notifications go on being applied.
//!
//! Links, addresses, rules and nexthop objects are few and replaced at once. Neighbours: what was notified since the dump
//! began is newer than it or the same, and stays; the rest becomes what the dump says. Routes: the notifications since then
//! are applied to the dumped tables as well, in which they find their place; then the tables are compared, destination by
//! destination. Followed by notifications alone and by dump and notifications: both ways must end the same, or
//! the dump is repeated.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::{Changes, KernelState, Told};
use crate::kernel::event::{Dump, Event, KernelRoute, NeighborEntry, Table};
use crate::kernel::next_hops::NextHops;
use crate::kernel::routes::{RouteTable, Trust, same_routes};
use crate::kernel::tables::{Apart, DumpedTables, Tables, in_its_table};

/// What was notified since a dump began.
#[derive(Debug, Default)]
pub(in crate::kernel) struct Meanwhile {
    /// Of links, addresses, rules and nexthop objects.
    few: Vec<Event>,
    /// Of neighbours and routes.
    many: VecDeque<Event>,
}

impl Meanwhile {
    pub(in crate::kernel) fn push(&mut self, event: Event) {
        match event {
            Event::Neighbor(_)
            | Event::NeighborRemoved { .. }
            | Event::Route { .. }
            | Event::RouteRemoved(_) => self.many.push_back(event),
            _ => self.few.push(event),
        }
    }
}

impl FromIterator<Event> for Meanwhile {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        let mut meanwhile = Self::default();
        events.into_iter().for_each(|event| meanwhile.push(event));
        meanwhile
    }
}

/// The dump, as far as it has not been taken over.
#[derive(Debug)]
pub(super) struct Replacing {
    /// Notifications since the dump began that have not been looked at.
    unseen: VecDeque<Event>,
    neighbors: std::vec::IntoIter<NeighborEntry>,
    /// Neighbours of the dump, and those that were notified since it began.
    present: HashSet<(u32, IpAddr)>,
    touched: HashSet<(u32, IpAddr)>,
    /// The last neighbour that was looked for in the dump.
    looked_at: Option<(u32, IpAddr)>,
    /// Route events since the dump began that the dumped tables lack.
    meanwhile: VecDeque<Event>,
    routes: DumpedTables,
    /// Destinations of those events.
    doubtful: HashSet<(Table, IpNet)>,
    /// The tables that are left to compare.
    stages: VecDeque<Stage>,
    /// The last destination of the first of them that was compared.
    compared: Option<IpNet>,
    now: Instant,
    /// What the steps since the last look had to say.
    changes: Changes,
}

/// One table to compare, of a table apart one family: each may be another of the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Main,
    Apart { apart: Apart, ipv4: bool },
}

impl KernelState {
    /// Takes in a finished dump, its routes as tables that were filled while it was read, and what was notified meanwhile.
    /// [`Self::take_changes`] does the work.
    pub(in crate::kernel) fn catch_up(
        &mut self,
        mut dump: Dump,
        routes: DumpedTables,
        meanwhile: Meanwhile,
        now: Instant,
        changes: &mut Changes,
    ) {
        while self.replacing.is_some() {
            self.replace_on(1);
        }
        changes.routing |= self.interfaces.replace(std::mem::take(&mut dump.links));
        changes.routing |= self.replace_addresses(std::mem::take(&mut dump.addresses));
        self.untold.interfaces();
        self.rules = std::mem::take(&mut dump.rules).into_iter().collect();
        self.next_hops = NextHops::default();
        self.rewrite.clear();
        for object in std::mem::take(&mut dump.next_hops) {
            self.next_hops.put(object);
        }
        // The dump has all tables, those that nobody looked up before included.
        self.assign_tables();
        for event in meanwhile.few {
            self.apply(event, now, changes);
        }
        let families = |apart: Apart| [true, false].map(|ipv4| Stage::Apart { apart, ipv4 });
        let apart = self.routes.apart.keys().copied().flat_map(families);
        self.replacing = Some(Replacing {
            unseen: meanwhile.many,
            neighbors: dump.neighbors.into_iter(),
            present: HashSet::new(),
            touched: HashSet::new(),
            looked_at: None,
            meanwhile: VecDeque::new(),
            routes,
            doubtful: HashSet::new(),
            stages: [Stage::Main].into_iter().chain(apart).collect(),
            compared: None,
            now,
            changes: Changes::default(),
        });
    }

    /// Whether a dump is being taken over.
    #[must_use]
    pub const fn is_replacing(&self) -> bool {
        self.replacing.is_some()
    }

    /// What the last steps of taking over a dump mean to others.
    pub fn take_news(&mut self) -> Changes {
        self.replacing_news.take().unwrap_or_default()
    }

    /// A notification while a dump is being taken over.
    pub(super) fn note(&mut self, event: &Event) {
        if let Some(replacing) = &mut self.replacing {
            replacing.hear(event);
        }
    }

    /// Takes over up to `steps` entries.
    pub(super) fn replace_on(&mut self, steps: usize) {
        let Some(mut replacing) = self.replacing.take() else { return };
        for _ in 0..steps {
            if !replacing.step(self) {
                self.replacing_news.get_or_insert_default().merge(replacing.changes);
                return;
            }
        }
        self.replacing_news.get_or_insert_default().merge(std::mem::take(&mut replacing.changes));
        self.replacing = Some(replacing);
    }
}

impl Replacing {
    /// In the order of what happened.
    fn hear(&mut self, event: &Event) {
        if self.unseen.is_empty() {
            self.note(event);
        } else {
            self.unseen.push_back(event.clone());
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Neighbor(NeighborEntry { index, address, .. })
            | Event::NeighborRemoved { index, address } => {
                self.touched.insert((*index, *address));
            }
            Event::Route { route, .. } | Event::RouteRemoved(route) => match self.is_compared(route) {
                Some(true) => {}
                Some(false) => {
                    self.doubtful.insert((chain(route.table), route.destination));
                    self.meanwhile.push_back(event.clone());
                }
                None => self.changes.doubt = true,
            },
            _ => {}
        }
    }

    /// Whether the comparison is past a route; of tables apart that is not told while they are being compared.
    fn is_compared(&self, route: &KernelRoute) -> Option<bool> {
        let Table::Other(number) = route.table else {
            let ahead = self.stages.front() == Some(&Stage::Main)
                && self.compared.is_none_or(|compared| compared < route.destination);
            return Some(!ahead);
        };
        if self.stages.front() == Some(&Stage::Main) {
            return Some(false);
        }
        let of_it = |stage: &Stage| matches!(stage, Stage::Apart { apart, .. } if apart.of(&route.destination) == Some(number));
        if self.stages.iter().any(of_it) { None } else { Some(true) }
    }

    /// Whether there is more to do.
    fn step(&mut self, state: &mut KernelState) -> bool {
        if let Some(event) = self.unseen.pop_front() {
            self.note(&event);
            return true;
        }
        if let Some(neighbor) = self.neighbors.next() {
            self.present.insert((neighbor.index, neighbor.address));
            if !self.touched.contains(&(neighbor.index, neighbor.address)) {
                state.neighbor(&neighbor, Told::OnRequest, self.now, &mut self.changes);
            }
            return true;
        }
        if let Some(key) = state.neighbor_after(self.looked_at) {
            self.looked_at = Some(key);
            if !self.present.contains(&key) && !self.touched.contains(&key) {
                state.vanished(key, &mut self.changes);
            }
            return true;
        }
        if let Some(event) = self.meanwhile.pop_front() {
            self.changes.doubt |= self.routes.apply(event) == Trust::Doubt;
            return true;
        }
        let Some(stage) = self.stages.front().copied() else { return false };
        let more = match stage {
            Stage::Main => self.compare_main(&mut state.routes.main, &state.next_hops),
            Stage::Apart { apart, ipv4 } => {
                self.compare_apart(&mut state.routes, apart, ipv4, &state.next_hops)
            }
        };
        if !more {
            self.stages.pop_front();
            self.compared = None;
        }
        !self.stages.is_empty()
    }

    /// Compares one more destination of the main chain; whether there was one.
    fn compare_main(&mut self, known: &mut RouteTable, next_hops: &NextHops) -> bool {
        let (ours, theirs) = (known.after(self.compared), self.routes.main.after(None));
        let Some(destination) = ours.into_iter().chain(theirs).min() else { return false };
        let dumped = if theirs == Some(destination) { self.routes.main.pop_first() } else { None };
        let dumped = dumped.map(|(_, routes)| routes).unwrap_or_default();
        self.compare(known, Table::Main, destination, dumped, next_hops);
        true
    }

    /// The same for one family of a table apart.
    fn compare_apart(&mut self, tables: &mut Tables, apart: Apart, ipv4: bool, next_hops: &NextHops) -> bool {
        // A rule or link may have changed meanwhile; then another dump is due.
        let Some(known) = tables.apart.get_mut(&apart) else { return false };
        let number = if ipv4 { apart.ipv4 } else { apart.ipv6 };
        let dumped = number.and_then(|number| self.routes.apart.get(&number));
        let from = self.compared.or_else(|| (!ipv4).then(last_ipv4));
        let theirs = dumped.and_then(|dumped| dumped.after(from));
        let next = known.after(from).into_iter().chain(theirs).min();
        let Some(destination) = next.filter(|next| next.addr().is_ipv4() == ipv4) else { return false };
        let dumped = dumped.map(|dumped| dumped.to(&destination).to_vec()).unwrap_or_default();
        self.compare(known, number.map_or(Table::Main, Table::Other), destination, dumped, next_hops);
        true
    }

    fn compare(
        &mut self,
        known: &mut RouteTable,
        table: Table,
        destination: IpNet,
        mut dumped: Vec<KernelRoute>,
        next_hops: &NextHops,
    ) {
        // Nexthop objects may have changed, and gone with the routes over them, since the routes were read.
        dumped.retain_mut(|route| next_hops.expand(route));
        if self.doubtful.contains(&(table, destination)) {
            known.expand(destination, next_hops);
            self.changes.doubt |= !same_routes(known.to(&destination), &dumped);
        }
        self.changes.routing |= known.put(destination, dumped);
        self.compared = Some(destination);
    }
}

impl DumpedTables {
    fn apply(&mut self, event: Event) -> Trust {
        let (route, placement) = match event {
            Event::Route { route, placement } => (route, Some(placement)),
            Event::RouteRemoved(route) => (route, None),
            _ => return Trust::Sure,
        };
        let (table, route) = match route.table {
            Table::Other(number) => (self.apart.entry(number).or_default(), in_its_table(route)),
            Table::Local | Table::Main | Table::Default => (&mut self.main, route),
        };
        match placement {
            Some(placement) => table.insert(route, placement),
            None => table.remove(&route),
        }
    }
}

/// The tables of the main chain are compared as one.
const fn chain(table: Table) -> Table {
    match table {
        Table::Local | Table::Main | Table::Default => Table::Main,
        Table::Other(number) => Table::Other(number),
    }
}

/// The last IPv4 destination: those of IPv6 are behind it.
fn last_ipv4() -> IpNet {
    IpNet::from(IpAddr::from([0xff; 4]))
}
