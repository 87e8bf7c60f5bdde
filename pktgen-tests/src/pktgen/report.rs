//! Results: one object per measured point, as JSON and as a line of a table. The names are a contract.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::{Config, Direction, FrameBytes};
use super::error::PktgenError;
use super::form::Protocol;
use super::outcome::{Latency, Outcome, PortOutcome, rounded};
use super::pick::Pattern;
use super::tally::Corrupt;

/// One measured point.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measurement {
    /// The subcommand.
    pub procedure: String,
    /// What was measured.
    pub device: String,
    /// Which way packets went.
    pub direction: Direction,
    /// What was above IP.
    pub protocol: Protocol,
    /// Frame size on the IPv4 side, frame check sequence included.
    pub frame_bytes: FrameBytes,
    /// EAMs of the device.
    pub eams: u32,
    /// Flows of each stream.
    pub flows: u32,
    /// How flows were drawn.
    pub pattern: Pattern,
    /// Per cent of native IPv6 frames.
    pub native_ipv6: u8,
    /// Per cent of native IPv4 frames.
    pub native_ipv4: u8,
    /// The rate asked for, over all streams; null is as much as the ports took.
    pub offered_pps: Option<f64>,
    /// Packets the ports took.
    pub sent: u64,
    /// Packets that came back, each counted once.
    pub received: u64,
    /// Packets that did not.
    pub lost: u64,
    /// Packets that were due and not sent, because the machine kept this program from running.
    pub unsent: u64,
    /// Packets that were due and not sent, because a port took none.
    pub refused: u64,
    /// Second and further copies.
    pub duplicated: u64,
    /// Overtaken by later packets of their flow.
    pub reordered: u64,
    /// Packets of earlier trials.
    pub stale: u64,
    /// Frames that were not ours.
    pub foreign: u64,
    /// ICMP errors.
    pub icmp_errors: u64,
    /// Packets that were not as they should be, by what was wrong.
    pub corrupt: Corrupt,
    /// Packets sent per second.
    pub sent_pps: f64,
    /// Packets received per second.
    pub received_pps: f64,
    /// Lost packets as a share of those sent.
    pub loss_ratio: f64,
    /// How long packets were sent.
    pub seconds: f64,
    /// Null when nothing was received.
    pub latency_us: Option<Latency>,
    /// The largest time a stream was silent.
    pub max_gap_us: f64,
    /// The longest time this program itself did not run.
    pub max_pause_us: f64,
    /// What each stream found.
    pub streams: Vec<StreamMeasurement>,
    /// What the drivers counted.
    pub ports: Vec<PortOutcome>,
    /// What the procedure makes of it.
    #[serde(flatten)]
    pub finding: Finding,
}

/// One stream of a measured point.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StreamMeasurement {
    /// Its name.
    pub name: String,
    /// Packets the port took.
    pub sent: u64,
    /// Packets that came back, each counted once.
    pub received: u64,
    /// The largest time without a packet.
    pub max_gap_us: f64,
}

/// What a procedure adds to the last trial of a point. Only what belongs to the procedure is there.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// `throughput` and what needs one: the highest rate without loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput_pps: Option<f64>,
    /// `latency`: the median over the repetitions of the median latency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typical_latency_us: Option<f64>,
    /// `latency`: the median over the repetitions of the 99.9th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst_case_latency_us: Option<f64>,
    /// `pdv`: the 99.9th percentile of the delay less its minimum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pdv_us: Option<f64>,
    /// `back-to-back`: the longest burst without loss, in frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_frames: Option<u64>,
    /// `overload`: the rate with this many flows as a share of the rate with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_to_one_flow: Option<f64>,
    /// `reset` and `reconfigure`: lost and refused packets divided by the rate, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_ms: Option<f64>,
    /// `reset` and `reconfigure`: how long the command ran, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_ms: Option<f64>,
    /// The smallest and largest value of the repetitions of what the procedure measures, if there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<[f64; 2]>,
    /// How many trials it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trials: Option<u32>,
}

