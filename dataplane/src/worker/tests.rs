//! Whole turns of a worker over queues in memory.

use super::*;
use crate::exception::{InjectSender, ProbeEnd, PuntReceiver, Punted, inject_ring, punt_ring};
use crate::io::BURST;
use crate::memory::{MemoryBuffer, MemoryPool};
use crate::table::publish::Publisher;
use crate::testing::{self, MAC_PEER, MAC_V4, MAC_V6};
use crate::verdict::{DropReason, PuntReason};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Mutex;

#[derive(Clone, Default)]
struct Wire(Arc<Mutex<VecDeque<Vec<u8>>>>);

impl Wire {
    fn put(&self, frame: &[u8]) {
        self.0.lock().unwrap().push_back(frame.to_vec());
    }

    fn take(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().drain(..).collect()
    }
}

struct Rx(Wire);
/// Takes at most this many frames per call.
struct Tx(Wire, usize);

impl ReceiveQueue for Rx {
    type Buffer = MemoryBuffer;

    fn receive(&mut self, frames: &mut Frames<MemoryBuffer>, _: &mut Sink<MemoryBuffer>) -> usize {
        let mut wire = self.0.0.lock().unwrap();
        let count = wire.len().min(frames.remaining_capacity());
        frames.extend(wire.drain(..count).map(|frame| MemoryBuffer::new(&frame)));
        count
    }
}

impl TransmitQueue for Tx {
    type Buffer = MemoryBuffer;

    fn transmit(&mut self, frames: &mut Frames<MemoryBuffer>) {
        for frame in frames.drain(..frames.len().min(self.1)) {
            self.0.put(frame.data());
        }
    }
}

struct Bench {
    publisher: Publisher,
    worker: Worker<Rx, Tx, MemoryPool>,
    rx: [Wire; 2],
    tx: [Wire; 2],
    punted: PuntReceiver,
    events: Vec<ZeroChecksum>,
    probed: Vec<(u16, ProbeEnd, Vec<u8>)>,
    samples: Vec<(PortId, Vec<u8>)>,
    inject: InjectSender,
}

impl Bench {
    fn new(pool: MemoryPool, tx_limit: usize) -> Self {
        let translation = testing::translation(&[("192.0.2.1/32", "2001:db8:12:34::1/128")]);
        let publisher = Publisher::new(testing::snapshot(translation));
        let (rx, tx) = ([Wire::default(), Wire::default()], [Wire::default(), Wire::default()]);
        let (punt, punted) = punt_ring(1 << 16, Arc::new(|| ()));
        let (inject, injected) = inject_ring(1 << 16);
        let worker = Worker::new(WorkerParts {
            receive: rx.iter().cloned().map(Rx).collect(),
            transmit: tx.iter().cloned().map(|wire| Tx(wire, tx_limit)).collect(),
            pool,
            reader: publisher.reader(),
            punt,
            inject: injected,
            cells: Arc::default(),
            stop: Arc::default(),
            clock: Clock { now: || 1, hertz: 1_000_000_000 },
            poll: Poll::Adaptive,
            longest_sleep: Arc::default(),
            alarm: None,
            workers: 1,
        });
        let (events, probed, samples) = Default::default();
        Self { publisher, worker, rx, tx, punted, events, probed, samples, inject }
    }

    fn turn(&mut self) -> Counts {
        while self.worker.turn() {}
        let counts = self.worker.counts().clone();
        let into = counts.event(Event::Received) + counts.originated();
        let out = counts.event(Event::Sent) + counts.all_punted() + counts.all_dropped();
        assert_eq!(into, out, "received + originated = sent + punted + dropped");
        counts
    }

    fn punts(&mut self) -> Vec<(PuntReason, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(()) = self.punted.receive(|punted| match punted {
            Punted::Frame { reason, bytes, .. } => all.push((reason, bytes.to_vec())),
            Punted::Unresolved { packet, .. } => all.push((PuntReason::UnresolvedNextHop, packet.to_vec())),
            Punted::Translated { reason, packet } => all.push((reason, packet.to_vec())),
            Punted::ZeroChecksum(event) => self.events.push(event),
            Punted::Probed { number, end, packet } => self.probed.push((number, end, packet.to_vec())),
            Punted::Sample { port, bytes } => self.samples.push((port, bytes.to_vec())),
        }) {}
        all
    }
}

mod captures;
mod deep;
mod moving;

