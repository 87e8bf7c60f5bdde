//! Keeps the state in step with the kernel and decides when to publish.
//!
//! Subscribed first, dumped then: what is notified while the dump is read is applied at once, so that publishing goes on,
//! and once more after the dump has replaced everything, since the dump may be older. Lost messages, records that
//! do not fit, and changes the kernel makes without telling (IPv4 routes over an interface that goes down) lead to a new
//! dump, which takes at most a tenth of the time.
//!
//! What changed is handed over in slices of half a millisecond by the clock, right after what was received is taken in, and
//! other tasks have their turn after each slice and each half millisecond of what was received, however much is left: the
//! runtime by itself would let a hundred of them follow each other. So nothing is put off, and under churn each slice carries what
//! came up during the one before, or while the tables' owner was busy with it: it takes one at a time.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{Permit, Sender};
use tokio::task::yield_now;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};

use dataplane::table::routing::Update;

use super::error::KernelError;
use super::event::Event;
use super::netlink::attribute::Messages;
use super::netlink::decode;
use super::netlink::dump::{Dumper, Piece};
use super::netlink::socket::{ReceiveError, Socket};
use super::pace::Pace;
use super::resolver::TICK;
use super::state::{Changes, Meanwhile};
use super::tables::DumpedTables;
use super::{Kernel, TURN, Twin};

/// Changes handed over at once: taking them in costs the receiver a few microseconds each.
const SLICE: usize = 128;
/// Steps between looks at the clock: looks at destinations or neighbours. A few microseconds each.
const STEPS: usize = 16;
/// Datagrams taken in a row before others get their turn.
const BATCH: usize = 128;

pub(super) struct Follower<'a> {
    kernel: &'a Kernel,
    events: Socket,
    dump: Option<Running>,
    /// No dump has been taken over yet: there is nothing to publish.
    blind: bool,
    pace: Pace,
    started: Instant,
    ticks: Interval,
}

/// A dump in progress and what was notified meanwhile.
struct Running {
    dumper: Dumper,
    started: Instant,
    meanwhile: Meanwhile,
    /// The dumped routes.
    routes: DumpedTables,
}

impl<'a> Follower<'a> {
    pub(super) fn start(kernel: &'a Kernel) -> Result<Self, KernelError> {
        let events = Socket::listen().map_err(KernelError::Listen)?;
        let now = Instant::now();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut follower =
            Self { kernel, events, dump: None, blind: true, pace: Pace::new(now), started: now, ticks };
        follower.start_dump();
        Ok(follower)
    }

    pub(super) async fn run(mut self, updates: Sender<Update>) -> Result<(), KernelError> {
        loop {
            let (untold, replacing) =
                self.kernel.with(|exchange| (exchange.state.is_untold(), exchange.state.is_replacing()));
            let dump = at(self.pace.due().filter(|_| self.dump.is_none() && !replacing));
            tokio::select! {
                received = self.events.receive() => {
                    let first = received.map(|datagram| Some(events_in(datagram)));
                    self.notified(first)?;
                }
                dumped = advance(self.dump.as_mut()) => self.dumped(dumped)?,
                Ok(permit) = room(&updates), if untold => self.hand_over(permit)?,
                () = dump => {
                    self.pace.begin();
                    self.start_dump();
                }
                _ = self.ticks.tick() => {
                    let changes = self.kernel.with(|exchange| exchange.tick(Instant::now()));
                    self.note(&changes);
                }
                () = self.kernel.news.notified() => {}
            }
            let changes = self.kernel.carry();
            self.note(&changes);
            self.kernel.call();
            yield_now().await;
        }
    }

    fn notified(&mut self, first: Received) -> Result<(), KernelError> {
        let started = Instant::now();
        let mut received = first;
        for _ in 0..BATCH {
            if !self.received(received)? || started.elapsed() >= TURN {
                return Ok(());
            }
            received = self.events.try_receive().map(|datagram| datagram.map(events_in));
        }
        self.received(received).map(drop)
    }

    /// Whether there was anything.
    fn received(&mut self, received: Received) -> Result<bool, KernelError> {
        match received {
            Ok(None) => return Ok(false),
            Ok(Some(batch)) => self.take(batch),
            Err(ReceiveError::Overrun) => {
                tracing::warn!("notifications of the kernel were lost: reading everything again");
                self.kernel.with(|exchange| exchange.counters.netlink_overruns += 1);
                self.doubt();
            }
            Err(ReceiveError::Io(error)) => return Err(KernelError::Listen(error)),
        }
        Ok(true)
    }

    fn take(&mut self, batch: Batch) {
        if batch.unreadable > 0 {
            self.unreadable(batch.unreadable);
        }
        for event in batch.events {
            if let Some(running) = &mut self.dump {
                running.meanwhile.push(event.clone());
            }
            self.apply(event);
        }
    }

