//! RFC 7755 appendix A with real daemons: its services, its freedom of paths, its Edge Relays (RFC 7756), and what a relay's
//! failure costs.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pktgen_tests::idc::scenario::SCENARIOS;
use pktgen_tests::idc::{CLIENT4, Idc, Kit, LARGE, Routing, Suite};
use pktgen_tests::lab::{
    LabError, Namespace, Need, PATIENCE, RawLink, Relay, TestResult, skip_unless, wait_until,
};

const PROGRAMS: [Need; 8] = [
    Need::Root,
    Need::Relay,
    Need::Program("bird"),
    Need::Program("vtysh"),
    Need::Program("nginx"),
    Need::Program("vsftpd"),
    Need::Program("curl"),
    Need::Program("nft"),
];

fn is_long() -> bool {
    std::env::var("BORDERLINE_LONG").is_ok_and(|value| value == "1")
}

/// Fetches an address into nowhere; how many bytes came.
fn fetch(from: &Namespace, how: &str, url: &str) -> Result<usize, LabError> {
    let command =
        from.cmd("curl").args("-gsSf --max-time 60 -o /dev/null -w %{size_download}").args(how).arg(url);
    Ok(command.timeout(70).ok()?.stdout.trim().parse().unwrap_or(0))
}

fn page(from: &Namespace, url: &str) -> Result<String, LabError> {
    Ok(from.cmd("curl").args("-gsSf --max-time 60").arg(url).timeout(70).ok()?.stdout)
}

#[test]
#[ignore = "needs root, namespaces, daemons and the release binary; scripts/test runs it"]
fn everything_the_appendix_shows_works() -> TestResult {
    if skip_unless(&PROGRAMS) {
        return Ok(());
    }
    let mut idc = Idc::up(Suite::figure(Routing::Bird))?;
    idc.record();
    let shown = everything(&mut idc);
    if shown.is_err() {
        idc.keep_evidence();
    }
    shown
}

fn everything(idc: &mut Idc) -> TestResult {
    web_and_mail(idc)?;
    native_ipv6_passes_the_relays_by(idc)?;
    in_by_one_relay_and_out_by_the_other(idc)?;
    packet_by_packet(idc)?;
    ftp(idc)?;
    edge_relays_are_transparent(idc)?;
    addresses_inside_of_a_protocol(idc)?;
    nothing_is_cut(idc)?;
    dhcp_gives_a_node_its_service_address(idc)?;
    edge_relays_idle_cheaply(idc)
}

/// HTTP to 192.0.2.1 and 192.0.2.3, SMTP to 192.0.2.2; the servers see the clients.
fn web_and_mail(idc: &Idc) -> TestResult {
    let client = idc.node("client4");
    assert_eq!(page(client, "http://192.0.2.1/")?, "Tenant A's www.\n");
    assert_eq!(page(client, "http://192.0.2.3/")?, "Tenant B's web 1, behind www-lb.\n");
    let log = idc.servers().www.path().join("access.log");
    let seen = || fs::read_to_string(&log).unwrap_or_default();
    // nginx writes the line after the last byte has gone.
    let told = wait_until(PATIENCE, || seen().contains("2001:db8:46::cb00:7132 "));
    assert!(told, "the server sees the client's address: {}", seen());

    let folder = idc.servers().mta.path();
    fs::write(
        folder.join("letter"),
        "From: a@example.com\r\nTo: b@example.net\r\nSubject: hello\r\n\r\nOver 192.0.2.2.\r\n",
    )?;
    let letter = folder.join("letter").display().to_string();
    client
        .cmd("curl")
        .args("-sSf --max-time 60 smtp://192.0.2.2 --mail-from a@example.com --mail-rcpt b@example.net -T")
        .arg(letter)
        .timeout(70)
        .ok()?;
    let arrived = || files(&folder.join("mail/new")).iter().any(|text| text.contains("Over 192.0.2.2."));
    assert!(wait_until(PATIENCE, arrived), "the letter arrived");
    Ok(())
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect()
}

/// What the relays were given that was not their kernels': frames of routing daemons move the other counters.
fn handled(idc: &mut Idc) -> Result<Vec<u64>, LabError> {
    let mut handled = Vec::new();
    for side in 0..2 {
        let counters = idc.relay(side).counters()?;
        handled.push(counters.received - counters.punted_total());
    }
    Ok(handled)
}

