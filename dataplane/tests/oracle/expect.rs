//! What the RFCs make of a packet: addresses, protocols, ICMP messages. From their tables, not from the relay's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::table::translation::Hairpin;

use super::naive::{self, Ip, Reading, word};
use super::world::World;

/// Which way a packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// IPv4 to IPv6.
    Up,
    /// IPv6 to IPv4.
    Down,
    /// IPv6 to IPv4 and back (RFC 7757 4.2.2).
    Turned,
}

impl Way {
    /// The family packets leave in.
    pub fn family(self) -> u8 {
        if self == Self::Down { 4 } else { 6 }
    }
}

/// Whether the packet is ICMP of its family, whole or the first fragment.
pub fn is_icmp(ip: &Ip) -> bool {
    let first = ip.fragment.is_none_or(|fragment| fragment.offset == 0);
    first && (ip.family, ip.protocol) == (ip.family, if ip.family == 4 { 1 } else { 58 })
}

/// Whether the packet is an ICMP message that must not be answered with an ICMP error: an error, or a redirect.
pub fn is_icmp_error(ip: &Ip) -> bool {
    let Some(kind) = ip.payload.first().filter(|_| is_icmp(ip)) else {
        return false;
    };
    match ip.family {
        4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
        _ => *kind < 128 || *kind == 137,
    }
}

pub fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => panic!("{address} is not IPv4"),
    }
}

pub fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V6(address) => address,
        IpAddr::V4(address) => panic!("{address} is not IPv6"),
    }
}

/// The packet an ICMP error quotes, as far as it can be read, and its extension structure.
pub struct Quote<'a> {
    pub ip: Ip,
    /// Bytes of original datagram, padding included.
    pub length: usize,
    pub extension: &'a [u8],
}

impl<'a> Quote<'a> {
    pub fn of(error: &Ip, message: &'a [u8]) -> Result<Self, String> {
        Self::read(error, message, Reading::Quoted)
    }

    /// The same in an error the relay has written.
    pub fn written(error: &Ip, message: &'a [u8]) -> Result<Self, String> {
        Self::read(error, message, Reading::QuotedSent)
    }

    fn read(error: &Ip, message: &'a [u8], reading: Reading) -> Result<Self, String> {
        let attribute = match (error.family, message[0]) {
            (4, _) => usize::from(message[5]) * 4,
            (_, 1 | 3) => usize::from(message[4]) * 8,
            _ => 0,
        };
        let all = &message[8..];
        let uncut = Ip::read(all, reading)?;
        let believed =
            attribute >= uncut.headers + 8 && attribute < all.len() && structure_at(all, attribute);
        let length = if believed { attribute } else { all.len() };
        Ok(Self { ip: Ip::read(&all[..length], reading)?, length, extension: &all[length..] })
    }
}

/// Whether an extension structure begins there, or at the 128th byte with nothing but zeros before it.
fn structure_at(all: &[u8], at: usize) -> bool {
    let is_structure = |bytes: &[u8]| {
        bytes.len() >= 4 && bytes[0] >> 4 == 2 && (word(bytes, 2) == 0 || naive::sum(bytes) == 0xffff)
    };
    let late = at < 128 && all.len() > 128 && all[at..128].iter().all(|byte| *byte == 0);
    is_structure(&all[at..]) || late && is_structure(&all[128..])
}

/// RFC 7757 4.2.1: sources of packets that turn round, and all of them under the simple hairpin, are not mapped by
/// EAM, unless it is an ICMP error from somebody else than the quoted destination. Without a prefix the relay speaks
/// for routers that have no IPv6 form.
pub fn source_up(world: &World, way: Way, source: Ipv4Addr, quoted: Option<Ipv4Addr>) -> Ipv6Addr {
    let by_eam = way == Way::Up && world.settings.hairpin != Hairpin::Simple
        || quoted.is_some_and(|destination| destination != source);
    let mapped = by_eam.then(|| naive::eam_to_v6(&world.eams, source)).flatten();
    match mapped {
        Some(mapped) => mapped,
        None if world.prefixes.is_empty() && quoted.is_some() => world.own6,
        None => world.embed(source),
    }
}

/// The quoted destination: as the source above, without the exception.
pub fn quoted_destination_up(world: &World, way: Way, destination: Ipv4Addr) -> Ipv6Addr {
    if way == Way::Up && world.settings.hairpin != Hairpin::Simple {
        world.to_v6(destination)
    } else {
        world.embed(destination)
    }
}

