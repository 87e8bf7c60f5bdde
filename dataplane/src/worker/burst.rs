//! One burst's way through a worker: plain packets by the express lane, the others by the walk, what is the kernel's to the
//! rings.

use crate::buffer::{Buffer, BufferPool};
use crate::io::{BURST, Frames, TransmitQueue};
use crate::meter::Meter;
use crate::punt::{self, Offer};
use crate::sink::Sink;
use crate::sink::tap::{Tap, Walked};
use crate::stage::parse::{self, Family, Link};
use crate::table::eam::EamTable;
use crate::table::routing::{Interface, PortId, TableId};
use crate::table::snapshot::Snapshot;
use crate::transmit::Transmit;
use crate::verdict::{PuntReason, Verdict};
use crate::walk::express::{Lane, Lanes, add, resolve_deep};
use crate::walk::{End, LcoreState, Native, Walk, Way};
use crate::wire::ethernet;

/// How a plain frame begins: for an interface that is up, without a tag or with that of a VLAN.
struct PlainLink<'a> {
    snapshot: &'a Snapshot,
    port: PortId,
    /// The interface of untagged frames.
    untagged: Option<&'a Interface>,
    express: bool,
}

/// Bytes in front of a packet, without a tag and with one.
const UNTAGGED: u8 = 14;
const TAGGED: u8 = 18;
const _: () = assert!(UNTAGGED as usize == ethernet::HEADER && TAGGED as usize == ethernet::TAGGED_HEADER);

/// An 802.1Q tag behind an Ethernet header: its control information, then the EtherType of what follows.
const TAG: usize = ethernet::TAGGED_HEADER - ethernet::HEADER;

impl<'a> PlainLink<'a> {
    /// No frame is plain unless `express`.
    fn of(snapshot: &'a Snapshot, port: PortId, express: bool) -> Self {
        Self { snapshot, port, untagged: interface(snapshot, port, None).filter(|_| express), express }
    }

    #[inline(always)]
    fn inspect(&self, lane: &mut Lane<'a>, frame: &[u8]) {
        let Some((link, rest)) = frame.split_first_chunk::<{ ethernet::HEADER }>() else {
            return lane.leave();
        };
        let mut ether_type = u16::from_be_bytes([link[12], link[13]]);
        let (mut interface, mut packet) = (self.untagged, rest);
        lane.begin_behind(UNTAGGED);
        if ether_type == ethernet::TYPE_VLAN {
            let Some((tag, behind)) = rest.split_first_chunk::<TAG>() else {
                return lane.leave();
            };
            interface = self.tagged(ethernet::vlan_of([tag[0], tag[1]]));
            ether_type = u16::from_be_bytes([tag[2], tag[3]]);
            packet = behind;
            lane.begin_behind(TAGGED);
        }
        match interface {
            Some(interface) if is_own(interface, link) => {
                self.inspect_packet(lane, ether_type, packet, interface.table);
            }
            _ => lane.leave(),
        }
    }

    #[inline]
    fn tagged(&self, vlan: Option<u16>) -> Option<&'a Interface> {
        interface(self.snapshot, self.port, vlan).filter(|_| self.express)
    }

    #[inline(always)]
    fn inspect_packet(&self, lane: &mut Lane<'a>, ether_type: u16, packet: &[u8], table: TableId) {
        match ether_type {
            ethernet::TYPE_IPV4 => lane.inspect_ipv4(packet, self.snapshot, table),
            ethernet::TYPE_IPV6 => lane.inspect_ipv6(packet, self.snapshot, table),
            _ => lane.leave(),
        }
    }
}

#[inline(always)]
fn interface(snapshot: &Snapshot, port: PortId, vlan: Option<u16>) -> Option<&Interface> {
    snapshot.fib.ingress(port, vlan).filter(|interface| interface.up)
}

#[inline(always)]
fn is_own(interface: &Interface, link: &[u8; ethernet::HEADER]) -> bool {
    link[..6] == interface.mac.0 || is_extra(interface, link)
}

/// Whether a frame is for one of the interface's further addresses.
#[inline(never)]
fn is_extra(interface: &Interface, link: &[u8; ethernet::HEADER]) -> bool {
    interface.extra_macs.iter().any(|mac| link[..6] == mac.0)
}

/// Which packets of a burst were sent, a bit for each.
#[derive(Default)]
struct Sent(u64);

const _: () = assert!(BURST <= 64);

impl Sent {
    #[inline(always)]
    fn note(&mut self, at: usize, walked: Walked) {
        self.0 |= u64::from(matches!(walked, Walked::Sent(_))) << at;
    }

    #[inline(always)]
    const fn has(&self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }
}

/// What the frames of one burst meet.
pub(super) struct Burst<'a, T: TransmitQueue, P> {
    pub(super) port: PortId,
    pub(super) snapshot: &'a Snapshot,
    pub(super) lcore: &'a mut LcoreState,
    pub(super) sink: &'a mut Sink<T::Buffer>,
    pub(super) pool: &'a mut P,
    pub(super) transmit: &'a mut Transmit<T>,
}

