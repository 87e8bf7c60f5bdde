//! Which routes are there now, and why others are not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::damping::Damping;
use super::drain::{Drain, DrainPhase, DrainStatus};
use crate::config;
use crate::health::{Board, HealthTest, TestState};
use crate::kernel::{Announced, InKernel};

/// How long what the process before announced stays while nothing is known against it: until the tests have been made once.
const INHERITANCE: Duration = Duration::from_secs(5);

/// What the relay does about its announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: the configuration says nothing of it.
    Off,
    /// It announces what is well.
    Announcing,
    /// A test of the relay itself keeps everything away.
    Withdrawn,
    /// It is being taken out of service.
    Draining,
    /// It is out of service: no routes, and next to nothing still comes.
    Drained,
}

impl Standing {
    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Announcing => "announcing",
            Self::Withdrawn => "withdrawn",
            Self::Draining => "draining",
            Self::Drained => "drained",
        }
    }
}

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// What leads here.
    pub prefix: IpNet,
    /// Metric of its route; none while there is none.
    pub metric: Option<u32>,
    /// Why there is none, in one sentence.
    pub why: String,
}

/// The announcement of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// In one word.
    pub standing: Standing,
    /// The destinations.
    pub destinations: Vec<Destination>,
    /// The drain, if there is one.
    pub drain: Option<DrainStatus>,
    /// Packets translated in the last second.
    pub translated_pps: u64,
}

/// Decides what is announced, and with which metric.
pub struct Announcer {
    /// None where nothing is to be announced.
    config: Option<config::Announce>,
    destinations: BTreeSet<IpNet>,
    whole: Damping,
    each: BTreeMap<IpNet, Damping>,
    drain: Option<Drain>,
    /// What a process before this one announced, and until when that stays without being tested.
    inherited: Option<(Announced, Instant)>,
    /// What is announced, or why not.
    now: BTreeMap<IpNet, Result<u32, String>>,
    is_well: bool,
    translated_pps: u64,
}

impl Announcer {
    /// Nothing is announced yet.
    #[must_use]
    pub fn new(config: Option<&config::Announce>, destinations: BTreeSet<IpNet>) -> Self {
        Self {
            config: config.cloned(),
            destinations,
            whole: Damping::default(),
            each: BTreeMap::new(),
            drain: None,
            inherited: None,
            now: BTreeMap::new(),
            is_well: false,
            translated_pps: 0,
        }
    }

    /// The process before this one announced these, and its successor is to go on without a gap: they stay for a moment, as long
    /// as no test fails.
    pub fn inherit(&mut self, routes: Announced, now: Instant) {
        self.inherited = Some((routes, now + INHERITANCE));
    }

    /// Other destinations lead here.
    pub fn lead_here(&mut self, destinations: BTreeSet<IpNet>) {
        self.each.retain(|to, _| destinations.contains(to));
        self.destinations = destinations;
    }

    /// What leads here, announced or not.
    #[must_use]
    pub fn destinations(&self) -> &BTreeSet<IpNet> {
        &self.destinations
    }

