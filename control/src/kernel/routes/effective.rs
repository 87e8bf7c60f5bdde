//! What counts for a destination: the kernel's tables local, main and default in this order, the longest match within
//! each, and of the routes for one prefix the best that can be used.
//!
//! The dataplane has one table with one longest match. It gives the same answer when it holds every prefix that any table
//! has, each with what the kernel would find for *its own addresses that no longer prefix covers*: the first table in
//! which this prefix or a shorter one has a route that can be used and does not throw. For let P be the longest prefix of
//! all tables that covers an address. Whatever any single table finds for the address is P or shorter, and covers P;
//! and whatever covers P covers the address. So each table finds the same for both, and the order of the tables
//! does the rest.
//!
//! A prefix whose answer is that of a shorter one is left out: the longest match finds the shorter one by itself. So a
//! route of main is not told where local covers it, and becomes visible when that goes.

use std::collections::HashMap;

use dataplane::table::routing::{Hop, RouteAction};
use ipnet::IpNet;

use super::{RouteTable, Special};
use crate::kernel::event::{KernelRoute, RouteKind, Table};
use crate::kernel::interfaces::Exit;

/// What a route does, and its own MTU.
pub(super) type Effective = (RouteAction, Option<u16>);

/// What one table says about a prefix.
enum Said {
    /// This.
    Found(Effective),
    /// Ask the next table.
    Throw,
}

const TABLES: [Table; 3] = [Table::Local, Table::Main, Table::Default];

impl RouteTable {
    /// What the dataplane's table has for this prefix, if anything.
    pub(super) fn effective(&self, destination: IpNet, exits: &HashMap<u32, Exit>) -> Option<Effective> {
        let routes = self.to(&destination);
        if is_link_local(&destination) && routes.iter().all(|route| route.kind == RouteKind::Unicast) {
            return None;
        }
        let mut thrown = false;
        for table in TABLES {
            match choose(of_table(routes, table), exits) {
                Some(Said::Found(found)) => return Some(found),
                Some(Said::Throw) => thrown = true,
                None => {
                    // Only a prefix with a say of its own is asked about shorter ones: of the tables behind this one,
                    // or where a table before this one was left by it.
                    if !thrown && !routes.iter().any(|route| route.table > table) {
                        continue;
                    }
                    match self.shorter(destination, table, exits) {
                        Some(Said::Found(found)) => return thrown.then_some(found),
                        Some(Said::Throw) | None => {}
                    }
                }
            }
        }
        // The kernel finds nothing. Where it left a table, shorter prefixes must not be found either.
        thrown.then(|| (RouteAction::Via(Vec::new()), None))
    }

    /// What a table says about a prefix by a shorter one.
    fn shorter(&self, destination: IpNet, table: Table, exits: &HashMap<u32, Exit>) -> Option<Said> {
        let mut at = destination;
        while let Some(above) = at.supernet() {
            at = above;
            let known = match table {
                // A table apart has its routes in the place of main.
                Table::Main | Table::Other(_) => true,
                Table::Local => self.special.get(&at).is_some_and(|special| special.local),
                Table::Default => self.special.get(&at).is_some_and(|special| special.default),
            };
            if known && let Some(said) = choose(of_table(self.to(&at), table), exits) {
                return Some(said);
            }
        }
        None
    }

    /// Has those looked at again whose answer may be another because of this prefix.
    pub(super) fn mark_dependents(&mut self, destination: IpNet, before: Special, now: Special) {
        if destination.prefix_len() == destination.max_prefix_len() {
            return;
        }
        if before.local || now.local {
            self.sweep_below(destination);
            return;
        }
        if self.special.is_empty() {
            return;
        }
        let (first, last) = below(destination);
        let dependent = |(at, special): (&IpNet, &Special)| {
            (*at != destination && (special.default || special.throw)).then_some(*at)
        };
        self.untold.extend(self.special.range(first..=last).filter_map(dependent));
    }
}

/// The first and the last of the prefixes within one, itself included.
pub(super) fn below(destination: IpNet) -> (IpNet, IpNet) {
    (destination, IpNet::from(destination.broadcast()))
}

/// The candidates of one table, best first.
fn of_table(routes: &[KernelRoute], table: Table) -> &[KernelRoute] {
    let from = routes.partition_point(|route| route.table < table);
    let to = routes.partition_point(|route| route.table <= table);
    &routes[from..to]
}

/// The first candidate that can be used. One whose interfaces are all down gives way to the next, and in the end to
/// a shorter prefix, as with `ignore_routes_with_linkdown`.
fn choose(candidates: &[KernelRoute], exits: &HashMap<u32, Exit>) -> Option<Said> {
    candidates.iter().enumerate().find_map(|(position, route)| match route.kind {
        RouteKind::Local | RouteKind::Broadcast => Some(Said::Found((RouteAction::Local, None))),
        RouteKind::Blackhole => Some(Said::Found((RouteAction::Blackhole, None))),
        RouteKind::Unreachable => Some(Said::Found((RouteAction::Unreachable, None))),
        RouteKind::Prohibit => Some(Said::Found((RouteAction::Prohibit, None))),
        RouteKind::Throw => Some(Said::Throw),
        RouteKind::Unicast => unicast(route, &candidates[position..], exits).map(Said::Found),
    })
}

fn unicast(route: &KernelRoute, following: &[KernelRoute], exits: &HashMap<u32, Exit>) -> Option<Effective> {
    let side_by_side = |other: &&KernelRoute| {
        other.rank() == route.rank() && other.kind == RouteKind::Unicast && route.destination.addr().is_ipv6()
    };
    let others = following.iter().skip(1).filter(side_by_side);
    let hops = route.hops.iter().chain(others.flat_map(|other| &other.hops));
    let (mut largest_mtu, mut ours) = (0, Vec::with_capacity(route.hops.len()));
    let (mut ours_usable, mut others_usable) = (false, false);
    for hop in hops.filter(|hop| !hop.dead) {
        let Some(exit) = exits.get(&hop.index) else { continue };
        let Some((interface, mtu)) = exit.ours.filter(|_| !hop.encapsulated) else {
            others_usable |= exit.usable;
            continue;
        };
        // Hops that are down are told as well: they keep their share of the flows for later.
        ours_usable |= exit.usable;
        largest_mtu = largest_mtu.max(mtu);
        ours.push(Hop { interface, gateway: hop.gateway, weight: hop.weight });
    }
    if !ours_usable {
        return others_usable.then_some((RouteAction::Kernel, None));
    }
    let mtu = route.mtu.and_then(|mtu| u16::try_from(mtu).ok()).filter(|mtu| *mtu < largest_mtu);
    Some((RouteAction::Via(ours), mtu))
}

/// fe80::/10: every interface has such a route, and no packet is forwarded by it.
fn is_link_local(destination: &IpNet) -> bool {
    match destination {
        IpNet::V4(_) => false,
        IpNet::V6(v6) => v6.prefix_len() >= 10 && v6.addr().is_unicast_link_local(),
    }
}
