//! What the dataplane has not been told of yet, handed over a few changes at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::table::routing::{Change, Interface, InterfaceId};

use super::KernelState;
use crate::kernel::interfaces::Exit;

/// Notes of what changed, and of what the dataplane knows.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// Something about links or addresses.
    interfaces: bool,
    neighbors: BTreeSet<(u32, IpAddr)>,
    told: BTreeMap<InterfaceId, (u32, Interface)>,
    told_sources: (Option<Ipv4Addr>, Option<Ipv6Addr>),
    /// Every interface as routes see it, as of the last change of one.
    exits: HashMap<u32, Exit>,
}

impl Untold {
    pub(super) fn neighbor(&mut self, index: u32, address: IpAddr) {
        self.neighbors.insert((index, address));
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
        for _ in 0..steps {
            let Some((index, address)) = self.untold.neighbors.pop_first() else { break };
            changes.extend(self.neighbor_change(index, address));
        }
        // The routes themselves first: they may be waited for.
        let rewritten = self.rewrite_on(steps.saturating_sub(changes.len()).div_ceil(2));
        let left = steps.saturating_sub(changes.len() + rewritten);
        self.routes.tell(&self.untold.exits, left, &mut changes);
        if changes.len() < steps {
            self.replace_on(steps - changes.len());
        }
        changes
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
                let on_it = self.neighbors.range(super::on(index)).map(|(key, _)| *key);
                self.untold.neighbors.extend(on_it);
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
