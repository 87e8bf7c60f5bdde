//! A relay without ports: its mappings and its store are the real ones, its tables only count.

mod observed;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use control_api::{
    API, Agreement, Announcement, CaptureLine, Code, Committed, CostLoad, Counters, Destination, DigestPart,
    Digests, Drain, DropSample, DropSamples, Drops, Explanation, Failing, Field, Flow, Growth, Health,
    HealthTest, LastExit, LastReload, Leaving, Load, Lookup, Losses, MappingCounters, MappingLoad, Neighbor,
    Neighbors, Path as Way, Phase, Port, PortLoad, PortSummary, Ports, Question, Queues, ReasonLoad, Refusal,
    Reloaded, Route, Routes, Sender, Status, Traffic, Used, Versions, Worker, WorkerLoad, WorkerSummary,
    WorkerView, Workers, path,
};
use eam_store::{Eam, Foreign, Lint, Options, OwnedRow, Owner, Row, Store};
use ipnet::{IpNet, Ipv4Net};
use tokio::sync::mpsc::Receiver;

use crate::mappings::{Change, Mappings, Next, Reach, Rules, Tables};
use crate::{
    CaptureQuery, Entries, Intent, Limits, ListQuery, ListenError, Listener, Page, Peer, Relay, Server,
    Slices, TrafficQuery,
};

/// A relay to talk to.
pub struct FakeRelay {
    mappings: Mappings,
    /// How often tables were published.
    pub published: Arc<AtomicU64>,
    /// Whether tables cannot hold what comes.
    pub refuses: Arc<AtomicBool>,
    /// Changes wait for as long as somebody else has it.
    pub gate: Arc<Mutex<()>>,
    /// Tables do, in the midst of a change.
    pub table_gate: Arc<Mutex<()>>,
    /// Slices of lists of mappings do.
    pub list_gate: Arc<Mutex<()>>,
    /// The lead of a drain, if there is one.
    drained: Mutex<Option<u64>>,
    /// How often the load was asked for.
    reads: AtomicU64,
    /// Revisions that were heard of.
    pub heard: AtomicU64,
}

impl FakeRelay {
    /// With one mapping of a file (`192.0.2.10/32 = 2001:db8:f::10/128`, `eams.csv`, line 3) and what is in the store at `path`,
    /// which is made when there is none.
    ///
    /// # Panics
    /// When the store cannot be opened, or has the mapping of the file.
    #[must_use]
    pub fn new(path: &Path) -> Arc<Self> {
        let options = Options { busy: Duration::from_millis(50), ..Options::default() };
        let opened = Store::open(path, options).expect("the store can be opened");
        let mappings = Mappings::new(opened.store, Arc::new(FakeRules));
        let (ipv4, ipv6) = ("192.0.2.10/32", "2001:db8:f::10/128");
        let eam = Eam::new(ipv4.parse().expect("a prefix"), ipv6.parse().expect("a prefix"));
        let row = eam.and_then(|eam| Row::new(eam, Some("in a file"))).expect("a row");
        let owner = Owner::File { name: "eams.csv".into(), line: 3 };
        let conflicts = mappings.source().accept(Foreign::new([OwnedRow { row, owner }]));
        assert_eq!(conflicts, Ok(Vec::new()));
        let (published, refuses) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (gate, table_gate) = (Arc::<Mutex<()>>::default(), Arc::<Mutex<()>>::default());
        let tables = Counting {
            published: Arc::clone(&published),
            refuses: Arc::clone(&refuses),
            gate: Arc::clone(&gate),
            table_gate: Arc::clone(&table_gate),
        };
        mappings.start(Box::new(tables));
        let (list_gate, drained, reads) = (Arc::default(), Mutex::default(), AtomicU64::new(1));
        Arc::new(Self {
            mappings,
            published,
            refuses,
            gate,
            table_gate,
            list_gate,
            drained,
            reads,
            heard: AtomicU64::new(0),
        })
    }

    /// Serves it at `socket`.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn serve(self: &Arc<Self>, socket: &Path, limits: Limits) -> Result<Server, ListenError> {
        let relay: Arc<dyn Relay> = self.clone();
        Server::start(Listener::bind(socket, None)?, relay, limits)
    }
}

