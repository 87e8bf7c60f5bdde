//! Revisions that are taken back unless somebody confirms them.
//!
//! The rules: that a revision waits is durable with it, before it is published. A relay that starts while one waits goes
//! back. Another commit of the same user with a time of its own extends the time, and what is gone back to stays. Others
//! are refused meanwhile. What is refused waits for nothing. A repeated request is one. The time is measured by a clock that
//! nobody sets. Going back is a revision of its own.

use std::time::Duration;

use crate::change::{Changes, Table};
use crate::commit::{CommitError, Receipt};
use crate::error::StoreError;
use crate::record::{self, Record};
use crate::revision::{Author, Cause, Kind, Pending, Revision, RevisionId, State};
use crate::salvage;
use crate::store::Store;

const CONFIRM: &str = "confirm";
const GO_BACK: &str = "record that an unconfirmed revision was taken back";

/// Nobody confirmed, and the table from before is to be published. Dropped, nothing has changed: the revision waits on, its time
/// is over, and [`Store::expire`] yields the same again.
#[derive(Debug)]
#[must_use = "the data path has to go back"]
pub struct Expired<'s> {
    store: &'s mut Store,
    cause: Cause,
    back: WayBack,
}

/// How to go back to the last revision that waits for nobody.
#[derive(Debug)]
pub(crate) struct WayBack {
    pub(crate) changes: Changes,
    /// Why it took building that revision's table anew.
    damage: Option<StoreError>,
}

static NOTHING: Changes = Changes::none();

impl Expired<'_> {
    /// What the data path has to change now. Nothing, if it went back when this was said before.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        if self.store.owes_rollback { &NOTHING } else { &self.back.changes }
    }

    /// What of the unconfirmed revisions cannot be read any more. The table from before was built anew from the first revision on.
    #[must_use]
    pub const fn damage(&self) -> Option<&StoreError> {
        self.back.damage.as_ref()
    }

    /// The data path is ready to go back and will, whether the file can be told so or not: a restart would go back as well, so
    /// this is what the file says already. The revision, to be announced, or why the file could not be told. Then no other
    /// revision is made until it can.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn record(self) -> Result<Receipt, StoreError> {
        let told = self.store.tell(self.cause, &self.back.changes);
        self.store.owes_rollback = told.is_err();
        told.map(|revision| Receipt::new(revision, false))
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
    /// [`StoreError`] when the file does not say how. The revision stays in force, and waits.
    pub fn expire(&mut self) -> Result<Option<Expired<'_>>, StoreError> {
        match self.pending() {
            Some(pending) if pending.remaining.is_zero() => self.go_back(Cause::NotConfirmed).map(Some),
            _ => Ok(None),
        }
    }

    pub(crate) fn go_back(&mut self, cause: Cause) -> Result<Expired<'_>, StoreError> {
        let back = self.way_back()?;
        Ok(Expired { store: self, cause, back })
    }

    /// What going back to the revision from before would change; nothing when none waits. Where the file does not say any more
    /// what the unconfirmed revisions did, the difference to the table from before, built anew.
    pub(crate) fn way_back(&self) -> Result<WayBack, StoreError> {
        let damage = match record::undone(&self.connection, &self.head) {
            Ok(changes) => return Ok(WayBack { changes, damage: None }),
            Err(damage) => self.unreadable(GO_BACK)(damage),
        };
        let before = self.head.prior.and_then(|prior| salvage::table_of(&self.connection, prior));
        let Some(before) = before else { return Err(damage) };
        let mut table = Table::new();
        self.each_row(|row| {
            table.insert(row.eam().ipv4().into(), row);
        })?;
        Ok(WayBack { changes: Changes::between(table, &before), damage: Some(damage) })
    }

    /// Writes the revision that goes back, durably.
    fn tell(&mut self, cause: Cause, changes: &Changes) -> Result<Revision, StoreError> {
        let prior = self.head.prior.expect("what goes back has somewhere to go back to");
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
        let mut records = record::waiting(&self.connection, &self.head).map_err(self.unreadable(CONFIRM))?;
        for record in &mut records {
            (record.revision.state, record.prior) = (state, None);
        }
        Ok(records)
    }
}

