//! A relay in memory, packets for it, and a look at what comes out that shares no code with it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use dataplane::buffer::Buffer;
use dataplane::counters::Counts;
use dataplane::memory::{MemoryBuffer, MemoryPool};
use dataplane::offline::{Offline, Outcome, Shape};
use dataplane::sink::Sink;
use dataplane::stage::error_limit::ErrorLimits;
use dataplane::stage::parse::Ingress;
use dataplane::table::eam::{Eam, EamTable};
use dataplane::table::fib::{Adjacency, Fib};
use dataplane::table::icmp_source::{Choice, IcmpSourcePool};
use dataplane::table::prefix::TranslationPrefix;
use dataplane::table::routing::{InterfaceId, Routing, TableId};
use dataplane::table::snapshot::Snapshot;
use dataplane::table::translation::{IcmpErrors, Settings, Translation, TranslationParts};
use dataplane::testing;
use dataplane::walk::{End, LcoreState, Native, Output, Walk, Wanted, Way};

pub(crate) use dataplane::testing::{OWN_V4, OWN_V6, ipv4, ipv6, udp_v4, udp_v6};

/// A client somewhere in IPv4.
pub(crate) const CLIENT: &str = "203.0.113.50";
/// The same, seen from IPv6.
pub(crate) const CLIENT_V6: &str = "2001:db8:46::203.0.113.50";
/// A service address.
pub(crate) const SERVICE: &str = "192.0.2.1";
/// The host behind it.
pub(crate) const HOST: &str = "2001:db8:12:34::1";
/// Another service address.
pub(crate) const SERVICE_B: &str = "192.0.2.2";
/// The host behind that.
pub(crate) const HOST_B: &str = "2001:db8:12:34::2";
/// A host without a service address.
pub(crate) const UNMAPPED: &str = "2001:db8:ca7::1";

/// The configuration of a Border Relay: prefix 2001:db8:46::/96, two EAMs, every error sent.
#[derive(Clone)]
pub(crate) struct Lab {
    pub(crate) settings: Settings,
    pub(crate) prefixes: Vec<&'static str>,
    pub(crate) eams: Vec<(&'static str, &'static str)>,
    pub(crate) translatable_pools: Vec<&'static str>,
    pub(crate) denylist: Vec<&'static str>,
    pub(crate) er_addresses: Vec<&'static str>,
    pub(crate) icmp_sources: Vec<&'static str>,
    pub(crate) choice: Choice,
    pub(crate) ipv4_mtu: u16,
    pub(crate) ipv6_mtu: u16,
}

impl Default for Lab {
    fn default() -> Self {
        Self {
            settings: Settings { icmp_errors: IcmpErrors::Send, ..Settings::default() },
            prefixes: vec!["2001:db8:46::/96"],
            eams: vec![("192.0.2.1/32", "2001:db8:12:34::1/128"), ("192.0.2.2/32", "2001:db8:12:34::2/128")],
            translatable_pools: Vec::new(),
            denylist: Vec::new(),
            er_addresses: Vec::new(),
            icmp_sources: vec!["198.51.100.1/32"],
            choice: Choice::Hash,
            ipv4_mtu: 1500,
            ipv6_mtu: 1500,
        }
    }
}

fn networks<N: std::str::FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<N> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

