//! Packets that wait for a link-layer address, and when to ask the kernel for one.
//!
//! Pure: time comes in, decisions go out. What a scan of a connected prefix must not use up (RFC 6583) is shared out by
//! [`Standing`]: room for waiting packets ([`waiting`]), questions per [`TICK`], and places in the kernel's neighbour table
//! ([`slots`]), whose size is [`Resolver::set_table_size`]'s. A packet waits [`PATIENCE`] at most.

mod failing;
mod slots;
mod standing;
mod waiting;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use dataplane::table::routing::InterfaceId;
use dataplane::verdict::DropReason;

use super::queues::{FailingHop, WaitingHop};

use self::slots::{Place, Slots};
pub(super) use self::standing::Standing;
use self::standing::{Acquaintances, Repeats};
use self::waiting::Waiting;
pub(super) use self::waiting::{Expired, Lost, Packet, Queued};

/// How long a packet waits. The kernel gives up after three tries a second apart; its verdict should come first.
pub const PATIENCE: Duration = Duration::from_secs(4);
/// Least time between two requests for the same neighbour.
pub const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// Requests that packets may cause per [`TICK`], for each standing: a flood must not busy the kernel.
const ASKS_PER_TICK: [usize; 4] = [200, 200, 100, 100];
/// Requests that wait for the kernel, at which packets cause no more.
const BACKLOG: usize = 2000;
/// Requests per [`TICK`] for neighbours to be confirmed. Spreads what a restart or a dump finds stale all at once.
const REFRESHES_PER_TICK: usize = 50;
/// How often [`Resolver::tick`] is called.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// A neighbour that has not answered for so long gives its place in the kernel's table up to another one: where anybody may
/// ask, and where only known hosts are asked for.
const CHANCE: Duration = Duration::from_millis(500);
const CHANCE_OF_KNOWN: Duration = Duration::from_secs(1);
/// The kernel's default for the size of its table, until it is read.
const DEFAULT_TABLE: usize = 1024;

type NextHop = (InterfaceId, IpAddr);
/// A neighbour as the kernel names it.
type OnLink = (u32, IpAddr);

/// What the kernel is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// Resolve or confirm a neighbour.
    Use(OnLink),
    /// Remove one that did not answer from its table.
    Forget(OnLink),
}

/// The waiting packets and the questions.
pub(super) struct Resolver {
    waiting: Waiting,
    acquaintances: Acquaintances,
    repeats: Repeats,
    /// Places in the kernel's two tables: IPv4's and IPv6's.
    slots: [GroupSlots; 2],
    /// Who was asked for when, and for which next hop, if packets were the reason.
    asked: HashMap<OnLink, (Instant, Option<NextHop>)>,
    asks_left: [usize; 4],
    refresh: VecDeque<OnLink>,
    to_refresh: HashSet<OnLink>,
    requests: VecDeque<Request>,
    /// Those that are still to be forgotten when their request's turn comes.
    to_forget: HashSet<OnLink>,
    /// Packets of neighbours that were given up for others, not told of yet.
    given_up: usize,
}

/// Gateways need no places: they are as many as an operator configures.
struct GroupSlots {
    known: Slots,
    sought: Slots,
    unknown: Slots,
}

impl Resolver {
    pub(super) fn new() -> Self {
        Self {
            waiting: Waiting::new(),
            acquaintances: Acquaintances::new(),
            repeats: Repeats::new(),
            slots: [GroupSlots::new(DEFAULT_TABLE), GroupSlots::new(DEFAULT_TABLE)],
            asked: HashMap::new(),
            asks_left: ASKS_PER_TICK,
            refresh: VecDeque::new(),
            to_refresh: HashSet::new(),
            requests: VecDeque::new(),
            to_forget: HashSet::new(),
            given_up: 0,
        }
    }

    /// How many entries the kernel's table of a family takes at most (gc_thresh3).
    pub(super) fn set_table_size(&mut self, ipv6: bool, entries: usize) {
        self.slots[usize::from(ipv6)].resize(entries);
    }

    /// Who a next hop is that a packet came for. `mapped`: whether it has an EAM of its own.
    pub(super) fn standing(
        &mut self,
        neighbor: OnLink,
        gateway: bool,
        mapped: impl FnOnce() -> bool,
    ) -> Standing {
        if gateway {
            Standing::Gateway
        } else if self.acquaintances.knows(neighbor) || mapped() {
            Standing::Known
        } else if self.repeats.note(neighbor) {
            Standing::Sought
        } else {
            Standing::Unknown
        }
    }

