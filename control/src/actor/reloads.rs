//! What comes of a reload, told in the log and to whoever asked.

use std::time::{Duration, SystemTime};

use super::message::{LastReload, ReloadOutcome, Reloaded, Reloads};
use super::reader::Askers;
use crate::config::{Problems, Warnings};
use crate::reload::{Prepared, ReloadError};

impl LastReload {
    pub(super) fn applied(prepared: &Prepared) -> Self {
        let Prepared { changes, eams, .. } = prepared;
        let text = format!(
            "{eams} mappings: {} added, {} removed, {} changed",
            changes.added, changes.removed, changes.changed
        );
        Self { at: SystemTime::now(), applied: true, text }
    }

    pub(super) fn refused(text: String) -> Self {
        Self { at: SystemTime::now(), applied: false, text }
    }
}

impl Reloads {
    /// The new tables are published as generation `generation`, which took so long.
    pub(super) fn applied(
        &mut self,
        prepared: &Prepared,
        generation: u64,
        publish: Duration,
        askers: Askers,
    ) {
        self.applied += 1;
        let Prepared { way, changes, eams, warnings, times, .. } = prepared;
        log_warnings(warnings);
        tracing::info!(
            eams,
            added = changes.added,
            removed = changes.removed,
            changed = changes.changed,
            tables = %way,
            read_ms = times.load.read.as_millis(),
            check_ms = times.load.check.as_millis(),
            compare_ms = times.compare.as_millis(),
            build_ms = times.build.as_millis(),
            publish_us = publish.as_micros(),
            "reloaded"
        );
        let outcome = Reloaded { eams: *eams, changes: *changes, generation };
        answer(askers, &ReloadOutcome::Applied(outcome));
    }

    /// Something was wrong, nothing has changed.
    pub(super) fn refused(&mut self, error: ReloadError, askers: Askers) {
        let reason = error.to_string();
        let problems = match error {
            ReloadError::Problems(problems) => problems,
            _ => Problems::default(),
        };
        for problem in &problems {
            tracing::error!("{problem}");
        }
        if problems.more() > 0 {
            tracing::error!("and {} more", problems.more());
        }
        self.refuse(reason, problems, askers);
    }

    /// It could not even be read.
    pub(super) fn unread(&mut self, reason: String, askers: Askers) {
        self.refuse(reason, Problems::default(), askers);
    }

    fn refuse(&mut self, reason: String, problems: Problems, askers: Askers) {
        self.refused += 1;
        tracing::error!("not reloaded, the relay goes on as before: {reason}");
        answer(askers, &ReloadOutcome::Refused { reason, problems });
    }
}

fn answer(askers: Askers, outcome: &ReloadOutcome) {
    for asker in askers {
        // Whoever asked may have stopped waiting.
        asker.send(outcome.clone()).ok();
    }
}

/// Logs what works and is probably not meant.
pub fn log_warnings(warnings: &Warnings) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if warnings.more() > 0 {
        tracing::warn!("and {} more", warnings.more());
    }
}
