//! The DPDK layer against the real EAL: ordinary pages, virtual devices, no NIC, no privileges.
//!
//! An EAL lives once per process. Most tests share one; those about its birth or death run in a process of
//! their own.
#![cfg(feature = "dpdk")]

#[cfg(feature = "testing")]
#[path = "vdev/interrupts.rs"]
mod interrupts;

use std::collections::HashSet;
use std::env;
use std::fs;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use dataplane::buffer::{Buffer, BufferPool, NoRoom};
use dataplane::counters::Event;
use dataplane::dpdk::{
    Checksum, DEFAULT_HEADROOM, Eal, EalConfig, EalError, LcoreError, LogLevel, MacFilter, Mbuf, Memory,
    Mempool, MempoolError, Port, PortConfig, PortError, QueuePair, Spread, TxQueue, data_room_for_mtu,
    free_burst, lcore_id, pin_current_thread, tsc, tsc_hz,
};
use dataplane::io::{BURST, Frames, ReceiveQueue, TransmitQueue};
use dataplane::sink::Sink;
use dataplane::table::routing::PortId;
use dataplane::verdict::DropReason;

/// What a net_ring holds: its ring has 1024 places, one of which stays empty.
const RING_CAPACITY: usize = 1023;

static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn keep(_level: LogLevel, line: &str) {
    LOG.lock().expect("no test panics while it logs").push(line.to_owned());
}

fn no_huge() -> EalConfig {
    EalConfig { memory: Memory::NoHuge, memory_mb: 128, log: keep, ..EalConfig::default() }
}

/// The EAL all tests of this process share.
fn eal() -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| Eal::init(&no_huge()).expect("an EAL without hugepages starts anywhere"))
}

fn mempool(name: &str, count: u32) -> Mempool {
    Mempool::create(eal(), name, count, 0, data_room_for_mtu(1500)).expect("128 MB hold these pools")
}

fn open(device: &str, mempool: &Mempool, queues: u16) -> (Port, Vec<QueuePair>) {
    let config = PortConfig { queues, mempools: vec![mempool.clone()], ..PortConfig::default() };
    Port::open(eal(), device, &config).expect("this vdev opens anywhere")
}

fn open_error(device: &str, config: &PortConfig) -> PortError {
    Port::open(eal(), device, config).map(|_| ()).expect_err("must not open")
}

/// A frame of `length` bytes that starts with `number`.
fn frame(mempool: &Mempool, number: u32, length: usize) -> Mbuf {
    let mut mbuf = mempool.allocate_mbuf().expect("the pool is large enough");
    mbuf.push_back(length).expect("the data room is large enough");
    mbuf.data_mut().fill(0);
    mbuf.data_mut()[..4].copy_from_slice(&number.to_be_bytes());
    mbuf
}

fn number(mbuf: &Mbuf) -> u32 {
    u32::from_be_bytes(mbuf.data()[..4].try_into().expect("four bytes"))
}

fn burst(mempool: &Mempool, first: u32, count: usize) -> Frames<Mbuf> {
    (first..).take(count).map(|number| frame(mempool, number, 60)).collect()
}

/// Runs `body` in a process of its own, which is this test binary with only the calling test.
fn in_own_process(test: &str, body: impl FnOnce()) {
    const CHILD: &str = "BORDERLINE_VDEV_CHILD";
    if env::var_os(CHILD).is_some() {
        return body();
    }
    let output = Command::new(env::current_exe().expect("a running test has a path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("the test binary runs again");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test} failed in its own process: {}\n{text}", output.status);
    assert!(text.contains("1 passed"), "{test} is not the name of a test: {text}");
}

/// Two bonds over two pairs of kernel interfaces, in a network namespace of their own.
#[test]
fn bonds_find_each_other_by_lacp_and_carry_frames() {
    const INSIDE: &str = "BORDERLINE_BOND_CHILD";
    const NAME: &str = "bonds_find_each_other_by_lacp_and_carry_frames";
    if env::var_os(INSIDE).is_some() {
        return lacp();
    }
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c"])
        .arg(
            "for n in 0 1; do \
               ip link add bla$n type veth peer name blb$n; ip link set bla$n up; ip link set blb$n up; \
             done; exec \"$0\" --exact \"$1\" --nocapture --test-threads=1",
        )
        .arg(env::current_exe().expect("a running test has a path"))
        .arg(NAME)
        .env(INSIDE, "1")
        .output()
        .expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if text.contains("Operation not permitted") && !output.status.success() {
        println!("skipped: needs root for a network namespace");
        return;
    }
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{}
{text}",
        output.status
    );
}

