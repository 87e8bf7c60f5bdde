//! What routes lead to: one target for each set of next hops, shared by all routes over it.
//!
//! ```text
//!  link:   interface, its hosts -----+
//!                                    v
//!  hop:    interface, gateway, MTU -> target: adjacency, unresolved, failed, or the link's hosts
//!             ^ member                          ^ slots
//!  several: hops, weights, MTU ------------> target: multipath
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use super::super::fib::{Adjacency, MULTIPATH_SLOTS, Path, Target};
use super::super::hosts::{Hosts, PARTS};
use super::super::routing::{
    Hop, Interface, InterfaceId, MacAddress, NeighborState, PortId, RouteAction, TableId,
};
use crate::hash::mix;

/// The targets without data have fixed places. That of the last one is a route without any hop.
const FIXED: [Path; 7] = [
    Path::NoRoute,
    Path::Local,
    Path::Kernel,
    Path::Unreachable,
    Path::Prohibited,
    Path::Blackhole,
    Path::NoRoute,
];
pub(super) const NO_ROUTE: u32 = 0;
pub(super) const LOCAL: u32 = 1;
const KERNEL: u32 = 2;
const UNREACHABLE: u32 = 3;
const PROHIBITED: u32 = 4;
const BLACKHOLE: u32 = 5;
const NOWHERE: u32 = 6;

/// All targets, links included.
pub(super) struct Targets {
    links: BTreeMap<InterfaceId, Link>,
    targets: Vec<Target>,
    /// What stands behind each target.
    entries: Vec<Entry>,
    known: HashMap<Key, u32>,
    free: Vec<u32>,
    /// The hops through each gateway.
    gateways: HashMap<(InterfaceId, IpAddr), Vec<u32>>,
    /// Links whose hosts are newer than their targets.
    newer: BTreeSet<InterfaceId>,
    /// Hosts that are to be written anew, with the part of them that is next.
    unsettled: VecDeque<(Outdated, u32)>,
    version: Option<Arc<[Target]>>,
}

/// So many hosts are written anew at once: for them it is no use to wait.
const AT_ONCE: usize = 1024;

/// Whose hosts are to be written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outdated {
    /// A link's, whose frames begin otherwise.
    Link(InterfaceId),
    /// A hop's with an MTU of its own.
    Hop(u32),
}

/// One interface and who is on it. Either may become known first.
#[derive(Default)]
struct Link {
    interface: Option<Interface>,
    hosts: Hosts,
    /// The hops over it.
    hops: Vec<u32>,
}

#[derive(Default)]
struct Entry {
    key: Option<Key>,
    /// Routes, or multipath targets.
    users: usize,
    /// Of a hop: the multipath targets it takes part in.
    multipaths: Vec<u32>,
    /// Of a multipath target: its hops and their weights.
    members: Vec<(u32, u16)>,
}

