//! `borderline check`: everything there is to say about a configuration, and a summary when it is good.

use std::fmt;
use std::path::{Path, PathBuf};

use ipnet::Ipv6Net;
use shown::Shown;

use super::address::is_checksum_neutral;
use super::error::{Problem, Problems, Warnings};
use super::machine::check_machine;
use super::model::{Config, Eam};

/// The outcome of [`check`]. Its `Display` is what the operator reads.
#[derive(Debug)]
pub struct CheckReport {
    /// The file checked.
    pub path: PathBuf,
    /// Why the configuration cannot be used. Exit code 2 unless empty.
    pub problems: Problems,
    /// What this machine lacks. No fault of the file, which may be meant for another machine: `run` refuses, `check`
    /// only says so.
    pub machine: Vec<Problem>,
    /// What works and is probably not meant.
    pub warnings: Warnings,
    /// What the configuration amounts to, if it is good.
    pub summary: Option<Summary>,
}

/// A good configuration in a few numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Port names.
    pub ports: Vec<String>,
    /// Worker CPUs.
    pub workers: Vec<u16>,
    /// Translation prefixes, and whether each is checksum neutral (RFC 6052 section 4.1).
    pub prefixes: Vec<(Ipv6Net, bool)>,
    /// Number of EAMs.
    pub eams: usize,
    /// [`table_hash`] of the EAMs.
    pub table_hash: u64,
}

impl CheckReport {
    /// Whether the configuration can be used.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Loads and validates the configuration at `path`.
pub fn check(path: &Path) -> CheckReport {
    let (config, report) = Config::read(path);
    let config = config.filter(|_| report.problems.is_empty());
    CheckReport {
        path: path.to_owned(),
        problems: report.problems,
        machine: config.as_ref().map(check_machine).unwrap_or_default(),
        warnings: report.warnings,
        summary: config.as_ref().map(Summary::new),
    }
}

impl Summary {
    /// Sums up a configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            ports: config.ports.iter().map(|port| port.name.clone()).collect(),
            workers: config.dpdk.workers.clone(),
            prefixes: config
                .translation
                .prefixes
                .iter()
                .map(|net| (*net, is_checksum_neutral(*net)))
                .collect(),
            eams: config.eams.len(),
            table_hash: table_hash(&config.eams),
        }
    }
}

/// Identifies a mapping table: equal on two relays exactly when they map the same prefixes, in whatever order and
/// with whatever comments. 64-bit FNV-1a over the rows in order; part of the interface, so it never changes.
pub fn table_hash(eams: &[Eam]) -> u64 {
    let mut rows: Vec<(u64, &Eam)> = eams.iter().map(|eam| (ipv4_key(eam), eam)).collect();
    rows.sort_unstable_by(|(left_key, left), (right_key, right)| {
        left_key.cmp(right_key).then_with(|| row_bytes(left).cmp(&row_bytes(right)))
    });
    rows.iter().flat_map(|(_, eam)| row_bytes(eam)).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn ipv4_key(eam: &Eam) -> u64 {
    u64::from(u32::from(eam.ipv4.network())) << 8 | u64::from(eam.ipv4.prefix_len())
}

fn row_bytes(eam: &Eam) -> [u8; 22] {
    let mut bytes = [0; 22];
    bytes[..4].copy_from_slice(&eam.ipv4.network().octets());
    bytes[4] = eam.ipv4.prefix_len();
    bytes[5..21].copy_from_slice(&eam.ipv6.network().octets());
    bytes[21] = eam.ipv6.prefix_len();
    bytes
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.problems, self.warnings)?;
        for problem in &self.machine {
            problem.write(f, "on this machine: ")?;
            writeln!(f)?;
        }
        let path = Shown(self.path.display());
        match &self.summary {
            Some(summary) => write!(f, "{path}: good\n{summary}"),
            None => writeln!(f, "{path}: {}", Count(self.problems.len(), "problem")),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers: Vec<String> = self.workers.iter().map(u16::to_string).collect();
        writeln!(f, "  {}: {}", Count(self.ports.len(), "port"), self.ports.join(", "))?;
        writeln!(f, "  {}: CPU {}", Count(self.workers.len(), "worker"), workers.join(", "))?;
        for (prefix, is_neutral) in &self.prefixes {
            let neutral = if *is_neutral { "yes" } else { "no" };
            writeln!(f, "  prefix {prefix}, checksum neutral: {neutral}")?;
        }
        writeln!(f, "  {}, table hash {:016x}", Count(self.eams, "EAM"), self.table_hash)
    }
}

struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{plural}", self.0, self.1)
    }
}
