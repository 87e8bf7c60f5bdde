//! Forwarding: from a destination address to the bytes in front of the packet and the port it leaves by.
//!
//! ```text
//!  destination -> trie -> target, shared by all routes over the same next hops
//!                          +-> path: an adjacency (port, MTU, finished link-layer header); unresolved, with interface and
//!                          |         gateway; failed, kernel, local, unreachable, prohibited, blackhole, no route
//!                          +-> the link itself: a hash table of its hosts says the path of each
//!                          +-> several of these (multipath), one chosen by the flow's hash
//! ```
//!
//! So a change of a gateway rewrites one target, however many routes lead there, and neighbours on a link come and go
//! without any trie being touched. A FIB is one version, immutable; the [`Compiler`] makes the next one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::compiler::Compiler;
use super::hosts::Hosts;
use super::lpm::{self, Descents, FetchedRoute, Ipv4Lpm, Lpm, Value};
use super::routing::{Interface, InterfaceId, PortId, Routing, TableId};
use crate::hash::{high32, high64, low64};

pub use super::adjacency::{Adjacency, LinkHeader};

/// Slots a multipath route's weights are spread over.
pub(super) const MULTIPATH_SLOTS: usize = 64;

/// Where packets to a destination go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// No route, or its interface is down.
    NoRoute,
    /// One of the box's own addresses.
    Local,
    /// By an interface that is not the relay's: the kernel forwards.
    Kernel,
    /// A route of type unreachable.
    Unreachable,
    /// A route of type prohibit.
    Prohibited,
    /// A route of type blackhole.
    Blackhole,
    /// Ready.
    Adjacent(Adjacency),
    /// The neighbour's link-layer address is not known; without a gateway the neighbour is the destination.
    Unresolved {
        /// Where the neighbour is.
        interface: InterfaceId,
        /// The router, or none when the destination is on the link.
        gateway: Option<IpAddr>,
        /// Largest IP packet on the way, in bytes.
        mtu: u16,
    },
    /// The neighbour does not answer.
    Failed,
}

impl Path {
    /// The MTU of a path packets can take, now or once its neighbour is resolved.
    #[inline]
    #[must_use]
    pub const fn mtu(&self) -> Option<u16> {
        match self {
            Self::Adjacent(adjacency) => Some(adjacency.mtu),
            Self::Unresolved { mtu, .. } => Some(*mtu),
            _ => None,
        }
    }
}

/// What routes lead to.
#[derive(Clone)]
pub(super) enum Target {
    /// The same for every destination.
    Path(Path),
    /// Every destination is a neighbour on this link.
    OnLink {
        hosts: Hosts,
        /// What destinations have that nobody knows anything of.
        unknown: Path,
    },
    /// For each slot the target of one of several hops.
    Multipath(Arc<[u32; MULTIPATH_SLOTS]>),
}

/// The routes of one table.
#[derive(Clone, Default)]
pub(super) struct Table {
    pub(super) ipv4: Ipv4Lpm,
    pub(super) ipv6: Lpm,
    pub(super) local: Arc<LocalFilter>,
}

/// The interfaces, and the way to them.
#[derive(Default)]
pub(super) struct Interfaces {
    /// Sorted by identity.
    all: Vec<Interface>,
    ports: Vec<PortInterfaces>,
    /// Whether any interface is in another table than the main one.
    apart: bool,
}

/// Values of a VLAN identifier.
const VLANS: usize = 1 << 12;

/// The interfaces of one port, by VLAN.
#[derive(Default)]
struct PortInterfaces {
    /// Position in the list of interfaces.
    untagged: Option<usize>,
    /// One more than the position, by VLAN; zero where there is none.
    tagged: Option<Box<[u16; VLANS]>>,
}

