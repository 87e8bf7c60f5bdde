//! Compares EAMs with each other and with the translation prefixes (RFC 7757 section 5), in O(n log n).
//!
//! Two prefixes are either disjoint or nested, so the prefixes of one family form a forest. Everything here is read
//! off the two forests (IPv4 and IPv6) of the table:
//!
//! * *duplicate*: the same prefix twice. RFC 7757 leaves the outcome open; always refused. Later duplicates take no
//!   part in the rest.
//! * *overlap*: a prefix with a parent. Legal, longest match wins.
//! * *shadowed*: a prefix whose children cover it: it never matches.
//! * *asymmetric*: an address that row A translates, whose translation another row translates back. It exists in two
//!   ways. From IPv6: an IPv4 child B of A takes addresses away from A; the part of A's IPv6 prefix that stands for
//!   B's addresses must be taken away as well, by IPv6 children. From IPv4: the same with the families exchanged.
//! * *inside a prefix*: RFC 7757 matches EAMs first, so an EAM in a translation prefix hides IPv4-converted addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::eams::Eams;
use super::error::{Family, Lint, Nested};
use super::forest::{Forest, Prefix, shl, shr};
use super::model::Eam;
use super::tree::to_u32;

/// A row that repeats a prefix of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Duplicate {
    pub(super) row: usize,
    pub(super) first: usize,
    pub(super) which: Nested,
}

/// The two forests of an EAM table. Rows are indices into the slice it was built from.
pub(super) struct Table {
    ipv4: Forest,
    ipv6: Forest,
    pub(super) duplicates: Vec<Duplicate>,
}

impl Table {
    pub(super) fn new(eams: &[Eam]) -> Self {
        let ipv4 = sorted(eams, |eam| Prefix::from_ipv4(eam.ipv4));
        let ipv6 = sorted(eams, |eam| Prefix::from_ipv6(eam.ipv6));
        let duplicates = duplicates(&ipv4, &ipv6);
        let mut is_later = vec![false; if duplicates.is_empty() { 0 } else { eams.len() }];
        for duplicate in &duplicates {
            is_later[duplicate.row] = true;
        }
        let is_first = |prefix: &Prefix| !is_later.get(prefix.row as usize).copied().unwrap_or(false);
        Self {
            ipv4: Forest::new(32, ipv4.into_iter().filter(is_first).collect()),
            ipv6: Forest::new(128, ipv6.into_iter().filter(is_first).collect()),
            duplicates,
        }
    }

    /// The row with the longest IPv6 prefix around `net`.
    pub(super) fn covering_ipv6(&self, net: Ipv6Net) -> Option<usize> {
        self.ipv6.covering(Prefix::from_ipv6(net)).map(|node| self.ipv6.row(node))
    }

    /// A row whose IPv4 prefix shares an address with `net`.
    pub(super) fn touching_ipv4(&self, net: Ipv4Net) -> Option<usize> {
        let net = Prefix::from_ipv4(net);
        let inside = || self.ipv4.inside(net).next();
        self.ipv4.covering(net).or_else(inside).map(|node| self.ipv4.row(node))
    }

    /// Calls `found` with every finding that `eam_overlap` decides about, and the row it is about.
    pub(super) fn lint(&self, eams: &Eams, prefixes: &[Ipv6Net], found: &mut impl FnMut(usize, Lint)) {
        self.lint_related(eams, found);
        for prefix in prefixes {
            let net = Prefix::from_ipv6(*prefix);
            let around = std::iter::successors(self.ipv6.covering(net), |node| self.ipv6.parent(*node));
            for node in around.filter(|node| self.ipv6.prefixes[*node] != net).chain(self.ipv6.inside(net)) {
                found(self.ipv6.row(node), Lint::InsidePrefix { prefix: *prefix });
            }
        }
    }

    /// What there is to say about rows with a prefix around or inside that of another row, in their order. Usually there
    /// are few, and the others need not be looked at.
    fn lint_related(&self, eams: &Eams, found: &mut impl FnMut(usize, Lint)) {
        let mut is_related = vec![false; eams.len()];
        self.ipv4.related().chain(self.ipv6.related()).for_each(|row| is_related[row] = true);
        if !is_related.contains(&true) {
            return;
        }
        let (nodes4, nodes6) = (self.ipv4.nodes(eams.len()), self.ipv6.nodes(eams.len()));
        for row in (0..eams.len()).filter(|row| is_related[*row]) {
            let (ipv4, ipv6) = (nodes4[row] as usize, nodes6[row] as usize);
            self.overlap(eams, row, (ipv4, ipv6), found);
            for (forest, node, family) in [(&self.ipv4, ipv4, Family::Ipv4), (&self.ipv6, ipv6, Family::Ipv6)]
            {
                if let Some(inner) = forest.shadowing(node) {
                    found(row, Lint::Shadowed { family, inner: eams.reference(forest.row(inner)) });
                }
            }
            let pair = Pair { table: self, ipv4, ipv6 };
            if let Some((from, to, other)) = pair.undone_from_ipv6().or_else(|| pair.undone_from_ipv4()) {
                found(row, Lint::Asymmetric { from, to, other: eams.reference(other) });
            }
        }
    }

