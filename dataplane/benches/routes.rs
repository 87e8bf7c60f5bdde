//! What a full table costs: to load, to keep, and to change while workers use it.
//!
//! `cargo bench -p dataplane --features dpdk,testing --bench routes`; arguments as for `walk`. The table has 1,000,000 IPv4
//! and 250,000 IPv6 routes over four gateways, with prefixes as long as those of the Internet but spread at random, which is
//! worse for caches. Changes are timed one by one, each with the version made for it, its publication, and the end of
//! the version before; `to_worker` rows until another thread that polls has seen it. A row's first figure is the median,
//! rows called `worst` show the 99th percentile and, as `smallest`, nothing better.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a benchmark, not a service"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use dataplane::table::compiler::Compiler;
use dataplane::table::fib::{Fib, Path};
use dataplane::table::lpm::{self, Descents, Ipv4LpmEditor, LpmEditor};
use dataplane::table::publish::Publisher;
use dataplane::table::routing::{
    Change, Hop, Interface, InterfaceId, MacAddress, Neighbor, NeighborState, Route, RouteAction, TableId,
};
use dataplane::table::snapshot::Snapshot;
use dataplane::testing;
use ipnet::IpNet;

use common::clock::now;
use common::random::Random;
use common::report::{Arguments, Row, publish};
use poptrie::Poptrie;

mod common {
    pub(crate) mod clock;
    pub(crate) mod random;
    #[allow(dead_code, reason = "shared with benches that count allocations")]
    pub(crate) mod report;
}
#[path = "designs/poptrie.rs"]
mod poptrie;

const IPV4_ROUTES: usize = 1_000_000;
const IPV6_ROUTES: usize = 250_000;
const HOSTS: u32 = 100_000;
/// Look-ups timed together.
const BURST: usize = 64;

/// Shares of prefix lengths in thousandths, after the tables of 2025.
const IPV4_LENGTHS: [(u8, u32); 12] = [
    (24, 610),
    (23, 100),
    (22, 110),
    (21, 52),
    (20, 45),
    (19, 27),
    (18, 15),
    (17, 9),
    (16, 22),
    (15, 4),
    (14, 4),
    (12, 2),
];
const IPV6_LENGTHS: [(u8, u32); 10] =
    [(48, 480), (32, 130), (44, 100), (40, 90), (36, 55), (46, 50), (47, 35), (29, 30), (33, 20), (64, 10)];

fn main() {
    let arguments = Arguments::read(1000);
    let mut rows = Vec::new();
    let prefixes = prefixes();
    if arguments.want_any(ROWS) {
        table(&arguments, &prefixes, &mut rows);
    }
    designs(&arguments, &prefixes, &mut rows);
    publish(&arguments, &rows);
}

const ROWS: [&str; 16] = [
    "routes_load_seconds",
    "routes_per_second",
    "routes_memory_mb",
    "route_change_us",
    "route_change_worst_us",
    "default_route_change_us",
    "gateway_change_us",
    "neighbour_change_100k_us",
    "neighbour_change_100k_worst_us",
    "link_change_100k_worst_turn_us",
    "route_to_worker_us",
    "neighbour_to_worker_us",
    "route_lookup_v4_empty",
    "route_lookup_v4_1m",
    "route_lookup_v6_empty",
    "route_lookup_v6_250k",
];

/// Distinct prefixes of both families, in no order.
fn prefixes() -> Vec<IpNet> {
    let mut random = Random::new(1);
    let mut length = |lengths: &[(u8, u32)]| {
        let mut left = random.below(lengths.iter().map(|(_, share)| share).sum());
        lengths
            .iter()
            .find(|(_, share)| left.checked_sub(*share).map(|rest| left = rest).is_none())
            .unwrap()
            .0
    };
    let lengths_v4: Vec<u8> = (0..2 * IPV4_ROUTES).map(|_| length(&IPV4_LENGTHS)).collect();
    let lengths_v6: Vec<u8> = (0..2 * IPV6_ROUTES).map(|_| length(&IPV6_LENGTHS)).collect();
    let mut random = Random::new(2);
    let v4 = |length: &u8| {
        let address = Ipv4Addr::from_bits(0x0100_0000 + random.below(0xde00_0000));
        IpNet::new(address.into(), *length).unwrap().trunc()
    };
    let mut prefixes = distinct(lengths_v4.iter().map(v4), IPV4_ROUTES);
    let mut random = Random::new(3);
    let v6 = |length: &u8| {
        // Where the registries assign from: 2001::/16, 24 to 2c in hundreds.
        let first = [0x2001, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00][random.below(6) as usize]
            + (random.below(16) as u16);
        let bits = u128::from(first) << 112 | u128::from(random.bits()) << 48;
        IpNet::new(Ipv6Addr::from_bits(bits).into(), *length).unwrap().trunc()
    };
    prefixes.extend(distinct(lengths_v6.iter().map(v6), IPV6_ROUTES));
    prefixes
}

