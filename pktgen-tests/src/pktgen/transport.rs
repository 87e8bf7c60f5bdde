//! The transport headers and the place of the tag behind them.
//!
//! ```text
//!         0       4       8                16               18      24      26
//!  UDP    | ports |len|sum| first word     | second word             |
//!  echo   |t|c|sum| ports | first word     | second word             |     ports: identifier and sequence number
//!  TCP    | ports | first word    | flags  | sum      | second word         |
//!  none   | hash  | const | first word     | second word             |     a last fragment, and a hash of its tag
//! ```
//!
//! In TCP the second word begins with the urgent pointer, which means nothing without its flag.

use dataplane::wire::checksum::Sum;

use super::bytes::{put, u16_at, u32_at, u64_at};
use super::template::Words;

/// A transport header of fixed length with a tag.
pub(super) trait Transport {
    /// Where the two words of the tag are.
    const TAG: [usize; 2];
    /// Where the tag ends and constant payload begins.
    const END: usize;
    /// Whether its checksum covers the addresses in both families.
    const PSEUDO_HEADER: bool;

    /// The sum of the ports, where they are part of it.
    #[inline(always)]
    fn sum(ports: u32) -> Sum {
        Sum::of_u32(ports)
    }
    /// Writes what differs from packet to packet over a template, except for the tag.
    fn write(header: &mut [u8], words: &Words, ports: u32, sum: Sum);
    /// Whether `header` is anything but the template with these values; the tag is not looked at.
    fn differs(header: &[u8], words: &Words, ports: u32, sum: Sum) -> bool;
}

/// User Datagram Protocol.
pub(super) struct Udp;
/// Transmission Control Protocol, a segment in the middle of a connection.
pub(super) struct Tcp;
/// Echo request or reply of ICMP or ICMPv6.
pub(super) struct Echo;
/// A last fragment.
pub(super) struct Opaque;

impl Udp {
    #[inline(always)]
    fn word(words: &Words, ports: u32, sum: Sum) -> u64 {
        let checksum = match (words.transport_sum + sum).checksum() {
            _ if words.no_checksum => 0,
            0 => 0xffff,
            checksum => checksum,
        };
        u64::from(ports) << 32 | words.transport | u64::from(checksum)
    }
}

impl Transport for Udp {
    const TAG: [usize; 2] = [8, 16];
    const END: usize = 24;
    const PSEUDO_HEADER: bool = true;

    #[inline(always)]
    fn write(header: &mut [u8], words: &Words, ports: u32, sum: Sum) {
        put(header, 0, Self::word(words, ports, sum).to_be_bytes());
    }

    #[inline(always)]
    fn differs(header: &[u8], words: &Words, ports: u32, sum: Sum) -> bool {
        u64_at(header, 0) != Self::word(words, ports, sum)
    }
}

impl Transport for Tcp {
    const TAG: [usize; 2] = [4, 18];
    const END: usize = 26;
    const PSEUDO_HEADER: bool = true;

    #[inline(always)]
    fn write(header: &mut [u8], words: &Words, ports: u32, sum: Sum) {
        put(header, 0, ports.to_be_bytes());
        put(header, 16, (words.transport_sum + sum).checksum().to_be_bytes());
    }

    #[inline(always)]
    fn differs(header: &[u8], words: &Words, ports: u32, sum: Sum) -> bool {
        let flags = u64::from(u32_at(header, 12));
        u32_at(header, 0) != ports
            || flags != words.transport
            || u16_at(header, 16) != (words.transport_sum + sum).checksum()
    }
}

impl Echo {
    #[inline(always)]
    fn word(words: &Words, ports: u32, sum: Sum) -> u64 {
        let checksum = (words.transport_sum + sum).checksum();
        words.transport | u64::from(checksum) << 32 | u64::from(ports)
    }
}

impl Transport for Echo {
    const TAG: [usize; 2] = [8, 16];
    const END: usize = 24;
    const PSEUDO_HEADER: bool = false;

    #[inline(always)]
    fn write(header: &mut [u8], words: &Words, ports: u32, sum: Sum) {
        put(header, 0, Self::word(words, ports, sum).to_be_bytes());
    }

    #[inline(always)]
    fn differs(header: &[u8], words: &Words, ports: u32, sum: Sum) -> bool {
        u64_at(header, 0) != Self::word(words, ports, sum)
    }
}

impl Opaque {
    #[inline(always)]
    fn word(words: &Words, hash: u32) -> u64 {
        u64::from(hash) << 32 | words.transport
    }
}

impl Transport for Opaque {
    const TAG: [usize; 2] = [8, 16];
    const END: usize = 24;
    const PSEUDO_HEADER: bool = false;

    #[inline(always)]
    fn write(header: &mut [u8], words: &Words, hash: u32, _: Sum) {
        put(header, 0, Self::word(words, hash).to_be_bytes());
    }

    #[inline(always)]
    fn differs(header: &[u8], words: &Words, hash: u32, _: Sum) -> bool {
        u64_at(header, 0) != Self::word(words, hash)
    }
}