impl Lab {
    /// The usual configuration with other settings.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut lab = Self::default();
        change(&mut lab.settings);
        lab
    }

    pub(crate) fn translation(&self) -> Translation {
        let eam =
            |(ipv4, ipv6): &(&str, &str)| Eam { ipv4: ipv4.parse().unwrap(), ipv6: ipv6.parse().unwrap() };
        let eams: Vec<Eam> = self.eams.iter().map(eam).collect();
        let prefix = |text: &&str| TranslationPrefix::new(text.parse().unwrap()).unwrap();
        Translation::new(TranslationParts {
            settings: self.settings.clone(),
            prefixes: self.prefixes.iter().map(prefix).collect(),
            eams: EamTable::build(&eams).unwrap(),
            service_pools: networks(&["192.0.2.0/24"]),
            translatable_pools: networks(&self.translatable_pools),
            denylist: networks(&self.denylist),
            er_addresses: networks(&self.er_addresses),
            icmp_sources: IcmpSourcePool::new(&networks(&self.icmp_sources), self.choice),
        })
    }

    /// A translator with all of IPv4 on one side and all of IPv6 on the other.
    pub(crate) fn relay(&self) -> Relay {
        let shape = Shape {
            ipv4_mtu: self.ipv4_mtu,
            ipv6_mtu: self.ipv6_mtu,
            ipv4_address: OWN_V4,
            ipv6_address: OWN_V6,
        };
        Relay(Offline::new(self.translation(), &shape))
    }

    /// One packet through a fresh relay.
    #[track_caller]
    pub(crate) fn run(&self, packet: &[u8]) -> Done {
        self.relay().run(packet)
    }

    /// A relay with routes of its own, that forwards what it does not translate.
    pub(crate) fn router(&self, change: impl FnOnce(&mut Routing)) -> Router {
        let mut routing = testing::routing(self.ipv4_mtu, self.ipv6_mtu);
        change(&mut routing);
        let limit = match self.settings.icmp_errors {
            // A thousand cycles are a second.
            IcmpErrors::Limit(rate) => Some(ErrorLimits::new(rate, 1000)),
            IcmpErrors::Send | IcmpErrors::Off => None,
        };
        Router {
            snapshot: Snapshot {
                generation: 1,
                translation: Arc::new(self.translation()),
                fib: Arc::new(Fib::build(&routing)),
            },
            lcore: LcoreState::new(limit),
            sink: Sink::default(),
            mtus: [self.ipv4_mtu, self.ipv6_mtu],
        }
    }
}

/// The outcome of one packet.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    pub(crate) out: Vec<Vec<u8>>,
}

impl Done {
    /// The only packet that left.
    #[track_caller]
    pub(crate) fn one(self) -> Vec<u8> {
        assert_eq!(self.out.len(), 1, "{self:02x?}");
        self.out.into_iter().next().unwrap()
    }

    /// The only packet that left, translated and with every checksum right.
    #[track_caller]
    pub(crate) fn translated(self) -> Vec<u8> {
        assert_eq!(self.outcome, Outcome::Translated, "{self:02x?}");
        let packet = self.one();
        assert_checksums(&packet);
        packet
    }

    /// Refused without a word, for this reason.
    #[track_caller]
    pub(crate) fn silent(self, reason: &str) {
        match self.outcome {
            Outcome::Dropped(why) => assert_eq!((why.name(), self.out.len()), (reason, 0)),
            other => panic!("{other:?} instead of {reason}: {:02x?}", self.out),
        }
    }

    /// Refused without a word, for one of these reasons.
    #[track_caller]
    pub(crate) fn one_of_silent(self, reasons: &[&str]) {
        match self.outcome {
            Outcome::Dropped(why) => assert!(reasons.contains(&why.name()) && self.out.is_empty(), "{why:?}"),
            other => panic!("{other:?} instead of {reasons:?}: {:02x?}", self.out),
        }
    }

    /// Refused for this reason with an ICMP error, whose type and code these are.
    #[track_caller]
    pub(crate) fn answered(self, reason: &str, kind: u8, code: u8) -> Vec<u8> {
        match self.outcome {
            Outcome::IcmpError(why) => assert_eq!(why.name(), reason),
            other => panic!("{other:?} instead of {reason}: {:02x?}", self.out),
        }
        let error = self.one();
        assert_checksums(&error);
        let message = icmp(&error);
        assert_eq!((message[0], message[1]), (kind, code), "{error:02x?}");
        error
    }
}

/// Single packets through the walk, nothing around it.
pub(crate) struct Relay(Offline);

impl Relay {
    pub(crate) fn run(&mut self, packet: &[u8]) -> Done {
        let mut out = Vec::new();
        let outcome = self.0.run(packet, &mut out);
        Done { outcome, out }
    }

    pub(crate) fn counts(&self) -> &Counts {
        self.0.counts()
    }
}

/// The walk of a worker: routes, native forwarding, rate limit.
pub(crate) struct Router {
    pub(crate) snapshot: Snapshot,
    pub(crate) lcore: LcoreState,
    pub(crate) sink: Sink<MemoryBuffer>,
    mtus: [u16; 2],
}

#[derive(Default)]
struct Collected(Vec<Vec<u8>>);

impl Output<MemoryBuffer> for Collected {
    fn forward(&mut self, packet: MemoryBuffer, _: &Adjacency, _: &mut Sink<MemoryBuffer>) {
        self.0.push(packet.data().to_vec());
    }

    fn unresolved(&mut self, packet: MemoryBuffer, _: Wanted, _: &mut Sink<MemoryBuffer>) {
        self.0.push(packet.data().to_vec());
    }
}

impl Router {
    pub(crate) fn run(&mut self, packet: &[u8]) -> Done {
        self.received(packet, false)
    }

