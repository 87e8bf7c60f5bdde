//! A revision as the database has it, sealed: a row that is not as it was written is told from one that is.

use std::time::SystemTime;

use rusqlite::{Connection, Row as SqlRow, params};

use crate::change::{Change, Changes, Counts, Sum};
use crate::digest::Digest;
use crate::revision::{Author, Cause, Kind, Revision, RevisionId, State};
use crate::time::{from_millis, to_millis};

/// Everything that is written about a revision. Its state is as stored: active means that it was not taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) revision: Revision,
    /// Where to go back to unless this is confirmed.
    pub(crate) prior: Option<RevisionId>,
    /// Hash of its changes as they are stored.
    pub(crate) log: [u8; 32],
    pub(crate) request: Option<Idempotency>,
}

/// What makes two requests the same: a repeated one is answered with the revision that the first one made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub(crate) key: String,
    pub(crate) request: [u8; 32],
}

impl Idempotency {
    /// `key` is the client's. `request` is all that the client asks for, in any form that is the same when it asks again:
    /// with another request the key is refused.
    #[must_use]
    pub fn new(key: impl Into<String>, request: &[u8]) -> Self {
        Self { key: key.into(), request: *blake3::hash(request).as_bytes() }
    }
}

/// What reading a record can come to, other than the record.
#[derive(Debug)]
pub(crate) enum RecordError {
    Sql(rusqlite::Error),
    /// It is not as it was written.
    Broken,
}

impl From<rusqlite::Error> for RecordError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

const COLUMNS: &str = "id, parent, time, uid, pid, comment, kind, target, state, prior, until, confirmed_time, \
    confirmed_uid, added, removed, changed, row_count, digest, log, request_key, request, seal";

pub(crate) fn read(connection: &Connection, id: RevisionId) -> Result<Option<Record>, RecordError> {
    one(connection, "WHERE id = ?1", params![id.sql()])
}

pub(crate) fn newest(connection: &Connection) -> Result<Option<Record>, RecordError> {
    one(connection, "ORDER BY id DESC LIMIT 1", [])
}

/// The revision that a request has made already.
pub(crate) fn of_request(
    connection: &Connection,
    uid: u32,
    key: &str,
) -> Result<Option<Record>, RecordError> {
    one(connection, "WHERE uid = ?1 AND request_key = ?2", params![uid, key])
}

/// The revision made of another one, the newest if there are several.
pub(crate) fn after(connection: &Connection, parent: RevisionId) -> Result<Option<Record>, RecordError> {
    one(connection, "WHERE parent = ?1 ORDER BY id DESC LIMIT 1", params![parent.sql()])
}

/// A revision that waits to be confirmed, and those it was made of that wait as well, newest first; none when it does not.
pub(crate) fn waiting(connection: &Connection, head: &Record) -> Result<Vec<Record>, RecordError> {
    let mut records = Vec::new();
    let mut at = head.clone();
    while at.revision.state == State::Pending {
        let (parent, prior) = (at.revision.parent.ok_or(RecordError::Broken)?, at.prior);
        records.push(at);
        if prior == Some(parent) {
            break;
        }
        at = read(connection, parent)?.ok_or(RecordError::Broken)?;
    }
    Ok(records)
}

/// What undoes all that waits, by what each of it did. The revision to go back to need not be readable: it is what is left.
pub(crate) fn undone(connection: &Connection, head: &Record) -> Result<Changes, RecordError> {
    let mut sum = Sum::default();
    for record in waiting(connection, head)? {
        sum.then_back(read_changes(connection, &record)?);
    }
    Ok(sum.finish())
}

/// At most `limit` revisions before one, newest first.
pub(crate) fn before(
    connection: &Connection,
    id: RevisionId,
    limit: usize,
) -> Result<Vec<Record>, RecordError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM revisions WHERE id < ?1 ORDER BY id DESC LIMIT ?2"
    ))?;
    let mut rows = select.query(params![id.sql(), limit])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(from_row(row)?);
    }
    Ok(records)
}

fn one(
    connection: &Connection,
    which: &str,
    params: impl rusqlite::Params,
) -> Result<Option<Record>, RecordError> {
    let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM revisions {which}"))?;
    let mut rows = select.query(params)?;
    rows.next()?.map(from_row).transpose()
}

