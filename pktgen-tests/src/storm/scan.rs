//! Scans of connected prefixes (RFC 6583): hosts that do not exist, asked for faster than any table holds them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::blast::Blast;
use super::stand::{ATTACKER4, ATTACKER6, COLD, Stand, cold_ipv6, cold_service};
use super::{Row, Scale};
use crate::lab::frame::{self, Random};
use crate::lab::probe::udp_socket;
use crate::lab::{LabError, Namespace, embedded};

/// A kernel with an empty table needs a millisecond, and a busy machine a few hundred.
const COLD_LIMIT: Duration = Duration::from_millis(500);

/// The attacked IPv6 side asks for random hosts of its own /64, through the relay.
pub(super) fn neighbor_discovery(scale: &Scale) -> Result<Vec<Row>, LabError> {
    let mut stand = Stand::up()?;
    let watch = stand.watch()?;
    let (mac, mut random) = (stand.macs[1], Random::new(6583));
    let off_link = Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 1);
    let storm = Blast::start(&stand.wires.attack6, "a6", Some(19_000), move |_| {
        let high = u128::from(0x2001_0db8_0012_0034_u64) << 64;
        let scanned = Ipv6Addr::from(high | u128::from(random.number()));
        let packet = frame::ipv6(off_link, scanned, 17, 64, &frame::udp6(off_link, scanned, 9, b"scan"));
        frame::ethernet(mac, [2, 0, 0, 0, 0, 6], frame::IPV6, &packet)
    })?;
    std::thread::sleep(scale.time / 2);
    let services = (1..=COLD).map(|number| SocketAddr::new(cold_service(number).into(), 7100));
    let cold =
        cold_flows((&stand.wires.attack4, ATTACKER4.into()), services, &stand.wires.attack6, |number| {
            cold_ipv6(number).into()
        })?;
    std::thread::sleep(scale.time / 2);
    let name = format!("scan of a connected /64, {}", storm.finish().rate());
    finish(stand, watch, &name, &cold, ("-6", "with an EAM, not talked to yet"))
}

/// The attacked IPv6 side asks for every host of a connected /16, translated. None of them has an EAM: it is by having been
/// talked to before that the living ones are known, even when the kernel has forgotten them.
pub(super) fn arp(scale: &Scale) -> Result<Vec<Row>, LabError> {
    let mut stand = Stand::up()?;
    for number in 1..=COLD {
        stand.wires.attack4.ip(&format!("addr add {}/16 dev a4", cold_ipv4(number)))?;
    }
    let hosts = || (1..=COLD).map(|number| SocketAddr::new(embedded(cold_ipv4(number)).into(), 7100));
    let cold_flows = |stand: &Stand| {
        // Another host of the attacked link, which the attacker must not mute.
        let from = (&stand.wires.attack6, cold_ipv6(1).into());
        cold_flows(from, hosts(), &stand.wires.attack4, |number| cold_ipv4(number).into())
    };
    cold_flows(&stand)?;
    stand.wires.relay_ns.ip("-4 neigh flush dev bl-a4")?;
    let watch = stand.watch()?;
    let mac = stand.macs[1];
    let storm = Blast::start(&stand.wires.attack6, "a6", Some(19_000), move |number| {
        let [.., c, d] = (number % 0xfe00 + 0x0200).to_be_bytes();
        let scanned = embedded(Ipv4Addr::new(10, 9, c, d));
        let packet = frame::ipv6(ATTACKER6, scanned, 17, 64, &frame::udp6(ATTACKER6, scanned, 9, b"scan"));
        frame::ethernet(mac, [2, 0, 0, 0, 0, 6], frame::IPV6, &packet)
    })?;
    std::thread::sleep(scale.time / 2);
    let cold = cold_flows(&stand)?;
    std::thread::sleep(scale.time / 2);
    let name = format!("scan of a connected /16, {}", storm.finish().rate());
    finish(stand, watch, &name, &cold, ("-4", "talked to before, forgotten by the kernel"))
}

fn cold_ipv4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 1, number)
}

/// One datagram to each host nobody has talked to yet; how long each took, if it arrived.
fn cold_flows(
    from: (&Namespace, IpAddr),
    to: impl Iterator<Item = SocketAddr>,
    at: &Namespace,
    address: impl Fn(u8) -> IpAddr,
) -> Result<Vec<Option<Duration>>, LabError> {
    let sender = udp_socket(from.0, from.1, 7100)?;
    let mut took = Vec::new();
    for (number, to) in (1..).zip(to) {
        let receiver = udp_socket(at, address(number), 7100)?;
        let start = Instant::now();
        sender.send_to(b"cold", to)?;
        took.push(receiver.recv_from(&mut [0; 16]).ok().map(|_| start.elapsed()));
    }
    Ok(took)
}

fn finish(
    mut stand: Stand,
    watch: super::stand::Watch,
    storm: &str,
    cold: &[Option<Duration>],
    (family, kind): (&str, &str),
) -> Result<Vec<Row>, LabError> {
    let arrived: Vec<Duration> = cold.iter().flatten().copied().collect();
    let slowest = arrived.iter().max().copied().unwrap_or_default();
    // What the kernel keeps for multicast (NOARP) it throws out by itself when it needs the place.
    let entries = stand.wires.relay_ns.ip(&format!("{family} neigh show nud all"))?;
    let entries = entries.lines().filter(|line| !line.contains("NOARP")).count();
    let most = threshold(family);
    let mut rows = vec![
        Row {
            storm: storm.into(),
            witness: format!("first packet to each of {COLD} living hosts {kind}"),
            limit: format!("all arrive, within {} ms", COLD_LIMIT.as_millis()),
            measured: format!("{} arrived, slowest {} ms", arrived.len(), slowest.as_millis()),
            held: arrived.len() == cold.len() && slowest <= COLD_LIMIT,
        },
        Row {
            storm: storm.into(),
            witness: format!("the kernel's neighbour table, which takes {most} (gc_thresh3)"),
            limit: "filled to three quarters at most, without multicast".into(),
            measured: format!("{entries} entries"),
            held: entries <= most * 3 / 4,
        },
    ];
    rows.extend(stand.judge(storm, watch)?);
    Ok(rows)
}

/// The limit of the kernel's table, which all namespaces share.
fn threshold(family: &str) -> usize {
    let family = if family == "-6" { "ipv6" } else { "ipv4" };
    let path = format!("/proc/sys/net/{family}/neigh/default/gc_thresh3");
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}
