//! The packets that wait, in one room for each [`Standing`], so that none takes another's place.
//!
//! At one next hop the oldest stay, for they are the ones whose sender waits longest. A full room takes a newcomer in by
//! turning a line of its own out, drawn at random and rather one whose neighbour has not been asked for: under a scan
//! everybody has the same chance.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use dataplane::verdict::DropReason;

use super::failing::Failing;
use super::standing::Standing;
use super::{NextHop, OnLink, PATIENCE};

const EXPIRED: DropReason = DropReason::NeighborWaitExpired;
const TABLE_FULL: DropReason = DropReason::NeighborTableFull;

/// Packets for one next hop, and packets in all.
const fn bounds(standing: Standing) -> (usize, usize) {
    match standing {
        Standing::Gateway => (64, 1024),
        Standing::Known => (16, 2048),
        Standing::Sought => (8, 256),
        Standing::Unknown => (4, 256),
    }
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) enum Queued {
    /// It waits.
    Waits {
        /// So many others had to go for it.
        displaced: usize,
    },
    /// There is no room for it.
    Overflow,
}

/// A packet that waits.
pub(in crate::kernel) struct Packet {
    pub(in crate::kernel) since: Instant,
    pub(in crate::kernel) bytes: Vec<u8>,
}

/// A packet that waited for nothing.
pub(in crate::kernel) struct Lost {
    pub(in crate::kernel) hop: NextHop,
    pub(in crate::kernel) reason: DropReason,
    pub(in crate::kernel) bytes: Vec<u8>,
}

/// The packets for one next hop.
struct Line {
    hop: NextHop,
    neighbor: OnLink,
    asked: bool,
    /// The kernel had no room for the neighbour.
    refused: bool,
    packets: VecDeque<Packet>,
}

struct Room {
    per_hop: usize,
    in_all: usize,
    places: HashMap<NextHop, usize>,
    lines: Vec<Line>,
    packets: usize,
}

/// Packets whose time is up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) struct Expired {
    /// Nobody answered in time, or nobody was asked.
    pub(in crate::kernel) late: usize,
    /// The kernel's table was full.
    pub(in crate::kernel) table_full: usize,
}

/// All rooms.
pub(super) struct Waiting {
    rooms: [Room; 4],
    dice: u64,
    /// For whom packets were lost.
    pub(super) failing: Failing,
    /// Those that were lost since somebody asked.
    lost: Vec<Lost>,
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self {
            rooms: Standing::ALL.map(Room::new),
            dice: 0x9e37_79b9_7f4a_7c15,
            failing: Failing::default(),
            lost: Vec::new(),
        }
    }

    pub(super) fn queue(
        &mut self,
        standing: Standing,
        hop: NextHop,
        neighbor: OnLink,
        bytes: &[u8],
        now: Instant,
    ) -> Queued {
        let dice = &mut self.dice;
        let room = &mut self.rooms[standing.index()];
        if room.places.get(&hop).is_some_and(|place| room.lines[*place].packets.len() == room.per_hop) {
            return Queued::Overflow;
        }
        let mut displaced = 0;
        if room.packets == room.in_all {
            match room.victim(hop, dice) {
                Some(victim) => {
                    let Line { hop, packets, .. } = room.turn_out(victim);
                    displaced = packets.len();
                    let reason = DropReason::NeighborWaitOverflow;
                    self.lost.extend(packets.into_iter().map(|Packet { bytes, .. }| Lost {
                        hop,
                        reason,
                        bytes,
                    }));
                }
                None => return Queued::Overflow,
            }
        }
        room.line(hop, neighbor).packets.push_back(Packet { since: now, bytes: bytes.to_vec() });
        room.packets += 1;
        Queued::Waits { displaced }
    }

    /// The packets of a next hop, oldest first. They wait no longer.
    pub(super) fn take(&mut self, hop: NextHop) -> impl Iterator<Item = Packet> + use<> {
        let mut packets = Vec::new();
        // In more than one room only if its standing has changed, for the better in most cases.
        for room in self.rooms.iter_mut().rev() {
            if let Some(place) = room.places.get(&hop).copied() {
                packets.extend(room.turn_out(place).packets);
            }
        }
        packets.sort_by_key(|packet| packet.since);
        packets.into_iter()
    }

    /// The packets of a next hop are given up; how many there were.
    pub(super) fn give_up(&mut self, hop: NextHop, reason: DropReason) -> usize {
        let before = self.lost.len();
        let packets = self.take(hop);
        self.lost.extend(packets.map(|Packet { bytes, .. }| Lost { hop, reason, bytes }));
        self.lost.len() - before
    }

    /// What was lost since the last call.
    pub(super) fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    /// The neighbour of a next hop has been asked for.
    pub(super) fn asked(&mut self, hop: NextHop) {
        self.lines_of(hop).for_each(|line| line.asked = true);
    }

    /// The kernel has no room for it.
    pub(super) fn refused(&mut self, hop: NextHop) {
        self.lines_of(hop).for_each(|line| line.refused = true);
    }

    pub(super) fn expire(&mut self, now: Instant) -> Expired {
        let mut expired = Expired::default();
        for room in &mut self.rooms {
            room.expire(now, &mut expired, &mut self.failing, &mut self.lost);
        }
        expired
    }

    /// Some of a room whose neighbours have not been asked for, beginning anywhere.
    pub(super) fn unasked(&mut self, standing: Standing, limit: usize) -> Vec<(NextHop, OnLink)> {
        let room = &self.rooms[standing.index()];
        let start = roll(&mut self.dice, room.lines.len());
        let (behind, first) = room.lines.split_at(start);
        let unasked = first.iter().chain(behind).filter(|line| !line.asked);
        unasked.take(limit).map(|line| (line.hop, line.neighbor)).collect()
    }

    /// A question was not answered: it may be asked anew.
    pub(super) fn ask_again(&mut self, neighbor_is_due: impl Fn(OnLink) -> bool) {
        for line in self.rooms.iter_mut().flat_map(|room| &mut room.lines) {
            line.asked &= !neighbor_is_due(line.neighbor);
        }
    }

    /// Who is waited for, by how many packets, and since when the oldest of them waits.
    pub(super) fn hops(&self) -> impl Iterator<Item = (NextHop, usize, Instant)> + '_ {
        let lines = self.rooms.iter().flat_map(|room| &room.lines);
        lines.filter_map(|line| Some((line.hop, line.packets.len(), line.packets.front()?.since)))
    }

    pub(super) fn has(&self, hop: NextHop) -> bool {
        self.rooms.iter().any(|room| room.places.contains_key(&hop))
    }

    fn lines_of(&mut self, hop: NextHop) -> impl Iterator<Item = &mut Line> {
        self.rooms.iter_mut().filter_map(move |room| {
            let place = *room.places.get(&hop)?;
            room.lines.get_mut(place)
        })
    }
}

