//! Everything the socket is asked: mappings by the store, the rest by the control actor.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use control::actor::{ControlHandle, PortStatus, ReloadOutcome, WorkerStatus};
use control::config::Problem;
use control_api::{
    API, Announcement, CaptureLine, Code, Committed, Counters, Digests, DropSample, DropSamples, Drops,
    Explanation, Finding, Health, Load, Lookup, MappingCounters, MappingLoad, Neighbors, Port, PortSummary,
    Ports, Question, Refusal, Reloaded, Revision, Routes, Status, Versions, Worker, WorkerSummary, Workers,
    path,
};
use control_server::mappings::{Edit, Mappings, Target};
use control_server::{CaptureQuery, Intent, ListQuery, Page, Peer, Relay, Slices, TrafficQuery};
use dataplane::counters::Event;
use dataplane::table::snapshot::Snapshot;
use dataplane::verdict::{DropReason, PuntReason};
use ipnet::{IpNet, Ipv4Net};
use tokio::sync::mpsc::Receiver;

use super::captures;
use super::condition::{self, FilesInForce};
use super::notices::Notices;
use super::observed::Observed;
use super::routing::View;
use super::service;
use super::tables::stopping;
use super::worker_view;
use crate::explain::{self, Running};
use crate::last_exit::LastExit;
use crate::meters::{self, Meters, Wanted};
use crate::metrics::Pages;
use crate::report;

/// How many lines of the log were lost.
pub(crate) type LogLost = Box<dyn Fn() -> u64 + Send + Sync>;

/// The relay that runs.
pub(super) struct RunningRelay {
    pub(super) mappings: Mappings,
    pub(super) handle: ControlHandle,
    pub(super) observed: Observed,
    /// What an operator should know about the start.
    pub(super) notices: Arc<Notices>,
    pub(super) log_lost: Arc<LogLost>,
    pub(super) pages: Arc<Pages>,
    pub(super) meters: Arc<Meters>,
    /// The largest translated packet that the box itself can be given.
    pub(super) local_mtu: Option<u16>,
    /// How the relay before this one ended.
    pub(super) last_exit: Option<LastExit>,
    /// What the tables in force were made of.
    pub(super) files: FilesInForce,
}

impl RunningRelay {
    fn view(&self) -> Result<View, Refusal> {
        let twins: Vec<String> = self.actor()?.ports.into_iter().map(|port| port.twin).collect();
        View::now(&twins)
    }

    /// IPv6 prefix and owner of a mapping that is there.
    fn mapping(&self, ipv4: &str) -> Option<(String, String)> {
        let entry = self.mappings.eam(ipv4.parse().ok()?).ok()?;
        Some((entry.ipv6, entry.owner))
    }

    /// The tables the workers use.
    fn snapshot(&self) -> Result<Arc<Snapshot>, Refusal> {
        self.handle.snapshot().map_err(|_| stopping())
    }

    /// Warnings about mappings of the box's own addresses.
    fn own_addresses(&self, edits: &[Edit]) -> Result<Vec<Finding>, Refusal> {
        let snapshot = self.snapshot()?;
        let mapped = edits.iter().filter_map(|edit| match edit.target {
            Target::Add { ipv4, .. } | Target::Set { ipv4, .. } => Some((edit.line, ipv4)),
            Target::Auto { .. } | Target::Remove { .. } => None,
        });
        let own = mapped.filter(|(_, ipv4)| {
            ipv4.prefix_len() == 32 && worker_view::is_own(ipv4.addr().into(), &snapshot)
        });
        let told = own.map(|(line, ipv4)| Finding {
            line,
            value: ipv4.to_string(),
            message: "it is an address of this box: packets to it are its kernel's, and are not translated"
                .into(),
            remedy: "take the address off the box (`ip addr`), or map another one".into(),
        });
        Ok(told.collect())
    }

    fn actor(&self) -> Result<control::actor::Status, Refusal> {
        self.handle.status().map_err(|_| stopping())
    }
}

/// Adds warnings to an answer; of many the first are told, and how many more there are.
fn warn(made: &mut Committed, mut warnings: Vec<Finding>) {
    const TOLD: usize = 10;
    made.more_warnings += warnings.len().saturating_sub(TOLD) as u64;
    warnings.truncate(TOLD);
    made.warnings.extend(warnings);
}

impl Relay for RunningRelay {
    fn mappings(&self) -> &Mappings {
        &self.mappings
    }

