//! What a relay does not need, it does not keep.
//!
//! | When | Kept |
//! | --- | --- |
//! | from the beginning | files for the relay's user alone (umask 077), no core dump (packets would be in it), no new privileges |
//! | while ports are opened | [`OPENING`]: what DPDK's drivers ask for; its own interrupt thread goes on with these |
//! | from then on | [`RUNNING`] |
//!
//! Capabilities belong to threads: the first step comes before there are any, the second before workers, the control actor and the
//! socket have theirs. A relay of an unprivileged user keeps what it was given of these.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask};
use rustix::thread::set_no_new_privs;

/// To open ports and sockets: interfaces and raw sockets, XDP programs and their memory, PCI devices and physical addresses of
/// hugepages, and files of whoever owns them.
const OPENING: [Capability; 13] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_IPC_LOCK,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SYS_RAWIO,
    // To see which process holds somebody else's XDP program.
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_SYS_RESOURCE,
    Capability::CAP_SYS_NICE,
    Capability::CAP_DAC_OVERRIDE,
    // To give the control socket to its group.
    Capability::CAP_CHOWN,
    // To give up the others for good.
    Capability::CAP_SETPCAP,
];

/// To translate: twins and neighbours are the kernel's, which asks for CAP_NET_ADMIN. Ports are open already; to take XDP programs
/// off them at the end asks for it as well.
const RUNNING: [Capability; 1] = [Capability::CAP_NET_ADMIN];

/// Before anything else, in the only thread there is.
pub(crate) fn begin() -> Vec<String> {
    umask(rustix::fs::Mode::from_raw_mode(0o077));
    let mut complaints = Vec::new();
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        complaints.push(format!("core dumps are not limited: {error}"));
    }
    if let Err(error) = set_no_new_privs(true) {
        complaints.push(format!("the process may gain privileges: {error}"));
    }
    if let Err(error) = keep(&OPENING) {
        complaints.push(format!("all capabilities are kept: {error}"));
    }
    complaints
}

/// Once the ports are open.
pub(crate) fn run() {
    // The limit says nothing to programs that take core dumps over. Not before: opening ports reads what is its own in /proc.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!("packets may be in a core dump: {error}");
    }
    match keep(&RUNNING) {
        Ok(()) => tracing::debug!("capabilities dropped"),
        Err(error) => tracing::warn!("more capabilities are kept than needed: {error}"),
    }
}

/// Before another image of this process begins from the beginning: it has what this one has, also where that is no root's.
pub(crate) fn pass_on() {
    let passed = caps::read(None, CapSet::Permitted).and_then(|kept| {
        caps::set(None, CapSet::Inheritable, &kept)?;
        caps::set(None, CapSet::Ambient, &kept)
    });
    if let Err(error) = passed {
        tracing::warn!("capabilities are not passed on: {error}");
    }
}

/// For a thread that only reads and writes what is open.
pub(crate) fn keep_nothing() {
    if let Err(error) = keep(&[]) {
        tracing::warn!("a thread keeps capabilities: {error}");
    }
}

/// Drops what is not in the list, for this thread and all it starts.
fn keep(wanted: &[Capability]) -> Result<(), CapsError> {
    let wanted: CapsHashSet = wanted.iter().copied().collect();
    let kept: CapsHashSet = caps::read(None, CapSet::Permitted)?.intersection(&wanted).copied().collect();
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        // The right to do this last of all.
        for capability in caps::all().difference(&wanted) {
            // The kernel may be older than the list.
            let _ = caps::drop(None, CapSet::Bounding, *capability);
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number behind a name in /proc/thread-self/status.
    fn status(name: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
    }

    #[test]
    fn what_is_not_kept_is_gone_for_good() {
        // In a thread of its own: capabilities are a thread's.
        std::thread::spawn(|| {
            keep(&OPENING).unwrap();
            let opening = OPENING.iter().fold(0, |mask, capability| mask | capability.bitmask());
            assert_eq!(status("CapPrm") & !opening, 0);
            keep(&RUNNING).unwrap();
            for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
                assert_eq!(status(set) & !Capability::CAP_NET_ADMIN.bitmask(), 0, "{set}");
            }
            assert!(caps::raise(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).is_err());
        })
        .join()
        .unwrap();
    }
}
