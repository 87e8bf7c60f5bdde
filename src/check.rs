//! `borderline check`.

use std::path::Path;

use control::config;

use crate::args::{DONE, WRONG};

/// Checks the configuration at `path`; returns the exit status.
pub(crate) fn run(path: &Path) -> u8 {
    let report = config::check(path);
    if report.is_good() {
        println!("{report}");
        DONE
    } else {
        eprintln!("{report}");
        WRONG
    }
}
