//! What the kernel's routing looks like, as plain data: the input from which [`super::fib::Fib`] is built.
//!
//! The control thread fills a [`Routing`] from netlink and publishes the FIB compiled from it. Nothing here
//! is read per packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A DPDK port, by its position in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);

/// An interface the relay forwards on: a port, or one VLAN of a port. Stable while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceId(pub u16);

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The interface packets leave by.
    pub interface: InterfaceId,
    /// The router to send to; none when destinations are on the link itself. Of either family (RFC 5549).
    pub gateway: Option<IpAddr>,
    /// Share of the traffic in a multipath route, 1 or more.
    pub weight: u16,
}

/// What a route does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteAction {
    /// One of the box's own, broadcast or anycast addresses: packets are the kernel's.
    Local,
    /// Forwarded by the relay over one or several hops.
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

/// One route of the kernel's main or local table, already the best of its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Destination prefix.
    pub destination: IpNet,
    /// What happens to packets for it.
    pub action: RouteAction,
    /// The route's own MTU (`ip route ... mtu 1400`), when smaller than the interface's.
    pub mtu: Option<u16>,
}

/// Everything the kernel says about forwarding.
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
