//! The express lane: the packets nearly all traffic is made of, a whole burst at a time.
//!
//! ```text
//!  inspect all: read headers, classify, have the mappings fetched   \  a packet that is not plain in any of these
//!  resolve all: mappings, next hop, size                             > steps takes the walk from its beginning
//!  send all, in the order received: write headers, hand over        /
//! ```
//!
//! The lane carries whole TCP and UDP packets, echo messages and payloads that are not looked into, between a mapped
//! host and the other family, where nothing is to be answered, cut, turned round or punted. It asks the stages the
//! same questions as the walk does; what any of them refuses is left to the walk, which knows what follows. Plain packets
//! that are not translated leave it as well, but are not read and classified again. Lane and
//! walk so differ in the order of the questions only, and a test compares them over millions of packets.
//!
//! Taking one step for all packets before the next lets the waits for memory of a whole burst overlap. Where there are many IPv6
//! routes, `deep.rs` does the same with every line of the trie that the second step waits for.

mod deep;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use super::native::decrement;
use super::{End, GROWTH, Output, Walk, Way, flow_hash};
use crate::buffer::{Buffer, BufferPool};
use crate::counters::Event;
use crate::hash::low64;
use crate::io::BURST;
use crate::meter::{self, Counting};
use crate::stage::Pass;
use crate::stage::classify::{self, Class};
use crate::stage::lookup::{self, Mapping};
use crate::stage::parse::Family;
use crate::stage::translate::{v4_to_v6, v6_to_v4};
use crate::stage::transport::{self, TransportV4, TransportV6};
use crate::table::eam::{EamTable, Fetched, is_global_unicast};
use crate::table::fib::{Adjacency, Fib, Path};
use crate::table::lpm::FetchedRoute;
use crate::table::routing::TableId;
use crate::table::snapshot::Snapshot;
use crate::table::special::{never_forwarded_ipv6, never_source_ipv4};
use crate::table::translation::{Hairpin, Translation};
use crate::table::{MappedV4, MappedV6};
use crate::verdict::DropReason;
use crate::wire::checksum::Delta;
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Chain, Ipv6Header};
use crate::wire::protocol;

/// Where a packet is heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heading {
    /// Not by the lane.
    Walk,
    /// From IPv4 to IPv6.
    ToV6(TransportV4),
    /// From IPv6 to IPv4.
    ToV4(TransportV6),
}

/// What the lane knows of one packet, filled field by field: moving it as a whole would wait for its parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane<'a> {
    source_ipv6: Ipv6Addr,
    destination_ipv6: Ipv6Addr,
    source_ipv4: Ipv4Addr,
    destination_ipv4: Ipv4Addr,
    /// The change of the sum of both addresses.
    delta: Delta,
    /// Where the mapping is looked for.
    fetched: Option<Fetched<'a>>,
    /// Where the route is looked for, if the packet is to become IPv4.
    route: FetchedRoute<'a>,
    /// Where it goes.
    adjacency: Option<&'a Adjacency>,
    /// Of the header to come, if that is IPv6: [`ipv6::first_word`].
    first_word: u64,
    /// Of the header to come, if that is IPv4.
    fields: v6_to_v4::Fields,
    /// Bytes of the IP packet as it is.
    length: u16,
    /// Bytes of link-layer header in front of it.
    offset: u8,
    /// The IPv4 address of the mapped host has a mapping of its own.
    is_host: bool,
    heading: Heading,
    /// It has left because it is not translated, and is plain otherwise: [`Walk::send_native`].
    native: Option<Family>,
    /// Where the interface it came in by looks destinations up.
    table: TableId,
}

pub(crate) use deep::resolve_deep;

/// One lane for each packet of a burst.
pub(crate) type Lanes<'a> = ArrayVec<Lane<'a>, BURST>;

/// Adds a lane that leads nowhere yet.
#[inline(always)]
pub(crate) fn add<'a, 'l>(lanes: &'l mut Lanes<'a>) -> &'l mut Lane<'a> {
    lanes.push(Lane::EMPTY);
    lanes.last_mut().expect("it was just added")
}