fn lacp() {
    let pool = mempool("bonds", 8191);
    let bond = |number: usize, side: &str| {
        let member = |at: usize| format!("slave=net_af_packet{};iface=bl{side}{at}", 2 * number + at);
        open(&format!("net_bonding{number},mode=4,{},{}", member(0), member(1)), &pool, 1)
    };
    let ((one, mut from), (other, mut to)) = (bond(0, "a"), bond(1, "b"));
    assert_eq!(one.info().driver, "net_bonding");
    let (mut sink, started) = (Sink::default(), Instant::now());
    let mut heard = 0;
    // The driver speaks LACP while its queues are served; frames pass once both sides agree.
    while heard == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "{:?} {:?}", one.stats(), other.stats());
        let mut frames = burst(&pool, 0xb0d, 1);
        from[0].tx.transmit(&mut frames);
        free_burst(&mut frames);
        from[0].rx.receive(&mut frames, &mut sink);
        free_burst(&mut frames);
        to[0].tx.transmit(&mut frames);
        to[0].rx.receive(&mut frames, &mut sink);
        heard += frames.iter().filter(|frame| number(frame) == 0xb0d).count();
        free_burst(&mut frames);
        thread::sleep(Duration::from_millis(10));
    }
    println!("frames pass after {:?}", started.elapsed());
    drop((from, to));
    for port in [one, other] {
        port.close().map_err(|_| ()).expect("nobody else has it");
    }
}

// The buffer.

#[test]
fn a_fresh_mbuf_is_empty_with_headroom() {
    let mut pool = mempool("fresh", 7);
    let mbuf = pool.allocate().expect("the pool is full");
    assert_eq!((mbuf.data().len(), mbuf.headroom(), mbuf.segments()), (0, usize::from(DEFAULT_HEADROOM), 1));
    assert_eq!(mbuf.tailroom(), usize::from(pool.data_room() - DEFAULT_HEADROOM));
    assert_eq!(mbuf.ipv4_checksum(), Checksum::Unknown);
}

#[test]
fn a_burst_is_allocated_whole_or_not_at_all() {
    let pool = mempool("bulk", 127);
    let mut frames = burst(&pool, 0, 4);
    assert_eq!(pool.allocate_burst(&mut frames, BURST - 4), BURST - 4);
    assert_eq!((frames.len(), number(&frames[3]), pool.in_use()), (BURST, 3, BURST));
    assert!(frames[4..].iter().all(|mbuf| mbuf.data().is_empty() && mbuf.segments() == 1));
    assert_eq!(pool.allocate_burst(&mut frames, 1), 0, "the list is full");

    let mut more = Frames::new();
    assert_eq!(pool.allocate_burst(&mut more, BURST), 0, "the pool has one too few");
    assert_eq!((more.len(), pool.in_use()), (0, BURST));
    free_burst(&mut frames);
    assert_eq!((frames.len(), pool.in_use()), (0, 0));
    free_burst(&mut frames);
}

#[test]
fn growing_stops_at_both_ends_of_the_mbuf() {
    let pool = mempool("growing", 7);
    let mut mbuf = frame(&pool, 7, 60);
    let (headroom, tailroom) = (mbuf.headroom(), mbuf.tailroom());

    assert_eq!(mbuf.push_front(headroom + 1), Err(NoRoom));
    assert_eq!(mbuf.push_front(usize::MAX), Err(NoRoom));
    assert_eq!(mbuf.push_back(tailroom + 1), Err(NoRoom));
    assert_eq!(mbuf.push_back(usize::MAX), Err(NoRoom));
    assert_eq!((mbuf.data().len(), mbuf.headroom(), mbuf.tailroom()), (60, headroom, tailroom), "unchanged");

    assert_eq!(mbuf.push_front(headroom), Ok(()));
    assert_eq!(mbuf.push_back(tailroom), Ok(()));
    assert_eq!((mbuf.headroom(), mbuf.tailroom()), (0, 0));
    assert_eq!(mbuf.data().len(), usize::from(pool.data_room()));
    mbuf.data_mut().fill(0xff);
    assert_eq!(mbuf.push_front(1), Err(NoRoom));
    assert_eq!(mbuf.push_back(1), Err(NoRoom));
}