    /// Whether anything is ever announced.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.config.is_some()
    }

    /// Begins to take the relay out of service; `lead` instead of the configured time. One that is under way goes on, no slower.
    /// Without an announcement there is only the wait for quiet.
    pub fn drain(&mut self, lead: Option<Duration>, now: Instant) {
        let configured = self.config.as_ref().map_or(0, |config| config.drain_lead);
        let lead = lead.unwrap_or(Duration::from_secs(configured.into()));
        let lead = if self.is_on() { lead } else { Duration::ZERO };
        self.inherited = None;
        match &mut self.drain {
            Some(drain) => drain.hurry(lead, now),
            None => self.drain = Some(Drain::start(lead, now)),
        }
    }

    /// Takes a drain back. What is well is announced again at once.
    pub fn undrain(&mut self) {
        self.drain = None;
    }

    /// Where the drain stands, if there is one.
    #[must_use]
    pub fn draining(&self, now: Instant) -> Option<DrainPhase> {
        self.drain.as_ref().map(|drain| drain.phase(now))
    }

    /// So many packets were translated in the last second. It is quiet only once the kernel has no route that was decided against.
    pub fn traffic(&mut self, translated_pps: u64, kernel: &InKernel, now: Instant) {
        self.translated_pps = translated_pps;
        let (bound, quiet) = self.config.as_ref().map_or((10, 3), |c| (c.drain_quiet_pps, c.drain_quiet));
        if let Some(drain) = &mut self.drain {
            let is_quiet = translated_pps < u64::from(bound) && is_done(kernel, &self.now);
            drain.look(is_quiet, Duration::from_secs(quiet.into()), now);
        }
    }

    /// The routes that are to be there now.
    pub fn decide(&mut self, board: &Board, now: Instant) -> Announced {
        self.is_well = board.against_everything().next().is_none();
        let whole = self.whole.look(self.is_well, now);
        let Some(config) = &self.config else { return Announced::new() };
        let why_not = match board.against_everything().next() {
            Some(test) if test.subject.is_empty() => Some(format!("{}: {}", test.name.name(), test.why)),
            Some(test) => Some(format!("{}, {}: {}", test.name.name(), test.subject, test.why)),
            None if !whole => Some(held(&self.whole, now)),
            None => None,
        };
        self.inherited.take_if(|(_, until)| now >= *until || board.against_everything().any(fails));
        let phase = self.drain.as_ref().map(|drain| drain.phase(now));
        let metric = if phase.is_some() { config.drain_metric } else { config.metric };
        self.now.clear();
        for to in &self.destinations {
            let against = board.against(*to);
            let damping = self.each.entry(*to).or_default();
            let is_well = damping.look(against.is_none(), now);
            let result = match (phase, &why_not, against) {
                (Some(DrainPhase::Withdrawn | DrainPhase::Done), ..) => {
                    Err("the relay is drained".to_owned())
                }
                (_, Some(why), _) => Err(why.clone()),
                (_, None, Some(test)) => Err(test.why.clone()),
                (_, None, None) if !is_well => Err(held(damping, now)),
                (_, None, None) => Ok(metric),
            };
            let result = inherited_or(&mut self.inherited, *to, result, against.is_some_and(fails));
            self.now.insert(*to, result);
        }
        self.now.iter().filter_map(|(to, result)| Some((*to, *result.as_ref().ok()?))).collect()
    }

    /// What was decided last.
    #[must_use]
    pub fn announcement(&self, kernel: &InKernel, now: Instant) -> Announcement {
        let destinations: Vec<Destination> = self
            .now
            .iter()
            .map(|(prefix, decided)| {
                let (metric, why) = made_of(decided, kernel, *prefix);
                Destination { prefix: *prefix, metric, why }
            })
            .collect();
        let standing = match (&self.config, self.draining(now)) {
            (_, Some(DrainPhase::Done)) => Standing::Drained,
            (_, Some(_)) => Standing::Draining,
            (None, None) => Standing::Off,
            (Some(_), None) if destinations.iter().any(|to| to.metric.is_some()) => Standing::Announcing,
            (Some(_), None) => Standing::Withdrawn,
        };
        Announcement {
            standing,
            destinations,
            drain: self.drain.as_ref().map(|drain| drain.status(now)),
            translated_pps: self.translated_pps,
        }
    }
}

/// The metric of the route that is there, and what is to be said about it.
fn made_of(decided: &Result<u32, String>, kernel: &InKernel, to: IpNet) -> (Option<u32>, String) {
    let present = kernel.present.as_ref().map(|present| present.get(&to).copied());
    match (decided, kernel.refused.get(&to), present) {
        (Ok(_), Some(why), _) => (None, why.clone()),
        (Ok(metric), None, None) => (Some(*metric), String::new()),
        (Ok(_), None, Some(Some(metric))) => (Some(metric), String::new()),
        (Ok(_), None, Some(None)) => (None, "the kernel has not taken it yet".to_owned()),
        (Err(why), _, Some(Some(metric))) => {
            (Some(metric), format!("{why}; the kernel has not withdrawn it yet"))
        }
        (Err(why), ..) => (None, why.clone()),
    }
}

/// Whether the kernel has none of the routes that were decided against.
fn is_done(kernel: &InKernel, decided: &BTreeMap<IpNet, Result<u32, String>>) -> bool {
    let against = |to: &IpNet| decided.get(to).is_none_or(Result::is_err);
    kernel.present.as_ref().is_none_or(|present| !present.keys().any(against))
}

