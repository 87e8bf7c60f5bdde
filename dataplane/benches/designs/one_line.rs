//! The adopted layout in one array, to take away one of its parts at a time: the fetching ahead, the huge pages.
//!
//! ```text
//!  | IPv6 0 | IPv6 1 | IPv6 2 | IPv4 0 | IPv4 1 | IPv4 2 | marks |      64 bytes
//! ```

use bytemuck::{Pod, Zeroable};
use dataplane::io::BURST;

use super::lookup::{Lookup, Pair, hash_ipv4, hash_ipv6};
use super::memory::{Array, Pages};
use super::prefetch::prefetch;

const PLACES: usize = 3;
const TAKEN: u32 = 0b111;
const WENT_ON: u32 = 0b1000;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Bucket {
    ipv6: [u128; PLACES],
    ipv4: [u32; PLACES],
    marks: u32,
}

/// The pairs in the order of the hash of one side.
struct Side {
    buckets: Array<Bucket>,
    shift: u32,
}

/// Both sides; lines are fetched a burst ahead, or not.
pub(crate) struct OneLine<const FETCH: bool> {
    by_ipv4: Side,
    by_ipv6: Side,
}

impl Side {
    fn new(pairs: &[Pair], pages: Pages, hash: impl Fn(&Pair) -> u64) -> Self {
        let count = (pairs.len() * 2).div_ceil(PLACES).next_power_of_two().max(2);
        let mut side = Self { buckets: Array::zeroed(count, pages), shift: 64 - count.trailing_zeros() };
        for pair in pairs {
            let mut at = side.first(hash(pair));
            while side.buckets[at].marks & TAKEN == TAKEN {
                side.buckets[at].marks |= WENT_ON;
                at = (at + 1) & (count - 1);
            }
            let bucket = &mut side.buckets[at];
            let place = (!bucket.marks & TAKEN).trailing_zeros();
            (bucket.ipv4[place as usize], bucket.ipv6[place as usize]) = *pair;
            bucket.marks |= 1 << place;
        }
        side
    }

    #[inline(always)]
    fn first(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    #[inline(always)]
    fn find<T: Default>(
        &self,
        hash: u64,
        places: impl Fn(&Bucket) -> u32,
        value: impl Fn(&Bucket, usize) -> T,
    ) -> T {
        let mut at = self.first(hash);
        loop {
            let bucket = &self.buckets[at];
            let found = places(bucket) & bucket.marks & TAKEN;
            if found != 0 {
                return value(bucket, (found >> 1) as usize);
            }
            if bucket.marks & WENT_ON == 0 {
                return T::default();
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
    }
}

impl<const FETCH: bool> OneLine<FETCH> {
    pub(crate) fn new(pairs: &[Pair], pages: Pages) -> Self {
        Self {
            by_ipv4: Side::new(pairs, pages, |pair| hash_ipv4(pair.0)),
            by_ipv6: Side::new(pairs, pages, |pair| hash_ipv6(pair.1)),
        }
    }
}

#[inline(always)]
fn bits([a, b, c]: [bool; PLACES]) -> u32 {
    u32::from(a) | u32::from(b) << 1 | u32::from(c) << 2
}

impl<const FETCH: bool> Lookup for OneLine<FETCH> {
    fn ipv4(&self, keys: &[u32; BURST], found: &mut [u128; BURST]) {
        let side = &self.by_ipv4;
        if FETCH {
            keys.iter().for_each(|key| prefetch(&side.buckets[side.first(hash_ipv4(*key))]));
        }
        for (key, found) in keys.iter().zip(found) {
            let places = |bucket: &Bucket| bits(bucket.ipv4.map(|ipv4| ipv4 == *key));
            *found = side.find(hash_ipv4(*key), places, |bucket, place| bucket.ipv6[place]);
        }
    }

    fn ipv6(&self, keys: &[u128; BURST], found: &mut [u32; BURST]) {
        let side = &self.by_ipv6;
        if FETCH {
            keys.iter().for_each(|key| prefetch(&side.buckets[side.first(hash_ipv6(*key))]));
        }
        for (key, found) in keys.iter().zip(found) {
            let places = |bucket: &Bucket| bits(bucket.ipv6.map(|ipv6| ipv6 == *key));
            *found = side.find(hash_ipv6(*key), places, |bucket, place| bucket.ipv4[place]);
        }
    }

    fn memory(&self) -> usize {
        self.by_ipv4.buckets.memory() + self.by_ipv6.buckets.memory()
    }
}
