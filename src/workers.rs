//! The worker threads: one for each configured CPU.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use control::config::{self, Config};
use control::kernel::UpLink;
use control::observe::WorkerEnds;
use dataplane::counters::{CounterCells, Counts};
use dataplane::dpdk::{self, Eal, Mempool, QueuePair, RxAlarm};
use dataplane::exception::{InjectReceiver, PuntSender};
use dataplane::io::Alarm;
use dataplane::meter::Meter;
use dataplane::sink::samples::{Sampler, sampler};
use dataplane::sink::tap::{Tap, tap};
use dataplane::table::publish::Publisher;
use dataplane::timing::Timings;
use dataplane::worker::{Clock, Poll, SleepLimit, StopFlag, Worker, WorkerParts};

use crate::app::{AppError, least_mtu};
use crate::meters::Meters;

/// The worker threads.
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    cells: Vec<Arc<CounterCells>>,
    stop: Arc<StopFlag>,
    longest_sleep: Arc<SleepLimit>,
    /// The other ends of what each shows, until somebody takes them.
    ends: Vec<WorkerEnds>,
}

/// The clock of the workers.
pub(crate) fn clock() -> Clock {
    Clock { now: dpdk::tsc, hertz: dpdk::tsc_hz() }
}

impl Workers {
    /// Starts one thread per configured CPU and waits until each is ready to poll.
    pub(crate) fn start(
        config: &Config,
        eal: &Eal,
        mempool: &Mempool,
        queues: Vec<Vec<QueuePair>>,
        rings: Vec<(PuntSender, InjectReceiver)>,
        publisher: &Publisher,
        meters: &Meters,
    ) -> Result<Self, AppError> {
        let (stop, longest_sleep) = Default::default();
        let (threads, cells, ends) = Default::default();
        let mut workers = Self { threads, cells, stop, longest_sleep, ends };
        let local_mtu = local_mtu(config);
        let mut queues: Vec<_> = queues.into_iter().map(Vec::into_iter).collect();
        for (number, (cpu, (punt, inject))) in config.dpdk.workers.iter().zip(rings).enumerate() {
            let pairs: Vec<QueuePair> = queues.iter_mut().filter_map(Iterator::next).collect();
            let (receive, transmit): (Vec<_>, _) = pairs.into_iter().map(|pair| (pair.rx, pair.tx)).unzip();
            let alarm = RxAlarm::new(&receive).map(|alarm| Box::new(alarm) as Box<dyn Alarm>);
            let cells = Arc::<CounterCells>::default();
            let parts = WorkerParts {
                receive,
                transmit,
                pool: mempool.clone(),
                reader: publisher.reader(),
                punt,
                inject,
                cells: Arc::clone(&cells),
                stop: Arc::clone(&workers.stop),
                clock: clock(),
                poll: match config.dpdk.poll {
                    config::Poll::Adaptive => Poll::Adaptive,
                    config::Poll::Busy => Poll::Busy,
                    config::Poll::Sleep => Poll::Sleep,
                },
                longest_sleep: Arc::clone(&workers.longest_sleep),
                alarm,
                workers: u32::try_from(config.dpdk.workers.len()).unwrap_or(u32::MAX),
            };
            workers.cells.push(cells);
            let (sampler, samples) = sampler(clock().hertz);
            let (shown, tap) = tap(config.ports.len());
            workers.ends.push(WorkerEnds { samples, tap });
            let shown = Shown { sampler, tap: shown, meter: meters.meter(number) };
            workers.threads.push(spawn(*cpu, eal.clone(), parts, local_mtu, shown)?);
        }
        Ok(workers)
    }

    /// Ends the loops and waits for them; their buffers are returned then.
    pub(crate) fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }

    /// The other ends of what they show, for one who looks at it.
    pub(crate) fn take_ends(&mut self) -> Vec<WorkerEnds> {
        std::mem::take(&mut self.ends)
    }

    /// How long they may sleep.
    pub(crate) fn sleep_limit(&self) -> &SleepLimit {
        &self.longest_sleep
    }

    pub(crate) fn counts(&self) -> Vec<Counts> {
        self.cells.iter().map(|cells| cells.load()).collect()
    }

    pub(crate) fn timings(&self) -> Vec<Timings> {
        self.cells.iter().map(|cells| cells.timing.load()).collect()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

type DpdkParts = WorkerParts<dpdk::RxQueue, dpdk::TxQueue, Mempool>;

/// The largest translated packet that the box itself can be given; none without a link for them.
pub(crate) fn local_mtu(config: &Config) -> Option<u16> {
    config.announce.as_ref().map(|_| UpLink::mtu(least_mtu(config)))
}

/// What a worker shows of its packets.
struct Shown {
    sampler: Sampler,
    tap: Tap,
    meter: Option<Meter>,
}

/// Starts a worker. It is put together by its own thread, so that what it writes comes from memory of that thread: of its
/// own part of the heap, and of its NUMA node.
fn spawn(
    cpu: u16,
    eal: Eal,
    parts: DpdkParts,
    local_mtu: Option<u16>,
    shown: Shown,
) -> Result<JoinHandle<()>, AppError> {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(format!("worker-{cpu}"))
        .spawn(move || {
            let registered =
                dpdk::pin_current_thread(usize::from(cpu)).and_then(|()| eal.register_current_thread());
            match registered {
                Ok(_lcore) => {
                    let mut worker = Worker::new(parts).delivering(local_mtu);
                    worker.sample(shown.sampler);
                    worker.tap(shown.tap);
                    worker.count_mappings(shown.meter);
                    let _ = ready.send(Ok(()));
                    worker.run();
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        })
        .map_err(|error| AppError::System { what: "threads", error })?;
    match is_ready.recv() {
        Ok(Ok(())) | Err(_) => Ok(thread),
        Ok(Err(error)) => Err(AppError::Worker { cpu, error }),
    }
}
