//! Explicit address mappings as revisions that survive anything.
//!
//! The table that an operator edits while the relay runs is kept in one SQLite file. Every change is a *revision*: it has
//! an identifier that never moves, an author, a digest of the whole table it yields, and what it did, so that any earlier
//! table can be compared with, rebuilt and gone back to.
//!
//! ```text
//!  edits -> Candidate -> Store::commit -> Prepared -> Durable -> Receipt
//!           in memory    checked          written,    synced     published by the caller: what may be answered
//!                                         not synced
//! ```
//!
//! The types lead the way: only a [`Durable`] can be published, and only [`Durable::published`] and reading what is durable
//! already make a [`Receipt`]. The store stays borrowed meanwhile, so revisions are published in their order. A [`Prepared`]
//! that is dropped has changed nothing.
//!
//! Rows of the configuration and its files ([`Foreign`]) take part in every list, look-up and check; editing them here is
//! refused with the place to edit them at.
//!
//! The crate knows neither the data path nor HTTP: [`Changes::lost`] and [`Changes::gained`] are what a data path needs.
#![forbid(unsafe_code)]

mod bulk;
mod candidate;
mod change;
mod clock;
mod commit;
mod confirm;
mod conflict;
mod digest;
mod eam;
mod error;
mod files;
mod history;
mod limits;
mod open;
mod owner;
mod ranges;
mod record;
mod revision;
mod salvage;
mod schema;
mod store;
mod time;
mod view;
mod witness;

pub use candidate::{Candidate, Edit, ImportError, Imported};
pub use change::{Change, Changes, Counts};
pub use clock::{Clock, ManualClock, SystemClock};
pub use commit::{CommitError, Durable, Prepared, Receipt, Request, Step};
pub use confirm::Expired;
pub use conflict::{Conflict, Family, Finding, Lint, Overlaps, Rules, StageError};
pub use digest::{Digest, DigestError};
pub use eam::{Eam, Row, RowError};
pub use error::{Fault, StoreError};
pub use limits::{Limits, TooLarge};
pub use open::{Notice, Opened, Options};
pub use owner::{Foreign, OwnedRow, Owner};
pub use ranges::{RangeDigest, Ranges};
pub use record::Idempotency;
pub use revision::{Author, Cause, Kind, Pending, Revision, RevisionId, State};
pub use store::Store;
pub use time::rfc3339;
