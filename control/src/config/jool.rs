//! The `eamt` of a Jool SIIT configuration (`jool_siit file handle`), and a warning for each section we do not take.
//!
//! The text is read in three rounds (file, `eamt`, row), each keeping the parts below as slices of it. So every row
//! knows its line, and a bad row does not hide the next.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::eams::Spot;
use super::error::{Place, Problem, ProblemKind, Warning, WarningKind};
use super::theirs;
use super::tree::Lines;
use super::validate::EamSink;

/// What only concerns Jool itself, and its comments.
const MEANINGLESS: &[&str] = &["framework", "instance", "comment"];

pub(super) fn parse(file: &Arc<Path>, bytes: &[u8], sink: &mut EamSink) {
    let problem = |kind| Problem { place: Place::file(file), key: String::new(), value: None, kind };
    let Ok(text) = std::str::from_utf8(bytes) else {
        sink.report.problems.push(problem(ProblemKind::NotUtf8));
        return;
    };
    let reader = Reader { text, lines: Lines::new(file.clone(), text) };
    let Some(sections) = reader.members(None, text, sink) else {
        return;
    };
    let mut has_eamt = false;
    for (name, value) in sections {
        match name.to_ascii_lowercase().as_str() {
            "eamt" => {
                has_eamt = true;
                reader.eamt(value, sink);
            }
            "global" => reader.global(value, sink),
            name => reader.ignored(name, value, sink),
        }
    }
    if !has_eamt {
        sink.report.problems.push(problem(ProblemKind::NoEamt));
    }
}

/// A row as Jool writes it, which is nearly every one. Others (two comments, other keys, something missing) are looked at
/// more closely.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainRow<'t> {
    #[serde(rename = "ipv4 prefix", borrow)]
    ipv4: Cow<'t, str>,
    #[serde(rename = "ipv6 prefix", borrow)]
    ipv6: Cow<'t, str>,
    #[serde(borrow)]
    comment: Option<Cow<'t, str>>,
}

struct Reader<'t> {
    text: &'t str,
    lines: Lines<'t>,
}

impl<'t> Reader<'t> {
    fn eamt(&self, value: &'t RawValue, sink: &mut EamSink) {
        match serde_json::from_str::<Vec<&'t RawValue>>(value.get()) {
            Ok(rows) => rows.into_iter().for_each(|row| self.row(row, sink)),
            Err(error) => self.syntax(self.place(value), &error, sink),
        }
    }

    fn row(&self, value: &'t RawValue, sink: &mut EamSink) {
        if let Ok(PlainRow { ipv4, ipv6, comment }) = serde_json::from_str(value.get()) {
            self.sink(value, &ipv4, &ipv6, comment.as_deref(), sink);
        } else {
            self.unusual_row(value, sink);
        }
    }

    fn sink(&self, at: &'t RawValue, ipv4: &str, ipv6: &str, comment: Option<&str>, sink: &mut EamSink) {
        let Place { file, line, column } = self.place(at);
        let spot = Spot { file: &file, line, column };
        sink.row(spot, ["ipv4 prefix", "ipv6 prefix"], ipv4, ipv6, comment);
    }

    fn unusual_row(&self, value: &'t RawValue, sink: &mut EamSink) {
        let Some(members) = self.members(Some(value), value.get(), sink) else {
            return;
        };
        let (mut ipv4, mut ipv6, mut comment) = (None, None, None);
        for (name, value) in members {
            match name.to_ascii_lowercase().as_str() {
                "ipv4 prefix" => ipv4 = self.string(value, sink),
                "ipv6 prefix" => ipv6 = self.string(value, sink),
                "comment" => comment = serde_json::from_str::<String>(value.get()).ok(),
                name => self.ignored(name, value, sink),
            }
        }
        match (ipv4, ipv6) {
            (Some(Some(ipv4)), Some(Some(ipv6))) => self.sink(value, &ipv4, &ipv6, comment.as_deref(), sink),
            (ipv4, ipv6) => {
                for (is_missing, key, example) in [
                    (ipv4.is_none(), "ipv4 prefix", "\"ipv4 prefix\": \"192.0.2.1\""),
                    (ipv6.is_none(), "ipv6 prefix", "\"ipv6 prefix\": \"2001:db8:12:34::1\""),
                ] {
                    if is_missing {
                        let kind = ProblemKind::MissingKey { example };
                        let place = self.place(value);
                        sink.report.problems.push(Problem { place, key: key.to_owned(), value: None, kind });
                    }
                }
            }
        }
    }

    /// `Some(None)` when the value is there and no string, which is reported.
    fn string(&self, value: &'t RawValue, sink: &mut EamSink) -> Option<Option<String>> {
        let string = serde_json::from_str(value.get());
        Some(string.map_err(|error| self.syntax(self.place(value), &error, sink)).ok())
    }

    fn global(&self, value: &'t RawValue, sink: &mut EamSink) {
        for (name, value) in self.members(Some(value), value.get(), sink).unwrap_or_default() {
            self.ignored(&name.to_ascii_lowercase(), value, sink);
        }
    }

    fn ignored(&self, name: &str, value: &'t RawValue, sink: &mut EamSink) {
        let is_unset = matches!(value.get(), "null" | "[]");
        if MEANINGLESS.contains(&name) || is_unset {
            return;
        }
        let instead = theirs::jool(name).flatten();
        let kind = WarningKind::JoolIgnored { instead };
        let key = name.chars().take(80).collect();
        sink.report.warnings.push(Warning { place: self.place(value), key, value: None, kind });
    }

    /// The members of an object, in order; a name may occur more than once (Jool allows several comments).
    fn members(
        &self,
        at: Option<&'t RawValue>,
        text: &'t str,
        sink: &mut EamSink,
    ) -> Option<Vec<(String, &'t RawValue)>> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let members = deserializer.deserialize_map(Members).and_then(|members| {
            deserializer.end()?;
            Ok(members)
        });
        let place = |error: &serde_json::Error| match at {
            Some(value) => self.place(value),
            None => self.lines.place(self.offset_of(error)),
        };
        members.map_err(|error| self.syntax(place(&error), &error, sink)).ok()
    }

    fn syntax(&self, place: Place, error: &serde_json::Error, sink: &mut EamSink) {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        let kind = ProblemKind::Json { message };
        sink.report.problems.push(Problem { place, key: String::new(), value: None, kind });
    }

    fn place(&self, value: &RawValue) -> Place {
        let offset = value.get().as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        self.lines.place(offset.min(self.text.len()))
    }

    fn offset_of(&self, error: &serde_json::Error) -> usize {
        let line_start = self.lines.start(error.line());
        (line_start + error.column().saturating_sub(1)).min(self.text.len())
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(map.size_hint().unwrap_or(4).min(64));
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}
