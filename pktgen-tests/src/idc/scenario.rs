//! What happens to traffic when a relay fails, stalls, is drained, or is replaced.
//!
//! Every scenario begins with both relays announced and traffic that takes the first of them, breaks or drains that one,
//! mends it, and counts what was lost. `scripts/lab scenario NAME` runs one; the test `appendix_a` all of them.

mod cause;
mod memory;
mod outcome;

use std::time::{Duration, Instant};

use super::traffic::{Toll, Traffic};
use super::{Idc, Side};
use crate::lab::{LabError, PATIENCE, wait_until};

use outcome::Limits;
pub use outcome::{HEAD, Outcome};

/// The relay that everything is done to.
const VICTIM: Side = 0;
/// Traffic before anything happens, and after the last thing.
const CALM: Duration = Duration::from_secs(1);
/// Routes of a relay that is gone must not outlive it by more than this.
const STALE: Duration = Duration::from_secs(60);

/// One scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// On the command line.
    pub name: &'static str,
    /// What happens.
    pub what: &'static str,
    limits: Limits,
    /// Its routes are not to go.
    stays: bool,
    break_it: fn(&mut Idc) -> Result<Broken, LabError>,
}

/// How a broken relay is mended.
type Broken = Box<dyn FnOnce(&mut Idc) -> Result<(), LabError>>;

/// Packets that 1,000 a second lose in half a second.
const HALF_A_SECOND: u64 = 500;

/// What a moment costs in which nobody had a processor: the machine also runs every host, router and whatever else. A relay
/// that is announced before it knows its way loses thousands.
const A_FEW: u64 = 50;

/// All of them, in the order of the documentation.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "kill",
        what: "kill -9",
        limits: Limits { lost: HALF_A_SECOND, back: A_FEW },
        stays: false,
        break_it: cause::kill,
    },
    Scenario {
        name: "stop",
        what: "SIGSTOP, then SIGCONT",
        limits: Limits { lost: HALF_A_SECOND, back: A_FEW },
        stays: false,
        break_it: cause::stop,
    },
    Scenario {
        name: "stall",
        what: "a worker hangs, then goes on",
        limits: Limits { lost: HALF_A_SECOND, back: A_FEW },
        stays: false,
        break_it: cause::stall,
    },
    Scenario {
        name: "port-down",
        what: "the IPv4 port loses its link",
        limits: Limits { lost: 4 * HALF_A_SECOND, back: A_FEW },
        stays: false,
        break_it: cause::port_down,
    },
    Scenario {
        name: "damage",
        what: "a bit of its table turns over",
        limits: Limits { lost: 0, back: 0 },
        stays: false,
        break_it: cause::damage,
    },
    Scenario {
        name: "drain",
        what: "drained, then undrained",
        limits: Limits { lost: 0, back: 0 },
        stays: false,
        break_it: cause::drain,
    },
    Scenario {
        name: "upgrade",
        what: "drained, stopped, and another process that stood by takes over",
        limits: Limits { lost: 0, back: 0 },
        stays: false,
        break_it: cause::upgrade,
    },
    Scenario {
        name: "standby",
        what: "kill -9 while another process stands by",
        limits: Limits { lost: HALF_A_SECOND, back: A_FEW },
        stays: true,
        break_it: cause::standby,
    },
    Scenario {
        name: "hand-over",
        what: "SIGUSR2: hands over to the process that stands by",
        limits: Limits { lost: HALF_A_SECOND, back: A_FEW },
        stays: true,
        break_it: cause::hand_over,
    },
];

impl Scenario {
    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// Lets it happen.
    ///
    /// # Errors
    /// When the laboratory itself fails; what the relays do wrong is in the outcome.
    pub fn run(&self, idc: &mut Idc) -> Result<Outcome, LabError> {
        idc.converged(2 * PATIENCE)?;
        let (mend, lost, gone) = self.lose(idc)?;
        let (back, returned) = give_back(idc, mend)?;
        Ok(Outcome { scenario: *self, suite: idc.suite, lost, gone, back, returned })
    }

    /// Breaks it under traffic; what was lost, and when its routes were gone.
    fn lose(&self, idc: &mut Idc) -> Result<(Broken, Toll, Option<Duration>), LabError> {
        let traffic = Traffic::start(idc, VICTIM, Duration::from_secs(4))?;
        std::thread::sleep(CALM);
        let start = Instant::now();
        let mend = (self.break_it)(idc)?;
        let gone = if self.stays {
            std::thread::sleep(CALM * 3);
            None
        } else {
            wait_until(STALE, || !is_used(idc)).then(|| start.elapsed())
        };
        std::thread::sleep(CALM);
        let lost = traffic.finish();
        let gone = if self.stays && !is_used(idc) { Some(Duration::ZERO) } else { gone };
        Ok((mend, lost, gone))
    }
}

/// Mends it under traffic that takes the other relay by now.
fn give_back(idc: &mut Idc, mend: Broken) -> Result<(Toll, Option<Duration>), LabError> {
    let traffic = Traffic::start(idc, 1 - VICTIM, Duration::from_secs(4))?;
    std::thread::sleep(CALM);
    let start = Instant::now();
    mend(idc)?;
    let returned = wait_until(STALE, || idc.converged(Duration::ZERO).is_ok()).then(|| start.elapsed());
    std::thread::sleep(CALM);
    Ok((traffic.finish(), returned))
}

/// Whether anybody still sends by the victim.
fn is_used(idc: &Idc) -> bool {
    let over = |node, prefix| idc.ways(node, prefix).iter().any(|way| way == super::relays::NODES[VICTIM]);
    over("inet4", "192.0.2.0/24") || over("dc", "2001:db8:46::/96")
}
