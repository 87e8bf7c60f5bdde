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
//! ICMP error can always quote the packet as it was received.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::buffer::{Buffer, BufferPool};
use crate::counters::{Counts, Event};
use crate::exception::ZeroChecksum;
use crate::hash::{high32, low64, mix};
use crate::stage::classify::{self, Class, DestinationV4};
use crate::stage::icmp_error::{self, TokenBucket};
use crate::stage::identification::Identifications;
use crate::stage::lookup::{self, Mapping, Quoted};
use crate::stage::parse::{self, Ingress};
use crate::stage::translate::icmp::{Mtus, Rest};
use crate::stage::translate::{v4_to_v6, v6_to_v4};
use crate::stage::transport::{self, TransportV4, TransportV6};
use crate::stage::{Answer, Pass, Refusal, fragment};
use crate::table::fib::{Adjacency, Path};
use crate::table::routing::InterfaceId;
use crate::table::snapshot::Snapshot;
use crate::table::translation::{Hairpin, IcmpErrors};
use crate::table::{MappedV4, MappedV6};
use crate::verdict::{DropReason, PuntReason, Verdict};
use crate::wire::icmp::{v4, v6};
use crate::wire::ipv4::{self, Ipv4Header, Options};
use crate::wire::ipv6::{self, Chain, ChainError, Ipv6Header};

/// How many bytes the IPv6 header is longer than the IPv4 header.
const GROWTH: u16 = 20;

/// Where finished packets go.
pub trait Output<B> {
    /// Sends an IP packet to a next hop.
    fn forward(&mut self, packet: B, adjacency: &Adjacency);

    /// Keeps an IP packet until `next_hop` on `interface` has a link-layer address.
    fn unresolved(&mut self, packet: B, interface: InterfaceId, next_hop: IpAddr);
}

/// What a worker keeps from packet to packet.
pub struct LcoreState {
    /// Identifications for packets with DF 0.
    pub identifications: Identifications,
    /// Limits the ICMP errors the relay originates; none in offline translation.
    pub icmp_errors: Option<TokenBucket>,
    /// What happened so far.
    pub counts: Counts,
    /// The first datagram without checksum dropped since the last event, and how many followed it.
    pub zero_checksum: Option<ZeroChecksum>,
    random: u64,
}

impl LcoreState {
    /// A fresh state with random keys.
    #[must_use]
    pub fn new(icmp_errors: Option<TokenBucket>) -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self {
            identifications: Identifications::default(),
            icmp_errors,
            counts: Counts::default(),
            zero_checksum: None,
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
    /// They are forwarded.
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
pub struct Walk<'a, P, O> {
    /// The tables.
    pub snapshot: &'a Snapshot,
    /// The worker's state.
    pub lcore: &'a mut LcoreState,
    /// For fragments and ICMP errors.
    pub pool: &'a mut P,
    /// Where packets go.
    pub output: &'a mut O,
    /// What to do with packets that need no translation.
    pub native: Native,
}

/// An IPv4 packet that can be translated.
struct ReadyV4<'a> {
    transport: TransportV4,
    addresses: v4_to_v6::Addresses,
    quoted: Option<v4_to_v6::Addresses>,
    path: &'a Path,
    /// Cut into pieces of this many bytes, if at all.
    cut: Option<u16>,
}

/// An IPv6 packet that can be translated.
struct ReadyV6<'a> {
    chain: Chain,
    transport: TransportV6,
    addresses: v6_to_v4::Addresses,
    quoted: Option<v6_to_v4::Addresses>,
    /// The real source of an ICMP error whose source is from the pool, when it is to be named.
    name_source: Option<Ipv6Addr>,
    onward: Onward<'a>,
}

/// Where an IPv6 packet goes once it is IPv4.
enum Onward<'a> {
    /// Out, over this path.
    Out(&'a Path),
    /// Back to IPv6, to this address.
    Hairpin(MappedV6),
}

