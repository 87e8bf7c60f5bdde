//! All mappings replaced at once.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::stand::{ATTACKER4, Stand, config};
use super::{Row, Scale};
use crate::lab::frame::{self, IPV4};
use crate::lab::{LabError, RawLink};

/// From the relay's word that the new table is in force to the first packet that goes by it.
const LIMIT: Duration = Duration::from_secs(1);

/// Loads a table, and replaces every mapping in it under the eyes of the witnesses.
pub(super) fn replaced(scale: &Scale) -> Result<Vec<Row>, LabError> {
    let mut stand = Stand::up()?;
    for generation in 0..2 {
        let servers = server(generation, 0);
        stand.wires.relay_ns.ip(&format!("route add {servers}/32 via 2001:db8:12:34::1 dev bl-a6"))?;
    }
    let pools = ("service_pools = [\"192.0.2.0/24\"]", "service_pools = [\"192.0.2.0/24\", \"12.0.0.0/8\"]");
    let toml = config()
        .to_toml()
        .replace(pools.0, pools.1)
        .replace("[translation]\n", "[translation]\nreload_may_remove = \"all\"\n");
    stand.relay.rewrite(&format!("eam_files = [\"many.csv\"]\n{toml}"))?;
    // What reading a table takes once is not what it takes each time.
    for generation in 0..2 {
        load(&mut stand, generation, scale.mappings)?;
    }
    let storm = format!("{} mappings replaced by others", scale.mappings);
    let watch = stand.watch()?;
    let start = Instant::now();
    load(&mut stand, 0, scale.mappings)?;
    let replaced = start.elapsed();
    let arrived = arrives(&stand, scale.mappings - 1)?;
    std::thread::sleep(scale.time.saturating_sub(start.elapsed()));
    let mut rows = vec![Row {
        storm: storm.clone(),
        witness: "a packet by the last of them".into(),
        limit: format!("arrives by the new table within {} s", LIMIT.as_secs()),
        measured: format!("after {} ms; replaced in {} ms", arrived.as_millis(), replaced.as_millis()),
        held: arrived <= LIMIT,
    }];
    rows.extend(stand.judge(&storm, watch)?);
    Ok(rows)
}

/// The n-th service address: an odd factor brings each once, in no order.
fn service(number: u32) -> Ipv4Addr {
    let [_, a, b, c] = number.wrapping_mul(0x009e_3779).to_be_bytes();
    Ipv4Addr::new(12, a, b, c)
}

/// Its server, in one of the two tables.
fn server(generation: u16, number: u32) -> Ipv6Addr {
    let [high, low] = [(number >> 16) as u16, (number & 0xffff) as u16];
    Ipv6Addr::new(0x2a10 + generation, 0xdb8, 0, 0, 0, 0, high, low)
}

fn load(stand: &mut Stand, generation: u16, count: u32) -> Result<(), LabError> {
    let mut csv = String::new();
    for number in 0..count {
        writeln!(csv, "{},{}", service(number), server(generation, number)).ok();
    }
    stand.relay.write("many.csv", &csv)?;
    let log = stand.relay.reload()?;
    let took = log.contains(&format!("added={count}")) || log.contains(&format!("changed={count}"));
    if took { Ok(()) } else { Err(stand.relay.error(&format!("did not take all mappings: {log}"))) }
}

/// How long until a packet to the n-th service address comes to its server of the first table.
fn arrives(stand: &Stand, number: u32) -> Result<Duration, LabError> {
    let mut wire = RawLink::open(&stand.wires.attack6, "a6")?;
    let mut sender = RawLink::open(&stand.wires.attack4, "a4")?;
    let to = service(number);
    let packet = frame::ipv4(ATTACKER4, to, 17, 64, &frame::udp4(ATTACKER4, to, 9, b"onward"));
    let packet = frame::ethernet(stand.macs[0], [2, 0, 0, 0, 0, 4], IPV4, &packet);
    let there = server(0, number).octets();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        sender.send(&packet);
        if wire.listen(Duration::from_millis(60), |frame| frame.get(38..54) == Some(&there[..])) {
            break;
        }
    }
    Ok(start.elapsed())
}
