//! What a frame is made of, and how it is formatted: with zeros for everything that differs from packet to packet.

use dataplane::wire::{ethernet, icmp, ipv4, ipv6, protocol};

use super::bytes::put;
use super::network::{Ipv4, Ipv6, Ipv6Fragment, Network};
use super::transport::{Tcp, Transport, Udp};

/// Bytes of a frame that RFC 2544 counts and no driver sees: the frame check sequence.
pub const FCS: usize = 4;
/// Bytes of an IPv4 frame, as RFC 2544 counts it, that are neither transport header nor payload.
pub const IPV4_OVERHEAD: usize = ethernet::HEADER + ipv4::HEADER + FCS;

/// An IP family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What is above IP.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[clap(rename_all = "snake_case")]
pub enum Protocol {
    /// UDP datagrams.
    #[default]
    Udp,
    /// TCP segments in the middle of a connection.
    Tcp,
    /// ICMP echo: requests towards the service, replies from it.
    Icmp,
}

/// Which half of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first fragment, with the transport header.
    First,
    /// The last one.
    Last,
}

/// Everything a template is made of.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// The family of its header.
    pub family: Family,
    /// What is above.
    pub protocol: Protocol,
    /// Link-layer source.
    pub source_mac: [u8; 6],
    /// Link-layer destination.
    pub destination_mac: [u8; 6],
    /// Time to live or hop limit.
    pub hops: u8,
    /// Bytes of transport header and payload.
    pub payload: usize,
    /// None for a whole packet.
    pub part: Option<Part>,
    /// Don't Fragment (IPv4).
    pub dont_fragment: bool,
    /// Whether the identification is the device's choice (IPv4).
    pub any_identification: bool,
    /// Whether it goes from the service to the client: echo replies.
    pub reverse: bool,
    /// Whether UDP goes without a checksum.
    pub no_checksum: bool,
}

/// The shortest transport header and payload that hold a tag.
#[must_use]
pub const fn shortest_payload(protocol: Protocol, fragments: bool) -> usize {
    match protocol {
        // Fragments are cut at multiples of eight.
        _ if fragments => 32,
        Protocol::Udp | Protocol::Icmp => Udp::END,
        Protocol::Tcp => Tcp::END,
    }
}

/// The formatted frame.
pub(super) fn format(form: &Form) -> Vec<u8> {
    let at = ethernet::HEADER + header_length(form);
    let mut frame = vec![0; at + form.payload];
    write_ethernet(&mut frame, form);
    write_network(&mut frame[ethernet::HEADER..], form);
    write_transport(&mut frame[at..], form);
    frame
}

/// Bytes of the network header.
pub(super) const fn header_length(form: &Form) -> usize {
    match (form.family, form.part) {
        (Family::Ipv4, _) => Ipv4::LENGTH,
        (Family::Ipv6, None) => Ipv6::LENGTH,
        (Family::Ipv6, Some(_)) => Ipv6Fragment::LENGTH,
    }
}

fn write_ethernet(frame: &mut [u8], form: &Form) {
    put(frame, 0, form.destination_mac);
    put(frame, 6, form.source_mac);
    let ether_type = match form.family {
        Family::Ipv4 => ethernet::TYPE_IPV4,
        Family::Ipv6 => ethernet::TYPE_IPV6,
    };
    put(frame, 12, ether_type.to_be_bytes());
}

/// The protocol number in `family`.
pub(super) const fn number(protocol: Protocol, family: Family) -> u8 {
    match (protocol, family) {
        (Protocol::Udp, _) => protocol::UDP,
        (Protocol::Tcp, _) => protocol::TCP,
        (Protocol::Icmp, Family::Ipv4) => protocol::ICMPV4,
        (Protocol::Icmp, Family::Ipv6) => protocol::ICMPV6,
    }
}

fn write_network(packet: &mut [u8], form: &Form) {
    let number = number(form.protocol, form.family);
    let more = form.part == Some(Part::First);
    let offset = if form.part == Some(Part::Last) { length(form.payload) / 8 } else { 0 };
    match form.family {
        Family::Ipv4 => {
            let header = ipv4::Ipv4Header {
                header_length: ipv4::HEADER_LENGTH,
                tos: 0,
                total_length: length(packet.len()),
                identification: 0,
                dont_fragment: form.dont_fragment,
                more_fragments: more,
                fragment_offset: offset,
                ttl: form.hops,
                protocol: number,
                source: 0.into(),
                destination: 0.into(),
            };
            header.emit(packet.first_chunk_mut().expect("the header was counted"));
            // Packets get their own.
            packet[10..12].fill(0);
        }
        Family::Ipv6 => {
            let header = ipv6::Ipv6Header {
                traffic_class: 0,
                payload_length: length(packet.len() - ipv6::HEADER),
                next_header: if form.part.is_some() { protocol::FRAGMENT } else { number },
                hop_limit: form.hops,
                source: 0.into(),
                destination: 0.into(),
            };
            header.emit(packet.first_chunk_mut().expect("the header was counted"));
            if form.part.is_some() {
                let fragment = ipv6::FragmentHeader { next_header: number, offset, more, identification: 0 };
                fragment
                    .emit(packet[ipv6::HEADER..].first_chunk_mut().expect("the Fragment header was counted"));
            }
        }
    }
}

/// As a field of a header. Lengths of frames are checked by the configuration.
pub(super) fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("frames are far below 65,536 bytes")
}

/// Bytes of the datagram a packet is, or is a fragment of.
pub(super) const fn datagram(form: &Form) -> usize {
    if form.part.is_some() { 2 * form.payload } else { form.payload }
}

pub(super) fn write_transport(transport: &mut [u8], form: &Form) {
    for (index, byte) in transport.iter_mut().enumerate() {
        *byte = filler(index);
    }
    if form.part == Some(Part::Last) {
        transport[..4].fill(0);
        transport[8..24].fill(0);
        return;
    }
    match form.protocol {
        Protocol::Udp => {
            transport[..24].fill(0);
            put(transport, 4, length(datagram(form)).to_be_bytes());
        }
        Protocol::Tcp => {
            // Five words of header, ACK, some window.
            transport[..26].fill(0);
            put(transport, 12, [0x50, 0x10, 0x20, 0x00]);
        }
        Protocol::Icmp => {
            transport[..24].fill(0);
            transport[0] = match (form.family, form.reverse) {
                (Family::Ipv4, false) => icmp::v4::ECHO_REQUEST,
                (Family::Ipv4, true) => icmp::v4::ECHO_REPLY,
                (Family::Ipv6, false) => icmp::v6::ECHO_REQUEST,
                (Family::Ipv6, true) => icmp::v6::ECHO_REPLY,
            };
        }
    }
}

/// Payload that is the same in every packet and different in every byte of a neighbourhood.
#[allow(clippy::cast_possible_truncation, reason = "the low byte is wanted")]
const fn filler(index: usize) -> u8 {
    (index as u8).wrapping_mul(167).wrapping_add(13)
}