fn native_ipv6_passes_the_relays_by(idc: &mut Idc) -> TestResult {
    // The counters are read from several cells, so a frame may be in one and not yet in the other.
    let settled = |idc: &mut Idc| -> Result<Vec<u64>, LabError> {
        let mut last = handled(idc)?;
        for _ in 0..20 {
            let next = handled(idc)?;
            if next == last {
                return Ok(next);
            }
            last = next;
        }
        Ok(last)
    };
    let before = settled(idc)?;
    let client = idc.node("client6");
    assert_eq!(page(client, "http://[2001:db8:12:34::1]/")?, "Tenant A's www.\n");
    assert_eq!(fetch(client, "", "http://[2001:db8:fe:dc::1]/large")?, LARGE);
    assert_eq!(fetch(client, "", "ftp://[2001:db8:12:34::3]/large")?, LARGE, "the node's own address");
    let mut after = settled(idc)?;
    let same = wait_until(PATIENCE, || {
        after = settled(idc).unwrap_or_default();
        after == before
    });
    assert!(same, "native IPv6 is none of the relays' business: {before:?}, then {after:?}");
    Ok(())
}

/// Frames the two routers send to each relay while something happens.
fn shares<T>(
    idc: &Idc,
    happens: impl FnOnce() -> Result<T, LabError>,
) -> Result<([u64; 2], [u64; 2]), LabError> {
    let count = || (idc.sent_to_relays("inet4"), idc.sent_to_relays("dc"));
    let (in_before, out_before) = count();
    happens()?;
    let (in_after, out_after) = count();
    let grown = |after: [u64; 2], before: [u64; 2]| [after[0] - before[0], after[1] - before[1]];
    Ok((grown(in_after, in_before), grown(out_after, out_before)))
}

/// Asymmetric: there is no state, so no relay minds.
fn in_by_one_relay_and_out_by_the_other(idc: &Idc) -> TestResult {
    idc.node("inet4").ip("route add 192.0.2.0/24 via 198.51.100.2 metric 1")?;
    idc.node("dc").ip("-6 route add 2001:db8:46::/96 via 2001:db8:0:2::2 metric 1")?;
    let mut seen = ([0; 2], [0; 2]);
    // Again where it took long: frames of the routers' own are counted too.
    let as_told = (0..3).any(|_| {
        let fetched = shares(idc, || fetch(idc.node("client4"), "", "http://192.0.2.1/large"));
        seen = fetched.unwrap_or_default();
        let (there, back) = seen;
        there[0] > 100 && there[0] > 3 * there[1] && back[1] > 2000 && back[1] > 10 * back[0]
    });
    assert!(as_told, "in through relay 1 and out through relay 2: {seen:?}");
    idc.node("inet4").ip("route del 192.0.2.0/24 via 198.51.100.2 metric 1")?;
    idc.node("dc").ip("-6 route del 2001:db8:46::/96 via 2001:db8:0:2::2 metric 1").map(drop)
}

/// Each router sends every second packet to the other relay: Linux hashes flows, so marks choose the way.
fn packet_by_packet(idc: &Idc) -> TestResult {
    let spread = |router: &str, family: &str, matches: &str, gateways: [&str; 2]| -> TestResult {
        let node = idc.node(router);
        let rules = format!(
            "table inet spread {{ chain pre {{ type filter hook prerouting priority mangle; \
             {matches} meta mark set numgen inc mod 2 offset 1; }}; }}"
        );
        node.cmd("nft").arg(rules).ok()?;
        for (mark, gateway) in gateways.iter().enumerate() {
            let mark = mark + 1;
            node.ip(&format!("{family} route add default via {gateway} table 10{mark}"))?;
            node.ip(&format!("{family} rule add fwmark {mark} table 10{mark}"))?;
        }
        Ok(())
    };
    spread("inet4", "-4", "ip daddr 192.0.2.0/24", ["198.51.100.2", "198.51.100.6"])?;
    spread("dc", "-6", "ip6 daddr 2001:db8:46::/96", ["2001:db8:0:1::2", "2001:db8:0:2::2"])?;
    let (there, back) = shares(idc, || {
        let got = fetch(idc.node("client4"), "", "http://192.0.2.1/large")?;
        assert_eq!(got, LARGE);
        Ok(())
    })?;
    let even = |shares: [u64; 2]| shares[0].abs_diff(shares[1]) * 4 < shares[0] + shares[1];
    assert!(even(there) && even(back) && back[0] > 1000, "{there:?} and {back:?}");
    for (router, family) in [("inet4", "-4"), ("dc", "-6")] {
        let node = idc.node(router);
        node.cmd("nft").args("delete table inet spread").ok()?;
        for mark in 1..=2 {
            node.ip(&format!("{family} rule del fwmark {mark} table 10{mark}"))?;
        }
    }
    Ok(())
}

