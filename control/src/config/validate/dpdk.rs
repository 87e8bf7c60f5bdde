//! `[dpdk]`.

use super::Report;
use crate::config::error::{Place, ProblemKind};
use crate::config::file::DpdkTable;
use crate::config::model::{Dpdk, DpdkPlaces, Memory, Poll};
use crate::config::tree::{At, Field, List};

/// Greatest CPU number the kernel's sets hold.
const CPU_MAX: u16 = 1023;
/// EAL has 128 lcores, one of which is the control thread's.
const WORKERS_MAX: usize = 127;

/// EAL arguments the relay gives, and the key that decides about each.
const RESERVED: &[(&str, &str)] = &[
    ("-l", "dpdk.workers"),
    ("-c", "dpdk.workers"),
    ("--lcores", "dpdk.workers"),
    ("--vdev", "port.device"),
    ("-a", "port.device"),
    ("--allow", "port.device"),
    ("--no-huge", "dpdk.memory"),
    ("--in-memory", "dpdk.memory"),
    ("-m", "dpdk.memory_mb"),
    ("--socket-mem", "dpdk.memory_mb"),
    ("--file-prefix", "nothing instead: relays do not share DPDK files"),
];

pub(in crate::config) fn dpdk(table: &DpdkTable, report: &mut Report) -> Dpdk {
    let workers = workers(table, report);
    let memory =
        report.choice(&table.memory, &["hugepages", "no-huge"], &[Memory::Hugepages, Memory::NoHuge]);
    Dpdk {
        memory,
        memory_mb: report.ranged(&table.memory_mb, 64, 1_048_576, 512),
        poll: report.choice(
            &table.poll,
            &["adaptive", "busy", "sleep"],
            &[Poll::Adaptive, Poll::Busy, Poll::Sleep],
        ),
        extra_args: extra_args(&table.extra_args, report),
        places: DpdkPlaces {
            workers: workers.iter().map(|worker| worker.place.clone()).collect(),
            memory: memory_place(table),
        },
        workers: workers.into_iter().map(|worker| worker.value).collect(),
    }
}

fn workers(table: &DpdkTable, report: &mut Report) -> Vec<At<u16>> {
    let Some(list) = report.required(&table.workers, &table.place, "dpdk.workers") else {
        return Vec::new();
    };
    report.not_empty(list);
    let count = list.value.items.len();
    if count > WORKERS_MAX {
        report.problems.push(list.key_finding(ProblemKind::TooManyWorkers { count, max: WORKERS_MAX }));
    }
    let cpus = list.value.items.iter().filter_map(|at| cpu(at, report).map(|cpu| (at, cpu))).collect();
    report.distinct(cpus)
}

fn cpu(at: &At<i64>, report: &mut Report) -> Option<u16> {
    let cpu = u16::try_from(at.value).ok().filter(|cpu| *cpu <= CPU_MAX);
    if cpu.is_none() {
        report.problems.push(at.finding(ProblemKind::OutOfRange { min: 0, max: CPU_MAX.into() }));
    }
    cpu
}

fn extra_args(field: &Field<List<String>>, report: &mut Report) -> Vec<String> {
    let Some(list) = field.given() else {
        return Vec::new();
    };
    let mut arguments = Vec::with_capacity(list.value.items.len());
    for at in &list.value.items {
        if !report.usable_text(at) {
            continue;
        }
        match reserved(&at.value) {
            Some((argument, instead)) => {
                report.problems.push(at.finding(ProblemKind::ReservedArgument { argument, instead }));
            }
            None => arguments.push(at.value.clone()),
        }
    }
    arguments
}

/// Recognises `--name`, `--name=value`, `-n` and `-nvalue`, as getopt does.
fn reserved(argument: &str) -> Option<(&'static str, &'static str)> {
    let matches = |name: &str| match argument.strip_prefix(name) {
        Some(rest) if name.starts_with("--") => rest.is_empty() || rest.starts_with('='),
        Some(_) => !argument.starts_with("--"),
        None => false,
    };
    RESERVED.iter().find(|(name, _)| matches(name)).copied()
}

fn memory_place(table: &DpdkTable) -> Place {
    let memory_mb = table.memory_mb.given().map(|at| &at.place);
    let memory = table.memory.given().map(|at| &at.place);
    memory_mb.or(memory).unwrap_or(&table.place).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_arguments_are_recognised_in_every_form() {
        for argument in
            ["-l", "-l1,2", "--lcores=0@1", "--lcores", "--vdev=net_null0", "-a", "-m512", "--allow=x"]
        {
            assert!(reserved(argument).is_some(), "{argument}");
        }
        for argument in
            ["--log-level=8", "--iova-mode=va", "-v", "--no-hpet", "--in-memoryx", "0000:00:01.0", "-n4"]
        {
            assert_eq!(reserved(argument), None, "{argument}");
        }
    }
}
