//! Longest prefix match for IPv4 routes: three tables of 256, one for each of the first three octets.
//!
//! ```text
//!  top, by the first octet ---------- value of the longest prefix up to /8                     4 kB, always in cache
//!   |
//!  wide, by the second --------------- value of the longest prefix from /9 to /16, or          1.5 kB for each /8
//!   |
//!  block, by the third --------------- value of the longest prefix from /9 to /24 in a byte, or   256 bytes for each /16,
//!   |                                   the mark of one that needs more                            eight of them side by side
//!   |
//!  node (lpm.rs): prefixes of 25 bits and more in one /24
//! ```
//!
//! Where a full table has routes, an address has one line to wait for, that of its block, and nothing on the way there or
//! behind it has to be guessed: the waits of many look-ups overlap, and [`Ipv4Lpm::fetch`] begins one early. The blocks lie on
//! huge pages (`cells.rs`). Values of shorter prefixes are spread over what they cover, those up to /8 excepted, so that a default
//! route is one word. What a change writes is one block, and for prefixes of 9 to 16 bits the blocks they cover, 128 at most.
//! What it copies are the eight blocks of its group and 32 pointers to groups. Were they 256 to blocks, it would wait for as many
//! counts of owners, each in a line and a page of its own.
//!
//! Values are small numbers: those of a table over less than 250 sets of next hops fit into bytes, so a full table takes 20 MB,
//! which is within the last cache of most processors.
//!
//! A version ([`Ipv4Lpm`]) is immutable. The [`Ipv4LpmEditor`] shares with the versions it gave all but what it changes.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::cells::{self, Cells, OCTET};
use super::edit::{Edit, Left};
use super::short::ShortPrefixes;
use super::{IS_NODE, Node, Value};
use crate::prefetch::{prefetch, prefetch_owners};

/// Blocks of a group.
const GROUP: usize = cells::BLOCKS;
/// Bits that lead to a block, and to a word of it.
const TO_BLOCK: u32 = 16;
const TO_WORD: u32 = 24;

/// The routes at one moment.
#[derive(Clone)]
pub struct Ipv4Lpm {
    top: Arc<[Top; OCTET]>,
}

/// Where the value of an address is looked for, on its way into the cache.
#[derive(Debug, Clone, Copy)]
pub struct FetchedRoute<'a>(Option<&'a AtomicU64>);

#[derive(Clone, Default)]
struct Top {
    value: Value,
    wide: Option<Arc<Wide>>,
}

struct Wide {
    /// The bytes of each group, if it is there: all that a look-up needs of most.
    cells: [Option<&'static Cells>; OCTET / GROUP],
    words: [Value; OCTET],
    groups: [Option<Arc<Group>>; OCTET / GROUP],
}

/// Neighbouring blocks. Those without any prefix of more than 16 bits have what they inherit in all bytes.
#[derive(Clone)]
struct Group {
    /// The values, if they are less than [`LARGE`].
    bytes: cells::Owned,
    blocks: [Block; GROUP],
    /// One bit for each block that has prefixes.
    used: u8,
}

/// What does not fit into the bytes.
#[derive(Clone)]
struct Block {
    /// All words, if some of them are no bytes: values, and marks of what leads further down.
    words: Option<Box<[u32; OCTET]>>,
    /// What words that are marked lead to, in the order of these.
    deep: Vec<Deep>,
}

/// In place of a byte: the word says more.
const LARGE: u8 = u8::MAX;

/// The routes of one /24 that are longer.
#[derive(Clone)]
struct Deep {
    third: u8,
    /// The value of addresses that none of them covers.
    under: Value,
    node: Node,
}

impl FetchedRoute<'_> {
    /// Nowhere in particular.
    pub const NONE: Self = Self(None);
}

impl Default for Ipv4Lpm {
    fn default() -> Self {
        Self { top: Arc::new(std::array::from_fn(|_| Top::default())) }
    }
}

impl Default for Wide {
    fn default() -> Self {
        Self { cells: [None; OCTET / GROUP], words: [0; OCTET], groups: [const { None }; OCTET / GROUP] }
    }
}

impl Clone for Wide {
    /// Owners are counted one after the other: fetched together, the counts are waited for once.
    fn clone(&self) -> Self {
        self.groups.iter().flatten().for_each(prefetch_owners);
        Self { cells: self.cells, words: self.words, groups: self.groups.clone() }
    }
}

