//! An index of tags and positions for each direction, and entries apart from them that both share: the table before
//! the adopted one. A lookup waits for the index line, then for the entry.
//!
//! ```text
//!  | tag 0 | ... | tag 7 | position 0 | ... | position 7 |      64 bytes  ->  entry, 48 bytes: both addresses and more
//! ```

use bytemuck::{Pod, Zeroable};
use dataplane::io::BURST;

use super::lookup::{Lookup, Pair, hash_ipv4, hash_ipv6};
use super::memory::{Array, Pages};
use super::prefetch::prefetch;

const PLACES: usize = 8;
/// Positions are kept plus one.
const FREE: u32 = 0;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u32; PLACES],
    positions: [u32; PLACES],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Entry {
    ipv6: u128,
    ipv4: u32,
    lengths: u32,
    delta: u64,
    unused: u128,
}

struct Index {
    buckets: Array<Bucket>,
    mask: usize,
    /// Leaves the bucket's number of a hash: the top bits, for those in the middle repeat for neighbouring addresses.
    shift: u32,
}

/// The table.
pub(crate) struct Tags {
    entries: Array<Entry>,
    by_ipv4: Index,
    by_ipv6: Index,
}

/// Where to look, and for what.
#[derive(Clone, Copy)]
struct Hashed {
    hash: u64,
    tag: u32,
}

#[inline(always)]
fn of_ipv4(key: u32) -> Hashed {
    Hashed { hash: hash_ipv4(key), tag: key }
}

#[inline(always)]
fn of_ipv6(key: u128) -> Hashed {
    let hash = hash_ipv6(key);
    Hashed { hash, tag: hash as u32 }
}

impl Index {
    fn with_capacity(entries: usize) -> Self {
        let buckets = (entries * 2).div_ceil(PLACES).next_power_of_two();
        let shift = 64 - buckets.trailing_zeros();
        Self { buckets: Array::zeroed(buckets, Pages::Huge), mask: buckets - 1, shift }
    }

    fn insert(&mut self, key: Hashed, position: usize) {
        let mut at = self.first(key);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(place) = bucket.positions.iter().position(|position| *position == FREE) {
                bucket.tags[place] = key.tag;
                bucket.positions[place] = position as u32 + 1;
                return;
            }
            at = (at + 1) & self.mask;
        }
    }

    #[inline(always)]
    fn first(&self, key: Hashed) -> usize {
        (key.hash >> self.shift) as usize
    }

    #[inline(always)]
    fn fetch(&self, key: Hashed) {
        prefetch(&self.buckets[self.first(key)]);
    }

    /// The first position under this tag that `matches` accepts.
    #[inline(always)]
    fn find(&self, key: Hashed, mut matches: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut at = self.first(key);
        loop {
            let bucket = &self.buckets[at];
            for place in 0..PLACES {
                let position = bucket.positions[place];
                if bucket.tags[place] == key.tag && position != FREE && matches(position as usize - 1) {
                    return Some(position as usize - 1);
                }
            }
            if bucket.positions[PLACES - 1] == FREE {
                return None;
            }
            at = (at + 1) & self.mask;
        }
    }
}

impl Tags {
    pub(crate) fn new(pairs: &[Pair]) -> Self {
        let entry = |pair: &Pair| Entry { ipv6: pair.1, ipv4: pair.0, ..Entry::zeroed() };
        let entries: Vec<_> = pairs.iter().map(entry).collect();
        let mut by_ipv4 = Index::with_capacity(pairs.len());
        let mut by_ipv6 = Index::with_capacity(pairs.len());
        for (position, pair) in pairs.iter().enumerate() {
            by_ipv4.insert(of_ipv4(pair.0), position);
            by_ipv6.insert(of_ipv6(pair.1), position);
        }
        Self { entries: Array::of(&entries, Pages::Huge), by_ipv4, by_ipv6 }
    }

    /// Three rounds: fetch the index, read it and fetch the entries, read these.
    #[inline(always)]
    fn burst<K: Copy, T: Default>(
        &self,
        index: &Index,
        keys: &[K; BURST],
        found: &mut [T; BURST],
        hash: impl Fn(K) -> Hashed,
        is: impl Fn(&Entry, K) -> bool,
        value: impl Fn(&Entry) -> T,
    ) {
        let hashes = keys.map(hash);
        hashes.iter().for_each(|key| index.fetch(*key));
        let first = hashes.map(|key| index.find(key, |_| true));
        first.iter().flatten().for_each(|position| prefetch(&self.entries[*position]));
        for (number, found) in found.iter_mut().enumerate() {
            let matches = |position: usize| is(&self.entries[position], keys[number]);
            let position = match first[number] {
                Some(position) if matches(position) => Some(position),
                Some(_) => index.find(hashes[number], matches),
                None => None,
            };
            *found = position.map_or_else(T::default, |position| value(&self.entries[position]));
        }
    }
}

impl Lookup for Tags {
    fn ipv4(&self, keys: &[u32; BURST], found: &mut [u128; BURST]) {
        self.burst(&self.by_ipv4, keys, found, of_ipv4, |entry, key| entry.ipv4 == key, |entry| entry.ipv6);
    }

    fn ipv6(&self, keys: &[u128; BURST], found: &mut [u32; BURST]) {
        self.burst(&self.by_ipv6, keys, found, of_ipv6, |entry, key| entry.ipv6 == key, |entry| entry.ipv4);
    }

    fn memory(&self) -> usize {
        self.entries.memory() + self.by_ipv4.buckets.memory() + self.by_ipv6.buckets.memory()
    }
}
