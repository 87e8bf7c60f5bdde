//! The kernel's routes and the choice among them: per destination, the best whose interfaces work.
//!
//! The kernel keeps several routes for one destination. This table holds them in its order: by table (local, main,
//! default), by metric, then by position. What notifications do to that order differs per family:
//!
//! * IPv4: a plain add goes before those of its metric, append behind them, replace takes the place of the first;
//!   a removal names the whole route.
//! * IPv6: routes with gateways and the same metric are hops of one route; a message with several hops tells the
//!   whole route, a message with one adds that one, a removal names the hops that go. Routes without a gateway
//!   stand side by side.
//!
//! A message that does not fit the table leaves it as good as can be and reports doubt: then the table is dumped again.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use dataplane::table::routing::{Hop, Route, RouteAction};
use ipnet::IpNet;

use super::event::{KernelHop, KernelRoute, Placement, RouteKind, Table};
use super::interfaces::Exit;

/// Whether the table still knows what the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Trust {
    /// Yes.
    Sure,
    /// Ask again.
    Doubt,
}

/// All routes of both families.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RouteTable {
    routes: BTreeMap<IpNet, Vec<KernelRoute>>,
    /// How many routes use a nexthop object.
    objects: HashMap<u32, usize>,
    /// How many hops use a gateway, by interface.
    gateways: HashMap<(u32, IpAddr), usize>,
}

impl KernelRoute {
    /// What the kernel sorts by.
    fn rank(&self) -> (Table, u32) {
        (self.table, self.metric)
    }

    /// Whether the kernel would take the two for one route: all but the health of the hops.
    fn same(&self, other: &Self) -> bool {
        self.rank() == other.rank()
            && self.kind == other.kind
            && self.mtu == other.mtu
            && self.next_hop_object == other.next_hop_object
            && self.protocol == other.protocol
            && self.preferred_source == other.preferred_source
            && self.hops.len() == other.hops.len()
            && self
                .hops
                .iter()
                .zip(&other.hops)
                .all(|(one, two)| one.same_place(two) && one.weight == two.weight)
    }

    /// Whether an IPv6 route takes part in multipath: the kernel groups those with a gateway.
    fn multipath_capable(&self) -> bool {
        !self.hops.is_empty() && self.hops.iter().all(|hop| hop.gateway.is_some())
    }
}

impl RouteTable {
    /// Starts over from a dump; whether anything is different.
    pub(super) fn replace(&mut self, routes: Vec<KernelRoute>) -> bool {
        let before = std::mem::take(self);
        for route in routes {
            let _ = self.insert(route, Placement::Last);
        }
        *self != before
    }

    pub(super) fn insert(&mut self, route: KernelRoute, placement: Placement) -> Trust {
        let destination = route.destination;
        self.edit(destination, |same_destination| {
            // Nearly every destination has one route: growing by one keeps a full table small.
            same_destination.reserve_exact(1);
            match destination {
                IpNet::V4(_) => insert_ipv4(same_destination, route, placement),
                IpNet::V6(_) => insert_ipv6(same_destination, route, placement),
            }
        })
    }

    pub(super) fn remove(&mut self, route: &KernelRoute) -> Trust {
        self.edit(route.destination, |same_destination| match route.destination {
            IpNet::V4(_) => remove_ipv4(same_destination, route),
            IpNet::V6(_) => remove_ipv6(same_destination, route),
        })
    }

    /// Does what the kernel does to IPv4 routes when an interface goes down, without a message: those that lead
    /// nowhere else are dropped, else the hop is dead. They do not come back by themselves.
    pub(super) fn interface_down(&mut self, index: u32) {
        let Self { routes, objects, gateways } = self;
        let over = |route: &KernelRoute| {
            route.kind == RouteKind::Unicast && route.hops.iter().any(|hop| hop.index == index && !hop.dead)
        };
        routes.retain(|destination, candidates| {
            if destination.addr().is_ipv6() || !candidates.iter().any(over) {
                return true;
            }
            count(objects, gateways, candidates, false);
            candidates.retain_mut(|route| {
                if over(route) {
                    route.hops.iter_mut().filter(|hop| hop.index == index).for_each(|hop| hop.dead = true);
                    return route.hops.iter().any(|hop| !hop.dead);
                }
                true
            });
            count(objects, gateways, candidates, true);
            !candidates.is_empty()
        });
    }

