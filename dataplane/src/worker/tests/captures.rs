//! Captures of whole turns: every packet with what it became.

use super::*;
use crate::meter::{MeterSlot, Metering};
use crate::sink::filter::{End, Fate, Filter, Node, Test};
use crate::sink::tap::{CAPTURES, Capture, Captured, TapSender, Wanted, capture, tap};

/// What a capture shows of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    number: u64,
    port: u16,
    fate: Fate,
    express: bool,
    before: Vec<u8>,
    after: Vec<(u16, Vec<u8>)>,
}

fn wanted(filter: Filter) -> Wanted {
    Wanted { filter, snap: 9600, rate: 100_000, ports: 2, hertz: 1_000_000_000 }
}

fn of(test: Test) -> Filter {
    let mut filter = Filter::default();
    filter.push(Node::Test(test)).unwrap();
    filter
}

fn watched(pool: MemoryPool, tx_limit: usize) -> (Bench, TapSender) {
    let mut bench = Bench::new(pool, tx_limit);
    let (ours, sender) = tap(2);
    bench.worker.tap(ours);
    (bench, sender)
}

fn start(sender: &mut TapSender, wanted: Wanted) -> Capture {
    let (order, capture) = capture(wanted);
    sender.send(order).unwrap();
    capture
}

/// What came, with the numbers of those a port refused.
fn drain(capture: &mut Capture) -> (Vec<Shown>, Vec<u64>) {
    let (mut shown, mut refused) = (Vec::new(), Vec::new());
    capture.drain(usize::MAX, |captured| match captured {
        Captured::Packet { number, port, fate, express, length, before, after, pieces, .. } => {
            assert_eq!(length, before.len());
            assert_eq!(pieces, after.len());
            let after = after.iter().map(|piece| (piece.port.0, piece.bytes.to_vec())).collect();
            shown.push(Shown { number, port: port.0, fate, express, before: before.to_vec(), after });
        }
        Captured::Refused { number } => refused.push(number),
    });
    (shown, refused)
}

fn to_server(payload: &[u8]) -> Vec<u8> {
    testing::frame(MAC_V4, &testing::udp_v4("203.0.113.50", "192.0.2.1", payload))
}

