//! Transport checksums, UDP without one, protocols nobody looks into, and extension headers.

use dataplane::offline::Outcome;
use dataplane::table::translation::UdpZeroChecksum;
use dataplane::testing::fix_length_v6;
use dataplane::verdict::DropReason;
use proptest::prelude::*;

use super::lab::*;

proptest! {
    #[test]
    fn checksums_are_right_for_any_addresses_and_payload(
        client: u32, data in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let client = std::net::Ipv4Addr::from_bits(client & 0x3fff_ffff | 0x4000_0000);
        prop_assume!(!client.is_loopback() && !client.is_private() && !client.is_link_local());
        let lab = Lab::default();
        let (v4, v6) = (client.to_string(), format!("2001:db8:46::{client}"));
        lab.run(&udp_v4(&v4, SERVICE, &data)).translated();
        lab.run(&tcp_v4(&v4, SERVICE, &SYN, &data)).translated();
        lab.run(&icmp_v4(&v4, SERVICE, 8, 0, [1, 2, 3, 4], &data)).translated();
        lab.run(&udp_v6(HOST, &v6, &data)).translated();
        lab.run(&icmp_v6(HOST, &v6, 129, 0, [1, 2, 3, 4], &data)).translated();
    }
}

#[test]
fn a_udp_checksum_never_becomes_zero() {
    // Two bytes of payload run through every sum, so the result passes zero on its way.
    let (mut to_v6, mut to_v4) = (0, 0);
    let mut relay = Lab::default().relay();
    for word in 0..=u16::MAX {
        let out = relay.run(&udp_v4(CLIENT, SERVICE, &word.to_be_bytes())).one();
        assert_ne!(out[46..48], [0, 0]);
        to_v6 += usize::from(out[46..48] == [0xff, 0xff]);
        let out = relay.run(&udp_v6(HOST, CLIENT_V6, &word.to_be_bytes())).one();
        assert_ne!(out[26..28], [0, 0]);
        to_v4 += usize::from(out[26..28] == [0xff, 0xff]);
    }
    assert!(to_v6 > 0 && to_v4 > 0, "a sum of zero was among them");
}

#[test]
fn wrong_transport_checksums_stay_wrong() {
    let mut packet = tcp_v4(CLIENT, SERVICE, &SYN, &payload(40));
    packet[36] ^= 0x40;
    let out = Lab::default().run(&packet).one();
    let mut bytes = out[8..40].to_vec();
    bytes.extend([0, 0, out[4], out[5], 0, 0, 0, 6]);
    bytes.extend(&out[40..]);
    assert_ne!(sum(&bytes), 0xffff);
}

// UDP without a checksum.

fn without_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    packet[26..28].fill(0);
    packet
}

#[test]
fn udp_without_checksum_follows_the_policy() {
    let packet = without_checksum(sized_v4(101));
    let policy = |policy| Lab::with(|settings| settings.udp_zero_checksum = policy);

    let mut relay = policy(UdpZeroChecksum::Drop).relay();
    let done = relay.run(&packet);
    assert!(done.out.is_empty() && done.outcome == Outcome::Dropped(DropReason::UdpZeroChecksum), "{done:?}");
    assert_eq!(relay.counts().dropped(DropReason::UdpZeroChecksum), 1);

    let out = policy(UdpZeroChecksum::Compute).run(&packet).translated();
    assert_ne!(out[46..48], [0, 0]);
    assert_eq!(out, policy(UdpZeroChecksum::Drop).run(&sized_v4(101)).translated(), "as if it had had one");

    let out = policy(UdpZeroChecksum::Forward).run(&packet).translated();
    assert_eq!(out[46..48], [0, 0]);
}

