//! Packets: golden ones, ones built from choices, or bytes as they come; then a few bytes changed, and lengths and
//! checksums put right, so that what the relay looks at first does not hide what it looks at last.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::table::translation::Role;

use super::bytes::Bytes;
use super::golden;
use super::naive::{self, Fragment, Ip, Reading, octets, word};
use super::world::World;

/// What is left wrong, and what is made rare on purpose.
#[derive(Clone, Copy)]
struct Fixes(u8);

impl Fixes {
    /// A quarter of all packets keep some of their faults.
    fn leaves(self, fault: u8) -> bool {
        self.0 >= 0xc0 && self.0 & fault != 0
    }

    fn crafts_zero(self) -> bool {
        self.0 & 0x30 == 0x30
    }

    fn pads(self) -> bool {
        self.0 & 0x41 == 0x41
    }
}

const VERSION: u8 = 0x02;
const LENGTH: u8 = 0x04;
const HEADER_CHECKSUM: u8 = 0x08;
const TRANSPORT_CHECKSUM: u8 = 0x10;

/// The packet, or the fragments of it, that `from` describes, and the world it meets.
pub fn from_bytes(world: World, from: &mut Bytes<'_>, family: u8) -> (World, Vec<Vec<u8>>) {
    let (mode, fixes) = (from.byte(), Fixes(from.byte()));
    let (world, mut packet) = match mode % 8 {
        0 => {
            let all = golden::of_family(family);
            let golden = &all[usize::from(from.byte()) % all.len()];
            (golden.world.clone(), golden.packet.clone())
        }
        1 => {
            let all = golden::of_family(family);
            (world, all[usize::from(from.byte()) % all.len()].packet.clone())
        }
        7 => (world, from.rest().to_vec()),
        _ => {
            let packet = recipe(&world, from, family, 1);
            (world, packet)
        }
    };
    edit(&mut packet, from);
    let cut = from.once_in(8);
    fix(&mut packet, family, fixes, &world);
    if cut && let Some(train) = train(&packet, from) {
        return (world, train);
    }
    if fixes.pads() {
        packet.extend_from_slice(&[0xaa; 6]);
    }
    (world, vec![packet])
}

/// Up to five bytes change, and sometimes the length.
fn edit(packet: &mut Vec<u8>, from: &mut Bytes<'_>) {
    for _ in 0..from.pick(&[0, 0, 0, 0, 0, 1, 2, 5]) {
        let (at, value) = (from.below(packet.len().clamp(1, 0xffff)), from.byte());
        match (packet.get_mut(at), value) {
            (_, 0xee) => packet.truncate(at),
            (_, 0xdd) => packet.extend_from_slice(&[0xdd; 9]),
            (Some(byte), _) => *byte = value,
            (None, _) => {}
        }
    }
}

fn fix(packet: &mut [u8], family: u8, fixes: Fixes, world: &World) {
    if packet.len() < 20 || (family == 6 && packet.len() < 40) {
        return;
    }
    if !fixes.leaves(VERSION) {
        packet[0] = family << 4 | packet[0] & 15;
    }
    let length = packet.len().min(0xffff);
    if !fixes.leaves(LENGTH) {
        match family {
            4 => packet[2..4].copy_from_slice(&(length as u16).to_be_bytes()),
            _ => packet[4..6].copy_from_slice(&(length.saturating_sub(40) as u16).to_be_bytes()),
        }
    }
    if !fixes.leaves(HEADER_CHECKSUM) {
        fix_header_checksum(packet);
    }
    if !fixes.leaves(TRANSPORT_CHECKSUM) {
        if fixes.crafts_zero() {
            craft_zero(packet, world);
        }
        fix_transport_checksum(packet);
    }
}

