//! The command line. Its names are a contract: scripts use them.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::address::{EAM_BASE, MOST_EAMS};
use super::config::{Config, Direction, FrameBytes, Rate};
use super::error::PktgenError;
use super::pick::Pattern;
use super::procedure::{self, Procedure};
use super::template::Protocol;
use super::{eams, report};

/// It was measured, and what came back was right.
const DONE: u8 = 0;
/// Nothing could be measured, packets were lost where none may be, or packets were wrong.
const FAILED: u8 = 1;
/// The configuration or the command line is wrong.
const WRONG: u8 = 2;

/// Drives a translator with traffic over DPDK and verifies every packet that comes back
#[derive(Parser)]
#[command(name = "pktgen", version, max_term_width = 110)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One trial: send at a rate for a time, verify what comes back
    Run(RunArgs),
    /// Write the EAMs the traffic needs, as CSV for the relay's `eam_files`
    Eams {
        /// How many
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_EAMS)))]
        count: u32,
        /// Where to
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The IPv4 address of the first
        #[arg(long, default_value_t = EAM_BASE)]
        base: Ipv4Addr,
    },
}

/// What all procedures have in common; each option overrides its key of the configuration.
#[derive(clap::Args)]
struct RunArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where to write the results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What is measured, as results shall name it
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Packets per second over all streams, or `max`
    #[arg(long)]
    rate: Option<Rate>,
    /// How long a trial sends
    #[arg(long)]
    seconds: Option<f64>,
    /// Which way packets go
    #[arg(long)]
    direction: Option<Direction>,
    /// Frame sizes on the IPv4 side with frame check sequence, or `imix`
    #[arg(long, value_delimiter = ',', value_name = "BYTES")]
    frame_bytes: Vec<FrameBytes>,
    /// What is above IP
    #[arg(long)]
    protocol: Option<Protocol>,
    /// EAMs of the device
    #[arg(long)]
    eams: Option<u32>,
    /// Flows of each stream
    #[arg(long)]
    flows: Option<u32>,
    /// How flows are drawn
    #[arg(long)]
    pattern: Option<Pattern>,
    /// How often each point is measured
    #[arg(long, value_name = "NUMBER")]
    repetitions: Option<u32>,
    /// Share of frames that may be lost
    #[arg(long, value_name = "RATIO")]
    loss_tolerance: Option<f64>,
}

impl RunArgs {
    fn load(&self) -> Result<Config, PktgenError> {
        let mut config = Config::load(&self.config)?;
        let (traffic, trial) = (&mut config.traffic, &mut config.trial);
        set(&mut config.device, self.device.clone());
        set(&mut trial.rate, self.rate);
        set(&mut trial.seconds, self.seconds);
        set(&mut trial.repetitions, self.repetitions);
        set(&mut trial.loss_tolerance, self.loss_tolerance);
        set(&mut traffic.direction, self.direction);
        set(&mut traffic.protocol, self.protocol);
        set(&mut traffic.eams, self.eams);
        set(&mut traffic.flows, self.flows);
        set(&mut traffic.pattern, self.pattern);
        if !self.frame_bytes.is_empty() {
            trial.sizes.clone_from(&self.frame_bytes);
        }
        let problems = config.problems();
        if problems.is_empty() {
            return Ok(config);
        }
        Err(PktgenError::Config { file: self.config.clone(), problems: problems.join("\n  ") })
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    let status = match Args::parse().command {
        Command::Run(args) => measure(&args, &Procedure::Run),
        Command::Eams { count, out, base } => eams::write(&out, base, count).map(|()| DONE),
    };
    ExitCode::from(status.unwrap_or_else(|error| {
        eprintln!("pktgen: {error}");
        if error.is_usage() { WRONG } else { FAILED }
    }))
}

/// Measures, reports, and says with its status whether all was well.
fn measure(args: &RunArgs, procedure: &Procedure) -> Result<u8, PktgenError> {
    let config = args.load()?;
    let results = procedure::measure(&config, procedure)?;
    print!("{}", report::table(&results.measurements));
    if let Some(path) = &args.json {
        report::write(path, &results.measurements)?;
    }
    for complaint in &results.complaints {
        eprintln!("pktgen: {complaint}");
    }
    Ok(if results.complaints.is_empty() { DONE } else { FAILED })
}
