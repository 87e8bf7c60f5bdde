//! What the kernel's routing looks like, as plain data: the input from which [`super::fib::Fib`] is made.
//!
//! The control thread turns netlink into [`Change`]s; a [`super::compiler::Compiler`] takes them in and gives the next
//! FIB. A [`Routing`] is the same as one value, for tests and for tools without a kernel. Nothing here is read per
//! packet.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A DPDK port, by its position in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);

/// An interface the relay forwards on: a port, or one VLAN of a port. Stable while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceId(pub u16);

/// A forwarding table: what one lookup searches. The kernel's tables local, main and default are one of these, in which
/// whoever makes the [`Change`]s has settled which route counts; a VRF would be another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TableId(pub u16);

impl TableId {
    /// The table of interfaces that are in no VRF.
    pub const MAIN: Self = Self(0);
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MacAddress(pub [u8; 6]);

/// One interface the relay forwards on, as its kernel twin describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its identity.
    pub id: InterfaceId,
    /// The port frames leave by.
    pub port: PortId,
    /// The 802.1Q VLAN identifier (1 to 4094), or none for untagged frames.
    pub vlan: Option<u16>,
    /// Where the destinations of packets that arrive on it are looked up.
    pub table: TableId,
    /// Source address of the frames it sends.
    pub mac: MacAddress,
    /// Further unicast addresses whose frames are for it: of VRRP and macvlan devices above its twin.
    pub extra_macs: Vec<MacAddress>,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Administratively up, with carrier. Routes over an interface that is down are not used.
    pub up: bool,
    /// Source of the ICMPv4 errors that leave by it (RFC 1812 4.3.2.4): its primary IPv4 address.
    pub ipv4_source: Option<Ipv4Addr>,
    /// Source of the ICMPv6 errors that leave by it (RFC 4443 2.2): a global address, never a link-local one.
    pub ipv6_source: Option<Ipv6Addr>,
}

impl Interface {
    /// Whether frames to this unicast address are for the interface.
    #[inline]
    #[must_use]
    pub fn is_own(&self, destination: [u8; 6]) -> bool {
        destination == self.mac.0 || self.extra_macs.iter().any(|mac| destination == mac.0)
    }
}

/// Where the kernel's neighbour discovery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighborState {
    /// The link-layer address is known (reachable, stale, delay, probe, permanent).
    Resolved(MacAddress),
    /// Nobody answered (NUD_FAILED): packets get host unreachable (3/1) or address unreachable (1/3).
    Failed,
}

/// One entry of the kernel's neighbour table on a forwarding interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbor {
    /// The interface it is on.
    pub interface: InterfaceId,
    /// Its IP address.
    pub address: IpAddr,
    /// What is known of it.
    pub state: NeighborState,
}

/// One next hop of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The interface packets leave by.
    pub interface: InterfaceId,
    /// The router to send to; none when destinations are on the link itself. Of either family (RFC 5549).
    pub gateway: Option<IpAddr>,
    /// Share of the traffic in a multipath route, 1 or more.
    pub weight: u16,
}

/// What a route does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RouteAction {
    /// One of the box's own, broadcast or anycast addresses: packets are the kernel's.
    Local,
    /// Forwarded by the relay over one or several hops, those included whose interface is down or whose gateway does
    /// not answer: they keep their share of the flows for when they are back, and it is the others' until then.
    Via(Vec<Hop>),
    /// Leaves by an interface that is no twin (management, tunnel): the kernel forwards it.
    Kernel,
    /// `unreachable`: host unreachable is answered.
    Unreachable,
    /// `prohibit`: administratively prohibited is answered.
    Prohibit,
    /// `blackhole`: dropped without a word.
    Blackhole,
}

/// What counts for one destination prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Destination prefix.
    pub destination: IpNet,
    /// What happens to packets for it.
    pub action: RouteAction,
    /// The route's own MTU (`ip route ... mtu 1400`), when smaller than the interface's.
    pub mtu: Option<u16>,
}

