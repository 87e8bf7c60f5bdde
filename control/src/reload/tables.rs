//! The tables of a reload: those in use with a few changes applied, or new ones.

use std::fmt;

use dataplane::table::eam::{Eam, EamTable};
use dataplane::table::translation::Translation;

use super::{ReloadError, Running};
use crate::actor::MappingSource;
use crate::config;
use crate::eam_set::{EamChanges, EamSet};
use crate::plan::{self, PlanError};

/// How many rows a table has for each that may be different for the changes to be applied to it. A quarter of a million
/// changed rows take half as long to apply as the table takes to build (`benches/load.rs`), so half of them would be the
/// limit; a new table also fits its memory to the rows again.
const ROWS_PER_CHANGE: usize = 4;

/// How the tables of a reload came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Anew, from all rows.
    Built,
    /// From those in use, with whose memory they share what did not change.
    Applied,
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Self::Built => "built",
            Self::Applied => "applied",
        })
    }
}

/// New tables, of the mappings of the files and those of `source`.
pub(super) fn build(
    settings: &config::Translation,
    eams: &EamSet,
    source: Option<&dyn MappingSource>,
) -> Result<Translation, ReloadError> {
    let others = source.map(MappingSource::rows).transpose().map_err(ReloadError::Source)?;
    Ok(build_of(settings, eams, others.unwrap_or_default())?)
}

/// New tables, of the mappings of the files and others.
pub(super) fn build_of(
    settings: &config::Translation,
    eams: &EamSet,
    others: Vec<Eam>,
) -> Result<Translation, PlanError> {
    let table = if others.is_empty() {
        EamTable::build(eams.rows())
    } else {
        EamTable::build(&[eams.rows(), &others].concat())
    };
    plan::translation(settings, table?)
}

