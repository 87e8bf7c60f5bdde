//! Whether the files that are open still stand at their paths.
//!
//! SQLite goes on with files that were removed or replaced, and calls durable what nobody will find again. So each commit
//! looks whether the paths still lead to the files that were opened.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The database and its log, as they were when the store was opened.
#[derive(Debug)]
pub(crate) struct Files([(PathBuf, Option<Identity>); 2]);

/// Device and inode.
type Identity = (u64, u64);

impl Files {
    /// Those that stand there now.
    pub(crate) fn of(database: &Path) -> Self {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Self([database.to_owned(), log.into()].map(|path| {
            let identity = identity(&path).ok();
            (path, identity)
        }))
    }

    /// The first that is gone, or is another one by now.
    pub(crate) fn lost(&self) -> Option<&Path> {
        let is_lost = |(path, opened): &&(PathBuf, Option<Identity>)| {
            opened.is_some_and(|opened| match identity(path) {
                Ok(found) => found != opened,
                // A directory that may not be entered any more, as by a relay that gave its rights away, tells nothing.
                Err(error) => {
                    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
                }
            })
        };
        self.0.iter().find(is_lost).map(|(path, _)| path.as_path())
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    std::fs::metadata(path).map(|facts| (facts.dev(), facts.ino()))
}
