//! Every key the configuration knows, with its default and a legal example: the one list behind unknown-key hints,
//! missing-key remedies and the check that `config/full.toml` is complete.

use super::error::Hint;
use super::theirs;

/// A key of the configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The table it belongs to: `dpdk`, `port`, `translation`, `eam`, `control`, `announce`, or empty for the top of the file.
    pub table: &'static str,
    /// Its name in that table.
    pub name: &'static str,
    /// Table and name, as messages show it.
    pub path: &'static str,
    /// The default as TOML, or `None` when it must be given or its absence means nothing.
    pub default: Option<&'static str>,
    /// A legal line.
    pub example: &'static str,
}

/// Every key, in the order of the documentation.
pub const KEYS: &[Key] = &[
    optional("", "eam_files", "eam_files", "[]", "eam_files = [\"eams.csv\"]"),
    required("dpdk", "workers", "dpdk.workers", "workers = [1, 2]"),
    optional("dpdk", "memory", "dpdk.memory", "\"hugepages\"", "memory = \"hugepages\""),
    optional("dpdk", "memory_mb", "dpdk.memory_mb", "512", "memory_mb = 512"),
    optional("dpdk", "poll", "dpdk.poll", "\"adaptive\"", "poll = \"adaptive\""),
    optional("dpdk", "extra_args", "dpdk.extra_args", "[]", "extra_args = [\"--iova-mode=va\"]"),
    required("port", "name", "port.name", "name = \"uplink\""),
    required("port", "device", "port.device", "device = \"0000:3b:00.0\""),
    optional("port", "mtu", "port.mtu", "1500", "mtu = 1500"),
    optional("translation", "role", "translation.role", "\"br\"", "role = \"br\""),
    required("translation", "prefixes", "translation.prefixes", "prefixes = [\"2001:db8:46::/96\"]"),
    optional(
        "translation",
        "service_pools",
        "translation.service_pools",
        "[]",
        "service_pools = [\"192.0.2.0/24\"]",
    ),
    optional(
        "translation",
        "translatable_pools",
        "translation.translatable_pools",
        "[]",
        "translatable_pools = [\"198.51.100.0/24\"]",
    ),
    optional(
        "translation",
        "er_addresses",
        "translation.er_addresses",
        "[]",
        "er_addresses = [\"2001:db8:12:34::4\"]",
    ),
    optional("translation", "hairpin", "translation.hairpin", "\"intrinsic\"", "hairpin = \"intrinsic\""),
    optional(
        "translation",
        "lowest_ipv6_mtu",
        "translation.lowest_ipv6_mtu",
        "1280",
        "lowest_ipv6_mtu = 1280",
    ),
    optional(
        "translation",
        "udp_zero_checksum",
        "translation.udp_zero_checksum",
        "\"drop\"",
        "udp_zero_checksum = \"drop\"",
    ),
    optional(
        "translation",
        "udp_zero_checksum_ports",
        "translation.udp_zero_checksum_ports",
        "[]",
        "udp_zero_checksum_ports = [4500, \"4789=forward\"]",
    ),
    optional(
        "translation",
        "traffic_class",
        "translation.traffic_class",
        "\"copy\"",
        "traffic_class = \"copy\"",
    ),
    optional(
        "translation",
        "type_of_service",
        "translation.type_of_service",
        "\"copy\"",
        "type_of_service = \"copy\"",
    ),
    optional("translation", "icmp_errors", "translation.icmp_errors", "\"limit\"", "icmp_errors = \"limit\""),
    optional(
        "translation",
        "icmp_error_rate",
        "translation.icmp_error_rate",
        "1000",
        "icmp_error_rate = 1000",
    ),
    optional(
        "translation",
        "icmp_source_pool",
        "translation.icmp_source_pool",
        "[]",
        "icmp_source_pool = [\"198.51.100.1/32\"]",
    ),
    optional(
        "translation",
        "icmp_source_choice",
        "translation.icmp_source_choice",
        "\"hash\"",
        "icmp_source_choice = \"hash\"",
    ),
    optional(
        "translation",
        "icmp_source_default",
        "translation.icmp_source_default",
        "\"dummy\"",
        "icmp_source_default = \"dummy\"",
    ),
    optional(
        "translation",
        "icmp_source_extension",
        "translation.icmp_source_extension",
        "\"off\"",
        "icmp_source_extension = \"node-id\"",
    ),
    optional("translation", "denylist", "translation.denylist", "[]", "denylist = [\"203.0.113.0/24\"]"),
    optional("translation", "wkp_strict", "translation.wkp_strict", "true", "wkp_strict = true"),
    optional("translation", "anti_spoof", "translation.anti_spoof", "true", "anti_spoof = true"),
    optional(
        "translation",
        "guard_protocols",
        "translation.guard_protocols",
        "true",
        "guard_protocols = true",
    ),
    optional(
        "translation",
        "mtu_plateaus",
        "translation.mtu_plateaus",
        "[65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68]",
        "mtu_plateaus = [65535, 1492, 508, 68]",
    ),
    optional(
        "translation",
        "fragment_df",
        "translation.fragment_df",
        "\"respect\"",
        "fragment_df = \"respect\"",
    ),
    optional("translation", "eam_overlap", "translation.eam_overlap", "\"warn\"", "eam_overlap = \"warn\""),
    optional(
        "translation",
        "reload_may_remove",
        "translation.reload_may_remove",
        "\"tenth\"",
        "reload_may_remove = \"all\"",
    ),
    required("eam", "ipv4", "eam.ipv4", "ipv4 = \"192.0.2.1/32\""),
    required("eam", "ipv6", "eam.ipv6", "ipv6 = \"2001:db8:12:34::1/128\""),
    Key { table: "eam", name: "comment", path: "eam.comment", default: None, example: "comment = \"www\"" },
    optional(
        "control",
        "socket",
        "control.socket",
        "\"/run/borderline/control.sock\"",
        "socket = \"/run/borderline/control.sock\"",
    ),
    Key {
        table: "control",
        name: "group",
        path: "control.group",
        default: None,
        example: "group = \"borderline\"",
    },
    optional(
        "control",
        "store",
        "control.store",
        "\"/var/lib/borderline/mappings.db\"",
        "store = \"/var/lib/borderline/mappings.db\"",
    ),
    optional("announce", "enabled", "announce.enabled", "true", "enabled = true"),
    optional("announce", "metric", "announce.metric", "4242", "metric = 4242"),
    optional("announce", "drain_metric", "announce.drain_metric", "14242", "drain_metric = 14242"),
    optional(
        "announce",
        "default_route",
        "announce.default_route",
        "\"seen\"",
        "default_route = \"required\"",
    ),
    optional(
        "announce",
        "drain_lead_seconds",
        "announce.drain_lead_seconds",
        "10",
        "drain_lead_seconds = 10",
    ),
    optional("announce", "drain_quiet_pps", "announce.drain_quiet_pps", "10", "drain_quiet_pps = 10"),
    optional(
        "announce",
        "drain_quiet_seconds",
        "announce.drain_quiet_seconds",
        "3",
        "drain_quiet_seconds = 3",
    ),
    optional("announce", "stop_seconds", "announce.stop_seconds", "5", "stop_seconds = 5"),
];

