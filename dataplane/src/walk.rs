//! One packet's walk from a validated frame to its end, the same on a worker and in `borderline translate`.
//!
//! ```text
//!  parse -> classify -+-> punt
//!                     +-> native ------------------------------------------+
//!                     +-> transport -> lookup -> next hop -> translate ----+-> fragment -> output
//!                            (read only up to here)   \-> hairpin: once more
//!  any refusal on the way -> icmp_error -> output
//! ```
//!
//! Nothing of a packet is written before every address, its next hop and its size are known to be good, so an
//! ICMP error can always quote the packet as it was received. One file per way: `walk/v4_to_v6.rs`, `walk/v6_to_v4.rs`,
//! `walk/native.rs`, and `walk/refuse.rs` for what goes none.

use std::net::{IpAddr, Ipv4Addr};

use crate::buffer::{Buffer, BufferPool};
use crate::counters::Event;
use crate::exception::ZeroChecksum;
use crate::hash::{high32, mix};
use crate::meter::{self, Meter};
use crate::sink::Sink;
use crate::stage::classify::{self, Class};
use crate::stage::error_limit::ErrorLimits;
use crate::stage::identification::Identifications;
use crate::stage::parse::{self, Ingress};
use crate::stage::translate::icmp::Rest;
use crate::stage::{Pass, fragment};
use crate::table::fib::{Adjacency, LinkHeader, Path};
use crate::table::routing::{InterfaceId, TableId};
use crate::table::snapshot::Snapshot;
use crate::verdict::{DropReason, PuntReason, Verdict};
use crate::wire::ipv4::Ipv4Header;

pub(crate) mod express;
mod native;
mod refuse;
mod step;
mod v4_to_v6;
mod v6_to_v4;

use express::Lane;
pub use step::{Carried, Step, Told, Which};

/// How many bytes the IPv6 header is longer than the IPv4 header.
const GROWTH: u16 = 20;

/// Where finished packets go. What cannot go there ends in `sink`.
pub trait Output<B: Buffer> {
    /// Sends an IP packet to a next hop, with the link-layer header in front that [`Self::link_header`] gives.
    fn forward(&mut self, packet: B, adjacency: &Adjacency, sink: &mut Sink<B>);

    /// The link-layer header of packets of this IP version to a next hop.
    #[inline]
    fn link_header<'a>(&self, adjacency: &'a Adjacency, version: u8) -> LinkHeader<'a> {
        let _ = (adjacency, version);
        LinkHeader::None
    }

    /// Sends a frame of so many bytes that has its link-layer header.
    #[inline]
    fn emit(&mut self, frame: B, bytes: usize, adjacency: &Adjacency, sink: &mut Sink<B>) {
        debug_assert_eq!(frame.data().len(), bytes);
        self.forward(frame, adjacency, sink);
    }

    /// Keeps an IP packet until `wanted` has a link-layer address.
    fn unresolved(&mut self, packet: B, wanted: Wanted, sink: &mut Sink<B>);

    /// Takes note of a step of the walk. Who explains packets listens; for all others this is nothing at all.
    #[inline(always)]
    fn note(&mut self, step: impl FnOnce() -> Step) {
        let _ = step;
    }

    /// The largest IP packet that [`Self::deliver`] takes; none where the box cannot be given translated packets.
    fn local_mtu(&self) -> Option<u16> {
        None
    }

    /// Gives the box itself a translated IP packet.
    fn deliver(&mut self, packet: B, sink: &mut Sink<B>) {
        sink.finish(packet, Verdict::Dropped(DropReason::DestinationIsLocal));
    }
}

/// A next hop whose link-layer address is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is.
    pub interface: InterfaceId,
    /// Its address.
    pub next_hop: IpAddr,
    /// A gateway, or a host with an EAM: an operator has named it. Any other address may be one that somebody made up
    /// (RFC 6583).
    pub expected: bool,
}

