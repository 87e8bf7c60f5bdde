//! Who has most of the traffic, without a copy of everything that was counted.
//!
//! A pass over a worker's lines keeps the heaviest of each table; what one mapping has in all is looked up line by line. So
//! a ranking of a million mappings takes a list of some hundred, and the counts of a list are read in microseconds.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use ipnet::Ipv4Net;

use super::{MeterSlot, Traffic, key_of};

impl MeterSlot {
    /// What was counted for a mapping.
    #[must_use]
    pub fn of(&self, prefix: Ipv4Net) -> Traffic {
        let key = key_of(prefix.network(), prefix.prefix_len());
        let earlier = self.earlier();
        let mut sum = earlier.settled.get(&prefix).copied().unwrap_or_default();
        let current = self.current.load_full();
        for table in earlier.leaving.iter().chain(std::iter::once(&current)) {
            if let Some((_, traffic)) = table.find(key).and_then(|line| line.read()) {
                sum.merge(&traffic);
            }
        }
        sum
    }

    /// Adds those with most bytes here, `most` of each of its tables.
    pub fn heaviest(&self, most: usize, found: &mut BTreeSet<Ipv4Net>) {
        let (leaving, settled) = {
            let earlier = self.earlier();
            let mut heaviest = Heaviest::new(most);
            earlier.settled.iter().for_each(|(prefix, traffic)| heaviest.offer(*prefix, traffic));
            (earlier.leaving.clone(), heaviest)
        };
        found.extend(settled.prefixes());
        // The worker's own table is gone through without a lock.
        for table in leaving.into_iter().chain(std::iter::once(self.current.load_full())) {
            let mut heaviest = Heaviest::new(most);
            table.read().for_each(|(prefix, traffic)| heaviest.offer(prefix, &traffic));
            found.extend(heaviest.prefixes());
        }
    }
}

/// The most of what is offered.
struct Heaviest {
    most: usize,
    heap: BinaryHeap<Reverse<(u64, Ipv4Net)>>,
}

impl Heaviest {
    fn new(most: usize) -> Self {
        Self { most, heap: BinaryHeap::with_capacity(most + 1) }
    }

    fn offer(&mut self, prefix: Ipv4Net, traffic: &Traffic) {
        let bytes = traffic.all_bytes();
        let is_light = self.heap.peek().is_some_and(|Reverse((least, _))| bytes <= *least);
        if self.heap.len() < self.most || !is_light {
            self.heap.push(Reverse((bytes, prefix)));
            if self.heap.len() > self.most {
                self.heap.pop();
            }
        }
    }

    fn prefixes(self) -> impl Iterator<Item = Ipv4Net> {
        self.heap.into_iter().map(|Reverse((_, prefix))| prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metering;
    use super::*;

    #[test]
    fn the_heaviest_are_found_and_their_counts_are_those_of_all_tables() {
        let mut heaviest = Heaviest::new(3);
        for (number, bytes) in [5_u64, 1, 9, 9, 2, 7, 0].into_iter().enumerate() {
            let prefix = Ipv4Net::from(std::net::Ipv4Addr::from_bits(u32::try_from(number).unwrap()));
            heaviest.offer(prefix, &Traffic { packets: [1, 0], bytes: [bytes, 0] });
        }
        let found: BTreeSet<Ipv4Net> = heaviest.prefixes().collect();
        assert_eq!(found.into_iter().map(|prefix| prefix.addr().to_bits()).collect::<Vec<_>>(), [2, 3, 5]);
        let slot = MeterSlot::new(Metering::Exact, 0);
        assert_eq!(slot.of("192.0.2.1/32".parse().unwrap()), Traffic::default());
        let mut none = BTreeSet::new();
        slot.heaviest(3, &mut none);
        assert!(none.is_empty());
    }
}
