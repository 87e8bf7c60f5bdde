//! The program pktgen, over DPDK's rings: what it sends comes straight back, in ordinary memory and as any user.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pktgen_tests::pktgen::report::{self, Measurement};
use serde_json::Value;
use tempfile::TempDir;

const PORTS: &str = r#"
[[port]]
name = "v4"
device = "DEVICE0"
family = "ipv4"
mac = "02:00:00:00:00:14"
peer_mac = "02:00:00:00:00:04"
[[port]]
name = "v6"
device = "DEVICE1"
family = "ipv6"
mac = "02:00:00:00:00:16"
peer_mac = "02:00:00:00:00:06"
"#;

/// A directory with a configuration in it.
struct Bench {
    directory: TempDir,
}

impl Bench {
    /// `driver` is `net_ring` or another driver that needs no arguments.
    fn new(driver: &str, lcores: &str, traffic: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut text =
            format!("[dpdk]\nlcores = {lcores}\nmemory = \"no-huge\"\nmemory_mb = 256\n{PORTS}\n[traffic]\n{traffic}\n")
                .replace("DEVICE", driver);
        write!(text, "[trial]\nseconds = 0.1\nready_seconds = 0.5\n").expect("a string grows");
        std::fs::write(directory.path().join("pktgen.toml"), text).expect("a file in it");
        Self { directory }
    }

    /// One lcore, rings, frames come back as they were.
    fn ring() -> Self {
        Self::new("net_ring", "[0]", "expect = \"unchanged\"\neams = 100")
    }

    fn json(&self) -> PathBuf {
        self.directory.path().join("result.json")
    }

    fn run(&self, procedure: &str, options: &str) -> Output {
        let config = self.directory.path().join("pktgen.toml");
        pktgen(&[procedure, "--config", path(&config), "--json", path(&self.json())], options)
    }

