//! `borderline run`: the order in which things start, and stop.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use control::config::{self, Config};
use control::kernel::{Bell, Kernel, KernelError, Rings, Twin, TwinError};
use control::plan::PlanError;
use control::reload::{Reloader, Running};
use dataplane::counters::{CounterCells, Counts};
use dataplane::dpdk::{
    self, Eal, EalConfig, EalError, LcoreError, LogLevel, Mempool, MempoolError, Port, PortConfig, PortError,
    QueuePair,
};
use dataplane::exception::{InjectReceiver, PuntSender, inject_ring, punt_ring};
use dataplane::table::compiler::Compiler;
use dataplane::table::fib::Fib;
use dataplane::table::publish::Publisher;
use dataplane::table::routing::{MacAddress, PortId, Update};
use dataplane::table::snapshot::Snapshot;
use dataplane::worker::{Clock, Poll, StopFlag, Worker, WorkerParts};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::task::spawn_blocking;

use crate::args::{DONE, FAILED, WRONG};
use crate::reload::{self, Reloads};
use crate::report;
use crate::signals::{Signals, Wish};

/// Descriptors of each queue.
const DESCRIPTORS: u16 = 1024;
/// Mbufs each lcore keeps for itself.
const MEMPOOL_CACHE: u32 = 256;
/// Mbufs a queue pair has in the hands of its worker at most.
const BURSTS_IN_FLIGHT: u32 = 128;
/// Bytes of each exception ring.
const RING_BYTES: usize = 1 << 20;
/// How often link states are looked at.
const LINK_POLL: Duration = Duration::from_millis(200);

