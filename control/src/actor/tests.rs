//! The actor with a machine of paper: no ports, no workers, and files that come when the test says so.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use dataplane::counters::Counts;
use dataplane::table::eam::{Change, Eam, EamError};
use dataplane::table::fib::Fib;
use dataplane::table::publish::{Publisher, SnapshotReader};
use dataplane::table::routing::MacAddress;
use dataplane::table::snapshot::Snapshot;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::reader::Patience;
use super::*;
use crate::announce::Standing;
use crate::config::Config;
use crate::kernel::{Bell, Kernel, Rings};
use crate::reload::{self, Loaded, Running};

const CONFIG: &str = "eam_files = [\"eams.csv\"]\n[dpdk]\nworkers = [1]\nmemory = \"no-huge\"\n\
    [[port]]\nname = \"v4\"\ndevice = \"net_null0\"\n[translation]\nprefixes = [\"2001:db8:46::/96\"]\n";
const EAMS: &str = "192.0.2.1,2001:db8::1\n192.0.2.2,2001:db8::2\n192.0.2.3,2001:db8::3\n";
/// Longer than any machine takes for what a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the fake machine is asked.
#[derive(Default)]
struct Asked {
    links: AtomicU64,
    stopped: AtomicBool,
}

struct Paper {
    asked: Arc<Asked>,
    ports: Vec<PortFacts>,
}

impl Machine for Paper {
    fn ports(&self) -> &[PortFacts] {
        &self.ports
    }

    fn link(&self, _port: usize) -> Option<Link> {
        None
    }

    fn links_changed(&self) {}

    fn set_extra_macs(&mut self, _port: usize, _macs: &[MacAddress]) {}

    fn port_counts(&self, _port: usize) -> PortCounts {
        PortCounts { received: 7, ..PortCounts::default() }
    }

    fn worker_cpus(&self) -> &[u16] {
        // Which CPU does not matter.
        &[1]
    }

    fn worker_counts(&self) -> Vec<Counts> {
        self.asked.links.fetch_add(1, Ordering::Relaxed);
        vec![Counts::default()]
    }

    fn worker_timings(&self) -> Vec<dataplane::timing::Timings> {
        Vec::new()
    }

    fn hertz(&self) -> u64 {
        1_000_000_000
    }

    fn mbufs_in_use(&self) -> usize {
        3
    }

    fn stop_workers(&mut self) {
        assert!(!self.asked.stopped.swap(true, Ordering::Relaxed), "stopped once");
    }
}

/// A running actor, in a directory with its configuration.
struct Stand {
    handle: ControlHandle,
    asked: Arc<Asked>,
    reader: Option<SnapshotReader>,
    printed: Arc<AtomicUsize>,
    directory: Arc<TempDir>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Stand {
    fn start() -> Self {
        Self::configured("")
    }

    /// With more in its configuration.
    fn configured(more: &str) -> Self {
        let directory = Arc::new(TempDir::new().unwrap());
        let path = directory.path().join("relay.toml");
        std::fs::write(&path, format!("{CONFIG}{more}")).unwrap();
        Self::with(directory, Patience::default(), move || reload::load(&path))
    }

    fn with(
        directory: Arc<TempDir>,
        patience: Patience,
        read: impl Fn() -> Loaded + Send + Sync + 'static,
    ) -> Self {
        let path = directory.path().join("relay.toml");
        if !path.exists() {
            std::fs::write(&path, CONFIG).unwrap();
        }
        std::fs::write(directory.path().join("eams.csv"), EAMS).unwrap();
        let (asked, printed) = (Arc::<Asked>::default(), Arc::<AtomicUsize>::default());
        let (given, taken) = channel();
        let (asked_there, printed_there) = (Arc::clone(&asked), Arc::clone(&printed));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            run(&runtime, &path, (asked_there, printed_there), (patience, Arc::new(read)), &given);
        });
        let (handle, reader) = taken.recv().unwrap();
        Self { handle, asked, reader: Some(reader), printed, directory, thread: Some(thread) }
    }

    fn write(&self, eams: &str) {
        std::fs::write(self.directory.path().join("eams.csv"), eams).unwrap();
    }

    fn request(&self, wish: impl AsyncFnOnce(&ControlHandle) -> Result<(), Gone>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(wish(&self.handle)).unwrap();
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.handle.request_stop()).ok();
        if !thread::panicking() {
            thread.join().unwrap();
            assert!(self.asked.stopped.load(Ordering::Relaxed), "workers are stopped at the end");
        }
    }
}

type Given = Sender<(ControlHandle, SnapshotReader)>;

