//! What a packet carries, and whether that can be translated at all.
//!
//! Enters: a packet whose addresses lead across. Leaves: a [`TransportV4`] or [`TransportV6`] that says which
//! checksum to adjust and how an ICMP message reads in the other family, or a refusal. Later stages trust that
//! every field they write lies inside the packet.

use super::translate::icmp;
use crate::table::translation::{Settings, UdpZeroChecksum};
use crate::verdict::DropReason;
use crate::wire::icmp::{HEADER as ICMP_HEADER, v4, v6};
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::{Chain, Ipv6Header};
use crate::wire::{ipv4, ipv6, protocol};

/// The payload of an IPv4 packet on its way to IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportV4 {
    /// TCP with its checksum present.
    Tcp,
    /// UDP with a checksum.
    Udp,
    /// UDP without a checksum that is to be given one.
    UdpComputed,
    /// Echo request or reply.
    Echo,
    /// An ICMP error: its quote is looked at apart, off the common path.
    Error,
    /// Anything else, later fragments included: not a byte is read or changed.
    Opaque,
}

/// The payload of an IPv6 packet on its way to IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportV6 {
    /// TCP with its checksum present.
    Tcp,
    /// UDP with a checksum.
    Udp,
    /// Echo request or reply.
    Echo,
    /// An ICMP error, likewise.
    Error,
    /// Anything else, later fragments included.
    Opaque,
}

/// Inspects the payload of an IPv4 packet; `data` begins with the IPv4 header and ends with the packet.
///
/// # Errors
/// What RFC 7915 section 4 does not translate.
#[inline(always)]
pub fn ipv4(data: &[u8], header: &Ipv4Header, settings: &Settings) -> Result<TransportV4, DropReason> {
    let payload = &data[usize::from(header.header_length)..];
    if fragment_end(header.fragment_offset, payload.len()) > ipv6::MAX_PAYLOAD {
        return Err(DropReason::FragmentInvalid);
    }
    match header.protocol {
        protocol::TCP | protocol::UDP if header.fragment_offset != 0 => Ok(TransportV4::Opaque),
        protocol::TCP if payload.len() < protocol::TCP_CHECKSUM + 2 => Err(too_short(header.more_fragments)),
        protocol::TCP => Ok(TransportV4::Tcp),
        protocol::UDP if payload.len() < protocol::UDP_HEADER => Err(too_short(header.more_fragments)),
        protocol::UDP if payload[protocol::UDP_CHECKSUM..][..2] == [0, 0] => {
            udp_without_checksum(payload, header, settings)
        }
        protocol::UDP => Ok(TransportV4::Udp),
        protocol::ICMPV4 if header.is_fragment() => Err(DropReason::FragmentedIcmp),
        protocol::ICMPV4 => icmpv4(payload),
        protocol::IGMP => Err(DropReason::IcmpUntranslatable),
        number if settings.guard_protocols && protocol::is_guarded_from_ipv4(number) => {
            Err(DropReason::GuardedProtocol)
        }
        _ => Ok(TransportV4::Opaque),
    }
}

/// Inspects the payload of an IPv6 packet behind the extension headers of `chain`.
///
/// # Errors
/// What RFC 7915 section 5 does not translate.
#[inline(always)]
pub fn ipv6(data: &[u8], chain: &Chain, settings: &Settings) -> Result<TransportV6, DropReason> {
    let payload = &data[chain.offset..];
    let (offset, more) = chain.fragment.map_or((0, false), |fragment| (fragment.offset, fragment.more));
    if chain.fragment.is_some() && fragment_end(offset, payload.len()) > ipv4::MAX_PAYLOAD {
        return Err(DropReason::FragmentInvalid);
    }
    match chain.protocol {
        protocol::TCP | protocol::UDP if offset != 0 => Ok(TransportV6::Opaque),
        protocol::TCP if payload.len() < protocol::TCP_CHECKSUM + 2 => Err(too_short(more)),
        protocol::TCP => Ok(TransportV6::Tcp),
        protocol::UDP if payload.len() < protocol::UDP_HEADER => Err(too_short(more)),
        // No checksum in, no checksum out: a zero is never updated (RFC 8200 8.1, RFC 7915 5.5).
        protocol::UDP if payload[protocol::UDP_CHECKSUM..][..2] == [0, 0] => Ok(TransportV6::Opaque),
        protocol::UDP => Ok(TransportV6::Udp),
        protocol::ICMPV6 if offset != 0 || more => Err(DropReason::FragmentedIcmp),
        protocol::ICMPV6 => icmpv6(payload),
        number if settings.guard_protocols && protocol::is_guarded_from_ipv6(number) => {
            Err(DropReason::GuardedProtocol)
        }
        _ => Ok(TransportV6::Opaque),
    }
}

