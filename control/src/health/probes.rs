//! Which probes go to the workers, and what their ends say.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use dataplane::exception::ProbeEnd;
use dataplane::table::translation::Translation;
use ipnet::IpNet;

use super::audit::{Audit, Clients, Mapped};
use super::packet;
use super::pair::Pair;

/// A worker answers within a burst; it may have to wait for its CPU, and the control thread for its own.
const PATIENCE: Duration = Duration::from_millis(800);
/// Seconds in a row whose probes a worker must miss before it counts as one that does not answer: a full ring or a machine that
/// is busy for a moment is no reason to move everybody's traffic.
const ROUNDS: u32 = 2;
/// Destinations that are probed in one second; those of other seconds have the others.
const DESTINATIONS: usize = 16;

/// A packet for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The worker, by its position.
    pub worker: usize,
    /// Its number, with which the answer comes.
    pub number: u16,
    /// The packet, from its IP header on.
    pub packet: Vec<u8>,
}

/// A probe on its way.
struct Sent {
    worker: usize,
    destination: IpNet,
    pair: Pair,
    /// Addresses of the packet it must become.
    expected: (IpAddr, IpAddr),
    way: &'static str,
    at: Instant,
    round: usize,
}

/// What a worker did last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    None,
    Given,
    /// It has answered nothing of so many rounds; the last of them.
    Missed(u32, usize),
}

impl Answer {
    /// A probe of that round was not answered.
    fn miss(&mut self, round: usize) {
        *self = match *self {
            Self::Missed(rounds, last) if last == round => Self::Missed(rounds, last),
            Self::Missed(rounds, _) => Self::Missed(rounds.saturating_add(1), round),
            Self::None | Self::Given => Self::Missed(1, round),
        };
    }
}

/// Probes on their way, and what became of those before.
pub struct Probes {
    sent: HashMap<u16, Sent>,
    next: u16,
    workers: Vec<Answer>,
    /// What is wrong with a destination on a worker and a way; nothing where the last probe was right.
    results: BTreeMap<(IpNet, usize, &'static str), Option<String>>,
    /// Counts the seconds, so that each has another mapping.
    round: usize,
}

impl Probes {
    /// For so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            sent: HashMap::new(),
            next: 0,
            workers: vec![Answer::None; workers],
            results: BTreeMap::new(),
            round: 0,
        }
    }

    /// The probes of this second: for each worker and destination a packet each way.
    ///
    /// The audit may be of tables that were in use before: of what it found, that is taken which the tables in use still have. Of a
    /// destination where that is nothing, nothing new is known until the next audit.
    pub fn send(&mut self, audit: &Audit, translation: &Translation, now: Instant) -> Vec<Probe> {
        self.round += 1;
        self.results.retain(|(destination, ..), _| audit.samples.contains_key(destination));
        let known: Vec<_> = audit.samples.iter().filter(|(_, samples)| !samples.is_empty()).collect();
        let turns = known.len().div_ceil(DESTINATIONS).max(1);
        let these = known.into_iter().skip(self.round % turns * DESTINATIONS).take(DESTINATIONS);
        let mut probes = Vec::new();
        for (destination, samples) in these {
            let mut pairs = pairs(audit.clients, samples);
            if pairs.is_empty() {
                self.cannot_be_tried(*destination);
            }
            pairs.retain(|pair| pair.is_in(translation));
            let Some(pair) = pairs.get(self.round % pairs.len().max(1)) else { continue };
            for worker in 0..self.workers.len() {
                for way in ways(*pair) {
                    probes.push(self.probe(worker, *destination, *pair, way, now));
                }
            }
        }
        probes
    }

    /// A probe could not be handed to its worker.
    pub fn refused(&mut self, number: u16) {
        if let Some(sent) = self.sent.remove(&number)
            && let Some(answer) = self.workers.get_mut(sent.worker)
        {
            answer.miss(sent.round);
        }
    }

    /// Other tables are in use: what is on its way may meet the old ones or the new.
    pub fn forget(&mut self) {
        self.sent.clear();
    }

    /// The same when nothing but mappings has changed: what is on its way between others meets what it would have met.
    pub fn forget_changed(&mut self, translation: &Translation) {
        let mut known = BTreeMap::new();
        self.sent.retain(|_, sent| *known.entry(sent.pair).or_insert_with(|| sent.pair.is_in(translation)));
    }

    /// The control thread did not look for so long: what it has not seen meanwhile is not late.
    pub fn excuse(&mut self, time: Duration) {
        self.sent.values_mut().for_each(|sent| sent.at += time);
    }

    /// What became of a probe.
    pub fn answer(&mut self, number: u16, end: ProbeEnd, packet: &[u8]) {
        // Else it is too late.
        let Some(sent) = self.sent.remove(&number) else { return };
        if let Some(answer) = self.workers.get_mut(sent.worker) {
            *answer = Answer::Given;
        }
        let (from, to) = sent.expected;
        let wrong = match end {
            ProbeEnd::Translated => packet::difference(packet, from, to),
            ProbeEnd::Ambiguous => Some("the express lane and the walk disagree about it".to_owned()),
            ProbeEnd::Punted(reason) => Some(format!("it was taken for the kernel's: {}", reason.name())),
            ProbeEnd::Dropped(reason) => Some(format!("it was dropped: {}", reason.name())),
        };
        let worker = sent.worker;
        let wrong = wrong.map(|wrong| {
            format!(
                "a packet {} that should become one from {from} to {to} did not, on worker {worker}: {wrong}",
                sent.way
            )
        });
        self.results.insert((sent.destination, worker, sent.way), wrong);
    }

    /// Lets time pass: what is not answered by now will not be.
    pub fn tick(&mut self, now: Instant) {
        let late = |sent: &Sent| now.saturating_duration_since(sent.at) > PATIENCE;
        for (_, sent) in self.sent.extract_if(|_, sent| late(sent)) {
            if let Some(answer) = self.workers.get_mut(sent.worker) {
                answer.miss(sent.round);
            }
        }
    }

    /// Whether a worker answers; none before it was asked.
    #[must_use]
    pub fn answers(&self, worker: usize) -> Option<bool> {
        match self.workers.get(worker)? {
            Answer::None => None,
            Answer::Given => Some(true),
            Answer::Missed(rounds, _) => Some(*rounds < ROUNDS),
        }
    }

    /// What is wrong with a destination, on any worker; none before it was tried on every one.
    #[must_use]
    pub fn verdict(&self, destination: IpNet) -> Option<Result<(), String>> {
        let range = (destination, 0, "")..=(destination, usize::MAX, "");
        let results: Vec<_> = self.results.range(range).map(|(_, result)| result).collect();
        if let Some(wrong) = results.iter().find_map(|result| result.as_ref()) {
            return Some(Err(wrong.clone()));
        }
        (results.len() == 2 * self.workers.len()).then_some(Ok(()))
    }

    /// Nobody can be made up who would speak to its hosts: nothing is known against it.
    fn cannot_be_tried(&mut self, destination: IpNet) {
        for worker in 0..self.workers.len() {
            for way in WAYS {
                self.results.insert((destination, worker, way), None);
            }
        }
    }

    fn probe(&mut self, worker: usize, destination: IpNet, pair: Pair, way: Way, now: Instant) -> Probe {
        self.next = self.next.wrapping_add(1);
        let (from, to) = way.packet;
        let (expected, way) = (way.expected, way.name);
        let sent = Sent { worker, destination, pair, expected, way, at: now, round: self.round };
        self.sent.insert(self.next, sent);
        Probe { worker, number: self.next, packet: packet::datagram(from, to) }
    }
}

