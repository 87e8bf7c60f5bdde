//! A relay that runs: its threads, its memory, its counters and its end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::common::BORDERLINE;
use crate::lab::{Relay, files, skip_without_root};

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
    let mut child = Command::new("unshare")
        .args(["--net", "--", BORDERLINE, "run", "--config"])
        .arg(relay.config())
        .current_dir(relay.directory.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let translating = lines.any(|line| line.contains("translating"));
    let threads = threads(child.id());
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    let stopped = lines.any(|line| line.starts_with("counters "));
    drop(lines);
    assert_eq!((translating, stopped, child.wait().unwrap().code()), (true, true, Some(0)));
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
    let mut child = Command::new("unshare")
        .args(["--net", "--", BORDERLINE, "run", "--config"])
        .arg(&path)
        .current_dir(relay.directory.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("translating")), "it starts");
    let send = |signal: &str| {
        Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
    };
    let start = resident_kb(child.id());
    let is_small = |_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        resident_kb(child.id()) < start + start / 5
    };
    let mut sizes = Vec::new();
    for _ in 0..6 {
        send("HUP");
        assert!(lines.any(|line| line.contains("reloaded eams=200000")), "it reloads");
        // The old tables are freed once the worker has let go of them.
        if !(0..50).any(is_small) {
            sizes.push(resident_kb(child.id()));
        }
    }
    send("TERM");
    assert!(lines.any(|line| line.starts_with("counters ")));
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(sizes.is_empty(), "kilobytes after reloads: {sizes:?}; at the start: {start}");
}

#[test]
fn a_good_relay_translates_prints_its_counters_and_stops_when_asked() {
    if skip_without_root() {
        return;
    }
    for signal in ["TERM", "INT"] {
        let relay = Relay::good();
        let mut child = Command::new("unshare")
            .args(["--net", "--", BORDERLINE, "run", "--config"])
            .arg(relay.config())
            .current_dir(relay.directory.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let send = |signal: &str| {
            let status = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
            assert!(status.unwrap().success());
        };
        assert!(lines.any(|line| line.contains("translating")), "it starts");
        send("USR1");
        let counters = lines.find_map(|line| line.strip_prefix("counters ").map(str::to_owned)).unwrap();
        let counters: serde_json::Value = serde_json::from_str(&counters).unwrap();
        for name in ["received", "originated", "sent", "punted", "dropped", "events", "workers", "kernel"] {
            assert!(counters.get(name).is_some(), "{name} is missing in {counters}");
        }
        send(signal);
        assert!(lines.any(|line| line.starts_with("counters ")), "the counters at the end");
        drop(lines);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        assert_eq!(files(relay.directory.path()), ["relay.toml"]);
    }
}
