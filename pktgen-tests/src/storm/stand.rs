//! The wires, the relay, the sessions, and the witnesses of one storm.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::flow::{Flow, RATE};
use super::{OWN_TURN, Row};
use crate::lab::{
    Cmd, Config, Daemon, Driver, LabError, Longest, Namespace, PATIENCE, Port, RawLink, Relay, bird,
    embedded, veth, wait_until,
};

/// Where the storms come from, IPv4.
pub(super) const ATTACKER4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 50);
/// Where the storms come from, IPv6.
pub(super) const ATTACKER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x34, 0, 0, 0, 1);
/// The service address of [`ATTACKER6`].
pub(super) const SERVICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The witness on the IPv4 side.
pub(super) const WATCHER4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 50);
/// The witness on the IPv6 side, and its service address.
const WATCHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x56, 0, 0, 0, 0, 1);
const WATCHED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 201);
/// Cold hosts on the attacked IPv6 link: 2001:db8:12:34::c:1 and on, with the service addresses 192.0.2.101 and on.
pub(super) const COLD: u8 = 15;
/// The MTU of the attacked IPv6 port: less than what the attacked IPv4 port lets in.
pub(super) const SMALL_MTU: u32 = 1400;
/// Resident memory may grow by this much, in kB: what a flood makes the allocator keep, not what grows with it.
const FLAT_KB: u64 = 32 * 1024;
/// A turn of the control thread may take this of its own.
const TURN_LIMIT: Duration = Duration::from_millis(5);
/// The interfaces of the relay's kernel.
pub(super) const TWINS: [&str; 4] = ["bl-a4", "bl-a6", "bl-w4", "bl-w6"];

/// The service address of a cold host.
pub(super) fn cold_service(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 100 + number)
}

/// A cold host on the attacked IPv6 link.
pub(super) fn cold_ipv6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x34, 0, 0, 0xc, u16::from(number))
}

/// Everything of one storm. Fields are dropped in order: processes before their namespaces.
pub(super) struct Stand {
    pub(super) relay: Relay,
    routers: Routers,
    /// Link-layer addresses of the twins of a4 and a6.
    pub(super) macs: [[u8; 6]; 2],
    pub(super) wires: Wires,
}

/// The namespaces and what connects them.
pub(super) struct Wires {
    pub(super) attack4: Namespace,
    pub(super) attack6: Namespace,
    watch4: Namespace,
    watch6: Namespace,
    pub(super) relay_ns: Namespace,
}

/// The routing daemons: the relay's, and one at each watcher.
pub(super) struct Routers(Vec<Daemon>);

/// The state of the witnesses before a storm.
pub(super) struct Watch {
    flows: [Flow; 2],
    sessions: Vec<Session>,
    resident: u64,
}

impl Stand {
    /// Lays it out, starts the relay, and waits until every session is up.
    pub(super) fn up() -> Result<Self, LabError> {
        let wires = Wires::lay()?;
        let relay = Relay::start(&wires.relay_ns, &config())?;
        wires.address_twins()?;
        // The relay's worker and the routing daemons have processors of their own on a real box, but not here.
        relay.prefer()?;
        let routers = Routers::start(&wires)?;
        let macs = ["bl-a4", "bl-a6"].map(|twin| RawLink::open(&wires.relay_ns, twin).map(|link| link.mac()));
        let [a4, a6] = macs;
        Ok(Self { relay, routers, macs: [a4?, a6?], wires })
    }

    /// Lets the witnesses begin.
    pub(super) fn watch(&mut self) -> Result<Watch, LabError> {
        Ok(Watch {
            flows: self.wires.flows()?,
            sessions: self.routers.sessions()?,
            resident: self.resident(),
        })
    }

