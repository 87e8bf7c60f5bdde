//! The mappings of a running relay: those of its files and those of its store, and how the latter change.
//!
//! Reading order: `table.rs` holds them (on `chunks.rs`), `resolve.rs` makes of what was asked what will be different, `pools.rs`
//! finds free service addresses, `engine.rs` is the order of a commit, `pending.rs` the clock of those that await confirmation,
//! `answers.rs` what is asked without changing anything.
//!
//! Everything that changes them happens inside [`Tables::update`], one at a time and never beside a reload.

mod answers;
mod chunks;
mod engine;
mod pending;
mod pools;
mod resolve;
mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use control_api::{Finding, Refusal, Revision, State};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::relay::Peer;

pub use engine::{Mappings, Source};
pub use table::{Clash, FileRow};

/// A mapping with its note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// IPv4 prefix, without host bits.
    pub ipv4: Ipv4Net,
    /// IPv6 prefix, without host bits.
    pub ipv6: Ipv6Net,
    /// The operator's note; none when empty.
    pub comment: Option<Arc<str>>,
}

/// What is asked for about one mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What.
    pub target: Target,
    /// A note; none leaves the one there is.
    pub comment: Option<Arc<str>>,
    /// Where the request comes from, for messages.
    pub line: Option<u32>,
}

/// The prefixes of an [`Edit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A new mapping.
    Add {
        /// Its IPv4 prefix.
        ipv4: Ipv4Net,
        /// Its IPv6 prefix.
        ipv6: Ipv6Net,
    },
    /// A mapping that may be there, with another IPv6 prefix.
    Set {
        /// Its IPv4 prefix.
        ipv4: Ipv4Net,
        /// Its IPv6 prefix.
        ipv6: Ipv6Net,
    },
    /// A new mapping of the next free service address.
    Auto {
        /// Its IPv6 prefix, a whole address.
        ipv6: Ipv6Net,
    },
    /// No more mapping. With both prefixes, only if both are its own.
    Remove {
        /// Its IPv4 prefix.
        ipv4: Option<Ipv4Net>,
        /// Its IPv6 prefix.
        ipv6: Option<Ipv6Net>,
    },
}

/// What is different between two states of the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// Mappings that come.
    pub added: Vec<Row>,
    /// Mappings that go.
    pub removed: Vec<Row>,
    /// Mappings whose IPv6 prefix or note is another, as they were and as they will be.
    pub changed: Vec<(Row, Row)>,
}

impl Delta {
    /// How many mappings are different.
    #[must_use]
    pub fn len(&self) -> usize {
        self.added.len() + self.removed.len() + self.changed.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The way back.
    #[must_use]
    pub fn reversed(self) -> Self {
        let changed = self.changed.into_iter().map(|(from, to)| (to, from)).collect();
        Self { added: self.removed, removed: self.added, changed }
    }

    /// The same as wishes, which hold for other states as well.
    #[must_use]
    pub fn edits(&self) -> Vec<Edit> {
        let note = |row: &Row| Some(row.comment.clone().unwrap_or_else(|| "".into()));
        let removed = self.removed.iter().map(|row| Edit {
            target: Target::Remove { ipv4: Some(row.ipv4), ipv6: None },
            comment: None,
            line: None,
        });
        let set = |row: &Row| Edit {
            target: Target::Set { ipv4: row.ipv4, ipv6: row.ipv6 },
            comment: note(row),
            line: None,
        };
        let there = self.changed.iter().map(|(_, to)| set(to)).chain(self.added.iter().map(set));
        removed.chain(there).collect()
    }
}

/// A revision to be made.
#[derive(Debug, Clone)]
pub struct Draft<'d> {
    /// What it changes.
    pub delta: &'d Delta,
    /// Who; none is the relay itself.
    pub peer: Option<Peer>,
    /// Why.
    pub comment: &'d str,
    /// Its idempotency key.
    pub key: Option<&'d str>,
    /// What it is: committed, pending or a rollback.
    pub state: State,
    /// For a pending one: which comes back, and after how long.
    pub pending: Option<(u64, Duration)>,
    /// It takes the place of what awaits confirmation, which was not confirmed.
    pub reverts: bool,
}

/// What awaits confirmation, as the store remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaiting {
    /// The revision in force.
    pub revision: Revision,
    /// The one that comes back.
    pub back_to: u64,
    /// When, in seconds since 1970.
    pub until: u64,
}

/// Where revisions are durable.
///
/// # Errors
/// Every method: why the store cannot. It is as it was then.
#[expect(clippy::missing_errors_doc, reason = "said once, for all of them")]
pub trait Store: Send {
    /// The revision in force.
    fn head(&self) -> Revision;
    /// Every mapping of it.
    fn rows(&mut self) -> Result<Vec<Row>, Refusal>;
    /// Makes a revision. Returns when it is durable.
    fn commit(&mut self, draft: &Draft<'_>) -> Result<Revision, Refusal>;
    /// The revision that was made under an idempotency key.
    fn by_key(&mut self, key: &str) -> Result<Option<Revision>, Refusal>;
    /// Revisions before the given one, newest first.
    fn history(&mut self, before: Option<u64>, limit: u32) -> Result<Vec<Revision>, Refusal>;
    /// What leads from one revision to another.
    fn delta(&mut self, from: u64, to: u64) -> Result<Delta, Refusal>;
    /// What awaits confirmation.
    fn awaiting(&mut self) -> Result<Option<Awaiting>, Refusal>;
    /// What awaits confirmation stays.
    fn confirm(&mut self) -> Result<Revision, Refusal>;
}

/// Whether a change is in force everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Every worker uses it.
    Everywhere,
    /// A worker has not looked for long; it will use it as soon as it does.
    Awaited,
    /// There was nothing to publish.
    Nowhere,
}

/// The tables that packets are translated by.
pub trait Tables: Send + Sync {
    /// Runs `change` where tables are made, alone; publishes what it applied, and returns when every worker uses it.
    ///
    /// # Errors
    /// What `change` returned; nothing is published then. Or that the relay is stopping.
    fn update(&self, change: Change) -> Result<Reach, Refusal>;
}

/// See [`Tables::update`].
pub type Change = Box<dyn FnOnce(&mut dyn Next) -> Result<(), Refusal> + Send>;

/// The tables after those in use.
pub trait Next {
    /// Applies changes to them.
    ///
    /// # Errors
    /// Why the tables cannot hold them.
    fn apply(&mut self, delta: &Delta) -> Result<(), Refusal>;
}

/// What the configuration says about mappings.
pub trait Rules: Send + Sync {
    /// Looks at the first `new` of `rows`; the others are those around and inside them.
    fn check(&self, rows: &[Row], new: usize) -> Findings;
    /// The IPv4 Service Address Pools.
    fn pools(&self) -> &[Ipv4Net];
    /// What the translation prefixes make of an address that has no mapping: the result, and the prefix.
    fn by_prefix(&self, address: IpAddr) -> Option<(IpAddr, IpNet)>;
}

/// What there is to say about mappings.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Reasons to refuse them.
    pub problems: Vec<Finding>,
    /// What works and is probably not meant.
    pub warnings: Vec<Finding>,
    /// Further ones of either kind that are not listed.
    pub more: u64,
}
