//! What every router owes: validation, whose packet it is, TTL, options, and the errors it may send.

use std::net::IpAddr;

use dataplane::counters::Event;
use dataplane::offline::Outcome;
use dataplane::table::routing::{NeighborState, RouteAction, Routing};
use dataplane::table::translation::IcmpErrors;
use dataplane::testing::{fix_checksum_v4, ipv4_with_options};
use dataplane::verdict::DropReason;

use super::lab::*;

#[test]
fn the_boxs_own_addresses_are_the_kernels_whatever_the_ttl() {
    for ttl in [0, 1, 2, 64] {
        let to_us = with_ttl(udp_v4(CLIENT, &OWN_V4.to_string(), &[1; 4]), ttl);
        assert_eq!(Lab::default().run(&to_us).outcome, Outcome::Punted("local_address"), "{ttl}");
        let to_us = with_hop_limit(udp_v6(HOST, &OWN_V6.to_string(), &[1; 4]), ttl);
        assert_eq!(Lab::default().run(&to_us).outcome, Outcome::Punted("local_address"), "{ttl}");
    }
    // Even an own address that an EAM covers.
    let mut lab = Lab::default();
    lab.eams.push(("198.51.100.254/32", "2001:db8:12:34::9/128"));
    let to_us = udp_v4(CLIENT, &OWN_V4.to_string(), &[1; 4]);
    assert_eq!(lab.run(&to_us).outcome, Outcome::Punted("local_address"));
}

#[test]
fn multicast_is_never_translated() {
    let lab = Lab { translatable_pools: vec!["0.0.0.0/0"], ..Lab::default() };
    for group in ["224.0.0.1", "224.0.0.5", "239.1.2.3", "169.254.1.1"] {
        let hello = with_ttl(ipv4(CLIENT, group, 89, &[2; 44]), 1);
        let done = lab.run(&hello);
        assert_eq!((done.outcome, done.out.len()), (Outcome::Punted("local_scope"), 0), "{group}");
    }
    for group in ["ff02::1", "ff02::1:ff00:1", "ff05::2", "fe80::1"] {
        let solicitation = icmp_v6(HOST, group, 135, 0, [0; 4], &[0; 16]);
        let done = lab.run(&solicitation);
        assert_eq!((done.outcome, done.out.len()), (Outcome::Punted("local_scope"), 0), "{group}");
    }
}

#[test]
fn one_hop_is_taken_off() {
    for ttl in [2, 3, 64, 255] {
        let out = Lab::default().run(&with_ttl(sized_v4(100), ttl)).translated();
        assert_eq!(out[7], ttl - 1);
        let out = Lab::default().run(&with_hop_limit(sized_v6(100), ttl)).translated();
        assert_eq!(out[8], ttl - 1);
    }
}

#[test]
fn expired_packets_are_answered_with_time_exceeded() {
    for ttl in [0, 1] {
        let expired = with_ttl(sized_v4(100), ttl);
        let error = Lab::default().run(&expired).answered("hop_limit_exceeded", 11, 0);
        assert_eq!((source_v4(&error), destination_v4(&error)), (OWN_V4, CLIENT.parse().unwrap()));
        assert_eq!(error[28..], expired, "quoted as received");
        let expired = with_hop_limit(sized_v6(100), ttl);
        let error = Lab::default().run(&expired).answered("hop_limit_exceeded", 3, 0);
        assert_eq!((source_v6(&error), destination_v6(&error)), (OWN_V6, HOST.parse().unwrap()));
        assert_eq!(error[48..], expired, "quoted as received");
    }
}

#[test]
fn tos_and_traffic_class_are_copied_with_all_bits_or_fixed() {
    let fixed = Lab::with(|settings| {
        settings.traffic_class = Some(0x2e);
        settings.type_of_service = Some(0x88);
    });
    for class in 0..=255_u8 {
        let mut packet = sized_v4(60);
        packet[1] = class;
        fix_checksum_v4(&mut packet);
        let of = |out: &[u8]| out[0] << 4 | out[1] >> 4;
        assert_eq!(of(&Lab::default().run(&packet).translated()), class);
        assert_eq!(of(&fixed.run(&packet).translated()), 0x2e);
        let mut packet = sized_v6(60);
        packet[0] |= class >> 4;
        // With a flow label, which is lost.
        packet[1..4].copy_from_slice(&[class << 4 | 0xa, 0xbc, 0xde]);
        assert_eq!(Lab::default().run(&packet).translated()[1], class);
        assert_eq!(fixed.run(&packet).translated()[1], 0x88);
    }
}

