//! Packets that wait for a link-layer address, and when to ask the kernel for one.
//!
//! Pure: time comes in, decisions go out. Bounds: [`PER_NEXT_HOP`] packets for one next hop, [`IN_ALL`] in all; the oldest
//! stay, for they are the ones whose sender waits longest. A packet waits [`PATIENCE`] at most.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use dataplane::table::routing::InterfaceId;

/// Packets kept for one next hop.
pub const PER_NEXT_HOP: usize = 16;
/// Packets kept in all.
pub const IN_ALL: usize = 1024;
/// How long a packet waits. The kernel gives up after three tries a second apart; its verdict should come first.
pub const PATIENCE: Duration = Duration::from_secs(4);
/// Least time between two requests for the same neighbour.
pub const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// Requests that packets may cause per [`TICK`]: a scan of a directly attached prefix must not busy the kernel.
const ASKS_PER_TICK: usize = 100;
/// Requests per [`TICK`] for neighbours to be confirmed. Spreads what a restart or a dump finds stale all at once.
const REFRESHES_PER_TICK: usize = 50;
/// How often [`Resolver::tick`] is called.
pub(super) const TICK: Duration = Duration::from_millis(100);

type NextHop = (InterfaceId, IpAddr);
/// A neighbour as the kernel names it.
type OnLink = (u32, IpAddr);

