//! A sorted map in chunks that versions of it share: a copy costs a pointer for each chunk, a change copies one chunk.
//!
//! ```text
//! chunks -> | k v k v k v | k v k v k v | k v ...        up to 512 pairs each, none empty, keys ascending throughout
//!                             |
//! next   -> |  the same   | k v k v k v k v | the same ...
//! ```

use std::ops::Bound;
use std::sync::Arc;

/// Pairs in a chunk at most.
const FULL: usize = 512;
/// Pairs in a chunk after building, so that a few more find room.
const BUILT: usize = 384;

/// See the module.
#[derive(Clone)]
pub(super) struct ChunkMap<K, V> {
    chunks: Vec<Arc<Vec<(K, V)>>>,
    len: usize,
}

impl<K, V> Default for ChunkMap<K, V> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<K: Ord + Copy, V: Clone> ChunkMap<K, V> {
    /// Of pairs whose keys ascend.
    pub(super) fn from_sorted(pairs: Vec<(K, V)>) -> Self {
        debug_assert!(pairs.is_sorted_by(|left, right| left.0 < right.0));
        let len = pairs.len();
        let mut chunks = Vec::with_capacity(len.div_ceil(BUILT));
        let mut pairs = pairs.into_iter();
        loop {
            let chunk: Vec<_> = pairs.by_ref().take(BUILT).collect();
            if chunk.is_empty() {
                return Self { chunks, len };
            }
            chunks.push(Arc::new(chunk));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk_of(key)?)?;
        let at = chunk.binary_search_by(|pair| pair.0.cmp(&key)).ok()?;
        Some(&chunk[at].1)
    }

    /// Puts a value in; returns the one that was there.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some(number) = self.chunk_of(key).or((!self.chunks.is_empty()).then_some(0)) else {
            self.chunks.push(Arc::new(vec![(key, value)]));
            self.len = 1;
            return None;
        };
        let chunk = Arc::make_mut(&mut self.chunks[number]);
        match chunk.binary_search_by(|pair| pair.0.cmp(&key)) {
            Ok(at) => Some(std::mem::replace(&mut chunk[at].1, value)),
            Err(at) => {
                chunk.insert(at, (key, value));
                self.len += 1;
                if chunk.len() > FULL {
                    let upper = chunk.split_off(FULL / 2);
                    self.chunks.insert(number + 1, Arc::new(upper));
                }
                None
            }
        }
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let number = self.chunk_of(key)?;
        let at = self.chunks[number].binary_search_by(|pair| pair.0.cmp(&key)).ok()?;
        self.len -= 1;
        if self.chunks[number].len() == 1 {
            return self.chunks.remove(number).first().map(|pair| pair.1.clone());
        }
        Some(Arc::make_mut(&mut self.chunks[number]).remove(at).1)
    }

    /// Every pair, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(key, value)| (*key, value)))
    }

    /// The pairs from a key on, in order.
    pub(super) fn from(&self, key: Bound<K>) -> impl Iterator<Item = (K, &V)> {
        let is_before = |at: &K| match &key {
            Bound::Included(key) => at < key,
            Bound::Excluded(key) => at <= key,
            Bound::Unbounded => false,
        };
        let number = match &key {
            Bound::Included(key) | Bound::Excluded(key) => self.chunk_of(*key).unwrap_or(0),
            Bound::Unbounded => 0,
        };
        let skip =
            self.chunks.get(number).map_or(0, |chunk| chunk.partition_point(|pair| is_before(&pair.0)));
        let first = self.chunks.get(number).map_or(&[][..], |chunk| &chunk[skip..]);
        let rest = self.chunks.get(number + 1..).unwrap_or_default();
        first.iter().chain(rest.iter().flat_map(|chunk| chunk.iter())).map(|(key, value)| (*key, value))
    }

    /// The chunk in which a key is, if it is there: the last that does not begin after it.
    fn chunk_of(&self, key: K) -> Option<usize> {
        self.chunks.partition_point(|chunk| chunk[0].0 <= key).checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_does_what_a_tree_does(
            first in prop::collection::btree_map(0_u32..3000, 0_u8..9, 0..2000),
            steps in prop::collection::vec((0_u32..3000, prop::option::of(0_u8..9)), 0..3000),
            from in 0_u32..3000,
        ) {
            let mut tree: BTreeMap<u32, u8> = first;
            let mut map = ChunkMap::from_sorted(tree.clone().into_iter().collect());
            let (before, kept) = (map.clone(), tree.clone());
            for (key, value) in steps {
                match value {
                    Some(value) => prop_assert_eq!(map.insert(key, value), tree.insert(key, value)),
                    None => prop_assert_eq!(map.remove(key), tree.remove(&key)),
                }
                prop_assert_eq!(map.get(key), tree.get(&key));
                prop_assert_eq!(map.len(), tree.len());
            }
            prop_assert!(map.iter().eq(tree.iter().map(|(key, value)| (*key, value))));
            prop_assert!(map.from(Bound::Included(from)).eq(tree.range(from..).map(|(key, value)| (*key, value))));
            prop_assert!(map.from(Bound::Excluded(from)).eq(tree.range(from + 1..).map(|(key, value)| (*key, value))));
            prop_assert!(before.iter().eq(kept.iter().map(|(key, value)| (*key, value))), "versions are apart");
            prop_assert!(map.chunks.iter().all(|chunk| (1..=FULL).contains(&chunk.len())));
        }
    }
}
