//! From a line to its fields.

use std::borrow::Cow;
use std::fmt;

/// What stands between the fields of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `|`
    Bar,
    /// Tabs, perhaps with blanks.
    Tab,
    /// Blanks.
    Blank,
}

impl Separator {
    fn character(self) -> Option<char> {
        match self {
            Self::Comma => Some(','),
            Self::Semicolon => Some(';'),
            Self::Bar => Some('|'),
            Self::Tab | Self::Blank => None,
        }
    }

    /// Whether a line has it, blanks apart, which are in all of them.
    pub(crate) fn is_in(self, line: &str) -> bool {
        self.character().is_some_and(|character| line.contains(character))
    }

    fn of(character: char) -> Option<Self> {
        match character {
            ',' => Some(Self::Comma),
            ';' => Some(Self::Semicolon),
            '|' => Some(Self::Bar),
            '\t' => Some(Self::Tab),
            ' ' => Some(Self::Blank),
            _ => None,
        }
    }
}

impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Comma => "comma",
            Self::Semicolon => "semicolon",
            Self::Bar => "bar",
            Self::Tab => "tab",
            Self::Blank => "blank",
        })
    }
}

/// What a spreadsheet's `sep=` says: `Some(None)` leaves it to each line.
pub(crate) fn declared(line: &str) -> Option<Option<Separator>> {
    let line = line.trim_matches('"');
    let (key, value) = line.split_at_checked(4)?;
    if !key.eq_ignore_ascii_case("sep=") {
        return None;
    }
    match value {
        // The tab itself went with the blanks at the end of the line.
        "" | "\\t" => Some(Some(Separator::Tab)),
        value => {
            let mut characters = value.chars();
            let separator = characters.next().and_then(Separator::of);
            characters.next().is_none().then_some(separator)
        }
    }
}

/// The separator behind the first field of a line.
pub(crate) fn detect(line: &str) -> Option<Separator> {
    let start = match line.strip_prefix('"') {
        Some(quoted) => closing_quote(quoted)? + 2,
        None => 0,
    };
    let rest = &line[start..];
    let at = rest.find([',', ';', '|', '\t', ' '])?;
    let blanks = &rest[at..];
    let after = blanks.trim_start();
    match after.chars().next().and_then(Separator::of) {
        Some(separator) => Some(separator),
        None if blanks[..blanks.len() - after.len()].contains('\t') => Some(Separator::Tab),
        None => Some(Separator::Blank),
    }
}

/// Quotes that do not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unbalanced;

/// Fields that are kept: more than any table has columns before the last one that matters.
pub(crate) const KEPT: usize = 8;

/// The first fields of a line and how many there are, blanks around each removed. Between blanks, all that follows the
/// second field is the third.
pub(crate) fn fields(line: &str, separator: Separator) -> Result<([Cow<'_, str>; KEPT], usize), Unbalanced> {
    let mut row = <[Cow<'_, str>; KEPT]>::default();
    let mut count = 0;
    let mut rest = Some(line);
    while let Some(text) = rest {
        let text = text.trim_start();
        let (field, after) = match separator.character() {
            Some(character) => field(text, character)?,
            None if count == 2 => (remark(text)?, None),
            None => word(text)?,
        };
        if let Some(slot) = row.get_mut(count) {
            *slot = field;
        }
        count += 1;
        rest = after;
    }
    Ok((row, count))
}

/// One field, and what follows its separator.
fn field(text: &str, separator: char) -> Result<(Cow<'_, str>, Option<&str>), Unbalanced> {
    if !text.starts_with('"') {
        return Ok(match text.split_once(separator) {
            Some((field, after)) => (field.trim_end().into(), Some(after)),
            None => (text.trim_end().into(), None),
        });
    }
    let (field, after) = quoted(text)?;
    match after {
        "" => Ok((field, None)),
        after => after.strip_prefix(separator).map(|after| (field, Some(after))).ok_or(Unbalanced),
    }
}

/// One field between blanks, and what follows them.
fn word(text: &str) -> Result<(Cow<'_, str>, Option<&str>), Unbalanced> {
    if text.starts_with('"') {
        let (field, after) = quoted(text)?;
        return Ok((field, (!after.is_empty()).then_some(after)));
    }
    Ok(match text.split_once([' ', '\t']) {
        Some((field, after)) => (field.into(), Some(after)),
        None => (text.into(), None),
    })
}

/// The note at the end of a line of blanks, with or without `#`.
fn remark(text: &str) -> Result<Cow<'_, str>, Unbalanced> {
    if text.starts_with('"') {
        return match quoted(text)? {
            (field, "") => Ok(field),
            _ => Err(Unbalanced),
        };
    }
    Ok(text.trim_start_matches('#').trim().into())
}

/// A quoted field at the start of a text, and what follows it.
fn quoted(text: &str) -> Result<(Cow<'_, str>, &str), Unbalanced> {
    let text = text.strip_prefix('"').ok_or(Unbalanced)?;
    let end = closing_quote(text).ok_or(Unbalanced)?;
    let field = &text[..end];
    let field = if field.contains('"') { field.replace("\"\"", "\"").into() } else { field.into() };
    Ok((field, text[end + 1..].trim_start()))
}

/// The offset of the quote that ends a quoted field; a doubled one does not.
fn closing_quote(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let quote = from + text[from..].find('"')?;
        if !text[quote + 1..].starts_with('"') {
            return Some(quote);
        }
        from = quote + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Option<(Vec<String>, usize)> {
        let fields = fields(line, Separator::Comma).ok();
        fields.map(|(row, count)| (row[..3].iter().map(ToString::to_string).collect(), count))
    }

    #[test]
    fn fields_follow_rfc_4180_within_a_line() {
        let cases: &[(&str, [&str; 3], usize)] = &[
            ("a,b", ["a", "b", ""], 2),
            (" a , b , c d ", ["a", "b", "c d"], 3),
            ("a,b,", ["a", "b", ""], 3),
            ("\"a\",\"b\",\"c, d\"", ["a", "b", "c, d"], 3),
            ("a,b,\"say \"\"hi\"\"\"", ["a", "b", "say \"hi\""], 3),
            ("a,b,\"\"", ["a", "b", ""], 3),
            ("a,b,\"\"\"\"", ["a", "b", "\""], 3),
            ("a,b,c \"d\"", ["a", "b", "c \"d\""], 3),
            ("a,b,c,d", ["a", "b", "c"], 4),
            ("a", ["a", "", ""], 1),
        ];
        for (line, row, count) in cases {
            let row = row.iter().map(ToString::to_string).collect();
            assert_eq!(split(line), Some((row, *count)), "{line}");
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in ["\"a,b", "a,\"b\"c,d", "a,b,\"\"\"", "\""] {
            assert_eq!(split(line), None, "{line}");
        }
    }

    #[test]
    fn the_separator_is_what_stands_behind_the_first_field() {
        for (line, separator) in [
            ("a,b;c", Some(Separator::Comma)),
            ("a ; b,c", Some(Separator::Semicolon)),
            ("a \t b", Some(Separator::Tab)),
            ("a  b, c", Some(Separator::Blank)),
            ("\"a, b\";c", Some(Separator::Semicolon)),
            ("a | b", Some(Separator::Bar)),
            ("a", None),
            ("\"a", None),
        ] {
            assert_eq!(detect(line), separator, "{line}");
        }
    }
}