impl<B: Buffer, T: TransmitQueue<Buffer = B>, P: BufferPool<Buffer = B>> Burst<'_, T, P> {
    /// Takes all of them to their end; plain ones by the lane if `express`.
    #[inline(never)]
    pub(super) fn walk(&mut self, frames: &mut Frames<B>, express: bool) {
        let snapshot = self.snapshot;
        let plain = PlainLink::of(snapshot, self.port, express);
        let (mut lanes, mut bytes) = (Lanes::new(), 0);
        for frame in frames.iter() {
            let frame = frame.data();
            bytes += frame.len() as u64;
            plain.inspect(add(&mut lanes), frame);
        }
        self.sink.received(self.port, frames, bytes);
        if snapshot.fib.is_deep() {
            resolve_deep(&mut lanes, frames, snapshot);
        } else {
            lanes.iter_mut().for_each(|lane| lane.resolve(snapshot));
        }
        if self.lcore.meter.is_some() || self.sink.watching().is_some() {
            return self.walk_observed(&lanes, frames);
        }
        for (lane, frame) in lanes.iter().zip(frames.drain(..)) {
            self.take(lane, frame);
        }
    }

    /// The same, with captures looking on, or the traffic of mappings counted.
    #[inline(never)]
    fn walk_observed(&mut self, lanes: &Lanes<'_>, frames: &mut Frames<B>) {
        let mut fetched = [0; BURST];
        if let Some(meter) = &mut self.lcore.meter {
            let meter = meter.begin();
            if meter.is_exact() {
                fetched.iter_mut().zip(lanes).for_each(|(at, lane)| *at = lane.fetch_counts(&meter));
            }
        }
        let sent = if self.sink.watching().is_some() {
            self.walk_watched(lanes, frames)
        } else {
            let mut sent = Sent::default();
            for (at, (lane, frame)) in lanes.iter().zip(frames.drain(..)).enumerate() {
                sent.note(at, self.take(lane, frame));
            }
            sent
        };
        if let Some(meter) = &mut self.lcore.meter {
            count(meter, &sent, lanes, &fetched, &self.snapshot.translation.eams);
        }
    }

    #[cold]
    #[inline(never)]
    fn walk_watched(&mut self, lanes: &Lanes<'_>, frames: &mut Frames<B>) -> Sent {
        let mut sent = Sent::default();
        self.show(|tap, port, frames| tap.forget(port, frames));
        for (at, (lane, frame)) in lanes.iter().zip(frames.drain(..)).enumerate() {
            if let Some(tap) = self.sink.watching() {
                tap.begin();
            }
            let walked = self.take(lane, frame);
            sent.note(at, walked);
            self.show(|tap, port, frames| tap.queued(port, frames));
            if let Some(tap) = self.sink.watching() {
                tap.done(at, walked, !lane.is_left());
            }
        }
        sent
    }

    /// Shows what waits for each port to the captures.
    fn show(&mut self, look: impl Fn(&mut Tap, PortId, &[B])) {
        if let Some(tap) = self.sink.watching() {
            self.transmit.waiting().for_each(|(port, frames)| look(tap, port, frames));
        }
    }

    #[inline(always)]
    fn take(&mut self, lane: &Lane<'_>, frame: B) -> Walked {
        if lane.is_left() {
            self.left(lane, frame)
        } else {
            Walked::of(&self.walker(TableId::MAIN).send_lane(frame, lane.offset(), lane))
        }
    }

    #[inline(never)]
    fn left(&mut self, lane: &Lane<'_>, frame: B) -> Walked {
        match self.walker(TableId::MAIN).send_native(frame, lane) {
            Ok(()) => Walked::of::<B>(&End::Forwarded(Way::Native)),
            Err(frame) => self.frame(frame),
        }
    }

    #[inline]
    fn walker(&mut self, table: TableId) -> Walk<'_, P, Transmit<T>> {
        Walk {
            snapshot: self.snapshot,
            lcore: self.lcore,
            sink: self.sink,
            pool: self.pool,
            output: self.transmit,
            native: Native::Forward,
            table,
        }
    }

    #[inline]
    fn frame(&mut self, mut frame: B) -> Walked {
        match parse::link(frame.data(), self.port, &self.snapshot.fib) {
            Link::Ip { family, offset, ingress } => {
                let length = frame.data().len();
                frame.pull_front(offset);
                let mut walk = self.walker(self.snapshot.fib.table_of(ingress.interface));
                let end = match family {
                    Family::Ipv4 => walk.walk_ipv4(frame, ingress),
                    Family::Ipv6 => walk.walk_ipv6(frame, ingress),
                };
                let walked = Walked::of(&end);
                if let End::Punted(packet, reason) = end {
                    self.punt_packet(packet, family, reason, offset, length);
                }
                walked
            }
            Link::Punt(reason) => {
                let offer = Offer::of_frame(frame.data(), reason);
                self.punt(frame, offer);
                Walked::Else
            }
            Link::Drop(reason) => {
                self.sink.finish_frame(frame, Verdict::Dropped(reason));
                Walked::Else
            }
        }
    }

    /// Gives the kernel the frame as it was received: nothing was written, only the ends were moved.
    fn punt_packet(
        &mut self,
        mut packet: B,
        family: Family,
        reason: PuntReason,
        offset: usize,
        length: usize,
    ) {
        let offer = punt::of_packet(family, packet.data(), reason);
        let padding = length - offset - packet.data().len();
        let restored = packet.push_front(offset).and_then(|()| packet.push_back(padding));
        debug_assert!(restored.is_ok(), "the room was the frame's own");
        self.punt(packet, offer);
    }

    fn punt(&mut self, frame: B, offer: Offer) {
        let verdict = self.transmit.punts.frame(self.port, offer, frame.data());
        self.sink.finish_frame(frame, verdict);
    }
}

