//! Where the blocks of IPv4 tables lie: bytes on huge pages, a group of eight blocks in 2 kB.
//!
//! On ordinary pages a random look-up in a full table waits for a walk of the page tables first, and the lines of blocks would be
//! fetched later for it. So the process has pieces of 2 MB ([`Lines`]), which it keeps, for all tables together; what one version lets
//! go of comes back into use for another. One writes to what no version has yet, others read the rest: words are atomic, every access is relaxed,
//! for the reasons that `table/pages.rs` gives.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::huge::{HUGE, LINE, Line, Lines};

pub(super) const OCTET: usize = 256;
/// Blocks in one piece.
pub(super) const BLOCKS: usize = 8;
/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// The bytes of eight blocks.
pub(super) type Cells = [Line; BLOCKS * OCTET / LINE];

/// Pieces that nobody has.
static FREE: Mutex<Vec<&'static Cells>> = Mutex::new(Vec::new());

fn free() -> MutexGuard<'static, Vec<&'static Cells>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The word with the byte of an address.
#[inline(always)]
pub(super) fn word(cells: &Cells, second: u8, third: u8) -> &AtomicU64 {
    let byte = usize::from(second) % BLOCKS * OCTET + usize::from(third);
    &cells[byte / LINE][byte % LINE / WORD]
}

/// The byte of an address, from its word.
#[inline(always)]
pub(super) fn byte(word: &AtomicU64, third: u8) -> u8 {
    word.load(Ordering::Relaxed).to_le_bytes()[usize::from(third) % WORD]
}

/// Cells of one owner.
pub(super) struct Owned(&'static Cells);

impl Owned {
    /// Some; what is in them is old.
    ///
    /// # Panics
    /// When the system has no memory, as any allocation.
    pub(super) fn take() -> Self {
        let mut free = free();
        if free.is_empty() {
            let lines: &'static Lines = Box::leak(Box::new(Lines::zeroed(HUGE / LINE)));
            free.extend(lines.all().as_chunks().0.iter().rev());
        }
        Self(free.pop().expect("some were added"))
    }

    pub(super) const fn cells(&self) -> &'static Cells {
        self.0
    }

    /// Writes the bytes of one block.
    pub(super) fn write(&mut self, block: usize, bytes: &[u8; OCTET]) {
        let words = &self.0.as_flattened()[block * (OCTET / WORD)..];
        for (word, bytes) in words.iter().zip(bytes.as_chunks().0) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
    }
}

impl Clone for Owned {
    fn clone(&self) -> Self {
        let copy = Self::take();
        for (from, to) in self.0.as_flattened().iter().zip(copy.0.as_flattened()) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        copy
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        free().push(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(cells: &Owned) -> Vec<u8> {
        let all = (0..=255).map(|third| byte(word(cells.cells(), 3, third), third));
        all.collect()
    }

    #[test]
    fn whoever_takes_cells_has_them_alone_until_they_are_dropped() {
        let mut kept: Vec<(Owned, [u8; OCTET])> = Vec::new();
        for round in 0..3000_usize {
            let pattern = std::array::from_fn(|at| (at * 7 + round * 13) as u8);
            let mut cells = match round % 3 {
                0 if !kept.is_empty() => kept.swap_remove(round % kept.len()).0.clone(),
                _ => Owned::take(),
            };
            cells.write(3, &pattern);
            kept.push((cells, pattern));
        }
        for (cells, pattern) in &kept {
            assert_eq!(bytes(cells), pattern);
            assert_eq!(bytes(&cells.clone()), pattern);
        }
        let mut places: Vec<_> = kept.iter().map(|(cells, _)| std::ptr::from_ref(cells.cells())).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), kept.len());
        assert!(kept.len() > 1500);
    }
}
