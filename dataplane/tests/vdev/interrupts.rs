//! A worker that waits for receive interrupts, on the driver for virtual machines: virtio, with vhost at the other end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use dataplane::counters::CounterCells;
use dataplane::dpdk::{RxAlarm, RxQueue};
use dataplane::exception::{inject_ring, punt_ring};
use dataplane::io::Alarm;
use dataplane::table::publish::Publisher;
use dataplane::testing::{self, MAC_V4};
use dataplane::worker::{Clock, Poll, StopFlag, Worker, WorkerParts};

use super::*;

/// When a frame comes: the places at which a wake-up could be lost. 3 is during the wait.
const BEFORE_ARMING: u8 = 0;
const AFTER_ARMING: u8 = 1;
const BEFORE_WAITING: u8 = 2;
const NEVER: u8 = 4;

/// Where frames for the worker come from, and what it was seen to do.
struct Scene {
    sender: Mutex<(TxQueue, Mempool, u32)>,
    next: AtomicU8,
    waiting: AtomicBool,
    waits: AtomicU64,
    interrupts: AtomicU64,
}

impl Scene {
    fn send(&self) {
        let mut sender = self.sender.lock().expect("no panic");
        let (tx, pool, number) = &mut *sender;
        let packet = testing::udp_v4("203.0.113.50", "192.0.2.1", &number.to_be_bytes());
        let bytes = testing::frame(MAC_V4, &packet);
        let mut mbuf = frame(pool, 0, bytes.len());
        mbuf.data_mut().copy_from_slice(&bytes);
        *number += 1;
        send(tx, &mut [mbuf].into_iter().collect());
    }

    fn moment(&self, moment: u8) {
        if self.next.compare_exchange(moment, NEVER, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.send();
        }
    }
}

/// The interrupts themselves, without the limit on a wait: a wake-up that is lost stays lost.
struct Watching(RxAlarm, Arc<Scene>);

impl Alarm for Watching {
    fn arm(&mut self) -> bool {
        self.1.moment(BEFORE_ARMING);
        let armed = self.0.arm();
        self.1.moment(AFTER_ARMING);
        armed
    }

    fn wait(&mut self, longest: Duration) -> bool {
        assert!(longest <= Duration::from_millis(1), "the kernel's frames would wait for {longest:?}");
        self.1.moment(BEFORE_WAITING);
        self.1.waits.fetch_add(1, Ordering::SeqCst);
        self.1.waiting.store(true, Ordering::SeqCst);
        let interrupted = self.0.wait(Duration::from_secs(60));
        self.1.waiting.store(false, Ordering::SeqCst);
        self.1.interrupts.fetch_add(u64::from(interrupted), Ordering::SeqCst);
        interrupted
    }

    fn disarm(&mut self) {
        self.0.disarm();
    }
}

/// A wire: one end for the worker, another for the test.
fn wire(number: u32, pool: &Mempool) -> [QueuePair; 2] {
    let path = env::temp_dir().join(format!("borderline-vdev-{}-{number}.sock", std::process::id()));
    let socket = path.display();
    let config = PortConfig { interrupts: true, mempools: vec![pool.clone()], ..PortConfig::default() };
    let end = |device: &str| {
        let (port, mut queues) = Port::open(eal(), device, &config).expect("vhost needs only a socket");
        (port, queues.remove(0))
    };
    let far = end(&format!("net_vhost{number},iface={socket},queues=1"));
    let near = end(&format!("net_virtio_user{number},path={socket},queues=1"));
    wait_until("vhost is connected", || far.0.link().up);
    fs::remove_file(path).expect("both ends have it open");
    assert!(near.0.info().interrupts);
    // The virtio driver of 22.11 crashes now and then when it is closed while a thread of DPDK hears that the other end
    // has gone. So both ends stay open until the process ends.
    std::mem::forget((near.0, far.0));
    [near.1, far.1]
}

type Parts = WorkerParts<RxQueue, TxQueue, Mempool>;

fn parts(
    receive: Vec<RxQueue>,
    transmit: Vec<TxQueue>,
    pool: &Mempool,
    alarm: Box<dyn Alarm>,
) -> (Parts, Arc<StopFlag>, Arc<CounterCells>) {
    let translation = testing::translation(&[("192.0.2.1/32", "2001:db8:12:34::1/128")]);
    let publisher = Publisher::new(testing::snapshot(translation));
    let (punt, _punted) = punt_ring(1 << 16, Arc::new(|| ()));
    let (_inject, inject) = inject_ring(1 << 16);
    let (stop, cells) = (Arc::<StopFlag>::default(), Arc::<CounterCells>::default());
    let parts = WorkerParts {
        receive,
        transmit,
        pool: pool.clone(),
        reader: publisher.reader(),
        punt,
        inject,
        cells: Arc::clone(&cells),
        stop: Arc::clone(&stop),
        clock: Clock { now: tsc, hertz: tsc_hz() },
        poll: Poll::Adaptive,
        longest_sleep: Arc::default(),
        alarm: Some(alarm),
        workers: 1,
    };
    // As with links too fast for any sleep by the clock.
    parts.longest_sleep.set(Duration::ZERO);
    (parts, stop, cells)
}

