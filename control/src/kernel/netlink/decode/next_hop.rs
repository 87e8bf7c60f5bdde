//! Nexthop objects, single and groups: RTM_NEWNEXTHOP and RTM_DELNEXTHOP.

use super::Malformed;
use super::route::{Hop, low_byte};
use crate::kernel::event::{NextHopKind, NextHopObject};
use crate::kernel::netlink::attribute::{Attributes, address_of, u32_at, u32_of};

/// nhmsg: 0 family, 1 scope, 2 protocol, 4 flags.
mod nha {
    pub(super) const HEADER: usize = 8;
    pub(super) const ID: u16 = 1;
    pub(super) const GROUP: u16 = 2;
    pub(super) const BLACKHOLE: u16 = 4;
    pub(super) const OIF: u16 = 5;
    pub(super) const GATEWAY: u16 = 6;
    pub(super) const ENCAP_TYPE: u16 = 7;
    pub(super) const FDB: u16 = 11;
    /// nexthop_grp: 0 identifier, 4 weight less one, 5 its high byte (zero in older kernels).
    pub(super) const MEMBER: usize = 8;
}

/// Nothing for those of bridge forwarding tables.
pub(super) fn next_hop(body: &[u8]) -> Result<Option<NextHopObject>, Malformed> {
    let attributes = Attributes(body.get(nha::HEADER..).ok_or(Malformed)?);
    let flags = u32_at(body, 4).ok_or(Malformed)?.to_ne_bytes()[low_byte()];
    let (mut id, mut hop, mut group, mut blackhole) = (None, Hop::default(), None, false);
    for (kind, value) in attributes {
        match kind {
            nha::ID => id = u32_of(value),
            nha::GROUP => group = Some(members(value)),
            nha::BLACKHOLE => blackhole = true,
            nha::OIF => hop.index = u32_of(value),
            nha::GATEWAY => hop.gateway = address_of(value),
            nha::ENCAP_TYPE => hop.encapsulated = true,
            nha::FDB => return Ok(None),
            _ => {}
        }
    }
    let kind = match (group, hop.index) {
        (Some(members), _) => NextHopKind::Group(members),
        (None, _) if blackhole => NextHopKind::Blackhole,
        (None, Some(index)) => NextHopKind::Single(hop.build(index, 1, flags)),
        (None, None) => return Err(Malformed),
    };
    Ok(Some(NextHopObject { id: id.ok_or(Malformed)?, kind }))
}

fn members(value: &[u8]) -> Box<[(u32, u16)]> {
    let member = |bytes: &[u8]| {
        let weight = u16::from_le_bytes([*bytes.get(4)?, *bytes.get(5)?]);
        Some((u32_at(bytes, 0)?, weight.saturating_add(1)))
    };
    value.chunks_exact(nha::MEMBER).filter_map(member).collect()
}
