//! Prefixes from text, and the address ranges a translator must know.

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::table::special;
use ipnet::{Ipv4Net, Ipv6Net};

use super::error::{Family, ProblemKind};

/// The Well-Known Prefix (RFC 6052 section 2.1).
pub(super) const WELL_KNOWN_PREFIX: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

/// Deprecated by RFC 4291, and no place for a host; its first addresses are never forwarded in any case.
const COMPATIBLE6: Ipv6Net = v6([0, 0, 0, 0, 0, 0, 0, 0], 96);

/// What reverse-path filters drop on the Internet (RFC 1918, RFC 6598).
const PRIVATE4: &[Ipv4Net] =
    &[v4([10, 0, 0, 0], 8), v4([172, 16, 0, 0], 12), v4([192, 168, 0, 0], 16), v4([100, 64, 0, 0], 10)];

const fn v4(octets: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]), length)
}

const fn v6(words: [u16; 8], length: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = words;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), length)
}

/// An IPv4 prefix; a bare address is a /32 (RFC 7757 section 3.2).
pub(super) fn ipv4_prefix(text: &str) -> Result<Ipv4Net, ProblemKind> {
    let (address, length) = split(text);
    let Ok(address) = address.parse::<Ipv4Addr>() else {
        return Err(wrong_address(address.parse::<Ipv6Addr>().is_ok(), Family::Ipv4));
    };
    let length = prefix_length(length, 32, Family::Ipv4)?;
    let net = Ipv4Net::new(address, length).map_err(|_| ProblemKind::PrefixLength { max: 32 })?;
    if net.addr() == net.network() {
        Ok(net)
    } else {
        Err(ProblemKind::HostBits { masked: net.trunc().into() })
    }
}

/// An IPv6 prefix; a bare address is a /128 (RFC 7757 section 3.2).
pub(super) fn ipv6_prefix(text: &str) -> Result<Ipv6Net, ProblemKind> {
    let (address, length) = split(text);
    let Some(address) = plain_ipv6(address).or_else(|| address.parse().ok()) else {
        return Err(wrong_address(address.parse::<Ipv4Addr>().is_ok(), Family::Ipv6));
    };
    let length = prefix_length(length, 128, Family::Ipv6)?;
    let net = Ipv6Net::new(address, length).map_err(|_| ProblemKind::PrefixLength { max: 128 })?;
    if net.addr() == net.network() {
        Ok(net)
    } else {
        Err(ProblemKind::HostBits { masked: net.trunc().into() })
    }
}

/// An IPv6 address of hexadecimal groups and at most one `::`. The standard parser looks for an IPv4 address before
/// every group, which a table of a million rows feels; what is not of this form is left to it.
fn plain_ipv6(text: &str) -> Option<Ipv6Addr> {
    let is_half_open =
        (text.starts_with(':') && !text.starts_with("::")) || (text.ends_with(':') && !text.ends_with("::"));
    if is_half_open {
        return None;
    }
    let mut groups = [0_u16; 8];
    let (mut count, mut gap) = (0, None);
    let (mut group, mut digits) = (0, 0);
    for (at, byte) in text.bytes().enumerate() {
        if let Some(value) = HEX[usize::from(byte)] {
            (group, digits) = (group << 4 | u16::from(value), digits + 1);
        } else if byte != b':' || digits > 4 {
            return None;
        } else if digits > 0 {
            *groups.get_mut(count)? = group;
            (count, group, digits) = (count + 1, 0, 0);
        } else if at > 0 && gap.replace(count).is_some() {
            return None;
        }
    }
    if digits > 4 {
        return None;
    }
    if digits > 0 {
        *groups.get_mut(count)? = group;
        count += 1;
    }
    // What follows the gap belongs to the end; a gap stands for one group at least.
    match (gap, 8 - count) {
        (None, 0) => {}
        (Some(before), zeros @ 1..) => groups[before..].rotate_right(zeros),
        _ => return None,
    }
    Some(groups.into())
}

/// The value of each hexadecimal digit.
const HEX: [Option<u8>; 256] = {
    let mut values = [None; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = Some(value);
        values[b"0123456789ABCDEF"[value as usize] as usize] = Some(value);
        value += 1;
    }
    values
};

fn split(text: &str) -> (&str, Option<&str>) {
    // Faster than split_once on texts as short as these.
    match text.bytes().position(|byte| byte == b'/') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn wrong_address(is_other_family: bool, family: Family) -> ProblemKind {
    if is_other_family { ProblemKind::WrongFamily { family } } else { ProblemKind::NotAPrefix { family } }
}

fn prefix_length(text: Option<&str>, max: u8, family: Family) -> Result<u8, ProblemKind> {
    match text {
        None => Ok(max),
        Some(digits) if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(ProblemKind::NotAPrefix { family })
        }
        Some(digits) => match digits.parse() {
            Ok(length) if length <= max => Ok(length),
            _ => Err(ProblemKind::PrefixLength { max }),
        },
    }
}

/// The name of the range a prefix lies in, if nothing in it may ever be translated.
pub(super) fn not_unicast4(net: Ipv4Net) -> Option<&'static str> {
    special::never_forwarded_block(net)
}

