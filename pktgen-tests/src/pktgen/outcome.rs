//! What a trial found.

use std::fmt::Write;

use dataplane::dpdk::PortStats;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::config::Rate;
use super::engine::{Ran, Trial};
use super::receiver::Judge;
use super::sender::Sender;
use super::stream::Stream;
use super::tally::{Corrupt, Others, StreamTally, latencies};

/// One trial, over all streams and by stream. Rates are packets per second.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The rate asked for; none is as much as the ports took.
    pub offered_pps: Option<f64>,
    /// How long packets were sent.
    pub seconds: f64,
    /// Packets that were due and not sent, because the machine kept this program from running.
    pub unsent: u64,
    /// Packets that were due and not sent, because a port took none.
    pub refused: u64,
    /// By stream.
    pub streams: Vec<StreamOutcome>,
    /// What belonged to no stream.
    pub others: Others,
    /// By port, what its driver counted.
    pub ports: Vec<PortOutcome>,
    /// Latencies in cycles, over all streams.
    latency: Histogram<u64>,
    /// The longest time this program did not run.
    pub max_pause_us: f64,
    hertz: f64,
}

/// One stream of a trial.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StreamOutcome {
    /// Its name.
    pub name: &'static str,
    /// Packets the port took.
    pub sent: u64,
    /// Packets that came back, each counted once.
    pub received: u64,
    /// Second and further copies.
    pub duplicated: u64,
    /// Overtaken by later packets of their flow.
    pub reordered: u64,
    /// Packets of earlier trials.
    pub stale: u64,
    /// Received packets that were not as they should be.
    pub corrupt: Corrupt,
    /// The largest time without a packet, between the first and the last.
    pub max_gap_us: f64,
}

/// What the driver of a port counted during a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortOutcome {
    /// The port's name.
    pub name: String,
    /// Packets received.
    pub ipackets: u64,
    /// Packets sent.
    pub opackets: u64,
    /// Received and lost for want of a free descriptor.
    pub imissed: u64,
    /// Received damaged.
    pub ierrors: u64,
    /// Not sent.
    pub oerrors: u64,
    /// Received and lost for want of a buffer.
    pub rx_nombuf: u64,
}

/// Latency from the writing of a packet to the receiving of its translation, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The smallest.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The largest.
    pub max: f64,
}

impl Outcome {
    #[allow(clippy::cast_precision_loss, reason = "frequencies and times are far below 2^52")]
    pub(super) fn new(
        trial: &Trial,
        streams: &[Stream],
        sender: &Sender,
        judge: &Judge,
        ran: Ran,
        hertz: u64,
    ) -> Self {
        let micro = 1e6 / hertz as f64;
        let mut latency = latencies();
        for tally in judge.tallies() {
            latency.add(&tally.latency).expect("all histograms have the same bounds");
        }
        let sent = sender.sent();
        let by_stream = streams.iter().zip(judge.tallies()).zip(&sent);
        Self {
            offered_pps: match trial.rate {
                Rate::Max => None,
                Rate::PerSecond(rate) => Some(rate),
            },
            seconds: ran.sending as f64 / hertz as f64,
            unsent: sender.missed(),
            refused: sender.refused() + ran.abandoned,
            streams: by_stream
                .map(|((stream, tally), &sent)| stream_outcome(stream, tally, sent, micro))
                .collect(),
            others: *judge.others(),
            ports: Vec::new(),
            latency,
            max_pause_us: ran.longest_pause as f64 * micro,
            hertz: hertz as f64,
        }
    }

    /// With what the drivers counted between two readings.
    #[must_use]
    pub(super) fn with_ports(
        mut self,
        before: &[(String, PortStats); 2],
        after: &[(String, PortStats); 2],
    ) -> Self {
        self.ports =
            before.iter().zip(after).map(|((name, old), (_, new))| port_outcome(name, old, new)).collect();
        self
    }

