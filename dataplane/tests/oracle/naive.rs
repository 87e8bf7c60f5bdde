//! Packets, checksums and mappings by their definitions, slowly: what the relay is compared with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::table::eam::Eam;
use ipnet::Ipv6Net;

use super::Judgement;

/// The one's-complement sum of 16-bit words, a last odd byte padded with zero (RFC 1071).
pub fn sum(bytes: &[u8]) -> u16 {
    let mut total: u32 = 0;
    for pair in bytes.chunks(2) {
        total += u32::from(pair[0]) * 256 + u32::from(pair.get(1).copied().unwrap_or(0));
        if total > 0xffff {
            total -= 0xffff;
        }
    }
    total as u16
}

/// Whether two one's-complement numbers are the same: zero has two forms.
pub fn same_sum(a: u16, b: u16) -> bool {
    a % 0xffff == b % 0xffff
}

/// Where a fragment belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// In bytes.
    pub offset: usize,
    pub more: bool,
    pub id: u32,
}

/// An IP packet taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip {
    pub family: u8,
    pub tos: u8,
    pub flow_label: u32,
    /// Bytes of the whole packet, as its header says.
    pub length: usize,
    pub ttl: u8,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// The first protocol that is no extension header.
    pub protocol: u8,
    pub fragment: Option<Fragment>,
    /// IPv4 only.
    pub dont_fragment: bool,
    /// IPv4 only.
    pub id: u16,
    /// Bytes before the payload: headers, options, extension headers.
    pub headers: usize,
    /// Whether there are options or extension headers other than Fragment.
    pub extras: bool,
    pub payload: Vec<u8>,
}

/// How to read the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// A packet that may be followed by link padding; extension headers are walked.
    Received,
    /// A packet of exactly these bytes. The relay writes no extension header but Fragment, and that only where it
    /// is expected: what looks like one may be the payload of an odd protocol.
    Sent { fragment: bool },
    /// As quoted by an ICMP error: cut anywhere behind the headers, IPv4 checksum not looked at.
    Quoted,
    /// The same, quoted by the relay, whose lengths are to be taken at their word.
    QuotedSent,
}

impl Reading {
    fn is_quote(self) -> bool {
        matches!(self, Self::Quoted | Self::QuotedSent)
    }
}

impl Ip {
    pub fn read(bytes: &[u8], reading: Reading) -> Result<Self, String> {
        match bytes.first().map(|byte| byte >> 4) {
            Some(4) => Self::read_v4(bytes, reading),
            Some(6) => Self::read_v6(bytes, reading),
            other => Err(format!("IP version {other:?}")),
        }
    }

    fn read_v4(bytes: &[u8], reading: Reading) -> Result<Self, String> {
        let headers = usize::from(bytes[0] & 15) * 4;
        ensure!(headers >= 20 && bytes.len() >= headers, "IPv4 header of {headers} bytes");
        let length = match word(bytes, 2) {
            // As some stacks leave it behind: what is there is all.
            length if length < headers && reading == Reading::Quoted => bytes.len(),
            length => length,
        };
        ensure!(length >= headers, "Total Length {length} below the header's {headers}");
        if !reading.is_quote() {
            ensure!(sum(&bytes[..headers]) == 0xffff, "IPv4 header checksum is wrong");
            ensure!(length <= bytes.len(), "Total Length {length} beyond {} bytes", bytes.len());
        }
        if matches!(reading, Reading::Sent { .. }) {
            ensure!(length == bytes.len(), "Total Length {length} of {} bytes", bytes.len());
            ensure!(bytes[6] & 0x80 == 0, "the reserved bit of the IPv4 header is set");
        }
        let flags = word(bytes, 6);
        let (offset, more, id) = ((flags & 0x1fff) * 8, flags & 0x2000 != 0, word(bytes, 4) as u16);
        Ok(Self {
            family: 4,
            tos: bytes[1],
            flow_label: 0,
            length,
            ttl: bytes[8],
            source: IpAddr::V4(address4(bytes, 12)),
            destination: IpAddr::V4(address4(bytes, 16)),
            protocol: bytes[9],
            fragment: (more || offset > 0).then_some(Fragment { offset, more, id: u32::from(id) }),
            dont_fragment: flags & 0x4000 != 0,
            id,
            headers,
            extras: headers > 20,
            payload: bytes[headers..length.min(bytes.len())].to_vec(),
        })
    }