/// What makes two targets the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Hop(HopKey),
    Several(Vec<Hop>, Option<u16>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct HopKey {
    interface: InterfaceId,
    gateway: Option<IpAddr>,
    /// The route's own MTU.
    mtu: Option<u16>,
}

impl Default for Targets {
    fn default() -> Self {
        Self {
            links: BTreeMap::new(),
            targets: FIXED.map(Target::Path).to_vec(),
            entries: FIXED.map(|_| Entry::default()).into(),
            known: HashMap::new(),
            free: Vec::new(),
            gateways: HashMap::new(),
            newer: BTreeSet::new(),
            unsettled: VecDeque::new(),
            version: None,
        }
    }
}

impl Targets {
    /// The targets of now.
    pub(super) fn version(&mut self) -> Arc<[Target]> {
        for id in std::mem::take(&mut self.newer) {
            for hop in self.links.get(&id).map(|link| link.hops.clone()).unwrap_or_default() {
                if self.hop_key(hop).is_some_and(|key| key.gateway.is_none() && key.mtu.is_none()) {
                    self.refresh_hop(hop);
                }
            }
        }
        Arc::clone(self.version.get_or_insert_with(|| self.targets.as_slice().into()))
    }

    /// Whether [`Self::settle`] has something to do.
    pub(super) fn is_unsettled(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// Writes one part of the hosts of a link or a hop anew; how many they were.
    pub(super) fn settle(&mut self) -> usize {
        let Some((outdated, part)) = self.unsettled.front_mut() else { return 0 };
        let (outdated, now) = (*outdated, *part);
        *part += 1;
        if *part == PARTS {
            self.unsettled.pop_front();
        }
        match outdated {
            Outdated::Link(id) => self.settle_link(id, now),
            Outdated::Hop(hop) => self.settle_hop(hop, now),
        }
    }

    fn settle_link(&mut self, id: InterfaceId, part: u32) -> usize {
        let Some(Link { interface: Some(interface), hosts, .. }) = self.links.get_mut(&id) else { return 0 };
        let before = hosts.clone();
        self.newer.insert(id);
        hosts.map_part(part, &before, &|path| rewritten(path, interface, interface.mtu))
    }

    fn settle_hop(&mut self, hop: u32, part: u32) -> usize {
        let Some(HopKey { interface, mtu: narrow, .. }) = self.hop_key(hop) else { return 0 };
        let Some(Link { interface: Some(egress), hosts: all, .. }) = self.links.get(&interface) else {
            return 0;
        };
        let mtu = narrow.map_or(egress.mtu, |mtu| mtu.min(egress.mtu));
        let Target::OnLink { hosts, .. } = &mut self.targets[hop as usize] else { return 0 };
        self.version = None;
        hosts.map_part(part, all, &|path| rewritten(path, egress, mtu))
    }

    /// Has hosts written anew: here and now where they are few.
    fn unsettle(&mut self, outdated: Outdated, hosts: usize) {
        self.unsettled.retain(|(known, _)| *known != outdated);
        if hosts > AT_ONCE {
            self.unsettled.push_back((outdated, 0));
            return;
        }
        for part in 0..PARTS {
            match outdated {
                Outdated::Link(id) => self.settle_link(id, part),
                Outdated::Hop(hop) => self.settle_hop(hop, part),
            };
        }
    }

    /// The interfaces, sorted by identity.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.links.values().filter_map(|link| link.interface.as_ref())
    }

    /// How many routes or other targets lead to.
    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        self.known.len()
    }

    /// The target of a route, for one more user.
    pub(super) fn acquire(&mut self, action: &RouteAction, mtu: Option<u16>) -> u32 {
        match action {
            RouteAction::Local => LOCAL,
            RouteAction::Kernel => KERNEL,
            RouteAction::Unreachable => UNREACHABLE,
            RouteAction::Prohibit => PROHIBITED,
            RouteAction::Blackhole => BLACKHOLE,
            RouteAction::Via(hops) => match hops.as_slice() {
                [] => NOWHERE,
                [hop] => self.hop(HopKey { interface: hop.interface, gateway: hop.gateway, mtu }),
                several => self.several(several, mtu),
            },
        }
    }

    /// One user less. The last one takes the target along.
    pub(super) fn release(&mut self, id: u32) {
        let entry = &mut self.entries[id as usize];
        if entry.key.is_none() {
            return;
        }
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        let Entry { key: Some(key), members, .. } = std::mem::take(entry) else { return };
        self.unsettled.retain(|(known, _)| *known != Outdated::Hop(id));
        self.known.remove(&key);
        self.put(id, Target::Path(Path::NoRoute));
        self.free.push(id);
        if let Key::Hop(HopKey { interface, gateway, .. }) = key {
            let link = self.links.entry(interface).or_default();
            link.hops.retain(|hop| *hop != id);
            self.forget_if_unused(interface);
            if let Some(gateway) = gateway
                && let Some(hops) = self.gateways.get_mut(&(interface, gateway))
            {
                hops.retain(|hop| *hop != id);
                if hops.is_empty() {
                    self.gateways.remove(&(interface, gateway));
                }
            }
        }
        for (member, _) in members {
            let multipaths = &mut self.entries[member as usize].multipaths;
            if let Some(at) = multipaths.iter().position(|multipath| *multipath == id) {
                multipaths.swap_remove(at);
            }
            self.release(member);
        }
    }

    /// An interface appeared, changed, or is gone with all its neighbours.
    pub(super) fn interface(&mut self, id: InterfaceId, interface: Option<Interface>) {
        let link = self.links.entry(id).or_default();
        let (old, new) = (link.interface.as_ref(), interface.as_ref());
        let outdated = new.is_some_and(|new| old.is_none_or(|old| !same_frames(old, new)));
        if interface.is_none() {
            link.hosts = Hosts::default();
            self.unsettled.retain(|(known, _)| *known != Outdated::Link(id));
        }
        link.interface = interface;
        let (hops, hosts) = (link.hops.clone(), link.hosts.len());
        if outdated {
            self.unsettle(Outdated::Link(id), hosts);
        }
        self.forget_if_unused(id);
        self.refresh(&hops);
    }

    /// A neighbour is resolved, has failed, or is unknown.
    pub(super) fn neighbor(&mut self, id: InterfaceId, address: IpAddr, state: Option<NeighborState>) {
        let link = self.links.entry(id).or_default();
        let path = state.map(|state| link.path(state, None));
        if link.hosts.get(address) == path.as_ref() {
            self.forget_if_unused(id);
            return;
        }
        match path {
            Some(path) => link.hosts.insert(address, path),
            None => drop(link.hosts.remove(address)),
        }
        self.newer.insert(id);
        let narrow = |hop: &u32| self.hop_key(*hop).filter(|key| key.gateway.is_none() && key.mtu.is_some());
        let link = &self.links[&id];
        let narrow: Vec<_> = link.hops.iter().filter_map(|hop| Some((*hop, narrow(hop)?.mtu))).collect();
        for (hop, mtu) in narrow {
            let path = state.map(|state| self.links[&id].path(state, mtu));
            self.version = None;
            if let Target::OnLink { hosts, .. } = &mut self.targets[hop as usize] {
                match path {
                    Some(path) => hosts.insert(address, path),
                    None => drop(hosts.remove(address)),
                }
            }
        }
        self.forget_if_unused(id);
        if let Some(hops) = self.gateways.get(&(id, address)).cloned() {
            self.refresh(&hops);
        }
    }

    fn forget_if_unused(&mut self, id: InterfaceId) {
        let unused = |link: &Link| link.interface.is_none() && link.hops.is_empty() && link.hosts.is_empty();
        if self.links.get(&id).is_some_and(unused) {
            self.links.remove(&id);
        }
    }

    fn hop_key(&self, id: u32) -> Option<HopKey> {
        match self.entries[id as usize].key {
            Some(Key::Hop(key)) => Some(key),
            _ => None,
        }
    }

    fn hop(&mut self, key: HopKey) -> u32 {
        let id = match self.known.get(&Key::Hop(key)) {
            Some(id) => *id,
            None => {
                let id = self.place(Key::Hop(key));
                self.links.entry(key.interface).or_default().hops.push(id);
                if let Some(gateway) = key.gateway {
                    self.gateways.entry((key.interface, gateway)).or_default().push(id);
                }
                self.refresh_hop(id);
                id
            }
        };
        self.entries[id as usize].users += 1;
        id
    }

    fn several(&mut self, hops: &[Hop], mtu: Option<u16>) -> u32 {
        let key = Key::Several(hops.to_vec(), mtu);
        let id = match self.known.get(&key) {
            Some(id) => *id,
            None => {
                let id = self.place(key);
                let mut members = Vec::with_capacity(hops.len());
                for Hop { interface, gateway, weight } in hops {
                    let member = self.hop(HopKey { interface: *interface, gateway: *gateway, mtu });
                    self.entries[member as usize].multipaths.push(id);
                    members.push((member, (*weight).max(1)));
                }
                self.entries[id as usize].members = members;
                self.refresh_several(id);
                id
            }
        };
        self.entries[id as usize].users += 1;
        id
    }

    /// A free number for a new target.
    fn place(&mut self, key: Key) -> u32 {
        let id = self.free.pop().unwrap_or_else(|| {
            self.targets.push(Target::Path(Path::NoRoute));
            self.entries.push(Entry::default());
            u32::try_from(self.targets.len() - 1).expect("fewer than 2^31 targets")
        });
        self.entries[id as usize].key = Some(key.clone());
        self.known.insert(key, id);
        id
    }

    fn put(&mut self, id: u32, target: Target) {
        self.targets[id as usize] = target;
        self.version = None;
    }

    /// Looks at hops again, and then at the multipath targets they take part in.
    fn refresh(&mut self, hops: &[u32]) {
        let mut multipaths = BTreeSet::new();
        for hop in hops {
            self.refresh_hop(*hop);
            multipaths.extend(&self.entries[*hop as usize].multipaths);
        }
        multipaths.into_iter().for_each(|multipath| self.refresh_several(multipath));
    }

    fn refresh_hop(&mut self, id: u32) {
        let Some(HopKey { interface, gateway, mtu: narrow }) = self.hop_key(id) else { return };
        let link = &self.links[&interface];
        let Some(egress) = link.interface.as_ref().filter(|egress| egress.up) else {
            self.put(id, Target::Path(Path::NoRoute));
            return;
        };
        let mtu = narrow.map_or(egress.mtu, |mtu| mtu.min(egress.mtu));
        let unknown = Path::Unresolved { interface, gateway, mtu };
        let target = match gateway {
            // The hosts may not have been written anew yet.
            Some(gateway) => {
                Target::Path(link.hosts.get(gateway).map_or(unknown, |path| rewritten(path, egress, mtu)))
            }
            None => Target::OnLink { hosts: link.hosts.clone(), unknown },
        };
        let hosts = link.hosts.len();
        self.put(id, target);
        if gateway.is_none() && narrow.is_some() {
            self.unsettle(Outdated::Hop(id), hosts);
        }
    }

    fn refresh_several(&mut self, id: u32) {
        let health = |member: &(u32, u16)| Health::of(&self.targets[member.0 as usize]);
        let members = &self.entries[id as usize].members;
        let best = members.iter().map(health).max().unwrap_or(Health::Down);
        let target = match best {
            Health::Down => Target::Path(Path::NoRoute),
            Health::Failed => Target::Path(Path::Failed),
            Health::Unresolved | Health::Alive => {
                let usable: Vec<bool> = members.iter().map(|member| health(member) == best).collect();
                Target::Multipath(Arc::new(slots(members, &usable)))
            }
        };
        self.put(id, target);
    }
}

