//! One packet through the relay, and everything that must be true of what comes out.

use dataplane::buffer::Buffer;
use dataplane::counters::Event;
use dataplane::table::translation::{IcmpErrors, IcmpSourceExtension, UdpZeroChecksum};
use dataplane::walk::{self, End};

use super::Judgement;
use super::expect::{self, Quote, Way, is_icmp, is_icmp_error, v4, v6};
use super::naive::{self, Fragment, Ip, Reading, Transport, reassemble, same_sum, word};
use super::relay::{Relay, Run};
use super::world::World;

/// Several packets are the fragments of one, in order.
pub fn packets(world: &World, mut relay: Relay, packets: &[Vec<u8>]) -> Judgement {
    let mut translated = Vec::new();
    for packet in packets {
        let run = relay.run(packet);
        let out = one(world, packet, &run)?;
        same_again(world, relay.twin(world), packet, &run)?;
        translated.extend(out);
    }
    if packets.len() > 1 && translated.len() == packets.len() {
        datagram(packets, &translated)?;
    }
    Ok(())
}

/// Judges one run; the packet that came out, put together, if it was translated.
pub fn one(world: &World, packet: &[u8], run: &Run) -> Result<Option<Ip>, String> {
    conserved(run)?;
    match &run.end {
        End::Forwarded(walk::Way::Native) => {
            ensure!(run.out.is_empty(), "native packets are not forwarded here")
        }
        End::Punted(buffer, _) => {
            ensure!(run.out.is_empty(), "punted and sent");
            ensure!(packet.starts_with(buffer.data()), "punted packet was changed");
        }
        End::Dropped { answered: false, .. } => ensure!(run.out.is_empty(), "dropped and sent"),
        End::Dropped { answered: true, .. } => answer(world, packet, &run.out)?,
        End::Forwarded(way) => {
            let input =
                Ip::read(packet, Reading::Received).map_err(|why| format!("translated although: {why}"))?;
            let way = match (way, input.family) {
                (walk::Way::Hairpinned, _) => Way::Turned,
                (_, 4) => Way::Up,
                _ => Way::Down,
            };
            return translated(world, &input, way, &run.out).map(Some);
        }
    }
    Ok(None)
}

/// Every packet is counted once, and so is every packet that was added.
fn conserved(run: &Run) -> Judgement {
    let counts = &run.counts;
    let (kept, translated, turned) = match &run.end {
        End::Forwarded(walk::Way::Native) | End::Punted(..) => (1, 0, 0),
        End::Forwarded(walk::Way::Translated) => (0, 1, 0),
        End::Forwarded(walk::Way::Hairpinned) => (0, 0, 1),
        End::Dropped { .. } => (0, 0, 0),
    };
    let out = run.out.len() as u64;
    ensure!(
        1 + counts.originated() == out + kept + counts.dropped(),
        "{out} sent, {} originated, {} dropped, ended {:?}",
        counts.originated(),
        counts.dropped(),
        run.end
    );
    if matches!(run.end, End::Dropped { .. }) {
        return Ok(());
    }
    let counted = counts.event(Event::TranslatedV4ToV6) + counts.event(Event::TranslatedV6ToV4);
    ensure!(counted == translated, "{counted} translations counted, not {translated}");
    ensure!(counts.event(Event::Hairpinned) == turned, "hairpins are counted wrongly");
    let cut = u64::from(out > 1);
    ensure!(counts.event(Event::FragmentedPackets) == cut, "fragmented packets are counted wrongly");
    Ok(())
}

/// A second relay does the same but for what is random.
fn same_again(world: &World, mut twin: Relay, packet: &[u8], run: &Run) -> Judgement {
    if world.random_source {
        return Ok(());
    }
    let again = twin.run(packet);
    let limited = matches!(world.settings.icmp_errors, IcmpErrors::Limit(_)) && run.out != again.out;
    let fixed = |out: &Vec<Vec<u8>>| out.iter().map(|packet| without_id(packet)).collect::<Vec<_>>();
    ensure!(limited || fixed(&run.out) == fixed(&again.out), "another relay makes something else of it");
    Ok(())
}