/// Why the relay cannot run, or runs no longer.
#[derive(Debug, thiserror::Error)]
enum AppError {
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
    let result =
        runtime.map_err(|error| AppError::System { what: "event queues", error }).and_then(|runtime| {
            let result = runtime.block_on(load_and_relay(path));
            // Nobody waits for a reload that is still being prepared.
            runtime.shutdown_background();
            result
        });
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
            reload::log_warnings(&warnings);
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
async fn relay(path: &Path, config: &mut Config, mut signals: Signals) -> Result<(), AppError> {
    let running = Running::start(path, config)?;
    let (eams, translation) = (running.eams().rows().len(), Arc::clone(running.translation()));
    let mut reloader = Reloader::new(running);
    let mut reloads = Reloads::default();
    let config = &*config;
    leave_the_workers_alone(&config.dpdk.workers);
    let eal = Eal::init(&eal_config(config))?;
    let mempool = mempool(&eal, config)?;
    let (ports, queues) = open_ports(&eal, config, &mempool)?;
    let idle_mbufs = mempool.in_use();
    let twins = create_twins(config, &ports).await?;
    let first = Snapshot { generation: 1, translation, fib: Arc::new(Fib::default()) };
    let publisher = RefCell::new(Publisher::new(first));
    let (rings, worker_rings) = exception_rings(config);
    let kernel = Kernel::new(twins.clone(), rings, publisher.borrow().view())?;
    let mut workers = Workers::start(config, &eal, &mempool, queues, worker_rings, &publisher.borrow())?;
    tracing::info!(ports = ports.len(), workers = workers.cells.len(), eams, "started");

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut first = true;
    let mut compiler = Compiler::default();
    let on_update = |update: Update| {
        update.changes.into_iter().for_each(|change| compiler.apply(change));
        if !update.publish {
            return;
        }
        let fib = Arc::new(compiler.version());
        publisher.borrow_mut().publish(|snapshot| snapshot.fib = fib);
        free_replaced(&publisher);
        if std::mem::take(&mut first) {
            tracing::info!("translating");
        }
    };
    let shutdown = async {
        // Without a sender nobody can ask any more: stop as well.
        let _ = stopped.await;
    };
    let housekeeping = async {
        let mut links = Links::new(&ports, &twins);
        loop {
            tokio::select! {
                wish = signals.next() => match wish {
                    Wish::Counters => {
                        print_counters(config, &ports, &workers, &kernel, &mempool, &reloads);
                    }
                    Wish::Reload => reloader.request(),
                    Wish::Stop => break,
                },
                prepared = reloader.finished() => reloads.finish(prepared, &publisher),
                () = tokio::time::sleep(LINK_POLL) => {
                    links.follow();
                    free_replaced(&publisher);
                }
            }
        }
        drop(stop);
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = kernel.run(on_update, shutdown) => ended,
        () = housekeeping => Ok(()),
    };

    tracing::info!("stopping");
    workers.stop();
    print_counters(config, &ports, &workers, &kernel, &mempool, &reloads);
    drop(kernel);
    drop(twins);
    if mempool.in_use() > idle_mbufs {
        tracing::warn!(mbufs = mempool.in_use() - idle_mbufs, "mbufs were not returned");
    }
    for port in ports {
        let device = port.info().device.clone();
        if port.close().is_err() {
            tracing::warn!(device, "port still in use, left open");
        }
    }
    ended?;
    Ok(())
}

fn eal_config(config: &Config) -> EalConfig {
    EalConfig {
        memory: match config.dpdk.memory {
            config::Memory::Hugepages => dpdk::Memory::Hugepages,
            config::Memory::NoHuge => dpdk::Memory::NoHuge,
        },
        memory_mb: config.dpdk.memory_mb,
        control_cpus: Vec::new(),
        devices: config.ports.iter().map(|port| port.device.argument().to_owned()).collect(),
        telemetry: false,
        extra_args: config.dpdk.extra_args.clone(),
        log: log_dpdk,
    }
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

/// DPDK is chatty about what is normal on virtual devices: only its warnings and errors are ours.
fn log_dpdk(level: LogLevel, line: &str) {
    match level {
        LogLevel::Error | LogLevel::Warning => tracing::warn!("DPDK: {line}"),
        LogLevel::Notice | LogLevel::Info | LogLevel::Debug => tracing::debug!("DPDK: {line}"),
    }
}

/// One mempool for all ports and workers, large enough for every queue to be full at once. Some drivers hold more
/// than their descriptors: net_af_xdp fills 2048 buffers per queue whatever it is asked for.
fn mempool(eal: &Eal, config: &Config) -> Result<Mempool, AppError> {
    const PER_QUEUE: u32 = 2 * DESCRIPTORS as u32 + 2048 + BURSTS_IN_FLIGHT;
    let workers = u32::try_from(config.dpdk.workers.len()).unwrap_or(u32::MAX);
    let ports = u32::try_from(config.ports.len()).unwrap_or(u32::MAX);
    let queues = workers.saturating_mul(ports);
    let count = queues.saturating_mul(PER_QUEUE).saturating_add(workers.saturating_mul(2 * MEMPOOL_CACHE));
    let mtu = config.ports.iter().map(|port| port.mtu).max().unwrap_or(1500);
    Ok(Mempool::create(eal, "borderline", count, MEMPOOL_CACHE, dpdk::data_room_for_mtu(mtu))?)
}

type OpenPorts = (Vec<Port>, Vec<Vec<QueuePair>>);

fn open_ports(eal: &Eal, config: &Config, mempool: &Mempool) -> Result<OpenPorts, AppError> {
    let mut opened = (Vec::new(), Vec::new());
    for port in &config.ports {
        let wanted = PortConfig {
            queues: u16::try_from(config.dpdk.workers.len()).unwrap_or(u16::MAX),
            mtu: port.mtu,
            rx_descriptors: DESCRIPTORS,
            tx_descriptors: DESCRIPTORS,
            promiscuous: false,
            mempools: vec![mempool.clone()],
            fast_free: true,
        };
        let (open, queues) = Port::open(eal, port.device.argument(), &wanted)
            .map_err(|error| AppError::Port { port: port.name.clone(), error })?;
        let info = open.info();
        tracing::info!(
            port = port.name,
            device = info.device,
            driver = info.driver,
            queues = info.queues,
            spread = ?info.spread,
            mtu = info.mtu,
            "port opened"
        );
        opened.0.push(open);
        opened.1.push(queues);
    }
    Ok(opened)
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

/// The worker threads.
struct Workers {
    threads: Vec<JoinHandle<()>>,
    cells: Vec<Arc<CounterCells>>,
    stop: Arc<StopFlag>,
}

impl Workers {
    /// Starts one thread per configured CPU and waits until each is ready to poll.
    fn start(
        config: &Config,
        eal: &Eal,
        mempool: &Mempool,
        queues: Vec<Vec<QueuePair>>,
        rings: Vec<(PuntSender, InjectReceiver)>,
        publisher: &Publisher,
    ) -> Result<Self, AppError> {
        let mut workers = Self { threads: Vec::new(), cells: Vec::new(), stop: Arc::default() };
        let mut queues: Vec<_> = queues.into_iter().map(Vec::into_iter).collect();
        for (cpu, (punt, inject)) in config.dpdk.workers.iter().zip(rings) {
            let pairs: Vec<QueuePair> = queues.iter_mut().filter_map(Iterator::next).collect();
            let (receive, transmit) = pairs.into_iter().map(|pair| (pair.rx, pair.tx)).unzip();
            let cells = Arc::<CounterCells>::default();
            let parts = WorkerParts {
                receive,
                transmit,
                pool: mempool.clone(),
                reader: publisher.reader(),
                punt,
                inject,
                cells: Arc::clone(&cells),
                stop: Arc::clone(&workers.stop),
                clock: Clock { now: dpdk::tsc, hertz: dpdk::tsc_hz() },
                poll: match config.dpdk.poll {
                    config::Poll::Adaptive => Poll::Adaptive,
                    config::Poll::Busy => Poll::Busy,
                },
            };
            workers.cells.push(cells);
            workers.threads.push(spawn(*cpu, eal.clone(), parts)?);
        }
        Ok(workers)
    }

    /// Ends the loops and waits for them; their buffers are returned then.
    fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }

    fn counts(&self) -> Vec<Counts> {
        self.cells.iter().map(|cells| cells.load()).collect()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

type DpdkParts = WorkerParts<dpdk::RxQueue, dpdk::TxQueue, Mempool>;

/// Starts a worker. It is put together by its own thread, so that what it writes comes from memory of that thread: of its
/// own part of the heap, and of its NUMA node.
fn spawn(cpu: u16, eal: Eal, parts: DpdkParts) -> Result<JoinHandle<()>, AppError> {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(format!("worker-{cpu}"))
        .spawn(move || {
            let registered =
                dpdk::pin_current_thread(usize::from(cpu)).and_then(|()| eal.register_current_thread());
            match registered {
                Ok(_lcore) => {
                    let worker = Worker::new(parts);
                    let _ = ready.send(Ok(()));
                    worker.run();
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        })
        .map_err(|error| AppError::System { what: "threads", error })?;
    match is_ready.recv() {
        Ok(Ok(())) | Err(_) => Ok(thread),
        Ok(Err(error)) => Err(AppError::Worker { cpu, error }),
    }
}

/// Frees the snapshots that no worker uses any more on a thread that has the time, which this one has not.
fn free_replaced(publisher: &RefCell<Publisher>) {
    let replaced = publisher.borrow_mut().reclaim();
    if !replaced.is_empty() {
        spawn_blocking(|| drop(replaced));
    }
}

/// Carries the ports' link states to their twins.
struct Links<'a> {
    pairs: Vec<(&'a Port, &'a Twin, bool)>,
}

impl<'a> Links<'a> {
    fn new(ports: &'a [Port], twins: &'a [Arc<Twin>]) -> Self {
        Self { pairs: ports.iter().zip(twins).map(|(port, twin)| (port, &**twin, true)).collect() }
    }

    fn follow(&mut self) {
        for (port, twin, up) in &mut self.pairs {
            let now = port.link().up;
            if now == *up {
                continue;
            }
            *up = now;
            tracing::info!(twin = twin.name(), up = now, "link changed");
            if let Err(error) = twin.set_carrier(now) {
                tracing::warn!("{error}");
            }
        }
    }
}

fn print_counters(
    config: &Config,
    ports: &[Port],
    workers: &Workers,
    kernel: &Kernel,
    mempool: &Mempool,
    reloads: &Reloads,
) {
    let stats: Vec<_> =
        config.ports.iter().zip(ports).map(|(port, open)| (port.name.as_str(), open.stats())).collect();
    let counters = report::json(&workers.counts(), &kernel.counters(), &stats, mempool.in_use(), reloads);
    eprintln!("counters {counters}");
}