    fn read_v6(bytes: &[u8], reading: Reading) -> Result<Self, String> {
        ensure!(bytes.len() >= 40, "IPv6 header of {} bytes", bytes.len());
        let length = 40 + word(bytes, 4);
        if !reading.is_quote() {
            ensure!(length <= bytes.len(), "Payload Length beyond the packet");
        }
        if matches!(reading, Reading::Sent { .. }) {
            ensure!(length == bytes.len(), "{length} bytes by header, {} in all", bytes.len());
        }
        let chain = match reading {
            Reading::Sent { fragment } => Chain::at_most_a_fragment_header(bytes, fragment)?,
            Reading::Quoted | Reading::QuotedSent => Chain::walk(bytes)?,
            Reading::Received => Chain::walk(&bytes[..length.min(bytes.len())])?,
        };
        let length = match length {
            // As some stacks leave it behind: what is there is all.
            length if (length == 40 || length < chain.offset) && reading == Reading::Quoted => bytes.len(),
            length => length,
        };
        let end = length.min(bytes.len());
        Ok(Self {
            family: 6,
            tos: (word(bytes, 0) >> 4) as u8,
            flow_label: (word(bytes, 0) as u32 & 15) << 16 | word(bytes, 2) as u32,
            length,
            ttl: bytes[7],
            source: IpAddr::V6(address6(bytes, 8)),
            destination: IpAddr::V6(address6(bytes, 24)),
            protocol: chain.protocol,
            fragment: chain.fragment,
            dont_fragment: false,
            id: 0,
            headers: chain.offset,
            extras: chain.extras,
            payload: bytes[chain.offset.min(end)..end].to_vec(),
        })
    }

    /// A fragment of several: not whole, not atomic (RFC 6946).
    pub fn is_piece(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.more || fragment.offset > 0)
    }

    /// Bytes of the IP payload as its sender sent it; differs from `payload.len()` in quotes.
    pub fn payload_length(&self) -> usize {
        self.length.saturating_sub(self.headers)
    }

    /// Where in the payload the checksum is that an address change touches, if it is there.
    pub fn checksum_at(&self) -> Option<usize> {
        if self.fragment.is_some_and(|fragment| fragment.offset > 0) {
            return None;
        }
        let at = match (self.family, self.protocol) {
            (_, 6) => 16,
            (_, 17) => 6,
            (4, 1) | (6, 58) => 2,
            _ => return None,
        };
        (self.payload.len() >= at + 2).then_some(at)
    }

    /// The checksum field [`Self::checksum_at`] points to.
    pub fn checksum(&self) -> Option<u16> {
        self.checksum_at().map(|at| word(&self.payload, at) as u16)
    }

    /// The payload with its checksum field zeroed: what an address change must not touch.
    pub fn without_checksum(&self) -> Vec<u8> {
        let mut payload = self.payload.clone();
        if let Some(at) = self.checksum_at() {
            payload[at..at + 2].fill(0);
        }
        payload
    }

    /// Whether the transport checksum of this whole packet is right.
    pub fn transport(&self) -> Transport {
        match self.transport_sum() {
            _ if self.protocol == 17 && self.checksum() == Some(0) && !self.is_piece() => Transport::Zero,
            None => Transport::None,
            Some(0xffff) => Transport::Good,
            // One's complement has two zeros. A message of zero bytes alone, checksum included, sums up to the other
            // one: an incremental update cannot tell them apart (RFC 1624 section 3).
            Some(0) => Transport::Good,
            Some(_) => Transport::Bad,
        }
    }

    /// The sum of everything the checksum of this whole packet covers, the field itself included.
    pub fn transport_sum(&self) -> Option<u16> {
        self.checksum_at().filter(|_| !self.is_piece())?;
        let length = match self.protocol {
            17 => Some(word(&self.payload, 4)).filter(|length| (8..=self.payload.len()).contains(length))?,
            _ => self.payload.len(),
        };
        let mut covered = self.payload[..length].to_vec();
        if !(self.family == 4 && self.protocol == 1) {
            covered.resize(length.next_multiple_of(2), 0);
            covered.extend_from_slice(&self.pseudo_header(length));
        }
        Some(sum(&covered))
    }

    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        let mut bytes = octets(self.source);
        bytes.extend(octets(self.destination));
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend([0, 0, 0, self.protocol]);
        bytes
    }

    /// What stays the same of a checksum when only addresses change: the sum of the addresses plus the field.
    pub fn invariant(&self) -> Option<u16> {
        let field = self.checksum()?;
        let mut bytes = octets(self.source);
        bytes.extend(octets(self.destination));
        bytes.extend(field.to_be_bytes());
        Some(sum(&bytes))
    }
}