#[test]
fn shrinking_keeps_the_bytes_in_between() {
    let pool = mempool("shrinking", 7);
    let mut mbuf = frame(&pool, 0, 100);
    for (index, byte) in (0..).zip(mbuf.data_mut()) {
        *byte = index;
    }
    let headroom = mbuf.headroom();
    mbuf.pull_front(14);
    assert_eq!((mbuf.data().len(), mbuf.data()[0], mbuf.headroom()), (86, 14, headroom + 14));
    mbuf.truncate(200);
    assert_eq!(mbuf.data().len(), 86, "a longer length leaves it as it is");
    mbuf.truncate(20);
    assert_eq!((mbuf.data().len(), mbuf.data()[19]), (20, 33));
    mbuf.push_front(14).expect("what was pulled can be pushed");
    assert_eq!((mbuf.data()[0], mbuf.data().len()), (0, 34));
    mbuf.pull_front(34);
    assert_eq!(mbuf.data(), []);
}

#[test]
#[should_panic(expected = "61 bytes pulled from a packet of 60")]
fn pulling_more_than_there_is_panics() {
    let pool = mempool("pulling", 7);
    frame(&pool, 0, 60).pull_front(61);
}

#[test]
fn a_jumbo_frame_fits_one_mbuf_and_passes_a_port() {
    let data_room = data_room_for_mtu(9000);
    let pool = Mempool::create(eal(), "jumbo", 63, 0, data_room).expect("128 MB hold 63 jumbo mbufs");
    let config = PortConfig { mtu: 9000, mempools: vec![pool.clone()], ..PortConfig::default() };
    let (port, mut queues) = Port::open(eal(), "net_ring_jumbo", &config).expect("net_ring has no limit");
    assert_eq!(port.info().mtu, 9000);

    let mut frames: Frames<Mbuf> = [frame(&pool, 9, 9000 + 14 + 8)].into_iter().collect();
    send(&mut queues[0].tx, &mut frames);
    assert_eq!(queues[0].rx.receive(&mut frames, &mut Sink::default()), 1);
    assert_eq!((frames[0].data().len(), frames[0].segments(), number(&frames[0])), (9022, 1, 9));
}

// The pool.

#[test]
fn every_mbuf_comes_back() {
    let pool = mempool("back", 511);
    for _ in 0..3 {
        let mbufs: Vec<Mbuf> = std::iter::from_fn(|| pool.allocate_mbuf()).collect();
        assert_eq!((mbufs.len(), pool.in_use(), pool.available()), (511, 511, 0));
        let places: HashSet<usize> = mbufs.iter().map(|mbuf| mbuf.data().as_ptr().addr()).collect();
        assert_eq!(places.len(), 511, "no mbuf has two owners");
        drop(mbufs);
        assert_eq!((pool.in_use(), pool.available()), (0, 511));
    }
}

#[test]
fn mbufs_come_back_from_other_threads_and_their_caches() {
    let pool = Mempool::create(eal(), "threads", 511, 64, data_room_for_mtu(1500)).expect("it fits");
    let mbufs: Vec<Mbuf> = (0..300).map_while(|_| pool.allocate_mbuf()).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            let _lcore = eal().register_current_thread().expect("there are 128 lcore ids");
            drop(mbufs);
            assert_eq!(pool.in_use(), 0, "what the cache of this lcore keeps is free");
            drop(std::iter::from_fn(|| pool.allocate_mbuf()).take(100).collect::<Vec<_>>());
        });
    });
    assert_eq!((pool.in_use(), pool.available()), (0, 511));
}

