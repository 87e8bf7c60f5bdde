//! IPv4 sources for ICMPv6 errors whose real source has no IPv4 form (RFC 6791).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;

use crate::hash::{high32, high64, low64, mix};

/// How an address of the pool is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The same for the same IPv6 source, so that traceroute shows stable hops.
    Hash,
    /// Any (RFC 6791 5).
    Random,
}

/// The pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcmpSourcePool {
    networks: Vec<Ipv4Net>,
    size: u64,
    choice: Choice,
}

impl IcmpSourcePool {
    /// A pool of all addresses in `networks`.
    #[must_use]
    pub fn new(networks: &[Ipv4Net], choice: Choice) -> Self {
        let networks = Ipv4Net::aggregate(&networks.to_vec());
        let size = networks.iter().map(|net| 1_u64 << (32 - net.prefix_len())).sum();
        Self { networks, size, choice }
    }

    /// An address for an error from `source`; none when the pool is empty. `random` is a fresh random number.
    #[must_use]
    pub fn pick(&self, source: Ipv6Addr, random: u32) -> Option<Ipv4Addr> {
        if self.size == 0 {
            return None;
        }
        let number = match self.choice {
            Choice::Random => u64::from(random),
            Choice::Hash => {
                let bits = source.to_bits();
                u64::from(high32(mix(mix(high64(bits)) ^ low64(bits))))
            }
        };
        let mut index = (number * self.size) >> 32;
        for network in &self.networks {
            let count = 1_u64 << (32 - network.prefix_len());
            if index < count {
                let offset = u32::try_from(index).expect("less than the network's 2^32 addresses");
                return Some(Ipv4Addr::from_bits(network.network().to_bits() + offset));
            }
            index -= count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(choice: Choice) -> IcmpSourcePool {
        let nets = ["198.51.100.4/30", "198.51.100.9/32"].map(|text| text.parse().unwrap());
        IcmpSourcePool::new(&nets, choice)
    }

    #[test]
    fn random_choice_reaches_every_address_about_equally() {
        let mut counts = std::collections::BTreeMap::new();
        for number in 0..10_000_u32 {
            let picked =
                pool(Choice::Random).pick(Ipv6Addr::LOCALHOST, number.wrapping_mul(0x9e37_79b9)).unwrap();
            *counts.entry(picked).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 5);
        // Chi-square with 4 degrees of freedom: 18.5 is the 0.1 % point.
        let chi: f64 = counts.values().map(|count| (f64::from(*count) - 2000.0).powi(2) / 2000.0).sum();
        assert!(chi < 18.5, "{counts:?}");
    }

    #[test]
    fn hash_choice_is_stable_and_spreads() {
        let picks: Vec<_> =
            (0..64_u128).map(|host| pool(Choice::Hash).pick(Ipv6Addr::from_bits(host), 1).unwrap()).collect();
        assert_eq!(picks[3], pool(Choice::Hash).pick(Ipv6Addr::from_bits(3), 999).unwrap());
        assert!(picks.iter().collect::<std::collections::HashSet<_>>().len() == 5, "{picks:?}");
    }

    #[test]
    fn an_empty_pool_has_nothing() {
        assert_eq!(IcmpSourcePool::new(&[], Choice::Hash).pick(Ipv6Addr::LOCALHOST, 0), None);
        let all = IcmpSourcePool::new(&["0.0.0.0/0".parse().unwrap()], Choice::Random);
        assert_eq!(all.pick(Ipv6Addr::LOCALHOST, u32::MAX), Some(Ipv4Addr::BROADCAST));
    }
}