    /// Every change is in the log as well: who, what, and which revision it made.
    fn committed(&self, intent: &Intent, committed: &Committed) {
        tracing::info!(
            revision = committed.revision.id,
            uid = intent.peer.uid,
            pid = intent.peer.pid,
            added = committed.added,
            removed = committed.removed,
            changed = committed.changed,
            pending_until = committed.pending_until,
            comment = intent.comment,
            "mappings committed"
        );
    }

    fn confirmed(&self, intent: &Intent, revision: &Revision) {
        tracing::info!(revision = revision.id, uid = intent.peer.uid, "confirmed");
    }

    fn versions(&self) -> Versions {
        Versions {
            program: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: build().to_owned(),
            api: API,
            openapi: path::OPENAPI.to_owned(),
        }
    }

    fn status(&self) -> Result<Status, Refusal> {
        let mut status = self.actor()?;
        let snapshot = self.snapshot()?;
        let (revision, staged) = self.mappings.summary();
        let mut reasons = of_the_relay(&mut status);
        reasons.extend(self.notices.in_force(revision.id));
        reasons.extend(self.mappings.trouble());
        let health = match (status.translating, reasons.is_empty()) {
            (true, true) => Health::Ok,
            (true, false) => Health::Degraded,
            (false, _) => Health::Failed,
        };
        let ports = status.ports.iter().map(|port| PortSummary {
            name: port.facts.name.clone(),
            up: port.link.is_some_and(|link| link.up),
            received: port.counts.received,
            sent: port.counts.sent,
            receiving: condition::flow(&port.activity.received),
            sending: condition::flow(&port.activity.sent),
        });
        let workers =
            status.workers.iter().map(|worker| WorkerSummary { cpu: worker.cpu, load: share(worker.load) });
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: status.uptime.as_secs(),
            health,
            reasons,
            revision,
            eams: status.eams as u64,
            staged,
            ports: ports.collect(),
            workers: workers.collect(),
            persistent_drops: self.observed.persistent(),
            service: Some(service::short(&status.service)),
            generation: status.generation,
            last_reload: status.last_reload.as_ref().map(condition::last_reload),
            files_changed: self.files.changed(),
            last_exit: self.last_exit.as_ref().map(condition::last_exit),
            queues: condition::queues(&status),
            agreement: condition::agreement(&status),
            losses: condition::losses(&status, self.observed.dropped_rate_1m()),
            failing: condition::failing(&status, &snapshot, &names(&status)),
        })
    }

    fn lookup(&self, address: IpAddr) -> Result<Lookup, Refusal> {
        let status = self.actor()?;
        let snapshot = self.snapshot()?;
        let places = Running { mappings: &self.mappings };
        let worker = worker_view::of(address, &snapshot, &names(&status), &places);
        let mut found = self.mappings.lookup(address)?;
        if found.translated.is_some() && worker_view::is_own(address, &snapshot) {
            found.text = format!(
                "{address} is an address of this box, so packets to it are its kernel's; as another host's, {}",
                found.text
            );
        }
        Ok(Lookup { worker: Some(worker), ..found })
    }

    fn change(&self, intent: &Intent, edits: Vec<Edit>, replace: bool) -> Result<Committed, Refusal> {
        let own = self.own_addresses(&edits)?;
        let mut made = self.mappings.change(intent, edits, replace)?;
        warn(&mut made, own);
        Ok(self.told(intent, made))
    }

    fn stage(&self, intent: &Intent, edits: Vec<Edit>, replace: bool) -> Result<Committed, Refusal> {
        let own = self.own_addresses(&edits)?;
        let mut staged = self.mappings.stage(intent, &edits, replace)?;
        warn(&mut staged, own);
        Ok(staged)
    }

    fn reload(&self, peer: Peer) -> Result<Reloaded, Refusal> {
        tracing::info!(uid = peer.uid, pid = peer.pid, "reload asked for");
        match self.handle.reload().map_err(|_| stopping())? {
            ReloadOutcome::Applied(applied) => {
                let reloaded = Reloaded {
                    eams: applied.eams as u64,
                    added: applied.changes.added as u64,
                    removed: applied.changes.removed as u64,
                    changed: applied.changes.changed as u64,
                    warnings: Vec::new(),
                };
                self.mappings.source().reloaded(&reloaded);
                Ok(reloaded)
            }
            ReloadOutcome::Refused { reason, problems } => {
                let mut refusal =
                    Refusal::new(Code::Refused, reason, "the relay goes on as before; correct it and reload");
                refusal.findings = problems.iter().map(finding).collect();
                refusal.more = problems.more() as u64;
                if let ([only], 0) = (&refusal.findings[..], refusal.more) {
                    let message = format!("{}: {}: {}", refusal.message, only.value, only.message);
                    let remedy = format!("{}; the relay goes on as before", only.remedy);
                    (refusal.message, refusal.remedy) = (message, remedy);
                }
                Err(refusal)
            }
        }
    }

    fn ports(&self) -> Result<Ports, Refusal> {
        let status = self.actor()?;
        let queues = u16::try_from(status.workers.len()).unwrap_or(u16::MAX);
        Ok(Ports { ports: status.ports.iter().map(|status| port(status, queues)).collect() })
    }

    fn workers(&self) -> Result<Workers, Refusal> {
        Ok(Workers { workers: self.actor()?.workers.iter().map(worker).collect() })
    }

    fn routes(&self, limit: u32) -> Result<Routes, Refusal> {
        let snapshot = self.snapshot()?;
        let mut routes = self.view()?.routes(limit);
        for route in &mut routes.routes {
            if let Ok(net) = route.destination.parse::<IpNet>() {
                route.worker = worker_view::next_hop(net.addr(), &snapshot).to_owned();
            }
        }
        Ok(routes)
    }

    fn neighbors(&self) -> Result<Neighbors, Refusal> {
        let (status, snapshot) = (self.actor()?, self.snapshot()?);
        let mut neighbors = self.view()?.neighbors();
        for neighbor in &mut neighbors.neighbors {
            if let Ok(address) = neighbor.address.parse::<IpAddr>() {
                neighbor.worker = worker_view::next_hop(address, &snapshot).to_owned();
                neighbor.service = worker_view::service_of(address, &snapshot);
                (neighbor.waiting, neighbor.lost) = condition::waiting_and_lost(&status, address);
            }
        }
        Ok(neighbors)
    }

    fn counters(&self) -> Result<Counters, Refusal> {
        let counters = self.handle.counters().map_err(|_| stopping())?;
        match report::json(&counters, (self.log_lost)()) {
            serde_json::Value::Object(counters) => Ok(Counters(counters.into_iter().collect())),
            other => Ok(Counters([("counters".to_owned(), other)].into())),
        }
    }

    fn drops(&self) -> Result<Drops, Refusal> {
        Ok(self.observed.drops())
    }

    fn drop_samples(&self, reason: Option<&str>, last: u32) -> Result<DropSamples, Refusal> {
        self.observed.samples(reason, last)
    }

    fn drop_sample(&self, id: u64) -> Result<Option<DropSample>, Refusal> {
        Ok(self.observed.sample(id))
    }

    fn capture(&self, query: &CaptureQuery) -> Result<Receiver<CaptureLine>, Refusal> {
        captures::start(&self.observed, &self.handle, query)
    }

    fn announcement(&self) -> Result<Announcement, Refusal> {
        Ok(service::announcement(&self.actor()?.service))
    }

    fn drain(&self, peer: Peer, lead: Option<Duration>) -> Result<Announcement, Refusal> {
        tracing::info!(uid = peer.uid, pid = peer.pid, "drain");
        self.handle.drain(lead).map_err(|_| stopping())?;
        self.announcement()
    }

    fn undrain(&self, peer: Peer) -> Result<Announcement, Refusal> {
        tracing::info!(uid = peer.uid, pid = peer.pid, "undrain");
        self.handle.undrain().map_err(|_| stopping())?;
        self.announcement()
    }

    fn digest(&self) -> Result<Digests, Refusal> {
        service::digests(&self.actor()?.service)
    }

    fn load(&self) -> Result<Load, Refusal> {
        let (status, counters) = (self.actor()?, self.handle.counters().map_err(|_| stopping())?);
        Ok(super::load::load(&status, &counters, &self.meters, |ipv4| self.mapping(ipv4)))
    }

    fn traffic(&self, query: &TrafficQuery) -> Result<Slices<MappingLoad>, Refusal> {
        if self.meters.kind() == MappingCounters::Off {
            let remedy = "set mappings = \"exact\" in [metrics] of its configuration and start it again";
            return Err(Refusal::new(
                Code::NotFound,
                "the relay does not count the traffic of mappings",
                remedy,
            ));
        }
        let within = query.within;
        let is_wanted = move |prefix: &Ipv4Net| is_within(within, prefix);
        let Some(most) = query.top else {
            // What was removed had an IPv6 prefix that nobody knows any more.
            let is_known = !matches!(within, Some(IpNet::V6(_)));
            let removed = is_known.then(|| Box::new(is_wanted) as Wanted);
            let list = ListQuery { within, ..ListQuery::default() };
            return Ok(self.meters.all(self.mappings.eams(&list)?.slices, removed));
        };
        let busiest = self.meters.busiest(usize::try_from(most).unwrap_or(usize::MAX), is_wanted);
        let shown = |(prefix, traffic): (Ipv4Net, _)| {
            let ipv4 = prefix.to_string();
            let mapping = self.mapping(&ipv4);
            meters::load(ipv4, mapping, traffic)
        };
        Ok(Box::new(std::iter::once(busiest.into_iter().map(shown).collect())))
    }

    fn metrics(&self, accept: &str) -> Result<Page, Refusal> {
        self.pages.page(accept)
    }

    fn explain(&self, question: &Question) -> Result<Explanation, Refusal> {
        let ports = names(&self.actor()?);
        let snapshot = self.snapshot()?;
        explain::explain(question, &snapshot, &ports, &Running { mappings: &self.mappings }, self.local_mtu)
    }
}