/// Both tenants, passive and active, down and up, with the addresses that the protocol itself carries.
fn ftp(idc: &Idc) -> TestResult {
    const PASSIVE: &str = "--disable-epsv --no-ftp-skip-pasv-ip";
    const ACTIVE: &str = "--disable-eprt --ftp-port -";
    let client = idc.node("client4");
    for (address, server) in [("192.0.2.4", &idc.servers().ftp_a), ("192.0.2.5", &idc.servers().ftp_b)] {
        // On a busy machine routes may have gone and come again, and the server may still be starting.
        let answers = || fetch(client, PASSIVE, &format!("ftp://{address}/large")).is_ok();
        assert!(wait_until(PATIENCE, answers), "{address} answers");
        for how in [PASSIVE, ACTIVE] {
            assert_eq!(fetch(client, how, &format!("ftp://{address}/large"))?, LARGE, "{address} {how}");
        }
        let file = server.path().join("vsftpd.conf").display().to_string();
        for (how, name) in [(PASSIVE, "passive"), (ACTIVE, "active")] {
            let to = format!("ftp://{address}/incoming/{name}");
            client
                .cmd("curl")
                .args("-sSf --max-time 60")
                .args(how)
                .arg("-T")
                .arg(&file)
                .arg(to)
                .timeout(70)
                .ok()?;
        }
        // The server has told its own address, and has heard the client's, as if nothing were in between.
        let log = fs::read_to_string(server.path().join("ftp.log"))?;
        let told = format!("Entering Passive Mode ({},", address.replace('.', ","));
        let heard = format!("PORT {},", CLIENT4.to_string().replace('.', ","));
        assert!(log.contains(&told) && log.contains(&heard), "{log}");
        for name in ["passive", "active"] {
            let got = fs::read(server.path().join("share/incoming").join(name))?;
            assert_eq!(got, fs::read(&file)?, "{address} {name}");
        }
    }
    Ok(())
}

/// RFC 7756: each node has its service address itself, reaches the world from it, and its IPv6 is left alone.
fn edge_relays_are_transparent(idc: &Idc) -> TestResult {
    for node in ["ftp-a", "ftp-b"] {
        let node = idc.node(node);
        node.cmd("ping").args("-n -c2 -i0.2 -W2 203.0.113.50").ok()?;
        // To other service addresses by the Border Relays, which turn it round (section 5.1).
        assert_eq!(page(node, "http://192.0.2.3/")?, "Tenant B's web 1, behind www-lb.\n");
    }
    idc.node("ftp-a").cmd("ping").args("-n -c2 -i0.2 -W2 192.0.2.5").ok()?;
    // The node's own IPv6, and the address it has handed over, which its own kernel does not have.
    idc.node("www").cmd("ping").args("-n -c2 -i0.2 -W2 2001:db8:12:34::3").ok()?;
    assert!(!idc.node("ftp-a").ip("-6 addr show")?.contains("2001:db8:12:34::4/"));
    // ::e is an address of er-b's twin, so its kernel defends it: a second owner on the LAN finds out.
    let rival = idc.node("web");
    rival.sysctl("net.ipv6.conf.lan.accept_dad=1")?;
    rival.sysctl("net.ipv6.conf.lan.dad_transmits=1")?;
    rival.ip("addr add 2001:db8:fe:dc::e/64 dev lan")?;
    let refused = wait_until(PATIENCE, || {
        rival.ip("-6 addr show dev lan").is_ok_and(|text| text.contains("dadfailed"))
    });
    rival.ip("addr del 2001:db8:fe:dc::e/64 dev lan")?;
    assert!(refused, "duplicate address detection has found er-b");
    Ok(())
}

