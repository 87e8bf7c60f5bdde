//! One burst's way through a worker: plain packets by the express lane, the others by the walk, what is the kernel's to the
//! rings.

use crate::buffer::{Buffer, BufferPool};
use crate::io::{Frames, TransmitQueue};
use crate::punt::{self, Offer};
use crate::sink::Sink;
use crate::stage::parse::{self, Family, Link};
use crate::table::routing::{MacAddress, PortId};
use crate::table::snapshot::Snapshot;
use crate::transmit::Transmit;
use crate::verdict::{PuntReason, Verdict};
use crate::walk::express::{Lane, Lanes, add};
use crate::walk::{End, LcoreState, Native, Walk};
use crate::wire::ethernet;

/// How a plain frame begins: for the interface of the port itself, which is up, and without a tag.
struct PlainLink<'a> {
    mac: Option<MacAddress>,
    extra: &'a [MacAddress],
}

impl<'a> PlainLink<'a> {
    /// No frame is plain.
    const NONE: Self = Self { mac: None, extra: &[] };

    fn of(snapshot: &'a Snapshot, port: PortId) -> Self {
        let interface = snapshot.fib.ingress(port, None).filter(|interface| interface.up);
        interface.map_or(Self::NONE, |found| Self { mac: Some(found.mac), extra: &found.extra_macs })
    }

    #[inline(always)]
    fn inspect<'l>(&self, lane: &mut Lane<'l>, frame: &[u8], snapshot: &'l Snapshot) {
        match (self.mac, frame.split_first_chunk::<{ ethernet::HEADER }>()) {
            (Some(mac), Some((link, packet))) if link[..6] == mac.0 || self.is_extra(link) => {
                match u16::from_be_bytes([link[12], link[13]]) {
                    ethernet::TYPE_IPV4 => lane.inspect_ipv4(packet, snapshot),
                    ethernet::TYPE_IPV6 => lane.inspect_ipv6(packet, snapshot),
                    _ => lane.leave(),
                }
            }
            _ => lane.leave(),
        }
    }

    /// Whether a frame is for one of the interface's further addresses.
    #[inline(never)]
    fn is_extra(&self, link: &[u8; ethernet::HEADER]) -> bool {
        self.extra.iter().any(|mac| link[..6] == mac.0)
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
    pub(super) fn walk(&mut self, frames: &mut Frames<B>, express: bool) {
        self.sink.received(self.port, frames);
        let snapshot = self.snapshot;
        let plain = if express { PlainLink::of(snapshot, self.port) } else { PlainLink::NONE };
        let mut lanes = Lanes::new();
        for frame in frames.iter() {
            plain.inspect(add(&mut lanes), frame.data(), snapshot);
        }
        for lane in &mut lanes {
            lane.resolve(snapshot);
        }
        if let Some(meter) = &mut self.lcore.meter {
            lanes.iter().for_each(|lane| lane.fetch_meter(meter));
        }
        for (lane, frame) in lanes.iter().zip(frames.drain(..)) {
            if lane.is_left() {
                self.frame(frame);
            } else {
                self.walker().send_lane(frame, ethernet::HEADER, lane);
            }
        }
    }

    #[inline]
    fn walker(&mut self) -> Walk<'_, P, Transmit<T>> {
        Walk {
            snapshot: self.snapshot,
            lcore: self.lcore,
            sink: self.sink,
            pool: self.pool,
            output: self.transmit,
            native: Native::Forward,
        }
    }

    #[inline]
    fn frame(&mut self, mut frame: B) {
        match parse::link(frame.data(), self.port, &self.snapshot.fib) {
            Link::Ip { family, offset, ingress } => {
                let length = frame.data().len();
                frame.pull_front(offset);
                let mut walk = self.walker();
                let end = match family {
                    Family::Ipv4 => walk.walk_ipv4(frame, ingress),
                    Family::Ipv6 => walk.walk_ipv6(frame, ingress),
                };
                if let End::Punted(packet, reason) = end {
                    self.punt_packet(packet, family, reason, offset, length);
                }
            }
            Link::Punt(reason) => {
                let offer = Offer::of_frame(frame.data(), reason);
                self.punt(frame, offer);
            }
            Link::Drop(reason) => self.sink.finish(frame, Verdict::Dropped(reason)),
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
        self.sink.finish(frame, verdict);
    }
}
