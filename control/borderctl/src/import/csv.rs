//! CSV as people have it: comma, semicolon or tab, columns in any order, with or without a header.
//!
//! Without a header each line tells its own columns: an address with a colon is the IPv6 prefix, one with dots the IPv4 prefix, and what
//! is left the comment. A header decides where it names the columns, as that of `jool_siit eamt display --csv` does.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use control_api::Change;

use super::Read;

/// Which column is what.
#[derive(Clone, Copy)]
struct Columns {
    ipv4: usize,
    ipv6: usize,
    comment: Option<usize>,
}

pub(super) fn read<'t>(text: &'t str, read: &mut Read<'t>) {
    let mut separator = None;
    let mut columns = None;
    let mut is_first = true;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let separator = *separator.get_or_insert_with(|| separator_of(line));
        let Some(fields) = split(line, separator) else {
            read.refuse(
                number,
                line,
                "has a quote that does not end",
                "close it, and double quotes inside of it",
            );
            continue;
        };
        if std::mem::take(&mut is_first) && !fields.iter().any(|field| is_ipv4(field) || is_ipv6(field)) {
            match header(&fields) {
                Some(found) => columns = Some(found),
                None => read.refuse(number, line, "is neither a mapping nor a header", HEADER),
            }
            continue;
        }
        match columns.map_or_else(|| by_content(&fields), Ok) {
            Ok(columns) => push(number, line, fields, columns, read),
            Err((message, remedy)) => read.refuse(number, line, message, remedy),
        }
    }
}

const HEADER: &str = "name the columns in the first line: ipv4,ipv6,comment";

fn push<'t>(number: u32, line: &str, mut fields: Vec<Cow<'t, str>>, columns: Columns, read: &mut Read<'t>) {
    let mut take =
        |column: usize| fields.get_mut(column).map(std::mem::take).filter(|field| !field.is_empty());
    let (ipv4, ipv6) = (take(columns.ipv4), take(columns.ipv6));
    let comment = columns.comment.and_then(take);
    if ipv4.is_none() || ipv6.is_none() {
        return read.refuse(
            number,
            line,
            "lacks an IPv4 or an IPv6 prefix",
            "write both, such as 192.0.2.1,2001:db8::1",
        );
    }
    read.changes.push(Change { ipv4, ipv6, comment, line: Some(number), ..Change::default() });
}

/// The one of the three that parts the line in most fields.
fn separator_of(line: &str) -> char {
    let count = |separator: char| line.matches(separator).count();
    [',', ';', '\t'].into_iter().rev().max_by_key(|separator| count(*separator)).unwrap_or(',')
}

/// The fields of a line, without the spaces and quotes around them.
fn split(line: &str, separator: char) -> Option<Vec<Cow<'_, str>>> {
    let mut fields = Vec::with_capacity(3);
    let mut rest = line;
    loop {
        let text = rest.trim_start_matches([' ', '\u{a0}']);
        let (field, after) = match text.strip_prefix('"') {
            Some(inner) => {
                let end = closing_quote(inner)?;
                let field = &inner[..end];
                let field =
                    if field.contains('"') { field.replace("\"\"", "\"").into() } else { field.into() };
                let after = inner[end + 1..].trim_start_matches([' ', '\u{a0}']);
                match after.strip_prefix(separator) {
                    Some(after) => (field, Some(after)),
                    None if after.is_empty() => (field, None),
                    None => return None,
                }
            }
            None => match text.split_once(separator) {
                Some((field, after)) => (Cow::from(field.trim()), Some(after)),
                None => (Cow::from(text.trim()), None),
            },
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Some(fields),
        }
    }
}

/// Where a quoted field ends; a doubled quote does not end it.
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

