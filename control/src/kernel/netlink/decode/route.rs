//! Routes, and the next hops written in them: RTM_NEWROUTE and RTM_DELROUTE.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::Malformed;
use crate::kernel::event::{KernelHop, KernelRoute, Placement, RouteKind, Table};
use crate::kernel::netlink::attribute::{Attributes, address_of, padded, u8_at, u16_at, u32_at, u32_of};
use crate::kernel::netlink::request::{AF_INET, AF_INET6, RT_TABLE_MAIN};
use crate::kernel::up::PROTOCOL as ANNOUNCED_PROTOCOL;

const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_APPEND: u16 = 0x800;

/// rtmsg: 0 family, 1 destination length, 2 source length, 3 TOS, 4 table, 5 protocol, 6 scope, 7 type, 8 flags.
mod rta {
    pub(super) const HEADER: usize = 12;
    pub(super) const DST: u16 = 1;
    pub(super) const OIF: u16 = 4;
    pub(super) const GATEWAY: u16 = 5;
    pub(super) const PRIORITY: u16 = 6;
    pub(super) const PREFSRC: u16 = 7;
    pub(super) const METRICS: u16 = 8;
    pub(super) const MULTIPATH: u16 = 9;
    pub(super) const TABLE: u16 = 15;
    pub(super) const VIA: u16 = 18;
    pub(super) const ENCAP: u16 = 22;
    pub(super) const NH_ID: u16 = 30;
    pub(super) const RTAX_MTU: u16 = 2;
    pub(super) const CLONED: u32 = 0x200;
    /// rtnexthop: 0 length, 2 flags, 3 hops (weight less one), 4 index.
    pub(super) const NEXT_HOP: usize = 8;
    pub(super) const RTNH_F_DEAD: u8 = 1;
}

pub(super) fn placement(flags: u16, body: &[u8]) -> Placement {
    if flags & NLM_F_REPLACE != 0 {
        Placement::Replace
    } else if flags & NLM_F_APPEND != 0 || body.first() == Some(&AF_INET6) {
        Placement::Last
    } else {
        Placement::First
    }
}

pub(super) fn route(body: &[u8]) -> Result<Option<KernelRoute>, Malformed> {
    let attributes = Attributes(body.get(rta::HEADER..).ok_or(Malformed)?);
    let (family, length, source_length, tos) = (body[0], body[1], body[2], body[3]);
    let flags = u32_at(body, 8).ok_or(Malformed)?;
    let Some(everywhere) = unspecified(family) else {
        return Ok(None);
    };
    let (mut destination, mut single, mut hops) = (None, Hop::default(), Vec::new());
    let mut table = u32::from(body[4]);
    let mut route = KernelRoute {
        table: Table::Main,
        destination: everywhere,
        metric: 0,
        kind: RouteKind::Unicast,
        hops: Box::default(),
        mtu: None,
        next_hop_object: None,
        protocol: body[5],
        preferred_source: None,
    };
    for (kind, value) in attributes {
        match kind {
            rta::DST => destination = address_of(value),
            rta::PRIORITY => route.metric = u32_of(value).ok_or(Malformed)?,
            rta::PREFSRC => route.preferred_source = address_of(value),
            rta::METRICS => route.mtu = metric_mtu(value),
            rta::TABLE => table = u32_of(value).ok_or(Malformed)?,
            rta::NH_ID => route.next_hop_object = u32_of(value),
            rta::MULTIPATH => hops = multipath(value)?,
            _ => single.read(kind, value),
        }
    }
    let Some(kind) = route_kind(body[7]) else {
        return Ok(None);
    };
    // The relay's own announcements lead to itself: never a way out.
    if body[5] == ANNOUNCED_PROTOCOL {
        return Ok(None);
    }
    if flags & rta::CLONED != 0 || source_length != 0 || tos != 0 {
        return Ok(None);
    }
    if let (true, Some(index)) = (hops.is_empty(), single.index) {
        // rtm_flags carries the flags of a single next hop in its low bits.
        hops.push(single.build(index, 1, flags.to_ne_bytes()[low_byte()]));
    }
    let address = destination.unwrap_or(everywhere.addr());
    route.destination = IpNet::new(address, length).map_err(|_| Malformed)?;
    (route.table, route.kind, route.hops) = (table_of(table), kind, hops.into_boxed_slice());
    if route.next_hop_object.is_some() {
        // Told as well where net.ipv4.nexthop_compat_mode is on, and not told again when the object changes.
        (route.kind, route.hops) = (RouteKind::Unicast, Box::default());
    }
    Ok(Some(route))
}

