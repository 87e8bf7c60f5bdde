//! The control socket of a running relay, and `borderctl`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use pktgen_tests::lab::{Cmd, Lab, LabError, Need, Output, Shape, TestResult, borderctl, skip_unless};
use serde_json::Value;
use tempfile::TempDir;

/// A group that the relay is not in.
const GROUP: &str = "daemon";

/// A laboratory whose relay has a control socket; socket and store outlive the relay.
struct Controlled {
    lab: Lab,
    kept: TempDir,
}

impl Controlled {
    fn up() -> Result<Self, LabError> {
        let kept = tempfile::tempdir().expect("there is room for a directory");
        let path = |name| kept.path().join(name).display().to_string();
        let (socket, store) = (path("control.sock"), path("mappings.db"));
        let control =
            format!("\n[control]\nsocket = \"{socket}\"\nstore = \"{store}\"\ngroup = \"{GROUP}\"\n");
        let shape =
            Shape { translation: format!("{}{control}", Shape::default().translation), ..Shape::default() };
        let lab = Lab::up(&shape)?;
        lab.server.ip("addr add 2001:db8:12:34::2/64 dev s6 nodad")?;
        Ok(Self { lab, kept })
    }

    fn socket(&self) -> PathBuf {
        self.kept.path().join("control.sock")
    }

    fn run(&self, line: &str) -> Result<Output, LabError> {
        ctl(&self.socket()).args(line).run()
    }

    fn good(&self, line: &str) -> Result<String, LabError> {
        let output = self.run(line)?;
        assert!(output.success(), "{line}: {}", output.text());
        Ok(output.stdout)
    }

    fn json(&self, line: &str) -> Result<Value, LabError> {
        let text = self.good(&format!("--json {line}"))?;
        let what = format!("the answer to {line}");
        serde_json::from_str(&text).map_err(|_| LabError::Unreadable { what, text })
    }

    fn refused(&self, line: &str) -> Result<String, LabError> {
        let output = self.run(line)?;
        assert_eq!(output.status.code(), Some(1), "{line}: {}", output.text());
        Ok(output.stderr)
    }

    fn ping(&self, to: &str) -> Result<Output, LabError> {
        self.lab.client.cmd("ping").args("-n -c1 -W2").arg(to).run()
    }
}

fn ctl(socket: &Path) -> Cmd {
    let program = borderctl().expect("it is built with the relay").display().to_string();
    Cmd::new(&program).arg("--socket").arg(socket.display().to_string())
}

