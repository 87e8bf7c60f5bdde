//! Changes of the trie. What a version given before shares is copied, what nobody shares is changed in place.
//!
//! The trie has one form for one set of prefixes: what leads to one prefix only is a leaf, no branch without a prefix leads one
//! way only (that is a skip), no skip follows a skip, and nothing is empty.

use std::mem::take;
use std::sync::Arc;

use super::short::ShortPrefixes;
use super::{
    Branch, GROUP, IS_NODE, Leaf, Lpm, Node, ROOT_BITS, STRIDE, Skip, TOP_BITS, Top, Value, Values, Wide,
    halves, joined, mask,
};

/// The trie's owner.
#[derive(Clone, Default)]
pub struct LpmEditor {
    lpm: Lpm,
    short: ShortPrefixes,
}

/// A prefix longer than the root's bits, and what becomes of it.
#[derive(Clone, Copy)]
pub(super) struct Edit {
    pub(super) bits: u128,
    pub(super) length: u32,
    /// 0 takes it out.
    pub(super) value: Value,
}

impl LpmEditor {
    /// The trie of now.
    #[must_use]
    pub fn version(&self) -> Lpm {
        self.lpm.clone()
    }

    /// Gives a prefix this value, or takes it out with the value 0; what it had before, or 0.
    ///
    /// # Panics
    /// When the value is 2^31 or more.
    pub fn set(&mut self, bits: u128, length: u8, value: Value) -> Value {
        assert!(value < IS_NODE, "values are small numbers");
        let before = self.replace(bits & mask(u32::from(length)), u32::from(length), value);
        self.lpm.prefixes += usize::from(value != 0);
        self.lpm.prefixes -= usize::from(before != 0);
        before
    }

    fn replace(&mut self, bits: u128, length: u32, value: Value) -> Value {
        if length <= ROOT_BITS {
            return self.set_short(bits, length, value);
        }
        let top = &mut Arc::make_mut(&mut self.lpm.top)[(bits >> (128 - TOP_BITS)) as usize];
        if top.wide.is_none() && value == 0 {
            return 0;
        }
        let wide = Arc::make_mut(top.wide.get_or_insert_default());
        let before = wide.set((bits >> (128 - ROOT_BITS)) as usize & 0xff, Edit { bits, length, value });
        drop_if_empty(top);
        before
    }

    fn set_short(&mut self, bits: u128, length: u32, value: Value) -> Value {
        let at = |length: u32| 1_usize << length | (bits >> 1 >> (127 - length)) as usize;
        let before = self.short.replace(at(length), value);
        if before == value {
            return before;
        }
        let tops = Arc::make_mut(&mut self.lpm.top);
        let first = at(length) - (1 << length);
        if length <= TOP_BITS {
            let span = 1 << (TOP_BITS - length);
            for (slot, top) in tops.iter_mut().enumerate().skip(first * span).take(span) {
                top.value = self.short.longest(1 << TOP_BITS | slot, 0);
            }
            return before;
        }
        let top = &mut tops[(bits >> (128 - TOP_BITS)) as usize];
        let wide = Arc::make_mut(top.wide.get_or_insert_default());
        let span = 1 << (ROOT_BITS - length);
        for slot in first * span..(first + 1) * span {
            let value = self.short.longest(1 << ROOT_BITS | slot, TOP_BITS + 1);
            let slot = slot & 0xff;
            let place = if wide.words[slot] & IS_NODE == 0 { &mut wide.words } else { &mut wide.under };
            place[slot] = value;
        }
        drop_if_empty(top);
        before
    }
}

fn drop_if_empty(top: &mut Top) {
    if top.wide.as_ref().is_some_and(|wide| wide.words.iter().all(|word| *word == 0)) {
        top.wide = None;
    }
}

impl Default for Wide {
    fn default() -> Self {
        Self { words: [0; 256], under: [0; 256], groups: Default::default() }
    }
}

