//! The kernel beside the relay: twins, the follower of its state, and the exception pump.
//!
//! Each port has a [`Twin`], a TAP interface the operator configures like any other. [`Kernel::run`] does the rest,
//! in one task of the control thread:
//!
//! * it follows links, addresses, routes and neighbours over rtnetlink and hands the
//!   changes to the caller as [`Update`]s;
//! * it gives punted frames to the twins, and what the kernel sends on them to a worker;
//! * it has the kernel resolve next hops, keeps the packets that wait for one, and sends them when it is known;
//! * it has the kernel confirm neighbours it would otherwise never look at again, since the packets that use
//!   them do not pass through it. That goes for every neighbour on an interface of the relay: whoever talks to the
//!   relay first is known without ever having been asked for.
//!
//! Followed are the routing tables main, local and default of the process's network namespace, and that of a VRF or of a
//! policy rule for what comes in by one interface of the relay (`ip rule add iif bl-v4 lookup 100`). Not supported: other
//! policy rules, twins enslaved to a bridge or bond (routes over the master are the kernel's to forward), both of which are
//! told of, and routes by TOS or source prefix.
//!
//! Modules, from the outside in: `twin`, `bell`; `calls`, what the kernel is asked to do; `follower` and `exchange`, which `Kernel` drives; `state` with
//! `interfaces`, `rules`, `next_hops` and `tables` of `routes`, and `resolver`, all pure; `event`, what goes into them; `netlink`, the wire;
//! `observe`, the same for people.

mod bell;
mod calls;
mod carrier;
mod complaints;
mod counters;
mod drain;
mod error;
mod event;
mod exchange;
mod facts;
mod follower;
mod interfaces;
mod neighbor_tables;
mod netlink;
mod next_hops;
mod observe;
mod pace;
mod queues;
mod resolver;
mod routes;
mod rules;
mod slow_path;
mod state;
mod tables;
mod tap;
#[cfg(test)]
mod tests;
mod twin;
mod up;
mod waits;
mod zero_checksum;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::exception::{InjectSender, ProbeEnd, PuntReceiver, Punted, ZeroChecksum};
use dataplane::sink::lone::LoneSampler;
use dataplane::sink::samples::Layer;
use dataplane::table::publish::SnapshotView;
use dataplane::table::routing::{MacAddress, PortId, Update};
use dataplane::verdict::PuntReason;
use dataplane::worker::Clock;
use futures_util::future::try_join_all;
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;

pub use self::bell::Bell;
pub use self::counters::{KernelCounters, Lost};
pub use self::error::KernelError;
pub use self::event::{
    Address, Dump, Event, KernelHop, KernelRoute, Link, NeighborEntry, NextHopKind, NextHopObject, Placement,
    Reachability, RouteKind, Rule, Table,
};
pub use self::facts::{InterfaceFacts, InterfaceFactsReader};
pub use self::interfaces::TwinSettings;
pub use self::observe::{observe, route_to};
pub use self::queues::{FailingHop, Fill, Queues, RingFills, WaitingHop};
pub use self::resolver::{ASK_INTERVAL, PATIENCE};
pub use self::rules::unfollowed_rules;
pub use self::state::{Changes, FAILED_HOLD, FAILED_MAX, KernelState, NeighborChange, News};
pub use self::tap::Tap;
pub use self::twin::{PREFIX, Twin, TwinError};
pub use self::up::{
    Announced, InKernel, NAME as UP_LINK, PROTOCOL as ANNOUNCED_PROTOCOL, UpLink, switch as switch_up_link,
};
pub use self::waits::{QueueWaits, WAIT_BOUNDS, Waits};

use self::calls::Calls;
use self::carrier::Carriers;
use self::complaints::{Complaints, Topic, about_master};
use self::drain::Drain;
use self::exchange::{Exchange, LostSamples};
use self::follower::Follower;
use self::zero_checksum::ZeroChecksumLog;
use crate::errands::Errands;

/// How long others wait at most while one kind of work is done.
const TURN: Duration = Duration::from_micros(500);
/// The longest frame: an IP packet of 65,535 bytes behind an Ethernet and a VLAN header.
const FRAME_MAX: usize = 65_535 + 18;

/// The control thread's ends of all workers' exception rings.
pub struct Rings {
    /// One per worker.
    pub punts: Vec<PuntReceiver>,
    /// One per worker, in the same order.
    pub injects: Vec<InjectSender>,
    /// The bell whose [`Bell::doorbell`] the punt rings were made with.
    pub bell: Bell,
}

/// Everything between the workers and the kernel.
pub struct Kernel {
    twins: Vec<Arc<Twin>>,
    up: Option<Arc<UpLink>>,
    probed: RefCell<Vec<(u16, ProbeEnd, Vec<u8>)>>,
    samples: RefCell<Vec<(PortId, Vec<u8>)>>,
    bell: Bell,
    punts: RefCell<Drain>,
    exchange: RefCell<Exchange>,
    calls: Calls,
    /// Where the kernel is asked for much.
    reading: Errands,
    zero_checksums: RefCell<ZeroChecksumLog>,
    tables: SnapshotView,
    complaints: RefCell<Complaints>,
    /// The links whose addresses were taken last.
    macs_of: Cell<u64>,
    /// Something besides the kernel has news for the follower.
    news: Notify,
}