fn run(
    runtime: &Runtime,
    path: &Path,
    (asked, printed): (Arc<Asked>, Arc<AtomicUsize>),
    (patience, read): (Patience, reader::Read),
    given: &Given,
) {
    let local = LocalSet::new();
    local.block_on(runtime, async {
        let (mut config, _) = Config::load(path).unwrap();
        let running = Running::start(path, &mut config, None, None).unwrap();
        let translation = Arc::clone(running.translation());
        let publisher =
            Publisher::new(Snapshot { generation: 1, translation, fib: Arc::new(Fib::default()) });
        let snapshots = publisher.reader();
        let rings = Rings { punts: Vec::new(), injects: Vec::new(), bell: Bell::new() };
        let kernel = Kernel::new(Vec::new(), rings, publisher.view()).unwrap();
        let facts = PortFacts {
            name: "v4".to_owned(),
            device: "net_null0".to_owned(),
            driver: "net_null".to_owned(),
            interface: None,
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
        };
        let parts = ActorParts {
            machine: Paper { asked, ports: vec![facts] },
            publisher,
            kernel,
            twins: Vec::new(),
            running,
            print: Box::new(move |_| {
                printed.fetch_add(1, Ordering::Relaxed);
            }),
            pulse: Arc::default(),
        };
        let (actor, handle) = Actor::with_reader(parts, read, patience).unwrap();
        given.send((handle, snapshots)).unwrap();
        let (_, result) = actor.run().await;
        result.unwrap();
    });
}

