//! From what the control actor sees to the states of the tests.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dataplane::table::fib::{Fib, Path};
use ipnet::IpNet;

use super::audit::Audit;
use super::board::{Board, Scope, TestName, TestState, Unfit};
use super::probes::Probes;
use crate::config::DefaultRoute;
use crate::kernel::PREFIX;

/// A worker that has counted nothing for so long hangs. Idle ones count many times in it, and so do those that share their CPU
/// with a dozen others. BFD over the twins is faster by far; this is for what BFD does not reach.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// What the control thread itself was late by, beyond this, is nobody's silence: it did not look.
const GRACE: Duration = Duration::from_millis(200);
/// The control thread is late when it was kept for so long. The watchdog takes the announcement down after the same time.
const LATE: Duration = Duration::from_secs(3);
/// And in time again when it was in time for so long.
const IN_TIME: Duration = Duration::from_secs(5);
/// A destination that only a default route leads to: reserved (RFC 1112 4), and not allocated.
const FAR_IPV4: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(240, 0, 0, 1));
const FAR_IPV6: std::net::IpAddr = std::net::IpAddr::V6(std::net::Ipv6Addr::new(0x4000, 0, 0, 0, 0, 0, 0, 1));

/// A worker's count of cycles.
#[derive(Debug, Clone, Copy)]
pub struct WorkerBeat {
    /// Its CPU.
    pub cpu: u16,
    /// Busy and idle cycles so far.
    pub cycles: u64,
}

/// A port's cable.
#[derive(Debug, Clone, Copy)]
pub struct PortLink<'a> {
    /// The port's name.
    pub name: &'a str,
    /// Whether frames can pass; none as long as nobody knows.
    pub up: Option<bool>,
    /// Whether the workers drop what comes by it because its twin is down.
    pub twin_down: bool,
}

/// What the control actor sees.
pub struct Observed<'a> {
    /// The kernel's routes have been read.
    pub translating: bool,
    /// The workers, in their order.
    pub workers: Vec<WorkerBeat>,
    /// The ports, in their order.
    pub ports: Vec<PortLink<'a>>,
    /// The routes in use.
    pub fib: &'a Fib,
    /// What leads here.
    pub destinations: &'a BTreeSet<IpNet>,
}

/// Makes the tests.
pub struct Monitor {
    /// Their states.
    pub board: Board,
    /// The packets of the relay's own.
    pub probes: Probes,
    default_route: DefaultRoute,
    beats: Vec<(u64, Instant)>,
    /// In which family there has been a default route.
    seen: [bool; 2],
    audit: Option<Audit>,
    last_look: Option<Instant>,
    late: Option<(Instant, Duration)>,
}

impl Monitor {
    /// For so many workers.
    #[must_use]
    pub fn new(workers: usize, default_route: DefaultRoute) -> Self {
        Self {
            board: Board::default(),
            probes: Probes::new(workers),
            default_route,
            beats: Vec::new(),
            seen: [false; 2],
            audit: None,
            last_look: None,
            late: None,
        }
    }

    /// The tables were gone through.
    pub fn audited(&mut self, audit: Audit) {
        self.audit = Some(audit);
    }

    /// What the last pass through the tables found.
    #[must_use]
    pub fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    /// Whether every worker counts.
    #[must_use]
    pub fn workers_live(&self, now: Instant) -> bool {
        self.beats.iter().all(|(_, since)| now.duration_since(*since) < HEARTBEAT)
    }

    /// Looks at everything.
    pub fn look(&mut self, observed: &Observed<'_>, now: Instant) {
        self.control_loop(now);
        self.probes.tick(now);
        let routing =
            if observed.translating { Ok(()) } else { unknown("the kernel's routes have not been read yet") };
        self.board.set(TestName::Routing, "", Scope::Everything, routing);
        self.workers(&observed.workers, now);
        let whole = self.next_hops(observed.fib, observed.translating);
        self.links(&observed.ports, whole, observed.translating);
        self.tables(observed.destinations);
    }

    fn control_loop(&mut self, now: Instant) {
        let gap = self.last_look.replace(now).map(|last| now.duration_since(last)).unwrap_or_default();
        let excuse = gap.saturating_sub(GRACE);
        self.probes.excuse(excuse);
        self.beats.iter_mut().for_each(|(_, since)| *since = (*since + excuse).min(now));
        if gap > LATE {
            self.late = Some((now, gap));
        }
        let result = match self.late {
            Some((at, gap)) if now.duration_since(at) < IN_TIME => failing(format!(
                "the control thread was kept for {:.1} s; is the machine overloaded, or was the process stopped?",
                gap.as_secs_f32()
            )),
            _ => Ok(()),
        };
        self.board.set(TestName::ControlLoop, "", Scope::Everything, result);
    }

