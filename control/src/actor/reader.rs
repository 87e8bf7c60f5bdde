//! Reads the configuration for a reload, on a thread of its own: files may lie on a disk that does not answer, and a
//! thread that waits for one can only be left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::builder::Done;
use super::message::ReloadOutcome;
use crate::reload::Loaded;

/// How a configuration is read.
pub(super) type Read = Arc<dyn Fn() -> Loaded + Send + Sync>;
/// Whoever wants to know what came of a reload.
pub(super) type Askers = Vec<oneshot::Sender<ReloadOutcome>>;

/// How long reading may take. A million mappings take about a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Reading that takes longer than this is told of, and again every time it has taken that long once more.
    pub(super) tell: Duration,
    /// Reading that takes longer than this is given up.
    pub(super) limit: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tell: Duration::from_secs(10), limit: Duration::from_secs(120) }
    }
}

/// Threads left behind that still wait for their files. With so many, no further one is started.
const LEFT_BEHIND: usize = 8;

/// Starts the readers, one at a time.
pub(super) struct Reader {
    read: Read,
    results: mpsc::UnboundedSender<Done>,
    patience: Patience,
    current: Option<Reading>,
    /// Requests that came while one read: together they are one more reload.
    again: Option<Askers>,
    number: u64,
    threads: Arc<AtomicUsize>,
}

struct Reading {
    number: u64,
    started: Instant,
    told: u32,
    askers: Askers,
}

impl Reader {
    pub(super) fn new(read: Read, results: mpsc::UnboundedSender<Done>, patience: Patience) -> Self {
        let threads = Arc::default();
        Self { read, results, patience, current: None, again: None, number: 0, threads }
    }

    /// Reads now, or once more when what is being read has been read.
    ///
    /// # Errors
    /// Why it cannot, with whoever asked.
    pub(super) fn request(
        &mut self,
        asker: Option<oneshot::Sender<ReloadOutcome>>,
    ) -> Result<(), (String, Askers)> {
        if self.current.is_some() {
            self.again.get_or_insert_default().extend(asker);
            return Ok(());
        }
        self.start(asker.into_iter().collect())
    }

    fn start(&mut self, askers: Askers) -> Result<(), (String, Askers)> {
        if self.threads.load(Ordering::Relaxed) >= LEFT_BEHIND {
            let why = format!("{LEFT_BEHIND} earlier ones still wait for their files: is their disk there?");
            return Err((why, askers));
        }
        self.number += 1;
        let (number, read, results) = (self.number, Arc::clone(&self.read), self.results.clone());
        self.threads.fetch_add(1, Ordering::Relaxed);
        let threads = Arc::clone(&self.threads);
        let spawned = std::thread::Builder::new().name("reading".to_owned()).spawn(move || {
            let loaded = read();
            threads.fetch_sub(1, Ordering::Relaxed);
            // When the relay has ended meanwhile there is nobody who cares.
            results.send(Done::Read { number, loaded: Box::new(loaded) }).ok();
        });
        if let Err(error) = spawned {
            self.threads.fetch_sub(1, Ordering::Relaxed);
            return Err((format!("the system gives no more threads: {error}"), askers));
        }
        self.current = Some(Reading { number, started: Instant::now(), told: 0, askers });
        Ok(())
    }

    /// Who asked for what was read; `None` when it was given up meanwhile.
    pub(super) fn finished(&mut self, number: u64) -> Option<Askers> {
        self.current.take_if(|reading| reading.number == number).map(|reading| reading.askers)
    }

    /// Starts what was asked for meanwhile. Call it when a reading has ended one way or another.
    pub(super) fn next(&mut self) -> Result<(), (String, Askers)> {
        match self.again.take() {
            Some(askers) => self.start(askers),
            None => Ok(()),
        }
    }

    /// Since when a reload has been reading, if one does.
    pub(super) fn reading_since(&self) -> Option<Duration> {
        self.current.as_ref().map(|reading| reading.started.elapsed())
    }

    /// Tells of reading that takes long, and gives up what takes too long: why, and who asked for it.
    pub(super) fn tick(&mut self) -> Option<(String, Askers)> {
        let reading = self.current.as_mut()?;
        let since = reading.started.elapsed();
        if since >= self.patience.limit {
            let reading = self.current.take()?;
            let why = format!("reading its files took longer than {} s", self.patience.limit.as_secs_f32());
            return Some((why, reading.askers));
        }
        if since >= self.patience.tell * (reading.told + 1) {
            reading.told += 1;
            tracing::warn!(
                "still reading the configuration since {} s; given up after {} s",
                since.as_secs(),
                self.patience.limit.as_secs()
            );
        }
        None
    }
}