fn wait_until(mut ready: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !ready() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

fn eam(host: u8) -> Eam {
    Eam {
        ipv4: format!("192.0.2.{host}/32").parse().unwrap(),
        ipv6: format!("2001:db8::{host:x}/128").parse().unwrap(),
    }
}

#[test]
fn whoever_asks_is_answered() {
    let stand = Stand::start();
    let status = stand.handle.status().unwrap();
    assert_eq!((status.eams, status.ports.len(), status.workers.len()), (3, 1, 1));
    assert_eq!((status.ports[0].twin.as_str(), status.ports[0].counts.received), ("bl-v4", 7));
    let counters = stand.handle.counters().unwrap();
    assert_eq!((counters.mbufs_in_use, counters.ports.len()), (3, 1));
    assert!(wait_until(|| stand.handle.status().unwrap().translating), "the kernel's routing is read");
    let snapshot = stand.handle.snapshot().unwrap();
    assert!(snapshot.translation.eams.lookup_ipv4("192.0.2.2".parse().unwrap()).is_some());
}

#[test]
fn a_reload_is_answered_with_what_changed_or_why_nothing_did() {
    let stand = Stand::start();
    stand.write(&format!("{EAMS}192.0.2.4,2001:db8::4\n"));
    let ReloadOutcome::Applied(reloaded) = stand.handle.reload().unwrap() else { panic!("good files") };
    assert_eq!((reloaded.eams, reloaded.changes.added), (4, 1));
    stand.write("nonsense\n");
    let ReloadOutcome::Refused { problems, .. } = stand.handle.reload().unwrap() else {
        panic!("wrong files")
    };
    assert_eq!(problems.len(), 1);
    let status = stand.handle.status().unwrap();
    assert_eq!((status.eams, status.reloads), (4, Reloads { applied: 1, refused: 1 }));
}

#[test]
fn an_update_is_answered_when_every_worker_uses_it() {
    let mut stand = Stand::start();
    let mut reader = stand.reader.take().unwrap();
    reader.pin();
    let handle = stand.handle.clone();
    let update = thread::spawn(move || handle.update(|tables| tables.apply(&[Change::Add(eam(9))])).unwrap());
    assert!(wait_until(|| stand.handle.status().unwrap().eams == 4), "published");
    thread::sleep(Duration::from_millis(50));
    assert!(!update.is_finished(), "a worker still uses the old tables");
    assert!(reader.pin().translation.eams.lookup_ipv4("192.0.2.9".parse().unwrap()).is_some());
    let updated = update.join().unwrap();
    assert!(updated.everywhere);
}

#[test]
fn a_refused_update_changes_nothing_and_says_why() {
    let mut stand = Stand::start();
    drop(stand.reader.take());
    let refused = stand.handle.update(|tables| tables.apply(&[Change::Remove(eam(9))])).unwrap_err();
    assert!(matches!(refused, UpdateError::Refused(EamError::Unknown(_))), "{refused}");
    assert_eq!(stand.handle.status().unwrap().eams, 3);
    // What an update added stays when the files are read again.
    stand.handle.update(|tables| tables.apply(&[Change::Add(eam(9))])).unwrap();
    stand.write(&format!("{EAMS}192.0.2.4,2001:db8::4\n"));
    let ReloadOutcome::Applied(reloaded) = stand.handle.reload().unwrap() else { panic!("good files") };
    assert_eq!(reloaded.eams, 5);
}

/// Files that can be read as often as the test says.
fn gate() -> (Sender<()>, Mutex<Receiver<()>>) {
    let (open, opened) = channel();
    (open, Mutex::new(opened))
}

#[test]
fn requests_during_a_reload_become_one_more() {
    let directory = Arc::new(TempDir::new().unwrap());
    let (open, gate) = gate();
    let path = directory.path().join("relay.toml");
    let stand = Stand::with(directory, Patience::default(), move || {
        gate.lock().unwrap().recv().ok();
        reload::load(&path)
    });
    for _ in 0..6 {
        stand.request(ControlHandle::request_reload);
    }
    // Behind them in the queue: all of them have arrived.
    stand.handle.status().unwrap();
    stand.write(&format!("{EAMS}192.0.2.4,2001:db8::4\n"));
    for applied in 1..=2 {
        open.send(()).unwrap();
        assert!(wait_until(|| stand.handle.status().unwrap().reloads.applied == applied));
    }
    assert!(wait_until(|| stand.handle.status().unwrap().reading_since.is_none()), "two were enough");
    assert_eq!(stand.handle.status().unwrap().eams, 4, "the last one saw the files as they are");
}

#[test]
fn files_that_do_not_come_are_given_up_and_the_next_reload_is_heard() {
    let directory = Arc::new(TempDir::new().unwrap());
    let (open, gate) = gate();
    let path = directory.path().join("relay.toml");
    let is_first = AtomicBool::new(true);
    let patience = Patience { tell: Duration::from_millis(50), limit: Duration::from_millis(500) };
    let stand = Stand::with(directory, patience, move || {
        if is_first.swap(false, Ordering::Relaxed) {
            gate.lock().unwrap().recv().ok();
        }
        reload::load(&path)
    });
    let ReloadOutcome::Refused { reason, .. } = stand.handle.reload().unwrap() else { panic!("no files") };
    assert!(reason.contains("longer than 0.5 s"), "{reason}");
    stand.write(&format!("{EAMS}192.0.2.4,2001:db8::4\n"));
    assert!(matches!(stand.handle.reload().unwrap(), ReloadOutcome::Applied(_)));
    // What the first one read at last is of no interest any more.
    open.send(()).unwrap();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(stand.handle.status().unwrap().reloads, Reloads { applied: 1, refused: 1 });
}

#[test]
fn wishes_without_end_do_not_keep_the_clock_from_being_heard() {
    let stand = Stand::start();
    let before = stand.asked.links.load(Ordering::Relaxed);
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut sent = 0;
    // Each print asks the machine for the counts once; the clock does it once a second. A print under way has asked already.
    let by_clock = || {
        // In this order: prints between the two readings make it too small, never too large.
        let asked = stand.asked.links.load(Ordering::Relaxed);
        let printed = u64::try_from(stand.printed.load(Ordering::Relaxed)).unwrap();
        asked.saturating_sub(before + printed + 1)
    };
    while start.elapsed() < Duration::from_secs(30) && by_clock() < 3 {
        runtime.block_on(stand.handle.request_counters()).unwrap();
        sent += 1;
    }
    assert!(wait_until(|| by_clock() >= 3), "starved by {sent} wishes");
}

#[test]
fn the_end_comes_when_it_is_asked_for_and_others_learn_of_it() {
    let mut stand = Stand::start();
    stand.request(ControlHandle::request_stop);
    stand.thread.take().unwrap().join().unwrap();
    assert!(stand.asked.stopped.load(Ordering::Relaxed));
    assert_eq!(stand.printed.load(Ordering::Relaxed), 1, "the counters are printed at the end");
    assert_eq!(stand.handle.status().unwrap_err(), Gone);
    assert!(matches!(stand.handle.update(|tables| tables.apply(&[])), Err(UpdateError::Gone)));
}

#[test]
fn a_drain_that_is_taken_back_while_the_relay_stops_goes_on() {
    let stand = Stand::configured("[announce]\nstop_seconds = 60\n");
    let standing = || stand.handle.status().unwrap().service.announcement.standing;
    assert!(wait_until(|| stand.handle.status().unwrap().translating), "else it stops at once");
    stand.handle.drain(None).unwrap();
    assert_eq!(standing(), Standing::Draining);
    let back = stand.handle.undrain().unwrap().announcement;
    assert!(back.standing != Standing::Draining && back.drain.is_none(), "{back:?}");
    stand.request(ControlHandle::request_stop);
    assert!(wait_until(|| standing() == Standing::Draining), "first the routes go");
    let same = stand.handle.undrain().unwrap().announcement;
    assert!(same.standing == Standing::Draining && same.drain.is_some(), "{same:?}");
}
