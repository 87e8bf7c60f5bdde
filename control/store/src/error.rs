//! What can go wrong with the file, in words an operator can act on.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// What the store could not do, to which file, why, and what helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store {}: cannot {action}: {fault}{}", .path.display(), Detail(.detail))]
pub struct StoreError {
    /// The database.
    pub path: PathBuf,
    /// What was to be done.
    pub action: &'static str,
    /// Why it could not.
    pub fault: Fault,
    /// In SQLite's or the kernel's words. May be empty.
    pub detail: String,
}

/// Causes, each with its remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// No space, or a quota or limit.
    #[error("the disk is full: free space on its file system and repeat the request")]
    Full,
    /// A file system or file that cannot be written.
    #[error(
        "it is read-only: remount its file system writable, or give the relay's user the file and its directory"
    )]
    ReadOnly,
    /// Another process has it.
    #[error(
        "another process has it locked: one relay at a time; end the other one, or give this one a store of its own"
    )]
    Locked,
    /// Not ours to open.
    #[error("access is refused: the file and its directory must belong to the relay's user")]
    Permission,
    /// No such directory.
    #[error("its directory does not exist: create it, owned by the relay's user")]
    NoDirectory,
    /// The disk does not do what it should.
    #[error(
        "the disk refuses: look for a quota, a limit on file sizes, or a failure in the kernel's log; then repeat the request"
    )]
    Io,
    /// What is in it is not what was written.
    #[error("it is damaged: start the relay again, which saves what is sound, or restore a copy")]
    Damaged,
    /// Another program's file.
    #[error("it is no store of this relay: name another file as [control] store")]
    NotAStore,
    /// A newer release wrote it.
    #[error("a newer release wrote it: start that release, or name another file as [control] store")]
    TooNew,
    /// A setting did not hold, so nothing could be promised.
    #[error("SQLite does not keep a setting that durability depends on: use a local file system")]
    Setting,
    /// The database is gone, what stands beside it is not.
    #[error(
        "the database is gone, the file beside it that names its last revision is not: \
             restore a copy, or remove that file to begin with an empty store"
    )]
    Gone,
    /// The database or its log was removed or replaced while it was open.
    #[error(
        "its file was removed or replaced while the relay runs, so a restart would lose what is in force: put the file \
             back, or `borderctl eam export --owner store >FILE`, restart the relay, and import that file"
    )]
    Removed,
    /// A commit failed in a way that leaves open whether it is on disk.
    #[error(
        "an earlier write failed and could not be undone, so nothing is written until the disk takes writes again"
    )]
    InDoubt,
    /// Anything else.
    #[error("SQLite refuses")]
    Other,
}

struct Detail<'d>(&'d str);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

impl StoreError {
    pub(crate) fn new(path: &Path, action: &'static str, fault: Fault, detail: impl fmt::Display) -> Self {
        Self { path: path.to_owned(), action, fault, detail: detail.to_string() }
    }

    pub(crate) fn sql(path: &Path, action: &'static str, error: &rusqlite::Error) -> Self {
        Self::new(path, action, fault_of(error), error)
    }

    pub(crate) fn io(path: &Path, action: &'static str, error: &io::Error) -> Self {
        let fault = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Fault::Full
            }
            io::ErrorKind::ReadOnlyFilesystem => Fault::ReadOnly,
            io::ErrorKind::PermissionDenied => Fault::Permission,
            io::ErrorKind::NotFound => Fault::NoDirectory,
            _ => Fault::Io,
        };
        Self::new(path, action, fault, error)
    }
}

pub(crate) fn fault_of(error: &rusqlite::Error) -> Fault {
    let rusqlite::Error::SqliteFailure(cause, _) = error else {
        // A cell of another type than was written.
        return Fault::Damaged;
    };
    match cause.code {
        ErrorCode::DiskFull => Fault::Full,
        ErrorCode::ReadOnly => Fault::ReadOnly,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            Fault::Locked
        }
        ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => Fault::Permission,
        ErrorCode::SystemIoFailure => Fault::Io,
        ErrorCode::DatabaseCorrupt | ErrorCode::TypeMismatch => Fault::Damaged,
        ErrorCode::NotADatabase => Fault::NotAStore,
        _ => Fault::Other,
    }
}
