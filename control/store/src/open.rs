//! Opening the file: nothing in it is believed before it is checked.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rustix::fs::{Access, access};

use crate::change::Changes;
use crate::clock::{Clock, SystemClock};
use crate::confirm::this_process;
use crate::conflict::Rules;
use crate::digest::Digest;
use crate::eam::{Eam, Key4, Row};
use crate::error::{Fault, StoreError};
use crate::files::Files;
use crate::owner::Foreign;
use crate::ranges::Ranges;
use crate::record::{self, Record, RecordError};
use crate::revision::{Author, Cause, Kind, Revision, RevisionId, State};
use crate::store::Store;
use crate::time::{from_millis, to_millis};
use crate::view::{Lengths, row_of};
use crate::witness::{self, Testimony, Witness};
use crate::{salvage, schema};

const OPEN: &str = "open it";

/// What a store is opened with.
#[derive(Debug)]
pub struct Options {
    /// The time.
    pub clock: Box<dyn Clock>,
    /// How long to wait for another process to let go of the file.
    pub busy: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: Box::new(SystemClock::default()), busy: Duration::from_secs(2) }
    }
}

/// An open store, what its table is, and what was noticed.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// The mappings to start with, in the order of their IPv4 prefixes: what a data path builds its tables from.
    pub eams: Vec<Eam>,
    /// To be said in the log and in the status.
    pub notices: Vec<Notice>,
}

/// What an operator should know about a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// There was no store: it is a new one.
    Created,
    /// A revision waited to be confirmed, so the one from before serves.
    Reverted {
        /// What was taken back.
        unconfirmed: RevisionId,
        /// Whose table serves.
        to: RevisionId,
        /// The revision that says so, or why the file could not be told.
        recorded: Result<RevisionId, StoreError>,
    },
    /// The file was damaged. What of it is sound went to a new file.
    Damaged {
        /// What was wrong.
        complaint: String,
        /// The damaged file.
        kept: PathBuf,
        /// The revision that serves: the last good one.
        served: RevisionId,
        /// The newest one that is known to have been there.
        newest: RevisionId,
    },
    /// The file is sound, but ends before a revision that was there.
    Lost {
        /// The revision that serves.
        served: RevisionId,
        /// The newest one that is known to have been there.
        newest: RevisionId,
    },
    /// The file beside the database cannot be read or written; a loss would not be noticed.
    NoWitness(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("a new, empty store was created"),
            Self::Reverted { unconfirmed, to, recorded } => {
                write!(
                    f,
                    "the relay ended before revision {unconfirmed} was confirmed: revision {to} serves"
                )?;
                match recorded {
                    Ok(id) => write!(f, ", as revision {id}"),
                    Err(error) => write!(f, "; {error}"),
                }
            }
            Self::Damaged { complaint, kept, served, newest } if served == newest => write!(
                f,
                "the store was damaged ({complaint}); nothing is lost: revision {served} serves; the damaged file is {}",
                kept.display()
            ),
            Self::Damaged { complaint, kept, served, newest } => write!(
                f,
                "the store was damaged ({complaint}): revision {served} is the last good one and serves, what came after it \
                 up to revision {newest} is lost: look into the damaged file {}, and repeat those changes",
                kept.display()
            ),
            Self::Lost { served, newest } => write!(
                f,
                "the store ends with revision {served}, but revision {newest} was there: the disk lost what came between, \
                 or an older copy was restored: repeat those changes"
            ),
            Self::NoWitness(cause) => {
                write!(
                    f,
                    "the file that names the newest revision is of no use ({cause}): a loss would not be noticed"
                )
            }
        }
    }
}

/// A table that is what its revision says.
pub(crate) struct Sound {
    pub(crate) head: Record,
    pub(crate) eams: Vec<Eam>,
    pub(crate) lengths: Lengths,
    pub(crate) ranges: Ranges,
}

