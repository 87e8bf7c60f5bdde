//! Since when, and how fast: totals that only grow, remembered at the marks of a second, a minute and an hour.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use dataplane::verdict::DropReason;

const DROPS: usize = DropReason::ALL.len();
/// Drops by [`DropReason::index`].
pub(super) type Totals = [u64; DROPS];

/// A reason that grew in so many slots on end keeps growing.
const SLOTS: u32 = 6;
/// How long a slot is.
const SLOT: Duration = Duration::from_secs(10);

/// What is known of one reason.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Packets.
    pub count: u64,
    /// Packets a second in the last second or two.
    pub rate: f64,
    /// In the last minute, or since the start.
    pub rate_1m: f64,
    /// In the last hour, or since the start.
    pub rate_1h: f64,
    /// When the first was counted.
    pub first_seen: Option<SystemTime>,
    /// When the last was counted.
    pub last_seen: Option<SystemTime>,
    /// Since when it has grown without a pause, if it has for a minute.
    pub persistent_since: Option<SystemTime>,
}

/// Totals at moments of the past, as far back as rates need them.
struct Window {
    span: Duration,
    every: Duration,
    marks: VecDeque<(Duration, Box<Totals>)>,
}

impl Window {
    fn new(span: u64, every: u64) -> Self {
        Self {
            span: Duration::from_secs(span),
            every: Duration::from_secs(every),
            marks: VecDeque::from([(Duration::ZERO, Box::new([0; DROPS]))]),
        }
    }