    /// As [`Self::run`]; `group` tells a link-layer broadcast or multicast.
    pub(crate) fn received(&mut self, packet: &[u8], group: bool) -> Done {
        let mut output = Collected::default();
        let mut walk = Walk {
            snapshot: &self.snapshot,
            lcore: &mut self.lcore,
            sink: &mut self.sink,
            pool: &mut MemoryPool::unlimited(),
            output: &mut output,
            native: Native::Forward,
            table: TableId::MAIN,
        };
        let buffer = MemoryBuffer::new(packet);
        let ingress =
            |side: u16| Ingress { interface: InterfaceId(side), mtu: self.mtus[usize::from(side)], group };
        let end = match packet[0] >> 4 {
            6 => walk.ipv6(buffer, ingress(1)),
            _ => walk.ipv4(buffer, ingress(0)),
        };
        let outcome = match end {
            End::Forwarded(Way::Translated) => Outcome::Translated,
            End::Forwarded(Way::Hairpinned) => Outcome::Hairpinned,
            End::Forwarded(Way::Native) => Outcome::Native,
            End::Dropped { reason, answered: true } => Outcome::IcmpError(reason),
            End::Dropped { reason, answered: false } => Outcome::Dropped(reason),
            End::Punted(buffer, reason) => {
                assert_eq!(buffer.data(), packet, "the kernel gets it as it was received");
                Outcome::Punted(reason.name())
            }
        };
        Done { outcome, out: output.0 }
    }
}

// Packets.

/// One's complement sum, word by word.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let mut total = 0_u32;
    for word in bytes.chunks(2) {
        total += u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap()
}

/// The pseudo-header of an IPv6 packet's payload.
fn pseudo_v6(source: Ipv6Addr, destination: Ipv6Addr, length: usize, number: u8) -> Vec<u8> {
    let mut bytes = source.octets().to_vec();
    bytes.extend(destination.octets());
    bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
    bytes.extend([0, 0, 0, number]);
    bytes
}

fn pseudo_v4(packet: &[u8], length: usize, number: u8) -> Vec<u8> {
    let mut bytes = packet[12..20].to_vec();
    bytes.extend([0, number]);
    bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
    bytes
}

/// Refuses a whole packet with a wrong length or checksum; fragments have none that could be checked.
#[track_caller]
pub(crate) fn assert_checksums(packet: &[u8]) {
    let (number, mut bytes, payload) = match packet[0] >> 4 {
        4 => {
            assert_eq!(sum(&packet[..20]), 0xffff, "IPv4 header checksum");
            assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
            if packet[6] & 0x3f != 0 || packet[7] != 0 {
                return;
            }
            let pseudo = match packet[9] {
                1 => Vec::new(),
                number => pseudo_v4(packet, packet.len() - 20, number),
            };
            (packet[9], pseudo, &packet[20..])
        }
        _ => {
            assert_eq!(packet[..4], [packet[0], packet[1] & 0xf0, 0, 0], "flow label");
            assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])) + 40, packet.len());
            let length = packet.len() - 40;
            let pseudo = pseudo_v6(source_v6(packet), destination_v6(packet), length, packet[6]);
            (packet[6], pseudo, &packet[40..])
        }
    };
    let without = number == 17 && payload[6..8] == [0, 0];
    if matches!(number, 1 | 6 | 17 | 58) && !without {
        bytes.extend(payload);
        assert_eq!(sum(&bytes), 0xffff, "checksum of protocol {number}: {packet:02x?}");
    }
}

pub(crate) fn address_v4(packet: &[u8], at: usize) -> Ipv4Addr {
    let octets: [u8; 4] = packet[at..at + 4].try_into().unwrap();
    octets.into()
}

pub(crate) fn address_v6(packet: &[u8], at: usize) -> Ipv6Addr {
    let octets: [u8; 16] = packet[at..at + 16].try_into().unwrap();
    octets.into()
}

pub(crate) fn source_v4(packet: &[u8]) -> Ipv4Addr {
    address_v4(packet, 12)
}

pub(crate) fn destination_v4(packet: &[u8]) -> Ipv4Addr {
    address_v4(packet, 16)
}

pub(crate) fn source_v6(packet: &[u8]) -> Ipv6Addr {
    address_v6(packet, 8)
}

pub(crate) fn destination_v6(packet: &[u8]) -> Ipv6Addr {
    address_v6(packet, 24)
}

