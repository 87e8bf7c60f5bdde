//! In which order the punt rings are emptied.

use std::time::Instant;

use dataplane::exception::{PuntReceiver, Punted};

use super::bell::Rung;
use super::queues::{Fill, RingFills};
use super::waits::Waits;

/// Records taken from one ring before others get their turn: a tenth of a millisecond.
const BATCH: usize = 16;

/// The punt rings of all workers.
pub(super) struct Drain {
    rings: Vec<PuntReceiver>,
    /// Bytes that were found in each ring at most: in the urgent one, and in the other.
    highest: Vec<[usize; 2]>,
    /// When the workers rang for what is in their rings.
    rung: Vec<Rung>,
    /// Since when there has been something in each ring.
    filled: Vec<[Option<Instant>; 2]>,
    /// Of all urgent rings, and of all others.
    waits: [Waits; 2],
    /// Whose turn it is.
    next: usize,
}

impl Drain {
    pub(super) fn new(rings: Vec<PuntReceiver>, rung: Vec<Rung>) -> Self {
        let workers = rings.len();
        Self {
            highest: vec![[0; 2]; workers],
            filled: vec![[None; 2]; workers],
            waits: [Waits::default(); 2],
            rings,
            rung,
            next: 0,
        }
    }

    /// How long what came waited, in the urgent rings and in the others.
    pub(super) fn waits(&self) -> [Waits; 2] {
        self.waits
    }

    /// How full the rings are.
    pub(super) fn fills(&self) -> Vec<RingFills> {
        let fills = self.rings.iter().zip(&self.highest).map(|(ring, highest)| {
            let [urgent, other] = ring.fill();
            let fill = |(used, capacity): (usize, usize), highest: usize| Fill {
                used,
                highest: highest.max(used),
                capacity,
            };
            RingFills {
                urgent: fill(urgent, highest[0]),
                other: fill(other, highest[1]),
                inject: Fill::default(),
            }
        });
        fills.collect()
    }

    fn look(&mut self) {
        for (worker, ring) in self.rings.iter().enumerate() {
            let rang = self.rung.get(worker).and_then(Rung::take);
            for (way, (used, _)) in ring.fill().into_iter().enumerate() {
                let highest = &mut self.highest[worker][way];
                *highest = used.max(*highest);
                if used > 0 && self.filled[worker][way].is_none() {
                    self.filled[worker][way] = Some(rang.unwrap_or_else(Instant::now));
                }
            }
        }
    }

    /// The rings that are empty now: what was in them has waited.
    fn emptied(&mut self) {
        let now = Instant::now();
        for (ring, filled) in self.rings.iter().zip(&mut self.filled) {
            for (way, (used, _)) in ring.fill().into_iter().enumerate() {
                if let Some(since) = filled[way].take_if(|_| used == 0) {
                    self.waits[way].add(now.saturating_duration_since(since));
                }
            }
        }
    }

