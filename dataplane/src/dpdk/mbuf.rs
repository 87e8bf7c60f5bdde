//! One packet in an mbuf of DPDK.

use std::fmt;
use std::ptr::NonNull;
use std::slice;

use dpdk_sys::{bl_mbuf, rte_mbuf, rte_mempool};

use crate::buffer::{Buffer, NoRoom};
use crate::io::Frames;

/// What the NIC found about the IPv4 header checksum of a received packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// It is right.
    Good,
    /// It is wrong.
    Bad,
    /// The NIC did not look.
    Unknown,
}

/// Owns one mbuf: frees it when dropped, gives it away when transmitted. Eight bytes, and so is
/// `Option<Mbuf>`.
///
/// Always one segment: receive queues join chains, or drop them. It may be dropped on any thread.
#[repr(transparent)]
pub struct Mbuf(NonNull<rte_mbuf>);

// Invariant of every Mbuf, on which the SAFETY comments below rely: it is the only owner of a live mbuf with
// one reference, whose bytes buf_addr..buf_addr+buf_len belong to it alone, and data_off + data_len <=
// buf_len.

// SAFETY: an mbuf has no tie to a thread, and its mempool takes it back from any.
unsafe impl Send for Mbuf {}

const _: () = assert!(size_of::<Mbuf>() == 8 && size_of::<Option<Mbuf>>() == 8);

impl Mbuf {
    /// Takes ownership.
    ///
    /// # Safety
    /// `mbuf` came from a mempool or a driver, has one reference and no other owner.
    #[inline]
    pub(super) unsafe fn from_raw(mbuf: NonNull<rte_mbuf>) -> Self {
        Self(mbuf)
    }

    /// Segments of the packet: 1, except in a chain that a receive queue has not joined yet.
    #[inline]
    #[must_use]
    pub fn segments(&self) -> u16 {
        self.head().nb_segs
    }

    /// What the NIC found about the IPv4 header checksum. Speaks of the packet as received, not as rewritten
    /// since.
    #[inline]
    #[must_use]
    pub fn ipv4_checksum(&self) -> Checksum {
        match self.head().ol_flags & dpdk_sys::BL_MBUF_F_RX_IP_CKSUM_MASK {
            dpdk_sys::BL_MBUF_F_RX_IP_CKSUM_GOOD => Checksum::Good,
            dpdk_sys::BL_MBUF_F_RX_IP_CKSUM_BAD => Checksum::Bad,
            // "None", the combination of both, says that the header is right although the field is not: look
            // yourself.
            _ => Checksum::Unknown,
        }
    }

    /// The pool this mbuf goes back to.
    #[inline]
    pub(super) fn pool(&self) -> *mut rte_mempool {
        self.head().pool
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> *mut rte_mbuf {
        self.0.as_ptr()
    }

    #[inline]
    fn head(&self) -> &bl_mbuf {
        // SAFETY: `bl_mbuf` is the first cache line of an `rte_mbuf`, as shim.c asserts field by field; the
        // mbuf is live and `&self` keeps others from changing it.
        unsafe { self.0.cast::<bl_mbuf>().as_ref() }
    }

    #[inline]
    fn head_mut(&mut self) -> &mut bl_mbuf {
        // SAFETY: as in `head`, and `&mut self` makes the access exclusive.
        unsafe { self.0.cast::<bl_mbuf>().as_mut() }
    }

    /// Sets where the packet starts and how long it is. The caller has checked `offset + length <= buf_len`.
    #[inline]
    fn set_extent(&mut self, offset: u16, length: u16) {
        let head = self.head_mut();
        debug_assert!(u32::from(offset) + u32::from(length) <= u32::from(head.buf_len));
        head.data_off = offset;
        head.data_len = length;
        head.pkt_len = u32::from(length);
    }
}

impl Buffer for Mbuf {
    #[inline]
    fn release(packets: &mut Frames<Self>) {
        free_burst(packets);
    }

    #[inline]
    fn data(&self) -> &[u8] {
        let head = self.head();
        // SAFETY: data_off + data_len <= buf_len, the bytes are ours alone, and the kernel handed the pages
        // out zeroed, so they are initialised whatever was written since.
        unsafe {
            slice::from_raw_parts(
                head.buf_addr.cast::<u8>().add(usize::from(head.data_off)),
                usize::from(head.data_len),
            )
        }
    }

