//! Traffic of each mapping: packets and bytes, both ways, counted by every worker for itself.
//!
//! ```text
//!  IPv4 prefix of the mapping -> hash -> a line of 64 bytes, one cache line: | key | packets | bytes | packets | bytes |
//!                                        the next line when somebody else has it
//! ```
//!
//! The key is the mapping's own IPv4 prefix, and no place in a table of mappings: counts stay while tables come and go, and
//! a mapping that was removed and comes back goes on counting. A worker adds to lines of its own that nobody else writes.
//!
//! Exact metering has a line for every mapping that had traffic. The table is made larger before it is full ([`MeterSlot::grow`]); what
//! finds no room until then is counted as such. The busiest are found in a small table by a sample: a mapping that is not there
//! takes the weight of the lightest in reach away, and its place once nothing is left of that, so those that send much stay.
//!
//! A packet's mapping is the one with the longest IPv4 prefix around its address; where mappings overlap, that need not be the one
//! that was applied to an IPv6 address. Bytes are those of the IP packet as it came.

mod ranking;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Cache};
use ipnet::Ipv4Net;

use crate::hash::{high32, mix};
use crate::huge::{Line, Lines};
use crate::prefetch::prefetch;
use crate::table::eam::EamTable;

/// Lines that are looked at for a key at most. A look ends at the first free one, and with five lines in eight taken that is
/// nearly always the first or second; among a million keys the longest way is some hundred lines.
const REACH: usize = 512;
/// The same where the busiest are found, and lines are never free for long.
const BUSIEST_REACH: usize = 8;
/// Lines of the table in which the busiest are found.
const BUSIEST_LINES: usize = 2048;
/// One packet in so many is looked at for the busiest, on average.
const BUSIEST_EVERY: u64 = 64;

/// Which way packets are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From IPv4 to IPv6.
    ToV6,
    /// From IPv6 to IPv4.
    ToV4,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metering {
    /// A sample, for the busiest.
    Busiest,
    /// Everything.
    Exact,
}

/// Traffic of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Packets to IPv6, and to IPv4.
    pub packets: [u64; 2],
    /// Their bytes.
    pub bytes: [u64; 2],
}

impl Traffic {
    /// Bytes both ways.
    #[must_use]
    pub const fn all_bytes(&self) -> u64 {
        self.bytes[0] + self.bytes[1]
    }

    /// Adds more of it.
    pub fn merge(&mut self, other: &Self) {
        for way in 0..2 {
            self.packets[way] += other.packets[way];
            self.bytes[way] += other.bytes[way];
        }
    }
}

/// One mapping's counts: a line of memory. One writer.
#[derive(Clone, Copy)]
struct Account<'a>(&'a Line);

/// Where the words of a line are: the key is zero while nobody has it; of packets and bytes there are two each, one for each
/// way; the weight says how hard it is to push out, where the busiest are found.
const KEY: usize = 0;
const PACKETS: usize = 1;
const BYTES: usize = 3;
const WEIGHT: usize = 5;

const fn key_of(address: Ipv4Addr, length: u8) -> u64 {
    1 << 40 | (address.to_bits() as u64) << 8 | length as u64
}

fn prefix_of(key: u64) -> Option<Ipv4Net> {
    let bits = u32::try_from(key >> 8 & u64::from(u32::MAX)).ok()?;
    let length = u8::try_from(key & 0xff).ok()?;
    Ipv4Net::new(bits.into(), length).ok().filter(|_| key != 0)
}

