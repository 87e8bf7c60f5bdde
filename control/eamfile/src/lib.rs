//! The rows of an EAM table as people have them: two columns and perhaps a note, in any order that is unambiguous, with
//! commas, semicolons, tabs, blanks or bars between them.
//!
//! What enters: one line of a file after the other ([`Rows::line`]). What leaves: an IPv4 text, an IPv6 text and a note, or
//! a [`RowError`] that names the separator seen and shows the line as it should be. What this crate refuses to judge: whether
//! the two texts are prefixes; it looks at them only to tell the columns apart.
//!
//! | Taken | Where it comes from |
//! | --- | --- |
//! | `192.0.2.1,2001:db8::1,www` | CSV; fields may be quoted (RFC 4180) but not go on in the next line |
//! | `www,2001:db8::1,192.0.2.1` | a spreadsheet with a column order of its own |
//! | `id;IPv6;name;IPv4` and rows such as `7;2001:db8::1;www;192.0.2.1` | one that names its columns and has more of them |
//! | `192.0.2.1;2001:db8::1` | a spreadsheet, perhaps with `sep=;` before it |
//! | `192.0.2.1 2001:db8::1 # www` | by hand; blanks and tabs in any number |
//! | `2001:db8::1/128,192.0.2.1/32` | `jool_siit eamt display --csv`, with its header line |
//! | <code>&#124; 2001:db8::1/128 &#124; 192.0.2.1/32 &#124;</code> | `jool_siit eamt display`, with its borders |
//! | `map 192.0.2.1 2001:db8::1` | TAYGA |
//!
//! Lines that are empty or start with `#` say nothing, nor does a first line with the names of the columns.
#![forbid(unsafe_code)]

mod columns;
mod error;
mod split;

use std::borrow::Cow;

use columns::Columns;
pub use error::RowError;
pub use split::Separator;

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<'l> {
    /// Nothing: empty, a comment, a header, a border, `sep=`.
    Nothing,
    /// A mapping.
    Row(Row<'l>),
}

/// A mapping as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row<'l> {
    /// The IPv4 prefix; that it is one is not known.
    pub ipv4: Cow<'l, str>,
    /// The IPv6 prefix; that it is one is not known.
    pub ipv6: Cow<'l, str>,
    /// The operator's note, if there is one.
    pub comment: Option<Cow<'l, str>>,
}

/// Reads one file, line by line.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// What `sep=` said.
    separator: Option<Separator>,
    /// What the header said, and what stood between its words.
    columns: Option<Columns>,
    between: Option<Separator>,
    /// A row or a header was there already.
    has_begun: bool,
}

impl Rows {
    /// At the start of a file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next line; its end may still be there.
    ///
    /// # Errors
    /// [`RowError`]: another number of fields, or quotes that do not match.
    pub fn line<'l>(&mut self, line: &'l str) -> Result<Line<'l>, RowError> {
        let line = if self.has_begun { line } else { line.strip_prefix('\u{feff}').unwrap_or(line) };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || is_border(line) {
            return Ok(Line::Nothing);
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            if let Some(separator) = split::declared(line) {
                self.separator = separator;
                // What follows may still be a header.
                self.has_begun = false;
                return Ok(Line::Nothing);
            }
            if let Ok((fields, found, between)) = self.fields(line)
                && let Some(columns) = Columns::named(&fields, found)
            {
                (self.columns, self.between) = (Some(columns), between);
                return Ok(Line::Nothing);
            }
            if is_header(line) {
                return Ok(Line::Nothing);
            }
        }
        self.row(line).map(Line::Row)
    }

    fn row<'l>(&self, line: &'l str) -> Result<Row<'l>, RowError> {
        let (mut fields, found, separator) = self.fields(line)?;
        let columns = match self.columns {
            Some(columns) => columns.of_a_row(found),
            None => Columns::seen(&fields, found),
        };
        let Columns { ipv4, ipv6, comment, .. } =
            columns.ok_or_else(|| RowError::fields(found, separator, line))?;
        let (first, second) = (std::mem::take(&mut fields[ipv4]), std::mem::take(&mut fields[ipv6]));
        let comment =
            comment.map(|column| std::mem::take(&mut fields[column])).filter(|text| !text.is_empty());
        // No IPv4 address has a colon, and every IPv6 address has one.
        let is_swapped = first.contains(':') && !second.contains(':');
        let (ipv4, ipv6) = if is_swapped { (second, first) } else { (first, second) };
        Ok(Row { ipv4: bare(ipv4), ipv6: bare(ipv6), comment })
    }

    /// The fields of a line, how many there are, and what stands between them.
    fn fields<'l>(&self, line: &'l str) -> Result<(Fields<'l>, usize, Option<Separator>), RowError> {
        let (text, separator) = if let Some(mapping) = tayga(line) {
            (mapping, Some(Separator::Blank))
        } else if let Some(cells) = line.strip_prefix('|') {
            (cells.strip_suffix('|').unwrap_or(cells), Some(Separator::Bar))
        } else {
            let between = self.between.filter(|between| between.is_in(line));
            (line, self.separator.or(between).or_else(|| split::detect(line)))
        };
        let (fields, found) = match separator {
            Some(separator) => split::fields(text, separator)
                .map_err(|split::Unbalanced| RowError::quotes(separator, line))?,
            None => {
                let mut fields = Fields::default();
                fields[0] = text.into();
                (fields, 1)
            }
        };
        Ok((fields, found, separator))
    }
}

type Fields<'l> = [Cow<'l, str>; split::KEPT];

/// A field of addresses without the remark behind it.
fn bare(field: Cow<'_, str>) -> Cow<'_, str> {
    match field.find('#') {
        None => field,
        Some(at) => field[..at].trim_end().to_owned().into(),
    }
}

/// What follows TAYGA's directive.
fn tayga(line: &str) -> Option<&str> {
    let (directive, rest) = line.split_at_checked(3)?;
    let is_map = directive.eq_ignore_ascii_case("map") && rest.starts_with([' ', '\t']);
    is_map.then(|| rest.trim_start())
}

/// The line above, between or below the rows of a drawn table.
fn is_border(line: &str) -> bool {
    line.starts_with(['+', '|', '-']) && line.bytes().all(|byte| b"+-=| ".contains(&byte))
}

/// The names of the columns, in any order and with any separator: `ipv4,ipv6,comment`, `IPv6 Prefix;IPv4 Prefix`.
fn is_header(line: &str) -> bool {
    let words: Vec<String> = line
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let has = |name| words.iter().any(|word| word == name);
    let known = ["ipv4", "ipv6", "prefix", "address", "comment", "note", "name", "description"];
    has("ipv4") && has("ipv6") && words.iter().all(|word| known.contains(&word.as_str()))
}