    fn workers(&mut self, workers: &[WorkerBeat], now: Instant) {
        self.beats.resize(workers.len(), (0, now));
        for (number, (worker, (cycles, since))) in workers.iter().zip(&mut self.beats).enumerate() {
            if worker.cycles != *cycles {
                (*cycles, *since) = (worker.cycles, now);
            }
            let subject = format!("worker {number} (CPU {})", worker.cpu);
            let silence = now.duration_since(*since);
            let beat = if silence < HEARTBEAT {
                Ok(())
            } else {
                failing(format!(
                    "no turn for {:.1} s: it hangs, or nobody gives it its CPU",
                    silence.as_secs_f32()
                ))
            };
            self.board.set(TestName::Heartbeat, &subject, Scope::Everything, beat);
            let answers = match self.probes.answers(number) {
                // Without mappings there is nothing to ask; the mappings' test says so.
                None | Some(true) => Ok(()),
                Some(false) => failing("does not answer the relay's own packets".to_owned()),
            };
            self.board.set(TestName::Pipeline, &subject, Scope::Everything, answers);
        }
    }

    /// Whether there is a living default route in both families.
    fn next_hops(&mut self, fib: &Fib, translating: bool) -> bool {
        let families = [("IPv4", FAR_IPV4), ("IPv6", FAR_IPV6)];
        let mut whole = true;
        for ((family, far), seen) in families.into_iter().zip(&mut self.seen) {
            let path = fib.lookup(far, || 0);
            *seen |= matches!(path, Path::Adjacent(_));
            whole &= matches!(path, Path::Adjacent(_));
            let asked = match self.default_route {
                DefaultRoute::Ignored => false,
                DefaultRoute::Seen => *seen,
                DefaultRoute::Required => true,
            };
            let result = match path {
                Path::Adjacent(_) => Ok(()),
                _ if !asked => Ok(()),
                _ if !translating => unknown("the kernel's routes have not been read yet"),
                // Its next hop is being asked for: that is decided in a second.
                Path::Unresolved { .. } if *seen => Ok(()),
                Path::Unresolved { .. } => unknown("the default route's next hop is being resolved"),
                Path::Failed => failing("no next hop of the default route answers".to_owned()),
                _ => failing("no default route over a port of the relay".to_owned()),
            };
            self.board.set(TestName::NextHop, family, Scope::Everything, result);
        }
        whole
    }

