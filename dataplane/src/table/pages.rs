//! Memory for large tables: arrays on pages of 2 MB where the kernel has them.
//!
//! A table of a million mappings spans thousands of ordinary pages, and a core's address cache holds far fewer: every
//! random lookup would wait for a walk of the page tables first. Pages of 2 MB are asked for by advice
//! (`/sys/kernel/mm/transparent_hugepage/enabled`: `madvise` or `always`); where there are none the array works the
//! same, on ordinary pages.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use memmap2::{Advice, MmapMut};

const HUGE: usize = 2 << 20;

/// A fixed number of `T`, all bytes zero at first. Arrays of 2 MB and more start at a 2 MB boundary.
pub(super) struct Pages<T> {
    map: MmapMut,
    /// Where the array starts in the mapping.
    start: usize,
    bytes: usize,
    items: PhantomData<T>,
}

impl<T: Pod> Pages<T> {
    /// `length` items of zero bytes.
    ///
    /// # Panics
    /// When the system has no memory, as any allocation.
    pub(super) fn zeroed(length: usize) -> Self {
        const { assert!(size_of::<T>() > 0 && align_of::<T>() <= 4096) };
        let bytes = length * size_of::<T>();
        let slack = if bytes < HUGE { 0 } else { HUGE };
        let map = MmapMut::map_anon((bytes + slack).max(1)).expect("memory for a table");
        let start = if slack == 0 { 0 } else { map.as_ptr().align_offset(HUGE) };
        if slack > 0 {
            // Refused by kernels built without huge pages: then it stays on ordinary ones.
            let _ = map.advise_range(Advice::HugePage, start, bytes);
        }
        Self { map, start, bytes, items: PhantomData }
    }

    /// Bytes of memory it takes.
    pub(super) const fn memory(&self) -> usize {
        self.bytes
    }
}

impl<T: Pod> Clone for Pages<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Pod> Deref for Pages<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.map[self.start..self.start + self.bytes])
    }
}

impl<T: Pod> DerefMut for Pages<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.map[self.start..self.start + self.bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_arrays_start_at_a_huge_page_and_copies_are_apart() {
        for length in [0_usize, 1, 7, HUGE / 8 - 1, HUGE / 8, HUGE / 4 + 3] {
            let mut pages = Pages::<u64>::zeroed(length);
            assert_eq!(pages.len(), length);
            assert!(pages.iter().all(|item| *item == 0));
            assert!(length * 8 < HUGE || pages.as_ptr().align_offset(HUGE) == 0);
            pages.fill(9);
            let copy = pages.clone();
            pages.fill(3);
            assert!(copy.iter().all(|item| *item == 9));
        }
    }
}