    /// Packets sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.streams.iter().map(|stream| stream.sent).sum()
    }

    /// Packets that came back, each counted once.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.streams.iter().map(|stream| stream.received).sum()
    }

    /// Packets that did not come back.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sent().saturating_sub(self.received())
    }

    /// Lost packets as a share of the sent ones.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "packets of a trial are far below 2^52")]
    pub fn loss_ratio(&self) -> f64 {
        self.lost() as f64 / self.sent().max(1) as f64
    }

    /// Packets sent per second.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "packets of a trial are far below 2^52")]
    pub fn sent_pps(&self) -> f64 {
        self.sent() as f64 / self.seconds
    }

    /// Packets received per second of sending.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "packets of a trial are far below 2^52")]
    pub fn received_pps(&self) -> f64 {
        self.received() as f64 / self.seconds
    }

    /// Corrupt packets by kind, with those that cannot be told.
    #[must_use]
    pub fn corrupt(&self) -> Corrupt {
        let mut corrupt = self.others.corrupt;
        for stream in &self.streams {
            corrupt.add(&stream.corrupt);
        }
        corrupt
    }

    /// Sums a count over the streams.
    pub fn over_streams(&self, count: impl Fn(&StreamOutcome) -> u64) -> u64 {
        self.streams.iter().map(count).sum()
    }

    /// Whether every packet that came back was right, came once, and in the order of its flow.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.is_right()
            && self.over_streams(|stream| stream.duplicated + stream.reordered) == 0
            && self.others.icmp_errors == 0
    }

    /// Whether every packet that came back was right.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.corrupt().total() == 0
    }

    /// The largest time a stream was silent.
    #[must_use]
    pub fn max_gap_us(&self) -> f64 {
        self.streams.iter().map(|stream| stream.max_gap_us).fold(0.0, f64::max)
    }

    /// Latencies; none when nothing was received.
    #[must_use]
    pub fn latency(&self) -> Option<Latency> {
        if self.latency.is_empty() {
            return None;
        }
        let at = |quantile| self.micro(self.latency.value_at_quantile(quantile));
        Some(Latency {
            min: self.micro(self.latency.min()),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: self.micro(self.latency.max()),
        })
    }

    #[allow(clippy::cast_precision_loss, reason = "latencies are far below 2^52 cycles")]
    fn micro(&self, cycles: u64) -> f64 {
        rounded(cycles as f64 * 1e6 / self.hertz)
    }

    /// In a few words, for messages.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = format!("sent {}, received {}", self.sent(), self.received());
        let corrupt = self.corrupt();
        for (kind, count) in corrupt.list().into_iter().filter(|(_, count)| *count > 0) {
            write!(text, ", {count} with wrong {kind}").ok();
        }
        for (what, count) in [
            ("duplicated", self.over_streams(|stream| stream.duplicated)),
            ("reordered", self.over_streams(|stream| stream.reordered)),
            ("ICMP errors", self.others.icmp_errors),
            ("foreign", self.others.foreign),
        ] {
            if count > 0 {
                write!(text, ", {count} {what}").ok();
            }
        }
        text
    }
}

#[allow(clippy::cast_precision_loss, reason = "gaps are far below 2^52 cycles")]
fn stream_outcome(stream: &Stream, tally: &StreamTally, sent: u64, micro: f64) -> StreamOutcome {
    StreamOutcome {
        name: stream.name,
        sent,
        received: tally.received,
        duplicated: tally.duplicated,
        reordered: tally.reordered,
        stale: tally.stale,
        corrupt: tally.corrupt,
        max_gap_us: rounded(tally.max_gap as f64 * micro),
    }
}

fn port_outcome(name: &str, old: &PortStats, new: &PortStats) -> PortOutcome {
    let since = |of: fn(&PortStats) -> u64| of(new).saturating_sub(of(old));
    PortOutcome {
        name: name.to_owned(),
        ipackets: since(|stats| stats.ipackets),
        opackets: since(|stats| stats.opackets),
        imissed: since(|stats| stats.imissed),
        ierrors: since(|stats| stats.ierrors),
        oerrors: since(|stats| stats.oerrors),
        rx_nombuf: since(|stats| stats.rx_nombuf),
    }
}

/// To three places: a thousandth of a microsecond is below what any clock here tells.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