    #[inline]
    fn data_mut(&mut self) -> &mut [u8] {
        let head = self.head();
        // SAFETY: as in `data`; `&mut self` makes the access exclusive, and the header of the mbuf lies
        // outside these bytes.
        unsafe {
            slice::from_raw_parts_mut(
                head.buf_addr.cast::<u8>().add(usize::from(head.data_off)),
                usize::from(head.data_len),
            )
        }
    }

    #[inline]
    fn headroom(&self) -> usize {
        usize::from(self.head().data_off)
    }

    #[inline]
    fn tailroom(&self) -> usize {
        let head = self.head();
        usize::from(head.buf_len) - usize::from(head.data_off) - usize::from(head.data_len)
    }

    #[inline]
    fn push_front(&mut self, count: usize) -> Result<(), NoRoom> {
        let &bl_mbuf { data_off, data_len, .. } = self.head();
        let count = u16::try_from(count).map_err(|_| NoRoom)?;
        let offset = data_off.checked_sub(count).ok_or(NoRoom)?;
        // The end stays where it is, so the sum below is at most buf_len.
        self.set_extent(offset, data_len + count);
        Ok(())
    }

    #[inline]
    fn pull_front(&mut self, count: usize) {
        let &bl_mbuf { data_off, data_len, .. } = self.head();
        let Some(count) = u16::try_from(count).ok().filter(|&count| count <= data_len) else {
            pulled_too_much(count, data_len)
        };
        self.set_extent(data_off + count, data_len - count);
    }

    #[inline(always)]
    fn reshape(&mut self, old: usize, new: usize, length: usize) -> Result<(), NoRoom> {
        let &bl_mbuf { data_off, data_len, .. } = self.head();
        let (start, end) = (usize::from(data_off) + old, usize::from(data_off) + usize::from(data_len));
        let Some(offset) = start.checked_sub(new).filter(|_| start <= end) else {
            return if start <= end { Err(NoRoom) } else { pulled_too_much(old, data_len) };
        };
        let length = length.min(end - offset);
        // Both are at most `end`, which is at most buf_len.
        let fit = |value: usize| u16::try_from(value).expect("an mbuf has fewer than 64 KiB");
        self.set_extent(fit(offset), fit(length));
        Ok(())
    }

    #[inline]
    fn push_back(&mut self, count: usize) -> Result<(), NoRoom> {
        if count > self.tailroom() {
            return Err(NoRoom);
        }
        let &bl_mbuf { data_off, data_len, .. } = self.head();
        let count = u16::try_from(count).map_err(|_| NoRoom)?;
        self.set_extent(data_off, data_len + count);
        Ok(())
    }

    #[inline]
    fn truncate(&mut self, length: usize) {
        let &bl_mbuf { data_off, data_len, .. } = self.head();
        // The shorter of two u16 lengths is one.
        let length = u16::try_from(length).unwrap_or(u16::MAX).min(data_len);
        self.set_extent(data_off, length);
    }
}

/// Frees all of `frames` in one call into DPDK: for who receives packets and passes none on.
#[inline]
pub fn free_burst(frames: &mut Frames<Mbuf>) {
    let count = u32::try_from(frames.len()).expect("a burst is small");
    // SAFETY: `set_len(0)` first: from there on `frames` owns none of the `count` mbufs at its start, and DPDK takes
    // each of them exactly once. Their pools are alive, see `drop`.
    unsafe {
        frames.set_len(0);
        dpdk_sys::rte_pktmbuf_free_bulk(frames.as_mut_ptr().cast::<*mut rte_mbuf>(), count);
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this is the only owner; its mempool is alive because a mempool that misses an mbuf is never
        // freed.
        unsafe { dpdk_sys::bl_pktmbuf_free(self.as_ptr()) }
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf")
            .field("length", &self.data().len())
            .field("headroom", &self.headroom())
            .field("segments", &self.segments())
            .finish_non_exhaustive()
    }
}

/// A bug of the caller: see [`Buffer::pull_front`].
#[cold]
#[inline(never)]
#[allow(clippy::panic, reason = "the trait documents this panic: lengths are checked in parse")]
fn pulled_too_much(count: usize, length: u16) -> ! {
    panic!("{count} bytes pulled from a packet of {length}")
}
