//! Who a row belongs to. The store's rows are changed here; those of the configuration and its files are changed there.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::eam::{Eam, Key4, Key6, Row};
use crate::view::Lengths;

/// Where a row is kept, and so where it is edited.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Here.
    Store,
    /// An `[[eam]]` of the configuration.
    Config {
        /// The configuration's name.
        file: Arc<str>,
        /// Counted from 1.
        line: u32,
    },
    /// One of `eam_files`.
    File {
        /// As the configuration calls it.
        name: Arc<str>,
        /// Counted from 1.
        line: u32,
    },
}

/// Short and stable: `store`, `config` or `file:NAME:LINE`.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("store"),
            Self::Config { .. } => f.write_str("config"),
            Self::File { name, line } => write!(f, "file:{name}:{line}"),
        }
    }
}

impl Owner {
    /// File and line, for messages.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Store => "the store".to_owned(),
            Self::Config { file, line } => format!("{file} line {line}"),
            Self::File { name, line } => format!("{name} line {line}"),
        }
    }
}

/// A row and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRow {
    /// The row.
    pub row: Row,
    /// Whose it is.
    pub owner: Owner,
}

impl fmt::Display for OwnedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EAM {} ({})", self.row.eam(), self.owner.place())
    }
}

/// The rows that the configuration and its files own. About 36 bytes each.
#[derive(Debug, Clone, Default)]
pub struct Foreign {
    /// By IPv4 prefix.
    rows: Vec<Held>,
    /// The same by IPv6 prefix.
    by_ipv6: Vec<u32>,
    sources: Vec<Owner>,
    lengths: Lengths,
    comments: HashMap<Key4, Box<str>>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    eam: Eam,
    source: u16,
    line: u32,
}

impl Foreign {
    /// From rows in any order. The configuration has seen to it that no two share a prefix.
    pub fn new(rows: impl IntoIterator<Item = OwnedRow>) -> Self {
        let mut foreign = Self::default();
        for OwnedRow { row, owner } in rows {
            let (source, line) = foreign.source(owner);
            if let Some(comment) = row.comment() {
                foreign.comments.insert(row.eam().ipv4().into(), comment.into());
            }
            foreign.lengths.add(&row.eam());
            foreign.rows.push(Held { eam: row.eam(), source, line });
        }
        foreign.rows.sort_unstable_by_key(|held| Key4::from(held.eam.ipv4()));
        foreign.rows.shrink_to_fit();
        foreign.by_ipv6 = (0..).take(foreign.rows.len()).collect();
        foreign.by_ipv6.sort_unstable_by_key(|at| Key6::from(foreign.rows[*at as usize].eam.ipv6()));
        foreign
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All mappings, by IPv4 prefix.
    pub fn eams(&self) -> impl Iterator<Item = Eam> + '_ {
        self.rows.iter().map(|held| held.eam)
    }

    /// The place of an owner among the sources, and its line. Rows come file by file, so the last is nearly always it.
    fn source(&mut self, owner: Owner) -> (u16, u32) {
        let (source, line) = match owner {
            Owner::Store => (Owner::Store, 0),
            Owner::Config { file, line } => (Owner::Config { file, line: 0 }, line),
            Owner::File { name, line } => (Owner::File { name, line: 0 }, line),
        };
        let at = self.sources.iter().rposition(|known| *known == source).unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len() - 1
        });
        (u16::try_from(at).expect("a configuration has few files"), line)
    }

    fn owned(&self, held: Held) -> OwnedRow {
        let comment = self.comments.get(&held.eam.ipv4().into()).map(|comment| &**comment);
        let owner = match &self.sources[usize::from(held.source)] {
            Owner::Store => Owner::Store,
            Owner::Config { file, .. } => Owner::Config { file: file.clone(), line: held.line },
            Owner::File { name, .. } => Owner::File { name: name.clone(), line: held.line },
        };
        OwnedRow { row: Row::new(held.eam, comment).unwrap_or_else(|_| held.eam.into()), owner }
    }

    pub(crate) const fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    pub(crate) fn by_ipv4(&self, key: Key4) -> Option<OwnedRow> {
        let at = self.rows.binary_search_by_key(&key, |held| held.eam.ipv4().into()).ok()?;
        Some(self.owned(self.rows[at]))
    }

    pub(crate) fn by_ipv6(&self, key: Key6) -> Option<OwnedRow> {
        let ipv6 = |at: &u32| Key6::from(self.rows[*at as usize].eam.ipv6());
        let at = self.by_ipv6.binary_search_by_key(&key, ipv6).ok()?;
        Some(self.owned(self.rows[self.by_ipv6[at] as usize]))
    }

    /// Rows from `first` to `last`, by IPv4 prefix.
    pub(crate) fn between_ipv4(&self, first: Key4, last: Key4) -> impl Iterator<Item = OwnedRow> + '_ {
        let from = self.rows.partition_point(|held| Key4::from(held.eam.ipv4()) < first);
        let rows = self.rows[from..].iter().take_while(move |held| Key4::from(held.eam.ipv4()) <= last);
        rows.map(|held| self.owned(*held))
    }

    /// Rows from `first` to `last`, by IPv6 prefix.
    pub(crate) fn between_ipv6(&self, first: Key6, last: Key6) -> impl Iterator<Item = OwnedRow> + '_ {
        let held = |at: &u32| self.rows[*at as usize];
        let from = self.by_ipv6.partition_point(|at| Key6::from(held(at).eam.ipv6()) < first);
        let rows = self.by_ipv6[from..].iter().map(held);
        rows.take_while(move |held| Key6::from(held.eam.ipv6()) <= last).map(|held| self.owned(held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(ipv4: &str, ipv6: &str, owner: Owner, comment: Option<&str>) -> OwnedRow {
        let eam = Eam::new(ipv4.parse().unwrap(), ipv6.parse().unwrap()).unwrap();
        OwnedRow { row: Row::new(eam, comment).unwrap(), owner }
    }

    #[test]
    fn every_row_keeps_its_owner_and_is_found_from_both_sides() {
        let file = |name: &str, line| Owner::File { name: name.into(), line };
        let rows = [
            owned("192.0.2.9/32", "2001:db8::1/128", file("a.csv", 3), None),
            owned("192.0.2.1/32", "2001:db8::9/128", file("b.json", 1), Some("web")),
            owned("192.0.2.5/32", "2001:db8::5/128", file("a.csv", 9), None),
            owned("192.0.2.7/32", "2001:db8::7/128", Owner::Config { file: "x.toml".into(), line: 8 }, None),
        ];
        let foreign = Foreign::new(rows.clone());
        assert_eq!(foreign.len(), 4);
        for row in &rows {
            assert_eq!(foreign.by_ipv4(row.row.eam().ipv4().into()).as_ref(), Some(row));
            assert_eq!(foreign.by_ipv6(row.row.eam().ipv6().into()).as_ref(), Some(row));
        }
        let some: Vec<_> = foreign
            .between_ipv6(Key6::from(rows[2].row.eam().ipv6()), Key6::from(rows[1].row.eam().ipv6()))
            .collect();
        assert_eq!(some, [rows[2].clone(), rows[3].clone(), rows[1].clone()]);
        assert_eq!(
            rows.map(|row| row.owner.to_string()),
            ["file:a.csv:3", "file:b.json:1", "file:a.csv:9", "config"]
        );
    }
}