impl<'a, P: BufferPool, O: Output<P::Buffer>> Walk<'a, P, O> {
    /// Walks an IPv4 packet; `packet` begins with its header and may be followed by link padding.
    #[inline]
    pub fn ipv4(&mut self, mut packet: P::Buffer, ingress: Ingress) -> End<P::Buffer> {
        let header = match parse::ipv4(&mut packet) {
            Ok(header) => header,
            Err(reason) => return self.drop(reason),
        };
        let snapshot = self.snapshot;
        match classify::ipv4(header.destination, ingress.group, &snapshot.translation, &snapshot.fib) {
            Ok(Class::Translate(destination)) => {
                self.translate_ipv4(packet, &header, destination, ingress, Pass::First)
            }
            Ok(Class::Native) if self.native == Native::Forward => self.native_ipv4(packet, &header, ingress),
            Ok(Class::Native) => End::Forwarded(Way::Native),
            Ok(Class::Punt(reason)) => self.punt(packet, reason),
            Err(refusal) => self.refuse_ipv4(&packet, &header, ingress, refusal),
        }
    }

    /// Walks an IPv6 packet; `packet` begins with its header and may be followed by link padding.
    #[inline]
    pub fn ipv6(&mut self, mut packet: P::Buffer, ingress: Ingress) -> End<P::Buffer> {
        let header = match parse::ipv6(&mut packet) {
            Ok(header) => header,
            Err(reason) => return self.drop(reason),
        };
        let snapshot = self.snapshot;
        match classify::ipv6(header.destination, ingress.group, &snapshot.translation, &snapshot.fib) {
            Ok(Class::Translate(destination)) => self.translate_ipv6(packet, &header, destination, ingress),
            Ok(Class::Native) if self.native == Native::Forward => self.native_ipv6(packet, &header, ingress),
            Ok(Class::Native) => End::Forwarded(Way::Native),
            Ok(Class::Punt(reason)) => self.punt(packet, reason),
            Err(refusal) => self.refuse_ipv6(&packet, &header, ingress, refusal),
        }
    }

    // IPv4 to IPv6.

    fn translate_ipv4(
        &mut self,
        mut packet: P::Buffer,
        header: &Ipv4Header,
        destination: MappedV6,
        ingress: Ingress,
        pass: Pass,
    ) -> End<P::Buffer> {
        let snapshot = self.snapshot;
        let ready = match self.prepare_ipv4(packet.data(), header, destination, pass) {
            Ok(ready) => ready,
            Err(refusal) if pass == Pass::Hairpin => return self.drop(refusal.reason),
            Err(refusal) => return self.refuse_ipv4(&packet, header, ingress, refusal),
        };
        let path_mtu = ready.path.mtu().unwrap_or(u16::MAX);
        let (decrement, ipv4_mtu) = match pass {
            Pass::First => (1, ingress.mtu),
            // No IPv4 link is crossed, and hops are counted once (RFC 7757 4.2.2).
            Pass::Hairpin => (0, u16::MAX),
        };
        let plan = v4_to_v6::Plan {
            header,
            addresses: ready.addresses,
            quoted: ready.quoted,
            fragment_header: header.is_fragment() || ready.cut.is_some(),
            hop_limit: header.ttl - decrement,
            mtus: Mtus { ipv6: path_mtu, ipv4: ipv4_mtu },
            settings: &snapshot.translation.settings,
        };
        if let Err(reason) = v4_to_v6::translate(&mut packet, &ready.transport, &plan) {
            return self.drop(reason);
        }
        if pass == Pass::First {
            self.lcore.counts.count(Event::TranslatedV4ToV6);
            if let TransportV4::Error(message, _) = &ready.transport {
                self.count_error(message.rest);
            } else if header.is_fragment() {
                self.lcore.counts.count(Event::TranslatedFragments);
            }
        }
        let destination = IpAddr::V6(destination.address);
        match ready.cut {
            None => self.send(packet, ready.path, destination),
            Some(limit) => match fragment::ipv6(packet, limit, self.pool) {
                Ok(pieces) => self.send_pieces(pieces, ready.path, destination),
                Err(reason) => return self.drop(reason),
            },
        }
        match pass {
            Pass::First => End::Forwarded(Way::Translated),
            Pass::Hairpin => {
                self.lcore.counts.count(Event::Hairpinned);
                End::Forwarded(Way::Hairpinned)
            }
        }
    }