impl Wide {
    fn set(&mut self, slot: usize, edit: Edit) -> Value {
        let word = self.words[slot];
        if word & IS_NODE == 0 {
            if edit.value != 0 {
                self.under[slot] = word;
                self.insert(slot, Node::new(edit));
            }
            return 0;
        }
        let group = self.groups[slot / GROUP].as_mut().expect("a word that is a node has one");
        let at = (word & !IS_NODE) as usize;
        let (before, left) = Arc::make_mut(group)[at].set(edit, ROOT_BITS);
        if left == Left::Nothing {
            self.remove(slot, at);
        }
        before
    }

    fn insert(&mut self, slot: usize, node: Node) {
        let first = slot / GROUP * GROUP;
        let at = self.words[first..slot].iter().filter(|word| **word & IS_NODE != 0).count();
        self.words[slot] = IS_NODE;
        insert(&mut self.groups[slot / GROUP], at, node);
        self.number(first);
    }

    fn remove(&mut self, slot: usize, at: usize) {
        self.words[slot] = take(&mut self.under[slot]);
        remove(&mut self.groups[slot / GROUP], at);
        self.number(slot / GROUP * GROUP);
    }

    /// Writes down the places of a group's nodes.
    fn number(&mut self, first: usize) {
        let nodes = self.words[first..first + GROUP].iter_mut().filter(|word| **word & IS_NODE != 0);
        for (place, word) in (0..).zip(nodes) {
            *word = IS_NODE | place;
        }
    }
}

/// Whether a node is still needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Something,
    Nothing,
}

impl Node {
    /// The node for one prefix.
    pub(super) fn new(edit: Edit) -> Self {
        let Edit { bits, length, value } = edit;
        Self::Leaf(Leaf { bits: halves(bits), mask: halves(mask(length)), length, value })
    }

    /// A way without any turn from `depth` down to a node at `end`.
    fn at_end_of(bits: u128, depth: u32, end: u32, node: Self) -> Self {
        match node {
            node if depth == end => node,
            Self::Skip(_) | Self::Leaf(_) => node,
            Self::Branch(_) => {
                let mask = mask(end);
                let (bits, mask) = (halves(bits & mask), halves(mask));
                Self::Skip(Skip { bits, mask, depth: end, child: Arc::new(node) })
            }
        }
    }

    pub(super) fn set(&mut self, edit: Edit, depth: u32) -> (Value, Left) {
        match self {
            Self::Branch(branch) => {
                let before = branch.set(edit, depth);
                if edit.value == 0 {
                    return (before, self.tidy(edit.bits, depth));
                }
                (before, Left::Something)
            }
            Self::Skip(skip) => {
                let shared = (edit.bits ^ skip.bits()).leading_zeros();
                let within = shared.min(edit.length - 1);
                if within < skip.depth {
                    if edit.value != 0 {
                        self.divide(edit, depth, depth + (within - depth) / STRIDE * STRIDE);
                    }
                    return (0, Left::Something);
                }
                let end = skip.depth;
                let result = Arc::make_mut(&mut skip.child).set(edit, end);
                if edit.value == 0 && !matches!(*skip.child, Self::Branch(_)) {
                    *self = Self::clone(&skip.child);
                }
                result
            }
            Self::Leaf(leaf) => {
                let known = Edit { bits: joined(leaf.bits), length: leaf.length, value: leaf.value };
                match (known.bits == edit.bits && known.length == edit.length, edit.value) {
                    (true, 0) => return (known.value, Left::Nothing),
                    (true, value) => {
                        leaf.value = value;
                        return (known.value, Left::Something);
                    }
                    (false, 0) => {}
                    (false, _) => *self = Self::of_two(known, edit, depth),
                }
                (0, Left::Something)
            }
        }
    }