/// Destination and metric of a route of the relay's own, over the interface `index` in the table main.
pub(in crate::kernel) fn announced(body: &[u8], index: u32) -> Option<(IpNet, u32)> {
    let attributes = Attributes(body.get(rta::HEADER..)?);
    let everywhere = unspecified(body[0])?;
    let (mut destination, mut metric, mut leads_here) = (everywhere.addr(), 0, false);
    for (kind, value) in attributes {
        match kind {
            rta::DST => destination = address_of(value)?,
            rta::PRIORITY => metric = u32_of(value)?,
            rta::OIF => leads_here = u32_of(value)? == index,
            _ => {}
        }
    }
    let is_own = body[5] == ANNOUNCED_PROTOCOL && body[4] == RT_TABLE_MAIN && leads_here;
    is_own.then(|| IpNet::new(destination, body[1]).ok()).flatten().map(|to| (to, metric))
}

/// Position of the low byte of a native-endian integer.
pub(super) const fn low_byte() -> usize {
    if cfg!(target_endian = "little") { 0 } else { 3 }
}

#[derive(Default)]
pub(super) struct Hop {
    pub(super) index: Option<u32>,
    pub(super) gateway: Option<IpAddr>,
    pub(super) encapsulated: bool,
}

impl Hop {
    fn read(&mut self, kind: u16, value: &[u8]) {
        match kind {
            rta::OIF => self.index = u32_of(value),
            rta::GATEWAY => self.gateway = address_of(value),
            // rtvia: the family, then an address of the other family than the route's.
            rta::VIA => self.gateway = value.get(2..).and_then(address_of),
            rta::ENCAP => self.encapsulated = true,
            _ => {}
        }
    }

    pub(super) fn build(self, index: u32, weight: u16, flags: u8) -> KernelHop {
        KernelHop {
            index,
            gateway: self.gateway.filter(|gateway| !gateway.is_unspecified()),
            weight,
            dead: flags & rta::RTNH_F_DEAD != 0,
            encapsulated: self.encapsulated,
        }
    }
}

fn multipath(mut bytes: &[u8]) -> Result<Vec<KernelHop>, Malformed> {
    let mut hops = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16_at(bytes, 0).ok_or(Malformed)?);
        let flags = u8_at(bytes, 2).ok_or(Malformed)?;
        let weight = u16::from(u8_at(bytes, 3).ok_or(Malformed)?) + 1;
        let index = u32_at(bytes, 4).ok_or(Malformed)?;
        let attributes = Attributes(bytes.get(rta::NEXT_HOP..length).ok_or(Malformed)?);
        let mut hop = Hop::default();
        attributes.for_each(|(kind, value)| hop.read(kind, value));
        hops.push(hop.build(index, weight, flags));
        bytes = bytes.get(padded(length)..).unwrap_or_default();
    }
    Ok(hops)
}

fn metric_mtu(metrics: &[u8]) -> Option<u32> {
    Attributes(metrics)
        .find(|(kind, _)| *kind == rta::RTAX_MTU)
        .and_then(|(_, value)| u32_of(value))
        .filter(|mtu| *mtu != 0)
}

const fn table_of(number: u32) -> Table {
    match number {
        255 => Table::Local,
        254 => Table::Main,
        253 => Table::Default,
        other => Table::Other(other),
    }
}

fn route_kind(kind: u8) -> Option<RouteKind> {
    match kind {
        1 => Some(RouteKind::Unicast),
        2 | 4 | 5 => Some(RouteKind::Local),
        3 => Some(RouteKind::Broadcast),
        6 => Some(RouteKind::Blackhole),
        7 => Some(RouteKind::Unreachable),
        8 => Some(RouteKind::Prohibit),
        9 => Some(RouteKind::Throw),
        _ => None,
    }
}

fn unspecified(family: u8) -> Option<IpNet> {
    match family {
        AF_INET => IpNet::new(Ipv4Addr::UNSPECIFIED.into(), 0).ok(),
        AF_INET6 => IpNet::new(Ipv6Addr::UNSPECIFIED.into(), 0).ok(),
        _ => None,
    }
}
