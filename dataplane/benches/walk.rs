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

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dataplane::buffer::{Buffer, BufferPool, NoRoom};
use dataplane::counters::Event;
use dataplane::exception::{inject_ring, punt_ring};
use dataplane::io::{BURST, Frames, ReceiveQueue, Refused, TransmitQueue};
use dataplane::table::eam::{Eam, EamTable};
use dataplane::table::icmp_source::{Choice, IcmpSourcePool};
use dataplane::table::prefix::TranslationPrefix;
use dataplane::table::publish::Publisher;
use dataplane::table::translation::{Settings, Translation, TranslationParts};
use dataplane::testing;
use dataplane::wire::checksum::{Delta, Sum, adjust_udp};
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

    fn transmit(&mut self, frames: &mut Frames<SlabBuffer>) -> Refused {
        self.0.lock().unwrap().extend(frames.drain(..));
        Refused::default()
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
        .map(|number| Eam { ipv4: service_v4(number).into(), ipv6: service_v6(number).into() })
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

    /// Runs bursts of the frames that `make` writes (from a running number); returns the port of each.
    fn measure(
        &mut self,
        name: &str,
        bursts: u32,
        mut make: impl FnMut(u32, &mut SlabBuffer) -> usize,
    ) -> Row {
        let mut costs = Vec::with_capacity(bursts as usize);
        let mut allocations = 0;
        for round in 0..bursts {
            for number in round * BURST as u32..(round + 1) * BURST as u32 {
                let mut buffer = self.free.lock().unwrap().pop().unwrap();
                let port = make(number, &mut buffer);
                self.rx[port].lock().unwrap().push(buffer);
            }
            ALLOCATIONS.store(0, Ordering::Relaxed);
            COUNTING.store(true, Ordering::Relaxed);
            let before = now();
            self.worker.turn();
            let after = now();
            COUNTING.store(false, Ordering::Relaxed);
            allocations += ALLOCATIONS.load(Ordering::Relaxed);
            if round >= bursts / 10 {
                costs.push((after - before) as f64 / BURST as f64);
            }
        }
        costs.sort_by(f64::total_cmp);
        Row { name: name.to_owned(), median: costs[costs.len() / 2], fastest: costs[0], allocations }
    }
}

/// Replaces bytes of a frame and adjusts the checksum at `checksum` for them.
fn patch(frame: &mut [u8], at: usize, new: &[u8], checksums: &[usize]) {
    let delta = Delta::new(Sum::of(&frame[at..at + new.len()]), Sum::of(new));
    frame[at..at + new.len()].copy_from_slice(new);
    for field in checksums {
        let old = u16::from_be_bytes([frame[*field], frame[*field + 1]]);
        frame[*field..*field + 2].copy_from_slice(&adjust_udp(old, delta).to_be_bytes());
    }
}

/// An IPv4 template whose addresses are replaced for every packet: client to service. `checksums` of the transport.
fn from_v4(
    template: Vec<u8>,
    eams: u32,
    checksums: &'static [usize],
) -> impl FnMut(u32, &mut SlabBuffer) -> usize {
    move |number, buffer| {
        buffer.fill(&template);
        let frame = buffer.data_mut();
        patch(frame, 26, &client(number).octets(), checksums);
        patch(frame, 30, &service_v4(pick(number, eams)).octets(), checksums);
        0
    }
}

/// An IPv6 template whose addresses are replaced for every packet: service to client.
fn from_v6(
    template: Vec<u8>,
    eams: u32,
    checksums: &'static [usize],
) -> impl FnMut(u32, &mut SlabBuffer) -> usize {
    move |number, buffer| {
        buffer.fill(&template);
        let frame = buffer.data_mut();
        patch(frame, 22, &service_v6(pick(number, eams)).octets(), checksums);
        patch(frame, 38, &embedded(client(number)).octets(), checksums);
        1
    }
}

/// Offsets in an untagged frame.
const IPV4_CHECKSUM: usize = 14 + 10;
const UDP_IN_V4: usize = 14 + 20 + 6;
const UDP_IN_V6: usize = 14 + 40 + 6;

fn udp_v4_to_v6(eams: u32) -> impl FnMut(u32, &mut SlabBuffer) -> usize {
    let packet = testing::udp_v4("8.0.0.0", "100.64.0.0", &[7; 18]);
    from_v4(testing::frame(testing::MAC_V4, &packet), eams, &[IPV4_CHECKSUM, UDP_IN_V4])
}

fn udp_v6_to_v4(eams: u32) -> impl FnMut(u32, &mut SlabBuffer) -> usize {
    let packet = testing::udp_v6("2001:db8:e::", "2001:db8:46::", &[7; 18]);
    from_v6(testing::frame(testing::MAC_V6, &packet), eams, &[UDP_IN_V6])
}

/// A random mapping for the n-th packet.
fn pick(number: u32, eams: u32) -> u32 {
    let mixed = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (((mixed >> 32) * u64::from(eams)) >> 32) as u32
}

fn fragment_v4_to_v6(
    more: bool,
    offset: u16,
    checksums: &'static [usize],
) -> impl FnMut(u32, &mut SlabBuffer) -> usize {
    let mut packet = testing::udp_v4("8.0.0.0", "100.64.0.0", &[7; 16]);
    testing::set_fragment_v4(&mut packet, 7, false, more, offset);
    from_v4(testing::frame(testing::MAC_V4, &packet), TABLE, checksums)
}

