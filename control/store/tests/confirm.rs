//! The eight rules of revisions that have to be confirmed, one test each at least.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Lab, UID, candidate, finish, host, noon, rows};
use eam_store::{
    Author, Candidate, Cause, CommitError, Conflict, Edit, Foreign, Idempotency, Kind, Notice, OwnedRow,
    Owner, Receipt, Request, RevisionId, Row, State, Step,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A lab with revision 2 in force, which has host 1.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.commit(&[Edit::Add(host(1, 1))]);
    lab
}

fn within(lab: &mut Lab, time: Duration) -> Request {
    Request { confirm_within: Some(time), ..lab.request() }
}

/// Adds a host, to be confirmed within a minute.
fn pend(lab: &mut Lab, number: u32) -> Receipt {
    let request = within(lab, MINUTE);
    lab.commit_as(&[Edit::Add(host(number, number))], request).unwrap()
}

fn hosts(lab: &mut Lab) -> Vec<Row> {
    rows(lab.store())
}

#[test]
fn rule_1_it_waits_before_it_is_published() {
    let mut lab = lab();
    let (edits, request) = (candidate(lab.store(), &[Edit::Add(host(2, 2))]), within(&mut lab, MINUTE));
    let Step::Prepared(prepared) = lab.store().commit(&edits, request).unwrap() else {
        panic!("there is a change")
    };
    let durable = prepared.make_durable().unwrap();
    assert_eq!(durable.revision().state, State::Pending);
    // The process ends here, before anything is published.
    drop(durable);
    lab.reopen();
    assert_eq!(hosts(&mut lab), [host(1, 1)]);
    assert_eq!(lab.eams, [host(1, 1).eam()]);
}

#[test]
fn rule_2_a_restart_takes_it_back_and_says_so() {
    let mut lab = lab();
    pend(&mut lab, 2);
    lab.reopen();
    let reverted =
        Notice::Reverted { unconfirmed: RevisionId(3), to: RevisionId(2), recorded: Ok(RevisionId(4)) };
    assert_eq!(lab.notices, [reverted]);
    assert_eq!(lab.eams, [host(1, 1).eam()]);
    let history = lab.store().history(None, 10).unwrap();
    assert_eq!((history[0].state, history[1].state), (State::Active, State::Reverted));
    assert_eq!(history[0].kind, Kind::Automatic { to: RevisionId(2), cause: Cause::Restarted });
    assert_eq!(history[0].digest, history[2].digest);
    lab.reopen();
    assert_eq!((lab.notices.len(), lab.head()), (0, RevisionId(4)), "it is done once");
}

#[test]
fn rule_3_a_second_one_extends_and_the_way_back_stays() {
    let mut lab = lab();
    pend(&mut lab, 2);
    lab.clock.advance(MINUTE / 2);
    pend(&mut lab, 3);
    lab.clock.advance(MINUTE * 3 / 4);
    assert!(lab.store().expire().unwrap().is_none(), "the first deadline is over, the second is not");
    let pending = lab.store().pending().unwrap();
    assert_eq!((pending.prior, pending.remaining), (RevisionId(2), MINUTE / 4));
    // Without a change, too.
    let request = within(&mut lab, MINUTE);
    let receipt = finish(lab.store().commit(&Candidate::default(), request)).unwrap();
    assert_eq!(receipt.revision().id, RevisionId(4));
    assert_eq!(lab.store().pending().unwrap().remaining, MINUTE);
    lab.clock.advance(MINUTE);
    let expired = lab.store().expire().unwrap().unwrap();
    assert_eq!(expired.changes().lost().collect::<Vec<_>>(), [host(2, 2).eam(), host(3, 3).eam()]);
    assert_eq!(expired.record().unwrap().revision().id, RevisionId(5));
    assert_eq!(hosts(&mut lab), [host(1, 1)]);
    let states: Vec<_> =
        lab.store().history(None, 3).unwrap().iter().map(|revision| revision.state).collect();
    assert_eq!(states, [State::Active, State::Reverted, State::Reverted]);
}

