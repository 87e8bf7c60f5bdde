//! Policy rules (`ip rule`), as far as they bear on packets that the relay forwards.
//!
//! Followed are VRFs and rules that send everything that comes in by one interface of the relay to a table:
//! `ip rule add iif bl-v4 lookup 100`. Rules that cannot match a forwarded packet without a mark (for a socket's interface,
//! a user, a mark, or another interface) are nobody's business here. Any other rule is told of.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::event::{Event, Rule};
use super::netlink::decode;
use super::netlink::request::{AF_INET, AF_INET6, RTM_GETRULE, Request};
use super::netlink::socket::short_dump;
use super::tables::Apart;

/// Priorities of the rules for the tables local and main: what stands between them comes before main.
const LOCAL: u32 = 0;
const MAIN: u32 = 32_766;
/// Tables of the main chain.
const CHAIN: [u32; 3] = [253, 254, 255];

/// What the rules mean to the relay's interfaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Meaning {
    /// What each interface looks up, by ifindex.
    pub(super) tables: BTreeMap<u32, Apart>,
    /// Rules that are not followed although they may matter.
    pub(super) unfollowed: Vec<Rule>,
}

/// Works out what rules mean to interfaces, given as ifindex, name, and the table of their VRF.
pub(super) fn meaning<'a>(
    rules: &BTreeSet<Rule>,
    interfaces: impl Iterator<Item = (u32, &'a str, Option<u32>)>,
) -> Meaning {
    let mut meaning = Meaning::default();
    let (mut by_name, mut in_vrf) = (BTreeMap::new(), BTreeSet::new());
    for (index, name, vrf) in interfaces {
        meaning.tables.insert(index, Apart { ipv4: vrf, ipv6: vrf });
        by_name.insert(name, index);
        in_vrf.extend(vrf.map(|_| index));
    }
    for rule in rules {
        let index = match &rule.interface {
            None => {
                meaning.unfollowed.push(rule.clone());
                continue;
            }
            Some(name) => match by_name.get(name.as_str()) {
                Some(index) => *index,
                None => continue,
            },
        };
        let apart = meaning.tables.entry(index).or_default();
        let place = if rule.ipv6 { &mut apart.ipv6 } else { &mut apart.ipv4 };
        match rule.followable() {
            // After everything else: the chain has been asked already, or is asked anyway.
            Some(table) if CHAIN.contains(&table) => {}
            Some(table) if place.is_none() && !in_vrf.contains(&index) => *place = Some(table),
            _ => meaning.unfollowed.push(rule.clone()),
        }
    }
    meaning
}

impl Rule {
    /// The table, of a rule that can be followed.
    fn followable(&self) -> Option<u32> {
        let between = LOCAL < self.priority && self.priority < MAIN;
        self.table.filter(|_| self.everything && between)
    }
}

/// What is to be said about the kernel's policy rules of now to a relay whose twins are called so.
///
/// # Errors
/// When the kernel does not tell its rules.
pub fn unfollowed_rules(twins: &[String]) -> io::Result<Option<String>> {
    let mut rules = BTreeSet::new();
    for family in [AF_INET, AF_INET6] {
        short_dump(Request::dump(RTM_GETRULE, family, 1), |message| {
            if let Ok(Some(Event::Rule(rule))) = decode::event(message) {
                rules.insert(rule);
            }
        })?;
    }
    let named = (0..).zip(twins).map(|(number, name)| (number, name.as_str(), None));
    Ok(complaint(&meaning(&rules, named).unfollowed))
}

/// What is to be said about rules that are not followed.
pub(super) fn complaint(rules: &[Rule]) -> Option<String> {
    let first = rules.first()?;
    let (family, option) = if first.ipv6 { ("IPv6", " -6") } else { ("IPv4", "") };
    let does = first.table.map_or("decides otherwise".to_owned(), |table| format!("looks up table {table}"));
    Some(format!(
        "{} policy rules are not followed, the relay forwards as if they were not there: {family} rule {} {does}; use a VRF, a \
         rule for a whole interface (`ip{option} rule add iif bl-PORT lookup TABLE`) or the main table, and see `ip{option} \
         rule`",
        rules.len(),
        first.priority
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(priority: u32, interface: Option<&str>, table: Option<u32>) -> Rule {
        Rule { ipv6: false, priority, interface: interface.map(str::to_owned), everything: true, table }
    }

    fn of(rules: &[Rule]) -> Meaning {
        let interfaces = [(10, "bl-v4", None), (11, "bl-v6", Some(7))];
        meaning(&rules.iter().cloned().collect(), interfaces.into_iter())
    }

    #[test]
    fn rules_for_a_whole_interface_and_vrfs_are_followed() {
        let vrf = Apart { ipv4: Some(7), ipv6: Some(7) };
        assert_eq!(of(&[]).tables, [(10, Apart::default()), (11, vrf)].into());
        let rules = [
            rule(100, Some("bl-v4"), Some(20)),
            Rule { ipv6: true, ..rule(100, Some("bl-v4"), Some(21)) },
            rule(50, Some("bl-v4"), Some(254)),
            rule(99, Some("eth0"), Some(8)),
        ];
        let apart = Apart { ipv4: Some(20), ipv6: Some(21) };
        assert_eq!(of(&rules), Meaning { tables: [(10, apart), (11, vrf)].into(), unfollowed: Vec::new() });
    }

    #[test]
    fn others_are_not_and_are_told() {
        let several = [
            rule(5, None, Some(3)),
            rule(100, Some("bl-v4"), Some(20)),
            rule(101, Some("bl-v4"), Some(30)),
            rule(102, Some("bl-v6"), Some(20)),
            rule(40_000, Some("bl-v4"), Some(20)),
            rule(103, Some("bl-v4"), None),
            Rule { everything: false, ..rule(104, Some("bl-v4"), Some(20)) },
        ];
        let found = of(&several);
        assert_eq!(found.tables[&10], Apart { ipv4: Some(20), ipv6: None });
        let told: Vec<u32> = found.unfollowed.iter().map(|rule| rule.priority).collect();
        assert_eq!(told, [5, 101, 102, 103, 104, 40_000]);
        let text = complaint(&found.unfollowed).unwrap();
        assert!(text.starts_with("6 policy rules are not followed"), "{text}");
        assert!(text.contains("IPv4 rule 5 looks up table 3"), "{text}");
        assert_eq!(complaint(&[]), None);
    }
}
