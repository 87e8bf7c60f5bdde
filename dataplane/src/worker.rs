//! One lcore's loop: run to completion over bursts, on its own queue of every port.
//!
//! A turn pins the newest snapshot and reads the clock once, sends what the kernel injected, takes a burst from
//! each port through the walk and hands the results over. Between turns nothing of a packet is left in the
//! worker, so stopping is simply not taking another turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::buffer::{Buffer, BufferPool};
use crate::counters::{CounterCells, Counts, Event};
use crate::exception::{InjectReceiver, PuntSender, ZeroChecksum};
use crate::io::{BURST, Frames, ReceiveQueue, TransmitQueue};
use crate::punt::{self, Policer};
use crate::stage::icmp_error::TokenBucket;
use crate::stage::parse::{self, Family, Link};
use crate::table::publish::SnapshotReader;
use crate::table::routing::{MacAddress, PortId};
use crate::table::snapshot::Snapshot;
use crate::table::translation::IcmpErrors;
use crate::transmit::Transmit;
use crate::verdict::{DropReason, PuntReason, Verdict};
use crate::walk::express::{Lane, Lanes, add};
use crate::walk::{End, LcoreState, Native, Walk};
use crate::wire::ethernet;

/// A cycle counter: how to read it, and how many cycles are one second.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Reads the counter.
    pub now: fn() -> u64,
    /// Cycles per second.
    pub hertz: u64,
}

/// What a worker does when there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// Looks again at once, then pauses, then sleeps for up to 200 microseconds.
    Adaptive,
    /// Always looks again at once.
    Busy,
}

/// Ends the loops of all workers when it is true. On cache lines of its own: workers read it every turn.
pub type StopFlag = CachePadded<AtomicBool>;

/// Everything one worker owns.
pub struct WorkerParts<R, T, P> {
    /// Its receive queue on each port, in the order of the ports.
    pub receive: Vec<R>,
    /// Its transmit queue on each port, in the order of the ports.
    pub transmit: Vec<T>,
    /// Its source of new buffers.
    pub pool: P,
    /// Its view of the tables.
    pub reader: SnapshotReader,
    /// Its ring to the kernel.
    pub punt: PuntSender,
    /// Its ring from the kernel.
    pub inject: InjectReceiver,
    /// Where its counts are published.
    pub cells: Arc<CounterCells>,
    /// Ends the loop.
    pub stop: Arc<StopFlag>,
    /// Cycle counter.
    pub clock: Clock,
    /// What to do when idle.
    pub poll: Poll,
}

/// A worker.
pub struct Worker<R: ReceiveQueue, T: TransmitQueue, P> {
    receive: Vec<R>,
    frames: Frames<R::Buffer>,
    transmit: Transmit<T>,
    pool: P,
    reader: SnapshotReader,
    inject: InjectReceiver,
    lcore: LcoreState,
    /// The setting that `lcore` has its limit from.
    icmp_errors: IcmpErrors,
    policer: Policer,
    /// One management event per second.
    events: TokenBucket,
    cells: Arc<CounterCells>,
    stop: Arc<StopFlag>,
    clock: Clock,
    poll: Poll,
}

