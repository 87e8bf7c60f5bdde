//! A namespace with two twins, the kernel side running, and the last published routing.

use std::cell::RefCell;
use std::process::{Child, Command};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::kernel::{Bell, Kernel, KernelError, Rings, Twin};
use dataplane::exception::{inject_ring, punt_ring};
use dataplane::table::publish::{Publisher, SnapshotView};
use dataplane::table::routing::{MacAddress, PortId, Route, RouteAction, Routing, TableId, Update};
use dataplane::table::snapshot::Snapshot;
use dataplane::testing::{Mirror, translation};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{sleep, timeout};

use super::wire::Wire;

const INSIDE: &str = "BORDERLINE_KERNEL_TEST";
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `test` in a new network namespace, by running this program once more for the test called `name`.
pub(crate) fn in_namespace(name: &str, test: impl Future<Output = ()> + 'static) {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, test);
        return;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    if !status.lines().any(|line| line.starts_with("Uid:\t0\t")) {
        println!("{name} skipped: needs root for a network namespace");
        return;
    }
    let me = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .arg("--net")
        .arg(me)
        .args(["--exact", name, "--nocapture", "--include-ignored"])
        .env(INSIDE, name)
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{name} failed in its namespace");
    assert!(said.contains("test result: ok. 1 passed"), "no test is called {name}");
}

/// Runs a shell command to its end; what it printed, errors included.
pub(crate) fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-ec", command]).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {text}");
    text
}

/// Starts a program that is waited for later.
pub(crate) fn spawn(program: &str, arguments: &[&str]) -> Child {
    Command::new(program).args(arguments).spawn().unwrap()
}

pub(crate) struct Lab {
    pub(crate) twins: Vec<Arc<Twin>>,
    pub(crate) kernel: Rc<Kernel>,
    pub(crate) wires: Vec<Wire>,
    mirror: Rc<RefCell<Mirror>>,
    /// Counts publications.
    published: watch::Receiver<u64>,
    running: JoinHandle<Result<(), KernelError>>,
}

impl Lab {
    /// Twins bl-v4 (port 0) and bl-v6 (port 1), one worker each for the rings.
    pub(crate) async fn start() -> Self {
        let mut lab = Self::behind(None).await;
        lab.until("both links", |routing| {
            routing.interfaces.len() == 2 && routing.interfaces.iter().all(|twin| twin.up)
        })
        .await;
        lab
    }

    /// The same with a kernel interface behind port 0.
    pub(crate) async fn behind(interface: Option<&str>) -> Self {
        // Until its link-local address has passed duplicate address detection the kernel solicits nobody.
        sh("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad");
        let (mut twins, mut wires) = (Vec::new(), Vec::new());
        let mut rings = Rings { punts: Vec::new(), injects: Vec::new(), bell: Bell::new() };
        for (port, name) in (0..).zip(["v4", "v6"]) {
            let mac = MacAddress([2, 0, 0, 0, 1, port]);
            let port = PortId(u16::from(port));
            let behind = interface.filter(|_| port == PortId(0)).map(str::to_owned);
            twins.push(Arc::new(Twin::create(name, port, mac, 1500).await.unwrap().before(behind)));
            let (punt_sender, punt_receiver) = punt_ring(1 << 20, rings.bell.doorbell());
            let (inject_sender, inject_receiver) = inject_ring(1 << 20);
            rings.punts.push(punt_receiver);
            rings.injects.push(inject_sender);
            wires.push(Wire::new(port, mac, punt_sender, inject_receiver));
        }
        let kernel = Rc::new(Kernel::new(twins.clone(), rings, tables()).unwrap());
        twins.iter().for_each(|twin| kernel.port_link(twin.port(), Some(true)));
        let (publish, mut published) = watch::channel(0);
        let (mirror, runner) = (Rc::<RefCell<Mirror>>::default(), Rc::clone(&kernel));
        let told = Rc::clone(&mirror);
        let running = tokio::task::spawn_local(async move {
            let (sender, mut updates) = mpsc::channel::<Update>(1);
            let take_in = async {
                while let Some(update) = updates.recv().await {
                    update.changes.into_iter().for_each(|change| told.borrow_mut().apply(change));
                    if update.publish {
                        publish.send_modify(|count| *count += 1);
                    }
                }
            };
            tokio::join!(runner.run(sender, std::future::pending()), take_in).0
        });
        timeout(PATIENCE, published.changed()).await.expect("the first routing").unwrap();
        Self { twins, kernel, wires, mirror, published, running }
    }

    /// The same with 192.0.2.1/24 on bl-v4 and 2001:db8::1/64 on bl-v6.
    pub(crate) async fn addressed() -> Self {
        let mut lab = Self::start().await;
        sh("ip addr add 192.0.2.1/24 dev bl-v4; ip addr add 2001:db8::1/64 dev bl-v6 nodad");
        lab.until("addresses", |routing| {
            routing.interfaces.iter().any(|interface| interface.ipv6_source.is_some())
        })
        .await;
        lab
    }

    pub(crate) fn routing(&self) -> Routing {
        self.mirror.borrow().routing()
    }

