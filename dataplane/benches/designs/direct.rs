//! For IPv4 only: arrays indexed by the address itself, 16, 8 and 8 bits of it. Nothing is hashed or compared, but every
//! used /24 takes 4 kB, whether one of its addresses has a mapping or all of them.
//!
//! ```text
//!  64 Ki words [top 16 bits] -> 256 words [next 8] -> 256 IPv6 addresses [last 8]
//! ```

use dataplane::io::BURST;

use super::lookup::{Lookup, Pair};
use super::memory::{Array, Pages};
use super::prefetch::prefetch;

/// The arrays. The first block of each level stands for "nothing".
pub(crate) struct Direct {
    top: Array<u32>,
    middle: Array<u32>,
    last: Array<u128>,
}

impl Direct {
    pub(crate) fn new(pairs: &[Pair]) -> Self {
        let (mut top, mut middle, mut last) = (vec![0; 1 << 16], vec![0; 256], vec![0; 256]);
        for (ipv4, ipv6) in pairs {
            let block = &mut top[(ipv4 >> 16) as usize];
            if *block == 0 {
                *block = (middle.len() / 256) as u32;
                middle.resize(middle.len() + 256, 0);
            }
            let block = &mut middle[(*block << 8 | ipv4 >> 8 & 0xff) as usize];
            if *block == 0 {
                *block = (last.len() / 256) as u32;
                last.resize(last.len() + 256, 0);
            }
            last[(*block << 8 | ipv4 & 0xff) as usize] = *ipv6;
        }
        Self {
            top: Array::of(&top, Pages::Huge),
            middle: Array::of(&middle, Pages::Huge),
            last: Array::of(&last, Pages::Huge),
        }
    }
}

impl Lookup for Direct {
    fn ipv4(&self, keys: &[u32; BURST], found: &mut [u128; BURST]) {
        let places = keys.map(|key| {
            let block = self.top[(key >> 16) as usize];
            let block = self.middle[(block << 8 | key >> 8 & 0xff) as usize];
            let place = &self.last[(block << 8 | key & 0xff) as usize];
            prefetch(place);
            place
        });
        *found = places.map(|place| *place);
    }

    fn has_ipv6(&self) -> bool {
        false
    }

    fn ipv6(&self, _: &[u128; BURST], _: &mut [u32; BURST]) {
        unreachable!("addresses of 128 bits are too many for arrays");
    }

    fn memory(&self) -> usize {
        self.top.memory() + self.middle.memory() + self.last.memory()
    }
}
