//! Keeps a data centre running in the background: `up` starts the keeper, which owns everything and ends it with itself.
//!
//! Its state is in `/run/borderline-lab`: `state.json` for whoever wants to look, a socket on which it takes orders, its
//! log. Only the keeper, by its own end, ends processes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::{Idc, Routing, Suite};
use crate::lab::{LabError, wait_until};

const PLACE: &str = "/run/borderline-lab";
/// How long a laboratory may take to come up, on a machine that others use too.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is known of a running laboratory from outside.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    /// The keeper's process id.
    pub pid: i32,
    /// What routes, for people.
    pub suite: String,
    /// Whether that is BIRD.
    pub is_bird: bool,
    /// Namespaces by the names of the nodes.
    pub nodes: BTreeMap<String, String>,
    /// Where to ask the routing daemons, by node.
    pub routers: BTreeMap<String, PathBuf>,
    /// Control sockets of the relays, by node.
    pub sockets: BTreeMap<String, PathBuf>,
    /// Seconds it took to come up.
    pub seconds: f32,
}

/// The running laboratory, if there is one.
#[must_use]
pub fn state() -> Option<State> {
    let text = fs::read_to_string(place("state.json")).ok()?;
    let state: State = serde_json::from_str(&text).ok()?;
    is_keeper(state.pid).then_some(state)
}

fn place(name: &str) -> PathBuf {
    Path::new(PLACE).join(name)
}

/// Whether a process is a keeper, and not another that got its number.
fn is_keeper(pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|word| word == b"keep")
}

/// Starts a keeper with these arguments and waits until it has everything up.
///
/// # Errors
/// When one is running already, or it fails; the end of its log.
pub fn up(arguments: &[String]) -> Result<State, LabError> {
    if let Some(state) = state() {
        return Err(failed("scripts/lab up", &format!("one is up already (process {})", state.pid)));
    }
    fs::remove_dir_all(PLACE).ok();
    fs::create_dir_all(PLACE).map_err(LabError::io(PLACE))?;
    let log = File::create(place("log")).map_err(LabError::io("log"))?;
    let copy = log.try_clone().map_err(LabError::io("log"))?;
    let program = std::env::current_exe().map_err(LabError::io("this program"))?;
    let mut keeper = Command::new("setsid")
        .arg("--wait")
        .arg(program)
        .arg("keep")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(copy)
        .spawn()
        .map_err(LabError::io("setsid"))?;
    let mut found = None;
    let mut ended = false;
    wait_until(PATIENCE, || {
        found = state();
        ended = keeper.try_wait().is_ok_and(|status| status.is_some());
        found.is_some() || ended
    });
    found.ok_or_else(|| failed("the laboratory", &fs::read_to_string(place("log")).unwrap_or_default()))
}

fn failed(command: &str, output: &str) -> LabError {
    LabError::Failed { command: command.into(), status: "not up".into(), output: output.into() }
}

/// Ends the running laboratory; false when there is none.
///
/// # Errors
/// When it does not end within half a minute.
pub fn down() -> Result<bool, LabError> {
    let Some(state) = state() else {
        fs::remove_dir_all(PLACE).ok();
        return Ok(false);
    };
    kill(Pid::from_raw(state.pid), Signal::SIGTERM).ok();
    if !wait_until(Duration::from_secs(30), || !is_keeper(state.pid)) {
        // It is stuck: what it had started goes with its namespaces.
        kill(Pid::from_raw(state.pid), Signal::SIGKILL).ok();
        wait_until(Duration::from_secs(5), || !is_keeper(state.pid));
        crate::lab::sweep();
    }
    fs::remove_dir_all(PLACE).ok();
    Ok(true)
}

/// Gives the keeper an order and passes on what it answers; none when there is no keeper.
///
/// # Errors
/// When the connection breaks.
pub fn order(line: &str, out: &mut impl Write) -> Result<bool, LabError> {
    if state().is_none() {
        return Ok(false);
    }
    let mut stream = UnixStream::connect(place("keeper.sock")).map_err(LabError::io("keeper"))?;
    writeln!(stream, "{line}")?;
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(true),
            length => out.write_all(&bytes[..length])?,
        }
    }
}

/// The keeper itself: brings everything up, takes orders until SIGTERM or SIGINT, takes everything down.
///
/// # Errors
/// When the laboratory does not come up.
pub fn keep(suite: Suite, mut obey: impl FnMut(&mut Idc, &str, &mut UnixStream)) -> Result<(), LabError> {
    let stop = Arc::<AtomicBool>::default();
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(LabError::io("signals"))?;
    }
    let start = Instant::now();
    let mut idc = Idc::up(suite)?;
    let listener = UnixListener::bind(place("keeper.sock")).map_err(LabError::io("keeper.sock"))?;
    listener.set_nonblocking(true)?;
    publish(&idc, start.elapsed())?;
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        stream.set_nonblocking(false)?;
        let mut line = String::new();
        if BufReader::new(stream.try_clone()?).read_line(&mut line).is_ok() {
            obey(&mut idc, line.trim(), &mut stream);
        }
    }
    fs::remove_file(place("state.json")).ok();
    Ok(())
}

/// Appears under its name only when it is complete.
fn publish(idc: &Idc, took: Duration) -> Result<(), LabError> {
    let state = State {
        pid: Pid::this().as_raw(),
        suite: idc.suite.name().into(),
        is_bird: idc.suite.routing == Routing::Bird,
        nodes: idc.nodes.iter().map(|(name, space)| (name.into(), space.name().into())).collect(),
        routers: idc.routers.iter().map(|router| (router.node().into(), router.place())).collect(),
        sockets: (0..2).map(|side| (super::relays::NODES[side].into(), idc.socket(side))).collect(),
        seconds: took.as_secs_f32(),
    };
    let text = serde_json::to_string_pretty(&state).unwrap_or_default();
    fs::write(place("state.new"), text)?;
    fs::rename(place("state.new"), place("state.json"))?;
    Ok(())
}
