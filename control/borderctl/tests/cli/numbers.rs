//! Every number that people see is in the JSON of the same verb, and every number of `top` is in the table of docs/metrics.md.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use crate::lab::Lab;

/// All numbers of an answer, those in its texts included.
fn numbers(value: &Value, found: &mut Vec<f64>) {
    match value {
        Value::Number(number) => found.extend(number.as_f64()),
        Value::Array(values) => values.iter().for_each(|value| numbers(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| numbers(value, found)),
        _ => {}
    }
}

/// The words of a view that are nothing but a number, with how far they may be rounded.
fn shown(view: &str) -> Vec<(f64, f64)> {
    let words = view.split_whitespace().map(|word| word.trim_end_matches([',', ';', ':', ')']));
    let number = |word: &str| {
        let digits = word.split_once('.').map_or(0, |(_, digits)| digits.len());
        Some((word.parse().ok()?, 0.5 * 0.1_f64.powi(i32::try_from(digits).ok()?)))
    };
    words.filter_map(number).collect()
}

/// Whether a number is one of an answer: as it is, in per cent, or in minutes, hours or days.
fn is_of(answer: &[f64], (number, rounding): (f64, f64)) -> bool {
    let units = [1.0, 100.0, 1.0 / 60.0, 1.0 / 3600.0, 1.0 / 86_400.0];
    let is_it = |of: f64| (of - number).abs() <= rounding + 1e-9 || of.trunc() == number;
    answer.iter().any(|of| units.iter().any(|unit| is_it(of * unit)))
}

#[test]
fn every_number_that_people_see_is_in_the_json() {
    let lab = Lab::new();
    for verb in ["status", "drops --all", "top --once", "workers", "ports"] {
        let view = lab.good(verb);
        // `top` makes rates of two readings, and the relay of this laboratory is a second older at each.
        let mut answer = Vec::new();
        numbers(&lab.json(verb), &mut answer);
        let texts = lab.good(&format!("--json {verb}"));
        let lacking: Vec<_> = shown(&view)
            .into_iter()
            .filter(|number| !is_of(&answer, *number))
            // In a sentence of the relay's own, such as a complaint or a cause.
            .filter(|(number, _)| !texts.contains(&format!(" {number} ")))
            .collect();
        assert!(shown(&view).len() >= 4, "{verb}: {view}");
        assert!(lacking.is_empty(), "{verb} shows {lacking:?}, which its JSON has not: {view}\n{texts}");
    }
}

/// The paths of the numbers in an answer.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => {
            for value in values {
                paths(value, &format!("{path}[]"), found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                paths(value, &path, found);
            }
        }
        Value::Number(_) => {
            found.insert(path.to_owned());
        }
        _ => {}
    }
}

#[test]
fn every_number_of_top_is_in_the_table_of_metrics() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let table = std::fs::read_to_string(path).unwrap();
    let rows: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| top | `")?.split_once('`'))
        .map(|(number, _)| number.to_owned())
        .collect();
    let mut found = BTreeSet::new();
    paths(&Lab::new().json("top --once"), "", &mut found);
    let lacking: Vec<_> = found.difference(&rows).collect();
    let stale: Vec<_> = rows.difference(&found).collect();
    assert!(
        lacking.is_empty() && stale.is_empty(),
        "not in docs/metrics.md: {lacking:?}; only there: {stale:?}"
    );
}
