//! The prefixes of one family as a forest: each below the longest other prefix that contains it.

use ipnet::{Ipv4Net, Ipv6Net};

use super::tree::to_u32;

/// A prefix of either family; `row` takes no part in comparisons. IPv4 addresses occupy the low 32 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefix {
    pub(super) start: u128,
    pub(super) length: u8,
    /// Suffix bits: the width of the family less the length.
    pub(super) bits: u8,
    pub(super) row: u32,
}

impl PartialEq for Prefix {
    fn eq(&self, other: &Self) -> bool {
        (self.start, self.length) == (other.start, other.length)
    }
}

impl Prefix {
    fn new(start: u128, length: u8, width: u8) -> Self {
        Self { start, length, bits: width - length, row: 0 }
    }

    pub(super) fn from_ipv4(net: Ipv4Net) -> Self {
        Self::new(u32::from(net.network()).into(), net.prefix_len(), 32)
    }

    pub(super) fn from_ipv6(net: Ipv6Net) -> Self {
        Self::new(net.network().into(), net.prefix_len(), 128)
    }

    pub(super) fn last(&self) -> u128 {
        self.start | shr(u128::MAX, 128 - self.bits)
    }

    fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.last() <= self.last()
    }
}

/// Shifts of up to 128 bits, which Rust's operators do not allow.
pub(super) fn shr(number: u128, bits: u8) -> u128 {
    number.checked_shr(bits.into()).unwrap_or(0)
}

pub(super) fn shl(number: u128, bits: u8) -> u128 {
    number.checked_shl(bits.into()).unwrap_or(0)
}

const NONE: u32 = u32::MAX;

/// The prefixes of one family, each below the longest other that contains it. Nodes are numbered in address order,
/// an outer prefix before what it contains.
pub(super) struct Forest {
    width: u8,
    pub(super) prefixes: Vec<Prefix>,
    parents: Vec<u32>,
    /// The children of node n are `children[child_starts[n]..child_starts[n + 1]]`, in address order.
    child_starts: Vec<u32>,
    children: Vec<u32>,
}

impl Forest {
    pub(super) fn new(width: u8, prefixes: Vec<Prefix>) -> Self {
        let mut parents = Vec::with_capacity(prefixes.len());
        let mut open: Vec<u32> = Vec::new();
        for (node, prefix) in prefixes.iter().enumerate() {
            while open.last().is_some_and(|outer| !prefixes[*outer as usize].contains(prefix)) {
                open.pop();
            }
            parents.push(open.last().copied().unwrap_or(NONE));
            open.push(to_u32(node));
        }
        let (child_starts, children) = children(&parents);
        Self { width, prefixes, parents, child_starts, children }
    }

    /// The node of each of so many rows; of those that have none, anything.
    pub(super) fn nodes(&self, rows: usize) -> Vec<u32> {
        let mut nodes = vec![NONE; rows];
        for (node, prefix) in self.prefixes.iter().enumerate() {
            nodes[prefix.row as usize] = to_u32(node);
        }
        nodes
    }

    /// The rows of nodes inside or around others; some more than once.
    pub(super) fn related(&self) -> impl Iterator<Item = usize> {
        let inner = (0..self.parents.len()).filter(|node| self.parents[*node] != NONE);
        let related = |node| [Some(node), self.parent(node)].into_iter().flatten();
        inner.flat_map(related).map(|node| self.row(node))
    }

    pub(super) fn row(&self, node: usize) -> usize {
        self.prefixes[node].row as usize
    }

    pub(super) fn parent(&self, node: usize) -> Option<usize> {
        Some(self.parents[node]).filter(|node| *node != NONE).map(|node| node as usize)
    }

    pub(super) fn children(&self, node: usize) -> &[u32] {
        if self.children.is_empty() {
            return &[];
        }
        &self.children[self.child_starts[node] as usize..self.child_starts[node + 1] as usize]
    }

    /// The innermost node around `net`.
    pub(super) fn covering(&self, net: Prefix) -> Option<usize> {
        let key = (net.start, net.length);
        let after = self.prefixes.partition_point(|prefix| (prefix.start, prefix.length) <= key);
        let nearest = std::iter::successors(after.checked_sub(1), |node| self.parent(*node));
        nearest.into_iter().find(|node| self.prefixes[*node].contains(&net))
    }

    /// Every node within `net`.
    pub(super) fn inside(&self, net: Prefix) -> impl Iterator<Item = usize> {
        let first =
            self.prefixes.partition_point(|prefix| (prefix.start, prefix.length) < (net.start, net.length));
        (first..self.prefixes.len()).take_while(move |node| net.contains(&self.prefixes[*node]))
    }

    /// The row that translates an address.
    pub(super) fn longest_match(&self, address: u128) -> Option<usize> {
        self.covering(Prefix::new(address, self.width, self.width)).map(|node| self.row(node))
    }

    /// A child of a node whose children cover it. Children are disjoint, so their sizes tell; the size of a /0 of
    /// IPv6 is 2^128, which wraps to 0 on both sides of the comparison.
    pub(super) fn shadowing(&self, node: usize) -> Option<usize> {
        let size = |node: usize| shl(1, self.prefixes[node].bits);
        let children = self.children(node);
        let covered = children.iter().fold(0u128, |sum, child| sum.wrapping_add(size(*child as usize)));
        let first = children.first()?;
        (covered == size(node)).then_some(*first as usize)
    }

    /// The first address from `from` to `to`, both within `node`, that no child of it covers.
    pub(super) fn gap(&self, node: usize, from: u128, to: u128) -> Option<u128> {
        let prefix = |child: &u32| self.prefixes[*child as usize];
        let children = self.children(node);
        let mut address = from;
        for child in &children[children.partition_point(|child| prefix(child).last() < from)..] {
            if prefix(child).start > address {
                break;
            }
            address = prefix(child).last().checked_add(1).filter(|next| *next <= to)?;
        }
        Some(address)
    }
}

/// Children grouped by parent, in address order (a counting sort). Nothing where no prefix is inside another.
fn children(parents: &[u32]) -> (Vec<u32>, Vec<u32>) {
    if parents.iter().all(|parent| *parent == NONE) {
        return (Vec::new(), Vec::new());
    }
    let mut starts = vec![0u32; parents.len() + 1];
    for parent in parents.iter().filter(|parent| **parent != NONE) {
        starts[*parent as usize + 1] += 1;
    }
    for node in 0..parents.len() {
        starts[node + 1] += starts[node];
    }
    let mut next = starts.clone();
    let mut children = vec![0; starts[parents.len()] as usize];
    for (node, parent) in parents.iter().enumerate().filter(|(_, parent)| **parent != NONE) {
        children[next[*parent as usize] as usize] = to_u32(node);
        next[*parent as usize] += 1;
    }
    (starts, children)
}
