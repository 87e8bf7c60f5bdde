//! The packet a question describes, complete: every length and checksum is right, so that it can be sent as it is.

use std::net::IpAddr;

use control_api::{Code, Question, Refusal};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// An IP packet as `question` describes it.
pub(super) fn make(question: &Question) -> Result<Vec<u8>, Refusal> {
    let source = address("src", question.src.as_deref())?;
    let destination = address("dst", question.dst.as_deref())?;
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(invalid(
            format!("src {source} and dst {destination} are of two families"),
            "give the addresses of the packet as the relay receives it",
        ));
    }
    if source.is_ipv6() && question.df.is_some() {
        return Err(invalid(
            "df is a flag of IPv4".to_owned(),
            "leave it out: IPv6 packets are never cut by routers",
        ));
    }
    let protocol = protocol(question.proto.as_deref(), source.is_ipv4())?;
    let header = if source.is_ipv4() { 20 } else { 40 };
    let mut payload = start(question, protocol);
    let least = header + payload.len();
    // An IPv6 header does not count into its length.
    let most = if source.is_ipv4() { 65_535 } else { 65_575 };
    if let Some(size) = question.size {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if !(least..=most).contains(&size) {
            return Err(invalid(
                format!("no such packet has {size} bytes"),
                format!("give {least} to {most}"),
            ));
        }
        payload.extend((0_u8..=255).cycle().take(size - least));
    }
    if protocol == UDP {
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        payload[4..6].copy_from_slice(&length.to_be_bytes());
    }
    if let Some(at) = checksum_at(protocol) {
        let sum = match protocol {
            ICMP => checksum(0, &payload),
            _ => checksum(pseudo_header(source, destination, protocol, payload.len()), &payload),
        };
        // UDP has no checksum 0 (RFC 768).
        let sum = if sum == 0 && protocol == UDP { 0xffff } else { sum };
        payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    let ttl = question.ttl.unwrap_or(64);
    let tos = question.tos.unwrap_or(0);
    let mut packet = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = u16::try_from(header + payload.len()).unwrap_or(u16::MAX);
            let flags: u16 = if question.df.unwrap_or(true) { 0x4000 } else { 0 };
            let mut packet = vec![0x45, tos];
            packet.extend(total.to_be_bytes());
            packet.extend([0, 0]);
            packet.extend(flags.to_be_bytes());
            packet.extend([ttl, protocol, 0, 0]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
            let sum = checksum(0, &packet);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            packet
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            let mut packet = vec![0x60 | tos >> 4, tos << 4, 0, 0];
            packet.extend(length.to_be_bytes());
            packet.extend([protocol, ttl]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
            packet
        }
        _ => unreachable!("both are of one family"),
    };
    packet.append(&mut payload);
    Ok(packet)
}

/// Header of the transport, without lengths and checksum.
fn start(question: &Question, protocol: u8) -> Vec<u8> {
    let sport = question.sport.unwrap_or(49_152).to_be_bytes();
    let dport = question.dport.unwrap_or(443).to_be_bytes();
    let ports = [sport[0], sport[1], dport[0], dport[1]];
    match protocol {
        // SYN, window 65535.
        TCP => [&ports[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]].concat(),
        UDP => [&ports[..], &[0; 4]].concat(),
        // An echo request, sequence 1.
        ICMP => vec![8, 0, 0, 0, sport[0], sport[1], 0, 1],
        ICMPV6 => vec![128, 0, 0, 0, sport[0], sport[1], 0, 1],
        _ => Vec::new(),
    }
}

const fn checksum_at(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP => Some(6),
        ICMP | ICMPV6 => Some(2),
        _ => None,
    }
}

fn address(name: &str, text: Option<&str>) -> Result<IpAddr, Refusal> {
    let text = text.ok_or_else(|| {
        invalid(format!("the question has no {name}"), "give src and dst, or the packet's bytes as hex")
    })?;
    text.parse().map_err(|_| {
        invalid(format!("{name} {text:?} is no address"), "give one such as 192.0.2.1 or 2001:db8::1")
    })
}

