//! Memory for large tables: lines of 64 bytes, in pages that the versions of a table share until one of them changes.
//!
//! ```text
//!  line -> places, 2 bytes for each page -> arena:  | page | page | page | page | page | ...   all on huge pages
//!                                                       ^             ^
//!                     the version before:  places ------+             |    a change copies one page of 32 kB
//!                     this version:        places --------------------+
//! ```
//!
//! An arena is one piece of memory on huge pages ([`Lines`]). The pages of a table's versions are parts of it, much smaller, and
//! come back into use when the last version that had them is gone. Where no part is left, everything is copied to an arena of
//! its own.
//!
//! One writes to a page that no version has yet, others read the rest, so words are atomic. Every access is relaxed, which on
//! this kind of processor is an ordinary load or store: what is written before a version is published is seen by whoever
//! found the version, and a page comes back into use behind the counter that says that all have let go of it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::huge::{HUGE, LINE, Line, Lines};

/// Lines of a page: 32 kB. With smaller ones a change copies less, and a look-up waits longer for the larger list of
/// places (docs/performance.md has both). Tables with too many pages for two bytes have larger ones.
const SMALLEST_SHIFT: u32 = 9;
const MOST_PAGES: usize = 1 << 16;
/// Pages whose users are counted together.
const GROUP: usize = 64;

/// What the pages of a table's versions are parts of.
struct Arena {
    lines: Lines,
    /// In how many groups each page is.
    users: Box<[AtomicU32]>,
    free: Mutex<Free>,
    /// Lines of a page, as a power of two.
    shift: u32,
}

struct Free {
    /// Pages that nobody has any more.
    returned: Vec<u16>,
    /// This one and those behind it never had a user.
    fresh: usize,
}

/// Neighbouring pages of one or several versions. Counts itself as a user of each.
struct Group {
    arena: Arc<Arena>,
    pages: Box<[u16]>,
}

/// Lines in pages. Clones share their pages until one of them is changed.
pub(super) struct Pages {
    arena: Arc<Arena>,
    shift: u32,
    /// Where each page is in the arena.
    places: Box<[u16]>,
    groups: Vec<Arc<Group>>,
    /// One bit for each page that is known to be nobody else's.
    own: Box<[u64]>,
    /// Since then a clone was made: no page is.
    cloned: AtomicBool,
}

impl Arena {
    /// For so many pages, and three quarters as many copies of them.
    fn new(pages: usize, shift: u32) -> Self {
        let page = LINE << shift;
        let bytes = ((pages + pages * 3 / 4) * page).next_multiple_of(HUGE);
        let lines = Lines::zeroed(bytes / LINE);
        let pages = (bytes / page).min(MOST_PAGES);
        Self {
            lines,
            users: (0..pages).map(|_| AtomicU32::new(0)).collect(),
            free: Mutex::new(Free { returned: Vec::new(), fresh: 0 }),
            shift,
        }
    }

    #[inline(always)]
    fn lines(&self) -> &[Line] {
        self.lines.all()
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page for one user, if there is one left. What is on it is old.
    fn take(&self) -> Option<u16> {
        let mut free = self.free();
        let page = match free.returned.pop() {
            Some(page) => page,
            None => {
                let fresh = u16::try_from(free.fresh).ok().filter(|_| free.fresh < self.users.len())?;
                free.fresh += 1;
                fresh
            }
        };
        self.users[usize::from(page)].store(1, Ordering::Relaxed);
        Some(page)
    }

    /// How many [`Self::take`] can give.
    fn left(&self) -> usize {
        let free = self.free();
        free.returned.len() + self.users.len() - free.fresh
    }

    fn release(&self, page: u16) {
        if self.users[usize::from(page)].fetch_sub(1, Ordering::AcqRel) == 1 {
            self.free().returned.push(page);
        }
    }

    fn page(&self, page: u16) -> &[Line] {
        let first = usize::from(page) << self.shift;
        &self.lines()[first..first + (1 << self.shift)]
    }
}

impl Clone for Group {
    fn clone(&self) -> Self {
        for page in &self.pages {
            self.arena.users[usize::from(*page)].fetch_add(1, Ordering::Relaxed);
        }
        Self { arena: Arc::clone(&self.arena), pages: self.pages.clone() }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.pages.iter().for_each(|page| self.arena.release(*page));
    }
}

impl Clone for Pages {
    fn clone(&self) -> Self {
        self.cloned.store(true, Ordering::Relaxed);
        Self {
            arena: Arc::clone(&self.arena),
            shift: self.shift,
            places: self.places.clone(),
            groups: self.groups.clone(),
            own: vec![0; self.own.len()].into_boxed_slice(),
            cloned: AtomicBool::new(false),
        }
    }
}

impl Pages {
    /// So many lines of zeros.
    ///
    /// # Panics
    /// When the system has no memory, as any allocation.
    pub(super) fn zeroed(lines: usize) -> Self {
        let mut shift = SMALLEST_SHIFT;
        while lines.div_ceil(1 << shift) * 7 / 4 > MOST_PAGES {
            shift += 1;
        }
        Self::new(lines.div_ceil(1 << shift), shift)
    }

    /// In an arena of its own.
    fn new(pages: usize, shift: u32) -> Self {
        let arena = Arc::new(Arena::new(pages, shift));
        let places: Box<[u16]> = (0..pages).map(|_| arena.take().expect("made for them")).collect();
        let group = |pages: &[u16]| Arc::new(Group { arena: Arc::clone(&arena), pages: pages.into() });
        let groups = places.chunks(GROUP).map(group).collect();
        let own = vec![u64::MAX; pages.div_ceil(64)].into_boxed_slice();
        Self { arena, shift, places, groups, own, cloned: AtomicBool::new(false) }
    }

