//! Packets that go no further: counted, and answered where an answer is due.

use std::net::IpAddr;

use super::{End, Output, Step, Told, Walk, flow_hash};
use crate::buffer::{Buffer, BufferPool};
use crate::counters::Event;
use crate::hash::low64;
use crate::stage::error_limit::{ErrorKind, Sender};
use crate::stage::icmp_error;
use crate::stage::parse::Ingress;
use crate::stage::{Answer, Refusal};
use crate::table::fib::Path;
use crate::table::routing::InterfaceId;
use crate::table::translation::IcmpErrors;
use crate::verdict::{DropReason, Verdict};
use crate::wire::icmp::{HEADER as ICMP_HEADER, v4, v6};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Ipv6Header};

impl<P: BufferPool, O: Output<P::Buffer>> Walk<'_, P, O> {
    pub(super) fn refuse_ipv4(
        &mut self,
        packet: P::Buffer,
        header: &Ipv4Header,
        ingress: Ingress,
        refusal: Refusal,
    ) -> End<P::Buffer> {
        self.output.note(|| Step::Refused(refusal));
        if refusal.reason == DropReason::UdpZeroChecksum {
            self.lcore.sample_zero_checksum(packet.data(), header);
        }
        let answered = refusal.answer.is_some_and(|answer| {
            let permitted = icmp_error::permitted_ipv4(packet.data(), header, ingress.group);
            self.may_answer(permitted, ErrorKind::of_v4(&answer), header.source.into())
                && self.answer_ipv4(packet.data(), header, &answer)
        });
        self.sink.finish(packet, Verdict::Dropped(refusal.reason));
        End::Dropped { reason: refusal.reason, answered }
    }

    pub(super) fn refuse_ipv6(
        &mut self,
        packet: P::Buffer,
        header: &Ipv6Header,
        ingress: Ingress,
        refusal: Refusal,
    ) -> End<P::Buffer> {
        self.output.note(|| Step::Refused(refusal));
        let answered = refusal.answer.is_some_and(|answer| {
            let permitted = icmp_error::permitted_ipv6(packet.data(), header, ingress.group, &answer);
            self.may_answer(permitted, ErrorKind::of_v6(&answer), header.source.into())
                && self.answer_ipv6(packet.data(), header, &answer)
        });
        self.sink.finish(packet, Verdict::Dropped(refusal.reason));
        End::Dropped { reason: refusal.reason, answered }
    }

    /// Whether an error goes out, by the rules, the setting and the limits.
    fn may_answer(&mut self, permitted: bool, kind: ErrorKind, sender: Sender) -> bool {
        let counts = &mut self.sink.counts;
        if !permitted {
            counts.count(Event::IcmpErrorsForbidden);
            self.output.note(|| Step::Answer(Told::Forbidden));
            return false;
        }
        match self.snapshot.translation.settings.icmp_errors {
            IcmpErrors::Off => {
                counts.count(Event::IcmpErrorsOff);
                self.output.note(|| Step::Answer(Told::Off));
                false
            }
            IcmpErrors::Send => true,
            IcmpErrors::Limit(_) => {
                let limits = self.lcore.icmp_errors.as_mut();
                let granted = limits.is_none_or(|limits| limits.admit(kind, sender));
                if !granted {
                    counts.count(Event::IcmpErrorsRateLimited);
                    self.output.note(|| Step::Answer(Told::Limited));
                }
                granted
            }
        }
    }

    fn answer_ipv4(&mut self, packet: &[u8], header: &Ipv4Header, answer: &Answer) -> bool {
        let snapshot = self.snapshot;
        let flow = || flow_hash(u64::from(header.destination.to_bits()), u64::from(header.source.to_bits()));
        let path = snapshot.fib.lookup_in(self.table, IpAddr::V4(header.source), flow);
        self.output.note(|| Step::Path { destination: header.source.into(), flow: flow(), path: *path });
        // An IPv4 link may be smaller than the largest error.
        let room = self
            .usable(path)
            .ok()
            .map_or(0, |mtu| usize::from(mtu).saturating_sub(ipv4::HEADER + ICMP_HEADER));
        let packet = &packet[..packet.len().min(room)];
        let source = match egress(path) {
            Some(interface) => snapshot.fib.icmpv4_source(interface),
            None => self.told_locally(path).then_some(header.destination),
        };
        let error = source.and_then(|source| {
            let identification = self.lcore.identifications.next(source, header.source, 1);
            icmp_error::ipv4(packet, header.source, source, identification, answer, self.pool)
        });
        self.originate(error, path, IpAddr::V4(header.source))
    }

    fn answer_ipv6(&mut self, packet: &[u8], header: &Ipv6Header, answer: &Answer) -> bool {
        let snapshot = self.snapshot;
        let flow = || flow_hash(low64(header.destination.to_bits()), low64(header.source.to_bits()));
        let path = snapshot.fib.lookup_in(self.table, IpAddr::V6(header.source), flow);
        self.output.note(|| Step::Path { destination: header.source.into(), flow: flow(), path: *path });
        let source = match egress(path) {
            Some(interface) => snapshot.fib.icmpv6_source(interface),
            None => self.told_locally(path).then_some(header.destination),
        };
        let error =
            source.and_then(|source| icmp_error::ipv6(packet, header.source, source, answer, self.pool));
        self.originate(error, path, IpAddr::V6(header.source))
    }

    /// Whether the sender is the box itself, and can be given packets. It hears of an error from the address it has asked: a packet
    /// from one of its own, by an interface, is none that a kernel believes.
    fn told_locally(&self, path: &Path) -> bool {
        matches!(path, Path::Local) && self.output.local_mtu().is_some()
    }

    fn originate(&mut self, error: Option<P::Buffer>, path: &Path, destination: IpAddr) -> bool {
        let Some(error) = error else {
            self.sink.counts.count(Event::IcmpErrorsUnsendable);
            self.output.note(|| Step::Answer(Told::Unsendable));
            return false;
        };
        self.sink.counts.count(Event::OriginatedIcmpErrors);
        self.output.note(|| Step::Answer(Told::Sent));
        self.send(error, path, destination);
        true
    }
}

