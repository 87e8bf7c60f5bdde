//! Writes packets and sends them, at the pace of a schedule.

use std::sync::Arc;

use dataplane::buffer::Buffer;
use dataplane::dpdk::{Mbuf, Mempool, TxQueue};
use dataplane::io::{BURST, Frames, TransmitQueue};

use super::address::Ends;
use super::config::{Config, Rate};
use super::pace::Pacer;
use super::stream::Stream;
use super::tag::SEQUENCE_MASK;

/// Sends the packets of all streams.
pub struct Sender {
    streams: Arc<[Stream]>,
    cursors: Vec<Cursor>,
    lanes: Vec<Lane>,
    pool: Mempool,
}

/// How far a stream has got.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    /// Where this trial began.
    base: u64,
    /// The next sequence number.
    next: u64,
    /// When the first half of a datagram was sent: its second half says the same, for one checksum covers both.
    pair_time: u64,
}

/// The traffic of one port.
struct Lane {
    tx: TxQueue,
    /// Which packet comes when: stream and template, in a round.
    round: Vec<(usize, usize)>,
    place: usize,
    /// Written, and not taken by the port yet.
    waiting: Frames<Mbuf>,
    pacer: Pacer,
    /// Packets this port may still send in this trial.
    left: u64,
}

/// The sending side of a trial.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    /// Packets per second over all ports.
    pub rate: Rate,
    /// Packets over all ports, no more.
    pub most: u64,
    /// When sending begins.
    pub start: u64,
    /// Cycles per second.
    pub hertz: u64,
}

impl Sender {
    /// Over the transmit queues of the two ports.
    #[must_use]
    pub fn new(config: &Config, streams: &Arc<[Stream]>, queues: [TxQueue; 2], pool: &Mempool) -> Self {
        let lanes = queues.into_iter().enumerate().map(|(port, tx)| Lane {
            tx,
            round: round(config, streams, port),
            place: 0,
            waiting: Frames::new(),
            pacer: Pacer::new(Rate::Max, 0, 1),
            left: 0,
        });
        Self {
            streams: Arc::clone(streams),
            cursors: vec![Cursor::default(); streams.len()],
            lanes: lanes.collect(),
            pool: pool.clone(),
        }
    }

    /// Sends packets of other streams from now on.
    pub fn replace(&mut self, config: &Config, streams: &Arc<[Stream]>) {
        // Numbers go on, so that what is still on its way is recognised as old.
        let next = self.cursors.iter().map(|cursor| cursor.next).max().unwrap_or(0).next_multiple_of(2);
        self.cursors = vec![Cursor { base: next, next, pair_time: 0 }; streams.len()];
        self.streams = Arc::clone(streams);
        for (port, lane) in self.lanes.iter_mut().enumerate() {
            lane.round = round(config, streams, port);
            lane.place = 0;
        }
    }

    /// Prepares a trial; the sequence number of each stream's first packet.
    pub fn prepare(&mut self) -> Vec<u64> {
        for cursor in &mut self.cursors {
            cursor.next = cursor.next.next_multiple_of(2);
            cursor.base = cursor.next;
        }
        self.cursors.iter().map(|cursor| cursor.base).collect()
    }

    /// Begins the prepared trial.
    pub fn begin(&mut self, offer: &Offer) {
        for lane in &mut self.lanes {
            lane.pacer = Pacer::new(Rate::Max, offer.start, offer.hertz);
            lane.left = 0;
        }
        let active = self.lanes.iter().filter(|lane| !lane.round.is_empty()).count().max(1);
        for (index, lane) in self.lanes.iter_mut().filter(|lane| !lane.round.is_empty()).enumerate() {
            let rate = share(offer.rate, active);
            lane.pacer = Pacer::new(rate, offer.start, offer.hertz);
            let extra = u64::from((index as u64) < offer.most % active as u64);
            lane.left = offer.most / active as u64 + extra;
            lane.place = 0;
        }
    }

    /// Sends what is due on both ports; how many packets the ports took.
    #[inline]
    pub fn turn(&mut self, now: u64) -> usize {
        let Self { streams, cursors, lanes, pool } = self;
        lanes.iter_mut().map(|lane| lane.turn(streams, cursors, pool, now)).sum()
    }

