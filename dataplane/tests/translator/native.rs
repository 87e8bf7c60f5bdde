//! Forwarding without translation: what any router does, and no more.

use dataplane::counters::Event;
use dataplane::offline::Outcome;
use dataplane::table::routing::{NeighborState, RouteAction};
use dataplane::testing::ipv4_with_options;

use super::lab::*;

const ELSEWHERE_V4: &str = "198.18.0.1";
const ELSEWHERE_V6: &str = "2001:db8:e15e::1";

fn native_v4(size: usize) -> Vec<u8> {
    udp_v4(CLIENT, ELSEWHERE_V4, &payload(size - 28))
}

fn native_v6(size: usize) -> Vec<u8> {
    udp_v6(UNMAPPED, ELSEWHERE_V6, &payload(size - 48))
}

#[test]
fn only_the_hop_limit_changes() {
    let mut router = Lab::default().router(|_| ());
    // Extension headers, flow label and traffic class included; what Hop-by-Hop options ask for is not our business.
    let mut packet =
        ipv6(UNMAPPED, ELSEWHERE_V6, 0, &[60, 0, 0xc2, 4, 1, 2, 3, 4, 59, 0, 1, 4, 9, 9, 9, 9, 0xaa]);
    packet[..4].copy_from_slice(&[0x6a, 0xbc, 0xde, 0xf1]);
    let done = router.run(&packet);
    assert_eq!(done.outcome, Outcome::Native);
    let out = done.one();
    packet[7] -= 1;
    assert_eq!(out, packet);
    let packet = ipv4_with_options(CLIENT, ELSEWHERE_V4, 17, &[7, 7, 4, 0, 0, 0, 0, 0], &payload(9));
    let out = router.run(&packet).one();
    assert_eq!(out, with_ttl(packet, 63));
    assert_eq!(router.sink.counts.event(Event::Native), 2);
}

#[test]
fn expired_packets_are_answered() {
    let mut router = Lab::default().router(|_| ());
    for ttl in [0, 1] {
        router.run(&with_ttl(native_v4(60), ttl)).answered("hop_limit_exceeded", 11, 0);
        router.run(&with_hop_limit(native_v6(60), ttl)).answered("hop_limit_exceeded", 3, 0);
    }
    assert_eq!(router.run(&with_ttl(native_v4(60), 2)).one()[8], 1);
    assert_eq!(router.run(&with_hop_limit(native_v6(60), 2)).one()[7], 1);
}

#[test]
fn illegal_sources_are_dropped_silently() {
    let mut router = Lab::default().router(|_| ());
    router.run(&udp_v4("127.0.0.1", ELSEWHERE_V4, &[1])).silent("illegal_source");
    router.run(&udp_v6("::1", ELSEWHERE_V6, &[1])).silent("illegal_source");
}

#[test]
fn what_does_not_fit_is_answered_or_cut() {
    let lab = Lab { ipv4_mtu: 1000, ipv6_mtu: 1400, ..Lab::default() };
    let mut router = lab.router(|_| ());
    let error = router.run(&with_df(native_v4(1001))).answered("packet_too_big", 3, 4);
    assert_eq!(icmp(&error)[4..8], [0, 0, 3, 0xe8]);
    assert_eq!(router.run(&with_df(native_v4(1000))).one().len(), 1000);
    let done = router.run(&native_v4(1001));
    assert_eq!((done.outcome, done.out.len()), (Outcome::Native, 2));
    done.out.iter().for_each(|piece| assert_checksums(piece));
    let error = router.run(&native_v6(1401)).answered("packet_too_big", 2, 0);
    assert_eq!(icmp(&error)[4..8], 1400_u32.to_be_bytes());
    assert_eq!(router.run(&native_v6(1400)).one().len(), 1400);
}

#[test]
fn routes_are_answered_as_they_say() {
    for (action, v4, v6) in [
        (None, Some(("no_route", 3, 0)), Some(("no_route", 1, 0))),
        (
            Some(RouteAction::Unreachable),
            Some(("route_unreachable", 3, 1)),
            Some(("route_unreachable", 1, 0)),
        ),
        (Some(RouteAction::Prohibit), Some(("route_prohibited", 3, 13)), Some(("route_prohibited", 1, 1))),
        (Some(RouteAction::Blackhole), None, None),
    ] {
        let mut router = Lab::default().router(|routing| {
            let defaults = routing.routes.extract_if(.., |route| route.destination.prefix_len() == 0);
            let defaults: Vec<_> = defaults.collect();
            // Enough to reach the senders.
            for (mut route, sender) in defaults.into_iter().zip(["203.0.113.0/24", "2001:db8:ca7::/48"]) {
                if let Some(action) = &action {
                    let mut special = route.clone();
                    special.action = action.clone();
                    routing.routes.push(special);
                }
                route.destination = sender.parse().unwrap();
                routing.routes.push(route);
            }
        });
        for (packet, expected) in [(native_v4(60), v4), (native_v6(60), v6)] {
            let done = router.run(&packet);
            match expected {
                Some((reason, kind, code)) => drop(done.answered(reason, kind, code)),
                None => done.silent("route_blackhole"),
            }
        }
    }
}

#[test]
fn what_needs_no_translation_is_left_to_the_kernel_where_it_is_to_be() {
    let mut lab = Lab::default();
    lab.settings.forward_native = false;
    let mut router = lab.router(|_| ());
    for packet in [native_v4(60), native_v6(60), with_ttl(native_v4(60), 1), native_v6(1400)] {
        assert_eq!(router.run(&packet).outcome, Outcome::Punted("native_not_forwarded"));
    }
    assert_eq!(router.sink.counts.event(Event::Native), 0);
    let packet = udp_v4(CLIENT, SERVICE, &payload(9));
    assert_eq!(router.run(&packet).outcome, Outcome::Translated, "the relay's own business");
}

#[test]
fn a_dead_next_hop_is_reported() {
    let mut router = Lab::default().router(|routing| {
        let dead = |address: &str| dataplane::table::routing::Neighbor {
            interface: dataplane::table::routing::InterfaceId(u16::from(address.contains(':'))),
            address: address.parse().unwrap(),
            state: NeighborState::Failed,
        };
        for (address, via) in [(ELSEWHERE_V4, 0), (ELSEWHERE_V6, 1)] {
            routing.neighbors.push(dead(address));
            let host: std::net::IpAddr = address.parse().unwrap();
            routing.routes.push(dataplane::table::routing::Route {
                destination: host.into(),
                action: RouteAction::Via(vec![dataplane::table::routing::Hop {
                    interface: dataplane::table::routing::InterfaceId(via),
                    gateway: None,
                    weight: 1,
                }]),
                mtu: None,
            });
        }
    });
    router.run(&native_v4(60)).answered("next_hop_unreachable", 3, 1);
    router.run(&native_v6(60)).answered("next_hop_unreachable", 1, 3);
}

#[test]
fn a_service_pool_is_never_routed_natively() {
    let mut router = Lab::default().router(|_| ());
    router.run(&udp_v4(CLIENT, "192.0.2.99", &[1])).answered("unassigned_service_address", 3, 1);
}

#[test]
fn native_ipv6_to_a_mapped_host_is_not_intercepted() {
    let mut router = Lab::default().router(|_| ());
    let packet = udp_v6(UNMAPPED, HOST, &payload(9));
    let done = router.run(&packet);
    assert_eq!(done.outcome, Outcome::Native);
    assert_eq!(done.one(), with_hop_limit(packet, 63));
}
