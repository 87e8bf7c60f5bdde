//! From what was asked to edits of the store.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use control_api::{Allocated, Finding, Refusal};
use eam_store::{Candidate, Eam, ImportError, OwnedRow, Owner, Row, Store};
use ipnet::{Ipv4Net, Ipv6Net};

use super::convert::{conflict, store_error, too_large, warning};
use super::{Edit, Target};
use crate::body::LISTED;
use crate::reply::refused;

/// What edits came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) allocated: Vec<Allocated>,
    pub(super) warnings: Vec<Finding>,
    pub(super) more_warnings: u64,
    /// Edits that change nothing.
    pub(super) unchanged: u64,
}

/// Puts edits into a candidate, all or none. Removals come first, wherever they stand: they name what was there before. What is added
/// and set follows in its order, so of two that set a mapping the later one counts, and nothing is added on top of another mapping.
///
/// With `replace`, mappings of the store that are not among them go first, also those of an address that gets another one: the store
/// becomes what the edits say, whatever order that takes and whatever was staged.
pub(super) fn stage(
    store: &mut Store,
    candidate: &mut Candidate,
    pools: &[Ipv4Net],
    edits: &[Edit],
    replace: bool,
) -> Result<Outcome, Refusal> {
    store.expect_many(edits.len()).map_err(|error| store_error(&error))?;
    let outcome = stage_expected(store, candidate, pools, edits, replace);
    store.forget();
    outcome
}

fn stage_expected(
    store: &mut Store,
    candidate: &mut Candidate,
    pools: &[Ipv4Net],
    edits: &[Edit],
    replace: bool,
) -> Result<Outcome, Refusal> {
    if replace {
        *candidate = Candidate::default();
    }
    let mut work = Work {
        store,
        candidate,
        pools,
        allocates: edits.iter().any(|edit| matches!(edit.target, Target::Auto { .. })),
        taken: HashSet::new(),
        replace,
        cursors: Cursors::new(),
        gone: HashSet::new(),
        again: named_again(edits),
        made: HashMap::new(),
        kept: HashSet::new(),
        outcome: Outcome::default(),
        findings: Vec::new(),
        more: 0,
    };
    if work.allocates {
        work.taken.extend(work.candidate.changes().gained().map(|eam| eam.ipv4()));
    }
    for edit in edits {
        if let Target::Remove { ipv4, ipv6 } = edit.target
            && let Some(ipv4) = work.named(ipv4, ipv6)?
            && !work.gone.insert(ipv4)
        {
            let remedy = "leave one of the two out";
            work.refuse(
                edit,
                ipv4.to_string(),
                "an edit before it in the same request removes it already",
                remedy,
            );
        }
    }
    let mut lines = Vec::with_capacity(edits.len());
    let mut wanted = Vec::with_capacity(edits.len());
    for edit in edits {
        if let Some(edit_of_store) = work.read(edit)? {
            lines.push(edit.line);
            wanted.push(edit_of_store);
        }
    }
    if replace {
        // What is asked to go goes once.
        work.kept.extend(work.gone.iter().copied());
        wanted.extend(others(work.store, &work.kept)?);
    }
    let Work { store, mut outcome, findings, more, .. } = work;
    if !findings.is_empty() {
        return Err(refused(findings, more));
    }
    let imported = store.stage_all(candidate, wanted).map_err(|error| import_error(&lines, &error))?;
    let line = |at: usize| lines.get(at).copied().flatten();
    let told = imported.findings.len().min(LISTED);
    outcome.more_warnings = (imported.findings.len() - told + imported.more) as u64;
    outcome.warnings =
        imported.findings.iter().take(LISTED).map(|(at, finding)| warning(line(*at), finding)).collect();
    Ok(outcome)
}

/// Whether it is the very mapping that an edit asks for: asked twice, it is there once.
fn is_there(held: &OwnedRow, ipv6: Ipv6Net, edit: &Edit) -> bool {
    let comment = edit.comment.as_deref().filter(|comment| !comment.is_empty());
    held.owner == Owner::Store
        && held.row.eam().ipv6() == ipv6
        && (edit.comment.is_none() || held.row.comment() == comment)
}

