//! What passes between workers and kernel, decided without any I/O: punted packets that wait for a neighbour, frames
//! of the twins, news of the kernel.
//!
//! Frames of a twin always go to the same worker, so their order is kept.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use dataplane::exception::InjectSender;
use dataplane::sink::lone::LoneSampler;
use dataplane::sink::samples::Layer;
use dataplane::table::routing::{Change, Interface, InterfaceId, MacAddress, PortId};
use dataplane::verdict::{DropReason, PuntReason};
use dataplane::worker::Clock;

use super::carrier::Carriers;
use super::counters::KernelCounters;
use super::event::{Dump, Event};
use super::interfaces::ethernet_header;
use super::queues::Fill;
use super::resolver::{Lost, Queued, Request, Resolver};
use super::slow_path::SlowPath;
use super::state::{Changes, KernelState, Meanwhile, NeighborChange, News};
use super::tables::DumpedTables;
use super::waits::Waits;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Whether a host has an EAM of its own.
pub(super) type Mapped = Box<dyn Fn(Ipv6Addr) -> bool>;

/// Samples of what the control thread drops, with the workers' clock.
pub(super) struct LostSamples {
    pub(super) sampler: LoneSampler,
    pub(super) clock: Clock,
}

impl LostSamples {
    fn dropped(&mut self, port: PortId, reason: DropReason, layer: Layer, bytes: &[u8]) {
        self.sampler.dropped((self.clock.now)(), reason, port, layer, bytes);
    }
}

/// State, waiting packets, inject rings and counters.
pub(super) struct Exchange {
    pub(super) state: KernelState,
    pub(super) counters: KernelCounters,
    pub(super) resolver: Resolver,
    pub(super) carriers: Carriers,
    pub(super) slow_path: SlowPath,
    injects: Vec<InjectSender>,
    /// Bytes that were in each of them at most.
    inject_highest: Vec<usize>,
    mapped: Mapped,
    /// How long packets waited for the next hops that answered.
    pub(super) neighbor_waits: Waits,
    /// Samples of what is lost here.
    pub(super) samples: Option<LostSamples>,
}

impl Exchange {
    pub(super) fn new(state: KernelState, injects: Vec<InjectSender>, mapped: Mapped) -> Self {
        Self {
            state,
            counters: KernelCounters::default(),
            resolver: Resolver::new(),
            carriers: Carriers::default(),
            slow_path: SlowPath::default(),
            inject_highest: vec![0; injects.len()],
            injects,
            mapped,
            neighbor_waits: Waits::default(),
            samples: None,
        }
    }

