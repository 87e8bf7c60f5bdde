//! Forwarding: from a destination address to the bytes in front of the packet and the port it leaves by.
//!
//! ```text
//!  destination -> Lpm -> path -+-> adjacency: port, MTU, finished link-layer header
//!                              +-> several adjacencies (multipath), one chosen by the flow's hash
//!                              +-> unresolved: interface and the neighbour whose link-layer address is missing
//!                              +-> kernel, local, unreachable, prohibited, blackhole, no route
//! ```
//!
//! Neighbours on a connected prefix are host routes of their own, so one lookup always suffices.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::lpm::{self, Lpm};
use super::routing::{
    Hop, Interface, InterfaceId, MacAddress, Neighbor, NeighborState, PortId, RouteAction, Routing,
};
use crate::hash::{high32, high64, low64};
use crate::wire::{ethernet, ipv6};

/// Slots a multipath route's weights are spread over.
const MULTIPATH_SLOTS: usize = 64;

/// A next hop that is ready: everything needed to send a packet to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adjacency {
    /// The interface it is on.
    pub interface: InterfaceId,
    /// The port packets leave by.
    pub port: PortId,
    /// Largest IP packet on the way, in bytes: the smaller of the interface's and the route's MTU.
    pub mtu: u16,
    /// A whole link-layer header for each family: IPv4, then IPv6.
    headers: [[u8; ethernet::TAGGED_HEADER]; 2],
    tagged: bool,
}

/// A finished link-layer header. Two fixed lengths, so that it is written without a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkHeader<'a> {
    /// None: packets leave as they are.
    None,
    /// Without a tag.
    Untagged(&'a [u8; ethernet::HEADER]),
    /// With an 802.1Q tag.
    Tagged(&'a [u8; ethernet::TAGGED_HEADER]),
}

impl LinkHeader<'_> {
    /// Bytes of it.
    #[inline]
    #[must_use]
    pub const fn length(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Untagged(_) => ethernet::HEADER,
            Self::Tagged(_) => ethernet::TAGGED_HEADER,
        }
    }

    /// Writes it to the start of a frame that has room for it.
    #[inline]
    pub fn write(&self, frame: &mut [u8]) {
        const ROOM: &str = "the front was made for the link-layer header";
        match self {
            Self::None => {}
            Self::Untagged(header) => *frame.first_chunk_mut().expect(ROOM) = **header,
            Self::Tagged(header) => *frame.first_chunk_mut().expect(ROOM) = **header,
        }
    }
}

impl Adjacency {
    fn new(interface: &Interface, neighbor: MacAddress, mtu: u16) -> Self {
        let header = |ether_type: u16| {
            let mut header = [0; ethernet::TAGGED_HEADER];
            header[0..6].copy_from_slice(&neighbor.0);
            header[6..12].copy_from_slice(&interface.mac.0);
            let at = match interface.vlan {
                None => 12,
                Some(vlan) => {
                    header[12..14].copy_from_slice(&ethernet::TYPE_VLAN.to_be_bytes());
                    header[14..16].copy_from_slice(&vlan.to_be_bytes());
                    16
                }
            };
            header[at..at + 2].copy_from_slice(&ether_type.to_be_bytes());
            header
        };
        Self {
            interface: interface.id,
            port: interface.port,
            mtu,
            headers: [header(ethernet::TYPE_IPV4), header(ethernet::TYPE_IPV6)],
            tagged: interface.vlan.is_some(),
        }
    }

    /// The link-layer header for a packet of this IP version.
    #[inline]
    #[must_use]
    pub fn link_header(&self, version: u8) -> LinkHeader<'_> {
        let header = &self.headers[usize::from(version != 4)];
        if self.tagged {
            LinkHeader::Tagged(header)
        } else {
            LinkHeader::Untagged(header.first_chunk().expect("18 bytes hold 14"))
        }
    }
}

/// Where packets to a destination go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// No route.
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
    /// Several paths: [`Fib::lookup`] has chosen one before it returns.
    Multipath(Box<[u32; MULTIPATH_SLOTS]>),
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

