//! Edits that are not in force yet, and their checks. Each edit is checked when it is made, against the table and the
//! edits before it; what an edit costs does not depend on the size of the table.

use std::collections::BTreeMap;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::change::{Change, Changes, Counts};
use crate::conflict::{Conflict, Family, Finding, Overlaps, StageError};
use crate::eam::{Eam, Key4, Key6, Row};
use crate::error::StoreError;
use crate::limits::TooLarge;
use crate::owner::{OwnedRow, Owner};
use crate::revision::RevisionId;
use crate::store::Store;
use crate::view::{Lengths, View};

/// One edit of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// A row whose prefixes nobody has.
    Add(Row),
    /// Another IPv6 prefix or another note for an IPv4 prefix that is there.
    Change(Row),
    /// The one or the other: afterwards the row is as given.
    Put(Row),
    /// The row of an IPv4 prefix, whatever it is mapped to or only as long as it is mapped to `ipv6`.
    Remove {
        /// Names the row.
        ipv4: Ipv4Net,
        /// What it must be mapped to.
        ipv6: Option<Ipv6Net>,
    },
}

/// Conflicts and findings that are listed one by one; more are counted.
const LISTED: usize = 1000;

/// What is worth saying about many edits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// The first of them, each with the index of its edit.
    pub findings: Vec<(usize, Finding)>,
    /// How many more there are.
    pub more: usize,
}

/// Why none of many edits became part of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Some of them cannot be.
    #[error("{} of the edits are refused; the first: {}", .conflicts.len() + .more,
            .conflicts.first().map(|(_, conflict)| conflict.to_string()).unwrap_or_default())]
    Conflicts {
        /// The first of them, each with the index of its edit, in the order of the edits.
        conflicts: Vec<(usize, Conflict)>,
        /// How many more there are.
        more: usize,
    },
    /// There is no room for them.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The file could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Imported {
    pub(crate) fn take(&mut self, at: usize, findings: Vec<Finding>) {
        for finding in findings {
            if self.findings.len() < LISTED {
                self.findings.push((at, finding));
            } else {
                self.more += 1;
            }
        }
    }
}

impl Edit {
    /// The prefix that names its row.
    #[must_use]
    pub const fn ipv4(&self) -> Ipv4Net {
        match self {
            Self::Add(row) | Self::Change(row) | Self::Put(row) => row.eam().ipv4(),
            Self::Remove { ipv4, .. } => *ipv4,
        }
    }
}

/// Edits on top of one revision. They are kept in memory alone.
#[derive(Debug, Clone, Default)]
pub struct Candidate {
    base: Option<RevisionId>,
    staged: BTreeMap<Key4, Staged>,
    /// Rows of `staged` that will be there, by their IPv6 prefix.
    by_ipv6: BTreeMap<Key6, Key4>,
    lengths: Lengths,
}

/// What an edited row was and will be.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    before: Option<Box<Row>>,
    after: Option<Row>,
}

impl Staged {
    /// A row that was not there.
    pub(crate) fn new(row: Row) -> Self {
        Self { before: None, after: Some(row) }
    }
}

impl Candidate {
    /// The revision whose rows were looked at; none before the first edit.
    #[must_use]
    pub const fn base(&self) -> Option<RevisionId> {
        self.base
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// How many rows would change.
    #[must_use]
    pub fn len(&self) -> usize {
        self.staged.len()
    }

    /// What would change.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let changes = self
            .staged
            .values()
            .filter_map(|staged| Change::new(staged.before.as_deref().cloned(), staged.after.clone()));
        Changes::from_sorted(changes.collect())
    }

