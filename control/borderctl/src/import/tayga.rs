//! TAYGA's configuration: its `map` lines are mappings, everything else is about something else.

use control_api::Change;

use super::Read;

pub(super) fn read<'t>(text: &'t str, read: &mut Read<'t>) {
    for (number, line) in (1..).zip(text.lines()) {
        let (line, comment) = match line.split_once('#') {
            Some((line, comment)) => (line, Some(comment.trim()).filter(|comment| !comment.is_empty())),
            None => (line, None),
        };
        let mut words = line.split_whitespace();
        match words.next() {
            None => continue,
            Some("map") => {}
            Some(_) => {
                read.skipped += 1;
                continue;
            }
        }
        let (first, second) = (words.next(), words.next());
        match (first, second, words.next()) {
            (Some(first), Some(second), None) => {
                // TAYGA takes them in either order.
                let (ipv4, ipv6) = if first.contains(':') { (second, first) } else { (first, second) };
                read.changes.push(Change {
                    ipv4: Some(ipv4.into()),
                    ipv6: Some(ipv6.into()),
                    comment: comment.map(Into::into),
                    line: Some(number),
                    ..Change::default()
                });
            }
            _ => read.refuse(number, line.trim(), "is no map line", "write `map 192.0.2.1 2001:db8::1`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_lines_are_mappings() {
        let mut into = Read::default();
        read(
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
