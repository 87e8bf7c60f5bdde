//! The way from IPv6 to IPv4 (RFC 7915 section 5), and back at once for a hairpin.

use std::net::{IpAddr, Ipv4Addr};

use super::refuse::{egress, expired_ipv6, too_big_ipv6, unreachable_ipv6};
use super::{End, GROWTH, Output, Walk, Way, flow_hash};
use crate::buffer::{Buffer, BufferPool};
use crate::counters::Event;
use crate::stage::classify::DestinationV4;
use crate::stage::fragment::{self, Uncut};
use crate::stage::lookup::{self, Mapping, Quoted};
use crate::stage::parse::Ingress;
use crate::stage::quote::QuoteV6;
use crate::stage::translate::icmp::{self, Mtus};
use crate::stage::translate::v6_to_v4::{self, Addresses, ErrorPlan, Plan};
use crate::stage::transport::{self, TransportV6};
use crate::stage::{Pass, Refusal};
use crate::table::fib::Path;
use crate::table::snapshot::Snapshot;
use crate::table::special::{DUMMY_IPV4, never_forwarded_ipv6};
use crate::table::translation::{Hairpin, IcmpSourceDefault, IcmpSourceExtension};
use crate::table::{MappedV4, MappedV6};
use crate::verdict::DropReason;
use crate::wire::checksum::Delta;
use crate::wire::icmp::{NamingObject, v6};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Chain, ChainError, Ipv6Header};

/// An ICMP error that can be translated.
struct ReadyError {
    message: icmp::Message,
    quote: QuoteV6,
    source: MappedV4,
    quoted: Addresses,
    /// How the quoted source was mapped: RFC 7757 4.2.2 asks.
    quoted_source_by: Mapping,
    /// The real source, when it is to be named in an extension.
    name: Option<NamingObject>,
}

/// Where an IPv6 packet goes once it is IPv4.
#[derive(Clone, Copy)]
enum Onward<'a> {
    /// Out, over this path.
    Out(&'a Path),
    /// Back to IPv6, to this address.
    Hairpin(MappedV6),
}

impl<'a, P: BufferPool, O: Output<P::Buffer>> Walk<'a, P, O> {
    #[inline]
    pub(super) fn translate_ipv6(
        &mut self,
        packet: P::Buffer,
        header: &Ipv6Header,
        destination: DestinationV4,
        ingress: Ingress,
    ) -> End<P::Buffer> {
        match self.inspect_ipv6(packet.data(), header) {
            Ok((chain, TransportV6::Error)) => {
                self.translate_error_ipv6(packet, header, &chain, destination, ingress)
            }
            Ok((chain, transport)) => {
                self.translate_plain_ipv6(packet, header, &chain, transport, destination, ingress)
            }
            Err(refusal) => self.refuse_ipv6(packet, header, ingress, refusal),
        }
    }

    /// Whether a plain translator leaves a packet to routing: native traffic of others to a host that has a mapping. An ICMP
    /// error about a packet the relay has sent is none of these.
    pub(super) fn is_others(&self, data: &[u8], header: &Ipv6Header, destination: DestinationV4) -> bool {
        let translation = &self.snapshot.translation;
        translation.serves_mapped_destinations()
            && destination.by == Mapping::Eam
            && !destination.mapped.default_eam
            && !translation.maps_ipv6(header.source)
            && !self.quotes_ours(data, header)
    }

    fn quotes_ours(&self, data: &[u8], header: &Ipv6Header) -> bool {
        let translation = &self.snapshot.translation;
        let quote = ipv6::walk_extensions(data, header.next_header).ok().and_then(|chain| {
            let is_error = transport::ipv6(data, &chain, &translation.settings) == Ok(TransportV6::Error);
            is_error.then(|| QuoteV6::parse(&data[chain.offset..], &translation.settings).ok())?
        });
        quote.is_some_and(|quote| {
            translation.maps_ipv6(quote.header.source) && translation.maps_ipv6(quote.header.destination)
        })
    }