#[test]
fn a_pool_that_cannot_be_is_refused_with_the_reason() {
    let error = |name: &str, count, cache, room| {
        Mempool::create(eal(), name, count, cache, room).expect_err("refused").to_string()
    };
    assert!(error("", 7, 0, 2176).contains("1 to 25 bytes"));
    assert!(error(&"n".repeat(26), 7, 0, 2176).contains("1 to 25 bytes"));
    assert!(error("room", 7, 0, 2175).contains("give at least 2176"));
    assert!(error("cache", 63, 64, 2176).contains("give at most 42"));
    let _first = mempool("twice", 7);
    let twice = Mempool::create(eal(), "twice", 7, 0, 2176).expect_err("the name is taken");
    assert!(matches!(twice, MempoolError::Failed { .. }), "{twice}");
}

#[test]
fn a_pool_larger_than_the_memory_says_so() {
    // In its own process: until it is refused, it takes the memory the other tests need.
    in_own_process("a_pool_larger_than_the_memory_says_so", || {
        for count in [1 << 16, 1 << 20] {
            let error = Mempool::create(eal(), "memory", count, 0, 2176).expect_err("more than 128 MB");
            assert!(matches!(error, MempoolError::NoMemory { .. }), "{error}");
            assert!(error.to_string().contains("raise memory_mb in [dpdk]"), "{error}");
        }
        assert_eq!(mempool("memory", 1023).available(), 1023, "all was given back");
    });
}

// The lcore.

#[test]
fn a_worker_thread_becomes_an_lcore_once() {
    eal();
    thread::spawn(|| {
        pin_current_thread(0).expect("every machine has CPU 0");
        assert_eq!(lcore_id(), None);
        let lcore = eal().register_current_thread().expect("there are 128 lcore ids");
        assert_eq!(lcore_id(), Some(lcore.id()));
        let again = eal().register_current_thread().expect_err("once per thread");
        assert_eq!(again, LcoreError::AlreadyRegistered(lcore.id()));
        drop(lcore);
        assert_eq!(lcore_id(), None);
    })
    .join()
    .expect("the assertions hold");
}

#[test]
fn the_time_stamp_counter_runs_at_its_frequency() {
    eal();
    let (cycles, started) = (tsc(), Instant::now());
    thread::sleep(Duration::from_millis(50));
    let (cycles, elapsed) = ((tsc() - cycles) as f64, started.elapsed().as_secs_f64());
    let measured = cycles / elapsed / tsc_hz() as f64;
    assert!((0.9..1.1).contains(&measured), "{measured} of the promised frequency");
}

// The port.

#[test]
fn frames_pass_a_ring_in_order_and_none_is_lost() {
    let pool = mempool("ring", 511);
    let (port, mut queues) = open("net_ring_order", &pool, 1);
    let QueuePair { rx, tx } = &mut queues[0];
    let mut sent = burst(&pool, 0, BURST);
    send(tx, &mut sent);
    assert!(sent.is_empty());

    let mut frames = Frames::new();
    for round in 0..1000 {
        assert_eq!(rx.receive(&mut frames, &mut Sink::default()), BURST, "round {round}");
        assert!(frames.iter().map(number).eq(0..64), "round {round}");
        send(tx, &mut frames);
        assert_eq!(pool.in_use(), BURST, "round {round}");
    }
    assert_eq!(rx.receive(&mut frames, &mut Sink::default()), BURST);
    frames.clear();
    assert_eq!(pool.in_use(), 0);
    let stats = port.stats();
    assert_eq!((stats.ipackets, stats.opackets), (1001 * 64, 1001 * 64));
}

#[test]
fn receiving_appends_and_never_overfills() {
    let pool = mempool("append", 255);
    let (_port, mut queues) = open("net_ring_append", &pool, 1);
    send(&mut queues[0].tx, &mut burst(&pool, 0, BURST));

    let mut frames = burst(&pool, 1000, BURST - 10);
    assert_eq!(queues[0].rx.receive(&mut frames, &mut Sink::default()), 10);
    assert_eq!(queues[0].rx.receive(&mut frames, &mut Sink::default()), 0, "there is no room left");
    assert_eq!((number(&frames[0]), number(&frames[BURST - 10]), frames.len()), (1000, 0, BURST));
    frames.clear();
    assert_eq!(queues[0].rx.receive(&mut frames, &mut Sink::default()), BURST - 10);
    assert_eq!(number(&frames[0]), 10);
}

