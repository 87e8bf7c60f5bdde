//! From what was asked to what will be different.
//!
//! Edits are taken in their order, as if each were alone, but for one thing: that no two mappings share an IPv6 prefix is asked
//! of the result, so two mappings can exchange theirs in one commit.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use control_api::{Allocated, Finding};
use ipnet::{Ipv4Net, Ipv6Net};

use super::table::{Owned, Owner, Table};
use super::{Delta, Edit, Row, Target, pools};
use crate::body::LISTED;

/// What edits come to.
pub(super) struct Resolved {
    pub(super) delta: Delta,
    pub(super) allocated: Vec<Allocated>,
    /// Edits that change nothing.
    pub(super) unchanged: u64,
}

/// Edits that cannot be.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) findings: Vec<Finding>,
    pub(super) more: u64,
}

impl Refused {
    fn push(&mut self, line: Option<u32>, value: String, message: String, remedy: String) {
        if self.findings.len() < LISTED {
            self.findings.push(Finding { line, value, message, remedy });
        } else {
            self.more += 1;
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.findings.len() as u64 + self.more
    }
}

/// Takes `edits` to `table`. With `replace`, mappings of the store that no edit names go.
pub(super) fn resolve(
    table: &Table,
    pools: &[Ipv4Net],
    edits: &[Edit],
    replace: bool,
) -> Result<Resolved, Refused> {
    let mut work =
        Work { table, pools, touched: BTreeMap::new(), allocated: Vec::new(), refused: Refused::default() };
    for edit in edits {
        work.take(edit);
    }
    if replace {
        work.remove_the_others();
    }
    work.ipv6_is_unique();
    if work.refused.count() > 0 {
        return Err(work.refused);
    }
    let allocated = std::mem::take(&mut work.allocated);
    let delta = work.delta();
    let unchanged = (edits.len() as u64).saturating_sub(delta.len() as u64);
    Ok(Resolved { delta, allocated, unchanged })
}

/// A mapping as it will be, and the line that says so.
struct Touched {
    row: Option<Row>,
    line: Option<u32>,
}

struct Work<'t> {
    table: &'t Table,
    pools: &'t [Ipv4Net],
    touched: BTreeMap<Ipv4Net, Touched>,
    allocated: Vec<Allocated>,
    refused: Refused,
}

