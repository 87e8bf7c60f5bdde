//! The golden packets through the program itself: one capture per configuration, compared byte for byte outside the
//! free ranges.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::verdict::{DropReason, PuntReason};
use serde::{Deserialize, Serialize};

use super::pcap::{Pcap, RAW, Record};
use super::{Line, Work};

#[derive(Deserialize)]
struct Case {
    name: String,
    config: Config,
    in_family: u8,
    in_hex: String,
    expect: Expect,
}

#[derive(Deserialize, Serialize)]
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
    /// RFC 6296: not translated between families, and not built.
    nptv6: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expect {
    Packets(Vec<Packet>),
    Nothing(#[allow(dead_code, reason = "explains the case to its readers")] BTreeMap<String, String>),
}

#[derive(Deserialize)]
struct Packet {
    hex: String,
    #[serde(default)]
    ignore: Vec<(usize, usize)>,
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

impl Config {
    /// The configuration file an operator would write for this.
    fn toml(&self) -> String {
        let mut toml = format!(
            r#"
[translation]
role = {role:?}
prefixes = [{prefix:?}]
service_pools = ["192.0.2.0/24"]
icmp_source_pool = {sources:?}
icmp_source_extension = {extension}
lowest_ipv6_mtu = {lowest}
hairpin = {hairpin:?}
udp_zero_checksum = {udp_zero:?}
icmp_errors = "{errors}"
wkp_strict = {wkp_strict}
guard_protocols = {guard}
anti_spoof = false
"#,
            role = self.role,
            prefix = self.pool6,
            sources = self.pool6791,
            extension = self.rfc5837_ext,
            lowest = self.lowest_ipv6_mtu,
            hairpin = self.hairpin,
            udp_zero = self.udp_zero,
            errors = if self.icmp_errors == "on" { "send" } else { "off" },
            wkp_strict = self.wkp_strict,
            guard = self.guard_protocols,
        );
        if self.allow_pool6_dst {
            toml.push_str("translatable_pools = [\"0.0.0.0/0\"]\n");
        }
        if !self.er_local6.is_empty() {
            let addresses: Vec<String> = self.er_local6.iter().map(ToString::to_string).collect();
            writeln!(toml, "er_addresses = {addresses:?}").unwrap();
        }
        if self.reset_tc {
            toml.push_str("traffic_class = 0\n");
        }
        if let Some(tos) = self.new_tos {
            writeln!(toml, "type_of_service = {tos}").unwrap();
        }
        for (ipv4, ipv6) in &self.eams {
            writeln!(toml, "[[eam]]\nipv4 = {ipv4:?}\nipv6 = {ipv6:?}").unwrap();
        }
        toml
    }

    fn arguments(&self) -> Vec<String> {
        [
            ("--ipv4-mtu", self.mtu4.to_string()),
            ("--ipv6-mtu", self.mtu6.to_string()),
            ("--ipv4-address", self.own4.to_string()),
            ("--ipv6-address", self.own6.to_string()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }
}

fn mismatch(expected: &Packet, got: &[u8]) -> Option<String> {
    let wanted = bytes(&expected.hex);
    if wanted.len() != got.len() {
        return Some(format!("{} bytes instead of {}: {got:02x?}", got.len(), wanted.len()));
    }
    let free = |at: &usize| expected.ignore.iter().any(|(start, end)| (*start..*end).contains(at));
    let wrong: Vec<String> = (0..got.len())
        .filter(|at| !free(at) && got[*at] != wanted[*at])
        .map(|at| format!("[{at}] {:02x} instead of {:02x}", got[at], wanted[at]))
        .collect();
    (!wrong.is_empty()).then(|| wrong.join(", "))
}

/// The verdict that fits what left the box.
fn verdicts(case: &Case, out: &[Record]) -> BTreeSet<&'static str> {
    let Some(first) = out.first() else {
        return BTreeSet::from(["dropped", "punted"]);
    };
    let own = match first.bytes[0] >> 4 {
        4 => first.bytes[12..16] == case.config.own4.octets(),
        _ => first.bytes[8..24] == case.config.own6.octets(),
    };
    let same_family = first.bytes[0] >> 4 == case.in_family;
    BTreeSet::from([match (same_family, own) {
        (false, _) => "translated",
        (true, true) => "icmp_error",
        (true, false) => "hairpinned",
    }])
}

fn judge(case: &Case, line: &Line, out: &[Record]) -> Result<(), String> {
    if !verdicts(case, out).contains(line.verdict.as_str()) {
        return Err(format!("verdict {} with {} packets out", line.verdict, out.len()));
    }
    let reason = line.reason.as_deref();
    let known = match line.verdict.as_str() {
        "dropped" | "icmp_error" => DropReason::ALL.iter().any(|drop| reason == Some(drop.name())),
        "punted" => PuntReason::ALL.iter().any(|punt| reason == Some(punt.name())),
        _ => reason.is_none(),
    };
    if !known {
        return Err(format!("verdict {} with reason {reason:?}", line.verdict));
    }
    let expected = match &case.expect {
        Expect::Nothing(_) => &[][..],
        Expect::Packets(packets) => packets,
    };
    if expected.len() != out.len() {
        return Err(format!("{} packets instead of {}, {line:?}", out.len(), expected.len()));
    }
    let wrong = expected.iter().zip(out).find_map(|(expected, got)| mismatch(expected, &got.bytes));
    wrong.map_or(Ok(()), |wrong| Err(format!("{line:?}: {wrong}")))
}

#[test]
fn golden_packets_pass_the_program() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/pktgen-tests/vectors/vectors.json");
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut groups: BTreeMap<String, Vec<&Case>> = BTreeMap::new();
    for case in cases.iter().filter(|case| case.config.nptv6.is_none()) {
        let key = serde_json::to_string(&case.config).unwrap();
        groups.entry(key).or_default().push(case);
    }
    let mut failures = Vec::new();
    let mut passed = 0;
    for cases in groups.values() {
        let config = &cases[0].config;
        let packets: Vec<Vec<u8>> = cases.iter().map(|case| bytes(&case.in_hex)).collect();
        let work = Work::new(&config.toml(), &Pcap::new(RAW, &packets).file());
        let translated = work.translated(&config.arguments());
        assert_eq!(translated.lines.len(), cases.len());
        for (case, line) in cases.iter().zip(&translated.lines) {
            match judge(case, line, translated.packets(line)) {
                Ok(()) => passed += 1,
                Err(why) => failures.push(format!("{}: {why}", case.name)),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!((passed, groups.len()), (251, 26));
}