    /// Whether every packet of the trial was sent.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.lanes.iter().all(|lane| lane.left == 0 && lane.waiting.is_empty())
    }

    /// The schedule ends at `end`: sends no new packets, only what is written already.
    pub fn finish(&mut self, end: u64) {
        for lane in &mut self.lanes {
            if lane.left > 0 {
                lane.pacer.close(end);
            }
            lane.left = 0;
        }
    }

    /// Takes back what no port wanted; how many packets that were.
    pub fn abandon(&mut self) -> u64 {
        let Self { cursors, lanes, .. } = self;
        let mut abandoned = 0;
        for lane in lanes {
            abandoned += lane.waiting.len() as u64;
            for _ in 0..lane.waiting.len() {
                lane.place = lane.place.checked_sub(1).unwrap_or(lane.round.len() - 1);
                cursors[lane.round[lane.place].0].next -= 1;
            }
            lane.waiting.clear();
        }
        abandoned
    }

    /// Packets of each stream sent in this trial.
    #[must_use]
    pub fn sent(&self) -> Vec<u64> {
        self.cursors.iter().map(|cursor| cursor.next - cursor.base).collect()
    }

    /// Packets that were due and given up, because this thread was kept from running.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.pacer.missed()).sum()
    }

    /// Packets that were due and given up, because a port took none.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.pacer.refused()).sum()
    }
}

impl Lane {
    #[inline]
    fn turn(&mut self, streams: &[Stream], cursors: &mut [Cursor], pool: &Mempool, now: u64) -> usize {
        if self.left > 0 {
            self.write(streams, cursors, pool, now);
        }
        let offered = self.waiting.len();
        if offered > 0 {
            self.tx.transmit(&mut self.waiting);
        }
        offered - self.waiting.len()
    }

    /// Writes the packets that are due behind those that wait.
    #[inline]
    fn write(&mut self, streams: &[Stream], cursors: &mut [Cursor], pool: &Mempool, now: u64) {
        let room = (BURST - self.waiting.len()).min(usize::try_from(self.left).unwrap_or(BURST));
        let due = self.pacer.due(now, room);
        let first = self.waiting.len();
        let made = pool.allocate_burst(&mut self.waiting, due);
        self.pacer.give_back(due - made);
        self.left -= made as u64;
        for mbuf in &mut self.waiting[first..] {
            let (stream, template) = self.round[self.place];
            self.place = if self.place + 1 == self.round.len() { 0 } else { self.place + 1 };
            write(mbuf, &streams[stream], template, &mut cursors[stream], now);
        }
    }
}

#[inline]
fn write(mbuf: &mut Mbuf, stream: &Stream, template: usize, cursor: &mut Cursor, now: u64) {
    let sequence = cursor.next & SEQUENCE_MASK;
    cursor.next += 1;
    if !stream.fragments() || sequence & 1 == 0 {
        cursor.pair_time = now;
    }
    let packet = stream.packet(stream.tag(sequence, cursor.pair_time));
    let template = &stream.sent[template];
    mbuf.push_back(template.len()).expect("mbufs are made for the largest frame");
    template.write(mbuf.data_mut(), stream.endpoints(), &packet);
}

fn share(rate: Rate, ports: usize) -> Rate {
    match rate {
        Rate::Max => Rate::Max,
        #[allow(clippy::cast_precision_loss, reason = "one or two")]
        Rate::PerSecond(rate) => Rate::PerSecond(rate / ports as f64),
    }
}

/// The order of a port's packets: native ones in between as evenly as their share allows, each stream in the order of its
/// own round.
fn round(config: &Config, streams: &[Stream], port: usize) -> Vec<(usize, usize)> {
    let own: Vec<usize> = (0..streams.len()).filter(|&index| streams[index].from == port).collect();
    if own.is_empty() {
        return Vec::new();
    }
    let shares: Vec<u32> = own.iter().map(|&index| share_of(config, &streams[index])).collect();
    // A round must end where the rounds of all its streams do.
    let steps = if own.len() == 1 { streams[own[0]].round.len() } else { 100 * 24 };
    let mut debts = vec![0_i64; own.len()];
    let mut places = vec![0; own.len()];
    let mut round = Vec::with_capacity(steps);
    for _ in 0..steps {
        for (debt, share) in debts.iter_mut().zip(&shares) {
            *debt += i64::from(*share);
        }
        let next = (0..own.len()).max_by_key(|&index| debts[index]).expect("the port has streams");
        debts[next] -= 100;
        let stream = &streams[own[next]];
        round.push((own[next], stream.round[places[next] % stream.round.len()]));
        places[next] += 1;
    }
    round
}

fn share_of(config: &Config, stream: &Stream) -> u32 {
    let (ipv6, ipv4) = (u32::from(config.traffic.native_ipv6), u32::from(config.traffic.native_ipv4));
    match stream.ends() {
        Ends::Translated => 100 - ipv6 - ipv4,
        Ends::NativeV6 => ipv6,
        Ends::NativeV4 => ipv4,
    }
}
