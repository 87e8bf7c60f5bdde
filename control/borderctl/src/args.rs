//! The command line. Its names are a contract: operators' scripts use them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::verbs::{self, Explain};

/// Talk to a running Borderline relay
///
/// Every verb prints tables for people, or with --json the same answer for programs. Changes are made when the command ends with
/// exit status 0: in force on every worker, and durable. Exit status 1 means that nothing was changed, and why; 2 is wrong
/// usage.
#[derive(Parser)]
#[command(name = "borderctl", version, max_term_width = 100, propagate_version = false)]
pub(crate) struct Cli {
    /// The relay's control socket
    #[arg(long, global = true, value_name = "PATH", env = "BORDERLINE_SOCKET", default_value = control_api::DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// The relay in short: health, revision, ports, workers
    #[command(after_help = "Example:\n  borderctl status")]
    Status(Watch),
    /// Mappings between IPv4 and IPv6 addresses (RFC 7757)
    #[command(subcommand)]
    Eam(EamVerb),
    /// IPv4 Service Address Pools (RFC 7755)
    #[command(subcommand)]
    Pool(PoolVerb),
    /// What there is to say about the staged changes, or about the mappings in force
    #[command(after_help = "Example:\n  borderctl check")]
    Check,
    /// What the staged changes, or two revisions, have different
    ///
    /// Without an argument: the candidate against what is in force. ID: that revision against what is in force. ID..ID: two
    /// revisions.
    #[command(after_help = "Examples:\n  borderctl diff\n  borderctl diff 1\n  borderctl diff 1..2")]
    Diff {
        /// Revisions
        #[arg(value_name = "ID[..ID]", value_parser = range)]
        range: Option<(u64, Option<u64>)>,
    },
    /// Commit the staged changes
    #[command(
        after_help = "Examples:\n  borderctl commit --comment 'ticket 4711'\n  borderctl commit --confirm-within 60s"
    )]
    Commit(Commit),
    /// Keep a commit that was made with --confirm-within
    ///
    /// Said again of the same revision, it is kept already, and that is fine.
    #[command(after_help = "Examples:\n  borderctl confirm\n  borderctl confirm 3 --comment 'it works'")]
    Confirm {
        /// The revision; what awaits confirmation when left out
        #[arg(value_name = "ID")]
        revision: Option<u64>,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
    },
    /// Throw the staged changes away
    #[command(after_help = "Example:\n  borderctl discard")]
    Discard,
    /// Go back to the mappings of an earlier revision
    ///
    /// The way back is a revision of its own: nothing is lost from the history.
    #[command(after_help = "Example:\n  borderctl rollback 1 --comment 'ticket 4711 was wrong'")]
    Rollback {
        /// The revision, see `borderctl history`
        #[arg(value_name = "ID")]
        revision: u64,
        #[command(flatten)]
        commit: Commit,
    },
    /// The revisions, newest first: who, when, why, what
    #[command(after_help = "Example:\n  borderctl history --limit 10")]
    History {
        /// So many at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// Only those before this one
        #[arg(long, value_name = "ID")]
        before: Option<u64>,
    },
    /// Make the relay read its configuration and its files again
    #[command(after_help = "Example:\n  borderctl reload")]
    Reload,
    /// What moves now: ports, workers, cycles per packet, drops, busiest mappings
    ///
    /// On a screen of its own: q quits, space pauses, z counts drops from now on. With --once, or --json, one reading. Nothing here
    /// or anywhere else sets a counter of the relay back.
    #[command(after_help = "Examples:\n  borderctl top\n  borderctl --json top --once")]
    Top(Top),
    /// The ports, with the drivers' own counts
    #[command(after_help = "Example:\n  borderctl ports")]
    Ports(Watch),
    /// The routes the workers use
    #[command(after_help = "Example:\n  borderctl routes --limit 100")]
    Routes {
        /// So many at most
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
        #[command(flatten)]
        watch: Watch,
    },
    /// The neighbours the workers use
    #[command(after_help = "Example:\n  borderctl neighbors")]
    Neighbors(Watch),
    /// The workers, and how loaded each is
    #[command(after_help = "Example:\n  borderctl workers")]
    Workers(Watch),
    /// Every counter; docs/counters.md says what each means
    #[command(after_help = "Example:\n  borderctl counters")]
    Counters(Watch),
    /// Dropped packets: why, how many, since when, what to check, and samples of them
    ///
    /// Without --last or --pcap: every reason with its count, its rates now, in the last minute and in the last hour, and when it was
    /// first and last seen. Samples are fair: a flood of one reason hides nothing of another.
    #[command(
        after_help = "Examples:\n  borderctl drops\n  borderctl drops --last 20 --reason source_not_mapped\n  borderctl drops --pcap dropped.pcapng"
    )]
    Drops(Drops),
    /// Write packets into a file, each as it came and as it went
    ///
    /// A pcapng file with two interfaces for each port, PORT/before and PORT/after. Both sides of a packet have the same packet id, its
    /// queue, its verdict and a comment with the mapping and the reason. What is lost, because it is too much or the reader too slow, is
    /// in the file: drop counts on packets and interface statistics.
    ///
    /// A filter is made of tests with `and`, `or`, `not` and parentheses; either side of a packet may pass a test:
    /// host ADDRESS, net PREFIX, port N[-N] (each with src or dst before it), tcp, udp, icmp, ip, ip6, proto N, eam PREFIX,
    /// direction v4_to_v6|v6_to_v4, verdict WORD, reason WORD, in PORT, out PORT.
    #[command(
        after_help = "Examples:\n  borderctl capture --filter 'host 192.0.2.1 and tcp port 443' --count 100 -w https.pcapng\n  \
        borderctl capture --filter 'verdict dropped' --seconds 10 -w dropped.pcapng\n  \
        tshark -r https.pcapng -Y 'frame.comment contains \"192.0.2.1/32\"'"
    )]
    Capture(Capture),
    /// Packets as they pass, one line each; or how many take which way
    ///
    /// Filters are those of `borderctl capture`.
    #[command(
        after_help = "Examples:\n  borderctl trace --filter 'host 192.0.2.1' --count 10\n  borderctl trace --paths --seconds 10\n  \
        borderctl trace --services --seconds 5"
    )]
    Trace(Trace),
    /// Whether the relay is in service: tests, announced routes, a drain
    #[command(after_help = "Example:\n  borderctl health")]
    Health(Watch),
    /// Take the relay out of service
    ///
    /// First its routes get worse, so that whoever knows another way takes it; then they go. The relay translates what still
    /// comes. The command ends when it has been quiet for as long as the configuration asks for, and shows meanwhile who still
    /// sends. Interrupted, it leaves the relay as it is: `borderctl undrain` takes it back.
    #[command(
        after_help = "Examples:\n  borderctl drain\n  borderctl drain --lead 30s\n  borderctl drain --no-wait"
    )]
    Drain(Drain),
    /// Take the relay back into service
    #[command(after_help = "Example:\n  borderctl undrain")]
    Undrain,
    /// What the mappings in use hash to, or how they differ from those of another relay
    ///
    /// Relays with equal digests translate the same addresses to the same ones. With --compare, exit status 1 means that
    /// something is different, which is printed.
    #[command(
        after_help = "Examples:\n  borderctl digest\n  borderctl digest --compare /run/other/control.sock"
    )]
    Digest {
        /// The control socket of the other relay, or http://HOST:PORT where that is forwarded to
        #[arg(long, value_name = "SOCKET|URL")]
        compare: Option<String>,
    },
    /// What the relay would do with a packet now, and why
    ///
    /// Runs the data path's own code on the tables that the workers use: numbered phases, each with the entry that decides, those
    /// it hides, and where they are written; the packet before and after, field by field and in hexadecimal; the counters that grow;
    /// the verdict. Nothing is sent.
    #[command(
        after_help = "Examples:\n  borderctl explain --src 203.0.113.50 --dst 192.0.2.1 --dport 443\n  \
        borderctl explain --src 203.0.113.50 --dst 192.0.2.1 --proto udp --size 1500 --df false --ttl 1\n  \
        borderctl explain --pcap trouble.pcap --packet 2\n  \
        borderctl explain --last-drop 6"
    )]
    Explain(Box<Explain>),
    /// What happens, as it happens: revisions, reloads
    #[command(after_help = "Example:\n  borderctl events --count 1")]
    Events {
        /// End after so many
        #[arg(long, value_name = "N")]
        count: Option<usize>,
    },
    /// The versions of this program, of the relay, and of what they speak
    #[command(after_help = "Example:\n  borderctl version")]
    Version,
    /// Write completions and man pages into a directory
    #[command(hide = true)]
    Generate {
        /// Where to
        directory: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum EamVerb {
    /// Every mapping, ordered by IPv4 prefix
    ///
    /// With --json one object a line: ipv4, ipv6, owner, comment. The owner is `store`, `config`, or the file the mapping is written in.
    #[command(
        after_help = "Examples:\n  borderctl eam list\n  borderctl eam list --within 192.0.2.0/28\n  borderctl --json eam list --owner store"
    )]
    List(List),
    /// Packets and bytes of each mapping since the start of the relay, both ways
    ///
    /// Needs `mappings` in `[metrics]`. Bytes are those of the IP packets as they came. Mappings that were removed come last, without an
    /// IPv6 prefix.
    #[command(
        after_help = "Examples:\n  borderctl eam counters --top 20\n  borderctl eam counters --format csv"
    )]
    Counters(Traffic),
    /// One mapping
    #[command(after_help = "Example:\n  borderctl eam get 192.0.2.1")]
    Get {
        /// The IPv4 or IPv6 prefix it maps
        #[arg(value_name = "PREFIX")]
        prefix: String,
    },
    /// Add a mapping
    #[command(
        after_help = "Examples:\n  borderctl eam add 192.0.2.7 2001:db8:12:34::7 --comment 'web 7'\n  \
        borderctl eam add --auto 2001:db8:12:34::8\n  borderctl eam add 192.0.2.9 2001:db8:12:34::9 --stage"
    )]
    Add(Add),
    /// Remove mappings
    #[command(after_help = "Example:\n  borderctl eam remove 192.0.2.1")]
    Remove {
        /// IPv4 or IPv6 prefixes that are mapped
        #[arg(value_name = "PREFIX", required = true)]
        prefixes: Vec<String>,
        #[command(flatten)]
        change: Change,
    },
    /// Add the mappings of a file
    ///
    /// Reads CSV (comma, semicolon or tab; columns in any order), Jool's JSON and `jool_siit eamt display --csv`, TAYGA's `map`
    /// lines, and what `borderctl --json eam list` prints. `-` is standard input. All rows are committed, or none.
    #[command(
        after_help = "Examples:\n  borderctl eam import eams.csv\n  borderctl eam import --stage --format tayga tayga.conf\n  \
        borderctl eam import --replace jool.json"
    )]
    Import(Import),
    /// Print the mappings as CSV
    #[command(after_help = "Example:\n  borderctl eam export --owner store")]
    Export(List),
    /// How an address is translated, and why
    #[command(after_help = "Example:\n  borderctl eam lookup 192.0.2.1")]
    Lookup {
        /// An IPv4 or IPv6 address
        address: IpAddr,
    },
}

