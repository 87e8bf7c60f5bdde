//! A read-mostly hash from a 32-bit tag to positions in a list of entries, one cache line per probe.
//!
//! ```text
//!  bucket, 64 bytes, aligned: | tag 0 | tag 1 | ... | tag 7 | position 0 | ... | position 7 |
//! ```
//!
//! A lookup touches one line on a miss (a bucket with a free place ends the search) and, with the table at
//! most half full, nearly always on a hit as well. The caller compares the entry a tag leads to, so tags may
//! collide. 16 bytes per entry at the worst (power of two, half full), 8 at the best.
#![allow(clippy::cast_possible_truncation, reason = "hashes keep the bits they need")]

const PLACES: usize = 8;
const FREE: u32 = u32::MAX;

#[derive(Clone)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u32; PLACES],
    positions: [u32; PLACES],
}

impl Bucket {
    const EMPTY: Self = Self { tags: [0; PLACES], positions: [FREE; PLACES] };
}

/// A hashed key: which bucket, and what to compare there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hashed {
    bucket: u32,
    tag: u32,
}

impl Hashed {
    /// Hashes an IPv4 key. Its tag is the key itself, so equal tags are equal keys.
    #[inline]
    pub(super) fn of_ipv4(key: u32) -> Self {
        let mixed = u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { bucket: (mixed >> 32) as u32, tag: key }
    }

    /// Hashes an IPv6 key.
    #[inline]
    pub(super) fn of_ipv6(key: u128) -> Self {
        let high = (key >> 64) as u64 ^ 0x2d35_8dcc_aa6c_78a5;
        let low = key as u64 ^ 0x8bb8_4b93_962e_acc9;
        let product = u128::from(high) * u128::from(low);
        let mixed = ((product >> 64) as u64 ^ product as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { bucket: (mixed >> 32) as u32, tag: mixed as u32 }
    }
}

/// The index; see the module's drawing.
#[derive(Clone)]
pub(super) struct HashIndex {
    buckets: Vec<Bucket>,
    mask: u32,
}

impl HashIndex {
    /// An index with room for `entries`, at most half full then.
    pub(super) fn with_capacity(entries: usize) -> Self {
        let buckets = (entries * 2).div_ceil(PLACES).next_power_of_two();
        let mask = u32::try_from(buckets - 1).expect("fewer than 2^32 buckets");
        Self { buckets: vec![Bucket::EMPTY; buckets], mask }
    }

    /// Adds an entry's position. Never refuses: the index was made for the number of entries.
    pub(super) fn insert(&mut self, key: Hashed, position: u32) {
        let mut at = key.bucket & self.mask;
        loop {
            let bucket = &mut self.buckets[at as usize];
            if let Some(place) = bucket.positions.iter().position(|position| *position == FREE) {
                bucket.tags[place] = key.tag;
                bucket.positions[place] = position;
                return;
            }
            at = (at + 1) & self.mask;
        }
    }

    /// The first position under this tag that `matches` accepts.
    #[inline]
    pub(super) fn find(&self, key: Hashed, mut matches: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = key.bucket & self.mask;
        loop {
            let bucket = &self.buckets[at as usize];
            for place in 0..PLACES {
                let position = bucket.positions[place];
                if bucket.tags[place] == key.tag && position != FREE && matches(position) {
                    return Some(position);
                }
            }
            if bucket.positions[PLACES - 1] == FREE {
                return None;
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Reads the key's bucket, so that a lookup soon after finds it in cache. Independent calls overlap.
    #[inline]
    pub(super) fn touch(&self, key: Hashed) -> u32 {
        self.buckets[(key.bucket & self.mask) as usize].positions[PLACES - 1]
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_everything_that_was_inserted_and_nothing_else() {
        let keys: Vec<u128> = (0..5000_u128).map(|key| key << 64 | 0x2001_0db8 << 96).collect();
        let mut index = HashIndex::with_capacity(keys.len());
        for (position, key) in keys.iter().enumerate() {
            index.insert(Hashed::of_ipv6(*key), position as u32);
        }
        for (position, key) in keys.iter().enumerate() {
            let found = index.find(Hashed::of_ipv6(*key), |candidate| keys[candidate as usize] == *key);
            assert_eq!(found, Some(position as u32));
        }
        assert_eq!(index.find(Hashed::of_ipv6(1), |candidate| keys[candidate as usize] == 1), None);
    }

    #[test]
    fn overflowing_buckets_continue_in_the_next() {
        let mut index = HashIndex::with_capacity(12);
        let same = Hashed { bucket: 1, tag: 7 };
        for position in 0..12 {
            index.insert(same, position);
        }
        for wanted in 0..12 {
            assert_eq!(index.find(same, |position| position == wanted), Some(wanted));
        }
    }
}