impl Wide {
    #[inline(always)]
    fn cells(&self, second: u8) -> Option<&'static Cells> {
        self.cells[usize::from(second) / GROUP]
    }

    /// What a block has besides its bytes, if its group is there.
    fn block(&self, second: u8) -> Option<&Block> {
        let place = usize::from(second);
        Some(&self.groups[place / GROUP].as_ref()?.blocks[place % GROUP])
    }

    /// Changes a block, whose group is there from now on, and writes it anew. One without any prefix is given up.
    fn edit<R>(&mut self, second: u8, prefixes: &[(u16, Value)], change: impl FnOnce(&mut Block) -> R) -> R {
        let (number, place) = (usize::from(second) / GROUP, usize::from(second) % GROUP);
        let inherited = &self.words[number * GROUP..(number + 1) * GROUP];
        let shared = self.groups[number].get_or_insert_with(|| Arc::new(Group::new(inherited)));
        let group = Arc::make_mut(shared);
        self.cells[number] = Some(group.bytes.cells());
        let result = change(&mut group.blocks[place]);
        group.paint(place, inherited[place], prefixes);
        if group.used == 0 {
            self.groups[number] = None;
            self.cells[number] = None;
        }
        result
    }
}

impl Ipv4Lpm {
    /// Has what [`Self::lookup_fetched`] waits for fetched.
    #[inline(always)]
    #[must_use]
    pub fn fetch(&self, address: Ipv4Addr) -> FetchedRoute<'_> {
        let [first, second, third, _] = address.octets();
        let cells = self.top[usize::from(first)].wide.as_ref().and_then(|wide| wide.cells(second));
        FetchedRoute(cells.map(|cells| {
            let word = cells::word(cells, second, third);
            prefetch(word);
            word
        }))
    }

    /// The value of the longest prefix that covers `address`, or 0. `fetched` is the address's.
    #[inline(always)]
    #[must_use]
    pub fn lookup_fetched(&self, fetched: FetchedRoute<'_>, address: Ipv4Addr) -> Value {
        match fetched.0.map_or(0, |word| cells::byte(word, address.octets()[2])) {
            0 | LARGE => self.lookup(address),
            value => Value::from(value),
        }
    }

    /// The value of the longest prefix that covers `address`, or 0.
    #[inline(always)]
    #[must_use]
    pub fn lookup(&self, address: Ipv4Addr) -> Value {
        let [first, second, third, _] = address.octets();
        let top = &self.top[usize::from(first)];
        let Some(wide) = &top.wide else { return top.value };
        let value = match wide.cells(second) {
            Some(cells) => match cells::byte(cells::word(cells, second, third), third) {
                LARGE => wide.lookup_word(address),
                value => Value::from(value),
            },
            None => wide.words[usize::from(second)],
        };
        if value == 0 { top.value } else { value }
    }

    /// Bytes of it, the allocator's own not counted.
    #[must_use]
    pub fn memory(&self) -> usize {
        let deep = |deep: &Deep| {
            size_of::<Deep>() - size_of::<Node>() + super::memory(std::slice::from_ref(&deep.node))
        };
        let words = |block: &Block| block.words.as_deref().map_or(0, size_of_val);
        let block = |block: &Block| words(block) + block.deep.iter().map(deep).sum::<usize>();
        let group = |group: &Arc<Group>| {
            size_of::<Group>() + size_of::<Cells>() + group.blocks.iter().map(block).sum::<usize>()
        };
        let wide =
            |wide: &Arc<Wide>| size_of::<Wide>() + wide.groups.iter().flatten().map(group).sum::<usize>();
        size_of_val(&*self.top) + self.top.iter().filter_map(|top| top.wide.as_ref()).map(wide).sum::<usize>()
    }

    /// Whether both are one version.
    #[cfg(test)]
    pub(in crate::table) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.top, &other.top)
    }
}

impl Deep {
    #[inline(never)]
    fn lookup(&self, address: Ipv4Addr) -> Value {
        let key = super::key(address.into());
        self.node.find(key, TO_WORD).unwrap_or(self.under)
    }
}

impl Wide {
    /// The value of an address whose byte says that there is more to it.
    #[inline(never)]
    fn lookup_word(&self, address: Ipv4Addr) -> Value {
        let [_, second, third, _] = address.octets();
        let Some(block) = self.block(second) else { return 0 };
        let word = block.words.as_ref().map_or(0, |words| words[usize::from(third)]);
        match word & IS_NODE {
            0 => word,
            _ => block.deep[(word & !IS_NODE) as usize].lookup(address),
        }
    }
}

impl Group {
    /// Blocks without any prefix, which inherit these values.
    fn new(inherited: &[Value]) -> Self {
        let block = || Block { words: None, deep: Vec::new() };
        let mut group =
            Self { bytes: cells::Owned::take(), blocks: std::array::from_fn(|_| block()), used: 0 };
        for (place, inherited) in inherited.iter().enumerate() {
            group.paint(place, *inherited, &[]);
        }
        group
    }

