//! The procedures of RFC 2544 and RFC 8219, each a sequence of trials.

mod back_to_back;
mod disturbance;
mod frame_loss;
mod latency;
mod overload;
mod throughput;

use super::command::Commander;
use super::config::{Config, FrameBytes, Rate};
use super::engine::{Engine, Trial};
use super::error::PktgenError;
use super::outcome::Outcome;
use super::report::{Finding, Measurement};

/// What is to be measured.
#[derive(Debug, Clone, PartialEq)]
pub enum Procedure {
    /// One trial at the configured rate.
    Run,
    /// The highest rate without loss (RFC 2544 26.1, RFC 8219 7.1).
    Throughput,
    /// Latency at a share of the throughput (RFC 2544 26.2, RFC 8219 7.2).
    Latency {
        /// The share.
        load: f64,
    },
    /// Packet delay variation at a share of the throughput (RFC 8219 7.3.1).
    Pdv {
        /// The share.
        load: f64,
    },
    /// Loss by rate (RFC 2544 26.3, RFC 8219 7.4).
    FrameLoss,
    /// The longest burst without loss (RFC 2544 26.4, RFC 8219 7.5).
    BackToBack,
    /// The rate with many flows against the rate with one (RFC 8219 10).
    Overload,
    /// Loss while a command disturbs the device: a reset (RFC 6201 4, RFC 8219 7.7), a change of its configuration.
    Disturbance {
        /// `reset` or `reconfigure`.
        name: &'static str,
        /// The command.
        command: String,
        /// The share of the throughput that is sent meanwhile.
        load: f64,
    },
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
    let commander = match procedure {
        Procedure::Disturbance { command, .. } => Some(Commander::new(command)),
        _ => None,
    };
    let mut engine = Engine::start(config)?;
    let mut results = Results::default();
    for size in config.sizes() {
        engine.change(config, size);
        engine.wait_until_ready()?;
        let mut point = Point { engine: &mut engine, config, size, results: &mut results };
        match procedure {
            Procedure::Run => point.run()?,
            Procedure::Throughput => throughput::measure(&mut point)?,
            Procedure::Latency { load } => latency::measure(&mut point, *load)?,
            Procedure::Pdv { load } => latency::measure_variation(&mut point, *load)?,
            Procedure::FrameLoss => frame_loss::measure(&mut point)?,
            Procedure::BackToBack => back_to_back::measure(&mut point)?,
            Procedure::Overload => overload::measure(&mut point)?,
            Procedure::Disturbance { name, load, .. } => {
                let commander = commander.as_ref().expect("it was made for this procedure");
                disturbance::measure(&mut point, name, *load, commander)?;
            }
        }
    }
    Ok(results)
}

/// One point to measure: a frame size.
struct Point<'a> {
    engine: &'a mut Engine,
    config: &'a Config,
    size: FrameBytes,
    results: &'a mut Results,
}

impl Point<'_> {
    /// `run`: nothing may be lost.
    fn run(&mut self) -> Result<(), PktgenError> {
        let outcome = self.trial(self.config.trial.rate)?;
        self.complain_of_loss(&outcome);
        self.report("run", &outcome, Finding::default());
        Ok(())
    }

    /// A trial at a rate.
    fn trial(&mut self, rate: Rate) -> Result<Outcome, PktgenError> {
        self.trial_of(&Trial::at(rate, &self.config.trial))
    }

    /// A trial; packets that come back wrong are complained of in every one.
    fn trial_of(&mut self, trial: &Trial) -> Result<Outcome, PktgenError> {
        let outcome = self.engine.run(trial)?;
        if !outcome.is_clean() {
            self.complain(&outcome);
        }
        Ok(outcome)
    }

    fn complain(&mut self, outcome: &Outcome) {
        self.results.complaints.push(format!("frame_bytes {}: {}", self.size, outcome.summary()));
    }

    /// Complains of a loss beyond what is tolerated, unless it was complained of the trial already.
    fn complain_of_loss(&mut self, outcome: &Outcome) {
        if outcome.is_clean() && !self.passes(outcome) {
            self.complain(outcome);
        }
    }

    /// Whether no more was lost than is tolerated.
    fn passes(&self, outcome: &Outcome) -> bool {
        outcome.sent() > 0 && outcome.loss_ratio() <= self.config.trial.loss_tolerance
    }

    fn report(&mut self, procedure: &str, outcome: &Outcome, finding: Finding) {
        self.results.measurements.push(Measurement::new(procedure, self.config, self.size, outcome, finding));
    }

    /// Measures something as often as configured: the trial with the median, and the smallest and largest value.
    fn repeat(
        &mut self,
        mut once: impl FnMut(&mut Self) -> Result<Option<(f64, Outcome, Finding)>, PktgenError>,
    ) -> Result<Option<(Outcome, Finding)>, PktgenError> {
        let mut all = Vec::new();
        for _ in 0..self.config.trial.repetitions {
            match once(self)? {
                Some(one) => all.push(one),
                None => return Ok(None),
            }
        }
        all.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
        let spread = (all.len() > 1).then(|| [all[0].0, all[all.len() - 1].0]);
        let (_, outcome, finding) = all.swap_remove((all.len() - 1) / 2);
        Ok(Some((outcome, Finding { spread, ..finding })))
    }

    /// The configured rate, or else `load` times the throughput, which is searched first. None when the device passes
    /// nothing.
    fn load(&mut self, load: f64) -> Result<Option<Load>, PktgenError> {
        if let Rate::PerSecond(rate) = self.config.trial.rate {
            return Ok(Some(Load { rate, throughput: None }));
        }
        let found = throughput::search(self)?;
        Ok(found.map(|found| Load { rate: found.value * load, throughput: Some(found.value) }))
    }

    /// Nothing passes at any rate.
    fn complain_of_nothing(&mut self, procedure: &str) {
        self.results.complaints.push(format!(
            "frame_bytes {}: {procedure}: frames are lost at every rate, see loss_tolerance",
            self.size
        ));
    }
}

/// The middle value, of an even number of values the lower one of the two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

/// What is sent while something else is measured.
struct Load {
    rate: f64,
    throughput: Option<f64>,
}
