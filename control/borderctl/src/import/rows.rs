//! Tables of rows, and the `map` lines of TAYGA's configuration: the crate `eamfile` reads both, here and in the relay.

use control_api::Change;
use eamfile::{Line, Row, Rows};

use super::Read;

/// Every line is a row or says nothing.
pub(super) fn table<'t>(text: &'t str, read: &mut Read<'t>) {
    let mut rows = Rows::new();
    for (number, line) in (1..).zip(text.lines()) {
        push(number, line, rows.line(line), read);
    }
}

/// Only `map` lines are rows; everything else is about something else.
pub(super) fn tayga<'t>(text: &'t str, read: &mut Read<'t>) {
    let mut rows = Rows::new();
    for (number, line) in (1..).zip(text.lines()) {
        match line.split_whitespace().next() {
            Some("map") => push(number, line, rows.line(line), read),
            Some(word) if !word.starts_with('#') => read.skipped += 1,
            _ => {}
        }
    }
}

fn push<'t>(number: u32, line: &str, parsed: Result<Line<'t>, eamfile::RowError>, read: &mut Read<'t>) {
    match parsed {
        Ok(Line::Nothing) => {}
        Ok(Line::Row(Row { ipv4, ipv6, comment })) => read.changes.push(Change {
            ipv4: Some(ipv4),
            ipv6: Some(ipv6),
            comment,
            line: Some(number),
            ..Change::default()
        }),
        Err(error) => {
            let text = error.to_string();
            let (message, remedy) = text.split_once("; ").unwrap_or((&text, "correct it"));
            read.refuse(number, line.trim(), message, remedy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_with_their_lines_and_so_do_refusals() {
        let mut into = Read::default();
        table("# ours\nnote;IPv6;IPv4\nweb;2001:db8::1;192.0.2.1\n\n192.0.2.2\n", &mut into);
        assert_eq!(into.changes.len(), 1);
        let first = &into.changes[0];
        assert_eq!(
            (first.ipv4.as_deref(), first.comment.as_deref(), first.line),
            (Some("192.0.2.1"), Some("web"), Some(3))
        );
        let told = &into.findings[0];
        assert_eq!((told.line, told.remedy.as_str()), (Some(5), "write `192.0.2.2,2001:db8::1`"));
    }

    #[test]
    fn map_lines_are_mappings() {
        let mut into = Read::default();
        tayga(
            "tun-device nat64\nprefix 2001:db8:1:ffff::/96\n\n  map 192.168.5.42 2001:db8:1:4444::1 # mail\n\
             map 2001:db8:1:5555::/64 10.0.0.0/24\n#map 1.2.3.4 ::1\nmap 192.0.2.1\n",
            &mut into,
        );
        assert_eq!((into.changes.len(), into.skipped), (2, 2));
        assert_eq!(into.changes[0].comment.as_deref(), Some("mail"));
        assert_eq!(into.changes[1].ipv4.as_deref(), Some("10.0.0.0/24"));
        assert_eq!((into.findings.len(), into.findings[0].line), (1, Some(7)));
    }
}
