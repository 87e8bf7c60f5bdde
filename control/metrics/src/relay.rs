//! The relay as a whole, and the way between workers and kernel.

use control::kernel::KernelCounters;
use dataplane::verdict::PuntReason;

use crate::page::{Kind, Page};
use crate::{Readings, Store};

pub(crate) fn families(page: &mut Page, readings: &Readings<'_>) {
    let Readings { counters, status, .. } = readings;
    page.family("build", Kind::Info, "The program.");
    page.sample(&[("version", readings.version), ("build", readings.build)], 1);
    let gauges = [
        (
            "translating",
            "Whether the workers have the kernel's routes and translate.",
            u64::from(status.translating),
        ),
        (
            "complaints",
            "What is wrong at the moment: sentences of `borderctl status`. 0 is good.",
            readings.complaints,
        ),
        ("mappings", "Explicit address mappings in use.", status.eams as u64),
        ("tables_generation", "Publications of tables to the workers so far.", status.generation),
        ("packet_buffers_in_use", "Packet buffers that are not in the pool.", counters.mbufs_in_use as u64),
    ];
    for (name, help, value) in gauges {
        page.family(name, Kind::Gauge, help);
        page.sample(&[], value);
    }
    page.family("uptime_seconds", Kind::Gauge, "Time since the start.");
    page.real(&[], status.uptime.as_secs_f64());
    if let Some(Store { revision, .. }) = &readings.store {
        let gauges = [
            ("revision", "Revision of the stored mappings that is in force.", revision.id),
            ("revision_pending", "Whether it is undone unless confirmed.", u64::from(revision.is_pending)),
            ("staged_changes", "Changes of mappings that are staged and not committed.", revision.staged),
        ];
        for (name, help, value) in gauges {
            page.family(name, Kind::Gauge, help);
            page.sample(&[], value);
        }
    }
    page.family(
        "reloads",
        Kind::Counter,
        "Reloads of the configuration; one that is refused changes nothing.",
    );
    page.sample(&[("result", "applied")], counters.reloads.applied);
    page.sample(&[("result", "refused")], counters.reloads.refused);
    page.family(
        "control_longest_seconds",
        Kind::Gauge,
        "The longest time a task kept the control thread in one go.",
    );
    page.real(&[("task", "actor")], counters.stalls.actor.elapsed.as_secs_f64());
    page.real(&[("task", "kernel")], counters.stalls.kernel.elapsed.as_secs_f64());
    page.family(
        "control_longest_own_seconds",
        Kind::Gauge,
        "The same without what others took of the processor meanwhile.",
    );
    page.real(&[("task", "actor")], counters.stalls.actor.own.as_secs_f64());
    page.real(&[("task", "kernel")], counters.stalls.kernel.own.as_secs_f64());
    page.family("log_lines_lost", Kind::Counter, "Lines of the log that its reader did not take in time.");
    page.sample(&[], readings.log_lines_lost);
}

pub(crate) fn exception_path(page: &mut Page, kernel: &KernelCounters) {
    page.family("to_twin_packets", Kind::Counter, "Frames given to a kernel twin, by reason.");
    for reason in PuntReason::ALL {
        page.sample(&[("reason", reason.name())], kernel.to_twin[reason.index()]);
    }
    let counts = [
        ("injected_packets", "Frames of the kernel handed to a worker.", kernel.injected),
        (
            "inject_refused_packets",
            "Frames of the kernel refused by a full ring: the worker does not keep up.",
            kernel.inject_refused,
        ),
        ("neighbor_waits", "Packets that began to wait for a link-layer address.", kernel.unresolved_queued),
        ("neighbor_waits_ended", "Packets sent once the address was known.", kernel.unresolved_released),
        (
            "slow_path_packets",
            "Packets sent by the control thread although their next hop was known: a worker had not heard of it yet.",
            kernel.slow_path,
        ),
        (
            "neighbor_requests",
            "Times the kernel was asked to resolve or confirm a neighbour.",
            kernel.neighbor_requests,
        ),
        (
            "neighbor_requests_refused",
            "Such requests it refused: its table is full (gc_thresh3), or the interface down.",
            kernel.neighbor_requests_refused,
        ),
        (
            "neighbors_forgotten",
            "Neighbours that did not answer, removed to make room.",
            kernel.neighbors_forgotten,
        ),
        (
            "netlink_overruns",
            "Times notifications of the kernel were lost and all was read again.",
            kernel.netlink_overruns,
        ),
        ("netlink_dumps", "Complete readings of the kernel's state.", kernel.netlink_dumps),
        ("netlink_unreadable", "Messages of the kernel that could not be read.", kernel.netlink_unreadable),
    ];
    for (name, help, value) in counts {
        page.family(name, Kind::Counter, help);
        page.sample(&[], value);
    }
}
