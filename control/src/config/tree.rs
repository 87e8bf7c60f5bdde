//! Typed values out of a TOML tree, each with its place. A value of the wrong type is a problem and reading goes on.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem, ProblemKind, Problems};
use super::keys::{self, Key};

/// Where each line of a text starts, to turn an offset into a line and a column.
pub(super) struct Lines<'t> {
    file: Arc<Path>,
    text: &'t str,
    starts: Vec<usize>,
    /// Where the last place was found: the next one is seldom far from it.
    last: Cell<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(file: Arc<Path>, text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset + 1);
        Self { file, text, starts: std::iter::once(0).chain(ends).collect(), last: Cell::new(0) }
    }

    /// Where a line, counted from 1, starts.
    pub(super) fn start(&self, line: usize) -> usize {
        self.starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len())
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.line(offset);
        self.last.set(line);
        let start = self.starts[line - 1];
        Place { file: self.file.clone(), line: to_u32(line), column: to_u32(self.column(start, offset)) }
    }

    /// The line of an offset: nearly the last one, or looked for among all.
    fn line(&self, offset: usize) -> usize {
        const NEAR: usize = 8;
        let near = self.starts.get(self.last.get()..).unwrap_or_default();
        let ahead = near.iter().take(NEAR).position(|start| *start > offset);
        match ahead {
            Some(ahead) if ahead > 0 => self.last.get() + ahead,
            _ => self.starts.partition_point(|start| *start <= offset),
        }
    }

    /// In characters; in bytes on lines nobody reads (a whole file without a line break must not cost its square).
    fn column(&self, start: usize, offset: usize) -> usize {
        const READABLE: usize = 4096;
        let bytes = offset - start;
        match self.text.get(start..offset) {
            Some(before) if bytes <= READABLE => before.chars().count() + 1,
            _ => bytes + 1,
        }
    }
}

pub(super) fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A value, the key it was given for, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) key: &'static str,
    pub(super) place: Place,
}

impl<T: Literal> At<T> {
    /// A finding about this value.
    pub(super) fn finding<K>(&self, kind: K) -> super::error::Finding<K> {
        super::error::Finding {
            place: self.place.clone(),
            key: self.key.to_owned(),
            value: Some(self.value.literal()),
            kind,
        }
    }
}

impl<T> At<T> {
    /// A finding about the key, whatever its value.
    pub(super) fn key_finding<K>(&self, kind: K) -> super::error::Finding<K> {
        super::error::Finding { place: self.place.clone(), key: self.key.to_owned(), value: None, kind }
    }

    pub(super) fn map<U>(&self, value: U) -> At<U> {
        At { value, key: self.key, place: self.place.clone() }
    }
}

/// How TOML writes a value; long ones are cut.
pub(super) trait Literal {
    fn literal(&self) -> String;
}

impl Literal for String {
    fn literal(&self) -> String {
        self.as_str().literal()
    }
}

impl Literal for &str {
    fn literal(&self) -> String {
        let shown = cut(self);
        format!("{shown:?}{}", if shown.len() < self.len() { "..." } else { "" })
    }
}

/// As much of a text as a message shows.
pub(super) fn cut(text: &str) -> &str {
    const SHOWN: usize = 80;
    text.char_indices().nth(SHOWN).map_or(text, |(end, _)| &text[..end])
}

impl Literal for i64 {
    fn literal(&self) -> String {
        self.to_string()
    }
}

/// A word or a number, for keys that take both.
#[derive(Debug, Clone)]
pub(super) enum WordOrNumber {
    Word(String),
    Number(i64),
}

impl Literal for WordOrNumber {
    fn literal(&self) -> String {
        match self {
            Self::Word(word) => word.literal(),
            Self::Number(number) => number.literal(),
        }
    }
}

/// A word, or the flag a key once was.
#[derive(Debug, Clone)]
pub(super) enum WordOrFlag {
    Word(String),
    Flag(bool),
}

impl Literal for WordOrFlag {
    fn literal(&self) -> String {
        match self {
            Self::Word(word) => word.literal(),
            Self::Flag(flag) => flag.to_string(),
        }
    }
}

/// What a key was given.
#[derive(Debug, Clone)]
pub(super) enum Field<T> {
    /// Nothing.
    Absent,
    /// Something of the wrong type; already reported.
    Wrong,
    /// A value.
    Given(At<T>),
}

impl<T> Field<T> {
    pub(super) fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Wrong => None,
        }
    }
}

/// A list; `whole` unless an entry of the wrong type was left out.
#[derive(Debug, Clone)]
pub(super) struct List<T> {
    pub(super) items: Vec<At<T>>,
    pub(super) whole: bool,
}

/// One table of the file, read key by key.
pub(super) struct Table<'t, 'i> {
    name: &'static str,
    pub(super) place: Place,
    entries: &'t DeTable<'i>,
    lines: &'t Lines<'i>,
}

impl<'t, 'i> Table<'t, 'i> {
    /// Takes the table `name` and reports the keys it should not have.
    pub(super) fn open(
        name: &'static str,
        place: Place,
        entries: &'t DeTable<'i>,
        lines: &'t Lines<'i>,
        problems: &mut Problems,
    ) -> Self {
        for (key, _) in entries {
            let is_alias = (name, key.get_ref().as_ref()) == ("translation", "eam_files");
            if keys::find(name, key.get_ref()).is_none() && !is_alias {
                problems.push(Problem {
                    place: lines.place(key.span().start),
                    key: format!("{name}.{}", key.get_ref()),
                    value: None,
                    kind: ProblemKind::UnknownKey { hint: keys::hint(name, key.get_ref()) },
                });
            }
        }
        Self { name, place, entries, lines }
    }

