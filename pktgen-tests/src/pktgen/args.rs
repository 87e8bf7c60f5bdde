//! The command line. Its names are a contract: scripts use them.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::address::{EAM_BASE, MOST_EAMS};
use super::config::{Config, Direction, FrameBytes, Rate};
use super::error::PktgenError;
use super::form::Protocol;
use super::pick::Pattern;
use super::procedure::{self, Procedure};
use super::{eams, plot, report};

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
    /// One trial: send at a rate for a time, verify what comes back; nothing may be lost
    Run(RunArgs),
    /// The highest rate without loss, by binary search (RFC 2544 26.1, RFC 8219 7.1)
    Throughput(RunArgs),
    /// Latency at --rate, or at a share of the throughput (RFC 2544 26.2, RFC 8219 7.2)
    Latency(LoadArgs),
    /// Packet delay variation: 99.9th percentile of the delay less its minimum (RFC 8219 7.3.1)
    Pdv(LoadArgs),
    /// Loss at the highest rate, nine tenths of it, and so on (RFC 2544 26.3, RFC 8219 7.4)
    FrameLoss(RunArgs),
    /// The longest burst without loss (RFC 2544 26.4, RFC 8219 7.5)
    BackToBack(RunArgs),
    /// The rate received with all flows against the rate with one
    Overload(RunArgs),
    /// How long the device forwards nothing when a command resets it (RFC 6201 4, RFC 8219 7.7)
    Reset(CommandArgs),
    /// How long the device forwards nothing while a command changes its configuration
    Reconfigure(CommandArgs),
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
    /// Draw results as SVG: throughput by frame size, latency percentiles, rate by table size
    Plot {
        /// Files written with --json
        #[arg(long = "in", value_name = "FILE", required = true, num_args = 1..)]
        results: Vec<PathBuf>,
        /// The directory to write to
        #[arg(long, value_name = "DIRECTORY")]
        out: PathBuf,
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

/// A procedure under load.
#[derive(clap::Args)]
struct LoadArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Without --rate: which share of the throughput is sent
    #[arg(long, value_name = "RATIO", default_value_t = 0.9, value_parser = ratio)]
    load: f64,
}

/// A procedure that disturbs the device.
#[derive(clap::Args)]
struct CommandArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// A line of shell, started when a third of the time is over
    #[arg(long, value_name = "COMMAND")]
    command: String,
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.001..=1.0).contains(ratio));
    ratio.ok_or_else(|| "give 0.001 to 1".into())
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
        Command::Throughput(args) => measure(&args, &Procedure::Throughput),
        Command::Latency(args) => measure(&args.run, &Procedure::Latency { load: args.load }),
        Command::Pdv(args) => measure(&args.run, &Procedure::Pdv { load: args.load }),
        Command::FrameLoss(args) => measure(&args, &Procedure::FrameLoss),
        Command::BackToBack(args) => measure(&args, &Procedure::BackToBack),
        Command::Overload(args) => measure(&args, &Procedure::Overload),
        Command::Reset(args) => disturb("reset", args),
        Command::Reconfigure(args) => disturb("reconfigure", args),
        Command::Eams { count, out, base } => eams::write(&out, base, count).map(|()| DONE),
        Command::Plot { results, out } => draw(&results, &out),
    };
    ExitCode::from(status.unwrap_or_else(|error| {
        eprintln!("pktgen: {error}");
        if error.is_usage() { WRONG } else { FAILED }
    }))
}

fn draw(results: &[PathBuf], out: &Path) -> Result<u8, PktgenError> {
    let mut measurements = Vec::new();
    for file in results {
        measurements.append(&mut report::read(file)?);
    }
    for file in plot::draw(&measurements, out)? {
        println!("{}", file.display());
    }
    Ok(DONE)
}

fn disturb(name: &'static str, args: CommandArgs) -> Result<u8, PktgenError> {
    let CommandArgs { load: LoadArgs { run, load }, command } = args;
    measure(&run, &Procedure::Disturbance { name, command, load })
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
