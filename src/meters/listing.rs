//! Traffic of all mappings, a slice at a time: what a client costs does not grow with what is counted.
//!
//! Mappings come in the order of their IPv4 prefixes. What was counted is gone through beside them in the same order, some
//! thousand prefixes at a time, and what is no mapping any more is put off: it comes last.
//!
//! ```text
//!  mappings:  a   b   d   | e   g   ...            each slice with its counts of now
//!  counted:   a   b   c   d   f   g   ...          c and f were removed
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use control_api::{Entry, MappingLoad};
use control_server::Slices;
use dataplane::meter::Traffic;
use ipnet::Ipv4Net;

use super::load;

/// Counted prefixes that are known at a time: each time takes a pass over all that is counted.
const KNOWN: usize = 1 << 16;
/// Lines in a slice of what was removed.
const AT_A_TIME: usize = 512;

/// Which prefixes are asked for, among those that are no mappings any more.
pub(crate) type Wanted = Box<dyn Fn(&Ipv4Net) -> bool + Send>;

/// What was counted.
pub(super) trait Counts {
    /// For one prefix.
    fn of(&self, prefix: Ipv4Net) -> Traffic;
    /// Every prefix for which something was, in no order, some more than once.
    fn each(&self, found: &mut dyn FnMut(Ipv4Net));
}

/// What is left of a listing.
pub(super) struct Listing<C> {
    counts: Arc<C>,
    /// None once they have been listed.
    mappings: Option<Slices<Entry>>,
    counted: Option<Counted>,
    removed: std::vec::IntoIter<Ipv4Net>,
}

impl<C: Counts> Listing<C> {
    /// `mappings` with what was counted for them, then what is wanted of the rest.
    pub(super) fn new(counts: Arc<C>, mappings: Slices<Entry>, wanted: Option<Wanted>) -> Self {
        let counted = wanted.map(|wanted| Counted::new(wanted, KNOWN));
        Self { counts, mappings: Some(mappings), counted, removed: Vec::new().into_iter() }
    }

    fn counted_for(&mut self, slice: Vec<Entry>) -> Vec<MappingLoad> {
        let prefix = |entry: &Entry| entry.ipv4.parse().ok();
        if let Some(counted) = &mut self.counted {
            counted.pass(&*self.counts, &slice.iter().filter_map(prefix).collect());
        }
        let line = |entry: Entry| {
            let traffic = prefix(&entry).map(|prefix| self.counts.of(prefix)).unwrap_or_default();
            load(entry.ipv4, Some((entry.ipv6, entry.owner)), traffic)
        };
        slice.into_iter().map(line).collect()
    }
}

impl<C: Counts> Iterator for Listing<C> {
    type Item = Vec<MappingLoad>;

    fn next(&mut self) -> Option<Vec<MappingLoad>> {
        if let Some(slice) = self.mappings.as_mut().and_then(Iterator::next) {
            return Some(self.counted_for(slice));
        }
        self.mappings = None;
        if let Some(counted) = self.counted.take() {
            self.removed = counted.removed(&*self.counts).into_iter();
        }
        let line = |prefix: Ipv4Net| load(prefix.to_string(), None, self.counts.of(prefix));
        let slice: Vec<_> = self.removed.by_ref().take(AT_A_TIME).map(line).collect();
        Some(slice).filter(|slice| !slice.is_empty())
    }
}

/// Goes through what was counted, in order, and keeps what is no mapping.
struct Counted {
    wanted: Wanted,
    /// How many are known at a time.
    most: usize,
    /// The next ones.
    known: std::vec::IntoIter<Ipv4Net>,
    /// There are none behind these.
    are_last: bool,
    passed: Option<Ipv4Net>,
    removed: Vec<Ipv4Net>,
}

impl Counted {
    fn new(wanted: Wanted, most: usize) -> Self {
        let (known, removed) = (Vec::new().into_iter(), Vec::new());
        Self { wanted, most, known, are_last: false, passed: None, removed }
    }

    /// These mappings come next: what was counted up to the last of them and is not one of them is no mapping any more.
    fn pass(&mut self, counts: &impl Counts, mappings: &BTreeSet<Ipv4Net>) {
        let Some(last) = mappings.last() else { return };
        while let Some(prefix) = self.next(counts, |prefix| prefix <= last) {
            if !mappings.contains(&prefix) {
                self.removed.push(prefix);
            }
        }
    }

    /// There are no more mappings: what is none.
    fn removed(mut self, counts: &impl Counts) -> Vec<Ipv4Net> {
        while let Some(prefix) = self.next(counts, |_| true) {
            self.removed.push(prefix);
        }
        self.removed
    }

    fn next(&mut self, counts: &impl Counts, is_due: impl Fn(&Ipv4Net) -> bool) -> Option<Ipv4Net> {
        if self.known.as_slice().is_empty() && !self.are_last {
            let known = self.look(counts);
            self.are_last = known.len() < self.most;
            self.known = known.into_iter();
        }
        self.passed = Some(*self.known.as_slice().first().filter(|prefix| is_due(prefix))?);
        self.known.next()
    }

