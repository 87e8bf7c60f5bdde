//! Captures under way: records out of the workers' rings, in one stream each, bounded in time and number.
//!
//! What is drained waits for one more round before it is delivered, because a port that refuses a packet does so after its
//! record was written. A packet that finds its reader's queue full is not delivered; numbers tell how many were lost.

use std::time::{Duration, Instant, SystemTime};

use dataplane::sink::filter::{Fate, Filter};
use dataplane::sink::tap::{Capture, Captured};
use dataplane::table::routing::PortId;
use dataplane::verdict::DropReason;

use super::kept::Anchor;

/// Records of one worker and round.
const ROUND: usize = 1024;
/// How often a reader hears how it stands.
const PROGRESS: Duration = Duration::from_secs(1);
/// Rounds in which workers notice that a capture is over, and leave its last records.
const LAST_ROUNDS: u32 = 3;

/// What to capture.
#[derive(Debug, Clone)]
pub struct CaptureOrder {
    /// Which packets.
    pub filter: Filter,
    /// So many at most.
    pub count: u64,
    /// For so long at most.
    pub time: Duration,
    /// Packets a second at most, of all workers together.
    pub rate: u32,
    /// Bytes of each side of a packet at most.
    pub snap: usize,
}

/// One packet, from its coming to its going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedPacket {
    /// Its number in the capture; ascending for each worker, no two are the same.
    pub id: u64,
    /// The worker, whose queue of every port has the same number.
    pub worker: u16,
    /// When, to the turn of its worker.
    pub time: SystemTime,
    /// The port it was received on.
    pub port: PortId,
    /// What became of it.
    pub fate: Fate,
    /// It took the express lane.
    pub express: bool,
    /// The frame as it was received.
    pub before: Frame,
    /// Frames that were sent, with the ports they were sent by.
    pub after: Vec<(PortId, Frame)>,
    /// How many were sent, more than are kept if there were many.
    pub pieces: usize,
    /// Packets of the same worker that passed the filter since the one before, and are lost.
    pub lost: u64,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Bytes it had.
    pub length: usize,
    /// The first of them.
    pub bytes: Vec<u8>,
}

/// How a capture stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaptureTotals {
    /// Packets that passed the filter: those that were delivered, and those that were lost.
    pub matched: u64,
    /// Packets that were delivered.
    pub captured: u64,
    /// Packets that passed the filter and were not: too many a second, or the reader was too slow.
    pub lost: u64,
    /// By port.
    pub ports: Vec<PortTotals>,
}

/// Packets of a capture on one port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortTotals {
    /// Received on it, those that are lost included.
    pub received: u64,
    /// Lost of those.
    pub received_lost: u64,
    /// Frames sent by it, those that are lost included.
    pub sent: u64,
    /// Lost of those.
    pub sent_lost: u64,
}

/// Why a capture is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It has as many packets as were wanted.
    Count,
    /// Its time has passed.
    Time,
    /// The relay is stopping.
    Stopping,
}

/// What a reader is told.
pub enum CaptureEvent {
    /// A packet.
    Packet(Box<CapturedPacket>),
    /// How it stands, once a second.
    Progress(CaptureTotals),
    /// It is over. The last one.
    End(CaptureTotals, Over),
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The reader has it.
    Taken,
    /// The reader's queue is full.
    Full,
    /// The reader is gone.
    Gone,
}

/// Hands events to a reader. Never waits.
pub type Deliver = Box<dyn FnMut(CaptureEvent) -> Delivery + Send>;

/// One capture.
pub(super) struct Session {
    /// By worker; none once it is over.
    workers: Vec<Capture>,
    ports: usize,
    until: Instant,
    count: u64,
    deliver: Deliver,
    /// Drained, and not delivered yet, with their numbers.
    held: Vec<(u64, CapturedPacket)>,
    /// The number of the newest delivered packet of each worker.
    newest: Vec<u64>,
    totals: CaptureTotals,
    told: Instant,
    over: Option<Over>,
    last_rounds: u32,
}

impl Session {
    pub(super) fn new(order: &CaptureOrder, workers: Vec<Capture>, ports: usize, deliver: Deliver) -> Self {
        let now = Instant::now();
        Self {
            newest: vec![0; workers.len()],
            workers,
            ports,
            until: now + order.time,
            count: order.count,
            deliver,
            held: Vec::new(),
            totals: CaptureTotals { ports: vec![PortTotals::default(); ports], ..CaptureTotals::default() },
            told: now,
            over: None,
            last_rounds: LAST_ROUNDS,
        }
    }

    /// Whether workers still look for it.
    pub(super) fn is_on(&self) -> bool {
        !self.workers.is_empty()
    }

    /// How long it goes on at most, if workers still look for it.
    pub(super) fn ends_in(&self) -> Option<Duration> {
        self.is_on().then(|| self.until.saturating_duration_since(Instant::now()))
    }

    /// The relay is stopping.
    pub(super) fn stop(&mut self) {
        self.finish(Over::Stopping);
    }

