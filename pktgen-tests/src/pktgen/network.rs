//! The network headers, as the generator writes and compares them: whole words of a template, and the addresses.

use dataplane::wire::checksum::Sum;

use super::address::Endpoints;
use super::bytes::{put, u16_at, u64_at};
use super::template::Words;

/// A network header of fixed length, behind the Ethernet header.
pub(super) trait Network {
    /// Source and destination.
    type Pair: Copy;
    /// Its length, Fragment header included.
    const LENGTH: usize;
    /// Whether ICMP covers the addresses too.
    const PSEUDO_HEADER_FOR_ICMP: bool;

    fn pair(endpoints: &Endpoints, flow: u32) -> Self::Pair;
    fn sum(pair: Self::Pair) -> Sum;
    /// Writes what differs from packet to packet over a template.
    fn write(header: &mut [u8], words: &Words, pair: Self::Pair, identification: u32);
    /// Whether `header` is anything but the template with these values.
    fn differs(header: &[u8], words: &Words, pair: Self::Pair, identification: u32) -> bool;
}

/// IPv4 without options, a fragment or not.
pub(super) struct Ipv4;
/// IPv6.
pub(super) struct Ipv6;
/// IPv6 with a Fragment header.
pub(super) struct Ipv6Fragment;

/// Time to live, protocol and checksum, and the source address: the second eight bytes of an IPv4 header.
#[inline(always)]
fn ipv4_second(words: &Words, pair: (u32, u32), identification: u16) -> u64 {
    let sum = words.network_sum + Ipv4::sum(pair) + Sum::of_u16(identification);
    words.network[1] | u64::from(sum.checksum()) << 32 | u64::from(pair.0)
}

impl Network for Ipv4 {
    type Pair = (u32, u32);
    const LENGTH: usize = 20;
    const PSEUDO_HEADER_FOR_ICMP: bool = false;

    #[inline(always)]
    fn pair(endpoints: &Endpoints, flow: u32) -> Self::Pair {
        endpoints.ipv4(flow)
    }

    #[inline(always)]
    fn sum((source, destination): Self::Pair) -> Sum {
        Sum::of_u64(u64::from(source) << 32 | u64::from(destination))
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "IPv4 has the low half of the identification")]
    fn write(header: &mut [u8], words: &Words, pair: Self::Pair, identification: u32) {
        let identification = identification as u16;
        put(header, 0, (words.network[0] | u64::from(identification) << 16).to_be_bytes());
        put(header, 8, ipv4_second(words, pair, identification).to_be_bytes());
        put(header, 16, pair.1.to_be_bytes());
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "IPv4 has the low half of the identification")]
    fn differs(header: &[u8], words: &Words, pair: Self::Pair, identification: u32) -> bool {
        let identification = if words.any_identification { u16_at(header, 4) } else { identification as u16 };
        let first = words.network[0] | u64::from(identification) << 16;
        let destination = u64_at(header, 12) & 0xffff_ffff;
        (u64_at(header, 0) ^ first)
            | (u64_at(header, 8) ^ ipv4_second(words, pair, identification))
            | (destination ^ u64::from(pair.1))
            != 0
    }
}

#[inline(always)]
fn ipv6_addresses(header: &mut [u8], (source, destination): (u128, u128)) {
    put(header, 8, source.to_be_bytes());
    put(header, 24, destination.to_be_bytes());
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "halves of an address")]
fn ipv6_difference(header: &[u8], words: &Words, (source, destination): (u128, u128)) -> u64 {
    (u64_at(header, 0) ^ words.network[0])
        | (u64_at(header, 8) ^ (source >> 64) as u64)
        | (u64_at(header, 16) ^ source as u64)
        | (u64_at(header, 24) ^ (destination >> 64) as u64)
        | (u64_at(header, 32) ^ destination as u64)
}

impl Network for Ipv6 {
    type Pair = (u128, u128);
    const LENGTH: usize = 40;
    const PSEUDO_HEADER_FOR_ICMP: bool = true;

    #[inline(always)]
    fn pair(endpoints: &Endpoints, flow: u32) -> Self::Pair {
        endpoints.ipv6(flow)
    }

    #[inline(always)]
    fn sum((source, destination): Self::Pair) -> Sum {
        Sum::of_ipv6(source.into()) + Sum::of_ipv6(destination.into())
    }

    #[inline(always)]
    fn write(header: &mut [u8], _: &Words, pair: Self::Pair, _: u32) {
        ipv6_addresses(header, pair);
    }

    #[inline(always)]
    fn differs(header: &[u8], words: &Words, pair: Self::Pair, _: u32) -> bool {
        ipv6_difference(header, words, pair) != 0
    }
}

impl Network for Ipv6Fragment {
    type Pair = (u128, u128);
    const LENGTH: usize = 48;
    const PSEUDO_HEADER_FOR_ICMP: bool = true;

    #[inline(always)]
    fn pair(endpoints: &Endpoints, flow: u32) -> Self::Pair {
        endpoints.ipv6(flow)
    }

    #[inline(always)]
    fn sum(pair: Self::Pair) -> Sum {
        Ipv6::sum(pair)
    }

    #[inline(always)]
    fn write(header: &mut [u8], words: &Words, pair: Self::Pair, identification: u32) {
        ipv6_addresses(header, pair);
        put(header, 40, (words.network[1] | u64::from(identification)).to_be_bytes());
    }

    #[inline(always)]
    fn differs(header: &[u8], words: &Words, pair: Self::Pair, identification: u32) -> bool {
        let fragment = words.network[1] | u64::from(identification);
        ipv6_difference(header, words, pair) | (u64_at(header, 40) ^ fragment) != 0
    }
}
