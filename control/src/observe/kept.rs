//! The newest samples of every reason and worker.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use dataplane::sink::samples::{Layer, Sample};
use dataplane::table::routing::PortId;
use dataplane::verdict::DropReason;
use dataplane::worker::Clock;

use super::frame;

const DROPS: usize = DropReason::ALL.len();
/// Samples that are kept of a reason and worker.
pub const KEPT: usize = 32;

/// A dropped packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropSample {
    /// Counts up; no two samples of a run have the same.
    pub id: u64,
    /// When it was dropped, to the turn of its worker.
    pub time: SystemTime,
    /// The port it was received on; the one that refused it for `transmit_queue_full`, and of the control thread the one it was
    /// to leave by.
    pub port: PortId,
    /// The worker, whose queue of every port has the same number; none for the control thread, which drops packets that are
    /// translated and wait, and frames for a twin.
    pub worker: Option<u16>,
    /// Why.
    pub reason: DropReason,
    /// It stands for so many drops of its reason.
    pub one_in: u64,
    /// What `bytes` begin with: the IP header wherever there is one.
    pub layer: Layer,
    /// Bytes it had, from there on.
    pub length: usize,
    /// The first of them, 2,000 at most.
    pub bytes: Vec<u8>,
}

/// A moment by the workers' clock and by that on the wall.
#[derive(Clone, Copy)]
pub(super) struct Anchor {
    cycles: u64,
    hertz: u64,
    wall: SystemTime,
}

impl Anchor {
    pub(super) fn now(clock: Clock) -> Self {
        Self { cycles: (clock.now)(), hertz: clock.hertz.max(1), wall: SystemTime::now() }
    }

    /// When a turn was that is over.
    pub(super) fn time(&self, cycles: u64) -> SystemTime {
        let ago = u128::from(self.cycles.saturating_sub(cycles)) * 1_000_000_000 / u128::from(self.hertz);
        let ago = Duration::from_nanos(u64::try_from(ago).unwrap_or(u64::MAX));
        self.wall.checked_sub(ago).unwrap_or(self.wall)
    }
}

/// All of them.
pub(super) struct Kept {
    /// By worker, the control thread last, then by reason.
    samples: Vec<VecDeque<DropSample>>,
    workers: usize,
    next: u64,
    /// Samples that came, by reason.
    taken: [u64; DROPS],
    /// The newest 2^k of each reason.
    one_in: [u64; DROPS],
}

impl Kept {
    pub(super) fn new(workers: usize) -> Self {
        let samples = (0..(workers + 1) * DROPS).map(|_| VecDeque::new()).collect();
        Self { samples, workers, next: 1, taken: [0; DROPS], one_in: [1; DROPS] }
    }

    /// A sample of a worker, or of the control thread.
    pub(super) fn keep(&mut self, worker: Option<u16>, sample: &Sample<'_>, anchor: &Anchor) {
        let reason = sample.reason.index();
        let id = self.next;
        self.next += 1;
        self.taken[reason] += 1;
        self.one_in[reason] = sample.one_in;
        // What is IP is kept from its header on, whatever was in front of it.
        let skipped = match sample.layer {
            Layer::Ip => Some(0),
            Layer::Link => frame::ip_offset(sample.bytes),
        };
        let place = worker.map_or(self.workers, usize::from);
        let kept = &mut self.samples[place * DROPS + reason];
        // The memory of the one that goes serves the one that comes.
        let mut bytes = if kept.len() < KEPT {
            Vec::new()
        } else {
            kept.pop_front().map(|oldest| oldest.bytes).unwrap_or_default()
        };
        bytes.clear();
        bytes.extend_from_slice(&sample.bytes[skipped.unwrap_or(0)..]);
        kept.push_back(DropSample {
            id,
            time: anchor.time(sample.cycles),
            port: sample.port,
            worker,
            reason: sample.reason,
            one_in: sample.one_in,
            layer: if skipped.is_some() { Layer::Ip } else { Layer::Link },
            length: sample.length - skipped.unwrap_or(0),
            bytes,
        });
    }

