//! Reading the configuration again while the relay runs.
//!
//! [`load`] reads and checks the files, [`Running::prepare`] compares them with what runs and builds the tables: as long as
//! it takes, each on a thread of its own ([`crate::actor`]). Publishing what was prepared is one pointer swap, which cannot
//! fail. So whatever is wrong, the relay goes on with what it has.

mod fixed;
mod tables;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::table::eam::Eam;
use dataplane::table::translation::Translation;
use ipnet::IpNet;

use crate::actor::MappingSource;
use crate::announce;
use crate::config::{
    self, Announce, Config, Control, Dpdk, Eams, LoadTimes, Metrics, Port, Problems, Warnings,
};
use crate::eam_set::{ChangeCounts, EamSet};
use crate::plan::{self, PlanError};

pub use fixed::same_machine;
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
    /// More would go than anybody usually means.
    #[error(
        "it would remove {removed} of {mappings} mappings of the files, more than the {allowed} a reload may remove; all of \
         them are still in force. If that is meant, set `reload_may_remove = {removed}` (or \"all\") in [translation] and \
         reload again; if not, see whether a file is cut off or empty"
    )]
    RemovesTooMuch {
        /// Mappings that would go.
        removed: usize,
        /// Mappings there are.
        mappings: usize,
        /// Mappings that may go.
        allowed: usize,
    },
    /// The mappings beside those of the files cannot be read: tables without them would lose what they translate.
    #[error("the mappings of the store cannot be read, and without them no tables are made: {0}")]
    Source(String),
    /// A contradiction between validation and tables.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// What a running relay must remember of its configuration, and the tables made of it.
pub struct Running {
    path: PathBuf,
    dpdk: Dpdk,
    ports: Vec<Port>,
    control: Option<Control>,
    metrics: Metrics,
    announce: Option<Announce>,
    settings: config::Translation,
    eams: EamSet,
    translation: Arc<Translation>,
    /// Whoever keeps mappings beside those of the files.
    source: Option<Box<dyn MappingSource>>,
}

/// What was read, and how long it took.
pub struct Loaded {
    result: Result<(Config, Warnings), Problems>,
    times: LoadTimes,
}

