//! `borderline translate` as its users run it: capture files in, capture files and reports out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../common/mod.rs"]
mod common;
mod compare;
mod field;
mod fieldcases;
mod golden;
mod kinds;
mod pcap;

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use tempfile::TempDir;

use common::Run;
use pcap::{ETHERNET, Order, Pcap, Pcapng, RAW, Record};

const CONFIG: &str = r#"
[translation]
prefixes = ["2001:db8:46::/96"]
service_pools = ["192.0.2.0/24"]
icmp_source_pool = ["198.51.100.1"]
[[eam]]
ipv4 = "192.0.2.1"
ipv6 = "2001:db8:12:34::1"
"#;

/// UDP from 203.0.113.50 to the service address 192.0.2.1, four bytes of payload.
const UDP_V4: &str = "450000200000000040117c99cb007132c00002019c400035000c612601020304";
/// What becomes of it.
const UDP_V4_IN_V6: &str = "60000000000c113f20010db80046000000000000cb00713220010db80012003400000000000000019c400035000cc72801020304";
/// The answer, in IPv6.
const UDP_V6: &str = "60000000000c114020010db800120034000000000000000120010db80046000000000000cb00713200359c40000cc72801020304";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// One line of the report: exactly these fields.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Line {
    packet: usize,
    verdict: String,
    /// Present in every line, null where there is none.
    #[serde(deserialize_with = "Option::deserialize")]
    reason: Option<String>,
    out: Vec<usize>,
}

/// A directory with a configuration and a capture.
struct Work(TempDir);

/// What a good run left.
struct Translated {
    lines: Vec<Line>,
    out: Vec<Record>,
}

impl Translated {
    /// The packets that left because of one.
    fn packets(&self, line: &Line) -> &[Record] {
        let first = line.out.first().copied().unwrap_or_default();
        &self.out[first..first + line.out.len()]
    }

    /// Verdict and reason of each packet.
    fn verdicts(&self) -> Vec<(&str, Option<&str>)> {
        self.lines.iter().map(|line| (line.verdict.as_str(), line.reason.as_deref())).collect()
    }
}

