//! A full routing table that keeps changing.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::blast::Blast;
use super::gateway::{FIRST, SECOND, resolve, towards, turned, turns};
use super::stand::Stand;
use super::{Row, Scale};
use crate::lab::{Cmd, LabError, Namespace, RawLink};

/// From the kernel's last route to the worker's.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Loads the table, changes routes as fast as `ip` can, and changes a gateway's MAC beside it.
pub(super) fn changes(scale: &Scale) -> Result<Vec<Row>, LabError> {
    let mut stand = Stand::up()?;
    let relay_ns = &stand.wires.relay_ns;
    resolve(relay_ns, 60, FIRST)?;
    resolve(relay_ns, 61, SECOND)?;
    relay_ns.ip("neigh replace 2001:db8:12:34::60 lladdr 02:00:00:00:00:66 dev bl-a6 nud permanent")?;
    let loading = Instant::now();
    batch(relay_ns, &routes("add", scale.ipv4_routes, 60))?;
    batch(relay_ns, &routes_ipv6(scale.ipv6_routes))?;
    let loaded = loading.elapsed();
    let last = destination(scale.ipv4_routes - 1);
    let caught_up = arrives(&stand, last, FIRST)?;
    let loading = format!("{} + {} routes", scale.ipv4_routes, scale.ipv6_routes);
    let mut rows = vec![Row {
        storm: format!("{loading} loaded by `ip` in {} ms", loaded.as_millis()),
        witness: "a packet to the last of them".into(),
        limit: format!("arrives within {} s", CATCH_UP.as_secs()),
        measured: format!("after {} ms", caught_up.as_millis()),
        held: caught_up <= CATCH_UP,
    }];

    let watch = stand.watch()?;
    let packet = towards(&stand, Ipv4Addr::new(16, 0, 0, 1));
    let traffic = Blast::start(&stand.wires.attack6, "a6", Some(1000), move |_| packet.clone())?;
    rows.push(turned(&format!("a gateway's MAC changes, {loading}"), turns(&stand, scale)?));
    let changing = Instant::now();
    batch(&stand.wires.relay_ns, &routes("replace", scale.route_changes, 61))?;
    let rate = u128::from(scale.route_changes) * 1000 / changing.elapsed().as_millis().max(1);
    let caught_up = arrives(&stand, destination(scale.route_changes - 1), SECOND)?;
    traffic.finish();
    let storm = format!("{} route changes, {rate}/s, {loading}", scale.route_changes);
    rows.push(Row {
        storm: storm.clone(),
        witness: "a packet over the route changed last".into(),
        limit: format!("arrives the new way within {} s", CATCH_UP.as_secs()),
        measured: format!("after {} ms", caught_up.as_millis()),
        held: caught_up <= CATCH_UP,
    });
    rows.extend(stand.judge(&storm, watch)?);
    Ok(rows)
}

/// The n-th destination: a host in the n-th /24 from 16.0.0.0 on.
fn destination(number: u32) -> Ipv4Addr {
    Ipv4Addr::from((16 << 24) + (number << 8) + 1)
}

fn routes(verb: &str, count: u32, gateway: u8) -> String {
    let mut text = String::new();
    for number in 0..count {
        let network = Ipv4Addr::from((16 << 24) + (number << 8));
        writeln!(text, "route {verb} {network}/24 via 203.0.113.{gateway} dev bl-a4").ok();
    }
    text
}

fn routes_ipv6(count: u32) -> String {
    let mut text = String::new();
    for number in 0..count {
        let (high, low) = (0x2a00 + (number >> 16), number & 0xffff);
        writeln!(text, "-6 route add {high:x}:{low:x}::/32 via 2001:db8:12:34::60 dev bl-a6").ok();
    }
    text
}

fn batch(namespace: &Namespace, lines: &str) -> Result<(), LabError> {
    let lines = lines.replace("-6 route", "route");
    Cmd::new("ip").arg("-n").arg(namespace.name()).args("-batch -").input(lines).timeout(300).ok().map(drop)
}

/// How long until a packet to `destination` leaves to `mac`.
fn arrives(stand: &Stand, destination: Ipv4Addr, mac: [u8; 6]) -> Result<Duration, LabError> {
    let mut wire = RawLink::open(&stand.wires.attack4, "a4")?;
    let mut sender = RawLink::open(&stand.wires.attack6, "a6")?;
    let packet = towards(stand, destination);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        sender.send(&packet);
        let there = wire.listen(Duration::from_millis(60), |frame| {
            frame[..6] == mac && frame.get(30..34) == Some(&destination.octets()[..])
        });
        if there {
            break;
        }
    }
    Ok(start.elapsed())
}
