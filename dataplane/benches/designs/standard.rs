//! The standard library's hash map with a hasher of two multiplications. It offers no way to fetch ahead.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use dataplane::io::BURST;

use super::lookup::{Lookup, Pair, hash_ipv4, hash_ipv6};

/// The hash all designs use.
#[derive(Default)]
struct Mixing(u64);

impl Hasher for Mixing {
    fn finish(&self) -> u64 {
        // The map takes bits from both ends.
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are numbers");
    }

    #[inline(always)]
    fn write_u32(&mut self, key: u32) {
        self.0 = hash_ipv4(key);
    }

    #[inline(always)]
    fn write_u128(&mut self, key: u128) {
        self.0 = hash_ipv6(key);
    }
}

/// Both maps.
pub(crate) struct Standard {
    by_ipv4: HashMap<u32, u128, BuildHasherDefault<Mixing>>,
    by_ipv6: HashMap<u128, u32, BuildHasherDefault<Mixing>>,
}

impl Standard {
    pub(crate) fn new(pairs: &[Pair]) -> Self {
        Self {
            by_ipv4: pairs.iter().copied().collect(),
            by_ipv6: pairs.iter().map(|(ipv4, ipv6)| (*ipv6, *ipv4)).collect(),
        }
    }
}

impl Lookup for Standard {
    fn ipv4(&self, keys: &[u32; BURST], found: &mut [u128; BURST]) {
        *found = keys.map(|key| self.by_ipv4.get(&key).copied().unwrap_or(0));
    }

    fn ipv6(&self, keys: &[u128; BURST], found: &mut [u32; BURST]) {
        *found = keys.map(|key| self.by_ipv6.get(&key).copied().unwrap_or(0));
    }

    /// One byte of control beside each place; 7 of 8 places are used at most.
    fn memory(&self) -> usize {
        let places = |capacity: usize| (capacity * 8 / 7).next_power_of_two();
        places(self.by_ipv4.capacity()) * (size_of::<(u32, u128)>() + 1)
            + places(self.by_ipv6.capacity()) * (size_of::<(u128, u32)>() + 1)
    }
}
