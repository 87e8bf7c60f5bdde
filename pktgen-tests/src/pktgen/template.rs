//! A frame formatted once: everything of it that does not differ from packet to packet.
//!
//! [`Template::write`] makes a packet of it, [`Template::matches`] says whether a received frame is that packet. Both take
//! the same [`Packet`], and neither reads what it can compute: a packet costs a copy, a few stores, and its two
//! checksums as sums of what was known before and what is new.

use std::ops::Range;

use dataplane::wire::checksum::Sum;
use dataplane::wire::{ethernet, ipv4, ipv6};

use super::address::Endpoints;
use super::bytes::{put, u32_at, u64_at};
use super::form::{
    Family, Form, Part, Protocol, datagram, format, header_length, length, number, write_transport,
};
use super::network::{Ipv4, Ipv6, Ipv6Fragment, Network};
use super::transport::{Echo, Opaque, Tcp, Transport, Udp};

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
    /// Formats a frame. `form.payload` must be at least [`super::form::shortest_payload`].
    #[must_use]
    pub fn new(form: &Form) -> Self {
        let bytes = format(form);
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