#[test]
fn a_computed_checksum_covers_what_the_udp_length_says() {
    let lab = Lab::with(|settings| settings.udp_zero_checksum = UdpZeroChecksum::Compute);
    for length in [7_u16, 74] {
        let mut packet = without_checksum(sized_v4(20 + 73));
        packet[24..26].copy_from_slice(&length.to_be_bytes());
        lab.run(&packet).silent("transport_truncated");
    }
    let mut packet = without_checksum(sized_v4(20 + 73));
    packet[24..26].copy_from_slice(&60_u16.to_be_bytes());
    let out = lab.run(&packet).one();
    let mut bytes = out[8..40].to_vec();
    bytes.extend([0, 0, 0, 60, 0, 0, 0, 17]);
    bytes.extend(&out[40..100]);
    assert_eq!(sum(&bytes), 0xffff);
}

#[test]
fn fragments_of_udp_without_checksum() {
    for (policy, passes) in
        [(UdpZeroChecksum::Drop, false), (UdpZeroChecksum::Compute, false), (UdpZeroChecksum::Forward, true)]
    {
        let lab = Lab::with(|settings| settings.udp_zero_checksum = policy);
        let first = with_fragment(without_checksum(sized_v4(60)), false, true, 0);
        let done = lab.run(&first);
        match passes {
            true => assert_eq!(done.one()[54..56], [0, 0]),
            false => done.silent("udp_zero_checksum"),
        }
        // Zeros in a later fragment are no checksum.
        let later = with_fragment(without_checksum(sized_v4(60)), false, false, 5);
        assert_eq!(lab.run(&later).one()[48..], later[20..]);
    }
}

#[test]
fn udp_without_checksum_from_ipv6_is_not_given_a_wrong_one() {
    let mut packet = sized_v6(100);
    packet[46..48].fill(0);
    assert_eq!(Lab::default().run(&packet).translated()[26..28], [0, 0]);
}

// Other protocols.

#[test]
fn other_protocols_pass_untouched() {
    let data = payload(77);
    for number in 0..=255_u8 {
        let packet = ipv4(CLIENT, SERVICE, number, &data);
        let done = Lab::default().run(&packet);
        match number {
            1 | 6 | 17 => {}
            2 => done.silent("icmp_untranslatable"),
            0 | 43 | 44 | 58 | 60 => done.silent("guarded_protocol"),
            _ => {
                let out = done.translated();
                assert_eq!((out[6], &out[40..]), (number, &data[..]));
            }
        }
        let packet = ipv6(HOST, CLIENT_V6, number, &data);
        let done = Lab::default().run(&packet);
        match number {
            0 | 6 | 17 | 43 | 44 | 58 | 60 => {}
            1 | 2 => done.silent("guarded_protocol"),
            _ => {
                let out = done.translated();
                assert_eq!((out[9], &out[20..]), (number, &data[..]));
            }
        }
    }
}

#[test]
fn without_the_guard_protocol_numbers_are_copied() {
    let lab = Lab::with(|settings| settings.guard_protocols = false);
    let data = payload(77);
    for number in [0, 43, 44, 58, 60] {
        let out = lab.run(&ipv4(CLIENT, SERVICE, number, &data)).one();
        assert_eq!((out[6], &out[40..]), (number, &data[..]));
    }
    let out = lab.run(&ipv6(HOST, CLIENT_V6, 1, &data)).one();
    assert_eq!((out[9], &out[20..]), (1, &data[..]));
}

#[test]
fn the_segment_size_of_tcp_is_not_touched() {
    let out = Lab::default().run(&tcp_v4(CLIENT, SERVICE, &SYN, &[])).translated();
    assert_eq!(out[60..64], [2, 4, 5, 0xb4]);
}

#[test]
fn neutral_prefixes_leave_the_transport_bytes_alone_and_eams_do_not() {
    let lab = Lab {
        prefixes: vec!["64:ff9b::/96"],
        eams: vec![("11.0.0.1/32", "2001:db8:12:34::1/128")],
        translatable_pools: vec!["9.0.0.0/8"],
        ..Lab::default()
    };
    let packet = udp_v4("8.8.8.8", "9.9.9.9", &payload(33));
    let out = lab.run(&packet).translated();
    assert_eq!(out[40..], packet[20..]);
    let packet = udp_v4("8.8.8.8", "11.0.0.1", &payload(33));
    let out = lab.run(&packet).translated();
    assert_ne!(out[46..48], packet[26..28]);
}