struct Waiting {
    since: Instant,
    packet: Vec<u8>,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queued {
    /// It waits.
    Waits,
    /// There is no room for it.
    Overflow,
}

/// The waiting packets.
pub(super) struct Resolver {
    /// Sorted, so that a replay expires in the same order.
    waiting: BTreeMap<NextHop, VecDeque<Waiting>>,
    packets: usize,
    asked: HashMap<OnLink, Instant>,
    asks_left: usize,
    /// Next hops packets wait for that could not be asked for at once.
    owed: Vec<(NextHop, OnLink)>,
    refresh: VecDeque<OnLink>,
    to_refresh: HashSet<OnLink>,
}

impl Resolver {
    pub(super) fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            packets: 0,
            asked: HashMap::new(),
            asks_left: ASKS_PER_TICK,
            owed: Vec::new(),
            refresh: VecDeque::new(),
            to_refresh: HashSet::new(),
        }
    }

    /// Takes a packet in.
    pub(super) fn queue(&mut self, hop: NextHop, packet: &[u8], now: Instant) -> Queued {
        if self.packets == IN_ALL {
            return Queued::Overflow;
        }
        let queue = self.waiting.entry(hop).or_default();
        if queue.len() == PER_NEXT_HOP {
            return Queued::Overflow;
        }
        queue.push_back(Waiting { since: now, packet: packet.to_vec() });
        self.packets += 1;
        Queued::Waits
    }

    /// Whether a packet for this neighbour is reason to ask the kernel now. The answer yes counts as asking; after a no
    /// [`Self::tick`] asks as soon as it may, if packets still wait then.
    pub(super) fn may_ask(&mut self, hop: NextHop, neighbor: OnLink, now: Instant) -> bool {
        let asks = self.asks_left > 0 && self.note_ask(neighbor, now);
        if asks {
            self.asks_left -= 1;
        } else if !self.owed.contains(&(hop, neighbor)) && self.owed.len() < IN_ALL {
            self.owed.push((hop, neighbor));
        }
        asks
    }

    /// The kernel has spoken about a neighbour: the next question is a new one.
    pub(super) fn answered(&mut self, neighbor: OnLink) {
        self.asked.remove(&neighbor);
    }

    /// The packets of a next hop, oldest first. They wait no longer.
    pub(super) fn take(&mut self, hop: NextHop) -> impl Iterator<Item = Vec<u8>> + use<> {
        let queue = self.waiting.remove(&hop).unwrap_or_default();
        self.packets -= queue.len();
        queue.into_iter().map(|waiting| waiting.packet)
    }

    /// Has a neighbour confirmed soon.
    pub(super) fn refresh(&mut self, neighbor: OnLink) {
        if self.to_refresh.insert(neighbor) {
            self.refresh.push_back(neighbor);
        }
    }

    /// Lets time pass: returns how many packets have waited too long, and whom to ask about now.
    pub(super) fn tick(&mut self, now: Instant) -> (usize, Vec<OnLink>) {
        self.asks_left = ASKS_PER_TICK;
        self.asked.retain(|_, at| now.saturating_duration_since(*at) < ASK_INTERVAL);
        let before = self.packets;
        let packets = &mut self.packets;
        self.waiting.retain(|_, queue| {
            while queue.front().is_some_and(|first| now.saturating_duration_since(first.since) >= PATIENCE) {
                queue.pop_front();
                *packets -= 1;
            }
            !queue.is_empty()
        });
        let expired = before - self.packets;
        let due = self.refresh.len().min(REFRESHES_PER_TICK);
        let mut ask = Vec::with_capacity(due);
        for neighbor in self.refresh.drain(..due).collect::<Vec<_>>() {
            if self.note_ask(neighbor, now) {
                self.to_refresh.remove(&neighbor);
                ask.push(neighbor);
            } else {
                self.refresh.push_back(neighbor);
            }
        }
        for (hop, neighbor) in std::mem::take(&mut self.owed) {
            if self.waiting.contains_key(&hop) && self.may_ask(hop, neighbor, now) {
                ask.push(neighbor);
            }
        }
        (expired, ask)
    }

    fn note_ask(&mut self, neighbor: OnLink, now: Instant) -> bool {
        let recent = |at: &Instant| now.saturating_duration_since(*at) < ASK_INTERVAL;
        if self.asked.get(&neighbor).is_some_and(recent) {
            return false;
        }
        self.asked.insert(neighbor, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn hop(last: u8) -> NextHop {
        (InterfaceId(0), IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
    }

    fn on_link(last: u8) -> OnLink {
        (7, hop(last).1)
    }

    #[test]
    fn the_oldest_of_a_next_hop_stay_and_come_out_in_order() {
        let (mut resolver, now) = (Resolver::new(), Instant::now());
        for n in 0..20 {
            let expected = if n < 16 { Queued::Waits } else { Queued::Overflow };
            assert_eq!(resolver.queue(hop(1), &[n], now), expected);
        }
        assert_eq!(resolver.queue(hop(2), &[99], now), Queued::Waits, "others have room");
        let packets: Vec<_> = resolver.take(hop(1)).collect();
        assert_eq!(packets, (0..16).map(|n| vec![n]).collect::<Vec<_>>());
        assert_eq!(resolver.take(hop(1)).count(), 0);
        assert_eq!(resolver.take(hop(2)).count(), 1);
    }

    #[test]
    fn the_total_is_bounded_and_room_comes_back() {
        let (mut resolver, now) = (Resolver::new(), Instant::now());
        for n in 0..=255 {
            for _ in 0..4 {
                assert_eq!(resolver.queue(hop(n), &[0], now), Queued::Waits);
            }
        }
        assert_eq!(resolver.queue(hop(1), &[0], now), Queued::Overflow);
        assert_eq!(resolver.take(hop(9)).count(), 4);
        assert_eq!(resolver.queue(hop(1), &[0], now), Queued::Waits);
    }

    #[test]
    fn packets_wait_no_longer_than_their_patience() {
        let (mut resolver, now) = (Resolver::new(), Instant::now());
        resolver.queue(hop(1), &[1], now);
        resolver.queue(hop(1), &[2], now + Duration::from_secs(1));
        assert_eq!(resolver.tick(now + PATIENCE - Duration::from_millis(1)).0, 0);
        assert_eq!(resolver.tick(now + PATIENCE).0, 1);
        assert_eq!(resolver.take(hop(1)).collect::<Vec<_>>(), [vec![2]]);
        assert_eq!(resolver.packets, 0);
    }

    #[test]
    fn a_neighbour_is_asked_for_once_a_second() {
        let (mut resolver, now) = (Resolver::new(), Instant::now());
        assert!(resolver.may_ask(hop(1), on_link(1), now));
        assert!(!resolver.may_ask(hop(1), on_link(1), now + Duration::from_millis(999)));
        assert!(resolver.may_ask(hop(2), on_link(2), now), "another one is asked for");
        assert!(resolver.may_ask(hop(1), on_link(1), now + ASK_INTERVAL));
    }

    #[test]
    fn a_scan_does_not_flood_the_kernel() {
        let (mut resolver, now) = (Resolver::new(), Instant::now());
        let asked = (0..=255).filter(|n| resolver.may_ask(hop(*n), on_link(*n), now)).count();
        assert_eq!(asked, ASKS_PER_TICK);
        resolver.tick(now + TICK);
        assert!(resolver.may_ask(hop(200), on_link(200), now + TICK));
    }

    #[test]
    fn a_packet_that_comes_right_after_a_question_is_not_forgotten() {
        let (mut resolver, now) = (Resolver::new(), Instant::now());
        assert!(resolver.may_ask(hop(1), on_link(1), now));
        resolver.queue(hop(1), &[1], now);
        assert!(!resolver.may_ask(hop(1), on_link(1), now));
        assert_eq!(resolver.tick(now + TICK).1, []);
        assert_eq!(resolver.tick(now + ASK_INTERVAL).1, [on_link(1)]);
        resolver.answered(on_link(1));
        assert!(
            resolver.may_ask(hop(1), on_link(1), now + ASK_INTERVAL),
            "an answered question may be asked again"
        );
        let _ = resolver.take(hop(1));
        assert!(!resolver.may_ask(hop(1), on_link(1), now + ASK_INTERVAL));
        assert_eq!(resolver.tick(now + 3 * ASK_INTERVAL).1, [], "nobody waits any more");
    }

    #[test]
    fn refreshes_are_spread_and_not_doubled() {
        let (mut resolver, now) = (Resolver::new(), Instant::now());
        for n in 0..60 {
            resolver.refresh(on_link(n));
            resolver.refresh(on_link(n));
        }
        assert_eq!(resolver.tick(now).1.len(), REFRESHES_PER_TICK);
        assert_eq!(resolver.tick(now + TICK).1.len(), 10);
        resolver.refresh(on_link(0));
        assert_eq!(resolver.tick(now + 2 * TICK).1.len(), 0, "asked for less than a second ago");
        assert_eq!(resolver.tick(now + ASK_INTERVAL).1, [on_link(0)], "put off, not forgotten");
    }
}
