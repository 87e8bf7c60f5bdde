//! The actor itself: takes one message after the other.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::counters::Counts;
use dataplane::table::fib::Fib;
use dataplane::table::publish::Publisher;
use dataplane::table::routing::PortId;
use dataplane::table::snapshot::Snapshot;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::activity::Activities;
use super::builder::{Answer, Builder, Done};
use super::handle::{ControlHandle, Updated};
use super::links::Links;
use super::loads::Loads;
use super::machine::{Link, Machine, PortFacts};
use super::macs::ExtraMacs;
use super::message::{Counters, LastReload, PortStatus, Reloads, Request, Stalls, Status, WorkerStatus};
use super::reader::{Askers, Patience, Read, Reader};
use super::routing::Routing;
use super::service::{Seen, Service};
use super::stall::Stall;
use super::watch::Watch;
use crate::health::Pulse;
use crate::kernel::{Kernel, KernelCounters, KernelError, Twin};
use crate::reload::Running;

/// How long workers go on after the twins are gone: the neighbours' routing daemons have lost theirs and look for another
/// way, which with BFD at its usual 3 x 300 ms takes them so long. What they send meanwhile is still translated.
pub const LINGER: Duration = Duration::from_secs(1);
/// How often link states are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How often an update that is not yet in force everywhere is looked at.
const IN_FORCE_TICK: Duration = Duration::from_millis(1);
/// A worker that has not looked at new tables for so long is not waited for.
const IN_FORCE_PATIENCE: Duration = Duration::from_secs(5);
/// Ticks of a second.
pub(super) const SECOND: u32 = 20;

/// What an actor is made of.
pub struct ActorParts<M> {
    /// Ports, workers and packet memory.
    pub machine: M,
    /// The publisher the workers read from.
    pub publisher: Publisher,
    /// The kernel's side.
    pub kernel: Kernel,
    /// The twins of the ports, in their order.
    pub twins: Vec<Arc<Twin>>,
    /// What the tables were made of.
    pub running: Running,
    /// Prints the counters.
    pub print: Box<dyn Fn(&Counters)>,
    /// Where it shows that it is alive.
    pub pulse: Arc<Pulse>,
}

/// The owner of a running relay.
pub struct Actor<M> {
    machine: M,
    publisher: Publisher,
    /// None once it is over.
    kernel: Option<Rc<Kernel>>,
    twins: Vec<Arc<Twin>>,
    print: Box<dyn Fn(&Counters)>,
    builder: Builder,
    reader: Reader,
    requests: mpsc::Receiver<Request>,
    results: mpsc::UnboundedReceiver<Done>,
    routing: Routing,
    links: Links,
    macs: ExtraMacs,
    reloads: Reloads,
    stalls: (Stall, Stall),
    started: Instant,
    eams: usize,
    loads: Loads,
    activities: Activities,
    last_reload: Option<LastReload>,
    watch: Watch,
    ticks: u32,
    /// The workers have the kernel's routing.
    is_translating: bool,
    /// Updates that some worker may not use yet, oldest first, with their generation.
    unconfirmed: Vec<(u64, Answer)>,
    service: Service,
    /// It is to stop, and waits no longer than that for traffic to go elsewhere.
    stopping: Option<Instant>,
    /// Another process goes on with everything: whatever makes an end soft for others is not wanted.
    handing_over: bool,
}

