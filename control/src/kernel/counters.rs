//! What the exception path counts.

use std::collections::BTreeMap;

use dataplane::counters::Counts;
use dataplane::verdict::{DropReason, PuntReason};

/// Punted packets that came to nothing, by what they were punted for and what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lost(BTreeMap<(PuntReason, DropReason), u64>);

impl Lost {
    /// Counts packets that were punted for one reason and dropped for another.
    pub fn count(&mut self, punted: PuntReason, dropped: DropReason, packets: usize) {
        if packets > 0 {
            *self.0.entry((punted, dropped)).or_default() += packets as u64;
        }
    }

    /// Counts them as dropped and no longer as punted in the sum of all workers' counts.
    pub fn settle(&self, counts: &mut Counts) {
        for ((punted, dropped), packets) in &self.0 {
            counts.lose(*punted, *dropped, *packets);
        }
    }

    /// Packets dropped for a reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.0.iter().filter(|((_, dropped), _)| *dropped == reason).map(|(_, packets)| packets).sum()
    }
}

/// Packets and frames through the control thread. Only ever grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelCounters {
    /// What came to nothing.
    pub lost: Lost,
    /// Frames given to a twin, by [`PuntReason::index`].
    pub to_twin: [u64; PuntReason::ALL.len()],
    /// Frames of the kernel handed to a worker.
    pub injected: u64,
    /// Frames of the kernel refused by a full inject ring: the worker does not keep up.
    pub inject_refused: u64,
    /// Packets that began to wait for a link-layer address.
    pub unresolved_queued: u64,
    /// Packets sent once it was known (at once, if it was known already).
    pub unresolved_released: u64,
    /// Packets sent by the control thread although their next hop was known: a worker had not heard of it yet. If it keeps
    /// growing, traffic is stuck on the slow path.
    pub slow_path: u64,
    /// Times the kernel was asked to resolve or confirm a neighbour.
    pub neighbor_requests: u64,
    /// Such requests it refused: its neighbour table is full (net.ipv4.neigh.default.gc_thresh3), or the interface down.
    pub neighbor_requests_refused: u64,
    /// Neighbours that did not answer and were removed from the kernel's table, so that others found room.
    pub neighbors_forgotten: u64,
    /// Times notifications of the kernel were lost: everything was read again.
    pub netlink_overruns: u64,
    /// Complete readings of the kernel's state.
    pub netlink_dumps: u64,
    /// Messages of the kernel that could not be read.
    pub netlink_unreadable: u64,
}

impl Default for KernelCounters {
    fn default() -> Self {
        Self {
            lost: Lost::default(),
            to_twin: [0; PuntReason::ALL.len()],
            injected: 0,
            inject_refused: 0,
            unresolved_queued: 0,
            unresolved_released: 0,
            slow_path: 0,
            neighbor_requests: 0,
            neighbor_requests_refused: 0,
            neighbors_forgotten: 0,
            netlink_overruns: 0,
            netlink_dumps: 0,
            netlink_unreadable: 0,
        }
    }
}
