//! Routes and neighbours that change without pause under a worker that translates, and a model that knows where each packet
//! may go.

use super::*;
use crate::hash::mix;
use crate::table::compiler::Compiler;
use crate::table::routing::{
    Change, Hop, InterfaceId, MacAddress, Neighbor, NeighborState, Route, RouteAction, TableId,
};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CHANGES: u64 = 100_000;
/// Routes of each family before the first change: enough that IPv6 is looked up in steps.
const BEFORE: u64 = 6_000;
/// Clients under the prefix, and servers with a mapping.
const CLIENTS: u64 = 4_096;
const SERVERS: u64 = 256;
/// Routers on each port, besides that of the default route.
const ROUTERS: usize = 4;
/// The ways a route may go: one router, or two.
const WAYS: [&[usize]; 6] = [&[0], &[1], &[2], &[3], &[0, 1], &[2, 3]];
const LENGTHS_V4: [u8; 8] = [32, 30, 28, 24, 22, 20, 16, 12];
const LENGTHS_V6: [u8; 8] = [128, 64, 56, 48, 44, 40, 32, 24];

fn client(number: u64) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0b00_0000 | (mix(number) >> 40) as u32)
}

fn server(number: u64) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2a00 << 112 | u128::from(mix(number) >> 16) << 64 | u128::from(number))
}

fn destination(number: u64) -> IpAddr {
    if number.is_multiple_of(2) {
        client(number / 2 % CLIENTS).into()
    } else {
        server(number / 2 % SERVERS).into()
    }
}

/// The prefix of one of the lengths around an address.
fn around(address: IpAddr, length: u64) -> IpNet {
    let lengths = if address.is_ipv4() { LENGTHS_V4 } else { LENGTHS_V6 };
    IpNet::new(address, lengths[length as usize % lengths.len()]).unwrap().trunc()
}

/// One change, as the model knows it.
#[derive(Clone, Copy)]
enum Step {
    Route(IpNet, &'static [usize]),
    RouteRemoved(IpNet),
    /// A router of the IPv4 (0) or the IPv6 port (1) has another MAC address.
    Mac(usize, usize, MacAddress),
}

impl Step {
    /// Any one, drawn by a number.
    fn drawn(number: u64) -> Self {
        let random = mix(number);
        let prefix = around(destination(random >> 8), random >> 32);
        match random % 8 {
            0 | 1 => Self::RouteRemoved(prefix),
            2 => {
                let [.., high, low] = number.to_be_bytes();
                let (port, router) = ((random >> 40) as usize % 2, (random >> 48) as usize % ROUTERS);
                Self::Mac(port, router, MacAddress([2, 0, port as u8, router as u8, high, low]))
            }
            _ => Self::Route(prefix, WAYS[(random >> 48) as usize % WAYS.len()]),
        }
    }

    fn change(self) -> Change {
        let table = TableId::MAIN;
        match self {
            Self::RouteRemoved(destination) => Change::RouteRemoved { table, destination },
            Self::Route(destination, way) => {
                let port = usize::from(destination.addr().is_ipv6());
                let hop = |&number| Hop {
                    gateway: Some(router(port, number)),
                    interface: interface(port),
                    weight: 1,
                };
                let action = RouteAction::Via(way.iter().map(hop).collect());
                Change::Route { table, route: Route { destination, action, mtu: None } }
            }
            Self::Mac(port, number, mac) => Change::Neighbor(Neighbor {
                interface: interface(port),
                address: router(port, number),
                state: NeighborState::Resolved(mac),
            }),
        }
    }
}

fn interface(port: usize) -> InterfaceId {
    InterfaceId(port as u16)
}

fn router(port: usize, number: usize) -> IpAddr {
    match port {
        0 => Ipv4Addr::new(198, 51, 100, 1 + number as u8).into(),
        _ => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2 + number as u16).into(),
    }
}

/// Where packets go, by the plainest means.
#[derive(Default)]
struct Model {
    routes: BTreeMap<IpNet, &'static [usize]>,
    macs: [[Option<MacAddress>; ROUTERS]; 2],
}

impl Model {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Route(prefix, way) => drop(self.routes.insert(prefix, way)),
            Step::RouteRemoved(prefix) => drop(self.routes.remove(&prefix)),
            Step::Mac(port, router, mac) => self.macs[port][router] = Some(mac),
        }
    }

    /// Whether a packet may leave to this MAC address.
    fn allows(&self, destination: IpAddr, mac: MacAddress) -> bool {
        let way = (0..8).find_map(|length| self.routes.get(&around(destination, length)));
        let macs = &self.macs[usize::from(destination.is_ipv6())];
        way.map_or(mac == MAC_PEER, |way| way.iter().any(|&router| macs[router] == Some(mac)))
    }
}

/// What is known of a packet that went through.
struct Seen {
    destination: IpAddr,
    mac: MacAddress,
    /// The oldest version of the routes it can have met, and the newest.
    versions: [u64; 2],
}

/// Versions of the routes, as others may know of them.
#[derive(Default)]
struct Versions {
    /// About to be published.
    newest: AtomicU64,
    /// Published.
    published: AtomicU64,
    /// Published before the worker's turn began.
    in_use: AtomicU64,
    no_more_changes: AtomicBool,
    no_more_packets: AtomicBool,
}

