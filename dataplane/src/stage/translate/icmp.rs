//! ICMP types and codes of one family in terms of the other (RFC 7915 4.2 and 5.2). What is not listed there is
//! dropped silently.

use crate::wire::icmp::{HEADER, v4, v6};

/// How an ICMP error reads in the other family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Bytes 4 to 7.
    pub rest: Rest,
}

/// The second word of an ICMP error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Zero but for the length attribute of RFC 4884.
    Unused,
    /// Offset of the offending byte, in the other family's header.
    Pointer(u8),
    /// The MTU as reported, not yet converted; 0 when an old IPv4 router reported none.
    Mtu(u32),
}

/// The ICMPv6 type of an ICMPv4 echo request or reply.
#[inline]
#[must_use]
pub const fn echo_v4_to_v6(kind: u8) -> Option<u8> {
    match kind {
        v4::ECHO_REQUEST => Some(v6::ECHO_REQUEST),
        v4::ECHO_REPLY => Some(v6::ECHO_REPLY),
        _ => None,
    }
}

/// The ICMPv4 type of an ICMPv6 echo request or reply.
#[inline]
#[must_use]
pub const fn echo_v6_to_v4(kind: u8) -> Option<u8> {
    match kind {
        v6::ECHO_REQUEST => Some(v4::ECHO_REQUEST),
        v6::ECHO_REPLY => Some(v4::ECHO_REPLY),
        _ => None,
    }
}

/// An ICMPv4 error as ICMPv6 (RFC 7915 4.2).
#[must_use]
pub fn error_v4_to_v6(header: &[u8; HEADER]) -> Option<Message> {
    let message = |kind, code, rest| Some(Message { kind, code, rest });
    match (header[0], header[1]) {
        (v4::UNREACHABLE, v4::PROTOCOL) => {
            // The Next Header field of the IPv6 header.
            message(v6::PARAMETER_PROBLEM, v6::UNRECOGNIZED_NEXT_HEADER, Rest::Pointer(6))
        }
        (v4::UNREACHABLE, v4::PORT) => message(v6::UNREACHABLE, v6::PORT, Rest::Unused),
        (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED) => {
            let mtu = u16::from_be_bytes([header[6], header[7]]);
            message(v6::PACKET_TOO_BIG, 0, Rest::Mtu(u32::from(mtu)))
        }
        (v4::UNREACHABLE, 0 | 1 | 5..=8 | 11 | 12) => message(v6::UNREACHABLE, v6::NO_ROUTE, Rest::Unused),
        (v4::UNREACHABLE, 9 | 10 | 13 | 15) => message(v6::UNREACHABLE, v6::PROHIBITED, Rest::Unused),
        // The code is unchanged, whatever it is.
        (v4::TIME_EXCEEDED, code) => message(v6::TIME_EXCEEDED, code, Rest::Unused),
        (v4::PARAMETER_PROBLEM, 0 | 2) => {
            let pointer = pointer_v4_to_v6(header[4])?;
            message(v6::PARAMETER_PROBLEM, v6::ERRONEOUS_FIELD, Rest::Pointer(pointer))
        }
        _ => None,
    }
}

/// An ICMPv6 error as ICMPv4 (RFC 7915 5.2).
#[must_use]
pub fn error_v6_to_v4(header: &[u8; HEADER]) -> Option<Message> {
    let message = |kind, code, rest| Some(Message { kind, code, rest });
    let word = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    match (header[0], header[1]) {
        (v6::UNREACHABLE, 0 | 2 | 3) => message(v4::UNREACHABLE, v4::HOST, Rest::Unused),
        (v6::UNREACHABLE, v6::PROHIBITED) => message(v4::UNREACHABLE, v4::HOST_PROHIBITED, Rest::Unused),
        (v6::UNREACHABLE, v6::PORT) => message(v4::UNREACHABLE, v4::PORT, Rest::Unused),
        (v6::PACKET_TOO_BIG, _) => message(v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED, Rest::Mtu(word)),
        (v6::TIME_EXCEEDED, code) => message(v4::TIME_EXCEEDED, code, Rest::Unused),
        (v6::PARAMETER_PROBLEM, v6::ERRONEOUS_FIELD) => {
            message(v4::PARAMETER_PROBLEM, 0, Rest::Pointer(pointer_v6_to_v4(word)?))
        }
        (v6::PARAMETER_PROBLEM, v6::UNRECOGNIZED_NEXT_HEADER) => {
            message(v4::UNREACHABLE, v4::PROTOCOL, Rest::Unused)
        }
        _ => None,
    }
}

