//! IP protocol and next header numbers the relay tells apart.

/// IPv6 Hop-by-Hop Options (an IPv4 protocol number nobody uses).
pub const HOP_BY_HOP: u8 = 0;
/// ICMPv4.
pub const ICMPV4: u8 = 1;
/// IGMP.
pub const IGMP: u8 = 2;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// IPv6 Routing header.
pub const ROUTING: u8 = 43;
/// IPv6 Fragment header.
pub const FRAGMENT: u8 = 44;
/// Authentication Header.
pub const AUTHENTICATION: u8 = 51;
/// ICMPv6.
pub const ICMPV6: u8 = 58;
/// IPv6 Destination Options.
pub const DESTINATION_OPTIONS: u8 = 60;

/// IPv6 Mobility header.
pub const MOBILITY: u8 = 135;
/// Host Identity Protocol.
pub const HOST_IDENTITY: u8 = 139;
/// Shim6.
pub const SHIM6: u8 = 140;

/// Offset of the checksum in a TCP header.
pub const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in a UDP header.
pub const UDP_CHECKSUM: usize = 6;
/// Length of a UDP header.
pub const UDP_HEADER: usize = 8;

/// IPv4 protocol numbers that name an IPv6 extension header or ICMPv6 when copied into a Next Header field.
#[must_use]
pub const fn is_guarded_from_ipv4(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | ICMPV6 | DESTINATION_OPTIONS)
}

/// IPv6 next headers that name the control protocols of IPv4, ICMP and IGMP, when copied into a Protocol field.
#[must_use]
pub const fn is_guarded_from_ipv6(next_header: u8) -> bool {
    matches!(next_header, ICMPV4 | IGMP)
}

/// Next header values that are IPv6 extension headers (IANA), ESP excepted: it looks like any payload.
#[must_use]
pub const fn is_ipv6_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        HOP_BY_HOP
            | ROUTING
            | FRAGMENT
            | AUTHENTICATION
            | DESTINATION_OPTIONS
            | MOBILITY
            | HOST_IDENTITY
            | SHIM6
    )
}
