//! A frame formatted once: everything of it that does not differ from packet to packet.
//!
//! [`Template::write`] makes a packet of it, [`Template::matches`] says whether a received frame is that packet. Both take
//! the same [`Packet`], and neither reads what it can compute: a packet costs a copy, a few stores, and its two
//! checksums as sums of what was known before and what is new.

use std::ops::Range;

use dataplane::wire::checksum::Sum;
use dataplane::wire::{ethernet, icmp, ipv4, ipv6, protocol};

use super::address::Endpoints;
use super::bytes::{put, u32_at, u64_at};
use super::network::{Ipv4, Ipv6, Ipv6Fragment, Network};
use super::transport::{Echo, Opaque, Tcp, Transport, Udp};

/// Bytes of a frame that RFC 2544 counts and no driver sees: the frame check sequence.
pub const FCS: usize = 4;

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

/// What differs from packet to packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    /// Its flow, which gives the addresses.
    pub flow: u32,
    /// L4 ports, or identifier and sequence number of an echo, or what a last fragment has in their place.
    pub ports: u32,
    /// Identification of a fragment; 0 otherwise.
    pub identification: u32,
    /// Its tag.
    pub tag: [u64; 2],
    /// The sum of what the other fragment adds to its template, which the checksum of the first one covers; zero otherwise.
    pub beyond: Sum,
}

/// Constant words at their places, with zeros where something else belongs, and the sums of all that is constant.
#[derive(Debug, Clone)]
pub(super) struct Words {
    pub(super) ethernet: [u64; 2],
    pub(super) network: [u64; 2],
    pub(super) network_sum: Sum,
    pub(super) any_identification: bool,
    pub(super) transport: u64,
    pub(super) transport_sum: Sum,
    pub(super) no_checksum: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Ipv4Udp,
    Ipv4Tcp,
    Ipv4Echo,
    Ipv4Opaque,
    Ipv6Udp,
    Ipv6Tcp,
    Ipv6Echo,
    FragmentUdp,
    FragmentTcp,
    FragmentOpaque,
}

/// Calls a generic function with the two headers of a shape.
macro_rules! with_shape {
    ($shape:expr, $function:ident ( $($argument:expr),* )) => {
        match $shape {
            Shape::Ipv4Udp => $function::<Ipv4, Udp>($($argument),*),
            Shape::Ipv4Tcp => $function::<Ipv4, Tcp>($($argument),*),
            Shape::Ipv4Echo => $function::<Ipv4, Echo>($($argument),*),
            Shape::Ipv4Opaque => $function::<Ipv4, Opaque>($($argument),*),
            Shape::Ipv6Udp => $function::<Ipv6, Udp>($($argument),*),
            Shape::Ipv6Tcp => $function::<Ipv6, Tcp>($($argument),*),
            Shape::Ipv6Echo => $function::<Ipv6, Echo>($($argument),*),
            Shape::FragmentUdp => $function::<Ipv6Fragment, Udp>($($argument),*),
            Shape::FragmentTcp => $function::<Ipv6Fragment, Tcp>($($argument),*),
            Shape::FragmentOpaque => $function::<Ipv6Fragment, Opaque>($($argument),*),
        }
    };
}

/// A formatted frame.
#[derive(Debug, Clone)]
pub struct Template {
    form: Form,
    shape: Shape,
    bytes: Box<[u8]>,
    words: Words,
    tag: [usize; 2],
}

impl Template {
    /// Formats a frame. `form.payload` must be at least [`shortest_payload`].
    #[must_use]
    pub fn new(form: &Form) -> Self {
        let header = header_length(form);
        let mut bytes = vec![0; ethernet::HEADER + header + form.payload];
        write_ethernet(&mut bytes, form);
        write_network(&mut bytes[ethernet::HEADER..], form);
        let at = ethernet::HEADER + header;
        write_transport(&mut bytes[at..], form);
        let shape = shape(form);
        let (tag, _) = with_shape!(shape, places());
        Self { form: *form, shape, words: words(&bytes, form), bytes: bytes.into(), tag }
    }

