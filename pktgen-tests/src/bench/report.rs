//! The machine and every result: what `--json` writes and `--baseline` reads.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::stats::Samples;
use super::{BenchError, Machine};

/// One run of `scripts/bench`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    /// Where it ran.
    pub(super) machine: Machine,
    /// In the order they were measured.
    pub(super) results: Vec<Row>,
}

/// One result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    /// Stable: later runs are compared by it.
    pub(super) name: String,
    /// The median of the runs.
    pub(super) value: f64,
    /// What is counted; see [`is_higher_better`].
    pub(super) unit: String,
    /// The smallest run.
    pub(super) min: f64,
    /// The largest run.
    pub(super) max: f64,
    /// How many runs there were.
    pub(super) runs: usize,
    /// Half the distance between the tenth and the ninetieth percentile of the runs.
    #[serde(default)]
    pub(super) spread: f64,
}

/// Whether more of a unit is better: rates and ratios to testpmd. Everything else is a cost.
#[must_use]
pub(super) fn is_higher_better(unit: &str) -> bool {
    unit.ends_with("/s") || matches!(unit, "Mpps" | "ratio")
}

impl Report {
    /// Reads what [`write`](Self::write) has written.
    ///
    /// # Errors
    /// When the file cannot be read, or is something else.
    pub(super) fn read(path: &Path) -> Result<Self, BenchError> {
        let text = fs::read_to_string(path).map_err(BenchError::io(path))?;
        serde_json::from_str(&text).map_err(|source| BenchError::Report { path: path.into(), source })
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<(), BenchError> {
        let mut text = serde_json::to_string_pretty(self).expect("numbers and strings always serialise");
        text.push('\n');
        fs::write(path, text).map_err(BenchError::io(path))
    }

    /// The result of that name.
    #[must_use]
    pub(super) fn row(&self, name: &str) -> Option<&Row> {
        self.results.iter().find(|row| row.name == name)
    }
}

/// Gathers runs by name, in the order in which the names first come.
#[derive(Debug, Clone, Default)]
pub(super) struct Collector {
    entries: Vec<Entry>,
}

/// The runs of one measurement.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// As [`Row::name`].
    pub(super) name: String,
    /// As [`Row::unit`].
    pub(super) unit: String,
    /// Its runs, one for each round that had it.
    pub(super) samples: Samples,
}

impl Collector {
    /// Adds a run.
    pub(super) fn add(&mut self, name: &str, unit: &str, value: f64) {
        let at = self.entries.iter().position(|entry| entry.name == name).unwrap_or_else(|| {
            self.entries.push(Entry { name: name.into(), unit: unit.into(), samples: Samples::default() });
            self.entries.len() - 1
        });
        self.entries[at].samples.push(value);
    }

    /// The newest run of that name.
    #[must_use]
    pub(super) fn last(&self, name: &str) -> Option<f64> {
        self.entry(name)?.samples.runs().last().copied()
    }

    /// The runs of that name.
    #[must_use]
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// All of them.
    #[must_use]
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// One row for each name.
    #[must_use]
    pub(super) fn rows(&self) -> Vec<Row> {
        self.entries.iter().filter_map(Entry::row).collect()
    }
}

impl Entry {
    fn row(&self) -> Option<Row> {
        Some(Row {
            name: self.name.clone(),
            value: self.samples.median()?,
            unit: self.unit.clone(),
            min: self.samples.min()?,
            max: self.samples.max()?,
            runs: self.samples.runs().len(),
            spread: self.samples.spread()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn collected() -> Collector {
        let mut collector = Collector::default();
        for value in [15.0, 5.0, 10.0] {
            collector.add("cycles", "cycles/packet", value);
            collector.add("rate", "Mpps", value * 2.0);
        }
        collector
    }

    #[test]
    fn rows_hold_median_and_range() {
        let rows = collected().rows();
        assert_eq!(rows[0].name, "cycles");
        assert_eq!((rows[1].value, rows[1].min, rows[1].max, rows[1].runs), (20.0, 10.0, 30.0, 3));
        assert_eq!(collected().last("rate"), Some(20.0));
    }

    /// What other tools read: the names of these fields are fixed.
    #[test]
    fn the_file_has_the_promised_form() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        let report = Report { machine: Machine::default(), results: collected().rows() };
        report.write(&path).unwrap();
        let value: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(value["machine"]["cpu"].is_string() && value["machine"]["cores"].is_number());
        assert_eq!(
            value["results"][0],
            json!({"name": "cycles", "value": 10.0, "unit": "cycles/packet", "min": 5.0, "max": 15.0, "runs": 3,
                   "spread": 4.0})
        );
        assert_eq!(Report::read(&path).unwrap(), report);
    }

    #[test]
    fn another_file_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other.json");
        assert!(Report::read(&path).unwrap_err().to_string().contains("other.json"));
        fs::write(&path, "{\"results\": []}").unwrap();
        let message = Report::read(&path).unwrap_err().to_string();
        assert!(message.contains("other.json") && message.contains("machine"), "{message}");
    }
}
