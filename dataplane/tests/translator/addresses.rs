//! Which address becomes which, and which may not: EAMs, prefixes, the Well-Known Prefix, filters on both sides.

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::offline::Outcome;
use dataplane::table::translation::{Hairpin, Role};
use dataplane::verdict::DropReason;

use super::lab::*;

#[test]
fn every_prefix_length_works_both_ways() {
    for (prefix, embedded) in [
        ("2001:db8::/32", "2001:db8:cb00:7132::"),
        ("2001:db8:100::/40", "2001:db8:1cb:71:32::"),
        ("2001:db8:122::/48", "2001:db8:122:cb00:71:3200::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3cb:0:7132::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:cb:71:3200::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::203.0.113.50"),
    ] {
        let eams = vec![("192.0.2.1/32", "2001:dead::1/128")];
        let lab = Lab { prefixes: vec![prefix], eams, ..Lab::default() };
        let out = lab.run(&udp_v4(CLIENT, SERVICE, &payload(9))).translated();
        assert_eq!(source_v6(&out), embedded.parse::<Ipv6Addr>().unwrap());
        let out = lab.run(&udp_v6("2001:dead::1", embedded, &payload(9))).translated();
        assert_eq!(destination_v4(&out).to_string(), CLIENT);
    }
}

#[test]
fn suffix_and_u_octet_are_not_looked_at() {
    let lab = Lab { prefixes: vec!["2001:db8:122:344::/64"], ..Lab::default() };
    for embedded in ["2001:db8:122:344:cb:71:3200:0", "2001:db8:122:344:ffcb:71:32aa:bbcc"] {
        let out = lab.run(&udp_v6(HOST, embedded, &payload(9))).translated();
        assert_eq!(destination_v4(&out).to_string(), CLIENT);
    }
}

#[test]
fn all_prefixes_are_recognised_and_the_first_is_used() {
    let lab =
        Lab { prefixes: vec!["2001:db8:46::/96", "64:ff9b::/96", "2001:db8:100::/40"], ..Lab::default() };
    for embedded in [CLIENT_V6, "2001:db8:1cb:71:32::"] {
        let out = lab.run(&udp_v6(HOST, embedded, &payload(9))).translated();
        assert_eq!(destination_v4(&out).to_string(), CLIENT);
    }
    let out = lab.run(&udp_v6(HOST, "64:ff9b::8.8.8.8", &payload(9))).translated();
    assert_eq!(destination_v4(&out).to_string(), "8.8.8.8");
    let out = lab.run(&udp_v4(CLIENT, SERVICE, &payload(9))).translated();
    assert_eq!(source_v6(&out), CLIENT_V6.parse::<Ipv6Addr>().unwrap());
    // Quoted addresses may be in any of them.
    let quoted = udp_v6("2001:db8:1cb:71:32::", HOST, &payload(9));
    let out = lab.run(&icmp_v6(UNMAPPED, CLIENT_V6, 3, 0, [0; 4], &quoted)).translated();
    assert_eq!(address_v4(&icmp(&out)[8..], 12).to_string(), CLIENT);
}

#[test]
fn native_destinations_are_not_the_translators() {
    for destination in ["2001:db8:4700::1", HOST, HOST_B, "2001:db8:46:0:0:1:cb00:7132"] {
        let done = Lab::default().run(&udp_v6(UNMAPPED, destination, &[1]));
        assert_eq!(done.outcome, Outcome::Native, "{destination}");
    }
    let done = Lab::default().run(&udp_v4(CLIENT, "198.18.0.1", &[1]));
    assert_eq!(done.outcome, Outcome::Native);
}

#[test]
fn an_eam_beats_the_prefix_it_lies_in() {
    let mut lab = Lab::default();
    lab.eams.push(("192.0.2.7/32", "2001:db8:46::c000:299/128"));
    // 192.0.2.153 by the prefix, 192.0.2.7 by the mapping.
    let out = lab.run(&udp_v6("2001:db8:46::c000:299", CLIENT_V6, &[1])).translated();
    assert_eq!(source_v4(&out).to_string(), "192.0.2.7");
}

