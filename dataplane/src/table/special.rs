//! Special-purpose addresses: the one list of what is never forwarded, after the registry of RFC 6890.
//!
//! The registry says of every block whether its addresses may be the source or the destination of a packet that
//! crosses a router. A translator asks that of each address it meets: the outer ones, those embedded in a
//! translation prefix, those of a quoted packet, and those an operator configures.
//!
//! Left out on purpose: the documentation blocks (192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32), which
//! laboratories and examples live on and which harm nobody, and 2001::/23, whose forwardable parts are still being
//! handed out. Private and shared addresses may be forwarded, only not to the Internet; `denylist` is for them.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// The IPv4 dummy address: the source of ICMPv4 errors of a router that has no IPv4 address (RFC 7600,
/// draft-ietf-v6ops-icmpext-xlat-v6only-source). A source like any other, never a destination.
pub const DUMMY_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Blocks of which something is never forwarded, with their names. In 192.0.0.0/24 not everything is:
/// [`never_source_ipv4`] and [`never_destination_ipv4`] know.
pub const BLOCKS_IPV4: [(Ipv4Net, &str); 6] = [
    (ipv4([0, 0, 0, 0], 8), "\"this network\" (0.0.0.0/8)"),
    (ipv4([127, 0, 0, 0], 8), "loopback (127.0.0.0/8)"),
    (ipv4([169, 254, 0, 0], 16), "link-local (169.254.0.0/16)"),
    (ipv4([192, 0, 0, 0], 24), "protocol assignment (192.0.0.0/24)"),
    (ipv4([224, 0, 0, 0], 4), "multicast (224.0.0.0/4)"),
    (ipv4([240, 0, 0, 0], 4), "reserved (240.0.0.0/4)"),
];

/// The same for IPv6, all of each block.
pub const BLOCKS_IPV6: [(Ipv6Net, &str); 6] = [
    (ipv6([0, 0, 0, 0, 0, 0, 0, 0], 128), "unspecified (::/128)"),
    (ipv6([0, 0, 0, 0, 0, 0, 0, 1], 128), "loopback (::1/128)"),
    (ipv6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), "IPv4-mapped (::ffff:0:0/96)"),
    (ipv6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28), "ORCHID (2001:10::/28)"),
    (ipv6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local (fe80::/10)"),
    (ipv6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast (ff00::/8)"),
];

const fn ipv4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn ipv6([a, b, c, d, e, f, g, h]: [u16; 8], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), length)
}

/// Whether no packet that crosses a router may come from `address`.
#[inline]
#[must_use]
pub const fn never_source_ipv4(address: Ipv4Addr) -> bool {
    never_ipv4(address) && address.to_bits() != DUMMY_IPV4.to_bits()
}

/// Whether no packet that crosses a router may go to `address`. Multicast among them: it has its own ways.
#[inline]
#[must_use]
pub const fn never_destination_ipv4(address: Ipv4Addr) -> bool {
    never_ipv4(address)
}

const fn never_ipv4(address: Ipv4Addr) -> bool {
    match address.octets() {
        [0 | 127 | 224.., ..] | [169, 254, ..] => true,
        // Service continuity (RFC 7335), PCP and TURN anycast (RFC 7723, RFC 8155).
        [192, 0, 0, 0..=7 | 9 | 10] => false,
        [192, 0, 0, _] => true,
        _ => false,
    }
}

/// Whether `address` is no host's anywhere (RFC 1812 5.3.7): what not even the source of an ICMP error may become.
#[inline]
#[must_use]
pub const fn is_martian_ipv4(address: Ipv4Addr) -> bool {
    matches!(address.octets()[0], 0 | 127 | 224..)
}

/// Whether no packet that crosses a router may come from `address` or go to it.
#[inline]
#[must_use]
pub const fn never_forwarded_ipv6(address: Ipv6Addr) -> bool {
    let bits = address.to_bits();
    bits <= 1
        || bits >> 32 == 0xffff
        || bits >> 100 == 0x200_1001
        || address.is_unicast_link_local()
        || address.is_multicast()
}

/// The name of the block `network` lies in, if no address in it may ever be translated.
#[must_use]
pub fn never_forwarded_block(network: Ipv4Net) -> Option<&'static str> {
    let (block, name) = BLOCKS_IPV4.iter().find(|(block, _)| block.contains(&network))?;
    let assignments = block.network().octets() == [192, 0, 0, 0];
    // Of the small block every address is asked; an empty answer for one is enough.
    let free = assignments && network.hosts().any(|address| !never_destination_ipv4(address));
    (!free).then_some(*name)
}

