//! Metrics and counters of mappings of a running relay: scraped, compared with everything else that shows numbers, read by
//! Prometheus with the board and the rules that are shipped, and drawn.
#![allow(clippy::panic, reason = "what fails here fails the test")]

mod board;
mod prometheus;

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use pktgen_tests::lab::probe::udp_socket;
use pktgen_tests::lab::{
    Cmd, Lab, LabError, Need, PATIENCE, Shape, TestResult, borderctl, skip_unless, wait_until,
};
use serde_json::Value;
use tempfile::TempDir;

const LISTEN: &str = "127.0.0.1:9466";
/// Debian's, which has python3-prometheus-client.
const PYTHON: &str = "/usr/bin/python3";

/// A laboratory whose relay counts everything.
struct Metered {
    lab: Lab,
    kept: TempDir,
}

impl Metered {
    fn up(shape: Shape) -> Result<Self, LabError> {
        let kept = tempfile::tempdir().expect("there is room for a directory");
        let path = |name| kept.path().join(name).display().to_string();
        let (socket, store) = (path("control.sock"), path("mappings.db"));
        let tables = format!(
            "\n[control]\nsocket = \"{socket}\"\nstore = \"{store}\"\n\
             [metrics]\nlisten = \"{LISTEN}\"\nmappings = \"exact\"\n"
        );
        let lab = Lab::up(&Shape { translation: format!("{}{tables}", shape.translation), ..shape })?;
        lab.relay_ns.ip("link set lo up")?;
        lab.server.ip("addr add 2001:db8:12:34::2/64 dev s6 nodad")?;
        assert!(lab.pings(&lab.client, "192.0.2.1"));
        Ok(Self { lab, kept })
    }

    fn ctl(&self, line: &str) -> Result<String, LabError> {
        let program = borderctl().expect("it is built with the relay").display().to_string();
        let socket = self.kept.path().join("control.sock").display().to_string();
        Ok(Cmd::new(&program).arg("--socket").arg(socket).args(line).ok()?.stdout)
    }

    fn scrape(&self, accept: &str) -> Result<String, LabError> {
        let curl = self.lab.relay_ns.cmd("curl").args("-sS --fail -m 10 -H").arg(format!("Accept: {accept}"));
        Ok(curl.arg(format!("http://{LISTEN}/metrics")).ok()?.stdout)
    }

    fn samples(&self) -> Result<BTreeMap<String, f64>, LabError> {
        Ok(samples(&self.scrape("text/plain")?))
    }

    /// So many echo requests that are answered.
    fn ping(&self, to: &str, count: u32) -> TestResult {
        let ping =
            self.lab.client.cmd("ping").args(&format!("-n -i0.02 -W5 -c{count} {to}")).timeout(60).run()?;
        assert!(ping.stdout.contains(" 0% packet loss"), "{}", ping.text());
        Ok(())
    }
}

fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), number(value)))
        .collect()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

/// The sum of a family's series that have this label.
fn sum(samples: &BTreeMap<String, f64>, family: &str, label: &str) -> f64 {
    let of_family = |name: &&String| name.split('{').next() == Some(family) && name.contains(label);
    samples.keys().filter(of_family).map(|name| samples[name]).sum()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("{text} is no JSON"))
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn every_number_is_in_both_formats_in_json_and_in_the_sum_of_the_workers() -> TestResult {
    let needs = [Need::Root, Need::Relay, Need::Program("curl"), Need::Program("promtool")];
    if skip_unless(&needs) {
        return Ok(());
    }
    let mut lab = Metered::up(Shape::two_workers())?;
    lab.ping("192.0.2.1", 100)?;
    lab.lab.client.cmd("ping").args("-n -c20 -i0.01 -W1 192.0.2.99").run()?;
    let text = lab.scrape("text/plain")?;
    let checked = Cmd::new("promtool").args("check metrics").input(text.clone()).run()?;
    assert!(checked.success() && checked.text().trim().is_empty(), "{}", checked.text());
    let open = lab.scrape("application/openmetrics-text; version=1.0.0")?;
    let parse = "import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as p; \
                 print(sum(len(f.samples) for f in p(sys.stdin.read())))";
    let parsed = Cmd::new(PYTHON).arg("-c").arg(parse).input(open).ok()?;
    assert!(number(parsed.stdout.trim()) > 200.0, "{}", parsed.text());

    // Neighbours and routers may say something between two looks: two that agree before and after are of one moment.
    let mut compared = None;
    assert!(
        wait_until(PATIENCE, || {
            compared = compare(&lab).expect("the relay answers");
            compared.is_none()
        }),
        "{compared:?}"
    );
    a_changed_mapping_is_another_digest(&lab)?;
    scrape_cost(&mut lab)?;
    lab.lab.assert_healthy()
}

