//! The traffic generator, `pktgen`, at the other end of the wires.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::Vdev;
use super::cpus::GENERATOR_CPU;
use super::traffic::{Size, Traffic};
use super::vdev::PORTS;
use super::{BenchError, workspace};
use crate::lab::{Cmd, LabError};

/// The generator's MAC addresses: where the relay sends frames.
pub(super) const MACS: [&str; 2] = ["02:00:00:00:00:04", "02:00:00:00:00:06"];

/// What the device under test makes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// The relay.
    Translated,
    /// testpmd macswap.
    Macswapped,
    /// testpmd io.
    Unchanged,
}

impl Expect {
    /// In the generator's words.
    fn name(self) -> &'static str {
        match self {
            Self::Translated => "translated",
            Self::Macswapped => "macswapped",
            Self::Unchanged => "unchanged",
        }
    }
}

/// One trial.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial<'a> {
    /// Virtual wires.
    pub(super) vdev: Vdev,
    /// Where their sockets are.
    pub(super) sockets: &'a Path,
    /// MAC addresses of the device under test.
    pub(super) peers: &'a [String; 2],
    /// What comes back.
    pub(super) expect: Expect,
    /// What is sent.
    pub(super) traffic: Traffic,
    /// Millions of packets per second; none for as many as the wires take.
    pub(super) mpps: Option<f64>,
    /// Seconds of sending.
    pub(super) seconds: f64,
}

impl Trial<'_> {
    fn to_toml(self) -> String {
        let [v4, v6] = self.vdev.of_generator(self.sockets);
        let port = |number: usize, device: &str| {
            format!(
                "[[port]]\nname = \"{name}\"\nfamily = \"ip{name}\"\ndevice = \"{device}\"\nmac = \"{mac}\"\n\
                 peer_mac = \"{peer}\"\n",
                name = PORTS[number],
                mac = MACS[number],
                peer = self.peers[number],
            )
        };
        let frame_bytes = match self.traffic.size {
            Size::Bytes(bytes) => bytes.to_string(),
            Size::Imix => "\"imix\"".into(),
        };
        let rate = self.mpps.map_or("\"max\"".into(), |mpps| format!("{:.0}", mpps * 1e6));
        format!(
            "[dpdk]\nlcores = [{GENERATOR_CPU}]\nmemory_mb = 256\nextra_args = [\"--single-file-segments\"]\n\
             {ports}[traffic]\ndirection = \"{direction}\"\nframe_bytes = {frame_bytes}\neams = {eams}\n\
             udp_checksum = {udp_checksum}\nexpect = \"{expect}\"\n\
             [trial]\nrate = {rate}\nseconds = {seconds}\n",
            ports = port(0, &v4) + &port(1, &v6),
            direction = self.traffic.direction.name(),
            eams = self.traffic.table.count(),
            udp_checksum = self.traffic.udp_checksum,
            expect = self.expect.name(),
            seconds = self.seconds,
        )
    }
}

/// What came of a trial: of what the generator writes, as much as is needed here.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Outcome {
    /// Packets per second that came back right.
    pub(super) received_pps: f64,
    /// Packets that did not come back.
    pub(super) lost: u64,
    /// Null when nothing came back.
    pub(super) latency_us: Option<Latency>,
    /// Reconfigurations only: how long the command ran, in milliseconds.
    pub(super) command_ms: Option<f64>,
}

/// Delays in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) struct Latency {
    /// The median.
    pub p50: f64,
    /// 99 in 100 are shorter.
    pub p99: f64,
    /// 999 in 1000 are shorter.
    pub p999: f64,
}

/// `pktgen run`: sends, and verifies every packet that comes back.
///
/// # Errors
/// When packets are wrong or come in the wrong order, or none come at all.
pub(super) fn run(trial: &Trial) -> Result<Outcome, BenchError> {
    // Before everybody else, as the device's forwarding thread is: both poll without end.
    measure(trial, Cmd::new("chrt").args("--rr 10").arg(program()).arg("run"))
}

/// `pktgen reconfigure`: the same, and runs a shell command while it sends; preferred, but not before everybody else, for
/// the command needs a processor too.
///
/// # Errors
/// As [`run`].
pub(super) fn reconfigure(trial: &Trial, command: &str) -> Result<Outcome, BenchError> {
    measure(trial, Cmd::new("nice").args("-n -15").arg(program()).args("reconfigure --command").arg(command))
}

/// `pktgen eams`: the file of so many mappings, those the traffic is for.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_eams(path: &Path, count: u32) -> Result<(), BenchError> {
    let command = Cmd::new(&program()).args("eams --out").arg(path.display().to_string());
    command.arg("--count").arg(count.to_string()).ok()?;
    Ok(())
}

/// Losses are results here, wrong packets are not: for those the generator exits 1.
fn measure(trial: &Trial, command: Cmd) -> Result<Outcome, BenchError> {
    let directory = tempfile::tempdir().map_err(LabError::io("temporary directory"))?;
    let config = directory.path().join("pktgen.toml");
    let json = directory.path().join("results.json");
    fs::write(&config, trial.to_toml()).map_err(BenchError::io(&config))?;
    let command = command.arg("--config").arg(config.display().to_string());
    command.args("--loss-tolerance 0.999 --json").arg(json.display().to_string()).timeout(120).ok()?;
    let text = fs::read_to_string(&json).map_err(BenchError::io(&json))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Outcome, BenchError> {
    let outcomes: Result<[Outcome; 1], _> = serde_json::from_str(text);
    let [outcome] = outcomes.map_err(|source| BenchError::Output { program: "pktgen".into(), source })?;
    Ok(outcome)
}

/// As `scripts/bench` has built it.
fn program() -> String {
    workspace::target().join("release/pktgen").display().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::traffic::{Direction, Table};
    use super::*;

    #[test]
    fn the_configuration_says_what_is_sent() {
        let peers = ["02:00:00:00:01:04".to_owned(), "02:00:00:00:01:06".to_owned()];
        let trial = Trial {
            vdev: Vdev::Memif,
            sockets: Path::new("/s"),
            peers: &peers,
            expect: Expect::Macswapped,
            traffic: Traffic::usual(Direction::Mixed, Size::Imix, Table::Million),
            mpps: Some(1.5),
            seconds: 2.0,
        };
        let text = trial.to_toml();
        for line in [
            "family = \"ipv6\"",
            "peer_mac = \"02:00:00:00:01:06\"",
            "direction = \"mixed\"",
            "frame_bytes = \"imix\"",
            "eams = 1000000",
            "expect = \"macswapped\"",
            "rate = 1500000",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(Trial { mpps: None, ..trial }.to_toml().contains("rate = \"max\"\n"));
    }

    #[test]
    fn results_are_read() {
        let text = r#"[{"procedure": "run", "received_pps": 1e6, "lost": 3,
                        "latency_us": {"min": 1, "p50": 2, "p99": 3, "p999": 4, "max": 5}}]"#;
        let outcome = parse(text).unwrap();
        assert_eq!((outcome.lost, outcome.latency_us.map(|latency| latency.p999)), (3, Some(4.0)));
        assert!(parse("[]").unwrap_err().to_string().contains("pktgen"));
    }
}
