//! The configuration changes while the relay runs.

use std::fmt::Write;
use std::thread;
use std::time::Duration;

use pktgen_tests::lab::{Cmd, Lab, LabError, Need, Output, Shape, TestResult, skip_unless};

/// Mappings in the large file, so many that reading them takes longer than anything else here.
const MANY: u32 = 1_000_000;

/// Starts a ping every 10 milliseconds, so many times; what it printed is there when the thread has ended.
fn ping_on(ping: Cmd, to: &str, times: u32) -> thread::JoinHandle<Result<Output, LabError>> {
    let ping = ping.args("-n -i0.01 -W1").arg("-c").arg(times.to_string()).arg(to).timeout(60);
    let running = thread::spawn(move || ping.run());
    // Until neighbours are resolved.
    thread::sleep(Duration::from_millis(200));
    running
}

#[track_caller]
fn lost_nothing(ping: thread::JoinHandle<Result<Output, LabError>>) -> Result<String, LabError> {
    let output = ping.join().expect("the thread does not panic")?;
    assert!(output.stdout.contains(" 0% packet loss"), "{}", output.text());
    Ok(output.stdout)
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn mappings_come_and_go_and_nothing_is_lost() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    lab.server.ip("addr add 2001:db8:12:34::2/64 dev s6 nodad")?;
    let ping = |to| lab.client.cmd("ping").args("-n -c1 -W2").arg(to).run();
    let unassigned = "From 203.0.113.1 icmp_seq=1 Destination Host Unreachable";
    assert!(ping("192.0.2.2")?.stdout.contains(unassigned));
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    let steady = ping_on(lab.client.cmd("ping"), "192.0.2.1", 300);

    let mut config = lab.config.clone();
    config.eams.push(("192.0.2.2/32".into(), "2001:db8:12:34::2/128".into()));
    lab.relay().rewrite(&config.to_toml())?;
    let log = lab.relay().reload()?;
    for word in ["eams=2", "added=1", "removed=0", "changed=0", "tables=built", "read_ms=", "build_ms="] {
        assert!(log.contains(word), "{word} is missing in {log}");
    }
    assert!(lab.pings(&lab.client, "192.0.2.2"), "a mapping that was added works");

    config.eams.truncate(1);
    lab.relay().rewrite(&config.to_toml())?;
    assert!(lab.relay().reload()?.contains("removed=1"));
    let ping = lab.client.cmd("ping").args("-n -c1 -W2 192.0.2.2").run()?;
    assert!(ping.stdout.contains(unassigned), "a removed mapping is unreachable: {}", ping.text());

    lost_nothing(steady)?;
    assert_eq!(lab.relay().counters()?.reloads.applied, 2);
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn what_is_wrong_or_needs_a_restart_changes_nothing() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    let steady = ping_on(lab.client.cmd("ping"), "192.0.2.1", 150);
    let good = lab.config.to_toml();
    let other_port = good.replace("mtu = 1520", "mtu = 1500");
    assert_ne!(good, other_port);
    for (toml, words) in [
        (
            format!("{good}[[eam]]\nipv4 = \"192.0.2.300\"\nipv6 = \"2001:db8::g\"\n"),
            ["192.0.2.300", "2001:db8::g"],
        ),
        (good.replace("[translation]", "[translation"), ["not TOML", "goes on as before"]),
        (other_port, ["port.mtu of port v6", "restart"]),
    ] {
        lab.relay().rewrite(&toml)?;
        let log = lab.relay().reload()?;
        for word in words.into_iter().chain(["not reloaded", "ERROR"]) {
            assert!(log.contains(word), "{word:?} is missing in {log}");
        }
    }
    lost_nothing(steady)?;
    let reloads = lab.relay().counters()?.reloads;
    assert_eq!((reloads.applied, reloads.refused), (0, 3));
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_million_mappings_come_without_a_pause() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    let mut csv = String::new();
    for number in 0..MANY {
        // An odd factor: every address of 10.0.0.0/8 at most once, in no order.
        let [_, a, b, c] = number.wrapping_mul(0x009e_3779).to_be_bytes();
        writeln!(csv, "10.{a}.{b}.{c},2001:db8:1::{a:x}:{b:02x}{c:02x}").ok();
    }
    let pools = "service_pools = [\"192.0.2.0/24\"]";
    let toml = lab.config.to_toml().replace(pools, "service_pools = [\"192.0.2.0/24\", \"10.0.0.0/8\"]");
    lab.relay().write("many.csv", &csv)?;
    lab.relay().rewrite(&format!("eam_files = [\"many.csv\"]\n{toml}"))?;
    let through = ping_on(lab.client.cmd("ping"), "192.0.2.1", 400);
    let to_the_box = ping_on(lab.client.cmd("ping"), "203.0.113.1", 400);
    let log = lab.relay().reload()?;
    assert!(log.contains(&format!("added={MANY}")), "{log}");
    lost_nothing(through)?;
    // The box's own packets pass through the control thread: had it prepared the reload itself, a ping would have
    // waited as long as that took.
    let printed = lost_nothing(to_the_box)?;
    let prepared: f64 = ["read_ms=", "check_ms=", "compare_ms=", "build_ms="]
        .iter()
        .filter_map(|name| number(&log, name))
        .sum();
    let longest =
        printed.rsplit_once("= ").and_then(|(_, times)| times.split('/').nth(2)?.parse::<f64>().ok());
    println!("a reload of {prepared} ms, the longest ping {longest:?} ms");
    assert!(longest.is_some_and(|longest| longest < prepared / 2.0), "{longest:?} of {prepared}: {printed}");
    lab.assert_healthy()
}

/// The number behind a name in the log.
fn number(log: &str, name: &str) -> Option<f64> {
    log.split_once(name)?.1.split_whitespace().next()?.parse().ok()
}
