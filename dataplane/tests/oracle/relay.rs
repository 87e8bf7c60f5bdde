//! The walk with everything it hands over collected.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use dataplane::buffer::Buffer;
use dataplane::counters::{Counts, Event};
use dataplane::memory::{MemoryBuffer, MemoryPool};
use dataplane::sink::Sink;
use dataplane::stage::error_limit::ErrorLimits;
use dataplane::stage::parse::Ingress;
use dataplane::table::fib::{Adjacency, Fib};
use dataplane::table::routing::{
    Hop, Interface, InterfaceId, MacAddress, Neighbor, NeighborState, PortId, Route, RouteAction, Routing,
    TableId,
};
use dataplane::table::snapshot::Snapshot;
use dataplane::table::translation::IcmpErrors;
use dataplane::walk::{End, LcoreState, Native, Output, Walk, Wanted, Way};

use super::world::World;

/// Port 0 leads to all of IPv4, port 1 to all of IPv6.
pub const MACS: [MacAddress; 2] = [MacAddress([2, 0, 0, 0, 0, 4]), MacAddress([2, 0, 0, 0, 0, 6])];
/// Every neighbour.
pub const MAC_PEER: MacAddress = MacAddress([2, 0, 0, 0, 0, 0xee]);
/// The VLAN of port 0 that is an interface of its own.
pub const VLAN: u16 = 100;

/// The relay under test.
pub struct Relay {
    snapshot: Snapshot,
    lcore: LcoreState,
    sink: Sink<MemoryBuffer>,
    mtus: [u16; 2],
}

/// How one packet ended.
pub struct Run {
    pub end: End<MemoryBuffer>,
    pub out: Vec<Vec<u8>>,
    /// What was counted on the way.
    pub counts: Counted,
}

impl Relay {
    pub fn new(world: &World) -> Self {
        Self {
            snapshot: snapshot(world),
            lcore: LcoreState::new(limit(world)),
            sink: Sink::default(),
            mtus: [world.mtu4, world.mtu6],
        }
    }

    /// Another relay with the same tables.
    pub fn twin(&self, world: &World) -> Self {
        Self { lcore: LcoreState::new(limit(world)), ..self.copy() }
    }

    /// Another relay with the same tables and keys, that has counted nothing yet.
    pub fn copy(&self) -> Self {
        let (snapshot, lcore) = (self.snapshot.clone(), self.lcore.clone());
        Self { snapshot, lcore, sink: Sink::default(), mtus: self.mtus }
    }

    /// One packet, received on the port of its family.
    pub fn run(&mut self, packet: &[u8]) -> Run {
        self.take(packet, |walk, buffer, ingress, is_ipv6| match is_ipv6 {
            true => walk.ipv6(buffer, ingress),
            false => walk.ipv4(buffer, ingress),
        })
    }

    /// The same by the walk alone, whatever the packet.
    pub fn run_walk(&mut self, packet: &[u8]) -> Run {
        self.take(packet, |walk, buffer, ingress, is_ipv6| match is_ipv6 {
            true => walk.walk_ipv6(buffer, ingress),
            false => walk.walk_ipv4(buffer, ingress),
        })
    }

    /// Whether [`Self::run`] takes the express lane.
    pub fn is_plain(&mut self, packet: &[u8]) -> bool {
        let mut plain = false;
        let mut copy = self.copy();
        copy.take(packet, |walk, buffer, _, _| {
            plain = walk.is_plain(buffer.data());
            End::Forwarded(Way::Native)
        });
        plain
    }

    /// Everything counted so far.
    pub fn counts(&self) -> &Counts {
        &self.sink.counts
    }