    /// How many rows would come, go and change.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for Staged { before, after } in self.staged.values() {
            match (before, after) {
                (None, _) => counts.added += 1,
                (Some(_), None) => counts.removed += 1,
                (Some(_), Some(_)) => counts.changed += 1,
            }
        }
        counts
    }

    /// Bytes of the notes in it.
    pub(crate) fn notes(&self) -> u64 {
        let sides = self.staged.values().flat_map(|staged| [staged.before.as_deref(), staged.after.as_ref()]);
        sides.flatten().filter_map(Row::comment).map(|note| note.len() as u64).sum()
    }

    /// What a row is going to be, if it was edited.
    pub(crate) fn staged(&self, key: Key4) -> Option<Option<&Row>> {
        self.staged.get(&key).map(|staged| staged.after.as_ref())
    }

    pub(crate) fn staged_ipv6(&self, key: Key6) -> Option<&Row> {
        self.staged.get(self.by_ipv6.get(&key)?)?.after.as_ref()
    }

    pub(crate) fn first_between_ipv4(&self, first: Key4, last: Key4, except: Ipv4Net) -> Option<&Row> {
        let mut others = self.staged.range(first..=last).filter(|(key, _)| **key != except.into());
        others.find_map(|(_, staged)| staged.after.as_ref())
    }

    pub(crate) fn first_between_ipv6(&self, first: Key6, last: Key6, except: Ipv4Net) -> Option<&Row> {
        let (_, key) = self.by_ipv6.range(first..=last).find(|(_, key)| **key != except.into())?;
        self.staged.get(key)?.after.as_ref()
    }

    pub(crate) const fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    /// Puts many rows into a candidate that has none: both lists are sorted.
    pub(crate) fn fill(&mut self, base: RevisionId, staged: Vec<(Key4, Staged)>, by_ipv6: Vec<(Key6, Key4)>) {
        if staged.is_empty() {
            return;
        }
        staged.iter().filter_map(|(_, row)| row.after.as_ref()).for_each(|row| self.lengths.add(&row.eam()));
        self.base.get_or_insert(base);
        self.staged = staged.into_iter().collect();
        self.by_ipv6 = by_ipv6.into_iter().collect();
    }

    /// `held` is what the table has, if the row was not edited before.
    fn set(&mut self, key: Key4, held: Option<Row>, after: Option<Row>) {
        let before = match self.staged.remove(&key) {
            Some(earlier) => {
                if let Some(row) = &earlier.after {
                    self.by_ipv6.remove(&row.eam().ipv6().into());
                    self.lengths.remove(&row.eam());
                }
                earlier.before
            }
            None => held.map(Box::new),
        };
        if before.as_deref() == after.as_ref() {
            return;
        }
        if let Some(row) = &after {
            self.by_ipv6.insert(row.eam().ipv6().into(), key);
            self.lengths.add(&row.eam());
        }
        self.staged.insert(key, Staged { before, after });
    }
}

impl Store {
    /// Makes an edit part of a candidate, and says what is worth saying about it. A candidate begins on the newest
    /// revision when its first edit is made.
    ///
    /// # Errors
    /// [`StageError`]; the candidate is as it was then.
    pub fn stage(&self, candidate: &mut Candidate, edit: Edit) -> Result<Vec<Finding>, StageError> {
        let (key, held, after) = self.resolve(candidate, edit)?;
        let findings = match &after {
            Some(row) => self.lint(candidate, &row.eam())?,
            None => Vec::new(),
        };
        candidate.base.get_or_insert(self.head().id);
        candidate.set(key, held, after);
        Ok(findings)
    }

    /// Makes many edits part of a candidate: all of them, or none. What is removed makes room for what is added, wherever it
    /// stands, and rows that are put may change places. Of several for one IPv4 prefix, those that remove come first, the others
    /// follow in their order.
    ///
    /// # Errors
    /// [`ImportError`]; the candidate is as it was then.
    pub fn stage_all(&self, candidate: &mut Candidate, edits: Vec<Edit>) -> Result<Imported, ImportError> {
        // Neighbours in the table are neighbours in the file.
        let mut order: Vec<(bool, Key4, usize)> = (edits.iter().enumerate())
            .map(|(at, edit)| (!matches!(edit, Edit::Remove { .. }), edit.ipv4().into(), at))
            .collect();
        order.sort_unstable();
        let mut edits: Vec<Option<Edit>> = edits.into_iter().map(Some).collect();
        let mut next = candidate.clone();
        let (mut imported, mut failed) = (Imported::default(), Vec::new());
        let mut more = 0;
        self.stage_hosts(&mut next, &order, &mut edits, &mut imported)?;
        let (gone, come) = order.split_at(order.partition_point(|(comes, ..)| !comes));
        for part in [gone, come] {
            self.vacate(&mut next, part, &edits)?;
            for (_, _, at) in part {
                let Some(edit) = edits[*at].take() else { continue };
                match self.stage(&mut next, edit) {
                    Ok(findings) => imported.take(*at, findings),
                    Err(StageError::Store(error)) => return Err(error.into()),
                    Err(StageError::Conflict(conflict)) if failed.len() < LISTED => {
                        failed.push((*at, conflict))
                    }
                    Err(StageError::Conflict(_)) => more += 1,
                }
            }
        }
        if !failed.is_empty() {
            failed.sort_unstable_by_key(|(at, _)| *at);
            return Err(ImportError::Conflicts { conflicts: failed, more });
        }
        self.check_size(&next)?;
        *candidate = next;
        Ok(imported)
    }

    /// Takes away the rows that others are put in place of, unless another edit of the same row comes before.
    fn vacate(
        &self,
        candidate: &mut Candidate,
        order: &[(bool, Key4, usize)],
        edits: &[Option<Edit>],
    ) -> Result<(), StoreError> {
        let mut before = None;
        for (_, key, at) in order {
            if before.replace(*key) == Some(*key) {
                continue;
            }
            let Some(Edit::Put(row)) = &edits[*at] else { continue };
            let held = View { store: self, candidate: Some(candidate) }.by_ipv4(*key)?;
            let moves =
                |held: &OwnedRow| held.owner == Owner::Store && held.row.eam().ipv6() != row.eam().ipv6();
            if let Some(held) = held.filter(moves) {
                candidate.base.get_or_insert(self.head().id);
                candidate.set(*key, Some(held.row), None);
            }
        }
        Ok(())
    }