/// The tables after those of `running`. Only mappings can be applied: when a setting differs, everything is built.
pub(super) fn next(
    running: &Running,
    settings: &config::Translation,
    eams: &EamSet,
    changes: &EamChanges,
) -> Result<(Translation, Way), ReloadError> {
    if *settings == running.settings
        && changes.counts().total() <= running.translation.eams.len() / ROWS_PER_CHANGE
    {
        let applied = running.translation.apply(&changes.steps()).map_err(PlanError::from)?;
        Ok((applied, Way::Applied))
    } else {
        Ok((build(settings, eams, running.source.as_deref())?, Way::Built))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::path::Path;
    use std::sync::Arc;

    use dataplane::table::eam::Eam;
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    const BASE: &str = "[dpdk]\nworkers = [1]\nmemory = \"no-huge\"\n[[port]]\nname = \"v4\"\n\
        device = \"net_null0\"\n[translation]\nprefixes = [\"2001:db8:46::/96\", \"64:ff9b::/96\"]\n";

    /// A relay without mappings.
    fn running() -> Running {
        let (mut config, _) = Config::parse(Path::new("relay.toml"), BASE).unwrap();
        Running::start(Path::new("relay.toml"), &mut config, None, None).unwrap()
    }

    fn eam(ipv4: String, ipv6: String) -> Eam {
        Eam { ipv4: ipv4.parse().unwrap(), ipv6: ipv6.parse().unwrap() }
    }

    /// Rows that always are there, so many that the others are few against them.
    fn steady() -> impl Iterator<Item = Eam> {
        (0..250).map(|host| eam(format!("10.1.0.{host}/32"), format!("2001:db8:1::{host:x}/128")))
    }

    /// Hosts, and networks around them and elsewhere.
    fn ipv4(number: u8) -> String {
        match number {
            0..16 => format!("10.0.0.{number}/32"),
            16..20 => format!("10.0.0.0/{}", 8 + number),
            _ => format!("10.{number}.0.0/25"),
        }
    }

    /// Hosts, networks around them, networks elsewhere, and both inside the translation prefixes.
    fn ipv6(number: u8) -> String {
        match number {
            0..16 => format!("2001:db8::{number:x}/128"),
            16..20 => format!("2001:db8::/{}", 101 + number),
            20..26 => format!("2001:db8:{number:x}::/64"),
            26..28 => format!("2001:db8:46::{number:x}/128"),
            _ => format!("64:ff9b::{number:x}00/121"),
        }
    }

    /// Rows a configuration may have: none of the numbers twice.
    fn rows(pairs: &[(u8, u8)]) -> EamSet {
        let (mut ipv4_used, mut ipv6_used) = (BTreeSet::new(), BTreeSet::new());
        let fits = |row: &Eam| 32 - row.ipv4.prefix_len() <= 128 - row.ipv6.prefix_len();
        let varying = pairs
            .iter()
            .map(|(four, six)| eam(ipv4(*four), ipv6(*six)))
            .filter(fits)
            .filter(|row| {
                !ipv4_used.contains(&row.ipv4) && !ipv6_used.contains(&row.ipv6) && {
                    ipv4_used.insert(row.ipv4) && ipv6_used.insert(row.ipv6)
                }
            })
            .collect::<Vec<_>>();
        EamSet::new(steady().chain(varying).collect())
    }

    fn assert_same_answers(applied: &Translation, built: &Translation) {
        assert_eq!(applied.eams.len(), built.eams.len());
        let networks = (0..31).map(|number| ipv4(number).parse::<ipnet::Ipv4Net>().unwrap());
        for first in networks.map(|network| network.network().to_bits()).chain([0x0a01_0000]) {
            for address in [0, 1, 15, 127, 128, 255].map(|host| Ipv4Addr::from_bits(first + host)) {
                assert_eq!(applied.eams.lookup_ipv4(address), built.eams.lookup_ipv4(address), "{address}");
                assert_eq!(applied.is_plain(address), built.is_plain(address), "{address}");
                assert_eq!(applied.may_be_service(address), built.may_be_service(address), "{address}");
                assert_eq!(applied.eams.covers_service(address), built.eams.covers_service(address));
            }
        }
        let networks = (0..31).map(|number| ipv6(number).parse::<ipnet::Ipv6Net>().unwrap());
        for first in networks.map(|network| network.network().to_bits()) {
            for address in [0, 1, 15, 127, 128, 255].map(|host| Ipv6Addr::from_bits(first + host)) {
                assert_eq!(applied.eams.lookup_ipv6(address), built.eams.lookup_ipv6(address), "{address}");
                let in_prefix = |tables: &Translation| {
                    tables.prefix_of(address).map(|(prefix, has_eams)| (prefix.network(), has_eams))
                };
                let (applied_in, built_in) = (in_prefix(applied), in_prefix(built));
                assert_eq!(applied_in.map(|(prefix, _)| prefix), built_in.map(|(prefix, _)| prefix));
                // Asking a table in vain is right, not asking it when it has an answer is not.
                assert!(applied_in.map(|(_, has_eams)| has_eams) >= built_in.map(|(_, has_eams)| has_eams));
                let plain = applied.extract_plain(address);
                assert!(plain.is_none() || plain == built.extract_plain(address), "{address}");
            }
        }
    }

    proptest! {
        #[test]
        fn applied_tables_answer_as_new_ones_do(
            reloads in prop::collection::vec(prop::collection::vec((0_u8..31, 0_u8..31), 0..24), 1..12),
        ) {
            let mut running = running();
            let first = EamSet::new(steady().collect());
            running.translation = Arc::new(build(&running.settings, &first, None).unwrap());
            running.eams = first;
            for pairs in &reloads {
                let eams = rows(pairs);
                let changes = running.eams.changes_to(&eams);
                let (translation, way) = next(&running, &running.settings, &eams, &changes).unwrap();
                prop_assert_eq!(way, Way::Applied);
                assert_same_answers(&translation, &build(&running.settings, &eams, None).unwrap());
                running.translation = Arc::new(translation);
                running.eams = eams;
            }
        }
    }

    #[test]
    fn other_settings_and_many_changes_take_new_tables() {
        let mut running = running();
        running.eams = EamSet::new(steady().collect());
        running.translation = Arc::new(build(&running.settings, &running.eams, None).unwrap());
        let way = |settings: &config::Translation, eams: &EamSet| {
            next(&running, settings, eams, &running.eams.changes_to(eams)).unwrap().1
        };
        assert_eq!(way(&running.settings, &running.eams), Way::Applied);
        assert_eq!(way(&running.settings, &EamSet::default()), Way::Built);
        let other = config::Translation { anti_spoof: false, ..running.settings.clone() };
        assert_eq!(way(&other, &running.eams), Way::Built);
    }

    #[test]
    fn changes_that_lead_to_no_table_leave_the_one_in_use_as_it_was() {
        let mut running = running();
        running.eams = EamSet::new(steady().collect());
        running.translation = Arc::new(build(&running.settings, &running.eams, None).unwrap());
        let taken = eam("10.2.0.1/32".to_owned(), "2001:db8:1::7/128".to_owned());
        let eams = EamSet::new(steady().skip(1).chain([taken]).collect());
        let changes = running.eams.changes_to(&eams);
        assert!(next(&running, &running.settings, &eams, &changes).is_err());
        assert_same_answers(&running.translation, &build(&running.settings, &running.eams, None).unwrap());
    }
}