/// Publishes nothing, and counts. One at a time, as the real one.
struct Counting {
    published: Arc<AtomicU64>,
    refuses: Arc<AtomicBool>,
    gate: Arc<Mutex<()>>,
    table_gate: Arc<Mutex<()>>,
}

struct Nothing<'a> {
    is_applied: bool,
    refuses: bool,
    gate: &'a Mutex<()>,
}

impl Next for Nothing<'_> {
    fn apply(&mut self, _: &[Eam], _: &[Eam]) -> Result<(), Refusal> {
        drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        self.is_applied = true;
        let full = || Refusal::new(Code::Refused, "the tables are full", "remove mappings");
        if self.refuses { Err(full()) } else { Ok(()) }
    }
}

impl Tables for Counting {
    fn update(&self, change: Change) -> Result<Reach, Refusal> {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let refuses = self.refuses.load(Ordering::Relaxed);
        let mut next = Nothing { is_applied: false, refuses, gate: &self.table_gate };
        change(&mut next)?;
        if next.is_applied {
            self.published.fetch_add(1, Ordering::Relaxed);
            Ok(Reach::Everywhere)
        } else {
            Ok(Reach::Nowhere)
        }
    }
}

/// Refuses multicast, warns of what is outside the pool.
#[derive(Debug)]
struct FakeRules;

const POOL: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(192, 0, 2, 0), 24);

impl Lint for FakeRules {
    fn check(&self, eam: &Eam) -> Result<Vec<String>, String> {
        if eam.ipv4().network().is_multicast() {
            return Err("is no unicast address".to_owned());
        }
        let warning = "is in no service pool; add it to `service_pools`".to_owned();
        Ok(if POOL.contains(&eam.ipv4()) { Vec::new() } else { vec![warning] })
    }
}

impl Rules for FakeRules {
    fn of_store(&self) -> eam_store::Rules {
        eam_store::Rules { lint: Some(Box::new(Self)), ..eam_store::Rules::default() }
    }

    fn pools(&self) -> Vec<Ipv4Net> {
        vec![POOL]
    }

    fn by_prefix(&self, address: IpAddr) -> Option<(IpAddr, IpNet)> {
        let prefix: ipnet::Ipv6Net = "2001:db8:46::/96".parse().ok()?;
        let result = match address {
            IpAddr::V4(address) => {
                IpAddr::V6((prefix.network().to_bits() | u128::from(address.to_bits())).into())
            }
            IpAddr::V6(address) if prefix.contains(&address) => {
                let low = u32::try_from(address.to_bits() & u128::from(u32::MAX)).ok()?;
                IpAddr::V4(low.into())
            }
            IpAddr::V6(_) => return None,
        };
        Some((result, prefix.into()))
    }
}

fn flow() -> Flow {
    Flow { packets_per_second: 1500, bits_per_second: 768_000, idle_seconds: Some(0) }
}

impl Relay for FakeRelay {
    fn mappings(&self) -> &Mappings {
        &self.mappings
    }

    fn committed(&self, _: &Intent, _: &Committed) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    fn versions(&self) -> Versions {
        Versions {
            program: "borderline".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            build: "fake".into(),
            api: API,
            openapi: path::OPENAPI.into(),
        }
    }

