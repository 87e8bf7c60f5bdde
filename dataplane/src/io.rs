//! The two ends of a worker: a queue to receive from and a queue to transmit to; and what wakes it.

use std::time::Duration;

use arrayvec::ArrayVec;

use crate::buffer::Buffer;
use crate::sink::Sink;

/// Packets taken or handed over in one call. 64 beats 256 where it was measured elsewhere (L1 pressure).
pub const BURST: usize = 64;

/// A fixed-size list of buffers on their way into or out of a port.
pub type Frames<B> = ArrayVec<B, BURST>;

/// One receive queue, owned by one worker.
pub trait ReceiveQueue {
    /// The buffers this queue delivers.
    type Buffer: Buffer;

    /// Appends up to `frames.remaining_capacity()` received frames; returns how many. Frames that cannot be delivered end
    /// in `sink`. Never blocks.
    fn receive(&mut self, frames: &mut Frames<Self::Buffer>, sink: &mut Sink<Self::Buffer>) -> usize;
}

/// One transmit queue, owned by one worker.
pub trait TransmitQueue {
    /// The buffers this queue takes.
    type Buffer: Buffer;

    /// Takes frames, from the front of the list on, and leaves there, in order, what the port refuses. Never blocks.
    fn transmit(&mut self, frames: &mut Frames<Self::Buffer>);
}

/// What wakes a worker that has nothing to do: the receive interrupts of all of its queues.
pub trait Alarm: Send {
    /// Has every queue interrupt at its next frame; whether all of them will. Frames that came before need not interrupt:
    /// the queues have to be looked at once more before the wait.
    fn arm(&mut self) -> bool;

    /// Sleeps until a queue interrupts, and for `longest` at most; whether one did.
    fn wait(&mut self, longest: Duration) -> bool;

    /// Has no queue interrupt any more.
    fn disarm(&mut self);
}
