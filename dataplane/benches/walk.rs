//! Cycles per packet of a worker's turn, everything but the driver: parse, lookup, translate, next hop, transmit.
//!
//! `cargo bench -p dataplane --features dpdk,testing` prints a table; `-- --json FILE` also writes it as JSON. Every row is
//! the median over many bursts of 64 packets; packets are written afresh, into cache, before each burst. Memory
//! allocations during the measured bursts are counted and must be zero.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a benchmark, not a service"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dataplane::buffer::{Buffer, BufferPool, NoRoom};
use dataplane::counters::Event;
use dataplane::exception::{inject_ring, punt_ring};
use dataplane::io::{BURST, Frames, ReceiveQueue, TransmitQueue};
use dataplane::table::eam::{Eam, EamTable};
use dataplane::table::icmp_source::{Choice, IcmpSourcePool};
use dataplane::table::prefix::TranslationPrefix;
use dataplane::table::publish::Publisher;
use dataplane::table::translation::{Settings, Translation, TranslationParts};
use dataplane::testing;
use dataplane::wire::checksum::Sum;
use dataplane::worker::{Clock, Poll, Worker, WorkerParts};

/// Counts allocations while it is told to.
struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(unsafe_code, reason = "an allocator that counts is the only way to see allocations")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// A packet buffer as large as an mbuf's, moved by its address.
struct Slab {
    bytes: [u8; 2304],
    start: usize,
    end: usize,
}

struct SlabBuffer(Box<Slab>);

impl SlabBuffer {
    fn new() -> Self {
        Self(Box::new(Slab { bytes: [0; 2304], start: 128, end: 128 }))
    }

    fn fill(&mut self, frame: &[u8]) {
        self.0.start = 128;
        self.0.end = 128 + frame.len();
        self.0.bytes[128..128 + frame.len()].copy_from_slice(frame);
    }
}

impl Buffer for SlabBuffer {
    fn data(&self) -> &[u8] {
        &self.0.bytes[self.0.start..self.0.end]
    }

    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.0.bytes[self.0.start..self.0.end]
    }

    fn headroom(&self) -> usize {
        self.0.start
    }

    fn tailroom(&self) -> usize {
        self.0.bytes.len() - self.0.end
    }

    fn push_front(&mut self, count: usize) -> Result<(), NoRoom> {
        self.0.start = self.0.start.checked_sub(count).ok_or(NoRoom)?;
        Ok(())
    }

    fn pull_front(&mut self, count: usize) {
        assert!(count <= self.0.end - self.0.start);
        self.0.start += count;
    }

    fn push_back(&mut self, count: usize) -> Result<(), NoRoom> {
        if count > self.tailroom() {
            return Err(NoRoom);
        }
        self.0.end += count;
        Ok(())
    }

    fn truncate(&mut self, length: usize) {
        self.0.end = self.0.end.min(self.0.start + length);
    }
}

/// Buffers that are free, shared by the queues and the pool of the one thread there is.
type Free = Arc<Mutex<Vec<SlabBuffer>>>;

struct Rx(Arc<Mutex<Vec<SlabBuffer>>>);
struct Tx(Free);
struct Pool(Free);

impl ReceiveQueue for Rx {
    type Buffer = SlabBuffer;

    fn receive(&mut self, frames: &mut Frames<SlabBuffer>) -> usize {
        let mut ready = self.0.lock().unwrap();
        let count = ready.len().min(frames.remaining_capacity());
        frames.extend(ready.drain(..count));
        count
    }
}

impl TransmitQueue for Tx {
    type Buffer = SlabBuffer;

    fn transmit(&mut self, frames: &mut Frames<SlabBuffer>) -> usize {
        self.0.lock().unwrap().extend(frames.drain(..));
        0
    }
}

impl BufferPool for Pool {
    type Buffer = SlabBuffer;

    fn allocate(&mut self) -> Option<SlabBuffer> {
        let mut buffer = self.0.lock().unwrap().pop()?;
        buffer.fill(&[]);
        Some(buffer)
    }
}

#[cfg(feature = "dpdk")]
const UNIT: &str = "cycles/packet";
#[cfg(feature = "dpdk")]
fn now() -> u64 {
    dataplane::dpdk::tsc()
}

#[cfg(not(feature = "dpdk"))]
const UNIT: &str = "ns/packet";
#[cfg(not(feature = "dpdk"))]
fn now() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

struct Row {
    name: String,
    median: f64,
    fastest: f64,
    allocations: u64,
}

/// The EAM table of a run: 100.64.0.0 upwards to 2001:db8:e::, one address each.
fn eams(count: u32) -> Vec<Eam> {
    (0..count)
        .map(|number| Eam {
            ipv4: service_v4(number).into(),
            ipv6: service_v6(number).into(),
        })
        .collect()
}

