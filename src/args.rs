//! The command line. Its names are a contract: operators' scripts use them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use dataplane::offline::Shape;

use crate::compare::CompareArgs;
use crate::import::ImportArgs;
use crate::log::LogFormat;
use crate::{app, check, compare, import, translate};

/// The relay was stopped as asked, or the configuration is good.
pub(crate) const DONE: u8 = 0;
/// It could not do what it was asked for; the message says why.
pub(crate) const FAILED: u8 = 1;
/// The configuration (or the command line) is wrong.
pub(crate) const WRONG: u8 = 2;

/// SIIT-DC Border Relay: stateless translation between IPv4 and IPv6 at line rate (RFC 7755, 7915, 7757, 6052)
#[derive(Parser)]
#[command(name = "borderline", version = env!("BORDERLINE_VERSION"), max_term_width = 110)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay until SIGTERM or SIGINT
    ///
    /// Opens the ports with DPDK, creates a kernel twin `bl-<port>` for each, follows the kernel's addresses, routes
    /// and neighbours, and translates. SIGHUP makes it read the configuration again: `[translation]`,
    /// `[[eam]]` and `eam_files` are replaced at once and without loss, anything wrong changes nothing. SIGUSR1 prints the counters. Needs root (or CAP_NET_ADMIN, CAP_NET_RAW and
    /// what the DPDK drivers ask for). The log goes to standard error; RUST_LOG=debug makes it longer.
    Run {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Wait until no other relay has the ports, then take over: start everything else at once, and again at once when
        /// that relay ends or dies
        #[arg(long)]
        standby: bool,
        /// What the log looks like; otherwise as `[log]` of the configuration says
        #[arg(long, value_enum, value_name = "FORMAT", env = "BORDERLINE_LOG_FORMAT")]
        log_format: Option<LogFormat>,
    },
    /// Check a configuration: every problem with its line and remedy
    ///
    /// Exit status 0 when the configuration can be used, 2 when not. Missing CPUs or hugepages of this machine are
    /// listed but do not count, because the file may be meant for another one: with --machine they do, and so does
    /// everything else that would keep a relay from starting here and now.
    Check {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Whether a relay could start here with it: devices, interfaces, names, memory, privileges
        #[arg(long)]
        machine: bool,
    },
    /// Translate a capture file: the same code as the workers, without DPDK, root or network
    ///
    /// Uses `[translation]`, `[[eam]]` and `eam_files` of the configuration. What would leave the box is written in order.
    /// Packets the box would route natively or hand to its kernel are not in the output. No rate limit applies to
    /// ICMP errors. `-` is standard input and standard output.
    #[command(after_help = TRANSLATE_EXAMPLES)]
    Translate(TranslateArgs),
    /// Print the configuration of Jool SIIT, TAYGA or clatd as one of ours
    ///
    /// What has no counterpart stands in comments. A line that cannot be read ends it with status 2, every such line named.
    /// CPUs and cards are in no such file: change `[dpdk]` and `[[port]]` of the result.
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Compare what another translator did with what we would have done, on captures of both its sides
    ///
    /// Every packet that goes in is translated with our configuration and looked for in the captures. Differences are listed
    /// by requirement (docs/conformance.md), with the habit of the other translator they come from where it is known.
    /// Exit status 0 whether there are differences or not.
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),
}

const TRANSLATE_EXAMPLES: &str = "\
Examples:
  borderline translate --config relay.toml --in in.pcapng.gz --out out.pcap --report report.jsonl
  tcpdump -i any -c 100 -w - | borderline translate --config relay.toml --in - --out - | tcpdump -nr -";

const IMPORT_EXAMPLES: &str = "\
Examples:
  jool_siit file handle ...   # its JSON file
  borderline import --from jool /etc/jool/jool_siit.conf --check >relay.toml
  borderline import --from tayga /etc/tayga.conf >relay.toml
  borderline import --from clatd /etc/clatd.conf >relay.toml
  grep jool_siit ~/.bash_history | borderline import --from jool - >relay.toml";

