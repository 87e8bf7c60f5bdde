//! Twins, the follower and the exception pump against the real kernel, each test in a network namespace of its own.
//!
//! A test runs itself once more under `unshare -n`; what it creates vanishes with that process. Needs root; without,
//! each test says so and passes. The dataplane's role on the rings is played by [`wire::Wire`].

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where its lab breaks")]

#[path = "kernel/lab.rs"]
mod lab;
#[path = "kernel/scan.rs"]
mod scan;
#[path = "kernel/wire.rs"]
mod wire;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use control::kernel::{Twin, TwinError};
use dataplane::table::routing::{
    Hop, Interface, MacAddress, NeighborState, PortId, Route, RouteAction, Routing, TableId,
};
use dataplane::verdict::{DropReason, PuntReason};

use lab::{Lab, in_namespace, sh};
use tokio::time::sleep;
use wire::{PEER_MAC, Wire, ipv4_udp, ipv6_udp};

const V4: usize = 0;
const V6: usize = 1;

fn interface(routing: &Routing, port: usize) -> &Interface {
    let port = PortId(u16::try_from(port).unwrap());
    routing.interfaces.iter().find(|interface| interface.port == port && interface.vlan.is_none()).unwrap()
}

fn route<'a>(routing: &'a Routing, destination: &str) -> Option<&'a Route> {
    routing.routes.iter().find(|route| route.destination == destination.parse().unwrap())
}

fn action(routing: &Routing, destination: &str) -> Option<RouteAction> {
    route(routing, destination).map(|route| route.action.clone())
}

/// `Via` with hops given as port, gateway and weight.
fn via(routing: &Routing, hops: &[(usize, Option<&str>, u16)]) -> RouteAction {
    let hop = |(port, gateway, weight): &(usize, Option<&str>, u16)| Hop {
        interface: interface(routing, *port).id,
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        weight: *weight,
    };
    RouteAction::Via(hops.iter().map(hop).collect())
}

fn neighbor(routing: &Routing, address: &str) -> Option<NeighborState> {
    let address: IpAddr = address.parse().unwrap();
    routing.neighbors.iter().find(|neighbor| neighbor.address == address).map(|neighbor| neighbor.state)
}

fn dropped(lab: &Lab, reason: DropReason) -> u64 {
    lab.kernel.counters().lost.dropped(reason)
}

#[test]
fn twins_look_like_their_ports_and_vanish_with_them() {
    in_namespace("twins_look_like_their_ports_and_vanish_with_them", async {
        let mac = MacAddress([2, 0, 0, 0, 0, 0x77]);
        let twin = Twin::create("v4", PortId(0), mac, 1400).await.unwrap();
        let shown = sh("ip -d link show bl-v4");
        for expected in
            ["mtu 1400", "02:00:00:00:00:77", "<NO-CARRIER,BROADCAST,MULTICAST,UP>", "pi off", "vnet_hdr off"]
        {
            assert!(shown.contains(expected), "{expected:?} in {shown}");
        }
        assert!(shown.contains("persist off"), "{shown}");
        let again = Twin::create("v4", PortId(0), mac, 1400).await.err().unwrap();
        assert!(matches!(again, TwinError::NameInUse { .. }), "{again}");
        sh("ip tuntap add bl-old mode tap");
        let taken = Twin::create("old", PortId(1), mac, 1400).await.err().unwrap();
        assert!(matches!(taken, TwinError::NameInUse { .. }), "a persistent TAP would stay behind: {taken}");
        let bad = Twin::create("bad", PortId(1), MacAddress([1, 0, 0, 0, 0, 1]), 1400).await.err().unwrap();
        assert!(matches!(bad, TwinError::Configure { .. }), "a multicast MAC is refused: {bad}");
        twin.set_carrier(true).unwrap();
        assert!(sh("ip link show bl-v4").contains("LOWER_UP"));
        twin.set_carrier(false).unwrap();
        assert!(sh("ip link show bl-v4").contains("NO-CARRIER"));
        drop(twin);
        let left = sh("ip -o link");
        assert!(!left.contains("bl-v4"), "{left}");
        assert!(!left.contains("bl-bad"), "a twin that failed leaves nothing: {left}");
    });
}

#[test]
fn without_privileges_the_error_says_so() {
    in_namespace("without_privileges_the_error_says_so", async {
        // The bounding set of the child lacks CAP_NET_ADMIN; it prints the error of `Twin::create`.
        let me = std::env::current_exe().unwrap();
        let shown = sh(&format!(
            "setpriv --bounding-set=-net_admin --inh-caps=-net_admin {} --exact helper_create --nocapture --ignored",
            me.display()
        ));
        assert!(shown.contains("run as root or with CAP_NET_ADMIN"), "{shown}");
    });
}

