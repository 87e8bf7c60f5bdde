//! The open store: the connection, its newest revision, and what is known of the table without asking the file.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::Ipv4Net;
use rusqlite::Connection;

use crate::bulk::Loaded;
use crate::change::Changes;
use crate::clock::Clock;
use crate::conflict::{Conflict, Family, Rules};
use crate::eam::{Eam, Key4};
use crate::error::StoreError;
use crate::files::Files;
use crate::owner::Foreign;
use crate::ranges::Ranges;
use crate::record::{Record, RecordError};
use crate::revision::{Revision, RevisionId, State};
use crate::view::Lengths;
use crate::witness::Witness;
use crate::{error, schema};

/// Conflicts with a configuration that are named one by one.
const CONFLICTS: usize = 100;

/// The table an operator edits, as revisions in a file. One thread has it.
#[derive(Debug)]
pub struct Store {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) witness: Witness,
    /// The newest revision, as stored.
    pub(crate) head: Record,
    /// The name of the next one.
    pub(crate) next: RevisionId,
    /// When the newest revision is taken back, by the monotonic clock.
    pub(crate) deadline: Option<Duration>,
    /// The data path has the table from before the pending revisions, but the file could not be told.
    pub(crate) owes_rollback: bool,
    /// A commit failed, and its pages may be on disk all the same.
    pub(crate) in_doubt: bool,
    /// What was opened.
    pub(crate) files: Files,
    /// Why the file did not take what was to be written last.
    pub(crate) obstacle: Option<StoreError>,
    pub(crate) rules: Rules,
    pub(crate) foreign: Foreign,
    /// Lengths of the prefixes in the file.
    pub(crate) lengths: Lengths,
    pub(crate) ranges: Ranges,
    /// The file's rows, while many are asked for.
    pub(crate) loaded: Option<Loaded>,
    /// Of ranges that were asked for a free address: none before this one is free. It may be past the last.
    pub(crate) free_from: HashMap<RangeInclusive<Ipv4Addr>, u64>,
}

impl Store {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The newest revision: the one in force.
    #[must_use]
    pub fn head(&self) -> &Revision {
        &self.head.revision
    }

    /// Why the file takes no writes, as far as is known: what the last one failed of.
    #[must_use]
    pub const fn obstacle(&self) -> Option<&StoreError> {
        self.obstacle.as_ref()
    }

    /// How edits are checked from now on. Rows that are there already are not looked at again.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Digests of the table in force, rows of the configuration and its files included.
    #[must_use]
    pub const fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// The rows of the configuration and its files.
    #[must_use]
    pub const fn foreign(&self) -> &Foreign {
        &self.foreign
    }

    /// What keeps these rows of a configuration from being in one table with the store's, those included that come back unless
    /// the newest revision is confirmed. At most a hundred are named.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn check_foreign(&self, foreign: &Foreign) -> Result<Vec<Conflict>, StoreError> {
        let mut conflicts = self.foreign_conflicts(foreign, CONFLICTS)?;
        let pending = self.head.revision.id;
        for eam in self.way_back()?.changes.gained() {
            let ipv4 = foreign.by_ipv4(eam.ipv4().into()).map(|other| (Family::Ipv4, other));
            let ipv6 = foreign.by_ipv6(eam.ipv6().into()).map(|other| (Family::Ipv6, other));
            for (family, other) in ipv4.into_iter().chain(ipv6) {
                if conflicts.len() < CONFLICTS {
                    conflicts.push(Conflict::Returns { eam, pending, family, other: Box::new(other) });
                }
            }
        }
        Ok(conflicts)
    }

    /// Takes the rows of a configuration in place of those of the one before.
    ///
    /// # Errors
    /// What [`Self::check_foreign`] finds; the rows are as they were then.
    pub fn set_foreign(&mut self, foreign: Foreign) -> Result<Result<(), Vec<Conflict>>, StoreError> {
        let conflicts = self.check_foreign(&foreign)?;
        if !conflicts.is_empty() {
            return Ok(Err(conflicts));
        }
        self.foreign.eams().for_each(|eam| self.ranges.remove(&eam));
        foreign.eams().for_each(|eam| self.ranges.add(&eam));
        self.foreign = foreign;
        self.free_from.clear();
        Ok(Ok(()))
    }

    /// What SQLite says is wrong, about this file.
    pub(crate) fn failed(&self, action: &'static str) -> impl Fn(rusqlite::Error) -> StoreError + use<'_> {
        move |error| StoreError::sql(&self.path, action, &error)
    }

    /// The same of a record of the history.
    pub(crate) fn unreadable(&self, action: &'static str) -> impl Fn(RecordError) -> StoreError + use<'_> {
        move |error| match error {
            RecordError::Sql(error) => StoreError::sql(&self.path, action, &error),
            RecordError::Broken => StoreError::new(
                &self.path,
                action,
                error::Fault::Damaged,
                "a record of the history does not match its hash",
            ),
        }
    }

    /// As a reader of the history sees a stored record.
    pub(crate) fn seen(&self, mut revision: Revision) -> Revision {
        if revision.state == State::Active && revision.id != self.head.revision.id {
            revision.state = State::Superseded;
        }
        revision
    }

    /// Takes over what a commit did, once it is durable.
    pub(crate) fn applied(&mut self, record: Record, changes: &Changes) {
        self.forget();
        for change in changes.as_slice() {
            if let Some(row) = change.before() {
                self.lengths.remove(&row.eam());
                self.frees(row.eam().ipv4());
                self.ranges.remove(&row.eam());
            }
            if let Some(row) = change.after() {
                self.lengths.add(&row.eam());
                self.ranges.add(&row.eam());
            }
        }
        self.next = RevisionId(record.revision.id.0 + 1);
        self.head = record;
        // The file beside the database is a witness, not the truth: a relay whose commit is durable has done its part.
        let _ = self.witness.write(self.head.revision.id, self.head.revision.digest);
    }

    fn frees(&mut self, net: Ipv4Net) {
        for (range, from) in &mut self.free_from {
            if net.network() <= *range.end() && *range.start() <= net.broadcast() {
                *from = (*from).min(net.network().max(*range.start()).to_bits().into());
            }
        }
    }

    /// Whether SQLite finds its pages sound; what it says if not. Reads the whole file.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        schema::complaint(&self.connection)
    }

    /// All mappings as packets are translated by them: of the revision from before, where the newest one was not confirmed and the
    /// file could not be told so. In the order of their IPv4 prefixes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn eams_in_use(&self) -> Result<Vec<Eam>, StoreError> {
        let mut eams = self.eams()?;
        if self.owes_rollback {
            let back = self.way_back()?.changes;
            let lost: HashSet<Eam> = back.lost().collect();
            eams.retain(|eam| !lost.contains(eam));
            eams.extend(back.gained());
            eams.sort_unstable_by_key(|eam| Key4::from(eam.ipv4()));
        }
        Ok(eams)
    }

    /// All mappings of the file. In the order of their IPv4 prefixes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn eams(&self) -> Result<Vec<Eam>, StoreError> {
        let mut eams = Vec::with_capacity(usize::try_from(self.head.revision.rows).unwrap_or_default());
        self.each_row(|row| eams.push(row.eam()))?;
        Ok(eams)
    }
}
