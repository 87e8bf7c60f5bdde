//! Says which results changed by more than their runs differ among themselves.

use std::path::Path;

use super::report::{Collector, Entry, Report, Row, is_higher_better};
use super::stats::Samples;
use super::{BenchError, Machine, table};

/// A change of the median that matters, beyond the spread.
const THRESHOLD: f64 = 0.05;

/// The unit of what is a comparison already, of two rows that are compared themselves.
const SHARE: &str = "%";

/// One result, then and now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    /// The result's name.
    pub(super) name: String,
    /// Its unit.
    pub(super) unit: String,
    /// The median then.
    pub(super) before: f64,
    /// The median now.
    pub(super) after: f64,
    /// How much worse it became: 0.1 is a tenth more cycles, or a tenth less rate. Negative when better.
    pub(super) worse: f64,
    /// How far `worse` is uncertain.
    pub(super) spread: f64,
}

/// What a change means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Worse by more than the threshold and the spread.
    Slower,
    /// Better by as much.
    Faster,
    /// Neither.
    Same,
}

impl Change {
    /// What it means.
    #[must_use]
    pub(super) fn meaning(&self) -> Meaning {
        let limit = THRESHOLD + self.spread;
        if self.worse > limit {
            Meaning::Slower
        } else if self.worse < -limit {
            Meaning::Faster
        } else {
            Meaning::Same
        }
    }

    /// Two reports' medians; their spreads add up, since their runs had nothing to do with each other.
    fn of_rows(before: &Row, after: &Row) -> Self {
        Self {
            name: after.name.clone(),
            unit: after.unit.clone(),
            before: before.value,
            after: after.value,
            worse: worse(&after.unit, before.value, after.value),
            spread: relative(before.spread, before.value) + relative(after.spread, after.value),
        }
    }

    /// Runs that alternated: each is compared with its neighbour, so what disturbed both for a while cancels out.
    fn of_pairs(before: &Entry, entry: &Entry) -> Option<Self> {
        let pairs = before.samples.runs().iter().zip(entry.samples.runs());
        let changes: Samples = pairs.map(|(before, after)| worse(&entry.unit, *before, *after)).collect();
        Some(Self {
            name: entry.name.clone(),
            unit: entry.unit.clone(),
            before: before.samples.median()?,
            after: entry.samples.median()?,
            worse: changes.median()?,
            spread: if changes.runs().len() < 3 { UNKNOWN_SPREAD } else { changes.spread()? },
        })
    }
}

/// The spread of fewer than three pairs, which tell none of their own: only what changed by more than half stands out.
const UNKNOWN_SPREAD: f64 = 0.5;

/// Nothing is called more than ten times worse: so a count that rises from zero is a number too.
const WORST: f64 = 10.0;

fn worse(unit: &str, before: f64, after: f64) -> f64 {
    if before == after {
        return 0.0;
    }
    let change = if is_higher_better(unit) { before / after } else { after / before } - 1.0;
    change.clamp(-1.0, WORST)
}

fn relative(spread: f64, value: f64) -> f64 {
    if spread == 0.0 { 0.0 } else { (spread / value.abs()).min(WORST) }
}

/// Every result that two reports of one machine share.
///
/// # Errors
/// When the baseline is from another machine.
pub(super) fn with_baseline(path: &Path, baseline: &Report, now: &Report) -> Result<Vec<Change>, BenchError> {
    refuse_other_machine(path, &baseline.machine, &now.machine)?;
    let rows = now.results.iter().filter(|row| row.unit != SHARE);
    let pairs = rows.filter_map(|row| Some((baseline.row(&row.name)?, row)));
    Ok(pairs.map(|(before, after)| Change::of_rows(before, after)).collect())
}

/// Refuses a baseline whose machine differs.
///
/// # Errors
/// When it does.
pub(super) fn refuse_other_machine(
    path: &Path,
    baseline: &Machine,
    here: &Machine,
) -> Result<(), BenchError> {
    let differences = here.differences(baseline);
    if differences.is_empty() {
        return Ok(());
    }
    Err(BenchError::OtherMachine { path: path.into(), differences: differences.join("\n") })
}

/// Every result that two builds share whose runs alternated; not those where all runs are the same, as testpmd's are.
#[must_use]
pub(super) fn alternated(before: &Collector, after: &Collector) -> Vec<Change> {
    let pairs = after.entries().iter().filter_map(|entry| Some((before.entry(&entry.name)?, entry)));
    let pairs = pairs.filter(|(before, after)| before.samples != after.samples && after.unit != SHARE);
    pairs.filter_map(|(before, after)| Change::of_pairs(before, after)).collect()
}

