//! Called by `scripts/lab`.

use std::process::ExitCode;

use clap::Parser;
use pktgen_tests::idc::cli::{self, Args};

fn main() -> ExitCode {
    cli::main(Args::parse())
}
