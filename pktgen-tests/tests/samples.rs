//! Drops, captures and traces of a running relay.
#![allow(clippy::panic, reason = "what fails here fails the test")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use capture::{Capture, Content};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pktgen_tests::lab::frame::{IPV6, ethernet, ipv6, udp6};
use pktgen_tests::lab::probe::{echo_once, udp_echo, udp_socket};
use pktgen_tests::lab::{
    Cmd, Lab, LabError, Need, PATIENCE, RawLink, SERVICE, Shape, TestResult, borderctl, embedded,
    relay_binary, skip_unless, wait_until,
};
use serde_json::Value;
use tempfile::TempDir;

/// An address of the service pool that nobody has.
const UNASSIGNED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
/// A host without a mapping.
const STRANGER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x34, 0, 0, 0, 0x77);
const NEEDS: [Need; 4] = [Need::Root, Need::Relay, Need::Program("tshark"), Need::Program("editcap")];

struct Observed {
    lab: Lab,
    kept: TempDir,
}

impl Observed {
    fn up() -> Result<Self, LabError> {
        let kept = tempfile::tempdir().expect("there is room for a directory");
        let path = |name| kept.path().join(name).display().to_string();
        let control = format!(
            "\n[control]\nsocket = \"{}\"\nstore = \"{}\"\n",
            path("control.sock"),
            path("mappings.db")
        );
        let lab = Lab::up(&Shape { translation: control, ..Shape::default() })?;
        assert!(lab.pings(&lab.client, "192.0.2.1"));
        Ok(Self { lab, kept })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.kept.path().join(name)
    }

    fn ctl(&self, words: &[&str]) -> Cmd {
        let program = borderctl().expect("it is built with the relay").display().to_string();
        let cmd = Cmd::new(&program).arg("--socket").arg(self.path("control.sock").display().to_string());
        words.iter().fold(cmd, |cmd, word| cmd.arg(*word)).timeout(90)
    }

    fn good(&self, words: &[&str]) -> Result<String, LabError> {
        let output = self.ctl(words).run()?;
        assert!(output.success(), "{words:?}: {}", output.text());
        Ok(output.stdout)
    }

    fn json(&self, words: &[&str]) -> Result<Value, LabError> {
        let text = self.good(&[&["--json"], words].concat())?;
        serde_json::from_str(&text).map_err(|_| LabError::Unreadable { what: format!("{words:?}"), text })
    }

    /// What is said of one reason.
    fn reason(&self, reason: &str) -> Result<Value, LabError> {
        let drops = self.json(&["drops"])?;
        let row = drops.as_array().and_then(|rows| rows.iter().find(|row| row["reason"] == reason));
        Ok(row.expect("every reason is there").clone())
    }

    /// A verb that goes on beside the test. Whoever starts it ends it.
    fn start(&self, words: &[&str]) -> Background {
        let mut command = Command::new(borderctl().expect("it is built with the relay"));
        command.arg("--socket").arg(self.path("control.sock")).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Background(command.spawn().expect("it can be started"))
    }

    /// Sends a datagram to the unassigned address again and again, as fast as one thread does, for so long.
    fn flood(&self, time: Duration) -> Result<thread::JoinHandle<u64>, LabError> {
        let socket = udp_socket(&self.lab.client, Ipv4Addr::UNSPECIFIED.into(), 0)?;
        Ok(thread::spawn(move || {
            let (start, mut sent) = (Instant::now(), 0);
            while start.elapsed() < time {
                for _ in 0..100 {
                    sent += u64::from(socket.send_to(b"flood", (UNASSIGNED, 9)).is_ok());
                }
                thread::yield_now();
            }
            sent
        }))
    }

    /// Frames of a host without a mapping to a client, with a payload that tells them apart.
    fn stranger(&self, numbers: std::ops::Range<u8>, pause: Duration) -> Result<(), LabError> {
        let mut link = RawLink::open(&self.lab.server, "s6")?;
        let relay = self.lab.relay_ns.ip("-o link show dev r6")?;
        let mac =
            relay.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap_or_default();
        let mut to = [0; 6];
        for (byte, text) in to.iter_mut().zip(mac.split(':')) {
            *byte = u8::from_str_radix(text, 16).expect("a MAC address");
        }
        for number in numbers {
            let client = embedded(Ipv4Addr::new(203, 0, 113, 50));
            let packet = ipv6(STRANGER, client, 17, 64, &udp6(STRANGER, client, 9, &[number; 10]));
            assert!(link.send(&ethernet(to, link.mac(), IPV6, &packet)));
            thread::sleep(pause);
        }
        Ok(())
    }
}

