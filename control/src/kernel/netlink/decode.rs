//! Netlink messages to events. What the relay does not follow decodes to nothing.
//!
//! Refused here: bridge ports and forwarding entries (family AF_BRIDGE, which would look like removed interfaces),
//! proxy neighbours, cached routes, routes bound to a TOS or a source prefix, rules that no forwarded packet meets.

mod address;
mod link;
mod neighbor;
mod next_hop;
mod route;
mod rule;
#[cfg(test)]
mod tests;

pub(in crate::kernel) use self::route::announced;

use super::attribute::Message;
use crate::kernel::event::Event;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;

/// A message the relay follows but cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) struct Malformed;

/// Reads one notification or one record of a dump. `Ok(None)` is a message that does not concern the relay.
pub(in crate::kernel) fn event(message: Message<'_>) -> Result<Option<Event>, Malformed> {
    let body = message.payload;
    let event = match message.kind {
        RTM_NEWLINK => link::link(body)?.map(Event::Link),
        RTM_DELLINK => link::removed_link(body)?,
        RTM_NEWADDR => address::address(body)?.map(Event::Address),
        RTM_DELADDR => address::address(body)?.map(Event::AddressRemoved),
        RTM_NEWNEIGH => neighbor::neighbor(body)?.map(Event::Neighbor),
        RTM_DELNEIGH => neighbor::neighbor(body)?
            .map(|gone| Event::NeighborRemoved { index: gone.index, address: gone.address }),
        RTM_NEWROUTE => {
            let placement = route::placement(message.flags, body);
            route::route(body)?.map(|route| Event::Route { route, placement })
        }
        RTM_DELROUTE => route::route(body)?.map(Event::RouteRemoved),
        RTM_NEWRULE => rule::rule(body)?.map(Event::Rule),
        RTM_DELRULE => rule::rule(body)?.map(Event::RuleRemoved),
        RTM_NEWNEXTHOP => next_hop::next_hop(body)?.map(Event::NextHop),
        RTM_DELNEXTHOP => next_hop::next_hop(body)?.map(|gone| Event::NextHopRemoved { id: gone.id }),
        _ => None,
    };
    Ok(event)
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}
