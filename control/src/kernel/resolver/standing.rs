//! Who a next hop is to the relay: what decides whose turn it is when there is not enough for all (RFC 6583).

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::OnLink;

/// How much a next hop matters, most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::kernel) enum Standing {
    /// Routes go through it.
    Gateway,
    /// It has an EAM of its own, or has answered before.
    Known,
    /// Nobody knows it, but packets came for it more than once lately. A scan asks for each address once.
    Sought,
    /// Anything else a connected prefix may hold.
    Unknown,
}

impl Standing {
    pub(super) const ALL: [Self; 4] = [Self::Gateway, Self::Known, Self::Sought, Self::Unknown];

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// Hosts that have answered, the latest 32,768 at least and twice as many at most. Those not seen again go.
pub(super) struct Acquaintances {
    young: HashSet<OnLink>,
    old: HashSet<OnLink>,
}

const GENERATION: usize = 1 << 15;

impl Acquaintances {
    pub(super) fn new() -> Self {
        Self { young: HashSet::new(), old: HashSet::new() }
    }

    pub(super) fn remember(&mut self, neighbor: OnLink) {
        if self.young.len() == GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(neighbor);
    }

    pub(super) fn knows(&self, neighbor: OnLink) -> bool {
        self.young.contains(&neighbor) || self.old.contains(&neighbor)
    }
}

/// Which unknown next hops packets came for lately: one fingerprint per place, the newest stays. A scan of 20,000 addresses a
/// second leaves most of them in place for a few seconds.
pub(super) struct Repeats(Box<[u32]>);

const PLACES: usize = 1 << 17;

impl Repeats {
    pub(super) fn new() -> Self {
        Self(vec![0; PLACES].into_boxed_slice())
    }

    /// Notes a packet for a next hop; whether there was one before.
    pub(super) fn note(&mut self, neighbor: OnLink) -> bool {
        let mut hasher = DefaultHasher::new();
        neighbor.hash(&mut hasher);
        let [a, b, c, d, rest @ ..] = hasher.finish().to_le_bytes();
        let fingerprint = u32::from_le_bytes([a, b, c, d]) | 1;
        let place = u32::from_le_bytes(rest) as usize % PLACES;
        std::mem::replace(&mut self.0[place], fingerprint) == fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn host(number: u32) -> OnLink {
        (7, IpAddr::V4(number.into()))
    }

    #[test]
    fn acquaintances_are_bounded_and_the_latest_stay() {
        let mut acquaintances = Acquaintances::new();
        (0..100_000).for_each(|number| acquaintances.remember(host(number)));
        assert!((100_000 - 32_768..100_000).all(|number| acquaintances.knows(host(number))));
        assert!(!acquaintances.knows(host(0)));
        assert!(acquaintances.young.len() + acquaintances.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn a_scan_is_no_repetition_and_hides_few() {
        let mut repeats = Repeats::new();
        assert!(!repeats.note(host(1)));
        assert!(repeats.note(host(1)));
        let wanted: Vec<_> = (0..100).map(|number| host(1_000_000 + number)).collect();
        wanted.iter().for_each(|host| {
            repeats.note(*host);
        });
        let mistaken = (2..20_002).filter(|number| repeats.note(host(*number))).count();
        assert!(mistaken < 10, "{mistaken}");
        let found = wanted.iter().filter(|host| repeats.note(**host)).count();
        assert!(found > 70, "{found}");
    }
}
