//! `borderline`: the SIIT-DC Border Relay.
#![forbid(unsafe_code)]

mod app;
mod args;
mod capture;
mod check;
mod log;
mod machine;
mod report;
mod signals;
mod translate;
mod workers;

fn main() -> std::process::ExitCode {
    args::run()
}