/// The interfaces of one port, by VLAN.
#[derive(Default)]
struct PortInterfaces {
    /// Position in the list of interfaces.
    untagged: Option<usize>,
    /// VLAN and position, sorted.
    tagged: Vec<(u16, usize)>,
}

/// The compiled routing of both families. Immutable.
pub struct Fib {
    ipv4: Lpm,
    ipv6: Lpm,
    paths: Vec<Path>,
    interfaces: Vec<Interface>,
    ports: Vec<PortInterfaces>,
    local: LocalFilter,
    ipv4_source: Option<Ipv4Addr>,
    ipv6_source: Option<Ipv6Addr>,
}

impl Default for Fib {
    fn default() -> Self {
        Self::build(&Routing::default())
    }
}

impl Fib {
    /// Compiles what the kernel says.
    #[must_use]
    pub fn build(routing: &Routing) -> Self {
        Builder::new(routing).build()
    }

    /// The path for packets to `destination`. `flow_hash` chooses among several; all packets of a flow,
    /// fragments included, should have the same. Never returns [`Path::Multipath`].
    #[inline(always)]
    #[must_use]
    pub fn lookup(&self, destination: IpAddr, flow_hash: impl FnOnce() -> u32) -> &Path {
        let key = lpm::key(destination);
        let number = match destination {
            IpAddr::V4(_) => self.ipv4.lookup(key),
            IpAddr::V6(_) => self.ipv6.lookup(key),
        };
        match &self.paths[number as usize] {
            Path::Multipath(slots) => &self.paths[slots[flow_hash() as usize % MULTIPATH_SLOTS] as usize],
            path => path,
        }
    }

    /// Whether `address` may be local; a no is certain, and costs one load.
    #[inline]
    #[must_use]
    pub fn may_be_local(&self, address: IpAddr) -> bool {
        self.local.may_contain(address)
    }

    /// Whether `address` is one of the box's own, a broadcast or an anycast address of the kernel.
    #[inline]
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.local.may_contain(address) && matches!(self.lookup(address, || 0), Path::Local)
    }

    /// Whether packets to `destination` have another next hop than the default route's: a connected network, a route
    /// learned for it. Unreachable, prohibit and blackhole routes do not count, which daemons keep for what they announce.
    #[must_use]
    pub fn has_route_of_its_own(&self, destination: Ipv4Addr) -> bool {
        let path = self.lookup(destination.into(), || 0);
        let leads = matches!(path, Path::Adjacent(_) | Path::Unresolved { .. } | Path::Failed | Path::Kernel);
        leads && path != self.lookup(Ipv4Addr::UNSPECIFIED.into(), || 0)
    }

    /// The interface frames with this tag are received on.
    #[inline]
    #[must_use]
    pub fn ingress(&self, port: PortId, vlan: Option<u16>) -> Option<&Interface> {
        let port = self.ports.get(usize::from(port.0))?;
        let at = match vlan {
            None => port.untagged?,
            Some(vlan) => {
                port.tagged.binary_search_by_key(&vlan, |(vlan, _)| *vlan).ok().map(|at| port.tagged[at].1)?
            }
        };
        self.interfaces.get(at)
    }

    /// All interfaces, in no order.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Whether any interface is known: not before the kernel was asked for the first time.
    #[inline]
    #[must_use]
    pub fn knows_interfaces(&self) -> bool {
        !self.interfaces.is_empty()
    }

    /// The interface with this identity.
    #[must_use]
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.id == id)
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
}

/// Says quickly that most addresses are not local: one bit per hash value, 8 KiB.
struct LocalFilter {
    bits: Box<[u64; 1024]>,
}

impl LocalFilter {
    #[inline]
    fn may_contain(&self, address: IpAddr) -> bool {
        let (word, bit) = Self::place(address);
        self.bits[word] >> bit & 1 == 1
    }

    fn insert(&mut self, address: IpAddr) {
        let (word, bit) = Self::place(address);
        self.bits[word] |= 1 << bit;
    }

