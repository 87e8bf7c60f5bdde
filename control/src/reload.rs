//! Reading the configuration again while the relay runs.
//!
//! A reload has two halves. [`Running::prepare`] does all the work (reading, checking, comparing, building the tables)
//! and changes nothing; it takes as long as it takes, on a thread of its own. Publishing what it prepared is one
//! pointer swap, which cannot fail. So whatever is wrong, the relay goes on with what it has.
//!
//! [`Reloader`] runs one preparation at a time. Requests that come meanwhile become one more reload after it, which
//! sees the files as they are then.

mod fixed;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::table::translation::Translation;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::config::{self, Config, Dpdk, LoadTimes, Port, Problems, Warnings};
use crate::eam_set::{ChangeCounts, EamSet};
use crate::plan::{self, PlanError};

pub use tables::Way;

/// Why a reload was refused. The relay goes on as before.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The files are wrong.
    #[error("the configuration is wrong in {} places; correct them and reload again", .0.len())]
    Problems(Problems),
    /// Something changed that only a start can change.
    #[error(
        "a running relay cannot change {}; restart it to use the new configuration, or put back what was there",
        .0.join(", ")
    )]
    NeedsRestart(Vec<String>),
    /// A contradiction between validation and tables.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// What a running relay must remember of its configuration, and the tables made of it.
pub struct Running {
    path: PathBuf,
    dpdk: Dpdk,
    ports: Vec<Port>,
    settings: config::Translation,
    eams: EamSet,
    translation: Arc<Translation>,
}

/// A configuration ready to be published.
pub struct Prepared {
    /// The tables.
    pub translation: Arc<Translation>,
    /// How they came about.
    pub way: Way,
    /// What is different about the mappings.
    pub changes: ChangeCounts,
    /// How many there are.
    pub eams: usize,
    /// What works and is probably not meant.
    pub warnings: Warnings,
    /// How long it took.
    pub times: Times,
}

/// How long the stages of a reload took.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Reading and checking the files.
    pub load: LoadTimes,
    /// Finding the difference.
    pub compare: Duration,
    /// Building the tables, or applying the difference to those in use.
    pub build: Duration,
}

impl Running {
    /// What a relay has that is started with `config`, whose mappings are taken out of it.
    ///
    /// # Errors
    /// [`PlanError`]: a contradiction between validation and tables.
    pub fn start(path: &Path, config: &mut Config) -> Result<Self, PlanError> {
        let eams = EamSet::new(plan::rows(std::mem::take(&mut config.eams).into_rows()));
        let translation = Arc::new(tables::build(&config.translation, &eams)?);
        Ok(Self {
            path: path.to_owned(),
            dpdk: config.dpdk.clone(),
            ports: config.ports.clone(),
            settings: config.translation.clone(),
            eams,
            translation,
        })
    }

    /// The mappings in use.
    #[must_use]
    pub fn eams(&self) -> &EamSet {
        &self.eams
    }

    /// The tables in use.
    #[must_use]
    pub fn translation(&self) -> &Arc<Translation> {
        &self.translation
    }

    /// Reads the configuration again and gets everything ready to be published; with it, what the relay must remember
    /// once it is.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub fn prepare(&self) -> Result<(Prepared, Self), ReloadError> {
        let (loaded, load) = Config::load_timed(&self.path);
        let (mut config, warnings) = loaded.map_err(ReloadError::Problems)?;
        let fixed = fixed::differences((&self.dpdk, &self.ports), (&config.dpdk, &config.ports));
        if !fixed.is_empty() {
            return Err(ReloadError::NeedsRestart(fixed));
        }
        let started = Instant::now();
        let eams = EamSet::new(plan::rows(std::mem::take(&mut config.eams).into_rows()));
        let changes = self.eams.changes_to(&eams);
        let compared = Instant::now();
        let (translation, way) = tables::next(self, &config.translation, &eams, &changes)?;
        let times = Times { load, compare: compared - started, build: compared.elapsed() };
        let translation = Arc::new(translation);
        let prepared = Prepared {
            translation: Arc::clone(&translation),
            way,
            changes: changes.counts(),
            eams: eams.rows().len(),
            warnings,
            times,
        };
        let Config { dpdk, ports, translation: settings, .. } = config;
        Ok((prepared, Self { path: self.path.clone(), dpdk, ports, settings, eams, translation }))
    }
}

type Job = JoinHandle<Result<(Prepared, Running), ReloadError>>;

/// Prepares reloads beside the control loop, one at a time. Needs a tokio runtime.
pub struct Reloader {
    running: Arc<Running>,
    job: Option<Job>,
    again: bool,
}

impl Reloader {
    /// For a relay that runs with `running`.
    #[must_use]
    pub fn new(running: Running) -> Self {
        Self { running: Arc::new(running), job: None, again: false }
    }

    /// Asks for a reload. While one is being prepared, all requests together are one more.
    pub fn request(&mut self) {
        if self.job.is_some() {
            self.again = true;
        } else {
            self.start();
        }
    }

    /// What the reload in preparation came to; waits for ever while there is none. What is prepared counts as running
    /// from now on: publish it.
    pub async fn finished(&mut self) -> Result<Prepared, ReloadError> {
        let Some(job) = &mut self.job else {
            return std::future::pending().await;
        };
        let finished = job.await.expect("preparing a reload does not panic");
        self.job = None;
        let prepared = finished.map(|(prepared, running)| {
            let replaced = std::mem::replace(&mut self.running, Arc::new(running));
            // A million rows are not freed in no time.
            spawn_blocking(|| drop(replaced));
            prepared
        });
        if std::mem::take(&mut self.again) {
            self.start();
        }
        prepared
    }

    fn start(&mut self) {
        let running = Arc::clone(&self.running);
        self.job = Some(spawn_blocking(move || running.prepare()));
    }
}

#[cfg(test)]
mod tests;