fn from_row(row: &SqlRow<'_>) -> Result<Record, RecordError> {
    let millis = |at| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.map(from_millis));
    let id = |at| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.map(RevisionId::from_sql));
    let count = |at| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)?.cast_unsigned());
    let (stored, target) = (row.get::<_, i64>(6)?, id(7)?);
    let kind = kind(stored, target).ok_or(RecordError::Broken)?;
    let state = [State::Active, State::Pending, State::Reverted]
        .into_iter()
        .find(|state| state_number(*state) == row.get(8).unwrap_or(-1))
        .ok_or(RecordError::Broken)?;
    let confirmed: Option<SystemTime> = millis(11)?;
    let request = match (row.get::<_, Option<String>>(19)?, row.get::<_, Option<[u8; 32]>>(20)?) {
        (Some(key), Some(request)) => Some(Idempotency { key, request }),
        _ => None,
    };
    let revision = Revision {
        id: RevisionId::from_sql(row.get(0)?),
        parent: id(1)?,
        time: from_millis(row.get(2)?),
        author: Author { uid: row.get(3)?, pid: row.get(4)?, comment: row.get(5)? },
        kind,
        state,
        until: millis(10)?,
        confirmed: confirmed.zip(row.get(12)?),
        counts: Counts { added: count(13)?, removed: count(14)?, changed: count(15)? },
        rows: count(16)?,
        digest: Digest::from_bytes(row.get(17)?),
    };
    let record = Record { revision, prior: id(9)?, log: row.get(18)?, request };
    if record.seal() == row.get::<_, [u8; 32]>(21)? { Ok(record) } else { Err(RecordError::Broken) }
}

impl Record {
    /// Its state, deadline or confirmation changed.
    pub(crate) fn replace(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Revision { id, state, until, confirmed, .. } = &self.revision;
        let mut update = connection.prepare_cached(
            "UPDATE revisions SET state = ?2, prior = ?3, until = ?4, confirmed_time = ?5, confirmed_uid = ?6, seal = ?7 \
             WHERE id = ?1",
        )?;
        let updated = update.execute(params![
            id.sql(),
            state_number(*state),
            self.prior.map(RevisionId::sql),
            until.map(to_millis),
            confirmed.map(|(time, _)| to_millis(time)),
            confirmed.map(|(_, uid)| uid),
            self.seal(),
        ])?;
        if updated == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(updated)) }
    }

    pub(crate) fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Revision { id, parent, time, author, kind, state, until, confirmed, counts, rows, digest } =
            &self.revision;
        let (kind, target) = kind_numbers(*kind);
        let mut write = connection.prepare_cached(&format!(
            "INSERT INTO revisions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, \
             ?16, ?17, ?18, ?19, ?20, ?21, ?22)"
        ))?;
        write.execute(params![
            id.sql(),
            parent.map(RevisionId::sql),
            to_millis(*time),
            author.uid,
            author.pid,
            author.comment,
            kind,
            target.map(RevisionId::sql),
            state_number(*state),
            self.prior.map(RevisionId::sql),
            until.map(to_millis),
            confirmed.map(|(time, _)| to_millis(time)),
            confirmed.map(|(_, uid)| uid),
            counts.added.cast_signed(),
            counts.removed.cast_signed(),
            counts.changed.cast_signed(),
            rows.cast_signed(),
            digest.to_bytes(),
            self.log,
            self.request.as_ref().map(|request| &request.key),
            self.request.as_ref().map(|request| &request.request),
            self.seal(),
        ])?;
        Ok(())
    }

    /// A hash of everything else. What has no fixed length has its length before it.
    fn seal(&self) -> [u8; 32] {
        let Revision { id, parent, time, author, kind, state, until, confirmed, counts, rows, digest } =
            &self.revision;
        let (kind, target) = kind_numbers(*kind);
        let mut hasher = blake3::Hasher::new();
        let mut numbers = [
            id.sql(),
            parent.map_or(-1, RevisionId::sql),
            to_millis(*time),
            author.uid.into(),
            author.pid.into(),
            kind,
            target.map_or(-1, RevisionId::sql),
            state_number(*state),
            self.prior.map_or(-1, RevisionId::sql),
            until.map_or(-1, to_millis),
            confirmed.map_or(-1, |(time, _)| to_millis(time)),
            confirmed.map_or(-1, |(_, uid)| uid.into()),
            counts.added.cast_signed(),
            counts.removed.cast_signed(),
            counts.changed.cast_signed(),
            rows.cast_signed(),
            length(&author.comment),
            -1,
        ];
        if let Some(request) = &self.request {
            numbers[17] = length(&request.key);
        }
        for number in numbers {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(author.comment.as_bytes()).update(&digest.to_bytes()).update(&self.log);
        if let Some(Idempotency { key, request }) = &self.request {
            hasher.update(key.as_bytes()).update(request);
        }
        *hasher.finalize().as_bytes()
    }
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

/// Writes what a revision did.
pub(crate) fn write_changes(
    connection: &Connection,
    id: RevisionId,
    parts: &[Vec<u8>],
) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT INTO changes (revision, part, change) VALUES (?1, ?2, ?3)")?;
    for (number, part) in (0_i64..).zip(parts) {
        insert.execute(params![id.sql(), number, part])?;
    }
    Ok(())
}

