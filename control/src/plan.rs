//! From a validated configuration to the tables the dataplane works with.
//!
//! This is the one place where configuration and dataplane types meet. It cannot fail on what
//! [`crate::config`] lets through; should the two ever disagree, [`PlanError`] says so.

use dataplane::table::eam::{Eam, EamError, EamTable};
use dataplane::table::icmp_source::{Choice, IcmpSourcePool};
use dataplane::table::prefix::{PrefixLengthError, TranslationPrefix};
use dataplane::table::translation as table;

use crate::config;

/// A configuration the dataplane refuses although it was validated.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A mapping.
    #[error(transparent)]
    Eam(#[from] EamError),
    /// A prefix.
    #[error(transparent)]
    Prefix(#[from] PrefixLengthError),
}

/// The rows of a configuration as the tables take them.
#[must_use]
pub fn rows(eams: Vec<config::Eam>) -> Vec<Eam> {
    eams.into_iter().map(|config::Eam { ipv4, ipv6 }| Eam { ipv4, ipv6 }).collect()
}

/// Puts the translation tables of a configuration around the table of its EAMs.
///
/// # Errors
/// [`PlanError`]: a contradiction between validation and tables.
pub fn translation(config: &config::Translation, eams: EamTable) -> Result<table::Translation, PlanError> {
    let prefixes: Result<Vec<_>, _> =
        config.prefixes.iter().map(|prefix| TranslationPrefix::new(*prefix)).collect();
    let choice = match config.icmp_source_choice {
        config::IcmpSourceChoice::Hash => Choice::Hash,
        config::IcmpSourceChoice::Random => Choice::Random,
    };
    Ok(table::Translation::new(table::TranslationParts {
        settings: settings(config),
        prefixes: prefixes?,
        eams,
        service_pools: config.service_pools.clone(),
        translatable_pools: config.translatable_pools.clone(),
        denylist: config.denylist.clone(),
        er_addresses: config.er_addresses.clone(),
        icmp_sources: IcmpSourcePool::new(&config.icmp_source_pool, choice),
    }))
}

fn settings(config: &config::Translation) -> table::Settings {
    let octet = |value| match value {
        config::CopyOr::Copy => None,
        config::CopyOr::Octet(octet) => Some(octet),
    };
    table::Settings {
        role: match config.role {
            config::Role::BorderRelay => table::Role::BorderRelay,
            config::Role::EdgeRelay => table::Role::EdgeRelay,
            config::Role::Siit => table::Role::Siit,
        },
        hairpin: match config.hairpin {
            config::Hairpin::Intrinsic => table::Hairpin::Intrinsic,
            config::Hairpin::Simple => table::Hairpin::Simple,
            config::Hairpin::Off => table::Hairpin::Off,
        },
        lowest_ipv6_mtu: config.lowest_ipv6_mtu,
        udp_zero_checksum: udp_zero_checksum(config.udp_zero_checksum),
        udp_zero_checksum_ports: config
            .udp_zero_checksum_ports
            .iter()
            .map(|(port, choice)| (*port, udp_zero_checksum(*choice)))
            .collect(),
        traffic_class: octet(config.traffic_class),
        type_of_service: octet(config.type_of_service),
        icmp_errors: match config.icmp_errors {
            config::IcmpErrors::Send => table::IcmpErrors::Send,
            config::IcmpErrors::Limit => table::IcmpErrors::Limit(config.icmp_error_rate),
            config::IcmpErrors::Off => table::IcmpErrors::Off,
        },
        icmp_source_default: match config.icmp_source_default {
            config::IcmpSourceDefault::Dummy => table::IcmpSourceDefault::Dummy,
            config::IcmpSourceDefault::Own => table::IcmpSourceDefault::Own,
        },
        icmp_source_extension: match config.icmp_source_extension {
            config::IcmpSourceExtension::Off => table::IcmpSourceExtension::Off,
            config::IcmpSourceExtension::NodeId => table::IcmpSourceExtension::NodeId,
            config::IcmpSourceExtension::Rfc5837 => table::IcmpSourceExtension::Rfc5837,
        },
        wkp_strict: config.wkp_strict,
        anti_spoof: config.anti_spoof,
        guard_protocols: config.guard_protocols,
        forward_native: config.forward_native,
        mtu_plateaus: config.mtu_plateaus.clone(),
        respect_fragment_df: config.fragment_df == config::FragmentDf::Respect,
    }
}

const fn udp_zero_checksum(choice: config::UdpZeroChecksum) -> table::UdpZeroChecksum {
    match choice {
        config::UdpZeroChecksum::Drop => table::UdpZeroChecksum::Drop,
        config::UdpZeroChecksum::Compute => table::UdpZeroChecksum::Compute,
        config::UdpZeroChecksum::Forward => table::UdpZeroChecksum::Forward,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const MINIMAL: &str =
        "[translation]\nprefixes = [\"2001:db8:46::/96\"]\nicmp_source_pool = [\"198.51.100.1/32\"]\n";

    #[test]
    fn the_defaults_of_file_and_tables_are_the_same() {
        let (config, _) = config::TranslateConfig::parse(Path::new("relay.toml"), MINIMAL).unwrap();
        assert_eq!(settings(&config.translation), table::Settings::default());
    }

    #[test]
    fn every_choice_reaches_the_tables() {
        let text = r#"
[translation]
prefixes = ["2001:db8:46::/96"]
hairpin = "off"
lowest_ipv6_mtu = 1500
udp_zero_checksum = "compute"
udp_zero_checksum_ports = ["4789=forward", 4500, "53 = drop"]
traffic_class = 7
type_of_service = 16
icmp_errors = "limit"
icmp_error_rate = 5
icmp_source_default = "own"
icmp_source_extension = true
wkp_strict = false
anti_spoof = false
guard_protocols = false
forward_native = false
mtu_plateaus = [1492, 68]
fragment_df = "ignore"
"#;
        let (config, _) = config::TranslateConfig::parse(Path::new("relay.toml"), text).unwrap();
        let expected = table::Settings {
            role: table::Role::BorderRelay,
            hairpin: table::Hairpin::Off,
            lowest_ipv6_mtu: 1500,
            udp_zero_checksum: table::UdpZeroChecksum::Compute,
            udp_zero_checksum_ports: vec![
                (53, table::UdpZeroChecksum::Drop),
                (4500, table::UdpZeroChecksum::Compute),
                (4789, table::UdpZeroChecksum::Forward),
            ],
            traffic_class: Some(7),
            type_of_service: Some(16),
            icmp_errors: table::IcmpErrors::Limit(5),
            icmp_source_default: table::IcmpSourceDefault::Own,
            icmp_source_extension: table::IcmpSourceExtension::Rfc5837,
            wkp_strict: false,
            anti_spoof: false,
            guard_protocols: false,
            forward_native: false,
            mtu_plateaus: vec![1492, 68],
            respect_fragment_df: false,
        };
        assert_eq!(settings(&config.translation), expected);
    }
}
