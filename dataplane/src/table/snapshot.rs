//! What a worker sees of the world: every table, immutable, with a generation number.

use std::sync::Arc;

use super::fib::Fib;
use super::translation::Translation;

/// All tables at one moment. Parts that did not change are shared between snapshots.
#[derive(Clone)]
pub struct Snapshot {
    /// Counts publications, from 1.
    pub generation: u64,
    /// Mappings, prefixes, pools and settings.
    pub translation: Arc<Translation>,
    /// Routes and adjacencies.
    pub fib: Arc<Fib>,
}
