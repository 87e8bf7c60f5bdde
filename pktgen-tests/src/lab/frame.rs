//! Frames for the tests, written down byte by byte: deliberately not the relay's own code.

use std::net::{Ipv4Addr, Ipv6Addr};

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of LLDP.
pub const LLDP: u16 = 0x88cc;
/// IP protocol of OSPF.
pub const OSPF: u8 = 89;
/// The group of all OSPF routers.
pub const ALL_OSPF_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 5);

/// An Ethernet frame.
#[must_use]
pub fn ethernet(destination: [u8; 6], source: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &ether_type.to_be_bytes(), payload].concat()
}

/// An IPv4 packet without options, DF clear.
#[must_use]
pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0x12, 0x34, 0, 0, ttl, protocol, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let sum = checksum(&[&packet]).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    packet.extend(payload);
    packet
}

/// An IPv6 packet.
#[must_use]
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let head = [0x60, 0, 0, 0, length[0], length[1], next, hop_limit];
    [&head[..], &source.octets(), &destination.octets(), payload].concat()
}

/// A UDP datagram between two IPv4 addresses.
#[must_use]
pub fn udp4(source: Ipv4Addr, destination: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    udp(&source.octets(), &destination.octets(), port, payload)
}

/// A UDP datagram between two IPv6 addresses.
#[must_use]
pub fn udp6(source: Ipv6Addr, destination: Ipv6Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    udp(&source.octets(), &destination.octets(), port, payload)
}

fn udp(source: &[u8], destination: &[u8], port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let port = port.to_be_bytes();
    let mut datagram = vec![0x30, 0x39, port[0], port[1], length[0], length[1], 0, 0];
    datagram.extend(payload);
    let sum = match checksum(&[source, destination, &[0, 17], &length, &datagram]) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// An OSPFv2 hello as a router sends it on start: TTL 1, to all OSPF routers. `number` makes each one different.
#[must_use]
pub fn ospf_hello(source: Ipv4Addr, number: u32) -> Vec<u8> {
    let mut hello = vec![2, 1, 0, 44];
    hello.extend(source.octets());
    hello.extend([0; 4 + 2 + 2 + 8]);
    hello.extend([255, 255, 255, 0, 0, 10, 2, 1]);
    hello.extend(number.to_be_bytes());
    hello.extend([0; 8]);
    // The authentication field is not part of the sum; it is zero here anyway.
    let sum = checksum(&[&hello]).to_be_bytes();
    hello[12..14].copy_from_slice(&sum);
    ipv4(source, ALL_OSPF_ROUTERS, OSPF, 1, &hello)
}

/// The Internet checksum; every part but the last must have an even length.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// A small repeatable source of random numbers (xorshift64*): a failing run can be repeated from its seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from((self.number() >> 16) % limit).unwrap_or(0)
    }

    /// Random bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.number().to_be_bytes()[0]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_checked_header_is_zero() {
        let packet = ipv4(Ipv4Addr::new(203, 0, 113, 50), Ipv4Addr::new(192, 0, 2, 1), 17, 64, b"odd");
        assert_eq!(checksum(&[&packet[..20]]), 0);
        assert_eq!(u16::from_be_bytes([packet[2], packet[3]]), 23);
    }

    #[test]
    fn a_hello_is_44_bytes_of_ospf() {
        let packet = ospf_hello(Ipv4Addr::new(203, 0, 113, 50), 7);
        assert_eq!((packet.len(), packet[8], packet[9]), (64, 1, OSPF));
        assert_eq!(checksum(&[&packet[20..]]), 0);
    }

    #[test]
    fn random_numbers_repeat_with_their_seed() {
        let (mut a, mut b) = (Random::new(9), Random::new(9));
        assert_eq!(a.bytes(64), b.bytes(64));
        assert!((0..1000).all(|_| a.below(10) < 10));
    }
}
