//! Full tables for the benchmarks that look up next hops.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::table::routing::{
    Hop, InterfaceId, MacAddress, Neighbor, NeighborState, Route, RouteAction, Routing,
};
use dataplane::testing;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::common::random::Random;

/// Random IPv4 routes over the default's gateway and three others, as long as those of the Internet: 6 of 10 are /24.
pub(crate) fn full_table(count: u32) -> Routing {
    let mut routing = testing::routing(1500, 1500);
    let interface = InterfaceId(0);
    let gateways = [1, 2, 3].map(|host| IpAddr::V4(Ipv4Addr::new(198, 51, 100, host)));
    for (host, address) in (1..).zip(gateways) {
        let state = NeighborState::Resolved(MacAddress([2, 0, 0, 2, 0, host]));
        routing.neighbors.push(Neighbor { interface, address, state });
    }
    let mut random = Random::new(1);
    for _ in 0..count {
        let length = [24, 24, 24, 24, 24, 24, 23, 22, 20, 16][random.below(10) as usize];
        let address = Ipv4Addr::from_bits(0x0100_0000 + random.below(0xde00_0000));
        let destination = IpNet::V4(Ipv4Net::new_assert(address, length).trunc());
        let gateway = Some(gateways[random.below(3) as usize]);
        let action = RouteAction::Via(vec![Hop { interface, gateway, weight: 1 }]);
        routing.routes.push(Route { destination, action, mtu: None });
    }
    routing
}

/// Shares of prefix lengths in thousandths, after the tables of 2025.
const IPV6_LENGTHS: [(u8, u32); 10] =
    [(48, 480), (32, 130), (44, 100), (40, 90), (36, 55), (46, 50), (47, 35), (29, 30), (33, 20), (64, 10)];

/// Random IPv6 prefixes, as long as those of the Internet but spread at random over what registries assign from.
#[allow(dead_code, reason = "shared by benchmarks that look at IPv4 only")]
pub(crate) fn ipv6_prefixes(count: usize) -> Vec<Ipv6Net> {
    let mut random = Random::new(3);
    let one = |random: &mut Random| {
        let first = [0x2001, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00][random.below(6) as usize];
        let first = u128::from(first + random.below(16)) << 112;
        let mut left = random.below(1000);
        let length = IPV6_LENGTHS
            .iter()
            .find(|(_, share)| left.checked_sub(*share).map(|rest| left = rest).is_none())
            .map_or(48, |(length, _)| *length);
        Ipv6Net::new_assert(Ipv6Addr::from_bits(first | u128::from(random.bits()) << 48), length).trunc()
    };
    (0..count).map(|_| one(&mut random)).collect()
}

/// An address in each of so many random ones of the prefixes.
#[allow(dead_code, reason = "shared by benchmarks that look at IPv4 only")]
pub(crate) fn inside(prefixes: &[Ipv6Net], count: usize) -> Vec<Ipv6Addr> {
    let mut random = Random::new(7);
    let one = |random: &mut Random| {
        let net = prefixes[random.below(prefixes.len() as u32) as usize];
        let low = u128::from(random.bits()) << 64 | u128::from(random.bits());
        Ipv6Addr::from_bits(net.network().to_bits() | low & net.hostmask().to_bits())
    };
    (0..count).map(|_| one(&mut random)).collect()
}

/// These prefixes by four gateways on the link of the default route.
#[allow(dead_code, reason = "shared by benchmarks that look at IPv4 only")]
pub(crate) fn ipv6_table(prefixes: &[Ipv6Net]) -> Routing {
    let mut routing = testing::routing(1500, 1500);
    let interface = InterfaceId(1);
    let gateways = [2, 3, 4, 5].map(|host| IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host)));
    for (host, address) in (2..).zip(gateways) {
        let state = NeighborState::Resolved(MacAddress([2, 0, 0, 3, 0, host]));
        routing.neighbors.push(Neighbor { interface, address, state });
    }
    for (number, prefix) in prefixes.iter().enumerate() {
        let gateway = Some(gateways[number % gateways.len()]);
        let action = RouteAction::Via(vec![Hop { interface, gateway, weight: 1 }]);
        routing.routes.push(Route { destination: IpNet::V6(*prefix), action, mtu: None });
    }
    routing
}
