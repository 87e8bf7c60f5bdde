//! What an operator does: add, change, remove, look, go back, again and again, compared with a model that is too simple
//! to be wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use common::{Lab, candidate, finish, host, noted, row, rows};
use eam_store::{
    Candidate, CommitError, Conflict, Digest, Edit, Idempotency, ImportError, RevisionId, Row, StageError,
    State, Step,
};
use ipnet::Ipv4Net;
use proptest::prelude::*;

#[test]
fn a_revision_outlives_the_process() {
    let mut lab = Lab::new();
    assert_eq!((lab.head(), lab.eams.len()), (RevisionId(1), 0));
    let (a, b) =
        (row("192.0.2.1/32", "2001:db8::1/128"), noted(&row("192.0.2.16/28", "2001:db8:1::/124"), "web"));
    let receipt = lab.commit(&[Edit::Add(a.clone()), Edit::Add(b.clone())]);
    assert_eq!((receipt.revision().id, receipt.revision().counts.added), (RevisionId(2), 2));
    let receipt = lab.commit(&[Edit::Remove { ipv4: a.eam().ipv4(), ipv6: None }]);
    assert_eq!((receipt.revision().counts.removed, receipt.revision().rows), (1, 1));
    let digest = lab.store().head().digest;
    lab.reopen();
    assert_eq!((lab.eams.clone(), lab.notices.len()), (vec![b.eam()], 0));
    assert_eq!((lab.head(), lab.store().head().digest), (RevisionId(3), digest));
    let receipt = lab.rollback(RevisionId(2)).unwrap();
    assert_eq!((receipt.revision().id, receipt.revision().rows), (RevisionId(4), 2));
    let second = lab.store().revision(RevisionId(2)).unwrap().unwrap();
    assert_eq!((receipt.revision().digest, second.state), (second.digest, State::Superseded));
    let history = lab.store().history(None, 10).unwrap();
    assert_eq!(history.iter().map(|revision| revision.id.0).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert_eq!(lab.store().history(Some(RevisionId(4)), 2).unwrap(), history[1..3]);
    assert_eq!(rows(lab.store()), [a, b]);
}

#[test]
fn whoever_was_faster_is_named() {
    let mut lab = Lab::new();
    let old = lab.request();
    let first = candidate(lab.store(), &[Edit::Add(host(1, 1))]);
    let mut faster = lab.request();
    faster.author.comment = "renumbering rack 7".to_owned();
    lab.commit_as(&[Edit::Add(host(2, 2))], faster).unwrap();
    lab.commit(&[Edit::Add(host(3, 3))]);
    let error = finish(lab.store().commit(&first, old)).unwrap_err();
    let text = error.to_string();
    let CommitError::Stale { expected, faster, current } = error else { panic!("{error}") };
    assert_eq!((expected.0, faster.id.0, current.0), (1, 2, 3));
    for part in ["revision 1", "2 of uid 1000", "2027-01-15T12:00:00Z", "renumbering rack 7", "revision 3"] {
        assert!(text.contains(part), "{text}");
    }
    // Also when the request knows better than the candidate.
    let request = lab.request();
    assert!(matches!(finish(lab.store().commit(&first, request)), Err(CommitError::Stale { .. })));
    let rebased = lab.store().rebase(&first).unwrap();
    let request = lab.request();
    assert_eq!(finish(lab.store().commit(&rebased, request)).unwrap().revision().rows, 3);
}

#[test]
fn a_row_that_somebody_else_changed_is_not_rebased() {
    let mut lab = Lab::new();
    lab.commit(&[Edit::Add(host(1, 1))]);
    let mine = candidate(lab.store(), &[Edit::Change(host(1, 2))]);
    lab.commit(&[Edit::Change(host(1, 3))]);
    let error = lab.store().rebase(&mine).unwrap_err();
    assert_eq!(error, StageError::Conflict(Conflict::Moved("10.0.0.1/32".parse().unwrap())));
}

#[test]
fn a_repeated_request_is_one_commit() {
    let mut lab = Lab::new();
    let mut request = lab.request();
    request.idempotency = Some(Idempotency::new("k1", b"add host 1"));
    let first = lab.commit_as(&[Edit::Add(host(1, 1))], request.clone()).unwrap();
    lab.commit(&[Edit::Add(host(2, 2))]);
    lab.reopen();
    let again = finish(lab.store().commit(&Candidate::default(), request.clone())).unwrap();
    assert_eq!((again.revision().id, again.is_repeated()), (first.revision().id, true));
    assert_eq!(lab.store().history(None, 10).unwrap().len(), 3);
    request.idempotency = Some(Idempotency::new("k1", b"add host 7"));
    let error = finish(lab.store().commit(&Candidate::default(), request.clone())).unwrap_err();
    assert_eq!(error, CommitError::KeyReused { key: "k1".to_owned(), revision: RevisionId(2) });
    // Another user's keys are his own.
    request.author.uid += 1;
    assert!(matches!(
        finish(lab.store().commit(&Candidate::default(), request)),
        Err(CommitError::Stale { .. })
    ));
}

#[test]
fn what_is_prepared_and_dropped_never_was() {
    let mut lab = Lab::new();
    lab.commit(&[Edit::Add(host(1, 1))]);
    let (head, before) = (lab.store().head().clone(), rows(lab.store()));
    let (edits, request) = (candidate(lab.store(), &[Edit::Add(host(2, 2))]), lab.request());
    let Step::Prepared(prepared) = lab.store().commit(&edits, request).unwrap() else {
        panic!("there is a change")
    };
    assert_eq!(prepared.revision().rows, 2);
    drop(prepared);
    assert_eq!((lab.store().head().clone(), rows(lab.store())), (head.clone(), before.clone()));
    lab.reopen();
    assert_eq!((lab.store().head().clone(), rows(lab.store())), (head, before));
    assert_eq!(
        lab.commit(&[Edit::Add(host(2, 2))]).revision().id,
        RevisionId(3),
        "and its name is given again"
    );
}

#[test]
fn nothing_to_change_makes_no_revision() {
    let mut lab = Lab::new();
    lab.commit(&[Edit::Add(host(1, 1))]);
    let receipt = lab.commit(&[Edit::Put(host(1, 1))]);
    assert_eq!((receipt.revision().id, receipt.is_repeated()), (RevisionId(2), true));
    assert!(lab.rollback(RevisionId(2)).unwrap().is_repeated());
    assert_eq!(lab.rollback(RevisionId(9)), Err(CommitError::UnknownRevision(RevisionId(9))));
}

#[test]
fn prefixes_change_hands_within_a_revision() {
    let mut lab = Lab::new();
    lab.commit(&[Edit::Add(host(1, 1)), Edit::Add(host(2, 2))]);
    let mut swap = Candidate::default();
    let first = lab.store().stage(&mut swap, Edit::Change(host(1, 2))).unwrap_err();
    assert!(matches!(first, StageError::Conflict(Conflict::Duplicate { .. })), "{first}");
    for edit in [Edit::Change(host(1, 3)), Edit::Change(host(2, 1)), Edit::Change(host(1, 2))] {
        lab.store().stage(&mut swap, edit).unwrap();
    }
    assert_eq!((swap.changes().lost().count(), swap.changes().gained().count()), (2, 2));
    let request = lab.request();
    finish(lab.store().commit(&swap, request)).unwrap();
    assert_eq!(rows(lab.store()), [host(1, 2), host(2, 1)]);
}

#[test]
fn an_import_is_all_or_nothing_and_every_refusal_names_its_edit() {
    let mut lab = Lab::new();
    lab.commit(&[Edit::Add(host(3, 30))]);
    let mut staged = Candidate::default();
    let edits =
        vec![Edit::Add(host(9, 9)), Edit::Add(host(3, 3)), Edit::Add(host(4, 30)), Edit::Add(host(9, 10))];
    let error = lab.store().stage_all(&mut staged, edits).unwrap_err();
    let ImportError::Conflicts { conflicts, more: 0 } = error else { panic!("{error}") };
    assert_eq!(conflicts.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(staged.is_empty());
    // What goes makes room, wherever it stands.
    let edits = vec![Edit::Add(host(4, 30)), Edit::Remove { ipv4: host(3, 0).eam().ipv4(), ipv6: None }];
    lab.store().stage_all(&mut staged, edits).unwrap();
    assert_eq!(staged.changes().counts().added, 1);
}

#[test]
fn of_several_edits_of_one_row_those_that_remove_come_first() {
    let mut lab = Lab::new();
    lab.commit(&[Edit::Add(host(1, 1))]);
    let remove = Edit::Remove { ipv4: host(1, 1).eam().ipv4(), ipv6: None };
    let store = lab.store();
    // What is put makes no room for what is added before it, nor after.
    for edits in
        [[Edit::Add(host(1, 3)), Edit::Put(host(1, 2))], [Edit::Put(host(1, 2)), Edit::Add(host(1, 3))]]
    {
        let mut staged = Candidate::default();
        let error = store.stage_all(&mut staged, edits.to_vec()).unwrap_err();
        assert!(error.to_string().contains("10.0.0.1/32") && staged.is_empty(), "{error}");
    }
    for (edits, row) in [
        ([Edit::Put(host(1, 2)), Edit::Put(host(1, 3))], host(1, 3)),
        ([Edit::Add(host(1, 2)), remove.clone()], host(1, 2)),
        ([Edit::Put(host(1, 4)), remove], host(1, 4)),
    ] {
        let mut staged = Candidate::default();
        store.stage_all(&mut staged, edits.to_vec()).unwrap();
        assert_eq!(staged.changes().as_slice()[0].after(), Some(&row), "{edits:?}");
    }
}

#[test]
fn rows_that_are_put_together_may_change_places() {
    let mut lab = Lab::new();
    lab.commit(&(0..20).map(|number| Edit::Add(host(number, number))).collect::<Vec<_>>());
    let round = |by| (0..20).map(move |number| Edit::Put(host(number, (number + by) % 20)));
    let mut staged = Candidate::default();
    lab.store().stage_all(&mut staged, round(1).collect()).unwrap();
    // A candidate of its own already, and one of them only changes its note.
    let mut edits: Vec<_> = round(2).collect();
    edits[7] = Edit::Put(noted(&host(7, 8), "stays"));
    edits.push(Edit::Add(host(30, 9)));
    let error = lab.store().stage_all(&mut staged, edits.clone()).unwrap_err();
    let ImportError::Conflicts { conflicts, more: 0 } = error else { panic!("{error}") };
    assert!(
        matches!(&conflicts[..], [(6, Conflict::Duplicate { .. })]),
        "6 takes what 7 keeps: {conflicts:?}"
    );
    edits[6] = Edit::Put(host(6, 31));
    lab.store().stage_all(&mut staged, edits).unwrap();
    let request = lab.request();
    let receipt = finish(lab.store().commit(&staged, request)).unwrap();
    assert_eq!((receipt.revision().counts.added, receipt.revision().counts.changed), (1, 20));
    let mut expected: Vec<_> = (0..20).map(|number| host(number, (number + 2) % 20)).collect();
    expected[6] = host(6, 31);
    expected[7] = noted(&host(7, 8), "stays");
    expected.push(host(30, 9));
    assert_eq!(rows(lab.store()), expected);
}

#[test]
fn pages_meet_and_free_addresses_are_free() {
    let mut lab = Lab::new();
    let edits: Vec<_> =
        (0..100).filter(|number| number % 7 != 3).map(|number| Edit::Add(host(number, number))).collect();
    lab.commit(&edits);
    let (all, mut paged, mut after) = (rows(lab.store()), Vec::new(), None);
    loop {
        let page = lab.store().list("10.0.0.0/8".parse().unwrap(), after, 7).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.row.eam().ipv4());
        paged.extend(page.into_iter().map(|owned| owned.row));
    }
    assert_eq!(paged, all);
    let address = |last| Ipv4Addr::new(10, 0, 0, last);
    let (pool, start) = (address(0)..=address(31), address(0));
    for expected in [3, 10, 17, 24, 31] {
        let free = lab.store().next_free(&pool, start).unwrap().unwrap();
        assert_eq!(free.octets()[3], expected);
        lab.commit(&[Edit::Add(host(expected.into(), 1000 + u32::from(expected)))]);
    }
    assert_eq!(lab.store().next_free(&pool, start).unwrap(), None);
    lab.commit(&[Edit::Remove { ipv4: host(5, 5).eam().ipv4(), ipv6: None }]);
    assert_eq!(
        lab.store().next_free(&pool, start).unwrap().unwrap().octets()[3],
        5,
        "what is given back is given out again"
    );
    // From further on, and behind rows around an address, wherever they are; the whole Internet is around all.
    lab.commit(&[
        Edit::Add(row("10.0.0.128/27", "2001:db8:7::/123")),
        Edit::Add(row("0.0.0.0/0", "2001:db8:8::/96")),
    ]);
    let wide = address(0)..=Ipv4Addr::new(10, 0, 1, 255);
    let mut next = |from| lab.store().next_free(&wide, from).unwrap();
    assert_eq!((next(address(6)), next(address(130))), (Some(address(38)), Some(address(160))));
    assert_eq!((next(address(0)), next(address(101))), (Some(address(5)), Some(address(101))));
    lab.commit(&[Edit::Add(row("10.0.0.0/25", "2001:db8:9::/121"))]);
    let mut next = |from| lab.store().next_free(&wide, from).unwrap();
    assert_eq!((next(address(0)), next(address(200))), (Some(address(160)), Some(address(200))));
    assert_eq!(lab.store().next_free(&(start..=start), start).unwrap(), None);
    lab.commit(&[Edit::Remove { ipv4: "10.0.0.0/25".parse().unwrap(), ipv6: None }]);
    assert_eq!(lab.store().next_free(&wide, start).unwrap(), Some(address(5)));
}

type Model = BTreeMap<u32, (u32, String)>;

#[derive(Debug, Clone)]
enum Action {
    Commit(Vec<(u32, Option<(u32, String)>)>),
    Rollback(prop::sample::Index),
    Restart,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let edit = (0_u32..6, prop::option::weighted(0.7, (0_u32..8, "[ab]?")));
    let action = prop_oneof![
        6 => prop::collection::vec(edit, 1..5).prop_map(Action::Commit),
        2 => any::<prop::sample::Index>().prop_map(Action::Rollback),
        1 => Just(Action::Restart),
    ];
    prop::collection::vec(action, 1..25)
}

fn model_rows(model: &Model) -> Vec<Row> {
    model.iter().map(|(number, (to, comment))| noted_if(host(*number, *to), comment)).collect()
}

fn noted_if(row: Row, comment: &str) -> Row {
    Row::new(row.eam(), Some(comment)).unwrap()
}

/// Edits one by one: accepted by both or by neither.
fn stage(lab: &mut Lab, model: &Model, edits: Vec<(u32, Option<(u32, String)>)>) -> (Candidate, Model) {
    let (mut candidate, mut model) = (Candidate::default(), model.clone());
    for (number, to) in edits {
        let is_taken = |to: u32| model.iter().any(|(other, (held, _))| *other != number && *held == to);
        let (edit, expected) = match &to {
            Some((to, comment)) => (Edit::Put(noted_if(host(number, *to), comment)), !is_taken(*to)),
            None => {
                (Edit::Remove { ipv4: host(number, 0).eam().ipv4(), ipv6: None }, model.contains_key(&number))
            }
        };
        let result = lab.store().stage(&mut candidate, edit);
        assert_eq!(result.is_ok(), expected, "{result:?}");
        if expected {
            match to {
                Some(to) => drop(model.insert(number, to)),
                None => drop(model.remove(&number)),
            }
        }
    }
    (candidate, model)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn random_histories_agree_with_a_simple_model(actions in actions()) {
        let mut lab = Lab::new();
        let mut history: Vec<(RevisionId, Model)> = vec![(RevisionId(1), Model::new())];
        for action in actions {
            let model = history.last().unwrap().1.clone();
            match action {
                Action::Restart => {
                    lab.reopen();
                    prop_assert_eq!(&lab.notices, &[]);
                }
                Action::Commit(edits) => {
                    let (candidate, next) = stage(&mut lab, &model, edits);
                    let request = lab.request();
                    let receipt = finish(lab.store().commit(&candidate, request)).unwrap();
                    prop_assert_eq!(receipt.is_repeated(), next == model);
                    if next != model {
                        history.push((receipt.revision().id, next));
                    }
                }
                Action::Rollback(index) => {
                    let (to, target) = index.get(&history).clone();
                    let receipt = lab.rollback(to).unwrap();
                    if !receipt.is_repeated() {
                        history.push((receipt.revision().id, target));
                    }
                }
            }
            let (id, model) = history.last().unwrap();
            let expected = model_rows(model);
            let head = lab.store().head().clone();
            prop_assert_eq!(head.id, *id);
            prop_assert_eq!(head.digest, Digest::of_rows(&expected));
            prop_assert_eq!(head.rows, u64::try_from(expected.len()).unwrap());
            let bare = expected.iter().map(|row| Row::from(row.eam())).collect::<Vec<_>>();
            prop_assert_eq!(lab.store().ranges().whole().digest, Digest::of_rows(&bare));
            prop_assert_eq!(rows(lab.store()), expected);
        }
        for (id, model) in &history {
            let head = history.last().unwrap();
            for (from, to, old, new) in [(head.0, *id, &head.1, model), (*id, head.0, model, &head.1)] {
                let changes = lab.store().diff(from, to).unwrap();
                let mut applied: BTreeMap<Ipv4Net, Row> =
                    model_rows(old).into_iter().map(|row| (row.eam().ipv4(), row)).collect();
                for change in changes.as_slice() {
                    let key = change.before().or(change.after()).unwrap().eam().ipv4();
                    let held = applied.remove(&key);
                    prop_assert_eq!(held.as_ref(), change.before());
                    applied.extend(change.after().map(|row| (key, row.clone())));
                }
                prop_assert_eq!(applied.into_values().collect::<Vec<_>>(), model_rows(new));
            }
        }
    }
}

/// So many that the order of the IPv6 prefixes is made anew.
#[test]
fn a_large_import_is_a_revision_like_any_other() {
    let mut lab = Lab::new();
    lab.commit(&[Edit::Add(host(50_000, 50_000))]);
    let import = |lab: &mut Lab| {
        let mut candidate = Candidate::default();
        let edits = (0..12_000).rev().map(|number| Edit::Add(host(number, 20_000 - number))).collect();
        lab.store().stage_all(&mut candidate, edits).unwrap();
        candidate
    };
    let (candidate, request) = (import(&mut lab), lab.request());
    drop(lab.store().commit(&candidate, request.clone()).unwrap());
    assert_eq!(rows(lab.store()).len(), 1, "given up");
    finish(lab.store().commit(&candidate, request)).unwrap();
    let expected: Vec<_> =
        (0..12_000).map(|number| host(number, 20_000 - number)).chain([host(50_000, 50_000)]).collect();
    lab.reopen();
    assert_eq!((lab.notices.len(), rows(lab.store())), (0, expected));
    let held = lab.store().get_ipv6(host(0, 19_000).eam().ipv6()).unwrap().unwrap();
    assert_eq!(held.row, host(1000, 19_000));
    let refused = lab.store().stage(&mut Candidate::default(), Edit::Add(host(60_000, 19_000)));
    assert!(matches!(refused, Err(StageError::Conflict(Conflict::Duplicate { .. }))));
    lab.rollback(RevisionId(2)).unwrap();
    assert_eq!(rows(lab.store()), [host(50_000, 50_000)]);
}

/// Edits that come together, in the order in which they are taken up, one by one.
fn one_by_one(store: &eam_store::Store, edits: &[Edit]) -> (Candidate, Vec<usize>) {
    let mut order: Vec<usize> = (0..edits.len()).collect();
    order.sort_by_key(|at| (!matches!(edits[*at], Edit::Remove { .. }), edits[*at].ipv4(), *at));
    let (mut staged, mut refused) = (Candidate::default(), Vec::new());
    for at in order {
        match store.stage(&mut staged, edits[at].clone()) {
            Ok(_) => {}
            Err(StageError::Conflict(_)) => refused.push(at),
            Err(StageError::Store(error)) => panic!("{error}"),
        }
    }
    refused.sort_unstable();
    (staged, refused)
}

#[test]
fn many_edits_at_once_come_to_what_they_are_one_by_one() {
    let mut lab = Lab::new();
    let held: Vec<_> = (0..4_000).map(|number| Edit::Add(host(2 * number, 2 * number))).collect();
    lab.commit(&held);
    // New hosts in no order, notes, prefixes around some of them, rows that go, rows that take what others leave.
    let new =
        |number: u32| noted(&host(number * 7_919 % 40_000 * 2 + 1, number * 31 % 40_000 * 2 + 1), "new");
    let mut edits: Vec<_> = (0..11_000).map(|number| Edit::Add(new(number))).collect();
    edits.extend([
        Edit::Add(row("10.0.0.0/24", "2001:db8:77::/120")),
        Edit::Add(row("172.16.0.0/30", "2001:db8::/126")),
        Edit::Remove { ipv4: host(10, 10).eam().ipv4(), ipv6: None },
        Edit::Remove { ipv4: host(12, 12).eam().ipv4(), ipv6: None },
        Edit::Add(host(90_001, 10)),
        Edit::Add(host(12, 90_003)),
        Edit::Put(noted(&host(14, 90_005), "moved")),
        Edit::Put(host(90_007, 90_007)),
        Edit::Change(noted(&host(16, 16), "changed")),
    ]);
    for expects in [false, true] {
        if expects {
            lab.store().expect_many(edits.len()).unwrap();
        }
        let (single, refused) = one_by_one(lab.store(), &edits);
        assert!(refused.is_empty(), "{refused:?}");
        let mut staged = Candidate::default();
        lab.store().stage_all(&mut staged, edits.clone()).unwrap();
        assert_eq!((staged.changes(), staged.base()), (single.changes(), single.base()));
        // The candidate goes on as any other.
        let again = lab
            .store()
            .stage(&mut staged, Edit::Add(host(100_001, new(5).eam().ipv6().addr().segments()[7].into())));
        assert!(matches!(again, Err(StageError::Conflict(Conflict::Duplicate { .. }))), "{again:?}");
        lab.store().forget();
    }
    // The same edits are refused, whether they come together or not.
    edits.extend([
        Edit::Add(new(3)),
        Edit::Add(host(90_009, 90_007)),
        Edit::Add(host(20, 90_011)),
        Edit::Add(host(90_013, 20)),
        Edit::Remove { ipv4: host(90_015, 0).eam().ipv4(), ipv6: None },
    ]);
    let (_, refused) = one_by_one(lab.store(), &edits);
    assert_eq!(refused.len(), 5, "{refused:?}");
    let mut staged = Candidate::default();
    let error = lab.store().stage_all(&mut staged, edits).unwrap_err();
    let ImportError::Conflicts { conflicts, more: 0 } = error else { panic!("{error}") };
    assert_eq!(conflicts.iter().map(|(at, _)| *at).collect::<Vec<_>>(), refused);
    assert!(staged.is_empty());
}

/// A removal is of the row that was there, never of one that the same edits bring.
#[test]
fn what_nobody_has_cannot_be_removed_however_many_edits_come_with_it() {
    let mut lab = Lab::new();
    for others in [9_997, 9_998, 12_000] {
        let mut edits =
            vec![Edit::Add(host(50_000, 1)), Edit::Remove { ipv4: host(50_000, 1).eam().ipv4(), ipv6: None }];
        edits.extend((0..others).map(|number| Edit::Add(host(100 + number, 100 + number))));
        let mut staged = Candidate::default();
        let error = lab.store().stage_all(&mut staged, edits.clone()).unwrap_err();
        let missing = Conflict::Missing(host(50_000, 1).eam().ipv4());
        assert_eq!(
            error,
            ImportError::Conflicts { conflicts: vec![(1, missing)], more: 0 },
            "{others} others"
        );
        // Where somebody has it, it goes and comes.
        let mut there = Lab::new();
        there.commit(&[Edit::Add(host(50_000, 7))]);
        there.store().stage_all(&mut staged, edits).unwrap();
        let change = staged.changes().as_slice().last().unwrap().clone();
        assert_eq!((change.before(), change.after()), (Some(&host(50_000, 7)), Some(&host(50_000, 1))));
    }
}