#[test]
fn every_packet_is_shown_with_what_it_became() {
    let (mut bench, mut sender) = watched(MemoryPool::unlimited(), usize::MAX);
    let mut all = start(&mut sender, wanted(Filter::default()));
    let mut drops = start(&mut sender, wanted(of(Test::Dropped(DropReason::SourceNotMapped))));
    let mut server =
        start(&mut sender, wanted(of(Test::Net(End::Either, "2001:db8:12:34::/64".parse().unwrap()))));
    let ttl = {
        let mut packet = testing::udp_v4("203.0.113.50", "192.0.2.1", b"late");
        packet[8] = 1;
        testing::fix_checksum_v4(&mut packet);
        testing::frame(MAC_V4, &packet)
    };
    let arp = [&[0xff; 6][..], &MAC_PEER.0, &[8, 6], &[0; 46]].concat();
    let v4 = [to_server(b"one"), ttl, arp, to_server(b"two")];
    v4.iter().for_each(|frame| bench.rx[0].put(frame));
    let back = testing::udp_v6("2001:db8:12:34::1", "2001:db8:46::203.0.113.50", b"back");
    let stranger = testing::udp_v6("2001:db8:77::1", "2001:db8:46::203.0.113.50", b"who");
    let v6 = [back, stranger].map(|packet| testing::frame(MAC_V6, &packet));
    v6.iter().for_each(|frame| bench.rx[1].put(frame));
    bench.turn();
    let (shown, refused) = drain(&mut all);
    assert!(refused.is_empty());
    let came: Vec<_> = shown.iter().map(|shown| (shown.port, shown.before.clone())).collect();
    let expected: Vec<_> =
        v4.iter().map(|frame| (0, frame.clone())).chain(v6.iter().map(|frame| (1, frame.clone()))).collect();
    assert_eq!(came, expected, "as they came, byte by byte, in order");
    assert_eq!(shown.iter().map(|shown| shown.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let [to_v4, to_v6] = [bench.tx[0].take(), bench.tx[1].take()];
    let went: Vec<_> = shown.iter().flat_map(|shown| shown.after.clone()).collect();
    let on = |port: u16| {
        went.iter().filter(|(of, _)| *of == port).map(|(_, frame)| frame.clone()).collect::<Vec<_>>()
    };
    assert_eq!((on(0), on(1)), (to_v4, to_v6), "as they went, byte by byte, in order");
    let fates: Vec<_> = shown.iter().map(|shown| (shown.fate, shown.express, shown.after.len())).collect();
    let expected = [
        (Fate::Translated, true, 1),
        (Fate::IcmpError(DropReason::HopLimitExceeded), false, 1),
        (Fate::Punted(PuntReason::Arp), false, 0),
        (Fate::Translated, true, 1),
        (Fate::Translated, true, 1),
    ];
    assert_eq!(fates[..5], expected);
    assert!(matches!(
        fates[5].0,
        Fate::Dropped(DropReason::SourceNotMapped) | Fate::IcmpError(DropReason::SourceNotMapped)
    ));
    assert_eq!(drain(&mut drops).0.iter().map(|shown| &shown.before).collect::<Vec<_>>(), [&v6[1]]);
    assert_eq!(drain(&mut server).0.len(), 3, "either side may pass");
    assert_eq!((server.matched(), server.of_port(0), server.of_port(1)), (3, (2, 1), (1, 2)));
}

#[test]
fn what_a_port_refuses_is_taken_back() {
    let (mut bench, mut sender) = watched(MemoryPool::unlimited(), 2);
    let mut all = start(&mut sender, wanted(Filter::default()));
    (0..5).for_each(|number| bench.rx[0].put(&to_server(&[number; 9])));
    let counts = bench.turn();
    assert_eq!(counts.dropped(DropReason::TransmitQueueFull), 3);
    let (shown, refused) = drain(&mut all);
    assert_eq!((shown.len(), refused), (5, vec![3, 4, 5]));
}

#[test]
fn rate_and_ring_bound_a_capture_and_gaps_tell_what_is_lost() {
    let (mut bench, mut sender) = watched(MemoryPool::unlimited(), usize::MAX);
    let mut slow = start(&mut sender, Wanted { rate: 3, ..wanted(Filter::default()) });
    let mut full = start(&mut sender, wanted(Filter::default()));
    let frame = to_server(&[7; 1400]);
    for _ in 0..1000 {
        bench.rx[0].put(&frame);
        bench.turn();
        bench.tx[1].take();
    }
    assert_eq!((slow.matched(), drain(&mut slow).0.len()), (1000, 3), "the clock of this test stands");
    let (shown, _) = drain(&mut full);
    assert!((300..800).contains(&shown.len()), "a megabyte: {}", shown.len());
    assert_eq!(full.matched(), 1000);
    bench.rx[0].put(&frame);
    bench.turn();
    assert_eq!(drain(&mut full).0.first().map(|shown| shown.number), Some(1001), "the gap is what was lost");
}

#[test]
fn captures_end_when_their_other_half_does_and_make_room() {
    let (mut bench, mut sender) = watched(MemoryPool::unlimited(), usize::MAX);
    for _ in 0..3 * CAPTURES {
        sender.reclaim();
        let mut captures: Vec<_> =
            (0..CAPTURES).map(|_| start(&mut sender, wanted(Filter::default()))).collect();
        bench.rx[0].put(&to_server(b"seen"));
        bench.turn();
        assert!(captures.iter_mut().all(|capture| drain(capture).0.len() == 1));
        drop(captures);
        bench.turn();
    }
    bench.rx[0].put(&to_server(b"unseen"));
    assert_eq!(bench.turn().all_dropped(), 0);
}

#[test]
fn snapshots_are_cut_and_fragments_are_all_shown() {
    let (mut bench, mut sender) = watched(MemoryPool::unlimited(), usize::MAX);
    let mut cut = start(&mut sender, Wanted { snap: 64, ..wanted(Filter::default()) });
    let mut whole = start(&mut sender, wanted(Filter::default()));
    let mut packet = testing::udp_v4("203.0.113.50", "192.0.2.1", &[3; 1450]);
    packet[6] = 0;
    testing::fix_checksum_v4(&mut packet);
    bench.rx[0].put(&testing::frame(MAC_V4, &packet));
    bench.turn();
    let sent = bench.tx[1].take();
    let (shown, _) = drain(&mut whole);
    assert_eq!(shown[0].after.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>(), sent);
    let mut lengths = Vec::new();
    cut.drain(usize::MAX, |captured| {
        if let Captured::Packet { length, before, after, .. } = captured {
            lengths.push((length, before.len()));
            lengths.extend(after.iter().map(|piece| (piece.length, piece.bytes.len())));
        }
    });
    let expected: Vec<_> = std::iter::once(14 + packet.len())
        .chain(sent.iter().map(Vec::len))
        .map(|length| (length, 64))
        .collect();
    assert_eq!(lengths.len(), expected.len());
    assert!(
        lengths.iter().zip(&expected).all(|(got, want)| got.0 == want.0 && got.1 == want.1.min(want.0)),
        "{lengths:?}"
    );
}

/// What is captured is counted for its mappings as well, by the lane and by the walk.
#[test]
fn captured_packets_count_for_their_mappings() {
    let slot = MeterSlot::new(Metering::Exact, 10);
    let (mut bench, mut sender) = watched(MemoryPool::unlimited(), usize::MAX);
    bench.worker.count_mappings(Some(slot.meter()));
    let counted = |slot: &MeterSlot| {
        let mut sums = std::collections::HashMap::new();
        slot.read(&mut sums, |_| true);
        sums.get(&"192.0.2.1/32".parse().unwrap()).map_or([0; 2], |traffic| traffic.packets)
    };
    let mut fragment = testing::udp_v4("203.0.113.50", "192.0.2.1", b"the first eight");
    fragment[6] = 0x20;
    testing::fix_checksum_v4(&mut fragment);
    let back = testing::udp_v6("2001:db8:12:34::1", "2001:db8:46::203.0.113.50", b"back");
    let round = |bench: &mut Bench| {
        for packet in [to_server(b"one"), testing::frame(MAC_V4, &fragment), to_server(b"two")] {
            bench.rx[0].put(&packet);
        }
        bench.rx[1].put(&testing::frame(MAC_V6, &back));
        bench.turn();
    };
    round(&mut bench);
    assert_eq!(counted(&slot), [3, 1], "not captured");
    let mut all = start(&mut sender, wanted(Filter::default()));
    round(&mut bench);
    assert_eq!(counted(&slot), [6, 2], "captured");
    assert_eq!(drain(&mut all).0.len(), 4);
}
