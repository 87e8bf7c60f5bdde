//! Which packet of two captures came of which.
//!
//! Both captures are one heap: a capture of one side of a translator has what goes in there and what comes out. Every packet
//! is put through our own walk. Where what we make of it is in the heap byte for byte, the two belong together, and the
//! other is no input. What is left is paired by what no translator changes: ports, echo identifiers, payload.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use super::view::{View, canonical, reassembled};

/// A packet of one of the captures, and what we make of it.
#[derive(Debug)]
pub(super) struct Seen {
    /// 0: before, 1: after.
    pub(super) file: usize,
    /// Its place in the file, from 0.
    pub(super) index: usize,
    pub(super) time: Duration,
    pub(super) bytes: Vec<u8>,
    pub(super) verdict: &'static str,
    pub(super) reason: Option<&'static str>,
    /// What we would send.
    pub(super) ours: Vec<Vec<u8>>,
}

/// Whether a packet goes into the translator, by its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
    Unclear,
}

/// What the other translator made of a packet, beside what we do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The same.
    Equal,
    /// Both send nothing.
    BothSilent,
    /// The same datagram in other pieces: ours and theirs.
    Cut(Vec<usize>),
    /// Ours, by number, and theirs, which differ.
    Near(usize, usize),
    /// Nothing like ours is there.
    Missing(usize),
    /// They answered with an ICMP error what we translate.
    Answered(usize),
    /// They sent something where we send nothing or an ICMP error.
    Carried(usize),
}

/// Everything that was found out about two captures.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// Input and what became of it, in order.
    pub(super) matches: Vec<(usize, Match)>,
    /// Outputs nothing in the captures explains.
    pub(super) extra: Vec<usize>,
    /// Packets that are not the translator's.
    pub(super) others: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Free,
    Input,
    Output,
}

/// Packets under the hash of what they have in common, in order.
type Candidates = HashMap<u64, VecDeque<usize>>;
/// Source, destination, protocol and the hash of the payload.
type Datagram = (IpAddr, IpAddr, u8, u64);
/// So many packets that have the same in common are looked at: those of a constant stream are all alike.
const LOOKED_AT: usize = 64;

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

struct Pairing<'s> {
    seen: &'s [Seen],
    used: Vec<Use>,
    /// By the hash of family and [`View::identity`].
    identities: Candidates,
    /// ICMP errors by the hash of [`View::start`] of what they quote.
    quoting: Candidates,
    /// Free packets and groups of free fragments, by datagram.
    datagrams: HashMap<Datagram, Vec<Vec<usize>>>,
    pairs: Pairs,
}

/// Pairs them.
pub(super) fn pair(seen: &[Seen], way: impl Fn(&Seen) -> Way) -> Pairs {
    let mut pairing = Pairing::new(seen);
    let open = pairing.exact();
    pairing.gather();
    let is_turned = pairing.is_turned(&way);
    let way = |packet: &Seen| match (way(packet), is_turned) {
        (Way::In, true) => Way::Out,
        (Way::Out, true) => Way::In,
        (way, _) => way,
    };
    for (index, missing) in open {
        pairing.nearly(index, missing, way(&seen[index]));
    }
    for (index, packet) in seen.iter().enumerate() {
        if pairing.used[index] == Use::Free {
            pairing.silent(index, way(packet));
        }
    }
    for (index, packet) in seen.iter().enumerate() {
        match (pairing.used[index], way(packet)) {
            (Use::Free, Way::Out) => pairing.pairs.extra.push(index),
            (Use::Free, _) => pairing.pairs.others += 1,
            _ => {}
        }
    }
    pairing.pairs.matches.sort_by_key(|(index, _)| *index);
    pairing.pairs
}

