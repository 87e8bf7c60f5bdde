//! The way from IPv4 to IPv6 (RFC 7915 section 4), first or second pass.

use std::net::{IpAddr, Ipv4Addr};

use super::refuse::{egress, expired_ipv4, unreachable_ipv4};
use super::{End, GROWTH, Output, Walk, Way, flow_hash};
use crate::buffer::{Buffer, BufferPool};
use crate::counters::Event;
use crate::stage::fragment::{self, Uncut};
use crate::stage::lookup::{self, Quoted};
use crate::stage::parse::Ingress;
use crate::stage::quote::QuoteV4;
use crate::stage::translate::icmp::{self, Mtus};
use crate::stage::translate::v4_to_v6::{self, Addresses, ErrorPlan, Plan};
use crate::stage::transport::{self, TransportV4};
use crate::stage::{Pass, Refusal};
use crate::table::MappedV6;
use crate::table::fib::Path;
use crate::table::special::never_source_ipv4;
use crate::verdict::DropReason;
use crate::wire::checksum::{Delta, Sum};
use crate::wire::icmp::v4;
use crate::wire::ipv4::{self, Ipv4Header, Options};
use crate::wire::ipv6;

/// An ICMP error that can be translated.
struct ReadyError {
    message: icmp::Message,
    quote: QuoteV4,
    source: MappedV6,
    quoted: Addresses,
}

impl<'a, P: BufferPool, O: Output<P::Buffer>> Walk<'a, P, O> {
    #[inline]
    pub(super) fn translate_ipv4(
        &mut self,
        packet: P::Buffer,
        header: &Ipv4Header,
        destination: MappedV6,
        ingress: Ingress,
        pass: Pass,
    ) -> End<P::Buffer> {
        match self.inspect_ipv4(packet.data(), header, pass) {
            Ok(TransportV4::Error) => self.translate_error_ipv4(packet, header, destination, ingress, pass),
            Ok(transport) => self.translate_plain_ipv4(packet, header, transport, destination, ingress, pass),
            Err(refusal) => self.refuse_pass(packet, header, ingress, pass, refusal),
        }
    }

    /// Everything but ICMP errors.
    #[inline]
    fn translate_plain_ipv4(
        &mut self,
        mut packet: P::Buffer,
        header: &Ipv4Header,
        transport: TransportV4,
        destination: MappedV6,
        ingress: Ingress,
        pass: Pass,
    ) -> End<P::Buffer> {
        let snapshot = self.snapshot;
        let (source, path, cut) = match self.prepare_ipv4(header, destination, pass) {
            Ok(ready) => ready,
            Err(refusal) => return self.refuse_pass(packet, header, ingress, pass, refusal),
        };
        let plan = Plan::new(
            header,
            source.address,
            destination.address,
            source.delta.and(destination.delta),
            header.is_fragment() || cut.is_some(),
            hop_limit(header, pass),
            &snapshot.translation.settings,
        );
        if let Err(reason) = v4_to_v6::translate(&mut packet, transport, &plan, 0, 0) {
            return self.drop(packet, reason);
        }
        if header.is_fragment() && pass == Pass::First {
            self.sink.counts.count(Event::TranslatedFragments);
        }
        let destination = IpAddr::V6(destination.address);
        match cut {
            None => self.send(packet, path, destination),
            Some(limit) => match fragment::ipv6(packet, limit, self.pool) {
                Ok(pieces) => self.send_pieces(pieces, path, destination),
                Err(Uncut(packet, reason)) => return self.drop(packet, reason),
            },
        }
        self.arrived(pass)
    }

    /// An ICMP error with the packet it quotes. Never fragmented, never answered: cut to what ICMPv6 may carry.
    #[inline(never)]
    fn translate_error_ipv4(
        &mut self,
        mut packet: P::Buffer,
        header: &Ipv4Header,
        destination: MappedV6,
        ingress: Ingress,
        pass: Pass,
    ) -> End<P::Buffer> {
        let snapshot = self.snapshot;
        let path = self.path_ipv6(header, destination);
        let ready = match self.prepare_error_ipv4(packet.data(), header, path, pass) {
            Ok(ready) => ready,
            Err(refusal) => return self.refuse_pass(packet, header, ingress, pass, refusal),
        };
        let ipv6_mtu = match self.usable(path) {
            Ok(mtu) => mtu,
            Err(reason) => return self.drop(packet, reason),
        };
        let ipv4_mtu = match pass {
            Pass::First => ingress.mtu,
            // No IPv4 link is crossed.
            Pass::Hairpin => u16::MAX,
        };
        let settings = &snapshot.translation.settings;
        let delta = ready.source.delta.and(destination.delta);
        let (source, hop_limit) = (ready.source.address, hop_limit(header, pass));
        let plan = Plan::new(header, source, destination.address, delta, false, hop_limit, settings);
        let error = ErrorPlan {
            message: ready.message,
            quote: &ready.quote,
            quoted: ready.quoted,
            mtus: Mtus { ipv6: ipv6_mtu, ipv4: ipv4_mtu },
            // An IPv6 link carries that much (RFC 4443 2.4(c), RFC 8200 5).
            limit: usize::from(ipv6::MIN_MTU),
        };
        if let Err(reason) = v4_to_v6::translate_error(&mut packet, &error, &plan, settings) {
            return self.drop(packet, reason);
        }
        if pass == Pass::First {
            self.count_error(ready.message.rest);
        }
        self.send(packet, path, IpAddr::V6(destination.address));
        self.arrived(pass)
    }

