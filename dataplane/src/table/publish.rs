//! How a new snapshot reaches the workers: one atomic pointer swap.
//!
//! A worker looks at the pointer once per burst ([`SnapshotReader::pin`], one load when nothing changed) and
//! keeps what it pinned until the next burst, so no packet sees half a table. The publisher holds every snapshot
//! it replaced until no worker has it any more and hands it out then: a worker never frees a table, and publishing does
//! not either, because giving a large table back to the kernel takes milliseconds.

mod retired;

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;

use self::retired::Retired;
use super::snapshot::Snapshot;

/// The control thread's end.
pub struct Publisher {
    current: Slot,
    retired: Retired<Arc<Snapshot>>,
}

/// A worker's end.
pub struct SnapshotReader {
    cache: arc_swap::Cache<Slot, Arc<Snapshot>>,
}

/// The pointer itself. Every worker reads it every turn, so nothing that is written more often may lie beside it.
#[derive(Clone)]
struct Slot(Arc<CachePadded<ArcSwap<Snapshot>>>);

impl Deref for Slot {
    type Target = ArcSwap<Snapshot>;

    fn deref(&self) -> &ArcSwap<Snapshot> {
        &self.0
    }
}

impl Publisher {
    /// A publisher whose readers see `first`.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        let slot = CachePadded::new(ArcSwap::from_pointee(first));
        Self { current: Slot(Arc::new(slot)), retired: Retired::new() }
    }

    /// A reader for one more worker.
    #[must_use]
    pub fn reader(&self) -> SnapshotReader {
        SnapshotReader { cache: arc_swap::Cache::new(self.current.clone()) }
    }

    /// A look at the tables in use from elsewhere than a worker.
    #[must_use]
    pub fn view(&self) -> SnapshotView {
        SnapshotView(self.current.clone())
    }

    /// The snapshot readers pin next.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Replaces the snapshot by what `change` makes of it, with the next generation number.
    pub fn publish(&mut self, change: impl FnOnce(&mut Snapshot)) {
        let mut next = Snapshot::clone(&self.current());
        change(&mut next);
        next.generation += 1;
        self.retired.push(self.current.swap(Arc::new(next)));
    }

    /// Takes out the replaced snapshots that no worker uses any more. Dropping them frees their tables: on a thread that
    /// has the time.
    #[must_use]
    pub fn reclaim(&mut self) -> Vec<Arc<Snapshot>> {
        self.retired.reclaim()
    }

    /// Whether some worker may still use a snapshot older than this generation. Exact after [`reclaim`](Self::reclaim).
    #[must_use]
    pub fn is_used_before(&self, generation: u64) -> bool {
        self.retired.kept().iter().any(|snapshot| snapshot.generation < generation)
    }
}

/// Sees what is published, and keeps nothing of it.
#[derive(Clone)]
pub struct SnapshotView(Slot);

impl SnapshotView {
    /// The snapshot of now. Let go of it soon: nothing of it is freed before.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}

impl SnapshotReader {
    /// The newest snapshot, valid until the next call.
    #[inline]
    pub fn pin(&mut self) -> &Snapshot {
        self.cache.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::translation;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    #[test]
    fn nothing_else_lies_on_the_lines_of_the_pointer() {
        let first = Snapshot { generation: 1, translation: Arc::new(translation(&[])), fib: Arc::default() };
        let publisher = Publisher::new(first);
        crate::testing::assert_own_lines(&*publisher.current.0);
    }

    #[test]
    fn readers_see_changes_between_pins_and_free_nothing() {
        let first = Snapshot { generation: 1, translation: Arc::new(translation(&[])), fib: Arc::default() };
        let mut publisher = Publisher::new(first);
        let mut reader = publisher.reader();
        assert_eq!(reader.pin().generation, 1);
        let old = Arc::downgrade(&publisher.current().translation);
        publisher.publish(|snapshot| snapshot.translation = Arc::new(translation(&[])));
        assert!(publisher.reclaim().is_empty(), "the reader still has the first");
        assert!(publisher.is_used_before(2) && !publisher.is_used_before(1));
        assert_eq!(reader.pin().generation, 2);
        let reclaimed = publisher.reclaim();
        assert_eq!(reclaimed.len(), 1);
        assert!(!publisher.is_used_before(2));
        assert!(publisher.reclaim().is_empty(), "handed out once");
        assert!(old.upgrade().is_some());
        drop(reclaimed);
        assert!(old.upgrade().is_none(), "freed by whoever reclaimed it");
    }

    /// Thousands of publications under readers that stall for long, each with the snapshot it pinned last: all see whole
    /// snapshots in their order, and what is kept is one snapshot for each reader at most, however long it stalls.
    #[test]
    fn stalled_readers_hold_one_snapshot_each_through_thousands_of_publications() {
        const READERS: usize = 4;
        const PUBLICATIONS: u64 = 20_000;
        let shared = Arc::new(translation(&[]));
        let of = |generation| Snapshot { generation, translation: Arc::clone(&shared), fib: Arc::default() };
        let mut publisher = Publisher::new(of(1));
        let stop = AtomicBool::new(false);
        let readers: Vec<_> = (0..READERS).map(|_| publisher.reader()).collect();
        let alive = Arc::downgrade(&publisher.current().fib);
        std::thread::scope(|scope| {
            for (number, mut reader) in readers.into_iter().enumerate() {
                let stop = &stop;
                scope.spawn(move || {
                    let (mut last, mut turns) = (0, 0_usize);
                    while !stop.load(Ordering::Relaxed) || last == 0 {
                        let snapshot = reader.pin();
                        assert!(snapshot.generation >= last, "{last} was newer than {}", snapshot.generation);
                        last = snapshot.generation;
                        turns += 1;
                        if turns.is_multiple_of(500 + 300 * number) {
                            let fib = Arc::downgrade(&snapshot.fib);
                            std::thread::sleep(Duration::from_millis(2 + number as u64));
                            assert!(fib.upgrade().is_some(), "freed while it was in use");
                        }
                    }
                });
            }
            for generation in 2..=PUBLICATIONS {
                publisher.publish(|snapshot| snapshot.fib = Arc::default());
                assert_eq!(publisher.current().generation, generation);
                drop(publisher.reclaim());
                // Readers that are between two pointers hold both for a moment.
                assert!(
                    publisher.retired.kept().len() <= 2 * READERS,
                    "{} are kept",
                    publisher.retired.kept().len()
                );
            }
            stop.store(true, Ordering::Relaxed);
        });
        drop(publisher.reclaim());
        assert_eq!((publisher.retired.kept().len(), alive.upgrade().is_none()), (0, true));
    }
}
