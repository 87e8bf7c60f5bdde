//! The order of a commit.
//!
//! ```text
//! repeated? -> somebody else's turn? -> old view? -> resolve -> rules -> tables -> durable -> published -> answered
//! ```
//!
//! Up to *durable* nothing has changed, and whatever is refused is refused there. After it nothing can fail: publishing is one
//! pointer swap. All of it happens inside [`Tables::update`], so that no reload comes between.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control_api::{Code, Committed, Event, Finding, Refusal, Reloaded, Revision, State as Became, rfc3339};
use ipnet::Ipv4Net;
use tokio::sync::broadcast;

use super::pending::Clock;
use super::resolve::{Resolved, resolve};
use super::table::{Clash, FileRow, Table};
use super::{Awaiting, Delta, Draft, Edit, Next, Reach, Row, Rules, Store, Tables};
use crate::relay::{Events, Intent, Peer};

/// Events that wait for slow readers.
const EVENTS: usize = 256;

/// The mappings of a relay. Cloneable: all clones are the same.
#[derive(Clone)]
pub struct Mappings {
    pub(super) shared: Arc<Shared>,
}

/// What the parts of [`Mappings`] have in common.
pub(super) struct Shared {
    state: Mutex<State>,
    tables: std::sync::OnceLock<Box<dyn Tables>>,
    events: broadcast::Sender<Event>,
    pub(super) clock: Clock,
}

/// Everything that changes, and changes only inside [`Tables::update`].
pub(super) struct State {
    pub(super) table: Table,
    pub(super) store: Option<Box<dyn Store>>,
    pub(super) rules: Arc<dyn Rules>,
    pub(super) candidate: Option<Staged>,
}

/// What is staged: wishes, and the revision they were made on.
#[derive(Clone)]
pub(super) struct Staged {
    pub(super) base: u64,
    pub(super) edits: Vec<Edit>,
}

/// The half of [`Mappings`] that reloads talk to.
#[derive(Clone)]
pub struct Source {
    shared: Arc<Shared>,
}

