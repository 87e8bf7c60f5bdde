//! Samples of dropped packets, fair among the reasons.
//!
//! Enters, on a worker: the packets that end dropped, of which [`Sampler`] copies a few into one small ring per reason.
//! Leaves, on any other thread: [`Sample`]s, by [`SampleReceiver::drain`]. Nothing here waits, allocates, locks or reads a
//! clock on the worker's side.
//!
//! Time is cut into epochs of a tenth of a second by the clock of the worker's turns. In each, the first drop of every
//! reason is sampled, and then one in 2^k, where k follows the rate of the epoch before and grows while the reason has more
//! than its quota. So a flood of one reason hides nothing of another, not even a packet a second, and a reason that was a
//! flood a moment ago is looked at closely at once. A drop that is not sampled costs one comparison of its counter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use rtrb::{Consumer, Producer, RingBuffer};

use super::counters::Counts;
use crate::ring::{read_record, write_record};
use crate::table::routing::PortId;
use crate::verdict::DropReason;

/// Bytes that are kept of a packet at most.
pub const SAMPLE_BYTES: usize = 2000;
/// Bytes of the ring of one reason: eight of the longest samples.
const RING: usize = 8 * (HEADER + SAMPLE_BYTES);
/// Samples of one reason in an epoch that k aims at.
const QUOTA: u64 = 4;
/// Epochs in a second.
const EPOCHS: u64 = 10;
/// The largest k.
const COARSEST: u32 = 40;
const DROPS: usize = DropReason::ALL.len();

/// ```text
///  0      2      4       5    6      8            12           16                24
///  +------+------+-------+----+------+------------+------------+-----------------+-------
///  | len  | port | layer | k  |  0   |  length    |     0      |  cycles         | bytes ...
///  +------+------+-------+----+------+------------+------------+-----------------+-------
/// ```
const HEADER: usize = 24;

/// What the bytes of a packet begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Its IP header.
    Ip,
    /// Its link-layer header.
    Link,
}

/// A dropped packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Why it was dropped.
    pub reason: DropReason,
    /// The port it was received on; the one that refused it for `transmit_queue_full`.
    pub port: PortId,
    /// What its bytes begin with.
    pub layer: Layer,
    /// It stands for so many drops of its reason, itself included: 2^k.
    pub one_in: u64,
    /// The turn it was dropped in, in cycles of the worker's clock.
    pub cycles: u64,
    /// How many bytes it had.
    pub length: usize,
    /// The first of them, [`SAMPLE_BYTES`] at most.
    pub bytes: &'a [u8],
}

/// Samples that found the ring of their reason full. Written by the worker, on lines of their own.
type Full = CachePadded<[AtomicU64; DROPS]>;

/// The worker's end.
pub struct Sampler {
    rings: Vec<Producer<u8>>,
    full: Arc<Full>,
    reasons: [Reason; DROPS],
    /// Cycles.
    epoch: u64,
    began: u64,
    now: u64,
}

/// What a worker knows of one reason in this epoch.
#[derive(Clone, Copy, Default)]
struct Reason {
    /// Its count when the epoch began.
    before: u64,
    taken: u64,
    k: u32,
}

/// The counts at which the next drop of each reason is sampled.
pub(super) type Due = [u64; DROPS];
/// Nothing is sampled.
pub(super) const NEVER: Due = [u64::MAX; DROPS];

/// The other end, for one thread that is no worker.
pub struct SampleReceiver {
    rings: Vec<Consumer<u8>>,
    full: Arc<Full>,
    scratch: Vec<u8>,
}

/// Both ends of one worker's rings. `hertz` cycles of the worker's clock are one second.
#[must_use]
pub fn sampler(hertz: u64) -> (Sampler, SampleReceiver) {
    let (rings, receivers) = DropReason::ALL.iter().map(|_| RingBuffer::new(RING)).unzip();
    let full: Arc<Full> = Arc::new(CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0))));
    let sampler = Sampler {
        rings,
        full: Arc::clone(&full),
        reasons: [Reason::default(); DROPS],
        epoch: (hertz / EPOCHS).max(1),
        began: 0,
        now: 0,
    };
    (sampler, SampleReceiver { rings: receivers, full, scratch: Vec::with_capacity(SAMPLE_BYTES) })
}