    /// Writes all words of a block anew: `inherited`, then the values of `prefixes`, shorter ones first.
    fn paint(&mut self, place: usize, inherited: Value, prefixes: &[(u16, Value)]) {
        let block = &mut self.blocks[place];
        let mut words = [inherited; OCTET];
        for (place, value) in prefixes {
            let length = place.ilog2();
            let span = OCTET >> length;
            let first = (usize::from(*place) - (1 << length)) * span;
            words[first..first + span].fill(*value);
        }
        for (number, deep) in (0..).zip(&mut block.deep) {
            let word = &mut words[usize::from(deep.third)];
            deep.under = *word;
            *word = IS_NODE | number;
        }
        let bytes = words.map(|word| u8::try_from(word).unwrap_or(LARGE));
        block.words = bytes.contains(&LARGE).then(|| Box::new(words));
        self.bytes.write(place, &bytes);
        let is_used = !prefixes.is_empty() || !block.deep.is_empty();
        self.used = self.used & !(1 << place) | u8::from(is_used) << place;
    }
}

/// The owner of the routes.
#[derive(Clone, Default)]
pub struct Ipv4LpmEditor {
    lpm: Ipv4Lpm,
    short: ShortPrefixes,
    /// Those of 17 to 24 bits, by their first 16: 2^(length - 16) + the other bits, and the value. In this order, which is
    /// that of their length.
    middle: HashMap<u16, Vec<(u16, Value)>>,
}

impl Ipv4LpmEditor {
    /// The routes of now.
    #[must_use]
    pub fn version(&self) -> Ipv4Lpm {
        self.lpm.clone()
    }

    /// Gives a prefix this value, or takes it out with the value 0; what it had before, or 0. Host bits are ignored.
    ///
    /// # Panics
    /// When the value is 2^31 or more.
    pub fn set(&mut self, address: Ipv4Addr, length: u8, value: Value) -> Value {
        assert!(value < IS_NODE, "values are small numbers");
        match length {
            0..=16 => self.set_short(address, length, value),
            17..=24 => self.set_middle(address, length, value),
            25.. => self.set_long(address, length, value),
        }
    }

    fn set_short(&mut self, address: Ipv4Addr, length: u8, value: Value) -> Value {
        let [first, second, ..] = address.octets();
        let bits = usize::from(u16::from_be_bytes([first, second])) >> (16 - length);
        let before = self.short.replace(1 << length | bits, value);
        if before == value {
            return before;
        }
        let tops = Arc::make_mut(&mut self.lpm.top);
        if length <= 8 {
            let span = OCTET >> length;
            for (slot, top) in tops.iter_mut().enumerate().skip(bits * span).take(span) {
                top.value = self.short.longest(OCTET | slot, 0);
            }
            return before;
        }
        let top = &mut tops[usize::from(first)];
        let wide = Arc::make_mut(top.wide.get_or_insert_default());
        let span = 1 << (TO_BLOCK - u32::from(length));
        let start = bits * span;
        for slot in start..start + span {
            let value = self.short.longest(1 << TO_BLOCK | slot, 9);
            let block = u16::try_from(slot).expect("the first two octets of an address");
            let [_, second] = block.to_be_bytes();
            let changed = std::mem::replace(&mut wide.words[usize::from(second)], value) != value;
            if changed && wide.cells(second).is_some() {
                let prefixes = self.middle.get(&block).map_or(&[][..], Vec::as_slice);
                wide.edit(second, prefixes, |_| ());
            }
        }
        top.drop_if_empty();
        before
    }

    fn set_middle(&mut self, address: Ipv4Addr, length: u8, value: Value) -> Value {
        let [first, second, third, _] = address.octets();
        let place = 1_u16 << (length - 16) | u16::from(third) >> (24 - length);
        let block = u16::from_be_bytes([first, second]);
        let prefixes = self.middle.entry(block).or_default();
        let before = match (prefixes.binary_search_by_key(&place, |(place, _)| *place), value) {
            (Ok(at), 0) => prefixes.remove(at).1,
            (Ok(at), value) => std::mem::replace(&mut prefixes[at].1, value),
            (Err(_), 0) => 0,
            (Err(at), value) => {
                prefixes.insert(at, (place, value));
                0
            }
        };
        let is_empty = prefixes.is_empty();
        if before != value {
            self.edit_block(address, |_| ());
        }
        if is_empty {
            self.middle.remove(&block);
        }
        before
    }

    fn set_long(&mut self, address: Ipv4Addr, length: u8, value: Value) -> Value {
        let third = address.octets()[2];
        let length = u32::from(length);
        let edit = Edit { bits: super::key(address.into()) & super::mask(length), length, value };
        if value == 0 && !self.has_deep(address) {
            return 0;
        }
        self.edit_block(address, |block| match block.deep.binary_search_by_key(&third, |deep| deep.third) {
            Ok(at) => {
                let (before, left) = block.deep[at].node.set(edit, TO_WORD);
                if left == Left::Nothing {
                    block.deep.remove(at);
                }
                before
            }
            Err(at) => {
                if value != 0 {
                    block.deep.insert(at, Deep { third, under: 0, node: Node::new(edit) });
                }
                0
            }
        })
    }