fn distinct(all: impl Iterator<Item = IpNet>, count: usize) -> Vec<IpNet> {
    let mut seen = std::collections::HashSet::new();
    all.filter(|prefix| seen.insert(*prefix)).take(count).collect()
}

const GATEWAYS: u32 = 4;
const LINK: InterfaceId = InterfaceId(0);

fn gateway(number: u32) -> IpAddr {
    Ipv4Addr::new(198, 51, 100, 1 + number as u8).into()
}

fn host(number: u32) -> IpAddr {
    Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | u128::from(number)).into()
}

fn route(destination: IpNet, over: u32) -> Change {
    let hops = vec![Hop { interface: LINK, gateway: Some(gateway(over % GATEWAYS)), weight: 1 }];
    let action = RouteAction::Via(hops);
    Change::Route { table: TableId::MAIN, route: Route { destination, action, mtu: None } }
}

fn resolved(address: IpAddr, mac: u32) -> Change {
    let [_, a, b, c] = mac.to_be_bytes();
    let state = NeighborState::Resolved(MacAddress([2, 0, 0, a, b, c]));
    Change::Neighbor(Neighbor { interface: LINK, address, state })
}

/// The compiled table, published.
struct Relay {
    compiler: Compiler,
    publisher: Publisher,
}

impl Relay {
    fn apply(&mut self, change: Change) {
        self.compiler.apply(change);
        self.publish();
    }

    fn publish(&mut self) {
        let fib = Arc::new(self.compiler.version());
        self.publisher.publish(|snapshot| snapshot.fib = fib);
        drop(self.publisher.reclaim());
    }
}

/// Resident memory in MB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1e3
}

