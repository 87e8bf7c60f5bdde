//! Texts of others in messages of ours.
//!
//! Messages quote what they are about: rows of files, names of keys, paths, comments. Whoever wrote those must not clear,
//! colour or rename the terminal of whoever reads the message, nor forge further lines of it. So every message that
//! quotes passes through [`Shown`] once, where it is put together.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter, Write};

/// What is inside, with everything a terminal would obey written as Rust writes it: `\n`, `\t`, `\u{1b}`.
///
/// Backslashes stay as they are, so showing a text twice is as good as once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<T>(pub T);

impl<T: Display> Display for Shown<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// Whether a terminal obeys it instead of showing it: control characters, line and paragraph separators, and the marks that
/// turn the direction of the text around them.
#[must_use]
pub fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A JSON text that says the same, with what a terminal would obey as `\u009b`. JSON itself asks for that only up to U+001F.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    // Below, only blanks between values can be left.
    let is_raw = |character| character >= '\u{7f}' && is_obeyed(character);
    if text.is_ascii() && !text.contains('\u{7f}') || !text.contains(is_raw) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_raw(character) {
            // All of them are below U+10000, so one unit of UTF-16 is enough.
            escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

struct Escaping<'f, 'b>(&'f mut Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_obeyed) {
            self.0.write_str(&rest[..at])?;
            let mut after = rest[at..].chars();
            if let Some(character) = after.next() {
                write!(self.0, "{}", character.escape_default())?;
            }
            rest = after.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        for (text, shown) in [
            ("192.0.2.1 = 2001:db8::1", "192.0.2.1 = 2001:db8::1"),
            ("\u{1b}[2J\r\n\tx\0\u{7f}\u{9b}31m", r"\u{1b}[2J\r\n\tx\u{0}\u{7f}\u{9b}31m"),
            ("a\u{202e}b\u{2028}c\u{2066}d\u{200f}", r"a\u{202e}b\u{2028}c\u{2066}d\u{200f}"),
            ("Grüße, \"世界\" \\n 🙂", "Grüße, \"世界\" \\n 🙂"),
            ("", ""),
        ] {
            assert_eq!(Shown(text).to_string(), shown, "{text:?}");
            assert_eq!(Shown(Shown(text)).to_string(), shown, "twice: {text:?}");
        }
    }

    #[test]
    fn json_stays_json() {
        for (text, shown) in [
            ("{\"a\":\n \"\\u0007 é 🙂\"}", "{\"a\":\n \"\\u0007 é 🙂\"}"),
            ("[\"\u{7f}\u{9b}2J\u{202e}\"]", r#"["\u007f\u009b2J\u202e"]"#),
        ] {
            assert_eq!(json(text), shown);
        }
    }
}
