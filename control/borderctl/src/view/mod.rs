//! For people.

pub(crate) mod packet;
mod pager;
mod table;

use control_api::Finding;

pub(crate) use pager::Paper;
pub(crate) use table::{Align, Table};

/// A finding in one line.
pub(crate) fn finding(finding: &Finding) -> String {
    let line = finding.line.map_or_else(String::new, |line| format!("line {line}: "));
    let value = if finding.value.is_empty() { String::new() } else { format!("{}: ", finding.value) };
    format!("{line}{value}{}; {}", finding.message, finding.remedy)
}

/// Seconds as people say them.
pub(crate) fn ago(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// A share of one as percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// What there is, or a dash.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// `1 mapping`, `2 mappings`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
