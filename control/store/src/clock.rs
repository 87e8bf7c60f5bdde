//! Time from outside, so that tests need not wait.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The two clocks the store reads.
pub trait Clock: Send + fmt::Debug {
    /// Never goes back and is never set: what deadlines are measured by. Since any fixed moment.
    fn monotonic(&self) -> Duration;
    /// What people read. May jump.
    fn wall(&self) -> SystemTime;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Clocks that stand still until they are set. Copies are the same clocks.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<(Duration, SystemTime)>>);

impl ManualClock {
    /// Clocks that show `wall`.
    #[must_use]
    pub fn new(wall: SystemTime) -> Self {
        Self(Arc::new(Mutex::new((Duration::ZERO, wall))))
    }

    /// Lets time go by on both.
    pub fn advance(&self, by: Duration) {
        let mut clocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.0 += by;
        clocks.1 += by;
    }

    /// Sets the wall clock alone, as an administrator or NTP does.
    pub fn set_wall(&self, wall: SystemTime) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = wall;
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn wall(&self) -> SystemTime {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
