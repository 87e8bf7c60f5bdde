//! What it costs to count the traffic of each mapping: turns of three workers over the same tables, one that counts nothing, one
//! that looks for the busiest mappings, one that counts everything, by turns.
//!
//! `cargo bench -p dataplane --features dpdk,testing --bench meter`; arguments as for `walk`, `--bursts N` (3000) is the length of a
//! run. Seven pairs of runs: the costs of a packet, what counting has more in its pair, and the memory. Addresses of 10,000 and
//! of a million mappings come in a random order, so every line that is counted on is a miss of the cache, which is the worst there
//! is.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a benchmark, not a service"
)]

use std::sync::{Arc, Mutex};

use dataplane::exception::{inject_ring, punt_ring};
use dataplane::io::BURST;
use dataplane::meter::{MeterSlot, Metering};
use dataplane::table::eam::EamTable;
use dataplane::table::icmp_source::{Choice, IcmpSourcePool};
use dataplane::table::prefix::TranslationPrefix;
use dataplane::table::publish::Publisher;
use dataplane::table::translation::{Settings, Translation, TranslationParts};
use dataplane::testing;
use dataplane::worker::{Clock, Poll, Worker, WorkerParts};

use common::clock::now;
use common::keys::eams;
use common::packets::{self, Make};
use common::report::{Arguments, Row, publish};
use common::slab::{Pool, Rx, Shared, SlabBuffer, Tx};

#[allow(dead_code, reason = "shared by all benchmarks")]
mod common {
    pub(crate) mod clock;
    pub(crate) mod keys;
    pub(crate) mod packets;
    pub(crate) mod report;
    pub(crate) mod slab;
}

fn main() {
    let arguments = Arguments::read(3000);
    let mut rows = Vec::new();
    for (label, count) in [("10k", 10_000), ("1m", 1_000_000)] {
        if arguments.want_any([format!("feature_mappings_exact_{label}").as_str()]) {
            measure(label, count, arguments.bursts, &mut rows);
        }
    }
    publish(&arguments, &rows);
}

fn measure(label: &str, count: u32, bursts: usize, rows: &mut Vec<Row>) {
    let publisher = Publisher::new(testing::snapshot(translation(count)));
    let slots = [Metering::Busiest, Metering::Exact].map(|metering| MeterSlot::new(metering, count as usize));
    let mut benches = [
        Bench::new(&publisher, None),
        Bench::new(&publisher, Some(&slots[0])),
        Bench::new(&publisher, Some(&slots[1])),
    ];
    let mut make = packets::mixed(count);
    // Everything has its line and is in the caches it fits into.
    for bench in &mut benches {
        bench.run(&mut make, 0, (count as usize / BURST + 1).min(40_000));
    }
    let mut runs: Vec<[f64; 3]> = Vec::new();
    for pair in 0..PAIRS {
        // Each is the first as often as the others.
        let mut run = [0.0; 3];
        for turn in 0..3 {
            let which = (pair + turn) % 3;
            run[which] = benches[which].run(&mut make, pair * bursts, bursts);
        }
        runs.push(run);
    }
    let costs = |which: usize| runs.iter().map(|run| run[which]).collect();
    for (which, name) in [(1, "busiest"), (2, "exact")] {
        let name = format!("feature_mappings_{name}_{label}");
        rows.push(Row::of_ticks(&format!("{name}_without"), "packet", costs(0)));
        rows.push(Row::of_ticks(&format!("{name}_with"), "packet", costs(which)));
        let shares = runs.iter().map(|run| (run[which] / run[0] - 1.0) * 100.0).collect();
        rows.push(Row::of(&format!("{name}_share"), "%", shares));
        let memory = slots[which - 1].memory() as f64 / 1e6;
        rows.push(Row::of(&format!("{name}_memory_mb"), "MB", vec![memory]));
    }
    for slot in &slots {
        assert_eq!(slot.uncounted(), 0, "there is room for all");
    }
}

/// Runs of each.
const PAIRS: usize = 7;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn translation(count: u32) -> Translation {
    Translation::new(TranslationParts {
        settings: Settings::default(),
        prefixes: vec![TranslationPrefix::new("2001:db8:46::/96".parse().unwrap()).unwrap()],
        eams: EamTable::build(&eams(count)).unwrap(),
        service_pools: vec!["100.64.0.0/10".parse().unwrap()],
        translatable_pools: Vec::new(),
        denylist: Vec::new(),
        er_addresses: Vec::new(),
        icmp_sources: IcmpSourcePool::new(&["198.51.100.1/32".parse().unwrap()], Choice::Hash),
    })
}

struct Bench {
    worker: Worker<Rx, Tx, Pool>,
    rx: [Shared; 2],
    free: Shared,
}

impl Bench {
    fn new(publisher: &Publisher, slot: Option<&MeterSlot>) -> Self {
        let free: Shared = Arc::new(Mutex::new((0..4 * BURST).map(|_| SlabBuffer::new()).collect()));
        let rx = [(), ()].map(|()| Arc::new(Mutex::new(Vec::with_capacity(2 * BURST))));
        let (punt, _punted) = punt_ring(1 << 20, Arc::new(|| ()));
        let (_inject, inject) = inject_ring(1 << 16);
        let mut worker = Worker::new(WorkerParts {
            receive: rx.iter().cloned().map(Rx).collect(),
            transmit: vec![Tx(Arc::clone(&free)), Tx(Arc::clone(&free))],
            pool: Pool(Arc::clone(&free)),
            reader: publisher.reader(),
            punt,
            inject,
            cells: Arc::default(),
            stop: Arc::default(),
            clock: Clock { now, hertz: 1_000_000_000 },
            poll: Poll::Busy,
            longest_sleep: Arc::default(),
            alarm: None,
            workers: 1,
        });
        worker.count_mappings(slot.map(MeterSlot::meter));
        Self { worker, rx, free }
    }

    /// The median cost of a packet over so many bursts.
    fn run(&mut self, make: &mut Make, first: usize, bursts: usize) -> f64 {
        let mut costs = Vec::with_capacity(bursts);
        for round in first..first + bursts {
            for number in round * BURST..(round + 1) * BURST {
                let mut buffer = self.free.lock().unwrap().pop().unwrap();
                let port = make(number as u32, &mut buffer);
                self.rx[port].lock().unwrap().push(buffer);
            }
            let before = now();
            self.worker.turn();
            costs.push((now() - before) as f64 / BURST as f64);
        }
        median(costs)
    }
}
