//! `borderctl explain` on a running relay, and the questions an operator asks of it.
#![allow(clippy::panic, reason = "what fails here fails the test")]

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pktgen_tests::lab::{Cmd, Lab, LabError, Need, RawLink, Shape, TestResult, borderctl, skip_unless};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that takes a second or two on an idle machine.
const PATIENCE: Duration = Duration::from_secs(40);

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
        let control = format!("\n[control]\nsocket = \"{socket}\"\nstore = \"{store}\"\n");
        let shape =
            Shape { translation: format!("{}{control}", Shape::default().translation), ..Shape::default() };
        let controlled = Self { lab: Lab::up(&shape)?, kept };
        assert!(controlled.lab.pings(&controlled.lab.client, "192.0.2.1"), "the first ping gets through");
        Ok(controlled)
    }

    fn socket(&self) -> PathBuf {
        self.kept.path().join("control.sock")
    }

    fn good(&self, line: &str) -> Result<String, LabError> {
        let output = ctl(&self.socket()).args(line).run()?;
        assert!(output.success(), "{line}: {}", output.text());
        Ok(output.stdout)
    }

    fn json(&self, line: &str) -> Result<Value, LabError> {
        let text = self.good(&format!("--json {line}"))?;
        let what = format!("the answer to {line}");
        serde_json::from_str(&text).map_err(|_| LabError::Unreadable { what, text })
    }

    /// The first answer that `is_it`, or the last one there was time for.
    fn until(&self, line: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value, LabError> {
        let start = Instant::now();
        loop {
            let answer = self.json(line)?;
            if is_it(&answer) || start.elapsed() > PATIENCE {
                return Ok(answer);
            }
            sleep(Duration::from_millis(200));
        }
    }
}

