//! The laboratory itself, without a relay: it must clean up, give up in time, and give real frames.

use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pktgen_tests::lab::{
    Cmd, Lab, LabError, Namespace, Need, PATIENCE, RawLink, Shape, TestResult, frame, iperf3, nginx,
    skip_unless, traceroute, veth, wait_until,
};

/// Two hosts with a kernel router between them, where the relay would be.
fn forwarding_pair() -> Result<[Namespace; 3], LabError> {
    let [left, middle, right] =
        [Namespace::new("left")?, Namespace::new("middle")?, Namespace::new("right")?];
    veth(&left, "c4", &middle, "r4", 1500)?;
    veth(&right, "s6", &middle, "r6", 1500)?;
    for (host, interface, net) in [(&left, "c4", 1), (&right, "s6", 2)] {
        host.plain_frames(interface)?;
        host.ip(&format!("addr add 10.0.{net}.2/24 dev {interface}"))?;
        host.ip(&format!("route add default via 10.0.{net}.1"))?;
    }
    middle.ip("addr add 10.0.1.1/24 dev r4")?;
    middle.ip("addr add 10.0.2.1/24 dev r6")?;
    middle.sysctl("net.ipv4.ip_forward=1")?;
    Ok([left, middle, right])
}

#[test]
#[ignore = "needs root and namespaces; scripts/test runs it"]
fn namespaces_and_processes_are_gone_after_a_panic() -> TestResult {
    if skip_unless(&[Need::Root, Need::Program("iperf3")]) {
        return Ok(());
    }
    let seen = std::sync::Mutex::new((String::new(), 0));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let lab = Lab::wire(&Shape::routed(1400, 1400)).expect("wired");
        let daemon = iperf3(&lab.client).expect("started");
        *seen.lock().expect("not poisoned") = (lab.client.name().to_owned(), daemon.pid());
        assert_eq!(1, 2, "on purpose");
    }));
    assert!(panicked.is_err());
    let (name, pid) = seen.into_inner().expect("not poisoned");
    assert!(!Cmd::new("ip").args("netns list").ok()?.stdout.contains(&name));
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    Ok(())
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_failed_test_leaves_counters_and_captures_behind() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("dumpcap"), Need::Program("tshark")]) {
        return Ok(());
    }
    let name = "a_failed_test_on_purpose";
    let failing = std::thread::Builder::new().name(name.into()).spawn(|| -> TestResult {
        let lab = Lab::up(&Shape::default())?;
        assert!(lab.pings(&lab.client, "192.0.2.1"));
        Err(lab.relay_ns.ip("link show dev of-nobody").expect_err("there is no such link"))
    })?;
    assert!(failing.join().expect("it fails without a panic").is_err());
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let place = target.join("lab-failures").join(name);
    let log = std::fs::read_to_string(place.join("relay.log"))?;
    assert!(log.contains("counters {"), "{log}");
    assert!(std::fs::read_to_string(place.join("client.txt"))?.contains("203.0.113.1"));
    let frames = std::fs::read_dir(&place)?.filter_map(Result::ok).map(|entry| entry.path());
    let captures: Vec<PathBuf> =
        frames.filter(|path| path.extension().is_some_and(|it| it == "pcapng")).collect();
    assert_eq!(captures.len(), 2, "{captures:?}");
    for capture in &captures {
        let echoes =
            Cmd::new("tshark").arg("-r").arg(capture.display().to_string()).args("-Y icmp||icmpv6.type==128");
        assert!(echoes.ok()?.stdout.contains("Echo (ping)"), "{}", capture.display());
    }
    std::fs::remove_dir_all(&place)?;
    Ok(())
}

