//! What looking costs: samples of dropped packets under a flood, captures idle and active, counters read. Pairs of measurements in one run:
//! the worker without, then the one with, again and again; what counts is the ratio within a pair.
//!
//! `cargo bench -p dataplane --features dpdk,testing --bench observe`; arguments as for `walk`, `--bursts N` (20000) is the length of
//! a measurement. Three rows for each: the costs of a packet without and with it, and what the second has more in its pair.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a benchmark, not a service"
)]

use std::hint::black_box;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use dataplane::counters::CounterCells;
use dataplane::exception::{inject_ring, punt_ring};
use dataplane::io::BURST;
use dataplane::sink::filter::{End, Filter, Node, Test};
use dataplane::sink::samples::{SampleReceiver, sampler};
use dataplane::sink::tap::{Capture, TapSender, Wanted, capture, tap};
use dataplane::table::eam::EamTable;
use dataplane::table::icmp_source::{Choice, IcmpSourcePool};
use dataplane::table::prefix::TranslationPrefix;
use dataplane::table::publish::Publisher;
use dataplane::table::translation::{IcmpErrors, Settings, Translation, TranslationParts};
use dataplane::testing::{self, MAC_V4};
use dataplane::worker::{Clock, Poll, Worker, WorkerParts};

use common::clock::now;
use common::keys::eams;
use common::packets::{self, Make};
use common::report::{Arguments, Row, publish};
use common::slab::{Pool, Rx, Shared, SlabBuffer, Tx};

#[allow(dead_code, reason = "benchmarks use different parts of it")]
mod common {
    pub(crate) mod allocations;
    pub(crate) mod clock;
    pub(crate) mod keys;
    pub(crate) mod packets;
    pub(crate) mod report;
    pub(crate) mod slab;
}

const TABLE: u32 = 10_000;
const PAIRS: usize = 7;
/// As the workers of most machines have.
const HERTZ: u64 = 2_600_000_000;

fn main() {
    let arguments = Arguments::read(20_000);
    let mut rows = Vec::new();
    let mut row = |name: &str, make: fn() -> Make, watched: &dyn Fn() -> Watched| {
        if arguments.wants(name) {
            compare(name, arguments.bursts, make, watched, &mut rows);
        }
    };
    let mixed = || packets::mixed(TABLE);
    let nobody = || Filter::default().of(Test::Net(End::Either, "198.18.7.7/32".parse().unwrap()));
    row("feature_nothing", broken, &Watched::plain);
    row("feature_drops_unassigned", unassigned, &Watched::sampled);
    row("feature_drops_broken", broken, &Watched::sampled);
    row("feature_counters_read_1k_per_second", mixed, &Watched::read);
    row("feature_capture_idle", mixed, &Watched::idle);
    row("feature_capture_no_match_short", mixed, &|| Watched::captured(nobody(), 192, 1));
    row("feature_capture_no_match_whole", mixed, &|| Watched::captured(nobody(), 9600, 1));
    row("feature_capture_all_10k_per_second", mixed, &|| Watched::captured(Filter::default(), 9600, 10_000));
    row("feature_capture_all", mixed, &|| Watched::captured(Filter::default(), 9600, u32::MAX));
    publish(&arguments, &rows);
}

trait Of {
    fn of(self, test: Test) -> Self;
}

impl Of for Filter {
    fn of(mut self, test: Test) -> Self {
        self.push(Node::Test(test)).unwrap();
        self
    }
}

/// Service addresses that nobody has, without an answer.
fn unassigned() -> Make {
    let frame = testing::frame(MAC_V4, &testing::udp_v4("203.0.113.50", "100.127.255.254", &[0; 18]));
    Box::new(move |_, buffer| {
        buffer.fill(&frame);
        0
    })
}

/// The cheapest drop there is.
fn broken() -> Make {
    let mut frame = testing::frame(MAC_V4, &testing::udp_v4("203.0.113.50", "100.127.255.254", &[0; 18]));
    frame[14] = 0x41;
    Box::new(move |_, buffer| {
        buffer.fill(&frame);
        0
    })
}

/// A worker that is looked at.
struct Watched {
    bench: Bench,
    samples: Option<SampleReceiver>,
    captured: Option<(TapSender, Capture)>,
}

impl Watched {
    fn plain() -> Self {
        Self { bench: Bench::new(), samples: None, captured: None }
    }

    fn sampled() -> Self {
        let mut watched = Self::plain();
        let (ours, theirs) = sampler(HERTZ);
        watched.bench.worker.sample(ours);
        watched.samples = Some(theirs);
        watched
    }

    /// All that a scrape takes from a worker, a thousand times as often as once a second.
    fn read() -> Self {
        let watched = Self::plain();
        let cells: Weak<CounterCells> = Arc::downgrade(&watched.bench.cells);
        thread::spawn(move || {
            while let Some(cells) = cells.upgrade() {
                black_box((cells.load(), cells.timing.load()));
                thread::sleep(Duration::from_millis(1));
            }
        });
        watched
    }