/// Not a test: runs without privileges for the one above.
#[test]
#[ignore = "helper of without_privileges_the_error_says_so"]
fn helper_create() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let created = runtime.block_on(Twin::create("v4", PortId(0), MacAddress([2, 0, 0, 0, 0, 1]), 1500));
    println!("{}", created.err().map_or("created".into(), |error| error.to_string()));
}

#[test]
fn addresses_become_sources_and_local_routes() {
    in_namespace("addresses_become_sources_and_local_routes", async {
        let mut lab = Lab::start().await;
        let first = lab.routing();
        assert_eq!(first.interfaces.len(), 2);
        assert_eq!((interface(&first, V4).mtu, interface(&first, V6).mtu), (1500, 1500));
        assert!(interface(&first, V4).up);
        assert_eq!(interface(&first, V4).mac, lab.wires[V4].port_mac);
        sh("ip addr add 192.0.2.1/24 dev bl-v4; ip addr add 192.0.2.9/24 dev bl-v4");
        sh(
            "ip addr add 2001:db8::1/64 dev bl-v6 nodad; ip link set lo up; ip addr add 203.0.113.5/32 dev lo",
        );
        lab.until("sources", |routing| {
            interface(routing, V4).ipv4_source == Some("192.0.2.1".parse().unwrap())
                && interface(routing, V6).ipv6_source == Some("2001:db8::1".parse().unwrap())
                && routing.ipv4_source == Some("203.0.113.5".parse().unwrap())
                && routing.ipv6_source == Some("2001:db8::1".parse().unwrap())
        })
        .await;
        let routing = lab
            .until("local routes", |routing| {
                ["192.0.2.1/32", "192.0.2.9/32", "192.0.2.255/32", "203.0.113.5/32", "2001:db8::1/128"]
                    .iter()
                    .all(|own| action(routing, own) == Some(RouteAction::Local))
            })
            .await;
        assert_eq!(action(&routing, "192.0.2.0/24"), Some(via(&routing, &[(V4, None, 1)])));
        assert_eq!(action(&routing, "2001:db8::/64"), Some(via(&routing, &[(V6, None, 1)])));
        assert_eq!(action(&routing, "127.0.0.0/8"), Some(RouteAction::Local));
        sh("ip addr del 192.0.2.1/24 dev bl-v4");
        lab.until("no address left: secondaries go too", |routing| {
            interface(routing, V4).ipv4_source.is_none() && route(routing, "192.0.2.0/24").is_none()
        })
        .await;
        sh("ip link set bl-v4 mtu 1300; ip link set bl-v4 address 02:00:00:00:00:99");
        lab.until("mtu and mac", |routing| {
            interface(routing, V4).mtu == 1300
                && interface(routing, V4).mac == MacAddress([2, 0, 0, 0, 0, 0x99])
        })
        .await;
        sh("ip link set bl-v4 mtu 9000");
        lab.until("never more than the port's mtu", |routing| interface(routing, V4).mtu == 1500).await;
    });
}

#[test]
fn ipv4_routes_follow_the_kernel() {
    in_namespace("ipv4_routes_follow_the_kernel", async {
        let mut lab = Lab::addressed().await;
        sh("ip route add default via 192.0.2.2");
        lab.until_route("0.0.0.0/0", |r| Some(via(r, &[(V4, Some("192.0.2.2"), 1)]))).await;
        sh("ip route add 10.0.0.0/8 nexthop via 192.0.2.2 weight 1 nexthop via 192.0.2.3 weight 5");
        lab.until_route("10.0.0.0/8", |r| {
            Some(via(r, &[(V4, Some("192.0.2.2"), 1), (V4, Some("192.0.2.3"), 5)]))
        })
        .await;
        sh("ip route replace 10.0.0.0/8 via 192.0.2.4 mtu 1400");
        let routing = lab.until_route("10.0.0.0/8", |r| Some(via(r, &[(V4, Some("192.0.2.4"), 1)]))).await;
        assert_eq!(route(&routing, "10.0.0.0/8").unwrap().mtu, Some(1400));
        sh("ip route add 10.0.0.0/8 via 192.0.2.5 metric 50; ip route prepend 10.0.0.0/8 via 192.0.2.6");
        lab.until_route("10.0.0.0/8", |r| Some(via(r, &[(V4, Some("192.0.2.6"), 1)]))).await;
        sh("ip route del 10.0.0.0/8 via 192.0.2.6");
        lab.until_route("10.0.0.0/8", |r| Some(via(r, &[(V4, Some("192.0.2.4"), 1)]))).await;
        sh("ip route del 10.0.0.0/8");
        lab.until_route("10.0.0.0/8", |r| Some(via(r, &[(V4, Some("192.0.2.5"), 1)]))).await;
        for (kind, expected) in [
            ("blackhole", RouteAction::Blackhole),
            ("unreachable", RouteAction::Unreachable),
            ("prohibit", RouteAction::Prohibit),
        ] {
            sh(&format!("ip route replace {kind} 10.1.0.0/16"));
            lab.until_route("10.1.0.0/16", |_| Some(expected.clone())).await;
        }
        sh("ip route add 10.2.0.0/16 via inet6 fe80::2 dev bl-v6");
        lab.until_route("10.2.0.0/16", |r| Some(via(r, &[(V6, Some("fe80::2"), 1)]))).await;
        sh("ip link set lo up; ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up");
        sh("ip route add 10.3.0.0/16 dev v0");
        lab.until_route("10.3.0.0/16", |_| Some(RouteAction::Kernel)).await;
        sh("ip route add 10.4.0.0/16 via 192.0.2.2 table 100; ip route add 10.5.0.0/16 via 192.0.2.2");
        let routing = lab.until("10.5", |routing| route(routing, "10.5.0.0/16").is_some()).await;
        assert_eq!(route(&routing, "10.4.0.0/16"), None, "another table");
    });
}

