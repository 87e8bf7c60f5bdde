//! The relay's counters as it reports them: the only place that knows their form.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::LabError;

/// What introduces a report in the relay's log.
const MARK: &str = "counters {";

/// One report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Packets taken from the ports.
    pub received: u64,
    /// Packets the relay made itself: ICMP errors, additional fragments.
    pub originated: u64,
    /// Packets given to the ports.
    pub sent: u64,
    /// Packets offered to the kernel, by reason.
    pub punted: BTreeMap<String, u64>,
    /// Packets ended, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// What each worker counts for itself.
    pub workers: Vec<WorkerCounters>,
    /// The kernel's side of the twins.
    pub kernel: Kernel,
    /// What the drivers count themselves.
    pub ports: Vec<PortCounters>,
    /// Configurations read again.
    pub reloads: Reloads,
    /// How long the control thread was ever busy in one go, preemption by others included.
    pub longest_us: Longest,
    /// The same without what others took of the processor.
    pub longest_own_us: Longest,
    /// Buffers out of the pool: held by the drivers, or leaked.
    pub mbufs_in_use: Option<u64>,
}

/// Microseconds of the longest turn of each part of the control thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Longest {
    /// The owner of tables, ports and workers.
    pub actor: u64,
    /// The follower of the kernel, and what passes between it and the workers.
    pub kernel: u64,
}

/// Configurations read again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Reloads {
    /// Those that took over.
    pub applied: u64,
    /// Those that changed nothing.
    pub refused: u64,
}

/// The kernel's side of the twins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Kernel {
    /// Packets the kernel sent through a twin.
    pub injected: u64,
}

/// One worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WorkerCounters {
    /// Frames it took from the ports.
    pub received: u64,
    /// Cycles of the turns that had any.
    pub busy_cycles: u64,
    /// Cycles of those that had none, asleep or not.
    pub idle_cycles: u64,
    /// Cycles asleep.
    pub sleep_cycles: u64,
}

/// One port as its driver counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PortCounters {
    /// Its name.
    pub name: String,
    /// Frames handed to the workers.
    pub received: u64,
    /// Frames lost before a worker could fetch them.
    pub missed: u64,
}

impl Counters {
    /// The last report in a log.
    ///
    /// # Errors
    /// When a report is there but cannot be read.
    pub(crate) fn last_in(log: &str) -> Result<Option<Self>, LabError> {
        let Some(at) = log.rfind(MARK) else {
            return Ok(None);
        };
        let text = log[at..].trim_start_matches("counters ").lines().next().unwrap_or_default();
        let unreadable = |_| LabError::Unreadable { what: "the relay's counters".into(), text: text.into() };
        serde_json::from_str(text).map(Some).map_err(unreadable)
    }

    /// How many reports a log holds.
    pub(crate) fn reports_in(log: &str) -> usize {
        log.matches(MARK).count()
    }

    /// What the driver of a port counts; zeros for a port it does not know.
    #[must_use]
    pub fn port(&self, name: &str) -> PortCounters {
        self.ports.iter().find(|port| port.name == name).cloned().unwrap_or_default()
    }

    /// Packets dropped for one reason.
    #[must_use]
    pub fn dropped_for(&self, reason: &str) -> u64 {
        self.dropped.get(reason).copied().unwrap_or(0)
    }

    /// All packets dropped.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// All packets punted.
    #[must_use]
    pub fn punted_total(&self) -> u64 {
        self.punted.values().sum()
    }

    /// The same without the clocks of idle workers, which never stand still.
    pub(crate) fn of_traffic(&self) -> Self {
        let still = |worker: &WorkerCounters| WorkerCounters { idle_cycles: 0, sleep_cycles: 0, ..*worker };
        Self { workers: self.workers.iter().map(still).collect(), ..self.clone() }
    }

    /// Whether every packet that came in or was made has gone somewhere.
    #[must_use]
    pub fn balance(&self) -> bool {
        self.received + self.originated == self.sent + self.punted_total() + self.dropped_total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_report_counts() {
        let log = "x\ncounters {\"received\":1}\nINFO counters {\"received\":5,\"originated\":1,\"sent\":3,\
                   \"punted\":{\"arp\":1},\"dropped\":{\"a\":1,\"b\":1},\"kernel\":{\"injected\":9,\"more\":1},\"ports\":[{\"name\":\"v4\",\"received\":5,\"missed\":2,\"errors\":0}],\"other\":{}}\ny";
        let counters = Counters::last_in(log).unwrap().unwrap();
        assert_eq!((counters.received, counters.kernel.injected), (5, 9));
        assert_eq!((counters.punted_total(), counters.dropped_total()), (1, 2));
        assert_eq!((counters.port("v4").missed, counters.port("v6").missed), (2, 0));
        assert_eq!((counters.dropped_for("a"), counters.dropped_for("c")), (1, 0));
        assert!(counters.balance());
        assert_eq!(Counters::reports_in(log), 2);
    }

    #[test]
    fn a_log_without_a_report_has_none() {
        assert!(Counters::last_in("started").unwrap().is_none());
        assert!(Counters::last_in("counters {nonsense").is_err());
    }
}