    /// Takes a packet in, and has the kernel asked as soon as that may be.
    pub(super) fn queue(
        &mut self,
        standing: Standing,
        hop: NextHop,
        neighbor: OnLink,
        packet: &[u8],
        now: Instant,
    ) -> Queued {
        let queued = self.waiting.queue(standing, hop, neighbor, packet, now);
        if standing == Standing::Gateway || self.waiting.has(hop) {
            self.want(standing, hop, neighbor, now);
        }
        queued
    }

    /// A neighbour answers. Whoever has answered once is known.
    pub(super) fn resolved(&mut self, neighbor: OnLink) {
        self.acquaintances.remember(neighbor);
        self.to_forget.remove(&neighbor);
        self.gone(neighbor);
    }

    /// A neighbour does not answer.
    pub(super) fn failed(&mut self, neighbor: OnLink) {
        self.asked.remove(&neighbor);
        let slots = &mut self.slots[family(neighbor)];
        slots.all().into_iter().for_each(|group| group.fail(neighbor));
    }

    /// The kernel has no entry for a neighbour any more, or one that is none of ours.
    pub(super) fn gone(&mut self, neighbor: OnLink) {
        self.asked.remove(&neighbor);
        let slots = &mut self.slots[family(neighbor)];
        slots.all().into_iter().for_each(|group| group.free(neighbor));
    }

    /// The kernel had no room for a neighbour: whoever waits for it waits for that.
    pub(super) fn refused(&mut self, neighbor: OnLink) {
        let slots = &mut self.slots[family(neighbor)];
        slots.all().into_iter().for_each(|group| group.free(neighbor));
        if let Some((_, Some(hop))) = self.asked.get(&neighbor) {
            self.waiting.refused(*hop);
        }
    }

    /// A next hop answers.
    pub(super) fn answered(&mut self, hop: NextHop) {
        self.waiting.failing.answered(hop);
    }