#[test]
fn headers_that_fail_validation_are_dropped_and_counted() {
    let good = sized_v4(60);
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut packet = good.clone();
        change(&mut packet);
        fix_checksum_v4(&mut packet);
        packet
    };
    for (packet, reason) in [
        (good[..19].to_vec(), "ipv4_header_invalid"),
        (changed(|packet| packet[0] = 0x44), "ipv4_header_invalid"),
        (changed(|packet| packet[0] = 0x55), "ipv4_header_invalid"),
        (changed(|packet| packet[3] = 19), "ipv4_truncated"),
        (changed(|packet| packet[3] += 1), "ipv4_truncated"),
        (changed(|packet| packet.truncate(59)), "ipv4_truncated"),
    ] {
        let mut relay = Lab::default().relay();
        relay.run(&packet).silent(reason);
        assert_eq!(relay.counts().all_dropped(), 1);
    }
    let mut wrong = good.clone();
    wrong[10] ^= 0x10;
    Lab::default().run(&wrong).silent("ipv4_header_checksum");
    let good = sized_v6(60);
    Lab::default().run(&good[..39]).silent("ipv6_header_invalid");
    Lab::default().run(&good[..59]).silent("ipv6_truncated");
}

#[test]
fn link_padding_is_cut_in_both_directions() {
    for packet in [udp_v4(CLIENT, SERVICE, &[1, 2]), udp_v6(HOST, CLIENT_V6, &[1, 2])] {
        let whole = Lab::default().run(&packet).translated();
        let mut padded = packet;
        padded.extend([0xaa; 20]);
        let out = Lab::default().run(&padded).translated();
        // All but the identification and the header checksum over it.
        assert_eq!(out.len(), whole.len());
        assert_eq!(out[20..], whole[20..]);
    }
}

#[test]
fn illegal_sources_are_dropped_silently() {
    for source in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"] {
        let mut relay = Lab::default().relay();
        relay.run(&udp_v4(source, SERVICE, &[1; 4])).silent("illegal_source");
        relay.run(&with_ttl(udp_v4(source, SERVICE, &[1; 4]), 1)).silent("illegal_source");
        assert_eq!(relay.counts().dropped(DropReason::IllegalSource), 2);
    }
    for source in ["::", "::1", "ff02::1", "fe80::1", "::ffff:10.0.0.1"] {
        Lab::default().run(&udp_v6(source, CLIENT_V6, &[1; 4])).silent("illegal_source");
    }
    for embedded in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.1"] {
        let source = format!("2001:db8:46::{embedded}");
        Lab::default().run(&udp_v6(&source, CLIENT_V6, &[1; 4])).silent("illegal_source");
    }
}

#[test]
fn illegal_destinations_are_dropped_silently() {
    let lab = Lab { translatable_pools: vec!["0.0.0.0/0"], ..Lab::default() };
    for destination in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "240.0.0.1", "255.255.255.255"] {
        lab.run(&udp_v4(CLIENT, destination, &[1; 4])).silent("illegal_destination");
        let embedded = format!("2001:db8:46::{destination}");
        lab.run(&udp_v6(HOST, &embedded, &[1; 4])).silent("illegal_destination");
    }
    lab.run(&udp_v6(HOST, "2001:db8:46::224.0.0.1", &[1; 4])).silent("illegal_destination");
    for destination in ["::", "::1"] {
        lab.run(&udp_v6(HOST, destination, &[1; 4])).silent("illegal_destination");
    }
}