    /// One round; false when the capture can be forgotten.
    pub(super) fn round(&mut self, anchor: &Anchor) -> bool {
        let fresh = self.drain(anchor);
        let ready = std::mem::replace(&mut self.held, fresh);
        if !ready.into_iter().all(|(number, packet)| self.hand_over(number, packet)) {
            return false;
        }
        if Instant::now() >= self.until {
            self.finish(Over::Time);
        }
        match self.over {
            Some(over) => self.end(over),
            None => self.tell(),
        }
    }

    fn drain(&mut self, anchor: &Anchor) -> Vec<(u64, CapturedPacket)> {
        let (mut fresh, workers) = (Vec::new(), self.workers.len() as u64);
        for (worker, capture) in (0..).zip(&mut self.workers) {
            let held = &mut self.held;
            capture.drain(ROUND, |captured| match captured {
                Captured::Refused { number } => {
                    let mine =
                        |(of, packet): &&mut (u64, CapturedPacket)| *of == number && packet.worker == worker;
                    if let Some((_, packet)) = fresh.iter_mut().chain(held.iter_mut()).find(mine) {
                        packet.fate = Fate::Dropped(DropReason::TransmitQueueFull);
                        packet.after.clear();
                        packet.pieces = 0;
                    }
                }
                Captured::Packet { number, cycles, port, fate, express, length, before, after, pieces } => {
                    let packet = CapturedPacket {
                        id: (number - 1) * workers + u64::from(worker) + 1,
                        worker,
                        time: anchor.time(cycles),
                        port,
                        fate,
                        express,
                        before: Frame { length, bytes: before.to_vec() },
                        after: after
                            .iter()
                            .map(|piece| {
                                (piece.port, Frame { length: piece.length, bytes: piece.bytes.to_vec() })
                            })
                            .collect(),
                        pieces,
                        lost: 0,
                    };
                    fresh.push((number, packet));
                }
            });
        }
        fresh
    }

    /// Whether the reader is still there.
    fn hand_over(&mut self, number: u64, mut packet: CapturedPacket) -> bool {
        if self.totals.captured >= self.count {
            return true;
        }
        let worker = usize::from(packet.worker);
        let lost = number - self.newest[worker] - 1;
        packet.lost = lost;
        let (port, sent) = (usize::from(packet.port.0), ports_of(&packet));
        match (self.deliver)(CaptureEvent::Packet(Box::new(packet))) {
            Delivery::Gone => return false,
            Delivery::Full => return true,
            Delivery::Taken => {}
        }
        self.newest[worker] = number;
        self.totals.captured += 1;
        self.totals.lost += lost;
        if let Some(port) = self.totals.ports.get_mut(port) {
            port.received += 1 + lost;
            port.received_lost += lost;
        }
        for port in sent {
            if let Some(port) = self.totals.ports.get_mut(port) {
                port.sent += 1;
            }
        }
        self.totals.matched = self.totals.captured + self.totals.lost;
        if self.totals.captured >= self.count {
            self.finish(Over::Count);
        }
        true
    }

    /// Workers need not look any longer.
    fn finish(&mut self, why: Over) {
        self.over.get_or_insert(why);
        self.workers.iter().for_each(Capture::stop);
    }

    fn tell(&mut self) -> bool {
        if self.told.elapsed() < PROGRESS {
            return true;
        }
        self.told = Instant::now();
        let totals = self.totals_now();
        (self.deliver)(CaptureEvent::Progress(totals)) != Delivery::Gone
    }

    /// Tells the end, once the last records have come; false when it is told, or nobody is there to hear it.
    fn end(&mut self, over: Over) -> bool {
        if over != Over::Count && self.last_rounds > 0 {
            self.last_rounds -= 1;
            return true;
        }
        let totals = self.totals_now();
        if self.is_on() {
            // What was lost since the last packet is known now: the workers can have their memory back.
            self.totals = totals.clone();
            self.workers.clear();
        }
        (self.deliver)(CaptureEvent::End(totals, over)) == Delivery::Full
    }

    /// Of a capture that goes on until its time is over, everything that passed the filter and was not delivered is lost; one
    /// that has enough ended with its last packet.
    fn totals_now(&self) -> CaptureTotals {
        if self.over == Some(Over::Count) || !self.is_on() {
            return self.totals.clone();
        }
        let mut totals = self.totals.clone();
        totals.matched = self.workers.iter().map(Capture::matched).sum::<u64>().max(totals.captured);
        totals.lost = totals.matched - totals.captured;
        for (index, port) in totals.ports.iter_mut().enumerate().take(self.ports) {
            let (received, sent) = (port.received - port.received_lost, port.sent);
            let counts = self.workers.iter().map(|worker| worker.of_port(index));
            let (all_received, all_sent) =
                counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
            port.received = all_received.max(received);
            port.received_lost = port.received - received;
            port.sent = all_sent.max(sent);
            port.sent_lost = port.sent - sent;
        }
        totals
    }
}

fn ports_of(packet: &CapturedPacket) -> Vec<usize> {
    packet.after.iter().map(|(port, _)| usize::from(port.0)).collect()
}
