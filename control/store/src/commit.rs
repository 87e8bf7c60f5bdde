//! From a candidate to a revision: checked, written, synced, published, answered, in this order.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, params};

use crate::candidate::Candidate;
use crate::change::{Change, Changes};
use crate::conflict::{Conflict, Family};
use crate::eam::{Key4, Key6, Row};
use crate::error::{Fault, StoreError};
use crate::limits::TooLarge;
use crate::record::{self, Idempotency, Record};
use crate::revision::{Author, Kind, Pending, Revision, RevisionId, State};
use crate::schema;
use crate::store::Store;
use crate::time::{from_millis, rfc3339, to_millis};

const COMMIT: &str = "commit";

/// Changes for which the index may be made anew.
const MANY: usize = 10_000;

/// Longest comment of an author, in bytes.
const MAX_COMMENT: usize = 4096;

/// Who wants a revision, and on what terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who, and why.
    pub author: Author,
    /// The newest revision the author knows of: whoever acts on an old view is told so.
    pub if_match: RevisionId,
    /// Makes a repeated request the same request.
    pub idempotency: Option<Idempotency>,
    /// The revision is taken back unless it is confirmed within this time.
    pub confirm_within: Option<Duration>,
}

/// Why there is no new revision. Nothing has changed, and nothing is waited for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Somebody was faster.
    #[error("revision {expected} is not the newest: {} of uid {} was committed at {}{}: look at it, and repeat on top of \
             revision {current}", .faster.id, .faster.author.uid, rfc3339(.faster.time), quoted(&.faster.author.comment))]
    Stale {
        /// What the request was based on.
        expected: RevisionId,
        /// The one made of it.
        faster: Box<Revision>,
        /// The newest by now.
        current: RevisionId,
    },
    /// A revision waits to be confirmed.
    #[error("revision {} of uid {} waits to be confirmed until {}{}: confirm it or roll back to revision {} first",
            .0.revision.id, .0.revision.author.uid, until(&.0.revision), quoted(&.0.revision.author.comment), .0.prior)]
    Pending(Box<Pending>),
    /// Nothing waits to be confirmed, or not this.
    #[error("revision {0} does not wait to be confirmed")]
    NotPending(RevisionId),
    /// The key was used for something else.
    #[error(
        "idempotency key {key:?} was used for another request, which made revision {revision}: take a new key"
    )]
    KeyReused {
        /// As the client has it.
        key: String,
        /// What the first request made.
        revision: RevisionId,
    },
    /// No such revision, or none that can be reached from the newest one.
    #[error("there is no revision {0} to go by: `history` lists those that there are")]
    UnknownRevision(RevisionId),
    /// What would be committed cannot be in one table with what the configuration owns.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// There is no room for it.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The author's comment is too long to be kept.
    #[error("the comment has {0} bytes: at most {MAX_COMMENT} are kept")]
    Comment(usize),
    /// The time to confirm is too long to be one.
    #[error("confirm within {0:?}: between one second and one day")]
    ConfirmWithin(Duration),
    /// The file could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a request leads to.
#[derive(Debug)]
#[must_use = "a prepared revision that is dropped never was"]
pub enum Step<'s> {
    /// There is nothing to publish.
    Done(Receipt),
    /// A revision that is written but not yet durable.
    Prepared(Prepared<'s>),
}

/// A revision that is written but not yet durable. Dropped, it never was.
#[derive(Debug)]
#[must_use = "dropped, it never was"]
pub struct Prepared<'s> {
    transaction: Transaction<'s>,
    record: Record,
    changes: Changes,
    within: Option<Duration>,
}

/// The open transaction of a store. Undone when dropped.
#[derive(Debug)]
struct Transaction<'s>(Option<&'s mut Store>);

/// A revision that survives anything, to be published now.
#[derive(Debug)]
#[must_use = "what is durable is to be published and answered"]
pub struct Durable<'s> {
    store: &'s mut Store,
    changes: Changes,
    within: Option<Duration>,
}

/// What may be answered: it is in force and survives anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    revision: Revision,
    is_repeated: bool,
}

impl Receipt {
    pub(crate) fn new(revision: Revision, is_repeated: bool) -> Self {
        Self { revision, is_repeated }
    }