    /// The node at `depth` for two prefixes: a branch where they part or one of them ends, and the way there.
    fn of_two(one: Edit, other: Edit, depth: u32) -> Self {
        let shared = (one.bits ^ other.bits).leading_zeros();
        let within = shared.min(one.length - 1).min(other.length - 1);
        let at = depth + (within - depth) / STRIDE * STRIDE;
        let mut branch = Branch::default();
        branch.set(one, at);
        branch.set(other, at);
        Self::at_end_of(one.bits, depth, at, Self::Branch(branch))
    }

    /// Puts a branch at `at` into a skip that begins at `depth`, for a prefix that leaves it there.
    fn divide(&mut self, edit: Edit, depth: u32, at: u32) {
        let Self::Skip(skip) = &*self else { unreachable!("only skips are divided") };
        let bits = skip.bits();
        let child = Self::clone(&skip.child);
        let below = Self::at_end_of(bits, at + STRIDE, skip.depth, child);
        let mut branch = Branch { children: 1 << slot(bits, at), ..Branch::default() };
        branch.below = Some([below].into());
        branch.set(edit, at);
        *self = Self::at_end_of(bits, depth, at, Self::Branch(branch));
    }

    /// Restores the one form after something was taken out of a branch.
    fn tidy(&mut self, bits: u128, depth: u32) -> Left {
        let Self::Branch(branch) = &*self else { return Left::Something };
        let prefixes = branch.short.count_ones() + branch.long.count_ones();
        match (prefixes, branch.below()) {
            (0, []) => return Left::Nothing,
            (0, [child]) => {
                let slot = u128::from(branch.children.trailing_zeros());
                let bits = bits & mask(depth) | slot << (128 - STRIDE - depth);
                *self = Self::at_end_of(bits, depth, depth + STRIDE, child.clone());
            }
            (1, []) => *self = Self::new(branch.only(bits & mask(depth), depth)),
            _ => {}
        }
        Left::Something
    }
}

impl Branch {
    /// The one prefix that ends here; `bits` are those in front of it.
    fn only(&self, bits: u128, depth: u32) -> Edit {
        let (length, slot) = match self.long {
            0 => {
                let place = self.short.trailing_zeros() + 2;
                let length = place.ilog2();
                (length, u128::from(place - (1 << length)))
            }
            long => (STRIDE, u128::from(long.trailing_zeros())),
        };
        let value = match &self.values {
            Values::Few(values) => values[0],
            Values::Many(values) => values[0],
        };
        Edit { bits: bits | shifted(slot, depth + length), length: depth + length, value }
    }

    fn set(&mut self, edit: Edit, depth: u32) -> Value {
        let end = depth + STRIDE;
        if edit.length <= end {
            return self.set_value(place(edit, depth), edit.value);
        }
        let slot = slot(edit.bits, depth);
        let at = (self.children & ((1 << slot) - 1)).count_ones() as usize;
        if self.children & 1 << slot == 0 {
            if edit.value != 0 {
                self.children |= 1 << slot;
                insert(&mut self.below, at, Node::new(edit));
            }
            return 0;
        }
        let below = self.below.as_mut().expect("a child bit stands for a child");
        let (before, left) = Arc::make_mut(below)[at].set(edit, end);
        if left == Left::Nothing {
            self.children &= !(1 << slot);
            remove(&mut self.below, at);
        }
        before
    }

    fn set_value(&mut self, place: Place, value: Value) -> Value {
        let (bit, at, set) = match place {
            Place::Short(bit) => (1 << bit, (self.short & ((1 << bit) - 1)).count_ones(), &mut self.short),
            Place::Long(bit) => {
                let before = self.short.count_ones() + (self.long & ((1 << bit) - 1)).count_ones();
                (1_u64 << bit, before, &mut self.long)
            }
        };
        let known = *set & bit != 0;
        match (known, value) {
            (true, 0) => *set &= !bit,
            (false, 0) => return 0,
            _ => *set |= bit,
        }
        let count = (self.short.count_ones() + self.long.count_ones()) as usize;
        let at = at as usize;
        match (known, value) {
            (true, 0) => self.values.remove(at, count),
            (true, _) => self.values.replace(at, value),
            (false, _) => {
                self.values.insert(at, value, count);
                0
            }
        }
    }
}