    fn apply(&mut self, event: Event) {
        let changes = self.kernel.with(|exchange| exchange.apply(event, Instant::now()));
        self.note(&changes);
    }

    fn note(&mut self, changes: &Changes) {
        if changes.doubt {
            self.doubt();
        }
    }

    fn doubt(&mut self) {
        self.pace.doubt(Instant::now());
    }

    fn start_dump(&mut self) {
        let dumper = Dumper::start(&self.kernel.reading);
        let (meanwhile, routes) = (Meanwhile::default(), DumpedTables::default());
        self.dump = Some(Running { dumper, started: Instant::now(), meanwhile, routes });
    }

    fn dumped(&mut self, result: std::io::Result<Piece>) -> Result<(), KernelError> {
        let running = self.dump.as_mut().expect("a result comes from a running dump");
        let dumped = match result {
            Ok(Piece { routes, dumped }) => {
                // As they come: a full table is too much at once.
                routes.into_iter().for_each(|route| running.routes.fill(route));
                let Some(dumped) = dumped else { return Ok(()) };
                dumped
            }
            Err(error) if self.blind => return Err(KernelError::Dump(error)),
            Err(error) => {
                self.dump = None;
                self.dump_failed(&error);
                return Ok(());
            }
        };
        let running = self.dump.take().expect("looked at just now");
        if dumped.unreadable > 0 {
            self.unreadable(dumped.unreadable);
        }
        let Running { routes, meanwhile, started, .. } = running;
        let changes =
            self.kernel.with(|exchange| exchange.catch_up(dumped.dump, routes, meanwhile, Instant::now()));
        self.pace.end(Instant::now(), started.elapsed());
        self.note(&changes);
        if dumped.doubtful {
            self.doubt();
        }
        self.kernel.with(|exchange| exchange.counters.netlink_dumps += 1);
        Ok(())
    }

    fn dump_failed(&mut self, error: &std::io::Error) {
        tracing::warn!(%error, "cannot read the kernel's routing again: trying once more in a second");
        self.pace.fail(Instant::now());
    }

    fn hand_over(&mut self, permit: Permit<'_, Update>) -> Result<(), KernelError> {
        // Reading from a deleted TAP does not fail, it waits for ever: the links tell.
        let lost =
            |twin: &&Arc<Twin>| !self.kernel.with(|exchange| exchange.state.exists(twin.settings().index));
        if !self.blind
            && let Some(twin) = self.kernel.twins.iter().find(lost)
        {
            return Err(KernelError::TwinLost { name: twin.name().to_owned() });
        }
        let started = Instant::now();
        let mut changes = Vec::new();
        let mut untold = true;
        while untold && changes.len() + STEPS <= SLICE && started.elapsed() < TURN {
            let (some, news) = self.kernel.with(|exchange| exchange.take_changes(STEPS, Instant::now()));
            changes.extend(some);
            self.note(&news);
            untold = self.kernel.with(|exchange| exchange.state.is_untold());
        }
        // The first tables are shown when they are complete.
        let first = self.blind && self.dump.is_none() && !untold;
        self.blind &= !first;
        if first {
            let destinations = self.kernel.with(|exchange| exchange.state.destinations());
            tracing::info!(destinations, took_ms = self.started.elapsed().as_millis(), "kernel routing read");
        }
        if first || !changes.is_empty() {
            permit.send(Update { changes, publish: !self.blind });
        }
        Ok(())
    }

    fn unreadable(&self, messages: usize) {
        tracing::warn!(messages, "skipped messages of the kernel that could not be read");
        self.kernel.with(|exchange| exchange.counters.netlink_unreadable += messages as u64);
    }
}

/// Room for one update more, once others had their turn. Whoever takes updates in may need longer for them.
async fn room(updates: &Sender<Update>) -> Result<Permit<'_, Update>, SendError<()>> {
    yield_now().await;
    updates.reserve().await
}

/// What a look at the socket gave, if anything.
type Received = Result<Option<Batch>, ReceiveError>;

/// The readable content of one datagram.
struct Batch {
    events: Vec<Event>,
    unreadable: usize,
}

fn events_in(datagram: &[u8]) -> Batch {
    let mut batch = Batch { events: Vec::new(), unreadable: 0 };
    for message in Messages(datagram) {
        match decode::event(message) {
            Ok(event) => batch.events.extend(event),
            Err(decode::Malformed) => batch.unreadable += 1,
        }
    }
    batch
}

async fn advance(dump: Option<&mut Running>) -> std::io::Result<Piece> {
    match dump {
        Some(running) => running.dumper.advance().await,
        None => std::future::pending().await,
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
