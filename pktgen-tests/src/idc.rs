//! The data centre of RFC 7755 appendix A: two relays between the IPv4 Internet and an IPv6-only network, routing daemons
//! with the kits of `config/`, two tenants with real servers, and their Edge Relays (RFC 7756).
//!
//! ```text
//!  client4 --- inet4 === br1, br2 === dc === lan-a: www, mta, ftp-a + er-a      addresses: figure 4
//!                                     |  === lan-b: www-lb, web, er-b --- ftp-b
//!  client6 ------------- inet6 -------+
//! ```
//!
//! [`Idc::up`] lays it out and waits until everything is reachable; dropping it takes everything down. `scripts/lab`
//! keeps one running in the background ([`keeper`]); [`scenario`] breaks parts of it and counts what that costs.

pub mod cli;
mod daemons;
mod edge;
pub mod keeper;
mod kit;
mod page;
mod relays;
pub mod scenario;
mod servers;
pub mod status;
mod topology;
mod traffic;

use std::time::Duration;

use crate::lab::{Evidence, LabError, Namespace, PATIENCE, Relay, wait_until};

pub use kit::{Kit, Routing, Suite};
pub use servers::{LARGE, large};
pub use topology::{CLIENT4, CLIENT6, Nodes};

use daemons::Router;
use servers::Servers;

/// A running data centre. Fields are dropped in order: processes before their namespaces.
pub struct Idc {
    /// What routes.
    pub suite: Suite,
    relays: Vec<Option<Relay>>,
    edges: Vec<Relay>,
    routers: Vec<Router>,
    tenants: Option<Servers>,
    evidence: Evidence,
    files: relays::Files,
    nodes: Nodes,
}

/// Where frames are recorded: every way between an IPv4 client and tenant A's Edge Relay.
const RECORDED: [(&str, &str); 7] = [
    ("client4", "net"),
    ("inet4", "br1"),
    ("inet4", "br2"),
    ("dc", "br1"),
    ("dc", "br2"),
    ("dc", "a-ftp"),
    ("ftp-a", "er4"),
];

/// Which of the two relays.
pub type Side = usize;

impl Idc {
    /// Lays everything out, starts every process, and waits until routes are there.
    ///
    /// # Errors
    /// When something refuses to start, or routes do not come up within 40 seconds.
    pub fn up(suite: Suite) -> Result<Self, LabError> {
        Self::start(suite, true)
    }

    /// The same without the tenants' servers and Edge Relays, for what is about routes only.
    ///
    /// # Errors
    /// As [`Idc::up`].
    pub fn routers(suite: Suite) -> Result<Self, LabError> {
        Self::start(suite, false)
    }

    fn start(suite: Suite, with_tenants: bool) -> Result<Self, LabError> {
        crate::lab::sweep();
        let nodes = Nodes::lay()?;
        let files = relays::Files::new()?;
        let mut idc = Self {
            suite,
            relays: vec![None, None],
            edges: Vec::new(),
            routers: Vec::new(),
            tenants: if with_tenants { Some(Servers::start(&nodes)?) } else { None },
            evidence: Evidence::default(),
            files,
            nodes,
        };
        for side in 0..2 {
            idc.start_relay(side)?;
        }
        if with_tenants {
            idc.edges = edge::start(&idc.nodes)?;
        }
        idc.routers = daemons::start(&idc.nodes, suite)?;
        idc.converged(2 * PATIENCE)?;
        Ok(idc)
    }

    /// From now on frames are recorded, for [`Idc::keep_evidence`].
    pub fn record(&mut self) {
        self.evidence =
            Evidence::record(&RECORDED.map(|(node, interface)| (self.nodes.get(node), interface)));
    }

    /// Keeps what may tell why a test failed, and says where.
    pub fn keep_evidence(&mut self) {
        let mut text: String =
            self.routers.iter().map(|router| format!("# {}\n{}", router.node(), router.log())).collect();
        for relay in self.relays.iter_mut().flatten().chain(&mut self.edges) {
            relay.counters().ok();
            text += &format!("# relay {}\n{}", relay.pid(), relay.log());
        }
        let nodes: Vec<&Namespace> = self.nodes.iter().map(|(_, node)| node).collect();
        match self.evidence.keep(&text, &nodes) {
            Ok(place) => eprintln!("counters, logs and captures are in {}", place.display()),
            Err(error) => eprintln!("the evidence of this failure is lost: {error}"),
        }
    }

