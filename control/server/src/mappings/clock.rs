//! Undoes what nobody confirms in time. The store's clock is the monotonic one: setting the wall clock neither undoes nor keeps.
//!
//! ```text
//! time over -> way back -> tables -> durable -> published
//! ```
//!
//! Whatever cannot be done is said in log and status and tried again, until it is in force and durable.

use std::thread;
use std::time::Duration;

use control_api::{Refusal, Revision};

use super::convert::{revision, store_error};
use super::engine::{State, sides};
use super::{Mappings, Next};

/// How often the store is asked whether the time is over, at least.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time between two attempts to go back.
const LONGEST: Duration = Duration::from_secs(10);

impl Mappings {
    /// On a thread that ends with the relay.
    pub(super) fn watch_the_clock(&self) {
        let shared = self.downgrade();
        let watch = move || {
            let mut pause = LOOK;
            while let Some(mappings) = shared.upgrade() {
                let left = mappings.time_left();
                let wait = match left {
                    Some(Duration::ZERO) if !mappings.expire() => {
                        let wait = pause;
                        pause = (pause * 2).min(LONGEST);
                        wait
                    }
                    _ => {
                        pause = LOOK;
                        left.unwrap_or(LOOK).clamp(Duration::from_millis(10), LOOK)
                    }
                };
                drop(mappings);
                thread::sleep(wait);
            }
        };
        if let Err(error) = thread::Builder::new().name("confirm".into()).spawn(watch) {
            tracing::error!("changes cannot be undone by time: {error}");
        }
    }
}

impl State {
    /// From what waits to the tables from before, if the time is over. Up to *durable* nothing has changed, but where the file cannot
    /// be told the tables go back all the same: a restart would as well. The revision, if the file has it.
    pub(super) fn go_back(&mut self, next: &mut dyn Next) -> Result<Option<Revision>, Refusal> {
        let Some(expired) = self.store.expire().map_err(|error| store_error(&error))? else {
            self.setback = None;
            return Ok(None);
        };
        let damage = expired.damage().map(ToString::to_string);
        let (lost, gained) = sides(expired.changes());
        if !lost.is_empty() || !gained.is_empty() {
            next.apply(&lost, &gained)?;
        }
        let recorded = expired.record();
        if let Some(damage) = damage {
            let told = format!(
                "what nobody confirmed is damaged in the store, so the mappings from before were built anew from the first revision on and \
                 serve: copy the store, and look into its disk ({damage})"
            );
            tracing::error!("{told}");
            self.damage = Some(told);
        }
        match recorded {
            Ok(receipt) => {
                let back = revision(receipt.revision());
                tracing::warn!(revision = back.id, back_to = back.back_to, "nobody confirmed: went back");
                self.setback = None;
                Ok(Some(back))
            }
            Err(error) => {
                tracing::error!("went back because nobody confirmed, but {error}");
                self.setback = Some(error.to_string());
                Ok(None)
            }
        }
    }

    pub(super) fn failed_to_go_back(&mut self, refusal: &Refusal) {
        tracing::error!("a change that nobody confirmed cannot be undone yet, and is tried again: {refusal}");
        self.setback = Some(refusal.to_string());
    }

    /// See [`Mappings::trouble`].
    pub(super) fn trouble(&self) -> Vec<String> {
        let waits = self.store.pending().filter(|pending| pending.remaining.is_zero());
        let setback = waits.zip(self.setback.as_deref()).map(|(pending, why)| {
            let (id, prior) = (pending.revision.id, pending.prior);
            let what = if self.store.owes_rollback() {
                format!("so revision {prior} serves, but the store could not record that")
            } else {
                format!("but revision {prior} could not be put in force again")
            };
            format!("revision {id} was not confirmed, {what}: {why}; the relay tries again by itself")
        });
        // The setback has the same cause.
        let unwritable = self.unwritable.as_deref().filter(|_| setback.is_none()).map(|obstacle| {
            format!("the last change was refused, what is in force stays in force: {obstacle}; said until a change is kept")
        });
        setback.into_iter().chain(unwritable).chain(self.damage.clone()).collect()
    }
}
