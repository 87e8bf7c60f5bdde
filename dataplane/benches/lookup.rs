//! Cycles per lookup of mappings and next hops, and what changes of the tables cost.
//!
//! `cargo bench -p dataplane --features dpdk,testing --bench lookup`; arguments as for `walk`. A burst of 64 is looked
//! up as the express lane does it: the lines of all keys are fetched, then all keys are looked up. `one_at_a_time`
//! rows wait for each answer before the next key is known. Keys are in cache before a burst is timed, tables are where
//! the keys before have left them.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a benchmark, not a service"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use dataplane::io::BURST;
use dataplane::table::eam::{Change, Eam, EamTable};
use dataplane::table::fib::{Fib, Path};
use dataplane::table::routing::{
    Hop, InterfaceId, MacAddress, Neighbor, NeighborState, Route, RouteAction, Routing,
};
use dataplane::testing;
use dataplane::wire::checksum::Delta;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use common::allocations::counted;
use common::clock::now;
use common::keys::{SIZES, eams, service_v4, service_v6};
use common::random::Random;
use common::report::{Arguments, Row, publish};
use common::routes::full_table;

mod common {
    pub(crate) mod allocations;
    pub(crate) mod clock;
    pub(crate) mod keys;
    pub(crate) mod random;
    pub(crate) mod report;
    pub(crate) mod routes;
}

/// Keys between two looks at the clock: enough for its own cost not to matter, few enough to stay in cache.
const KEYS: usize = 16 * BURST;

fn main() {
    let arguments = Arguments::read(1000);
    let mut rows = Vec::new();
    for (label, count) in SIZES {
        hosts(&arguments, label, count, &mut rows);
    }
    for (label, count) in [("10k", 10_000), ("1m", 1_000_000)] {
        prefixes(&arguments, label, count, &mut rows);
    }
    next_hops(&arguments, &mut rows);
    changes(&arguments, &mut rows);
    publish(&arguments, &rows);
}

/// How the keys of a row are drawn.
#[derive(Clone, Copy)]
enum Order {
    Sequential,
    Random,
    /// Zipf's law: the n-th most frequent mapping is n times rarer than the most frequent one.
    Skewed,
}

impl Order {
    const ALL: [(&str, Self); 3] =
        [("sequential", Self::Sequential), ("random", Self::Random), ("skewed", Self::Skewed)];

    /// Numbers below `count`.
    fn numbers(self, count: u32) -> impl FnMut() -> u32 {
        let (mut next, mut random) = (0, Random::new(1));
        move || match self {
            Self::Sequential => {
                next = (next + 1) % count;
                next
            }
            Self::Random => random.below(count),
            Self::Skewed => {
                let uniform = (random.bits() >> 11) as f64 / (1_u64 << 53) as f64;
                (f64::from(count).powf(uniform) as u32 - 1).min(count - 1)
            }
        }
    }
}

/// Times `work` on `samples` runs of keys; the medians are per key.
fn measure<K: Copy>(
    name: &str,
    samples: usize,
    mut key: impl FnMut() -> K,
    mut work: impl FnMut(&[K]),
) -> Row {
    let mut costs = Vec::with_capacity(samples);
    let mut keys = Vec::with_capacity(KEYS);
    let mut allocations = 0;
    for sample in 0..samples {
        keys.clear();
        keys.extend((0..KEYS).map(|_| key()));
        let (spent, allocated) = counted(|| {
            let before = now();
            work(&keys);
            now() - before
        });
        allocations += allocated;
        if sample >= samples / 10 {
            costs.push(spent as f64 / KEYS as f64);
        }
    }
    Row::of_ticks(name, "lookup", costs).with_allocations(allocations)
}

