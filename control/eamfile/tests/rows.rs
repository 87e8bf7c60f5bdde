//! Rows as people write them, and lines nobody would write.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use eamfile::{Line, Rows};
use proptest::prelude::*;

/// The rows of a file, each as `ipv4 ipv6 [note]`, or what is wrong with the line.
fn rows(file: &str) -> Vec<String> {
    let mut rows = Rows::new();
    let mut found = Vec::new();
    for line in file.lines() {
        match rows.line(line) {
            Ok(Line::Nothing) => {}
            Ok(Line::Row(row)) => {
                let note = row.comment.map(|note| format!(" [{note}]")).unwrap_or_default();
                found.push(format!("{} {}{note}", row.ipv4, row.ipv6));
            }
            Err(error) => found.push(error.to_string()),
        }
    }
    found
}

#[test]
fn every_table_people_have_is_read() {
    let one = ["192.0.2.1 2001:db8::1"];
    let noted = ["192.0.2.1 2001:db8::1 [www, new]"];
    for (file, expected) in [
        ("192.0.2.1,2001:db8::1\n", &one[..]),
        ("192.0.2.1;2001:db8::1\r\n", &one),
        ("192.0.2.1\t2001:db8::1", &one),
        ("192.0.2.1 \t 2001:db8::1 # www, new", &noted),
        ("192.0.2.1   2001:db8::1 www, new", &noted),
        ("192.0.2.1 2001:db8::1 \"www, new\"", &noted),
        ("2001:db8::1,192.0.2.1,\"www, new\"", &noted),
        ("2001:db8::1 ; 192.0.2.1 ; www, new", &noted),
        ("\u{feff}sep=;\r\nIPv6;IPv4;Comment\r\n2001:db8::1;192.0.2.1;www, new\r\n", &noted),
        ("\"sep=,\"\n\"2001:db8::1\",\"192.0.2.1\"", &one),
        ("sep=\t\n192.0.2.1\t2001:db8::1", &one),
        ("sep=|\n192.0.2.1|2001:db8::1", &one),
        ("# ours\n\nIPv6 Prefix,IPv4 Prefix\n2001:db8::1,192.0.2.1 # here\n", &one),
        ("\"IPv6 Prefix\";\"IPv4 Prefix\"\n\"2001:db8::1\";\"192.0.2.1\"", &one),
        ("map 192.0.2.1 2001:db8::1", &one),
        ("MAP\t192.0.2.1\t2001:db8::1\t# www, new", &noted),
        (
            "+-------------+-----------+\n| IPv6 Prefix | IPv4 Prefix |\n+------+-----+\n|   2001:db8::1 | 192.0.2.1 |\n+---+---+\n",
            &one,
        ),
        ("\"www, new\" , 2001:db8::1 , 192.0.2.1", &noted),
        ("2001:db8::1;www, new;192.0.2.1", &noted),
        ("comment;ipv6;serial;ipv4\nwww, new;2001:db8::1;77;192.0.2.1", &noted),
        ("ID,IPv4 Prefix,IPv6 Prefix,Description,Since\n7,192.0.2.1,2001:db8::1,\"www, new\",2026", &noted),
        ("IPv4,IPv6,Serial\n192.0.2.1,2001:db8::1,77", &one),
        ("IPv4,IPv6\n192.0.2.1,2001:db8::1,\"www, new\"", &noted),
        ("IPv6,IPv4\n192.0.2.1,2001:db8::1", &one),
    ] {
        assert_eq!(rows(file), expected, "{file:?}");
    }
}