    /// Who is waited for, in no order.
    pub(super) fn waiting_hops(&self, now: Instant) -> impl Iterator<Item = WaitingHop> + '_ {
        self.waiting.hops().map(move |((interface, next_hop), packets, since)| WaitingHop {
            interface,
            next_hop,
            packets,
            oldest: now.saturating_duration_since(since),
        })
    }

    /// For whom packets were lost, in no order.
    pub(super) fn failing_hops(&self, now: Instant) -> impl Iterator<Item = FailingHop> + '_ {
        self.waiting.failing.all().map(move |((interface, next_hop), loss)| FailingHop {
            interface,
            next_hop,
            lost: loss.packets,
            since: now.saturating_duration_since(loss.first),
            last: now.saturating_duration_since(loss.last),
        })
    }

    /// The packets of a next hop, oldest first. They wait no longer.
    pub(super) fn take(&mut self, hop: NextHop) -> impl Iterator<Item = Packet> + use<> {
        self.waiting.take(hop)
    }

    /// The packets of a next hop are given up; how many there were.
    pub(super) fn give_up(&mut self, hop: NextHop, reason: DropReason, now: Instant) -> usize {
        let packets = self.waiting.give_up(hop, reason);
        self.waiting.failing.note(hop, packets, now);
        packets
    }

    /// The packets that were lost since the last call.
    pub(super) fn take_lost(&mut self) -> Vec<Lost> {
        self.waiting.take_lost()
    }

    /// Has a neighbour confirmed soon.
    pub(super) fn refresh(&mut self, neighbor: OnLink) {
        if self.to_refresh.insert(neighbor) {
            self.refresh.push_back(neighbor);
        }
    }

    /// Has one asked for again at once that answered until now.
    pub(super) fn ask_again(&mut self, neighbor: OnLink, now: Instant) {
        self.asked.insert(neighbor, (now, None));
        self.requests.push_back(Request::Use(neighbor));
    }

    /// What is to be said to the kernel next, in this order; no more than that.
    pub(super) fn take_requests(&mut self, most: usize) -> Vec<Request> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(request) = self.requests.pop_front()
        {
            let is_due = match request {
                Request::Use(_) => true,
                // It may have answered meanwhile.
                Request::Forget(neighbor) => self.to_forget.remove(&neighbor),
            };
            if is_due {
                taken.push(request);
            }
        }
        taken
    }

    /// Whether anything is to be said.
    pub(super) fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Lets time pass: returns how many packets have waited too long.
    pub(super) fn tick(&mut self, now: Instant) -> Expired {
        // A kernel that is busy with something else is not asked for more and more.
        self.asks_left = if self.requests.len() < BACKLOG { ASKS_PER_TICK } else { [0; 4] };
        let is_recent = |at: Instant| now.saturating_duration_since(at) < ASK_INTERVAL;
        let asked = &self.asked;
        self.waiting.ask_again(|neighbor| asked.get(&neighbor).is_none_or(|(at, _)| !is_recent(*at)));
        self.asked.retain(|_, (at, _)| is_recent(*at));
        let mut expired = self.waiting.expire(now);
        self.confirm(now);
        for standing in Standing::ALL {
            for (hop, neighbor) in self.waiting.unasked(standing, self.asks_left[standing.index()]) {
                self.want(standing, hop, neighbor, now);
            }
        }
        self.slots.iter_mut().flat_map(GroupSlots::all).for_each(Slots::tidy);
        expired.late += std::mem::take(&mut self.given_up);
        expired
    }

    /// How many entries of the kernel's tables wait for an answer to the relay's questions, or got none.
    #[cfg(test)]
    fn unanswered(&mut self) -> usize {
        self.slots.iter_mut().flat_map(GroupSlots::all).map(|group| group.len()).sum()
    }

    /// Asks for the neighbour of a next hop if it may; else [`Self::tick`] does, if packets still wait then.
    fn want(&mut self, standing: Standing, hop: NextHop, neighbor: OnLink, now: Instant) {
        if self.asks_left[standing.index()] == 0 || self.is_asked(neighbor, now) {
            return;
        }
        match self.slots[family(neighbor)].take(standing, neighbor, hop, now) {
            Place::None => return,
            Place::Free => {}
            Place::InsteadOf(other, its_hop) => {
                self.asked.remove(&other);
                self.given_up += self.give_up(its_hop, DropReason::NeighborWaitExpired, now);
                self.to_forget.insert(other);
                self.requests.push_back(Request::Forget(other));
            }
        }
        self.asks_left[standing.index()] -= 1;
        self.asked.insert(neighbor, (now, Some(hop)));
        self.waiting.asked(hop);
        self.requests.push_back(Request::Use(neighbor));
    }

    fn confirm(&mut self, now: Instant) {
        let due = self.refresh.len().min(REFRESHES_PER_TICK);
        for neighbor in self.refresh.drain(..due).collect::<Vec<_>>() {
            if self.is_asked(neighbor, now) {
                self.refresh.push_back(neighbor);
            } else {
                self.to_refresh.remove(&neighbor);
                self.ask_again(neighbor, now);
            }
        }
    }

    fn is_asked(&self, neighbor: OnLink, now: Instant) -> bool {
        self.asked.get(&neighbor).is_some_and(|(at, _)| now.saturating_duration_since(*at) < ASK_INTERVAL)
    }
}

impl GroupSlots {
    fn new(entries: usize) -> Self {
        let mut slots = Self {
            known: Slots::new(0, CHANCE_OF_KNOWN),
            sought: Slots::new(0, CHANCE),
            unknown: Slots::new(0, CHANCE),
        };
        slots.resize(entries);
        slots
    }

    /// A quarter of the table for who is not known, and half of it for known hosts that do not answer. The kernel throws out
    /// what it has not heard of lately once half of its table is taken (gc_thresh2), so the rest is no waste.
    fn resize(&mut self, entries: usize) {
        self.known.resize((entries / 2).clamp(16, 4096));
        self.sought.resize((entries / 8).clamp(8, 512));
        self.unknown.resize((entries / 8).clamp(8, 512));
    }

    fn take(&mut self, standing: Standing, neighbor: OnLink, hop: NextHop, now: Instant) -> Place {
        match standing {
            Standing::Gateway => Place::Free,
            Standing::Known => self.known.take(neighbor, hop, now),
            Standing::Sought => self.sought.take(neighbor, hop, now),
            Standing::Unknown => self.unknown.take(neighbor, hop, now),
        }
    }

    fn all(&mut self) -> [&mut Slots; 3] {
        [&mut self.known, &mut self.sought, &mut self.unknown]
    }
}

fn family(neighbor: OnLink) -> usize {
    usize::from(neighbor.1.is_ipv6())
}

#[cfg(test)]
mod tests;