    /// Everything but ICMP errors.
    #[inline]
    fn translate_plain_ipv6(
        &mut self,
        mut packet: P::Buffer,
        header: &Ipv6Header,
        chain: &Chain,
        transport: TransportV6,
        destination: DestinationV4,
        ingress: Ingress,
    ) -> End<P::Buffer> {
        let total_length = ipv4::HEADER + packet.data().len() - chain.offset;
        let (addresses, onward) = match self.prepare_ipv6(header, chain, destination, total_length) {
            Ok(ready) => ready,
            Err(refusal) => return self.refuse_ipv6(packet, header, ingress, refusal),
        };
        let (source, target) = (addresses.source.address, addresses.destination.address);
        let plan = self.plan_ipv6(header, chain, source, target, addresses.delta());
        if let Err(reason) = v6_to_v4::translate(&mut packet, transport, &plan, 0, 0) {
            return self.drop(packet, reason);
        }
        if chain.fragment.is_some() && matches!(onward, Onward::Out(_)) {
            self.sink.counts.count(Event::TranslatedFragments);
        }
        self.go_on(packet, onward, addresses.destination.address, ingress)
    }

    /// An ICMP error with the packet it quotes.
    #[inline(never)]
    fn translate_error_ipv6(
        &mut self,
        mut packet: P::Buffer,
        header: &Ipv6Header,
        chain: &Chain,
        destination: DestinationV4,
        ingress: Ingress,
    ) -> End<P::Buffer> {
        let random = self.lcore.next_random();
        let target = destination.mapped.address;
        let prepared =
            self.prepare_error_ipv6(packet.data(), header, chain, target, random).and_then(|ready| {
                let onward = self.onward_error(header, destination, &ready)?;
                Ok((ready, onward))
            });
        let (ready, onward) = match prepared {
            Ok(ready) => ready,
            Err(refusal) => return self.refuse_ipv6(packet, header, ingress, refusal),
        };
        // No IPv4 link is crossed by what turns round: it is cut when it is IPv6 again.
        let (ipv4_mtu, limit) = match onward {
            Onward::Out(path) => {
                let mtu = path.mtu().unwrap_or(u16::MAX).max(ipv4::MIN_MTU);
                (mtu, usize::from(mtu).min(v6_to_v4::MAX_ERROR))
            }
            Onward::Hairpin(_) => (u16::MAX, usize::from(u16::MAX)),
        };
        let delta = ready.source.delta.and(destination.mapped.delta);
        let source = ready.source.address;
        let plan = self.plan_ipv6(header, chain, source, target, delta);
        let error = ErrorPlan {
            message: ready.message,
            quote: &ready.quote,
            quoted: ready.quoted,
            name: ready.name,
            mtus: Mtus { ipv6: ingress.mtu, ipv4: ipv4_mtu },
            limit,
        };
        if let Err(reason) =
            v6_to_v4::translate_error(&mut packet, &error, &plan, &self.snapshot.translation.settings)
        {
            return self.drop(packet, reason);
        }
        if matches!(onward, Onward::Out(_)) {
            self.count_error(ready.message.rest);
        }
        self.go_on(packet, onward, destination.mapped.address, ingress)
    }

    /// Sends the IPv4 packet, or turns it round.
    #[inline]
    fn go_on(
        &mut self,
        packet: P::Buffer,
        onward: Onward<'a>,
        destination: Ipv4Addr,
        ingress: Ingress,
    ) -> End<P::Buffer> {
        match onward {
            Onward::Hairpin(turned) => {
                let header = Ipv4Header::parse_checked(packet.data()).expect("translate wrote the header");
                self.translate_ipv4(packet, &header, turned, ingress, Pass::Hairpin)
            }
            Onward::Out(path) => {
                self.sink.counts.count(Event::TranslatedV6ToV4);
                self.send_ipv4(packet, path, destination)
            }
        }
    }

    #[inline]
    fn plan_ipv6(
        &mut self,
        header: &Ipv6Header,
        chain: &Chain,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        delta: Delta,
    ) -> Plan {
        let identification = self.lcore.identifications.next(source, destination, chain.protocol);
        let settings = &self.snapshot.translation.settings;
        Plan::new(header, chain, source, destination, delta, identification, settings)
    }