impl Work {
    fn new(config: &str, capture: &[u8]) -> Self {
        let work = Self(TempDir::new().unwrap());
        fs::write(work.path("relay.toml"), config).unwrap();
        fs::write(work.path("in.pcap"), capture).unwrap();
        work
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the program on these files; later arguments win over none, so give each option once.
    fn run_on(&self, input: &str, output: &str, report: &str, more: &[String]) -> Run {
        let mut arguments = vec!["translate".to_owned()];
        for (option, name) in
            [("--config", "relay.toml"), ("--in", input), ("--out", output), ("--report", report)]
        {
            arguments.push(option.to_owned());
            arguments.push(self.path(name).to_str().unwrap().to_owned());
        }
        arguments.extend_from_slice(more);
        Run::borderline(arguments)
    }

    fn run(&self, more: &[String]) -> Run {
        self.run_on("in.pcap", "out.pcap", "report.jsonl", more)
    }

    /// Runs the program, which must succeed, and reads what it wrote.
    fn translated(&self, more: &[String]) -> Translated {
        let run = self.run(more);
        assert_eq!((run.status, run.stdout.as_str()), (Some(0), ""), "{run:#?}");
        let report = fs::read_to_string(self.path("report.jsonl")).unwrap();
        let lines: Vec<Line> = report
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
            .collect();
        let out = pcap::read(&fs::read(self.path("out.pcap")).unwrap());
        for (index, line) in lines.iter().enumerate() {
            assert_eq!(line.packet, index);
        }
        let indices: Vec<usize> = lines.iter().flat_map(|line| line.out.iter().copied()).collect();
        assert_eq!(
            indices,
            (0..out.len()).collect::<Vec<_>>(),
            "each packet out belongs to one packet in, in order"
        );
        Translated { lines, out }
    }

    /// Runs the program, which must refuse the capture with status 1 and these words, and write nothing.
    #[track_caller]
    fn refused(&self, words: &[&str]) {
        self.run(&[]).failed_with(1, words);
        assert!(!self.path("out.pcap").exists() && !self.path("report.jsonl").exists());
    }
}

/// Runs the program on a capture with [`CONFIG`].
fn translated(capture: &[u8]) -> Translated {
    Work::new(CONFIG, capture).translated(&[])
}

fn frame(tags: &str, ether_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut frame = bytes(&format!("0200000000040200000000ee{tags}{ether_type}"));
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn ethernet_frames_lose_header_tag_and_padding() {
    let padded = |mut frame: Vec<u8>| {
        frame.resize(60, 0xaa);
        frame
    };
    let frames = [
        frame("", "0800", &bytes(UDP_V4)),
        padded(frame("", "0800", &bytes(UDP_V4))),
        frame("81000064", "0800", &bytes(UDP_V4)),
        padded(frame("81000000", "0800", &bytes(UDP_V4))),
    ];
    let translated = translated(&Pcap::new(ETHERNET, &frames).file());
    assert_eq!(translated.verdicts(), [("translated", None); 4]);
    for record in &translated.out {
        assert_eq!(record.bytes, bytes(UDP_V4_IN_V6));
    }
}

#[test]
fn frames_without_an_ip_packet_are_told_apart() {
    let arp = bytes("00010800060400010200000000eecb00713200000000000000c0000201");
    let frames = [
        frame("", "0806", &arp),
        frame("", "88cc", &[0; 46]),
        frame("88a80064", "8100", &bytes(UDP_V4)),
        // The EtherType decides, as on a port.
        frame("", "86dd", &bytes(UDP_V4)),
        frame("", "0800", &bytes(UDP_V6)),
        frame("", "0800", &[]),
        bytes("020000000004"),
        frame("", "8100", &[0]),
    ];
    let translated = translated(&Pcap::new(ETHERNET, &frames).file());
    assert_eq!(
        translated.verdicts(),
        [
            ("punted", Some("arp")),
            ("punted", Some("ether_type")),
            ("punted", Some("ether_type")),
            ("dropped", Some("ipv6_header_invalid")),
            ("dropped", Some("ipv4_header_invalid")),
            ("dropped", Some("ipv4_header_invalid")),
            ("dropped", Some("frame_too_short")),
            ("dropped", Some("frame_too_short")),
        ]
    );
    assert!(translated.out.is_empty());
}

#[test]
fn the_report_tells_every_verdict() {
    let mut expired = bytes(UDP_V4);
    expired[8] = 1;
    expired[10..12].copy_from_slice(&[0xbb, 0x99]);
    let mut unassigned = bytes(UDP_V4);
    unassigned[19] = 99;
    unassigned[10..12].copy_from_slice(&[0x7c, 0x37]);
    let mut elsewhere = bytes(UDP_V6);
    elsewhere[24..28].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb9]);
    let mut to_all_nodes = bytes(UDP_V6);
    to_all_nodes[24] = 0xff;
    // From the mapped host to its own service address: there and back.
    let mut round = bytes(UDP_V6);
    round[36..40].copy_from_slice(&[192, 0, 2, 1]);
    let mut broken = bytes(UDP_V4);
    broken[10] ^= 1;
    let packets = [bytes(UDP_V4), expired, unassigned, elsewhere, to_all_nodes, round, broken, Vec::new()];
    let translated = translated(&Pcap::new(RAW, &packets).file());
    assert_eq!(
        translated.verdicts(),
        [
            ("translated", None),
            ("icmp_error", Some("hop_limit_exceeded")),
            ("icmp_error", Some("unassigned_service_address")),
            ("native", None),
            ("punted", Some("local_scope")),
            ("hairpinned", None),
            ("dropped", Some("ipv4_header_checksum")),
            ("dropped", Some("ipv4_header_invalid")),
        ]
    );
    let out: Vec<&[usize]> = translated.lines.iter().map(|line| line.out.as_slice()).collect();
    assert_eq!(out, [&[0][..], &[1], &[2], &[], &[], &[3], &[], &[]]);
}

