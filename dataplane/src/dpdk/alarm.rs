//! Receive interrupts: what a worker without anything to do waits for.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use super::error::Errno;
use super::log;
use super::port::PortInner;
use super::queue::RxQueue;
use crate::io::Alarm;

/// The receive interrupts of one worker's queues. Keeps their ports open while it lives.
#[derive(Debug)]
pub struct RxAlarm {
    queues: Vec<Watched>,
    epoll: Arc<OwnedFd>,
}

impl RxAlarm {
    /// For the worker that has these queues; none unless every one of them can interrupt.
    #[must_use]
    pub fn new(queues: &[RxQueue]) -> Option<Self> {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).ok()?);
        let queues: Option<Vec<_>> = queues.iter().map(|queue| Watched::new(queue, &epoll)).collect();
        queues.filter(|queues| !queues.is_empty()).map(|queues| Self { queues, epoll })
    }
}

impl Alarm for RxAlarm {
    fn arm(&mut self) -> bool {
        self.queues.iter().all(|queue| queue.switch(true))
    }

    fn wait(&mut self, longest: Duration) -> bool {
        let longest = Timespec::try_from(longest).ok();
        let mut set = [PollFd::new(&*self.epoll, PollFlags::IN)];
        // Interrupted by a signal: the worker looks at its queues, and comes back.
        let happened = poll(&mut set, longest.as_ref()).is_ok_and(|ready| ready > 0);
        if happened {
            // SAFETY: the set is open, and what DPDK put into it is there until `Watched` is dropped.
            unsafe { dpdk_sys::bl_epoll_drain(self.epoll.as_raw_fd()) };
        }
        happened
    }

    fn disarm(&mut self) {
        for queue in &self.queues {
            queue.switch(false);
        }
    }
}

/// A receive queue whose interrupts are looked for in an epoll set.
#[derive(Debug)]
struct Watched {
    port: Arc<PortInner>,
    queue: u16,
    epoll: Arc<OwnedFd>,
}

impl Watched {
    fn new(queue: &RxQueue, epoll: &Arc<OwnedFd>) -> Option<Self> {
        let (port, queue) = queue.place();
        if !port.interrupts {
            return None;
        }
        // SAFETY: the port is started and the set is open. DPDK keeps an entry of the set in the port, which lives as long
        // as the entry: see `drop`.
        let watch = || unsafe { dpdk_sys::bl_eth_rx_intr_watch(port.id(), queue, epoll.as_raw_fd()) };
        Errno::check(log::attempting(watch)).ok()?;
        Some(Self { port: Arc::clone(port), queue, epoll: Arc::clone(epoll) })
    }

    /// Whether the queue does as told.
    fn switch(&self, on: bool) -> bool {
        let _alone = self.port.switching.lock().unwrap_or_else(PoisonError::into_inner);
        switch(self.port.id(), self.queue, on)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: the port is started while `self.port` lives, and the set is open while `self.epoll` does.
        let unwatch = || unsafe {
            dpdk_sys::bl_eth_rx_intr_unwatch(self.port.id(), self.queue, self.epoll.as_raw_fd())
        };
        // The port may be gone by itself: then there is nothing to take out.
        let _ = log::attempting(unwatch);
    }
}

/// Whether each of the first `queues` receive queues of a started port can interrupt on its own.
pub(super) fn queues_interrupt(port: u16, queues: u16) -> bool {
    let mut seen = Vec::new();
    log::attempting(|| {
        (0..queues).all(|queue| {
            // SAFETY: reads a number; the port is started.
            let descriptor = unsafe { dpdk_sys::rte_eth_dev_rx_intr_ctl_q_get_fd(port, queue) };
            let own = descriptor >= 0 && !seen.contains(&descriptor);
            seen.push(descriptor);
            own && switch(port, queue, true) && switch(port, queue, false)
        })
    })
}

/// Switches the interrupts of a queue of a started port; whether it does as told.
fn switch(port: u16, queue: u16, on: bool) -> bool {
    // SAFETY: changes what the NIC does, and nothing in memory but the driver's own; the port is started, and callers see
    // to it that nobody else switches interrupts of this port meanwhile.
    let result = unsafe {
        if on {
            dpdk_sys::rte_eth_dev_rx_intr_enable(port, queue)
        } else {
            dpdk_sys::rte_eth_dev_rx_intr_disable(port, queue)
        }
    };
    // A driver without the switch, and with a descriptor to wait for, interrupts all the time: net_tap.
    matches!(Errno::check(result), Ok(_) | Err(Errno::ENOTSUP))
}
