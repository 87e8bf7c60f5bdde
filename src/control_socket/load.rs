//! What moves, as the socket shows it.

use control::actor::{Counters, Status};
use control_api::{CostLoad, Load, PortLoad, ReasonLoad, Traffic, WorkerLoad};
use dataplane::counters::{Counts, Event};
use dataplane::timing::{Cost, Kind};
use dataplane::verdict::DropReason;

use crate::meters::{self, Meters};

/// Busiest mappings that are shown.
pub(crate) const BUSIEST: usize = 100;

pub(super) fn load(
    status: &Status,
    counters: &Counters,
    meters: &Meters,
    known: impl Fn(&str) -> Option<(String, String)>,
) -> Load {
    let busiest = meters.ranked(BUSIEST);
    let mapping = |(prefix, traffic): (ipnet::Ipv4Net, _)| {
        let ipv4 = prefix.to_string();
        let mapping = known(&ipv4);
        meters::load(ipv4, mapping, traffic)
    };
    Load {
        at_ns: u64::try_from(status.uptime.as_nanos()).unwrap_or(u64::MAX),
        hertz: counters.hertz,
        ports: ports(status),
        workers: counters
            .workers
            .iter()
            .zip(&status.workers)
            .map(|(counts, status)| worker(counts, status.cpu))
            .collect(),
        costs: Kind::ALL.iter().map(|kind| cost(*kind, counters)).collect(),
        drops: drops(counters),
        mapping_counters: meters.kind(),
        mappings: busiest.into_iter().map(mapping).collect(),
    }
}

fn ports(status: &Status) -> Vec<PortLoad> {
    let port = |port: &control::actor::PortStatus| {
        let counts = &port.counts;
        PortLoad {
            name: port.facts.name.clone(),
            up: port.link.is_some_and(|link| link.up),
            speed_mbps: port.link.and_then(|link| link.speed_mbps),
            receive: Traffic { packets: counts.received, bytes: counts.received_bytes },
            transmit: Traffic { packets: counts.sent, bytes: counts.sent_bytes },
            missed: counts.missed,
            errors: counts.receive_errors + counts.send_errors,
            no_mbuf: counts.no_mbuf,
        }
    };
    status.ports.iter().map(port).collect()
}

fn worker(counts: &Counts, cpu: u16) -> WorkerLoad {
    WorkerLoad {
        cpu,
        received: counts.event(Event::Received),
        sent: counts.event(Event::Sent),
        busy_cycles: counts.event(Event::BusyCycles),
        idle_cycles: counts.event(Event::IdleCycles),
    }
}

fn cost(kind: Kind, counters: &Counters) -> CostLoad {
    let mut sum = Cost::default();
    for timings in &counters.timings {
        let Cost { packets, cycles } = timings.cost(kind);
        sum = Cost { packets: sum.packets + packets, cycles: sum.cycles + cycles };
    }
    CostLoad {
        direction: kind.direction().to_owned(),
        verdict: kind.verdict().to_owned(),
        packets: sum.packets,
        cycles: sum.cycles,
    }
}

/// As `borderctl counters` has them.
fn drops(counters: &Counters) -> Vec<ReasonLoad> {
    let mut sum = Counts::default();
    counters.workers.iter().for_each(|counts| sum.merge(counts));
    counters.kernel.lost.settle(&mut sum);
    let reason =
        |reason: &DropReason| ReasonLoad { reason: reason.name().to_owned(), count: sum.dropped(*reason) };
    DropReason::ALL.iter().map(reason).filter(|reason| reason.count > 0).collect()
}
