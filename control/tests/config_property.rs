//! Whatever the file holds, loading ends with a configuration or with problems: never with a panic.

use std::fs;
use std::path::Path;

use control::config::{Config, TranslateConfig};
use proptest::prelude::*;

const FULL: &str = include_str!("config/everything.toml");

fn load(bytes: &[u8], name: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("relay.toml");
    if name == "relay.toml" {
        fs::write(&path, bytes).expect("a writable directory");
    } else {
        fs::write(directory.path().join(name), bytes).expect("a writable directory");
        let text = format!("eam_files = [\"{name}\"]\n[translation]\nprefixes = [\"2001:db8:46::/96\"]\n");
        fs::write(&path, text).expect("a writable directory");
    }
    match TranslateConfig::load(&path) {
        Ok((_, warnings)) => drop(warnings.to_string()),
        Err(problems) => assert!(!problems.is_empty() && !problems.to_string().is_empty()),
    }
    if let Err(problems) = Config::load(&path) {
        assert!(!problems.is_empty());
    }
}

/// A change to a text: cut out, doubled, replaced by a token, or with a byte set.
#[derive(Debug, Clone)]
enum Change {
    Cut(usize, usize),
    Double(usize, usize),
    Insert(usize, &'static str),
    Byte(usize, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let tokens = prop::sample::select(vec![
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "=",
        ",",
        "\n",
        "#",
        "[[eam]]",
        "[dpdk]",
        "0.0.0.0/0",
        "::/0",
        "/",
        "128",
        "-1",
        "99999999999999999999999",
        "true",
        "1979-05-27",
        "nan",
        "\\u0000",
        "\u{feff}",
        "é",
        "0x",
        "_",
        "2001:db8::/96",
    ]);
    prop_oneof![
        (any::<usize>(), 0usize..60).prop_map(|(at, length)| Change::Cut(at, length)),
        (any::<usize>(), 0usize..60).prop_map(|(at, length)| Change::Double(at, length)),
        (any::<usize>(), tokens).prop_map(|(at, token)| Change::Insert(at, token)),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
    ]
}

fn apply(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let length = bytes.len().max(1);
        match *change {
            Change::Cut(at, count) => {
                let at = at % length;
                bytes.drain(at.min(bytes.len())..(at + count).min(bytes.len()));
            }
            Change::Double(at, count) => {
                let at = (at % length).min(bytes.len());
                let piece = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            Change::Insert(at, token) => {
                let at = (at % length).min(bytes.len());
                bytes.splice(at..at, token.bytes());
            }
            Change::Byte(at, byte) => {
                if let Some(slot) = bytes.get_mut(at % length) {
                    *slot = byte;
                }
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        load(&bytes, "relay.toml");
        load(&bytes, "eams.csv");
    }

    #[test]
    fn arbitrary_text(text in "(\\[\\[?[a-z]{0,12}\\]?\\]\n|[a-z_]{1,12} = [\\[\\]\"a-z0-9.:/, -]{0,30}\n){0,20}") {
        load(text.as_bytes(), "relay.toml");
    }

    #[test]
    fn a_mutated_configuration(changes in prop::collection::vec(change(), 1..6)) {
        load(&apply(FULL.as_bytes().to_vec(), &changes), "relay.toml");
    }

    #[test]
    fn mutated_eam_files(changes in prop::collection::vec(change(), 1..6)) {
        let csv = b"# x\nipv4,ipv6,comment\n192.0.2.1,2001:db8::1,\"a \"\"b\"\"\"\n0.0.0.0/0,2001:db8:ff00::/40\n";
        load(&apply(csv.to_vec(), &changes), "eams.csv");
        let json = include_bytes!("config/jool-siit.json");
        load(&apply(json.to_vec(), &changes), "jool.json");
    }

    /// Any pair of prefixes, nested as they come, is linted without overflow, ::/0 and 0.0.0.0/0 included.
    #[test]
    fn arbitrary_eams(rows in prop::collection::vec((any::<u32>(), 0u8..=32, any::<u128>(), 0u8..=128), 0..20)) {
        let rows: String = rows.iter().map(|(ipv4, length4, ipv6, length6)| {
            let ipv4 = ipnet::Ipv4Net::new((*ipv4).into(), *length4).unwrap().trunc();
            let ipv6 = ipnet::Ipv6Net::new((*ipv6).into(), (*length6).min(96 + *length4)).unwrap().trunc();
            format!("[[eam]]\nipv4 = \"{ipv4}\"\nipv6 = \"{ipv6}\"\n")
        }).collect();
        let text = format!("[translation]\nprefixes = [\"2001:db8:46::/96\"]\n{rows}");
        drop(TranslateConfig::parse(Path::new("relay.toml"), &text));
    }
}