#[test]
fn refused_frames_stay_with_their_owner_until_the_port_takes_them() {
    let pool = mempool("offered", 2047);
    let (_port, mut queues) = open("net_ring_offered", &pool, 1);
    let QueuePair { mut rx, mut tx } = queues.pop().expect("one pair");
    let mut next = 0;
    let mut frames = Frames::new();
    while frames.is_empty() {
        frames = burst(&pool, next, BURST);
        next += 64;
        tx.transmit(&mut frames);
    }
    let left = 16 * BURST - RING_CAPACITY;
    assert_eq!((next as usize, frames.len()), (16 * BURST, left));
    assert_eq!(number(&frames[0]) as usize, RING_CAPACITY, "the front was taken");

    let mut received = 0;
    let mut taken = Frames::new();
    while received < 16 * BURST {
        let count = rx.receive(&mut taken, &mut Sink::default());
        assert!(count > 0, "frames are missing after {received}");
        for mbuf in &taken {
            assert_eq!(number(mbuf) as usize, received);
            received += 1;
        }
        taken.clear();
        tx.transmit(&mut frames);
    }
    assert_eq!((frames.len(), pool.in_use()), (0, 0));
}

#[test]
fn refused_frames_end_in_the_sink() {
    let pool = mempool("refused", 2047);
    let (_port, mut queues) = open("net_ring_full", &pool, 1);
    let QueuePair { rx, tx } = &mut queues[0];
    let mut sink = Sink::default();
    for _ in 0..20 {
        let mut frames = burst(&pool, 0, BURST);
        sink.send(PortId(0), tx, &mut frames, 60 * BURST as u64);
        assert!(frames.is_empty());
    }
    let refused = (20 * BURST - RING_CAPACITY) as u64;
    assert_eq!(sink.counts.dropped(DropReason::TransmitQueueFull), refused);
    assert_eq!(sink.counts.event(Event::Sent), RING_CAPACITY as u64);
    assert_eq!(sink.counts.event(Event::SentBytes), 60 * RING_CAPACITY as u64);
    sink.release();
    assert_eq!(pool.in_use(), RING_CAPACITY, "only what the ring holds is still in use");

    let mut frames = Frames::new();
    while rx.receive(&mut frames, &mut sink) > 0 {
        frames.clear();
    }
    assert_eq!((pool.in_use(), pool.available()), (0, 2047));
}

