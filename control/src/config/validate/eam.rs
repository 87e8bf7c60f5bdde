//! EAM rows, whatever file they come from: each on its own, then all together.

use ipnet::{Ipv4Net, Ipv6Net};

use super::Report;
use crate::config::address::{ipv4_prefix, ipv6_prefix, not_unicast4, not_unicast6, partly_unicast};
use crate::config::eams::{Eams, Spot};
use crate::config::error::{Finding, Lint, Nested, Place, Problem, ProblemKind, WarningKind};
use crate::config::file::EamTable;
use crate::config::lint::{Duplicate, Table};
use crate::config::model::{Eam, EamOverlap, Translation};
use crate::config::tree::Literal;

/// Takes rows as text and keeps the legal ones.
#[derive(Default)]
pub(in crate::config) struct EamSink {
    pub(in crate::config) eams: Eams,
    pub(in crate::config) report: Report,
}

impl EamSink {
    /// One row. `keys` name its two prefixes in messages.
    pub(in crate::config) fn row(
        &mut self,
        spot: Spot<'_>,
        keys: [&'static str; 2],
        ipv4: &str,
        ipv6: &str,
        comment: Option<&str>,
    ) {
        let ipv4 = self.prefix(spot, keys[0], ipv4, |text| {
            let net = ipv4_prefix(text)?;
            not_unicast4(net).map_or(Ok(net), |what| Err(ProblemKind::NotUnicast { what }))
        });
        let ipv6 = self.prefix(spot, keys[1], ipv6, |text| {
            let net = ipv6_prefix(text)?;
            not_unicast6(net).map_or(Ok(net), |what| Err(ProblemKind::NotUnicast { what }))
        });
        let (Some(ipv4), Some(ipv6)) = (ipv4, ipv6) else {
            return;
        };
        match suffixes(ipv4, ipv6) {
            Err(kind) => self.report.problems.push(about(spot.place(), Eam { ipv4, ipv6 }, kind)),
            Ok(()) => {
                self.eams.push(Eam { ipv4, ipv6 }, spot, comment.filter(|comment| !comment.is_empty()));
            }
        }
    }

    /// One `[[eam]]`.
    pub(in crate::config) fn table(&mut self, table: &EamTable) {
        let ipv4 = self.report.required(&table.ipv4, &table.place, "eam.ipv4");
        let ipv6 = self.report.required(&table.ipv6, &table.place, "eam.ipv6");
        if let (Some(ipv4), Some(ipv6)) = (ipv4, ipv6) {
            let comment = table.comment.given().map(|at| at.value.as_str());
            let Place { file, line, column } = &ipv4.place;
            let spot = Spot { file, line: *line, column: *column };
            self.row(spot, ["eam.ipv4", "eam.ipv6"], &ipv4.value, &ipv6.value, comment);
        }
    }

    fn prefix<N>(
        &mut self,
        spot: Spot<'_>,
        key: &'static str,
        text: &str,
        parse: impl Fn(&str) -> Result<N, ProblemKind>,
    ) -> Option<N> {
        parse(text)
            .map_err(|kind| {
                let value = Some(text.literal());
                self.report.problems.push(Problem { place: spot.place(), key: key.to_owned(), value, kind });
            })
            .ok()
    }
}

/// RFC 7757 section 3.2: the IPv6 suffix must have room for the IPv4 suffix.
fn suffixes(ipv4: Ipv4Net, ipv6: Ipv6Net) -> Result<(), ProblemKind> {
    let ipv4_bits = 32 - ipv4.prefix_len();
    let ipv6_bits = 128 - ipv6.prefix_len();
    if ipv4_bits <= ipv6_bits {
        return Ok(());
    }
    Err(ProblemKind::SuffixTooLong { ipv4_bits, ipv6_bits, longest: 128 - ipv4_bits })
}

/// What the rows of a table are held against.
pub(in crate::config) struct TableRules<'t> {
    pub(in crate::config) eam_overlap: EamOverlap,
    pub(in crate::config) prefixes: &'t [Ipv6Net],
    pub(in crate::config) service_pools: &'t [Ipv4Net],
}

impl<'t> TableRules<'t> {
    pub(in crate::config) fn new(translation: &'t Translation) -> Self {
        Self {
            eam_overlap: translation.eam_overlap,
            prefixes: &translation.prefixes,
            service_pools: &translation.service_pools,
        }
    }
}

/// Compares the rows with each other, with the prefixes and with the pools.
pub(in crate::config) fn table(eams: &Eams, rules: &TableRules<'_>, report: &mut Report) -> Table {
    let table = Table::new(eams);
    for duplicate in &table.duplicates {
        report.problems.push_with(|| duplicate_problem(eams, *duplicate));
    }
    if rules.eam_overlap != EamOverlap::Allow {
        table.lint(eams, rules.prefixes, &mut |row, lint| overlap(eams, row, lint, rules, report));
    }
    partly_special(eams, report);
    outside_service_pools(eams, rules, report);
    table
}