/// RFC 7915 4.1 and 5.1: only the number of ICMP changes.
pub fn protocol(way: Way, number: u8) -> u8 {
    let down = |number| if number == 58 { 1 } else { number };
    let up = |number| if number == 1 { 58 } else { number };
    match way {
        Way::Up => up(number),
        Way::Down => down(number),
        Way::Turned => up(down(number)),
    }
}

/// RFC 7915 4.1 and 5.1, with the settings that overrule them.
pub fn tos(world: &World, way: Way, tos: u8) -> u8 {
    let down = |tos| world.settings.type_of_service.unwrap_or(tos);
    let up = |tos| world.settings.traffic_class.unwrap_or(tos);
    match way {
        Way::Up => up(tos),
        Way::Down => down(tos),
        Way::Turned => up(down(tos)),
    }
}

/// Type and code in the other family, with a pointer where there is one; none for what is not translated.
pub type Message = (u8, u8, Option<u8>);

/// RFC 7915 4.2.
pub fn message_up(message: &[u8]) -> Option<Message> {
    let (kind, code) = (message[0], message[1]);
    Some(match (kind, code) {
        (8, _) => (128, code, None),
        (0, _) => (129, code, None),
        (3, 2) => (4, 1, Some(6)),
        (3, 3) => (1, 4, None),
        (3, 4) => (2, 0, None),
        (3, 0 | 1 | 5 | 6 | 7 | 8 | 11 | 12) => (1, 0, None),
        (3, 9 | 10 | 13 | 15) => (1, 1, None),
        (11, _) => (3, code, None),
        (12, 0 | 2) => {
            let table = [
                (0, 0),
                (1, 1),
                (2, 4),
                (3, 4),
                (8, 7),
                (9, 6),
                (12, 8),
                (13, 8),
                (14, 8),
                (15, 8),
                (16, 24),
                (17, 24),
                (18, 24),
                (19, 24),
            ];
            let pointer = table.iter().find(|(from, _)| *from == message[4])?.1;
            (4, 0, Some(pointer))
        }
        _ => return None,
    })
}

/// RFC 7915 5.2.
pub fn message_down(message: &[u8]) -> Option<Message> {
    let (kind, code) = (message[0], message[1]);
    Some(match (kind, code) {
        (128, _) => (8, code, None),
        (129, _) => (0, code, None),
        (1, 0 | 2 | 3) => (3, 1, None),
        (1, 1) => (3, 10, None),
        (1, 4) => (3, 3, None),
        (2, _) => (3, 4, None),
        (3, _) => (11, code, None),
        (4, 0) => {
            let pointer = match word(message, 4) << 16 | word(message, 6) {
                0 => 0,
                1 => 1,
                4 | 5 => 2,
                6 => 9,
                7 => 8,
                8..=23 => 12,
                24..=39 => 16,
                _ => return None,
            };
            (12, 0, Some(pointer))
        }
        (4, 1) => (3, 2, None),
        _ => return None,
    })
}

/// The type and code a message must have after its way.
pub fn message(way: Way, message: &[u8]) -> Option<Message> {
    match way {
        Way::Up => message_up(message),
        Way::Down => message_down(message),
        Way::Turned => {
            let (kind, code, pointer) = message_down(message)?;
            message_up(&[kind, code, 0, 0, pointer.unwrap_or(0), 0, 0, 0])
        }
    }
}

/// RFC 7915 4.2: the MTU a packet too big message reports.
pub fn mtu_up(world: &World, reported: usize, quoted_length: usize) -> usize {
    let reported = match reported {
        0 => {
            let plateaus = world.settings.mtu_plateaus.iter().map(|plateau| usize::from(*plateau));
            let below = plateaus.filter(|plateau| *plateau < quoted_length && *plateau >= 1280);
            below.max().unwrap_or(0)
        }
        reported => reported,
    };
    let (mtu4, mtu6) = (usize::from(world.mtu4), usize::from(world.mtu6));
    (reported + 20).min(mtu6).min(mtu4 + 20).max(1280)
}

/// RFC 7915 5.2, 28 for a quoted fragment: the MTU a fragmentation needed message reports.
pub fn mtu_down(world: &World, reported: usize, quotes_fragment: bool) -> usize {
    let (mtu4, mtu6) = (usize::from(world.mtu4), usize::from(world.mtu6));
    let growth = if quotes_fragment { 28 } else { 20 };
    reported.min(mtu6).saturating_sub(growth).min(mtu4).max(68)
}
