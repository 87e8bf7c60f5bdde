//! Whole frames on both ports of a worker.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;

use dataplane::buffer::Buffer;
use dataplane::counters::{Counts, Event};
use dataplane::exception::{InjectSender, PuntReceiver, Punted, inject_ring, punt_ring};
use dataplane::io::{Frames, ReceiveQueue, TransmitQueue};
use dataplane::memory::{MemoryBuffer, MemoryPool};
use dataplane::meter::{MeterSlot, Metering};
use dataplane::sink::Sink;
use dataplane::table::fib::Fib;
use dataplane::table::publish::Publisher;
use dataplane::table::routing::{Hop, InterfaceId, MacAddress, PortId, Route, RouteAction};
use dataplane::table::snapshot::Snapshot;
use dataplane::verdict::{DropReason, PuntReason};
use dataplane::walk::Wanted;
use dataplane::worker::{Clock, Poll, Worker, WorkerParts};

use super::Judgement;
use super::bytes::Bytes;
use super::naive::{Ip, Reading, word};
use super::packet;
use super::relay::{MAC_PEER, MACS, VLAN, routing};
use super::world::World;

pub mod explained;

type Wire = Rc<RefCell<VecDeque<Vec<u8>>>>;

struct Receive(Wire);

/// Takes at most this many frames per call.
struct Send(Wire, usize);

impl ReceiveQueue for Receive {
    type Buffer = MemoryBuffer;

    fn receive(&mut self, frames: &mut Frames<MemoryBuffer>, _: &mut Sink<MemoryBuffer>) -> usize {
        let mut wire = self.0.borrow_mut();
        let count = wire.len().min(frames.remaining_capacity());
        frames.extend(wire.drain(..count).map(|frame| MemoryBuffer::new(&frame)));
        count
    }
}

impl TransmitQueue for Send {
    type Buffer = MemoryBuffer;

    fn transmit(&mut self, frames: &mut Frames<MemoryBuffer>) {
        let taken = frames.drain(..frames.len().min(self.1));
        self.0.borrow_mut().extend(taken.map(|frame| frame.data().to_vec()));
    }
}

struct Bench {
    worker: Worker<Receive, Send, MemoryPool>,
    receive: [Wire; 2],
    sent: [Wire; 2],
    punted: PuntReceiver,
    inject: InjectSender,
}

/// One more address of every interface, as VRRP has them.
const MAC_EXTRA: MacAddress = MacAddress([0, 0, 0x5e, 0, 1, 7]);

/// A route that ends in one of the ways only the kernel's tables know, for 203.0.113.0/25 and 2001:db8:12::/48.
fn further_routes(from: &mut Bytes<'_>) -> Vec<Route> {
    let unresolved = |interface| {
        RouteAction::Via(vec![Hop { interface: InterfaceId(interface), gateway: None, weight: 1 }])
    };
    let actions = [
        None,
        None,
        Some(unresolved(1)),
        Some(unresolved(2)),
        Some(RouteAction::Kernel),
        Some(RouteAction::Unreachable),
        Some(RouteAction::Prohibit),
        Some(RouteAction::Blackhole),
        Some(RouteAction::Local),
    ];
    let mtu = from.pick(&[None, None, Some(1280), Some(1400), Some(68), Some(20)]);
    let networks: [ipnet::IpNet; 2] = [
        ipnet::Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 0), 25).into(),
        ipnet::Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0, 0, 0, 0, 0), 48).into(),
    ];
    networks
        .into_iter()
        .filter_map(|destination| {
            let action = actions[usize::from(from.byte()) % actions.len()].clone()?;
            Some(Route { destination, action, mtu })
        })
        .collect()
}

fn snapshot(world: &World, routes: &[Route]) -> Snapshot {
    let mut routing = routing(world, routes);
    for interface in &mut routing.interfaces {
        interface.extra_macs = vec![MAC_EXTRA];
    }
    Snapshot {
        generation: 1,
        translation: Arc::new(world.translation()),
        fib: Arc::new(Fib::build(&routing)),
    }
}