#[test]
fn translates_between_the_ports_in_both_directions() {
    let mut bench = Bench::new(MemoryPool::unlimited(), usize::MAX);
    bench.rx[0].put(&testing::frame(MAC_V4, &testing::udp_v4("203.0.113.50", "192.0.2.1", b"to six")));
    let back = testing::udp_v6("2001:db8:12:34::1", "2001:db8:46::203.0.113.50", b"to four");
    bench.rx[1].put(&testing::frame(MAC_V6, &back));
    let counts = bench.turn();
    assert_eq!(counts.event(Event::TranslatedV4ToV6), 1);
    assert_eq!(counts.event(Event::TranslatedV6ToV4), 1);
    let [to_six] = bench.tx[1].take().try_into().unwrap();
    let header: &[u8] = &[MAC_PEER.0.as_slice(), &MAC_V6.0, &[0x86, 0xdd, 0x60]].concat();
    assert!(to_six.starts_with(header), "{to_six:02x?}");
    assert!(to_six.ends_with(b"to six"));
    let [to_four] = bench.tx[0].take().try_into().unwrap();
    let header: &[u8] = &[MAC_PEER.0.as_slice(), &MAC_V4.0, &[0x08, 0x00, 0x45]].concat();
    assert!(to_four.starts_with(header), "{to_four:02x?}");
}

#[test]
fn plain_packets_and_others_of_one_burst_leave_in_order() {
    let mut bench = Bench::new(MemoryPool::unlimited(), usize::MAX);
    for number in 0..60_u8 {
        let mut packet = testing::udp_v4("203.0.113.50", "192.0.2.1", &[number; 24]);
        if number % 3 == 0 {
            testing::set_fragment_v4(&mut packet, u16::from(number), false, true, 0);
        }
        bench.rx[0].put(&testing::frame(MAC_V4, &packet));
    }
    assert_eq!(bench.turn().event(Event::TranslatedFragments), 20);
    let numbers: Vec<u8> = bench.tx[1].take().iter().filter_map(|frame| frame.last().copied()).collect();
    assert_eq!(numbers, (0..60).collect::<Vec<u8>>());
}

#[test]
fn a_new_rate_limit_of_icmp_errors_holds_from_the_next_turn_on() {
    let mut bench = Bench::new(MemoryPool::unlimited(), usize::MAX);
    let publish = |bench: &mut Bench, icmp_errors| {
        bench.publisher.publish(|snapshot| {
            let mut translation = snapshot.translation.as_ref().clone();
            translation.settings.icmp_errors = icmp_errors;
            snapshot.translation = Arc::new(translation);
        });
        for _ in 0..3 {
            let mut expired = testing::udp_v4("203.0.113.50", "192.0.2.1", b"late");
            expired[8] = 1;
            testing::fix_checksum_v4(&mut expired);
            bench.rx[0].put(&testing::frame(MAC_V4, &expired));
        }
        bench.turn();
        bench.tx[0].take().len()
    };
    assert_eq!(publish(&mut bench, IcmpErrors::Limit(2)), 2);
    assert_eq!(publish(&mut bench, IcmpErrors::Send), 3);
    assert_eq!(publish(&mut bench, IcmpErrors::Limit(1)), 1);
    assert_eq!(publish(&mut bench, IcmpErrors::Off), 0);
}

#[test]
fn the_kernel_gets_its_frames_untouched_and_its_own_are_sent_first() {
    let mut bench = Bench::new(MemoryPool::unlimited(), usize::MAX);
    let mut padded = testing::frame(
        MAC_V4,
        &testing::ipv4("203.0.113.50", "198.51.100.254", 1, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]),
    );
    padded.resize(60, 0x5a);
    let hello = {
        let mut packet = testing::ipv4("203.0.113.1", "224.0.0.5", 89, &[2, 1, 0, 44]);
        packet[8] = 1;
        testing::fix_checksum_v4(&mut packet);
        testing::frame(MAC_PEER, &packet)
            .into_iter()
            .enumerate()
            .map(|(at, byte)| if at < 6 { [1, 0, 0x5e, 0, 0, 5][at] } else { byte })
            .collect::<Vec<_>>()
    };
    for frame in [&padded, &hello] {
        bench.rx[0].put(frame);
    }
    bench.inject.send(PortId(1), b"a frame of the kernel").unwrap();
    let counts = bench.turn();
    assert_eq!(bench.punts(), [(PuntReason::LocalAddress, padded), (PuntReason::RoutingProtocol, hello)]);
    assert_eq!(bench.tx[1].take(), [b"a frame of the kernel".to_vec()]);
    assert_eq!(counts.event(Event::OriginatedKernel), 1);
}

