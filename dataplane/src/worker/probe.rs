//! Packets of the relay's own that test a worker: the functions, the tables and the buffers are those of traffic, the
//! counts and the way out are not.
//!
//! A probe goes through the express lane and, once more, through the walk; both must make the same of it. Routes have no say:
//! whether there is a way to its destination is asked elsewhere, and its own way leads back to the control thread.

use std::sync::Arc;

use super::injected::copy;
use crate::buffer::{Buffer, BufferPool};
use crate::exception::ProbeEnd;
use crate::sink::Sink;
use crate::stage::parse::Ingress;
use crate::table::fib::{Adjacency, Fib};
use crate::table::routing::{
    Hop, Interface, InterfaceId, MacAddress, Neighbor, NeighborState, PortId, Route, RouteAction, Routing,
    TableId,
};
use crate::table::snapshot::Snapshot;
use crate::walk::{End, LcoreState, Native, Output, Walk, Wanted};

/// The interface probes come and go by.
const NOWHERE: InterfaceId = InterfaceId(0);
/// How they come in.
const INGRESS: Ingress = Ingress { interface: NOWHERE, mtu: 9000, group: false };

/// Sends probes through the stages.
pub(super) struct Prober {
    /// Leads everywhere by one way.
    fib: Arc<Fib>,
}

impl Prober {
    pub(super) fn new() -> Self {
        Self { fib: Arc::new(Fib::build(&routing())) }
    }

    /// What would become of a packet, and what would leave the box.
    pub(super) fn probe<P: BufferPool>(
        &self,
        packet: &[u8],
        snapshot: &Snapshot,
        lcore: &mut LcoreState,
        pool: &mut P,
    ) -> (ProbeEnd, Option<P::Buffer>) {
        // The clone is let go of within the turn: the worker never has the last one.
        let snapshot = Snapshot { fib: Arc::clone(&self.fib), ..snapshot.clone() };
        // No mapping is billed for a probe.
        let meter = lcore.meter.take();
        let (end, fast) = way(packet, &snapshot, lcore, pool, false);
        let again = (end == ProbeEnd::Translated).then(|| way(packet, &snapshot, lcore, pool, true));
        lcore.meter = meter;
        match (fast, again) {
            (_, None) => (end, None),
            (Some(fast), Some((ProbeEnd::Translated, Some(slow)))) if same(fast.data(), slow.data()) => {
                (end, Some(fast))
            }
            _ => (ProbeEnd::Ambiguous, None),
        }
    }
}

/// One way of the two: with the express lane first, or the walk alone.
fn way<P: BufferPool>(
    packet: &[u8],
    snapshot: &Snapshot,
    lcore: &mut LcoreState,
    pool: &mut P,
    walk_only: bool,
) -> (ProbeEnd, Option<P::Buffer>) {
    let Some(buffer) = copy(pool, packet) else {
        return (ProbeEnd::Dropped(crate::verdict::DropReason::NoBuffer), None);
    };
    let is_ipv6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
    let (mut sink, mut caught) = (Sink::default(), Caught(None));
    let (native, table) = (Native::Forward, TableId::MAIN);
    let mut walk = Walk { snapshot, lcore, sink: &mut sink, pool, output: &mut caught, native, table };
    let end = match (is_ipv6, walk_only) {
        (true, true) => walk.walk_ipv6(buffer, INGRESS),
        (true, false) => walk.ipv6(buffer, INGRESS),
        (false, true) => walk.walk_ipv4(buffer, INGRESS),
        (false, false) => walk.ipv4(buffer, INGRESS),
    };
    sink.release();
    match end {
        End::Forwarded(_) => (ProbeEnd::Translated, caught.0),
        End::Punted(_, reason) => (ProbeEnd::Punted(reason), None),
        End::Dropped { reason, .. } => (ProbeEnd::Dropped(reason), None),
    }
}

/// Equal, but for the identification of an IPv4 header, which is another for each packet, and the checksum over it.
fn same(one: &[u8], two: &[u8]) -> bool {
    let unique = |at: usize| one.first().is_some_and(|byte| byte >> 4 == 4) && matches!(at, 4 | 5 | 10 | 11);
    one.len() == two.len() && one.iter().zip(two).enumerate().all(|(at, (one, two))| one == two || unique(at))
}

/// Keeps what would leave the box.
struct Caught<B>(Option<B>);

impl<B: Buffer> Output<B> for Caught<B> {
    fn forward(&mut self, packet: B, _: &Adjacency, _: &mut Sink<B>) {
        self.0 = Some(packet);
    }

    fn unresolved(&mut self, packet: B, _: Wanted, _: &mut Sink<B>) {
        self.0 = Some(packet);
    }
}

/// Everything over one neighbour.
fn routing() -> Routing {
    let gateway = std::net::Ipv4Addr::LOCALHOST.into();
    let to = |destination| Route {
        destination,
        action: RouteAction::Via(vec![Hop { interface: NOWHERE, gateway: Some(gateway), weight: 1 }]),
        mtu: None,
    };
    let interface = Interface {
        id: NOWHERE,
        port: PortId(u16::MAX),
        vlan: None,
        table: TableId::MAIN,
        mac: MacAddress::default(),
        extra_macs: Vec::new(),
        mtu: INGRESS.mtu,
        up: true,
        ipv4_source: None,
        ipv6_source: None,
    };
    let state = NeighborState::Resolved(MacAddress::default());
    Routing {
        interfaces: vec![interface],
        routes: vec![to(ipnet::Ipv4Net::default().into()), to(ipnet::Ipv6Net::default().into())],
        neighbors: vec![Neighbor { interface: NOWHERE, address: gateway, state }],
        ..Routing::default()
    }
}