const UNASSIGNED: &str = "Destination Host Unreachable";

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn mappings_change_under_traffic_and_survive_a_crash() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Controlled::up()?;
    assert!(lab.lab.pings(&lab.lab.client, "192.0.2.1"));
    let steady = lab.lab.client.cmd("ping").args("-n -i0.01 -W1 -c400 192.0.2.1").timeout(60);
    let steady = thread::spawn(move || steady.run());
    assert!(lab.ping("192.0.2.2")?.stdout.contains(UNASSIGNED));
    let added = lab.good("eam add 192.0.2.2 2001:db8:12:34::2 --comment second")?;
    assert!(added.contains("revision 2: 1 added"), "{added}");
    assert!(lab.ping("192.0.2.2")?.success(), "in force when the command has ended");
    lab.good("eam remove 192.0.2.2")?;
    assert!(lab.ping("192.0.2.2")?.stdout.contains(UNASSIGNED));
    lab.good("rollback 2")?;
    assert!(lab.ping("192.0.2.2")?.success());
    let owned = lab.refused("eam remove 192.0.2.1")?;
    assert!(owned.contains("borderline.toml, line"), "{owned}");
    let reloaded = lab.good("reload")?;
    assert!(reloaded.contains("2 mappings"), "those of the store stay: {reloaded}");
    assert!(lab.ping("192.0.2.2")?.success());
    let steady = steady.join().expect("the thread does not panic")?;
    assert!(steady.stdout.contains(" 0% packet loss"), "{}", steady.text());
    lab.lab.assert_healthy()?;

    lab.lab.take_relay().kill();
    assert!(lab.socket().exists(), "a crash leaves the socket");
    let gone = lab.refused("status")?;
    assert!(gone.contains("died"), "{gone}");
    lab.lab.start_relay()?;
    assert_eq!(lab.json("eam get 192.0.2.2")?["comment"], "second");
    assert!(lab.lab.pings(&lab.lab.client, "192.0.2.2"), "an acknowledged commit is never lost");
    lab.lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn what_nobody_confirms_is_undone_in_time_and_by_a_restart() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Controlled::up()?;
    lab.good("eam add 192.0.2.2 2001:db8:12:34::2 --confirm-within 1s")?;
    let started = Instant::now();
    while !lab.ping("192.0.2.2")?.stdout.contains(UNASSIGNED) {
        assert!(started.elapsed() < Duration::from_secs(30), "it still translates");
    }
    assert_eq!(lab.json("history")?[0]["kind"], "not_confirmed");
    lab.good("eam add 192.0.2.2 2001:db8:12:34::2 --confirm-within 1h")?;
    lab.lab.take_relay().kill();
    lab.lab.start_relay()?;
    assert!(lab.ping("192.0.2.2")?.stdout.contains(UNASSIGNED), "a restart goes back as well");
    let status = lab.json("status")?;
    assert!(status["revision"]["pending_until"].is_null());
    assert_eq!(status["health"], "degraded", "and says so: {status}");
    assert_eq!(lab.json("history")?[0]["kind"], "restarted");
    // Until somebody makes the next revision, and no longer.
    lab.good("eam add 192.0.2.3 2001:db8:12:34::3")?;
    let status = lab.json("status")?;
    assert_eq!((&status["health"], &status["reasons"]), (&"ok".into(), &serde_json::json!([])), "{status}");
    Ok(())
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_running_relay_keeps_nothing_it_does_not_need() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Controlled::up()?;
    let pid = lab.lab.relay().pid();
    let read = |path: &str| fs::read_to_string(format!("/proc/{pid}/{path}")).expect("the relay runs");
    let status = read("status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says so");
        line.trim_start_matches(':').trim().to_owned()
    };
    // CAP_NET_ADMIN alone.
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(field(set), format!("{:016x}", 1 << 12), "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(field(set), "0".repeat(16), "{set}");
    }
    assert_eq!((field("NoNewPrivs").as_str(), field("Umask").as_str()), ("1", "0077"));
    let limits = read("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("there is a limit");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let mode = |path: &Path| fs::symlink_metadata(path).map(|there| there.permissions().mode() & 0o777).ok();
    assert_eq!(mode(&lab.socket()), Some(0o660));
    let ask = |group: &str| {
        let program = borderctl().expect("it is built").display().to_string();
        let user = format!("--reuid=65534 --regid={group} --clear-groups");
        let asking = Cmd::new("setpriv").args(&user).arg(program).arg("--socket");
        asking.arg(lab.socket().display().to_string()).arg("version").run()
    };
    // The directory is the test's own.
    fs::set_permissions(lab.kept.path(), fs::Permissions::from_mode(0o755))?;
    assert!(ask(GROUP)?.success(), "whoever is in the group may: {}", ask(GROUP)?.text());
    assert!(!ask("nogroup")?.success(), "and nobody else");
    assert_eq!(mode(&lab.kept.path().join("mappings.db")), Some(0o600));
    let nobody = Cmd::new("setpriv").args("--reuid=65534 --regid=65534 --clear-groups");
    let program = borderctl().expect("it is built").display().to_string();
    let denied =
        nobody.arg(program).arg("--socket").arg(lab.socket().display().to_string()).arg("status").run()?;
    assert_eq!(denied.status.code(), Some(1), "{}", denied.text());
    // A second relay with the same socket does not start, and does not disturb the first.
    let config = lab.lab.config.to_toml();
    let file = lab.kept.path().join("second.toml");
    fs::write(&file, config).expect("there is room");
    let program = borderctl().expect("it is built").with_file_name("borderline").display().to_string();
    let second = lab.lab.relay_ns.cmd(&program).args("run --config").arg(file.display().to_string()).run()?;
    assert!(!second.success() && second.text().contains("another "), "{}", second.text());
    assert!(lab.lab.pings(&lab.lab.client, "192.0.2.1"));
    assert_eq!(lab.json("status")?["pid"].as_u64(), Some(u64::from(pid)));
    lab.lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn hostile_clients_do_not_slow_the_kernels_packets() -> TestResult {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Controlled::up()?;
    assert!(lab.lab.pings(&lab.lab.client, "192.0.2.1"));
    // ARP requests: the control thread carries them to the kernel and back.
    let arping = |lab: &Controlled| {
        let ping = lab.lab.client.cmd("ping").args("-n -i0.01 -W2 -c300 203.0.113.1").timeout(60);
        let output = ping.run()?;
        let times = output
            .stdout
            .lines()
            .filter_map(|line| line.split_once("time=")?.1.split(' ').next()?.parse().ok());
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        assert!(times.len() >= 290, "{}", output.text());
        Ok::<f64, LabError>(times[times.len() * 99 / 100])
    };
    let quiet = arping(&lab)?;
    let resident = |pid: u32| -> u64 {
        let pages = fs::read_to_string(format!("/proc/{pid}/statm")).expect("the relay runs");
        pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
    };
    let pid = lab.lab.relay().pid();
    let before = resident(pid);
    let socket = lab.socket();
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_over = std::sync::Arc::clone(&over);
    let hostile = thread::spawn(move || {
        let mut idle: Vec<UnixStream> = Vec::new();
        let mut sent = 0_u32;
        while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
            let Ok(mut stream) = UnixStream::connect(&socket) else { continue };
            let nonsense: &[u8] = match sent % 7 {
                0 => b"GET /v1/../../etc/passwd HTTP/1.1\r\n\r\n",
                1 => b"\0\x01\x02 nonsense\r\n\r\n",
                2 => b"POST /v1/changes HTTP/1.1\r\nif-match: *\r\ncontent-length: 1000000000\r\n\r\n{",
                3 => b"GET /v1/eams HTTP/1.1\r\nhost: x\r\n\r\n",
                // Without end, and not announced.
                4 => b"POST /v1/changes HTTP/1.1\r\nif-match: *\r\ntransfer-encoding: chunked\r\n\r\n",
                // Closed on one side, and a byte at a time.
                5 => b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n",
                _ => b"G",
            };
            let _ = stream.write_all(nonsense);
            match sent % 7 {
                4 => {
                    let _ = stream.set_write_timeout(Some(Duration::from_millis(10)));
                    let chunk = [&b"10000\r\n"[..], &[b' '; 0x1_0000], b"\r\n"].concat();
                    (0..16).take_while(|_| stream.write_all(&chunk).is_ok()).for_each(drop);
                }
                5 => drop(stream.shutdown(std::net::Shutdown::Write)),
                _ => {
                    if let Some(slow) = idle.last_mut() {
                        let _ = slow.write_all(b"E");
                    }
                }
            }
            idle.push(stream);
            if idle.len() > 1000 {
                idle.clear();
            }
            sent += 1;
        }
        sent
    });
    let busy = arping(&lab)?;
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    let sent = hostile.join().expect("the thread does not panic");
    let grown = resident(pid).saturating_sub(before);
    println!(
        "{sent} hostile connections: p99 of a ping to the box {quiet} ms before, {busy} ms meanwhile, {grown} bytes more"
    );
    assert!(sent > 1000);
    // Two CPUs, one of them the worker's, and a client that takes all it gets: what is asked is that nothing waits for the socket.
    assert!(busy < quiet.max(1.0) * 20.0, "{busy} ms, {quiet} ms before");
    assert!(grown < 64_000_000, "{grown} bytes");
    assert_eq!(lab.json("status")?["health"], "ok");
    lab.lab.assert_healthy()
}