fn ctl(socket: &Path) -> Cmd {
    let program = borderctl().expect("it is built with the relay").display().to_string();
    Cmd::new(&program).arg("--socket").arg(socket.display().to_string())
}

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().expect("a text of hexadecimal digits");
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("two digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn phase<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let phases = answer["phases"].as_array().expect("a list of phases");
    phases.iter().find(|phase| phase["name"] == name).unwrap_or_else(|| panic!("no phase {name} in {answer}"))
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn what_is_explained_is_what_the_relay_sends_and_says_where_each_entry_is_written() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Controlled::up()?;
    lab.good("eam add 192.0.2.0/28 2001:db8:99::/124 --comment rack")?;
    let line =
        "explain --src 203.0.113.50 --dst 192.0.2.1 --proto udp --sport 4000 --dport 7 --size 61 --ttl 9";
    let answer = lab.json(line)?;
    assert_eq!((&answer["verdict"], &answer["reason"]), (&"translated".into(), &Value::Null), "{answer}");
    let destination = phase(&answer, "destination");
    assert_eq!(destination["result"], "2001:db8:12:34::1");
    let origin = destination["used"]["origin"].as_str().unwrap_or_default();
    assert!(origin.starts_with("borderline.toml, line "), "{destination}");
    assert_eq!(destination["shadowed"][0]["entry"], "192.0.2.0/28 = 2001:db8:99::/124");
    assert_eq!(destination["shadowed"][0]["origin"], "store, revision 2 (rack)");
    let hop = phase(&answer, "next_hop");
    assert_eq!((&hop["mtu"], &hop["used"]["entry"]), (&1520.into(), &"2001:db8:12:34::/64".into()), "{hop}");
    assert!(
        answer["counters"]
            .as_array()
            .is_some_and(|all| { all.iter().any(|counter| counter["name"] == "events.translated_v4_to_v6") })
    );
    let before = lab.lab.relay().settled_counters()?;

    // The frame it made up is one that the relay takes, and what it said would leave does leave.
    let mut wire = RawLink::open(&lab.lab.client, "c4")?;
    let mut server = RawLink::open(&lab.lab.server, "s6")?;
    let expected = bytes(&answer["out"][0]);
    let arrived = (0..20).any(|_| {
        assert!(wire.send(&bytes(&answer["frame"])), "the kernel takes the frame");
        server
            .listen(Duration::from_secs(1), |frame| frame.get(14..14 + expected.len()) == Some(&expected[..]))
    });
    assert!(arrived, "{:02x?} does not come", expected);
    drop(before);

    let refused = lab.json("explain --src 203.0.113.50 --dst 192.0.2.77")?;
    assert_eq!(
        (&refused["verdict"], &refused["reason"]),
        (&"icmp_error".into(), &"unassigned_service_address".into())
    );
    assert_eq!(phase(&refused, "refusal")["used"]["entry"], "192.0.2.0/24");
    assert_eq!(phase(&refused, "answer")["result"], "sent");
    let expired = lab.json("explain --src 203.0.113.50 --dst 192.0.2.1 --ttl 1")?;
    assert_eq!(expired["reason"], "hop_limit_exceeded");
    let back = lab.json("explain --src 2001:db8:12:34::1 --dst 2001:db8:46::203.0.113.50 --proto icmp")?;
    assert_eq!(
        (&back["verdict"], &phase(&back, "source")["result"]),
        (&"translated".into(), &"192.0.2.1".into())
    );
    let own = lab.json("explain --src 203.0.113.50 --dst 203.0.113.1")?;
    assert_eq!((&own["verdict"], &own["reason"]), (&"punted".into(), &"local_address".into()));
    // The same packet by its bytes, by its frame, and out of a capture.
    let hex = answer["in"].as_str().unwrap_or_default();
    let frame = answer["frame"].as_str().unwrap_or_default();
    for again in [format!("explain --hex {hex}"), format!("explain --hex {frame} --port v4")] {
        assert_eq!(lab.json(&again)?["out"], answer["out"], "{again}");
    }
    let human = lab.good(line)?;
    for words in [
        " 1  input",
        "by 192.0.2.1/32 = 2001:db8:12:34::1/128  [borderline.toml, line",
        "RFC 7757 3.3.1",
        "verdict   translated",
    ] {
        assert!(human.contains(words), "{words:?} is missing in\n{human}");
    }
    lab.lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn what_flows_who_fails_and_what_was_before_are_answered() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Controlled::up()?;
    lab.good("eam add 192.0.2.7 2001:db8:12:34::7")?;
    // Is it forwarding now, how much, and since when not?
    let steady = lab.lab.client.cmd("ping").args("-n -c600 -i0.02 192.0.2.1").timeout(60);
    let pinging = std::thread::spawn(move || steady.run());
    let flows = |status: &Value, direction: &str| {
        status["ports"][0][direction]["packets_per_second"].as_u64() > Some(5)
    };
    let busy = lab.until("status", |status| flows(status, "receiving") && flows(status, "sending"))?;
    assert!(flows(&busy, "receiving") && flows(&busy, "sending"), "{busy}");
    pinging.join().expect("it does not panic")?;
    let idle = |status: &Value| {
        let sending = &status["ports"][0]["sending"];
        sending["idle_seconds"].as_u64() >= Some(2) && sending["packets_per_second"] == 0
    };
    let quiet = lab.until("status", idle)?;
    assert!(idle(&quiet), "{quiet}");

    // Which server fails: by name, with its service.
    lab.lab.client.cmd("ping").args("-n -c3 -W1 192.0.2.7").timeout(20).run()?;
    let named = |status: &Value| status["failing"][0]["address"] == "2001:db8:12:34::7";
    let status = lab.until("status", named)?;
    assert!(named(&status), "{status}");
    assert_eq!(
        (&status["failing"][0]["service"], &status["failing"][0]["interface"]),
        (&"192.0.2.7".into(), &"bl-v6".into())
    );
    assert!(lab.good("status")?.contains("2001:db8:12:34::7 (service 192.0.2.7) on bl-v6 does not answer"));
    lab.lab.server.ip("addr add 2001:db8:12:34::7/64 dev s6 nodad")?;
    assert!(lab.lab.pings(&lab.lab.client, "192.0.2.7"), "it is there now");
    let status = lab.until("status", |status| !named(status))?;
    assert!(!named(&status) && status["queues"]["delivered"].as_u64() > Some(0), "{status}");
    let queues = &status["queues"]["workers"][0];
    assert!(queues["other"]["capacity"].as_u64() > queues["other"]["highest"].as_u64(), "{queues}");

    // Which mapping, route and neighbour do the workers use?
    let lookup = lab.json("eam lookup 192.0.2.7")?;
    let worker = &lookup["worker"];
    assert_eq!(
        (&worker["translated"], &worker["next_hop"]),
        (&"2001:db8:12:34::7".into(), &"ready".into()),
        "{lookup}"
    );
    assert!(
        worker["route"].as_str().is_some_and(|route| route.starts_with("2001:db8:12:34::/64")),
        "{worker}"
    );
    // What is for the box itself is its kernel's, whatever is mapped.
    let added = lab.good("eam add 203.0.113.1 2001:db8:12:34::8")?;
    assert!(added.contains("203.0.113.1/32: it is an address of this box"), "{added}");
    let lookup = lab.json("eam lookup 203.0.113.1")?;
    assert_eq!(
        (&lookup["worker"]["translated"], &lookup["worker"]["next_hop"]),
        (&Value::Null, &"local".into()),
        "{lookup}"
    );
    assert!(lookup["text"].as_str().is_some_and(|text| text.contains("an address of this box")), "{lookup}");
    lab.good("eam remove 203.0.113.1")?;
    let neighbors = lab.json("neighbors")?;
    let neighbors = neighbors["neighbors"].as_array().expect("a list");
    let server =
        neighbors.iter().find(|neighbor| neighbor["address"] == "2001:db8:12:34::7").expect("it is known");
    assert_eq!((&server["worker"], &server["service"]), (&"ready".into(), &"192.0.2.7".into()));
    assert!(
        lab.json("routes")?["routes"]
            .as_array()
            .is_some_and(|all| all.iter().all(|route| route["worker"] != ""))
    );

    // Is what runs what is written?
    assert_eq!(lab.json("status")?["files_changed"], serde_json::json!([]));
    let toml = lab.lab.config.to_toml();
    lab.lab.relay().rewrite(&toml.replace("192.0.2.1/32", "192.0.2.300/32"))?;
    assert_eq!(lab.json("status")?["files_changed"], serde_json::json!(["borderline.toml"]));
    assert!(!ctl(&lab.socket()).args("reload").run()?.success());
    assert_eq!(lab.json("status")?["last_reload"]["applied"], false);
    lab.lab.relay().rewrite(&toml)?;
    lab.good("reload")?;
    let status = lab.json("status")?;
    assert_eq!(
        (&status["last_reload"]["applied"], &status["files_changed"]),
        (&true.into(), &serde_json::json!([]))
    );

    // Did it abort, or was it stopped?
    lab.lab.assert_healthy()?;
    let pid = lab.lab.relay().pid();
    let relay = lab.lab.take_relay();
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).expect("it runs");
    relay.kill();
    lab.lab.start_relay()?;
    let status = lab.json("status")?;
    assert_eq!(
        (&status["last_exit"]["orderly"], &status["last_exit"]["pid"]),
        (&false.into(), &pid.into()),
        "{status}"
    );
    assert!(status["last_exit"]["cause"].as_str().is_some_and(|cause| cause.contains("killed")), "{status}");
    let (code, _) = lab.lab.take_relay().stop()?;
    assert!(code.success());
    lab.lab.start_relay()?;
    assert_eq!(lab.json("status")?["last_exit"]["orderly"], true);
    lab.lab.assert_healthy()
}
