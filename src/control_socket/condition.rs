//! How the relay does, in the API's words: what flows, what waits, who does not answer, what was before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control::actor::{self, Status};
use control::config::Eams;
use control::kernel::{FailingHop, WaitingHop, Waits};
use control_api::{
    Agreement, Failing, Fill, Flow, LastExit, LastReload, Losses, QueueWait, Queues, WorkerQueues, rfc3339,
};
use dataplane::counters::Event;
use dataplane::table::snapshot::Snapshot;
use dataplane::verdict::DropReason;

use super::worker_view::service_of;
use crate::explain::interface_name;
use crate::last_exit;

/// The files that the tables in force were made of, each as it was then.
#[derive(Clone, Default)]
pub(crate) struct FilesInForce(Arc<Mutex<BTreeMap<PathBuf, Option<Identity>>>>);

/// Whether a file is the same: another one in its place, or one that was written to, is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    length: u64,
    written: (i64, i64),
}

impl FilesInForce {
    /// The file of a configuration, and those of its mappings.
    pub(crate) fn of(config: &Path, eams: &Eams) -> Self {
        let files = Self::default();
        files.set_all(config, eams);
        files
    }

    /// The same from now on.
    pub(super) fn set_all(&self, config: &Path, eams: &Eams) {
        let read = (0..eams.iter().len()).map(|at| eams.place(at).file);
        let read: BTreeSet<Arc<Path>> = read.collect();
        self.set(read.iter().map(|path| &**path).chain([config]));
    }

    /// These files were read.
    fn set<'p>(&self, files: impl IntoIterator<Item = &'p Path>) {
        let files = files.into_iter().map(|path| (path.to_owned(), identity(path))).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// The names of those that are not as they were.
    pub(crate) fn changed(&self) -> Vec<String> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let changed = files.iter().filter(|(path, then)| identity(path) != **then);
        changed.map(|(path, _)| path.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect()
    }
}

fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let facts = std::fs::metadata(path).ok()?;
    Some(Identity { inode: facts.ino(), length: facts.len(), written: (facts.mtime(), facts.mtime_nsec()) })
}

pub(super) fn flow(flow: &actor::Flow) -> Flow {
    Flow {
        packets_per_second: flow.packets_per_second,
        bits_per_second: flow.bits_per_second,
        idle_seconds: flow.idle.map(|idle| idle.as_secs()),
    }
}

pub(super) fn last_exit(last: &last_exit::LastExit) -> LastExit {
    LastExit {
        time: rfc3339(last.at),
        orderly: last.orderly,
        cause: last.cause.clone(),
        ran_seconds: last.ran,
        pid: last.pid,
    }
}

pub(super) fn last_reload(last: &actor::LastReload) -> LastReload {
    LastReload { time: rfc3339(seconds(last.at)), applied: last.applied, text: last.text.clone() }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(super) fn queues(status: &Status) -> Queues {
    let Status { queues, kernel, stalls, workers, .. } = status;
    let longest = stalls.actor.max(stalls.kernel);
    let fill = |fill: control::kernel::Fill| Fill {
        used: fill.used as u64,
        highest: fill.highest as u64,
        capacity: fill.capacity as u64,
    };
    let rings = workers.iter().zip(&queues.rings).map(|(worker, rings)| WorkerQueues {
        cpu: worker.cpu,
        urgent: fill(rings.urgent),
        other: fill(rings.other),
        inject: fill(rings.inject),
    });
    let oldest = queues.waiting.iter().map(|hop| hop.oldest).max().unwrap_or_default();
    Queues {
        workers: rings.collect(),
        waiting: queues.waiting.iter().map(|hop| hop.packets as u64).sum(),
        oldest_ms: u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX),
        queued: kernel.unresolved_queued,
        delivered: kernel.unresolved_released,
        expired: kernel.lost.dropped(DropReason::NeighborWaitExpired),
        failed: kernel.lost.dropped(DropReason::NeighborFailed),
        overflowed: kernel.lost.dropped(DropReason::NeighborWaitOverflow)
            + kernel.lost.dropped(DropReason::NeighborTableFull),
        to_twins: kernel.to_twin.iter().sum(),
        longest_us: micros(longest.elapsed),
        longest_own_us: micros(longest.own),
        waits: [
            ("urgent", queues.waits.urgent),
            ("other", queues.waits.other),
            ("neighbor", queues.waits.neighbor),
        ]
        .map(|(queue, waits)| wait(queue, &waits))
        .into(),
    }
}

