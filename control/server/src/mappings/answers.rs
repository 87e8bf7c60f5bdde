//! What is asked without changing anything.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use control_api::{
    Candidate, Check, Code, Diff, Entry, History, Lookup, Pending, Pool, Pools, Refusal, RevisionSummary,
};
use eam_store::{Changes, Eam, OwnedRow, Owner, RevisionId, StageError};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Mappings;
use super::convert::{self, commit_error, entry, revision, stage_error, store_error};
use super::edits::{Cursors, free};
use super::engine::State;
use crate::body::LISTED;
use crate::relay::{Entries, ListQuery};

/// Mappings that are taken out of the store at a time: a commit waits so long for a list, and a list costs so much memory.
const AT_A_TIME: usize = 512;

impl Mappings {
    /// See [`crate::Relay::revision`].
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.lock().store.head().id.0
    }

    /// The revision in force, and how many changes are staged.
    #[must_use]
    pub fn summary(&self) -> (RevisionSummary, u64) {
        let state = self.lock();
        let head = revision(state.store.head());
        let pending = state.store.pending().map(|pending| convert::pending(&pending).until);
        let staged = state.candidate.changes().as_slice().len() as u64;
        (RevisionSummary { id: head.id, digest: head.digest, pending_until: pending }, staged)
    }

    /// See [`crate::Relay::eams`]. Each five hundred mappings are of one moment.
    ///
    /// # Errors
    /// [`Refusal`] of the store.
    pub fn eams(&self, query: &ListQuery) -> Result<Entries, Refusal> {
        let state = self.lock();
        let revision = state.store.head().id.0;
        let mut left = query.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let owner = query.owner.clone();
        let is_owners = move |entry: &Entry| owner.as_ref().is_none_or(|owner| is_of(entry, owner));
        let mut around = Vec::new();
        let (mut within, mut inside6) = (Ipv4Net::default(), None);
        match query.within {
            None => {}
            Some(IpNet::V4(net)) => {
                let covering =
                    state.store.covering(net.network().into()).map_err(|error| store_error(&error))?;
                let outer =
                    covering.iter().filter(|row| row.row.eam().ipv4().prefix_len() < net.prefix_len());
                around = outer.map(entry).collect();
                within = net;
            }
            Some(IpNet::V6(net)) => inside6 = Some(net),
        }
        drop(state);
        let mut pages = std::iter::once(around).chain(self.pages(within, inside6));
        let slices = std::iter::from_fn(move || {
            let mut slice = if left > 0 { pages.next()? } else { return None };
            slice.retain(&is_owners);
            slice.truncate(left);
            left -= slice.len();
            Some(slice)
        });
        Ok(Entries { revision, slices: Box::new(slices) })
    }

    /// Every mapping inside an IPv4 prefix, of these those whose IPv6 prefix is inside `inside6` or around it.
    fn pages(&self, within: Ipv4Net, inside6: Option<Ipv6Net>) -> Pages {
        Pages { mappings: self.clone(), within, inside6, last: None, ended: false }
    }

    /// See [`crate::Relay::eam`].
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub fn eam(&self, net: IpNet) -> Result<Entry, Refusal> {
        let state = self.lock();
        let found = match net {
            IpNet::V4(net) => state.store.get_ipv4(net),
            IpNet::V6(net) => state.store.get_ipv6(net),
        };
        found.map_err(|error| store_error(&error))?.as_ref().map(entry).ok_or_else(|| {
            Refusal::new(
                Code::NotFound,
                format!("{net} is not mapped"),
                "`borderctl eam lookup ADDRESS` shows how it is translated all the same",
            )
        })
    }

    /// See [`crate::Relay::lookup`].
    ///
    /// # Errors
    /// [`Refusal`] of the store.
    pub fn lookup(&self, address: IpAddr) -> Result<Lookup, Refusal> {
        let state = self.lock();
        let covering = state.store.covering(address).map_err(|error| store_error(&error))?;
        let pool = state.rules.pools().into_iter().find(|pool| IpNet::V4(*pool).contains(&address));
        let by_prefix = state.rules.by_prefix(address);
        drop(state);
        let mut entries = covering.iter().map(entry);
        let eam = entries.next();
        let shadowed = entries.collect();
        let (translated, prefix, text) = match (covering.first(), by_prefix, pool) {
            (Some(OwnedRow { row, .. }), _, _) => {
                let eam = row.eam();
                let translated = translate(&eam, address);
                let text =
                    format!("{address} is {translated} by the mapping {} = {}", eam.ipv4(), eam.ipv6());
                (Some(translated.to_string()), None, text)
            }
            (None, _, Some(pool)) => {
                (None, None, format!("{address} is a free address of the service pool {pool}: unreachable"))
            }
            (None, Some((translated, prefix)), None) => {
                let text = format!("{address} is {translated} by the translation prefix {prefix}");
                (Some(translated.to_string()), Some(prefix.to_string()), text)
            }
            (None, None, None) => (None, None, format!("nothing translates {address}")),
        };
        Ok(Lookup { address: address.to_string(), translated, eam, prefix, shadowed, text, worker: None })
    }

    /// The IPv6 prefix that is written for exactly this IPv4 prefix, and where: `relay.toml, line 18`, or `store, revision 7`, with
    /// the note that stands there.
    #[must_use]
    pub fn written(&self, ipv4: Ipv4Net) -> Option<(Ipv6Net, String)> {
        let state = self.lock();
        let OwnedRow { row, owner } = state.store.get_ipv4(ipv4).ok().flatten()?;
        let place = match &owner {
            Owner::Store => match state.store.brought_by(ipv4).ok().flatten() {
                Some(revision) => format!("store, revision {}", revision.0),
                None => "store".to_owned(),
            },
            Owner::Config { file, line } => format!("{file}, line {line}"),
            Owner::File { name, line } => format!("{name}, line {line}"),
        };
        let note = row.comment().map_or_else(String::new, |comment| format!(" ({comment})"));
        Some((row.eam().ipv6(), place + &note))
    }

    /// The service pool an address is in.
    #[must_use]
    pub fn service_pool(&self, address: IpAddr) -> Option<Ipv4Net> {
        self.lock().rules.pools().into_iter().find(|pool| IpNet::V4(*pool).contains(&address))
    }

    /// See [`crate::Relay::pools`].
    ///
    /// # Errors
    /// [`Refusal`] of the store.
    pub fn pools(&self) -> Result<Pools, Refusal> {
        let pools = self.lock().rules.pools();
        let pools = pools.into_iter().map(|pool| self.pool(pool)).collect::<Result<_, _>>()?;
        Ok(Pools { pools })
    }

    fn pool(&self, pool: Ipv4Net) -> Result<Pool, Refusal> {
        let addresses = 1_u64 << (32 - pool.prefix_len());
        let mut used = 0;
        let next_free = free(&mut self.lock().store, &[pool], &HashSet::new(), &mut Cursors::new())?;
        let covering =
            self.lock().store.covering(pool.network().into()).map_err(|error| store_error(&error))?;
        // As for free addresses, 0.0.0.0/0 stands for the Internet and uses none.
        let is_around = |net: Ipv4Net| net.prefix_len() > 0 && net.contains(&pool);
        if covering.iter().any(|row| is_around(row.row.eam().ipv4())) {
            used = addresses;
        } else {
            let mut next = u64::from(pool.network().to_bits());
            let mut last = None;
            loop {
                let rows =
                    self.lock().store.list(pool, last, AT_A_TIME).map_err(|error| store_error(&error))?;
                for row in &rows {
                    let net = row.row.eam().ipv4();
                    let end = u64::from(net.broadcast().to_bits()) + 1;
                    // A prefix inside one that was counted adds nothing.
                    used += end.saturating_sub(next.max(u64::from(net.network().to_bits())));
                    next = next.max(end);
                }
                last = rows.last().map(|row| row.row.eam().ipv4());
                if rows.len() < AT_A_TIME {
                    break;
                }
            }
        }
        let next_free = next_free.map(|address| address.to_string());
        Ok(Pool { prefix: pool.to_string(), addresses, used, free: addresses - used, next_free })
    }

    /// See [`crate::Relay::candidate`].
    ///
    /// # Errors
    /// [`Refusal`], when what is staged no longer fits.
    pub fn candidate(&self) -> Result<Candidate, Refusal> {
        self.lock().candidate()
    }

    /// See [`crate::Relay::discard`].
    pub fn discard(&self) -> Candidate {
        let mut state = self.lock();
        let staged = std::mem::take(&mut state.candidate);
        let head = state.store.head().id;
        let base = staged.base().filter(|_| !staged.is_empty());
        Candidate {
            base: base.map(|base| base.0),
            stale: base.is_some_and(|base| base != head),
            diff: convert::diff(head.0, None, &staged.changes()),
        }
    }

    /// See [`crate::Relay::pending`].
    #[must_use]
    pub fn pending(&self) -> Option<Pending> {
        self.lock().store.pending().map(|pending| convert::pending(&pending))
    }

    /// See [`crate::Relay::check`].
    ///
    /// # Errors
    /// [`Refusal`] of the store.
    pub fn check(&self) -> Result<Check, Refusal> {
        let state = self.lock();
        let mut check = Check {
            candidate: !state.candidate.is_empty(),
            eams: 0,
            problems: Vec::new(),
            warnings: Vec::new(),
            more: 0,
        };
        if check.candidate {
            let counts = state.candidate.changes().counts();
            check.eams = state.store.ranges().whole().rows + counts.added - counts.removed;
            match state.store.rebase(&state.candidate) {
                Ok(_) => {}
                Err(StageError::Conflict(found)) => check.problems.push(convert::conflict(None, &found)),
                Err(StageError::Store(error)) => return Err(store_error(&error)),
            }
            let rows = state.candidate.changes().as_slice().to_vec();
            let rules = state.rules.of_store();
            drop(state);
            for row in rows.iter().filter_map(eam_store::Change::after) {
                lint(&rules, &row.eam(), &mut check);
            }
            return Ok(check);
        }
        let rules = state.rules.of_store();
        drop(state);
        for entry in self.pages(Ipv4Net::default(), None).flatten() {
            check.eams += 1;
            if let (Ok(ipv4), Ok(ipv6)) = (entry.ipv4.parse(), entry.ipv6.parse())
                && let Ok(eam) = Eam::new(ipv4, ipv6)
            {
                lint(&rules, &eam, &mut check);
            }
        }
        Ok(check)
    }

    /// See [`crate::Relay::diff`].
    ///
    /// # Errors
    /// [`Refusal`], when there is no such revision.
    pub fn diff(&self, from: u64, to: Option<u64>) -> Result<Diff, Refusal> {
        let state = self.lock();
        let to = to.unwrap_or(state.store.head().id.0);
        let changes =
            state.store.diff(RevisionId(from), RevisionId(to)).map_err(|error| commit_error(&error))?;
        Ok(convert::diff(from, Some(to), &changes))
    }

    /// See [`crate::Relay::history`].
    ///
    /// # Errors
    /// [`Refusal`] of the store.
    pub fn history(&self, before: Option<u64>, limit: u32) -> Result<History, Refusal> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let revisions = self.lock().store.history(before.map(RevisionId), limit);
        Ok(revisions.map_err(|error| store_error(&error))?.iter().map(revision).collect())
    }
}

