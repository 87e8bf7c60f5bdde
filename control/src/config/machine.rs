//! Whether this machine has what a configuration asks for: CPUs online, hugepages reserved.

use std::fs;
use std::path::Path;

use super::error::{Problem, ProblemKind};
use super::model::{Config, Dpdk, Memory};

/// What the kernel says about CPUs.
const CPUS_ONLINE: &str = "/sys/devices/system/cpu/online";
/// One directory per page size, each with `nr_hugepages`.
const HUGEPAGES: &str = "/sys/kernel/mm/hugepages";
/// Kilobytes of the default huge page on the machines we know.
const DEFAULT_PAGE_KB: u64 = 2048;

/// Compares a configuration with the machine it is to run on. What the kernel does not tell is not complained about.
pub fn check_machine(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Ok(online) = fs::read_to_string(CPUS_ONLINE) {
        cpus(&config.dpdk, online.trim(), &mut problems);
    }
    if config.dpdk.memory == Memory::Hugepages {
        problems.extend(hugepages(&config.dpdk, reserved_kb(Path::new(HUGEPAGES))));
    }
    problems
}

fn cpus(dpdk: &Dpdk, online: &str, problems: &mut Vec<Problem>) {
    for (cpu, place) in dpdk.workers.iter().zip(&dpdk.places.workers) {
        if !contains(online, *cpu) {
            problems.push(Problem {
                place: place.clone(),
                key: "dpdk.workers".to_owned(),
                value: Some(cpu.to_string()),
                kind: ProblemKind::CpuOffline { online: online.to_owned() },
            });
        }
    }
}

/// The kernel's lists: `0-3,8,10-11`.
fn contains(list: &str, cpu: u16) -> bool {
    list.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&cpu))
    })
}

/// Pages reserved, used or not: the relay itself may be using them while its configuration is checked.
fn reserved_kb(directory: &Path) -> u64 {
    let sizes = fs::read_dir(directory).into_iter().flatten().flatten();
    let reserved = sizes.filter_map(|size| {
        let name = size.file_name();
        let page_kb: u64 = name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let pages: u64 = fs::read_to_string(size.path().join("nr_hugepages")).ok()?.trim().parse().ok()?;
        Some(pages.saturating_mul(page_kb))
    });
    reserved.sum()
}

fn hugepages(dpdk: &Dpdk, reserved_kb: u64) -> Option<Problem> {
    let needed_mb = u64::from(dpdk.memory_mb);
    if reserved_kb >= needed_mb * 1024 {
        return None;
    }
    let kind = ProblemKind::Hugepages {
        reserved_mb: reserved_kb / 1024,
        needed_mb,
        pages: (needed_mb * 1024).div_ceil(DEFAULT_PAGE_KB),
        page_kb: DEFAULT_PAGE_KB,
    };
    let place = dpdk.places.memory.clone();
    Some(Problem { place, key: "dpdk.memory_mb".to_owned(), value: Some(needed_mb.to_string()), kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::Place;
    use crate::config::model::{DpdkPlaces, Poll};

    fn dpdk(workers: &[u16]) -> Dpdk {
        let place = Place::file(Path::new("relay.toml"));
        Dpdk {
            workers: workers.to_vec(),
            memory: Memory::Hugepages,
            memory_mb: 512,
            poll: Poll::Adaptive,
            extra_args: Vec::new(),
            places: DpdkPlaces { workers: vec![place.clone(); workers.len()], memory: place },
        }
    }

    #[test]
    fn cpu_lists_are_read_as_the_kernel_writes_them() {
        for cpu in [0, 3, 8, 10, 11] {
            assert!(contains("0-3,8,10-11", cpu), "{cpu}");
        }
        for cpu in [4, 9, 12, 1023] {
            assert!(!contains("0-3,8,10-11", cpu), "{cpu}");
        }
        assert!(!contains("", 0));
    }

    #[test]
    fn a_missing_cpu_is_named_with_those_there_are() {
        let mut problems = Vec::new();
        cpus(&dpdk(&[1, 7]), "0-1", &mut problems);
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["relay.toml: dpdk.workers = 7: this machine has no such CPU online; use CPUs out of 0-1"]
        );
    }

    #[test]
    fn missing_hugepages_come_with_the_command_that_reserves_them() {
        assert_eq!(hugepages(&dpdk(&[1]), 512 * 1024), None);
        let problem = hugepages(&dpdk(&[1]), 0).unwrap().to_string();
        assert!(
            problem.contains("vm.nr_hugepages=256") && problem.contains("memory = \"no-huge\""),
            "{problem}"
        );
    }
}