/// Prints the changes; true when none is a regression.
#[must_use]
pub(super) fn print(changes: &[Change], before: &str) -> bool {
    let rows = changes.iter().map(|change| {
        let word = match change.meaning() {
            Meaning::Slower => "SLOWER",
            Meaning::Faster => "faster",
            Meaning::Same => "",
        };
        vec![
            change.name.clone(),
            table::number(change.before),
            table::number(change.after),
            change.unit.clone(),
            format!("{:+.1} %", change.worse * 100.0),
            format!("{:.1} %", change.spread * 100.0),
            word.into(),
        ]
    });
    let head = ["", before, "now", "unit", "worse by", "spread", ""];
    println!("{}", table::text(&head, &rows.collect::<Vec<_>>()));
    let slower: Vec<_> = changes.iter().filter(|change| change.meaning() == Meaning::Slower).collect();
    for change in &slower {
        println!(
            "{} is worse by {:.1} %, more than the {:.0} % allowed and the spread of {:.1} %",
            change.name,
            change.worse * 100.0,
            THRESHOLD * 100.0,
            change.spread * 100.0
        );
    }
    if slower.is_empty() {
        println!("no result is worse by more than {:.0} % and its spread", THRESHOLD * 100.0);
    }
    slower.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(cpu: &str, cycles: &[f64], rate: &[f64]) -> Report {
        let collector = collector(cycles, rate);
        Report { machine: Machine { cpu: cpu.into(), ..Machine::default() }, results: collector.rows() }
    }

    fn collector(cycles: &[f64], rate: &[f64]) -> Collector {
        let mut collector = Collector::default();
        cycles.iter().for_each(|run| collector.add("cycles", "cycles/packet", *run));
        rate.iter().for_each(|run| collector.add("rate", "Mpps", *run));
        collector
    }

    fn meanings(changes: &[Change]) -> Vec<Meaning> {
        changes.iter().map(Change::meaning).collect()
    }

    #[test]
    fn shares_are_not_compared_once_more() {
        let mut collectors = [Collector::default(), Collector::default()];
        for (collector, value) in collectors.iter_mut().zip([0.1, 0.4]) {
            collector.add("feature_share", "%", value);
            collector.add("feature_with", "cycles/packet", 60.0 + value);
        }
        let [before, after] = &collectors;
        let names: Vec<_> = alternated(before, after).into_iter().map(|change| change.name).collect();
        assert_eq!(names, ["feature_with"]);
    }

    #[test]
    fn a_baseline_from_another_machine_is_refused() {
        let path = Path::new("old.json");
        let refusal = with_baseline(path, &report("A", &[1.0], &[1.0]), &report("B", &[1.0], &[1.0]));
        let message = refusal.unwrap_err().to_string();
        assert!(message.contains("old.json was measured on another machine"), "{message}");
        assert!(message.contains("CPU: here `B`, there `A`") && message.contains("--against"), "{message}");
    }

    #[test]
    fn more_cycles_and_less_rate_are_worse() {
        let before = report("A", &[100.0, 100.0], &[10.0, 10.0]);
        let after = report("A", &[110.0, 110.0], &[8.0, 8.0]);
        let changes = with_baseline(Path::new("x"), &before, &after).unwrap();
        assert_eq!(meanings(&changes), [Meaning::Slower, Meaning::Slower]);
        assert!((changes[0].worse - 0.1).abs() < 1e-9 && (changes[1].worse - 0.25).abs() < 1e-9);
        let changes = with_baseline(Path::new("x"), &after, &before).unwrap();
        assert_eq!(meanings(&changes), [Meaning::Faster, Meaning::Faster]);
    }

    #[test]
    fn a_change_within_the_spread_is_none() {
        let before = report("A", &[90.0, 100.0, 110.0], &[10.0]);
        let after = report("A", &[108.0, 109.0, 110.0], &[9.6]);
        let changes = with_baseline(Path::new("x"), &before, &after).unwrap();
        assert_eq!(meanings(&changes), [Meaning::Same, Meaning::Same]);
        assert!(changes[0].worse > THRESHOLD && changes[0].spread > 0.05, "{changes:?}");
    }

    #[test]
    fn a_disturbance_of_both_neighbours_cancels_out() {
        // The machine is three times slower in the second round, for both.
        let before = collector(&[100.0, 300.0, 100.0], &[]);
        let same = collector(&[101.0, 303.0, 101.0], &[]);
        let slower = collector(&[120.0, 360.0, 120.0], &[]);
        assert_eq!(meanings(&alternated(&before, &same)), [Meaning::Same]);
        assert_eq!(meanings(&alternated(&before, &slower)), [Meaning::Slower]);
        assert_eq!(meanings(&alternated(&slower, &before)), [Meaning::Faster]);
    }

    #[test]
    fn two_pairs_show_only_a_large_change() {
        let before = collector(&[100.0, 100.0], &[]);
        assert_eq!(meanings(&alternated(&before, &collector(&[130.0, 130.0], &[]))), [Meaning::Same]);
        assert_eq!(meanings(&alternated(&before, &collector(&[170.0, 170.0], &[]))), [Meaning::Slower]);
    }

    #[test]
    fn rows_only_one_side_has_are_left_out() {
        let changes = alternated(&collector(&[1.0], &[1.0]), &collector(&[2.0], &[]));
        assert_eq!(changes.len(), 1);
    }

    #[test]
    fn a_count_that_leaves_zero_is_a_regression() {
        let changes = alternated(&collector(&[0.0, 0.0], &[]), &collector(&[1.0, 1.0], &[]));
        assert!(!print(&changes, "old"));
        let changes = alternated(&collector(&[0.0, 0.0], &[]), &collector(&[0.0, 0.0], &[]));
        assert!(changes.is_empty());
    }
}