fn fix_header_checksum(packet: &mut [u8]) {
    let headers = usize::from(packet[0] & 15) * 4;
    if packet[0] >> 4 == 4 && (20..=packet.len()).contains(&headers) {
        packet[10..12].fill(0);
        let checksum = !naive::sum(&packet[..headers]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Makes the checksum of a whole packet right. UDP without one stays without.
pub fn fix_transport_checksum(packet: &mut [u8]) {
    let Ok(ip) = Ip::read(packet, Reading::Received) else {
        return;
    };
    let (Some(at), Some(sum)) = (ip.checksum_at(), ip.transport_sum()) else {
        return;
    };
    let field = ip.checksum().unwrap();
    if ip.protocol == 17 && field == 0 {
        return;
    }
    // Take the old field out of the sum, then put the complement of the rest in.
    let rest = naive::sum(&[sum.to_be_bytes(), (!field).to_be_bytes()].concat());
    let checksum = match !rest {
        0 if ip.protocol == 17 => 0xffff,
        checksum => checksum,
    };
    packet[ip.headers + at..][..2].copy_from_slice(&checksum.to_be_bytes());
}

/// Chooses the last word of TCP or UDP so that the checksum in the other family comes out as zero.
fn craft_zero(packet: &mut [u8], world: &World) {
    let Ok(mut ip) = Ip::read(packet, Reading::Received) else {
        return;
    };
    let Some(at) = ip.checksum_at().filter(|_| matches!(ip.protocol, 6 | 17)) else {
        return;
    };
    let length = ip.payload.len();
    let word_at = (length & !1).saturating_sub(2);
    let udp_length_fits = ip.protocol == 6 || word(&ip.payload, 4) == length;
    if word_at < at + 2 || !udp_length_fits || ip.checksum() == Some(0) {
        return;
    }
    (ip.source, ip.destination) = match (ip.source, ip.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            (world.to_v6(source).into(), world.to_v6(destination).into())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (Some(source), Some(destination)) = (world.to_v4(source), world.to_v4(destination)) else {
                return;
            };
            (source.into(), destination.into())
        }
        _ => unreachable!("both of one family"),
    };
    ip.payload[at..at + 2].fill(0);
    ip.payload[word_at..word_at + 2].fill(0);
    if let Some(sum) = ip.transport_sum() {
        packet[ip.headers + word_at..][..2].copy_from_slice(&(!sum).to_be_bytes());
    }
}

/// The packet in two to five fragments, if it is whole and long enough.
fn train(packet: &[u8], from: &mut Bytes<'_>) -> Option<Vec<Vec<u8>>> {
    let ip = Ip::read(packet, Reading::Received).ok().filter(|ip| ip.fragment.is_none())?;
    let id = from.long();
    let mut pieces = Vec::new();
    let mut offset = 0;
    while offset < ip.payload.len() {
        let step = (from.below(185) + 1) * 8;
        let end = match pieces.len() {
            4 => ip.payload.len(),
            _ => ip.payload.len().min(offset + step),
        };
        let piece = Ip {
            fragment: Some(Fragment { offset, more: end < ip.payload.len(), id }),
            dont_fragment: false,
            payload: ip.payload[offset..end].to_vec(),
            ..ip.clone()
        };
        pieces.push(emit(&piece, &[]));
        offset = end;
    }
    (pieces.len() > 1).then_some(pieces)
}

/// Writes a packet. `extras` are IPv4 options, or IPv6 extension headers each of which begins with its own number
/// in the place of the next one's.
pub fn emit(ip: &Ip, extras: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = if ip.family == 4 { emit_v4(ip, &extras.concat()) } else { emit_v6(ip, extras) };
    packet.extend_from_slice(&ip.payload);
    packet.truncate(0xffff);
    let length = packet.len();
    match ip.family {
        4 => packet[2..4].copy_from_slice(&(length as u16).to_be_bytes()),
        _ => packet[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes()),
    }
    fix_header_checksum(&mut packet);
    packet
}

fn emit_v4(ip: &Ip, options: &[u8]) -> Vec<u8> {
    let mut flags = if ip.dont_fragment { 0x4000 } else { 0 };
    let mut id = ip.id;
    if let Some(fragment) = ip.fragment {
        flags |= (fragment.offset / 8) as u16 & 0x1fff | if fragment.more { 0x2000 } else { 0 };
        id = fragment.id as u16;
    }
    let mut packet = vec![0x45 + options.len().div_ceil(4) as u8, ip.tos, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(flags.to_be_bytes());
    packet.extend([ip.ttl, ip.protocol, 0, 0]);
    packet.extend(octets(ip.source));
    packet.extend(octets(ip.destination));
    packet.extend_from_slice(options);
    packet.resize(packet.len().next_multiple_of(4), 0);
    packet
}

fn emit_v6(ip: &Ip, extensions: &[Vec<u8>]) -> Vec<u8> {
    let first = u32::from(ip.tos) << 20 | ip.flow_label | 6 << 28;
    let mut packet = first.to_be_bytes().to_vec();
    packet.extend([0, 0, 0, ip.ttl]);
    packet.extend(octets(ip.source));
    packet.extend(octets(ip.destination));
    let mut next = 6;
    for extension in extensions {
        packet[next] = extension[0];
        next = packet.len();
        packet.extend_from_slice(extension);
    }
    if let Some(fragment) = ip.fragment {
        packet[next] = 44;
        next = packet.len();
        packet.extend([0, 0]);
        packet.extend(((fragment.offset & 0xfff8) as u16 | u16::from(fragment.more)).to_be_bytes());
        packet.extend(fragment.id.to_be_bytes());
    }
    packet[next] = ip.protocol;
    packet
}

/// A packet of many choices; `depth` tells how many packets may be quoted inside each other.
fn recipe(world: &World, from: &mut Bytes<'_>, family: u8, depth: u8) -> Vec<u8> {
    let mut ip = head(world, from, family);
    ip.payload = payload(world, from, &ip, depth);
    if from.once_in(16) {
        ip.payload.truncate(from.below(24));
    }
    let extras = if from.byte() % 4 != 3 {
        Vec::new()
    } else if family == 4 {
        vec![options(from)]
    } else {
        (0..=from.byte() % 4).map(|_| extension(from)).collect()
    };
    let mut packet = emit(&ip, &extras);
    fix_transport_checksum(&mut packet);
    packet
}

fn head(world: &World, from: &mut Bytes<'_>, family: u8) -> Ip {
    let (source, destination) = match family {
        4 => (source4(world, from).into(), destination4(world, from).into()),
        _ => (source6(world, from).into(), destination6(world, from).into()),
    };
    let icmp = if family == 4 { 1 } else { 58 };
    let any = from.byte();
    let protocols =
        [17, 6, icmp, icmp, icmp, 17, 6, icmp, icmp, 17, 6, 50, 132, 2, 0, 1, 58, 44, 43, 60, 51, any];
    Ip {
        family,
        tos: from.pick(&[0, 0xb8, 0x01, 0xff]),
        flow_label: if family == 6 { from.long() & 0xfffff } else { 0 },
        length: 0,
        ttl: from.pick(&[64, 64, 64, 64, 64, 64, 64, 255, 3, 2, 1, 0]),
        source,
        destination,
        protocol: from.pick(&protocols),
        fragment: fragment(from),
        dont_fragment: from.byte() & 1 == 1,
        id: from.word(),
        headers: 0,
        extras: false,
        payload: Vec::new(),
    }
}

fn fragment(from: &mut Bytes<'_>) -> Option<Fragment> {
    let kind = from.byte() % 16;
    let id = if kind < 10 { 0 } else { from.long() };
    let at = |offset, more| Some(Fragment { offset, more, id });
    match kind {
        0..10 => None,
        10 => at(0, false),
        11 => at(0, true),
        12 => at(from.below(190) * 8, true),
        13 => at(from.below(190) * 8, false),
        14 => at(65528 - from.below(20) * 8, false),
        _ => at(65528 - from.below(2000) * 8, true),
    }
}

fn source4(world: &World, from: &mut Bytes<'_>) -> Ipv4Addr {
    match from.byte() % 12 {
        0..6 => client(from),
        6..9 => mapped4(world, from),
        9 => special4(world, from),
        10 => Ipv4Addr::new(192, 0, 2, from.byte()),
        _ => from.long().into(),
    }
}

fn destination4(world: &World, from: &mut Bytes<'_>) -> Ipv4Addr {
    match from.byte() % 12 {
        0..7 => mapped4(world, from),
        7 => client(from),
        8 | 9 => Ipv4Addr::new(192, 0, 2, from.byte()),
        10 => special4(world, from),
        _ => from.long().into(),
    }
}

fn source6(world: &World, from: &mut Bytes<'_>) -> Ipv6Addr {
    match from.byte() % 12 {
        0..5 => mapped6(world, from),
        5..8 => embedded(world, from),
        8 | 9 => Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, from.word()),
        10 => special6(world, from),
        _ => any6(from),
    }
}

fn destination6(world: &World, from: &mut Bytes<'_>) -> Ipv6Addr {
    match from.byte() % 12 {
        0..9 if world.settings.role == Role::BorderRelay => embedded(world, from),
        0..9 => mapped6(world, from),
        9 => embedded(world, from),
        10 => special6(world, from),
        _ => any6(from),
    }
}

fn client(from: &mut Bytes<'_>) -> Ipv4Addr {
    from.pick(&[
        Ipv4Addr::new(203, 0, 113, 50),
        Ipv4Addr::new(8, 8, 8, 8),
        Ipv4Addr::new(10, 1, 2, 3),
        Ipv4Addr::new(203, 0, 113, 255),
    ])
}

/// In the IPv4 prefix of an EAM.
fn mapped4(world: &World, from: &mut Bytes<'_>) -> Ipv4Addr {
    let number = from.byte();
    let host = from.long();
    if world.eams.is_empty() {
        return Ipv4Addr::new(192, 0, 2, number);
    }
    let network = world.eams[usize::from(number) % world.eams.len()].ipv4;
    (u32::from(network.network()) | host & u32::from(network.hostmask())).into()
}

/// In the IPv6 prefix of an EAM, with or without bits behind the suffix.
fn mapped6(world: &World, from: &mut Bytes<'_>) -> Ipv6Addr {
    let number = from.byte();
    let noise = match from.byte() % 4 {
        0 => u128::from(from.long()) << 64 | u128::from(from.long()) << 32 | u128::from(from.long()),
        _ => return world.to_v6(mapped4(world, from)),
    };
    if world.eams.is_empty() {
        return any6(from);
    }
    let network = world.eams[usize::from(number) % world.eams.len()].ipv6;
    (u128::from(network.network()) | noise & u128::from(network.hostmask())).into()
}

/// In a translation prefix: a client, a mapped host (a hairpin), or anything; sometimes with a suffix.
fn embedded(world: &World, from: &mut Bytes<'_>) -> Ipv6Addr {
    if world.prefixes.is_empty() {
        return mapped6(world, from);
    }
    let prefix = from.pick(&world.prefixes);
    let address = match from.byte() % 6 {
        0..3 => client(from),
        3 | 4 => mapped4(world, from),
        _ => special4(world, from),
    };
    let mut bits = u128::from(naive::embed(prefix, address));
    if prefix.prefix_len() < 96 && from.once_in(4) {
        bits |= u128::from(from.word() & 0x1ff) | 1 << 60;
    }
    bits.into()
}

fn special4(world: &World, from: &mut Bytes<'_>) -> Ipv4Addr {
    from.pick(&[
        world.own4,
        Ipv4Addr::new(127, 0, 0, 1),
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(224, 0, 0, 5),
        Ipv4Addr::new(240, 0, 0, 1),
        Ipv4Addr::new(169, 254, 1, 1),
        Ipv4Addr::new(192, 168, 1, 1),
        Ipv4Addr::new(100, 64, 0, 1),
        Ipv4Addr::new(198, 51, 100, 1),
    ])
}

fn special6(world: &World, from: &mut Bytes<'_>) -> Ipv6Addr {
    from.pick(&[
        world.own6,
        Ipv6Addr::LOCALHOST,
        Ipv6Addr::UNSPECIFIED,
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9),
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped(),
    ])
}

fn any6(from: &mut Bytes<'_>) -> Ipv6Addr {
    let high = 0x2001_0db8_u128 << 96 ^ u128::from(from.long()) << 64;
    (high | u128::from(from.long()) << 16 | u128::from(from.word())).into()
}

fn payload(world: &World, from: &mut Bytes<'_>, ip: &Ip, depth: u8) -> Vec<u8> {
    match (ip.family, ip.protocol) {
        (_, 17) => udp(from),
        (_, 6) => {
            let mut segment =
                vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 1, 0, 0];
            segment.extend(data(from));
            segment
        }
        (4, 1) | (6, 58) => icmp(world, from, ip, depth),
        _ => data(from),
    }
}