#[test]
fn frames_for_everybody_are_not_forwarded() {
    let mut router = Lab::default().router(|_| ());
    router.received(&sized_v4(60), true).silent("link_broadcast");
    router.received(&sized_v6(60), true).silent("link_broadcast");
    router.received(&with_ttl(sized_v4(60), 1), true).silent("link_broadcast");
    router.received(&udp_v4(CLIENT, "198.18.0.1", &[1; 4]), true).silent("link_broadcast");
    // What is for the box, or for every router, goes to the kernel all the same.
    let to_us = udp_v4(CLIENT, &OWN_V4.to_string(), &[1; 4]);
    assert_eq!(router.received(&to_us, true).outcome, Outcome::Punted("local_address"));
    let to_all = udp_v4(CLIENT, "255.255.255.255", &[1; 4]);
    assert_eq!(router.received(&to_all, true).outcome, Outcome::Punted("local_scope"));
}

// Options.

fn with_options(options: &[u8]) -> Vec<u8> {
    let plain = udp_v4(CLIENT, SERVICE, &[1, 2, 3, 4]);
    ipv4_with_options(CLIENT, SERVICE, 17, options, &plain[20..])
}

#[test]
fn options_are_removed() {
    let plain = Lab::default().run(&udp_v4(CLIENT, SERVICE, &[1, 2, 3, 4])).translated();
    let timestamp = [68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for options in [
        &[148, 4, 0, 0][..],
        &[1; 40],
        &[7, 7, 4, 0, 0, 0, 0, 0],
        &timestamp,
        &[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 0],
    ] {
        let out = Lab::default().run(&with_options(options)).translated();
        assert_eq!(out, plain, "{options:?}");
    }
}

#[test]
fn source_routes_are_refused_while_they_have_hops_left() {
    for kind in [131, 137] {
        for (options, refused) in [
            (vec![kind, 7, 4, 10, 0, 0, 1, 0], true),
            (vec![kind, 11, 8, 10, 0, 0, 1, 10, 0, 0, 2, 0], true),
            (vec![1, kind, 7, 4, 10, 0, 0, 1], true),
            (vec![7, 3, 4, 1, kind, 7, 4, 10, 0, 0, 1, 0], true),
            (vec![kind, 7, 8, 10, 0, 0, 1, 0], false),
            (vec![0, kind, 7, 4, 10, 0, 0, 1], false),
        ] {
            let packet = with_options(&options);
            let done = Lab::default().run(&packet);
            if refused {
                let error = done.answered("source_route", 3, 5);
                assert_eq!(error[28..], packet, "{options:?}");
            } else {
                assert_eq!(done.translated().len(), 52, "{options:?}");
            }
        }
    }
}

#[test]
fn options_that_cannot_be_walked_are_dropped() {
    for options in [[7, 0, 0, 0], [7, 1, 0, 0], [1, 1, 1, 7], [7, 5, 4, 0], [1, 1, 131, 9], [131, 2, 0, 0]] {
        let done = Lab::default().run(&with_options(&options));
        // A source route too short for its pointer may as well be refused as one.
        if options[0] != 131 {
            done.silent("ipv4_options_invalid");
        } else {
            assert!(!matches!(done.outcome, Outcome::Translated), "{done:02x?}");
        }
    }
}

// The errors of the box.

#[test]
fn own_errors_are_new_packets() {
    let expired = with_ttl(sized_v4(1500), 1);
    let error = Lab::default().run(&expired).answered("hop_limit_exceeded", 11, 0);
    assert_eq!((error.len(), error[8], error[1] & 0xe0), (576, 64, 0xc0), "size, TTL, precedence");
    assert_eq!(error[28..], expired[..548]);
    let expired = with_hop_limit(sized_v6(1500), 1);
    let error = Lab::default().run(&expired).answered("hop_limit_exceeded", 3, 0);
    assert_eq!((error.len(), error[7]), (1280, 64), "size, hop limit");
    assert_eq!(error[48..], expired[..1232]);
    let short = with_ttl(udp_v4(CLIENT, SERVICE, &[]), 1);
    assert_eq!(Lab::default().run(&short).answered("hop_limit_exceeded", 11, 0)[28..], short);
}

#[test]
fn no_icmpv4_error_where_none_may_be_sent() {
    let expired = |packet: Vec<u8>| with_ttl(packet, 1);
    let quoted = udp_v4(SERVICE, CLIENT, &[1; 8]);
    for kind in [3, 4, 5, 11, 12] {
        let error = icmp_v4(CLIENT, SERVICE, kind, 0, [0; 4], &quoted);
        let mut relay = Lab::default().relay();
        let done = relay.run(&expired(error));
        assert!(matches!(done.outcome, Outcome::Dropped(_)) && done.out.is_empty(), "{kind}: {done:?}");
    }
    let mut relay = Lab::default().relay();
    relay.run(&expired(with_fragment(sized_v4(60), false, true, 3))).silent("hop_limit_exceeded");
    relay.run(&expired(with_fragment(sized_v4(60), false, false, 3))).silent("hop_limit_exceeded");
    assert_eq!(relay.counts().event(Event::IcmpErrorsForbidden), 2);
    // A first fragment and a query are answered.
    let first = with_fragment(sized_v4(60), false, true, 0);
    relay.run(&expired(first)).answered("hop_limit_exceeded", 11, 0);
    relay.run(&expired(icmp_v4(CLIENT, SERVICE, 8, 0, [0; 4], &[1]))).answered("hop_limit_exceeded", 11, 0);
    assert_eq!(relay.counts().event(Event::OriginatedIcmpErrors), 2);
}

#[test]
fn what_is_dropped_without_a_word_is_so_at_ttl_1() {
    for ttl in [1, 64] {
        let igmp = ipv4(CLIENT, SERVICE, 2, &[0x16, 0, 0, 0, 224, 0, 0, 251]);
        Lab::default().run(&with_ttl(igmp, ttl)).silent("icmp_untranslatable");
        for kind in [9, 10, 13, 17, 42] {
            let message = icmp_v4(CLIENT, SERVICE, kind, 0, [0; 4], &[1; 12]);
            Lab::default().run(&with_ttl(message, ttl)).silent("icmp_untranslatable");
        }
        for kind in [130, 131, 132, 133, 134, 135, 136, 137, 143, 160] {
            let message = icmp_v6(HOST, CLIENT_V6, kind, 0, [0; 4], &[1; 16]);
            Lab::default().run(&with_hop_limit(message, ttl)).silent("icmp_untranslatable");
        }
    }
}

#[test]
fn no_icmpv6_error_where_none_may_be_sent() {
    let expired = |packet: Vec<u8>| with_hop_limit(packet, 1);
    let quoted = udp_v6(CLIENT_V6, HOST, &[1; 8]);
    let mut relay = Lab::default().relay();
    for kind in [1, 2, 3, 4, 100, 127] {
        let error = icmp_v6(HOST, CLIENT_V6, kind, 0, [0; 4], &quoted);
        relay.run(&expired(error)).silent("hop_limit_exceeded");
    }
    assert_eq!(relay.counts().event(Event::IcmpErrorsForbidden), 6);
    // Later fragments and queries are answered.
    let later = fragment_v6(HOST, CLIENT_V6, 17, 5, false, &[1; 16]);
    relay.run(&expired(later)).answered("hop_limit_exceeded", 3, 0);
    let echo = icmp_v6(HOST, CLIENT_V6, 128, 0, [0; 4], &[1]);
    relay.run(&expired(echo)).answered("hop_limit_exceeded", 3, 0);
    // "Prohibited" is sent about no ICMPv6 message at all, and about anything else.
    let echo = icmp_v6(UNMAPPED, CLIENT_V6, 128, 0, [0; 4], &[1]);
    relay.run(&echo).silent("source_not_mapped");
    relay.run(&udp_v6(UNMAPPED, CLIENT_V6, &[1])).answered("source_not_mapped", 1, 1);
    let later = fragment_v6(UNMAPPED, CLIENT_V6, 17, 5, false, &[1; 16]);
    relay.run(&later).answered("source_not_mapped", 1, 1);
}

#[test]
fn errors_can_be_sent_limited_or_off() {
    let expired = with_ttl(sized_v4(60), 1);
    let off = Lab::with(|settings| settings.icmp_errors = IcmpErrors::Off);
    let mut relay = off.relay();
    relay.run(&expired).silent("hop_limit_exceeded");
    relay.run(&with_hop_limit(sized_v6(60), 1)).silent("hop_limit_exceeded");
    relay.run(&with_df(sized_v4(1500))).silent("packet_too_big");
    assert_eq!(relay.counts().event(Event::IcmpErrorsOff), 3);

    let mut router = Lab::with(|settings| settings.icmp_errors = IcmpErrors::Limit(5)).router(|_| ());
    let answered = |router: &mut Router| (0..20).filter(|_| !router.run(&expired).out.is_empty()).count();
    assert_eq!(answered(&mut router), 3, "a burst: two thirds of what is not kept for packet too big");
    assert_eq!(router.sink.counts.event(Event::IcmpErrorsRateLimited), 17);
    assert_eq!(router.sink.counts.dropped(DropReason::HopLimitExceeded), 20);
    router.lcore.icmp_errors.as_mut().unwrap().refill(1_000_000);
    assert_eq!(answered(&mut router), 3, "another, a while later");
    router.run(&with_hop_limit(sized_v6(60), 1)).silent("hop_limit_exceeded");
}

#[test]
fn path_mtu_discovery_goes_on_whatever_expires() {
    let mut router = Lab::with(|settings| settings.icmp_errors = IcmpErrors::Limit(1000)).router(|_| ());
    let (expired_v4, expired_v6) = (with_ttl(sized_v4(60), 1), with_hop_limit(sized_v6(60), 1));
    for _ in 0..1200 {
        router.run(&expired_v4);
        router.run(&expired_v6);
    }
    assert!(router.sink.counts.event(Event::IcmpErrorsRateLimited) > 1000);
    router.run(&with_df(sized_v4(1500))).answered("packet_too_big", 3, 4);
    let mut large = Lab { ipv4_mtu: 1300, ..Lab::default() }.router(|_| ());
    for _ in 0..1200 {
        large.run(&expired_v6);
    }
    large.run(&sized_v6(1500)).answered("packet_too_big", 2, 0);
}

#[test]
fn errors_in_transit_are_not_limited() {
    let mut router = Lab::with(|settings| settings.icmp_errors = IcmpErrors::Limit(1)).router(|_| ());
    let about = udp_v4(SERVICE, CLIENT, &[1; 8]);
    let error = error_about_v4(CLIENT, 3, 3, [0; 4], &about);
    for _ in 0..100 {
        router.run(&error).translated();
    }
    assert_eq!(router.sink.counts.event(Event::IcmpErrorsRateLimited), 0);
    assert_eq!(router.sink.counts.event(Event::TranslatedIcmpErrors), 100);
}

// Routes.

fn without_default(routing: &mut Routing, is_ipv6: bool) {
    routing
        .routes
        .retain(|route| route.destination.prefix_len() != 0 || is_ipv6 == route.destination.addr().is_ipv4());
}

fn set_default(routing: &mut Routing, is_ipv6: bool, action: &RouteAction) {
    for route in &mut routing.routes {
        if route.destination.prefix_len() == 0 && route.destination.addr().is_ipv6() == is_ipv6 {
            route.action = action.clone();
        }
    }
}

#[test]
fn a_missing_route_is_answered_in_the_senders_family() {
    // The IPv4 client hears from the box's own IPv4 address.
    let mut router = Lab::default().router(|routing| without_default(routing, true));
    let error = router.run(&sized_v4(60)).answered("no_route", 3, 1);
    assert_eq!((source_v4(&error), destination_v4(&error)), (OWN_V4, CLIENT.parse().unwrap()));
    let mut router = Lab::default().router(|routing| without_default(routing, false));
    let error = router.run(&sized_v6(60)).answered("no_route", 1, 0);
    assert_eq!((source_v6(&error), destination_v6(&error)), (OWN_V6, HOST.parse().unwrap()));
}

#[test]
fn a_next_hop_that_does_not_answer_is_reported() {
    let mut router = Lab::default().router(|routing| routing.neighbors[1].state = NeighborState::Failed);
    router.run(&sized_v4(60)).answered("next_hop_unreachable", 3, 1);
    let mut router = Lab::default().router(|routing| routing.neighbors[0].state = NeighborState::Failed);
    router.run(&sized_v6(60)).answered("next_hop_unreachable", 1, 3);
}

#[test]
fn special_routes_are_answered_as_they_say() {
    for (action, reason, v4, v6) in [
        (RouteAction::Unreachable, "route_unreachable", Some((3, 1)), Some((1, 0))),
        (RouteAction::Prohibit, "route_prohibited", Some((3, 13)), Some((1, 1))),
        (RouteAction::Blackhole, "route_blackhole", None, None),
    ] {
        for (is_ipv6, packet, answer) in [(true, sized_v4(60), v4), (false, sized_v6(60), v6)] {
            let mut router = Lab::default().router(|routing| set_default(routing, is_ipv6, &action));
            let done = router.run(&packet);
            match answer {
                Some((kind, code)) => drop(done.answered(reason, kind, code)),
                None => done.silent(reason),
            }
        }
    }
}

#[test]
fn an_error_that_cannot_be_sent_is_counted() {
    let mut router = Lab::default().router(|routing| without_default(routing, false));
    router.run(&with_ttl(sized_v4(60), 1)).silent("hop_limit_exceeded");
    assert_eq!(router.sink.counts.event(Event::IcmpErrorsUnsendable), 1);
    let mut router = Lab::default().router(|routing| {
        for interface in &mut routing.interfaces {
            interface.ipv4_source = None;
        }
    });
    router.run(&with_ttl(sized_v4(60), 1)).silent("hop_limit_exceeded");
    assert_eq!(router.sink.counts.event(Event::IcmpErrorsUnsendable), 1);
}

#[test]
fn the_box_itself_is_no_translated_destination() {
    let mut lab = Lab::default();
    lab.eams.push(("192.0.2.9/32", "2001:db8:ffff::1/128"));
    assert_eq!("2001:db8:ffff::1".parse(), Ok(IpAddr::V6(OWN_V6)));
    lab.run(&udp_v4(CLIENT, "192.0.2.9", &[1; 4])).answered("destination_is_local", 3, 1);
    let own = format!("2001:db8:46::{OWN_V4}");
    lab.run(&udp_v6(HOST, &own, &[1; 4])).answered("destination_is_local", 1, 0);
}

// A host without a mapping, and an address without a host.

#[test]
fn a_source_without_a_mapping_is_told() {
    let mut relay = Lab::default().relay();
    let packet = udp_v6(UNMAPPED, CLIENT_V6, &[1; 4]);
    let error = relay.run(&packet).answered("source_not_mapped", 1, 1);
    assert_eq!(destination_v6(&error), UNMAPPED.parse::<std::net::Ipv6Addr>().unwrap());
    assert_eq!(relay.counts().dropped(DropReason::SourceNotMapped), 1);
}

#[test]
fn a_service_address_without_an_eam_is_unreachable_and_never_loops() {
    let mut relay = Lab::default().relay();
    relay.run(&udp_v4(CLIENT, "192.0.2.99", &[1; 4])).answered("unassigned_service_address", 3, 1);
    assert_eq!(relay.counts().dropped(DropReason::UnassignedServiceAddress), 1);
}

#[test]
fn the_first_and_the_last_address_of_a_pool_are_ordinary() {
    let mut lab = Lab::default();
    lab.eams.push(("192.0.2.0/32", "2001:db8:12:34::a0/128"));
    lab.eams.push(("192.0.2.255/32", "2001:db8:12:34::aff/128"));
    for (ipv4, ipv6) in [("192.0.2.0", "2001:db8:12:34::a0"), ("192.0.2.255", "2001:db8:12:34::aff")] {
        let out = lab.run(&udp_v4(CLIENT, ipv4, &[1; 4])).translated();
        assert_eq!(destination_v6(&out).to_string(), ipv6);
        let out = lab.run(&udp_v6(ipv6, CLIENT_V6, &[1; 4])).translated();
        assert_eq!(source_v4(&out).to_string(), ipv4);
    }
}