impl<'a> Lane<'a> {
    /// A lane that leads nowhere yet.
    pub(crate) const EMPTY: Self = Self {
        source_ipv6: Ipv6Addr::UNSPECIFIED,
        destination_ipv6: Ipv6Addr::UNSPECIFIED,
        source_ipv4: Ipv4Addr::UNSPECIFIED,
        destination_ipv4: Ipv4Addr::UNSPECIFIED,
        delta: Delta::NONE,
        fetched: None,
        route: FetchedRoute::NONE,
        adjacency: None,
        first_word: 0,
        fields: v6_to_v4::Fields { tos: 0, ttl: 0, protocol: 0 },
        length: 0,
        offset: 0,
        is_host: false,
        heading: Heading::Walk,
        native: None,
        table: TableId::MAIN,
    };

    /// Sends the packet to the walk.
    #[inline(always)]
    pub(crate) const fn leave(&mut self) {
        self.heading = Heading::Walk;
    }

    /// Notes how many bytes of link-layer header the frame begins with.
    #[inline(always)]
    pub(crate) const fn begin_behind(&mut self, offset: u8) {
        self.offset = offset;
    }

    /// Where the packet begins in its frame.
    #[inline(always)]
    pub(crate) fn offset(&self) -> usize {
        usize::from(self.offset)
    }

    /// Whether the packet is the walk's.
    #[inline(always)]
    pub(crate) const fn is_left(&self) -> bool {
        matches!(self.heading, Heading::Walk)
    }

    /// First step, for an IPv4 packet; `data` begins with its header and may be followed by link padding.
    #[inline(always)]
    pub(crate) fn inspect_ipv4(&mut self, data: &[u8], snapshot: &'a Snapshot, table: TableId) {
        self.table = table;
        self.heading = self.plain_ipv4(data, snapshot).map_or(Heading::Walk, Heading::ToV6);
    }

    /// First step, for an IPv6 packet; `data` begins with its header and may be followed by link padding.
    #[inline(always)]
    pub(crate) fn inspect_ipv6(&mut self, data: &[u8], snapshot: &'a Snapshot, table: TableId) {
        self.table = table;
        self.heading = self.plain_ipv6(data, snapshot).map_or(Heading::Walk, Heading::ToV4);
    }

    /// Second step.
    #[inline(always)]
    pub(crate) fn resolve(&mut self, snapshot: &'a Snapshot) {
        let resolved = match self.heading {
            Heading::Walk => return,
            Heading::ToV6(_) => self.resolve_ipv4(snapshot),
            Heading::ToV4(_) => self.resolve_ipv6(snapshot),
        };
        if resolved.is_none() {
            self.leave();
        }
    }

    #[inline(always)]
    fn plain_ipv4(
        &mut self,
        data: &[u8],
        Snapshot { translation, fib, .. }: &'a Snapshot,
    ) -> Option<TransportV4> {
        if *data.first()? != ipv4::PLAIN_VERSION {
            return None;
        }
        let header = Ipv4Header::parse(data).ok()?;
        let destination = header.destination;
        if header.is_fragment() || header.ttl <= 1 || fib.may_be_local(self.table, IpAddr::V4(destination)) {
            return None;
        }
        // What must not be cut has the whole next hop to fit into; what may be is cut to the lowest MTU already.
        let limit = if header.dont_fragment { u16::MAX } else { translation.settings.lowest_ipv6_mtu };
        if header.total_length > limit - GROWTH {
            return None;
        }
        // The same header, whose constants the compiler now knows.
        let header = Ipv4Header { more_fragments: false, fragment_offset: 0, ..header };
        // Written down as soon as it is known: there are too few registers to keep all of it.
        self.source_ipv4 = header.source;
        self.destination_ipv4 = destination;
        self.length = header.total_length;
        let traffic_class = translation.settings.traffic_class.unwrap_or(header.tos);
        let next_header =
            if header.protocol == protocol::ICMPV4 { protocol::ICMPV6 } else { header.protocol };
        let payload_length = header.payload_length();
        self.first_word = ipv6::first_word(traffic_class, payload_length, next_header, header.ttl - 1);
        if translation.may_be_service(destination) {
            self.fetched = Some(translation.eams.fetch_ipv4(destination));
        }
        let data = data.get(..usize::from(header.total_length))?;
        let transport = transport::ipv4(data, &header, &translation.settings).ok()?;
        (transport != TransportV4::Error).then_some(transport)
    }

