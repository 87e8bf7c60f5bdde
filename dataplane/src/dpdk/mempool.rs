//! A pool of equally large packet buffers, shared by ports and workers.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

use super::eal::{Eal, Memory};
use super::error::{Errno, MempoolError, Said};
use super::lcore::lcores;
use super::mbuf::Mbuf;
use crate::buffer::BufferPool;
use crate::io::Frames;

/// Free bytes before the data of a fresh mbuf: room for headers that grow.
pub const DEFAULT_HEADROOM: u16 = dpdk_sys::BL_PKTMBUF_HEADROOM;

/// Ethernet header, two VLAN tags, frame check sequence.
const FRAME_OVERHEAD: u32 = 14 + 8 + 4;

/// DPDK's limit for a name: its own 32 bytes with NUL, less the prefix `MP_` its zones add.
const LONGEST_NAME: usize = 25;

/// DPDK's limit for a cache (`RTE_MEMPOOL_CACHE_MAX_SIZE`).
const LARGEST_CACHE: u32 = 512;

/// The data room, in bytes, with which each frame of `mtu` bytes fits one mbuf: DPDK's usual 2176 for
/// Ethernet, 9344 for 9000.
#[must_use]
pub fn data_room_for_mtu(mtu: u16) -> u16 {
    // Whole kilobytes behind the headroom: several NICs round the size of their receive buffers down to that,
    // and would then spread a frame over two mbufs.
    let frame = frame_size(mtu).next_multiple_of(1024).max(2048);
    u16::try_from(frame + u32::from(DEFAULT_HEADROOM)).unwrap_or(u16::MAX)
}

/// The largest frame of `mtu` bytes, tags and check sequence included.
pub(super) fn frame_size(mtu: u16) -> u32 {
    u32::from(mtu) + FRAME_OVERHEAD
}

/// A pool of mbufs. Clones share it, from any thread; a thread registered as lcore has a cache of its own in
/// it.
#[derive(Debug, Clone)]
pub struct Mempool(Arc<MempoolInner>);

#[derive(Debug)]
struct MempoolInner {
    pool: NonNull<dpdk_sys::rte_mempool>,
    name: String,
    data_room: u16,
    eal: Eal,
}

// SAFETY: DPDK creates the pool with multi-producer, multi-consumer rings; each lcore touches its own cache
// only, and a thread without lcore id none. Creation and release happen once, by their only owner.
unsafe impl Send for MempoolInner {}
// SAFETY: as above.
unsafe impl Sync for MempoolInner {}

impl Mempool {
    /// Creates a pool of `count` mbufs with `data_room` bytes each, headroom included, on the NUMA node of
    /// the calling thread if it has room. Each lcore keeps up to 1.5 times `cache` of them for itself.
    /// `count` of 2^n - 1 wastes no memory.
    ///
    /// # Errors
    /// See [`MempoolError`]. Names are unique in the process.
    pub fn create(
        eal: &Eal,
        name: &str,
        count: u32,
        cache: u32,
        data_room: u16,
    ) -> Result<Self, MempoolError> {
        let c_name = CString::new(name).ok().filter(|_| (1..=LONGEST_NAME).contains(&name.len()));
        let Some(c_name) = c_name else {
            return Err(MempoolError::Name { name: name.to_owned(), longest: LONGEST_NAME });
        };
        check_sizes(name, count, cache, data_room)?;
        let (pool, said) = Said::during(|| {
            // SAFETY: the EAL is initialised, `eal` proves it; the name is NUL-terminated and copied by DPDK.
            unsafe {
                dpdk_sys::bl_pktmbuf_pool_create(
                    c_name.as_ptr(),
                    count,
                    cache,
                    data_room,
                    i32::from(eal.memory() == Memory::Hugepages),
                )
            }
        });
        match NonNull::new(pool) {
            Some(pool) => {
                Ok(Self(Arc::new(MempoolInner { pool, name: name.to_owned(), data_room, eal: eal.clone() })))
            }
            None => Err(explain(name, count, data_room, Errno::last(), said)),
        }
    }

    /// A fresh mbuf of length zero, or `None` when the pool is exhausted.
    #[inline]
    #[must_use]
    pub fn allocate_mbuf(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives as long as `self`.
        let mbuf = NonNull::new(unsafe { dpdk_sys::bl_pktmbuf_alloc(self.as_ptr()) })?;
        // SAFETY: a fresh mbuf has one segment, one reference, and this is its only owner.
        Some(unsafe { Mbuf::from_raw(mbuf) })
    }

