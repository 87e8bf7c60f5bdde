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
//! Followed are the routing tables main, local and default of the process's network namespace. Not supported: VRFs
//! and policy routing (other tables, rules, routes by TOS or source prefix are not looked at), and twins enslaved
//! to a bridge, bond or VRF (routes over the master are the kernel's to forward).
//!
//! Modules, from the outside in: `twin`, `bell`; `follower` and `exchange`, which `Kernel` drives; `state` with
//! `interfaces` and `routes`, and `resolver`, all pure; `event`, what goes into them; `netlink`, the wire.

mod bell;
mod counters;
mod error;
mod event;
mod exchange;
mod follower;
mod interfaces;
mod netlink;
mod resolver;
mod routes;
mod state;
#[cfg(test)]
mod tests;
mod twin;
mod zero_checksum;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use dataplane::exception::{InjectSender, PuntReceiver, Punted, ZeroChecksum};
use dataplane::table::routing::{PortId, Update};
use dataplane::verdict::PuntReason;
use futures_util::future::try_join_all;

pub use self::bell::Bell;
pub use self::counters::KernelCounters;
pub use self::error::KernelError;
pub use self::event::{
    Address, Dump, Event, KernelHop, KernelRoute, Link, NeighborEntry, Placement, Reachability, RouteKind,
    Table,
};
pub use self::follower::PUBLISH_INTERVAL;
pub use self::interfaces::TwinSettings;
pub use self::resolver::{ASK_INTERVAL, IN_ALL, PATIENCE, PER_NEXT_HOP};
pub use self::state::{Changes, FAILED_HOLD, KernelState, NeighborChange, News};
pub use self::twin::{PREFIX, Twin, TwinError};

use self::exchange::Exchange;
use self::follower::Follower;
use self::netlink::request::Request;
use self::netlink::socket::Caller;
use self::zero_checksum::ZeroChecksumLog;

/// Punted records taken from one worker before others get their turn.
const PUNT_BATCH: usize = 256;
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
    bell: Bell,
    punts: RefCell<Vec<PuntReceiver>>,
    exchange: RefCell<Exchange>,
    caller: Caller,
    zero_checksums: RefCell<ZeroChecksumLog>,
}

impl Kernel {
    /// Takes the control thread's ends of the rings. Nothing happens before [`Self::run`].
    ///
    /// # Errors
    /// [`KernelError::Listen`] when the system gives no netlink socket.
    pub fn new(twins: Vec<Arc<Twin>>, rings: Rings) -> Result<Self, KernelError> {
        let state = KernelState::new(twins.iter().map(|twin| twin.settings()).collect());
        Ok(Self {
            twins,
            bell: rings.bell,
            punts: RefCell::new(rings.punts),
            exchange: RefCell::new(Exchange::new(state, rings.injects)),
            caller: Caller::new().map_err(KernelError::Listen)?,
            zero_checksums: RefCell::default(),
        })
    }

    /// Runs until `shutdown` is ready. `on_update` is called on this task: with the kernel's state as soon as it is
    /// read, then with its changes.
    ///
    /// # Errors
    /// [`KernelError`] when the kernel cannot be followed any more, or a twin was deleted.
    pub async fn run(
        &self,
        on_update: impl FnMut(Update),
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
            ended = follower.run(on_update) => ended,
            ended = readers => ended,
            never = self.pump() => match never {},
        }
    }

    /// The counters of now.
    #[must_use]
    pub fn counters(&self) -> KernelCounters {
        self.with(|exchange| exchange.counters.clone())
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

    /// The workers' packets, from the punt rings to the twins.
    async fn pump(&self) -> Infallible {
        loop {
            while self.drain() {
                tokio::task::yield_now().await;
            }
            self.bell.sleep_unless(|| self.drain()).await;
        }
    }

    /// Takes a batch from every ring; whether there was anything.
    fn drain(&self) -> bool {
        let mut any = false;
        let now = Instant::now();
        for ring in self.punts.borrow_mut().iter_mut() {
            for _ in 0..PUNT_BATCH {
                if ring.receive(|punted| self.punted(&punted, now)).is_none() {
                    break;
                }
                any = true;
            }
        }
        self.ask();
        any
    }

    fn punted(&self, punted: &Punted<'_>, now: Instant) {
        match *punted {
            Punted::Unresolved { interface, next_hop, packet } => {
                self.with(|exchange| exchange.unresolved(interface, next_hop, packet, now));
            }
            Punted::Frame { port, reason, bytes } => self.to_twin(port, reason, bytes),
            Punted::ZeroChecksum(event) => self.report(event, now),
        }
    }

    fn to_twin(&self, port: PortId, reason: PuntReason, frame: &[u8]) {
        let sent = self.twins.iter().find(|twin| twin.port() == port).map(|twin| twin.send(frame));
        self.with(|exchange| match sent {
            Some(Ok(())) => exchange.counters.to_twin[reason.index()] += 1,
            Some(Err(_)) => exchange.counters.twin_refused += 1,
            None => exchange.counters.without_twin += 1,
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

    /// Passes on what is to be asked of the kernel.
    fn ask(&self) {
        let asks = self.with(Exchange::take_asks);
        for (index, address) in asks {
            let asked = self.caller.call(Request::use_neighbor(index, address));
            self.with(|exchange| {
                exchange.counters.neighbor_requests += 1;
                if let Err(error) = asked {
                    exchange.counters.neighbor_requests_refused += 1;
                    let interface = exchange.state.name(index);
                    tracing::debug!(interface, %address, %error, "the kernel does not resolve the neighbour");
                }
            });
        }
    }

    /// The shared part. Never held across an await, never entered twice.
    fn with<R>(&self, act: impl FnOnce(&mut Exchange) -> R) -> R {
        act(&mut self.exchange.borrow_mut())
    }
}
