//! The counters in one line of JSON, for SIGUSR1 and at the end.

use std::time::Duration;

use control::actor::{Counters, PortCounts};
use control::kernel::KernelCounters;
use dataplane::counters::{Counts, Event};
use dataplane::verdict::{DropReason, PuntReason};
use serde_json::{Map, Value, json};

/// All workers' counts added up, the exception path's, the mbufs in use, the reloads, lines of the log that were lost,
/// and how long the control thread was ever busy in one go.
pub(crate) fn json(counters: &Counters, log_lost: u64) -> Value {
    let Counters { workers, kernel, ports, mbufs_in_use, reloads, stalls, timings: _, hertz: _ } = counters;
    let mut sum = Counts::default();
    for counts in workers {
        sum.merge(counts);
    }
    kernel.lost.settle(&mut sum);
    json!({
        "received": sum.event(Event::Received),
        "originated": sum.originated(),
        "sent": sum.event(Event::Sent),
        "punted": nonzero(PuntReason::ALL.iter().map(|reason| (reason.name(), sum.punted(*reason)))),
        "dropped": nonzero(DropReason::ALL.iter().map(|reason| (reason.name(), sum.dropped(*reason)))),
        "events": nonzero(Event::ALL.iter().map(|event| (event.name(), sum.event(*event)))),
        "workers": workers.iter().map(worker).collect::<Vec<_>>(),
        "kernel": exception_path(kernel),
        "ports": ports.iter().map(|(name, counts)| port(name, counts)).collect::<Vec<_>>(),
        "mbufs_in_use": mbufs_in_use,
        "longest_us": {
            "actor": microseconds(stalls.actor.elapsed),
            "kernel": microseconds(stalls.kernel.elapsed),
        },
        "longest_own_us": {
            "actor": microseconds(stalls.actor.own),
            "kernel": microseconds(stalls.kernel.own),
        },
        "log_lines_lost": log_lost,
        "reloads": { "applied": reloads.applied, "refused": reloads.refused },
    })
}

fn worker(counts: &Counts) -> Value {
    json!({
        "received": counts.event(Event::Received),
        "sent": counts.event(Event::Sent),
        "busy_cycles": counts.event(Event::BusyCycles),
        "idle_cycles": counts.event(Event::IdleCycles),
        "sleep_cycles": counts.event(Event::SleepCycles),
    })
}

/// The driver's own counts. `missed` frames were lost before a worker could fetch them.
fn port(name: &str, counts: &PortCounts) -> Value {
    json!({
        "name": name,
        "received": counts.received,
        "sent": counts.sent,
        "missed": counts.missed,
        "errors": counts.receive_errors + counts.send_errors,
        "no_mbuf": counts.no_mbuf,
    })
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn exception_path(kernel: &KernelCounters) -> Value {
    let numbers = [
        ("injected", kernel.injected),
        ("inject_refused", kernel.inject_refused),
        ("unresolved_queued", kernel.unresolved_queued),
        ("unresolved_released", kernel.unresolved_released),
        ("neighbor_requests", kernel.neighbor_requests),
        ("neighbor_requests_refused", kernel.neighbor_requests_refused),
        ("slow_path", kernel.slow_path),
        ("neighbors_forgotten", kernel.neighbors_forgotten),
        ("netlink_overruns", kernel.netlink_overruns),
        ("netlink_dumps", kernel.netlink_dumps),
        ("netlink_unreadable", kernel.netlink_unreadable),
    ];
    let to_twin = PuntReason::ALL.iter().map(|reason| (reason.name(), kernel.to_twin[reason.index()]));
    let mut all = nonzero(numbers.into_iter());
    all.insert("to_twin".to_owned(), Value::Object(nonzero(to_twin)));
    Value::Object(all)
}

fn nonzero<'a>(numbers: impl Iterator<Item = (&'a str, u64)>) -> Map<String, Value> {
    numbers.filter(|(_, number)| *number > 0).map(|(name, number)| (name.to_owned(), number.into())).collect()
}
