//! What is on a page: the checked-in list, the sums, the size.
#![allow(clippy::panic, clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::Relay;
use control_metrics::Format;
use dataplane::counters::{Counts, Event};
use dataplane::verdict::{DropReason, PuntReason};

/// Name and labels of every sample, with its value.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    };
    page.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

/// The list for people, made of a page on which everything is.
fn list(page: &str) -> String {
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once('{').unwrap_or((line.split_once(' ').unwrap().0, ""));
        let name =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let pairs = rest.split_once('}').map_or("", |(pairs, _)| pairs);
        let names = pairs.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0));
        labels.entry(name).or_default().extend(names);
    }
    let mut table = String::from("| Name | Type | Labels | What it is |\n| --- | --- | --- | --- |\n");
    let mut help = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, text)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.insert(name, text);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let labels: Vec<&str> = labels.get(name).into_iter().flatten().copied().collect();
            table += &format!(
                "| `{name}` | {kind} | {} | {} |\n",
                labels.join(", "),
                help[name].replace('|', "\\|")
            );
        }
    }
    table
}

#[test]
fn the_list_in_the_documentation_is_what_is_exported() {
    const BEGIN: &str = "<!-- metrics begin -->\n";
    const END: &str = "<!-- metrics end -->\n";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let expected = list(&Relay::new(1, 1, 0).page(Format::Text));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(found, expected, "names are a contract; UPDATE_DOCS=1 writes docs/metrics.md anew");
}

#[test]
fn every_counter_is_there_for_every_worker_and_the_sum_is_the_total() {
    let relay = Relay::new(2, 3, 4);
    let mut total = Counts::default();
    relay.counters.workers.iter().for_each(|counts| total.merge(counts));
    let page = relay.page(Format::Text);
    let found = samples(&page);
    let sum = |name: &str, label: &str| -> f64 {
        let of_family = |series: &&String| {
            series.starts_with(&format!("borderline_{name}{{")) && !series.contains("\"control\"")
        };
        let matching = found.keys().filter(of_family).filter(|series| series.contains(label));
        matching.map(|series| found[series]).sum()
    };
    let total = |value: u64| f64::from(u32::try_from(value).unwrap());
    for reason in DropReason::ALL {
        let label = format!("reason=\"{}\"", reason.name());
        assert_eq!(
            sum("dropped_packets_total", &label),
            total(total_of(&relay, |counts| counts.dropped(*reason)))
        );
    }
    for reason in PuntReason::ALL {
        let label = format!("reason=\"{}\"", reason.name());
        assert_eq!(
            sum("punted_packets_total", &label),
            total(total_of(&relay, |counts| counts.punted(*reason)))
        );
    }
    assert_eq!(
        found["borderline_dropped_packets_total{worker=\"control\",reason=\"neighbor_wait_expired\"}"],
        1.0
    );
    let all_events: f64 = Event::ALL
        .iter()
        .map(|event| event.name())
        .filter(|name| !name.ends_with("_cycles"))
        .map(|name| total(relay.counters.workers.iter().map(|counts| event(counts, name)).sum()))
        .sum();
    let of_others = [
        "dropped_packets",
        "punted_packets",
        "sampled_packets",
        "sampled_cycles",
        "worker_busy_seconds",
        "worker_idle_seconds",
        "worker_sleep_seconds",
    ];
    let of_events = |series: &&String| {
        let name = series.split(['{', ' ']).next().unwrap();
        name.ends_with("_total")
            && series.contains("worker=")
            && !of_others.iter().any(|other| name == format!("borderline_{other}_total"))
    };
    let exported: f64 = found.keys().filter(of_events).map(|series| found[series]).sum();
    assert_eq!(exported, all_events, "every event is on the page, once");
    let worker = relay.counters.workers[1].event(Event::BusyCycles) as f64 / 2.5e9;
    assert!((found["borderline_worker_busy_seconds_total{worker=\"1\"}"] - worker).abs() < 1e-12);
}

fn total_of(relay: &Relay, value: impl Fn(&Counts) -> u64) -> u64 {
    relay.counters.workers.iter().map(value).sum()
}

fn event(counts: &Counts, name: &str) -> u64 {
    counts.event(*Event::ALL.iter().find(|event| event.name() == name).unwrap())
}

#[test]
fn reasons_that_never_happened_are_there_once() {
    let mut relay = Relay::new(1, 3, 0);
    relay.counters.workers = vec![Counts::default(); 3];
    let page = relay.page(Format::Text);
    let of_reason = |name: &str| {
        let is_count = |line: &&str| line.starts_with("borderline_dropped_packets_total");
        page.lines().filter(is_count).filter(|line| line.contains(&format!("\"{name}\"}}"))).count()
    };
    assert_eq!(of_reason("no_route"), 1);
}

/// Eight ports, 16 workers, every counter with 14 digits, more tests, pools, next hops and parts of tables than have room.
/// Every reason of drops and punts happened at the first worker, and every third at all of them.
#[test]
fn the_page_of_a_large_relay_is_small_whatever_there_is_much_of() {
    let mut relay = Relay::new(8, 16, 40);
    relay.counters.workers[1..].iter_mut().for_each(|worker| *worker = common::some_reasons(40));
    let mut fastest = Duration::MAX;
    let mut page = String::new();
    for _ in 0..20 {
        let started = Instant::now();
        page = relay.page(Format::OpenMetrics);
        fastest = fastest.min(started.elapsed());
    }
    let count = |family: &str| page.lines().filter(|line| line.starts_with(&format!("{family}{{"))).count();
    for (family, most) in [
        ("borderline_mapping_bytes_total", 100),
        ("borderline_health_test", 64),
        ("borderline_announced", 32),
        ("borderline_tables_digest_part_info", 32),
        ("borderline_next_hop_lost_packets", 10),
        ("borderline_ring_used_bytes", 16 * 3),
    ] {
        assert_eq!(count(family), most, "{family}");
    }
    let series = samples(&page.replace("# EOF", "#")).len();
    println!("{} bytes, {series} series, {fastest:?}", page.len());
    assert!(page.len() < 200_000 && series < 5000, "{} bytes, {series} series", page.len());
    // What does not pass has room before what does.
    assert!(page.contains("borderline_health_test{test=\"pipeline\",subject=\"worker 0 (CPU 0)\"} 0\n"));
    assert!(page.contains("borderline_health_test{test=\"routing\",subject=\"\"} -1\n"));
}
