//! Called by `scripts/bench`.

use std::process::ExitCode;

use clap::Parser;
use pktgen_tests::bench::{self, Args};

fn main() -> ExitCode {
    bench::main(&Args::parse())
}
