//! Random, truncated, mutated and oversized frames on every port: each is one counted drop or punt, and no more.

use std::net::Ipv6Addr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pktgen_tests::lab::frame::{self, Random};
use pktgen_tests::lab::{
    CLIENT, Driver, Lab, LabError, Namespace, Need, RawLink, SERVER, SERVICE, Shape, TestResult, embedded,
    is_quick, skip_unless,
};

/// Frames per second and port: the senders share two processors with the relay.
const RATE: u32 = 4000;

/// Good packets, to be damaged.
fn templates() -> Vec<(u16, Vec<u8>)> {
    let (prefix, long) = (embedded(CLIENT), [0x55; 600]);
    let udp4 = frame::udp4(CLIENT, SERVICE, 7, &long);
    let udp6 = frame::udp6(SERVER, prefix, 7, &long);
    let inner4 = frame::ipv4(SERVICE, CLIENT, 17, 60, &frame::udp4(SERVICE, CLIENT, 7, b"inner"));
    let inner6 = frame::ipv6(prefix, SERVER, 17, 60, &frame::udp6(prefix, SERVER, 7, b"inner"));
    let error4 = [&[3, 4, 0, 0, 0, 0, 5, 0][..], &inner4].concat();
    let error6 = [&[2, 0, 0, 0, 0, 0, 5, 0][..], &inner6].concat();
    let with_fragment_header = [&[17, 0, 0, 1, 0, 0, 0, 9][..], &udp6].concat();
    let with_options = [&[43, 0, 1, 4, 0, 0, 0, 0][..], &[17, 0, 0, 0, 0, 0, 0, 0], &udp6].concat();
    let solicitation =
        [&[135, 0, 0, 0, 0, 0, 0, 0][..], &SERVER.octets(), &[1, 1, 0, 0, 0, 0, 0, 1]].concat();
    vec![
        (frame::IPV4, frame::ipv4(CLIENT, SERVICE, 17, 64, &udp4)),
        (frame::IPV4, frame::ipv4(CLIENT, SERVICE, 6, 64, &[0x10; 40])),
        (frame::IPV4, frame::ipv4(CLIENT, SERVICE, 1, 64, &error4)),
        (frame::IPV6, frame::ipv6(SERVER, prefix, 17, 64, &udp6)),
        (frame::IPV6, frame::ipv6(SERVER, prefix, 6, 64, &[0x10; 40])),
        (frame::IPV6, frame::ipv6(SERVER, prefix, 58, 64, &error6)),
        (frame::IPV6, frame::ipv6(SERVER, prefix, 44, 64, &with_fragment_header)),
        (frame::IPV6, frame::ipv6(SERVER, prefix, 0, 64, &with_options)),
        (frame::IPV6, frame::ipv6(Ipv6Addr::UNSPECIFIED, SERVER, 58, 255, &solicitation)),
        (
            0x8100,
            [&[0, 5][..], &frame::IPV4.to_be_bytes(), &frame::ipv4(CLIENT, SERVICE, 17, 64, &udp4)].concat(),
        ),
        (0x0806, vec![0, 1, 8, 0, 6, 4, 0, 9]),
    ]
}

/// One hostile frame.
fn frame(
    random: &mut Random,
    templates: &[(u16, Vec<u8>)],
    relay: [u8; 6],
    own: [u8; 6],
    limit: usize,
) -> Vec<u8> {
    let destination = match random.below(8) {
        0 => [0xff; 6],
        1 => [0x33, 0x33, 0, 0, 0, 1],
        _ => relay,
    };
    let (ether_type, mut packet) = templates[random.below(templates.len())].clone();
    let ether_type = if random.below(50) == 0 { u16::MAX } else { ether_type };
    match random.below(5) {
        0 => {
            let length = random.below(limit - 13);
            packet = random.bytes(length);
        }
        1 => packet.truncate(random.below(packet.len() + 1)),
        2 => {
            // Headers first: that is where a parser looks.
            for _ in 0..=random.below(4) {
                let at = random.below(packet.len().min(80));
                packet[at] ^= 1 << random.below(8);
            }
        }
        3 => packet.resize(random.below(limit - 13).max(packet.len()), 0xaa),
        _ => {}
    }
    let mut frame = frame::ethernet(destination, own, ether_type, &packet);
    frame.truncate(limit);
    frame
}

