//! Cutting a translated packet into fragments that fit.
//!
//! Enters: a finished packet of either family (an IPv6 one with its Fragment header in place) and the largest
//! size that may leave. Leaves: the pieces in order, as few as possible; the packet's own buffer becomes the
//! first, the others come from the pool. A packet that cannot be cut whole is not cut at all.

use arrayvec::ArrayVec;

use crate::buffer::{Buffer, BufferPool};
use crate::verdict::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::ipv4;
use crate::wire::ipv6::{self, FRAGMENT_HEADER, FragmentHeader};

/// Most pieces of one packet. 64 KiB in pieces of 576 bytes are 119.
pub const MAX_PIECES: usize = 256;

/// The pieces of one packet, in order.
pub type Pieces<B> = ArrayVec<B, MAX_PIECES>;

/// A packet that cannot be cut, and why.
#[derive(Debug)]
pub struct Uncut<B>(pub B, pub DropReason);

const UNFRAGMENTABLE: usize = ipv6::HEADER + FRAGMENT_HEADER;

/// Cuts an IPv6 packet that begins with a header and a Fragment header, so that no piece exceeds `limit` bytes.
/// The last piece keeps the packet's own M flag (RFC 8200 4.5).
///
/// # Errors
/// Too many pieces, offsets past the end of a datagram, or no buffers.
pub fn ipv6<P: BufferPool>(
    packet: P::Buffer,
    limit: u16,
    pool: &mut P,
) -> Result<Pieces<P::Buffer>, Uncut<P::Buffer>> {
    let data = packet.data();
    let header: &[u8; FRAGMENT_HEADER] =
        data[ipv6::HEADER..].first_chunk().expect("the packet has a Fragment header");
    let whole = FragmentHeader::parse(header);
    let patch = |piece: &mut [u8], position: Position| {
        let length = u16::try_from(piece.len() - ipv6::HEADER).expect("a piece is no longer than the limit");
        piece[4..6].copy_from_slice(&length.to_be_bytes());
        let fragment =
            FragmentHeader { offset: position.offset, more: whole.more || !position.last, ..whole };
        fragment.emit(piece[ipv6::HEADER..].first_chunk_mut().expect("copied with the header"));
    };
    cut(packet, UNFRAGMENTABLE, ipv6::MAX_PAYLOAD, whole.offset, limit, pool, patch)
}

/// Cuts an IPv4 packet, so that no piece exceeds `limit` bytes. The last piece keeps the packet's own MF flag;
/// options that are not to be copied stay with the first (RFC 791 3.2).
///
/// # Errors
/// Too many pieces, offsets past the end of a datagram, or no buffers.
pub fn ipv4<P: BufferPool>(
    mut packet: P::Buffer,
    limit: u16,
    pool: &mut P,
) -> Result<Pieces<P::Buffer>, Uncut<P::Buffer>> {
    let whole =
        ipv4::Ipv4Header::parse_checked(packet.data()).expect("the packet was written or validated before");
    let header_length = usize::from(whole.header_length);
    let first_options: ArrayVec<u8, 40> =
        packet.data()[ipv4::HEADER..header_length].iter().copied().collect();
    keep_copied_options(&mut packet.data_mut()[ipv4::HEADER..header_length]);
    let patch = |piece: &mut [u8], position: Position| {
        if position.first {
            piece[ipv4::HEADER..header_length].copy_from_slice(&first_options);
        }
        let length = u16::try_from(piece.len()).expect("a piece is no longer than the limit");
        piece[2..4].copy_from_slice(&length.to_be_bytes());
        let more = whole.more_fragments || !position.last;
        let word = position.offset | if more { 0x2000 } else { 0 };
        piece[6..8].copy_from_slice(&word.to_be_bytes());
        piece[10..12].fill(0);
        let checksum = Sum::of(&piece[..header_length]).checksum();
        piece[10..12].copy_from_slice(&checksum.to_be_bytes());
    };
    // Every piece has a header of the same length, and so has the datagram they are put together to.
    let end = usize::from(u16::MAX) - header_length;
    cut(packet, header_length, end, whole.fragment_offset, limit, pool, patch)
}