/// Addresses that are added or set more than once.
fn named_again(edits: &[Edit]) -> HashSet<Ipv4Net> {
    let named = edits.iter().filter_map(|edit| match edit.target {
        Target::Add { ipv4, .. } | Target::Set { ipv4, .. } => Some(ipv4),
        Target::Auto { .. } | Target::Remove { .. } => None,
    });
    let mut named: Vec<Ipv4Net> = named.collect();
    named.sort_unstable();
    named.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect()
}

fn import_error(lines: &[Option<u32>], error: &ImportError) -> Refusal {
    match error {
        ImportError::Store(error) => store_error(error),
        ImportError::TooLarge(error) => too_large(error),
        ImportError::Conflicts { conflicts, more } => {
            let line = |at: usize| lines.get(at).copied().flatten();
            let listed =
                conflicts.iter().take(LISTED).map(|(at, found)| conflict(line(*at), found)).collect();
            let rest = conflicts.len().saturating_sub(LISTED) + more;
            refused(listed, rest as u64)
        }
    }
}

/// Removals of the store's rows that are not kept.
fn others(store: &Store, kept: &HashSet<Ipv4Net>) -> Result<Vec<eam_store::Edit>, Refusal> {
    let eams = store.eams().map_err(|error| store_error(&error))?;
    let gone = eams.iter().map(Eam::ipv4).filter(|ipv4| !kept.contains(ipv4));
    Ok(gone.map(|ipv4| eam_store::Edit::Remove { ipv4, ipv6: None }).collect())
}

struct Work<'s, 'c> {
    store: &'s mut Store,
    /// What is staged already: edits go on top of it.
    candidate: &'c Candidate,
    pools: &'s [Ipv4Net],
    /// Whether a free service address is looked for.
    allocates: bool,
    /// Service addresses that edits before have taken, if so.
    taken: HashSet<Ipv4Net>,
    cursors: Cursors,
    /// Addresses whose mappings the edits remove: what is added for them is new.
    gone: HashSet<Ipv4Net>,
    /// Addresses that are added or set more than once.
    again: HashSet<Ipv4Net>,
    /// What edits before have made of them.
    made: HashMap<Ipv4Net, Row>,
    /// Whether the store's other mappings go.
    replace: bool,
    /// Those that stay, or are changed where they are.
    kept: HashSet<Ipv4Net>,
    outcome: Outcome,
    findings: Vec<Finding>,
    more: u64,
}

impl Work<'_, '_> {
    /// The store's edit; none when there is nothing to do, or when it was refused.
    fn read(&mut self, edit: &Edit) -> Result<Option<eam_store::Edit>, Refusal> {
        match edit.target {
            Target::Add { ipv4, ipv6 } => self.add(edit, ipv4, ipv6),
            Target::Set { ipv4, ipv6 } => self.set(edit, ipv4, ipv6),
            Target::Auto { ipv6 } => self.auto(edit, ipv6),
            Target::Remove { ipv4, ipv6 } => self.remove(edit, ipv4, ipv6),
        }
    }

    fn add(&mut self, edit: &Edit, ipv4: Ipv4Net, ipv6: Ipv6Net) -> Result<Option<eam_store::Edit>, Refusal> {
        let held = self.held(ipv4)?.filter(|held| held.owner == Owner::Store);
        if let Some(held) = held.as_ref().filter(|held| is_there(held, ipv6, edit)) {
            self.keep(ipv4);
            self.outcome.unchanged += 1;
            self.remember(&held.row);
            return Ok(None);
        }
        if let Some(made) = self.made.get(&ipv4) {
            let message = format!("an edit before it in the same request maps it to {}", made.eam().ipv6());
            let remedy = "leave one of the two out, or replace the first: \"op\":\"set\"";
            self.refuse(edit, format!("{ipv4} = {ipv6}"), &message, remedy);
            return Ok(None);
        }
        self.take(ipv4);
        if self.replace && held.is_some() {
            self.keep(ipv4);
            let note = self.note(ipv4, edit)?;
            return Ok(self.row(edit, ipv4, ipv6, note).map(eam_store::Edit::Put));
        }
        Ok(self.row(edit, ipv4, ipv6, None).map(eam_store::Edit::Add))
    }

