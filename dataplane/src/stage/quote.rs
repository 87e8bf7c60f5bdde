//! The packet in error that an ICMP message quotes, and the RFC 4884 extension that may follow it.
//!
//! ```text
//!  ICMP header (8) | IP header | transport ... | zero padding | extension structure
//!                  |<-------- quote_length -------->|
//! ```
//!
//! The quote may end anywhere behind its IP header: lengths are those of the original packet, not of the bytes
//! present (RFC 7915 4.3, 5.3). Its header checksum is not looked at.
//!
//! Whatever the relay sends, an error about it may come back, and must find its way (`tests/closure.rs`): the pieces of
//! an echo message the relay has cut itself are quoted as fragmented ICMP. What it never sends is refused: ICMP errors,
//! guarded protocols, addresses that are never forwarded.
//!
//! What routers write beside the quote are hints. A length that points at no structure is none, and a length of the
//! quoted packet that cannot be is that of the bytes present.

use super::Refusal;
use crate::table::translation::Settings;
use crate::verdict::DropReason;
use crate::wire::icmp::{HEADER as ICMP_HEADER, MIN_EXTENDED_QUOTE, is_extension};
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
    /// Bytes of the packet behind them, as its sender sent it.
    pub payload_length: usize,
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
        let body = &message[ICMP_HEADER..];
        let header_length = Ipv4Header::parse_quoted(body).map_err(|_| UNTRANSLATABLE)?.header_length;
        let header_length = usize::from(header_length);
        // RFC 4884: the length attribute of ICMPv4 counts 32-bit words.
        let (quote_length, extension_length) = split(body, usize::from(message[5]) * 4, header_length);
        let header = Ipv4Header::parse_quoted(&body[..quote_length]).map_err(|_| UNTRANSLATABLE)?;
        let payload = &body[header_length..quote_length.min(usize::from(header.total_length))];
        let transport = match header.protocol {
            protocol::ICMPV4 => {
                quoted_echo(header.fragment_offset, payload, super::translate::icmp::echo_v4_to_v6)
                    .ok_or(UNTRANSLATABLE)?
            }
            number
                if settings.guard_protocols
                    && (number == protocol::IGMP || protocol::is_guarded_from_ipv4(number)) =>
            {
                return Err(UNTRANSLATABLE);
            }
            number => quoted_transport(number, header.fragment_offset, payload),
        };
        Ok(Self { header, transport, quote_length, extension_length })
    }

    /// Bytes of the original datagram that are present, without padding behind it.
    #[must_use]
    pub fn unpadded(&self) -> usize {
        self.quote_length.min(usize::from(self.header.total_length))
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
        let body = &message[ICMP_HEADER..];
        let header = Ipv6Header::parse_quoted(body).map_err(|_| UNTRANSLATABLE)?;
        let chain = ipv6::walk_quoted(body, header.next_header).map_err(|_| UNTRANSLATABLE)?;
        let (quote_length, extension_length) = split(body, attribute, chain.offset);
        let announced = ipv6::HEADER + usize::from(header.payload_length);
        let payload_length = match announced.checked_sub(chain.offset) {
            Some(length) if header.payload_length > 0 => length,
            _ => quote_length - chain.offset,
        };
        let offset = chain.fragment.map_or(0, |fragment| fragment.offset);
        if payload_length > ipv4::MAX_PAYLOAD || chain.segments_left.is_some() {
            return Err(UNTRANSLATABLE);
        }
        let payload = &body[chain.offset..quote_length.min(chain.offset + payload_length)];
        let transport = match chain.protocol {
            protocol::ICMPV6 => {
                quoted_echo(offset, payload, super::translate::icmp::echo_v6_to_v4).ok_or(UNTRANSLATABLE)?
            }
            number if settings.guard_protocols && protocol::is_guarded_from_ipv6(number) => {
                return Err(UNTRANSLATABLE);
            }
            number => quoted_transport(number, offset, payload),
        };
        Ok(Self { header, chain, payload_length, transport, quote_length, extension_length })
    }

    /// Bytes of the original datagram that are present, without padding behind it.
    #[must_use]
    pub fn unpadded(&self) -> usize {
        self.quote_length.min(self.chain.offset + self.payload_length)
    }
}

/// Lengths of the original datagram and of the extension behind it, of a message whose body is given. The attribute is
/// believed where a structure stands (RFC 4884 5.4, 7), be it behind the padding some routers leave out of their count,
/// and never cuts the quote below its headers and 8 bytes.
fn split(body: &[u8], attribute: usize, headers: usize) -> (usize, usize) {
    let behind = body.get(attribute..).unwrap_or_default();
    let padding = MIN_EXTENDED_QUOTE.saturating_sub(attribute).min(behind.len());
    let padded = behind[..padding].iter().all(|byte| *byte == 0);
    let stands = is_extension(behind) || padded && is_extension(&behind[padding..]);
    if attribute < headers + 8 || !stands {
        return (body.len(), 0);
    }
    (attribute, behind.len())
}

/// The first bytes tell what an ICMP message is; where there are none, or not the first, nothing is to be changed.
fn quoted_echo(
    fragment_offset: u16,
    payload: &[u8],
    translate: fn(u8) -> Option<u8>,
) -> Option<QuotedTransport> {
    match payload.first() {
        Some(kind) if fragment_offset == 0 => {
            let kind = translate(*kind)?;
            Some(QuotedTransport::Echo { kind, checksum_present: payload.len() >= 4 })
        }
        _ => Some(QuotedTransport::Opaque),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::icmp::NamingObject;

    /// A quote of 68 bytes, zeros up to `structure`, and a structure there.
    fn body(structure: usize) -> Vec<u8> {
        let mut body = vec![0x45; 68];
        body.resize(structure, 0);
        body.extend_from_slice(&NamingObject::NodeIdentification(std::net::Ipv6Addr::LOCALHOST).structure());
        body
    }

    #[test]
    fn a_length_is_believed_where_a_structure_stands() {
        for (structure, attribute, expected) in [
            (128, 128, (128, 28)),
            (68, 68, (68, 28)),
            (128, 68, (68, 88)),
            (132, 68, (160, 0)),
            (128, 124, (124, 32)),
            (128, 132, (156, 0)),
            (128, 0, (156, 0)),
            (128, 1020, (156, 0)),
        ] {
            assert_eq!(split(&body(structure), attribute, 20), expected, "{structure} {attribute}");
        }
        assert_eq!(split(&body(68), 68, 60), (68, 28), "headers and 8 bytes");
        assert_eq!(split(&body(68), 68, 64), (96, 0), "fewer than that");
        let mut garbage = body(128);
        garbage[100] = 1;
        assert_eq!(split(&garbage, 68, 20), (156, 0), "not only padding");
        assert_eq!(split(&[0; 300], 128, 20), (300, 0), "nothing stands there");
    }
}