    /// Runs it, insists on success, and reads the results.
    fn results(&self, procedure: &str, options: &str) -> Vec<Measurement> {
        let output = self.run(procedure, options);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        report::read(&self.json()).expect("results")
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn pktgen(arguments: &[&str], options: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pktgen"))
        .args(arguments)
        .args(options.split_whitespace())
        .output()
        .expect("pktgen starts")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_run_has_all_its_names_in_json() {
    let bench = Bench::ring();
    let output = bench.run("run", "--rate 100000 --device loop --frame-bytes 64,imix");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("p99.9 us"), "{}", text(&output));
    let json = std::fs::read_to_string(bench.json()).expect("a file");
    let all: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(all.as_array().map(Vec::len), Some(2));
    let one = &all[0];
    for (name, value) in [
        ("procedure", "run"),
        ("device", "loop"),
        ("direction", "mixed"),
        ("protocol", "udp"),
        ("pattern", "uniform"),
    ] {
        assert_eq!(one[name], value, "{name}");
    }
    for (name, value) in [("frame_bytes", 64), ("eams", 100), ("flows", 100), ("lost", 0), ("reordered", 0)] {
        assert_eq!(one[name], value, "{name}");
    }
    assert_eq!(all[1]["frame_bytes"], "imix");
    for name in [
        "offered_pps",
        "sent",
        "received",
        "unsent",
        "refused",
        "duplicated",
        "stale",
        "foreign",
        "icmp_errors",
        "sent_pps",
        "received_pps",
        "loss_ratio",
        "seconds",
        "max_gap_us",
        "max_pause_us",
    ] {
        assert!(one[name].is_number(), "{name}: {}", one[name]);
    }
    for name in ["min", "p50", "p99", "p999", "max"] {
        assert!(one["latency_us"][name].is_number(), "latency_us.{name}");
    }
    for kind in [
        "port",
        "length",
        "ethernet",
        "hop_limit",
        "source",
        "destination",
        "header_checksum",
        "header",
        "transport",
        "transport_checksum",
        "tag",
        "payload",
    ] {
        assert_eq!(one["corrupt"][kind], 0, "corrupt.{kind}");
    }
    assert_eq!(one["streams"][0]["name"], "v4_to_v6");
    assert_eq!(one["ports"][1]["name"], "v6");
    // The schedule holds, whatever the machine kept the program from.
    let (sent, unsent) = (one["sent"].as_u64().unwrap(), one["unsent"].as_u64().unwrap());
    assert!((9_998..=10_000).contains(&(sent + unsent)), "{sent} sent, {unsent} not");
    assert_eq!(one["received"], sent);
    assert_eq!(
        one["ports"][0]["opackets"].as_u64().unwrap() + one["ports"][1]["opackets"].as_u64().unwrap(),
        sent
    );
}

#[test]
fn every_kind_of_traffic_comes_back() {
    for (traffic, streams) in [
        ("protocol = \"tcp\"\nfragments = true\nframe_bytes = 70", 2),
        ("protocol = \"icmp\"\nframe_bytes = \"imix\"\npattern = \"skewed\"\nflows = 100000", 2),
        ("native_ipv6 = 10\nnative_ipv4 = 1\nframe_bytes = 9216\nudp_checksum = false", 6),
        ("direction = \"v6_to_v4\"\npattern = \"sequential\"\nflows = 7\nports = \"per_flow\"", 1),
    ] {
        let traffic = format!("expect = \"unchanged\"\n{traffic}");
        let results = Bench::new("net_ring", "[0]", &traffic).results("run", "--rate 50000");
        assert_eq!(results[0].streams.len(), streams);
        assert!(
            results[0].streams.iter().all(|stream| stream.received > 0 && stream.received == stream.sent)
        );
    }
}

#[test]
fn background_traffic_has_its_share() {
    let bench = Bench::new("net_ring", "[0]", "expect = \"unchanged\"\nnative_ipv6 = 10");
    let results = bench.results("run", "--rate 100000 --direction v4_to_v6");
    let [translated, native] = &results[0].streams[..] else { panic!("two streams") };
    let share = native.sent as f64 / (native.sent + translated.sent) as f64;
    assert!((share - 0.1).abs() < 0.002, "{share}");
}

#[test]
fn two_lcores_send_and_receive() {
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        return;
    }
    let bench = Bench::new("net_ring", "[0, 1]", "expect = \"unchanged\"\neams = 1000");
    let results = bench.results("run", "--rate 100000");
    assert_eq!((results[0].lost, results[0].sent), (0, results[0].received));
}

#[test]
fn every_procedure_ends_with_its_finding() {
    let bench = Bench::ring();
    let rate = "--rate 100000 --seconds 0.05 --loss-tolerance 0.01";
    let finding = |procedure: &str, options: &str| {
        bench.results(procedure, &format!("{rate} {options}")).pop().expect("a result")
    };
    let throughput = finding("throughput", "--repetitions 3").finding;
    assert!(throughput.throughput_pps.is_some_and(|rate| rate > 0.0 && rate < 101_000.0));
    assert!(throughput.spread.is_some_and(|[low, high]| low <= high));
    let latency = finding("latency", "--repetitions 3");
    let (typical, worst) = (latency.finding.typical_latency_us, latency.finding.worst_case_latency_us);
    assert_eq!(
        typical,
        latency.latency_us.map(|latency| latency.p50),
        "the trial is the one with the median"
    );
    assert!(worst >= typical);
    assert!(finding("pdv", "").finding.pdv_us.is_some_and(|pdv| pdv >= 0.0));
    assert!(finding("back-to-back", "").finding.burst_frames.is_some_and(|frames| frames > 1000));
    let overload = finding("overload", "--flows 1000");
    assert_eq!(overload.flows, 1000);
    assert!(overload.finding.ratio_to_one_flow.is_some_and(|ratio| ratio > 0.1));
    let losses = bench.results("frame-loss", rate);
    assert!(losses.len() >= 2, "two rates in a row without loss");
    assert!(losses[1].offered_pps < losses[0].offered_pps);
}

#[test]
fn a_command_runs_in_the_middle() {
    let bench = Bench::ring();
    let file = bench.directory.path().join("here");
    let command = format!("touch {}", path(&file));
    let config = bench.directory.path().join("pktgen.toml");
    let json = bench.json();
    for procedure in ["reset", "reconfigure"] {
        let arguments = [procedure, "--config", path(&config), "--json", path(&json), "--command", &command];
        let output = pktgen(&arguments, "--rate 10000 --seconds 0.3");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert!(file.exists());
        let result = report::read(&json).expect("results").pop().expect("a result");
        assert_eq!((result.procedure.as_str(), result.lost), (procedure, 0));
        assert_eq!(
            result.finding.blocked_ms,
            Some(result.refused as f64 / 10.0),
            "lost and refused over the rate"
        );
    }
    let arguments = ["reset", "--config", path(&config), "--command", "exit 7"];
    let output = pktgen(&arguments, "--rate 10000");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("`exit 7` failed"), "{}", text(&output));
}