/// One mapping more: the digest is another one, that of `borderctl digest`, and so is that of its part of the tables.
fn a_changed_mapping_is_another_digest(lab: &Metered) -> TestResult {
    let series = |lab: &Metered, name: &str| -> String {
        let page = lab.scrape("text/plain").unwrap_or_default();
        let line = page.lines().find(|line| line.starts_with(name));
        line.map(ToOwned::to_owned).unwrap_or_default()
    };
    let (whole, part) =
        ("borderline_tables_digest_info{", "borderline_tables_digest_part_info{within=\"192.0.0.0/16\"");
    let before = [whole, part].map(|name| series(lab, name));
    assert!(before.iter().all(|line| line.contains("digest=\"")), "{before:?}");
    lab.ctl("eam add 192.0.2.11 2001:db8:12:34::11")?;
    let started = std::time::Instant::now();
    let is_told = || series(lab, whole) != before[0] && series(lab, part) != before[1];
    assert!(wait_until(PATIENCE, is_told), "{before:?}");
    println!("the digest of a changed table is scraped after {:.1} s", started.elapsed().as_secs_f64());
    let digest = json(&lab.ctl("--json digest")?)["digest"].as_str().unwrap_or_default().to_owned();
    assert!(!digest.is_empty() && series(lab, whole).contains(&digest), "{digest}");
    lab.ctl("eam remove 192.0.2.11")?;
    // The same mappings again: the same digest, at another revision.
    let without_revision = |line: &str| line.split(",revision=").next().unwrap_or_default().to_owned();
    let is_back = || without_revision(&series(lab, whole)) == without_revision(&before[0]);
    assert!(wait_until(PATIENCE, is_back), "{before:?}");
    Ok(())
}

/// Prints what a scrape costs the relay: time on a processor of all threads but the workers', less what they take anyway.
fn scrape_cost(lab: &mut Metered) -> TestResult {
    const SCRAPES: u32 = 30;
    let pid = lab.lab.relay().pid();
    let mut shares = Vec::new();
    for _ in 0..3 {
        let mut spent = [0.0; 2];
        for (with, spent) in spent.iter_mut().enumerate() {
            let before = busy(pid);
            for _ in 0..SCRAPES {
                std::thread::sleep(Duration::from_millis(60));
                if with == 1 {
                    lab.scrape("application/openmetrics-text")?;
                }
            }
            *spent = busy(pid) - before;
        }
        let each = (spent[1] - spent[0]) / f64::from(SCRAPES);
        shares.push(format!("{:.2} ms", each * 1e3));
        assert!(each < 0.1, "a scrape takes {each} s of a processor");
    }
    println!("a scrape costs the relay {} of a processor", shares.join(", "));
    Ok(())
}

/// Seconds on a processor of all threads of a relay but the workers.
fn busy(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the relay runs");
    let of_task = |task: fs::DirEntry| {
        let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let is_worker = read("comm").starts_with("worker-");
        let spent = read("schedstat").split(' ').next().map_or(0.0, |spent| spent.parse().unwrap_or(0.0));
        if is_worker { 0.0 } else { spent }
    };
    tasks.flatten().map(of_task).sum::<f64>() / 1e9
}

