//! The two ends of a worker: a queue to receive from and a queue to transmit to.

use arrayvec::ArrayVec;

use crate::buffer::Buffer;

/// Packets taken or handed over in one call. 64 beats 256 where it was measured elsewhere (L1 pressure).
pub const BURST: usize = 64;

/// A fixed-size list of buffers on their way into or out of a port.
pub type Frames<B> = ArrayVec<B, BURST>;

/// One receive queue, owned by one worker.
pub trait ReceiveQueue {
    /// The buffers this queue delivers.
    type Buffer: Buffer;

    /// Appends up to `frames.remaining_capacity()` received frames; returns how many. Never blocks.
    fn receive(&mut self, frames: &mut Frames<Self::Buffer>) -> usize;
}

/// One transmit queue, owned by one worker.
pub trait TransmitQueue {
    /// The buffers this queue takes.
    type Buffer: Buffer;

    /// Takes every frame and leaves `frames` empty. Frames the port refuses are freed, never retried.
    fn transmit(&mut self, frames: &mut Frames<Self::Buffer>) -> Refused;
}

/// What a port did not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    /// How many frames.
    pub frames: usize,
    /// Their bytes, link-layer headers included.
    pub bytes: usize,
}

impl Refused {
    /// Adds up frames that are about to be freed.
    pub fn of<'a, B: Buffer + 'a>(frames: impl IntoIterator<Item = &'a B>) -> Self {
        frames.into_iter().fold(Self::default(), |sum, frame| Self {
            frames: sum.frames + 1,
            bytes: sum.bytes + frame.data().len(),
        })
    }
}
