//! One revision of the table: who made it of which other, when and why, and what it hashes to.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::change::Counts;
use crate::digest::Digest;

/// What a revision is called. Counts up from 1, is never given twice and never moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionId(pub u64);

impl fmt::Display for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RevisionId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

/// Who asked for something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Author {
    /// The user, as the kernel tells.
    pub uid: u32,
    /// The process, as the kernel tells.
    pub pid: u32,
    /// Why, in the user's words. May be empty.
    pub comment: String,
}

/// What became of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It is in force.
    Active,
    /// It is in force and waits to be confirmed.
    Pending,
    /// Another one followed.
    Superseded,
    /// It was not confirmed, or taken back before it was.
    Reverted,
}

impl State {
    /// One lower-case word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Superseded => "superseded",
            Self::Reverted => "reverted",
        }
    }
}

/// How a revision came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The first one, of an empty table.
    Created,
    /// Somebody's changes.
    Commit,
    /// Somebody went back to an earlier table.
    Rollback {
        /// Whose table it has.
        to: RevisionId,
    },
    /// Nobody confirmed, so the store went back by itself.
    Automatic {
        /// Whose table it has.
        to: RevisionId,
        /// What made it go back.
        cause: Cause,
    },
}

/// Why the store went back by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The time was over.
    NotConfirmed,
    /// The relay ended meanwhile, so nobody could confirm.
    Restarted,
}

impl Cause {
    /// A word for metrics: `not_confirmed` or `restarted`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotConfirmed => "not_confirmed",
            Self::Restarted => "restarted",
        }
    }
}

/// One entry of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its name.
    pub id: RevisionId,
    /// The one it was made of; none for the first.
    pub parent: Option<RevisionId>,
    /// When it became durable, by the wall clock, in whole milliseconds.
    pub time: SystemTime,
    /// Who made it.
    pub author: Author,
    /// How.
    pub kind: Kind,
    /// What became of it.
    pub state: State,
    /// Until when it could be or can be confirmed, by the wall clock: for people, the store goes by another clock.
    pub until: Option<SystemTime>,
    /// When and by whom it was confirmed.
    pub confirmed: Option<(SystemTime, u32)>,
    /// How it differs from its parent.
    pub counts: Counts,
    /// Rows of its table.
    pub rows: u64,
    /// Of its table, notes included.
    pub digest: Digest,
}

/// A revision that waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The newest one that waits.
    pub revision: Revision,
    /// The one to go back to, the last that nobody needs to confirm.
    pub prior: RevisionId,
    /// Time left, by the monotonic clock.
    pub remaining: Duration,
}