impl Sampler {
    /// It is `now`. Once per turn.
    #[inline]
    pub(super) fn begin_turn(&mut self, now: u64, counts: &Counts, due: &mut Due) {
        self.now = now;
        if now.wrapping_sub(self.began) >= self.epoch {
            self.next_epoch(counts, due);
        }
    }

    #[cold]
    fn next_epoch(&mut self, counts: &Counts, due: &mut Due) {
        self.began = self.now;
        for ((state, due), reason) in self.reasons.iter_mut().zip(due).zip(DropReason::ALL) {
            let count = counts.dropped(*reason);
            *state = Reason { before: count, taken: 0, k: k_of(count - state.before) };
            *due = count + 1;
        }
    }

    /// Copies a drop of which it is time, and says when it is the next one's.
    #[cold]
    pub(super) fn take(
        &mut self,
        reason: DropReason,
        count: u64,
        port: PortId,
        layer: Layer,
        packet: &[u8],
    ) -> u64 {
        let state = &mut self.reasons[reason.index()];
        state.taken += 1;
        let bytes = &packet[..packet.len().min(SAMPLE_BYTES)];
        let header = header(port, layer, state.k, packet.len(), bytes.len(), self.now);
        if write_record(&mut self.rings[reason.index()], &header, bytes).is_err() {
            self.full[reason.index()].fetch_add(1, Ordering::Relaxed);
        }
        if state.taken >= QUOTA {
            state.k = (state.k + 1).min(COARSEST);
        }
        count + (1 << state.k)
    }
}

/// The k with which so many drops give no more samples than the quota.
fn k_of(drops: u64) -> u32 {
    (drops / QUOTA).checked_ilog2().map_or(0, |log| (log + 1).min(COARSEST))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "k is 40 at most, a sample 2,000 bytes, a packet below 4 GB"
)]
fn header(port: PortId, layer: Layer, k: u32, length: usize, kept: usize, cycles: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0..2].copy_from_slice(&(kept as u16).to_ne_bytes());
    header[2..4].copy_from_slice(&port.0.to_ne_bytes());
    header[4] = u8::from(layer == Layer::Link);
    header[5] = k as u8;
    header[8..12].copy_from_slice(&(length as u32).to_ne_bytes());
    header[16..24].copy_from_slice(&cycles.to_ne_bytes());
    header
}

