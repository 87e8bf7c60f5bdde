//! The clock of changes that await confirmation. It runs by monotonic time: setting the wall clock neither undoes nor keeps.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Mappings;

/// How long to wait before trying again, when undoing failed.
const AGAIN: Duration = Duration::from_secs(1);

/// A deadline that can be set, moved and taken away.
#[derive(Default)]
pub(super) struct Clock {
    deadline: Mutex<Option<Instant>>,
    moved: Condvar,
}

impl Clock {
    pub(super) fn set(&self, within: Duration) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + within);
        self.moved.notify_all();
    }

    pub(super) fn stop(&self) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.moved.notify_all();
    }

    /// Time until the deadline, if there is one.
    pub(super) fn left(&self) -> Option<Duration> {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        Some(deadline?.saturating_duration_since(Instant::now()))
    }

    /// Waits until the deadline has passed, or for a while.
    fn passed(&self, patience: Duration) -> bool {
        let deadline = self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        let left = deadline.map_or(patience, |at| at.saturating_duration_since(Instant::now()));
        if deadline.is_some() && left.is_zero() {
            return true;
        }
        let waited = self.moved.wait_timeout(deadline, left.min(patience));
        let (deadline, _) = waited.unwrap_or_else(PoisonError::into_inner);
        deadline.is_some_and(|at| at <= Instant::now())
    }
}

impl Mappings {
    /// Seconds until the deadline of what awaits confirmation.
    pub(super) fn seconds_left(&self) -> u64 {
        self.shared.clock.left().map_or(0, |left| left.as_secs())
    }

    /// Undoes what nobody confirms in time, on a thread that lives as long as the mappings.
    pub(super) fn watch_the_clock(&self) {
        let shared = Arc::downgrade(&self.shared);
        let watch = move || {
            while let Some(shared) = shared.upgrade() {
                if !shared.clock.passed(AGAIN) {
                    continue;
                }
                let mappings = Self { shared };
                if let Err(error) = mappings.revert("not confirmed in time") {
                    tracing::error!("a change that nobody confirmed cannot be undone yet: {error}");
                    mappings.shared.clock.set(AGAIN);
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("confirm".into()).spawn(watch) {
            tracing::error!("changes cannot be undone by time: {error}");
        }
    }
}
