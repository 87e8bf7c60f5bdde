//! Longest prefix match for IPv6 routes: a trie that changes by copying the few nodes on one way down. Those of IPv4 are in
//! `ipv4.rs`.
//!
//! ```text
//!  top: 256 entries, by the first 8 bits ------------ value of the longest prefix up to /8
//!   |
//!  wide: 256 words, by the next 8 bits -------------- value of the longest prefix from /9 to /16, or
//!   |
//!  node, one cache line: | children: 1 bit per slot (64) | prefixes that end here: 62 bits up to 5 long, 64 bits of 6 |
//!                        | pointer to the children, side by side | up to 5 values, or a pointer to more |
//!                          each level consumes 6 bits of the address
//! ```
//!
//! A node holds the prefixes that end in it as they are, not spread over what they cover: one route is one bit and one
//! value whatever lies below it, a default route included. A lookup goes down as far as there are nodes, remembers the
//! deepest one with a prefix for the address, and reads one value at the end.
//!
//! Where all prefixes below a place share more bits than one level consumes, a skip stands for the levels in between. A
//! host route on a /64 is so three or four steps deep instead of nineteen. Where there is one prefix only, it is a leaf.
//!
//! A version ([`Lpm`]) is immutable. The [`LpmEditor`] shares every node with the versions it gave but those on the way to
//! a change, which it copies once.

mod cells;
mod descent;
mod edit;
mod ipv4;
mod short;

use std::net::IpAddr;
use std::sync::Arc;

use crate::hash::{high64, low64};

pub use descent::Descents;
pub use edit::LpmEditor;
pub use ipv4::{FetchedRoute, Ipv4Lpm, Ipv4LpmEditor};

/// A value: a small number. 0 is no value: what addresses have that no prefix covers.
pub type Value = u32;

const TOP_BITS: u32 = 8;
const ROOT_BITS: u32 = 16;
const STRIDE: u32 = 6;
const GROUP: usize = 16;
/// In a wide node's word: the rest is the place of a node in its group.
const IS_NODE: u32 = 1 << 31;

/// The trie at one moment.
#[derive(Clone)]
pub struct Lpm {
    top: Arc<[Top; 1 << TOP_BITS]>,
    prefixes: usize,
}

#[derive(Clone, Default)]
struct Top {
    value: Value,
    wide: Option<Arc<Wide>>,
}

#[derive(Clone)]
struct Wide {
    /// The value of the longest prefix of 9 to 16 bits, or the node for what is longer.
    words: [u32; 256],
    /// That value, where the word is a node.
    under: [Value; 256],
    /// The nodes of 16 slots each: a change copies one group.
    groups: [Option<Arc<[Node]>>; GROUP],
}

#[derive(Clone)]
enum Node {
    Branch(Branch),
    Skip(Skip),
    Leaf(Leaf),
}

const _: () = assert!(size_of::<Node>() == 64, "one cache line");

/// Aligned, so that a step down the trie is one line to wait for and not two.
#[derive(Clone, Default)]
#[repr(align(64))]
struct Branch {
    children: u64,
    /// Prefixes of 1 to 5 further bits: bit 2^length - 2 + those bits.
    short: u64,
    /// Prefixes of 6 further bits, by these.
    long: u64,
    below: Option<Arc<[Node]>>,
    /// Those of `short`, then those of `long`, in the order of their bits.
    values: Values,
}

#[derive(Clone)]
enum Values {
    Few([Value; 5]),
    Many(Arc<[Value]>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Few([0; 5])
    }
}

/// Levels with one way only.
#[derive(Clone)]
struct Skip {
    /// The bits everything further down shares: the key's upper and lower half.
    bits: [u64; 2],
    /// Which these are.
    mask: [u64; 2],
    /// How many there are.
    depth: u32,
    child: Arc<Node>,
}

/// One prefix with no other below the same place: most are.
#[derive(Clone)]
struct Leaf {
    /// Its bits and which these are, as in a skip.
    bits: [u64; 2],
    mask: [u64; 2],
    length: u32,
    value: Value,
}

/// For each slot, the bits of `short` whose prefixes cover it.
const COVER: [u64; 64] = {
    let mut cover = [0; 64];
    let mut slot = 0;
    while slot < 64 {
        let mut length = 1;
        while length < STRIDE {
            cover[slot] |= 1 << ((1 << length) - 2 + (slot >> (STRIDE - length)));
            length += 1;
        }
        slot += 1;
    }
    cover
};

