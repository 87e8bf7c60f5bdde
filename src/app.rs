//! `borderline run`: the order in which things start, and stop.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use control::actor::{Actor, ActorParts, ControlHandle, log_warnings};
use control::config::{self, Config, Problems};
use control::health::Pulse;
use control::kernel::{Bell, Kernel, KernelError, Rings, Tap, Twin, TwinError, UpLink};
use control::observe::Observatory;
use control::reload::{ReloadError, Running};
use dataplane::dpdk::{self, EalError, LcoreError, MempoolError, Port, PortError};
use dataplane::exception::{InjectReceiver, PuntSender, inject_ring, punt_ring};
use dataplane::sink::lone::LoneSampler;
use dataplane::table::fib::Fib;
use dataplane::table::publish::Publisher;
use dataplane::table::routing::{MacAddress, PortId};
use dataplane::table::snapshot::Snapshot;

use sd_notify::NotifyState;

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};
use tokio::task::{LocalSet, spawn_local};

use crate::args::{DONE, FAILED, WRONG};
use crate::control_socket::{ControlError, ControlSocket, LogLost};
use crate::handover::{Held, Successors};
use crate::harden;
use crate::last_exit;
use crate::log::{Log, LogFormat};
use crate::machine::{DpdkMachine, Opened, interface_behind};
use crate::meters::Meters;
use crate::metrics::{self, Pages};
use crate::preflight::{self, Claims};
use crate::report;
use crate::signals::Signals;
use crate::standby::{self, Prepared};
use crate::watchdog;
use crate::workers::{self, Workers, local_mtu};

/// Bytes of each exception ring.
const RING_BYTES: usize = 1 << 20;

