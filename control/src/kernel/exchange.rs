//! What passes between workers and kernel, decided without any I/O: punted packets that wait for a neighbour, frames
//! of the twins, news of the kernel.
//!
//! Frames of a twin always go to the same worker, so their order is kept.

use std::net::IpAddr;
use std::time::Instant;

use dataplane::exception::InjectSender;
use dataplane::table::routing::{Change, Interface, InterfaceId, MacAddress, PortId};

use super::counters::KernelCounters;
use super::event::{Dump, Event};
use super::interfaces::ethernet_header;
use super::resolver::{Queued, Resolver};
use super::routes::RouteTable;
use super::state::{Changes, KernelState, NeighborChange, News};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// State, waiting packets, inject rings and counters.
pub(super) struct Exchange {
    pub(super) state: KernelState,
    pub(super) counters: KernelCounters,
    resolver: Resolver,
    injects: Vec<InjectSender>,
    asks: Vec<(u32, IpAddr)>,
}

impl Exchange {
    pub(super) fn new(state: KernelState, injects: Vec<InjectSender>) -> Self {
        Self {
            state,
            counters: KernelCounters::default(),
            resolver: Resolver::new(),
            injects,
            asks: Vec::new(),
        }
    }

    /// A frame the kernel sends by a twin.
    pub(super) fn inject(&mut self, port: PortId, frame: &[u8]) {
        let workers = self.injects.len().max(1);
        match self.injects.get_mut(usize::from(port.0) % workers).map(|inject| inject.send(port, frame)) {
            Some(Ok(())) => self.counters.injected += 1,
            _ => self.counters.inject_refused += 1,
        }
    }

    /// A packet for a next hop whose link-layer address the worker does not know.
    pub(super) fn unresolved(&mut self, interface: InterfaceId, hop: IpAddr, packet: &[u8], now: Instant) {
        let (Some(index), true) = (self.state.index(interface), ether_type(packet).is_some()) else {
            self.counters.unresolved_invalid += 1;
            return;
        };
        if let Some(mac) = self.state.resolved(interface, hop) {
            // The worker has not seen the newest tables yet.
            self.release(interface, mac, packet);
            return;
        }
        match self.resolver.queue((interface, hop), packet, now) {
            Queued::Waits => self.counters.unresolved_queued += 1,
            Queued::Overflow => self.counters.unresolved_overflow += 1,
        }
        if self.resolver.may_ask((interface, hop), (index, hop), now) {
            self.asks.push((index, hop));
        }
    }

    /// News of the kernel.
    pub(super) fn apply(&mut self, event: Event, now: Instant) -> Changes {
        let mut changes = Changes::default();
        self.state.apply(event, now, &mut changes);
        self.neighbors(&changes.neighbors);
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
        self.neighbors(&changes.neighbors);
        changes
    }

    /// Some of what the dataplane has not been told of yet, and what finding that out means to others.
    pub(super) fn take_changes(&mut self, steps: usize) -> (Vec<Change>, Changes) {
        let changes = self.state.take_changes(steps);
        let news = self.state.take_news();
        self.neighbors(&news.neighbors);
        (changes, news)
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Instant) -> Changes {
        let mut changes = Changes::default();
        self.state.tick(now, &mut changes);
        self.neighbors(&changes.neighbors);
        for gateway in self.state.unresolved_gateways() {
            self.resolver.refresh(gateway);
        }
        let (expired, asks) = self.resolver.tick(now);
        self.counters.unresolved_expired += expired as u64;
        self.asks.extend(asks);
        changes
    }

    /// The neighbours the kernel is to resolve or confirm now.
    pub(super) fn take_asks(&mut self) -> Vec<(u32, IpAddr)> {
        std::mem::take(&mut self.asks)
    }

    fn neighbors(&mut self, changes: &[NeighborChange]) {
        for change in changes {
            let hop = (change.interface, change.address);
            self.resolver.answered((change.index, change.address));
            match change.news {
                News::Resolved { mac, stale } => {
                    for packet in self.resolver.take(hop) {
                        self.release(change.interface, mac, &packet);
                    }
                    // The kernel sees none of the packets the relay sends to it: without being asked it would never
                    // find out that a neighbour is gone or has a new address.
                    if stale {
                        self.resolver.refresh((change.index, change.address));
                    }
                }
                News::Failed { gateway } => {
                    self.counters.unresolved_failed += self.resolver.take(hop).count() as u64;
                    if gateway {
                        self.resolver.refresh((change.index, change.address));
                    }
                }
            }
        }
    }

    fn release(&mut self, interface: InterfaceId, mac: MacAddress, packet: &[u8]) {
        let frame = self.state.interface(interface).and_then(|interface| frame(&interface, mac, packet));
        let Some((port, frame)) = frame else {
            self.counters.unresolved_invalid += 1;
            return;
        };
        self.counters.unresolved_released += 1;
        self.inject(port, &frame);
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
