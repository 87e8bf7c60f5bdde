//! Which destinations are announced.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv6Net};

use crate::config::{Role, Translation};

/// The Well-Known Prefix 64:ff9b::/96 (RFC 6052 2.1).
const WELL_KNOWN: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// What leads to this relay: each service pool, each pool of IPv4-translatable addresses but all of IPv4, and each translation
/// prefix, but for an Edge Relay, whose prefix is the Border Relays'. Never a part of the Well-Known Prefix (RFC 6052 3.1).
#[must_use]
pub fn destinations(translation: &Translation) -> BTreeSet<IpNet> {
    let pools = translation.service_pools.iter().chain(&translation.translatable_pools);
    let pools = pools.filter(|pool| pool.prefix_len() > 0).map(|pool| IpNet::V4(pool.trunc()));
    let is_part = |prefix: &&Ipv6Net| prefix.prefix_len() > 96 && WELL_KNOWN.contains(*prefix);
    let prefixes = translation.prefixes.iter().filter(|prefix| !is_part(prefix));
    let prefixes = prefixes.filter(|_| translation.role != Role::EdgeRelay);
    pools.chain(prefixes.map(|prefix| IpNet::V6(prefix.trunc()))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::TranslateConfig;

    fn of(text: &str) -> Vec<String> {
        let text = format!("[translation]\n{text}\n");
        let (config, _) = TranslateConfig::parse(Path::new("relay.toml"), &text).expect("a good file");
        destinations(&config.translation).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pools_and_prefixes_lead_here_and_all_of_ipv4_does_not() {
        let text = "prefixes = [\"2001:db8:46::/96\", \"64:ff9b::/96\"]\n\
            service_pools = [\"192.0.2.0/25\", \"192.0.2.128/25\"]\ntranslatable_pools = [\"198.51.100.0/24\"]";
        let expected =
            ["192.0.2.0/25", "192.0.2.128/25", "198.51.100.0/24", "64:ff9b::/96", "2001:db8:46::/96"];
        assert_eq!(of(text), expected);
        assert_eq!(
            of("prefixes = [\"2001:db8:46::/96\"]\ntranslatable_pools = [\"0.0.0.0/0\"]"),
            ["2001:db8:46::/96"]
        );
    }

    #[test]
    fn the_prefix_of_an_edge_relay_is_not_its_own() {
        let text = "role = \"er\"\nprefixes = [\"2001:db8:46::/96\"]\nservice_pools = [\"192.0.2.4/32\"]\n\
            er_addresses = [\"2001:db8:12:34::4\"]\n\
            [[eam]]\nipv4 = \"192.0.2.4\"\nipv6 = \"2001:db8:12:34::4\"";
        assert_eq!(of(text), ["192.0.2.4/32"]);
    }

    #[test]
    fn parts_of_the_well_known_prefix_are_never_announced() {
        let (config, _) =
            TranslateConfig::parse(Path::new("relay.toml"), "[translation]\nprefixes = [\"64:ff9b::/96\"]\n")
                .expect("a good file");
        let mut translation = config.translation;
        translation.prefixes = vec!["64:ff9b::c000:200/120".parse().expect("a prefix")];
        assert!(destinations(&translation).is_empty());
    }
}