    /// The revision.
    #[must_use]
    pub const fn revision(&self) -> &Revision {
        &self.revision
    }

    /// Whether the request changed nothing: it was made before, or there was nothing to change.
    #[must_use]
    pub const fn is_repeated(&self) -> bool {
        self.is_repeated
    }
}

impl Store {
    /// Checks and writes a candidate. Three requests have nothing to publish: one that was made before, one that changes
    /// nothing, and one that changes nothing but gives a pending revision more time.
    ///
    /// # Errors
    /// [`CommitError`].
    pub fn commit(&mut self, candidate: &Candidate, request: Request) -> Result<Step<'_>, CommitError> {
        if let Some(receipt) = self.begin(&request)? {
            return Ok(Step::Done(receipt));
        }
        if let Some(base) = candidate.base() {
            self.match_head(base)?;
        }
        let may_extend = self.may_extend(&request);
        if let Some(pending) = self.pending()
            && !may_extend
        {
            return Err(CommitError::Pending(Box::new(pending)));
        }
        self.check_size(candidate)?;
        let changes = candidate.changes();
        if changes.is_empty() {
            return match request.confirm_within.filter(|_| may_extend) {
                Some(within) => Ok(Step::Done(self.extend(within)?)),
                None => Ok(Step::Done(Receipt::new(self.head().clone(), true))),
            };
        }
        let prior = self.head.prior.unwrap_or(self.head.revision.id);
        self.prepare(changes, Kind::Commit, request, prior).map(Step::Prepared)
    }

    /// Checks and writes a revision with the table of an earlier one.
    ///
    /// # Errors
    /// [`CommitError`].
    pub fn rollback(&mut self, to: RevisionId, request: Request) -> Result<Step<'_>, CommitError> {
        if let Some(receipt) = self.begin(&request)? {
            return Ok(Step::Done(receipt));
        }
        if let Some(pending) = self.pending() {
            let is_own = [pending.revision.author.uid, 0].contains(&request.author.uid);
            let takes_back =
                is_own && to == pending.prior && request.confirm_within.is_none() && !self.owes_rollback;
            if !(takes_back || self.may_extend(&request)) {
                return Err(CommitError::Pending(Box::new(pending)));
            }
        }
        let changes = if self.head.prior == Some(to) {
            self.way_back()?.changes
        } else {
            self.diff(self.head.revision.id, to)?
        };
        if changes.is_empty() && self.head.prior.is_none() {
            return Ok(Step::Done(Receipt::new(self.head().clone(), true)));
        }
        let prior = self.head.prior.unwrap_or(self.head.revision.id);
        self.prepare(changes, Kind::Rollback { to }, request, prior).map(Step::Prepared)
    }

    /// What every request has to pass; its receipt if it was made before.
    fn begin(&mut self, request: &Request) -> Result<Option<Receipt>, CommitError> {
        if let Some(key) = &request.idempotency
            && let Some(revision) = self.repeated(request.author.uid, key)?
        {
            return Ok(Some(Receipt::new(revision, true)));
        }
        if request.author.comment.len() > MAX_COMMENT {
            return Err(CommitError::Comment(request.author.comment.len()));
        }
        let day = Duration::from_secs(86_400);
        if let Some(within) =
            request.confirm_within.filter(|within| !(Duration::from_secs(1)..=day).contains(within))
        {
            return Err(CommitError::ConfirmWithin(within));
        }
        self.match_head(request.if_match)?;
        self.settle()?;
        Ok(None)
    }

    /// Whoever waits for a confirmation may go on, as long as he says until when and the time is not over.
    fn may_extend(&self, request: &Request) -> bool {
        request.confirm_within.is_some()
            && !self.owes_rollback
            && self.pending().is_some_and(|pending| {
                pending.revision.author.uid == request.author.uid && !pending.remaining.is_zero()
            })
    }

    pub(crate) fn match_head(&self, expected: RevisionId) -> Result<(), CommitError> {
        let current = self.head.revision.id;
        if expected == current {
            return Ok(());
        }
        let faster = record::after(&self.connection, expected).map_err(self.unreadable(COMMIT))?;
        let faster =
            Box::new(faster.map_or_else(|| self.head().clone(), |record| self.seen(record.revision)));
        Err(CommitError::Stale { expected, faster, current })
    }

    /// Writes a revision. `prior` is the one to go back to if it has to be confirmed and is not.
    pub(crate) fn prepare(
        &mut self,
        changes: Changes,
        kind: Kind,
        request: Request,
        prior: RevisionId,
    ) -> Result<Prepared<'_>, CommitError> {
        self.check_owners(&changes)?;
        let Request { author, idempotency, confirm_within: within, .. } = request;
        let parts = changes.encode();
        let record = Record {
            revision: self.next_revision(&changes, kind, author, within),
            prior: within.map(|_| prior),
            log: record::hash(&parts),
            request: idempotency,
        };
        // What does not have to be confirmed ends all waiting: it goes back to where the waiting began.
        let reverted = if within.is_none() { self.waiting(State::Reverted)? } else { Vec::new() };
        let rows = self.head.revision.rows;
        let write = |connection: &Connection| {
            reverted.iter().try_for_each(|record| record.replace(connection))?;
            record.insert(connection)?;
            record::write_changes(connection, record.revision.id, &parts)?;
            write_rows(connection, changes.as_slice(), rows)
        };
        self.write(COMMIT, write)?;
        Ok(Prepared { transaction: Transaction(Some(self)), record, changes, within })
    }

    pub(crate) fn next_revision(
        &self,
        changes: &Changes,
        kind: Kind,
        author: Author,
        within: Option<Duration>,
    ) -> Revision {
        let head = &self.head.revision;
        let (counts, now) = (changes.counts(), self.now());
        Revision {
            id: self.next,
            parent: Some(head.id),
            time: now,
            author,
            kind,
            state: if within.is_some() { State::Pending } else { State::Active },
            until: within.map(|within| now + within),
            confirmed: None,
            counts,
            rows: (head.rows + counts.added) - counts.removed,
            digest: changes.digest_from(head.digest),
        }
    }

    /// The wall clock in whole milliseconds, as it is stored.
    pub(crate) fn now(&self) -> SystemTime {
        from_millis(to_millis(self.clock.wall()))
    }

    /// The configuration may have got rows since the candidate was checked, or since the revision to go back to.
    fn check_owners(&self, changes: &Changes) -> Result<(), Conflict> {
        if self.foreign.is_empty() {
            return Ok(());
        }
        for row in changes.as_slice().iter().filter_map(Change::after) {
            let eam = row.eam();
            let ipv4 = self.foreign.by_ipv4(eam.ipv4().into()).map(|other| (Family::Ipv4, other));
            let other = ipv4.or_else(|| Some((Family::Ipv6, self.foreign.by_ipv6(eam.ipv6().into())?)));
            if let Some((family, other)) = other {
                return Err(Conflict::Duplicate { eam, family, other: Box::new(other) });
            }
        }
        Ok(())
    }

    /// Begins a transaction and does `work` in it; undone if any of it fails.
    pub(crate) fn write(
        &mut self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        let written = self.connection.execute_batch("BEGIN IMMEDIATE").and_then(|()| work(&self.connection));
        written.map_err(|error| {
            let error = self.failed(action)(error);
            self.undo();
            self.refused(error)
        })
    }

    /// Keeps why the file took no write, until it takes one. That an earlier one could not be undone is no cause.
    fn refused(&mut self, error: StoreError) -> StoreError {
        if error.fault != Fault::InDoubt || self.obstacle.is_none() {
            self.obstacle = Some(error.clone());
        }
        error
    }

    /// Ends the transaction durably. If that fails it is undone, also on the disk as far as that takes writes.
    pub(crate) fn sync(&mut self, action: &'static str) -> Result<(), StoreError> {
        if let Some(lost) = self.files.lost() {
            let error = StoreError::new(&self.path, action, Fault::Removed, lost.display());
            self.undo();
            return Err(self.refused(error));
        }
        let Err(error) = self.connection.execute_batch("COMMIT") else {
            self.obstacle = None;
            return Ok(());
        };
        let error = self.failed(action)(error);
        let error = self.refused(error);
        self.undo();
        self.in_doubt = true;
        match self.settle() {
            Ok(()) => Err(error),
            Err(doubt) => Err(StoreError { detail: format!("{error}; {}", doubt.detail), ..doubt }),
        }
    }

    fn undo(&self) {
        if !self.connection.is_autocommit() {
            // SQLite undoes a transaction without writing; when it cannot, it has done so already.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// After a failed commit, its pages may be in the log all the same, and a restart would take them for a commit. Another
    /// commit overwrites them, so one is made that changes nothing; until it succeeds, nothing else is written.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        if !self.in_doubt {
            return Ok(());
        }
        if let Err(error) = self.connection.execute_batch("UPDATE touched SET times = times + 1") {
            self.undo();
            // Emptying the log does as well, and needs no room in it.
            if !self.empties_log() {
                let doubt = StoreError::new(&self.path, COMMIT, Fault::InDoubt, error);
                return Err(self.refused(doubt));
            }
        }
        self.in_doubt = false;
        Ok(())
    }

    fn empties_log(&self) -> bool {
        let busy =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        busy.is_ok_and(|busy| busy == 0)
    }
}