impl State {
    fn candidate(&self) -> Result<Candidate, Refusal> {
        let head = self.store.head().id;
        if self.candidate.is_empty() {
            let diff = convert::diff(head.0, None, &Changes::default());
            return Ok(Candidate { base: None, stale: false, diff });
        }
        let base = self.candidate.base();
        let stale = base != Some(head);
        let changes = if stale {
            self.store.rebase(&self.candidate).map_err(|error| stage_error(None, &error))?.changes()
        } else {
            self.candidate.changes()
        };
        Ok(Candidate { base: base.map(|base| base.0), stale, diff: convert::diff(head.0, None, &changes) })
    }
}

/// What the rules say about one mapping by itself.
fn lint(rules: &eam_store::Rules, eam: &Eam, check: &mut Check) {
    let Some(lint) = &rules.lint else { return };
    let told = match lint.check(eam) {
        Ok(texts) => texts
            .into_iter()
            .map(|text| (false, convert::warning(None, &eam_store::Finding::Other { eam: *eam, text })))
            .collect(),
        Err(reason) => {
            let refused = eam_store::Conflict::Refused { eam: *eam, reason };
            vec![(true, convert::conflict(None, &refused))]
        }
    };
    for (is_problem, finding) in told {
        let findings = if is_problem { &mut check.problems } else { &mut check.warnings };
        if findings.len() < LISTED { findings.push(finding) } else { check.more += 1 }
    }
}

