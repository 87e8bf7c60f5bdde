//! Every number of `status`, `drops` and `top` is a metric too, or docs/metrics.md says why it is none.
#![allow(clippy::panic, clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use common::Relay;
use control_metrics::Format;
use serde_json::Value;

fn read(path: &str) -> String {
    std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// The rows of the table: view and number, metric, note.
fn table() -> BTreeMap<(String, String), (String, String)> {
    let text = read("docs/metrics.md");
    let (_, rest) = text.split_once("<!-- numbers begin -->\n").unwrap();
    let (rows, _) = rest.split_once("<!-- numbers end -->").unwrap();
    let row = |line: &str| {
        // A column's end within an expression is escaped.
        let line = line.replace("\\|", "\u{0}");
        let cells: Vec<String> =
            line.split('|').map(|cell| cell.trim().trim_matches('`').replace('\u{0}', "|")).collect();
        let [_, view, number, metric, note, _] = &cells[..] else { panic!("{line}") };
        ((view.clone(), number.clone()), (metric.clone(), note.clone()))
    };
    let all: Vec<_> = rows.lines().skip(2).map(row).collect();
    let count = all.len();
    let table: BTreeMap<_, _> = all.into_iter().collect();
    assert_eq!(table.len(), count, "no number stands there twice");
    table
}

/// Numbers and moments of an answer, by the description of the API.
struct Walk<'a> {
    schemas: &'a Value,
    found: BTreeSet<String>,
}

impl Walk<'_> {
    fn of(name: &str) -> BTreeSet<String> {
        let description: Value = serde_json::from_str(&read("control/api/openapi.json")).unwrap();
        let mut walk = Walk { schemas: &description["components"]["schemas"], found: BTreeSet::new() };
        walk.schema(&walk.schemas[name], "");
        walk.found
    }

    fn schema(&mut self, schema: &Value, path: &str) {
        if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
            assert!(!self.schemas[name].is_null(), "{path}: {name}");
            return self.schema(&self.schemas[name], path);
        }
        for choice in ["oneOf", "anyOf", "allOf"] {
            schema[choice].as_array().into_iter().flatten().for_each(|schema| self.schema(schema, path));
        }
        if is(schema, "number") || is(schema, "integer") || is_moment(schema) {
            self.found.insert(path.to_owned());
        }
        if is(schema, "array") {
            self.schema(&schema["items"], &format!("{path}[]"));
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.schema(property, &path);
        }
    }
}

fn is(schema: &Value, kind: &str) -> bool {
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    kinds.iter().any(|found| found == kind)
}

/// A text that is a moment says so.
fn is_moment(schema: &Value) -> bool {
    is(schema, "string") && schema["description"].as_str().is_some_and(|text| text.contains("RFC 3339"))
}

/// What a page has: families, and the samples of histograms.
fn exported() -> BTreeSet<String> {
    let page = Relay::new(1, 1, 0).page(Format::Text);
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

fn metrics(expression: &str) -> Vec<&str> {
    let is_name = |mark: char| mark.is_ascii_alphanumeric() || mark == '_';
    let words = expression.split(|mark| !is_name(mark));
    words.filter(|word| word.starts_with("borderline_")).collect()
}

#[test]
fn every_number_of_an_answer_has_a_row_and_every_row_a_number() {
    let table = table();
    for (view, answer) in [("status", "Status"), ("drops", "Drops"), ("load", "Load")] {
        let numbers = Walk::of(answer);
        assert!(numbers.len() >= 10, "{numbers:?}");
        let rows: BTreeSet<String> =
            table.keys().filter(|(of, _)| of == view).map(|(_, number)| number.clone()).collect();
        let lacking: Vec<_> = numbers.difference(&rows).collect();
        let stale: Vec<_> = rows.difference(&numbers).collect();
        assert!(
            lacking.is_empty(),
            "{view}: add to the table of docs/metrics.md, with a metric or a reason: {lacking:?}"
        );
        assert!(stale.is_empty(), "{view} has these no longer: {stale:?}");
    }
}

#[test]
fn every_row_has_a_metric_that_is_exported_or_a_reason() {
    let exported = exported();
    for ((view, number), (metric, note)) in table() {
        let names = metrics(&metric);
        if metric == "-" {
            assert!(note.len() > 10, "{view} {number}: why is there no metric?");
        } else {
            assert!(!names.is_empty(), "{view} {number}: {metric}");
        }
        for name in names {
            assert!(exported.contains(name), "{view} {number}: {name} is not exported");
        }
    }
}
