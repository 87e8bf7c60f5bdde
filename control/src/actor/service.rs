//! Whether the relay is in service: its health, what it announces, and how a drain goes.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::counters::{Counts, Event};
use dataplane::table::routing::PortId;
use dataplane::table::snapshot::Snapshot;
use dataplane::table::translation::Translation;
use ipnet::IpNet;
use tokio::sync::mpsc;

use super::builder::Done;
use super::machine::Machine;
use super::message::{Drained, InService};
use crate::announce::{Announcement, Announcer, DrainPhase, Senders};
use crate::config::DefaultRoute;
use crate::health::{Audit, Auditor, Monitor, Observed, PortLink, Pulse, WorkerBeat};
use crate::kernel::{Announced, InKernel, Kernel};
use crate::reload::Running;

/// Bursts each worker shows in a quarter of a second while the relay is drained.
const SAMPLES: u16 = 32;
/// Senders that are shown.
const TOP: usize = 20;
/// A stop waits no longer than that for routing to notice worse routes.
const STOP_LEAD: Duration = Duration::from_secs(1);

/// What the relay is in service for, and how it is.
pub(super) struct Service {
    pub(super) announcer: Announcer,
    monitor: Monitor,
    senders: Senders,
    auditor: Auditor,
    pulse: Arc<Pulse>,
    settings: String,
    stop: Duration,
    announced: Announced,
    /// What the kernel has made of them.
    in_kernel: Rc<InKernel>,
    translated: Option<(u64, Instant)>,
    ticks: u32,
    /// The generation of the tables when more than mappings changed last.
    rebuilt: u64,
}

/// What is looked at.
pub(super) struct Seen<'a, M> {
    pub(super) machine: &'a M,
    pub(super) kernel: &'a Kernel,
    pub(super) snapshot: &'a Snapshot,
    /// The ports' links, in their order.
    pub(super) links: Vec<Option<bool>>,
    pub(super) translating: bool,
}

impl Service {
    pub(super) fn start(
        running: &Running,
        workers: usize,
        pulse: Arc<Pulse>,
        results: mpsc::UnboundedSender<Done>,
    ) -> std::io::Result<Self> {
        let config = running.announce();
        let default_route = config.map_or(DefaultRoute::Seen, |config| config.default_route);
        let auditor = Auditor::start(move |audit| {
            // The actor ends with the process.
            results.send(Done::Audited(audit)).ok();
        })?;
        Ok(Self {
            announcer: Announcer::new(config, running.destinations()),
            monitor: Monitor::new(workers, default_route),
            senders: Senders::default(),
            auditor,
            pulse,
            settings: running.settings_hash(),
            stop: Duration::from_secs(config.map_or(0, |config| config.stop).into()),
            announced: Announced::new(),
            in_kernel: Rc::default(),
            translated: None,
            ticks: 0,
            rebuilt: 0,
        })
    }

    /// The configuration is another.
    pub(super) fn reloaded(&mut self, destinations: BTreeSet<IpNet>, settings: String) {
        self.announcer.lead_here(destinations);
        self.settings = settings;
    }

    /// Other tables are in use, of another configuration perhaps.
    pub(super) fn rebuilt(&mut self, snapshot: &Snapshot) {
        self.rebuilt = snapshot.generation;
        self.monitor.probes.forget();
        self.audit(snapshot);
    }

    /// Other mappings are in use.
    pub(super) fn updated(&mut self, snapshot: &Snapshot) {
        self.monitor.probes.forget_changed(&snapshot.translation);
        self.audit(snapshot);
    }

    fn audit(&self, snapshot: &Snapshot) {
        let destinations = self.announcer.destinations().clone();
        self.auditor.published(snapshot.generation, Arc::clone(&snapshot.translation), destinations);
    }

    pub(super) fn audited(&mut self, audit: Audit) {
        self.monitor.audited(audit);
    }

    /// Makes the tests and has the kernel's routes be what follows from them. Every twentieth of a second.
    pub(super) fn tick<M: Machine>(&mut self, seen: &Seen<'_, M>, now: Instant) {
        self.ticks = self.ticks.wrapping_add(1);
        let counts = seen.machine.worker_counts();
        for (number, end, packet) in seen.kernel.take_probed() {
            self.monitor.probes.answer(number, end, &packet);
        }
        let is_second = self.ticks % super::relay::SECOND == 1;
        if is_second {
            self.probe(seen.kernel, &seen.snapshot.translation, now);
            self.traffic(&counts, now);
        }
        if self.ticks.is_multiple_of(super::relay::SECOND / 4) {
            self.look_for_senders(seen.kernel, now);
        }
        self.monitor.look(&observed(seen, &counts, self.announcer.destinations()), now);
        let wanted = self.announcer.decide(&self.monitor.board, now);
        if is_second || wanted != self.announced {
            seen.kernel.announce(&wanted);
            self.announced = wanted;
        }
        self.in_kernel = seen.kernel.announced();
        self.pulse.beat(self.monitor.workers_live(now));
        if is_second {
            self.pulse.say(self.words(now));
        }
    }