/// One change of the kernel's view. What was not known is added, what was known is replaced, and what is removed need not
/// have been known: a change may be told twice. The order among interfaces, neighbours and routes is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An interface appeared or is different: MAC, MTU, state, sources.
    Interface(Interface),
    /// An interface is gone, and its neighbours with it. Its routes have to be removed by changes of their own.
    InterfaceRemoved(InterfaceId),
    /// A neighbour is resolved or has failed.
    Neighbor(Neighbor),
    /// Nothing is known of a neighbour any more.
    NeighborRemoved {
        /// The interface it was on.
        interface: InterfaceId,
        /// Its IP address.
        address: IpAddr,
    },
    /// What counts for a destination prefix of a table.
    Route {
        /// The table.
        table: TableId,
        /// The route.
        route: Route,
    },
    /// A destination prefix has no route in a table any more; shorter ones count.
    RouteRemoved {
        /// The table.
        table: TableId,
        /// The destination prefix.
        destination: IpNet,
    },
    /// Sources of ICMP errors where the outgoing interface has no address of its own (router id).
    Sources {
        /// For ICMPv4.
        ipv4: Option<Ipv4Addr>,
        /// For ICMPv6.
        ipv6: Option<Ipv6Addr>,
    },
}

/// Changes that are handed over together: few enough to be taken in within a millisecond.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// In order.
    pub changes: Vec<Change>,
    /// Workers may see the result. False while the first tables are being filled: more follows.
    pub publish: bool,
}

/// Everything the kernel says about forwarding, in one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// The interfaces the relay forwards on.
    pub interfaces: Vec<Interface>,
    /// Their neighbours.
    pub neighbors: Vec<Neighbor>,
    /// The routes of both families.
    pub routes: Vec<Route>,
    /// Source of ICMPv4 errors where the outgoing interface has no address of its own (router id).
    pub ipv4_source: Option<Ipv4Addr>,
    /// The same for ICMPv6.
    pub ipv6_source: Option<Ipv6Addr>,
}

impl Routing {
    /// The changes that lead from nothing to this.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.changes_since(&Self::default())
    }

    /// The changes that lead from `before` to this.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let sources = |routing: &Self| (routing.ipv4_source, routing.ipv6_source);
        if sources(self) != sources(before) {
            changes.push(Change::Sources { ipv4: self.ipv4_source, ipv6: self.ipv6_source });
        }
        let (put, gone) = differences(&before.interfaces, &self.interfaces, |interface| interface.id);
        changes.extend(put.into_iter().map(Change::Interface));
        changes.extend(gone.into_iter().map(Change::InterfaceRemoved));
        let key = |neighbor: &Neighbor| (neighbor.interface, neighbor.address);
        let (put, gone) = differences(&before.neighbors, &self.neighbors, key);
        changes.extend(put.into_iter().map(Change::Neighbor));
        let removed = |(interface, address)| Change::NeighborRemoved { interface, address };
        changes.extend(gone.into_iter().map(removed));
        let table = TableId::MAIN;
        let (put, gone) = differences(&before.routes, &self.routes, |route| route.destination.trunc());
        changes.extend(put.into_iter().map(|route| Change::Route { table, route }));
        changes.extend(gone.into_iter().map(|destination| Change::RouteRemoved { table, destination }));
        changes
    }
}

/// What is new or different, and the keys of what is gone.
fn differences<T: Clone + PartialEq, K: std::hash::Hash + Eq + Copy>(
    before: &[T],
    after: &[T],
    key: impl Fn(&T) -> K,
) -> (Vec<T>, Vec<K>) {
    // Of equal keys the last one counts, as in a sequence of changes.
    let old: HashMap<K, &T> = before.iter().map(|item| (key(item), item)).collect();
    let new: HashMap<K, &T> = after.iter().map(|item| (key(item), item)).collect();
    let put = new.iter().filter(|(key, item)| old.get(key) != Some(item)).map(|(_, item)| (*item).clone());
    (put.collect(), old.keys().filter(|key| !new.contains_key(key)).copied().collect())
}