const COMPARE_EXAMPLES: &str = "\
Examples:
  tcpdump -i eth0 -s 0 -w before.pcap &  tcpdump -i eth1 -s 0 -w after.pcap &
  borderline compare --config relay.toml --before before.pcap --after after.pcap
  tcpdump -i nat64 -s 0 -w tun.pcap      # a translator with one interface, such as TAYGA
  borderline compare --config relay.toml --before tun.pcap --after tun.pcap --json";

/// `borderline translate`.
#[derive(clap::Args)]
pub(crate) struct TranslateArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Packets to translate: pcap or pcapng, also compressed with gzip, of Ethernet, raw IP, Linux cooked or loopback
    #[arg(long = "in", value_name = "IN.pcap")]
    pub(crate) input: PathBuf,
    /// Where to write what would leave the box: pcap, link type raw IP
    #[arg(long = "out", value_name = "OUT.pcap")]
    pub(crate) output: PathBuf,
    /// Where to write one JSON object per input packet
    #[arg(long, value_name = "REPORT.jsonl")]
    pub(crate) report: Option<PathBuf>,
    /// The box
    #[command(flatten)]
    pub(crate) shape: ShapeArgs,
}

/// The imaginary box.
#[derive(clap::Args)]
pub(crate) struct ShapeArgs {
    /// MTU of the imaginary IPv4 interface, in bytes
    #[arg(long, value_name = "N", default_value_t = 1500, value_parser = clap::value_parser!(u16).range(68..))]
    pub(crate) ipv4_mtu: u16,
    /// MTU of the imaginary IPv6 interface, in bytes
    #[arg(long, value_name = "N", default_value_t = 1500, value_parser = clap::value_parser!(u16).range(1280..))]
    pub(crate) ipv6_mtu: u16,
    /// The box's IPv4 address, source of ICMPv4 errors it originates
    #[arg(long, value_name = "A", default_value_t = Ipv4Addr::new(192, 0, 0, 8))]
    pub(crate) ipv4_address: Ipv4Addr,
    /// The box's IPv6 address, source of ICMPv6 errors it originates
    #[arg(long, value_name = "A", default_value_t = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))]
    pub(crate) ipv6_address: Ipv6Addr,
}

impl ShapeArgs {
    /// As the dataplane takes it.
    pub(crate) fn shape(&self) -> Shape {
        Shape {
            ipv4_mtu: self.ipv4_mtu,
            ipv6_mtu: self.ipv6_mtu,
            ipv4_address: self.ipv4_address,
            ipv6_address: self.ipv6_address,
        }
    }
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    if let Some(missing) = missing_cpu_feature() {
        eprintln!(
            "borderline: this CPU has no {missing}, which this build uses: build with \
             RUSTFLAGS=\"-C target-cpu=x86-64-v2\" for older CPUs"
        );
        return ExitCode::from(FAILED);
    }
    let code = match Args::parse().command {
        Command::Run { config, standby, log_format } => app::run(&config, standby, log_format),
        Command::Check { config, machine } => check::run(&config, machine),
        Command::Translate(args) => translate::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Compare(args) => compare::run(&args),
    };
    ExitCode::from(code)
}

/// What .cargo/config.toml lets the compiler use and this CPU lacks.
#[cfg(target_arch = "x86_64")]
fn missing_cpu_feature() -> Option<&'static str> {
    let features = [
        (cfg!(target_feature = "avx2"), std::is_x86_feature_detected!("avx2"), "AVX2"),
        (cfg!(target_feature = "bmi2"), std::is_x86_feature_detected!("bmi2"), "BMI2"),
        (cfg!(target_feature = "popcnt"), std::is_x86_feature_detected!("popcnt"), "POPCNT"),
    ];
    features.into_iter().find(|(used, present, _)| *used && !*present).map(|(_, _, name)| name)
}

/// Other architectures are built for their baseline.
#[cfg(not(target_arch = "x86_64"))]
fn missing_cpu_feature() -> Option<&'static str> {
    None
}
