//! A packet field by field, as people compare it. Reads whatever there is: what was dropped is often broken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use control_api::Field;

use super::packet::{checksum, hex, pseudo_header};

/// Headers that are looked into: a chain of extension headers, and the packet an ICMP error quotes.
const DEEPEST: usize = 16;

/// The fields of an IP packet, of what it carries, and of the packet that an ICMP error in it quotes.
pub(super) fn of(packet: &[u8]) -> Vec<Field> {
    let mut list = List { fields: Vec::new(), front: String::new(), is_whole: true };
    list.packet(packet, 0);
    list.fields
}

struct List {
    fields: Vec<Field>,
    /// In front of every name: `quoted.` inside of an ICMP error.
    front: String,
    /// Nothing is cut off, so that checksums can be looked at.
    is_whole: bool,
}

/// Where what a packet carries begins and ends, and for whom it is.
struct Carried {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    /// It begins here, not further ahead in the datagram.
    is_first: bool,
    is_fragment: bool,
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

impl List {
    fn add(&mut self, name: &str, value: impl ToString) {
        self.fields.push(Field { name: format!("{}{name}", self.front), value: value.to_string() });
    }

    fn packet(&mut self, packet: &[u8], depth: usize) {
        let read = match packet.first().map(|byte| byte >> 4) {
            Some(4) => self.ipv4(packet, depth),
            Some(6) => self.ipv6(packet, depth),
            _ => None,
        };
        if read.is_none() {
            self.add("bytes", hex(&packet[..packet.len().min(64)]));
        }
    }

    fn ipv4(&mut self, packet: &[u8], depth: usize) -> Option<()> {
        let fixed: &[u8; 20] = packet.first_chunk()?;
        let header = usize::from(fixed[0] & 15) * 4;
        let total = word(packet, 2)?;
        let flags = word(packet, 6)?;
        let (source, destination) = (address_v4(packet, 12)?, address_v4(packet, 16)?);
        self.add("ipv4.tos", fixed[1]);
        self.add("ipv4.total_length", total);
        self.add("ipv4.identification", format!("0x{:04x}", word(packet, 4)?));
        self.add("ipv4.df", flags >> 14 & 1);
        self.add("ipv4.mf", flags >> 13 & 1);
        self.add("ipv4.fragment_offset", usize::from(flags & 0x1fff) * 8);
        self.add("ipv4.ttl", fixed[8]);
        self.add("ipv4.protocol", protocol_name(fixed[9]));
        let sum = packet.get(..header).map_or("wrong", |header| right(checksum(0, header)));
        self.add("ipv4.checksum", format!("0x{:04x} ({sum})", word(packet, 10)?));
        self.add("ipv4.source", source);
        self.add("ipv4.destination", destination);
        if header > 20 {
            self.add("ipv4.options", hex(packet.get(20..header)?));
        }
        self.is_whole &= packet.len() >= usize::from(total);
        let end = usize::from(total).min(packet.len()).max(header.min(packet.len()));
        let carried = Carried {
            source: source.into(),
            destination: destination.into(),
            protocol: fixed[9],
            is_first: flags & 0x1fff == 0,
            is_fragment: flags & 0x3fff != 0,
        };
        self.carried(&carried, packet.get(header..end)?, depth);
        Some(())
    }

    fn ipv6(&mut self, packet: &[u8], depth: usize) -> Option<()> {
        let fixed: &[u8; 40] = packet.first_chunk()?;
        let length = word(packet, 4)?;
        let (source, destination) = (address_v6(packet, 8)?, address_v6(packet, 24)?);
        self.add("ipv6.traffic_class", fixed[0] << 4 | fixed[1] >> 4);
        let flow = u32::from_be_bytes([0, fixed[1] & 15, fixed[2], fixed[3]]);
        self.add("ipv6.flow_label", format!("0x{flow:05x}"));
        self.add("ipv6.payload_length", length);
        self.add("ipv6.next_header", protocol_name(fixed[6]));
        self.add("ipv6.hop_limit", fixed[7]);
        self.add("ipv6.source", source);
        self.add("ipv6.destination", destination);
        let end = 40 + usize::from(length);
        self.is_whole &= packet.len() >= end;
        let mut rest = packet.get(40..end.min(packet.len()))?;
        let mut carried = Carried {
            source: source.into(),
            destination: destination.into(),
            protocol: fixed[6],
            is_first: true,
            is_fragment: false,
        };
        for _ in 0..DEEPEST {
            let (next, length) = match carried.protocol {
                0 | 43 | 60 => (*rest.first()?, (usize::from(*rest.get(1)?) + 1) * 8),
                44 => {
                    let offset = word(rest, 2)?;
                    self.add("fragment.offset", offset & !7);
                    self.add("fragment.more", offset & 1);
                    self.add("fragment.identification", format!("0x{}", hex(rest.get(4..8)?)));
                    carried.is_first = offset & !7 == 0;
                    carried.is_fragment = offset & !6 != 0;
                    (*rest.first()?, 8)
                }
                _ => break,
            };
            if carried.protocol == 43 {
                self.add("routing.segments_left", *rest.get(3)?);
            }
            rest = rest.get(length..)?;
            carried.protocol = next;
            if !carried.is_first {
                break;
            }
        }
        self.carried(&carried, rest, depth);
        Some(())
    }