/// A small protocol as SIP and its kin are: each side says inside of a message at which address it wants the media.
fn addresses_inside_of_a_protocol(idc: &Idc) -> TestResult {
    let here = Ipv4Addr::new(192, 0, 2, 5);
    let bind = |node: &str, address: Ipv4Addr, port: u16| -> Result<UdpSocket, LabError> {
        let socket = idc.node(node).enter(move || UdpSocket::bind((address, port)))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(socket)
    };
    let (caller, caller_media) = (bind("client4", CLIENT4, 5060)?, bind("client4", CLIENT4, 40_000)?);
    let (callee, callee_media) = (bind("ftp-b", here, 5060)?, bind("ftp-b", here, 40_002)?);
    let invite =
        format!("INVITE sip:ftp-b@{here} SIP/2.0\r\n\r\nc=IN IP4 {CLIENT4}\r\nm=audio 40000 RTP/AVP 0\r\n");
    caller.send_to(invite.as_bytes(), (here, 5060))?;
    let (text, from) = receive(&callee)?;
    assert_eq!(from.ip(), IpAddr::V4(CLIENT4), "the callee sees whom the message names");
    let answer = format!("SIP/2.0 200 OK\r\n\r\nc=IN IP4 {here}\r\nm=audio 40002 RTP/AVP 0\r\n");
    callee.send_to(answer.as_bytes(), from)?;
    callee_media.send_to(b"from callee", media(&text))?;
    let (text, _) = receive(&caller)?;
    caller_media.send_to(b"from caller", media(&text))?;
    assert_eq!(receive(&caller_media)?, ("from callee".into(), SocketAddr::from((here, 40_002))));
    assert_eq!(receive(&callee_media)?, ("from caller".into(), SocketAddr::from((CLIENT4, 40_000))));
    Ok(())
}

fn receive(socket: &UdpSocket) -> Result<(String, SocketAddr), LabError> {
    let mut bytes = [0; 1500];
    let (length, from) = socket.recv_from(&mut bytes)?;
    Ok((String::from_utf8_lossy(&bytes[..length]).into_owned(), from))
}

/// Where a session description wants its media.
fn media(text: &str) -> SocketAddr {
    let after = |key: &str| {
        let rest = text.split_once(key).map(|(_, rest)| rest).unwrap_or_default();
        rest.split([' ', '\r']).next().unwrap_or_default().to_owned()
    };
    let address = format!("{}:{}", after("c=IN IP4 "), after("m=audio "));
    address.parse().expect("the description has an address and a port")
}

/// Listens as long as something lasts, however long that is.
struct Ear {
    link: RawLink,
    is_over: Arc<AtomicBool>,
}

impl Ear {
    /// What has come before the end is there to be received, beside what routing daemons go on saying.
    fn hear(mut self, mut frame: impl FnMut(&[u8])) {
        let mut ended = None;
        while ended.is_none_or(|ended: Instant| ended.elapsed() < PATIENCE / 10) {
            match self.link.receive() {
                Some(received) => frame(&received),
                None if ended.is_some() => return,
                None => {}
            }
            if ended.is_none() && self.is_over.load(Ordering::Relaxed) {
                ended = Some(Instant::now());
            }
        }
    }
}

/// RFC 7756 section 4.2: IPv4 behind an Edge Relay has 20 bytes less than IPv6 around it, so nothing is cut anywhere.
fn nothing_is_cut(idc: &Idc) -> TestResult {
    let is_over = Arc::new(AtomicBool::new(false));
    let heard = Ear { link: RawLink::open(idc.node("dc"), "b-er")?, is_over: Arc::clone(&is_over) };
    let ear = std::thread::spawn(move || {
        let (mut largest, mut fragments, mut full) = (0, 0, 0);
        heard.hear(|frame| {
            let packet = frame.get(14..).unwrap_or_default();
            if frame[12..14] == [0x86, 0xdd] && packet.len() > 40 {
                largest = largest.max(packet.len());
                fragments += u32::from(packet[6] == 44);
                full += u32::from(packet.len() == 1500);
            }
        });
        (largest, fragments, full)
    });
    let heard = Ear { link: RawLink::open(idc.node("client4"), "net")?, is_over: Arc::clone(&is_over) };
    let offered = std::thread::spawn(move || {
        let mut offered = None;
        heard.hear(|frame| offered = offered.or_else(|| segment_size(frame, Ipv4Addr::new(192, 0, 2, 5))));
        offered
    });
    let fetched = fetch(idc.node("client4"), "", "ftp://192.0.2.5/large");
    is_over.store(true, Ordering::Relaxed);
    assert_eq!(fetched?, LARGE);
    let (largest, fragments, full) = ear.join().expect("the ear does not panic");
    assert_eq!((largest, fragments), (1500, 0), "full packets, uncut");
    assert!(full > 1000, "{full}");
    assert_eq!(offered.join().expect("the ear does not panic"), Some(1440), "the node knows its MTU, 1480");
    Ok(())
}

