//! The states of neighbours.

use std::net::Ipv4Addr;

use super::*;

#[test]
fn every_state_of_the_kernel_has_one_meaning() {
    use Reachability::{Delay, Failed, Incomplete, NoArp, None, Permanent, Probe, Reachable, Stale};
    for reachability in [Reachable, Stale, Delay, Probe, NoArp, Permanent] {
        let mut kernel = Relay::new();
        kernel.tell(neighbor(BL_V4, "192.0.2.7", reachability, 7));
        assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Resolved(mac(7))), "{reachability:?}");
    }
    for reachability in [None, Incomplete] {
        let mut kernel = Relay::new();
        kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachable, 7));
        kernel.tell(neighbor(BL_V4, "192.0.2.7", reachability, 7));
        assert_eq!(kernel.neighbor("192.0.2.7"), Option::None, "{reachability:?}");
    }
    let mut kernel = Relay::new();
    kernel.tell(neighbor(BL_V4, "192.0.2.7", Failed, 7));
    assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Failed));
}

#[test]
fn only_those_on_our_interfaces_count() {
    let mut kernel = Relay::new();
    kernel.tell(neighbor(MANAGEMENT, "192.0.2.7", Reachability::Reachable, 7));
    kernel.tell(neighbor(BL_V4, "224.0.0.1", Reachability::NoArp, 7));
    assert_eq!(kernel.routing().neighbors, []);
    kernel.tell(neighbor(VLAN, "192.0.2.8", Reachability::Reachable, 8));
    kernel.tell(Event::Link(vlan(VLAN, BL_V4, 100)));
    let seen = kernel.routing().neighbors;
    assert_eq!((seen.len(), seen[0].interface), (1, InterfaceId(2)), "known before its interface");
}

#[test]
fn what_the_dataplane_does_not_see_is_not_published() {
    let mut kernel = Relay::new();
    assert!(kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Reachable, 7)).routing);
    let stale = kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Stale, 7));
    assert!(!stale.routing);
    assert_eq!(stale.neighbors[0].news, News::Resolved { mac: mac(7), stale: true });
    assert!(kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Stale, 8)).routing, "another MAC");
    let gone = Event::NeighborRemoved { index: BL_V4, address: ip("192.0.2.7") };
    assert!(kernel.tell(gone.clone()).routing);
    assert!(!kernel.tell(gone).routing);
    assert_eq!(kernel.neighbor("192.0.2.7"), None);
}

#[test]
fn a_failed_host_is_forgotten_and_a_dump_does_not_bring_it_back() {
    let mut kernel = Relay::new();
    kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Failed, 7));
    kernel.pass(FAILED_HOLD - Duration::from_millis(1));
    assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Failed));
    assert!(kernel.pass(Duration::from_millis(1)).routing);
    assert_eq!(kernel.neighbor("192.0.2.7"), None);
    let Event::Neighbor(failed) = neighbor(BL_V4, "192.0.2.7", Reachability::Failed, 7) else { panic!() };
    let links = [LO, MANAGEMENT, BL_V4, BL_V6].map(link).into();
    let dump = Dump { links, neighbors: vec![failed], ..Dump::default() };
    assert!(!kernel.tell(Event::Dump(dump.into())).routing, "nothing new");
    assert_eq!(kernel.neighbor("192.0.2.7"), None);
    kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Failed, 7));
    assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Failed), "but a new failure counts");
}

#[test]
fn a_failed_gateway_stays_failed_until_it_answers() {
    let mut kernel = Relay::new();
    kernel.add(unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some("192.0.2.7"))]));
    let failed = kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Failed, 7));
    assert_eq!(failed.neighbors[0].news, News::Failed { gateway: true, lost: false });
    for _ in 0..3 {
        let later = kernel.pass(FAILED_HOLD);
        assert_eq!(
            later.neighbors[0].news,
            News::Failed { gateway: true, lost: false },
            "to be probed again"
        );
        assert!(!later.routing);
        kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Incomplete, 7));
        assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Failed));
    }
    kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Reachable, 7));
    assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Resolved(mac(7))));
    assert_eq!(kernel.pass(2 * FAILED_HOLD), Changes::default());
    kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Failed, 7));
    kernel.remove(unicast("10.0.0.0/8", 0, &[hop(BL_V4, Some("192.0.2.7"))]));
    kernel.pass(FAILED_HOLD);
    assert_eq!(kernel.neighbor("192.0.2.7"), None, "no gateway any more");
}

#[test]
fn one_removed_from_the_kernels_table_stays_failed_for_its_time_and_is_gone_then() {
    let mut kernel = Relay::new();
    kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Failed, 7));
    let gone = kernel.tell(Event::NeighborRemoved { index: BL_V4, address: ip("192.0.2.7") });
    assert!(!gone.routing);
    assert_eq!(gone.neighbors[0].news, News::Gone);
    assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Failed));
    let links = [LO, MANAGEMENT, BL_V4, BL_V6].map(link).into();
    kernel.tell(Event::Dump(Dump { links, ..Dump::default() }.into()));
    assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Failed), "whatever a dump does not know");
    kernel.pass(FAILED_HOLD);
    assert_eq!(kernel.neighbor("192.0.2.7"), None);
    kernel.tell(neighbor(BL_V4, "192.0.2.7", Reachability::Failed, 7));
    assert_eq!(kernel.neighbor("192.0.2.7"), Some(NeighborState::Failed), "the next failure is a new one");
}

#[test]
fn the_failed_are_remembered_within_a_bound() {
    let mut kernel = Relay::new();
    for number in 0..u32::try_from(FAILED_MAX).unwrap() + 500 {
        let address = Ipv4Addr::from(0x0a00_0000 + number).to_string();
        kernel.tell(neighbor(BL_V4, &address, Reachability::Failed, 0));
    }
    kernel.pass(Duration::from_millis(1));
    assert_eq!(kernel.routing().neighbors.len(), FAILED_MAX);
    assert_eq!(kernel.neighbor("10.0.0.0"), None, "the oldest are unknown again");
}
