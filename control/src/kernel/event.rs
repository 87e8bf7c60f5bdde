//! What the kernel tells, as plain data: one [`Event`] per netlink message, or a whole [`Dump`].
//!
//! Nothing here knows how netlink encodes it. A recorded sequence of events replays a run.

use std::net::IpAddr;

use dataplane::table::routing::MacAddress;
use ipnet::IpNet;

/// One change of the kernel's view, in the order it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An interface appeared or changed.
    Link(Link),
    /// An interface is gone.
    LinkRemoved {
        /// Its ifindex.
        index: u32,
    },
    /// An address appeared or changed its flags.
    Address(Address),
    /// An address is gone.
    AddressRemoved(Address),
    /// A neighbour appeared or changed.
    Neighbor(NeighborEntry),
    /// A neighbour is gone.
    NeighborRemoved {
        /// The ifindex it was on.
        index: u32,
        /// Its address.
        address: IpAddr,
    },
    /// A route appeared or changed.
    Route {
        /// The route.
        route: KernelRoute,
        /// Where it goes among those with its destination and metric.
        placement: Placement,
    },
    /// A route, or some hops of an IPv6 route, are gone.
    RouteRemoved(KernelRoute),
    /// A nexthop object appeared or changed.
    NextHop(NextHopObject),
    /// A nexthop object is gone. IPv4 routes that used it vanish without a message of their own.
    NextHopRemoved {
        /// Its identifier.
        id: u32,
    },
    /// A policy rule that is not one of the kernel's default ones appeared.
    Rule(Rule),
    /// Such a rule is gone.
    RuleRemoved(Rule),
    /// Everything, replacing all that was known.
    Dump(Box<Dump>),
}

/// The complete state, as dumped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dump {
    /// Every interface of the namespace.
    pub links: Vec<Link>,
    /// Every address.
    pub addresses: Vec<Address>,
    /// Every ARP and ND entry.
    pub neighbors: Vec<NeighborEntry>,
    /// Policy rules beside the default ones.
    pub rules: Vec<Rule>,
    /// Every nexthop object.
    pub next_hops: Vec<NextHopObject>,
    /// Every route, with what its nexthop object stands for.
    pub routes: Vec<KernelRoute>,
}

/// A policy rule (`ip rule`) that may bear on packets that are forwarded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Of IPv6, or of IPv4.
    pub ipv6: bool,
    /// Its place among the rules.
    pub priority: u32,
    /// The interface that packets have to come in by; none where that does not matter.
    pub interface: Option<String>,
    /// It asks for nothing else, and its table counts as it is.
    pub everything: bool,
    /// The table it looks up; none when it does something else.
    pub table: Option<u32>,
}

/// One nexthop object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHopObject {
    /// Its identifier (`ip nexthop ... id`).
    pub id: u32,
    /// What it stands for.
    pub kind: NextHopKind,
}

/// What a nexthop object stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextHopKind {
    /// One hop.
    Single(KernelHop),
    /// None: packets are dropped.
    Blackhole,
    /// Others, by identifier, with their weights.
    Group(Box<[(u32, u16)]>),
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The ifindex.
    pub index: u32,
    /// Its name, for the log.
    pub name: String,
    /// Ifindex of the interface below, in the same namespace.
    pub parent: Option<u32>,
    /// 802.1Q VLAN identifier, on a VLAN interface. Provider tags (802.1ad) are not VLANs of ours.
    pub vlan: Option<u16>,
    /// What sort of virtual interface it is (`macvlan`, `bridge`, ...); empty for others.
    pub kind: String,
    /// Ifindex of the bridge, bond or VRF it belongs to.
    pub master: Option<u32>,
    /// The table of a VRF device.
    pub vrf: Option<u32>,
    /// The Ethernet address, if it has one.
    pub mac: Option<MacAddress>,
    /// The MTU.
    pub mtu: u32,
    /// IFF_UP.
    pub admin_up: bool,
    /// IFF_LOWER_UP.
    pub carrier: bool,
    /// IFF_LOOPBACK.
    pub loopback: bool,
}

