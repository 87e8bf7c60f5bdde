//! Golden packets on a wire: the cases of `vectors/vectors.json` through real ports, queues and neighbours of a running
//! relay, byte for byte outside their free ranges.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use pktgen_tests::lab::{
    Lab, LabError, Namespace, Need, RawLink, Shape, TestResult, frame, is_quick, skip_unless,
};
use serde::Deserialize;

/// Cases that cannot be shown on this wire, each with the reason. The list may only shrink.
const NOT_HERE: [(&str, &str); 6] = [
    ("6296_48_subnet_ffff", NPTV6),
    ("6296_56_ffff_first_word_in", NPTV6),
    ("6296_56_ffff_first_word_out", NPTV6),
    ("6296_56_in", NPTV6),
    ("6296_56_out", NPTV6),
    ("46_fragneeded_capped_by_mtu4", "net_af_xdp on veth carries no IPv6 MTU of 9000"),
];
const NPTV6: &str = "NPTv6 (RFC 6296) is not built yet";

/// The MTU the IPv6 port is made for; the twins may have less.
const LARGEST_IPV6_MTU: u32 = 1520;
/// The router beyond each port: everything the relay forwards goes there, everything it receives comes from there.
const NEXT: [u8; 6] = [2, 0, 0, 0, 0x77, 1];
/// Two hosts no case knows. Not documentation addresses: those do not go through the Well-Known Prefix.
const MARKER: [Ipv4Addr; 2] = [Ipv4Addr::new(11, 0, 0, 1), Ipv4Addr::new(11, 0, 0, 2)];