    /// What it was made of.
    #[must_use]
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Length without the frame check sequence.
    #[inline]
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The words of the tag in a frame of this form, if it is long enough.
    #[inline]
    #[must_use]
    pub fn tag_words(&self, frame: &[u8]) -> Option<[u64; 2]> {
        let [first, second] = self.tag;
        (frame.len() >= second + 8).then(|| [u64_at(frame, first), u64_at(frame, second)])
    }

    /// Where transport header and payload lie.
    #[must_use]
    pub fn payload(&self) -> Range<usize> {
        ethernet::HEADER + header_length(&self.form)..self.bytes.len()
    }

    /// Where the constant end of the payload begins.
    #[must_use]
    pub fn rest(&self) -> usize {
        with_shape!(self.shape, places()).1
    }

    /// Writes a packet into `frame`, which has the template's length.
    #[inline]
    pub fn write(&self, frame: &mut [u8], endpoints: &Endpoints, packet: &Packet) {
        // The smallest frames are copied by a few moves.
        match (<&mut [u8; 60]>::try_from(&mut *frame), <&[u8; 60]>::try_from(&*self.bytes)) {
            (Ok(frame), Ok(bytes)) => *frame = *bytes,
            _ => match (<&mut [u8; 80]>::try_from(&mut *frame), <&[u8; 80]>::try_from(&*self.bytes)) {
                (Ok(frame), Ok(bytes)) => *frame = *bytes,
                _ => frame.copy_from_slice(&self.bytes),
            },
        }
        with_shape!(self.shape, write(frame, &self.words, endpoints, packet));
    }

    /// Whether `frame` is exactly this packet.
    #[inline]
    #[must_use]
    pub fn matches(&self, frame: &[u8], endpoints: &Endpoints, packet: &Packet) -> bool {
        frame.len() == self.bytes.len()
            && !with_shape!(self.shape, differs(frame, &self.bytes, &self.words, endpoints, packet))
    }
}

#[inline(always)]
fn write<N: Network, T: Transport>(frame: &mut [u8], words: &Words, endpoints: &Endpoints, packet: &Packet) {
    let at = ethernet::HEADER + N::LENGTH;
    assert!(frame.len() >= at + T::END, "no form is shorter");
    let pair = N::pair(endpoints, packet.flow);
    N::write(&mut frame[ethernet::HEADER..at], words, pair, packet.identification);
    let transport = &mut frame[at..at + T::END];
    T::write(transport, words, packet.ports, sum::<N, T>(pair, packet));
    put(transport, T::TAG[0], packet.tag[0].to_be_bytes());
    put(transport, T::TAG[1], packet.tag[1].to_be_bytes());
}

#[inline(always)]
fn differs<N: Network, T: Transport>(
    frame: &[u8],
    bytes: &[u8],
    words: &Words,
    endpoints: &Endpoints,
    packet: &Packet,
) -> bool {
    let at = ethernet::HEADER + N::LENGTH;
    assert!(
        frame.len() == bytes.len() && frame.len() >= at + T::END,
        "the length was compared, no form is shorter"
    );
    let pair = N::pair(endpoints, packet.flow);
    let transport = &frame[at..at + T::END];
    (u64_at(frame, 0) ^ words.ethernet[0]) | (u64_at(frame, 6) ^ words.ethernet[1]) != 0
        || N::differs(&frame[ethernet::HEADER..at], words, pair, packet.identification)
        || T::differs(transport, words, packet.ports, sum::<N, T>(pair, packet))
        || u64_at(transport, T::TAG[0]) != packet.tag[0]
        || u64_at(transport, T::TAG[1]) != packet.tag[1]
        || !same(&frame[at + T::END..], &bytes[at + T::END..])
}

/// Compares the ends of two frames; the smallest have two bytes left or none.
#[inline(always)]
fn same(left: &[u8], right: &[u8]) -> bool {
    match (left, right) {
        ([], []) => true,
        ([a, b], [c, d]) => a == c && b == d,
        _ => left == right,
    }
}

