//! IPv4 to IPv6 (RFC 7915 section 4).

use std::net::Ipv6Addr;

use super::icmp::{Message, Mtus, Rest, echo_v4_to_v6, mtu_v4_to_v6};
use super::tail::{Extension, Space, Tail};
use super::{adjust_at, adjust_udp_at, resize_front};
use crate::buffer::Buffer;
use crate::stage::quote::{QuoteV4, QuotedTransport};
use crate::stage::transport::TransportV4;
use crate::table::MappedV6;
use crate::table::translation::Settings;
use crate::verdict::DropReason;
use crate::wire::checksum::{self, Delta, Sum};
use crate::wire::icmp::HEADER as ICMP_HEADER;
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, FRAGMENT_HEADER, FragmentHeader, Ipv6Header};
use crate::wire::{icmp, protocol};

/// Both addresses of a packet in IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Source.
    pub source: MappedV6,
    /// Destination.
    pub destination: MappedV6,
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
    /// Bytes of IPv4 header to replace.
    start: u8,
    /// The header to come. Its length is that of the packet when it is written.
    header: Ipv6Header,
    /// The Fragment header to come, if the packet is a fragment or is about to be cut into some.
    fragment: Option<FragmentHeader>,
    /// The change of a pseudo-header's sum.
    delta: Delta,
}

impl Plan {
    /// RFC 7915 4.1. `delta` is the change of the sum of both addresses; `fragment_header` puts one in; `hop_limit` is the result's.
    #[inline(always)]
    #[must_use]
    pub fn new(
        header: &Ipv4Header,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        delta: Delta,
        fragment_header: bool,
        hop_limit: u8,
        settings: &Settings,
    ) -> Self {
        let next_header = match header.protocol {
            protocol::ICMPV4 => protocol::ICMPV6,
            number => number,
        };
        Self {
            start: header.header_length,
            header: Ipv6Header {
                traffic_class: settings.traffic_class.unwrap_or(header.tos),
                payload_length: 0,
                next_header: if fragment_header { protocol::FRAGMENT } else { next_header },
                hop_limit,
                source,
                destination,
            },
            fragment: fragment_header.then(|| fragment_header_of(header, next_header)),
            delta,
        }
    }
}

/// What an ICMP error says, and about which packet.
#[derive(Debug, Clone, Copy)]
pub struct ErrorPlan<'a> {
    /// Type and code in ICMPv6.
    pub message: Message,
    /// The quoted packet.
    pub quote: &'a QuoteV4,
    /// Its addresses in IPv6.
    pub quoted: Addresses,
    /// MTUs a packet too big message is bounded by.
    pub mtus: Mtus,
    /// The largest packet it may become, in bytes.
    pub limit: usize,
}

/// Translates the packet in `buffer`, which is no ICMP error and begins `offset` bytes behind the start of the buffer.
/// What is before it is lost, and room for `front` bytes made in its place.
///
/// # Errors
/// The buffer has no room.
#[inline(always)]
pub fn translate(
    buffer: &mut impl Buffer,
    transport: TransportV4,
    plan: &Plan,
    offset: usize,
    front: usize,
) -> Result<(), DropReason> {
    let start = offset + usize::from(plan.start);
    let Ipv6Header { source, destination, .. } = &plan.header;
    fix_checksum(&mut buffer.data_mut()[start..], transport, source, destination, plan.delta);
    resize_front(buffer, start, front + plan.length())?;
    write_header(&mut buffer.data_mut()[front..], plan);
    Ok(())
}

/// As [`translate`], for a packet of `length` bytes without options that needs no Fragment header and whose new header
/// is known to the last bit: `first` is its [`ipv6::first_word`]. What is behind the packet is cut off.
///
/// # Errors
/// The buffer has no room.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "all of them are in registers")]
pub fn translate_plain(
    buffer: &mut impl Buffer,
    transport: TransportV4,
    first: u64,
    source: &Ipv6Addr,
    destination: &Ipv6Addr,
    delta: Delta,
    length: usize,
    offset: usize,
    front: usize,
) -> Result<(), DropReason> {
    let start = offset + ipv4::HEADER;
    let payload = &mut buffer.data_mut()[start..offset + length];
    fix_checksum(payload, transport, source, destination, delta);
    let grown = front + ipv6::HEADER + length - ipv4::HEADER;
    buffer.reshape(start, front + ipv6::HEADER, grown).map_err(|_| DropReason::NoBuffer)?;
    let header = buffer.data_mut()[front..].first_chunk_mut();
    ipv6::emit_words(first, *source, *destination, header.expect("the front was made for the header"));
    Ok(())
}

