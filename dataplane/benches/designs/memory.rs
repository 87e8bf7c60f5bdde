//! Large arrays on pages of a chosen size.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use memmap2::{Advice, MmapMut};

/// The pages an array is on.
#[derive(Clone, Copy)]
pub(crate) enum Pages {
    /// 4 kB, whatever the system does by default.
    Small,
    /// 2 MB, where the kernel gives them on advice.
    Huge,
}

const HUGE: usize = 2 << 20;

/// An array, zero at first.
pub(crate) struct Array<T> {
    map: MmapMut,
    start: usize,
    bytes: usize,
    content: PhantomData<T>,
}

impl<T: Pod> Array<T> {
    /// An array of this length.
    pub(crate) fn zeroed(length: usize, pages: Pages) -> Self {
        let bytes = length * size_of::<T>();
        // Whole huge pages, for a part of one gets ordinary ones.
        let map = MmapMut::map_anon(bytes.next_multiple_of(HUGE) + HUGE).unwrap();
        let start = map.as_ptr().align_offset(HUGE);
        let advice = match pages {
            Pages::Small => Advice::NoHugePage,
            Pages::Huge => Advice::HugePage,
        };
        map.advise(advice).unwrap();
        Self { map, start, bytes, content: PhantomData }
    }

    /// An array of these.
    pub(crate) fn of(items: &[T], pages: Pages) -> Self {
        let mut array = Self::zeroed(items.len(), pages);
        array.copy_from_slice(items);
        array
    }

    /// Bytes of memory.
    pub(crate) const fn memory(&self) -> usize {
        self.bytes
    }
}

impl<T: Pod> Deref for Array<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.map[self.start..self.start + self.bytes])
    }
}

impl<T: Pod> DerefMut for Array<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.map[self.start..self.start + self.bytes])
    }
}
