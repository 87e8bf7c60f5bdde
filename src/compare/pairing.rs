//! Which packet of two captures came of which.
//!
//! Both captures are one heap: a capture of one side of a translator has what goes in there and what comes out. Every packet
//! is put through our own walk. Where what we make of it is in the heap byte for byte, the two belong together, and the
//! other is no input. What is left is paired by what no translator changes: ports, echo identifiers, payload.

use std::collections::HashMap;
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

struct Pairing<'s> {
    seen: &'s [Seen],
    used: Vec<Use>,
    /// By [`View::identity`].
    identities: HashMap<Vec<u8>, Vec<usize>>,
    /// ICMP errors by [`View::start`] of what they quote.
    quoting: HashMap<Vec<u8>, Vec<usize>>,
    pairs: Pairs,
}

/// Pairs them.
pub(super) fn pair(seen: &[Seen], way: impl Fn(&Seen) -> Way) -> Pairs {
    let mut pairing = Pairing::new(seen);
    let open = pairing.exact();
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
        let (mut identities, mut quoting) =
            (HashMap::<_, Vec<usize>>::new(), HashMap::<_, Vec<usize>>::new());
        for (index, packet) in seen.iter().enumerate() {
            let Some(view) = View::new(&packet.bytes) else { continue };
            identities.entry(view.identity()).or_default().push(index);
            if let Some(quoted) = view.quote().and_then(View::new) {
                quoting.entry(quoted.start()).or_default().push(index);
            }
        }
        Self { seen, used: vec![Use::Free; seen.len()], identities, quoting, pairs: Pairs::default() }
    }

    /// Pairs what is the same; returns the inputs of which something of ours is left, with its numbers.
    fn exact(&mut self) -> Vec<(usize, Vec<usize>)> {
        let mut canonicals: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (index, packet) in self.seen.iter().enumerate().rev() {
            canonicals.entry(canonical(&packet.bytes)).or_default().push(index);
        }
        let mut open = Vec::new();
        for (index, packet) in self.seen.iter().enumerate() {
            let mut missing = Vec::new();
            for (number, ours) in packet.ours.iter().enumerate() {
                let same = canonicals.get_mut(&canonical(ours)).and_then(|same| {
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
    fn like(&self, index: usize, ours: &View<'_>) -> Option<usize> {
        let candidates = self.identities.get(&ours.identity())?;
        candidates
            .iter()
            .copied()
            .filter(|other| *other != index && self.used[*other] == Use::Free)
            .filter_map(|other| Some((other, View::new(&self.seen[other].bytes)?)))
            .filter(|(_, theirs)| theirs.is_ipv6 == ours.is_ipv6)
            .min_by_key(|(other, theirs)| {
                let strange = usize::from(theirs.source != ours.source)
                    + usize::from(theirs.destination != ours.destination);
                (strange, self.after(index, *other), *other)
            })
            .map(|(other, _)| other)
    }

    /// A free packet of the other family with the same identity: the translation of one we do not translate.
    fn carried(&self, index: usize) -> Option<usize> {
        let input = View::new(&self.seen[index].bytes)?;
        let candidates = self.identities.get(&input.identity())?;
        let is_other = |other: &usize| {
            View::new(&self.seen[*other].bytes).is_some_and(|theirs| theirs.is_ipv6 != input.is_ipv6)
        };
        let free = candidates.iter().copied().filter(|other| self.used[*other] == Use::Free);
        free.filter(is_other).min_by_key(|other| (self.after(index, *other), *other))
    }

    /// A free ICMP error about an input, sent to its source.
    fn about(&self, index: usize) -> Option<usize> {
        let input = View::new(&self.seen[index].bytes)?;
        let candidates = self.quoting.get(&input.start())?;
        let is_answer = |other: &usize| {
            View::new(&self.seen[*other].bytes).is_some_and(|error| error.destination == input.source)
        };
        let free = candidates.iter().copied().filter(|other| self.used[*other] == Use::Free);
        free.filter(is_answer).min_by_key(|other| (self.after(index, *other), *other))
    }

    /// How long after the input; what came before it last of all.
    fn after(&self, input: usize, output: usize) -> (bool, Duration) {
        let (input, output) = (self.seen[input].time, self.seen[output].time);
        (output < input, output.abs_diff(input))
    }

    /// The free packets that are the datagram of ours in other pieces.
    fn in_other_pieces(&self, index: usize) -> Option<Vec<usize>> {
        let ours: Vec<&[u8]> = self.seen[index].ours.iter().map(Vec::as_slice).collect();
        let ours_whole = reassembled(&ours)?;
        let mut groups: HashMap<_, Vec<usize>> = HashMap::new();
        for (other, packet) in self.seen.iter().enumerate() {
            if other == index || self.used[other] != Use::Free {
                continue;
            }
            let Some(theirs) = View::new(&packet.bytes) else { continue };
            if (theirs.source, theirs.destination) == (ours_whole.0, ours_whole.1) {
                let group = theirs.fragment.map(|fragment| fragment.identification);
                // Whole packets are groups of one.
                groups.entry((group, if group.is_none() { other } else { 0 })).or_default().push(other);
            }
        }
        let is_ours = |group: &Vec<usize>| {
            let pieces: Vec<&[u8]> = group.iter().map(|piece| self.seen[*piece].bytes.as_slice()).collect();
            (pieces.len() > 1 || ours.len() > 1) && reassembled(&pieces).as_ref() == Some(&ours_whole)
        };
        groups.into_values().filter(is_ours).min()
    }
}