/// The interface a path leaves by.
pub(super) const fn egress(path: &Path) -> Option<InterfaceId> {
    match path {
        Path::Adjacent(adjacency) => Some(adjacency.interface),
        Path::Unresolved { interface, .. } => Some(*interface),
        _ => None,
    }
}

/// The IPv4 sender of a packet whose IPv6 form has no path is told host unreachable (RFC 1812 4.3.3.1).
pub(super) fn unreachable_ipv4(reason: DropReason) -> Refusal {
    match reason {
        DropReason::RouteBlackhole => Refusal::silent(reason),
        DropReason::RouteProhibited => Refusal::prohibited_v4(reason),
        _ => Refusal::answered(reason, v4::UNREACHABLE, v4::HOST, [0; 4]),
    }
}

/// As [`unreachable_ipv4`], for a packet that stays IPv4: without a route the network is unreachable.
pub(super) fn native_unreachable_ipv4(reason: DropReason) -> Refusal {
    match reason {
        DropReason::NoRoute => Refusal::answered(reason, v4::UNREACHABLE, v4::NETWORK, [0; 4]),
        _ => unreachable_ipv4(reason),
    }
}

/// The same towards IPv6: no route, or address unreachable (RFC 4443 3.1). An unreachable route is no route, as to Linux and
/// where host unreachable is translated (RFC 7915 4.2).
pub(super) fn unreachable_ipv6(reason: DropReason) -> Refusal {
    match reason {
        DropReason::RouteBlackhole => Refusal::silent(reason),
        DropReason::RouteProhibited => Refusal::prohibited_v6(reason),
        DropReason::NoRoute | DropReason::RouteUnreachable | DropReason::DestinationIsLocal => {
            Refusal::answered(reason, v6::UNREACHABLE, v6::NO_ROUTE, [0; 4])
        }
        _ => Refusal::answered(reason, v6::UNREACHABLE, v6::ADDRESS, [0; 4]),
    }
}

/// RFC 4443 3.2; never below the IPv6 minimum (RFC 8201 4).
pub(super) fn too_big_ipv6(mtu: u16) -> Refusal {
    let mtu = u32::from(mtu.max(ipv6::MIN_MTU)).to_be_bytes();
    Refusal::answered(DropReason::PacketTooBig, v6::PACKET_TOO_BIG, 0, mtu)
}

#[inline]
pub(super) fn expired_ipv4(header: &Ipv4Header) -> Result<(), Refusal> {
    if header.ttl > 1 {
        return Ok(());
    }
    Err(Refusal::answered(DropReason::HopLimitExceeded, v4::TIME_EXCEEDED, 0, [0; 4]))
}

#[inline]
pub(super) fn expired_ipv6(header: &Ipv6Header) -> Result<(), Refusal> {
    if header.hop_limit > 1 {
        return Ok(());
    }
    Err(Refusal::answered(DropReason::HopLimitExceeded, v6::TIME_EXCEEDED, 0, [0; 4]))
}
