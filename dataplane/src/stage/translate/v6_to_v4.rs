//! IPv6 to IPv4 (RFC 7915 section 5).

use std::net::Ipv4Addr;

use super::icmp::{Message, Mtus, Rest, echo_v6_to_v4, mtu_v6_to_v4};
use super::tail::{Extension, Space, Tail};
use super::{adjust_at, adjust_udp_at, resize_front};
use crate::buffer::Buffer;
use crate::stage::quote::{QuoteV6, QuotedTransport};
use crate::stage::transport::TransportV6;
use crate::table::MappedV4;
use crate::table::translation::Settings;
use crate::verdict::DropReason;
use crate::wire::checksum::{self, Delta, Sum};
use crate::wire::icmp::{HEADER as ICMP_HEADER, NamingObject};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Chain, Ipv6Header};
use crate::wire::protocol;

/// The largest IPv4 packet that is sent with DF 0 (RFC 7915 5.1): what leaves an IPv6 minimum MTU link.
pub const SMALL: u16 = 1260;
/// The largest ICMPv4 error: what every host takes (RFC 1812 4.3.2.3).
pub const MAX_ERROR: usize = 576;

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
    /// Names the IPv6 source that has no IPv4 form.
    pub name: Option<NamingObject>,
    /// MTUs a fragmentation needed message is bounded by.
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
    let ErrorPlan { message, quote, quoted, name, mtus, limit } = *error;
    let start = plan.start;
    let inner_old = quote.chain.offset;
    let growth = ipv4::HEADER.cast_signed() - inner_old.cast_signed();
    let space = Space { room: limit - ipv4::HEADER - ICMP_HEADER, unit: 4, growth };
    let tail = layout(quote, name, space);

    let (header, icmp) = buffer.data_mut().split_at_mut(start);
    let addresses = Sum::of(&header[ipv6::ADDRESSES]);
    let checksum = u16::from_be_bytes([icmp[2], icmp[3]]);
    let length = u32::try_from(icmp.len()).expect("a packet's length");
    let mut old = Sum::of(&icmp[0..2]) + Sum::of(&icmp[4..ICMP_HEADER + inner_old]);
    old += addresses + Sum::of_u32(length) + Sum::of_u16(u16::from(protocol::ICMPV6));
    let (gone, mut new) = tail.sums(&icmp[ICMP_HEADER..]);
    old += gone;
    let (before, after) = fix_quoted_checksum(&mut icmp[ICMP_HEADER + inner_old..], quote, &quoted);
    old += before;
    new += after;

    tail.write(buffer, start + ICMP_HEADER)?;
    resize_front(buffer, start + ICMP_HEADER + inner_old, ipv4::HEADER + ICMP_HEADER + ipv4::HEADER)?;
    let data = buffer.data_mut();
    let total_length = u16::try_from(data.len()).expect("cut to the limit");
    let (fixed, icmp) = data.split_first_chunk_mut().expect("the front was made for the header");
    plan.header(total_length).emit(fixed);
    icmp[0] = message.kind;
    icmp[1] = message.code;
    icmp[2..8].fill(0);
    icmp[5] = u8::try_from(tail.attribute(growth) / 4).expect("at most 255 words");
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

/// An existing extension passes behind a quote padded to 32-bit words and at least 128 bytes (RFC 4884 4.5), and so does the
/// object that names the source; for both the quote gives way. RFC 5837 4.5 wants no second object of its kind, Node
/// Identification is added to what is there.
fn layout(quote: &QuoteV6, name: Option<NamingObject>, space: Space) -> Tail {
    /// The attribute counts at most 255 words.
    const LONGEST: usize = 255 * 4;
    /// What names its source stays within what every host takes, on whatever way it leaves (RFC 1812 4.3.2.3).
    const NAMED: usize = MAX_ERROR - ipv4::HEADER - ICMP_HEADER;
    let old = quote.extension_length;
    let named = match name {
        Some(object) if old == 0 => Some(Extension::New(object)),
        Some(object @ NamingObject::NodeIdentification(_)) if old.is_multiple_of(4) => {
            Some(Extension::Extended(object))
        }
        _ => None,
    };
    let kept = (old > 0).then_some(Extension::Kept);
    let choices = [(named, Space { room: space.room.min(NAMED), ..space }), (kept, space)];
    let tail = choices
        .into_iter()
        .find_map(|(extension, space)| Tail::extended(quote.quote_length, LONGEST, (extension?, old), space));
    tail.unwrap_or_else(|| Tail::plain(quote.quote_length, quote.unpadded(), old > 0, space))
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
            let length = u32::try_from(quote.payload_length).expect("a packet's length");
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
        u16::try_from(ipv4::HEADER + quote.payload_length).expect("parse refused what is longer");
    let tos = settings.type_of_service.unwrap_or(quote.header.traffic_class);
    let (source, destination) = (quoted.source.address, quoted.destination.address);
    let header = ipv4_header(tos, quote.header.hop_limit, &quote.chain, 0, source, destination);
    let header = of_length(header, total_length, quote.chain.fragment.is_none());
    header.emit(out.first_chunk_mut().expect("the front was made for the quoted header"));
}
