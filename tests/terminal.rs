//! Whatever a file, a path or a capture has in it, nothing that a terminal obeys is in what the program says about it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use common::Run;

/// Clears the screen, names the window, turns the text around; DEL and the eight-bit form of escape.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{202e}\u{7f}\u{9b}31m\r";
/// The same in strings of JSON and TOML.
const ESCAPED: &str = "\\u001b[2J\\u001b]0;x\\u0007\\u202e\\u007f\\u009b31m\\r";

fn file(directory: &TempDir, name: &str, text: impl AsRef<[u8]>) -> String {
    let path: PathBuf = directory.path().join(format!("{EVIL}{name}"));
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Says something, and that without harm.
#[track_caller]
fn harmless(run: &Run) {
    assert!(!run.stdout.is_empty() || !run.stderr.is_empty(), "nothing is said: {run:#?}");
    for text in [&run.stdout, &run.stderr] {
        let found = text.find(|mark: char| mark != '\n' && shown::is_obeyed(mark));
        assert_eq!(found.map(|at| &text[at..]), None, "{run:#?}");
    }
}

#[test]
fn configurations() {
    let directory = TempDir::new().unwrap();
    let rest = "[dpdk]\nworkers = [1]\n[[port]]\nname = \"v4\"\ndevice = \"net_null0\"\n";
    let prefixes = "prefixes = [\"2001:db8:46::/96\"]\n";
    let eams =
        file(&directory, "eams.csv", format!("192.0.2.1/{EVIL},x\n{EVIL},,,\n192.0.2.2,2001:db8::{EVIL}\n"));
    let jool = file(
        &directory,
        "jool.json",
        format!(
            "{{\"{ESCAPED}\":1,\"eamt\":[{{\"ipv4 prefix\":\"{ESCAPED}\",\"ipv6 prefix\":\"{EVIL}\"}}]}}"
        ),
    );
    let twice = file(&directory, "twice.csv", "192.0.2.1,2001:db8::1\n192.0.2.1,2001:db8::2\n");
    let quoted = |path: &str| path.replace(EVIL, ESCAPED);
    let mut configurations: Vec<String> = vec![
        format!("{rest}[translation]\n{prefixes}\"{ESCAPED}\" = 1\n"),
        format!("{rest}[translation]\n{prefixes}role = \"{ESCAPED}\"\n"),
        format!("{rest}[translation]\n{prefixes}lowest_ipv6_mtu = \"{ESCAPED}\"\n"),
        format!("{rest}[translation]\nprefixes = [\"{ESCAPED}\", '\u{202e}']\n"),
        format!("{rest}[translation]\n{prefixes}{EVIL} = 1\n"),
        format!("{rest}[translation]\n{prefixes}[\"{ESCAPED}\"]\n"),
        format!("{rest}[translation]\n{prefixes}[[eam]]\nipv4 = \"{ESCAPED}\"\nipv6 = \"\u{202e}\"\n"),
        format!("eam_files = [\"{ESCAPED}\"]\n{rest}[translation]\n{prefixes}"),
    ];
    for path in [&eams, &jool, &twice] {
        configurations.push(format!("eam_files = [\"{}\"]\n{rest}[translation]\n{prefixes}", quoted(path)));
    }
    for (number, text) in configurations.iter().enumerate() {
        let path = file(&directory, &format!("{number}.toml"), text);
        for run in [
            Run::borderline(["check", "--config", &path]),
            Run::borderline(["translate", "--config", &path, "--in", "x", "--out", "y"]),
            Run::borderline(["compare", "--config", &path, "--before", "x", "--after", "y"]),
        ] {
            run.failed_with(2, &[]);
            harmless(&run);
        }
    }
    let good = file(&directory, "good.toml", format!("{rest}[translation]\n{prefixes}"));
    let check = Run::borderline(["check", "--config", &good]);
    assert_eq!(check.status, Some(0), "{check:#?}");
    harmless(&check);
    for bytes in [&b"nonsense"[..], b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x65\0\0\0\x01"]
    {
        let capture = file(&directory, "a.pcap", bytes);
        let run = Run::borderline(["translate", "--config", &good, "--in", &capture, "--out", "/dev/null"]);
        run.failed_with(1, &[]);
        harmless(&run);
    }
}

#[test]
fn configurations_of_others() {
    let directory = TempDir::new().unwrap();
    for (from, text, status) in [
        ("jool", format!("{{\"{ESCAPED}\":1,\"instance\":\"{ESCAPED}\",\"framework\":\"{EVIL}\"}}"), 2),
        ("jool", format!("{{\"instance\":\"{ESCAPED}\",\"framework\":\"netfilter\"}}"), 0),
        ("jool", format!("jool_siit eamt add {EVIL} 2001:db8::1\n"), 0),
        ("jool", format!("jool_siit global update {EVIL} x\n"), 2),
        ("tayga", format!("prefix {EVIL}\n{EVIL} x\nmap {EVIL}\n"), 2),
        ("tayga", format!("prefix 2001:db8:46::/96\ntun-device {EVIL}\ndata-dir {EVIL}\n"), 0),
        ("clatd", format!("clat-v4-addr={EVIL}\n{EVIL}\nx{EVIL}=1\n"), 2),
    ] {
        let path = file(&directory, "theirs", &text);
        let run = Run::borderline(["import", "--from", from, &path]);
        assert_eq!(run.status, Some(status), "{from} {text:?}: {run:#?}");
        harmless(&run);
    }
    let run = Run::borderline(["import", "--from", "jool", &format!("/nowhere/{EVIL}")]);
    harmless(&run);
}

/// `borderline check | head` may have gone when the answer comes, and that is no reason to crash.
#[test]
fn a_check_that_nobody_reads_is_still_answered_by_its_status() {
    let directory = tempfile::tempdir().unwrap();
    let wrong = file(&directory, "wrong.toml", "nonsense = 1\n");
    let good = format!("{}/config/minimal.toml", env!("CARGO_MANIFEST_DIR"));
    for (path, status) in [(good.as_str(), 0), (wrong.as_str(), 2)] {
        let closed = || fs::File::options().write(true).open("/dev/full").unwrap();
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_borderline"));
        check.args(["check", "--config", path]).stdout(closed()).stderr(closed());
        assert_eq!(check.status().unwrap().code(), Some(status), "{path}");
    }
}
