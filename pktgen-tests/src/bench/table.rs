//! Tables for the terminal and for documents.

/// Columns aligned by spaces: the first to the left, the others to the right.
#[must_use]
pub(super) fn text(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let lines = || std::iter::once(&head).chain(rows);
    let width =
        |column: usize| lines().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The same for Markdown.
#[must_use]
pub(super) fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let rule: Vec<&str> =
        head.iter().enumerate().map(|(column, _)| if column == 0 { "---" } else { "---:" }).collect();
    let line = |cells: &[&str]| format!("| {} |", cells.join(" | "));
    let body = rows.iter().map(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>()));
    [line(head), line(&rule)].into_iter().chain(body).collect::<Vec<_>>().join("\n")
}

/// Three digits that matter, never in scientific form.
#[must_use]
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        vec![vec!["a".into(), "1".into()], vec!["long".into(), "100".into()]]
    }

    #[test]
    fn columns_are_aligned() {
        assert_eq!(text(&["", "value"], &rows()), "      value\na         1\nlong    100");
    }

    #[test]
    fn markdown_has_a_rule() {
        assert_eq!(
            markdown(&["", "value"], &rows()),
            "|  | value |\n| --- | ---: |\n| a | 1 |\n| long | 100 |"
        );
    }

    #[test]
    fn numbers_keep_three_digits() {
        let shown: Vec<String> =
            [0.0, 1234.5, 12.345, 1.2345, 0.1234, -12.34].into_iter().map(number).collect();
        assert_eq!(shown, ["0", "1234", "12.3", "1.23", "0.123", "-12.3"]);
    }
}
