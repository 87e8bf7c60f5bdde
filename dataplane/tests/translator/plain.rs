//! Role "siit": the plain translator of RFC 7915 and RFC 7757.

use dataplane::offline::Outcome;
use dataplane::table::routing::{Hop, InterfaceId, Route, RouteAction};
use dataplane::table::translation::Role;

use crate::lab::*;

fn plain() -> Lab {
    Lab { icmp_sources: Vec::new(), ..Lab::with(|settings| settings.role = Role::Siit) }
}

#[test]
fn whatever_has_a_mapping_for_both_addresses_is_translated() {
    let embedded = "2001:db8:46::198.18.7.7";
    for (source, destination, out_source, out_destination) in [
        (HOST, CLIENT_V6, SERVICE, CLIENT),
        (HOST, HOST_B, SERVICE, SERVICE_B),
        (embedded, HOST, "198.18.7.7", SERVICE),
        (embedded, CLIENT_V6, "198.18.7.7", CLIENT),
    ] {
        let out = plain().run(&udp_v6(source, destination, &[1; 8])).translated();
        assert_eq!(
            (source_v4(&out).to_string(), destination_v4(&out).to_string()),
            (out_source.into(), out_destination.into())
        );
    }
    for (source, destination, out_source, out_destination) in [
        (CLIENT, SERVICE, "2001:db8:46::cb00:7132", HOST),
        (SERVICE_B, SERVICE, HOST_B, HOST),
        (CLIENT, "198.18.7.7", "2001:db8:46::cb00:7132", "2001:db8:46::c612:707"),
        (SERVICE, CLIENT, HOST, "2001:db8:46::cb00:7132"),
    ] {
        let out = plain().run(&udp_v4(source, destination, &[1; 8])).translated();
        assert_eq!(
            (source_v6(&out).to_string(), destination_v6(&out).to_string()),
            (out_source.into(), out_destination.into())
        );
    }
}

#[test]
fn native_traffic_of_unmapped_hosts_stays_native() {
    assert_eq!(plain().run(&udp_v6(UNMAPPED, HOST, &[1; 8])).outcome, Outcome::Native);
    assert_eq!(plain().run(&udp_v6(HOST, UNMAPPED, &[1; 8])).outcome, Outcome::Native);
    plain().run(&udp_v6(UNMAPPED, CLIENT_V6, &[1; 8])).answered("source_not_mapped", 1, 1);
    // An error about their packets is theirs, one about a packet of the relay is not.
    let about_native = udp_v6(HOST, UNMAPPED, &[1; 8]);
    assert_eq!(
        plain().run(&icmp_v6("2001:db8:ca7::9", HOST, 3, 0, [0; 4], &about_native)).outcome,
        Outcome::Native
    );
    let about_ours = udp_v6(HOST, CLIENT_V6, &[1; 8]);
    let out = plain().run(&icmp_v6(UNMAPPED, HOST, 3, 0, [0; 4], &about_ours)).translated();
    assert_eq!(
        (source_v4(&out).to_string(), destination_v4(&out).to_string()),
        ("192.0.0.8".into(), SERVICE.into())
    );
}

#[test]
fn own_addresses_and_routes_come_first() {
    let own = OWN_V4.to_string();
    assert!(matches!(plain().run(&udp_v4(CLIENT, &own, &[1])).outcome, Outcome::Punted(_)));
    // A connected network, or a route that leads elsewhere than the default route.
    let route = |text: &str, gateway: Option<&str>| Route {
        destination: text.parse().unwrap(),
        action: RouteAction::Via(vec![Hop {
            interface: InterfaceId(0),
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
            weight: 1,
        }]),
        mtu: None,
    };
    let unreachable =
        Route { destination: "198.18.0.0/15".parse().unwrap(), action: RouteAction::Unreachable, mtu: None };
    let lab = plain();
    let mut router = lab.router(|routing| {
        routing.routes.push(route("198.51.100.0/26", None));
        routing.routes.push(route("100.64.0.0/10", Some("203.0.113.77")));
        routing.routes.push(unreachable);
    });
    for native in ["198.51.100.9", "100.64.1.1"] {
        assert_eq!(router.run(&udp_v4(CLIENT, native, &[1; 8])).outcome, Outcome::Native, "{native}");
    }
    // What is only announced is the translator's.
    assert_eq!(router.run(&udp_v4(CLIENT, "198.18.7.7", &[1; 8])).outcome, Outcome::Translated);
    assert_eq!(router.run(&udp_v4(CLIENT, SERVICE, &[1; 8])).outcome, Outcome::Translated);
}
