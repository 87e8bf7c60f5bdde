//! Two mapped hosts that talk through their service addresses (RFC 7757 4.2).

use dataplane::counters::Event;
use dataplane::offline::Outcome;
use dataplane::table::translation::Hairpin;

use super::lab::*;

/// The other host's service address, seen from IPv6.
const B: &str = "2001:db8:46::192.0.2.2";
/// The first host's.
const A: &str = "2001:db8:46::192.0.2.1";

#[track_caller]
fn turned(done: Done) -> Vec<u8> {
    assert_eq!(done.outcome, Outcome::Hairpinned, "{done:02x?}");
    let packet = done.one();
    assert_checksums(&packet);
    packet
}

fn parse(text: &str) -> std::net::Ipv6Addr {
    text.parse().unwrap()
}

#[test]
fn a_packet_for_another_host_turns_round_and_keeps_its_service_source() {
    let mut relay = Lab::default().relay();
    let out = turned(relay.run(&udp_v6(HOST, B, &payload(33))));
    assert_eq!((source_v6(&out), destination_v6(&out)), (parse(A), parse(HOST_B)));
    assert_eq!(out[48..], payload(33));
    // The answer takes the same way back.
    let back = turned(relay.run(&udp_v6(HOST_B, A, &payload(33))));
    assert_eq!((source_v6(&back), destination_v6(&back)), (parse(B), parse(HOST)));
    let counts = relay.counts();
    assert_eq!(counts.event(Event::Hairpinned), 2);
    assert_eq!(counts.event(Event::TranslatedV6ToV4) + counts.event(Event::TranslatedV4ToV6), 0);
}

#[test]
fn hops_are_counted_once() {
    for hop_limit in [2, 64, 255] {
        let packet = with_hop_limit(udp_v6(HOST, B, &[1]), hop_limit);
        assert_eq!(turned(Lab::default().run(&packet))[7], hop_limit - 1);
    }
    let packet = with_hop_limit(udp_v6(HOST, B, &[1]), 1);
    let error = Lab::default().run(&packet).answered("hop_limit_exceeded", 3, 0);
    assert_eq!(destination_v6(&error), parse(HOST));
}

#[test]
fn ordinary_traffic_is_not_mapped_like_a_hairpin() {
    // In the first pass a source with an EAM is mapped by it; the second pass would not.
    let lab = Lab::with(|settings| settings.anti_spoof = false);
    let out = lab.run(&udp_v4(SERVICE, SERVICE_B, &[1])).translated();
    assert_eq!(source_v6(&out), parse(HOST));
}

#[test]
fn only_a_destination_by_prefix_with_an_eam_turns() {
    let out = Lab::default().run(&udp_v6(HOST, CLIENT_V6, &[1])).translated();
    assert_eq!(out[0] >> 4, 4, "no EAM");
    // The row for all of IPv4 makes no client a host.
    let lab = Lab {
        eams: vec![("0.0.0.0/0", "2001:db8:ff00::/40"), ("192.0.2.1/32", "2001:db8:12:34::1/128")],
        ..Lab::default()
    };
    let out = lab.run(&udp_v6(HOST, CLIENT_V6, &[1])).translated();
    assert_eq!(destination_v4(&out).to_string(), CLIENT);
    // A destination by EAM, inside the prefix, does not turn either.
    let mut lab = Lab::default();
    lab.eams.push(("192.0.2.7/32", "2001:db8:46::c000:299/128"));
    let out = lab.run(&udp_v6(HOST, "2001:db8:46::c000:299", &[1])).translated();
    assert_eq!(destination_v4(&out).to_string(), "192.0.2.7");
}

#[test]
fn without_the_feature_the_packet_leaves_as_ipv4() {
    for hairpin in [Hairpin::Off, Hairpin::Simple] {
        let out = Lab::with(|settings| settings.hairpin = hairpin).run(&udp_v6(HOST, B, &[1])).translated();
        assert_eq!(
            (source_v4(&out).to_string(), destination_v4(&out).to_string()),
            (SERVICE.to_owned(), SERVICE_B.to_owned())
        );
    }
}

#[test]
fn simple_hairpinning_maps_sources_by_prefix() {
    let lab = Lab::with(|settings| settings.hairpin = Hairpin::Simple);
    // Back from the IPv4 network, with anti_spoof on.
    let out = lab.run(&udp_v4(SERVICE, SERVICE_B, &[1])).translated();
    assert_eq!((source_v6(&out), destination_v6(&out)), (parse(A), parse(HOST_B)));
    // Errors: the quoted destination never by EAM; the outer source neither, if it is that destination.
    let quoted = udp_v4(SERVICE_B, SERVICE, &[1; 8]);
    let out = lab.run(&error_about_v4(SERVICE, 3, 3, [0; 4], &quoted)).translated();
    assert_eq!(source_v6(&out), parse(A));
    let inner = &icmp(&out)[8..];
    assert_eq!((address_v6(inner, 8), address_v6(inner, 24)), (parse(HOST_B), parse(A)));
    let mut other = lab;
    other.eams.push(("192.0.2.3/32", "2001:db8:12:34::3/128"));
    let out = other.run(&error_about_v4("192.0.2.3", 3, 3, [0; 4], &quoted)).translated();
    assert_eq!(source_v6(&out), parse("2001:db8:12:34::3"));
}