    fn overlap(
        &self,
        eams: &Eams,
        row: usize,
        (ipv4, ipv6): (usize, usize),
        found: &mut impl FnMut(usize, Lint),
    ) {
        let outer4 = self.ipv4.parent(ipv4).map(|node| self.ipv4.row(node));
        let outer6 = self.ipv6.parent(ipv6).map(|node| self.ipv6.row(node));
        let nested = |which, outer| Lint::Overlap { which, outer: eams.reference(outer) };
        match (outer4, outer6) {
            (Some(outer4), Some(outer6)) if outer4 == outer6 => found(row, nested(Nested::Both, outer4)),
            (outer4, outer6) => {
                for (which, outer) in [(Nested::Ipv4, outer4), (Nested::Ipv6, outer6)] {
                    if let Some(outer) = outer {
                        found(row, nested(which, outer));
                    }
                }
            }
        }
    }
}

fn sorted(eams: &[Eam], prefix: impl Fn(&Eam) -> Prefix) -> Vec<Prefix> {
    let mut prefixes: Vec<Prefix> =
        eams.iter().enumerate().map(|(row, eam)| Prefix { row: to_u32(row), ..prefix(eam) }).collect();
    prefixes.sort_unstable_by_key(|prefix| (prefix.start, prefix.length, prefix.row));
    prefixes
}

fn duplicates(ipv4: &[Prefix], ipv6: &[Prefix]) -> Vec<Duplicate> {
    let mut found = Vec::new();
    for (prefixes, which) in [(ipv4, Nested::Ipv4), (ipv6, Nested::Ipv6)] {
        for run in prefixes.chunk_by(|left, right| left == right) {
            let first = run[0].row as usize;
            found.extend(run[1..].iter().map(|later| Duplicate { row: later.row as usize, first, which }));
        }
    }
    found.sort_unstable_by_key(|duplicate| (duplicate.row, duplicate.first));
    found.dedup_by(|later, earlier| {
        let is_same_pair = (later.row, later.first) == (earlier.row, earlier.first);
        if is_same_pair {
            earlier.which = Nested::Both;
        }
        is_same_pair
    });
    found
}

/// One EAM as a translation: IPv4 suffix n stands for the IPv6 suffixes that begin with n (RFC 7757 section 3.3).
struct Pair<'t> {
    table: &'t Table,
    ipv4: usize,
    ipv6: usize,
}

type Asymmetry = (IpAddr, IpAddr, usize);

impl Pair<'_> {
    /// An IPv6 address this row translates to an IPv4 address that another row translates back.
    fn undone_from_ipv6(&self) -> Option<Asymmetry> {
        let (outer4, outer6, spare) = (self.outer4(), self.outer6(), self.spare_bits());
        self.table.ipv4.children(self.ipv4).iter().find_map(|child| {
            let child = self.table.ipv4.prefixes[*child as usize];
            let from = outer6.start | shl(child.start - outer4.start, spare);
            let to = from | shr(u128::MAX, 128 - (child.bits + spare));
            let address = self.table.ipv6.gap(self.ipv6, from, to)?;
            let translated = outer4.start | shr(address - outer6.start, spare);
            let other = self.table.ipv4.longest_match(translated)?;
            Some((ipv6_address(address), ipv4_address(translated), other))
        })
    }

    /// An IPv4 address this row translates to an IPv6 address that another row translates back.
    fn undone_from_ipv4(&self) -> Option<Asymmetry> {
        let (outer4, outer6, spare) = (self.outer4(), self.outer6(), self.spare_bits());
        self.table.ipv6.children(self.ipv6).iter().find_map(|child| {
            let child = self.table.ipv6.prefixes[*child as usize];
            let offset = child.start - outer6.start;
            let is_between = shl(shr(offset, spare), spare) != offset;
            let from = outer4.start + shr(offset, spare) + u128::from(is_between);
            let to = outer4.start + shr(child.last() - outer6.start, spare);
            if from > to {
                return None;
            }
            let address = self.table.ipv4.gap(self.ipv4, from, to)?;
            let translated = outer6.start | shl(address - outer4.start, spare);
            let other = self.table.ipv6.longest_match(translated)?;
            Some((ipv4_address(address), ipv6_address(translated), other))
        })
    }

    fn outer4(&self) -> Prefix {
        self.table.ipv4.prefixes[self.ipv4]
    }

    fn outer6(&self) -> Prefix {
        self.table.ipv6.prefixes[self.ipv6]
    }

    /// How much longer the IPv6 suffix is; never negative (RFC 7757 section 3.2).
    fn spare_bits(&self) -> u8 {
        self.outer6().bits - self.outer4().bits
    }
}

fn ipv6_address(address: u128) -> IpAddr {
    Ipv6Addr::from(address).into()
}

fn ipv4_address(address: u128) -> IpAddr {
    Ipv4Addr::from(u32::try_from(address).unwrap_or(u32::MAX)).into()
}

#[cfg(test)]
mod tests;
