//! What the tests of the store share.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use eam_store::{
    Author, Candidate, CommitError, Eam, Edit, ManualClock, Notice, Opened, Options, Receipt, Request,
    RevisionId, Row, Step, Store,
};

pub(crate) const UID: u32 = 1000;

/// Noon, some day.
pub(crate) fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_014_400)
}

pub(crate) fn row(ipv4: &str, ipv6: &str) -> Row {
    Eam::new(ipv4.parse().unwrap(), ipv6.parse().unwrap()).unwrap().into()
}

/// The `number`th host of a plain table, mapped to the `to`th.
pub(crate) fn host(number: u32, to: u32) -> Row {
    let [a, b, c, d] = (0x0a00_0000 + number).to_be_bytes();
    row(&format!("{a}.{b}.{c}.{d}/32"), &format!("2001:db8::{:x}:{:x}/128", to >> 16, to & 0xffff))
}

pub(crate) fn noted(row: &Row, comment: &str) -> Row {
    Row::new(row.eam(), Some(comment)).unwrap()
}

/// A store in a directory of its own, with clocks that stand still.
pub(crate) struct Lab {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) clock: ManualClock,
    pub(crate) store: Option<Store>,
    pub(crate) eams: Vec<Eam>,
    pub(crate) notices: Vec<Notice>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(noon());
        let mut lab = Self { directory, clock, store: None, eams: Vec::new(), notices: Vec::new() };
        lab.reopen();
        lab
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("mappings.db")
    }

    /// Ends the store, as the end of the process would, and opens it again.
    pub(crate) fn reopen(&mut self) {
        self.store = None;
        let opened = open(&self.path(), &self.clock).unwrap();
        (self.store, self.eams, self.notices) = (Some(opened.store), opened.eams, opened.notices);
    }

    pub(crate) fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    pub(crate) fn head(&mut self) -> RevisionId {
        self.store().head().id
    }

    pub(crate) fn request(&mut self) -> Request {
        request(self.store())
    }

    pub(crate) fn commit(&mut self, edits: &[Edit]) -> Receipt {
        let request = self.request();
        self.commit_as(edits, request).unwrap()
    }

    pub(crate) fn commit_as(&mut self, edits: &[Edit], request: Request) -> Result<Receipt, CommitError> {
        let candidate = candidate(self.store(), edits);
        finish(self.store().commit(&candidate, request))
    }

    pub(crate) fn rollback(&mut self, to: RevisionId) -> Result<Receipt, CommitError> {
        let request = self.request();
        finish(self.store().rollback(to, request))
    }
}

pub(crate) fn open(path: &Path, clock: &ManualClock) -> Result<Opened, eam_store::StoreError> {
    Store::open(path, Options { clock: Box::new(clock.clone()), busy: Duration::from_millis(50) })
}

pub(crate) fn request(store: &Store) -> Request {
    let author = Author { uid: UID, pid: 1, comment: "test".to_owned() };
    Request { author, if_match: store.head().id, idempotency: None, confirm_within: None }
}

pub(crate) fn candidate(store: &Store, edits: &[Edit]) -> Candidate {
    let mut candidate = Candidate::default();
    for edit in edits {
        store.stage(&mut candidate, edit.clone()).unwrap();
    }
    candidate
}

/// Durable, published, answered.
pub(crate) fn finish(step: Result<Step<'_>, CommitError>) -> Result<Receipt, CommitError> {
    match step? {
        Step::Done(receipt) => Ok(receipt),
        Step::Prepared(prepared) => Ok(prepared.make_durable()?.published()),
    }
}

/// Every row of the store, by IPv4 prefix.
pub(crate) fn rows(store: &Store) -> Vec<Row> {
    let all = store.list("0.0.0.0/0".parse().unwrap(), None, usize::MAX).unwrap();
    all.into_iter().map(|owned| owned.row).collect()
}
