//! An exact-match table between IPv4 and IPv6 addresses, one cache line per probe, used in both directions.
//!
//! ```text
//!  bucket, 64 bytes, aligned:
//!    0         16        32        48   52   56   60   64
//!    | IPv6 0  | IPv6 1  | IPv6 2  |v4 0|v4 1|v4 2|marks|
//!  marks: bits 0..2 which places are taken, bit 3 a key of this bucket went on to the next one
//!
//!  key -> hash -> bucket -> both addresses of the pair             (1 line, 19 of 20 keys)
//!                    \----> next bucket, when bit 3 is set          (the neighbouring line)
//!
//!  buckets live in pages of 32 kB (`pages.rs`): shared between versions of a table, copied on write
//! ```
//!
//! The whole answer is in the line the hash leads to: there is no second wait for an entry elsewhere. A quarter of the
//! places to half of them are taken (the number of buckets is a power of two): 43 to 85 bytes per pair and direction.
//! Fuller buckets would send more keys on to a second line, which nobody has had fetched.

use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering;

use super::pages::Pages;
use crate::hash::{high32, high64, low32, low64};
use crate::huge::Line;
use crate::prefetch::prefetch;

const PLACES: usize = 3;
/// One bit for each place.
const TAKEN: u32 = 0b111;
/// Some key that hashes to this bucket, or passed it on its way, is in a later one.
const WENT_ON: u32 = 0b1000;

/// A pair of addresses that stand for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) ipv4: Ipv4Addr,
    pub(super) ipv6: Ipv6Addr,
}

/// One line of a table. The octets of IPv6 addresses are as they stand in a packet.
#[derive(Clone, Copy)]
pub(super) struct Bucket<'a>(&'a Line);

impl Bucket<'_> {
    #[inline(always)]
    fn word(self, at: usize) -> u64 {
        self.0[at].load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn set_word(self, at: usize, value: u64) {
        self.0[at].store(value, Ordering::Relaxed);
    }

    #[inline(always)]
    fn marks(self) -> u32 {
        high32(self.word(7))
    }

    fn set_marks(self, marks: u32) {
        self.set_word(7, u64::from(marks) << 32 | u64::from(low32(self.word(7))));
    }

    /// The IPv4 address at the place whose bit is set.
    #[inline(always)]
    fn ipv4(self, bit: u32) -> Ipv4Addr {
        let place = place(bit);
        Ipv4Addr::from_bits(low32(self.word(6 + place / 2) >> (place % 2 * 32)))
    }

    /// The IPv6 address at the place whose bit is set.
    #[inline(always)]
    fn ipv6(self, bit: u32) -> Ipv6Addr {
        let place = place(bit);
        let octets = u128::from(self.word(2 * place + 1)) << 64 | u128::from(self.word(2 * place));
        Ipv6Addr::from(octets.to_ne_bytes())
    }

    /// Both.
    fn pair(self, bit: u32) -> Pair {
        Pair { ipv4: self.ipv4(bit), ipv6: self.ipv6(bit) }
    }

    /// Puts a pair at a place that is free.
    fn set_pair(self, place: usize, pair: Pair) {
        let octets = octets(pair.ipv6);
        self.set_word(2 * place, low64(octets));
        self.set_word(2 * place + 1, high64(octets));
        let (at, shift) = (6 + place / 2, place % 2 * 32);
        let others = self.word(at) & !(u64::from(u32::MAX) << shift);
        self.set_word(at, others | u64::from(pair.ipv4.to_bits()) << shift);
        self.set_marks(self.marks() | 1 << place);
    }
}

/// Of three bits one is set: shifted right by one they are the place's number.
#[inline(always)]
const fn place(bit: u32) -> usize {
    (bit >> 1) as usize
}

