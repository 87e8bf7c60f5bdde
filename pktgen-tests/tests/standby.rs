//! A process that stands by: heard by the service manager, ready only while it could start, and with nothing of an older
//! configuration left once it has taken over.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;
use pktgen_tests::lab::{
    Lab, LabError, Need, PATIENCE, Relay, Shape, TestResult, relay_binary, skip_unless, wait_until,
};
use tempfile::TempDir;

/// What a relay of this test tells the service manager.
struct Manager {
    kept: TempDir,
    ear: UnixDatagram,
}

impl Manager {
    fn new() -> Result<Self, LabError> {
        let kept = tempfile::tempdir().expect("there is room for a directory");
        let ear = UnixDatagram::bind(kept.path().join("notify"))?;
        ear.set_nonblocking(true)?;
        Ok(Self { kept, ear })
    }

    /// A relay it has started to stand by.
    fn stand_by(&self, lab: &Lab, toml: &str) -> Result<Relay, LabError> {
        let binary = relay_binary().expect("it is built").display().to_string();
        let notify = self.kept.path().join("notify");
        let script = format!("#!/bin/sh\nNOTIFY_SOCKET={} exec {binary} \"$@\"\n", notify.display());
        let wrapper = self.kept.path().join("relay");
        std::fs::write(&wrapper, script)?;
        std::fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755))?;
        Relay::stand_by_as(&wrapper, &lab.relay_ns, toml)
    }

    /// What it was told since it was last asked.
    fn told(&self) -> String {
        let (mut all, mut buffer) = (String::new(), [0; 4096]);
        while let Ok(length) = self.ear.recv(&mut buffer) {
            all += &String::from_utf8_lossy(&buffer[..length]);
            all.push('\n');
        }
        all
    }

    fn hears(&self, word: &str) -> bool {
        self.told();
        wait_until(PATIENCE, || self.told().contains(word))
    }
}

fn announcing() -> Shape {
    let shape = Shape::default();
    Shape { translation: format!("{}\n[announce]\n", shape.translation), ..shape }
}

/// The metrics of the routes that are announced, each once.
fn metrics(lab: &Lab) -> Result<Vec<String>, LabError> {
    let routes = lab.relay_ns.ip("route show proto 212")? + &lab.relay_ns.ip("-6 route show proto 212")?;
    let metric = |line: &str| line.split_once("metric ")?.1.split(' ').next().map(ToOwned::to_owned);
    let mut metrics: Vec<String> = routes.lines().filter_map(metric).collect();
    metrics.sort();
    metrics.dedup();
    Ok(metrics)
}

fn says(relay: &Relay, words: &str, times: usize) -> bool {
    wait_until(PATIENCE, || relay.log().matches(words).count() >= times)
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn it_is_heard_is_ready_only_while_it_could_start_and_leaves_nothing_of_an_older_configuration() -> TestResult
{
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&announcing())?;
    let announced = |metric: &str| wait_until(PATIENCE, || metrics(&lab).is_ok_and(|all| all == [metric]));
    assert!(announced("4242"), "{:?}", metrics(&lab)?);
    let manager = Manager::new()?;
    let toml = lab.config.to_toml().replace("[announce]", "[announce]\nmetric = 4000");
    let mut next = manager.stand_by(&lab, &toml)?;
    assert!(manager.hears("WATCHDOG=1"), "it would be ended for hanging");

    // It could not start any more: nobody hands over to it.
    next.rewrite("nonsense")?;
    assert!(says(&next, "nothing is prepared", 1), "{}", next.log());
    lab.relay().signal(Signal::SIGUSR2);
    assert!(says(lab.relay(), "nobody stands by", 1), "{}", lab.relay().log());
    assert!(lab.relay().is_running() && lab.pings(&lab.client, "192.0.2.1"));

    // The same again, further down in the file.
    next.rewrite(&format!("# A new line.\n\n{toml}"))?;
    assert!(says(&next, "ready to take over", 2), "{}", next.log());
    let twins = lab.relay_ns.ip("-o link show")?;
    let index =
        |links: &str| links.lines().find(|line| line.contains("bl-v4")).map(|line| line[..4].to_owned());
    lab.relay().signal(Signal::SIGUSR2);
    next.has_taken_over()?;
    assert_eq!(index(&lab.relay_ns.ip("-o link show")?), index(&twins), "the twins have stayed");
    assert!(manager.hears("WATCHDOG=1"));
    lab.take_relay().kill();
    assert!(lab.pings(&lab.client, "192.0.2.1"), "{}", next.log());
    let routes = wait_until(PATIENCE, || metrics(&lab).is_ok_and(|all| all == ["4000"]));
    assert!(routes, "{:?}\n{}", metrics(&lab)?, next.log());
    let (status, _) = next.stop()?;
    assert!(status.success() && metrics(&lab)?.is_empty());
    Ok(())
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn one_that_has_to_start_anew_is_still_heard_in_its_log() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    let toml = lab.config.to_toml();
    let mut next = Relay::stand_by(&lab.relay_ns, &toml)?;
    let changed = toml.replace("memory_mb = 256", "memory_mb = 300");
    assert_ne!(changed, toml, "{toml}");
    next.rewrite(&changed)?;
    assert!(says(&next, "ready to take over", 2), "{}", next.log());
    lab.take_relay().kill();
    next.has_taken_over()?;
    assert!(next.log().contains("it starts anew"), "{}", next.log());
    let (status, counters) = next.stop()?;
    assert!(status.success() && counters.balance());
    Ok(())
}
