//! There and back: what one relay translated, another with the same tables turns back into what it was, but for
//! what the RFCs give up: TTL, flow label, extension headers and options, DF, and the Identification of whole packets.

use std::net::{IpAddr, Ipv6Addr};

use dataplane::table::translation::{Hairpin, IcmpErrors, Role, UdpZeroChecksum};
use dataplane::walk::{self, End};

use super::Judgement;
use super::expect::{is_icmp, is_icmp_error, v4, v6};
use super::naive::{self, Fragment, Ip, Reading, Transport, reassemble, same_sum};
use super::relay::Relay;
use super::world::World;

pub fn packets(world: &World, mut relay: Relay, packets: &[Vec<u8>]) -> Judgement {
    packets.iter().try_for_each(|packet| one(world, &mut relay, packet))
}

fn one(world: &World, relay: &mut Relay, packet: &[u8]) -> Judgement {
    let run = relay.run(packet);
    let End::Forwarded(walk::Way::Translated) = run.end else {
        return Ok(());
    };
    let input = Ip::read(packet, Reading::Received)?;
    // RFC 7915 4.2 refuses IGMP, 5.2 does not know it.
    let igmp = input.family == 6 && input.protocol == 2;
    let odd = igmp || !world.settings.guard_protocols && matches!(input.protocol, 0 | 1 | 43 | 44 | 58 | 60);
    // What was cut on the way cannot come back if it is ICMP (RFC 7915 1.2).
    let cut_icmp = is_icmp(&input) && run.out.len() > 1;
    if input.ttl <= 2 || is_icmp_error(&input) || odd || cut_icmp {
        return Ok(());
    }
    // A place that exists in IPv6 and not in IPv4.
    let end = there_end(&input);
    if input.family == 4 && input.is_piece() && end > 0xffff - 20 {
        return Ok(());
    }
    let fragment = input.family == 4 && (input.is_piece() || run.out.len() > 1);
    let there = Ip::read(&run.out[0], Reading::Sent { fragment })?;
    let Some((back, source, destination)) = mirror(world, &there) else {
        return Ok(());
    };
    // RFC 7915 5.1.1 refuses these behind a Fragment header, 4.1 does not refuse to put them there.
    if there.is_piece() && matches!(there.protocol, 51 | 135 | 139 | 140) {
        return Ok(());
    }
    let mut relay = Relay::new(&back);
    let mut pieces = Vec::new();
    for packet in &run.out {
        let run = relay.run(packet);
        let End::Forwarded(walk::Way::Translated) = run.end else {
            return Err(format!("there, but not back: {:?} by\n{back:?}", run.end));
        };
        let fragment = input.family == 6 && (input.is_piece() || there.is_piece());
        for packet in &run.out {
            pieces.push(Ip::read(packet, Reading::Sent { fragment })?);
        }
    }
    let open = input
        .fragment
        .filter(|_| input.is_piece())
        .map(|fragment| Fragment { id: fragment.id & 0xffff, ..fragment });
    let whole =
        if pieces.len() > 1 || open.is_some() { reassemble(&pieces, open)? } else { pieces[0].clone() };
    ensure!((whole.source, whole.destination) == (source, destination), "back, but with other addresses");
    restored(&input, &whole, there.tos).map_err(|why| format!("there and back: {why}"))
}

/// A relay that takes the packet back, and the addresses it must come back with; none where no relay would.
fn mirror(world: &World, there: &Ip) -> Option<(World, IpAddr, IpAddr)> {
    let mut back = world.clone();
    back.settings.anti_spoof = false;
    back.settings.wkp_strict = false;
    back.settings.hairpin = Hairpin::Off;
    back.settings.udp_zero_checksum = UdpZeroChecksum::Forward;
    back.settings.icmp_errors = IcmpErrors::Off;
    back.settings.traffic_class = None;
    back.settings.type_of_service = None;
    back.settings.role = Role::BorderRelay;
    back.settings.lowest_ipv6_mtu = u16::MAX;
    back.settings.respect_fragment_df = true;
    (back.mtu4, back.mtu6) = (u16::MAX, u16::MAX);
    back.er_addresses.clear();
    back.denylist.clear();
    if there.family == 4 {
        let (source, destination) = (v4(there.source), v4(there.destination));
        if destination.is_link_local() || destination == world.own4 {
            return None;
        }
        back.translatable_pools = vec![ipnet::Ipv4Net::default()];
        let (source, destination) = (world.to_v6(source), world.to_v6(destination));
        if [source, destination].iter().any(is_odd) {
            return None;
        }
        return Some((back, source.into(), destination.into()));
    }
    let (source, destination) = (v6(there.source), v6(there.destination));
    let (source4, destination4) = (world.to_v4(source)?, world.to_v4(destination)?);
    if [source, destination].iter().any(is_odd)
        || destination == world.own6
        || never_forwarded(source4)
        || never_forwarded(destination4)
        || source4 == destination4
    {
        return None;
    }
    if naive::eam_to_v4(&world.eams, destination).is_some() {
        back.settings.role = Role::EdgeRelay;
        back.er_addresses = vec![destination.into()];
        // An Edge Relay refuses its own addresses as sources.
        if naive::eam_to_v6(&world.eams, source4) == Some(destination) || source == destination {
            return None;
        }
    }
    Some((back, source4.into(), destination4.into()))
}

/// Where the payload of a packet ends in its datagram.
fn there_end(ip: &Ip) -> usize {
    ip.fragment.map_or(0, |fragment| fragment.offset) + ip.payload.len()
}

/// RFC 6890, as far as the worlds go.
fn never_forwarded(address: std::net::Ipv4Addr) -> bool {
    match address.octets() {
        [0 | 127 | 224.., ..] | [169, 254, ..] => true,
        [192, 0, 0, last] => !matches!(last, 0..=7 | 9 | 10),
        _ => false,
    }
}

/// Nobody's address on another link, although an EAM may say so.
fn is_odd(address: &Ipv6Addr) -> bool {
    address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || address.to_ipv4_mapped().is_some()
        || address.to_bits() >> 100 == 0x200_1001
}

fn restored(input: &Ip, back: &Ip, tos: u8) -> Judgement {
    ensure!(back.family == input.family, "IPv{} came back", back.family);
    ensure!(back.ttl == input.ttl - 2, "TTL {} became {}", input.ttl, back.ttl);
    ensure!(back.tos == tos, "TOS {tos} became {}", back.tos);
    ensure!(back.protocol == input.protocol, "protocol {} became {}", input.protocol, back.protocol);
    ensure!(back.without_checksum() == input.without_checksum(), "the payload was changed");
    let computed = input.transport() == Transport::Zero && back.transport() == Transport::Good;
    ensure!(computed || back.transport() == input.transport(), "the checksum is {:?}", back.transport());
    let same_addresses = (back.source, back.destination) == (input.source, input.destination);
    if let (Some(was), Some(is), true, false) = (input.checksum(), back.checksum(), same_addresses, computed)
    {
        ensure!(same_sum(was, is), "checksum {was:04x} became {is:04x}");
    }
    Ok(())
}
