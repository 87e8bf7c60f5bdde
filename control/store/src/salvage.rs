//! What to do about a file that is not as it was written: leave it alone, and write what can be proved to a new one.
//!
//! Two ways lead to a table that can be proved. Its rows may hash to what the newest revision says although something
//! else is damaged. Otherwise the table is built anew from the first revision on, each step checked against its digest, as
//! far as that goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::change::{Changes, Table};
use crate::digest::Digest;
use crate::error::{Fault, StoreError};
use crate::open::scan;
use crate::record::{self, Record};
use crate::revision::RevisionId;
use crate::schema;
use crate::time::to_millis;
use crate::witness::Testimony;

const SALVAGE: &str = "save what is sound of it";

pub(crate) struct Salvaged {
    /// Where the damaged file is.
    pub(crate) kept: PathBuf,
    /// The newest revision that is known to have been there.
    pub(crate) newest: RevisionId,
}

/// A revision whose table can be proved.
struct Proved {
    id: RevisionId,
    table: Table,
}

/// Puts a sound file in the place of a damaged one, which is kept under another name.
pub(crate) fn salvage(
    path: &Path,
    damaged: Connection,
    complaint: &str,
    testimony: Testimony,
    now: SystemTime,
) -> Result<Salvaged, StoreError> {
    let ids = record::readable_ids(&damaged);
    let records: Vec<Record> =
        ids.iter().filter_map(|id| record::read(&damaged, *id).ok().flatten()).collect();
    let Some(proved) = rows_as_they_are(&damaged, &records).or_else(|| built_anew(&damaged, &records)) else {
        return Err(StoreError::new(
            path,
            SALVAGE,
            Fault::Damaged,
            format!("{complaint}; no revision can be proved"),
        ));
    };
    let named = match testimony {
        Testimony::Newest(id, _) => id,
        Testimony::None | Testimony::Unreadable => proved.id,
    };
    let newest = named.max(proved.id).max(ids.last().copied().unwrap_or(proved.id));
    let rescue = beside(path, "-rescue");
    for suffix in ["", "-wal", "-journal"] {
        let _ = fs::remove_file(beside(&rescue, suffix));
    }
    write(&rescue, &damaged, &records, &proved)?;
    let kept = beside(path, &format!(".damaged-{}", to_millis(now)));
    replace(path, damaged, &rescue, &kept).map_err(|error| StoreError::io(path, SALVAGE, &error))?;
    Ok(Salvaged { kept, newest })
}

/// The rows, if they can all be read and hash to what the newest record says that can be read. What waits to be confirmed is
/// of no use without the way back.
fn rows_as_they_are(damaged: &Connection, records: &[Record]) -> Option<Proved> {
    let head = records.last()?;
    record::undone(damaged, head).ok()?;
    let newest = &head.revision;
    let (mut table, mut digest) = (Table::new(), Digest::EMPTY);
    scan(damaged, |row| {
        digest.add(Digest::of_row(&row));
        table.insert(row.eam().ipv4().into(), row);
    })
    .ok()?;
    (digest == newest.digest).then_some(Proved { id: newest.id, table })
}

/// The table of one revision, if all that led up to it is as it was written.
pub(crate) fn table_of(damaged: &Connection, id: RevisionId) -> Option<Table> {
    let ids = record::readable_ids(damaged).into_iter().filter(|readable| *readable <= id);
    let records: Vec<Record> = ids.filter_map(|id| record::read(damaged, id).ok().flatten()).collect();
    built_anew(damaged, &records).filter(|proved| proved.id == id).map(|proved| proved.table)
}

/// The newest table that leads from the first one in steps that are all as they were written.
fn built_anew(damaged: &Connection, records: &[Record]) -> Option<Proved> {
    let first = records.first().filter(|first| first.revision.parent.is_none())?;
    let mut proved = Proved { id: first.revision.id, table: Table::new() };
    let mut digest = first.revision.digest;
    for record in &records[1..] {
        let changes = record::read_changes(damaged, record).ok();
        let step = changes.filter(|changes| {
            record.revision.parent == Some(proved.id) && changes.digest_from(digest) == record.revision.digest
        });
        let Some(changes) = step else { break };
        digest = record.revision.digest;
        apply(&mut proved.table, &changes);
        proved.id = record.revision.id;
    }
    Some(proved)
}

fn apply(table: &mut Table, changes: &Changes) {
    for change in changes.as_slice() {
        if let Some(row) = change.before() {
            table.remove(&row.eam().ipv4().into());
        }
        if let Some(row) = change.after() {
            table.insert(row.eam().ipv4().into(), row.clone());
        }
    }
}

/// The new file: the table, and those records and changes up to it that are as they were written.
fn write(rescue: &Path, damaged: &Connection, records: &[Record], proved: &Proved) -> Result<(), StoreError> {
    let connection = schema::connect(rescue, Duration::from_secs(1))?;
    let failed = |error: rusqlite::Error| StoreError::sql(rescue, SALVAGE, &error);
    let transaction = connection.unchecked_transaction().map_err(failed)?;
    let write = || {
        transaction.execute_batch(schema::TABLES)?;
        schema::mark(&transaction)?;
        for record in records.iter().filter(|record| record.revision.id <= proved.id) {
            record.insert(&transaction)?;
            if let Ok(changes) = record::read_changes(damaged, record) {
                record::write_changes(&transaction, record.revision.id, &changes.encode())?;
            }
        }
        let mut insert = transaction.prepare("INSERT INTO eams (ipv4, ipv6, comment) VALUES (?1, ?2, ?3)")?;
        proved.table.values().try_for_each(|row| crate::commit::insert_row(&mut insert, row))?;
        transaction.execute_batch(schema::INDEX)
    };
    write().map_err(failed)?;
    transaction.commit().map_err(failed)?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))
}

/// First the damaged file is copied with its log, then the log goes, then the new file takes the name: a log must never
/// stand beside a file that it was not written for.
fn replace(path: &Path, damaged: Connection, rescue: &Path, kept: &Path) -> std::io::Result<()> {
    let _ = damaged.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    let log = beside(path, "-wal");
    fs::copy(path, kept)?;
    if log.exists() {
        fs::copy(&log, beside(kept, "-wal"))?;
    }
    drop(damaged);
    if log.exists() {
        fs::remove_file(&log)?;
    }
    fs::rename(rescue, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(directory)?.sync_all()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