impl<R, T, P, B> Worker<R, T, P>
where
    B: Buffer,
    R: ReceiveQueue<Buffer = B>,
    T: TransmitQueue<Buffer = B>,
    P: BufferPool<Buffer = B>,
{
    /// Puts a worker together.
    #[must_use]
    pub fn new(mut parts: WorkerParts<R, T, P>) -> Self {
        let icmp_errors = parts.reader.pin().translation.settings.icmp_errors;
        Self {
            receive: parts.receive,
            frames: Frames::new(),
            transmit: Transmit::new(parts.transmit, parts.punt),
            pool: parts.pool,
            reader: parts.reader,
            inject: parts.inject,
            lcore: LcoreState::new(limit(icmp_errors, parts.clock.hertz)),
            icmp_errors,
            policer: Policer::new(parts.clock.hertz),
            events: TokenBucket::new(1, parts.clock.hertz),
            cells: parts.cells,
            stop: parts.stop,
            clock: parts.clock,
            poll: parts.poll,
        }
    }

    /// Runs until the stop flag is set. Queues and buffers are released when it returns.
    pub fn run(mut self) {
        let mut idle_turns = 0_u32;
        let mut unpublished = 0_u32;
        let mut before = (self.clock.now)();
        while !self.stop.load(Ordering::Relaxed) {
            let worked = self.turn();
            idle_turns = if worked { 0 } else { idle_turns.saturating_add(1) };
            if !worked {
                self.rest(idle_turns);
            }
            let after = (self.clock.now)();
            let spent = if worked { Event::BusyCycles } else { Event::IdleCycles };
            self.lcore.counts.add(spent, after.wrapping_sub(before));
            before = after;
            // Numbers lag a little, under load as well as while only the cycles change.
            unpublished += 1;
            if idle_turns == 1 || unpublished == 64 {
                self.publish_counts();
                unpublished = 0;
            }
        }
        self.publish_counts();
    }

    /// One round over the inject ring and every port; whether there was anything to do.
    pub fn turn(&mut self) -> bool {
        let snapshot = self.reader.pin();
        let now = (self.clock.now)();
        let icmp_errors = snapshot.translation.settings.icmp_errors;
        if icmp_errors != self.icmp_errors {
            self.icmp_errors = icmp_errors;
            self.lcore.icmp_errors = limit(icmp_errors, self.clock.hertz);
        }
        if let Some(limit) = &mut self.lcore.icmp_errors {
            limit.refill(now);
        }
        let mut worked = inject(&mut self.inject, &mut self.pool, &mut self.transmit);
        for (number, queue) in (0..).zip(&mut self.receive) {
            if queue.receive(&mut self.frames) == 0 {
                continue;
            }
            worked = true;
            let mut burst = Burst {
                port: PortId(number),
                snapshot,
                lcore: &mut self.lcore,
                policer: &mut self.policer,
                now,
                pool: &mut self.pool,
                transmit: &mut self.transmit,
            };
            burst.walk(&mut self.frames);
        }
        self.transmit.flush();
        report(&mut self.lcore.zero_checksum, &mut self.events, &mut self.transmit.punt, now);
        self.transmit.punt.ring_doorbell();
        worked
    }

    /// What this worker counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.lcore.counts.clone();
        counts.merge(&self.transmit.counts);
        counts
    }

    fn publish_counts(&self) {
        self.cells.store(&self.counts());
    }

    /// Backs off: a few looks at once, then pauses, then sleeps. A sleeping worker wakes in time for the
    /// receive rings of any port (1024 frames are 68 microseconds at 10G line rate and are not lost sooner).
    fn rest(&self, idle_turns: u32) {
        const PAUSES: u32 = 200;
        const SHORT: Duration = Duration::from_micros(10);
        const LONG: Duration = Duration::from_micros(200);
        match self.poll {
            Poll::Busy => std::hint::spin_loop(),
            Poll::Adaptive if idle_turns < PAUSES => std::hint::spin_loop(),
            Poll::Adaptive if idle_turns < 4 * PAUSES => std::thread::sleep(SHORT),
            Poll::Adaptive => std::thread::sleep(LONG),
        }
    }
}

/// The limit of the ICMP errors the relay originates, if there is one.
fn limit(setting: IcmpErrors, hertz: u64) -> Option<TokenBucket> {
    match setting {
        IcmpErrors::Limit(rate) => Some(TokenBucket::new(rate, hertz)),
        IcmpErrors::Send | IcmpErrors::Off => None,
    }
}

