//! IPv6 to IPv4 (RFC 7915 section 5).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::icmp::{Message, Mtus, Rest, echo_v6_to_v4, mtu_v6_to_v4};
use super::{adjust_at, adjust_udp_at, resize_front};
use crate::buffer::Buffer;
use crate::stage::quote::{QuoteV6, QuotedTransport};
use crate::stage::transport::TransportV6;
use crate::table::MappedV4;
use crate::table::translation::Settings;
use crate::verdict::DropReason;
use crate::wire::checksum::{self, Delta, Sum};
use crate::wire::icmp::{
    HEADER as ICMP_HEADER, INTERFACE_INFORMATION, MIN_EXTENDED_QUOTE, interface_information,
};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Chain, Ipv6Header};
use crate::wire::protocol;

/// The largest IPv4 packet that is sent with DF 0 (RFC 7915 5.1): what leaves an IPv6 minimum MTU link.
pub const SMALL: u16 = 1260;

/// Both addresses of a packet in IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Source.
    pub source: MappedV4,
    /// Destination.
    pub destination: MappedV4,
}

impl Addresses {
    /// The change of a pseudo-header's sum.
    #[inline]
    #[must_use]
    pub fn delta(&self) -> Delta {
        self.source.delta.and(self.destination.delta)
    }
}

/// Everything known of a packet before its first byte is written.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Bytes of IPv6 header and extension headers to replace.
    start: usize,
    /// The header to come, but for its length and what follows from that.
    header: Ipv4Header,
    /// There was no Fragment header: identification and DF follow from the length.
    by_length: bool,
    /// The change of a pseudo-header's sum.
    delta: Delta,
}

impl Plan {
    /// RFC 7915 5.1 and 5.1.1. `delta` is the change of the sum of both addresses; `identification` is for a packet without a Fragment header that is sent with DF 0.
    #[inline(always)]
    #[must_use]
    pub fn new(
        header: &Ipv6Header,
        chain: &Chain,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        delta: Delta,
        identification: u16,
        settings: &Settings,
    ) -> Self {
        let tos = settings.type_of_service.unwrap_or(header.traffic_class);
        Self {
            start: chain.offset,
            header: ipv4_header(tos, header.hop_limit - 1, chain, identification, source, destination),
            by_length: chain.fragment.is_none(),
            delta,
        }
    }

    /// As [`Self::new`], for a packet without extension headers.
    #[inline(always)]
    #[must_use]
    pub fn plain(
        fields: Fields,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        delta: Delta,
        identification: u16,
    ) -> Self {
        let chain =
            Chain { protocol: fields.protocol, offset: ipv6::HEADER, fragment: None, segments_left: None };
        let header = ipv4_header(fields.tos, fields.ttl, &chain, identification, source, destination);
        Self { start: ipv6::HEADER, header, by_length: true, delta }
    }

    /// The header of a packet of this length (RFC 7915 5.1): DF and no identification, or an identification and no DF.
    #[inline(always)]
    fn header(&self, total_length: u16) -> Ipv4Header {
        of_length(self.header, total_length, self.by_length)
    }
}

/// What the IPv4 header takes from the IPv6 header.
#[derive(Debug, Clone, Copy)]
pub struct Fields {
    /// Type of service of the result.
    pub tos: u8,
    /// Time to live of the result.
    pub ttl: u8,
    /// Next header of the packet.
    pub protocol: u8,
}

/// A header without length; with the fragmentation fields of the Fragment header, if there is one.
#[inline(always)]
fn ipv4_header(
    tos: u8,
    ttl: u8,
    chain: &Chain,
    identification: u16,
    source: Ipv4Addr,
    destination: Ipv4Addr,
) -> Ipv4Header {
    let fragment = chain.fragment;
    Ipv4Header {
        header_length: ipv4::HEADER_LENGTH,
        tos,
        total_length: 0,
        identification: fragment.map_or(identification, |fragment| fragment.low_identification()),
        dont_fragment: false,
        more_fragments: fragment.is_some_and(|fragment| fragment.more),
        fragment_offset: fragment.map_or(0, |fragment| fragment.offset),
        ttl,
        protocol: match chain.protocol {
            protocol::ICMPV6 => protocol::ICMPV4,
            number => number,
        },
        source,
        destination,
    }
}

