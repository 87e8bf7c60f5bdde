//! What comes of a reload: published, counted, and told in the log.

use std::cell::RefCell;
use std::time::Instant;

use control::config::Warnings;
use control::reload::{Prepared, ReloadError};
use dataplane::table::publish::Publisher;

/// Reloads since the start.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    /// Those whose configuration took over.
    pub(crate) applied: u64,
    /// Those that changed nothing, because something was wrong.
    pub(crate) refused: u64,
}

impl Reloads {
    /// Publishes what was prepared, or says why there is nothing to publish.
    pub(crate) fn finish(&mut self, prepared: Result<Prepared, ReloadError>, publisher: &RefCell<Publisher>) {
        match prepared {
            Ok(prepared) => {
                self.applied += 1;
                publish(prepared, &mut publisher.borrow_mut());
            }
            Err(error) => {
                self.refused += 1;
                refuse(&error);
            }
        }
    }
}

fn publish(prepared: Prepared, publisher: &mut Publisher) {
    let Prepared { translation, way, changes, eams, warnings, times } = prepared;
    let started = Instant::now();
    publisher.publish(|snapshot| snapshot.translation = translation);
    let publish = started.elapsed();
    log_warnings(&warnings);
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
}

fn refuse(error: &ReloadError) {
    if let ReloadError::Problems(problems) = error {
        for problem in problems {
            tracing::error!("{problem}");
        }
        if problems.more() > 0 {
            tracing::error!("and {} more", problems.more());
        }
    }
    tracing::error!("not reloaded, the relay goes on as before: {error}");
}

/// Logs what works and is probably not meant.
pub(crate) fn log_warnings(warnings: &Warnings) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if warnings.more() > 0 {
        tracing::warn!("and {} more", warnings.more());
    }
}