/// Sends what the kernel injected, before anything that was received.
fn inject<T: TransmitQueue, P: BufferPool<Buffer = T::Buffer>>(
    ring: &mut InjectReceiver,
    pool: &mut P,
    transmit: &mut Transmit<T>,
) -> bool {
    let mut any = false;
    for _ in 0..BURST {
        let Some((port, frame)) = ring.receive() else {
            break;
        };
        any = true;
        transmit.counts.count(Event::OriginatedKernel);
        let copied = pool.allocate().and_then(|mut buffer| {
            buffer.push_back(frame.len()).ok()?;
            buffer.data_mut().copy_from_slice(frame);
            Some(buffer)
        });
        match copied {
            Some(buffer) => transmit.enqueue(port, buffer),
            None => transmit.counts.end(Verdict::Dropped(DropReason::NoBuffer)),
        }
    }
    any
}

/// Sends the sampled management event, when it is time for one.
#[inline]
fn report(sample: &mut Option<ZeroChecksum>, events: &mut TokenBucket, punt: &mut PuntSender, now: u64) {
    let Some(event) = *sample else { return };
    events.refill(now);
    if events.take() && punt.send_zero_checksum(event).is_ok() {
        *sample = None;
    }
}

/// How a plain frame begins on a port that is up: for the port itself, without a tag.
struct PlainLink(Option<MacAddress>);

impl PlainLink {
    fn of(snapshot: &Snapshot, port: PortId) -> Self {
        let interface = snapshot.fib.ingress(port, None).filter(|interface| interface.up);
        Self(interface.map(|interface| interface.mac))
    }

    #[inline(always)]
    fn inspect<'a>(&self, lane: &mut Lane<'a>, frame: &[u8], snapshot: &'a Snapshot) {
        match (self.0, frame.split_first_chunk::<{ ethernet::HEADER }>()) {
            (Some(mac), Some((link, packet))) if link[..6] == mac.0 => {
                match u16::from_be_bytes([link[12], link[13]]) {
                    ethernet::TYPE_IPV4 => lane.inspect_ipv4(packet, snapshot),
                    ethernet::TYPE_IPV6 => lane.inspect_ipv6(packet, snapshot),
                    _ => lane.leave(),
                }
            }
            _ => lane.leave(),
        }
    }
}

/// What the frames of one burst meet.
struct Burst<'a, T: TransmitQueue, P> {
    port: PortId,
    snapshot: &'a Snapshot,
    lcore: &'a mut LcoreState,
    policer: &'a mut Policer,
    /// When the turn began.
    now: u64,
    pool: &'a mut P,
    transmit: &'a mut Transmit<T>,
}

