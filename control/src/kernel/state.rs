//! The kernel's state as the relay sees it: events go in, changes of the routing come out.
//!
//! Taking in an event is quick, whatever it is; what it means to the dataplane is worked out by
//! [`KernelState::take_changes`], as many steps at a time as the caller has time for.
//!
//! No netlink, no clock, no I/O: the same events at the same times give the same result.

mod replacing;
mod untold;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Bound, RangeInclusive};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv6Net};

use dataplane::table::routing::{Interface, InterfaceId, MacAddress, Neighbor, NeighborState, PortId};

pub(super) use self::replacing::Meanwhile;
use self::replacing::Replacing;
use self::untold::Untold;
use super::event::{Address, Event, Link, NeighborEntry, Reachability, Rule};
use super::interfaces::{Interfaces, LinkChange, TwinSettings};
use super::next_hops::NextHops;
use super::routes::Trust;
use super::rules::{self, Meaning};
use super::tables::{DumpedTables, Tables};

/// The kernel sends its questions for a neighbour a second apart: a verdict that comes sooner is none.
const LEAST_TRY: Duration = Duration::from_millis(900);
/// How long a silent neighbour that is no route's gateway counts as failed. Afterwards it is unknown again, and the next
/// packet for it has it resolved anew. Gateways stay failed until they answer: they are probed in the background, so that
/// multipath routes do not try dead ones with live traffic.
pub const FAILED_HOLD: Duration = Duration::from_secs(1);
/// Silent neighbours kept in mind. The oldest are unknown again before their time.
pub const FAILED_MAX: usize = 2048;

/// What a caller has to do after [`KernelState::apply`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// [`KernelState::take_changes`] may give something.
    pub routing: bool,
    /// The state may not be the kernel's any more: dump it again.
    pub doubt: bool,
    /// Neighbours on our interfaces that were heard of, in order.
    pub neighbors: Vec<NeighborChange>,
}

/// News of one neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborChange {
    /// The ifindex it is on.
    pub index: u32,
    /// The same as the dataplane knows it.
    pub interface: InterfaceId,
    /// Its address.
    pub address: IpAddr,
    /// What is known of it now.
    pub news: News,
}

/// What is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Its link-layer address is known. `stale`: and nobody will confirm it unless asked.
    Resolved {
        /// The link-layer address.
        mac: MacAddress,
        /// NUD_STALE.
        stale: bool,
    },
    /// It does not answer. `gateway`: and routes go through it.
    Failed {
        /// Whether it is to be probed again.
        gateway: bool,
        /// Whether it answered until now. It may have a new link-layer address and not have said so: the kernel asks
        /// everybody with the next packet, and so does the relay.
        lost: bool,
    },
    /// The kernel has no entry for it any more.
    Gone,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    state: State,
    since: Instant,
    /// Whether the kernel has an entry, too.
    in_kernel: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Resolved(MacAddress),
    Failed,
    /// Failed, but its time is up: unknown to the dataplane, and a dump that still says failed is no news.
    Forgotten,
}

/// How an event reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It just happened.
    Now,
    /// It was so when we asked.
    OnRequest,
}

/// The kernel's state.
#[derive(Debug)]
pub struct KernelState {
    interfaces: Interfaces,
    /// By interface, in the order they became known.
    addresses: BTreeMap<u32, Vec<Address>>,
    neighbors: BTreeMap<(u32, IpAddr), Known>,
    /// Failed neighbours in the order of their failing, [`FAILED_MAX`] at most.
    failed: VecDeque<(Instant, u32, IpAddr)>,
    /// Neighbours that were known until a moment ago. Whoever empties the kernel's table (`ip neigh flush`) takes what is
    /// asked for meanwhile out again, which looks as if it had failed: but the kernel has not had the time to try.
    lost: HashMap<(u32, IpAddr), Instant>,
    routes: Tables,
    rules: BTreeSet<Rule>,
    /// What rules and VRFs mean to our interfaces.
    meaning: Meaning,
    next_hops: NextHops,
    /// Nexthop objects whose routes are to be written anew, with the destination that was written last.
    rewrite: VecDeque<(u32, Option<IpNet>)>,
    untold: Untold,
    /// A dump that is being taken over.
    replacing: Option<Replacing>,
    replacing_news: Option<Changes>,
}

impl Changes {
    /// Adds others, later ones.
    pub fn merge(&mut self, later: Self) {
        self.routing |= later.routing;
        self.doubt |= later.doubt;
        self.neighbors.extend(later.neighbors);
    }
}

