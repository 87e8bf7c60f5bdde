//! What a benchmark was asked for and what it found: arguments in, a table and a JSON file out.

use serde::Serialize;

use crate::common::clock::TICKS;

/// What was asked for: `--json FILE`, `--only TEXT`, `--bursts N`. Others, as cargo's `--bench`, are not looked at.
pub(crate) struct Arguments {
    json: Option<String>,
    only: Option<String>,
    /// How long each row is measured.
    pub(crate) bursts: usize,
}

impl Arguments {
    /// Reads the command line.
    pub(crate) fn read(default_bursts: usize) -> Self {
        let arguments: Vec<String> = std::env::args().collect();
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).cloned()
        };
        Self {
            json: value("--json"),
            only: value("--only"),
            bursts: value("--bursts").map_or(default_bursts, |bursts| bursts.parse().unwrap()),
        }
    }

    /// Whether this row was asked for: its name has the text, or the text has its name.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()) || only.contains(name))
    }

    /// Whether one of these rows was.
    pub(crate) fn want_any<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        names.into_iter().any(|name| self.wants(name))
    }
}

/// One measured value.
#[derive(Serialize)]
pub(crate) struct Row {
    name: String,
    /// The median.
    value: f64,
    unit: String,
    /// The smallest.
    min: f64,
    /// Allocations during the measured bursts, where they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    allocations: Option<u64>,
}

impl Row {
    /// A row of samples; at least one.
    pub(crate) fn of(name: &str, unit: &str, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self {
            name: name.to_owned(),
            value: rounded(samples[samples.len() / 2]),
            unit: unit.to_owned(),
            min: rounded(samples[0]),
            allocations: None,
        }
    }

    /// The same, in ticks of the clock per `what`.
    pub(crate) fn of_ticks(name: &str, what: &str, samples: Vec<f64>) -> Self {
        Self::of(name, &format!("{TICKS}/{what}"), samples)
    }

    /// With the allocations of all samples.
    pub(crate) fn with_allocations(self, allocations: u64) -> Self {
        Self { allocations: Some(allocations), ..self }
    }
}

/// Four digits are more than a measurement on a busy machine is good for.
fn rounded(value: f64) -> f64 {
    let scale = if value < 10.0 { 1000.0 } else { 10.0 };
    (value * scale).round() / scale
}

/// Prints the rows, and writes them where the arguments say.
///
/// # Panics
/// When memory was allocated where it is counted.
pub(crate) fn publish(arguments: &Arguments, rows: &[Row]) {
    println!("{:<44} {:>12} {:>12}  {:<14} {:>11}", "", "median", "smallest", "unit", "allocations");
    for row in rows {
        let Row { name, value, unit, min, allocations } = row;
        let allocations = allocations.map_or(String::new(), |count| count.to_string());
        println!("{name:<44} {value:>12} {min:>12}  {unit:<14} {allocations:>11}");
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(rows).unwrap()).unwrap();
    }
    let allocated = |row: &Row| row.allocations.is_some_and(|count| count > 0);
    assert!(!rows.iter().any(allocated), "the path of a packet must not allocate");
}
