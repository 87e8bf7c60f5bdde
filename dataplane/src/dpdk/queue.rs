//! The two ends a worker polls. One call into DPDK per burst, and none per packet.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use dpdk_sys::rte_mbuf;

use super::mbuf::{Mbuf, free_burst};
use super::mempool::Mempool;
use super::port::PortInner;
use crate::io::{BURST, Frames, ReceiveQueue, Refused, TransmitQueue};

/// Makes a queue unshareable between threads: DPDK allows one thread at a time per queue.
type NotSync = PhantomData<Cell<()>>;

// A burst is at most BURST frames, so each count below fits DPDK's u16.
const _: () = assert!(BURST <= u16::MAX as usize);

/// One receive queue of a port. Keeps the port open while it lives.
#[derive(Debug)]
pub struct RxQueue {
    port: u16,
    queue: u16,
    dropped_segmented: u64,
    _port: Arc<PortInner>,
    _not_sync: NotSync,
}

impl RxQueue {
    /// The only receive queue `queue` of `port`, which is started.
    pub(super) fn new(port: &Arc<PortInner>, queue: u16) -> Self {
        Self { port: port.id(), queue, dropped_segmented: 0, _port: Arc::clone(port), _not_sync: PhantomData }
    }

    /// Packets that came in several segments and did not fit one mbuf. They were freed.
    #[must_use]
    pub fn dropped_segmented(&self) -> u64 {
        self.dropped_segmented
    }

    /// Joins the chains among `frames[first..]`, and drops those that do not fit.
    #[cold]
    fn join_chains(&mut self, frames: &mut Frames<Mbuf>, first: usize) {
        for index in (first..frames.len()).rev() {
            // SAFETY: a chain with one owner; DPDK copies the tail into the first segment, or leaves all as
            // it is.
            if unsafe { dpdk_sys::bl_pktmbuf_linearize(frames[index].as_ptr()) } != 0 {
                // Order among those that remain matters to TCP: shift, do not swap.
                drop(frames.remove(index));
                self.dropped_segmented += 1;
            }
        }
    }
}

impl ReceiveQueue for RxQueue {
    type Buffer = Mbuf;

    /// Vector drivers hand out frames by four or eight: give them an empty list.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the capacity is BURST, asserted above to fit")]
    fn receive(&mut self, frames: &mut Frames<Mbuf>) -> usize {
        let first = frames.len();
        let room = frames.remaining_capacity() as u16;
        // SAFETY: the port is started and stays so while `_port` lives; `&mut self` makes this thread the
        // only one on this queue; there are `room` free places from `first` on. The driver writes an owned,
        // non-null mbuf to each place it reports, which is what an `Mbuf` is.
        unsafe {
            let free = frames.as_mut_ptr().add(first).cast::<*mut rte_mbuf>();
            let received = dpdk_sys::bl_eth_rx_burst(self.port, self.queue, free, room);
            frames.set_len(first + usize::from(received));
        }
        let chained = frames[first..].iter().fold(false, |any, frame| any | (frame.segments() != 1));
        if chained {
            self.join_chains(frames, first);
        }
        frames.len() - first
    }
}

/// One transmit queue of a port. Keeps the port open while it lives.
#[derive(Debug)]
pub struct TxQueue {
    port: u16,
    queue: u16,
    refused: u64,
    /// Where the NIC returns all sent mbufs to without looking, if it was told that it may.
    fast_free: Option<Mempool>,
    _port: Arc<PortInner>,
    _not_sync: NotSync,
}

impl TxQueue {
    /// The only transmit queue `queue` of `port`, which is started. With `fast_free`, the driver was told
    /// that every mbuf of this queue comes from that pool.
    pub(super) fn new(port: &Arc<PortInner>, queue: u16, fast_free: Option<Mempool>) -> Self {
        Self {
            port: port.id(),
            queue,
            refused: 0,
            fast_free,
            _port: Arc::clone(port),
            _not_sync: PhantomData,
        }
    }

    /// Frames freed instead of sent, since the port was opened.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes as many frames from the front of `frames` as the port has room for and leaves the others there, in
    /// order, for a later call: for who waits for the port. A forwarder calls `transmit`, which never keeps
    /// any. Returns how many were taken.
    #[inline]
    pub fn offer(&mut self, frames: &mut Frames<Mbuf>) -> usize {
        self.refused += self.drop_strangers(frames).frames as u64;
        self.hand_over(frames)
    }

    /// One call into DPDK. Returns how many frames it took.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the capacity is BURST, asserted above to fit")]
    fn hand_over(&mut self, frames: &mut Frames<Mbuf>) -> usize {
        let count = frames.len();
        // SAFETY: the port is started and stays so while `_port` lives; `&mut self` makes this thread the only one
        // on this queue. `set_len(0)` first: from there on `frames` owns none of the `count` mbufs at `mbufs`. DPDK
        // takes the first `sent` of them and leaves the others to us; those are moved to the front, and `frames`
        // owns exactly them.
        unsafe {
            frames.set_len(0);
            let mbufs = frames.as_mut_ptr().cast::<*mut rte_mbuf>();
            let sent = usize::from(dpdk_sys::bl_eth_tx_burst(self.port, self.queue, mbufs, count as u16));
            if sent < count {
                std::ptr::copy(mbufs.add(sent), mbufs, count - sent);
                frames.set_len(count - sent);
            }
            sent
        }
    }

    /// Drops what would go back to the wrong pool. The cost is one compare per frame, on a cache line in use
    /// anyway.
    #[inline]
    fn drop_strangers(&self, frames: &mut Frames<Mbuf>) -> Refused {
        let Some(pool) = self.fast_free.as_ref().map(Mempool::as_ptr) else {
            return Refused::default();
        };
        let strange = frames.iter().fold(false, |any, frame| any | (frame.pool() != pool));
        if !strange {
            return Refused::default();
        }
        let strangers = Refused::of(frames.iter().filter(|frame| frame.pool() != pool));
        frames.retain(|frame| frame.pool() == pool);
        strangers
    }
}

impl TransmitQueue for TxQueue {
    type Buffer = Mbuf;

    #[inline]
    fn transmit(&mut self, frames: &mut Frames<Mbuf>) -> Refused {
        let mut refused = self.drop_strangers(frames);
        self.hand_over(frames);
        if !frames.is_empty() {
            let left = Refused::of(frames.iter());
            refused.frames += left.frames;
            refused.bytes += left.bytes;
            free_burst(frames);
        }
        self.refused += refused.frames as u64;
        refused
    }
}
