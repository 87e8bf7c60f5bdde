//! The closure property: an ICMP error that quotes whatever the relay has sent comes back through the relay, and names
//! the addresses and ports, or the identifier, that the packet had before.
//!
//! Configurations and packets are those of `oracle`. Every packet that leaves (translated, cut in pieces, turned round) is
//! quoted by routers of the family it left in, from its headers and 8 bytes up to all of it. `CLOSURE_PACKETS` sets how
//! many packets are quoted, `CLOSURE_SEED` makes them others.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a wrong fixture shall stop the test, and its numbers are small"
)]

mod oracle;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::table::translation::Role;
use dataplane::walk::{self, End};
use oracle::bytes::Bytes;
use oracle::expect::{self, Quote, Way, is_icmp_error, v4, v6};
use oracle::naive::{self, Ip, Reading};
use oracle::packet;
use oracle::relay::{Relay, Run};
use oracle::world::World;

/// Packets per configuration.
const PER_WORLD: u64 = 200;

/// An IPv6 router without an IPv4 form.
const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0x2a00, 0xdead, 0, 0, 0, 0, 0, 1);

/// `SplitMix64`: reproducible from the number of the packet.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn bytes(state: &mut u64, count: usize) -> Vec<u8> {
    (0..count.div_ceil(8)).flat_map(|_| random(state).to_le_bytes()).collect()
}

fn below(state: &mut u64, limit: usize) -> usize {
    usize::try_from(random(state) % limit as u64).expect("less than the limit")
}

/// What was quoted, by kind: the test is empty if one of them is.
#[derive(Default, Debug)]
struct Met {
    packets: u64,
    up: u64,
    down: u64,
    turned: u64,
    pieces_of_icmp: u64,
    native: u64,
    odd_chains: u64,
    without_prefix: u64,
    plain_translator: u64,
    above_32_kib: u64,
}

#[test]
fn errors_about_whatever_was_sent_come_home() {
    let wanted: u64 =
        std::env::var("CLOSURE_PACKETS").map_or(20_000, |count| count.parse().expect("a number"));
    let seed: u64 = std::env::var("CLOSURE_SEED").map_or(0, |seed| seed.parse().expect("a number"));
    let mut state = 0x00c1_0512_e000 ^ seed << 48;
    let mut met = Met::default();
    while met.packets < wanted {
        let mut world = World::from_bytes(&bytes(&mut state, oracle::world::BYTES));
        // Without the guard, protocol numbers mean something else in the other family, and so do their quotes: a
        // Next Header of 1 is no ICMP behind IPv6, and 43, 44 and 60 are headers there (RFC 8200 4), not payloads.
        world.settings.guard_protocols = true;
        // A path on which much is cut.
        world.settings.respect_fragment_df = random(&mut state) & 1 == 0;
        let mut relay = Relay::new(&world);
        for _ in 0..PER_WORLD {
            let family = if random(&mut state) & 1 == 0 { 4 } else { 6 };
            let choices = bytes(&mut state, 96);
            let (_, made) = packet::from_bytes(world.clone(), &mut Bytes(&choices), family);
            for packet in made {
                let packet = rechained(stretched(packet, &mut state), &mut state);
                let run = relay.run(&packet);
                if let Err(why) = judge(&world, &mut relay, &packet, &run, &mut state, &mut met) {
                    panic!("{why}\n{packet:02x?}\n{:02x?}\n{world:?}", run.out);
                }
            }
        }
    }
    println!("{met:?}");
    for (what, count) in [
        ("towards IPv6", met.up),
        ("towards IPv4", met.down),
        ("turned round", met.turned),
        ("pieces of ICMP messages", met.pieces_of_icmp),
        ("with odd chains of headers", met.odd_chains),
        ("without a prefix", met.without_prefix),
        ("of the plain translator", met.plain_translator),
        ("of more than 32 KiB", met.above_32_kib),
    ] {
        assert!(count * 500 > met.packets, "only {count} {what} of {} packets", met.packets);
    }
}

/// Now and then an echo request without DF that is larger than any IPv6 link must carry.
fn stretched(mut packet: Vec<u8>, state: &mut u64) -> Vec<u8> {
    let is_echo = packet.len() >= 28 && packet[0] == 0x45 && packet[9] == 1 && matches!(packet[20], 0 | 8);
    if !is_echo || packet[6] & 0x3f != 0 || packet[7] != 0 || packet.len() > 1400 {
        return packet;
    }
    let more = if below(state, 16) == 0 { 65_535 - 1281 } else { 3000 };
    packet.resize(1281 + below(state, more + 1), 0x5a);
    packet[6] = 0;
    let length = u16::try_from(packet.len()).expect("a short packet").to_be_bytes();
    packet[2..4].copy_from_slice(&length);
    packet[10..12].fill(0);
    let checksum = (!naive::sum(&packet[..20])).to_be_bytes();
    packet[10..12].copy_from_slice(&checksum);
    packet
}