/// The compiled routing of both families. Immutable.
#[derive(Clone)]
pub struct Fib {
    pub(super) main: Table,
    /// All others, sorted.
    pub(super) others: Arc<[(TableId, Table)]>,
    pub(super) targets: Arc<[Target]>,
    pub(super) interfaces: Arc<Interfaces>,
    pub(super) ipv4_source: Option<Ipv4Addr>,
    pub(super) ipv6_source: Option<Ipv6Addr>,
}

impl Default for Fib {
    fn default() -> Self {
        Compiler::default().version()
    }
}

impl Fib {
    /// Compiles what the kernel says.
    #[must_use]
    pub fn build(routing: &Routing) -> Self {
        let mut compiler = Compiler::default();
        routing.changes().into_iter().for_each(|change| compiler.apply(change));
        while compiler.is_unsettled() {
            compiler.settle();
        }
        compiler.version()
    }

    /// The path for packets to `destination` by the main table. `flow_hash` chooses among several; all packets of a
    /// flow, fragments included, should have the same.
    #[inline(always)]
    #[must_use]
    pub fn lookup(&self, destination: IpAddr, flow_hash: impl FnOnce() -> u32) -> &Path {
        self.path(&self.main, destination, flow_hash)
    }

    /// Has the main table's route to `destination` fetched, for [`Self::lookup_fetched`] soon after.
    #[inline(always)]
    #[must_use]
    pub fn fetch_ipv4(&self, destination: Ipv4Addr) -> FetchedRoute<'_> {
        self.main.ipv4.fetch(destination)
    }

    /// [`Self::lookup`], with what was `fetched` for `destination`.
    #[inline(always)]
    #[must_use]
    pub fn lookup_fetched(
        &self,
        fetched: FetchedRoute<'_>,
        destination: Ipv4Addr,
        flow_hash: impl FnOnce() -> u32,
    ) -> &Path {
        self.lead(self.main.ipv4.lookup_fetched(fetched, destination), destination.into(), flow_hash)
    }

    /// Whether the main table has so many IPv6 routes that look-ups wait for memory: [`Self::begin_ipv6`] for a burst of them.
    #[inline(always)]
    #[must_use]
    pub fn is_deep(&self) -> bool {
        self.main.ipv6.is_deep()
    }

    /// Begins to look for the route to `destination` in the main table; its number, if that is found at once.
    #[inline(always)]
    pub fn begin_ipv6<'a, const N: usize>(
        &'a self,
        descents: &mut Descents<'a, N>,
        number: u8,
        destination: Ipv6Addr,
    ) -> Option<Value> {
        descents.begin(number, &self.main.ipv6, lpm::key(destination.into()))
    }

    /// The path of a route whose number was found so; the other arguments as for [`Self::lookup`].
    #[inline(always)]
    #[must_use]
    pub fn lookup_found(
        &self,
        route: Value,
        destination: Ipv6Addr,
        flow_hash: impl FnOnce() -> u32,
    ) -> &Path {
        self.lead(route, destination.into(), flow_hash)
    }

    /// The path for packets to `destination` that came in by an interface of `table`. What that table has no route for is
    /// looked up in the main table, as the kernel's rules do.
    #[inline(always)]
    #[must_use]
    pub fn lookup_in(&self, table: TableId, destination: IpAddr, flow_hash: impl Fn() -> u32) -> &Path {
        if table != TableId::MAIN
            && let Some(path) = self.lookup_apart(table, destination, &flow_hash)
        {
            return path;
        }
        self.lookup(destination, flow_hash)
    }

    #[inline(never)]
    fn lookup_apart(
        &self,
        table: TableId,
        destination: IpAddr,
        flow_hash: &dyn Fn() -> u32,
    ) -> Option<&Path> {
        let path = self.path(self.other(table)?, destination, flow_hash);
        (*path != Path::NoRoute).then_some(path)
    }

    fn other(&self, table: TableId) -> Option<&Table> {
        let at = self.others.binary_search_by_key(&table, |(id, _)| *id).ok()?;
        Some(&self.others[at].1)
    }

    #[inline(always)]
    fn path(&self, table: &Table, destination: IpAddr, flow_hash: impl FnOnce() -> u32) -> &Path {
        self.lead(table.number(destination), destination, flow_hash)
    }

    /// Where a route leads.
    #[inline(always)]
    fn lead(&self, route: Value, destination: IpAddr, flow_hash: impl FnOnce() -> u32) -> &Path {
        match &self.targets[route as usize] {
            Target::Path(path) => path,
            Target::OnLink { hosts, unknown } => hosts.get(destination).unwrap_or(unknown),
            Target::Multipath(slots) => self.member(slots, destination, flow_hash() as usize),
        }
    }

    /// The path by the slot of a flow.
    fn member(&self, slots: &[u32; MULTIPATH_SLOTS], destination: IpAddr, flow_hash: usize) -> &Path {
        let path = |slot: u32| match &self.targets[slot as usize] {
            Target::Path(path) => path,
            Target::OnLink { hosts, unknown } => hosts.get(destination).unwrap_or(unknown),
            Target::Multipath(_) => unreachable!("the hops of a multipath route are single"),
        };
        let chosen = slots[flow_hash % MULTIPATH_SLOTS];
        let found = path(chosen);
        if matches!(found, Path::Adjacent(_)) || matches!(self.targets[chosen as usize], Target::Path(_)) {
            return found;
        }
        // A prefix on several links: the host is where its link-layer address is known.
        let others = slots.iter().map(|slot| path(*slot));
        others.into_iter().find(|other| matches!(other, Path::Adjacent(_))).unwrap_or(found)
    }

    /// Whether `address` may be local to interfaces of `table`; a no is certain, and costs one load in the main table.
    #[inline]
    #[must_use]
    pub fn may_be_local(&self, table: TableId, address: IpAddr) -> bool {
        self.main.local.may_contain(address)
            || table != TableId::MAIN
                && self.other(table).is_some_and(|table| table.local.may_contain(address))
    }

    /// Whether `address` is one of the box's own, a broadcast or an anycast address of the kernel, to packets that came in by
    /// an interface of `table`. The kernel's table local comes before any other.
    #[inline]
    #[must_use]
    pub fn is_local(&self, table: TableId, address: IpAddr) -> bool {
        let local =
            |table: &Table| matches!(self.targets[table.number(address) as usize], Target::Path(Path::Local));
        self.may_be_local(table, address)
            && (local(&self.main) || table != TableId::MAIN && self.other(table).is_some_and(local))
    }

    /// The table of an interface. Costs nothing while all are in the main one.
    #[inline]
    #[must_use]
    pub fn table_of(&self, interface: InterfaceId) -> TableId {
        if !self.interfaces.apart {
            return TableId::MAIN;
        }
        self.interface(interface).map_or(TableId::MAIN, |found| found.table)
    }

    /// Whether packets to `destination` have another next hop than the default route's: a connected network, a route
    /// learned for it. Unreachable, prohibit and blackhole routes do not count, which daemons keep for what they announce.
    #[must_use]
    pub fn has_route_of_its_own(&self, table: TableId, destination: Ipv4Addr) -> bool {
        let path = self.lookup_in(table, destination.into(), || 0);
        let leads = matches!(path, Path::Adjacent(_) | Path::Unresolved { .. } | Path::Failed | Path::Kernel);
        leads && path != self.lookup_in(table, Ipv4Addr::UNSPECIFIED.into(), || 0)
    }

    /// The interface frames with this tag are received on.
    #[inline]
    #[must_use]
    pub fn ingress(&self, port: PortId, vlan: Option<u16>) -> Option<&Interface> {
        let port = self.interfaces.ports.get(usize::from(port.0))?;
        let at = match vlan {
            None => port.untagged?,
            Some(vlan) => usize::from(*port.tagged.as_ref()?.get(usize::from(vlan))?).checked_sub(1)?,
        };
        self.interfaces.all.get(at)
    }

    /// All interfaces, in no order.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces.all
    }

    /// Whether any interface is known: not before the kernel was asked for the first time.
    #[inline]
    #[must_use]
    pub fn knows_interfaces(&self) -> bool {
        !self.interfaces.all.is_empty()
    }

    /// The interface with this identity.
    #[must_use]
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        let all = &self.interfaces.all;
        all.binary_search_by_key(&id, |interface| interface.id).ok().map(|at| &all[at])
    }

    /// The source of an ICMPv4 error that leaves by `interface` (RFC 1812 4.3.2.4).
    #[must_use]
    pub fn icmpv4_source(&self, interface: InterfaceId) -> Option<Ipv4Addr> {
        self.interface(interface).and_then(|found| found.ipv4_source).or(self.ipv4_source)
    }

    /// The source of an ICMPv6 error that leaves by `interface` (RFC 4443 2.2).
    #[must_use]
    pub fn icmpv6_source(&self, interface: InterfaceId) -> Option<Ipv6Addr> {
        self.interface(interface).and_then(|found| found.ipv6_source).or(self.ipv6_source)
    }

    /// How many targets there are, those without data included: all that a change of next hops may have to rewrite.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Bytes of the tries.
    #[must_use]
    pub fn memory(&self) -> usize {
        let tables = [&self.main].into_iter().chain(self.others.iter().map(|(_, table)| table));
        tables.map(|table| table.ipv4.memory() + table.ipv6.memory()).sum()
    }
}

