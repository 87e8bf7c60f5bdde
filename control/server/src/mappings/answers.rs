//! What is asked without changing anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use control_api::{
    Candidate, Changed, Check, Code, Diff, Entry, History, Lookup, Pending, Pools, Refusal, RevisionSummary,
    STORE, rfc3339,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::engine::{Mappings, State};
use super::table::Table;
use super::{Delta, Row, pools};
use crate::relay::{Entries, ListQuery};

/// Mappings of a difference that are listed one by one.
const LISTED: usize = 10_000;
/// Mappings that are taken out of the table at a time.
const AT_A_TIME: usize = 1024;

impl Mappings {
    /// See [`crate::Relay::revision`].
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.lock().head_id()
    }

    /// The revision in force, how many mappings there are, and how many changes are staged.
    ///
    /// # Errors
    /// [`Refusal`] of the store.
    pub fn summary(&self) -> Result<(RevisionSummary, u64, u64), Refusal> {
        let mut state = self.lock();
        let awaiting = state.awaiting()?;
        let head = state.store.as_ref().map(|store| store.head());
        let revision = RevisionSummary {
            id: head.as_ref().map_or(0, |head| head.id),
            digest: head.map_or_else(String::new, |head| head.digest),
            pending_until: awaiting.map(|awaiting| rfc3339(awaiting.until)),
        };
        let staged = state.candidate.as_ref().map_or(0, |staged| staged.edits.len() as u64);
        Ok((revision, state.table.len() as u64, staged))
    }

    /// See [`crate::Relay::eams`].
    #[must_use]
    pub fn eams(&self, query: &ListQuery) -> Entries {
        let state = self.lock();
        let (revision, table) = (state.head_id(), state.table.clone());
        drop(state);
        let limit = query.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let owner = query.owner.clone();
        let is_owners = move |entry: &Entry| owner.as_ref().is_none_or(|owner| *owner == entry.owner);
        let entries: Box<dyn Iterator<Item = Entry> + Send> = match query.within {
            None => Box::new(All { table, page: Vec::new().into_iter(), last: None, ended: false }),
            Some(net) => Box::new(within(&table, net).into_iter()),
        };
        Entries { revision, entries: Box::new(entries.filter(is_owners).take(limit)) }
    }

    /// See [`crate::Relay::eam`].
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub fn eam(&self, net: IpNet) -> Result<Entry, Refusal> {
        let state = self.lock();
        let found = match net {
            IpNet::V4(net) => state.table.get4(net).map(|row| state.table.entry(net, row)),
            IpNet::V6(net) => state.table.get6(net).map(|(ipv4, row)| state.table.entry(ipv4, row)),
        };
        found.ok_or_else(|| {
            Refusal::new(
                Code::NotFound,
                format!("{net} is not mapped"),
                "`borderctl eam lookup ADDRESS` shows how it is translated all the same",
            )
        })
    }

    /// See [`crate::Relay::lookup`].
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Lookup {
        let state = self.lock();
        let mut covering: Vec<Entry> = state
            .table
            .covering(address)
            .into_iter()
            .map(|(ipv4, row)| state.table.entry(ipv4, row))
            .collect();
        let first = state.table.covering(address).first().map(|(ipv4, row)| row.row(*ipv4));
        let pool = state.rules.pools().iter().find(|pool| IpNet::V4(**pool).contains(&address)).copied();
        let by_prefix = state.rules.by_prefix(address);
        drop(state);
        let eam = (!covering.is_empty()).then(|| covering.remove(0));
        let (translated, prefix, text) = match (first, by_prefix, pool) {
            (Some(row), _, _) => {
                let translated = translate(&row, address);
                let text = format!("{address} is {translated} by the mapping {} = {}", row.ipv4, row.ipv6);
                (Some(translated.to_string()), None, text)
            }
            (None, _, Some(pool)) => {
                let text = format!("{address} is a free address of the service pool {pool}: unreachable");
                (None, None, text)
            }
            (None, Some((translated, prefix)), None) => {
                let text = format!("{address} is {translated} by the translation prefix {prefix}");
                (Some(translated.to_string()), Some(prefix.to_string()), text)
            }
            (None, None, None) => (None, None, format!("nothing translates {address}")),
        };
        Lookup { address: address.to_string(), translated, eam, prefix, shadowed: covering, text }
    }

    /// See [`crate::Relay::pools`].
    #[must_use]
    pub fn pools(&self) -> Pools {
        let state = self.lock();
        let pools = state.rules.pools().iter().map(|pool| pools::pool(&state.table, *pool)).collect();
        Pools { pools }
    }

    /// See [`crate::Relay::candidate`].
    ///
    /// # Errors
    /// [`Refusal`], when what is staged no longer fits.
    pub fn candidate(&self) -> Result<Candidate, Refusal> {
        let mut state = self.lock();
        let head = state.store()?.head().id;
        let Some(staged) = state.candidate.clone() else {
            return Ok(Candidate {
                base: None,
                stale: false,
                diff: state.diff(head, None, &Delta::default()),
            });
        };
        let delta = state.resolve(&staged.edits, false)?.delta;
        Ok(Candidate {
            base: Some(staged.base),
            stale: staged.base != head,
            diff: state.diff(head, None, &delta),
        })
    }

    /// See [`crate::Relay::discard`].
    ///
    /// # Errors
    /// [`Refusal`] of the store.
    pub fn discard(&self) -> Result<Candidate, Refusal> {
        let candidate = self.candidate();
        let mut state = self.lock();
        let head = state.store()?.head().id;
        let staged = state.candidate.take();
        candidate.or_else(|_| {
            let base = staged.map(|staged| staged.base);
            Ok(Candidate { base, stale: true, diff: state.diff(head, None, &Delta::default()) })
        })
    }

    /// See [`crate::Relay::pending`].
    ///
    /// # Errors
    /// [`Refusal`] of the store.
    pub fn pending(&self) -> Result<Option<Pending>, Refusal> {
        let left = self.seconds_left();
        let Some(awaiting) = self.lock().awaiting()? else { return Ok(None) };
        Ok(Some(Pending {
            revision: awaiting.revision,
            back_to: awaiting.back_to,
            until: rfc3339(awaiting.until),
            seconds: left,
        }))
    }

    /// See [`crate::Relay::check`].
    ///
    /// # Errors
    /// [`Refusal`] of the store.
    pub fn check(&self) -> Result<Check, Refusal> {
        let mut state = self.lock();
        let staged = state.candidate.clone();
        let candidate = staged.is_some();
        let delta = match &staged {
            Some(staged) => match state.resolve(&staged.edits, false) {
                Ok(resolved) => resolved.delta,
                Err(refusal) if refusal.code == Code::Refused => {
                    let eams = state.table.len() as u64;
                    let (problems, more) = (refusal.findings, refusal.more);
                    return Ok(Check { candidate, eams, problems, warnings: Vec::new(), more });
                }
                Err(refusal) => return Err(refusal),
            },
            None => Delta::default(),
        };
        if candidate {
            let mut after = state.table.clone();
            after.apply(&delta);
            let found = state.findings(&delta);
            let (problems, warnings, more) = (found.problems, found.warnings, found.more);
            return Ok(Check { candidate, eams: after.len() as u64, problems, warnings, more });
        }
        let (table, rules) = (state.table.clone(), std::sync::Arc::clone(&state.rules));
        drop(state);
        let rows: Vec<Row> = table.iter().map(|(ipv4, owned)| owned.row(ipv4)).collect();
        let found = rules.check(&rows, rows.len());
        let (problems, warnings, more) = (found.problems, found.warnings, found.more);
        Ok(Check { candidate, eams: rows.len() as u64, problems, warnings, more })
    }

    /// See [`crate::Relay::diff`].
    ///
    /// # Errors
    /// [`Refusal`], when there is no such revision.
    pub fn diff(&self, from: u64, to: Option<u64>) -> Result<Diff, Refusal> {
        let mut state = self.lock();
        let head = state.store()?.head().id;
        let to = to.unwrap_or(head);
        let delta = state.store()?.delta(from, to)?;
        Ok(state.diff(from, Some(to), &delta))
    }

    /// See [`crate::Relay::history`].
    ///
    /// # Errors
    /// [`Refusal`] of the store.
    pub fn history(&self, before: Option<u64>, limit: u32) -> Result<History, Refusal> {
        self.lock().store()?.history(before, limit)
    }
}

