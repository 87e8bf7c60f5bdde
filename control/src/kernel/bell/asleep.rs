//! The flag between a sleeper and those who have work for it: nobody has to be woken in vain, no work stays behind.
//!
//! Generic over the atomics, so that the tests run this very code in every order that its threads can have.

use std::sync::atomic::{AtomicBool, Ordering};

/// The operations of an atomic flag that the protocol takes, with std's meaning.
pub(super) trait Flag: Default {
    fn load(&self, order: Ordering) -> bool;
    fn store(&self, value: bool, order: Ordering);
    fn compare_exchange(
        &self,
        old: bool,
        new: bool,
        success: Ordering,
        failure: Ordering,
    ) -> Result<bool, bool>;
    fn fence(order: Ordering);
}

impl Flag for AtomicBool {
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
        std::sync::atomic::fence(order);
    }
}

/// Set while the sleeper sleeps, or is about to: the next who has work must wake it.
#[derive(Debug, Default)]
pub(super) struct Asleep<F = AtomicBool>(F);

impl<F: Flag> Asleep<F> {
    /// Whether the caller, whose work is in place, has to wake the sleeper. One load while that is awake.
    #[inline]
    pub(super) fn must_be_woken(&self) -> bool {
        // Pairs with the fence in `falls_unless`: either this sees the flag, or the sleeper sees the work.
        F::fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed)
            && self.0.compare_exchange(true, false, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether the caller may sleep until it is woken: a last look with `work_left`, once the flag is up, found nothing.
    pub(super) fn falls_unless(&self, work_left: impl FnOnce() -> bool) -> bool {
        self.0.store(true, Ordering::Relaxed);
        F::fence(Ordering::SeqCst);
        let sleeps = !work_left();
        if !sleeps {
            self.0.store(false, Ordering::Relaxed);
        }
        sleeps
    }
}

#[cfg(test)]
mod tests;