impl<'s> Prepared<'s> {
    /// The revision this is going to be.
    #[must_use]
    pub const fn revision(&self) -> &Revision {
        &self.record.revision
    }

    /// What the data path has to change, for it to get ready.
    #[must_use]
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Syncs it to the disk.
    ///
    /// # Errors
    /// [`StoreError`]: it never was. With [`Fault::InDoubt`] that is so unless the relay is started anew before the disk
    /// takes writes again; repeated with the same idempotency key, the request is one commit in any case.
    pub fn make_durable(self) -> Result<Durable<'s>, StoreError> {
        let Self { mut transaction, record, changes, within } = self;
        let store = transaction.0.take().expect("it is taken here alone");
        store.sync(COMMIT)?;
        store.applied(record, &changes);
        store.deadline = within.map(|within| store.clock.monotonic() + within);
        Ok(Durable { store, changes, within })
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if let Some(store) = &self.0 {
            store.undo();
        }
    }
}

impl Durable<'_> {
    /// What the data path has to change now.
    #[must_use]
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The revision.
    #[must_use]
    pub fn revision(&self) -> &Revision {
        self.store.head()
    }

    /// Every worker has it. From now on the time to confirm it runs.
    pub fn published(self) -> Receipt {
        let now = self.store.clock.monotonic();
        if let Some(within) = self.within {
            self.store.deadline = Some(now + within);
        }
        Receipt::new(self.store.head().clone(), false)
    }
}