impl Values {
    fn as_mut(&mut self) -> &mut [Value] {
        match self {
            Self::Few(values) => values,
            Self::Many(values) => Arc::make_mut(values),
        }
    }

    fn replace(&mut self, at: usize, value: Value) -> Value {
        std::mem::replace(&mut self.as_mut()[at], value)
    }

    /// Makes room for one more; there are `count` then.
    fn insert(&mut self, at: usize, value: Value, count: usize) {
        match self {
            Self::Few(values) if count <= values.len() => {
                values.copy_within(at..count - 1, at + 1);
                values[at] = value;
            }
            _ => {
                let old = &self.as_mut()[..count - 1];
                *self = Self::Many([&old[..at], &[value], &old[at..]].concat().into());
            }
        }
    }

    /// Takes one out; there are `count` left.
    fn remove(&mut self, at: usize, count: usize) -> Value {
        let old = self.as_mut();
        let gone = old[at];
        let left = [&old[..at], &old[at + 1..=count]].concat();
        *self = match left.len() {
            0..=5 => {
                let mut values = [0; 5];
                values[..count].copy_from_slice(&left);
                Self::Few(values)
            }
            _ => Self::Many(left.into()),
        };
        gone
    }
}

/// Where a prefix stands in the branch it ends in.
#[derive(Clone, Copy)]
enum Place {
    Short(u32),
    Long(u32),
}

fn place(edit: Edit, depth: u32) -> Place {
    let (slot, further) = (slot(edit.bits, depth), edit.length - depth);
    if further == STRIDE {
        Place::Long(slot)
    } else {
        Place::Short((1 << further) - 2 + (slot >> (STRIDE - further)))
    }
}

/// `bits` at the end of a prefix of so many bits. The last level reaches beyond the 128th.
const fn shifted(bits: u128, length: u32) -> u128 {
    if length > 128 { bits >> (length - 128) } else { bits << (128 - length) }
}

/// The bits that one level consumes behind the first `depth`; bits behind the 128th are zero.
#[allow(clippy::cast_possible_truncation, reason = "six bits")]
fn slot(bits: u128, depth: u32) -> u32 {
    (bits << depth >> (128 - STRIDE)) as u32
}

fn insert(nodes: &mut Option<Arc<[Node]>>, at: usize, node: Node) {
    let mut all = owned(nodes);
    all.insert(at, node);
    *nodes = Some(all.into());
}

fn remove(nodes: &mut Option<Arc<[Node]>>, at: usize) {
    let mut all = owned(nodes);
    all.remove(at);
    *nodes = if all.is_empty() { None } else { Some(all.into()) };
}

