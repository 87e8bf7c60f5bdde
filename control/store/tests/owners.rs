//! Rows of the configuration beside the store's, and rows that meet.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{Lab, finish, host, row, rows};
use eam_store::{
    Candidate, CommitError, Conflict, Eam, Edit, Family, Finding, Foreign, Lint, Overlaps, OwnedRow, Owner,
    RevisionId, Row, Rules, StageError,
};

fn file(line: u32) -> Owner {
    Owner::File { name: "eams.csv".into(), line }
}

fn foreign(rows: &[(Row, u32)]) -> Foreign {
    Foreign::new(rows.iter().map(|(row, line)| OwnedRow { row: row.clone(), owner: file(*line) }))
}

fn conflict(result: Result<Vec<Finding>, StageError>) -> Conflict {
    match result.unwrap_err() {
        StageError::Conflict(conflict) => conflict,
        StageError::Store(error) => panic!("{error}"),
    }
}

#[test]
fn every_row_shows_its_owner_and_is_edited_where_it_is_kept() {
    let mut lab = Lab::new();
    lab.commit(&[Edit::Add(host(2, 2)), Edit::Add(host(4, 4))]);
    lab.store().set_foreign(foreign(&[(host(3, 3), 7), (host(1, 1), 9), (host(5, 5), 8)])).unwrap().unwrap();
    let all = lab.store().list("0.0.0.0/0".parse().unwrap(), None, 100).unwrap();
    let owners: Vec<_> = all.iter().map(|owned| owned.owner.to_string()).collect();
    assert_eq!(owners, ["file:eams.csv:9", "store", "file:eams.csv:7", "store", "file:eams.csv:8"]);
    let mut candidate = Candidate::default();
    for edit in [
        Edit::Remove { ipv4: host(3, 3).eam().ipv4(), ipv6: None },
        Edit::Change(host(3, 9)),
        Edit::Put(host(3, 9)),
    ] {
        let refused = conflict(lab.store().stage(&mut candidate, edit));
        assert!(matches!(refused, Conflict::OwnedElsewhere(_)));
        assert!(refused.to_string().contains("eams.csv line 7"), "{refused}");
    }
    let refused = conflict(lab.store().stage(&mut candidate, Edit::Add(host(3, 9))));
    assert!(
        refused
            .to_string()
            .contains("IPv4 prefix is also in EAM 10.0.0.3/32 2001:db8::3/128 (eams.csv line 7)")
    );
    let refused = conflict(lab.store().stage(&mut candidate, Edit::Add(host(9, 3))));
    assert!(refused.to_string().contains("IPv6 prefix is also in"), "{refused}");
    assert!(candidate.is_empty());
}

#[test]
fn a_configuration_that_takes_what_the_store_has_is_refused() {
    let mut lab = Lab::new();
    lab.commit(&[Edit::Add(host(1, 1)), Edit::Add(host(2, 2)), Edit::Add(host(3, 3))]);
    let before = lab.store().ranges().clone();
    for bad in [
        foreign(&[(host(2, 20), 4)]),
        foreign(&[(host(20, 3), 4)]),
        foreign(&[(host(20, 3), 4), (host(21, 21), 5), (host(22, 22), 6), (host(23, 23), 7)]),
    ] {
        let conflicts = lab.store().set_foreign(bad).unwrap().unwrap_err();
        assert_eq!(conflicts.len(), 1);
        assert!(conflicts[0].to_string().contains("eams.csv line 4"), "{}", conflicts[0]);
    }
    assert_eq!(lab.store().ranges(), &before);
    assert!(lab.store().foreign().is_empty());
}

#[test]
fn what_a_file_took_meanwhile_is_not_committed_nor_rolled_back_to() {
    let mut lab = Lab::new();
    lab.commit(&[Edit::Add(host(1, 1))]);
    lab.commit(&[Edit::Remove { ipv4: host(1, 1).eam().ipv4(), ipv6: None }]);
    let mut candidate = Candidate::default();
    lab.store().stage(&mut candidate, Edit::Add(host(2, 2))).unwrap();
    lab.store().set_foreign(foreign(&[(host(2, 20), 4), (host(10, 1), 5)])).unwrap().unwrap();
    let request = lab.request();
    let error = finish(lab.store().commit(&candidate, request)).unwrap_err();
    assert!(
        matches!(error, CommitError::Conflict(_)) && error.to_string().contains("eams.csv line 4"),
        "{error}"
    );
    let error = lab.rollback(RevisionId(2)).unwrap_err();
    assert!(error.to_string().contains("eams.csv line 5"), "{error}");
}

#[test]
fn relays_with_the_same_mappings_agree_whoever_owns_them() {
    let (mut one, mut other) = (Lab::new(), Lab::new());
    one.commit(&[Edit::Add(host(1, 1)), Edit::Add(row("192.0.2.0/28", "2001:db8:7::/124"))]);
    other.commit(&[Edit::Add(row("192.0.2.0/28", "2001:db8:7::/124"))]);
    other.store().set_foreign(foreign(&[(host(1, 1), 1)])).unwrap().unwrap();
    assert_eq!(one.store().ranges().clone(), *other.store().ranges());
    other.commit(&[Edit::Change(row("192.0.2.0/28", "2001:db8:8::/124"))]);
    let ranges = |lab: &mut Lab| lab.store().ranges().by_ipv4().collect::<Vec<_>>();
    let differing: Vec<_> = ranges(&mut one)
        .into_iter()
        .zip(ranges(&mut other))
        .filter(|(left, right)| left != right)
        .map(|(left, _)| left.0.to_string())
        .collect();
    assert_eq!(differing, ["192.0.0.0/16"], "the second request lists this one");
    let by_ipv6 = |lab: &mut Lab| lab.store().ranges_ipv6("::/0".parse().unwrap(), 48).unwrap();
    let nets: Vec<_> =
        by_ipv6(&mut other).into_iter().map(|(net, range)| (net.to_string(), range.rows)).collect();
    assert_eq!(nets, [("2001:db8::/48".to_owned(), 1), ("2001:db8:8::/48".to_owned(), 1)]);
    assert_eq!(by_ipv6(&mut one)[0], by_ipv6(&mut other)[0]);
}

