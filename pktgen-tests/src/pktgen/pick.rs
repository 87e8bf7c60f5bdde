//! Which flow, and which L4 ports, packet number n of a stream has.
//!
//! Everything is a function of the number, so the receiver can tell what it should have got.

use super::hash::mix;

/// How flows are drawn.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[clap(rename_all = "snake_case")]
pub enum Pattern {
    /// Each as often as any other, at random.
    #[default]
    Uniform,
    /// A few very often, most of them seldom: the number of packets falls as one over the rank, in steps of two
    /// (Zipf's law with exponent 1). Which flow has which rank is scattered.
    Skewed,
    /// One after the other.
    Sequential,
}

/// Draws flows.
#[derive(Debug, Clone, Copy)]
pub struct Picker {
    pattern: Pattern,
    flows: u32,
    /// Powers of two the flows reach over.
    octaves: u32,
}

impl Picker {
    /// Out of `flows`, at least one.
    #[must_use]
    pub const fn new(pattern: Pattern, flows: u32) -> Self {
        let flows = if flows == 0 { 1 } else { flows };
        Self { pattern, flows, octaves: 32 - flows.leading_zeros() }
    }

    /// How many flows there are.
    #[must_use]
    pub const fn flows(&self) -> u32 {
        self.flows
    }

    /// The flow of packet `number`, whose hash is `hash`.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a remainder or product below the number of flows")]
    pub fn flow(&self, number: u64, hash: u64) -> u32 {
        match self.pattern {
            Pattern::Uniform => scale((hash >> 32) as u32, self.flows),
            Pattern::Sequential => (number % u64::from(self.flows)) as u32,
            Pattern::Skewed => self.skewed((hash >> 32) as u32),
        }
    }

    /// An octave, all of them alike, then a rank of that octave, all of them alike. Rank k of F is then drawn about
    /// once in k log2(F) packets.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a remainder below the number of flows")]
    fn skewed(&self, random: u32) -> u32 {
        let octave = scale(random << 16, self.octaves);
        let first = 1 << octave;
        let ranks = first.min(self.flows + 1 - first);
        let rank = first - 1 + scale(mix(u64::from(random)) as u32, ranks);
        // A multiplier that shares no factor with a number of flows below it: no two ranks are the same flow.
        (u64::from(rank) * 0x9e37_79b1 % u64::from(self.flows)) as u32
    }
}

/// `random`, out of 32 bits, scaled to below `limit`.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the product is below limit times 2^32")]
const fn scale(random: u32, limit: u32) -> u32 {
    ((random as u64 * limit as u64) >> 32) as u32
}

/// The client's port in the upper half, 1024 to 65535, and the service's, 1 to 49151 (RFC 4814 4).
#[inline]
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "each half of the hash is taken once")]
pub const fn ports(hash: u64) -> u32 {
    let client = 1024 + scale((hash as u32) & 0xffff_0000, 64_512);
    let service = 1 + scale((hash as u32) << 16, 49_151);
    client << 16 | service
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(pattern: Pattern, flows: u32, packets: u64) -> Vec<u64> {
        let picker = Picker::new(pattern, flows);
        let mut counts = vec![0; flows as usize];
        for number in 0..packets {
            counts[picker.flow(number, mix(number)) as usize] += 1;
        }
        counts
    }

    #[test]
    fn uniform_and_sequential_flows_are_all_alike() {
        assert!(draws(Pattern::Sequential, 1000, 100_000).iter().all(|&count| count == 100));
        assert!(draws(Pattern::Uniform, 1000, 1_000_000).iter().all(|&count| (800..1200).contains(&count)));
    }

    #[test]
    fn skewed_flows_follow_their_rank() {
        let mut counts = draws(Pattern::Skewed, 1000, 1_000_000);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert!(counts.iter().all(|&count| count > 0), "every flow is drawn");
        // Ten octaves, one draw in ten each: the first rank has one to itself, the last 489 ranks share one.
        assert!((90_000..110_000).contains(&counts[0]), "{}", counts[0]);
        let last: u64 = counts[511..].iter().sum();
        assert!((90_000..110_000).contains(&last), "{last}");
    }

    #[test]
    fn ports_keep_to_their_ranges() {
        let all: Vec<(u32, u32)> =
            (0..200_000).map(mix).map(ports).map(|ports| (ports >> 16, ports & 0xffff)).collect();
        assert!(all.iter().all(|&(client, service)| client >= 1024 && (1..=49_151).contains(&service)));
        assert!(all.iter().any(|&(client, _)| client > 65_000));
        assert!(all.iter().any(|&(_, service)| service > 49_000));
    }
}