/// The directions.
const WAYS: [&str; 2] = ["from IPv4 to IPv6", "from IPv6 to IPv4"];

/// One direction.
struct Way {
    name: &'static str,
    packet: (IpAddr, IpAddr),
    expected: (IpAddr, IpAddr),
}

/// From the client to the host, and back.
fn ways(Pair { client, host }: Pair) -> [Way; 2] {
    let ipv4 = (IpAddr::V4(client.0), IpAddr::V4(host.0));
    let ipv6 = (IpAddr::V6(client.1), IpAddr::V6(host.1));
    let turned = |(from, to): (IpAddr, IpAddr)| (to, from);
    [
        Way { name: WAYS[0], packet: ipv4, expected: ipv6 },
        Way { name: WAYS[1], packet: turned(ipv6), expected: turned(ipv4) },
    ]
}

/// The samples with who could speak to them: where there is no prefix, another of them.
fn pairs(clients: Clients, samples: &[Mapped]) -> Vec<Pair> {
    let other = |host: Mapped| samples.iter().copied().find(|other| *other != host);
    let client = |host: Mapped| match clients {
        Clients::Anybody(client) => Some(client),
        Clients::Mapped => other(host),
        Clients::Nobody => None,
    };
    samples.iter().filter_map(|host| Some(Pair { client: client(*host)?, host: *host })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::testing;
    use dataplane::verdict::DropReason;

    fn audit() -> (IpNet, Audit) {
        let pool: IpNet = "192.0.2.0/24".parse().unwrap();
        let mapped = |v4: &str, v6: &str| (v4.parse().unwrap(), v6.parse().unwrap());
        let host = mapped("192.0.2.1", "2001:db8:12:34::1");
        let clients = Clients::Anybody(mapped("9.9.9.9", "2001:db8:46::909:909"));
        (pool, Audit { clients, samples: [(pool, vec![host])].into(), ..Audit::default() })
    }

    /// The tables it was made of, and a second host.
    fn tables() -> Translation {
        testing::translation(&[
            ("192.0.2.1/32", "2001:db8:12:34::1/128"),
            ("192.0.2.2/32", "2001:db8:12:34::2/128"),
        ])
    }

    /// What a relay without mistakes makes of a probe.
    fn translated(probe: &Probe) -> Vec<u8> {
        let (from, to) = packet::addresses(&probe.packet).unwrap();
        let other = |address: IpAddr| match address.to_string().as_str() {
            "9.9.9.9" => "2001:db8:46::909:909".parse().unwrap(),
            "192.0.2.1" => "2001:db8:12:34::1".parse().unwrap(),
            "2001:db8:46::909:909" => "9.9.9.9".parse().unwrap(),
            "2001:db8:12:34::1" => "192.0.2.1".parse().unwrap(),
            other => panic!("{other}"),
        };
        let mut packet = packet::datagram(other(from), other(to));
        if packet[0] >> 4 == 6 {
            packet[7] -= 1;
        } else {
            // TTL and protocol are one word of the checksum.
            packet[8] -= 1;
            let sum = u16::from_be_bytes([packet[10], packet[11]]);
            packet[10..12].copy_from_slice(&(sum + 0x0100).to_be_bytes());
        }
        packet
    }

    #[test]
    fn a_destination_is_well_when_every_worker_got_both_ways_right() {
        let (pool, audit) = audit();
        let (mut probes, now) = (Probes::new(2), Instant::now());
        let sent = probes.send(&audit, &tables(), now);
        assert_eq!(sent.len(), 4);
        assert_eq!((probes.verdict(pool), probes.answers(0)), (None, None));
        for probe in &sent {
            assert_ne!(probes.verdict(pool), Some(Ok(())));
            probes.answer(probe.number, ProbeEnd::Translated, &translated(probe));
        }
        assert_eq!((probes.verdict(pool), probes.answers(1)), (Some(Ok(())), Some(true)));
    }

    #[test]
    fn what_was_on_its_way_when_the_tables_changed_counts_for_nothing() {
        let (pool, audit) = audit();
        let (mut probes, now) = (Probes::new(1), Instant::now());
        for probe in probes.send(&audit, &tables(), now) {
            probes.answer(probe.number, ProbeEnd::Translated, &translated(&probe));
        }
        let sent = probes.send(&audit, &tables(), now);
        probes.forget();
        for probe in &sent[..1] {
            let dropped = ProbeEnd::Dropped(DropReason::UnassignedServiceAddress);
            probes.answer(probe.number, dropped, &[]);
        }
        probes.tick(now + 10 * PATIENCE);
        assert_eq!((probes.verdict(pool), probes.answers(0)), (Some(Ok(())), Some(true)));
    }

    #[test]
    fn changes_without_end_keep_no_probe_from_counting_but_those_of_what_they_change() {
        let (pool, mut audit) = audit();
        let second = ("192.0.2.2".parse().unwrap(), "2001:db8:12:34::2".parse().unwrap());
        audit.samples.get_mut(&pool).unwrap().push(second);
        let (mut probes, now) = (Probes::new(1), Instant::now());
        for other in ["2001:db8:12:34::22/128", "2001:db8:12:34::23/128", "2001:db8:12:34::24/128"] {
            let sent = [(); 2].map(|()| probes.send(&audit, &tables(), now)).concat();
            // The second host has another address, and no audit knows.
            let changed =
                testing::translation(&[("192.0.2.1/32", "2001:db8:12:34::1/128"), ("192.0.2.2/32", other)]);
            probes.forget_changed(&changed);
            assert_eq!((sent.len(), probes.sent.len()), (4, 2), "those of one host are left");
            for probe in &sent {
                let is_first = probes.sent.contains_key(&probe.number);
                let (end, packet) = match is_first {
                    true => (ProbeEnd::Translated, translated(probe)),
                    false => (ProbeEnd::Dropped(DropReason::UnassignedServiceAddress), Vec::new()),
                };
                probes.answer(probe.number, end, &packet);
            }
            assert_eq!((probes.verdict(pool), probes.answers(0)), (Some(Ok(())), Some(true)));
            // Only the first is asked any more, until an audit knows the second.
            for probe in [(); 2].map(|()| probes.send(&audit, &changed, now)).concat() {
                probes.answer(probe.number, ProbeEnd::Translated, &translated(&probe));
            }
            assert_eq!((probes.verdict(pool), probes.sent.len()), (Some(Ok(())), 0));
            // What is wrong with what has not changed is wrong.
            let wrong = probes.send(&audit, &changed, now)[0].number;
            probes.forget_changed(&tables());
            probes.answer(wrong, ProbeEnd::Dropped(DropReason::UnassignedServiceAddress), &[]);
            assert!(probes.verdict(pool).unwrap().is_err());
            probes.forget();
        }
        // Of a destination whose samples have all gone nothing new is known.
        assert!(probes.send(&audit, &testing::translation(&[]), now).is_empty());
        assert!(probes.verdict(pool).unwrap().is_err());
    }

    #[test]
    fn what_is_wrong_is_told_with_the_worker_and_the_way() {
        let (pool, audit) = audit();
        let (mut probes, now) = (Probes::new(2), Instant::now());
        let sent = probes.send(&audit, &tables(), now);
        for probe in &sent[..3] {
            probes.answer(probe.number, ProbeEnd::Translated, &translated(probe));
        }
        let dropped = ProbeEnd::Dropped(DropReason::UnassignedServiceAddress);
        probes.answer(sent[3].number, dropped, &[]);
        let wrong = probes.verdict(pool).unwrap().unwrap_err();
        for words in ["from IPv6 to IPv4", "worker 1", "unassigned_service_address", "192.0.2.1"] {
            assert!(wrong.contains(words), "{wrong}");
        }
        // The wrong host.
        let again = probes.send(&audit, &tables(), now);
        let mut elsewhere = translated(&again[0]);
        elsewhere[39] ^= 1;
        probes.answer(again[0].number, ProbeEnd::Translated, &elsewhere);
        assert!(probes.verdict(pool).unwrap().unwrap_err().contains("2001:db8:12:34::"));
    }

    #[test]
    fn a_worker_that_does_not_answer_in_time_is_told_from_wrong_mappings() {
        let (pool, audit) = audit();
        let (mut probes, start) = (Probes::new(2), Instant::now());
        let sent = probes.send(&audit, &tables(), start);
        for probe in sent.iter().filter(|probe| probe.worker == 0) {
            probes.answer(probe.number, ProbeEnd::Translated, &translated(probe));
        }
        probes.tick(start + PATIENCE);
        assert_eq!((probes.answers(0), probes.answers(1)), (Some(true), None));
        probes.tick(start + PATIENCE * 2);
        assert_eq!((probes.answers(1), probes.verdict(pool)), (Some(true), None), "once is no reason yet");
        let late = sent.iter().find(|probe| probe.worker == 1).unwrap();
        probes.answer(late.number, ProbeEnd::Translated, &translated(late));
        let again = probes.send(&audit, &tables(), start);
        // The control thread looks late, which is not the worker's fault.
        probes.excuse(PATIENCE * 2);
        probes.tick(start + PATIENCE * 2);
        assert_eq!(probes.answers(1), Some(true));
        probes.tick(start + PATIENCE * 4);
        assert_eq!((probes.answers(0), probes.answers(1)), (Some(true), Some(false)), "too late, and again");
        assert_eq!(again.len(), 4);
        let third = probes.send(&audit, &tables(), start);
        let of_worker = third.iter().find(|probe| probe.worker == 1).unwrap();
        probes.answer(of_worker.number, ProbeEnd::Translated, &translated(of_worker));
        assert_eq!(probes.answers(1), Some(true));
        for _ in 0..ROUNDS {
            let refused = probes.send(&audit, &tables(), start)[0].number;
            probes.refused(refused);
        }
        assert_eq!(probes.answers(0), Some(false));
    }

    #[test]
    fn without_a_prefix_one_mapped_host_asks_another() {
        let (pool, mut audit) = audit();
        audit.clients = Clients::Mapped;
        let mut alone = Probes::new(1);
        assert!(alone.send(&audit, &tables(), Instant::now()).is_empty(), "one alone has nobody to ask");
        assert_eq!(alone.verdict(pool), Some(Ok(())), "which is nothing against it");
        let second = ("192.0.2.2".parse().unwrap(), "2001:db8:12:34::2".parse().unwrap());
        audit.samples.get_mut(&pool).unwrap().push(second);
        assert_eq!(Probes::new(1).send(&audit, &tables(), Instant::now()).len(), 2);
    }

    #[test]
    fn many_destinations_take_turns() {
        let (_, mut audit) = audit();
        let host = audit.samples.values().next().unwrap()[0];
        audit.samples =
            (0..40_u8).map(|n| (format!("192.0.{n}.0/24").parse().unwrap(), vec![host])).collect();
        let (mut probes, mut all) = (Probes::new(1), std::collections::BTreeSet::new());
        for _ in 0..3 {
            let sent = probes.send(&audit, &tables(), Instant::now());
            assert!(sent.len() <= 2 * DESTINATIONS);
            all.extend(sent.iter().map(|probe| probes.sent[&probe.number].destination));
        }
        assert_eq!(all.len(), 40);
    }
}
