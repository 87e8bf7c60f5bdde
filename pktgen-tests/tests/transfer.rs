//! Real programs through the relay: web, interactive TCP, UDP of every size, DNS, iperf3.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use pktgen_tests::lab::frame::Random;
use pktgen_tests::lab::probe::{dns_query, echo_on, echo_once, tcp_connect, tcp_echo, udp_echo, udp_socket};
use pktgen_tests::lab::{
    CLIENT, Daemon, Lab, LabError, Namespace, Need, SERVER, SERVICE, Shape, TestResult, dnsmasq, embedded,
    iperf3, nginx, skip_unless,
};

const MEGABYTES: usize = 100;

/// Downloads a file and uploads it again; both copies must have the sum of the original.
fn transfer_both_ways(from: &Namespace, server: &Daemon, host: &str) -> TestResult {
    let www = server.path().join("www");
    let original = www.join("original");
    std::fs::write(&original, Random::new(46).bytes(MEGABYTES << 20))?;
    let www = www.display();
    let fetch = format!("curl -gsSf --max-time 90 http://{host}/original | tee {www}/fetched | sha256sum");
    let fetched = from.sh(&fetch).timeout(120).ok()?.stdout;
    let store = format!("curl -gsSf --max-time 90 -T {www}/fetched http://{host}/stored");
    from.sh(&store).timeout(120).ok()?;
    let sums = from.sh(&format!("sha256sum < {www}/original; sha256sum < {www}/stored")).ok()?.stdout;
    assert_eq!(sums, fetched.repeat(2), "original and stored against fetched");
    Ok(())
}

fn json(text: &str) -> Result<serde_json::Value, LabError> {
    serde_json::from_str(text)
        .map_err(|_| LabError::Unreadable { what: "iperf3's answer".into(), text: text.into() })
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn http_100_mb_down_and_up_from_ipv4_client_to_ipv6_server() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("nginx"), Need::Program("curl")]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let server = nginx(&lab.server, &format!("[{SERVER}]"))?;
    transfer_both_ways(&lab.client, &server, &SERVICE.to_string())?;
    let log = std::fs::read_to_string(server.path().join("access.log"))?;
    let client = embedded(CLIENT).to_string();
    assert!(log.lines().all(|line| line.starts_with(&client)), "{client} expected in every line:\n{log}");
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn http_100_mb_down_and_up_from_ipv6_host_to_ipv4_server() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("nginx"), Need::Program("curl")]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let server = nginx(&lab.client, &CLIENT.to_string())?;
    transfer_both_ways(&lab.server, &server, &format!("[{}]", embedded(CLIENT)))?;
    let log = std::fs::read_to_string(server.path().join("access.log"))?;
    assert!(
        log.lines().all(|line| line.starts_with("192.0.2.1 ")),
        "the service address in every line:\n{log}"
    );
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn interactive_tcp_survives_idle_gaps() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let server = tcp_echo(&lab.server, 22)?;
    let mut stream = tcp_connect(&lab.client, (SERVICE, 22).into())?;
    for gap in [0, 100, 500, 1500, 3000] {
        sleep(Duration::from_millis(gap));
        for key in b"ls -l\n" {
            assert!(echo_on(&mut stream, &[*key])?, "after {gap} ms of silence");
            sleep(Duration::from_millis(20));
        }
    }
    assert!(echo_on(&mut stream, &[b'x'; 4000])?, "a screenful");
    drop(stream);
    let from = server.join().expect("the echo server does not panic").map(|address| address.ip());
    assert_eq!(from, Some(IpAddr::V6(embedded(CLIENT))));
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn udp_of_every_size_is_echoed() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let server = udp_echo(&lab.server, 7)?;
    let socket = udp_socket(&lab.client, Ipv4Addr::UNSPECIFIED.into(), 0)?;
    let to = SocketAddr::from((SERVICE, 7));
    let bytes = Random::new(7).bytes(1472);
    for size in 1..=1472 {
        assert!(echo_once(&socket, to, &bytes[..size])?, "{size} bytes came back changed");
    }
    socket.send_to(b"quit", to)?;
    server.join().expect("the echo server does not panic");
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn udp_from_the_ipv6_side_is_echoed() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let socket = udp_socket(&lab.server, Ipv6Addr::UNSPECIFIED.into(), 0)?;
    // The client has no IPv6; its echo server listens on the IPv4 side of the same socket.
    let server = udp_echo(&lab.client, 7)?;
    let to = SocketAddr::from((embedded(CLIENT), 7));
    let bytes = Random::new(8).bytes(1452);
    for size in (1..=1452).step_by(7) {
        assert!(echo_once(&socket, to, &bytes[..size])?, "{size} bytes came back changed");
    }
    socket.send_to(b"quit", to)?;
    server.join().expect("the echo server does not panic");
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn dns_over_udp_against_a_real_server() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("dnsmasq")]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let _server = dnsmasq(&lab.server)?;
    let socket = udp_socket(&lab.client, Ipv4Addr::UNSPECIFIED.into(), 0)?;
    socket.connect((SERVICE, 53))?;
    let mut buffer = [0; 2000];
    let mut ask = |name, kind| -> Result<Vec<u8>, LabError> {
        socket.send(&dns_query(0x4646, name, kind))?;
        let length = socket
            .recv(&mut buffer)
            .map_err(|source| LabError::Io { what: format!("DNS {name}"), source })?;
        Ok(buffer[..length].to_vec())
    };
    let holds = |answer: &[u8], bytes: &[u8]| answer.windows(bytes.len()).any(|window| window == bytes);
    let a = ask("www.example.net", 1)?;
    assert_eq!((&a[..2], a[3] & 15), (&[0x46, 0x46][..], 0), "the answer to our question, without an error");
    assert!(holds(&a, &SERVICE.octets()));
    assert!(holds(&ask("www.example.net", 28)?, &SERVER.octets()));
    assert!(ask("long.example.net", 16)?.len() > 800);
    assert_eq!(ask("unknown.example.net", 1)?[3] & 15, 5, "refused, as the server has no upstream");
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn iperf3_over_tcp_in_both_directions() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("iperf3")]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let _server = iperf3(&lab.server)?;
    for reverse in ["", "-R"] {
        let run = lab.client.cmd("iperf3").args("-c 192.0.2.1 -t 3 -J").args(reverse).ok()?;
        let rate = json(&run.stdout)?["end"]["sum_received"]["bits_per_second"].as_f64().unwrap_or(0.0);
        println!("TCP {reverse}: {:.0} Mbit/s", rate / 1e6);
        assert!(rate > 20e6, "{rate} bit/s {reverse}");
    }
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn iperf3_over_udp_loses_nothing_at_a_moderate_rate() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("iperf3")]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let _server = iperf3(&lab.server)?;
    for reverse in ["", "-R"] {
        let command = lab.client.cmd("iperf3").args("-c 192.0.2.1 -u -b 20M -l 1400 -t 3 -J").args(reverse);
        let sum = json(&command.ok()?.stdout)?["end"]["sum"].clone();
        let (packets, lost) =
            (sum["packets"].as_u64().unwrap_or(0), sum["lost_packets"].as_u64().unwrap_or(0));
        println!("UDP {reverse}: {lost} of {packets} lost");
        assert!(packets > 4000, "{sum}");
        // A busy machine may schedule a receiver too late for its socket buffer; the relay's own drops are counted.
        assert!(lost * 100 <= packets, "{lost} of {packets} lost {reverse}");
    }
    lab.assert_healthy()
}