impl<M: Machine> Actor<M> {
    /// Puts an actor together and starts its threads. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn new(parts: ActorParts<M>) -> std::io::Result<(Self, ControlHandle)> {
        let path = parts.running.path().to_owned();
        let read: Read = Arc::new(move || crate::reload::load(&path));
        Self::with_reader(parts, read, Patience::default())
    }

    pub(super) fn with_reader(
        parts: ActorParts<M>,
        read: Read,
        patience: Patience,
    ) -> std::io::Result<(Self, ControlHandle)> {
        let ActorParts { machine, publisher, kernel, twins, running, print, pulse } = parts;
        let (handle, requests) = ControlHandle::new();
        let (done, results) = mpsc::unbounded_channel();
        let eams = running.translation().eams.len();
        let workers = machine.worker_cpus().len();
        let mut service = Service::start(&running, workers, pulse, done.clone())?;
        if let Some(up) = kernel.up_link() {
            service.announcer.inherit(up.announced(), Instant::now());
        }
        service.rebuilt(&publisher.current());
        let actor = Self {
            builder: Builder::start(running, &done)?,
            reader: Reader::new(read, done.clone(), patience),
            links: Links::default(),
            macs: ExtraMacs::new(machine.ports().len()),
            loads: Loads::new(&machine),
            activities: Activities::default(),
            last_reload: None,
            watch: Watch::new(&machine, done)?,
            ticks: 0,
            machine,
            publisher,
            kernel: Some(Rc::new(kernel)),
            twins,
            print,
            requests,
            results,
            routing: Routing::new(),
            reloads: Reloads::default(),
            stalls: Default::default(),
            started: Instant::now(),
            eams,
            is_translating: false,
            unconfirmed: Vec::new(),
            service,
            stopping: None,
            handing_over: false,
        };
        Ok((actor, handle))
    }

    /// Runs the relay until it is asked to stop or cannot go on, then takes it apart: twins first, workers last. Needs a
    /// [`tokio::task::LocalSet`]. Gives the machine back, whose ports are still open.
    pub async fn run(self) -> (M, Result<(), KernelError>) {
        let stall = self.stalls.0.clone();
        stall.watch(self.run_unwatched()).await
    }

    async fn run_unwatched(mut self) -> (M, Result<(), KernelError>) {
        let (stop, mut kernel) = self.start_kernel();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                request = self.requests.recv() => match request {
                    // Without a sender nobody can ask any more: stop as well.
                    None => break None,
                    Some(Request::Stop) if self.stop_now() => break None,
                    Some(Request::Stop) => {}
                    Some(Request::HandOver) => {
                        self.handing_over = true;
                        break None;
                    }
                    Some(request) => self.request(request),
                },
                Some(done) = self.results.recv() => self.done(done),
                () = self.routing.ready() => self.routing_turn(),
                _ = ticks.tick() => if self.tick() { break None },
                () = sleep(IN_FORCE_TICK), if !self.unconfirmed.is_empty() => self.confirm(),
                ended = &mut kernel => break Some(ended.expect("following the kernel does not panic")),
            }
        };
        tracing::info!("stopping");
        drop(stop);
        let result = match ended {
            Some(result) => result,
            None => kernel.await.expect("following the kernel does not panic"),
        };
        (self.end().await, result)
    }

    fn start_kernel(&self) -> (oneshot::Sender<()>, JoinHandle<Result<(), KernelError>>) {
        let (stop, stopped) = oneshot::channel::<()>();
        let kernel = Rc::clone(self.kernel.as_ref().expect("it is over only once everything is"));
        let updates = self.routing.updates();
        let follow = async move {
            let shutdown = async {
                stopped.await.ok();
            };
            kernel.run(updates, shutdown).await
        };
        (stop, spawn_local(self.stalls.1.watch(follow)))
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Reload(asker) => {
                let requested = self.reader.request(asker);
                self.unread(requested);
            }
            Request::Update(update) => self.builder.update(update),
            // Whoever asked may have stopped waiting.
            Request::Status(asker) => drop(asker.send(self.status())),
            Request::Counters(asker) => drop(asker.send(self.counters())),
            Request::Snapshot(asker) => {
                // A copy of the pointers: the snapshot itself is counted to learn which worker still uses it.
                drop(asker.send(Arc::new(Snapshot::clone(&self.publisher.current()))));
            }
            Request::Drain(lead, asker) => drop(asker.send(self.service.drain(lead, Instant::now()))),
            // A stop goes on, whatever is asked.
            Request::Undrain(asker) if self.stopping.is_some() => {
                drop(asker.send(self.service.drained(Instant::now())));
            }
            Request::Undrain(asker) => drop(asker.send(self.service.undrain(Instant::now()))),
            Request::PrintCounters => (self.print)(&self.counters()),
            Request::Stop | Request::HandOver => unreachable!("handled by the loop"),
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Read { number, loaded } => {
                if let Some(askers) = self.reader.finished(number) {
                    self.builder.reload(loaded, askers);
                    let next = self.reader.next();
                    self.unread(next);
                } else {
                    self.builder.free(loaded);
                }
            }
            Done::Prepared { result: Ok(prepared), askers } => {
                let started = Instant::now();
                let translation = Arc::clone(&prepared.translation);
                let generation = self.publish(|snapshot| snapshot.translation = translation);
                self.eams = prepared.eams;
                self.last_reload = Some(LastReload::applied(&prepared));
                self.service.reloaded(prepared.destinations.clone(), prepared.settings.clone());
                self.service.rebuilt(&self.publisher.current());
                self.reloads.applied(&prepared, generation, started.elapsed(), askers);
            }
            Done::Prepared { result: Err(error), askers } => {
                self.last_reload = Some(LastReload::refused(error.to_string()));
                self.reloads.refused(error, askers);
            }
            Done::Audited(audit) => self.service.audited(audit),
            Done::Looked(looked) => self.watch.looked(looked, &self.machine, Instant::now()),
            Done::Updated { translation, answer } => {
                self.eams = translation.eams.len();
                let generation = self.publish(|snapshot| snapshot.translation = translation);
                self.service.updated(&self.publisher.current());
                self.unconfirmed.push((generation, answer));
                self.confirm();
            }
        }
    }

    fn routing_turn(&mut self) {
        if let Some(fib) = self.routing.turn(self.is_translating) {
            self.publish_routing(fib);
        }
    }

    fn publish_routing(&mut self, fib: Fib) {
        let fib = Arc::new(fib);
        self.macs.follow(&fib, &mut self.machine);
        self.publish(|snapshot| snapshot.fib = fib);
        if !std::mem::replace(&mut self.is_translating, true) {
            tracing::info!("translating");
        }
    }

    fn publish(&mut self, change: impl FnOnce(&mut Snapshot)) -> u64 {
        self.publisher.publish(change);
        self.free_replaced();
        self.publisher.current().generation
    }

    fn free_replaced(&mut self) {
        let replaced = self.publisher.reclaim();
        if !replaced.is_empty() {
            self.builder.free(Box::new(replaced));
        }
    }

    /// Answers the updates that every worker uses by now.
    fn confirm(&mut self) {
        self.free_replaced();
        let publisher = &self.publisher;
        let is_over = |(generation, answer): &mut (u64, Answer)| {
            !publisher.is_used_before(*generation) || answer.started.elapsed() > IN_FORCE_PATIENCE
        };
        for (generation, answer) in self.unconfirmed.extract_if(.., is_over) {
            let everywhere = !publisher.is_used_before(generation);
            let updated = Updated { generation, everywhere, took: answer.started.elapsed() };
            // Whoever asked may have stopped waiting.
            answer.sender.send(updated).ok();
        }
    }

    /// Whether the time to wait for traffic to go elsewhere is over; otherwise it begins.
    fn stop_now(&mut self) -> bool {
        if self.stopping.is_none() && self.is_translating {
            self.stopping = self.service.stopping(Instant::now());
            return self.stopping.is_none();
        }
        true
    }

    /// Whether the relay stops now.
    fn tick(&mut self) -> bool {
        if let Some(kernel) = &self.kernel {
            self.links.follow(&self.machine, kernel);
        }
        self.confirm();
        self.ticks += 1;
        if self.ticks.is_multiple_of(SECOND) {
            self.loads.tick(&self.machine, Instant::now());
            self.activities.tick(&self.machine, Instant::now());
            self.watch.look();
        }
        if let Some(given_up) = self.reader.tick() {
            self.unread(Err(given_up));
            let next = self.reader.next();
            self.unread(next);
        }
        self.serve(Instant::now())
    }

    fn serve(&mut self, now: Instant) -> bool {
        let links = (0..self.machine.ports().len()).map(|port| self.link(port).map(|link| link.up)).collect();
        if let Some(kernel) = &self.kernel {
            let snapshot = self.publisher.current();
            let seen = Seen {
                machine: &self.machine,
                kernel,
                snapshot: &snapshot,
                links,
                translating: self.is_translating,
            };
            self.service.tick(&seen, now);
        }
        self.stopping.is_some_and(|until| now >= until || self.service.is_drained(now))
    }

    fn unread(&mut self, result: Result<(), (String, Askers)>) {
        if let Err((why, askers)) = result {
            self.last_reload = Some(LastReload::refused(why.clone()));
            self.reloads.unread(why, askers);
        }
    }

    fn status(&self) -> Status {
        let now = Instant::now();
        let port = |(index, facts): (usize, &PortFacts)| PortStatus {
            twin: format!("{}{}", crate::kernel::PREFIX, facts.name),
            facts: facts.clone(),
            link: self.link(index),
            counts: self.machine.port_counts(index),
            activity: self.activities.of(index, now),
        };
        let workers = self.machine.worker_cpus().iter().zip(self.machine.worker_counts());
        let worker = |(index, (cpu, counts)): (usize, (&u16, Counts))| WorkerStatus {
            cpu: *cpu,
            load: self.loads.of(index).load,
            packets_per_second: self.loads.of(index).packets_per_second,
            counts,
        };
        Status {
            uptime: self.started.elapsed(),
            generation: self.publisher.current().generation,
            eams: self.eams,
            reloads: self.reloads,
            last_reload: self.last_reload.clone(),
            reading_since: self.reader.reading_since(),
            translating: self.is_translating,
            ports: self.machine.ports().iter().enumerate().map(port).collect(),
            workers: workers.enumerate().map(worker).collect(),
            complaints: self.complaints(),
            service: self.service.status(&self.machine, Instant::now()),
            queues: self.kernel.as_ref().map(|kernel| kernel.queues()).unwrap_or_default(),
            kernel: self.kernel_counters(),
            stalls: self.stalls(),
        }
    }

    /// A port's link, as its driver and the kernel see it.
    fn link(&self, port: usize) -> Option<Link> {
        let number = u16::try_from(port).ok()?;
        let carrier = self.kernel.as_ref().is_some_and(|kernel| kernel.carrier(PortId(number)));
        self.links.of(port).map(|link| Link { up: link.up && carrier, ..link })
    }

    fn complaints(&self) -> Vec<String> {
        let kernel = self.kernel.as_ref().map(|kernel| kernel.complaints()).unwrap_or_default();
        self.watch.complaints().cloned().chain(kernel).collect()
    }

    fn counters(&self) -> Counters {
        self.counters_with(self.kernel_counters())
    }

    fn stalls(&self) -> Stalls {
        Stalls { actor: self.stalls.0.longest(), kernel: self.stalls.1.longest() }
    }

    fn kernel_counters(&self) -> KernelCounters {
        self.kernel.as_ref().map(|kernel| kernel.counters()).unwrap_or_default()
    }

    fn counters_with(&self, kernel: KernelCounters) -> Counters {
        let port =
            |(index, facts): (usize, &PortFacts)| (facts.name.clone(), self.machine.port_counts(index));
        Counters {
            workers: self.machine.worker_counts(),
            kernel,
            ports: self.machine.ports().iter().enumerate().map(port).collect(),
            mbufs_in_use: self.machine.mbufs_in_use(),
            reloads: self.reloads,
            stalls: self.stalls(),
            timings: self.machine.worker_timings(),
            hertz: self.machine.hertz(),
        }
    }

    /// The twins vanish, so that routing daemons withdraw; the workers go on for a moment; then they end too.
    async fn end(mut self) -> M {
        let last = self.kernel_counters();
        // Taking things apart takes as long as it takes: nobody waits any more.
        let stalls = self.stalls();
        if self.stopping.is_some() || self.handing_over {
            // Another process has the twins as well, or traffic has gone elsewhere or had its time: nothing is forwarded any
            // more, then routing daemons lose the twins.
            self.machine.stop_workers();
            self.twins.clear();
            self.kernel = None;
            (self.print)(&Counters { stalls, ..self.counters_with(last) });
            return self.machine;
        }
        let linger = !self.twins.is_empty() && self.is_translating;
        // These are the last owners of the twins.
        self.twins.clear();
        self.kernel = None;
        if linger {
            tracing::info!(seconds = LINGER.as_secs_f32(), "twins removed, still translating");
            tokio::select! {
                () = sleep(LINGER) => {}
                () = self.stopped_again() => {}
            }
        }
        self.machine.stop_workers();
        (self.print)(&Counters { stalls, ..self.counters_with(last) });
        self.machine
    }

    /// Waits until somebody asks for the end once more. Other requests are not answered any more.
    async fn stopped_again(&mut self) {
        while let Some(request) = self.requests.recv().await {
            if matches!(request, Request::Stop) {
                return;
            }
        }
        std::future::pending().await
    }
}