impl SampleReceiver {
    /// Hands every sample that has come to `handle`, reason by reason, oldest first.
    pub fn drain(&mut self, mut handle: impl FnMut(Sample<'_>)) {
        for (ring, reason) in self.rings.iter_mut().zip(DropReason::ALL) {
            while let Some(header) = read_record::<HEADER>(ring, &mut self.scratch) {
                let word = |at: usize| [header[at], header[at + 1]];
                let [.., c0, c1, c2, c3, c4, c5, c6, c7] = header;
                let length = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
                handle(Sample {
                    reason: *reason,
                    port: PortId(u16::from_ne_bytes(word(2))),
                    layer: if header[4] == 0 { Layer::Ip } else { Layer::Link },
                    one_in: 1 << header[5],
                    cycles: u64::from_ne_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
                    length: usize::try_from(length).unwrap_or(usize::MAX),
                    bytes: &self.scratch,
                });
            }
        }
    }

    /// Samples of a reason that found its ring full, since the start.
    #[must_use]
    pub fn full(&self, reason: DropReason) -> u64 {
        self.full[reason.index()].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryBuffer;
    use crate::sink::Sink;
    use crate::verdict::Verdict;

    const HERTZ: u64 = 1_000_000;

    struct Bench {
        sink: Sink<MemoryBuffer>,
        receiver: SampleReceiver,
    }

    impl Bench {
        fn new() -> Self {
            let (sampler, receiver) = sampler(HERTZ);
            let mut sink = Sink::default();
            sink.sample(sampler);
            Self { sink, receiver }
        }

        fn drop(&mut self, reason: DropReason, bytes: &[u8]) {
            self.sink.finish(MemoryBuffer::new(bytes), Verdict::Dropped(reason));
        }

        /// Samples since the last time, and the drops they stand for.
        fn drain(&mut self, wanted: DropReason) -> (u64, u64) {
            let (mut samples, mut drops) = (0, 0);
            self.receiver.drain(|sample| {
                if sample.reason == wanted {
                    samples += 1;
                    drops += sample.one_in;
                }
            });
            (samples, drops)
        }
    }

    #[test]
    fn a_flood_of_one_reason_hides_nothing_of_another() {
        let mut bench = Bench::new();
        let (mut flood, mut rare) = (0, 0);
        // Ten seconds in turns of a millisecond: 100,000 drops a second of one reason, one a second of another.
        for turn in 0..10_000_u64 {
            bench.sink.begin_turn(HERTZ / 10 + turn * HERTZ / 1000);
            for _ in 0..100 {
                bench.drop(DropReason::UnassignedServiceAddress, &[0x45; 60]);
            }
            if turn % 1000 == 777 {
                bench.drop(DropReason::SourceNotMapped, &[0x60; 80]);
            }
            if turn % 50 == 49 {
                bench.receiver.drain(|sample| match sample.reason {
                    DropReason::SourceNotMapped => rare += 1,
                    _ => flood += 1,
                });
            }
        }
        assert_eq!(rare, 10, "every one of them");
        assert!((100..=1000).contains(&flood), "{flood} samples of the flood: the quota");
        assert_eq!(bench.receiver.full(DropReason::UnassignedServiceAddress), 0);
    }

    #[test]
    fn a_steady_rate_gives_the_quota_and_says_what_it_stands_for() {
        let mut bench = Bench::new();
        for epoch in 1..=20_u64 {
            bench.sink.begin_turn(epoch * HERTZ / 10);
            for _ in 0..10_000 {
                bench.drop(DropReason::NoRoute, &[0x45; 60]);
            }
            let (samples, drops) = bench.drain(DropReason::NoRoute);
            assert!(samples <= 20, "{samples} samples in epoch {epoch}");
            if epoch > 1 {
                assert!(
                    (2..=6).contains(&samples) && (5_000..=40_000).contains(&drops),
                    "{samples} for {drops}"
                );
            }
        }
        // The flood is over: the next drop is sampled at once, and then every one.
        for _ in 0..2 {
            bench.sink.begin_turn(HERTZ * 100);
            bench.drop(DropReason::NoRoute, &[0x45; 60]);
        }
        assert!(bench.drain(DropReason::NoRoute).0 >= 1);
        bench.sink.begin_turn(HERTZ * 101);
        (0..3).for_each(|_| bench.drop(DropReason::NoRoute, &[0x45; 60]));
        assert_eq!(bench.drain(DropReason::NoRoute), (3, 3));
    }

    #[test]
    fn nobody_waits_for_a_reader_that_is_gone_and_memory_is_fixed() {
        let mut bench = Bench::new();
        for epoch in 1..=1000_u64 {
            bench.sink.begin_turn(epoch * HERTZ / 10);
            for _ in 0..50 {
                bench.drop(DropReason::NoRoute, &[0x45; 1500]);
            }
        }
        assert!(bench.receiver.full(DropReason::NoRoute) > 1000, "they are counted");
        let (samples, _) = bench.drain(DropReason::NoRoute);
        assert!((8..=11).contains(&samples), "{samples} fit into the ring");
        assert_eq!(bench.receiver.full(DropReason::SourceNotMapped), 0);
    }

    #[test]
    fn long_packets_are_cut_and_say_how_long_they_were() {
        let mut bench = Bench::new();
        bench.sink.begin_turn(HERTZ);
        bench.drop(DropReason::TooLong, &[7; 5000]);
        let mut lengths = None;
        bench.receiver.drain(|sample| lengths = Some((sample.length, sample.bytes.len(), sample.layer)));
        assert_eq!(lengths, Some((5000, SAMPLE_BYTES, Layer::Ip)));
    }

    #[test]
    fn without_a_sampler_nothing_is_due() {
        let mut sink = Sink::<MemoryBuffer>::default();
        sink.begin_turn(u64::MAX);
        sink.finish(MemoryBuffer::new(&[1]), Verdict::Dropped(DropReason::NoRoute));
        assert_eq!(sink.counts.dropped(DropReason::NoRoute), 1);
    }
}
