//! Steps of the walk in words.

use std::net::IpAddr;

use dataplane::stage::transport::{TransportV4, TransportV6};
use dataplane::verdict::{DropReason, PuntReason};
use dataplane::walk::{Carried, Told};

/// What a packet carries: a word, a sentence, and the section about it.
pub(super) const fn carried(carried: Carried) -> (&'static str, &'static str, &'static str) {
    match carried {
        Carried::V4(kind) => match kind {
            TransportV4::Tcp => ("tcp", "TCP, whose checksum is adjusted", "RFC 7915 4.5"),
            TransportV4::Udp => ("udp", "UDP, whose checksum is adjusted", "RFC 7915 4.5"),
            TransportV4::UdpComputed => ("udp", "UDP without a checksum, which is given one", "RFC 7915 4.5"),
            TransportV4::Echo => ("echo", "an echo message, which becomes one of ICMPv6", "RFC 7915 4.2"),
            TransportV4::Error => {
                ("icmp_error", "an ICMP error, translated with the packet it quotes", "RFC 7915 4.3")
            }
            TransportV4::Opaque => ("opaque", "a payload that is not looked into", "RFC 7915 4.5"),
        },
        Carried::V6(kind) => match kind {
            TransportV6::Tcp => ("tcp", "TCP, whose checksum is adjusted", "RFC 7915 5.5"),
            TransportV6::Udp => ("udp", "UDP, whose checksum is adjusted", "RFC 7915 5.5"),
            TransportV6::Echo => ("echo", "an echo message, which becomes one of ICMP", "RFC 7915 5.2"),
            TransportV6::Error => {
                ("icmp_error", "an ICMP error, translated with the packet it quotes", "RFC 7915 5.3")
            }
            TransportV6::Opaque => ("opaque", "a payload that is not looked into", "RFC 7915 5.5"),
        },
    }
}

/// Whether the sender hears of it: a word, a sentence, and the section about it.
pub(super) const fn told(told: Told) -> (&'static str, &'static str, Option<&'static str>) {
    match told {
        Told::Sent => {
            ("sent", "its sender is told by an ICMP error, while the limit of errors allows it", None)
        }
        Told::Forbidden => (
            "forbidden",
            "no ICMP error is sent about such a packet",
            Some("RFC 1812 4.3.2.7, RFC 4443 2.4(e)"),
        ),
        Told::Off => ("off", "no ICMP error is sent: icmp_errors is off", None),
        Told::Limited => {
            ("limited", "no ICMP error is sent: the limit of errors is reached", Some("RFC 4443 2.4(f)"))
        }
        Told::Unsendable => {
            ("unsendable", "no ICMP error is sent: there is no route back, or no source address for it", None)
        }
    }
}

/// The section that a description names, and the description without it being looked for twice: `RFC 7915 4.5`.
pub(super) fn section(description: &str) -> Option<String> {
    let from = description.find("RFC ")?;
    let rest = &description[from + 4..];
    let end =
        rest.find(|mark: char| !mark.is_ascii_digit() && mark != '.' && mark != ' ').unwrap_or(rest.len());
    let section = rest[..end].trim_end_matches(['.', ' ']);
    (!section.is_empty()).then(|| format!("RFC {section}"))
}

/// The name and the description of a reason.
pub(super) const fn dropped(reason: DropReason) -> (&'static str, &'static str) {
    (reason.name(), reason.description())
}

/// The name and the description of a reason.
pub(super) const fn punted(reason: PuntReason) -> (&'static str, &'static str) {
    (reason.name(), reason.description())
}

/// An ICMP error by its type and code, in the family of the packet it is about.
pub(super) fn icmp_error(about: Option<IpAddr>, kind: u8, code: u8, rest: [u8; 4]) -> String {
    let mtu_v4 = u16::from_be_bytes([rest[2], rest[3]]);
    let mtu_v6 = u32::from_be_bytes(rest);
    let name = match (about.is_some_and(|address| address.is_ipv6()), kind, code) {
        (false, 3, 0) => "network unreachable".to_owned(),
        (false, 3, 1) => "host unreachable".to_owned(),
        (false, 3, 4) => format!("fragmentation needed, MTU {mtu_v4}"),
        (false, 3, 5) => "source route failed".to_owned(),
        (false, 3, 13) => "administratively prohibited".to_owned(),
        (false, 11, 0) | (true, 3, 0) => "time exceeded".to_owned(),
        (true, 1, 0) => "no route".to_owned(),
        (true, 1, 1) => "administratively prohibited".to_owned(),
        (true, 1, 3) => "address unreachable".to_owned(),
        (true, 2, 0) => format!("packet too big, MTU {mtu_v6}"),
        (true, 4, 0) => format!("erroneous field at byte {mtu_v6}"),
        _ => return format!("ICMP error {kind}/{code}"),
    };
    format!("{name} ({kind}/{code})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_taken_from_descriptions() {
        for (description, expected) in [
            ("A packet without checksum (RFC 7915 4.5, udp_zero_checksum).", Some("RFC 7915 4.5")),
            ("Fragmented ICMP, which cannot be translated (RFC 7915 1.2). Pings.", Some("RFC 7915 1.2")),
            ("never forwarded (RFC 6890): loopback", Some("RFC 6890")),
            ("The port's queue is full.", None),
        ] {
            assert_eq!(section(description).as_deref(), expected);
        }
        let named = DropReason::ALL.iter().filter(|reason| section(reason.description()).is_some());
        assert!(named.count() > 15);
    }
}