#[test]
fn each_queue_has_its_own_frames() {
    let pool = mempool("queues", 255);
    let (port, mut queues) = open("net_ring_queues", &pool, 3);
    assert_eq!((queues.len(), port.info().queues), (3, 3));
    for (first, pair) in (0..).step_by(100).zip(&mut queues) {
        send(&mut pair.tx, &mut burst(&pool, first, 5));
    }
    for (first, mut pair) in (0..).step_by(100).zip(queues) {
        // On a thread of its own, as a worker has it.
        let numbers = thread::spawn(move || {
            let mut frames = Frames::new();
            pair.rx.receive(&mut frames, &mut Sink::default());
            frames.iter().map(number).collect::<Vec<_>>()
        });
        assert!(numbers.join().expect("no panic").into_iter().eq(first..first + 5));
    }
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_frame_too_long_for_one_mbuf_is_dropped_and_counted() {
    in_own_process("a_frame_too_long_for_one_mbuf_is_dropped_and_counted", || {
        // memif copies a frame of 3000 bytes into as many mbufs of the receiver as it takes, here two.
        let large = Mempool::create(eal(), "large", 255, 0, data_room_for_mtu(3500)).expect("it fits");
        let small = mempool("small", 2047);
        let socket = env::temp_dir().join(format!("borderline-vdev-{}.sock", std::process::id()));
        let end = |name: &str, role: &str| {
            let path = socket.display();
            format!("{name},role={role},id=0,socket-abstract=no,socket={path},bsize=4096,rsize=8")
        };
        let (server, mut receiver) = open(&end("net_memif_s", "server"), &small, 1);
        let (client, mut sender) = open(&end("net_memif_c", "client"), &large, 1);
        wait_until("memif connects", || server.link().up && client.link().up);

        let mut frames: Frames<Mbuf> =
            (0..).zip([60, 3000, 1500, 60]).map(|(n, length)| frame(&large, n, length)).collect();
        send(&mut sender[0].tx, &mut frames);
        let mut sink = Sink::default();
        wait_until("four frames arrive", || {
            receiver[0].rx.receive(&mut frames, &mut sink);
            frames.len() as u64 + sink.counts.all_dropped() == 4
        });
        let arrived: Vec<u32> = frames.iter().map(number).collect();
        assert_eq!(arrived, [0, 2, 3], "in order, without the long one");
        assert_eq!(sink.counts.dropped(DropReason::SegmentsTooLong), 1);
        assert_eq!(sink.counts.event(Event::Received), 1, "the others are counted by the worker");
        frames.clear();
        sink.release();
        assert_eq!((large.in_use(), small.in_use()), (0, 0));
        let _ = fs::remove_file(socket);
        // The memif driver of 22.11 crashes now and then when it is closed while its own thread hears from the
        // other end. So both ends stay open until the process ends.
        std::mem::forget((server, receiver, client, sender));
    });
}

#[test]
fn ports_that_receive_everything_receive_further_macs() {
    let pool = mempool("macs", 255);
    let mac = |last| [0, 0, 0x5e, 0, 1, last];
    let (mut port, _queues) = open("net_ring_macs", &pool, 1);
    // Most virtual devices receive everything all the time, whatever their filter.
    for macs in [&[mac(1), mac(2)][..], &[mac(2)], &[]] {
        assert_eq!(port.set_extra_macs(macs), Ok(MacFilter::Promiscuous));
        assert!(port.info().promiscuous);
    }
    let (mut port, _queues) = open("net_null_macs", &pool, 1);
    assert_eq!(port.set_extra_macs(&[mac(1)]), Ok(MacFilter::Promiscuous), "without a filter");
}

/// Sends all of `frames` by a port that has room for them.
#[track_caller]
fn send(tx: &mut TxQueue, frames: &mut Frames<Mbuf>) {
    tx.transmit(frames);
    assert!(frames.is_empty(), "{} frames were refused", frames.len());
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}: not within 10 s");
        thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn a_port_tells_what_it_is() {
    let pool = mempool("info", 2047);
    let (mut port, mut queues) = open("net_null_info", &pool, 2);
    let info = port.info();
    assert_eq!((info.driver.as_str(), info.device.as_str(), info.mtu), ("net_null", "net_null_info", 1500));
    assert_eq!((info.queues, info.spread), (2, Spread::Addresses));
    assert!(info.max_queues >= 2 && info.rx_descriptors > 0 && info.tx_descriptors > 0, "{info:?}");
    assert!(port.link().up);
    send(&mut queues[1].tx, &mut burst(&pool, 0, 7));
    assert_eq!(port.stats().opackets, 7);
    let extended = port.extended_stats();
    assert!(extended.iter().any(|(name, value)| name == "tx_good_packets" && *value == 7), "{extended:?}");
    assert!(!port.info().promiscuous);
    port.set_promiscuous(true).expect("net_null pretends to have this mode");
    assert!(port.info().promiscuous);
}

#[test]
fn one_queue_is_not_spread() {
    let pool = mempool("one_queue", 255);
    assert_eq!(open("net_null_one", &pool, 1).0.info().spread, Spread::OneQueue);
}

#[test]
fn a_port_closes_with_its_last_queue_and_opens_again() {
    let pool = mempool("reopen", 255);
    let (port, queues) = open("net_ring_reopen", &pool, 1);
    let config = PortConfig { mempools: vec![pool.clone()], ..PortConfig::default() };
    let device = "net_ring_reopen".to_owned();
    assert_eq!(open_error("net_ring_reopen", &config), PortError::AlreadyOpen { device: device.clone() });

    let port = port.close().expect_err("a queue is still owned");
    drop(port);
    assert_eq!(open_error("net_ring_reopen", &config), PortError::AlreadyOpen { device });
    drop(queues);
    let (port, queues) = open("net_ring_reopen", &pool, 1);
    drop(queues);
    assert!(port.close().is_ok());
}

#[test]
fn a_failed_open_leaves_nothing_behind() {
    let pool = mempool("undone", 255);
    let config = PortConfig { queues: 17, mempools: vec![pool.clone()], ..PortConfig::default() };
    for _ in 0..3 {
        assert!(matches!(open_error("net_ring_undone", &config), PortError::TooManyQueues { .. }));
    }
    drop(open("net_ring_undone", &pool, 1));
}

// What a port refuses.

#[test]
fn devices_that_are_not_there_are_named() {
    let config = PortConfig { mempools: vec![mempool("absent", 7)], ..PortConfig::default() };
    for (device, expected) in [
        ("", "\"\" is not a device"),
        ("net_nosuch0", "DPDK has no driver of this name"),
        ("net_af_packet0,iface=nowhere0", "there is no network interface nowhere0"),
        ("net_af_xdp0,iface=nowhere0", "there is no network interface nowhere0"),
        ("0000:ff:1f.7", "there is no PCI card at this address"),
    ] {
        let error = open_error(device, &config).to_string();
        assert!(error.contains(expected), "{device}: {error}");
    }
}

#[test]
fn the_error_of_a_probe_quotes_the_driver() {
    let config = PortConfig { mempools: vec![mempool("quoted", 7)], ..PortConfig::default() };
    let error = open_error("net_pcap_quoted,rx_pcap=/nowhere.pcap", &config);
    assert!(matches!(error, PortError::Probe { .. } | PortError::Setup { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("DPDK says: ") && text.contains("/nowhere.pcap"), "{text}");
}

#[test]
fn too_many_queues_name_the_limit() {
    let config = PortConfig { queues: 17, mempools: vec![mempool("many", 7)], ..PortConfig::default() };
    let error = open_error("net_ring_many", &config).to_string();
    assert!(error.contains("device net_ring_many has 16 queue pairs, 17 are wanted"), "{error}");
}

#[test]
fn an_mtu_beyond_the_mbufs_or_the_driver_is_refused() {
    let jumbo = PortConfig { mtu: 9000, mempools: vec![mempool("mtu_small", 7)], ..PortConfig::default() };
    let error = open_error("net_ring_mtu", &jumbo).to_string();
    assert!(
        error.contains("MTU 9000 needs mbufs with a data room of 9154 bytes, the mempool has 2176"),
        "{error}"
    );
    let tiny = PortConfig { mtu: 40, mempools: vec![mempool("mtu_tiny", 7)], ..PortConfig::default() };
    let error = open_error("net_ring_mtu", &tiny).to_string();
    assert!(error.contains("takes an MTU of 46 to") && error.contains("40 is wanted"), "{error}");
}

#[test]
fn queues_and_mempools_must_match() {
    let pool = mempool("match", 7);
    for (queues, mempools) in [(0, 1), (1, 0), (3, 2)] {
        let config = PortConfig { queues, mempools: vec![pool.clone(); mempools], ..PortConfig::default() };
        assert!(matches!(open_error("net_ring_match", &config), PortError::Mempools { .. }), "{queues}");
    }
}

// The EAL.

#[test]
fn a_second_eal_is_refused() {
    eal();
    assert_eq!(Eal::init(&no_huge()).map(|_| ()), Err(EalError::AlreadyInitialised));
}

#[test]
fn missing_hugepages_are_reported_before_anything_is_tried() {
    let reserved = fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap_or_default();
    if reserved.trim() != "0" {
        println!("skipped: this machine has hugepages");
        return;
    }
    let config = EalConfig { memory: Memory::Hugepages, ..no_huge() };
    let error = Eal::init(&config).map(|_| ()).expect_err("there are none");
    assert_eq!(error, EalError::NoHugepages);
    assert!(error.to_string().contains("sysctl vm.nr_hugepages=512"));
}

#[test]
fn more_memory_than_there_is_is_refused() {
    let config = EalConfig { memory_mb: u32::MAX, ..no_huge() };
    let error = Eal::init(&config).map(|_| ()).expect_err("no machine has so much").to_string();
    assert!(error.contains("4294967295 MB are wanted: lower memory_mb in [dpdk]"), "{error}");
}

#[test]
fn a_missing_control_cpu_is_refused() {
    let config = EalConfig { control_cpus: vec![0, 4000], ..no_huge() };
    let error = Eal::init(&config).map(|_| ()).expect_err("no machine has so many").to_string();
    assert!(error.contains("CPU 4000 cannot be used"), "{error}");
}

#[test]
fn an_argument_eal_does_not_know_is_quoted() {
    in_own_process("an_argument_eal_does_not_know_is_quoted", || {
        let config = EalConfig { extra_args: vec!["--lcores=999@999999".to_owned()], ..no_huge() };
        let error = Eal::init(&config).map(|_| ()).expect_err("no such CPU").to_string();
        assert!(error.contains("--lcores=999@999999`: correct extra_args in [dpdk] (DPDK says: "), "{error}");
        assert_eq!(Eal::init(&no_huge()).map(|_| ()), Err(EalError::AlreadyInitialised), "no second try");
    });
}

#[test]
fn the_log_reaches_its_sink() {
    in_own_process("the_log_reaches_its_sink", || {
        eal();
        let log = LOG.lock().expect("no panic").join("\n");
        assert!(log.contains("EAL: Detected CPU lcores"), "{log}");
    });
}

#[test]
fn the_thread_that_starts_the_eal_keeps_its_cpus() {
    in_own_process("the_thread_that_starts_the_eal_keeps_its_cpus", || {
        let allowed = || {
            let status = fs::read_to_string("/proc/thread-self/status").expect("Linux");
            status.lines().find(|line| line.starts_with("Cpus_allowed:")).map(str::to_owned)
        };
        let before = allowed();
        let eal = Eal::init(&no_huge()).expect("starts");
        assert_eq!(allowed(), before);
        assert!(matches!(eal.register_current_thread(), Err(LcoreError::AlreadyRegistered(0))));
    });
}

/// An EAL with a port that nobody opens: DPDK closes it, and says so, when it is cleaned up.
fn eal_with_witness() -> Eal {
    let config = EalConfig {
        extra_args: ["--vdev=net_null_witness", "--log-level=pmd.net.null:info"].map(str::to_owned).to_vec(),
        ..no_huge()
    };
    Eal::init(&config).expect("starts")
}

fn cleaned_up() -> bool {
    LOG.lock().expect("no panic").iter().any(|line| line.contains("Closing null ethdev"))
}

#[test]
fn the_last_queue_takes_everything_with_it() {
    in_own_process("the_last_queue_takes_everything_with_it", || {
        let eal = eal_with_witness();
        let pool = Mempool::create(&eal, "order", 255, 32, 2176).expect("it fits");
        let config = PortConfig { mempools: vec![pool.clone()], ..PortConfig::default() };
        let (port, mut queues) = Port::open(&eal, "net_ring0", &config).expect("opens");
        let mut frames = burst(&pool, 0, 5);
        drop((eal, pool, port, config));
        send(&mut queues[0].tx, &mut frames);
        assert_eq!(queues[0].rx.receive(&mut frames, &mut Sink::default()), 5);
        frames.clear();
        assert!(!cleaned_up());
        drop(queues);
        assert!(cleaned_up());
    });
}

#[test]
fn an_mbuf_may_outlive_its_pool() {
    in_own_process("an_mbuf_may_outlive_its_pool", || {
        let eal = eal_with_witness();
        let pool = Mempool::create(&eal, "outlived", 255, 0, 2176).expect("it fits");
        let mut mbuf = frame(&pool, 4711, 60);
        drop((pool, eal));
        mbuf.data_mut()[59] = 1;
        assert_eq!((number(&mbuf), mbuf.data()[59]), (4711, 1));
        assert!(!cleaned_up(), "DPDK stays under the mbuf, for good");
    });
}

#[test]
fn a_port_made_by_hand_is_opened_by_its_name() {
    in_own_process("a_port_made_by_hand_is_opened_by_its_name", || {
        let eal = eal_with_witness();
        let pool = Mempool::create(&eal, "by_hand", 2047, 0, 2176).expect("it fits");
        let config = PortConfig { mempools: vec![pool], ..PortConfig::default() };
        let (port, _queues) = Port::open(&eal, "net_null_witness", &config).expect("opens");
        assert_eq!(port.info().driver, "net_null");
    });
}