#[inline(always)]
fn of_length(header: Ipv4Header, total_length: u16, by_length: bool) -> Ipv4Header {
    if by_length && total_length > SMALL {
        return Ipv4Header { total_length, identification: 0, dont_fragment: true, ..header };
    }
    Ipv4Header { total_length, ..header }
}

/// What an ICMP error says, and about which packet.
#[derive(Debug, Clone, Copy)]
pub struct ErrorPlan<'a> {
    /// Type and code in ICMPv4.
    pub message: Message,
    /// The quoted packet.
    pub quote: &'a QuoteV6,
    /// Its addresses in IPv4.
    pub quoted: Addresses,
    /// Append the IPv6 source to the message (RFC 6791 4).
    pub name_source: Option<Ipv6Addr>,
    /// MTUs a fragmentation needed message is bounded by.
    pub mtus: Mtus,
}

/// Translates the packet in `buffer`, which is no ICMP error and begins `offset` bytes behind the start of the buffer.
/// What is before it is lost, and room for `front` bytes made in its place.
///
/// # Errors
/// The buffer has no room.
#[inline(always)]
pub fn translate(
    buffer: &mut impl Buffer,
    transport: TransportV6,
    plan: &Plan,
    offset: usize,
    front: usize,
) -> Result<(), DropReason> {
    fix_checksum(&mut buffer.data_mut()[offset..], transport, plan);
    resize_front(buffer, offset + plan.start, front + ipv4::HEADER)?;
    let data = &mut buffer.data_mut()[front..];
    let header = plan.header(u16::try_from(data.len()).expect("the walk refused what is longer"));
    header.emit(data.first_chunk_mut().expect("the front was made for the header"));
    Ok(())
}

/// RFC 7915 5.5: transport checksums, and the type of an echo message. `packet` is still IPv6.
#[inline(always)]
fn fix_checksum(packet: &mut [u8], transport: TransportV6, plan: &Plan) {
    let (header, payload) = packet.split_at_mut(plan.start);
    match transport {
        TransportV6::Tcp => adjust_at(payload, protocol::TCP_CHECKSUM, plan.delta),
        TransportV6::Udp => adjust_udp_at(payload, protocol::UDP_CHECKSUM, plan.delta),
        TransportV6::Echo => {
            let kind = echo_v6_to_v4(payload[0]).expect("transport found an echo message");
            let length = u32::try_from(payload.len()).expect("a packet's length");
            let addresses = Sum::of(&header[ipv6::ADDRESSES]);
            let delta = echo_delta(payload[0], kind, addresses, length);
            payload[0] = kind;
            adjust_at(payload, 2, delta);
        }
        TransportV6::Error | TransportV6::Opaque => {}
    }
}

/// ICMPv6 covers a pseudo-header (RFC 4443 2.3), ICMPv4 does not; and the type changes.
/// `addresses` is the sum of both IPv6 addresses.
#[inline]
fn echo_delta(old: u8, new: u8, addresses: Sum, length: u32) -> Delta {
    let pseudo = addresses + Sum::of_u32(length) + Sum::of_u16(u16::from(protocol::ICMPV6));
    Delta::new(Sum::of_u16(u16::from(old) << 8) + pseudo, Sum::of_u16(u16::from(new) << 8))
}

