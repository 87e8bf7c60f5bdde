//! Floods of what the worker cannot finish by itself: next hops nobody answers for, punts of every class, expired packets.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::blast::Blast;
use super::stand::{ATTACKER4, ATTACKER6, SERVICE, SMALL_MTU, Stand};
use super::{Row, Scale};
use crate::lab::frame::{self, IPV4, IPV6};
use crate::lab::{LabError, RawLink, embedded};

const OWN4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x34, 0, 0, 0, 0xffff);
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const BROADCAST: [u8; 6] = [0xff; 6];
/// Questions asked during a flood.
const QUESTIONS: u8 = 10;

/// Everything at once to one next hop that does not exist.
pub(super) fn unresolved(scale: &Scale) -> Result<Vec<Row>, LabError> {
    let mut stand = Stand::up()?;
    let watch = stand.watch()?;
    let mac = stand.macs[1];
    let dead = embedded(Ipv4Addr::new(10, 9, 255, 254));
    let packet = frame::ipv6(ATTACKER6, dead, 17, 64, &frame::udp6(ATTACKER6, dead, 9, b"to nobody"));
    let packet = frame::ethernet(mac, STRANGER, IPV6, &packet);
    let storm = Blast::start(&stand.wires.attack6, "a6", None, move |_| packet.clone())?;
    std::thread::sleep(scale.time / 2);
    let answered = answers(&stand)?;
    std::thread::sleep(scale.time / 2);
    let name = format!("packets to one unresolved next hop, {}", storm.finish().rate());
    let mut rows = vec![row(&name, answered)];
    rows.extend(stand.judge(&name, watch)?);
    Ok(rows)
}

/// ARP questions to the relay, each answered by its kernel.
fn answers(stand: &Stand) -> Result<u8, LabError> {
    let mut wire = RawLink::open(&stand.wires.attack4, "a4")?;
    let mut answered = 0;
    for number in 1..=QUESTIONS {
        let asker = Ipv4Addr::new(203, 0, 113, 100 + number);
        wire.send(&arp_request(wire.mac(), asker, OWN4));
        answered += u8::from(wire.listen(Duration::from_secs(2), |frame| {
            frame[12..14] == [8, 6] && frame[21] == 2 && frame.get(38..42) == Some(&asker.octets()[..])
        }));
    }
    Ok(answered)
}

fn row(storm: &str, answered: u8) -> Row {
    Row {
        storm: storm.into(),
        witness: format!("{QUESTIONS} ARP requests for the relay"),
        limit: "each answered within 2 s".into(),
        measured: format!("{answered} answered"),
        held: answered == QUESTIONS,
    }
}

fn arp_request(mac: [u8; 6], asker: Ipv4Addr, wanted: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let body = [&head[..], &mac, &asker.octets(), &[0; 6], &wanted.octets(), &[0; 18]].concat();
    frame::ethernet(BROADCAST, mac, 0x0806, &body)
}

/// One class of punts: its name, the attacked port, and its n-th frame.
type Class = (&'static str, usize, fn(u64, [u8; 6]) -> Vec<u8>);

const CLASSES: &[Class] = &[
    ("ARP", 0, |number, _| {
        let [.., c, d] = number.to_be_bytes();
        arp_request(STRANGER, Ipv4Addr::new(203, 0, 113, d.max(60)), Ipv4Addr::new(203, 0, 113, c))
    }),
    ("neighbour solicitations", 1, |number, _| {
        let source = Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x34, 9, 9, 9, (number & 0xffff) as u16);
        let body = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &OWN6.octets(), &[1, 1], &STRANGER].concat();
        let body = icmpv6(source, OWN6, body);
        frame::ethernet(
            [0x33, 0x33, 0xff, 0, 0xff, 0xff],
            STRANGER,
            IPV6,
            &frame::ipv6(source, OWN6, 58, 255, &body),
        )
    }),
    ("OSPF hellos", 0, |number, _| {
        let hello = frame::ospf_hello(ATTACKER4, (number & 0xffff_ffff) as u32);
        frame::ethernet([1, 0, 0x5e, 0, 0, 5], STRANGER, IPV4, &hello)
    }),
    ("UDP to the relay's address", 0, |_, mac| {
        let packet = frame::ipv4(ATTACKER4, OWN4, 17, 64, &frame::udp4(ATTACKER4, OWN4, 9, b"probe"));
        frame::ethernet(mac, STRANGER, IPV4, &packet)
    }),
    ("TCP to the BGP port", 0, |number, mac| {
        let [.., c, d] = number.to_be_bytes();
        let segment = [&[c, d, 0, 179][..], &[0; 8], &[0x50, 2, 0xff, 0xff, 0, 0, 0, 0]].concat();
        frame::ethernet(mac, STRANGER, IPV4, &frame::ipv4(ATTACKER4, OWN4, 6, 64, &segment))
    }),
    ("multicast DNS", 0, |_, _| {
        let group = Ipv4Addr::new(224, 0, 0, 251);
        let packet = frame::ipv4(ATTACKER4, group, 17, 255, &frame::udp4(ATTACKER4, group, 5353, b"who"));
        frame::ethernet([1, 0, 0x5e, 0, 0, 251], STRANGER, IPV4, &packet)
    }),
    ("LLDP", 0, |_, _| {
        frame::ethernet([1, 0x80, 0xc2, 0, 0, 0x0e], STRANGER, frame::LLDP, &[2, 7, 4, 2, 0, 0, 0, 0, 1])
    }),
    ("an unknown VLAN", 0, |_, mac| frame::ethernet(mac, STRANGER, 0x8100, &[0, 77, 8, 0, 0x45, 0, 0, 20])),
    ("frames for another MAC", 0, |_, _| {
        let packet = frame::ipv4(ATTACKER4, SERVICE, 17, 64, &frame::udp4(ATTACKER4, SERVICE, 9, b"stray"));
        frame::ethernet([2, 0xee, 0, 0, 0, 1], STRANGER, IPV4, &packet)
    }),
];

fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, mut body: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    let parts: [&[u8]; 5] = [&source.octets(), &destination.octets(), &[0, 0], &length, &[0, 0, 0, 58]];
    let sum = frame::checksum(&[&parts.concat(), &body]).to_be_bytes();
    body[2..4].copy_from_slice(&sum);
    body
}

/// Every class at the full rate of one sender, one after the other.
pub(super) fn punts(scale: &Scale) -> Result<Vec<Row>, LabError> {
    let mut rows = Vec::new();
    let mut stand = Stand::up()?;
    for (class, port, make) in CLASSES {
        let watch = stand.watch()?;
        let (host, interface) = [(&stand.wires.attack4, "a4"), (&stand.wires.attack6, "a6")][*port];
        let (mac, make) = (stand.macs[*port], *make);
        let storm = Blast::start(host, interface, None, move |number| make(number, mac))?;
        std::thread::sleep(scale.time);
        let name = format!("{class}, {}", storm.finish().rate());
        rows.extend(stand.judge(&name, watch)?);
    }
    Ok(rows)
}

/// Packets with TTL 1 from every address of the attacked link, and hosts that need path MTU discovery meanwhile.
pub(super) fn expired(scale: &Scale) -> Result<Vec<Row>, LabError> {
    let mut stand = Stand::up()?;
    let watch = stand.watch()?;
    let mac = stand.macs[0];
    let storm = Blast::start(&stand.wires.attack4, "a4", None, move |number| {
        let [.., d] = number.to_be_bytes();
        let source = Ipv4Addr::new(203, 0, 113, d);
        let packet = frame::ipv4(source, SERVICE, 17, 1, &frame::udp4(source, SERVICE, 9, b"late"));
        frame::ethernet(mac, STRANGER, IPV4, &packet)
    })?;
    std::thread::sleep(scale.time / 2);
    let told = path_mtu(&stand, mac)?;
    std::thread::sleep(scale.time / 2);
    let name = format!("packets with TTL 1, {}", storm.finish().rate());
    let mut rows = vec![Row {
        storm: name.clone(),
        witness: format!("{QUESTIONS} packets with DF, too big by one of the senders"),
        limit: "each told the MTU within 2 s".into(),
        measured: format!("{told} told"),
        held: told == QUESTIONS,
    }];
    rows.extend(stand.judge(&name, watch)?);
    Ok(rows)
}

/// How many packets of the attacker's own address that are too big are answered with fragmentation needed.
fn path_mtu(stand: &Stand, mac: [u8; 6]) -> Result<u8, LabError> {
    let mut wire = RawLink::open(&stand.wires.attack4, "a4")?;
    let expected = u16::try_from(SMALL_MTU - 20).expect("an MTU").to_be_bytes();
    let mut told = 0;
    for _ in 0..QUESTIONS {
        let mut packet =
            frame::ipv4(ATTACKER4, SERVICE, 17, 64, &frame::udp4(ATTACKER4, SERVICE, 9, &[7; 1440]));
        packet[6] = 0x40;
        packet[10..12].fill(0);
        let sum = frame::checksum(&[&packet[..20]]).to_be_bytes();
        packet[10..12].copy_from_slice(&sum);
        wire.send(&frame::ethernet(mac, wire.mac(), IPV4, &packet));
        told += u8::from(wire.listen(Duration::from_secs(2), |frame| {
            frame[12..14] == [8, 0]
                && frame.get(34..36) == Some(&[3, 4][..])
                && frame.get(40..42) == Some(&expected[..])
        }));
    }
    Ok(told)
}