/// All neighbours on an interface.
fn on(index: u32) -> RangeInclusive<(u32, IpAddr)> {
    (index, IpAddr::V4(Ipv4Addr::UNSPECIFIED))..=(index, IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)))
}

impl KernelState {
    /// Nothing but the twins.
    #[must_use]
    pub fn new(twins: Vec<TwinSettings>) -> Self {
        Self {
            interfaces: Interfaces::new(twins),
            addresses: BTreeMap::new(),
            neighbors: BTreeMap::new(),
            failed: VecDeque::new(),
            lost: HashMap::new(),
            routes: Tables::default(),
            rules: BTreeSet::new(),
            meaning: Meaning::default(),
            next_hops: NextHops::default(),
            rewrite: VecDeque::new(),
            untold: Untold::default(),
            replacing: None,
            replacing_news: None,
        }
    }

    /// Takes in what the kernel said.
    pub fn apply(&mut self, event: Event, now: Instant, changes: &mut Changes) {
        self.note(&event);
        match event {
            Event::Link(link) => {
                let index = link.index;
                if self.untold.is_forgetting(index) {
                    // Another one of the same number: what is left of the old one is none of its business.
                    while self.forget_on(index) {}
                }
                let change = self.interfaces.apply(link);
                self.link_changed(index, change, changes);
            }
            Event::LinkRemoved { index } => {
                self.addresses.remove(&index);
                self.untold.forget_all(index);
                let change = self.interfaces.remove(index);
                self.link_changed(index, change, changes);
            }
            Event::Address(address) => self.address(address, changes),
            Event::AddressRemoved(address) => self.address_removed(&address, changes),
            Event::Neighbor(neighbor) => self.neighbor(&neighbor, Told::Now, now, changes),
            Event::NeighborRemoved { index, address } => {
                self.tell(index, address, News::Gone, changes);
                match self.neighbors.get_mut(&(index, address)) {
                    // The relay itself has failed ones removed from the kernel's table: they stay so for their time.
                    Some(known) if known.state == State::Failed => known.in_kernel = false,
                    Some(known) => {
                        changes.routing |= known.state != State::Forgotten;
                        self.forget((index, address));
                    }
                    None => {}
                }
            }
            Event::Route { mut route, placement } => {
                self.next_hops.expand(&mut route);
                changes.routing = true;
                changes.doubt |= self.routes.insert(route, placement) == Trust::Doubt;
            }
            Event::RouteRemoved(route) => {
                changes.routing = true;
                changes.doubt |= self.routes.remove(&route) == Trust::Doubt;
            }
            Event::NextHop(object) => {
                let changed = self.next_hops.put(object);
                self.rewrite(changed, changes);
            }
            Event::NextHopRemoved { id } => {
                let changed = self.next_hops.remove(id);
                self.rewrite(changed, changes);
            }
            Event::Rule(rule) => {
                self.rules.insert(rule);
                self.rules_changed(changes);
            }
            Event::RuleRemoved(rule) => {
                // Another one may look the same.
                changes.doubt |= self.rules.remove(&rule);
                self.rules_changed(changes);
            }
            Event::Dump(mut dump) => {
                let routes: DumpedTables = std::mem::take(&mut dump.routes).into_iter().collect();
                self.catch_up(*dump, routes, Meanwhile::default(), now, changes);
            }
        }
    }

    /// Lets time pass: neighbours that failed long ago become unknown.
    pub fn tick(&mut self, now: Instant, changes: &mut Changes) {
        self.lost.retain(|_, since| now.saturating_duration_since(*since) < LEAST_TRY);
        while let Some((since, index, address)) = self.failed.front().copied() {
            if now.saturating_duration_since(since) < FAILED_HOLD && self.failed.len() <= FAILED_MAX {
                break;
            }
            self.failed.pop_front();
            let latest = |known: &Known| known.state == State::Failed && known.since == since;
            if !self.neighbors.get(&(index, address)).is_some_and(latest) {
                continue;
            }
            if self.routes.is_gateway(index, address) {
                self.fail(index, address, now);
                self.tell(index, address, News::Failed { gateway: true, lost: false }, changes);
            } else {
                let key = (index, address);
                if self.neighbors.get(&key).is_some_and(|known| known.in_kernel) {
                    let forgotten = Known { state: State::Forgotten, since, in_kernel: true };
                    self.neighbors.insert(key, forgotten);
                } else {
                    self.neighbors.remove(&key);
                }
                self.untold.neighbor(index, address);
                changes.routing = true;
            }
        }
    }

    /// The routes to one destination, best first.
    #[cfg(test)]
    pub(super) fn routes_to(&self, destination: &IpNet) -> &[super::event::KernelRoute] {
        self.routes.main.to(destination)
    }