    fn idle() -> Self {
        let mut watched = Self::sampled();
        let (ours, _) = tap(2);
        watched.bench.worker.tap(ours);
        watched
    }

    fn captured(filter: Filter, snap: usize, rate: u32) -> Self {
        let mut watched = Self::plain();
        let (ours, mut sender) = tap(2);
        watched.bench.worker.tap(ours);
        let (order, theirs) = capture(Wanted { filter, snap, rate, ports: 2, hertz: HERTZ });
        sender.send(order).unwrap();
        watched.captured = Some((sender, theirs));
        watched
    }

    /// The median cycles of a packet over so many bursts.
    fn measure(&mut self, bursts: usize, make: &mut Make) -> f64 {
        let mut costs: Vec<f64> = (0..bursts)
            .map(|round| {
                // The other thread's part, outside of what is measured.
                if let Some(samples) = self.samples.as_mut().filter(|_| round % 64 == 0) {
                    samples.drain(|_| {});
                }
                if let Some((_, capture)) = &mut self.captured {
                    capture.drain(usize::MAX, |_| {});
                }
                self.bench.burst(round, make)
            })
            .collect();
        costs.sort_by(f64::total_cmp);
        costs[bursts / 2]
    }
}

/// Pairs of a worker without and one with it, by turns: the costs of a packet, and what the second had more in its pair.
fn compare(
    name: &str,
    bursts: usize,
    make: impl Fn() -> Make,
    watched: impl Fn() -> Watched,
    rows: &mut Vec<Row>,
) {
    let (mut costs, mut shares) = ([Vec::new(), Vec::new()], Vec::new());
    for _ in 0..PAIRS {
        // New ones for each pair: where they happen to lie in memory is worth a few per cent.
        let (mut without, mut with) = (Watched::plain(), watched());
        let (mut left, mut right) = (make(), make());
        without.measure(bursts / 4, &mut left);
        with.measure(bursts / 4, &mut right);
        let pair = [without.measure(bursts, &mut left), with.measure(bursts, &mut right)];
        costs[0].push(pair[0]);
        costs[1].push(pair[1]);
        shares.push((pair[1] / pair[0] - 1.0) * 100.0);
    }
    let [off, on] = costs;
    rows.push(Row::of_ticks(&format!("{name}_without"), "packet", off));
    rows.push(Row::of_ticks(&format!("{name}_with"), "packet", on));
    rows.push(Row::of(&format!("{name}_share"), "%", shares));
}

struct Bench {
    worker: Worker<Rx, Tx, Pool>,
    cells: Arc<CounterCells>,
    rx: [Shared; 2],
    free: Shared,
}

impl Bench {
    fn new() -> Self {
        let translation = Translation::new(TranslationParts {
            settings: Settings { icmp_errors: IcmpErrors::Off, ..Settings::default() },
            prefixes: vec![TranslationPrefix::new("2001:db8:46::/96".parse().unwrap()).unwrap()],
            eams: EamTable::build(&eams(TABLE)).unwrap(),
            service_pools: vec!["100.64.0.0/10".parse().unwrap()],
            translatable_pools: Vec::new(),
            denylist: Vec::new(),
            er_addresses: Vec::new(),
            icmp_sources: IcmpSourcePool::new(&["198.51.100.1/32".parse().unwrap()], Choice::Hash),
        });
        let publisher = Publisher::new(testing::snapshot(translation));
        let free: Shared = Arc::new(Mutex::new((0..4 * BURST).map(|_| SlabBuffer::new()).collect()));
        let rx = [(), ()].map(|()| Arc::new(Mutex::new(Vec::with_capacity(2 * BURST))));
        let (punt, _punted) = punt_ring(1 << 20, Arc::new(|| ()));
        let (_inject, inject) = inject_ring(1 << 16);
        let cells = Arc::<CounterCells>::default();
        let worker = Worker::new(WorkerParts {
            receive: rx.iter().cloned().map(Rx).collect(),
            transmit: vec![Tx(Arc::clone(&free)), Tx(Arc::clone(&free))],
            pool: Pool(Arc::clone(&free)),
            reader: publisher.reader(),
            punt,
            inject,
            cells: Arc::clone(&cells),
            stop: Arc::default(),
            clock: Clock { now, hertz: HERTZ },
            poll: Poll::Busy,
            longest_sleep: Arc::default(),
            alarm: None,
            workers: 1,
        });
        Self { worker, cells, rx, free }
    }

    /// One burst; the cycles of a packet.
    fn burst(&mut self, round: usize, make: &mut Make) -> f64 {
        for number in round * BURST..(round + 1) * BURST {
            let mut buffer = self.free.lock().unwrap().pop().unwrap_or_else(SlabBuffer::new);
            let port = make(number as u32, &mut buffer);
            self.rx[port].lock().unwrap().push(buffer);
        }
        let before = now();
        self.worker.turn();
        (now() - before) as f64 / BURST as f64
    }
}