/// Writes changes to a table of so many rows. Rows go before rows come, so that prefixes can change hands.
pub(crate) fn write_rows(connection: &Connection, changes: &[Change], rows: u64) -> rusqlite::Result<()> {
    let is_most = changes.len() > MANY && changes.len() as u64 > rows / 4;
    if is_most {
        connection.execute_batch(schema::DROP_INDEX)?;
    }
    remove_and_insert(connection, changes)?;
    if is_most { connection.execute_batch(schema::INDEX) } else { Ok(()) }
}

fn remove_and_insert(connection: &Connection, changes: &[Change]) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM eams WHERE ipv4 = ?1")?;
    let mut insert =
        connection.prepare_cached("INSERT INTO eams (ipv4, ipv6, comment) VALUES (?1, ?2, ?3)")?;
    for row in changes.iter().filter_map(Change::before) {
        let deleted = delete.execute(params![Key4::from(row.eam().ipv4()).0])?;
        if deleted != 1 {
            return Err(rusqlite::Error::StatementChangedRows(deleted));
        }
    }
    for row in changes.iter().filter_map(Change::after) {
        insert_row(&mut insert, row)?;
    }
    Ok(())
}

pub(crate) fn insert_row(insert: &mut rusqlite::Statement<'_>, row: &Row) -> rusqlite::Result<()> {
    let eam = row.eam();
    insert.execute(params![Key4::from(eam.ipv4()).0, Key6::from(eam.ipv6()).0, row.comment()])?;
    Ok(())
}

fn quoted(comment: &str) -> String {
    if comment.is_empty() { String::new() } else { format!(" ({comment:?})") }
}

fn until(revision: &Revision) -> String {
    revision.until.map(rfc3339).unwrap_or_default()
}