impl<'s> Pairing<'s> {
    fn new(seen: &'s [Seen]) -> Self {
        let (mut identities, mut quoting) = (Candidates::new(), Candidates::new());
        for (index, packet) in seen.iter().enumerate() {
            let Some(view) = View::new(&packet.bytes) else { continue };
            identities.entry(hash(&(view.is_ipv6, view.identity()))).or_default().push_back(index);
            if let Some(quoted) = view.quote().and_then(View::new) {
                quoting.entry(hash(&quoted.start())).or_default().push_back(index);
            }
        }
        Self {
            seen,
            used: vec![Use::Free; seen.len()],
            identities,
            quoting,
            datagrams: HashMap::new(),
            pairs: Pairs::default(),
        }
    }

    /// Pairs what is the same; returns the inputs of which something of ours is left, with its numbers.
    fn exact(&mut self) -> Vec<(usize, Vec<usize>)> {
        let mut canonicals: HashMap<u64, Vec<usize>> = HashMap::new();
        for (index, packet) in self.seen.iter().enumerate().rev() {
            canonicals.entry(hash(&canonical(&packet.bytes))).or_default().push(index);
        }
        let mut open = Vec::new();
        for (index, packet) in self.seen.iter().enumerate() {
            let mut missing = Vec::new();
            for (number, ours) in packet.ours.iter().enumerate() {
                let same = canonicals.get_mut(&hash(&canonical(ours))).and_then(|same| {
                    let at =
                        same.iter().rposition(|other| *other != index && self.used[*other] == Use::Free)?;
                    Some(same.remove(at))
                });
                match same {
                    Some(other) => self.used[other] = Use::Output,
                    None => missing.push(number),
                }
            }
            if packet.ours.is_empty() {
                continue;
            }
            if missing.is_empty() {
                self.used[index] = Use::Input;
                self.pairs.matches.push((index, Match::Equal));
            } else {
                open.push((index, missing));
            }
        }
        open
    }

    /// Whether the mapped side is where IPv4 comes in: what was found to be input tells.
    fn is_turned(&self, way: impl Fn(&Seen) -> Way) -> bool {
        let votes =
            |wanted| self.pairs.matches.iter().filter(|(index, _)| way(&self.seen[*index]) == wanted).count();
        votes(Way::Out) > votes(Way::In)
    }

    /// Pairs an input of which ours is not there as it is.
    fn nearly(&mut self, index: usize, missing: Vec<usize>, way: Way) {
        if self.used[index] != Use::Free || way == Way::Out {
            return;
        }
        let packet = &self.seen[index];
        if let Some(pieces) = self.in_other_pieces(index) {
            pieces.iter().for_each(|piece| self.used[*piece] = Use::Output);
            self.found(index, Match::Cut(pieces));
            return;
        }
        for number in missing {
            let ours = View::new(&packet.ours[number]);
            let found = if let Some(other) = ours.and_then(|ours| self.like(index, &ours)) {
                self.used[other] = Use::Output;
                Match::Near(number, other)
            } else if let Some(other) = self.carried(index) {
                self.used[other] = Use::Output;
                Match::Carried(other)
            } else if let Some(other) = self.about(index) {
                self.used[other] = Use::Output;
                Match::Answered(other)
            } else if way == Way::In {
                Match::Missing(number)
            } else {
                continue;
            };
            self.found(index, found);
        }
    }

    fn found(&mut self, index: usize, found: Match) {
        self.used[index] = Use::Input;
        self.pairs.matches.push((index, found));
    }

    /// An input of which we make nothing.
    fn silent(&mut self, index: usize, way: Way) {
        if !self.seen[index].ours.is_empty() || way == Way::Out {
            return;
        }
        let is_ours_to_judge = self.seen[index].verdict == "dropped";
        if let Some(other) = self.carried(index) {
            self.used[other] = Use::Output;
            self.found(index, Match::Carried(other));
        } else if let Some(other) = is_ours_to_judge.then(|| self.about(index)).flatten() {
            self.used[other] = Use::Output;
            self.found(index, Match::Carried(other));
        } else if is_ours_to_judge && way == Way::In {
            self.found(index, Match::BothSilent);
        }
    }