    /// The routes to one destination, best first.
    pub(super) fn to(&self, destination: &IpNet) -> &[KernelRoute] {
        self.routes.get(destination).map_or(&[], Vec::as_slice)
    }

    /// Whether any route uses the nexthop object.
    pub(super) fn uses_object(&self, id: u32) -> bool {
        self.objects.contains_key(&id)
    }

    /// Whether any route goes through this gateway.
    pub(super) fn is_gateway(&self, index: u32, address: IpAddr) -> bool {
        self.gateways.contains_key(&(index, address))
    }

    /// How many destinations there are.
    pub(super) fn len(&self) -> usize {
        self.routes.len()
    }

    /// Routes whose hops the kernel names by a nexthop object only (net.ipv4.nexthop_compat_mode = 0).
    pub(super) fn unexpanded(&self) -> usize {
        let blind = |route: &&KernelRoute| route.next_hop_object.is_some() && route.hops.is_empty();
        self.routes.values().flatten().filter(blind).count()
    }

    /// The best usable route of every destination.
    pub(super) fn best(&self, interfaces: &HashMap<u32, Exit>) -> Vec<Route> {
        let mut best = Vec::with_capacity(self.routes.len());
        best.extend(self.routes.iter().filter_map(|(destination, candidates)| {
            if is_link_local(destination) && candidates.iter().all(|route| route.kind == RouteKind::Unicast) {
                return None;
            }
            let (action, mtu) = choose(candidates, interfaces)?;
            Some(Route { destination: *destination, action, mtu })
        }));
        best
    }

    fn edit(&mut self, destination: IpNet, change: impl FnOnce(&mut Vec<KernelRoute>) -> Trust) -> Trust {
        let routes = self.routes.entry(destination).or_default();
        count(&mut self.objects, &mut self.gateways, routes, false);
        let trust = change(routes);
        count(&mut self.objects, &mut self.gateways, routes, true);
        if routes.is_empty() {
            self.routes.remove(&destination);
        }
        trust
    }
}

/// Whether two lists hold the same routes in the same order, whatever the health of their hops.
pub(super) fn same_routes(one: &[KernelRoute], two: &[KernelRoute]) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.same(two))
}

/// Enters routes into the counts, or takes them out.
fn count(
    objects: &mut HashMap<u32, usize>,
    gateways: &mut HashMap<(u32, IpAddr), usize>,
    routes: &[KernelRoute],
    more: bool,
) {
    for route in routes {
        if let Some(id) = route.next_hop_object {
            tally(objects, id, more);
        }
        for hop in &route.hops {
            if let Some(gateway) = hop.gateway {
                tally(gateways, (hop.index, gateway), more);
            }
        }
    }
}

