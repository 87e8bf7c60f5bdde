//! How long a million EAMs take from their file to the workers, and the memory they take, stage by stage.
//!
//! `cargo bench -p control --bench load` prints a table, then one JSON object per number. `-- --runs N` repeats each case
//! (5), `--only TEXT` takes the cases whose name has it. Every run is a process of its own, so that its peak memory is
//! its own too; it does what a relay does that is told to reload.
//!
//! The rows `changes_1m_*` are changes per second on a table of a million, in steps of so many at once, from the difference
//! on: applied to the tables in use and published, while a worker pins and somebody frees what is replaced.
#![allow(clippy::unwrap_used, reason = "a benchmark, not a service")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use control::config::Config;
use control::eam_set::{EamChange, EamChanges};
use control::reload::{Prepared, Running};
use dataplane::table::eam::Eam;
use dataplane::table::fib::Fib;
use dataplane::table::publish::Publisher;
use dataplane::table::snapshot::Snapshot;
use serde_json::{Value, json};

const ROWS: u32 = 1_000_000;
const CONFIG: &str = "eam_files = [\"eams\"]\n[dpdk]\nworkers = [0]\nmemory = \"no-huge\"\n\
    [[port]]\nname = \"v4\"\ndevice = \"net_null0\"\n[translation]\nprefixes = [\"2001:db8:46::/96\"]\n";

/// Rows that change at once; the last are as many as a reload applies.
const STEPS: [u32; 5] = [1, 100, 10_000, 100_000, 250_000];

/// The stages of one run, in order.
const STAGES: [&str; 5] = ["read", "check", "compare", "build", "publish"];

struct Case {
    /// What its numbers begin with.
    name: &'static str,
    meaning: &'static str,
    write: fn() -> String,
    /// Loaded first, so that the measured load replaces a table of the same size.
    before: Option<fn() -> String>,
}

const CASES: [Case; 4] = [
    Case { name: "load_1m", meaning: "CSV, /32 to /128, random order", write: csv_hosts, before: None },
    Case {
        name: "load_1m_mix",
        meaning: "CSV, 5 % prefixes, nested, comments",
        write: csv_mix,
        before: None,
    },
    Case { name: "load_1m_jool", meaning: "Jool JSON, as the first", write: jool_hosts, before: None },
    Case {
        name: "reload_1m",
        meaning: "the first again, 1 % of its rows changed",
        write: csv_hosts,
        before: Some(csv_other_hosts),
    },
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    if let (Some(name), Some(directory)) = (option("--case"), option("--in")) {
        let case = CASES.iter().find(|case| case.name == name).expect("a case of this benchmark");
        println!("{}", run(case, Path::new(&directory)));
        return;
    }
    let runs = option("--runs").map_or(5, |runs| runs.parse().expect("a number after --runs"));
    let only = option("--only").unwrap_or_default();
    println!("{:13} {:40} {:>8} ms: {}  peak MB  kept MB", "case", "", "total", STAGES.join(" "));
    let cases = CASES.iter().filter(|case| case.name.contains(&only));
    let mut lines: Vec<Value> = cases.flat_map(|case| measure(case, runs)).collect();
    if "changes_1m".contains(&only) {
        lines.extend(measure_changes(runs));
    }
    for line in lines {
        println!("{line}");
    }
}

// One run, in a process of its own.

/// Reloads as a relay does, and returns seconds by stage and megabytes.
fn run(case: &Case, directory: &Path) -> Value {
    let path = directory.join("relay.toml");
    fs::copy(directory.join("before"), directory.join("eams")).unwrap();
    let (mut config, _) = Config::load(&path).unwrap();
    let mut running = Running::start(&path, &mut config, None, None).unwrap();
    let mut publisher = publisher(&running);
    fs::copy(directory.join("after"), directory.join("eams")).unwrap();

    let started = Instant::now();
    let (prepared, replaced) = running.prepare(control::reload::load(&path)).unwrap();
    drop(replaced);
    let Prepared { translation, times, eams, changes, .. } = prepared;
    let table = translation.eams.memory();
    let publishing = Instant::now();
    publisher.publish(|snapshot| snapshot.translation = translation);
    let (publish, total) = (publishing.elapsed(), started.elapsed());
    assert!(eams > 900_000, "{eams}");
    if case.before.is_some() {
        assert_eq!(changes.changed, ROWS as usize / 100);
    }
    json!({
        "read": times.load.read.as_secs_f64(),
        "check": times.load.check.as_secs_f64(),
        "compare": times.compare.as_secs_f64(),
        "build": times.build.as_secs_f64(),
        "publish": publish.as_secs_f64(),
        "total": total.as_secs_f64(),
        "kept_mb": megabytes(table + running.eams().memory()),
        "table_mb": megabytes(table),
        "peak_mb": peak_mb(),
    })
}

