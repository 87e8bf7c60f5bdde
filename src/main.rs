//! `borderline`: the SIIT-DC Border Relay.
#![forbid(unsafe_code)]

mod app;
mod args;
mod check;
mod compare;
mod control_socket;
mod explain;
mod handover;
mod harden;
mod import;
mod last_exit;
mod log;
mod machine;
mod meters;
mod metrics;
mod preflight;
mod received;
mod report;
mod signals;
mod standby;
mod translate;
mod watchdog;
mod workers;

fn main() -> std::process::ExitCode {
    args::run()
}