#[test]
fn rule_4_others_are_refused_and_told_by_whom_and_until_when() {
    let mut lab = lab();
    pend(&mut lab, 2);
    let other = Author { uid: UID + 1, ..Author::default() };
    for request in [lab.request(), Request { author: other.clone(), ..within(&mut lab, MINUTE) }] {
        let error = lab.commit_as(&[Edit::Add(host(3, 3))], request.clone()).unwrap_err();
        assert!(matches!(error, CommitError::Pending(_)), "{error}");
        for part in ["revision 3", "uid 1000", "2027-01-15T12:01:00Z", "roll back to revision 2"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(matches!(finish(lab.store().rollback(RevisionId(1), request)), Err(CommitError::Pending(_))));
    }
    let request = Request { author: other.clone(), ..lab.request() };
    assert!(matches!(finish(lab.store().rollback(RevisionId(2), request)), Err(CommitError::Pending(_))));
    assert_eq!(
        lab.store().confirm(RevisionId(3), &other).unwrap().revision().confirmed,
        Some((noon(), UID + 1))
    );
    lab.commit(&[Edit::Add(host(3, 3))]);
}

#[test]
fn rule_5_what_is_refused_waits_for_nothing() {
    let mut lab = lab();
    let (edits, stale) = (candidate(lab.store(), &[Edit::Add(host(2, 2))]), within(&mut lab, MINUTE));
    lab.commit(&[Edit::Add(host(3, 3))]);
    assert!(finish(lab.store().commit(&edits, stale)).is_err());
    for time in [Duration::ZERO, Duration::from_secs(90_000)] {
        let request = within(&mut lab, time);
        let error = lab.commit_as(&[Edit::Add(host(2, 2))], request).unwrap_err();
        assert_eq!(error, CommitError::ConfirmWithin(time));
    }
    // Prepared and given up.
    let (edits, request) = (candidate(lab.store(), &[Edit::Add(host(2, 2))]), within(&mut lab, MINUTE));
    drop(lab.store().commit(&edits, request).unwrap());
    assert_eq!(lab.store().pending(), None);
    lab.clock.advance(MINUTE * 2);
    assert!(lab.store().expire().unwrap().is_none());
    lab.reopen();
    assert_eq!((lab.notices.len(), hosts(&mut lab).len()), (0, 2));
}

#[test]
fn rule_6_a_repeated_request_extends_nothing() {
    let mut lab = lab();
    let request =
        Request { idempotency: Some(Idempotency::new("k", b"add host 2")), ..within(&mut lab, MINUTE) };
    let first = lab.commit_as(&[Edit::Add(host(2, 2))], request.clone()).unwrap();
    lab.clock.advance(MINUTE / 2);
    let again = finish(lab.store().commit(&Candidate::default(), request)).unwrap();
    assert_eq!((again.revision(), again.is_repeated()), (first.revision(), true));
    assert_eq!(lab.store().pending().unwrap().remaining, MINUTE / 2);
}

#[test]
fn rule_7_setting_the_wall_clock_moves_no_deadline() {
    let mut lab = lab();
    pend(&mut lab, 2);
    lab.clock.set_wall(noon() + MINUTE * 1000);
    assert!(lab.store().expire().unwrap().is_none());
    lab.clock.set_wall(noon() - MINUTE * 1000);
    lab.clock.advance(MINUTE - Duration::from_millis(1));
    assert!(lab.store().expire().unwrap().is_none());
    lab.clock.advance(Duration::from_millis(1));
    assert!(lab.store().expire().unwrap().is_some());
}

#[test]
fn rule_8_going_back_is_a_revision_and_is_told() {
    let mut lab = lab();
    pend(&mut lab, 2);
    lab.clock.advance(MINUTE);
    assert_eq!(
        lab.store().confirm(RevisionId(3), &Author::default()),
        Err(CommitError::NotPending(RevisionId(3)))
    );
    let request = within(&mut lab, MINUTE);
    assert!(lab.commit_as(&[Edit::Add(host(9, 9))], request).is_err(), "too late to extend");
    let receipt = lab.store().expire().unwrap().unwrap().record().unwrap();
    let revision = receipt.revision();
    assert_eq!(revision.kind, Kind::Automatic { to: RevisionId(2), cause: Cause::NotConfirmed });
    assert_eq!((revision.parent, revision.counts.removed), (Some(RevisionId(3)), 1));
    assert!(revision.author.comment.contains("revision 3 was not confirmed in time"), "{revision:?}");
    assert_eq!((lab.store().history(None, 1).unwrap()[0].id, lab.store().pending()), (revision.id, None));
    assert!(lab.store().expire().unwrap().is_none(), "once");
}

#[test]
fn what_is_confirmed_stays() {
    let mut lab = lab();
    pend(&mut lab, 2);
    pend(&mut lab, 3);
    let author = Author { uid: UID, ..Author::default() };
    assert_eq!(lab.store().confirm(RevisionId(3), &author), Err(CommitError::NotPending(RevisionId(3))));
    let receipt = lab.store().confirm(RevisionId(4), &author).unwrap();
    assert_eq!((receipt.revision().state, receipt.is_repeated()), (State::Active, false));
    assert!(lab.store().confirm(RevisionId(4), &author).unwrap().is_repeated(), "an answer may get lost");
    lab.clock.advance(MINUTE * 10);
    assert!(lab.store().expire().unwrap().is_none());
    lab.reopen();
    assert_eq!((lab.notices.len(), hosts(&mut lab).len(), lab.head()), (0, 3, RevisionId(4)));
    let before = lab.store().revision(RevisionId(3)).unwrap().unwrap();
    assert_eq!((before.state, before.confirmed), (State::Superseded, Some((noon(), UID))));
}

#[test]
fn taking_it_back_by_hand_ends_the_wait() {
    let mut lab = lab();
    pend(&mut lab, 2);
    let receipt = lab.rollback(RevisionId(2)).unwrap();
    assert_eq!((receipt.revision().id, receipt.revision().state), (RevisionId(4), State::Active));
    assert_eq!(lab.store().revision(RevisionId(3)).unwrap().unwrap().state, State::Reverted);
    lab.clock.advance(MINUTE * 2);
    assert!(lab.store().expire().unwrap().is_none());
    assert_eq!(hosts(&mut lab), [host(1, 1)]);
}

#[test]
fn a_rollback_can_wait_as_well() {
    let mut lab = lab();
    lab.commit(&[Edit::Add(host(2, 2))]);
    let request = within(&mut lab, MINUTE);
    finish(lab.store().rollback(RevisionId(2), request)).unwrap();
    assert_eq!(hosts(&mut lab).len(), 1);
    lab.clock.advance(MINUTE);
    lab.store().expire().unwrap().unwrap().record().unwrap();
    assert_eq!(hosts(&mut lab).len(), 2);
}

/// Otherwise going back would fail when it is too late to say so, and what nobody confirmed would stay.
#[test]
fn a_configuration_that_takes_what_may_come_back_is_refused() {
    let mut lab = lab();
    lab.commit(&[Edit::Add(host(2, 2))]);
    let request = within(&mut lab, MINUTE);
    let remove = Edit::Remove { ipv4: host(1, 1).eam().ipv4(), ipv6: None };
    lab.commit_as(&[remove, Edit::Change(host(2, 20))], request).unwrap();
    let foreign = |row: Row| {
        let owner = Owner::File { name: "eams.csv".into(), line: 4 };
        Foreign::new([OwnedRow { row, owner }])
    };
    for bad in [host(1, 1), host(1, 9), host(9, 1), host(9, 2)] {
        let told = lab.store().check_foreign(&foreign(bad.clone())).unwrap();
        let text = told[0].to_string();
        assert!(matches!(told[0], Conflict::Returns { .. }) && text.contains("eams.csv line 4"), "{text}");
        assert!(text.contains("comes back unless revision 4 is confirmed"), "{text}");
        assert_eq!(lab.store().set_foreign(foreign(bad)).unwrap().unwrap_err(), told);
    }
    // What is new for now is in the way as ever, and what neither has is in nobody's.
    let told = lab.store().check_foreign(&foreign(host(9, 20))).unwrap();
    assert!(matches!(told[..], [Conflict::Duplicate { .. }]), "{told:?}");
    lab.store().set_foreign(foreign(host(9, 9))).unwrap().unwrap();
    let many =
        (0..300).map(|number| OwnedRow { row: host(1000 + number, 1000 + number), owner: Owner::Store });
    let conflicting = Foreign::new(many.chain([OwnedRow { row: host(1, 2), owner: Owner::Store }]));
    assert_eq!(lab.store().check_foreign(&conflicting).unwrap().len(), 2);
    lab.clock.advance(MINUTE);
    let expired = lab.store().expire().unwrap().unwrap();
    assert_eq!(expired.changes().gained().count(), 2);
    expired.record().unwrap();
    // Confirmed, what went is free.
    let request = within(&mut lab, MINUTE);
    let remove = Edit::Remove { ipv4: host(1, 1).eam().ipv4(), ipv6: None };
    let receipt = lab.commit_as(&[remove], request).unwrap();
    lab.store().confirm(receipt.revision().id, &Author { uid: UID, ..Author::default() }).unwrap();
    lab.store().set_foreign(foreign(host(1, 1))).unwrap().unwrap();
}