    /// How full the rings to the workers are, in their order.
    pub(super) fn inject_fills(&self) -> impl Iterator<Item = Fill> + '_ {
        self.injects.iter().zip(&self.inject_highest).map(|(inject, highest)| {
            let (used, capacity) = inject.fill();
            Fill { used, highest: used.max(*highest), capacity }
        })
    }

    /// A frame the kernel sends by a twin.
    pub(super) fn inject(&mut self, port: PortId, frame: &[u8]) {
        if self.hand_over(port, frame) {
            self.counters.injected += 1;
        } else {
            self.counters.inject_refused += 1;
        }
    }

    /// A packet the box itself sends by `bl-up`.
    pub(super) fn inject_packet(&mut self, packet: &[u8]) {
        let sent = self.injects.first_mut().is_some_and(|inject| inject.send_packet(packet).is_ok());
        if sent {
            self.counters.injected += 1;
        } else {
            self.counters.inject_refused += 1;
        }
    }

    /// A packet of the relay's own for a worker; whether it could be handed over.
    pub(super) fn probe(&mut self, worker: usize, number: u16, packet: &[u8]) -> bool {
        self.injects.get_mut(worker).is_some_and(|inject| inject.send_probe(number, packet).is_ok())
    }

    pub(super) fn ask_for_samples(&mut self, bursts: u16) {
        for inject in &mut self.injects {
            // Only a look: a worker whose ring is full has other troubles.
            inject.ask_for_samples(bursts).ok();
        }
    }

    /// A packet for a next hop whose link-layer address the worker does not know.
    pub(super) fn unresolved(&mut self, interface: InterfaceId, hop: IpAddr, packet: &[u8], now: Instant) {
        let (Some(index), true) = (self.state.index(interface), ether_type(packet).is_some()) else {
            self.lose_one(interface, DropReason::InterfaceDown, packet);
            return;
        };
        if let Some(mac) = self.state.resolved(interface, hop) {
            // The worker has not seen the newest tables yet; if that lasts, something is wrong.
            self.counters.slow_path += 1;
            self.slow_path.saw((index, hop), now);
            self.release(interface, mac, packet);
            return;
        }
        let neighbor = (index, hop);
        let mapped = || matches!(hop, IpAddr::V6(host) if (self.mapped)(host));
        let standing = self.resolver.standing(neighbor, self.state.is_gateway(index, hop), mapped);
        match self.resolver.queue(standing, (interface, hop), neighbor, packet, now) {
            Queued::Waits { displaced } => {
                self.counters.unresolved_queued += 1;
                self.lose(DropReason::NeighborWaitOverflow, displaced);
                self.sample_lost();
            }
            Queued::Overflow => self.lose_one(interface, DropReason::NeighborWaitOverflow, packet),
        }
    }

    /// The kernel did not do what [`Resolver::take_requests`] wanted. `table_full`: it has no room for more neighbours.
    pub(super) fn refused(&mut self, request: Request, table_full: bool) {
        self.counters.neighbor_requests_refused += 1;
        if let (Request::Use(neighbor), true) = (request, table_full) {
            self.resolver.refused(neighbor);
        }
    }

    /// News of the kernel.
    pub(super) fn apply(&mut self, event: Event, now: Instant) -> Changes {
        let mut changes = Changes::default();
        self.state.apply(event, now, &mut changes);
        self.neighbors(&changes.neighbors, now);
        changes
    }

    /// A finished dump, and the news since it began: see [`KernelState::catch_up`].
    pub(super) fn catch_up(
        &mut self,
        dump: Dump,
        routes: DumpedTables,
        meanwhile: Meanwhile,
        now: Instant,
    ) -> Changes {
        let mut changes = Changes::default();
        self.state.catch_up(dump, routes, meanwhile, now, &mut changes);
        self.neighbors(&changes.neighbors, now);
        changes
    }

    /// Some of what the dataplane has not been told of yet, and what finding that out means to others.
    pub(super) fn take_changes(&mut self, steps: usize, now: Instant) -> (Vec<Change>, Changes) {
        let changes = self.state.take_changes(steps);
        let news = self.state.take_news();
        self.neighbors(&news.neighbors, now);
        (changes, news)
    }

    /// The twins whose carrier is to change. The state has it at once.
    pub(super) fn carry(&mut self) -> (Vec<(PortId, bool)>, Changes) {
        let mut changes = Changes::default();
        let carriers = self.carriers.changes(self.state.links());
        for (port, carrier) in &carriers {
            self.state.carrier_set(*port, *carrier, &mut changes);
        }
        (carriers, changes)
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Instant) -> Changes {
        let mut changes = Changes::default();
        self.state.tick(now, &mut changes);
        self.neighbors(&changes.neighbors, now);
        for gateway in self.state.unresolved_gateways() {
            self.resolver.refresh(gateway);
        }
        let expired = self.resolver.tick(now);
        self.lose(DropReason::NeighborWaitExpired, expired.late);
        self.lose(DropReason::NeighborTableFull, expired.table_full);
        self.sample_lost();
        changes
    }

    fn neighbors(&mut self, changes: &[NeighborChange], now: Instant) {
        for change in changes {
            let (hop, neighbor) = ((change.interface, change.address), (change.index, change.address));
            match change.news {
                News::Resolved { mac, stale } => {
                    self.resolver.resolved(neighbor);
                    self.resolver.answered(hop);
                    for packet in self.resolver.take(hop) {
                        self.neighbor_waits.add(now.saturating_duration_since(packet.since));
                        self.release(change.interface, mac, &packet.bytes);
                    }
                    // The kernel sees none of the packets the relay sends to it: without being asked it would never
                    // find out that a neighbour is gone or has a new address.
                    if stale {
                        self.resolver.refresh(neighbor);
                    }
                }
                News::Failed { gateway, lost } => {
                    self.resolver.failed(neighbor);
                    let waiting = self.resolver.give_up(hop, DropReason::NeighborFailed, now);
                    self.lose(DropReason::NeighborFailed, waiting);
                    self.sample_lost();
                    if lost {
                        self.resolver.ask_again(neighbor, now);
                    } else if gateway {
                        self.resolver.refresh(neighbor);
                    }
                }
                News::Gone => self.resolver.gone(neighbor),
            }
        }
    }

    fn release(&mut self, interface: InterfaceId, mac: MacAddress, packet: &[u8]) {
        let frame = self.state.interface(interface).and_then(|interface| frame(&interface, mac, packet));
        let Some((port, frame)) = frame else {
            self.lose_one(interface, DropReason::InterfaceDown, packet);
            return;
        };
        if self.hand_over(port, &frame) {
            self.counters.unresolved_released += 1;
            self.counters.injected += 1;
        } else {
            self.lose_one(interface, DropReason::InjectRingFull, packet);
        }
    }

    fn hand_over(&mut self, port: PortId, frame: &[u8]) -> bool {
        let workers = self.injects.len().max(1);
        let at = usize::from(port.0) % workers;
        let Some(inject) = self.injects.get_mut(at) else { return false };
        let sent = inject.send(port, frame).is_ok();
        self.inject_highest[at] = self.inject_highest[at].max(inject.fill().0);
        sent
    }

    /// A frame or packet for the box came to nothing.
    pub(super) fn refused_by_twin(&mut self, port: PortId, punted: PuntReason, layer: Layer, bytes: &[u8]) {
        self.counters.lost.count(punted, DropReason::TwinRefused, 1);
        self.sample(port, DropReason::TwinRefused, layer, bytes);
    }

    /// A packet for a next hop behind `interface` ends here.
    fn lose_one(&mut self, interface: InterfaceId, reason: DropReason, packet: &[u8]) {
        self.lose(reason, 1);
        self.sample(self.port_of(interface), reason, Layer::Ip, packet);
    }

    /// Samples of what waited in vain.
    fn sample_lost(&mut self) {
        for Lost { hop: (interface, _), reason, bytes } in self.resolver.take_lost() {
            self.sample(self.port_of(interface), reason, Layer::Ip, &bytes);
        }
    }

    fn sample(&mut self, port: PortId, reason: DropReason, layer: Layer, bytes: &[u8]) {
        if let Some(samples) = &mut self.samples {
            samples.dropped(port, reason, layer, bytes);
        }
    }

    /// The port behind an interface; the first one for an interface that is gone.
    fn port_of(&self, interface: InterfaceId) -> PortId {
        self.state.interface(interface).map_or(PortId(0), |interface| interface.port)
    }

    /// Packets that waited for a neighbour end here.
    fn lose(&mut self, reason: DropReason, packets: usize) {
        self.counters.lost.count(PuntReason::UnresolvedNextHop, reason, packets);
    }
}

fn frame(interface: &Interface, mac: MacAddress, packet: &[u8]) -> Option<(PortId, Vec<u8>)> {
    let mut frame = ethernet_header(interface, mac, ether_type(packet)?);
    frame.extend_from_slice(packet);
    Some((interface.port, frame))
}

/// By the packet, never by the next hop: IPv4 may have an IPv6 next hop (RFC 5549).
fn ether_type(packet: &[u8]) -> Option<u16> {
    match packet.first()? >> 4 {
        4 => Some(ETHERTYPE_IPV4),
        6 => Some(ETHERTYPE_IPV6),
        _ => None,
    }
}
