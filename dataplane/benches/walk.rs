//! Cycles per packet of a worker's turn, everything but the driver: parse, lookup, translate, next hop, transmit.
//!
//! `cargo bench -p dataplane --features dpdk,testing` prints a table; `-- --json FILE` also writes it as JSON, `--only TEXT`
//! takes the rows whose name has it, `--bursts N` sets their length (3000). Every row is
//! the median over many bursts of 64 packets; packets are written afresh, into cache, before each burst. Memory
//! allocations during the measured bursts are counted and must be zero.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a benchmark, not a service"
)]

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dataplane::buffer::Buffer;
use dataplane::counters::Event;
use dataplane::exception::{inject_ring, punt_ring};
use dataplane::io::BURST;
use dataplane::stage::translate::{v4_to_v6, v6_to_v4};
use dataplane::stage::transport::{self, TransportV4, TransportV6};
use dataplane::table::eam::{Eam, EamTable};
use dataplane::table::fib::Fib;
use dataplane::table::icmp_source::{Choice, IcmpSourcePool};
use dataplane::table::prefix::TranslationPrefix;
use dataplane::table::publish::Publisher;
use dataplane::table::snapshot::Snapshot;
use dataplane::table::translation::{
    Hairpin, IcmpSourceExtension, Settings, Translation, TranslationParts, UdpZeroChecksum,
};
use dataplane::testing;
use dataplane::wire::checksum::{Delta, Sum};
use dataplane::wire::ethernet;
use dataplane::wire::ipv4::Ipv4Header;
use dataplane::wire::ipv6::{self, Chain, Ipv6Header};
use dataplane::worker::{Clock, Poll, Worker, WorkerParts};

use common::allocations::counted;
use common::clock::now;
use common::keys::{SIZES, eams, service_v4};
use common::packets::{self, Make};
use common::report::{Arguments, Row, publish};
use common::routes::{full_table, inside, ipv6_prefixes, ipv6_table};
use common::slab::{Pool, Rx, Shared, SlabBuffer, Tx};

mod common {
    pub(crate) mod allocations;
    pub(crate) mod clock;
    pub(crate) mod keys;
    pub(crate) mod packets;
    pub(crate) mod random;
    pub(crate) mod report;
    pub(crate) mod routes;
    pub(crate) mod slab;
}

/// EAMs in the rows that do not name a number.
const TABLE: u32 = 10_000;

fn main() {
    let arguments = Arguments::read(3000);
    let started = Instant::now();
    let mut rows = Vec::new();
    for (label, count) in SIZES {
        let named = |name: &str| format!("cycles_{name}_eam_{label}");
        let full: Vec<(String, usize, Make)> = vec![
            (named("v4_to_v6"), BURST, packets::udp_v4_to_v6(count)),
            (named("v6_to_v4"), BURST, packets::udp_v6_to_v4(count)),
            (named("mixed"), BURST, packets::mixed(count)),
        ];
        turns(&arguments, count, Settings::default(), full, &mut rows);
    }
    routes(&arguments, &mut rows);
    turns(&arguments, TABLE, Settings::default(), families(), &mut rows);
    let computed: Vec<(String, usize, Make)> =
        vec![("cycles_udp_computed_v4_to_v6".into(), BURST, packets::udp_without_checksum(TABLE))];
    let settings = Settings { udp_zero_checksum: UdpZeroChecksum::Compute, ..Settings::default() };
    turns(&arguments, TABLE, settings, computed, &mut rows);
    turns(&arguments, TABLE, Settings::default(), short_bursts(), &mut rows);
    for (name, settings) in options() {
        let mixed: Vec<(String, usize, Make)> =
            vec![(format!("cycles_option_{name}"), BURST, packets::mixed(TABLE))];
        turns(&arguments, TABLE, settings, mixed, &mut rows);
    }
    kernels(&arguments, &mut rows);
    println!("{:.1} s", started.elapsed().as_secs_f64());
    publish(&arguments, &rows);
}

/// Towards clients everywhere: a full table beside a default route.
fn routes(arguments: &Arguments, rows: &mut Vec<Row>) {
    ipv6_routes(arguments, rows);
    for (label, count) in [("default", 0), ("1m", 1_000_000)] {
        let name = format!("cycles_v6_to_v4_eam_10k_routes_{label}");
        if arguments.wants(&name) {
            let fib = Fib::build(&full_table(count));
            let mut bench = Bench::new(translation(TABLE, Settings::default()), fib);
            rows.push(bench.measure(&name, arguments.bursts, BURST, packets::udp_v6_to_anywhere(TABLE)));
        }
    }
}