#[test]
fn every_kind_of_pcap_is_read_and_keeps_its_timestamps() {
    for order in [Order::Little, Order::Big] {
        for nanoseconds in [false, true] {
            let mut capture = Pcap::new(RAW, &[bytes(UDP_V4), bytes(UDP_V6)]);
            capture.order = order;
            capture.nanoseconds = nanoseconds;
            capture.records[1].seconds = 1;
            if nanoseconds {
                capture.records[0].fraction = 123_456_789;
            }
            let translated = translated(&capture.file());
            let times: Vec<(u32, u32)> =
                translated.out.iter().map(|record| (record.seconds, record.fraction)).collect();
            let second = if nanoseconds { 123 } else { 123_456 };
            assert_eq!(times, [(1_700_000_000, 123_456), (1, second)], "{order:?} {nanoseconds}");
            assert_eq!(translated.out[0].bytes, bytes(UDP_V4_IN_V6));
        }
    }
}

#[test]
fn link_types_of_one_family_are_raw_ip() {
    for (link, packet) in [(101, UDP_V4), (12, UDP_V6), (14, UDP_V4), (228, UDP_V4), (229, UDP_V6)] {
        let translated = translated(&Pcap::new(link, &[bytes(packet)]).file());
        assert_eq!(translated.verdicts(), [("translated", None)], "{link}");
    }
}

#[test]
fn pcapng_is_read_with_several_interfaces_and_time_units() {
    for order in [Order::Little, Order::Big] {
        let seconds = 1_700_000_000_u64;
        let capture = Pcapng::new(order)
            .interface(101, None)
            .names()
            .interface(1, Some(9))
            .interface(101, Some(0x80 | 20))
            .packet(0, seconds * 1_000_000 + 123_456, &bytes(UDP_V4))
            .packet(1, seconds * 1_000_000_000 + 123_456_789, &frame("", "0800", &bytes(UDP_V4)))
            .packet(2, (seconds << 20) + (1 << 19), &bytes(UDP_V4))
            .simple_packet(&bytes(UDP_V4)[..31])
            .simple_packet(&bytes(UDP_V4))
            .file();
        let translated = translated(&capture);
        let ok = ("translated", None);
        // 31 bytes are one too few, and the padding behind them is none of the packet's.
        let truncated = ("dropped", Some("ipv4_truncated"));
        assert_eq!(translated.verdicts(), [ok, ok, ok, truncated, ok], "{order:?}");
        let times: Vec<(u32, u32)> =
            translated.out.iter().map(|record| (record.seconds, record.fraction)).collect();
        let second = 1_700_000_000;
        assert_eq!(times, [(second, 123_456), (second, 123_456), (second, 500_000), (0, 0)], "{order:?}");
    }
}

#[test]
fn an_empty_capture_gives_an_empty_capture() {
    let translated = translated(&Pcap::new::<[u8; 0]>(RAW, &[]).file());
    assert!(translated.lines.is_empty() && translated.out.is_empty());
    let translated = self::translated(&Pcapng::new(Order::Little).file());
    assert!(translated.lines.is_empty() && translated.out.is_empty());
}

#[test]
fn the_snapshot_length_of_the_file_is_no_limit_for_whole_packets() {
    for snapshot in [0, 16, 65_535] {
        let mut capture = Pcap::new(RAW, &[bytes(UDP_V4)]);
        capture.snapshot = snapshot;
        assert_eq!(translated(&capture.file()).verdicts(), [("translated", None)]);
    }
}