#[test]
fn a_worker_waits_for_interrupts_and_misses_none() {
    in_own_process("interrupts::a_worker_waits_for_interrupts_and_misses_none", || {
        let pool = mempool("interrupts", 16_383);
        let [near4, far4] = wire(0, &pool);
        let [near6, mut far6] = wire(1, &pool);
        let scene = Arc::new(Scene {
            sender: Mutex::new((far4.tx, pool.clone(), 0)),
            next: AtomicU8::new(NEVER),
            waiting: AtomicBool::default(),
            waits: AtomicU64::default(),
            interrupts: AtomicU64::default(),
        });
        let (receive, transmit): (Vec<_>, Vec<_>) =
            [near4, near6].into_iter().map(|pair| (pair.rx, pair.tx)).unzip();
        let alarm = RxAlarm::new(&receive).expect("all queues can interrupt");
        let alarm = Box::new(Watching(alarm, Arc::clone(&scene)));
        let (parts, stop, cells) = parts(receive, transmit, &pool, alarm);
        let thread = thread::spawn(move || Worker::new(parts).run());

        let (mut arrived, mut sink) = (Frames::new(), Sink::default());
        for number in 0..1000_u32 {
            let moment = (number % 4) as u8;
            scene.next.store(moment, Ordering::SeqCst);
            wait_until(&format!("frame {number} is forwarded"), || {
                // Also when the worker went to wait before it could be told to expect something on its way there.
                if scene.waiting.load(Ordering::SeqCst) {
                    scene.moment(moment);
                }
                far6.rx.receive(&mut arrived, &mut sink) > 0
            });
            assert_eq!(arrived.len(), 1);
            assert!(arrived[0].data().ends_with(&number.to_be_bytes()), "frame {number} at moment {moment}");
            arrived.clear();
        }
        wait_until("the worker waits again", || scene.waiting.load(Ordering::SeqCst));
        let (waits, interrupts) =
            (scene.waits.load(Ordering::SeqCst), scene.interrupts.load(Ordering::SeqCst));
        assert!(interrupts >= 500, "two frames of four came to a worker that waited, {interrupts} woke it");
        assert!(waits <= 2 * 1000, "{waits} waits for 1000 frames: they do not block");
        stop.store(true, Ordering::Relaxed);
        scene.send();
        thread.join().expect("the worker ends");
        let counts = cells.load();
        assert_eq!(counts.event(Event::TranslatedV4ToV6), 1000);
        assert!(counts.event(Event::SleepCycles) > 0);
    });
}

#[test]
fn ports_without_interrupts_open_all_the_same() {
    let pool = mempool("no_interrupts", 255);
    let config = PortConfig { interrupts: true, mempools: vec![pool.clone()], ..PortConfig::default() };
    let (port, mut queues) = Port::open(eal(), "net_ring_intr", &config).expect("it opens without");
    assert!(!port.info().interrupts);
    let QueuePair { rx, mut tx } = queues.remove(0);
    assert!(RxAlarm::new(&[]).is_none());
    let mut receive = [rx];
    assert!(RxAlarm::new(&receive).is_none());
    send(&mut tx, &mut burst(&pool, 0, 3));
    assert_eq!(receive[0].receive(&mut Frames::new(), &mut Sink::default()), 3);
    let log = LOG.lock().expect("no panic").join("\n");
    assert!(log.contains("Rx Intr handle unset"), "told to developers: {log}");
}

#[test]
fn one_port_without_interrupts_is_enough_to_sleep_by_the_clock() {
    in_own_process("interrupts::one_port_without_interrupts_is_enough_to_sleep_by_the_clock", || {
        let pool = mempool("mixed", 4095);
        let [near, _far] = wire(0, &pool);
        let config = PortConfig { interrupts: true, mempools: vec![pool.clone()], ..PortConfig::default() };
        let (_ring, mut ring) = Port::open(eal(), "net_ring0", &config).expect("opens");
        let mut queues = vec![near.rx];
        assert!(RxAlarm::new(&queues).is_some(), "each has a set of its own");
        queues.push(ring.remove(0).rx);
        assert!(RxAlarm::new(&queues).is_none());
        queues.pop();
        assert!(
            RxAlarm::new(&queues).is_some(),
            "what was taken into a set that came to nothing is free again"
        );

        let config = PortConfig { mempools: vec![pool.clone()], ..PortConfig::default() };
        let socket = env::temp_dir().join(format!("borderline-vdev-{}-5.sock", std::process::id()));
        let device = format!("net_vhost5,iface={},queues=1", socket.display());
        let (port, queues) = Port::open(eal(), &device, &config).expect("vhost needs only a socket");
        let queues: Vec<_> = queues.into_iter().map(|pair| pair.rx).collect();
        assert!(!port.info().interrupts && RxAlarm::new(&queues).is_none(), "as nobody asked for them");
    });
}
