//! What is looked at from outside of the workers: dropped packets, and captures.
//!
//! Enters: the samples and records the workers leave in their rings, and the counts. Leaves: answers about drops, and streams of
//! captured packets, for the control socket and whoever else asks the [`Observatory`]. One thread off the workers' CPUs empties the rings; nobody a worker would have
//! to wait for.

mod captures;
pub mod filter;
mod frame;
mod history;
mod kept;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use dataplane::counters::Counts;
use dataplane::sink::samples::SampleReceiver;
use dataplane::sink::tap::{Busy, CAPTURES, TapSender, Wanted, capture};
use dataplane::verdict::DropReason;
use dataplane::worker::Clock;

pub use self::captures::{
    CaptureEvent, CaptureOrder, CaptureTotals, CapturedPacket, Deliver, Delivery, Frame, Over, PortTotals,
};
pub use self::history::Rates;
pub use self::kept::{DropSample, KEPT};

use self::captures::Session;
use self::history::{History, Totals};
use self::kept::{Anchor, Kept};
use crate::actor::{ControlHandle, Counters};

/// How often the rings are emptied: twice in the workers' epochs.
const DRAIN: Duration = Duration::from_millis(50);
/// How often they are while something is captured.
const ROUND: Duration = Duration::from_millis(2);
/// Rounds in which readers can hear that the relay is stopping.
const FAREWELL: u32 = 50;
/// How often counts are looked at.
const TICK: Duration = Duration::from_secs(1);

/// What is known of one reason.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropRow {
    /// The reason.
    pub reason: DropReason,
    /// How many, how fast, since when.
    pub rates: Rates,
    /// Samples that were taken.
    pub sampled: u64,
    /// Drops of which no sample was taken, because there were too many or nobody took them in time.
    pub samples_lost: u64,
    /// One in so many was sampled when the last sample was taken.
    pub one_in: u64,
}

/// The settled counts of all workers together; none when the relay is ending.
type Source = Box<dyn Fn() -> Option<Counts> + Send + Sync>;

/// Answers what was dropped. Can be cloned and asked from any thread.
#[derive(Clone)]
pub struct Observatory(Arc<Shared>);

struct Shared {
    source: Source,
    clock: Clock,
    started: Instant,
    history: Mutex<History>,
    drops: Mutex<Drops>,
    captures: Mutex<Captures>,
    stop: (Mutex<bool>, Condvar),
}

struct Drops {
    receivers: Vec<SampleReceiver>,
    /// Of the control thread.
    control: Option<SampleReceiver>,
    kept: Kept,
}

/// The ends that a worker has the other ones of.
pub struct WorkerEnds {
    /// Samples of dropped packets.
    pub samples: SampleReceiver,
    /// Captures.
    pub tap: TapSender,
}

struct Captures {
    workers: Vec<TapSender>,
    ports: usize,
    sessions: Vec<Session>,
}

/// There are as many captures as can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{CAPTURES} captures and traces are under way, as many as can be")]
pub struct Full {
    /// The first of them ends after this time at the latest.
    pub ends_in: Duration,
}

/// The thread that looks. Dropping it ends it.
pub struct Observing {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Observatory {
    /// Looks from now on. `workers` are in their order, `control` has samples of the control thread, `ports` is how many ports there are, `clock` is the workers'.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        handle: ControlHandle,
        workers: Vec<WorkerEnds>,
        control: SampleReceiver,
        ports: usize,
        clock: Clock,
    ) -> std::io::Result<(Self, Observing)> {
        let source = move || handle.counters().ok().map(|counters| settled(&counters));
        Self::with_source(Box::new(source), workers, Some(control), ports, clock)
    }

    fn with_source(
        source: Source,
        workers: Vec<WorkerEnds>,
        control: Option<SampleReceiver>,
        ports: usize,
        clock: Clock,
    ) -> std::io::Result<(Self, Observing)> {
        let kept = Kept::new(workers.len());
        let (receivers, workers) = workers.into_iter().map(|ends| (ends.samples, ends.tap)).unzip();
        let shared = Arc::new(Shared {
            source,
            clock,
            started: Instant::now(),
            history: Mutex::new(History::new(SystemTime::now())),
            drops: Mutex::new(Drops { receivers, control, kept }),
            captures: Mutex::new(Captures { workers, ports, sessions: Vec::new() }),
            stop: (Mutex::new(false), Condvar::new()),
        });
        let looking = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("observe".to_owned()).spawn(move || looking.run())?;
        Ok((Self(Arc::clone(&shared)), Observing { shared, thread: Some(thread) }))
    }

