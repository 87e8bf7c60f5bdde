//! The one way for a packet to end.
//!
//! Enters: every packet, once: in a burst for a port, with the [`Verdict`] that ends it, or as one the box had no buffer
//! for. Leaves: nothing. Here, and nowhere else, ends are counted, an [`Observer`] is shown what ended (a sample of the
//! dropped packets, a capture), and buffers are given back, a burst at a time.
//!
//! A packet that ends anywhere else is a bug, which debug builds find at the end of the turn: [`Counts::unsettled`].

use crate::buffer::Buffer;
use crate::io::{Frames, TransmitQueue};
use crate::table::routing::PortId;
use crate::verdict::{DropReason, Verdict};

pub mod counters;

use counters::{Counts, Event};

/// Looks at packets as they come and as they end. Absent, it costs one test per burst and one per packet that is not
/// sent.
pub trait Observer<B>: Send {
    /// A burst as it was received by `port`; nothing has been read of it yet.
    fn received(&mut self, port: PortId, frames: &[B]);

    /// A burst that is handed to `port` next. What the port refuses ends once more, as `transmit_queue_full`.
    fn sending(&mut self, port: PortId, frames: &[B]);

    /// A packet that is not sent. Refused packets are as they were received, from the IP header on, without padding; the
    /// link-layer header still lies in front of them. Only what failed after its translation began is not: packets that
    /// turned round, ran out of buffers, or met a full transmit queue.
    fn ended(&mut self, packet: &B, verdict: Verdict);
}

/// Where packets end. One per worker.
pub struct Sink<B: Buffer> {
    /// What happened so far.
    pub counts: Counts,
    /// Ended, and not given back yet.
    ended: Frames<B>,
    observer: Option<Box<dyn Observer<B>>>,
}

impl<B: Buffer> Default for Sink<B> {
    fn default() -> Self {
        Self { counts: Counts::default(), ended: Frames::new(), observer: None }
    }
}

impl<B: Buffer> Sink<B> {
    /// Shows what comes and ends to `observer` from now on, or to nobody.
    pub fn observe(&mut self, observer: Option<Box<dyn Observer<B>>>) {
        self.observer = observer;
    }

    /// Counts a burst that `port` delivered.
    #[inline]
    pub fn received(&mut self, port: PortId, frames: &[B]) {
        if let Some(observer) = &mut self.observer {
            observer.received(port, frames);
        }
        self.counts.count(Event::Bursts);
        self.counts.add(Event::Received, frames.len() as u64);
        self.counts.add(Event::ReceivedBytes, bytes(frames));
    }

    /// Ends a frame that a receive queue cannot deliver: received, and dropped at once.
    pub fn reject(&mut self, frame: B, reason: DropReason) {
        self.counts.count(Event::Received);
        self.counts.add(Event::ReceivedBytes, frame.data().len() as u64);
        self.finish(frame, Verdict::Dropped(reason));
    }

    /// Ends a packet that is not sent.
    #[inline(never)]
    pub fn finish(&mut self, packet: B, verdict: Verdict) {
        self.counts.end(verdict);
        if let Some(observer) = &mut self.observer {
            observer.ended(&packet, verdict);
        }
        if let Err(full) = self.ended.try_push(packet) {
            self.release();
            self.ended.push(full.element());
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
        if let Some(observer) = &mut self.observer {
            observer.sending(port, frames);
        }
        let offered = frames.len();
        queue.transmit(frames);
        self.counts.add(Event::Sent, (offered - frames.len()) as u64);
        self.counts.add(Event::SentBytes, bytes - self::bytes(frames));
        for refused in frames.drain(..) {
            self.finish(refused, Verdict::Dropped(DropReason::TransmitQueueFull));
        }
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
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    struct Seen {
        received: Vec<Vec<u8>>,
        sending: Vec<Vec<u8>>,
        ended: Vec<(Vec<u8>, Verdict)>,
    }

    struct Watch(Arc<Mutex<Seen>>);

    fn copies(frames: &[MemoryBuffer]) -> impl Iterator<Item = Vec<u8>> + use<'_> {
        frames.iter().map(|frame| frame.data().to_vec())
    }

    impl Observer<MemoryBuffer> for Watch {
        fn received(&mut self, _: PortId, frames: &[MemoryBuffer]) {
            self.0.lock().unwrap().received.extend(copies(frames));
        }

        fn sending(&mut self, _: PortId, frames: &[MemoryBuffer]) {
            self.0.lock().unwrap().sending.extend(copies(frames));
        }

        fn ended(&mut self, packet: &MemoryBuffer, verdict: Verdict) {
            self.0.lock().unwrap().ended.push((packet.data().to_vec(), verdict));
        }
    }

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
    fn whatever_ends_is_counted_once_and_shown_to_the_observer() {
        let mut sink = Sink::default();
        let seen = Arc::new(Mutex::new(Seen::default()));
        sink.observe(Some(Box::new(Watch(Arc::clone(&seen)))));
        let mut burst = frames(1..6);
        sink.received(PortId(0), &burst);
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
        let seen = seen.lock().unwrap();
        assert_eq!((seen.received.len(), seen.sending.len()), (5, 4));
        let full = Verdict::Dropped(DropReason::TransmitQueueFull);
        let expected = [
            (vec![5; 5], Verdict::Punted(PuntReason::Arp)),
            (vec![3; 3], full),
            (vec![4; 4], full),
            (vec![9; 9], Verdict::Dropped(DropReason::SegmentsTooLong)),
        ];
        assert_eq!(seen.ended, expected);
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