/// The state of a transport checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// There is none, it cannot be told (a fragment), or the UDP length is nonsense.
    None,
    /// UDP without a checksum.
    Zero,
    Good,
    Bad,
}

struct Chain {
    protocol: u8,
    offset: usize,
    fragment: Option<Fragment>,
    extras: bool,
}

impl Chain {
    fn walk(bytes: &[u8]) -> Result<Self, String> {
        let mut chain = Self { protocol: bytes[6], offset: 40, fragment: None, extras: false };
        while matches!(chain.protocol, 0 | 43 | 44 | 60) {
            let at = chain.offset;
            ensure!(bytes.len() >= at + 8, "extension header beyond the packet");
            let length = if chain.protocol == 44 {
                chain.fragment = Some(fragment6(bytes, at));
                8
            } else {
                chain.extras = true;
                8 * (usize::from(bytes[at + 1]) + 1)
            };
            ensure!(bytes.len() >= at + length, "extension header beyond the packet");
            chain.protocol = bytes[at];
            chain.offset += length;
        }
        Ok(chain)
    }

    fn at_most_a_fragment_header(bytes: &[u8], expected: bool) -> Result<Self, String> {
        if !expected {
            return Ok(Self { protocol: bytes[6], offset: 40, fragment: None, extras: false });
        }
        ensure!(bytes[6] == 44 && bytes.len() >= 48, "no Fragment header where one is due");
        ensure!(bytes[41] == 0 && bytes[43] & 6 == 0, "reserved bits of the Fragment header");
        Ok(Self { protocol: bytes[40], offset: 48, fragment: Some(fragment6(bytes, 40)), extras: false })
    }
}

fn fragment6(bytes: &[u8], at: usize) -> Fragment {
    Fragment {
        offset: word(bytes, at + 2) & !7,
        more: bytes[at + 3] & 1 == 1,
        id: u32::from_be_bytes(bytes[at + 4..at + 8].try_into().unwrap()),
    }
}

pub fn word(bytes: &[u8], at: usize) -> usize {
    usize::from(bytes[at]) * 256 + usize::from(bytes[at + 1])
}