impl Table {
    #[inline(always)]
    fn number(&self, destination: IpAddr) -> u32 {
        match destination {
            IpAddr::V4(address) => self.ipv4.lookup(address),
            IpAddr::V6(_) => self.ipv6.lookup(lpm::key(destination)),
        }
    }
}

impl Interfaces {
    /// `all` sorted by identity.
    pub(super) fn new(all: Vec<Interface>) -> Self {
        let mut ports: Vec<PortInterfaces> = Vec::new();
        for (position, interface) in all.iter().enumerate() {
            let at = usize::from(interface.port.0);
            if ports.len() <= at {
                ports.resize_with(at + 1, PortInterfaces::default);
            }
            match interface.vlan {
                None => ports[at].untagged = Some(position),
                Some(vlan) => {
                    let tagged = ports[at].tagged.get_or_insert_with(|| Box::new([0; VLANS]));
                    // Identities are 16 bits wide: so many interfaces there are at most.
                    if let (Some(place), Ok(entry)) =
                        (tagged.get_mut(usize::from(vlan)), u16::try_from(position + 1))
                    {
                        *place = entry;
                    }
                }
            }
        }
        let apart = all.iter().any(|interface| interface.table != TableId::MAIN);
        Self { all, ports, apart }
    }
}

/// Places of the local filter.
const LOCAL_PLACES: usize = 1 << 16;

