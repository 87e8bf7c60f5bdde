//! Receives, verifies and counts.

use std::sync::Arc;

use dataplane::buffer::Buffer;
use dataplane::dpdk::{Mbuf, RxQueue, free_burst};
use dataplane::io::{BURST, Frames, ReceiveQueue};
use dataplane::sink::Sink;

use super::order::{Arrival, Order};
use super::stream::Stream;
use super::tally::{Others, StreamTally};
use super::verify::{Found, Recognised, examine};

/// Bursts taken from one port before the other one's turn.
const MOST_BURSTS: usize = 4;

/// Receives the packets of all streams.
pub struct Receiver {
    streams: Arc<[Stream]>,
    queues: [RxQueue; 2],
    frames: Frames<Mbuf>,
    /// For frames in several mbufs that do not fit one.
    sink: Sink<Mbuf>,
    judge: Judge,
}

/// Everything known of what was received, apart from where it came from.
pub struct Judge {
    orders: Vec<Order>,
    tallies: Vec<StreamTally>,
    others: Others,
    /// The stream most packets of each port belong to.
    likely: [usize; 2],
}

impl Receiver {
    /// Over the receive queues of the two ports.
    #[must_use]
    pub fn new(streams: &Arc<[Stream]>, queues: [RxQueue; 2]) -> Self {
        let (streams, judge) = (Arc::clone(streams), Judge::new(streams));
        Self { streams, queues, frames: Frames::new(), sink: Sink::default(), judge }
    }

    /// Expects packets of other streams from now on.
    pub fn replace(&mut self, streams: &Arc<[Stream]>) {
        self.streams = Arc::clone(streams);
        self.judge = Judge::new(streams);
    }

    /// Begins a trial; `bases` are the first sequence numbers of the streams.
    pub fn begin(&mut self, bases: &[u64]) {
        self.judge.begin(bases);
    }

    /// Takes and verifies what has arrived; how many frames that was. `clock` tells the time.
    #[inline]
    pub fn turn(&mut self, clock: impl Fn() -> u64) -> usize {
        let mut received = 0;
        for port in 0..self.queues.len() {
            for _ in 0..MOST_BURSTS {
                let count = self.queues[port].receive(&mut self.frames, &mut self.sink);
                if count == 0 {
                    break;
                }
                self.judge.burst(&self.streams, port, &self.frames, clock());
                free_burst(&mut self.frames);
                received += count;
                if count < BURST {
                    break;
                }
            }
        }
        self.sink.release();
        received
    }

    /// What was received in this trial so far.
    #[must_use]
    pub fn judge(&self) -> &Judge {
        &self.judge
    }
}

impl Judge {
    /// For these streams.
    #[must_use]
    pub fn new(streams: &[Stream]) -> Self {
        let likely = |port| streams.iter().position(|stream| stream.to.unwrap_or(stream.from) == port);
        Self {
            orders: streams.iter().map(|_| Order::default()).collect(),
            tallies: streams.iter().map(|_| StreamTally::default()).collect(),
            others: Others::default(),
            likely: [0, 1].map(|port| likely(port).unwrap_or(0)),
        }
    }

    /// Begins a trial; `bases` are the first sequence numbers of the streams.
    pub fn begin(&mut self, bases: &[u64]) {
        for (order, &base) in self.orders.iter_mut().zip(bases) {
            order.restart(base);
        }
        self.tallies.fill_with(StreamTally::default);
        self.others = Others::default();
    }

    /// Judges frames that came out of `port` at `now`.
    #[inline]
    pub fn burst(&mut self, streams: &[Stream], port: usize, frames: &[impl Buffer], now: u64) {
        let mut run = Run::default();
        for frame in frames {
            match examine(streams, self.likely[port], port, frame.data()) {
                Found::Ours(found) => self.ours(found, now, &mut run),
                Found::Unreadable(kind) => self.others.corrupt.count(kind),
                Found::IcmpError => self.others.icmp_errors += 1,
                Found::Foreign => self.others.foreign += 1,
            }
        }
        run.record(&mut self.tallies);
    }

    #[inline]
    fn ours(&mut self, found: Recognised, now: u64, run: &mut Run) {
        let tally = &mut self.tallies[found.stream];
        match self.orders[found.stream].arrive(found.tag.flow, found.tag.sequence) {
            Arrival::Stale => {
                tally.stale += 1;
                return;
            }
            Arrival::Duplicate => {
                tally.duplicated += 1;
                return;
            }
            Arrival::Reordered => tally.reordered += 1,
            Arrival::InOrder => {}
        }
        tally.received += 1;
        if let Some(kind) = found.corruption {
            tally.corrupt.count(kind);
        }
        if tally.last != now {
            if tally.last != 0 {
                tally.max_gap = tally.max_gap.max(now.wrapping_sub(tally.last));
            }
            tally.last = now;
        }
        let age = found.tag.age(now);
        if run.stream != found.stream || run.age != age {
            run.record(&mut self.tallies);
            *run = Run { stream: found.stream, age, count: 0 };
        }
        run.count += 1;
    }

    /// By stream.
    #[must_use]
    pub fn tallies(&self) -> &[StreamTally] {
        &self.tallies
    }

    /// What belongs to no stream.
    #[must_use]
    pub fn others(&self) -> &Others {
        &self.others
    }

    /// Packets received, each counted once.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.received).sum()
    }
}

/// Packets in a row with the same stream and latency: those sent in one burst and received in one. They are recorded
/// together.
#[derive(Default)]
struct Run {
    stream: usize,
    age: u64,
    count: u64,
}

impl Run {
    #[inline]
    fn record(&self, tallies: &mut [StreamTally]) {
        if self.count > 0 {
            tallies[self.stream].latency.saturating_record_n(self.age, self.count);
        }
    }
}