/// Towards servers and natives everywhere in IPv6: a full table beside a default route.
fn ipv6_routes(arguments: &Arguments, rows: &mut Vec<Row>) {
    for (label, count) in [("default", 0), ("250k", 250_000)] {
        let names = [
            format!("cycles_v4_to_v6_eam_10k_routes6_{label}"),
            format!("cycles_v4_to_v6_eam_1m_routes6_{label}"),
            format!("cycles_native_v6_routes6_{label}"),
        ];
        if !arguments.want_any(names.iter().map(String::as_str)) {
            continue;
        }
        let prefixes = ipv6_prefixes(250_000);
        let table = ipv6_table(&prefixes[..count]);
        for (name, eams) in names.iter().zip([TABLE, 1_000_000]) {
            if arguments.wants(name) {
                let servers = inside(&prefixes, eams as usize);
                let eam = |(number, server): (u32, &Ipv6Addr)| Eam {
                    ipv4: service_v4(number).into(),
                    ipv6: (*server).into(),
                };
                let eams = distinct((0..).zip(&servers).map(eam).collect());
                let count = eams.len() as u32;
                let mut bench = Bench::new(translation_of(&eams, Settings::default()), Fib::build(&table));
                rows.push(bench.measure(name, arguments.bursts, BURST, packets::udp_v4_to_v6(count)));
            }
        }
        if arguments.wants(&names[2]) {
            let mut bench = Bench::new(translation(TABLE, Settings::default()), Fib::build(&table));
            let make = packets::native_v6_to(TABLE, inside(&prefixes, 1 << 20));
            rows.push(bench.measure(&names[2], arguments.bursts, BURST, make));
        }
    }
}

/// Those of different servers, their IPv4 addresses one after the other.
fn distinct(eams: Vec<Eam>) -> Vec<Eam> {
    let mut seen = std::collections::HashSet::new();
    let eams = eams.into_iter().filter(|eam| seen.insert(eam.ipv6));
    (0..).zip(eams).map(|(number, eam)| Eam { ipv4: service_v4(number).into(), ..eam }).collect()
}

/// Every kind of packet.
fn families() -> Vec<(String, usize, Make)> {
    let rows: [(&str, Make); 13] = [
        ("tcp_v4_to_v6", packets::tcp_v4_to_v6(TABLE)),
        ("tcp_v6_to_v4", packets::tcp_v6_to_v4(TABLE)),
        ("echo_v4_to_v6", packets::echo_v4_to_v6(TABLE)),
        ("echo_v6_to_v4", packets::echo_v6_to_v4(TABLE)),
        ("first_fragment_v4_to_v6", packets::first_fragment_v4_to_v6(TABLE)),
        ("first_fragment_v6_to_v4", packets::first_fragment_v6_to_v4(TABLE)),
        ("later_fragment_v4_to_v6", packets::later_fragment_v4_to_v6(TABLE)),
        ("later_fragment_v6_to_v4", packets::later_fragment_v6_to_v4(TABLE)),
        ("icmp_error_v4_to_v6", packets::error_v4_to_v6(TABLE)),
        ("icmp_error_v6_to_v4", packets::error_v6_to_v4(TABLE)),
        ("hairpin", packets::hairpin(TABLE)),
        ("native_v4", packets::native_v4()),
        ("native_v6", packets::native_v6(TABLE)),
    ];
    rows.into_iter().map(|(name, make)| (format!("cycles_{name}"), BURST, make)).collect()
}

