//! What parts of the table hash to, so that two relays find in two requests where their tables differ: the first compares
//! the ranges, the second lists the one that is not the same.
//!
//! These are digests of what translates, whoever owns it: notes are left out, and a relay that has a mapping from a file
//! agrees with one that has it in its store.

use std::collections::BTreeMap;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::digest::Digest;
use crate::eam::Eam;

/// Mappings of one range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RangeDigest {
    /// How many.
    pub rows: u64,
    /// What they hash to.
    pub digest: Digest,
}

impl RangeDigest {
    pub(crate) fn add(&mut self, eam: &Eam) {
        self.take_in(Digest::of_eam(eam));
    }

    fn take_in(&mut self, eam: Digest) {
        self.rows += 1;
        self.digest.add(eam);
    }

    fn take_out(&mut self, eam: Digest) {
        self.rows -= 1;
        self.digest.subtract(eam);
    }
}

/// The whole table and each /16 of its IPv4 prefixes, kept up with every change. A shorter prefix belongs to the range
/// that it begins in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges {
    whole: RangeDigest,
    by_ipv4: BTreeMap<u16, RangeDigest>,
}

impl Ranges {
    /// Of the whole table.
    #[must_use]
    pub const fn whole(&self) -> RangeDigest {
        self.whole
    }

    /// Of each /16 that has a mapping, in order.
    pub fn by_ipv4(&self) -> impl Iterator<Item = (Ipv4Net, RangeDigest)> + '_ {
        self.by_ipv4.iter().map(|(top, range)| {
            let address = (u32::from(*top) << 16).into();
            (Ipv4Net::new_assert(address, 16), *range)
        })
    }

    pub(crate) fn add(&mut self, eam: &Eam) {
        let digest = Digest::of_eam(eam);
        self.whole.take_in(digest);
        self.by_ipv4.entry(top(eam)).or_default().take_in(digest);
    }

    pub(crate) fn remove(&mut self, eam: &Eam) {
        let digest = Digest::of_eam(eam);
        self.whole.take_out(digest);
        let range = self.by_ipv4.entry(top(eam)).or_default();
        range.take_out(digest);
        if range.rows == 0 {
            self.by_ipv4.remove(&top(eam));
        }
    }
}

fn top(eam: &Eam) -> u16 {
    let [a, b, ..] = eam.ipv4().network().octets();
    u16::from_be_bytes([a, b])
}

/// The range of `length` bits that an IPv6 prefix begins in.
pub(crate) fn around(net: Ipv6Net, length: u8) -> Ipv6Net {
    Ipv6Net::new(net.network(), length.min(128)).map_or(net, |net| net.trunc())
}
