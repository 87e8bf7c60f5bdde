//! Renews the generated parts of docs/performance.md, which stand between two marks each:
//!
//! ```text
//! <!-- bench:NAME -->
//! ...
//! <!-- /bench:NAME -->
//! ```
//!
//! Everything around them is written by hand.

use std::fs;
use std::path::Path;

use super::compare::Change;
use super::report::Report;
use super::{BenchError, sections};

/// Renews what the report has results for, in the document and among the plots, and keeps the report beside them.
///
/// # Errors
/// When a file cannot be written, or the document lacks a mark.
pub(super) fn write(tree: &Path, report: &Report) -> Result<(), BenchError> {
    let path = tree.join("docs/performance.md");
    let mut document = fs::read_to_string(&path).map_err(BenchError::io(&path))?;
    for (name, content) in sections::all(report) {
        document = replace(&document, name, &content)?;
    }
    let directory = tree.join("docs/performance");
    fs::create_dir_all(&directory).map_err(BenchError::io(&directory))?;
    sections::draw(report, &directory)?;
    report.write(&directory.join("results.json"))?;
    fs::write(&path, document).map_err(BenchError::io(&path))
}

/// Renews what two revisions measured by turns tell: their table, and what features cost in the newer one.
///
/// # Errors
/// When the document cannot be written, or lacks a mark.
pub(super) fn write_comparison(
    tree: &Path,
    report: &Report,
    revision: &str,
    changes: &[Change],
) -> Result<(), BenchError> {
    let path = tree.join("docs/performance.md");
    let document = fs::read_to_string(&path).map_err(BenchError::io(&path))?;
    let facts = report.machine.facts().into_iter().map(|(name, value)| format!("{name} {value}"));
    let content = format!(
        "{}\n\nMachine: {}.",
        sections::against(revision, changes),
        facts.collect::<Vec<_>>().join(", ")
    );
    let mut document = replace(&document, "against", &content)?;
    if let Some((name, content)) = sections::all(report).into_iter().find(|(name, _)| *name == "features") {
        document = replace(&document, name, &content)?;
    }
    fs::write(&path, document).map_err(BenchError::io(&path))
}

/// Puts `content` between the marks of `name`.
///
/// # Errors
/// When the document has no such marks.
pub(super) fn replace(document: &str, name: &str, content: &str) -> Result<String, BenchError> {
    let open = format!("<!-- bench:{name} -->");
    let close = format!("<!-- /bench:{name} -->");
    let parts =
        document.split_once(&open).and_then(|(before, rest)| Some((before, rest.split_once(&close)?.1)));
    let Some((before, after)) = parts else {
        return Err(BenchError::NoMarker { open, close });
    };
    Ok(format!("{before}{open}\n{}\n{close}{after}", content.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# T\n\n<!-- bench:a -->\nold\nlines\n<!-- /bench:a -->\n\nprose\n\n<!-- bench:b -->\n<!-- /bench:b -->\n";

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let renewed = replace(DOCUMENT, "a", "new\n").unwrap();
        assert_eq!(renewed, DOCUMENT.replace("old\nlines", "new"));
        assert_eq!(replace(&renewed, "a", "new").unwrap(), renewed);
        let renewed = replace(DOCUMENT, "b", "| x |").unwrap();
        assert!(renewed.ends_with("<!-- bench:b -->\n| x |\n<!-- /bench:b -->\n"), "{renewed}");
    }

    #[test]
    fn a_missing_mark_is_named() {
        let message = replace(DOCUMENT, "c", "new").unwrap_err().to_string();
        assert!(message.contains("`<!-- bench:c -->` followed by `<!-- /bench:c -->`"), "{message}");
        let reversed = "<!-- /bench:a --> <!-- bench:a -->";
        assert!(replace(reversed, "a", "new").is_err());
    }
}