/// Now and then a packet with headers that seldom stand where they stand here: AH before and behind all others, twice,
/// several Fragment headers, Mobility and the like; in IPv4 as what they are there, payload.
fn rechained(packet: Vec<u8>, state: &mut u64) -> Vec<u8> {
    const KINDS: [u8; 12] = [0, 43, 44, 44, 50, 51, 51, 60, 60, 135, 139, 140];
    let (at, next) = match packet.first() {
        Some(first) if first >> 4 == 6 => (40, 6),
        Some(first) => (usize::from(first & 15).max(5) * 4, 9),
        None => return packet,
    };
    if below(state, 4) != 0 || packet.len() < at || packet.len() > 65_535 - 4 * 24 {
        return packet;
    }
    let mut chain = Vec::new();
    let mut protocol = packet[next];
    for _ in 0..=below(state, 4) {
        let kind = KINDS[below(state, KINDS.len())];
        let words = if kind == 44 { 0 } else { below(state, 3) };
        let mut header = vec![0; 8 * (words + 1)];
        header[0] = protocol;
        // AH counts words of four bytes, less two (RFC 4302 2.2).
        header[1] = if kind == 51 { 2 * words as u8 } else { words as u8 };
        if kind == 44 && below(state, 2) == 0 {
            header[3] = 1;
        }
        header.append(&mut chain);
        (chain, protocol) = (header, kind);
    }
    let mut odd = packet[..at].to_vec();
    odd[next] = protocol;
    odd.extend(chain);
    odd.extend_from_slice(&packet[at..]);
    let length = if next == 6 { odd.len() - 40 } else { odd.len() };
    let length_at = if next == 6 { 4 } else { 2 };
    odd[length_at..length_at + 2]
        .copy_from_slice(&u16::try_from(length).expect("below 65,536").to_be_bytes());
    if next == 9 {
        odd[10..12].fill(0);
        let checksum = (!naive::sum(&odd[..at])).to_be_bytes();
        odd[10..12].copy_from_slice(&checksum);
    }
    odd
}

/// Whether AH, ESP, or one of the extension headers that IPv4 takes for payload stands directly behind the IP header.
fn is_odd(sent: &[u8]) -> bool {
    let next = sent[if sent[0] >> 4 == 6 { 6 } else { 9 }];
    matches!(next, 50 | 51 | 135 | 139 | 140)
}

fn judge(
    world: &World,
    relay: &mut Relay,
    packet: &[u8],
    run: &Run,
    state: &mut u64,
    met: &mut Met,
) -> Result<(), String> {
    let way = match run.end {
        End::Forwarded(walk::Way::Hairpinned) => Way::Turned,
        End::Forwarded(walk::Way::Translated) if packet[0] >> 4 == 4 => Way::Up,
        End::Forwarded(walk::Way::Translated) => Way::Down,
        _ => return Ok(()),
    };
    let input = Ip::read(packet, Reading::Received)?;
    // No error is sent about an error (RFC 1122 3.2.2, RFC 4443 2.4 e.1).
    if is_icmp_error(&input) {
        return Ok(());
    }
    for sent in &run.out {
        let fragment = way != Way::Down && (input.is_piece() || run.out.len() > 1);
        let read = Ip::read(sent, Reading::Sent { fragment })?;
        if !comes_home(world, &input, &read, way) {
            continue;
        }
        met.packets += 1;
        met.odd_chains += u64::from(is_odd(sent));
        met.without_prefix += u64::from(world.prefixes.is_empty());
        met.plain_translator += u64::from(world.settings.role == Role::Siit);
        met.above_32_kib += u64::from(packet.len() > 1 << 15);
        for _ in 0..3 {
            let (error, shown) = error_about(world, sent, &read, state);
            let back = relay.run(&error);
            home(world, &input, &read, way, &back, shown, met).map_err(|why| {
                format!("{why}\nerror {error:02x?}\nended {:?}, {:02x?}", back.end, back.out)
            })?;
        }
        let icmp = if read.family == 4 { 1 } else { 58 };
        met.pieces_of_icmp += u64::from(read.is_piece() && read.protocol == icmp);
        match way {
            Way::Up => met.up += 1,
            Way::Down => met.down += 1,
            Way::Turned => met.turned += 1,
        }
    }
    Ok(())
}