    #[inline(always)]
    fn resolve_ipv4(&mut self, snapshot: &'a Snapshot) -> Option<()> {
        self.map_ipv4(snapshot)?;
        let ((from, to), destination) = (self.flow_ipv4(), IpAddr::V6(self.destination_ipv6));
        let path = match self.table {
            TableId::MAIN => snapshot.fib.lookup(destination, || flow_hash(from, to)),
            table => path_apart(&snapshot.fib, table, destination, from, to),
        };
        self.follow(path, self.length + GROWTH)
    }

    /// Notes the IPv6 addresses.
    #[inline(always)]
    fn map_ipv4(&mut self, Snapshot { translation, fib, .. }: &'a Snapshot) -> Option<()> {
        let host = self.fetched.and_then(|line| translation.eams.host_ipv4(line, self.destination_ipv4));
        self.is_host = host.is_some();
        let destination = match host {
            Some(mapped) if translation.eams.are_global() || is_global_unicast(mapped.address) => mapped,
            _ => self.other_destination_ipv4(translation, fib)?,
        };
        let source = match translation.embed_plain(self.source_ipv4) {
            Some(mapped) => mapped,
            None => other_source_ipv4(self.source_ipv4, translation)?,
        };
        self.source_ipv6 = source.address;
        self.destination_ipv6 = destination.address;
        self.delta = source.delta.and(destination.delta);
        Some(())
    }

    /// The rarer kinds of destination: under a mapping of prefixes, or reached through the translation prefix. Notes those that
    /// are native.
    #[inline(never)]
    fn other_destination_ipv4(&mut self, translation: &Translation, fib: &Fib) -> Option<MappedV6> {
        match classify::ipv4(self.destination_ipv4, false, translation, fib, self.table) {
            Ok(Class::Translate(mapped)) => Some(mapped),
            Ok(Class::Native) => {
                let may = translation.settings.forward_native && !never_source_ipv4(self.source_ipv4);
                self.native = may.then_some(Family::Ipv4);
                None
            }
            _ => None,
        }
    }

    /// The same; none for those that turn round here.
    #[inline(never)]
    fn other_destination_ipv6(
        &mut self,
        address: Ipv6Addr,
        data: &[u8],
        translation: &Translation,
        fib: &Fib,
    ) -> Option<MappedV4> {
        match classify::ipv6(address, false, translation, fib, self.table) {
            Ok(Class::Translate(destination)) => {
                let may_turn = translation.settings.hairpin == Hairpin::Intrinsic
                    && destination.by == Mapping::Prefix
                    && translation.eams.may_cover(destination.mapped.address);
                (!may_turn).then_some(destination.mapped)
            }
            Ok(Class::Native) => {
                let may = translation.settings.forward_native && !never_forwarded_ipv6(self.source_ipv6);
                let is_whole = data.len() >= usize::from(self.length);
                self.native = (may && is_whole).then_some(Family::Ipv6);
                self.destination_ipv6 = address;
                None
            }
            _ => None,
        }
    }