    /// Everything that can refuse an IPv4 packet, in the order a router and then a translator looks.
    #[inline]
    fn prepare_ipv4(
        &self,
        data: &[u8],
        header: &Ipv4Header,
        destination: MappedV6,
        pass: Pass,
    ) -> Result<ReadyV4<'a>, Refusal> {
        let translation = &self.snapshot.translation;
        if pass == Pass::First {
            self.check_router_duties_ipv4(data, header)?;
        }
        let transport = transport::ipv4(data, header, &translation.settings)?;
        let quote = match &transport {
            TransportV4::Error(_, quote) => Some(quote),
            _ => None,
        };
        let quoted_header = quote.map(|quote| Quoted { destination: quote.header.destination });
        let source = lookup::source_v4_to_v6(translation, header.source, pass, quoted_header)?;
        let quoted = match quote {
            None => None,
            Some(quote) => Some(v4_to_v6::Addresses {
                source: lookup::quoted_source_v4_to_v6(translation, quote.header.source)?,
                destination: lookup::quoted_destination_v4_to_v6(
                    translation,
                    quote.header.destination,
                    pass,
                )?,
            }),
        };
        let addresses = v4_to_v6::Addresses { source, destination };
        let hash = flow_hash(u64::from(header.source.to_bits()), u64::from(header.destination.to_bits()));
        let path = self.snapshot.fib.lookup(IpAddr::V6(destination.address), hash);
        let mtu = usable(path).map_err(unreachable_ipv4)?;
        let cut = if quoted.is_some() { None } else { self.cut_ipv4(header, mtu)? };
        Ok(ReadyV4 { transport, addresses, quoted, path, cut })
    }

    /// RFC 7915 4.1 and RFC 1812: source, source routes, TTL.
    #[inline]
    fn check_router_duties_ipv4(&self, data: &[u8], header: &Ipv4Header) -> Result<(), Refusal> {
        if classify::is_illegal_source_ipv4(header.source) && !transport::is_icmpv4_error(data, header) {
            return Err(DropReason::IllegalSource.into());
        }
        let options = &data[ipv4::HEADER..usize::from(header.header_length)];
        match if options.is_empty() { Options::Ignored } else { ipv4::inspect_options(options) } {
            Options::Ignored => {}
            Options::Malformed => return Err(DropReason::Ipv4OptionsInvalid.into()),
            Options::SourceRoute => {
                let (kind, code) = (v4::UNREACHABLE, v4::SOURCE_ROUTE_FAILED);
                return Err(Refusal::answered(DropReason::SourceRoute, kind, code, [0; 4]));
            }
        }
        expired_ipv4(header)
    }

    /// Whether the packet, once IPv6, must be cut to fit (RFC 7915 4, 4.1). The Fragment header counts only where
    /// there is one: a whole packet of exactly the limit stays whole.
    #[inline]
    fn cut_ipv4(&self, header: &Ipv4Header, path_mtu: u16) -> Result<Option<u16>, Refusal> {
        let settings = &self.snapshot.translation.settings;
        let growth = if header.is_fragment() { ipv6::HEADER + ipv6::FRAGMENT_HEADER } else { ipv6::HEADER };
        let size = usize::from(header.payload_length()) + growth;
        if header.dont_fragment && (!header.is_fragment() || settings.respect_fragment_df) {
            if size <= usize::from(path_mtu) {
                return Ok(None);
            }
            let mtu = path_mtu - GROWTH - if header.is_fragment() { 8 } else { 0 };
            let [high, low] = mtu.to_be_bytes();
            return Err(Refusal::answered(
                DropReason::PacketTooBig,
                v4::UNREACHABLE,
                v4::FRAGMENTATION_NEEDED,
                [0, 0, high, low],
            ));
        }
        let limit = path_mtu.min(settings.lowest_ipv6_mtu);
        Ok((size > usize::from(limit)).then_some(limit))
    }

    // IPv6 to IPv4.

    fn translate_ipv6(
        &mut self,
        mut packet: P::Buffer,
        header: &Ipv6Header,
        destination: DestinationV4,
        ingress: Ingress,
    ) -> End<P::Buffer> {
        let snapshot = self.snapshot;
        let random = self.lcore.next_random();
        let ready = match self.prepare_ipv6(packet.data(), header, destination, random) {
            Ok(ready) => ready,
            Err(refusal) => return self.refuse_ipv6(&packet, header, ingress, refusal),
        };
        let (source, to) = (ready.addresses.source.address, ready.addresses.destination.address);
        let ipv4_mtu = match &ready.onward {
            Onward::Out(path) => path.mtu().unwrap_or(u16::MAX),
            Onward::Hairpin(_) => u16::MAX,
        };
        let plan = v6_to_v4::Plan {
            header,
            chain: &ready.chain,
            addresses: ready.addresses,
            quoted: ready.quoted,
            name_source: ready.name_source,
            ttl: header.hop_limit - 1,
            identification: self.lcore.identifications.next(source, to, ready.chain.protocol),
            mtus: Mtus { ipv6: ingress.mtu, ipv4: ipv4_mtu },
            settings: &snapshot.translation.settings,
        };
        if let Err(reason) = v6_to_v4::translate(&mut packet, &ready.transport, &plan) {
            return self.drop(reason);
        }
        match ready.onward {
            Onward::Hairpin(turned) => {
                let header = Ipv4Header::parse_quoted(packet.data()).expect("translate wrote the header");
                self.translate_ipv4(packet, &header, turned, ingress, Pass::Hairpin)
            }
            Onward::Out(path) => {
                self.lcore.counts.count(Event::TranslatedV6ToV4);
                if let TransportV6::Error(message, _) = &ready.transport {
                    self.count_error(message.rest);
                } else if ready.chain.fragment.is_some() {
                    self.lcore.counts.count(Event::TranslatedFragments);
                }
                self.send_ipv4(packet, path, to)
            }
        }
    }

    /// Everything that can refuse an IPv6 packet, in the order a router and then a translator looks.
    #[inline]
    fn prepare_ipv6(
        &self,
        data: &[u8],
        header: &Ipv6Header,
        destination: DestinationV4,
        random: u32,
    ) -> Result<ReadyV6<'a>, Refusal> {
        let translation = &self.snapshot.translation;
        let settings = &translation.settings;
        if classify::is_illegal_source_ipv6(header.source) {
            return Err(DropReason::IllegalSource.into());
        }
        let chain = ipv6::walk_extensions(data, header.next_header).map_err(|error| match error {
            ChainError::Overrun => DropReason::Ipv6ExtensionInvalid,
            ChainError::BehindFragment => DropReason::FragmentedExtension,
        })?;
        expired_ipv6(header)?;
        if let Some(pointer) = chain.segments_left {
            let pointer = u32::try_from(pointer).expect("an offset in a packet").to_be_bytes();
            let (kind, code) = (v6::PARAMETER_PROBLEM, v6::ERRONEOUS_FIELD);
            return Err(Refusal::answered(DropReason::RoutingHeader, kind, code, pointer));
        }
        let transport = transport::ipv6(data, &chain, settings)?;
        let quote = match &transport {
            TransportV6::Error(_, quote) => Some(quote),
            _ => None,
        };
        let (source, by) = lookup::source_v6_to_v4(translation, header.source, quote.is_some(), random)?;
        let addresses = v6_to_v4::Addresses { source, destination: destination.mapped };
        let (quoted, quoted_source_by) = match quote {
            None => (None, Mapping::Eam),
            Some(quote) => {
                let (source, by) = lookup::quoted_v6_to_v4(translation, quote.header.source)?;
                let (destination, _) = lookup::quoted_v6_to_v4(translation, quote.header.destination)?;
                (Some(v6_to_v4::Addresses { source, destination }), by)
            }
        };
        let name_source =
            (by == Mapping::IcmpSourcePool && settings.icmp_source_extension).then_some(header.source);
        let total_length = ipv4::HEADER + data.len() - chain.offset;
        if total_length > usize::from(u16::MAX) {
            return Err(Refusal::prohibited_v6(DropReason::TooLong));
        }
        let quoted_source = quoted.map(|quoted| (quoted.source, quoted_source_by));
        let onward = match self.hairpin(destination, quoted_source) {
            Some(turned) => {
                let quoted_destination = quoted.map(|quoted| quoted.destination.address);
                self.check_hairpin_source(source.address, quoted_destination)?;
                self.check_hairpin_path(turned, total_length, &chain, quoted.is_some())?;
                Onward::Hairpin(turned)
            }
            None => Onward::Out(self.path_ipv4(&addresses, total_length, &chain, quoted.is_some())?),
        };
        Ok(ReadyV6 { chain, transport, addresses, quoted, name_source, onward })
    }

    /// RFC 7757 4.2.2 conditions A and B: the address in IPv6 the packet turns round to. A forged error could
    /// satisfy B and still point anywhere, so its destination must be the quoted source.
    #[inline]
    fn hairpin(
        &self,
        destination: DestinationV4,
        quoted_source: Option<(MappedV4, Mapping)>,
    ) -> Option<MappedV6> {
        let translation = &self.snapshot.translation;
        let (address, by) = match quoted_source {
            None => (destination.mapped.address, destination.by),
            Some((source, by)) if source.address == destination.mapped.address => (source.address, by),
            Some(_) => return None,
        };
        let turns = translation.settings.hairpin == Hairpin::Intrinsic
            && by == Mapping::Prefix
            && translation.eams.covers_service(address);
        if turns { translation.eams.lookup_ipv4(address) } else { None }
    }

    /// Whether the second pass will take the source; asked now, while an error can still quote the packet.
    fn check_hairpin_source(
        &self,
        source: Ipv4Addr,
        quoted_destination: Option<Ipv4Addr>,
    ) -> Result<(), Refusal> {
        let quoted = quoted_destination.map(|destination| Quoted { destination });
        lookup::source_v4_to_v6(&self.snapshot.translation, source, Pass::Hairpin, quoted)
            .map(drop)
            .map_err(|refusal| Refusal::prohibited_v6(refusal.reason))
    }

    /// Whether the packet will find its way after turning round; asked now for the same reason.
    fn check_hairpin_path(
        &self,
        turned: MappedV6,
        total_length: usize,
        chain: &Chain,
        is_icmp_error: bool,
    ) -> Result<(), Refusal> {
        let path = self.snapshot.fib.lookup(IpAddr::V6(turned.address), 0);
        let mtu = usable(path).map_err(unreachable_ipv6)?;
        let size = total_length - ipv4::HEADER + ipv6::HEADER;
        let whole = chain.fragment.is_none() && total_length > usize::from(v6_to_v4::SMALL);
        if whole && !is_icmp_error && size > usize::from(mtu) {
            return Err(too_big_ipv6(mtu));
        }
        Ok(())
    }

    /// The path of a packet that leaves as IPv4, if its size allows (RFC 7915 1.4, RFC 4443 3.2).
    #[inline]
    fn path_ipv4(
        &self,
        addresses: &v6_to_v4::Addresses,
        total_length: usize,
        chain: &Chain,
        is_icmp_error: bool,
    ) -> Result<&'a Path, Refusal> {
        let (source, destination) = (addresses.source.address, addresses.destination.address);
        let hash = flow_hash(u64::from(source.to_bits()), u64::from(destination.to_bits()));
        let path = self.snapshot.fib.lookup(IpAddr::V4(destination), hash);
        let mtu = usable(path).map_err(unreachable_ipv6)?;
        let dont_fragment = chain.fragment.is_none() && total_length > usize::from(v6_to_v4::SMALL);
        if dont_fragment && !is_icmp_error && total_length > usize::from(mtu) {
            return Err(too_big_ipv6(mtu.saturating_add(GROWTH)));
        }
        Ok(path)
    }

    /// Sends a translated IPv4 packet, in pieces when the link is too small for it (RFC 7915 5.1.1).
    #[inline]
    fn send_ipv4(&mut self, packet: P::Buffer, path: &Path, destination: Ipv4Addr) -> End<P::Buffer> {
        let mtu = path.mtu().unwrap_or(u16::MAX);
        let to = IpAddr::V4(destination);
        if packet.data().len() <= usize::from(mtu) {
            self.send(packet, path, to);
            return End::Forwarded(Way::Translated);
        }
        let dont_fragment = packet.data()[6] & 0x40 != 0;
        if dont_fragment {
            return self.drop(DropReason::PacketTooBig);
        }
        match fragment::ipv4(packet, mtu, self.pool) {
            Ok(pieces) => {
                self.send_pieces(pieces, path, to);
                End::Forwarded(Way::Translated)
            }
            Err(reason) => self.drop(reason),
        }
    }

    // Forwarding without translation.

    fn native_ipv4(
        &mut self,
        mut packet: P::Buffer,
        header: &Ipv4Header,
        ingress: Ingress,
    ) -> End<P::Buffer> {
        if classify::is_illegal_source_ipv4(header.source) {
            return self.drop(DropReason::IllegalSource);
        }
        let hash = flow_hash(u64::from(header.source.to_bits()), u64::from(header.destination.to_bits()));
        let destination = IpAddr::V4(header.destination);
        let path = self.snapshot.fib.lookup(destination, hash);
        if *path == Path::Kernel {
            return self.punt(packet, PuntReason::KernelRoute);
        }
        let checked = expired_ipv4(header).and_then(|()| usable(path).map_err(native_unreachable_ipv4));
        let mtu = match checked {
            Ok(mtu) => mtu,
            Err(refusal) => return self.refuse_ipv4(&packet, header, ingress, refusal),
        };
        let too_big = header.total_length > mtu;
        if too_big && header.dont_fragment {
            let [high, low] = mtu.to_be_bytes();
            let (kind, code) = (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED);
            let refusal = Refusal::answered(DropReason::PacketTooBig, kind, code, [0, 0, high, low]);
            return self.refuse_ipv4(&packet, header, ingress, refusal);
        }
        decrement_ttl(packet.data_mut());
        self.lcore.counts.count(Event::Native);
        if !too_big {
            self.send(packet, path, destination);
            return End::Forwarded(Way::Native);
        }
        match fragment::ipv4(packet, mtu, self.pool) {
            Ok(pieces) => {
                self.send_pieces(pieces, path, destination);
                End::Forwarded(Way::Native)
            }
            Err(reason) => self.drop(reason),
        }
    }

    fn native_ipv6(
        &mut self,
        mut packet: P::Buffer,
        header: &Ipv6Header,
        ingress: Ingress,
    ) -> End<P::Buffer> {
        if classify::is_illegal_source_ipv6(header.source) {
            return self.drop(DropReason::IllegalSource);
        }
        let hash = flow_hash(low64(header.source.to_bits()), low64(header.destination.to_bits()));
        let destination = IpAddr::V6(header.destination);
        let path = self.snapshot.fib.lookup(destination, hash);
        if *path == Path::Kernel {
            return self.punt(packet, PuntReason::KernelRoute);
        }
        let checked = expired_ipv6(header).and_then(|()| usable(path).map_err(unreachable_ipv6));
        match checked {
            Ok(mtu) if packet.data().len() > usize::from(mtu) => {
                self.refuse_ipv6(&packet, header, ingress, too_big_ipv6(mtu))
            }
            Ok(_) => {
                packet.data_mut()[7] -= 1;
                self.lcore.counts.count(Event::Native);
                self.send(packet, path, destination);
                End::Forwarded(Way::Native)
            }
            Err(refusal) => self.refuse_ipv6(&packet, header, ingress, refusal),
        }
    }

    // The ends.

    #[inline]
    fn send(&mut self, packet: P::Buffer, path: &Path, destination: IpAddr) {
        match path {
            Path::Adjacent(adjacency) => self.output.forward(packet, adjacency),
            Path::Unresolved { interface, gateway, .. } => {
                self.output.unresolved(packet, *interface, gateway.unwrap_or(destination));
            }
            _ => unreachable!("usable() has refused every other path"),
        }
    }

    fn send_pieces(&mut self, pieces: fragment::Pieces<P::Buffer>, path: &Path, destination: IpAddr) {
        let counts = &mut self.lcore.counts;
        counts.count(Event::FragmentedPackets);
        counts.add(Event::OriginatedFragments, pieces.len() as u64 - 1);
        for piece in pieces {
            self.send(piece, path, destination);
        }
    }

    #[inline]
    #[allow(clippy::unused_self, reason = "reads like the other ends of a walk")]
    fn punt(&mut self, packet: P::Buffer, reason: PuntReason) -> End<P::Buffer> {
        End::Punted(packet, reason)
    }

    fn drop(&mut self, reason: DropReason) -> End<P::Buffer> {
        self.lcore.counts.end(Verdict::Dropped(reason));
        End::Dropped { reason, answered: false }
    }

    fn refuse_ipv4(
        &mut self,
        packet: &P::Buffer,
        header: &Ipv4Header,
        ingress: Ingress,
        refusal: Refusal,
    ) -> End<P::Buffer> {
        self.lcore.counts.end(Verdict::Dropped(refusal.reason));
        if refusal.reason == DropReason::UdpZeroChecksum {
            self.lcore.sample_zero_checksum(packet.data(), header);
        }
        let answered = refusal.answer.is_some_and(|answer| {
            let permitted = icmp_error::permitted_ipv4(packet.data(), header, ingress.group);
            self.may_answer(permitted) && self.answer_ipv4(packet.data(), header, &answer)
        });
        End::Dropped { reason: refusal.reason, answered }
    }

    fn refuse_ipv6(
        &mut self,
        packet: &P::Buffer,
        header: &Ipv6Header,
        ingress: Ingress,
        refusal: Refusal,
    ) -> End<P::Buffer> {
        self.lcore.counts.end(Verdict::Dropped(refusal.reason));
        let answered = refusal.answer.is_some_and(|answer| {
            let permitted = icmp_error::permitted_ipv6(packet.data(), header, ingress.group, &answer);
            self.may_answer(permitted) && self.answer_ipv6(packet.data(), header, &answer)
        });
        End::Dropped { reason: refusal.reason, answered }
    }

    /// Whether an error goes out, by the rules, the setting and the rate limit.
    fn may_answer(&mut self, permitted: bool) -> bool {
        let counts = &mut self.lcore.counts;
        if !permitted {
            counts.count(Event::IcmpErrorsForbidden);
            return false;
        }
        match self.snapshot.translation.settings.icmp_errors {
            IcmpErrors::Off => {
                counts.count(Event::IcmpErrorsOff);
                false
            }
            IcmpErrors::Send => true,
            IcmpErrors::Limit(_) => {
                let granted = self.lcore.icmp_errors.as_mut().is_none_or(TokenBucket::take);
                if !granted {
                    counts.count(Event::IcmpErrorsRateLimited);
                }
                granted
            }
        }
    }

    fn answer_ipv4(&mut self, packet: &[u8], header: &Ipv4Header, answer: &Answer) -> bool {
        let snapshot = self.snapshot;
        let path = snapshot.fib.lookup(IpAddr::V4(header.source), 0);
        let error =
            egress(path).and_then(|interface| snapshot.fib.icmpv4_source(interface)).and_then(|source| {
                let identification = self.lcore.identifications.next(source, header.source, 1);
                icmp_error::ipv4(packet, header.source, source, identification, answer, self.pool)
            });
        self.originate(error, path, IpAddr::V4(header.source))
    }

    fn answer_ipv6(&mut self, packet: &[u8], header: &Ipv6Header, answer: &Answer) -> bool {
        let snapshot = self.snapshot;
        let path = snapshot.fib.lookup(IpAddr::V6(header.source), 0);
        let error = egress(path)
            .and_then(|interface| snapshot.fib.icmpv6_source(interface))
            .and_then(|source| icmp_error::ipv6(packet, header.source, source, answer, self.pool));
        self.originate(error, path, IpAddr::V6(header.source))
    }

    fn originate(&mut self, error: Option<P::Buffer>, path: &Path, destination: IpAddr) -> bool {
        let Some(error) = error else {
            self.lcore.counts.count(Event::IcmpErrorsUnsendable);
            return false;
        };
        self.lcore.counts.count(Event::OriginatedIcmpErrors);
        self.send(error, path, destination);
        true
    }

    fn count_error(&mut self, rest: Rest) {
        self.lcore.counts.count(Event::TranslatedIcmpErrors);
        if matches!(rest, Rest::Mtu(_)) {
            self.lcore.counts.count(Event::TranslatedPacketTooBig);
        }
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
        Path::NoRoute | Path::Kernel | Path::Multipath(_) => Err(DropReason::NoRoute),
    }
}