    /// One line.
    #[inline(always)]
    pub(super) fn line(&self, at: usize) -> &Line {
        let page = usize::from(self.places[at >> self.shift]);
        &self.arena.lines()[page << self.shift | at & ((1 << self.shift) - 1)]
    }

    /// One line, for writing: it is this version's alone from here on.
    pub(super) fn line_mut(&mut self, at: usize) -> &Line {
        let page = at >> self.shift;
        if std::mem::take(self.cloned.get_mut()) {
            self.own.fill(0);
        }
        if self.own[page / 64] >> (page % 64) & 1 == 0 {
            self.make_own(page);
        }
        self.line(at)
    }

    /// Makes ready for writing to so many lines anywhere.
    pub(super) fn prepare(&mut self, lines: usize) {
        if lines.min(self.places.len()) > self.arena.left() {
            self.move_away();
        }
    }

    /// All lines.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Line> {
        self.places.iter().flat_map(|page| self.arena.page(*page))
    }

    /// Bytes of memory, pages of other versions in the same arena included.
    pub(super) fn memory(&self) -> usize {
        let pages = self.arena.free().fresh * (LINE << self.shift);
        pages.next_multiple_of(HUGE) + size_of_val(&*self.places)
    }

    /// How many pages two versions do not share.
    #[cfg(test)]
    pub(super) fn apart_from(&self, other: &Self) -> usize {
        self.places.iter().zip(&other.places).filter(|(page, other)| page != other).count()
    }

    fn make_own(&mut self, page: usize) {
        let group = Arc::make_mut(&mut self.groups[page / GROUP]);
        let place = &mut group.pages[page % GROUP];
        if self.arena.users[usize::from(*place)].load(Ordering::Acquire) > 1 {
            let Some(new) = self.arena.take() else { return self.move_away() };
            copy(self.arena.page(*place), self.arena.page(new));
            self.arena.release(std::mem::replace(place, new));
            self.places[page] = new;
        }
        self.own[page / 64] |= 1 << (page % 64);
    }

    /// Copies everything to an arena of its own.
    fn move_away(&mut self) {
        let new = Self::new(self.places.len(), self.shift);
        for (from, to) in self.places.iter().zip(&new.places) {
            copy(self.arena.page(*from), new.arena.page(*to));
        }
        *self = new;
    }
}

fn copy(from: &[Line], to: &[Line]) {
    for (from, to) in from.as_flattened().iter().zip(to.as_flattened()) {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(pages: &Pages, at: usize) -> u64 {
        pages.line(at)[3].load(Ordering::Relaxed)
    }

    fn set(pages: &mut Pages, at: usize, value: u64) {
        pages.line_mut(at)[3].store(value, Ordering::Relaxed);
    }

    #[test]
    fn memory_starts_at_a_huge_page_and_is_zero() {
        let pages = Pages::zeroed(1 << 12);
        assert_eq!(std::ptr::from_ref(pages.line(0)).align_offset(HUGE), 0);
        assert!(pages.iter().flatten().all(|word| word.load(Ordering::Relaxed) == 0));
        assert_eq!(pages.iter().count(), 1 << 12);
    }

    #[test]
    fn a_change_copies_one_page_which_comes_back_into_use() {
        let mut pages = Pages::zeroed(1 << 15);
        (0..1 << 15).for_each(|at| set(&mut pages, at, at as u64));
        let fresh = pages.arena.free().fresh;
        for round in 0..10_000 {
            let at = round * 7 % (1 << 15);
            let before = pages.clone();
            set(&mut pages, at, 1 << 20);
            assert_eq!((get(&pages, at), pages.apart_from(&before)), (1 << 20, 1));
            assert!(get(&before, at) != 1 << 20 || get(&before, at) == get(&pages, at));
            set(&mut pages, at, at as u64);
            assert_eq!(pages.apart_from(&before), 1, "copied once");
        }
        assert_eq!(pages.arena.free().fresh, fresh + 1, "two pages took turns");
        assert!((0..1 << 15).all(|at| get(&pages, at) == at as u64));
    }

    #[test]
    fn versions_stay_as_they_were_when_the_arena_is_full() {
        const PAGE: usize = 1 << SMALLEST_SHIFT;
        let mut pages = Pages::zeroed(100 * PAGE);
        let mut versions = Vec::new();
        for round in 1..=5 {
            (0..100).for_each(|page| set(&mut pages, page * PAGE + 9, round));
            versions.push(pages.clone());
        }
        assert!(!Arc::ptr_eq(&versions[0].arena, &versions[4].arena));
        for (round, version) in (1..).zip(&versions) {
            assert!(
                (0..100).all(|page| get(version, page * PAGE + 9) == round && get(version, page * PAGE) == 0)
            );
        }
    }

    #[test]
    fn the_original_of_a_clone_copies_as_well() {
        let mut original = Pages::zeroed(64);
        set(&mut original, 1, 5);
        let clone = original.clone();
        set(&mut original, 1, 6);
        assert_eq!((get(&original, 1), get(&clone, 1)), (6, 5));
        drop(clone);
        let free = original.arena.left();
        set(&mut original, 1, 7);
        assert_eq!(original.arena.left(), free, "nobody else has the page any more");
    }
}
