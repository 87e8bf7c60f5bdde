//! The IPv4 header (RFC 791 3.1).
//!
//! ```text
//!  0       1       2               4               6
//!  +-------+-------+---------------+---------------+---------------+
//!  |ver ihl| tos   | total length  | identification|0DM  offset    |
//!  +-------+-------+---------------+---------------+---------------+ 8
//!  | ttl   | proto | checksum      | source                        |
//!  +-------+-------+---------------+-------------------------------+ 16
//!  | destination                   | options (ihl - 5 words) ...
//!  +-------------------------------+
//! ```

use std::net::Ipv4Addr;

use super::checksum::{self, Sum};

/// Length of a header without options.
pub const HEADER: usize = 20;
/// The same, as the header itself counts it.
pub const HEADER_LENGTH: u8 = 20;
/// The first byte of a header without options: version and length.
pub const PLAIN_VERSION: u8 = 0x45;
/// The longest payload a header without options can announce, in bytes: of a packet, and of a datagram in fragments.
pub const MAX_PAYLOAD: usize = u16::MAX as usize - HEADER;
/// Smallest MTU of an IPv4 link (RFC 791 3.2).
pub const MIN_MTU: u16 = 68;
/// Longest header.
pub const MAX_HEADER: usize = 60;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// Why bytes are no IPv4 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv4Error {
    /// Shorter than 20 bytes, version not 4, or header length below 20 or beyond the data.
    Header,
    /// The header checksum is wrong.
    Checksum,
    /// Total Length is shorter than the header or longer than the data.
    TotalLength,
}

/// The fields of a header, in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Header {
    /// Bytes of the header, options included: 20 to 60.
    pub header_length: u8,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Bytes of header and payload.
    pub total_length: u16,
    /// Identification.
    pub identification: u16,
    /// DF.
    pub dont_fragment: bool,
    /// MF.
    pub more_fragments: bool,
    /// Fragment offset in units of 8 bytes.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub protocol: u8,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
}

impl Ipv4Header {
    /// Reads and validates the header at the start of `data` (RFC 1812 5.2.2).
    ///
    /// # Errors
    /// [`Ipv4Error`], the first test that fails.
    #[inline(always)]
    pub fn parse(data: &[u8]) -> Result<Self, Ipv4Error> {
        let header = Self::parse_checked(data)?;
        let right = match data.first_chunk::<HEADER>() {
            Some(plain) if header.header_length == HEADER_LENGTH => checksum::is_right(plain),
            _ => Sum::of(&data[..usize::from(header.header_length)]).fold() == 0xffff,
        };
        if !right {
            return Err(Ipv4Error::Checksum);
        }
        if usize::from(header.total_length) > data.len() {
            return Err(Ipv4Error::TotalLength);
        }
        Ok(header)
    }

    /// Reads a header the relay itself has written or checked.
    ///
    /// # Errors
    /// [`Ipv4Error::Header`] or [`Ipv4Error::TotalLength`] (shorter than the header).
    #[inline(always)]
    pub fn parse_checked(data: &[u8]) -> Result<Self, Ipv4Error> {
        let header = Self::read(data)?;
        if header.total_length < u16::from(header.header_length) {
            return Err(Ipv4Error::TotalLength);
        }
        Ok(header)
    }

    /// Reads a header quoted by an ICMP error: its checksum may be wrong, since routers quote what they have
    /// already changed, and the data may end anywhere behind the header. A Total Length shorter than the header is what some
    /// stacks leave there; it is taken for that of the data.
    ///
    /// # Errors
    /// [`Ipv4Error::Header`].
    pub fn parse_quoted(data: &[u8]) -> Result<Self, Ipv4Error> {
        let header = Self::read(data)?;
        if header.total_length >= u16::from(header.header_length) {
            return Ok(header);
        }
        Ok(Self { total_length: u16::try_from(data.len()).unwrap_or(u16::MAX), ..header })
    }

    #[inline(always)]
    fn read(data: &[u8]) -> Result<Self, Ipv4Error> {
        let fixed: &[u8; HEADER] = data.first_chunk().ok_or(Ipv4Error::Header)?;
        let header_length = (fixed[0] & 0x0f) * 4;
        if fixed[0] >> 4 != 4
            || usize::from(header_length) < HEADER
            || usize::from(header_length) > data.len()
        {
            return Err(Ipv4Error::Header);
        }
        let total_length = u16::from_be_bytes([fixed[2], fixed[3]]);
        let fragment = u16::from_be_bytes([fixed[6], fixed[7]]);
        Ok(Self {
            header_length,
            tos: fixed[1],
            total_length,
            identification: u16::from_be_bytes([fixed[4], fixed[5]]),
            dont_fragment: fragment & DONT_FRAGMENT != 0,
            more_fragments: fragment & MORE_FRAGMENTS != 0,
            fragment_offset: fragment & OFFSET_MASK,
            ttl: fixed[8],
            protocol: fixed[9],
            source: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]),
            destination: Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]),
        })
    }

    /// Writes a header without options and with its checksum; `header_length` is taken as 20.
    #[inline(always)]
    pub fn emit(&self, out: &mut [u8; HEADER]) {
        let mut fragment = self.fragment_offset & OFFSET_MASK;
        if self.dont_fragment {
            fragment |= DONT_FRAGMENT;
        }
        if self.more_fragments {
            fragment |= MORE_FRAGMENTS;
        }
        // The checksum is computed from the fields: reading back what was just stored would stall.
        let length = 0x4500_0000 | u32::from(self.tos) << 16 | u32::from(self.total_length);
        let fragmentation = u32::from(self.identification) << 16 | u32::from(fragment);
        let transport = u32::from(self.ttl) << 24 | u32::from(self.protocol) << 16;
        let sum = Sum::of_u32(length)
            + Sum::of_u32(fragmentation)
            + Sum::of_u32(transport)
            + Sum::of_ipv4(self.source)
            + Sum::of_ipv4(self.destination);
        let transport = transport | u32::from(sum.checksum());
        out[0..4].copy_from_slice(&length.to_be_bytes());
        out[4..8].copy_from_slice(&fragmentation.to_be_bytes());
        out[8..12].copy_from_slice(&transport.to_be_bytes());
        out[12..16].copy_from_slice(&self.source.octets());
        out[16..20].copy_from_slice(&self.destination.octets());
    }

    /// Whether this is a fragment, first or later.
    #[inline]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// Bytes behind the header.
    #[inline]
    #[must_use]
    pub const fn payload_length(&self) -> u16 {
        self.total_length - self.header_length as u16
    }
}