    fn probe(&mut self, kernel: &Kernel, translation: &Translation, now: Instant) {
        // Changes of mappings may come faster than audits: the last one will do. What a reload has changed is audited in a moment.
        let Some(audit) = self.monitor.audit().filter(|audit| audit.generation >= self.rebuilt).cloned()
        else {
            return;
        };
        for probe in self.monitor.probes.send(&audit, translation, now) {
            if !kernel.probe(probe.worker, probe.number, &probe.packet) {
                self.monitor.probes.refused(probe.number);
            }
        }
    }

    fn traffic(&mut self, counts: &[Counts], now: Instant) {
        let translated = |counts: &Counts| {
            [Event::TranslatedV4ToV6, Event::TranslatedV6ToV4, Event::Hairpinned]
                .iter()
                .map(|event| counts.event(*event))
                .sum::<u64>()
        };
        let sum: u64 = counts.iter().map(translated).sum();
        if let Some((before, then)) = self.translated.replace((sum, now)) {
            let millis = u64::try_from(now.duration_since(then).as_millis()).unwrap_or(u64::MAX).max(1);
            let pps = sum.saturating_sub(before).saturating_mul(1000) / millis;
            self.announcer.traffic(pps, &self.in_kernel, now);
        }
    }

    fn look_for_senders(&mut self, kernel: &Kernel, now: Instant) {
        let samples = kernel.take_samples();
        if self.announcer.draining(now).is_none() {
            self.senders.clear();
            return;
        }
        for (port, bytes) in samples {
            self.senders.sample(port, &bytes, self.announcer.destinations(), now);
        }
        self.senders.tick(now);
        kernel.ask_for_samples(SAMPLES);
    }

    /// How the relay is, in a line for `systemctl status`.
    fn words(&self, now: Instant) -> String {
        let announcement = self.announcement(now);
        let standing = announcement.standing.name();
        let routes = announcement.destinations.iter().filter(|to| to.metric.is_some()).count();
        let failing = self.monitor.board.tests();
        let failing = failing.iter().filter(|test| test.state == crate::health::TestState::Failing);
        let failing: Vec<String> =
            failing.map(|test| format!("{} {}", test.name.name(), test.subject)).collect();
        let trouble =
            if failing.is_empty() { String::new() } else { format!("; failing: {}", failing.join(", ")) };
        let pps = announcement.translated_pps;
        format!("announcement {standing}, {routes} routes, {pps} packets/s translated{trouble}")
    }

    fn announcement(&self, now: Instant) -> Announcement {
        self.announcer.announcement(&self.in_kernel, now)
    }

    /// Everything about it.
    pub(super) fn status<M: Machine>(&self, machine: &M, now: Instant) -> InService {
        let name = |port: PortId| {
            machine.ports().get(usize::from(port.0)).map_or("?", |facts| &facts.name).to_owned()
        };
        InService {
            health: self.monitor.board.tests(),
            announcement: self.announcement(now),
            senders: self.senders.top(TOP).into_iter().map(|sender| (name(sender.port), sender)).collect(),
            audit: self.monitor.audit().cloned(),
            settings: self.settings.clone(),
        }
    }

    pub(super) fn drain(&mut self, lead: Option<Duration>, now: Instant) -> Drained {
        self.announcer.drain(lead, now);
        tracing::info!(lead_s = lead.map(|lead| lead.as_secs_f32()), "drain asked for");
        Drained { announcement: self.announcement(now) }
    }

    pub(super) fn undrain(&mut self, now: Instant) -> Drained {
        self.announcer.undrain();
        tracing::info!("drain taken back");
        self.drained(now)
    }

    /// How it stands.
    pub(super) fn drained(&self, now: Instant) -> Drained {
        Drained { announcement: self.announcement(now) }
    }