/// What new tables replaced: memory to be freed where there is time for it.
pub struct Replaced(#[expect(dead_code, reason = "only to be dropped")] EamSet);

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
    /// What leads to the relay.
    pub destinations: BTreeSet<IpNet>,
    /// See [`Running::settings_hash`].
    pub settings: String,
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

/// Reads and checks the configuration.
pub fn load(path: &Path) -> Loaded {
    let (result, times) = Config::load_timed(path);
    Loaded { result, times }
}

impl Running {
    /// What a relay has that is started with `config`, whose mappings are taken out of it, and with those of `source`, which
    /// is told of those of the files. `built` are the tables of just these mappings, if somebody has them already ([`build`]).
    ///
    /// # Errors
    /// [`ReloadError::Source`], or a contradiction between validation and tables.
    pub fn start(
        path: &Path,
        config: &mut Config,
        mut source: Option<Box<dyn MappingSource>>,
        built: Option<Arc<Translation>>,
    ) -> Result<Self, ReloadError> {
        let eams = take_rows(std::mem::take(&mut config.eams), source.as_deref_mut(), &config.translation);
        let translation = match built {
            Some(built) => built,
            None => Arc::new(tables::build(&config.translation, &eams, source.as_deref())?),
        };
        Ok(Self {
            path: path.to_owned(),
            dpdk: config.dpdk.clone(),
            ports: config.ports.clone(),
            control: config.control.clone(),
            metrics: config.metrics,
            announce: config.announce.clone(),
            settings: config.translation.clone(),
            eams,
            translation,
            source,
        })
    }

    /// The configuration file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What leads to the relay.
    #[must_use]
    pub fn destinations(&self) -> BTreeSet<IpNet> {
        announce::destinations(&self.settings)
    }

    /// What the keys of `[translation]` hash to, in hexadecimal: relays of one version with the same hash and the same mappings
    /// do the same.
    #[must_use]
    pub fn settings_hash(&self) -> String {
        blake3::hash(format!("{:?}", self.settings).as_bytes()).to_hex()[..16].to_owned()
    }

    /// How it is announced, if it is.
    #[must_use]
    pub fn announce(&self) -> Option<&Announce> {
        self.announce.as_ref()
    }

    /// The mappings of the files in use.
    #[must_use]
    pub fn eams(&self) -> &EamSet {
        &self.eams
    }

    /// The tables in use.
    #[must_use]
    pub fn translation(&self) -> &Arc<Translation> {
        &self.translation
    }

    /// Other tables are in use, with the same mappings of the files.
    pub(crate) fn replace(&mut self, translation: Translation) -> Arc<Translation> {
        self.translation = Arc::new(translation);
        Arc::clone(&self.translation)
    }

    /// Gets what was read ready to be published, which is to happen at once: from now on this is what runs. With it comes
    /// what was replaced. Nothing changes when there is an error.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub fn prepare(&mut self, loaded: Loaded) -> Result<(Prepared, Replaced), ReloadError> {
        let (mut config, warnings) = loaded.result.map_err(ReloadError::Problems)?;
        let fixed = fixed::differences(
            (&self.dpdk, &self.ports, self.control.as_ref(), self.announce.as_ref(), self.metrics),
            (&config.dpdk, &config.ports, config.control.as_ref(), config.announce.as_ref(), config.metrics),
        );
        if !fixed.is_empty() {
            return Err(ReloadError::NeedsRestart(fixed));
        }
        let started = Instant::now();
        let files = std::mem::take(&mut config.eams);
        if let Some(source) = &self.source {
            source.check(&files).map_err(ReloadError::Problems)?;
        }
        let (rows, files) = match &self.source {
            Some(_) => (files.to_vec(), Some(files)),
            None => (files.into_rows(), None),
        };
        let eams = EamSet::new(plan::rows(rows));
        let changes = self.eams.changes_to(&eams);
        let (removed, mappings) = (changes.removed.len(), self.eams.rows().len());
        let allowed = config.reload_may_remove.of(mappings);
        if removed > allowed {
            return Err(ReloadError::RemovesTooMuch { removed, mappings, allowed });
        }
        let compared = Instant::now();
        let (translation, way) = tables::next(self, &config.translation, &eams, &changes)?;
        let times = Times { load: loaded.times, compare: compared - started, build: compared.elapsed() };
        let Config { dpdk, ports, translation: settings, .. } = config;
        (self.dpdk, self.ports, self.settings) = (dpdk, ports, settings);
        let replaced = Replaced(std::mem::replace(&mut self.eams, eams));
        if let (Some(source), Some(files)) = (&mut self.source, files) {
            source.accept(files, &self.settings);
        }
        let translation = self.replace(translation);
        let eams = translation.eams.len();
        let (changes, destinations, settings) = (changes.counts(), self.destinations(), self.settings_hash());
        Ok((Prepared { translation, way, changes, eams, destinations, settings, warnings, times }, replaced))
    }
}

/// The tables of a configuration, and of mappings that are kept elsewhere.
///
/// # Errors
/// [`PlanError`]: a contradiction between validation and tables.
pub fn build(config: &Config, others: Vec<Eam>) -> Result<Arc<Translation>, PlanError> {
    let eams = EamSet::new(plan::rows(config.eams.to_vec()));
    Ok(Arc::new(tables::build_of(&config.translation, &eams, others)?))
}

/// The rows of the files; `source` keeps where they stood.
fn take_rows(
    files: Eams,
    source: Option<&mut (dyn MappingSource + 'static)>,
    settings: &config::Translation,
) -> EamSet {
    let Some(source) = source else {
        return EamSet::new(plan::rows(files.into_rows()));
    };
    let rows = plan::rows(files.to_vec());
    source.accept(files, settings);
    EamSet::new(rows)
}

#[cfg(test)]
mod tests;