    fn carried(&mut self, carried: &Carried, payload: &[u8], depth: usize) {
        let named = match carried.protocol {
            _ if !carried.is_first => None,
            6 => self.tcp(payload),
            17 => self.udp(payload),
            1 | 58 => self.icmp(carried.protocol, payload),
            _ => None,
        };
        if let Some((name, at)) = named
            && let Some(value) = word(payload, at)
        {
            let pseudo = match carried.protocol {
                1 => 0,
                other => pseudo_header(carried.source, carried.destination, other, payload.len()),
            };
            let note = match checksum(pseudo, payload) {
                _ if carried.protocol == 17 && value == 0 => " (none)",
                _ if !self.is_whole || carried.is_fragment => "",
                0 => " (right)",
                _ => " (wrong)",
            };
            self.add(&format!("{name}.checksum"), format!("0x{value:04x}{note}"));
        }
        self.add("payload_bytes", payload.len());
        let quotes = carried.is_first
            && match (carried.protocol, payload.first()) {
                (1, Some(kind)) => [3, 4, 5, 11, 12].contains(kind),
                (58, Some(kind)) => *kind < 128,
                _ => false,
            };
        if quotes && depth == 0 && payload.len() > 8 {
            self.front = "quoted.".to_owned();
            // An error quotes the start of a packet; and routers leave there what they have changed already.
            self.is_whole = false;
            self.packet(&payload[8..], depth + 1);
        }
    }

    fn tcp(&mut self, payload: &[u8]) -> Option<(&'static str, usize)> {
        self.add("tcp.source_port", word(payload, 0)?);
        self.add("tcp.destination_port", word(payload, 2)?);
        let number = |at: usize| Some(u32::from_be_bytes(*payload.get(at..)?.first_chunk()?));
        self.add("tcp.sequence", number(4)?);
        self.add("tcp.acknowledgment", number(8)?);
        let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let bits = *payload.get(13)?;
        let set: Vec<&str> =
            names.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name).collect();
        self.add("tcp.flags", if set.is_empty() { "none".to_owned() } else { set.join(" ") });
        Some(("tcp", 16))
    }

    fn udp(&mut self, payload: &[u8]) -> Option<(&'static str, usize)> {
        self.add("udp.source_port", word(payload, 0)?);
        self.add("udp.destination_port", word(payload, 2)?);
        self.add("udp.length", word(payload, 4)?);
        Some(("udp", 6))
    }

    fn icmp(&mut self, protocol: u8, payload: &[u8]) -> Option<(&'static str, usize)> {
        let name = if protocol == 1 { "icmp" } else { "icmpv6" };
        let (kind, code) = (*payload.first()?, *payload.get(1)?);
        self.add(&format!("{name}.type"), kind);
        self.add(&format!("{name}.code"), code);
        match (protocol, kind, code) {
            (1, 0 | 8, _) | (58, 128 | 129, _) => {
                self.add(&format!("{name}.identifier"), word(payload, 4)?);
                self.add(&format!("{name}.sequence"), word(payload, 6)?);
            }
            (1, 3, 4) => self.add("icmp.mtu", word(payload, 6)?),
            (58, 2, _) => {
                self.add("icmpv6.mtu", u32::from_be_bytes(*payload.get(4..)?.first_chunk()?));
            }
            _ => self.add(&format!("{name}.rest"), format!("0x{}", hex(payload.get(4..8)?))),
        }
        Some((name, 2))
    }
}

const fn right(sum: u16) -> &'static str {
    if sum == 0 { "right" } else { "wrong" }
}

fn address_v4(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?))
}

fn address_v6(packet: &[u8], at: usize) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?))
}

fn protocol_name(number: u8) -> String {
    let name = match number {
        0 => "hop-by-hop",
        1 => "ICMP",
        6 => "TCP",
        17 => "UDP",
        43 => "routing",
        44 => "fragment",
        58 => "ICMPv6",
        60 => "destination options",
        _ => return number.to_string(),
    };
    format!("{number} ({name})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::packet::bytes;

    fn value(packet: &str, name: &str) -> Option<String> {
        of(&bytes(packet).unwrap()).into_iter().find(|field| field.name == name).map(|field| field.value)
    }

    /// A UDP datagram from 203.0.113.50 to 192.0.2.1.
    const UDP: &str = "4500001c 00004000 40118094 cb007132 c0000201 c00001bb 0008ae41";

    #[test]
    fn checksums_are_looked_at() {
        let sums = |packet: &str| [value(packet, "ipv4.checksum"), value(packet, "udp.checksum")];
        let said = |sums: [Option<String>; 2]| sums.map(|sum| sum.unwrap()[6..].trim().to_owned());
        let right = value(UDP, "ipv4.checksum").unwrap();
        assert!(right.starts_with("0x8094"), "{right}");
        let changed = UDP.replace("40118094", "3f118094");
        assert_eq!(said(sums(&changed))[0], "(wrong)");
        let none = UDP.replace("0008ae41", "00080000");
        assert_eq!(said(sums(&none))[1], "(none)");
    }

    #[test]
    fn the_quote_of_an_error_is_read_and_broken_packets_are_shown_as_far_as_they_go() {
        let error = format!("45000038 00000000 40010000 0a000001 cb007132 03040000 00000578 {UDP}");
        assert_eq!(value(&error, "icmp.mtu").as_deref(), Some("1400"));
        assert_eq!(value(&error, "quoted.ipv4.destination").as_deref(), Some("192.0.2.1"));
        assert_eq!(value(&error, "quoted.udp.destination_port").as_deref(), Some("443"));
        assert_eq!(value("450000", "bytes").as_deref(), Some("450000"));
        for end in 1..UDP.len() {
            let digits: String = UDP.chars().filter(|mark| !mark.is_whitespace()).take(end & !1).collect();
            if !digits.is_empty() {
                of(&bytes(&digits).unwrap());
            }
        }
    }
}