/// What a worker keeps from packet to packet.
#[derive(Clone)]
pub struct LcoreState {
    /// Identifications for packets with DF 0.
    pub identifications: Identifications,
    /// Limits the ICMP errors the relay originates; none in offline translation.
    pub icmp_errors: Option<ErrorLimits>,
    /// The first datagram without checksum dropped since the last event, and how many followed it.
    pub zero_checksum: Option<ZeroChecksum>,
    /// Counts the traffic of mappings, if anybody wants to know.
    pub meter: Option<Meter>,
    random: u64,
}

impl LcoreState {
    /// A fresh state with random keys.
    #[must_use]
    pub fn new(icmp_errors: Option<ErrorLimits>) -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self {
            identifications: Identifications::default(),
            icmp_errors,
            zero_checksum: None,
            meter: None,
            random: RandomState::new().hash_one(0) | 1,
        }
    }

    /// Keeps a sample of the datagrams without checksum that were dropped (RFC 7915 4.5).
    fn sample_zero_checksum(&mut self, packet: &[u8], header: &Ipv4Header) {
        let port = |at: usize| {
            let at = usize::from(header.header_length) + at;
            packet.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        match &mut self.zero_checksum {
            Some(sample) => sample.suppressed += 1,
            None => {
                self.zero_checksum = Some(ZeroChecksum {
                    source: header.source,
                    destination: header.destination,
                    source_l4_port: port(0),
                    destination_l4_port: port(2),
                    suppressed: 0,
                });
            }
        }
    }

    /// xorshift64*: fast and good enough to choose a source address.
    fn next_random(&mut self) -> u32 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        high32(self.random.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }
}

/// How a forwarded packet was treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Translated.
    Translated,
    /// Translated there and back (RFC 7757 4.2.2).
    Hairpinned,
    /// Not translated.
    Native,
}

/// What happens to packets that need no translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Native {
    /// They are forwarded, unless the settings leave that to the kernel.
    Forward,
    /// They are only reported: there are no routes to forward by.
    Report,
}

/// The end of a walk.
#[derive(Debug)]
pub enum End<B> {
    /// Handed to the output.
    Forwarded(Way),
    /// The kernel's; the packet is as it was received.
    Punted(B, PuntReason),
    /// Gone. `answered` tells whether an ICMP error went out.
    Dropped {
        /// Why.
        reason: DropReason,
        /// An ICMP error went out.
        answered: bool,
    },
}

/// A walk's surroundings: the snapshot pinned for this burst and the worker's own things.
pub struct Walk<'a, P: BufferPool, O> {
    /// The tables.
    pub snapshot: &'a Snapshot,
    /// The worker's state.
    pub lcore: &'a mut LcoreState,
    /// Where packets end that go no further, and all is counted.
    pub sink: &'a mut Sink<P::Buffer>,
    /// For fragments and ICMP errors.
    pub pool: &'a mut P,
    /// Where packets go.
    pub output: &'a mut O,
    /// What to do with packets that need no translation.
    pub native: Native,
    /// Where the interface the packet came in by looks destinations up.
    pub table: TableId,
}

impl<'a, P: BufferPool, O: Output<P::Buffer>> Walk<'a, P, O> {
    /// Counts a translated packet for the mapping around one of its IPv4 addresses.
    #[inline]
    fn meter(&mut self, way: meter::Way, address: Ipv4Addr, bytes: u16) {
        if let Some(meter) = &mut self.lcore.meter {
            meter.any(&self.snapshot.translation.eams, address, way, bytes);
        }
    }

    /// Takes an IPv4 packet to its end; `packet` begins with its header and may be followed by link padding.
    pub fn ipv4(&mut self, packet: P::Buffer, ingress: Ingress) -> End<P::Buffer> {
        let mut lane = Lane::EMPTY;
        if !ingress.group {
            lane.inspect_ipv4(packet.data(), self.snapshot, self.table);
            lane.resolve(self.snapshot);
        }
        if lane.is_left() { self.walk_ipv4(packet, ingress) } else { self.send_single(packet, &lane) }
    }

