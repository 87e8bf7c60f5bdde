//! Packet buffers as large as mbufs, and queues and a pool of them for one thread.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use dataplane::buffer::{Buffer, BufferPool, NoRoom};
use dataplane::io::{Frames, ReceiveQueue, TransmitQueue};
use dataplane::sink::Sink;

struct Slab {
    bytes: [u8; 2304],
    start: usize,
    end: usize,
}

/// A packet buffer as large as an mbuf's, moved by its address.
pub(crate) struct SlabBuffer(Box<Slab>);

thread_local! {
    /// Buffers of packets that have ended.
    static SPARE: RefCell<Vec<SlabBuffer>> = RefCell::new(Vec::with_capacity(1024));
}

impl SlabBuffer {
    /// An empty one.
    pub(crate) fn new() -> Self {
        if let Some(mut spare) = SPARE.with_borrow_mut(Vec::pop) {
            spare.fill(&[]);
            return spare;
        }
        Self(Box::new(Slab { bytes: [0; 2304], start: 128, end: 128 }))
    }

    /// Puts a frame into it, behind 128 bytes of headroom.
    pub(crate) fn fill(&mut self, frame: &[u8]) {
        self.0.start = 128;
        self.0.end = 128 + frame.len();
        self.0.bytes[128..128 + frame.len()].copy_from_slice(frame);
    }

    /// The frame in it.
    pub(crate) fn frame(&mut self) -> &mut [u8] {
        self.data_mut()
    }
}

impl Buffer for SlabBuffer {
    fn release(packets: &mut Frames<Self>) {
        SPARE.with_borrow_mut(|spare| spare.extend(packets.drain(..)));
    }

    fn data(&self) -> &[u8] {
        &self.0.bytes[self.0.start..self.0.end]
    }

    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.0.bytes[self.0.start..self.0.end]
    }

    fn headroom(&self) -> usize {
        self.0.start
    }

    fn tailroom(&self) -> usize {
        self.0.bytes.len() - self.0.end
    }

    fn push_front(&mut self, count: usize) -> Result<(), NoRoom> {
        self.0.start = self.0.start.checked_sub(count).ok_or(NoRoom)?;
        Ok(())
    }

    fn pull_front(&mut self, count: usize) {
        assert!(count <= self.0.end - self.0.start);
        self.0.start += count;
    }

    fn push_back(&mut self, count: usize) -> Result<(), NoRoom> {
        if count > self.tailroom() {
            return Err(NoRoom);
        }
        self.0.end += count;
        Ok(())
    }

    fn truncate(&mut self, length: usize) {
        self.0.end = self.0.end.min(self.0.start + length);
    }
}

/// Buffers that wait in a queue, or are free; shared by the queues and the pool of the one thread there is.
pub(crate) type Shared = Arc<Mutex<Vec<SlabBuffer>>>;

/// A receive queue.
pub(crate) struct Rx(pub(crate) Shared);
/// A transmit queue, whose frames are free at once.
pub(crate) struct Tx(pub(crate) Shared);
/// The pool of the free ones.
pub(crate) struct Pool(pub(crate) Shared);

impl ReceiveQueue for Rx {
    type Buffer = SlabBuffer;

    fn receive(&mut self, frames: &mut Frames<SlabBuffer>, _: &mut Sink<SlabBuffer>) -> usize {
        let mut ready = self.0.lock().unwrap();
        let count = ready.len().min(frames.remaining_capacity());
        frames.extend(ready.drain(..count));
        count
    }
}

impl TransmitQueue for Tx {
    type Buffer = SlabBuffer;

    fn transmit(&mut self, frames: &mut Frames<SlabBuffer>) {
        self.0.lock().unwrap().extend(frames.drain(..));
    }
}

impl BufferPool for Pool {
    type Buffer = SlabBuffer;

    fn allocate(&mut self) -> Option<SlabBuffer> {
        let mut buffer = self.0.lock().unwrap().pop()?;
        buffer.fill(&[]);
        Some(buffer)
    }
}