/// The same for IPv6.
#[must_use]
pub fn never_forwarded_block_ipv6(network: Ipv6Net) -> Option<&'static str> {
    BLOCKS_IPV6.iter().find(|(block, _)| block.contains(&network)).map(|(_, name)| *name)
}

/// The name of a block that `network` has in it and that is never forwarded, if it has more than that in it.
#[must_use]
pub fn never_forwarded_part(network: Ipv4Net) -> Option<&'static str> {
    let is_part = |block: &Ipv4Net| block.prefix_len() > network.prefix_len() && network.contains(block);
    BLOCKS_IPV4.iter().find(|(block, _)| is_part(block)).map(|(_, name)| *name)
}

/// The same for IPv6.
#[must_use]
pub fn never_forwarded_part_ipv6(network: Ipv6Net) -> Option<&'static str> {
    let is_part = |block: &Ipv6Net| block.prefix_len() > network.prefix_len() && network.contains(block);
    BLOCKS_IPV6.iter().find(|(block, _)| is_part(block)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_of_every_ipv4_block() {
        for (address, source, destination) in [
            ("0.0.0.0", true, true),
            ("0.255.255.255", true, true),
            ("1.0.0.0", false, false),
            ("10.0.0.1", false, false),
            ("100.64.0.1", false, false),
            ("126.255.255.255", false, false),
            ("127.0.0.0", true, true),
            ("128.0.0.0", false, false),
            ("169.253.255.255", false, false),
            ("169.254.0.0", true, true),
            ("169.254.169.254", true, true),
            ("169.254.255.255", true, true),
            ("169.255.0.0", false, false),
            ("192.0.0.0", false, false),
            ("192.0.0.7", false, false),
            ("192.0.0.8", false, true),
            ("192.0.0.9", false, false),
            ("192.0.0.10", false, false),
            ("192.0.0.11", true, true),
            ("192.0.0.170", true, true),
            ("192.0.0.255", true, true),
            ("192.0.1.0", false, false),
            ("192.0.2.1", false, false),
            ("192.168.0.1", false, false),
            ("198.18.0.1", false, false),
            ("223.255.255.255", false, false),
            ("224.0.0.1", true, true),
            ("240.0.0.1", true, true),
            ("255.255.255.255", true, true),
        ] {
            let parsed = address.parse().unwrap();
            assert_eq!(never_source_ipv4(parsed), source, "from {address}");
            assert_eq!(never_destination_ipv4(parsed), destination, "to {address}");
            let in_block = BLOCKS_IPV4.iter().any(|(block, _)| block.contains(&parsed));
            assert!(in_block || !destination, "{address} is in no block");
        }
    }

    #[test]
    fn the_edges_of_every_ipv6_block() {
        for (block, name) in BLOCKS_IPV6 {
            let (first, last) = (block.network().to_bits(), block.broadcast().to_bits());
            assert!(never_forwarded_ipv6(Ipv6Addr::from_bits(first)), "{name}");
            assert!(never_forwarded_ipv6(Ipv6Addr::from_bits(last)), "{name}");
            let beside = [first.checked_sub(1), last.checked_add(1)];
            for address in beside.into_iter().flatten().map(Ipv6Addr::from_bits) {
                let elsewhere = BLOCKS_IPV6.iter().any(|(block, _)| block.contains(&address));
                assert_eq!(never_forwarded_ipv6(address), elsewhere, "{address} beside {name}");
            }
        }
    }

    #[test]
    fn networks_that_hold_something_else_as_well_are_no_fault() {
        for (network, refused) in [
            ("0.0.0.0/0", false),
            ("168.0.0.0/7", false),
            ("169.254.0.0/16", true),
            ("169.254.169.254/32", true),
            ("192.0.0.0/16", false),
            ("192.0.0.0/24", false),
            ("192.0.0.0/29", false),
            ("192.0.0.8/32", true),
            ("192.0.0.9/32", false),
            ("192.0.0.128/25", true),
            ("127.0.0.1/32", true),
            ("224.0.0.0/4", true),
        ] {
            assert_eq!(never_forwarded_block(network.parse().unwrap()).is_some(), refused, "{network}");
        }
    }
}