impl<B: Buffer, T: TransmitQueue<Buffer = B>, P: BufferPool<Buffer = B>> Burst<'_, T, P> {
    fn walk(&mut self, frames: &mut Frames<B>) {
        let bytes = frames.iter().map(|frame| frame.data().len() as u64).sum();
        let counts = &mut self.lcore.counts;
        counts.count(Event::Bursts);
        counts.add(Event::Received, frames.len() as u64);
        counts.add(Event::ReceivedBytes, bytes);
        let snapshot = self.snapshot;
        let plain = PlainLink::of(snapshot, self.port);
        let mut lanes = Lanes::new();
        for frame in frames.iter() {
            plain.inspect(add(&mut lanes), frame.data(), snapshot);
        }
        for lane in &mut lanes {
            lane.resolve(snapshot);
        }
        for (lane, frame) in lanes.iter().zip(frames.drain(..)) {
            if lane.is_left() {
                self.frame(frame);
            } else {
                self.walker().send_lane(frame, ethernet::HEADER, lane);
            }
        }
    }

    #[inline]
    fn walker(&mut self) -> Walk<'_, P, Transmit<T>> {
        Walk {
            snapshot: self.snapshot,
            lcore: self.lcore,
            pool: self.pool,
            output: self.transmit,
            native: Native::Forward,
        }
    }

    #[inline]
    fn frame(&mut self, mut frame: B) {
        match parse::link(frame.data(), self.port, &self.snapshot.fib) {
            Link::Ip { family, offset, ingress } => {
                let length = frame.data().len();
                frame.pull_front(offset);
                let mut walk = self.walker();
                let end = match family {
                    Family::Ipv4 => walk.walk_ipv4(frame, ingress),
                    Family::Ipv6 => walk.walk_ipv6(frame, ingress),
                };
                if let End::Punted(packet, reason) = end {
                    self.punt_packet(packet, family, reason, offset, length);
                }
            }
            Link::Punt(reason) => self.punt(frame.data(), reason),
            Link::Drop(reason) => self.lcore.counts.end(Verdict::Dropped(reason)),
        }
    }

    /// Gives the kernel the frame as it was received: nothing was written, only the ends were moved.
    fn punt_packet(
        &mut self,
        mut packet: B,
        family: Family,
        reason: PuntReason,
        offset: usize,
        length: usize,
    ) {
        let class = punt::class(family, packet.data(), reason);
        let padding = length - offset - packet.data().len();
        let restored = packet.push_front(offset).and_then(|()| packet.push_back(padding));
        debug_assert!(restored.is_ok(), "the room was the frame's own");
        self.punt(packet.data(), class);
    }

    fn punt(&mut self, frame: &[u8], class: PuntReason) {
        let verdict = if !self.policer.admit(class, self.now) {
            Verdict::Dropped(DropReason::PuntPoliced)
        } else if self.transmit.punt.send_frame(self.port, class, frame).is_err() {
            Verdict::Dropped(DropReason::PuntRingFull)
        } else {
            Verdict::Punted(class)
        };
        self.lcore.counts.end(verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exception::{InjectSender, PuntReceiver, Punted, inject_ring, punt_ring};
    use crate::io::Refused;
    use crate::memory::{MemoryBuffer, MemoryPool};
    use crate::table::publish::Publisher;
    use crate::testing::{self, MAC_PEER, MAC_V4, MAC_V6};
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

        fn receive(&mut self, frames: &mut Frames<MemoryBuffer>) -> usize {
            let mut wire = self.0.0.lock().unwrap();
            let count = wire.len().min(frames.remaining_capacity());
            frames.extend(wire.drain(..count).map(|frame| MemoryBuffer::new(&frame)));
            count
        }
    }

    impl TransmitQueue for Tx {
        type Buffer = MemoryBuffer;

        fn transmit(&mut self, frames: &mut Frames<MemoryBuffer>) -> Refused {
            let refused = Refused::of(frames.iter().skip(self.1));
            for frame in frames.drain(..).take(self.1) {
                self.0.put(frame.data());
            }
            frames.clear();
            refused
        }
    }

    struct Bench {
        publisher: Publisher,
        worker: Worker<Rx, Tx, MemoryPool>,
        rx: [Wire; 2],
        tx: [Wire; 2],
        punted: PuntReceiver,
        events: Vec<ZeroChecksum>,
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
            });
            Self { publisher, worker, rx, tx, punted, events: Vec::new(), inject }
        }

        fn turn(&mut self) -> Counts {
            while self.worker.turn() {}
            let counts = self.worker.counts();
            let into = counts.event(Event::Received) + counts.originated();
            let out = counts.event(Event::Sent) + counts.all_punted() + counts.all_dropped();
            assert_eq!(into, out, "received + originated = sent + punted + dropped");
            counts
        }

        fn punts(&mut self) -> Vec<(PuntReason, Vec<u8>)> {
            let mut all = Vec::new();
            while let Some(()) = self.punted.receive(|punted| match punted {
                Punted::Frame { reason, bytes, .. } => all.push((reason, bytes.to_vec())),
                Punted::Unresolved { packet, .. } => {
                    all.push((PuntReason::UnresolvedNextHop, packet.to_vec()))
                }
                Punted::ZeroChecksum(event) => self.events.push(event),
            }) {}
            all
        }
    }

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
}
