//! The names other translators have for what a configuration says, and what says the same here.

use super::error::Hint;

/// A name, and the key that says the same; none where nothing does.
type Word = (&'static str, Option<&'static str>);

/// Jool SIIT 4.1's settings and sections, and those of the versions before that files still have.
const JOOL: &[Word] = &[
    ("pool6", Some("translation.prefixes")),
    ("lowest-ipv6-mtu", Some("translation.lowest_ipv6_mtu")),
    ("zeroize-traffic-class", Some("translation.traffic_class = 0")),
    ("override-tos", Some("translation.type_of_service")),
    ("tos", Some("translation.type_of_service")),
    ("mtu-plateaus", Some("translation.mtu_plateaus")),
    ("amend-udp-checksum-zero", Some("translation.udp_zero_checksum = \"compute\"")),
    ("eam-hairpin-mode", Some("translation.hairpin")),
    ("randomize-rfc6791-addresses", Some("translation.icmp_source_choice")),
    ("rfc6791v4-prefix", Some("translation.icmp_source_pool")),
    ("pool6791", Some("translation.icmp_source_pool")),
    ("denylist4", Some("translation.denylist")),
    ("blacklist4", Some("translation.denylist")),
    ("blacklist", Some("translation.denylist")),
    ("eamt", Some("[[eam]] or eam_files")),
    ("rfc6791v6-prefix", None),
    ("manually-enabled", None),
    ("logging-debug", None),
];

/// TAYGA's directives that are not near a key of ours.
const TAYGA: &[Word] = &[
    ("map", Some("[[eam]] or eam_files")),
    ("map-file", Some("eam_files")),
    ("ipv4-addr", Some("translation.icmp_source_pool")),
    ("udp-cksum-mode", Some("translation.udp_zero_checksum")),
    ("offlink-mtu", Some("translation.lowest_ipv6_mtu")),
    ("wkpf-strict", Some("translation.wkp_strict")),
    ("dynamic-pool", None),
    ("tun-device", None),
];

fn find(words: &[Word], name: &str) -> Option<Option<&'static str>> {
    words.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours)
}

/// What says the same as a name of Jool's; `None` where it is no such name.
pub(super) fn jool(name: &str) -> Option<Option<&'static str>> {
    find(JOOL, name)
}

/// The answer to another translator's name among the keys of a configuration.
pub(super) fn hint(name: &str) -> Option<Hint> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let theirs = |whose, words| find(words, &name).map(|instead| Hint::Theirs { whose, instead });
    theirs("Jool", JOOL).or_else(|| theirs("TAYGA", TAYGA))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn every_answer_names_a_key_there_is() {
        for (name, ours) in JOOL.iter().chain(TAYGA) {
            let Some(ours) = ours else { continue };
            let key = ours.split(" = ").next().unwrap().trim_start_matches("[[eam]] or ");
            assert!(keys::KEYS.iter().any(|known| known.path == key), "{name}: {ours}");
        }
    }

    #[test]
    fn names_are_known_with_either_dash() {
        let pool6791 = Hint::Theirs { whose: "Jool", instead: Some("translation.icmp_source_pool") };
        assert_eq!(hint("RFC6791v4_prefix"), Some(pool6791));
        assert_eq!(hint("dynamic-pool"), Some(Hint::Theirs { whose: "TAYGA", instead: None }));
        assert_eq!(hint("colour"), None);
    }
}