/// Reads what a revision did, if it is as it was written.
pub(crate) fn read_changes(connection: &Connection, record: &Record) -> Result<Changes, RecordError> {
    let mut select =
        connection.prepare_cached("SELECT change FROM changes WHERE revision = ?1 ORDER BY part")?;
    let mut rows = select.query(params![record.revision.id.sql()])?;
    let mut parts = Vec::new();
    while let Some(row) = rows.next()? {
        parts.push(row.get::<_, Vec<u8>>(0)?);
    }
    decode(record, &parts).ok_or(RecordError::Broken)
}

fn decode(record: &Record, parts: &[Vec<u8>]) -> Option<Changes> {
    let mut changes = Vec::new();
    for part in parts {
        Changes::decode(part, &mut changes)?;
    }
    let is_sound = hash(parts) == record.log && changes.is_sorted_by_key(Change::key);
    is_sound.then(|| Changes::from_sorted(changes))
}

/// What [`Record::log`] is to be.
pub(crate) fn hash(parts: &[Vec<u8>]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// All identifiers that can be read, ascending: of a damaged file, those up to the damage from both ends.
pub(crate) fn readable_ids(connection: &Connection) -> Vec<RevisionId> {
    let mut ids = Vec::new();
    for order in ["ASC", "DESC"] {
        let read = connection.prepare(&format!("SELECT id FROM revisions ORDER BY id {order}"));
        let Ok(mut select) = read else { continue };
        let Ok(mut rows) = select.query([]) else { continue };
        while let Ok(Some(row)) = rows.next() {
            ids.extend(row.get(0).map(RevisionId::from_sql));
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

impl RevisionId {
    pub(crate) const fn sql(self) -> i64 {
        self.0.cast_signed()
    }

    pub(crate) const fn from_sql(id: i64) -> Self {
        Self(id.cast_unsigned())
    }
}

/// A superseded revision is stored as an active one: the one after it says the rest.
const fn state_number(state: State) -> i64 {
    match state {
        State::Active | State::Superseded => 0,
        State::Pending => 1,
        State::Reverted => 2,
    }
}

const fn kind_numbers(kind: Kind) -> (i64, Option<RevisionId>) {
    match kind {
        Kind::Created => (0, None),
        Kind::Commit => (1, None),
        Kind::Rollback { to } => (2, Some(to)),
        Kind::Automatic { to, cause: Cause::NotConfirmed } => (3, Some(to)),
        Kind::Automatic { to, cause: Cause::Restarted } => (4, Some(to)),
    }
}

const fn kind(number: i64, target: Option<RevisionId>) -> Option<Kind> {
    match (number, target) {
        (0, None) => Some(Kind::Created),
        (1, None) => Some(Kind::Commit),
        (2, Some(to)) => Some(Kind::Rollback { to }),
        (3, Some(to)) => Some(Kind::Automatic { to, cause: Cause::NotConfirmed }),
        (4, Some(to)) => Some(Kind::Automatic { to, cause: Cause::Restarted }),
        _ => None,
    }
}
