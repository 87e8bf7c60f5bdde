//! Samples of dropped packets for who has no sink and no worker's loop: the control thread.

use super::counters::Counts;
use super::samples::{Due, Layer, NEVER, SampleReceiver, Sampler, sampler};
use crate::table::routing::PortId;
use crate::verdict::{DropReason, Verdict};

/// A [`Sampler`] with the counts it goes by.
pub struct LoneSampler {
    sampler: Sampler,
    counts: Counts,
    due: Due,
}

impl LoneSampler {
    /// Both ends. `hertz` cycles of its clock are one second.
    #[must_use]
    pub fn new(hertz: u64) -> (Self, SampleReceiver) {
        let (sampler, receiver) = sampler(hertz);
        (Self { sampler, counts: Counts::default(), due: NEVER }, receiver)
    }

    /// A packet was dropped at `now`, in cycles; a sample is taken if it is time for one. Counts for nobody else.
    pub fn dropped(&mut self, now: u64, reason: DropReason, port: PortId, layer: Layer, packet: &[u8]) {
        self.sampler.begin_turn(now, &self.counts, &mut self.due);
        self.counts.end(Verdict::Dropped(reason));
        let count = self.counts.dropped(reason);
        let due = &mut self.due[reason.index()];
        if count >= *due {
            *due = self.sampler.take(reason, count, port, layer, packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_sampled_sparsely_and_what_is_rare_each_time() {
        let (mut lone, mut receiver) = LoneSampler::new(1_000_000);
        let (mut flood, mut rare) = (0, 0);
        for turn in 0..10_000_u64 {
            let now = 100_000 + turn * 1000;
            for _ in 0..100 {
                lone.dropped(now, DropReason::NeighborFailed, PortId(1), Layer::Ip, &[0x60; 40]);
            }
            if turn % 1000 == 777 {
                lone.dropped(now, DropReason::TwinRefused, PortId(0), Layer::Link, &[2; 60]);
            }
            receiver.drain(|sample| match (sample.reason, sample.port, sample.layer) {
                (DropReason::TwinRefused, PortId(0), Layer::Link) => rare += 1,
                (DropReason::NeighborFailed, PortId(1), Layer::Ip) => flood += 1,
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(rare, 10, "every one of them");
        assert!((100..=1000).contains(&flood), "{flood} samples of a million: the quota");
    }
}
