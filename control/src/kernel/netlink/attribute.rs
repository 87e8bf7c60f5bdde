//! Message headers and type-length-value attributes: bounds are checked here and nowhere else.
//!
//! ```text
//!  nlmsghdr   0 length  4 type  6 flags  8 sequence  12 port id  16 payload, padded to 4
//!  rtattr     0 length  2 type  4 value, padded to 4
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(in crate::kernel) const MESSAGE_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const TYPE_MASK: u16 = 0x3fff;

/// One netlink message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) struct Message<'a> {
    pub(in crate::kernel) kind: u16,
    pub(in crate::kernel) flags: u16,
    pub(in crate::kernel) sequence: u32,
    pub(in crate::kernel) payload: &'a [u8],
}

/// Walks the messages of one datagram.
pub(in crate::kernel) struct Messages<'a>(pub(in crate::kernel) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let payload = self.0.get(MESSAGE_HEADER..length)?;
        let message = Message {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            sequence: u32_at(self.0, 8)?,
            payload,
        };
        self.0 = self.0.get(padded(length)..).unwrap_or_default();
        Some(message)
    }
}

/// Walks attributes. A broken length ends the walk: what came before is kept.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Attributes<'a>(pub(in crate::kernel) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & TYPE_MASK;
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(padded(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// `length` rounded up to the alignment of netlink.
pub(in crate::kernel) const fn padded(length: usize) -> usize {
    (length + 3) & !3
}

pub(in crate::kernel) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub(in crate::kernel) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(in crate::kernel) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(in crate::kernel) fn u32_of(value: &[u8]) -> Option<u32> {
    u32_at(value, 0)
}

/// An address, by its length.
pub(in crate::kernel) fn address_of(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    <[u8; 16]>::try_from(value).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_walked_over_padding_and_nested_flags() {
        let bytes = [5, 0, 1, 0, 0xaa, 0, 0, 0, 6, 0, 2, 0x80, 0xbb, 0xcc];
        let walked: Vec<_> = Attributes(&bytes).collect();
        assert_eq!(walked, [(1, &[0xaa][..]), (2, &[0xbb, 0xcc][..])]);
    }

    #[test]
    fn no_truncation_panics_or_loops() {
        let mut bytes = vec![20, 0, 0, 0, 24, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9];
        bytes.extend_from_within(..);
        assert_eq!(Messages(&bytes).count(), 2);
        for end in 0..bytes.len() {
            assert!(Messages(&bytes[..end]).count() <= 1);
            assert!(Attributes(&bytes[..end]).count() <= 1);
        }
        assert_eq!(Messages(&[0; 64]).count(), 0, "a length of zero does not loop");
        assert_eq!(Attributes(&[0; 64]).count(), 0);
    }
}