impl Store {
    /// Opens the store, or makes an empty one. A damaged one is left as it is, and what of it can be proved goes to a new
    /// one; a revision that waits to be confirmed is taken back.
    ///
    /// # Errors
    /// [`StoreError`] when there is nothing to serve that can be proved.
    pub fn open(path: &Path, options: Options) -> Result<Opened, StoreError> {
        let mut notices = Vec::new();
        let testimony = witness::read(path).unwrap_or_else(|error| {
            notices.push(Notice::NoWitness(error.to_string()));
            Testimony::None
        });
        let mut connection = schema::connect(path, options.busy)?;
        if schema::is_new(&connection, path)? {
            if testimony != Testimony::None {
                return Err(StoreError::new(path, OPEN, Fault::Gone, witness::path(path).display()));
            }
            create(&connection, path, options.clock.as_ref())?;
            notices.push(Notice::Created);
        }
        let mut newest = None;
        let sound = match verify(&connection) {
            Ok(sound) => sound,
            Err(complaint) => {
                let salvaged =
                    salvage::salvage(path, connection, &complaint, testimony, options.clock.wall())?;
                connection = schema::connect(path, options.busy)?;
                let sound = verify(&connection)
                    .map_err(|again| StoreError::new(path, OPEN, Fault::Damaged, again))?;
                let served = sound.head.revision.id;
                newest = Some(salvaged.newest);
                notices.push(Notice::Damaged {
                    complaint,
                    kept: salvaged.kept,
                    served,
                    newest: salvaged.newest,
                });
                sound
            }
        };
        let known = newest.unwrap_or(sound.head.revision.id);
        let (witness, known) = ask(path, testimony, &sound.head.revision, known, &mut notices)?;
        let store = Self {
            connection,
            path: path.to_owned(),
            clock: options.clock,
            witness,
            next: RevisionId(known.0 + 1),
            head: sound.head,
            deadline: None,
            owes_rollback: false,
            in_doubt: false,
            obstacle: None,
            files: Files::of(path),
            rules: Rules::default(),
            foreign: Foreign::default(),
            lengths: sound.lengths,
            ranges: sound.ranges,
            loaded: None,
            free_from: HashMap::new(),
        };
        take_back(store, sound.eams, notices)
    }
}

impl Store {
    /// What would keep a store from being opened, as far as it can be told without changing what it holds: nothing is made,
    /// mended or taken back.
    #[must_use]
    pub fn cannot_open(path: &Path) -> Option<StoreError> {
        try_to_write(path).err()
    }
}