/// What makes a revision when nobody does.
pub(crate) fn this_process() -> Author {
    let uid = std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own));
    Author { uid: uid.unwrap_or_default(), pid: std::process::id(), comment: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::{Candidate, Edit};
    use crate::clock::ManualClock;
    use crate::commit::{Request, Step};
    use crate::eam::{Eam, Row};
    use crate::open::Options;

    const MINUTE: Duration = Duration::from_secs(60);

    fn row(ipv4: u8, ipv6: u8) -> Row {
        let eam = Eam::new(
            format!("192.0.2.{ipv4}/32").parse().unwrap(),
            format!("2001:db8::{ipv6:x}/128").parse().unwrap(),
        );
        eam.unwrap().into()
    }

    fn commit(store: &mut Store, edits: &[Edit], confirm_within: Option<Duration>) {
        let mut candidate = Candidate::default();
        for edit in edits {
            store.stage(&mut candidate, edit.clone()).unwrap();
        }
        let request = Request {
            author: Author::default(),
            if_match: store.head().id,
            idempotency: None,
            confirm_within,
        };
        let Step::Prepared(prepared) = store.commit(&candidate, request).unwrap() else { unreachable!() };
        let _ = prepared.make_durable().unwrap().published();
    }

    /// Revision 2 is in force, 3 waits, and what it did is damaged while the store is open.
    fn damaged() -> (tempfile::TempDir, ManualClock, Store) {
        let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(std::time::UNIX_EPOCH));
        let options = Options { clock: Box::new(clock.clone()), busy: Duration::ZERO };
        let mut store = Store::open(&directory.path().join("mappings.db"), options).unwrap().store;
        commit(&mut store, &[Edit::Add(row(1, 1)), Edit::Add(row(2, 2)), Edit::Add(row(3, 3))], None);
        let edits = [
            Edit::Put(row(1, 9)),
            Edit::Remove { ipv4: row(2, 2).eam().ipv4(), ipv6: None },
            Edit::Add(row(4, 4)),
        ];
        commit(&mut store, &edits, Some(MINUTE));
        damage(&store, 3);
        (directory, clock, store)
    }

    fn damage(store: &Store, id: i64) {
        let sql = "UPDATE changes SET change = CAST(x'77' || substr(change, 2) AS BLOB) WHERE revision = ?1";
        assert_eq!(store.connection.execute(sql, [id]).unwrap(), 1);
    }

    #[test]
    fn the_table_from_before_is_built_anew_where_the_way_back_is_damaged() {
        let (_directory, clock, mut store) = damaged();
        clock.advance(MINUTE);
        let expired = store.expire().unwrap().unwrap();
        assert!(expired.damage().unwrap().to_string().contains("mappings.db"));
        assert_eq!(expired.changes().lost().collect::<Vec<_>>(), [row(1, 9).eam(), row(4, 4).eam()]);
        assert_eq!(expired.changes().gained().collect::<Vec<_>>(), [row(1, 1).eam(), row(2, 2).eam()]);
        expired.record().unwrap();
        assert_eq!(store.eams().unwrap(), [row(1, 1), row(2, 2), row(3, 3)].map(|row| row.eam()));
        assert_eq!(store.head().digest, store.revision(RevisionId(2)).unwrap().unwrap().digest);
        // By hand as well.
        let (_directory, _, mut store) = damaged();
        let request = Request {
            author: Author::default(),
            if_match: store.head().id,
            idempotency: None,
            confirm_within: None,
        };
        assert!(matches!(store.rollback(RevisionId(2), request), Ok(Step::Prepared(_))));
    }

    #[test]
    fn where_nothing_says_what_was_before_it_waits_on_and_says_so() {
        let (_directory, clock, mut store) = damaged();
        damage(&store, 2);
        clock.advance(MINUTE);
        for _ in 0..2 {
            assert_eq!(store.expire().unwrap_err().fault, crate::error::Fault::Damaged);
            assert_eq!(store.pending().unwrap().prior, RevisionId(2));
        }
    }

    #[test]
    fn what_is_given_up_is_to_be_asked_for_again() {
        let (_directory, clock, mut store) = damaged();
        clock.advance(MINUTE);
        drop(store.expire().unwrap().unwrap());
        assert!(!store.expire().unwrap().unwrap().changes().is_empty());
        assert_eq!(store.head().id, RevisionId(3));
    }
}