/// What is not announced by its own right may be by that of the process before. Once it has its own it needs no other.
fn inherited_or(
    inherited: &mut Option<(Announced, Instant)>,
    to: IpNet,
    result: Result<u32, String>,
    fails: bool,
) -> Result<u32, String> {
    let Some((routes, _)) = inherited else { return result };
    if result.is_ok() || fails {
        routes.remove(&to);
        return result;
    }
    routes.get(&to).copied().ok_or(()).or(result)
}

fn fails(test: &HealthTest) -> bool {
    test.state == TestState::Failing
}

fn held(damping: &Damping, now: Instant) -> String {
    format!("well again; announced if that lasts {:.0} s more", damping.left(now).as_secs_f32().ceil())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DefaultRoute;
    use crate::health::{Scope, TestName, Unfit};

    const POOL: &str = "192.0.2.0/24";
    const PREFIX: &str = "2001:db8:46::/96";

    fn announcer() -> Announcer {
        let config = config::Announce {
            metric: 4242,
            drain_metric: 14242,
            default_route: DefaultRoute::Seen,
            drain_lead: 10,
            drain_quiet_pps: 10,
            drain_quiet: 3,
            stop: 5,
        };
        Announcer::new(Some(&config), [POOL, PREFIX].iter().map(|to| to.parse().unwrap()).collect())
    }

    /// Nobody makes routes.
    const NONE: InKernel = InKernel { present: None, refused: BTreeMap::new() };

    fn metrics(announced: &Announced) -> Vec<(String, u32)> {
        announced.iter().map(|(to, metric)| (to.to_string(), *metric)).collect()
    }

    fn failing(board: &mut Board, name: TestName, scope: Scope) {
        board.set(name, "", scope, Err(Unfit::Failing("why".to_owned())));
    }

    fn both(metric: u32) -> Vec<(String, u32)> {
        vec![(POOL.to_owned(), metric), (PREFIX.to_owned(), metric)]
    }

    #[test]
    fn what_is_well_is_announced_and_a_pool_falls_alone() {
        let (mut announcer, mut board, start) = (announcer(), Board::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        failing(&mut board, TestName::Routing, Scope::Everything);
        assert_eq!(announcer.decide(&board, start), Announced::new());
        assert_eq!(announcer.announcement(&NONE, start).standing, Standing::Withdrawn);
        assert_eq!(announcer.announcement(&NONE, start).destinations[0].why, "routing: why");
        board.set(TestName::Routing, "", Scope::Everything, Ok(()));
        assert_eq!(metrics(&announcer.decide(&board, start)), both(4242));
        failing(&mut board, TestName::Mappings, Scope::Destination(POOL.parse().unwrap()));
        assert_eq!(metrics(&announcer.decide(&board, at(1))), [(PREFIX.to_owned(), 4242)]);
        assert_eq!(announcer.announcement(&NONE, at(1)).standing, Standing::Announcing);
        board.set(TestName::Mappings, "", Scope::Destination(POOL.parse().unwrap()), Ok(()));
        assert_eq!(announcer.decide(&board, at(2)).len(), 1, "not believed at once");
        assert!(announcer.announcement(&NONE, at(2)).destinations[0].why.contains("3 s more"));
        assert_eq!(announcer.decide(&board, at(5)).len(), 2);
    }

    #[test]
    fn what_the_kernel_does_not_take_is_shown_as_not_announced() {
        let (mut announcer, board, start) = (announcer(), Board::default(), Instant::now());
        announcer.decide(&board, start);
        let refused = BTreeMap::from([(POOL.parse().unwrap(), "taken".to_owned())]);
        let mut kernel = InKernel { present: Some([(PREFIX.parse().unwrap(), 4242)].into()), refused };
        let shown = announcer.announcement(&kernel, start);
        let routes: Vec<_> = shown.destinations.iter().map(|to| (to.metric, to.why.as_str())).collect();
        assert_eq!((shown.standing, routes), (Standing::Announcing, vec![(None, "taken"), (Some(4242), "")]));
        kernel.present = Some(Announced::new());
        let shown = announcer.announcement(&kernel, start);
        assert_eq!(shown.standing, Standing::Withdrawn, "there is no route");
        assert_eq!(shown.destinations[1].why, "the kernel has not taken it yet");
    }

    #[test]
    fn what_the_kernel_still_has_is_not_withdrawn_and_nobody_is_drained_before() {
        let (mut announcer, board, start) = (announcer(), Board::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let present = announcer.decide(&board, start);
        let mut kernel = InKernel { present: Some(present), ..InKernel::default() };
        announcer.drain(Some(Duration::ZERO), start);
        assert!(announcer.decide(&board, at(1)).is_empty());
        for second in 1..20 {
            announcer.traffic(0, &kernel, at(second));
        }
        let shown = announcer.announcement(&kernel, at(20));
        assert_eq!((shown.standing, shown.destinations[0].metric), (Standing::Draining, Some(4242)));
        assert_eq!(shown.destinations[0].why, "the relay is drained; the kernel has not withdrawn it yet");
        kernel.present = Some(Announced::new());
        for second in 20..25 {
            announcer.traffic(0, &kernel, at(second));
        }
        assert_eq!(announcer.announcement(&kernel, at(25)).standing, Standing::Drained);
    }

    #[test]
    fn a_drain_makes_routes_worse_first_and_is_taken_back_at_once() {
        let (mut announcer, board, start) = (announcer(), Board::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(metrics(&announcer.decide(&board, start)), both(4242));
        announcer.drain(None, start);
        assert_eq!(metrics(&announcer.decide(&board, at(1))), both(14242));
        assert!(announcer.decide(&board, at(10)).is_empty());
        announcer.traffic(10, &NONE, at(11));
        for second in 12..=15 {
            assert_eq!(announcer.draining(at(second)), Some(DrainPhase::Withdrawn));
            announcer.traffic(9, &NONE, at(second));
        }
        assert_eq!(announcer.draining(at(15)), Some(DrainPhase::Done));
        assert_eq!(announcer.announcement(&NONE, at(15)).standing, Standing::Drained);
        announcer.undrain();
        assert_eq!(metrics(&announcer.decide(&board, at(16))), both(4242));
    }

    #[test]
    fn what_the_process_before_announced_stays_until_the_tests_were_made() {
        let (mut board, start) = (Board::default(), Instant::now());
        let untested = Err(Unfit::Unknown("not yet".to_owned()));
        board.set(TestName::Tables, "", Scope::Everything, untested);
        let at = |seconds| start + Duration::from_secs(seconds);
        let inherited: Announced = [(PREFIX.parse().unwrap(), 4242)].into();
        let mut heir = announcer();
        heir.inherit(inherited.clone(), start);
        assert_eq!(metrics(&heir.decide(&board, at(1))), [(PREFIX.to_owned(), 4242)], "and nothing else");
        assert!(heir.decide(&board, start + INHERITANCE).is_empty(), "not for ever");
        assert!(heir.decide(&board, at(1)).is_empty());

        let mut heir = announcer();
        heir.inherit(inherited.clone(), start);
        let mut ill = Board::default();
        failing(&mut ill, TestName::Link, Scope::Everything);
        assert!(heir.decide(&ill, at(1)).is_empty(), "what fails is not passed on");
        assert!(heir.decide(&board, at(2)).is_empty());

        let mut heir = announcer();
        heir.inherit(inherited.clone(), start);
        assert_eq!(metrics(&heir.decide(&Board::default(), at(1))), both(4242), "its own right");
        assert!(heir.decide(&board, at(2)).is_empty(), "which it can lose");

        let mut heir = announcer();
        heir.inherit(inherited, start);
        heir.drain(Some(Duration::ZERO), start);
        assert!(heir.decide(&board, at(1)).is_empty(), "drained");
    }

    #[test]
    fn without_a_configuration_nothing_is_announced_and_a_drain_only_waits() {
        let (mut announcer, start) = (Announcer::new(None, announcer().destinations), Instant::now());
        assert!(announcer.decide(&Board::default(), start).is_empty());
        assert_eq!(announcer.announcement(&NONE, start).standing, Standing::Off);
        announcer.drain(Some(Duration::from_secs(60)), start);
        assert_eq!(announcer.draining(start), Some(DrainPhase::Withdrawn));
    }
}
