//! What a worker does when there is nothing to do: it looks again, pauses, and sleeps for as long as no burst can be lost, or
//! until a receive queue interrupts.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::io::Alarm;

/// What a worker does when there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// Looks again at once, then pauses, then sleeps: until a receive queue interrupts where all of them can, and for up to
    /// [`SleepLimit`] where not.
    Adaptive,
    /// Always looks again at once.
    Busy,
    /// As adaptive; but once there was nothing for some 20 milliseconds it sleeps for ten at a time, whatever a link could
    /// bring meanwhile.
    Sleep,
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

/// A frame of the kernel waits for the worker to wake, as do the order to stop and a new snapshot: none of them interrupts.
const LONGEST: Duration = Duration::from_micros(200);
/// The same where the processor matters more than a frame's wait.
const LONGEST_OF_SLEEPERS: Duration = Duration::from_millis(10);

/// How long a worker may sleep between two looks at a receive queue of so many descriptors: half the time that the
/// shortest frames need to fill it, all of them at the speed of the link; the other half is for waking up. Zero where that
/// is less than a sleep costs: such a queue must be polled. An unknown speed (0 or `u32::MAX`) counts as 10 Gbit/s.
#[must_use]
pub fn longest_sleep(descriptors: u16, speed_mbps: u32) -> Duration {
    /// Bits of a 64-byte frame on the wire, with preamble and gap.
    const SHORTEST: u64 = (64 + 8 + 12) * 8;
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
    alarm: Option<Box<dyn Alarm>>,
    armed: bool,
    turns: u32,
}

impl Idle {
    /// Looks at once before the first sleep: some tens of microseconds.
    const PAUSES: u32 = 200;
    /// Short sleeps before the first long one.
    const SHORT_SLEEPS: u32 = 600;
    const SHORT: Duration = Duration::from_micros(10);
    /// Turns before the first wait for an interrupt where a sleep is forbidden: about a millisecond. Such a link fills its
    /// descriptors faster than a worker wakes, so it must really be quiet.
    const PATIENCE: u32 = 20_000;
    /// Turns before [`Poll::Sleep`] sleeps at all: one turn is some system calls with the drivers of small machines.
    const PAUSES_OF_SLEEPERS: u32 = 20;
    /// Turns before it sleeps longer than a burst may last: naps of 200 microseconds in between, for some 20 milliseconds.
    const QUIET: u32 = 120;

    pub(super) fn new(poll: Poll, limit: Arc<SleepLimit>, alarm: Option<Box<dyn Alarm>>) -> Self {
        let alarm = alarm.filter(|_| poll != Poll::Busy);
        Self { poll, limit, alarm, armed: false, turns: 0 }
    }