impl Mappings {
    /// With what the files have, and the store's rows, if there is a store.
    ///
    /// # Errors
    /// [`Refusal`] of the store.
    pub fn new(store: Option<Box<dyn Store>>, rules: Arc<dyn Rules>) -> Self {
        let state = State { table: Table::default(), store, rules, candidate: None };
        let shared = Shared {
            state: Mutex::new(state),
            tables: std::sync::OnceLock::new(),
            events: broadcast::channel(EVENTS).0,
            clock: Clock::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// For reloads.
    #[must_use]
    pub fn source(&self) -> Source {
        Source { shared: Arc::clone(&self.shared) }
    }

    /// From now on changes reach packets. What awaited confirmation when the relay ended before is undone first: whoever asked for
    /// it may have lost his way to the box by it.
    ///
    /// # Errors
    /// Why it cannot be undone.
    pub fn start(&self, tables: Box<dyn Tables>) -> Result<(), Refusal> {
        let _ = self.shared.tables.set(tables);
        if self.lock().awaiting()?.is_some() {
            self.revert("not confirmed before the relay ended")?;
        }
        self.watch_the_clock();
        Ok(())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// Events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        let state = self.lock();
        Events { revision: state.head_id(), receiver: self.shared.events.subscribe() }
    }

    /// See [`crate::Relay::change`].
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn change(&self, intent: &Intent, edits: Vec<Edit>, replace: bool) -> Result<Committed, Refusal> {
        let comment = intent.comment.clone();
        self.update(intent, move |state| Ok((state.resolve(&edits, replace)?, comment, Became::Committed)))
    }

    /// See [`crate::Relay::commit`].
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn commit(&self, intent: &Intent) -> Result<Committed, Refusal> {
        let comment = intent.comment.clone();
        let committed = self.update(intent, move |state| {
            let Some(staged) = state.candidate.clone() else {
                return Err(Refusal::new(
                    Code::NotFound,
                    "nothing is staged",
                    "stage changes with `borderctl eam add --stage`, or commit them at once without `--stage`",
                ));
            };
            Ok((state.resolve(&staged.edits, false)?, comment, Became::Committed))
        })?;
        self.lock().candidate = None;
        Ok(committed)
    }

    /// See [`crate::Relay::rollback`].
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn rollback(&self, intent: &Intent, to: u64) -> Result<Committed, Refusal> {
        let comment = match intent.comment.as_str() {
            "" => format!("back to revision {to}"),
            comment => comment.to_owned(),
        };
        self.update(intent, move |state| {
            let head = state.head_id();
            let edits = state.store()?.delta(head, to)?.edits();
            Ok((state.resolve(&edits, false)?, comment, Became::Rollback))
        })
    }

    /// See [`crate::Relay::stage`].
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn stage(&self, intent: &Intent, edits: &[Edit], replace: bool) -> Result<Committed, Refusal> {
        let mut state = self.lock();
        let head = state.store()?.head();
        state.is_current(intent, &head)?;
        let base = state.candidate.as_ref().map_or(head.id, |staged| staged.base);
        let mut all = state.candidate.as_ref().map_or_else(Vec::new, |staged| staged.edits.clone());
        all.extend_from_slice(edits);
        let Resolved { delta, allocated, unchanged } = state.resolve(&all, replace)?;
        // What `auto` became stays what was answered.
        state.candidate = Some(Staged { base, edits: delta.edits() });
        let warnings = state.check(&delta)?;
        Ok(answer(head, &delta, allocated, unchanged, warnings).staged())
    }

    /// See [`crate::Relay::confirm`].
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn confirm(&self, intent: &Intent) -> Result<Revision, Refusal> {
        let mut state = self.lock();
        let Some(awaiting) = state.awaiting()? else {
            return Err(Refusal::new(
                Code::NotFound,
                "nothing awaits confirmation",
                "`borderctl history` shows what became of the last commit",
            ));
        };
        state.is_ours(intent.peer, &awaiting)?;
        state.is_current(intent, &awaiting.revision)?;
        let revision = state.store()?.confirm()?;
        self.shared.clock.stop();
        self.shared.tell(Event::Revision { revision: revision.clone() });
        Ok(revision)
    }

    /// Goes back to what was before whatever awaits confirmation.
    pub(super) fn revert(&self, why: &str) -> Result<(), Refusal> {
        let (shared, why) = (Arc::clone(&self.shared), why.to_owned());
        let reach = self.tables()?.update(Box::new(move |next| {
            let mut state = shared.lock();
            let Some(awaiting) = state.awaiting()? else { return Ok(()) };
            let wanted = state.store()?.delta(awaiting.revision.id, awaiting.back_to)?;
            // A file may have taken a prefix meanwhile: the rest comes back all the same.
            let (delta, given_up) = state.possible(&wanted.edits());
            next.apply(&delta)?;
            let comment = format!("{why}: back to revision {}", awaiting.back_to);
            let draft = Draft {
                delta: &delta,
                peer: None,
                comment: &comment,
                key: None,
                state: Became::Rollback,
                pending: None,
                reverts: true,
            };
            let revision = state.store()?.commit(&draft)?;
            state.table.apply(&delta);
            shared.clock.stop();
            tracing::warn!(revision = revision.id, undone = awaiting.revision.id, given_up, "{comment}");
            shared.tell(Event::Revision { revision });
            Ok(())
        }))?;
        if reach == Reach::Awaited {
            tracing::warn!("a worker still uses the mappings of before");
        }
        Ok(())
    }

    /// Where the order of a commit is.
    fn update(
        &self,
        intent: &Intent,
        wish: impl FnOnce(&mut State) -> Result<(Resolved, String, Became), Refusal> + Send + 'static,
    ) -> Result<Committed, Refusal> {
        let (answer, answered) = std::sync::mpsc::channel();
        let (shared, intent) = (Arc::clone(&self.shared), intent.clone());
        let reach = self.tables()?.update(Box::new(move |next| {
            let committed = shared.lock().commit(&intent, wish, next, &shared)?;
            // Whoever asked waits for it.
            let _ = answer.send(committed);
            Ok(())
        }))?;
        let mut committed = answered.try_recv().map_err(|_| {
            Refusal::new(Code::Internal, "the change was not carried out", "report it, with the relay's log")
        })?;
        if reach == Reach::Awaited {
            committed.warnings.push(Finding {
                line: None,
                value: String::new(),
                message: "a worker still uses the mappings of before: it has not looked for 5 s".into(),
                remedy: "see `borderctl workers`".into(),
            });
        }
        Ok(committed)
    }

    fn tables(&self) -> Result<&dyn Tables, Refusal> {
        self.shared
            .tables
            .get()
            .map(|tables| &**tables)
            .ok_or_else(|| Refusal::new(Code::Unavailable, "the relay is starting", "ask again in a moment"))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }
}

impl State {
    pub(super) fn store(&mut self) -> Result<&mut dyn Store, Refusal> {
        match &mut self.store {
            Some(store) => Ok(&mut **store),
            None => Err(Refusal::new(
                Code::NoStore,
                "this relay has no store, its mappings come from files alone",
                "set `store` in [control] and restart, or change the files and `borderctl reload`",
            )),
        }
    }

    pub(super) fn head_id(&self) -> u64 {
        self.store.as_ref().map_or(0, |store| store.head().id)
    }

    pub(super) fn awaiting(&mut self) -> Result<Option<Awaiting>, Refusal> {
        self.store.as_mut().map_or(Ok(None), |store| store.awaiting())
    }

    fn commit(
        &mut self,
        intent: &Intent,
        wish: impl FnOnce(&mut Self) -> Result<(Resolved, String, Became), Refusal>,
        next: &mut dyn Next,
        shared: &Shared,
    ) -> Result<Committed, Refusal> {
        if let Some(committed) = self.repeated(intent)? {
            return Ok(committed);
        }
        let head = self.store()?.head();
        let awaiting = self.awaiting()?;
        if let Some(awaiting) = &awaiting {
            self.is_ours(intent.peer, awaiting)?;
        }
        self.is_current(intent, &head)?;
        let (Resolved { delta, allocated, unchanged }, comment, state) = wish(self)?;
        let warnings = self.check(&delta)?;
        if delta.is_empty() && intent.confirm_within.is_none() {
            return Ok(answer(head, &delta, allocated, unchanged, warnings));
        }
        next.apply(&delta)?;
        // Whoever commits for good what he was trying out means that too.
        let before = awaiting.as_ref().map_or(head.id, |awaiting| awaiting.back_to);
        let draft = Draft {
            delta: &delta,
            peer: Some(intent.peer),
            comment: &comment,
            key: intent.key.as_deref(),
            state: if intent.confirm_within.is_some() { Became::Pending } else { state },
            pending: intent.confirm_within.map(|within| (before, within)),
            reverts: false,
        };
        if awaiting.is_some() && intent.confirm_within.is_none() {
            self.store()?.confirm()?;
            shared.clock.stop();
        }
        let revision = self.store()?.commit(&draft)?;
        self.table.apply(&delta);
        let mut committed = answer(revision.clone(), &delta, allocated, unchanged, warnings);
        if let Some(within) = intent.confirm_within {
            shared.clock.set(within);
            committed.pending_until = self.awaiting()?.map(|awaiting| rfc3339(awaiting.until));
        }
        shared.tell(Event::Revision { revision });
        Ok(committed)
    }

    /// The answer to a request that was carried out before.
    fn repeated(&mut self, intent: &Intent) -> Result<Option<Committed>, Refusal> {
        let Some(key) = &intent.key else { return Ok(None) };
        let Some(revision) = self.store()?.by_key(key)? else { return Ok(None) };
        let pending_until = self.awaiting()?.filter(|awaiting| awaiting.revision.id == revision.id);
        Ok(Some(Committed {
            staged: false,
            added: revision.added,
            removed: revision.removed,
            changed: revision.changed,
            unchanged: 0,
            allocated: Vec::new(),
            warnings: Vec::new(),
            more_warnings: 0,
            pending_until: pending_until.map(|awaiting| rfc3339(awaiting.until)),
            repeated: true,
            revision,
        }))
    }

    /// While somebody tries something out, others wait. Root may help.
    fn is_ours(&self, peer: Peer, awaiting: &Awaiting) -> Result<(), Refusal> {
        let theirs = awaiting.revision.uid;
        if peer.uid == 0 || theirs == Some(peer.uid) {
            return Ok(());
        }
        let who = theirs.map_or_else(|| "the relay".to_owned(), |uid| format!("uid {uid}"));
        let until = rfc3339(awaiting.until);
        let mut refusal = Refusal::new(
            Code::Pending,
            format!("revision {} of {who} awaits confirmation until {until}", awaiting.revision.id),
            "wait until it is confirmed or undone",
        );
        refusal.revision = Some(awaiting.revision.clone());
        Err(refusal)
    }

    /// Whether the view on which the change was decided is still the one in force.
    fn is_current(&self, intent: &Intent, head: &Revision) -> Result<(), Refusal> {
        if intent.revision.is_none_or(|seen| seen == head.id) {
            return Ok(());
        }
        let who = head.uid.map_or_else(|| "the relay".to_owned(), |uid| format!("uid {uid}"));
        let mut refusal = Refusal::new(
            Code::Conflict,
            format!(
                "revision {} is in force, not {}: {who} committed it at {}{}",
                head.id,
                intent.revision.unwrap_or_default(),
                head.time,
                if head.comment.is_empty() { String::new() } else { format!(" ({})", head.comment) }
            ),
            "look at what is different (`borderctl diff`) and commit again",
        );
        refusal.revision = Some(head.clone());
        Err(refusal)
    }

    pub(super) fn resolve(&mut self, edits: &[Edit], replace: bool) -> Result<Resolved, Refusal> {
        self.store()?;
        resolve(&self.table, self.rules.pools(), edits, replace).map_err(|refused| {
            let message = format!("{} of {} changes are refused", refused.count(), edits.len());
            let message = match &refused.findings[..] {
                [only] if refused.more == 0 && only.value.is_empty() => only.message.clone(),
                [only] if refused.more == 0 => format!("{}: {}", only.value, only.message),
                _ => message,
            };
            let remedy = match &refused.findings[..] {
                [only] if refused.more == 0 => only.remedy.clone(),
                _ => "correct them; nothing was changed".to_owned(),
            };
            let mut refusal = Refusal::new(Code::Refused, message, remedy);
            (refusal.findings, refusal.more) = (refused.findings, refused.more);
            refusal
        })
    }

    /// As many of the edits as can be, and how many cannot.
    fn possible(&mut self, edits: &[Edit]) -> (Delta, usize) {
        let pools: Vec<Ipv4Net> = self.rules.pools().to_vec();
        if let Ok(resolved) = resolve(&self.table, &pools, edits, false) {
            return (resolved.delta, 0);
        }
        let mut kept: Vec<Edit> = Vec::new();
        for edit in edits {
            kept.push(edit.clone());
            if resolve(&self.table, &pools, &kept, false).is_err() {
                kept.pop();
            }
        }
        let delta = resolve(&self.table, &pools, &kept, false).map(|resolved| resolved.delta);
        (delta.unwrap_or_default(), edits.len() - kept.len())
    }

    /// Asks the rules about the mappings that come, together with those around and inside them.
    pub(super) fn check(&self, delta: &Delta) -> Result<(Vec<Finding>, u64), Refusal> {
        let findings = self.findings(delta);
        if findings.problems.is_empty() {
            return Ok((findings.warnings, findings.more));
        }
        let first = &findings.problems[0];
        let mut refusal =
            Refusal::new(Code::Refused, format!("{}: {}", first.value, first.message), first.remedy.clone());
        (refusal.findings, refusal.more) = (findings.problems, findings.more);
        Err(refusal)
    }

    pub(super) fn findings(&self, delta: &Delta) -> super::Findings {
        let mut rows: Vec<Row> =
            delta.added.iter().chain(delta.changed.iter().map(|(_, to)| to)).cloned().collect();
        if rows.is_empty() {
            return super::Findings::default();
        }
        let new = rows.len();
        let mut after = self.table.clone();
        after.apply(delta);
        if new > after.len() / 8 {
            let known: std::collections::HashSet<Ipv4Net> = rows.iter().map(|row| row.ipv4).collect();
            rows.extend(
                after.iter().filter(|(net, _)| !known.contains(net)).map(|(net, owned)| owned.row(net)),
            );
        } else {
            let related = related(&after, &rows);
            rows.extend(related);
        }
        self.rules.check(&rows, new)
    }
}

/// The mappings around and inside `rows`, without these.
fn related(table: &Table, rows: &[Row]) -> Vec<Row> {
    let mut known: std::collections::HashSet<Ipv4Net> = rows.iter().map(|row| row.ipv4).collect();
    let mut found = Vec::new();
    for row in rows {
        let around = table.around4(row.ipv4).into_iter().chain(table.around6(row.ipv6));
        let inside = table.inside4(row.ipv4).chain(table.inside6(row.ipv6));
        for (net, owned) in around.chain(inside) {
            if known.insert(net) {
                found.push(owned.row(net));
            }
        }
    }
    found
}

impl Source {
    /// The store's rows.
    ///
    /// # Errors
    /// Why the store cannot say.
    pub fn stored(&self) -> Result<Vec<Row>, Refusal> {
        let mut state = self.shared.lock();
        state.store.as_mut().map_or(Ok(Vec::new()), |store| store.rows())
    }

    /// The store's rows as they are in use.
    #[must_use]
    pub fn in_use(&self) -> Vec<Row> {
        self.shared.lock().table.stored().collect()
    }

    /// Whether mappings of files go with those of the store.
    ///
    /// # Errors
    /// Those that share a prefix.
    pub fn check(&self, files: &Arc<[String]>, rows: Vec<FileRow>) -> Result<(), Vec<Clash>> {
        let stored = self.in_use();
        Table::new(Arc::clone(files), rows, &stored).map(drop)
    }

    /// These are the mappings of files from now on, and these are the rules. At the start the store's rows are given as well.
    ///
    /// # Errors
    /// Those that share a prefix with the store's; nothing has changed then.
    pub fn accept(
        &self,
        files: &Arc<[String]>,
        rows: Vec<FileRow>,
        stored: Option<Vec<Row>>,
        rules: Option<Arc<dyn Rules>>,
    ) -> Result<(), Vec<Clash>> {
        let stored = stored.unwrap_or_else(|| self.in_use());
        let table = Table::new(Arc::clone(files), rows, &stored)?;
        let mut state = self.shared.lock();
        state.table = table;
        if let Some(rules) = rules {
            state.rules = rules;
        }
        Ok(())
    }

    /// Tells the readers of events about a reload.
    pub fn reloaded(&self, reloaded: &Reloaded) {
        self.shared.tell(Event::Reloaded { eams: reloaded.eams });
    }
}

fn answer(
    revision: Revision,
    delta: &Delta,
    allocated: Vec<control_api::Allocated>,
    unchanged: u64,
    (warnings, more_warnings): (Vec<Finding>, u64),
) -> Committed {
    Committed {
        revision,
        staged: false,
        added: delta.added.len() as u64,
        removed: delta.removed.len() as u64,
        changed: delta.changed.len() as u64,
        unchanged,
        allocated,
        warnings,
        more_warnings,
        pending_until: None,
        repeated: false,
    }
}

/// Says that an answer is about the candidate.
trait Stage {
    fn staged(self) -> Self;
}

impl Stage for Committed {
    fn staged(mut self) -> Self {
        self.staged = true;
        self
    }
}
