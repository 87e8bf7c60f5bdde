//! The doorbell of the punt rings: wakes the control thread, and costs a worker one load while it is awake.

mod asleep;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dataplane::exception::Doorbell;
use tokio::sync::Notify;

use self::asleep::Asleep;

/// Wakes the exception pump. Clones ring the same bell.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Inner>);

/// When a worker rang for what is in its rings, in nanoseconds since the bell was made; 0 when it has not.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Rang(AtomicU64);

/// The control thread's view of it.
#[derive(Debug, Clone)]
pub(super) struct Rung {
    rang: Arc<Rang>,
    made: Instant,
}

impl Rung {
    /// When the worker rang for the first time since the last call.
    pub(super) fn take(&self) -> Option<Instant> {
        match self.rang.0.swap(0, Ordering::Relaxed) {
            0 => None,
            nanos => Some(self.made + Duration::from_nanos(nanos)),
        }
    }
}

/// On cache lines of its own: workers look at it after every burst with a punt.
#[derive(Debug)]
#[repr(align(128))]
struct Inner {
    asleep: Asleep,
    notify: Notify,
    made: Instant,
    /// One for each doorbell, in the order they were made in.
    rang: Mutex<Vec<Arc<Rang>>>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            asleep: Asleep::default(),
            notify: Notify::default(),
            made: Instant::now(),
            rang: Mutex::default(),
        }
    }
}

impl Inner {
    fn ring(&self) {
        if self.asleep.must_be_woken() {
            self.notify.notify_one();
        }
    }
}

impl Bell {
    /// A bell nobody waits for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the rings of one more worker call. Only the first ring after the pump fell asleep enters the kernel, and the first
    /// after the rings were emptied looks at the clock.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        let (inner, rang) = (Arc::clone(&self.0), Arc::<Rang>::default());
        self.0.rang.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&rang));
        Arc::new(move || {
            if rang.0.load(Ordering::Relaxed) == 0 {
                let nanos = u64::try_from(inner.made.elapsed().as_nanos()).unwrap_or(u64::MAX);
                rang.0.store(nanos.max(1), Ordering::Relaxed);
            }
            inner.ring();
        })
    }

    /// When each worker rang, in the order of their doorbells.
    pub(super) fn rung(&self) -> Vec<Rung> {
        let rang = self.0.rang.lock().unwrap_or_else(PoisonError::into_inner);
        rang.iter().map(|rang| Rung { rang: Arc::clone(rang), made: self.0.made }).collect()
    }

    /// Waits for the next ring, unless `work_left` finds something to do after all.
    pub(super) async fn sleep_unless(&self, work_left: impl FnOnce() -> bool) {
        if self.0.asleep.falls_unless(work_left) {
            self.0.notify.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_bell_has_cache_lines_of_its_own() {
        let bell = Bell::new();
        assert_eq!((Arc::as_ptr(&bell.0).addr() % 128, size_of::<Inner>() % 128), (0, 0));
    }

    #[tokio::test]
    async fn a_ring_before_and_during_sleep_wakes() {
        let bell = Bell::new();
        let ring = bell.doorbell();
        bell.sleep_unless(|| {
            ring();
            false
        })
        .await;
        let waiting = bell.sleep_unless(|| false);
        let ringing = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            ring();
        };
        tokio::join!(waiting, ringing);
    }

    #[tokio::test]
    async fn rings_of_an_awake_pump_leave_no_trace() {
        let bell = Bell::new();
        bell.doorbell()();
        let slept = tokio::time::timeout(Duration::from_millis(20), bell.sleep_unless(|| false)).await;
        assert!(slept.is_err(), "woken by a ring from before it slept");
        bell.sleep_unless(|| true).await;
    }
}