/// The maximum segment size in a SYN or SYN-ACK from an address.
fn segment_size(frame: &[u8], from: Ipv4Addr) -> Option<u16> {
    let packet =
        frame.get(14..).filter(|packet| packet.len() >= 44 && packet[0] == 0x45 && packet[9] == 6)?;
    let is_first = packet[12..16] == from.octets() && packet[33] & 2 != 0 && packet[40..42] == [2, 4];
    is_first.then(|| u16::from_be_bytes([packet[42], packet[43]]))
}

/// RFC 7756 appendix A.1: the relay has an address of the subnet and hands the service addresses out, with option 26.
fn dhcp_gives_a_node_its_service_address(idc: &Idc) -> TestResult {
    let (relay, node) = (idc.node("er-b"), idc.node("ftp-b"));
    // A node that knows nothing yet.
    node.ip("addr flush dev seg")?;
    relay.ip("addr add 192.0.2.6/30 dev bl-v4")?;
    let place = tempfile::tempdir()?;
    let (lease, script) = (place.path().join("leases"), place.path().join("script"));
    let server = relay
        .cmd("dnsmasq")
        .args("--keep-in-foreground --log-dhcp --no-ping --dhcp-authoritative --port=0 --user=root --pid-file= --conf-file=/dev/null --interface=bl-v4 --bind-interfaces")
        .args("--dhcp-range=192.0.2.5,192.0.2.5,255.255.255.252,1h --dhcp-option=3,192.0.2.6 --dhcp-option-force=26,1480")
        .arg(format!("--dhcp-leasefile={}", lease.display()));
    let server = pktgen_tests::lab::Daemon::start("dnsmasq", &server, tempfile::tempdir()?)?;
    fs::write(&script, "#!/bin/sh\n[ \"$1\" != bound ] || echo \"got $ip/$mask router $router mtu $mtu\"\n")?;
    let run = format!("chmod +x {0} && udhcpc -f -q -n -t 20 -T 2 -O mtu -i seg -s {0}", script.display());
    let told = node.sh(&run).timeout(90).run()?.text();
    assert!(told.contains("got 192.0.2.5/30 router 192.0.2.6 mtu 1480"), "{told}\n{}", server.log());
    // Used as it was told: the covering subnet on the link, and the relay as the router.
    node.ip_lines("addr add 192.0.2.5/30 dev seg\nlink set seg mtu 1480\nroute add default via 192.0.2.6")?;
    relay.ip("route del 192.0.2.5/32 via 10.46.0.5")?;
    // The relay hears of that a moment later, on a busy machine later still; what comes before meets a gateway that is gone.
    let answers = || fetch(idc.node("client4"), "", "ftp://192.0.2.5/large").is_ok();
    assert!(wait_until(PATIENCE, answers), "the node answers at its leased address");
    assert_eq!(fetch(idc.node("client4"), "", "ftp://192.0.2.5/large")?, LARGE);
    Ok(())
}

/// What the threads of a process have done: nanoseconds on a processor, and times they went to sleep.
fn worked(pid: u32) -> Result<[u64; 2], LabError> {
    let mut sums = [0; 2];
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let folder = task?.path();
        let text = |file| fs::read_to_string(folder.join(file)).unwrap_or_default();
        let (schedstat, status) = (text("schedstat"), text("status"));
        let asleep = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let words = [schedstat.split_whitespace().next(), asleep.map(str::trim)];
        let numbers = words.map(|word| word.and_then(|word| word.parse::<u64>().ok()).unwrap_or(0));
        sums = [sums[0] + numbers[0], sums[1] + numbers[1]];
    }
    Ok(sums)
}

