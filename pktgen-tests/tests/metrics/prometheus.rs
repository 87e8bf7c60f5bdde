//! Prometheus of Debian beside a relay: the board's queries and the rules that are shipped, evaluated under load.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use pktgen_tests::lab::{Daemon, LabError, Need, PATIENCE, Shape, TestResult, skip_unless, wait_until};
use serde_json::Value;

use super::board::{self, Panel};
use super::{Metered, samples};

/// Where it listens, in the relay's namespace.
pub(crate) const PROMETHEUS: &str = "127.0.0.1:9090";
/// Panels that have nothing to show in this laboratory: everybody answers, nothing was reloaded, no relay was before.
pub(crate) const MAY_BE_EMPTY: [&str; 4] =
    ["Next hops that do not answer", "To the kernel", "Last reload took over", "How the relay before ended"];

/// Everything that is shipped for Prometheus and Grafana.
pub(crate) fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(name)
}

/// The names of metrics in an expression.
fn names(expression: &str) -> BTreeSet<String> {
    let is_name = |mark: char| mark.is_ascii_alphanumeric() || mark == '_' || mark == ':';
    let words = expression.split(|mark| !is_name(mark));
    words
        .filter(|word| word.starts_with("borderline_") || word.starts_with("borderline:"))
        .map(ToOwned::to_owned)
        .collect()
}

/// The first name in an expression that nobody exports or records.
fn missing(expression: &str, known: &BTreeSet<String>) -> Option<String> {
    names(expression).into_iter().find(|name| !known.contains(name))
}

/// Prometheus in the relay's namespace, with the board as a page of its own.
fn prometheus(lab: &Metered, panels: &[Panel]) -> Result<Daemon, LabError> {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let path = |name: &str| directory.path().join(name);
    for name in ["borderline.rules.yml", "prometheus.yml"] {
        let text = fs::read_to_string(shipped("prometheus").join(name)).expect("it is shipped");
        fs::write(path(name), text.replace("_interval: 10s", "_interval: 1s")).expect("there is room for it");
    }
    fs::write(path(board::PAGE), board::page(panels)).expect("there is room for it");
    let directories = format!("{}", directory.path().display());
    let command = lab
        .lab
        .relay_ns
        .cmd("prometheus")
        .arg(format!("--config.file={}", path("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", path("data").display()))
        .arg(format!("--web.console.templates={directories}"))
        .arg(format!("--web.console.libraries={directories}"))
        .arg(format!("--web.listen-address={PROMETHEUS}"));
    Daemon::start("prometheus", &command, directory)
}

fn ask(lab: &Metered, path: &str, query: Option<&str>) -> Result<Value, LabError> {
    let mut curl = lab.lab.relay_ns.cmd("curl").args("-sS -m 10 -G");
    if let Some(query) = query {
        curl = curl.arg("--data-urlencode").arg(format!("query={query}"));
    }
    let output = curl.arg(format!("http://{PROMETHEUS}/api/v1/{path}")).run()?;
    Ok(serde_json::from_str(&output.stdout).unwrap_or_default())
}

/// What Prometheus shows for an expression: labels and value of each series.
fn values(answer: &Value) -> Vec<String> {
    let series = answer["data"]["result"].as_array().into_iter().flatten();
    series
        .map(|series| format!("{} {}", series["metric"], series["value"][1].as_str().unwrap_or("-")))
        .collect()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn prometheus_evaluates_and_draws_every_panel_and_every_rule_of_a_relay_under_load() -> TestResult {
    let needs = [
        Need::Root,
        Need::Relay,
        Need::Program("curl"),
        Need::Program("prometheus"),
        Need::Program("chromium"),
    ];
    if skip_unless(&needs) {
        return Ok(());
    }
    let mut lab = Metered::up(Shape::default())?;
    let load = lab.lab.client.cmd("ping").args("-n -q -i0.002 -W1 -c1000000 192.0.2.1").timeout(600);
    let mut load = Daemon::start("ping", &load, tempfile::tempdir().expect("there is room"))?;
    let refused = lab.lab.client.cmd("ping").args("-n -q -i0.01 -W1 -c1000000 192.0.2.99").timeout(600);
    let mut refused = Daemon::start("ping", &refused, tempfile::tempdir().expect("there is room"))?;
    let panels = board::panels();
    let mut prometheus = prometheus(&lab, &panels)?;

    let page = lab.scrape("text/plain")?;
    let series = samples(&page);
    // Families that have no series at the moment are named as well.
    let families = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let mut known: BTreeSet<String> = series
        .keys()
        .filter_map(|series| series.split('{').next())
        .chain(families)
        .map(ToOwned::to_owned)
        .collect();
    let rules = fs::read_to_string(shipped("prometheus/borderline.rules.yml")).expect("the rules are there");
    known.extend(
        rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).map(ToOwned::to_owned),
    );
    for panel in &panels {
        for query in panel.queries() {
            assert_eq!(missing(&query, &known), None, "panel {} asks for what does not exist", panel.title);
        }
    }
    assert_eq!(missing(&rules, &known), None, "a rule asks for what does not exist");
    let wrong = "rate(borderline_translated_total[1m])";
    assert_eq!(
        missing(wrong, &known).as_deref(),
        Some("borderline_translated_total"),
        "such a panel is found"
    );

    // Every panel has an answer, and those about traffic have numbers.
    let mut answers = BTreeMap::new();
    let all_there = wait_until(Duration::from_secs(90), || {
        answers.clear();
        for panel in &panels {
            for query in panel.queries() {
                let answer = ask(&lab, "query", Some(&query)).unwrap_or_default();
                answers.insert((panel.title.as_str(), query), answer);
            }
        }
        answers.iter().all(|((title, _), answer)| {
            answer["status"] == "success" && (!values(answer).is_empty() || MAY_BE_EMPTY.contains(title))
        })
    });
    for ((title, query), answer) in &answers {
        println!("{title}: {query}");
        values(answer).iter().for_each(|value| println!("    {value}"));
    }
    assert!(all_there, "{answers:#?}\n{}", prometheus.log());
    let drops =
        answers.iter().find(|((title, _), _)| *title == "Drops by reason").map(|(_, answer)| values(answer));
    assert!(
        drops.is_some_and(|drops| drops.iter().any(|value| value.contains("unassigned"))),
        "{answers:#?}"
    );

    let mut evaluated = Vec::new();
    let all_good = wait_until(Duration::from_secs(60), || {
        let answer = ask(&lab, "rules", None).unwrap_or_default();
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        evaluated =
            groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect();
        !evaluated.is_empty() && evaluated.iter().all(|rule| rule["health"] == "ok")
    });
    let faulty: Vec<_> = evaluated.iter().filter(|rule| rule["health"] != "ok").collect();
    assert!(all_good, "{faulty:#?}");
    let expected = rules.lines().filter(|line| line.trim().starts_with("- ")).count() - 1;
    assert_eq!(evaluated.len(), expected, "every rule of the file");
    let mut recorded = Value::Null;
    let is_recorded = || {
        recorded = ask(&lab, "query", Some("borderline:received_packets:rate1m > 10")).unwrap_or_default();
        !values(&recorded).is_empty()
    };
    assert!(wait_until(PATIENCE, is_recorded), "{recorded}");
    board::draw(&lab, &panels)?;
    for daemon in [&mut load, &mut refused, &mut prometheus] {
        daemon.stop(Signal::SIGTERM, Duration::from_secs(20));
    }
    lab.lab.assert_healthy()
}
