//! Traffic of each mapping, of all workers together, and the thread that keeps room for it.

mod listing;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use control::config::MappingCounters;
use control_api::{Entry, MappingLoad, Traffic as Counted};
use control_server::Slices;
use dataplane::meter::{Meter, MeterSlot, Metering, Traffic};
use ipnet::Ipv4Net;

pub(crate) use self::listing::Wanted;
use self::listing::{Counts, Listing};
use crate::harden::keep_nothing;

/// How often the fill of the workers' tables is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How often it is found out anew which mappings are the busiest while somebody asks, and while nobody does. It takes a pass
/// over all that is counted: with a million mappings, some hundredths of a second for each worker.
const RANKED: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// Busiest mappings that are known.
const KNOWN: usize = 100;
/// Of each worker's table so many more are looked at, for what is little for one worker may be much for all.
const SPREAD: usize = 10;

/// The meters of all workers; none of `mappings` is off.
pub(crate) struct Meters {
    kind: MappingCounters,
    slots: Vec<MeterSlot>,
    /// The busiest mappings when they were looked for last.
    ranked: Mutex<Arc<Vec<Ipv4Net>>>,
    /// Somebody has asked since.
    is_asked: AtomicBool,
}

impl Meters {
    /// For so many workers and mappings.
    pub(crate) fn start(kind: MappingCounters, workers: usize, eams: usize) -> std::io::Result<Arc<Self>> {
        let metering = match kind {
            MappingCounters::Off => None,
            MappingCounters::Busiest => Some(Metering::Busiest),
            MappingCounters::Exact => Some(Metering::Exact),
        };
        let slots = metering
            .map_or_else(Vec::new, |metering| (0..workers).map(|_| MeterSlot::new(metering, eams)).collect());
        let meters =
            Arc::new(Self { kind, slots, ranked: Mutex::default(), is_asked: AtomicBool::new(false) });
        if kind == MappingCounters::Exact {
            let kept = Arc::downgrade(&meters);
            std::thread::Builder::new().name("meters".to_owned()).spawn(move || {
                keep_nothing();
                keep_room(&kept);
            })?;
        }
        Ok(meters)
    }

    /// The end of a worker, by its place in the configuration.
    pub(crate) fn meter(&self, worker: usize) -> Option<Meter> {
        self.slots.get(worker).map(MeterSlot::meter)
    }

    /// What is counted.
    pub(crate) fn kind(&self) -> control_api::MappingCounters {
        match self.kind {
            MappingCounters::Off => control_api::MappingCounters::Off,
            MappingCounters::Busiest => control_api::MappingCounters::Busiest,
            MappingCounters::Exact => control_api::MappingCounters::Exact,
        }
    }

    /// Packets that were not counted for want of room, and bytes of memory.
    pub(crate) fn room(&self) -> (u64, usize) {
        let uncounted = self.slots.iter().map(MeterSlot::uncounted).sum();
        (uncounted, self.slots.iter().map(MeterSlot::memory).sum())
    }

    fn read(&self, wanted: impl Fn(&Ipv4Net) -> bool) -> HashMap<Ipv4Net, Traffic> {
        let mut sums = HashMap::new();
        self.slots.iter().for_each(|slot| slot.read(&mut sums, &wanted));
        sums
    }

    /// Those with most bytes, first, a hundred at most, with their counts of now. Where everything is counted, who is among them
    /// was found out a moment ago, so that nobody waits for a pass over a million.
    pub(crate) fn ranked(&self, most: usize) -> Vec<(Ipv4Net, Traffic)> {
        if self.kind != MappingCounters::Exact {
            return self.busiest(most, |_| true);
        }
        self.is_asked.store(true, Ordering::Relaxed);
        let known = Arc::clone(&self.ranked.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all = self.counts(known.iter().copied());
        all.truncate(most);
        all
    }

    /// What was counted for these, of all workers together, most bytes first.
    fn counts(&self, prefixes: impl Iterator<Item = Ipv4Net>) -> Vec<(Ipv4Net, Traffic)> {
        let mut all: Vec<_> = prefixes.map(|prefix| (prefix, self.of(prefix))).collect();
        all.sort_unstable_by_key(order);
        all
    }

    fn rank(&self) {
        let mut candidates = BTreeSet::new();
        self.slots.iter().for_each(|slot| slot.heaviest(SPREAD * KNOWN, &mut candidates));
        let mut all = self.counts(candidates.into_iter());
        all.truncate(KNOWN);
        let known = all.into_iter().map(|(prefix, _)| prefix).collect();
        *self.ranked.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    /// Those with most bytes, first.
    pub(crate) fn busiest(&self, most: usize, wanted: impl Fn(&Ipv4Net) -> bool) -> Vec<(Ipv4Net, Traffic)> {
        let mut all: Vec<_> = self.read(wanted).into_iter().collect();
        if all.len() > most {
            all.select_nth_unstable_by_key(most, order);
            all.truncate(most);
        }
        all.sort_unstable_by_key(order);
        all
    }

    /// All by prefix: `mappings` with what was counted for them, then what is wanted of those that are no mappings any more.
    pub(crate) fn all(
        self: &Arc<Self>,
        mappings: Slices<Entry>,
        wanted: Option<Wanted>,
    ) -> Slices<MappingLoad> {
        Box::new(Listing::new(Arc::clone(self), mappings, wanted))
    }
}

impl Counts for Meters {
    fn of(&self, prefix: Ipv4Net) -> Traffic {
        let mut sum = Traffic::default();
        self.slots.iter().for_each(|slot| sum.merge(&slot.of(prefix)));
        sum
    }

    fn each(&self, found: &mut dyn FnMut(Ipv4Net)) {
        self.slots.iter().for_each(|slot| slot.prefixes(&mut *found));
    }
}

/// Most bytes first.
fn order((prefix, traffic): &(Ipv4Net, Traffic)) -> (std::cmp::Reverse<u64>, Ipv4Net) {
    (std::cmp::Reverse(traffic.all_bytes()), *prefix)
}

/// Traffic as the socket shows it.
pub(crate) fn load(ipv4: String, mapping: Option<(String, String)>, traffic: Traffic) -> MappingLoad {
    let way = |way: usize| Counted { packets: traffic.packets[way], bytes: traffic.bytes[way] };
    let (ipv6, owner) = mapping.unzip();
    MappingLoad { ipv4, ipv6, owner, v4_to_v6: way(0), v6_to_v4: way(1) }
}

/// Until the relay is over.
fn keep_room(meters: &Weak<Meters>) {
    let mut ranked: Option<Instant> = None;
    while let Some(meters) = meters.upgrade() {
        meters.slots.iter().for_each(MeterSlot::grow);
        let [soon, late] = RANKED.map(|every| ranked.is_none_or(|at| at.elapsed() >= every));
        if late || soon && meters.is_asked.swap(false, Ordering::Relaxed) {
            meters.rank();
            ranked = Some(Instant::now());
        }
        drop(meters);
        std::thread::sleep(LOOK);
    }
}