/// Mappings between hosts only.
fn hosts(arguments: &Arguments, label: &str, count: u32, rows: &mut Vec<Row>) {
    let orders = Order::ALL.map(|(name, order)| (format!("hit_{name}"), order));
    let name = |family: &str, how: &str| format!("lookup_{family}_{how}_eam_{label}");
    let kinds = orders.iter().map(|(how, _)| how.as_str()).chain(["miss", "one_at_a_time"]);
    let names: Vec<_> = kinds.flat_map(|how| ["v4", "v6"].map(|family| name(family, how))).collect();
    let memory = format!("memory_eam_{label}_mb");
    if !arguments.want_any(names.iter().map(String::as_str).chain([memory.as_str()])) {
        return;
    }
    let table = EamTable::build(&eams(count)).unwrap();
    let samples = arguments.bursts;
    let mut row = |name: String, make: &mut dyn FnMut(&str) -> Row| {
        if arguments.wants(&name) {
            rows.push(make(&name));
        }
    };
    for (how, order) in &orders {
        row(name("v4", how), &mut |name| {
            let mut number = order.numbers(count);
            measure(name, samples, || service_v4(number()), |keys| hosts_v4(&table, keys))
        });
        row(name("v6", how), &mut |name| {
            let mut number = order.numbers(count);
            measure(name, samples, || service_v6(number()), |keys| hosts_v6(&table, keys))
        });
    }
    let mut random = Random::new(1);
    row(name("v4", "miss"), &mut |name| {
        let key = || Ipv4Addr::from_bits(0x0a00_0000 + random.below(1 << 24));
        measure(name, samples, key, |keys| hosts_v4(&table, keys))
    });
    row(name("v6", "miss"), &mut |name| {
        let key = || Ipv6Addr::from_bits(0x2001_0db8_000f_u128 << 80 | u128::from(random.bits()));
        measure(name, samples, key, |keys| hosts_v6(&table, keys))
    });
    row(name("v4", "one_at_a_time"), &mut |name| {
        let mut number = Order::Random.numbers(count);
        measure(name, samples, || service_v4(number()), |keys| one_at_a_time_v4(&table, keys))
    });
    row(name("v6", "one_at_a_time"), &mut |name| {
        let mut number = Order::Random.numbers(count);
        measure(name, samples, || service_v6(number()), |keys| one_at_a_time_v6(&table, keys))
    });
    row(memory, &mut |name| Row::of(name, "MB", vec![table.memory() as f64 / 1e6]));
}

/// As the lane does it, a burst at a time; what is no host is left alone.
fn hosts_v4(table: &EamTable, keys: &[Ipv4Addr]) {
    let (mut addresses, mut delta) = (0, Delta::NONE);
    for burst in keys.as_chunks::<BURST>().0 {
        let fetched = burst.map(|key| table.fetch_ipv4(key));
        for (line, key) in fetched.into_iter().zip(burst) {
            if let Some(mapped) = table.host_ipv4(line, *key) {
                addresses ^= mapped.address.to_bits();
                delta = delta.and(mapped.delta);
            }
        }
    }
    black_box((addresses, delta));
}

/// The same from IPv6.
fn hosts_v6(table: &EamTable, keys: &[Ipv6Addr]) {
    let (mut addresses, mut delta) = (0, Delta::NONE);
    for burst in keys.as_chunks::<BURST>().0 {
        let fetched = burst.map(|key| table.fetch_ipv6(key));
        for (line, key) in fetched.into_iter().zip(burst) {
            if let Some(mapped) = table.host_ipv6(line, *key) {
                addresses ^= mapped.address.to_bits();
                delta = delta.and(mapped.delta);
            }
        }
    }
    black_box((addresses, delta));
}

/// Each key is known when the answer before it is.
fn one_at_a_time_v4(table: &EamTable, keys: &[Ipv4Addr]) {
    let (zero, mut before) = (black_box(0), 0);
    for key in keys {
        let key = Ipv4Addr::from_bits(key.to_bits() ^ (before & zero));
        before = table.lookup_ipv4(key).map_or(0, |mapped| mapped.address.to_bits() as u32);
    }
    black_box(before);
}

/// The same from IPv6.
fn one_at_a_time_v6(table: &EamTable, keys: &[Ipv6Addr]) {
    let (zero, mut before) = (black_box(0), 0);
    for key in keys {
        let key = Ipv6Addr::from_bits(key.to_bits() ^ u128::from(before & zero));
        before = table.lookup_ipv6(key).map_or(0, |mapped| mapped.address.to_bits());
    }
    black_box(before);
}