/// Where a piece stands in its packet.
#[derive(Clone, Copy)]
struct Position {
    /// In units of 8 bytes, from the start of the datagram.
    offset: u16,
    first: bool,
    last: bool,
}

/// `header` bytes go in front of every piece; no datagram of the family has a place at or behind `end`.
fn cut<P: BufferPool>(
    packet: P::Buffer,
    header: usize,
    end: usize,
    first_offset: u16,
    limit: u16,
    pool: &mut P,
    patch: impl Fn(&mut [u8], Position),
) -> Result<Pieces<P::Buffer>, Uncut<P::Buffer>> {
    let step = usize::from(limit).saturating_sub(header) & !7;
    let payload = packet.data().len() - header;
    if step == 0 || payload.div_ceil(step) > MAX_PIECES {
        return Err(Uncut(packet, DropReason::PacketTooBig));
    }
    if usize::from(first_offset) * 8 + payload > end {
        return Err(Uncut(packet, DropReason::FragmentInvalid));
    }
    let position = |start: usize| Position {
        offset: first_offset + u16::try_from(start / 8).expect("a place in a datagram"),
        first: start == 0,
        last: start + step >= payload,
    };
    let mut pieces = Pieces::new();
    for start in (step..payload).step_by(step) {
        let from = header + start;
        let to = (from + step).min(header + payload);
        let room =
            pool.allocate().and_then(|mut piece| piece.push_back(header + to - from).ok().map(|()| piece));
        let Some(mut piece) = room else {
            return Err(Uncut(packet, DropReason::NoBuffer));
        };
        piece.data_mut()[..header].copy_from_slice(&packet.data()[..header]);
        piece.data_mut()[header..].copy_from_slice(&packet.data()[from..to]);
        patch(piece.data_mut(), position(start));
        pieces.push(piece);
    }
    let mut first = packet;
    first.truncate(header + step);
    patch(first.data_mut(), position(0));
    pieces.insert(0, first);
    Ok(pieces)
}

