//! A full table for the benchmarks that look up next hops.

use std::net::{IpAddr, Ipv4Addr};

use dataplane::table::routing::{
    Hop, InterfaceId, MacAddress, Neighbor, NeighborState, Route, RouteAction, Routing,
};
use dataplane::testing;
use ipnet::{IpNet, Ipv4Net};

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
