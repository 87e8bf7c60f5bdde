//! A relay without ports: its mappings are the real ones of this crate, its store is memory, and its tables only count.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control_api::{
    API, Candidate, Check, Code, Committed, Counters, Diff, Entry, Finding, Health, History, Lookup,
    Neighbor, Neighbors, Path as Way, Pending, Pools, Port, PortSummary, Ports, Refusal, Reloaded, Revision,
    Route, Routes, State, Status, Versions, Worker, WorkerSummary, Workers, path, rfc3339,
};
use ipnet::{IpNet, Ipv4Net};

use crate::mappings::{
    Awaiting, Change, Delta, Draft, Edit, FileRow, Findings, Mappings, Next, Reach, Row, Rules, Store, Tables,
};
use crate::{Entries, Events, Intent, Limits, ListQuery, ListenError, Listener, Peer, Relay, Server};

/// A relay to talk to.
pub struct FakeRelay {
    mappings: Mappings,
    /// How often tables were published.
    pub published: Arc<AtomicU64>,
}

impl FakeRelay {
    /// With one mapping of a file (`192.0.2.10/32 = 2001:db8:f::10/128`, `eams.csv`, line 3) and an empty store.
    ///
    /// # Panics
    /// Never: its parts go together.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::with(Box::new(MemoryStore::default()))
    }

    /// The same with another store.
    ///
    /// # Panics
    /// When the store has the mapping of the file, or cannot be read.
    #[must_use]
    pub fn with(mut store: Box<dyn Store>) -> Arc<Self> {
        let stored = store.rows().expect("the store can be read");
        let mappings = Mappings::new(Some(store), Arc::new(FakeRules));
        let row = |ipv4: &str, ipv6: &str| Row {
            ipv4: ipv4.parse().expect("a prefix"),
            ipv6: ipv6.parse().expect("a prefix"),
            comment: Some("in a file".into()),
        };
        let rows = vec![FileRow { row: row("192.0.2.10/32", "2001:db8:f::10/128"), file: 0, line: 3 }];
        let files: Arc<[String]> = ["eams.csv".to_owned()].into();
        mappings.source().accept(&files, rows, Some(stored), None).expect("no mapping is there twice");
        let published = Arc::<AtomicU64>::default();
        mappings.start(Box::new(Counting(Arc::clone(&published)))).expect("nothing stands in its way");
        Arc::new(Self { mappings, published })
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

/// Publishes nothing, and counts.
struct Counting(Arc<AtomicU64>);

struct Nothing(bool);

impl Next for Nothing {
    fn apply(&mut self, _: &Delta) -> Result<(), Refusal> {
        self.0 = true;
        Ok(())
    }
}

impl Tables for Counting {
    fn update(&self, change: Change) -> Result<Reach, Refusal> {
        let mut next = Nothing(false);
        change(&mut next)?;
        if next.0 {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Reach::Everywhere)
        } else {
            Ok(Reach::Nowhere)
        }
    }
}

/// Refuses multicast, warns of what is outside the pool.
struct FakeRules;

const POOL: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(192, 0, 2, 0), 24);

impl Rules for FakeRules {
    fn check(&self, rows: &[Row], new: usize) -> Findings {
        let mut findings = Findings::default();
        for row in &rows[..new] {
            let finding = |message: &str, remedy: &str| Finding {
                line: None,
                value: format!("{} = {}", row.ipv4, row.ipv6),
                message: message.to_owned(),
                remedy: remedy.to_owned(),
            };
            if row.ipv4.network().is_multicast() {
                findings.problems.push(finding("is no unicast address", "map a unicast address"));
            }
            if !POOL.contains(&row.ipv4) {
                findings.warnings.push(finding("is in no service pool", "add it to `service_pools`"));
            }
        }
        findings.more = findings.warnings.len().saturating_sub(100) as u64;
        findings.warnings.truncate(100);
        findings
    }