#[test]
fn an_eam_for_all_of_ipv4_stands_for_the_internet() {
    let lab = Lab { eams: vec![("0.0.0.0/0", "2001:db8:ff00::/40")], ..Lab::default() };
    let out = lab.run(&udp_v6("2001:db8:ff08:808:800::", "2001:db8:ffcb:71:3200::", &[1])).one();
    assert_eq!(destination_v4(&out).to_string(), CLIENT);
}

/// What the Well-Known Prefix must not carry.
const NOT_GLOBAL: [&str; 14] = [
    "10.0.0.1",
    "100.64.0.1",
    "169.254.1.1",
    "172.16.5.5",
    "192.0.0.1",
    "192.0.0.100",
    "192.0.2.33",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "172.31.255.255",
    "198.19.255.255",
];

#[test]
fn the_well_known_prefix_carries_global_addresses_only() {
    let open = Lab::with(|settings| settings.anti_spoof = false);
    let strict = Lab {
        prefixes: vec!["64:ff9b::/96"],
        eams: vec![("11.0.0.1/32", "2001:db8:12:34::1/128")],
        translatable_pools: vec!["0.0.0.0/0"],
        ..open.clone()
    };
    let mut loose = strict.clone();
    loose.settings.wkp_strict = false;
    let reason = "well_known_prefix_non_global";
    for address in NOT_GLOBAL {
        let embedded = format!("64:ff9b::{address}");
        // Any of the four places an address of this kind can stand in.
        let source_v4 = udp_v4(address, "11.0.0.1", &[1]);
        let destination_v4 = udp_v4("8.8.8.8", address, &[1]);
        let source_v6 = udp_v6(&embedded, "64:ff9b::8.8.8.8", &[1]);
        let destination_v6 = udp_v6(HOST, &embedded, &[1]);
        // Two of them are never forwarded, whatever the prefix.
        match address {
            "169.254.1.1" | "192.0.0.100" => {
                open.run(&udp_v4(address, SERVICE, &[1])).silent("illegal_source");
                for relay in [&strict, &loose] {
                    relay.run(&source_v4).silent("illegal_source");
                    relay.run(&source_v6).one_of_silent(&["illegal_source", "source_not_mapped"]);
                }
                strict.run(&destination_v6).silent("illegal_destination");
                loose.run(&destination_v6).silent("illegal_destination");
                continue;
            }
            _ => {}
        }
        {
            strict.run(&destination_v4).answered(reason, 3, 13);
            loose.run(&destination_v4).translated();
        }
        strict.run(&source_v4).answered(reason, 3, 13);
        strict.run(&source_v6).answered(reason, 1, 1);
        strict.run(&destination_v6).answered(reason, 1, 1);
        loose.run(&source_v4).translated();
        loose.run(&source_v6).translated();
        loose.run(&destination_v6).translated();
        // A prefix of one's own carries them all.
        open.run(&udp_v4(address, SERVICE, &[1])).translated();
    }
    for address in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "198.20.0.1", "192.0.1.1"] {
        strict.run(&udp_v4(address, "11.0.0.1", &[1])).translated();
    }
    // Addresses of EAMs are not composed with the prefix.
    let mapped = Lab { eams: vec![("192.0.2.1/32", "2001:db8:12:34::1/128")], ..strict };
    mapped.run(&udp_v4("8.8.8.8", SERVICE, &[1])).translated();
}