/// Every tenth mapping is one of 16 addresses, and every tenth key a random one of those.
fn prefixes(arguments: &Arguments, label: &str, count: u32, rows: &mut Vec<Row>) {
    let names = ["v4", "v6"].map(|family| format!("lookup_{family}_tenth_prefixes_eam_{label}"));
    if !arguments.want_any(names.iter().map(String::as_str)) {
        return;
    }
    let prefix_v4 = |number: u32| Ipv4Addr::from_bits(0x0b00_0000 + number * 16);
    let prefix_v6 = |number: u32| Ipv6Addr::from_bits(service_v6(number).to_bits() << 4 | 1 << 90);
    let eams: Vec<Eam> = (0..count)
        .map(|number| match number % 10 {
            0 => Eam {
                ipv4: Ipv4Net::new_assert(prefix_v4(number / 10), 28),
                ipv6: Ipv6Net::new_assert(prefix_v6(number), 124).trunc(),
            },
            _ => Eam { ipv4: service_v4(number).into(), ipv6: service_v6(number).into() },
        })
        .collect();
    let table = EamTable::build(&eams).unwrap();
    let mut random = Random::new(1);
    let mut pick = || {
        let number = random.below(count);
        (eams[number as usize], if number.is_multiple_of(10) { random.below(16) } else { 0 })
    };
    if arguments.wants(&names[0]) {
        let key = || {
            let (eam, host) = pick();
            Ipv4Addr::from_bits(eam.ipv4.network().to_bits() + host)
        };
        rows.push(measure(&names[0], arguments.bursts, key, |keys| any_v4(&table, keys)));
    }
    if arguments.wants(&names[1]) {
        let key = || {
            let (eam, host) = pick();
            Ipv6Addr::from_bits(eam.ipv6.network().to_bits() + u128::from(host))
        };
        rows.push(measure(&names[1], arguments.bursts, key, |keys| any_v6(&table, keys)));
    }
}

/// As the lane does it: what is no host is looked up once more.
fn any_v4(table: &EamTable, keys: &[Ipv4Addr]) {
    let mut addresses = 0;
    for burst in keys.as_chunks::<BURST>().0 {
        let fetched = burst.map(|key| table.fetch_ipv4(key));
        for (line, key) in fetched.into_iter().zip(burst) {
            let mapped = table.host_ipv4(line, *key).or_else(|| table.lookup_ipv4(*key)).unwrap();
            addresses ^= mapped.address.to_bits();
        }
    }
    black_box(addresses);
}

/// The same from IPv6.
fn any_v6(table: &EamTable, keys: &[Ipv6Addr]) {
    let mut addresses = 0;
    for burst in keys.as_chunks::<BURST>().0 {
        let fetched = burst.map(|key| table.fetch_ipv6(key));
        for (line, key) in fetched.into_iter().zip(burst) {
            let mapped = table.host_ipv6(line, *key).or_else(|| table.lookup_ipv6(*key)).unwrap();
            addresses ^= mapped.address.to_bits();
        }
    }
    black_box(addresses);
}

/// Where packets leave by: a default route, links with neighbours, a full table.
fn next_hops(arguments: &Arguments, rows: &mut Vec<Row>) {
    let samples = arguments.bursts;
    let mut random = Random::new(1);
    let mut any_v4 = || IpAddr::V4(Ipv4Addr::from_bits(0x0100_0000 + random.below(0xde00_0000)));
    if arguments.wants("next_hop_v4_default") {
        let fib = testing::fib(1500, 1500);
        rows.push(measure("next_hop_v4_default", samples, &mut any_v4, |keys| adjacencies(&fib, keys)));
    }
    if arguments.wants("next_hop_v6_default") {
        let fib = testing::fib(1500, 1500);
        let mut number = Order::Random.numbers(1_000_000);
        let key = || IpAddr::V6(service_v6(number()));
        rows.push(measure("next_hop_v6_default", samples, key, |keys| adjacencies(&fib, keys)));
    }
    if arguments.wants("next_hop_v6_1k_links") {
        let fib = Fib::build(&links());
        let mut number = Order::Random.numbers(4 * LINKS);
        let key = || on_link(number());
        rows.push(measure("next_hop_v6_1k_links", samples, key, |keys| adjacencies(&fib, keys)));
    }
    for (label, count) in [("100k", 100_000), ("1m", 1_000_000)] {
        let (name, build) = (format!("next_hop_v4_routes_{label}"), format!("build_routes_{label}_seconds"));
        if !arguments.want_any([name.as_str(), build.as_str()]) {
            continue;
        }
        let routing = full_table(count);
        let started = Instant::now();
        let fib = Fib::build(&routing);
        rows.push(Row::of(&build, "s", vec![started.elapsed().as_secs_f64()]));
        rows.push(measure(&name, samples, &mut any_v4, |keys| adjacencies(&fib, keys)));
    }
}

