//! What the kernel is asked to do while the relay runs: resolve neighbours, give twins the carrier of their ports, take routes to
//! `bl-up`. And how full its neighbour tables are. Each of these may have to wait for the kernel's lock, so threads of their own do it:
//! one for neighbours and carriers, one for routes, so that none of the two waits for many of the other.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::complaints::Topic;
use super::error::KernelError;
use super::exchange::Exchange;
use super::neighbor_tables::{self, Asked, NeighborTable, mapped_inside};
use super::netlink::neighbor_table::neighbor_table;
use super::netlink::request::{AF_UNSPEC, RTM_GETNEIGHTBL, Request};
use super::netlink::socket::{Caller, short_dump};
use super::resolver;
use super::state::Changes;
use super::{Announced, InKernel, Kernel, Twin};
use crate::errands::Errands;

/// Neighbours asked for in one go: some tenths of a millisecond.
const REQUESTS: usize = 64;

/// When a carrier that could not be set is tried again.
const CARRIER_AGAIN: Duration = Duration::from_secs(2);

/// A twin, and whether it is to have a carrier.
type Carrier = (Arc<Twin>, bool);

/// The threads, and what they are to do next.
pub(super) struct Calls {
    caller: Arc<Caller>,
    thread: Errands,
    /// There may be neighbours to ask for, or carriers to set.
    any: Notify,
    carriers: RefCell<VecDeque<Carrier>>,
    announcing: Errands,
    /// The routes to be there, when that is news.
    wanted: RefCell<Option<Announced>>,
    is_wanted: Notify,
    /// What became of them.
    announced: RefCell<Rc<InKernel>>,
}

impl Calls {
    /// Starts the threads.
    pub(super) fn start() -> Result<Self, KernelError> {
        Ok(Self {
            caller: Arc::new(Caller::new().map_err(KernelError::Listen)?),
            thread: Errands::start("kernel-calls").map_err(KernelError::Thread)?,
            any: Notify::new(),
            carriers: RefCell::default(),
            announcing: Errands::start("announcing").map_err(KernelError::Thread)?,
            wanted: RefCell::default(),
            is_wanted: Notify::new(),
            announced: RefCell::default(),
        })
    }
}

impl Kernel {
    /// Has these routes lead here, and no others, as soon as the kernel takes them. Called again before that, only the last ones
    /// count.
    pub fn announce(&self, wanted: &Announced) {
        self.calls.wanted.replace(Some(wanted.clone()));
        self.calls.is_wanted.notify_one();
    }

    /// What the kernel made of the routes when it was last told of them.
    #[must_use]
    pub fn announced(&self) -> Rc<InKernel> {
        Rc::clone(&self.calls.announced.borrow())
    }

    /// Has the kernel asked for the neighbours that wait for it.
    pub(super) fn call(&self) {
        if self.with(|exchange| exchange.resolver.has_requests()) {
            self.calls.any.notify_one();
        }
    }

    /// Gives the twins the carrier of their ports.
    pub(super) fn carry(&self) -> Changes {
        let (carriers, changes) = self.with(Exchange::carry);
        for (port, up) in carriers {
            let Some(twin) = self.twins.iter().find(|twin| twin.port() == port) else {
                continue;
            };
            tracing::info!(twin = twin.name(), up, "link changed");
            self.calls.carriers.borrow_mut().push_back((Arc::clone(twin), up));
            self.calls.any.notify_one();
        }
        let exchange = self.exchange.borrow();
        for (port, gone) in exchange.carriers.gone(exchange.state.links()) {
            let twin =
                self.twins.iter().find(|twin| twin.port() == port).map_or("its twin", |twin| twin.name());
            let text = gone.map(|interface| {
                format!(
                    "the kernel interface {interface} behind {twin} is gone: nothing is received or sent there; put it back \
                     and restart borderline"
                )
            });
            self.complaints.borrow_mut().set(Topic::PortInterface(port.0), text);
        }
        changes
    }

    /// Makes the calls of neighbours and carriers.
    pub(super) async fn make_calls(&self) -> Infallible {
        let mut again: Vec<Carrier> = Vec::new();
        let mut again_at = None;
        loop {
            let mut carriers: Vec<Carrier> = self.calls.carriers.borrow_mut().drain(..).collect();
            again.retain(|(twin, _)| !carriers.iter().any(|(newer, _)| Arc::ptr_eq(newer, twin)));
            if again_at.is_some_and(|at| Instant::now() >= at) {
                carriers.append(&mut again);
                again_at = None;
            }
            let requests = self.with(|exchange| exchange.resolver.take_requests(REQUESTS));
            if carriers.is_empty() && requests.is_empty() {
                let any = self.calls.any.notified();
                match again_at {
                    Some(at) => drop(timeout_at(at, any).await),
                    None => any.await,
                }
                continue;
            }
            self.count(&requests);
            let caller = Arc::clone(&self.calls.caller);
            let (failed, refused) = self.calls.thread.run(move || make(&caller, carriers, requests)).await;
            if !failed.is_empty() {
                again.extend(failed);
                again_at = Some(Instant::now() + CARRIER_AGAIN);
            }
            for (request, error) in refused {
                self.refused(request, &error);
            }
        }
    }

