//! The neighbours on one link: a hash trie that changes by copying the few blocks on one way down.
//!
//! ```text
//!  address -> hash: 6 bits a level -> block: up to 64 entries side by side, each a host or a further block
//! ```
//!
//! A hundred thousand hosts are three levels deep. A version shares with the one before every block but those on the way to
//! what changed: three copies of a few dozen entries, however many hosts there are. The hash is keyed, so that
//! nobody can choose addresses that meet in one place; those that meet all the same end side by side in a last block.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use super::fib::Path;
use super::lpm;
use crate::hash::{high64, low64};

const STRIDE: u32 = 6;
/// Parts that hosts can be written anew in: the places of the first block.
pub(super) const PARTS: u32 = 1 << STRIDE;
/// Levels that 64 bits of hash are good for; hosts that still meet stand in one list.
const LEVELS: u32 = 10;

/// Hosts at one moment. A clone is another version.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    root: Block,
    count: usize,
    keys: [u64; 2],
}

impl Default for Hosts {
    fn default() -> Self {
        Self { root: Block::default(), count: 0, keys: *KEYS }
    }
}

/// What the hash is keyed with.
static KEYS: LazyLock<[u64; 2]> =
    LazyLock::new(|| [RandomState::new().hash_one(0), RandomState::new().hash_one(1)]);

#[derive(Debug, Clone, Default)]
struct Block {
    /// Which of 64 places are taken; the last level has a plain list.
    taken: u64,
    entries: Option<Arc<[Entry]>>,
}

#[derive(Debug, Clone)]
enum Entry {
    Host(Host),
    Block(Block),
}

#[derive(Debug, Clone)]
struct Host {
    /// The address as [`lpm::key`], its upper and lower half.
    key: [u64; 2],
    path: Path,
}

impl Hosts {
    /// Whether there is nobody.
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Where packets to a host go.
    #[inline]
    pub(super) fn get(&self, address: IpAddr) -> Option<&Path> {
        let key = key(address);
        let mut hash = hash(key, self.keys);
        let mut block = &self.root;
        for _ in 0..LEVELS {
            let bit = 1_u64 << (hash >> (64 - STRIDE));
            if block.taken & bit == 0 {
                return None;
            }
            let place = (block.taken & (bit - 1)).count_ones() as usize;
            match &block.entries()[place] {
                Entry::Host(host) => return (host.key == key).then_some(&host.path),
                Entry::Block(below) => block = below,
            }
            hash <<= STRIDE;
        }
        block.listed(key).map(|at| block.host(at))
    }

    /// Puts a host in, or changes its path.
    pub(super) fn insert(&mut self, address: IpAddr, path: Path) {
        let key = key(address);
        self.count += usize::from(self.root.insert(Host { key, path }, hash(key, self.keys), 0));
    }

    /// Takes a host out; whether there was one.
    pub(super) fn remove(&mut self, address: IpAddr) -> bool {
        let key = key(address);
        let removed = self.root.remove(key, hash(key, self.keys), 0);
        self.count -= usize::from(removed);
        removed
    }

    /// Replaces one of [`PARTS`] parts by that of `other` with other paths; how many hosts that has.
    pub(super) fn map_part(&mut self, part: u32, other: &Self, change: &impl Fn(&Path) -> Path) -> usize {
        let bit = 1_u64 << part;
        let place = |block: &Block| (block.taken & (bit - 1)).count_ones() as usize;
        let (known, found) = (self.root.taken & bit != 0, other.root.taken & bit != 0);
        if known && !found {
            self.count -= self.root.entries()[place(&self.root)].hosts();
            self.root.taken &= !bit;
            self.root.take_out(place(&self.root));
        }
        if !found {
            return 0;
        }
        let entry = other.root.entries()[place(&other.root)].map(change);
        let hosts = entry.hosts();
        let at = place(&self.root);
        if known {
            self.count -= self.root.entries()[at].hosts();
            self.root.entries_mut()[at] = entry;
        } else {
            self.root.taken |= bit;
            self.root.put(at, entry);
        }
        self.count += hosts;
        hosts
    }
}

impl Entry {
    fn map(&self, change: &impl Fn(&Path) -> Path) -> Self {
        match self {
            Self::Host(host) => Self::Host(Host { key: host.key, path: change(&host.path) }),
            Self::Block(block) => Self::Block(block.map(change)),
        }
    }

    fn hosts(&self) -> usize {
        match self {
            Self::Host(_) => 1,
            Self::Block(block) => block.entries().iter().map(Self::hosts).sum(),
        }
    }
}

impl Block {
    fn entries(&self) -> &[Entry] {
        self.entries.as_deref().unwrap_or_default()
    }

    /// The place of a host in a block of the last level.
    fn listed(&self, key: [u64; 2]) -> Option<usize> {
        self.entries().iter().position(|entry| matches!(entry, Entry::Host(host) if host.key == key))
    }

    fn host(&self, at: usize) -> &Path {
        match &self.entries()[at] {
            Entry::Host(host) => &host.path,
            Entry::Block(_) => unreachable!("the last level holds hosts only"),
        }
    }

