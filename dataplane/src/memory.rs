//! Packets in plain memory: for offline translation and for tests.

use crate::buffer::{Buffer, BufferPool, NoRoom};

/// Free bytes before a new packet. As much as an mbuf has.
const HEADROOM: usize = 128;
/// Bytes of a new buffer behind the headroom.
const CAPACITY: usize = 65_536 + 256;

/// One packet in a vector.
#[derive(Debug, Clone)]
pub struct MemoryBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl MemoryBuffer {
    /// A packet with these bytes, 128 bytes of headroom and 2,048 bytes of tailroom.
    #[must_use]
    pub fn new(packet: &[u8]) -> Self {
        let mut bytes = vec![0; HEADROOM + packet.len() + 2048];
        let end = HEADROOM + packet.len();
        bytes[HEADROOM..end].copy_from_slice(packet);
        Self { bytes, start: HEADROOM, end }
    }
}

impl Buffer for MemoryBuffer {
    fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    fn headroom(&self) -> usize {
        self.start
    }

    fn tailroom(&self) -> usize {
        self.bytes.len() - self.end
    }

    fn push_front(&mut self, count: usize) -> Result<(), NoRoom> {
        self.start = self.start.checked_sub(count).ok_or(NoRoom)?;
        Ok(())
    }

    fn pull_front(&mut self, count: usize) {
        assert!(count <= self.end - self.start, "lengths are checked before bytes are dropped");
        self.start += count;
    }

    fn push_back(&mut self, count: usize) -> Result<(), NoRoom> {
        if count > self.tailroom() {
            return Err(NoRoom);
        }
        self.end += count;
        Ok(())
    }

    fn truncate(&mut self, length: usize) {
        self.end = self.end.min(self.start + length);
    }
}

/// Hands out memory buffers, without limit unless told.
#[derive(Debug, Clone)]
pub struct MemoryPool {
    left: usize,
}

impl MemoryPool {
    /// A pool that never runs dry.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { left: usize::MAX }
    }

    /// A pool with this many buffers in all.
    #[must_use]
    pub const fn limited(buffers: usize) -> Self {
        Self { left: buffers }
    }
}

impl BufferPool for MemoryPool {
    type Buffer = MemoryBuffer;

    fn allocate(&mut self) -> Option<MemoryBuffer> {
        self.left = self.left.checked_sub(1)?;
        Some(MemoryBuffer { bytes: vec![0; HEADROOM + CAPACITY], start: HEADROOM, end: HEADROOM })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_shrinks_at_both_ends_within_bounds() {
        let mut buffer = MemoryBuffer::new(&[1, 2, 3, 4]);
        buffer.pull_front(2);
        assert_eq!(buffer.data(), [3, 4]);
        buffer.push_front(3).unwrap();
        assert_eq!(buffer.data(), [0, 1, 2, 3, 4]);
        buffer.push_back(1).unwrap();
        buffer.data_mut()[5] = 9;
        buffer.truncate(100);
        assert_eq!(buffer.data(), [0, 1, 2, 3, 4, 9]);
        buffer.truncate(1);
        assert_eq!(buffer.data(), [0]);
        assert_eq!(buffer.push_front(buffer.headroom() + 1), Err(NoRoom));
        assert_eq!(buffer.push_back(buffer.tailroom() + 1), Err(NoRoom));
        assert!(MemoryPool::limited(0).allocate().is_none());
    }
}