/// Counts the packets of a burst that went by the lane for their mappings: all, or those that a sample takes.
fn count(meter: &mut Meter, sent: &Sent, lanes: &Lanes<'_>, fetched: &[u32; BURST], eams: &EamTable) {
    let mut meter = meter.begin();
    if meter.is_exact() {
        for (at, (lane, fetched)) in lanes.iter().zip(fetched).enumerate() {
            if sent.has(at) {
                lane.count(&meter, *fetched, eams);
            }
        }
        return;
    }
    let mut from = 0;
    while let Some(at) = meter.next_of(from, lanes.len()) {
        if sent.has(at) {
            lanes[at].count(&meter, 0, eams);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::table::fib::Fib;
    use crate::table::routing::{InterfaceId, MacAddress, Routing};
    use crate::testing::{self, MAC_V4};

    /// A frame of a plain packet with these tags.
    fn frame(to: MacAddress, tags: &[(u16, u16)]) -> Vec<u8> {
        let mut frame = testing::frame(to, &testing::udp_v4("203.0.113.50", "192.0.2.1", b"to six"));
        for (ether_type, control) in tags.iter().rev() {
            let tag = [ether_type.to_be_bytes(), control.to_be_bytes()].concat();
            frame.splice(12..12, tag);
        }
        frame
    }

    fn snapshot(change: impl FnOnce(&mut Routing)) -> Snapshot {
        let translation = testing::translation(&[("192.0.2.1/32", "2001:db8:12:34::1/128")]);
        let mut routing = testing::routing(1500, 1500);
        change(&mut routing);
        Snapshot { fib: Arc::new(Fib::build(&routing)), ..testing::snapshot(translation) }
    }

    /// Where the packet begins, if the lane takes it.
    fn lane(snapshot: &Snapshot, frame: &[u8]) -> Option<usize> {
        let mut lane = Lane::EMPTY;
        PlainLink::of(snapshot, PortId(0), true).inspect(&mut lane, frame);
        lane.resolve(snapshot);
        (!lane.is_left()).then(|| lane.offset())
    }

    #[test]
    fn tagged_packets_take_the_lane_like_untagged_ones() {
        let other = MacAddress([2, 0, 0, 0, 0, 0x77]);
        let snapshot = snapshot(|routing| {
            let vlan = routing.interfaces[2].clone();
            routing.interfaces.push(Interface {
                id: InterfaceId(3),
                vlan: Some(4094),
                mac: other,
                ..vlan.clone()
            });
            routing.interfaces.push(Interface { id: InterfaceId(4), vlan: Some(7), up: false, ..vlan });
        });
        for (to, tags, expected) in [
            (MAC_V4, &[][..], Some(14)),
            (MAC_V4, &[(0x8100, 100)], Some(18)),
            // Priority and drop eligibility are no part of the identifier, and 0 is none.
            (MAC_V4, &[(0x8100, 0xf064)], Some(18)),
            (MAC_V4, &[(0x8100, 0xe000)], Some(18)),
            (other, &[(0x8100, 4094)], Some(18)),
            (MAC_V4, &[(0x8100, 4094)], None),
            (other, &[], None),
            (MAC_V4, &[(0x8100, 7)], None),
            (MAC_V4, &[(0x8100, 101)], None),
            (MAC_V4, &[(0x8100, 4095)], None),
            (MAC_V4, &[(0x8100, 100), (0x8100, 100)], None),
            (MAC_V4, &[(0x88a8, 100)], None),
            (MAC_V4, &[(0x88a8, 100), (0x8100, 100)], None),
        ] {
            assert_eq!(lane(&snapshot, &frame(to, tags)), expected, "{to:?} {tags:?}");
        }
        let tagged = frame(MAC_V4, &[(0x8100, 100)]);
        for end in 0..tagged.len() {
            assert_eq!(lane(&snapshot, &tagged[..end]), None, "{end} bytes");
        }
    }

    #[test]
    fn nothing_takes_a_lane_that_is_closed() {
        let snapshot = snapshot(|_| ());
        for tags in [&[][..], &[(0x8100, 100)]] {
            let mut lane = Lane::EMPTY;
            PlainLink::of(&snapshot, PortId(0), false).inspect(&mut lane, &frame(MAC_V4, tags));
            assert!(lane.is_left());
        }
    }
}
