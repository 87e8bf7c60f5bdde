//! `borderline check`.

use std::path::Path;

use control::config::{self, Config};
use shown::Shown;

use crate::args::{DONE, WRONG};
use crate::handover::Held;
use crate::machine;
use crate::preflight;

/// Checks the configuration at `path`, and with `machine` whether a relay could start here with it; returns the exit
/// status.
pub(crate) fn run(path: &Path, machine: bool) -> u8 {
    let report = config::check(path);
    if !report.is_good() {
        eprintln!("{report}");
        return WRONG;
    }
    let complaints = if machine { complaints(path) } else { Vec::new() };
    if complaints.is_empty() && (!machine || report.machine.is_empty()) {
        println!("{report}");
        return DONE;
    }
    eprint!("{report}");
    for complaint in complaints {
        eprintln!("{}: on this machine: {}", Shown(path.display()), Shown(complaint));
    }
    WRONG
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
    let mut complaints = preflight::claim(&config, &Held::default()).err().unwrap_or_default();
    complaints.extend(preflight::inspect(&config, &machine::eal_config(&config)));
    complaints
}
