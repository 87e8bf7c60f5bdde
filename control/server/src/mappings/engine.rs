//! The order of a commit.
//!
//! ```text
//! repeated? -> edits checked -> old view, somebody else's turn? -> tables -> durable -> published -> answered
//! ```
//!
//! Up to *durable* nothing has changed, and whatever is refused is refused there. After it nothing can fail: publishing is one
//! pointer swap. All of it happens inside [`Tables::update`], so that no reload comes between.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use control_api::{Code, Committed, Event, Finding, Refusal, Reloaded, Revision};
use eam_store::{
    Author, Candidate, Conflict, Eam, Foreign, Idempotency, Request, RevisionId, Step, Store, StoreError,
};
use tokio::sync::broadcast;

use super::convert::{commit_error, revision, stage_error, store_error};
use super::edits::{self, Outcome};
use super::{Edit, Next, Reach, Rules, Tables};
use crate::relay::{Events, Intent};

/// Events that wait for slow readers.
const EVENTS: usize = 256;

/// The mappings of a relay. Cloneable: all clones are the same.
#[derive(Clone)]
pub struct Mappings {
    shared: Arc<Shared>,
}

/// [`Mappings`] that do not keep the store open.
pub(super) struct Observer(Weak<Shared>);

struct Shared {
    state: Mutex<State>,
    tables: OnceLock<Box<dyn Tables>>,
    events: broadcast::Sender<Event>,
}

/// What changes, and changes only inside [`Tables::update`], the candidate excepted.
pub(super) struct State {
    pub(super) store: Store,
    pub(super) rules: Arc<dyn Rules>,
    pub(super) candidate: Candidate,
    /// Why what nobody confirmed is not undone yet.
    pub(super) setback: Option<String>,
    /// What of the unconfirmed revisions was found damaged, and what came of it.
    pub(super) damage: Option<String>,
    /// Why the store takes no changes, once the log has it.
    pub(super) unwritable: Option<String>,
}

/// The half of [`Mappings`] that reloads talk to.
#[derive(Clone)]
pub struct Source {
    shared: Arc<Shared>,
}

impl Mappings {
    /// Those of a store.
    #[must_use]
    pub fn new(mut store: Store, rules: Arc<dyn Rules>) -> Self {
        store.set_rules(rules.of_store());
        let candidate = Candidate::default();
        let state = State { store, rules, candidate, setback: None, damage: None, unwritable: None };
        let events = broadcast::channel(EVENTS).0;
        Self { shared: Arc::new(Shared { state: Mutex::new(state), tables: OnceLock::new(), events }) }
    }

    /// For reloads.
    #[must_use]
    pub fn source(&self) -> Source {
        Source { shared: Arc::clone(&self.shared) }
    }