impl Plan {
    /// Bytes of header to come.
    #[inline]
    const fn length(&self) -> usize {
        ipv6::HEADER + if self.fragment.is_some() { FRAGMENT_HEADER } else { 0 }
    }
}

/// RFC 7915 4.1: the IPv6 header, and the Fragment header where one is due.
#[inline(always)]
fn write_header(data: &mut [u8], plan: &Plan) {
    let payload_length =
        u16::try_from(data.len() - ipv6::HEADER).expect("at most 65,515 bytes of payload and 8 more");
    let (fixed, rest) = data.split_first_chunk_mut().expect("the front was made for the header");
    Ipv6Header { payload_length, ..plan.header }.emit(fixed);
    if let Some(fragment) = plan.fragment {
        fragment.emit(rest.first_chunk_mut().expect("the front was made for the Fragment header"));
    }
}

/// RFC 7915 4.1: offset, M flag and identification as in the IPv4 header.
fn fragment_header_of(header: &Ipv4Header, next_header: u8) -> FragmentHeader {
    FragmentHeader {
        next_header,
        offset: header.fragment_offset,
        more: header.more_fragments,
        identification: u32::from(header.identification),
    }
}

/// RFC 7915 4.5: transport checksums, and the type of an echo message.
#[inline(always)]
fn fix_checksum(
    payload: &mut [u8],
    transport: TransportV4,
    source: &Ipv6Addr,
    destination: &Ipv6Addr,
    delta: Delta,
) {
    match transport {
        TransportV4::Tcp => adjust_at(payload, protocol::TCP_CHECKSUM, delta),
        TransportV4::Udp => adjust_udp_at(payload, protocol::UDP_CHECKSUM, delta),
        TransportV4::UdpComputed => compute_udp_checksum(payload, *source, *destination),
        TransportV4::Echo => {
            let kind = echo_v4_to_v6(payload[0]).expect("transport found an echo message");
            let length = u32::try_from(payload.len()).expect("a packet's length");
            let delta = echo_delta(payload[0], kind, *source, *destination, length);
            payload[0] = kind;
            adjust_at(payload, 2, delta);
        }
        TransportV4::Error | TransportV4::Opaque => {}
    }
}

/// ICMPv6 covers a pseudo-header (RFC 4443 2.3), ICMPv4 does not; and the type changes.
#[inline]
fn echo_delta(old: u8, new: u8, source: Ipv6Addr, destination: Ipv6Addr, length: u32) -> Delta {
    let pseudo = Sum::of_pseudo_header(source, destination, length, protocol::ICMPV6);
    Delta::new(Sum::of_u16(u16::from(old) << 8), Sum::of_u16(u16::from(new) << 8) + pseudo)
}

#[inline(never)]
fn compute_udp_checksum(payload: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr) {
    let length = u16::from_be_bytes([payload[4], payload[5]]);
    let pseudo = Sum::of_pseudo_header(source, destination, u32::from(length), protocol::UDP);
    let checksum = match (pseudo + Sum::of(&payload[..usize::from(length)])).checksum() {
        0 => 0xffff,
        checksum => checksum,
    };
    payload[protocol::UDP_CHECKSUM..][..2].copy_from_slice(&checksum.to_be_bytes());
}

