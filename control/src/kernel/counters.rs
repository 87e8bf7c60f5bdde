//! What the exception path counts.

use dataplane::verdict::PuntReason;

/// Packets and frames through the control thread. Only ever grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelCounters {
    /// Frames given to a twin, by [`PuntReason::index`].
    pub to_twin: [u64; PuntReason::ALL.len()],
    /// Frames a twin did not take: the interface is down, or the kernel is out of memory.
    pub twin_refused: u64,
    /// Punted frames of a port without a twin.
    pub without_twin: u64,
    /// Frames of the kernel handed to a worker.
    pub injected: u64,
    /// Frames refused by a full inject ring: the worker does not keep up.
    pub inject_refused: u64,
    /// Packets that began to wait for a link-layer address.
    pub unresolved_queued: u64,
    /// Packets sent once it was known (at once, if it was known already).
    pub unresolved_released: u64,
    /// Dropped: the neighbour did not answer.
    pub unresolved_failed: u64,
    /// Dropped: no verdict of the kernel in time.
    pub unresolved_expired: u64,
    /// Dropped: too many wait already.
    pub unresolved_overflow: u64,
    /// Dropped: the interface is gone, or the packet is neither IPv4 nor IPv6.
    pub unresolved_invalid: u64,
    /// Times the kernel was asked to resolve or confirm a neighbour.
    pub neighbor_requests: u64,
    /// Such requests it refused: its neighbour table is full (net.ipv4.neigh.default.gc_thresh3), or the interface down.
    pub neighbor_requests_refused: u64,
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
            to_twin: [0; PuntReason::ALL.len()],
            twin_refused: 0,
            without_twin: 0,
            injected: 0,
            inject_refused: 0,
            unresolved_queued: 0,
            unresolved_released: 0,
            unresolved_failed: 0,
            unresolved_expired: 0,
            unresolved_overflow: 0,
            unresolved_invalid: 0,
            neighbor_requests: 0,
            neighbor_requests_refused: 0,
            netlink_overruns: 0,
            netlink_dumps: 0,
            netlink_unreadable: 0,
        }
    }
}
