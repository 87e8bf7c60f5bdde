//! Addresses of interfaces: RTM_NEWADDR and RTM_DELADDR.

use super::Malformed;
use crate::kernel::event::Address;
use crate::kernel::netlink::attribute::{Attributes, address_of, u32_at, u32_of};
use crate::kernel::netlink::request::{AF_INET, AF_INET6};

/// ifaddrmsg: 0 family, 1 prefix length, 2 flags, 3 scope, 4 index.
mod ifa {
    pub(super) const HEADER: usize = 8;
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const LOCAL: u16 = 2;
    pub(super) const FLAGS: u16 = 8;
    pub(super) const SECONDARY: u32 = 0x01;
    pub(super) const DAD_FAILED: u32 = 0x08;
    pub(super) const DEPRECATED: u32 = 0x20;
    pub(super) const TENTATIVE: u32 = 0x40;
    pub(super) const SCOPE_UNIVERSE: u8 = 0;
}

pub(super) fn address(body: &[u8]) -> Result<Option<Address>, Malformed> {
    let attributes = Attributes(body.get(ifa::HEADER..).ok_or(Malformed)?);
    let (family, prefix_length, scope) = (body[0], body[1], body[3]);
    if family != AF_INET && family != AF_INET6 {
        return Ok(None);
    }
    let mut flags = u32::from(body[2]);
    let (mut local, mut address) = (None, None);
    for (kind, value) in attributes {
        match kind {
            ifa::LOCAL => local = address_of(value),
            ifa::ADDRESS => address = address_of(value),
            ifa::FLAGS => flags = u32_of(value).unwrap_or(flags),
            _ => {}
        }
    }
    Ok(Some(Address {
        index: u32_at(body, 4).ok_or(Malformed)?,
        address: local.or(address).ok_or(Malformed)?,
        prefix_length,
        global: scope == ifa::SCOPE_UNIVERSE,
        secondary: flags & ifa::SECONDARY != 0,
        tentative: flags & (ifa::TENTATIVE | ifa::DAD_FAILED) != 0,
        deprecated: flags & ifa::DEPRECATED != 0,
    }))
}
