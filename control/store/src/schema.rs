//! The database: its tables, and the settings without which nothing it says would be durable.
//!
//! The settings differ between builds of SQLite and can be refused by a file system, so every one is read back.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{Fault, StoreError};

/// "BLeR" in ASCII: what tells our files from other SQLite databases.
const APPLICATION: i64 = 0x424c_6552;

/// Of the tables below.
const VERSION: i64 = 1;

/// `ipv4` is address and length of the prefix in one number, `ipv6` both in 17 bytes: they sort as prefixes do.
/// `changes` has what each revision did, in parts, so every revision can be rebuilt from the first on. `seal` is a hash
/// of all other columns of its row; `log` one of the revision's changes.
pub(crate) const TABLES: &str = "
    CREATE TABLE eams (ipv4 INTEGER PRIMARY KEY, ipv6 BLOB NOT NULL, comment TEXT) STRICT;
    CREATE TABLE revisions (
        id INTEGER PRIMARY KEY,
        parent INTEGER,
        time INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        pid INTEGER NOT NULL,
        comment TEXT NOT NULL,
        kind INTEGER NOT NULL,
        target INTEGER,
        state INTEGER NOT NULL,
        prior INTEGER,
        until INTEGER,
        confirmed_time INTEGER,
        confirmed_uid INTEGER,
        added INTEGER NOT NULL,
        removed INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        row_count INTEGER NOT NULL,
        digest BLOB NOT NULL,
        log BLOB NOT NULL,
        request_key TEXT,
        request BLOB,
        seal BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX revisions_request ON revisions (uid, request_key) WHERE request_key IS NOT NULL;
    CREATE TABLE changes (
        revision INTEGER NOT NULL REFERENCES revisions (id),
        part INTEGER NOT NULL,
        change BLOB NOT NULL,
        PRIMARY KEY (revision, part)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE touched (one INTEGER PRIMARY KEY CHECK (one = 1), times INTEGER NOT NULL) STRICT;
    INSERT INTO touched VALUES (1, 0);
";

/// What is asked of SQLite, as it reads it back. One process at a time has the file, for as long as it runs: that is who
/// knows its head, its deadline and its ranges. FULL syncs the log at every commit.
const SETTINGS: [(&str, &str, &str); 5] = [
    ("locking_mode", "EXCLUSIVE", "exclusive"),
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", "2"),
    ("foreign_keys", "ON", "1"),
    ("cell_size_check", "ON", "1"),
];

/// Kibibytes of pages kept in memory: an import needs them, and SQLite takes them only when it does.
const CACHE_KIB: i64 = 65_536;

/// The order of the IPv6 prefixes. It comes after the rows where those are many: sorting a million prefixes takes a
/// fraction of the time it takes to put each in its place.
pub(crate) const INDEX: &str = "CREATE UNIQUE INDEX eams_ipv6 ON eams (ipv6);";
pub(crate) const DROP_INDEX: &str = "DROP INDEX eams_ipv6;";

/// Opens a file that may be new. Everything is set and read back.
pub(crate) fn connect(path: &Path, busy: Duration) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: rusqlite::Error| opening(path, &error);
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(busy).map_err(failed)?;
    for (name, value, expected) in SETTINGS {
        connection.pragma_update(None, name, value).map_err(failed)?;
        let held = read(&connection, name).map_err(failed)?;
        if !held.eq_ignore_ascii_case(expected) {
            let detail = format!("{name} is {held} and should be {expected}");
            return Err(StoreError::new(path, "open it", Fault::Setting, detail));
        }
    }
    connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(failed)?;
    let held = read(&connection, "busy_timeout").map_err(failed)?;
    if held != busy.as_millis().to_string() {
        return Err(StoreError::new(path, "open it", Fault::Setting, format!("busy_timeout is {held} ms")));
    }
    Ok(connection)
}

/// Opens a file that is there, and shows that nobody else has it. Nothing in it changes.
pub(crate) fn look(path: &Path) -> Result<Connection, StoreError> {
    let failed = |error: rusqlite::Error| opening(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(Duration::ZERO).map_err(failed)?;
    // Whoever closes the file last would move its log into it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
    connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(failed)?;
    Ok(connection)
}

/// Whether the file has our tables: none yet, ours, or somebody else's.
pub(crate) fn is_new(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    let number = |name| read(connection, name).map_err(|error| opening(path, &error));
    let (application, version) = (number("application_id")?, number("user_version")?);
    if application == "0" && version == "0" {
        // Setting the journal mode has written a header already.
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(|error| opening(path, &error))?;
        if tables == 0 {
            return Ok(true);
        }
    }
    if application != APPLICATION.to_string() {
        return Err(StoreError::new(
            path,
            "open it",
            Fault::NotAStore,
            format!("application id {application}"),
        ));
    }
    match version.parse::<i64>() {
        Ok(VERSION) => Ok(false),
        Ok(newer) if newer > VERSION => {
            let detail = format!("format {newer}, this release reads {VERSION}");
            Err(StoreError::new(path, "open it", Fault::TooNew, detail))
        }
        _ => Err(StoreError::new(path, "open it", Fault::Damaged, format!("format {version}"))),
    }
}

/// Marks the file as ours. Inside the transaction that makes the tables.
pub(crate) fn mark(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// What SQLite itself finds wrong with its pages; none when it is content.
pub(crate) fn complaint(connection: &Connection) -> Option<String> {
    match connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)) {
        Ok(answer) if answer == "ok" => None,
        Ok(complaint) => Some(complaint),
        Err(error) => Some(error.to_string()),
    }
}

/// A setting as text, whatever its type.
fn read(connection: &Connection, name: &str) -> rusqlite::Result<String> {
    let value = connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))?;
    Ok(match value {
        rusqlite::types::Value::Integer(number) => number.to_string(),
        rusqlite::types::Value::Text(text) => text,
        other => format!("{other:?}"),
    })
}

/// SQLite says "unable to open" of a directory that is not there, and of one it may not enter.
fn opening(path: &Path, error: &rusqlite::Error) -> StoreError {
    let cannot_open = error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match directory.map(std::fs::metadata) {
        Some(Err(cause)) if cannot_open => StoreError::io(path, "open it", &cause),
        _ if cannot_open => StoreError::new(path, "open it", Fault::Permission, error),
        _ => StoreError::sql(path, "open it", error),
    }
}
