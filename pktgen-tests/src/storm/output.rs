//! Readers of the log that are gone, stand still, or have no room.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::flow::Flow;
use super::stand::{Routers, Session, TWINS, Wires, config};
use super::{Row, Scale};
use crate::lab::{Cmd, Daemon, LabError, relay_binary, wait_until};

/// What becomes of the relay's output: a name, and what the shell does with it.
const READERS: &[(&str, &str)] = &[
    ("the log's reader has closed", "2>&1 | true"),
    ("the log's reader stands still", "2>&1 | sleep 600"),
    ("the log's disk is full", ">/dev/full 2>&1"),
    ("standard output and error are closed", ">&- 2>&-"),
];
/// Reports asked for: each is a line of a kilobyte or more, and a pipe holds 64.
const REPORTS: u32 = 400;
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Each kind of reader, with traffic, sessions, and many lines to write.
pub(super) fn readers(scale: &Scale) -> Result<Vec<Row>, LabError> {
    let mut rows = Vec::new();
    for (name, redirection) in READERS {
        rows.extend(reader(name, redirection, scale)?);
    }
    Ok(rows)
}

fn reader(name: &str, redirection: &str, scale: &Scale) -> Result<Vec<Row>, LabError> {
    let wires = Wires::lay()?;
    let directory = tempfile::tempdir().map_err(LabError::io("temporary directory"))?;
    let relay = start(&wires, directory, redirection)?;
    let pid = pid(relay.path())?;
    wires.address_twins()?;
    Cmd::new("sh").arg("-c").arg(format!("renice -n -15 -p $(ls /proc/{pid}/task)")).ok()?;
    let routers = Routers::start(&wires)?;
    let before = routers.sessions()?;
    let flows = wires.flows()?;
    for _ in 0..REPORTS {
        kill(pid, Signal::SIGUSR1).ok();
        std::thread::sleep(scale.time / REPORTS);
    }
    let (lost, sent) = flows
        .map(Flow::finish)
        .iter()
        .fold((0, 0), |(lost, sent), seen| (lost + seen.lost, sent + seen.sent));
    let after = routers.sessions()?;
    let gone = Session::lost(&before, &after);
    let alive = kill(pid, None).is_ok();
    let stopping = Instant::now();
    kill(pid, Signal::SIGTERM).ok();
    let ended = wait_until(STOP_LIMIT, || !Path::new(&format!("/proc/{pid}")).exists());
    let row = |witness: &str, limit: &str, measured: String, held: bool| Row {
        storm: format!("{name}, {REPORTS} reports"),
        witness: witness.into(),
        limit: limit.into(),
        measured,
        held,
    };
    Ok(vec![
        row("the relay", "still runs", if alive { "runs" } else { "has ended" }.into(), alive),
        row(
            "BGP and BFD at 3 x 100 ms, both families",
            "stay up",
            format!("{} up, lost {gone:?}", after.len()),
            gone.is_empty(),
        ),
        row("1000 packets/s in each direction", "none lost", format!("{lost} of {sent} lost"), lost == 0),
        row(
            "SIGTERM",
            "ends it within 10 s",
            format!("{} ms", stopping.elapsed().as_millis()),
            alive && ended,
        ),
    ])
}

/// Starts the relay with its output sent elsewhere and waits for its twins: there is no log to wait for.
fn start(wires: &Wires, directory: tempfile::TempDir, redirection: &str) -> Result<Daemon, LabError> {
    let missing = || LabError::Relay { what: "is not built".into(), log: String::new() };
    let binary = relay_binary().ok_or_else(missing)?;
    let at = directory.path().display().to_string();
    let file = format!("{at}/borderline.toml");
    std::fs::write(&file, config().to_toml()).map_err(LabError::io(file.clone()))?;
    let line = format!(
        "bash -c 'echo $$ >{at}/pid; exec {} run --log-format text --config {file}' {redirection}",
        binary.display()
    );
    let mut relay = Daemon::start("borderline", &wires.relay_ns.sh(&line), directory)?;
    relay.wait_for("twins", |_| TWINS.iter().all(|twin| wires.relay_ns.has_link(twin)))?;
    Ok(relay)
}

fn pid(directory: &Path) -> Result<Pid, LabError> {
    let text =
        std::fs::read_to_string(directory.join("pid")).map_err(LabError::io("the relay's process id"))?;
    let number = text.trim().parse().map_err(|_| LabError::Unreadable { what: "process id".into(), text })?;
    Ok(Pid::from_raw(number))
}