impl Bench {
    fn new(world: &World, from: &mut Bytes<'_>) -> Self {
        let routes = further_routes(from);
        let ring = from.pick(&[1 << 17, 1 << 17, 2000, 64]);
        let limit = from.pick(&[usize::MAX, usize::MAX, 2, 0]);
        let pool = from.pick(&[usize::MAX, usize::MAX, 1, 0]);
        let mut snapshot = snapshot(world, &routes);
        let mut translation = world.translation();
        translation.settings.forward_native = !from.once_in(8);
        snapshot.translation = Arc::new(translation);
        Self::with(snapshot, ring, limit, pool)
    }

    fn with(snapshot: Snapshot, ring: usize, limit: usize, pool: usize) -> Self {
        let publisher = Publisher::new(snapshot);
        let (receive, sent) = <([Wire; 2], [Wire; 2])>::default();
        let (punt, punted) = punt_ring(ring, Arc::new(|| ()));
        let (inject, injected) = inject_ring(1 << 17);
        let worker = Worker::new(WorkerParts {
            receive: receive.iter().cloned().map(Receive).collect(),
            transmit: sent.iter().cloned().map(|wire| Send(wire, limit)).collect(),
            pool: MemoryPool::limited(pool),
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
        Self { worker, receive, sent, punted, inject }
    }
}

/// Up to eight frames that `from` describes.
pub fn check(world: &World, from: &mut Bytes<'_>) -> Judgement {
    let mut bench = Bench::new(world, from);
    let mut received = Vec::new();
    let mut injected: u64 = 0;
    for _ in 0..=from.byte() % 8 {
        let port = usize::from(from.byte() & 1);
        let frame = frame(world, from, port);
        if from.once_in(16) {
            let offered = bench.inject.send(PortId(port as u16), &frame);
            injected += u64::from(offered.is_ok());
        } else {
            bench.receive[port].borrow_mut().push_back(frame.clone());
        }
        received.push((port, frame));
    }
    while bench.worker.turn() {}
    let received_count = received.len() as u64 - injected;
    conserved(bench.worker.counts(), received_count, injected)?;
    let mut sent = 0;
    for (port, wire) in bench.sent.iter().enumerate() {
        for frame in wire.borrow().iter() {
            sent += 1;
            let is_injected = injected > 0 && received.iter().any(|(_, known)| known == frame);
            if !is_injected {
                outgoing(world, port, frame).map_err(|why| format!("{why}\n{frame:02x?}\n{world:?}"))?;
            }
        }
    }
    let counted = bench.worker.counts().event(Event::Sent);
    ensure!(sent == counted, "{sent} frames sent, {counted} counted");
    punted(&mut bench, &received)
}

/// What went through both workers.
#[derive(Default)]
pub struct Compared {
    pub frames: u64,
    pub translated: u64,
    pub native: u64,
}

/// Bursts of frames that `from` describes through two workers with the same tables and keys, one of which has no express
/// lane: both send the same frames, punt the same, and count the same. What there was to compare.
pub fn compare(world: &World, from: &mut Bytes<'_>) -> Result<Compared, String> {
    let mut lane = Bench::new(world, &mut Bytes(from.0));
    let mut walk = Bench::new(world, from);
    walk.worker = walk.worker.without_express_lane(&lane.worker);
    let meters = [(); 2].map(|()| MeterSlot::new(Metering::Exact, 1000));
    lane.worker.count_mappings(Some(meters[0].meter()));
    walk.worker.count_mappings(Some(meters[1].meter()));
    let mut frames = 0;
    while !from.is_empty() && frames < 30 {
        let port = usize::from(from.byte() & 1);
        let frame = changed(frame(world, &mut Bytes(take(from, 100)), port), from);
        for bench in [&lane, &walk] {
            bench.receive[port].borrow_mut().push_back(frame.clone());
        }
        frames += 1;
        if from.once_in(4) {
            agree(&mut lane, &mut walk)?;
        }
    }
    agree(&mut lane, &mut walk)?;
    metered_alike(&meters)?;
    let counts = lane.worker.counts();
    let translated = counts.event(Event::TranslatedV4ToV6) + counts.event(Event::TranslatedV6ToV4);
    Ok(Compared { frames, translated, native: counts.event(Event::Native) })
}

/// Both counted the same traffic for the same mappings.
fn metered_alike(meters: &[MeterSlot; 2]) -> Judgement {
    let [by_lane, by_walk] = meters.each_ref().map(|slot| {
        let mut traffic = HashMap::new();
        slot.read(&mut traffic, |_| true);
        traffic
    });
    ensure!(by_lane == by_walk, "traffic of mappings\nlane {by_lane:?}\nwalk {by_walk:?}");
    Ok(())
}

fn take<'a>(from: &mut Bytes<'a>, count: usize) -> &'a [u8] {
    let (front, rest) = from.0.split_at(count.min(from.0.len()));
    from.0 = rest;
    front
}

