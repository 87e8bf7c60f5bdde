//! Which packets a capture is about: a formula over what is known of a packet once it has ended.
//!
//! Enters: both sides of a packet, as received and as sent, with its verdict. Leaves: yes or no. A test of addresses, protocols
//! or ports says yes when either side passes it, so a filter need not know how a packet is translated. No allocation; the
//! time is bounded by [`MOST_NODES`]. What writes filters down is none of this module's business.

use std::net::IpAddr;

use arrayvec::ArrayVec;
use ipnet::IpNet;

use crate::table::routing::PortId;
use crate::verdict::{DropReason, PuntReason};
use crate::wire::{ethernet, protocol};

/// Tests and connectives of a filter at most.
pub const MOST_NODES: usize = 64;
/// Tags that are looked behind.
const TAGS: usize = 2;
/// Extension headers that are looked behind.
const EXTENSIONS: usize = 8;

/// Which end of a packet a test is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The source.
    Source,
    /// The destination.
    Destination,
    /// Either.
    Either,
}

/// What became of a packet, in the words of `translate`'s report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Translated.
    Translated,
    /// Translated there and back.
    Hairpinned,
    /// Routed as it is.
    Native,
    /// Refused with an ICMP error.
    IcmpError(DropReason),
    /// Refused silently.
    Dropped(DropReason),
    /// The kernel's.
    Punted(PuntReason),
}

impl Fate {
    /// The verdict's name.
    #[must_use]
    pub const fn verdict(self) -> &'static str {
        match self {
            Self::Translated => "translated",
            Self::Hairpinned => "hairpinned",
            Self::Native => "native",
            Self::IcmpError(_) => "icmp_error",
            Self::Dropped(_) => "dropped",
            Self::Punted(_) => "punted",
        }
    }

    /// The reason's name, if there is one.
    #[must_use]
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Translated | Self::Hairpinned | Self::Native => None,
            Self::IcmpError(reason) | Self::Dropped(reason) => Some(reason.name()),
            Self::Punted(reason) => Some(reason.name()),
        }
    }
}

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// An address in the network.
    Net(End, IpNet),
    /// A TCP, UDP, SCTP or DCCP port between the two, both included.
    Ports(End, u16, u16),
    /// The protocol an IP packet carries, behind IPv6 extension headers.
    Protocol(u8),
    /// ICMP of either family.
    Icmp,
    /// An IP packet of version 4 or 6, on either side.
    Version(u8),
    /// Received in that version: the direction of translation.
    ReceivedAs(u8),
    /// Received on the port.
    In(PortId),
    /// Sent by the port.
    Out(PortId),
    /// Became that; reasons do not matter.
    Verdict(&'static str),
    /// Dropped or answered for the reason.
    Dropped(DropReason),
    /// Punted for the reason.
    Punted(PuntReason),
}

/// A part of a filter. Numbers are places of parts before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A question.
    Test(Test),
    /// The other way round.
    Not(u8),
    /// Both.
    And(u8, u8),
    /// One at least.
    Or(u8, u8),
}

/// A formula; without parts, every packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter(ArrayVec<Node, MOST_NODES>);

/// There are more parts than a filter can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MOST_NODES} parts")]
pub struct TooLong;

impl Filter {
    /// Adds a part, which is the whole formula unless others follow; returns its place.
    ///
    /// # Errors
    /// [`TooLong`].
    ///
    /// # Panics
    /// When it names a part that is not there: a mistake of the caller.
    pub fn push(&mut self, node: Node) -> Result<u8, TooLong> {
        let is_there = |place: u8| usize::from(place) < self.0.len();
        assert!(match node {
            Node::Test(_) => true,
            Node::Not(one) => is_there(one),
            Node::And(one, other) | Node::Or(one, other) => is_there(one) && is_there(other),
        });
        self.0.try_push(node).map_err(|_| TooLong)?;
        u8::try_from(self.0.len() - 1).map_err(|_| TooLong)
    }

    /// Its parts; the last one is the whole.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.0
    }

    /// Whether a packet is wanted.
    #[must_use]
    pub fn matches(&self, seen: &Seen) -> bool {
        // Every part once, in order: what a part names comes before it.
        let mut answers = [true; MOST_NODES];
        for (place, node) in self.0.iter().enumerate() {
            answers[place] = match *node {
                Node::Test(test) => seen.passes(test),
                Node::Not(one) => !answers[usize::from(one)],
                Node::And(one, other) => answers[usize::from(one)] && answers[usize::from(other)],
                Node::Or(one, other) => answers[usize::from(one)] || answers[usize::from(other)],
            };
        }
        self.0.is_empty() || answers[self.0.len() - 1]
    }
}

