//! The lint on the figures of RFC 7757, and against one that tries every address.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::eams::Spot;
use crate::config::model::Eam;

/// A file with one row per line.
fn written(rows: impl Iterator<Item = Eam>) -> Eams {
    let file: std::sync::Arc<Path> = Path::new("eams.csv").into();
    let mut eams = Eams::default();
    for (index, eam) in rows.enumerate() {
        eams.push(eam, Spot { file: &file, line: to_u32(index + 1), column: 1 }, None);
    }
    eams
}

fn eams(rows: &[(&str, &str)]) -> Eams {
    written(rows.iter().map(|(ipv4, ipv6)| Eam { ipv4: ipv4.parse().unwrap(), ipv6: ipv6.parse().unwrap() }))
}

/// Row and message of every finding.
fn lint(rows: &[(&str, &str)], prefixes: &[&str]) -> Vec<(usize, String)> {
    let eams = eams(rows);
    let prefixes: Vec<Ipv6Net> = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    let mut found = Vec::new();
    Table::new(&eams).lint(&eams, &prefixes, &mut |row, lint| found.push((row, lint.to_string())));
    found
}

const FIGURE_1: &[(&str, &str)] = &[
    ("192.0.2.1/32", "2001:db8:aaaa::/128"),
    ("192.0.2.2/32", "2001:db8:bbbb::b/128"),
    ("192.0.2.16/28", "2001:db8:cccc::/124"),
    ("192.0.2.128/26", "2001:db8:dddd::/64"),
    ("192.0.2.192/29", "2001:db8:eeee:8::/62"),
    ("192.0.2.224/31", "64:ff9b::/127"),
];

/// RFC 7757 figure 1: nothing overlaps; only row 6 lies in the translation prefix of figure 7.
#[test]
fn figure_1_is_clean_but_for_the_row_inside_the_prefix() {
    assert_eq!(lint(FIGURE_1, &["2001:db8:46::/96"]), []);
    let found = lint(FIGURE_1, &["64:ff9b::/96"]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, 5);
    assert!(found[0].1.contains("translation prefix 64:ff9b::/96"), "{}", found[0].1);
}

