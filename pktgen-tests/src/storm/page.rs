//! The table, for the terminal and for `docs/resilience.md`.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::{Row, Scale};
use crate::lab::LabError;

const OPEN: &str = "<!-- storm:table -->";
const CLOSE: &str = "<!-- /storm:table -->";

/// A Markdown table of the rows.
#[must_use]
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = "| storm | witness | limit | measured | |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for row in rows {
        let held = if row.held { "held" } else { "**not held**" };
        let measured = row.measured.lines().next().unwrap_or_default().replace('|', "/");
        writeln!(text, "| {} | {} | {} | {measured} | {held} |", row.storm, row.witness, row.limit).ok();
    }
    text
}

/// Renews what stands between the marks of the page.
pub(super) fn write(tree: &Path, rows: &[Row], scale: &Scale) -> Result<(), LabError> {
    let path = tree.join("docs/resilience.md");
    let page = fs::read_to_string(&path).map_err(LabError::io(path.display().to_string()))?;
    let (Some(open), Some(close)) = (page.find(OPEN), page.find(CLOSE)) else {
        let what = format!("{}: the marks {OPEN} and {CLOSE}", path.display());
        return Err(LabError::Unreadable { what, text: String::new() });
    };
    let told = format!(
        "{} seconds a storm, {} IPv4 and {} IPv6 routes, {} changes, {} mappings.",
        scale.time.as_secs(),
        scale.ipv4_routes,
        scale.ipv6_routes,
        scale.route_changes,
        scale.mappings
    );
    let renewed = format!("{}{OPEN}\n{told}\n\n{}{}", &page[..open], table(rows), &page[close..]);
    fs::write(&path, renewed).map_err(LabError::io(path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(held: bool) -> Row {
        let text = |text: &str| text.to_owned();
        Row { storm: text("s"), witness: text("w"), limit: text("l"), measured: text("a|b\nmore"), held }
    }

    #[test]
    fn one_line_for_each_row_whatever_it_says() {
        let text = table(&[row(true), row(false)]);
        assert_eq!(text.lines().count(), 4);
        assert!(text.contains("| s | w | l | a/b | held |\n| s | w | l | a/b | **not held** |"), "{text}");
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("docs")).unwrap();
        let path = tree.path().join("docs/resilience.md");
        fs::write(&path, format!("before\n{OPEN}\nold\n{CLOSE}\nbehind\n")).unwrap();
        write(tree.path(), &[row(true)], &Scale::SHORT).unwrap();
        let page = fs::read_to_string(&path).unwrap();
        assert!(
            page.starts_with("before\n") && page.ends_with("behind\n") && !page.contains("old"),
            "{page}"
        );
        fs::write(&path, "no marks").unwrap();
        assert!(write(tree.path(), &[], &Scale::SHORT).is_err());
    }
}