#[test]
fn ipv6_routes_follow_the_kernel() {
    in_namespace("ipv6_routes_follow_the_kernel", async {
        let mut lab = Lab::addressed().await;
        sh("ip -6 route add default via 2001:db8::2");
        lab.until_route("::/0", |r| Some(via(r, &[(V6, Some("2001:db8::2"), 1)]))).await;
        sh("ip -6 route append default via 2001:db8::3; ip -6 route append default via 2001:db8::4");
        let all = [(V6, Some("2001:db8::2"), 1), (V6, Some("2001:db8::3"), 1), (V6, Some("2001:db8::4"), 1)];
        lab.until_route("::/0", |r| Some(via(r, &all))).await;
        sh("ip -6 route del default via 2001:db8::3");
        lab.until_route("::/0", |r| Some(via(r, &[all[0], all[2]]))).await;
        sh("ip -6 route replace default nexthop via 2001:db8::5 nexthop via 2001:db8::6 weight 3");
        let replaced = [(V6, Some("2001:db8::5"), 1), (V6, Some("2001:db8::6"), 3)];
        lab.until_route("::/0", |r| Some(via(r, &replaced))).await;
        sh("ip -6 route add default via 2001:db8::7 metric 10");
        lab.until_route("::/0", |r| Some(via(r, &[(V6, Some("2001:db8::7"), 1)]))).await;
        sh("ip -6 route del default metric 10; ip -6 route del default");
        lab.until_route("::/0", |_| None).await;
        sh("ip -6 route add unreachable 2001:db8:1::/48; ip -6 route add 2001:db8:2::/48 dev bl-v6 mtu 1280");
        let routing = lab.until_route("2001:db8:2::/48", |r| Some(via(r, &[(V6, None, 1)]))).await;
        assert_eq!(route(&routing, "2001:db8:2::/48").unwrap().mtu, Some(1280));
        assert_eq!(action(&routing, "2001:db8:1::/48"), Some(RouteAction::Unreachable));
        assert_eq!(route(&routing, "fe80::/64"), None, "link-local destinations are not forwarded");
        lab.assert_in_step().await;
    });
}

async fn follow_nexthop_objects(compat_mode: u8) {
    let mut lab = Lab::addressed().await;
    sh(&format!("ip link set lo up; echo {compat_mode} > /proc/sys/net/ipv4/nexthop_compat_mode"));
    // Objects and a route from before: those a dump finds.
    sh("ip nexthop add id 1 via 192.0.2.2 dev bl-v4; ip nexthop add id 2 via 192.0.2.3 dev bl-v4");
    sh("ip nexthop add id 9 group 1,3/2 type resilient buckets 32; ip nexthop add id 7 blackhole");
    sh("ip nexthop add id 4 via 2001:db8::2 dev bl-v6; ip route add 10.0.0.0/8 nhid 9");
    lab.assert_in_step().await;
    let dumps = lab.kernel.counters().netlink_dumps;
    sh(
        "ip route add 10.1.0.0/16 nhid 1; ip -6 route add 2001:db8:9::/48 nhid 4; ip route add 10.7.0.0/16 nhid 7",
    );
    let both = [(V4, Some("192.0.2.2"), 3), (V4, Some("192.0.2.3"), 1)];
    lab.until_route("10.0.0.0/8", |r| Some(via(r, &both))).await;
    lab.until_route("10.7.0.0/16", |_| Some(RouteAction::Blackhole)).await;
    lab.until_route("2001:db8:9::/48", |r| Some(via(r, &[(V6, Some("2001:db8::2"), 1)]))).await;
    sh("ip nexthop replace id 2 via 192.0.2.4 dev bl-v4; ip nexthop replace id 4 via 2001:db8::5 dev bl-v6");
    lab.until_route("10.0.0.0/8", |r| Some(via(r, &[both[0], (V4, Some("192.0.2.4"), 1)]))).await;
    lab.until_route("2001:db8:9::/48", |r| Some(via(r, &[(V6, Some("2001:db8::5"), 1)]))).await;
    sh("ip nexthop del id 1; ip nexthop del id 4; ip nexthop del id 7");
    for gone in ["10.1.0.0/16", "10.7.0.0/16", "2001:db8:9::/48"] {
        lab.until_route(gone, |_| None).await;
    }
    lab.until_route("10.0.0.0/8", |r| Some(via(r, &[(V4, Some("192.0.2.4"), 1)]))).await;
    assert_eq!(lab.kernel.counters().netlink_dumps, dumps, "followed, not read again");
    lab.assert_in_step().await;
    // Objects over a link that goes are dropped by the kernel without a word.
    sh("ip link set bl-v4 down");
    lab.until_route("10.0.0.0/8", |_| None).await;
    lab.assert_in_step().await;
}

