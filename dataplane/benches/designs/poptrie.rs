//! The design that `table/lpm.rs` took the place of: a poptrie (Asai and Ohara, SIGCOMM 2015), built anew for each change.
//!
//! ```text
//!  root: 64 Ki words, indexed by the top 16 bits ---- leaf value, or
//!  node, 24 bytes: | children: 1 bit per slot (64) | leaf starts: 1 bit per slot (64) | first child | first leaf |
//!                    each level consumes 6 bits of the address
//! ```
//!
//! A set child bit leads to node `first child + number of child bits below it`; otherwise the value is leaf
//! `first leaf + number of leaf starts up to the slot - 1`, so runs of equal values take one word. IPv4 keys
//! are left-aligned in 128 bits; an IPv4 lookup ends after at most three levels.
//!
//! Where all prefixes below a place share more bits than one level consumes, a node without any bit set stands for the
//! levels in between: `first child` is the node behind them, `first leaf` the `Skip` that says which bits they share.
//! A host route on a /64 is so three or four steps deep instead of nineteen.

/// A value: small numbers, for the top bit marks nodes in the root.
pub(crate) type Value = u32;

const ROOT_BITS: u32 = 16;
const STRIDE: u32 = 6;
const IS_NODE: u32 = 1 << 31;

#[derive(Clone, Copy, Default)]
struct Node {
    children: u64,
    leaf_starts: u64,
    first_child: u32,
    first_leaf: u32,
}

/// Levels with one way only.
#[derive(Clone, Copy)]
struct Skip {
    /// The bits all prefixes further down share, of the whole key.
    bits: u128,
    /// Which bits these are.
    mask: u128,
    /// How many there are.
    depth: u32,
    /// The value of keys that have others.
    otherwise: Value,
}

/// The trie. Every address has a value; where no prefix covers it, the default given at build time.
pub(crate) struct Poptrie {
    root: Box<[u32; 1 << ROOT_BITS]>,
    nodes: Vec<Node>,
    leaves: Vec<Value>,
    skips: Vec<Skip>,
}

/// A prefix in the trie's key space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Prefix {
    bits: u128,
    length: u32,
    value: Value,
}

impl Poptrie {
    /// Builds the trie from (key, length, value) triples of one family. A prefix given twice keeps its last
    /// value. Values must be below 2^31.
    pub(crate) fn build(prefixes: impl IntoIterator<Item = (u128, u8, Value)>, default: Value) -> Self {
        let mut sorted: Vec<Prefix> = prefixes
            .into_iter()
            .map(|(bits, length, value)| {
                assert!(value < IS_NODE, "values are small indices");
                Prefix { bits: bits & mask(u32::from(length)), length: u32::from(length), value }
            })
            .collect();
        // Stable, so that of equal prefixes the last given comes last and wins.
        sorted.sort_by_key(|prefix| (prefix.bits, prefix.length));
        let (slots, longer) = spread(&sorted, 0, ROOT_BITS, 0, default);
        let root = slots.try_into().expect("one slot for each value of the root's bits");
        let mut trie = Self { root, nodes: Vec::new(), leaves: Vec::new(), skips: Vec::new() };
        for (slot, range) in longer {
            let inherited = trie.root[slot];
            let at = trie.nodes.len();
            trie.nodes.push(Node::default());
            let base = (slot as u128) << (128 - ROOT_BITS);
            trie.nodes[at] = trie.build_below(&sorted[range], base, ROOT_BITS, inherited);
            trie.root[slot] = IS_NODE | u32::try_from(at).expect("fewer than 2^31 nodes");
        }
        trie
    }

    /// The value of the longest prefix that covers `key`.
    #[inline(always)]
    pub(crate) fn lookup(&self, key: u128) -> Value {
        let word = self.root[(key >> (128 - ROOT_BITS)) as usize];
        if word & IS_NODE == 0 {
            return word;
        }
        let mut node = &self.nodes[(word & !IS_NODE) as usize];
        let mut rest = key << ROOT_BITS;
        loop {
            let slot = (rest >> (128 - STRIDE)) as u32;
            let bit = 1_u64 << slot;
            if node.children & bit == 0 {
                if node.leaf_starts == 0 {
                    let skip = &self.skips[node.first_leaf as usize];
                    if (key ^ skip.bits) & skip.mask != 0 {
                        return skip.otherwise;
                    }
                    node = &self.nodes[node.first_child as usize];
                    rest = key << skip.depth;
                    continue;
                }
                let starts = node.leaf_starts & (bit | (bit - 1));
                return self.leaves[(node.first_leaf + starts.count_ones() - 1) as usize];
            }
            let below = (node.children & (bit - 1)).count_ones();
            node = &self.nodes[(node.first_child + below) as usize];
            rest <<= STRIDE;
        }
    }

