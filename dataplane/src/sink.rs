//! The one way for a packet to end.
//!
//! Enters: every packet, once: in a burst for a port, with the [`Verdict`] that ends it, or as one the box had no buffer
//! for. Leaves: nothing. Here, and nowhere else, ends are counted, samples of dropped
//! packets are taken ([`samples`]), captures are fed ([`tap`]), and buffers are given back, a burst at a time.
//!
//! A packet that ends anywhere else is a bug, which debug builds find at the end of the turn: [`Counts::unsettled`].

use crate::buffer::Buffer;
use crate::io::{Frames, TransmitQueue};
use crate::table::routing::PortId;
use crate::verdict::{DropReason, Verdict};

pub mod counters;
pub mod filter;
pub mod lone;
pub mod samples;
pub mod tap;

use counters::{Counts, Event};
use samples::{Due, Layer, NEVER, Sampler};
use tap::Tap;

/// Where packets end. One per worker.
pub struct Sink<B: Buffer> {
    /// What happened so far.
    pub counts: Counts,
    /// Ended, and not given back yet.
    ended: Frames<B>,
    tap: Option<Box<Tap>>,
    /// Something is captured.
    watched: bool,
    sampler: Option<Box<Sampler>>,
    /// When the sampler wants the next drop of each reason.
    due: Due,
    /// The port whose frames are looked at.
    port: PortId,
}

impl<B: Buffer> Default for Sink<B> {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            ended: Frames::new(),
            tap: None,
            watched: false,
            sampler: None,
            due: NEVER,
            port: PortId(0),
        }
    }
}

impl<B: Buffer> Sink<B> {
    /// Takes captures from the next turn on.
    pub fn tap(&mut self, tap: Tap) {
        self.tap = Some(Box::new(tap));
    }

    /// Keeps samples of dropped packets from the next turn on.
    pub fn sample(&mut self, sampler: Sampler) {
        self.sampler = Some(Box::new(sampler));
    }

    /// It is `now`, in cycles. Once per turn.
    #[inline]
    pub fn begin_turn(&mut self, now: u64) {
        if let Some(sampler) = &mut self.sampler {
            sampler.begin_turn(now, &self.counts, &mut self.due);
        }
        if let Some(tap) = &mut self.tap {
            tap.begin_turn(now);
            self.watched = tap.is_active();
        }
    }

    /// What ends from now on came from `port`.
    #[inline]
    pub fn from_port(&mut self, port: PortId) {
        self.port = port;
    }

    /// Counts a burst of so many bytes that `port` delivered.
    #[inline]
    pub fn received(&mut self, port: PortId, frames: &[B], bytes: u64) {
        debug_assert_eq!(self::bytes(frames), bytes);
        if let Some(tap) = self.watching() {
            tap.received(port, frames);
        }
        self.counts.count(Event::Bursts);
        self.counts.add(Event::Received, frames.len() as u64);
        self.counts.add(Event::ReceivedBytes, bytes);
    }

    /// Ends a frame that a receive queue cannot deliver: received, and dropped at once.
    pub fn reject(&mut self, frame: B, reason: DropReason) {
        self.counts.count(Event::Received);
        self.counts.add(Event::ReceivedBytes, frame.data().len() as u64);
        self.finish_frame(frame, Verdict::Dropped(reason));
    }

    /// Ends a packet that is not sent. It begins with its IP header.
    #[inline]
    pub fn finish(&mut self, packet: B, verdict: Verdict) {
        self.end(packet, verdict, Layer::Ip);
    }

    /// Ends a packet that is not sent. It begins with its link-layer header.
    #[inline]
    pub fn finish_frame(&mut self, frame: B, verdict: Verdict) {
        self.end(frame, verdict, Layer::Link);
    }

    #[inline(never)]
    fn end(&mut self, packet: B, verdict: Verdict, layer: Layer) {
        if let Some(tap) = self.watching() {
            tap.ended(verdict);
        }
        self.put_away(packet, verdict, layer);
    }

    #[inline]
    fn put_away(&mut self, packet: B, verdict: Verdict, layer: Layer) {
        self.counts.end(verdict);
        if let Verdict::Dropped(reason) = verdict
            && self.counts.dropped(reason) >= self.due[reason.index()]
        {
            self.take_sample(&packet, reason, layer);
        }
        if let Err(full) = self.ended.try_push(packet) {
            self.release();
            self.ended.push(full.element());
        }
    }

    /// The captures, if there are any.
    #[inline]
    pub(crate) fn watching(&mut self) -> Option<&mut Tap> {
        if self.watched { self.tap.as_deref_mut() } else { None }
    }

