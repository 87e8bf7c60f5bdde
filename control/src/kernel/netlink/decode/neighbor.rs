//! Neighbours: RTM_NEWNEIGH and RTM_DELNEIGH.

use dataplane::table::routing::MacAddress;

use super::Malformed;
use crate::kernel::event::{NeighborEntry, Reachability};
use crate::kernel::netlink::attribute::{Attributes, address_of, u16_at, u32_at};
use crate::kernel::netlink::request::{AF_INET, AF_INET6};

/// ndmsg: 0 family, 4 index, 8 state, 10 flags, 11 type.
mod nda {
    pub(super) const HEADER: usize = 12;
    pub(super) const DST: u16 = 1;
    pub(super) const LLADDR: u16 = 2;
    pub(super) const NTF_PROXY: u8 = 0x08;
}

pub(super) fn neighbor(body: &[u8]) -> Result<Option<NeighborEntry>, Malformed> {
    let attributes = Attributes(body.get(nda::HEADER..).ok_or(Malformed)?);
    let (family, flags) = (body[0], body[10]);
    if (family != AF_INET && family != AF_INET6) || flags & nda::NTF_PROXY != 0 {
        return Ok(None);
    }
    let (mut address, mut mac) = (None, None);
    for (kind, value) in attributes {
        match kind {
            nda::DST => address = address_of(value),
            nda::LLADDR => mac = value.try_into().ok().map(MacAddress),
            _ => {}
        }
    }
    Ok(Some(NeighborEntry {
        index: u32_at(body, 4).ok_or(Malformed)?,
        address: address.ok_or(Malformed)?,
        reachability: reachability(u16_at(body, 8).ok_or(Malformed)?),
        mac,
    }))
}

fn reachability(state: u16) -> Reachability {
    match state {
        0x01 => Reachability::Incomplete,
        0x02 => Reachability::Reachable,
        0x04 => Reachability::Stale,
        0x08 => Reachability::Delay,
        0x10 => Reachability::Probe,
        0x20 => Reachability::Failed,
        0x40 => Reachability::NoArp,
        0x80 => Reachability::Permanent,
        _ => Reachability::None,
    }
}
