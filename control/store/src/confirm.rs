//! Revisions that are taken back unless somebody confirms them.
//!
//! The rules: that a revision waits is durable with it, before it is published. A relay that starts while one waits goes
//! back. Another commit of the same user with a time of its own extends the time, and what is gone back to stays. Others
//! are refused meanwhile. What is refused waits for nothing. A repeated request is one. The time is measured by a clock that
//! nobody sets. Going back is a revision of its own.

use std::time::Duration;

use crate::change::Changes;
use crate::commit::{CommitError, Receipt};
use crate::error::{Fault, StoreError};
use crate::record::{self, Record};
use crate::revision::{Author, Cause, Kind, Pending, Revision, RevisionId, State};
use crate::store::Store;

const CONFIRM: &str = "confirm";
const GO_BACK: &str = "record that an unconfirmed revision was taken back";

/// Nobody confirmed, and the table from before is to be published, whether the file could be told so or not: a restart
/// would go back as well, so this is what the file says already.
#[derive(Debug)]
#[must_use = "the data path has to go back"]
pub struct Expired {
    changes: Changes,
    revision: Result<Revision, StoreError>,
}

impl Expired {
    /// What the data path has to change now. Nothing, if it went back when this was said before.
    #[must_use]
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Every worker has it: the revision, to be announced, or why the file could not be told. Then no other revision is
    /// made until it can.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn published(self) -> Result<Receipt, StoreError> {
        self.revision.map(|revision| Receipt::new(revision, false))
    }
}

impl Store {
    /// The revision that waits to be confirmed.
    #[must_use]
    pub fn pending(&self) -> Option<Pending> {
        let prior = self.head.prior.filter(|_| self.head.revision.state == State::Pending)?;
        let now = self.clock.monotonic();
        let remaining = self.deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_sub(now));
        Some(Pending { revision: self.head.revision.clone(), prior, remaining })
    }

    /// Confirms the revision that waits, and those it was made of that wait as well. Doing so again does nothing.
    ///
    /// # Errors
    /// [`CommitError::NotPending`], also when the time is over; [`CommitError::Store`].
    pub fn confirm(&mut self, id: RevisionId, author: &Author) -> Result<Receipt, CommitError> {
        let Some(pending) = self.pending() else {
            let record = self.record(id)?;
            return match record.revision.confirmed {
                Some(_) => Ok(Receipt::new(self.seen(record.revision), true)),
                None => Err(CommitError::NotPending(id)),
            };
        };
        if id != pending.revision.id
            && let Some(earlier) = self.revision(id)?.filter(|revision| revision.confirmed.is_some())
        {
            return Ok(Receipt::new(earlier, true));
        }
        if id != pending.revision.id || pending.remaining.is_zero() || self.owes_rollback {
            return Err(CommitError::NotPending(id));
        }
        self.settle()?;
        let now = self.now();
        let mut records = self.waiting(State::Active)?;
        for record in &mut records {
            record.revision.confirmed = Some((now, author.uid));
        }
        self.write(CONFIRM, |connection| records.iter().try_for_each(|record| record.replace(connection)))?;
        self.sync(CONFIRM)?;
        let confirmed = records.swap_remove(0);
        (self.head, self.deadline) = (confirmed, None);
        Ok(Receipt::new(self.head().clone(), false))
    }

    /// Whether the data path has gone back and the file could not be told yet.
    #[must_use]
    pub const fn owes_rollback(&self) -> bool {
        self.owes_rollback
    }

    /// To be called when [`Pending::remaining`] is over: goes back to the revision from before, if so.
    ///
    /// # Errors
    /// [`CommitError`] when the file does not say how. The revision stays in force, and waits.
    pub fn expire(&mut self) -> Result<Option<Expired>, CommitError> {
        match self.pending() {
            Some(pending) if pending.remaining.is_zero() => {
                self.go_back(pending.prior, Cause::NotConfirmed).map(Some)
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn go_back(&mut self, prior: RevisionId, cause: Cause) -> Result<Expired, CommitError> {
        let changes = self.diff(self.head.revision.id, prior)?;
        let told = self.tell(prior, cause, &changes);
        let to_publish = if self.owes_rollback { Changes::default() } else { changes };
        self.owes_rollback = told.is_err();
        Ok(Expired { changes: to_publish, revision: told })
    }

    /// What going back to the revision from before would change; nothing when none waits.
    pub(crate) fn way_back(&self) -> Result<Changes, StoreError> {
        let Some(pending) = self.pending() else { return Ok(Changes::default()) };
        self.diff(pending.revision.id, pending.prior).map_err(|error| match error {
            CommitError::Store(error) => error,
            other => StoreError::new(&self.path, CONFIRM, Fault::Damaged, other),
        })
    }

    /// Writes the revision that goes back, durably.
    fn tell(&mut self, prior: RevisionId, cause: Cause, changes: &Changes) -> Result<Revision, StoreError> {
        self.settle()?;
        let comment = match cause {
            Cause::NotConfirmed => format!("revision {} was not confirmed in time", self.head.revision.id),
            Cause::Restarted => {
                format!("the relay ended before revision {} was confirmed", self.head.revision.id)
            }
        };
        let kind = Kind::Automatic { to: prior, cause };
        let parts = changes.encode();
        let revision = self.next_revision(changes, kind, Author { comment, ..this_process() }, None);
        let record = Record { revision, prior: None, log: record::hash(&parts), request: None };
        let reverted = self.waiting(State::Reverted)?;
        let rows = self.head.revision.rows;
        self.write(GO_BACK, |connection| {
            reverted.iter().try_for_each(|record| record.replace(connection))?;
            record.insert(connection)?;
            record::write_changes(connection, record.revision.id, &parts)?;
            crate::commit::write_rows(connection, changes.as_slice(), rows)
        })?;
        self.sync(GO_BACK)?;
        self.applied(record, changes);
        self.deadline = None;
        Ok(self.head().clone())
    }

    /// Gives the revision that waits more time; the one to go back to stays.
    pub(crate) fn extend(&mut self, within: Duration) -> Result<Receipt, CommitError> {
        let mut record = self.head.clone();
        record.revision.until = Some(self.now() + within);
        self.write(CONFIRM, |connection| record.replace(connection))?;
        self.sync(CONFIRM)?;
        self.head = record;
        self.deadline = Some(self.clock.monotonic() + within);
        Ok(Receipt::new(self.head().clone(), false))
    }

    /// The revisions that wait, newest first, as they are once they do not.
    pub(crate) fn waiting(&self, state: State) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        let mut at = Some(self.head.clone());
        while let Some(mut record) = at.filter(|record| record.revision.state == State::Pending) {
            let parent = record.revision.parent;
            record.revision.state = state;
            record.prior = None;
            records.push(record);
            at = match parent {
                Some(parent) => record::read(&self.connection, parent).map_err(self.unreadable(CONFIRM))?,
                None => None,
            };
        }
        Ok(records)
    }
}

/// What makes a revision when nobody does.
pub(crate) fn this_process() -> Author {
    let uid = std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own));
    Author { uid: uid.unwrap_or_default(), pid: std::process::id(), comment: String::new() }
}