impl Kernel {
    /// Takes the control thread's ends of the rings, and a view of the tables in use: who has an EAM is resolved before
    /// anybody else. Nothing happens before [`Self::run`].
    ///
    /// # Errors
    /// [`KernelError::Listen`] when the system gives no netlink socket.
    pub fn new(twins: Vec<Arc<Twin>>, rings: Rings, tables: SnapshotView) -> Result<Self, KernelError> {
        let state = KernelState::new(twins.iter().map(|twin| twin.settings()).collect());
        let behind = twins.iter().map(|twin| (twin.port(), twin.behind().map(str::to_owned)));
        let mut exchange = Exchange::new(state, rings.injects, mapped_in(tables.clone()));
        exchange.carriers = Carriers::new(behind);
        Ok(Self {
            twins,
            up: None,
            probed: RefCell::default(),
            samples: RefCell::default(),
            punts: RefCell::new(Drain::new(rings.punts, rings.bell.rung())),
            bell: rings.bell,
            exchange: RefCell::new(exchange),
            calls: Calls::start()?,
            reading: Errands::start("kernel-reads").map_err(KernelError::Thread)?,
            zero_checksums: RefCell::default(),
            tables,
            complaints: RefCell::default(),
            macs_of: Cell::new(0),
            news: Notify::new(),
        })
    }

    /// With the interface that announced routes lead to.
    #[must_use]
    pub fn with_up_link(self, up: Option<UpLink>) -> Self {
        Self { up: up.map(Arc::new), ..self }
    }

    /// With samples of what is dropped on the way to the kernel and back. `clock` is the workers'.
    #[must_use]
    pub fn with_samples(self, sampler: LoneSampler, clock: Clock) -> Self {
        self.exchange.borrow_mut().samples = Some(LostSamples { sampler, clock });
        self
    }

    /// The interface that announced routes lead to.
    #[must_use]
    pub fn up_link(&self) -> Option<&UpLink> {
        self.up.as_deref()
    }

    /// Has a packet of the relay's own take the way of a received one on a worker; whether it could be handed over.
    #[must_use]
    pub fn probe(&self, worker: usize, number: u16, packet: &[u8]) -> bool {
        self.with(|exchange| exchange.probe(worker, number, packet))
    }

    /// What became of probes since the last call.
    #[must_use]
    pub fn take_probed(&self) -> Vec<(u16, ProbeEnd, Vec<u8>)> {
        self.probed.take()
    }

    /// Asks every worker for the first frame of each of its next bursts.
    pub fn ask_for_samples(&self, bursts: u16) {
        self.with(|exchange| exchange.ask_for_samples(bursts));
    }

    /// The samples since the last call.
    #[must_use]
    pub fn take_samples(&self) -> Vec<(PortId, Vec<u8>)> {
        self.samples.take()
    }

    /// Runs until `shutdown` is ready. `updates` are told the kernel's state as soon as it is read, then its changes, as many at
    /// a time as are taken.
    ///
    /// # Errors
    /// [`KernelError`] when the kernel cannot be followed any more, or a twin was deleted.
    pub async fn run(
        &self,
        updates: Sender<Update>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), KernelError> {
        let follower = Follower::start(self)?;
        let readers = async {
            try_join_all(self.twins.iter().map(|twin| self.read(twin))).await?;
            // Without any twin there is nothing to read, and no reason to end.
            std::future::pending().await
        };
        tokio::select! {
            () = shutdown => Ok(()),
            ended = follower.run(updates) => ended,
            ended = readers => ended,
            never = self.read_own() => match never {},
            never = self.pump() => match never {},
            never = self.watch() => match never {},
            never = self.make_calls() => match never {},
            never = self.make_announcements() => match never {},
        }
    }

    /// The counters of now.
    #[must_use]
    pub fn counters(&self) -> KernelCounters {
        self.with(|exchange| exchange.counters.clone())
    }

    /// What a port's driver says of its link; none when it cannot tell. The twin follows.
    pub fn port_link(&self, port: PortId, up: Option<bool>) {
        self.with(|exchange| exchange.carriers.driver(port, up));
        self.news.notify_one();
    }

    /// Whether a port's twin has carrier.
    #[must_use]
    pub fn carrier(&self, port: PortId) -> bool {
        self.with(|exchange| exchange.carriers.of(port))
    }

    /// The Ethernet addresses each port is to receive, its twin's first: those of VLANs, macvlans and VRRP devices on the
    /// twin, too. Nothing when no interface has changed since they were taken last.
    pub fn take_port_macs(&self) -> Option<Vec<(PortId, Vec<MacAddress>)>> {
        self.with(|exchange| {
            let version = exchange.state.links_version();
            let is_news = self.macs_of.replace(version) != version;
            is_news.then(|| exchange.state.port_macs())
        })
    }

