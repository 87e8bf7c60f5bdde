//! What the socket is told of dropped packets.

use std::time::{SystemTime, UNIX_EPOCH};

use control::observe::{DropRow, Observatory};
use control_api::{
    Code, DropCount, DropSample, DropSamples, Drops, PersistentDrop, Refusal, hex, rfc3339, rfc3339_micros,
};
use dataplane::sink::samples::Layer;
use dataplane::verdict::DropReason;

/// The observatory, and what it calls by number.
pub(super) struct Observed {
    pub(super) observatory: Observatory,
    /// The names of the ports, in the order of their numbers.
    pub(super) ports: Vec<String>,
}

impl Observed {
    pub(super) fn drops(&self) -> Drops {
        Drops(self.observatory.drops().iter().map(count).collect())
    }

    /// Those that have grown for a minute and more.
    pub(super) fn persistent(&self) -> Vec<PersistentDrop> {
        let persistent = |row: &DropRow| {
            Some(PersistentDrop {
                reason: row.reason.name().to_owned(),
                rate_1m: rounded(row.rates.rate_1m),
                since: second(row.rates.persistent_since?),
            })
        };
        self.observatory.drops().iter().filter_map(persistent).collect()
    }

    /// Packets a second of all reasons together, in the last minute.
    pub(super) fn dropped_rate_1m(&self) -> f64 {
        rounded(self.observatory.drops().iter().map(|row| row.rates.rate_1m).sum())
    }

    pub(super) fn samples(&self, reason: Option<&str>, last: u32) -> Result<DropSamples, Refusal> {
        let reason = reason.map(named).transpose()?;
        let samples = self.observatory.samples(reason, usize::try_from(last).unwrap_or(usize::MAX));
        Ok(DropSamples(samples.iter().map(|sample| self.shown(sample)).collect()))
    }

    pub(super) fn sample(&self, id: u64) -> Option<DropSample> {
        self.observatory.sample(id).map(|sample| self.shown(&sample))
    }

    fn shown(&self, sample: &control::observe::DropSample) -> DropSample {
        let port = self.ports.get(usize::from(sample.port.0));
        let unix_ns = nanoseconds(sample.time);
        DropSample {
            id: sample.id,
            time: rfc3339_micros(unix_ns),
            unix_ns,
            port: port.cloned().unwrap_or_else(|| sample.port.0.to_string()),
            queue: sample.worker.unwrap_or_default(),
            worker: sample.worker.unwrap_or_default(),
            control: sample.worker.is_none(),
            reason: sample.reason.name().to_owned(),
            one_in: sample.one_in,
            layer: match sample.layer {
                Layer::Ip => "ip",
                Layer::Link => "ethernet",
            }
            .to_owned(),
            length: sample.length as u64,
            bytes: hex(&sample.bytes),
        }
    }
}

fn named(name: &str) -> Result<DropReason, Refusal> {
    DropReason::ALL.iter().copied().find(|reason| reason.name() == name).ok_or_else(|| {
        let name: String = name.chars().take(100).collect();
        Refusal::new(
            Code::InvalidRequest,
            format!("{name:?} is no drop reason"),
            "`borderctl drops --all` shows them",
        )
    })
}

fn count(row: &DropRow) -> DropCount {
    let (meaning, check) = halves(row.reason.description());
    let rates = &row.rates;
    DropCount {
        reason: row.reason.name().to_owned(),
        count: rates.count,
        rate: rounded(rates.rate),
        rate_1m: rounded(rates.rate_1m),
        rate_1h: rounded(rates.rate_1h),
        first_seen: rates.first_seen.map(second),
        last_seen: rates.last_seen.map(second),
        sampled: row.sampled,
        samples_lost: row.samples_lost,
        one_in: row.one_in,
        persistent_since: rates.persistent_since.map(second),
        meaning: meaning.to_owned(),
        check: check.to_owned(),
    }
}

/// The first sentence of a description says what it means, the rest what to check. A full stop that is no end of a sentence
/// has a digit or a small letter behind it.
fn halves(description: &str) -> (&str, &str) {
    let end = description.match_indices(". ").map(|(at, _)| at + 1).find(|end| {
        description[*end..].trim_start().starts_with(|next: char| next.is_uppercase() || next == '`')
    });
    end.map_or((description, ""), |end| (&description[..end], description[end..].trim_start()))
}

/// A thousandth of a packet a second is enough.
fn rounded(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}

pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn second(time: SystemTime) -> String {
    rfc3339(nanoseconds(time) / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_says_what_it_means_and_what_to_check() {
        for reason in DropReason::ALL {
            let (meaning, check) = halves(reason.description());
            assert!(meaning.ends_with('.') && !check.is_empty(), "{}: {meaning:?} {check:?}", reason.name());
        }
        assert_eq!(named("no_route"), Ok(DropReason::NoRoute));
        assert!(named("nothing").is_err());
    }
}