    /// The relay is to stop: until when it waits for traffic to go elsewhere; none if there is nothing to wait for.
    pub(super) fn stopping(&mut self, now: Instant) -> Option<Instant> {
        let is_done = self.announcer.draining(now) == Some(DrainPhase::Done);
        if !self.announcer.is_on() || self.stop.is_zero() || is_done {
            return None;
        }
        self.announcer.drain(Some(STOP_LEAD.min(self.stop / 2)), now);
        tracing::info!(at_most_s = self.stop.as_secs(), "stopping: first the routes go");
        Some(now + self.stop)
    }

    /// Whether nobody sends any more.
    pub(super) fn is_drained(&self, now: Instant) -> bool {
        self.announcer.draining(now) == Some(DrainPhase::Done)
    }
}

fn observed<'a, M: Machine>(
    seen: &Seen<'a, M>,
    counts: &[Counts],
    destinations: &'a BTreeSet<IpNet>,
) -> Observed<'a> {
    let cycles = |counts: &Counts| counts.event(Event::BusyCycles) + counts.event(Event::IdleCycles);
    let workers = seen.machine.worker_cpus().iter().zip(counts);
    let ports = (0..).zip(seen.machine.ports().iter().zip(&seen.links));
    let twin_down = |port: u16| {
        let mut interfaces = seen.snapshot.fib.interfaces().iter();
        interfaces.any(|twin| twin.port == PortId(port) && twin.vlan.is_none() && !twin.up)
    };
    Observed {
        translating: seen.translating,
        workers: workers.map(|(cpu, counts)| WorkerBeat { cpu: *cpu, cycles: cycles(counts) }).collect(),
        ports: ports
            .map(|(port, (facts, up))| PortLink { name: &facts.name, up: *up, twin_down: twin_down(port) })
            .collect(),
        fib: &seen.snapshot.fib,
        destinations,
    }
}

#[cfg(test)]
mod tests {
    use dataplane::table::fib::Fib;
    use dataplane::table::publish::Publisher;
    use dataplane::testing;

    use super::*;
    use crate::config::Config;
    use crate::health::Clients;
    use crate::kernel::{Bell, Rings};

    /// A service of one worker that takes no probe, whose tables have been audited as those of `generation`.
    fn service(generation: u64) -> Service {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.toml");
        let text = "[dpdk]\nworkers = [1]\n[[port]]\nname = \"v4\"\ndevice = \"net_null0\"\n\
            [translation]\nprefixes = [\"2001:db8:46::/96\"]\n";
        std::fs::write(&path, text).unwrap();
        let (mut config, _) = Config::load(&path).unwrap();
        let running = Running::start(&path, &mut config, None, None).unwrap();
        let results = mpsc::unbounded_channel().0;
        let mut service = Service::start(&running, 1, Arc::default(), results).unwrap();
        let host = ("192.0.2.1".parse().unwrap(), "2001:db8:12:34::1".parse().unwrap());
        let client = ("9.9.9.9".parse().unwrap(), "2001:db8:46::909:909".parse().unwrap());
        let samples = [("192.0.2.0/24".parse().unwrap(), vec![host])].into();
        let clients = Clients::Anybody(client);
        service.audited(Audit { generation, samples, clients, ..Audit::default() });
        service
    }

    fn snapshot(generation: u64) -> Snapshot {
        let translation = testing::translation(&[("192.0.2.1/32", "2001:db8:12:34::1/128")]);
        Snapshot { generation, translation: Arc::new(translation), fib: Arc::new(Fib::default()) }
    }

    #[tokio::test]
    async fn probes_are_sent_while_changes_come_faster_than_audits_but_not_before_the_first_after_a_reload() {
        let rings = Rings { punts: Vec::new(), injects: Vec::new(), bell: Bell::new() };
        let kernel = Kernel::new(Vec::new(), rings, Publisher::new(snapshot(1)).view()).unwrap();
        let was_asked = |service: &mut Service, newest: u64| {
            service.probe(&kernel, &snapshot(newest).translation, Instant::now());
            service.monitor.probes.answers(0).is_some()
        };
        let mut steady = service(1);
        steady.rebuilt(&snapshot(1));
        (2..100).for_each(|generation| steady.updated(&snapshot(generation)));
        assert!(was_asked(&mut steady, 99));
        let mut reloaded = service(1);
        reloaded.rebuilt(&snapshot(2));
        reloaded.updated(&snapshot(3));
        assert!(!was_asked(&mut reloaded, 3), "nobody knows yet what there is to ask for");
        reloaded.audited(Audit { generation: 2, ..reloaded.monitor.audit().unwrap().clone() });
        assert!(was_asked(&mut reloaded, 3));
    }
}