fn wait(queue: &str, waits: &Waits) -> QueueWait {
    let count = waits.count();
    QueueWait {
        queue: queue.to_owned(),
        count,
        mean_us: micros(waits.sum).checked_div(count).unwrap_or(0),
        longest_us: micros(waits.longest),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Packets a second at which a worker of this load would be busy all the time.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, of what is neither negative nor large"
)]
pub(super) fn holds(load: f64, packets_per_second: u64) -> Option<u64> {
    let is_enough = load >= 0.01 && packets_per_second >= 100;
    is_enough.then(|| (packets_per_second as f64 / load) as u64)
}

/// What drivers and workers count.
pub(super) fn agreement(status: &Status) -> Agreement {
    let event = |event| status.workers.iter().map(|worker| worker.counts.event(event)).sum();
    Agreement {
        drivers_received: status.ports.iter().map(|port| port.counts.received).sum(),
        workers_received: event(Event::Received),
        drivers_sent: status.ports.iter().map(|port| port.counts.sent).sum(),
        workers_sent: event(Event::Sent),
    }
}

/// Where packets are lost.
pub(super) fn losses(status: &Status, dropped_rate_1m: f64) -> Losses {
    let sum =
        |count: fn(&actor::PortCounts) -> u64| status.ports.iter().map(|port| count(&port.counts)).sum();
    Losses {
        dropped_rate_1m,
        missed: sum(|counts| counts.missed),
        no_buffer: sum(|counts| counts.no_mbuf),
        receive_errors: sum(|counts| counts.receive_errors),
        send_errors: sum(|counts| counts.send_errors),
    }
}

/// The next hops that fail, with the services behind them.
pub(crate) fn failing(status: &Status, snapshot: &Snapshot, ports: &[String]) -> Vec<Failing> {
    let one = |hop: &FailingHop| Failing {
        address: hop.next_hop.to_string(),
        interface: interface_name(hop.interface, snapshot, ports),
        service: service_of(hop.next_hop, snapshot),
        lost: hop.lost,
        since_seconds: hop.since.as_secs(),
        last_seconds: hop.last.as_secs(),
    };
    status.queues.failing.iter().map(one).collect()
}

/// Packets that wait for a next hop, and packets that were lost for it.
pub(super) fn waiting_and_lost(status: &Status, address: std::net::IpAddr) -> (u64, u64) {
    let waits = |hop: &&WaitingHop| hop.next_hop == address;
    let waiting = status.queues.waiting.iter().filter(waits).map(|hop| hop.packets as u64).sum();
    let lost = status.queues.failing.iter().filter(|hop| hop.next_hop == address).map(|hop| hop.lost).sum();
    (waiting, lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_a_worker_holds_is_told_when_there_is_enough_to_tell_by() {
        assert_eq!(holds(0.25, 1_000_000), Some(4_000_000));
        assert_eq!((holds(0.001, 1_000_000), holds(0.5, 10)), (None, None));
    }

    #[test]
    fn a_file_that_was_written_replaced_or_removed_has_changed() {
        let directory = tempfile::tempdir().unwrap();
        let [written, replaced, removed, kept] =
            ["a.csv", "b.csv", "c.csv", "d.csv"].map(|name| directory.path().join(name));
        let all = [&written, &replaced, &removed, &kept];
        all.iter().for_each(|path| std::fs::write(path, "192.0.2.1,2001:db8::1\n").unwrap());
        let files = FilesInForce::default();
        files.set(all.iter().map(|path| path.as_path()));
        assert!(files.changed().is_empty());
        std::fs::write(&written, "192.0.2.1,2001:db8::2 \n").unwrap();
        let new = directory.path().join("new");
        std::fs::copy(&replaced, &new).unwrap();
        std::fs::rename(&new, &replaced).unwrap();
        std::fs::remove_file(&removed).unwrap();
        assert_eq!(files.changed(), ["a.csv", "b.csv", "c.csv"]);
        files.set([kept.as_path()]);
        assert!(files.changed().is_empty());
    }
}
