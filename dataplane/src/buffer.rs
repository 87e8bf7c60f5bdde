//! What a stage may do with the bytes of one packet, whoever owns the memory.
//!
//! Two implementations exist: the mbuf of a DPDK mempool (`dpdk::Mbuf`) and plain memory
//! ([`crate::memory::MemoryBuffer`]). Stages are generic over [`Buffer`], so each of them runs in a unit test
//! and in `borderline translate` exactly as it runs on a worker.

use crate::io::Frames;

/// A buffer has less free room than an operation needs. The buffer is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not enough free room in the packet buffer")]
pub struct NoRoom;

/// One packet in contiguous memory, with free room before and after it.
pub trait Buffer: Sized {
    /// Gives the memory of a burst of packets back. `packets` is empty afterwards.
    #[inline]
    fn release(packets: &mut Frames<Self>) {
        packets.clear();
    }

    /// The bytes of the packet.
    fn data(&self) -> &[u8];

    /// The bytes of the packet, writable.
    fn data_mut(&mut self) -> &mut [u8];

    /// Free bytes before the packet.
    fn headroom(&self) -> usize;

    /// Free bytes after the packet.
    fn tailroom(&self) -> usize;

    /// Grows the packet by `count` bytes at its front. Their content is unspecified until written.
    ///
    /// # Errors
    /// [`NoRoom`] when fewer than `count` bytes of headroom are left.
    fn push_front(&mut self, count: usize) -> Result<(), NoRoom>;

    /// Drops `count` bytes from the front.
    ///
    /// # Panics
    /// When `count` exceeds the length of the packet: a caller checks lengths in `parse`.
    fn pull_front(&mut self, count: usize);

    /// Replaces the first `old` bytes by `new` bytes of unspecified content, and cuts what is then behind the first
    /// `length` bytes.
    ///
    /// # Errors
    /// [`NoRoom`] when there is too little headroom.
    ///
    /// # Panics
    /// When `old` exceeds the length of the packet.
    #[inline(always)]
    fn reshape(&mut self, old: usize, new: usize, length: usize) -> Result<(), NoRoom> {
        match new.checked_sub(old) {
            Some(more) => self.push_front(more)?,
            None => self.pull_front(old - new),
        }
        self.truncate(length);
        Ok(())
    }

    /// Grows the packet by `count` bytes at its end. Their content is unspecified until written.
    ///
    /// # Errors
    /// [`NoRoom`] when fewer than `count` bytes of tailroom are left.
    fn push_back(&mut self, count: usize) -> Result<(), NoRoom>;

    /// Cuts the packet to `length` bytes. A longer `length` leaves it as it is.
    fn truncate(&mut self, length: usize);
}

/// Where new packets come from: fragments, ICMP errors and frames the kernel injects.
pub trait BufferPool {
    /// The buffers this pool hands out.
    type Buffer: Buffer;

    /// An empty buffer (length 0) with at least 128 bytes of headroom, or `None` when the pool is exhausted.
    fn allocate(&mut self) -> Option<Self::Buffer>;
}