/// RFC 7915 5.2 and 5.3: an ICMP error with the packet it quotes. The checksum follows every change
/// incrementally, as in the other direction.
///
/// # Errors
/// The buffer has no room.
pub fn translate_error(
    buffer: &mut impl Buffer,
    error: &ErrorPlan<'_>,
    plan: &Plan,
    settings: &Settings,
) -> Result<(), DropReason> {
    let ErrorPlan { message, quote, quoted, name_source, mtus } = *error;
    let start = plan.start;
    let inner_old = quote.chain.offset;
    let layout = Layout::new(quote, name_source);

    let (header, icmp) = buffer.data_mut().split_at_mut(start);
    let addresses = Sum::of(&header[ipv6::ADDRESSES]);
    let checksum = u16::from_be_bytes([icmp[2], icmp[3]]);
    let length = u32::try_from(icmp.len()).expect("a packet's length");
    let mut old = Sum::of(&icmp[0..2]) + Sum::of(&icmp[4..ICMP_HEADER + inner_old]);
    old += addresses + Sum::of_u32(length) + Sum::of_u16(u16::from(protocol::ICMPV6));
    old += Sum::of(&icmp[ICMP_HEADER + layout.keep_quote..ICMP_HEADER + quote.quote_length]);
    if !layout.keep_extension {
        old += Sum::of(&icmp[ICMP_HEADER + quote.quote_length..]);
    }
    let (before, after) = fix_quoted_checksum(&mut icmp[ICMP_HEADER + inner_old..], quote, &quoted);
    old += before;
    let mut new = after;
    if let Some(source) = layout.append {
        new += Sum::of(&interface_information(source));
    }

    resize_tail(buffer, start + ICMP_HEADER, quote, &layout)?;
    resize_front(buffer, start + ICMP_HEADER + inner_old, ipv4::HEADER + ICMP_HEADER + ipv4::HEADER)?;
    let data = buffer.data_mut();
    let total_length = u16::try_from(data.len()).expect("the walk refused what is longer");
    let (fixed, icmp) = data.split_first_chunk_mut().expect("the front was made for the header");
    plan.header(total_length).emit(fixed);
    icmp[0] = message.kind;
    icmp[1] = message.code;
    icmp[2..8].fill(0);
    icmp[5] = layout.length_attribute;
    match message.rest {
        Rest::Unused => {}
        Rest::Pointer(pointer) => icmp[4] = pointer,
        Rest::Mtu(reported) => {
            let mtu = mtu_v6_to_v4(reported, quote.chain.fragment.is_some(), mtus);
            icmp[6..8].copy_from_slice(&mtu.to_be_bytes());
        }
    }
    write_quoted_header(&mut icmp[ICMP_HEADER..], quote, &quoted, settings);
    new += Sum::of(&icmp[..ICMP_HEADER + ipv4::HEADER]);
    let checksum = checksum::adjust(checksum, Delta::new(old, new));
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    Ok(())
}

/// How much of quote and extension goes into the ICMPv4 message, the padding between them, and the object that
/// names the source.
struct Layout {
    /// Bytes of the IPv6 quote that are kept.
    keep_quote: usize,
    /// Zero bytes behind it.
    padding: usize,
    keep_extension: bool,
    append: Option<Ipv6Addr>,
    /// RFC 4884 length in 32-bit words, 0 without an extension.
    length_attribute: u8,
}

impl Layout {
    /// An existing extension passes unchanged behind a quote padded to 32-bit words and at least 128 bytes
    /// (RFC 4884 4.5). A new one is appended only where there is none (RFC 5837 4.5), and the message then kept
    /// within 576 bytes (RFC 1812 4.3.2.3).
    fn new(quote: &QuoteV6, name_source: Option<Ipv6Addr>) -> Self {
        const ROOM: usize = 576 - ipv4::HEADER - ICMP_HEADER - INTERFACE_INFORMATION;
        let shrunk = quote.quote_length - quote.chain.offset + ipv4::HEADER;
        let padded = |length: usize| length.next_multiple_of(4).max(MIN_EXTENDED_QUOTE);
        // The attribute counts at most 255 words; longer quotes go without their extension.
        if quote.extension_length > 0
            && let Ok(length_attribute) = u8::try_from(padded(shrunk) / 4)
        {
            return Self {
                keep_quote: quote.quote_length,
                padding: padded(shrunk) - shrunk,
                keep_extension: true,
                append: None,
                length_attribute,
            };
        }
        if let Some(source) = name_source
            && quote.extension_length == 0
        {
            let kept = shrunk.min(ROOM);
            return Self {
                keep_quote: quote.quote_length - (shrunk - kept),
                padding: padded(kept) - kept,
                keep_extension: true,
                append: Some(source),
                length_attribute: u8::try_from(padded(kept) / 4).expect("at most 520 bytes"),
            };
        }
        Self {
            keep_quote: quote.quote_length,
            padding: 0,
            keep_extension: false,
            append: None,
            length_attribute: 0,
        }
    }
}

