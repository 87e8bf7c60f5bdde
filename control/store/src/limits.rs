//! How large a table may get, and with it whatever is staged: what a candidate takes away is in the table, what it brings has to
//! have room there.

use crate::candidate::Candidate;
use crate::store::Store;

/// What an operator's table may have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of the table.
    pub rows: u64,
    /// Bytes of the notes of what is staged.
    pub notes: u64,
}

impl Default for Limits {
    /// As many as a configuration may have and a request may bring: four times what the relay is made for.
    fn default() -> Self {
        Self { rows: 4_000_000, notes: 512_000_000 }
    }
}

/// Why a candidate cannot get so large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// The table that it would yield.
    #[error("the store would have {rows} mappings: at most {most} are kept")]
    Rows {
        /// So many.
        rows: u64,
        /// [`Limits::rows`].
        most: u64,
    },
    /// The notes in it.
    #[error("the comments of what is staged would have {bytes} bytes: at most {most} are kept")]
    Notes {
        /// So many.
        bytes: u64,
        /// [`Limits::notes`].
        most: u64,
    },
}

impl Store {
    /// Whether there is room for a candidate. One that makes a table that is too large no larger has it.
    pub(crate) fn check_size(&self, candidate: &Candidate) -> Result<(), TooLarge> {
        let Limits { rows: most_rows, notes: most_notes } = self.rules.limits;
        let counts = candidate.counts();
        let rows = (self.head().rows + counts.added).saturating_sub(counts.removed);
        if rows > most_rows && counts.added > counts.removed {
            return Err(TooLarge::Rows { rows, most: most_rows });
        }
        let bytes = candidate.notes();
        if bytes > most_notes { Err(TooLarge::Notes { bytes, most: most_notes }) } else { Ok(()) }
    }
}
