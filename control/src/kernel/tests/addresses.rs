//! Addresses become sources of ICMP errors.

use super::*;

fn sources(kernel: &Relay) -> (Option<IpAddr>, Option<IpAddr>) {
    let routing = kernel.routing();
    let twin = &routing.interfaces[0];
    (twin.ipv4_source.map(IpAddr::V4), twin.ipv6_source.map(IpAddr::V6))
}

#[test]
fn the_first_fit_address_is_the_source_of_errors() {
    let mut kernel = Relay::new();
    let of = |text| address(BL_V4, text);
    for unfit in [
        Address { secondary: true, ..of("192.0.2.9") },
        Address { global: false, ..of("169.254.0.1") },
        Address { global: false, ..of("fe80::1") },
        Address { tentative: true, ..of("2001:db8::1") },
        Address { deprecated: true, ..of("2001:db8::2") },
    ] {
        kernel.tell(Event::Address(unfit));
    }
    assert_eq!(sources(&kernel), (None, None));
    kernel.tell(Event::Address(of("192.0.2.1")));
    kernel.tell(Event::Address(of("192.0.2.2")));
    kernel.tell(Event::Address(of("2001:db8::1")));
    kernel.tell(Event::Address(of("2001:db8::3")));
    assert_eq!(sources(&kernel), (Some(ip("192.0.2.1")), Some(ip("2001:db8::1"))), "first known, first used");
    kernel.tell(Event::AddressRemoved(of("192.0.2.1")));
    kernel.tell(Event::AddressRemoved(of("2001:db8::1")));
    assert_eq!(sources(&kernel), (Some(ip("192.0.2.2")), Some(ip("2001:db8::3"))));
}

#[test]
fn the_loopback_address_speaks_for_the_router() {
    let mut kernel = Relay::new();
    kernel.tell(Event::Address(Address { global: false, ..address(LO, "127.0.0.1") }));
    kernel.tell(Event::Address(address(BL_V6, "2001:db8::2")));
    kernel.tell(Event::Address(address(BL_V6, "192.0.2.2")));
    let routing = kernel.routing();
    assert_eq!(
        (routing.ipv4_source.map(IpAddr::V4), routing.ipv6_source.map(IpAddr::V6)),
        (Some(ip("192.0.2.2")), Some(ip("2001:db8::2")))
    );
    kernel.tell(Event::Address(address(LO, "203.0.113.1")));
    kernel.tell(Event::Address(address(LO, "2001:db8:f::1")));
    let routing = kernel.routing();
    assert_eq!(
        (routing.ipv4_source.map(IpAddr::V4), routing.ipv6_source.map(IpAddr::V6)),
        (Some(ip("203.0.113.1")), Some(ip("2001:db8:f::1")))
    );
}

#[test]
fn a_dump_in_another_order_does_not_change_the_source() {
    let mut kernel = Relay::new();
    kernel.tell(Event::Address(address(BL_V4, "2001:db8::1")));
    kernel.tell(Event::Address(address(BL_V4, "2001:db8::2")));
    let dump = Dump {
        links: [LO, MANAGEMENT, BL_V4, BL_V6].map(link).into(),
        addresses: ["2001:db8::3", "2001:db8::2", "2001:db8::1"].map(|text| address(BL_V4, text)).into(),
        ..Dump::default()
    };
    kernel.tell(Event::Dump(dump.into()));
    assert_eq!(sources(&kernel).1, Some(ip("2001:db8::1")));
}

#[test]
fn a_change_of_ipv4_addresses_casts_doubt_on_routes_a_repetition_does_not() {
    let mut kernel = Relay::new();
    assert!(kernel.tell(Event::Address(address(BL_V4, "192.0.2.1"))).doubt);
    assert_eq!(kernel.tell(Event::Address(address(BL_V4, "192.0.2.1"))), Changes::default());
    assert!(!kernel.tell(Event::Address(address(BL_V4, "2001:db8::1"))).doubt);
    assert!(kernel.tell(Event::AddressRemoved(address(BL_V4, "192.0.2.1"))).doubt);
    assert_eq!(kernel.tell(Event::AddressRemoved(address(BL_V4, "192.0.2.1"))), Changes::default());
}