fn udp(from: &mut Bytes<'_>) -> Vec<u8> {
    let data = data(from);
    let length = match from.byte() {
        0xff => from.word(),
        0xe0..0xff => data.len() as u16,
        _ => (data.len() + 8) as u16,
    };
    let checksum: u16 = if from.once_in(8) { 0 } else { 0xbeef };
    let mut datagram = vec![0x9c, 0x40, 0, 53];
    datagram.extend(length.to_be_bytes());
    datagram.extend(checksum.to_be_bytes());
    datagram.extend(data);
    datagram
}

/// Mostly short; often about as long as some MTU allows; rarely as long as IP allows.
fn data(from: &mut Bytes<'_>) -> Vec<u8> {
    let near = |from: &mut Bytes<'_>, length: usize| (length + from.below(49)).saturating_sub(24);
    let length = match from.byte() % 8 {
        0..4 => from.below(64),
        4 => from.below(1600),
        7 if from.once_in(8) => near(from, 65_500),
        _ => {
            let edge =
                from.pick(&[548, 972, 1212, 1232, 1240, 1252, 1372, 1440, 1452, 1472, 1480, 2464, 8960]);
            near(from, edge)
        }
    };
    let (seed, kind) = (from.byte(), from.byte());
    (0..length)
        .map(|at| match kind % 4 {
            0 => seed.wrapping_add(at as u8),
            1 => 0,
            2 => 0xff,
            _ => seed.wrapping_mul(at as u8 | 1) ^ (at >> 8) as u8,
        })
        .collect()
}