    fn arrived(&mut self, pass: Pass) -> End<P::Buffer> {
        match pass {
            Pass::First => {
                self.sink.counts.count(Event::TranslatedV4ToV6);
                End::Forwarded(Way::Translated)
            }
            Pass::Hairpin => {
                self.sink.counts.count(Event::Hairpinned);
                End::Forwarded(Way::Hairpinned)
            }
        }
    }

    /// A packet in its second pass is no longer what its sender sent: no error can quote it.
    fn refuse_pass(
        &mut self,
        packet: P::Buffer,
        header: &Ipv4Header,
        ingress: Ingress,
        pass: Pass,
        refusal: Refusal,
    ) -> End<P::Buffer> {
        match pass {
            Pass::First => self.refuse_ipv4(packet, header, ingress, refusal),
            Pass::Hairpin => self.drop(packet, refusal.reason),
        }
    }

    /// What the packet carries, if a router and then a translator has nothing against it.
    #[inline]
    fn inspect_ipv4(&self, data: &[u8], header: &Ipv4Header, pass: Pass) -> Result<TransportV4, Refusal> {
        if pass == Pass::First {
            check_router_duties(data, header)?;
        }
        Ok(transport::ipv4(data, header, &self.snapshot.translation.settings)?)
    }

    /// Source, path, and the size to cut the packet to.
    #[inline]
    fn prepare_ipv4(
        &self,
        header: &Ipv4Header,
        destination: MappedV6,
        pass: Pass,
    ) -> Result<(MappedV6, &'a Path, Option<u16>), Refusal> {
        let source = lookup::source_v4_to_v6(&self.snapshot.translation, header.source, pass, None)?;
        let path = self.path_ipv6(header, destination);
        let mtu = self.usable(path).map_err(unreachable_ipv4)?;
        let cut = self.cut_ipv4(header, mtu)?;
        Ok((source, path, cut))
    }

    fn prepare_error_ipv4(
        &self,
        data: &[u8],
        header: &Ipv4Header,
        path: &Path,
        pass: Pass,
    ) -> Result<ReadyError, Refusal> {
        let translation = &self.snapshot.translation;
        let message = &data[usize::from(header.header_length)..];
        let start = message.first_chunk().ok_or(DropReason::TransportTruncated)?;
        let translated = icmp::error_v4_to_v6(start).ok_or(DropReason::IcmpUntranslatable)?;
        let quote = QuoteV4::parse(message, &translation.settings)?;
        let quoted = Quoted { destination: quote.header.destination };
        let source = match lookup::error_source_v4_to_v6(translation, header.source, pass, quoted)? {
            Some(mapped) => mapped,
            None => self.stand_in_ipv6(header.source, path)?,
        };
        Ok(ReadyError {
            message: translated,
            source,
            quoted: Addresses {
                source: lookup::quoted_source_v4_to_v6(translation, quote.header.source)?,
                destination: lookup::quoted_destination_v4_to_v6(translation, quoted.destination, pass)?,
            },
            quote,
        })
    }

    /// The relay's own address, for a router that has no IPv6 form.
    fn stand_in_ipv6(&self, router: Ipv4Addr, path: &Path) -> Result<MappedV6, Refusal> {
        let address = egress(path).and_then(|interface| self.snapshot.fib.icmpv6_source(interface));
        let address = address.ok_or(DropReason::SourceNotMapped)?;
        Ok(MappedV6 { address, delta: Delta::new(Sum::of_ipv4(router), Sum::of_ipv6(address)) })
    }

    #[inline]
    fn path_ipv6(&self, header: &Ipv4Header, destination: MappedV6) -> &'a Path {
        let hash = flow_hash(u64::from(header.source.to_bits()), u64::from(header.destination.to_bits()));
        self.snapshot.fib.lookup(IpAddr::V6(destination.address), || hash)
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
            let mtu = path_mtu.saturating_sub(GROWTH + if header.is_fragment() { 8 } else { 0 });
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
}

/// Exactly one hop for the whole box: the second pass counts none (RFC 7757 4.2.2).
#[inline]
const fn hop_limit(header: &Ipv4Header, pass: Pass) -> u8 {
    match pass {
        Pass::First => header.ttl - 1,
        Pass::Hairpin => header.ttl,
    }
}

/// RFC 7915 4.1 and RFC 1812: source, source routes, TTL; before that what is dropped without a word.
#[inline]
fn check_router_duties(data: &[u8], header: &Ipv4Header) -> Result<(), Refusal> {
    if never_source_ipv4(header.source) && !transport::is_icmpv4_error(data, header) {
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
    if transport::is_silent_ipv4(data, header) {
        return Err(DropReason::IcmpUntranslatable.into());
    }
    expired_ipv4(header)
}