impl State {
    fn diff(&self, from: u64, to: Option<u64>, delta: &Delta) -> Diff {
        let added = delta.added.iter().map(stored).take(LISTED);
        let removed = delta.removed.iter().map(stored).take(LISTED);
        let changed = delta.changed.iter().take(LISTED);
        let changed = changed.map(|(from, to)| Changed { from: stored(from), to: stored(to) });
        let diff = Diff {
            from,
            to,
            added: delta.added.len() as u64,
            removed: delta.removed.len() as u64,
            changed: delta.changed.len() as u64,
            added_eams: added.collect(),
            removed_eams: removed.collect(),
            changed_eams: changed.collect(),
            more: 0,
        };
        let listed = diff.added_eams.len() + diff.removed_eams.len() + diff.changed_eams.len();
        Diff { more: (delta.len() - listed) as u64, ..diff }
    }
}

fn stored(row: &Row) -> Entry {
    Entry {
        ipv4: row.ipv4.to_string(),
        ipv6: row.ipv6.to_string(),
        owner: STORE.to_owned(),
        comment: row.comment.as_deref().unwrap_or_default().to_owned(),
        line: None,
    }
}

/// Every mapping of a table, a page at a time.
struct All {
    table: Table,
    page: std::vec::IntoIter<Entry>,
    last: Option<Ipv4Net>,
    ended: bool,
}

