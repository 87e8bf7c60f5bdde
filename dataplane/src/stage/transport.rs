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
use crate::wire::protocol;

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
    if usize::from(header.fragment_offset) * 8 + payload.len() > usize::from(u16::MAX) {
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
    if usize::from(offset) * 8 + payload.len() > usize::from(u16::MAX) {
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
        protocol::ICMPV4 if settings.guard_protocols => Err(DropReason::GuardedProtocol),
        _ => Ok(TransportV6::Opaque),
    }
}

fn too_short(more_fragments: bool) -> DropReason {
    if more_fragments { DropReason::TinyFragment } else { DropReason::TransportTruncated }
}

/// RFC 7915 4.5: a first fragment cannot be given a checksum, whatever the policy.
#[inline(never)]
fn udp_without_checksum(
    payload: &[u8],
    header: &Ipv4Header,
    settings: &Settings,
) -> Result<TransportV4, DropReason> {
    match settings.udp_zero_checksum {
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
    let Ok(chain) = crate::wire::ipv6::walk_extensions(data, header.next_header) else {
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
