//! Frame to IP packet: every length that later stages rely on is checked here.
//!
//! Enters: a received frame. Leaves: the buffer cut to exactly one IP packet and its header's fields, a punt
//! (what is not IP, or not for us at the link layer), or a drop. Knows ports and VLANs, no translation.

use crate::buffer::Buffer;
use crate::table::fib::Fib;
use crate::table::routing::{InterfaceId, PortId};
use crate::verdict::{DropReason, PuntReason};
use crate::wire::ethernet::{self, Header};
use crate::wire::ipv4::{Ipv4Error, Ipv4Header};
use crate::wire::ipv6::{self, Ipv6Error, Ipv6Header};
use crate::wire::protocol;

/// Where and how a packet came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ingress {
    /// The interface.
    pub interface: InterfaceId,
    /// Its MTU in bytes.
    pub mtu: u16,
    /// The frame was a link-layer broadcast or multicast.
    pub group: bool,
}

/// A frame that carries IP, after its link-layer header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// EtherType 0x0800.
    Ipv4,
    /// EtherType 0x86DD.
    Ipv6,
}

/// What the link layer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// An IP packet starts at `offset`.
    Ip {
        /// Its family, by EtherType.
        family: Family,
        /// Bytes of link-layer header.
        offset: usize,
        /// How it came in.
        ingress: Ingress,
    },
    /// The kernel's.
    Punt(PuntReason),
    /// Nobody's.
    Drop(DropReason),
}

/// Reads the link-layer header of a frame received on `port`.
#[inline]
#[must_use]
pub fn link(frame: &[u8], port: PortId, fib: &Fib) -> Link {
    let Ok(header) = Header::parse(frame) else {
        return Link::Drop(DropReason::FrameTooShort);
    };
    let family = match header.ether_type {
        ethernet::TYPE_IPV4 => Family::Ipv4,
        ethernet::TYPE_IPV6 => Family::Ipv6,
        ethernet::TYPE_ARP => return Link::Punt(PuntReason::Arp),
        // A second tag, or a provider's: no interface of the relay stands behind it.
        ethernet::TYPE_VLAN | ethernet::TYPE_PROVIDER_VLAN | ethernet::TYPE_OLD_PROVIDER_VLAN => {
            return Link::Drop(DropReason::StackedVlan);
        }
        _ => return Link::Punt(PuntReason::EtherType),
    };
    let Some(interface) = fib.ingress(port, header.vlan) else {
        return if fib.knows_interfaces() {
            Link::Punt(PuntReason::UnknownVlan)
        } else {
            // Nor does anybody know what is to be translated: the kernel would route it as it is, or refuse it.
            Link::Drop(DropReason::Starting)
        };
    };
    if !interface.up {
        return Link::Drop(DropReason::InterfaceDown);
    }
    if !header.is_group() && !interface.is_own(header.destination) {
        return Link::Punt(PuntReason::ForeignMac);
    }
    let ingress = Ingress { interface: interface.id, mtu: interface.mtu, group: header.is_group() };
    Link::Ip { family, offset: header.length, ingress }
}

/// Validates the IPv4 packet in `buffer` (RFC 1812 5.2.2) and cuts link padding off.
///
/// # Errors
/// The reason it is malformed.
#[inline]
pub fn ipv4(buffer: &mut impl Buffer) -> Result<Ipv4Header, DropReason> {
    let header = Ipv4Header::parse(buffer.data()).map_err(|error| match error {
        Ipv4Error::Header => DropReason::Ipv4HeaderInvalid,
        Ipv4Error::Checksum => DropReason::Ipv4HeaderChecksum,
        Ipv4Error::TotalLength => DropReason::Ipv4Truncated,
    })?;
    buffer.truncate(usize::from(header.total_length));
    Ok(header)
}

