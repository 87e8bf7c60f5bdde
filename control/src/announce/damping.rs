//! Who was ill is not believed at once: an announcement that comes and goes costs the whole network.

use std::time::{Duration, Instant};

/// How long the tests must pass after the first failure.
const FIRST: Duration = Duration::from_secs(3);
/// The longest that is asked of them.
const LONGEST: Duration = Duration::from_secs(60);
/// Failures further apart than that are first ones.
const MEMORY: Duration = Duration::from_secs(300);

/// Whether one thing may be announced.
#[derive(Debug, Default)]
pub(super) struct Damping {
    well_since: Option<Instant>,
    failed: Option<Instant>,
    hold: Duration,
}

impl Damping {
    /// The tests pass, or do not; whether it may be announced now. The first time, as soon as they pass.
    pub(super) fn look(&mut self, is_well: bool, now: Instant) -> bool {
        if is_well {
            return now.duration_since(*self.well_since.get_or_insert(now)) >= self.hold;
        }
        if self.well_since.take().is_some() {
            let again = self.failed.is_some_and(|failed| now.duration_since(failed) < MEMORY);
            self.hold = if again { (self.hold * 2).min(LONGEST) } else { FIRST };
            self.failed = Some(now);
        }
        false
    }

    /// How much longer the tests must pass.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.well_since.map_or(self.hold, |since| self.hold.saturating_sub(now.duration_since(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_is_free_and_each_failure_costs_twice_the_one_before() {
        let (mut damping, start) = (Damping::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!damping.look(false, at(0)), "not before the tests pass");
        assert!(damping.look(true, at(1)), "and at once then");
        let mut now = 10;
        for hold in [3, 6, 12, 24, 48, 60, 60] {
            assert!(!damping.look(false, at(now)));
            assert!(!damping.look(true, at(now)) && !damping.look(true, at(now + hold - 1)));
            assert_eq!(damping.left(at(now + hold - 1)), Duration::from_secs(1));
            assert!(damping.look(true, at(now + hold)), "{hold}");
            now += hold + 1;
        }
        now += 301;
        assert!(damping.look(true, at(now)) && !damping.look(false, at(now)));
        assert!(!damping.look(true, at(now)) && damping.look(true, at(now + 3)), "forgotten");
    }
}
