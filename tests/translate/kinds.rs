//! The kinds of captures people have.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::BORDERLINE;
use crate::pcap::{self, ETHERNET, Order, Pcap, Pcapng, RAW};
use crate::{CONFIG, UDP_V4, UDP_V4_IN_V6, UDP_V6, Work, bytes, frame, translated};

fn with_header(header: &str, packet: &str) -> Vec<u8> {
    [bytes(header), bytes(packet)].concat()
}

#[test]
fn cooked_and_loopback_captures_are_read() {
    let sll = |kind: &str, protocol: &str| format!("{kind}00010006020000000010{}{protocol}", "0000");
    let sll2 =
        |kind: &str, protocol: &str| format!("{protocol}0000000000020001{kind}06020000000010{}", "0000");
    for (link, header4, header6, other) in [
        (113, sll("0000", "0800"), sll("0000", "86dd"), sll("0000", "0806")),
        (276, sll2("00", "0800"), sll2("00", "86dd"), sll2("00", "0806")),
        (0, "02000000".to_owned(), "1e000000".to_owned(), "63000000".to_owned()),
        (0, "00000002".to_owned(), "0000000a".to_owned(), "00000063".to_owned()),
        (108, "00000002".to_owned(), "00000018".to_owned(), "00000063".to_owned()),
    ] {
        let packets = [
            with_header(&header4, UDP_V4),
            with_header(&header6, UDP_V6),
            // The header decides, as an EtherType does.
            with_header(&header6, UDP_V4),
            with_header(&other, UDP_V4),
            bytes(&header4)[..3].to_vec(),
        ];
        let translated = translated(&Pcap::new(link, &packets).file());
        let verdicts = translated.verdicts();
        let other = if link == 113 || link == 276 { "arp" } else { "ether_type" };
        assert_eq!(
            verdicts,
            [
                ("translated", None),
                ("translated", None),
                ("dropped", Some("ipv6_header_invalid")),
                ("punted", Some(other)),
                ("dropped", Some("frame_too_short")),
            ],
            "{link}"
        );
        assert_eq!(translated.out[0].bytes, bytes(UDP_V4_IN_V6));
    }
}

/// RFC 1812 section 4.3.2.7: no error about what came to everybody. RFC 1122 section 3.3.6: nor is it forwarded.
#[test]
fn frames_for_everybody_are_judged_as_on_a_port() {
    let mut to_all = frame("", "0800", &bytes(UDP_V4));
    to_all[..6].fill(0xff);
    let mut to_some = frame("", "86dd", &bytes(UDP_V6));
    to_some[0] |= 1;
    let translated = translated(&Pcap::new(ETHERNET, &[to_all, to_some]).file());
    assert_eq!(translated.verdicts(), [("dropped", Some("link_broadcast")); 2]);
    let cooked = with_header("00010001000602000000001000000800", UDP_V4);
    let translated = self::translated(&Pcap::new(113, &[cooked]).file());
    assert_eq!(translated.verdicts(), [("dropped", Some("link_broadcast"))]);
}

#[test]
fn a_frame_check_sequence_is_no_part_of_the_frame() {
    let mut with_fcs = frame("", "0800", &bytes(UDP_V4));
    with_fcs.extend([0xde, 0xad, 0xbe, 0xef]);
    let mut capture = Pcap::new(ETHERNET | 1 << 26 | 2 << 28, &[with_fcs.clone(), with_fcs]);
    // A snapshot length that took nothing but the sequence.
    capture.records[1].bytes.truncate(14 + 32);
    let translated = translated(&capture.file());
    assert_eq!(translated.verdicts(), [("translated", None); 2]);
    assert_eq!(translated.out[1].bytes, bytes(UDP_V4_IN_V6));
}

#[test]
fn zeros_behind_the_last_packet_are_no_packets() {
    for zeros in [1, 16, 4096] {
        for mut file in [
            Pcap::new(RAW, &[bytes(UDP_V4)]).file(),
            Pcapng::new(Order::Big).interface(101, None).packet(0, 0, &bytes(UDP_V4)).file(),
        ] {
            file.resize(file.len() + zeros, 0);
            assert_eq!(translated(&file).verdicts(), [("translated", None)], "{zeros}");
        }
    }
}

#[test]
fn a_packet_without_bytes_between_others_is_one() {
    let mut capture = Pcap::new(RAW, &[Vec::new(), bytes(UDP_V4)]);
    capture.records[0].seconds = 0;
    capture.records[0].fraction = 0;
    let verdicts = translated(&capture.file()).lines.len();
    assert_eq!(verdicts, 2);
}

#[test]
fn obsolete_packet_blocks_are_read() {
    for order in [Order::Little, Order::Big] {
        let capture = Pcapng::new(order)
            .interface(1, None)
            .interface(276, None)
            .interface(101, None)
            .old_packet(2, &bytes(UDP_V4))
            .old_packet(0, &frame("", "86dd", &bytes(UDP_V6)))
            .file();
        assert_eq!(translated(&capture).verdicts(), [("translated", None); 2], "{order:?}");
    }
}

/// Each interface has its own link type; packets of one we do not know are lines.
#[test]
fn one_interface_nobody_knows_does_not_end_a_capture() {
    let capture = Pcapng::new(Order::Little)
        .interface(105, None)
        .interface(101, None)
        .packet(0, 0, &[1, 2, 3])
        .packet(1, 0, &bytes(UDP_V4))
        .file();
    assert_eq!(translated(&capture).verdicts(), [("unknown", Some("link_type")), ("translated", None)]);
}

fn gzip(file: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(file).unwrap();
    packed.finish().unwrap()
}

#[test]
fn compressed_captures_are_read() {
    let file = Pcap::new(RAW, &[bytes(UDP_V4), bytes(UDP_V6)]).file();
    let packed = gzip(&file);
    assert_eq!(translated(&packed).verdicts(), [("translated", None); 2]);
    // Two files one after the other are one, as for zcat.
    let (first, second) = file.split_at(30);
    assert_eq!(translated(&[gzip(first), gzip(second)].concat()).verdicts(), [("translated", None); 2]);
    Work::new(CONFIG, &packed[..packed.len() - 9])
        .refused(&["in.pcap: the file ends in the middle of packet"]);
    Work::new(CONFIG, &gzip(b"no capture")).refused(&["in.pcap: not a capture"]);
}

#[test]
fn a_capture_comes_and_goes_through_pipes() {
    let work = Work::new(CONFIG, &[]);
    let mut command = Command::new(BORDERLINE);
    command.args(["translate", "--in", "-", "--out", "-", "--config"]).arg(work.path("relay.toml"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let file = gzip(&Pcap::new(RAW, &[bytes(UDP_V4)]).file());
    child.stdin.take().unwrap().write_all(&file).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(pcap::read(&output.stdout)[0].bytes, bytes(UDP_V4_IN_V6));
    let arguments = ["translate", "--in", "x", "--out", "-", "--report", "-", "--config"].map(str::to_owned);
    let config = work.path("relay.toml").to_str().unwrap().to_owned();
    let run = crate::common::Run::borderline(arguments.into_iter().chain([config]));
    run.failed_with(1, &["--out and --report both name standard output"]);
}