fn protocol(name: Option<&str>, is_ipv4: bool) -> Result<u8, Refusal> {
    match name {
        None | Some("tcp") => Ok(TCP),
        Some("udp") => Ok(UDP),
        Some("icmp" | "icmpv6" | "icmp6") if is_ipv4 => Ok(ICMP),
        Some("icmp" | "icmpv6" | "icmp6") => Ok(ICMPV6),
        Some(number) => number.parse().map_err(|_| {
            invalid(
                format!("proto {number:?} is none I know"),
                "give tcp, udp, icmp or a number from 0 to 255",
            )
        }),
    }
}

/// The sum over the pseudo-header (RFC 793, RFC 8200 8.1), to go on with.
pub(super) fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> u32 {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    sum(&octets(source))
        + sum(&octets(destination))
        + u32::from(protocol)
        + (length >> 16)
        + (length & 0xffff)
}

/// RFC 1071.
pub(super) fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = start + sum(bytes);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or_default()
}

fn sum(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
    bytes.chunks(2).map(word).sum()
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hexadecimal digits; blanks and colons between them are ignored.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, Refusal> {
    let digits: Vec<char> = text.chars().filter(|mark| !mark.is_whitespace() && *mark != ':').collect();
    let remedy =
        "give pairs of the digits 0 to 9 and a to f: a packet from its IP header on, or a whole frame";
    if digits.is_empty() || digits.len() % 2 == 1 {
        return Err(invalid(format!("hex has {} digits", digits.len()), remedy));
    }
    let byte = |pair: &[char]| {
        let value = |digit: char| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        Some(value(pair[0])? << 4 | value(pair[1])?)
    };
    digits
        .chunks_exact(2)
        .map(byte)
        .collect::<Option<_>>()
        .ok_or_else(|| invalid("hex has other marks than hexadecimal digits".to_owned(), remedy))
}

pub(super) fn invalid(message: String, remedy: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidRequest, message, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::fields;
    use super::*;

    fn question(src: &str, dst: &str) -> Question {
        Question { src: Some(src.into()), dst: Some(dst.into()), ..Question::default() }
    }

    fn wrong_fields(packet: &[u8]) -> Vec<String> {
        let fields = fields::of(packet);
        let wrong = fields.iter().filter(|field| field.value.contains("wrong"));
        wrong.map(|field| format!("{} {}", field.name, field.value)).collect()
    }

    #[test]
    fn made_packets_are_complete() {
        for (src, dst) in [("203.0.113.50", "192.0.2.1"), ("2001:db8::1", "2001:db8:46::cb00:7132")] {
            for proto in ["tcp", "udp", "icmp", "47"] {
                for size in [None, Some(101), Some(1500)] {
                    let question = Question { proto: Some(proto.into()), size, ..question(src, dst) };
                    let packet = make(&question).unwrap();
                    assert_eq!(wrong_fields(&packet), [""; 0], "{question:?}");
                    assert!(size.is_none_or(|size| packet.len() == size as usize));
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let refused = |question: Question| make(&question).unwrap_err().message;
        assert!(refused(question("192.0.2.1", "2001:db8::1")).contains("two families"));
        assert!(refused(question("192.0.2.x", "192.0.2.1")).contains("src"));
        assert!(refused(Question { size: Some(39), ..question("192.0.2.9", "192.0.2.1") }).contains("39"));
        assert!(
            refused(Question { size: Some(65_536), ..question("192.0.2.9", "192.0.2.1") }).contains("65536")
        );
        assert!(refused(Question { df: Some(true), ..question("::1", "::2") }).contains("df"));
        assert!(refused(Question::default()).contains("no src"));
        let proto = Some("sctp?".to_owned());
        assert!(refused(Question { proto, ..question("192.0.2.9", "192.0.2.1") }).contains("sctp?"));
    }

    #[test]
    fn hexadecimal_digits_are_read_as_people_write_them() {
        assert_eq!(bytes("45 00\n00:1c").unwrap(), [0x45, 0, 0, 0x1c]);
        assert_eq!(bytes(&hex(&[0xab, 0x0f])).unwrap(), [0xab, 0x0f]);
        for wrong in ["", "4", "45 0", "xy", "4５"] {
            assert!(bytes(wrong).is_err(), "{wrong:?}");
        }
    }
}
