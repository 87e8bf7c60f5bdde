//! Every order of workers that ring and a pump that falls asleep, as loom finds them.
//!
//! Loom runs [`Asleep`] itself. It stands in for what is around it: a ring is the count of records that its worker wrote
//! (released, as rtrb does), and [`Permit`] is what tokio promises of `Notify` with one waiter. A pump that sleeps while
//! a record waits never wakes here, which loom reports as a deadlock.

use super::*;
use loom::sync::atomic::AtomicUsize;
use loom::sync::{Arc, Condvar, Mutex};

impl Flag for loom::sync::atomic::AtomicBool {
    fn load(&self, order: Ordering) -> bool {
        self.load(order)
    }

    fn store(&self, value: bool, order: Ordering) {
        self.store(value, order);
    }

    fn compare_exchange(
        &self,
        old: bool,
        new: bool,
        success: Ordering,
        failure: Ordering,
    ) -> Result<bool, bool> {
        self.compare_exchange(old, new, success, failure)
    }

    fn fence(order: Ordering) {
        loom::sync::atomic::fence(order);
    }
}

/// One wake-up, kept until it is waited for.
#[derive(Default)]
struct Permit(Mutex<bool>, Condvar);

impl Permit {
    fn give(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }

    fn wait(&self) {
        let mut given = self.0.lock().unwrap();
        while !*given {
            given = self.1.wait(given).unwrap();
        }
        *given = false;
    }
}

struct Shared<const WORKERS: usize> {
    asleep: Asleep<loom::sync::atomic::AtomicBool>,
    permit: Permit,
    written: [AtomicUsize; WORKERS],
}

/// Workers that write `records` each, ringing after every one, and a pump that goes on until it has them all. Explores
/// the orders with up to `preemptions` switches away from a thread that could go on.
fn explore<const WORKERS: usize>(records: usize, preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let shared = Arc::new(Shared::<WORKERS> {
            asleep: Asleep::default(),
            permit: Permit::default(),
            written: std::array::from_fn(|_| AtomicUsize::new(0)),
        });
        for worker in 0..WORKERS {
            let shared = Arc::clone(&shared);
            loom::thread::spawn(move || {
                for record in 1..=records {
                    shared.written[worker].store(record, Ordering::Release);
                    if shared.asleep.must_be_woken() {
                        shared.permit.give();
                    }
                }
            });
        }
        let mut read = [0; WORKERS];
        while read != [records; WORKERS] {
            let drain = || {
                let seen = std::array::from_fn(|worker| shared.written[worker].load(Ordering::Acquire));
                std::mem::replace(&mut read, seen) != seen
            };
            if shared.asleep.falls_unless(drain) && read != [records; WORKERS] {
                shared.permit.wait();
            }
        }
    });
}

#[test]
fn no_record_waits_while_the_pump_sleeps() {
    explore::<1>(2, 4);
}

#[test]
fn no_record_of_one_worker_is_lost_to_the_ring_of_another() {
    explore::<2>(1, 3);
}
