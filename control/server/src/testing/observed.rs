//! What the relay of tests has dropped, and what it captures.

use std::thread;

use control_api::{
    CaptureLine, CaptureTotals, CapturedFrame, CapturedPacket, CapturedPort, Code, DropCount, DropSample,
    DropSamples, Drops, PersistentDrop, Refusal, hex, rfc3339_micros,
};
use tokio::sync::mpsc::{Receiver, channel};

use crate::CaptureQuery;

/// An IPv4 UDP packet of 33 bytes from 203.0.113.9:4000 to 192.0.2.77:53, cut to 30.
const CUT: &[u8] = &[
    0x45, 0, 0, 33, 0, 1, 0, 0, 64, 17, 0, 0, 203, 0, 113, 9, 192, 0, 2, 77, 0x0f, 0xa0, 0, 53, 0, 13, 0, 0,
    b'a', b'b',
];

/// Two reasons, one of them never seen.
pub(super) fn drops() -> Drops {
    let row = |reason: &str, count: u64, seen: bool| DropCount {
        reason: reason.to_owned(),
        count,
        rate: 2.5 * f64::from(u8::from(seen)),
        rate_1m: 0.25 * f64::from(u8::from(seen)),
        rate_1h: 0.0625 * f64::from(u8::from(seen)),
        first_seen: seen.then(|| "2026-01-02T03:04:05Z".to_owned()),
        last_seen: seen.then(|| "2026-01-02T04:04:05Z".to_owned()),
        sampled: count.min(3),
        samples_lost: count.saturating_sub(3),
        one_in: 4,
        persistent_since: seen.then(|| "2026-01-02T03:05:00Z".to_owned()),
        meaning: format!("The meaning of {reason}."),
        check: "What to check.".to_owned(),
    };
    Drops(vec![row("no_route", 0, false), row("unassigned_service_address", 1234, true)])
}

pub(super) fn persistent() -> Vec<PersistentDrop> {
    let persistent = |row: DropCount| {
        Some(PersistentDrop { since: row.persistent_since?, reason: row.reason, rate_1m: row.rate_1m })
    };
    drops().0.into_iter().filter_map(persistent).collect()
}

pub(super) fn samples(reason: Option<&str>, last: u32) -> Result<DropSamples, Refusal> {
    if let Some(unknown) = reason.filter(|reason| *reason == "nothing") {
        let message = format!("{unknown:?} is no drop reason");
        return Err(Refusal::new(Code::InvalidRequest, message, "`borderctl drops --all` shows them"));
    }
    let last = usize::try_from(last).unwrap_or(usize::MAX);
    let wanted = |sample: &DropSample| reason.is_none_or(|reason| sample.reason == reason);
    Ok(DropSamples([7, 6].into_iter().filter_map(sample).filter(wanted).take(last).collect()))
}

/// 6 is an ARP frame, 7 the packet above.
pub(super) fn sample(id: u64) -> Option<DropSample> {
    let sample = |reason: &str, layer: &str, length, bytes: &[u8]| DropSample {
        id,
        time: rfc3339_micros(1_767_326_640_000_123_000 + id * 1_000_000_000),
        unix_ns: 1_767_326_640_000_123_000 + id * 1_000_000_000,
        port: "v4".to_owned(),
        queue: 0,
        worker: 0,
        control: false,
        reason: reason.to_owned(),
        one_in: 4,
        layer: layer.to_owned(),
        length,
        bytes: hex(bytes),
    };
    match id {
        6 => Some(sample("punt_policed", "ethernet", 60, &[&[0xff; 12][..], &[8, 6], &[0; 46]].concat())),
        7 => Some(sample("unassigned_service_address", "ip", 33, CUT)),
        _ => None,
    }
}

/// As many packets as were asked for, every second one dropped and the fourth after a loss of two; and then the end. With the
/// filter `forever`, packets without end, as fast as they go.
pub(super) fn capture(query: &CaptureQuery) -> Result<Receiver<CaptureLine>, Refusal> {
    if query.filter.contains("hst") {
        return Err(Refusal::new(
            Code::InvalidRequest,
            "\"hst\" is no test, at character 1 of the filter `hst x`",
            "tests are host, net",
        ));
    }
    let (sender, receiver) = channel(16);
    let forever = query.filter == "forever";
    let count = if forever { u64::MAX } else { query.count };
    let begin = CaptureLine::Begin {
        filter: query.filter.clone(),
        count: query.count,
        seconds: query.time.as_secs(),
        rate: query.rate,
        snap: query.snap,
        ports: vec!["v4".to_owned(), "v6".to_owned()],
    };
    let packets = (1..=count).map(|id| CaptureLine::Packet(Box::new(packet(id))));
    let port = |port: &str, received, sent| CapturedPort {
        port: port.to_owned(),
        received,
        received_lost: 2 * u64::from(received > 3),
        sent,
        sent_lost: 0,
    };
    let lost = 2 * u64::from(count > 3);
    let ports = vec![port("v4", count.saturating_add(lost), 0), port("v6", 0, count.div_ceil(2))];
    let totals = CaptureTotals { matched: count.saturating_add(lost), captured: count, lost, ports };
    let end = CaptureLine::End { cause: "count".to_owned(), totals };
    let lines = std::iter::once(begin).chain(packets).chain([end]);
    thread::spawn(move || {
        for line in lines {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

fn packet(id: u64) -> CapturedPacket {
    let is_dropped = id.is_multiple_of(2);
    let frame = |port: &str, kind: [u8; 2], bytes: &[u8]| {
        let bytes = [&[2; 12][..], &kind, bytes].concat();
        CapturedFrame { port: port.to_owned(), length: bytes.len() as u64, bytes: hex(&bytes) }
    };
    let after = [&[0x60, 0, 0, 0, 0, 13, 17, 63][..], &[0x20; 32], &CUT[20..]].concat();
    let words = if is_dropped { "dropped no_route" } else { "translated > ipv6 > v6" };
    CapturedPacket {
        id,
        time: rfc3339_micros(1_767_326_640_000_123_000 + id),
        unix_ns: 1_767_326_640_000_123_000 + id,
        queue: 0,
        verdict: if is_dropped { "dropped" } else { "translated" }.to_owned(),
        reason: is_dropped.then(|| "no_route".to_owned()),
        mappings: vec!["192.0.2.77/32 = 2020:2020::/128".to_owned()],
        path: format!("v4 > ipv4 > express > {words}"),
        lost: 2 * u64::from(id == 4),
        before: frame("v4", [8, 0], CUT),
        after: if is_dropped { Vec::new() } else { vec![frame("v6", [0x86, 0xdd], &after)] },
        sent: u64::from(!is_dropped),
    }
}