/// What is known of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// As received.
    pub before: Side,
    /// As sent; nothing of what was not.
    pub after: Side,
    /// The port it was received on.
    pub port: PortId,
    /// The port it was sent by.
    pub out: Option<PortId>,
    /// What became of it.
    pub fate: Fate,
}

impl Seen {
    fn passes(&self, test: Test) -> bool {
        let either = |asked: &dyn Fn(&Side) -> bool| asked(&self.before) || asked(&self.after);
        match test {
            Test::Net(end, net) => either(&|side| side.is_in(end, net)),
            Test::Ports(end, first, last) => either(&|side| side.has_port(end, first, last)),
            Test::Protocol(number) => either(&|side| side.version != 0 && side.protocol == number),
            Test::Icmp => either(&Side::is_icmp),
            Test::Version(version) => either(&|side| side.version == version),
            Test::ReceivedAs(version) => self.before.version == version,
            Test::In(port) => self.port == port,
            Test::Out(port) => self.out == Some(port),
            Test::Verdict(name) => self.fate.verdict() == name,
            Test::Dropped(reason) => {
                matches!(self.fate, Fate::Dropped(why) | Fate::IcmpError(why) if why == reason)
            }
            Test::Punted(reason) => self.fate == Fate::Punted(reason),
        }
    }
}

/// The fields of one side of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Side {
    /// 4, 6, or 0 for what is no IP packet.
    version: u8,
    addresses: Option<(IpAddr, IpAddr)>,
    protocol: u8,
    ports: Option<(u16, u16)>,
}

impl Side {
    /// Of a frame that begins with its Ethernet header. Whatever is cut or broken has fewer fields.
    #[must_use]
    pub fn of_frame(frame: &[u8]) -> Self {
        packet_of(frame).and_then(Self::of_packet).unwrap_or_default()
    }

    fn of_packet(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::of_ipv4(packet),
            6 => Self::of_ipv6(packet),
            _ => None,
        }
    }

    fn of_ipv4(packet: &[u8]) -> Option<Self> {
        let header: &[u8; 20] = packet.first_chunk()?;
        let address = |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let is_first = header[6] & 0x1f == 0 && header[7] == 0;
        let payload = packet.get(usize::from(header[0] & 0xf) * 4..).filter(|_| is_first);
        Some(Self::new(4, (address(12), address(16)), header[9], payload))
    }

    fn of_ipv6(packet: &[u8]) -> Option<Self> {
        let header: &[u8; 40] = packet.first_chunk()?;
        let address = |at: usize| header[at..].first_chunk::<16>().map(|octets| IpAddr::from(*octets));
        let addresses = (address(8)?, address(24)?);
        let (mut next, mut at, mut is_first) = (header[6], header.len(), true);
        for _ in 0..EXTENSIONS {
            let Some(extension) = packet.get(at..at + 8) else { break };
            match next {
                0 | 43 | 60 => at += usize::from(extension[1]) * 8 + 8,
                44 => {
                    is_first = extension[2] == 0 && extension[3] & 0xf8 == 0;
                    at += 8;
                }
                _ => break,
            }
            next = extension[0];
        }
        Some(Self::new(6, addresses, next, packet.get(at..).filter(|_| is_first)))
    }

    fn new(version: u8, addresses: (IpAddr, IpAddr), protocol: u8, payload: Option<&[u8]>) -> Self {
        // TCP, UDP, DCCP and SCTP begin with both ports.
        let has_ports = matches!(protocol, 6 | 17 | 33 | 132);
        let ports = payload.filter(|_| has_ports).and_then(|payload| payload.first_chunk::<4>());
        let ports = ports.map(|[a, b, c, d]| (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])));
        Self { version, addresses: Some(addresses), protocol, ports }
    }

    /// 4, 6, or 0 for what is no IP packet.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// Source and destination, of an IP packet.
    #[must_use]
    pub const fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        self.addresses
    }

    fn is_icmp(&self) -> bool {
        (self.version == 4 && self.protocol == protocol::ICMPV4)
            || (self.version == 6 && self.protocol == protocol::ICMPV6)
    }

    fn is_in(&self, end: End, net: IpNet) -> bool {
        self.addresses.is_some_and(|addresses| of_end(end, addresses, |address| net.contains(&address)))
    }

    fn has_port(&self, end: End, first: u16, last: u16) -> bool {
        self.ports.is_some_and(|ports| of_end(end, ports, |port| (first..=last).contains(&port)))
    }
}

