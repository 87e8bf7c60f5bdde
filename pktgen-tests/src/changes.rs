//! What changes of a million mappings cost an operator: the import, the first page of a list, and durable commits.
//!
//! A relay with a store runs in namespaces. One file of a million mappings is imported with `borderctl` until a packet
//! passes by the last of them; then 10,000 mappings are added and removed in batches, each a request of its own over
//! the control socket, answered when every worker has it and it is on the disk; first on an idle relay, then beside
//! packets that go round as fast as they come back, each looked at. `scripts/changes` writes the table to
//! `docs/performance.md`.

use std::fmt::{Display, Write as _};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;

use self::circuit::{Circuit, Passed};
use crate::lab::{Lab, LabError, Need, Shape, borderctl, skip_unless};

pub mod circuit;
pub mod moving;

const ROWS: u32 = 1_000_000;
/// Changes in one commit.
const BATCHES: [u32; 3] = [1, 100, 10_000];
const OPEN: &str = "<!-- changes:table -->";
const CLOSE: &str = "<!-- /changes:table -->";
/// How long one answer may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// The command line of `scripts/changes`.
#[derive(Debug, Parser)]
#[command(about = "Imports a million mappings into a relay and times changes of them")]
pub struct Args {
    /// Mappings that are added and removed in each size of batch
    #[arg(long, default_value_t = 10_000)]
    changes: u32,
    /// Where the store is: a directory on the disk that is to be measured
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/tmp")]
    store: PathBuf,
    /// Write the table to docs/performance.md of this tree
    #[arg(long, value_name = "TREE")]
    write_docs: Option<PathBuf>,
}