// Extension headers.

/// An extension header of `units` times 8 bytes before `next`.
fn extension(next: u8, units: u8, filling: u8) -> Vec<u8> {
    let mut header = vec![filling; 8 * usize::from(units)];
    header[..2].copy_from_slice(&[next, units - 1]);
    header
}

fn behind(first: u8, extensions: &[u8]) -> Vec<u8> {
    let udp = sized_v6(100);
    let mut packet = udp[..40].to_vec();
    packet[6] = first;
    packet.extend(extensions);
    packet.extend(&udp[40..]);
    fix_length_v6(&mut packet);
    packet
}

#[test]
fn extension_headers_are_skipped_whatever_is_in_them() {
    let plain = Lab::default().run(&sized_v6(100)).translated();
    // 0xc2 in a Hop-by-Hop option asks the router to discard and complain.
    for filling in [0, 1, 0xc2, 0xff] {
        for (number, units) in [(0, 1), (0, 4), (60, 1), (60, 32)] {
            let out = Lab::default().run(&behind(number, &extension(17, units, filling))).translated();
            assert_eq!((out.len(), &out[20..]), (plain.len(), &plain[20..]), "{number} {units} {filling:x}");
        }
    }
    let mut routing = extension(17, 3, 7);
    routing[3] = 0;
    assert_eq!(Lab::default().run(&behind(43, &routing)).translated()[20..], plain[20..]);
    let chain = [extension(60, 1, 0), extension(43, 2, 0), extension(60, 1, 0), extension(17, 1, 0)].concat();
    assert_eq!(Lab::default().run(&behind(0, &chain)).translated()[20..], plain[20..]);
}

#[test]
fn a_routing_header_with_segments_left_is_answered_with_its_place() {
    for kind in [0, 2, 3, 4, 253] {
        let mut routing = extension(17, 3, 0);
        routing[2..4].copy_from_slice(&[kind, 1]);
        let error = Lab::default().run(&behind(43, &routing)).answered("routing_header", 4, 0);
        assert_eq!(icmp(&error)[4..8], [0, 0, 0, 43]);
        let chain = [extension(43, 1, 0), routing].concat();
        let error = Lab::default().run(&behind(0, &chain)).answered("routing_header", 4, 0);
        assert_eq!(icmp(&error)[4..8], [0, 0, 0, 51]);
    }
}

#[test]
fn chains_that_lead_nowhere_are_dropped() {
    for units in 0..=255_u8 {
        for number in [0, 43, 60] {
            let mut packet = behind(number, &extension(17, 1, 0));
            packet[41] = units;
            let done = Lab::default().run(&packet);
            let fits = 8 * (usize::from(units) + 1) <= packet.len() - 40;
            if fits {
                assert!(!done.out.is_empty() || matches!(done.outcome, Outcome::Dropped(_)));
            } else {
                done.silent("ipv6_extension_invalid");
            }
        }
    }
    let many = vec![extension(60, 1, 0); 200].concat();
    Lab::default().run(&behind(60, &many)).silent("ipv6_extension_invalid");
    // The header chain ends with the packet.
    Lab::default().run(&ipv6(HOST, CLIENT_V6, 60, &[])).silent("ipv6_extension_invalid");
    Lab::default().run(&ipv6(HOST, CLIENT_V6, 44, &[17, 0, 0, 0])).silent("ipv6_extension_invalid");
}

#[test]
fn jumbograms_are_dropped() {
    // Payload Length 0, and a Hop-by-Hop header with a jumbo payload option behind it.
    let mut packet = behind(0, &[17, 0, 0xc2, 4, 0, 1, 0, 0]);
    packet[4..6].fill(0);
    Lab::default().run(&packet).silent("ipv6_truncated");
}