#[test]
fn packets_of_the_box_are_translated_and_their_answers_delivered() {
    let mut bench = Bench::new(MemoryPool::unlimited(), usize::MAX);
    let own = "198.51.100.254";
    let answer = testing::udp_v6("2001:db8:12:34::1", &format!("2001:db8:46::{own}"), b"answer");
    bench.rx[1].put(&testing::frame(MAC_V6, &answer));
    assert_eq!(bench.turn().dropped(DropReason::DestinationIsLocal), 1, "as long as nobody takes it");
    let [refused] = bench.tx[1].take().try_into().unwrap();
    assert_eq!((refused[14] >> 4, refused[54]), (6, 1), "an ICMPv6 destination unreachable");

    bench.worker.transmit.local_mtu = Some(1400);
    bench.inject.send_packet(&testing::udp_v4(own, "192.0.2.1", b"question")).unwrap();
    bench.rx[1].put(&testing::frame(MAC_V6, &answer));
    let long = testing::udp_v6("2001:db8:12:34::1", &format!("2001:db8:46::{own}"), &[7; 1420]);
    bench.rx[1].put(&testing::frame(MAC_V6, &long));
    let counts = bench.turn();
    let [question, too_big] = bench.tx[1].take().try_into().unwrap();
    assert!(question.ends_with(b"question") && question[14] >> 4 == 6);
    assert_eq!((too_big[14] >> 4, too_big[54]), (6, 2), "an ICMPv6 packet too big");
    let [(reason, packet)] = bench.punts().try_into().unwrap();
    assert_eq!(reason, PuntReason::LocalAddress);
    assert!(packet[0] == 0x45 && packet.ends_with(b"answer") && packet[16..20] == [198, 51, 100, 254]);
    assert_eq!(counts.event(Event::OriginatedKernel), 1);

    // What the kernel would only get back ends here.
    bench.inject.send_packet(&testing::udp_v4(own, own, b"to itself")).unwrap();
    assert_eq!(bench.turn().dropped(DropReason::NoRoute), 1);
    assert!(bench.punts().is_empty());
}

#[test]
fn the_box_itself_is_told_what_its_packets_met() {
    let mut bench = Bench::new(MemoryPool::unlimited(), usize::MAX);
    let own = "198.51.100.254";
    let question = testing::udp_v4(own, "192.0.2.99", b"to nobody");
    bench.inject.send_packet(&question).unwrap();
    let counts = bench.turn();
    assert_eq!(counts.event(Event::IcmpErrorsUnsendable), 1, "as long as nobody takes it");
    bench.worker.transmit.local_mtu = Some(1400);
    bench.inject.send_packet(&question).unwrap();
    let counts = bench.turn();
    assert_eq!(counts.event(Event::OriginatedIcmpErrors), 1);
    assert!(bench.tx.iter().all(|wire| wire.take().is_empty()), "it leaves by no port");
    let [(reason, error)] = bench.punts().try_into().unwrap();
    assert_eq!(reason, PuntReason::LocalAddress);
    assert_eq!((error[9], &error[12..20]), (1, &[192, 0, 2, 99, 198, 51, 100, 254][..]));
    assert_eq!(
        (&error[20..22], &error[28..56]),
        (&[3, 1][..], &question[..28]),
        "host unreachable, with its packet"
    );
}

#[test]
fn a_probe_crosses_the_stages_and_leaves_no_trace() {
    let mut bench = Bench::new(MemoryPool::unlimited(), usize::MAX);
    let there = testing::udp_v4("203.0.113.50", "192.0.2.1", b"there");
    let back = testing::udp_v6("2001:db8:12:34::1", "2001:db8:46::203.0.113.50", b"back");
    let nowhere = testing::udp_v4("203.0.113.50", "192.0.2.99", b"nowhere");
    for (number, packet) in (7..).zip([&there, &back, &nowhere]) {
        bench.inject.send_probe(number, packet).unwrap();
    }
    let before = bench.worker.counts().clone();
    bench.turn();
    bench.punts();
    assert_eq!(*bench.worker.counts(), before, "probes are not traffic");
    assert!(bench.tx.iter().all(|wire| wire.take().is_empty()), "and leave by no port");
    let [there, back, nowhere] = std::mem::take(&mut bench.probed).try_into().unwrap();
    assert_eq!((there.0, there.1, there.2[0] >> 4), (7, ProbeEnd::Translated, 6));
    assert_eq!(there.2[24..40], "2001:db8:12:34::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    assert_eq!(
        (back.0, back.1, &back.2[12..20]),
        (8, ProbeEnd::Translated, &[192, 0, 2, 1, 203, 0, 113, 50][..])
    );
    let unassigned = ProbeEnd::Dropped(DropReason::UnassignedServiceAddress);
    assert_eq!(nowhere, (9, unassigned, Vec::new()));

    bench.publisher.publish(|snapshot| snapshot.translation = Arc::new(testing::translation(&[])));
    let there = testing::udp_v4("203.0.113.50", "192.0.2.1", b"there");
    bench.inject.send_probe(10, &there).unwrap();
    bench.turn();
    bench.punts();
    assert_eq!(bench.probed, [(10, unassigned, Vec::new())], "it meets the tables of traffic");
}

