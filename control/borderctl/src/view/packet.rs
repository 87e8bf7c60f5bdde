//! A packet in one line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const FRAGMENT: u8 = 44;

/// An IP packet of `length` bytes, of which `bytes` are known.
pub(crate) fn ip(bytes: &[u8], length: u64) -> String {
    let Some(packet) = Packet::of(bytes) else {
        return format!("{length} bytes that are no IP packet");
    };
    format!("{packet} len {length}")
}

/// What is in an Ethernet frame of `length` bytes: its IP packet, if it has one.
pub(crate) fn frame(bytes: &[u8], length: u64) -> String {
    let mut at = 12;
    for _ in 0..=2 {
        match bytes.get(at..at + 2) {
            Some([0x08, 0x00] | [0x86, 0xdd]) => {
                return ip(&bytes[at + 2..], length.saturating_sub(at as u64 + 2));
            }
            Some([0x81, 0x00] | [0x88, 0xa8]) => at += 4,
            _ => break,
        }
    }
    ethernet(bytes, length)
}

/// An Ethernet frame of `length` bytes, of which `bytes` are known.
pub(crate) fn ethernet(bytes: &[u8], length: u64) -> String {
    let mac = |at: usize| {
        let bytes = bytes.get(at..at + 6)?;
        Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
    };
    let kind = bytes.get(12..14).map(|kind| u16::from_be_bytes([kind[0], kind[1]]));
    match (mac(6), mac(0), kind) {
        (Some(from), Some(to), Some(kind)) => {
            let kind = if kind == 0x0806 { "ARP".to_owned() } else { format!("type {kind:#06x}") };
            format!("{from} > {to} {kind} len {length}")
        }
        _ => format!("{length} bytes that are no frame"),
    }
}

/// What a line says.
struct Packet {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    hops: u8,
    /// In bytes, of a fragment that is not the first.
    offset: u16,
    ports: Option<(u16, u16)>,
    /// Type and code, or TCP flags.
    detail: String,
}

impl Packet {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (mut packet, header) = match bytes.first()? >> 4 {
            4 => Self::ipv4(bytes)?,
            6 => Self::ipv6(bytes)?,
            _ => return None,
        };
        if packet.offset == 0 {
            packet.transport(bytes.get(header..).unwrap_or_default());
        }
        Some(packet)
    }

    fn ipv4(bytes: &[u8]) -> Option<(Self, usize)> {
        let address = |at: usize| Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?).into());
        let packet = Self {
            source: address(12)?,
            destination: address(16)?,
            protocol: bytes[9],
            hops: bytes[8],
            offset: (u16::from_be_bytes([bytes[6], bytes[7]]) & 0x1fff) * 8,
            ports: None,
            detail: String::new(),
        };
        Some((packet, usize::from(bytes[0] & 0xf) * 4))
    }

    fn ipv6(bytes: &[u8]) -> Option<(Self, usize)> {
        let address = |at: usize| Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?).into());
        let mut packet = Self {
            source: address(8)?,
            destination: address(24)?,
            protocol: bytes[6],
            hops: bytes[7],
            offset: 0,
            ports: None,
            detail: String::new(),
        };
        let mut at = 40;
        // Hop-by-hop, routing, destination options; a fragment header.
        while let (0 | 43 | 60 | FRAGMENT, Some(header)) = (packet.protocol, bytes.get(at..at + 8)) {
            let length = if packet.protocol == FRAGMENT {
                packet.offset = u16::from_be_bytes([header[2], header[3]]) & !7;
                8
            } else {
                usize::from(header[1]) * 8 + 8
            };
            packet.protocol = header[0];
            at += length;
        }
        Some((packet, at))
    }

    fn transport(&mut self, bytes: &[u8]) {
        let word = |at: usize| bytes.get(at..at + 2).map(|word| u16::from_be_bytes([word[0], word[1]]));
        match (self.protocol, bytes) {
            (TCP | UDP, _) => {
                self.ports = word(0).zip(word(2));
                if let (TCP, Some(flags)) = (self.protocol, bytes.get(13)) {
                    self.detail = tcp_flags(*flags);
                }
            }
            (ICMP | ICMPV6, [kind, code, ..]) => self.detail = format!("type {kind} code {code}"),
            _ => {}
        }
    }
}

fn tcp_flags(flags: u8) -> String {
    let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];
    let set = names.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

impl std::fmt::Display for Packet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.protocol {
            TCP => write!(formatter, "TCP ")?,
            UDP => write!(formatter, "UDP ")?,
            ICMP => write!(formatter, "ICMP ")?,
            ICMPV6 => write!(formatter, "ICMPv6 ")?,
            other => write!(formatter, "proto {other} ")?,
        }
        let end = |address: IpAddr, port: Option<u16>| match (address, port) {
            (address, None) => address.to_string(),
            (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
            (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
        };
        let (from, to) = self.ports.unzip();
        write!(formatter, "{} > {}", end(self.source, from), end(self.destination, to))?;
        if !self.detail.is_empty() {
            write!(formatter, " {}", self.detail)?;
        }
        if self.offset > 0 {
            write!(formatter, " fragment at {}", self.offset)?;
        }
        write!(formatter, " ttl {}", self.hops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_both_families_fit_a_line() {
        let mut udp = vec![0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 203, 0, 113, 9, 192, 0, 2, 77];
        udp.extend([0x0f, 0xa0, 0, 53, 0, 8, 0, 0]);
        assert_eq!(ip(&udp, 28), "UDP 203.0.113.9:4000 > 192.0.2.77:53 ttl 64 len 28");
        udp[7] = 2;
        assert_eq!(ip(&udp, 28), "UDP 203.0.113.9 > 192.0.2.77 fragment at 16 ttl 64 len 28");
        let mut tcp = vec![0x60, 0, 0, 0, 0, 28, 44, 7];
        tcp.extend([[0x20; 16], [0xfd; 16]].concat());
        tcp.extend([6, 0, 0, 1, 0, 0, 0, 9]);
        tcp.extend([0, 80, 1, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0]);
        let text = "TCP [2020:2020:2020:2020:2020:2020:2020:2020]:80 > [fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:443 \
            SYN,ACK ttl 7 len 68";
        assert_eq!(ip(&tcp, 68), text);
        for cut in 0..tcp.len() {
            ip(&tcp[..cut], 68);
            ip(&udp[..cut.min(udp.len())], 68);
        }
        let tagged = [&[2; 12][..], &[0x81, 0, 0, 7, 0x86, 0xdd], &tcp].concat();
        assert_eq!(frame(&tagged, 86), text);
        let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 8, 6], &[0; 46]].concat();
        assert_eq!(ethernet(&arp, 60), "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff ARP len 60");
        assert_eq!(frame(&arp, 60), ethernet(&arp, 60));
        assert_eq!(ethernet(&arp[..5], 5), "5 bytes that are no frame");
    }
}
