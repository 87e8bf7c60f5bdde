//! Files that are read: finished ones of a bearable size, and nothing that waits, never ends, or is being written.

use std::fs::{File, FileType, Metadata};
use std::io::{self, BufReader, Read, Take};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags, open};

use super::problem::ProblemKind;

/// Bytes of a configuration: a hundred thousand `[[eam]]` tables are a tenth of it.
pub(super) const CONFIG_BYTES: u64 = 64 << 20;
/// Bytes of an EAM file: [`ROWS`] rows of 128 bytes.
pub(super) const EAM_FILE_BYTES: u64 = 512 << 20;
/// Mappings of a configuration. Four times what the relay is made for; they take a gigabyte.
pub(super) const ROWS: usize = 4_000_000;
/// How much of a file is in memory at a time.
const CHUNK: usize = 256 * 1024;

/// A file that is being read.
pub(super) struct Input {
    reader: BufReader<Take<File>>,
    at_start: (u64, Option<SystemTime>),
    limit: u64,
}

impl Input {
    /// Opens a regular file of at most `limit` bytes. What is no regular file is not waited for.
    pub(super) fn open(path: &Path, limit: u64) -> Result<Self, ProblemKind> {
        // Without NONBLOCK, opening a FIFO waits for whoever writes to it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(open(path, flags, Mode::empty()).map_err(|error| unreadable(&error.into()))?);
        let metadata = file.metadata().map_err(|error| unreadable(&error))?;
        if metadata.is_dir() {
            return Err(ProblemKind::Unreadable { reason: io::ErrorKind::IsADirectory });
        }
        if !metadata.is_file() {
            return Err(ProblemKind::NotAFile { what: kind(metadata.file_type()) });
        }
        if metadata.len() > limit {
            return Err(ProblemKind::FileTooLarge { bytes: metadata.len(), max: limit });
        }
        let at_start = stamp(&metadata);
        Ok(Self { reader: BufReader::with_capacity(CHUNK, file.take(limit + 1)), at_start, limit })
    }

    /// Where to read it.
    pub(super) fn reader(&mut self) -> &mut BufReader<Take<File>> {
        &mut self.reader
    }

    /// Whether what was read is one file: call it at the end.
    pub(super) fn finish(&self) -> Result<(), ProblemKind> {
        let take = self.reader.get_ref();
        let metadata = take.get_ref().metadata().map_err(|error| unreadable(&error))?;
        if take.limit() == 0 {
            return Err(ProblemKind::FileTooLarge { bytes: self.limit + 1, max: self.limit });
        }
        if stamp(&metadata) != self.at_start {
            return Err(ProblemKind::ChangedWhileRead);
        }
        Ok(())
    }
}

/// Reads a whole text.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<String, ProblemKind> {
    let mut input = Input::open(path, limit)?;
    let mut bytes = Vec::new();
    input.reader().read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    input.finish()?;
    String::from_utf8(bytes).map_err(|_| ProblemKind::NotUtf8)
}

pub(super) fn unreadable(error: &io::Error) -> ProblemKind {
    ProblemKind::Unreadable { reason: error.kind() }
}

fn stamp(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

fn kind(file_type: FileType) -> &'static str {
    if file_type.is_fifo() {
        "a FIFO"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    #[test]
    fn only_regular_files_are_read_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let refused = |path: &Path| read_text(path, 100).unwrap_err();
        assert_eq!(refused(&fifo), ProblemKind::NotAFile { what: "a FIFO" });
        assert_eq!(refused(Path::new("/dev/zero")), ProblemKind::NotAFile { what: "a device" });
        let reason = io::ErrorKind::IsADirectory;
        assert_eq!(refused(directory.path()), ProblemKind::Unreadable { reason });
    }

    #[test]
    fn size_is_limited_at_the_start_and_while_it_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, [b'x'; 100]).unwrap();
        assert_eq!(read_text(&path, 100).unwrap().len(), 100);
        assert_eq!(read_text(&path, 99), Err(ProblemKind::FileTooLarge { bytes: 100, max: 99 }));
        // A file of the kernel: it has no size, and more in it.
        assert!(matches!(
            read_text(Path::new("/proc/self/status"), 99),
            Err(ProblemKind::FileTooLarge { max: 99, .. })
        ));
    }

    #[test]
    fn a_file_that_is_written_meanwhile_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "half").unwrap();
        let mut input = Input::open(&path, 100).unwrap();
        let mut text = String::new();
        input.reader().read_to_string(&mut text).unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b" and half").unwrap();
        assert_eq!(input.finish(), Err(ProblemKind::ChangedWhileRead));
    }
}
