//! Who talks to whom: the addresses of a flow, in IPv4 and in IPv6.
//!
//! EAM number i maps [`service_v4`] to [`service_v6`]; `pktgen eams` writes the same pairs for the relay. The client of a
//! flow is a random public IPv4 address, which IPv6 sees embedded in the translation prefix. Native background traffic
//! runs between hosts of two networks of its own family, one behind each port.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The first service address, unless configured: 100.64.0.0, which leaves room for [`MOST_EAMS`].
pub const EAM_BASE: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
/// EAMs there are addresses for.
pub const MOST_EAMS: u32 = 1 << 22;

/// IPv6 service addresses lie in here (a /48).
const SERVICE_V6: u128 = 0x2001_0db8_000e_0000 << 64;
/// Clients lie in 16.0.0.0/4, all of it public.
const CLIENT_V4: u32 = 0x1000_0000;
/// Native IPv6 hosts behind the IPv4 port, and behind the IPv6 port (a /48 each).
const NATIVE_V6: [u128; 2] = [0x2001_0db8_00b4_0000 << 64, 0x2001_0db8_00b6_0000 << 64];
/// Native IPv4 hosts behind the IPv4 port, and behind the IPv6 port: the benchmarking networks 198.18.0.0/16 and
/// 198.19.0.0/16 (RFC 2544).
const NATIVE_V4: [u32; 2] = [0xc612_0000, 0xc613_0000];

const GOLDEN: u32 = 0x9e37_79b1;

/// The IPv4 service address of an EAM.
#[inline]
#[must_use]
pub const fn service_v4(base: Ipv4Addr, number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(base.to_bits().wrapping_add(number))
}

/// The IPv6 service address of an EAM, scattered over /64s as tenants are. Different for every number.
#[inline]
#[must_use]
pub const fn service_v6(number: u32) -> Ipv6Addr {
    let scattered = number.wrapping_mul(GOLDEN) as u128;
    Ipv6Addr::from_bits(SERVICE_V6 | scattered << 40 | number as u128)
}

/// What the two ends of a stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// An IPv4 client and an IPv6 service.
    Translated,
    /// Two IPv6 hosts.
    NativeV6,
    /// Two IPv4 hosts.
    NativeV4,
}

/// The addresses of all flows of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints {
    ends: Ends,
    /// Whether packets go from the service, or the hosts behind the IPv6 port, to the others.
    reverse: bool,
    prefix: u128,
    eam_base: u32,
    /// EAMs per flow, in units of 2^-32.
    eams_per_flow: u64,
}

impl Endpoints {
    /// `flows` of them over `eams` EAMs, evenly.
    #[must_use]
    pub fn new(
        ends: Ends,
        reverse: bool,
        prefix: Ipv6Addr,
        eam_base: Ipv4Addr,
        flows: u32,
        eams: u32,
    ) -> Self {
        Self {
            ends,
            reverse,
            prefix: prefix.to_bits(),
            eam_base: eam_base.to_bits(),
            eams_per_flow: (u64::from(eams) << 32) / u64::from(flows.max(1)),
        }
    }

    /// What the two ends are.
    #[must_use]
    pub const fn ends(&self) -> Ends {
        self.ends
    }

    /// Whether packets go towards IPv4.
    #[must_use]
    pub const fn reverse(&self) -> bool {
        self.reverse
    }

    /// Source and destination in IPv4.
    #[inline]
    #[must_use]
    pub fn ipv4(&self, flow: u32) -> (u32, u32) {
        let (near, far) = match self.ends {
            Ends::NativeV4 => (NATIVE_V4[0] | flow & 0xffff, NATIVE_V4[1] | flow & 0xffff),
            _ => (client(flow), self.eam_base.wrapping_add(self.eam(flow))),
        };
        if self.reverse { (far, near) } else { (near, far) }
    }

    /// Source and destination in IPv6.
    #[inline]
    #[must_use]
    pub fn ipv6(&self, flow: u32) -> (u128, u128) {
        let (near, far) = match self.ends {
            Ends::NativeV6 => (NATIVE_V6[0] | u128::from(flow), NATIVE_V6[1] | u128::from(flow)),
            _ => (self.prefix | u128::from(client(flow)), service_v6(self.eam(flow)).to_bits()),
        };
        if self.reverse { (far, near) } else { (near, far) }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the product is below EAMs times 2^32")]
    fn eam(&self, flow: u32) -> u32 {
        ((u64::from(flow) * self.eams_per_flow) >> 32) as u32
    }
}

#[inline]
const fn client(flow: u32) -> u32 {
    CLIENT_V4 | flow.wrapping_mul(GOLDEN) >> 4
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn endpoints(flows: u32, eams: u32) -> Endpoints {
        let prefix = "2001:db8:46::".parse().expect("a prefix");
        Endpoints::new(Ends::Translated, false, prefix, EAM_BASE, flows, eams)
    }

    #[test]
    fn service_addresses_are_different() {
        let all: HashSet<_> = (0..100_000).map(service_v6).collect();
        assert_eq!(all.len(), 100_000);
        assert_eq!(service_v4(EAM_BASE, 256), Ipv4Addr::new(100, 64, 1, 0));
    }

    #[test]
    fn flows_spread_evenly_over_the_eams() {
        for (flows, eams) in [(1000, 1000), (1000, 10), (10, 1000), (1 << 24, 3), (1, 1)] {
            let used: HashSet<_> = (0..flows).map(|flow| endpoints(flows, eams).eam(flow)).collect();
            assert_eq!(used.len(), flows.min(eams) as usize, "{flows} flows over {eams}");
            assert!(used.iter().all(|&eam| eam < eams));
        }
        assert_eq!(endpoints(1000, 1000).eam(999), 999);
    }

    #[test]
    fn both_families_name_the_same_hosts() {
        let there = endpoints(100, 100);
        let (source, destination) = there.ipv4(7);
        let (source6, destination6) = there.ipv6(7);
        assert_eq!(source6, 0x2001_0db8_0046 << 80 | u128::from(source));
        assert_eq!(destination, service_v4(EAM_BASE, 7).to_bits());
        assert_eq!(destination6, service_v6(7).to_bits());
    }
}
