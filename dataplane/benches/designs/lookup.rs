//! What a table of pairs must do to be compared with others.

use dataplane::io::BURST;

/// A pair of addresses that stand for each other, as numbers.
pub(crate) type Pair = (u32, u128);

/// A way to find one side of a pair by the other, a burst at a time. Zero stands for nothing found.
pub(crate) trait Lookup {
    /// Finds the IPv6 addresses of IPv4 addresses.
    fn ipv4(&self, keys: &[u32; BURST], found: &mut [u128; BURST]);

    /// Whether it is for the other direction, too.
    fn has_ipv6(&self) -> bool {
        true
    }

    /// Finds the IPv4 addresses of IPv6 addresses.
    fn ipv6(&self, keys: &[u128; BURST], found: &mut [u32; BURST]);

    /// Bytes of memory for both directions.
    fn memory(&self) -> usize;
}

/// The hash of an IPv4 address that all hash tables here use: the top bits are the best.
#[inline(always)]
pub(crate) fn hash_ipv4(key: u32) -> u64 {
    u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The hash of an IPv6 address.
#[inline(always)]
pub(crate) fn hash_ipv6(key: u128) -> u64 {
    let high = (key >> 64) as u64 ^ 0x2d35_8dcc_aa6c_78a5;
    let low = key as u64 ^ 0x8bb8_4b93_962e_acc9;
    let product = u128::from(high) * u128::from(low);
    ((product >> 64) as u64 ^ product as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
