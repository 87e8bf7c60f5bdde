//! What the watchdog's thread sees of the control thread.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Written by the control thread as it goes, read by others.
#[derive(Debug)]
pub struct Pulse {
    started: Instant,
    /// Milliseconds from the start to the last beat.
    beat: AtomicU64,
    workers: AtomicBool,
    status: Mutex<String>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            beat: AtomicU64::new(0),
            workers: AtomicBool::new(true),
            status: Mutex::default(),
        }
    }
}

impl Pulse {
    /// The control thread is alive; `workers`: and so is every worker.
    pub fn beat(&self, workers: bool) {
        let since = self.started.elapsed().as_millis();
        self.beat.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.workers.store(workers, Ordering::Relaxed);
    }

    /// How the relay is, in a few words.
    pub fn say(&self, status: String) {
        *self.status.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = status;
    }

    /// The last words.
    #[must_use]
    pub fn status(&self) -> String {
        self.status.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// How long the control thread has not beaten.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.beat.load(Ordering::Relaxed)))
    }

    /// Whether every worker was alive at the last beat.
    #[must_use]
    pub fn workers(&self) -> bool {
        self.workers.load(Ordering::Relaxed)
    }
}
