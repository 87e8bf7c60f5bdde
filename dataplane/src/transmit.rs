//! The last step: a link-layer header in front of the packet, and the frame onto its port's next burst.
//!
//! Each worker gathers frames per port and hands them over when a burst is full or the turn ends, through the sink, where
//! what a port refuses ends. Nothing is ever retried.

use crate::buffer::{Buffer, NoRoom};
use crate::io::{Frames, TransmitQueue};
use crate::punt::Punts;
use crate::sink::Sink;
use crate::table::fib::{Adjacency, LinkHeader};
use crate::table::routing::PortId;
use crate::verdict::{DropReason, Verdict};
use crate::walk::{Output, Wanted};

/// One port's transmit side on this worker.
struct PortOut<T: TransmitQueue> {
    port: PortId,
    queue: T,
    frames: Frames<T::Buffer>,
    /// Of all of them.
    bytes: u64,
}

/// All ports' transmit sides on this worker, by port number, and the way to the kernel.
pub(crate) struct Transmit<T: TransmitQueue> {
    ports: Vec<PortOut<T>>,
    /// The rings to the control thread.
    pub(crate) punts: Punts,
    /// The largest translated packet the box itself takes, if it takes any.
    pub(crate) local_mtu: Option<u16>,
}

impl<T: TransmitQueue> PortOut<T> {
    fn flush(&mut self, sink: &mut Sink<T::Buffer>) {
        sink.send(self.port, &mut self.queue, &mut self.frames, self.bytes);
        self.bytes = 0;
    }
}

impl<T: TransmitQueue> Transmit<T> {
    /// `queues` are in the order of the ports.
    pub(crate) fn new(queues: Vec<T>, punts: Punts) -> Self {
        let ports = (0..).map(PortId).zip(queues);
        let ports = ports.map(|(port, queue)| PortOut { port, queue, frames: Frames::new(), bytes: 0 });
        Self { ports: ports.collect(), punts, local_mtu: None }
    }

    /// Puts a whole frame onto a port's burst.
    pub(crate) fn enqueue(&mut self, port: PortId, frame: T::Buffer, sink: &mut Sink<T::Buffer>) {
        let bytes = frame.data().len();
        self.enqueue_bytes(port, frame, bytes, sink);
    }

    /// The same for a frame that is known to have so many bytes.
    #[inline(always)]
    fn enqueue_bytes(&mut self, port: PortId, frame: T::Buffer, bytes: usize, sink: &mut Sink<T::Buffer>) {
        debug_assert_eq!(frame.data().len(), bytes);
        let Some(out) = self.ports.get_mut(usize::from(port.0)) else {
            // A route by a port this worker does not have cannot be: all workers have all ports.
            sink.finish_frame(frame, Verdict::Dropped(DropReason::NoRoute));
            return;
        };
        if let Err(full) = out.frames.try_push(frame) {
            out.flush(sink);
            out.frames.push(full.element());
        }
        out.bytes += bytes as u64;
    }

    /// What waits for each port.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (PortId, &[T::Buffer])> {
        self.ports.iter().map(|out| (out.port, &out.frames[..]))
    }

    /// Hands everything over that is still waiting.
    #[inline]
    pub(crate) fn flush(&mut self, sink: &mut Sink<T::Buffer>) {
        for out in &mut self.ports {
            if !out.frames.is_empty() {
                out.flush(sink);
            }
        }
    }
}

impl<T: TransmitQueue> Output<T::Buffer> for Transmit<T> {
    #[inline(always)]
    fn link_header<'a>(&self, adjacency: &'a Adjacency, version: u8) -> LinkHeader<'a> {
        adjacency.link_header(version)
    }

    #[inline(always)]
    fn emit(&mut self, frame: T::Buffer, bytes: usize, adjacency: &Adjacency, sink: &mut Sink<T::Buffer>) {
        self.enqueue_bytes(adjacency.port, frame, bytes, sink);
    }

    fn forward(&mut self, mut packet: T::Buffer, adjacency: &Adjacency, sink: &mut Sink<T::Buffer>) {
        let link = adjacency.link_header(packet.data()[0] >> 4);
        match packet.push_front(link.length()) {
            Ok(()) => {
                link.write(packet.data_mut());
                self.enqueue(adjacency.port, packet, sink);
            }
            Err(NoRoom) => sink.finish(packet, Verdict::Dropped(DropReason::NoBuffer)),
        }
    }

    fn unresolved(&mut self, packet: T::Buffer, wanted: Wanted, sink: &mut Sink<T::Buffer>) {
        let verdict = self.punts.unresolved(wanted, packet.data());
        sink.finish(packet, verdict);
    }

    fn local_mtu(&self) -> Option<u16> {
        self.local_mtu
    }

    fn deliver(&mut self, packet: T::Buffer, sink: &mut Sink<T::Buffer>) {
        let verdict = self.punts.translated(packet.data());
        sink.finish(packet, verdict);
    }
}