fn icmp(world: &World, from: &mut Bytes<'_>, ip: &Ip, depth: u8) -> Vec<u8> {
    let is_error = !from.once_in(4);
    if depth == 0 && !from.once_in(8) || !is_error {
        let echo: &[u8] = if ip.family == 4 { &[8, 0, 8, 13, 10] } else { &[128, 129, 128, 135, 143] };
        let mut message = vec![from.pick(echo), 0, 0, 0, 0x12, 0x34, 0, 1];
        message.extend(data(from));
        return message;
    }
    let (any_type, any_code) = (from.byte(), from.byte());
    let (kind, code) = if ip.family == 4 {
        let codes = [
            (3, any_code % 18),
            (3, 4),
            (11, any_code % 3),
            (12, any_code % 4),
            (3, 4),
            (any_type, any_code),
        ];
        from.pick(&codes)
    } else {
        let codes = [
            (1, any_code % 9),
            (2, any_code % 2),
            (3, any_code % 3),
            (4, any_code % 4),
            (2, 0),
            (any_type, any_code),
        ];
        from.pick(&codes)
    };
    let mut message = vec![kind, code, 0, 0];
    message.extend(second_word(from, ip.family, kind, code));
    let quote = quote(world, from, ip, depth.saturating_sub(1));
    extend(from, ip.family, &mut message, quote);
    message
}

