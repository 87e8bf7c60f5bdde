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
    rows: Vec<Row>,
}

struct Row {
    cells: Vec<String>,
    /// The cell that stands out, and whether it is good.
    word: Option<(usize, bool)>,
}

impl Table {
    pub(crate) fn new(header: &[(&'static str, Align)]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        // As wide as it will be on a terminal.
        let cells = cells.map(|cell| Shown(cell).to_string()).into();
        self.rows.push(Row { cells, word: None });
    }

    /// Has a cell of the last row stand out, green or red.
    pub(crate) fn stands_out(&mut self, column: usize, is_good: bool) {
        if let Some(row) = self.rows.last_mut() {
            row.word = Some((column, is_good));
        }
    }

    pub(crate) fn print(&self, paper: &mut Paper) -> Result<()> {
        let widths = self.widths(&vec![0; self.header.len()]);
        self.print_header(&widths, paper)?;
        self.print_rows(&widths, paper)
    }

    /// The width of each column, at least as given.
    pub(crate) fn widths(&self, least: &[usize]) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row.cells[column].chars().count());
            cells.chain([self.header[column].0.len(), least[column]]).max().unwrap_or(0)
        };
        (0..self.header.len()).map(width).collect()
    }

    /// The header, for rows that come in parts.
    pub(crate) fn print_header(&self, widths: &[usize], paper: &mut Paper) -> Result<()> {
        let titles = self.header.iter().map(|(title, _)| (*title, (*title).to_owned()));
        paper.heading(&self.line(widths, titles))
    }

    /// The rows so far.
    pub(crate) fn print_rows(&self, widths: &[usize], paper: &mut Paper) -> Result<()> {
        for row in &self.rows {
            let cells = row.cells.iter().enumerate().map(|(column, cell)| match row.word {
                Some((at, is_good)) if at == column => (cell.as_str(), paper.word(cell, is_good)),
                _ => (cell.as_str(), cell.clone()),
            });
            let line = self.line(widths, cells);
            paper.data(&line)?;
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

    /// Cells beside each other, each as it is counted and as it is written: colours take no room.
    fn line<'c>(&self, widths: &[usize], cells: impl Iterator<Item = (&'c str, String)>) -> String {
        let mut line = String::new();
        for (((cell, written), width), (_, align)) in cells.zip(widths).zip(&self.header) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let spare = " ".repeat(width.saturating_sub(cell.chars().count()));
            match align {
                Align::Left => line.extend([&*written, &*spare]),
                Align::Right => line.extend([&*spare, &*written]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}
