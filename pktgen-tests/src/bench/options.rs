//! What optional features cost: the relay with and without each, alternating.

use super::report::Collector;
use super::stand::{Stand, Subject};
use super::traffic::{Direction, Size, Table, Traffic};
use super::{BenchError, Build};

/// One feature.
struct Feature {
    /// As rows are named after it.
    name: &'static str,
    /// Lines of `[translation]` without it.
    without: &'static str,
    /// And with it.
    with: &'static str,
    /// Traffic it has to look at.
    direction: Direction,
    /// Whether UDP over IPv4 has a checksum when the feature is on.
    udp_checksum: bool,
}

const FEATURES: [Feature; 6] = [
    Feature {
        name: "anti_spoof",
        without: "anti_spoof = false",
        with: "anti_spoof = true",
        direction: Direction::Mixed,
        udp_checksum: true,
    },
    Feature {
        name: "guard_protocols",
        without: "guard_protocols = false",
        with: "guard_protocols = true",
        direction: Direction::Mixed,
        udp_checksum: true,
    },
    Feature {
        name: "hairpin_intrinsic",
        without: "hairpin = \"off\"",
        with: "hairpin = \"intrinsic\"",
        direction: Direction::Mixed,
        udp_checksum: true,
    },
    Feature {
        name: "denylist",
        without: "denylist = []",
        with: "denylist = [\"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\", \"169.254.0.0/16\"]",
        direction: Direction::Mixed,
        udp_checksum: true,
    },
    Feature {
        name: "icmp_source_extension",
        without: "icmp_source_extension = false",
        with: "icmp_source_extension = true",
        direction: Direction::Mixed,
        udp_checksum: true,
    },
    Feature {
        name: "udp_zero_checksum_compute",
        without: "udp_zero_checksum = \"compute\"",
        with: "udp_zero_checksum = \"compute\"",
        direction: Direction::V4ToV6,
        udp_checksum: false,
    },
];

/// One round over all features.
///
/// # Errors
/// When the relay or the generator fails.
pub(super) fn round(
    stand: &Stand,
    build: &Build,
    results: &mut Collector,
    round: u32,
) -> Result<(), BenchError> {
    for feature in &FEATURES {
        let traffic = |udp_checksum| Traffic {
            direction: feature.direction,
            size: Size::SMALLEST,
            table: Table::TenThousand,
            udp_checksum,
        };
        let cycles = |translation, udp_checksum| {
            let subject = Subject::Relay { build, translation };
            Ok::<f64, BenchError>(stand.saturate(subject, traffic(udp_checksum))?.cycles)
        };
        let (without, with) = if round.is_multiple_of(2) {
            let without = cycles(feature.without, true)?;
            (without, cycles(feature.with, feature.udp_checksum)?)
        } else {
            let with = cycles(feature.with, feature.udp_checksum)?;
            (cycles(feature.without, true)?, with)
        };
        results.add(&format!("option_{}", feature.name), "%", (with / without - 1.0) * 100.0);
    }
    Ok(())
}