/// Overwrites options without the copied flag by no-operations.
fn keep_copied_options(mut options: &mut [u8]) {
    const NO_OPERATION: u8 = 1;
    loop {
        let length = match &*options {
            [] | [0, ..] => return,
            [NO_OPERATION, ..] => 1,
            [_, length, ..] if *length >= 2 && usize::from(*length) <= options.len() => usize::from(*length),
            _ => return,
        };
        let (option, rest) = options.split_at_mut(length);
        if option[0] & 0x80 == 0 {
            option.fill(NO_OPERATION);
        }
        options = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryBuffer, MemoryPool};
    use crate::testing;
    use crate::wire::ipv4::Ipv4Header;
    use proptest::prelude::*;

    fn with_fragment_header(payload: &[u8], offset: u16, more: bool) -> Vec<u8> {
        let mut packet = testing::ipv6("2001:db8::1", "2001:db8::2", 44, &[]);
        let mut header = [0; 8];
        FragmentHeader { next_header: 17, offset, more, identification: 0xbeef }.emit(&mut header);
        packet.extend_from_slice(&header);
        packet.extend_from_slice(payload);
        testing::fix_length_v6(&mut packet);
        packet
    }

    proptest! {
        #[test]
        fn ipv6_pieces_reassemble(
            payload in proptest::collection::vec(any::<u8>(), 1300..4000),
            limit in 1280_u16..1600, offset in 0_u16..100, more: bool,
        ) {
            let packet = with_fragment_header(&payload, offset, more);
            let pieces = ipv6(MemoryBuffer::new(&packet), limit, &mut MemoryPool::unlimited()).unwrap();
            let mut reassembled = Vec::new();
            for (number, piece) in pieces.iter().enumerate() {
                let data = piece.data();
                prop_assert!(data.len() <= usize::from(limit));
                let header = ipv6::Ipv6Header::parse(data).unwrap();
                prop_assert_eq!(usize::from(header.payload_length), data.len() - 40);
                let fragment = FragmentHeader::parse(data[40..].first_chunk().unwrap());
                prop_assert_eq!(usize::from(fragment.offset), usize::from(offset) + reassembled.len() / 8);
                let last = number == pieces.len() - 1;
                prop_assert_eq!(fragment.more, more || !last);
                prop_assert!(last || (data.len() - 48) % 8 == 0);
                prop_assert_eq!(fragment.identification, 0xbeef);
                reassembled.extend_from_slice(&data[48..]);
            }
            prop_assert_eq!(reassembled, payload.clone());
            let step = (usize::from(limit) - 48) / 8 * 8;
            prop_assert_eq!(pieces.len(), payload.len().div_ceil(step), "as few as possible");
        }

        #[test]
        fn ipv4_pieces_reassemble(
            payload in proptest::collection::vec(any::<u8>(), 700..3000),
            limit in 68_u16..690, offset in 0_u16..100, more: bool,
        ) {
            let mut packet = testing::ipv4("192.0.2.1", "192.0.2.2", 17, &payload);
            testing::set_fragment_v4(&mut packet, 0x1234, false, more, offset);
            let pieces = ipv4(MemoryBuffer::new(&packet), limit, &mut MemoryPool::unlimited()).unwrap();
            let mut reassembled = Vec::new();
            for (number, piece) in pieces.iter().enumerate() {
                let data = piece.data();
                prop_assert!(data.len() <= usize::from(limit));
                let header = Ipv4Header::parse(data).unwrap();
                prop_assert_eq!(usize::from(header.fragment_offset), usize::from(offset) + reassembled.len() / 8);
                prop_assert_eq!(header.more_fragments, more || number < pieces.len() - 1);
                prop_assert_eq!(header.identification, 0x1234);
                reassembled.extend_from_slice(&data[20..]);
            }
            prop_assert_eq!(reassembled, payload);
        }
    }

    #[test]
    fn options_without_the_copied_flag_stay_with_the_first_piece() {
        // Record route (7) is not copied, router alert (148) is.
        let options = [7, 3, 4, 1, 148, 4, 0, 0];
        let packet = testing::ipv4_with_options("192.0.2.1", "192.0.2.2", 17, &options, &[9; 100]);
        let pieces = ipv4(MemoryBuffer::new(&packet), 84, &mut MemoryPool::unlimited()).unwrap();
        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces[0].data()[20..28], options);
        assert_eq!(pieces[1].data()[20..28], [1, 1, 1, 1, 148, 4, 0, 0]);
        assert!(pieces.iter().all(|piece| Ipv4Header::parse(piece.data()).is_ok()));
    }

    #[test]
    fn refuses_what_cannot_be_cut() {
        let packet = with_fragment_header(&[0; 1400], 8100, false);
        let refused = ipv6(MemoryBuffer::new(&packet), 1280, &mut MemoryPool::unlimited())
            .err()
            .map(|Uncut(_, reason)| reason);
        assert_eq!(refused, Some(DropReason::FragmentInvalid), "past the end of a datagram");
        let packet = with_fragment_header(&[0; 1400], 0, false);
        let refused = ipv6(MemoryBuffer::new(&packet), 1280, &mut MemoryPool::limited(0))
            .err()
            .map(|Uncut(_, reason)| reason);
        assert_eq!(refused, Some(DropReason::NoBuffer));
        let refused = ipv6(MemoryBuffer::new(&packet), 50, &mut MemoryPool::unlimited())
            .err()
            .map(|Uncut(_, reason)| reason);
        assert_eq!(refused, Some(DropReason::PacketTooBig));
    }
}
