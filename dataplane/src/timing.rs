//! Where a worker's time goes: how long its turns take, how long a packet stays, and what a packet of each kind costs.
//!
//! The worker adds to its own cells and nobody else writes them, so an addition is a load and a store. A turn is measured
//! with the two clock reads it has anyway. One turn in `Sampling::EVERY` is looked at more closely: its bursts are timed one by
//! one, and a burst's cycles are shared out equally among its packets by what became of them. Bursts of one kind are exact;
//! with one family to a port nearly all are.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::counters::{Counts, Event};

/// Buckets of a [`Histogram`]: below 0.25 us, below 0.5 us, and so on by powers of two up to 4096 us, and the rest.
pub const BUCKETS: usize = 16;

/// Upper bounds of all buckets but the last, in seconds: 2.5e-7, 5e-7, 1e-6, 2e-6, ...
pub const BOUNDS: [f64; BUCKETS - 1] = {
    let mut bounds = [0.000_000_25; BUCKETS - 1];
    let mut bucket = 1;
    while bucket < bounds.len() {
        bounds[bucket] = bounds[bucket - 1] * 2.0;
        bucket += 1;
    }
    bounds
};

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Translated from IPv4 to IPv6.
    V4ToV6,
    /// Translated from IPv6 to IPv4.
    V6ToV4,
    /// Forwarded as it was.
    Native,
    /// Given to the kernel.
    Punted,
    /// Dropped.
    Dropped,
}

impl Kind {
    /// Every kind, in the order of its cells.
    pub const ALL: &'static [Self] = &[Self::V4ToV6, Self::V6ToV4, Self::Native, Self::Punted, Self::Dropped];

    /// Which way it went: `v4_to_v6`, `v6_to_v4`, or `none` for what was not translated.
    #[must_use]
    pub const fn direction(self) -> &'static str {
        match self {
            Self::V4ToV6 => "v4_to_v6",
            Self::V6ToV4 => "v6_to_v4",
            Self::Native | Self::Punted | Self::Dropped => "none",
        }
    }

    /// How it ended: `translated`, `native`, `punted` or `dropped`.
    #[must_use]
    pub const fn verdict(self) -> &'static str {
        match self {
            Self::V4ToV6 | Self::V6ToV4 => "translated",
            Self::Native => "native",
            Self::Punted => "punted",
            Self::Dropped => "dropped",
        }
    }
}

const KINDS: usize = Kind::ALL.len();

/// Packets of all kinds so far.
type Ended = [u64; KINDS];

fn ended(counts: &Counts) -> Ended {
    let event = |event| counts.event(event);
    let translated = [event(Event::TranslatedV4ToV6), event(Event::TranslatedV6ToV4)];
    [translated[0], translated[1], event(Event::Native), counts.all_punted(), counts.all_dropped()]
}

/// How often something took how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histogram {
    /// How often, by bucket; not cumulated.
    pub counts: [u64; BUCKETS],
    /// Cycles, all together.
    pub cycles: u64,
}

impl Histogram {
    /// Adds another worker's.
    pub fn merge(&mut self, other: &Self) {
        self.cycles += other.cycles;
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    /// How often in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What a sample of packets cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Packets in it.
    pub packets: u64,
    /// TSC cycles they took, from the receive queue to the transmit queue.
    pub cycles: u64,
}

/// Where one worker's time went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Turns with something to do.
    pub turns: Histogram,
    /// From fetching a sampled packet to handing it over.
    pub stay: Histogram,
    /// What sampled packets cost, by [`Kind`].
    pub costs: [Cost; KINDS],
}

impl Timings {
    /// What packets of a kind cost.
    #[must_use]
    pub const fn cost(&self, kind: Kind) -> Cost {
        self.costs[kind as usize]
    }
}

#[derive(Default)]
struct HistogramCells {
    counts: [AtomicU64; BUCKETS],
    cycles: AtomicU64,
}

impl HistogramCells {
    #[inline]
    fn add(&self, quarters: u64, cycles: u64) {
        let bucket = (u64::BITS - quarters.leading_zeros()) as usize;
        add(&self.counts[bucket.min(BUCKETS - 1)], 1);
        add(&self.cycles, cycles);
    }