    /// The first `most` of what is wanted behind what was passed, in order.
    fn look(&self, counts: &impl Counts) -> Vec<Ipv4Net> {
        let (mut found, mut end) = (Vec::new(), None);
        counts.each(&mut |prefix| {
            let is_next = self.passed.is_none_or(|passed| prefix > passed);
            if is_next && end.is_none_or(|end| prefix < end) && (self.wanted)(&prefix) {
                found.push(prefix);
                if found.len() >= 2 * self.most {
                    end = keep_first(self.most, &mut found);
                }
            }
        });
        keep_first(self.most, &mut found);
        found
    }
}

/// Keeps the first `most`, in order; returns the last of them if there are so many.
fn keep_first(most: usize, found: &mut Vec<Ipv4Net>) -> Option<Ipv4Net> {
    found.sort_unstable();
    found.dedup();
    found.truncate(most);
    found.get(most - 1).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;

    /// Counts, and how often all of them were gone through.
    #[derive(Default)]
    struct Table(BTreeMap<Ipv4Net, u64>, Mutex<u32>);

    impl Counts for Table {
        fn of(&self, prefix: Ipv4Net) -> Traffic {
            Traffic { packets: [self.0.get(&prefix).copied().unwrap_or_default(), 0], bytes: [0; 2] }
        }

        fn each(&self, found: &mut dyn FnMut(Ipv4Net)) {
            *self.1.lock().unwrap() += 1;
            self.0.keys().rev().chain(self.0.keys()).for_each(|prefix| found(*prefix));
        }
    }

    fn host(number: u32) -> Ipv4Net {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    fn entry(number: u32) -> Entry {
        let (ipv4, ipv6) = (host(number).to_string(), format!("2001:db8::{number:x}/128"));
        Entry { ipv4, ipv6, owner: "store".to_owned(), comment: String::new(), line: None }
    }

    fn everything() -> Option<Wanted> {
        Some(Box::new(|_| true))
    }

    /// Number of the host, whether it is mapped, packets.
    fn lines(listing: impl Iterator<Item = Vec<MappingLoad>>) -> Vec<(u32, bool, u64)> {
        let number = |ipv4: &str| ipv4.parse::<Ipv4Net>().unwrap().addr().to_bits() - 0x0a00_0000;
        listing
            .flatten()
            .map(|line| (number(&line.ipv4), line.ipv6.is_some(), line.v4_to_v6.packets))
            .collect()
    }

    #[test]
    fn what_was_removed_comes_last_and_all_in_order() {
        // Of a thousand the even ones are mapped, and two in three have had traffic.
        let counted =
            (0..1000).filter(|number| number % 3 > 0).map(|number| (host(number), u64::from(number)));
        let table = Arc::new(Table(counted.collect(), Mutex::default()));
        let mappings = || -> Slices<Entry> {
            let slices =
                (0..12).map(|slice| (0..1000).step_by(2).skip(50 * slice).take(50).map(entry).collect());
            // A filter may leave nothing of a slice.
            Box::new(std::iter::once(Vec::new()).chain(slices))
        };
        let packets = |number: u32| if number.is_multiple_of(3) { 0 } else { u64::from(number) };
        let mapped = (0..1000).step_by(2).map(|number| (number, true, packets(number)));
        let removed = (1..1000).step_by(2).filter(|number| number % 3 > 0);
        let removed = removed.map(|number| (number, false, packets(number)));
        let all: Vec<_> = mapped.clone().chain(removed.clone()).collect();
        for known in [1, 7, 100, KNOWN] {
            let mut listing = Listing::new(Arc::clone(&table), mappings(), everything());
            listing.counted.as_mut().unwrap().most = known;
            assert_eq!(lines(listing), all, "{known} known at a time");
        }
        assert_eq!(lines(Listing::new(Arc::clone(&table), mappings(), None)), mapped.collect::<Vec<_>>());
        let none = Listing::new(
            Arc::clone(&table),
            Box::new(std::iter::empty()),
            Some(Box::new(|prefix| *prefix == host(5))),
        );
        assert_eq!(lines(none), [(5, false, 5)]);
    }

    #[test]
    fn a_listing_has_one_slice_of_mappings_and_few_of_what_was_counted() {
        let table = Arc::new(Table((0..10_000).map(|number| (host(number), 1)).collect(), Mutex::default()));
        let taken = Arc::<Mutex<u32>>::default();
        let count = Arc::clone(&taken);
        let mappings = (0..100).map(|slice| (100 * slice..100 * (slice + 1)).map(entry).collect());
        let mappings = mappings.inspect(move |_| *count.lock().unwrap() += 1);
        let mut listing = Listing::new(Arc::clone(&table), Box::new(mappings), everything());
        listing.counted.as_mut().unwrap().most = 1000;
        for slice in 1..=100 {
            assert_eq!(listing.next().unwrap().len(), 100);
            assert_eq!(*taken.lock().unwrap(), slice, "slices are taken as they are asked for");
            let counted = listing.counted.as_ref().unwrap();
            assert!(counted.known.len() <= 1000 && counted.removed.is_empty());
        }
        assert!(listing.next().is_none());
        assert!(*table.1.lock().unwrap() <= 12, "a pass over everything for each thousand");
    }
}