fn publisher(running: &Running) -> Publisher {
    let translation = Arc::clone(running.translation());
    Publisher::new(Snapshot { generation: 1, translation, fib: Arc::new(Fib::default()) })
}

#[allow(clippy::cast_precision_loss, reason = "bytes of a process")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn peak_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kb: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kb / 1024.0
}

// All runs of a case.

fn measure(case: &Case, runs: usize) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("relay.toml"), CONFIG).unwrap();
    fs::write(directory.path().join("before"), case.before.map_or_else(String::new, |write| write()))
        .unwrap();
    fs::write(directory.path().join("after"), (case.write)()).unwrap();
    let results: Vec<Value> = (0..runs).map(|_| child(case, directory.path())).collect();
    let of = |key: &str| median(results.iter().map(|result| result[key].as_f64().unwrap()).collect());
    let mut stages = String::new();
    for stage in STAGES {
        write!(stages, " {:.0}", of(stage).0 * 1000.0).unwrap();
    }
    let (total, peak, kept) = (of("total").0 * 1000.0, of("peak_mb").0, of("kept_mb").0);
    println!("{:13} {:40} {total:8.0} ms:{stages}  {peak:.0}  {kept:.0}", case.name, case.meaning);
    let line = |name: String, key: &str, unit: &str| {
        let (value, min, max) = of(key);
        json!({ "name": name, "value": value, "unit": unit, "min": min, "max": max, "runs": runs })
    };
    let name = case.name;
    let mut lines = vec![line(format!("{name}_seconds"), "total", "s")];
    lines.extend(STAGES.iter().map(|stage| line(format!("{name}_{stage}_seconds"), stage, "s")));
    lines.push(line(format!("{name}_peak_rss_mb"), "peak_mb", "MB"));
    if name == "load_1m" {
        lines.push(line("memory_1m_mb".to_owned(), "kept_mb", "MB"));
        lines.push(line("memory_1m_table_mb".to_owned(), "table_mb", "MB"));
    }
    lines
}

fn child(case: &Case, directory: &Path) -> Value {
    // A process that has just written a hundred megabytes disturbs the next one.
    thread::sleep(Duration::from_millis(100));
    let mut command = Command::new(std::env::current_exe().unwrap());
    // As the relay itself has it, see dataplane/src/dpdk/heap.rs.
    command.env("MALLOC_MMAP_THRESHOLD_", "1048576");
    let output = command.args(["--case", case.name, "--in"]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Median, smallest and largest.
fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

// Changes on a running table.

fn measure_changes(runs: usize) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.toml");
    fs::write(&path, CONFIG).unwrap();
    fs::write(directory.path().join("eams"), csv_hosts()).unwrap();
    let (mut config, _) = Config::load(&path).unwrap();
    let mut publisher = publisher(&Running::start(&path, &mut config, None, None).unwrap());
    let mut reader = publisher.reader();
    let stop = AtomicBool::new(false);
    let (replaced, to_free) = mpsc::channel::<Vec<Arc<Snapshot>>>();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::hint::black_box(reader.pin().translation.eams.lookup_ipv4(ipv4(1)));
            }
        });
        scope.spawn(|| to_free.into_iter().for_each(drop));
        let lines = STEPS.iter().flat_map(|rows| step(*rows, runs, &mut publisher, &replaced)).collect();
        stop.store(true, Ordering::Relaxed);
        drop(replaced);
        lines
    })
}

