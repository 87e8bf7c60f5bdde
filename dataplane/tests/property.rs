//! The properties of `oracle`, for random inputs. The fuzzer in `dataplane/fuzz` checks the same, for longer.

mod oracle;

use std::net::{IpAddr, Ipv4Addr};

use oracle::naive::{Fragment, Ip};
use oracle::packet::{emit, fix_transport_checksum};
use oracle::world::World;
use proptest::prelude::*;

fn judge(judgement: oracle::Judgement) -> Result<(), TestCaseError> {
    judgement.map_err(TestCaseError::fail)
}

/// Choices for one packet, the first byte of which says how it is made: golden or built.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let world = proptest::collection::vec(any::<u8>(), oracle::world::BYTES);
    let packet = proptest::collection::vec(any::<u8>(), 0..160);
    (world, packet).prop_map(|(world, packet)| [world, packet].concat())
}

/// More cases than usual, for each is cheap; `PROPTEST_CASES` overrules. What fails once goes to `fuzz_regression.rs`.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if is_set { default.cases } else { 4000 };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

/// A packet about as long as IPv4 allows, whole or the last fragment of one, towards a mapped host or from it.
fn longest(world: &World, family: u8, protocol: u8, length: usize, offset: Option<usize>) -> Vec<u8> {
    let (client, host) = (Ipv4Addr::new(203, 0, 113, 50), Ipv4Addr::new(192, 0, 2, 1));
    let (source, destination): (IpAddr, IpAddr) = match family {
        4 => (client.into(), host.into()),
        _ => (world.to_v6(host).into(), world.embed(client).into()),
    };
    let headers = match (family, offset) {
        (4, _) => 20,
        (_, None) => 40,
        _ => 48,
    };
    let mut payload = vec![0x5a; length - headers];
    match protocol {
        17 => {
            let length = u16::try_from(payload.len()).expect("at most 64 KiB").to_be_bytes();
            payload[4..8].copy_from_slice(&[length[0], length[1], 1, 1]);
        }
        6 => payload[12] = 0x50,
        _ => payload[..2].copy_from_slice(if family == 4 { &[8, 0] } else { &[128, 0] }),
    }
    let ip = Ip {
        family,
        tos: 0,
        flow_label: 0,
        length: 0,
        ttl: 64,
        source,
        destination,
        protocol,
        fragment: offset.map(|offset| Fragment { offset, more: false, id: 7 }),
        dont_fragment: false,
        id: 1,
        headers: 0,
        extras: false,
        payload,
    };
    let mut packet = emit(&ip, &[]);
    fix_transport_checksum(&mut packet);
    packet
}

proptest! {
    #![proptest_config(ProptestConfig { cases: config().cases / 4, ..config() })]

    #[test]
    fn packets_of_64_kib(
        world in proptest::collection::vec(any::<u8>(), oracle::world::BYTES),
        links in 0..4_usize,
        length in 65_440..=65_535_usize,
        protocol in 0..3_usize,
        is_fragment: bool,
        is_ipv6: bool,
    ) {
        let mut world = World::from_bytes(&world);
        (world.mtu4, world.mtu6) = [(65_535, 65_535), (65_535, 1500), (1500, 65_535), (1500, 1280)][links];
        let (family, icmp) = if is_ipv6 { (6, 58) } else { (4, 1) };
        let protocol = [17, 6, icmp][protocol];
        judge(oracle::check(&world, &[longest(&world, family, protocol, length, None)]))?;
        if is_fragment {
            // The same end, reached by a last fragment.
            let end = 65_528 - 1480;
            let fragment = longest(&world, family, protocol, length - end, Some(end));
            judge(oracle::check(&world, &[fragment]))?;
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn packets_from_ipv4(input in input()) {
        judge(oracle::packet(&input, 4))?;
    }

    #[test]
    fn packets_from_ipv6(input in input()) {
        judge(oracle::packet(&input, 6))?;
    }

    #[test]
    fn frames_on_both_ports(input in input()) {
        judge(oracle::frame(&input))?;
    }
}

#[test]
fn golden_packets_in_their_own_world() {
    for golden in [4, 6].into_iter().flat_map(oracle::golden::of_family) {
        if let Err(why) = oracle::check(&golden.world, std::slice::from_ref(&golden.packet)) {
            panic!("{}: {why}", golden.name);
        }
    }
}
