//! An IP packet of either family as fields that can be compared.

use std::net::IpAddr;

/// ICMP of either family, in place of its protocol number.
pub(super) const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const TCP: u8 = 6;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;

/// Where a packet lies in its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fragment {
    pub(super) identification: u32,
    /// In bytes.
    pub(super) offset: usize,
    pub(super) more: bool,
}

/// The fields of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'p> {
    pub(super) is_ipv6: bool,
    /// Type of Service or Traffic Class.
    pub(super) class: u8,
    pub(super) flow_label: u32,
    /// Time to Live or hop limit.
    pub(super) hops: u8,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// [`ICMP`] for both families.
    pub(super) protocol: u8,
    pub(super) fragment: Option<Fragment>,
    /// DF of IPv4.
    pub(super) dont_fragment: Option<bool>,
    /// Header checksum of IPv4 right.
    pub(super) checksum_right: bool,
    /// What follows the IP headers.
    pub(super) payload: &'p [u8],
    /// Length of the packet, headers included.
    pub(super) length: usize,
}

impl<'p> View<'p> {
    /// The fields of a packet; `None` when it is too short for its headers.
    pub(super) fn new(packet: &'p [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::ipv4(packet),
            6 => Self::ipv6(packet),
            _ => None,
        }
    }

    fn ipv4(packet: &'p [u8]) -> Option<Self> {
        let header_length = usize::from(packet.first()? & 0xf) * 4;
        let header = packet.get(..header_length.max(20))?;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]])).max(header.len());
        let flags = u16::from_be_bytes([header[6], header[7]]);
        let (offset, more) = (usize::from(flags & 0x1fff) * 8, flags & 0x2000 != 0);
        let identification = u16::from_be_bytes([header[4], header[5]]).into();
        let sum: u32 =
            header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        Some(Self {
            is_ipv6: false,
            class: header[1],
            flow_label: 0,
            hops: header[8],
            source: IpAddr::from(*header[12..].first_chunk::<4>()?),
            destination: IpAddr::from(*header[16..].first_chunk::<4>()?),
            protocol: header[9],
            fragment: (offset > 0 || more).then_some(Fragment { identification, offset, more }),
            dont_fragment: Some(flags & 0x4000 != 0),
            checksum_right: (sum & 0xffff) + (sum >> 16) == 0xffff,
            payload: packet.get(header.len()..total.min(packet.len()))?,
            length: total,
        })
    }

    fn ipv6(packet: &'p [u8]) -> Option<Self> {
        let header = packet.get(..40)?;
        let first = u32::from_be_bytes(*header.first_chunk()?);
        let length = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
        let (mut next, mut payload) = (header[6], packet.get(40..length.min(packet.len()))?);
        let mut fragment = None;
        while let 0 | 43 | 60 | FRAGMENT = next {
            let is_fragment = next == FRAGMENT;
            let size = if is_fragment { 8 } else { 8 + 8 * usize::from(*payload.get(1)?) };
            let extension = payload.get(..size)?;
            next = extension[0];
            payload = &payload[size..];
            if is_fragment {
                let field = u16::from_be_bytes([extension[2], extension[3]]);
                let identification = u32::from_be_bytes(*extension[4..].first_chunk()?);
                let offset = usize::from(field & 0xfff8);
                fragment = Some(Fragment { identification, offset, more: field & 1 != 0 });
                if offset > 0 {
                    break;
                }
            }
        }
        Some(Self {
            is_ipv6: true,
            class: u8::try_from(first >> 20 & 0xff).ok()?,
            flow_label: first & 0xf_ffff,
            hops: header[7],
            source: IpAddr::from(*header[8..].first_chunk::<16>()?),
            destination: IpAddr::from(*header[24..].first_chunk::<16>()?),
            protocol: if next == ICMPV6 { ICMP } else { next },
            fragment,
            dont_fragment: None,
            checksum_right: true,
            payload,
            length,
        })
    }

    /// Whether it is the second or a later piece of a datagram.
    fn is_later_piece(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset > 0)
    }

    /// The packet an ICMP error quotes.
    pub(super) fn quote(&self) -> Option<&'p [u8]> {
        let is_error = match self.payload.first() {
            Some(1..=4) if self.is_ipv6 => true,
            Some(3 | 4 | 5 | 11 | 12) if !self.is_ipv6 => true,
            _ => false,
        };
        (self.protocol == ICMP && !self.is_later_piece() && is_error).then(|| self.payload.get(8..)).flatten()
    }

    /// What stays the same through any translator, addresses aside; equal for a packet and its translation.
    pub(super) fn identity(&self) -> Vec<u8> {
        let mut identity = vec![self.protocol];
        if let Some(Fragment { identification, offset, .. }) =
            self.fragment.filter(|fragment| fragment.offset > 0)
        {
            identity.extend(offset.to_be_bytes());
            // Towards IPv4 only 16 bits are left of it.
            identity.extend(&identification.to_be_bytes()[2..]);
            identity.extend(self.payload);
            return identity;
        }
        match self.quote().and_then(Self::new) {
            Some(quoted) => {
                identity.push(b'q');
                identity.extend(quoted.start());
            }
            None => {
                identity.extend(self.start());
                identity.extend(self.payload.get(self.transport_header()..).unwrap_or_default());
            }
        }
        identity
    }

    /// Protocol and what of the transport header every quote has and no translator changes.
    pub(super) fn start(&self) -> Vec<u8> {
        let mut start = vec![self.protocol];
        let bytes = |range: std::ops::Range<usize>| self.payload.get(range).unwrap_or_default();
        match self.protocol {
            ICMP => {
                let kind = match (self.is_ipv6, self.payload.first()) {
                    (true, Some(128)) | (false, Some(8)) => 8,
                    (true, Some(129)) | (false, Some(0)) => 0,
                    (_, kind) => kind.copied().unwrap_or_default(),
                };
                start.push(kind);
                start.extend(bytes(4..8));
            }
            TCP => start.extend(bytes(0..8)),
            UDP => start.extend(bytes(0..6)),
            _ => start.extend(bytes(0..8)),
        }
        start
    }

    /// Bytes of the transport header whose checksum a translator changes.
    fn transport_header(&self) -> usize {
        match self.protocol {
            TCP => 18,
            UDP | ICMP => 8,
            _ => 0,
        }
    }

    /// Where the transport checksum is.
    pub(super) fn transport_checksum(&self) -> Option<u16> {
        let at = match self.protocol {
            TCP => 16,
            UDP => 6,
            ICMP => 2,
            _ => return None,
        };
        if self.is_later_piece() {
            return None;
        }
        Some(u16::from_be_bytes(*self.payload.get(at..)?.first_chunk()?))
    }
}

