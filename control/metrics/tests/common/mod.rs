//! A relay of numbers: every counter of every worker is there, and none is zero.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use control::actor::{
    Activity, Counters, InService, Link, PortCounts, PortFacts, PortStatus, Reloads, Stalls, Status,
    WorkerStatus,
};
use control::announce::{Announcement, Standing};
use control::kernel::{KernelCounters, Queues};
use control_metrics::{Format, Mappings, Readings, Revision, render};
use dataplane::counters::{Counts, Event};
use dataplane::memory::MemoryBuffer;
use dataplane::meter::Traffic;
use dataplane::sink::Sink;
use dataplane::timing::{Cost, Histogram, Timings};
use dataplane::verdict::{DropReason, PuntReason, Verdict};
use ipnet::Ipv4Net;

/// What the actor would hand out.
pub(crate) struct Relay {
    pub(crate) counters: Counters,
    pub(crate) status: Status,
    pub(crate) busiest: Vec<(Ipv4Net, Traffic)>,
}

/// The counts of a worker; `factor` tells workers apart, `doublings` makes them large.
pub(crate) fn counts(factor: u64, doublings: u32) -> Counts {
    let mut sink = Sink::default();
    let end = |sink: &mut Sink<MemoryBuffer>, verdict| {
        for _ in 0..factor {
            sink.finish(MemoryBuffer::new(&[0]), verdict);
        }
    };
    PuntReason::ALL.iter().for_each(|reason| end(&mut sink, Verdict::Punted(*reason)));
    DropReason::ALL.iter().for_each(|reason| end(&mut sink, Verdict::Dropped(*reason)));
    for (number, event) in (1..).zip(Event::ALL) {
        sink.counts.add(*event, factor * number);
    }
    for _ in 0..doublings {
        let once = sink.counts.clone();
        sink.counts.merge(&once);
    }
    sink.counts
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
                activity: Activity::default(),
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
                last_reload: None,
                service: InService {
                    health: Vec::new(),
                    announcement: Announcement {
                        standing: Standing::Announcing,
                        destinations: Vec::new(),
                        drain: None,
                        translated_pps: 3,
                    },
                    senders: Vec::new(),
                    audit: None,
                    settings: String::new(),
                },
                queues: Queues::default(),
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
                stalls: Stalls { actor: Duration::from_micros(30), kernel: Duration::from_micros(400) },
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
            revision: Some(Revision { id: 12, is_pending: true, staged: 4 }),
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