    /// A free packet like ours, the more alike and the sooner after the input the better.
    fn like(&mut self, index: usize, ours: &View<'_>) -> Option<usize> {
        let candidates = free(self.identities.get_mut(&hash(&(ours.is_ipv6, ours.identity()))), &self.used);
        candidates
            .into_iter()
            .filter(|other| *other != index)
            .filter_map(|other| Some((other, View::new(&self.seen[other].bytes)?)))
            .min_by_key(|(other, theirs)| {
                let strange = usize::from(theirs.source != ours.source)
                    + usize::from(theirs.destination != ours.destination);
                (strange, self.after(index, *other), *other)
            })
            .map(|(other, _)| other)
    }

    /// A free packet of the other family with the same identity: the translation of one we do not translate.
    fn carried(&mut self, index: usize) -> Option<usize> {
        let input = View::new(&self.seen[index].bytes)?;
        let candidates =
            free(self.identities.get_mut(&hash(&(!input.is_ipv6, input.identity()))), &self.used);
        candidates.into_iter().min_by_key(|other| (self.after(index, *other), *other))
    }

    /// A free ICMP error about an input, sent to its source.
    fn about(&mut self, index: usize) -> Option<usize> {
        let input = View::new(&self.seen[index].bytes)?;
        let candidates = free(self.quoting.get_mut(&hash(&input.start())), &self.used);
        let is_answer = |other: &usize| {
            View::new(&self.seen[*other].bytes).is_some_and(|error| error.destination == input.source)
        };
        candidates.into_iter().filter(is_answer).min_by_key(|other| (self.after(index, *other), *other))
    }

    /// How long after the input; what came before it last of all.
    fn after(&self, input: usize, output: usize) -> (bool, Duration) {
        let (input, output) = (self.seen[input].time, self.seen[output].time);
        (output < input, output.abs_diff(input))
    }

    /// Puts the datagrams of what is still free together.
    fn gather(&mut self) {
        let mut groups: HashMap<(IpAddr, IpAddr, u32), Vec<usize>> = HashMap::new();
        let mut wholes = Vec::new();
        for (index, packet) in
            self.seen.iter().enumerate().filter(|(index, _)| self.used[*index] == Use::Free)
        {
            let Some(view) = View::new(&packet.bytes) else { continue };
            match view.fragment {
                Some(fragment) => {
                    let key = (view.source, view.destination, fragment.identification);
                    groups.entry(key).or_default().push(index);
                }
                None => wholes.push(vec![index]),
            }
        }
        for group in groups.into_values().chain(wholes) {
            if let Some((source, destination, protocol, payload)) = reassembled(&self.pieces(&group)) {
                let key = (source, destination, protocol, hash(&payload));
                self.datagrams.entry(key).or_default().push(group);
            }
        }
    }

    fn pieces(&self, group: &[usize]) -> Vec<&'s [u8]> {
        group.iter().map(|piece| self.seen[*piece].bytes.as_slice()).collect()
    }

    /// The free packets that are the datagram of ours in other pieces.
    fn in_other_pieces(&self, index: usize) -> Option<Vec<usize>> {
        let ours: Vec<&[u8]> = self.seen[index].ours.iter().map(Vec::as_slice).collect();
        let (source, destination, protocol, payload) = reassembled(&ours)?;
        let groups = self.datagrams.get(&(source, destination, protocol, hash(&payload)))?;
        let is_theirs = |group: &&Vec<usize>| {
            (group.len() > 1 || ours.len() > 1)
                && group.iter().all(|piece| *piece != index && self.used[*piece] == Use::Free)
        };
        groups.iter().filter(is_theirs).min().cloned()
    }
}

/// The first of them that are free; what is not any more is forgotten.
fn free(candidates: Option<&mut VecDeque<usize>>, used: &[Use]) -> Vec<usize> {
    let Some(candidates) = candidates else { return Vec::new() };
    while candidates.front().is_some_and(|first| used[*first] != Use::Free) {
        candidates.pop_front();
    }
    candidates.iter().copied().filter(|candidate| used[*candidate] == Use::Free).take(LOOKED_AT).collect()
}
