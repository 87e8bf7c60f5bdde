//! Memory for large tables: lines of 64 bytes, on pages of 2 MB where the kernel has them.
//!
//! A table of a hundred megabytes spans thousands of ordinary pages, and a core's address cache holds far fewer: every random
//! look-up would wait for a walk of the page tables first. Pages of 2 MB are asked for by advice
//! (`/sys/kernel/mm/transparent_hugepage/enabled`: `madvise` or `always`); where there are none the memory works the same, on
//! ordinary pages.

use std::sync::atomic::AtomicU64;

use memmap2::{Advice, MmapMut};
use self_cell::{MutBorrow, self_cell};
use zerocopy::FromBytes;

/// Bytes of a page.
pub(crate) const HUGE: usize = 2 << 20;
/// Bytes of a line.
pub(crate) const LINE: usize = size_of::<Line>();

/// 64 bytes at an address that is a multiple of 64.
pub(crate) type Line = [AtomicU64; 8];
type Borrowed<'a> = &'a [Line];

self_cell! {
    /// A mapping and its lines.
    struct Memory {
        owner: MutBorrow<MmapMut>,
        #[covariant]
        dependent: Borrowed,
    }
}

/// Lines, all zeros at first, that begin at a boundary of 2 MB.
pub(crate) struct Lines(Memory);

impl Lines {
    /// So many lines; from 2 MB on, as many more as fill the last page.
    ///
    /// # Panics
    /// When the system has no memory, as any allocation.
    pub(crate) fn zeroed(lines: usize) -> Self {
        let bytes = lines * LINE;
        // Ordinary pages are aligned well enough for less.
        let (bytes, align) = if bytes < HUGE { (bytes, LINE) } else { (bytes.next_multiple_of(HUGE), HUGE) };
        let map = MmapMut::map_anon(bytes + align).expect("memory for a table");
        let start = map.as_ptr().align_offset(align);
        if align == HUGE {
            // Refused by kernels built without huge pages: then it stays on ordinary ones.
            let _ = map.advise_range(Advice::HugePage, start, bytes);
        }
        Self(Memory::new(MutBorrow::new(map), |map| {
            let bytes = &mut map.borrow_mut()[start..start + bytes];
            <[Line]>::mut_from_bytes(bytes).expect("whole lines, aligned")
        }))
    }

    /// All of them.
    #[inline(always)]
    pub(crate) fn all(&self) -> &[Line] {
        self.0.borrow_dependent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn large_memory_starts_at_a_huge_page_and_all_is_zero() {
        for (lines, expected) in [(5, 5), (HUGE / LINE, HUGE / LINE), (HUGE / LINE + 1, 2 * HUGE / LINE)] {
            let lines = Lines::zeroed(lines);
            assert_eq!(lines.all().len(), expected);
            assert!(expected < HUGE / LINE || lines.all().as_ptr().align_offset(HUGE) == 0);
            assert!(lines.all().as_flattened().iter().all(|word| word.load(Ordering::Relaxed) == 0));
        }
    }
}
