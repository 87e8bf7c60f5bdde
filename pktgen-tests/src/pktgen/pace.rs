//! When the next packets are due.

use super::config::Rate;

/// Packets that may be caught up with after the sender was kept from running. More would be a burst the device never
/// agreed to: they are given up, and counted.
const MOST_DEBT: u64 = 256;

/// The schedule of one port.
#[derive(Debug, Clone)]
pub struct Pacer {
    /// Packets per cycle; none is as many as the driver takes.
    per_cycle: Option<f64>,
    start: u64,
    granted: u64,
    missed: u64,
    refused: u64,
}

impl Pacer {
    /// A schedule that begins at `start`, on a clock of `hertz`.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "frequencies are far below 2^52")]
    pub fn new(rate: Rate, start: u64, hertz: u64) -> Self {
        let per_cycle = match rate {
            Rate::Max => None,
            Rate::PerSecond(rate) => Some(rate / hertz as f64),
        };
        Self { per_cycle, start, granted: 0, missed: 0, refused: 0 }
    }

    /// How many packets may be sent now, `most` at most: as many as there is room for. They count as granted: see
    /// [`Pacer::give_back`].
    #[inline]
    pub fn due(&mut self, now: u64, most: usize) -> usize {
        let Some(per_cycle) = self.per_cycle else {
            return most;
        };
        let mut due = scheduled(now.wrapping_sub(self.start), per_cycle).saturating_sub(self.granted);
        if due > MOST_DEBT {
            // Without room it is the port that does not take what is written.
            let reason = if most == 0 { &mut self.refused } else { &mut self.missed };
            *reason += due - MOST_DEBT;
            self.granted += due - MOST_DEBT;
            due = MOST_DEBT;
        }
        let due = usize::try_from(due).unwrap_or(most).min(most);
        self.granted += due as u64;
        due
    }

    /// The schedule ends: what is still due at `end` is given up.
    pub fn close(&mut self, end: u64) {
        if let Some(per_cycle) = self.per_cycle {
            let due = scheduled(end.wrapping_sub(self.start), per_cycle).saturating_sub(self.granted);
            self.missed += due;
            self.granted += due;
        }
    }

    /// So many of the packets granted last were not made.
    #[inline]
    pub fn give_back(&mut self, count: usize) {
        if self.per_cycle.is_some() {
            self.granted -= count as u64;
        }
    }

    /// Packets that were due and were given up, because nobody asked in time.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }

    /// Packets that were due and were given up for want of room.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

/// Packets of the schedule so far.
#[inline]
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive number far below 2^52"
)]
fn scheduled(cycles: u64, per_cycle: f64) -> u64 {
    (cycles as f64 * per_cycle) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERTZ: u64 = 2_300_000_000;

    #[test]
    fn a_second_holds_the_rate() {
        for rate in [1.0, 999.5, 1e6, 14_880_952.0] {
            let mut pacer = Pacer::new(Rate::PerSecond(rate), 1 << 40, HERTZ);
            let mut sent = 0;
            for now in ((1 << 40)..=(1 << 40) + HERTZ).step_by(2_000) {
                sent += pacer.due(now, 64);
            }
            let difference = sent as f64 - rate;
            assert!(difference.abs() <= 2.0, "{sent} instead of {rate}");
            assert_eq!(pacer.missed(), 0);
        }
    }

    #[test]
    fn a_pause_is_not_caught_up_with() {
        let mut pacer = Pacer::new(Rate::PerSecond(1e6), 0, HERTZ);
        let after = HERTZ / 10;
        assert_eq!(pacer.due(after, 64), 64);
        assert_eq!(pacer.missed(), 100_000 - 256);
        let rest: usize = (0..10).map(|_| pacer.due(after, 64)).sum();
        assert_eq!(rest, 192);
    }

    #[test]
    fn what_is_due_at_the_end_is_given_up_once() {
        let mut pacer = Pacer::new(Rate::PerSecond(1e6), 0, HERTZ);
        assert_eq!(pacer.due(HERTZ / 10_000, 64), 64);
        pacer.close(HERTZ / 1000);
        pacer.close(HERTZ / 1000);
        assert_eq!(pacer.missed(), 1000 - 64);
    }

    #[test]
    fn a_full_port_is_told_from_a_pause() {
        let mut pacer = Pacer::new(Rate::PerSecond(1e6), 0, HERTZ);
        assert_eq!(pacer.due(HERTZ / 100, 0), 0);
        assert_eq!((pacer.missed(), pacer.refused()), (0, 10_000 - 256));
    }

    #[test]
    fn what_is_given_back_stays_due() {
        let mut pacer = Pacer::new(Rate::PerSecond(1e6), 0, HERTZ);
        assert_eq!(pacer.due(HERTZ / 10_000, 64), 64);
        pacer.give_back(30);
        assert_eq!(pacer.due(HERTZ / 10_000, 100), 66);
    }

    #[test]
    fn the_maximum_is_whatever_fits() {
        let mut pacer = Pacer::new(Rate::Max, 0, HERTZ);
        assert_eq!((pacer.due(0, 17), pacer.due(0, 64)), (17, 64));
    }
}
