//! What a worker would see of a captured packet.

use capture::{Content, Packet};
use dataplane::verdict::{DropReason, PuntReason};
use dataplane::wire::ethernet;

/// An IP packet, as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'p> {
    /// From its IP header on.
    pub(crate) packet: &'p [u8],
    /// Received as broadcast or multicast of the link layer.
    pub(crate) group: bool,
}

/// Verdict and reason of a captured packet that is no IP packet.
pub(crate) type NotIp = (&'static str, &'static str);

/// The verdict on what a capture does not have: nobody knows what would become of it.
pub(crate) const UNKNOWN: &str = "unknown";

/// The IP packet in a captured one, or what a worker does with the frame before it comes to that.
pub(crate) fn received<'p>(captured: &Packet<'p>) -> Result<Received<'p>, NotIp> {
    if captured.is_cut() {
        return Err((UNKNOWN, "captured_in_part"));
    }
    match captured.content() {
        Content::Ip(packet) => Ok(Received { packet, group: false }),
        Content::Ethernet(frame) => {
            let header = ethernet::Header::parse(frame)
                .map_err(|ethernet::TooShort| dropped(DropReason::FrameTooShort))?;
            ip(header.ether_type, header.is_group(), &frame[header.length..])
        }
        Content::Cooked { ether_type, group, packet } => ip(ether_type, group, packet),
        Content::TooShort => Err(dropped(DropReason::FrameTooShort)),
        Content::Unknown => Err((UNKNOWN, "link_type")),
    }
}

/// The EtherType decides, as on a port.
fn ip(ether_type: u16, group: bool, packet: &[u8]) -> Result<Received<'_>, NotIp> {
    let version = packet.first().map(|byte| byte >> 4);
    match ether_type {
        ethernet::TYPE_IPV4 if version == Some(4) => Ok(Received { packet, group }),
        ethernet::TYPE_IPV4 => Err(dropped(DropReason::Ipv4HeaderInvalid)),
        ethernet::TYPE_IPV6 if version == Some(6) => Ok(Received { packet, group }),
        ethernet::TYPE_IPV6 => Err(dropped(DropReason::Ipv6HeaderInvalid)),
        ethernet::TYPE_ARP => Err(("punted", PuntReason::Arp.name())),
        _ => Err(("punted", PuntReason::EtherType.name())),
    }
}

fn dropped(reason: DropReason) -> NotIp {
    ("dropped", reason.name())
}