    /// The same for an IPv6 packet.
    pub fn ipv6(&mut self, packet: P::Buffer, ingress: Ingress) -> End<P::Buffer> {
        let mut lane = Lane::EMPTY;
        if !ingress.group {
            lane.inspect_ipv6(packet.data(), self.snapshot, self.table);
            lane.resolve(self.snapshot);
        }
        if lane.is_left() { self.walk_ipv6(packet, ingress) } else { self.send_single(packet, &lane) }
    }

    /// Sends a packet by the lane and counts it for its mappings.
    fn send_single(&mut self, packet: P::Buffer, lane: &Lane<'_>) -> End<P::Buffer> {
        let end = self.send_lane(packet, 0, lane);
        if let (End::Forwarded(_), Some(meter)) = (&end, &mut self.lcore.meter) {
            let mut meter = meter.begin();
            if meter.is_exact() || meter.next_of(0, 1).is_some() {
                lane.count(&meter, lane.fetch_counts(&meter), &self.snapshot.translation.eams);
            }
        }
        end
    }

    /// Whether a packet that was not a link-layer broadcast would take the express lane. For tests that must know which
    /// way they test.
    #[cfg(any(test, feature = "testing"))]
    pub fn is_plain(&self, data: &[u8]) -> bool {
        let mut lane = Lane::EMPTY;
        match data.first().map(|byte| byte >> 4) {
            Some(6) => lane.inspect_ipv6(data, self.snapshot, self.table),
            _ => lane.inspect_ipv4(data, self.snapshot, self.table),
        }
        lane.resolve(self.snapshot);
        !lane.is_left()
    }

    /// [`Self::ipv4`] by the walk alone: the way of whatever is not plain.
    pub fn walk_ipv4(&mut self, mut packet: P::Buffer, ingress: Ingress) -> End<P::Buffer> {
        let header = match parse::ipv4(&mut packet) {
            Ok(header) => header,
            Err(reason) => return self.drop(packet, reason),
        };
        let snapshot = self.snapshot;
        let class = classify::ipv4(
            header.destination,
            ingress.group,
            &snapshot.translation,
            &snapshot.fib,
            self.table,
        );
        if let Ok(class) = &class {
            self.output.note(|| Step::class_v4(class));
        }
        match class {
            Ok(Class::Translate(destination)) => {
                self.translate_ipv4(packet, &header, destination, ingress, Pass::First)
            }
            Ok(Class::Native) => match self.native {
                Native::Report => End::Forwarded(Way::Native),
                Native::Forward if snapshot.translation.settings.forward_native => {
                    self.native_ipv4(packet, &header, ingress)
                }
                Native::Forward => self.punt(packet, PuntReason::NativeNotForwarded),
            },
            Ok(Class::Punt(reason)) => self.punt(packet, reason),
            Err(refusal) => self.refuse_ipv4(packet, &header, ingress, refusal),
        }
    }

    /// [`Self::ipv6`] by the walk alone.
    pub fn walk_ipv6(&mut self, mut packet: P::Buffer, ingress: Ingress) -> End<P::Buffer> {
        let header = match parse::ipv6(&mut packet) {
            Ok(header) => header,
            Err(reason) => return self.drop(packet, reason),
        };
        let snapshot = self.snapshot;
        let mut class = classify::ipv6(
            header.destination,
            ingress.group,
            &snapshot.translation,
            &snapshot.fib,
            self.table,
        );
        if let Ok(class) = &class {
            self.output.note(|| Step::class_v6(class));
        }
        if let Ok(Class::Translate(destination)) = class
            && self.is_others(packet.data(), &header, destination)
        {
            self.output.note(|| Step::LeftToRouting);
            class = Ok(Class::Native);
        }
        match class {
            Ok(Class::Translate(destination)) => self.translate_ipv6(packet, &header, destination, ingress),
            Ok(Class::Native) => match self.native {
                Native::Report => End::Forwarded(Way::Native),
                Native::Forward if snapshot.translation.settings.forward_native => {
                    self.native_ipv6(packet, &header, ingress)
                }
                Native::Forward => self.punt(packet, PuntReason::NativeNotForwarded),
            },
            Ok(Class::Punt(reason)) => self.punt(packet, reason),
            Err(refusal) => self.refuse_ipv6(packet, &header, ingress, refusal),
        }
    }