#[test]
fn nexthop_objects_are_followed() {
    in_namespace("nexthop_objects_are_followed", follow_nexthop_objects(0));
}

#[test]
fn nexthop_objects_are_followed_where_the_kernel_expands_them() {
    in_namespace("nexthop_objects_are_followed_where_the_kernel_expands_them", follow_nexthop_objects(1));
}

#[test]
fn routes_the_kernel_drops_silently_go() {
    in_namespace("routes_the_kernel_drops_silently_go", async {
        let mut lab = Lab::addressed().await;
        sh("ip route add 10.0.0.0/8 via 192.0.2.2; ip route add 10.0.0.0/8 dev bl-v6 metric 77");
        sh("ip route add 10.9.0.0/16 nexthop via 192.0.2.2 nexthop dev bl-v6");
        lab.until_route("10.9.0.0/16", |r| Some(via(r, &[(V4, Some("192.0.2.2"), 1), (V6, None, 1)]))).await;
        sh("ip link set bl-v4 down");
        lab.until_route("10.0.0.0/8", |r| Some(via(r, &[(V6, None, 1)]))).await;
        lab.until_route("10.9.0.0/16", |r| Some(via(r, &[(V6, None, 1)]))).await;
        lab.until("the link is told of as well", |routing| !interface(routing, V4).up).await;
        sh("ip link set bl-v4 up");
        lab.until_route("10.9.0.0/16", |r| Some(via(r, &[(V4, Some("192.0.2.2"), 1), (V6, None, 1)]))).await;
        let routing = lab.until_route("192.0.2.0/24", |r| Some(via(r, &[(V4, None, 1)]))).await;
        assert_eq!(
            action(&routing, "10.0.0.0/8"),
            Some(via(&routing, &[(V6, None, 1)])),
            "not re-added by anyone"
        );
        lab.assert_in_step().await;
    });
}

#[test]
fn carrier_takes_routes_out_and_brings_them_back() {
    in_namespace("carrier_takes_routes_out_and_brings_them_back", async {
        let mut lab = Lab::addressed().await;
        sh("ip route add 10.0.0.0/8 via 192.0.2.2; ip route add 10.0.0.0/8 dev bl-v6 metric 77");
        lab.until_route("10.0.0.0/8", |r| Some(via(r, &[(V4, Some("192.0.2.2"), 1)]))).await;
        lab.kernel.port_link(PortId(0), Some(false));
        let routing = lab.until_route("10.0.0.0/8", |r| Some(via(r, &[(V6, None, 1)]))).await;
        assert!(!interface(&routing, V4).up);
        assert!(sh("ip link show bl-v4").contains("NO-CARRIER"));
        // Back within a second, when the kernel is late to tell.
        lab.kernel.port_link(PortId(0), Some(true));
        let back = Instant::now();
        lab.until("up again", |routing| interface(routing, V4).up).await;
        println!("up again after {:?}", back.elapsed());
        lab.until_route("10.0.0.0/8", |r| Some(via(r, &[(V4, Some("192.0.2.2"), 1)]))).await;
    });
}

