//! What the fuzzer once found, each with a sentence.

#![allow(clippy::unwrap_used, reason = "a wrong fixture shall stop the test")]

mod oracle;

use std::net::IpAddr;

use dataplane::table::fib::Fib;
use dataplane::table::routing::{Hop, InterfaceId, Route, RouteAction};
use oracle::naive::{Ip, Reading};
use oracle::packet::emit;
use oracle::world::World;

/// A UDP packet from a client to a mapped host, with DF.
fn large_udp(length: usize) -> Vec<u8> {
    let ip = Ip {
        family: 4,
        tos: 0,
        flow_label: 0,
        length: 0,
        ttl: 64,
        source: "203.0.113.50".parse().unwrap(),
        destination: "192.0.2.1".parse().unwrap(),
        protocol: 17,
        fragment: None,
        dont_fragment: true,
        id: 1,
        headers: 0,
        extras: false,
        payload: vec![0xab; length - 20],
    };
    emit(&ip, &[])
}

/// An ICMPv4 error quoted up to 576 bytes even when the link it left by carried less, and was lost there.
#[test]
fn an_icmpv4_error_fits_a_link_smaller_than_576_bytes() {
    let mut world = World::from_bytes(&[]);
    (world.mtu4, world.mtu6) = (296, 1280);
    let packet = large_udp(1400);
    let run = oracle::relay::Relay::new(&world).run(&packet);
    assert_eq!(Ip::read(&run.out[0], Reading::Sent { fragment: false }).unwrap().length, 296);
    oracle::check(&world, &[packet]).unwrap();
}

/// A route with an MTU below the IP minimum, which the kernel accepts, made the size of an error's MTU underflow.
#[test]
fn a_route_mtu_below_the_minimum_is_the_minimum() {
    let world = World::from_bytes(&[]);
    let route = |destination: &str, interface| Route {
        destination: destination.parse().unwrap(),
        action: RouteAction::Via(vec![Hop { interface: InterfaceId(interface), gateway: None, weight: 1 }]),
        mtu: Some(20),
    };
    let routes = [route("2001:db8:12::/48", 1), route("203.0.113.0/24", 0)];
    let fib = Fib::build(&oracle::relay::routing(&world, &routes));
    let mtu = |address: &str| fib.lookup(address.parse::<IpAddr>().unwrap(), || 0).mtu();
    assert_eq!(mtu("2001:db8:12:34::1"), Some(1280));
    assert_eq!(mtu("203.0.113.50"), Some(68));
}

/// The padding behind a quoted fragment without a byte of payload was read as its payload: by the oracle, of what the relay had
/// written rightly, and by the relay, of what comes from IPv6.
#[test]
fn an_empty_fragment_is_quoted_as_one() {
    let world = World::from_bytes(&[]);
    let mut quote =
        emit(&Ip { payload: Vec::new(), ..Ip::read(&large_udp(28), Reading::Received).unwrap() }, &[]);
    quote[6..8].copy_from_slice(&[0x3f, 0xff]);
    quote.resize(128, 0);
    let error = Ip {
        protocol: 1,
        source: "198.51.100.9".parse().unwrap(),
        destination: "192.0.2.1".parse().unwrap(),
        payload: [&[11, 0, 0, 0, 0, 32, 0, 0][..], &quote, &[0x20, 0, 0xde, 0xfa, 0, 4, 1, 1]].concat(),
        ..Ip::read(&large_udp(28), Reading::Received).unwrap()
    };
    oracle::check(&world, &[emit(&error, &[])]).unwrap();
}
