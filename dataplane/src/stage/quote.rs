//! The packet in error that an ICMP message quotes, and the RFC 4884 extension that may follow it.
//!
//! ```text
//!  ICMP header (8) | IP header | transport ... | zero padding | extension structure
//!                  |<-------- quote_length -------->|
//! ```
//!
//! The quote may end anywhere behind its IP header: lengths are those of the original packet, not of the bytes
//! present (RFC 7915 4.3, 5.3). Its header checksum is not looked at. What could not be translated as a packet
//! cannot be translated as a quote; ICMP errors inside ICMP errors above all.

use super::Refusal;
use crate::table::translation::Settings;
use crate::verdict::DropReason;
use crate::wire::icmp::HEADER as ICMP_HEADER;
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Chain, Ipv6Header};
use crate::wire::protocol;

/// Which checksum of the quoted transport header to adjust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotedTransport {
    /// TCP whose checksum was quoted.
    Tcp,
    /// UDP whose checksum was quoted and is not zero.
    Udp,
    /// Echo request or reply: the type it becomes, and whether its checksum was quoted.
    Echo {
        /// The type in the other family.
        kind: u8,
        /// The checksum is among the bytes present.
        checksum_present: bool,
    },
    /// Nothing to change.
    Opaque,
}

/// The quote of an ICMPv4 error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteV4 {
    /// The quoted header.
    pub header: Ipv4Header,
    /// The quoted payload.
    pub transport: QuotedTransport,
    /// Bytes of original datagram, padding included.
    pub quote_length: usize,
    /// Bytes of extension structure behind it.
    pub extension_length: usize,
}

/// The quote of an ICMPv6 error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteV6 {
    /// The quoted header.
    pub header: Ipv6Header,
    /// Where its extension headers lead.
    pub chain: Chain,
    /// The quoted payload.
    pub transport: QuotedTransport,
    /// Bytes of original datagram, padding included.
    pub quote_length: usize,
    /// Bytes of extension structure behind it.
    pub extension_length: usize,
}

impl QuoteV4 {
    /// Reads the quote of an ICMPv4 error; `message` begins with the ICMP header.
    ///
    /// # Errors
    /// The quoted packet has no IPv6 form.
    pub fn parse(message: &[u8], settings: &Settings) -> Result<Self, Refusal> {
        const UNTRANSLATABLE: Refusal = Refusal::silent(DropReason::IcmpInnerUntranslatable);
        // RFC 4884: the length attribute of ICMPv4 counts 32-bit words.
        let (quote_length, extension_length) = split(message, usize::from(message[5]) * 4);
        let quote = &message[ICMP_HEADER..ICMP_HEADER + quote_length];
        let header = Ipv4Header::parse_quoted(quote).map_err(|_| UNTRANSLATABLE)?;
        let payload = &quote[usize::from(header.header_length)..];
        let transport = match header.protocol {
            protocol::ICMPV4 if header.is_fragment() => return Err(UNTRANSLATABLE),
            protocol::ICMPV4 => {
                quoted_echo(payload, super::translate::icmp::echo_v4_to_v6).ok_or(UNTRANSLATABLE)?
            }
            protocol::IGMP => return Err(UNTRANSLATABLE),
            number if settings.guard_protocols && protocol::is_guarded_from_ipv4(number) => {
                return Err(UNTRANSLATABLE);
            }
            number => quoted_transport(number, header.fragment_offset, payload),
        };
        Ok(Self { header, transport, quote_length, extension_length })
    }
}

impl QuoteV6 {
    /// Reads the quote of an ICMPv6 error; `message` begins with the ICMP header.
    ///
    /// # Errors
    /// The quoted packet has no IPv4 form.
    pub fn parse(message: &[u8], settings: &Settings) -> Result<Self, Refusal> {
        const UNTRANSLATABLE: Refusal = Refusal::silent(DropReason::IcmpInnerUntranslatable);
        // RFC 4884: the length attribute of ICMPv6 counts 64-bit words, and only types 1 and 3 have one.
        let attribute = if matches!(
            message[0],
            crate::wire::icmp::v6::UNREACHABLE | crate::wire::icmp::v6::TIME_EXCEEDED
        ) {
            usize::from(message[4]) * 8
        } else {
            0
        };
        let (quote_length, extension_length) = split(message, attribute);
        let quote = &message[ICMP_HEADER..ICMP_HEADER + quote_length];
        let header = Ipv6Header::parse_quoted(quote).map_err(|_| UNTRANSLATABLE)?;
        let chain = ipv6::walk_extensions(quote, header.next_header).map_err(|_| UNTRANSLATABLE)?;
        // Bytes behind the extension headers, as the sender sent it.
        let sent = (ipv6::HEADER + usize::from(header.payload_length)).checked_sub(chain.offset);
        let fits = sent.is_some_and(|sent| ipv4::HEADER + sent <= usize::from(u16::MAX));
        if !fits || chain.segments_left.is_some() {
            return Err(UNTRANSLATABLE);
        }
        let payload = &quote[chain.offset..];
        let offset = chain.fragment.map_or(0, |fragment| fragment.offset);
        let transport = match chain.protocol {
            protocol::ICMPV6 if chain.fragment.is_some_and(|fragment| !fragment.is_atomic()) => {
                return Err(UNTRANSLATABLE);
            }
            protocol::ICMPV6 => {
                quoted_echo(payload, super::translate::icmp::echo_v6_to_v4).ok_or(UNTRANSLATABLE)?
            }
            protocol::ICMPV4 if settings.guard_protocols => return Err(UNTRANSLATABLE),
            number => quoted_transport(number, offset, payload),
        };
        Ok(Self { header, chain, transport, quote_length, extension_length })
    }

    /// Bytes of the quoted packet behind its extension headers, as its sender sent it.
    #[must_use]
    pub fn payload_length(&self) -> usize {
        ipv6::HEADER + usize::from(self.header.payload_length) - self.chain.offset
    }
}

/// Lengths of the original datagram and of the extension behind it. An attribute of 0 means no extension, and so does
/// one that points past the end or leaves no room for an extension header (RFC 4884 5.4, 7).
fn split(message: &[u8], attribute: usize) -> (usize, usize) {
    let available = message.len() - ICMP_HEADER;
    const EXTENSION_HEADER: usize = 4;
    if attribute == 0 || attribute + EXTENSION_HEADER > available {
        (available, 0)
    } else {
        (attribute, available - attribute)
    }
}

fn quoted_echo(payload: &[u8], translate: fn(u8) -> Option<u8>) -> Option<QuotedTransport> {
    let kind = translate(*payload.first()?)?;
    Some(QuotedTransport::Echo { kind, checksum_present: payload.len() >= 4 })
}

fn quoted_transport(number: u8, fragment_offset: u16, payload: &[u8]) -> QuotedTransport {
    if fragment_offset != 0 {
        return QuotedTransport::Opaque;
    }
    match number {
        protocol::TCP if payload.len() >= protocol::TCP_CHECKSUM + 2 => QuotedTransport::Tcp,
        protocol::UDP
            if payload.len() >= protocol::UDP_CHECKSUM + 2
                && payload[protocol::UDP_CHECKSUM..][..2] != [0, 0] =>
        {
            QuotedTransport::Udp
        }
        _ => QuotedTransport::Opaque,
    }
}