impl Iterator for All {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if let Some(entry) = self.page.next() {
            return Some(entry);
        }
        if self.ended {
            return None;
        }
        let rows = self.table.after(self.last, AT_A_TIME);
        self.ended = rows.len() < AT_A_TIME;
        self.last = rows.last().map(|(net, _)| *net).or(self.last);
        self.page = rows.iter().map(|(net, row)| self.table.entry(*net, row)).collect::<Vec<_>>().into_iter();
        self.page.next()
    }
}

/// The mappings around and inside a prefix.
fn within(table: &Table, net: IpNet) -> Vec<Entry> {
    match net {
        IpNet::V4(net) => table
            .around4(net)
            .into_iter()
            .chain(table.inside4(net))
            .map(|(ipv4, row)| table.entry(ipv4, row))
            .collect(),
        IpNet::V6(net) => table
            .around6(net)
            .into_iter()
            .chain(table.inside6(net))
            .map(|(ipv4, row)| table.entry(ipv4, row))
            .collect(),
    }
}

/// What a mapping makes of an address under it (RFC 7757 3.3): the suffix moves, the rest of an IPv6 suffix is zero.
fn translate(row: &Row, address: IpAddr) -> IpAddr {
    let spare = (128 - row.ipv6.prefix_len()).saturating_sub(32 - row.ipv4.prefix_len());
    match address {
        IpAddr::V4(address) => {
            let suffix = u128::from(address.to_bits() & !mask4(row.ipv4));
            let shifted = suffix.checked_shl(spare.into()).unwrap_or(0);
            Ipv6Addr::from_bits(row.ipv6.network().to_bits() | shifted).into()
        }
        IpAddr::V6(address) => {
            let suffix = (address.to_bits() & !mask6(row.ipv6)).checked_shr(spare.into()).unwrap_or(0);
            let suffix = u32::try_from(suffix).unwrap_or(u32::MAX);
            Ipv4Addr::from_bits(row.ipv4.network().to_bits() | suffix).into()
        }
    }
}

fn mask4(net: Ipv4Net) -> u32 {
    net.netmask().to_bits()
}

fn mask6(net: Ipv6Net) -> u128 {
    net.netmask().to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_move_as_rfc_7757_says() {
        let row = |ipv4: &str, ipv6: &str| Row {
            ipv4: ipv4.parse().unwrap(),
            ipv6: ipv6.parse().unwrap(),
            comment: None,
        };
        for (ipv4, ipv6, four, six) in [
            ("192.0.2.1/32", "2001:db8:aaaa::/128", "192.0.2.1", "2001:db8:aaaa::"),
            ("192.0.2.2/32", "2001:db8:bbbb::b/128", "192.0.2.2", "2001:db8:bbbb::b"),
            ("192.0.2.16/28", "2001:db8:cccc::/124", "192.0.2.24", "2001:db8:cccc::8"),
            ("192.0.2.128/26", "2001:db8:dddd::/64", "192.0.2.152", "2001:db8:dddd:0:6000::"),
        ] {
            let row = row(ipv4, ipv6);
            let (four, six): (IpAddr, IpAddr) = (four.parse().unwrap(), six.parse().unwrap());
            assert_eq!(translate(&row, four), six);
            assert_eq!(translate(&row, six), four);
        }
    }
}