#[derive(Deserialize)]
struct Case {
    name: String,
    config: Setup,
    in_hex: String,
    expect: Expect,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Setup {
    role: String,
    pool6: String,
    eams: Vec<(String, String)>,
    rfc5837_ext: bool,
    own4: Ipv4Addr,
    own6: Ipv6Addr,
    mtu4: u32,
    mtu6: u32,
    lowest_ipv6_mtu: u16,
    hairpin: String,
    udp_zero: String,
    icmp_errors: String,
    wkp_strict: bool,
    allow_pool6_dst: bool,
    guard_protocols: bool,
    #[serde(default)]
    er_local6: Vec<Ipv6Addr>,
    #[serde(default)]
    reset_tc: bool,
    new_tos: Option<u8>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expect {
    Packets(Vec<Packet>),
    Nothing(BTreeMap<String, String>),
}

#[derive(Deserialize)]
struct Packet {
    hex: String,
    #[serde(default)]
    ignore: Vec<(usize, usize)>,
}

impl Setup {
    /// What is left is set at the start of the relay: the MTU of a twin can be changed any time.
    fn without_mtus(&self) -> Self {
        Self { mtu4: 1500, mtu6: 1500, ..self.clone() }
    }

    fn translation(&self) -> String {
        let fixed = |key: &str, value: Option<u8>| value.map(|value| format!("{key} = {value}"));
        let er: Vec<String> = self.er_local6.iter().map(Ipv6Addr::to_string).collect();
        let lines = [
            format!("role = {:?}", self.role),
            format!("hairpin = {:?}", self.hairpin),
            format!("lowest_ipv6_mtu = {}", self.lowest_ipv6_mtu),
            format!("udp_zero_checksum = {:?}", self.udp_zero),
            format!("icmp_errors = {:?}", if self.icmp_errors == "on" { "send" } else { "off" }),
            format!("icmp_source_extension = {}", self.rfc5837_ext),
            format!("wkp_strict = {}", self.wkp_strict),
            format!("guard_protocols = {}", self.guard_protocols),
            "anti_spoof = false\neam_overlap = \"allow\"".into(),
        ];
        let more = [
            self.allow_pool6_dst.then(|| "translatable_pools = [\"0.0.0.0/0\"]".into()),
            (!er.is_empty()).then(|| format!("er_addresses = {er:?}")),
            fixed("traffic_class", self.reset_tc.then_some(0)),
            fixed("type_of_service", self.new_tos),
        ];
        lines.into_iter().chain(more.into_iter().flatten()).collect::<Vec<String>>().join("\n")
    }

    /// Packets that are translated whatever the case does, one for each port.
    fn markers(&self, payload: &[u8]) -> [Vec<u8>; 2] {
        let [near, far] = MARKER;
        let (mut local4, mut local6) = (near, embedded(&self.pool6, near));
        if let (Some(address), Some((mapped, _))) = (self.er_local6.first(), self.eams.first()) {
            local4 = mapped.parse().expect("an Edge Relay's EAMs are for single addresses");
            local6 = *address;
        }
        let far6 = embedded(&self.pool6, far);
        [
            frame::ipv4(local4, far, 17, 64, &frame::udp4(local4, far, 9, payload)),
            frame::ipv6(far6, local6, 17, 64, &frame::udp6(far6, local6, 9, payload)),
        ]
    }
}

/// An IPv4 address inside a prefix (RFC 6052).
fn embedded(prefix: &str, address: Ipv4Addr) -> Ipv6Addr {
    let (network, length) = prefix.split_once('/').expect("a prefix has a length");
    let mut octets = network.parse::<Ipv6Addr>().expect("an IPv6 network").octets();
    let free = (length.parse::<usize>().expect("a length") / 8..16).filter(|at| *at != 8);
    free.zip(address.octets()).for_each(|(at, octet)| octets[at] = octet);
    Ipv6Addr::from(octets)
}

/// A port of the relay, as its neighbour sees it.
struct Port {
    wire: RawLink,
    relay: [u8; 6],
    ether_type: u16,
}

/// Both neighbours of the relay: they send frames one by one, and hear every frame the relay sends to them.
struct Wires {
    ports: [Port; 2],
    heard: Receiver<(usize, Vec<u8>)>,
    over: Arc<AtomicBool>,
    listeners: Vec<JoinHandle<()>>,
    number: u32,
}

impl Wires {
    fn open(lab: &Lab) -> Result<Self, LabError> {
        let over = Arc::new(AtomicBool::new(false));
        let (sender, heard) = mpsc::channel();
        let ends = [(&lab.client, "c4", "bl-v4"), (&lab.server, "s6", "bl-v6")];
        let mut listeners = Vec::new();
        for (number, (host, interface, _)) in ends.iter().enumerate() {
            let ear = RawLink::open(host, interface)?;
            let (sender, over) = (sender.clone(), Arc::clone(&over));
            listeners.push(thread::spawn(move || listen(ear, number, &sender, &over)));
        }
        let port = |(host, interface, twin): (&Namespace, &str, &str), ether_type| {
            let relay = RawLink::open(&lab.relay_ns, twin)?.mac();
            Ok::<Port, LabError>(Port { wire: RawLink::open(host, interface)?, relay, ether_type })
        };
        let ports = [port(ends[0], frame::IPV4)?, port(ends[1], frame::IPV6)?];
        Ok(Self { ports, heard, over, listeners, number: 0 })
    }

    fn send(&mut self, port: usize, packet: &[u8]) {
        let Port { wire, relay, ether_type } = &mut self.ports[port];
        assert!(wire.send(&frame::ethernet(*relay, NEXT, *ether_type, packet)), "{} bytes", packet.len());
    }

    /// Everything the relay makes of one packet, by port. It keeps the order of packets, so what comes before a marker
    /// from each port is all there will be.
    fn pass(&mut self, setup: &Setup, packet: &[u8], expected: usize) -> Result<[Vec<Vec<u8>>; 2], String> {
        let port = usize::from(packet[0] >> 4 != 4);
        let mut out = [Vec::new(), Vec::new()];
        self.send(port, packet);
        self.mark(setup, port, &mut out)?;
        self.mark(setup, 1 - port, &mut out)?;
        let start = Instant::now();
        while out.iter().map(Vec::len).sum::<usize>() < expected && start.elapsed() < Duration::from_secs(1) {
            if let Ok((port, packet)) = self.heard.recv_timeout(Duration::from_millis(20)) {
                out[port].push(packet);
            }
        }
        Ok(out)
    }

    /// Sends a marker and keeps what comes until it is back.
    fn mark(&mut self, setup: &Setup, port: usize, out: &mut [Vec<Vec<u8>>; 2]) -> Result<(), String> {
        self.number += 1;
        let payload = format!("marker {:08}", self.number).into_bytes();
        let marker = &setup.markers(&payload)[port];
        for _ in 0..3 {
            self.send(port, marker);
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(1) {
                match self.heard.recv_timeout(Duration::from_millis(20)) {
                    Ok((_, packet)) if packet.ends_with(&payload) => return Ok(()),
                    Ok((port, packet)) => out[port].push(packet),
                    Err(_) => {}
                }
            }
        }
        Err(format!("the relay does not translate any more from port {port}; so far {out:02x?}"))
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for listener in self.listeners.drain(..) {
            listener.join().ok();
        }
    }
}

/// Passes on the IP packets addressed to the neighbour.
fn listen(mut ear: RawLink, port: usize, heard: &Sender<(usize, Vec<u8>)>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let Some(frame) = ear.receive() else { continue };
        if frame.starts_with(&NEXT) && heard.send((port, frame[14..].to_vec())).is_err() {
            return;
        }
    }
}

fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/vectors.json");
    let text = std::fs::read_to_string(path).expect("the vectors are part of the repository");
    let mut cases: Vec<Case> = serde_json::from_str(&text).expect("cases");
    assert_eq!(cases.len(), 256);
    cases.retain(|case| NOT_HERE.iter().all(|(name, _)| *name != case.name));
    assert_eq!(cases.len(), 256 - NOT_HERE.len(), "a name of NOT_HERE is wrong");
    cases
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn mismatch(expected: &Packet, got: &[u8]) -> Option<String> {
    let wanted = bytes(&expected.hex);
    if wanted.len() != got.len() {
        return Some(format!("length {} instead of {}: {got:02x?}", got.len(), wanted.len()));
    }
    let is_free = |at: usize| expected.ignore.iter().any(|(start, end)| (*start..*end).contains(&at));
    let wrong: Vec<String> = (0..got.len())
        .filter(|at| !is_free(*at) && got[*at] != wanted[*at])
        .map(|at| format!("[{at}] {:02x} instead of {:02x}", got[at], wanted[at]))
        .collect();
    if !wrong.is_empty() {
        return Some(wrong.join(", "));
    }
    let header = if got[0] >> 4 == 4 { usize::from(got[0] & 15) * 4 } else { 0 };
    (header > 0 && frame::checksum(&[&got[..header]]) != 0).then(|| "IPv4 header checksum".into())
}

fn judge(case: &Case, wires: &mut Wires) -> Result<(), String> {
    let expected = match &case.expect {
        Expect::Packets(packets) => &packets[..],
        Expect::Nothing(_) => &[],
    };
    let out = wires.pass(&case.config, &bytes(&case.in_hex), expected.len())?;
    let exit = expected.first().map_or(0, |packet| usize::from(!packet.hex.starts_with('4')));
    if !out[1 - exit].is_empty() || out[exit].len() != expected.len() {
        let why = if let Expect::Nothing(why) = &case.expect { format!(" {why:?}") } else { String::new() };
        return Err(format!("{} packets at port {exit} expected{why}, not {out:02x?}", expected.len()));
    }
    expected.iter().zip(&out[exit]).find_map(|(wanted, got)| mismatch(wanted, got)).map_or(Ok(()), Err)
}

/// The relay with the settings of one group of cases, and routes for whatever address the cases have.
fn start(lab: &mut Lab, setup: &Setup) -> TestResult {
    lab.config.prefix.clone_from(&setup.pool6);
    lab.config.eams.clone_from(&setup.eams);
    lab.config.translation = setup.translation();
    let next: Vec<String> = NEXT.iter().map(|octet| format!("{octet:02x}")).collect();
    let next = next.join(":");
    lab.twins = vec![
        format!("addr add {}/32 dev bl-v4", setup.own4),
        format!("addr add {}/128 dev bl-v6 nodad", setup.own6),
        "link set bl-v4 up".into(),
        "link set bl-v6 up".into(),
        format!("neigh add 100.64.0.1 lladdr {next} dev bl-v4 nud permanent"),
        format!("neigh add fe80::77 lladdr {next} dev bl-v6 nud permanent"),
        "route add default via 100.64.0.1 dev bl-v4 onlink".into(),
        "-6 route add default via fe80::77 dev bl-v6".into(),
    ];
    lab.start_relay()
}

/// The cases of one group, with the MTUs each wants; the list of failures is the result.
fn run(lab: &mut Lab, cases: &mut [&Case]) -> Result<Vec<String>, LabError> {
    start(lab, &cases[0].config)?;
    let mut wires = Wires::open(lab)?;
    cases.sort_by_key(|case| (case.config.mtu4, case.config.mtu6));
    let (mut mtus, mut failures) = ((0, 0), Vec::new());
    for case in cases {
        let wanted = (case.config.mtu4, case.config.mtu6);
        if mtus != wanted {
            lab.relay_ns.ip(&format!("link set bl-v4 mtu {}", wanted.0))?;
            lab.relay_ns.ip(&format!("link set bl-v6 mtu {}", wanted.1))?;
            // Until the relay has heard of it.
            sleep(Duration::from_millis(200));
            mtus = wanted;
        }
        if let Err(why) = judge(case, &mut wires) {
            failures.push(format!("{}: {why}", case.name));
        }
        if !lab.relay().is_running() {
            return Err(lab.relay().error(&format!("has ended with {}", case.name)));
        }
    }
    lab.assert_healthy()?;
    Ok(failures)
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn golden_packets_on_the_wire() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let cases = cases();
    let mut groups: Vec<(Setup, Vec<&Case>)> = Vec::new();
    for case in &cases {
        let setup = case.config.without_mtus();
        match groups.iter_mut().find(|(of_group, _)| *of_group == setup) {
            Some((_, group)) => group.push(case),
            None => groups.push((setup, vec![case])),
        }
    }
    if is_quick() {
        groups.retain(|(_, group)| group.len() > 10);
    }
    let mut lab = Lab::wire(&Shape { v6_mtu: LARGEST_IPV6_MTU, ..Shape::default() })?;
    // Two neighbours without an opinion: nobody but the relay may answer.
    lab.client.deafen("c4")?;
    lab.server.deafen("s6")?;
    let (mut failures, mut passed) = (Vec::new(), 0);
    for (_, group) in &mut groups {
        let failed = run(&mut lab, group)?;
        passed += group.len() - failed.len();
        failures.extend(failed);
        lab.take_relay().stop()?;
    }
    println!("{passed} golden packets, {} configurations", groups.len());
    assert!(failures.is_empty(), "{} failed, {passed} passed:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}