    #[cold]
    fn take_sample(&mut self, packet: &B, reason: DropReason, layer: Layer) {
        if let Some(sampler) = &mut self.sampler {
            let count = self.counts.dropped(reason);
            self.due[reason.index()] = sampler.take(reason, count, self.port, layer, packet.data());
        }
    }

    /// Ends a packet of the box itself that found no buffer.
    pub fn finish_without_buffer(&mut self) {
        self.counts.end(Verdict::Dropped(DropReason::NoBuffer));
    }

    /// Hands a burst of `bytes` bytes to `port`, and ends what it refuses. `frames` is empty afterwards.
    #[inline(never)]
    pub fn send<T>(&mut self, port: PortId, queue: &mut T, frames: &mut Frames<B>, bytes: u64)
    where
        T: TransmitQueue<Buffer = B>,
    {
        if let Some(tap) = self.watching() {
            tap.queued(port, frames);
        }
        let offered = frames.len();
        queue.transmit(frames);
        self.counts.add(Event::Sent, (offered - frames.len()) as u64);
        self.counts.add(Event::SentBytes, bytes - self::bytes(frames));
        if let Some(tap) = self.watching() {
            tap.offered(port, offered - frames.len());
        }
        if !frames.is_empty() {
            self.refuse(port, frames);
        }
    }

    #[cold]
    fn refuse(&mut self, port: PortId, frames: &mut Frames<B>) {
        let from = std::mem::replace(&mut self.port, port);
        for refused in frames.drain(..) {
            self.put_away(refused, Verdict::Dropped(DropReason::TransmitQueueFull), Layer::Link);
        }
        self.port = from;
    }

    /// Gives the buffers of ended packets back. Once per turn.
    #[inline]
    pub fn release(&mut self) {
        if !self.ended.is_empty() {
            B::release(&mut self.ended);
        }
    }
}

fn bytes<B: Buffer>(frames: &[B]) -> u64 {
    frames.iter().map(|frame| frame.data().len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::BURST;
    use crate::memory::MemoryBuffer;
    use crate::verdict::PuntReason;

    /// Takes two frames of a burst.
    struct Two;

    impl TransmitQueue for Two {
        type Buffer = MemoryBuffer;

        fn transmit(&mut self, frames: &mut Frames<MemoryBuffer>) {
            frames.drain(..frames.len().min(2));
        }
    }

    fn frames(numbers: std::ops::Range<u8>) -> Frames<MemoryBuffer> {
        numbers.map(|number| MemoryBuffer::new(&vec![number; usize::from(number)])).collect()
    }

    #[test]
    fn whatever_ends_is_counted_once_and_drops_are_sampled() {
        let mut sink = Sink::default();
        let (sampler, mut samples) = samples::sampler(1000);
        sink.sample(sampler);
        sink.begin_turn(1000);
        sink.from_port(PortId(3));
        let mut burst = frames(1..6);
        sink.received(PortId(3), &burst, 15);
        let punted = burst.pop().unwrap();
        sink.finish(punted, Verdict::Punted(PuntReason::Arp));
        sink.send(PortId(1), &mut Two, &mut burst, 1 + 2 + 3 + 4);
        sink.reject(MemoryBuffer::new(&[9; 9]), DropReason::SegmentsTooLong);
        assert!(burst.is_empty());
        let counts = &sink.counts;
        assert_eq!((counts.event(Event::Received), counts.event(Event::ReceivedBytes)), (6, 15 + 9));
        assert_eq!((counts.event(Event::Sent), counts.event(Event::SentBytes)), (2, 1 + 2));
        assert_eq!(counts.dropped(DropReason::TransmitQueueFull), 2);
        assert_eq!(counts.unsettled(), 0);
        let mut seen = Vec::new();
        samples.drain(|sample| {
            assert_eq!((sample.layer, sample.cycles, sample.length), (Layer::Link, 1000, sample.bytes.len()));
            seen.push((sample.reason, sample.port.0, sample.bytes.to_vec()));
        });
        let expected = [
            (DropReason::SegmentsTooLong, 3, vec![9; 9]),
            (DropReason::TransmitQueueFull, 1, vec![3; 3]),
            (DropReason::TransmitQueueFull, 1, vec![4; 4]),
        ];
        assert_eq!(seen, expected, "those that a port refused name that port");
    }

    #[test]
    fn buffers_are_given_back_by_the_burst() {
        let mut sink = Sink::default();
        for _ in 0..BURST + 3 {
            sink.finish(MemoryBuffer::new(&[1]), Verdict::Dropped(DropReason::NoRoute));
        }
        assert_eq!(sink.ended.len(), 3, "a full burst has gone");
        sink.release();
        assert!(sink.ended.is_empty());
    }
}
