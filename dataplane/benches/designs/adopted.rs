//! The table as the data plane has it: one line per probe, chunks on huge pages, lines fetched a burst ahead.

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::io::BURST;
use dataplane::table::eam::{Eam, EamTable};

use super::lookup::{Lookup, Pair};

pub(crate) struct Adopted(EamTable);

impl Adopted {
    pub(crate) fn new(pairs: &[Pair]) -> Self {
        let eam = |pair: &Pair| Eam {
            ipv4: Ipv4Addr::from_bits(pair.0).into(),
            ipv6: Ipv6Addr::from_bits(pair.1).into(),
        };
        Self(EamTable::build(&pairs.iter().map(eam).collect::<Vec<_>>()).unwrap())
    }
}

impl Lookup for Adopted {
    fn ipv4(&self, keys: &[u32; BURST], found: &mut [u128; BURST]) {
        let lines = keys.map(|key| self.0.fetch_ipv4(Ipv4Addr::from_bits(key)));
        for ((line, key), found) in lines.into_iter().zip(keys).zip(found) {
            let mapped = self.0.host_ipv4(line, Ipv4Addr::from_bits(*key));
            *found = mapped.map_or(0, |mapped| mapped.address.to_bits());
        }
    }

    fn ipv6(&self, keys: &[u128; BURST], found: &mut [u32; BURST]) {
        let lines = keys.map(|key| self.0.fetch_ipv6(Ipv6Addr::from_bits(key)));
        for ((line, key), found) in lines.into_iter().zip(keys).zip(found) {
            let mapped = self.0.host_ipv6(line, Ipv6Addr::from_bits(*key));
            *found = mapped.map_or(0, |mapped| mapped.address.to_bits());
        }
    }

    fn memory(&self) -> usize {
        self.0.memory()
    }
}