/// The frame with something of its link layer changed: destination, tag, padding, length.
fn changed(mut frame: Vec<u8>, from: &mut Bytes<'_>) -> Vec<u8> {
    let mut bits = [0; 6];
    bits[from.below(6)] = 1 << (from.byte() % 8);
    match from.byte() % 16 {
        0 | 1 if frame.len() > 5 => frame[..6].copy_from_slice(&MAC_EXTRA.0),
        2 if frame.len() > 5 => frame[0] ^= 1,
        3 if frame.len() > 5 => {
            let near = from.pick(&[MACS[0].0, MACS[1].0, MAC_EXTRA.0]);
            frame.iter_mut().zip(near).zip(bits).for_each(|((byte, near), bit)| *byte = near ^ bit);
        }
        4 if frame.len() > 11 => drop(frame.splice(12..12, [0x81, 0x00, from.byte(), VLAN as u8])),
        5 if frame.len() > 11 => drop(frame.splice(12..12, [0x81, 0x00, 0, 0])),
        6 | 7 => frame.resize(frame.len().max(60) + from.below(60), from.byte()),
        8 => frame.truncate(frame.len().saturating_sub(from.below(40))),
        _ => {}
    }
    frame
}

fn agree(lane: &mut Bench, walk: &mut Bench) -> Judgement {
    let received = format!("{:02x?}", lane.receive);
    let [by_lane, by_walk] = [lane, walk].map(|bench| {
        while bench.worker.turn() {}
        let sent: Vec<_> = bench.sent.iter().map(|wire| std::mem::take(&mut *wire.borrow_mut())).collect();
        let mut punts = Vec::new();
        while bench.punted.receive(|punted| punts.push(format!("{punted:02x?}"))).is_some() {}
        (sent, punts, bench.worker.counts().clone())
    });
    ensure!(by_lane.0 == by_walk.0, "{received}\nlane {:02x?}\nwalk {:02x?}", by_lane.0, by_walk.0);
    ensure!(by_lane.1 == by_walk.1, "{received}\nlane {:?}\nwalk {:?}", by_lane.1, by_walk.1);
    let differing =
        |(event, lane, walk): (&str, u64, u64)| (lane != walk).then(|| format!("{event} {lane} {walk}"));
    let cells =
        Event::ALL.iter().map(|event| (event.name(), by_lane.2.event(*event), by_walk.2.event(*event)));
    let cells: Vec<_> = cells.filter_map(differing).collect();
    ensure!(by_lane.2 == by_walk.2, "{received}\nlane and walk count differently: {cells:?}");
    Ok(())
}