/// The side of the pairs that a table is searched by.
pub(super) trait Key: Copy {
    /// The other side.
    type Answer;
    /// 64 well mixed bits; the top ones choose the bucket.
    fn hash(self) -> u64;
    /// This side of a pair.
    fn of(pair: Pair) -> Self;
    /// The places of a bucket that hold this key, one bit each. Free places may match too.
    fn places(self, bucket: Bucket<'_>) -> u32;
    /// What stands for the key at the place whose bit is set.
    fn answer(bucket: Bucket<'_>, bit: u32) -> Self::Answer;
}

impl Key for Ipv4Addr {
    type Answer = Ipv6Addr;

    #[inline(always)]
    fn answer(bucket: Bucket<'_>, bit: u32) -> Ipv6Addr {
        bucket.ipv6(bit)
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        // Fibonacci hashing: neighbouring addresses, which pools are made of, are spread evenly.
        u64::from(self.to_bits()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn of(pair: Pair) -> Self {
        pair.ipv4
    }

    #[inline(always)]
    fn places(self, bucket: Bucket<'_>) -> u32 {
        let key = self.to_bits();
        let (words, last) = (bucket.word(6), bucket.word(7));
        let [a, b, c] = [low32(words), high32(words), low32(last)].map(|ipv4| u32::from(ipv4 == key));
        a | b << 1 | c << 2
    }
}

impl Key for Ipv6Addr {
    type Answer = Ipv4Addr;

    #[inline(always)]
    fn answer(bucket: Bucket<'_>, bit: u32) -> Ipv4Addr {
        bucket.ipv4(bit)
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        let bits = octets(self);
        let high = high64(bits) ^ 0x2d35_8dcc_aa6c_78a5;
        let low = low64(bits) ^ 0x8bb8_4b93_962e_acc9;
        let product = u128::from(high) * u128::from(low);
        (high64(product) ^ low64(product)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn of(pair: Pair) -> Self {
        pair.ipv6
    }

    #[inline(always)]
    fn places(self, bucket: Bucket<'_>) -> u32 {
        let key = octets(self);
        let (low, high) = (low64(key), high64(key));
        let [a, b, c] =
            [0, 2, 4].map(|at| u32::from((bucket.word(at) ^ low) | (bucket.word(at + 1) ^ high) == 0));
        a | b << 1 | c << 2
    }
}

/// The octets of an address as one number, in whatever order the machine keeps numbers: only ever compared and hashed.
#[inline]
const fn octets(address: Ipv6Addr) -> u128 {
    u128::from_ne_bytes(address.octets())
}

/// The table; see the module's drawing. Clones share their pages until one of them is changed.
#[derive(Clone)]
pub(super) struct HostTable<K> {
    pages: Pages,
    /// Buckets less one; a power of two less one.
    mask: usize,
    /// Leaves the bucket's number of a hash.
    shift: u32,
    pairs: usize,
    key: PhantomData<K>,
}

impl<K: Key> HostTable<K> {
    /// An empty table with room for `pairs` before it has to grow.
    pub(super) fn with_capacity(pairs: usize) -> Self {
        let buckets = (pairs * 2).div_ceil(PLACES).next_power_of_two().max(2);
        Self {
            pages: Pages::zeroed(buckets),
            mask: buckets - 1,
            shift: 64 - buckets.trailing_zeros(),
            pairs: 0,
            key: PhantomData,
        }
    }

    /// Makes ready for so many changes that leave so many more pairs: the table grows once, not again and again.
    pub(super) fn prepare(&mut self, changes: usize, more: usize) {
        let pairs = self.pairs + more;
        if pairs * 2 > (self.mask + 1) * PLACES {
            self.grow_to(pairs);
        } else {
            self.pages.prepare(changes);
        }
    }

    /// Has the line of `key` fetched: [`Self::find_in`] some hundred cycles later does not wait.
    #[inline(always)]
    pub(super) fn fetch(&self, key: K) -> Bucket<'_> {
        let bucket = self.bucket(self.first(key));
        prefetch(bucket.0);
        bucket
    }

    /// What stands for this key, whose line was fetched.
    #[inline(always)]
    pub(super) fn find_in(&self, bucket: Bucket<'_>, key: K) -> Option<K::Answer> {
        let marks = bucket.marks();
        let found = key.places(bucket) & marks & TAKEN;
        if found != 0 {
            return Some(K::answer(bucket, found));
        }
        if marks & WENT_ON == 0 { None } else { self.find(key) }
    }

    /// What stands for this key.
    pub(super) fn find(&self, key: K) -> Option<K::Answer> {
        let mut at = self.first(key);
        loop {
            let bucket = self.bucket(at);
            let found = key.places(bucket) & bucket.marks() & TAKEN;
            if found != 0 {
                return Some(K::answer(bucket, found));
            }
            if bucket.marks() & WENT_ON == 0 {
                return None;
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Adds a pair whose key is not in the table yet.
    pub(super) fn insert(&mut self, pair: Pair) {
        // Half full: beyond that too many keys go on to the next bucket.
        if (self.pairs + 1) * 2 > (self.mask + 1) * PLACES {
            self.grow_to(2 * self.pairs + 2);
        }
        self.pairs += 1;
        let mut at = self.first(K::of(pair));
        loop {
            let bucket = self.bucket_mut(at);
            let free = !bucket.marks() & TAKEN;
            if free == 0 {
                bucket.set_marks(bucket.marks() | WENT_ON);
                at = (at + 1) & self.mask;
                continue;
            }
            bucket.set_pair(free.trailing_zeros() as usize, pair);
            return;
        }
    }

    /// Takes the pair with this key out, if there is one.
    pub(super) fn remove(&mut self, key: K) -> Option<Pair> {
        let first = self.first(key);
        let mut at = first;
        loop {
            let bucket = self.bucket(at);
            let found = key.places(bucket) & bucket.marks() & TAKEN;
            if found != 0 {
                let pair = bucket.pair(found);
                let bucket = self.bucket_mut(at);
                bucket.set_marks(bucket.marks() & !found);
                self.pairs -= 1;
                self.close_up(first);
                return Some(pair);
            }
            if bucket.marks() & WENT_ON == 0 {
                return None;
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Takes every pair that went on over bucket `first` and those behind it, and puts it in again as near to its own
    /// bucket as there is room now. So a bucket leads on only while it is full, and no search runs for ever.
    fn close_up(&mut self, first: usize) {
        let mut displaced = Vec::new();
        let mut at = first;
        while self.bucket(at).marks() & WENT_ON != 0 {
            let bucket = self.bucket_mut(at);
            bucket.set_marks(bucket.marks() & !WENT_ON);
            at = (at + 1) & self.mask;
            for bit in (0..PLACES).map(|place| 1 << place) {
                let bucket = self.bucket(at);
                if bucket.marks() & bit == 0 {
                    continue;
                }
                let pair = bucket.pair(bit);
                if self.first(K::of(pair)) != at {
                    let bucket = self.bucket_mut(at);
                    bucket.set_marks(bucket.marks() & !bit);
                    displaced.push(pair);
                }
            }
        }
        self.pairs -= displaced.len();
        displaced.into_iter().for_each(|pair| self.insert(pair));
    }

    /// All pairs, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Pair> + '_ {
        self.pages.iter().map(Bucket).flat_map(|bucket| {
            let marks = bucket.marks();
            let taken = (0..PLACES).map(|place| 1 << place).filter(move |bit| marks & bit != 0);
            taken.map(move |bit| bucket.pair(bit))
        })
    }

    /// Bytes of memory, pages shared with other versions included.
    pub(super) fn memory(&self) -> usize {
        self.pages.memory()
    }

    fn grow_to(&mut self, pairs: usize) {
        let mut larger = Self::with_capacity(pairs);
        for pair in self.iter() {
            larger.insert(pair);
        }
        *self = larger;
    }

    #[inline(always)]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the shift leaves no more bits than there are buckets"
    )]
    fn first(&self, key: K) -> usize {
        (key.hash() >> self.shift) as usize
    }

    #[inline(always)]
    fn bucket(&self, at: usize) -> Bucket<'_> {
        Bucket(self.pages.line(at))
    }

    /// A bucket of a page that is this table's alone from here on.
    fn bucket_mut(&mut self, at: usize) -> Bucket<'_> {
        Bucket(self.pages.line_mut(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn pair(number: u32) -> Pair {
        let scattered = u128::from(number.wrapping_mul(0x9e37_79b1));
        Pair {
            ipv4: Ipv4Addr::from_bits(0x6440_0000 + number),
            ipv6: Ipv6Addr::from_bits(0x2001_0db8 << 96 | scattered << 40 | u128::from(number)),
        }
    }

    proptest! {
        /// Inserts, removals and lookups in any order, against the standard library's map. Few keys, so that buckets
        /// fill up, keys go on to the next bucket, and removals leave holes before them.
        #[test]
        fn agrees_with_a_map(steps in proptest::collection::vec((any::<bool>(), 0_u32..60), 0..400)) {
            let mut table = HostTable::<Ipv6Addr>::with_capacity(4);
            let mut map = HashMap::new();
            for (add, number) in steps {
                let pair = pair(number);
                let before = map.get(&pair.ipv6).copied();
                prop_assert_eq!(table.find(pair.ipv6), before.map(|pair: Pair| pair.ipv4));
                if add && before.is_none() {
                    table.insert(pair);
                    map.insert(pair.ipv6, pair);
                } else if !add {
                    prop_assert_eq!(table.remove(pair.ipv6), map.remove(&pair.ipv6));
                }
            }
            let mut left: Vec<u32> = table.iter().map(|pair| pair.ipv4.to_bits()).collect();
            let mut expected: Vec<u32> = map.values().map(|pair| pair.ipv4.to_bits()).collect();
            left.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(left, expected);
        }
    }

    #[test]
    fn a_hundred_thousand_are_found_both_ways_and_nearly_all_in_one_line() {
        const COUNT: u32 = 100_000;
        let mut by_ipv4 = HostTable::<Ipv4Addr>::with_capacity(COUNT as usize);
        let mut by_ipv6 = HostTable::<Ipv6Addr>::with_capacity(COUNT as usize);
        for number in 0..COUNT {
            by_ipv4.insert(pair(number));
            by_ipv6.insert(pair(number));
        }
        for number in 0..COUNT {
            assert_eq!(by_ipv4.find(pair(number).ipv4), Some(pair(number).ipv6));
            assert_eq!(by_ipv6.find(pair(number).ipv6), Some(pair(number).ipv4));
        }
        assert_eq!(by_ipv4.find(pair(COUNT).ipv4), None);
        assert_eq!(by_ipv6.find(pair(COUNT).ipv6), None);
        let went_on = by_ipv6.pages.iter().filter(|line| Bucket(line).marks() & WENT_ON != 0).count();
        assert!(went_on < 2_000, "{went_on} of 131,072 buckets lead on");
    }

    #[test]
    fn a_change_copies_one_page_and_leaves_the_old_version_alone() {
        const COUNT: u32 = 200_000;
        let mut table = HostTable::<Ipv4Addr>::with_capacity(COUNT as usize);
        (0..COUNT).for_each(|number| table.insert(pair(number)));
        let old = table.clone();
        assert_eq!(table.pages.apart_from(&old.pages), 0, "all shared");
        table.remove(pair(7).ipv4);
        assert_eq!(table.pages.apart_from(&old.pages), 1);
        assert_eq!(old.find(pair(7).ipv4), Some(pair(7).ipv6));
        assert_eq!(table.find(pair(7).ipv4), None);
    }
}
