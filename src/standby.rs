//! A relay that stands by for another: whatever can be done before that one ends is done, and kept up to date.
//!
//! ```text
//!   at once      DPDK and its packet memory (not where a port is a card: DPDK opens cards when it starts)
//!                configuration read, tables built of it and of a copy of the store
//!                the twins' and bl-up's open files from the other relay (`handover.rs`)
//!   every 2 s    files or store changed? read and built again
//!   it ends      claims, store checked and opened, ports, workers: AF_XDP and packet sockets take a port only when it is free
//! ```
//!
//! Nothing prepared is believed: files that changed since are read again, and tables are built again unless the store hashes to
//! what its copy did.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use control::config::{self, Config};
use control::reload;
use dataplane::table::eam::Eam;
use dataplane::table::translation::Translation;
use eam_store::{Digest, Options, Store};
use tokio::task::spawn_blocking;

use crate::args::FAILED;
use crate::control_socket::FilesInForce;
use crate::handover::Held;
use crate::harden;
use crate::log::Log;
use crate::machine::Ground;
use crate::preflight;
use crate::signals::Signals;
use crate::watchdog;

/// How often it looks whether anything has changed.
const LOOK: Duration = Duration::from_secs(2);
/// Preparing anew takes no more than one part in so many of the time.
const SHARE: u32 = 10;
/// A relay that takes over and does not get to the end of it would keep routes alive that lead nowhere.
const TAKING_OVER: Duration = Duration::from_secs(10);
/// Longest that the kernel needs to free the ports of a process that has ended; 0.05 to 0.15 s were seen.
const LETTING_GO: Duration = Duration::from_secs(1);

/// What is there when the other relay ends.
#[derive(Default)]
pub(crate) struct Prepared {
    /// DPDK, and what it was started for.
    ground: Option<(Ground, config::Dpdk, Vec<config::Port>)>,
    tables: Option<Tables>,
    /// Files of twins that exist.
    pub(crate) held: Held,
    /// Ends the process unless it is started in time.
    pub(crate) limit: Option<Arc<AtomicBool>>,
}

/// A configuration and its tables.
struct Tables {
    config: Config,
    files: FilesInForce,
    store: Option<Stamp>,
    translation: Arc<Translation>,
    digest: Option<Digest>,
    took: Duration,
}

/// Tells whether a store has changed: what stands beside it names its newest revision.
type Stamp = Option<Vec<u8>>;

/// Stands by until nobody has what `config` names. None when it is to end before that.
pub(crate) async fn wait(path: &Path, config: &Config, signals: &mut Signals) -> Option<Prepared> {
    let prepared = Prepared { ground: ground(config), ..Prepared::default() };
    wait_on(prepared, path, config, signals).await
}

/// The same with what was prepared before: somebody else was faster.
pub(crate) async fn wait_on(
    before: Prepared,
    path: &Path,
    config: &Config,
    signals: &mut Signals,
) -> Option<Prepared> {
    before.started();
    let (ground, held, tables) = (before.ground, RefCell::new(before.held), RefCell::new(before.tables));
    let stood_by = tokio::select! {
        stood_by = preflight::free(config, &held) => stood_by,
        never = keep_ready(path, &tables, &held) => match never {},
        never = watchdog::stand_by() => match never {},
        () = signals.stopped() => return None,
    };
    // Where nobody had anything it starts as any other does, and takes the time it takes.
    let limit = stood_by.then(|| {
        tracing::info!("taking over");
        limit()
    });
    Some(Prepared { ground, tables: tables.into_inner(), held: held.into_inner(), limit })
}

impl Prepared {
    /// The configuration, if its files are as they were.
    pub(crate) fn config(&self) -> Option<Config> {
        let tables = self.tables.as_ref()?;
        tables.files.changed().is_empty().then(|| tables.config.clone())
    }

    /// The tables of `config` and of a store that hashes to `digest`, if those are there.
    pub(crate) fn tables(&mut self, config: &Config, digest: Option<Digest>) -> Option<Arc<Translation>> {
        let tables = self.tables.take()?;
        let same = tables.digest == digest
            && tables.config.translation == config.translation
            && tables.config.eams == config.eams;
        if !same {
            tracing::info!("the mappings have changed since they were prepared: the tables are built again");
        }
        same.then_some(tables.translation)
    }

    /// DPDK, if it was started. A process can start it only once: when it was started for something else, this process begins
    /// anew.
    pub(crate) fn ground(&mut self, config: &Config, log: &Log) -> Option<Ground> {
        let (ground, dpdk, ports) = self.ground.take()?;
        if !reload::same_machine((&dpdk, &ports), (&config.dpdk, &config.ports)) {
            tracing::warn!("[dpdk] or [[port]] have changed while this relay stood by: it starts anew");
            harden::pass_on();
            log.give_back();
            let error = Command::new("/proc/self/exe").args(std::env::args_os().skip(1)).exec();
            tracing::error!(%error, "it cannot start anew");
        }
        Some(ground)
    }

    /// How long a port may take to be let go of by the process before.
    pub(crate) fn patience(&self) -> Duration {
        if self.limit.is_some() { LETTING_GO } else { Duration::ZERO }
    }