impl Work<'_> {
    fn take(&mut self, edit: &Edit) {
        match edit.target {
            Target::Add { ipv4, ipv6 } => self.add(edit, ipv4, ipv6),
            Target::Set { ipv4, ipv6 } => self.set(edit, ipv4, ipv6),
            Target::Auto { ipv6 } => self.auto(edit, ipv6),
            Target::Remove { ipv4, ipv6 } => self.remove(edit, ipv4, ipv6),
        }
    }

    /// The mapping as the edits so far leave it.
    fn now(&self, ipv4: Ipv4Net) -> Option<Row> {
        match self.touched.get(&ipv4) {
            Some(touched) => touched.row.clone(),
            None => self.table.get4(ipv4).map(|owned| owned.row(ipv4)),
        }
    }

    fn add(&mut self, edit: &Edit, ipv4: Ipv4Net, ipv6: Ipv6Net) {
        match self.now(ipv4) {
            Some(row) if row.ipv6 == ipv6 => {
                // The same once more, with another note at most.
                if edit.comment.is_some() && note(edit) != row.comment {
                    self.set(edit, ipv4, ipv6);
                }
            }
            Some(row) => {
                let owner = self.table.get4(ipv4).map_or_else(String::new, |owned| self.owner(owned));
                self.refused.push(
                    edit.line,
                    format!("{ipv4} = {ipv6}"),
                    format!("{ipv4} is mapped to {}{owner}", row.ipv6),
                    "remove that mapping first, or replace it: `eam add --replace`, or \"op\":\"set\"".into(),
                );
            }
            None => self.put(edit, Row { ipv4, ipv6, comment: note(edit) }),
        }
    }

    fn set(&mut self, edit: &Edit, ipv4: Ipv4Net, ipv6: Ipv6Net) {
        if let Some(owned) = self.table.get4(ipv4)
            && self.is_of_a_file(edit, ipv4, owned)
        {
            return;
        }
        let comment = match (&edit.comment, self.now(ipv4)) {
            (None, Some(row)) => row.comment,
            _ => note(edit),
        };
        self.put(edit, Row { ipv4, ipv6, comment });
    }

    fn auto(&mut self, edit: &Edit, ipv6: Ipv6Net) {
        if ipv6.prefix_len() != 128 {
            let remedy = "name one IPv6 address, or choose the IPv4 prefix yourself";
            return self.refused.push(
                edit.line,
                ipv6.to_string(),
                "is no single address".into(),
                remedy.into(),
            );
        }
        let touched = &self.touched;
        let is_taken = |address: Ipv4Addr| {
            let net = Ipv4Net::from(address);
            (0..=32).any(|length| {
                Ipv4Net::new(net.network(), length)
                    .ok()
                    .and_then(|around| touched.get(&around.trunc()))
                    .is_some_and(|touched| touched.row.is_some())
            })
        };
        let Some(address) = pools::free(self.table, self.pools, is_taken) else {
            let message = if self.pools.is_empty() {
                "there is no service pool to take an address from"
            } else {
                "no service address is free"
            };
            let remedy = "add a pool to `service_pools` and reload, or remove mappings";
            return self.refused.push(edit.line, ipv6.to_string(), message.into(), remedy.into());
        };
        let ipv4 = Ipv4Net::from(address);
        self.allocated.push(Allocated { ipv4: ipv4.to_string(), ipv6: ipv6.to_string() });
        self.put(edit, Row { ipv4, ipv6, comment: note(edit) });
    }

    fn remove(&mut self, edit: &Edit, ipv4: Option<Ipv4Net>, ipv6: Option<Ipv6Net>) {
        let named = match (ipv4, ipv6) {
            (Some(ipv4), _) => ipv4.to_string(),
            (None, Some(ipv6)) => ipv6.to_string(),
            (None, None) => String::new(),
        };
        let found = ipv4.or_else(|| self.by_ipv6(ipv6?));
        let Some(row) = found.and_then(|ipv4| self.now(ipv4)) else {
            let remedy = "`borderctl eam list` shows what there is";
            return self.refused.push(edit.line, named, "is not mapped".into(), remedy.into());
        };
        if let Some(ipv6) = ipv6.filter(|ipv6| *ipv6 != row.ipv6) {
            let message = format!("is mapped to {}, not to {ipv6}", row.ipv6);
            return self.refused.push(edit.line, named, message, "name the mapping as it is".into());
        }
        if let Some(owned) = self.table.get4(row.ipv4)
            && self.is_of_a_file(edit, row.ipv4, owned)
        {
            return;
        }
        self.touched.insert(row.ipv4, Touched { row: None, line: edit.line });
    }

    /// The mapping that has this IPv6 prefix as the edits so far leave it.
    fn by_ipv6(&self, ipv6: Ipv6Net) -> Option<Ipv4Net> {
        let has_it = |ipv4: &Ipv4Net| self.now(*ipv4).is_some_and(|row| row.ipv6 == ipv6);
        let there = self.table.get6(ipv6).map(|(ipv4, _)| ipv4).filter(has_it);
        there.or_else(|| self.touched.keys().copied().find(has_it))
    }

    /// Refuses to touch what a file has the say about.
    fn is_of_a_file(&mut self, edit: &Edit, ipv4: Ipv4Net, owned: &Owned) -> bool {
        let (file, Some(line)) = self.table.owner(owned.owner) else { return false };
        self.refused.push(
            edit.line,
            format!("{ipv4} = {}", owned.ipv6),
            format!("is written in {file}, line {line}"),
            format!("change it there and `borderctl reload`, or take it out of {file} and add it here"),
        );
        true
    }

    fn owner(&self, owned: &Owned) -> String {
        match self.table.owner(owned.owner) {
            (file, Some(line)) => format!(" ({file}, line {line})"),
            _ => String::new(),
        }
    }

    fn put(&mut self, edit: &Edit, row: Row) {
        self.touched.insert(row.ipv4, Touched { row: Some(row), line: edit.line });
    }

    fn remove_the_others(&mut self) {
        for row in self.table.stored() {
            self.touched.entry(row.ipv4).or_insert(Touched { row: None, line: None });
        }
    }

    /// Two mappings with one IPv6 prefix would make the way back ambiguous (RFC 7757 section 5).
    fn ipv6_is_unique(&mut self) {
        let mut seen: HashMap<Ipv6Net, Ipv4Net> = HashMap::with_capacity(self.touched.len());
        for (ipv4, touched) in &self.touched {
            let Some(row) = &touched.row else { continue };
            let here = seen.insert(row.ipv6, *ipv4);
            let there = self
                .table
                .get6(row.ipv6)
                .filter(|(other, _)| other != ipv4 && !self.touched.contains_key(other));
            let (other, owner) = match (here, there) {
                (Some(other), _) => (other, String::new()),
                (None, Some((other, owned))) => (other, self.owner(owned)),
                (None, None) => continue,
            };
            self.refused.push(
                touched.line,
                format!("{ipv4} = {}", row.ipv6),
                format!("{} is the IPv6 prefix of {other}{owner}", row.ipv6),
                "give each mapping an IPv6 prefix of its own".into(),
            );
        }
    }

    fn delta(self) -> Delta {
        let mut delta = Delta::default();
        for (ipv4, touched) in self.touched {
            let before = self.table.get4(ipv4).filter(|owned| owned.owner == Owner::Store);
            match (before.map(|owned| owned.row(ipv4)), touched.row) {
                (None, Some(row)) => delta.added.push(row),
                (Some(row), None) => delta.removed.push(row),
                (Some(from), Some(to)) if from != to => delta.changed.push((from, to)),
                _ => {}
            }
        }
        delta
    }
}

fn note(edit: &Edit) -> Option<Arc<str>> {
    edit.comment.clone().filter(|comment| !comment.is_empty())
}