impl Room {
    fn new(standing: Standing) -> Self {
        let (per_hop, in_all) = bounds(standing);
        Self { per_hop, in_all, places: HashMap::new(), lines: Vec::new(), packets: 0 }
    }

    fn line(&mut self, hop: NextHop, neighbor: OnLink) -> &mut Line {
        let place = *self.places.entry(hop).or_insert_with(|| {
            let line = Line { hop, neighbor, asked: false, refused: false, packets: VecDeque::new() };
            self.lines.push(line);
            self.lines.len() - 1
        });
        &mut self.lines[place]
    }

    /// Who goes for a packet of `newcomer`: never its own line.
    fn victim(&self, newcomer: NextHop, dice: &mut u64) -> Option<usize> {
        const TRIES: usize = 4;
        let mut chosen = None;
        for _ in 0..TRIES {
            let place = roll(dice, self.lines.len());
            let Some(line) = self.lines.get(place).filter(|line| line.hop != newcomer) else {
                continue;
            };
            chosen = Some(place);
            if !line.asked {
                break;
            }
        }
        chosen
    }

    fn turn_out(&mut self, place: usize) -> Line {
        let line = self.lines.swap_remove(place);
        self.places.remove(&line.hop);
        if let Some(moved) = self.lines.get(place) {
            self.places.insert(moved.hop, place);
        }
        self.packets -= line.packets.len();
        line
    }

    fn expire(&mut self, now: Instant, expired: &mut Expired, failing: &mut Failing, lost: &mut Vec<Lost>) {
        let late = |packet: &Packet| now.saturating_duration_since(packet.since) >= PATIENCE;
        let mut place = 0;
        while let Some(line) = self.lines.get_mut(place) {
            let count = line.packets.iter().take_while(|packet| late(packet)).count();
            let (hop, reason) = (line.hop, if line.refused { TABLE_FULL } else { EXPIRED });
            lost.extend(line.packets.drain(..count).map(|Packet { bytes, .. }| Lost { hop, reason, bytes }));
            self.packets -= count;
            failing.note(line.hop, count, now);
            *(if line.refused { &mut expired.table_full } else { &mut expired.late }) += count;
            if line.packets.is_empty() {
                self.turn_out(place);
            } else {
                place += 1;
            }
        }
    }
}