impl Link {
    /// Whether packets can leave by it.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.admin_up && self.carrier
    }
}

/// One address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent kernel flags")]
pub struct Address {
    /// The interface.
    pub index: u32,
    /// The address itself, on point-to-point links the local one.
    pub address: IpAddr,
    /// Length of its on-link prefix.
    pub prefix_length: u8,
    /// Scope universe.
    pub global: bool,
    /// IPv4 secondary, IPv6 temporary.
    pub secondary: bool,
    /// Not usable (yet): duplicate address detection runs or has failed.
    pub tentative: bool,
    /// Not for new communication.
    pub deprecated: bool,
}

/// One entry of the ARP or ND table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighborEntry {
    /// The interface it is on.
    pub index: u32,
    /// Its address.
    pub address: IpAddr,
    /// The state the kernel reports.
    pub reachability: Reachability,
    /// Its link-layer address, if known.
    pub mac: Option<MacAddress>,
}

/// The kernel's NUD states (RFC 4861 7.3.2 and Linux' own).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// NUD_NONE: an entry without any knowledge.
    None,
    /// Being resolved.
    Incomplete,
    /// Confirmed lately.
    Reachable,
    /// Known, unconfirmed for a while; nobody asks until the kernel itself sends.
    Stale,
    /// Waiting for a confirmation before probing.
    Delay,
    /// Being probed.
    Probe,
    /// Nobody answered.
    Failed,
    /// Needs no resolution.
    NoArp,
    /// Set by the operator.
    Permanent,
}

/// The routing tables, those first that the kernel's default rules consult, in that order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// 255: own addresses, broadcast, anycast.
    Local,
    /// 254.
    Main,
    /// 253.
    Default,
    /// Any other, by its number: of a VRF, or for a rule.
    Other(u32),
}

/// Where a new route goes among those with the same destination and metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Before the others: IPv4's plain add.
    First,
    /// Behind them: append, and the order of a dump.
    Last,
    /// In the place of the first one.
    Replace,
}

/// One route as the kernel holds it, before the choice of the best.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRoute {
    /// The table it is in.
    pub table: Table,
    /// The destination.
    pub destination: IpNet,
    /// Smaller is better.
    pub metric: u32,
    /// What it does.
    pub kind: RouteKind,
    /// Where to: none for the types that need none.
    pub hops: Box<[KernelHop]>,
    /// RTAX_MTU.
    pub mtu: Option<u32>,
    /// The nexthop object the hops come from; then [`Self::hops`] and [`Self::kind`] are what it stands for.
    pub next_hop_object: Option<u32>,
    /// RTPROT_*: part of the kernel's idea of "the same route".
    pub protocol: u8,
    /// Preferred source address, likewise.
    pub preferred_source: Option<IpAddr>,
}

/// Route types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// Forwarded.
    Unicast,
    /// Local, anycast and multicast: the kernel's own.
    Local,
    /// The broadcast address of an IPv4 link: the kernel's own, as long as the link is up.
    Broadcast,
    /// Dropped silently.
    Blackhole,
    /// Host unreachable.
    Unreachable,
    /// Administratively prohibited.
    Prohibit,
    /// Ends the lookup in this table as if it had no route.
    Throw,
}

/// One next hop of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelHop {
    /// The interface packets leave by.
    pub index: u32,
    /// The router, of either family (RTA_GATEWAY or RTA_VIA).
    pub gateway: Option<IpAddr>,
    /// Share of the traffic, 1 or more.
    pub weight: u16,
    /// RTNH_F_DEAD. RTNH_F_LINKDOWN is not kept: IPv4 never tells when it goes away, the link's carrier does.
    pub dead: bool,
    /// The kernel would add a header (MPLS, segment routing): a packet only it can send.
    pub encapsulated: bool,
}

impl KernelHop {
    /// Whether it is the same hop, whatever its weight and health.
    #[must_use]
    pub fn same_place(&self, other: &Self) -> bool {
        self.index == other.index && self.gateway == other.gateway
    }
}