/// The path to a host, with the link-layer header of now.
fn rewritten(path: &Path, egress: &Interface, mtu: u16) -> Path {
    match path {
        Path::Adjacent(adjacency) => Path::Adjacent(Adjacency::new(egress, adjacency.neighbor(), mtu)),
        other => *other,
    }
}

impl Link {
    /// The path to a neighbour. Without an interface nobody uses it yet.
    fn path(&self, state: NeighborState, narrow: Option<u16>) -> Path {
        match state {
            NeighborState::Failed => Path::Failed,
            NeighborState::Resolved(mac) => {
                let unknown = unknown_interface();
                let egress = self.interface.as_ref().unwrap_or(&unknown);
                let mtu = narrow.map_or(egress.mtu, |mtu| mtu.min(egress.mtu));
                Path::Adjacent(Adjacency::new(egress, mac, mtu))
            }
        }
    }
}

/// In place of one that has not been told of.
const fn unknown_interface() -> Interface {
    Interface {
        id: InterfaceId(0),
        port: PortId(0),
        vlan: None,
        table: TableId::MAIN,
        mac: MacAddress([0; 6]),
        extra_macs: Vec::new(),
        mtu: 0,
        up: false,
        ipv4_source: None,
        ipv6_source: None,
    }
}

/// Whether frames that leave by them look the same.
fn same_frames(one: &Interface, two: &Interface) -> bool {
    let frames = |interface: &Interface| (interface.port, interface.vlan, interface.mac, interface.mtu);
    frames(one) == frames(two)
}

