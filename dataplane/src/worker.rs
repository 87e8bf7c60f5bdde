//! One lcore's loop: run to completion over bursts, on its own queue of every port.
//!
//! A turn pins the newest snapshot and reads the clock once, sends what the kernel injected, takes a burst from
//! each port through the walk and hands the results over. Between turns nothing of a packet is left in the
//! worker, so stopping is simply not taking another turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_utils::CachePadded;

use crate::buffer::{Buffer, BufferPool};
use crate::counters::{CounterCells, Counts, Event};
use crate::exception::{InjectReceiver, PuntSender, ZeroChecksum};
use crate::io::{Alarm, Frames, ReceiveQueue, TransmitQueue};
use crate::limit::TokenBucket;
use crate::meter::Meter;
use crate::punt::Punts;
use crate::sink::Sink;
use crate::sink::samples::Sampler;
use crate::sink::tap::Tap;
use crate::stage::error_limit::ErrorLimits;
use crate::table::publish::SnapshotReader;
use crate::table::routing::PortId;
use crate::table::translation::IcmpErrors;
use crate::timing::Sampling;
use crate::transmit::Transmit;
use crate::walk::LcoreState;

mod burst;
mod idle;
mod injected;
mod probe;

use burst::Burst;
use idle::Idle;
pub use idle::{Poll, SleepLimit, longest_sleep};
use injected::Own;
use probe::Prober;

