//! Routes that lead traffic to a relay: there while it is healthy, gone with it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use pktgen_tests::lab::{
    Cmd, Daemon, Lab, LabError, Need, Output, PATIENCE, SERVICE, Shape, TestResult, borderctl, relay_binary,
    skip_unless, wait_until,
};
use serde_json::Value;
use tempfile::TempDir;

const ROUTES: [&str; 2] = ["192.0.2.0/24 dev bl-up", "2001:db8:46::/96 dev bl-up"];

/// Both families' announced routes, one a line.
fn routes(lab: &Lab) -> Result<String, LabError> {
    let ipv4 = lab.relay_ns.ip("route show proto 212")?;
    let ipv6 = lab.relay_ns.ip("-6 route show proto 212")?;
    Ok(ipv4 + &ipv6)
}

/// Whether exactly the configured pool and prefix are announced, with this metric.
fn announced(lab: &Lab, metric: u32) -> bool {
    let Ok(routes) = routes(lab) else { return false };
    let has = |route: &str| {
        routes.lines().any(|line| line.starts_with(route) && line.contains(&format!("metric {metric}")))
    };
    routes.lines().count() == ROUTES.len() && ROUTES.iter().all(|route| has(route))
}

fn none_announced(lab: &Lab) -> bool {
    routes(lab).is_ok_and(|routes| routes.is_empty())
}

fn soon(seconds: u64, is_so: impl FnMut() -> bool) -> bool {
    wait_until(Duration::from_secs(seconds), is_so)
}

fn announcing(keys: &str) -> Shape {
    let shape = Shape::default();
    Shape { translation: format!("{}\n[announce]\n{keys}\n", shape.translation), ..shape }
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn routes_live_as_long_as_the_relay_and_lead_the_boxs_own_packets_through_it() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&announcing(""))?;
    assert!(soon(15, || announced(&lab, 4242)), "{}", routes(&lab)?);
    assert!(lab.pings(&lab.client, "192.0.2.1"), "translated as without");
    assert!(lab.pings(&lab.relay_ns, "192.0.2.1"), "the box's own packets go in, and the answers come out");
    let big = lab.relay_ns.cmd("ping").args("-n -c1 -W2 -M do -s 1400").arg(SERVICE.to_string()).run()?;
    assert!(big.success(), "{}", big.text());
    // What the kernel removes silently with a link that goes down is there again.
    lab.relay_ns.ip("link set bl-up down")?;
    assert!(soon(10, || none_announced(&lab)));
    lab.relay_ns.ip("link set bl-up up")?;
    assert!(soon(10, || announced(&lab, 4242)), "{}", routes(&lab)?);
    lab.relay_ns.ip("route del 192.0.2.0/24 proto 212 metric 4242")?;
    assert!(soon(10, || announced(&lab, 4242)), "{}", routes(&lab)?);
    // Another relay of the same namespace, or a leftover, would be in the way.
    assert!(!lab.relay_ns.ip("-d link show bl-up")?.contains("persist on"));
    lab.assert_healthy()?;

    lab.take_relay().kill();
    assert!(soon(2, || none_announced(&lab) && !lab.relay_ns.has_link("bl-up")), "{}", routes(&lab)?);
    lab.start_relay()?;
    assert!(soon(15, || announced(&lab, 4242)));
    let (status, _) = lab.take_relay().stop()?;
    assert!(status.success() && none_announced(&lab));
    Ok(())
}

/// A laboratory whose relay announces and has a control socket.
struct Announcing {
    lab: Lab,
    kept: TempDir,
}

impl Announcing {
    fn shape(kept: &TempDir, keys: &str) -> Shape {
        let path = |name| kept.path().join(name).display().to_string();
        let (socket, store) = (path("control.sock"), path("mappings.db"));
        announcing(&format!("{keys}\n[control]\nsocket = \"{socket}\"\nstore = \"{store}\""))
    }

    fn up(keys: &str) -> Result<Self, LabError> {
        let kept = tempfile::tempdir().expect("there is room for a directory");
        let lab = Lab::up(&Self::shape(&kept, keys))?;
        let lab = Self { lab, kept };
        assert!(soon(20, || announced(&lab.lab, 4242)), "{}\n{}", routes(&lab.lab)?, lab.good("health")?);
        Ok(lab)
    }

