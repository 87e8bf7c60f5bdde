//! Binary search over keys in the order of a heap (Eytzinger's layout): the first levels share few cache lines. A burst
//! descends together, level by level, so that its waits overlap.

use dataplane::io::BURST;

use super::lookup::{Lookup, Pair};
use super::memory::{Array, Pages};

/// Keys and values from position 1, the children of `n` at `2 n` and `2 n + 1`.
struct Tree<K, V> {
    keys: Array<K>,
    values: Array<V>,
    levels: u32,
}

/// A tree for each side.
pub(crate) struct Eytzinger {
    by_ipv4: Tree<u32, u128>,
    by_ipv6: Tree<u128, u32>,
}

impl<K: bytemuck::Pod + Ord, V: bytemuck::Pod> Tree<K, V> {
    fn new(mut sorted: Vec<(K, V)>) -> Self {
        sorted.sort_unstable_by_key(|item| item.0);
        let length = sorted.len() + 1;
        let mut tree = Self {
            keys: Array::zeroed(length, Pages::Huge),
            values: Array::zeroed(length, Pages::Huge),
            levels: length.next_power_of_two().trailing_zeros(),
        };
        tree.fill(1, &mut sorted.into_iter());
        tree
    }

    fn fill(&mut self, at: usize, sorted: &mut impl Iterator<Item = (K, V)>) {
        if at < self.keys.len() {
            self.fill(2 * at, sorted);
            (self.keys[at], self.values[at]) = sorted.next().unwrap();
            self.fill(2 * at + 1, sorted);
        }
    }

    #[inline(always)]
    fn burst(&self, wanted: &[K; BURST], found: &mut [V; BURST]) {
        let (keys, values) = (&*self.keys, &*self.values);
        let mut places = [1; BURST];
        for _ in 0..self.levels {
            for (place, key) in places.iter_mut().zip(wanted) {
                if *place < keys.len() {
                    *place = 2 * *place + usize::from(keys[*place] < *key);
                }
            }
        }
        for ((place, key), found) in places.into_iter().zip(wanted).zip(found) {
            // The last step to the left led away from the smallest key that is not smaller.
            let at = place >> (place.trailing_ones() + 1);
            *found = if at != 0 && keys[at] == *key { values[at] } else { V::zeroed() };
        }
    }
}

impl Eytzinger {
    pub(crate) fn new(pairs: &[Pair]) -> Self {
        Self {
            by_ipv4: Tree::new(pairs.to_vec()),
            by_ipv6: Tree::new(pairs.iter().map(|(ipv4, ipv6)| (*ipv6, *ipv4)).collect()),
        }
    }
}

impl Lookup for Eytzinger {
    fn ipv4(&self, keys: &[u32; BURST], found: &mut [u128; BURST]) {
        self.by_ipv4.burst(keys, found);
    }

    fn ipv6(&self, keys: &[u128; BURST], found: &mut [u32; BURST]) {
        self.by_ipv6.burst(keys, found);
    }

    fn memory(&self) -> usize {
        let keys = self.by_ipv4.keys.memory() + self.by_ipv6.keys.memory();
        keys + self.by_ipv4.values.memory() + self.by_ipv6.values.memory()
    }
}