    /// Samples that came of a reason.
    pub(super) fn taken(&self, reason: DropReason) -> u64 {
        self.taken[reason.index()]
    }

    /// One in so many drops of a reason is sampled, or was when there were any.
    pub(super) fn one_in(&self, reason: DropReason) -> u64 {
        self.one_in[reason.index()]
    }

    pub(super) fn get(&self, id: u64) -> Option<&DropSample> {
        self.samples.iter().flatten().find(|sample| sample.id == id)
    }

    /// The newest, of one reason or of all, newest first.
    pub(super) fn newest(&self, reason: Option<DropReason>, last: usize) -> Vec<DropSample> {
        let wanted = |sample: &&DropSample| reason.is_none_or(|reason| sample.reason == reason);
        let mut all: Vec<&DropSample> = self.samples.iter().flatten().filter(wanted).collect();
        all.sort_unstable_by_key(|sample| std::cmp::Reverse((sample.time, sample.id)));
        all.into_iter().take(last).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(reason: DropReason, cycles: u64, layer: Layer, bytes: &[u8]) -> Sample<'_> {
        Sample { reason, port: PortId(1), layer, one_in: 1, cycles, length: bytes.len() + 100, bytes }
    }

    #[test]
    fn the_newest_of_each_reason_and_worker_are_kept_whatever_the_others_do() {
        let mut kept = Kept::new(2);
        let anchor = Anchor {
            cycles: 1_000_000,
            hertz: 1000,
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(5000),
        };
        kept.keep(Some(1), &sample(DropReason::SourceNotMapped, 10, Layer::Ip, &[0x45, 1]), &anchor);
        for turn in 0..10_000 {
            kept.keep(Some(0), &sample(DropReason::NoRoute, 100 + turn, Layer::Ip, &[0x45, 2]), &anchor);
        }
        assert_eq!(kept.samples.iter().map(VecDeque::len).sum::<usize>(), KEPT + 1);
        let rare = kept.newest(Some(DropReason::SourceNotMapped), 20);
        assert_eq!((rare.len(), rare[0].id, rare[0].worker), (1, 1, Some(1)));
        assert_eq!(rare[0].time, SystemTime::UNIX_EPOCH + Duration::from_millis(4_000_010));
        assert_eq!(kept.get(1), Some(&rare[0]));
        assert_eq!(kept.get(2), None, "long replaced");
        let newest = kept.newest(None, 3);
        assert_eq!(newest.iter().map(|sample| sample.id).collect::<Vec<_>>(), [10_001, 10_000, 9_999]);
        assert_eq!(kept.taken(DropReason::NoRoute), 10_000);
    }

    #[test]
    fn frames_are_kept_from_their_ip_header_on() {
        let mut kept = Kept::new(1);
        let anchor = Anchor { cycles: 0, hertz: 1, wall: SystemTime::UNIX_EPOCH };
        let tagged = [&[2; 12][..], &[0x81, 0, 0, 7, 0x86, 0xdd], &[0x60, 9, 9]].concat();
        let arp = [&[2; 12][..], &[8, 6], &[0, 1]].concat();
        kept.keep(Some(0), &sample(DropReason::LinkBroadcast, 0, Layer::Link, &tagged), &anchor);
        kept.keep(Some(0), &sample(DropReason::PuntPoliced, 0, Layer::Link, &arp), &anchor);
        let [ip, link] = [kept.get(1).unwrap(), kept.get(2).unwrap()];
        assert_eq!((ip.layer, &ip.bytes[..], ip.length), (Layer::Ip, &[0x60, 9, 9][..], 3 + 100));
        assert_eq!((link.layer, &link.bytes[..], link.length), (Layer::Link, &arp[..], 16 + 100));
    }
}