/// The name of a range that is never translated and lies in a prefix that is larger.
pub(super) fn partly_never_forwarded(net: Ipv4Net) -> Option<&'static str> {
    special::never_forwarded_part(net)
}

/// [`not_unicast4`] for IPv6.
pub(super) fn not_unicast6(net: Ipv6Net) -> Option<&'static str> {
    if COMPATIBLE6.contains(&net) {
        return Some("unspecified, loopback and IPv4-compatible (::/96)");
    }
    special::never_forwarded_block_ipv6(net)
}

/// The name of a range that is never translated and that one of the two prefixes goes beyond.
pub(super) fn partly_unicast(ipv4: Ipv4Net, ipv6: Ipv6Net) -> Option<&'static str> {
    special::never_forwarded_part(ipv4).or_else(|| special::never_forwarded_part_ipv6(ipv6))
}

/// Whether a prefix has private addresses in it.
pub(super) fn touches_private(net: Ipv4Net) -> bool {
    PRIVATE4.iter().any(|range| overlap4(*range, net))
}

/// Whether two prefixes share an address: then one contains the other.
pub(super) fn overlap4(left: Ipv4Net, right: Ipv4Net) -> bool {
    left.contains(&right) || right.contains(&left)
}

/// Whether an RFC 6052 prefix leaves transport checksums as they are (RFC 6052 section 4.1): its own 16-bit one's
/// complement sum is zero, and its length puts the IPv4 octets on 16-bit boundaries, which only /32 and /96 do.
pub(super) fn is_checksum_neutral(prefix: Ipv6Net) -> bool {
    let mut sum: u32 = prefix.network().segments().iter().map(|word| u32::from(*word)).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    matches!(prefix.prefix_len(), 32 | 96) && matches!(sum, 0 | 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_address_is_a_host_prefix() {
        assert_eq!(ipv4_prefix("192.0.2.1"), Ok("192.0.2.1/32".parse().unwrap()));
        assert_eq!(ipv6_prefix("2001:db8::1"), Ok("2001:db8::1/128".parse().unwrap()));
        assert_eq!(ipv6_prefix("2001:db8:46::192.0.2.1"), Ok("2001:db8:46::c000:201/128".parse().unwrap()));
        assert_eq!(ipv4_prefix("0.0.0.0/0"), Ok("0.0.0.0/0".parse().unwrap()));
    }

    #[test]
    fn ipv6_addresses_are_read_as_the_standard_library_reads_them() {
        for text in [
            "",
            ":",
            "::",
            ":::",
            "1",
            "1:",
            "::1",
            "1::",
            ":1",
            "1::2::3",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1::3:4:5:6:7:8",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7:8::",
            "::1:2:3:4:5:6:7:8",
            "abcd::EF",
            "12345::",
            "g::",
            "1::2:",
            "1: :2",
            "2001:db8::192.0.2.1",
            "::ffff:1.2.3.4",
            "1:2:3:4:5:6:7:1.2.3.4",
            "::1%1",
            "+1::",
        ] {
            let standard = text.parse::<Ipv6Addr>().ok();
            assert_eq!(plain_ipv6(text).or_else(|| text.parse().ok()), standard, "{text:?}");
            assert!(text.contains('.') || plain_ipv6(text) == standard, "{text:?} is of the plain form");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_the_address_the_standard_library_sees(text in "[0-9a-fA-F:.]{0,40}") {
            let plain = plain_ipv6(&text);
            proptest::prop_assert!(plain.is_none() || plain == text.parse().ok());
        }

        #[test]
        fn any_address_is_read_in_its_usual_form(bits: u128, zeros: u128) {
            let address = Ipv6Addr::from(bits & zeros);
            proptest::prop_assert_eq!(ipv6_prefix(&address.to_string()).map(|net| net.addr()), Ok(address));
            proptest::prop_assert_eq!(plain_ipv6(&address.to_string()), Some(address));
        }
    }

    #[test]
    fn prefix_lengths_are_plain_numbers() {
        for text in ["192.0.2.0/", "192.0.2.0/+24", "192.0.2.0/ 24", "192.0.2.0/24/1", "192.0.2.0/x"] {
            assert_eq!(ipv4_prefix(text), Err(ProblemKind::NotAPrefix { family: Family::Ipv4 }), "{text}");
        }
        assert_eq!(ipv4_prefix("192.0.2.0/33"), Err(ProblemKind::PrefixLength { max: 32 }));
        assert_eq!(ipv6_prefix("::/99999999999"), Err(ProblemKind::PrefixLength { max: 128 }));
    }

    /// RFC 6052 section 4.2: 0064 + ff9b = ffff.
    #[test]
    fn the_well_known_prefix_is_checksum_neutral() {
        assert!(is_checksum_neutral(WELL_KNOWN_PREFIX));
        // 2001 + 0db8 + d246 = ffff.
        assert!(is_checksum_neutral("2001:db8:d246::/96".parse().unwrap()));
        assert!(!is_checksum_neutral("2001:db8:46::/96".parse().unwrap()));
        assert!(!is_checksum_neutral("64:ff9b::/48".parse().unwrap()));
    }
}
