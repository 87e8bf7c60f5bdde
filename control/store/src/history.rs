//! What was, and how to get from any revision to any other.

use ipnet::Ipv4Net;

use crate::change::{Change, Changes, Sum};
use crate::commit::CommitError;
use crate::error::{Fault, StoreError};
use crate::record::{self, Idempotency, Record};
use crate::revision::{Revision, RevisionId};
use crate::store::Store;

const READ: &str = "read the history";
/// How far [`Store::brought_by`] looks back: so many revisions, and so many changes in all of them.
const LOOKED_AT: (usize, u64) = (500, 100_000);

impl Store {
    /// At most `limit` revisions, newest first, from the one before `before`: a page.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn history(&self, before: Option<RevisionId>, limit: usize) -> Result<Vec<Revision>, StoreError> {
        let before = before.unwrap_or(RevisionId(i64::MAX.cast_unsigned()));
        let records = record::before(&self.connection, before, limit).map_err(self.unreadable(READ))?;
        Ok(records.into_iter().map(|record| self.seen(record.revision)).collect())
    }

    /// One revision, if there is such.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn revision(&self, id: RevisionId) -> Result<Option<Revision>, StoreError> {
        let record = record::read(&self.connection, id).map_err(self.unreadable(READ))?;
        Ok(record.map(|record| self.seen(record.revision)))
    }

    /// The revision that a user's request has made already: to be asked before anything else is done for a request that
    /// has a key, as its edits may be refused the second time.
    ///
    /// # Errors
    /// [`CommitError::KeyReused`], and [`CommitError::Store`] when the file cannot be read.
    pub fn repeated(&self, uid: u32, request: &Idempotency) -> Result<Option<Revision>, CommitError> {
        let found = record::of_request(&self.connection, uid, &request.key).map_err(self.unreadable(READ))?;
        match found {
            None => Ok(None),
            Some(record) if record.request.as_ref() == Some(request) => Ok(Some(self.seen(record.revision))),
            Some(record) => {
                Err(CommitError::KeyReused { key: request.key.clone(), revision: record.revision.id })
            }
        }
    }

    /// What turns the table of one revision into that of another, whichever came first.
    ///
    /// # Errors
    /// [`CommitError::UnknownRevision`], and [`CommitError::Store`] when the records between the two are not as they were
    /// written: then there is no answer rather than a wrong one.
    pub fn diff(&self, from: RevisionId, to: RevisionId) -> Result<Changes, CommitError> {
        let (older, newer) = (from.min(to), from.max(to));
        let (ends, steps) = self.steps_back(newer, older)?;
        let mut sum = Sum::default();
        if from == newer {
            for step in &steps {
                sum.then_back(self.changes_of(step)?);
            }
        } else {
            for step in steps.iter().rev() {
                sum.then(self.changes_of(step)?);
            }
        }
        let changes = sum.finish();
        let (start, end) = if from == newer { (ends.1, ends.0) } else { ends };
        if changes.digest_from(start.revision.digest) == end.revision.digest {
            Ok(changes)
        } else {
            let detail = format!(
                "what lies between revisions {older} and {newer} does not lead from one to the other"
            );
            Err(StoreError::new(&self.path, READ, Fault::Damaged, detail).into())
        }
    }

    /// The revision that the row of exactly this IPv4 prefix has been as it is since; none if there is no such row, or if it is
    /// older than the newest few hundred revisions or a hundred thousand changes: a question that is asked often must be
    /// answered soon.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn brought_by(&self, ipv4: Ipv4Net) -> Result<Option<RevisionId>, StoreError> {
        let newest = RevisionId(i64::MAX.cast_unsigned());
        let (revisions, mut left) = LOOKED_AT;
        let is_of = |change: &Change| {
            let row = change.after().or(change.before());
            row.is_some_and(|row| row.eam().ipv4() == ipv4)
        };
        for record in record::before(&self.connection, newest, revisions).map_err(self.unreadable(READ))? {
            let counts = record.revision.counts;
            let Some(rest) = left.checked_sub(counts.added + counts.removed + counts.changed) else {
                return Ok(None);
            };
            left = rest;
            if let Some(change) = self.changes_of(&record)?.as_slice().iter().find(|change| is_of(change)) {
                return Ok(change.after().map(|_| record.revision.id));
            }
        }
        Ok(None)
    }

    /// The records of `older` and `newer`, and those of all revisions after `older` up to `newer`, newest first.
    fn steps_back(
        &self,
        newer: RevisionId,
        older: RevisionId,
    ) -> Result<((Record, Record), Vec<Record>), CommitError> {
        let newest = self.record(newer)?;
        let mut steps = Vec::new();
        let mut at = newest.clone();
        while at.revision.id > older {
            let parent = at.revision.parent.ok_or(CommitError::UnknownRevision(older))?;
            steps.push(at);
            at = self.record(parent)?;
        }
        if at.revision.id == older {
            Ok(((at, newest), steps))
        } else {
            Err(CommitError::UnknownRevision(older))
        }
    }

    pub(crate) fn record(&self, id: RevisionId) -> Result<Record, CommitError> {
        let record = record::read(&self.connection, id).map_err(self.unreadable(READ))?;
        record.ok_or(CommitError::UnknownRevision(id))
    }

    pub(crate) fn changes_of(&self, record: &Record) -> Result<Changes, StoreError> {
        record::read_changes(&self.connection, record).map_err(self.unreadable(READ))
    }
}