#[test]
fn what_stays_refused_is_shown_as_it_should_be() {
    for (line, message) in [
        ("192.0.2.1", "fields found: 1, separator seen: none; write `192.0.2.1,2001:db8::1`"),
        (
            "192.0.2.1,2001:db8::1,a,b",
            "fields found: 4, separator seen: comma; write `192.0.2.1,2001:db8::1,a b`",
        ),
        (
            "2001:db8::7;a;192.0.2.1;b",
            "fields found: 4, separator seen: semicolon; write `192.0.2.1,2001:db8::7,a b`",
        ),
        ("192.0.2.1:2001:db8::1", "fields found: 1, separator seen: none; write `192.0.2.1,2001:db8::1`"),
        (
            "ipv4,ipv6,comment\n192.0.2.1",
            "fields found: 1, separator seen: none; write `192.0.2.1,2001:db8::1`",
        ),
        (
            "ipv4,ipv6,comment\n192.0.2.1,2001:db8::7,a,b",
            "fields found: 4, separator seen: comma; write `192.0.2.1,2001:db8::7,a b`",
        ),
        ("map 192.0.2.1", "fields found: 1, separator seen: blank; write `192.0.2.1,2001:db8::1`"),
    ] {
        assert_eq!(rows(line), [message], "{line}");
    }
    for line in ["\"192.0.2.1,2001:db8::7", "192.0.2.1;2001:db8::7;\"a"] {
        let message = rows(line).remove(0);
        assert!(message.starts_with("unbalanced quotes, separator seen: "), "{message}");
        assert!(message.contains("such as `192.0.2.1,2001:db8::7"), "{message}");
    }
}

#[test]
fn nothing_in_a_message_is_for_the_terminal() {
    for (line, should_be) in [
        ("192.0.2.16/28\u{1}\0\0.", "192.0.2.16/28,2001:db8::1"),
        (
            "\"192.0.2.16\u{1b}[2J\";2001:db8::7\u{7f};a\u{202e}b;\u{9b}31mc",
            "192.0.2.16,2001:db8::7,[2J a b 31mc",
        ),
        ("192.0.2.16/\u{1b}]0:owned\u{7}", "192.0.2.16,2001:db8::1"),
    ] {
        let error = Rows::new().line(line).unwrap_err();
        assert_eq!(error.should_be(), should_be, "{line:?}");
        assert!(!error.to_string().contains(shown::is_obeyed), "{line:?}");
    }
}

#[test]
fn a_header_in_the_middle_is_a_row() {
    assert_eq!(rows("192.0.2.1,2001:db8::1\nipv4,ipv6"), ["192.0.2.1 2001:db8::1", "ipv4 ipv6"]);
}

fn separator() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![",", " , ", ";", "; ", "\t", " ", "   ", " \t", "|", " | "])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Any address pair, in either order, with any separator, quoted or not, is that pair.
    #[test]
    fn order_separator_and_quotes_do_not_matter(
        ipv4: u32,
        ipv6: u128,
        lengths in (prop::option::of(0u8..=32), prop::option::of(0u8..=128)),
        separator in separator(),
        is_swapped: bool,
        is_quoted: bool,
        note in "[a-z]{0,6}( [a-z]{1,6})?",
    ) {
        let prefix = |address: String, length: Option<u8>| match length {
            Some(length) => format!("{address}/{length}"),
            None => address,
        };
        let ipv4 = prefix(std::net::Ipv4Addr::from(ipv4).to_string(), lengths.0);
        let ipv6 = prefix(std::net::Ipv6Addr::from(ipv6).to_string(), lengths.1);
        let mut fields = if is_swapped { vec![&ipv6, &ipv4] } else { vec![&ipv4, &ipv6] };
        if !note.is_empty() {
            fields.push(&note);
        }
        let fields: Vec<String> =
            fields.into_iter().map(|field| if is_quoted { format!("\"{field}\"") } else { field.clone() }).collect();
        let line = fields.join(separator);
        let Ok(Line::Row(row)) = Rows::new().line(&line) else { panic!("{line:?}") };
        prop_assert_eq!((&*row.ipv4, &*row.ipv6), (&*ipv4, &*ipv6), "{:?}", line);
        prop_assert_eq!(row.comment.as_deref().unwrap_or_default().trim(), note.trim(), "{:?}", line);
    }

    /// Nothing panics, and a line that is shown as the right one is one.
    #[test]
    fn arbitrary_lines(lines in prop::collection::vec("([0-9a-f.:/]{0,12}|[,;|\t \"#]|map|sep=|ipv[46]|\\PC|[\\x00-\\x1f\\x7f\u{9b}]){0,12}", 1..4)) {
        let mut rows = Rows::new();
        for line in &lines {
            if let Err(error) = rows.line(line) {
                let should_be = error.should_be();
                prop_assert!(matches!(Rows::new().line(should_be), Ok(Line::Row(_))), "{:?} {}", line, should_be);
                prop_assert!(!error.to_string().contains(shown::is_obeyed), "{:?}", line);
            }
        }
    }
}