/// Why the relay cannot run, or runs no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error(transparent)]
    Tables(#[from] ReloadError),
    #[error(transparent)]
    Eal(#[from] EalError),
    #[error(transparent)]
    Mempool(#[from] MempoolError),
    #[error("port {port}: {error}")]
    Port { port: String, error: PortError },
    #[error("port {port}: {error}")]
    Twin { port: String, error: TwinError },
    #[error("announcing: {0}")]
    Announce(TwinError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("worker on CPU {cpu}: {error}")]
    Worker { cpu: u16, error: LcoreError },
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("{0}\nthe mappings of the files and those of the store do not go together")]
    Conflicts(Problems),
    #[error("metrics.listen: cannot listen at {address}: {error}; choose another address or port")]
    Metrics { address: std::net::SocketAddr, error: std::io::Error },
    #[error("the system gives no more {what}: {error}")]
    System { what: &'static str, error: std::io::Error },
}

/// Runs the relay; returns the exit status.
pub(crate) fn run(path: &Path, standby: bool, format: Option<LogFormat>) -> u8 {
    let complaints = harden::begin();
    let log = match Log::start(format.unwrap_or(LogFormat::Auto)) {
        Ok(log) => log,
        Err(error) => {
            // Nothing runs yet: whoever started it waits for an answer.
            writeln!(std::io::stderr(), "borderline: the log cannot be started: {error}").ok();
            return FAILED;
        }
    };
    let status = run_logged(path, standby, &log, format, &complaints);
    log.finish();
    status
}

fn run_logged(path: &Path, standby: bool, log: &Log, format: Option<LogFormat>, complaints: &[String]) -> u8 {
    for complaint in complaints {
        tracing::warn!("{complaint}");
    }
    if !dpdk::set_up_heap() {
        tracing::debug!("memory of replaced tables may stay with the process");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime
        .map_err(|error| AppError::System { what: "event queues", error })
        .and_then(|runtime| LocalSet::new().block_on(&runtime, load_and_relay(path, standby, log, format)));
    match result {
        Ok(status) => status,
        Err(error) => {
            tracing::error!("{error}");
            FAILED
        }
    }
}

/// Listens to signals before anything else: one that comes while a million mappings are read is answered after the start,
/// and does not end the process.
async fn load_and_relay(
    path: &Path,
    standby: bool,
    log: &Log,
    format: Option<LogFormat>,
) -> Result<u8, AppError> {
    let mut signals =
        Signals::listen().map_err(|error| AppError::System { what: "signal handlers", error })?;
    let Some(mut config) = load(path, log, format) else { return Ok(WRONG) };
    let mut prepared = Prepared::default();
    if standby && config::check_machine(&config).is_empty() {
        leave_the_workers_alone(&config.dpdk.workers);
        match standby::wait(path, &config, &mut signals).await {
            Some(all) => prepared = all,
            None => return Ok(DONE),
        }
        // It may be another by now: what the relay before read last is what counts.
        match prepared.config().or_else(|| load(path, log, format)) {
            Some(newest) => config = newest,
            None => return Ok(WRONG),
        }
    }
    let lacking = config::check_machine(&config);
    for problem in &lacking {
        tracing::error!("{problem}");
    }
    if !lacking.is_empty() {
        return Ok(FAILED);
    }
    let claims = loop {
        let refused = match preflight::claim(&config, &prepared.held) {
            Ok(claims) => break claims,
            Err(refused) => refused,
        };
        // Two that start at once both find that nobody has the ports, and one of them is faster.
        if !standby || !refused.iter().any(|complaint| complaint.is_taken) {
            refused.iter().for_each(|complaint| tracing::error!("{}", complaint.text));
            return Ok(FAILED);
        }
        tokio::time::sleep(preflight::POLL).await;
        match standby::wait_on(prepared, path, &config, &mut signals).await {
            Some(all) => prepared = all,
            None => return Ok(DONE),
        }
        match prepared.config().or_else(|| load(path, log, format)) {
            Some(newest) => config = newest,
            None => return Ok(WRONG),
        }
    };
    let ended = relay(path, &mut config, signals, log, (prepared, &claims)).await;
    match &ended {
        Ok(()) => last_exit::end(true, "it was asked to stop"),
        Err(error) => last_exit::end(false, &error.to_string()),
    }
    // Ports and twins are closed by now: others may have them.
    drop(claims);
    ended.map(|()| DONE)
}

/// The configuration; every problem is in the log if it cannot be used.
fn load(path: &Path, log: &Log, format: Option<LogFormat>) -> Option<Config> {
    match Config::load(path) {
        Ok((config, warnings)) => {
            log.look(format.unwrap_or(match config.log_format {
                config::LogFormat::Auto => LogFormat::Auto,
                config::LogFormat::Text => LogFormat::Text,
                config::LogFormat::Json => LogFormat::Json,
            }));
            log_warnings(&warnings);
            Some(config)
        }
        Err(problems) => {
            log.plain("the configuration is wrong", "problems", &problems.to_string());
            None
        }
    }
}

/// Start, run, stop: each list from top to bottom.
async fn relay(
    path: &Path,
    config: &mut Config,
    signals: Signals,
    log: &Log,
    (mut prepared, claims): (Prepared, &Claims),
) -> Result<(), AppError> {
    leave_the_workers_alone(&config.dpdk.workers);
    let Started { socket, opened } = Started::together(path, config, &mut prepared, log)?;
    let source = socket.as_ref().map(ControlSocket::source);
    if let Some(source) = &source {
        source.check(&config.eams).map_err(AppError::Conflicts)?;
    }
    let metrics_socket = metrics::open(config.metrics.listen)?;
    let built = prepared.tables(config, socket.as_ref().map(ControlSocket::digest));
    let running = Running::start(path, config, source, built)?;
    let (eams, translation) = (running.translation().eams.len(), Arc::clone(running.translation()));
    let config = &*config;
    let Opened { eal, mempool, ports, queues } = opened;
    harden::run();
    let twins = create_twins(config, &ports, &mut prepared.held).await?;
    let up = create_up_link(config, &running, &mut prepared.held).await?;
    let successors = Successors::default();
    successors.serve(claims, devices(config, &twins, up.as_ref()));
    let publisher = Publisher::new(Snapshot { generation: 1, translation, fib: Arc::new(Fib::default()) });
    let (rings, worker_rings) = exception_rings(config);
    let (sampler, lost_samples) = LoneSampler::new(workers::clock().hertz);
    let kernel = Kernel::new(twins.clone(), rings, publisher.view())?
        .with_up_link(up)
        .with_samples(sampler, workers::clock());
    let meters = Meters::start(config.metrics.mappings, config.dpdk.workers.len(), eams)
        .map_err(|error| AppError::System { what: "threads", error })?;
    let mut workers = Workers::start(config, &eal, &mempool, queues, worker_rings, &publisher, &meters)?;
    let ends = workers.take_ends();
    tracing::info!(ports = ports.len(), workers = config.dpdk.workers.len(), eams, "started");
    prepared.started();
    drop(prepared);

    let machine = DpdkMachine::new(config, ports, mempool, workers);
    let printing = log.clone();
    let print = Box::new(move |counters: &_| {
        printing.counters(report::json(counters, printing.lost()));
    });
    let pulse = Arc::<Pulse>::default();
    let parts = ActorParts { machine, publisher, kernel, twins, running, print, pulse: Arc::clone(&pulse) };
    let (actor, handle) = start(parts)?;
    let lost: Arc<LogLost> = {
        let log = log.clone();
        Arc::new(Box::new(move || log.lost()))
    };
    let (observatory, observing) =
        Observatory::start(handle.clone(), ends, lost_samples, config.ports.len(), workers::clock())
            .map_err(|error| AppError::System { what: "threads", error })?;
    let names = config.ports.iter().map(|port| port.name.clone()).collect();
    let summary = socket.as_ref().map(ControlSocket::summary);
    let pages =
        Pages::new(handle.clone(), Arc::clone(&lost), Arc::clone(&meters), observatory.clone(), summary);
    let pages = Arc::new(pages);
    let scraped = metrics_socket.map(|socket| metrics::serve(socket, Arc::clone(&pages))).transpose()?;
    let server = socket
        .map(|socket| socket.serve(handle.clone(), observatory, names, lost, pages, meters))
        .transpose()?;
    watchdog::start(pulse, config.announce.is_some())
        .map_err(|error| AppError::System { what: "threads", error })?;
    watchdog::tell(&[NotifyState::Ready]);
    let longest = config.announce.as_ref().map_or(0, |announce| announce.stop);
    let listening = spawn_local(signals.forward(handle, Duration::from_secs(longest.into()), successors));
    let (machine, ended) = actor.run().await;
    drop((server, scraped));
    drop(observing);
    listening.abort();
    machine.close();
    Ok(ended?)
}

/// What takes time at a start.
struct Started {
    socket: Option<ControlSocket>,
    opened: Opened,
}

impl Started {
    /// The store is gone through while the ports are opened: neither needs the other.
    fn together(path: &Path, config: &Config, prepared: &mut Prepared, log: &Log) -> Result<Self, AppError> {
        let (ground, patience) = (prepared.ground(config, log), prepared.patience());
        let open_socket = || match &config.control {
            Some(control) => {
                ControlSocket::open(path, control, &config.translation, local_mtu(config)).map(Some)
            }
            None => Ok(None),
        };
        std::thread::scope(|scope| {
            let socket = scope.spawn(open_socket);
            let opened = Opened::open(config, ground, patience);
            let socket = socket.join().expect("opening the store does not panic")?;
            Ok(Self { socket, opened: opened? })
        })
    }
}

fn start(parts: ActorParts<DpdkMachine>) -> Result<(Actor<DpdkMachine>, ControlHandle), AppError> {
    Actor::new(parts).map_err(|error| AppError::System { what: "threads", error })
}

/// Keeps every thread there is, and with them all they start but the workers, off the workers' CPUs, as long as there are
/// others: a reload of a million mappings must not take a worker's time.
fn leave_the_workers_alone(workers: &[u16]) {
    let kept = sched_getaffinity(None).and_then(|mut cpus| {
        let workers = workers.iter().map(|worker| usize::from(*worker));
        workers.filter(|worker| *worker < CpuSet::MAX_CPU).for_each(|worker| cpus.unset(worker));
        if cpus.count() == 0 {
            Ok(())
        } else {
            own_threads().try_for_each(|thread| sched_setaffinity(thread, &cpus))
        }
    });
    if let Err(error) = kept {
        tracing::warn!(%error, "the control thread may run on the workers' CPUs");
    }
}

/// This thread, and those that are there already.
fn own_threads() -> impl Iterator<Item = Option<Pid>> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let others = tasks.filter_map(|task| Pid::from_raw(task.file_name().to_str()?.parse().ok()?));
    std::iter::once(None).chain(others.map(Some))
}

/// The twins of the ports: those of a process before this one, if it has given them.
async fn create_twins(config: &Config, ports: &[Port], held: &mut Held) -> Result<Vec<Arc<Twin>>, AppError> {
    let mut twins = Vec::new();
    for (number, (port, open)) in (0..).zip(config.ports.iter().zip(ports)) {
        let (id, mac) = (PortId(number), MacAddress(open.info().mac));
        let twin = match held.take(&port.name) {
            Some(file) => Twin::take_over(&port.name, id, mac, port.mtu, file).await,
            None => Twin::create(&port.name, id, mac, port.mtu).await,
        };
        let twin = twin
            .map_err(|error| AppError::Twin { port: port.name.clone(), error })?
            .before(interface_behind(port.device.argument()).map(str::to_owned));
        twins.push(Arc::new(twin));
    }
    Ok(twins)
}

/// The interface that announced routes lead to, if there are to be any.
async fn create_up_link(
    config: &Config,
    running: &Running,
    held: &mut Held,
) -> Result<Option<UpLink>, AppError> {
    let Some(announce) = &config.announce else { return Ok(None) };
    let mtu = least_mtu(config);
    let up = match held.take(preflight::UP) {
        Some(file) => {
            let metrics = [announce.drain_metric, announce.metric];
            let destinations = running.destinations();
            let routes = destinations.into_iter().flat_map(|to| metrics.map(|metric| (to, metric)));
            UpLink::take_over(mtu, file, routes).await
        }
        None => UpLink::create(mtu).await,
    };
    up.map(Some).map_err(AppError::Announce)
}

/// What a relay that stands by for this one is given.
fn devices(config: &Config, twins: &[Arc<Twin>], up: Option<&UpLink>) -> Vec<(String, Weak<Tap>)> {
    let names = config.ports.iter().map(|port| port.name.clone());
    let devices = names.zip(twins.iter().map(|twin| Arc::downgrade(twin.device())));
    devices.chain(up.map(|up| (preflight::UP.to_owned(), Arc::downgrade(up.device())))).collect()
}

/// The least MTU of the ports.
pub(crate) fn least_mtu(config: &Config) -> u16 {
    config.ports.iter().map(|port| port.mtu).min().unwrap_or(1500)
}

/// Both ends of each worker's rings.
fn exception_rings(config: &Config) -> (Rings, Vec<(PuntSender, InjectReceiver)>) {
    let bell = Bell::new();
    let mut rings = Rings { punts: Vec::new(), injects: Vec::new(), bell };
    let mut worker_ends = Vec::new();
    for _ in &config.dpdk.workers {
        let (punt, punted) = punt_ring(RING_BYTES, rings.bell.doorbell());
        let (inject, injected) = inject_ring(RING_BYTES);
        rings.punts.push(punted);
        rings.injects.push(inject);
        worker_ends.push((punt, injected));
    }
    (rings, worker_ends)
}