/// The nodes themselves where nobody shares them, else copies.
fn owned(nodes: &mut Option<Arc<[Node]>>) -> Vec<Node> {
    let Some(mut nodes) = nodes.take() else { return Vec::with_capacity(1) };
    let mut all = Vec::with_capacity(nodes.len() + 1);
    match Arc::get_mut(&mut nodes) {
        Some(nodes) => {
            all.extend(nodes.iter_mut().map(|node| std::mem::replace(node, Node::Branch(Branch::default()))))
        }
        None => all.extend(nodes.iter().cloned()),
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::lpm::{Descents, key};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<(u128, u8), Value>;

    fn naive(model: &Model, key: u128) -> Value {
        let covers = |(bits, length): &(u128, u8)| (key ^ bits) & mask(u32::from(*length)) == 0;
        let longest =
            model.iter().filter(|(prefix, _)| covers(prefix)).max_by_key(|((_, length), _)| *length);
        longest.map_or(0, |(_, value)| *value)
    }

    /// One of several look-ups at once.
    fn stepwise(lpm: &Lpm, key: u128) -> Value {
        let (mut descents, mut values) = (Descents::<3>::new(), [None; 3]);
        for (number, key) in (0..).zip([!key, key, key ^ 1 << 90]) {
            values[usize::from(number)] = descents.begin(number, lpm, key);
        }
        descents.finish(|number, value| {
            assert_eq!(values[usize::from(number)].replace(value), None, "found once");
        });
        values[1].expect("every look-up ends")
    }

    /// Everything of it but who shares what.
    fn form(lpm: &Lpm) -> String {
        fn shown(node: &Node) -> String {
            match node {
                Node::Leaf(leaf) => {
                    assert_eq!(joined(leaf.mask), mask(leaf.length));
                    format!("leaf {:032x}/{} {}", joined(leaf.bits), leaf.length, leaf.value)
                }
                Node::Skip(skip) => {
                    format!("skip {:032x}/{} {}", skip.bits(), skip.depth, shown(&skip.child))
                }
                Node::Branch(branch) => {
                    let count = (branch.short.count_ones() + branch.long.count_ones()) as usize;
                    let values = match &branch.values {
                        Values::Few(values) => &values[..count],
                        Values::Many(values) => values,
                    };
                    assert!(values.len() == count && (count > 5) == matches!(branch.values, Values::Many(_)));
                    assert!(count + branch.below().len() > 1, "a leaf or a skip");
                    let below: Vec<_> = branch.below().iter().map(shown).collect();
                    format!(
                        "({:x} {:x} {:x} {values:?} {below:?})",
                        branch.children, branch.short, branch.long
                    )
                }
            }
        }
        let wide = |wide: &Arc<Wide>| {
            let groups: Vec<Vec<_>> = wide
                .groups
                .iter()
                .map(|group| group.iter().flat_map(|group| group.iter().map(shown)).collect())
                .collect();
            format!("{:?} {:?} {groups:?}", wide.words, wide.under)
        };
        lpm.top.iter().map(|top| format!("{} {:?}\n", top.value, top.wide.as_ref().map(wide))).collect()
    }

    /// Few distinct bits, so that prefixes nest, meet and share long ways.
    fn prefix() -> impl Strategy<Value = (u128, u8)> {
        const THIN: u128 = 0x3181_0000_1100_0001_0000_1001_0000_0003;
        let length = prop_oneof![0_u8..=128, 0_u8..=34, Just(64), Just(128)];
        (any::<u128>(), length).prop_map(|(bits, length)| (bits & THIN & mask(u32::from(length)), length))
    }

    #[test]
    fn host_routes_of_both_families() {
        let v4 = key("192.0.2.1".parse().unwrap());
        let v6 = key("2001:db8::1".parse().unwrap());
        let trie = Lpm::build([(v4, 32, 1), (0, 0, 2)]);
        assert_eq!(trie.lookup(v4), 1);
        assert_eq!(trie.lookup(key("192.0.2.2".parse().unwrap())), 2);
        let trie = Lpm::build([(v6, 128, 1), (v6, 64, 2)]);
        assert_eq!(trie.lookup(v6), 1);
        assert_eq!(trie.lookup(v6 ^ 1), 2);
        assert_eq!(trie.lookup(v6 ^ 1 << 100), 0);
    }

    #[test]
    fn a_host_route_on_a_link_is_a_few_steps_deep() {
        let link = key("2001:db8:1:2::".parse().unwrap());
        let hosts = (1..=200_u32).map(|host| (link | u128::from(host), 128, host));
        let trie = Lpm::build([(0, 0, 1000), (link, 64, 500)].into_iter().chain(hosts));
        assert_eq!(trie.lookup(link | 77), 77);
        assert_eq!(trie.lookup(link | 300), 500);
        assert_eq!(trie.lookup(link | 1 << 82), 1000, "another link");
        assert_eq!(trie.lookup(link | 1 << 20 | 77), 500, "no such host");
        let bytes = trie.memory() - Lpm::default().memory() - size_of::<Wide>();
        assert!(bytes < 20 * size_of::<Node>() + 200 * size_of::<Value>(), "{bytes} bytes");
    }

    #[test]
    fn a_version_stays_as_it_was_given_and_shares_what_did_not_change() {
        let mut editor = LpmEditor::default();
        for third in 0..=255_u32 {
            editor.set(u128::from(0x0a00_0000 | third << 8) << 96, 24, third + 1);
        }
        let before = editor.version();
        let form_before = form(&before);
        assert_eq!(editor.set(0x0a00_0700 << 96, 24, 999), 8);
        let after = editor.version();
        assert_eq!(form(&before), form_before);
        assert_eq!((before.lookup(0x0a00_0701 << 96), after.lookup(0x0a00_0701 << 96)), (8, 999));
        let group = |lpm: &Lpm| lpm.top[10].wide.clone().unwrap().groups[0].clone().unwrap();
        let below = |lpm: &Lpm, at: usize| match &group(lpm)[0] {
            Node::Branch(branch) => match &branch.below()[at] {
                Node::Branch(branch) => branch.values.clone(),
                _ => unreachable!(),
            },
            _ => unreachable!(),
        };
        assert!(matches!(below(&after, 1), Values::Few([5, 6, 7, 999, 0])));
        assert!(!Arc::ptr_eq(&group(&before), &group(&after)));
    }

    proptest! {
        #[test]
        fn changed_one_by_one_it_is_what_is_built_at_once_and_what_a_search_finds(
            changes in proptest::collection::vec((prefix(), 0_u32..6), 0..120),
            probes in proptest::collection::vec(prefix(), 30),
        ) {
            let (mut editor, mut model, mut versions) = (LpmEditor::default(), Model::new(), Vec::new());
            for (number, ((bits, length), value)) in changes.into_iter().enumerate() {
                let before = match value {
                    0 => model.remove(&(bits, length)),
                    value => model.insert((bits, length), value),
                };
                prop_assert_eq!(editor.set(bits, length, value), before.unwrap_or(0));
                if number % 7 == 0 {
                    versions.push((editor.version(), model.clone()));
                }
            }
            versions.push((editor.version(), model.clone()));
            for (version, model) in &versions {
                let built = Lpm::build(model.iter().map(|((bits, length), value)| (*bits, *length, *value)));
                prop_assert_eq!(form(version), form(&built));
                let ends = model.keys().flat_map(|(bits, length)| [*bits, bits | !mask(u32::from(*length))]);
                for key in probes.iter().map(|(bits, _)| *bits).chain(ends) {
                    prop_assert_eq!(version.lookup(key), naive(model, key), "{:032x}", key);
                    prop_assert_eq!(stepwise(version, key), naive(model, key), "{:032x}", key);
                }
                prop_assert_eq!(version.prefixes, model.len());
            }
            for (bits, length) in model.into_keys() {
                editor.set(bits, length, 0);
            }
            prop_assert_eq!(form(&editor.version()), form(&Lpm::default()));
        }

        #[test]
        fn agrees_for_left_aligned_ipv4(
            rows in proptest::collection::vec((any::<u32>(), 0_u8..=32, 1_u32..50), 0..200),
            probes in proptest::collection::vec(any::<u32>(), 50),
        ) {
            let wide = |bits: u32| u128::from(bits & 0x0301_0f0f) << 96;
            let model: Model = rows
                .into_iter()
                .map(|(bits, length, value)| ((wide(bits) & mask(u32::from(length)), length), value))
                .collect();
            let trie = Lpm::build(model.iter().map(|((bits, length), value)| (*bits, *length, *value)));
            for probe in probes {
                prop_assert_eq!(trie.lookup(wide(probe)), naive(&model, wide(probe)));
            }
        }
    }
}