/// Adds to a cell that has no other writer.
#[inline]
fn add(cell: &AtomicU64, amount: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

impl<'a> Account<'a> {
    #[inline]
    fn word(self, at: usize) -> &'a AtomicU64 {
        &self.0[at]
    }

    #[inline]
    fn key(self) -> u64 {
        self.word(KEY).load(Ordering::Relaxed)
    }

    fn weight(self) -> u64 {
        self.word(WEIGHT).load(Ordering::Relaxed)
    }

    #[inline]
    fn count(self, way: Way, packets: u64, bytes: u64) {
        add(self.word(PACKETS + way as usize), packets);
        add(self.word(BYTES + way as usize), bytes);
    }

    fn take_over(self, key: u64) {
        self.0[PACKETS..=WEIGHT].iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.word(KEY).store(key, Ordering::Relaxed);
    }

    fn read(self) -> Option<(Ipv4Net, Traffic)> {
        let prefix = prefix_of(self.key())?;
        let read = |first: usize| [0, 1].map(|way| self.word(first + way).load(Ordering::Relaxed));
        Some((prefix, Traffic { packets: read(PACKETS), bytes: read(BYTES) }))
    }
}

/// The lines of one worker.
struct MeterTable {
    lines: Lines,
    /// How many lines hash values choose from; those behind the last are in its reach.
    starts: u32,
    reach: usize,
    used: AtomicU64,
    /// Packets that found no line.
    uncounted: AtomicU64,
}

impl MeterTable {
    fn new(lines: usize, reach: usize) -> Self {
        let starts = u32::try_from(lines).unwrap_or(u32::MAX);
        Self {
            lines: Lines::zeroed(lines + reach),
            starts,
            reach,
            used: AtomicU64::new(0),
            uncounted: AtomicU64::new(0),
        }
    }

    /// Where the line of a key is looked for first.
    #[inline]
    fn start(&self, key: u64) -> u32 {
        // Fibonacci hashing: neighbouring addresses, which pools are made of, are spread evenly.
        let hash = high32(key.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        high32(u64::from(hash) * u64::from(self.starts))
    }

    #[inline]
    fn at(&self, line: u32) -> Option<Account<'_>> {
        self.lines.all().get(line as usize).map(Account)
    }

    fn reach(&self, key: u64) -> impl Iterator<Item = Account<'_>> {
        self.lines.all()[self.start(key) as usize..].iter().take(self.reach).map(Account)
    }

    #[inline]
    fn find(&self, key: u64) -> Option<Account<'_>> {
        for line in self.reach(key) {
            match line.key() {
                found if found == key => return Some(line),
                // Lines are never given back: nobody went on from here.
                0 => return None,
                _ => {}
            }
        }
        None
    }

    /// A line for a key that has none yet.
    #[cold]
    fn claim(&self, key: u64) -> Option<Account<'_>> {
        let line = self.reach(key).find(|line| line.key() == 0)?;
        line.take_over(key);
        add(&self.used, 1);
        Some(line)
    }

    /// A line for a sampled key: its own, a free one, or the lightest, once that has lost its weight.
    fn contend(&self, key: u64) -> Option<Account<'_>> {
        if let Some(line) = self.find(key).or_else(|| self.claim(key)) {
            add(line.word(WEIGHT), 1);
            return Some(line);
        }
        let lightest = self.reach(key).min_by_key(|line| line.weight())?;
        let weight = lightest.weight();
        if weight > 0 {
            lightest.word(WEIGHT).store(weight - 1, Ordering::Relaxed);
            return None;
        }
        lightest.take_over(key);
        Some(lightest)
    }

    fn is_nearly_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) * 8 > u64::from(self.starts) * 5
    }

    fn prefixes(&self) -> impl Iterator<Item = Ipv4Net> + '_ {
        self.lines.all().iter().filter_map(|line| prefix_of(Account(line).key()))
    }

    fn read(&self) -> impl Iterator<Item = (Ipv4Net, Traffic)> + '_ {
        self.lines.all().iter().filter_map(|line| Account(line).read())
    }

    fn memory(&self) -> usize {
        size_of_val(self.lines.all())
    }
}

/// A worker's end: counts.
#[derive(Clone)]
pub struct Meter {
    metering: Metering,
    table: Cache<Arc<ArcSwap<MeterTable>>, Arc<MeterTable>>,
    /// Packets until the next one of the sample.
    left: u64,
    random: u64,
}

