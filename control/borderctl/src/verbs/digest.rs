//! `digest`.

use std::collections::BTreeMap;

use control_api::{Code, Digests, Entry, Refusal, path};
use serde::Serialize;

use super::Context;
use crate::client::{Client, Request};
use crate::error::{Error, Result};
use crate::view::{Align, Paper, Table, count};

/// Differences that people want to read one by one.
const PRINTED: usize = 100;

/// How two relays differ.
#[derive(Serialize)]
struct Comparison {
    /// Nothing is different.
    equal: bool,
    here: Digests,
    there: Digests,
    /// The keys of `[translation]` are different, or the versions.
    settings_differ: bool,
    differences: Vec<Difference>,
}

/// One mapping.
#[derive(Serialize)]
struct Difference {
    ipv4: String,
    /// What it is mapped to here; none if it is not mapped.
    here: Option<String>,
    there: Option<String>,
}

pub(crate) fn digest(context: &Context, other: Option<&str>) -> Result<()> {
    let Some(other) = other else {
        return context.show(&Request::get(path::DIGEST), Paper::paged(), human);
    };
    let there = Client::at(other)?;
    let comparison = compare(&context.client, &there)?;
    context.print(&comparison, Paper::paged(), differences)?;
    if comparison.equal {
        return Ok(());
    }
    let message = format!("the relays differ in {}", count(comparison.differences.len() as u64, "mapping"));
    let message =
        if comparison.settings_differ { format!("{message}, and in [translation]") } else { message };
    Err(Refusal::new(Code::Refused, message, "change the one that is wrong").into())
}

/// Asks both for the mappings of those parts alone that hash to something else.
fn compare(ours: &Client, theirs: &Client) -> Result<Comparison> {
    let here: Digests = ours.ask(&Request::get(path::DIGEST))?;
    let there: Digests = theirs.ask(&Request::get(path::DIGEST))?;
    let of = |digests: &Digests| -> BTreeMap<String, String> {
        digests.parts.iter().map(|part| (part.within.clone(), part.digest.clone())).collect()
    };
    let (mine, other) = (of(&here), of(&there));
    let parts: std::collections::BTreeSet<&String> = mine.keys().chain(other.keys()).collect();
    let mut found = BTreeMap::new();
    for part in parts.into_iter().filter(|part| mine.get(*part) != other.get(*part)) {
        for difference in differing(&entries(ours, part)?, &entries(theirs, part)?) {
            found.insert(difference.ipv4.clone(), difference);
        }
    }
    let settings_differ = here.settings != there.settings;
    let equal = here.digest == there.digest && !settings_differ;
    Ok(Comparison { equal, here, there, settings_differ, differences: found.into_values().collect() })
}

/// The mappings of a part, by IPv4 prefix.
fn entries(client: &Client, within: &str) -> Result<BTreeMap<String, String>> {
    let request = Request::get(path::EAMS).query("within", Some(within));
    let mut entries = BTreeMap::new();
    for line in client.send(&request, &mut |_| {})?.lines() {
        let line = line?;
        let broken = |error: serde_json::Error| Error::Broken { what: error.to_string() };
        let entry: Entry = serde_json::from_str(&line).map_err(broken)?;
        entries.insert(entry.ipv4, entry.ipv6);
    }
    Ok(entries)
}

fn differing(here: &BTreeMap<String, String>, there: &BTreeMap<String, String>) -> Vec<Difference> {
    let all: std::collections::BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    let differs = all.into_iter().filter(|ipv4| here.get(*ipv4) != there.get(*ipv4));
    differs
        .map(|ipv4| Difference {
            ipv4: ipv4.clone(),
            here: here.get(ipv4).cloned(),
            there: there.get(ipv4).cloned(),
        })
        .collect()
}

fn human(digests: &Digests, paper: &mut Paper) -> Result<()> {
    paper.line(&format!("digest     {}", digests.digest))?;
    paper.line(&format!("mappings   {}", digests.mappings))?;
    paper.line(&format!("settings   {}", digests.settings))?;
    paper.line("")?;
    let mut parts =
        Table::new(&[("WITHIN", Align::Left), ("MAPPINGS", Align::Right), ("DIGEST", Align::Left)]);
    for part in &digests.parts {
        parts.row([part.within.clone(), part.mappings.to_string(), part.digest.clone()]);
    }
    parts.print(paper)
}

fn differences(comparison: &Comparison, paper: &mut Paper) -> Result<()> {
    if comparison.equal {
        let mappings = count(comparison.here.mappings, "mapping");
        return paper.line(&format!("equal: {mappings}, digest {}", comparison.here.digest));
    }
    if comparison.settings_differ {
        paper.line("the keys of [translation], or the versions of the relays, are different")?;
    }
    let mut table = Table::new(&[("IPV4", Align::Left), ("HERE", Align::Left), ("THERE", Align::Left)]);
    let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    for difference in comparison.differences.iter().take(PRINTED) {
        table.row([difference.ipv4.clone(), dash(&difference.here), dash(&difference.there)]);
    }
    table.print(paper)?;
    match comparison.differences.len().saturating_sub(PRINTED) {
        0 => Ok(()),
        more => paper.line(&format!("and {} more", more)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_has_and_the_other_has_not_or_otherwise_is_named() {
        let table = |rows: &[(&str, &str)]| {
            rows.iter()
                .map(|(ipv4, ipv6)| ((*ipv4).to_owned(), (*ipv6).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let here = table(&[("192.0.2.1/32", "a"), ("192.0.2.2/32", "b"), ("192.0.2.3/32", "c")]);
        let there = table(&[("192.0.2.1/32", "a"), ("192.0.2.2/32", "x"), ("192.0.2.4/32", "d")]);
        let found: Vec<_> = differing(&here, &there).into_iter().map(|d| (d.ipv4, d.here, d.there)).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                ("192.0.2.2/32".to_owned(), some("b"), some("x")),
                ("192.0.2.3/32".to_owned(), some("c"), None),
                ("192.0.2.4/32".to_owned(), None, some("d")),
            ]
        );
    }
}