fn table(arguments: &Arguments, prefixes: &[IpNet], rows: &mut Vec<Row>) {
    let mut compiler = Compiler::default();
    testing::routing(1500, 1500).changes().into_iter().for_each(|change| compiler.apply(change));
    (0..GATEWAYS).for_each(|number| compiler.apply(resolved(gateway(number), number)));
    let empty = compiler.version();
    let link = Change::Route {
        table: TableId::MAIN,
        route: Route {
            destination: IpNet::new(host(0), 64).unwrap(),
            action: RouteAction::Via(vec![Hop { interface: LINK, gateway: None, weight: 1 }]),
            mtu: None,
        },
    };
    compiler.apply(link);
    let (before, started) = (resident(), Instant::now());
    for (number, prefix) in (0..).zip(prefixes) {
        compiler.apply(route(*prefix, number));
    }
    let seconds = started.elapsed().as_secs_f64();
    rows.push(Row::of("routes_load_seconds", "s", vec![seconds]));
    rows.push(Row::of("routes_per_second", "routes/s", vec![prefixes.len() as f64 / seconds]));
    rows.push(Row::of("routes_memory_mb", "MB", vec![resident() - before]));
    lookups(arguments, &empty, &compiler.version(), prefixes, rows);
    (0..HOSTS).for_each(|number| compiler.apply(resolved(host(number), number)));

    let first = Snapshot {
        generation: 1,
        translation: Arc::new(testing::translation(&[])),
        fib: Arc::new(compiler.version()),
    };
    let mut relay = Relay { compiler, publisher: Publisher::new(first) };
    let mut random = Random::new(4);
    let samples = arguments.bursts;
    let mut any = |count: usize| random.below(count as u32);
    let mut timed = |name: &str, worst: Option<&str>, change: &mut dyn FnMut(u32) -> Change| {
        let mut micros: Vec<f64> = (0..samples as u32)
            .map(|number| {
                let change = change(number);
                let started = Instant::now();
                relay.apply(change);
                started.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        rows.push(Row::of(name, "us", micros.clone()));
        if let Some(worst) = worst {
            micros.sort_by(f64::total_cmp);
            rows.push(Row::of(worst, "us", vec![micros[micros.len() * 99 / 100]]));
        }
    };
    timed("route_change_us", Some("route_change_worst_us"), &mut |number| {
        route(prefixes[any(prefixes.len()) as usize], number)
    });
    let default: IpNet = "0.0.0.0/0".parse().unwrap();
    timed("default_route_change_us", None, &mut |number| route(default, number));
    timed("gateway_change_us", None, &mut |number| resolved(gateway(number % GATEWAYS), 1 << 20 | number));
    timed("neighbour_change_100k_us", Some("neighbour_change_100k_worst_us"), &mut |number| {
        resolved(host(any(HOSTS as usize)), 1 << 20 | number)
    });
    rows.push(Row::of("link_change_100k_worst_turn_us", "us", link_changes(&mut relay)));
    to_worker(arguments, &mut relay, prefixes, rows);
}

/// The longest that the control thread is busy at a time after a link with all the hosts on it has got another MAC address:
/// the change itself, then each slice of the rewriting, each with its version and publication.
fn link_changes(relay: &mut Relay) -> Vec<f64> {
    let link = testing::routing(1500, 1500).interfaces[0].clone();
    let change = |number: u8| {
        let mac = MacAddress([2, 0, 0, 0, 0, number]);
        let mut longest = timed(|| relay.apply(Change::Interface(Interface { mac, ..link.clone() })));
        while relay.compiler.is_unsettled() {
            longest = longest.max(timed(|| {
                relay.compiler.settle();
                relay.publish();
            }));
        }
        longest
    };
    (1..=20).map(change).collect()
}

fn timed(act: impl FnOnce()) -> f64 {
    let started = Instant::now();
    act();
    started.elapsed().as_secs_f64() * 1e6
}

/// Cycles per look-up of random addresses in a burst of 64, each inside a random route, IPv4 then IPv6, in both tables by
/// turns. As the lane does it, all IPv4 routes of a burst are fetched before the first is looked up, and in a large table those
/// of IPv6 are looked up together. Addresses are drawn beforehand: each turn finds the caches as the turns before left them.
fn lookups(arguments: &Arguments, empty: &Fib, full: &Fib, prefixes: &[IpNet], rows: &mut Vec<Row>) {
    let mut random = Random::new(7);
    let fibs = [empty, full];
    let draw = |_| std::array::from_fn(|_| inside_ipv4(&mut random, &prefixes[..IPV4_ROUTES]));
    let bursts: Vec<[Ipv4Addr; BURST]> = (0..20 * arguments.bursts).map(draw).collect();
    let names = ["route_lookup_v4_empty", "route_lookup_v4_1m"];
    by_turns(names, &bursts, |table, keys| ports_ipv4(fibs[table], keys), rows);
    let draw = |_| std::array::from_fn(|_| inside_ipv6(&mut random, &prefixes[IPV4_ROUTES..]));
    let bursts: Vec<[Ipv6Addr; BURST]> = (0..20 * arguments.bursts).map(draw).collect();
    let names = ["route_lookup_v6_empty", "route_lookup_v6_250k"];
    by_turns(names, &bursts, |table, keys| ports_ipv6(fibs[table], keys), rows);
}

/// Times `look_up` in two tables, a hundred bursts each at a time.
fn by_turns<K>(
    names: [&str; 2],
    bursts: &[[K; BURST]],
    look_up: impl Fn(usize, &[K; BURST]) -> u32,
    rows: &mut Vec<Row>,
) {
    let mut cycles = [Vec::new(), Vec::new()];
    for (turn, bursts) in bursts.chunks(100).enumerate() {
        for burst in bursts {
            let before = now();
            black_box(look_up(turn % 2, burst));
            cycles[turn % 2].push((now() - before) as f64 / BURST as f64);
        }
    }
    rows.extend(names.into_iter().zip(cycles).map(|(name, cycles)| Row::of_ticks(name, "lookup", cycles)));
}

fn ports_ipv4(fib: &Fib, keys: &[Ipv4Addr; BURST]) -> u32 {
    let fetched = keys.map(|key| fib.fetch_ipv4(key));
    keys.iter().zip(fetched).map(|(key, fetched)| port_of(fib.lookup_fetched(fetched, *key, || 0))).sum()
}

fn inside_ipv4(random: &mut Random, prefixes: &[IpNet]) -> Ipv4Addr {
    match prefixes[random.below(prefixes.len() as u32) as usize] {
        IpNet::V4(net) => (net.network().to_bits() | random.bits() as u32 & net.hostmask().to_bits()).into(),
        IpNet::V6(_) => unreachable!("the first million are IPv4"),
    }
}

fn inside_ipv6(random: &mut Random, prefixes: &[IpNet]) -> Ipv6Addr {
    match prefixes[random.below(prefixes.len() as u32) as usize] {
        IpNet::V6(net) => {
            (net.network().to_bits() | u128::from(random.bits()) & net.hostmask().to_bits()).into()
        }
        IpNet::V4(_) => unreachable!("those behind the first million are IPv6"),
    }
}

fn ports_ipv6(fib: &Fib, keys: &[Ipv6Addr; BURST]) -> u32 {
    if !fib.is_deep() {
        return keys.iter().map(|key| port(fib, IpAddr::V6(*key))).sum();
    }
    let (mut descents, mut ports) = (Descents::<BURST>::new(), 0);
    for (number, key) in (0..).zip(keys) {
        if let Some(route) = fib.begin_ipv6(&mut descents, number, *key) {
            ports += port_of(fib.lookup_found(route, *key, || 0));
        }
    }
    descents.finish(|number, route| {
        ports += port_of(fib.lookup_found(route, keys[usize::from(number)], || 0));
    });
    ports
}

fn port_of(path: &Path) -> u32 {
    match path {
        Path::Adjacent(adjacency) => u32::from(adjacency.port.0),
        _ => 99,
    }
}

fn port(fib: &Fib, destination: IpAddr) -> u32 {
    port_of(fib.lookup(destination, || 0))
}

/// Until a thread that polls as a worker does has seen a change.
fn to_worker(arguments: &Arguments, relay: &mut Relay, prefixes: &[IpNet], rows: &mut Vec<Row>) {
    let (seen, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut reader = relay.publisher.reader();
    let mut random = Random::new(5);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                seen.store(reader.pin().generation, Ordering::Release);
                std::hint::spin_loop();
            }
        });
        let mut until_seen = |name: &str, change: &mut dyn FnMut(u32) -> Change| {
            let micros = (0..arguments.bursts as u32).map(|number| {
                let change = change(number);
                let started = Instant::now();
                relay.apply(change);
                let generation = relay.publisher.current().generation;
                while seen.load(Ordering::Acquire) < generation {
                    std::hint::spin_loop();
                }
                started.elapsed().as_secs_f64() * 1e6
            });
            rows.push(Row::of(name, "us", micros.collect()));
        };
        until_seen("route_to_worker_us", &mut |number| {
            route(prefixes[random.below(prefixes.len() as u32) as usize], number)
        });
        until_seen("neighbour_to_worker_us", &mut |number| {
            resolved(gateway(number % GATEWAYS), 1 << 21 | number)
        });
        stop.store(true, Ordering::Relaxed);
    });
}