fn try_to_write(path: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| StoreError::io(path, OPEN, &error);
    match fs::metadata(path) {
        Ok(facts) if !facts.is_file() => {
            return Err(StoreError::new(path, OPEN, Fault::NotAStore, "it is no regular file"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if witness::path(path).exists() {
                return Err(StoreError::new(path, OPEN, Fault::Gone, witness::path(path).display()));
            }
            let directory =
                path.parent().filter(|directory| *directory != Path::new("")).unwrap_or(Path::new("."));
            return access(directory, Access::WRITE_OK | Access::EXEC_OK)
                .map_err(|error| failed(error.into()));
        }
        Err(error) => return Err(failed(error)),
    }
    access(path, Access::READ_OK | Access::WRITE_OK).map_err(|error| failed(error.into()))?;
    let connection = schema::look(path)?;
    schema::is_new(&connection, path).map(drop)
}

/// Opens the witness and compares what it says with what the file has. Yields the newest revision ever known, too.
fn ask(
    path: &Path,
    testimony: Testimony,
    head: &Revision,
    known: RevisionId,
    notices: &mut Vec<Notice>,
) -> Result<(Witness, RevisionId), StoreError> {
    let witness = Witness::open(path).map_err(|error| StoreError::io(&witness::path(path), OPEN, &error))?;
    if let Testimony::Newest(named, _) = testimony
        && named > head.id
    {
        // It goes on saying so until there is a newer revision. A damage has been reported already.
        if known == head.id {
            notices.push(Notice::Lost { served: head.id, newest: named });
        }
        return Ok((witness, known.max(named)));
    }
    if testimony == Testimony::Unreadable {
        notices.push(Notice::NoWitness("it was damaged and is written anew".to_owned()));
    }
    if let Err(error) = witness.write(head.id, head.digest) {
        notices.push(Notice::NoWitness(error.to_string()));
    }
    Ok((witness, known))
}

/// Takes back what was not confirmed.
fn take_back(mut store: Store, eams: Vec<Eam>, mut notices: Vec<Notice>) -> Result<Opened, StoreError> {
    let Some(pending) = store.pending() else { return Ok(Opened { store, eams, notices }) };
    let expired = store.go_back(Cause::Restarted)?;
    let eams = applied(eams, expired.changes());
    let recorded = expired.record().map(|receipt| receipt.revision().id);
    notices.push(Notice::Reverted { unconfirmed: pending.revision.id, to: pending.prior, recorded });
    Ok(Opened { store, eams, notices })
}

/// Both in the order of IPv4 prefixes.
fn applied(eams: Vec<Eam>, changes: &Changes) -> Vec<Eam> {
    let mut table: BTreeMap<Key4, Eam> = eams.into_iter().map(|eam| (eam.ipv4().into(), eam)).collect();
    for eam in changes.lost() {
        table.remove(&eam.ipv4().into());
    }
    table.extend(changes.gained().map(|eam| (eam.ipv4().into(), eam)));
    table.into_values().collect()
}

/// Makes the tables and the first revision in one transaction: the file has all of it or none.
fn create(connection: &Connection, path: &Path, clock: &dyn Clock) -> Result<(), StoreError> {
    let record = Record {
        revision: Revision {
            id: RevisionId(1),
            parent: None,
            time: from_millis(to_millis(clock.wall())),
            author: Author { comment: "created".to_owned(), ..this_process() },
            kind: Kind::Created,
            state: State::Active,
            until: None,
            confirmed: None,
            counts: Default::default(),
            rows: 0,
            digest: Digest::EMPTY,
        },
        prior: None,
        log: record::hash(&[]),
        request: None,
    };
    let write = || {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(schema::TABLES)?;
        transaction.execute_batch(schema::INDEX)?;
        schema::mark(&transaction)?;
        record.insert(&transaction)?;
        transaction.commit()
    };
    write().map_err(|error| StoreError::sql(path, "create it", &error))
}

/// Whether the newest revision can be read, the table hashes to it, and what waits can be taken back; what is wrong if not.
pub(crate) fn verify(connection: &Connection) -> Result<Sound, String> {
    if let Some(complaint) = schema::complaint(connection) {
        return Err(complaint);
    }
    let head = match record::newest(connection) {
        Ok(Some(head)) => head,
        Ok(None) => return Err("there is no revision".to_owned()),
        Err(RecordError::Broken) => return Err("the newest revision does not match its hash".to_owned()),
        Err(RecordError::Sql(error)) => return Err(error.to_string()),
    };
    let mut sound = Sound { head, eams: Vec::new(), lengths: Lengths::default(), ranges: Ranges::default() };
    let mut digest = Digest::EMPTY;
    scan(connection, |row| {
        sound.eams.push(row.eam());
        sound.lengths.add(&row.eam());
        sound.ranges.add(&row.eam());
        digest.add(Digest::of_row(&row));
    })?;
    let Revision { id, digest: expected, .. } = sound.head.revision;
    if digest != expected {
        return Err(format!("the table hashes to {digest}, revision {id} says {expected}"));
    }
    match record::undone(connection, &sound.head) {
        Ok(_) => Ok(sound),
        Err(RecordError::Broken) => {
            Err(format!("what revision {id} changed, which was not confirmed, does not match its hash"))
        }
        Err(RecordError::Sql(error)) => Err(format!("revision {id}, which was not confirmed: {error}")),
    }
}

/// Calls `each` with every row, by IPv4 prefix; what is wrong if one is none.
pub(crate) fn scan(connection: &Connection, mut each: impl FnMut(Row)) -> Result<(), String> {
    let mut select = connection
        .prepare("SELECT ipv4, ipv6, comment FROM eams ORDER BY ipv4")
        .map_err(|error| error.to_string())?;
    let mut rows = select.query([]).map_err(|error| error.to_string())?;
    while let Some(row) = rows.next().map_err(|error| error.to_string())? {
        each(row_of(row).ok_or("a row is no mapping")?);
    }
    Ok(())
}
