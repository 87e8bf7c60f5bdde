//! The box's own packets: what is not for translation reaches the kernel through the twin, and comes back out.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::Duration;

use pktgen_tests::lab::probe::udp_socket;
use pktgen_tests::lab::{
    CLIENT, Lab, LabError, Namespace, Need, PATIENCE, RawLink, SERVER, SERVICE, Shape, TestResult, bird,
    embedded, frame, iperf3, skip_for_kernel, skip_unless, wait_until,
};

const TO_OSPF_ROUTERS: [u8; 6] = [1, 0, 0x5e, 0, 0, 5];
const TO_LLDP_BRIDGES: [u8; 6] = [1, 0x80, 0xc2, 0, 0, 0x0e];

/// Frames an interface was given to send, whether the other end had room for them or not.
fn offered(host: &Namespace, interface: &str) -> Result<u64, LabError> {
    let directory = format!("/sys/class/net/{interface}/statistics");
    let text = host.sh(&format!("cat {directory}/tx_packets {directory}/tx_dropped")).ok()?.stdout;
    Ok(text.lines().filter_map(|line| line.parse::<u64>().ok()).sum())
}

fn ping(from: &Namespace, to: &str) -> Result<String, LabError> {
    Ok(from.cmd("ping").args("-n -c3 -i0.2 -W2").arg(to).run()?.text())
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn the_box_answers_arp_nd_and_ping_exactly_once() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    for namespace in [&lab.client, &lab.relay_ns, &lab.server] {
        namespace.flush_neighbors()?;
    }
    let (mut ear4, mut ear6) = (RawLink::open(&lab.client, "c4")?, RawLink::open(&lab.server, "s6")?);
    let pings = [
        (&lab.client, "203.0.113.1"),
        (&lab.server, "2001:db8:12:34::ffff"),
        (&lab.relay_ns, "203.0.113.50"),
        (&lab.relay_ns, "2001:db8:12:34::1"),
    ];
    for (from, to) in pings {
        let text = ping(from, to)?;
        assert!(text.contains("3 received, 0% packet loss") && !text.contains("DUP"), "{text}");
    }
    let (mut arp, mut advertisements) = (0, 0);
    ear4.listen(Duration::from_millis(300), |frame| {
        arp += usize::from(frame[12..14] == [8, 6] && frame[21] == 2 && frame[28..32] == [203, 0, 113, 1]);
        false
    });
    let own = "2001:db8:12:34::ffff".parse::<std::net::Ipv6Addr>().expect("an address").octets();
    ear6.listen(Duration::from_millis(300), |frame| {
        let is_ours = frame.len() >= 78 && frame[20] == 58 && frame[54] == 136 && frame[62..78] == own;
        advertisements += usize::from(is_ours);
        false
    });
    // A host also asks by unicast a few seconds later; this test is faster than that.
    assert_eq!((arp, advertisements), (1, 1), "one answer to one question");
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn lldp_passes_untouched_in_both_directions() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let pairs = [(&lab.client, "c4", "bl-v4"), (&lab.server, "s6", "bl-v6")];
    for (host, interface, twin) in pairs {
        let (mut outside, mut inside) =
            (RawLink::open(host, interface)?, RawLink::open(&lab.relay_ns, twin)?);
        let body = [&[2, 7, 4, 2, 0, 0, 0, 0, 1, 4, 2, 5, b'1', 6, 2, 0, 120, 0, 0][..], &[0; 40]].concat();
        let sent = frame::ethernet(TO_LLDP_BRIDGES, outside.mac(), frame::LLDP, &body);
        assert!(outside.send(&sent));
        assert!(inside.listen(Duration::from_secs(2), |frame| frame == sent), "{interface} to {twin}");
        let sent = frame::ethernet(TO_LLDP_BRIDGES, inside.mac(), frame::LLDP, &body);
        assert!(inside.send(&sent));
        assert!(outside.listen(Duration::from_secs(2), |frame| frame == sent), "{twin} to {interface}");
    }
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn ospf_hellos_reach_the_twin_untouched_under_full_load() -> TestResult {
    const HELLOS: u32 = 100;
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("iperf3")]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    lab.relay().prefer()?;
    let _server = iperf3(&lab.server)?;
    // Not on the relay's processor: on a real box nobody else is there.
    let load = lab.client.cmd("taskset").args("-c 0 iperf3 -c 192.0.2.1 -t 4 -P 2");
    let load = std::thread::spawn(move || load.ok());
    sleep(Duration::from_millis(1000));

    let (mut outside, mut inside) =
        (RawLink::open(&lab.client, "c4")?, RawLink::open(&lab.relay_ns, "bl-v4")?);
    let mac = outside.mac();
    let hello = move |number| {
        let source = Ipv4Addr::new(203, 0, 113, 77);
        frame::ethernet(TO_OSPF_ROUTERS, mac, frame::IPV4, &frame::ospf_hello(source, number))
    };
    let sender = std::thread::spawn(move || {
        for number in 0..HELLOS {
            assert!(outside.send(&hello(number)), "hello {number} left the host");
            sleep(Duration::from_millis(20));
        }
    });
    let mut missing: std::collections::BTreeSet<Vec<u8>> = (0..HELLOS).map(hello).collect();
    inside.listen(Duration::from_secs(5), |frame| missing.remove(frame) && missing.is_empty());
    sender.join().expect("every hello was sent");
    load.join().expect("the load does not panic")?;
    let counters = lab.relay().settled_counters()?;
    let arrived = u64::from(HELLOS) - u64::try_from(missing.len()).expect("a small number");
    let in_vain = offered(&lab.client, "c4")? - counters.port("v4").received;
    println!(
        "{arrived} hellos arrived; {in_vain} frames of all kinds were lost before the relay could fetch them"
    );
    // A shared processor is late at times, and the kernel's queue before the driver is short. What the relay did get
    // is another matter.
    assert_eq!(counters.punted.get("routing_protocol"), Some(&arrived), "as many as it got: {counters:#?}");
    let dropped =
        ["punt_policed", "punt_ring_full", "twin_refused"].map(|reason| counters.dropped_for(reason));
    assert_eq!(dropped, [0; 3], "{counters:#?}");
    let lost = u64::from(HELLOS) - arrived;
    assert!(lost <= in_vain, "{lost} hellos lost, but only {in_vain} frames before the relay");
    assert!(arrived >= 75, "too few to judge: {arrived} of {HELLOS}");
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn ospf_and_bgp_sessions_come_up_over_the_twins() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("bird")]) {
        return Ok(());
    }
    let sessions = |ip: &str, interface: &str, (own, own_as): (&str, u32), (peer, peer_as): (&str, u32)| {
        let (igp, version) = if ip == "ipv4" { ("igp4", "v2") } else { ("igp6", "v3") };
        format!(
            "protocol ospf {version} {igp} {{ {ip} {{ import all; export none; }}; area 0 {{ interface \"{interface}\" \
             {{ hello 1; dead 4; wait 2; }}; }}; }}\n\
             protocol bgp peer_{ip} {{ local {own} as {own_as}; neighbor {peer} as {peer_as}; connect delay time 1; \
             {ip} {{ import all; export all; }}; }}\n"
        )
    };
    let mut lab = Lab::up(&Shape::default())?;
    let (box4, host4) = (("203.0.113.1", 64512), ("203.0.113.50", 64513));
    let (box6, host6) = (("2001:db8:12:34::ffff", 64512), ("2001:db8:12:34::1", 64514));
    let own = "protocol static { ipv4; route 192.0.2.0/24 blackhole; }\n\
               protocol static { ipv6; route 2001:db8:46::/96 blackhole; }\n"
        .to_owned()
        + &sessions("ipv4", "bl-v4", box4, host4)
        + &sessions("ipv6", "bl-v6", box6, host6);
    let start = |namespace: &Namespace, id: u32, protocols: &str| {
        bird(namespace, &format!("router id 10.0.0.{id};\nprotocol device {{}}\n{protocols}"))
    };
    let relay = start(&lab.relay_ns, 1, &own)?;
    let client = start(&lab.client, 2, &sessions("ipv4", "c4", host4, box4))?;
    let server = start(&lab.server, 3, &sessions("ipv6", "s6", host6, box6))?;
    for (router, ip) in [(&relay, 4), (&relay, 6), (&client, 4), (&server, 6)] {
        let (neighbors, session) =
            (format!("show ospf neighbors igp{ip}"), format!("show protocols peer_ipv{ip}"));
        let up = wait_until(PATIENCE, || {
            router.birdc(&neighbors).is_ok_and(|text| text.contains("Full/"))
                && router.birdc(&session).is_ok_and(|text| text.contains("Established"))
        });
        assert!(up, "{}\n{}", router.birdc("show protocols").unwrap_or_default(), router.log());
    }
    for (router, prefix) in [(&client, "192.0.2.0/24"), (&server, "2001:db8:46::/96")] {
        let learned = wait_until(PATIENCE, || {
            router.birdc(&format!("show route {prefix}")).is_ok_and(|text| text.contains("[peer_"))
        });
        assert!(learned, "{prefix} was not learned: {}", router.birdc("show route")?);
    }
    assert!(lab.pings(&lab.client, "192.0.2.1"), "the relay still translates");
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn the_first_packet_of_a_cold_flow_is_delivered() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let client = udp_socket(&lab.client, CLIENT.into(), 4600)?;
    let server = udp_socket(&lab.server, SERVER.into(), 4600)?;
    let mut buffer = [0; 100];
    for round in 0..3u8 {
        for namespace in [&lab.client, &lab.relay_ns, &lab.server] {
            namespace.flush_neighbors()?;
        }
        sleep(Duration::from_millis(300));
        client.send_to(&[round; 10], (SERVICE, 4600))?;
        let arrived = server.recv_from(&mut buffer);
        assert!(matches!(arrived, Ok((10, _)) if buffer[0] == round), "to IPv6, round {round}: {arrived:?}");

        for namespace in [&lab.client, &lab.relay_ns, &lab.server] {
            namespace.flush_neighbors()?;
        }
        sleep(Duration::from_millis(300));
        server.send_to(&[round; 20], (embedded(CLIENT), 4600))?;
        let arrived = client.recv_from(&mut buffer);
        assert!(matches!(arrived, Ok((20, _)) if buffer[0] == round), "to IPv4, round {round}: {arrived:?}");
    }
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_vlan_of_the_twin_answers_tagged_frames() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    if let Err(error) = lab.relay_ns.ip("link add link bl-v4 name bl-v4.5 type vlan id 5") {
        skip_for_kernel(&format!("this kernel has no VLAN interfaces (8021q): {error}"));
        return Ok(());
    }
    lab.relay_ns.ip("addr add 10.5.0.1/24 dev bl-v4.5")?;
    lab.relay_ns.ip("link set bl-v4.5 up")?;
    let mut wire = RawLink::open(&lab.client, "c4")?;
    // The client has no VLAN interface: it asks by hand, tagged with VLAN 5, for 10.5.0.1.
    let question = [
        &[0, 5, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1][..],
        &wire.mac(),
        &[10, 5, 0, 2],
        &[0; 6],
        &[10, 5, 0, 1],
        &[0; 18],
    ]
    .concat();
    assert!(wire.send(&frame::ethernet([0xff; 6], wire.mac(), 0x8100, &question)));
    // The receiving kernel may have taken the tag off before the packet socket sees the frame.
    let answered = wire.listen(Duration::from_secs(2), |frame| {
        let arp = if frame[12..14] == [0x81, 0] { &frame[18..] } else { &frame[14..] };
        frame.len() >= 42 && arp[..8] == [0, 1, 8, 0, 6, 4, 0, 2] && arp[14..18] == [10, 5, 0, 1]
    });
    assert!(answered, "ARP on VLAN 5");
    lab.assert_healthy()
}
