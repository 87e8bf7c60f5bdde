//! Who runs where, and before whom.

use std::fs;

use crate::lab::Cmd;

/// The generator's processor.
pub(super) const GENERATOR_CPU: u32 = 0;
/// The processor of the device under test.
pub(super) const SUBJECT_CPU: u32 = 1;

/// Gives the forwarding threads of a process real-time priority; false when it has none yet. They poll without end, so
/// on a machine that is not idle they would otherwise share their processor half and half.
#[must_use]
pub(super) fn prefer_workers(process: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
        return false;
    };
    let threads = threads.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let workers = threads.filter(|thread| {
        fs::read_to_string(format!("/proc/{process}/task/{thread}/comm"))
            .is_ok_and(|name| is_worker(name.trim()))
    });
    let preferred = workers.map(|thread| Cmd::new("chrt").args("--rr --pid 10").arg(thread).ok().is_ok());
    preferred.reduce(|all, one| all && one).unwrap_or(false)
}

/// `worker-1` is the relay's, `lcore-worker-1` and `rte-worker-1` are DPDK's.
fn is_worker(name: &str) -> bool {
    name.rsplit_once('-')
        .is_some_and(|(kind, number)| kind.ends_with("worker") && number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarding_threads_are_known_by_name() {
        assert!(["worker-1", "lcore-worker-1", "rte-worker-12"].into_iter().all(is_worker));
        assert!(
            !["borderline", "eal-intr-thread", "rte_mp_handle", "vhost-events", "worker"]
                .into_iter()
                .any(is_worker)
        );
    }

    #[test]
    fn a_process_without_workers_is_not_preferred() {
        assert!(!prefer_workers(std::process::id()));
    }
}
