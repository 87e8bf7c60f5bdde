//! Prefixes of up to 16 bits as they were given, apart from what they are spread over.

use super::Value;

const BITS: u32 = 16;
/// Values of one piece: 2 kB.
const PIECE: usize = 512;

/// The values by their places, 2^length + the prefix's bits: whatever covers a prefix has its place shifted right. In pieces
/// that come with their first prefix: a table with few routes, which is most of them, is no half megabyte of new memory.
#[derive(Clone)]
pub(super) struct ShortPrefixes(Box<[Option<Box<[Value; PIECE]>>]>);

impl Default for ShortPrefixes {
    fn default() -> Self {
        Self(vec![None; (2 << BITS) / PIECE].into_boxed_slice())
    }
}

impl ShortPrefixes {
    fn get(&self, place: usize) -> Value {
        self.0[place / PIECE].as_ref().map_or(0, |piece| piece[place % PIECE])
    }

    /// Gives a prefix this value; what it had before, or 0.
    pub(super) fn replace(&mut self, place: usize, value: Value) -> Value {
        let piece = self.0[place / PIECE].get_or_insert_with(|| Box::new([0; PIECE]));
        std::mem::replace(&mut piece[place % PIECE], value)
    }

    /// The value of the longest prefix that covers a place and has `least` bits or more, or 0.
    pub(super) fn longest(&self, mut place: usize, least: u32) -> Value {
        while place >> least > 0 {
            match self.get(place) {
                0 => place >>= 1,
                value => return value,
            }
        }
        0
    }
}