/// Whether an owner is the one asked for: the store, the configuration, or a file by its name; as answers write it, `file:` in
/// front and its line behind, as well.
fn is_of(entry: &Entry, owner: &str) -> bool {
    let split = |owner: &str| {
        let owner = owner.strip_prefix("file:").unwrap_or(owner).to_owned();
        match owner.rsplit_once(':').and_then(|(name, line)| Some((name, line.parse::<u32>().ok()?))) {
            Some((name, line)) => (name.to_owned(), Some(line)),
            None => (owner, None),
        }
    };
    let ((name, line), (asked, only)) = (split(&entry.owner), split(owner));
    name == asked && only.is_none_or(|only| entry.line.or(line) == Some(only))
}

/// Every mapping inside a prefix, a page of the store at a time, of which a filter may leave nothing.
struct Pages {
    mappings: Mappings,
    within: Ipv4Net,
    /// Only those whose IPv6 prefix is inside this one, or around it.
    inside6: Option<Ipv6Net>,
    last: Option<Ipv4Net>,
    ended: bool,
}

impl Iterator for Pages {
    type Item = Vec<Entry>;

    fn next(&mut self) -> Option<Vec<Entry>> {
        if self.ended {
            return None;
        }
        let rows =
            self.mappings.lock().store.list(self.within, self.last, AT_A_TIME).unwrap_or_else(|error| {
                tracing::error!("a list ends early: {error}");
                Vec::new()
            });
        self.ended = rows.len() < AT_A_TIME;
        self.last = rows.last().map(|row| row.row.eam().ipv4()).or(self.last);
        let is_wanted = |row: &&OwnedRow| {
            let ipv6 = row.row.eam().ipv6();
            self.inside6.is_none_or(|net| net.contains(&ipv6) || ipv6.contains(&net))
        };
        Some(rows.iter().filter(is_wanted).map(entry).collect())
    }
}

