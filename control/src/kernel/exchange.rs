//! What passes between workers and kernel, decided without any I/O: punted packets that wait for a neighbour, frames
//! of the twins, news of the kernel.
//!
//! Frames of a twin always go to the same worker, so their order is kept.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use dataplane::exception::InjectSender;
use dataplane::table::routing::{Change, Interface, InterfaceId, MacAddress, PortId};
use dataplane::verdict::{DropReason, PuntReason};

use super::carrier::Carriers;
use super::counters::KernelCounters;
use super::event::{Dump, Event};
use super::interfaces::ethernet_header;
use super::resolver::{Queued, Request, Resolver};
use super::routes::RouteTable;
use super::state::{Changes, KernelState, NeighborChange, News};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Whether a host has an EAM of its own.
pub(super) type Mapped = Box<dyn Fn(Ipv6Addr) -> bool>;

/// State, waiting packets, inject rings and counters.
pub(super) struct Exchange {
    pub(super) state: KernelState,
    pub(super) counters: KernelCounters,
    pub(super) resolver: Resolver,
    pub(super) carriers: Carriers,
    injects: Vec<InjectSender>,
    mapped: Mapped,
}

impl Exchange {
    pub(super) fn new(state: KernelState, injects: Vec<InjectSender>, mapped: Mapped) -> Self {
        Self {
            state,
            counters: KernelCounters::default(),
            resolver: Resolver::new(),
            carriers: Carriers::default(),
            injects,
            mapped,
        }
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

    /// A packet for a next hop whose link-layer address the worker does not know.
    pub(super) fn unresolved(&mut self, interface: InterfaceId, hop: IpAddr, packet: &[u8], now: Instant) {
        let (Some(index), true) = (self.state.index(interface), ether_type(packet).is_some()) else {
            self.lose(DropReason::InterfaceDown, 1);
            return;
        };
        if let Some(mac) = self.state.resolved(interface, hop) {
            // The worker has not seen the newest tables yet.
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
            }
            Queued::Overflow => self.lose(DropReason::NeighborWaitOverflow, 1),
        }
    }

    /// The kernel did not do what [`Resolver::next_request`] wanted. `table_full`: it has no room for more neighbours.
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
        routes: RouteTable,
        meanwhile: Vec<Event>,
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
        changes
    }

    fn neighbors(&mut self, changes: &[NeighborChange], now: Instant) {
        for change in changes {
            let (hop, neighbor) = ((change.interface, change.address), (change.index, change.address));
            match change.news {
                News::Resolved { mac, stale } => {
                    self.resolver.resolved(neighbor);
                    for packet in self.resolver.take(hop) {
                        self.release(change.interface, mac, &packet);
                    }
                    // The kernel sees none of the packets the relay sends to it: without being asked it would never
                    // find out that a neighbour is gone or has a new address.
                    if stale {
                        self.resolver.refresh(neighbor);
                    }
                }
                News::Failed { gateway, lost } => {
                    self.resolver.failed(neighbor);
                    let waiting = self.resolver.take(hop).count();
                    self.lose(DropReason::NeighborFailed, waiting);
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
            self.lose(DropReason::InterfaceDown, 1);
            return;
        };
        if self.hand_over(port, &frame) {
            self.counters.unresolved_released += 1;
            self.counters.injected += 1;
        } else {
            self.lose(DropReason::InjectRingFull, 1);
        }
    }

    fn hand_over(&mut self, port: PortId, frame: &[u8]) -> bool {
        let workers = self.injects.len().max(1);
        let inject = self.injects.get_mut(usize::from(port.0) % workers);
        inject.is_some_and(|inject| inject.send(port, frame).is_ok())
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
