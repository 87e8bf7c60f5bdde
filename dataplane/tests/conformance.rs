//! Golden packets: every case of `pktgen-tests/vectors/vectors.json`, byte for byte outside its free ranges.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::offline::{Offline, Outcome, Shape};
use dataplane::table::eam::{Eam, EamTable};
use dataplane::table::icmp_source::{Choice, IcmpSourcePool};
use dataplane::table::prefix::TranslationPrefix;
use dataplane::table::translation::{
    Hairpin, IcmpErrors, IcmpSourceExtension, Role, Settings, Translation, TranslationParts, UdpZeroChecksum,
};
use dataplane::wire::checksum::Sum;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;

/// Cases that wait for a feature, each with the reason. The list may only shrink.
const WAITING: [(&str, &str); 5] = [
    ("6296_48_subnet_ffff", NPTV6),
    ("6296_56_ffff_first_word_in", NPTV6),
    ("6296_56_ffff_first_word_out", NPTV6),
    ("6296_56_in", NPTV6),
    ("6296_56_out", NPTV6),
];
const NPTV6: &str = "NPTv6 (RFC 6296) is not built yet";

#[derive(Deserialize)]
struct Case {
    name: String,
    config: Config,
    in_hex: String,
    expect: Expect,
}

#[derive(Deserialize)]
struct Config {
    role: String,
    pool6: String,
    eams: Vec<(String, String)>,
    pool6791: Vec<String>,
    rfc5837_ext: bool,
    own4: Ipv4Addr,
    own6: Ipv6Addr,
    mtu4: u16,
    mtu6: u16,
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

fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../pktgen-tests/vectors/vectors.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn translation(config: &Config, settings: Settings) -> Translation {
    let network = |text: &str| {
        text.parse::<IpNet>().unwrap_or_else(|_| text.parse::<std::net::IpAddr>().unwrap().into())
    };
    let ipv4 = |text: &String| match network(text) {
        IpNet::V4(net) => net,
        IpNet::V6(_) => panic!("{text} is not IPv4"),
    };
    let ipv6 = |text: &String| match network(text) {
        IpNet::V6(net) => net,
        IpNet::V4(_) => panic!("{text} is not IPv6"),
    };
    let eams: Vec<Eam> = config.eams.iter().map(|(v4, v6)| Eam { ipv4: ipv4(v4), ipv6: ipv6(v6) }).collect();
    let sources: Vec<Ipv4Net> = config.pool6791.iter().map(ipv4).collect();
    Translation::new(TranslationParts {
        settings,
        prefixes: vec![TranslationPrefix::new(config.pool6.parse::<Ipv6Net>().unwrap()).unwrap()],
        eams: EamTable::build(&eams).unwrap(),
        service_pools: vec!["192.0.2.0/24".parse().unwrap()],
        translatable_pools: if config.allow_pool6_dst { vec![Ipv4Net::default()] } else { Vec::new() },
        denylist: Vec::new(),
        er_addresses: config.er_local6.iter().map(|address| Ipv6Net::from(*address)).collect(),
        icmp_sources: IcmpSourcePool::new(&sources, Choice::Hash),
    })
}

fn settings(config: &Config) -> Settings {
    Settings {
        role: if config.role == "er" { Role::EdgeRelay } else { Role::BorderRelay },
        hairpin: match config.hairpin.as_str() {
            "intrinsic" => Hairpin::Intrinsic,
            "simple" => Hairpin::Simple,
            "off" => Hairpin::Off,
            other => panic!("hairpin {other}"),
        },
        lowest_ipv6_mtu: config.lowest_ipv6_mtu,
        udp_zero_checksum: match config.udp_zero.as_str() {
            "drop" => UdpZeroChecksum::Drop,
            "compute" => UdpZeroChecksum::Compute,
            "forward" => UdpZeroChecksum::Forward,
            other => panic!("udp_zero {other}"),
        },
        traffic_class: config.reset_tc.then_some(0),
        type_of_service: config.new_tos,
        icmp_errors: if config.icmp_errors == "on" { IcmpErrors::Send } else { IcmpErrors::Off },
        icmp_source_extension: match config.rfc5837_ext {
            true => IcmpSourceExtension::Rfc5837,
            false => IcmpSourceExtension::Off,
        },
        wkp_strict: config.wkp_strict,
        anti_spoof: false,
        guard_protocols: config.guard_protocols,
        ..Settings::default()
    }
}

fn run(case: &Case, settings: Settings) -> (Outcome, Vec<Vec<u8>>) {
    let config = &case.config;
    let shape = Shape {
        ipv4_mtu: config.mtu4,
        ipv6_mtu: config.mtu6,
        ipv4_address: config.own4,
        ipv6_address: config.own6,
    };
    let mut offline = Offline::new(translation(config, settings), &shape);
    let mut out = Vec::new();
    let outcome = offline.run(&bytes(&case.in_hex), &mut out);
    (outcome, out)
}

fn mismatch(expected: &Packet, got: &[u8]) -> Option<String> {
    let wanted = bytes(&expected.hex);
    if wanted.len() != got.len() {
        return Some(format!("length {} instead of {}: {got:02x?}", got.len(), wanted.len()));
    }
    let ignored = |at: usize| expected.ignore.iter().any(|(start, end)| (*start..*end).contains(&at));
    let wrong: Vec<String> = (0..got.len())
        .filter(|at| !ignored(*at) && got[*at] != wanted[*at])
        .map(|at| format!("[{at}] {:02x} instead of {:02x}", got[at], wanted[at]))
        .collect();
    if !wrong.is_empty() {
        return Some(wrong.join(", "));
    }
    let header_checksum_wrong =
        got[0] >> 4 == 4 && Sum::of(&got[..usize::from(got[0] & 15) * 4]).fold() != 0xffff;
    header_checksum_wrong.then(|| "IPv4 header checksum".to_owned())
}

fn judge(case: &Case) -> Result<(), String> {
    let (outcome, out) = run(case, settings(&case.config));
    match &case.expect {
        Expect::Nothing(_) if out.is_empty() => Ok(()),
        Expect::Nothing(why) => Err(format!("{why:?}, but {outcome:?} sent {out:02x?}")),
        Expect::Packets(packets) if packets.len() != out.len() => {
            Err(format!("{} packets instead of {} ({outcome:?})", out.len(), packets.len()))
        }
        Expect::Packets(packets) => {
            let wrong = packets.iter().zip(&out).find_map(|(expected, got)| mismatch(expected, got));
            wrong.map_or(Ok(()), |wrong| Err(format!("{outcome:?}: {wrong}")))
        }
    }
}

#[test]
fn golden_packets() {
    let cases = cases();
    assert_eq!(cases.len(), 256);
    let mut failures = Vec::new();
    let mut passed = 0;
    for case in &cases {
        if WAITING.iter().any(|(name, _)| *name == case.name) {
            continue;
        }
        match judge(case) {
            Ok(()) => passed += 1,
            Err(why) => failures.push(format!("{}: {why}", case.name)),
        }
    }
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), cases.len(), failures.join("\n"));
    assert_eq!(passed, cases.len() - WAITING.len());
}

#[test]
fn with_the_defaults_hazards_are_refused() {
    for (name, reason) in [
        ("7757_spoofed_service_source_literal", "spoofed_source"),
        ("6052_v6_spoofs_v4_source_literal", "spoofed_source"),
    ] {
        let cases = cases();
        let case = cases.iter().find(|case| case.name == name).unwrap();
        let mut parts = translation(&case.config, Settings { anti_spoof: true, ..settings(&case.config) });
        parts.translatable_pools = dataplane::table::ipv4_set::Ipv4Set::default();
        let shape = Shape {
            ipv4_mtu: 1500,
            ipv6_mtu: 1500,
            ipv4_address: case.config.own4,
            ipv6_address: case.config.own6,
        };
        let mut out = Vec::new();
        let outcome = Offline::new(parts, &shape).run(&bytes(&case.in_hex), &mut out);
        let Outcome::Dropped(got) = outcome else { panic!("{name}: {outcome:?}") };
        assert_eq!((got.name(), out.len()), (reason, 0), "{name}");
    }
}
