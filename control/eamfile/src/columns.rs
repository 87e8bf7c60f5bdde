//! Which column is what.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::split::KEPT;

/// Where the parts of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) ipv4: usize,
    pub(crate) ipv6: usize,
    pub(crate) comment: Option<usize>,
    /// How many fields a row may have.
    most: usize,
}

impl Columns {
    /// Those that a header names: one with `ipv4` in it, one with `ipv6`, and perhaps one for notes.
    pub(crate) fn named(fields: &[Cow<'_, str>; KEPT], found: usize) -> Option<Self> {
        let names = fields.get(..found)?;
        if names.iter().any(|name| is_ipv4(name) || is_ipv6(name)) {
            return None;
        }
        let with = |words: &[&str]| {
            let mut columns = (0..found).filter(|column| {
                let name = names[*column].to_ascii_lowercase();
                words.iter().any(|word| name.contains(word))
            });
            (columns.next(), columns.next())
        };
        let ((Some(ipv4), None), (Some(ipv6), None)) = (with(&["ipv4"]), with(&["ipv6"])) else {
            return None;
        };
        let comment = ["comment", "description", "note", "name"].into_iter().find_map(|word| with(&[word]).0);
        let comment = comment.filter(|column| *column != ipv4 && *column != ipv6);
        // A note that the header says nothing of stands at the end.
        let (comment, most) = if found == 2 { (Some(2), 3) } else { (comment, found) };
        (ipv4 != ipv6).then_some(Self { ipv4, ipv6, comment, most })
    }

    /// The same for a row of so many fields, if it has both prefixes and not too many.
    pub(crate) fn of_a_row(self, found: usize) -> Option<Self> {
        let Self { ipv4, ipv6, comment, most } = self;
        let comment = comment.filter(|column| *column < found);
        (ipv4.max(ipv6) < found && found <= most).then_some(Self { comment, ..self })
    }

    /// Those of a row without a header: the one field that is an address of each family, where there is one; the first two
    /// otherwise, so that whoever judges addresses says what is wrong with them.
    pub(crate) fn seen(fields: &[Cow<'_, str>; KEPT], found: usize) -> Option<Self> {
        let in_order = Self { ipv4: 0, ipv6: 1, comment: (found > 2).then_some(2), most: found };
        match found {
            2 => return Some(in_order),
            3 => {}
            _ => return None,
        }
        let only = |is: fn(&str) -> bool| {
            let mut columns = (0..3).filter(|column| is(&fields[*column]));
            (columns.next(), columns.next())
        };
        Some(match (only(is_ipv4), only(is_ipv6)) {
            ((Some(ipv4), None), (Some(ipv6), None)) => {
                Self { ipv4, ipv6, comment: Some(3 - ipv4 - ipv6), ..in_order }
            }
            _ => in_order,
        })
    }
}

fn is_ipv4(field: &str) -> bool {
    address(field).parse::<Ipv4Addr>().is_ok()
}

fn is_ipv6(field: &str) -> bool {
    address(field).parse::<Ipv6Addr>().is_ok()
}

/// A prefix without its length and without a remark.
fn address(field: &str) -> &str {
    field.split(['/', '#']).next().unwrap_or_default().trim()
}