    /// Gateways of routes that the kernel knows nothing of, by ifindex. Where a route has several, no packet asks for them.
    pub fn unresolved_gateways(&self) -> impl Iterator<Item = (u32, IpAddr)> {
        self.routes
            .gateways()
            .filter(|key| !self.neighbors.contains_key(key) && self.interfaces.usable(key.0))
    }

    /// An interface of ours, as long as it exists.
    #[must_use]
    pub fn interface(&self, id: InterfaceId) -> Option<Interface> {
        self.interface_at(self.interfaces.index(id)?)
    }

    /// Its ifindex.
    #[must_use]
    pub fn index(&self, id: InterfaceId) -> Option<u32> {
        self.interfaces.index(id)
    }

    /// The link-layer address of a neighbour, if it is known.
    #[must_use]
    pub fn resolved(&self, interface: InterfaceId, address: IpAddr) -> Option<MacAddress> {
        let index = self.interfaces.index(interface)?;
        match self.neighbors.get(&(index, address))?.state {
            State::Resolved(mac) => Some(mac),
            State::Failed | State::Forgotten => None,
        }
    }

    /// The relay has given a twin carrier, or taken it away: it knows before the kernel tells.
    pub fn carrier_set(&mut self, port: PortId, carrier: bool, changes: &mut Changes) {
        let change = self.interfaces.set_carrier(port, carrier);
        if let Some(index) = self.interfaces.twin_index(port) {
            self.link_changed(index, change, changes);
        }
    }

    /// The Ethernet addresses each port is to receive.
    #[must_use]
    pub fn port_macs(&self) -> Vec<(PortId, Vec<MacAddress>)> {
        self.interfaces.port_macs()
    }

    /// Another number whenever links may have changed.
    #[must_use]
    pub fn links_version(&self) -> u64 {
        self.interfaces.version()
    }

    /// Every link by its ifindex.
    #[must_use]
    pub fn links(&self) -> &BTreeMap<u32, Link> {
        self.interfaces.links()
    }

    /// Whether any route goes through this neighbour.
    #[must_use]
    pub fn is_gateway(&self, index: u32, address: IpAddr) -> bool {
        self.routes.is_gateway(index, address)
    }

    /// The IPv6 prefixes that are on the links of our interfaces.
    #[must_use]
    pub fn connected_ipv6(&self) -> Vec<Ipv6Net> {
        let ours = self.addresses.iter().filter(|(index, _)| self.interfaces.id(**index).is_some());
        let prefix = |address: &Address| match address.address {
            IpAddr::V6(v6) if address.global => Ipv6Net::new(v6, address.prefix_length).ok(),
            _ => None,
        };
        let mut prefixes: Vec<_> = ours.flat_map(|(_, addresses)| addresses).filter_map(prefix).collect();
        prefixes.iter_mut().for_each(|prefix| *prefix = prefix.trunc());
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes
    }

    /// Whether there is such a link.
    #[must_use]
    pub fn exists(&self, index: u32) -> bool {
        self.interfaces.exists(index)
    }

    /// Name of an interface, for the log.
    #[must_use]
    pub fn name(&self, index: u32) -> &str {
        self.interfaces.name(index)
    }

    /// How many destinations have routes.
    #[must_use]
    pub fn destinations(&self) -> usize {
        self.routes.len()
    }

    /// Policy rules that are not followed although they may matter.
    #[must_use]
    pub fn unfollowed_rules(&self) -> &[Rule] {
        &self.meaning.unfollowed
    }

    /// Our interfaces by their ifindex, with the bridge or bond each belongs to.
    pub fn masters(&self) -> impl Iterator<Item = (u32, Option<&Link>)> {
        let links = self.interfaces.links();
        let master =
            |index: u32| links.get(&links.get(&index)?.master?).filter(|master| master.vrf.is_none());
        self.interfaces.ours().into_iter().map(move |index| (index, master(index)))
    }

    fn rules_changed(&mut self, changes: &mut Changes) {
        changes.doubt |= self.assign_tables();
        changes.routing = true;
        self.untold.interfaces();
    }

