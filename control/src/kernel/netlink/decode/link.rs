//! Interfaces: RTM_NEWLINK and RTM_DELLINK.

use dataplane::table::routing::MacAddress;

use super::{Malformed, text};
use crate::kernel::event::{Event, Link};
use crate::kernel::netlink::attribute::{Attributes, u16_at, u32_at, u32_of};
use crate::kernel::netlink::request::AF_UNSPEC;

/// ifinfomsg: 0 family, 2 type, 4 index, 8 flags, 12 change mask.
mod ifla {
    pub(super) const HEADER: usize = 16;
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const IFNAME: u16 = 3;
    pub(super) const MTU: u16 = 4;
    pub(super) const LINK: u16 = 5;
    pub(super) const MASTER: u16 = 10;
    pub(super) const LINKINFO: u16 = 18;
    pub(super) const LINK_NETNSID: u16 = 37;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
    pub(super) const VRF_TABLE: u16 = 1;
    pub(super) const VLAN_ID: u16 = 1;
    pub(super) const VLAN_PROTOCOL: u16 = 5;
    pub(super) const ETHERTYPE_8021Q: [u8; 2] = [0x81, 0x00];
    pub(super) const UP: u32 = 1;
    pub(super) const LOOPBACK: u32 = 1 << 3;
    pub(super) const LOWER_UP: u32 = 1 << 16;
}

pub(super) fn link(body: &[u8]) -> Result<Option<Link>, Malformed> {
    let attributes = Attributes(body.get(ifla::HEADER..).ok_or(Malformed)?);
    let index = u32_at(body, 4).ok_or(Malformed)?;
    let flags = u32_at(body, 8).ok_or(Malformed)?;
    let mut link = Link {
        index,
        name: String::new(),
        parent: None,
        vlan: None,
        kind: String::new(),
        master: None,
        vrf: None,
        mac: None,
        mtu: 0,
        admin_up: flags & ifla::UP != 0,
        carrier: flags & ifla::LOWER_UP != 0,
        loopback: flags & ifla::LOOPBACK != 0,
    };
    let (mut complete, mut parent_elsewhere) = (false, false);
    for (kind, value) in attributes {
        match kind {
            ifla::ADDRESS => link.mac = value.try_into().ok().map(MacAddress),
            ifla::IFNAME => link.name = text(value),
            ifla::MTU => {
                link.mtu = u32_of(value).ok_or(Malformed)?;
                complete = true;
            }
            ifla::LINK => link.parent = u32_of(value),
            ifla::LINK_NETNSID => parent_elsewhere = true,
            ifla::MASTER => link.master = u32_of(value).filter(|master| *master != 0),
            ifla::LINKINFO => {
                (link.kind, link.vlan) = (link_kind(value), vlan(value));
                link.vrf = vrf_table(value).filter(|_| link.kind == "vrf");
            }
            _ => {}
        }
    }
    if parent_elsewhere {
        link.parent = None;
    }
    // Bridge ports have their own family; wireless events carry no MTU and say nothing about the link itself.
    Ok((body[0] == AF_UNSPEC && complete).then_some(link))
}

fn link_kind(link_info: &[u8]) -> String {
    let kind = Attributes(link_info).find(|(kind, _)| *kind == ifla::INFO_KIND);
    kind.map(|(_, value)| text(value)).unwrap_or_default()
}

fn vrf_table(link_info: &[u8]) -> Option<u32> {
    let (_, data) = Attributes(link_info).find(|(kind, _)| *kind == ifla::INFO_DATA)?;
    Attributes(data).find(|(kind, _)| *kind == ifla::VRF_TABLE).and_then(|(_, value)| u32_of(value))
}

fn vlan(link_info: &[u8]) -> Option<u16> {
    let mut is_vlan = false;
    let mut data = &[][..];
    for (kind, value) in Attributes(link_info) {
        match kind {
            ifla::INFO_KIND => is_vlan = text(value) == "vlan",
            ifla::INFO_DATA => data = value,
            _ => {}
        }
    }
    let (mut id, mut tagged_8021q) = (None, true);
    for (kind, value) in Attributes(data) {
        match kind {
            ifla::VLAN_ID => id = u16_at(value, 0),
            ifla::VLAN_PROTOCOL => tagged_8021q = value == ifla::ETHERTYPE_8021Q,
            _ => {}
        }
    }
    id.filter(|_| is_vlan && tagged_8021q)
}

pub(super) fn removed_link(body: &[u8]) -> Result<Option<Event>, Malformed> {
    let index = u32_at(body, 4).ok_or(Malformed)?;
    Ok((body[0] == AF_UNSPEC).then_some(Event::LinkRemoved { index }))
}