    /// What the witnesses saw, after a storm named `storm`.
    pub(super) fn judge(&mut self, storm: &str, watch: Watch) -> Result<Vec<Row>, LabError> {
        let flows = watch.flows.map(Flow::finish);
        let sessions = self.routers.sessions()?;
        if !self.relay.is_running() {
            return Err(self.relay.error(&format!("has ended during {storm}")));
        }
        let counters = self.relay.counters()?;
        let grown = self.resident().saturating_sub(watch.resident);
        let row = |witness: &str, limit: &str, measured: String, held: bool| Row {
            storm: storm.into(),
            witness: witness.into(),
            limit: limit.into(),
            measured,
            held,
        };
        let lost: u64 = flows.iter().map(|seen| seen.lost).sum();
        let sent: u64 = flows.iter().map(|seen| seen.sent).sum();
        let longest = |turns: Longest| Duration::from_micros(turns.actor.max(turns.kernel));
        let (elapsed, own) = (longest(counters.longest_us), longest(counters.longest_own_us));
        let gone = Session::lost(&watch.sessions, &sessions);
        let up = if gone.is_empty() {
            format!("{} up all the time", sessions.len())
        } else {
            format!("lost {gone:?}")
        };
        let sum = format!(
            "{} + {} = {} + {} + {}",
            counters.received,
            counters.originated,
            counters.sent,
            counters.punted_total(),
            counters.dropped_total()
        );
        Ok(vec![
            row("BGP and BFD at 3 x 100 ms, both families", "stay up", up, gone.is_empty()),
            row(
                OWN_TURN,
                &format!("{} ms of its own", TURN_LIMIT.as_millis()),
                format!("{own:.1?} of its own, {elapsed:.1?} by the clock"),
                own <= TURN_LIMIT,
            ),
            row(
                &format!("{RATE} packets/s in each direction"),
                "none lost",
                format!("{lost} of {sent} lost"),
                lost == 0,
            ),
            row("received + originated = sent + punted + dropped", "equal", sum, counters.balance()),
            row(
                "resident memory",
                "grows by 32 MB at most",
                format!("+{} MB", grown / 1024),
                grown <= FLAT_KB,
            ),
        ])
    }

    /// Resident memory in kB.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.relay.pid())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

impl Wires {
    /// Makes the namespaces and gives the hosts their addresses.
    pub(super) fn lay() -> Result<Self, LabError> {
        let wires = Self {
            attack4: Namespace::new("attack4")?,
            attack6: Namespace::new("attack6")?,
            watch4: Namespace::new("watch4")?,
            watch6: Namespace::new("watch6")?,
            relay_ns: Namespace::new("relay")?,
        };
        let hosts = [
            (&wires.attack4, "a4", 1500),
            (&wires.attack6, "a6", SMALL_MTU),
            (&wires.watch4, "w4", 1500),
            (&wires.watch6, "w6", 1500),
        ];
        for (host, name, mtu) in hosts {
            let relay_end = format!("r{name}");
            veth(host, name, &wires.relay_ns, &relay_end, mtu)?;
            host.plain_frames(name)?;
            wires.relay_ns.deafen(&relay_end)?;
        }
        address(&wires.attack4, "a4", &[format!("{ATTACKER4}/24")], "default via 203.0.113.1")?;
        address(&wires.watch4, "w4", &[format!("{WATCHER4}/24")], "default via 198.51.100.1")?;
        let cold = (1..=COLD).map(|number| format!("{}/64 nodad", cold_ipv6(number)));
        let attacked: Vec<String> = std::iter::once(format!("{ATTACKER6}/64 nodad")).chain(cold).collect();
        address(&wires.attack6, "a6", &attacked, "2001:db8:46::/96 via 2001:db8:12:34::ffff")?;
        let watcher = format!("{WATCHER6}/64 nodad");
        address(&wires.watch6, "w6", &[watcher], "2001:db8:46::/96 via 2001:db8:56::ffff")?;
        Ok(wires)
    }

    /// What an operator does once the relay is there.
    pub(super) fn address_twins(&self) -> Result<(), LabError> {
        let addresses = [
            "203.0.113.1/24 dev bl-a4",
            "10.9.0.1/16 dev bl-a4",
            "198.51.100.1/24 dev bl-w4",
            "2001:db8:12:34::ffff/64 dev bl-a6 nodad",
            "2001:db8:56::ffff/64 dev bl-w6 nodad",
        ];
        for address in addresses {
            self.relay_ns.ip(&format!("addr add {address}"))?;
        }
        TWINS.iter().try_for_each(|twin| self.relay_ns.ip(&format!("link set {twin} up")).map(drop))
    }

    /// Starts the witness flows, one in each direction.
    pub(super) fn flows(&self) -> Result<[Flow; 2], LabError> {
        let there = Flow::start(
            (&self.watch4, WATCHER4.into()),
            SocketAddr::new(WATCHED.into(), 7001),
            (&self.watch6, WATCHER6.into()),
        )?;
        let back = Flow::start(
            (&self.watch6, WATCHER6.into()),
            SocketAddr::new(embedded(WATCHER4).into(), 7002),
            (&self.watch4, WATCHER4.into()),
        )?;
        Ok([there, back])
    }
}

impl Routers {
    /// Starts them and waits until every session is up.
    pub(super) fn start(wires: &Wires) -> Result<Self, LabError> {
        let (relay4, watch4) = (("198.51.100.1", 64512), ("198.51.100.50", 64513));
        let (relay6, watch6) = (("2001:db8:56::ffff", 64512), ("2001:db8:56::1", 64514));
        let routers = Self(vec![
            bird(&wires.relay_ns, &router(1, &[("ipv4", relay4, watch4), ("ipv6", relay6, watch6)]))?,
            bird(&wires.watch4, &router(2, &[("ipv4", watch4, relay4)]))?,
            bird(&wires.watch6, &router(3, &[("ipv6", watch6, relay6)]))?,
        ]);
        for router in &routers.0 {
            Cmd::new("renice").args("-n -15 -p").arg(router.pid().to_string()).ok()?;
        }
        if wait_until(2 * PATIENCE, || routers.sessions().is_ok_and(|all| all.len() == 4)) {
            return Ok(routers);
        }
        let seen = routers.0.iter().map(|router| router.birdc("show protocols").unwrap_or_default());
        let what = "BGP with BFD to come up".into();
        Err(LabError::TooSlow { what, after: 2 * PATIENCE, output: seen.collect() })
    }