    /// The keys outside any table.
    pub(super) fn top(place: Place, entries: &'t DeTable<'i>, lines: &'t Lines<'i>) -> Self {
        Self { name: "", place, entries, lines }
    }

    pub(super) fn text(&self, name: &'static str, problems: &mut Problems) -> Field<String> {
        self.read(name, problems, text)
    }

    pub(super) fn number(&self, name: &'static str, problems: &mut Problems) -> Field<i64> {
        self.read(name, problems, number)
    }

    pub(super) fn boolean(&self, name: &'static str, problems: &mut Problems) -> Field<bool> {
        self.read(name, problems, |value| value.as_bool().ok_or("true or false"))
    }

    pub(super) fn word_or_number(&self, name: &'static str, problems: &mut Problems) -> Field<WordOrNumber> {
        self.read(name, problems, word_or_number)
    }

    pub(super) fn words_or_numbers(
        &self,
        name: &'static str,
        problems: &mut Problems,
    ) -> Field<List<WordOrNumber>> {
        self.list(name, problems, word_or_number)
    }

    pub(super) fn word_or_flag(&self, name: &'static str, problems: &mut Problems) -> Field<WordOrFlag> {
        self.read(name, problems, |value| match value {
            DeValue::String(word) => Ok(WordOrFlag::Word(word.clone().into_owned())),
            _ => value.as_bool().map(WordOrFlag::Flag).ok_or("a text, true or false"),
        })
    }

    pub(super) fn texts(&self, name: &'static str, problems: &mut Problems) -> Field<List<String>> {
        self.list(name, problems, text)
    }

    pub(super) fn numbers(&self, name: &'static str, problems: &mut Problems) -> Field<List<i64>> {
        self.list(name, problems, number)
    }

    fn read<T>(
        &self,
        name: &'static str,
        problems: &mut Problems,
        convert: impl Fn(&DeValue<'i>) -> Result<T, &'static str>,
    ) -> Field<T> {
        let Some((key, place, value)) = self.entry(name) else {
            return Field::Absent;
        };
        convert_at(key, place, value.get_ref(), convert, problems).map_or(Field::Wrong, Field::Given)
    }

    fn list<T>(
        &self,
        name: &'static str,
        problems: &mut Problems,
        convert: impl Fn(&DeValue<'i>) -> Result<T, &'static str>,
    ) -> Field<List<T>> {
        let Some((key, place, value)) = self.entry(name) else {
            return Field::Absent;
        };
        let Some(array) = value.get_ref().as_array() else {
            problems.push(wrong_type(key, place, value.get_ref(), "a list"));
            return Field::Wrong;
        };
        let mut list = List { items: Vec::with_capacity(array.len()), whole: true };
        for item in array.iter() {
            let place = self.lines.place(item.span().start);
            match convert_at(key, place, item.get_ref(), &convert, problems) {
                Some(at) => list.items.push(at),
                None => list.whole = false,
            }
        }
        Field::Given(At { value: list, key: key.path, place })
    }

    fn entry(&self, name: &'static str) -> Option<(&'static Key, Place, &'t Spanned<DeValue<'i>>)> {
        let key = keys::find(self.name, name).expect("every key that is read is in KEYS");
        let (spanned, value) = self.entries.get_key_value(name)?;
        Some((key, self.lines.place(spanned.span().start), value))
    }
}

fn convert_at<'i, T>(
    key: &'static Key,
    place: Place,
    value: &DeValue<'i>,
    convert: impl Fn(&DeValue<'i>) -> Result<T, &'static str>,
    problems: &mut Problems,
) -> Option<At<T>> {
    match convert(value) {
        Ok(value) => Some(At { value, key: key.path, place }),
        Err(expected) => {
            problems.push(wrong_type(key, place, value, expected));
            None
        }
    }
}

fn text(value: &DeValue<'_>) -> Result<String, &'static str> {
    value.as_str().map(str::to_owned).ok_or("a text in quotes")
}

fn word_or_number(value: &DeValue<'_>) -> Result<WordOrNumber, &'static str> {
    match value {
        DeValue::String(word) => Ok(WordOrNumber::Word(word.clone().into_owned())),
        _ => number(value).map(WordOrNumber::Number).map_err(|_| "a text or a whole number"),
    }
}

/// Numbers beyond 64 bits become the nearest that fits: out of every range we know, and reported as such.
fn number(value: &DeValue<'_>) -> Result<i64, &'static str> {
    let number = value.as_integer().ok_or("a whole number")?;
    let beyond = if number.as_str().starts_with('-') { i64::MIN } else { i64::MAX };
    Ok(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(beyond))
}

fn wrong_type(key: &Key, place: Place, value: &DeValue<'_>, expected: &'static str) -> Problem {
    Problem {
        place,
        key: key.path.to_owned(),
        value: literal(value),
        kind: ProblemKind::WrongType { found: type_name(value), expected, example: key.example },
    }
}

fn literal(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some((&**text).literal()),
        DeValue::Integer(number) => Some(cut(&number.to_string()).to_owned()),
        DeValue::Boolean(boolean) => Some(boolean.to_string()),
        _ => None,
    }
}

pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
