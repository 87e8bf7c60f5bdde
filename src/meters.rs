//! Traffic of each mapping, of all workers together, and the thread that keeps room for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use control::config::MappingCounters;
use control_api::{Entry, MappingLoad, Traffic as Counted};
use dataplane::meter::{Meter, MeterSlot, Metering, Traffic};
use ipnet::Ipv4Net;

use crate::harden::keep_nothing;

/// How often the fill of the workers' tables is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The meters of all workers; none of `mappings` is off.
pub(crate) struct Meters {
    kind: MappingCounters,
    slots: Vec<MeterSlot>,
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
        let meters = Arc::new(Self { kind, slots });
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

    /// Those with most bytes, first.
    pub(crate) fn busiest(&self, most: usize, wanted: impl Fn(&Ipv4Net) -> bool) -> Vec<(Ipv4Net, Traffic)> {
        let mut all: Vec<_> = self.read(wanted).into_iter().collect();
        let order =
            |(prefix, traffic): &(Ipv4Net, Traffic)| (std::cmp::Reverse(traffic.all_bytes()), *prefix);
        if all.len() > most {
            all.select_nth_unstable_by_key(most, order);
            all.truncate(most);
        }
        all.sort_unstable_by_key(order);
        all
    }

    /// All by prefix: `entries` with what was counted for them, then those that are no mappings any more.
    pub(crate) fn all(
        &self,
        entries: Box<dyn Iterator<Item = Entry> + Send>,
        wanted: impl Fn(&Ipv4Net) -> bool,
    ) -> Box<dyn Iterator<Item = MappingLoad> + Send> {
        let mut counted: BTreeMap<Ipv4Net, Traffic> = self.read(wanted).into_iter().collect();
        let mut entries = entries;
        let mut removed = None;
        Box::new(std::iter::from_fn(move || {
            if let Some(entry) = entries.next() {
                let traffic = entry.ipv4.parse().ok().and_then(|prefix| counted.remove(&prefix));
                return Some(load(entry.ipv4, Some((entry.ipv6, entry.owner)), traffic.unwrap_or_default()));
            }
            let rest = removed.get_or_insert_with(|| std::mem::take(&mut counted).into_iter());
            rest.next().map(|(prefix, traffic)| load(prefix.to_string(), None, traffic))
        }))
    }
}

/// Traffic as the socket shows it.
pub(crate) fn load(ipv4: String, mapping: Option<(String, String)>, traffic: Traffic) -> MappingLoad {
    let way = |way: usize| Counted { packets: traffic.packets[way], bytes: traffic.bytes[way] };
    let (ipv6, owner) = mapping.unzip();
    MappingLoad { ipv4, ipv6, owner, v4_to_v6: way(0), v6_to_v4: way(1) }
}

/// Until the relay is over.
fn keep_room(meters: &Weak<Meters>) {
    while let Some(meters) = meters.upgrade() {
        meters.slots.iter().for_each(MeterSlot::grow);
        drop(meters);
        std::thread::sleep(LOOK);
    }
}
