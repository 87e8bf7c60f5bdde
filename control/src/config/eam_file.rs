//! EAM files: CSV `ipv4,ipv6[,comment]`, or a Jool SIIT configuration in JSON.
//!
//! CSV is read line by line. A field may be quoted (RFC 4180) but not contain a line break, so that a stray quote
//! costs one row and not the rest of the file, and every row knows its line. Lines that are empty or start with `#`
//! are skipped, as is a header line `ipv4,ipv6[,comment]`.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use super::eams::Spot;
use super::error::{Problem, ProblemKind};
use super::input::{self, Input};
use super::jool;
use super::validate::EamSink;

/// Reads one EAM file into `sink`. What is wrong inside the file goes there; that it cannot be read is the caller's.
pub(super) fn read(path: &Path, sink: &mut EamSink) -> Result<(), ProblemKind> {
    let mut input = Input::open(path, input::EAM_FILE_BYTES)?;
    parse(&path.into(), input.reader(), sink).map_err(|error| input::unreadable(&error))?;
    input.finish()
}

/// The two formats are told apart by their first character: no CSV row starts with a brace.
fn parse(file: &Arc<Path>, mut text: impl BufRead, sink: &mut EamSink) -> io::Result<()> {
    let mut start = Vec::new();
    (&mut text).take(3).read_to_end(&mut start)?;
    if start == *b"\xef\xbb\xbf" {
        start.clear();
    }
    let mut is_blank = start.trim_ascii().is_empty();
    while is_blank && (&mut text).take(1).read_to_end(&mut start)? > 0 {
        is_blank = start.last().is_some_and(u8::is_ascii_whitespace);
    }
    if start.trim_ascii_start().starts_with(b"{") {
        text.read_to_end(&mut start)?;
        jool::parse(file, &start, sink);
        Ok(())
    } else {
        csv(file, start.as_slice().chain(text), sink)
    }
}

fn csv(file: &Arc<Path>, mut text: impl BufRead, sink: &mut EamSink) -> io::Result<()> {
    let mut may_be_header = true;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if text.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let spot = Spot { file, line: number, column: 1 };
        if sink.eams.len() >= input::ROWS {
            let kind = ProblemKind::TooManyRows { max: input::ROWS };
            sink.report.problems.push(Problem { place: spot.place(), key: String::new(), value: None, kind });
            break;
        }
        let problem = |kind| Problem { place: spot.place(), key: String::new(), value: None, kind };
        let Ok(line) = std::str::from_utf8(&line) else {
            sink.report.problems.push(problem(ProblemKind::NotUtf8));
            continue;
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match fields(line) {
            Err(kind) => sink.report.problems.push(problem(kind)),
            Ok((row, _)) if std::mem::take(&mut may_be_header) && is_header(&row) => {}
            Ok((row, count @ (2 | 3))) if !is_swapped(&row) => {
                let comment = (count == 3).then_some(&*row[2]);
                sink.row(spot, ["ipv4", "ipv6"], &row[0], &row[1], comment);
            }
            Ok((_, 2 | 3)) => sink.report.problems.push(problem(ProblemKind::SwappedColumns)),
            Ok((_, found)) => sink.report.problems.push(problem(ProblemKind::Fields { found })),
        }
    }
    Ok(())
}

type Row<'l> = [Cow<'l, str>; 3];

/// The first three fields of a line and how many there are, spaces around each removed.
fn fields(line: &str) -> Result<(Row<'_>, usize), ProblemKind> {
    let mut row = Row::default();
    let mut count = 0;
    let mut rest = Some(line);
    while let Some(text) = rest {
        let (field, after) = field(text.trim_start())?;
        if let Some(slot) = row.get_mut(count) {
            *slot = field;
        }
        count += 1;
        rest = after;
    }
    Ok((row, count))
}

/// One field, and what follows its comma.
fn field(text: &str) -> Result<(Cow<'_, str>, Option<&str>), ProblemKind> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Faster than split_once on texts as short as these.
        return Ok(match text.bytes().position(|byte| byte == b',') {
            Some(at) => (text[..at].trim_end().into(), Some(&text[at + 1..])),
            None => (text.trim_end().into(), None),
        });
    };
    let end = closing_quote(quoted).ok_or(ProblemKind::Quotes)?;
    let field = &quoted[..end];
    let field = if field.contains('"') { field.replace("\"\"", "\"").into() } else { field.into() };
    match quoted[end + 1..].trim_start() {
        "" => Ok((field, None)),
        after => after.strip_prefix(',').map(|after| (field, Some(after))).ok_or(ProblemKind::Quotes),
    }
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

fn is_header(row: &Row<'_>) -> bool {
    let third = row[2].to_ascii_lowercase();
    row[0].eq_ignore_ascii_case("ipv4")
        && row[1].eq_ignore_ascii_case("ipv6")
        && matches!(&*third, "" | "comment")
}

/// IPv6 first, as `jool_siit eamt display --csv` has it. Only looked at when the first field is no IPv4 prefix.
fn is_swapped(row: &Row<'_>) -> bool {
    let address = |field: &str| field.split('/').next().unwrap_or_default().to_owned();
    row[0].bytes().any(|byte| byte == b':')
        && address(&row[0]).parse::<Ipv6Addr>().is_ok()
        && address(&row[1]).parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Option<(Vec<String>, usize)> {
        fields(line).ok().map(|(row, count)| (row.iter().map(ToString::to_string).collect(), count))
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
}