/// Whether the addresses of the packet have one form in each family, and errors about it are routed to the relay. Where
/// many addresses become one, as RFC 7757 3.2 and 3.3 allow, none of them can come back.
///
/// What is left out, and why no relay could do better:
/// - the relay's own addresses, which only the box may use, and to which errors are its own;
/// - sources to which nothing may be sent: multicast and link-local ones (RFC 1122 3.2.2, RFC 4443 2.4 e, RFC 3927 7),
///   and the dummy address 192.0.0.8, which RFC 7600 and the registry of RFC 6890 allow as a source only;
/// - rows that give a host, or the router, an IPv6 address that no host can have (RFC 4291 2.4), as one for ::/1 does;
/// - sources and destinations the operator denies, or does not serve, in the direction of the error;
/// - an Edge Relay whose rows also map the router: the error then has a source that belongs behind the Edge Relay
///   (RFC 7756 3), and does not come from the IPv6 network.
fn comes_home(world: &World, input: &Ip, sent: &Ip, way: Way) -> bool {
    let to_v4 = |address: IpAddr| world.to_v4(v6(address)).map(IpAddr::V4);
    let own = [IpAddr::V4(world.own4), IpAddr::V6(world.own6)];
    let odd = |address: &IpAddr| match address {
        IpAddr::V4(address) => {
            address.is_multicast() || address.is_link_local() || *address == Ipv4Addr::new(192, 0, 0, 8)
        }
        // What `check` does not let an EAM say.
        IpAddr::V6(address) => {
            address.is_multicast()
                || address.is_unicast_link_local()
                || address.to_bits() <= 1
                || address.to_ipv4_mapped().is_some()
                || address.to_bits() >> 100 == 0x200_1001
        }
    };
    // Nobody but the box has its addresses, and nobody a link-local one beyond its link.
    if own.contains(&sent.source)
        || own.contains(&input.source)
        || odd(&input.source)
        || odd(&sent.source)
        || odd(&sent.destination)
    {
        return false;
    }
    // A row wide enough to map the router as well gives it an address that no host can have on its way back.
    let mapped = naive::eam_to_v4(&world.eams, ROUTER_V6);
    let router = mapped.and_then(|address| naive::eam_to_v6(&world.eams, address));
    if way == Way::Turned && router.is_some_and(|address| odd(&IpAddr::V6(address))) {
        return false;
    }
    // Or one of the Edge Relay's own.
    if world.settings.role == Role::EdgeRelay && world.to_v4(ROUTER_V6).is_some() {
        return false;
    }
    match way {
        Way::Up => {
            let denied = |address: IpAddr| world.denylist.iter().any(|net| net.contains(&v4(address)));
            to_v4(sent.source) == Some(input.source)
                && to_v4(sent.destination) == Some(input.destination)
                && !denied(input.source)
                && !denied(input.destination)
        }
        Way::Down => {
            let source = v4(sent.source);
            let has_eam = naive::eam_to_v6(&world.eams, source).is_some();
            let served = has_eam || world.translatable_pools.iter().any(|pool| pool.contains(&source));
            let destination = expect::quoted_destination_up(world, Way::Up, v4(sent.destination));
            let denied = |address| world.denylist.iter().any(|net| net.contains(&address));
            served
                && (has_eam || !denied(source))
                && !denied(v4(sent.destination))
                && IpAddr::V6(world.to_v6(source)) == input.source
                && IpAddr::V6(destination) == input.destination
        }
        Way::Turned => {
            let (Some(source), Some(destination)) =
                (world.to_v4(v6(input.source)), world.to_v4(v6(input.destination)))
            else {
                return false;
            };
            let quoted = expect::quoted_destination_up(world, Way::Turned, destination);
            // A row for all of IPv4 makes no mapped host, whose errors would turn round as its packets do.
            let mapped =
                |eam: &&dataplane::table::eam::Eam| eam.ipv4.prefix_len() > 0 && eam.ipv4.contains(&source);
            world.eams.iter().any(|eam| mapped(&eam))
                && naive::eam_to_v6(&world.eams, source).map(IpAddr::V6) == Some(input.source)
                && IpAddr::V6(quoted) == input.destination
                && to_v4(sent.source) == Some(IpAddr::V4(source))
                && to_v4(sent.destination) == Some(IpAddr::V4(destination))
                && naive::eam_to_v4(&world.eams, v6(sent.source)).is_none()
        }
    }
}

