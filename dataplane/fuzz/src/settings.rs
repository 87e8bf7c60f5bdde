//! Configuration and EAM files: whatever is in them, there is either a configuration the tables can be built from,
//! or a list of problems that can be read.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use control::config::{Config, EamOverlap, Findings, KEYS, Problems, TranslateConfig};
use control::plan::{self, PlanError};
use dataplane::table::eam::EamTable;

use crate::oracle::Judgement;
use crate::oracle::bytes::Bytes;

/// A configuration file: bytes as they are, or keys with legal, odd and strange values.
pub fn file(input: &[u8]) -> Judgement {
    let mut from = Bytes(input);
    let text = if from.byte() % 2 == 0 {
        String::from_utf8_lossy(from.rest()).into_owned()
    } else {
        written(&mut from)
    };
    // Not to read whatever file or device the fuzzer comes to think of.
    if text.contains("eam_files") && text.contains(['/', '\\']) {
        return Ok(());
    }
    let path = directory().join("relay.toml");
    match Config::parse(&path, &text) {
        Ok((config, warnings)) => {
            readable(&warnings)?;
            let narrow = TranslateConfig::parse(&path, &text);
            let (narrow, _) = narrow.map_err(|_| "valid for the relay, but not for one packet")?;
            if narrow.translation != config.translation || narrow.eams != config.eams {
                return Err("read differently the second time".to_owned());
            }
            if config.ports.is_empty() || config.dpdk.workers.is_empty() {
                return Err("a relay without ports or workers is valid".to_owned());
            }
            usable(&narrow)
        }
        Err(problems) => {
            told(&problems)?;
            translate_only(&path, &text).map(drop)
        }
    }
}

/// An EAM file, read by a configuration that names it.
pub fn mappings(input: &[u8]) -> Judgement {
    let mut from = Bytes(input);
    let overlap = from.pick(&["allow", "warn", "reject"]);
    let contents = match from.byte() % 4 {
        0 => rows(&mut from, Format::Csv),
        1 => rows(&mut from, Format::Jool),
        _ => from.rest().to_vec(),
    };
    let Some(config) = load(&contents, overlap)? else {
        return Ok(());
    };
    usable(&config)?;
    // What was understood, written again, is understood the same.
    let again: String = config
        .eams
        .iter()
        .enumerate()
        .map(|(row, eam)| {
            let comment = config.eams.comment(row).unwrap_or_default().replace('"', "\"\"");
            format!("{},{},\"{comment}\"\n", eam.ipv4, eam.ipv6)
        })
        .collect();
    if again.lines().count() != config.eams.len() {
        // A comment with a line break: JSON has them, CSV does not.
        return Ok(());
    }
    let Some(same) = load(again.as_bytes(), overlap)? else {
        return Err(format!("not understood when written again:\n{again}"));
    };
    let prefixes = |config: &TranslateConfig| {
        let rows = config.eams.iter().map(|eam| (eam.ipv4, eam.ipv6));
        rows.collect::<Vec<_>>()
    };
    if prefixes(&config) != prefixes(&same) {
        return Err(format!("read differently when written again:\n{again}"));
    }
    Ok(())
}

fn load(contents: &[u8], overlap: &str) -> Result<Option<TranslateConfig>, String> {
    let path = directory().join("relay.toml");
    fs::write(directory().join("eams"), contents)
        .map_err(|error| format!("the harness cannot write: {error}"))?;
    let text = format!(
        "eam_files = [\"eams\"]\n[translation]\nprefixes = [\"2001:db8:46::/96\"]\neam_overlap = \"{overlap}\"\n"
    );
    translate_only(&path, &text)
}

fn translate_only(path: &Path, text: &str) -> Result<Option<TranslateConfig>, String> {
    match TranslateConfig::parse(path, text) {
        Ok((config, warnings)) => {
            readable(&warnings)?;
            usable(&config)?;
            Ok(Some(config))
        }
        Err(problems) => told(&problems).map(|()| None),
    }
}

/// A refusal has reasons.
fn told(problems: &Problems) -> Judgement {
    if problems.is_empty() {
        return Err("refused without a reason".to_owned());
    }
    readable(problems)
}

/// Each finding is one line that says something, and nothing a terminal would obey.
fn readable<T: Display>(findings: &Findings<T>) -> Judgement {
    for finding in findings {
        let text = finding.to_string();
        let Some((_, message)) = text.rsplit_once(": ") else {
            return Err(format!("no place in {text:?}"));
        };
        if message.trim().is_empty() || text.chars().any(char::is_control) {
            return Err(format!("unreadable: {text:?}"));
        }
    }
    Ok(())
}