    /// What the operator should put right about the kernel, as sentences.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.borrow().all()
    }

    /// The kernel's frames, from one twin to the inject ring.
    async fn read(&self, twin: &Twin) -> Result<Infallible, KernelError> {
        let mut buffer = vec![0; FRAME_MAX];
        loop {
            match twin.receive(&mut buffer).await {
                Ok(length) => self.with(|exchange| exchange.inject(twin.port(), &buffer[..length])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(KernelError::TwinRead { name: twin.name().to_owned(), source });
                }
            }
        }
    }

    /// What the box itself sends to announced addresses, to a worker.
    async fn read_own(&self) -> Infallible {
        let Some(up) = &self.up else { return std::future::pending().await };
        let mut buffer = vec![0; FRAME_MAX];
        loop {
            match up.receive(&mut buffer).await {
                Ok(length) if up::is_for_the_relay(&buffer[..length]) => {
                    self.with(|exchange| exchange.inject_packet(&buffer[..length]));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The interface was deleted, and the routes with it: the look at the routes says so.
                Err(error) => {
                    tracing::error!(interface = UP_LINK, %error, "cannot be read: packets of the box itself are lost");
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// The workers' packets, from the punt rings to the twins.
    async fn pump(&self) -> Infallible {
        loop {
            while self.drain() {
                tokio::task::yield_now().await;
            }
            self.bell.sleep_unless(|| self.drain()).await;
        }
    }

    /// Takes from the rings, as long as [`TURN`] lasts, and passes on what they lead to; whether there may be more to do.
    fn drain(&self) -> bool {
        let now = Instant::now();
        let any = self.punts.borrow_mut().turn(|| now.elapsed() >= TURN, |punted| self.punted(punted, now));
        self.call();
        any
    }

    fn punted(&self, punted: &Punted<'_>, now: Instant) {
        match *punted {
            Punted::Unresolved { interface, next_hop, packet } => {
                self.with(|exchange| exchange.unresolved(interface, next_hop, packet, now));
            }
            Punted::Frame { port, reason, bytes } => self.to_twin(port, reason, bytes),
            Punted::Translated { reason, packet } => self.to_the_box(reason, packet),
            Punted::Probed { number, end, packet } => {
                self.probed.borrow_mut().push((number, end, packet.to_vec()));
            }
            Punted::Sample { port, bytes } => self.samples.borrow_mut().push((port, bytes.to_vec())),
            Punted::ZeroChecksum(event) => self.report(event, now),
        }
    }

    fn to_twin(&self, port: PortId, reason: PuntReason, frame: &[u8]) {
        let sent = self.twins.iter().find(|twin| twin.port() == port).map(|twin| twin.send(frame));
        self.with(|exchange| match sent {
            Some(Ok(())) => exchange.counters.to_twin[reason.index()] += 1,
            Some(Err(_)) | None => exchange.refused_by_twin(port, reason, Layer::Link, frame),
        });
    }

    fn to_the_box(&self, reason: PuntReason, packet: &[u8]) {
        let sent = self.up.as_ref().map(|up| up.send(packet));
        self.with(|exchange| match sent {
            Some(Ok(())) => exchange.counters.to_twin[reason.index()] += 1,
            Some(Err(_)) | None => exchange.refused_by_twin(PortId(0), reason, Layer::Ip, packet),
        });
    }

    fn report(&self, event: ZeroChecksum, now: Instant) {
        let Some(event) = self.zero_checksums.borrow_mut().offer(event, now) else {
            return;
        };
        tracing::warn!(
            source = %event.source,
            source_port = event.source_l4_port,
            destination = %event.destination,
            destination_port = event.destination_l4_port,
            more = event.suppressed,
            "dropped UDP without checksum; udp_zero_checksum = \"compute\" would translate whole datagrams"
        );
    }

    fn look_at_what_is_not_followed(&self) {
        let now = Instant::now();
        let mut exchange = self.exchange.borrow_mut();
        let exchange = &mut *exchange;
        let mut complaints = self.complaints.borrow_mut();
        complaints.drop_enslaved(|index| !exchange.state.exists(index));
        complaints.set(Topic::Rules, rules::complaint(exchange.state.unfollowed_rules()));
        for (index, master) in exchange.state.masters() {
            let text = master.map(|master| about_master(exchange.state.name(index), master));
            complaints.set(Topic::Enslaved(index), text);
        }
        let stuck = exchange.slow_path.stuck(now);
        let name = |index: u32| exchange.state.name(index);
        complaints.set(
            Topic::SlowPath,
            stuck.map(|(neighbor, packets)| slow_path::complaint(neighbor, packets, name)),
        );
    }

    /// The shared part. Never held across an await, never entered twice.
    fn with<R>(&self, act: impl FnOnce(&mut Exchange) -> R) -> R {
        act(&mut self.exchange.borrow_mut())
    }
}

fn mapped_in(tables: SnapshotView) -> exchange::Mapped {
    Box::new(move |host| {
        let snapshot = tables.current();
        let eams = &snapshot.translation.eams;
        eams.host_ipv6(eams.fetch_ipv6(host), host).is_some()
    })
}