    #[inline]
    fn send(&mut self, packet: P::Buffer, path: &Path, destination: IpAddr) {
        match path {
            Path::Adjacent(adjacency) => self.output.forward(packet, adjacency, self.sink),
            Path::Unresolved { interface, gateway, .. } => {
                let next_hop = gateway.unwrap_or(destination);
                let expected = gateway.is_some() || self.has_eam(destination);
                self.output.unresolved(
                    packet,
                    Wanted { interface: *interface, next_hop, expected },
                    self.sink,
                );
            }
            Path::Local => self.output.deliver(packet, self.sink),
            _ => unreachable!("usable() has refused every other path"),
        }
    }

    #[inline(always)]
    fn note_mapped(&mut self, which: Which, from: impl Into<IpAddr>, to: impl Into<IpAddr>, pass: Pass) {
        self.output.note(|| Step::Mapped { which, from: from.into(), to: to.into(), pass });
    }

    /// The MTU of a path translated packets can take: [`usable`], or to the box itself.
    #[inline]
    fn usable(&self, path: &Path) -> Result<u16, DropReason> {
        usable(path).or_else(|reason| match path {
            Path::Local => self.output.local_mtu().ok_or(reason),
            _ => Err(reason),
        })
    }

    fn has_eam(&self, destination: IpAddr) -> bool {
        match destination {
            IpAddr::V4(_) => false,
            IpAddr::V6(address) => self.snapshot.translation.eams.lookup_ipv6(address).is_some(),
        }
    }

    fn send_pieces(&mut self, pieces: fragment::Pieces<P::Buffer>, path: &Path, destination: IpAddr) {
        let counts = &mut self.sink.counts;
        counts.count(Event::FragmentedPackets);
        counts.add(Event::OriginatedFragments, pieces.len() as u64 - 1);
        self.output.note(|| Step::Pieces(pieces.len()));
        for piece in pieces {
            self.send(piece, path, destination);
        }
    }

    #[inline]
    #[allow(clippy::unused_self, reason = "reads like the other ends of a walk")]
    fn punt(&mut self, packet: P::Buffer, reason: PuntReason) -> End<P::Buffer> {
        End::Punted(packet, reason)
    }

    fn count_error(&mut self, rest: Rest) {
        self.sink.counts.count(Event::TranslatedIcmpErrors);
        if matches!(rest, Rest::Mtu(_)) {
            self.sink.counts.count(Event::TranslatedPacketTooBig);
        }
    }

    fn drop(&mut self, packet: P::Buffer, reason: DropReason) -> End<P::Buffer> {
        self.output.note(|| Step::Refused(reason.into()));
        self.sink.finish(packet, Verdict::Dropped(reason));
        End::Dropped { reason, answered: false }
    }
}

/// The MTU of a path packets can take.
#[inline]
fn usable(path: &Path) -> Result<u16, DropReason> {
    match path {
        Path::Adjacent(adjacency) => Ok(adjacency.mtu),
        Path::Unresolved { mtu, .. } => Ok(*mtu),
        Path::Failed => Err(DropReason::NextHopUnreachable),
        Path::Unreachable => Err(DropReason::RouteUnreachable),
        Path::Prohibited => Err(DropReason::RouteProhibited),
        Path::Blackhole => Err(DropReason::RouteBlackhole),
        Path::Local => Err(DropReason::DestinationIsLocal),
        // A translated packet cannot go to the kernel: it would be forwarded a second time.
        Path::NoRoute | Path::Kernel => Err(DropReason::NoRoute),
    }
}

/// Spreads flows over the next hops of a multipath route by addresses alone, so that the fragments and the ICMP
/// errors of a flow follow it (RFC 2991).
#[inline]
const fn flow_hash(source: u64, destination: u64) -> u32 {
    high32(mix(source ^ destination.rotate_left(32)))
}