    /// A node's namespace.
    #[must_use]
    pub fn node(&self, name: &str) -> &Namespace {
        self.nodes.get(name)
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// The tenants' servers.
    ///
    /// # Panics
    /// When there are only routers: a mistake in the test.
    #[must_use]
    pub const fn servers(&self) -> &Servers {
        self.tenants.as_ref().expect("the tenants are there")
    }

    /// A relay.
    ///
    /// # Panics
    /// When it is not running: a mistake in the test.
    pub fn relay(&mut self, side: Side) -> &mut Relay {
        self.relays[side].as_mut().expect("the relay is running")
    }

    /// Takes a relay out, to end it.
    ///
    /// # Panics
    /// When it is not running: a mistake in the test.
    pub fn take_relay(&mut self, side: Side) -> Relay {
        self.relays[side].take().expect("the relay is running")
    }

    /// An Edge Relay: 0 is tenant A's, 1 is tenant B's.
    pub fn edge(&mut self, tenant: usize) -> &mut Relay {
        &mut self.edges[tenant]
    }

    /// Starts a relay that is not running, as an operator would: process, then addresses of the twins.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_relay(&mut self, side: Side) -> Result<(), LabError> {
        let relay = self.files.start(&self.nodes, side)?;
        daemons::first(relay.pid())?;
        relays::address(&self.nodes, side)?;
        self.relays[side] = Some(relay);
        Ok(())
    }

    /// Starts another process that stands by for a relay; it is ready when this returns.
    ///
    /// # Errors
    /// When it is not.
    pub fn stand_by(&self, side: Side) -> Result<Relay, LabError> {
        let next = self.files.stand_by(&self.nodes, side)?;
        daemons::first(next.pid())?;
        Ok(next)
    }

    /// One that stood by is the relay now: waits until it translates. There is nothing to be done about addresses.
    ///
    /// # Errors
    /// When it does not.
    pub fn succeed(&mut self, side: Side, mut next: Relay) -> Result<(), LabError> {
        next.has_taken_over()?;
        self.relays[side] = Some(next);
        Ok(())
    }

    /// The control socket of a relay.
    #[must_use]
    pub fn socket(&self, side: Side) -> std::path::PathBuf {
        self.files.socket(side)
    }

    /// Waits until both Internets, both relays and the data centre know all routes.
    ///
    /// # Errors
    /// When they do not within `patience`; what is missing, and what the daemons say.
    pub fn converged(&self, patience: Duration) -> Result<(), LabError> {
        if wait_until(patience, || self.missing().is_empty()) {
            return Ok(());
        }
        let told: Vec<String> = self.routers.iter().map(Router::summary).collect();
        Err(LabError::TooSlow {
            what: format!("routes of {}", self.missing().join(", ")),
            after: patience,
            output: told.join("\n"),
        })
    }

    /// Who lacks which route.
    fn missing(&self) -> Vec<String> {
        topology::ROUTES
            .iter()
            .filter(|(node, prefix, by)| self.ways(node, prefix) != *by)
            .map(|(node, prefix, _)| format!("{node} to {prefix}"))
            .collect()
    }

    /// The interfaces over which a node's kernel sends to a prefix, in order.
    #[must_use]
    pub fn ways(&self, node: &str, prefix: &str) -> Vec<String> {
        let family = if prefix.contains(':') { "-6" } else { "-4" };
        // `show ::/0` would list everything.
        let wanted = if prefix.ends_with("/0") { "default" } else { prefix };
        let text = self.node(node).ip(&format!("{family} route show {wanted}")).unwrap_or_default();
        let words: Vec<&str> = text.split_whitespace().collect();
        let dead = |at: usize| words.get(at + 2).is_some_and(|word| *word == "dead");
        let mut ways: Vec<String> = (0..words.len().saturating_sub(1))
            .filter(|at| words[*at] == "dev" && !dead(*at))
            .map(|at| words[at + 1].to_owned())
            .collect();
        ways.sort();
        ways.dedup();
        ways
    }

    /// The interfaces of inet4 over which packets go to the relays, or of dc: frames each has sent so far.
    #[must_use]
    pub fn sent_to_relays(&self, router: &str) -> [u64; 2] {
        ["br1", "br2"].map(|interface| self.nodes.sent(router, interface))
    }
}

impl Drop for Idc {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_evidence();
        }
    }
}
