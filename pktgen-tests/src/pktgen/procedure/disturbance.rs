//! Loss while a command runs: `reset` (RFC 6201 4, RFC 8219 7.7) and `reconfigure`.
//!
//! A constant load is sent, and the command starts when a third of the time is over. What is lost, divided by the rate, is
//! how long the device forwarded nothing; frames its port did not take count as lost, for a real wire would have lost
//! them.

use std::time::Duration;

use super::{Load, Point};
use crate::pktgen::command::Commander;
use crate::pktgen::config::Rate;
use crate::pktgen::engine::Trial;
use crate::pktgen::error::PktgenError;
use crate::pktgen::outcome::{Outcome, rounded};
use crate::pktgen::report::Finding;

pub(super) fn measure(
    point: &mut Point<'_>,
    procedure: &str,
    load: f64,
    commander: &Commander,
) -> Result<(), PktgenError> {
    let Some(Load { rate, throughput }) = point.load(load)? else {
        point.complain_of_nothing(procedure);
        return Ok(());
    };
    let delay = Duration::from_secs_f64(point.config.trial.seconds / 3.0);
    let measured = point.repeat(|point| {
        commander.schedule(delay);
        let outcome = point.engine.run(&Trial::at(Rate::PerSecond(rate), &point.config.trial))?;
        let command = commander.wait()?;
        let blocked = blocked_ms(&outcome, rate);
        let finding = Finding {
            throughput_pps: throughput,
            blocked_ms: Some(blocked),
            command_ms: Some(rounded(command.as_secs_f64() * 1e3)),
            ..Finding::default()
        };
        Ok(Some((blocked, outcome, finding)))
    })?;
    let (outcome, finding) = measured.expect("every repetition has a result");
    // A device that starts may say for a while that it has no route. What it does forward must be right.
    if outcome.received() == 0 || !outcome.is_right() {
        point.complain(&outcome);
    }
    point.report(procedure, &outcome, finding);
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "packets of a trial are far below 2^52")]
fn blocked_ms(outcome: &Outcome, rate: f64) -> f64 {
    rounded((outcome.lost() + outcome.refused) as f64 / rate * 1e3)
}