pub fn address4(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

pub fn address6(bytes: &[u8], at: usize) -> Ipv6Addr {
    let octets: [u8; 16] = bytes[at..at + 16].try_into().unwrap();
    Ipv6Addr::from(octets)
}

pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Puts the pieces of one packet together; they must come in order, without gaps, overlaps or a second opinion on
/// what they belong to. `open` allows the packet itself to have been a piece that does not begin or end it.
pub fn reassemble(pieces: &[Ip], open: Option<Fragment>) -> Result<Ip, String> {
    let mut whole = pieces[0].clone();
    let first = open.map_or(0, |fragment| fragment.offset);
    let (mut payload, mut next) = (Vec::new(), first);
    for (number, piece) in pieces.iter().enumerate() {
        let fragment = piece.fragment.ok_or_else(|| format!("piece {number} is no fragment"))?;
        let id = whole.fragment.map(|fragment| fragment.id);
        ensure!(Some(fragment.id) == id, "piece {number} has another identification");
        ensure!(fragment.offset == next, "piece {number} at {}, not {next}", fragment.offset);
        let last = number + 1 == pieces.len();
        let more = !last || open.is_some_and(|fragment| fragment.more);
        ensure!(fragment.more == more, "more fragments is {} in piece {number}", fragment.more);
        ensure!(last || piece.payload.len() % 8 == 0, "piece {number} is no multiple of 8");
        same_head(&whole, piece).map_err(|why| format!("piece {number}: {why}"))?;
        next += piece.payload.len();
        payload.extend_from_slice(&piece.payload);
    }
    whole.fragment =
        open.map(|fragment| Fragment { id: whole.fragment.map_or(0, |fragment| fragment.id), ..fragment });
    whole.length = whole.headers + payload.len();
    whole.payload = payload;
    Ok(whole)
}

fn same_head(a: &Ip, b: &Ip) -> Judgement {
    let head =
        |ip: &Ip| (ip.source, ip.destination, ip.protocol, ip.tos, ip.ttl, ip.flow_label, ip.dont_fragment);
    ensure!(head(a) == head(b), "{:?} is not {:?}", head(b), head(a));
    Ok(())
}

/// RFC 7757 3.3.1, bit by bit.
pub fn eam_to_v6(eams: &[Eam], address: Ipv4Addr) -> Option<Ipv6Addr> {
    let eam =
        eams.iter().filter(|eam| eam.ipv4.contains(&address)).max_by_key(|eam| eam.ipv4.prefix_len())?;
    let mut bits = u128::from(eam.ipv6.network());
    let (from, to) = (eam.ipv4.prefix_len(), eam.ipv6.prefix_len());
    for number in 0..32 - from {
        if u32::from(address) >> (31 - from - number) & 1 == 1 {
            bits |= 1 << (127 - to - number);
        }
    }
    Some(bits.into())
}

/// RFC 7757 3.3.2, bit by bit.
pub fn eam_to_v4(eams: &[Eam], address: Ipv6Addr) -> Option<Ipv4Addr> {
    let eam =
        eams.iter().filter(|eam| eam.ipv6.contains(&address)).max_by_key(|eam| eam.ipv6.prefix_len())?;
    let mut bits = u32::from(eam.ipv4.network());
    let (to, from) = (eam.ipv4.prefix_len(), eam.ipv6.prefix_len());
    for number in 0..32 - to {
        if u128::from(address) >> (127 - from - number) & 1 == 1 {
            bits |= 1 << (31 - to - number);
        }
    }
    Some(bits.into())
}

/// Which bytes of an address hold the four of the embedded one (RFC 6052 2.2).
fn places(length: u8) -> [usize; 4] {
    match length {
        32 => [4, 5, 6, 7],
        40 => [5, 6, 7, 9],
        48 => [6, 7, 9, 10],
        56 => [7, 9, 10, 11],
        64 => [9, 10, 11, 12],
        96 => [12, 13, 14, 15],
        other => panic!("RFC 6052 knows no prefix of {other} bits"),
    }
}

/// RFC 6052 2.3.
pub fn embed(prefix: Ipv6Net, address: Ipv4Addr) -> Ipv6Addr {
    let mut octets = prefix.network().octets();
    for (place, byte) in places(prefix.prefix_len()).into_iter().zip(address.octets()) {
        octets[place] = byte;
    }
    octets.into()
}

/// RFC 6052 2.3.
pub fn extract(prefix: Ipv6Net, address: Ipv6Addr) -> Ipv4Addr {
    let octets = address.octets();
    places(prefix.prefix_len()).map(|place| octets[place]).into()
}
