//! Gateways that fail, come back, or have another link-layer address, under traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::blast::Blast;
use super::stand::{ATTACKER6, SERVICE, Stand};
use super::{Row, Scale};
use crate::lab::frame::{self, IPV4, IPV6};
use crate::lab::{LabError, Namespace, RawLink, embedded};

/// Flows over the gateways, told apart by their destination.
const FLOWS: u8 = 64;
/// Link-layer addresses of the gateways 203.0.113.60 and .61, and the one .60 changes to.
pub(super) const FIRST: [u8; 6] = [2, 0, 0, 0, 0, 60];
pub(super) const SECOND: [u8; 6] = [2, 0, 0, 0, 0, 61];
const THIRD: [u8; 6] = [2, 0, 0, 0, 0, 62];
/// From a change in the kernel to the last packet that still goes the old way.
const TURN_LIMIT: Duration = Duration::from_millis(50);

/// Gives the gateway 203.0.113.`last` a link-layer address, as its answer would.
pub(super) fn resolve(relay_ns: &Namespace, last: u8, mac: [u8; 6]) -> Result<(), LabError> {
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    relay_ns.ip(&format!("neigh replace 203.0.113.{last} lladdr {mac} dev bl-a4 nud permanent")).map(drop)
}

/// What one host behind the gateways is sent, from the attacked IPv6 side.
pub(super) fn towards(stand: &Stand, destination: Ipv4Addr) -> Vec<u8> {
    let to = embedded(destination);
    let packet = frame::ipv6(ATTACKER6, to, 17, 64, &frame::udp6(ATTACKER6, to, 9, b"onward"));
    frame::ethernet(stand.macs[1], [2, 0, 0, 0, 0, 6], IPV6, &packet)
}

/// A stand with two gateways and one route over both.
fn two_gateways() -> Result<Stand, LabError> {
    let stand = Stand::up()?;
    resolve(&stand.wires.relay_ns, 60, FIRST)?;
    resolve(&stand.wires.relay_ns, 61, SECOND)?;
    stand.wires.relay_ns.ip("route add 16.0.0.0/24 nexthop via 203.0.113.60 nexthop via 203.0.113.61")?;
    Ok(stand)
}

/// Which link-layer addresses each flow went to, by the last byte of its destination.
type Seen = BTreeMap<u8, BTreeSet<[u8; 6]>>;

/// Watches the flows for a while.
fn flows(wire: &mut RawLink, time: Duration) -> Seen {
    let mut seen = Seen::new();
    wire.listen(time, |frame| {
        if let Some((mac, flow)) = flow(frame) {
            seen.entry(flow).or_default().insert(mac);
        }
        false
    });
    seen
}

fn flow(frame: &[u8]) -> Option<([u8; 6], u8)> {
    let [16, 0, 0, flow] = *frame.get(30..34)? else {
        return None;
    };
    (frame[12..14] == [8, 0]).then_some((*frame.first_chunk()?, flow))
}

/// How long after `since` the last packet for `old` was seen, when none came for half a second any more.
fn last_seen(wire: &mut RawLink, old: [u8; 6], since: Instant) -> Duration {
    let mut last = since;
    while last.elapsed() < Duration::from_millis(500) && since.elapsed() < Duration::from_secs(20) {
        if wire.receive().is_some_and(|frame| flow(&frame).is_some_and(|(mac, _)| mac == old)) {
            last = Instant::now();
        }
    }
    last - since
}

/// One of two gateways fails and comes back: its flows move and return, the others stay where they are.
pub(super) fn fails_and_returns(scale: &Scale) -> Result<Vec<Row>, LabError> {
    let mut stand = two_gateways()?;
    let packets: Vec<Vec<u8>> =
        (0..FLOWS).map(|flow| towards(&stand, Ipv4Addr::new(16, 0, 0, flow))).collect();
    let watch = stand.watch()?;
    let mut wire = RawLink::open(&stand.wires.attack4, "a4")?;
    let storm = Blast::start(&stand.wires.attack6, "a6", Some(6400), move |number| {
        packets[usize::try_from(number % u64::from(FLOWS)).expect("a small number")].clone()
    })?;
    let both = settled(&mut wire, scale);
    stand.wires.relay_ns.ip("neigh change 203.0.113.61 dev bl-a4 nud failed")?;
    let moved = last_seen(&mut wire, SECOND, Instant::now());
    let one = flows(&mut wire, scale.time / 4);
    let answered = errors(&stand)?;
    resolve(&stand.wires.relay_ns, 61, SECOND)?;
    let again = settled(&mut wire, scale);
    let name = format!("one of two gateways fails and returns, 64 flows, {}", storm.finish().rate());
    let used = |seen: &Seen, mac| seen.values().filter(|macs| macs.contains(&mac)).count();
    let row = |witness: &str, limit: String, measured: String, held: bool| Row {
        storm: name.clone(),
        witness: witness.into(),
        limit,
        measured,
        held,
    };
    let stayed = |seen: &Seen| {
        both.iter().filter(|(flow, macs)| macs.contains(&FIRST) && seen.get(flow) == Some(*macs)).count()
    };
    let first = used(&both, FIRST);
    let mut rows = vec![
        row(
            "flows before",
            "over both gateways".into(),
            format!("{first} and {}", used(&both, SECOND)),
            both.len() == usize::from(FLOWS) && first > 0 && used(&both, SECOND) > 0,
        ),
        row(
            "last packet to the failed gateway",
            format!("{} ms after the kernel knew", TURN_LIMIT.as_millis()),
            format!("{} ms", moved.as_millis()),
            moved <= TURN_LIMIT,
        ),
        row(
            "flows while it is gone",
            "all arrive; those of the other stay".into(),
            format!("{} of {FLOWS} arrive, {} of {first} stayed", one.len(), stayed(&one)),
            one.len() == usize::from(FLOWS) && stayed(&one) == first && used(&one, SECOND) == 0,
        ),
        row(
            "time exceeded to 16 hosts behind the route meanwhile",
            "all sent".into(),
            format!("{answered} sent"),
            answered == 16,
        ),
        row(
            "flows when it is back",
            "as before".into(),
            if again == both { "as before".into() } else { format!("{} differ", differ(&again, &both)) },
            again == both,
        ),
    ];
    rows.extend(stand.judge(&name, watch)?);
    Ok(rows)
}

