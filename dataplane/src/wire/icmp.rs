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

/// Length of the header of an extension structure.
pub const EXTENSION_HEADER: usize = 4;
/// Length of a [`NamingObject`].
pub const NAMING_OBJECT: usize = 24;

/// The object of an extension structure that names the IPv6 address a translated ICMP error came from.
///
/// ```text
///  0               2       3       4               6               8                24
///  +---------------+-------+-------+---------------+---------------+----------------+
///  | length: 24    | class | type  | AFI: 2        | reserved      | IPv6 address   |
///  +---------------+-------+-------+---------------+---------------+----------------+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamingObject {
    /// Interface Information (RFC 5837), as RFC 6791 4 wants it: class 2, role 0, with an IP address.
    InterfaceInformation(Ipv6Addr),
    /// Node Identification (draft-ietf-intarea-extended-icmp-nodeid): class 5, with an IP address.
    NodeIdentification(Ipv6Addr),
}

impl NamingObject {
    /// The object's bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; NAMING_OBJECT] {
        /// The C-Type of both objects has this bit for an IP address sub-object.
        const WITH_ADDRESS: u8 = 0x04;
        let (class, source) = match self {
            Self::InterfaceInformation(source) => (2, source),
            Self::NodeIdentification(source) => (5, source),
        };
        let mut bytes = [0; NAMING_OBJECT];
        bytes[..8].copy_from_slice(&[0x00, 0x18, class, WITH_ADDRESS, 0x00, 0x02, 0x00, 0x00]);
        bytes[8..].copy_from_slice(&source.octets());
        bytes
    }

    /// An extension structure with nothing but this object.
    #[must_use]
    pub fn structure(&self) -> [u8; EXTENSION_HEADER + NAMING_OBJECT] {
        let mut bytes = [0; EXTENSION_HEADER + NAMING_OBJECT];
        bytes[0] = EXTENSION_VERSION << 4;
        bytes[EXTENSION_HEADER..].copy_from_slice(&self.bytes());
        let checksum = Sum::of(&bytes).checksum();
        bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

const EXTENSION_VERSION: u8 = 2;

/// Whether `bytes` are an extension structure (RFC 4884 7): version 2, and a checksum that is right, or zero for none.
#[must_use]
pub fn is_extension(bytes: &[u8]) -> bool {
    bytes.len() >= EXTENSION_HEADER
        && bytes[0] >> 4 == EXTENSION_VERSION
        && (bytes[2..4] == [0, 0] || Sum::of(bytes).fold() == 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naming_objects_are_those_of_rfc_5837_and_of_the_draft() {
        let source = "2001:db8::1".parse().unwrap();
        for (object, class) in
            [(NamingObject::InterfaceInformation(source), 2), (NamingObject::NodeIdentification(source), 5)]
        {
            let bytes = object.structure();
            assert_eq!(Sum::of(&bytes).fold(), 0xffff, "the checksum covers the whole structure");
            assert_eq!(bytes[..2], [0x20, 0]);
            assert_eq!(bytes[4..16], [0, 24, class, 0x04, 0, 2, 0, 0, 0x20, 0x01, 0x0d, 0xb8]);
            assert_eq!(bytes[27], 1);
            assert!(is_extension(&bytes));
        }
    }

    #[test]
    fn an_extension_has_version_2_and_a_right_or_no_checksum() {
        let good = NamingObject::NodeIdentification("2001:db8::1".parse().unwrap()).structure();
        let with = |at: usize, value: u8| {
            let mut bytes = good;
            bytes[at] = value;
            bytes
        };
        assert!(!is_extension(&with(0, 0x10)), "version 1");
        assert!(!is_extension(&with(27, 2)), "wrong checksum");
        let mut unsummed = with(2, 0);
        unsummed[3] = 0;
        assert!(is_extension(&unsummed), "no checksum");
        assert!(!is_extension(&good[..3]));
    }
}