/// Cuts or pads what follows the quoted headers, and appends the naming object; `quote_start` is the offset of
/// the quote in the packet.
fn resize_tail(
    buffer: &mut impl Buffer,
    quote_start: usize,
    quote: &QuoteV6,
    layout: &Layout,
) -> Result<(), DropReason> {
    let kept = quote_start + layout.keep_quote;
    if let Some(source) = layout.append {
        buffer.truncate(kept);
        buffer.push_back(layout.padding + INTERFACE_INFORMATION).map_err(|_| DropReason::NoBuffer)?;
        let data = buffer.data_mut();
        data[kept..kept + layout.padding].fill(0);
        data[kept + layout.padding..].copy_from_slice(&interface_information(source));
    } else if layout.keep_extension {
        let extension = quote_start + quote.quote_length;
        let end = buffer.data().len();
        buffer.push_back(layout.padding).map_err(|_| DropReason::NoBuffer)?;
        let data = buffer.data_mut();
        data.copy_within(extension..end, extension + layout.padding);
        data[extension..extension + layout.padding].fill(0);
    } else {
        buffer.truncate(kept);
    }
    Ok(())
}

/// Adjusts the quoted transport checksum if it is there, and a quoted echo's type. Returns the sums of the words
/// that changed, before and after.
fn fix_quoted_checksum(transport: &mut [u8], quote: &QuoteV6, quoted: &Addresses) -> (Sum, Sum) {
    let changed = match quote.transport {
        QuotedTransport::Tcp => protocol::TCP_CHECKSUM..protocol::TCP_CHECKSUM + 2,
        QuotedTransport::Udp => protocol::UDP_CHECKSUM..protocol::UDP_CHECKSUM + 2,
        QuotedTransport::Echo { checksum_present: true, .. } => 0..4,
        QuotedTransport::Echo { .. } => 0..1,
        QuotedTransport::Opaque => 0..0,
    };
    let before = Sum::of(&transport[changed.clone()]);
    match quote.transport {
        QuotedTransport::Tcp => adjust_at(transport, protocol::TCP_CHECKSUM, quoted.delta()),
        QuotedTransport::Udp => adjust_udp_at(transport, protocol::UDP_CHECKSUM, quoted.delta()),
        QuotedTransport::Echo { kind, checksum_present } => {
            let length = u32::try_from(quote.payload_length()).expect("a packet's length");
            let addresses = Sum::of_ipv6(quote.header.source) + Sum::of_ipv6(quote.header.destination);
            let delta = echo_delta(transport[0], kind, addresses, length);
            transport[0] = kind;
            if checksum_present {
                adjust_at(transport, 2, delta);
            }
        }
        QuotedTransport::Opaque => {}
    }
    (before, Sum::of(&transport[changed]))
}

/// RFC 7915 5.3: like an outer header, but the TTL is not touched and lengths are the original's. The
/// identification of a packet that had none is 0.
fn write_quoted_header(out: &mut [u8], quote: &QuoteV6, quoted: &Addresses, settings: &Settings) {
    let total_length =
        u16::try_from(ipv4::HEADER + quote.payload_length()).expect("parse refused what is longer");
    let tos = settings.type_of_service.unwrap_or(quote.header.traffic_class);
    let (source, destination) = (quoted.source.address, quoted.destination.address);
    let header = ipv4_header(tos, quote.header.hop_limit, &quote.chain, 0, source, destination);
    let header = of_length(header, total_length, quote.chain.fragment.is_none());
    header.emit(out.first_chunk_mut().expect("the front was made for the quoted header"));
}
