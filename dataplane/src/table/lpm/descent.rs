//! Many look-ups in the trie at once: each goes down by one node, and while the line it needs next is fetched the others take
//! their step. So the waits for memory of a whole burst overlap, where one look-up alone has to wait for line after line.

use arrayvec::ArrayVec;

use super::{Branch, IS_NODE, Lpm, Node, ROOT_BITS, STRIDE, TOP_BITS, Value, Values, differ};
use crate::prefetch::prefetch;

/// Tables of fewer prefixes are in the caches anyway: their look-ups take all steps at once.
const DEEP: usize = 4096;

/// Up to `N` look-ups under way, each with its number.
pub struct Descents<'a, const N: usize>(ArrayVec<(u8, Descent<'a>), N>);

/// One look-up under way.
struct Descent<'a> {
    key: u128,
    /// What is left of the key at `next`.
    rest: u128,
    next: Next<'a>,
    /// The deepest branch so far with a prefix for the key, and the key's slot there.
    last: Option<(&'a Branch, u32)>,
    /// The value if there is none.
    under: Value,
}

/// What was asked for, and is read in the next step.
enum Next<'a> {
    Node(&'a Node),
    Value(&'a Value),
}

impl Lpm {
    /// Whether it is so large that a look-up waits for memory more often than not.
    #[inline(always)]
    #[must_use]
    pub const fn is_deep(&self) -> bool {
        self.prefixes >= DEEP
    }

    /// The value of the longest prefix that covers `key` or 0, if no node is needed for that.
    #[inline(always)]
    fn begin(&self, key: u128) -> Result<Value, Descent<'_>> {
        let top = &self.top[(key >> (128 - TOP_BITS)) as usize];
        let Some(wide) = &top.wide else {
            return Ok(top.value);
        };
        let slot = (key >> (128 - ROOT_BITS)) as usize & 0xff;
        let word = wide.words[slot];
        let or_top = |value: Value| if value == 0 { top.value } else { value };
        if word & IS_NODE == 0 {
            return Ok(or_top(word));
        }
        let next = Next::Node(wide.node(slot, word));
        let under = or_top(wide.under[slot]);
        let mut descent = Descent { key, rest: key << ROOT_BITS, next, last: None, under };
        // There are few nodes of the first level: they are in the caches.
        descent.step().ok_or(descent)
    }
}

impl<'a> Descent<'a> {
    /// One node further; the value at the end.
    #[inline(always)]
    fn step(&mut self) -> Option<Value> {
        let child = match self.next {
            Next::Value(value) => return Some(*value),
            Next::Node(Node::Branch(branch)) => {
                let slot = (self.rest >> (128 - STRIDE)) as u32;
                if branch.covers(slot) {
                    self.last = Some((branch, slot));
                }
                self.rest <<= STRIDE;
                branch.child(slot)
            }
            Next::Node(Node::Skip(skip)) => {
                self.rest = self.key << skip.depth;
                (!differ(self.key, skip.bits, skip.mask)).then_some(&*skip.child)
            }
            Next::Node(Node::Leaf(leaf)) => {
                if leaf.covers(self.key) {
                    return Some(leaf.value);
                }
                None
            }
        };
        match child {
            Some(child) => {
                prefetch(child);
                self.next = Next::Node(child);
                None
            }
            None => self.end(),
        }
    }

    #[inline(always)]
    fn end(&mut self) -> Option<Value> {
        let Some((branch, slot)) = self.last else {
            return Some(self.under);
        };
        let place = branch.place(slot);
        match &branch.values {
            Values::Few(values) => Some(values[place]),
            Values::Many(values) => {
                prefetch(&values[place]);
                self.next = Next::Value(&values[place]);
                None
            }
        }
    }
}

impl<'a, const N: usize> Descents<'a, N> {
    /// None yet.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self(ArrayVec::new_const())
    }

    /// Begins a look-up. The value, if that is found at once.
    ///
    /// # Panics
    /// When there are more than `N`.
    #[inline(always)]
    pub fn begin(&mut self, number: u8, lpm: &'a Lpm, key: u128) -> Option<Value> {
        match lpm.begin(key) {
            Ok(value) => Some(value),
            Err(descent) => {
                self.0.push((number, descent));
                None
            }
        }
    }

    /// Takes all of them to their end; tells the numbers, in no order, with their values.
    #[inline(always)]
    pub fn finish(mut self, mut found: impl FnMut(u8, Value)) {
        while !self.0.is_empty() {
            let mut at = 0;
            while let Some((number, descent)) = self.0.get_mut(at) {
                match descent.step() {
                    None => at += 1,
                    Some(value) => {
                        found(*number, value);
                        self.0.swap_remove(at);
                    }
                }
            }
        }
    }
}

impl<const N: usize> Default for Descents<'_, N> {
    fn default() -> Self {
        Self::new()
    }
}