    /// Whether it is a new one.
    fn insert(&mut self, host: Host, hash: u64, level: u32) -> bool {
        if level == LEVELS {
            match self.listed(host.key) {
                Some(at) => self.entries_mut()[at] = Entry::Host(host),
                None => {
                    self.put(self.entries().len(), Entry::Host(host));
                    return true;
                }
            }
            return false;
        }
        let bit = 1_u64 << (hash >> (64 - STRIDE));
        let at = (self.taken & (bit - 1)).count_ones() as usize;
        if self.taken & bit == 0 {
            self.taken |= bit;
            self.put(at, Entry::Host(host));
            return true;
        }
        let entry = &mut self.entries_mut()[at];
        match entry {
            Entry::Host(known) if known.key == host.key => {
                *known = host;
                false
            }
            Entry::Host(known) => {
                let mut below = Self::default();
                // What is left of the other one's hash begins a level further down.
                let other = self::hash(known.key, *KEYS) << (STRIDE * (level + 1));
                below.insert(known.clone(), other, level + 1);
                below.insert(host, hash << STRIDE, level + 1);
                *entry = Entry::Block(below);
                true
            }
            Entry::Block(below) => below.insert(host, hash << STRIDE, level + 1),
        }
    }

    fn remove(&mut self, key: [u64; 2], hash: u64, level: u32) -> bool {
        if level == LEVELS {
            return self.listed(key).map(|at| self.take_out(at)).is_some();
        }
        let bit = 1_u64 << (hash >> (64 - STRIDE));
        let at = (self.taken & (bit - 1)).count_ones() as usize;
        if self.taken & bit == 0 {
            return false;
        }
        match &self.entries()[at] {
            Entry::Host(host) if host.key != key => return false,
            Entry::Host(_) => {
                self.taken &= !bit;
                self.take_out(at);
                return true;
            }
            Entry::Block(_) => {}
        }
        let Entry::Block(below) = &mut self.entries_mut()[at] else { unreachable!("looked at just now") };
        let removed = below.remove(key, hash << STRIDE, level + 1);
        // A block of one host is that host, so that hosts that come and go leave nothing behind.
        if removed && let [entry @ Entry::Host(_)] = below.entries() {
            self.entries_mut()[at] = entry.clone();
        }
        removed
    }

    fn entries_mut(&mut self) -> &mut [Entry] {
        self.entries.as_mut().map(Arc::make_mut).unwrap_or_default()
    }

    fn put(&mut self, at: usize, entry: Entry) {
        let (before, after) = self.entries().split_at(at);
        self.entries = Some(before.iter().cloned().chain([entry]).chain(after.iter().cloned()).collect());
    }

    fn take_out(&mut self, at: usize) {
        let (before, after) = (&self.entries()[..at], &self.entries()[at + 1..]);
        let left: Arc<[Entry]> = before.iter().chain(after).cloned().collect();
        self.entries = if left.is_empty() { None } else { Some(left) };
    }

    fn map(&self, change: &impl Fn(&Path) -> Path) -> Self {
        let entries =
            self.entries.as_ref().map(|entries| entries.iter().map(|entry| entry.map(change)).collect());
        Self { taken: self.taken, entries }
    }
}

#[inline]
fn key(address: IpAddr) -> [u64; 2] {
    let key = lpm::key(address);
    [high64(key), low64(key)]
}

/// A multiplication whose upper half is folded onto the lower one, under keys drawn at start.
#[inline]
fn hash(key: [u64; 2], keys: [u64; 2]) -> u64 {
    let product = u128::from(key[0] ^ keys[0]) * u128::from(key[1] ^ keys[1]);
    high64(product) ^ low64(product)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::net::Ipv6Addr;

    fn address(number: u16) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number)))
    }

    fn path(number: u16) -> Path {
        let interface = crate::table::routing::InterfaceId(number);
        Path::Unresolved { interface, gateway: None, mtu: number }
    }

    #[test]
    fn old_versions_keep_what_they_had_while_thousands_come_and_go() {
        let mut hosts = Hosts::default();
        (0..5_000).for_each(|number| hosts.insert(address(number), path(number)));
        let before = hosts.clone();
        assert!((0..5_000).step_by(2).all(|number| hosts.remove(address(number))));
        assert!(!hosts.remove(address(0)));
        (0..5_000).for_each(|number| {
            assert_eq!(before.get(address(number)), Some(&path(number)));
            assert_eq!(hosts.get(address(number)).is_some(), number % 2 == 1);
        });
        (1..5_000).step_by(2).for_each(|number| assert!(hosts.remove(address(number))));
        assert_eq!((hosts.len(), hosts.root.entries().len(), before.len()), (0, 0, 5_000));
    }

    #[test]
    fn hosts_with_one_hash_are_told_apart() {
        let mut block = Block::default();
        let host = |number: u16| Host { key: [0, u64::from(number)], path: path(number) };
        // The whole hash is used up on the last level: everything after it is a list.
        assert!((0..100).all(|number| block.insert(host(number), 0, LEVELS)));
        assert!(!block.insert(host(7), 0, LEVELS));
        assert!((0..100).all(|number| block.remove([0, number], 0, LEVELS)));
        assert_eq!(block.entries().len(), 0);
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(changes in proptest::collection::vec((0_u16..200, any::<Option<u16>>()), 0..400)) {
            let (mut hosts, mut model) = (Hosts::default(), HashMap::new());
            for (number, value) in changes {
                match value {
                    Some(value) => {
                        hosts.insert(address(number), path(value));
                        model.insert(number, path(value));
                    }
                    None => prop_assert_eq!(hosts.remove(address(number)), model.remove(&number).is_some()),
                }
            }
            prop_assert_eq!(hosts.len(), model.len());
            for number in 0..200 {
                prop_assert_eq!(hosts.get(address(number)), model.get(&number));
            }
            // Part by part over other hosts.
            let mut other = Hosts::default();
            (0..200).step_by(3).for_each(|number| other.insert(address(number), path(0)));
            let parts = (0..PARTS).map(|part| other.map_part(part, &hosts, &|path| *path));
            prop_assert_eq!((parts.sum::<usize>(), other.len()), (model.len(), model.len()));
            for number in 0..200 {
                prop_assert_eq!(other.get(address(number)), model.get(&number));
            }
        }
    }
}