#[test]
fn a_signal_ends_it_in_order() {
    let bench = Bench::ring();
    let config = bench.directory.path().join("pktgen.toml");
    let child = Command::new(env!("CARGO_BIN_EXE_pktgen"))
        .args(["run", "--config", path(&config), "--rate", "1000", "--seconds", "60"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("pktgen starts");
    std::thread::sleep(Duration::from_secs(2));
    let pid = i32::try_from(child.id()).expect("a process id");
    let start = Instant::now();
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it still runs");
    let output = child.wait_with_output().expect("it ends");
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
    assert_eq!(output.status.code(), Some(1), "an exit, not a death by signal");
    assert!(text(&output).contains("stopped by a signal"), "{}", text(&output));
}

#[test]
fn a_device_that_returns_nothing_or_something_else_is_a_failure() {
    let nothing = Bench::new("net_null", "[0]", "eams = 1");
    let output = nothing.run("run", "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("nothing came back within 0.5 s"), "{}", text(&output));
    let not_translated = Bench::new("net_ring", "[0]", "expect = \"translated\"");
    let output = not_translated.run("run", "");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("nothing came back"), "{}", text(&output));
    let not_swapped = Bench::new("net_ring", "[0]", "expect = \"macswapped\"");
    let output = not_swapped.run("run", "--rate 1000");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("with wrong ethernet"), "{}", text(&output));
}

#[test]
fn wrong_usage_is_told_with_its_remedy() {
    for (traffic, options, remedy) in [
        ("unknown = 1", "", "unknown field `unknown`"),
        ("direction = \"up\"", "", "unknown variant `up`"),
        ("frame_bytes = 63", "", "give 64 to 9216"),
        ("frame_bytes = \"imax\"", "", "`imax` is no frame size"),
        ("fragments = true", "", "give 70 to 1270"),
        ("fragments = true\nprotocol = \"icmp\"\nframe_bytes = 70", "", "use udp or tcp"),
        ("fragments = true\nudp_checksum = false\nframe_bytes = 70", "", "leave udp_checksum = true"),
        ("protocol = \"tcp\"\nudp_checksum = false", "", "needs protocol = \"udp\""),
        ("eams = 0", "", "give 1 to 4194304"),
        ("flows = 16777217", "", "room for 16777216"),
        ("native_ipv6 = 60\nnative_ipv4 = 50", "", "100 together at most"),
        ("prefix = \"64:ff9b::/64\"", "", "it must have 96 bits"),
        ("", "--seconds 0", "give more than 0"),
        ("", "--repetitions 0", "give 1 to 1000"),
        ("", "--rate 0", "no rate"),
        ("", "--frame-bytes 64,10000", "give 64 to 9216"),
    ] {
        let output = Bench::new("net_null", "[0]", traffic).run("run", options);
        assert_eq!(output.status.code(), Some(2), "{traffic} {options}: {}", text(&output));
        assert!(text(&output).contains(remedy), "{traffic} {options}: {}", text(&output));
    }
    let output = Bench::new("net_null", "[0, 1, 2]", "").run("run", "");
    assert!(text(&output).contains("name one CPU, or two"), "{}", text(&output));
    let output = Bench::new("{sockets}", "[0]", "").run("run", "");
    assert!(text(&output).contains("needs [dpdk] sockets"), "{}", text(&output));
    let missing = pktgen(&["run", "--config", "/nowhere.toml"], "");
    assert!(text(&missing).contains("/nowhere.toml"), "{}", text(&missing));
}

#[test]
fn the_two_ports_have_one_family_each() {
    let bench = Bench::ring();
    let config = bench.directory.path().join("pktgen.toml");
    let both = std::fs::read_to_string(&config).expect("the configuration").replace("ipv6", "ipv4");
    std::fs::write(&config, both).expect("a file");
    let output = bench.run("run", "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("one of family \"ipv4\" and one of \"ipv6\""), "{}", text(&output));
}

#[test]
fn mappings_and_plots_are_written() {
    let bench = Bench::ring();
    let eams = bench.directory.path().join("eams.csv");
    let output = pktgen(&["eams", "--count", "1000", "--out", path(&eams)], "");
    assert_eq!(output.status.code(), Some(0));
    let lines = std::fs::read_to_string(&eams).expect("mappings");
    assert_eq!(lines.lines().count(), 1000);
    assert_eq!(lines.lines().next(), Some("100.64.0.0/32,2001:db8:e::/128"));

    bench.results("run", "--rate 10000 --frame-bytes 64,128");
    let plots = bench.directory.path().join("plots");
    let output = pktgen(&["plot", "--in", path(&bench.json()), "--out", path(&plots)], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    for name in ["throughput.svg", "latency.svg"] {
        assert!(text(&output).contains(name), "{}", text(&output));
        assert!(plots.join(name).is_file());
    }
    let output = pktgen(&["plot", "--in", path(&eams), "--out", path(&plots)], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("no results of pktgen"), "{}", text(&output));
}