    /// Every reason there is, in the order of [`DropReason::ALL`]; as of now, or of the last second while the relay ends.
    #[must_use]
    pub fn drops(&self) -> Vec<DropRow> {
        // First the samples, then the counts: no more samples than drops.
        self.0.drain();
        self.0.tick();
        let history = lock(&self.0.history);
        let drops = lock(&self.0.drops);
        let row = |reason: &DropReason| {
            let rates = history.rates(*reason);
            let sampled = drops.kept.taken(*reason).min(rates.count);
            DropRow {
                reason: *reason,
                rates,
                sampled,
                samples_lost: rates.count - sampled,
                one_in: drops.kept.one_in(*reason),
            }
        };
        DropReason::ALL.iter().map(row).collect()
    }

    /// The newest samples, of one reason or of all, newest first.
    #[must_use]
    pub fn samples(&self, reason: Option<DropReason>, last: usize) -> Vec<DropSample> {
        self.0.drain();
        lock(&self.0.drops).kept.newest(reason, last)
    }

    /// The sample of that number, unless newer ones of its reason and worker have replaced it.
    #[must_use]
    pub fn sample(&self, id: u64) -> Option<DropSample> {
        lock(&self.0.drops).kept.get(id).cloned()
    }
}

impl Observatory {
    /// Captures from now on; `deliver` gets the events on the observing thread.
    ///
    /// # Errors
    /// [`Full`] while there are as many captures as can be.
    pub fn capture(&self, order: &CaptureOrder, deliver: Deliver) -> Result<(), Full> {
        let Captures { workers, ports, sessions } = &mut *lock(&self.0.captures);
        let full = Full { ends_in: sessions.iter().filter_map(Session::ends_in).min().unwrap_or_default() };
        if sessions.iter().filter(|session| session.is_on()).count() >= CAPTURES {
            return Err(full);
        }
        let share = u32::try_from(workers.len()).unwrap_or(u32::MAX).max(1);
        let wanted = Wanted {
            filter: order.filter.clone(),
            snap: order.snap,
            rate: order.rate.div_ceil(share),
            ports: *ports,
            hertz: self.0.clock.hertz,
        };
        let mut captures = Vec::new();
        for worker in workers.iter_mut() {
            worker.reclaim();
            let (ours, theirs) = capture(wanted.clone());
            // Those that were sent end with their other halves.
            worker.send(ours).map_err(|Busy| full)?;
            captures.push(theirs);
        }
        sessions.push(Session::new(order, captures, *ports, deliver));
        self.0.stop.1.notify_all();
        Ok(())
    }
}

impl Shared {
    fn run(&self) {
        let mut ticked = Instant::now();
        let (stop, changed) = &self.stop;
        let mut stopped = lock(stop);
        let (mut drained, mut captures) = (Instant::now(), false);
        while !*stopped {
            let pause = if captures { ROUND } else { DRAIN };
            stopped = changed.wait_timeout(stopped, pause).unwrap_or_else(PoisonError::into_inner).0;
            drop(stopped);
            captures = self.round();
            if drained.elapsed() >= DRAIN || !captures {
                drained = Instant::now();
                self.drain();
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick();
            }
            stopped = lock(stop);
        }
        drop(stopped);
        lock(&self.captures).sessions.iter_mut().for_each(Session::stop);
        // Readers who do not read are not waited for.
        for _ in 0..FAREWELL {
            if !self.round() {
                break;
            }
            std::thread::sleep(ROUND);
        }
    }

    /// One round of the captures; whether there are any.
    fn round(&self) -> bool {
        let Captures { workers, sessions, .. } = &mut *lock(&self.captures);
        if sessions.is_empty() {
            return false;
        }
        let anchor = Anchor::now(self.clock);
        sessions.retain_mut(|session| session.round(&anchor));
        workers.iter_mut().for_each(TapSender::reclaim);
        !sessions.is_empty()
    }

    fn drain(&self) {
        let anchor = Anchor::now(self.clock);
        let Drops { receivers, control, kept } = &mut *lock(&self.drops);
        for (worker, receiver) in (0..).zip(receivers) {
            receiver.drain(|sample| kept.keep(Some(worker), &sample, &anchor));
        }
        if let Some(receiver) = control {
            receiver.drain(|sample| kept.keep(None, &sample, &anchor));
        }
    }

    fn tick(&self) {
        let Some(counts) = (self.source)() else { return };
        let totals: Totals = std::array::from_fn(|reason| counts.dropped(DropReason::ALL[reason]));
        lock(&self.history).tick(self.started.elapsed(), SystemTime::now(), &totals);
    }
}

impl Drop for Observing {
    fn drop(&mut self) {
        *lock(&self.shared.stop.0) = true;
        self.shared.stop.1.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the observing thread panicked");
        }
    }
}

/// All workers' counts, with what was lost on the exception path as dropped.
fn settled(counters: &Counters) -> Counts {
    let mut sum = Counts::default();
    counters.workers.iter().for_each(|counts| sum.merge(counts));
    counters.kernel.lost.settle(&mut sum);
    sum
}

/// What a thread that panicked left behind is still the best there is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