#[test]
#[ignore = "needs root and namespaces; scripts/test runs it"]
fn a_command_that_hangs_is_ended() -> TestResult {
    if skip_unless(&[Need::Root]) {
        return Ok(());
    }
    let namespace = Namespace::new("slow")?;
    let start = Instant::now();
    let outcome = namespace.sh("echo before; sleep 1234 & sleep 1234").timeout(1).run();
    assert!(
        matches!(&outcome, Err(LabError::TooSlow { output, .. }) if output.contains("before")),
        "{outcome:?}"
    );
    assert!(start.elapsed() < PATIENCE);
    let survivors = Cmd::new("ip").args("netns pids").arg(namespace.name());
    assert!(wait_until(PATIENCE, || survivors.ok().is_ok_and(|output| output.stdout.is_empty())));
    Ok(())
}

#[test]
#[ignore = "needs root and namespaces; scripts/test runs it"]
fn the_hosts_talk_through_a_kernel_router() -> TestResult {
    if skip_unless(&[Need::Root, Need::Program("nginx"), Need::Program("curl"), Need::Program("traceroute")])
    {
        return Ok(());
    }
    let [left, _middle, right] = forwarding_pair()?;
    let _server = nginx(&right, "10.0.2.2")?;
    let page = left.cmd("curl").args("-sS --max-time 5 http://10.0.2.2/").ok()?.stdout;
    assert_eq!(page, "Served by an IPv6-only host.\n");
    assert_eq!(traceroute(&left, "", "10.0.2.2")?, ["10.0.1.1", "10.0.2.2"]);
    Ok(())
}

#[test]
#[ignore = "needs root and namespaces; scripts/test runs it"]
fn a_deaf_interface_is_silent_but_packet_sockets_still_hear() -> TestResult {
    if skip_unless(&[Need::Root]) {
        return Ok(());
    }
    let [left, middle, _right] = forwarding_pair()?;
    let ping = left.cmd("ping").args("-n -c1 -W1 10.0.1.1");
    assert!(ping.run()?.success());
    middle.deafen("r4")?;
    left.flush_neighbors()?;
    let mut ear = RawLink::open(&middle, "r4")?;
    assert!(!ping.run()?.success(), "neither ARP nor ping may be answered");
    assert!(
        ear.listen(Duration::from_secs(2), |frame| frame[12..14] == [8, 6]),
        "the ARP request was on the wire"
    );
    Ok(())
}

#[test]
#[ignore = "needs root and namespaces; scripts/test runs it"]
fn frames_arrive_as_they_were_sent_with_real_checksums_and_sizes() -> TestResult {
    if skip_unless(&[Need::Root, Need::Program("nginx"), Need::Program("curl")]) {
        return Ok(());
    }
    let [left, middle, right] = forwarding_pair()?;
    let mut ear = RawLink::open(&middle, "r4")?;
    let mut mouth = RawLink::open(&left, "c4")?;
    let hello = frame::ospf_hello(Ipv4Addr::new(10, 0, 1, 2), 1);
    let sent = frame::ethernet([1, 0, 0x5e, 0, 0, 5], mouth.mac(), frame::IPV4, &hello);
    assert!(mouth.send(&sent));
    assert!(ear.listen(Duration::from_secs(2), |frame| frame == sent));

    let server = nginx(&right, "10.0.2.2")?;
    std::fs::write(server.path().join("www/large"), vec![7; 1 << 20])?;
    let listener = std::thread::spawn(move || {
        let (mut segments, mut wrong) = (0, 0);
        ear.listen(Duration::from_millis(1500), |frame| {
            let packet = frame.get(14..).unwrap_or_default();
            if frame[12..14] == [8, 0] && packet[9] == 6 {
                segments += 1;
                let length = u16::from_be_bytes([packet[2], packet[3]]);
                let tcp = u16::to_be_bytes(length - 20);
                let sum =
                    frame::checksum(&[&packet[12..20], &[0, 6], &tcp, &packet[20..usize::from(length)]]);
                wrong += u32::from(sum != 0 || length > 1500);
            }
            false
        });
        (segments, wrong)
    });
    left.cmd("curl").args("-sS --max-time 5 -o /dev/null http://10.0.2.2/large").ok()?;
    let (segments, wrong) = listener.join().expect("the listener does not panic");
    assert!(segments > 100, "{segments}");
    assert_eq!(wrong, 0, "of {segments} segments");
    Ok(())
}
