//! Which packets of a stream have arrived: each once, and those of a flow in order.
//!
//! A bitmap over the last [`WINDOW`] sequence numbers finds duplicates, a table with the newest number of each flow
//! finds packets that were overtaken within their flow. Packets of different flows may overtake each other, as they do
//! on a device with several workers.

use super::tag::distance;

/// Sequence numbers a packet may lag behind the newest one and still be told from a duplicate.
const WINDOW: u64 = 1 << 18;
#[allow(clippy::cast_possible_truncation, reason = "4096 words")]
const WORDS: usize = (WINDOW / 64) as usize;

/// What an arrival is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The next of its flow.
    InOrder,
    /// Overtaken by a later one of its flow.
    Reordered,
    /// Here before.
    Duplicate,
    /// From before this trial, or too late to be told from a duplicate.
    Stale,
}

/// The arrivals of one stream in one trial.
#[derive(Debug)]
pub struct Order {
    base: u64,
    /// One more than the newest sequence number, from `base` on.
    next: u64,
    window: Box<[u64; WORDS]>,
    /// One more than the newest number of each flow, from `base` on, cut to 32 bits.
    newest: Vec<u32>,
}

impl Order {
    /// For a stream of so many flows.
    #[must_use]
    pub fn new(flows: u32) -> Self {
        Self { base: 0, next: 0, window: Box::new([0; WORDS]), newest: vec![0; flows as usize] }
    }

    /// A new trial begins with sequence number `base`.
    pub fn restart(&mut self, base: u64) {
        self.base = base;
        self.next = 0;
        self.window.fill(0);
        self.newest.fill(0);
    }

    /// A packet of `flow` arrives; the flow is one of those there are.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "flows are compared in 32 bits, words are below 4096")]
    pub fn arrive(&mut self, flow: u32, sequence: u64) -> Arrival {
        let Some(number) = distance(self.base, sequence) else {
            return Arrival::Stale;
        };
        if number >= self.next {
            self.advance(number);
        } else if self.next - number > WINDOW {
            return Arrival::Stale;
        }
        let word = &mut self.window[(number / 64) as usize % WORDS];
        let bit = 1 << (number % 64);
        if *word & bit != 0 {
            return Arrival::Duplicate;
        }
        *word |= bit;

        let newest = &mut self.newest[flow as usize];
        let own = (number as u32).wrapping_add(1);
        if own.wrapping_sub(*newest) < 1 << 31 {
            *newest = own;
            Arrival::InOrder
        } else {
            Arrival::Reordered
        }
    }

    /// Makes `number` the newest, and the words between it and the last one empty.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "words are below 4096")]
    fn advance(&mut self, number: u64) {
        let last = if self.next == 0 { 0 } else { (self.next - 1) / 64 };
        let first_empty = last.max((number / 64).saturating_sub(WORDS as u64)) + 1;
        for word in first_empty..=number / 64 {
            self.window[word as usize % WORDS] = 0;
        }
        self.next = number + 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_is_by_flow() {
        let mut order = Order::new(2);
        order.restart(100);
        let arrivals: Vec<Arrival> = [(0, 100), (1, 103), (0, 102), (1, 101), (0, 102), (0, 99), (1, 104)]
            .map(|(flow, sequence)| order.arrive(flow, sequence))
            .into();
        use Arrival::{Duplicate, InOrder, Reordered, Stale};
        assert_eq!(arrivals, [InOrder, InOrder, InOrder, Reordered, Duplicate, Stale, InOrder]);
    }

    #[test]
    fn a_packet_older_than_the_window_is_stale() {
        let mut order = Order::new(1);
        assert_eq!(order.arrive(0, 5 + WINDOW), Arrival::InOrder);
        assert_eq!(order.arrive(0, 5), Arrival::Stale);
        assert_eq!(order.arrive(0, 6), Arrival::Reordered);
        assert_eq!(order.arrive(0, 10 * WINDOW), Arrival::InOrder);
        assert_eq!(order.arrive(0, 10 * WINDOW - 1), Arrival::Reordered);
        assert_eq!(order.arrive(0, 10 * WINDOW), Arrival::Duplicate);
    }

    proptest! {
        #[test]
        fn nothing_is_counted_twice(steps in proptest::collection::vec(0_u64..300_000, 1..2000)) {
            let mut order = Order::new(1);
            let (mut seen, mut newest) = (HashSet::new(), 0);
            for sequence in steps {
                let arrival = order.arrive(0, sequence);
                let expected = if newest > sequence + WINDOW {
                    Arrival::Stale
                } else if !seen.insert(sequence) {
                    Arrival::Duplicate
                } else if sequence + 1 < newest {
                    Arrival::Reordered
                } else {
                    Arrival::InOrder
                };
                newest = newest.max(sequence + 1);
                prop_assert_eq!(arrival, expected);
            }
        }
    }
}
