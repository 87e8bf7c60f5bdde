//! The lane's second step beside a large table of IPv6 routes: all look-ups of a burst go down the trie together.
//!
//! Those of packets that have left the lane do so too. The walk looks their routes up again, packet by packet, and finds them in
//! the cache.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{GROWTH, Heading, Lane, Lanes, flow_hash};
use crate::buffer::Buffer;
use crate::io::BURST;
use crate::table::fib::Fib;
use crate::table::lpm::{Descents, Value};
use crate::table::routing::TableId;
use crate::table::snapshot::Snapshot;
use crate::wire::{ethernet, ipv4, ipv6};

/// [`Lane::resolve`] for a burst.
#[inline(never)]
pub(crate) fn resolve_deep<'a, B: Buffer>(lanes: &mut Lanes<'a>, frames: &[B], snapshot: &'a Snapshot) {
    let fib = &*snapshot.fib;
    let mut descents = Descents::<BURST>::new();
    for (number, (lane, frame)) in (0..).zip(lanes.iter_mut().zip(frames)) {
        match lane.heading {
            Heading::ToV6(_) if lane.table == TableId::MAIN => match lane.map_ipv4(snapshot) {
                Some(()) => {
                    let found = fib.begin_ipv6(&mut descents, number, lane.destination_ipv6);
                    found.into_iter().for_each(|route| lane.arrive(route, fib));
                }
                None => lane.leave(),
            },
            _ => lane.resolve(snapshot),
        }
        if lane.is_left() {
            fetch(&mut descents, number, fib, frame.data());
        }
    }
    descents.finish(|number, route| lanes[usize::from(number)].arrive(route, fib));
}

impl<'a> Lane<'a> {
    /// Goes on with the route of its packet. Nothing to those that have left.
    #[inline(always)]
    fn arrive(&mut self, route: Value, fib: &'a Fib) {
        if self.is_left() {
            return;
        }
        let (from, to) = self.flow_ipv4();
        let path = fib.lookup_found(route, self.destination_ipv6, || flow_hash(from, to));
        if self.follow(path, self.length + GROWTH).is_none() {
            self.leave();
        }
    }
}

/// Has the route fetched that the walk is going to look for, if that is a native packet's.
fn fetch<'a>(descents: &mut Descents<'a, BURST>, number: u8, fib: &'a Fib, frame: &[u8]) {
    let Some((link, rest)) = frame.split_first_chunk::<{ ethernet::HEADER }>() else { return };
    let (ether_type, packet) = match u16::from_be_bytes([link[12], link[13]]) {
        ethernet::TYPE_VLAN => match rest.split_first_chunk::<4>() {
            Some((tag, packet)) => (u16::from_be_bytes([tag[2], tag[3]]), packet),
            None => return,
        },
        ether_type => (ether_type, rest),
    };
    match ether_type {
        ethernet::TYPE_IPV4 => {
            if let Some([.., a, b, c, d]) = packet.first_chunk::<{ ipv4::HEADER }>() {
                // For the cache only: the walk asks again.
                let _ = fib.fetch_ipv4(Ipv4Addr::new(*a, *b, *c, *d));
            }
        }
        ethernet::TYPE_IPV6 => {
            if let Some(header) = packet.first_chunk::<{ ipv6::HEADER }>()
                && let Some(destination) = header.last_chunk::<16>()
            {
                // Found at once or not: the walk asks again.
                let _ = fib.begin_ipv6(descents, number, Ipv6Addr::from(*destination));
            }
        }
        _ => {}
    }
}
