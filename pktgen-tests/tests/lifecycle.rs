//! Start, stop, crash, and start again.

use std::time::{Duration, Instant};

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use pktgen_tests::lab::{
    Lab, Need, PATIENCE, Relay, Shape, TestResult, relay_binary, skip_unless, wait_until,
};

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn sigterm_ends_it_cleanly() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    let (status, counters) = lab.take_relay().stop()?;
    assert!(status.success(), "{status}");
    assert!(counters.balance() && counters.sent >= 2, "{counters:#?}");
    assert!(!lab.relay_ns.has_link("bl-v4") && !lab.relay_ns.has_link("bl-v6"), "twins are left");
    Ok(())
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn it_translates_again_within_3_seconds_of_a_crash() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    for crash in 1..=3 {
        assert!(lab.pings(&lab.client, "192.0.2.1"), "before crash {crash}");
        lab.take_relay().kill();
        let gone = || !lab.relay_ns.has_link("bl-v4") && !lab.relay_ns.has_link("bl-v6");
        assert!(wait_until(PATIENCE, gone), "twins outlive the process");
        let start = Instant::now();
        lab.start_relay()?;
        let ping = lab.client.cmd("ping").args("-n -c1 -W1 192.0.2.1");
        assert!(wait_until(PATIENCE, || ping.run().is_ok_and(|output| output.success())));
        let took = start.elapsed();
        println!("translating {took:?} after crash {crash}");
        assert!(took < Duration::from_secs(3), "{took:?} after crash {crash}");
    }
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn it_can_be_stopped_and_started_in_the_same_place() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let (status, _) = lab.take_relay().stop()?;
    assert!(status.success(), "{status}");
    let ping = lab.client.cmd("ping").args("-n -c1 -W1 192.0.2.1").run()?;
    assert!(!ping.success(), "nobody translates any more: {}", ping.text());
    lab.start_relay()?;
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn it_goes_on_translating_for_a_moment_after_its_twins_are_gone() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    let ping = lab.client.cmd("ping").args("-n -D -i0.02 -W1 -c150 192.0.2.1");
    let pinging = std::thread::spawn(move || ping.run());
    std::thread::sleep(Duration::from_millis(500));
    let relay = lab.take_relay();
    let stopping = std::thread::spawn(move || relay.stop());
    let gone = || !lab.relay_ns.has_link("bl-v4") && !lab.relay_ns.has_link("bl-v6");
    assert!(wait_until(PATIENCE, gone), "the twins vanish");
    let without_twins =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let (status, counters) = stopping.join().expect("the thread does not panic")?;
    assert!(status.success(), "{status}");
    assert!(counters.balance(), "{counters:#?}");
    let printed = pinging.join().expect("the thread does not panic")?.stdout;
    let times = printed.lines().filter(|line| line.contains("bytes from"));
    let times = times.filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.parse::<f64>().ok());
    let after = times.filter(|time| *time > without_twins.as_secs_f64()).count();
    println!("{after} pings after the twins were gone");
    assert!(after >= 5, "{after} pings after the twins were gone:\n{printed}");
    Ok(())
}

/// A relay whose log is read until it translates, and not any more then, although the pipe is still held.
const STOPPED_READER: &str = "#!/bin/bash\nexec \"$RELAY\" \"$@\" 2> >(while read -r line; do echo \"$line\"; \
    case $line in *translating*) exec sleep 600;; esac; done)\n";

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_log_that_nobody_reads_stops_neither_traffic_nor_the_end() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let (status, _) = lab.take_relay().stop()?;
    assert!(status.success(), "{status}");
    let directory = tempfile::tempdir()?;
    let script = directory.path().join("relay");
    let program = relay_binary().expect("it was just run");
    fs::write(&script, STOPPED_READER.replace("$RELAY", &program.display().to_string()))?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    let mut relay = Relay::run(&script, &lab.relay_ns, &lab.config.to_toml(), &["v4", "v6"])?;
    lab.twins.iter().try_for_each(|line| lab.relay_ns.ip(line).map(drop))?;
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    // More than the pipe holds.
    let many = format!("for i in $(seq 500); do kill -USR1 {}; sleep 0.002; done", relay.pid());
    lab.relay_ns.sh(&many).ok()?;
    assert!(lab.pings(&lab.client, "192.0.2.1"), "translation goes on");
    assert!(lab.pings(&lab.client, "203.0.113.1"), "the box answers");
    lab.relay_ns.sh(&format!("kill -TERM {}", relay.pid())).ok()?;
    assert!(wait_until(PATIENCE, || !relay.is_running()), "it ends");
    assert!(!lab.relay_ns.has_link("bl-v4"), "a twin is left");
    Ok(())
}
