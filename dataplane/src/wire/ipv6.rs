//! The IPv6 header (RFC 8200 3), its Fragment header (4.5) and the walk along its extension headers.
//!
//! ```text
//!  0               4       6       8                       24                      40
//!  +---------------+-------+---+---+-----------------------+-----------------------+
//!  |6|class|flow   | plen  |nh |hl | source                | destination           |
//!  +---------------+-------+---+---+-----------------------+-----------------------+
//!
//!  Fragment header:  | nh | 0 | offset (13) 00 M | identification (32) |      8 bytes
//! ```

use std::net::Ipv6Addr;

use super::protocol;

/// Length of the fixed header.
pub const HEADER: usize = 40;
/// Where source and destination are in it.
pub const ADDRESSES: std::ops::Range<usize> = 8..40;
/// Length of a Fragment header.
pub const FRAGMENT_HEADER: usize = 8;
/// The longest payload a header can announce, in bytes: of a packet, and of a datagram in fragments.
pub const MAX_PAYLOAD: usize = u16::MAX as usize;
/// Smallest MTU of an IPv6 link (RFC 8200 5).
pub const MIN_MTU: u16 = 1280;

/// Extension headers walked before a packet is given up on. RFC 8200 4.1 recommends at most six.
const MAX_EXTENSIONS: usize = 8;

/// Why bytes are no IPv6 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6Error {
    /// Shorter than 40 bytes, or version not 6.
    Header,
    /// Payload Length is longer than the data.
    PayloadLength,
}

/// The fields of the fixed header, in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Header {
    /// Traffic class: DSCP and ECN.
    pub traffic_class: u8,
    /// Bytes behind the fixed header.
    pub payload_length: u16,
    /// The type of the first header behind this one.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
}

impl Ipv6Header {
    /// Reads and validates the header at the start of `data`.
    ///
    /// # Errors
    /// [`Ipv6Error`], the first test that fails.
    #[inline(always)]
    pub fn parse(data: &[u8]) -> Result<Self, Ipv6Error> {
        let header = Self::parse_quoted(data)?;
        if HEADER + usize::from(header.payload_length) > data.len() {
            return Err(Ipv6Error::PayloadLength);
        }
        Ok(header)
    }

    /// Reads a header quoted by an ICMP error: the data may end anywhere behind it.
    ///
    /// # Errors
    /// [`Ipv6Error::Header`].
    #[inline(always)]
    pub fn parse_quoted(data: &[u8]) -> Result<Self, Ipv6Error> {
        let fixed: &[u8; HEADER] = data.first_chunk().ok_or(Ipv6Error::Header)?;
        if fixed[0] >> 4 != 6 {
            return Err(Ipv6Error::Header);
        }
        let address = |at: usize| {
            let octets: [u8; 16] = fixed[at..at + 16].try_into().expect("16 bytes of a 40-byte array");
            Ipv6Addr::from(octets)
        };
        Ok(Self {
            traffic_class: fixed[0] << 4 | fixed[1] >> 4,
            payload_length: u16::from_be_bytes([fixed[4], fixed[5]]),
            next_header: fixed[6],
            hop_limit: fixed[7],
            source: address(8),
            destination: address(24),
        })
    }

    /// Writes the header, with flow label 0.
    #[inline(always)]
    pub fn emit(&self, out: &mut [u8; HEADER]) {
        let first = first_word(self.traffic_class, self.payload_length, self.next_header, self.hop_limit);
        emit_words(first, self.source, self.destination, out);
    }
}

/// All that a header has besides addresses, with flow label 0: its first eight bytes as a number.
#[inline(always)]
#[must_use]
pub fn first_word(traffic_class: u8, payload_length: u16, next_header: u8, hop_limit: u8) -> u64 {
    0x6000_0000_0000_0000
        | u64::from(traffic_class) << 52
        | u64::from(payload_length) << 16
        | u64::from(next_header) << 8
        | u64::from(hop_limit)
}

/// Writes a header of [`first_word`] and addresses.
#[inline(always)]
pub fn emit_words(first: u64, source: Ipv6Addr, destination: Ipv6Addr, out: &mut [u8; HEADER]) {
    out[0..8].copy_from_slice(&first.to_be_bytes());
    out[8..24].copy_from_slice(&source.octets());
    out[24..40].copy_from_slice(&destination.octets());
}

