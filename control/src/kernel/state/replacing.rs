//! A finished dump takes the place of what is known, a few entries at a time, while notifications go on being applied.
//!
//! Links, addresses and nexthop objects are few and replaced at once. Neighbours: what was notified since the dump began is newer than it
//! or the same, and stays; the rest becomes what the dump says. Routes: the notifications since then are applied to the
//! dumped table as well, in which they find their place; then the two tables are compared, destination by
//! destination. Followed by notifications alone and by dump and notifications: both ways must end the same, or
//! the dump is repeated.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::{Changes, KernelState, Told};
use crate::kernel::event::{Dump, Event, NeighborEntry};
use crate::kernel::next_hops::NextHops;
use crate::kernel::routes::{RouteTable, Trust, same_routes};

/// The dump, as far as it has not been taken over.
#[derive(Debug)]
pub(super) struct Replacing {
    neighbors: std::vec::IntoIter<NeighborEntry>,
    /// Neighbours of the dump, and those that were notified since it began.
    present: HashSet<(u32, IpAddr)>,
    touched: HashSet<(u32, IpAddr)>,
    /// The last neighbour that was looked for in the dump.
    looked_at: Option<(u32, IpAddr)>,
    /// Route events since the dump began that the dumped table lacks.
    meanwhile: VecDeque<Event>,
    routes: RouteTable,
    /// Destinations of those events.
    doubtful: HashSet<IpNet>,
    /// The last destination that was compared.
    compared: Option<IpNet>,
    compared_all: bool,
    now: Instant,
    /// What the steps since the last look had to say.
    changes: Changes,
}

impl KernelState {
    /// Takes in a finished dump, its routes as a table that was filled while it was read, and what was notified meanwhile.
    /// [`Self::take_changes`] does the work.
    pub(in crate::kernel) fn catch_up(
        &mut self,
        mut dump: Dump,
        routes: RouteTable,
        meanwhile: Vec<Event>,
        now: Instant,
        changes: &mut Changes,
    ) {
        while self.replacing.is_some() {
            self.replace_on(1);
        }
        changes.routing |= self.interfaces.replace(std::mem::take(&mut dump.links));
        changes.routing |= self.replace_addresses(std::mem::take(&mut dump.addresses));
        self.untold.interfaces();
        self.next_hops = NextHops::default();
        self.rewrite.clear();
        for object in std::mem::take(&mut dump.next_hops) {
            self.next_hops.put(object);
        }
        let mut replacing = Replacing {
            present: HashSet::new(),
            neighbors: dump.neighbors.into_iter(),
            touched: HashSet::new(),
            looked_at: None,
            meanwhile: VecDeque::new(),
            routes,
            doubtful: HashSet::new(),
            compared: None,
            compared_all: false,
            now,
            changes: Changes::default(),
        };
        for event in meanwhile {
            if matches!(
                event,
                Event::Link(_)
                    | Event::LinkRemoved { .. }
                    | Event::Address(_)
                    | Event::AddressRemoved(_)
                    | Event::NextHop(_)
                    | Event::NextHopRemoved { .. }
            ) {
                self.apply(event.clone(), now, changes);
            }
            replacing.note(&event);
        }
        self.replacing = Some(replacing);
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
            replacing.note(event);
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
    fn note(&mut self, event: &Event) {
        match event {
            Event::Neighbor(NeighborEntry { index, address, .. })
            | Event::NeighborRemoved { index, address } => {
                self.touched.insert((*index, *address));
            }
            Event::Route { route, .. } | Event::RouteRemoved(route) => {
                let destination = route.destination;
                if self.compared.is_none_or(|compared| compared < destination) && !self.compared_all {
                    self.doubtful.insert(destination);
                    self.meanwhile.push_back(event.clone());
                }
            }
            _ => {}
        }
    }

    /// Whether there is more to do.
    fn step(&mut self, state: &mut KernelState) -> bool {
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
        match self.meanwhile.pop_front() {
            Some(Event::Route { route, placement }) => {
                self.changes.doubt |= self.routes.insert(route, placement) == Trust::Doubt;
                true
            }
            Some(Event::RouteRemoved(route)) => {
                self.changes.doubt |= self.routes.remove(&route) == Trust::Doubt;
                true
            }
            _ => self.compare(&mut state.routes, &state.next_hops),
        }
    }

    /// Compares one more destination.
    fn compare(&mut self, known: &mut RouteTable, next_hops: &NextHops) -> bool {
        let (ours, theirs) = (known.after(self.compared), self.routes.after(None));
        let Some(destination) = ours.into_iter().chain(theirs).min() else {
            self.compared_all = true;
            return false;
        };
        let dumped = if theirs == Some(destination) { self.routes.pop_first() } else { None };
        let mut dumped = dumped.map(|(_, routes)| routes).unwrap_or_default();
        // Nexthop objects may have changed, and gone with the routes over them, since the routes were read.
        dumped.retain_mut(|route| next_hops.expand(route));
        if self.doubtful.contains(&destination) {
            known.expand(destination, next_hops);
            self.changes.doubt |= !same_routes(known.to(&destination), &dumped);
        }
        self.changes.routing |= known.put(destination, dumped);
        self.compared = Some(destination);
        true
    }
}