/// What the options of a header say that matters to a translator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Options {
    /// Nothing: they are ignored.
    Ignored,
    /// An unexpired loose or strict source route (RFC 7915 4.1: must not be translated).
    SourceRoute,
    /// A length that leaves the header.
    Malformed,
}

/// Walks the options of a validated header (RFC 791 3.1): type 0 ends the list, type 1 is one byte, all others
/// have a length; source routes are unexpired while their pointer has not passed their length.
#[must_use]
pub fn inspect_options(mut options: &[u8]) -> Options {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    let mut found = Options::Ignored;
    loop {
        match options {
            [] | [END, ..] => return found,
            [NO_OPERATION, rest @ ..] => options = rest,
            [kind, length, ..] => {
                let length = usize::from(*length);
                if length < 2 || length > options.len() {
                    return Options::Malformed;
                }
                if matches!(*kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE) {
                    match options.get(2) {
                        Some(pointer) if length >= 3 && usize::from(*pointer) <= length => {
                            found = Options::SourceRoute
                        }
                        Some(_) if length >= 3 => {}
                        _ => return Options::Malformed,
                    }
                }
                options = &options[length..];
            }
            [_] => return Options::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: [u8; 24] = [
        0x45, 0x2a, 0x00, 0x18, 0xab, 0xcd, 0x60, 0x05, 0x40, 0x11, 0x80, 0x8c, 0xcb, 0x00, 0x71, 0x32, 0xc0,
        0x00, 0x02, 0x01, 1, 2, 3, 4,
    ];

    fn header() -> Ipv4Header {
        Ipv4Header {
            header_length: 20,
            tos: 0x2a,
            total_length: 24,
            identification: 0xabcd,
            dont_fragment: true,
            more_fragments: true,
            fragment_offset: 5,
            ttl: 64,
            protocol: 17,
            source: Ipv4Addr::new(203, 0, 113, 50),
            destination: Ipv4Addr::new(192, 0, 2, 1),
        }
    }

    #[test]
    fn emits_over_dirty_memory_and_reads_back() {
        let mut out = [0xee; HEADER];
        header().emit(&mut out);
        let mut packet = PACKET;
        packet[..HEADER].copy_from_slice(&out);
        assert_eq!(Ipv4Header::parse(&packet), Ok(header()));
    }

    #[test]
    fn refuses_every_truncation_and_bad_field() {
        let mut packet = PACKET;
        header().emit(packet.first_chunk_mut().unwrap());
        for length in 0..packet.len() {
            assert!(Ipv4Header::parse(&packet[..length]).is_err(), "{length} bytes");
        }
        for (offset, value, error) in [
            (0, 0x55, Ipv4Error::Header),
            (0, 0x44, Ipv4Error::Header),
            (0, 0x4f, Ipv4Error::Header),
            (3, 19, Ipv4Error::TotalLength),
            (8, 63, Ipv4Error::Checksum),
        ] {
            let mut broken = packet;
            broken[offset] = value;
            assert_eq!(Ipv4Header::parse(&broken), Err(error), "byte {offset} = {value:#x}");
        }
    }

    #[test]
    fn a_quoted_length_that_cannot_be_is_that_of_the_data() {
        let mut packet = PACKET;
        for (length, expected) in [(0_u16, 24), (19, 24), (20, 20), (1500, 1500)] {
            packet[2..4].copy_from_slice(&length.to_be_bytes());
            let header = Ipv4Header::parse_quoted(&packet).unwrap();
            assert_eq!(header.total_length, expected, "{length}");
        }
    }

    #[test]
    fn options_are_walked_to_the_end() {
        for (options, expected) in [
            (&[0x94, 4, 0, 0][..], Options::Ignored),
            (&[1, 1, 1, 1], Options::Ignored),
            (&[131, 7, 4, 10, 1, 1, 1, 0], Options::SourceRoute),
            (&[1, 137, 7, 4, 10, 1, 1, 1], Options::SourceRoute),
            (&[131, 7, 8, 10, 1, 1, 1, 0], Options::Ignored),
            (&[0, 131, 7, 4, 10, 1, 1, 1], Options::Ignored),
            (&[7, 1, 0, 0], Options::Malformed),
            (&[7, 9, 0, 0], Options::Malformed),
            (&[1, 1, 1, 7], Options::Malformed),
            (&[131, 2, 0, 0], Options::Malformed),
            (&[131, 3, 3, 7, 9, 0, 0, 0], Options::Malformed),
        ] {
            assert_eq!(inspect_options(options), expected, "{options:?}");
        }
    }
}
