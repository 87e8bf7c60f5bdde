//! Start, stop, crash, and start again.

use std::time::{Duration, Instant};

use pktgen_tests::lab::{Lab, Need, Shape, TestResult, skip_unless, wait_until};

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn sigterm_ends_it_cleanly() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    assert!(lab.pings(&lab.client, "192.0.2.1", 5));
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
        assert!(lab.pings(&lab.client, "192.0.2.1", 5), "before crash {crash}");
        lab.take_relay().kill();
        let gone = || !lab.relay_ns.has_link("bl-v4") && !lab.relay_ns.has_link("bl-v6");
        assert!(wait_until(Duration::from_secs(1), gone), "twins outlive the process");
        let start = Instant::now();
        lab.start_relay()?;
        let ping = lab.client.cmd("ping").args("-n -c1 -W1 192.0.2.1");
        assert!(wait_until(Duration::from_secs(3), || ping.run().is_ok_and(|output| output.success())));
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
    assert!(!lab.pings(&lab.client, "192.0.2.1", 1), "nobody translates any more");
    lab.start_relay()?;
    assert!(lab.pings(&lab.client, "192.0.2.1", 3));
    lab.assert_healthy()
}