fn echo_v4_to_v6() -> impl FnMut(u32, &mut SlabBuffer) -> usize {
    let message = [8, 0, 0x6f, 0x6f, 0x12, 0x34, 0, 1, 1, 2, 3, 4];
    let packet = testing::ipv4("8.0.0.0", "100.64.0.0", 1, &message);
    from_v4(testing::frame(testing::MAC_V4, &packet), TABLE, &[IPV4_CHECKSUM])
}

/// Time exceeded, quoting a packet of a mapped host: inner addresses mirror the outer ones.
fn error_v4_to_v6() -> impl FnMut(u32, &mut SlabBuffer) -> usize {
    let quoted = testing::udp_v4("100.64.0.0", "8.0.0.0", &[7; 18]);
    let mut message = vec![11, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&quoted);
    let checksum = Sum::of(&message).checksum().to_be_bytes();
    message[2..4].copy_from_slice(&checksum);
    let packet = testing::ipv4("8.0.0.0", "100.64.0.0", 1, &message);
    let mut outer = from_v4(testing::frame(testing::MAC_V4, &packet), TABLE, &[IPV4_CHECKSUM]);
    move |number, buffer| {
        outer(number, buffer);
        let frame = buffer.data_mut();
        // The quoted addresses, under the quoted checksums and the message's own.
        patch(frame, 14 + 28 + 12, &service_v4(pick(number, TABLE)).octets(), &[14 + 28 + 10, 14 + 28 + 26]);
        patch(frame, 14 + 28 + 16, &client(number).octets(), &[14 + 28 + 10, 14 + 28 + 26]);
        0
    }
}

fn error_v6_to_v4() -> impl FnMut(u32, &mut SlabBuffer) -> usize {
    let quoted = testing::udp_v6("2001:db8:46::", "2001:db8:e::", &[7; 18]);
    let mut message = vec![1, 4, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&quoted);
    let packet = testing::ipv6("2001:db8:e::", "2001:db8:46::", 58, &message);
    let mut outer = from_v6(testing::frame(testing::MAC_V6, &packet), TABLE, &[]);
    move |number, buffer| {
        outer(number, buffer);
        let frame = buffer.data_mut();
        patch(frame, 14 + 48 + 8, &embedded(client(number)).octets(), &[]);
        patch(frame, 14 + 48 + 24, &service_v6(pick(number, TABLE)).octets(), &[]);
        1
    }
}

fn hairpin() -> impl FnMut(u32, &mut SlabBuffer) -> usize {
    let mut outer = udp_v6_to_v4(TABLE);
    move |number, buffer| {
        outer(number, buffer);
        let to = embedded(service_v4(pick(number + 1, TABLE)));
        patch(buffer.data_mut(), 38, &to.octets(), &[UDP_IN_V6]);
        1
    }
}

/// EAMs in the rows that do not name a number.
const TABLE: u32 = 10_000;

fn rows(wanted: &dyn Fn(&str) -> bool, bursts: u32) -> Vec<Row> {
    let mut rows = Vec::new();
    for (label, count) in [("1", 1), ("1k", 1_000), ("10k", TABLE), ("100k", 100_000), ("1m", 1_000_000)] {
        if !wanted(&format!("eam_{label}")) && count != TABLE {
            continue;
        }
        let mut bench = Bench::new(count);
        let mut row = |name: &str, make: &mut dyn FnMut(u32, &mut SlabBuffer) -> usize| {
            if wanted(name) {
                rows.push(bench.measure(name, bursts, make));
            }
        };
        row(&format!("cycles_v4_to_v6_eam_{label}"), &mut udp_v4_to_v6(count));
        row(&format!("cycles_v6_to_v4_eam_{label}"), &mut udp_v6_to_v4(count));
        let (mut there, mut back) = (udp_v4_to_v6(count), udp_v6_to_v4(count));
        row(&format!("cycles_mixed_eam_{label}"), &mut |number, buffer| {
            if number % 2 == 0 { there(number, buffer) } else { back(number, buffer) }
        });
        if count == TABLE {
            row("cycles_echo_v4_to_v6", &mut echo_v4_to_v6());
            row(
                "cycles_first_fragment_v4_to_v6",
                &mut fragment_v4_to_v6(true, 0, &[IPV4_CHECKSUM, UDP_IN_V4]),
            );
            row("cycles_later_fragment_v4_to_v6", &mut fragment_v4_to_v6(false, 100, &[IPV4_CHECKSUM]));
            row("cycles_icmp_error_v4_to_v6", &mut error_v4_to_v6());
            row("cycles_icmp_error_v6_to_v4", &mut error_v6_to_v4());
            row("cycles_hairpin", &mut hairpin());
        }
        let counts = bench.worker.counts();
        assert_eq!(counts.event(Event::Received), counts.event(Event::Sent), "every packet was forwarded");
    }
    rows
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let json =
        arguments.iter().position(|argument| argument == "--json").and_then(|at| arguments.get(at + 1));
    let only =
        arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1));
    let bursts =
        arguments.iter().position(|argument| argument == "--bursts").and_then(|at| arguments.get(at + 1));
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only.as_str()) || only.contains(name));
    let started = Instant::now();
    let rows = rows(&wanted, bursts.map_or(3000, |bursts| bursts.parse().unwrap()));
    println!("{:<34} {:>8} {:>8}   {UNIT}, allocations per packet", "", "median", "fastest");
    for row in &rows {
        println!("{:<34} {:>8.1} {:>8.1}   {}", row.name, row.median, row.fastest, row.allocations);
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