/// Whether a mapping has addresses in common with an IPv4 prefix, if there is one.
fn is_within(within: Option<IpNet>, prefix: &Ipv4Net) -> bool {
    match within {
        Some(IpNet::V4(net)) => net.contains(prefix) || prefix.contains(&net),
        Some(IpNet::V6(_)) | None => true,
    }
}

/// The commit this was built from, which stands in brackets behind the version.
pub(crate) fn build() -> &'static str {
    let version = env!("BORDERLINE_VERSION");
    version.split_once('(').map_or("unknown", |(_, build)| build.trim_end_matches(')'))
}

/// What is wrong with the relay itself, one sentence each.
fn of_the_relay(status: &mut control::actor::Status) -> Vec<String> {
    let mut reasons = std::mem::take(&mut status.complaints);
    if !status.translating {
        reasons.push("the kernel's routes have not been read yet; wait a moment".to_owned());
    }
    reasons.extend(service::failing(&status.service).map(service::sentence));
    reasons
}

/// How many sentences that is.
pub(crate) fn complaints(status: &control::actor::Status) -> u64 {
    let unread = usize::from(!status.translating);
    (status.complaints.len() + unread + service::failing(&status.service).count()) as u64
}

/// The names of the ports, in their order.
pub(crate) fn names(status: &control::actor::Status) -> Vec<String> {
    status.ports.iter().map(|port| port.facts.name.clone()).collect()
}

