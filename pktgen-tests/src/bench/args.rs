//! The command line of `scripts/bench`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures the relay: cycles per packet in memory, and its rate over virtual wires beside DPDK's own testpmd.
#[derive(Debug, Clone, Parser)]
#[command(name = "scripts/bench", bin_name = "scripts/bench", version, max_term_width = 100)]
pub struct Args {
    /// Fewer rows, rounds and seconds: done in under three minutes.
    #[arg(long)]
    pub quick: bool,

    /// Write the machine and every result to a file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Compare with a file that --json wrote on this machine.
    #[arg(long, value_name = "FILE", conflicts_with = "against")]
    pub baseline: Option<PathBuf>,

    /// Build this revision as well, alternate the two in one run, and exit 1 when the working tree is slower.
    #[arg(long, value_name = "REV")]
    pub against: Option<String>,

    /// Renew the tables and plots of docs/performance.md; with --against those of the comparison and of what features cost.
    #[arg(long)]
    pub write_docs: bool,

    /// Measure nothing and take the results from a file that --json wrote.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "json", "against", "vdev", "only", "rounds"])]
    pub from: Option<PathBuf>,

    /// The virtual wires between the generator and the device under test.
    #[arg(long, value_enum, default_value_t = Vdev::Memif)]
    pub vdev: Vdev,

    /// Take only these parts.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    pub only: Vec<Part>,

    /// Rounds of every measurement (5, or 3 with --quick).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: Option<u32>,
}

/// Which virtual wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Vdev {
    /// net_memif on both ends; the generator's is zero-copy.
    Memif,
    /// net_vhost at the device under test, net_virtio_user at the generator.
    Vhost,
}

/// What can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Cycles per packet in memory, table load, memory.
    Micro,
    /// Rates over the virtual wires: relay, macswap, io.
    Forwarding,
    /// What optional features cost.
    Options,
    /// Delay at half of the highest rate.
    Latency,
    /// Replacing a million EAMs under load.
    Reload,
}

impl Args {
    /// Whether a part is wanted. `--quick` leaves out what the fixed names do not need, and `--against` what an older
    /// relay may not know, unless it is asked for.
    #[must_use]
    pub fn wants(&self, part: Part) -> bool {
        if self.only.is_empty() {
            let all = !self.quick && self.against.is_none();
            return all || matches!(part, Part::Micro | Part::Forwarding);
        }
        self.only.contains(&part)
    }

    /// Whether something is wanted that needs the relay, and not only what is measured in memory.
    #[must_use]
    pub fn wants_relay(&self) -> bool {
        Part::value_variants().iter().any(|part| *part != Part::Micro && self.wants(*part))
    }

    /// Rounds of every measurement.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 })
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("scripts/bench").chain(line.split_whitespace()))
    }

    #[test]
    fn quick_measures_what_the_fixed_names_need() {
        let args = parse("--quick").unwrap();
        assert!(args.wants(Part::Micro) && args.wants(Part::Forwarding));
        assert!(!args.wants(Part::Latency) && !args.wants(Part::Reload) && !args.wants(Part::Options));
        assert_eq!(args.rounds(), 3);
        assert!(parse("--quick --only latency").unwrap().wants(Part::Latency));
        assert!(!parse("--against HEAD").unwrap().wants(Part::Reload));
        assert!(parse("--against HEAD --write-docs").unwrap().write_docs);
    }

    #[test]
    fn the_full_run_measures_everything() {
        let args = parse("").unwrap();
        assert!(Part::value_variants().iter().all(|part| args.wants(*part)));
        assert_eq!(args.rounds(), 5);
        assert!(args.wants_relay() && !parse("--only micro").unwrap().wants_relay());
        let args = parse("--only micro,reload --rounds 7").unwrap();
        assert!(args.wants(Part::Reload) && !args.wants(Part::Forwarding));
        assert_eq!(args.rounds(), 7);
    }

    #[test]
    fn wrong_lines_are_refused() {
        for (line, kind) in [
            ("--rounds 0", ErrorKind::ValueValidation),
            ("--vdev pcap", ErrorKind::InvalidValue),
            ("--only everything", ErrorKind::InvalidValue),
            ("--baseline a --against HEAD", ErrorKind::ArgumentConflict),
            ("--from a --quick", ErrorKind::ArgumentConflict),
            ("--json", ErrorKind::InvalidValue),
            ("surplus", ErrorKind::UnknownArgument),
        ] {
            assert_eq!(parse(line).unwrap_err().kind(), kind, "{line}");
        }
    }
}