#[test]
fn samples_show_the_first_frame_of_as_many_bursts_as_were_asked_for() {
    let mut bench = Bench::new(MemoryPool::unlimited(), usize::MAX);
    bench.inject.ask_for_samples(2).unwrap();
    bench.turn();
    for number in 0..3_u8 {
        let frame = testing::frame(MAC_V4, &testing::udp_v4("203.0.113.50", "192.0.2.1", &[number; 300]));
        bench.rx[0].put(&frame);
        bench.rx[0].put(&testing::frame(MAC_V4, &testing::udp_v4("203.0.113.51", "192.0.2.1", b"x")));
        bench.turn();
    }
    bench.punts();
    assert_eq!(bench.samples.len(), 2);
    assert!(bench.samples.iter().all(|(port, bytes)| *port == PortId(0) && bytes.len() == 128));
    assert!(bench.samples.iter().all(|(_, bytes)| bytes[26..30] == [203, 0, 113, 50]));
}

#[test]
fn what_a_port_refuses_is_dropped_and_counted() {
    let mut bench = Bench::new(MemoryPool::unlimited(), 10);
    for _ in 0..BURST {
        bench.rx[0].put(&testing::frame(MAC_V4, &testing::udp_v4("203.0.113.50", "192.0.2.1", b"x")));
    }
    let counts = bench.turn();
    assert_eq!(counts.event(Event::Sent), 10);
    assert_eq!(counts.dropped(DropReason::TransmitQueueFull), BURST as u64 - 10);
    assert_eq!(counts.event(Event::SentBytes), 10 * (14 + 40 + 9));
}

#[test]
fn dropped_datagrams_without_checksum_are_sampled() {
    let mut bench = Bench::new(MemoryPool::unlimited(), usize::MAX);
    let mut packet = testing::udp_v4("203.0.113.50", "192.0.2.1", b"no checksum");
    packet[26..28].fill(0);
    for _ in 0..10 {
        bench.rx[0].put(&testing::frame(MAC_V4, &packet));
    }
    let counts = bench.turn();
    assert_eq!(counts.dropped(DropReason::UdpZeroChecksum), 10);
    bench.rx[0].put(&testing::frame(MAC_V4, &packet));
    bench.turn();
    assert!(bench.punts().is_empty());
    let [event] = bench.events[..] else {
        panic!("one event, for the clock stands still: {:?}", bench.events)
    };
    assert_eq!((event.source, event.source_l4_port), ("203.0.113.50".parse().unwrap(), 40_000));
    assert_eq!((event.destination, event.destination_l4_port), ("192.0.2.1".parse().unwrap(), 53));
    assert_eq!(event.suppressed, 9);
}

#[test]
fn without_buffers_frames_of_the_kernel_are_dropped_and_counted() {
    let mut bench = Bench::new(MemoryPool::limited(0), usize::MAX);
    bench.inject.send(PortId(0), &[1; 60]).unwrap();
    let counts = bench.turn();
    assert_eq!(counts.dropped(DropReason::NoBuffer), 1);
}

