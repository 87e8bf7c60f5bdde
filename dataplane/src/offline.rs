//! The walk without ports: packets in, packets and verdicts out. What `borderline translate` runs.
//!
//! Two imaginary interfaces stand for the box, one with all of IPv4 behind it, one with all of IPv6; a packet
//! arrives on the interface of its family. No rate limit applies to ICMP errors.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::buffer::Buffer;
use crate::counters::Counts;
use crate::memory::{MemoryBuffer, MemoryPool};
use crate::sink::Sink;
use crate::stage::parse::Ingress;
use crate::table::fib::{Adjacency, Fib};
use crate::table::routing::{
    Hop, Interface, InterfaceId, MacAddress, Neighbor, NeighborState, PortId, Route, RouteAction, Routing,
    TableId,
};
use crate::table::snapshot::Snapshot;
use crate::table::translation::Translation;
use crate::verdict::{DropReason, Verdict};
use crate::walk::{End, LcoreState, Native, Output, Walk, Wanted, Way};

/// The imaginary box.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// MTU towards IPv4, in bytes.
    pub ipv4_mtu: u16,
    /// MTU towards IPv6, in bytes.
    pub ipv6_mtu: u16,
    /// Its IPv4 address, the source of ICMPv4 errors it originates.
    pub ipv4_address: Ipv4Addr,
    /// Its IPv6 address, the source of ICMPv6 errors it originates.
    pub ipv6_address: Ipv6Addr,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Translated.
    Translated,
    /// Translated there and back.
    Hairpinned,
    /// Refused with an ICMP error.
    IcmpError(DropReason),
    /// Refused silently.
    Dropped(DropReason),
    /// The kernel's, with the punt reason's name.
    Punted(&'static str),
    /// Not the translator's: routed as it is, and not among the output.
    Native,
}

/// A translator of single packets.
pub struct Offline {
    snapshot: Snapshot,
    ingress: [Ingress; 2],
    lcore: LcoreState,
    sink: Sink<MemoryBuffer>,
    pool: MemoryPool,
}

const IPV4: InterfaceId = InterfaceId(0);
const IPV6: InterfaceId = InterfaceId(1);

impl Offline {
    /// A translator for this box.
    #[must_use]
    pub fn new(translation: Translation, shape: &Shape) -> Self {
        let fib = Arc::new(Fib::build(&routing(shape)));
        Self {
            snapshot: Snapshot { generation: 1, translation: Arc::new(translation), fib },
            ingress: [
                Ingress { interface: IPV4, mtu: shape.ipv4_mtu, group: false },
                Ingress { interface: IPV6, mtu: shape.ipv6_mtu, group: false },
            ],
            lcore: LcoreState::new(None),
            sink: Sink::default(),
            pool: MemoryPool::unlimited(),
        }
    }

    /// Takes one packet, from its IP header on, through the walk. What leaves the box is appended to `out`, in
    /// order.
    pub fn run(&mut self, packet: &[u8], out: &mut Vec<Vec<u8>>) -> Outcome {
        self.run_received(packet, false, out)
    }

    /// As [`run`](Self::run); `group` tells that the packet came as a broadcast or multicast of the link layer.
    pub fn run_received(&mut self, packet: &[u8], group: bool, out: &mut Vec<Vec<u8>>) -> Outcome {
        let mut collected = Collected(Vec::new());
        let mut walk = Walk {
            snapshot: &self.snapshot,
            lcore: &mut self.lcore,
            sink: &mut self.sink,
            pool: &mut self.pool,
            output: &mut collected,
            native: Native::Report,
            table: TableId::MAIN,
        };
        let buffer = MemoryBuffer::new(packet);
        let end = match packet.first().map(|byte| byte >> 4) {
            Some(6) => walk.ipv6(buffer, Ingress { group, ..self.ingress[1] }),
            _ => walk.ipv4(buffer, Ingress { group, ..self.ingress[0] }),
        };
        out.append(&mut collected.0);
        self.sink.release();
        match end {
            End::Forwarded(Way::Translated) => Outcome::Translated,
            End::Forwarded(Way::Hairpinned) => Outcome::Hairpinned,
            End::Forwarded(Way::Native) => Outcome::Native,
            End::Dropped { reason, answered: true } => Outcome::IcmpError(reason),
            End::Dropped { reason, answered: false } => Outcome::Dropped(reason),
            End::Punted(packet, reason) => {
                self.sink.finish(packet, Verdict::Punted(reason));
                Outcome::Punted(reason.name())
            }
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.sink.counts
    }
}

/// Everything that leaves, in order.
struct Collected(Vec<Vec<u8>>);

impl Output<MemoryBuffer> for Collected {
    fn forward(&mut self, packet: MemoryBuffer, _: &Adjacency, _: &mut Sink<MemoryBuffer>) {
        self.0.push(packet.data().to_vec());
    }

    fn unresolved(&mut self, packet: MemoryBuffer, _: Wanted, _: &mut Sink<MemoryBuffer>) {
        self.0.push(packet.data().to_vec());
    }
}

/// Both families behind one resolved default route each.
fn routing(shape: &Shape) -> Routing {
    let interface = |id: InterfaceId, mtu| Interface {
        id,
        port: PortId(id.0),
        vlan: None,
        table: TableId::MAIN,
        mac: MacAddress::default(),
        extra_macs: Vec::new(),
        mtu,
        up: true,
        ipv4_source: Some(shape.ipv4_address),
        ipv6_source: Some(shape.ipv6_address),
    };
    let gateway = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
    let neighbor = |interface| Neighbor {
        interface,
        address: gateway,
        state: NeighborState::Resolved(MacAddress::default()),
    };
    let route = |destination, action| Route { destination, action, mtu: None };
    let via = |interface| RouteAction::Via(vec![Hop { interface, gateway: Some(gateway), weight: 1 }]);
    Routing {
        interfaces: vec![interface(IPV4, shape.ipv4_mtu), interface(IPV6, shape.ipv6_mtu)],
        neighbors: vec![neighbor(IPV4), neighbor(IPV6)],
        routes: vec![
            route(ipnet::Ipv4Net::default().into(), via(IPV4)),
            route(ipnet::Ipv6Net::default().into(), via(IPV6)),
            route(IpAddr::V4(shape.ipv4_address).into(), RouteAction::Local),
            route(IpAddr::V6(shape.ipv6_address).into(), RouteAction::Local),
        ],
        ipv4_source: None,
        ipv6_source: None,
    }
}