    /// For the thread that will sleep: by default the kernel adds up to 50 microseconds to every sleep, which would be
    /// more than the sleep itself.
    pub(super) fn prepare_thread(&self) {
        if self.poll != Poll::Busy {
            // Refused on no Linux; then sleeps are too long, as they were before.
            let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1000));
        }
    }

    /// There was something to do.
    #[inline]
    pub(super) fn worked(&mut self) {
        self.turns = 0;
        if self.armed {
            self.disarm();
        }
    }

    /// Whether this is the first turn in vain after others.
    #[inline]
    pub(super) const fn is_first(&self) -> bool {
        self.turns == 1
    }

    /// Whether each turn takes so long that its numbers must not wait for others: who counts seldom looks as if it hung.
    #[inline]
    pub(super) fn sleeps_long(&self) -> bool {
        self.turns > Self::QUIET && self.poll == Poll::Sleep
    }

    /// There was nothing to do: whether it is time to wait for an interrupt. The queues interrupt from now on, and must be
    /// looked at once more before [`Idle::rest`], for what came before.
    #[inline]
    pub(super) fn arm(&mut self) -> bool {
        self.alarm.is_some() && self.turns >= self.first_wait() && self.arm_now()
    }

    #[cold]
    fn arm_now(&mut self) -> bool {
        self.armed = self.alarm.as_mut().is_some_and(|alarm| alarm.arm());
        if !self.armed
            && let Some(mut alarm) = self.alarm.take()
        {
            // It could at first and cannot now: it sleeps by the clock from here on.
            alarm.disarm();
        }
        self.armed
    }

    #[cold]
    fn disarm(&mut self) {
        self.armed = false;
        if let Some(alarm) = &mut self.alarm {
            alarm.disarm();
        }
    }

    fn first_wait(&self) -> u32 {
        if self.limit.get().is_zero() { Self::PATIENCE } else { Self::PAUSES + Self::SHORT_SLEEPS }
    }

    /// There was nothing to do: backs off; whether it slept.
    pub(super) fn rest(&mut self) -> bool {
        if self.armed {
            self.wait();
            return true;
        }
        self.turns = self.turns.saturating_add(1);
        let sleep = self.next_sleep();
        if sleep.is_zero() {
            std::hint::spin_loop();
            return false;
        }
        std::thread::sleep(sleep);
        true
    }

    fn wait(&mut self) {
        let longest = if self.poll == Poll::Sleep { LONGEST_OF_SLEEPERS } else { LONGEST };
        if self.alarm.as_mut().is_some_and(|alarm| alarm.wait(longest)) {
            // Some drivers interrupt a moment before the frame can be seen: looks closely for a while.
            self.turns = 0;
        }
        self.disarm();
    }

    const fn sleep_of_sleepers(turns: u32) -> Duration {
        match turns {
            0..Self::PAUSES_OF_SLEEPERS => Duration::ZERO,
            Self::PAUSES_OF_SLEEPERS..Self::QUIET => LONGEST,
            _ => LONGEST_OF_SLEEPERS,
        }
    }

    fn next_sleep(&self) -> Duration {
        if self.poll == Poll::Sleep {
            return Self::sleep_of_sleepers(self.turns);
        }
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
        let mut idle = Idle::new(Poll::Adaptive, Arc::clone(&limit), None);
        let at = |idle: &mut Idle, turns| {
            idle.turns = turns;
            idle.next_sleep()
        };
        assert_eq!(at(&mut idle, 199), Duration::ZERO);
        assert_eq!(at(&mut idle, 200), Duration::from_micros(10));
        assert_eq!(at(&mut idle, 800), Duration::from_nanos(34_406));
        limit.set(longest_sleep(1024, 100_000));
        assert_eq!((at(&mut idle, 200), at(&mut idle, u32::MAX)), (Duration::ZERO, Duration::ZERO));
        let mut busy = Idle::new(Poll::Busy, Arc::clone(&limit), None);
        assert_eq!(at(&mut busy, u32::MAX), Duration::ZERO);
        let mut sleeper = Idle::new(Poll::Sleep, limit, None);
        assert_eq!((at(&mut sleeper, 19), at(&mut sleeper, 20)), (Duration::ZERO, LONGEST), "on any link");
        assert_eq!((at(&mut sleeper, 119), at(&mut sleeper, 120)), (LONGEST, Duration::from_millis(10)));
    }

    #[test]
    fn nothing_else_lies_on_the_lines_of_the_limit() {
        crate::testing::assert_own_lines(&SleepLimit::default().0);
    }

    /// What an alarm was asked for, and how it answers.
    #[derive(Clone, Default)]
    struct Script(Arc<std::sync::Mutex<Vec<&'static str>>>, bool, bool);

    impl Alarm for Script {
        fn arm(&mut self) -> bool {
            self.0.lock().unwrap().push("arm");
            self.1
        }

        fn wait(&mut self, longest: Duration) -> bool {
            assert_eq!(longest, LONGEST);
            self.0.lock().unwrap().push("wait");
            self.2
        }

        fn disarm(&mut self) {
            self.0.lock().unwrap().push("disarm");
        }
    }

    impl Script {
        /// A worker that was idle for so many turns on links of this speed.
        fn idle(&self, poll: Poll, turns: u32, speed: u32) -> Idle {
            let limit = SleepLimit::default();
            limit.set(longest_sleep(1024, speed));
            let mut idle = Idle::new(poll, Arc::new(limit), Some(Box::new(self.clone())));
            idle.turns = turns;
            idle
        }

        fn take(&self) -> Vec<&'static str> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    #[test]
    fn a_worker_waits_for_an_interrupt_again_and_again() {
        let script = Script(Arc::default(), true, false);
        let mut idle = script.idle(Poll::Adaptive, 800, 10_000);
        for _ in 0..3 {
            assert!(idle.arm());
            assert!(idle.rest(), "it slept");
            assert_eq!(script.take(), ["arm", "wait", "disarm"]);
        }
        let script = Script(Arc::default(), true, true);
        let mut idle = script.idle(Poll::Adaptive, 800, 10_000);
        assert!(idle.arm() && idle.rest());
        assert!(!idle.arm(), "after an interrupt it looks closely for a while");
        assert_eq!(script.take(), ["arm", "wait", "disarm"]);
    }

    #[test]
    fn a_frame_of_the_last_look_keeps_a_worker_from_waiting() {
        let script = Script(Arc::default(), true, true);
        let mut idle = script.idle(Poll::Adaptive, 800, 10_000);
        assert!(idle.arm());
        idle.worked();
        assert!(!idle.rest(), "it pauses");
        assert_eq!(script.take(), ["arm", "disarm"]);
    }

    #[test]
    fn a_worker_arms_only_after_a_while_and_later_where_a_burst_would_overflow() {
        for (poll, turns, speed, arms) in [
            (Poll::Adaptive, 799, 10_000, false),
            (Poll::Adaptive, 800, 10_000, true),
            (Poll::Adaptive, 800, 100_000, false),
            (Poll::Adaptive, 20_000, 100_000, true),
            (Poll::Busy, u32::MAX, 10_000, false),
        ] {
            let script = Script(Arc::default(), true, true);
            assert_eq!(script.idle(poll, turns, speed).arm(), arms, "{poll:?} {turns} {speed}");
            assert_eq!(script.take().is_empty(), !arms);
        }
    }

    #[test]
    fn a_worker_whose_queues_cannot_interrupt_any_more_sleeps_by_the_clock() {
        let script = Script(Arc::default(), false, true);
        let mut idle = script.idle(Poll::Adaptive, 800, 10_000);
        assert!(!idle.arm());
        assert!(idle.rest(), "it slept");
        assert!(!idle.arm());
        assert_eq!(script.take(), ["arm", "disarm"]);
    }
}
