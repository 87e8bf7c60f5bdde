//! What turns one table into another, and its form in the database.
//!
//! ```text
//! change:  ipv4 key (5)  before  after          before, after:  0
//!                                                               1  ipv6 key (17)
//!                                                               2  ipv6 key (17)  length (2, little endian)  comment
//! ```
//!
//! Both sides are kept, so a change can be taken back as well as repeated.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::eam::{Eam, Key4, Key6, Row};

/// How much one cell of the database takes.
const PART: usize = 256 * 1024;

/// What happened to one IPv4 prefix. One of the sides is there at least, and they differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    before: Option<Row>,
    after: Option<Row>,
}

/// Changes in the order of their IPv4 prefixes, at most one for each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes(Vec<Change>);

/// All rows, by their IPv4 prefixes.
pub(crate) type Table = BTreeMap<Key4, Row>;

/// How many rows came, went and changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Counts {
    /// Rows whose IPv4 prefix was not mapped before.
    pub added: u64,
    /// Rows whose IPv4 prefix is no longer mapped.
    pub removed: u64,
    /// Rows that have another IPv6 prefix or another note.
    pub changed: u64,
}

impl Change {
    /// None when there is nothing to do. Both sides have the same IPv4 prefix.
    pub(crate) fn new(before: Option<Row>, after: Option<Row>) -> Option<Self> {
        (before != after).then_some(Self { before, after })
    }

    /// The row as it was; none if it is new.
    #[must_use]
    pub const fn before(&self) -> Option<&Row> {
        self.before.as_ref()
    }

    /// The row as it is now; none if it is gone.
    #[must_use]
    pub const fn after(&self) -> Option<&Row> {
        self.after.as_ref()
    }

    pub(crate) fn key(&self) -> Option<Key4> {
        self.before.as_ref().or(self.after.as_ref()).map(|row| row.eam().ipv4().into())
    }
}

impl Changes {
    /// In order, or not at all.
    pub(crate) fn from_sorted(changes: Vec<Change>) -> Self {
        debug_assert!(changes.is_sorted_by_key(Change::key));
        Self(changes)
    }

    /// None at all.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    /// What turns one table into another.
    pub(crate) fn between(before: Table, after: &Table) -> Self {
        let mut sum = Sum::default();
        for (key, row) in after {
            sum.0.insert(*key, (None, Some(row.clone())));
        }
        for (key, row) in before {
            sum.0.entry(key).or_default().0 = Some(row);
        }
        sum.finish()
    }

    /// The changes, ordered by IPv4 prefix.
    #[must_use]
    pub fn as_slice(&self) -> &[Change] {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of each kind.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for change in &self.0 {
            let count = match (&change.before, &change.after) {
                (None, _) => &mut counts.added,
                (Some(_), None) => &mut counts.removed,
                (Some(_), Some(_)) => &mut counts.changed,
            };
            *count += 1;
        }
        counts
    }

    /// Mappings that translate no longer: for the data path, to be taken out before [`Self::gained`] is put in. A row whose
    /// note alone changed is in neither.
    pub fn lost(&self) -> impl Iterator<Item = Eam> + '_ {
        self.0.iter().filter_map(|change| {
            let (before, after) = (change.before.as_ref()?.eam(), change.after.as_ref().map(Row::eam));
            (Some(before) != after).then_some(before)
        })
    }

    /// Mappings that translate from now on.
    pub fn gained(&self) -> impl Iterator<Item = Eam> + '_ {
        self.0.iter().filter_map(|change| {
            let (before, after) = (change.before.as_ref().map(Row::eam), change.after.as_ref()?.eam());
            (before != Some(after)).then_some(after)
        })
    }

    /// The digest of the table they yield, from that of the table they start from.
    #[must_use]
    pub fn digest_from(&self, mut digest: Digest) -> Digest {
        for change in &self.0 {
            change.before.iter().for_each(|row| digest.subtract(Digest::of_row(row)));
            change.after.iter().for_each(|row| digest.add(Digest::of_row(row)));
        }
        digest
    }

    /// Cells for the database, in order.
    pub(crate) fn encode(&self) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        let mut part = Vec::new();
        for change in &self.0 {
            if part.len() >= PART {
                parts.push(std::mem::take(&mut part));
            }
            let Some(key) = change.key() else { continue };
            part.extend_from_slice(&key.0.to_be_bytes()[3..]);
            encode_side(&mut part, change.before.as_ref());
            encode_side(&mut part, change.after.as_ref());
        }
        if !part.is_empty() {
            parts.push(part);
        }
        parts
    }

    /// Reads one cell. None when it was not written by [`Self::encode`].
    pub(crate) fn decode(mut part: &[u8], changes: &mut Vec<Change>) -> Option<()> {
        while !part.is_empty() {
            let (key, rest) = part.split_first_chunk::<5>()?;
            let [a, b, c, d, length] = *key;
            let key = Key4(i64::from_be_bytes([0, 0, 0, a, b, c, d, length]));
            part = rest;
            let before = decode_side(&mut part, key)?;
            let after = decode_side(&mut part, key)?;
            changes.push(Change::new(before, after)?);
        }
        Some(())
    }
}

