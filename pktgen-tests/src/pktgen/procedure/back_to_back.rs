//! The longest burst at full speed that loses nothing. Bursts as long as a trial are the longest that are tried.

use super::Point;
use crate::pktgen::engine::Trial;
use crate::pktgen::error::PktgenError;
use crate::pktgen::report::Finding;
use crate::pktgen::search::{Verdict, highest};

pub(super) fn measure(point: &mut Point<'_>) -> Result<(), PktgenError> {
    let measured = point.repeat(|point| {
        let precision = point.config.trial.precision;
        let trial = Trial::at(point.config.trial.rate, &point.config.trial);
        let longest = point.trial_of(&trial)?.sent();
        let found = highest(frames(longest), precision, |burst| -> Result<_, PktgenError> {
            let outcome = point.trial_of(&Trial { most: whole(burst), ..trial })?;
            Ok(if point.passes(&outcome) { Verdict::Passed(outcome) } else { Verdict::Failed(None) })
        })?;
        Ok(found.map(|found| {
            let finding = Finding {
                burst_frames: Some(found.trial.sent()),
                trials: Some(found.trials + 1),
                ..Finding::default()
            };
            (found.value, found.trial, finding)
        }))
    })?;
    match measured {
        Some((outcome, finding)) => point.report("back-to-back", &outcome, finding),
        None => point.complain_of_nothing("back-to-back"),
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "packets of a trial are far below 2^52")]
fn frames(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and far below 2^52")]
fn whole(frames: f64) -> u64 {
    frames as u64
}
