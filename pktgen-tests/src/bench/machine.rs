//! The machine a result belongs to.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use dataplane::dpdk::tsc;
use serde::{Deserialize, Serialize};

use crate::lab::Cmd;

/// What has to be known about a machine to judge a number from it. Empty where the machine does not tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Machine {
    /// Model name of the processor.
    pub(super) cpu: String,
    /// Microcode revision.
    pub(super) microcode: String,
    /// Processors online.
    pub(super) cores: usize,
    /// Frequency of the time stamp counter, in which cycles are counted.
    pub(super) tsc_mhz: f64,
    /// Caches of the first processor.
    pub(super) caches: String,
    /// Main memory.
    pub(super) memory_gb: u64,
    /// Kernel release.
    pub(super) kernel: String,
    /// Frequency governor of the first processor.
    pub(super) governor: String,
    /// Pages of 2 MB that are reserved.
    pub(super) hugepages: u64,
    /// Hypervisor, or `none`.
    pub(super) virtualization: String,
    /// DPDK's version.
    pub(super) dpdk: String,
    /// Compiler.
    pub(super) rustc: String,
    /// Commit of the working tree.
    pub(super) revision: String,
    /// Whether the working tree had changes that are not in the commit.
    pub(super) dirty: bool,
    /// Load average of the last minute at the start: what else ran.
    pub(super) load: f64,
    /// When, in UTC.
    pub(super) date: String,
}

impl Machine {
    /// Describes this machine and the source tree.
    #[must_use]
    pub(super) fn here(tree: &Path) -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let git = |args: &str| output(Cmd::new("git").arg("-C").arg(tree.display().to_string()).args(args));
        Self {
            cpu: field(&cpuinfo, "model name"),
            microcode: field(&cpuinfo, "microcode"),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            tsc_mhz: tsc_mhz(),
            caches: caches(Path::new("/sys/devices/system/cpu/cpu0/cache")),
            memory_gb: memory_gb(&read("/proc/meminfo")),
            kernel: read("/proc/sys/kernel/osrelease"),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            hugepages: read("/proc/sys/vm/nr_hugepages").parse().unwrap_or(0),
            virtualization: virtualization(&cpuinfo),
            dpdk: output(Cmd::new("pkg-config").args("--modversion libdpdk")),
            rustc: output(Cmd::new("rustc").arg("--version")),
            revision: git("rev-parse --short=12 HEAD"),
            dirty: !git("status --porcelain --untracked-files=no").is_empty(),
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            date: output(Cmd::new("date").args("-u +%Y-%m-%dT%H:%M:%SZ")),
        }
    }

    /// What keeps the figures of two machines from being compared, one line for each difference; empty when nothing
    /// does.
    #[must_use]
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let of = |name: &str, here: &str, there: &str| {
            (here != there).then(|| format!("  {name}: here `{here}`, there `{there}`"))
        };
        [
            of("CPU", &self.cpu, &other.cpu),
            of("cores", &self.cores.to_string(), &other.cores.to_string()),
            of("kernel", &self.kernel, &other.kernel),
            of("DPDK", &self.dpdk, &other.dpdk),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Name and value of everything known, for a table.
    #[must_use]
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let dirty = if self.dirty { ", with uncommitted changes" } else { "" };
        [
            ("CPU", self.cpu.clone()),
            ("microcode", self.microcode.clone()),
            ("cores", self.cores.to_string()),
            ("TSC", format!("{:.0} MHz", self.tsc_mhz)),
            ("caches", self.caches.clone()),
            ("memory", format!("{} GB", self.memory_gb)),
            ("kernel", self.kernel.clone()),
            ("governor", self.governor.clone()),
            ("hugepages", format!("{} of 2 MB", self.hugepages)),
            ("virtualisation", self.virtualization.clone()),
            ("DPDK", self.dpdk.clone()),
            ("compiler", self.rustc.clone()),
            ("revision", format!("{}{dirty}", self.revision)),
            ("load at the start", format!("{:.1}", self.load)),
            ("date", self.date.clone()),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn output(command: Cmd) -> String {
    command.ok().map(|output| output.stdout.trim().to_owned()).unwrap_or_default()
}

/// Cycles in a twentieth of a second.
fn tsc_mhz() -> f64 {
    let (start, before) = (Instant::now(), tsc());
    thread::sleep(Duration::from_millis(50));
    let (elapsed, after) = (start.elapsed(), tsc());
    #[expect(clippy::cast_precision_loss, reason = "a twentieth of a second has fewer cycles than 2^52")]
    let cycles = (after - before) as f64;
    cycles / elapsed.as_secs_f64() / 1e6
}

/// The first line of that name in `/proc/cpuinfo`.
fn field(cpuinfo: &str, name: &str) -> String {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

fn memory_gb(meminfo: &str) -> u64 {
    let kilobytes: u64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0);
    kilobytes.div_ceil(1 << 20)
}

/// For example `L1d 48K, L1i 32K, L2 2048K, L3 266240K`.
fn caches(directory: &Path) -> String {
    let of =
        |index: u32, name: &str| read(&directory.join(format!("index{index}/{name}")).display().to_string());
    let described = (0..8).map(|index| (of(index, "level"), of(index, "type"), of(index, "size")));
    let levels = described.take_while(|(level, ..)| !level.is_empty()).map(|(level, kind, size)| {
        let suffix = match kind.as_str() {
            "Data" => "d",
            "Instruction" => "i",
            _ => "",
        };
        format!("L{level}{suffix} {size}")
    });
    levels.collect::<Vec<_>>().join(", ")
}

fn virtualization(cpuinfo: &str) -> String {
    let detected = Cmd::new("systemd-detect-virt").run().map(|output| output.stdout.trim().to_owned());
    match detected {
        Ok(name) if !name.is_empty() => name,
        _ if field(cpuinfo, "flags").split(' ').any(|flag| flag == "hypervisor") => "hypervisor".into(),
        _ => "none".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_described() {
        let machine = Machine::here(Path::new(env!("CARGO_MANIFEST_DIR")));
        assert!(machine.tsc_mhz > 10.0);
        assert!(machine.cores > 0 && machine.memory_gb > 0 && !machine.kernel.is_empty());
        assert!(machine.rustc.starts_with("rustc ") && machine.date.ends_with('Z'), "{machine:?}");
        assert!(machine.differences(&machine).is_empty());
        assert!(machine.facts().iter().all(|(_, value)| !value.is_empty()));
    }

    #[test]
    fn only_what_changes_figures_counts_as_another_machine() {
        let here = Machine {
            cpu: "A".into(),
            cores: 2,
            kernel: "6.1".into(),
            dpdk: "22".into(),
            ..Machine::default()
        };
        let later = Machine { load: 9.0, date: "later".into(), revision: "other".into(), ..here.clone() };
        assert!(here.differences(&later).is_empty());
        let there =
            Machine { cpu: "B".into(), cores: 4, kernel: "6.2".into(), dpdk: "23".into(), ..here.clone() };
        let lines = here.differences(&there);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0], "  CPU: here `A`, there `B`");
    }

    #[test]
    fn fields_are_found_in_cpuinfo() {
        let cpuinfo =
            "processor\t: 0\nmodel name\t: X: Y\ncpu MHz\t\t: 2600.000\nflags\t\t: fpu hypervisor\n";
        assert_eq!(field(cpuinfo, "model name"), "X: Y");
        assert_eq!(field(cpuinfo, "microcode"), "");
        assert_eq!(memory_gb("MemTotal:       24117248 kB\n"), 23);
    }
}