    /// Works out which table each interface looks up; whether there is one that has to be read first.
    fn assign_tables(&mut self) -> bool {
        let links = self.interfaces.links();
        if self.rules.is_empty()
            && self.routes.apart.is_empty()
            && !links.values().any(|link| link.vrf.is_some())
        {
            self.meaning = Meaning::default();
            self.interfaces.set_tables(HashMap::new());
            return false;
        }
        let vrf = |link: &Link| links.get(&link.master?)?.vrf;
        let ours = self.interfaces.ours();
        let ours = ours.iter().filter_map(|index| links.get(index));
        self.meaning =
            rules::meaning(&self.rules, ours.map(|link| (link.index, link.name.as_str(), vrf(link))));
        let wanted = self.meaning.tables.values().copied().collect();
        let unread = self.routes.keep(&wanted);
        let tables = self.meaning.tables.iter().map(|(index, apart)| (*index, self.routes.id(*apart)));
        self.interfaces.set_tables(tables.collect());
        unread
    }

    /// The routes over these nexthop objects are to be written anew.
    fn rewrite(&mut self, objects: BTreeSet<u32>, changes: &mut Changes) {
        changes.routing |= !objects.is_empty();
        self.rewrite.extend(objects.into_iter().map(|id| (id, None)));
    }

    /// Writes up to `steps` destinations anew; how many there were.
    fn rewrite_on(&mut self, steps: usize) -> usize {
        let mut done = 0;
        while done < steps
            && let Some((id, last)) = self.rewrite.front_mut()
        {
            match self.routes.expand_next(*id, *last, &self.next_hops) {
                Some(destination) => {
                    *last = Some(destination);
                    done += 1;
                }
                None => drop(self.rewrite.pop_front()),
            }
        }
        done
    }

    fn link_changed(&mut self, index: u32, change: LinkChange, changes: &mut Changes) {
        if change.went_down {
            self.routes.interface_down(index);
        }
        if change.went_dark {
            let gone = self.next_hops.interface_dark(index);
            self.rewrite(gone, changes);
        }
        changes.doubt |= self.assign_tables();
        self.untold.interfaces();
        changes.routing |= change.visible;
        changes.doubt |= change.routes_in_doubt;
    }