#[test]
fn the_denylist_holds_for_an_address_and_its_embedded_form() {
    let lab = Lab {
        denylist: vec!["198.51.100.0/25", "192.0.2.1/32"],
        translatable_pools: vec!["198.51.100.0/24"],
        ..Lab::default()
    };
    let mut relay = lab.relay();
    relay.run(&udp_v4("198.51.100.7", SERVICE, &[1])).answered("denylisted", 3, 13);
    relay.run(&udp_v4(CLIENT, "198.51.100.7", &[1])).answered("denylisted", 3, 13);
    relay.run(&udp_v6(HOST, "2001:db8:46::198.51.100.7", &[1])).answered("denylisted", 1, 1);
    relay.run(&udp_v6("2001:db8:46::198.51.100.7", CLIENT_V6, &[1])).answered("denylisted", 1, 1);
    assert_eq!(relay.counts().dropped(DropReason::Denylisted), 4);
    // The next address is none of its business, and neither are EAMs.
    relay.run(&udp_v4("198.51.100.128", SERVICE, &[1])).translated();
    relay.run(&udp_v6(HOST, "2001:db8:46::198.51.100.128", &[1])).translated();
    // Nor can a packet be quoted that never passed.
    let quoted = udp_v4(SERVICE, "198.51.100.7", &[1; 8]);
    relay.run(&icmp_v4(CLIENT, SERVICE, 3, 1, [0; 4], &quoted)).silent("icmp_inner_untranslatable");
}

// Spoofing.

#[test]
fn ipv4_sources_that_belong_inside_are_refused() {
    let mut relay = Lab::default().relay();
    // A service address with a host, and one without.
    relay.run(&udp_v4(SERVICE_B, SERVICE, &[1])).silent("spoofed_source");
    relay.run(&udp_v4("192.0.2.99", SERVICE, &[1])).silent("spoofed_source");
    assert_eq!(relay.counts().dropped(DropReason::SpoofedSource), 2);
    // Errors of routers in the pool are exempt.
    let error = error_about_v4("192.0.2.99", 11, 0, [0; 4], &udp_v4(SERVICE, CLIENT, &[1; 8]));
    relay.run(&error).translated();
    let open = Lab::with(|settings| settings.anti_spoof = false);
    let out = open.run(&udp_v4(SERVICE_B, SERVICE, &[1])).translated();
    assert_eq!(source_v6(&out).to_string(), HOST_B);
}

#[test]
fn ipv6_sources_inside_the_prefix_are_refused() {
    let source = "2001:db8:46::198.51.100.7";
    let packet = udp_v6(source, CLIENT_V6, &[1]);
    Lab::default().run(&packet).silent("spoofed_source");
    // The operator said that such hosts exist.
    let translatable = Lab { translatable_pools: vec!["198.51.100.0/25"], ..Lab::default() };
    let out = translatable.run(&packet).translated();
    assert_eq!(source_v4(&out).to_string(), "198.51.100.7");
    // An error of a router that has such an address passes.
    let error = error_about_v6(source, 3, 0, [0; 4], &udp_v6(CLIENT_V6, HOST, &[1; 8]));
    Lab::default().run(&error).translated();
    let open = Lab::with(|settings| settings.anti_spoof = false);
    open.run(&packet).translated();
}

// The Edge Relay.

fn edge() -> Lab {
    let mut lab = Lab::with(|settings| {
        settings.role = Role::EdgeRelay;
        settings.hairpin = Hairpin::Off;
    });
    lab.er_addresses = vec!["2001:db8:12:34::1/128"];
    lab
}

#[test]
fn an_edge_relay_maps_its_own_side_by_eam_and_the_rest_by_prefix() {
    let out = edge().run(&udp_v6(CLIENT_V6, HOST, &payload(5))).translated();
    assert_eq!(
        (source_v4(&out).to_string(), destination_v4(&out).to_string()),
        (CLIENT.to_owned(), SERVICE.to_owned())
    );
    let out = edge().run(&udp_v4(SERVICE, CLIENT, &payload(5))).translated();
    assert_eq!(
        (source_v6(&out).to_string(), destination_v6(&out)),
        (HOST.to_owned(), CLIENT_V6.parse::<Ipv6Addr>().unwrap())
    );
    // A second EAM is a direct path to another relay's host.
    let out = edge().run(&udp_v4(SERVICE, SERVICE_B, &payload(5))).translated();
    assert_eq!(destination_v6(&out).to_string(), HOST_B);
    // Other IPv6 destinations are not its business.
    assert_eq!(edge().run(&udp_v6(CLIENT_V6, HOST_B, &[1])).outcome, Outcome::Native);
}