/// RFC 7915 figure 3.
const fn pointer_v4_to_v6(pointer: u8) -> Option<u8> {
    match pointer {
        0 => Some(0),
        1 => Some(1),
        2 | 3 => Some(4),
        8 => Some(7),
        9 => Some(6),
        12..=15 => Some(8),
        16..=19 => Some(24),
        _ => None,
    }
}

/// RFC 7915 figure 6.
const fn pointer_v6_to_v4(pointer: u32) -> Option<u8> {
    match pointer {
        0 => Some(0),
        1 => Some(1),
        4 | 5 => Some(2),
        6 => Some(9),
        7 => Some(8),
        8..=23 => Some(12),
        24..=39 => Some(16),
        _ => None,
    }
}

/// The MTUs around the relay that bound what a translated message may report, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mtus {
    /// Of the next hop on the IPv6 side.
    pub ipv6: u16,
    /// Of the next hop on the IPv4 side.
    pub ipv4: u16,
}

/// The MTU of a packet too big message made of fragmentation needed (RFC 7915 4.2): never below 1280, so that
/// no host answers with atomic fragments (RFC 8021). A reported 0 is replaced by the greatest plateau below the
/// quoted Total Length (RFC 1191 7).
#[must_use]
pub fn mtu_v4_to_v6(reported: u32, quoted_total_length: u16, mtus: Mtus, plateaus: &[u16]) -> u32 {
    const MIN: u32 = crate::wire::ipv6::MIN_MTU as u32;
    let path = if reported == 0 {
        let plateau =
            plateaus.iter().find(|plateau| **plateau < quoted_total_length && u32::from(**plateau) >= MIN);
        plateau.map_or(0, |plateau| u32::from(*plateau))
    } else {
        reported
    };
    (path + 20).min(u32::from(mtus.ipv6)).min(u32::from(mtus.ipv4) + 20).max(MIN)
}

/// The MTU of a fragmentation needed message made of packet too big (RFC 7915 5.2). Packets that become IPv6
/// fragments grow by 28 bytes instead of 20: their sender must be told so, or it overshoots by 8 for ever.
#[must_use]
pub fn mtu_v6_to_v4(reported: u32, quoted_fragment: bool, mtus: Mtus) -> u16 {
    const MIN: u16 = crate::wire::ipv4::MIN_MTU;
    let growth = if quoted_fragment { 28 } else { 20 };
    let path = reported.min(u32::from(mtus.ipv6)).saturating_sub(growth);
    u16::try_from(path).unwrap_or(u16::MAX).min(mtus.ipv4).max(MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTUS: Mtus = Mtus { ipv6: 1500, ipv4: 1500 };

    #[test]
    fn packet_too_big_from_fragmentation_needed() {
        let plateaus = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];
        for (reported, total_length, mtus, expected) in [
            (1400, 1500, MTUS, 1420),
            (1500, 1600, MTUS, 1500),
            (8000, 8528, Mtus { ipv6: 9000, ipv4: 1500 }, 1520),
            (1260, 1500, MTUS, 1280),
            (68, 1500, MTUS, 1280),
            (0, 1400, MTUS, 1280),
            (0, 1492, MTUS, 1280),
            (0, 1493, Mtus { ipv6: 1520, ipv4: 1500 }, 1512),
        ] {
            assert_eq!(
                mtu_v4_to_v6(reported, total_length, mtus, &plateaus),
                expected,
                "{reported} {total_length}"
            );
        }
    }

    #[test]
    fn fragmentation_needed_from_packet_too_big() {
        for (reported, fragment, mtus, expected) in [
            (1400, false, MTUS, 1380),
            (1400, true, MTUS, 1372),
            (9000, false, MTUS, 1480),
            (9000, false, Mtus { ipv6: 1500, ipv4: 1400 }, 1400),
            (u32::MAX, false, Mtus { ipv6: 9000, ipv4: 9000 }, 8980),
            (0, false, MTUS, 68),
        ] {
            assert_eq!(mtu_v6_to_v4(reported, fragment, mtus), expected, "{reported}");
        }
    }

    #[test]
    fn unlisted_messages_have_no_translation() {
        for kind in 0..=255_u8 {
            for code in 0..=255_u8 {
                let header = [kind, code, 0, 0, 0, 0, 0, 0];
                let listed = match kind {
                    3 => code <= 13 && code != 14 || code == 15,
                    11 => true,
                    12 => code == 0 || code == 2,
                    _ => false,
                };
                assert_eq!(error_v4_to_v6(&header).is_some(), listed, "ICMPv4 {kind}/{code}");
                let listed = match kind {
                    1 => code <= 4,
                    2 | 3 => true,
                    4 => code <= 1,
                    _ => false,
                };
                assert_eq!(error_v6_to_v4(&header).is_some(), listed, "ICMPv6 {kind}/{code}");
            }
        }
    }
}