/// RFC 7757 figure 2: legal, overlapping, asymmetric.
#[test]
fn figure_2_overlaps_and_does_not_mirror() {
    let found = lint(&[("0.0.0.0/0", "2001:db8:ff00::/40"), ("198.51.100.64/32", "2001:db8::abcd/128")], &[]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((found[0].0, found[1].0), (0, 1));
    let asymmetric = "it translates 2001:db8:ffc6:3364:4000:: to 198.51.100.64, but 198.51.100.64 is translated back \
                      by EAM 198.51.100.64/32 2001:db8::abcd/128 (eams.csv:2)";
    assert!(found[0].1.contains(asymmetric), "{}", found[0].1);
    let overlap = "IPv4 prefix lies inside EAM 0.0.0.0/0 2001:db8:ff00::/40 (eams.csv:1)";
    assert!(found[1].1.contains(overlap), "{}", found[1].1);
}

/// RFC 7757 figure 3: identical IPv6 prefixes.
#[test]
fn figure_3_is_a_duplicate() {
    let table =
        Table::new(&eams(&[("198.51.100.8/32", "2001:db8::1/128"), ("198.51.100.9/32", "2001:db8::1/128")]));
    assert_eq!(table.duplicates, [Duplicate { row: 1, first: 0, which: Nested::Ipv6 }]);
}

#[test]
fn the_same_pair_twice_is_one_duplicate() {
    let row = ("192.0.2.1/32", "2001:db8::1/128");
    let table = Table::new(&eams(&[row, ("192.0.2.2/32", "2001:db8::2/128"), row, row]));
    let duplicate = |row| Duplicate { row, first: 0, which: Nested::Both };
    assert_eq!(table.duplicates, [duplicate(2), duplicate(3)]);
}

#[test]
fn a_row_that_says_the_same_as_the_one_around_it_only_overlaps() {
    let found = lint(&[("192.0.2.0/24", "2001:db8::/120"), ("192.0.2.16/28", "2001:db8::10/124")], &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.starts_with("its pair of prefixes lies inside EAM 192.0.2.0/24"), "{}", found[0].1);
}

#[test]
fn a_row_without_an_address_left_is_shadowed() {
    let found = lint(
        &[
            ("192.0.2.0/31", "2001:db8::/127"),
            ("192.0.2.1/32", "2001:db8::1/128"),
            ("192.0.2.0/32", "2001:db8::/128"),
        ],
        &[],
    );
    let shadowed = found.iter().filter(|(row, text)| *row == 0 && text.contains("address is left to it"));
    assert_eq!(shadowed.count(), 2, "{found:?}");
}

#[test]
fn half_of_everything_twice_shadows_everything() {
    let found = lint(
        &[("0.0.0.0/0", "::/0"), ("0.0.0.0/1", "::/1"), ("128.0.0.0/1", "8000::/1")],
        &["2001:db8:46::/96"],
    );
    assert!(
        found.iter().any(|(row, text)| *row == 0 && text.starts_with("no IPv6 address is left")),
        "{found:?}"
    );
    assert!(found.iter().any(|(row, text)| *row == 1 && text.contains("2001:db8:46::/96")), "{found:?}");
}

/// A million rows must not cost their square; here a chain and a fan of a size that would show.
#[test]
fn large_tables_are_linted_in_reasonable_time() {
    let outer = Eam { ipv4: "0.0.0.0/0".parse().unwrap(), ipv6: "2001:db8::/32".parse().unwrap() };
    let inner = (0..100_000u32).map(|index| Eam {
        ipv4: Ipv4Net::from(Ipv4Addr::from(0x0a00_0000 + index)),
        ipv6: Ipv6Net::from(Ipv6Addr::from(
            (0x2001_0db8_u128 << 96) + (u128::from(0x0a00_0000 + index) << 64),
        )),
    });
    let table = written(std::iter::once(outer).chain(inner));
    let started = std::time::Instant::now();
    let mut found = 0;
    Table::new(&table).lint(&table, &[], &mut |_, _| found += 1);
    assert!(found >= 100_000);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

// Against the naive lint: a universe of 16 IPv4 and 256 IPv6 addresses, in which everything can be tried.

#[derive(Debug, Clone, Copy)]
struct Small {
    ipv4: (u8, u8),
    ipv6: (u8, u8),
}

impl Small {
    /// Longest match among rows: 4-bit and 8-bit addresses; the first of equal prefixes.
    fn matches(prefix: (u8, u8), address: u8, width: u8) -> bool {
        let bits = width - prefix.1;
        u16::from(prefix.0) >> bits == u16::from(address) >> bits
    }

    fn spare_bits(self) -> u8 {
        (8 - self.ipv6.1) - (4 - self.ipv4.1)
    }

    fn to_ipv6(self, ipv4: u8) -> u8 {
        let spare = self.spare_bits();
        let suffix = u16::from(ipv4 - self.ipv4.0) << spare;
        self.ipv6.0 | u8::try_from(suffix).unwrap()
    }

    fn to_ipv4(self, ipv6: u8) -> u8 {
        self.ipv4.0 | u8::try_from(u16::from(ipv6 - self.ipv6.0) >> self.spare_bits()).unwrap()
    }

    fn eam(self) -> Eam {
        let ipv4 = Ipv4Net::new(Ipv4Addr::new(192, 0, 2, self.ipv4.0), 28 + self.ipv4.1).unwrap();
        let ipv6 = Ipv6Addr::from((0x2001_0db8_u128 << 96) + u128::from(self.ipv6.0));
        Eam { ipv4, ipv6: Ipv6Net::new(ipv6, 120 + self.ipv6.1).unwrap() }
    }
}

fn longest(rows: &[Small], side: impl Fn(&Small) -> (u8, u8), address: u8, width: u8) -> Option<usize> {
    let matching = rows.iter().enumerate().filter(|(_, row)| Small::matches(side(row), address, width));
    matching.max_by_key(|(_, row)| side(row).1).map(|(index, _)| index)
}

type Found = BTreeSet<(usize, &'static str)>;

fn naive(rows: &[Small]) -> Found {
    let longest4 = |address| longest(rows, |row| row.ipv4, address, 4);
    let longest6 = |address| longest(rows, |row| row.ipv6, address, 8);
    let mut found = Found::new();
    for (index, row) in rows.iter().enumerate() {
        let inside = |outer: (u8, u8), inner: (u8, u8), width| {
            outer.1 < inner.1 && Small::matches(outer, inner.0, width)
        };
        if rows.iter().any(|other| inside(other.ipv4, row.ipv4, 4)) {
            found.insert((index, "overlap4"));
        }
        if rows.iter().any(|other| inside(other.ipv6, row.ipv6, 8)) {
            found.insert((index, "overlap6"));
        }
        if !(0..16).any(|address| longest4(address) == Some(index)) {
            found.insert((index, "shadowed4"));
        }
        if !(0..=255).any(|address| longest6(address) == Some(index)) {
            found.insert((index, "shadowed6"));
        }
        let undone4 = |ipv4| longest4(ipv4) == Some(index) && longest6(row.to_ipv6(ipv4)) != Some(index);
        let undone6 = |ipv6| longest6(ipv6) == Some(index) && longest4(row.to_ipv4(ipv6)) != Some(index);
        if (0..16).any(undone4) || (0..=255).any(undone6) {
            found.insert((index, "asymmetric"));
        }
    }
    found
}

fn real(eams: &Eams, table: &Table) -> Found {
    let mut found = Found::new();
    table.lint(eams, &[], &mut |row, lint| match lint {
        Lint::Overlap { which, .. } => {
            if which != Nested::Ipv6 {
                found.insert((row, "overlap4"));
            }
            if which != Nested::Ipv4 {
                found.insert((row, "overlap6"));
            }
        }
        Lint::Shadowed { family: Family::Ipv4, .. } => drop(found.insert((row, "shadowed4"))),
        Lint::Shadowed { family: Family::Ipv6, .. } => drop(found.insert((row, "shadowed6"))),
        Lint::Asymmetric { .. } => drop(found.insert((row, "asymmetric"))),
        Lint::InsidePrefix { .. } => unreachable!("no prefixes were given"),
    });
    found
}

fn small() -> impl Strategy<Value = Small> {
    let ipv4 =
        (0u8..16, 0u8..=4).prop_map(|(address, length)| (address >> (4 - length) << (4 - length), length));
    (ipv4, any::<u8>(), 0u8..=8).prop_map(|(ipv4, address, length)| {
        let length = length.min(8 - (4 - ipv4.1));
        let address = u8::try_from(u16::from(address) >> (8 - length) << (8 - length)).unwrap();
        Small { ipv4, ipv6: (address, length) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn agrees_with_trying_every_address(mut rows in prop::collection::vec(small(), 0..12)) {
        // The outcome of duplicates is open (RFC 7757 section 5); they have their own test.
        let mut seen = (BTreeSet::new(), BTreeSet::new());
        rows.retain(|row| seen.0.insert(row.ipv4) & seen.1.insert(row.ipv6));
        let eams = written(rows.iter().map(|row| row.eam()));
        let table = Table::new(&eams);
        prop_assert_eq!(&table.duplicates, &[]);
        prop_assert_eq!(real(&eams, &table), naive(&rows));
    }

    #[test]
    fn finds_every_duplicate(rows in prop::collection::vec(small(), 0..20)) {
        let eams = written(rows.iter().map(|row| row.eam()));
        let mut expected = BTreeSet::new();
        for (row, later) in rows.iter().enumerate() {
            expected.extend(rows[..row].iter().position(|first| first.ipv4 == later.ipv4).map(|first| (row, first, 4)));
            expected.extend(rows[..row].iter().position(|first| first.ipv6 == later.ipv6).map(|first| (row, first, 6)));
        }
        let table = Table::new(&eams);
        let found: BTreeSet<_> = table.duplicates.iter().flat_map(|duplicate| {
            let Duplicate { row, first, which } = *duplicate;
            let families: &[u8] = match which { Nested::Ipv4 => &[4], Nested::Ipv6 => &[6], Nested::Both => &[4, 6] };
            families.iter().map(move |family| (row, first, *family))
        }).collect();
        prop_assert_eq!(found, expected);
    }
}