    /// From now on changes reach packets.
    pub fn start(&self, tables: Box<dyn Tables>) {
        if self.shared.tables.set(tables).is_ok() {
            self.watch_the_clock();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    pub(super) fn downgrade(&self) -> Observer {
        Observer(Arc::downgrade(&self.shared))
    }

    /// Events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        let state = self.lock();
        Events { revision: state.store.head().id.0, receiver: self.shared.events.subscribe() }
    }

    /// See [`crate::Relay::change`].
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn change(&self, intent: &Intent, edits: Vec<Edit>, replace: bool) -> Result<Committed, Refusal> {
        self.update(intent, move |state, request, next| {
            let pools = state.rules.pools();
            let mut candidate = Candidate::default();
            let outcome = edits::stage(&mut state.store, &mut candidate, &pools, &edits, replace)?;
            let step = state.store.commit(&candidate, request).map_err(|error| commit_error(&error))?;
            finish(step, outcome, next)
        })
    }

    /// See [`crate::Relay::commit`].
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn commit(&self, intent: &Intent) -> Result<Committed, Refusal> {
        self.update(intent, |state, request, next| {
            if state.candidate.is_empty() {
                return Err(Refusal::new(
                    Code::NotFound,
                    "nothing is staged",
                    "stage changes with `borderctl eam add --stage`, or commit them at once without `--stage`",
                ));
            }
            let head = Some(state.store.head().id);
            // On an old view it is the store that refuses.
            let candidate = if Some(request.if_match) == head && state.candidate.base() != head {
                state.store.rebase(&state.candidate).map_err(|error| stage_error(None, &error))?
            } else {
                state.candidate.clone()
            };
            let step = state.store.commit(&candidate, request).map_err(|error| commit_error(&error))?;
            let committed = finish(step, Outcome::default(), next)?;
            state.candidate = Candidate::default();
            Ok(committed)
        })
    }

    /// See [`crate::Relay::rollback`].
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn rollback(&self, intent: &Intent, to: u64) -> Result<Committed, Refusal> {
        self.update(intent, move |state, request, next| {
            let step = state.store.rollback(RevisionId(to), request).map_err(|error| commit_error(&error))?;
            finish(step, Outcome::default(), next)
        })
    }

    /// See [`crate::Relay::stage`].
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn stage(&self, intent: &Intent, edits: &[Edit], replace: bool) -> Result<Committed, Refusal> {
        let mut state = self.lock();
        let head = state.store.head().clone();
        if let Some(seen) = intent.revision
            && seen != head.id.0
        {
            let mut refusal = Refusal::new(
                Code::Conflict,
                format!("revision {} is in force, not {seen}", head.id),
                "look at `borderctl history`, and stage again",
            );
            refusal.revision = Some(Box::new(revision(&head)));
            return Err(refusal);
        }
        let (pools, mut candidate) = (state.rules.pools(), state.candidate.clone());
        let outcome = edits::stage(&mut state.store, &mut candidate, &pools, edits, replace)?;
        let counts = candidate.counts();
        state.candidate = candidate;
        let mut answer = answered(&head, outcome, false);
        (answer.added, answer.removed, answer.changed) = (counts.added, counts.removed, counts.changed);
        answer.staged = true;
        Ok(answer)
    }

    /// See [`crate::Relay::confirm`]. And whether it was confirmed just now, not before.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn confirm(&self, intent: &Intent) -> Result<(Revision, bool), Refusal> {
        let mut state = self.lock();
        let waits = || state.store.pending().map(|pending| pending.revision.id);
        // One that is named may be confirmed already: the answer that said so was lost.
        let Some(id) = intent.revision.map(RevisionId).or_else(waits) else {
            return Err(Refusal::new(
                Code::NotFound,
                "nothing awaits confirmation",
                "`borderctl history` shows what became of the last commit",
            ));
        };
        let receipt = state.store.confirm(id, &author(intent));
        state.notice_store();
        let receipt = receipt.map_err(|error| commit_error(&error))?;
        let confirmed = revision(receipt.revision());
        if !receipt.is_repeated() {
            self.shared.tell(Event::Revision { revision: Box::new(confirmed.clone()) });
        }
        Ok((confirmed, !receipt.is_repeated()))
    }

    /// Time left to confirm what awaits it.
    pub(super) fn time_left(&self) -> Option<Duration> {
        self.lock().store.pending().map(|pending| pending.remaining)
    }

    /// What an operator should know about the store, and about revisions that nobody confirmed.
    #[must_use]
    pub fn trouble(&self) -> Vec<String> {
        self.lock().trouble()
    }

    /// Goes back, because nobody confirmed. Whether that is done: what is not is told by [`Self::trouble`], and to be tried again.
    pub(super) fn expire(&self) -> bool {
        let Some(tables) = self.shared.tables.get() else { return false };
        let shared = Arc::clone(&self.shared);
        let published = tables.update(Box::new(move |next| {
            if let Some(back) = shared.lock().go_back(next)? {
                shared.tell(Event::Revision { revision: Box::new(back) });
            }
            Ok(())
        }));
        let mut state = self.lock();
        state.notice_store();
        if let Err(refusal) = published {
            state.failed_to_go_back(&refusal);
        }
        state.setback.is_none()
    }

