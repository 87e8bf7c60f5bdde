//! `drops`, `capture` and `trace` against a relay that shows the same every time.

use std::fs;

use capture::{Capture, Content, Link};
use serde_json::json;

use crate::lab::Lab;

#[test]
fn drops_are_shown_with_their_rates_and_what_to_check() {
    let lab = Lab::new();
    let out = lab.good("drops");
    for words in [
        "unassigned_service_address   1234   2.50    0.25  0.06  2026-01-02T03:04:05Z  2026-01-02T04:04:05Z        3",
        "without a pause since 2026-01-02T03:05:00Z",
        "The meaning of unassigned_service_address.",
        "What to check.",
        "1 reason without a drop; --all shows them",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(!out.contains("no_route") && lab.good("drops --all").contains("no_route"));
    let rows = lab.json("drops");
    let row = rows[1].as_object().unwrap();
    for (field, value) in [
        ("reason", json!("unassigned_service_address")),
        ("count", json!(1234)),
        ("rate", json!(2.5)),
        ("rate_1m", json!(0.25)),
        ("rate_1h", json!(0.0625)),
        ("first_seen", json!("2026-01-02T03:04:05Z")),
        ("last_seen", json!("2026-01-02T04:04:05Z")),
        ("samples_lost", json!(1231)),
    ] {
        assert_eq!(row[field], value, "{field}");
    }
    assert_eq!(lab.json("drops --reason no_route")[0]["count"], 0);
    assert!(lab.refused("drops --reason nothing").contains("no drop reason"));
    let status = lab.good("status");
    assert!(
        status.contains("unassigned_service_address since 2026-01-02T03:05:00Z, 0.25 a second"),
        "{status}"
    );
}

#[test]
fn samples_are_shown_and_written() {
    let lab = Lab::new();
    let out = lab.good("drops --last");
    assert!(out.contains("UDP 203.0.113.9:4000 > 192.0.2.77:53 ttl 64 len 33"), "{out}");
    assert!(out.contains("ff:ff:ff:ff:ff:ff > ff:ff:ff:ff:ff:ff ARP len 60"), "{out}");
    let one = lab.json("drops --last 1 --reason punt_policed");
    assert_eq!((one[0]["id"].as_u64(), one.as_array().map(Vec::len)), (Some(6), Some(1)));
    assert!(lab.refused("drops --last --reason nothing").contains("no drop reason"));
    assert!(lab.good("drops --pcap dropped.pcapng").contains("2 samples written to dropped.pcapng"));
    let file = Capture::read(&lab.directory.path().join("dropped.pcapng")).unwrap();
    let packets: Vec<_> =
        file.packets().map(|packet| (packet.link, packet.original, packet.bytes.len())).collect();
    assert_eq!(packets, [(Link::ETHERNET, 60, 60), (Link::RAW, 33, 30)], "oldest first");
}

#[test]
fn a_capture_is_written_in_pairs_with_its_losses() {
    let lab = Lab::new();
    let out = lab.good("capture --filter 'host 192.0.2.77' --count 4 -w pairs.pcapng");
    assert!(out.contains("4 packets written to pairs.pcapng; 6 matched, 4 captured, 2 lost"), "{out}");
    let path = lab.directory.path().join("pairs.pcapng");
    let file = Capture::read(&path).unwrap();
    assert_eq!(file.packets().count(), 4 + 2);
    assert!(file.packets().all(|packet| matches!(packet.content(), Content::Ethernet(_))));
    let bytes = fs::read(&path).unwrap();
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    for text in [
        &b"v4/before"[..],
        b"v6/after",
        b"EAM 192.0.2.77/32 = 2020:2020::/128 | translated",
        b"EAM 192.0.2.77/32 = 2020:2020::/128 | dropped | no_route",
        // epb_dropcount: two; epb_packetid: four; epb_verdict of XDP: drop.
        &[4, 0, 8, 0, 2, 0, 0, 0, 0, 0, 0, 0],
        &[5, 0, 8, 0, 4, 0, 0, 0, 0, 0, 0, 0],
        &[7, 0, 9, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0],
        // isb_ifrecv: six, isb_ifdrop: two.
        &[4, 0, 8, 0, 6, 0, 0, 0, 0, 0, 0, 0, 5, 0, 8, 0, 2, 0, 0, 0, 0, 0, 0, 0],
    ] {
        assert!(holds(text), "{text:?}");
    }
    assert_eq!(lab.json("capture --count 2 -w two.pcapng")["captured"], 2);
    let wrong = lab.run("capture --filter 'hst x' -w none.pcapng");
    assert!(wrong.status == 1 && wrong.err.contains("at character 1"), "{wrong:?}");
    assert!(!lab.directory.path().join("none.pcapng").exists(), "no file without a capture");
    assert_eq!(lab.run("capture --count 0 -w none.pcapng").status, 2);
    assert_eq!(lab.run("capture --count 1 -w /no/such/place").status, 1);
}

#[test]
fn a_trace_has_a_line_for_each_packet_or_counts_their_ways() {
    let lab = Lab::new();
    let out = lab.good("trace --count 4");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 5, "{out}");
    let first =
        "04:04:00.000123 q0 v4 UDP 203.0.113.9:4000 > 192.0.2.77:53 ttl 64 len 30 | translated => v6 UDP";
    assert!(lines[0].starts_with(first), "{out}");
    assert!(lines[0].ends_with("| EAM 192.0.2.77/32 = 2020:2020::/128"), "{out}");
    assert!(lines[1].contains("| dropped no_route"), "{out}");
    assert_eq!(lines[3], "-- 2 lost --");
    let ways = lab.good("trace --paths --count 5");
    assert!(ways.contains("      3  60.0 %  v4 > ipv4 > express > translated > ipv6 > v6"), "{ways}");
    let ways = lab.json("trace --paths --count 5");
    assert_eq!(ways["paths"][1], json!({"path": "v4 > ipv4 > express > dropped no_route", "count": 2}));
}

#[test]
fn who_sends_what_is_dropped_and_which_service_takes_the_traffic_are_answered() {
    let lab = Lab::new();
    let out = lab.good("drops --senders");
    assert!(out.starts_with("SOURCE") && out.contains("203.0.113.9 "), "{out}");
    assert!(out.contains("ff:ff:ff:ff:ff:ff"), "{out}");
    let senders = lab.json("drops --senders --reason unassigned_service_address");
    assert_eq!(
        senders,
        json!([{
            "source": "203.0.113.9", "reason": "unassigned_service_address", "port": "v4", "samples": 1, "packets": 4,
            "last": senders[0]["last"],
        }])
    );
    let out = lab.good("trace --services --count 4");
    let row = out.lines().nth(1).unwrap();
    assert!(
        row.starts_with("      4 ") && row.ends_with("100.0 %  192.0.2.77/32 = 2020:2020::/128"),
        "{out}"
    );
    let services = lab.json("trace --services --count 4");
    assert_eq!((&services["captured"], &services["services"][0]["packets"]), (&json!(4), &json!(4)));
    assert_eq!(lab.run("trace --services --paths").status, 2);
}