fn differ(one: &Seen, other: &Seen) -> usize {
    other.iter().filter(|(flow, macs)| one.get(flow) != Some(*macs)).count()
}

/// The flows once each has one way only: right after a change packets of both ways are on the wire.
fn settled(wire: &mut RawLink, scale: &Scale) -> Seen {
    let start = Instant::now();
    loop {
        let seen = flows(wire, scale.time / 4);
        let calm = seen.len() == usize::from(FLOWS) && seen.values().all(|macs| macs.len() == 1);
        if calm && seen.values().any(|macs| macs.contains(&SECOND))
            || start.elapsed() > Duration::from_secs(20)
        {
            return seen;
        }
    }
}

/// Packets that expire, from 16 hosts behind the route; how many of them are told.
fn errors(stand: &Stand) -> Result<usize, LabError> {
    let mut wire = RawLink::open(&stand.wires.attack4, "a4")?;
    let mut told = BTreeSet::new();
    for host in 0..16 {
        let source = Ipv4Addr::new(16, 0, 0, 100 + host);
        let packet = frame::ipv4(source, SERVICE, 17, 1, &frame::udp4(source, SERVICE, 9, b"late"));
        wire.send(&frame::ethernet(stand.macs[0], wire.mac(), IPV4, &packet));
    }
    wire.listen(Duration::from_secs(3), |frame| {
        if frame.get(34) == Some(&11)
            && let Some((_, host)) = flow(frame)
        {
            told.insert(host);
        }
        told.len() == 16
    });
    Ok(told.len())
}

/// A gateway's link-layer address changes again and again under traffic.
pub(super) fn new_mac(scale: &Scale) -> Result<Vec<Row>, LabError> {
    let mut stand = Stand::up()?;
    resolve(&stand.wires.relay_ns, 60, FIRST)?;
    stand.wires.relay_ns.ip("route add 16.0.0.0/24 via 203.0.113.60")?;
    let packet = towards(&stand, Ipv4Addr::new(16, 0, 0, 1));
    let watch = stand.watch()?;
    let storm = Blast::start(&stand.wires.attack6, "a6", Some(5000), move |_| packet.clone())?;
    let slowest = turns(&stand, scale)?;
    let name = format!("a gateway's MAC changes 10 times, {}", storm.finish().rate());
    let mut rows = vec![turned(&name, slowest)];
    rows.extend(stand.judge(&name, watch)?);
    Ok(rows)
}

/// Ten changes of the link-layer address of 203.0.113.60 under traffic to 16.0.0.x; the slowest.
pub(super) fn turns(stand: &Stand, scale: &Scale) -> Result<Duration, LabError> {
    let mut wire = RawLink::open(&stand.wires.attack4, "a4")?;
    let mut slowest = Duration::ZERO;
    for (old, new) in [(FIRST, THIRD), (THIRD, FIRST)].into_iter().cycle().take(10) {
        flows(&mut wire, scale.time / 20);
        resolve(&stand.wires.relay_ns, 60, new)?;
        slowest = slowest.max(last_seen(&mut wire, old, Instant::now()));
    }
    Ok(slowest)
}

/// The row about [`turns`].
pub(super) fn turned(storm: &str, slowest: Duration) -> Row {
    Row {
        storm: storm.into(),
        witness: "last packet with the old MAC".into(),
        limit: format!("{} ms after the kernel knew, of 10 changes", TURN_LIMIT.as_millis()),
        measured: format!("{} ms", slowest.as_millis()),
        held: slowest <= TURN_LIMIT,
    }
}
