//! ICMP errors the relay originates about a packet it refused: new packets, with their own source and limit.
//!
//! Enters: the refused packet, untouched, and the [`Answer`] due. Leaves: a packet for the refused packet's
//! sender, or the reason why there is none: the RFCs forbid it (RFC 1812 4.3.2.7, RFC 4443 2.4(e), RFC 7915 4.4
//! and 5.4), the limits (`error_limit.rs`), no buffer.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Answer;
use super::transport::{Icmpv6Standing, icmpv6_standing, is_icmpv4_error};
use crate::buffer::{Buffer, BufferPool};
use crate::table::special::{never_destination_ipv4, never_forwarded_ipv6};
use crate::wire::checksum::Sum;
use crate::wire::icmp::HEADER as ICMP_HEADER;
use crate::wire::icmp::v6;
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::protocol;

/// Largest ICMPv4 error (RFC 1812 4.3.2.3).
const MAX_V4: usize = 576;
/// Largest ICMPv6 error (RFC 4443 2.4(c)).
const MAX_V6: usize = ipv6::MIN_MTU as usize;
/// TTL and hop limit of what the relay sends itself.
const INITIAL_TTL: u8 = 64;
/// Precedence "internetwork control" (RFC 1812 4.3.2.5).
const TOS: u8 = 0xc0;

/// Whether an error may be sent about this IPv4 packet; `group` tells a link-layer broadcast or multicast.
#[must_use]
pub fn permitted_ipv4(data: &[u8], header: &Ipv4Header, group: bool) -> bool {
    !(group
        || header.fragment_offset != 0
        || header.destination.is_multicast()
        || header.destination.is_broadcast()
        || never_destination_ipv4(header.source)
        || is_icmpv4_error(data, header))
}

/// Whether this error may be sent about this IPv6 packet; `group` tells a link-layer broadcast or multicast.
/// "Administratively prohibited" for what RFC 7915 discards is never sent about ICMPv6 of any kind (5.4).
#[must_use]
pub fn permitted_ipv6(data: &[u8], header: &Ipv6Header, group: bool, answer: &Answer) -> bool {
    if group || header.destination.is_multicast() || never_forwarded_ipv6(header.source) {
        return false;
    }
    match icmpv6_standing(data, header) {
        Icmpv6Standing::Error => false,
        Icmpv6Standing::Informational => (answer.kind, answer.code) != (v6::UNREACHABLE, v6::PROHIBITED),
        Icmpv6Standing::Other => true,
    }
}

/// Builds an ICMPv4 error about `packet` from `source`.
#[must_use]
pub fn ipv4<P: BufferPool>(
    packet: &[u8],
    to: Ipv4Addr,
    source: Ipv4Addr,
    identification: u16,
    answer: &Answer,
    pool: &mut P,
) -> Option<P::Buffer> {
    let quote = &packet[..packet.len().min(MAX_V4 - ipv4::HEADER - ICMP_HEADER)];
    let mut buffer = pool.allocate()?;
    buffer.push_back(ipv4::HEADER + ICMP_HEADER + quote.len()).ok()?;
    let (front, icmp) = buffer.data_mut().split_first_chunk_mut()?;
    Ipv4Header {
        header_length: ipv4::HEADER_LENGTH,
        tos: TOS,
        total_length: u16::try_from(ipv4::HEADER + ICMP_HEADER + quote.len()).ok()?,
        identification,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: INITIAL_TTL,
        protocol: protocol::ICMPV4,
        source,
        destination: to,
    }
    .emit(front);
    write_message(icmp, answer, quote, Sum::ZERO);
    Some(buffer)
}

/// Builds an ICMPv6 error about `packet` from `source`.
#[must_use]
pub fn ipv6<P: BufferPool>(
    packet: &[u8],
    to: Ipv6Addr,
    source: Ipv6Addr,
    answer: &Answer,
    pool: &mut P,
) -> Option<P::Buffer> {
    let quote = &packet[..packet.len().min(MAX_V6 - ipv6::HEADER - ICMP_HEADER)];
    let mut buffer = pool.allocate()?;
    buffer.push_back(ipv6::HEADER + ICMP_HEADER + quote.len()).ok()?;
    let (front, icmp) = buffer.data_mut().split_first_chunk_mut()?;
    let length = u16::try_from(ICMP_HEADER + quote.len()).ok()?;
    Ipv6Header {
        traffic_class: 0,
        payload_length: length,
        next_header: protocol::ICMPV6,
        hop_limit: INITIAL_TTL,
        source,
        destination: to,
    }
    .emit(front);
    write_message(
        icmp,
        answer,
        quote,
        Sum::of_pseudo_header(source, to, u32::from(length), protocol::ICMPV6),
    );
    Some(buffer)
}

fn write_message(icmp: &mut [u8], answer: &Answer, quote: &[u8], pseudo_header: Sum) {
    icmp[0] = answer.kind;
    icmp[1] = answer.code;
    icmp[2..4].fill(0);
    icmp[4..8].copy_from_slice(&answer.rest);
    icmp[ICMP_HEADER..].copy_from_slice(quote);
    let checksum = (pseudo_header + Sum::of(icmp)).checksum();
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
}