fn of_end<T: Copy>(end: End, (source, destination): (T, T), asked: impl Fn(T) -> bool) -> bool {
    match end {
        End::Source => asked(source),
        End::Destination => asked(destination),
        End::Either => asked(source) || asked(destination),
    }
}

/// The IP packet in an Ethernet frame, behind its tags.
#[must_use]
pub fn packet_of(frame: &[u8]) -> Option<&[u8]> {
    let mut at = ethernet::HEADER - 2;
    for _ in 0..=TAGS {
        match u16::from_be_bytes(*frame.get(at..)?.first_chunk()?) {
            ethernet::TYPE_IPV4 | ethernet::TYPE_IPV6 => return frame.get(at + 2..),
            0x8100 | 0x88a8 => at += 4,
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, MAC_V4};
    use proptest::prelude::*;

    fn seen() -> Seen {
        let before = testing::frame(MAC_V4, &testing::udp_v4("203.0.113.50", "192.0.2.1", b"payload"));
        let after = testing::udp_v6("2001:db8:46::203.0.113.50", "2001:db8:12:34::1", b"payload");
        Seen {
            before: Side::of_frame(&before),
            after: Side::of_frame(&testing::frame(MAC_V4, &after)),
            port: PortId(0),
            out: Some(PortId(1)),
            fate: Fate::Translated,
        }
    }

    fn passes(seen: &Seen, test: Test) -> bool {
        let mut filter = Filter::default();
        filter.push(Node::Test(test)).unwrap();
        filter.matches(seen)
    }

    #[test]
    fn a_test_is_passed_by_either_side() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let seen = seen();
        for (test, expected) in [
            (Test::Net(End::Either, net("192.0.2.0/24")), true),
            (Test::Net(End::Destination, net("192.0.2.1/32")), true),
            (Test::Net(End::Source, net("192.0.2.1/32")), false),
            (Test::Net(End::Destination, net("2001:db8:12:34::/64")), true),
            (Test::Net(End::Either, net("2001:db9::/32")), false),
            (Test::Net(End::Either, net("::/0")), true),
            (Test::Protocol(17), true),
            (Test::Protocol(6), false),
            (Test::Icmp, false),
            (Test::Version(4), true),
            (Test::Version(6), true),
            (Test::ReceivedAs(4), true),
            (Test::ReceivedAs(6), false),
            (Test::In(PortId(0)), true),
            (Test::Out(PortId(0)), false),
            (Test::Out(PortId(1)), true),
            (Test::Verdict("translated"), true),
            (Test::Verdict("dropped"), false),
            (Test::Dropped(DropReason::NoRoute), false),
        ] {
            assert_eq!(passes(&seen, test), expected, "{test:?}");
        }
        let (source, destination) = seen.before.ports.unwrap();
        assert!(passes(&seen, Test::Ports(End::Source, source, source)));
        assert!(passes(&seen, Test::Ports(End::Destination, destination, u16::MAX)));
        assert!(!passes(&seen, Test::Ports(End::Either, 0, 0)));
        let dropped = Seen { fate: Fate::IcmpError(DropReason::NoRoute), ..seen };
        assert!(passes(&dropped, Test::Dropped(DropReason::NoRoute)));
        assert!(passes(&dropped, Test::Verdict("icmp_error")));
    }

    #[test]
    fn parts_are_put_together_and_bounded() {
        let mut filter = Filter::default();
        assert!(filter.matches(&seen()), "every packet");
        let yes = filter.push(Node::Test(Test::Version(4))).unwrap();
        let no = filter.push(Node::Not(yes)).unwrap();
        assert!(!filter.matches(&seen()));
        filter.push(Node::Or(no, yes)).unwrap();
        assert!(filter.matches(&seen()));
        filter.push(Node::And(no, yes)).unwrap();
        assert!(!filter.matches(&seen()));
        while filter.0.len() < MOST_NODES {
            filter.push(Node::Test(Test::Icmp)).unwrap();
        }
        assert_eq!(filter.push(Node::Test(Test::Icmp)), Err(TooLong));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0..4_usize) {
            let mut frame = [&[2; 12][..], &[0x08, 0x00], &bytes].concat();
            frame[12..14].copy_from_slice(&[[8, 0], [0x86, 0xdd], [0x81, 0], [8, 6]][kind]);
            let side = Side::of_frame(&frame);
            prop_assert_eq!(side.addresses.is_some(), side.version != 0);
        }
    }
}
