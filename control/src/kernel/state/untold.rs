//! What the dataplane has not been told of yet, handed over a few changes at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Bound;

use dataplane::table::routing::{Change, Interface, InterfaceId};

use super::KernelState;
use crate::kernel::interfaces::Exit;

/// Notes of what changed, and of what the dataplane knows.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// Something about links or addresses.
    interfaces: bool,
    neighbors: BTreeSet<(u32, IpAddr)>,
    /// Interfaces whose neighbours were known before, with the last of them that was told.
    revealed: VecDeque<(u32, Option<IpAddr>)>,
    /// Interfaces that are gone, whose neighbours are to be forgotten.
    gone: VecDeque<u32>,
    told: BTreeMap<InterfaceId, (u32, Interface)>,
    told_sources: (Option<Ipv4Addr>, Option<Ipv6Addr>),
    /// Every interface as routes see it, as of the last change of one.
    exits: HashMap<u32, Exit>,
}

impl Untold {
    pub(super) fn neighbor(&mut self, index: u32, address: IpAddr) {
        self.neighbors.insert((index, address));
    }

    /// An interface is gone, and its neighbours with it.
    pub(super) fn forget_all(&mut self, index: u32) {
        self.gone.push_back(index);
    }

    /// Whether neighbours of an interface are being forgotten.
    pub(super) fn is_forgetting(&self, index: u32) -> bool {
        self.gone.contains(&index)
    }

    /// All are.
    pub(super) fn forgotten(&mut self, index: u32) {
        self.gone.retain(|gone| *gone != index);
    }

    pub(super) const fn interfaces(&mut self) {
        self.interfaces = true;
    }
}

impl KernelState {
    /// Whether [`Self::take_changes`] has something to do.
    #[must_use]
    pub fn is_untold(&self) -> bool {
        self.untold.interfaces
            || !self.untold.neighbors.is_empty()
            || !self.untold.revealed.is_empty()
            || !self.untold.gone.is_empty()
            || !self.rewrite.is_empty()
            || self.routes.is_untold()
            || self.replacing.is_some()
    }

    /// Takes up to about `steps` steps towards the dataplane knowing what the kernel said, each worth a change or a look at
    /// a neighbour or destination: a few microseconds.
    #[must_use]
    pub fn take_changes(&mut self, steps: usize) -> Vec<Change> {
        let mut changes = Vec::new();
        self.tell_interfaces(&mut changes);
        let mut left = steps;
        while left > 0
            && let Some((index, address)) = self.next_neighbor()
        {
            changes.extend(self.neighbor_change(index, address));
            left -= 1;
        }
        // The routes themselves first: they may be waited for.
        left -= self.rewrite_on(left.div_ceil(2));
        let told = changes.len();
        self.routes.tell(&self.untold.exits, left, &mut changes);
        left = left.saturating_sub(changes.len() - told);
        while left > 0
            && let Some(index) = self.untold.gone.front().copied()
        {
            self.forget_on(index);
            left -= 1;
        }
        self.replace_on(left);
        changes
    }

    /// The next neighbour the dataplane has to be told of.
    fn next_neighbor(&mut self) -> Option<(u32, IpAddr)> {
        if let Some(changed) = self.untold.neighbors.pop_first() {
            return Some(changed);
        }
        while let Some((index, last)) = self.untold.revealed.front_mut() {
            let (first, end) = super::on(*index).into_inner();
            let from = last.map_or(Bound::Included(first), |last| Bound::Excluded((*index, last)));
            if let Some((key, _)) = self.neighbors.range((from, Bound::Included(end))).next() {
                *last = Some(key.1);
                return Some(*key);
            }
            self.untold.revealed.pop_front();
        }
        None
    }

    fn tell_interfaces(&mut self, changes: &mut Vec<Change>) {
        if !std::mem::take(&mut self.untold.interfaces) {
            return;
        }
        let ours: Vec<(u32, Interface)> = self
            .interfaces
            .ours()
            .into_iter()
            .filter_map(|index| Some((index, self.interface_at(index)?)))
            .collect();
        let before = std::mem::take(&mut self.untold.told);
        for (id, (index, _)) in &before {
            if !ours.iter().any(|(now, interface)| interface.id == *id && now == index) {
                changes.push(Change::InterfaceRemoved(*id));
            }
        }
        for (index, interface) in ours {
            let told = before.get(&interface.id).filter(|(before, _)| *before == index);
            if told.is_none() {
                // They may have been known before their interface.
                self.untold.revealed.push_back((index, None));
            }
            if told.is_none_or(|(_, told)| *told != interface) {
                changes.push(Change::Interface(interface.clone()));
            }
            self.untold.told.insert(interface.id, (index, interface));
        }
        self.tell_sources(changes);
        let exits = self.interfaces.exits();
        let before = std::mem::replace(&mut self.untold.exits, exits);
        let exits = &self.untold.exits;
        let gone = before.keys().filter(|index| !exits.contains_key(index));
        let different =
            exits.iter().filter(|(index, exit)| before.get(index) != Some(exit)).map(|(index, _)| index);
        different.chain(gone).for_each(|index| self.routes.interface_changed(*index));
    }

    fn tell_sources(&mut self, changes: &mut Vec<Change>) {
        let first_ipv4 = self.untold.told.values().find_map(|(_, interface)| interface.ipv4_source);
        let first_ipv6 = self.untold.told.values().find_map(|(_, interface)| interface.ipv6_source);
        let loopback = self.interfaces.loopback();
        let ipv4 = loopback.and_then(|lo| self.ipv4_source(lo)).or(first_ipv4);
        let ipv6 = loopback.and_then(|lo| self.ipv6_source(lo)).or(first_ipv6);
        if (ipv4, ipv6) != self.untold.told_sources {
            self.untold.told_sources = (ipv4, ipv6);
            changes.push(Change::Sources { ipv4, ipv6 });
        }
    }

    fn neighbor_change(&self, index: u32, address: IpAddr) -> Option<Change> {
        let interface = self.interfaces.id(index).filter(|id| self.untold.told.contains_key(id))?;
        let known = self.neighbors.get(&(index, address)).copied();
        let visible = known.and_then(|known| self.visible((index, address), known));
        Some(visible.map_or(Change::NeighborRemoved { interface, address }, Change::Neighbor))
    }
}