fn tally<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K, more: bool) {
    if more {
        *counts.entry(key).or_default() += 1;
    } else if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

fn insert_ipv4(routes: &mut Vec<KernelRoute>, route: KernelRoute, placement: Placement) -> Trust {
    let first = routes.partition_point(|known| known.rank() < route.rank());
    if let Some(known) = routes.iter().position(|known| known.same(&route)) {
        if placement == Placement::Replace && known == first {
            routes[known] = route;
            return Trust::Sure;
        }
        // A notification of what a dump has shown already.
        routes.remove(known);
    }
    let behind = routes.partition_point(|known| known.rank() <= route.rank());
    match placement {
        Placement::Replace if first < behind => routes[first] = route,
        Placement::Replace | Placement::First => routes.insert(first, route),
        Placement::Last => routes.insert(behind, route),
    }
    Trust::Sure
}

fn remove_ipv4(routes: &mut Vec<KernelRoute>, gone: &KernelRoute) -> Trust {
    if let Some(known) = routes.iter().position(|known| known.same(gone)) {
        routes.remove(known);
        return Trust::Sure;
    }
    let Some(first) = routes.iter().position(|known| known.rank() == gone.rank()) else {
        return Trust::Sure;
    };
    routes.remove(first);
    Trust::Doubt
}

fn insert_ipv6(routes: &mut Vec<KernelRoute>, route: KernelRoute, placement: Placement) -> Trust {
    let behind = routes.partition_point(|known| known.rank() <= route.rank());
    let multipath = route.multipath_capable();
    let of_rank = |known: &KernelRoute| known.rank() == route.rank();
    let alike = |known: &KernelRoute| of_rank(known) && known.multipath_capable() == multipath;
    let known = routes.iter().position(alike);
    match (known, placement) {
        (Some(known), Placement::Replace) => {
            let several = routes.iter().filter(|known| alike(known)).count() > 1;
            routes[known] = route;
            if several { Trust::Doubt } else { Trust::Sure }
        }
        (None, Placement::Replace) => match routes.iter().position(of_rank) {
            // The kernel replaces the first of that metric, whatever its hops.
            Some(other) => {
                routes[other] = route;
                Trust::Doubt
            }
            None => {
                routes.insert(behind, route);
                Trust::Sure
            }
        },
        (Some(known), _) if multipath && route.hops.len() > 1 => {
            routes[known] = route;
            Trust::Sure
        }
        (Some(known), _) if multipath => {
            add_hop(&mut routes[known], &route.hops[0]);
            Trust::Sure
        }
        _ => {
            match routes.iter().position(|known| known.same(&route)) {
                Some(known) => routes[known] = route,
                None => routes.insert(behind, route),
            }
            Trust::Sure
        }
    }
}

fn add_hop(route: &mut KernelRoute, hop: &KernelHop) {
    let mut hops = std::mem::take(&mut route.hops).into_vec();
    match hops.iter_mut().find(|known| known.same_place(hop)) {
        Some(known) => *known = hop.clone(),
        None => hops.push(hop.clone()),
    }
    route.hops = hops.into_boxed_slice();
}

fn remove_ipv6(routes: &mut Vec<KernelRoute>, gone: &KernelRoute) -> Trust {
    let mut matched = false;
    let alike = |known: &KernelRoute| known.rank() == gone.rank() && known.kind == gone.kind;
    routes.retain_mut(|known| {
        if !alike(known) {
            return true;
        }
        if gone.hops.is_empty() || known.hops.is_empty() {
            matched = true;
            return false;
        }
        let before = known.hops.len();
        let hops = std::mem::take(&mut known.hops).into_vec();
        let left = hops.into_iter().filter(|hop| !gone.hops.iter().any(|gone| gone.same_place(hop)));
        known.hops = left.collect();
        matched |= known.hops.len() < before;
        !known.hops.is_empty()
    });
    if matched || !routes.iter().any(alike) { Trust::Sure } else { Trust::Doubt }
}

/// The first candidate that can be used. One whose interfaces are all down gives way to the next, and in the end to
/// a shorter prefix, as with `ignore_routes_with_linkdown`.
fn choose(candidates: &[KernelRoute], interfaces: &HashMap<u32, Exit>) -> Option<(RouteAction, Option<u16>)> {
    candidates.iter().enumerate().find_map(|(position, route)| match route.kind {
        RouteKind::Local => Some((RouteAction::Local, None)),
        RouteKind::Blackhole => Some((RouteAction::Blackhole, None)),
        RouteKind::Unreachable | RouteKind::Throw => Some((RouteAction::Unreachable, None)),
        RouteKind::Prohibit => Some((RouteAction::Prohibit, None)),
        RouteKind::Unicast => unicast(route, &candidates[position..], interfaces),
    })
}

fn unicast(
    route: &KernelRoute,
    following: &[KernelRoute],
    interfaces: &HashMap<u32, Exit>,
) -> Option<(RouteAction, Option<u16>)> {
    let side_by_side = |other: &&KernelRoute| {
        other.rank() == route.rank() && other.kind == RouteKind::Unicast && route.destination.addr().is_ipv6()
    };
    let others = following.iter().skip(1).filter(side_by_side);
    let hops = route.hops.iter().chain(others.flat_map(|other| &other.hops));
    let (mut alive, mut largest_mtu, mut ours) = (false, 0, Vec::with_capacity(route.hops.len()));
    for hop in hops.filter(|hop| !hop.dead) {
        let Some(exit) = interfaces.get(&hop.index).filter(|exit| exit.usable) else {
            continue;
        };
        alive = true;
        if let Some((interface, mtu)) = exit.ours.filter(|_| !hop.encapsulated) {
            largest_mtu = largest_mtu.max(mtu);
            ours.push(Hop { interface, gateway: hop.gateway, weight: hop.weight });
        }
    }
    if !alive {
        return None;
    }
    if ours.is_empty() {
        return Some((RouteAction::Kernel, None));
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
