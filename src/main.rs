//! `borderline`: the SIIT-DC Border Relay.
#![forbid(unsafe_code)]

mod app;
mod args;
mod capture;
mod check;
mod reload;
mod report;
mod signals;
mod translate;

fn main() -> std::process::ExitCode {
    args::run()
}
