//! How many punted packets a second the control thread takes from the rings of a worker: what the rates of the policer
//! (`dataplane/src/punt.rs`) must stay below.
//!
//! `cargo bench -p control --bench punts` (as root: it makes a network namespace and a twin in it). A thread fills the rings
//! as fast as they take frames, while the control thread empties them and does what it does with each kind: frames are
//! written to the twin, where the kernel treats them; packets for an unresolved next hop are kept or thrown away.
#![allow(clippy::unwrap_used, reason = "a benchmark, not a service")]

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use control::kernel::{Bell, Kernel, Rings, Twin};
use dataplane::exception::{PuntSender, RingFull, inject_ring, punt_ring};
use dataplane::table::publish::Publisher;
use dataplane::table::routing::{InterfaceId, MacAddress, PortId};
use dataplane::table::snapshot::Snapshot;
use dataplane::testing;
use dataplane::verdict::{DropReason, PuntReason};
use tokio::task::LocalSet;

const INSIDE: &str = "BORDERLINE_PUNTS_BENCH";
const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 4]);
/// How long each kind is measured.
const MEASURED: Duration = Duration::from_secs(2);

type Send = fn(&mut PuntSender, u32) -> Result<(), RingFull>;

fn main() {
    if std::env::var_os(INSIDE).is_none() {
        let status = Command::new("unshare")
            .arg("--net")
            .arg(std::env::current_exe().unwrap())
            .env(INSIDE, "1")
            .status()
            .unwrap();
        std::process::exit(status.code().unwrap_or(1));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, measure());
}

async fn measure() {
    let twin = Arc::new(Twin::create("v4", PortId(0), MAC, 1500).await.unwrap());
    let address = ["addr", "add", "192.0.2.1/24", "dev", "bl-v4"];
    assert!(Command::new("ip").args(address).status().unwrap().success());
    let kinds: [(&str, Send); 5] = [
        ("arp", arp),
        ("ping_of_the_box", ping),
        ("large_packet_for_the_box", large),
        ("ether_type", unknown),
        ("unresolved_next_hop", unresolved),
    ];
    let bell = Bell::new();
    let (punt, punted) = punt_ring(1 << 20, bell.doorbell());
    let (inject, mut injected) = inject_ring(1 << 20);
    let rings = Rings { punts: vec![punted], injects: vec![inject], bell };
    let translation = Arc::new(testing::translation(&[]));
    let tables = Publisher::new(Snapshot { generation: 1, translation, fib: Arc::default() }).view();
    let kernel = Rc::new(Kernel::new(vec![twin], rings, tables).unwrap());
    let runner = Rc::clone(&kernel);
    let (updates, mut updated) = tokio::sync::mpsc::channel(1);
    tokio::task::spawn_local(async move { while updated.recv().await.is_some() {} });
    tokio::task::spawn_local(async move { runner.run(updates, std::future::pending()).await });
    // What the kernel sends is read as a worker would.
    let done = Arc::new(AtomicBool::new(false));
    let (ended, mut punt) = (Arc::clone(&done), punt);
    let reader = thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            while injected.receive().is_some() {}
            thread::sleep(Duration::from_micros(100));
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    for (name, send) in kinds {
        let before = taken(&kernel);
        let started = Instant::now();
        let filler = thread::spawn(move || fill(punt, send));
        while !filler.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let microseconds = u64::try_from(started.elapsed().as_micros()).unwrap();
        let count = taken(&kernel) - before;
        punt = filler.join().unwrap();
        println!("punts_{name:<28} {:>10} packets/s", count * 1_000_000 / microseconds);
    }
    done.store(true, Ordering::Relaxed);
    reader.join().unwrap();
}

/// Offers packets for as long as is measured.
fn fill(mut punt: PuntSender, send: Send) -> PuntSender {
    let started = Instant::now();
    let mut number = 0;
    while started.elapsed() < MEASURED {
        for _ in 0..32 {
            if send(&mut punt, number).is_err() {
                thread::sleep(Duration::from_micros(50));
                break;
            }
            number += 1;
        }
        punt.ring_doorbell();
    }
    punt
}

fn taken(kernel: &Kernel) -> u64 {
    let counters = kernel.counters();
    let lost: u64 = DropReason::ALL.iter().map(|reason| counters.lost.dropped(*reason)).sum();
    counters.to_twin.iter().sum::<u64>() + counters.unresolved_queued + lost
}

fn arp(punt: &mut PuntSender, number: u32) -> Result<(), RingFull> {
    let mut frame = [0; 60];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&testing::MAC_PEER.0);
    frame[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&testing::MAC_PEER.0);
    let [.., last] = number.to_be_bytes();
    frame[28..32].copy_from_slice(&[192, 0, 2, 2 + last % 250]);
    frame[38..42].copy_from_slice(&[192, 0, 2, 1]);
    punt.send_frame(PortId(0), PuntReason::Arp, &frame)
}

fn ping(punt: &mut PuntSender, _: u32) -> Result<(), RingFull> {
    let packet = testing::ipv4("192.0.2.9", "192.0.2.1", 1, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
    punt.send_frame(PortId(0), PuntReason::LocalAddress, &testing::frame(MAC, &packet))
}

fn large(punt: &mut PuntSender, _: u32) -> Result<(), RingFull> {
    let packet = testing::udp_v4("192.0.2.9", "192.0.2.1", &[7; 1450]);
    punt.send_frame(PortId(0), PuntReason::LocalAddress, &testing::frame(MAC, &packet))
}

fn unknown(punt: &mut PuntSender, _: u32) -> Result<(), RingFull> {
    let mut frame = [0; 60];
    frame[..6].fill(0xff);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    punt.send_frame(PortId(0), PuntReason::EtherType, &frame)
}

fn unresolved(punt: &mut PuntSender, number: u32) -> Result<(), RingFull> {
    let [.., last] = number.to_be_bytes();
    let hop = IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    punt.send_unresolved(InterfaceId(0), hop, &[0x45; 60])
}
