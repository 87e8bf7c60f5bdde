//! What the workers count: every event and every reason, worker by worker.

use control::actor::{Counters, Status};
use dataplane::counters::{Counts, Event};
use dataplane::timing::{self, Timings};
use dataplane::verdict::{DropReason, PuntReason};

use crate::page::{Kind, Page};
use crate::seconds;

/// Label and value that tell events of one family apart.
type Mark = Option<(&'static str, &'static str)>;

/// A metric: its name, its help, and the events it consists of.
type Named = (&'static str, &'static str, &'static [(Event, Mark)]);

/// Events that have a name of their own, or one together. All others are called as they are in `docs/counters.md`.
const NAMED: &[Named] = &[
    ("received_packets", "", &[(Event::Received, None)]),
    ("received_bytes", "", &[(Event::ReceivedBytes, None)]),
    ("sent_packets", "", &[(Event::Sent, None)]),
    ("sent_bytes", "", &[(Event::SentBytes, None)]),
    (
        "originated_packets",
        "Packets that the relay added: ICMP errors, second and later fragments, and frames of the kernel.",
        &[
            (Event::OriginatedIcmpErrors, Some(("reason", "icmp_error"))),
            (Event::OriginatedFragments, Some(("reason", "fragment"))),
            (Event::OriginatedKernel, Some(("reason", "kernel"))),
        ],
    ),
    (
        "translated_packets",
        "Packets translated, by direction. If one stands still: are service pool and prefix still routed to the relay?",
        &[
            (Event::TranslatedV4ToV6, Some(("direction", "v4_to_v6"))),
            (Event::TranslatedV6ToV4, Some(("direction", "v6_to_v4"))),
        ],
    ),
    ("hairpinned_packets", "", &[(Event::Hairpinned, None)]),
    ("native_packets", "", &[(Event::Native, None)]),
    (
        "icmp_errors_withheld",
        "ICMP errors not sent: for their rate, because they are off, because the rules forbid one, or for lack of a \
         route, a source or a buffer.",
        &[
            (Event::IcmpErrorsRateLimited, Some(("reason", "rate_limited"))),
            (Event::IcmpErrorsOff, Some(("reason", "off"))),
            (Event::IcmpErrorsForbidden, Some(("reason", "forbidden"))),
            (Event::IcmpErrorsUnsendable, Some(("reason", "unsendable"))),
        ],
    ),
];

/// Events in cycles, which are seconds for others.
const TIMES: &[(&str, Event)] = &[
    ("worker_busy_seconds", Event::BusyCycles),
    ("worker_idle_seconds", Event::IdleCycles),
    ("worker_sleep_seconds", Event::SleepCycles),
];

/// A worker as labels have it: its place in the configuration.
struct Worker<'c> {
    name: String,
    counts: &'c Counts,
}

pub(crate) fn families(page: &mut Page, counters: &Counters, status: &Status) {
    info(page, status);
    let workers = counters.workers.iter().enumerate();
    let workers: Vec<Worker<'_>> =
        workers.map(|(number, counts)| Worker { name: number.to_string(), counts }).collect();
    for (name, help, events) in NAMED {
        let help = if help.is_empty() { events[0].0.description() } else { help };
        page.family(name, Kind::Counter, help);
        for (event, mark) in *events {
            event_samples(page, &workers, *event, *mark);
        }
    }
    let is_named =
        |event: &Event| NAMED.iter().any(|(.., events)| events.iter().any(|(named, _)| named == event));
    let is_time = |event: &Event| TIMES.iter().any(|(_, time)| time == event);
    for event in Event::ALL.iter().filter(|event| !is_named(event) && !is_time(event)) {
        page.family(event.name(), Kind::Counter, event.description());
        event_samples(page, &workers, *event, None);
    }
    page.family("worker_clock_hertz", Kind::Gauge, "Cycles of the workers' clock in a second.");
    page.sample(&[], counters.hertz);
    for (name, event) in TIMES {
        page.family(name, Kind::Counter, &event.description().replace("TSC cycles", "Time"));
        for worker in &workers {
            page.real(&[("worker", &worker.name)], seconds(worker.counts.event(*event), counters.hertz));
        }
    }
    reasons(page, &workers, counters);
    timings(page, counters);
}

