//! Who still sends to a relay that is being drained, by samples of what arrives.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use dataplane::table::routing::{MacAddress, PortId};
use dataplane::wire::ethernet;
use ipnet::IpNet;

use crate::health::addresses;

/// How long a sender is remembered.
const MEMORY: Duration = Duration::from_secs(10);
/// Senders remembered at most.
const MOST: usize = 4096;

/// A neighbour that sends, and whose packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    port: PortId,
    router: MacAddress,
    source: IpAddr,
}

/// One sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// The port it comes by.
    pub port: PortId,
    /// The router next door that sends it here.
    pub router: MacAddress,
    /// Who has sent it.
    pub source: IpAddr,
    /// Its packets among the samples of the last ten seconds.
    pub samples: u32,
}

/// Senders of the last seconds.
#[derive(Debug, Default)]
pub struct Senders(HashMap<Key, (u32, Instant)>);

impl Senders {
    /// A frame as it was received, or its beginning. Only what is sent to one of the destinations counts.
    pub fn sample(&mut self, port: PortId, frame: &[u8], destinations: &BTreeSet<IpNet>, now: Instant) {
        let Ok(header) = ethernet::Header::parse(frame) else { return };
        let Some((source, destination)) = frame.get(header.length..).and_then(addresses) else { return };
        let Some(router) = frame.get(6..12).and_then(|mac| mac.first_chunk().copied()).map(MacAddress) else {
            return;
        };
        if !destinations.iter().any(|to| to.contains(&destination)) {
            return;
        }
        let key = Key { port, router, source };
        if self.0.len() < MOST || self.0.contains_key(&key) {
            let (samples, last) = self.0.entry(key).or_insert((0, now));
            *samples += 1;
            *last = now;
        }
    }

    /// Forgets who has not sent for a while.
    pub fn tick(&mut self, now: Instant) {
        self.0.retain(|_, (_, last)| now.duration_since(*last) < MEMORY);
    }

    /// Forgets everybody.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The greatest ones first, so many at most.
    #[must_use]
    pub fn top(&self, most: usize) -> Vec<Sender> {
        let sender = |(key, (samples, _)): (&Key, &(u32, Instant))| Sender {
            port: key.port,
            router: key.router,
            source: key.source,
            samples: *samples,
        };
        let mut all: Vec<Sender> = self.0.iter().map(sender).collect();
        all.sort_unstable_by_key(|sender| (std::cmp::Reverse(sender.samples), sender.source));
        all.truncate(most);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::testing;

    #[test]
    fn those_who_send_to_what_is_announced_are_known_for_a_while() {
        let destinations =
            BTreeSet::from(["192.0.2.0/24".parse().unwrap(), "2001:db8:46::/96".parse().unwrap()]);
        let (mut senders, start) = (Senders::default(), Instant::now());
        let frame = |packet: &[u8]| testing::frame(testing::MAC_V4, packet);
        for (from, times) in [("203.0.113.50", 3), ("203.0.113.51", 1)] {
            for _ in 0..times {
                senders.sample(
                    PortId(0),
                    &frame(&testing::udp_v4(from, "192.0.2.1", b"x")),
                    &destinations,
                    start,
                );
            }
        }
        senders.sample(
            PortId(0),
            &frame(&testing::udp_v4("203.0.113.52", "198.51.100.1", b"x")),
            &destinations,
            start,
        );
        let six = testing::udp_v6("2001:db8:12:34::1", "2001:db8:46::cb00:7132", b"x");
        senders.sample(PortId(1), &frame(&six)[..60], &destinations, start + MEMORY / 2);
        senders.sample(PortId(1), &[0; 5], &destinations, start);
        let top = senders.top(2);
        assert_eq!((top[0].source.to_string().as_str(), top[0].samples), ("203.0.113.50", 3));
        assert_eq!((top.len(), top[0].router), (2, testing::MAC_PEER));
        senders.tick(start + MEMORY);
        let [left] = senders.top(9)[..] else { panic!("{senders:?}") };
        assert_eq!((left.source.to_string().as_str(), left.port), ("2001:db8:12:34::1", PortId(1)));
    }
}
