//! What every packet carries so that its receiver knows everything about it: 16 bytes of payload.
//!
//! ```text
//!  63                      40 39                                0
//!  +-------------------------+-----------------------------------+
//!  | flow (24)               | sequence (40)                     |     first word
//!  +--------------+----------+-----------------------------------+
//!  | magic (12)   |stream (4)| time stamp (48)                   |     second word
//!  +--------------+----------+-----------------------------------+
//!  63           52 51      48 47                                0
//! ```
//!
//! The time stamp counts cycles of the TSC and wraps after hours; the sequence counts packets of a stream and goes on
//! from trial to trial, so that a frame of an earlier trial is recognised. Where the words lie is the transport's
//! matter: in TCP the first takes the place of the sequence and acknowledgement numbers, because the smallest frame has
//! six bytes of payload only.

/// Flows a tag can tell apart.
pub const FLOWS: u32 = 1 << 24;

const SEQUENCE_BITS: u32 = 40;
const TIME_BITS: u32 = 48;
const STREAM_BITS: u32 = 4;
const MAGIC: u64 = 0xb1d;

/// The largest sequence number; the next one is 0 again.
pub const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const STREAM_MASK: u64 = (1 << STREAM_BITS) - 1;

/// The content of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// Which stream the packet belongs to.
    pub stream: u8,
    /// Which flow of the stream.
    pub flow: u32,
    /// Number of the packet in its stream.
    pub sequence: u64,
    /// When it was sent.
    pub time: u64,
}

impl Tag {
    /// The two words on the wire. What does not fit is cut off.
    #[inline]
    #[must_use]
    pub const fn words(self) -> [u64; 2] {
        let stream = self.stream as u64 & STREAM_MASK;
        [
            (self.flow as u64) << SEQUENCE_BITS | self.sequence & SEQUENCE_MASK,
            MAGIC << (TIME_BITS + STREAM_BITS) | stream << TIME_BITS | self.time & TIME_MASK,
        ]
    }

    /// Reads a tag; none when the magic number is not there.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "each value has the bits its field has")]
    pub const fn read(words: [u64; 2]) -> Option<Self> {
        if words[1] >> (TIME_BITS + STREAM_BITS) != MAGIC {
            return None;
        }
        Some(Self {
            stream: (words[1] >> TIME_BITS & STREAM_MASK) as u8,
            flow: (words[0] >> SEQUENCE_BITS) as u32,
            sequence: words[0] & SEQUENCE_MASK,
            time: words[1] & TIME_MASK,
        })
    }

    /// Cycles from sending to `now`; zero when the clock of another CPU is a little behind.
    #[inline]
    #[must_use]
    pub const fn age(self, now: u64) -> u64 {
        let age = now.wrapping_sub(self.time) & TIME_MASK;
        if age >> (TIME_BITS - 1) == 0 { age } else { 0 }
    }
}

/// How far `sequence` lies behind `base`; none when it lies before it. Sequences wrap.
#[inline]
#[must_use]
pub const fn distance(base: u64, sequence: u64) -> Option<u64> {
    let distance = sequence.wrapping_sub(base) & SEQUENCE_MASK;
    if distance < 1 << (SEQUENCE_BITS - 1) { Some(distance) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_read_back() {
        let tag = Tag { stream: 15, flow: FLOWS - 1, sequence: SEQUENCE_MASK - 1, time: TIME_MASK };
        assert_eq!(Tag::read(tag.words()), Some(tag));
        let words = tag.words();
        assert_eq!(Tag::read([words[0], words[1] ^ 1 << 63]), None);
    }

    #[test]
    fn sequences_and_times_wrap() {
        assert_eq!(distance(SEQUENCE_MASK, 2), Some(3));
        assert_eq!(distance(2, SEQUENCE_MASK), None);
        assert_eq!(distance(5, 5), Some(0));
        let tag = Tag { stream: 0, flow: 0, sequence: 0, time: TIME_MASK };
        assert_eq!(tag.age(TIME_MASK.wrapping_add(8)), 8);
        assert_eq!(tag.age(TIME_MASK - 8), 0, "not a day");
    }
}