/// The sum of everything a packet adds to its template's transport checksum.
#[inline(always)]
fn sum<N: Network, T: Transport>(pair: N::Pair, packet: &Packet) -> Sum {
    let own = T::sum(packet.ports) + Sum::of_u64(packet.tag[0]) + Sum::of_u64(packet.tag[1]) + packet.beyond;
    if T::PSEUDO_HEADER || N::PSEUDO_HEADER_FOR_ICMP { own + N::sum(pair) } else { own }
}

/// Where the tag and the constant end are.
fn places<N: Network, T: Transport>() -> ([usize; 2], usize) {
    let at = ethernet::HEADER + N::LENGTH;
    (T::TAG.map(|offset| at + offset), at + T::END)
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

const fn shape(form: &Form) -> Shape {
    match (form.family, form.part, form.protocol) {
        (Family::Ipv4, Some(Part::Last), _) => Shape::Ipv4Opaque,
        (Family::Ipv4, _, Protocol::Udp) => Shape::Ipv4Udp,
        (Family::Ipv4, _, Protocol::Tcp) => Shape::Ipv4Tcp,
        (Family::Ipv4, _, Protocol::Icmp) => Shape::Ipv4Echo,
        (Family::Ipv6, None, Protocol::Udp) => Shape::Ipv6Udp,
        (Family::Ipv6, None, Protocol::Tcp) => Shape::Ipv6Tcp,
        // No translator takes fragments of ICMP, and the configuration refuses them.
        (Family::Ipv6, _, Protocol::Icmp) => Shape::Ipv6Echo,
        (Family::Ipv6, Some(Part::First), Protocol::Udp) => Shape::FragmentUdp,
        (Family::Ipv6, Some(Part::First), Protocol::Tcp) => Shape::FragmentTcp,
        (Family::Ipv6, Some(Part::Last), _) => Shape::FragmentOpaque,
    }
}

const fn header_length(form: &Form) -> usize {
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

/// Lengths of frames are checked by the configuration.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("frames are far below 65,536 bytes")
}

/// Bytes of the datagram a packet is, or is a fragment of.
const fn datagram(form: &Form) -> usize {
    if form.part.is_some() { 2 * form.payload } else { form.payload }
}

fn write_transport(transport: &mut [u8], form: &Form) {
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

fn words(frame: &[u8], form: &Form) -> Words {
    let network = &frame[ethernet::HEADER..];
    let transport = &network[header_length(form)..];
    let (second, network_sum) = match form.family {
        Family::Ipv4 => (u64_at(network, 8), Sum::of(&network[..ipv4::HEADER])),
        Family::Ipv6 if form.part.is_some() => (u64_at(network, ipv6::HEADER), Sum::ZERO),
        Family::Ipv6 => (0, Sum::ZERO),
    };
    Words {
        ethernet: [u64_at(frame, 0), u64_at(frame, 6)],
        network: [u64_at(network, 0), second],
        network_sum,
        any_identification: form.any_identification,
        transport: match (form.part, form.protocol) {
            (Some(Part::Last), _) | (_, Protocol::Udp | Protocol::Icmp) => u64_at(transport, 0),
            (_, Protocol::Tcp) => u64::from(u32_at(transport, 12)),
        },
        transport_sum: transport_sum(transport, form),
        no_checksum: form.no_checksum,
    }
}

/// The constant part of the pseudo-header, the transport header, and the payload, the second fragment's included.
fn transport_sum(transport: &[u8], form: &Form) -> Sum {
    let mut sum = Sum::of(transport);
    if form.part == Some(Part::First) {
        let mut last = vec![0; form.payload];
        write_transport(&mut last, &Form { part: Some(Part::Last), ..*form });
        sum += Sum::of(&last);
    }
    if form.protocol == Protocol::Icmp && form.family == Family::Ipv4 {
        return sum;
    }
    sum + Sum::of_u16(length(datagram(form))) + Sum::of_u16(u16::from(number(form.protocol, form.family)))
}
