//! The highest rate without loss.

use super::Point;
use crate::pktgen::config::Rate;
use crate::pktgen::error::PktgenError;
use crate::pktgen::outcome::Outcome;
use crate::pktgen::report::Finding;
use crate::pktgen::search::{Found, Verdict, highest};

pub(super) fn measure(point: &mut Point<'_>) -> Result<(), PktgenError> {
    let found = point.repeat(|point| {
        Ok(search(point)?.map(|found| {
            let finding = Finding {
                throughput_pps: Some(found.value),
                trials: Some(found.trials),
                ..Finding::default()
            };
            (found.value, found.trial, finding)
        }))
    })?;
    match found {
        Some((outcome, finding)) => point.report("throughput", &outcome, finding),
        None => point.complain_of_nothing("throughput"),
    }
    Ok(())
}

/// Searches downwards from the configured rate, or from what the ports take. The value is the rate that was really
/// sent.
pub(super) fn search(point: &mut Point<'_>) -> Result<Option<Found<Outcome>>, PktgenError> {
    let top = match point.config.trial.rate {
        Rate::PerSecond(rate) => rate,
        Rate::Max => {
            let outcome = point.trial(Rate::Max)?;
            if point.passes(&outcome) {
                return Ok(Some(Found { value: outcome.sent_pps(), trial: outcome, trials: 1 }));
            }
            outcome.sent_pps()
        }
    };
    let found = highest(top, point.config.trial.precision, |rate| -> Result<_, PktgenError> {
        let outcome = point.trial(Rate::PerSecond(rate))?;
        Ok(if point.passes(&outcome) {
            Verdict::Passed(outcome)
        } else {
            Verdict::Failed(Some(outcome.received_pps() * (1.0 - point.config.trial.precision)))
        })
    })?;
    Ok(found.map(|found| Found { value: found.trial.sent_pps(), ..found }))
}