/// The tables, as an operator writes their headers.
pub(super) const TABLES: &[(&str, &str)] = &[
    ("dpdk", "[dpdk]"),
    ("port", "[[port]]"),
    ("translation", "[translation]"),
    ("eam", "[[eam]]"),
    ("control", "[control]"),
    ("announce", "[announce]"),
];

/// Tables of a later version.
pub(super) const LATER: &[&str] = &["metrics"];

const fn required(table: &'static str, name: &'static str, path: &'static str, example: &'static str) -> Key {
    Key { table, name, path, default: None, example }
}

const fn optional(
    table: &'static str,
    name: &'static str,
    path: &'static str,
    default: &'static str,
    example: &'static str,
) -> Key {
    Key { table, name, path, default: Some(default), example }
}

/// The key of that name in that table.
pub(super) fn find(table: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.table == table && key.name == name)
}

/// What may have been meant by an unknown key of a table.
pub(super) fn hint(table: &str, name: &str) -> Hint {
    let here = KEYS.iter().filter(|key| key.table == table).map(|key| key.name);
    if let Some(near) = nearest(name, here) {
        return Hint::DidYouMean(near);
    }
    match KEYS.iter().find(|key| key.name == name) {
        Some(key) => Hint::BelongsTo(header(key.table)),
        None => theirs::hint(name).unwrap_or(Hint::None),
    }
}

/// What may have been meant by an unknown table, or by an unknown key at the top of the file.
pub(super) fn table_hint(name: &str) -> Hint {
    if let Some(near) = nearest(name, TABLES.iter().map(|(table, _)| *table)) {
        return Hint::DidYouMean(header(near));
    }
    hint("", name)
}

/// The nearest word within a third of its length in edits.
pub(super) fn nearest(word: &str, choices: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    if word.len() > 40 {
        return None;
    }
    choices
        .map(|choice| (edits(&word, choice), choice))
        .filter(|(edits, choice)| *edits <= (choice.len() / 3).max(1))
        .min()
        .map(|(_, choice)| choice)
}

fn header(table: &str) -> &'static str {
    TABLES.iter().find(|(name, _)| *name == table).map_or("", |(_, header)| header)
}

/// Edit distance: characters replaced, inserted, removed, or swapped with their neighbour.
fn edits(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_recognised() {
        assert_eq!(hint("translation", "lowest-ipv6-mtu"), Hint::DidYouMean("lowest_ipv6_mtu"));
        assert_eq!(hint("translation", "prefix"), Hint::DidYouMean("prefixes"));
        assert_eq!(hint("port", "mut"), Hint::DidYouMean("mtu"));
        assert_eq!(hint("dpdk", "mtu"), Hint::BelongsTo("[[port]]"));
        assert_eq!(hint("eam", "eam_files"), Hint::BelongsTo(""));
        assert_eq!(hint("dpdk", "colour"), Hint::None);
        let pool6 = Hint::Theirs { whose: "Jool", instead: Some("translation.prefixes") };
        assert_eq!((hint("translation", "pool6"), table_hint("pool6")), (pool6, pool6));
        let hairpin = Hint::Theirs { whose: "Jool", instead: Some("translation.hairpin") };
        assert_eq!(hint("translation", "eam-hairpin-mode"), hairpin);
        assert_eq!(table_hint("ports"), Hint::DidYouMean("[[port]]"));
    }

    #[test]
    fn paths_are_table_and_name() {
        for key in KEYS {
            let path = if key.table.is_empty() {
                key.name.to_owned()
            } else {
                format!("{}.{}", key.table, key.name)
            };
            assert_eq!(key.path, path);
            assert!(key.example.starts_with(&format!("{} = ", key.name)), "{}", key.path);
        }
    }
}