/// The defaults, and each feature that ordinary packets pay for the other way round.
fn options() -> [(&'static str, Settings); 5] {
    let default = Settings::default;
    [
        ("defaults", default()),
        ("without_anti_spoof", Settings { anti_spoof: false, ..default() }),
        ("without_guard_protocols", Settings { guard_protocols: false, ..default() }),
        ("without_hairpin", Settings { hairpin: Hairpin::Off, ..default() }),
        (
            "with_icmp_source_extension",
            Settings { icmp_source_extension: IcmpSourceExtension::NodeId, ..default() },
        ),
    ]
}

/// Fewer packets than a burst wait when the worker looks.
fn short_bursts() -> Vec<(String, usize, Make)> {
    let sizes = [1, 4, 16, 32, 64].into_iter();
    sizes
        .flat_map(|size| {
            [
                (format!("cycles_v4_to_v6_burst_{size}"), size, packets::udp_v4_to_v6(TABLE)),
                (format!("cycles_v6_to_v4_burst_{size}"), size, packets::udp_v6_to_v4(TABLE)),
            ]
        })
        .collect()
}

/// Measures the rows that were asked for, by one worker.
fn turns(
    arguments: &Arguments,
    eams: u32,
    settings: Settings,
    wanted: Vec<(String, usize, Make)>,
    rows: &mut Vec<Row>,
) {
    if !arguments.want_any(wanted.iter().map(|(name, ..)| name.as_str())) {
        return;
    }
    let mut bench = Bench::new(translation(eams, settings), testing::fib(1500, 1500));
    for (name, size, make) in wanted {
        if arguments.wants(&name) {
            rows.push(bench.measure(&name, arguments.bursts, size, make));
        }
    }
    let counts = bench.worker.counts();
    assert_eq!(counts.event(Event::Received), counts.event(Event::Sent), "every packet was forwarded");
}

fn translation(count: u32, settings: Settings) -> Translation {
    translation_of(&eams(count), settings)
}

fn translation_of(eams: &[Eam], settings: Settings) -> Translation {
    Translation::new(TranslationParts {
        settings,
        prefixes: vec![TranslationPrefix::new("2001:db8:46::/96".parse().unwrap()).unwrap()],
        eams: EamTable::build(eams).unwrap(),
        service_pools: vec!["100.64.0.0/10".parse().unwrap()],
        translatable_pools: Vec::new(),
        denylist: Vec::new(),
        er_addresses: Vec::new(),
        icmp_sources: IcmpSourcePool::new(&["198.51.100.1/32".parse().unwrap()], Choice::Hash),
    })
}

struct Bench {
    worker: Worker<Rx, Tx, Pool>,
    rx: [Shared; 2],
    free: Shared,
}

impl Bench {
    fn new(translation: Translation, fib: Fib) -> Self {
        let snapshot = Snapshot { fib: Arc::new(fib), ..testing::snapshot(translation) };
        let publisher = Publisher::new(snapshot);
        let free: Shared = Arc::new(Mutex::new((0..4 * BURST).map(|_| SlabBuffer::new()).collect()));
        let rx = [(), ()].map(|()| Arc::new(Mutex::new(Vec::with_capacity(2 * BURST))));
        let (punt, _punted) = punt_ring(1 << 20, Arc::new(|| ()));
        let (_inject, inject) = inject_ring(1 << 16);
        let worker = Worker::new(WorkerParts {
            receive: rx.iter().cloned().map(Rx).collect(),
            transmit: vec![Tx(Arc::clone(&free)), Tx(Arc::clone(&free))],
            pool: Pool(Arc::clone(&free)),
            reader: publisher.reader(),
            punt,
            inject,
            cells: Arc::default(),
            stop: Arc::default(),
            clock: Clock { now, hertz: 1_000_000_000 },
            poll: Poll::Busy,
            longest_sleep: Arc::default(),
            alarm: None,
            workers: 1,
        });
        Self { worker, rx, free }
    }

    /// Runs bursts of `size` frames that `make` writes from a running number.
    fn measure(&mut self, name: &str, bursts: usize, size: usize, mut make: Make) -> Row {
        let mut samples = Samples::new(name, bursts);
        for round in 0..bursts {
            for number in round * size..(round + 1) * size {
                let mut buffer = self.free.lock().unwrap().pop().unwrap();
                let port = make(number as u32, &mut buffer);
                self.rx[port].lock().unwrap().push(buffer);
            }
            samples.take(size, || {
                self.worker.turn();
            });
        }
        samples.row()
    }
}

/// The samples of one row.
struct Samples {
    name: String,
    /// Rounds that only warm up.
    first: usize,
    rounds: usize,
    costs: Vec<f64>,
    allocations: u64,
}

impl Samples {
    fn new(name: &str, rounds: usize) -> Self {
        let costs = Vec::with_capacity(rounds);
        Self { name: name.to_owned(), first: rounds / 10, rounds: 0, costs, allocations: 0 }
    }

    /// Times `work` on so many packets.
    fn take(&mut self, packets: usize, work: impl FnOnce()) {
        let (spent, allocated) = counted(|| {
            let before = now();
            work();
            now() - before
        });
        self.allocations += allocated;
        if self.rounds >= self.first {
            self.costs.push(spent as f64 / packets as f64);
        }
        self.rounds += 1;
    }

    fn row(self) -> Row {
        Row::of_ticks(&self.name, "packet", self.costs).with_allocations(self.allocations)
    }
}

/// Single steps of the walk on a burst in cache, without everything in between.
fn kernels(arguments: &Arguments, rows: &mut Vec<Row>) {
    type Kernel = fn(&mut [SlabBuffer], &Settings);
    let kernels: [(&str, Make, Kernel); 4] = [
        ("cycles_parse_v4", packets::udp_v4_to_v6(TABLE), parse_v4),
        ("cycles_parse_v6", packets::udp_v6_to_v4(TABLE), parse_v6),
        ("cycles_translate_v4_to_v6", packets::udp_v4_to_v6(TABLE), translate_v4_to_v6),
        ("cycles_translate_v6_to_v4", packets::udp_v6_to_v4(TABLE), translate_v6_to_v4),
    ];
    let settings = Settings::default();
    let mut buffers: Vec<SlabBuffer> = (0..BURST).map(|_| SlabBuffer::new()).collect();
    for (name, mut make, kernel) in kernels {
        if !arguments.wants(name) {
            continue;
        }
        let mut samples = Samples::new(name, arguments.bursts);
        for round in 0..arguments.bursts {
            for (number, buffer) in (round * BURST..).zip(&mut buffers) {
                make(number as u32, buffer);
            }
            samples.take(BURST, || kernel(&mut buffers, &settings));
        }
        rows.push(samples.row());
    }
}

/// The checks of an IPv4 header, its checksum's among them, and the look at what it carries.
fn parse_v4(buffers: &mut [SlabBuffer], settings: &Settings) {
    for buffer in buffers {
        let packet = &buffer.data()[ethernet::HEADER..];
        let header = Ipv4Header::parse(packet).unwrap();
        let packet = &packet[..usize::from(header.total_length)];
        let transport = transport::ipv4(packet, &header, settings).unwrap();
        black_box((header.source, header.destination, header.ttl, transport));
    }
}

/// The same for IPv6, without extension headers.
fn parse_v6(buffers: &mut [SlabBuffer], settings: &Settings) {
    for buffer in buffers {
        let packet = &buffer.data()[ethernet::HEADER..];
        let header = Ipv6Header::parse(packet).unwrap();
        let packet = &packet[..ipv6::HEADER + usize::from(header.payload_length)];
        let chain =
            Chain { protocol: header.next_header, offset: ipv6::HEADER, fragment: None, segments_left: None };
        let transport = transport::ipv6(packet, &chain, settings).unwrap();
        black_box((header.source, header.destination, header.hop_limit, transport));
    }
}

/// The transport checksum, room in front, the IPv6 header; room for the link-layer header, but not its bytes.
fn translate_v4_to_v6(buffers: &mut [SlabBuffer], _: &Settings) {
    let (source, destination) = black_box((Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED));
    let (transport, first) = black_box((TransportV4::Udp, ipv6::first_word(0, 26, 17, 63)));
    let delta = black_box(Delta::new(Sum::of_u16(1), Sum::of_u16(2)));
    let (offset, front) = (ethernet::HEADER, ethernet::HEADER);
    for buffer in buffers {
        let length = buffer.data().len() - offset;
        v4_to_v6::translate_plain(
            buffer,
            transport,
            first,
            &source,
            &destination,
            delta,
            length,
            offset,
            front,
        )
        .unwrap();
    }
}

/// The same for IPv4, whose header has a checksum.
fn translate_v6_to_v4(buffers: &mut [SlabBuffer], _: &Settings) {
    let (source, destination) = black_box((Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED));
    let transport = black_box(TransportV6::Udp);
    let delta = black_box(Delta::new(Sum::of_u16(1), Sum::of_u16(2)));
    for (identification, buffer) in (0..).zip(buffers) {
        let fields = v6_to_v4::Fields { tos: 0, ttl: black_box(63), protocol: 17 };
        let plan = v6_to_v4::Plan::plain(fields, source, destination, delta, identification);
        v6_to_v4::translate(buffer, transport, &plan, ethernet::HEADER, ethernet::HEADER).unwrap();
    }
}