fn encode_side(part: &mut Vec<u8>, row: Option<&Row>) {
    let Some(row) = row else {
        part.push(0);
        return;
    };
    let ipv6 = Key6::from(row.eam().ipv6()).0;
    let Some(comment) = row.comment() else {
        part.push(1);
        part.extend_from_slice(&ipv6);
        return;
    };
    part.push(2);
    part.extend_from_slice(&ipv6);
    let length = u16::try_from(comment.len()).expect("a row's comment is short");
    part.extend_from_slice(&length.to_le_bytes());
    part.extend_from_slice(comment.as_bytes());
}

/// None when this is no side; none inside when the row was not there.
fn decode_side(part: &mut &[u8], key: Key4) -> Option<Option<Row>> {
    let (tag, rest) = part.split_first()?;
    *part = rest;
    if *tag == 0 {
        return Some(None);
    }
    let (ipv6, rest) = part.split_first_chunk::<17>()?;
    *part = rest;
    let eam = Eam::new(key.net()?, Key6(*ipv6).net()?).ok()?;
    match tag {
        1 => Some(Some(eam.into())),
        2 => {
            let (length, rest) = part.split_first_chunk::<2>()?;
            let (comment, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
            *part = rest;
            Row::new(eam, Some(std::str::from_utf8(comment).ok()?)).ok().map(Some)
        }
        _ => None,
    }
}

/// Several revisions' changes as one: what each prefix was at first, and what it is in the end.
#[derive(Debug, Default)]
pub(crate) struct Sum(BTreeMap<Key4, (Option<Row>, Option<Row>)>);

impl Sum {
    /// Changes that follow those taken in so far.
    pub(crate) fn then(&mut self, changes: Changes) {
        for change in changes.0 {
            let Some(key) = change.key() else { continue };
            self.0.entry(key).or_insert_with(|| (change.before, None)).1 = change.after;
        }
    }

    /// Changes that follow those taken in so far, backwards.
    pub(crate) fn then_back(&mut self, changes: Changes) {
        let back = |change: Change| Change { before: change.after, after: change.before };
        self.then(Changes(changes.0.into_iter().map(back).collect()));
    }

    pub(crate) fn finish(self) -> Changes {
        let changes = self.0.into_values().filter_map(|(before, after)| Change::new(before, after));
        Changes(changes.collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(ipv4: u8, ipv6: u8, comment: &str) -> Row {
        let eam = Eam::new(
            format!("192.0.2.{ipv4}/32").parse().unwrap(),
            format!("2001:db8::{ipv6:x}/128").parse().unwrap(),
        );
        Row::new(eam.unwrap(), Some(comment)).unwrap()
    }

    type Few = BTreeMap<u8, (u8, String)>;

    fn between(old: &Few, new: &Few) -> Changes {
        let side = |table: &Few, key: u8| table.get(&key).map(|(ipv6, comment)| row(key, *ipv6, comment));
        Changes((0..=u8::MAX).filter_map(|key| Change::new(side(old, key), side(new, key))).collect())
    }

    fn tables() -> impl Strategy<Value = Few> {
        prop::collection::btree_map(0_u8..9, (0_u8..4, "[a-c]{0,2}"), 0..9)
    }

    proptest! {
        #[test]
        fn sums_go_there_and_back(a in tables(), b in tables(), c in tables()) {
            let mut sum = Sum::default();
            sum.then(between(&a, &b));
            sum.then(between(&b, &c));
            prop_assert_eq!(sum.finish(), between(&a, &c));
            let mut back = Sum::default();
            back.then_back(between(&b, &c));
            back.then_back(between(&a, &b));
            prop_assert_eq!(back.finish(), between(&c, &a));
        }

        #[test]
        fn tables_are_compared_row_by_row(a in tables(), b in tables()) {
            let all = |few: &Few| -> Table {
                few.iter().map(|(key, (ipv6, comment))| row(*key, *ipv6, comment)).map(|row| (row.eam().ipv4().into(), row)).collect()
            };
            prop_assert_eq!(Changes::between(all(&a), &all(&b)), between(&a, &b));
        }

        #[test]
        fn what_is_written_is_read(a in tables(), b in tables()) {
            let changes = between(&a, &b);
            let mut read = Vec::new();
            for part in changes.encode() {
                Changes::decode(&part, &mut read).unwrap();
            }
            prop_assert_eq!(Changes(read), changes);
        }

        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>) {
            let _ = Changes::decode(&bytes, &mut Vec::new());
        }
    }

    #[test]
    fn a_note_changes_the_row_but_not_the_translation() {
        let changes = Changes(vec![
            Change::new(Some(row(1, 1, "a")), Some(row(1, 1, "b"))).unwrap(),
            Change::new(Some(row(2, 2, "")), Some(row(2, 3, ""))).unwrap(),
            Change::new(None, Some(row(3, 2, ""))).unwrap(),
            Change::new(Some(row(4, 4, "")), None).unwrap(),
        ]);
        assert_eq!(changes.counts(), Counts { added: 1, removed: 1, changed: 2 });
        assert_eq!(changes.lost().collect::<Vec<_>>(), [row(2, 2, "").eam(), row(4, 4, "").eam()]);
        assert_eq!(changes.gained().collect::<Vec<_>>(), [row(2, 3, "").eam(), row(3, 2, "").eam()]);
    }
}
