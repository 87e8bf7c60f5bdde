//! The last step: a link-layer header in front of the packet, and the frame onto its port's next burst.
//!
//! Each worker gathers frames per port and hands them over when a burst is full or the turn ends. What a port
//! refuses is freed and counted; nothing is ever retried.

use std::net::IpAddr;

use crate::buffer::{Buffer, NoRoom};
use crate::counters::{Counts, Event};
use crate::exception::PuntSender;
use crate::io::{Frames, TransmitQueue};
use crate::table::fib::{Adjacency, LinkHeader};
use crate::table::routing::{InterfaceId, PortId};
use crate::verdict::{DropReason, PuntReason, Verdict};
use crate::walk::Output;

/// One port's transmit side on this worker.
struct PortOut<T: TransmitQueue> {
    queue: T,
    frames: Frames<T::Buffer>,
    /// Of all of them.
    bytes: usize,
}

/// All ports' transmit sides on this worker, by port number, and the way to the kernel.
pub(crate) struct Transmit<T: TransmitQueue> {
    ports: Vec<PortOut<T>>,
    /// The ring to the control thread.
    pub(crate) punt: PuntSender,
    /// What became of the packets that got here.
    pub(crate) counts: Counts,
}

impl<T: TransmitQueue> Transmit<T> {
    /// `queues` are in the order of the ports.
    pub(crate) fn new(queues: Vec<T>, punt: PuntSender) -> Self {
        let ports =
            queues.into_iter().map(|queue| PortOut { queue, frames: Frames::new(), bytes: 0 }).collect();
        Self { ports, punt, counts: Counts::default() }
    }

    /// Puts a whole frame onto a port's burst.
    #[inline(always)]
    pub(crate) fn enqueue(&mut self, port: PortId, frame: T::Buffer) {
        let Some(out) = self.ports.get_mut(usize::from(port.0)) else {
            // A route by a port this worker does not have cannot be: all workers have all ports.
            self.counts.end(Verdict::Dropped(DropReason::NoRoute));
            return;
        };
        let bytes = frame.data().len();
        if let Err(full) = out.frames.try_push(frame) {
            flush(out, &mut self.counts);
            out.frames.push(full.element());
        }
        out.bytes += bytes;
    }

    /// Hands everything over that is still waiting.
    #[inline]
    pub(crate) fn flush(&mut self) {
        for out in &mut self.ports {
            if !out.frames.is_empty() {
                flush(out, &mut self.counts);
            }
        }
    }
}

#[inline(never)]
fn flush<T: TransmitQueue>(out: &mut PortOut<T>, counts: &mut Counts) {
    let count = out.frames.len();
    let refused = out.queue.transmit(&mut out.frames);
    counts.add(Event::SentBytes, (out.bytes - refused.bytes) as u64);
    counts.add(Event::Sent, (count - refused.frames) as u64);
    for _ in 0..refused.frames {
        counts.end(Verdict::Dropped(DropReason::TransmitQueueFull));
    }
    out.bytes = 0;
}

impl<T: TransmitQueue> Output<T::Buffer> for Transmit<T> {
    #[inline(always)]
    fn link_header<'a>(&self, adjacency: &'a Adjacency, version: u8) -> LinkHeader<'a> {
        adjacency.link_header(version)
    }

    #[inline(always)]
    fn emit(&mut self, frame: T::Buffer, adjacency: &Adjacency) {
        self.enqueue(adjacency.port, frame);
    }

    fn forward(&mut self, mut packet: T::Buffer, adjacency: &Adjacency) {
        let link = adjacency.link_header(packet.data()[0] >> 4);
        match packet.push_front(link.length()) {
            Ok(()) => {
                link.write(packet.data_mut());
                self.enqueue(adjacency.port, packet);
            }
            Err(NoRoom) => self.counts.end(Verdict::Dropped(DropReason::NoBuffer)),
        }
    }

    fn unresolved(&mut self, packet: T::Buffer, interface: InterfaceId, next_hop: IpAddr) {
        let verdict = match self.punt.send_unresolved(interface, next_hop, packet.data()) {
            Ok(()) => Verdict::Punted(PuntReason::UnresolvedNextHop),
            Err(_) => Verdict::Dropped(DropReason::PuntRingFull),
        };
        self.counts.end(verdict);
    }
}
