//! More living hosts than the kernel's neighbour table takes: each packet is accounted for, and the remedy is told.
//!
//! A program of its own, since the table is the whole machine's: no other test of this crate may run beside it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where its lab breaks")]

#[allow(dead_code, reason = "shared with the tests of the kernel side, which use the rest")]
#[path = "kernel/lab.rs"]
mod lab;
#[allow(dead_code, reason = "shared with the tests of the kernel side, which use the rest")]
#[path = "kernel/wire.rs"]
mod wire;

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use dataplane::verdict::DropReason;
use tokio::time::sleep;

use lab::{Lab, in_namespace, sh};
use wire::ipv4_udp;

/// A table that an operator has made larger is not filled for a test.
const LARGEST: u32 = 2048;
const LIMIT: Duration = Duration::from_secs(90);

fn host(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0100 + number).into()
}

#[test]
fn hosts_beyond_the_kernels_table_are_counted_and_told_with_the_remedy() {
    in_namespace("hosts_beyond_the_kernels_table_are_counted_and_told_with_the_remedy", async {
        let table = sh("ip ntable show name arp_cache | grep -o 'thresh3 [0-9]*' | head -n 1");
        let hard: u32 = table.split_whitespace().nth(1).unwrap().parse().unwrap();
        if hard > LARGEST {
            println!("skipped: the kernel takes {hard} neighbours");
            return;
        }
        let hosts = 2 * hard;
        let mut lab = Lab::start().await;
        sh("ip addr add 10.0.0.1/16 dev bl-v4");
        let routing = lab
            .until("an address", |routing| {
                routing.interfaces.iter().any(|interface| interface.ipv4_source.is_some())
            })
            .await;
        let interface = routing.interfaces[0].id;
        lab.wires[0].hosts = (0..hosts).map(host).collect();
        let (mut sent, mut next, started) = (0, 0, Instant::now());
        let full = |lab: &Lab| {
            let is_it = |told: &String| told.starts_with("the kernel's IPv4 neighbour table holds");
            lab.kernel.complaints().into_iter().find(is_it)
        };
        // As servers that are talked to all the time: a packet for each, again and again.
        while full(&lab).is_none() || lab.kernel.counters().lost.dropped(DropReason::NeighborTableFull) == 0 {
            assert!(started.elapsed() < LIMIT, "{:?} {:?}", lab.kernel.complaints(), lab.kernel.counters());
            let wire = &mut lab.wires[0];
            for _ in 0..8 {
                if wire.punts.send_unresolved(interface, host(next % hosts), &ipv4_udp(1)).is_ok() {
                    sent += 1;
                }
                next += 1;
            }
            wire.answer();
            sleep(Duration::from_millis(1)).await;
        }
        let told = full(&lab).unwrap();
        assert!(told.contains("hosts beyond that get no packets"), "{told}");
        assert!(told.contains("net.ipv4.neigh.default.gc_thresh3="), "{told}");
        assert!(told.contains("in the first network namespace"), "{told}");
        let known = lab.routing().neighbors.len();
        println!("{sent} packets for {hosts} hosts, {known} known: {told}");
        assert!(known >= hard as usize / 2, "those that have a place are served: {known}");
        // Nothing is lost without a trace.
        lab.play(Duration::from_secs(30), |lab| {
            let counters = lab.kernel.counters();
            let lost: u64 = DropReason::ALL.iter().map(|reason| counters.lost.dropped(*reason)).sum();
            lost + counters.unresolved_released == sent
        })
        .await;
    });
}
