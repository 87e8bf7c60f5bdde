//! Where the IP packet of an Ethernet frame begins.

const ADDRESSES: usize = 12;
const TAGS: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];
/// Tags that are looked behind.
const DEPTH: usize = 2;

/// Bytes in front of the IP header, if there is one.
pub(super) fn ip_offset(frame: &[u8]) -> Option<usize> {
    let mut at = ADDRESSES;
    for _ in 0..=DEPTH {
        match *frame.get(at..at + 2)?.first_chunk::<2>()? {
            [0x08, 0x00] | [0x86, 0xdd] => return Some(at + 2),
            tag if TAGS.contains(&tag) => at += 4,
            _ => return None,
        }
    }
    None
}