/// What is different in metrics from what the control socket shows, if anything is.
fn compare(lab: &Metered) -> Result<Option<String>, LabError> {
    let counters = json(&lab.ctl("--json counters")?);
    let status = json(&lab.ctl("--json status")?);
    let socket = lab.kept.path().join("control.sock").display().to_string();
    let load =
        Cmd::new("curl").args("-sS --fail --unix-socket").arg(socket).arg("http://relay/v1/load").ok()?;
    let load = json(&load.stdout);
    // A page is good for all who ask within 50 ms.
    std::thread::sleep(Duration::from_millis(60));
    let samples = lab.samples()?;
    if json(&lab.ctl("--json counters")?)["received"] != counters["received"] {
        return Ok(Some("something was received meanwhile".to_owned()));
    }
    let mut different = Vec::new();
    let mut equal = |what: String, shown: &Value, found: f64| {
        let shown = shown.as_f64().unwrap_or_else(|| panic!("{what} is {shown}"));
        if (shown - found).abs() > 1e-9 * shown.abs() {
            different.push(format!("{what}: {shown} is shown, {found} exported"));
        }
    };
    for (reason, count) in counters["dropped"].as_object().into_iter().flatten() {
        let label = format!("reason=\"{reason}\"");
        equal(reason.clone(), count, sum(&samples, "borderline_dropped_packets_total", &label));
    }
    let totals =
        [("received", "received_packets"), ("sent", "sent_packets"), ("originated", "originated_packets")];
    for (shown, exported) in totals {
        equal(shown.to_owned(), &counters[shown], sum(&samples, &format!("borderline_{exported}_total"), ""));
    }
    for (number, worker) in load["workers"].as_array().into_iter().flatten().enumerate() {
        let label = format!("worker=\"{number}\"");
        equal(
            format!("received by {number}"),
            &worker["received"],
            sum(&samples, "borderline_received_packets_total", &label),
        );
        equal(
            format!("sent by {number}"),
            &worker["sent"],
            sum(&samples, "borderline_sent_packets_total", &label),
        );
    }
    for port in load["ports"].as_array().into_iter().flatten() {
        let name = port["name"].as_str().unwrap_or_default();
        for way in ["receive", "transmit"] {
            for unit in ["packets", "bytes"] {
                let series = format!("borderline_port_{unit}_total{{port=\"{name}\",direction=\"{way}\"}}");
                equal(series.clone(), &port[way][unit], samples[&series]);
            }
        }
        let missed = format!("borderline_port_missed_packets_total{{port=\"{name}\"}}");
        equal(missed.clone(), &port["missed"], samples[&missed]);
        let errors = sum(&samples, "borderline_port_errors_total", &format!("port=\"{name}\""));
        equal(format!("errors of {name}"), &port["errors"], errors);
    }
    for port in status["ports"].as_array().into_iter().flatten() {
        let name = port["name"].as_str().unwrap_or_default();
        for (field, way) in [("received", "receive"), ("sent", "transmit")] {
            let series = format!("borderline_port_packets_total{{port=\"{name}\",direction=\"{way}\"}}");
            equal(format!("status, {field} by {name}"), &port[field], samples[&series]);
        }
    }
    equal("mappings".to_owned(), &status["eams"], samples["borderline_mappings"]);
    equal("revision".to_owned(), &status["revision"]["id"], samples["borderline_revision"]);
    for cost in load["costs"].as_array().into_iter().flatten() {
        let [direction, verdict] = ["direction", "verdict"].map(|key| cost[key].as_str().unwrap_or_default());
        let label = format!("direction=\"{direction}\",verdict=\"{verdict}\"");
        for unit in ["packets", "cycles"] {
            let found = sum(&samples, &format!("borderline_sampled_{unit}_total"), &label);
            equal(format!("{unit} of {label}"), &cost[unit], found);
        }
    }
    let mappings = load["mappings"].as_array().into_iter().flatten();
    for mapping in mappings {
        let ipv4 = mapping["ipv4"].as_str().unwrap_or_default();
        for way in ["v4_to_v6", "v6_to_v4"] {
            for unit in ["packets", "bytes"] {
                let series =
                    format!("borderline_mapping_{unit}_total{{mapping=\"{ipv4}\",direction=\"{way}\"}}");
                // The ranking on a page is a second old at most.
                equal(series.clone(), &mapping[way][unit], samples.get(&series).copied().unwrap_or(-1.0));
            }
        }
    }
    Ok((!different.is_empty()).then(|| different.join("; ")))
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn traffic_of_each_mapping_is_exact_and_survives_changes_of_others() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Metered::up(Shape::default())?;
    lab.ctl("eam add 192.0.2.2 2001:db8:12:34::2")?;
    lab.ping("192.0.2.2", 1)?;
    let traffic = |lab: &Metered, ipv4: &str| -> Result<[u64; 4], LabError> {
        let text = lab.ctl(&format!("--json eam counters --within {ipv4}"))?;
        let line = json(text.lines().next().unwrap_or("{}"));
        let count = |way: &str, unit: &str| line[way][unit].as_u64().unwrap_or_default();
        Ok([
            count("v4_to_v6", "packets"),
            count("v4_to_v6", "bytes"),
            count("v6_to_v4", "packets"),
            count("v6_to_v4", "bytes"),
        ])
    };
    let before = traffic(&lab, "192.0.2.2")?;
    lab.ping("192.0.2.2", 30)?;
    lab.ctl("eam add 192.0.2.3 2001:db8:12:34::3")?;
    lab.ping("192.0.2.2", 20)?;
    lab.ctl("eam remove 192.0.2.3")?;
    let after = traffic(&lab, "192.0.2.2")?;
    let grown: Vec<u64> = before.iter().zip(&after).map(|(before, after)| after - before).collect();
    // 56 bytes behind the echo header: 84 with the IPv4 header, 104 with that of IPv6.
    assert_eq!(grown, [50, 50 * 84, 50, 50 * 104]);
    lab.ctl("eam remove 192.0.2.2")?;
    let bill = lab.ctl("eam counters --format csv")?;
    let [packets_in, bytes_in, packets_out, bytes_out] = after;
    let removed = format!("192.0.2.2/32,,,{packets_in},{bytes_in},{packets_out},{bytes_out}");
    assert!(bill.starts_with("ipv4,ipv6,owner,v4_to_v6_packets,"), "{bill}");
    assert!(bill.lines().any(|line| line == removed), "what was removed is billed as well\n{bill}");
    lab.ctl("eam add 192.0.2.2 2001:db8:12:34::2")?;
    assert_eq!(traffic(&lab, "192.0.2.2")?, after, "it goes on counting");
    let top = json(&lab.ctl("--json top --once")?);
    assert!(top["mappings"].as_array().is_some_and(|mappings| mappings.len() == 2), "{top}");
    lab.lab.assert_healthy()
}

