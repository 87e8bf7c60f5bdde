//! EAM files: rows as the crate `eamfile` takes them, or a Jool SIIT configuration in JSON.
//!
//! Rows are read line by line, so that a stray quote costs one row and not the rest of the file, and every row knows its
//! line.

use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::Arc;

use eamfile::{Line, Rows};

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

/// The two formats are told apart by their first character: no row starts with a brace.
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
        rows(file, start.as_slice().chain(text), sink)
    }
}

fn rows(file: &Arc<Path>, mut text: impl BufRead, sink: &mut EamSink) -> io::Result<()> {
    let mut rows = Rows::new();
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
        let row = match std::str::from_utf8(&line) {
            Ok(line) => rows.line(line).map_err(ProblemKind::EamRow),
            Err(_) => Err(ProblemKind::NotUtf8),
        };
        match row {
            Ok(Line::Nothing) => {}
            Ok(Line::Row(row)) => {
                sink.row(spot, ["ipv4", "ipv6"], &row.ipv4, &row.ipv6, row.comment.as_deref());
            }
            Err(kind) => {
                sink.report.problems.push(Problem {
                    place: spot.place(),
                    key: String::new(),
                    value: None,
                    kind,
                });
            }
        }
    }
    Ok(())
}
