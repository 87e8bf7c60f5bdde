//! A relay whose log nobody reads, or cannot be written: it neither ends nor waits.
//!
//! Needs root, for the twins; every relay gets a network namespace of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The program under test.
const BORDERLINE: &str = env!("CARGO_BIN_EXE_borderline");

/// Longer than any machine takes for what a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);
/// A relay that is asked to stop has ended by then, whoever reads its log.
const END: Duration = Duration::from_secs(15);

/// A running relay with a bit bucket as its port; dropping it kills it.
struct Relay {
    child: Child,
    _directory: TempDir,
}

impl Relay {
    /// None without root.
    fn start(stderr: Stdio) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            let required = std::env::var("BORDERLINE_REQUIRE_E2E").is_ok_and(|value| value == "1");
            assert!(!required, "may not be skipped here: needs root");
            writeln!(std::io::stderr(), "SKIPPED: needs root").ok();
            return None;
        }
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("relay.toml");
        let toml = format!(
            "[dpdk]\nworkers = [{}]\nmemory = \"no-huge\"\nmemory_mb = 64\n[[port]]\nname = \"bltest\"\n\
             device = \"net_null0,no-rx=1\"\n[translation]\nprefixes = [\"2001:db8:46::/96\"]\n",
            cpu()
        );
        fs::write(&path, toml).unwrap();
        let child = Command::new("unshare")
            .args(["--net", "--", BORDERLINE, "run", "--config"])
            .arg(&path)
            .current_dir(directory.path())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Some(Self { child, _directory: directory })
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success(), "it is there");
    }

    /// Waits for its twin, when its log does not tell.
    fn wait_for_twin(&self) {
        let path = format!("/proc/{}/net/dev", self.child.id());
        let start = Instant::now();
        while !fs::read_to_string(&path).is_ok_and(|interfaces| interfaces.contains("bl-bltest")) {
            assert!(start.elapsed() < PATIENCE, "it starts");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks for the end, which must come in time.
    #[track_caller]
    fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < END, "SIGTERM is not heard");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The first CPU this process may use.
fn cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    list.trim().split([',', '-']).next().unwrap().to_owned()
}

#[test]
fn a_reader_that_goes_away_ends_nothing() {
    let Some(mut relay) = Relay::start(Stdio::piped()) else { return };
    let mut lines = BufReader::new(relay.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("translating")), "it starts");
    drop(lines);
    for _ in 0..20 {
        relay.signal("USR1");
        relay.signal("HUP");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_disk_that_is_full_ends_nothing() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let Some(mut relay) = Relay::start(full.into()) else { return };
    relay.wait_for_twin();
    for _ in 0..20 {
        relay.signal("USR1");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(relay.stop().code(), Some(0));
}

#[test]
fn a_reader_that_stops_is_not_waited_for() {
    let Some(mut relay) = Relay::start(Stdio::piped()) else { return };
    // Held, and not read.
    let _reader = relay.child.stderr.take().unwrap();
    relay.wait_for_twin();
    // More than the pipe holds.
    for _ in 0..200 {
        relay.signal("USR1");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(relay.stop().code(), Some(0));
}