/// Anything below `sides`, or 0. Fairness needs no better dice (xorshift64), and a replay needs the same ones.
fn roll(dice: &mut u64, sides: usize) -> usize {
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    let wide = u128::from(*dice) * sides as u128;
    usize::try_from(wide >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    use dataplane::table::routing::InterfaceId;

    fn hop(number: u32) -> NextHop {
        (InterfaceId(0), IpAddr::V4(number.into()))
    }

    fn queue(waiting: &mut Waiting, standing: Standing, number: u32, mark: u8, now: Instant) -> Queued {
        waiting.queue(standing, hop(number), (7, hop(number).1), &[mark], now)
    }

    const WAITS: Queued = Queued::Waits { displaced: 0 };

    #[test]
    fn the_oldest_of_a_next_hop_stay_and_come_out_in_order() {
        let (mut waiting, now) = (Waiting::new(), Instant::now());
        for n in 0..20 {
            let expected = if n < 16 { WAITS } else { Queued::Overflow };
            assert_eq!(queue(&mut waiting, Standing::Known, 1, n, now), expected);
        }
        assert_eq!(queue(&mut waiting, Standing::Known, 2, 99, now), WAITS, "others have room");
        let packets: Vec<_> = waiting.take(hop(1)).map(|packet| packet.bytes).collect();
        assert_eq!(packets, (0..16).map(|n| vec![n]).collect::<Vec<_>>());
        assert_eq!(waiting.take(hop(1)).count(), 0);
        assert_eq!(waiting.take(hop(2)).count(), 1);
    }

    #[test]
    fn a_scan_displaces_a_scan_and_nobody_else() {
        let (mut waiting, now) = (Waiting::new(), Instant::now());
        for (number, standing) in [(1, Standing::Gateway), (2, Standing::Known), (3, Standing::Sought)] {
            assert_eq!(queue(&mut waiting, standing, number, 1, now), WAITS);
        }
        let displaced: usize = (1000..11_000)
            .map(|number| match queue(&mut waiting, Standing::Unknown, number, 1, now) {
                Queued::Waits { displaced } => displaced,
                Queued::Overflow => panic!("a newcomer is let in"),
            })
            .sum();
        assert_eq!(displaced, 10_000 - 256);
        assert!((1..=3).all(|number| waiting.has(hop(number))));
        assert_eq!(waiting.rooms[Standing::Unknown.index()].packets, 256);
        let oldest = (1000..1256).filter(|number| waiting.has(hop(*number))).count();
        assert!(oldest < 10, "nobody sits for ever: {oldest}");
    }

    #[test]
    fn who_has_been_asked_for_is_turned_out_last() {
        let (mut waiting, now) = (Waiting::new(), Instant::now());
        for number in 0..256 {
            queue(&mut waiting, Standing::Unknown, number, 1, now);
        }
        (0..8).for_each(|number| waiting.asked(hop(number)));
        (1000..1500).for_each(|number| {
            queue(&mut waiting, Standing::Unknown, number, 1, now);
        });
        assert_eq!((0..8).filter(|number| waiting.has(hop(*number))).count(), 8);
    }

    #[test]
    fn packets_wait_no_longer_than_their_patience() {
        let (mut waiting, now) = (Waiting::new(), Instant::now());
        queue(&mut waiting, Standing::Known, 1, 1, now);
        queue(&mut waiting, Standing::Known, 1, 2, now + Duration::from_secs(1));
        queue(&mut waiting, Standing::Known, 2, 3, now);
        waiting.refused(hop(2));
        assert_eq!(waiting.expire(now + PATIENCE - Duration::from_millis(1)), Expired::default());
        assert_eq!(waiting.expire(now + PATIENCE), Expired { late: 1, table_full: 1 });
        assert_eq!(waiting.take(hop(1)).map(|packet| packet.bytes).collect::<Vec<_>>(), [vec![2]]);
        assert!(waiting.rooms.iter().all(|room| room.packets == 0 && room.lines.is_empty()));
    }

    #[test]
    fn a_change_of_standing_keeps_the_order() {
        let (mut waiting, now) = (Waiting::new(), Instant::now());
        queue(&mut waiting, Standing::Unknown, 1, 1, now);
        queue(&mut waiting, Standing::Sought, 1, 2, now + Duration::from_millis(1));
        queue(&mut waiting, Standing::Known, 1, 3, now + Duration::from_millis(2));
        assert_eq!(
            waiting.take(hop(1)).map(|packet| packet.bytes).collect::<Vec<_>>(),
            [vec![1], vec![2], vec![3]]
        );
    }

    #[test]
    fn the_unasked_come_in_turn_and_the_asked_do_not() {
        let (mut waiting, now) = (Waiting::new(), Instant::now());
        (0..10).for_each(|number| {
            queue(&mut waiting, Standing::Known, number, 1, now);
        });
        waiting.asked(hop(3));
        let unasked = waiting.unasked(Standing::Known, 100);
        assert_eq!(unasked.len(), 9);
        assert!(!unasked.contains(&(hop(3), (7, hop(3).1))));
        assert_eq!(waiting.unasked(Standing::Known, 4).len(), 4);
        waiting.ask_again(|neighbor| neighbor.1 == hop(3).1);
        assert_eq!(waiting.unasked(Standing::Known, 100).len(), 10);
    }
}