/// What a mapping makes of an address under it (RFC 7757 3.3): the suffix moves, the rest of an IPv6 suffix is zero.
fn translate(eam: &Eam, address: IpAddr) -> IpAddr {
    let (net4, net6) = (eam.ipv4(), eam.ipv6());
    let spare = u32::from((128 - net6.prefix_len()).saturating_sub(32 - net4.prefix_len()));
    match address {
        IpAddr::V4(address) => {
            let suffix = u128::from(address.to_bits() & net4.hostmask().to_bits());
            Ipv6Addr::from_bits(net6.network().to_bits() | suffix.checked_shl(spare).unwrap_or(0)).into()
        }
        IpAddr::V6(address) => {
            let suffix = (address.to_bits() & net6.hostmask().to_bits()).checked_shr(spare).unwrap_or(0);
            Ipv4Addr::from_bits(net4.network().to_bits() | u32::try_from(suffix).unwrap_or(u32::MAX)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_asked_for_by_name_and_as_answers_write_them() {
        let owned = |owner: &str, line| Entry {
            ipv4: String::new(),
            ipv6: String::new(),
            owner: owner.into(),
            comment: String::new(),
            line,
        };
        let (file, config, store) =
            (owned("file:eams.csv:3", Some(3)), owned("config", Some(24)), owned("store", None));
        for (asked, expected) in [
            ("eams.csv", [true, false, false]),
            ("file:eams.csv", [true, false, false]),
            ("file:eams.csv:3", [true, false, false]),
            ("eams.csv:4", [false, false, false]),
            ("config", [false, true, false]),
            ("config:24", [false, true, false]),
            ("config:3", [false, false, false]),
            ("store", [false, false, true]),
            ("nope", [false, false, false]),
        ] {
            assert_eq!([&file, &config, &store].map(|entry| is_of(entry, asked)), expected, "{asked}");
        }
    }

    #[test]
    fn suffixes_move_as_rfc_7757_says() {
        for (ipv4, ipv6, four, six) in [
            ("192.0.2.1/32", "2001:db8:aaaa::/128", "192.0.2.1", "2001:db8:aaaa::"),
            ("192.0.2.2/32", "2001:db8:bbbb::b/128", "192.0.2.2", "2001:db8:bbbb::b"),
            ("192.0.2.16/28", "2001:db8:cccc::/124", "192.0.2.24", "2001:db8:cccc::8"),
            ("192.0.2.128/26", "2001:db8:dddd::/64", "192.0.2.152", "2001:db8:dddd:0:6000::"),
        ] {
            let eam = Eam::new(ipv4.parse().unwrap(), ipv6.parse().unwrap()).unwrap();
            let (four, six): (IpAddr, IpAddr) = (four.parse().unwrap(), six.parse().unwrap());
            assert_eq!(translate(&eam, four), six);
            assert_eq!(translate(&eam, six), four);
        }
    }
}