    /// The same edits on top of the newest revision, if nobody else touched their rows.
    ///
    /// # Errors
    /// [`Conflict::Moved`] or any other conflict with what came between.
    pub fn rebase(&self, candidate: &Candidate) -> Result<Candidate, StageError> {
        let mut rebased = Candidate::default();
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for (key, staged) in &candidate.staged {
            let held = self.row_by_ipv4(*key)?;
            if held == staged.after {
                continue;
            }
            if held.as_ref() != staged.before.as_deref() {
                let net = key.net().unwrap_or_default();
                return Err(Conflict::Moved(net).into());
            }
            gone.extend(held.map(|row| Edit::Remove { ipv4: row.eam().ipv4(), ipv6: None }));
            come.extend(staged.after.clone().map(Edit::Put));
        }
        // What goes makes room for what comes, also for rows that change places.
        for edit in gone.into_iter().chain(come) {
            self.stage(&mut rebased, edit)?;
        }
        rebased.base = Some(self.head().id);
        Ok(rebased)
    }

    /// The row an edit is about, as the table and the candidate have it, and as it will be.
    fn resolve(
        &self,
        candidate: &Candidate,
        edit: Edit,
    ) -> Result<(Key4, Option<Row>, Option<Row>), StageError> {
        let ipv4 = edit.ipv4();
        let view = View { store: self, candidate: Some(candidate) };
        let held = view.by_ipv4(ipv4.into())?;
        if let Some(held) = &held
            && held.owner != Owner::Store
        {
            return Err(match edit {
                Edit::Add(row) => duplicate(row.eam(), Family::Ipv4, held.clone()),
                _ => Conflict::OwnedElsewhere(Box::new(held.clone())),
            }
            .into());
        }
        let after = match (edit, &held) {
            (Edit::Add(row), Some(held)) => {
                return Err(duplicate(row.eam(), Family::Ipv4, held.clone()).into());
            }
            (Edit::Change(_) | Edit::Remove { .. }, None) => return Err(Conflict::Missing(ipv4).into()),
            (Edit::Remove { ipv6: Some(expected), .. }, Some(held)) if held.row.eam().ipv6() != expected => {
                let held = Box::new(held.clone());
                return Err(Conflict::NotAsExpected { ipv4, expected, held }.into());
            }
            (Edit::Remove { .. }, Some(_)) => None,
            (Edit::Add(row) | Edit::Change(row) | Edit::Put(row), _) => Some(row),
        };
        if let Some(row) = &after
            && let Some(other) = view.by_ipv6(row.eam().ipv6().into())?
            && other.row.eam().ipv4() != ipv4
        {
            return Err(duplicate(row.eam(), Family::Ipv6, other).into());
        }
        Ok((ipv4.into(), held.map(|held| held.row), after))
    }

    pub(crate) fn lint(&self, candidate: &Candidate, eam: &Eam) -> Result<Vec<Finding>, StageError> {
        let mut findings = Vec::new();
        if let Some(lint) = &self.rules.lint {
            let texts = lint.check(eam).map_err(|reason| Conflict::Refused { eam: *eam, reason })?;
            findings.extend(texts.into_iter().map(|text| Finding::Other { eam: *eam, text }));
        }
        if self.rules.overlaps == Overlaps::Allow {
            return Ok(findings);
        }
        for (family, other) in self.overlaps(candidate, eam)? {
            let other = Box::new(other);
            if self.rules.overlaps == Overlaps::Reject {
                return Err(Conflict::Overlap { eam: *eam, family, other }.into());
            }
            findings.push(Finding::Overlap { eam: *eam, family, other });
        }
        Ok(findings)
    }

    fn overlaps(&self, candidate: &Candidate, eam: &Eam) -> Result<Vec<(Family, OwnedRow)>, StoreError> {
        let view = View { store: self, candidate: Some(candidate) };
        let ipv4 = view.overlapping_ipv4(eam.ipv4(), eam.ipv4())?.map(|row| (Family::Ipv4, row));
        let ipv6 = view.overlapping_ipv6(eam.ipv6(), eam.ipv4())?.map(|row| (Family::Ipv6, row));
        Ok(ipv4.into_iter().chain(ipv6).collect())
    }
}

fn duplicate(eam: Eam, family: Family, other: OwnedRow) -> Conflict {
    Conflict::Duplicate { eam, family, other: Box::new(other) }
}
