//! Policy rules: RTM_NEWRULE and RTM_DELRULE.

use super::{Malformed, text};
use crate::kernel::event::Rule;
use crate::kernel::netlink::attribute::{Attributes, u32_at, u32_of};
use crate::kernel::netlink::request::{AF_INET, AF_INET6};

/// fib_rule_hdr: 0 family, 1 destination length, 2 source length, 3 TOS, 4 table, 7 action, 8 flags.
mod fra {
    pub(super) const HEADER: usize = 12;
    pub(super) const IIFNAME: u16 = 3;
    pub(super) const PRIORITY: u16 = 6;
    pub(super) const FWMARK: u16 = 10;
    pub(super) const TUN_ID: u16 = 12;
    pub(super) const SUPPRESS_INTERFACE_GROUP: u16 = 13;
    pub(super) const SUPPRESS_PREFIX_LENGTH: u16 = 14;
    pub(super) const TABLE: u16 = 15;
    pub(super) const OIFNAME: u16 = 17;
    pub(super) const L3MDEV: u16 = 19;
    pub(super) const UID_RANGE: u16 = 20;
    pub(super) const IP_PROTOCOL: u16 = 22;
    pub(super) const SOURCE_PORTS: u16 = 23;
    pub(super) const DESTINATION_PORTS: u16 = 24;
    /// Everything is suppressed by nothing.
    pub(super) const NO_SUPPRESSION: [u8; 4] = [0xff; 4];
    pub(super) const TO_TABLE: u8 = 1;
    pub(super) const INVERT: u32 = 2;
    /// Priorities and tables of the rules a namespace begins with.
    pub(super) const DEFAULT: [(u32, u32); 3] = [(0, 255), (32_766, 254), (32_767, 253)];
}

/// Nothing for the default rules, for the one that comes with VRFs, and for rules that a forwarded packet without a mark
/// cannot meet: of the loopback, of sockets, of marks.
pub(super) fn rule(body: &[u8]) -> Result<Option<Rule>, Malformed> {
    let attributes = Attributes(body.get(fra::HEADER..).ok_or(Malformed)?);
    let ipv6 = match body[0] {
        AF_INET => false,
        AF_INET6 => true,
        _ => return Ok(None),
    };
    let inverted = u32_at(body, 8).ok_or(Malformed)? & fra::INVERT != 0;
    let everything = body[1..4] == [0; 3] && !inverted;
    let mut rule = Rule { ipv6, priority: 0, interface: None, everything, table: None };
    let (mut table, mut met) = (u32::from(body[4]), true);
    for (kind, value) in attributes {
        match kind {
            fra::PRIORITY => rule.priority = u32_of(value).ok_or(Malformed)?,
            fra::TABLE => table = u32_of(value).ok_or(Malformed)?,
            fra::IIFNAME => rule.interface = Some(text(value)),
            fra::L3MDEV => return Ok(None),
            fra::OIFNAME | fra::UID_RANGE => met = false,
            fra::FWMARK => met &= u32_of(value) == Some(0),
            fra::SUPPRESS_PREFIX_LENGTH | fra::SUPPRESS_INTERFACE_GROUP => {
                rule.everything &= value == fra::NO_SUPPRESSION;
            }
            fra::TUN_ID | fra::IP_PROTOCOL | fra::SOURCE_PORTS | fra::DESTINATION_PORTS => {
                rule.everything = false;
            }
            _ => {}
        }
    }
    met &= rule.interface.as_deref() != Some("lo");
    rule.table = (body[7] == fra::TO_TABLE).then_some(table);
    let default = rule.everything
        && rule.interface.is_none()
        && rule.table.is_some_and(|table| fra::DEFAULT.contains(&(rule.priority, table)));
    Ok((!default && (met || inverted)).then_some(rule))
}
