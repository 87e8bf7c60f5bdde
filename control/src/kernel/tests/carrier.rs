//! What a twin's carrier follows.

use std::collections::BTreeMap;

use super::super::carrier::Carriers;
use super::*;

const PORT: PortId = PortId(0);
const BEHIND: u32 = 77;

fn links(all: &[Link]) -> BTreeMap<u32, Link> {
    all.iter().map(|link| (link.index, link.clone())).collect()
}

fn behind(carrier: bool) -> Link {
    Link { name: "eth7".into(), carrier, ..link(BEHIND) }
}

#[test]
fn a_twin_has_no_carrier_until_its_ports_link_is_up() {
    let (mut carriers, none) = (Carriers::new([(PORT, None)].into_iter()), links(&[]));
    assert_eq!(carriers.changes(&none), []);
    carriers.driver(PORT, Some(true));
    assert_eq!(carriers.changes(&none), [(PORT, true)]);
    assert_eq!(carriers.changes(&none), [], "told once");
    carriers.driver(PORT, Some(false));
    assert_eq!(carriers.changes(&none), [(PORT, false)]);
}

#[test]
fn where_the_driver_does_not_know_the_kernels_interface_decides() {
    let mut carriers = Carriers::new([(PORT, Some("eth7".to_owned()))].into_iter());
    carriers.driver(PORT, Some(true));
    assert_eq!(carriers.changes(&links(&[])), [], "it has not been seen yet");
    assert_eq!(carriers.gone(&links(&[])).collect::<Vec<_>>(), [(PORT, None)]);
    assert_eq!(carriers.changes(&links(&[behind(true)])), [(PORT, true)]);
    assert_eq!(carriers.changes(&links(&[behind(false)])), [(PORT, false)]);
    carriers.driver(PORT, None);
    assert_eq!(carriers.changes(&links(&[behind(true)])), [(PORT, true)]);
    let down = Link { admin_up: false, ..behind(true) };
    assert_eq!(carriers.changes(&links(&[down])), [(PORT, false)]);
}

/// It still has the carrier that the process before gave it.
#[test]
fn a_twin_that_was_taken_over_loses_its_carrier_where_the_link_is_down() {
    let mut carriers = Carriers::new([(PORT, Some("eth7".to_owned()))].into_iter());
    assert_eq!(carriers.changes(&links(&[])), [], "not before anything is known");
    assert_eq!(carriers.changes(&links(&[behind(false)])), [(PORT, false)]);
    assert_eq!(carriers.changes(&links(&[behind(false)])), [], "told once");
    assert!(!carriers.of(PORT));
}

#[test]
fn an_interface_that_is_gone_does_not_come_back_as_another_one() {
    let mut carriers = Carriers::new([(PORT, Some("eth7".to_owned()))].into_iter());
    assert_eq!(carriers.changes(&links(&[behind(true)])), [(PORT, true)]);
    let renamed = Link { name: "other".into(), ..behind(true) };
    assert_eq!(carriers.changes(&links(&[renamed])), [], "a new name is no new interface");
    assert_eq!(carriers.changes(&links(&[])), [(PORT, false)]);
    assert_eq!(carriers.gone(&links(&[])).collect::<Vec<_>>(), [(PORT, Some("eth7"))]);
    let again = Link { index: 78, ..behind(true) };
    assert_eq!(carriers.changes(&links(&[again])), []);
}

/// The kernel tells of a carrier up to a second late when it went a moment ago.
#[test]
fn what_was_set_counts_whatever_the_kernel_still_says() {
    let mut kernel = Relay::new();
    kernel.tell(Event::Link(vlan(VLAN, BL_V4, 100)));
    let up = |kernel: &Relay| -> Vec<bool> {
        kernel.routing().interfaces.iter().map(|interface| interface.up).collect()
    };
    let set = |kernel: &mut Relay, carrier| {
        let mut changes = Changes::default();
        kernel.state.carrier_set(PORT, carrier, &mut changes);
        kernel.settle(&mut changes);
        changes.routing
    };
    assert!(set(&mut kernel, false));
    assert_eq!(up(&kernel), [false, true, false]);
    assert!(!set(&mut kernel, false), "no news");
    kernel.tell(Event::Link(link(BL_V4)));
    assert_eq!(up(&kernel), [false, true, false], "a late message");
    kernel.tell(Event::Link(Link { carrier: false, ..link(BL_V4) }));
    kernel.tell(Event::Link(Link { carrier: false, ..vlan(VLAN, BL_V4, 100) }));
    assert!(set(&mut kernel, true));
    assert_eq!(up(&kernel), [true, true, true], "before the kernel tells");
    kernel.tell(Event::Link(Link { admin_up: false, ..link(BL_V4) }));
    assert_eq!(up(&kernel), [false, true, false]);
}

#[test]
fn stations_on_a_twin_are_own_addresses_of_the_port() {
    let mut kernel = Relay::new();
    kernel.tell(Event::Link(vlan(VLAN, BL_V4, 100)));
    let station = |index: u32, parent: u32, kind: &str| Link {
        parent: Some(parent),
        kind: kind.into(),
        mac: Some(MacAddress([0, 0, 0x5e, 0, 1, u8::try_from(index).unwrap()])),
        ..link(index)
    };
    kernel.tell(Event::Link(station(30, BL_V4, "macvlan")));
    kernel.tell(Event::Link(station(31, VLAN, "macvtap")));
    kernel.tell(Event::Link(station(32, BL_V6, "vxlan")));
    kernel.tell(Event::Link(station(33, MANAGEMENT, "macvlan")));
    kernel.tell(Event::Link(Link { admin_up: false, ..station(34, BL_V4, "macvlan") }));
    let vrrp = |last| MacAddress([0, 0, 0x5e, 0, 1, last]);
    let extra = |kernel: &Relay| -> Vec<Vec<MacAddress>> {
        kernel.routing().interfaces.iter().map(|interface| interface.extra_macs.clone()).collect()
    };
    assert_eq!(extra(&kernel), [vec![vrrp(30)], vec![], vec![vrrp(31)]]);
    let macs = |kernel: &Relay| kernel.state.port_macs();
    assert_eq!(
        macs(&kernel),
        [(PortId(0), vec![mac(10), mac(20), vrrp(30), vrrp(31)]), (PortId(1), vec![mac(11)])]
    );
    kernel.tell(Event::Link(Link { mac: Some(mac(99)), ..link(BL_V6) }));
    kernel.tell(Event::LinkRemoved { index: 30 });
    assert_eq!(macs(&kernel), [(PortId(0), vec![mac(10), mac(20), vrrp(31)]), (PortId(1), vec![mac(99)])]);
    assert_eq!(extra(&kernel), [vec![], vec![], vec![vrrp(31)]]);
}