/// The interface a path leaves by.
const fn egress(path: &Path) -> Option<InterfaceId> {
    match path {
        Path::Adjacent(adjacency) => Some(adjacency.interface),
        Path::Unresolved { interface, .. } => Some(*interface),
        _ => None,
    }
}

/// The IPv4 sender of a packet whose IPv6 form has no path is told host unreachable (RFC 1812 4.3.3.1).
fn unreachable_ipv4(reason: DropReason) -> Refusal {
    match reason {
        DropReason::RouteBlackhole => Refusal::silent(reason),
        DropReason::RouteProhibited => Refusal::prohibited_v4(reason),
        _ => Refusal::answered(reason, v4::UNREACHABLE, v4::HOST, [0; 4]),
    }
}

/// As [`unreachable_ipv4`], for a packet that stays IPv4: without a route the network is unreachable.
fn native_unreachable_ipv4(reason: DropReason) -> Refusal {
    match reason {
        DropReason::NoRoute => Refusal::answered(reason, v4::UNREACHABLE, v4::NETWORK, [0; 4]),
        _ => unreachable_ipv4(reason),
    }
}

/// The same towards IPv6: no route, or address unreachable (RFC 4443 3.1).
fn unreachable_ipv6(reason: DropReason) -> Refusal {
    match reason {
        DropReason::RouteBlackhole => Refusal::silent(reason),
        DropReason::RouteProhibited => Refusal::prohibited_v6(reason),
        DropReason::NoRoute | DropReason::DestinationIsLocal => {
            Refusal::answered(reason, v6::UNREACHABLE, v6::NO_ROUTE, [0; 4])
        }
        _ => Refusal::answered(reason, v6::UNREACHABLE, v6::ADDRESS, [0; 4]),
    }
}