    fn set(&mut self, edit: &Edit, ipv4: Ipv4Net, ipv6: Ipv6Net) -> Result<Option<eam_store::Edit>, Refusal> {
        self.keep(ipv4);
        // It stays among the edits all the same: of two for one address, the later one counts.
        let held = self.held(ipv4)?;
        self.outcome.unchanged += u64::from(held.is_some_and(|held| is_there(&held, ipv6, edit)));
        self.take(ipv4);
        let note = self.note(ipv4, edit)?;
        Ok(self.row(edit, ipv4, ipv6, note).map(eam_store::Edit::Put))
    }

    /// For the edits that follow.
    fn remember(&mut self, row: &Row) {
        let ipv4 = row.eam().ipv4();
        if self.again.contains(&ipv4) {
            self.made.insert(ipv4, row.clone());
        }
    }

    fn take(&mut self, ipv4: Ipv4Net) {
        if self.allocates {
            self.taken.insert(ipv4);
        }
    }

    fn keep(&mut self, ipv4: Ipv4Net) {
        if self.replace {
            self.kept.insert(ipv4);
        }
    }

    /// The mapping that an edit meets: what edits before it have made, none where the same request takes it away.
    fn held(&self, ipv4: Ipv4Net) -> Result<Option<OwnedRow>, Refusal> {
        if let Some(row) = self.made.get(&ipv4) {
            return Ok(Some(OwnedRow { row: row.clone(), owner: Owner::Store }));
        }
        let is_empty = self.store.head().rows == 0 && self.candidate.is_empty();
        if is_empty || self.gone.contains(&ipv4) {
            return Ok(None);
        }
        self.store.get_ipv4_in(self.candidate, ipv4).map_err(|error| store_error(&error))
    }

    /// The note of the mapping that is there, where the edit says nothing of one.
    fn note(&self, ipv4: Ipv4Net, edit: &Edit) -> Result<Option<Box<str>>, Refusal> {
        if edit.comment.is_some() {
            return Ok(None);
        }
        Ok(self.held(ipv4)?.and_then(|held| held.row.comment().map(Into::into)))
    }

    /// The row of an edit, with its note or else the one given.
    fn row(&mut self, edit: &Edit, ipv4: Ipv4Net, ipv6: Ipv6Net, held: Option<Box<str>>) -> Option<Row> {
        let comment = edit.comment.as_deref().or(held.as_deref());
        match Eam::new(ipv4, ipv6).and_then(|eam| Row::new(eam, comment)) {
            Ok(row) => {
                self.remember(&row);
                Some(row)
            }
            Err(error) => {
                self.refuse(edit, format!("{ipv4} = {ipv6}"), &error.to_string(), "correct it");
                None
            }
        }
    }

    fn auto(&mut self, edit: &Edit, ipv6: Ipv6Net) -> Result<Option<eam_store::Edit>, Refusal> {
        if ipv6.prefix_len() != 128 {
            let remedy = "name one IPv6 address, or choose the IPv4 prefix yourself";
            self.refuse(edit, ipv6.to_string(), "is no single address", remedy);
            return Ok(None);
        }
        let Some(address) = free(self.store, self.pools, &self.taken, &mut self.cursors)? else {
            let message = match self.pools {
                [] => "there is no service pool to take an address from",
                _ => "no service address is free",
            };
            self.refuse(
                edit,
                ipv6.to_string(),
                message,
                "add a pool to `service_pools` and reload, or remove mappings",
            );
            return Ok(None);
        };
        let ipv4 = Ipv4Net::from(address);
        self.taken.insert(ipv4);
        self.outcome.allocated.push(Allocated { ipv4: ipv4.to_string(), ipv6: ipv6.to_string() });
        Ok(self.row(edit, ipv4, ipv6, None).map(eam_store::Edit::Add))
    }