/// A cycle counter: how to read it, and how many cycles are one second.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Reads the counter.
    pub now: fn() -> u64,
    /// Cycles per second.
    pub hertz: u64,
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
    /// Its rings to the kernel.
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
    /// The longest it may sleep then.
    pub longest_sleep: Arc<SleepLimit>,
    /// What it waits for instead of sleeping by the clock, if every one of its receive queues can interrupt.
    pub alarm: Option<Box<dyn Alarm>>,
    /// How many workers there are: each has its part of the box's rates.
    pub workers: u32,
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
    sink: Sink<R::Buffer>,
    /// The setting that `lcore` has its limit from.
    icmp_errors: IcmpErrors,
    /// One management event per second.
    events: TokenBucket,
    cells: Arc<CounterCells>,
    stop: Arc<StopFlag>,
    clock: Clock,
    idle: Idle,
    sampling: Sampling,
    /// Whether plain packets take the express lane.
    express: bool,
    prober: Prober,
    /// Bursts whose first frame is still to be shown to the control thread.
    samples: u16,
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
        let hertz = parts.clock.hertz;
        Self {
            receive: parts.receive,
            frames: Frames::new(),
            transmit: Transmit::new(parts.transmit, Punts::new(parts.punt, hertz, parts.workers)),
            pool: parts.pool,
            reader: parts.reader,
            inject: parts.inject,
            lcore: LcoreState::new(limit(icmp_errors, hertz)),
            sink: Sink::default(),
            icmp_errors,
            events: TokenBucket::new(1, 1, hertz),
            cells: parts.cells,
            stop: parts.stop,
            clock: parts.clock,
            idle: Idle::new(parts.poll, parts.longest_sleep, parts.alarm),
            sampling: Sampling::new(hertz),
            express: true,
            prober: Prober::new(),
            samples: 0,
        }
    }

    /// Keeps samples of dropped packets.
    pub fn sample(&mut self, sampler: Sampler) {
        self.sink.sample(sampler);
    }

    /// Takes captures.
    pub fn tap(&mut self, tap: Tap) {
        self.sink.tap(tap);
    }

    /// Gives the box itself translated packets of up to `mtu` bytes instead of refusing them.
    #[must_use]
    pub fn delivering(mut self, mtu: Option<u16>) -> Self {
        self.transmit.local_mtu = mtu;
        self
    }

    /// Counts the traffic of each mapping from now on.
    pub fn count_mappings(&mut self, meter: Option<Meter>) {
        self.lcore.meter = meter;
    }

    /// Has every packet take the walk, plain ones too, with the random keys of `other`. For tests that compare the two
    /// ways.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn without_express_lane(mut self, other: &Self) -> Self {
        self.express = false;
        self.lcore = other.lcore.clone();
        self
    }

    /// What it keeps from packet to packet, as it is now. For tests that do the same elsewhere.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn lcore(&self) -> LcoreState {
        self.lcore.clone()
    }

    /// Runs until the stop flag is set. Queues and buffers are released when it returns.
    pub fn run(mut self) {
        self.idle.prepare_thread();
        let mut unpublished = 0_u32;
        let mut before = (self.clock.now)();
        while !self.stop.load(Ordering::Relaxed) {
            let mut worked = self.turn();
            if !worked && self.idle.arm() {
                worked = self.turn();
            }
            let slept = if worked {
                self.idle.worked();
                false
            } else {
                self.idle.rest()
            };
            let after = (self.clock.now)();
            let spent = if worked { Event::BusyCycles } else { Event::IdleCycles };
            self.sink.counts.add(spent, after.wrapping_sub(before));
            if worked {
                self.sampling.turn(&self.cells.timing, after.wrapping_sub(before));
            }
            if slept {
                self.sink.counts.add(Event::SleepCycles, after.wrapping_sub(before));
            }
            before = after;
            // Numbers lag a little, under load as well as while only the cycles change.
            unpublished += 1;
            if self.idle.is_first() || unpublished == 64 || self.idle.sleeps_long() {
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
        self.transmit.punts.begin_turn(now);
        self.sink.begin_turn(now);
        let mut timed = self.sampling.begin(now, &self.sink.counts);
        let mut worked = Own {
            snapshot,
            lcore: &mut self.lcore,
            sink: &mut self.sink,
            pool: &mut self.pool,
            transmit: &mut self.transmit,
            prober: &self.prober,
            samples: &mut self.samples,
        }
        .take(&mut self.inject);
        for (number, queue) in (0..).zip(&mut self.receive) {
            self.sink.from_port(PortId(number));
            if queue.receive(&mut self.frames, &mut self.sink) == 0 {
                continue;
            }
            worked = true;
            if self.samples > 0 {
                sample(&mut self.samples, PortId(number), &self.frames, &mut self.transmit);
            }
            let mut burst = Burst {
                port: PortId(number),
                snapshot,
                lcore: &mut self.lcore,
                sink: &mut self.sink,
                pool: &mut self.pool,
                transmit: &mut self.transmit,
            };
            burst.walk(&mut self.frames, self.express);
            if let Some(timed) = &mut timed {
                timed.burst((self.clock.now)(), &self.sink.counts);
            }
        }
        self.transmit.flush(&mut self.sink);
        self.sink.release();
        self.sampling.end(timed, worked, self.clock.now, &self.cells.timing);
        debug_assert_eq!(self.sink.counts.unsettled(), 0, "packets ended without a verdict, or with two");
        let ring = self.transmit.punts.ring();
        report(&mut self.lcore.zero_checksum, &mut self.events, ring, now);
        ring.ring_doorbell();
        worked
    }

    /// What this worker counted so far.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.sink.counts
    }

    fn publish_counts(&self) {
        self.cells.store(self.counts());
    }
}

/// The limits of the ICMP errors the relay originates, if there are any.
fn limit(setting: IcmpErrors, hertz: u64) -> Option<ErrorLimits> {
    match setting {
        IcmpErrors::Limit(rate) => Some(ErrorLimits::new(rate, hertz)),
        IcmpErrors::Send | IcmpErrors::Off => None,
    }
}

/// Shows the control thread the first frame of a burst.
#[cold]
fn sample<T: TransmitQueue>(
    left: &mut u16,
    port: PortId,
    frames: &Frames<T::Buffer>,
    transmit: &mut Transmit<T>,
) {
    *left -= 1;
    if let Some(frame) = frames.first() {
        // Only a look: nothing is lost when there is no room.
        transmit.punts.ring().send_sample(port, frame.data()).ok();
    }
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

#[cfg(test)]
mod tests;