/// The ICMP message of a packet without extension headers and options.
#[track_caller]
pub(crate) fn icmp(packet: &[u8]) -> &[u8] {
    match packet[0] >> 4 {
        4 => {
            assert_eq!(packet[9], 1);
            &packet[20..]
        }
        _ => {
            assert_eq!(packet[6], 58);
            &packet[40..]
        }
    }
}

/// An IPv4 packet with another TTL.
pub(crate) fn with_ttl(mut packet: Vec<u8>, ttl: u8) -> Vec<u8> {
    packet[8] = ttl;
    testing::fix_checksum_v4(&mut packet);
    packet
}

/// An IPv6 packet with another hop limit.
pub(crate) fn with_hop_limit(mut packet: Vec<u8>, hop_limit: u8) -> Vec<u8> {
    packet[7] = hop_limit;
    packet
}

/// An IPv4 packet with DF.
pub(crate) fn with_df(packet: Vec<u8>) -> Vec<u8> {
    with_fragment(packet, true, false, 0)
}

/// An IPv4 packet with these fragmentation fields and identification 0xbeef.
pub(crate) fn with_fragment(mut packet: Vec<u8>, df: bool, more: bool, offset: u16) -> Vec<u8> {
    testing::set_fragment_v4(&mut packet, 0xbeef, df, more, offset);
    packet
}

/// A UDP packet in IPv4 of exactly this size.
pub(crate) fn sized_v4(size: usize) -> Vec<u8> {
    udp_v4(CLIENT, SERVICE, &payload(size - 28))
}

/// A UDP packet in IPv6 of exactly this size.
pub(crate) fn sized_v6(size: usize) -> Vec<u8> {
    udp_v6(HOST, CLIENT_V6, &payload(size - 48))
}

/// Bytes that tell when one is missing or moved.
pub(crate) fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 7 + at / 251) % 251).unwrap()).collect()
}

/// An IPv6 packet whose payload begins with a Fragment header for `number`.
pub(crate) fn fragment_v6(
    source: &str,
    destination: &str,
    number: u8,
    offset: u16,
    more: bool,
    data: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![number, 0];
    bytes.extend((offset << 3 | u16::from(more)).to_be_bytes());
    bytes.extend(0x1234_beef_u32.to_be_bytes());
    bytes.extend(data);
    ipv6(source, destination, 44, &bytes)
}

/// An ICMPv4 message with its checksum.
pub(crate) fn icmp_v4(
    source: &str,
    destination: &str,
    kind: u8,
    code: u8,
    rest: [u8; 4],
    body: &[u8],
) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(body);
    let checksum = !sum(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    ipv4(source, destination, 1, &message)
}

/// An ICMPv6 message with its checksum.
pub(crate) fn icmp_v6(
    source: &str,
    destination: &str,
    kind: u8,
    code: u8,
    rest: [u8; 4],
    body: &[u8],
) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(body);
    let (from, to) = (source.parse().unwrap(), destination.parse().unwrap());
    let mut bytes = pseudo_v6(from, to, message.len(), 58);
    bytes.extend(&message);
    let checksum = !sum(&bytes);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    ipv6(source, destination, 58, &message)
}

/// A TCP segment with its checksum, in IPv4.
pub(crate) fn tcp_v4(source: &str, destination: &str, header: &[u8], data: &[u8]) -> Vec<u8> {
    let mut segment = header.to_vec();
    segment.extend(data);
    let mut packet = ipv4(source, destination, 6, &segment);
    let mut bytes = pseudo_v4(&packet, segment.len(), 6);
    bytes.extend(&segment);
    let checksum = !sum(&bytes);
    packet[36..38].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// A SYN with a maximum segment size of 1460, checksum open.
pub(crate) const SYN: [u8; 24] =
    [0xc7, 0x38, 0, 80, 0, 0, 3, 0xe8, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4];

/// What an IPv4 router says about `packet`, as much as 548 bytes of it.
pub(crate) fn error_about_v4(router: &str, kind: u8, code: u8, rest: [u8; 4], packet: &[u8]) -> Vec<u8> {
    let to = source_v4(packet).to_string();
    icmp_v4(router, &to, kind, code, rest, &packet[..packet.len().min(548)])
}

/// What an IPv6 router says about `packet`.
pub(crate) fn error_about_v6(router: &str, kind: u8, code: u8, rest: [u8; 4], packet: &[u8]) -> Vec<u8> {
    let to = source_v6(packet).to_string();
    icmp_v6(router, &to, kind, code, rest, &packet[..packet.len().min(1232)])
}
