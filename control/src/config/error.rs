//! What can be wrong with a configuration: one variant per kind, each message naming the fault and the remedy.
//!
//! A [`Finding`] puts a kind where it belongs: file, line, column, key and value. It prints like a compiler:
//! `relay.toml:14:1: translation.lowest_ipv6_mtu = 1200: less than ...; use 1280 or more (RFC ...)`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use shown::Shown;

pub use super::problem::{Hint, Near, ProblemKind};
pub use super::warning::{Lint, Nested, WarningKind};

/// A position in a file. Line 0 stands for the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file, as the operator named it.
    pub file: Arc<Path>,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
}

impl Place {
    /// The file as a whole.
    pub fn file(file: &Path) -> Self {
        Self { file: file.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", Shown(self.file.display())),
            line => write!(f, "{}:{line}:{}", Shown(self.file.display()), self.column),
        }
    }
}

/// A problem or a warning, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding<K> {
    /// Where.
    pub place: Place,
    /// Key path such as `translation.role`; empty when no key is meant.
    pub key: String,
    /// The offending value as TOML writes it, if there is one.
    pub value: Option<String>,
    /// What is wrong, and the remedy.
    pub kind: K,
}

/// Something that must be corrected before the configuration can be used.
pub type Problem = Finding<ProblemKind>;
/// Something that works but that the operator probably does not want.
pub type Warning = Finding<WarningKind>;

impl<K: fmt::Display> Finding<K> {
    /// Keys, values and what parsers say are quoted from files.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, label: &str) -> fmt::Result {
        write!(f, "{}: {label}", self.place)?;
        match &self.value {
            Some(value) => write!(f, "{} = {}: ", Shown(&self.key), Shown(value))?,
            None if !self.key.is_empty() => write!(f, "{}: ", Shown(&self.key))?,
            None => {}
        }
        write!(f, "{}", Shown(&self.kind))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "")
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "warning: ")
    }
}

impl std::error::Error for Problem {}

/// The first [`Findings::LIMIT`] findings, and how many more there were: a million bad rows fill neither the screen
/// nor the memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings<T> {
    list: Vec<T>,
    more: usize,
}

/// Every problem found.
pub type Problems = Findings<Problem>;
/// Every warning given.
pub type Warnings = Findings<Warning>;

impl<T> Default for Findings<T> {
    fn default() -> Self {
        Self { list: Vec::new(), more: 0 }
    }
}

impl<T> Findings<T> {
    /// How many are kept.
    pub const LIMIT: usize = 100;

    /// Takes one more.
    pub fn push(&mut self, finding: T) {
        self.push_with(|| finding);
    }

    /// As [`push`](Self::push), for findings that may come by the million: one that would not be kept is not made.
    pub(super) fn push_with(&mut self, finding: impl FnOnce() -> T) {
        if self.list.len() < Self::LIMIT {
            self.list.push(finding());
        } else {
            self.more += 1;
        }
    }

    /// Those kept.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.list.iter()
    }

    /// How many were found beyond those kept.
    pub fn more(&self) -> usize {
        self.more
    }

    /// How many were found.
    pub fn len(&self) -> usize {
        self.list.len() + self.more
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl<K> Findings<Finding<K>> {
    /// Order of reading: file by file as first met, then by line.
    pub(super) fn sort(&mut self, first: &Path) {
        self.list.sort_by_key(|finding| {
            let Place { file, line, column } = &finding.place;
            (&**file != first, file.clone(), *line, *column)
        });
    }
}

impl<'a, T> IntoIterator for &'a Findings<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: fmt::Display> fmt::Display for Findings<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in self {
            writeln!(f, "{finding}")?;
        }
        if self.more > 0 {
            writeln!(f, "and {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// An EAM named in a message about another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EamRef {
    /// Its IPv4 prefix.
    pub ipv4: Ipv4Net,
    /// Its IPv6 prefix.
    pub ipv6: Ipv6Net,
    /// Where it stands.
    pub place: Place,
}

impl fmt::Display for EamRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EAM {} {} ({}:{})", self.ipv4, self.ipv6, self.place.file.display(), self.place.line)
    }
}
