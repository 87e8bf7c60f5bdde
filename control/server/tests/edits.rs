//! What edits come to, on top of the store and of what is staged already.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use control_api::{Code, Committed, Refusal};
use control_server::mappings::{Edit, Mappings, Rules, Target};
use control_server::testing::FakeRelay;
use control_server::{Intent, ListQuery, Peer, Relay};
use eam_store::{Eam, Foreign, Limits, OwnedRow, Owner, Row};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tempfile::TempDir;

#[test]
fn only_what_makes_a_revision_is_heard_of() {
    let lab = Lab::with(&[]);
    let change = |edits: &[Edit]| lab.relay.change(&intent(), edits.to_vec(), false).unwrap();
    assert!(!change(&[add(1, 1)]).repeated);
    assert!(change(&[add(1, 1)]).repeated && change(&[]).repeated);
    assert_eq!(lab.relay.heard.load(std::sync::atomic::Ordering::Relaxed), 1);
}

struct Lab {
    relay: Arc<FakeRelay>,
    _directory: TempDir,
}

fn ipv4(last: u8) -> Ipv4Net {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn ipv6(last: u8) -> Ipv6Net {
    format!("2001:db8::{last}/128").parse().unwrap()
}

fn edit(target: Target) -> Edit {
    Edit { target, comment: None, line: None }
}

fn add(from: u8, to: u8) -> Edit {
    edit(Target::Add { ipv4: ipv4(from), ipv6: ipv6(to) })
}

fn set(from: u8, to: u8) -> Edit {
    edit(Target::Set { ipv4: ipv4(from), ipv6: ipv6(to) })
}

fn remove(from: u8) -> Edit {
    edit(Target::Remove { ipv4: Some(ipv4(from)), ipv6: None })
}

fn remove_by_ipv6(to: u8) -> Edit {
    edit(Target::Remove { ipv4: None, ipv6: Some(ipv6(to)) })
}

fn noted(edit: Edit, comment: &str) -> Edit {
    Edit { comment: Some(comment.into()), ..edit }
}

fn intent() -> Intent {
    Intent {
        peer: Peer { uid: 1000, pid: None },
        comment: String::new(),
        revision: None,
        key: None,
        request: Vec::new(),
        confirm_within: None,
    }
}

impl Lab {
    fn with(edits: &[Edit]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let relay = FakeRelay::new(&directory.path().join("mappings.db"));
        let lab = Self { relay, _directory: directory };
        lab.change(edits, false).unwrap();
        lab
    }

    fn mappings(&self) -> &Mappings {
        self.relay.mappings()
    }

    fn change(&self, edits: &[Edit], replace: bool) -> Result<Committed, Refusal> {
        self.mappings().change(&intent(), edits.to_vec(), replace)
    }

    fn stage(&self, edits: &[Edit], replace: bool) -> Result<Committed, Refusal> {
        self.mappings().stage(&intent(), edits, replace)
    }

    fn commit(&self) -> Result<Committed, Refusal> {
        self.mappings().commit(&intent())
    }

    /// The store's mappings: last part of each address, and the note.
    fn rows(&self) -> Vec<(u8, u8, String)> {
        let query = ListQuery { owner: Some("store".into()), ..ListQuery::default() };
        let entries = self.mappings().eams(&query).unwrap().slices.flatten();
        let last =
            |net: &str, mark| net.split('/').next().unwrap().rsplit(mark).next().unwrap().parse().unwrap();
        entries.map(|entry| (last(&entry.ipv4, '.'), last(&entry.ipv6, ':'), entry.comment)).collect()
    }

    /// The same without notes.
    fn pairs(&self) -> Vec<(u8, u8)> {
        self.rows().into_iter().map(|(ipv4, ipv6, _)| (ipv4, ipv6)).collect()
    }
}

#[test]
fn what_a_request_removes_is_not_there_for_what_it_adds() {
    for removal in [remove(1), remove_by_ipv6(1)] {
        let lab = Lab::with(&[add(1, 1), add(4, 4)]);
        for edits in
            [[removal.clone(), add(1, 1)], [add(1, 1), removal.clone()], [removal.clone(), set(1, 1)]]
        {
            lab.change(&edits, false).unwrap();
            assert_eq!(lab.pairs(), [(1, 1), (4, 4)], "{edits:?}");
            lab.change(&edits, true).unwrap();
            assert_eq!(lab.pairs(), [(1, 1)], "{edits:?} alone");
            lab.change(&[add(4, 4)], false).unwrap();
        }
        // Its note goes with it.
        lab.change(&[noted(set(1, 1), "old")], false).unwrap();
        lab.change(&[removal, set(1, 2)], false).unwrap();
        assert_eq!(lab.rows()[0], (1, 2, String::new()));
    }
}

#[test]
fn a_mapping_that_goes_by_name_and_by_replacement_goes_once() {
    let lab = Lab::with(&[add(1, 1), add(2, 2), add(4, 4)]);
    let done = lab.change(&[remove(1), add(4, 4)], true).unwrap();
    assert_eq!((done.removed, done.unchanged, lab.pairs()), (2, 1, vec![(4, 4)]));
}

#[test]
fn what_is_added_again_after_its_removal_was_staged_stays() {
    let lab = Lab::with(&[noted(add(1, 1), "web"), add(4, 4)]);
    lab.stage(&[remove(1)], false).unwrap();
    let again = lab.stage(&[noted(add(1, 1), "web")], false).unwrap();
    assert_eq!((again.removed, again.unchanged), (0, 0), "nothing is left of the removal");
    assert_eq!(lab.commit().unwrap_err().code, Code::NotFound, "nothing is staged");
    assert_eq!(lab.pairs(), [(1, 1), (4, 4)]);
    // Staged twice, it is there once.
    lab.stage(&[noted(add(2, 2), "new")], false).unwrap();
    let twice = lab.stage(&[add(2, 2)], false).unwrap();
    assert_eq!((twice.added, twice.unchanged), (1, 1));
    // The note of what is staged stays as well.
    lab.stage(&[set(2, 3)], false).unwrap();
    lab.commit().unwrap();
    assert_eq!(lab.rows()[1], (2, 3, "new".to_owned()));
}

#[test]
fn a_replacement_that_is_staged_again_is_what_its_file_says() {
    // What the first file lacked comes back with the second.
    let lab = Lab::with(&[add(1, 1), noted(add(4, 4), "kept")]);
    assert_eq!(lab.stage(&[add(1, 1), add(7, 7)], true).unwrap().removed, 1);
    let second = lab.stage(&[add(1, 1), add(4, 4), add(8, 8)], true).unwrap();
    assert_eq!((second.added, second.removed, second.unchanged), (1, 0, 2), "7 came from the first file");
    lab.commit().unwrap();
    assert_eq!(lab.pairs(), [(1, 1), (4, 4), (8, 8)]);
    assert_eq!(lab.rows()[1].2, "kept");
    // What neither has goes once.
    lab.stage(&[add(1, 1)], true).unwrap();
    assert_eq!(lab.stage(&[add(1, 2)], true).unwrap().removed, 2);
    lab.commit().unwrap();
    assert_eq!(lab.pairs(), [(1, 2)]);
    // One that says what is in force leaves nothing staged.
    lab.stage(&[add(9, 9)], false).unwrap();
    lab.stage(&[add(1, 2)], true).unwrap();
    assert_eq!(lab.commit().unwrap_err().code, Code::NotFound);
}

#[test]
fn a_removal_by_ipv6_finds_who_has_it_in_the_candidate() {
    let lab = Lab::with(&[add(1, 1)]);
    lab.stage(&[remove(1), add(2, 1)], false).unwrap();
    lab.stage(&[add(1, 2)], false).unwrap();
    lab.stage(&[remove_by_ipv6(1)], false).unwrap();
    lab.commit().unwrap();
    assert_eq!(lab.pairs(), [(1, 2)]);
    // What the candidate has removed is nobody's.
    lab.stage(&[remove(1)], false).unwrap();
    let refused = lab.stage(&[remove_by_ipv6(2)], false).unwrap_err();
    assert!(refused.findings[0].message.contains("is not mapped"), "{refused:?}");
}

#[test]
fn free_addresses_are_given_out_in_order_and_the_edges_of_a_pool_last() {
    let auto = |to: u32| edit(Target::Auto { ipv6: format!("2001:db8:a::{to:x}/128").parse().unwrap() });
    // What stands for the Internet takes no address of the pool.
    let internet =
        Target::Add { ipv4: "0.0.0.0/0".parse().unwrap(), ipv6: "2001:db8:46::/96".parse().unwrap() };
    let lab = Lab::with(&[edit(internet), add(2, 2)]);
    let pools = lab.mappings().pools().unwrap().pools;
    assert_eq!((pools[0].used, pools[0].next_free.as_deref()), (2, Some("192.0.2.1")));
    lab.stage(&[add(3, 3)], false).unwrap();
    let got = |done: Committed| {
        let last =
            |net: &str| net.strip_suffix("/32").unwrap().rsplit('.').next().unwrap().parse::<u8>().unwrap();
        done.allocated.iter().map(|row| last(&row.ipv4)).collect::<Vec<_>>()
    };
    assert_eq!(got(lab.stage(&[auto(1), add(4, 4), auto(2)], false).unwrap()), [1, 5]);
    lab.mappings().discard();
    let autos: Vec<_> = (1..=254).map(auto).collect();
    let mut expected: Vec<u8> = (1..=254).filter(|last| ![2, 10].contains(last)).collect();
    expected.extend([0, 255]);
    assert_eq!(got(lab.change(&autos, false).unwrap()), expected);
    let refused = lab.change(&[auto(999)], false).unwrap_err();
    assert!(refused.findings[0].message.contains("no service address is free"), "{refused:?}");
    lab.change(&[remove(255), remove(77)], false).unwrap();
    assert_eq!(got(lab.change(&[auto(999), auto(998)], false).unwrap()), [77, 255]);
}

/// What two edits of `192.0.2.1` come to, from what it is mapped to: removals first, then the others in their order.
fn after(mut mapped: Option<u8>, edits: &[Edit], replace: bool) -> Result<Option<u8>, ()> {
    let last = |net: Ipv6Net| net.addr().octets()[15];
    for edit in edits {
        if let Target::Remove { ipv6, .. } = edit.target {
            let held = mapped.take().ok_or(())?;
            ipv6.is_none_or(|ipv6| last(ipv6) == held).then_some(()).ok_or(())?;
        }
    }
    if replace {
        mapped = None;
    }
    for edit in edits {
        match edit.target {
            Target::Add { ipv6, .. } if mapped.is_none_or(|held| held == last(ipv6)) => {
                mapped = Some(last(ipv6))
            }
            Target::Add { .. } => return Err(()),
            Target::Set { ipv6, .. } => mapped = Some(last(ipv6)),
            Target::Auto { .. } | Target::Remove { .. } => {}
        }
    }
    Ok(mapped)
}

#[test]
fn two_edits_of_one_mapping_are_both_carried_out_or_refused_by_its_name() {
    let expecting = edit(Target::Remove { ipv4: Some(ipv4(1)), ipv6: Some(ipv6(1)) });
    let all = [add(1, 1), add(1, 2), set(1, 1), set(1, 2), remove(1), remove_by_ipv6(1), expecting];
    let lab = Lab::with(&[]);
    let (mut carried_out, mut refused) = (0, 0);
    for (first, second) in all.iter().flat_map(|first| all.iter().map(move |second| (first, second))) {
        let edits = [first.clone(), second.clone()];
        for mapped in [None, Some(1), Some(2)] {
            for (replace, is_staged) in [(false, false), (false, true), (true, false), (true, true)] {
                let before: Vec<_> = mapped.map(|to| add(1, to)).into_iter().chain([add(4, 4)]).collect();
                lab.change(&before, true).unwrap();
                let told = format!("{mapped:?}, replace {replace}, staged {is_staged}: {edits:?}");
                let done = if is_staged {
                    lab.stage(&edits, replace).map(|_| drop(lab.commit()))
                } else {
                    lab.change(&edits, replace).map(drop)
                };
                let expected = after(mapped, &edits, replace);
                match (&done, expected) {
                    (Ok(()), Ok(becomes)) => {
                        let rest = (!replace).then_some((4, 4));
                        let rows: Vec<_> = becomes.map(|to| (1, to)).into_iter().chain(rest).collect();
                        assert_eq!(lab.pairs(), rows, "{told}");
                        carried_out += 1;
                    }
                    (Err(refusal), Err(())) => {
                        let value = &refusal.findings[0].value;
                        assert!(
                            value.contains("192.0.2.1/32") || value.contains("2001:db8::1/128"),
                            "{told}: {refusal:?}"
                        );
                        assert_eq!(lab.pairs().len(), before.len(), "{told}");
                        assert_eq!(
                            lab.commit().unwrap_err().code,
                            Code::NotFound,
                            "nothing is staged: {told}"
                        );
                        refused += 1;
                    }
                    _ => panic!("{told}: {done:?} and not {expected:?}"),
                }
            }
        }
    }
    assert!(carried_out > 100 && refused > 100, "{carried_out} {refused}");
}

#[test]
fn of_several_edits_each_sees_what_those_before_have_made() {
    let lab = Lab::with(&[noted(add(1, 1), "old"), add(2, 2)]);
    lab.change(&[noted(set(1, 5), "new"), set(1, 6), add(1, 6)], false).unwrap();
    assert_eq!(lab.rows(), [(1, 6, "new".to_owned()), (2, 2, String::new())]);
    // Addresses change hands although one is set twice.
    lab.change(&[set(1, 2), set(1, 6), set(1, 2), set(2, 6)], false).unwrap();
    assert_eq!(lab.pairs(), [(1, 2), (2, 6)]);
    let refusal = lab.change(&[set(1, 7), add(1, 2)], false).unwrap_err();
    let finding = &refusal.findings[0];
    assert_eq!(finding.value, "192.0.2.1/32 = 2001:db8::2/128");
    assert!(
        finding.message.contains("maps it to 2001:db8::7/128") && finding.remedy.contains("set"),
        "{finding:?}"
    );
}

/// Little room, and no other rule.
#[derive(Debug)]
struct Narrow(Limits);

impl Rules for Narrow {
    fn pools(&self) -> Vec<Ipv4Net> {
        Vec::new()
    }

    fn by_prefix(&self, _: IpAddr) -> Option<(IpAddr, IpNet)> {
        None
    }

    fn of_store(&self) -> eam_store::Rules {
        eam_store::Rules { limits: self.0, ..eam_store::Rules::default() }
    }
}

#[test]
fn what_there_is_no_room_for_is_refused_and_what_was_staged_stays() {
    let lab = Lab::with(&[add(1, 1), add(2, 2)]);
    lab.mappings().source().rules(Arc::new(Narrow(Limits { rows: 4, notes: 20 })));
    let refused = |done: Result<Committed, Refusal>, part: &str| {
        let refusal = done.unwrap_err();
        assert_eq!(refusal.code, Code::TooLarge);
        assert!(
            refusal.message.contains(part) && refusal.remedy.contains("borderctl discard"),
            "{refusal:?}"
        );
    };
    refused(lab.change(&[add(3, 3), add(4, 4), add(5, 5)], false), "5 mappings: at most 4");
    // Staged bit by bit it is no more.
    lab.stage(&[add(3, 3)], false).unwrap();
    lab.stage(&[add(4, 4)], false).unwrap();
    refused(lab.stage(&[add(5, 5)], false), "5 mappings: at most 4");
    lab.stage(&[remove(1), add(5, 5)], false).unwrap();
    refused(lab.stage(&[noted(set(2, 2), &"x".repeat(21))], false), "21 bytes: at most 20");
    lab.stage(&[noted(set(2, 2), &"x".repeat(10))], false).unwrap();
    refused(lab.stage(&[noted(set(3, 3), &"y".repeat(11))], false), "21 bytes");
    assert_eq!(lab.mappings().candidate().unwrap().diff.added, 3);
    lab.commit().unwrap();
    assert_eq!(lab.pairs(), [(2, 2), (3, 3), (4, 4), (5, 5)]);
    // Somebody else was faster, and took the room.
    lab.change(&[remove(5)], false).unwrap();
    lab.stage(&[add(6, 6)], false).unwrap();
    lab.change(&[add(7, 7)], false).unwrap();
    refused(lab.commit(), "5 mappings");
    // All of it may be replaced, and a table that has grown too large may shrink.
    let others: Vec<_> = (11..15).map(|last| add(last, last)).collect();
    lab.stage(&others, true).unwrap();
    lab.commit().unwrap();
    lab.mappings().source().rules(Arc::new(Narrow(Limits { rows: 2, notes: 20 })));
    refused(lab.change(&[add(1, 1)], false), "5 mappings: at most 2");
    lab.change(&[remove(11), set(12, 1)], false).unwrap();
}

/// So many mappings of a file.
fn many(count: u32) -> Foreign {
    Foreign::new((0..count).map(|number| {
        let ipv4 = Ipv4Net::from(Ipv4Addr::from_bits(0x0a00_0000 + number));
        let ipv6 = Ipv6Addr::from_bits(0x2001_0db8_000f_u128 << 80 | u128::from(number)).into();
        let row = Row::new(Eam::new(ipv4, ipv6).unwrap(), None).unwrap();
        OwnedRow { row, owner: Owner::File { name: "many.csv".into(), line: number } }
    }))
}

#[test]
fn a_list_that_leaves_everything_out_lets_changes_in_between() {
    let (lab, count) = (Lab::with(&[]), 5000);
    assert_eq!(lab.mappings().source().accept(many(count)), Ok(Vec::new()));
    let nothing = ListQuery { within: Some("2001:db8:ffff::/48".parse().unwrap()), ..ListQuery::default() };
    let mut between = 0_u8;
    for slice in lab.mappings().eams(&nothing).unwrap().slices {
        assert!(slice.is_empty());
        between += 1;
        lab.change(&[add(between, between)], false).unwrap();
    }
    assert!(u32::from(between) >= count / 1000, "{between} slices");
    assert_eq!(lab.rows().len(), usize::from(between));
    // What is found comes in slices as well, and ends where it is to.
    let query = ListQuery { limit: Some(1234), ..ListQuery::default() };
    let lengths: Vec<_> = lab.mappings().eams(&query).unwrap().slices.map(|slice| slice.len()).collect();
    assert!(lengths.iter().all(|length| *length <= 1000) && lengths.iter().sum::<usize>() == 1234);
}