    fn take(
        &mut self,
        packet: &[u8],
        way: impl FnOnce(&mut Walk<'_, MemoryPool, Collected>, MemoryBuffer, Ingress, bool) -> End<MemoryBuffer>,
    ) -> Run {
        let before = self.sink.counts.clone();
        let mut output = Collected(Vec::new());
        let mut walk = Walk {
            snapshot: &self.snapshot,
            lcore: &mut self.lcore,
            sink: &mut self.sink,
            pool: &mut MemoryPool::unlimited(),
            output: &mut output,
            native: Native::Report,
            table: TableId::MAIN,
        };
        let is_ipv6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
        let number = u16::from(is_ipv6);
        let ingress =
            Ingress { interface: InterfaceId(number), mtu: self.mtus[usize::from(number)], group: false };
        let end = way(&mut walk, MemoryBuffer::new(packet), ingress, is_ipv6);
        Run { end, out: output.0, counts: Counted { before, after: self.sink.counts.clone() } }
    }
}

fn limit(world: &World) -> Option<ErrorLimits> {
    match world.settings.icmp_errors {
        IcmpErrors::Limit(rate) => Some(ErrorLimits::new(rate, 1000)),
        IcmpErrors::Send | IcmpErrors::Off => None,
    }
}

/// The difference one packet made.
pub struct Counted {
    before: Counts,
    after: Counts,
}

impl Counted {
    pub fn event(&self, event: Event) -> u64 {
        self.after.event(event) - self.before.event(event)
    }

    pub fn originated(&self) -> u64 {
        self.after.originated() - self.before.originated()
    }

    pub fn dropped(&self) -> u64 {
        self.after.all_dropped() - self.before.all_dropped()
    }
}

struct Collected(Vec<Vec<u8>>);

impl Output<MemoryBuffer> for Collected {
    fn forward(&mut self, packet: MemoryBuffer, _: &Adjacency, _: &mut Sink<MemoryBuffer>) {
        self.0.push(packet.data().to_vec());
    }

    fn unresolved(&mut self, packet: MemoryBuffer, _: Wanted, _: &mut Sink<MemoryBuffer>) {
        self.0.push(packet.data().to_vec());
    }
}

/// The tables of a world.
pub fn snapshot(world: &World) -> Snapshot {
    Snapshot { generation: 1, translation: Arc::new(world.translation()), fib: fib(world) }
}

/// Building a FIB takes longer than a packet; there are few of them.
fn fib(world: &World) -> Arc<Fib> {
    thread_local! {
        static KNOWN: RefCell<HashMap<(u16, u16, IpAddr), Arc<Fib>>> = RefCell::default();
    }
    let key = (world.mtu4, world.mtu6, IpAddr::V4(world.own4));
    KNOWN.with_borrow_mut(|known| {
        let build = || Arc::new(Fib::build(&routing(world, &[])));
        Arc::clone(known.entry(key).or_insert_with(build))
    })
}

/// One resolved default route per family, and further routes.
pub fn routing(world: &World, further: &[Route]) -> Routing {
    let gateway = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
    let interface = |id: u16, port: u16, vlan| Interface {
        id: InterfaceId(id),
        port: PortId(port),
        vlan,
        table: TableId::MAIN,
        mac: MACS[usize::from(port)],
        extra_macs: Vec::new(),
        mtu: [world.mtu4, world.mtu6][usize::from(port)],
        up: true,
        ipv4_source: Some(world.own4),
        ipv6_source: Some(world.own6),
    };
    let neighbor = |id| Neighbor {
        interface: InterfaceId(id),
        address: gateway,
        state: NeighborState::Resolved(MAC_PEER),
    };
    let route = |destination, action| Route { destination, action, mtu: None };
    let via =
        |id| RouteAction::Via(vec![Hop { interface: InterfaceId(id), gateway: Some(gateway), weight: 1 }]);
    let mut routes = vec![
        route(ipnet::Ipv4Net::default().into(), via(0)),
        route(ipnet::Ipv6Net::default().into(), via(1)),
        route(IpAddr::V4(world.own4).into(), RouteAction::Local),
        route(IpAddr::V6(world.own6).into(), RouteAction::Local),
    ];
    routes.extend_from_slice(further);
    Routing {
        interfaces: vec![interface(0, 0, None), interface(1, 1, None), interface(2, 0, Some(VLAN))],
        neighbors: vec![neighbor(0), neighbor(1)],
        routes,
        ipv4_source: None,
        ipv6_source: None,
    }
}