    #[inline]
    fn place(address: IpAddr) -> (usize, u32) {
        // One multiplication: whoever finds addresses that collide makes the relay look at the routes, no more.
        let key = lpm::key(address);
        let mixed = (high64(key) ^ low64(key).rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        ((mixed >> 6) as usize, high32(mixed << 32) & 63)
    }
}

/// What every link carries (RFC 791 3.2, RFC 8200 5). The kernel takes routes with less, which no sender can obey.
const fn least_mtu(destination: IpAddr) -> u16 {
    match destination {
        IpAddr::V4(_) => 68,
        IpAddr::V6(_) => ipv6::MIN_MTU,
    }
}

/// What makes two paths the same.
#[derive(PartialEq, Eq, Hash)]
struct PathKey {
    interface: InterfaceId,
    gateway: Option<IpAddr>,
    mtu: u16,
}

struct Builder<'a> {
    routing: &'a Routing,
    interfaces: HashMap<InterfaceId, &'a Interface>,
    neighbors: HashMap<(InterfaceId, IpAddr), NeighborState>,
    paths: Vec<Path>,
    known: HashMap<PathKey, u32>,
}

impl<'a> Builder<'a> {
    /// The paths without data have fixed places.
    const FIXED: [Path; 6] =
        [Path::NoRoute, Path::Local, Path::Kernel, Path::Unreachable, Path::Prohibited, Path::Blackhole];
    const NO_ROUTE: u32 = 0;
    const LOCAL: u32 = 1;
    const KERNEL: u32 = 2;
    const UNREACHABLE: u32 = 3;
    const PROHIBITED: u32 = 4;
    const BLACKHOLE: u32 = 5;

    fn new(routing: &'a Routing) -> Self {
        Self {
            routing,
            interfaces: routing.interfaces.iter().map(|interface| (interface.id, interface)).collect(),
            neighbors: routing
                .neighbors
                .iter()
                .map(|neighbor| ((neighbor.interface, neighbor.address), neighbor.state))
                .collect(),
            paths: Self::FIXED.to_vec(),
            known: HashMap::new(),
        }
    }

    fn build(mut self) -> Fib {
        let mut local = LocalFilter { bits: Box::new([0; 1024]) };
        let mut ipv4 = Vec::new();
        let mut ipv6 = Vec::new();
        for route in &self.routing.routes {
            let destination = route.destination.addr();
            let mtu = route.mtu.map(|mtu| mtu.max(least_mtu(destination)));
            let value = self.action(&route.action, mtu);
            if value == Self::LOCAL {
                if route.destination.prefix_len() == route.destination.max_prefix_len() {
                    local.insert(destination);
                } else if !destination.is_loopback() && !destination.is_multicast() {
                    // AnyIP: every address may be local.
                    local.bits.fill(u64::MAX);
                }
            }
            let row = (lpm::key(destination), route.destination.prefix_len(), value);
            if destination.is_ipv4() { ipv4.push(row) } else { ipv6.push(row) }
        }
        let (ipv4, ipv6) = (self.with_neighbors(ipv4, true), self.with_neighbors(ipv6, false));
        Fib {
            ipv4,
            ipv6,
            ports: self.ports(),
            interfaces: self.routing.interfaces.clone(),
            paths: self.paths,
            local,
            ipv4_source: self.routing.ipv4_source,
            ipv6_source: self.routing.ipv6_source,
        }
    }

    fn action(&mut self, action: &RouteAction, mtu: Option<u16>) -> u32 {
        match action {
            RouteAction::Local => Self::LOCAL,
            RouteAction::Kernel => Self::KERNEL,
            RouteAction::Unreachable => Self::UNREACHABLE,
            RouteAction::Prohibit => Self::PROHIBITED,
            RouteAction::Blackhole => Self::BLACKHOLE,
            RouteAction::Via(hops) => self.via(hops, mtu),
        }
    }