/// The fields of a Fragment header, in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentHeader {
    /// The type of what was fragmented.
    pub next_header: u8,
    /// Offset in units of 8 bytes.
    pub offset: u16,
    /// M: more fragments follow.
    pub more: bool,
    /// Identification.
    pub identification: u32,
}

impl FragmentHeader {
    /// Reads a Fragment header.
    #[inline]
    #[must_use]
    pub fn parse(bytes: &[u8; FRAGMENT_HEADER]) -> Self {
        let word = u16::from_be_bytes([bytes[2], bytes[3]]);
        Self {
            next_header: bytes[0],
            offset: word >> 3,
            more: word & 1 == 1,
            identification: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        }
    }

    /// Writes a Fragment header, reserved bits zero.
    #[inline]
    pub fn emit(&self, out: &mut [u8; FRAGMENT_HEADER]) {
        out[0] = self.next_header;
        out[1] = 0;
        out[2..4].copy_from_slice(&(self.offset << 3 | u16::from(self.more)).to_be_bytes());
        out[4..8].copy_from_slice(&self.identification.to_be_bytes());
    }

    /// The half of the identification that fits into IPv4 (RFC 7915 5.1.1).
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the low half is wanted")]
    pub const fn low_identification(&self) -> u16 {
        self.identification as u16
    }

    /// Offset 0 and no more fragments: a whole packet in fragment's clothing (RFC 6946).
    #[inline]
    #[must_use]
    pub const fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// Where the extension headers of a packet lead (RFC 7915 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Type of the first header that is not skipped.
    pub protocol: u8,
    /// Its offset from the start of the IPv6 header.
    pub offset: usize,
    /// The Fragment header on the way, if any.
    pub fragment: Option<FragmentHeader>,
    /// Offset of the Segments Left byte of a Routing header that still has segments to go.
    pub segments_left: Option<usize>,
}

/// Why a chain leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainError {
    /// It runs past the data, or is longer than the relay walks.
    Overrun,
    /// An extension header (AH included) stands behind the Fragment header (RFC 7915 5.1.1).
    BehindFragment,
}

/// Walks Hop-by-Hop Options, Routing, Destination Options and Fragment headers. `data` begins with the IPv6
/// header and ends where the packet ends. Options are not looked at.
///
/// # Errors
/// [`ChainError`].
#[inline]
pub fn walk_extensions(data: &[u8], next_header: u8) -> Result<Chain, ChainError> {
    match walk(data, next_header) {
        (chain, None) => Ok(chain),
        (_, Some(error)) => Err(error),
    }
}

/// As [`walk_extensions`], for a packet quoted by an ICMP error, which may end anywhere. Behind a Fragment header AH and
/// the like are payload: an IPv4 fragment with one of these protocol numbers becomes just that.
///
/// # Errors
/// [`ChainError`].
pub fn walk_quoted(data: &[u8], next_header: u8) -> Result<Chain, ChainError> {
    match walk(data, next_header) {
        (chain, Some(ChainError::BehindFragment)) if !protocol::is_guarded_from_ipv4(chain.protocol) => {
            Ok(chain)
        }
        (_, Some(error)) => Err(error),
        (chain, None) => Ok(chain),
    }
}

