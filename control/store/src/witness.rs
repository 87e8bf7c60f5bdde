//! A line beside the database that names its newest revision.
//!
//! SQLite recovers from a damaged log by forgetting what follows the damage, and says nothing. A revision that was
//! acknowledged would be gone and nobody would know. So each commit also leaves its name here; when the database comes
//! back with an older one, the loss is seen and said. The line is not synced on its own: after a loss of power it may be
//! older than the database, which means nothing, but never newer unless the database lost something.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::revision::RevisionId;

/// Identifier (20 digits), digest (64), hash of both (64), with a space between and a line feed behind.
const LENGTH: usize = 20 + 1 + 64 + 1 + 64 + 1;

/// The open file.
#[derive(Debug)]
pub(crate) struct Witness(File);

/// What the line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Testimony {
    /// There is none.
    None,
    /// Something else stands there.
    Unreadable,
    /// This revision was the newest.
    Newest(RevisionId, Digest),
}

pub(crate) fn path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-head");
    name.into()
}

pub(crate) fn read(database: &Path) -> io::Result<Testimony> {
    match std::fs::read(path(database)) {
        Ok(bytes) if bytes.is_empty() => Ok(Testimony::None),
        Ok(bytes) => Ok(parse(&bytes).unwrap_or(Testimony::Unreadable)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Testimony::None),
        Err(error) => Err(error),
    }
}

impl Witness {
    pub(crate) fn open(database: &Path) -> io::Result<Self> {
        let options =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o640).open(path(database))?;
        Ok(Self(options))
    }

    /// Overwrites the line in one call, so that whoever ends the process finds the old one or the new one.
    pub(crate) fn write(&self, id: RevisionId, digest: Digest) -> io::Result<()> {
        self.0.write_all_at(line(id, digest).as_bytes(), 0)
    }
}

fn line(id: RevisionId, digest: Digest) -> String {
    let said = format!("{:020} {digest}", id.0);
    format!("{said} {}\n", blake3::hash(said.as_bytes()).to_hex())
}

fn parse(bytes: &[u8]) -> Option<Testimony> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() == LENGTH)?;
    let (id, digest) = (text.get(..20)?.parse().ok()?, text.get(21..85)?.parse().ok()?);
    (line(id, digest) == text).then_some(Testimony::Newest(id, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let digest = Digest::of_rows([]);
        let good = line(RevisionId(42), digest).into_bytes();
        assert_eq!(good.len(), LENGTH);
        assert_eq!(parse(&good), Some(Testimony::Newest(RevisionId(42), digest)));
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert_eq!(parse(&bad), None, "bit {at}");
        }
    }
}
