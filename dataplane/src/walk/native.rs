//! Forwarding without translation: what any router does (RFC 1812, RFC 8200).

use std::net::IpAddr;

use super::refuse::{expired_ipv4, expired_ipv6, native_unreachable_ipv4, too_big_ipv6, unreachable_ipv6};
use super::{End, Output, Step, Walk, Way, flow_hash, usable};
use crate::buffer::{Buffer, BufferPool};
use crate::counters::Event;
use crate::hash::low64;
use crate::stage::Refusal;
use crate::stage::fragment::{self, Uncut};
use crate::stage::parse::{Family, Ingress};
use crate::table::fib::Path;
use crate::table::special::{never_forwarded_ipv6, never_source_ipv4};
use crate::verdict::{DropReason, PuntReason};
use crate::wire::checksum::{Delta, Sum, adjust};
use crate::wire::icmp::v4;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::Ipv6Header;

impl<P: BufferPool, O: Output<P::Buffer>> Walk<'_, P, O> {
    pub(super) fn native_ipv4(
        &mut self,
        mut packet: P::Buffer,
        header: &Ipv4Header,
        ingress: Ingress,
    ) -> End<P::Buffer> {
        if never_source_ipv4(header.source) {
            return self.drop(packet, DropReason::IllegalSource);
        }
        let hash = flow_hash(u64::from(header.source.to_bits()), u64::from(header.destination.to_bits()));
        let destination = IpAddr::V4(header.destination);
        let path = self.snapshot.fib.lookup_in(self.table, destination, || hash);
        self.output.note(|| Step::Path { destination, flow: hash, path: *path });
        if *path == Path::Kernel {
            return self.punt(packet, PuntReason::KernelRoute);
        }
        let checked = expired_ipv4(header).and_then(|()| usable(path).map_err(native_unreachable_ipv4));
        let mtu = match checked {
            Ok(mtu) => mtu,
            Err(refusal) => return self.refuse_ipv4(packet, header, ingress, refusal),
        };
        let too_big = header.total_length > mtu;
        if too_big && header.dont_fragment {
            let [high, low] = mtu.to_be_bytes();
            let (kind, code) = (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED);
            let refusal = Refusal::answered(DropReason::PacketTooBig, kind, code, [0, 0, high, low]);
            return self.refuse_ipv4(packet, header, ingress, refusal);
        }
        decrement(packet.data_mut(), Family::Ipv4);
        self.sink.counts.count(Event::Native);
        if !too_big {
            self.send(packet, path, destination);
            return End::Forwarded(Way::Native);
        }
        match fragment::ipv4(packet, mtu, self.pool) {
            Ok(pieces) => {
                self.send_pieces(pieces, path, destination);
                End::Forwarded(Way::Native)
            }
            Err(Uncut(packet, reason)) => self.drop(packet, reason),
        }
    }

    pub(super) fn native_ipv6(
        &mut self,
        mut packet: P::Buffer,
        header: &Ipv6Header,
        ingress: Ingress,
    ) -> End<P::Buffer> {
        if never_forwarded_ipv6(header.source) {
            return self.drop(packet, DropReason::IllegalSource);
        }
        let hash = flow_hash(low64(header.source.to_bits()), low64(header.destination.to_bits()));
        let destination = IpAddr::V6(header.destination);
        let path = self.snapshot.fib.lookup_in(self.table, destination, || hash);
        self.output.note(|| Step::Path { destination, flow: hash, path: *path });
        if *path == Path::Kernel {
            return self.punt(packet, PuntReason::KernelRoute);
        }
        let checked = expired_ipv6(header).and_then(|()| usable(path).map_err(unreachable_ipv6));
        match checked {
            Ok(mtu) if packet.data().len() > usize::from(mtu) => {
                self.refuse_ipv6(packet, header, ingress, too_big_ipv6(mtu))
            }
            Ok(_) => {
                decrement(packet.data_mut(), Family::Ipv6);
                self.sink.counts.count(Event::Native);
                self.send(packet, path, destination);
                End::Forwarded(Way::Native)
            }
            Err(refusal) => self.refuse_ipv6(packet, header, ingress, refusal),
        }
    }
}

/// One hop: TTL minus one, and the header checksum to match (RFC 1624), or hop limit minus one.
#[inline]
pub(super) fn decrement(packet: &mut [u8], family: Family) {
    if family == Family::Ipv6 {
        packet[7] -= 1;
        return;
    }
    let word = u16::from_be_bytes([packet[8], packet[9]]);
    let delta = Delta::new(Sum::of_u16(word), Sum::of_u16(word - 0x0100));
    let checksum = adjust(u16::from_be_bytes([packet[10], packet[11]]), delta);
    packet[8] -= 1;
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}
