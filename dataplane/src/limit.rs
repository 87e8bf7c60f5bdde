//! Rates: of everything of a kind, and of each of many senders.
//!
//! Time is in cycles of a clock that is read once per burst.

use std::hash::{BuildHasher, RandomState};

use crate::hash::{high64, mix};

/// A token bucket.
#[derive(Debug, Clone)]
pub(crate) struct TokenBucket {
    cycles_per_token: u64,
    capacity: u64,
    tokens: u64,
    last: u64,
}

impl TokenBucket {
    /// A full bucket of `burst` tokens that gains `rate` tokens a second. `hertz` cycles are one second.
    pub(crate) fn new(rate: u32, burst: u32, hertz: u64) -> Self {
        let capacity = u64::from(burst.max(1));
        Self { cycles_per_token: interval(rate, hertz), capacity, tokens: capacity, last: 0 }
    }

    /// Adds what has accrued until `now`.
    #[inline]
    pub(crate) fn refill(&mut self, now: u64) {
        let elapsed = now.wrapping_sub(self.last);
        if elapsed >= self.cycles_per_token {
            let gained = elapsed / self.cycles_per_token;
            self.tokens = self.capacity.min(self.tokens.saturating_add(gained));
            self.last = self.last.wrapping_add(gained.saturating_mul(self.cycles_per_token));
        }
    }

    /// Whether a token is left.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.tokens == 0
    }

    /// Takes one token, if there is one.
    #[inline]
    pub(crate) fn take(&mut self) -> bool {
        let granted = self.tokens > 0;
        self.tokens -= u64::from(granted);
        granted
    }
}

/// The same rate for each of many senders, who are told apart by a keyed hash: whoever sends too much uses up its own
/// share, and that of the few who share its slot. The key changes now and then, so that nobody shares a slot for long.
///
/// A slot is the time at which all that was granted by it will have been paid for.
#[derive(Debug, Clone)]
pub(crate) struct Shares {
    slots: Box<[u64]>,
    key: u64,
    keyed: u64,
    key_lives: u64,
    cycles_per_packet: u64,
    /// How far ahead of `now` a slot may be.
    ahead: u64,
}

impl Shares {
    /// Seconds between two keys.
    const KEY_LIVES: u64 = 16;

    /// `slots` slots that grant `rate` packets a second each, and `burst` at once. `hertz` cycles are one second.
    pub(crate) fn new(slots: usize, rate: u32, burst: u32, hertz: u64) -> Self {
        let cycles_per_packet = interval(rate, hertz);
        Self {
            slots: vec![0; slots.max(1)].into(),
            key: RandomState::new().hash_one(0),
            keyed: 0,
            key_lives: hertz.saturating_mul(Self::KEY_LIVES),
            cycles_per_packet,
            ahead: cycles_per_packet.saturating_mul(u64::from(burst.max(1)) - 1),
        }
    }

    /// Whether `sender` may have one more packet pass at the time `now`.
    pub(crate) fn admit(&mut self, sender: u64, now: u64) -> bool {
        self.admit_all(&[Some(sender)], now)
    }

    /// The same where a packet counts for several. Either all of them grant it, or none has given anything.
    pub(crate) fn admit_all(&mut self, senders: &[Option<u64>], now: u64) -> bool {
        if now.wrapping_sub(self.keyed) > self.key_lives {
            self.keyed = now;
            self.key = mix(self.key ^ now);
        }
        let senders = || senders.iter().flatten();
        let granted = senders().all(|sender| self.slots[self.place(*sender)].max(now) - now <= self.ahead);
        if granted {
            for sender in senders() {
                let slot = self.place(*sender);
                self.slots[slot] = self.slots[slot].max(now) + self.cycles_per_packet;
            }
        }
        granted
    }

    fn place(&self, sender: u64) -> usize {
        let at = high64(u128::from(mix(sender ^ self.key)) * self.slots.len() as u128);
        usize::try_from(at).expect("less than the number of slots")
    }
}

fn interval(rate: u32, hertz: u64) -> u64 {
    (hertz / u64::from(rate.max(1))).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_a_burst_and_then_the_rate() {
        let mut bucket = TokenBucket::new(10, 10, 1000);
        bucket.refill(1_000_000);
        assert_eq!((0..50).filter(|_| bucket.take()).count(), 10, "burst");
        assert!(bucket.is_empty());
        bucket.refill(1_000_099);
        assert!(!bucket.take());
        bucket.refill(1_000_350);
        assert_eq!((0..50).filter(|_| bucket.take()).count(), 3);
        bucket.refill(1_000_400);
        assert_eq!((0..50).filter(|_| bucket.take()).count(), 1, "fractions are not lost");
    }

    #[test]
    fn a_sender_uses_up_its_own_share_only() {
        let mut shares = Shares::new(256, 10, 5, 1000);
        assert_eq!((0..50).filter(|_| shares.admit(1, 7000)).count(), 5, "burst");
        let others = (2..130).filter(|sender| shares.admit(*sender, 7000)).count();
        assert!(others > 110, "{others} of 128: few share a slot");
        assert_eq!((0..50).filter(|_| shares.admit(1, 7300)).count(), 3, "a tenth of a second each");
        assert_eq!((0..50).filter(|_| shares.admit(1, 90_000)).count(), 5, "and no more is saved up");
    }

    #[test]
    fn nobody_shares_a_slot_with_the_same_one_for_long() {
        let mut shares = Shares::new(2, 1, 1, 10);
        let mut met = [0; 2];
        for round in 1..200_u64 {
            let now = round * 1000;
            shares.admit(1, now);
            met[usize::from(shares.admit(2, now))] += 1;
        }
        assert!(met.iter().all(|times| *times > 50), "{met:?}");
    }
}