fn service_v4(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x6440_0000 + number)
}

/// Scattered over /64s, as tenants are.
fn service_v6(number: u32) -> Ipv6Addr {
    let scattered = u128::from(number.wrapping_mul(0x9e37_79b1));
    Ipv6Addr::from_bits(0x2001_0db8_000e_0000 << 64 | scattered << 40 | u128::from(number))
}

fn client(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0800_0000 | number.wrapping_mul(0x9e37_79b1) >> 8)
}

fn embedded(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2001_0db8_0046 << 80 | u128::from(address.to_bits()))
}

fn translation(count: u32) -> Translation {
    Translation::new(TranslationParts {
        settings: Settings::default(),
        prefixes: vec![TranslationPrefix::new("2001:db8:46::/96".parse().unwrap()).unwrap()],
        eams: EamTable::build(&eams(count)).unwrap(),
        service_pools: vec!["100.64.0.0/10".parse().unwrap()],
        translatable_pools: Vec::new(),
        denylist: Vec::new(),
        er_addresses: Vec::new(),
        icmp_sources: IcmpSourcePool::new(&["198.51.100.1/32".parse().unwrap()], Choice::Hash),
    })
    .unwrap()
}

struct Bench {
    worker: Worker<Rx, Tx, Pool>,
    rx: [Arc<Mutex<Vec<SlabBuffer>>>; 2],
    free: Free,
}

impl Bench {
    fn new(eams: u32) -> Self {
        let publisher = Publisher::new(testing::snapshot(translation(eams)));
        let free: Free = Arc::new(Mutex::new((0..4 * BURST).map(|_| SlabBuffer::new()).collect()));
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
        });
        Self { worker, rx, free }
    }

    /// Runs bursts of frames made by `frame` (from a running number) on the port it names.
    fn measure(&mut self, name: &str, rounds: u32, frame: impl Fn(u32) -> (usize, Vec<u8>)) -> Row {
        let frames: Vec<(usize, Vec<u8>)> = (0..rounds * BURST as u32).map(&frame).collect();
        let mut costs = Vec::with_capacity(frames.len() / BURST);
        let mut allocations = 0;
        for (round, burst) in frames.chunks(BURST).enumerate() {
            for (port, frame) in burst {
                let mut buffer = self.free.lock().unwrap().pop().unwrap();
                buffer.fill(frame);
                self.rx[*port].lock().unwrap().push(buffer);
            }
            ALLOCATIONS.store(0, Ordering::Relaxed);
            COUNTING.store(true, Ordering::Relaxed);
            let before = now();
            self.worker.turn();
            let after = now();
            COUNTING.store(false, Ordering::Relaxed);
            allocations += ALLOCATIONS.load(Ordering::Relaxed);
            if round >= frames.len() / BURST / 10 {
                costs.push((after - before) as f64 / burst.len() as f64);
            }
        }
        costs.sort_by(f64::total_cmp);
        Row { name: name.to_owned(), median: costs[costs.len() / 2], fastest: costs[0], allocations }
    }
}

fn udp_v4(number: u32, eams: u32) -> (usize, Vec<u8>) {
    let service = service_v4(pick(number, eams)).to_string();
    (0, testing::frame(testing::MAC_V4, &testing::udp_v4(&client(number).to_string(), &service, &[7; 18])))
}

fn udp_v6(number: u32, eams: u32) -> (usize, Vec<u8>) {
    let service = service_v6(pick(number, eams)).to_string();
    let to = embedded(client(number)).to_string();
    (1, testing::frame(testing::MAC_V6, &testing::udp_v6(&service, &to, &[7; 18])))
}

/// A random mapping for the n-th packet.
fn pick(number: u32, eams: u32) -> u32 {
    let mixed = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 32) * u64::from(eams) >> 32) as u32
}

fn later_fragment_v4(number: u32) -> (usize, Vec<u8>) {
    let mut packet = testing::ipv4(&client(number).to_string(), &service_v4(pick(number, 10_000)).to_string(), 17, &[7; 24]);
    testing::set_fragment_v4(&mut packet, 7, false, false, 100);
    (0, testing::frame(testing::MAC_V4, &packet))
}

fn first_fragment_v4(number: u32) -> (usize, Vec<u8>) {
    let mut packet = testing::udp_v4(&client(number).to_string(), &service_v4(pick(number, 10_000)).to_string(), &[7; 16]);
    testing::set_fragment_v4(&mut packet, 7, false, true, 0);
    (0, testing::frame(testing::MAC_V4, &packet))
}