/// An ICMP error about a packet, and how many bytes of it behind its headers are quoted.
fn error_about(world: &World, sent: &[u8], read: &Ip, state: &mut u64) -> (Vec<u8>, usize) {
    let least = if read.family == 4 { 28 } else { 48 };
    let most = sent.len().min(1232).max(least);
    let length = match below(state, 4) {
        0 => least,
        1 => least + below(state, 32),
        2 => most,
        _ => least + below(state, most - least + 1),
    };
    let mut quote = sent[..length.min(sent.len())].to_vec();
    // On its way here the packet has lost some of its TTL.
    quote[if read.family == 4 { 8 } else { 7 }] = 1;
    let shown = quote.len().saturating_sub(read.headers);
    let error = if read.family == 4 {
        let messages: [(u8, u8, [u8; 4]); 8] = [
            (3, 0, [0; 4]),
            (3, 1, [0; 4]),
            (3, 3, [0; 4]),
            (3, 4, [0, 0, 2, 64]),
            (3, 13, [0; 4]),
            (11, 0, [0; 4]),
            (11, 1, [0; 4]),
            (12, 0, [8, 0, 0, 0]),
        ];
        let router = Ipv4Addr::new(9, 9, 9, 9);
        let host = world.settings.role == Role::EdgeRelay || below(state, 3) == 0;
        let from = if host { v4(read.destination) } else { router };
        icmp_v4(from, v4(read.source), messages[below(state, 8)], &quote)
    } else {
        let messages: [(u8, u8, [u8; 4]); 7] = [
            (1, 0, [0; 4]),
            (1, 3, [0; 4]),
            (1, 4, [0; 4]),
            (2, 0, [0, 0, 5, 0]),
            (3, 0, [0; 4]),
            (3, 1, [0; 4]),
            (4, 0, [0, 0, 0, 7]),
        ];
        icmp_v6(ROUTER_V6, v6(read.source), messages[below(state, 7)], &quote)
    };
    (error, shown)
}

fn icmp_v4(from: Ipv4Addr, to: Ipv4Addr, (kind, code, rest): (u8, u8, [u8; 4]), quote: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(quote);
    let checksum = (!naive::sum(&message)).to_be_bytes();
    message[2..4].copy_from_slice(&checksum);
    let length = u16::try_from(20 + message.len()).expect("a short packet").to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 7, 0, 0, 60, 1, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    let checksum = (!naive::sum(&packet)).to_be_bytes();
    packet[10..12].copy_from_slice(&checksum);
    packet.extend(message);
    packet
}

fn icmp_v6(from: Ipv6Addr, to: Ipv6Addr, (kind, code, rest): (u8, u8, [u8; 4]), quote: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(quote);
    let length = u16::try_from(message.len()).expect("a short packet").to_be_bytes();
    let mut pseudo = [from.octets(), to.octets()].concat();
    pseudo.extend([0, 0, length[0], length[1], 0, 0, 0, 58]);
    pseudo.extend(&message);
    let checksum = (!naive::sum(&pseudo)).to_be_bytes();
    message[2..4].copy_from_slice(&checksum);
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], 58, 60];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(message);
    packet
}

/// The error went to the sender, and speaks of what the sender has sent.
fn home(
    world: &World,
    input: &Ip,
    sent: &Ip,
    way: Way,
    back: &Run,
    shown: usize,
    met: &mut Met,
) -> Result<(), String> {
    if matches!(back.end, End::Forwarded(walk::Way::Native)) {
        // Sent with the source of a mapped host, which routing finds without the relay.
        let mapped = way == Way::Up && naive::eam_to_v4(&world.eams, v6(sent.source)).is_some();
        met.native += 1;
        return if mapped { Ok(()) } else { Err("left to routing".into()) };
    }
    if !matches!(back.end, End::Forwarded(_)) || back.out.len() != 1 {
        return Err("lost".into());
    }
    let error = Ip::read(&back.out[0], Reading::Sent { fragment: false })?;
    let quote = Quote::of(&error, &error.payload)?.ip;
    if error.destination != input.source {
        return Err(format!("went to {}, not to {}", error.destination, input.source));
    }
    if (quote.source, quote.destination) != (input.source, input.destination) {
        return Err(format!("names {} and {}", quote.source, quote.destination));
    }
    if quote.protocol != input.protocol {
        return Err(format!("names protocol {}, not {}", quote.protocol, input.protocol));
    }
    let offset = |ip: &Ip| ip.fragment.map_or(0, |fragment| fragment.offset);
    let start = offset(sent) - offset(input);
    let names = match input.protocol {
        // Ports.
        6 | 17 => 0..4,
        // Identifier and sequence number.
        1 | 58 => 4..8,
        _ => 0..8,
    };
    let end = names.end.min(shown).min(input.payload.len().saturating_sub(start));
    if start == 0 && offset(input) == 0 && names.start < end {
        let (was, is) = (&input.payload[names.start..end], quote.payload.get(names.start..end));
        if is != Some(was) {
            return Err(format!("names {is:02x?}, not {was:02x?}"));
        }
    }
    Ok(())
}