/// A pointer, an MTU, or nothing.
fn second_word(from: &mut Bytes<'_>, family: u8, kind: u8, code: u8) -> [u8; 4] {
    let pointer = from.byte() % 44;
    let mtu: u32 = from.pick(&[0, 68, 576, 1259, 1260, 1280, 1400, 1492, 1500, 9000, 65535, u32::MAX]);
    match (family, kind, code) {
        (4, 12, _) => [pointer, 0, 0, 0],
        (6, 4, _) => u32::from(pointer).to_be_bytes(),
        (4, 3, 4) => (mtu & 0xffff).to_be_bytes(),
        (6, 2, _) => mtu.to_be_bytes(),
        _ => [0; 4],
    }
}

/// The packet an ICMP error is about: mostly one that went the other way, cut somewhere.
fn quote(world: &World, from: &mut Bytes<'_>, outer: &Ip, depth: u8) -> Vec<u8> {
    let mut quote = recipe(world, from, outer.family, depth);
    let swap = from.byte();
    let at = if outer.family == 4 { [12, 16] } else { [8, 24] };
    let size = if outer.family == 4 { 4 } else { 16 };
    if swap % 4 != 3 {
        quote[at[0]..at[0] + size].copy_from_slice(&octets(outer.destination));
    }
    let other: IpAddr = match (swap / 4 % 8, outer.family) {
        (0..4, _) => outer.source,
        (4..7, 4) => client(from).into(),
        (4..7, _) => mapped6(world, from).into(),
        _ => special4(world, from).into(),
    };
    if other.is_ipv4() == outer.source.is_ipv4() {
        quote[at[1]..at[1] + size].copy_from_slice(&octets(other));
    }
    fix_header_checksum(&mut quote);
    fix_transport_checksum(&mut quote);
    let headers = Ip::read(&quote, Reading::Quoted).map_or(0, |ip| ip.headers);
    match from.byte() % 6 {
        0 => quote.truncate(headers + 8),
        4 => quote.resize(1150 + from.below(350), 0x5a),
        1 => quote.truncate(from.below(quote.len() + 1)),
        2 => quote.truncate(1232 - from.below(700)),
        _ => {}
    }
    quote
}

