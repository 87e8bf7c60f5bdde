//! `borderline compare`: another translator is played by our own, with one thing made different at a time.

use std::fs;

use serde_json::Value;

use crate::common::Run;
use crate::pcap::{Pcap, RAW};
use crate::{CONFIG, UDP_V4, UDP_V6, Work, bytes};

/// A packet that expires here.
fn expired() -> Vec<u8> {
    let mut expired = bytes(UDP_V4);
    expired[8] = 1;
    expired[10..12].copy_from_slice(&[0xbb, 0x99]);
    expired
}

/// A UDP datagram of 1400 bytes from the client, without DF.
fn large() -> Vec<u8> {
    let mut packet = bytes(UDP_V4);
    packet.resize(1400, 0x55);
    packet[2..4].copy_from_slice(&1400_u16.to_be_bytes());
    packet[24..26].copy_from_slice(&1380_u16.to_be_bytes());
    packet[4..6].copy_from_slice(&[0x12, 0x34]);
    sealed(packet)
}

/// An IPv4 packet with the right header checksum.
fn sealed(mut packet: Vec<u8>) -> Vec<u8> {
    packet[10..12].fill(0);
    let sum: u32 = packet[..20].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// What our own translator makes of the packets.
fn ours(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let work = Work::new(CONFIG, &Pcap::new(RAW, packets).file());
    work.translated(&[]).out.into_iter().map(|record| record.bytes).collect()
}

fn run(before: &[Vec<u8>], after: &[Vec<u8>], more: &[&str]) -> Run {
    let work = Work::new(CONFIG, &Pcap::new(RAW, before).file());
    fs::write(work.path("after.pcap"), Pcap::new(RAW, after).file()).unwrap();
    let path = |name| work.path(name).to_str().unwrap().to_owned();
    let mut arguments = vec!["compare".to_owned(), "--config".to_owned(), path("relay.toml")];
    arguments.extend(["--before".to_owned(), path("in.pcap"), "--after".to_owned(), path("after.pcap")]);
    arguments.extend(more.iter().map(ToString::to_string));
    Run::borderline(arguments)
}

fn compared(before: &[Vec<u8>], after: &[Vec<u8>]) -> Value {
    let run = run(before, after, &["--json"]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    serde_json::from_str(&run.stdout).unwrap()
}

fn counts(report: &Value) -> [u64; 5] {
    ["equal", "both_silent", "different", "missing", "extra"]
        .map(|name| report["counts"][name].as_u64().unwrap())
}

/// The requirement of each difference, with what it says about the first packet.
fn differences(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let groups = report["differences"].as_array().unwrap().iter();
    groups.map(|group| (text(&group["requirement"]), text(&group["packets"][0]["what"]))).collect()
}

#[test]
fn the_same_translator_shows_no_difference_whatever_the_order() {
    let before = [bytes(UDP_V4), bytes(UDP_V6), large(), expired()];
    let mut after = ours(&before);
    let report = compared(&before, &after);
    assert_eq!((counts(&report), differences(&report)), ([4, 0, 0, 0, 0], Vec::new()), "{report:#}");
    after.reverse();
    assert_eq!(counts(&compared(&before, &after)), [4, 0, 0, 0, 0]);
    // Captured on both sides: each file has what goes in there and what comes out there.
    let (to6, to4) = (ours(&[bytes(UDP_V4)]).remove(0), ours(&[bytes(UDP_V6)]).remove(0));
    let report = compared(&[bytes(UDP_V4), to4], &[to6, bytes(UDP_V6)]);
    assert_eq!((counts(&report), differences(&report)), ([2, 0, 0, 0, 0], Vec::new()), "{report:#}");
}

#[test]
fn the_identification_of_whole_packets_is_anybodys() {
    let before = [bytes(UDP_V6)];
    let mut after = ours(&before).remove(0);
    after[4] ^= 0x5a;
    assert_eq!(counts(&compared(&before, &[sealed(after)])), [1, 0, 0, 0, 0]);
}

#[test]
fn each_field_that_differs_is_named_with_its_requirement() {
    let changed = |input: &str, change: fn(&mut Vec<u8>)| {
        let before = [bytes(input)];
        let mut after = ours(&before);
        change(&mut after[0]);
        let report = compared(&before, &after);
        assert_eq!(counts(&report), [0, 0, 1, 0, 0], "{report:#}");
        differences(&report)
    };
    let one = |id: &str, what: &str| vec![(id.to_owned(), what.to_owned())];
    assert_eq!(changed(UDP_V4, |after| after[7] -= 1), one("A2.6", "hop limit: ours 63, theirs 62"));
    assert_eq!(changed(UDP_V4, |after| after[3] = 7), one("A2.1", "flow label: ours 0, theirs 7"));
    assert_eq!(changed(UDP_V4, |after| after[1] |= 0x20), one("A2.2", "Traffic Class: ours 0, theirs 2"));
    // DF, and the header checksum that goes with it.
    let df = |after: &mut Vec<u8>| {
        after[6] |= 0x40;
        *after = sealed(std::mem::take(after));
    };
    assert_eq!(changed(UDP_V6, df), one("B2.5", "DF: ours 0, theirs 1"));
    assert_eq!(
        changed(UDP_V6, |after| after[10] ^= 1),
        one("B2.8", "header checksum: ours right, theirs wrong")
    );
    let checksum = changed(UDP_V4, |after| after[46] ^= 1);
    assert_eq!(checksum[0].0, "A1.1");
    assert!(checksum[0].1.starts_with("transport checksum: ours 0x"), "{checksum:?}");
    // An address of another mapping.
    let address = changed(UDP_V4, |after| after[39] = 9);
    assert_eq!(address, one("A2.8", "destination: ours 2001:db8:12:34::1, theirs 2001:db8:12:34::9"));
}

#[test]
fn what_is_missing_extra_silent_or_not_ours_is_counted() {
    let mut invalid = bytes(UDP_V4);
    invalid[10] ^= 1;
    let mut elsewhere = bytes(UDP_V4);
    elsewhere[16] = 198;
    let before = [bytes(UDP_V4), invalid, elsewhere.clone()];
    // From the mapped host, and nobody sent anything like it.
    let mut strange = ours(&[bytes(UDP_V6)]).remove(0);
    strange[21] ^= 0xff;
    let report = compared(&before, &[strange]);
    assert_eq!(counts(&report), [0, 1, 0, 1, 1], "{report:#}");
    assert_eq!(differences(&report), [("A1.1".to_owned(), "we send 52 bytes, they sent nothing".to_owned())]);
}

#[test]
fn what_only_they_carry_names_our_reason() {
    // We answer with time exceeded, they forward.
    let before = [expired()];
    let report = compared(&before, &ours(&[bytes(UDP_V4)]));
    assert_eq!(counts(&report), [0, 0, 1, 0, 0], "{report:#}");
    let what = "we do not translate it (hop_limit_exceeded), they sent something".to_owned();
    assert_eq!(differences(&report), [("A2.7".to_owned(), what)]);
    // We forward, they answer with time exceeded.
    let mut answered = ours(&before);
    answered.truncate(1);
    let report = compared(&[bytes(UDP_V4)], &answered);
    let what = "we translate it, they answered with an ICMP error".to_owned();
    assert_eq!(differences(&report), [("A6.1".to_owned(), what)]);
}

#[test]
fn pieces_of_other_sizes_are_the_same_datagram() {
    let before = [large()];
    let ours = ours(&before);
    assert_eq!(ours.len(), 2);
    let mut payload: Vec<u8> = ours.iter().flat_map(|piece| piece[48..].to_vec()).collect();
    let second = payload.split_off(1000);
    let piece = |payload: &[u8], offset: u16, more: u16| {
        let mut piece = ours[0][..48].to_vec();
        piece.extend(payload);
        let length = u16::try_from(payload.len() + 8).unwrap();
        piece[4..6].copy_from_slice(&length.to_be_bytes());
        piece[42..44].copy_from_slice(&(offset | more).to_be_bytes());
        piece
    };
    let report = compared(&before, &[piece(&second, 1000, 0), piece(&payload, 0, 1)]);
    assert_eq!(counts(&report), [0, 0, 1, 0, 0], "{report:#}");
    let differences = differences(&report);
    assert_eq!(differences[0].0, "A4.3");
    assert!(differences[0].1.starts_with("bytes of the pieces: ours "), "{differences:?}");
}

#[test]
fn people_get_a_text() {
    let before = [bytes(UDP_V4), bytes(UDP_V6)];
    let mut after = ours(&before);
    after[0][7] -= 1;
    let run = run(&before, &after, &[]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    for line in [
        "4 packets: 1 equal, 0 both silent, 1 different, 0 missing, 0 extra; 0 are not the translator's, 0 unread\n",
        "\nA2.6, exactly one hop is taken off: 1 times\n  known: ",
        "after.pcap packet 0 (UDP 203.0.113.50 > 192.0.2.1, 32 bytes): hop limit: ours 63, theirs 62\n",
    ] {
        assert!(run.stdout.contains(line), "{line:?} is not in\n{}", run.stdout);
    }
}

/// A constant stream of which every packet differs: pairing each with each would take minutes.
#[test]
fn each_packet_of_a_long_stream_is_compared() {
    let before = vec![bytes(UDP_V6); 20_000];
    let mut after = ours(&before);
    for packet in &mut after {
        packet[8] -= 1;
        packet[10] = packet[10].wrapping_add(1);
    }
    assert_eq!(compared(&before, &after)["counts"]["different"], 20_000);
}