/// Where the payload of a packet ends in its datagram: reassembled, the datagram must not be longer than the family it is
/// translated to can say.
#[inline(always)]
const fn fragment_end(offset: u16, length: usize) -> usize {
    offset as usize * 8 + length
}

/// Whether RFC 7915 4.2 drops an IPv4 packet without a word, whatever its TTL: it is 1 in most of them.
#[must_use]
pub fn is_silent_ipv4(data: &[u8], header: &Ipv4Header) -> bool {
    let kind = data.get(usize::from(header.header_length)).copied();
    match header.protocol {
        protocol::IGMP => true,
        protocol::ICMPV4 if !header.is_fragment() => {
            kind.is_some_and(|kind| icmp::echo_v4_to_v6(kind).is_none() && !v4::is_error(kind))
        }
        _ => false,
    }
}

/// As [`is_silent_ipv4`], for the single-hop messages of IPv6: MLD, neighbour and router discovery, and what RFC 7915 5.2
/// does not know.
#[must_use]
pub fn is_silent_ipv6(data: &[u8], chain: &Chain) -> bool {
    let whole = chain.fragment.is_none_or(|fragment| fragment.is_atomic());
    let kind = data.get(chain.offset).copied().filter(|_| whole && chain.protocol == protocol::ICMPV6);
    kind.is_some_and(|kind| icmp::echo_v6_to_v4(kind).is_none() && !v6::is_error(kind))
}

fn too_short(more_fragments: bool) -> DropReason {
    if more_fragments { DropReason::TinyFragment } else { DropReason::TransportTruncated }
}

/// RFC 7915 4.5: a first fragment cannot be given a checksum, whatever the policy. `payload` has a whole UDP header.
#[inline(never)]
fn udp_without_checksum(
    payload: &[u8],
    header: &Ipv4Header,
    settings: &Settings,
) -> Result<TransportV4, DropReason> {
    let port = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    match settings.udp_zero_checksum_of(port(0), port(2)) {
        UdpZeroChecksum::Forward => Ok(TransportV4::Opaque),
        UdpZeroChecksum::Compute if !header.is_fragment() => {
            let length = usize::from(u16::from_be_bytes([payload[4], payload[5]]));
            if length < protocol::UDP_HEADER || length > payload.len() {
                return Err(DropReason::TransportTruncated);
            }
            Ok(TransportV4::UdpComputed)
        }
        UdpZeroChecksum::Compute | UdpZeroChecksum::Drop => Err(DropReason::UdpZeroChecksum),
    }
}

fn icmpv4(payload: &[u8]) -> Result<TransportV4, DropReason> {
    let header: &[u8; ICMP_HEADER] = payload.first_chunk().ok_or(DropReason::TransportTruncated)?;
    match icmp::echo_v4_to_v6(header[0]) {
        Some(_) => Ok(TransportV4::Echo),
        None if v4::is_error(header[0]) => Ok(TransportV4::Error),
        None => Err(DropReason::IcmpUntranslatable),
    }
}

fn icmpv6(payload: &[u8]) -> Result<TransportV6, DropReason> {
    let header: &[u8; ICMP_HEADER] = payload.first_chunk().ok_or(DropReason::TransportTruncated)?;
    match icmp::echo_v6_to_v4(header[0]) {
        Some(_) => Ok(TransportV6::Echo),
        None if v6::is_error(header[0]) => Ok(TransportV6::Error),
        None => Err(DropReason::IcmpUntranslatable),
    }
}

/// Whether an IPv4 packet is, or may be, an ICMP error, so that none is sent about it. `data` is the packet.
#[must_use]
pub fn is_icmpv4_error(data: &[u8], header: &Ipv4Header) -> bool {
    let kind = data.get(usize::from(header.header_length));
    header.protocol == protocol::ICMPV4 && kind.is_none_or(|kind| v4::is_error(*kind))
}

/// What an IPv6 packet is to the rules about sending ICMPv6 errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icmpv6Standing {
    /// An ICMPv6 error or redirect, or something whose headers lead nowhere: never answered.
    Error,
    /// Another ICMPv6 message.
    Informational,
    /// No ICMPv6.
    Other,
}

/// See [`Icmpv6Standing`]. `data` is the packet.
#[must_use]
pub fn icmpv6_standing(data: &[u8], header: &Ipv6Header) -> Icmpv6Standing {
    let Ok(chain) = ipv6::walk_extensions(data, header.next_header) else {
        return Icmpv6Standing::Error;
    };
    if chain.protocol != protocol::ICMPV6 {
        return Icmpv6Standing::Other;
    }
    let later_fragment = chain.fragment.is_some_and(|fragment| fragment.offset != 0);
    match data.get(chain.offset) {
        Some(kind) if !later_fragment => {
            if v6::is_error(*kind) || *kind == v6::REDIRECT {
                Icmpv6Standing::Error
            } else {
                Icmpv6Standing::Informational
            }
        }
        _ => Icmpv6Standing::Error,
    }
}
