//! The procedures of RFC 2544 and RFC 8219, each a sequence of trials.

mod run;

use super::config::Config;
use super::engine::Engine;
use super::error::PktgenError;
use super::report::Measurement;

/// What is to be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Procedure {
    /// One trial of each size at the configured rate.
    Run,
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Results {
    /// One for each point.
    pub measurements: Vec<Measurement>,
    /// What was wrong with what came back.
    pub complaints: Vec<String>,
}

/// Opens the ports, waits for the device, measures, and closes the ports: sending stops first, then what is on its way
/// is taken in, then the ports stop.
///
/// # Errors
/// When nothing can be measured.
pub fn measure(config: &Config, procedure: &Procedure) -> Result<Results, PktgenError> {
    let mut engine = Engine::start(config)?;
    let mut results = Results::default();
    for size in config.sizes() {
        engine.change(config, size);
        engine.wait_until_ready()?;
        match procedure {
            Procedure::Run => run::measure(&mut engine, config, size, &mut results)?,
        }
    }
    Ok(results)
}