#[test]
fn an_address_of_the_prefix_that_a_row_covers_answers_and_is_named_in_errors() {
    // Policy keeps the prefix from standing for this address, but the row lets a packet to that very address pass.
    let address = "64:ff9b::192.0.2.64";
    let mut lab = Lab::with(|settings| {
        settings.hairpin = Hairpin::Simple;
        settings.wkp_strict = true;
        settings.anti_spoof = false;
    });
    lab.prefixes = vec!["64:ff9b::/96"];
    let rows = lab.eams.clone();
    lab.eams.push(("192.0.2.64/32", "64:ff9b::c000:240/128"));
    let sent = lab.run(&udp_v6(HOST, address, &[1; 8])).translated();
    assert_eq!(destination_v4(&sent).to_string(), "192.0.2.64");
    let error = error_about_v4("9.9.9.9", 11, 0, [0; 4], &sent);
    let out = lab.run(&error).translated();
    let inner = &icmp(&out)[8..];
    assert_eq!((address_v6(inner, 8), address_v6(inner, 24)), (parse(HOST), parse(address)));
    // The host itself speaks by the address it was spoken to.
    let answer = lab.run(&udp_v4("192.0.2.64", SERVICE, &[1; 8])).translated();
    assert_eq!(source_v6(&answer), parse(address));
    let own = lab.run(&error_about_v4("192.0.2.64", 3, 3, [0; 4], &sent)).translated();
    assert_eq!(source_v6(&own), parse(address));
    // Without the row no such packet has passed.
    lab.eams = rows;
    lab.run(&error).silent("icmp_inner_untranslatable");
}

/// What host B received when A sent to it: the packet that B's complaints quote.
fn received_by_b() -> Vec<u8> {
    turned(Lab::default().run(&udp_v6(HOST, B, &payload(33))))
}

#[test]
fn errors_about_a_hairpin_come_home_with_the_quote_their_receiver_sent() {
    let sent = udp_v6(HOST, B, &payload(33));
    let received = received_by_b();
    // From B itself, and from a router between the relay and B.
    for (from, seen_from) in [(HOST_B, parse(B)), (UNMAPPED, parse("2001:db8:46::198.51.100.1"))] {
        let out = turned(Lab::default().run(&error_about_v6(from, 1, 4, [0; 4], &received)));
        assert_eq!((source_v6(&out), destination_v6(&out)), (seen_from, parse(HOST)));
        let inner = &icmp(&out)[8..];
        assert_eq!((address_v6(inner, 8), address_v6(inner, 24)), (parse(HOST), parse(B)));
        assert_eq!(inner[40..], sent[40..], "checksum included");
    }
}

#[test]
fn a_forged_error_does_not_turn_round_to_wherever_it_points() {
    // It quotes a packet of A, and is addressed to somebody else: printed as it is, the rule would turn it back into
    // the prefix, and into the relay again.
    let error = icmp_v6(HOST_B, CLIENT_V6, 1, 4, [0; 4], &received_by_b());
    let out = Lab::default().run(&error).translated();
    assert_eq!(destination_v4(&out).to_string(), CLIENT);
}

#[test]
fn a_packet_that_fits_returns_whole() {
    let packet = udp_v6(HOST, B, &payload(1452));
    assert_eq!((packet.len(), turned(Lab::default().run(&packet)).len()), (1500, 1500));
    // No IPv4 link is crossed.
    let lab = Lab { ipv4_mtu: 600, ..Lab::default() };
    assert_eq!(turned(lab.run(&packet)).len(), 1500);
    let lab = Lab { ipv6_mtu: 1400, ..Lab::default() };
    let error = lab.run(&packet).answered("packet_too_big", 2, 0);
    assert_eq!(icmp(&error)[4..8], 1400_u32.to_be_bytes());
    assert_eq!(error[48..], packet[..1232], "quoted as it was sent");
}

#[test]
fn fragments_turn_with_half_an_identification() {
    let packet = fragment_v6(HOST, B, 17, 20, true, &payload(64));
    let out = turned(Lab::default().run(&packet));
    assert_eq!(out[40..48], [17, 0, 0, 161, 0, 0, 0xbe, 0xef]);
    assert_eq!(out[48..], payload(64));
}

#[test]
fn no_way_to_ipv4_is_needed() {
    let mut router = Lab::default().router(|routing| {
        routing.routes.retain(|route| route.destination.addr().is_ipv6());
        routing.interfaces[0].up = false;
    });
    let out = turned(router.run(&icmp_v6(HOST, B, 128, 0, [1, 2, 3, 4], &payload(9))));
    assert_eq!(destination_v6(&out), parse(HOST_B));
}

#[test]
fn what_the_second_pass_would_refuse_is_refused_with_the_packet_as_it_came() {
    // The first host's service address cannot be embedded.
    let lab = Lab { denylist: vec!["192.0.2.1/32"], ..Lab::default() };
    let packet = udp_v6(HOST, B, &payload(9));
    let error = lab.run(&packet).answered("denylisted", 1, 1);
    assert_eq!(error[48..], packet);
    let mut router = Lab::default().router(|routing| {
        routing.routes.push(dataplane::table::routing::Route {
            destination: "2001:db8:12:34::2/128".parse().unwrap(),
            action: dataplane::table::routing::RouteAction::Unreachable,
            mtu: None,
        });
    });
    let error = router.run(&packet).answered("route_unreachable", 1, 0);
    assert_eq!(error[48..], packet);
}
