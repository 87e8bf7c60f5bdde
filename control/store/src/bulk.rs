//! Many edits at once, the way a file of a million mappings comes.
//!
//! Nearly all of such edits add a host that nobody has. Those are sorted and put into the candidate together, which takes a
//! fraction of the time that finding each its place takes; whatever else there is goes the way of single edits, which knows
//! what to say about it.

use std::collections::HashMap;

use crate::candidate::{Candidate, Edit, Imported, Staged};
use crate::conflict::StageError;
use crate::eam::{Key4, Key6, Row};
use crate::error::StoreError;
use crate::store::Store;

/// Edits from which on it is worth it.
const MANY: usize = 10_000;

/// The file's rows in memory, for as long as many of them are asked for.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) by_ipv4: HashMap<Key4, Row>,
    pub(crate) by_ipv6: HashMap<Key6, Key4>,
}

impl Loaded {
    pub(crate) fn by_ipv6(&self, key: Key6) -> Option<&Row> {
        self.by_ipv4.get(self.by_ipv6.get(&key)?)
    }
}

impl Store {
    /// Gets ready for so many edits: the table is read once where looking each row up would take longer. To be followed by
    /// [`Self::forget`].
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn expect_many(&mut self, edits: usize) -> Result<(), StoreError> {
        let rows = self.head().rows;
        if edits < MANY || rows == 0 || rows / 4 > edits as u64 {
            return Ok(());
        }
        let mut loaded = Loaded::default();
        self.each_row(|row| {
            let key = row.eam().ipv4().into();
            loaded.by_ipv6.insert(row.eam().ipv6().into(), key);
            loaded.by_ipv4.insert(key, row);
        })?;
        self.loaded = Some(loaded);
        Ok(())
    }

    /// Gives back what [`Self::expect_many`] has taken.
    pub fn forget(&mut self) {
        self.loaded = None;
    }

    /// Makes edits that add hosts which nobody has part of an empty candidate, and takes them out of `edits`. `order` names them by
    /// IPv4 prefix.
    pub(crate) fn stage_hosts(
        &self,
        candidate: &mut Candidate,
        order: &[(bool, Key4, usize)],
        edits: &mut [Option<Edit>],
        imported: &mut Imported,
    ) -> Result<(), StoreError> {
        if edits.len() < MANY || !candidate.is_empty() {
            return Ok(());
        }
        let mut is_plain: Vec<bool> = edits.iter().map(|edit| host(edit.as_ref()).is_some()).collect();
        for pair in order.windows(2) {
            if pair[0].1 == pair[1].1 {
                (is_plain[pair[0].2], is_plain[pair[1].2]) = (false, false);
            }
        }
        let keys = edits.iter().enumerate().filter_map(|(at, edit)| Some((key6(edit.as_ref()?)?, at)));
        let mut by_ipv6: Vec<(Key6, usize)> = keys.collect();
        by_ipv6.sort_unstable();
        for pair in by_ipv6.windows(2) {
            if pair[0].0 == pair[1].0 {
                (is_plain[pair[0].1], is_plain[pair[1].1]) = (false, false);
            }
        }
        let (gone, come) = order.split_at(order.partition_point(|(comes, ..)| !comes));
        let nobody = Candidate::default();
        let mut staged = Vec::with_capacity(edits.len());
        for (_, key, at) in come {
            // What goes is looked at later, and would take this row for the one that is meant.
            if gone.binary_search_by_key(key, |(_, key, _)| *key).is_ok() {
                is_plain[*at] = false;
            }
            let Some(row) = host(edits[*at].as_ref()).filter(|_| is_plain[*at]) else { continue };
            let findings = match self.is_held(row)? {
                true => None,
                false => match self.lint(&nobody, &row.eam()) {
                    Ok(findings) => Some(findings),
                    Err(StageError::Store(error)) => return Err(error),
                    Err(StageError::Conflict(_)) => None,
                },
            };
            let Some(findings) = findings else {
                is_plain[*at] = false;
                continue;
            };
            imported.take(*at, findings);
            staged.push((*key, Staged::new(row.clone())));
        }
        let by_ipv6 = by_ipv6.into_iter().filter(|(_, at)| is_plain[*at]);
        let by_ipv6 =
            by_ipv6.filter_map(|(key, at)| Some((key, edits[at].as_ref()?.ipv4().into()))).collect();
        candidate.fill(self.head().id, staged, by_ipv6);
        for (edit, is_done) in edits.iter_mut().zip(is_plain) {
            if is_done {
                *edit = None;
            }
        }
        Ok(())
    }

    /// Whether somebody has one of the prefixes.
    fn is_held(&self, row: &Row) -> Result<bool, StoreError> {
        let (ipv4, ipv6) = (row.eam().ipv4().into(), row.eam().ipv6().into());
        Ok(self.foreign.by_ipv4(ipv4).is_some()
            || self.foreign.by_ipv6(ipv6).is_some()
            || self.row_by_ipv4(ipv4)?.is_some()
            || self.row_by_ipv6(ipv6)?.is_some())
    }
}

/// The row of an edit that adds a host.
fn host(edit: Option<&Edit>) -> Option<&Row> {
    match edit {
        Some(Edit::Add(row) | Edit::Put(row)) => {
            let eam = row.eam();
            (eam.ipv4().prefix_len() == 32 && eam.ipv6().prefix_len() == 128).then_some(row)
        }
        _ => None,
    }
}

fn key6(edit: &Edit) -> Option<Key6> {
    match edit {
        Edit::Add(row) | Edit::Change(row) | Edit::Put(row) => Some(row.eam().ipv6().into()),
        Edit::Remove { .. } => None,
    }
}
