//! One trial.

use super::Results;
use crate::pktgen::config::{Config, FrameBytes};
use crate::pktgen::engine::{Engine, Trial};
use crate::pktgen::error::PktgenError;
use crate::pktgen::report::{Finding, Measurement};

pub(super) fn measure(
    engine: &mut Engine,
    config: &Config,
    size: FrameBytes,
    results: &mut Results,
) -> Result<(), PktgenError> {
    let trial = &config.trial;
    let outcome = engine.run(&Trial::at(trial.rate, trial))?;
    if outcome.loss_ratio() > trial.loss_tolerance || !outcome.is_clean() {
        results.complaints.push(format!("{size}-byte frames: {}", outcome.summary()));
    }
    results.measurements.push(Measurement::new("run", config, size, &outcome, Finding::default()));
    Ok(())
}