#[test]
fn a_packet_captured_in_part_is_a_line_and_not_the_end() {
    let mut capture = Pcap::new(RAW, &[bytes(UDP_V4), bytes(UDP_V4), bytes(UDP_V4)]);
    capture.snapshot = 24;
    capture.records[1].bytes.truncate(24);
    let translated = translated(&capture.file());
    let ok = ("translated", None);
    assert_eq!(translated.verdicts(), [ok, ("unknown", Some("captured_in_part")), ok]);
    assert_eq!(translated.out.len(), 2);
}

#[test]
fn a_capture_that_ends_too_early_is_refused_with_the_place() {
    let whole = Pcap::new(RAW, &[bytes(UDP_V4), bytes(UDP_V4)]).file();
    let second = 24 + 16 + 32;
    // The first byte of the second record is 0, and might be padding.
    for length in [second + 2, second + 15, second + 16, whole.len() - 1] {
        let words = ["in.pcap: the file ends in the middle of packet 1", "complete pcap or pcapng file"];
        Work::new(CONFIG, &whole[..length]).refused(&words);
    }
    let whole = Pcapng::new(Order::Little)
        .interface(101, None)
        .packet(0, 0, &bytes(UDP_V4))
        .packet(0, 0, &bytes(UDP_V4))
        .file();
    for missing in [1, 4, 40] {
        let words = ["in.pcap: the file ends in the middle of packet 1", "complete pcap or pcapng file"];
        Work::new(CONFIG, &whole[..whole.len() - missing]).refused(&words);
    }
}

#[test]
fn what_is_no_capture_is_refused() {
    let words = ["in.pcap: not a capture: give a pcap or pcapng file"];
    let whole = Pcap::new(RAW, &[bytes(UDP_V4)]).file();
    let section = Pcapng::new(Order::Big).file();
    for file in [
        &[][..],
        &whole[..3],
        &whole[..23],
        &section[..20],
        b"192.0.2.1,2001:db8:12:34::1\n",
        b"<?xml version=\"1.0\"?><!-- long enough for a header -->",
    ] {
        Work::new(CONFIG, file).refused(&words);
    }
}

#[test]
fn a_capture_that_contradicts_itself_is_refused_with_the_place() {
    // A block length that is no multiple of four.
    let mut file = Pcapng::new(Order::Little).interface(101, None).file();
    let next = file.len();
    file.extend(Pcapng::new(Order::Little).file());
    file[next..next + 4].copy_from_slice(&6_u32.to_le_bytes());
    file[next + 4] = 33;
    Work::new(CONFIG, &file).refused(&["in.pcap: packet 0: ", "give a complete pcap or pcapng file"]);
}

#[test]
fn other_link_types_are_refused_by_name() {
    for (link, name) in [(127, "127 (IEEE802_11_RADIOTAP)"), (4242, "4242")] {
        let words =
            ["in.pcap: link type ", name, "is not supported: capture on an interface with Ethernet (1)"];
        Work::new(CONFIG, &Pcap::new(link, &[bytes(UDP_V4)]).file()).refused(&words);
    }
    let file = Pcapng::new(Order::Little).interface(105, None).packet(0, 0, &bytes(UDP_V4)).file();
    Work::new(CONFIG, &file).refused(&["in.pcap: link type 105 (IEEE802_11) is not supported"]);
}

#[test]
fn files_that_cannot_be_opened_are_named() {
    let work = Work::new(CONFIG, &Pcap::new(RAW, &[bytes(UDP_V4)]).file());
    for (input, output, report, words) in [
        ("none.pcap", "out.pcap", "report.jsonl", "none.pcap: No such file"),
        (".", "out.pcap", "report.jsonl", "Is a directory"),
        ("in.pcap", "no/out.pcap", "report.jsonl", "no/out.pcap: No such file"),
        ("in.pcap", ".", "report.jsonl", "Is a directory"),
        ("in.pcap", "out.pcap", "no/report.jsonl", "no/report.jsonl: No such file"),
        ("in.pcap", "../../dev/full", "report.jsonl", "No space left on device"),
        ("in.pcap", "out.pcap", "../../dev/full", "No space left on device"),
    ] {
        work.run_on(input, output, report, &[]).failed_with(1, &["borderline: ", words]);
    }
}

