//! Path MTU discovery where it hurts: a link of 1400 bytes behind routers on either side, with DF and without.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use pktgen_tests::lab::frame::{self, Random};
use pktgen_tests::lab::probe::{echo_once, udp_echo, udp_socket};
use pktgen_tests::lab::{
    CLIENT, Driver, Lab, LabError, Need, RawLink, SERVER, SERVICE, Shape, TestResult, embedded, nginx,
    skip_unless,
};

const NEEDS: &[Need] = &[Need::Root, Need::Relay, Need::Program("nginx"), Need::Program("curl")];

#[derive(Clone, Copy, PartialEq)]
enum First {
    Download,
    Upload,
}

/// 10 MB down and up over TCP, which sets DF. The order matters: an end that has learned the path MTU announces a
/// smaller segment size on its next connection, and then the other end has nothing left to learn.
fn transfer_with_df(lab: &Lab, first: First) -> TestResult {
    let server = nginx(&lab.server, &format!("[{SERVER}]"))?;
    let www = server.path().join("www");
    std::fs::write(www.join("original"), Random::new(3).bytes(10 << 20))?;
    let www = www.display();
    let down = lab.client.sh(&format!("curl -sSf --max-time 25 -o {www}/fetched http://{SERVICE}/original"));
    let up = lab.client.sh(&format!("curl -sSf --max-time 25 -T {www}/original http://{SERVICE}/stored"));
    let order = if first == First::Download { [down, up] } else { [up, down] };
    for command in order {
        command.timeout(30).ok()?;
    }
    lab.client.sh(&format!("cmp {www}/original {www}/fetched && cmp {www}/original {www}/stored")).ok()?;
    Ok(())
}

/// Counts the IPv6 fragments that reach the server while `send` runs and the socket waits for the whole datagram.
fn reassembled(
    lab: &Lab,
    receiver: &UdpSocket,
    payload: &[u8],
    send: impl FnOnce() -> TestResult,
) -> Result<usize, LabError> {
    let mut ear = RawLink::open(&lab.server, "s6")?;
    send()?;
    let mut buffer = vec![0; 65536];
    let (length, _) = receiver
        .recv_from(&mut buffer)
        .map_err(|source| LabError::Io { what: "datagram at the server".into(), source })?;
    assert_eq!(&buffer[..length], payload);
    let mut fragments = 0;
    ear.listen(Duration::from_millis(300), |frame| {
        fragments += usize::from(frame[12..14] == frame::IPV6.to_be_bytes() && frame[20] == 44);
        false
    });
    Ok(fragments)
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn tcp_crosses_a_1400_byte_ipv6_link() -> TestResult {
    if skip_unless(NEEDS) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::routed(1500, 1400))?;
    transfer_with_df(&lab, First::Upload)?;
    let learned = lab.client.ip("route get 192.0.2.1")?;
    assert!(learned.contains("mtu 1380"), "Packet Too Big 1400 becomes Fragmentation Needed 1380: {learned}");
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn tcp_crosses_a_1400_byte_ipv4_link() -> TestResult {
    if skip_unless(NEEDS) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::routed(1400, 1500))?;
    transfer_with_df(&lab, First::Download)?;
    let learned = lab.server.ip(&format!("-6 route get {}", embedded(CLIENT)))?;
    assert!(learned.contains("mtu 1420"), "Fragmentation Needed 1400 becomes Packet Too Big 1420: {learned}");
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_datagram_without_df_is_fragmented_for_ipv6_and_reassembled() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::routed(1500, 1400))?;
    // From now on UDP sockets of the client do not set DF.
    lab.client.sysctl("net.ipv4.ip_no_pmtu_disc=1")?;
    let receiver = udp_socket(&lab.server, SERVER.into(), 7)?;
    let sender = udp_socket(&lab.client, Ipv4Addr::UNSPECIFIED.into(), 0)?;
    let payload = Random::new(5).bytes(1472);
    let send = || Ok(sender.send_to(&payload, (SERVICE, 7)).map(drop)?);
    assert_eq!(reassembled(&lab, &receiver, &payload, send)?, 2, "fragments of at most 1280 bytes");
    let small = Random::new(6).bytes(1232);
    let send = || Ok(sender.send_to(&small, (SERVICE, 7)).map(drop)?);
    assert_eq!(
        reassembled(&lab, &receiver, &small, send)?,
        0,
        "1280 bytes after translation: no fragment header"
    );
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn ipv4_fragments_are_translated_and_reassembled_at_the_server() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::routed(1400, 1500))?;
    lab.client.sysctl("net.ipv4.ip_no_pmtu_disc=1")?;
    let receiver = udp_socket(&lab.server, SERVER.into(), 7)?;
    let sender = udp_socket(&lab.client, Ipv4Addr::UNSPECIFIED.into(), 0)?;
    let payload = Random::new(5).bytes(1472);
    let send = || Ok(sender.send_to(&payload, (SERVICE, 7)).map(drop)?);
    // The router makes two, and the relay cuts the first again because it is larger than 1280.
    assert!(reassembled(&lab, &receiver, &payload, send)? >= 2);
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn datagrams_of_many_fragments_are_echoed() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let server = udp_echo(&lab.server, 7)?;
    let socket = udp_socket(&lab.client, Ipv4Addr::UNSPECIFIED.into(), 0)?;
    let to = SocketAddr::from((SERVICE, 7));
    let bytes = Random::new(11).bytes(20_000);
    for size in [1473, 1481, 2961, 8000, 20_000] {
        assert!(echo_once(&socket, to, &bytes[..size])?, "{size} bytes came back changed");
    }
    socket.send_to(b"quit", to)?;
    server.join().expect("the echo server does not panic");
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn the_relay_itself_reports_what_does_not_fit() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape { v6_mtu: 1500, ..Shape::default() })?;
    let ping = lab.client.cmd("ping").args("-n -M do -c2 -i0.3 -W1 -s1472 192.0.2.1").run()?;
    let wanted = "From 203.0.113.1 icmp_seq=1 Frag needed and DF set (mtu = 1480)";
    assert!(ping.text().contains(wanted), "{}", ping.text());
    let ping = lab.client.cmd("ping").args("-n -M do -c1 -W1 -s1452 192.0.2.1").run()?;
    assert!(ping.success(), "{}", ping.text());
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn jumbo_frames_cross_in_one_piece() -> TestResult {
    if skip_unless(NEEDS) {
        return Ok(());
    }
    let mut lab = Lab::wire(&Shape {
        driver: Driver::AfPacketJumbo,
        v6_mtu: 9000,
        translation: "lowest_ipv6_mtu = 9000".into(),
        ..Shape::default()
    })?;
    lab.config.ports[0].mtu = 8980;
    lab.client.ip("link set c4 mtu 8980")?;
    lab.relay_ns.ip("link set r4 mtu 8980")?;
    lab.start_relay()?;
    let largest = [
        (&lab.client, SERVICE.to_string(), 8980 - 28),
        (&lab.server, embedded(CLIENT).to_string(), 9000 - 48),
    ];
    for (from, to, size) in largest {
        let ping = from.cmd("ping").args("-n -c3 -i0.2 -W2 -M do -s").arg(size.to_string()).arg(to).run()?;
        assert!(ping.stdout.contains(" 0% packet loss"), "{}", ping.text());
    }
    let mut ear = RawLink::open(&lab.server, "s6")?;
    transfer_with_df(&lab, First::Download)?;
    assert!(ear.listen(Duration::from_millis(300), |frame| frame.len() == 14 + 9000), "TCP fills its frames");
    lab.assert_healthy()
}
