//! What was replaced, kept until nobody else has it.
//!
//! Generic over the pointer, so that the tests run this very code in every order that its threads can have.

use std::sync::Arc;

/// A counted pointer.
pub(super) trait Counted {
    /// How many pointers there are to the same object, this one included.
    fn holders(&self) -> usize;
}

impl<T> Counted for Arc<T> {
    fn holders(&self) -> usize {
        Arc::strong_count(self)
    }
}

/// Replaced objects. Nobody finds them any more, so the number of their holders only falls.
pub(super) struct Retired<P>(Vec<P>);

impl<P: Counted> Retired<P> {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Keeps `replaced`, which must not be found any more.
    pub(super) fn push(&mut self, replaced: P) {
        self.0.push(replaced);
    }

    /// Takes out what nobody else holds.
    pub(super) fn reclaim(&mut self) -> Vec<P> {
        self.0.extract_if(.., |replaced| replaced.holders() == 1).collect()
    }

    /// What is kept, in the order of its replacement.
    pub(super) fn kept(&self) -> &[P] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