#[test]
fn interfaces_in_a_table_apart_forward_by_it_and_then_by_the_main_one() {
    use crate::table::fib::Fib;
    use crate::table::routing::{
        Change, Hop, Interface, InterfaceId, MacAddress, Neighbor, NeighborState, Route, RouteAction, TableId,
    };
    let red = TableId(1);
    let mut bench = Bench::new(MemoryPool::unlimited(), usize::MAX);
    let mut compiler = crate::table::compiler::Compiler::default();
    let routing = testing::routing(1500, 1500);
    routing.changes().into_iter().for_each(|change| compiler.apply(change));
    // VLAN 100 of port 0 is in a VRF of its own, whose servers are behind another router on port 1.
    compiler.apply(Change::Interface(Interface { table: red, ..routing.interfaces[2].clone() }));
    let (router, mac) = ("fe80::2".parse().unwrap(), MacAddress([2, 0, 0, 0, 0, 0x22]));
    let state = NeighborState::Resolved(mac);
    compiler.apply(Change::Neighbor(Neighbor { interface: InterfaceId(1), address: router, state }));
    let hops = vec![Hop { interface: InterfaceId(1), gateway: Some(router), weight: 1 }];
    for (destination, action) in [
        ("2001:db8:12::/47", RouteAction::Via(hops)),
        ("198.18.0.0/16", RouteAction::Blackhole),
        ("198.51.100.77/32", RouteAction::Local),
    ] {
        let route = Route { destination: destination.parse().unwrap(), action, mtu: None };
        compiler.apply(Change::Route { table: red, route });
    }
    let fib: Arc<Fib> = Arc::new(compiler.version());
    bench.publisher.publish(|snapshot| snapshot.fib = fib);

    let tagged = |packet: &[u8]| {
        let mut frame = testing::frame(MAC_V4, packet);
        frame.splice(12..12, [0x81, 0, 0, 100]);
        frame
    };
    let translated = testing::udp_v4("203.0.113.50", "192.0.2.1", b"to six");
    let mut walked = testing::udp_v4("203.0.113.50", "192.0.2.1", &[9; 24]);
    testing::set_fragment_v4(&mut walked, 7, false, true, 0);
    let native = testing::udp_v4("203.0.113.50", "198.18.0.1", b"native");
    let elsewhere = testing::udp_v4("203.0.113.50", "198.19.0.1", b"native");
    for packet in [&translated, &walked, &native, &elsewhere] {
        bench.rx[0].put(&tagged(packet));
        bench.rx[0].put(&testing::frame(MAC_V4, packet));
    }
    let counts = bench.turn();
    let to_six: Vec<[u8; 6]> = bench.tx[1].take().iter().map(|frame| *frame.first_chunk().unwrap()).collect();
    assert_eq!(to_six, [mac.0, MAC_PEER.0, mac.0, MAC_PEER.0], "by the lane, and by the walk");
    assert_eq!(counts.dropped(DropReason::RouteBlackhole), 1);
    assert_eq!(bench.tx[0].take().len(), 3, "the main table has what that of the VRF lacks");
    let own = testing::udp_v4("203.0.113.50", "198.51.100.77", b"hello");
    bench.rx[0].put(&tagged(&own));
    bench.rx[0].put(&testing::frame(MAC_V4, &own));
    bench.turn();
    assert_eq!(bench.punts(), [(PuntReason::LocalAddress, tagged(&own))]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_frame_ends_exactly_once(
        frames in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..2, any::<u64>(), 0_u8..4), 1..80),
        tx_limit in 0_usize..70, buffers in 0_usize..40,
    ) {
        let mut big = testing::udp_v4("203.0.113.50", "192.0.2.1", &[3; 1400]);
        testing::set_fragment_v4(&mut big, 7, false, false, 0);
        let templates = [
            testing::udp_v4("203.0.113.50", "192.0.2.1", b"to six"),
            testing::udp_v4("203.0.113.50", "192.0.2.99", b"unassigned"),
            testing::udp_v6("2001:db8:12:34::1", "2001:db8:46::203.0.113.50", b"to four"),
            testing::udp_v6("2001:db8:12:34::2", "2001:db8:46::203.0.113.50", b"unmapped"),
            testing::udp_v6("2001:db8:12:34::2", "2001:db8:99::1", b"native"),
            big,
        ];
        let mut bench = Bench::new(MemoryPool::limited(buffers), tx_limit);
        for (template, port, noise, mutation) in frames {
            let mut frame = testing::frame([MAC_V4, MAC_V6][port], &templates[template.index(templates.len())]);
            let at = noise as usize % frame.len();
            match mutation {
                0 => frame[at] = (noise >> 32) as u8,
                1 => frame.truncate(at),
                2 => frame.extend_from_slice(&[0x55; 30]),
                _ => {}
            }
            bench.rx[port].put(&frame);
        }
        bench.turn();
    }
}
