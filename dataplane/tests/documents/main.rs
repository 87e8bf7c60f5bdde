//! `docs/conformance.md` and `docs/counters.md` are made from data and code, and fail here when they disagree.
//!
//!     UPDATE_DOCS=1 cargo test -p dataplane --test documents
//!
//! writes them again; the difference is for people to look at.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod conformance;
mod counters;
mod csv;
mod sources;

use std::fs;
use std::path::PathBuf;

/// A path in the repository.
fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Compares a document with what it should be, or writes it.
#[track_caller]
fn compare(name: &str, expected: &str) {
    if std::env::var("UPDATE_DOCS").is_ok_and(|value| value == "1") {
        fs::write(path(name), expected).unwrap();
        return;
    }
    let actual = fs::read_to_string(path(name)).unwrap_or_default();
    if actual == expected {
        return;
    }
    let lines = actual.lines().zip(expected.lines()).enumerate();
    let differing = lines
        .skip_while(|(_, (is, should))| is == should)
        .map(|(number, (is, should))| format!("{name}:{}\n  is     {is}\n  should {should}", number + 1));
    let first = differing.take(1).next().unwrap_or_else(|| format!("{name}: another number of lines"));
    panic!(
        "{first}\nrun `UPDATE_DOCS=1 cargo test -p dataplane --test documents` and look at the difference"
    );
}

/// Refuses a list of complaints, all at once.
#[track_caller]
fn complain(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// Text for a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
