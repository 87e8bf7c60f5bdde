//! What an operator does: add, change, remove, look, go back.

use std::time::{Duration, UNIX_EPOCH};

use eam_store::{
    Author, Candidate, CommitError, Conflict, Eam, Edit, Foreign, Idempotency, ManualClock, Opened, Options,
    OwnedRow, Owner, Receipt, Request, RevisionId, Row, StageError, State, Step, Store,
};

fn row(ipv4: &str, ipv6: &str) -> Row {
    Eam::new(ipv4.parse().unwrap(), ipv6.parse().unwrap()).unwrap().into()
}

fn open(directory: &tempfile::TempDir) -> (Store, ManualClock, Vec<Eam>) {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let options = Options { clock: Box::new(clock.clone()), ..Options::default() };
    let Opened { store, eams, .. } = Store::open(&directory.path().join("mappings.db"), options).unwrap();
    (store, clock, eams)
}

fn request(store: &Store) -> Request {
    let author = Author { uid: 1000, pid: 1, comment: "test".to_owned() };
    Request { author, if_match: store.head().id, idempotency: None, confirm_within: None }
}

fn finish(step: Result<Step<'_>, CommitError>) -> Result<Receipt, CommitError> {
    match step? {
        Step::Done(receipt) => Ok(receipt),
        Step::Prepared(prepared) => Ok(prepared.make_durable()?.published()),
    }
}

fn edit(store: &mut Store, edits: &[Edit]) -> Receipt {
    let mut candidate = Candidate::default();
    for edit in edits {
        store.stage(&mut candidate, edit.clone()).unwrap();
    }
    let request = request(store);
    finish(store.commit(&candidate, request)).unwrap()
}

#[test]
fn a_revision_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _, eams) = open(&directory);
    assert!(eams.is_empty());
    assert_eq!(store.head().id, RevisionId(1));
    let a = row("192.0.2.1/32", "2001:db8::1/128");
    let b = row("192.0.2.16/28", "2001:db8:1::/124");
    let receipt = edit(&mut store, &[Edit::Add(a.clone()), Edit::Add(b.clone())]);
    assert_eq!((receipt.revision().id, receipt.revision().counts.added), (RevisionId(2), 2));
    let receipt = edit(&mut store, &[Edit::Remove { ipv4: a.eam().ipv4(), ipv6: None }]);
    assert_eq!((receipt.revision().counts.removed, receipt.revision().rows), (1, 1));
    let digest = store.head().digest;
    drop(store);
    let (mut store, _, eams) = open(&directory);
    assert_eq!(eams, [b.eam()]);
    assert_eq!((store.head().id, store.head().digest), (RevisionId(3), digest));
    let request = request(&store);
    let receipt = finish(store.rollback(RevisionId(2), request)).unwrap();
    assert_eq!((receipt.revision().id, receipt.revision().rows), (RevisionId(4), 2));
    assert_eq!(receipt.revision().digest, store.revision(RevisionId(2)).unwrap().unwrap().digest);
    let history = store.history(None, 10).unwrap();
    assert_eq!(history.iter().map(|revision| revision.id.0).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert_eq!((history[0].state, history[1].state), (State::Active, State::Superseded));
    assert_eq!(store.eams().unwrap(), [a.eam(), b.eam()]);
}