    /// Where the headers lead and what the packet carries, if a router and then a translator has nothing against it.
    #[inline]
    fn inspect_ipv6(&self, data: &[u8], header: &Ipv6Header) -> Result<(Chain, TransportV6), Refusal> {
        if never_forwarded_ipv6(header.source) {
            return Err(DropReason::IllegalSource.into());
        }
        let chain = ipv6::walk_extensions(data, header.next_header).map_err(|error| match error {
            ChainError::Overrun => DropReason::Ipv6ExtensionInvalid,
            ChainError::BehindFragment => DropReason::FragmentedExtension,
        })?;
        if transport::is_silent_ipv6(data, &chain) {
            return Err(DropReason::IcmpUntranslatable.into());
        }
        expired_ipv6(header)?;
        if let Some(pointer) = chain.segments_left {
            let pointer = u32::try_from(pointer).expect("an offset in a packet").to_be_bytes();
            let (kind, code) = (v6::PARAMETER_PROBLEM, v6::ERRONEOUS_FIELD);
            return Err(Refusal::answered(DropReason::RoutingHeader, kind, code, pointer));
        }
        let transport = transport::ipv6(data, &chain, &self.snapshot.translation.settings)?;
        Ok((chain, transport))
    }

    /// Addresses and onward way, if the size allows it (RFC 7915 1.4, RFC 4443 3.2).
    #[inline]
    fn prepare_ipv6(
        &self,
        header: &Ipv6Header,
        chain: &Chain,
        destination: DestinationV4,
        total_length: usize,
    ) -> Result<(Addresses, Onward<'a>), Refusal> {
        let source = lookup::source_v6_to_v4(&self.snapshot.translation, header.source)?;
        if total_length > usize::from(u16::MAX) {
            return Err(Refusal::prohibited_v6(DropReason::TooLong));
        }
        // DF will be 1 (RFC 7915 5.1): what does not fit is refused rather than cut.
        let whole = chain.fragment.is_none() && total_length > usize::from(v6_to_v4::SMALL);
        let (onward, mtu) = self.onward(destination, source.address)?;
        let growth = match onward {
            Onward::Out(_) => GROWTH,
            // It returns as large as it came.
            Onward::Hairpin(_) => 0,
        };
        let limit = mtu.saturating_add(growth);
        if whole && total_length + usize::from(GROWTH) > usize::from(limit) {
            return Err(too_big_ipv6(limit));
        }
        Ok((Addresses { source, destination: destination.mapped }, onward))
    }

    fn prepare_error_ipv6(
        &self,
        data: &[u8],
        header: &Ipv6Header,
        chain: &Chain,
        destination: Ipv4Addr,
        random: u32,
    ) -> Result<ReadyError, Refusal> {
        let translation = &self.snapshot.translation;
        let message = &data[chain.offset..];
        let start = message.first_chunk().ok_or(DropReason::TransportTruncated)?;
        let translated = icmp::error_v6_to_v4(start).ok_or(DropReason::IcmpUntranslatable)?;
        let quote = QuoteV6::parse(message, &translation.settings)?;
        let stand_in = || self.stand_in_ipv4(destination);
        let (source, by) = lookup::error_source_v6_to_v4(translation, header.source, random, stand_in)?;
        let (quoted_source, quoted_source_by) =
            lookup::quoted_source_v6_to_v4(translation, quote.header.source)?;
        let (quoted_destination, _) =
            lookup::quoted_destination_v6_to_v4(translation, quote.header.destination)?;
        let name = match translation.settings.icmp_source_extension {
            _ if by != Mapping::StandIn => None,
            IcmpSourceExtension::Off => None,
            IcmpSourceExtension::NodeId => Some(NamingObject::NodeIdentification(header.source)),
            IcmpSourceExtension::Rfc5837 => Some(NamingObject::InterfaceInformation(header.source)),
        };
        Ok(ReadyError {
            message: translated,
            quote,
            source,
            quoted: Addresses { source: quoted_source, destination: quoted_destination },
            quoted_source_by,
            name,
        })
    }