/// RFC 4443 3.2; never below the IPv6 minimum (RFC 8201 4).
fn too_big_ipv6(mtu: u16) -> Refusal {
    let mtu = u32::from(mtu.max(ipv6::MIN_MTU)).to_be_bytes();
    Refusal::answered(DropReason::PacketTooBig, v6::PACKET_TOO_BIG, 0, mtu)
}

#[inline]
fn expired_ipv4(header: &Ipv4Header) -> Result<(), Refusal> {
    if header.ttl > 1 {
        return Ok(());
    }
    Err(Refusal::answered(DropReason::HopLimitExceeded, v4::TIME_EXCEEDED, 0, [0; 4]))
}

#[inline]
fn expired_ipv6(header: &Ipv6Header) -> Result<(), Refusal> {
    if header.hop_limit > 1 {
        return Ok(());
    }
    Err(Refusal::answered(DropReason::HopLimitExceeded, v6::TIME_EXCEEDED, 0, [0; 4]))
}

/// One hop: TTL minus one, and the header checksum to match (RFC 1624).
fn decrement_ttl(packet: &mut [u8]) {
    use crate::wire::checksum::{Delta, Sum, adjust};
    let word = u16::from_be_bytes([packet[8], packet[9]]);
    let delta = Delta::new(Sum::of_u16(word), Sum::of_u16(word - 0x0100));
    let checksum = adjust(u16::from_be_bytes([packet[10], packet[11]]), delta);
    packet[8] -= 1;
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Spreads flows over the next hops of a multipath route by addresses alone, so that the fragments and the ICMP
/// errors of a flow follow it (RFC 2991).
#[inline]
const fn flow_hash(source: u64, destination: u64) -> u32 {
    high32(mix(source ^ destination.rotate_left(32)))
}