/// A share as people read it: a thousandth is enough.
fn share(load: f64) -> f64 {
    (load * 1000.0).round() / 1000.0
}

fn port(status: &PortStatus, queues: u16) -> Port {
    let PortStatus { facts, twin, link, counts, activity } = status;
    let mac: Vec<String> = facts.mac.iter().map(|byte| format!("{byte:02x}")).collect();
    Port {
        name: facts.name.clone(),
        twin: twin.clone(),
        device: facts.device.clone(),
        driver: facts.driver.clone(),
        up: link.is_some_and(|link| link.up),
        speed_mbps: link.and_then(|link| link.speed_mbps),
        mac: mac.join(":"),
        mtu: facts.mtu,
        queues,
        received: counts.received,
        sent: counts.sent,
        missed: counts.missed,
        errors: counts.receive_errors + counts.send_errors,
        no_mbuf: counts.no_mbuf,
        receiving: condition::flow(&activity.received),
        sending: condition::flow(&activity.sent),
    }
}

fn worker(status: &WorkerStatus) -> Worker {
    let counts = &status.counts;
    Worker {
        cpu: status.cpu,
        load: share(status.load),
        received: counts.event(Event::Received),
        sent: counts.event(Event::Sent),
        punted: PuntReason::ALL.iter().map(|reason| counts.punted(*reason)).sum(),
        dropped: DropReason::ALL.iter().map(|reason| counts.dropped(*reason)).sum(),
        busy_cycles: counts.event(Event::BusyCycles),
        idle_cycles: counts.event(Event::IdleCycles),
        packets_per_second: status.packets_per_second,
        holds_packets_per_second: condition::holds(status.load, status.packets_per_second),
    }
}

/// A problem of the configuration: where, what, and what to do.
fn finding(problem: &Problem) -> Finding {
    let text = problem.kind.to_string();
    let (message, remedy) = text.split_once("; ").unwrap_or((&text, "correct it"));
    let name = problem.place.file.file_name().unwrap_or_default().to_string_lossy();
    let value = problem.value.as_ref().map_or_else(String::new, |value| format!(" = {value}"));
    Finding {
        line: (problem.place.line > 0).then_some(problem.place.line),
        value: format!("{name}: {}{value}", problem.key),
        message: message.to_owned(),
        remedy: remedy.to_owned(),
    }
}