fn echo_v4(number: u32) -> (usize, Vec<u8>) {
    let message = [8, 0, 0x6f, 0x6f, 0x12, 0x34, 0, 1, 1, 2, 3, 4];
    let packet = testing::ipv4(&client(number).to_string(), &service_v4(pick(number, 10_000)).to_string(), 1, &message);
    (0, testing::frame(testing::MAC_V4, &packet))
}

/// Time exceeded from a router, quoting a packet of a mapped host.
fn error_v4(number: u32) -> (usize, Vec<u8>) {
    let service = service_v4(pick(number, 10_000)).to_string();
    let quoted = testing::udp_v4(&service, &client(number).to_string(), &[7; 18]);
    let mut message = vec![11, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&quoted);
    let checksum = Sum::of(&message).checksum().to_be_bytes();
    message[2..4].copy_from_slice(&checksum);
    let packet = testing::ipv4(&client(number + 1).to_string(), &service, 1, &message);
    (0, testing::frame(testing::MAC_V4, &packet))
}

fn error_v6(number: u32) -> (usize, Vec<u8>) {
    let service = service_v6(pick(number, 10_000));
    let to = embedded(client(number));
    let quoted = testing::udp_v6(&to.to_string(), &service.to_string(), &[7; 18]);
    let mut message = vec![1, 4, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&quoted);
    let pseudo = Sum::of_pseudo_header(service, to, message.len() as u32, 58);
    let checksum = (pseudo + Sum::of(&message)).checksum().to_be_bytes();
    message[2..4].copy_from_slice(&checksum);
    (1, testing::frame(testing::MAC_V6, &testing::ipv6(&service.to_string(), &to.to_string(), 58, &message)))
}

fn hairpin_v6(number: u32) -> (usize, Vec<u8>) {
    let to = embedded(service_v4(pick(number + 1, 10_000))).to_string();
    let packet = testing::udp_v6(&service_v6(pick(number, 10_000)).to_string(), &to, &[7; 18]);
    (1, testing::frame(testing::MAC_V6, &packet))
}

fn rows() -> Vec<Row> {
    const ROUNDS: u32 = 3000;
    let mut rows = Vec::new();
    for (label, count) in [("1", 1), ("1k", 1_000), ("10k", 10_000), ("100k", 100_000), ("1m", 1_000_000)] {
        let mut bench = Bench::new(count);
        rows.push(bench.measure(&format!("v4_to_v6_eam_{label}"), ROUNDS, |number| udp_v4(number, count)));
        rows.push(bench.measure(&format!("v6_to_v4_eam_{label}"), ROUNDS, |number| udp_v6(number, count)));
        if count == 10_000 {
            let mixed = |number| if number % 2 == 0 { udp_v4(number, count) } else { udp_v6(number, count) };
            rows.push(bench.measure("mixed_eam_10k", ROUNDS, mixed));
            rows.push(bench.measure("echo_v4_to_v6", ROUNDS, echo_v4));
            rows.push(bench.measure("first_fragment_v4_to_v6", ROUNDS, first_fragment_v4));
            rows.push(bench.measure("later_fragment_v4_to_v6", ROUNDS, later_fragment_v4));
            rows.push(bench.measure("icmp_error_v4_to_v6", ROUNDS, error_v4));
            rows.push(bench.measure("icmp_error_v6_to_v4", ROUNDS, error_v6));
            rows.push(bench.measure("hairpin", ROUNDS, hairpin_v6));
        }
        let counts = bench.worker.counts();
        assert_eq!(counts.event(Event::Received), counts.event(Event::Sent), "every packet was forwarded");
    }
    rows
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.iter().position(|argument| argument == "--json").and_then(|at| arguments.get(at + 1));
    let started = Instant::now();
    let rows = rows();
    println!("{:<28} {:>8} {:>8}   {UNIT}, allocations per packet", "", "median", "fastest");
    for row in &rows {
        println!("{:<28} {:>8.1} {:>8.1}   {}", row.name, row.median, row.fastest, row.allocations);
    }
    println!("{:.1} s", started.elapsed().as_secs_f64());
    if let Some(path) = json {
        let lines: Vec<String> = rows
            .iter()
            .map(|row| {
                format!(
                    "{{\"name\":\"{}\",\"value\":{:.1},\"unit\":\"{UNIT}\",\"min\":{:.1}}}",
                    row.name, row.median, row.fastest
                )
            })
            .collect();
        std::fs::write(path, format!("[{}]\n", lines.join(",\n "))).unwrap();
    }
    assert!(rows.iter().all(|row| row.allocations == 0), "the walk must not allocate");
}
