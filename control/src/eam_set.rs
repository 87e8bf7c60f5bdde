//! The rows a relay translates by, and how two sets of them differ.
//!
//! RFC 7757 section 5 lets no two rows share an IPv4 prefix, so the IPv4 prefix names a row: one that is in both sets
//! with another IPv6 prefix was changed. Both sets are kept in the order of their IPv4 prefixes, and one pass over
//! both finds every difference.

use std::cmp::Ordering;

use dataplane::table::eam::{Change, Eam};

/// Rows in the order of their IPv4 prefixes: 22 bytes each, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EamSet(Vec<Eam>);

/// What turns one set into another. Small as long as the difference is, whatever the size of the sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EamChanges {
    /// Rows whose IPv4 prefix was not mapped before.
    pub added: Vec<Eam>,
    /// Rows whose IPv4 prefix is no longer mapped.
    pub removed: Vec<Eam>,
    /// Rows whose IPv4 prefix is mapped to another IPv6 prefix now.
    pub changed: Vec<EamChange>,
}

/// How many rows came, went and changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChangeCounts {
    /// See [`EamChanges::added`].
    pub added: usize,
    /// See [`EamChanges::removed`].
    pub removed: usize,
    /// See [`EamChanges::changed`].
    pub changed: usize,
}

/// One IPv4 prefix that is mapped to another IPv6 prefix than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EamChange {
    /// The row as it was.
    pub from: Eam,
    /// The row as it is now.
    pub to: Eam,
}

impl EamSet {
    /// Puts rows in order. No two may share an IPv4 prefix: validation has refused that.
    #[must_use]
    pub fn new(mut rows: Vec<Eam>) -> Self {
        rows.sort_unstable_by_key(key);
        rows.shrink_to_fit();
        Self(rows)
    }

    /// The rows, ordered by IPv4 prefix.
    #[must_use]
    pub fn rows(&self) -> &[Eam] {
        &self.0
    }

    /// Bytes of memory the set takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.0.capacity() * size_of::<Eam>()
    }

    /// What turns this set into `new`, in one pass over both.
    #[must_use]
    pub fn changes_to(&self, new: &Self) -> EamChanges {
        let mut changes = EamChanges::default();
        let (mut old_rows, mut new_rows) = (self.0.iter().peekable(), new.0.iter().peekable());
        loop {
            let order = match (old_rows.peek(), new_rows.peek()) {
                (Some(old), Some(new)) => key(old).cmp(&key(new)),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return changes,
            };
            let old = old_rows.next_if(|_| order.is_le());
            let new = new_rows.next_if(|_| order.is_ge());
            match (old, new) {
                (Some(from), Some(to)) if from.ipv6 != to.ipv6 => {
                    changes.changed.push(EamChange { from: *from, to: *to });
                }
                (Some(_), Some(_)) | (None, None) => {}
                (Some(old), None) => changes.removed.push(*old),
                (None, Some(new)) => changes.added.push(*new),
            }
        }
    }
}

impl EamChanges {
    /// The same as steps of a table. Whatever goes, goes first: so no step meets a prefix that another row still has.
    #[must_use]
    pub fn steps(&self) -> Vec<Change> {
        let changed = self.changed.iter();
        let gone = self.removed.iter().copied().chain(changed.clone().map(|change| change.from));
        let new = changed.map(|change| change.to).chain(self.added.iter().copied());
        gone.map(Change::Remove).chain(new.map(Change::Add)).collect()
    }

    /// How many there are of each kind.
    #[must_use]
    pub fn counts(&self) -> ChangeCounts {
        ChangeCounts { added: self.added.len(), removed: self.removed.len(), changed: self.changed.len() }
    }
}

impl ChangeCounts {
    /// Rows that are different in any way.
    #[must_use]
    pub fn total(self) -> usize {
        self.added + self.removed + self.changed
    }
}

/// Address and length of the IPv4 prefix in one number.
fn key(eam: &Eam) -> u64 {
    u64::from(eam.ipv4.network().to_bits()) << 8 | u64::from(eam.ipv4.prefix_len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn eam(ipv4: &str, ipv6: &str) -> Eam {
        Eam { ipv4: ipv4.parse().unwrap(), ipv6: ipv6.parse().unwrap() }
    }

    #[test]
    fn added_removed_and_changed_rows_are_told_apart() {
        let stays = eam("192.0.2.16/28", "2001:db8:c::/124");
        let before = [eam("192.0.2.1/32", "2001:db8::1/128"), stays, eam("192.0.2.2/32", "2001:db8::2/128")];
        let after =
            [stays, eam("192.0.2.2/32", "2001:db8::22/128"), eam("192.0.2.16/29", "2001:db8:d::/125")];
        let changes = EamSet::new(before.to_vec()).changes_to(&EamSet::new(after.to_vec()));
        let changed = EamChange { from: before[2], to: after[1] };
        let expected = EamChanges { added: vec![after[2]], removed: vec![before[0]], changed: vec![changed] };
        assert_eq!(changes, expected);
    }

    fn rows() -> impl Strategy<Value = BTreeMap<(u8, u8), u8>> {
        prop::collection::btree_map((0_u8..12, 30_u8..=32), 0_u8..3, 0..20)
    }

    fn set(rows: &BTreeMap<(u8, u8), u8>) -> EamSet {
        let row = |((host, length), to): (&(u8, u8), &u8)| {
            // In the universe of the test a prefix is its number, so host bits never meet.
            eam(&format!("10.0.{length}.{}/{length}", host * 4), &format!("2001:db8::{to:x}00/120"))
        };
        EamSet::new(rows.iter().rev().map(row).collect())
    }

    proptest! {
        #[test]
        fn applied_to_the_old_set_the_changes_give_the_new_one(old in rows(), new in rows()) {
            let (old, new) = (set(&old), set(&new));
            let changes = old.changes_to(&new);
            let mut applied: Vec<Eam> = old.rows().to_vec();
            for change in &changes.changed {
                prop_assert!(change.from.ipv4 == change.to.ipv4 && change.from != change.to);
                let at = applied.iter().position(|row| *row == change.from);
                applied[at.expect("a changed row was there")] = change.to;
            }
            for removed in &changes.removed {
                let at = applied.iter().position(|row| row == removed);
                applied.swap_remove(at.expect("a removed row was there"));
            }
            for added in &changes.added {
                prop_assert!(applied.iter().all(|row| row.ipv4 != added.ipv4));
                applied.push(*added);
            }
            prop_assert_eq!(EamSet::new(applied), new);
        }

        #[test]
        fn nothing_turns_a_set_into_itself(rows in rows()) {
            prop_assert_eq!(set(&rows).changes_to(&set(&rows)), EamChanges::default());
        }
    }
}