fn without_id(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

/// A datagram that came in fragments has a right checksum after if and only if it had one before.
fn datagram(packets: &[Vec<u8>], translated: &[Ip]) -> Judgement {
    let inputs: Result<Vec<Ip>, String> =
        packets.iter().map(|packet| Ip::read(packet, Reading::Received)).collect();
    let inputs = inputs?;
    let before = reassemble(&inputs, None)?;
    if !matches!(before.protocol, 6 | 17) {
        return Ok(());
    }
    let after =
        reassemble(translated, None).map_err(|why| format!("the fragments do not fit together: {why}"))?;
    let (was, is) = (before.transport(), after.transport());
    ensure!(was == is, "reassembled checksum was {was:?} and is {is:?}");
    Ok(())
}

/// Judges what one translated packet became.
fn translated(world: &World, input: &Ip, way: Way, out: &[Vec<u8>]) -> Result<Ip, String> {
    ensure!(!out.is_empty(), "translated into nothing");
    ensure!(input.ttl > 1, "TTL {} was translated", input.ttl);
    let fragment = way != Way::Down && (input.is_piece() || out.len() > 1);
    let pieces: Result<Vec<Ip>, String> =
        out.iter().map(|packet| Ip::read(packet, Reading::Sent { fragment })).collect();
    let pieces = pieces?;
    let open = open(input);
    let whole =
        if pieces.len() > 1 || open.is_some() { reassemble(&pieces, open)? } else { pieces[0].clone() };
    ensure!(whole.family == way.family(), "IPv{} left the relay", whole.family);
    head(world, input, &whole, way)?;
    sizes(world, input, way, &pieces)?;
    identification(input, &pieces[0], way)?;
    if is_icmp(input) && is_icmp_error(input) {
        error(world, input, &whole, way)?;
    } else {
        content(world, input, &whole, way)?;
    }
    Ok(whole)
}

/// Where the packet itself belongs, as far as the other family can say.
fn open(input: &Ip) -> Option<Fragment> {
    let fragment = input.fragment.filter(|_| input.is_piece())?;
    Some(Fragment { id: fragment.id & 0xffff, ..fragment })
}

fn head(world: &World, input: &Ip, whole: &Ip, way: Way) -> Judgement {
    ensure!(whole.ttl == input.ttl - 1, "TTL {} became {}", input.ttl, whole.ttl);
    ensure!(whole.flow_label == 0, "flow label {}", whole.flow_label);
    ensure!(!whole.extras, "options in a translated packet");
    let tos = expect::tos(world, way, input.tos);
    ensure!(whole.tos == tos, "TOS {} became {}, not {tos}", input.tos, whole.tos);
    let protocol = expect::protocol(way, input.protocol);
    ensure!(whole.protocol == protocol, "protocol {} became {}", input.protocol, whole.protocol);
    addresses(world, input, whole, way)
}

fn addresses(world: &World, input: &Ip, whole: &Ip, way: Way) -> Judgement {
    let quoted = quoted_destination(world, input);
    let is_error = quoted.is_some();
    if way == Way::Up {
        let source = expect::source_up(world, way, v4(input.source), quoted);
        ensure!(whole.source == source, "source {} became {}, not {source}", input.source, whole.source);
        let destination = world.to_v6(v4(input.destination));
        ensure!(whole.destination == destination, "destination is {}, not {destination}", whole.destination);
        return Ok(());
    }
    let destination = world.to_v4(v6(input.destination)).ok_or("an unmapped destination was translated")?;
    let source = world.to_v4(v6(input.source));
    ensure!(source.is_some() || is_error, "an unmapped source was translated");
    if way == Way::Down {
        ensure!(whole.destination == destination, "destination is {}, not {destination}", whole.destination);
        match source {
            Some(source) => ensure!(whole.source == source, "source is {}, not {source}", whole.source),
            None => ensure!(world.is_icmp_source(v4(whole.source)), "{} is not in the pool", whole.source),
        }
        return Ok(());
    }
    let turned = naive::eam_to_v6(&world.eams, destination).ok_or("turned round to an unmapped address")?;
    ensure!(whole.destination == turned, "destination is {}, not {turned}", whole.destination);
    match source {
        Some(source) => {
            let source = expect::source_up(world, way, source, quoted);
            ensure!(whole.source == source, "source is {}, not {source}", whole.source);
        }
        // Picked from a pool that the prefix cannot carry all of.
        None if whole.source == world.own6 && world.denies_an_icmp_source() => {}
        None => {
            let source = world.to_v4(v6(whole.source));
            ensure!(
                source.is_some_and(|source| world.is_icmp_source(source)),
                "{source:?} is not in the pool"
            );
        }
    }
    Ok(())
}

/// The IPv4 form of the destination an ICMP error quotes; none for anything else.
fn quoted_destination(world: &World, input: &Ip) -> Option<std::net::Ipv4Addr> {
    if !is_icmp_error(input) {
        return None;
    }
    let quote = Quote::of(input, &input.payload).ok()?;
    match quote.ip.destination {
        std::net::IpAddr::V4(destination) => Some(destination),
        std::net::IpAddr::V6(destination) => world.to_v4(destination),
    }
}

/// Nothing is larger than the link, or than the path the packet may not be fragmented on; and packets are cut only
/// where they must be, into as few pieces as possible.
fn sizes(world: &World, input: &Ip, way: Way, pieces: &[Ip]) -> Judgement {
    let link = usize::from(if way == Way::Down { world.mtu4 } else { world.mtu6 });
    let whole_length = 20 + input.payload.len();
    // The IPv4 form: what arrived, or what the hairpin passes through (RFC 7915 5.1).
    let dont_fragment = match way {
        Way::Up => input.dont_fragment && (!input.is_piece() || world.settings.respect_fragment_df),
        Way::Down | Way::Turned => input.fragment.is_none() && whole_length > 1260,
    };
    let limit = match way {
        Way::Down => link,
        _ if dont_fragment => link,
        _ => link.min(usize::from(world.settings.lowest_ipv6_mtu)),
    };
    let is_error = is_icmp_error(input);
    let largest = if is_error { link } else { limit };
    for piece in pieces {
        ensure!(piece.length <= largest, "{} bytes on a path for {largest}", piece.length);
    }
    if is_error {
        return Ok(());
    }
    let overhead = if way == Way::Down { 20 } else { 48 };
    let uncut = match way {
        Way::Down => whole_length,
        _ if input.is_piece() => 48 + input.payload.len(),
        _ => 40 + input.payload.len(),
    };
    let number = if uncut <= limit { 1 } else { input.payload.len().div_ceil((limit - overhead) & !7) };
    ensure!(pieces.len() == number, "{} pieces, not {number}", pieces.len());
    ensure!(number == 1 || !dont_fragment, "a packet was cut that may not be");
    let flagged = way == Way::Down && dont_fragment;
    ensure!(pieces.iter().all(|piece| piece.dont_fragment == flagged), "DF is not {flagged}");
    Ok(())
}

/// RFC 7915 4.1, 5.1 and 5.1.1.
fn identification(input: &Ip, first: &Ip, way: Way) -> Judgement {
    let id = first.fragment.map_or(u32::from(first.id), |fragment| fragment.id);
    let expected = match (way, input.fragment) {
        (Way::Up, _) if first.fragment.is_some() => u32::from(input.id),
        (Way::Down | Way::Turned, Some(fragment)) if way == Way::Down || first.fragment.is_some() => {
            fragment.id & 0xffff
        }
        (Way::Down, None) if !first.dont_fragment => {
            ensure!(id != 0, "identification 0 in a packet that may be fragmented");
            return Ok(());
        }
        _ => return Ok(()),
    };
    ensure!(id == expected, "identification {id}, not {expected}");
    Ok(())
}

/// The payload of anything but an ICMP error: the same, but for a checksum that is as right as before.
fn content(world: &World, input: &Ip, whole: &Ip, way: Way) -> Judgement {
    if is_icmp(input) {
        return echo(input, whole, way);
    }
    if way == Way::Turned && input.protocol == 1 {
        // Without the guard it is taken for ICMPv4 half way.
        return Ok(());
    }
    let at = input.checksum_at().filter(|_| matches!(input.protocol, 6 | 17));
    let blank = |ip: &Ip| {
        let mut payload = ip.payload.clone();
        if let Some(at) = at {
            payload[at..at + 2].fill(0);
        }
        payload
    };
    ensure!(input.payload.len() == whole.payload.len(), "the payload has another length");
    ensure!(blank(input) == blank(whole), "the payload was changed");
    if at.is_none() {
        return Ok(());
    }
    if input.protocol == 17 && input.checksum() == Some(0) {
        return no_checksum(world, input, whole, way);
    }
    ensure!(input.protocol != 17 || whole.checksum() != Some(0), "a UDP checksum became none");
    let (before, after) = (input.invariant(), whole.invariant());
    let same = before.zip(after).is_some_and(|(before, after)| same_sum(before, after));
    ensure!(same, "the checksum does not follow the addresses");
    let (was, is) = (input.transport(), whole.transport());
    ensure!(was == is, "the checksum was {was:?} and is {is:?}");
    Ok(())
}

/// RFC 7915 4.5; a zero from IPv6 stays zero (5.5).
fn no_checksum(world: &World, input: &Ip, whole: &Ip, way: Way) -> Judgement {
    let policy = world.settings.udp_zero_checksum;
    let computed = way != Way::Down && policy == UdpZeroChecksum::Compute;
    ensure!(way == Way::Down || policy != UdpZeroChecksum::Drop, "UDP without checksum was to be dropped");
    ensure!(!computed || !input.is_piece(), "a checksum was computed for a fragment");
    let is = whole.transport();
    let right = if computed { is == Transport::Good } else { whole.checksum() == Some(0) };
    ensure!(right, "UDP without checksum became {is:?}");
    Ok(())
}

fn echo(input: &Ip, whole: &Ip, way: Way) -> Judgement {
    ensure!(!input.is_piece(), "fragmented ICMP was translated");
    let (kind, code, _) =
        expect::message(way, &input.payload).ok_or("an ICMP message without translation passed")?;
    ensure!(whole.payload[..2] == [kind, code], "type and code are {:?}", &whole.payload[..2]);
    ensure!(whole.payload[4..] == input.payload[4..], "the echo was changed");
    let (was, is) = (input.transport(), whole.transport());
    ensure!(was == is, "the ICMP checksum was {was:?} and is {is:?}");
    Ok(())
}

/// A translated ICMP error: message, quote, extension and checksum.
fn error(world: &World, input: &Ip, whole: &Ip, way: Way) -> Judgement {
    ensure!(!input.is_piece(), "fragmented ICMP was translated");
    ensure!(way == Way::Down || whole.length <= 1280, "an ICMPv6 error of {} bytes", whole.length);
    let (was, is) = (input.transport(), whole.transport());
    ensure!(was == is, "the ICMP checksum was {was:?} and is {is:?}");
    let (kind, code, pointer) =
        expect::message(way, &input.payload).ok_or("an ICMP error without translation passed")?;
    let message = &whole.payload;
    ensure!(message[..2] == [kind, code], "type and code are {:?}, not {kind} {code}", &message[..2]);
    let before =
        Quote::of(input, &input.payload).map_err(|why| format!("translated although the quote: {why}"))?;
    if !world.settings.guard_protocols && matches!(before.ip.protocol, 0 | 1 | 43 | 44 | 58 | 60) {
        // It means something else in the other family, so the quote reads as something else.
        return Ok(());
    }
    let after = Quote::written(whole, message).map_err(|why| format!("the quote: {why}"))?;
    second_word(world, input, &before, message, way, pointer)?;
    quote(world, &before, &after, message, way)?;
    extension(world, input, whole, &before, &after, way)
}

fn second_word(
    world: &World,
    input: &Ip,
    before: &Quote<'_>,
    message: &[u8],
    way: Way,
    pointer: Option<u8>,
) -> Judgement {
    let (high, low) = (word(message, 4), word(message, 6));
    let reported = word(&input.payload, 4) << 16 | word(&input.payload, 6);
    match (way.family(), message[0], message[1]) {
        (6, 2, _) if way == Way::Up => {
            let mtu = expect::mtu_up(world, reported & 0xffff, before.ip.length);
            ensure!(high << 16 | low == mtu, "MTU {low}, not {mtu}");
        }
        (6, 2, _) => ensure!(high == 0 && (1280..=usize::from(world.mtu6)).contains(&low), "MTU {low}"),
        (4, 3, 4) => {
            let mtu = expect::mtu_down(world, reported, before.ip.fragment.is_some());
            ensure!(low == mtu && message[4] == 0, "MTU {low}, not {mtu}");
        }
        (6, 4, _) => ensure!(high << 16 | low == usize::from(pointer.unwrap_or(0)), "pointer {low}"),
        (4, 12, _) => ensure!(Some(message[4]) == pointer && low == 0, "pointer {}", message[4]),
        (6, _, _) => ensure!(message[5..8] == [0; 3], "the unused word is not zero"),
        _ => ensure!(message[4] == 0 && low == 0, "the unused word is not zero"),
    }
    Ok(())
}

/// RFC 7915 4.3 and 5.3: the quoted packet is translated like any other, but its TTL stays.
fn quote(world: &World, before: &Quote<'_>, after: &Quote<'_>, message: &[u8], way: Way) -> Judgement {
    let (old, new) = (&before.ip, &after.ip);
    ensure!(new.family == way.family(), "IPv{} is quoted", new.family);
    ensure!(new.ttl == old.ttl, "quoted TTL {} became {}", old.ttl, new.ttl);
    ensure!(new.tos == expect::tos(world, way, old.tos), "quoted TOS {}", new.tos);
    ensure!(new.protocol == expect::protocol(way, old.protocol), "quoted protocol {}", new.protocol);
    ensure!(!new.extras, "the quote has options");
    let piece = |ip: &Ip| ip.fragment.filter(|_| ip.is_piece()).map(|f| (f.offset, f.more, f.id & 0xffff));
    ensure!(piece(new) == piece(old), "quoted fragment {:?} became {:?}", old.fragment, new.fragment);
    if new.family == 4 {
        ensure!(naive::sum(&message[8..28]) == 0xffff, "quoted header checksum is wrong");
    }
    let sent = old.payload_length().min(0xffff - 8);
    ensure!(
        new.payload_length().min(0xffff - 8) == sent,
        "quoted length {} became {}",
        sent,
        new.payload_length()
    );
    quoted_addresses(world, old, new, way)?;
    // Cut to make room for an extension on the way, then padded for it.
    let padding = if way == Way::Turned && !after.extension.is_empty() { 8 } else { 0 };
    quoted_payload(old, new, padding)
}

fn quoted_addresses(world: &World, old: &Ip, new: &Ip, way: Way) -> Judgement {
    let down = |address| world.to_v4(v6(address)).ok_or("an unmapped address is quoted");
    let (source, destination) = match way {
        Way::Up => (v4(old.source), v4(old.destination)),
        _ => (down(old.source)?, down(old.destination)?),
    };
    if way == Way::Down {
        ensure!(new.source == source, "quoted source {}, not {source}", new.source);
        ensure!(new.destination == destination, "quoted destination {}, not {destination}", new.destination);
        return Ok(());
    }
    let source = world.to_v6(source);
    let destination = expect::quoted_destination_up(world, way, destination);
    ensure!(new.source == source, "quoted source {}, not {source}", new.source);
    ensure!(new.destination == destination, "quoted destination {}, not {destination}", new.destination);
    Ok(())
}

/// As much of the payload as is quoted, the same but for its checksum and an echo's type.
fn quoted_payload(old: &Ip, new: &Ip, padding: usize) -> Judgement {
    let needed = match old.protocol {
        6 => 18,
        17 => 8,
        1 | 58 => 4,
        _ => 0,
    };
    let first = old.fragment.is_none_or(|fragment| fragment.offset == 0);
    if first && old.payload_length() < needed {
        // Its checksum is beyond its own end, so nobody can have sent it.
        return Ok(());
    }
    let common = old.payload.len().min(new.payload.len()).saturating_sub(padding);
    let (mut was, mut is) = (old.without_checksum(), new.without_checksum());
    was.truncate(common);
    is.truncate(common);
    if is_icmp(old) && common > 0 {
        was[0] = is[0];
    }
    if old.checksum_at() == new.checksum_at() {
        ensure!(was == is, "the quoted payload was changed");
    }
    if old.protocol == 17 && old.checksum() == Some(0) {
        ensure!(new.checksum().is_none_or(|field| field == 0), "a quoted UDP packet got a checksum");
    } else if let (6 | 17, Some(before), Some(after)) = (old.protocol, old.invariant(), new.invariant()) {
        ensure!(same_sum(before, after), "the quoted checksum does not follow the addresses");
    }
    Ok(())
}

/// RFC 4884: an extension passes as it is, or not at all; RFC 6791 4 adds one.
fn extension(
    world: &World,
    input: &Ip,
    whole: &Ip,
    before: &Quote<'_>,
    after: &Quote<'_>,
    way: Way,
) -> Judgement {
    let limit = if way == Way::Down { usize::from(world.mtu4).min(576) } else { 1280 };
    ensure!(whole.length <= limit, "{} bytes where {limit} fit", whole.length);
    if !after.extension.is_empty() && after.extension != before.extension {
        let class = match world.settings.icmp_source_extension {
            IcmpSourceExtension::Off => return Err("an extension from nowhere".into()),
            IcmpSourceExtension::NodeId => 5,
            IcmpSourceExtension::Rfc5837 => 2,
        };
        ensure!(world.to_v4(v6(input.source)).is_none(), "the source of a mapped host is named");
        let old = before.extension.len().max(4);
        ensure!(before.extension.is_empty() || class == 5, "an extension was replaced");
        ensure!(after.extension.len() == old + 24, "an extension of {} bytes", after.extension.len());
        let unsummed = word(after.extension, 2) == 0 && !before.extension.is_empty();
        ensure!(unsummed || naive::sum(after.extension) == 0xffff, "the extension's checksum is wrong");
        let object = &after.extension[old..];
        ensure!(object[..8] == [0, 24, class, 4, 0, 2, 0, 0], "another object: {object:02x?}");
        ensure!(object[8..] == naive::octets(input.source), "somebody else is named");
        if let Some(kept) = before.extension.get(4..) {
            ensure!(kept == &after.extension[4..old], "the objects before it were changed");
        }
    }
    if !after.extension.is_empty() {
        ensure!(after.length >= 128, "an extension behind {} bytes", after.length);
    }
    // What stands behind the datagram as its header tells it is padding, which may go with its extension.
    let told = before.ip.length.saturating_sub(before.ip.headers).min(before.ip.payload.len());
    let cut = told.saturating_sub(after.ip.payload.len());
    let room = limit - whole.length;
    // The IPv4 message a hairpin passes through made room for an extension that does not survive the way back.
    let extended = way == Way::Turned
        && (!before.extension.is_empty() || world.settings.icmp_source_extension != IcmpSourceExtension::Off);
    ensure!(cut == 0 || room < 8 || extended, "{cut} bytes of the quote were cut with {room} to spare");
    Ok(())
}

/// Judges an ICMP error the relay made itself.
fn answer(world: &World, packet: &[u8], out: &[Vec<u8>]) -> Judgement {
    ensure!(out.len() == 1, "{} ICMP errors about one packet", out.len());
    ensure!(world.settings.icmp_errors != IcmpErrors::Off, "ICMP errors are off");
    let input = Ip::read(packet, Reading::Received).map_err(|why| format!("answered although: {why}"))?;
    let error = Ip::read(&out[0], Reading::Sent { fragment: false })?;
    ensure!(error.family == input.family, "the answer is IPv{}", error.family);
    ensure!(!error.is_piece() && is_icmp_error(&error), "the answer is no ICMP error");
    ensure!(error.destination == input.source, "the answer goes to {}", error.destination);
    let own = if input.family == 4 { world.own4.into() } else { std::net::IpAddr::V6(world.own6) };
    ensure!(error.source == own, "the answer comes from {}", error.source);
    ensure!(error.ttl == 64, "the answer has TTL {}", error.ttl);
    ensure!(error.transport() == Transport::Good, "the answer's checksum is wrong");
    let (largest, head) = if input.family == 4 { (576, 28) } else { (1280, 48) };
    let link = usize::from(if input.family == 4 { world.mtu4 } else { world.mtu6 });
    let quote = &packet[..input.length.min(largest.min(link) - head)];
    ensure!(&error.payload[8..] == quote, "the answer does not quote the packet as received");
    ensure!(error.length <= link, "an answer of {} bytes on a link of {link}", error.length);
    deserved(&input, &error)?;
    reported_mtu(world, &input, &error.payload)
}

/// RFC 1812 4.3.2.7, RFC 4443 2.4(e), RFC 7915 4.4 and 5.4.
fn deserved(input: &Ip, error: &Ip) -> Judgement {
    ensure!(!is_icmp_error(input), "an ICMP error was answered");
    ensure!(!input.destination.is_multicast() && !input.source.is_multicast(), "multicast was answered");
    ensure!(!input.source.is_unspecified() && !input.source.is_loopback(), "nobody was answered");
    if input.family == 4 {
        let later = input.fragment.is_some_and(|fragment| fragment.offset > 0);
        ensure!(!later, "a later fragment was answered");
        ensure!(!matches!(v4(input.source).octets()[0], 0 | 127 | 224..), "an illegal source was answered");
    } else if input.protocol == 58 {
        ensure!(error.payload[..2] != [1, 1], "prohibited was said about ICMPv6");
    }
    Ok(())
}

/// The MTU of the other side in this side's bytes (RFC 7915 4 and 5.1), so that the sender gets through with its
/// next packet; and what was too big must shrink.
fn reported_mtu(world: &World, input: &Ip, message: &[u8]) -> Judgement {
    let (mtu4, mtu6) = (usize::from(world.mtu4), usize::from(world.mtu6));
    let (mtu, expected) = match (input.family, message[0], message[1]) {
        (4, 3, 4) => (word(message, 6), [mtu6 - if input.is_piece() { 28 } else { 20 }; 2]),
        // Towards IPv4, or turned round.
        (6, 2, 0) => (word(message, 4) << 16 | word(message, 6), [(mtu4 + 20).max(1280), mtu6]),
        _ => return Ok(()),
    };
    ensure!(expected.contains(&mtu), "MTU {mtu} is reported, not {expected:?}");
    ensure!(mtu < input.length, "MTU {mtu} is reported about {} bytes", input.length);
    Ok(())
}