    /// The sessions that are up, BFD and BGP, as the relay's router sees them.
    pub(super) fn sessions(&self) -> Result<Vec<Session>, LabError> {
        let fields = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
        let up = |line: Vec<String>, word: &str, since: usize| {
            line.iter().any(|field| field == word).then(|| Session::read(&line, since)).flatten()
        };
        // IP address, interface, state, since, ... and name, proto, table, state, since, info.
        let bfd = self.0[0].birdc("show bfd sessions")?;
        let bgp = self.0[0].birdc("show protocols")?;
        let bfd = bfd.lines().filter_map(|line| up(fields(line), "Up", 3));
        Ok(bfd.chain(bgp.lines().filter_map(|line| up(fields(line), "Established", 4))).collect())
    }
}

/// One session that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    name: String,
    /// Milliseconds of the day since when.
    since: u64,
}

impl Session {
    /// A line of birdc whose fields `since` and the next are date and time.
    fn read(line: &[String], since: usize) -> Option<Self> {
        let (seconds, milliseconds) = line.get(since + 1)?.split_once('.')?;
        let seconds =
            seconds.split(':').try_fold(0, |sum, part| Some(sum * 60 + part.parse::<u64>().ok()?))?;
        Some(Self { name: line.first()?.clone(), since: seconds * 1000 + milliseconds.parse::<u64>().ok()? })
    }

    /// Whether it is the same session, never gone in between: the daemon reckons back from the age, so that what it says
    /// wavers by a millisecond, and a session that was lost takes seconds to come back.
    fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.since.abs_diff(other.since) < 50
    }

    /// Those of `before` that are not among `after`.
    pub(super) fn lost<'a>(before: &'a [Self], after: &[Self]) -> Vec<&'a str> {
        let gone = before.iter().filter(|session| !after.iter().any(|other| other.is(session)));
        gone.map(|session| session.name.as_str()).collect()
    }
}

fn address(host: &Namespace, interface: &str, addresses: &[String], route: &str) -> Result<(), LabError> {
    for address in addresses {
        host.ip(&format!("addr add {address} dev {interface}"))?;
    }
    host.ip(&format!("route add {route}")).map(drop)
}

pub(super) fn config() -> Config {
    let port = |name: &str, mtu| Port { name: name.into(), interface: format!("r{name}"), mtu };
    let pair = |ipv4: Ipv4Addr, ipv6: Ipv6Addr| (format!("{ipv4}/32"), format!("{ipv6}/128"));
    let mut eams = vec![pair(SERVICE, ATTACKER6), pair(WATCHED, WATCHER6)];
    eams.extend((1..=COLD).map(|number| pair(cold_service(number), cold_ipv6(number))));
    Config {
        driver: Driver::AfXdp,
        workers: vec![1],
        ports: vec![port("a4", 1500), port("a6", SMALL_MTU), port("w4", 1500), port("w6", 1500)],
        prefix: "2001:db8:46::/96".into(),
        translation: String::new(),
        eams,
    }
}

/// Family, own address and AS, the peer's.
type Peering<'a> = (&'a str, (&'a str, u32), (&'a str, u32));

fn router(id: u32, sessions: &[Peering<'_>]) -> String {
    let mut text = format!(
        "router id 10.0.0.{id};\ntimeformat protocol iso long ms;\nprotocol device {{}}\n\
         protocol bfd {{ interface \"*\" {{ min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }}; }}\n"
    );
    for (family, (own, own_as), (peer, peer_as)) in sessions {
        text += &format!(
            "protocol bgp peer_{family} {{ local {own} as {own_as}; neighbor {peer} as {peer_as}; bfd on; \
             connect delay time 1; connect retry time 2; error wait time 1, 2; {family} {{ import all; export all; }}; }}\n"
        );
    }
    text
}
