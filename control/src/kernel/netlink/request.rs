//! Requests to the kernel, as bytes.

use std::net::IpAddr;

use dataplane::table::routing::MacAddress;
use ipnet::IpNet;

use super::attribute::{MESSAGE_HEADER, padded};

pub(in crate::kernel) const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
pub(in crate::kernel) const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
pub(in crate::kernel) const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
pub(in crate::kernel) const RTM_GETNEIGH: u16 = 30;

pub(in crate::kernel) const RTM_GETRULE: u16 = 34;
pub(in crate::kernel) const RTM_GETNEXTHOP: u16 = 106;
pub(in crate::kernel) const RTM_GETNEIGHTBL: u16 = 66;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

pub(in crate::kernel) const AF_UNSPEC: u8 = 0;
pub(in crate::kernel) const AF_INET: u8 = 2;
pub(in crate::kernel) const AF_INET6: u8 = 10;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_CARRIER: u16 = 33;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const IFF_UP: u32 = 1;

/// RTM_F_LOOKUP_TABLE, without which the kernel says main whatever it looked in, and RTM_F_FIB_MATCH.
const RTM_F_ENTRY: u32 = 0x1000 | 0x2000;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PRIORITY: u16 = 6;
pub(in crate::kernel) const RT_TABLE_MAIN: u8 = 254;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;

const NDA_DST: u16 = 1;
const NTF_USE: u8 = 1;

/// One request under construction.
pub(in crate::kernel) struct Request(Vec<u8>);

