//! Called by `scripts/storm`.

use std::process::ExitCode;

use clap::Parser;
use pktgen_tests::storm::{self, Args};

fn main() -> ExitCode {
    storm::main(&Args::parse())
}
