//! What speaks against an edit, and what is worth saying about it.

use std::fmt;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::eam::Eam;
use crate::error::StoreError;
use crate::limits::Limits;
use crate::owner::OwnedRow;
use crate::revision::RevisionId;

/// Which prefixes of two rows meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// The IPv4 prefixes.
    Ipv4,
    /// The IPv6 prefixes.
    Ipv6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// Why an edit is refused: the row, what it meets, and what helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// RFC 7757 section 5 lets no two rows share a prefix.
    #[error("EAM {eam}: its {family} prefix is also in {other}: remove or change that one first")]
    Duplicate {
        /// What was to be added.
        eam: Eam,
        /// Which of its prefixes.
        family: Family,
        /// Who has it.
        other: Box<OwnedRow>,
    },
    /// A row that is not in the table now, and is again unless somebody confirms that it went.
    #[error(
        "EAM {eam} comes back unless revision {pending} is confirmed, and its {family} prefix is also in {other}: confirm it first, \
         or take it back"
    )]
    Returns {
        /// What comes back.
        eam: Eam,
        /// What it went with.
        pending: RevisionId,
        /// Which of its prefixes.
        family: Family,
        /// Who would have it as well.
        other: Box<OwnedRow>,
    },
    /// Legal, but the configuration says `eam_overlap = "reject"`.
    #[error(
        "EAM {eam}: its {family} prefix overlaps that of {other}: eam_overlap = \"reject\" allows no two such rows"
    )]
    Overlap {
        /// What was to be added.
        eam: Eam,
        /// Which of its prefixes.
        family: Family,
        /// What it lies in, or what lies in it.
        other: Box<OwnedRow>,
    },
    /// Rows are edited where they are kept.
    #[error("{row} is not the store's: edit it there and reload", row = .0)]
    OwnedElsewhere(Box<OwnedRow>),
    /// Nothing to remove or change.
    #[error("EAM {0}: there is no row with this IPv4 prefix")]
    Missing(Ipv4Net),
    /// Something else than was to be removed.
    #[error("EAM {ipv4} {expected}: the row with this IPv4 prefix is {held}: list it again and repeat")]
    NotAsExpected {
        /// Names the row.
        ipv4: Ipv4Net,
        /// What the client thought.
        expected: Ipv6Net,
        /// What it is.
        held: Box<OwnedRow>,
    },
    /// Somebody else edited the same row meanwhile.
    #[error("EAM {0}: somebody changed this row since the candidate was begun: stage it again")]
    Moved(Ipv4Net),
    /// The relay cannot translate it.
    #[error("EAM {eam}: {reason}")]
    Refused {
        /// What was to be added.
        eam: Eam,
        /// Cause and remedy.
        reason: String,
    },
}

/// What is worth saying about an edit that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Two rows share addresses: the longest match wins.
    Overlap {
        /// What was added.
        eam: Eam,
        /// Which of its prefixes.
        family: Family,
        /// What it lies in, or the first that lies in it.
        other: Box<OwnedRow>,
    },
    /// Anything else.
    Other {
        /// What was added.
        eam: Eam,
        /// What about it.
        text: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap { eam, family, other } => {
                write!(f, "EAM {eam}: its {family} prefix overlaps that of {other}: the longest match wins")
            }
            Self::Other { eam, text } => write!(f, "EAM {eam}: {text}"),
        }
    }
}

/// What to do about rows that share addresses: `eam_overlap` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlaps {
    /// Refuse the later one.
    Reject,
    /// Say so.
    #[default]
    Warn,
    /// Nothing; they are not even looked for.
    Allow,
}

/// What else makes a mapping good or bad is for whoever knows the configuration.
pub trait Lint: Send + fmt::Debug {
    /// Looks at one mapping by itself.
    ///
    /// # Errors
    /// Why it cannot be in the table, and what helps.
    fn check(&self, eam: &Eam) -> Result<Vec<String>, String>;
}

/// How edits are checked.
#[derive(Debug, Default)]
pub struct Rules {
    /// About two rows.
    pub overlaps: Overlaps,
    /// About one.
    pub lint: Option<Box<dyn Lint>>,
    /// About all.
    pub limits: Limits,
}

/// Why an edit did not become part of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// It cannot be.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The file could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
