//! Bursts beside a table of IPv6 routes that is looked up in steps.

use super::*;
use crate::table::fib::Fib;
use crate::table::routing::{Hop, InterfaceId, MacAddress, Neighbor, NeighborState, Route, RouteAction};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ROUTES: u32 = 6000;
const SERVERS: u32 = 2000;

/// Scattered over the addresses that routes are for.
fn network(number: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2a00 << 112 | u128::from(number.wrapping_mul(0x9e37_79b1)) << 80)
}

/// One in eight is outside of all routes but the default one.
fn server(number: u32) -> Ipv6Addr {
    let network = network(if number.is_multiple_of(8) { ROUTES + number } else { number * 3 });
    Ipv6Addr::from_bits(network.to_bits() | 1 << 70 | u128::from(number))
}

/// Gateways by turns, and routes that lead nowhere; long ones inside of short ones.
fn fib(count: u32) -> Fib {
    let mut routing = testing::routing(1500, 1500);
    let interface = InterfaceId(1);
    let gateway = |host: u16| IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2 + host));
    for host in 0..3 {
        let state = NeighborState::Resolved(MacAddress([2, 0, 0, 3, 0, host]));
        routing.neighbors.push(Neighbor { interface, address: gateway(host.into()), state });
    }
    for number in 0..count {
        let via = |host: u32| {
            RouteAction::Via(vec![Hop { interface, gateway: Some(gateway(host as u16)), weight: 1 }])
        };
        let action = match number % 7 {
            5 => RouteAction::Unreachable,
            // A gateway that nobody knows.
            6 => via(9),
            other => via(other % 3),
        };
        let length = [48, 44, 56, 64, 32][number as usize % 5];
        let destination = ipnet::IpNet::new(network(number).into(), length).unwrap().trunc();
        routing.routes.push(Route { destination, action, mtu: None });
    }
    Fib::build(&routing)
}

fn bench(fib: &Arc<Fib>) -> Bench {
    let eams: Vec<_> = (0..SERVERS)
        .map(|number| {
            let ipv4 = Ipv4Addr::from_bits(0xc000_0000 + number);
            (format!("{ipv4}/32"), format!("{}/128", server(number)))
        })
        .collect();
    let eams: Vec<_> = eams.iter().map(|(ipv4, ipv6)| (ipv4.as_str(), ipv6.as_str())).collect();
    let translation = Arc::new(testing::translation(&eams));
    let mut bench = Bench::new(MemoryPool::unlimited(), usize::MAX);
    bench.publisher.publish(|snapshot| {
        snapshot.translation = translation;
        snapshot.fib = Arc::clone(fib);
    });
    bench
}

#[test]
fn packets_go_the_way_they_would_go_one_by_one() {
    let fib = Arc::new(fib(ROUTES));
    assert!(fib.is_deep());
    let mut together = bench(&fib);
    let mut alone = bench(&fib);
    alone.worker = alone.worker.without_express_lane(&together.worker);
    for first in (0..SERVERS).step_by(50) {
        for number in first..first + 50 {
            let service = Ipv4Addr::from_bits(0xc000_0000 + number).to_string();
            let (server, client) = (server(number).to_string(), "2001:db8:46::203.0.113.50");
            let native = Ipv6Addr::from_bits(network(number * 5 % (ROUTES + 99)).to_bits() | 9).to_string();
            let v4 = testing::udp_v4("203.0.113.50", &service, &number.to_be_bytes());
            let frames = match number % 5 {
                0 => vec![(
                    0,
                    testing::frame(MAC_V4, &testing::udp_v4("203.0.113.50", "198.18.0.1", b"native")),
                )],
                1 => vec![(
                    1,
                    testing::frame(MAC_V6, &testing::udp_v6(&server, &native, &number.to_be_bytes())),
                )],
                2 => vec![(
                    1,
                    testing::frame(MAC_V6, &testing::udp_v6(&server, client, &number.to_be_bytes())),
                )],
                3 => {
                    let mut tagged = testing::frame(MAC_V4, &v4);
                    tagged.splice(12..12, [0x81, 0, 0, 100]);
                    vec![(0, tagged)]
                }
                _ => vec![(0, testing::frame(MAC_V4, &v4)), (0, testing::frame(MAC_V4, &v4[..v4.len() - 1]))],
            };
            for (port, frame) in frames {
                together.rx[port].put(&frame);
                alone.rx[port].put(&frame);
            }
        }
        assert_eq!(together.turn(), alone.turn());
        for port in 0..2 {
            assert_eq!(together.tx[port].take(), alone.tx[port].take(), "servers from {first}, port {port}");
        }
        assert_eq!(together.punts(), alone.punts());
    }
    let counts = together.turn();
    assert!(counts.event(Event::TranslatedV4ToV6) > 400 && counts.event(Event::Native) > 150);
    assert!(counts.dropped(DropReason::RouteUnreachable) > 0);
}