/// Measures and prints the table; 1 when it could not be done.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return ExitCode::FAILURE;
    }
    let written = measure(args).and_then(|table| {
        println!("{table}");
        args.write_docs.as_deref().map_or(Ok(()), |tree| write(tree, &table))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<String, LabError> {
    let kept = tempfile::tempdir_in(&args.store).map_err(LabError::io(args.store.display().to_string()))?;
    let path = |name: &str| kept.path().join(name);
    let (socket, store, file) = (path("control.sock"), path("mappings.db"), path("million.csv"));
    let control =
        format!("\n[control]\nsocket = \"{}\"\nstore = \"{}\"\n", socket.display(), store.display());
    let mut lab = Lab::up(&Shape { translation: control, ..Shape::default() })?;
    lab.server.ip("addr add 2001:db8:12:34::2/64 dev s6 nodad")?;
    fs::write(&file, million()).map_err(LabError::io(file.display().to_string()))?;

    let mut table = "| what | measured | limit |\n| --- | ---: | ---: |\n".to_owned();
    let started = Instant::now();
    run(ctl(&socket, &["eam", "import"]).arg(&file))?;
    let answered = started.elapsed();
    let passed = lab.pings(&lab.client, &ipv4(ROWS - 1));
    let traffic = started.elapsed();
    if !passed {
        return Err(lab.relay().error("no packet passes by an imported mapping"));
    }
    row(&mut table, "a million mappings from a file, until the command has ended", seconds(answered), "");
    row(&mut table, "the same, until a ping by the last of them has its answer", seconds(traffic), "5 s");
    row(&mut table, "first line of `eam list`", seconds(first_line(&socket)?), "1 s");
    row(&mut table, "resident memory of the relay", resident(lab.relay().pid()), "");
    for batch in BATCHES.into_iter().filter(|batch| *batch <= args.changes) {
        let (rate, times) = timed(&socket, batch, args.changes, || Ok(()))?;
        commits_row(&mut table, times, batch, "");
        row(&mut table, "changes per second", format!("{rate:.0}"), "");
    }
    beside_traffic(&mut table, &lab, &socket, args.changes)?;
    lab.assert_healthy()?;
    Ok(table)
}

/// The same beside packets; every tenth commit the services they go to move on.
fn beside_traffic(table: &mut String, lab: &Lab, socket: &Path, changes: u32) -> Result<(), LabError> {
    moving::lead_to_hosts(lab)?;
    change(socket, "add", moving::mappings(0))?;
    let circuit = Circuit::start(lab)?;
    let rate = |circuit: &Circuit, since: Instant, before: u64| {
        (circuit.returned() - before) as f64 / since.elapsed().as_secs_f64()
    };
    let (started, before) = (Instant::now(), circuit.returned());
    std::thread::sleep(Duration::from_secs(5));
    let alone = rate(&circuit, started, before);
    let (started, before) = (Instant::now(), circuit.returned());
    let (mut moves, mut number) = (0, 0_u32);
    for batch in BATCHES.into_iter().filter(|batch| *batch <= changes) {
        let (_, times) = timed(socket, batch, changes, || {
            number += 1;
            if !number.is_multiple_of(10) {
                return Ok(());
            }
            moves += 1;
            change(socket, "set", moving::mappings(moves)).map(drop)
        })?;
        commits_row(table, times, batch, " beside packets");
    }
    let beside = rate(&circuit, started, before);
    let failed = |text| LabError::Unreadable { what: "a packet beside the commits".into(), text };
    let Passed { sent, lost, links } = circuit.end().map_err(failed)?;
    if links.iter().any(|link| link.newest != u64::from(moves)) {
        return Err(failed(format!("after {moves} moves of the mappings: {links:?}")));
    }
    let what = "those packets per second, as many as come back: without commits / with them";
    row(table, what, format!("{alone:.0} / {beside:.0}"), "");
    row(table, "of them lost", format!("{lost} of {sent}"), "0");
    let what = format!("of them by two tables or an older one, in {moves} moves of all their mappings");
    row(table, &what, "0".into(), "0");
    Ok(())
}

/// Adds and removes in batches, `between` in between: changes per second, and the time of each commit.
fn timed(
    socket: &Path,
    batch: u32,
    changes: u32,
    mut between: impl FnMut() -> Result<(), LabError>,
) -> Result<(f64, Vec<Duration>), LabError> {
    let mut times = Vec::new();
    for op in ["add", "remove"] {
        for first in (0..changes).step_by(batch as usize) {
            let others = (first..(first + batch).min(changes)).map(|number| ROWS + 1 + number * 97);
            times.push(change(socket, op, others.map(|number| (ipv4(number), ipv6(number))))?);
            between()?;
        }
    }
    let all: Duration = times.iter().sum();
    Ok((f64::from(2 * changes) / all.as_secs_f64(), times))
}

fn commits_row(table: &mut String, mut times: Vec<Duration>, batch: u32, beside: &str) {
    times.sort_unstable();
    let of = |share: usize| millis(times[(times.len() * share / 100).min(times.len() - 1)]);
    let what = format!("{} durable commits of {batch}{beside}, median / 99 % / longest", times.len());
    row(table, &what, format!("{} / {} / {} ms", of(50), of(99), of(100)), "");
}

fn row(table: &mut String, what: &str, measured: String, limit: &str) {
    writeln!(table, "| {what} | {measured} | {limit} |").ok();
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}

/// Rows in no order; the last one is a host that answers.
fn million() -> String {
    let mut csv = String::from("ipv4,ipv6,comment\n");
    let numbers = std::iter::successors(Some(0), |number| Some((number + 7_919) % ROWS));
    for number in numbers.take(ROWS as usize) {
        writeln!(csv, "{},{},service {number}", ipv4(number), ipv6(number)).ok();
    }
    csv
}

fn ipv4(number: u32) -> String {
    std::net::Ipv4Addr::from_bits(0x6440_0000 + number).to_string()
}

fn ipv6(number: u32) -> String {
    match number + 1 {
        ROWS => "2001:db8:12:34::2".to_owned(),
        next => format!("2001:db8:{:x}:{:x}::1", 0x100 + next / 0x1_0000, next % 0x1_0000),
    }
}

fn ctl(socket: &Path, verb: &[&str]) -> Command {
    let mut command = Command::new(borderctl().unwrap_or_else(|| "borderctl".into()));
    command.arg("--socket").arg(socket).args(verb).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(command: &mut Command) -> Result<(), LabError> {
    let what = format!("{command:?}");
    let output = command.output().map_err(LabError::io(what.clone()))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            Err(LabError::Unreadable { what, text: String::from_utf8_lossy(&output.stderr).into_owned() })
        }
    }
}

/// Until the list's second line, the first mapping, is there.
fn first_line(socket: &Path) -> Result<Duration, LabError> {
    let failed = || LabError::io("borderctl eam list");
    let started = Instant::now();
    let mut child = ctl(socket, &["eam", "list"]).spawn().map_err(failed())?;
    let mut lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
    let there = lines.nth(1).transpose().map_err(failed())?;
    let time = started.elapsed();
    drop(lines);
    child.kill().map_err(failed())?;
    child.wait().map_err(failed())?;
    match there {
        Some(_) => Ok(time),
        None => Err(LabError::Unreadable { what: "borderctl eam list".into(), text: "no line".into() }),
    }
}

/// One request, until its answer.
fn change<A: Display, B: Display>(
    socket: &Path,
    op: &str,
    mappings: impl Iterator<Item = (A, B)>,
) -> Result<Duration, LabError> {
    let mut body = String::new();
    for (ipv4, ipv6) in mappings {
        writeln!(body, "{{\"op\":\"{op}\",\"ipv4\":\"{ipv4}\",\"ipv6\":\"{ipv6}\"}}").ok();
    }
    let head = format!(
        "POST /v1/changes HTTP/1.1\r\nhost: relay\r\nif-match: *\r\ncontent-type: application/x-ndjson\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let failed = || LabError::io(format!("{op} over {}", socket.display()));
    let started = Instant::now();
    let mut stream = UnixStream::connect(socket).map_err(failed())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed())?;
    stream.write_all(head.as_bytes()).map_err(failed())?;
    stream.write_all(body.as_bytes()).map_err(failed())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed())?;
    let time = started.elapsed();
    match answer.starts_with("HTTP/1.1 200") {
        true => Ok(time),
        false => Err(LabError::Unreadable { what: format!("the answer to {op}"), text: answer }),
    }
}