#[derive(Subcommand)]
pub(crate) enum PoolVerb {
    /// How full the service pools are
    #[command(after_help = "Example:\n  borderctl pool show")]
    Show(Watch),
}

#[derive(Args)]
pub(crate) struct Drain {
    /// How long the routes stay, worse than usual (10s, 1m); as configured when left out
    #[arg(long, value_name = "TIME", value_parser = lead)]
    pub(crate) lead: Option<Duration>,
    /// Do not wait until it is quiet
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Give up waiting after that time; the drain goes on
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "no_wait")]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Args, Default)]
pub(crate) struct Watch {
    /// Print again every so many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) watch: Option<u64>,
}

#[derive(Args)]
pub(crate) struct Drops {
    /// Show the newest samples of dropped packets, 20 unless told
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "20", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) last: Option<u32>,
    /// Only that reason
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Option<String>,
    /// Who sends them: the sources of the samples, with the packets these stand for
    #[arg(long, conflicts_with_all = ["pcap", "watch"])]
    pub(crate) senders: bool,
    /// Write samples as a capture (pcapng), a comment with the reason on each
    #[arg(long, value_name = "FILE", conflicts_with = "watch")]
    pub(crate) pcap: Option<PathBuf>,
    /// Reasons without a drop too
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) watch: Watch,
}