impl Meter {
    /// For a burst of packets: what all of them need is looked for once.
    #[inline]
    pub(crate) fn begin(&mut self) -> Counting<'_> {
        let sample = Sample { left: &mut self.left, random: &mut self.random };
        Counting { metering: self.metering, table: self.table.load(), sample }
    }

    /// Counts a packet for the mapping around `address`, if there is one.
    #[inline]
    pub(crate) fn any(&mut self, eams: &EamTable, address: Ipv4Addr, way: Way, bytes: u16) {
        if eams.may_cover(address) {
            let mut counting = self.begin();
            if counting.metering == Metering::Exact || counting.sample.is_next() {
                counting.around(eams, address, way, bytes);
            }
        }
    }
}

/// Which packets the busiest mappings are found by.
struct Sample<'a> {
    left: &'a mut u64,
    random: &'a mut u64,
}

impl Sample<'_> {
    /// Whether the next packet is one of them.
    fn is_next(&mut self) -> bool {
        *self.left -= 1;
        if *self.left > 0 {
            return false;
        }
        *self.left = self.gap();
        true
    }

    /// The first of the packets from the `from`-th of a burst of `of` on that is one of them.
    fn next_of(&mut self, from: usize, of: usize) -> Option<usize> {
        let rest = of - from;
        match usize::try_from(*self.left) {
            Ok(left) if left <= rest => {
                *self.left = self.gap();
                Some(from + left - 1)
            }
            _ => {
                *self.left -= rest as u64;
                None
            }
        }
    }

    /// Gaps are random, or a rhythm in the traffic would hide some of it.
    fn gap(&mut self) -> u64 {
        *self.random = mix(self.random.wrapping_add(0x9e37_79b9_7f4a_7c15));
        1 + *self.random % (2 * BUSIEST_EVERY - 1)
    }
}

/// A meter during one burst.
pub(crate) struct Counting<'a> {
    metering: Metering,
    table: &'a MeterTable,
    sample: Sample<'a>,
}

impl Counting<'_> {
    /// Whether every packet counts; those of a sample otherwise ([`Self::next_of`]).
    #[inline]
    pub(crate) fn is_exact(&self) -> bool {
        self.metering == Metering::Exact
    }

    /// The next packet to count from the `from`-th of a burst of `of` on.
    pub(crate) fn next_of(&mut self, from: usize, of: usize) -> Option<usize> {
        self.sample.next_of(from, of)
    }

    /// Has the line of a host fetched, for [`Self::host`] soon after; where that is.
    #[inline(always)]
    pub(crate) fn fetch(&self, address: Ipv4Addr) -> u32 {
        let start = self.table.start(key_of(address, 32));
        if let Some(line) = self.table.at(start) {
            prefetch(line.0);
        }
        start
    }

    /// Counts a packet of the host `address`, which has a mapping of its own and whose line was fetched.
    #[inline(always)]
    pub(crate) fn host(&self, address: Ipv4Addr, fetched: u32, way: Way, bytes: u16) {
        let key = key_of(address, 32);
        match self.table.at(fetched) {
            Some(line) if self.is_exact() && line.key() == key => line.count(way, 1, u64::from(bytes)),
            _ => self.count(key, way, u64::from(bytes)),
        }
    }

    /// Counts a packet for the mapping around `address`, if there is one.
    #[inline(always)]
    pub(crate) fn any(&self, eams: &EamTable, address: Ipv4Addr, way: Way, bytes: u16) {
        if eams.may_cover(address) {
            self.around(eams, address, way, bytes);
        }
    }

    #[inline(never)]
    fn around(&self, eams: &EamTable, address: Ipv4Addr, way: Way, bytes: u16) {
        if let Some(prefix) = eams.mapping_around(address) {
            self.count(key_of(prefix.network(), prefix.prefix_len()), way, u64::from(bytes));
        }
    }

    #[inline(never)]
    fn count(&self, key: u64, way: Way, bytes: u64) {
        let table = self.table;
        match self.metering {
            Metering::Exact => match table.find(key).or_else(|| table.claim(key)) {
                Some(line) => line.count(way, 1, bytes),
                None => add(&table.uncounted, 1),
            },
            Metering::Busiest => {
                if let Some(line) = table.contend(key) {
                    line.count(way, BUSIEST_EVERY, BUSIEST_EVERY * bytes);
                }
            }
        }
    }
}