    /// Bytes of it.
    pub(crate) fn memory(&self) -> usize {
        size_of_val(&*self.root)
            + size_of_val(&*self.nodes)
            + size_of_val(&*self.leaves)
            + size_of_val(&*self.skips)
    }

    /// The node for prefixes that are all longer than `depth` and begin with `base`: theirs, or a skip to it.
    fn build_below(&mut self, prefixes: &[Prefix], base: u128, depth: u32, inherited: Value) -> Node {
        let (first, last) = (prefixes[0], prefixes[prefixes.len() - 1]);
        let shared = (first.bits ^ last.bits).leading_zeros();
        let shortest = prefixes.iter().map(|prefix| prefix.length).min().unwrap_or(depth);
        // The next level must still divide something, and levels keep their places.
        let levels = (shared.min(shortest - 1) - depth) / STRIDE;
        if levels == 0 {
            return self.build_node(prefixes, base, depth, inherited);
        }
        let depth = depth + levels * STRIDE;
        let bits = first.bits & mask(depth);
        let first_leaf = u32::try_from(self.skips.len()).expect("fewer than 2^32 skips");
        self.skips.push(Skip { bits, mask: mask(depth), depth, otherwise: inherited });
        let first_child = u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes");
        self.nodes.push(Node::default());
        self.nodes[first_child as usize] = self.build_node(prefixes, bits, depth, inherited);
        Node { children: 0, leaf_starts: 0, first_child, first_leaf }
    }

    fn build_node(&mut self, prefixes: &[Prefix], base: u128, depth: u32, inherited: Value) -> Node {
        let (slots, longer) = spread(prefixes, base, STRIDE, depth, inherited);
        let mut node = Node {
            first_child: u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes"),
            first_leaf: u32::try_from(self.leaves.len()).expect("fewer than 2^32 leaves"),
            ..Node::default()
        };
        for (slot, _) in &longer {
            node.children |= 1 << slot;
        }
        let mut previous = None;
        for (slot, value) in slots.iter().enumerate() {
            if node.children >> slot & 1 == 0 && previous != Some(*value) {
                node.leaf_starts |= 1 << slot;
                self.leaves.push(*value);
                previous = Some(*value);
            }
        }
        // The children of a node stand side by side, so their places are taken before they are filled.
        self.nodes.resize(self.nodes.len() + longer.len(), Node::default());
        for (number, (slot, range)) in longer.into_iter().enumerate() {
            let child_base = base | (slot as u128) << (128 - STRIDE).saturating_sub(depth);
            let child = self.build_below(&prefixes[range], child_base, depth + STRIDE, slots[slot]);
            self.nodes[node.first_child as usize + number] = child;
        }
        node
    }
}

/// Spreads sorted prefixes over the slots of one level: the value of each slot, and for slots that longer
/// prefixes divide, the range of these prefixes.
fn spread(
    prefixes: &[Prefix],
    base: u128,
    width: u32,
    depth: u32,
    inherited: Value,
) -> (Vec<Value>, Vec<(usize, std::ops::Range<usize>)>) {
    let end = depth + width;
    let mut slots = vec![inherited; 1 << width];
    let mut longer: Vec<(usize, std::ops::Range<usize>)> = Vec::new();
    for (at, prefix) in prefixes.iter().enumerate() {
        let first = slot_of(prefix.bits ^ base, depth, width);
        if prefix.length <= end {
            let span = 1 << (end - prefix.length.max(depth));
            slots[first..first + span].fill(prefix.value);
        } else if let Some((slot, range)) = longer.last_mut()
            && *slot == first
        {
            range.end = at + 1;
        } else {
            longer.push((first, at..at + 1));
        }
    }
    (slots, longer)
}

/// The `width` bits of `bits` behind the first `depth`; bits behind the 128th are zero.
fn slot_of(bits: u128, depth: u32, width: u32) -> usize {
    (bits << depth >> (128 - width)) as usize
}

const fn mask(length: u32) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - length) }
}