#[derive(Args)]
pub(crate) struct Wanted {
    /// Which packets; every packet when left out
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// End after so many packets; 1000 unless told, 10000 with --paths and --services
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// Packets a second at most
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
}

#[derive(Args)]
pub(crate) struct Capture {
    #[command(flatten)]
    pub(crate) wanted: Wanted,
    /// Bytes of each frame at most, 64 to 9600
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=9600))]
    pub(crate) snap: Option<u32>,
    /// The file, which is written with your rights
    #[arg(short = 'w', long, value_name = "FILE")]
    pub(crate) write: PathBuf,
}

#[derive(Args)]
pub(crate) struct Trace {
    #[command(flatten)]
    pub(crate) wanted: Wanted,
    /// How many packets took which way, at the end
    #[arg(long)]
    pub(crate) paths: bool,
    /// How many packets and bytes each mapping had, at the end: which service takes the traffic
    #[arg(long, conflicts_with = "paths")]
    pub(crate) services: bool,
}

#[derive(Args)]
pub(crate) struct Top {
    /// Print one reading and end
    #[arg(long)]
    pub(crate) once: bool,
    /// Seconds between two readings, which rates are averages of
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) interval: u64,
}

#[derive(Args)]
pub(crate) struct Traffic {
    /// Only mappings with a prefix inside this one, or around it
    #[arg(long, value_name = "PREFIX")]
    pub(crate) within: Option<String>,
    /// Only so many, the busiest by bytes
    #[arg(long, value_name = "N")]
    pub(crate) top: Option<u32>,
    /// How to print
    #[arg(long, value_enum, default_value_t = TrafficFormat::Table)]
    pub(crate) format: TrafficFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrafficFormat {
    /// Columns for people
    Table,
    /// For bills: a head, then a line for each mapping
    Csv,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only mappings with a prefix inside this one, or around it
    #[arg(long, value_name = "PREFIX")]
    pub(crate) within: Option<String>,
    /// Only those of that owner: `store`, `config` for those of the configuration, or a file's name
    #[arg(long, value_name = "OWNER")]
    pub(crate) owner: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

#[derive(Args)]
pub(crate) struct Add {
    /// Take the next free address of the service pools
    #[arg(long)]
    pub(crate) auto: bool,
    /// IPv4 prefix or address (left out with --auto), then IPv6 prefix or address
    #[arg(value_name = "PREFIX", num_args = 1..=2, required = true)]
    pub(crate) prefixes: Vec<String>,
    /// Put it in the place of what the IPv4 prefix is mapped to
    #[arg(long, conflicts_with = "auto")]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Args)]
pub(crate) struct Import {
    /// The file, or `-`
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What the file is
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub(crate) format: Format,
    /// Mappings of the store that are not in the file go, those that differ are changed
    #[arg(long)]
    pub(crate) replace: bool,
    /// Replace the mappings of the store by none
    #[arg(long, requires = "replace")]
    pub(crate) allow_empty: bool,
    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Found out from the file
    Auto,
    /// CSV: comma, semicolon or tab
    Csv,
    /// Jool's JSON
    Jool,
    /// TAYGA's configuration
    Tayga,
    /// One JSON object a line
    Lines,
}

#[derive(Args, Default)]
pub(crate) struct Change {
    /// Put it into the candidate, which `diff`, `commit` and `discard` work on
    #[arg(long, conflicts_with = "confirm_within")]
    pub(crate) stage: bool,
    #[command(flatten)]
    pub(crate) commit: Commit,
}

#[derive(Args, Default)]
pub(crate) struct Commit {
    /// A note: of the mapping that is added, and of the revision in the history
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// Undo it after that time (60s, 5m, 2h) unless `borderctl confirm` comes first
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) confirm_within: Option<Duration>,
    /// Only if this revision is still in force
    #[arg(long, value_name = "ID")]
    pub(crate) on: Option<u64>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err("write it as 60s, 5m or 2h".to_owned()),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match seconds {
        Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        Some(_) => Err("give one second to one day".to_owned()),
        None => Err("write it as 60s, 5m or 2h".to_owned()),
    }
}

/// As [`duration`], or none at all, and as long as the relay takes it.
fn lead(text: &str) -> Result<Duration, String> {
    let lead = if matches!(text, "0" | "0s") { Ok(Duration::ZERO) } else { duration(text) };
    let lead = lead.ok().filter(|lead| lead.as_secs() <= 3600);
    lead.ok_or_else(|| "give 0s to 1h, such as 10s".to_owned())
}

fn range(text: &str) -> Result<(u64, Option<u64>), String> {
    let number =
        |text: &str| text.parse().map_err(|_| format!("{text:?} is no revision: write 12 or 12..15"));
    match text.split_once("..") {
        Some((from, to)) => Ok((number(from)?, Some(number(to)?))),
        None => Ok((number(text)?, None)),
    }
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    match verbs::run(cli) {
        Ok(()) => ExitCode::from(crate::error::DONE),
        Err(error) => ExitCode::from(error.report(json)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_and_ranges_are_read() {
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        for wrong in ["", "s", "0s", "25h", "1w", "-1s", "1.5s", "99999999999999999999h", "5é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(range("3..5"), Ok((3, Some(5))));
        assert_eq!(range("3"), Ok((3, None)));
        assert!(range("3-5").is_err());
    }
}
