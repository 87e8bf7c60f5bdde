//! Next hops that packets were lost for, by name: an operator asks which server it is, not how many.

use std::collections::HashMap;
use std::time::Instant;

use super::NextHop;

/// Next hops that are remembered: a scan of a connected prefix must not take memory.
const REMEMBERED: usize = 256;

/// Packets that were lost for want of a next hop's link-layer address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) struct Loss {
    pub(in crate::kernel) packets: u64,
    pub(in crate::kernel) first: Instant,
    pub(in crate::kernel) last: Instant,
}

/// What is remembered.
#[derive(Default)]
pub(super) struct Failing(HashMap<NextHop, Loss>);

impl Failing {
    pub(super) fn note(&mut self, hop: NextHop, packets: usize, now: Instant) {
        if packets == 0 {
            return;
        }
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&hop) {
            // Who has lost least goes, and of those who was lost first: a scan loses a packet or two for each address.
            let least = self.0.iter().min_by_key(|(_, loss)| (loss.packets, loss.last)).map(|(hop, _)| *hop);
            if let Some(least) = least {
                self.0.remove(&least);
            }
        }
        let loss = self.0.entry(hop).or_insert(Loss { packets: 0, first: now, last: now });
        loss.packets += packets as u64;
        loss.last = now;
    }

    /// It answers: what was is over.
    pub(super) fn answered(&mut self, hop: NextHop) {
        self.0.remove(&hop);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (NextHop, Loss)> + '_ {
        self.0.iter().map(|(hop, loss)| (*hop, *loss))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use dataplane::table::routing::InterfaceId;

    #[test]
    fn a_dead_server_is_not_forgotten_for_a_scan() {
        let (mut failing, start) = (Failing::default(), Instant::now());
        let hop = |number: u32| (InterfaceId(0), Ipv4Addr::from(number).into());
        failing.note(hop(1), 3, start);
        failing.note(hop(1), 2, start + Duration::from_secs(9));
        for number in 1000..5000 {
            failing.note(hop(number), 1, start + Duration::from_secs(10));
        }
        assert_eq!(failing.all().count(), REMEMBERED);
        let (_, loss) = failing.all().find(|(found, _)| *found == hop(1)).unwrap();
        assert_eq!((loss.packets, loss.last - loss.first), (5, Duration::from_secs(9)));
        failing.answered(hop(1));
        assert!(failing.all().all(|(found, _)| found != hop(1)));
        failing.note(hop(7), 0, start);
        assert!(failing.all().all(|(found, _)| found != hop(7)));
    }
}
