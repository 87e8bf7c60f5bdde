//! What a received frame is: a packet of a stream, perfect or corrupt in some way, or none of ours.

use dataplane::wire::checksum::Sum;
use dataplane::wire::{ethernet, icmp, ipv4, ipv6, protocol};

use super::form::{Family, Form, Part, Protocol, number};
use super::stream::Stream;
use super::tag::Tag;
use super::tally::Corruption;
use super::template::{Packet, Template};

/// A frame that belongs to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recognised {
    /// Index of the stream.
    pub stream: usize,
    /// Its tag.
    pub tag: Tag,
    /// What is wrong with it.
    pub corruption: Option<Corruption>,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A packet of ours.
    Ours(Recognised),
    /// It should be ours, but which one it is cannot be told.
    Unreadable(Corruption),
    /// An ICMP error.
    IcmpError,
    /// Something else.
    Foreign,
}

/// Looks at a frame that came out of `port`. `first` is the index of the stream it most likely belongs to.
#[inline]
#[must_use]
pub fn examine(streams: &[Stream], first: usize, port: usize, frame: &[u8]) -> Found {
    if let Some(found) = of_stream(&streams[first], first, port, frame) {
        return found;
    }
    for (index, stream) in streams.iter().enumerate() {
        if index != first
            && let Some(found) = of_stream(stream, index, port, frame)
        {
            return found;
        }
    }
    untold(streams, frame)
}

/// The frame as a packet of this stream, if its tag says that it is one.
#[inline]
fn of_stream(stream: &Stream, index: usize, port: usize, frame: &[u8]) -> Option<Found> {
    let (template, tag) = stream
        .expected
        .iter()
        .enumerate()
        .filter(|(_, template)| template.len() == frame.len())
        .find_map(|(number, template)| Some((number, tag_of(stream, template, frame)?)))?;
    let template = template_for(stream, template, tag);
    if tag.flow >= stream.flows() || tag.flow != stream.flow(tag.sequence) {
        return Some(Found::Unreadable(Corruption::Tag));
    }
    let packet = stream.packet(tag);
    let corruption = if !template.matches(frame, stream.endpoints(), &packet) {
        explain(template, stream, frame, &packet)
    } else if stream.to.is_some_and(|to| to != port) {
        Some(Corruption::Port)
    } else {
        None
    };
    Some(Found::Ours(Recognised { stream: index, tag, corruption }))
}

/// The tag, if it is one of this stream's.
#[inline]
fn tag_of(stream: &Stream, template: &Template, frame: &[u8]) -> Option<Tag> {
    Tag::read(template.tag_words(frame)?).filter(|tag| tag.stream == stream.id)
}

/// The two halves of a datagram are as long as each other: the sequence number tells which one this is.
#[inline]
fn template_for(stream: &Stream, number: usize, tag: Tag) -> &Template {
    let number = if stream.fragments() { number & !1 | usize::from(tag.sequence & 1 == 1) } else { number };
    &stream.expected[number]
}

/// What exactly is wrong, by reading the frame anew. Nothing may be: one's complement has two zeros, and a checksum that
/// is right with the other one is right.
#[cold]
#[inline(never)]
fn explain(template: &Template, stream: &Stream, frame: &[u8], packet: &Packet) -> Option<Corruption> {
    let mut expected = vec![0; template.len()];
    template.write(&mut expected, stream.endpoints(), packet);
    let form = template.form();
    let (got, want) = (&frame[ethernet::HEADER..], &expected[ethernet::HEADER..]);
    if frame[..ethernet::HEADER] != expected[..ethernet::HEADER] {
        return Some(Corruption::Ethernet);
    }
    let start = template.payload().start;
    explain_network(form, &got[..start - ethernet::HEADER], &want[..start - ethernet::HEADER])
        .or_else(|| explain_transport(template, frame, &expected))
}