    /// Where a native packet goes, if its next hop is ready and carries it.
    fn native_hop(&self, family: Family, fib: &'a Fib) -> Option<&'a Adjacency> {
        let ((from, to), destination) = match family {
            Family::Ipv4 => (self.flow_ipv4(), IpAddr::V4(self.destination_ipv4)),
            Family::Ipv6 => {
                let [from, to] = [self.source_ipv6, self.destination_ipv6].map(|side| low64(side.to_bits()));
                ((from, to), IpAddr::V6(self.destination_ipv6))
            }
        };
        match fib.lookup_in(self.table, destination, || flow_hash(from, to)) {
            Path::Adjacent(adjacency) if self.length <= adjacency.mtu => Some(adjacency),
            _ => None,
        }
    }

    /// What tells its flow from others.
    #[inline(always)]
    fn flow_ipv4(&self) -> (u64, u64) {
        (u64::from(self.source_ipv4.to_bits()), u64::from(self.destination_ipv4.to_bits()))
    }

    #[inline(always)]
    fn plain_ipv6(
        &mut self,
        data: &[u8],
        Snapshot { translation, fib, .. }: &'a Snapshot,
    ) -> Option<TransportV6> {
        let header = Ipv6Header::parse(data).ok()?;
        let destination = header.destination;
        if header.hop_limit <= 1
            || !matches!(header.next_header, protocol::TCP | protocol::UDP)
                && protocol::is_ipv6_extension(header.next_header)
        {
            return None;
        }
        // Written down as soon as it is known: there are too few registers to keep all of it.
        let length = ipv6::HEADER + usize::from(header.payload_length);
        self.length = u16::try_from(length).ok()?;
        self.source_ipv6 = header.source;
        self.fields.tos = translation.settings.type_of_service.unwrap_or(header.traffic_class);
        self.fields.ttl = header.hop_limit - 1;
        self.fields.protocol = header.next_header;
        self.fetched = Some(translation.eams.fetch_ipv6(header.source));
        if fib.may_be_local(self.table, IpAddr::V6(destination)) {
            return None;
        }
        let destination = match translation.extract_plain(destination) {
            Some(mapped) => mapped,
            None => self.other_destination_ipv6(destination, data, translation, fib)?,
        };
        self.route = fib.fetch_ipv4(destination.address);
        self.destination_ipv4 = destination.address;
        self.delta = destination.delta;
        let transport =
            transport::ipv6(data.get(..length)?, &plain_chain(&header), &translation.settings).ok()?;
        (transport != TransportV6::Error).then_some(transport)
    }

    #[inline(always)]
    fn resolve_ipv6(&mut self, Snapshot { translation, fib, .. }: &'a Snapshot) -> Option<()> {
        let host = self.fetched.and_then(|line| translation.eams.host_ipv6(line, self.source_ipv6));
        self.is_host = host.is_some();
        let source = match host {
            Some(mapped)
                if translation.may_be_service(mapped.address)
                    && (translation.eams.are_global() || is_global_unicast(self.source_ipv6)) =>
            {
                mapped
            }
            _ => other_source_ipv6(self.source_ipv6, translation)?,
        };
        self.source_ipv4 = source.address;
        self.delta = self.delta.and(source.delta);
        let ((from, to), destination) = (self.flow_ipv4(), self.destination_ipv4);
        let path = match self.table {
            TableId::MAIN => fib.lookup_fetched(self.route, destination, || flow_hash(from, to)),
            table => path_apart(fib, table, destination.into(), from, to),
        };
        self.follow(path, self.length - GROWTH)
    }

    /// Has the counts of its mapping fetched, once it is resolved; where they are, for [`Self::count`].
    #[inline(always)]
    pub(crate) fn fetch_counts(&self, meter: &Counting<'_>) -> u32 {
        match self.heading {
            Heading::ToV6(_) if self.is_host => meter.fetch(self.destination_ipv4),
            Heading::ToV4(_) if self.is_host => meter.fetch(self.source_ipv4),
            _ => 0,
        }
    }

    /// Counts the packet for its mappings, once it is sent.
    #[inline(always)]
    pub(crate) fn count(&self, meter: &Counting<'_>, fetched: u32, eams: &EamTable) {
        let (way, mapped, other) = match self.heading {
            Heading::Walk => return,
            Heading::ToV6(_) => (meter::Way::ToV6, self.destination_ipv4, self.source_ipv4),
            Heading::ToV4(_) => (meter::Way::ToV4, self.source_ipv4, self.destination_ipv4),
        };
        match self.is_host {
            true => meter.host(mapped, fetched, way, self.length),
            false => meter.any(eams, mapped, way, self.length),
        }
        meter.any(eams, other, way, self.length);
    }

    /// Notes the next hop of `path`, if it is ready and carries `size` bytes.
    #[inline(always)]
    fn follow(&mut self, path: &'a Path, size: u16) -> Option<()> {
        let Path::Adjacent(adjacency) = path else {
            return None;
        };
        self.adjacency = Some(adjacency);
        (size <= adjacency.mtu).then_some(())
    }
}

/// Where packets go that came in by an interface with a table of its own.
#[inline(never)]
fn path_apart(fib: &Fib, table: TableId, destination: IpAddr, from: u64, to: u64) -> &Path {
    fib.lookup_in(table, destination, || flow_hash(from, to))
}

/// The rarer kinds of source.
#[inline(never)]
fn other_source_ipv4(address: Ipv4Addr, translation: &Translation) -> Option<MappedV6> {
    if never_source_ipv4(address) {
        return None;
    }
    lookup::source_v4_to_v6(translation, address, Pass::First, None).ok()
}

/// The rarer kinds of source.
#[inline(never)]
fn other_source_ipv6(address: Ipv6Addr, translation: &Translation) -> Option<MappedV4> {
    lookup::source_v6_to_v4(translation, address).ok()
}

/// Of a packet without extension headers.
#[inline(always)]
const fn plain_chain(header: &Ipv6Header) -> Chain {
    Chain { protocol: header.next_header, offset: ipv6::HEADER, fragment: None, segments_left: None }
}

impl<P: BufferPool, O: Output<P::Buffer>> Walk<'_, P, O> {
    /// Third step, for a packet that has not left the lane and begins `offset` bytes behind the start of `frame`.
    #[inline(always)]
    pub(crate) fn send_lane(
        &mut self,
        mut frame: P::Buffer,
        offset: usize,
        lane: &Lane<'_>,
    ) -> End<P::Buffer> {
        let adjacency = lane.adjacency.expect("packets without an adjacency have left the lane");
        let written = match lane.heading {
            Heading::ToV6(transport) => self.write_ipv6(&mut frame, offset, lane, transport, adjacency),
            Heading::ToV4(transport) => self.write_ipv4(&mut frame, offset, lane, transport, adjacency),
            Heading::Walk => unreachable!("the caller asked"),
        };
        match written {
            Ok(bytes) => {
                self.output.emit(frame, bytes, adjacency, self.sink);
                End::Forwarded(Way::Translated)
            }
            Err(reason) => self.drop(frame, reason),
        }
    }

