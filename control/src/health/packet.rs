//! The packets the relay sends through its workers, and how they must come out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const UDP: u8 = 17;
const DF: u8 = 0x40;
const TTL: u8 = 64;
/// Discard, to which nobody listens.
const PORT: u16 = 9;
const PAYLOAD: [u8; 16] = *b"borderline probe";
/// Header and payload.
const UDP_LENGTH: u16 = 8 + 16;

/// A UDP datagram between two addresses, from its IP header on, with correct checksums and DF.
pub(super) fn datagram(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let udp = udp(source, destination);
    let mut packet = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4(source, destination),
        (source, destination) => ipv6(to_ipv6(source), to_ipv6(destination)),
    };
    packet.extend_from_slice(&udp);
    packet
}

/// What is wrong about the packet that a datagram became, one hop later; none when all is right.
pub(super) fn difference(packet: &[u8], source: IpAddr, destination: IpAddr) -> Option<String> {
    let mut expected = datagram(source, destination);
    let ttl = if expected[0] >> 4 == 4 { 8 } else { 7 };
    expected[ttl] = TTL - 1;
    if packet.len() != expected.len() {
        return Some(format!("it has {} bytes instead of {}", packet.len(), expected.len()));
    }
    let Some(found) = addresses(packet) else { return Some("it is no IP packet".to_owned()) };
    if found != (source, destination) {
        let (from, to) = found;
        return Some(format!("it goes from {from} to {to} instead of from {source} to {destination}"));
    }
    if packet[0] >> 4 == 4 {
        if checksum(&packet[..20]) != 0 {
            return Some("its header checksum is wrong".to_owned());
        }
        // The translator chooses identification and DF (RFC 7915 5.1), and the checksum follows.
        for at in [4, 5, 10, 11] {
            expected[at] = packet[at];
        }
        expected[6] = expected[6] & !DF | packet[6] & DF;
    }
    let at = (0..expected.len()).find(|at| expected[*at] != packet[*at])?;
    Some(format!("byte {at} is {:#04x} instead of {:#04x}", packet[at], expected[at]))
}

/// Source and destination of an IP packet.
pub(crate) fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match packet.first()? >> 4 {
        4 => {
            let at = |at: usize| Some(IpAddr::from(*packet.get(at..)?.first_chunk::<4>()?));
            Some((at(12)?, at(16)?))
        }
        6 => {
            let at = |at: usize| Some(IpAddr::from(*packet.get(at..)?.first_chunk::<16>()?));
            Some((at(8)?, at(24)?))
        }
        _ => None,
    }
}

fn to_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn udp(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let mut udp = Vec::with_capacity(usize::from(UDP_LENGTH));
    for word in [PORT, PORT, UDP_LENGTH, 0] {
        udp.extend_from_slice(&word.to_be_bytes());
    }
    udp.extend_from_slice(&PAYLOAD);
    let mut pseudo = Vec::new();
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => pseudo.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => pseudo.extend_from_slice(&address.octets()),
        }
    }
    pseudo.extend_from_slice(&[0, UDP]);
    pseudo.extend_from_slice(&UDP_LENGTH.to_be_bytes());
    pseudo.extend_from_slice(&udp);
    let sum = match checksum(&pseudo) {
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    udp
}

fn ipv4(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let [high, low] = (20 + UDP_LENGTH).to_be_bytes();
    let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, TTL, UDP, 0, 0];
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&destination.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn ipv6(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let [high, low] = UDP_LENGTH.to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, high, low, UDP, TTL];
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&destination.octets());
    header
}

/// RFC 1071, over an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_datagram_one_hop_later_is_right_and_any_other_byte_is_told() {
        for (from, to) in [("203.0.113.50", "192.0.2.1"), ("2001:db8:46::1", "2001:db8:12:34::1")] {
            let (from, to) = (address(from), address(to));
            let mut packet = datagram(from, to);
            assert_eq!(addresses(&packet), Some((from, to)));
            if packet[0] >> 4 == 4 {
                packet[8] -= 1;
                packet[10..12].fill(0);
                let sum = checksum(&packet[..20]);
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
            } else {
                packet[7] -= 1;
            }
            assert_eq!(difference(&packet, from, to), None);
            for at in 0..packet.len() {
                let mut damaged = packet.clone();
                damaged[at] ^= 0x10;
                assert!(difference(&damaged, from, to).is_some(), "byte {at}");
            }
            assert!(difference(&packet[..20], from, to).is_some() && difference(&[], from, to).is_some());
        }
    }
}