fn explain_network(form: &Form, got: &[u8], want: &[u8]) -> Option<Corruption> {
    let (hops, source, destination, checksum) = match form.family {
        Family::Ipv4 => (8, 12..16, 16..20, 10..12),
        Family::Ipv6 => (7, 8..24, 24..40, 0..0),
    };
    if got[hops] != want[hops] {
        return Some(Corruption::HopLimit);
    }
    if got[source.clone()] != want[source] {
        return Some(Corruption::Source);
    }
    if got[destination.clone()] != want[destination] {
        return Some(Corruption::Destination);
    }
    let free = if form.any_identification { 4..6 } else { 0..0 };
    let differs = |at: usize| got[at] != want[at] && !checksum.contains(&at) && !free.contains(&at);
    if (0..got.len()).any(differs) {
        return Some(Corruption::Header);
    }
    let wrong_sum = form.family == Family::Ipv4 && Sum::of(&got[..ipv4::HEADER]).fold() != 0xffff;
    wrong_sum.then_some(Corruption::HeaderChecksum)
}

fn explain_transport(template: &Template, frame: &[u8], expected: &[u8]) -> Option<Corruption> {
    let (start, rest) = (template.payload().start, template.rest());
    if frame[rest..] != expected[rest..] {
        return Some(Corruption::Payload);
    }
    let checksum = match (template.form().part, template.form().protocol) {
        (Some(Part::Last), _) => 0..0,
        (_, Protocol::Udp) => 6..8,
        (_, Protocol::Tcp) => 16..18,
        (_, Protocol::Icmp) => 2..4,
    };
    let (got, want) = (&frame[start..rest], &expected[start..rest]);
    if (0..got.len()).any(|at| got[at] != want[at] && !checksum.contains(&at)) {
        return Some(Corruption::Transport);
    }
    let (got, want) = (Sum::of(&got[checksum.clone()]).fold(), Sum::of(&want[checksum]).fold());
    let other_zero = matches!((got, want), (0, 0xffff) | (0xffff, 0));
    // In UDP zero says that there is no checksum.
    let absent = template.form().protocol == Protocol::Udp && got == 0;
    (got != want && (!other_zero || absent)).then_some(Corruption::TransportChecksum)
}

/// A frame without a tag that fits its length.
#[cold]
#[inline(never)]
fn untold(streams: &[Stream], frame: &[u8]) -> Found {
    let tagged = streams
        .iter()
        .flat_map(|stream| stream.expected.iter().map(move |template| (stream, template)))
        .any(|(stream, template)| tag_of(stream, template, frame).is_some());
    if tagged {
        return Found::Unreadable(Corruption::Length);
    }
    let Ok(header) = ethernet::Header::parse(frame) else {
        return Found::Foreign;
    };
    let packet = &frame[header.length..];
    let (family, above) = match header.ether_type {
        ethernet::TYPE_IPV4 if packet.len() > ipv4::HEADER => (Family::Ipv4, (packet[9], packet[20])),
        ethernet::TYPE_IPV6 if packet.len() > ipv6::HEADER => (Family::Ipv6, (packet[6], packet[40])),
        _ => return Found::Foreign,
    };
    match above {
        (protocol::ICMPV4, kind) if family == Family::Ipv4 && icmp::v4::is_error(kind) => Found::IcmpError,
        (protocol::ICMPV6, kind) if family == Family::Ipv6 && icmp::v6::is_error(kind) => Found::IcmpError,
        (above, kind) if !header.is_group() && looks_like_ours(streams, family, above, kind) => {
            Found::Unreadable(Corruption::Tag)
        }
        _ => Found::Foreign,
    }
}

/// Whether some stream expects this protocol; of ICMP only echoes are.
fn looks_like_ours(streams: &[Stream], family: Family, above: u8, kind: u8) -> bool {
    let echo = match family {
        Family::Ipv4 => matches!(kind, icmp::v4::ECHO_REQUEST | icmp::v4::ECHO_REPLY),
        Family::Ipv6 => matches!(kind, icmp::v6::ECHO_REQUEST | icmp::v6::ECHO_REPLY),
    };
    streams.iter().flat_map(|stream| &stream.expected).map(Template::form).any(|form| {
        let fragment = form.part.is_some() && family == Family::Ipv6 && above == protocol::FRAGMENT;
        let same = above == number(form.protocol, family) && (form.protocol != Protocol::Icmp || echo);
        form.family == family && (fragment || same)
    })
}