#[test]
fn overlaps_are_found_from_inside_and_from_outside_wherever_the_other_is() {
    let wide = row("10.0.0.0/24", "2001:db8::/120");
    let (narrow, apart) = (row("10.0.0.7/32", "2001:db8:5::7/128"), row("192.0.2.1/32", "2001:db8::7/128"));
    for (first, second) in [(&wide, &narrow), (&narrow, &wide), (&wide, &apart), (&apart, &wide)] {
        let family = if [first, second].contains(&&narrow) { Family::Ipv4 } else { Family::Ipv6 };
        for place in ["store", "file", "candidate"] {
            let mut lab = Lab::new();
            let mut candidate = Candidate::default();
            match place {
                "store" => drop(lab.commit(&[Edit::Add(first.clone())])),
                "file" => lab.store().set_foreign(foreign(&[(first.clone(), 3)])).unwrap().unwrap(),
                _ => drop(lab.store().stage(&mut candidate, Edit::Add(first.clone())).unwrap()),
            }
            let found = lab.store().stage(&mut candidate.clone(), Edit::Add(second.clone())).unwrap();
            let [Finding::Overlap { eam, family: found_family, other }] = &found[..] else {
                panic!("{place}: {found:?}")
            };
            assert_eq!((eam, *found_family, &other.row), (&second.eam(), family, first), "{place}");
            lab.store().set_rules(Rules { overlaps: Overlaps::Reject, ..Rules::default() });
            let refused = conflict(lab.store().stage(&mut candidate.clone(), Edit::Add(second.clone())));
            assert!(matches!(refused, Conflict::Overlap { .. }), "{place}: {refused}");
            lab.store().set_rules(Rules { overlaps: Overlaps::Allow, ..Rules::default() });
            assert_eq!(lab.store().stage(&mut candidate, Edit::Add(second.clone())).unwrap(), []);
        }
    }
}

#[test]
fn a_row_does_not_overlap_itself_nor_what_is_removed() {
    let mut lab = Lab::new();
    lab.commit(&[
        Edit::Add(row("10.0.0.0/24", "2001:db8::/120")),
        Edit::Add(row("192.0.2.0/24", "2001:db8:1::/64")),
    ]);
    let mut candidate = Candidate::default();
    let inside = Edit::Change(row("192.0.2.0/24", "2001:db8:1::/96"));
    assert_eq!(lab.store().stage(&mut candidate, inside).unwrap(), []);
    let gone = Edit::Remove { ipv4: "10.0.0.0/24".parse().unwrap(), ipv6: None };
    lab.store().stage(&mut candidate, gone).unwrap();
    assert_eq!(
        lab.store().stage(&mut candidate, Edit::Add(row("10.0.0.7/32", "2001:db8::7/128"))).unwrap(),
        []
    );
}

#[derive(Debug)]
struct NoTens;

impl Lint for NoTens {
    fn check(&self, eam: &Eam) -> Result<Vec<String>, String> {
        match eam.ipv4().network().octets()[0] {
            10 => Err("private addresses are not served: take a public one".to_owned()),
            _ => Ok(vec!["is public".to_owned()]),
        }
    }
}

#[test]
fn the_caller_knows_more_rules() {
    let mut lab = Lab::new();
    lab.store().set_rules(Rules { lint: Some(Box::new(NoTens)), ..Rules::default() });
    let mut candidate = Candidate::default();
    let refused = conflict(lab.store().stage(&mut candidate, Edit::Add(host(1, 1))));
    assert!(refused.to_string().ends_with("take a public one"), "{refused}");
    let found = lab.store().stage(&mut candidate, Edit::Add(row("192.0.2.1/32", "2001:db8::1/128"))).unwrap();
    assert_eq!(found[0].to_string(), "EAM 192.0.2.1/32 2001:db8::1/128: is public");
}

#[test]
fn all_rows_around_an_address_are_found_the_longest_first() {
    let mut lab = Lab::new();
    lab.commit(&[
        Edit::Add(row("192.0.2.0/24", "2001:db8:1::/120")),
        Edit::Add(row("192.0.2.7/32", "2001:db8::7/128")),
    ]);
    lab.store().set_foreign(foreign(&[(row("192.0.0.0/16", "2001:db8:2::/112"), 2)])).unwrap().unwrap();
    let found = |lab: &mut Lab, address: &str| {
        let found = lab.store().covering(address.parse().unwrap()).unwrap();
        found.iter().map(|owned| owned.row.eam().ipv4().prefix_len()).collect::<Vec<_>>()
    };
    assert_eq!(found(&mut lab, "192.0.2.7"), [32, 24, 16]);
    assert_eq!(found(&mut lab, "192.0.3.7"), [16]);
    assert_eq!(found(&mut lab, "2001:db8:1::9"), [24]);
    assert!(found(&mut lab, "198.51.100.1").is_empty());
    assert_eq!(rows(lab.store()).len(), 3);
}
