//! `borderline run`: the order in which things start, and stop.

use std::path::Path;
use std::sync::Arc;

use control::actor::{Actor, ActorParts, ControlHandle, log_warnings};
use control::config::{self, Config};
use control::kernel::{Bell, Kernel, KernelError, Rings, Twin, TwinError};
use control::plan::PlanError;
use control::reload::Running;
use dataplane::dpdk::{self, EalError, LcoreError, MempoolError, Port, PortError};
use dataplane::exception::{InjectReceiver, PuntSender, inject_ring, punt_ring};
use dataplane::table::fib::Fib;
use dataplane::table::publish::Publisher;
use dataplane::table::routing::{MacAddress, PortId};
use dataplane::table::snapshot::Snapshot;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::task::{LocalSet, spawn_local};

use crate::args::{DONE, FAILED, WRONG};
use crate::machine::{DpdkMachine, Opened};
use crate::report;
use crate::signals::Signals;
use crate::workers::Workers;

/// Bytes of each exception ring.
const RING_BYTES: usize = 1 << 20;

/// Why the relay cannot run, or runs no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Eal(#[from] EalError),
    #[error(transparent)]
    Mempool(#[from] MempoolError),
    #[error("port {port}: {error}")]
    Port { port: String, error: PortError },
    #[error("port {port}: {error}")]
    Twin { port: String, error: TwinError },
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("worker on CPU {cpu}: {error}")]
    Worker { cpu: u16, error: LcoreError },
    #[error("the system gives no more {what}: {error}")]
    System { what: &'static str, error: std::io::Error },
}

/// Runs the relay; returns the exit status.
pub(crate) fn run(path: &Path) -> u8 {
    log_to_stderr();
    if !dpdk::return_large_blocks() {
        tracing::debug!("memory of replaced tables may stay with the process");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime
        .map_err(|error| AppError::System { what: "event queues", error })
        .and_then(|runtime| LocalSet::new().block_on(&runtime, load_and_relay(path)));
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
async fn load_and_relay(path: &Path) -> Result<u8, AppError> {
    let signals = Signals::listen().map_err(|error| AppError::System { what: "signal handlers", error })?;
    let mut config = match Config::load(path) {
        Ok((config, warnings)) => {
            log_warnings(&warnings);
            config
        }
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(WRONG);
        }
    };
    let lacking = config::check_machine(&config);
    for problem in &lacking {
        tracing::error!("{problem}");
    }
    if !lacking.is_empty() {
        return Ok(FAILED);
    }
    relay(path, &mut config, signals).await.map(|()| DONE)
}

fn log_to_stderr() {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

/// Start, run, stop: each list from top to bottom.
async fn relay(path: &Path, config: &mut Config, signals: Signals) -> Result<(), AppError> {
    let running = Running::start(path, config, None)?;
    let (eams, translation) = (running.translation().eams.len(), Arc::clone(running.translation()));
    let config = &*config;
    leave_the_workers_alone(&config.dpdk.workers);
    let Opened { eal, mempool, ports, queues } = Opened::open(config)?;
    let twins = create_twins(config, &ports).await?;
    let publisher = Publisher::new(Snapshot { generation: 1, translation, fib: Arc::new(Fib::default()) });
    let (rings, worker_rings) = exception_rings(config);
    let kernel = Kernel::new(twins.clone(), rings)?;
    let workers = Workers::start(config, &eal, &mempool, queues, worker_rings, &publisher)?;
    tracing::info!(ports = ports.len(), workers = config.dpdk.workers.len(), eams, "started");

    let machine = DpdkMachine::new(config, ports, mempool, workers);
    let print = Box::new(|counters: &_| eprintln!("counters {}", report::json(counters)));
    let parts = ActorParts { machine, publisher, kernel, twins, running, print };
    let (actor, handle) = start(parts)?;
    let listening = spawn_local(signals.forward(handle));
    let (machine, ended) = actor.run().await;
    listening.abort();
    machine.close();
    Ok(ended?)
}

fn start(parts: ActorParts<DpdkMachine>) -> Result<(Actor<DpdkMachine>, ControlHandle), AppError> {
    Actor::new(parts).map_err(|error| AppError::System { what: "threads", error })
}

/// Keeps this thread, and with it all it starts but the workers, off the workers' CPUs, as long as there are others: a
/// reload of a million mappings must not take a worker's time.
fn leave_the_workers_alone(workers: &[u16]) {
    let kept = sched_getaffinity(None).and_then(|mut cpus| {
        let workers = workers.iter().map(|worker| usize::from(*worker));
        workers.filter(|worker| *worker < CpuSet::MAX_CPU).for_each(|worker| cpus.unset(worker));
        if cpus.count() == 0 { Ok(()) } else { sched_setaffinity(None, &cpus) }
    });
    if let Err(error) = kept {
        tracing::warn!(%error, "the control thread may run on the workers' CPUs");
    }
}

async fn create_twins(config: &Config, ports: &[Port]) -> Result<Vec<Arc<Twin>>, AppError> {
    let mut twins = Vec::new();
    for (number, (port, open)) in (0..).zip(config.ports.iter().zip(ports)) {
        let twin = Twin::create(&port.name, PortId(number), MacAddress(open.info().mac), port.mtu)
            .await
            .map_err(|error| AppError::Twin { port: port.name.clone(), error })?;
        twins.push(Arc::new(twin));
    }
    Ok(twins)
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
