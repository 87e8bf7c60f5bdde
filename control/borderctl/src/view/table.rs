//! Columns.

use shown::Shown;

use super::Paper;
use crate::error::Result;

/// Which side of its column a text stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a header, each column as wide as it must be.
pub(crate) struct Table {
    header: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[(&'static str, Align)]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        // As wide as it will be on a terminal.
        self.rows.push(cells.map(|cell| Shown(cell).to_string()).into());
    }

    pub(crate) fn print(&self, paper: &mut Paper) -> Result<()> {
        let widths = self.widths(&vec![0; self.header.len()]);
        paper.heading(&self.line(&widths, self.header.iter().map(|(title, _)| *title)))?;
        self.print_rows(&widths, paper)
    }

    /// The width of each column, at least as given.
    pub(crate) fn widths(&self, least: &[usize]) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.header[column].0.len(), least[column]]).max().unwrap_or(0)
        };
        (0..self.header.len()).map(width).collect()
    }

    /// The header, for rows that come in parts.
    pub(crate) fn print_header(&self, widths: &[usize], paper: &mut Paper) -> Result<()> {
        paper.heading(&self.line(widths, self.header.iter().map(|(title, _)| *title)))
    }

    /// The rows so far.
    pub(crate) fn print_rows(&self, widths: &[usize], paper: &mut Paper) -> Result<()> {
        for row in &self.rows {
            paper.line(&self.line(widths, row.iter().map(String::as_str)))?;
        }
        Ok(())
    }

    /// Makes room for the next part.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    fn line<'c>(&self, widths: &[usize], cells: impl Iterator<Item = &'c str>) -> String {
        let mut line = String::new();
        for ((cell, width), (_, align)) in cells.zip(widths).zip(&self.header) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            match align {
                Align::Left => line += &format!("{cell:<width$}"),
                Align::Right => line += &format!("{cell:>width$}"),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}
