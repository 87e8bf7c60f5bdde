//! A relay without ports: its mappings and its store are the real ones, its tables only count.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use control_api::{
    API, Code, Counters, Health, Neighbor, Neighbors, Path as Way, Port, PortSummary, Ports, Refusal,
    Reloaded, Route, Routes, Status, Versions, Worker, WorkerSummary, Workers, path,
};
use eam_store::{Eam, Foreign, Lint, Options, OwnedRow, Owner, Row, Store};
use ipnet::{IpNet, Ipv4Net};

use crate::mappings::{Change, Mappings, Next, Reach, Rules, Tables};
use crate::{Limits, ListQuery, ListenError, Listener, Peer, Relay, Server};

/// A relay to talk to.
pub struct FakeRelay {
    mappings: Mappings,
    /// How often tables were published.
    pub published: Arc<AtomicU64>,
    /// Whether tables cannot hold what comes.
    pub refuses: Arc<AtomicBool>,
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
        let tables = Counting { published: Arc::clone(&published), refuses: Arc::clone(&refuses) };
        mappings.start(Box::new(tables));
        Arc::new(Self { mappings, published, refuses })
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
}

struct Nothing {
    is_applied: bool,
    refuses: bool,
}

impl Next for Nothing {
    fn apply(&mut self, _: &[Eam], _: &[Eam]) -> Result<(), Refusal> {
        self.is_applied = true;
        let full = || Refusal::new(Code::Refused, "the tables are full", "remove mappings");
        if self.refuses { Err(full()) } else { Ok(()) }
    }
}

impl Tables for Counting {
    fn update(&self, change: Change) -> Result<Reach, Refusal> {
        let mut next = Nothing { is_applied: false, refuses: self.refuses.load(Ordering::Relaxed) };
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

impl Relay for FakeRelay {
    fn mappings(&self) -> &Mappings {
        &self.mappings
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
        let eams = self.mappings.eams(&ListQuery::default())?.entries.count() as u64;
        let ports = vec![PortSummary { name: "v4".into(), up: true, received: 1_234_567, sent: 7 }];
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
        })
    }

    fn reload(&self, _: Peer) -> Result<Reloaded, Refusal> {
        let eams = self.mappings.eams(&ListQuery::default())?.entries.count() as u64;
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
        };
        Ok(Routes { routes: vec![route], total: 1 })
    }

    fn neighbors(&self) -> Result<Neighbors, Refusal> {
        let neighbor = Neighbor {
            address: "203.0.113.254".into(),
            interface: "bl-v4".into(),
            state: "reachable".into(),
            mac: Some("02:00:00:00:00:02".into()),
        };
        Ok(Neighbors { neighbors: vec![neighbor] })
    }

    fn counters(&self) -> Result<Counters, Refusal> {
        let counters =
            serde_json::json!({"received": 100, "dropped": {"ttl_exceeded": 4}, "workers": [{"sent": 90}]});
        serde_json::from_value(counters)
            .map_err(|error| Refusal::new(Code::Internal, error.to_string(), "report it"))
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
