//! ICMPv4 (RFC 792) and ICMPv6 (RFC 4443) numbers, and the RFC 4884 extension structure both may carry.
//!
//! ```text
//!  0       1       2       4       5       6       8
//!  +-------+-------+-------+-------+-------+-------+----------------------+-----------
//!  | type  | code  | cksum | 0     | length| mtu   | original datagram    | extension     ICMPv4
//!  | type  | code  | cksum | length| 0             | original datagram    | extension     ICMPv6
//!  +-------+-------+-------+-------+-------+-------+----------------------+-----------
//! ```
//!
//! The length attribute counts the original datagram in 32-bit words (ICMPv4) or 64-bit words (ICMPv6).

use std::net::Ipv6Addr;

use super::checksum::Sum;

/// Length of the header of every message the relay handles.
pub const HEADER: usize = 8;
/// Shortest original datagram in a message with an extension structure (RFC 4884 3).
pub const MIN_EXTENDED_QUOTE: usize = 128;

/// ICMPv4 message types.
pub mod v4 {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Source quench (deprecated).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;

    /// Unreachable code: network.
    pub const NETWORK: u8 = 0;
    /// Unreachable code: host.
    pub const HOST: u8 = 1;
    /// Unreachable code: protocol.
    pub const PROTOCOL: u8 = 2;
    /// Unreachable code: port.
    pub const PORT: u8 = 3;
    /// Unreachable code: fragmentation needed and DF set.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Unreachable code: source route failed.
    pub const SOURCE_ROUTE_FAILED: u8 = 5;
    /// Unreachable code: communication with the host administratively prohibited.
    pub const HOST_PROHIBITED: u8 = 10;
    /// Unreachable code: communication administratively prohibited.
    pub const PROHIBITED: u8 = 13;

    /// Whether a message reports an error, so that no error may be sent about it (RFC 1812 4.3.2.7).
    #[must_use]
    pub const fn is_error(kind: u8) -> bool {
        matches!(kind, UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
    }
}

/// ICMPv6 message types.
pub mod v6 {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Redirect.
    pub const REDIRECT: u8 = 137;

    /// Unreachable code: no route.
    pub const NO_ROUTE: u8 = 0;
    /// Unreachable code: administratively prohibited.
    pub const PROHIBITED: u8 = 1;
    /// Unreachable code: address.
    pub const ADDRESS: u8 = 3;
    /// Unreachable code: port.
    pub const PORT: u8 = 4;
    /// Parameter problem code: erroneous header field.
    pub const ERRONEOUS_FIELD: u8 = 0;
    /// Parameter problem code: unrecognized next header.
    pub const UNRECOGNIZED_NEXT_HEADER: u8 = 1;

    /// Whether a message is an error by its type (RFC 4443 2.1).
    #[must_use]
    pub const fn is_error(kind: u8) -> bool {
        kind < 128
    }
}

/// Length of [`interface_information`].
pub const INTERFACE_INFORMATION: usize = 28;

/// An extension structure with one RFC 5837 interface information object that names the IPv6 address a
/// translated ICMP error came from (RFC 6791 4): role 0, IP address sub-object, AFI 2.
#[must_use]
pub fn interface_information(source: Ipv6Addr) -> [u8; INTERFACE_INFORMATION] {
    let mut bytes = [0; INTERFACE_INFORMATION];
    bytes[0] = 0x20;
    bytes[4..8].copy_from_slice(&[0x00, 0x18, 0x02, 0x04]);
    bytes[8..12].copy_from_slice(&[0x00, 0x02, 0x00, 0x00]);
    bytes[12..28].copy_from_slice(&source.octets());
    let checksum = Sum::of(&bytes).checksum();
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_information_is_the_object_of_rfc_6791() {
        let bytes = interface_information("2001:db8::1".parse().unwrap());
        assert_eq!(Sum::of(&bytes).fold(), 0xffff, "checksum covers the whole structure");
        assert_eq!(bytes[0], 0x20);
        assert_eq!(bytes[4..16], [0x00, 0x18, 0x02, 0x04, 0x00, 0x02, 0x00, 0x00, 0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!(bytes[27], 1);
    }
}