/// The tables take it, and it keeps what the documentation promises.
fn usable(config: &TranslateConfig) -> Judgement {
    let table = EamTable::build(&plan::rows(config.eams.to_vec())).map_err(PlanError::from);
    if let Err(error) = table.and_then(|table| plan::translation(&config.translation, table)) {
        return Err(format!("validated, but refused by the tables: {error}"));
    }
    for eam in &config.eams {
        let fits = 32 - eam.ipv4.prefix_len() <= 128 - eam.ipv6.prefix_len();
        if !fits || eam.ipv4 != eam.ipv4.trunc() || eam.ipv6 != eam.ipv6.trunc() {
            return Err(format!("EAM {} {} is valid", eam.ipv4, eam.ipv6));
        }
    }
    let translation = &config.translation;
    let plateaus_fall = translation.mtu_plateaus.windows(2).all(|pair| pair[0] > pair[1]);
    if translation.prefixes.is_empty() || translation.lowest_ipv6_mtu < 1280 || !plateaus_fall {
        return Err(format!("{translation:?} is valid"));
    }
    let strict = translation.eam_overlap == EamOverlap::Reject;
    let nested = || {
        let pairs = config.eams.iter().enumerate();
        pairs.clone().any(|(at, eam)| {
            config.eams[at + 1..]
                .iter()
                .any(|other| eam.ipv4.contains(&other.ipv4) || other.ipv4.contains(&eam.ipv4))
        })
    };
    if strict && config.eams.len() < 50 && nested() {
        return Err("overlapping EAMs were not rejected".to_owned());
    }
    Ok(())
}

/// A file of known keys, some with other values than the documentation's.
fn written(from: &mut Bytes<'_>) -> String {
    let mut text = String::new();
    let mut table = "";
    for key in KEYS {
        if key.table != table {
            table = key.table;
            let header = if matches!(table, "port" | "eam") {
                format!("[[{table}]]\n")
            } else {
                format!("[{table}]\n")
            };
            text.push_str(&header);
        }
        match from.byte() % 8 {
            0 | 1 => text.push_str(&format!("{}\n", key.example)),
            2 => text.push_str(&format!("{} = {}\n", key.name, value(from))),
            3 if key.default.is_none() => text.push_str(&format!("{}\n", key.example)),
            _ if key.default.is_none() => text.push_str(&format!("{}\n", key.example)),
            _ => {}
        }
    }
    text
}

fn value(from: &mut Bytes<'_>) -> String {
    const VALUES: [&str; 40] = [
        "0",
        "1",
        "-1",
        "1279",
        "1280",
        "9000",
        "9001",
        "65535",
        "65536",
        "1000000",
        "9223372036854775807",
        "true",
        "false",
        "1.5",
        "\"\"",
        "\"er\"",
        "\"br\"",
        "\"off\"",
        "\"simple\"",
        "\"intrinsic\"",
        "\"copy\"",
        "\"allow\"",
        "\"reject\"",
        "\"send\"",
        "\"random\"",
        "\"compute\"",
        "[]",
        "[1, 1]",
        "[\"192.0.2.0/24\", \"192.0.2.0/25\"]",
        "[\"64:ff9b::/96\"]",
        "[\"2001:db8::/32\", \"2001:db8:1::/48\"]",
        "[\"2001:db8:0:0:ff00::/96\"]",
        "\"0.0.0.0/0\"",
        "\"2001:db8:ff00::/40\"",
        "\"192.0.2.0/24\"",
        "[\"0.0.0.0/0\"]",
        "[\"::/0\"]",
        "{ a = 1 }",
        "1979-05-27",
        "[65535, 68, 68]",
    ];
    from.pick(&VALUES).to_owned()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Jool,
}

/// Rows of mostly legal prefixes.
fn rows(from: &mut Bytes<'_>, format: Format) -> Vec<u8> {
    let mut rows = Vec::new();
    while !from.is_empty() && rows.len() < 40 {
        let ipv4 = std::net::Ipv4Addr::from(0xc000_0200 | from.long() & 0x3f00_00ff);
        let ipv6 = std::net::Ipv6Addr::from((0x2001_0db8_u128 << 96) | u128::from(from.long()) << 32);
        let (length4, length6) = (from.byte() % 34, from.byte() % 130);
        let comment = from.pick(&["", "www", "a, b", "\\\"x\\\"", "\\n"]);
        rows.push(match format {
            Format::Csv => format!("{ipv4}/{length4},{ipv6}/{length6},{comment}"),
            Format::Jool => format!(
                "{{\"ipv4 prefix\":\"{ipv4}/{length4}\",\"ipv6 prefix\":\"{ipv6}/{length6}\",\"comment\":\"{comment}\"}}"
            ),
        });
    }
    match format {
        Format::Csv => rows.join("\n").into_bytes(),
        Format::Jool => format!("{{\"eamt\":[{}]}}", rows.join(",")).into_bytes(),
    }
}

/// A directory of this process.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let base = std::env::var_os("BORDERLINE_FUZZ_SCRATCH").map_or_else(std::env::temp_dir, PathBuf::from);
        let directory = base.join(format!("borderline-fuzz-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("the harness needs a directory to write to");
        directory
    })
}