/// Sends a burst after the other, and says how each packet left.
fn watched(rx: &[Wire; 2], tx: &[Wire; 2], versions: &Versions) -> Vec<Seen> {
    let mut seen = Vec::new();
    for burst in 0_u64.. {
        if versions.no_more_changes.load(Ordering::SeqCst) {
            break;
        }
        let oldest = versions.in_use.load(Ordering::SeqCst);
        let numbers = burst * 40..(burst + 1) * 40;
        for number in numbers.clone() {
            let (mark, served) = (number.to_be_bytes(), mix(number) % SERVERS);
            let packet = match destination(mix(number)) {
                IpAddr::V4(client) => {
                    testing::udp_v6(&server(served).to_string(), &format!("2001:db8:46::{client}"), &mark)
                }
                IpAddr::V6(_) => {
                    let service = mix(number) / 2 % SERVERS;
                    testing::udp_v4("203.0.113.50", &format!("192.0.2.{service}"), &mark)
                }
            };
            let port = usize::from(packet[0] >> 4 == 6);
            rx[port].put(&testing::frame([MAC_V4, MAC_V6][port], &packet));
        }
        let (start, mut left) = (Instant::now(), numbers.count());
        while left > 0 {
            assert!(start.elapsed() < Duration::from_secs(120), "{left} packets never left");
            thread::yield_now();
            for frame in tx.iter().flat_map(Wire::take) {
                let number = u64::from_be_bytes(*frame.last_chunk().unwrap());
                left -= 1;
                seen.push(Seen {
                    destination: destination(mix(number)),
                    mac: MacAddress(*frame.first_chunk().unwrap()),
                    versions: [oldest, versions.newest.load(Ordering::SeqCst)],
                });
            }
        }
    }
    seen
}

/// A relay with a mapping for each server, and all routers of the model known.
fn beginning() -> (Compiler, Bench) {
    let mappings: Vec<_> = (0..SERVERS)
        .map(|number| (format!("192.0.2.{number}/32"), format!("{}/128", server(number))))
        .collect();
    let mappings: Vec<_> = mappings.iter().map(|(ipv4, ipv6)| (ipv4.as_str(), ipv6.as_str())).collect();
    let mut bench = Bench::new(MemoryPool::unlimited(), usize::MAX);
    let translation = Arc::new(testing::translation(&mappings));
    bench.publisher.publish(|snapshot| snapshot.translation = translation);
    let mut compiler = Compiler::default();
    testing::routing(1500, 1500).changes().into_iter().for_each(|change| compiler.apply(change));
    (compiler, bench)
}

/// What there is before the first packet: MAC addresses of all routers, and routes of both families.
fn first_steps() -> impl Iterator<Item = Step> {
    let macs = (0..2 * ROUTERS).map(|number| {
        let (port, router) = (number % 2, number / 2);
        Step::Mac(port, router, MacAddress([2, 0, port as u8, router as u8, 0xff, 0xff]))
    });
    let routes = (0..2 * BEFORE).map(|number| {
        let address = match number % 2 {
            0 => IpAddr::V4(client(CLIENTS + number)),
            _ => IpAddr::V6(server(SERVERS + number)),
        };
        Step::Route(around(address, mix(number)), WAYS[number as usize % WAYS.len()])
    });
    macs.chain(routes)
}

#[test]
fn no_packet_goes_a_way_that_no_route_led_while_it_passed() {
    let (mut compiler, bench) = beginning();
    let Bench { mut publisher, mut worker, rx, tx, .. } = bench;
    first_steps().for_each(|step| compiler.apply(step.change()));
    publisher.publish(|snapshot| snapshot.fib = Arc::new(compiler.version()));
    assert!(publisher.current().fib.is_deep());

    let versions = Versions::default();
    let (watched, counts) = thread::scope(|scope| {
        let turning = scope.spawn(|| {
            while !versions.no_more_packets.load(Ordering::SeqCst) {
                versions.in_use.store(versions.published.load(Ordering::SeqCst), Ordering::SeqCst);
                if !worker.turn() {
                    thread::yield_now();
                }
            }
            worker.counts().clone()
        });
        let watching = scope.spawn(|| watched(&rx, &tx, &versions));
        for version in 1..=CHANGES {
            compiler.apply(Step::drawn(version).change());
            versions.newest.store(version, Ordering::SeqCst);
            publisher.publish(|snapshot| snapshot.fib = Arc::new(compiler.version()));
            versions.published.store(version, Ordering::SeqCst);
            drop(publisher.reclaim());
        }
        versions.no_more_changes.store(true, Ordering::SeqCst);
        let watched = watching.join().unwrap();
        versions.no_more_packets.store(true, Ordering::SeqCst);
        (watched, turning.join().unwrap())
    });
    assert_eq!((counts.all_dropped(), counts.all_punted()), (0, 0));
    assert_eq!(counts.event(Event::Sent), watched.len() as u64);

    let mut model = Model::default();
    first_steps().for_each(|step| model.apply(step));
    let (mut waiting, mut open, mut turned) = (watched.iter().peekable(), Vec::<&Seen>::new(), 0_usize);
    for version in 0..=CHANGES {
        if version > 0 {
            model.apply(Step::drawn(version));
        }
        while let Some(seen) = waiting.next_if(|seen| seen.versions[0] <= version) {
            open.push(seen);
        }
        let before = open.len();
        open.retain(|seen| !model.allows(seen.destination, seen.mac));
        turned += before - open.len();
        if let Some(wrong) = open.iter().find(|seen| seen.versions[1] <= version) {
            panic!(
                "{} left to {:?} at none of the versions {:?}",
                wrong.destination, wrong.mac, wrong.versions
            );
        }
    }
    assert_eq!(turned, watched.len());
    println!("{turned} packets under {CHANGES} changes");
}