fn duplicate_problem(eams: &Eams, duplicate: Duplicate) -> Problem {
    let Duplicate { row, first, which } = duplicate;
    let first = eams.reference(first);
    let kind = match which {
        Nested::Ipv4 => ProblemKind::DuplicateIpv4 { first },
        Nested::Ipv6 => ProblemKind::DuplicateIpv6 { first },
        Nested::Both => ProblemKind::DuplicateEam { first },
    };
    about(eams.place(row), eams[row], kind)
}

fn overlap(eams: &Eams, row: usize, lint: Lint, rules: &TableRules<'_>, report: &mut Report) {
    match rules.eam_overlap {
        EamOverlap::Reject => {
            report.problems.push_with(|| about(eams.place(row), eams[row], ProblemKind::Lint(lint)));
        }
        EamOverlap::Warn => {
            report.warnings.push_with(|| about(eams.place(row), eams[row], WarningKind::Lint(lint)));
        }
        EamOverlap::Allow => {}
    }
}

fn partly_special(eams: &Eams, report: &mut Report) {
    for (row, eam) in eams.iter().enumerate() {
        if let Some(what) = partly_unicast(eam.ipv4, eam.ipv6) {
            let kind = WarningKind::PartlySpecial { what };
            report.warnings.push_with(|| about(eams.place(row), *eam, kind));
        }
    }
}

fn outside_service_pools(eams: &Eams, rules: &TableRules<'_>, report: &mut Report) {
    if rules.service_pools.is_empty() {
        return;
    }
    let mut pools = rules.service_pools.to_vec();
    pools.sort_unstable();
    let pools = Ipv4Net::aggregate(&pools);
    for (row, eam) in eams.iter().enumerate() {
        let after = pools.partition_point(|pool| pool.network() <= eam.ipv4.network());
        let is_inside = after > 0 && pools[after - 1].contains(&eam.ipv4);
        if !is_inside {
            report.warnings.push_with(|| about(eams.place(row), *eam, WarningKind::OutsideServicePools));
        }
    }
}

fn about<K>(place: Place, eam: Eam, kind: K) -> Finding<K> {
    let value = Some(format!("{} {}", eam.ipv4, eam.ipv6));
    Finding { place, key: "eam".to_owned(), value, kind }
}

/// What a configuration says about a mapping that comes from elsewhere.
#[derive(Debug, Clone)]
pub struct EamRules {
    eam_overlap: EamOverlap,
    prefixes: Vec<Ipv6Net>,
    /// Aggregated.
    service_pools: Vec<Ipv4Net>,
}

impl EamRules {
    /// Those of `[translation]`.
    pub fn new(translation: &Translation) -> Self {
        let mut pools = translation.service_pools.clone();
        pools.sort_unstable();
        Self {
            eam_overlap: translation.eam_overlap,
            prefixes: translation.prefixes.clone(),
            service_pools: Ipv4Net::aggregate(&pools),
        }
    }

    /// Looks at one mapping by itself, and says what works and is probably not meant: cause; remedy.
    ///
    /// # Errors
    /// Why it cannot be in the table: cause; remedy.
    pub fn check(&self, eam: Eam) -> Result<Vec<String>, String> {
        let refused = |kind: ProblemKind| Err(kind.to_string());
        if let Some(what) = not_unicast4(eam.ipv4).or_else(|| not_unicast6(eam.ipv6)) {
            return refused(ProblemKind::NotUnicast { what });
        }
        if let Err(kind) = suffixes(eam.ipv4, eam.ipv6) {
            return refused(kind);
        }
        let mut warnings = Vec::new();
        let overlaps =
            |prefix: &&Ipv6Net| prefix.contains(&eam.ipv6.network()) || eam.ipv6.contains(&prefix.network());
        if let Some(prefix) = self.prefixes.iter().find(overlaps) {
            let lint = Lint::InsidePrefix { prefix: *prefix };
            match self.eam_overlap {
                EamOverlap::Reject => return refused(ProblemKind::Lint(lint)),
                EamOverlap::Warn => warnings.push(WarningKind::Lint(lint).to_string()),
                EamOverlap::Allow => {}
            }
        }
        if let Some(what) = partly_unicast(eam.ipv4, eam.ipv6) {
            warnings.push(WarningKind::PartlySpecial { what }.to_string());
        }
        let is_inside = self.service_pools.iter().any(|pool| pool.contains(&eam.ipv4));
        if !self.service_pools.is_empty() && !is_inside {
            warnings.push(WarningKind::OutsideServicePools.to_string());
        }
        Ok(warnings)
    }
}
