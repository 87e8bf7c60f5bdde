//! Two workers, each with a queue of its own on every port.

use std::net::{Ipv4Addr, SocketAddr};

use pktgen_tests::lab::frame::Random;
use pktgen_tests::lab::probe::{echo_once, udp_echo, udp_socket};
use pktgen_tests::lab::{Lab, Need, SERVER, SERVICE, Shape, TestResult, iperf3, nginx, skip_unless};

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn two_workers_carry_many_flows() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("iperf3")]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::two_workers())?;
    let server = udp_echo(&lab.server, 7)?;
    let to = SocketAddr::from((SERVICE, 7));
    let bytes = Random::new(2).bytes(1400);
    let sockets: Result<Vec<_>, _> =
        (0..64).map(|_| udp_socket(&lab.client, Ipv4Addr::UNSPECIFIED.into(), 0)).collect();
    let sockets = sockets?;
    for (number, socket) in sockets.iter().cycle().take(640).enumerate() {
        assert!(echo_once(socket, to, &bytes[..=number * 2])?, "flow {number}");
    }
    sockets[0].send_to(b"quit", to)?;
    server.join().expect("the echo server does not panic");

    let _server = iperf3(&lab.server)?;
    for reverse in ["", "-R"] {
        lab.client.cmd("iperf3").args("-c 192.0.2.1 -t 3 -P 8").args(reverse).ok()?;
    }
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn two_workers_deliver_a_large_file_unchanged() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("nginx"), Need::Program("curl")]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::two_workers())?;
    let server = nginx(&lab.server, &format!("[{SERVER}]"))?;
    let file = server.path().join("www/original");
    std::fs::write(&file, Random::new(46).bytes(20 << 20))?;
    let original = lab.client.sh(&format!("sha256sum < {}", file.display())).ok()?.stdout;
    // Eight at once, so that both queues are used whatever the hash of one flow is.
    let fetch = "for i in 1 2 3 4 5 6 7 8; do curl -sSf --max-time 60 http://192.0.2.1/original | sha256sum & done; wait";
    let fetched = lab.client.sh(fetch).timeout(90).ok()?.stdout;
    assert_eq!(fetched, original.repeat(8));
    lab.assert_healthy()
}
