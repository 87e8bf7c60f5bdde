//! A relay of numbers: every counter of every worker is there, and none is zero.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control::actor::{
    Activity, Counters, Flow, InService, LastReload, Link, Longest, PortCounts, PortFacts, PortStatus,
    Reloads, Stalls, Status, WorkerStatus,
};
use control::announce::{Announcement, Destination, Standing};
use control::health::{Audit, Clients, HealthTest, Scope, TableDigest, TestName, TestState};
use control::kernel::{FailingHop, Fill, KernelCounters, QueueWaits, Queues, RingFills, WaitingHop, Waits};
use control::observe::{DropRow, Rates};
use control_metrics::{Format, LastExit, Mappings, NextHop, Readings, Revision, Store, render};
use dataplane::counters::{Counts, Event};
use dataplane::memory::MemoryBuffer;
use dataplane::meter::Traffic;
use dataplane::sink::Sink;
use dataplane::table::routing::InterfaceId;
use dataplane::timing::{Cost, Histogram, Timings};
use dataplane::verdict::{DropReason, PuntReason, Verdict};
use ipnet::{IpNet, Ipv4Net};

/// What the actor would hand out.
pub(crate) struct Relay {
    pub(crate) counters: Counters,
    pub(crate) status: Status,
    pub(crate) busiest: Vec<(Ipv4Net, Traffic)>,
    pub(crate) drops: Vec<DropRow>,
    pub(crate) failing: Vec<NextHop>,
}

/// The counts of a worker; `factor` tells workers apart, `doublings` makes them large.
pub(crate) fn counts(factor: u64, doublings: u32) -> Counts {
    counts_of(factor, doublings, 1)
}

/// The counts of a worker at which every third reason happened.
pub(crate) fn some_reasons(doublings: u32) -> Counts {
    counts_of(1, doublings, 3)
}

fn counts_of(factor: u64, doublings: u32, every: usize) -> Counts {
    let mut sink = Sink::default();
    let end = |sink: &mut Sink<MemoryBuffer>, verdict| {
        for _ in 0..factor {
            sink.finish(MemoryBuffer::new(&[0]), verdict);
        }
    };
    PuntReason::ALL.iter().step_by(every).for_each(|reason| end(&mut sink, Verdict::Punted(*reason)));
    DropReason::ALL.iter().step_by(every).for_each(|reason| end(&mut sink, Verdict::Dropped(*reason)));
    for (number, event) in (1..).zip(Event::ALL) {
        sink.counts.add(*event, factor * number);
    }
    for _ in 0..doublings {
        let once = sink.counts.clone();
        sink.counts.merge(&once);
    }
    sink.counts
}

/// So many seconds after a moment that everybody knows.
fn moment(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn flow(seconds: u64) -> Flow {
    Flow { packets_per_second: 5, bits_per_second: 6, idle: Some(Duration::from_secs(seconds)) }
}

fn drop_row(reason: DropReason) -> DropRow {
    let number = reason.index() as u64 + 1;
    let rates = Rates {
        count: 100 * number,
        rate: 1.0,
        rate_1m: 2.0,
        rate_1h: 3.0,
        first_seen: Some(moment(number)),
        last_seen: Some(moment(1000 + number)),
        persistent_since: Some(moment(500 + number)),
    };
    DropRow { reason, rates, sampled: number, samples_lost: 99 * number, one_in: 16 }
}

fn next_hop(number: u64) -> NextHop {
    NextHop {
        address: format!("2001:db8:12:34:ffff:ffff:ffff:{number}"),
        interface: "bl-datacentre.4000".into(),
        service: Some(format!("198.51.100.{number}")),
        lost: 40 + number,
        since: Duration::from_secs(90 + number),
        last: Duration::from_secs(number),
    }
}

/// More tests, destinations and parts of tables than fit on a page.
fn service(workers: usize) -> InService {
    let test = |name, subject: String, state| HealthTest {
        name,
        subject,
        state,
        since: moment(7),
        why: "for no reason".into(),
        scope: Scope::Everything,
    };
    let pool = |number: u16| IpNet::V4(Ipv4Net::from(Ipv4Addr::from_bits(u32::from(number) << 16)));
    let health = (0..workers).map(|worker| {
        let state = if worker == 0 { TestState::Failing } else { TestState::Passing };
        test(TestName::Pipeline, format!("worker {worker} (CPU {worker})"), state)
    });
    let mappings =
        (0..1000).map(|number| test(TestName::Mappings, pool(number).to_string(), TestState::Passing));
    let routing = test(TestName::Routing, String::new(), TestState::Unknown);
    let destination = |number| Destination {
        prefix: pool(number),
        metric: number.is_multiple_of(2).then_some(4242),
        why: String::new(),
    };
    let parts = (0..u16::MAX).map(|part| (Some(part), (TableDigest::default(), 15)));
    InService {
        health: mappings.chain(health).chain([routing]).collect(),
        announcement: Announcement {
            standing: Standing::Announcing,
            destinations: (0..1000).map(destination).collect(),
            drain: None,
            translated_pps: 3,
        },
        senders: Vec::new(),
        audit: Some(Audit {
            generation: 7,
            digest: TableDigest::default(),
            mappings: 1_000_000,
            parts: Arc::new(parts.collect()),
            damaged_since: None,
            samples: BTreeMap::new(),
            clients: Clients::default(),
        }),
        settings: "ab".repeat(32),
    }
}

fn longest(microseconds: u64) -> Longest {
    let own = Duration::from_micros(microseconds);
    Longest { elapsed: 2 * own, own }
}

fn queues(workers: usize) -> Queues {
    let fill = |used| Fill { used, highest: used * 2, capacity: 262_144 };
    let rings = |worker| RingFills {
        urgent: fill(100 + worker),
        other: fill(200 + worker),
        inject: fill(300 + worker),
    };
    let hop = |number: u32| (InterfaceId(0), IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)));
    let waiting = |number| WaitingHop {
        interface: hop(number).0,
        next_hop: hop(number).1,
        packets: 3,
        oldest: Duration::from_millis(250),
    };
    let failing = |number| FailingHop {
        interface: hop(number).0,
        next_hop: hop(number).1,
        lost: 41,
        since: Duration::from_secs(90),
        last: Duration::from_secs(1),
    };
    let waits = |factor| Waits {
        counts: std::array::from_fn(|bucket| factor * bucket as u64),
        sum: Duration::from_millis(factor * 5),
        longest: Duration::from_millis(factor),
    };
    Queues {
        rings: (0..workers).map(rings).collect(),
        waiting: (0..9).map(waiting).collect(),
        failing: (0..30).map(failing).collect(),
        waits: QueueWaits { urgent: waits(1), other: waits(2), neighbor: waits(3) },
    }
}