/// Validates the IPv6 packet in `buffer` (RFC 8200 3) and cuts link padding off.
///
/// # Errors
/// The reason it is malformed.
#[inline]
pub fn ipv6(buffer: &mut impl Buffer) -> Result<Ipv6Header, DropReason> {
    let header = Ipv6Header::parse(buffer.data()).map_err(|error| match error {
        Ipv6Error::Header => DropReason::Ipv6HeaderInvalid,
        Ipv6Error::PayloadLength => DropReason::Ipv6Truncated,
    })?;
    // Hop-by-Hop Options that are not there: a jumbogram (RFC 2675), which has no other form.
    if header.payload_length == 0 && header.next_header == protocol::HOP_BY_HOP {
        return Err(DropReason::Ipv6Truncated);
    }
    buffer.truncate(ipv6::HEADER + usize::from(header.payload_length));
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryBuffer;
    use crate::table::routing::MacAddress;
    use crate::testing;

    fn frame(destination: [u8; 6], ether_type: u16, tag: Option<u16>) -> Vec<u8> {
        let mut frame = destination.to_vec();
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 0xee]);
        if let Some(vlan) = tag {
            frame.extend_from_slice(&[0x81, 0, (vlan >> 8) as u8, vlan as u8]);
        }
        frame.extend_from_slice(&ether_type.to_be_bytes());
        frame
    }

    #[test]
    fn frames_go_to_the_right_place() {
        let fib = testing::fib(1500, 1500);
        let ours = testing::MAC_V4.0;
        let ingress = |interface, group| Ingress { interface: InterfaceId(interface), mtu: 1500, group };
        let ip = |family, offset, ingress| Link::Ip { family, offset, ingress };
        for (frame, expected) in [
            (frame(ours, 0x0800, None), ip(Family::Ipv4, 14, ingress(0, false))),
            (frame(ours, 0x0800, Some(100)), ip(Family::Ipv4, 18, ingress(2, false))),
            (frame([0x33, 0x33, 0, 0, 0, 1], 0x86dd, None), ip(Family::Ipv6, 14, ingress(0, true))),
            (frame(ours, 0x0800, Some(101)), Link::Punt(PuntReason::UnknownVlan)),
            (frame([0xff; 6], 0x0806, None), Link::Punt(PuntReason::Arp)),
            (frame([1, 0x80, 0xc2, 0, 0, 0xe], 0x88cc, None), Link::Punt(PuntReason::EtherType)),
            (frame(ours, 0x88a8, None), Link::Drop(DropReason::StackedVlan)),
            (frame(ours, 0x9100, None), Link::Drop(DropReason::StackedVlan)),
            (frame(ours, 0x8100, Some(100)), Link::Drop(DropReason::StackedVlan)),
            (frame(ours, 0x88a8, Some(0)), Link::Drop(DropReason::StackedVlan)),
            (frame([2, 9, 9, 9, 9, 9], 0x0800, None), Link::Punt(PuntReason::ForeignMac)),
            (vec![0; 13], Link::Drop(DropReason::FrameTooShort)),
            (frame(ours, 0x8100, None), Link::Drop(DropReason::FrameTooShort)),
        ] {
            assert_eq!(link(&frame, PortId(0), &fib), expected, "{frame:02x?}");
        }
    }

    #[test]
    fn an_interface_that_is_down_takes_no_packets() {
        let mut routing = testing::routing(1500, 1500);
        routing.interfaces[0].up = false;
        let fib = Fib::build(&routing);
        let packet = frame(testing::MAC_V4.0, 0x0800, None);
        assert_eq!(link(&packet, PortId(0), &fib), Link::Drop(DropReason::InterfaceDown));
        let arp = frame([0xff; 6], 0x0806, None);
        assert_eq!(link(&arp, PortId(0), &fib), Link::Punt(PuntReason::Arp), "the kernel decides for itself");
    }

    #[test]
    fn before_the_first_routing_ip_is_dropped_under_its_own_name_and_the_kernel_gets_the_rest() {
        let fib = Fib::default();
        let packet = frame(testing::MAC_V4.0, 0x0800, None);
        assert_eq!(link(&packet, PortId(0), &fib), Link::Drop(DropReason::Starting));
        let arp = frame([0xff; 6], 0x0806, None);
        assert_eq!(link(&arp, PortId(0), &fib), Link::Punt(PuntReason::Arp));
    }

    #[test]
    fn every_address_of_an_interface_is_its_own() {
        let mut routing = testing::routing(1500, 1500);
        let vrrp = MacAddress([0, 0, 0x5e, 0, 1, 7]);
        routing.interfaces[0].extra_macs = vec![MacAddress([2, 9, 9, 9, 9, 9]), vrrp];
        let fib = Fib::build(&routing);
        assert!(matches!(link(&frame(vrrp.0, 0x0800, None), PortId(0), &fib), Link::Ip { .. }));
        let tagged = link(&frame(vrrp.0, 0x0800, Some(100)), PortId(0), &fib);
        assert_eq!(tagged, Link::Punt(PuntReason::ForeignMac), "of this interface, not of the port");
    }

    #[test]
    fn padding_is_cut() {
        let mut packet = testing::udp_v4("203.0.113.50", "192.0.2.1", &[7; 4]);
        packet.resize(46, 0xaa);
        let mut buffer = MemoryBuffer::new(&packet);
        ipv4(&mut buffer).unwrap();
        assert_eq!(buffer.data().len(), 32);
        let mut packet = testing::udp_v6("2001:db8::1", "2001:db8:46::1", &[7; 4]);
        packet.resize(64, 0xaa);
        let mut buffer = MemoryBuffer::new(&packet);
        ipv6(&mut buffer).unwrap();
        assert_eq!(buffer.data().len(), 52);
    }
}