fn bombard(
    host: &Namespace,
    interface: &str,
    relay: [u8; 6],
    limit: usize,
    time: Duration,
    seed: u64,
) -> Result<JoinHandle<u32>, LabError> {
    let mut wire = RawLink::open(host, interface)?;
    let own = wire.mac();
    Ok(thread::spawn(move || {
        let (mut random, templates, start) = (Random::new(seed), templates(), Instant::now());
        let mut sent = 0;
        while start.elapsed() < time {
            for _ in 0..RATE / 100 {
                sent += u32::from(wire.send(&frame(&mut random, &templates, relay, own, limit)));
            }
            thread::sleep(Duration::from_millis(10));
        }
        sent
    }))
}

/// `largest` is what the wire takes, beyond the 1514 bytes of an honest host; `slack` is how many buffers the driver
/// may hold on to for its own reasons.
fn survives(shape: &Shape, largest: u32, slack: u64) -> TestResult {
    let time = Duration::from_secs(if is_quick() { 5 } else { 30 });
    let mut lab = Lab::up(shape)?;
    for (namespace, interface) in
        [(&lab.client, "c4"), (&lab.relay_ns, "r4"), (&lab.server, "s6"), (&lab.relay_ns, "r6")]
    {
        namespace.ip(&format!("link set {interface} mtu {}", largest - 14))?;
    }
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    let before = lab.relay().settled_counters()?;

    let macs = (RawLink::open(&lab.relay_ns, "bl-v4")?.mac(), RawLink::open(&lab.relay_ns, "bl-v6")?.mac());
    let limit = usize::try_from(largest).expect("a frame length");
    let seed = u64::from(std::process::id());
    println!("seeds {seed} and {}", seed + 1_000_000);
    let from_client = bombard(&lab.client, "c4", macs.0, limit, time, seed)?;
    let from_server = bombard(&lab.server, "s6", macs.1, limit, time, seed + 1_000_000)?;
    let sent = [from_client, from_server].map(|sender| sender.join().expect("the sender does not panic"));
    println!("{sent:?} hostile frames sent");
    assert!(sent.iter().all(|sent| *sent > 1000), "{sent:?}");

    if !lab.relay().is_running() {
        return Err(lab.relay().error("did not survive"));
    }
    // Damaged ARP and ND may have taught the kernels nonsense; that is theirs to believe.
    for namespace in [&lab.client, &lab.relay_ns, &lab.server] {
        namespace.flush_neighbors()?;
    }
    assert!(lab.pings(&lab.client, "192.0.2.1"), "IPv4 to IPv6");
    assert!(lab.pings(&lab.server, &embedded(CLIENT).to_string()), "IPv6 to IPv4");
    let after = lab.relay().settled_counters()?;
    println!("{after:#?}");
    assert!(after.balance(), "received + originated != sent + punted + dropped: {after:#?}");
    assert!(after.dropped_total() > before.dropped_total() + 1000, "{after:#?}");
    let (idle, now) = (before.mbufs_in_use.unwrap_or(0), after.mbufs_in_use.unwrap_or(0));
    assert!(idle > 0 || before.mbufs_in_use.is_some(), "the relay does not report buffers in use");
    assert!(now <= idle + slack, "{now} buffers in use, {idle} when idle before");
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn hostile_frames_over_af_xdp() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    // The driver takes sent buffers back only when its ring of 2048 runs low.
    survives(&Shape::default(), 1700, 2 * 2048)
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn hostile_frames_over_af_packet_with_two_workers() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    // This driver cuts what is longer than its 2 KB slots, so lengths in the headers become lies.
    survives(&Shape { driver: Driver::AfPacket { queues: 2 }, ..Shape::two_workers() }, 3000, 0)
}
