//! What the store costs: single commits, imports, starts, on the disk of the build directory.
//!
//! `cargo bench -p eam-store` prints a table, then one JSON object per number. `-- --rows N` takes another size than a
//! million, `-- --commits N` other than 2,000 single commits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark, not a service")]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use eam_store::{Author, Candidate, Eam, Edit, Idempotency, Options, Request, Row, Step, Store};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str, otherwise: u32| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).map_or(otherwise, |number| number.parse().expect("a number"))
    };
    let (rows, commits) = (option("--rows", 1_000_000), option("--commits", 2_000));
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = directory.path().join("mappings.db");
    let mut results = Vec::new();
    import(&path, rows, &mut results);
    start(&path, rows, &mut results);
    single(&path, rows, commits, &mut results);
    batches(&path, rows, &mut results);
    for (name, value, unit) in &results {
        println!("{name:32} {value:>12.3} {unit}");
    }
    for (name, value, unit) in results {
        println!("{{\"name\":\"{name}\",\"value\":{value:.3},\"unit\":\"{unit}\"}}");
    }
}

type Results = Vec<(String, f64, &'static str)>;

/// A host at random places of both address spaces, the same for the same number. Multiplied by an odd number, a number of
/// 32 bits has a place of its own.
fn host(number: u32) -> Row {
    let ipv4 = Ipv4Addr::from_bits(number.wrapping_mul(0x9e37_79b1));
    let bits =
        0x2001_0db8_u128 << 96 | u128::from(number.wrapping_mul(0x85eb_ca6b)) << 64 | u128::from(number);
    Eam::new(ipv4.into(), Ipv6Addr::from_bits(bits).into()).unwrap().into()
}

fn open(path: &Path) -> (Store, usize) {
    let opened = Store::open(path, Options::default()).unwrap();
    (opened.store, opened.eams.len())
}

fn commit(store: &mut Store, candidate: &Candidate, key: Option<u32>) {
    let request = Request {
        author: Author { uid: 0, pid: 1, comment: "bench".to_owned() },
        if_match: store.head().id,
        idempotency: key.map(|key| Idempotency::new(key.to_string(), &key.to_le_bytes())),
        confirm_within: None,
    };
    match store.commit(candidate, request).unwrap() {
        Step::Prepared(prepared) => drop(prepared.make_durable().unwrap().published()),
        Step::Done(receipt) => panic!("nothing to do: {receipt:?}"),
    }
}

fn seconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64()
}

/// Seconds this process's first thread has had a CPU: what is left of a time when others want it too.
fn busy() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default();
    Duration::from_nanos(nanos).as_secs_f64()
}

fn import(path: &Path, rows: u32, results: &mut Results) {
    let (mut store, _) = open(path);
    let edits = (0..rows).map(|number| Edit::Add(host(number))).collect();
    let (started, since) = (Instant::now(), busy());
    let mut candidate = Candidate::default();
    store.stage_all(&mut candidate, edits).unwrap();
    results.push((format!("stage_{rows}"), seconds(started), "s"));
    results.push((format!("stage_{rows}_busy"), busy() - since, "s"));
    let (started, since) = (Instant::now(), busy());
    commit(&mut store, &candidate, None);
    results.push((format!("commit_{rows}"), seconds(started), "s"));
    results.push((format!("commit_{rows}_busy"), busy() - since, "s"));
    let started = Instant::now();
    drop(store);
    results.push((format!("close_{rows}"), seconds(started), "s"));
    let size = std::fs::metadata(path).unwrap().len();
    results.push((
        format!("size_{rows}"),
        u32::try_from(size >> 10).map_or(f64::NAN, f64::from) / 1024.0,
        "MiB",
    ));
}

fn start(path: &Path, rows: u32, results: &mut Results) {
    let (started, since) = (Instant::now(), busy());
    let (store, loaded) = open(path);
    results.push((format!("open_verify_{rows}"), seconds(started), "s"));
    results.push((format!("open_verify_{rows}_busy"), busy() - since, "s"));
    assert_eq!(loaded, usize::try_from(rows).unwrap());
    let started = Instant::now();
    assert!(store.complaint().is_none());
    results.push((format!("quick_check_{rows}"), seconds(started), "s"));
    let started = Instant::now();
    assert_eq!(store.list("0.0.0.0/0".parse().unwrap(), None, 1000).unwrap().len(), 1000.min(loaded));
    results.push((format!("first_page_{rows}"), seconds(started) * 1e3, "ms"));
}

/// One row at a time, added and removed in turns, each commit synced; and what a sync alone takes on this disk.
fn single(path: &Path, rows: u32, commits: u32, results: &mut Results) {
    let (mut store, _) = open(path);
    let mut times = Vec::new();
    for number in 0..commits {
        let row = host(rows + number / 2);
        let edit = match number % 2 {
            0 => Edit::Add(row),
            _ => Edit::Remove { ipv4: row.eam().ipv4(), ipv6: None },
        };
        let started = Instant::now();
        let mut candidate = Candidate::default();
        store.stage(&mut candidate, edit).unwrap();
        commit(&mut store, &candidate, Some(number));
        times.push(started.elapsed());
    }
    quantiles("single_commit", times, results);
    let file = std::fs::File::create(path.with_extension("sync")).unwrap();
    let syncs = (0..commits).map(|number| {
        let started = Instant::now();
        std::os::unix::fs::FileExt::write_all_at(&file, &[1; 24_576], u64::from(number) * 24_576).unwrap();
        file.sync_data().unwrap();
        started.elapsed()
    });
    quantiles("write_and_sync_24k", syncs.collect(), results);
}

fn quantiles(name: &str, mut times: Vec<Duration>, results: &mut Results) {
    times.sort_unstable();
    for (quantile, at) in
        [("p50", times.len() / 2), ("p99", times.len() * 99 / 100), ("max", times.len() - 1)]
    {
        results.push((format!("{name}_{quantile}"), times[at].as_secs_f64() * 1e3, "ms"));
    }
}

/// Ten thousand adds, then as many removes, in batches.
fn batches(path: &Path, rows: u32, results: &mut Results) {
    let (mut store, _) = open(path);
    for batch in [100, 10_000] {
        let started = Instant::now();
        for is_add in [true, false] {
            for first in (0..10_000).step_by(batch) {
                let edits = (first..first + u32::try_from(batch).unwrap()).map(|number| {
                    let row = host(rows + number);
                    if is_add { Edit::Add(row) } else { Edit::Remove { ipv4: row.eam().ipv4(), ipv6: None } }
                });
                let mut candidate = Candidate::default();
                store.stage_all(&mut candidate, edits.collect()).unwrap();
                commit(&mut store, &candidate, None);
            }
        }
        results.push((format!("add_remove_10000_by_{batch}"), seconds(started), "s"));
    }
}