    fn run(&self, line: &str) -> Result<Output, LabError> {
        ctl(self.kept.path()).args(line).timeout(60).run()
    }

    fn good(&self, line: &str) -> Result<String, LabError> {
        let output = self.run(line)?;
        assert!(output.success(), "{line}: {}", output.text());
        Ok(output.stdout)
    }

    fn announcement(&self) -> Result<Value, LabError> {
        let text = self.good("--json health")?;
        serde_json::from_str(&text).map_err(|_| LabError::Unreadable { what: "health".into(), text })
    }

    /// The subjects of a test that do not pass.
    fn failing(&self, name: &str) -> Result<Vec<String>, LabError> {
        let announcement = self.announcement()?;
        let tests = announcement["tests"].as_array().cloned().unwrap_or_default();
        let failing = tests.iter().filter(|test| test["name"] == name && test["state"] == "failing");
        Ok(failing.map(|test| test["subject"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Pings for about so many seconds, from another thread; what ping says at the end.
    fn steady(&self, seconds: u32) -> thread::JoinHandle<Result<Output, LabError>> {
        let count = seconds * 50;
        let ping =
            self.lab.client.cmd("ping").args(&format!("-n -i0.02 -W1 -c{count} {SERVICE}")).timeout(120);
        thread::spawn(move || ping.run())
    }
}

fn ctl(directory: &Path) -> Cmd {
    let program = borderctl().expect("it is built with the relay").display().to_string();
    Cmd::new(&program).arg("--socket").arg(directory.join("control.sock").display().to_string())
}

fn without_loss(ping: thread::JoinHandle<Result<Output, LabError>>) -> TestResult {
    let output = ping.join().expect("the thread does not panic")?;
    assert!(output.stdout.contains(" 0% packet loss"), "{}", output.text());
    Ok(())
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_drain_makes_routes_worse_then_takes_them_and_loses_nothing() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Announcing::up("drain_quiet_seconds = 2")?;
    assert!(lab.lab.pings(&lab.lab.client, "192.0.2.1"));
    let steady = lab.steady(8);
    let begun = lab.good("--json drain --lead 2s --no-wait")?;
    assert!(begun.contains("\"leading\""), "{begun}");
    assert!(soon(5, || announced(&lab.lab, 14242)), "worse first: {}", routes(&lab.lab)?);
    assert!(soon(10, || none_announced(&lab.lab)), "then none: {}", routes(&lab.lab)?);
    let still = soon(5, || {
        lab.announcement().is_ok_and(|now| {
            now["drain"]["phase"] == "withdrawn" && now["senders"].to_string().contains("203.0.113.50")
        })
    });
    assert!(still, "it says who still sends: {}", lab.announcement()?);
    without_loss(steady)?;
    let done = lab.good("drain --timeout 30s")?;
    assert!(done.contains("out of service"), "{done}");
    assert!(none_announced(&lab.lab), "and stays so");
    assert!(lab.lab.pings(&lab.lab.client, "192.0.2.1"), "it translates what comes all the same");
    lab.good("undrain")?;
    assert!(soon(5, || announced(&lab.lab, 4242)), "{}", routes(&lab.lab)?);
    lab.lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_stop_takes_the_routes_first_and_translates_what_still_comes() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Announcing::up("stop_seconds = 6\ndrain_quiet_seconds = 1")?;
    assert!(lab.lab.pings(&lab.lab.client, "192.0.2.1"));
    let steady = lab.steady(3);
    let relay = lab.lab.take_relay();
    let started = Instant::now();
    let stopping = thread::spawn(move || relay.stop());
    let seen = soon(5, || none_announced(&lab.lab) && lab.lab.relay_ns.has_link("bl-v4"));
    assert!(seen, "the routes go before the twins: {}", routes(&lab.lab)?);
    without_loss(steady)?;
    let (status, counters) = stopping.join().expect("the thread does not panic")?;
    assert!(status.success() && counters.balance(), "{status:?}");
    assert!(started.elapsed() < PATIENCE, "it does not wait for what does not come");
    Ok(())
}

/// Holds one thread of a process, as a bug or a hypervisor may: the others go on.
const HOLD: &str = "import ctypes,os,sys,time
libc=ctypes.CDLL(None,use_errno=True)
libc.ptrace.argtypes=[ctypes.c_long]*2+[ctypes.c_void_p]*2
tid=int(sys.argv[1])
if libc.ptrace(0x4206,tid,None,None)!=0: sys.exit(os.strerror(ctypes.get_errno()))
libc.ptrace(0x4207,tid,None,None)
os.waitpid(tid,0x40000000)
print('held',flush=True)
sys.stdin.read()";

/// The kernel's number of a worker's thread.
fn worker_thread(pid: u32) -> Option<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let is_worker = |path: &Path| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("worker-"))
    };
    tasks.map(|task| task.path()).find(|path| is_worker(path))?.file_name()?.to_str().map(str::to_owned)
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_worker_that_hangs_and_a_cable_that_is_out_take_the_routes_away() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let kept = tempfile::tempdir().expect("there is room for a directory");
    let notify = kept.path().join("notify");
    let ear = UnixDatagram::bind(&notify)?;
    ear.set_nonblocking(true)?;
    let told = || {
        let (mut all, mut buffer) = (String::new(), [0; 4096]);
        while let Ok(length) = ear.recv(&mut buffer) {
            all += &String::from_utf8_lossy(&buffer[..length]);
            all.push('\n');
        }
        all
    };
    let mut lab = Lab::wire(&Announcing::shape(&kept, ""))?;
    let binary = relay_binary().expect("it is built").display().to_string();
    let wrapper = kept.path().join("relay");
    let script = format!("#!/bin/sh\nNOTIFY_SOCKET={} exec {binary} \"$@\"\n", notify.display());
    std::fs::write(&wrapper, script)?;
    std::fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755))?;
    lab.program = Some(wrapper);
    lab.start_relay()?;
    let mut lab = Announcing { lab, kept };
    assert!(soon(20, || announced(&lab.lab, 4242)), "{}", lab.good("health")?);
    let mut words = String::new();
    let all = ["READY=1", "WATCHDOG=1", "STATUS=announcement announcing, 2 routes"];
    let heard = soon(10, || {
        words += &told();
        all.iter().all(|word| words.contains(word))
    });
    assert!(heard, "{words}");

    let holder = hold_worker(&mut lab)?;
    assert!(soon(10, || none_announced(&lab.lab)), "{}", routes(&lab.lab)?);
    assert_eq!(lab.failing("heartbeat")?, ["worker 0 (CPU 1)"]);
    assert!(lab.good("status")?.contains("test heartbeat of worker 0"), "{}", lab.good("status")?);
    told();
    thread::sleep(Duration::from_secs(1));
    assert!(!told().contains("WATCHDOG"), "the service manager hears nothing, and ends it");
    drop(holder);
    assert!(soon(20, || announced(&lab.lab, 4242)), "{}", lab.good("health")?);

    lab.lab.client.ip("link set c4 down")?;
    assert!(soon(10, || none_announced(&lab.lab)), "{}", routes(&lab.lab)?);
    assert_eq!(lab.failing("link")?, ["v4"]);
    lab.lab.client.ip("link set c4 up")?;
    assert!(soon(30, || announced(&lab.lab, 4242)), "damped, not for ever: {}", lab.good("health")?);

    lab.lab.relay_ns.ip("link set bl-v4 down")?;
    assert!(soon(10, || none_announced(&lab.lab)), "{}", routes(&lab.lab)?);
    assert_eq!(lab.failing("link")?, ["v4"]);
    assert!(lab.good("status")?.contains("`ip link set bl-v4 up`"), "{}", lab.good("status")?);
    lab.lab.relay_ns.ip("link set bl-v4 up")?;
    assert!(soon(60, || announced(&lab.lab, 4242)), "damped, not for ever: {}", lab.good("health")?);
    lab.lab.assert_healthy()?;

    // Whoever deletes the interface takes the routes: nobody says that they are there.
    lab.lab.relay_ns.ip("link del bl-up")?;
    let told = soon(10, || {
        let Ok(announcement) = lab.announcement() else { return false };
        let destinations = announcement["destinations"].as_array().cloned().unwrap_or_default();
        let is_refused = |to: &Value| {
            to["metric"].is_null() && to["why"].as_str().is_some_and(|why| why.contains("restart borderline"))
        };
        announcement["standing"] == "withdrawn"
            && destinations.len() == 2
            && destinations.iter().all(is_refused)
    });
    assert!(told, "{}", lab.good("health")?);
    Ok(())
}

