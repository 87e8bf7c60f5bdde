//! Which packets of a stream have arrived: each once, and those of a flow in order.
//!
//! A ring over the last 65,536 sequence numbers holds the flow of each packet that has arrived. It finds duplicates,
//! and, when a packet comes behind one with a higher number, whether that one was of the same flow: packets of different
//! flows may overtake each other, as they do on a device with several workers. A table with one cell for each of a
//! million flows would cost a cache miss per packet; the ring is written in order.

use super::tag::distance;

/// Sequence numbers a packet may lag behind the newest one and still be judged.
const WINDOW: usize = 1 << 16;

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
    /// One more than the flow of each number that has arrived, 0 for the others.
    arrived: Box<[u32; WINDOW]>,
}

impl Default for Order {
    fn default() -> Self {
        Self { base: 0, next: 0, arrived: vec![0; WINDOW].try_into().expect("the length is the window's") }
    }
}

impl Order {
    /// A new trial begins with sequence number `base`.
    pub fn restart(&mut self, base: u64) {
        self.base = base;
        self.next = 0;
        self.arrived.fill(0);
    }

    /// A packet of `flow` arrives.
    #[inline]
    pub fn arrive(&mut self, flow: u32, sequence: u64) -> Arrival {
        let Some(number) = distance(self.base, sequence) else {
            return Arrival::Stale;
        };
        let own = flow + 1;
        if number == self.next {
            self.arrived[cell(number)] = own;
            self.next = number + 1;
            return Arrival::InOrder;
        }
        if number > self.next {
            self.skip_to(number);
            self.arrived[cell(number)] = own;
            self.next = number + 1;
            return Arrival::InOrder;
        }
        self.arrive_behind(own, number)
    }

    /// A packet with a higher number has arrived before.
    #[inline(never)]
    fn arrive_behind(&mut self, own: u32, number: u64) -> Arrival {
        if self.next - number > WINDOW as u64 {
            return Arrival::Stale;
        }
        let (from, to) = (cell(number), cell(self.next));
        if self.arrived[from] != 0 {
            return Arrival::Duplicate;
        }
        let overtaken = if from < to {
            self.arrived[from..to].contains(&own)
        } else {
            self.arrived[from..].contains(&own) || self.arrived[..to].contains(&own)
        };
        self.arrived[from] = own;
        if overtaken { Arrival::Reordered } else { Arrival::InOrder }
    }

    /// Nothing between the newest number and this one has arrived yet.
    #[inline(never)]
    fn skip_to(&mut self, number: u64) {
        let first = self.next.max(number.saturating_sub(WINDOW as u64));
        for skipped in first..number {
            self.arrived[cell(skipped)] = 0;
        }
    }
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a remainder below the window")]
const fn cell(number: u64) -> usize {
    number as usize % WINDOW
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_is_by_flow() {
        let mut order = Order::default();
        order.restart(100);
        let arrivals: Vec<Arrival> = [(0, 100), (1, 103), (0, 102), (1, 101), (0, 102), (0, 99), (1, 104)]
            .map(|(flow, sequence)| order.arrive(flow, sequence))
            .into();
        use Arrival::{Duplicate, InOrder, Reordered, Stale};
        assert_eq!(arrivals, [InOrder, InOrder, InOrder, Reordered, Duplicate, Stale, InOrder]);
    }

    #[test]
    fn a_packet_older_than_the_window_is_stale() {
        let mut order = Order::default();
        let window = WINDOW as u64;
        assert_eq!(order.arrive(0, 5 + window), Arrival::InOrder);
        assert_eq!(order.arrive(0, 5), Arrival::Stale);
        assert_eq!(order.arrive(0, 6), Arrival::Reordered);
        assert_eq!(order.arrive(0, 10 * window), Arrival::InOrder);
        assert_eq!(order.arrive(0, 10 * window - 1), Arrival::Reordered);
        assert_eq!(order.arrive(0, 10 * window), Arrival::Duplicate);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_naive_count(
            steps in proptest::collection::vec((0_u64..80_000, 0_u32..4), 1..2000),
        ) {
            let mut order = Order::default();
            let (mut seen, mut newest) = (HashMap::<u64, u32>::new(), 0);
            for (sequence, flow) in steps {
                let overtaken = seen.iter().any(|(&other, &its)| other > sequence && its == flow);
                let expected = if newest > sequence + WINDOW as u64 {
                    Arrival::Stale
                } else if seen.contains_key(&sequence) {
                    Arrival::Duplicate
                } else if overtaken {
                    Arrival::Reordered
                } else {
                    Arrival::InOrder
                };
                if matches!(expected, Arrival::InOrder | Arrival::Reordered) {
                    seen.insert(sequence, flow);
                }
                newest = newest.max(sequence + 1);
                prop_assert_eq!(order.arrive(flow, sequence), expected);
            }
        }
    }
}
