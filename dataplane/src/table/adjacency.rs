//! A next hop that is ready, with the bytes in front of the packet.

use super::routing::{Interface, InterfaceId, MacAddress, PortId};
use crate::wire::ethernet;

/// A next hop that is ready: everything needed to send a packet to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adjacency {
    /// The interface it is on.
    pub interface: InterfaceId,
    /// The port packets leave by.
    pub port: PortId,
    /// Largest IP packet on the way, in bytes: the smaller of the interface's and the route's MTU.
    pub mtu: u16,
    /// A whole link-layer header for each family: IPv4, then IPv6.
    headers: [[u8; ethernet::TAGGED_HEADER]; 2],
    tagged: bool,
}

/// A finished link-layer header. Two fixed lengths, so that it is written without a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkHeader<'a> {
    /// None: packets leave as they are.
    None,
    /// Without a tag.
    Untagged(&'a [u8; ethernet::HEADER]),
    /// With an 802.1Q tag.
    Tagged(&'a [u8; ethernet::TAGGED_HEADER]),
}

impl LinkHeader<'_> {
    /// Bytes of it.
    #[inline]
    #[must_use]
    pub const fn length(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Untagged(_) => ethernet::HEADER,
            Self::Tagged(_) => ethernet::TAGGED_HEADER,
        }
    }

    /// Writes it to the start of a frame that has room for it.
    #[inline]
    pub fn write(&self, frame: &mut [u8]) {
        const ROOM: &str = "the front was made for the link-layer header";
        match self {
            Self::None => {}
            Self::Untagged(header) => *frame.first_chunk_mut().expect(ROOM) = **header,
            Self::Tagged(header) => *frame.first_chunk_mut().expect(ROOM) = **header,
        }
    }
}

impl Adjacency {
    pub(super) fn new(interface: &Interface, neighbor: MacAddress, mtu: u16) -> Self {
        let header = |ether_type: u16| {
            let mut header = [0; ethernet::TAGGED_HEADER];
            header[0..6].copy_from_slice(&neighbor.0);
            header[6..12].copy_from_slice(&interface.mac.0);
            let at = match interface.vlan {
                None => 12,
                Some(vlan) => {
                    header[12..14].copy_from_slice(&ethernet::TYPE_VLAN.to_be_bytes());
                    header[14..16].copy_from_slice(&vlan.to_be_bytes());
                    16
                }
            };
            header[at..at + 2].copy_from_slice(&ether_type.to_be_bytes());
            header
        };
        Self {
            interface: interface.id,
            port: interface.port,
            mtu,
            headers: [header(ethernet::TYPE_IPV4), header(ethernet::TYPE_IPV6)],
            tagged: interface.vlan.is_some(),
        }
    }

    /// The link-layer header for a packet of this IP version.
    #[inline]
    #[must_use]
    pub fn link_header(&self, version: u8) -> LinkHeader<'_> {
        let header = &self.headers[usize::from(version != 4)];
        if self.tagged {
            LinkHeader::Tagged(header)
        } else {
            LinkHeader::Untagged(header.first_chunk().expect("18 bytes hold 14"))
        }
    }

    /// The link-layer address of the next hop.
    #[must_use]
    pub(super) fn neighbor(&self) -> MacAddress {
        MacAddress(*self.headers[0].first_chunk().expect("18 bytes hold 6"))
    }
}
