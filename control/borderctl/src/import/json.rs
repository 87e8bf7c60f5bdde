//! Jool's configuration of a SIIT instance, and one JSON object a line.

use control_api::{Change, Op};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Read;

#[derive(Deserialize)]
struct Jool<'t> {
    #[serde(borrow, default)]
    eamt: Option<Vec<&'t RawValue>>,
}

#[derive(Deserialize)]
struct Eam<'t> {
    #[serde(borrow, rename = "ipv4 prefix")]
    ipv4: std::borrow::Cow<'t, str>,
    #[serde(borrow, rename = "ipv6 prefix")]
    ipv6: std::borrow::Cow<'t, str>,
    #[serde(borrow, default)]
    comment: Option<std::borrow::Cow<'t, str>>,
}

pub(super) fn jool<'t>(text: &'t str, read: &mut Read<'t>) {
    let jool: Jool<'t> = match serde_json::from_str(text) {
        Ok(jool) => jool,
        Err(error) => {
            let line = u32::try_from(error.line()).unwrap_or(u32::MAX);
            return read.refuse(
                line,
                "",
                &format!("is no JSON that Jool writes: {error}"),
                "export it again",
            );
        }
    };
    let Some(rows) = jool.eamt else {
        return read.refuse(
            1,
            "",
            "has no `eamt`",
            "give the file of a SIIT instance, which has its mappings in `eamt`",
        );
    };
    let mut lines = Lines { text, at: 0, number: 1 };
    for row in rows {
        let number = lines.of(row.get());
        match serde_json::from_str::<Eam<'t>>(row.get()) {
            Ok(Eam { ipv4, ipv6, comment }) => read.changes.push(Change {
                ipv4: Some(ipv4),
                ipv6: Some(ipv6),
                comment,
                line: Some(number),
                ..Change::default()
            }),
            Err(error) => {
                let remedy = "write {\"ipv6 prefix\": \"2001:db8::/120\", \"ipv4 prefix\": \"192.0.2.0/24\"}";
                read.refuse(number, row.get(), &format!("is no mapping: {error}"), remedy);
            }
        }
    }
}

/// Counts lines up to ever later places of a text.
struct Lines<'t> {
    text: &'t str,
    at: usize,
    number: u32,
}

impl Lines<'_> {
    /// The line in which `part` begins, which is a piece of the text.
    fn of(&mut self, part: &str) -> u32 {
        let at = (part.as_ptr().addr()).saturating_sub(self.text.as_ptr().addr()).min(self.text.len());
        let passed = self.text.as_bytes().get(self.at..at).unwrap_or_default();
        let lines = passed.iter().filter(|byte| **byte == b'\n').count();
        self.number += u32::try_from(lines).unwrap_or(u32::MAX);
        self.at = at;
        self.number
    }
}

pub(super) fn lines<'t>(text: &'t str, read: &mut Read<'t>) {
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Change<'t>>(line) {
            Ok(change) if is_configured(&change) => read.configured += 1,
            Ok(change) => read.changes.push(Change { line: Some(number), ..change }),
            Err(error) => {
                let remedy = "write {\"ipv4\":\"192.0.2.1\",\"ipv6\":\"2001:db8::1\"}";
                read.refuse(number, line, &format!("is no mapping: {error}"), remedy);
            }
        }
    }
}

/// A row of the list that is not the store's: only its file can change it, and it is there already.
fn is_configured(change: &Change<'_>) -> bool {
    let owner = change.owner.as_deref().unwrap_or_default();
    change.op == Op::Add && (owner == "config" || owner.starts_with("file:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jools_rows_come_with_their_lines() {
        let text = "{\n \"framework\": \"netfilter\",\n \"eamt\": [\n  {\"ipv6 prefix\": \"2001:db8::/120\", \"ipv4 prefix\": \"192.0.2.0/24\"},\n\
            {\n \"ipv4 prefix\": \"198.51.100.1\",\n \"ipv6 prefix\": \"2001:db8::1\", \"comment\": \"x\"}\n]}";
        let mut into = Read::default();
        jool(text, &mut into);
        assert!(into.findings.is_empty(), "{:?}", into.findings);
        assert_eq!(into.changes.len(), 2);
        assert_eq!((into.changes[0].ipv4.as_deref(), into.changes[0].line), (Some("192.0.2.0/24"), Some(4)));
        assert_eq!((into.changes[1].comment.as_deref(), into.changes[1].line), (Some("x"), Some(5)));
    }

    #[test]
    fn rows_of_the_configuration_are_left_out_of_a_list() {
        let row = |owner: &str| {
            format!("{{\"ipv4\":\"192.0.2.1/32\",\"ipv6\":\"2001:db8::1/128\",\"owner\":\"{owner}\"}}\n")
        };
        let text = row("store") + &row("config") + &row("file:eams.csv:3");
        let mut into = Read::default();
        lines(&text, &mut into);
        assert_eq!((into.changes.len(), into.configured), (1, 2), "{:?}", into.findings);
        assert_eq!(into.changes[0].line, Some(1));
    }

    #[test]
    fn what_is_not_jools_is_refused() {
        for (text, line) in [
            ("{\"bib\": []}", 1),
            ("{\"eamt\": [\n{\"ipv4 prefix\": \"192.0.2.0/24\"}]}", 2),
            ("{\"eamt\": [\n{]}", 2),
        ] {
            let mut into = Read::default();
            jool(text, &mut into);
            assert_eq!(into.findings.len(), 1, "{text}");
            assert_eq!(into.findings[0].line, Some(line), "{:?}", into.findings);
        }
    }
}