/// A million mappings, the first of 10.0.0.0/12, and traffic of some thousand.
#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_scrape_is_small_with_a_million_mappings() -> TestResult {
    const MAPPINGS: u32 = 1_000_000;
    const WITH_TRAFFIC: u32 = 20_000;
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("curl")]) {
        return Ok(());
    }
    let files = tempfile::tempdir().expect("there is room for a directory");
    let file = files.path().join("million.csv");
    let mut text = String::with_capacity(48 << 20);
    for number in 0..MAPPINGS {
        let ipv4 = Ipv4Addr::from_bits(0x0a00_0000 + number);
        text += &format!("{ipv4},2001:db8:64:{:x}::{:x}\n", number >> 16, number & 0xffff);
    }
    fs::write(&file, text)?;
    let tables = format!("eam_files = [\"{}\"]\n", file.display());
    let mut lab = Metered::up(Shape { translation: tables, ..Shape::default() })?;
    lab.lab.client.ip("route replace 10.0.0.0/12 via 203.0.113.1")?;
    lab.lab.relay_ns.ip("-6 route add 2001:db8:64::/48 via 2001:db8:12:34::1 dev bl-v6")?;
    let socket = udp_socket(&lab.lab.client, Ipv4Addr::UNSPECIFIED.into(), 0)?;
    for number in 0..WITH_TRAFFIC {
        // Some of them more than others.
        for _ in 0..=u32::from(number % 1000 == 0) * 9 {
            socket.send_to(b"x", (Ipv4Addr::from_bits(0x0a00_0000 + number * 37), 9)).ok();
        }
    }
    let busiest =
        |page: &str| page.lines().filter(|line| line.starts_with("borderline_mapping_bytes_total{")).count();
    let mut page = String::new();
    let is_ranked = wait_until(Duration::from_secs(60), || {
        page = lab.scrape("application/openmetrics-text").unwrap_or_default();
        busiest(&page) == 100
    });
    assert!(is_ranked, "{page}");
    assert_eq!(samples(&page.replace("# EOF", "#"))["borderline_mappings"], f64::from(MAPPINGS + 1));
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    assert!(page.len() < 200_000 && series < 3000, "{} bytes, {series} series", page.len());
    let mut times = Vec::new();
    for _ in 0..20 {
        // A page is good for all who ask within 50 ms.
        std::thread::sleep(Duration::from_millis(100));
        let curl = lab.lab.relay_ns.cmd("curl").args("-sS --fail -m 10 -o /dev/null -w %{time_total}");
        times.push(number(curl.arg(format!("http://{LISTEN}/metrics")).ok()?.stdout.trim()));
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{MAPPINGS} mappings, all counted: {} bytes, {series} series, a scrape takes {:.2} ms, {:.2} to {:.2} of 20",
        page.len(),
        times[10] * 1e3,
        times[0] * 1e3,
        times[19] * 1e3
    );
    lab.lab.assert_healthy()
}