#[test]
fn an_edge_relay_takes_no_strangers_on_its_ipv4_side() {
    let mut relay = edge().relay();
    relay.run(&udp_v4("198.51.100.7", CLIENT, &[1])).silent("spoofed_source");
    assert_eq!(relay.counts().dropped(DropReason::SpoofedSource), 1);
}

#[test]
fn an_edge_relay_refuses_its_own_addresses_from_ipv6() {
    edge().run(&udp_v6(HOST, HOST, &[1])).silent("spoofed_source");
    let embedded = format!("2001:db8:46::{SERVICE}");
    edge().run(&udp_v6(&embedded, HOST, &[1])).silent("spoofed_source");
    // Those of others pass.
    let out = edge().run(&udp_v6(HOST_B, HOST, &[1])).translated();
    assert_eq!(source_v4(&out), SERVICE_B.parse::<Ipv4Addr>().unwrap());
}

#[test]
fn an_edge_relay_may_hold_its_service_addresses_itself() {
    // An address of the box, as its kernel has it that answers for it on the link.
    let own = OWN_V6.to_string();
    let mut lab = edge();
    let sent = udp_v6(CLIENT_V6, &own, &payload(5));
    assert_eq!(lab.run(&sent).outcome, Outcome::Punted("local_address"), "one that is nobody's service");
    lab.eams = vec![("192.0.2.1/32", "2001:db8:ffff::1/128")];
    lab.er_addresses = vec!["2001:db8:ffff::1/128"];
    let out = lab.run(&sent).translated();
    assert_eq!(destination_v4(&out).to_string(), SERVICE);
    // A Border Relay's own address is its own whatever is mapped to it.
    lab.er_addresses.clear();
    lab.settings.role = Role::BorderRelay;
    assert_eq!(lab.run(&sent).outcome, Outcome::Punted("local_address"));
}

#[test]
fn what_passes_a_border_and_an_edge_relay_arrives_as_it_left() {
    let edge = edge();
    let icmp = icmp_v4(CLIENT, SERVICE, 8, 0, [1, 2, 3, 4], &payload(21));
    let first = with_fragment(sized_v4(60), false, true, 0);
    let later = with_fragment(sized_v4(60), false, false, 5);
    for sent in [sized_v4(133), tcp_v4(CLIENT, SERVICE, &SYN, &payload(7)), icmp, first, later] {
        let between = Lab::default().run(&sent).one();
        let arrived = edge.run(&between).one();
        assert_checksums(&arrived);
        assert_eq!(arrived[8], sent[8] - 2, "two hops");
        assert_eq!((&arrived[12..], &arrived[2..4]), (&sent[12..], &sent[2..4]));
        assert_eq!(arrived[6..8], sent[6..8], "offset and MF");
    }
    // And back: an error of the node behind the Edge Relay, with the quote restored.
    let sent = sized_v4(133);
    let arrived = edge.run(&Lab::default().run(&sent).one()).one();
    let error = error_about_v4(SERVICE, 3, 3, [0; 4], &arrived);
    let back = Lab::default().run(&edge.run(&error).translated()).translated();
    assert_eq!(
        (source_v4(&back).to_string(), destination_v4(&back).to_string()),
        (SERVICE.to_owned(), CLIENT.to_owned())
    );
    assert_eq!(super::lab::icmp(&back)[8 + 12..], sent[12..]);
}

#[test]
fn service_addresses_may_be_private() {
    let mut lab = edge();
    lab.eams = vec![("10.1.2.3/32", "2001:db8:12:34::1/128"), ("192.0.0.1/32", "2001:db8:12:34::2/128")];
    lab.er_addresses = vec!["2001:db8:12:34::1/128", "2001:db8:12:34::2/128"];
    for (ipv4, ipv6) in [("10.1.2.3", HOST), ("192.0.0.1", HOST_B)] {
        let out = lab.run(&udp_v4(ipv4, CLIENT, &[1])).translated();
        assert_eq!(source_v6(&out).to_string(), ipv6);
        let out = lab.run(&udp_v6(CLIENT_V6, ipv6, &[1])).translated();
        assert_eq!(destination_v4(&out).to_string(), ipv4);
    }
}