/// How long a relay's worker was without its CPU at a stretch.
struct Turns {
    statistics: String,
    ran: String,
    since: Instant,
    longest: Duration,
}

impl Turns {
    fn of(pid: u32) -> Self {
        let thread = worker_thread(pid).expect("it has a worker");
        let statistics = format!("/proc/{pid}/task/{thread}/schedstat");
        Self { statistics, ran: String::new(), since: Instant::now(), longest: Duration::ZERO }
    }

    fn look(&mut self) {
        let text = std::fs::read_to_string(&self.statistics).unwrap_or_default();
        // Nanoseconds on a CPU.
        let ran = text.split(' ').next().unwrap_or_default();
        self.longest = self.longest.max(self.since.elapsed());
        if ran != self.ran {
            (self.ran, self.since) = (ran.to_owned(), Instant::now());
        }
    }
}

/// The worker hangs until what is returned is dropped.
fn hold_worker(lab: &mut Announcing) -> Result<Daemon, LabError> {
    let thread = worker_thread(lab.lab.relay().pid()).expect("it has a worker");
    let python = Cmd::new("python3").arg("-c").arg(HOLD).arg(thread);
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let holder = Daemon::start_interactive("holder", &python, directory)?;
    assert!(soon(30, || holder.log().contains("held")), "{}", holder.log());
    Ok(holder)
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_machine_that_is_slow_stays_announced_and_a_worker_that_hangs_on_it_does_not() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Announcing::up("")?;
    let burner = Cmd::new("timeout").args("120 sh -c").arg("while :; do :; done");
    let burners: Result<Vec<Daemon>, LabError> = (0..16)
        .map(|_| {
            let directory = tempfile::tempdir().expect("there is room for a directory");
            Daemon::start("burner", &burner, directory)
        })
        .collect();
    let burners = burners?;
    let mut turns = Turns::of(lab.lab.relay().pid());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        turns.look();
        if !announced(&lab.lab, 4242) {
            // Something else than these has the processor: then it is right that nothing is announced.
            let starved = turns.longest >= Duration::from_millis(1500);
            assert!(starved, "{:?}\n{}\n{}", turns.longest, routes(&lab.lab)?, lab.good("health")?);
            println!("the worker did not run for {:?}: not merely slow", turns.longest);
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert!(soon(60, || announced(&lab.lab, 4242)), "{}", lab.good("health")?);
    let holder = hold_worker(&mut lab)?;
    assert!(soon(20, || none_announced(&lab.lab)), "{}", routes(&lab.lab)?);
    assert!(soon(10, || lab.failing("heartbeat").is_ok_and(|failing| failing == ["worker 0 (CPU 1)"])));
    drop(holder);
    assert!(soon(40, || announced(&lab.lab, 4242)), "{}", lab.good("health")?);
    drop(burners);
    lab.lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_pool_whose_mappings_are_gone_is_not_announced_and_the_digest_tells_them_apart() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let kept = tempfile::tempdir().expect("there is room for a directory");
    let keys = "\n[[eam]]\nipv4 = \"198.51.100.77\"\nipv6 = \"2001:db8:12:34::77\"\n";
    let mut shape = Announcing::shape(&kept, "");
    shape.translation += keys;
    let mut lab = Lab::wire(&shape)?;
    lab.config.eams.clear();
    lab.start_relay()?;
    let mut lab = Announcing { lab, kept };
    let prefix_alone = |lab: &Announcing| {
        routes(&lab.lab).is_ok_and(|routes| routes.lines().count() == 1 && routes.starts_with(ROUTES[1]))
    };
    assert!(soon(20, || prefix_alone(&lab)), "{}\n{}", routes(&lab.lab)?, lab.good("health")?);
    let before = lab.good("--json digest")?;
    lab.good("eam add 192.0.2.1 2001:db8:12:34::1")?;
    assert!(soon(20, || announced(&lab.lab, 4242)), "{}", lab.good("health")?);
    assert_ne!(lab.good("--json digest")?, before);
    lab.good("eam remove 192.0.2.1")?;
    assert!(soon(20, || prefix_alone(&lab)), "{}", lab.good("health")?);
    assert!(soon(5, || lab.good("--json digest").is_ok_and(|digest| digest == before)));
    lab.lab.assert_healthy()
}
