//! What a network operator types, ping and traceroute in both directions, and what the log tells him.

use std::thread::sleep;
use std::time::{Duration, Instant};

use pktgen_tests::lab::{
    CLIENT, Lab, Need, RawLink, SERVICE, Shape, TestResult, embedded, frame, skip_unless, traceroute,
};

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn ping_works_in_both_directions_and_every_size() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let client = embedded(CLIENT).to_string();
    for size in [0, 1, 56, 1000, 1452] {
        let ping = format!("-n -c3 -i0.2 -W2 -s{size}");
        let there = lab.client.cmd("ping").args(&ping).arg(SERVICE.to_string()).run()?;
        assert!(there.stdout.contains(" 0% packet loss"), "{}", there.text());
        assert!(!there.stdout.contains("DUP"), "{}", there.text());
        let back = lab.server.cmd("ping").args(&ping).arg(&client).run()?;
        assert!(back.stdout.contains(" 0% packet loss"), "{}", back.text());
        assert!(!back.stdout.contains("DUP"), "{}", back.text());
    }
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn an_unassigned_service_address_is_unreachable() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let ping = lab.client.cmd("ping").args("-n -c2 -i0.3 -W2 192.0.2.99").run()?;
    assert!(
        ping.stdout.contains("From 203.0.113.1 icmp_seq=1 Destination Host Unreachable"),
        "{}",
        ping.text()
    );
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn traceroute_shows_the_relay_as_one_hop_on_link() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("traceroute")]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let client = embedded(CLIENT).to_string();
    for how in ["-U", "-I"] {
        assert_eq!(traceroute(&lab.client, how, "192.0.2.1")?, ["203.0.113.1", "192.0.2.1"], "{how}");
        let back = traceroute(&lab.server, &format!("-6 {how}"), &client)?;
        assert_eq!(back, ["2001:db8:12:34::ffff", client.as_str()], "{how}");
    }
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn traceroute_shows_every_router_once_through_the_relay() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("traceroute")]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::routed(1500, 1500))?;
    let client = embedded(CLIENT).to_string();
    let translated = |address: [u8; 4]| embedded(address.into()).to_string();
    for how in ["-U", "-I"] {
        // The IPv6 routers have no IPv4 address: they appear under the address of the ICMP source pool (RFC 6791).
        let there = ["203.0.113.1", "100.64.0.2", "100.64.1.2", "198.51.100.1", "198.51.100.1", "192.0.2.1"];
        assert_eq!(traceroute(&lab.client, how, "192.0.2.1")?, there, "{how}");
        let back = [
            "2001:db8:12:34::ffff".to_owned(),
            "2001:db8:fe::2".to_owned(),
            "2001:db8:fe:1::2".to_owned(),
            translated([100, 64, 1, 1]),
            translated([100, 64, 0, 1]),
            client.clone(),
        ];
        assert_eq!(traceroute(&lab.server, &format!("-6 {how}"), &client)?, back, "{how}");
    }
    lab.assert_healthy()
}

/// A line of the log about a dropped datagram without checksum.
#[derive(Debug)]
struct Event {
    /// Seconds of the day.
    at: f64,
    /// How many more it stands for.
    more: u64,
}

fn events(log: &str, flow: &str) -> Vec<Event> {
    let line_to_event = |line: &str| {
        assert!(line.contains(flow), "{line}");
        let time = line.split_once('T')?.1.split_once('Z')?.0;
        let at = time.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?));
        let more = line.split_once("more=")?.1.split_whitespace().next()?.parse().ok();
        Some(Event { at: at?, more: more? })
    };
    let lines = log.lines().filter(|line| line.contains("dropped UDP without checksum"));
    lines.map(|line| line_to_event(line).unwrap_or_else(|| unreadable(line))).collect()
}

fn unreadable(line: &str) -> Event {
    unreachable!("a time and a number: {line}")
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn datagrams_without_checksum_are_dropped_and_told_of_once_a_second() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let relay = RawLink::open(&lab.relay_ns, "bl-v4")?.mac();
    let (mut wire, mut server) = (RawLink::open(&lab.client, "c4")?, RawLink::open(&lab.server, "s6")?);
    let mut datagram = frame::udp4(CLIENT, SERVICE, 4700, b"unchecked");
    datagram[6..8].fill(0);
    let packet = frame::ipv4(CLIENT, SERVICE, 17, 64, &datagram);
    let bad = frame::ethernet(relay, wire.mac(), frame::IPV4, &packet);

    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_millis(3500) {
        assert!(wire.send(&bad));
        sent += 1;
        sleep(Duration::from_millis(5));
    }
    let flow = "source=203.0.113.50 source_port=12345 destination=192.0.2.1 destination_port=4700";
    let told = |log: &str| events(log, flow).iter().map(|event| 1 + event.more).sum::<u64>();
    // The number of those not told of comes with the next event.
    for _ in 0..4 {
        sleep(Duration::from_millis(1300));
        if told(&lab.relay().log()) == sent {
            break;
        }
        assert!(wire.send(&bad));
        sent += 1;
    }
    let counters = lab.relay().settled_counters()?;
    let log = lab.relay().log();
    let events = events(&log, flow);
    assert_eq!(counters.dropped_for("udp_zero_checksum"), sent, "{counters:#?}");
    assert_eq!(told(&log), sent, "each is told of or counted: {events:?}");
    assert!((2..=8).contains(&events.len()), "{events:?}");
    for pair in events.windows(2) {
        assert!(
            (pair[1].at - pair[0].at).rem_euclid(86400.0) > 0.99,
            "more than one line a second: {events:?}"
        );
    }
    let passed = server.listen(Duration::from_millis(100), |frame| frame.ends_with(b"unchecked"));
    assert!(!passed, "none of them reaches the server");
    lab.assert_healthy()
}
