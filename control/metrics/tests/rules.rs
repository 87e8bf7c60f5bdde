//! The rules and the board that are shipped: Prometheus accepts the rules, they do what their unit tests say, and neither asks for
//! a metric that is not there.
#![allow(clippy::panic, clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use common::Relay;
use control_metrics::Format;

fn shipped(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(shipped(name)).unwrap()
}

fn promtool(arguments: &[&str], file: &str) -> String {
    let run = Command::new("promtool").args(arguments).arg(shipped(file)).output();
    let run = run.unwrap_or_else(|error| panic!("promtool: {error}; scripts/test installs what tests need"));
    let said = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    assert!(run.status.success(), "{said}");
    said
}

#[test]
fn prometheus_accepts_the_rules_and_they_do_what_they_should() {
    assert!(promtool(&["check", "rules"], "prometheus/borderline.rules.yml").contains("SUCCESS"));
    assert!(promtool(&["test", "rules"], "prometheus/borderline.tests.yml").contains("SUCCESS"));
}

/// The names in an expression that begin with one of ours.
fn names(expressions: &str) -> BTreeSet<&str> {
    let is_name = |mark: char| mark.is_ascii_alphanumeric() || mark == '_' || mark == ':';
    let words = expressions.split(|mark| !is_name(mark));
    words.filter(|word| word.starts_with("borderline_") || word.starts_with("borderline:")).collect()
}

/// What a relay exports, and what the rules record.
fn known() -> BTreeSet<String> {
    let page = Relay::new(1, 1, 0).page(Format::Text);
    let families = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut known = BTreeSet::new();
    for (name, kind) in families.filter_map(|family| family.split_once(' ')) {
        known.insert(name.to_owned());
        if kind == "histogram" {
            known.extend(["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")));
        }
    }
    let rules = text("prometheus/borderline.rules.yml");
    known.extend(rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).map(str::to_owned));
    known
}

#[test]
fn no_rule_and_no_panel_asks_for_what_is_not_there() {
    let known = known();
    for file in
        ["prometheus/borderline.rules.yml", "prometheus/borderline.tests.yml", "grafana/borderline.json"]
    {
        let text = text(file);
        let unknown: Vec<_> = names(&text).into_iter().filter(|name| !known.contains(*name)).collect();
        assert!(names(&text).len() > 5 && unknown.is_empty(), "{file} asks for {unknown:?}");
    }
    assert!(!known.contains("borderline_translated_total"), "such a name is found");
}

/// An operator sees on the board whatever may raise an alert, or a question at night.
#[test]
fn the_board_shows_health_digests_queues_ages_and_failing_next_hops() {
    let board = text("grafana/borderline.json");
    for name in [
        "borderline_health_test",
        "borderline_tables_digest_info",
        "borderline_ring_used_bytes",
        "borderline_queue_wait_seconds_bucket",
        "borderline_port_idle_seconds",
        "borderline_next_hop_lost_packets",
        "borderline_last_reload_applied",
        "borderline_last_exit_info",
    ] {
        assert!(names(&board).contains(name), "{name}");
    }
}
