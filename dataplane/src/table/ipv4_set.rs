//! A set of IPv4 prefixes: service pools, translatable pools, denylist. Few entries, asked only for addresses
//! that no EAM covers.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Ranges of addresses, sorted and disjoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ipv4Set {
    ranges: Vec<(u32, u32)>,
}

impl Ipv4Set {
    /// The union of `networks`.
    #[must_use]
    pub fn new(networks: &[Ipv4Net]) -> Self {
        let aggregated = Ipv4Net::aggregate(&networks.to_vec());
        let mut ranges: Vec<_> =
            aggregated.iter().map(|net| (net.network().to_bits(), net.broadcast().to_bits())).collect();
        ranges.sort_unstable();
        Self { ranges }
    }

    /// Whether `address` is in the set.
    #[inline]
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let bits = address.to_bits();
        let at = self.ranges.partition_point(|(first, _)| *first <= bits);
        at > 0 && bits <= self.ranges[at - 1].1
    }

    /// Whether the set has no address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_the_edges_and_nothing_beyond() {
        let nets: Vec<Ipv4Net> = ["192.0.2.0/24", "10.0.0.0/8", "10.1.0.0/16", "198.51.100.7/32"]
            .map(|net| net.parse().unwrap())
            .into();
        let set = Ipv4Set::new(&nets);
        for (address, expected) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("192.0.1.255", false),
            ("192.0.3.0", false),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(set.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert!(Ipv4Set::new(&["0.0.0.0/0".parse().unwrap()]).contains(Ipv4Addr::BROADCAST));
        assert!(!Ipv4Set::default().contains(Ipv4Addr::UNSPECIFIED));
    }
}