/// Beside the tables of 256, the trie of IPv6 and a poptrie, with the same IPv4 routes.
fn designs(arguments: &Arguments, prefixes: &[IpNet], rows: &mut Vec<Row>) {
    const NAMES: [&str; 12] = [
        "design_poptrie_change_us",
        "design_trie_change_us",
        "design_octets_change_us",
        "design_poptrie_lookup_cycles",
        "design_trie_lookup_cycles",
        "design_octets_lookup_cycles",
        "design_poptrie_memory_mb",
        "design_trie_memory_mb",
        "design_octets_memory_mb",
        "design_poptrie_build_seconds",
        "design_trie_build_seconds",
        "design_octets_build_seconds",
    ];
    if !arguments.want_any(NAMES) {
        return;
    }
    let mut routes: BTreeMap<(Ipv4Addr, u8), u32> = (0..)
        .zip(&prefixes[..IPV4_ROUTES])
        .map(|(number, prefix)| ((ipv4(prefix), prefix.prefix_len()), 1 + number % GATEWAYS))
        .collect();
    let list = |routes: &BTreeMap<(Ipv4Addr, u8), u32>| {
        routes
            .iter()
            .map(|((bits, length), value)| (lpm::key((*bits).into()), *length, *value))
            .collect::<Vec<_>>()
    };
    let seconds = |started: Instant| started.elapsed().as_secs_f64();
    let started = Instant::now();
    let mut poptrie = Poptrie::build(list(&routes), 0);
    rows.push(Row::of(NAMES[9], "s", vec![seconds(started)]));
    let started = Instant::now();
    let mut editor = LpmEditor::default();
    list(&routes).into_iter().for_each(|(bits, length, value)| {
        editor.set(bits, length, value);
    });
    rows.push(Row::of(NAMES[10], "s", vec![seconds(started)]));
    let started = Instant::now();
    let mut octets_editor = Ipv4LpmEditor::default();
    routes.iter().for_each(|((address, length), value)| {
        octets_editor.set(*address, *length, *value);
    });
    rows.push(Row::of(NAMES[11], "s", vec![seconds(started)]));
    let (mut trie, mut octets) = (editor.version(), octets_editor.version());
    rows.push(Row::of(NAMES[6], "MB", vec![poptrie.memory() as f64 / 1e6]));
    rows.push(Row::of(NAMES[7], "MB", vec![trie.memory() as f64 / 1e6]));
    rows.push(Row::of(NAMES[8], "MB", vec![octets.memory() as f64 / 1e6]));

    let mut random = Random::new(6);
    let (mut rebuilt, mut changed, mut changed_octets) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..200_u32 {
        let prefix = prefixes[random.below(IPV4_ROUTES as u32) as usize];
        let (address, length, value) = (ipv4(&prefix), prefix.prefix_len(), 1 + number % GATEWAYS);
        routes.insert((address, length), value);
        let started = Instant::now();
        editor.set(lpm::key(address.into()), length, value);
        trie = editor.version();
        changed.push(seconds(started) * 1e6);
        let started = Instant::now();
        octets_editor.set(address, length, value);
        octets = octets_editor.version();
        changed_octets.push(seconds(started) * 1e6);
        if number.is_multiple_of(40) {
            let started = Instant::now();
            poptrie = Poptrie::build(list(&routes), 0);
            rebuilt.push(seconds(started) * 1e6);
        }
    }
    poptrie = if rebuilt.is_empty() { poptrie } else { Poptrie::build(list(&routes), 0) };
    rows.push(Row::of(NAMES[0], "us", rebuilt));
    rows.push(Row::of(NAMES[1], "us", changed));
    rows.push(Row::of(NAMES[2], "us", changed_octets));

    let mut cycles = [(); 3].map(|()| Vec::new());
    for _ in 0..arguments.bursts {
        let mut draw = || -> Vec<Ipv4Addr> {
            (0..1024).map(|_| (0x0100_0000 + random.below(0xde00_0000)).into()).collect()
        };
        for address in draw() {
            let key = lpm::key(address.into());
            assert!(poptrie.lookup(key) == trie.lookup(key) && trie.lookup(key) == octets.lookup(address));
        }
        // Others than those that were compared: none is in a cache because of that.
        let keys: Vec<u128> = draw().into_iter().map(|address| lpm::key(address.into())).collect();
        let before = now();
        black_box(keys.iter().map(|key| poptrie.lookup(*key)).sum::<u32>());
        cycles[0].push((now() - before) as f64 / 1024.0);
        let keys: Vec<u128> = draw().into_iter().map(|address| lpm::key(address.into())).collect();
        let before = now();
        black_box(keys.iter().map(|key| trie.lookup(*key)).sum::<u32>());
        cycles[1].push((now() - before) as f64 / 1024.0);
        let keys = draw();
        let before = now();
        black_box(keys.iter().map(|key| octets.lookup(*key)).sum::<u32>());
        cycles[2].push((now() - before) as f64 / 1024.0);
    }
    for (name, cycles) in NAMES[3..6].iter().zip(cycles) {
        rows.push(Row::of_ticks(name, "lookup", cycles));
    }
}

fn ipv4(prefix: &IpNet) -> Ipv4Addr {
    match prefix {
        IpNet::V4(net) => net.network(),
        IpNet::V6(_) => unreachable!("the first million are IPv4"),
    }
}