    /// Who speaks for a router without an IPv4 form where no pool is configured.
    fn stand_in_ipv4(&self, destination: Ipv4Addr) -> Ipv4Addr {
        let Snapshot { translation, fib, .. } = self.snapshot;
        let own = match translation.settings.icmp_source_default {
            IcmpSourceDefault::Dummy => None,
            IcmpSourceDefault::Own => {
                let path = fib.lookup(IpAddr::V4(destination), || 0);
                egress(path).and_then(|interface| fib.icmpv4_source(interface))
            }
        };
        own.unwrap_or(DUMMY_IPV4)
    }

    /// RFC 7757 4.2.2 condition A: between two mapped hosts a packet turns round, otherwise it goes out. With the
    /// MTU on the way.
    #[inline]
    fn onward(&self, destination: DestinationV4, source: Ipv4Addr) -> Result<(Onward<'a>, u16), Refusal> {
        if let Some(turned) = self.turned(destination.mapped.address, destination.by) {
            return self.hairpin(turned, source, destination.mapped.address, None);
        }
        let hash = flow_hash(u64::from(source.to_bits()), u64::from(destination.mapped.address.to_bits()));
        let path = self.snapshot.fib.lookup(IpAddr::V4(destination.mapped.address), || hash);
        let mtu = self.usable(path).map_err(unreachable_ipv6)?;
        Ok((Onward::Out(path), mtu))
    }

    /// RFC 7757 4.2.2 condition B, which looks at the quoted source. A forged error could satisfy it and still point
    /// anywhere, so its destination must be the quoted source.
    fn onward_error(
        &self,
        header: &Ipv6Header,
        destination: DestinationV4,
        ready: &ReadyError,
    ) -> Result<Onward<'a>, Refusal> {
        if ready.quote.header.source == header.destination
            && let Some(turned) = self.turned(ready.quoted.source.address, ready.quoted_source_by)
        {
            let quoted = Quoted { destination: ready.quoted.destination.address };
            let (source, destination) = (ready.source.address, destination.mapped.address);
            return Ok(self.hairpin(turned, source, destination, Some(quoted))?.0);
        }
        let destination = destination.mapped.address;
        let hash = flow_hash(u64::from(ready.source.address.to_bits()), u64::from(destination.to_bits()));
        let path = self.snapshot.fib.lookup(IpAddr::V4(destination), || hash);
        self.usable(path)?;
        Ok(Onward::Out(path))
    }

    /// The IPv6 form of an address that came through a prefix although an EAM covers it.
    #[inline]
    fn turned(&self, address: Ipv4Addr, by: Mapping) -> Option<MappedV6> {
        let translation = &self.snapshot.translation;
        let turns = translation.settings.hairpin == Hairpin::Intrinsic
            && by == Mapping::Prefix
            && translation.eams.covers_service(address);
        if turns { translation.eams.lookup_ipv4(address) } else { None }
    }

    /// Whether the second pass will take the source and find a path; asked now, while an error can still quote the
    /// packet. With the MTU of the path.
    fn hairpin(
        &self,
        turned: MappedV6,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        quoted: Option<Quoted<Ipv4Addr>>,
    ) -> Result<(Onward<'a>, u16), Refusal> {
        let translation = &self.snapshot.translation;
        let back = match quoted {
            None => lookup::source_v4_to_v6(translation, source, Pass::Hairpin, None).map(Some),
            Some(quoted) => lookup::error_source_v4_to_v6(translation, source, Pass::Hairpin, quoted),
        };
        back.map_err(|refusal| Refusal::prohibited_v6(refusal.reason))?;
        // The hash of the second pass, which takes the path that is asked here.
        let flow = || flow_hash(u64::from(source.to_bits()), u64::from(destination.to_bits()));
        let path = self.snapshot.fib.lookup(IpAddr::V6(turned.address), flow);
        let mtu = self.usable(path).map_err(unreachable_ipv6)?;
        Ok((Onward::Hairpin(turned), mtu))
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
            return self.drop(packet, DropReason::PacketTooBig);
        }
        match fragment::ipv4(packet, mtu, self.pool) {
            Ok(pieces) => {
                self.send_pieces(pieces, path, to);
                End::Forwarded(Way::Translated)
            }
            Err(Uncut(packet, reason)) => self.drop(packet, reason),
        }
    }
}