    /// The routes of a table other than the main one.
    pub(crate) fn routes_in(&self, table: TableId) -> Vec<Route> {
        self.mirror.borrow().routes_in(table)
    }

    /// Waits for a routing that `reached` likes.
    pub(crate) async fn until(&mut self, what: &str, reached: impl FnMut(&Routing) -> bool) -> Routing {
        self.until_within(PATIENCE, what, reached).await
    }

    pub(crate) async fn until_within(
        &mut self,
        limit: Duration,
        what: &str,
        mut reached: impl FnMut(&Routing) -> bool,
    ) -> Routing {
        let started = Instant::now();
        while started.elapsed() < limit {
            let routing = self.routing();
            if reached(&routing) {
                return routing;
            }
            let left = limit.saturating_sub(started.elapsed());
            if let Ok(changed) = timeout(left, self.published.changed()).await {
                changed.expect("the kernel side runs");
            }
            // A full table takes a while to be looked at: not after each of thousands of changes.
            sleep(Duration::from_millis(2)).await;
        }
        eprintln!("counters: {:?}", self.kernel.counters());
        let published = self.routing();
        let shown = &published.routes[..published.routes.len().min(40)];
        panic!(
            "{what}: not within {limit:?}; {:#?} {:#?} {shown:#?}",
            published.interfaces, published.neighbors
        );
    }

    /// Waits until the best route of a destination does what is expected.
    pub(crate) async fn until_route(
        &mut self,
        destination: &str,
        expected: impl Fn(&Routing) -> Option<RouteAction>,
    ) -> Routing {
        let prefix = destination.parse().unwrap();
        self.until(destination, |routing| {
            let found = routing.routes.iter().find(|route| route.destination == prefix);
            found.map(|route| ordered(route.action.clone())) == expected(routing).map(ordered)
        })
        .await
    }

    /// Lets the wires answer until `reached`.
    pub(crate) async fn play(&mut self, limit: Duration, mut reached: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !reached(self) {
            let counters = self.kernel.counters();
            assert!(started.elapsed() < limit, "not within {limit:?}: {counters:?} {:#?}", self.routing());
            self.wires.iter_mut().for_each(Wire::answer);
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Compares what notifications led to with what a follower started now reads.
    pub(crate) async fn assert_in_step(&mut self) {
        sleep(Duration::from_millis(300)).await;
        let followed = self.routing();
        let read = self.follow_anew(sleep(Duration::from_millis(100))).await;
        assert_eq!(followed.routes, read.routes);
        assert_eq!(followed.interfaces, read.interfaces);
    }

    /// What another follower, started now, has published last when `end` is ready, which begins with its first publication.
    pub(crate) async fn follow_anew(&self, end: impl Future<Output = ()>) -> Routing {
        let rings = Rings { punts: Vec::new(), injects: Vec::new(), bell: Bell::new() };
        let fresh = Kernel::new(self.twins.clone(), rings, tables()).unwrap();
        self.twins
            .iter()
            .for_each(|twin| fresh.port_link(twin.port(), Some(self.kernel.carrier(twin.port()))));
        let last = RefCell::<Option<Mirror>>::default();
        let (publish, mut published) = watch::channel(false);
        let (sender, mut updates) = mpsc::channel::<Update>(1);
        let take_in = async {
            while let Some(update) = updates.recv().await {
                publish.send_if_modified(|before| update.publish && !std::mem::replace(before, true));
                let mut last = last.borrow_mut();
                let mirror = last.get_or_insert_default();
                update.changes.into_iter().for_each(|change| mirror.apply(change));
            }
        };
        let end = async {
            timeout(PATIENCE, published.wait_for(|any| *any)).await.expect("the first routing").unwrap();
            end.await;
        };
        tokio::join!(fresh.run(sender, end), take_in).0.unwrap();
        last.into_inner().expect("a routing before the end").routing()
    }

    pub(crate) async fn ended(&mut self) -> Result<(), KernelError> {
        timeout(PATIENCE, &mut self.running).await.expect("the run ends").unwrap()
    }
}

/// Tables with mapped hosts 2001:db8::1:0 and the 599 behind it.
fn tables() -> SnapshotView {
    let mapping = |n: u32| (format!("198.51.{}.{}/32", n >> 8, n & 255), format!("2001:db8::1:{n:x}/128"));
    let mappings: Vec<_> = (0..600).map(mapping).collect();
    let mappings: Vec<_> = mappings.iter().map(|(ipv4, ipv6)| (ipv4.as_str(), ipv6.as_str())).collect();
    let translation = Arc::new(translation(&mappings));
    Publisher::new(Snapshot { generation: 1, translation, fib: Arc::default() }).view()
}

/// A dump lists the hops of a route in the kernel's own order, which changes with every one that is appended: the same hops
/// in another order are the same route.
fn ordered(action: RouteAction) -> RouteAction {
    let RouteAction::Via(mut hops) = action else {
        return action;
    };
    hops.sort_by_key(|hop| (hop.interface, hop.gateway, hop.weight));
    RouteAction::Via(hops)
}
