//! The two ends a worker polls. One call into DPDK per burst, and none per packet.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use dpdk_sys::rte_mbuf;

use super::mbuf::Mbuf;
use super::mempool::Mempool;
use super::port::PortInner;
use crate::counters::Event;
use crate::io::{BURST, Frames, ReceiveQueue, TransmitQueue};
use crate::sink::Sink;
use crate::verdict::DropReason;

/// Makes a queue unshareable between threads: DPDK allows one thread at a time per queue.
type NotSync = PhantomData<Cell<()>>;

// A burst is at most BURST frames, so each count below fits DPDK's u16.
const _: () = assert!(BURST <= u16::MAX as usize);

/// One receive queue of a port. Keeps the port open while it lives.
#[derive(Debug)]
pub struct RxQueue {
    port: u16,
    queue: u16,
    inner: Arc<PortInner>,
    _not_sync: NotSync,
}

impl RxQueue {
    /// The only receive queue `queue` of `port`, which is started.
    pub(super) fn new(port: &Arc<PortInner>, queue: u16) -> Self {
        Self { port: port.id(), queue, inner: Arc::clone(port), _not_sync: PhantomData }
    }

    /// The port, and which of its queues this is.
    pub(super) fn place(&self) -> (&Arc<PortInner>, u16) {
        (&self.inner, self.queue)
    }
}

/// Joins the chains among `frames[first..]`, and ends those that do not fit.
#[cold]
fn join_chains(frames: &mut Frames<Mbuf>, first: usize, sink: &mut Sink<Mbuf>) {
    for index in (first..frames.len()).rev() {
        if frames[index].segments() == 1 {
            continue;
        }
        // SAFETY: a chain with one owner; DPDK copies the tail into the first segment, or leaves all as
        // it is.
        if unsafe { dpdk_sys::bl_pktmbuf_linearize(frames[index].as_ptr()) } == 0 {
            sink.counts.count(Event::JoinedFrames);
        } else {
            // Order among those that remain matters to TCP: shift, do not swap.
            sink.reject(frames.remove(index), DropReason::SegmentsTooLong);
        }
    }
}

impl ReceiveQueue for RxQueue {
    type Buffer = Mbuf;

    /// Vector drivers hand out frames by four or eight: give them an empty list.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the capacity is BURST, asserted above to fit")]
    fn receive(&mut self, frames: &mut Frames<Mbuf>, sink: &mut Sink<Mbuf>) -> usize {
        let first = frames.len();
        let room = frames.remaining_capacity() as u16;
        // SAFETY: the port is started and stays so while `inner` lives; `&mut self` makes this thread the
        // only one on this queue; there are `room` free places from `first` on. The driver writes an owned,
        // non-null mbuf to each place it reports, which is what an `Mbuf` is.
        unsafe {
            let free = frames.as_mut_ptr().add(first).cast::<*mut rte_mbuf>();
            let received = dpdk_sys::bl_eth_rx_burst(self.port, self.queue, free, room);
            frames.set_len(first + usize::from(received));
        }
        let chained = frames[first..].iter().fold(false, |any, frame| any | (frame.segments() != 1));
        if chained {
            join_chains(frames, first, sink);
        }
        frames.len() - first
    }
}

/// One transmit queue of a port. Keeps the port open while it lives.
#[derive(Debug)]
pub struct TxQueue {
    port: u16,
    queue: u16,
    /// Where the NIC returns all sent mbufs to without looking, if it was told that it may.
    fast_free: Option<Mempool>,
    _port: Arc<PortInner>,
    _not_sync: NotSync,
}

impl TxQueue {
    /// The only transmit queue `queue` of `port`, which is started. With `fast_free`, the driver was told
    /// that every mbuf of this queue comes from that pool.
    pub(super) fn new(port: &Arc<PortInner>, queue: u16, fast_free: Option<Mempool>) -> Self {
        Self { port: port.id(), queue, fast_free, _port: Arc::clone(port), _not_sync: PhantomData }
    }

    /// One call into DPDK, which takes frames from the front of the list.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the capacity is BURST, asserted above to fit")]
    fn hand_over(&mut self, frames: &mut Frames<Mbuf>) {
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
        }
    }

    /// Whether some frame would go back to the wrong pool. The cost is one compare per frame, on a cache line in use
    /// anyway.
    #[inline]
    fn has_strangers(&self, frames: &Frames<Mbuf>) -> bool {
        let Some(pool) = self.fast_free.as_ref().map(Mempool::as_ptr) else {
            return false;
        };
        frames.iter().fold(false, |any, frame| any | (frame.pool() != pool))
    }

    /// Sends the frames of the queue's own pool and leaves all others.
    #[cold]
    fn transmit_own(&mut self, frames: &mut Frames<Mbuf>) {
        let pool = self.fast_free.as_ref().map(Mempool::as_ptr);
        let (mut own, strangers): (Frames<Mbuf>, Frames<Mbuf>) =
            frames.drain(..).partition(|frame| Some(frame.pool()) == pool);
        self.hand_over(&mut own);
        frames.extend(own);
        frames.extend(strangers);
    }
}

impl TransmitQueue for TxQueue {
    type Buffer = Mbuf;

    #[inline]
    fn transmit(&mut self, frames: &mut Frames<Mbuf>) {
        if self.has_strangers(frames) { self.transmit_own(frames) } else { self.hand_over(frames) }
    }
}