#[test]
fn a_twin_follows_the_kernels_interface_behind_its_port() {
    in_namespace("a_twin_follows_the_kernels_interface_behind_its_port", async {
        sh("ip link add wire type veth peer name far; ip link set wire up");
        let mut lab = Lab::behind(Some("wire")).await;
        lab.until("the far end is down", |routing| !interface(routing, V4).up).await;
        assert!(!lab.kernel.carrier(PortId(0)));
        let mut delays = Vec::new();
        for round in 0..4 {
            let up = round % 2 == 0;
            sh(if up { "ip link set far up" } else { "ip link set far down" });
            let changed = Instant::now();
            lab.until("the twin follows", |routing| interface(routing, V4).up == up).await;
            delays.push(changed.elapsed());
            assert_eq!(sh("ip link show bl-v4").contains("LOWER_UP"), up);
        }
        println!("carrier followed after {delays:?}");
        sh("ip link set far up");
        lab.until("up", |routing| interface(routing, V4).up).await;
        assert!(lab.kernel.complaints().is_empty());
        sh("ip link del wire");
        lab.until("gone", |routing| !interface(routing, V4).up).await;
        let complaints = lab.kernel.complaints();
        assert!(
            complaints.iter().any(|text| text.contains("interface wire behind bl-v4 is gone")),
            "{complaints:?}"
        );
        sh("ip link add wire type veth peer name far; ip link set wire up; ip link set far up");
        sleep(Duration::from_millis(300)).await;
        assert!(!interface(&lab.routing(), V4).up, "another interface, which the port does not have");
    });
}

#[test]
fn a_rule_for_a_twin_gives_it_a_table_of_its_own() {
    in_namespace("a_rule_for_a_twin_gives_it_a_table_of_its_own", async {
        let mut lab = Lab::addressed().await;
        // A route from before anybody looks the table up: the rule makes it count.
        sh("ip route add 10.0.0.0/8 via 192.0.2.2 table 100; ip rule add iif bl-v4 lookup 100 priority 99");
        let table = |routing: &Routing| interface(routing, V4).table;
        lab.until("a table of its own", |routing| table(routing) != TableId::MAIN).await;
        let apart = table(&lab.routing());
        let there = |lab: &Lab, destination: &str| {
            let routes = lab.routes_in(apart).into_iter();
            routes.filter(|route| route.destination == destination.parse().unwrap()).count()
        };
        lab.play(Duration::from_secs(10), |lab| there(lab, "10.0.0.0/8") == 1).await;
        let dumps = lab.kernel.counters().netlink_dumps;
        sh("ip route add 10.1.0.0/16 via 192.0.2.3 table 100; ip route del 10.0.0.0/8 table 100");
        lab.play(Duration::from_secs(10), |lab| {
            (there(lab, "10.1.0.0/16"), there(lab, "10.0.0.0/8")) == (1, 0)
        })
        .await;
        assert_eq!(lab.kernel.counters().netlink_dumps, dumps, "followed, not read again");
        assert_eq!(route(&lab.routing(), "10.1.0.0/16"), None, "the main table has none of it");
        assert_eq!(table(&lab.follow_anew(sleep(Duration::from_millis(200))).await), apart);
        sh("ip rule del priority 99");
        lab.until("the main table", |routing| table(routing) == TableId::MAIN).await;
        lab.play(Duration::from_secs(10), |lab| lab.routes_in(apart).is_empty()).await;
    });
}

#[test]
fn what_is_not_followed_is_told_and_nothing_else() {
    in_namespace("what_is_not_followed_is_told_and_nothing_else", async {
        let mut lab = Lab::addressed().await;
        // A table nobody looks up, and rules that no forwarded packet meets.
        sh("ip route add 10.4.0.0/16 via 192.0.2.2 table 100; ip rule add fwmark 1 lookup 100");
        sh(
            "ip rule add oif bl-v4 lookup 100; ip rule add iif lo lookup 100; ip -6 rule add iif eth7 lookup 100",
        );
        sleep(Duration::from_secs(6)).await;
        let ours =
            |lab: &Lab, what: &str| lab.kernel.complaints().iter().filter(|text| text.contains(what)).count();
        assert_eq!(
            (ours(&lab, "policy rules"), ours(&lab, "belongs to")),
            (0, 0),
            "{:?}",
            lab.kernel.complaints()
        );
        sh("ip rule add from 198.51.100.0/24 lookup 100 priority 99; ip link add br0 type bridge");
        sh("ip link set bl-v4 master br0");
        lab.play(Duration::from_secs(15), |lab| {
            ours(lab, "1 policy rules are not followed") == 1
                && ours(lab, "IPv4 rule 99 looks up table 100") == 1
                && ours(lab, "interface bl-v4 belongs to br0 (bridge)") == 1
        })
        .await;
        sh("ip rule del priority 99; ip link set bl-v4 nomaster");
        lab.play(Duration::from_secs(15), |lab| ours(lab, "policy rules") + ours(lab, "belongs to") == 0)
            .await;
    });
}

