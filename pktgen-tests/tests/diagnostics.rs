//! What a network operator types: ping and traceroute, in both directions.

use pktgen_tests::lab::{CLIENT, Lab, Need, SERVICE, Shape, TestResult, embedded, skip_unless, traceroute};

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
    assert!(lab.pings(&lab.client, "192.0.2.1", 3));
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
