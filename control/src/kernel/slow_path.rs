//! Packets for next hops that the kernel has resolved and a worker has not: they are sent, but by the control thread.
//!
//! For an instant that is how a neighbour becomes known. When it lasts, an adjacency is missing in the workers' tables, and
//! whoever runs the relay should hear of it instead of wondering why one host is slow.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// So long may packets for one neighbour come this way.
const PATIENCE: Duration = Duration::from_secs(3);
/// Without a packet for so long it is over.
const OVER: Duration = Duration::from_secs(10);
/// Neighbours that are watched at a time.
const WATCHED: usize = 16;

/// An ifindex and an address on it.
type Neighbor = (u32, IpAddr);

#[derive(Debug)]
struct Case {
    neighbor: Neighbor,
    first: Instant,
    last: Instant,
    packets: u64,
}

/// The neighbours whose packets take the slow path.
#[derive(Debug, Default)]
pub(super) struct SlowPath(Vec<Case>);

impl SlowPath {
    /// A packet for a neighbour that is resolved came from a worker. A few steps, whoever sends.
    pub(super) fn saw(&mut self, neighbor: Neighbor, now: Instant) {
        if let Some(case) = self.0.iter_mut().find(|case| case.neighbor == neighbor) {
            (case.last, case.packets) = (now, case.packets + 1);
            return;
        }
        self.0.retain(|case| now.saturating_duration_since(case.last) < OVER);
        if self.0.len() < WATCHED {
            self.0.push(Case { neighbor, first: now, last: now, packets: 1 });
        }
    }

    /// A neighbour whose packets have come this way for long and still do, and how many.
    pub(super) fn stuck(&mut self, now: Instant) -> Option<(Neighbor, u64)> {
        self.0.retain(|case| now.saturating_duration_since(case.last) < OVER);
        let stuck = |case: &&Case| case.last.saturating_duration_since(case.first) >= PATIENCE;
        self.0.iter().filter(stuck).max_by_key(|case| case.packets).map(|case| (case.neighbor, case.packets))
    }
}

/// What is to be said about it.
pub(super) fn complaint<'a>(
    (index, address): Neighbor,
    packets: u64,
    name: impl Fn(u32) -> &'a str,
) -> String {
    let interface = name(index);
    format!(
        "packets for {address} on {interface} are sent by the control thread, {packets} so far, although its link-layer address \
         is known: look at `borderctl neighbors` and `ip route get {address}`, and report it with both"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_and_what_is_over_is_not() {
        let mut path = SlowPath::default();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let neighbor = |last: u8| (7, IpAddr::from([192, 0, 2, last]));
        path.saw(neighbor(1), start);
        path.saw(neighbor(2), start);
        path.saw(neighbor(1), start + second);
        assert_eq!(path.stuck(start + 2 * second), None, "how every neighbour becomes known");
        path.saw(neighbor(1), start + 4 * second);
        assert_eq!(path.stuck(start + 4 * second), Some((neighbor(1), 3)));
        let text = complaint(neighbor(1), 3, |_| "bl-v4");
        assert!(
            text.starts_with("packets for 192.0.2.1 on bl-v4 are sent by the control thread, 3 so far"),
            "{text}"
        );
        assert_eq!(path.stuck(start + 15 * second), None);
    }

    #[test]
    fn a_scan_takes_no_more_than_its_room() {
        let mut path = SlowPath::default();
        let now = Instant::now();
        (0..=255).for_each(|last| path.saw((7, IpAddr::from([192, 0, 2, last])), now));
        assert_eq!(path.0.len(), WATCHED);
    }
}
