//! Every order of a publisher that replaces and reclaims and of readers that pin, as loom finds them.
//!
//! Loom runs [`Retired`] itself, over its own counted pointers. arc-swap's atomics cannot run under loom; [`Slot`] stands
//! in for what arc-swap promises and is trusted with: a load or a swap is one step, a load hands out a counted pointer, and
//! when a swap returns, every pointer that was loaded before it is in the count. `Reader` does what its `Cache` does.

use super::*;
use loom::cell::UnsafeCell;
use loom::sync::{Arc as Shared, Mutex};
use loom::thread::{self, ThreadId};

impl<T> Counted for Shared<T> {
    fn holders(&self) -> usize {
        Shared::strong_count(self)
    }
}

/// A snapshot that knows who may free it. Loom compares every look at `tables` with every access that frees them.
struct Snapshot {
    generation: usize,
    tables: UnsafeCell<()>,
    publisher: ThreadId,
}

impl Snapshot {
    fn new(generation: usize) -> Shared<Self> {
        Shared::new(Self { generation, tables: UnsafeCell::new(()), publisher: thread::current().id() })
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(
                thread::current().id(),
                self.publisher,
                "a reader frees generation {}",
                self.generation
            );
            self.tables.with_mut(|_| ());
        }
    }
}

type Slot = Mutex<Shared<Snapshot>>;

struct Reader {
    slot: Shared<Slot>,
    cached: Shared<Snapshot>,
}

impl Reader {
    fn new(slot: &Shared<Slot>) -> Self {
        Self { slot: Shared::clone(slot), cached: Shared::clone(&slot.lock().unwrap()) }
    }

    fn pin(&mut self) -> &Snapshot {
        let newest = Shared::clone(&self.slot.lock().unwrap());
        if newest.generation != self.cached.generation {
            self.cached = newest;
        }
        &self.cached
    }
}

/// Frees what is reclaimed, and proves of each that nobody else has it.
fn reclaim(retired: &mut Retired<Shared<Snapshot>>) {
    for snapshot in retired.reclaim() {
        assert!(Shared::try_unwrap(snapshot).is_ok(), "a reader still holds what was reclaimed");
    }
}

/// Readers that pin twice each under a publisher that replaces the snapshot `publications` times. Explores the orders with
/// up to `preemptions` switches away from a thread that could go on.
fn explore(readers: usize, publications: usize, preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let slot = Shared::new(Mutex::new(Snapshot::new(0)));
        let mut retired = Retired::new();
        let readers: Vec<_> = (0..readers)
            .map(|_| {
                let mut reader = Reader::new(&slot);
                thread::spawn(move || {
                    let mut last = 0;
                    for _ in 0..2 {
                        let pinned = reader.pin();
                        assert!(pinned.generation >= last, "{last} was newer than {}", pinned.generation);
                        last = pinned.generation;
                        thread::yield_now();
                        pinned.tables.with(|_| ());
                    }
                    reader.slot
                })
            })
            .collect();
        for generation in 1..=publications {
            let replaced = std::mem::replace(&mut *slot.lock().unwrap(), Snapshot::new(generation));
            retired.push(replaced);
            reclaim(&mut retired);
            assert!(retired.kept().len() <= 2 * readers.len(), "more is kept than readers can hold");
        }
        for reader in readers {
            reader.join().unwrap();
        }
        reclaim(&mut retired);
        assert!(retired.kept().is_empty(), "kept although nobody reads");
    });
}

#[test]
fn what_a_reader_pinned_is_kept_and_freed_by_the_publisher() {
    explore(1, 3, 4);
}

#[test]
fn what_one_of_two_readers_pinned_is_kept() {
    explore(2, 2, 3);
}