    fn load(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed)),
            cycles: self.cycles.load(Ordering::Relaxed),
        }
    }
}

/// One worker's cells. One writer.
#[derive(Default)]
pub struct TimingCells(CachePadded<Cells>);

#[derive(Default)]
struct Cells {
    turns: HistogramCells,
    stay: HistogramCells,
    costs: [[AtomicU64; 2]; KINDS],
}

/// Adds to a cell that has no other writer.
#[inline]
fn add(cell: &AtomicU64, amount: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

impl TimingCells {
    /// As of now.
    #[must_use]
    pub fn load(&self) -> Timings {
        let cost = |kind: usize| {
            let [packets, cycles] = &self.0.costs[kind];
            Cost { packets: packets.load(Ordering::Relaxed), cycles: cycles.load(Ordering::Relaxed) }
        };
        Timings { turns: self.0.turns.load(), stay: self.0.stay.load(), costs: std::array::from_fn(cost) }
    }
}

/// Decides which turns are looked at, and what a cycle is in time.
#[derive(Debug)]
pub(crate) struct Sampling {
    left: u32,
    /// Quarters of a microsecond in a cycle, times 2^32.
    scale: u64,
}

impl Sampling {
    /// One turn with packets in so many is a sample.
    pub(crate) const EVERY: u32 = 64;

    pub(crate) fn new(hertz: u64) -> Self {
        Self { left: Self::EVERY, scale: (4_000_000_u64 << 32) / hertz.max(1) }
    }

    #[inline]
    fn quarters(&self, cycles: u64) -> u64 {
        // A turn of more than 2^32 cycles is over a second long: it ends in the last bucket all the same.
        (cycles.min(u64::from(u32::MAX)) * self.scale.min(u64::from(u32::MAX))) >> 32
    }

    /// Counts a turn that had something to do.
    #[inline]
    pub(crate) fn turn(&self, cells: &TimingCells, cycles: u64) {
        cells.0.turns.add(self.quarters(cycles), cycles);
    }

    /// At the beginning of a turn: the sample it is going to be, if it is one.
    #[inline]
    pub(crate) fn begin(&self, now: u64, counts: &Counts) -> Option<Sample> {
        (self.left == 0).then(|| Sample::new(now, counts))
    }

    /// At the end of a turn, whose packets have all been handed over.
    #[inline]
    pub(crate) fn end(
        &mut self,
        sample: Option<Sample>,
        worked: bool,
        now: fn() -> u64,
        cells: &TimingCells,
    ) {
        let Some(sample) = sample else {
            self.left -= u32::from(worked);
            return;
        };
        if sample.packets() > 0 {
            self.left = Self::EVERY - 1;
            self.store(&sample, now(), cells);
        }
    }

    fn store(&self, sample: &Sample, now: u64, cells: &TimingCells) {
        let stay = now.wrapping_sub(sample.started);
        cells.0.stay.add(self.quarters(stay), stay);
        let handing_over = now.wrapping_sub(sample.last);
        let packets = sample.packets();
        for (cost, cells) in sample.costs.iter().zip(&cells.0.costs) {
            add(&cells[0], cost.packets);
            add(&cells[1], cost.cycles + handing_over * cost.packets / packets);
        }
    }
}

/// A turn that is looked at.
#[derive(Debug)]
pub(crate) struct Sample {
    started: u64,
    /// When the last burst was through.
    last: u64,
    before: Ended,
    costs: [Cost; KINDS],
}

impl Sample {
    #[cold]
    fn new(now: u64, counts: &Counts) -> Self {
        Self { started: now, last: now, before: ended(counts), costs: Default::default() }
    }

    fn packets(&self) -> u64 {
        self.costs.iter().map(|cost| cost.packets).sum()
    }

    /// A burst is through the walk.
    #[cold]
    pub(crate) fn burst(&mut self, now: u64, counts: &Counts) {
        let after = ended(counts);
        let packets: Ended = std::array::from_fn(|kind| after[kind] - self.before[kind]);
        let (all, cycles) = (packets.iter().sum::<u64>(), now.wrapping_sub(self.last));
        (self.before, self.last) = (after, now);
        for (cost, packets) in self.costs.iter_mut().zip(packets) {
            cost.packets += packets;
            cost.cycles += (cycles * packets).checked_div(all).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryBuffer;
    use crate::sink::Sink;
    use crate::verdict::{DropReason, Verdict};

    const HERTZ: u64 = 4_000_000_000;
    /// 16,000 cycles of the clock above are 4 us.
    fn later() -> u64 {
        16_000
    }

    fn sampled(bursts: &[(u64, &[Kind])]) -> Timings {
        let (mut sampling, cells) = (Sampling { left: 0, ..Sampling::new(HERTZ) }, TimingCells::default());
        let mut sink = Sink::default();
        let mut sample = sampling.begin(0, &sink.counts);
        for (now, packets) in bursts {
            for kind in *packets {
                match kind {
                    Kind::V4ToV6 => sink.counts.count(Event::TranslatedV4ToV6),
                    Kind::V6ToV4 => sink.counts.count(Event::TranslatedV6ToV4),
                    Kind::Native => sink.counts.count(Event::Native),
                    Kind::Punted => unreachable!("not in these tests"),
                    Kind::Dropped => {
                        sink.finish(MemoryBuffer::new(&[0]), Verdict::Dropped(DropReason::NoRoute));
                    }
                }
            }
            sample.as_mut().unwrap().burst(*now, &sink.counts);
        }
        sampling.end(sample, true, later, &cells);
        cells.load()
    }

    #[test]
    fn buckets_are_powers_of_two_of_a_quarter_of_a_microsecond() {
        let (sampling, cells) = (Sampling::new(HERTZ), TimingCells::default());
        for cycles in [0, 999, 1001, 2001, 3999, 16_001, 20_000_000, u64::MAX] {
            sampling.turn(&cells, cycles);
        }
        let turns = cells.load().turns;
        assert_eq!(turns.counts[..6], [2, 1, 2, 0, 0, 1], "{turns:?}");
        assert_eq!((turns.counts[BUCKETS - 1], turns.count()), (2, 8));
        assert!((BOUNDS[2] - 1e-6).abs() < 1e-12 && (BOUNDS[BUCKETS - 2] - 0.004_096).abs() < 1e-9);
    }

    #[test]
    fn a_sample_shares_cycles_out_by_what_became_of_packets() {
        use Kind::{Dropped, V4ToV6, V6ToV4};
        let timings = sampled(&[(1000, &[V4ToV6, V4ToV6]), (4000, &[V6ToV4]), (12_000, &[V6ToV4, Dropped])]);
        // Handing over took 4000 cycles for five packets: 800 each.
        assert_eq!(timings.cost(V4ToV6), Cost { packets: 2, cycles: 1000 + 1600 });
        assert_eq!(timings.cost(V6ToV4), Cost { packets: 2, cycles: 3000 + 4000 + 1600 });
        assert_eq!(timings.cost(Dropped), Cost { packets: 1, cycles: 4000 + 800 });
        assert_eq!(timings.costs.iter().map(|cost| cost.cycles).sum::<u64>(), later());
        assert_eq!((timings.stay.count(), timings.stay.cycles), (1, later()));
        assert_eq!(timings.stay.counts[4], 1, "4 us and no more");
    }

    #[test]
    fn one_turn_with_packets_in_so_many_is_a_sample() {
        let (mut sampling, cells) = (Sampling::new(HERTZ), TimingCells::default());
        let mut counts = Counts::default();
        for turn in 0..10 * Sampling::EVERY {
            // Turns without packets are neither counted nor sampled.
            let idle = sampling.begin(0, &counts);
            sampling.end(idle, false, later, &cells);
            let mut sample = sampling.begin(0, &counts);
            counts.count(Event::Native);
            if let Some(sample) = &mut sample {
                sample.burst(100, &counts);
            }
            sampling.end(sample, true, later, &cells);
            assert_eq!(cells.load().stay.count(), u64::from((turn) / Sampling::EVERY), "turn {turn}");
        }
    }
}
