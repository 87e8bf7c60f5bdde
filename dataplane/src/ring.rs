//! Records of bytes in a bounded ring between two threads: what the exception path and the observers of the sink have in
//! common.
//!
//! A record is a header of fixed size, whose first two bytes are the length of what follows it, in the machine's order.

use rtrb::{Consumer, Producer};

/// A ring has no room for the record. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ring is full")]
pub struct RingFull;

/// Writes header and bytes as one commit, so that the reader never sees half a record.
pub(crate) fn write_record<const HEADER: usize>(
    ring: &mut Producer<u8>,
    header: &[u8; HEADER],
    bytes: &[u8],
) -> Result<(), RingFull> {
    write(ring, header, &[bytes])
}

/// The same for bytes in several places, whose length this puts into the header.
pub(crate) fn write_parts<const HEADER: usize>(
    ring: &mut Producer<u8>,
    header: &mut [u8; HEADER],
    parts: &[&[u8]],
) -> Result<(), RingFull> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let length = u16::try_from(length).map_err(|_| RingFull)?;
    header[0..2].copy_from_slice(&length.to_ne_bytes());
    write(ring, header, parts)
}

fn write(ring: &mut Producer<u8>, header: &[u8], parts: &[&[u8]]) -> Result<(), RingFull> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut chunk = ring.write_chunk(header.len() + length).map_err(|_| RingFull)?;
    let (mut first, mut second) = chunk.as_mut_slices();
    for part in std::iter::once(&header).chain(parts) {
        (first, second) = fill(part, first, second);
    }
    chunk.commit_all();
    Ok(())
}

/// Copies `bytes` to the front of two slices taken as one; returns what is left of them.
fn fill<'a>(bytes: &[u8], first: &'a mut [u8], second: &'a mut [u8]) -> (&'a mut [u8], &'a mut [u8]) {
    let (head, tail) = bytes.split_at(bytes.len().min(first.len()));
    let (into, first) = first.split_at_mut(head.len());
    into.copy_from_slice(head);
    let (into, second) = second.split_at_mut(tail.len());
    into.copy_from_slice(tail);
    (first, second)
}

/// Reads one record: its header, and its bytes into `scratch`.
pub(crate) fn read_record<const HEADER: usize>(
    ring: &mut Consumer<u8>,
    scratch: &mut Vec<u8>,
) -> Option<[u8; HEADER]> {
    let chunk = ring.read_chunk(HEADER).ok()?;
    let mut header = [0; HEADER];
    let (first, second) = chunk.as_slices();
    header[..first.len()].copy_from_slice(first);
    header[first.len()..].copy_from_slice(second);
    chunk.commit_all();
    let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
    scratch.clear();
    let chunk = ring.read_chunk(length).ok()?;
    let (first, second) = chunk.as_slices();
    scratch.extend_from_slice(first);
    scratch.extend_from_slice(second);
    chunk.commit_all();
    Some(header)
}