    /// The neighbour after this one, or the first.
    fn neighbor_after(&self, key: Option<(u32, IpAddr)>) -> Option<(u32, IpAddr)> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.neighbors.range((from, Bound::Unbounded)).next().map(|(key, _)| *key)
    }

    /// Forgets one more neighbour of an interface that is gone; whether there was one.
    fn forget_on(&mut self, index: u32) -> bool {
        let next = self.neighbors.range(on(index)).next().map(|(key, _)| *key);
        match next {
            Some(key) => self.forget(key),
            None => self.untold.forgotten(index),
        }
        next.is_some()
    }

    /// A dump did not have it.
    fn vanished(&mut self, key: (u32, IpAddr), changes: &mut Changes) {
        match self.neighbors.get_mut(&key) {
            // The relay itself has failed ones removed from the kernel's table: they stay so for their time.
            Some(known) if known.state == State::Failed => known.in_kernel = false,
            _ => {
                self.forget(key);
                changes.routing = true;
            }
        }
    }

    fn forget(&mut self, (index, address): (u32, IpAddr)) {
        self.neighbors.remove(&(index, address));
        self.untold.neighbor(index, address);
    }

    /// Keeps the order in which addresses became known: the source of ICMP errors shall not change with a dump.
    fn replace_addresses(&mut self, dumped: Vec<Address>) -> bool {
        let mut order = HashMap::new();
        for (position, address) in self.addresses.values().flatten().enumerate() {
            order.insert(key(address), position);
        }
        let before = std::mem::take(&mut self.addresses);
        for address in dumped {
            self.put_address(address);
        }
        for addresses in self.addresses.values_mut() {
            addresses.sort_by_key(|address| order.get(&key(address)).copied().unwrap_or(usize::MAX));
        }
        self.addresses != before
    }

    fn address(&mut self, address: Address, changes: &mut Changes) {
        let ipv4 = address.address.is_ipv4();
        let new = self.put_address(address);
        if new {
            self.untold.interfaces();
        }
        changes.routing |= new;
        // The first IPv4 address of an interface revives its routes without a word.
        changes.doubt |= new && ipv4;
    }

    fn address_removed(&mut self, address: &Address, changes: &mut Changes) {
        let Some(addresses) = self.addresses.get_mut(&address.index) else {
            return;
        };
        let before = addresses.len();
        addresses.retain(|known| key(known) != key(address));
        let gone = addresses.len() < before;
        if addresses.is_empty() {
            self.addresses.remove(&address.index);
        }
        if gone {
            self.untold.interfaces();
        }
        changes.routing |= gone;
        // IPv4 routes with this preferred source, or over an interface without addresses, go without a word.
        changes.doubt |= gone && address.address.is_ipv4();
    }

    fn put_address(&mut self, address: Address) -> bool {
        let addresses = self.addresses.entry(address.index).or_default();
        match addresses.iter_mut().find(|known| key(known) == key(&address)) {
            Some(known) if *known == address => false,
            Some(known) => {
                *known = address;
                true
            }
            None => {
                addresses.push(address);
                true
            }
        }
    }

    fn neighbor(&mut self, neighbor: &NeighborEntry, told: Told, now: Instant, changes: &mut Changes) {
        let (index, address) = (neighbor.index, neighbor.address);
        if address.is_multicast() {
            return;
        }
        let before = self.neighbors.get(&(index, address)).map(|known| known.state);
        match (neighbor.reachability, neighbor.mac) {
            (Reachability::Failed, _) => {
                if told == Told::OnRequest && matches!(before, Some(State::Failed | State::Forgotten)) {
                    return;
                }
                let gateway = self.routes.is_gateway(index, address);
                let known = told == Told::Now && matches!(before, Some(State::Resolved(_)));
                if known {
                    self.lost.insert((index, address), now);
                }
                let untried = |since: &Instant| now.saturating_duration_since(*since) < LEAST_TRY;
                let untried = before.is_none() && self.lost.get(&(index, address)).is_some_and(untried);
                if untried && !known && !gateway {
                    self.tell(index, address, News::Gone, changes);
                    return;
                }
                if known && !gateway {
                    self.neighbors.remove(&(index, address));
                } else {
                    self.fail(index, address, now);
                }
                self.tell(index, address, News::Failed { gateway, lost: known }, changes);
            }
            (Reachability::None | Reachability::Incomplete, _) | (_, None) => {
                // Being asked for again is no news of one that has failed: it stays so until it answers or its
                // time is up.
                if before != Some(State::Failed) {
                    self.neighbors.remove(&(index, address));
                }
            }
            (reachability, Some(mac)) => {
                let stale = reachability == Reachability::Stale;
                self.neighbors.insert(
                    (index, address),
                    Known { state: State::Resolved(mac), since: now, in_kernel: true },
                );
                self.tell(index, address, News::Resolved { mac, stale }, changes);
            }
        }
        let after = self.neighbors.get(&(index, address)).map(|known| known.state);
        if before != after {
            self.untold.neighbor(index, address);
            changes.routing = true;
        }
    }

    fn fail(&mut self, index: u32, address: IpAddr, now: Instant) {
        self.neighbors.insert((index, address), Known { state: State::Failed, since: now, in_kernel: true });
        self.failed.push_back((now, index, address));
    }

    fn tell(&self, index: u32, address: IpAddr, news: News, changes: &mut Changes) {
        if let Some(interface) = self.interfaces.id(index) {
            changes.neighbors.push(NeighborChange { index, interface, address, news });
        }
    }

    fn visible(&self, (index, address): (u32, IpAddr), known: Known) -> Option<Neighbor> {
        let interface = self.interfaces.id(index)?;
        self.interfaces.describe(index)?;
        let state = match known.state {
            State::Resolved(mac) => NeighborState::Resolved(mac),
            State::Failed => NeighborState::Failed,
            State::Forgotten => return None,
        };
        Some(Neighbor { interface, address, state })
    }

    fn interface_at(&self, index: u32) -> Option<Interface> {
        let mut interface = self.interfaces.describe(index)?;
        interface.ipv4_source = self.ipv4_source(index);
        interface.ipv6_source = self.ipv6_source(index);
        Some(interface)
    }

    /// The first primary address.
    fn ipv4_source(&self, index: u32) -> Option<Ipv4Addr> {
        self.usable_addresses(index).filter(|address| !address.secondary).find_map(|address| {
            match address.address {
                IpAddr::V4(v4) if !v4.is_loopback() => Some(v4),
                _ => None,
            }
        })
    }

    /// The first address that duplicate address detection has passed and that is not deprecated.
    fn ipv6_source(&self, index: u32) -> Option<Ipv6Addr> {
        self.usable_addresses(index).filter(|address| !address.deprecated).find_map(|address| {
            match address.address {
                IpAddr::V6(v6) if !v6.is_loopback() && !v6.is_unicast_link_local() => Some(v6),
                _ => None,
            }
        })
    }

    fn usable_addresses(&self, index: u32) -> impl Iterator<Item = &Address> {
        let addresses = self.addresses.get(&index).map_or(&[][..], Vec::as_slice);
        addresses.iter().filter(|address| address.global && !address.tentative)
    }
}

/// The kernel's key of an address.
fn key(address: &Address) -> (u32, IpAddr, u8) {
    (address.index, address.address, address.prefix_length)
}