/// The key of an address: left-aligned in 128 bits.
#[inline]
#[must_use]
pub const fn key(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => (v4.to_bits() as u128) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Default for Lpm {
    fn default() -> Self {
        Self { top: Arc::new(std::array::from_fn(|_| Top::default())), prefixes: 0 }
    }
}

impl Lpm {
    /// Builds the trie from (key, length, value) triples of one family. A prefix given twice keeps its last value.
    #[must_use]
    pub fn build(prefixes: impl IntoIterator<Item = (u128, u8, Value)>) -> Self {
        let mut editor = LpmEditor::default();
        for (bits, length, value) in prefixes {
            editor.set(bits, length, value);
        }
        editor.version()
    }

    /// The value of the longest prefix that covers `key`, or 0.
    #[inline(always)]
    #[must_use]
    pub fn lookup(&self, key: u128) -> Value {
        let top = &self.top[(key >> (128 - TOP_BITS)) as usize];
        let Some(wide) = &top.wide else {
            return top.value;
        };
        let slot = (key >> (128 - ROOT_BITS)) as usize & 0xff;
        let word = wide.words[slot];
        let mut value = word;
        if word & IS_NODE != 0 {
            if let Some(value) = wide.node(slot, word).find(key, ROOT_BITS) {
                return value;
            }
            value = wide.under[slot];
        }
        if value == 0 { top.value } else { value }
    }

    /// Bytes of it, the allocator's own not counted.
    #[must_use]
    pub fn memory(&self) -> usize {
        let wides = self.top.iter().filter_map(|top| top.wide.as_deref());
        let nodes = |wide: &Wide| -> usize { wide.groups.iter().flatten().map(|nodes| memory(nodes)).sum() };
        size_of_val(&*self.top) + wides.map(|wide| size_of::<Wide>() + nodes(wide)).sum::<usize>()
    }
}

/// Bytes of nodes that stand side by side, and of all below.
fn memory(nodes: &[Node]) -> usize {
    let below = |node: &Node| match node {
        Node::Leaf(_) => 0,
        Node::Skip(skip) => memory(std::slice::from_ref(&skip.child)),
        Node::Branch(branch) => {
            let values = match &branch.values {
                Values::Few(_) => 0,
                Values::Many(values) => size_of_val(&**values),
            };
            values + memory(branch.below())
        }
    };
    size_of_val(nodes) + nodes.iter().map(below).sum::<usize>()
}

impl Wide {
    #[inline(always)]
    fn node(&self, slot: usize, word: u32) -> &Node {
        let group = self.groups[slot / GROUP].as_deref().unwrap_or_default();
        &group[(word & !IS_NODE) as usize]
    }
}

impl Node {
    /// The value of the longest prefix that covers `key`, from here, `depth` bits down.
    #[inline(always)]
    fn find(&self, key: u128, depth: u32) -> Option<Value> {
        let (mut node, mut rest, mut last) = (self, key << depth, None);
        loop {
            match node {
                Self::Branch(branch) => {
                    let slot = (rest >> (128 - STRIDE)) as u32;
                    if branch.covers(slot) {
                        last = Some((branch, slot));
                    }
                    match branch.child(slot) {
                        Some(child) => node = child,
                        None => break,
                    }
                    rest <<= STRIDE;
                }
                Self::Skip(skip) => {
                    if differ(key, skip.bits, skip.mask) {
                        break;
                    }
                    node = &skip.child;
                    rest = key << skip.depth;
                }
                Self::Leaf(leaf) => match leaf.covers(key) {
                    true => return Some(leaf.value),
                    false => break,
                },
            }
        }
        last.map(|(branch, slot)| branch.value(slot))
    }
}

impl Branch {
    #[inline(always)]
    fn below(&self) -> &[Node] {
        self.below.as_deref().unwrap_or_default()
    }

    #[inline(always)]
    fn child(&self, slot: u32) -> Option<&Node> {
        let bit = 1_u64 << slot;
        if self.children & bit == 0 {
            return None;
        }
        Some(&self.below()[(self.children & (bit - 1)).count_ones() as usize])
    }

    /// Whether a prefix that ends here covers the slot.
    #[inline(always)]
    const fn covers(&self, slot: u32) -> bool {
        self.long & 1 << slot | self.short & COVER[slot as usize] != 0
    }

    /// The value of the longest of those; there must be one.
    #[inline(always)]
    fn value(&self, slot: u32) -> Value {
        let place = self.place(slot);
        match &self.values {
            Values::Few(values) => values[place],
            Values::Many(values) => values[place],
        }
    }

    /// Where that is.
    #[inline(always)]
    const fn place(&self, slot: u32) -> usize {
        let bit = 1_u64 << slot;
        let place = if self.long & bit != 0 {
            self.short.count_ones() + (self.long & (bit - 1)).count_ones()
        } else {
            // Longer prefixes have higher bits.
            let longest = 63 - (self.short & COVER[slot as usize]).leading_zeros();
            (self.short & ((1 << longest) - 1)).count_ones()
        };
        place as usize
    }
}

impl Skip {
    const fn bits(&self) -> u128 {
        joined(self.bits)
    }
}

impl Leaf {
    #[inline(always)]
    const fn covers(&self, key: u128) -> bool {
        !differ(key, self.bits, self.mask)
    }
}

/// Whether a key has other bits than these where the mask says so.
#[inline(always)]
const fn differ(key: u128, bits: [u64; 2], mask: [u64; 2]) -> bool {
    let upper = (high64(key) ^ bits[0]) & mask[0];
    let lower = (low64(key) ^ bits[1]) & mask[1];
    upper | lower != 0
}

const fn joined(halves: [u64; 2]) -> u128 {
    (halves[0] as u128) << 64 | halves[1] as u128
}

const fn halves(wide: u128) -> [u64; 2] {
    [high64(wide), low64(wide)]
}

const fn mask(length: u32) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - length) }
}