    /// It runs.
    pub(crate) fn started(&self) {
        if let Some(limit) = &self.limit {
            limit.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether the tables of a configuration and of its store can be built; what is wrong if not.
pub(crate) fn try_tables(path: &Path) -> Result<(), String> {
    Tables::prepare(path).map(drop)
}

fn ground(config: &Config) -> Option<(Ground, config::Dpdk, Vec<config::Port>)> {
    if !Ground::is_apart_from_ports(config) {
        tracing::info!(
            "a port is a card, which DPDK opens when it starts: that waits until the card is free"
        );
        return None;
    }
    match Ground::lay(config) {
        Ok(ground) => Some((ground, config.dpdk.clone(), config.ports.clone())),
        Err(error) => {
            tracing::warn!("DPDK is started only when this relay takes over: {error}");
            None
        }
    }
}

/// Prepares the tables, again and again when they have changed.
async fn keep_ready(path: &Path, kept: &RefCell<Option<Tables>>, held: &RefCell<Held>) -> Infallible {
    let mut said = String::new();
    loop {
        let is_current = kept.borrow().as_ref().is_some_and(Tables::are_current);
        let mut rest = LOOK;
        if !is_current {
            let file = path.to_owned();
            let prepared = spawn_blocking(move || Tables::prepare(&file)).await;
            match prepared.unwrap_or_else(|_| Err("preparing them failed".to_owned())) {
                Ok(tables) => {
                    rest = rest.max(tables.took * SHARE);
                    let (mappings, took_ms) = (tables.translation.eams.len(), tables.took.as_millis());
                    tracing::info!(mappings, took_ms, "ready to take over");
                    kept.replace(Some(tables));
                    held.borrow_mut().set_ready(true);
                    said.clear();
                }
                Err(problem) => {
                    if said != problem {
                        tracing::error!("nothing is prepared, and this relay would not start: {problem}");
                        said = problem;
                    }
                    kept.replace(None);
                    held.borrow_mut().set_ready(false);
                }
            }
        }
        tokio::time::sleep(rest).await;
    }
}

impl Tables {
    fn prepare(path: &Path) -> Result<Self, String> {
        let started = Instant::now();
        let (config, _) = Config::load(path).map_err(|problems| problems.to_string())?;
        let files = FilesInForce::of(path, &config.eams);
        let stamp = config.control.as_ref().map(|control| stamp(&control.store));
        let mut digest = None;
        let mut others = Vec::new();
        if let Some(control) = &config.control {
            let (eams, hash) = stored(&control.store)?;
            others = eams;
            digest = Some(hash);
        }
        let translation = reload::build(&config, others).map_err(|error| error.to_string())?;
        Ok(Self { config, files, store: stamp, translation, digest, took: started.elapsed() })
    }

    fn are_current(&self) -> bool {
        let now = self.config.control.as_ref().map(|control| stamp(&control.store));
        self.files.changed().is_empty() && now == self.store
    }
}

/// What a store says of its newest revision.
fn stamp(store: &Path) -> Stamp {
    fs::read(beside(store, "-head")).ok()
}

fn beside(store: &Path, name: &str) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(name);
    path.into()
}

/// The mappings of a store that another process has open, from a copy. A copy that was made while it was written to may be torn:
/// then it is not sound, or hashes to something else than the store does when it is opened.
fn stored(store: &Path) -> Result<(Vec<Eam>, Digest), String> {
    let place = beside(store, "-standby");
    fs::remove_dir_all(&place).ok();
    let result = copy_of(store, &place);
    fs::remove_dir_all(&place).ok();
    result
}

fn copy_of(store: &Path, place: &Path) -> Result<(Vec<Eam>, Digest), String> {
    let failed =
        |error: std::io::Error| format!("the store cannot be copied to {}: {error}", place.display());
    fs::create_dir(place).map_err(failed)?;
    let copy = place.join("mappings.db");
    // In this order: pages that go from the log to the file meanwhile are in both.
    for name in ["", "-wal", "-head"] {
        let from = beside(store, name);
        if from.exists() {
            fs::copy(&from, beside(&copy, name)).map_err(failed)?;
        }
    }
    let opened = Store::open(&copy, Options::default()).map_err(|error| error.to_string())?;
    let eams = opened.eams.iter().map(|eam| Eam { ipv4: eam.ipv4(), ipv6: eam.ipv6() }).collect();
    Ok((eams, opened.store.head().digest))
}

/// Ends the process unless it is told in time that the relay runs: what it holds vanishes then, and what is announced with it.
fn limit() -> Arc<AtomicBool> {
    let started = Arc::<AtomicBool>::default();
    let told = Arc::clone(&started);
    let watching = thread::Builder::new().name("taking-over".to_owned()).spawn(move || {
        if !watchdog::take_over(TAKING_OVER, || told.load(Ordering::Relaxed)) {
            tracing::error!("not started {} s after taking over: ending", TAKING_OVER.as_secs());
            thread::sleep(Duration::from_millis(200));
            std::process::exit(i32::from(FAILED));
        }
    });
    if let Err(error) = watching {
        tracing::warn!(%error, "nobody watches over the start");
    }
    started
}