fn adjacencies(fib: &Fib, keys: &[IpAddr]) {
    let mut ports = 0;
    for key in keys {
        let Path::Adjacent(adjacency) = fib.lookup(*key, || 0) else { unreachable!("{key} has a route") };
        ports ^= adjacency.port.0;
    }
    black_box(ports);
}

const LINKS: u32 = 1_000;

/// Four neighbours on each of the links.
fn on_link(number: u32) -> IpAddr {
    let (link, host) = (u128::from(number / 4), u128::from(number % 4 + 1));
    IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | link << 64 | host))
}

/// 1,000 /64s on one interface, whose neighbours are all known.
fn links() -> Routing {
    let mut routing = testing::routing(1500, 1500);
    let interface = InterfaceId(1);
    for number in 0..4 * LINKS {
        let address = on_link(number);
        let state = NeighborState::Resolved(MacAddress([2, 0, 0, 1, (number >> 8) as u8, number as u8]));
        routing.neighbors.push(Neighbor { interface, address, state });
        if number % 4 == 0 {
            let destination = IpNet::new(address, 64).unwrap().trunc();
            let hops = vec![Hop { interface, gateway: None, weight: 1 }];
            routing.routes.push(Route { destination, action: RouteAction::Via(hops), mtu: None });
        }
    }
    routing
}

/// A table of a million mappings: how fast it is built, and how fast it follows changes.
fn changes(arguments: &Arguments, rows: &mut Vec<Row>) {
    const COUNT: u32 = 1_000_000;
    const BATCHES: [(u32, usize); 5] = [(1, 200), (10, 100), (100, 40), (1_000, 20), (10_000, 20)];
    let names = BATCHES.map(|(batch, _)| format!("changes_per_second_batch_{}", label(batch)));
    let build = "build_1m_seconds";
    if !arguments.want_any(names.iter().map(String::as_str).chain([build])) {
        return;
    }
    let eams = eams(COUNT);
    let mut seconds = Vec::new();
    let mut table = EamTable::build(&[]).unwrap();
    for _ in 0..5 {
        let started = Instant::now();
        table = EamTable::build(&eams).unwrap();
        seconds.push(started.elapsed().as_secs_f64());
    }
    rows.push(Row::of(build, "s", seconds));
    let mut random = Random::new(1);
    for ((batch, runs), name) in BATCHES.into_iter().zip(names) {
        let mut rates = Vec::new();
        for _ in 0..runs {
            let first = random.below(COUNT);
            // The step has no divisor in common with the number of mappings: none is taken twice.
            let chosen = (0..batch).map(|step| eams[((first + step * 7_919) % COUNT) as usize]);
            let leave: Vec<Change> = chosen.clone().map(Change::Remove).collect();
            let come_back: Vec<Change> = chosen.map(Change::Add).collect();
            let started = Instant::now();
            // The version before is freed as well, as the publisher does.
            table = table.apply(&leave).unwrap();
            table = table.apply(&come_back).unwrap();
            rates.push(f64::from(2 * batch) / started.elapsed().as_secs_f64());
        }
        rows.push(Row::of(&name, "changes/s", rates));
    }
    black_box(&table);
}

/// 1000 as 1k.
fn label(number: u32) -> String {
    if number >= 1000 { format!("{}k", number / 1000) } else { number.to_string() }
}
