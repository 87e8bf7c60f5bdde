//! Taking the relay out of service: worse routes, none, and then as long as it takes until nobody sends any more.

use std::time::{Duration, Instant};

/// Where a drain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainPhase {
    /// The routes are worse than usual: whoever knows another way takes it.
    Leading,
    /// There are no routes; there is still traffic.
    Withdrawn,
    /// It has been quiet for as long as is asked for.
    Done,
}

impl DrainPhase {
    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leading => "leading",
            Self::Withdrawn => "withdrawn",
            Self::Done => "done",
        }
    }
}

/// A drain in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainStatus {
    /// Where it stands.
    pub phase: DrainPhase,
    /// How long it has lasted.
    pub lasted: Duration,
    /// How long the routes stay.
    pub lead_left: Duration,
    /// How long it has been quiet without a break.
    pub quiet: Duration,
}

/// A drain.
#[derive(Debug)]
pub(super) struct Drain {
    started: Instant,
    lead: Duration,
    quiet_since: Option<Instant>,
    is_done: bool,
}

impl Drain {
    pub(super) fn start(lead: Duration, now: Instant) -> Self {
        Self { started: now, lead, quiet_since: None, is_done: false }
    }

    /// The lead is another from now on: never longer than it was.
    pub(super) fn hurry(&mut self, lead: Duration, now: Instant) {
        let left = now.duration_since(self.started) + lead;
        self.lead = self.lead.min(left);
    }

    pub(super) fn phase(&self, now: Instant) -> DrainPhase {
        if now.duration_since(self.started) < self.lead {
            DrainPhase::Leading
        } else if self.is_done {
            DrainPhase::Done
        } else {
            DrainPhase::Withdrawn
        }
    }

    /// It is quiet, or not. Only what comes after the routes are gone counts; once done it stays so.
    pub(super) fn look(&mut self, is_quiet: bool, needed: Duration, now: Instant) {
        if self.phase(now) != DrainPhase::Withdrawn {
            return;
        }
        if !is_quiet {
            self.quiet_since = None;
            return;
        }
        let since = *self.quiet_since.get_or_insert(now);
        self.is_done = now.duration_since(since) >= needed;
    }

    pub(super) fn status(&self, now: Instant) -> DrainStatus {
        let lasted = now.duration_since(self.started);
        DrainStatus {
            phase: self.phase(now),
            lasted,
            lead_left: self.lead.saturating_sub(lasted),
            quiet: self.quiet_since.map_or(Duration::ZERO, |since| now.duration_since(since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_leads_withdraws_and_waits_for_quiet_without_a_break() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let needed = Duration::from_secs(3);
        let mut drain = Drain::start(Duration::from_secs(10), start);
        drain.look(true, needed, at(9));
        assert_eq!((drain.phase(at(9)), drain.status(at(9)).lead_left.as_secs()), (DrainPhase::Leading, 1));
        for (second, is_quiet, phase) in [
            (10, true, DrainPhase::Withdrawn),
            (12, false, DrainPhase::Withdrawn),
            (13, true, DrainPhase::Withdrawn),
            (15, true, DrainPhase::Withdrawn),
            (16, true, DrainPhase::Done),
            (17, false, DrainPhase::Done),
        ] {
            drain.look(is_quiet, needed, at(second));
            assert_eq!(drain.phase(at(second)), phase, "{second}");
        }
    }

    #[test]
    fn whoever_is_in_a_hurry_shortens_the_lead_and_never_prolongs_it() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut drain = Drain::start(Duration::from_secs(10), start);
        drain.hurry(Duration::from_secs(30), at(1));
        assert_eq!(drain.phase(at(9)), DrainPhase::Leading);
        drain.hurry(Duration::from_secs(1), at(2));
        assert_eq!((drain.phase(at(2)), drain.phase(at(3))), (DrainPhase::Leading, DrainPhase::Withdrawn));
    }
}
