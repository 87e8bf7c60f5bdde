//! Routes that lead traffic to a relay: there while it is healthy, gone with it.

use std::time::Duration;

use pktgen_tests::lab::{Lab, LabError, Need, SERVICE, Shape, TestResult, skip_unless, wait_until};

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
    assert!(lab.pings(&lab.client, "192.0.2.1", 10), "translated as without");
    assert!(
        lab.pings(&lab.relay_ns, "192.0.2.1", 10),
        "the box's own packets go in, and the answers come out"
    );
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