/// What a member of a multipath target is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    Down,
    Failed,
    Unresolved,
    Alive,
}

impl Health {
    const fn of(target: &Target) -> Self {
        match target {
            Target::OnLink { .. } | Target::Path(Path::Adjacent(_)) => Self::Alive,
            Target::Path(Path::Unresolved { .. }) => Self::Unresolved,
            Target::Path(Path::Failed) => Self::Failed,
            _ => Self::Down,
        }
    }
}

/// Every member has a run of slots by its weight. Slots of members that cannot be used go to the others, each slot to
/// the one that wins the draw for it: so a slot moves only when the member it is with goes, and comes back with its own.
fn slots(members: &[(u32, u16)], usable: &[bool]) -> [u32; MULTIPATH_SLOTS] {
    let total: usize = members.iter().map(|(_, weight)| usize::from(*weight)).sum();
    let mut slots = [0; MULTIPATH_SLOTS];
    let (mut filled, mut share) = (0, 0);
    for (at, (member, weight)) in members.iter().enumerate() {
        share += usize::from(*weight);
        let end = (share * MULTIPATH_SLOTS).div_ceil(total).min(MULTIPATH_SLOTS);
        for (slot, place) in slots.iter_mut().enumerate().take(end).skip(filled) {
            *place = if usable[at] { *member } else { substitute(slot, members, usable) };
        }
        filled = end;
    }
    slots
}

/// The usable member with the best draw; each has as many as its weight, of 16 for the heaviest.
fn substitute(slot: usize, members: &[(u32, u16)], usable: &[bool]) -> u32 {
    let heaviest = members.iter().map(|(_, weight)| u64::from(*weight)).max().unwrap_or(1);
    let candidates = (0_u64..).zip(members).zip(usable).filter(|(_, usable)| **usable);
    let draws = candidates.flat_map(|((number, (member, weight)), _)| {
        let draws = (u64::from(*weight) * 16).div_ceil(heaviest);
        (0..draws).map(move |draw| (mix((slot as u64) << 40 | number << 8 | draw), *member))
    });
    draws.max().map_or(NO_ROUTE, |(_, member)| member)
}