/// A process that ends with the test.
struct Background(Child);

impl Background {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it is there");
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("it is ours").is_some()
    }

    /// Waits for its end; what it said, and whether all was well.
    fn finish(mut self, patience: Duration) -> (bool, String) {
        let start = Instant::now();
        while start.elapsed() < patience && self.0.try_wait().expect("it is ours").is_none() {
            thread::sleep(Duration::from_millis(20));
        }
        let ended = self.0.try_wait().expect("it is ours");
        let mut text = String::new();
        if ended.is_some() {
            self.0.stdout.take().map(|mut out| out.read_to_string(&mut text));
            self.0.stderr.take().map(|mut out| out.read_to_string(&mut text));
        }
        (ended.is_some_and(|status| status.success()), text)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The answer to a request without a body.
fn get(socket: &Path, target: &str) -> (String, Value) {
    let mut stream = UnixStream::connect(socket).expect("the relay listens");
    write!(stream, "GET {target} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n").expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().unwrap_or_default().to_owned(), serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Fields of the packets of a file, as tshark reads it.
fn tshark(file: &Path, fields: &[&str], filter: &str) -> Result<Vec<Vec<String>>, LabError> {
    let mut cmd =
        Cmd::new("tshark").arg("-nr").arg(file.display().to_string()).args("-T fields -E separator=;");
    for field in fields {
        cmd = cmd.arg("-e").arg(*field);
    }
    let text = cmd.arg("-Y").arg(filter).timeout(60).ok()?.stdout;
    Ok(text.lines().map(|line| line.split(';').map(String::from).collect()).collect())
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn drops_are_counted_and_sampled_fairly_under_a_flood() -> TestResult {
    if skip_unless(&NEEDS) {
        return Ok(());
    }
    let mut lab = Observed::up()?;
    let flood = lab.flood(Duration::from_secs(5))?;
    thread::sleep(Duration::from_millis(500));
    lab.stranger(0..10, Duration::from_millis(300))?;
    let busy = lab.reason("unassigned_service_address")?;
    let sent = flood.join().expect("the flood does not panic");
    assert!(busy["rate"].as_f64() > Some(0.0), "{busy}");
    let is_counted = || {
        lab.reason("unassigned_service_address").is_ok_and(|row| row["count"].as_u64() > Some(200))
            && lab.reason("source_not_mapped").is_ok_and(|row| row["count"] == 10)
    };
    assert!(wait_until(PATIENCE, is_counted), "{sent} sent: {}", lab.json(&["drops"])?);
    let row = lab.reason("unassigned_service_address")?;
    let number = |name: &str| row[name].as_u64().unwrap_or_default();
    assert_eq!(number("sampled") + number("samples_lost"), number("count"), "{row}");
    assert!(number("sampled") > 10 && number("sampled") < 2000, "{row}");
    for field in ["rate", "rate_1m", "rate_1h"] {
        assert!(row[field].is_f64(), "{field}: {row}");
    }
    for field in ["first_seen", "last_seen", "meaning", "check"] {
        assert!(row[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {row}");
    }
    // Every packet of the rare reason has its sample, with its bytes.
    let rare = lab.reason("source_not_mapped")?;
    assert_eq!((&rare["sampled"], &rare["samples_lost"]), (&Value::from(10), &Value::from(0)), "{rare}");
    let samples = lab.json(&["drops", "--last", "20", "--reason", "source_not_mapped"])?;
    let payloads: Vec<_> = samples
        .as_array()
        .into_iter()
        .flatten()
        .map(|sample| {
            assert_eq!(
                (&sample["port"], &sample["queue"], &sample["layer"]),
                (&"v6".into(), &0.into(), &"ip".into())
            );
            assert_eq!(sample["length"], 40 + 8 + 10);
            let bytes = control_api_unhex(sample["bytes"].as_str().unwrap_or_default());
            assert_eq!(bytes[8..24], STRANGER.octets());
            bytes[48]
        })
        .collect();
    assert_eq!(payloads, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0], "newest first");
    let id = samples[0]["id"].as_u64().expect("a number");
    let (status, one) = get(&lab.path("control.sock"), &format!("/v1/drops/samples/{id}"));
    assert!(status.contains("200"), "{status}");
    assert_eq!(one, samples[0]);
    let (status, gone) = get(&lab.path("control.sock"), "/v1/drops/samples/999999999");
    assert!(status.contains("404") && gone["remedy"].as_str().is_some(), "{status} {gone}");
    // For people, and as a capture.
    let text = lab.good(&["drops"])?;
    for words in ["source_not_mapped", "unassigned_service_address", "without a drop"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(lab.good(&["drops", "--last"])?.contains("UDP"));
    let file = lab.path("dropped.pcapng");
    lab.good(&["drops", "--reason", "source_not_mapped", "--pcap", &file.display().to_string()])?;
    let read = tshark(&file, &["ipv6.src", "frame.comment"], "udp")?;
    assert_eq!(read.len(), 10);
    assert!(
        read.iter().all(|row| row[0] == STRANGER.to_string() && row[1].starts_with("source_not_mapped: ")),
        "{read:?}"
    );
    let unknown = lab.ctl(&["drops", "--reason", "nothing"]).run()?;
    assert!(!unknown.success() && unknown.text().contains("no drop reason"), "{}", unknown.text());
    lab.lab.assert_healthy()
}

fn control_api_unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// The IP packets of a file.
fn packets(file: &Path) -> Vec<Vec<u8>> {
    let capture = Capture::read(file).expect("a capture");
    let ip = |packet: capture::Packet<'_>| match packet.content() {
        Content::Ip(bytes) => bytes.to_vec(),
        Content::Ethernet(frame) => frame[14..].to_vec(),
        other => panic!("{other:?}"),
    };
    capture.packets().map(ip).collect()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_capture_has_pairs_that_translate_reproduces() -> TestResult {
    if skip_unless(&NEEDS) {
        return Ok(());
    }
    let mut lab = Observed::up()?;
    let file = lab.path("pairs.pcapng");
    let name = file.display().to_string();
    let wanted = "(host 192.0.2.1 and (udp port 7 or icmp)) or host 192.0.2.99";
    let capture =
        lab.start(&["capture", "--filter", wanted, "--count", "40", "--seconds", "60", "-w", &name]);
    assert!(wait_until(PATIENCE, || file.exists()));
    let server = udp_echo(&lab.lab.server, 7)?;
    let socket = udp_socket(&lab.lab.client, Ipv4Addr::UNSPECIFIED.into(), 0)?;
    let to = SocketAddr::from((SERVICE, 7));
    for size in [1, 2, 100, 1000, 1472] {
        // The first ones may come while the capture begins.
        assert!(echo_once(&socket, to, &vec![5; size])?);
    }
    for _ in 0..3 {
        socket.send_to(b"nobody", (UNASSIGNED, 7))?;
    }
    // Other traffic, which is not wanted.
    udp_socket(&lab.lab.client, Ipv4Addr::UNSPECIFIED.into(), 0)?.send_to(b"x", (SERVICE, 8))?;
    while echo_once(&socket, to, b"more").is_ok_and(|same| same) && !capture_is_over(&file) {}
    socket.send_to(b"quit", to)?;
    server.join().expect("the echo server does not panic");
    let (well, text) = capture.finish(Duration::from_secs(60));
    assert!(well && text.contains("40 captured, 0 lost"), "{text}");

    let fields = [
        "frame.interface_name",
        "frame.packet_id",
        "frame.interface_queue",
        "frame.comment",
        "frame.verdict.ebpf_xdp",
    ];
    let rows = tshark(&file, &fields, "frame")?;
    let before: Vec<_> = rows.iter().filter(|row| row[0].ends_with("/before")).collect();
    let after: Vec<_> = rows.iter().filter(|row| row[0].ends_with("/after")).collect();
    assert_eq!(before.len(), 40, "{rows:?}");
    assert_eq!(before.len() + after.len(), rows.len());
    for row in &after {
        let partner = before.iter().find(|before| before[1] == row[1]).expect("both sides have the same id");
        assert_eq!(partner[2..], row[2..], "queue, comment and verdict too");
    }
    let translated = "EAM 192.0.2.1/32 = 2001:db8:12:34::1/128 | translated";
    for row in &before {
        let has_after = after.iter().any(|after| after[1] == row[1]);
        match row[3].as_str() {
            comment if comment == translated => {
                assert_eq!((has_after, row[4].as_str()), (true, "4"), "{row:?}")
            }
            "no EAM | icmp_error | unassigned_service_address" => {
                assert_eq!((has_after, row[4].as_str()), (true, "3"))
            }
            "no EAM | dropped | unassigned_service_address" => {
                assert_eq!((has_after, row[4].as_str()), (false, "1"))
            }
            other => panic!("{other}: {row:?}"),
        }
    }
    let dropped = tshark(
        &file,
        &["ip.dst"],
        "frame.comment contains \"unassigned\" && frame.interface_name == \"v4/before\"",
    )?;
    assert_eq!(dropped.len(), 3, "{rows:?}");

    // tshark takes the file apart, translate gets the one half and makes the other. What editcap writes as pcapng, tshark 4.0
    // cannot read again: it takes the verdict for a queue. It does read ours.
    let whole = lab.path("whole.pcap").display().to_string();
    Cmd::new("editcap").args("-F pcap").arg(&name).arg(&whole).ok()?;
    let [as_came, as_went] = ["before", "after"].map(|side| lab.path(&format!("{side}.pcap")));
    for (side, part) in [("before", &as_came), ("after", &as_went)] {
        let filter =
            format!("frame.interface_name matches \"/{side}$\" && frame.comment contains \"translated\"");
        Cmd::new("tshark")
            .args("-F pcap -nr")
            .arg(&name)
            .arg("-Y")
            .arg(filter)
            .arg("-w")
            .arg(part.display().to_string())
            .timeout(60)
            .ok()?;
    }
    let config = lab.path("translate.toml");
    fs::write(&config, lab.lab.config.to_toml())?;
    let [out, report] = ["out.pcap", "report.jsonl"].map(|name| lab.path(name));
    let relay = relay_binary().expect("it is there").display().to_string();
    let arg = |path: &Path| path.display().to_string();
    let translate =
        Cmd::new(&relay).arg("translate").arg("--config").arg(arg(&config)).arg("--in").arg(arg(&as_came));
    translate.arg("--out").arg(arg(&out)).arg("--report").arg(arg(&report)).args("--ipv6-mtu 1520").ok()?;
    let report = fs::read_to_string(&report)?;
    assert!(report.lines().all(|line| line.contains("\"translated\"")), "{report}");
    let (ours, theirs) = (packets(&out), packets(&as_went));
    assert_eq!(ours.len(), report.lines().count());
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(comparable(ours), comparable(theirs));
    }
    lab.lab.assert_healthy()
}

/// Without what a translator chooses at random: the identification of an IPv4 packet, and the checksum over it.
fn comparable(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

/// The statistics are the last blocks of a file.
fn capture_is_over(file: &Path) -> bool {
    fs::read(file).is_ok_and(|bytes| {
        let tail = &bytes[bytes.len().saturating_sub(52)..];
        tail.first_chunk::<4>().is_some_and(|kind| *kind == [5, 0, 0, 0])
    })
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn readers_that_stop_lose_packets_and_hold_nobody_up() -> TestResult {
    if skip_unless(&NEEDS) {
        return Ok(());
    }
    let mut lab = Observed::up()?;
    let name = lab.path("slow.pcapng").display().to_string();
    let words = [
        "capture",
        "--filter",
        "host 192.0.2.99",
        "--count",
        "1000000",
        "--rate",
        "100000",
        "--seconds",
        "8",
        "-w",
        &name,
    ];
    let stopped = lab.start(&words);
    assert!(wait_until(PATIENCE, || lab.path("slow.pcapng").exists()));
    stopped.signal(Signal::SIGSTOP);
    let flood = lab.flood(Duration::from_secs(4))?;
    // A second reader gets everything meanwhile, and packets pass.
    let paths =
        ["trace", "--paths", "--filter", "host 192.0.2.1 and icmp", "--count", "4", "--seconds", "20"];
    let mut paths = lab.start(&paths);
    let ping = lab.lab.client.cmd("ping").args("-n -c1 -W1 192.0.2.1");
    assert!(wait_until(PATIENCE, || ping.run().is_ok_and(|output| output.success()) && paths.has_ended()));
    let (whole, text) = paths.finish(Duration::from_secs(1));
    assert!(whole && text.contains("translated"), "{text}");
    flood.join().expect("the flood does not panic");
    stopped.signal(Signal::SIGCONT);
    let (_, text) = stopped.finish(Duration::from_secs(60));
    // `1234 packets written to ...; 5000 matched, 1234 captured, 3766 lost: the time is over`
    let lost = text
        .split(" lost")
        .next()
        .and_then(|text| text.rsplit(' ').next())
        .and_then(|lost| lost.parse::<u64>().ok());
    assert!(lost > Some(0), "{text}");
    let statistics = Cmd::new("capinfos").arg(&name).run()?;
    assert!(statistics.success(), "{}", statistics.text());

    // More readers than there can be, all stopped: refused with a remedy, or forgotten once they die.
    let many: Vec<_> =
        (0..12).map(|_| lab.start(&["trace", "--count", "1000000", "--seconds", "600"])).collect();
    thread::sleep(Duration::from_secs(1));
    many.iter().for_each(|reader| reader.signal(Signal::SIGSTOP));
    let flood = lab.flood(Duration::from_secs(2))?;
    let refused = lab.ctl(&["trace", "--count", "1"]).run()?;
    assert!(
        !refused.success() && refused.text().contains("are under way, as many as can be"),
        "{}",
        refused.text()
    );
    flood.join().expect("the flood does not panic");
    assert!(lab.lab.pings(&lab.lab.client, "192.0.2.1"));
    drop(many);
    let again =
        || lab.ctl(&["trace", "--count", "1", "--seconds", "1"]).run().is_ok_and(|output| output.success());
    assert!(wait_until(Duration::from_secs(60), again), "captures end with their clients");
    lab.lab.assert_healthy()
}

/// Pages in memory of a process, in kB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim_end_matches("kB").trim().parse().ok()).expect("the relay runs")
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn thousands_of_readers_and_slow_ones_hold_nobody_up() -> TestResult {
    const READERS: usize = 2000;
    if skip_unless(&NEEDS) {
        return Ok(());
    }
    let mut lab = Observed::up()?;
    let pid = lab.lab.relay().pid();
    let before = resident(pid);
    let socket = lab.path("control.sock");
    // One reads as slowly as it may, a kilobyte at a time.
    let mut slow = UnixStream::connect(&socket).expect("the relay listens");
    slow.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
    write!(slow, "GET /v1/capture?count=1000000&seconds=6&rate=100000 HTTP/1.1\r\nhost: relay\r\n\r\n")
        .expect("it reads");
    let mut piece = [0; 1024];
    let begun = slow.read(&mut piece).expect("it begins");
    assert!(String::from_utf8_lossy(&piece[..begun]).contains("200 OK"));
    let slow = thread::spawn(move || {
        let mut text = Vec::new();
        while let Ok(length @ 1..) = slow.read(&mut piece) {
            text.extend_from_slice(&piece[..length]);
            let is_over =
                String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).contains("\"end\"");
            if is_over {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        text
    });
    let flood = lab.flood(Duration::from_secs(5))?;
    // Thousands ask for streams, pages and drops, and read nothing of them; most find no place, and some none to connect to.
    let mut asked = 0;
    let readers: Vec<_> = (0..READERS)
        .filter_map(|number| {
            let stream = UnixStream::connect(&socket).ok()?;
            stream.set_write_timeout(Some(Duration::from_millis(200))).ok()?;
            let target = ["/v1/capture?count=1000000&seconds=60", "/v1/metrics", "/v1/drops", "/v1/events"]
                [number % 4];
            let sent = write!(&stream, "GET {target} HTTP/1.1\r\nhost: relay\r\n\r\n").is_ok();
            asked += usize::from(sent);
            Some(stream)
        })
        .collect();
    assert!(lab.lab.pings(&lab.lab.client, "192.0.2.1"), "packets pass");
    let grown = resident(pid).saturating_sub(before);
    println!("{asked} of {READERS} could ask; the relay grew by {grown} kB");
    assert!(asked >= 64 && grown < 128 << 10, "{asked} asked, {grown} kB");
    flood.join().expect("the flood does not panic");
    drop(readers);
    let text = slow.join().expect("the reader does not panic");
    let text = String::from_utf8_lossy(&text);
    // Chunks of HTTP lie between the lines.
    let end = text.rsplit_once("\"end\"").map(|(_, end)| end.to_owned()).unwrap_or_default();
    let lost = end.split("\"lost\":").nth(1).and_then(|rest| rest.split([',', '}']).next());
    let lost: u64 = lost.and_then(|lost| lost.parse().ok()).unwrap_or_default();
    assert!(lost > 0, "{end}: a slow reader is told of what it lost");
    assert!(wait_until(Duration::from_secs(60), || lab
        .ctl(&["status"])
        .run()
        .is_ok_and(|run| run.success())));
    let again =
        || lab.ctl(&["trace", "--count", "1", "--seconds", "1"]).run().is_ok_and(|output| output.success());
    assert!(wait_until(Duration::from_secs(60), again), "captures end with their clients");
    lab.lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn what_the_control_thread_drops_is_sampled_as_well() -> TestResult {
    if skip_unless(&NEEDS) {
        return Ok(());
    }
    let mut lab = Observed::up()?;
    // A service whose server is not there.
    lab.good(&["eam", "add", "192.0.2.7", "2001:db8:12:34::7"])?;
    let socket = udp_socket(&lab.lab.client, Ipv4Addr::UNSPECIFIED.into(), 0)?;
    let lost = ["neighbor_failed", "neighbor_wait_expired"];
    let sample = |lab: &Observed| {
        let samples = lost.map(|reason| lab.json(&["drops", "--last", "5", "--reason", reason]));
        samples.into_iter().flatten().find_map(|samples| samples.get(0).cloned())
    };
    let is_sampled = || {
        socket.send_to(b"is anybody there?", (Ipv4Addr::new(192, 0, 2, 7), 7)).ok();
        sample(&lab).is_some()
    };
    assert!(wait_until(PATIENCE, is_sampled), "{}", lab.good(&["drops"])?);
    let sample = sample(&lab).expect("it was there a moment ago");
    assert_eq!(
        (&sample["control"], &sample["layer"], &sample["port"]),
        (&true.into(), &"ip".into(), &"v6".into())
    );
    let bytes = control_api_unhex(sample["bytes"].as_str().unwrap_or_default());
    let server = Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x34, 0, 0, 0, 7);
    assert_eq!(bytes[24..40], server.octets(), "as it would have left");
    assert!(bytes.ends_with(b"is anybody there?"));
    for reason in lost {
        let row = lab.reason(reason)?;
        let number = |name: &str| row[name].as_u64().unwrap_or_default();
        assert_eq!(number("sampled") + number("samples_lost"), number("count"), "{row}");
    }
    let id = sample["id"].to_string();
    let explained = lab.ctl(&["explain", "--last-drop", &id]).run()?;
    assert!(!explained.success() && explained.text().contains("borderctl neighbors"), "{}", explained.text());
    assert!(lab.good(&["drops", "--last", "5"])?.contains("control"));
    let status = lab.good(&["status"])?;
    assert!(status.contains("2001:db8:12:34::7 (service 192.0.2.7) on bl-v6 does not answer"), "{status}");
    lab.lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_trace_shows_each_packet_and_the_ways_they_take() -> TestResult {
    if skip_unless(&NEEDS) {
        return Ok(());
    }
    let mut lab = Observed::up()?;
    let ping = lab.lab.client.cmd("ping").args("-n -i0.1 -W1 -c100 192.0.2.1").timeout(60);
    let ping = thread::spawn(move || ping.run());
    let text = lab.good(&["trace", "--filter", "icmp", "--count", "6", "--seconds", "30"])?;
    assert_eq!(text.lines().count(), 6, "{text}");
    for words in [
        "ICMP 203.0.113.50 > 192.0.2.1 type 8",
        "translated => v6 ICMPv6",
        "EAM 192.0.2.1/32 = 2001:db8:12:34::1/128",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let ways = lab.json(&["trace", "--paths", "--filter", "icmp", "--count", "10", "--seconds", "30"])?;
    let path = |at: usize| ways["paths"][at]["path"].as_str().unwrap_or_default().to_owned();
    let expected =
        ["v4 > ipv4 > express > translated > ipv6 > v6", "v6 > ipv6 > express > translated > ipv4 > v4"];
    assert!(expected.contains(&path(0).as_str()) && expected.contains(&path(1).as_str()), "{ways}");
    assert!(lab.good(&["trace", "--paths", "--filter", "icmp", "--count", "4"])?.contains("50.0 %"));
    let wrong = lab.ctl(&["trace", "--filter", "host 192.0.2.1 and prot 5"]).run()?;
    let caret = format!("at character {}", "host 192.0.2.1 and ".len() + 1);
    assert!(!wrong.success() && wrong.stderr.contains(&caret), "{}", wrong.stderr);
    let ping = ping.join().expect("the thread does not panic")?;
    assert!(ping.stdout.contains(" 0% packet loss"), "{}", ping.text());
    lab.lab.assert_healthy()
}