/// RFC 7915 4.2 and 4.3: an ICMP error with the packet it quotes.
///
/// The checksum follows every change incrementally: message header, quoted headers, what is cut off and the new
/// pseudo-header. Everything replaced or cut begins at an even distance from the start of the message, so the
/// words in between keep their alignment.
///
/// # Errors
/// The buffer has no room.
pub fn translate_error(
    buffer: &mut impl Buffer,
    error: &ErrorPlan<'_>,
    plan: &Plan,
    settings: &Settings,
) -> Result<(), DropReason> {
    let ErrorPlan { message, quote, quoted, mtus, limit } = *error;
    let start = usize::from(plan.start);
    let inner_old = usize::from(quote.header.header_length);
    let inner_new = ipv6::HEADER + if quote.header.is_fragment() { FRAGMENT_HEADER } else { 0 };
    let growth = inner_new.cast_signed() - inner_old.cast_signed();
    let space = Space { room: limit - ipv6::HEADER - ICMP_HEADER, unit: 8, growth };
    let tail = layout(&message, quote, space);

    let icmp = &mut buffer.data_mut()[start..];
    let checksum = u16::from_be_bytes([icmp[2], icmp[3]]);
    let mut old = Sum::of(&icmp[0..2]) + Sum::of(&icmp[4..ICMP_HEADER + inner_old]);
    let (gone, mut new) = tail.sums(&icmp[ICMP_HEADER..]);
    old += gone;
    let transport = &mut icmp[ICMP_HEADER + inner_old..];
    let (before, after) = fix_quoted_checksum(transport, quote, &quoted);
    old += before;
    new += after;

    tail.write(buffer, start + ICMP_HEADER)?;
    resize_front(buffer, start + ICMP_HEADER + inner_old, ipv6::HEADER + ICMP_HEADER + inner_new)?;
    let data = buffer.data_mut();
    write_header(data, plan);
    let icmp = &mut data[ipv6::HEADER..];
    icmp[0] = message.kind;
    icmp[1] = message.code;
    icmp[2..8].fill(0);
    match message.rest {
        Rest::Unused => {
            icmp[4] = u8::try_from(tail.attribute(growth) / 8).expect("at most 1280 bytes");
        }
        Rest::Pointer(pointer) => icmp[7] = pointer,
        Rest::Mtu(reported) => {
            let plateaus = &settings.mtu_plateaus;
            let mtu = mtu_v4_to_v6(reported, quote.header.total_length, mtus, plateaus);
            icmp[4..8].copy_from_slice(&mtu.to_be_bytes());
        }
    }
    write_quoted_header(&mut icmp[ICMP_HEADER..], quote, &quoted, settings);
    new += Sum::of(&icmp[..ICMP_HEADER + inner_new]);
    let length = u32::try_from(icmp.len()).expect("a packet's length");
    new += Sum::of_pseudo_header(plan.header.source, plan.header.destination, length, protocol::ICMPV6);
    let checksum = checksum::adjust(checksum, Delta::new(old, new));
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    Ok(())
}

/// RFC 4884 4.5 and 5: only unreachable and time exceeded carry an extension, behind a quote padded to 64-bit words and at
/// least 128 bytes. What does not fit loses its extension first (RFC 7915 4.2), with the padding that served it, then the
/// end of its quote (RFC 4443 2.4(c)).
fn layout(message: &Message, quote: &QuoteV4, space: Space) -> Tail {
    let extensible = matches!(message.kind, icmp::v6::UNREACHABLE | icmp::v6::TIME_EXCEEDED);
    let (length, old) = (quote.quote_length, quote.extension_length);
    if extensible && old > 0 {
        let tail = Tail::extended(length, usize::MAX, (Extension::Kept, old), space);
        if let Some(tail) = tail.filter(|tail| tail.keep_quote == length) {
            return tail;
        }
    }
    Tail::plain(length, quote.unpadded(), old > 0, space)
}

/// Adjusts the quoted transport checksum if it is there, and a quoted echo's type. Returns the sums of the words
/// that changed, before and after.
fn fix_quoted_checksum(transport: &mut [u8], quote: &QuoteV4, quoted: &Addresses) -> (Sum, Sum) {
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
            let (source, destination) = (quoted.source.address, quoted.destination.address);
            let length = u32::from(quote.header.payload_length());
            let delta = echo_delta(transport[0], kind, source, destination, length);
            transport[0] = kind;
            if checksum_present {
                adjust_at(transport, 2, delta);
            }
        }
        QuotedTransport::Opaque => {}
    }
    (before, Sum::of(&transport[changed]))
}

/// RFC 7915 4.3: like an outer header, but the hop limit is not touched and lengths are the original's.
fn write_quoted_header(out: &mut [u8], quote: &QuoteV4, quoted: &Addresses, settings: &Settings) {
    let next_header = match quote.header.protocol {
        protocol::ICMPV4 => protocol::ICMPV6,
        number => number,
    };
    let fragment = quote.header.is_fragment();
    let added = if fragment { 8 } else { 0 };
    let header = Ipv6Header {
        traffic_class: settings.traffic_class.unwrap_or(quote.header.tos),
        payload_length: quote.header.payload_length().saturating_add(added),
        next_header: if fragment { protocol::FRAGMENT } else { next_header },
        hop_limit: quote.header.ttl,
        source: quoted.source.address,
        destination: quoted.destination.address,
    };
    let (fixed, rest) = out.split_first_chunk_mut().expect("the front was made for the quoted header");
    header.emit(fixed);
    if fragment {
        let fragment = fragment_header_of(&quote.header, next_header);
        fragment.emit(rest.first_chunk_mut().expect("the front was made for the quoted Fragment header"));
    }
}