impl Measurement {
    /// A trial of `procedure` with the traffic of `config` and frames of `size`.
    #[must_use]
    pub fn new(
        procedure: &str,
        config: &Config,
        size: FrameBytes,
        outcome: &Outcome,
        finding: Finding,
    ) -> Self {
        let traffic = &config.traffic;
        Self {
            procedure: procedure.into(),
            device: config.device.clone(),
            direction: traffic.direction,
            protocol: traffic.protocol,
            frame_bytes: size,
            eams: traffic.eams,
            flows: traffic.flows(),
            pattern: traffic.pattern,
            native_ipv6: traffic.native_ipv6,
            native_ipv4: traffic.native_ipv4,
            offered_pps: outcome.offered_pps.map(rounded),
            sent: outcome.sent(),
            received: outcome.received(),
            lost: outcome.lost(),
            unsent: outcome.unsent,
            refused: outcome.refused,
            duplicated: outcome.over_streams(|stream| stream.duplicated),
            reordered: outcome.over_streams(|stream| stream.reordered),
            stale: outcome.over_streams(|stream| stream.stale),
            foreign: outcome.others.foreign,
            icmp_errors: outcome.others.icmp_errors,
            corrupt: outcome.corrupt(),
            sent_pps: rounded(outcome.sent_pps()),
            received_pps: rounded(outcome.received_pps()),
            loss_ratio: outcome.loss_ratio(),
            seconds: rounded(outcome.seconds),
            latency_us: outcome.latency(),
            max_gap_us: outcome.max_gap_us(),
            max_pause_us: rounded(outcome.max_pause_us),
            streams: outcome
                .streams
                .iter()
                .map(|stream| StreamMeasurement {
                    name: stream.name.into(),
                    sent: stream.sent,
                    received: stream.received,
                    max_gap_us: stream.max_gap_us,
                })
                .collect(),
            ports: outcome.ports.clone(),
            finding,
        }
    }
}

/// Writes results as one JSON array.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, measurements: &[Measurement]) -> Result<(), PktgenError> {
    let text = serde_json::to_string_pretty(measurements).expect("measurements have text keys only");
    fs::write(path, text + "\n").map_err(PktgenError::file(path))
}

/// Reads results back.
///
/// # Errors
/// When the file cannot be read, or has something else in it.
pub fn read(path: &Path) -> Result<Vec<Measurement>, PktgenError> {
    let text = fs::read_to_string(path).map_err(PktgenError::file(path))?;
    serde_json::from_str(&text)
        .map_err(|error| PktgenError::Results { file: path.to_owned(), reason: error.to_string() })
}

const COLUMNS: usize = 10;
const HEADINGS: [&str; COLUMNS] =
    ["frame", "offered", "sent", "received", "unsent", "lost", "wrong", "p50 us", "p99.9 us", "finding"];

/// A table for people, one line per measurement.
#[must_use]
pub fn table(measurements: &[Measurement]) -> String {
    let rows: Vec<[String; COLUMNS]> =
        std::iter::once(HEADINGS.map(String::from)).chain(measurements.iter().map(row)).collect();
    let widths: Vec<usize> =
        (0..COLUMNS).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let line = |row: &[String; COLUMNS]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(measurement: &Measurement) -> [String; COLUMNS] {
    let latency = |of: fn(&Latency) -> f64| {
        measurement.latency_us.as_ref().map_or_else(|| "-".into(), |latency| format!("{:.1}", of(latency)))
    };
    let wrong = measurement.corrupt.total()
        + measurement.duplicated
        + measurement.reordered
        + measurement.icmp_errors;
    [
        measurement.frame_bytes.to_string(),
        measurement.offered_pps.map_or_else(|| "max".into(), mega),
        mega(measurement.sent_pps),
        mega(measurement.received_pps),
        (measurement.unsent + measurement.refused).to_string(),
        measurement.lost.to_string(),
        wrong.to_string(),
        latency(|latency| latency.p50),
        latency(|latency| latency.p999),
        finding(measurement),
    ]
}

/// What the procedure found, in a few words.
fn finding(measurement: &Measurement) -> String {
    let finding = &measurement.finding;
    let parts = [
        (measurement.procedure == "overload").then(|| format!("{} flows", measurement.flows)),
        finding.throughput_pps.map(|rate| format!("throughput {}", mega(rate))),
        finding.typical_latency_us.map(|latency| format!("typical {latency:.1} us")),
        finding.worst_case_latency_us.map(|latency| format!("worst case {latency:.1} us")),
        finding.pdv_us.map(|pdv| format!("pdv {pdv:.1} us")),
        finding.burst_frames.map(|frames| format!("burst {frames}")),
        finding.ratio_to_one_flow.map(|ratio| format!("{:.1} % of one flow", ratio * 100.0)),
        finding.blocked_ms.map(|blocked| format!("blocked {blocked:.3} ms")),
    ];
    parts.into_iter().flatten().collect::<Vec<String>>().join(", ")
}

/// A rate in millions per second.
fn mega(rate: f64) -> String {
    format!("{:.3} M", rate / 1e6)
}