fn resident(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kb: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    format!("{} MB", kb / 1000)
}

/// Renews what stands between the marks of the page.
fn write(tree: &Path, table: &str) -> Result<(), LabError> {
    let path = tree.join("docs/performance.md");
    let page = fs::read_to_string(&path).map_err(LabError::io(path.display().to_string()))?;
    let (Some(open), Some(close)) = (page.find(OPEN), page.find(CLOSE)) else {
        let what = format!("{}: the marks {OPEN} and {CLOSE}", path.display());
        return Err(LabError::Unreadable { what, text: String::new() });
    };
    let renewed = format!("{}{OPEN}\n{table}{}", &page[..open], &page[close..]);
    fs::write(&path, renewed).map_err(LabError::io(path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_million_rows_are_a_million_mappings() {
        let csv = million();
        let rows: HashSet<&str> = csv.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
        assert_eq!(rows.len(), ROWS as usize);
        let targets: HashSet<&str> = csv.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect();
        assert_eq!(targets.len(), ROWS as usize);
        assert!(!rows.contains(ipv4(ROWS + 1).as_str()) && !targets.contains(ipv6(ROWS + 1).as_str()));
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("docs")).unwrap();
        let path = tree.path().join("docs/performance.md");
        fs::write(&path, format!("before\n{OPEN}\nold\n{CLOSE}\nbehind\n")).unwrap();
        write(tree.path(), "| new |\n").unwrap();
        let page = fs::read_to_string(&path).unwrap();
        assert_eq!(page, format!("before\n{OPEN}\n| new |\n{CLOSE}\nbehind\n"));
        fs::write(&path, "no marks").unwrap();
        assert!(write(tree.path(), "").is_err());
    }
}