    /// Where the order of a commit is.
    fn update(
        &self,
        intent: &Intent,
        work: impl FnOnce(&mut State, Request, &mut dyn Next) -> Result<Committed, Refusal> + Send + 'static,
    ) -> Result<Committed, Refusal> {
        let tables = self.shared.tables.get().ok_or_else(|| {
            Refusal::new(Code::Unavailable, "the relay is starting", "ask again in a moment")
        })?;
        let (answer, answered) = std::sync::mpsc::channel();
        let (shared, intent) = (Arc::clone(&self.shared), intent.clone());
        let reach = tables.update(Box::new(move |next| {
            let mut state = shared.lock();
            let committed = match state.repeated(&intent)? {
                Some(committed) => committed,
                None => {
                    let request = state.request(&intent);
                    let made = work(&mut state, request, next);
                    state.notice_store();
                    made?
                }
            };
            if !committed.repeated {
                shared.tell(Event::Revision { revision: Box::new(committed.revision.clone()) });
            }
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
}

impl Observer {
    pub(super) fn upgrade(&self) -> Option<Mappings> {
        self.0.upgrade().map(|shared| Mappings { shared })
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
    fn request(&self, intent: &Intent) -> Request {
        Request {
            author: author(intent),
            if_match: intent.revision.map_or(self.store.head().id, RevisionId),
            idempotency: idempotency(intent),
            confirm_within: intent.confirm_within,
        }
    }

    /// Tells the log when the store begins to refuse what is written, and when it is over.
    fn notice_store(&mut self) {
        let obstacle = self.store.obstacle().map(ToString::to_string);
        match (&self.unwritable, &obstacle) {
            (None, Some(obstacle)) => {
                tracing::warn!("changes are refused, what is in force stays in force: {obstacle}");
            }
            (Some(_), None) => tracing::info!("the store takes changes again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        self.unwritable = obstacle;
    }

    /// The answer to a request that was carried out before.
    fn repeated(&self, intent: &Intent) -> Result<Option<Committed>, Refusal> {
        let Some(key) = idempotency(intent) else { return Ok(None) };
        let made = self.store.repeated(intent.peer.uid, &key).map_err(|error| commit_error(&error))?;
        Ok(made.map(|made| answered(&made, Outcome::default(), true)))
    }
}

fn idempotency(intent: &Intent) -> Option<Idempotency> {
    Some(Idempotency::new(intent.key.clone()?, &intent.request))
}

fn author(intent: &Intent) -> Author {
    Author { uid: intent.peer.uid, pid: intent.peer.pid.unwrap_or(0), comment: intent.comment.clone() }
}

/// From what the store prepared to what may be answered.
fn finish(step: Step<'_>, outcome: Outcome, next: &mut dyn Next) -> Result<Committed, Refusal> {
    match step {
        Step::Done(receipt) => {
            let mut same = answered(receipt.revision(), outcome, true);
            // Nothing of it is new.
            (same.added, same.removed, same.changed) = (0, 0, 0);
            Ok(same)
        }
        Step::Prepared(prepared) => {
            let (lost, gained) = sides(prepared.changes());
            if !lost.is_empty() || !gained.is_empty() {
                next.apply(&lost, &gained)?;
            }
            let durable = prepared.make_durable().map_err(|error| store_error(&error))?;
            // What is left is a pointer swap, which cannot fail.
            Ok(answered(durable.published().revision(), outcome, false))
        }
    }
}

pub(super) fn sides(changes: &eam_store::Changes) -> (Vec<Eam>, Vec<Eam>) {
    (changes.lost().collect(), changes.gained().collect())
}

fn answered(made: &eam_store::Revision, outcome: Outcome, repeated: bool) -> Committed {
    let revision = revision(made);
    let is_pending = revision.state == control_api::State::Pending;
    Committed {
        staged: false,
        added: revision.added,
        removed: revision.removed,
        changed: revision.changed,
        unchanged: outcome.unchanged,
        allocated: outcome.allocated,
        warnings: outcome.warnings,
        more_warnings: outcome.more_warnings,
        pending_until: revision.until.clone().filter(|_| is_pending),
        repeated,
        revision,
    }
}

impl Source {
    /// What keeps these mappings of a configuration from being in one table with the store's.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn check(&self, foreign: &Foreign) -> Result<Vec<Conflict>, StoreError> {
        self.shared.lock().store.check_foreign(foreign)
    }

    /// The store's own mappings, as they are in use.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn rows(&self) -> Result<Vec<Eam>, StoreError> {
        self.shared.lock().store.eams_in_use()
    }

    /// The mappings of the configuration are these from now on.
    ///
    /// # Errors
    /// What [`Self::check`] finds; nothing has changed then.
    pub fn accept(&self, foreign: Foreign) -> Result<Vec<Conflict>, StoreError> {
        Ok(self.shared.lock().store.set_foreign(foreign)?.err().unwrap_or_default())
    }

    /// What the configuration says about addresses is this from now on.
    pub fn rules(&self, rules: Arc<dyn Rules>) {
        let mut state = self.shared.lock();
        state.store.set_rules(rules.of_store());
        state.rules = rules;
    }

    /// Tells the readers of events about a reload.
    pub fn reloaded(&self, reloaded: &Reloaded) {
        self.shared.tell(Event::Reloaded { eams: reloaded.eams });
    }
}