#[test]
fn stations_on_a_twin_are_addresses_of_its_port() {
    in_namespace("stations_on_a_twin_are_addresses_of_its_port", async {
        let mut lab = Lab::start().await;
        assert!(lab.kernel.take_port_macs().is_some());
        assert_eq!(lab.kernel.take_port_macs(), None, "nothing has changed");
        sh(
            "ip link add vrrp4 link bl-v4 address 00:00:5e:00:01:07 type macvlan mode bridge; ip link set vrrp4 up",
        );
        let vrrp = MacAddress([0, 0, 0x5e, 0, 1, 7]);
        lab.until("a station", |routing| interface(routing, V4).extra_macs == [vrrp]).await;
        let macs = lab.kernel.take_port_macs().unwrap();
        assert_eq!(macs[V4], (PortId(0), vec![lab.wires[V4].port_mac, vrrp]));
        sh("ip link set bl-v4 address 02:00:00:00:00:99; ip link del vrrp4");
        lab.until("the station is gone", |routing| interface(routing, V4).extra_macs.is_empty()).await;
        assert_eq!(lab.kernel.take_port_macs().unwrap()[V4].1, [MacAddress([2, 0, 0, 0, 0, 0x99])]);
    });
}

#[test]
fn changes_arrive_within_200_ms() {
    in_namespace("changes_arrive_within_200_ms", async {
        let mut lab = Lab::addressed().await;
        let mut delays = Vec::new();
        for n in 0..25 {
            sh(&format!("ip route add 10.{n}.0.0/16 via 192.0.2.2"));
            let changed = Instant::now();
            lab.until("route", |routing| route(routing, &format!("10.{n}.0.0/16")).is_some()).await;
            delays.push(changed.elapsed());
        }
        delays.sort();
        println!("change to routing: median {:?}, worst {:?}", delays[12], delays[24]);
        assert!(delays[12] < Duration::from_millis(200), "{delays:?}");
    });
}

#[test]
fn neighbours_appear_with_their_state() {
    in_namespace("neighbours_appear_with_their_state", async {
        let mut lab = Lab::addressed().await;
        sh("ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev bl-v4 nud permanent");
        let resolved = |last| Some(NeighborState::Resolved(MacAddress([2, 0, 0, 0, 0, last])));
        // The kernel's table is that of all namespaces: when it is full it forgets who is not permanent.
        let others = [
            ("2001:db8::7", "lladdr 02:00:00:00:00:08 dev bl-v6 nud reachable", resolved(8)),
            ("192.0.2.8", "dev bl-v4 nud failed", Some(NeighborState::Failed)),
        ];
        lab.until("three neighbours", |routing| {
            let missing: Vec<_> =
                others.iter().filter(|(address, _, state)| neighbor(routing, address) != *state).collect();
            for (address, how, _) in &missing {
                sh(&format!("ip neigh replace {address} {how}"));
            }
            missing.is_empty() && neighbor(routing, "192.0.2.7") == resolved(7)
        })
        .await;
        sh("ip neigh change 192.0.2.7 lladdr 02:00:00:00:00:17 dev bl-v4 nud permanent");
        sh("ip neigh del 2001:db8::7 dev bl-v6");
        lab.until("changed and deleted", |routing| {
            neighbor(routing, "192.0.2.7") == resolved(0x17) && neighbor(routing, "2001:db8::7").is_none()
        })
        .await;
    });
}