/// Control's end of one worker's meter: reads, and makes room.
pub struct MeterSlot {
    metering: Metering,
    current: Arc<ArcSwap<MeterTable>>,
    earlier: Mutex<Earlier>,
}

/// What was counted in tables that were too small.
#[derive(Default)]
struct Earlier {
    /// Tables the worker may still write to.
    leaving: Vec<Arc<MeterTable>>,
    settled: HashMap<Ipv4Net, Traffic>,
    uncounted: u64,
}

impl MeterSlot {
    /// For so many mappings.
    #[must_use]
    pub fn new(metering: Metering, mappings: usize) -> Self {
        let table = match metering {
            Metering::Busiest => MeterTable::new(BUSIEST_LINES, BUSIEST_REACH),
            Metering::Exact => MeterTable::new(mappings.saturating_mul(2).max(4096), REACH),
        };
        let current = Arc::new(ArcSwap::from_pointee(table));
        Self { metering, current, earlier: Mutex::default() }
    }

    /// The worker's end. There must be only one: it is the one writer.
    #[must_use]
    pub fn meter(&self) -> Meter {
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0_u8);
        Meter { metering: self.metering, table: Cache::new(Arc::clone(&self.current)), left: 1, random }
    }

    /// Gives the worker a larger table if its own is nearly full, and settles what it has left behind; call it a few times a
    /// second.
    pub fn grow(&self) {
        let mut earlier = self.earlier();
        earlier.settle();
        let current = self.current.load_full();
        if self.metering == Metering::Exact && current.is_nearly_full() {
            self.current.store(Arc::new(MeterTable::new(2 * current.starts as usize, REACH)));
            earlier.leaving.push(current);
        }
    }

    /// Adds what was counted to `sums`; what is not in `wanted` is left out.
    pub fn read(&self, sums: &mut HashMap<Ipv4Net, Traffic>, wanted: impl Fn(&Ipv4Net) -> bool) {
        let earlier = self.earlier();
        let current = self.current.load_full();
        let settled = earlier.settled.iter().map(|(prefix, traffic)| (*prefix, *traffic));
        let tables = earlier.leaving.iter().chain(std::iter::once(&current)).flat_map(|table| table.read());
        for (prefix, traffic) in settled.chain(tables).filter(|(prefix, _)| wanted(prefix)) {
            sums.entry(prefix).or_default().merge(&traffic);
        }
    }

    /// Everything that was counted, in no order, some of it more than once.
    pub fn prefixes(&self, mut found: impl FnMut(Ipv4Net)) {
        let leaving = {
            let earlier = self.earlier();
            earlier.settled.keys().copied().for_each(&mut found);
            earlier.leaving.clone()
        };
        for table in leaving.into_iter().chain(std::iter::once(self.current.load_full())) {
            table.prefixes().for_each(&mut found);
        }
    }

    /// Packets for which there was no room.
    #[must_use]
    pub fn uncounted(&self) -> u64 {
        let earlier = self.earlier();
        let tables = earlier.leaving.iter().map(|table| table.uncounted.load(Ordering::Relaxed)).sum::<u64>();
        earlier.uncounted + tables + self.current.load().uncounted.load(Ordering::Relaxed)
    }

    /// Bytes of memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        let leaving = self.earlier().leaving.iter().map(|table| table.memory()).sum::<usize>();
        leaving + self.current.load().memory()
    }

    fn earlier(&self) -> MutexGuard<'_, Earlier> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Earlier {
    /// Keeps what is in the tables that nobody else has any more.
    fn settle(&mut self) {
        // Whoever sees that a table is his alone sees what was written to it.
        for table in self.leaving.extract_if(.., |table| Arc::get_mut(table).is_some()) {
            self.uncounted += table.uncounted.load(Ordering::Relaxed);
            for (prefix, traffic) in table.read() {
                self.settled.entry(prefix).or_default().merge(&traffic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0xc000_0200 + number)
    }

    fn count(meter: &mut Meter, address: Ipv4Addr, way: Way, bytes: u16) {
        let mut counting = meter.begin();
        if counting.is_exact() || counting.next_of(0, 1).is_some() {
            counting.host(address, counting.fetch(address), way, bytes);
        }
    }

    fn read(slot: &MeterSlot) -> HashMap<Ipv4Net, Traffic> {
        let mut sums = HashMap::new();
        slot.read(&mut sums, |_| true);
        sums
    }

    #[test]
    fn every_packet_of_every_mapping_is_counted_while_the_table_grows() {
        let slot = MeterSlot::new(Metering::Exact, 0);
        let mut meter = slot.meter();
        let mappings = 100_000;
        for round in 0..3 {
            for number in 0..mappings {
                count(&mut meter, host(number), Way::ToV6, 100);
                if number % 2 == 0 {
                    count(&mut meter, host(number), Way::ToV4, 1000);
                }
                if number % 500 == 0 {
                    slot.grow();
                }
            }
            let sums = read(&slot);
            assert_eq!(sums.len(), mappings as usize);
            let mut found = std::collections::BTreeSet::new();
            slot.prefixes(|prefix| {
                found.insert(prefix);
            });
            assert!(found.len() == sums.len() && found.iter().all(|prefix| sums.contains_key(prefix)));
            let times = round + 1;
            // What is read one by one, and what is found to be heaviest, is the same, whichever tables it lies in.
            assert_eq!(slot.of(host(2).into()), sums[&host(2).into()]);
            let mut heaviest = std::collections::BTreeSet::new();
            slot.heaviest(50, &mut heaviest);
            assert!(heaviest.iter().all(|prefix| prefix.addr().to_bits() % 2 == 0), "{heaviest:?}");
            for number in 0..mappings {
                let back = times * u64::from(number % 2 == 0);
                let expected = Traffic { packets: [times, back], bytes: [100 * times, 1000 * back] };
                assert_eq!(sums[&host(number).into()], expected, "mapping {number}");
            }
        }
        assert_eq!(slot.uncounted(), 0);
        slot.grow();
        assert!(slot.earlier().leaving.is_empty(), "the worker has let go of all smaller tables");
        assert!(slot.memory() < mappings as usize * 64 * 4, "{}", slot.memory());
    }

    #[test]
    fn what_finds_no_room_is_told() {
        let slot = MeterSlot::new(Metering::Exact, 0);
        let mut meter = slot.meter();
        (0..20_000).for_each(|number| count(&mut meter, host(number), Way::ToV6, 1));
        let counted: u64 = read(&slot).values().map(|traffic| traffic.packets[0]).sum();
        assert!(counted > 3000 && slot.uncounted() > 0);
        assert_eq!(counted + slot.uncounted(), 20_000);
    }

    #[test]
    fn the_busiest_are_found_among_many() {
        let slot = MeterSlot::new(Metering::Busiest, 0);
        let mut meter = slot.meter();
        let busy = 20;
        // Half of the traffic is that of twenty mappings, the rest of 100,000.
        for number in 0..2_000_000_u32 {
            let address =
                if number % 2 == 0 { host(number / 2 % busy) } else { host(1000 + number % 200_000) };
            count(&mut meter, address, Way::ToV6, 100);
        }
        let mut sums: Vec<_> = read(&slot).into_iter().collect();
        sums.sort_by_key(|(_, traffic)| std::cmp::Reverse(traffic.all_bytes()));
        let each = 1_000_000 / u64::from(busy);
        for (prefix, traffic) in &sums[..busy as usize] {
            assert!(prefix.addr().to_bits() < host(busy).to_bits(), "{prefix} is one of the busy");
            assert!((each * 8 / 10..each * 12 / 10).contains(&traffic.packets[0]), "{prefix}: {traffic:?}");
        }
        assert!(sums[busy as usize].1.packets[0] < each / 10);
        assert!(slot.memory() < 150_000);
    }
}
