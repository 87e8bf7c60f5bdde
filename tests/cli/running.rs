//! A relay that runs: its threads, its memory, its counters and its end.

use std::fs;
use std::path::PathBuf;

use crate::lab::{ALONE, COUNTERS, Relay, Running, files, skip_without_root};

/// The CPUs of every thread of a process, by the name of the thread.
fn threads(pid: u32) -> Vec<(String, String)> {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let thread = |task: PathBuf| {
        let status = read(task.join("status"));
        let cpus = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .unwrap()
            .trim()
            .to_owned();
        (read(task.join("comm")).trim().to_owned(), cpus)
    };
    tasks.map(|task| thread(task.unwrap().path())).collect()
}

#[test]
fn a_worker_has_its_cpu_to_itself() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    if skip_without_root() || cpus < 2 {
        return;
    }
    let relay = Relay::good();
    let running = relay.run();
    let threads = threads(running.pid());
    running.stop("TERM");
    let worker = format!("worker-{}", relay.workers);
    assert!(threads.len() > 1);
    for (name, list) in threads {
        let is_worker = name == worker;
        let shares = list.split(',').any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.parse::<u32>().unwrap();
            (number(first)..=number(last)).contains(&number(&relay.workers))
        });
        assert_eq!(
            shares, is_worker,
            "thread {name} may run on CPUs {list}, the worker on {}",
            relay.workers
        );
    }
}

/// Resident memory of a process in kilobytes.
fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn reloads_do_not_make_it_grow() {
    if skip_without_root() {
        return;
    }
    let relay = Relay::good();
    let eams: String = (0..200_000_u32)
        .map(|number| {
            let [_, a, b, c] = number.wrapping_mul(0x009e_3779).to_be_bytes();
            format!("10.{a}.{b}.{c},2001:db8:1::{a:x}:{b:02x}{c:02x}\n")
        })
        .collect();
    let path = relay.config();
    fs::write(relay.directory.path().join("eams.csv"), eams).unwrap();
    let toml = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("eam_files = [\"eams.csv\"]\n{toml}")).unwrap();
    let mut running = Running::begin(&path, &ALONE, &[]).translating();
    let pid = running.pid();
    let start = resident_kb(pid);
    let is_small = |_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        resident_kb(pid) < start + start / 5
    };
    let mut sizes = Vec::new();
    for _ in 0..6 {
        running.send("HUP");
        running.says("reloaded eams=200000");
        // The old tables are freed once the worker has let go of them.
        if !(0..50).any(is_small) {
            sizes.push(resident_kb(pid));
        }
    }
    running.stop("TERM");
    assert!(sizes.is_empty(), "kilobytes after reloads: {sizes:?}; at the start: {start}");
}

#[test]
fn a_good_relay_translates_prints_its_counters_and_stops_when_asked() {
    if skip_without_root() {
        return;
    }
    for signal in ["TERM", "INT"] {
        let relay = Relay::good();
        let mut running = relay.run();
        running.send("USR1");
        let said = running.says(COUNTERS);
        let counters = said.strip_prefix("counters ").unwrap();
        let counters: serde_json::Value = serde_json::from_str(counters).unwrap();
        for name in ["received", "originated", "sent", "punted", "dropped", "events", "workers", "kernel"] {
            assert!(counters.get(name).is_some(), "{name} is missing in {counters}");
        }
        running.stop(signal);
        assert_eq!(files(relay.directory.path()), ["relay.toml"]);
    }
}