    /// Appends `count` fresh mbufs of length zero to `frames`, or none when it has no room for them or the pool
    /// misses some: one call into DPDK for a whole burst. Returns how many.
    #[inline]
    pub fn allocate_burst(&self, frames: &mut Frames<Mbuf>, count: usize) -> usize {
        let first = frames.len();
        if count > frames.remaining_capacity() {
            return 0;
        }
        // SAFETY: the pool lives as long as `self`; there are `count` free places from `first` on. DPDK fills all
        // of them or none, each with an mbuf of one segment and one reference that nobody else owns.
        unsafe {
            let free = frames.as_mut_ptr().add(first).cast::<*mut dpdk_sys::rte_mbuf>();
            let wanted = u32::try_from(count).expect("a burst is small");
            if dpdk_sys::bl_pktmbuf_alloc_bulk(self.as_ptr(), free, wanted) != 0 {
                return 0;
            }
            frames.set_len(first + count);
        }
        count
    }

    /// Mbufs somebody owns: packets in hand, and those in the queues of ports.
    #[must_use]
    pub fn in_use(&self) -> usize {
        // SAFETY: the pool lives as long as `self`, and has a cache for every lcore.
        unsafe { dpdk_sys::bl_mempool_in_use(self.as_ptr(), lcores()) as usize }
    }

    /// Mbufs free to allocate, the caches of all lcores included.
    #[must_use]
    pub fn available(&self) -> usize {
        // SAFETY: the pool lives as long as `self`, and has a cache for every lcore.
        unsafe { dpdk_sys::bl_mempool_available(self.as_ptr(), lcores()) as usize }
    }

    /// Bytes per mbuf, headroom included.
    #[must_use]
    pub fn data_room(&self) -> u16 {
        self.0.data_room
    }

    /// The name given at its creation.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> *mut dpdk_sys::rte_mempool {
        self.0.pool.as_ptr()
    }
}

impl BufferPool for Mempool {
    type Buffer = Mbuf;

    #[inline]
    fn allocate(&mut self) -> Option<Mbuf> {
        self.allocate_mbuf()
    }
}

impl Drop for MempoolInner {
    fn drop(&mut self) {
        // SAFETY: the pool was created by `create` and is released here only; it has a cache for every lcore.
        let in_use = unsafe { dpdk_sys::bl_mempool_in_use(self.pool.as_ptr(), lcores()) };
        if in_use == 0 {
            // SAFETY: no mbuf is owned by anybody, and nobody can allocate another: allocation needs a
            // `Mempool`, and the ports that receive into this one hold clones of it.
            unsafe { dpdk_sys::rte_mempool_free(self.pool.as_ptr()) }
        } else {
            self.eal.abandon();
        }
    }
}

fn check_sizes(name: &str, count: u32, cache: u32, data_room: u16) -> Result<(), MempoolError> {
    let lowest = data_room_for_mtu(0);
    if data_room < lowest {
        return Err(MempoolError::DataRoom { name: name.to_owned(), data_room, lowest });
    }
    // DPDK flushes a cache at one and a half times its size, and wants the pool to be larger than that.
    let largest = (count / 3 * 2).min(LARGEST_CACHE);
    if cache > largest {
        return Err(MempoolError::Cache { name: name.to_owned(), cache, count, largest });
    }
    Ok(())
}

fn explain(name: &str, count: u32, data_room: u16, errno: Errno, said: Said) -> MempoolError {
    const MBUF_AND_HEADER: u64 = 128 + 64;
    let name = name.to_owned();
    if matches!(errno, Errno::ENOMEM | Errno::ENOBUFS) {
        let needed_mb = (u64::from(count) * (u64::from(data_room) + MBUF_AND_HEADER)).div_ceil(1 << 20);
        MempoolError::NoMemory { name, count, needed_mb, said }
    } else {
        MempoolError::Failed { name, errno, said }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pool has an array of caches, one for each lcore. Whatever of a cache is in use ends two lines before the next.
    #[test]
    fn the_caches_of_two_lcores_never_share_a_cache_line() {
        use dpdk_sys::rte_mempool_cache as Cache;
        let most = LARGEST_CACHE as usize * 3 / 2 + crate::io::BURST;
        let used = std::mem::offset_of!(Cache, objs) + most * size_of::<*mut ()>();
        assert!(align_of::<Cache>() >= 64 && size_of::<Cache>().is_multiple_of(64));
        assert!(used + 128 <= size_of::<Cache>(), "{used} of {} bytes are in use", size_of::<Cache>());
    }

    #[test]
    fn data_rooms_hold_a_frame_and_end_on_a_kilobyte() {
        for (mtu, data_room) in
            [(0, 2176), (1500, 2176), (2022, 2176), (2023, 3200), (9000, 9344), (u16::MAX, u16::MAX)]
        {
            assert_eq!(data_room_for_mtu(mtu), data_room, "MTU {mtu}");
        }
    }
}