/// An Edge Relay with nothing to do leaves 99 % of a processor to its node. What it costs to switch to a thread and back is
/// the machine's, and on a virtual one may be more than all else: it is shown. How often its threads wake, and how much of
/// the time its worker is not asleep, is the relay's.
fn edge_relays_idle_cheaply(idc: &mut Idc) -> TestResult {
    const SECONDS: u64 = 10;
    let read = |relay: &mut Relay| -> Result<_, LabError> {
        let worker = relay.counters()?.workers[0];
        let all = worker.busy_cycles + worker.idle_cycles;
        Ok((worked(relay.pid())?, [all, all - worker.sleep_cycles]))
    };
    std::thread::sleep(Duration::from_secs(1));
    let before = [read(idc.edge(0))?, read(idc.edge(1))?];
    std::thread::sleep(Duration::from_secs(SECONDS));
    let after = [read(idc.edge(0))?, read(idc.edge(1))?];
    for (whose, ((before, cycles_before), (after, cycles_after))) in
        ["tenant A", "tenant B"].into_iter().zip(before.into_iter().zip(after))
    {
        let [had, wakes] = [0, 1].map(|at| (after[at] - before[at]) / SECONDS);
        let [all, awake] = [0, 1].map(|at| cycles_after[at] - cycles_before[at]);
        let awake = awake * 10_000 / all;
        let percent = |hundredths: u64| format!("{}.{:02} %", hundredths / 100, hundredths % 100);
        println!(
            "{whose}'s Edge Relay idle: {} of a processor, its worker awake for {}, {wakes} wakes a second",
            percent(had / 100_000),
            percent(awake)
        );
        assert!(wakes < 400, "{whose}: {wakes} wakes a second");
        assert!(awake < 100, "{whose}: the worker is awake for {}", percent(awake));
    }
    Ok(())
}

/// Lets scenarios happen, one after the other, and shows all rows before it judges them.
fn happen(suite: Suite, daily: &[&str]) -> TestResult {
    if skip_unless(&PROGRAMS) {
        return Ok(());
    }
    let mut idc = Idc::up(suite)?;
    let mut broken = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| is_long() || daily.contains(&scenario.name)) {
        let outcome = scenario.run(&mut idc)?;
        print!("{}", outcome.row());
        if !outcome.held() {
            broken.push(outcome.row());
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    Ok(())
}

#[test]
#[ignore = "needs root, namespaces, daemons and the release binary; scripts/test runs it"]
fn what_happens_to_a_relay_costs_little_with_bird() -> TestResult {
    happen(Suite { routing: Routing::Bird, kit: Kit::Bgp }, &["stall", "upgrade"])
}

#[test]
#[ignore = "needs root, namespaces, daemons and the release binary; scripts/test runs it"]
fn what_happens_to_a_relay_costs_little_with_frr() -> TestResult {
    happen(Suite::figure(Routing::Frr), &["kill"])
}

#[test]
#[ignore = "needs root, namespaces, daemons and the release binary; scripts/test runs it"]
fn what_happens_to_a_relay_costs_little_more_behind_ospf_of_bird() -> TestResult {
    if !is_long() {
        println!("BORDERLINE_LONG=1 runs it");
        return Ok(());
    }
    happen(Suite::figure(Routing::Bird), &[])
}

#[test]
#[ignore = "needs root, namespaces, daemons and the release binary; scripts/test runs it"]
fn every_kit_brings_the_routes_up_and_takes_them_away() -> TestResult {
    if skip_unless(&PROGRAMS) {
        return Ok(());
    }
    for routing in [Routing::Bird, Routing::Frr] {
        for kit in [Kit::Bgp, Kit::Ospf] {
            // The other tests have BIRD with BGP, and FRR as in the figure.
            if !is_long() && (routing == Routing::Bird) == (kit == Kit::Bgp) {
                continue;
            }
            let mut idc = Idc::routers(Suite { routing, kit })?;
            idc.take_relay(0).kill();
            let left = wait_until(PATIENCE, || {
                idc.ways("inet4", "192.0.2.0/24") == ["br2"] && idc.ways("dc", "2001:db8:46::/96") == ["br2"]
            });
            assert!(left, "{:?}: the routes of a dead relay are gone", idc.suite);
            idc.start_relay(0)?;
            idc.converged(2 * PATIENCE)?;
        }
    }
    Ok(())
}
