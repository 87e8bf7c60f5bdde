//! The EAMs of a configuration, in columns: a million rows take 30 MB, and what a running relay needs of them 22.

use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use super::error::{EamRef, Place};
use super::model::Eam;
use super::tree::to_u32;

/// EAMs in the order they were written, each with its place and the operator's note. It reads as a slice of [`Eam`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Eams {
    rows: Vec<Eam>,
    /// Line and column of each row.
    spots: Vec<(u32, u32)>,
    /// Each file, with the first row that was written there.
    files: Vec<(usize, Arc<Path>)>,
    comments: Comments,
}

/// The notes of those rows that have one, end to end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Comments {
    text: String,
    /// Row, and where its note ends; that of the row before is where it starts.
    ends: Vec<(u32, usize)>,
}

/// A place in a file that is being read: what a [`Place`] is made of when a message needs one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) file: &'a Arc<Path>,
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Spot<'_> {
    pub(super) fn place(self) -> Place {
        Place { file: self.file.clone(), line: self.line, column: self.column }
    }
}

impl Eams {
    /// Where a row was written.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn place(&self, row: usize) -> Place {
        let (line, column) = self.spots[row];
        let after = self.files.partition_point(|(first, _)| *first <= row);
        Place { file: self.files[after - 1].1.clone(), line, column }
    }

    /// A row as messages about others name it.
    pub(super) fn reference(&self, row: usize) -> EamRef {
        let Eam { ipv4, ipv6 } = self.rows[row];
        EamRef { ipv4, ipv6, place: self.place(row) }
    }

    /// The operator's note on a row.
    pub fn comment(&self, row: usize) -> Option<&str> {
        self.comments.get(to_u32(row))
    }

    /// The rows alone; what only messages need is freed.
    pub fn into_rows(self) -> Vec<Eam> {
        self.rows
    }

    pub(super) fn push(&mut self, eam: Eam, spot: Spot<'_>, comment: Option<&str>) {
        let row = self.rows.len();
        if self.files.last().is_none_or(|(_, file)| !Arc::ptr_eq(file, spot.file)) {
            self.files.push((row, spot.file.clone()));
        }
        if let Some(comment) = comment {
            self.comments.push(to_u32(row), comment);
        }
        self.rows.push(eam);
        self.spots.push((spot.line, spot.column));
    }
}

impl Deref for Eams {
    type Target = [Eam];

    fn deref(&self) -> &[Eam] {
        &self.rows
    }
}

impl<'a> IntoIterator for &'a Eams {
    type Item = &'a Eam;
    type IntoIter = std::slice::Iter<'a, Eam>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.iter()
    }
}

impl Comments {
    fn push(&mut self, row: u32, comment: &str) {
        self.text.push_str(comment);
        self.ends.push((row, self.text.len()));
    }

    fn get(&self, row: u32) -> Option<&str> {
        let at = self.ends.binary_search_by_key(&row, |(row, _)| *row).ok()?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before].1);
        self.text.get(Range { start, end: self.ends[at].1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_keeps_its_place_and_its_note() {
        let files: [Arc<Path>; 2] = [Path::new("a.csv").into(), Path::new("b.csv").into()];
        let eam = Eam { ipv4: "192.0.2.1/32".parse().unwrap(), ipv6: "2001:db8::1/128".parse().unwrap() };
        let mut eams = Eams::default();
        let rows =
            [(0, 1, None), (0, 2, Some("one")), (1, 7, Some("two")), (1, 9, None), (1, 10, Some("three"))];
        for (file, line, comment) in rows {
            eams.push(eam, Spot { file: &files[file], line, column: 1 }, comment);
        }
        for (row, (file, line, comment)) in rows.into_iter().enumerate() {
            assert_eq!(eams.place(row), Place { file: files[file].clone(), line, column: 1 });
            assert_eq!(eams.comment(row), comment);
        }
        assert_eq!((eams.len(), eams.into_rows().len()), (5, 5));
    }
}
