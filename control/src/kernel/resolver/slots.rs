//! The places in the kernel's neighbour table that questions of the relay take up, and give back.
//!
//! A neighbour that answers is no longer counted here: it is what the table is for. One that does not answer stays an entry
//! of the kernel, first incomplete, then failed, and hosts that are there find no room. So each group of askers has so
//! many places; who needs one more has the kernel forget the oldest failed neighbour of its group, or the oldest that has
//! had its chance.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::{NextHop, OnLink};

#[derive(Debug, Clone, Copy)]
struct Slot {
    hop: NextHop,
    serial: u64,
    failed: bool,
}

/// The places of one group.
pub(super) struct Slots {
    capacity: usize,
    /// A neighbour that has not answered for so long may be given up for another one.
    chance: Duration,
    taken: HashMap<OnLink, Slot>,
    /// In the order of asking and of failing. Entries of other serials than the slot's are of the past.
    asked: VecDeque<(OnLink, u64, Instant)>,
    failed: VecDeque<(OnLink, u64)>,
    serial: u64,
}

/// Whether there is a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Yes.
    Free,
    /// Once the kernel has forgotten this one, which nobody waits for any more.
    InsteadOf(OnLink, NextHop),
    /// Not yet.
    None,
}

impl Slots {
    pub(super) fn new(capacity: usize, chance: Duration) -> Self {
        Self {
            capacity,
            chance,
            taken: HashMap::new(),
            asked: VecDeque::new(),
            failed: VecDeque::new(),
            serial: 0,
        }
    }

    pub(super) fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// Takes a place for a neighbour, unless the answer is [`Place::None`].
    pub(super) fn take(&mut self, neighbor: OnLink, hop: NextHop, now: Instant) -> Place {
        let place = if self.taken.contains_key(&neighbor) || self.taken.len() < self.capacity {
            Place::Free
        } else {
            self.vacate(now)
        };
        if place != Place::None {
            self.serial += 1;
            self.taken.insert(neighbor, Slot { hop, serial: self.serial, failed: false });
            self.asked.push_back((neighbor, self.serial, now));
        }
        place
    }

    /// A neighbour does not answer: it may be forgotten before all others.
    pub(super) fn fail(&mut self, neighbor: OnLink) {
        if let Some(slot) = self.taken.get_mut(&neighbor).filter(|slot| !slot.failed) {
            slot.failed = true;
            self.failed.push_back((neighbor, slot.serial));
        }
    }

    /// A neighbour answers, or the kernel has no entry for it any more.
    pub(super) fn free(&mut self, neighbor: OnLink) {
        self.taken.remove(&neighbor);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }

    fn vacate(&mut self, now: Instant) -> Place {
        while let Some((neighbor, serial)) = self.failed.pop_front() {
            if let Some(slot) = self.current(neighbor, serial) {
                self.taken.remove(&neighbor);
                return Place::InsteadOf(neighbor, slot.hop);
            }
        }
        while let Some((neighbor, serial, asked)) = self.asked.front().copied() {
            match self.current(neighbor, serial) {
                Some(slot) if !slot.failed => {
                    if now.saturating_duration_since(asked) < self.chance {
                        break;
                    }
                    self.asked.pop_front();
                    self.taken.remove(&neighbor);
                    return Place::InsteadOf(neighbor, slot.hop);
                }
                _ => drop(self.asked.pop_front()),
            }
        }
        Place::None
    }

    fn current(&self, neighbor: OnLink, serial: u64) -> Option<Slot> {
        self.taken.get(&neighbor).copied().filter(|slot| slot.serial == serial)
    }

    /// Lets go of what the two queues remember of the past.
    pub(super) fn tidy(&mut self) {
        let taken = &self.taken;
        let current =
            |neighbor: &OnLink, serial: u64| taken.get(neighbor).is_some_and(|slot| slot.serial == serial);
        if self.asked.len() > 2 * self.capacity {
            self.asked.retain(|(neighbor, serial, _)| current(neighbor, *serial));
        }
        if self.failed.len() > 2 * self.capacity {
            self.failed.retain(|(neighbor, serial)| current(neighbor, *serial));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    use dataplane::table::routing::InterfaceId;

    const CHANCE: Duration = Duration::from_millis(500);

    fn host(number: u32) -> (OnLink, NextHop) {
        let address = IpAddr::V4(number.into());
        ((7, address), (InterfaceId(0), address))
    }

    fn take(slots: &mut Slots, number: u32, now: Instant) -> Place {
        let (neighbor, hop) = host(number);
        slots.take(neighbor, hop, now)
    }

    #[test]
    fn failed_neighbours_go_first_then_the_oldest_that_had_its_chance() {
        let (mut slots, now) = (Slots::new(3, CHANCE), Instant::now());
        assert!((0..3).all(|number| take(&mut slots, number, now) == Place::Free));
        assert_eq!(take(&mut slots, 1, now), Place::Free, "it has its place");
        assert_eq!(take(&mut slots, 3, now), Place::None);
        slots.fail(host(2).0);
        slots.fail(host(2).0);
        assert_eq!(take(&mut slots, 3, now), Place::InsteadOf(host(2).0, host(2).1));
        let later = now + CHANCE;
        assert_eq!(take(&mut slots, 4, later), Place::InsteadOf(host(0).0, host(0).1));
        assert_eq!(slots.len(), 3);
    }

    #[test]
    fn who_answers_makes_room_and_the_past_is_not_kept() {
        let (mut slots, now) = (Slots::new(4, CHANCE), Instant::now());
        for number in 0..10_000 {
            assert_eq!(take(&mut slots, number, now), Place::Free);
            slots.free(host(number).0);
            slots.tidy();
        }
        assert_eq!(slots.len(), 0);
        assert!(slots.asked.len() < 10);
    }
}