    fn remove(
        &mut self,
        edit: &Edit,
        ipv4: Option<Ipv4Net>,
        ipv6: Option<Ipv6Net>,
    ) -> Result<Option<eam_store::Edit>, Refusal> {
        match (self.named(ipv4, ipv6)?, ipv4, ipv6) {
            (Some(ipv4), Some(_), ipv6) => Ok(Some(eam_store::Edit::Remove { ipv4, ipv6 })),
            (Some(ipv4), None, _) => Ok(Some(eam_store::Edit::Remove { ipv4, ipv6: None })),
            (None, ..) => {
                let value = ipv6.map_or_else(String::new, |ipv6| ipv6.to_string());
                self.refuse(edit, value, "is not mapped", "`borderctl eam list` shows what there is");
                Ok(None)
            }
        }
    }

    /// The IPv4 prefix of the mapping that a removal names, by that prefix or by the other one.
    fn named(&self, ipv4: Option<Ipv4Net>, ipv6: Option<Ipv6Net>) -> Result<Option<Ipv4Net>, Refusal> {
        let (None, Some(ipv6)) = (ipv4, ipv6) else { return Ok(ipv4) };
        let held = self.store.get_ipv6_in(self.candidate, ipv6).map_err(|error| store_error(&error))?;
        Ok(held.map(|held| held.row.eam().ipv4()))
    }

    fn refuse(&mut self, edit: &Edit, value: String, message: &str, remedy: &str) {
        if self.findings.len() < LISTED {
            let (message, remedy) = (message.to_owned(), remedy.to_owned());
            self.findings.push(Finding { line: edit.line, value, message, remedy });
        } else {
            self.more += 1;
        }
    }
}

/// Where free addresses are looked for next, of each range: none before is free.
pub(super) type Cursors = HashMap<RangeInclusive<Ipv4Addr>, Ipv4Addr>;

/// The lowest free address of the pools. A pool's first and last address come when nothing else is left: some systems still
/// take them for something else.
pub(super) fn free(
    store: &mut Store,
    pools: &[Ipv4Net],
    taken: &HashSet<Ipv4Net>,
    cursors: &mut Cursors,
) -> Result<Option<Ipv4Addr>, Refusal> {
    let has_edges = |pool: &&Ipv4Net| pool.prefix_len() < 31;
    let inner = pools.iter().map(|pool| {
        let (first, last) = (pool.network(), pool.broadcast());
        let edge = u32::from(has_edges(&pool));
        Ipv4Addr::from_bits(first.to_bits() + edge)..=Ipv4Addr::from_bits(last.to_bits() - edge)
    });
    let edges = pools.iter().filter(has_edges).flat_map(|pool| [pool.network(), pool.broadcast()]);
    for range in inner.chain(edges.map(|edge| edge..=edge)) {
        if let Some(address) = free_in(store, range, taken, cursors)? {
            return Ok(Some(address));
        }
    }
    Ok(None)
}

fn free_in(
    store: &mut Store,
    range: RangeInclusive<Ipv4Addr>,
    taken: &HashSet<Ipv4Net>,
    cursors: &mut Cursors,
) -> Result<Option<Ipv4Addr>, Refusal> {
    let mut from = cursors.get(&range).copied().unwrap_or(*range.start());
    while let Some(address) = store.next_free(&range, from).map_err(|error| store_error(&error))? {
        if !is_taken(taken, address) {
            cursors.insert(range, address);
            return Ok(Some(address));
        }
        let Some(next) = address.to_bits().checked_add(1) else { break };
        from = Ipv4Addr::from_bits(next);
    }
    let last = *range.end();
    cursors.insert(range, last);
    Ok(None)
}

/// Whether an edit before has it. As in the store, 0.0.0.0/0 stands for the Internet and takes none.
fn is_taken(taken: &HashSet<Ipv4Net>, address: Ipv4Addr) -> bool {
    let around = |length| Ipv4Net::new(address, length).map(|net| net.trunc());
    !taken.is_empty() && (1..=32).filter_map(|length| around(length).ok()).any(|net| taken.contains(&net))
}