impl Request {
    /// Everything of one kind and family.
    pub(in crate::kernel) fn dump(kind: u16, family: u8, sequence: u32) -> Self {
        let mut request = Self::new(kind, NLM_F_DUMP, sequence);
        match kind {
            RTM_GETLINK => {
                request.interface(0, 0, 0);
                request.attribute(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
            }
            RTM_GETADDR | RTM_GETNEXTHOP => request.raw(&[family, 0, 0, 0, 0, 0, 0, 0]),
            // rtmsg and ndmsg are both 12 bytes that start with the family.
            _ => request.raw(&[family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        }
        request
    }

    /// One interface, by its name.
    pub(in crate::kernel) fn link(name: &str) -> Self {
        let mut request = Self::new(RTM_GETLINK, 0, 1);
        request.interface(0, 0, 0);
        request.attribute(IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
        request
    }

    /// Gives an interface its Ethernet address and MTU and brings it up.
    pub(in crate::kernel) fn bring_up(index: u32, mac: MacAddress, mtu: u16) -> Self {
        let mut request = Self::new(RTM_SETLINK, NLM_F_ACK, 1);
        request.interface(index, IFF_UP, IFF_UP);
        request.attribute(IFLA_ADDRESS, &mac.0);
        request.attribute(IFLA_MTU, &u32::from(mtu).to_ne_bytes());
        request
    }

    /// Gives an interface carrier, or takes it away.
    pub(in crate::kernel) fn carrier(index: u32, carrier: bool) -> Self {
        let mut request = Self::new(RTM_SETLINK, NLM_F_ACK, 1);
        request.interface(index, 0, 0);
        request.attribute(IFLA_CARRIER, &[u8::from(carrier)]);
        request
    }

    /// `ip route get fibmatch ADDRESS`: the entry a look-up ends at.
    pub(in crate::kernel) fn route_to(address: IpAddr) -> Self {
        let mut request = Self::new(RTM_GETROUTE, 0, 1);
        let (family, length) = if address.is_ipv4() { (AF_INET, 32) } else { (AF_INET6, 128) };
        request.raw(&[family, length, 0, 0, 0, 0, 0, 0]);
        request.raw(&RTM_F_ENTRY.to_ne_bytes());
        match address {
            IpAddr::V4(v4) => request.attribute(RTA_DST, &v4.octets()),
            IpAddr::V6(v6) => request.attribute(RTA_DST, &v6.octets()),
        }
        request
    }

    /// `ip neigh replace ADDRESS dev INDEX use`: as if the kernel itself had a packet for the neighbour.
    pub(in crate::kernel) fn use_neighbor(index: u32, address: IpAddr) -> Self {
        let mut request = Self::new(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, 1);
        request.neighbor(index, address, NTF_USE);
        request
    }

    /// `ip neigh del ADDRESS dev INDEX`.
    pub(in crate::kernel) fn forget_neighbor(index: u32, address: IpAddr) -> Self {
        let mut request = Self::new(RTM_DELNEIGH, NLM_F_ACK, 1);
        request.neighbor(index, address, 0);
        request
    }

    /// Has an interface make no link-local address of its own.
    pub(in crate::kernel) fn no_link_local(index: u32) -> Self {
        let mut request = Self::new(RTM_SETLINK, NLM_F_ACK, 1);
        request.interface(index, 0, 0);
        let mode = nested(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
        request.attribute(IFLA_AF_SPEC, &nested(u16::from(AF_INET6), &mode));
        request
    }

    /// Gives an interface its MTU and brings it up.
    pub(in crate::kernel) fn up(index: u32, mtu: u16) -> Self {
        let mut request = Self::new(RTM_SETLINK, NLM_F_ACK, 1);
        request.interface(index, IFF_UP, IFF_UP);
        request.attribute(IFLA_MTU, &u32::from(mtu).to_ne_bytes());
        request
    }

    /// Brings an interface up, or takes it down.
    pub(in crate::kernel) fn admin(index: u32, up: bool) -> Self {
        let mut request = Self::new(RTM_SETLINK, NLM_F_ACK, 1);
        request.interface(index, if up { IFF_UP } else { 0 }, IFF_UP);
        request
    }

    /// `ip route add DESTINATION dev INDEX proto PROTOCOL metric METRIC` in the table main; refused if there is one.
    pub(in crate::kernel) fn add_route(to: IpNet, index: u32, protocol: u8, metric: u32) -> Self {
        let mut request = Self::new(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, 1);
        request.route(to, index, protocol, metric);
        request
    }

    /// The same with `change`: refused if there is none.
    pub(in crate::kernel) fn same_route(to: IpNet, index: u32, protocol: u8, metric: u32) -> Self {
        let mut request = Self::new(RTM_NEWROUTE, NLM_F_ACK | NLM_F_REPLACE, 1);
        request.route(to, index, protocol, metric);
        request
    }

    /// The same with `del`.
    pub(in crate::kernel) fn remove_route(to: IpNet, index: u32, protocol: u8, metric: u32) -> Self {
        let mut request = Self::new(RTM_DELROUTE, NLM_F_ACK, 1);
        request.route(to, index, protocol, metric);
        request
    }

    /// The finished message.
    pub(in crate::kernel) fn bytes(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("requests are a few dozen bytes");
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }

    fn new(kind: u16, flags: u16, sequence: u32) -> Self {
        let mut bytes = vec![0; MESSAGE_HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        Self(bytes)
    }

    /// ifinfomsg.
    fn interface(&mut self, index: u32, flags: u32, change: u32) {
        self.raw(&[AF_UNSPEC, 0, 0, 0]);
        self.raw(&index.to_ne_bytes());
        self.raw(&flags.to_ne_bytes());
        self.raw(&change.to_ne_bytes());
    }

    /// rtmsg and what it is about.
    fn route(&mut self, to: IpNet, index: u32, protocol: u8, metric: u32) {
        let (family, scope) = match to {
            IpNet::V4(_) => (AF_INET, RT_SCOPE_LINK),
            IpNet::V6(_) => (AF_INET6, RT_SCOPE_UNIVERSE),
        };
        self.raw(&[family, to.prefix_len(), 0, 0, RT_TABLE_MAIN, protocol, scope, RTN_UNICAST, 0, 0, 0, 0]);
        match to.network() {
            IpAddr::V4(v4) => self.attribute(RTA_DST, &v4.octets()),
            IpAddr::V6(v6) => self.attribute(RTA_DST, &v6.octets()),
        }
        self.attribute(RTA_OIF, &index.to_ne_bytes());
        self.attribute(RTA_PRIORITY, &metric.to_ne_bytes());
    }

    /// ndmsg and the address.
    fn neighbor(&mut self, index: u32, address: IpAddr, flags: u8) {
        self.raw(&[if address.is_ipv4() { AF_INET } else { AF_INET6 }, 0, 0, 0]);
        self.raw(&index.to_ne_bytes());
        self.raw(&[0, 0, flags, 0]);
        match address {
            IpAddr::V4(v4) => self.attribute(NDA_DST, &v4.octets()),
            IpAddr::V6(v6) => self.attribute(NDA_DST, &v6.octets()),
        }
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).expect("attributes are a few bytes");
        self.raw(&length.to_ne_bytes());
        self.raw(&kind.to_ne_bytes());
        self.raw(value);
        self.0.resize(padded(self.0.len()), 0);
    }
}

/// One attribute as the value of another.
fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut inner = Request(Vec::new());
    inner.attribute(kind, value);
    inner.0
}
