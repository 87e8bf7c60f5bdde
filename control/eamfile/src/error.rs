//! What can be wrong with a line.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use shown::is_obeyed;

use crate::split::Separator;

/// Why a line is no row, with the line as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A row with another number of fields.
    #[error("fields found: {found}, separator seen: {}; write `{should_be}`", Seen(*.separator))]
    Fields {
        /// How many there are.
        found: usize,
        /// What stands between them.
        separator: Option<Separator>,
        /// The row as it should be.
        should_be: String,
    },
    /// A quote that does not end on its line, or is followed by more text.
    #[error(
        "unbalanced quotes, separator seen: {separator}; write \"...\" around the whole field and \"\" for a quote inside, \
         such as `{should_be}`"
    )]
    Quotes {
        /// What stands between the fields.
        separator: Separator,
        /// The row as it should be.
        should_be: String,
    },
}

impl RowError {
    pub(crate) fn fields(found: usize, separator: Option<Separator>, line: &str) -> Self {
        // A quote without an end is why nothing could be separated.
        match separator {
            None if line.starts_with('"') => Self::quotes(Separator::Comma, line),
            _ => Self::Fields { found, separator, should_be: should_be(line) },
        }
    }

    pub(crate) fn quotes(separator: Separator, line: &str) -> Self {
        Self::Quotes { separator, should_be: should_be(line) }
    }

    /// The row as it should be.
    #[must_use]
    pub fn should_be(&self) -> &str {
        match self {
            Self::Fields { should_be, .. } | Self::Quotes { should_be, .. } => should_be,
        }
    }
}

struct Seen(Option<Separator>);

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(separator) => separator.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// The addresses of a line and the rest of it as a row; an example when the two are not there.
fn should_be(line: &str) -> String {
    let (mut ipv4, mut ipv6, mut rest) = (None, None, Vec::new());
    let separators =
        |character| matches!(character, ',' | ';' | '|' | ' ' | '"' | '\'') || is_obeyed(character);
    for word in line.split(separators).filter(|word| !word.is_empty()) {
        let (address, length) = word.split_once('/').unwrap_or((word, ""));
        let prefix = if length.parse::<u8>().is_ok() { word } else { address };
        if ipv4.is_none() && address.parse::<Ipv4Addr>().is_ok() {
            ipv4 = Some(prefix);
        } else if ipv6.is_none() && address.parse::<Ipv6Addr>().is_ok() {
            ipv6 = Some(prefix);
        } else if !word.eq_ignore_ascii_case("map") && word != "#" {
            rest.push(word);
        }
    }
    let (Some(ipv4), Some(ipv6)) = (ipv4, ipv6) else {
        let ipv4 = ipv4.unwrap_or("192.0.2.1");
        return format!("{ipv4},{}", ipv6.unwrap_or("2001:db8::1"));
    };
    let note: String = rest.join(" ").chars().take(60).collect();
    if note.is_empty() { format!("{ipv4},{ipv6}") } else { format!("{ipv4},{ipv6},{note}") }
}
