//! Called by `scripts/changes`.

use std::process::ExitCode;

use clap::Parser;
use pktgen_tests::changes::{self, Args};

fn main() -> ExitCode {
    changes::main(&Args::parse())
}
