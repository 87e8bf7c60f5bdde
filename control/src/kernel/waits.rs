//! How long packets waited in the queues of the control thread.

use std::time::Duration;

/// Upper bounds of the buckets but the last, in microseconds.
const MICROS: [u64; 7] = [10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000];
/// The same in seconds.
pub const WAIT_BOUNDS: [f64; 7] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0];

/// Waits of one queue since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waits {
    /// How many there were up to each of [`WAIT_BOUNDS`], and longer ones.
    pub counts: [u64; MICROS.len() + 1],
    /// All of them together.
    pub sum: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Waits {
    pub(super) fn add(&mut self, wait: Duration) {
        let bucket = MICROS.iter().position(|bound| wait <= Duration::from_micros(*bound));
        self.counts[bucket.unwrap_or(MICROS.len())] += 1;
        self.sum += wait;
        self.longest = self.longest.max(wait);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Waits of the queues, of all workers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueWaits {
    /// Of what came to the urgent rings, from the doorbell of its burst until the ring was empty.
    pub urgent: Waits,
    /// The same of the other rings.
    pub other: Waits,
    /// Of packets that were sent when their next hop's link-layer address was known.
    pub neighbor: Waits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_in_the_bucket_of_the_next_bound() {
        let mut waits = Waits::default();
        for micros in [0, 10, 11, 1_000_000, 10_000_001] {
            waits.add(Duration::from_micros(micros));
        }
        assert_eq!(waits.counts, [2, 1, 0, 0, 0, 1, 0, 1]);
        assert_eq!((waits.count(), waits.longest), (5, Duration::from_micros(10_000_001)));
        for (micros, seconds) in MICROS.iter().zip(WAIT_BOUNDS) {
            assert_eq!(Duration::from_micros(*micros).as_secs_f64(), seconds);
        }
    }
}