#[test]
fn the_report_may_be_left_out() {
    let work = Work::new(CONFIG, &Pcap::new(RAW, &[bytes(UDP_V4)]).file());
    let arguments = ["--config", "relay.toml", "--in", "in.pcap", "--out", "out.pcap"];
    let paths = arguments.map(|word| match word.strip_prefix("--") {
        Some(_) => word.to_owned(),
        None => work.path(word).to_str().unwrap().to_owned(),
    });
    let run = Run::borderline(std::iter::once("translate".to_owned()).chain(paths));
    assert_eq!(run.status, Some(0), "{run:#?}");
    assert_eq!(pcap::read(&fs::read(work.path("out.pcap")).unwrap()).len(), 1);
    assert!(!work.path("report.jsonl").exists());
}

#[test]
fn ports_and_workers_of_the_configuration_do_not_matter() {
    let config =
        format!("[dpdk]\nworkers = [999]\n[[port]]\nname = \"v4\"\ndevice = \"net_null0\"\n{CONFIG}");
    let translated = Work::new(&config, &Pcap::new(RAW, &[bytes(UDP_V4)]).file()).translated(&[]);
    assert_eq!(translated.verdicts(), [("translated", None)]);
}

#[test]
fn a_bad_configuration_is_status_2_with_every_problem() {
    let config = "[translation]\nprefixes = [\"2001:db8::/97\"]\nhairpn = \"off\"\n";
    let work = Work::new(config, &Pcap::new(RAW, &[bytes(UDP_V4)]).file());
    let run = work.run(&[]);
    run.failed_with(2, &["relay.toml:2:", "2001:db8::/97", "relay.toml:3:", "hairpin"]);
    assert!(!work.path("out.pcap").exists());
    fs::remove_file(work.path("relay.toml")).unwrap();
    work.run(&[]).failed_with(2, &["relay.toml: cannot be read"]);
}

#[test]
fn bad_usage_is_status_2() {
    let work = Work::new(CONFIG, &Pcap::new(RAW, &[bytes(UDP_V4)]).file());
    for (option, value, word) in [
        ("--ipv6-mtu", "1279", "1279 is not in 1280..=65535"),
        ("--ipv4-mtu", "67", "67 is not in 68..=65535"),
        ("--ipv4-address", "2001:db8::1", "invalid value '2001:db8::1'"),
        ("--ipv6-address", "192.0.2.1", "invalid value '192.0.2.1'"),
        ("--in", "other.pcap", "cannot be used multiple times"),
    ] {
        work.run(&[option.to_owned(), value.to_owned()]).failed_with(2, &[word, "--help"]);
    }
    Run::borderline(["translate", "--config", "relay.toml"])
        .failed_with(2, &["--in <IN.pcap>", "--out <OUT.pcap>", "Usage: borderline translate"]);
}

#[test]
fn icmp_errors_come_from_the_given_addresses() {
    let mut expired = bytes(UDP_V6);
    expired[7] = 1;
    let work = Work::new(CONFIG, &Pcap::new(RAW, &[expired]).file());
    let translated = work.translated(&["--ipv6-address".to_owned(), "2001:db8::99".to_owned()]);
    assert_eq!(translated.verdicts(), [("icmp_error", Some("hop_limit_exceeded"))]);
    assert_eq!(translated.out[0].bytes[8..24], bytes("20010db8000000000000000000000099"));
}

#[test]
fn no_rate_limit_applies() {
    let mut expired = bytes(UDP_V6);
    expired[7] = 1;
    let config = CONFIG.replace("[[eam]]", "icmp_errors = \"limit\"\nicmp_error_rate = 1\n[[eam]]");
    let translated = Work::new(&config, &Pcap::new(RAW, &vec![expired; 50]).file()).translated(&[]);
    assert_eq!(translated.out.len(), 50);
}
