//! Link types (<https://www.tcpdump.org/linktypes.html>), and what precedes the IP header under each.

use std::fmt;

/// EtherType of IPv4.
const TYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
const TYPE_IPV6: u16 = 0x86dd;
/// EtherType of a VLAN tag.
const TYPE_VLAN: u16 = 0x8100;

/// The link type of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link(pub u16);

/// What a captured packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'p> {
    /// An IP packet with nothing before it; its first four bits tell the version.
    Ip(&'p [u8]),
    /// An Ethernet frame.
    Ethernet(&'p [u8]),
    /// What followed a header that has no destination address.
    Cooked {
        /// The EtherType it named.
        ether_type: u16,
        /// Received as broadcast or multicast of the link layer.
        group: bool,
        /// What follows the header.
        packet: &'p [u8],
    },
    /// Fewer bytes than the link type's header has.
    TooShort,
    /// A link type this crate does not know.
    Unknown,
}

impl Link {
    /// BSD loopback, in the byte order of the machine that captured.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// OpenBSD loopback.
    pub const LOOP: Self = Self(108);
    /// Raw IP.
    pub const RAW: Self = Self(101);
    /// Linux cooked capture, as `tcpdump -i any` writes it.
    pub const LINUX_SLL: Self = Self(113);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);

    /// Whether the IP packets of this link type are found.
    #[must_use]
    pub const fn is_known(self) -> bool {
        matches!(self.0, 0 | 1 | 12 | 14 | 101 | 108 | 113 | 228 | 229 | 276)
    }

    /// What is in a packet of this link type.
    pub(crate) fn content(self, bytes: &[u8]) -> Content<'_> {
        match self {
            Self(12 | 14 | 101 | 228 | 229) => Content::Ip(bytes),
            Self::ETHERNET => Content::Ethernet(bytes),
            Self::NULL | Self::LOOP => loopback(bytes),
            Self::LINUX_SLL => cooked(bytes, 16, 14, |header| u16::from_be_bytes([header[0], header[1]])),
            Self::LINUX_SLL2 => cooked(bytes, 20, 0, |header| u16::from(header[10])),
            _ => Content::Unknown,
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            105 => "IEEE802_11",
            127 => "IEEE802_11_RADIOTAP",
            9 => "PPP",
            51 => "PPP_ETHER",
            220 => "USB_LINUX_MMAPPED",
            239 => "NFLOG",
            253 => "NETLINK",
            number => return write!(f, "{number}"),
        };
        write!(f, "{} ({name})", self.0)
    }
}

/// Four bytes of address family. NULL has them in the order of a machine nobody knows, LOOP in network order: families are
/// small, so the order in which the number is small is the right one.
fn loopback(bytes: &[u8]) -> Content<'_> {
    let Some((header, packet)) = bytes.split_first_chunk::<4>() else {
        return Content::TooShort;
    };
    let family = u32::from_le_bytes(*header).min(u32::from_be_bytes(*header));
    let ether_type = match family {
        2 => TYPE_IPV4,
        // Linux; NetBSD, OpenBSD and BSD/OS; FreeBSD; macOS.
        10 | 24 | 28 | 30 => TYPE_IPV6,
        _ => 0,
    };
    Content::Cooked { ether_type, group: false, packet }
}

/// A Linux cooked header of `length` bytes with its protocol at `protocol`.
fn cooked(bytes: &[u8], length: usize, protocol: usize, packet_type: impl Fn(&[u8]) -> u16) -> Content<'_> {
    let Some((header, mut packet)) = bytes.split_at_checked(length) else {
        return Content::TooShort;
    };
    let mut ether_type = u16::from_be_bytes([header[protocol], header[protocol + 1]]);
    if ether_type == TYPE_VLAN {
        let Some((tag, tagged)) = packet.split_first_chunk::<4>() else {
            return Content::TooShort;
        };
        ether_type = u16::from_be_bytes([tag[2], tag[3]]);
        packet = tagged;
    }
    // 0: for this host, 1: broadcast, 2: multicast, 3: for another host, 4: sent by this host.
    let group = matches!(packet_type(header), 1 | 2);
    Content::Cooked { ether_type, group, packet }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_families_are_known_in_both_orders() {
        for (family, ether_type) in
            [(2_u32, TYPE_IPV4), (10, TYPE_IPV6), (24, TYPE_IPV6), (28, TYPE_IPV6), (30, TYPE_IPV6), (7, 0)]
        {
            for header in [family.to_le_bytes(), family.to_be_bytes()] {
                let bytes = [&header[..], &[1, 2]].concat();
                let expected = Content::Cooked { ether_type, group: false, packet: &[1, 2] };
                assert_eq!(Link::NULL.content(&bytes), expected);
                assert_eq!(Link::LOOP.content(&bytes), expected);
            }
        }
        assert_eq!(Link::NULL.content(&[2, 0, 0]), Content::TooShort);
    }

    #[test]
    fn cooked_headers_tell_protocol_and_group() {
        for (packet_type, group) in [(0, false), (1, true), (2, true), (3, false), (4, false)] {
            let mut sll = [0; 18];
            sll[1] = packet_type;
            sll[14..].copy_from_slice(&[0x86, 0xdd, 0x60, 0]);
            let expected = Content::Cooked { ether_type: TYPE_IPV6, group, packet: &[0x60, 0] };
            assert_eq!(Link::LINUX_SLL.content(&sll), expected);
            let mut sll2 = [0; 22];
            sll2[..2].copy_from_slice(&[0x86, 0xdd]);
            sll2[10] = packet_type;
            sll2[20] = 0x60;
            assert_eq!(Link::LINUX_SLL2.content(&sll2), expected);
        }
        assert_eq!(Link::LINUX_SLL.content(&[0; 15]), Content::TooShort);
        assert_eq!(Link::LINUX_SLL2.content(&[0; 19]), Content::TooShort);
    }

    #[test]
    fn a_tag_behind_a_cooked_header_is_taken_off() {
        let mut sll = [0; 21];
        sll[14..].copy_from_slice(&[0x81, 0, 0, 100, 8, 0, 0x45]);
        let expected = Content::Cooked { ether_type: TYPE_IPV4, group: false, packet: &[0x45] };
        assert_eq!(Link::LINUX_SLL.content(&sll), expected);
        assert_eq!(Link::LINUX_SLL.content(&sll[..19]), Content::TooShort);
    }
}