#[test]
fn the_first_packet_of_a_flow_is_delivered() {
    in_namespace("the_first_packet_of_a_flow_is_delivered", async {
        let mut lab = Lab::addressed().await;
        sh("ip route add 10.0.0.0/8 via 192.0.2.2; ip -6 route add 2001:db8:9::/48 via 2001:db8::2");
        let routing = lab.until("route", |routing| route(routing, "10.0.0.0/8").is_some()).await;
        for (port, hop, packets) in [
            (V4, "192.0.2.2", [ipv4_udp(1), ipv4_udp(2)]),
            (V6, "2001:db8::2", [ipv6_udp(1), ipv6_udp(2)]),
            // RFC 5549: an IPv4 packet to an IPv6 next hop.
            (V6, "2001:db8::5", [ipv4_udp(3), ipv4_udp(4)]),
        ] {
            let hop: IpAddr = hop.parse().unwrap();
            lab.wires[port].hosts.push(hop);
            let interface = interface(&routing, port).clone();
            for packet in &packets {
                lab.wires[port].punts.send_unresolved(interface.id, hop, packet).unwrap();
            }
            lab.wires[port].punts.ring_doorbell();
            lab.play(Duration::from_secs(2), |lab| lab.wires[port].delivered.len() == 2).await;
            let ether_type = if packets[0][0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
            for packet in packets {
                let expected = [&PEER_MAC[..], &interface.mac.0, &ether_type, &packet].concat();
                assert_eq!(lab.wires[port].delivered.remove(0), expected);
            }
        }
        let counters = lab.kernel.counters();
        assert_eq!((counters.unresolved_queued, counters.unresolved_released), (6, 6));
        assert_eq!(counters.neighbor_requests, 3, "one request for each next hop: {counters:?}");
        assert!(counters.to_twin[PuntReason::Arp.index()] > 0);
        assert!(counters.to_twin[PuntReason::NeighborDiscovery.index()] > 0);
    });
}

#[test]
fn packets_for_silent_neighbours_are_counted() {
    in_namespace("packets_for_silent_neighbours_are_counted", async {
        let mut lab = Lab::addressed().await;
        let id = interface(&lab.routing(), V4).id;
        let hop: IpAddr = "192.0.2.66".parse().unwrap();
        for n in 0..20 {
            lab.wires[V4].punts.send_unresolved(id, hop, &ipv4_udp(n)).unwrap();
        }
        lab.wires[V4].punts.ring_doorbell();
        lab.play(Duration::from_secs(6), |lab| {
            neighbor(&lab.routing(), "192.0.2.66") == Some(NeighborState::Failed)
        })
        .await;
        let counters = lab.kernel.counters();
        assert_eq!(
            dropped(&lab, DropReason::NeighborWaitOverflow),
            20 - dropped(&lab, DropReason::NeighborFailed)
        );
        assert!(dropped(&lab, DropReason::NeighborFailed) >= 4, "{counters:?}");
        assert_eq!(counters.unresolved_released, 0);
        // No gateway: after a while the next packet may try again.
        lab.play(Duration::from_secs(7), |lab| neighbor(&lab.routing(), "192.0.2.66").is_none()).await;
        lab.wires[V4].hosts.push(hop);
        lab.wires[V4].punts.send_unresolved(id, hop, &ipv4_udp(99)).unwrap();
        lab.wires[V4].punts.ring_doorbell();
        lab.play(Duration::from_secs(2), |lab| lab.wires[V4].delivered.len() == 1).await;
    });
}

#[test]
fn a_dead_gateway_is_found_without_traffic_and_found_again_when_it_returns() {
    in_namespace("a_dead_gateway_is_found_without_traffic_and_found_again_when_it_returns", async {
        let mut lab = Lab::addressed().await;
        sh("echo 2200 > /proc/sys/net/ipv4/neigh/bl-v4/base_reachable_time_ms");
        sh("echo 1 > /proc/sys/net/ipv4/neigh/bl-v4/delay_first_probe_time");
        sh("echo 200 > /proc/sys/net/ipv4/neigh/bl-v4/retrans_time_ms");
        sh("ip route add 10.0.0.0/8 via 192.0.2.2");
        let id = interface(&lab.routing(), V4).id;
        let hop: IpAddr = "192.0.2.2".parse().unwrap();
        lab.wires[V4].hosts.push(hop);
        lab.wires[V4].punts.send_unresolved(id, hop, &ipv4_udp(1)).unwrap();
        lab.wires[V4].punts.ring_doorbell();
        lab.play(Duration::from_secs(2), |lab| lab.wires[V4].delivered.len() == 1).await;
        let asked = lab.wires[V4].arp_requests;
        lab.play(Duration::from_secs(8), |lab| lab.wires[V4].arp_requests > asked).await;
        assert!(matches!(neighbor(&lab.routing(), "192.0.2.2"), Some(NeighborState::Resolved(_))));
        lab.wires[V4].hosts.clear();
        lab.play(Duration::from_secs(15), |lab| {
            neighbor(&lab.routing(), "192.0.2.2") == Some(NeighborState::Failed)
        })
        .await;
        lab.wires[V4].hosts.push(hop);
        lab.play(Duration::from_secs(12), |lab| {
            assert!(neighbor(&lab.routing(), "192.0.2.2").is_some(), "a dead gateway is never just unknown");
            matches!(neighbor(&lab.routing(), "192.0.2.2"), Some(NeighborState::Resolved(_)))
        })
        .await;
    });
}

#[test]
fn the_kernel_pings_and_is_pinged_through_the_pump() {
    in_namespace("the_kernel_pings_and_is_pinged_through_the_pump", async {
        let mut lab = Lab::addressed().await;
        lab.wires[V4].hosts.push("192.0.2.2".parse().unwrap());
        lab.wires[V4].punt_echo_request("192.0.2.2", "192.0.2.1");
        lab.play(Duration::from_secs(3), |lab| {
            lab.wires[V4].delivered.iter().any(|frame| Wire::is_echo_reply(frame))
        })
        .await;
        let counters = lab.kernel.counters();
        assert_eq!(counters.to_twin[PuntReason::LocalAddress.index()], 1);
        assert!(counters.injected >= 2, "an ARP request and the echo reply: {counters:?}");
        // The other way: an interface that is down takes nothing.
        sh("ip link set bl-v4 down");
        lab.wires[V4].punt_echo_request("192.0.2.2", "192.0.2.1");
        lab.play(Duration::from_secs(1), |lab| dropped(lab, DropReason::TwinRefused) == 1).await;
    });
}

#[test]
fn a_deleted_twin_ends_the_run_with_its_name() {
    in_namespace("a_deleted_twin_ends_the_run_with_its_name", async {
        let mut lab = Lab::start().await;
        sh("ip link del bl-v6");
        let error = lab.ended().await.unwrap_err();
        assert!(error.to_string().contains("bl-v6"), "{error}");
    });
}

#[test]
fn a_follower_started_amid_changes_gets_in_step() {
    in_namespace("a_follower_started_amid_changes_gets_in_step", async {
        let mut lab = Lab::addressed().await;
        // Routes come, change and go while others read: two of three prefixes stay, one of these replaced.
        let change = |n: u32| {
            let prefix = format!("10.{}.{}.0/24", n >> 8, n & 255);
            let add = format!("route add {prefix} via 192.0.2.2\n");
            match n % 3 {
                0 => format!("{add}route del {prefix}\n"),
                1 => format!("{add}route replace {prefix} via 192.0.2.3\n"),
                _ => add,
            }
        };
        let batch = std::env::temp_dir().join(format!("bl-changes-{}", std::process::id()));
        std::fs::write(&batch, (0..30_000).map(change).collect::<String>()).unwrap();
        let mut ip = lab::spawn("ip", &["-batch", batch.to_str().unwrap()]);
        // Started after the first changes, and living on well after the last.
        sleep(Duration::from_millis(50)).await;
        assert!(ip.try_wait().unwrap().is_none(), "the changes still go on");
        let end = async {
            while ip.try_wait().unwrap().is_none() {
                sleep(Duration::from_millis(5)).await;
            }
            sleep(Duration::from_secs(1)).await;
        };
        let anew = lab.follow_anew(end).await;
        std::fs::remove_file(&batch).unwrap();
        lab.until("all changes", |routing| {
            routing.routes.iter().filter(|route| route.destination.prefix_len() == 24).count() == 20_001
        })
        .await;
        let last = lab.follow_anew(sleep(Duration::from_millis(500))).await;
        assert!(lab.routing().routes == last.routes, "notifications and dump agree");
        assert!(anew.routes == last.routes, "so do dump and notifications together");
    });
}

#[test]
fn ten_thousand_routes_load_quickly() {
    in_namespace("ten_thousand_routes_load_quickly", async {
        let mut lab = Lab::addressed().await;
        load(&mut lab, 10_000, Duration::from_secs(5)).await;
        lab.assert_in_step().await;
    });
}

#[test]
#[ignore = "takes a minute and a gigabyte; scripts/test --long runs it"]
fn a_full_table() {
    in_namespace("a_full_table", async {
        let mut lab = Lab::addressed().await;
        load(&mut lab, 1_000_000, Duration::from_secs(120)).await;
        lab.assert_in_step().await;
    });
}

async fn load(lab: &mut Lab, count: u32, limit: Duration) {
    let prefix =
        |n: u32| format!("{}.{}.{}.{}/30", 16 + (n >> 22), n >> 14 & 255, n >> 6 & 255, (n << 2) & 255);
    let batch = std::env::temp_dir().join(format!("bl-routes-{}", std::process::id()));
    for (verb, expected) in [("add", count as usize), ("del", 0)] {
        let lines: String =
            (0..count).map(|n| format!("route {verb} {} via 192.0.2.2\n", prefix(n))).collect();
        std::fs::write(&batch, lines).unwrap();
        let started = Instant::now();
        let mut ip = lab::spawn("ip", &["-batch", batch.to_str().unwrap()]);
        lab.until_within(limit, "all routes", |routing| {
            let learned = routing.routes.iter().filter(|route| route.destination.prefix_len() == 30).count();
            learned == expected
        })
        .await;
        let seen = started.elapsed();
        assert!(ip.wait().unwrap().success());
        let counters = lab.kernel.counters();
        let (dumps, overruns) = (counters.netlink_dumps, counters.netlink_overruns);
        println!(
            "{verb} {count} routes: in Routing after {seen:?}, {dumps} dumps, {overruns} overruns so far"
        );
        print!("{}", sh("grep -E 'VmHWM|VmRSS' /proc/$PPID/status"));
        sh(&format!(
            "ip neigh replace 192.0.2.99 lladdr 02:00:00:00:00:0{expected} dev bl-v4",
            expected = expected % 7
        ));
        let changed = Instant::now();
        let mac = MacAddress([2, 0, 0, 0, 0, u8::try_from(expected % 7).unwrap()]);
        lab.until_within(limit, "a neighbour", |routing| {
            neighbor(routing, "192.0.2.99") == Some(NeighborState::Resolved(mac))
        })
        .await;
        println!("the next change: in Routing after {:?}", changed.elapsed());
    }
    std::fs::remove_file(&batch).unwrap();
}