    /// Whether the /24 has longer prefixes.
    fn has_deep(&self, address: Ipv4Addr) -> bool {
        let [first, second, third, _] = address.octets();
        let wide = self.lpm.top[usize::from(first)].wide.as_ref();
        let block = wide.and_then(|wide| wide.block(second));
        block.is_some_and(|block| block.deep.iter().any(|deep| deep.third == third))
    }

    /// Changes the block of an address and writes its words anew.
    fn edit_block<R>(&mut self, address: Ipv4Addr, change: impl FnOnce(&mut Block) -> R) -> R {
        let [first, second, ..] = address.octets();
        let prefixes = self.middle.get(&u16::from_be_bytes([first, second])).map_or(&[][..], Vec::as_slice);
        let top = &mut Arc::make_mut(&mut self.lpm.top)[usize::from(first)];
        let wide = Arc::make_mut(top.wide.get_or_insert_default());
        let result = wide.edit(second, prefixes, change);
        top.drop_if_empty();
        result
    }
}

impl Top {
    fn drop_if_empty(&mut self) {
        let is_empty = |wide: &Arc<Wide>| {
            wide.words.iter().all(|word| *word == 0) && wide.groups.iter().all(Option::is_none)
        };
        if self.wide.as_ref().is_some_and(is_empty) {
            self.wide = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<(u32, u8), Value>;

    fn mask(length: u8) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
    }

    fn naive(model: &Model, address: u32) -> Value {
        let covers = |(bits, length): &(u32, u8)| (address ^ bits) & mask(*length) == 0;
        let longest =
            model.iter().filter(|(prefix, _)| covers(prefix)).max_by_key(|((_, length), _)| *length);
        longest.map_or(0, |(_, value)| *value)
    }

    /// Few distinct bits, so that prefixes nest and meet.
    fn prefix() -> impl Strategy<Value = (u32, u8)> {
        let length = prop_oneof![0_u8..=32, Just(8), Just(16), Just(24), Just(32)];
        (any::<u32>(), length).prop_map(|(bits, length)| (bits & 0x0381_8181 & mask(length), length))
    }

    #[test]
    fn a_change_copies_one_group_of_blocks_and_leaves_the_version_before_alone() {
        let mut editor = Ipv4LpmEditor::default();
        (0..=255).for_each(|second| {
            editor.set(Ipv4Addr::new(10, second, 7, 0), 24, u32::from(second) + 1);
        });
        let before = editor.version();
        assert_eq!(editor.set(Ipv4Addr::new(10, 9, 7, 0), 24, 999), 10);
        let after = editor.version();
        let address = Ipv4Addr::new(10, 9, 7, 1);
        assert_eq!((before.lookup(address), after.lookup(address)), (10, 999));
        let groups = |lpm: &Ipv4Lpm| lpm.top[10].wide.clone().unwrap().groups.clone().map(Option::unwrap);
        let (old, new) = (groups(&before), groups(&after));
        let copied = old.iter().zip(&new).filter(|(old, new)| !Arc::ptr_eq(old, new));
        assert_eq!(copied.count(), 1);
    }

    proptest! {
        #[test]
        fn changed_one_by_one_it_is_what_a_search_finds(
            changes in proptest::collection::vec((prefix(), prop_oneof![0_u32..6, 253_u32..260]), 0..120),
            probes in proptest::collection::vec(any::<u32>(), 30),
        ) {
            let (mut editor, mut model, mut versions) = (Ipv4LpmEditor::default(), Model::new(), Vec::new());
            for (number, ((bits, length), value)) in changes.into_iter().enumerate() {
                let before = match value {
                    0 => model.remove(&(bits, length)),
                    value => model.insert((bits, length), value),
                };
                prop_assert_eq!(editor.set(bits.into(), length, value), before.unwrap_or(0));
                if number % 7 == 0 {
                    versions.push((editor.version(), model.clone()));
                }
            }
            versions.push((editor.version(), model.clone()));
            for (version, model) in &versions {
                let ends = model.keys().flat_map(|(bits, length)| [*bits, bits | !mask(*length)]);
                for address in probes.iter().map(|bits| bits & 0x0381_8181).chain(ends) {
                    prop_assert_eq!(version.lookup(address.into()), naive(model, address), "{:08x}", address);
                }
            }
            for (bits, length) in model.into_keys() {
                editor.set(bits.into(), length, 0);
            }
            prop_assert_eq!(editor.version().memory(), Ipv4Lpm::default().memory(), "nothing is left behind");
            prop_assert!(editor.middle.is_empty());
        }
    }
}
