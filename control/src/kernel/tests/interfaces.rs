//! Which links are ours, and what the dataplane sees of them.

use super::*;

#[test]
fn twins_and_their_vlans_are_ours_and_nothing_else() {
    let mut kernel = Relay::new();
    kernel.tell(Event::Link(vlan(VLAN, BL_V4, 100)));
    kernel.tell(Event::Link(vlan(21, MANAGEMENT, 100)));
    kernel.tell(Event::Link(vlan(22, VLAN, 7)));
    kernel.tell(Event::Link(Link { parent: Some(BL_V4), ..link(23) }));
    let ours = kernel.routing().interfaces;
    let seen: Vec<_> = ours.iter().map(|i| (i.id.0, i.port.0, i.vlan, i.mac)).collect();
    assert_eq!(seen, [(0, 0, None, mac(10)), (1, 1, None, mac(11)), (2, 0, Some(100), mac(20))]);
}

#[test]
fn identities_are_kept_and_never_given_to_others() {
    let mut kernel = Relay::new();
    kernel.tell(Event::Link(vlan(VLAN, BL_V4, 100)));
    kernel.tell(Event::LinkRemoved { index: VLAN });
    assert_eq!(kernel.routing().interfaces.len(), 2);
    assert_eq!(kernel.state.interface(InterfaceId(2)), None);
    kernel.tell(Event::Link(vlan(21, BL_V4, 200)));
    kernel.tell(Event::Link(vlan(22, BL_V4, 100)));
    let ids: Vec<_> = kernel.routing().interfaces.iter().map(|i| (i.id.0, i.vlan)).collect();
    assert_eq!(ids, [(0, None), (1, None), (2, Some(100)), (3, Some(200))]);
    assert_eq!(kernel.state.index(InterfaceId(2)), Some(22));
}

#[test]
fn the_smallest_mtu_counts() {
    let mut kernel = Relay::new();
    kernel.tell(Event::Link(Link { mtu: 9000, ..link(BL_V4) }));
    kernel.tell(Event::Link(Link { mtu: 1400, ..link(BL_V6) }));
    kernel.tell(Event::Link(Link { mtu: 1450, ..vlan(VLAN, BL_V6, 5) }));
    kernel.tell(Event::Link(Link { mtu: 1300, ..vlan(21, BL_V6, 6) }));
    let mtus: Vec<_> = kernel.routing().interfaces.iter().map(|i| i.mtu).collect();
    assert_eq!(mtus, [1500, 1400, 1400, 1300], "the port, the twin, the twin again, the VLAN");
}

#[test]
fn a_vlan_is_up_only_over_a_twin_that_is() {
    let mut kernel = Relay::new();
    kernel.tell(Event::Link(vlan(VLAN, BL_V4, 100)));
    let up = |kernel: &Relay| -> Vec<bool> {
        kernel.routing().interfaces.iter().map(|interface| interface.up).collect()
    };
    assert_eq!(up(&kernel), [true, true, true]);
    kernel.tell(Event::Link(Link { carrier: false, ..link(BL_V4) }));
    assert_eq!(up(&kernel), [false, true, false]);
    kernel.tell(Event::Link(link(BL_V4)));
    kernel.tell(Event::Link(Link { admin_up: false, ..vlan(VLAN, BL_V4, 100) }));
    assert_eq!(up(&kernel), [true, true, false]);
}