    /// Empties the urgent rings of all workers, takes a batch of what is not urgent from each in turn, and looks at all
    /// urgent rings again after each batch; no longer than until `is_over`. Whether there was anything.
    pub(super) fn turn(&mut self, is_over: impl Fn() -> bool, mut handle: impl FnMut(&Punted<'_>)) -> bool {
        self.look();
        let any = self.take(&is_over, &mut handle);
        if any {
            self.emptied();
        }
        any
    }

    fn take(&mut self, is_over: &impl Fn() -> bool, handle: &mut impl FnMut(&Punted<'_>)) -> bool {
        let mut any = self.urgent(is_over, handle);
        for _ in 0..self.rings.len() {
            if is_over() {
                break;
            }
            self.next = (self.next + 1) % self.rings.len();
            let ring = &mut self.rings[self.next];
            if batch(|| ring.receive_other(|punted| handle(&punted))) {
                any = true;
                self.urgent(is_over, handle);
            }
        }
        any
    }

    fn urgent(&mut self, is_over: &impl Fn() -> bool, handle: &mut impl FnMut(&Punted<'_>)) -> bool {
        let mut any = false;
        loop {
            let mut found = false;
            for ring in &mut self.rings {
                found |= batch(|| ring.receive_urgent(|punted| handle(&punted)));
            }
            any |= found;
            if !found || is_over() {
                return any;
            }
        }
    }
}

/// Takes records until there is none, or a batch is full; whether there was any.
fn batch(mut take: impl FnMut() -> Option<()>) -> bool {
    (0..BATCH).take_while(|_| take().is_some()).count() > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::exception::{PuntSender, punt_ring};
    use dataplane::table::routing::PortId;
    use dataplane::verdict::PuntReason;
    use std::sync::Arc;
    use std::time::Duration;

    use crate::kernel::Bell;

    const URGENT: PuntReason = PuntReason::RoutingProtocol;
    const OTHER: PuntReason = PuntReason::KernelRoute;

    fn send(worker: &mut PuntSender, reason: PuntReason, times: usize) {
        for _ in 0..times {
            worker.send_frame(PortId(0), reason, &[0; 60]).unwrap();
        }
    }

    #[test]
    fn what_is_urgent_at_any_worker_waits_for_one_batch_at_most() {
        let (mut workers, rings): (Vec<_>, Vec<_>) =
            (0..3).map(|_| punt_ring(1 << 20, Arc::new(|| ()))).unzip();
        workers.iter_mut().for_each(|worker| send(worker, OTHER, 500));
        send(&mut workers[2], URGENT, 100);
        let mut order = Vec::new();
        let mut since_late = None;
        let mut handle = |punted: &Punted<'_>| {
            let Punted::Frame { reason, .. } = punted else { panic!("{punted:?}") };
            order.push(*reason);
            // In the middle of a batch of what is not urgent, something urgent comes to the last worker.
            if order.len() == 110 {
                send(&mut workers[2], URGENT, 1);
                since_late = Some(0);
            } else if let Some(waited) = &mut since_late {
                if *reason == URGENT {
                    assert!(*waited <= BATCH, "{waited} others went before");
                    since_late = None;
                } else {
                    *waited += 1;
                }
            }
        };
        let mut drain = Drain::new(rings, Vec::new());
        while drain.turn(|| false, &mut handle) {}
        assert!(since_late.is_none(), "it was taken");
        assert_eq!(order[..100], [URGENT; 100], "first of all");
        assert_eq!(order.len(), 1500 + 101);
    }

    #[test]
    fn a_turn_ends_in_time_and_no_worker_is_forgotten() {
        let (mut workers, rings): (Vec<_>, Vec<_>) =
            (0..3).map(|_| punt_ring(1 << 20, Arc::new(|| ()))).unzip();
        for (port, worker) in (0..).zip(&mut workers) {
            for _ in 0..100 {
                worker.send_frame(PortId(port), OTHER, &[0; 60]).unwrap();
            }
        }
        let mut drain = Drain::new(rings, Vec::new());
        let mut of_worker = [0; 3];
        for _ in 0..6 {
            let looks = std::cell::Cell::new(0);
            // Over after one batch.
            let is_over = || looks.replace(looks.get() + 1) > 0;
            assert!(drain.turn(is_over, |punted| {
                let Punted::Frame { port, .. } = punted else { panic!("{punted:?}") };
                of_worker[usize::from(port.0)] += 1;
            }));
        }
        assert_eq!(of_worker, [2 * BATCH; 3]);
    }

    #[test]
    fn a_ring_tells_how_long_it_took_to_be_emptied() {
        let bell = Bell::new();
        let (mut worker, ring) = punt_ring(1 << 20, bell.doorbell());
        let mut drain = Drain::new(vec![ring], bell.rung());
        send(&mut worker, OTHER, 1);
        worker.ring_doorbell();
        std::thread::sleep(Duration::from_millis(20));
        assert!(drain.turn(|| false, |_| ()));
        let [urgent, other] = drain.waits();
        assert_eq!((urgent.count(), other.count()), (0, 1));
        assert!(other.longest >= Duration::from_millis(20), "{other:?}");
        // A ring that was emptied before its worker rang does not wait from then on.
        worker.ring_doorbell();
        drain.turn(|| false, |_| ());
        send(&mut worker, URGENT, 3 * BATCH);
        std::thread::sleep(Duration::from_millis(20));
        worker.ring_doorbell();
        while drain.turn(|| false, |_| ()) {}
        let [urgent, other] = drain.waits();
        assert_eq!((urgent.count(), other.count()), (1, 1));
        assert!(urgent.sum <= Duration::from_secs(1), "{urgent:?}");
    }
}