    /// A port without a link keeps traffic away unless default routes in both families live all the same.
    fn links(&mut self, ports: &[PortLink<'_>], whole: bool, translating: bool) {
        let scope = if whole { Scope::Nothing } else { Scope::Everything };
        for port in ports {
            let result = match port.up {
                Some(true) if port.twin_down => {
                    let twin = format!("{PREFIX}{}", port.name);
                    failing(format!(
                        "somebody took {twin} down, and with it the port: `ip link set {twin} up`"
                    ))
                }
                Some(true) => Ok(()),
                // At the start nobody has looked yet.
                Some(false) if !translating => unknown("nobody has looked yet"),
                Some(false) => failing("no link: cable, transceiver or peer".to_owned()),
                None => unknown("nobody knows yet"),
            };
            self.board.set(TestName::Link, port.name, scope, result);
        }
    }

    fn tables(&mut self, destinations: &BTreeSet<IpNet>) {
        let Some(audit) = &self.audit else {
            self.board.set(
                TestName::Tables,
                "",
                Scope::Everything,
                unknown("they have not been gone through yet"),
            );
            return;
        };
        let whole = match audit.damaged_since {
            None => Ok(()),
            Some(first) => failing(format!(
                "{} mappings hash to {} and did to {first} when they were published: the memory is damaged; restart the relay",
                audit.mappings, audit.digest
            )),
        };
        self.board.set(TestName::Tables, "", Scope::Everything, whole);
        for destination in destinations {
            let result = match audit.samples.get(destination) {
                None => unknown("its mappings have not been gone through yet"),
                Some(samples) if samples.is_empty() => {
                    failing("it has no mapping: whatever is sent there is refused".to_owned())
                }
                Some(_) => match self.probes.verdict(*destination) {
                    Some(result) => result.map_err(Unfit::Failing),
                    None => unknown("it has not been tried on every worker yet"),
                },
            };
            let subject = destination.to_string();
            let known = self.board.state(TestName::Mappings, &subject);
            // Other samples are tried: until they are, the ones before count.
            let keeps = matches!(result, Err(Unfit::Unknown(_))) && known == Some(TestState::Passing);
            if !keeps {
                self.board.set(TestName::Mappings, &subject, Scope::Destination(*destination), result);
            }
        }
        let is_there = |subject: &str| destinations.iter().any(|to| to.to_string() == subject);
        self.board.retain(TestName::Mappings, is_there);
    }
}

fn failing(why: String) -> Result<(), Unfit> {
    Err(Unfit::Failing(why))
}

fn unknown(why: &str) -> Result<(), Unfit> {
    Err(Unfit::Unknown(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::table::routing::{Hop, Neighbor, NeighborState, Route, RouteAction, Routing};
    use dataplane::testing;

    /// Default routes of both families, over gateways in these states.
    fn fib(gateways: [Option<NeighborState>; 2]) -> Fib {
        let mut routing = Routing {
            interfaces: testing::snapshot(testing::translation(&[])).fib.interfaces().to_vec(),
            ..Routing::default()
        };
        let ways = [("0.0.0.0/0", "198.51.100.1"), ("::/0", "2001:db8:ffff::99")];
        for ((destination, gateway), state) in ways.into_iter().zip(gateways) {
            let Some(state) = state else { continue };
            let (interface, address) = (routing.interfaces[0].id, gateway.parse().unwrap());
            let hop = Hop { interface, gateway: Some(address), weight: 1 };
            let action = RouteAction::Via(vec![hop]);
            routing.routes.push(Route { destination: destination.parse().unwrap(), action, mtu: None });
            routing.neighbors.push(Neighbor { interface, address, state });
        }
        Fib::build(&routing)
    }

    struct Relay {
        monitor: Monitor,
        fib: Fib,
        cycles: u64,
        links: [Option<bool>; 2],
        twin_down: bool,
        destinations: BTreeSet<IpNet>,
    }

    const UP: Option<NeighborState> = Some(NeighborState::Resolved(testing::MAC_PEER));

    impl Relay {
        fn new(default_route: DefaultRoute, gateways: [Option<NeighborState>; 2]) -> Self {
            let destinations = BTreeSet::from(["192.0.2.0/24".parse().unwrap()]);
            let monitor = Monitor::new(1, default_route);
            Self {
                monitor,
                fib: fib(gateways),
                cycles: 1,
                links: [Some(true); 2],
                twin_down: false,
                destinations,
            }
        }

        /// The failing and unknown tests that keep everything away.
        fn look(&mut self, now: Instant) -> Vec<String> {
            let names = ["v4", "v6"];
            let ports = names.iter().zip(self.links).map(|(name, up)| PortLink {
                name,
                up,
                twin_down: self.twin_down,
            });
            let observed = Observed {
                translating: true,
                workers: vec![WorkerBeat { cpu: 1, cycles: self.cycles }],
                ports: ports.collect(),
                fib: &self.fib,
                destinations: &self.destinations,
            };
            self.monitor.look(&observed, now);
            let against = self.monitor.board.against_everything();
            against.map(|test| format!("{} {}", test.name.name(), test.subject).trim().to_owned()).collect()
        }
    }

    fn audited(relay: &mut Relay, damaged: bool) {
        let damaged_since = damaged.then(super::super::TableDigest::default);
        relay.monitor.audited(Audit { damaged_since, ..Audit::default() });
    }

    #[test]
    fn a_worker_without_a_turn_is_told_in_time_and_until_it_goes_on() {
        let (mut relay, start) = (Relay::new(DefaultRoute::Ignored, [None; 2]), Instant::now());
        assert_eq!(relay.look(start), ["tables"], "nobody has gone through them");
        audited(&mut relay, false);
        let mut now = start;
        while now < start + HEARTBEAT {
            assert!(relay.look(now).is_empty());
            now += GRACE;
        }
        assert_eq!(relay.look(now), ["heartbeat worker 0 (CPU 1)"]);
        assert!(!relay.monitor.workers_live(now));
        relay.cycles += 1;
        assert!(relay.look(now).is_empty() && relay.monitor.workers_live(now));
    }

    #[test]
    fn what_the_control_thread_did_not_look_at_is_no_silence() {
        let (mut relay, start) = (Relay::new(DefaultRoute::Ignored, [None; 2]), Instant::now());
        audited(&mut relay, false);
        assert!(relay.look(start).is_empty());
        // A machine on which everything is slow: the worker counts between any two looks but the last.
        let mut now = start;
        for _ in 0..5 {
            now += LATE - GRACE;
            assert!(relay.look(now).is_empty(), "{:?}", now.duration_since(start));
        }
        // Looked at in time, the same silence counts.
        for _ in 0..HEARTBEAT.as_millis() / GRACE.as_millis() {
            now += GRACE;
            relay.look(now);
        }
        assert_eq!(relay.look(now), ["heartbeat worker 0 (CPU 1)"]);
    }

    #[test]
    fn damaged_tables_and_a_late_control_thread_keep_everything_away() {
        let (mut relay, start) = (Relay::new(DefaultRoute::Ignored, [None; 2]), Instant::now());
        audited(&mut relay, true);
        assert_eq!(relay.look(start), ["tables"]);
        audited(&mut relay, false);
        assert!(relay.look(start).is_empty());
        let late = start + LATE + Duration::from_millis(1);
        relay.cycles += 1;
        assert_eq!(relay.look(late), ["control_loop"]);
        let mut now = late;
        while now < late + IN_TIME {
            assert_eq!(relay.look(now), ["control_loop"]);
            now += Duration::from_millis(500);
            relay.cycles += 1;
        }
        assert!(relay.look(now).is_empty());
    }

    #[test]
    fn a_default_route_is_asked_for_as_configured() {
        let start = Instant::now();
        let cases = [
            (DefaultRoute::Ignored, [None, None], vec![]),
            (DefaultRoute::Seen, [None, UP], vec![]),
            (DefaultRoute::Required, [None, UP], vec!["next_hop IPv4"]),
            (DefaultRoute::Required, [Some(NeighborState::Failed), UP], vec!["next_hop IPv4"]),
        ];
        for (asked, gateways, expected) in cases {
            let mut relay = Relay::new(asked, gateways);
            audited(&mut relay, false);
            assert_eq!(relay.look(start), expected, "{asked:?}");
        }
        let mut relay = Relay::new(DefaultRoute::Seen, [UP, UP]);
        audited(&mut relay, false);
        assert!(relay.look(start).is_empty());
        relay.fib = fib([UP, None]);
        assert_eq!(relay.look(start), ["next_hop IPv6"], "there was one");
    }

    #[test]
    fn a_port_without_a_link_does_not_count_while_default_routes_live() {
        let start = Instant::now();
        for (gateways, expected) in [([UP, UP], vec![]), ([UP, None], vec!["link v6"])] {
            let mut relay = Relay::new(DefaultRoute::Ignored, gateways);
            audited(&mut relay, false);
            relay.links[1] = Some(false);
            assert_eq!(relay.look(start), expected);
            assert!(
                relay.monitor.board.tests().iter().any(|test| test.state == TestState::Failing),
                "but shows"
            );
        }
    }

    #[test]
    fn a_twin_that_is_down_counts_as_a_link_that_is() {
        let mut relay = Relay::new(DefaultRoute::Ignored, [None; 2]);
        audited(&mut relay, false);
        relay.twin_down = true;
        assert_eq!(relay.look(Instant::now()), ["link v4", "link v6"]);
        let why = relay.monitor.board.against_everything().next().unwrap().why.clone();
        assert!(why.contains("`ip link set bl-v4 up`"), "{why}");
    }

    #[test]
    fn a_pool_without_mappings_keeps_itself_away() {
        let (mut relay, start) = (Relay::new(DefaultRoute::Ignored, [None; 2]), Instant::now());
        let pool: IpNet = "192.0.2.0/24".parse().unwrap();
        let samples = [(pool, Vec::new())].into();
        relay.monitor.audited(Audit { samples, ..Audit::default() });
        assert!(relay.look(start).is_empty());
        assert!(relay.monitor.board.against(pool).unwrap().why.contains("no mapping"));
        relay.destinations.clear();
        relay.look(start);
        assert!(relay.monitor.board.against(pool).is_none(), "it leads here no more");
    }
}