/// What a header says, if it names both prefixes.
fn header(fields: &[Cow<'_, str>]) -> Option<Columns> {
    let names: Vec<String> = fields.iter().map(|field| field.to_ascii_lowercase()).collect();
    let column = |words: &[&str]| {
        let exact = names.iter().position(|name| words.contains(&name.as_str()));
        exact.or_else(|| names.iter().position(|name| words.iter().any(|word| name.contains(word))))
    };
    let (ipv4, ipv6) = (column(&["ipv4"])?, column(&["ipv6"])?);
    let comment = column(&["comment", "description", "note", "name"])
        .filter(|column| *column != ipv4 && *column != ipv6);
    (ipv4 != ipv6).then_some(Columns { ipv4, ipv6, comment })
}

/// What each column of a line is, as far as that is beyond doubt.
fn by_content(fields: &[Cow<'_, str>]) -> Result<Columns, (&'static str, &'static str)> {
    let which = |is: fn(&str) -> bool| -> Vec<usize> {
        fields.iter().enumerate().filter(|(_, field)| is(field)).map(|(column, _)| column).collect()
    };
    let (four, six) = (which(is_ipv4), which(is_ipv6));
    match (&four[..], &six[..]) {
        ([ipv4], [ipv6]) => {
            let mut rest = (0..fields.len())
                .filter(|column| column != ipv4 && column != ipv6)
                .filter(|column| !fields[*column].is_empty());
            let comment = rest.next();
            match rest.next() {
                None => Ok(Columns { ipv4: *ipv4, ipv6: *ipv6, comment }),
                Some(_) => Err(("has more columns than a comment", HEADER)),
            }
        }
        ([_, _, ..], _) | (_, [_, _, ..]) => Err(("has two addresses of one family", HEADER)),
        // Not an address we can read: the relay will say what is wrong with it, where its place is clear.
        ([], [ipv6]) if fields.len() >= 2 => {
            Ok(Columns { ipv4: usize::from(*ipv6 == 0), ipv6: *ipv6, comment: fields.get(2).map(|_| 2) })
        }
        ([ipv4], []) if fields.len() >= 2 => {
            Ok(Columns { ipv4: *ipv4, ipv6: usize::from(*ipv4 == 0), comment: fields.get(2).map(|_| 2) })
        }
        _ if fields.len() == 2 || fields.len() == 3 => {
            Ok(Columns { ipv4: 0, ipv6: 1, comment: fields.get(2).map(|_| 2) })
        }
        _ => Err(("is no mapping", "write an IPv4 and an IPv6 prefix, such as 192.0.2.1,2001:db8::1")),
    }
}

fn is_ipv4(field: &str) -> bool {
    address(field).parse::<Ipv4Addr>().is_ok()
}

fn is_ipv6(field: &str) -> bool {
    address(field).parse::<Ipv6Addr>().is_ok()
}

/// A prefix without its length.
fn address(field: &str) -> &str {
    field.split_once('/').map_or(field, |(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<String>, Vec<(u32, String)>> {
        let mut into = Read::default();
        read(text, &mut into);
        if !into.findings.is_empty() {
            return Err(into.findings.into_iter().map(|told| (told.line.unwrap(), told.message)).collect());
        }
        let field = |field: &Option<Cow<'_, str>>| field.as_deref().unwrap_or("-").to_owned();
        let row = |change: &Change<'_>| {
            format!(
                "{} {} {} {}",
                change.line.unwrap(),
                field(&change.ipv4),
                field(&change.ipv6),
                field(&change.comment)
            )
        };
        Ok(into.changes.iter().map(row).collect())
    }

    #[test]
    fn every_order_and_separator_comes_to_the_same() {
        let expected = vec!["2 192.0.2.1/32 2001:db8::1/128 web, one".to_owned()];
        for text in [
            "\n192.0.2.1/32,2001:db8::1/128,\"web, one\"\n",
            "# a note\n\"web, one\" , 2001:db8::1/128 , 192.0.2.1/32",
            "\r\n2001:db8::1/128;web, one;192.0.2.1/32\r\n",
            "\n192.0.2.1/32\t2001:db8::1/128\tweb, one",
            "IPv4,IPv6,Comment\n192.0.2.1/32,2001:db8::1/128,\"web, one\"",
            "comment;ipv6;serial;ipv4\nweb, one;2001:db8::1/128;77;192.0.2.1/32",
            "IPv6 Prefix,IPv4 Prefix,Description\n2001:db8::1/128,192.0.2.1/32,\"web, one\"",
        ] {
            assert_eq!(rows(text), Ok(expected.clone()), "{text}");
        }
    }

    #[test]
    fn what_is_ambiguous_is_refused_with_its_line() {
        for (text, line, message) in [
            ("192.0.2.1,2001:db8::1\n192.0.2.2,192.0.2.3,2001:db8::2", 2, "two addresses"),
            ("192.0.2.1,2001:db8::1,a,b", 1, "more columns"),
            ("192.0.2.1,\"2001:db8::1", 1, "quote"),
            ("192.0.2.1,\"2001:db8::1\"x", 1, "quote"),
            ("first,second", 1, "header"),
            ("ipv4,ipv6\n192.0.2.1", 2, "lacks"),
            ("192.0.2.1,2001:db8::1\nnothing", 2, "is no mapping"),
        ] {
            let told = rows(text).unwrap_err();
            assert_eq!(told.len(), 1, "{text}: {told:?}");
            assert_eq!(told[0].0, line);
            assert!(told[0].1.contains(message), "{told:?}");
        }
    }

    #[test]
    fn what_is_no_address_goes_to_the_relay_in_its_place() {
        assert_eq!(
            rows("192.0.2.1,2001:db8::1\n192.0.2.300,2001:db8::g\n2001:db8::2,192.0.2.").unwrap()[1..],
            ["2 192.0.2.300 2001:db8::g -", "3 192.0.2. 2001:db8::2 -"]
        );
    }
}