/// Says quickly that most addresses are not local: one bit per hash value, 8 KiB.
#[derive(Clone)]
pub(super) struct LocalFilter {
    bits: Box<[u64; LOCAL_PLACES / 64]>,
}

impl Default for LocalFilter {
    fn default() -> Self {
        Self { bits: Box::new([0; LOCAL_PLACES / 64]) }
    }
}

impl LocalFilter {
    /// A filter in which every address may be local.
    pub(super) fn full() -> Self {
        Self { bits: Box::new([u64::MAX; LOCAL_PLACES / 64]) }
    }

    #[inline]
    fn may_contain(&self, address: IpAddr) -> bool {
        let place = Self::place(address);
        self.bits[place / 64] >> (place % 64) & 1 == 1
    }

    pub(super) fn set(&mut self, place: usize, to: bool) {
        let bit = 1 << (place % 64);
        let word = &mut self.bits[place / 64];
        *word = if to { *word | bit } else { *word & !bit };
    }

    /// The place of an address.
    #[inline]
    pub(super) fn place(address: IpAddr) -> usize {
        // One multiplication: whoever finds addresses that collide makes the relay look at the routes, no more.
        let key = lpm::key(address);
        let mixed = (high64(key) ^ low64(key).rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        high32(mixed << 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::routing::{Hop, MacAddress, Neighbor, NeighborState, Route, RouteAction};

    const GATEWAY: MacAddress = MacAddress([2, 0, 0, 0, 0, 0xaa]);

    fn interface(id: u16, port: u16, vlan: Option<u16>) -> Interface {
        Interface {
            id: InterfaceId(id),
            port: PortId(port),
            vlan,
            table: TableId::MAIN,
            mac: MacAddress([2, 0, 0, 0, 0, id as u8]),
            extra_macs: Vec::new(),
            mtu: 1500,
            up: true,
            ipv4_source: (id == 0).then_some(Ipv4Addr::new(198, 51, 100, 254)),
            ipv6_source: None,
        }
    }

    fn hop(interface: u16, gateway: Option<&str>, weight: u16) -> Hop {
        Hop { interface: InterfaceId(interface), gateway: gateway.map(|text| text.parse().unwrap()), weight }
    }

    fn route(destination: &str, action: RouteAction) -> Route {
        Route { destination: destination.parse().unwrap(), action, mtu: None }
    }

    fn neighbor(interface: u16, address: &str, state: NeighborState) -> Neighbor {
        Neighbor { interface: InterfaceId(interface), address: address.parse().unwrap(), state }
    }

    fn routing() -> Routing {
        Routing {
            interfaces: vec![interface(0, 0, None), interface(1, 1, None), interface(2, 1, Some(100))],
            neighbors: vec![
                neighbor(0, "203.0.113.1", NeighborState::Resolved(GATEWAY)),
                neighbor(2, "2001:db8:12:34::1", NeighborState::Resolved(GATEWAY)),
                neighbor(2, "2001:db8:12:34::dead", NeighborState::Failed),
            ],
            routes: vec![
                route("0.0.0.0/0", RouteAction::Via(vec![hop(0, Some("203.0.113.1"), 1)])),
                route("203.0.113.0/24", RouteAction::Via(vec![hop(0, None, 1)])),
                route("203.0.113.254/32", RouteAction::Local),
                route("10.0.0.0/8", RouteAction::Kernel),
                route("192.0.2.0/24", RouteAction::Blackhole),
                route("2001:db8:12:34::/64", RouteAction::Via(vec![hop(2, None, 1)])),
                route("fd00::/8", RouteAction::Via(vec![hop(1, Some("fe80::1"), 1)])),
            ],
            ipv4_source: None,
            ipv6_source: Some("2001:db8:ffff::1".parse().unwrap()),
        }
    }

    fn lookup<'a>(fib: &'a Fib, address: &str) -> &'a Path {
        fib.lookup(address.parse().unwrap(), || 0)
    }

    #[test]
    fn resolves_gateways_neighbours_and_special_routes() {
        let fib = Fib::build(&routing());
        let Path::Adjacent(adjacency) = lookup(&fib, "8.8.8.8") else {
            panic!("the default route is resolved")
        };
        assert_eq!((adjacency.port, adjacency.mtu), (PortId(0), 1500));
        let header = [2, 0, 0, 0, 0, 0xaa, 2, 0, 0, 0, 0, 0, 8, 0];
        assert_eq!(adjacency.link_header(4), LinkHeader::Untagged(&header));
        let Path::Adjacent(adjacency) = lookup(&fib, "2001:db8:12:34::1") else {
            panic!("a known neighbour")
        };
        let header = [2, 0, 0, 0, 0, 0xaa, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 100, 0x86, 0xdd];
        assert_eq!(adjacency.link_header(6), LinkHeader::Tagged(&header));
        assert_eq!(*lookup(&fib, "2001:db8:12:34::dead"), Path::Failed);
        let glean = Path::Unresolved { interface: InterfaceId(2), gateway: None, mtu: 1500 };
        assert_eq!(*lookup(&fib, "2001:db8:12:34::2"), glean);
        assert_eq!(lookup(&fib, "fd00::1").mtu(), Some(1500));
        assert_eq!(*lookup(&fib, "10.1.1.1"), Path::Kernel);
        assert_eq!(*lookup(&fib, "192.0.2.7"), Path::Blackhole);
        assert_eq!(*lookup(&fib, "2001:db8::1"), Path::NoRoute);
    }

    #[test]
    fn own_addresses_are_local_and_others_are_not() {
        let mut routing = routing();
        let fib = Fib::build(&routing);
        let is_local = |fib: &Fib, address: &str| fib.is_local(TableId::MAIN, address.parse().unwrap());
        assert!(is_local(&fib, "203.0.113.254"));
        assert!(!is_local(&fib, "203.0.113.253"));
        routing.routes.push(route("198.51.100.0/24", RouteAction::Local));
        let fib = Fib::build(&routing);
        assert!(is_local(&fib, "198.51.100.77"), "a local prefix (AnyIP)");
        assert!(!is_local(&fib, "203.0.113.253"));
    }

    #[test]
    fn a_route_mtu_narrows_and_an_interface_that_is_down_carries_nothing() {
        let mut routing = routing();
        routing.routes[0].mtu = Some(1400);
        routing
            .routes
            .push(Route { mtu: Some(9000), ..route("8.8.8.0/24", routing.routes[0].action.clone()) });
        let fib = Fib::build(&routing);
        assert_eq!(lookup(&fib, "1.1.1.1").mtu(), Some(1400));
        assert_eq!(lookup(&fib, "8.8.8.8").mtu(), Some(1500));
        routing.interfaces[0].up = false;
        assert_eq!(*lookup(&Fib::build(&routing), "1.1.1.1"), Path::NoRoute);
    }

    #[test]
    fn multipath_follows_the_weights_and_the_flow() {
        let mut routing = routing();
        routing.neighbors.push(neighbor(1, "fe80::1", NeighborState::Resolved(GATEWAY)));
        let hops = vec![hop(0, Some("203.0.113.1"), 3), hop(1, Some("fe80::1"), 1)];
        routing.routes[0].action = RouteAction::Via(hops);
        let fib = Fib::build(&routing);
        let address = "8.8.8.8".parse().unwrap();
        let ports: Vec<PortId> = (0..64)
            .map(|hash| match fib.lookup(address, || hash) {
                Path::Adjacent(adjacency) => adjacency.port,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ports.iter().filter(|port| **port == PortId(0)).count(), 48);
        assert_eq!(fib.lookup(address, || 5), fib.lookup(address, || 5 + 64));
    }

    #[test]
    fn interfaces_are_found_by_port_and_vlan() {
        let fib = Fib::build(&routing());
        assert_eq!(fib.ingress(PortId(1), Some(100)).map(|found| found.id), Some(InterfaceId(2)));
        assert_eq!(fib.ingress(PortId(1), None).map(|found| found.id), Some(InterfaceId(1)));
        assert_eq!(fib.ingress(PortId(1), Some(101)), None);
        assert_eq!(fib.ingress(PortId(0), Some(100)), None, "a port without VLANs");
        assert_eq!(fib.ingress(PortId(7), None), None);
        assert_eq!(fib.icmpv4_source(InterfaceId(0)), Some(Ipv4Addr::new(198, 51, 100, 254)));
        assert_eq!(fib.icmpv6_source(InterfaceId(0)), Some("2001:db8:ffff::1".parse().unwrap()));
        assert_eq!(fib.icmpv4_source(InterfaceId(1)), None);
    }
}
