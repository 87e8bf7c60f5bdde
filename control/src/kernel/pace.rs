//! When the kernel is asked for everything anew: soon after a doubt, and never for more than a tenth of the time.

use std::time::{Duration, Instant};

/// Doubts gather this long before a dump.
const DELAY: Duration = Duration::from_millis(20);
/// A dump is followed by this many times its own duration without one.
const SHARE: u32 = 9;
/// A failed dump is tried again after.
const RETRY: Duration = Duration::from_secs(1);

/// See above.
pub(super) struct Pace {
    due: Option<Instant>,
    not_before: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { due: None, not_before: now }
    }

    /// When the next dump begins; none if nothing is in doubt.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is known may be wrong.
    pub(super) fn doubt(&mut self, now: Instant) {
        let due = (now + DELAY).max(self.not_before);
        self.due.get_or_insert(due);
    }

    /// A dump begins, which settles the doubts there were.
    pub(super) const fn begin(&mut self) {
        self.due = None;
    }

    /// It has ended after that time.
    pub(super) fn end(&mut self, now: Instant, took: Duration) {
        self.not_before = now + took * SHARE;
        // Doubted while it ran: before it was known how long it takes.
        self.due = self.due.map(|due| due.max(self.not_before));
    }

    /// It has failed.
    pub(super) fn fail(&mut self, now: Instant) {
        self.due = Some(now + RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_that_are_doubted_while_they_run_do_not_follow_each_other_at_once() {
        let took = Duration::from_millis(100);
        let start = Instant::now();
        let (mut pace, mut now) = (Pace::new(start), start);
        assert_eq!(pace.due(), None);
        pace.doubt(now);
        for number in 0..10 {
            now = now.max(pace.due().unwrap());
            assert!(now >= start + number * (1 + SHARE) * took, "a tenth of the time");
            pace.begin();
            // The kernel says at once that something has changed meanwhile.
            pace.doubt(now);
            now += took;
            pace.end(now, took);
        }
    }

    #[test]
    fn doubts_gather_and_what_failed_is_tried_again_in_a_while() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.doubt(start);
        pace.doubt(start + DELAY / 2);
        assert_eq!(pace.due(), Some(start + DELAY), "the first doubt counts");
        pace.begin();
        pace.fail(start + DELAY);
        pace.doubt(start + DELAY);
        assert_eq!(pace.due(), Some(start + DELAY + RETRY));
    }
}
