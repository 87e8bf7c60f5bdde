//! Revisions of the mappings, and what leads from one to the next.

use serde::{Deserialize, Serialize};

use crate::{Allocated, Entry, Finding};

/// What became of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is in force.
    Active,
    /// It is in force until its deadline, unless it is confirmed.
    Pending,
    /// Another one followed.
    Superseded,
    /// It was not confirmed, or taken back before it was.
    Reverted,
}

/// One revision of the mappings in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Revision {
    /// Its number. It never moves.
    pub id: u64,
    /// The one it was made from; none for the first.
    pub parent: Option<u64>,
    /// When, RFC 3339, UTC.
    pub time: String,
    /// Who: the uid of the process at the other end of the socket, or of the relay itself.
    pub uid: u32,
    /// Its pid.
    pub pid: u32,
    /// Why.
    pub comment: String,
    /// Mappings that came.
    pub added: u64,
    /// Mappings that went.
    pub removed: u64,
    /// Mappings whose IPv6 prefix or comment is another.
    pub changed: u64,
    /// Mappings in the store.
    pub eams: u64,
    /// Of the whole table in the store, whatever the order it was made in.
    pub digest: String,
    /// What became of it.
    pub state: State,
    /// How it came to be: `created`, `commit`, `rollback`, or why the relay went back by itself: `not_confirmed`, `restarted`.
    pub kind: String,
    /// The revision whose table it has, when it goes back to one.
    pub back_to: Option<u64>,
    /// Until when it could be confirmed, or can be, RFC 3339, UTC.
    pub until: Option<String>,
    /// When it was confirmed, RFC 3339, UTC.
    pub confirmed: Option<String>,
    /// By which uid.
    pub confirmed_by: Option<u32>,
}

/// The revisions, newest first.
pub type History = Vec<Revision>;

/// A revision that awaits confirmation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pending {
    /// The revision in force.
    pub revision: Revision,
    /// The one that comes back.
    pub back_to: u64,
    /// When, RFC 3339, UTC.
    pub until: String,
    /// Seconds until then.
    pub seconds: u64,
}

/// The mappings were changed: in force on every worker, and durable. Or staged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Committed {
    /// The revision that is in force now. With nothing to change, that of before; when staged, the one it is based on.
    pub revision: Revision,
    /// Whether the changes wait in the candidate for a commit.
    pub staged: bool,
    /// Mappings that came.
    pub added: u64,
    /// Mappings that went.
    pub removed: u64,
    /// Mappings that are different.
    pub changed: u64,
    /// Changes that changed nothing.
    pub unchanged: u64,
    /// What `auto` became.
    pub allocated: Vec<Allocated>,
    /// What works and is probably not meant.
    pub warnings: Vec<Finding>,
    /// Further warnings that are not listed.
    pub more_warnings: u64,
    /// The deadline of a commit that must be confirmed, RFC 3339, UTC.
    pub pending_until: Option<String>,
    /// Whether this answers a request that was carried out before, under the same idempotency key.
    pub repeated: bool,
}

/// A mapping that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Changed {
    /// As it was.
    pub from: Entry,
    /// As it is then.
    pub to: Entry,
}

/// What two tables have different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Diff {
    /// The older revision.
    pub from: u64,
    /// The newer revision; none for the candidate.
    pub to: Option<u64>,
    /// How many came.
    pub added: u64,
    /// How many went.
    pub removed: u64,
    /// How many are different.
    pub changed: u64,
    /// Mappings that came, as far as they are listed.
    pub added_eams: Vec<Entry>,
    /// Mappings that went, as far as they are listed.
    pub removed_eams: Vec<Entry>,
    /// Mappings that are different, as far as they are listed.
    pub changed_eams: Vec<Changed>,
    /// How many are not listed.
    pub more: u64,
}

/// What is staged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Candidate {
    /// The revision it was begun on; none without one.
    pub base: Option<u64>,
    /// Whether another revision is in force by now, so that a commit will be refused until it is looked at again.
    pub stale: bool,
    /// Against what is in force.
    pub diff: Diff,
}

/// What there is to say about the mappings as they are or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Check {
    /// Whether it is the candidate that was looked at.
    pub candidate: bool,
    /// Mappings looked at.
    pub eams: u64,
    /// Reasons why a commit would be refused.
    pub problems: Vec<Finding>,
    /// What works and is probably not meant.
    pub warnings: Vec<Finding>,
    /// Further findings that are not listed.
    pub more: u64,
}

/// The configuration was read again and is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reloaded {
    /// Mappings now.
    pub eams: u64,
    /// Mappings that came.
    pub added: u64,
    /// Mappings that went.
    pub removed: u64,
    /// Mappings that are different.
    pub changed: u64,
    /// What works and is probably not meant.
    pub warnings: Vec<String>,
}

/// One line of the stream of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The stream begins; this revision is in force.
    Begin {
        /// Its number.
        revision: u64,
    },
    /// Another revision is in force.
    Revision {
        /// It.
        revision: Box<Revision>,
    },
    /// The configuration was read again.
    Reloaded {
        /// Mappings now.
        eams: u64,
    },
    /// The reader was too slow: so many events are missing here, and the stream ends.
    Lost {
        /// How many.
        lost: u64,
    },
}
