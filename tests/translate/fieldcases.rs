//! What users of translators met, as the packets, captures and tables they had: one file each in
//! `tests/translate/fieldcases`, which tells what is right and why.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::pcap::{ETHERNET, Pcap, RAW};
use crate::{Work, bytes};

/// A case: a file of `tests/translate/fieldcases`.
#[derive(Deserialize)]
struct Case {
    name: String,
    why: String,
    config_toml: String,
    #[serde(default)]
    options: Options,
    #[serde(default)]
    files: std::collections::BTreeMap<String, String>,
    #[serde(default, rename = "in")]
    packets: Vec<Packet>,
    frames: Option<Vec<String>>,
    pcap_hex: Option<String>,
    expect: Expect,
}

#[derive(Deserialize, Default)]
struct Options {
    ipv4_mtu: Option<u16>,
    ipv6_mtu: Option<u16>,
}

#[derive(Deserialize)]
struct Packet {
    hex: String,
}

#[derive(Deserialize)]
struct Expect {
    out: Option<Vec<Out>>,
    verdict: Option<String>,
}

/// A packet that leaves, with ranges of bytes that any value may have.
#[derive(Deserialize)]
struct Out {
    hex: String,
    #[serde(default)]
    mask: Vec<(usize, usize)>,
}

fn masked(mut packet: Vec<u8>, mask: &[(usize, usize)]) -> Vec<u8> {
    for (from, to) in mask {
        let to = (*to).min(packet.len());
        packet[(*from).min(to)..to].fill(0);
    }
    packet
}

fn run(case: &Case) -> Option<String> {
    let capture = if let Some(hex) = &case.pcap_hex {
        bytes(hex)
    } else if let Some(frames) = &case.frames {
        Pcap::new(ETHERNET, &frames.iter().map(|hex| bytes(hex)).collect::<Vec<_>>()).file()
    } else {
        Pcap::new(RAW, &case.packets.iter().map(|packet| bytes(&packet.hex)).collect::<Vec<_>>()).file()
    };
    let work = Work::new(&case.config_toml, &capture);
    for (name, text) in &case.files {
        fs::write(work.path(name), text).unwrap();
    }
    let mut options =
        vec!["--ipv4-address=198.51.100.254".to_owned(), "--ipv6-address=2001:db8:ffff::1".to_owned()];
    options.extend(case.options.ipv4_mtu.map(|mtu| format!("--ipv4-mtu={mtu}")));
    options.extend(case.options.ipv6_mtu.map(|mtu| format!("--ipv6-mtu={mtu}")));
    let translated = work.translated(&options);
    if let Some(verdict) = &case.expect.verdict
        && translated.lines.iter().any(|line| line.verdict != *verdict)
    {
        return Some(format!("{verdict} expected: {:?}", translated.lines));
    }
    let expected = case.expect.out.as_ref()?;
    let out: Vec<Vec<u8>> = translated.out.into_iter().map(|record| record.bytes).collect();
    if out.len() != expected.len() {
        return Some(format!("{} packets instead of {}: {:?}", out.len(), expected.len(), translated.lines));
    }
    let differs = |(packet, expected): &(Vec<u8>, &Out)| {
        masked(packet.clone(), &expected.mask) != masked(bytes(&expected.hex), &expected.mask)
    };
    out.into_iter().zip(expected).find(differs).map(|(packet, _)| format!("packet differs: {packet:02x?}"))
}

#[test]
fn everything_users_met_ends_well() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/translate/fieldcases");
    let mut count = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let case: Case =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        count += 1;
        wrong.extend(run(&case).map(|problem| format!("{} ({}): {problem}", case.name, case.why)));
    }
    assert!(count >= 45, "{count} cases");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
