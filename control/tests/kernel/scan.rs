//! Neighbour exhaustion (RFC 6583): what a scan of a connected prefix does to the kernel's table and to those that are there.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use control::kernel::PATIENCE;
use dataplane::table::routing::InterfaceId;
use dataplane::verdict::DropReason;
use tokio::time::sleep;

use super::lab::{Lab, in_namespace, sh};
use super::wire::{Wire, ipv6_udp};
use super::{V6, interface};

/// Addresses a millisecond, as fast as a worker's policer lets them pass and faster.
const RATE: u32 = 19;
const SECONDS: u32 = 3;

/// The packets a worker punts while somebody goes through the addresses of a prefix.
struct Scan {
    interface: InterfaceId,
    sent: u64,
    next: u128,
}

impl Scan {
    /// A millisecond of it.
    async fn go_on(&mut self, wire: &mut Wire) {
        for _ in 0..RATE {
            let host = Ipv6Addr::from(0x2001_0db8_0000_0000_dead_0000_0000_0000 + self.next);
            self.next += 1;
            self.punt(wire, host.into());
        }
        wire.answer();
        sleep(Duration::from_millis(1)).await;
    }

    fn punt(&mut self, wire: &mut Wire, hop: IpAddr) {
        // On a busy machine the ring may be full: a worker counts that itself.
        if wire.punts.send_unresolved(self.interface, hop, &ipv6_udp(1)).is_ok() {
            self.sent += 1;
        }
        wire.punts.ring_doorbell();
    }
}

#[test]
fn a_scan_hides_no_host_and_leaves_room_in_the_kernels_table() {
    in_namespace("scan::a_scan_hides_no_host_and_leaves_room_in_the_kernels_table", async {
        let mut lab = Lab::addressed().await;
        sh("ip -6 route add 2001:db8:9::/48 via 2001:db8::2");
        lab.until("route", |routing| super::route(routing, "2001:db8:9::/48").is_some()).await;
        let mut scan = Scan { interface: interface(&lab.routing(), V6).id, sent: 0, next: 0 };
        // A gateway, and two mapped hosts: each is met for the first time in the middle of the scan.
        let live: Vec<IpAddr> =
            ["2001:db8::2", "2001:db8::1:0", "2001:db8::1:1"].map(|host| host.parse().unwrap()).into();
        lab.wires[V6].hosts.clone_from(&live);
        let mut answered = Vec::new();
        for host in live {
            for _ in 0..1000 * SECONDS / 3 {
                scan.go_on(&mut lab.wires[V6]).await;
            }
            lab.wires[V6].delivered.clear();
            let asked = Instant::now();
            scan.punt(&mut lab.wires[V6], host);
            while lab.wires[V6].delivered.is_empty() {
                assert!(asked.elapsed() < Duration::from_secs(2), "{host}: {:?}", lab.kernel.counters());
                scan.go_on(&mut lab.wires[V6]).await;
            }
            answered.push(asked.elapsed());
        }
        let entries = sh("ip -6 neigh show dev bl-v6").lines().count();
        println!("{} packets, live hosts answered after {answered:?}, {entries} entries", scan.sent);
        assert!(entries <= 1024 / 4 + 16, "{entries} entries of the kernel's 1,024");
        // Whatever waited has come to an end, and is counted.
        lab.play(PATIENCE + Duration::from_secs(4), |lab| {
            let counters = lab.kernel.counters();
            let lost: u64 = DropReason::ALL.iter().map(|reason| counters.lost.dropped(*reason)).sum();
            lost + counters.unresolved_released == scan.sent
        })
        .await;
        let dropped = |reason| lab.kernel.counters().lost.dropped(reason);
        assert!(dropped(DropReason::NeighborWaitOverflow) > 0);
        assert!(dropped(DropReason::NeighborWaitExpired) > 0);
    });
}

#[test]
fn a_table_too_small_for_the_mapped_hosts_is_told_in_any_namespace() {
    in_namespace("scan::a_table_too_small_for_the_mapped_hosts_is_told_in_any_namespace", async {
        let table = sh("ip -6 ntable show name ndisc_cache | grep -o 'thresh2 [0-9]*' | head -n 1");
        let soft: usize = table.split_whitespace().nth(1).unwrap().parse().unwrap();
        let mut lab = Lab::start().await;
        let early = lab.kernel.complaints();
        assert!(
            !early.iter().any(|told| told.contains("600 hosts")),
            "they are on no connected prefix: {early:?}"
        );
        sh("ip addr add 2001:db8::1/64 dev bl-v6 nodad");
        let expected = usize::from(soft < 600);
        // The table is the whole machine's: what else is told of it is not this test's.
        let told = |lab: &Lab| {
            let ours = |told: &String| told.starts_with("600 hosts with an EAM are on connected prefixes");
            lab.kernel.complaints().into_iter().filter(ours).collect::<Vec<_>>()
        };
        lab.play(Duration::from_secs(15), |lab| told(lab).len() == expected).await;
        for complaint in told(&lab) {
            assert!(complaint.contains("net.ipv6.neigh.default.gc_thresh3="), "{complaint}");
        }
    });
}