    fn pools(&self) -> &[Ipv4Net] {
        &[POOL]
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

/// Revisions in memory, shared by its clones: what is left when a relay ends.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    revisions: Vec<(Revision, Delta)>,
    keys: HashMap<String, u64>,
    awaiting: Option<Awaiting>,
    /// Refuse the next commit, with this as its reason.
    broken: Option<String>,
}

impl MemoryStore {
    /// From now on every commit fails with this reason; none mends it.
    pub fn break_with(&self, reason: Option<&str>) {
        self.memory().broken = reason.map(ToOwned::to_owned);
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn rows(&self, to: u64) -> HashMap<Ipv4Net, Row> {
        let mut rows = HashMap::new();
        for (_, delta) in self.revisions.iter().take_while(|(revision, _)| revision.id <= to) {
            delta.removed.iter().for_each(|row| drop(rows.remove(&row.ipv4)));
            let there = delta.added.iter().chain(delta.changed.iter().map(|(_, to)| to));
            rows.extend(there.map(|row| (row.ipv4, row.clone())));
        }
        rows
    }

    fn head(&self) -> Revision {
        self.revisions.last().map_or_else(first, |(revision, _)| revision.clone())
    }
}

/// The revision of an empty store.
fn first() -> Revision {
    Revision {
        id: 0,
        parent: None,
        time: rfc3339(0),
        uid: None,
        pid: None,
        comment: String::new(),
        added: 0,
        removed: 0,
        changed: 0,
        digest: digest(std::iter::empty()),
        state: State::Committed,
    }
}

/// Additive, so the order does not matter.
fn digest<'r>(rows: impl Iterator<Item = &'r Row>) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let sum = rows.fold(0_u64, |sum, row| {
        let mut hasher = DefaultHasher::new();
        (row.ipv4, row.ipv6, &row.comment).hash(&mut hasher);
        sum.wrapping_add(hasher.finish())
    });
    format!("{sum:016x}")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Store for MemoryStore {
    fn head(&self) -> Revision {
        self.memory().head()
    }

    fn rows(&mut self) -> Result<Vec<Row>, Refusal> {
        Ok(self.memory().rows(u64::MAX).into_values().collect())
    }

    fn commit(&mut self, draft: &Draft<'_>) -> Result<Revision, Refusal> {
        let mut memory = self.memory();
        if let Some(reason) = &memory.broken {
            return Err(Refusal::new(Code::Unavailable, reason.clone(), "free space and try again"));
        }
        let head = memory.head();
        let mut revision = Revision {
            id: head.id + 1,
            parent: Some(head.id),
            time: rfc3339(now()),
            uid: draft.peer.map(|peer| peer.uid),
            pid: draft.peer.and_then(|peer| peer.pid),
            comment: draft.comment.to_owned(),
            added: draft.delta.added.len() as u64,
            removed: draft.delta.removed.len() as u64,
            changed: draft.delta.changed.len() as u64,
            digest: String::new(),
            state: draft.state,
        };
        memory.revisions.push((revision.clone(), draft.delta.clone()));
        revision.digest = digest(memory.rows(u64::MAX).values());
        let back_to = memory.awaiting.as_ref().map_or(u64::MAX, |awaiting| awaiting.back_to);
        for (earlier, _) in &mut memory.revisions {
            if draft.reverts && earlier.id > back_to && earlier.state == State::Pending {
                earlier.state = State::Reverted;
            }
        }
        let last = memory.revisions.last_mut().expect("it was just pushed");
        last.0 = revision.clone();
        memory.awaiting = draft.pending.map(|(back_to, within)| Awaiting {
            revision: revision.clone(),
            back_to,
            until: now() + within.as_secs(),
        });
        if let Some(key) = draft.key {
            memory.keys.insert(key.to_owned(), revision.id);
        }
        Ok(revision)
    }

    fn by_key(&mut self, key: &str) -> Result<Option<Revision>, Refusal> {
        let memory = self.memory();
        let id = memory.keys.get(key).copied();
        Ok(memory
            .revisions
            .iter()
            .map(|(revision, _)| revision)
            .find(|revision| Some(revision.id) == id)
            .cloned())
    }

    fn history(&mut self, before: Option<u64>, limit: u32) -> Result<Vec<Revision>, Refusal> {
        let memory = self.memory();
        let all = memory.revisions.iter().rev().map(|(revision, _)| revision);
        let older = all.filter(|revision| before.is_none_or(|before| revision.id < before));
        Ok(older.take(limit.try_into().unwrap_or(usize::MAX)).cloned().collect())
    }

    fn delta(&mut self, from: u64, to: u64) -> Result<Delta, Refusal> {
        let memory = self.memory();
        let last = memory.head().id;
        if let Some(missing) = [from, to].into_iter().find(|id| *id > last) {
            let remedy = "`borderctl history` lists them";
            return Err(Refusal::new(Code::NotFound, format!("there is no revision {missing}"), remedy));
        }
        let (from, mut to) = (memory.rows(from), memory.rows(to));
        let mut delta = Delta::default();
        for (ipv4, row) in from {
            match to.remove(&ipv4) {
                Some(other) if other != row => delta.changed.push((row, other)),
                Some(_) => {}
                None => delta.removed.push(row),
            }
        }
        delta.added = to.into_values().collect();
        delta.added.sort_by_key(|row| row.ipv4);
        delta.removed.sort_by_key(|row| row.ipv4);
        Ok(delta)
    }

    fn awaiting(&mut self) -> Result<Option<Awaiting>, Refusal> {
        Ok(self.memory().awaiting.clone())
    }

    fn confirm(&mut self) -> Result<Revision, Refusal> {
        let mut memory = self.memory();
        memory.awaiting = None;
        for (revision, _) in &mut memory.revisions {
            if revision.state == State::Pending {
                revision.state = State::Confirmed;
            }
        }
        Ok(memory.head())
    }
}

impl Relay for FakeRelay {
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
        let (revision, eams, staged) = self.mappings.summary()?;
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

