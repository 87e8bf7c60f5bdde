//! Where packets handed to the control thread are: how full the rings are, who is waited for, and for whom packets were lost.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use dataplane::table::routing::InterfaceId;

use super::Kernel;
use super::waits::QueueWaits;

/// How full a ring is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fill {
    /// Now.
    pub used: usize,
    /// At most since the start, as the control thread found it.
    pub highest: usize,
    /// In all.
    pub capacity: usize,
}

/// The rings between one worker and the control thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingFills {
    /// To the control thread: ARP, neighbour discovery, routing protocols, packets for the box.
    pub urgent: Fill,
    /// To the control thread: everything else.
    pub other: Fill,
    /// From the kernel to the worker.
    pub inject: Fill,
}

/// Packets that wait for one next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingHop {
    /// Where it is.
    pub interface: InterfaceId,
    /// Its address.
    pub next_hop: IpAddr,
    /// So many.
    pub packets: usize,
    /// The oldest of them waits so long.
    pub oldest: Duration,
}

/// A next hop that packets were lost for since it last answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailingHop {
    /// Where it is.
    pub interface: InterfaceId,
    /// Its address.
    pub next_hop: IpAddr,
    /// So many packets that waited for it.
    pub lost: u64,
    /// Time since the first of them was given up.
    pub since: Duration,
    /// Time since the last.
    pub last: Duration,
}

/// The exception path at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Queues {
    /// In the order of the workers.
    pub rings: Vec<RingFills>,
    /// Next hops with packets that wait, longest first.
    pub waiting: Vec<WaitingHop>,
    /// Next hops that packets were lost for, latest first.
    pub failing: Vec<FailingHop>,
    /// How long packets waited since the start.
    pub waits: QueueWaits,
}

impl Kernel {
    /// The exception path as it is now.
    #[must_use]
    pub fn queues(&self) -> Queues {
        let now = Instant::now();
        let (mut rings, [urgent, other]) = {
            let punts = self.punts.borrow();
            (punts.fills(), punts.waits())
        };
        self.with(|exchange| {
            for (ring, inject) in rings.iter_mut().zip(exchange.inject_fills()) {
                ring.inject = inject;
            }
            let mut waiting: Vec<_> = exchange.resolver.waiting_hops(now).collect();
            waiting.sort_by_key(|hop| std::cmp::Reverse(hop.oldest));
            let mut failing: Vec<_> = exchange.resolver.failing_hops(now).collect();
            failing.sort_by_key(|hop| hop.last);
            let waits = QueueWaits { urgent, other, neighbor: exchange.neighbor_waits };
            Queues { rings, waiting, failing, waits }
        })
    }
}