    fn mark(&mut self, now: Duration, totals: &Totals) {
        // The newest mark that is as old as the window is what the rate counts from.
        while self.marks.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= self.span) {
            self.marks.pop_front();
        }
        if self.marks.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= self.every) {
            self.marks.push_back((now, Box::new(*totals)));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate is a rounded number")]
    fn rate(&self, now: Duration, totals: &Totals, reason: usize) -> f64 {
        let Some((at, before)) = self.marks.front() else { return 0.0 };
        let seconds = now.saturating_sub(*at).as_secs_f64();
        if seconds > 0.0 { (totals[reason] - before[reason]) as f64 / seconds } else { 0.0 }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Track {
    first: Option<SystemTime>,
    last: Option<SystemTime>,
    /// Its count when the slot began.
    at_slot: u64,
    /// Slots on end in which it grew, and since when.
    streak: u32,
    since: Option<SystemTime>,
}

/// The past of every reason.
pub(super) struct History {
    now: Duration,
    totals: Totals,
    tracks: [Track; DROPS],
    second: Window,
    minute: Window,
    hour: Window,
    slot_began: (Duration, SystemTime),
}

impl History {
    /// Nothing has been dropped at `wall`.
    pub(super) fn new(wall: SystemTime) -> Self {
        Self {
            now: Duration::ZERO,
            totals: [0; DROPS],
            tracks: [Track::default(); DROPS],
            second: Window::new(1, 1),
            minute: Window::new(60, 1),
            hour: Window::new(3600, 60),
            slot_began: (Duration::ZERO, wall),
        }
    }

    /// The totals are `totals`, `now` after the start, when clocks on the wall show `wall`. At least once a second.
    pub(super) fn tick(&mut self, now: Duration, wall: SystemTime, totals: &Totals) {
        self.now = now;
        for (reason, track) in self.tracks.iter_mut().enumerate() {
            // Packets lost behind a worker are counted a moment before they are taken off its punts: never less.
            let total = totals[reason].max(self.totals[reason]);
            if total > self.totals[reason] {
                track.first.get_or_insert(wall);
                track.last = Some(wall);
            }
            self.totals[reason] = total;
        }
        for window in [&mut self.second, &mut self.minute, &mut self.hour] {
            window.mark(now, &self.totals);
        }
        if now.saturating_sub(self.slot_began.0) >= SLOT {
            self.end_slot(now, wall);
        }
    }

    fn end_slot(&mut self, now: Duration, wall: SystemTime) {
        let began = self.slot_began.1;
        self.slot_began = (now, wall);
        for (track, total) in self.tracks.iter_mut().zip(self.totals) {
            if total > track.at_slot {
                track.streak += 1;
                track.since.get_or_insert(began);
            } else {
                (track.streak, track.since) = (0, None);
            }
            track.at_slot = total;
        }
    }

    /// What is known of a reason.
    pub(super) fn rates(&self, reason: DropReason) -> Rates {
        let index = reason.index();
        let track = &self.tracks[index];
        let rate = |window: &Window| window.rate(self.now, &self.totals, index);
        Rates {
            count: self.totals[index],
            rate: rate(&self.second),
            rate_1m: rate(&self.minute),
            rate_1h: rate(&self.hour),
            first_seen: track.first,
            last_seen: track.last,
            persistent_since: track.since.filter(|_| track.streak >= SLOTS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASON: DropReason = DropReason::NoRoute;

    /// Ticks every second from `from` to `to`, with what `total` says at each.
    fn run(history: &mut History, from: u64, to: u64, total: impl Fn(u64) -> u64) {
        for second in from..=to {
            let mut totals = [0; DROPS];
            totals[REASON.index()] = total(second);
            history.tick(Duration::from_secs(second), wall(second), &totals);
        }
    }

    fn wall(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + second)
    }

    fn assert_near(rate: f64, expected: f64) {
        assert!((rate - expected).abs() <= expected * 0.02 + 1e-9, "{rate} is not {expected}");
    }

    #[test]
    fn rates_are_of_the_last_second_minute_and_hour() {
        let mut history = History::new(wall(0));
        // 7 a second for two hours, then nothing, then 100 a second for five seconds.
        run(&mut history, 1, 7200, |second| 7 * second);
        let rates = history.rates(REASON);
        assert_near(rates.rate, 7.0);
        assert_near(rates.rate_1m, 7.0);
        assert_near(rates.rate_1h, 7.0);
        assert_eq!((rates.first_seen, rates.last_seen), (Some(wall(1)), Some(wall(7200))));
        run(&mut history, 7201, 7320, |_| 7 * 7200);
        let rates = history.rates(REASON);
        assert_near(rates.rate, 0.0);
        assert_near(rates.rate_1m, 0.0);
        assert_near(rates.rate_1h, 7.0 * 3480.0 / 3600.0);
        assert_eq!(rates.last_seen, Some(wall(7200)));
        run(&mut history, 7321, 7325, |second| 7 * 7200 + 100 * (second - 7320));
        let rates = history.rates(REASON);
        assert_near(rates.rate, 100.0);
        assert_near(rates.rate_1m, 500.0 / 60.0);
        assert_eq!(rates.count, 7 * 7200 + 500);
    }

    #[test]
    fn early_rates_are_those_since_the_start_and_others_are_left_alone() {
        let mut history = History::new(wall(0));
        run(&mut history, 1, 10, |second| 30 * second);
        assert_near(history.rates(REASON).rate_1h, 30.0);
        let other = history.rates(DropReason::Starting);
        assert_eq!((other.count, other.first_seen, other.last_seen), (0, None, None));
    }

    #[test]
    fn memory_is_bounded_however_often_and_late_it_ticks() {
        let mut history = History::new(wall(0));
        for tick in 0..50_000_u64 {
            history.tick(Duration::from_millis(tick * 130), wall(tick), &[tick; DROPS]);
        }
        for window in [&history.second, &history.minute, &history.hour] {
            assert!(window.marks.len() <= 62, "{}", window.marks.len());
        }
    }

    #[test]
    fn a_reason_that_grows_for_a_minute_is_persistent_until_it_stops() {
        let mut history = History::new(wall(0));
        // One packet every eight seconds.
        run(&mut history, 1, 59, |second| second / 8);
        assert_eq!(history.rates(REASON).persistent_since, None);
        run(&mut history, 60, 100, |second| second / 8);
        assert_eq!(history.rates(REASON).persistent_since, Some(wall(0)));
        run(&mut history, 101, 130, |_| 12);
        assert_eq!(history.rates(REASON).persistent_since, None);
        // A burst now and then is not persistent.
        run(&mut history, 131, 400, |second| 12 + second / 30);
        assert_eq!(history.rates(REASON).persistent_since, None);
    }
}
