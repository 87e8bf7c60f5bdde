//! The metrics of a running relay: pages for whoever asks, over HTTP or on the control socket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use control::actor::ControlHandle;
use control_api::{MappingCounters, Refusal, RevisionSummary};
use control_metrics::{Format, Mappings, Readings, Revision, render};
use control_server::{MetricsServer, MetricsSocket, Page, scraper_limits};
use dataplane::meter::Traffic;
use ipnet::Ipv4Net;

use crate::app::AppError;
use crate::control_socket::{BUSIEST, LogLost, build, stopping};
use crate::meters::Meters;

/// For so long a page is good for all who ask: no number of scrapers costs the control thread more than twenty a second.
const FRESH: Duration = Duration::from_millis(50);

/// What is said about the store: its summary, the staged changes, and how many notices there are from the start.
pub(crate) type StoreSummary = Box<dyn Fn() -> (RevisionSummary, u64, u64) + Send + Sync>;

/// How long a ranking of the busiest mappings is good for.
const RANKED: Duration = Duration::from_secs(1);

/// A ranking, and when it was made.
type Ranked = (Option<Instant>, Arc<Vec<(Ipv4Net, Traffic)>>);

/// Makes pages.
pub(crate) struct Pages {
    handle: ControlHandle,
    log_lost: Arc<LogLost>,
    meters: Arc<Meters>,
    store: Option<StoreSummary>,
    fresh: Mutex<HashMap<Format, (Instant, Page)>>,
    ranked: Mutex<Ranked>,
}

impl Pages {
    pub(crate) fn new(
        handle: ControlHandle,
        log_lost: Arc<LogLost>,
        meters: Arc<Meters>,
        store: Option<StoreSummary>,
    ) -> Self {
        Self { handle, log_lost, meters, store, fresh: Mutex::default(), ranked: Mutex::default() }
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

    /// The busiest mappings; asked anew once a second, for a million take a while to be looked through.
    fn busiest(&self) -> Arc<Vec<(Ipv4Net, Traffic)>> {
        let mut ranked = self.ranked.lock().unwrap_or_else(PoisonError::into_inner);
        if ranked.0.is_none_or(|at| at.elapsed() > RANKED) {
            *ranked = (Some(Instant::now()), Arc::new(self.meters.busiest(BUSIEST, |_| true)));
        }
        Arc::clone(&ranked.1)
    }

    fn text(&self, format: Format) -> Result<String, Refusal> {
        let counters = self.handle.counters().map_err(|_| stopping())?;
        let status = self.handle.status().map_err(|_| stopping())?;
        let mut complaints = status.complaints.len() as u64 + u64::from(!status.translating);
        let revision = self.store.as_ref().map(|summary| {
            let (revision, staged, notices) = summary();
            complaints += notices;
            Revision { id: revision.id, is_pending: revision.pending_until.is_some(), staged }
        });
        let (uncounted, memory) = self.meters.room();
        let busiest = self.busiest();
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
            revision,
            mappings,
        };
        Ok(render(&readings, format))
    }
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