/// How far the chain leads, and why not further.
#[inline]
fn walk(data: &[u8], next_header: u8) -> (Chain, Option<ChainError>) {
    let mut chain = Chain { protocol: next_header, offset: HEADER, fragment: None, segments_left: None };
    for _ in 0..=MAX_EXTENSIONS {
        match chain.protocol {
            protocol::FRAGMENT if chain.fragment.is_none() => {
                let bytes = data.get(chain.offset..).and_then(|rest| rest.first_chunk());
                let Some(bytes) = bytes else { return (chain, Some(ChainError::Overrun)) };
                let fragment = FragmentHeader::parse(bytes);
                chain.protocol = fragment.next_header;
                chain.offset += FRAGMENT_HEADER;
                chain.fragment = Some(fragment);
            }
            number if chain.fragment.is_some() && protocol::is_ipv6_extension(number) => {
                return (chain, Some(ChainError::BehindFragment));
            }
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                let header = data.get(chain.offset..chain.offset + 8);
                let Some(header) = header else { return (chain, Some(ChainError::Overrun)) };
                let length = 8 * (usize::from(header[1]) + 1);
                if chain.offset + length > data.len() {
                    return (chain, Some(ChainError::Overrun));
                }
                if chain.protocol == protocol::ROUTING && header[3] != 0 && chain.segments_left.is_none() {
                    chain.segments_left = Some(chain.offset + 3);
                }
                chain.protocol = header[0];
                chain.offset += length;
            }
            _ => return (chain, None),
        }
    }
    (chain, Some(ChainError::Overrun))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Ipv6Header {
        Ipv6Header {
            traffic_class: 0xab,
            payload_length: 3,
            next_header: 17,
            hop_limit: 9,
            source: "2001:db8::1".parse().unwrap(),
            destination: "2001:db8::2".parse().unwrap(),
        }
    }

    #[test]
    fn emits_over_dirty_memory_and_reads_back() {
        let mut packet = [0xee; 43];
        header().emit(packet.first_chunk_mut().unwrap());
        assert_eq!(Ipv6Header::parse(&packet), Ok(header()));
        for length in 0..packet.len() {
            assert!(Ipv6Header::parse(&packet[..length]).is_err(), "{length} bytes");
        }
        packet[0] = 0x40;
        assert_eq!(Ipv6Header::parse(&packet), Err(Ipv6Error::Header));
    }

    #[test]
    fn fragment_header_reads_back_without_reserved_bits() {
        let bytes = [17, 0xff, 0x00, 0x0f, 0xca, 0xfe, 0x12, 0x34];
        let fragment = FragmentHeader::parse(&bytes);
        assert_eq!((fragment.offset, fragment.more, fragment.identification), (1, true, 0xcafe_1234));
        let mut out = [0xee; 8];
        fragment.emit(&mut out);
        assert_eq!(out, [17, 0, 0x00, 0x09, 0xca, 0xfe, 0x12, 0x34]);
    }

    fn walk(first: u8, extensions: &[u8]) -> Result<Chain, ChainError> {
        let mut data = vec![0; HEADER];
        data.extend_from_slice(extensions);
        walk_extensions(&data, first)
    }

    #[test]
    fn skips_what_rfc_7915_skips() {
        let hop_by_hop_then_routing = [43, 0, 1, 4, 0, 0, 0, 0, 17, 0, 2, 2, 0, 0, 0, 0];
        let chain = walk(0, &hop_by_hop_then_routing).unwrap();
        assert_eq!((chain.protocol, chain.offset, chain.segments_left), (17, 56, Some(51)));
        let fragment = [50, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(walk(44, &fragment).unwrap().protocol, 50);
        assert_eq!(walk(51, &[]).unwrap().protocol, 51, "AH is copied, not skipped");
    }

    #[test]
    fn refuses_overruns_long_chains_and_headers_behind_a_fragment() {
        assert_eq!(walk(0, &[17, 1, 0, 0, 0, 0, 0, 0]), Err(ChainError::Overrun));
        assert_eq!(walk(44, &[17, 0, 0]), Err(ChainError::Overrun));
        assert_eq!(walk(60, &[60, 0, 0, 0, 0, 0, 0, 0].repeat(9)), Err(ChainError::Overrun));
        assert_eq!(walk(44, &[60, 0, 0, 0, 0, 0, 0, 1]), Err(ChainError::BehindFragment));
        let mut quoted = vec![0; HEADER];
        quoted.extend_from_slice(&[51, 0, 0, 0, 0, 0, 0, 1]);
        let chain = walk_quoted(&quoted, 44).unwrap();
        assert_eq!((chain.protocol, chain.offset), (51, 48), "payload of a fragment");
        quoted[HEADER] = 60;
        assert_eq!(walk_quoted(&quoted, 44), Err(ChainError::BehindFragment));
        assert_eq!(walk(44, &[51, 0, 0, 0, 0, 0, 0, 1]), Err(ChainError::BehindFragment));
        assert_eq!(walk(44, &[44, 0, 0, 0, 0, 0, 0, 1]), Err(ChainError::BehindFragment));
    }
}
