//! IPv6 to IPv4 (RFC 7915 section 5).

use std::net::Ipv6Addr;

use super::icmp::{Message, Mtus, Rest, mtu_v6_to_v4};
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
use crate::wire::ipv6::{Chain, Ipv6Header};
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
    fn delta(&self) -> Delta {
        self.source.delta.and(self.destination.delta)
    }
}

/// Everything known of a packet before its first byte is written.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The IPv6 header.
    pub header: &'a Ipv6Header,
    /// Where its extension headers lead.
    pub chain: &'a Chain,
    /// Its addresses in IPv4.
    pub addresses: Addresses,
    /// Time to live of the result.
    pub ttl: u8,
    /// Identification of a packet without a Fragment header and with DF 0.
    pub identification: u16,
    /// Type of service.
    pub settings: &'a Settings,
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

/// Translates the packet in `buffer`, which is no ICMP error. Its IPv4 form must not exceed 65,535 bytes.
///
/// # Errors
/// The buffer has no room.
#[inline]
pub fn translate(
    buffer: &mut impl Buffer,
    transport: TransportV6,
    plan: &Plan<'_>,
) -> Result<(), DropReason> {
    let start = plan.chain.offset;
    fix_checksum(&mut buffer.data_mut()[start..], transport, plan);
    resize_front(buffer, start, ipv4::HEADER)?;
    write_header(buffer.data_mut(), plan);
    Ok(())
}

/// RFC 7915 5.1 and 5.1.1: the IPv4 header.
#[inline]
fn write_header(data: &mut [u8], plan: &Plan<'_>) {
    let total_length = u16::try_from(data.len()).expect("the walk refused what is longer");
    let header = Ipv4Header {
        header_length: ipv4::HEADER_LENGTH,
        tos: plan.settings.type_of_service.unwrap_or(plan.header.traffic_class),
        total_length,
        identification: 0,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: plan.ttl,
        protocol: protocol_of(plan.chain),
        source: plan.addresses.source.address,
        destination: plan.addresses.destination.address,
    };
    let header = with_fragmentation(header, plan.chain, plan.identification);
    header.emit(data.first_chunk_mut().expect("the front was made for the header"));
}

/// Identification, flags and offset: from the Fragment header with DF 0, or by size (RFC 7915 5.1, 5.1.1).
#[inline]
fn with_fragmentation(header: Ipv4Header, chain: &Chain, identification: u16) -> Ipv4Header {
    match chain.fragment {
        Some(fragment) => Ipv4Header {
            identification: fragment.low_identification(),
            more_fragments: fragment.more,
            fragment_offset: fragment.offset,
            ..header
        },
        None if header.total_length <= SMALL => Ipv4Header { identification, ..header },
        None => Ipv4Header { dont_fragment: true, ..header },
    }
}

const fn protocol_of(chain: &Chain) -> u8 {
    match chain.protocol {
        protocol::ICMPV6 => protocol::ICMPV4,
        number => number,
    }
}

/// RFC 7915 5.5: transport checksums, and the type of an echo message.
#[inline]
fn fix_checksum(payload: &mut [u8], transport: TransportV6, plan: &Plan<'_>) {
    match transport {
        TransportV6::Tcp => adjust_at(payload, protocol::TCP_CHECKSUM, plan.addresses.delta()),
        TransportV6::Udp => adjust_udp_at(payload, protocol::UDP_CHECKSUM, plan.addresses.delta()),
        TransportV6::Echo(kind) => {
            let length = u32::try_from(payload.len()).expect("a packet's length");
            let delta = echo_delta(payload[0], kind, plan.header, length);
            payload[0] = kind;
            adjust_at(payload, 2, delta);
        }
        TransportV6::Error | TransportV6::Opaque => {}
    }
}

/// ICMPv6 covers a pseudo-header (RFC 4443 2.3), ICMPv4 does not; and the type changes.
fn echo_delta(old: u8, new: u8, header: &Ipv6Header, length: u32) -> Delta {
    let pseudo = Sum::of_pseudo_header(header.source, header.destination, length, protocol::ICMPV6);
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
    plan: &Plan<'_>,
) -> Result<(), DropReason> {
    let ErrorPlan { message, quote, quoted, name_source, mtus } = *error;
    let start = plan.chain.offset;
    let inner_old = quote.chain.offset;
    let layout = Layout::new(quote, name_source);

    let icmp = &mut buffer.data_mut()[start..];
    let checksum = u16::from_be_bytes([icmp[2], icmp[3]]);
    let length = u32::try_from(icmp.len()).expect("a packet's length");
    let mut old = Sum::of(&icmp[0..2]) + Sum::of(&icmp[4..ICMP_HEADER + inner_old]);
    old += Sum::of_pseudo_header(plan.header.source, plan.header.destination, length, protocol::ICMPV6);
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
    write_header(data, plan);
    let icmp = &mut data[ipv4::HEADER..];
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
    write_quoted_header(&mut icmp[ICMP_HEADER..], quote, &quoted, plan.settings);
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
            let delta = echo_delta(transport[0], kind, &quote.header, length);
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
    let header = Ipv4Header {
        header_length: ipv4::HEADER_LENGTH,
        tos: settings.type_of_service.unwrap_or(quote.header.traffic_class),
        total_length,
        identification: 0,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: quote.header.hop_limit,
        protocol: protocol_of(&quote.chain),
        source: quoted.source.address,
        destination: quoted.destination.address,
    };
    let header = with_fragmentation(header, &quote.chain, 0);
    header.emit(out.first_chunk_mut().expect("the front was made for the quoted header"));
}