/// Changes so many rows there and back again, `runs` times.
fn step(
    rows: u32,
    runs: usize,
    publisher: &mut Publisher,
    replaced: &mpsc::Sender<Vec<Arc<Snapshot>>>,
) -> Vec<Value> {
    let (there, back) = moves(rows);
    let (mut rates, mut publishing) = (Vec::new(), Vec::new());
    for changes in [&there, &back].into_iter().cycle().take(2 * runs) {
        let started = Instant::now();
        let translation = Arc::new(publisher.current().translation.apply(&changes.steps()).unwrap());
        let applied = Instant::now();
        publisher.publish(|snapshot| snapshot.translation = translation);
        publishing.push(applied.elapsed().as_secs_f64());
        rates.push(f64::from(rows) / started.elapsed().as_secs_f64());
        replaced.send(publisher.reclaim()).unwrap();
    }
    let (rate, slowest, fastest) = median(rates);
    let (publish, quickest, longest) = median(publishing);
    println!(
        "changes_1m    {rows:>6} at once {:24} {:8.1} ms, {rate:.0}/s, publish {:.0} us, {:.0} at most",
        "",
        f64::from(rows) / rate * 1000.0,
        publish * 1e6,
        longest * 1e6
    );
    let name = format!("changes_1m_by_{rows}");
    vec![
        json!({ "name": format!("{name}_per_second"), "value": rate, "unit": "1/s", "min": slowest, "max": fastest,
            "runs": 2 * runs }),
        json!({ "name": format!("{name}_publish_seconds"), "value": publish, "unit": "s", "min": quickest,
            "max": longest, "runs": 2 * runs }),
    ]
}

/// So many rows of [`csv_hosts`], from everywhere in it, mapped elsewhere; and the way back.
fn moves(rows: u32) -> (EamChanges, EamChanges) {
    let eam = |number, to| Eam { ipv4: ipv4(number).into(), ipv6: ipv6(to).into() };
    let changed: Vec<EamChange> = (0..rows)
        .map(|row| row * (ROWS / rows))
        .map(|number| EamChange { from: eam(number, number), to: eam(number, number + ROWS) })
        .collect();
    let back = changed.iter().map(|EamChange { from, to }| EamChange { from: *to, to: *from }).collect();
    let only = |changed| EamChanges { changed, ..EamChanges::default() };
    (only(changed), only(back))
}

// The files.

/// Distinct addresses in no order: an odd factor permutes the 2^29 addresses from 128.0.0.0 to 159.255.255.255, all of them
/// unicast.
fn ipv4(number: u32) -> std::net::Ipv4Addr {
    (0x8000_0000 | number.wrapping_mul(0x2c9e_3779) & 0x1fff_ffff).into()
}

fn ipv6(number: u32) -> std::net::Ipv6Addr {
    let low = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) & u128::from(u64::MAX);
    (0x2001_0db8_0001_0000_u128 << 64 | low).into()
}

fn csv_hosts() -> String {
    let mut csv = String::new();
    for number in 0..ROWS {
        writeln!(csv, "{},{}", ipv4(number), ipv6(number)).unwrap();
    }
    csv
}

/// The same with every hundredth row mapped elsewhere.
fn csv_other_hosts() -> String {
    let mut csv = String::new();
    for number in 0..ROWS {
        let to = if number % 100 == 0 { number + ROWS } else { number };
        writeln!(csv, "{},{}", ipv4(number), ipv6(to)).unwrap();
    }
    csv
}

fn jool_hosts() -> String {
    let mut text = String::from("{\n  \"framework\": \"netfilter\",\n  \"eamt\": [\n");
    for number in 0..ROWS {
        let comma = if number == 0 { "" } else { ",\n" };
        let (ipv4, ipv6) = (ipv4(number), ipv6(number));
        write!(text, "{comma}    {{ \"ipv6 prefix\": \"{ipv6}/128\", \"ipv4 prefix\": \"{ipv4}/32\" }}")
            .unwrap();
    }
    text.push_str("\n  ]\n}\n");
    text
}

/// A twentieth are /24 prefixes of 20.0.0.0/8 to 23.0.0.0/8, the others hosts, half of them inside these.
fn csv_mix() -> String {
    let mut csv = String::from("ipv4,ipv6,comment\n");
    for number in 0..ROWS {
        if number % 20 == 0 {
            let net = number / 20;
            let [_, a, b, c] = net.to_be_bytes();
            writeln!(csv, "{}.{b}.{c}.0/24,2001:db8:2:{net:x}::/120,tenant {net}", 20 + a).unwrap();
        } else if number % 2 == 0 {
            let host = number.wrapping_mul(0x009e_3779) % (ROWS / 20 * 256);
            let address = std::net::Ipv4Addr::from((20_u32 << 24) + host);
            writeln!(csv, "{address},{},\"service, {number}\"", ipv6(number)).unwrap();
        } else {
            writeln!(csv, "{}/32,{}/128,service {number}", ipv4(number), ipv6(number)).unwrap();
        }
    }
    csv
}
