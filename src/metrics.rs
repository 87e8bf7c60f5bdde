//! The metrics of a running relay: pages for whoever asks, over HTTP or on the control socket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use control::actor::ControlHandle;
use control::observe::Observatory;
use control_api::{Failing, MappingCounters, Refusal, RevisionSummary};
use control_metrics::{Format, LastExit, Mappings, NextHop, Readings, Revision, Store, render};
use control_server::{MetricsServer, MetricsSocket, Page, scraper_limits};

use crate::app::AppError;
use crate::control_socket::{BUSIEST, LogLost, build, complaints, failing, names, stopping};
use crate::last_exit;
use crate::meters::Meters;

/// For so long a page is good for all who ask: no number of scrapers costs the control thread more than twenty a second.
const FRESH: Duration = Duration::from_millis(50);

/// What is said about the store, and what is kept beside it.
pub(crate) struct StoreSummary {
    pub(crate) revision: RevisionSummary,
    /// Changes that are staged.
    pub(crate) staged: u64,
    /// What there is to complain about, in sentences.
    pub(crate) complaints: u64,
    pub(crate) last_exit: Option<last_exit::LastExit>,
    /// Files of the configuration that are not as they were when they were read.
    pub(crate) files_changed: u64,
}

/// Asks for it.
pub(crate) type AskStore = Box<dyn Fn() -> StoreSummary + Send + Sync>;

/// Makes pages.
pub(crate) struct Pages {
    handle: ControlHandle,
    log_lost: Arc<LogLost>,
    meters: Arc<Meters>,
    observatory: Observatory,
    store: Option<AskStore>,
    fresh: Mutex<HashMap<Format, (Instant, Page)>>,
}

impl Pages {
    pub(crate) fn new(
        handle: ControlHandle,
        log_lost: Arc<LogLost>,
        meters: Arc<Meters>,
        observatory: Observatory,
        store: Option<AskStore>,
    ) -> Self {
        Self { handle, log_lost, meters, observatory, store, fresh: Mutex::default() }
    }

    /// The page for a client that accepts that.
    pub(crate) fn page(&self, accept: &str) -> Result<Page, Refusal> {
        let format = Format::accepted(accept);
        // Whoever comes while one is made waits for that one.
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, page)) = fresh.get(&format)
            && made.elapsed() < FRESH
        {
            return Ok(page.clone());
        }
        let page = Page { content_type: format.content_type(), text: self.text(format)?.into() };
        fresh.insert(format, (Instant::now(), page.clone()));
        Ok(page)
    }

    fn text(&self, format: Format) -> Result<String, Refusal> {
        let counters = self.handle.counters().map_err(|_| stopping())?;
        let status = self.handle.status().map_err(|_| stopping())?;
        let snapshot = self.handle.snapshot().map_err(|_| stopping())?;
        let store = self.store.as_ref().map(|ask| ask());
        let complaints = complaints(&status) + store.as_ref().map_or(0, |store| store.complaints);
        let drops = self.observatory.drops();
        let failing: Vec<NextHop> =
            failing(&status, &snapshot, &names(&status)).into_iter().map(next_hop).collect();
        let (uncounted, memory) = self.meters.room();
        let busiest = self.meters.ranked(BUSIEST);
        let mappings = (self.meters.kind() != MappingCounters::Off).then_some(Mappings {
            busiest: &busiest,
            uncounted,
            memory: memory as u64,
        });
        let readings = Readings {
            counters: &counters,
            status: &status,
            version: env!("CARGO_PKG_VERSION"),
            build: build(),
            complaints,
            log_lines_lost: (self.log_lost)(),
            store: store.map(kept),
            drops: &drops,
            failing: &failing,
            mappings,
        };
        Ok(render(&readings, format))
    }
}

fn kept(store: StoreSummary) -> Store {
    let StoreSummary { revision, staged, last_exit, files_changed, .. } = store;
    let last_exit = last_exit.map(|last| LastExit {
        at: last.at,
        orderly: last.orderly,
        cause: last.cause,
        ran: last.ran,
    });
    let revision = Revision { id: revision.id, is_pending: revision.pending_until.is_some(), staged };
    Store { revision, last_exit, files_changed }
}

fn next_hop(failing: Failing) -> NextHop {
    let Failing { address, interface, service, lost, since_seconds, last_seconds } = failing;
    let (since, last) = (Duration::from_secs(since_seconds), Duration::from_secs(last_seconds));
    NextHop { address, interface, service, lost, since, last }
}

/// Opens the socket of `[metrics]`, so that a start fails rather than a scrape.
pub(crate) fn open(listen: Option<std::net::SocketAddr>) -> Result<Option<MetricsSocket>, AppError> {
    let Some(address) = listen else { return Ok(None) };
    let socket = MetricsSocket::bind(address).map_err(|error| AppError::Metrics { address, error })?;
    tracing::info!(address = %socket.address(), "metrics");
    Ok(Some(socket))
}

/// Serves pages on it.
pub(crate) fn serve(socket: MetricsSocket, pages: Arc<Pages>) -> Result<MetricsServer, AppError> {
    let make = Arc::new(move |accept: &str| pages.page(accept));
    socket
        .serve(make, scraper_limits())
        .map_err(|error| AppError::System { what: "threads for metrics", error })
}