/// A frame around a packet, mostly for the port it is received on.
fn frame(world: &World, from: &mut Bytes<'_>, port: usize) -> Vec<u8> {
    let group = [0x33, 0x33, 0, 0, 0, 1];
    let mut frame = from
        .pick(&[MACS[port].0, MACS[port].0, MACS[port].0, MACS[port].0, [0xff; 6], group, MAC_PEER.0])
        .to_vec();
    frame.extend(MAC_PEER.0);
    if from.once_in(6) {
        let tag = from.pick(&[VLAN, VLAN, 0, 7, 0xe064]);
        frame.extend(0x8100_u16.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    let family = match from.byte() % 8 {
        0 => from.pick(&[4, 6]),
        _ => [4, 6][port],
    };
    let ether_type: u16 = match (from.byte(), family) {
        (0xff, _) => from.pick(&[0x0806, 0x88cc, 0x8100, 0x0800, 0x86dd]),
        (_, 4) => 0x0800,
        _ => 0x86dd,
    };
    frame.extend(ether_type.to_be_bytes());
    let (_, packets) = packet::from_bytes(world.clone(), from, family);
    frame.extend(packets.into_iter().next().unwrap());
    if from.byte() == 0xff {
        frame.truncate(from.below(24));
    }
    // Ports receive no more than this.
    frame.truncate(9018);
    frame
}

fn conserved(counts: &Counts, received: u64, injected: u64) -> Judgement {
    ensure!(counts.event(Event::Received) == received, "{received} received, not all counted");
    ensure!(counts.event(Event::OriginatedKernel) == injected, "{injected} injected, not all counted");
    let into = received + counts.originated();
    let out = counts.event(Event::Sent) + counts.all_punted() + counts.all_dropped();
    ensure!(into == out, "{into} packets came in or were made, {out} ended");
    Ok(())
}

fn outgoing(world: &World, port: usize, frame: &[u8]) -> Judgement {
    ensure!(frame.len() >= 34, "a frame of {} bytes", frame.len());
    ensure!(frame[..6] == MAC_PEER.0 && frame[6..12] == MACS[port].0, "the frame is for somebody else");
    let start = if word(frame, 12) == 0x8100 { 18 } else { 14 };
    let packet = &frame[start..];
    let family = match word(frame, start - 2) {
        0x0800 => 4,
        0x86dd => 6,
        other => return Err(format!("EtherType {other:04x}")),
    };
    // Native packets may have anything behind their IPv6 header.
    let reading = match family {
        4 => Reading::Received,
        _ => Reading::Sent { fragment: false },
    };
    let ip = Ip::read(packet, reading)?;
    ensure!(ip.family == family, "EtherType and version differ");
    ensure!(ip.length == packet.len(), "{} bytes in a frame for {}", ip.length, packet.len());
    ensure!(ip.ttl > 0, "TTL 0 was sent");
    let mtu = usize::from([world.mtu4, world.mtu6][port]);
    ensure!(packet.len() <= mtu, "{} bytes on a link of {mtu}", packet.len());
    Ok(())
}

/// The kernel gets frames as they were received, and packets for next hops on a link.
fn punted(bench: &mut Bench, received: &[(usize, Vec<u8>)]) -> Judgement {
    let mut count = 0;
    while let Some(is_packet) = bench.punted.receive(|punted| is_good_punt(&punted, received)) {
        count += u64::from(is_packet?);
    }
    let counts = bench.worker.counts();
    let punted: u64 = PuntReason::ALL.iter().map(|reason| counts.punted(*reason)).sum();
    ensure!(count == punted, "{count} punted, {punted} counted");
    Ok(())
}

/// Whether what was punted is a packet; other messages to the control thread are not counted.
fn is_good_punt(punted: &Punted<'_>, received: &[(usize, Vec<u8>)]) -> Result<bool, String> {
    match punted {
        Punted::Frame { port, reason, bytes } => {
            let known = received.iter().any(|(at, frame)| *at == usize::from(port.0) && frame == bytes);
            ensure!(known, "a punted frame was changed ({})", reason.name());
        }
        Punted::Unresolved { interface, next_hop, packet } => {
            ensure!(interface.0 < 3, "an unknown interface {interface:?}");
            let family = if matches!(next_hop, IpAddr::V4(_)) { 4 } else { 6 };
            ensure!(packet[0] >> 4 == family, "IPv{family} next hop for another family");
        }
        Punted::Translated { .. }
        | Punted::Probed { .. }
        | Punted::Sample { .. }
        | Punted::ZeroChecksum(_) => return Ok(false),
    }
    Ok(true)
}