/// Appends the quote, sometimes with an RFC 4884 extension behind it.
fn extend(from: &mut Bytes<'_>, family: u8, message: &mut Vec<u8>, mut quote: Vec<u8>) {
    if from.once_in(3) {
        let (unit, at) = if family == 4 { (4, 5) } else { (8, 4) };
        let padded = quote.len().max(from.pick(&[128_usize, 64, 8, 0])).next_multiple_of(unit);
        quote.resize(padded, 0);
        if message[at..].iter().take(1).eq(&[0]) {
            message[at] = u8::try_from(padded / unit).unwrap_or(0);
        }
        let words = usize::from(from.byte() % 16);
        let mut extension = vec![0x20, 0, 0, 0, 0, (4 + words * 4) as u8, 1, 1];
        extension.resize(8 + words * 4, from.byte());
        let checksum = !naive::sum(&extension);
        extension[2..4].copy_from_slice(&checksum.to_be_bytes());
        quote.extend(extension);
    }
    message.extend(quote);
}

fn options(from: &mut Bytes<'_>) -> Vec<u8> {
    let any = [from.byte(), from.byte(), from.byte(), from.byte()];
    let mut options = Vec::new();
    for _ in 0..=from.byte() % 3 {
        let one: &[u8] = from.pick(&[
            &[1, 1, 1, 1],
            &[131, 7, 4, 192, 0, 2, 1, 0],
            &[137, 7, 8, 192, 0, 2, 1, 0],
            &[148, 4, 0, 0],
            &[68, 8, 5, 0, 1, 2, 3, 4],
            &[0, 131, 3, 4],
        ]);
        options.extend_from_slice(one);
    }
    if from.once_in(4) {
        options.extend_from_slice(&any);
    }
    options.truncate(40);
    options
}

fn extension(from: &mut Bytes<'_>) -> Vec<u8> {
    let kind = from.pick(&[0, 60, 43, 60, 44, 51]);
    let words = from.byte();
    let words = if words < 0xf0 { words % 3 } else { words };
    let mut extension = vec![kind, words];
    extension.resize(8 * (usize::from(words % 8) + 1), 0);
    if kind == 43 && from.once_in(4) {
        extension[3] = 1;
    }
    if kind == 44 {
        extension.truncate(8);
        extension[1] = 0;
    }
    extension
}