    /// Has the kernel's routes to `bl-up` be what is wanted.
    pub(super) async fn make_announcements(&self) -> Infallible {
        let Some(up) = &self.up else { return std::future::pending().await };
        loop {
            let Some(wanted) = self.calls.wanted.take() else {
                self.calls.is_wanted.notified().await;
                continue;
            };
            let up = Arc::clone(up);
            let announce = move || {
                up.announce(&wanted);
                up.in_kernel()
            };
            let announced = self.calls.announcing.run(announce).await;
            let refused = &announced.refused;
            let text = refused.values().next().map(|first| match refused.len() - 1 {
                0 => first.clone(),
                others => format!("{first}; and {others} more"),
            });
            self.complaints.borrow_mut().set(Topic::Announcement, text);
            self.calls.announced.replace(Rc::new(announced));
        }
    }

    fn count(&self, requests: &[resolver::Request]) {
        let used = requests.iter().filter(|request| matches!(request, resolver::Request::Use(_))).count();
        self.with(|exchange| {
            exchange.counters.neighbor_requests += used as u64;
            exchange.counters.neighbors_forgotten += (requests.len() - used) as u64;
        });
    }

    fn refused(&self, request: resolver::Request, error: &io::Error) {
        let (resolver::Request::Use((index, address)) | resolver::Request::Forget((index, address))) =
            request;
        let name = self.with(|exchange| exchange.state.name(index).to_owned());
        tracing::debug!(interface = name, %address, %error, "the kernel does not resolve the neighbour");
        let table_full = error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error());
        self.with(|exchange| exchange.refused(request, table_full));
    }

    /// Compares the kernel's neighbour tables with what they are to hold, again and again: an operator may change them, and
    /// mappings come and go.
    pub(super) async fn watch(&self) -> Infallible {
        let mut asked = Asked::default();
        let mut refused_before = 0;
        loop {
            let refused = self.with(|exchange| exchange.counters.neighbor_requests_refused);
            let tables = self.look_at_neighbor_tables(refused > refused_before).await;
            refused_before = refused;
            let translation = Arc::clone(&self.tables.current().translation);
            let prefixes = self.with(|exchange| exchange.state.connected_ipv6());
            if asked.is_news(&translation, &prefixes) {
                let mapped = self.reading.run(move || mapped_inside(&translation, &prefixes)).await;
                if let Some(ipv6) = tables.iter().find(|table| table.ipv6) {
                    self.complaints.borrow_mut().set(Topic::SmallNeighborTable, ipv6.small(mapped));
                }
            }
            self.look_at_what_is_not_followed();
            sleep(neighbor_tables::LOOK).await;
        }
    }

    async fn look_at_neighbor_tables(&self, refused: bool) -> Vec<NeighborTable> {
        let tables = self.reading.run(neighbor_tables).await;
        for table in &tables {
            let entries = usize::try_from(table.hard).unwrap_or(usize::MAX);
            self.with(|exchange| exchange.resolver.set_table_size(table.ipv6, entries));
            let mut complaints = self.complaints.borrow_mut();
            let told = complaints.has(Topic::FullNeighborTable { ipv6: table.ipv6 });
            let (topic, text) = table.full(refused, told);
            complaints.set(topic, text);
        }
        tables
    }
}

/// What the kernel did not do.
fn make(
    caller: &Caller,
    mut carriers: Vec<Carrier>,
    requests: Vec<resolver::Request>,
) -> (Vec<Carrier>, Vec<(resolver::Request, io::Error)>) {
    carriers.retain(|(twin, up)| {
        let failed = twin.set_carrier(*up).err();
        failed.inspect(|error| tracing::warn!("{error}")).is_some()
    });
    let refusal = |request: resolver::Request| {
        let message = match request {
            resolver::Request::Use((index, address)) => Request::use_neighbor(index, address),
            resolver::Request::Forget((index, address)) => Request::forget_neighbor(index, address),
        };
        caller.call(message).err().map(|error| (request, error))
    };
    (carriers, requests.into_iter().filter_map(refusal).collect())
}

fn neighbor_tables() -> Vec<NeighborTable> {
    let mut tables = Vec::new();
    let request = Request::dump(RTM_GETNEIGHTBL, AF_UNSPEC, 1);
    if let Err(error) = short_dump(request, |message| tables.extend(neighbor_table(message))) {
        tracing::debug!(%error, "the sizes of the kernel's neighbour tables are not known");
    }
    tables
}