    fn status(&self) -> Result<Status, Refusal> {
        let (revision, staged) = self.mappings.summary();
        let eams = self.mappings.eams(&ListQuery::default())?.slices.flatten().count() as u64;
        let ports = vec![PortSummary {
            name: "v4".into(),
            up: true,
            received: 1_234_567,
            sent: 7,
            receiving: flow(),
            sending: Flow::default(),
        }];
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: 93_784,
            health: Health::Degraded,
            reasons: vec!["port v6 has no link: check its cable".into()],
            revision,
            eams,
            staged,
            ports,
            workers: vec![WorkerSummary { cpu: 1, load: 0.25 }],
            persistent_drops: observed::persistent(),
            service: None,
            generation: 12,
            last_reload: Some(LastReload {
                time: "2026-11-28T19:50:18Z".into(),
                applied: false,
                text: "the configuration is wrong in 2 places".into(),
            }),
            files_changed: vec!["eams.csv".into()],
            last_exit: Some(LastExit {
                time: "2026-11-28T19:49:40Z".into(),
                orderly: false,
                cause: "it was killed".into(),
                ran_seconds: 31,
                pid: 4711,
            }),
            queues: Queues { waiting: 3, oldest_ms: 1500, delivered: 40, expired: 2, ..Queues::default() },
            losses: Losses {
                dropped_rate_1m: 0.25,
                missed: 71,
                no_buffer: 72,
                receive_errors: 73,
                send_errors: 74,
            },
            agreement: Agreement {
                drivers_received: 1_234_567,
                workers_received: 1_234_560,
                drivers_sent: 7,
                workers_sent: 7,
            },
            failing: vec![Failing {
                address: "2001:db8:12:34::7".into(),
                interface: "bl-v6".into(),
                service: Some("192.0.2.7".into()),
                lost: 12,
                since_seconds: 42,
                last_seconds: 4,
            }],
        })
    }

    fn eams(&self, query: &ListQuery) -> Result<Entries, Refusal> {
        let Entries { revision, slices } = self.mappings.eams(query)?;
        let gate = Arc::clone(&self.list_gate);
        let slices = slices.inspect(move |_| drop(gate.lock().unwrap_or_else(PoisonError::into_inner)));
        Ok(Entries { revision, slices: Box::new(slices) })
    }

    fn lookup(&self, address: IpAddr) -> Result<Lookup, Refusal> {
        let worker = WorkerView {
            generation: 12,
            translated: Some("2001:db8::77".into()),
            mapping: Some("192.0.2.77/32 = 2001:db8::77/128".into()),
            next_hop: "ready".into(),
            interface: Some("bl-v6".into()),
            mac: Some("02:00:00:00:00:06".into()),
            mtu: Some(1500),
            route: Some("2001:db8::/64 (kernel, table main, protocol kernel, metric 256)".into()),
        };
        Ok(Lookup { worker: Some(worker), ..self.mappings.lookup(address)? })
    }

    fn reload(&self, _: Peer) -> Result<Reloaded, Refusal> {
        let eams = self.mappings.eams(&ListQuery::default())?.slices.flatten().count() as u64;
        Ok(Reloaded { eams, added: 0, removed: 0, changed: 0, warnings: Vec::new() })
    }

    fn ports(&self) -> Result<Ports, Refusal> {
        Ok(Ports {
            ports: vec![Port {
                name: "v4".into(),
                twin: "bl-v4".into(),
                device: "net_null0".into(),
                driver: "net_null".into(),
                up: true,
                speed_mbps: Some(10_000),
                mac: "02:00:00:00:00:01".into(),
                mtu: 1500,
                queues: 1,
                received: 1_234_567,
                sent: 7,
                missed: 3,
                errors: 2,
                no_mbuf: 1,
                receiving: flow(),
                sending: Flow::default(),
            }],
        })
    }

    fn workers(&self) -> Result<Workers, Refusal> {
        Ok(Workers {
            workers: vec![Worker {
                cpu: 1,
                load: 0.25,
                received: 100,
                sent: 90,
                punted: 6,
                dropped: 4,
                busy_cycles: 1000,
                idle_cycles: 3000,
                packets_per_second: 1500,
                holds_packets_per_second: Some(6000),
            }],
        })
    }

    fn routes(&self, _: u32) -> Result<Routes, Refusal> {
        let paths = vec![Way { interface: "bl-v4".into(), gateway: Some("203.0.113.254".into()), weight: 1 }];
        let route = Route {
            destination: "0.0.0.0/0".into(),
            kind: "unicast".into(),
            metric: 7,
            mtu: Some(1400),
            paths,
            worker: "ready".into(),
        };
        Ok(Routes { routes: vec![route], total: 1 })
    }

    fn neighbors(&self) -> Result<Neighbors, Refusal> {
        let neighbor = Neighbor {
            address: "203.0.113.254".into(),
            interface: "bl-v4".into(),
            state: "reachable".into(),
            mac: Some("02:00:00:00:00:02".into()),
            worker: "ready".into(),
            service: None,
            waiting: 1,
            lost: 0,
        };
        Ok(Neighbors { neighbors: vec![neighbor] })
    }

    fn explain(&self, question: &Question) -> Result<Explanation, Refusal> {
        if question.src.is_none() && question.hex.is_none() {
            return Err(Refusal::new(
                Code::InvalidRequest,
                "the question names no source",
                "give src and dst, or hex",
            ));
        }
        let used = Used {
            entry: "192.0.2.1/32 = 2001:db8:12:34::1/128".into(),
            origin: "relay.toml, line 18".into(),
        };
        let hidden = Used { entry: "192.0.2.0/24 = 2001:db8:12:34::/120".into(), origin: "store".into() };
        let phase = Phase {
            name: "destination".into(),
            result: "2001:db8:12:34::1".into(),
            text: "192.0.2.1 becomes 2001:db8:12:34::1".into(),
            used: Some(used),
            shadowed: vec![hidden],
            section: Some("RFC 7757 3.3.1".into()),
            mtu: None,
        };
        let field = |name: &str, value: &str| Field { name: name.into(), value: value.into() };
        Ok(Explanation {
            verdict: "translated".into(),
            reason: None,
            advice: None,
            phases: vec![phase],
            r#in: question.hex.clone().unwrap_or_else(|| "45000028".into()),
            out: vec!["60000000".into()],
            frame: "020000000001".into(),
            port: question.port.clone().unwrap_or_else(|| "v4".into()),
            before: vec![field("ipv4.ttl", "64")],
            after: vec![Leaving {
                port: "v6".into(),
                frame: "020000000002".into(),
                fields: vec![field("ipv6.hop_limit", "63")],
            }],
            counters: vec![Growth { name: "translated_v4_to_v6".into(), by: 1 }],
            express: true,
            generation: 1,
            sample: None,
        })
    }

    fn counters(&self) -> Result<Counters, Refusal> {
        let counters =
            serde_json::json!({"received": 100, "dropped": {"ttl_exceeded": 4}, "workers": [{"sent": 90}]});
        serde_json::from_value(counters)
            .map_err(|error| Refusal::new(Code::Internal, error.to_string(), "report it"))
    }

    fn drops(&self) -> Result<Drops, Refusal> {
        Ok(observed::drops())
    }

    fn drop_samples(&self, reason: Option<&str>, last: u32) -> Result<DropSamples, Refusal> {
        observed::samples(reason, last)
    }

    fn drop_sample(&self, id: u64) -> Result<Option<DropSample>, Refusal> {
        Ok(observed::sample(id))
    }

    fn capture(&self, query: &CaptureQuery) -> Result<Receiver<CaptureLine>, Refusal> {
        observed::capture(query)
    }

    fn announcement(&self) -> Result<Announcement, Refusal> {
        let drain = self.drained.lock().unwrap_or_else(PoisonError::into_inner).map(|lead| Drain {
            phase: "done".into(),
            seconds: 14,
            lead_seconds: lead,
            quiet_seconds: 3,
        });
        let test = HealthTest {
            name: "link".into(),
            subject: "v6".into(),
            state: "failing".into(),
            since: "2026-11-28T22:36:12Z".into(),
            why: "no link: cable, transceiver or peer".into(),
            scope: "everything".into(),
        };
        let sender = Sender {
            port: "v4".into(),
            router: "02:00:00:00:00:02".into(),
            source: "203.0.113.50".into(),
            samples: 17,
        };
        Ok(Announcement {
            standing: if drain.is_some() { "draining" } else { "withdrawn" }.into(),
            destinations: vec![Destination {
                prefix: "192.0.2.0/24".into(),
                metric: None,
                why: "link, v6: no link".into(),
            }],
            tests: vec![test],
            translated_pps: 1234,
            senders: if drain.is_some() { vec![sender] } else { Vec::new() },
            drain,
        })
    }

    fn drain(&self, _: Peer, lead: Option<Duration>) -> Result<Announcement, Refusal> {
        let lead = lead.map_or(10, |lead| lead.as_secs());
        *self.drained.lock().unwrap_or_else(PoisonError::into_inner) = Some(lead);
        self.announcement()
    }

    fn undrain(&self, _: Peer) -> Result<Announcement, Refusal> {
        *self.drained.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.announcement()
    }

    fn digest(&self) -> Result<Digests, Refusal> {
        // A stand-in for the hash: what two relays hold apart has to show in it, nothing more.
        let mut parts = BTreeMap::<String, Vec<String>>::new();
        for entry in self.mappings.eams(&ListQuery::default())?.slices.flatten() {
            let octets: Vec<&str> = entry.ipv4.split('.').collect();
            let within = format!("{}.{}.0.0/16", octets[0], octets[1]);
            parts.entry(within).or_default().push(format!("{}={}", entry.ipv4, entry.ipv6));
        }
        let part = |(within, entries): (&String, &Vec<String>)| DigestPart {
            within: within.clone(),
            mappings: entries.len() as u64,
            digest: entries.join(" "),
        };
        let parts: Vec<DigestPart> = parts.iter().map(part).collect();
        Ok(Digests {
            digest: parts.iter().map(|part| part.digest.as_str()).collect::<Vec<_>>().join(" "),
            mappings: parts.iter().map(|part| part.mappings).sum(),
            settings: "5e77".into(),
            parts,
        })
    }

    fn load(&self) -> Result<Load, Refusal> {
        Ok(fake_load(self.reads.fetch_add(1, Ordering::Relaxed)))
    }

    fn traffic(&self, query: &TrafficQuery) -> Result<Slices<MappingLoad>, Refusal> {
        let mappings = fake_load(3).mappings;
        let most = query.top.and_then(|top| usize::try_from(top).ok()).unwrap_or(usize::MAX);
        Ok(Box::new(std::iter::once(mappings.into_iter().take(most).collect())))
    }

    fn metrics(&self, accept: &str) -> Result<Page, Refusal> {
        let text = format!(
            "# HELP borderline_fake A fake.\n# TYPE borderline_fake gauge\nborderline_fake {}\n",
            accept.len()
        );
        Ok(Page { content_type: "text/plain; version=0.0.4; charset=utf-8", text: text.into() })
    }
}