impl Relay {
    pub(crate) fn new(ports: usize, workers: u64, doublings: u32) -> Self {
        let timing = |worker: u64| {
            let histogram = |factor| Histogram {
                counts: std::array::from_fn(|bucket| factor * bucket as u64),
                cycles: factor * 999,
            };
            let costs =
                std::array::from_fn(|kind| Cost { packets: worker + kind as u64, cycles: worker * 1000 });
            Timings { turns: histogram(worker << doublings), stay: histogram(worker), costs }
        };
        let port = |number: usize| {
            let count = |factor: u64| (factor + number as u64) << doublings;
            PortStatus {
                facts: PortFacts {
                    name: format!("port{number}"),
                    device: format!("net_null{number}"),
                    driver: "net_null".into(),
                    interface: None,
                    mac: [2; 6],
                    mtu: 1500,
                },
                twin: format!("bl-port{number}"),
                link: Some(Link { up: true, speed_mbps: Some(100_000) }),
                counts: PortCounts {
                    received: count(1),
                    sent: count(2),
                    received_bytes: count(3),
                    sent_bytes: count(4),
                    missed: count(5),
                    receive_errors: count(6),
                    send_errors: count(7),
                    no_mbuf: count(8),
                },
                activity: Activity { received: flow(10 + number as u64), sent: flow(20 + number as u64) },
            }
        };
        let all: Vec<Counts> = (1..=workers).map(|worker| counts(worker, doublings)).collect();
        let worker = |(cpu, counts): (u16, &Counts)| WorkerStatus {
            cpu,
            load: 0.25,
            packets_per_second: 1,
            counts: counts.clone(),
        };
        let mut kernel = KernelCounters::default();
        kernel.to_twin.fill(7);
        kernel.lost.count(PuntReason::UnresolvedNextHop, DropReason::NeighborWaitExpired, 1);
        let ports: Vec<PortStatus> = (0..ports).map(port).collect();
        let mapping = |number: u32| {
            let count = |factor: u64| (factor + u64::from(number)) << doublings;
            let traffic = Traffic { packets: [count(1), count(2)], bytes: [count(3), count(4)] };
            (Ipv4Net::from(Ipv4Addr::from_bits(0xc633_6400 + number)), traffic)
        };
        Self {
            busiest: (0..150).map(mapping).collect(),
            drops: DropReason::ALL.iter().map(|reason| drop_row(*reason)).collect(),
            failing: (0..30).map(next_hop).collect(),
            status: Status {
                uptime: Duration::from_millis(4321),
                generation: 7,
                eams: 1_000_000,
                reloads: Reloads::default(),
                reading_since: None,
                translating: true,
                workers: (1..).zip(&all).map(worker).collect(),
                ports: ports.clone(),
                complaints: Vec::new(),
                last_reload: Some(LastReload { at: moment(70), applied: false, text: "refused".into() }),
                service: service(all.len()),
                queues: queues(all.len()),
                kernel: kernel.clone(),
                stalls: Stalls::default(),
            },
            counters: Counters {
                timings: (1..=workers).map(timing).collect(),
                workers: all,
                kernel,
                ports: ports.into_iter().map(|port| (port.facts.name, port.counts)).collect(),
                mbufs_in_use: 12_345,
                reloads: Reloads { applied: 2, refused: 1 },
                stalls: Stalls { actor: longest(30), kernel: longest(400) },
                hertz: 2_500_000_000,
            },
        }
    }

    pub(crate) fn readings(&self) -> Readings<'_> {
        Readings {
            counters: &self.counters,
            status: &self.status,
            version: "0.1.0",
            build: "abcdef0",
            complaints: 1,
            log_lines_lost: 3,
            mappings: Some(Mappings { busiest: &self.busiest, uncounted: 5, memory: 64 << 20 }),
            store: Some(Store {
                revision: Revision { id: 12, is_pending: true, staged: 4 },
                last_exit: Some(LastExit {
                    at: 1_700_000_050,
                    orderly: false,
                    cause: "it was killed ".repeat(40),
                    ran: 4711,
                }),
                files_changed: 2,
            }),
            drops: &self.drops,
            failing: &self.failing,
        }
    }

    pub(crate) fn page(&self, format: Format) -> String {
        render(&self.readings(), format)
    }
}

/// Runs a program with `input`.
pub(crate) fn pipe(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; scripts/test installs what tests need"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