fn info(page: &mut Page, status: &Status) {
    page.family("worker", Kind::Info, "The CPU of the worker.");
    for (number, worker) in status.workers.iter().enumerate() {
        page.sample(&[("worker", &number.to_string()), ("cpu", &worker.cpu.to_string())], 1);
    }
    page.family(
        "worker_load_ratio",
        Kind::Gauge,
        "Share of the last second that the worker spent on packets. Near 1 it is at its limit.",
    );
    for (number, worker) in status.workers.iter().enumerate() {
        page.real(&[("worker", &number.to_string())], (worker.load * 1e4).round() / 1e4);
    }
}

fn event_samples(page: &mut Page, workers: &[Worker<'_>], event: Event, mark: Mark) {
    for worker in workers {
        let labels = [("worker", worker.name.as_str())];
        let value = worker.counts.event(event);
        match mark {
            Some(mark) => page.sample(&[labels[0], mark], value),
            None => page.sample(&labels, value),
        }
    }
}

fn reasons(page: &mut Page, workers: &[Worker<'_>], counters: &Counters) {
    page.family(
        "punted_packets",
        Kind::Counter,
        "Packets handed to the control thread for the kernel, by reason. Those it could not bring to their end are \
         among the dropped as well, with worker=\"control\".",
    );
    for reason in PuntReason::ALL {
        by_reason(page, workers, reason.name(), |counts| counts.punted(*reason));
    }
    page.family(
        "dropped_packets",
        Kind::Counter,
        "Packets dropped, by reason; docs/counters.md says what to look at for each. worker=\"control\": dropped on the \
         way to the kernel, after they had been counted as punted.",
    );
    for reason in DropReason::ALL {
        by_reason(page, workers, reason.name(), |counts| counts.dropped(*reason));
        let lost = counters.kernel.lost.dropped(*reason);
        if lost > 0 {
            page.sample(&[("worker", "control"), ("reason", reason.name())], lost);
        }
    }
}

fn by_reason(page: &mut Page, workers: &[Worker<'_>], reason: &str, value: impl Fn(&Counts) -> u64) {
    for (number, worker) in workers.iter().enumerate() {
        let value = value(worker.counts);
        if number == 0 || value > 0 {
            page.sample(&[("worker", &worker.name), ("reason", reason)], value);
        }
    }
}

/// One number of a cost.
type Pick = fn(timing::Cost) -> u64;

fn timings(page: &mut Page, counters: &Counters) {
    let workers: Vec<(String, &Timings)> =
        counters.timings.iter().enumerate().map(|(number, timings)| (number.to_string(), timings)).collect();
    let hertz = counters.hertz;
    page.histogram("turn_seconds", "Time of a worker's turns with packets: one burst from each port.");
    for (worker, timings) in &workers {
        let turns = &timings.turns;
        page.buckets(&[("worker", worker)], &timing::BOUNDS, &turns.counts, seconds(turns.cycles, hertz));
    }
    page.histogram(
        "packet_stay_seconds",
        "Time a packet is in the box, from being fetched to being handed to a port, of all workers: one in 64 turns.",
    );
    let mut stay = timing::Histogram::default();
    counters.timings.iter().for_each(|timings| stay.merge(&timings.stay));
    page.buckets(&[], &timing::BOUNDS, &stay.counts, seconds(stay.cycles, hertz));
    let costs: [(&str, &str, Pick); 2] = [
        ("sampled_packets", "Packets of the turns whose cycles are counted, one in 64.", |cost| cost.packets),
        (
            "sampled_cycles",
            "Cycles that the sampled packets took, by what became of them. Divided by the sampled packets: cycles per packet.",
            |cost| cost.cycles,
        ),
    ];
    for (name, help, value) in costs {
        page.family(name, Kind::Counter, help);
        for (worker, timings) in &workers {
            for kind in timing::Kind::ALL {
                let labels = [
                    ("worker", worker.as_str()),
                    ("direction", kind.direction()),
                    ("verdict", kind.verdict()),
                ];
                page.sample(&labels, value(timings.cost(*kind)));
            }
        }
    }
}