/// What moved by the read of that number: a second later each time.
fn fake_load(reads: u64) -> Load {
    let traffic = |factor: u64| Traffic { packets: 1000 * factor * reads, bytes: 100_000 * factor * reads };
    let port = PortLoad {
        name: "v4".into(),
        up: true,
        speed_mbps: Some(10_000),
        receive: traffic(2),
        transmit: traffic(1),
        missed: 0,
        errors: 0,
        no_mbuf: 0,
    };
    let mapping = |ipv4: &str, ipv6: Option<&str>, factor| MappingLoad {
        ipv4: ipv4.into(),
        ipv6: ipv6.map(Into::into),
        owner: ipv6.map(|_| "store".into()),
        v4_to_v6: traffic(factor),
        v6_to_v4: traffic(2 * factor),
    };
    Load {
        at_ns: 1_000_000_000 * reads,
        hertz: 2_000_000_000,
        ports: vec![port],
        workers: vec![WorkerLoad {
            cpu: 1,
            received: 2000 * reads,
            sent: 1000 * reads,
            busy_cycles: 500 * reads,
            idle_cycles: 1500 * reads,
        }],
        costs: vec![CostLoad {
            direction: "v4_to_v6".into(),
            verdict: "translated".into(),
            packets: 10 * reads,
            cycles: 1500 * reads,
        }],
        drops: vec![ReasonLoad { reason: "ttl_exceeded".into(), count: 4 * reads }],
        mapping_counters: MappingCounters::Exact,
        mappings: vec![
            mapping("192.0.2.10/32", Some("2001:db8:f::10/128"), 3),
            mapping("192.0.2.99/32", None, 1),
        ],
    }
}

/// Limits that a test does not have to wait long for.
#[must_use]
pub fn impatient() -> Limits {
    Limits {
        connections: 16,
        head_time: Duration::from_millis(500),
        body_time: Duration::from_millis(500),
        read_time: Duration::from_millis(500),
        body_bytes: 4_000_000,
        changes: 100_000,
        ..Limits::default()
    }
}