    fn via(&mut self, hops: &[Hop], mtu: Option<u16>) -> u32 {
        let usable: Vec<(u32, usize)> = hops
            .iter()
            .filter(|hop| self.interfaces.get(&hop.interface).is_some_and(|interface| interface.up))
            .map(|hop| (hop.clone(), usize::from(hop.weight.max(1))))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|(hop, weight)| (self.path(hop.interface, hop.gateway, mtu), weight))
            .collect();
        match usable.as_slice() {
            [] => Self::NO_ROUTE,
            [(only, _)] => *only,
            several => {
                let total: usize = several.iter().map(|(_, weight)| weight).sum();
                let mut slots = [0; MULTIPATH_SLOTS];
                let (mut filled, mut share) = (0, 0);
                for (path, weight) in several {
                    share += weight;
                    let end = (share * MULTIPATH_SLOTS).div_ceil(total).min(MULTIPATH_SLOTS);
                    slots[filled..end].fill(*path);
                    filled = end;
                }
                self.push(Path::Multipath(Box::new(slots)))
            }
        }
    }

    /// The path over one hop, shared by all routes over it.
    fn path(&mut self, interface: InterfaceId, gateway: Option<IpAddr>, mtu: Option<u16>) -> u32 {
        let egress = self.interfaces[&interface];
        let mtu = mtu.map_or(egress.mtu, |mtu| mtu.min(egress.mtu));
        let key = PathKey { interface, gateway, mtu };
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let state = gateway.and_then(|gateway| self.neighbors.get(&(interface, gateway)));
        let path = match state {
            Some(NeighborState::Resolved(mac)) => Path::Adjacent(Adjacency::new(egress, *mac, mtu)),
            Some(NeighborState::Failed) => Path::Failed,
            None => Path::Unresolved { interface, gateway, mtu },
        };
        let at = self.push(path);
        self.known.insert(key, at);
        at
    }

    /// The trie of one family: its routes, and a host route for each neighbour on a connected prefix.
    fn with_neighbors(&mut self, mut rows: Vec<(u128, u8, u32)>, ipv4: bool) -> Lpm {
        let neighbors: Vec<&Neighbor> =
            self.routing.neighbors.iter().filter(|neighbor| neighbor.address.is_ipv4() == ipv4).collect();
        let routes = Lpm::build(rows.iter().copied(), Self::NO_ROUTE);
        if neighbors.is_empty() {
            return routes;
        }
        for neighbor in neighbors {
            let key = lpm::key(neighbor.address);
            if let Path::Unresolved { interface, gateway: None, mtu } =
                self.paths[routes.lookup(key) as usize]
                && interface == neighbor.interface
            {
                let value = self.path(interface, Some(neighbor.address), Some(mtu));
                rows.push((key, if ipv4 { 32 } else { 128 }, value));
            }
        }
        Lpm::build(rows, Self::NO_ROUTE)
    }

    fn ports(&self) -> Vec<PortInterfaces> {
        let mut ports: Vec<PortInterfaces> = Vec::new();
        for (position, interface) in self.routing.interfaces.iter().enumerate() {
            let at = usize::from(interface.port.0);
            if ports.len() <= at {
                ports.resize_with(at + 1, PortInterfaces::default);
            }
            match interface.vlan {
                None => ports[at].untagged = Some(position),
                Some(vlan) => ports[at].tagged.push((vlan, position)),
            }
        }
        for port in &mut ports {
            port.tagged.sort_unstable();
        }
        ports
    }

    fn push(&mut self, path: Path) -> u32 {
        self.paths.push(path);
        u32::try_from(self.paths.len() - 1).expect("fewer than 2^31 paths")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::routing::{Route, TableId};

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
        assert!(fib.is_local("203.0.113.254".parse().unwrap()));
        assert!(!fib.is_local("203.0.113.253".parse().unwrap()));
        routing.routes.push(route("198.51.100.0/24", RouteAction::Local));
        let fib = Fib::build(&routing);
        assert!(fib.is_local("198.51.100.77".parse().unwrap()), "a local prefix (AnyIP)");
        assert!(!fib.is_local("203.0.113.253".parse().unwrap()));
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
        assert_eq!(fib.ingress(PortId(7), None), None);
        assert_eq!(fib.icmpv4_source(InterfaceId(0)), Some(Ipv4Addr::new(198, 51, 100, 254)));
        assert_eq!(fib.icmpv6_source(InterfaceId(0)), Some("2001:db8:ffff::1".parse().unwrap()));
        assert_eq!(fib.icmpv4_source(InterfaceId(1)), None);
    }
}
