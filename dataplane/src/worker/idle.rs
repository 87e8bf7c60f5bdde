//! What a worker does when there is nothing to do: it looks again, pauses, and sleeps for as long as no burst can be lost.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

/// What a worker does when there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// Looks again at once, then pauses, then sleeps for up to [`SleepLimit`].
    Adaptive,
    /// Always looks again at once.
    Busy,
}

/// The longest a worker sleeps. Control sets it whenever the speed of a link changes; all workers read it before they
/// sleep.
#[derive(Debug)]
pub struct SleepLimit(CachePadded<AtomicU64>);

impl Default for SleepLimit {
    /// For 1024 descriptors and a link of unknown speed.
    fn default() -> Self {
        let limit = Self(CachePadded::new(AtomicU64::new(0)));
        limit.set(longest_sleep(1024, u32::MAX));
        limit
    }
}

impl SleepLimit {
    /// From the next sleep on.
    pub fn set(&self, longest: Duration) {
        self.0.store(u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// As it is now; zero forbids to sleep.
    #[must_use]
    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// How long a worker may sleep between two looks at a receive queue of so many descriptors: half the time that the
/// shortest frames need to fill it, all of them at the speed of the link; the other half is for waking up. Zero where that
/// is less than a sleep costs: such a queue must be polled. An unknown speed (0 or `u32::MAX`) counts as 10 Gbit/s.
#[must_use]
pub fn longest_sleep(descriptors: u16, speed_mbps: u32) -> Duration {
    /// Bits of a 64-byte frame on the wire, with preamble and gap.
    const SHORTEST: u64 = (64 + 8 + 12) * 8;
    /// A frame of the kernel waits for the worker to wake.
    const LONGEST: Duration = Duration::from_micros(200);
    const WORTH_IT: Duration = Duration::from_micros(5);
    let speed = match speed_mbps {
        0 | u32::MAX => 10_000,
        known => u64::from(known),
    };
    let fills = Duration::from_nanos(u64::from(descriptors) * SHORTEST * 1000 / speed);
    let longest = (fills / 2).min(LONGEST);
    if longest < WORTH_IT { Duration::ZERO } else { longest }
}

/// How long there has been nothing to do, and what follows from it.
pub(super) struct Idle {
    poll: Poll,
    limit: Arc<SleepLimit>,
    turns: u32,
}

impl Idle {
    /// Looks at once before the first sleep: some tens of microseconds.
    const PAUSES: u32 = 200;
    /// Short sleeps before the first long one.
    const SHORT_SLEEPS: u32 = 600;
    const SHORT: Duration = Duration::from_micros(10);

    pub(super) const fn new(poll: Poll, limit: Arc<SleepLimit>) -> Self {
        Self { poll, limit, turns: 0 }
    }

    /// For the thread that will sleep: by default the kernel adds up to 50 microseconds to every sleep, which would be
    /// more than the sleep itself.
    pub(super) fn prepare_thread(&self) {
        if self.poll == Poll::Adaptive {
            // Refused on no Linux; then sleeps are too long, as they were before.
            let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1000));
        }
    }

    /// There was something to do.
    #[inline]
    pub(super) const fn worked(&mut self) {
        self.turns = 0;
    }

    /// Whether this is the first turn in vain after others.
    #[inline]
    pub(super) const fn is_first(&self) -> bool {
        self.turns == 1
    }

    /// There was nothing to do: backs off; whether it slept.
    pub(super) fn rest(&mut self) -> bool {
        self.turns = self.turns.saturating_add(1);
        let sleep = self.next_sleep();
        if sleep.is_zero() {
            std::hint::spin_loop();
            return false;
        }
        std::thread::sleep(sleep);
        true
    }

    fn next_sleep(&self) -> Duration {
        if self.poll == Poll::Busy || self.turns < Self::PAUSES {
            return Duration::ZERO;
        }
        let limit = self.limit.get();
        if self.turns < Self::PAUSES + Self::SHORT_SLEEPS { limit.min(Self::SHORT) } else { limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_burst_of_a_sleep_overflows_the_receive_queue() {
        for (descriptors, speed, longest) in [
            (1024, 10_000, 34_406),
            (1024, 25_000, 13_762),
            (1024, 40_000, 8_601),
            (1024, 100_000, 0),
            (4096, 100_000, 13_762),
            (512, 10_000, 17_203),
            (1024, 1_000, 200_000),
            (1024, 0, 34_406),
            (1024, u32::MAX, 34_406),
        ] {
            let sleep = longest_sleep(descriptors, speed);
            assert_eq!(sleep, Duration::from_nanos(longest), "{descriptors} descriptors at {speed} Mbit/s");
            if speed != 0 && speed != u32::MAX {
                let frames = sleep.as_secs_f64() * f64::from(speed) * 1e6 / 672.0;
                assert!(frames <= f64::from(descriptors) / 2.0, "{frames} frames come during a sleep");
            }
        }
    }

    #[test]
    fn a_worker_pauses_then_naps_then_sleeps_as_long_as_the_links_allow() {
        let limit = Arc::new(SleepLimit::default());
        let mut idle = Idle::new(Poll::Adaptive, Arc::clone(&limit));
        let at = |idle: &mut Idle, turns| {
            idle.turns = turns;
            idle.next_sleep()
        };
        assert_eq!(at(&mut idle, 199), Duration::ZERO);
        assert_eq!(at(&mut idle, 200), Duration::from_micros(10));
        assert_eq!(at(&mut idle, 800), Duration::from_nanos(34_406));
        limit.set(longest_sleep(1024, 100_000));
        assert_eq!((at(&mut idle, 200), at(&mut idle, u32::MAX)), (Duration::ZERO, Duration::ZERO));
        let mut busy = Idle::new(Poll::Busy, limit);
        assert_eq!(at(&mut busy, u32::MAX), Duration::ZERO);
    }

    #[test]
    fn nothing_else_lies_on_the_lines_of_the_limit() {
        crate::testing::assert_own_lines(&SleepLimit::default().0);
    }
}