/// The packet without what may differ between two right translations: the identification of a whole IPv4 packet, and the
/// header checksum, which follows from the rest.
pub(super) fn canonical(packet: &[u8]) -> Vec<u8> {
    let mut canonical = packet.to_vec();
    if let Some(view) = View::new(packet)
        && !view.is_ipv6
    {
        canonical.truncate(view.length);
        if view.fragment.is_none() {
            canonical[4..6].fill(0);
        }
        if view.checksum_right {
            canonical[10..12].fill(0);
        }
    }
    canonical
}

/// The payload of a datagram whose pieces these are, in any order; `None` when one is missing.
pub(super) fn reassembled(pieces: &[&[u8]]) -> Option<(IpAddr, IpAddr, u8, Vec<u8>)> {
    let mut views: Vec<View<'_>> = pieces.iter().map(|piece| View::new(piece)).collect::<Option<_>>()?;
    views.sort_by_key(|view| view.fragment.map_or(0, |fragment| fragment.offset));
    let first = *views.first()?;
    let mut payload = Vec::new();
    for view in &views {
        if view.fragment.map_or(0, |fragment| fragment.offset) != payload.len() {
            return None;
        }
        payload.extend(view.payload);
    }
    let is_whole = views.last()?.fragment.is_none_or(|fragment| !fragment.more);
    is_whole.then_some((first.source, first.destination, first.protocol, payload))
}