    /// Sends a packet that has left the lane, if that is because it is not translated: read and classified it is already. Back
    /// comes what the walk has to take.
    #[inline(never)]
    pub(crate) fn send_native(&mut self, mut frame: P::Buffer, lane: &Lane<'_>) -> Result<(), P::Buffer> {
        let Some(family) = lane.native else { return Err(frame) };
        let Some(adjacency) = lane.native_hop(family, &self.snapshot.fib) else { return Err(frame) };
        frame.pull_front(lane.offset());
        frame.truncate(usize::from(lane.length));
        decrement(frame.data_mut(), family);
        self.sink.counts.count(Event::Native);
        self.output.forward(frame, adjacency, self.sink);
        Ok(())
    }

    /// How many bytes the frame then has.
    #[inline(always)]
    fn write_ipv6(
        &mut self,
        frame: &mut P::Buffer,
        offset: usize,
        lane: &Lane<'_>,
        transport: TransportV4,
        adjacency: &Adjacency,
    ) -> Result<usize, DropReason> {
        let link = self.output.link_header(adjacency, 6);
        let (length, front) = (usize::from(lane.length), link.length());
        v4_to_v6::translate_plain(
            frame,
            transport,
            lane.first_word,
            &lane.source_ipv6,
            &lane.destination_ipv6,
            lane.delta,
            length,
            offset,
            front,
        )?;
        link.write(frame.data_mut());
        self.sink.counts.count(Event::TranslatedV4ToV6);
        Ok(front + length + usize::from(GROWTH))
    }

    /// How many bytes the frame then has.
    #[inline(always)]
    fn write_ipv4(
        &mut self,
        frame: &mut P::Buffer,
        offset: usize,
        lane: &Lane<'_>,
        transport: TransportV6,
        adjacency: &Adjacency,
    ) -> Result<usize, DropReason> {
        frame.truncate(offset + usize::from(lane.length));
        let Lane { fields, source_ipv4: source, destination_ipv4: destination, delta, .. } = *lane;
        let identification = self.lcore.identifications.next(source, destination, fields.protocol);
        let plan = v6_to_v4::Plan::plain(fields, source, destination, delta, identification);
        let link = self.output.link_header(adjacency, 4);
        v6_to_v4::translate(frame, transport, &plan, offset, link.length())?;
        link.write(frame.data_mut());
        self.sink.counts.count(Event::TranslatedV6ToV4);
        Ok(link.length() + usize::from(lane.length - GROWTH))
    }
}
