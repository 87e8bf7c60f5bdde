//! Which packets go into a translator and which come out of it, by their addresses.

use std::collections::HashSet;
use std::net::IpAddr;

use control::config::{Eams, Role, Translation};

use super::pairing::{Seen, Way};
use super::view::View;

/// Prefixes of one family; a lookup per length that occurs.
#[derive(Debug, Default)]
struct Nets {
    lengths: Vec<u8>,
    nets: HashSet<(u8, u128)>,
}

impl Nets {
    fn new(nets: impl Iterator<Item = (u8, u128)>) -> Self {
        let nets: HashSet<_> = nets.collect();
        let lengths: HashSet<u8> = nets.iter().map(|(length, _)| *length).collect();
        Self { lengths: lengths.into_iter().collect(), nets }
    }

    fn contain(&self, address: u128) -> bool {
        let network = |length: u8| address & !u128::MAX.checked_shr(length.into()).unwrap_or(0);
        self.lengths.iter().any(|length| self.nets.contains(&(*length, network(*length))))
    }
}

/// The addresses of a configuration.
#[derive(Debug)]
pub(super) struct Sides {
    /// Mapped and service addresses. IPv4 ones stand in the highest bits.
    ipv4: Nets,
    ipv6: Nets,
    prefixes: Nets,
    is_edge: bool,
}

impl Sides {
    pub(super) fn new(translation: &Translation, eams: &Eams) -> Self {
        let ipv4 = |net: &ipnet::Ipv4Net| (net.prefix_len(), high(net.network().into()));
        let ipv6 = |net: &ipnet::Ipv6Net| (net.prefix_len(), u128::from(net.network()));
        let pools = translation.service_pools.iter().map(ipv4);
        Self {
            ipv4: Nets::new(eams.iter().map(|eam| ipv4(&eam.ipv4)).chain(pools)),
            ipv6: Nets::new(eams.iter().map(|eam| ipv6(&eam.ipv6))),
            prefixes: Nets::new(translation.prefixes.iter().map(ipv6)),
            is_edge: translation.role == Role::EdgeRelay,
        }
    }

    /// A packet for a mapped IPv4 address, or for an IPv6 address that stands for IPv4, goes in; one from there comes out.
    pub(super) fn way(&self, packet: &Seen) -> Way {
        let Some(view) = View::new(&packet.bytes) else { return Way::Unclear };
        let (into, from) = match (view.destination, view.source) {
            (IpAddr::V6(destination), IpAddr::V6(source)) => {
                let of = |address: std::net::Ipv6Addr| {
                    let address = u128::from(address);
                    self.prefixes.contain(address) && !self.ipv6.contain(address)
                };
                (of(destination), of(source))
            }
            (IpAddr::V4(destination), IpAddr::V4(source)) => {
                (self.ipv4.contain(high(destination.into())), self.ipv4.contain(high(source.into())))
            }
            _ => (false, false),
        };
        match (into, from, self.is_edge) {
            (true, _, false) | (_, true, true) => Way::In,
            (false, true, false) | (true, false, true) => Way::Out,
            (false, false, _) => Way::Unclear,
        }
    }
}

fn high(address: u32) -> u128 {
    u128::from(address) << 96
}
