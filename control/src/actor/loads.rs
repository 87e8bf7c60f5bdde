//! How busy the workers are, and with how many packets, over the last second or so.

use std::time::{Duration, Instant};

use dataplane::counters::{Counts, Event};

use super::machine::Machine;

/// One worker over the last second or so.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Load {
    /// Share of its cycles, 0 to 1, that went into packets.
    pub(super) load: f64,
    /// Packets it received a second.
    pub(super) packets_per_second: u64,
}

/// The workers' loads.
pub(super) struct Loads {
    last: Vec<Seen>,
    at: Instant,
    loads: Vec<Load>,
}

/// What a worker has counted.
#[derive(Clone, Copy, Default)]
struct Seen {
    busy: u64,
    idle: u64,
    received: u64,
}

impl Loads {
    pub(super) fn new(machine: &impl Machine) -> Self {
        let last = seen(machine);
        Self { loads: vec![Load::default(); last.len()], last, at: Instant::now() }
    }

    pub(super) fn of(&self, worker: usize) -> Load {
        self.loads.get(worker).copied().unwrap_or_default()
    }

    pub(super) fn tick(&mut self, machine: &impl Machine, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at);
        let next = seen(machine);
        self.loads = next.iter().zip(&self.last).map(|(now, before)| now.since(before, elapsed)).collect();
        (self.last, self.at) = (next, now);
    }
}

impl Seen {
    fn since(&self, before: &Self, elapsed: Duration) -> Load {
        let received = u128::from(self.received.saturating_sub(before.received));
        let rate = received * 1_000_000 / elapsed.as_micros().max(1);
        Load {
            load: share(self.busy.saturating_sub(before.busy), self.idle.saturating_sub(before.idle)),
            packets_per_second: u64::try_from(rate).unwrap_or(u64::MAX),
        }
    }
}

fn seen(machine: &impl Machine) -> Vec<Seen> {
    let of = |counts: &Counts| Seen {
        busy: counts.event(Event::BusyCycles),
        idle: counts.event(Event::IdleCycles),
        received: counts.event(Event::Received),
    };
    machine.worker_counts().iter().map(of).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a load in percent needs no more than 52 bits")]
fn share(busy: u64, idle: u64) -> f64 {
    let all = busy.saturating_add(idle);
    if all == 0 { 0.0 } else { busy as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_and_rate_are_those_of_the_time_between_two_looks() {
        let before = Seen { busy: 1_000, idle: 9_000, received: 500 };
        let now = Seen { busy: 2_000, idle: 12_000, received: 2_500 };
        let load = now.since(&before, Duration::from_millis(2_000));
        assert_eq!(load, Load { load: 0.25, packets_per_second: 1_000 });
        assert_eq!(before.since(&before, Duration::ZERO), Load::default());
    }
}
