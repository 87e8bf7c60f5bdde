//! The test stand: a device under test and the generator at the ends of fresh wires.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Vdev;
use super::generator::{self, Expect, Latency, Outcome, Trial};
use super::relay::{RelayUnderTest, Setting};
use super::testpmd::{Mode, Testpmd};
use super::traffic::Traffic;
use super::{BenchError, Build, reload};
use crate::lab::{Counters, LabError};

/// Who is measured.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    /// A relay.
    Relay {
        /// Whose.
        build: &'a Build,
        /// Further lines of the section `[translation]`.
        translation: &'a str,
    },
    /// testpmd.
    Testpmd(Mode),
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Relay { build, translation: "" } => write!(formatter, "relay {}", build.label),
            Self::Relay { build, translation } => {
                write!(formatter, "relay {} with {translation}", build.label)
            }
            Self::Testpmd(mode) => write!(formatter, "testpmd {}", mode.name()),
        }
    }
}

/// What a saturated device did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    /// Millions of packets per second that came back right.
    pub(super) mpps: f64,
    /// Cycles its forwarding thread spent on each packet, driver included, as it counts them itself.
    pub(super) cycles: f64,
}

/// What all trials share.
#[derive(Debug)]
pub(super) struct Stand {
    vdev: Vdev,
    seconds: f64,
    directory: TempDir,
    /// Files of EAMs by their number.
    eams: RefCell<BTreeMap<u32, PathBuf>>,
}

/// A running device under test.
#[derive(Debug)]
enum Running {
    Relay(RelayUnderTest),
    Testpmd(Testpmd),
}

impl Running {
    fn macs(&self) -> [String; 2] {
        match self {
            Self::Relay(relay) => relay.macs.clone(),
            Self::Testpmd(_) => Testpmd::MACS.map(String::from),
        }
    }

    fn expect(&self) -> Expect {
        match self {
            Self::Relay(_) => Expect::Translated,
            Self::Testpmd(testpmd) => testpmd.expect(),
        }
    }

    fn watch<T>(&mut self, body: impl FnOnce() -> T) -> T {
        match self {
            Self::Relay(_) => body(),
            Self::Testpmd(testpmd) => testpmd.watch(body),
        }
    }

    /// Ends it; cycles per packet.
    fn stop(self) -> Result<f64, BenchError> {
        match self {
            Self::Relay(relay) => relay.stop(),
            Self::Testpmd(testpmd) => testpmd.stop(),
        }
    }
}

impl Stand {
    /// A stand whose trials send for `seconds`.
    ///
    /// # Errors
    /// When there is no place for temporary files.
    pub(super) fn new(vdev: Vdev, seconds: f64) -> Result<Self, BenchError> {
        let directory = tempfile::tempdir().map_err(LabError::io("temporary directory"))?;
        Ok(Self { vdev, seconds, directory, eams: RefCell::default() })
    }

    /// Sends as much as the wires take through a fresh device.
    ///
    /// # Errors
    /// When the device or the generator fails.
    pub(super) fn saturate(&self, subject: Subject, traffic: Traffic) -> Result<Measured, BenchError> {
        let (outcome, cycles) = self.pass(subject, traffic, None)?;
        Ok(Measured { mpps: outcome.received_pps / 1e6, cycles })
    }

    /// Sends at a rate through a fresh device.
    ///
    /// # Errors
    /// When the device or the generator fails.
    pub(super) fn latency(
        &self,
        subject: Subject,
        traffic: Traffic,
        mpps: f64,
    ) -> Result<Latency, BenchError> {
        let (outcome, _) = self.pass(subject, traffic, Some(mpps))?;
        outcome.latency_us.ok_or_else(|| BenchError::NothingForwarded {
            subject: subject.to_string(),
            traffic: traffic.to_string(),
        })
    }

    /// Sends at a rate through a fresh relay that is made to replace its table meanwhile, by a file of as many EAMs.
    ///
    /// # Errors
    /// When the relay or the generator fails.
    pub(super) fn reload(
        &self,
        build: &Build,
        traffic: Traffic,
        mpps: f64,
    ) -> Result<(Outcome, Counters), BenchError> {
        let directory = self.fresh_directory()?;
        let (current, next) = (directory.path().join("eams.csv"), directory.path().join("next.csv"));
        let eams = self.eams(traffic.table.count())?;
        fs::copy(&eams, &current).map_err(BenchError::io(&current))?;
        let text = fs::read_to_string(&eams).map_err(BenchError::io(&eams))?;
        fs::write(&next, reload::changed(&text)).map_err(BenchError::io(&next))?;
        let setting = Setting { vdev: self.vdev, sockets: directory.path(), eams: &current, translation: "" };
        let relay = RelayUnderTest::start(build, setting)?;
        let trial = Trial {
            vdev: self.vdev,
            sockets: directory.path(),
            peers: &relay.macs,
            expect: Expect::Translated,
            traffic,
            mpps: Some(mpps),
            seconds: self.seconds,
        };
        let command = reload::command(&next, &current, relay.relay.pid(), &relay.relay.log_path());
        let outcome = generator::reconfigure(&trial, &command)?;
        Ok((outcome, relay.finish()?))
    }

    /// One trial: what the generator says, and the device's cycles per packet.
    fn pass(
        &self,
        subject: Subject,
        traffic: Traffic,
        mpps: Option<f64>,
    ) -> Result<(Outcome, f64), BenchError> {
        self.trial(subject, traffic, mpps).map_err(|source| BenchError::Trial {
            subject: subject.to_string(),
            traffic: traffic.to_string(),
            source: Box::new(source),
        })
    }

    fn trial(
        &self,
        subject: Subject,
        traffic: Traffic,
        mpps: Option<f64>,
    ) -> Result<(Outcome, f64), BenchError> {
        let sockets = self.fresh_directory()?;
        let mut running = self.start(subject, &traffic, sockets.path())?;
        let peers = running.macs();
        let trial = Trial {
            vdev: self.vdev,
            sockets: sockets.path(),
            peers: &peers,
            expect: running.expect(),
            traffic,
            mpps,
            seconds: self.seconds,
        };
        let outcome = running.watch(|| generator::run(&trial))?;
        Ok((outcome, running.stop()?))
    }

    fn fresh_directory(&self) -> Result<TempDir, BenchError> {
        Ok(tempfile::tempdir_in(self.directory.path()).map_err(LabError::io("temporary directory"))?)
    }

    fn start(&self, subject: Subject, traffic: &Traffic, sockets: &Path) -> Result<Running, BenchError> {
        match subject {
            Subject::Relay { build, translation } => {
                let eams = self.eams(traffic.table.count())?;
                let setting = Setting { vdev: self.vdev, sockets, eams: &eams, translation };
                RelayUnderTest::start(build, setting).map(Running::Relay)
            }
            Subject::Testpmd(mode) => Testpmd::start(mode, self.vdev, sockets).map(Running::Testpmd),
        }
    }

    /// The file of so many EAMs, written when it is first asked for.
    fn eams(&self, count: u32) -> Result<PathBuf, BenchError> {
        if let Some(path) = self.eams.borrow().get(&count) {
            return Ok(path.clone());
        }
        let path = self.directory.path().join(format!("eams-{count}.csv"));
        generator::write_eams(&path, count)?;
        self.eams.borrow_mut().insert(count, path.clone());
        Ok(path)
    }
}
