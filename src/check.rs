//! `borderline check`.

use std::io::{self, Write};
use std::net::TcpListener;
use std::path::Path;

use control::config::{self, Config};
use control_server::Listener;
use eam_store::Store;
use shown::Shown;

use crate::args::{DONE, WRONG};
use crate::handover::Held;
use crate::machine::{self, Ground};
use crate::preflight;
use crate::standby;

/// Checks the configuration at `path`, and with `machine` whether a relay could start here with it; returns the exit
/// status.
pub(crate) fn run(path: &Path, machine: bool) -> u8 {
    let report = config::check(path);
    if !report.is_good() {
        say(io::stderr(), &format!("{report}\n"));
        return WRONG;
    }
    let mut complaints = if machine { complaints(path) } else { Vec::new() };
    if machine && complaints.is_empty() && report.machine.is_empty() {
        complaints = trial(path);
    }
    if complaints.is_empty() && (!machine || report.machine.is_empty()) {
        say(io::stdout(), &format!("{report}\n"));
        return DONE;
    }
    let mut text = report.to_string();
    for complaint in complaints {
        text += &format!("{}: on this machine: {}\n", Shown(path.display()), Shown(complaint));
    }
    say(io::stderr(), &text);
    WRONG
}

/// Whoever does not read to the end has seen enough: the exit status is the answer.
fn say(mut out: impl Write, text: &str) {
    let _ = out.write_all(text.as_bytes());
}

/// Everything that would keep a relay from starting.
fn complaints(path: &Path) -> Vec<String> {
    let config = match Config::load(path) {
        Ok((config, _)) => config,
        Err(problems) => {
            return problems
                .iter()
                .map(|problem| format!("changed while it was checked: {problem}"))
                .collect();
        }
    };
    let refused = preflight::claim(&config, &Held::default()).err().unwrap_or_default();
    let mut complaints: Vec<String> = refused.into_iter().map(|complaint| complaint.text).collect();
    complaints.extend(preflight::inspect(&config, &machine::eal_config(&config)));
    complaints.extend(sockets(&config));
    complaints
}

/// What only an attempt shows: that DPDK starts with these arguments and has the drivers, and that the tables can be built.
fn trial(path: &Path) -> Vec<String> {
    let tried = [try_dpdk(path), standby::try_tables(path)];
    tried.into_iter().filter_map(Result::err).collect()
}

fn try_dpdk(path: &Path) -> Result<(), String> {
    let (config, _) = Config::load(path).map_err(|problems| problems.to_string())?;
    Ground::check(&config).map_err(|error| error.to_string())
}

/// What would keep the control socket, the store or the metrics from being opened.
fn sockets(config: &Config) -> Vec<String> {
    let mut complaints = Vec::new();
    if let Some(control) = &config.control {
        let obstacles = Listener::obstacles(&control.socket, control.group.as_deref());
        complaints.extend(obstacles.iter().map(ToString::to_string));
        let directory = control.store.parent().filter(|directory| !directory.as_os_str().is_empty());
        if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
            let directory = directory.display();
            complaints.push(format!(
                "control.store: there is no directory {directory}; create it: mkdir -p {directory}"
            ));
        } else if let Some(obstacle) = Store::cannot_open(&control.store) {
            complaints.push(format!("control.store: {obstacle}"));
        }
    }
    if let Some(address) = config.metrics.listen
        && let Err(error) = TcpListener::bind(address)
    {
        complaints.push(format!(
            "metrics.listen: cannot listen at {address}: {error}; choose another address or port"
        ));
    }
    complaints
}