    fn revision(&self) -> u64 {
        self.mappings.revision()
    }

    fn eams(&self, query: &ListQuery) -> Result<Entries, Refusal> {
        Ok(self.mappings.eams(query))
    }

    fn eam(&self, prefix: IpNet) -> Result<Entry, Refusal> {
        self.mappings.eam(prefix)
    }

    fn lookup(&self, address: IpAddr) -> Result<Lookup, Refusal> {
        Ok(self.mappings.lookup(address))
    }

    fn pools(&self) -> Result<Pools, Refusal> {
        Ok(self.mappings.pools())
    }

    fn change(&self, intent: &Intent, edits: Vec<Edit>, replace: bool) -> Result<Committed, Refusal> {
        self.mappings.change(intent, edits, replace)
    }

    fn stage(&self, intent: &Intent, edits: Vec<Edit>, replace: bool) -> Result<Committed, Refusal> {
        self.mappings.stage(intent, &edits, replace)
    }

    fn candidate(&self) -> Result<Candidate, Refusal> {
        self.mappings.candidate()
    }

    fn discard(&self) -> Result<Candidate, Refusal> {
        self.mappings.discard()
    }

    fn commit(&self, intent: &Intent) -> Result<Committed, Refusal> {
        self.mappings.commit(intent)
    }

    fn pending(&self) -> Result<Option<Pending>, Refusal> {
        self.mappings.pending()
    }

    fn confirm(&self, intent: &Intent) -> Result<Revision, Refusal> {
        self.mappings.confirm(intent)
    }

    fn rollback(&self, intent: &Intent, to: u64) -> Result<Committed, Refusal> {
        self.mappings.rollback(intent, to)
    }

    fn check(&self) -> Result<Check, Refusal> {
        self.mappings.check()
    }

    fn diff(&self, from: u64, to: Option<u64>) -> Result<Diff, Refusal> {
        self.mappings.diff(from, to)
    }

    fn history(&self, before: Option<u64>, limit: u32) -> Result<History, Refusal> {
        self.mappings.history(before, limit)
    }

    fn reload(&self, _: Peer) -> Result<Reloaded, Refusal> {
        let (_, eams, _) = self.mappings.summary()?;
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
        let paths = vec![Way { interface: "bl-v4".into(), gateway: Some("203.0.113.254".into()) }];
        let route = Route { destination: "0.0.0.0/0".into(), kind: "unicast".into(), mtu: Some(1400), paths };
        Ok(Routes { routes: vec![route], total: 1 })
    }

    fn neighbors(&self) -> Result<Neighbors, Refusal> {
        let neighbor = Neighbor {
            address: "203.0.113.254".into(),
            interface: "bl-v4".into(),
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

    fn events(&self) -> Events {
        self.mappings.events()
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
