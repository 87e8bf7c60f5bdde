//! The mappings all benchmarks use, and the ways their keys are drawn.

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::table::eam::Eam;

/// The numbers of mappings that are measured, and what rows call them.
pub(crate) const SIZES: [(&str, u32); 5] =
    [("1", 1), ("1k", 1_000), ("10k", 10_000), ("100k", 100_000), ("1m", 1_000_000)];

/// The EAM table of a run: 100.64.0.0 upwards to 2001:db8:e::, one address each.
pub(crate) fn eams(count: u32) -> Vec<Eam> {
    (0..count)
        .map(|number| Eam { ipv4: service_v4(number).into(), ipv6: service_v6(number).into() })
        .collect()
}

/// The IPv4 address of a mapping.
pub(crate) fn service_v4(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x6440_0000 + number)
}

/// Its IPv6 address: scattered over /64s, as tenants are.
pub(crate) fn service_v6(number: u32) -> Ipv6Addr {
    let scattered = u128::from(number.wrapping_mul(0x9e37_79b1));
    Ipv6Addr::from_bits(0x2001_0db8_000e_0000 << 64 | scattered << 40 | u128::from(number))
}
