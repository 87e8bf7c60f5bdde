//! Memory for large tables: on pages of 2 MB where the kernel has them.
//!
//! A table of a million mappings spans thousands of ordinary pages, and a core's address cache holds far fewer: every
//! random lookup would wait for a walk of the page tables first. Pages of 2 MB are asked for by advice
//! (`/sys/kernel/mm/transparent_hugepage/enabled`: `madvise` or `always`); where there are none the memory works the
//! same, on ordinary pages.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use memmap2::{Advice, MmapMut};

const HUGE: usize = 2 << 20;

/// A `T` of 2 MB or more, all bytes zero at first, that starts at a 2 MB boundary.
pub(super) struct Pages<T> {
    map: MmapMut,
    /// Where it starts in the mapping.
    start: usize,
    content: PhantomData<T>,
}

impl<T: Pod> Pages<T> {
    /// Zero bytes.
    ///
    /// # Panics
    /// When the system has no memory, as any allocation.
    pub(super) fn zeroed() -> Self {
        const { assert!(size_of::<T>() >= HUGE && HUGE.is_multiple_of(align_of::<T>())) };
        let map = MmapMut::map_anon(size_of::<T>() + HUGE).expect("memory for a table");
        let start = map.as_ptr().align_offset(HUGE);
        // Refused by kernels built without huge pages: then it stays on ordinary ones.
        let _ = map.advise_range(Advice::HugePage, start, size_of::<T>());
        Self { map, start, content: PhantomData }
    }
}

impl<T: Pod> Clone for Pages<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed();
        bytemuck::bytes_of_mut(&mut *copy).copy_from_slice(bytemuck::bytes_of(&**self));
        copy
    }
}

impl<T: Pod> Deref for Pages<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        bytemuck::from_bytes(&self.map[self.start..self.start + size_of::<T>()])
    }
}

impl<T: Pod> DerefMut for Pages<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        bytemuck::from_bytes_mut(&mut self.map[self.start..self.start + size_of::<T>()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_starts_at_a_huge_page_and_copies_are_apart() {
        let mut pages = Pages::<[u64; HUGE / 8]>::zeroed();
        assert_eq!(std::ptr::from_ref(&*pages).align_offset(HUGE), 0);
        assert!(pages.iter().all(|word| *word == 0));
        pages.fill(9);
        let copy = pages.clone();
        pages.fill(3);
        assert!(copy.iter().all(|word| *word == 9));
    }
}
