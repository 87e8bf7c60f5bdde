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
//! Routes over a nexthop object are written anew when the object changes; the table knows which they are.
//!
//! A message that does not fit the table leaves it as good as can be and reports doubt: then the table is dumped again.
//!
//! What a change means to the dataplane is found out later, a few destinations at a time: destinations that changed wait
//! in a queue, and what concerns many (an interface, a whole prefix of the local table) is a sweep over the table
//! that goes on from where it stopped (`sweep`). What counts for a destination is in `effective`.

mod effective;
mod sweep;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::ops::Bound;

use dataplane::table::routing::{Change, Route, TableId};
use ipnet::IpNet;

use self::sweep::Sweep;
use super::event::{KernelHop, KernelRoute, Placement, RouteKind, Table};
use super::interfaces::Exit;
use super::next_hops::NextHops;

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
#[derive(Debug, Default)]
pub(super) struct RouteTable {
    /// Its name in the dataplane.
    id: TableId,
    routes: BTreeMap<IpNet, Vec<KernelRoute>>,
    /// Destinations of the tables local and default, and those main or local throw: few, and of influence on others.
    special: BTreeMap<IpNet, Special>,
    /// The destinations whose routes use a nexthop object.
    objects: HashMap<u32, BTreeSet<IpNet>>,
    /// How many hops use a gateway, by interface.
    gateways: HashMap<(u32, IpAddr), usize>,
    /// Destinations the dataplane has not been told of since they changed.
    untold: VecDeque<IpNet>,
    sweep: Option<Sweep>,
    /// What the sweep after this one looks for.
    next_sweep: Option<Sweep>,
}

/// In which tables a destination has routes that bear on others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Special {
    local: bool,
    default: bool,
    throw: bool,
}

impl Special {
    fn of(routes: &[KernelRoute]) -> Self {
        Self {
            local: routes.iter().any(|route| route.table == Table::Local),
            default: routes.iter().any(|route| route.table == Table::Default),
            throw: routes.iter().any(|route| route.kind == RouteKind::Throw),
        }
    }

    fn any(self) -> bool {
        self != Self::default()
    }
}

impl KernelRoute {
    /// What the kernel sorts by.
    fn rank(&self) -> (Table, u32) {
        (self.table, self.metric)
    }

    /// Whether the kernel would take the two for one route: all but the health of the hops.
    fn same(&self, other: &Self) -> bool {
        self.rank() == other.rank()
            && (self.next_hop_object.is_some() || self.kind == other.kind)
            && self.mtu == other.mtu
            && self.next_hop_object == other.next_hop_object
            && self.protocol == other.protocol
            && self.preferred_source == other.preferred_source
            && (self.next_hop_object.is_some() || self.same_hops(other))
    }

    fn same_hops(&self, other: &Self) -> bool {
        let same = |(one, two): (&KernelHop, &KernelHop)| one.same_place(two) && one.weight == two.weight;
        self.hops.len() == other.hops.len() && self.hops.iter().zip(&other.hops).all(same)
    }

    /// Whether an IPv6 route takes part in multipath: the kernel groups those with a gateway of their own.
    fn multipath_capable(&self) -> bool {
        self.next_hop_object.is_none()
            && !self.hops.is_empty()
            && self.hops.iter().all(|hop| hop.gateway.is_some())
    }
}

impl RouteTable {
    /// An empty table with this name in the dataplane.
    pub(super) fn called(id: TableId) -> Self {
        Self { id, ..Self::default() }
    }

    /// Its name in the dataplane.
    pub(super) const fn id(&self) -> TableId {
        self.id
    }

    /// Takes in a route of a dump, in a table the dataplane is not told of.
    pub(super) fn fill(&mut self, route: KernelRoute) {
        let _ = self.insert(route, Placement::Last);
        self.untold.clear();
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

    /// Replaces the routes of one destination by those of a dump; whether anything is different.
    pub(super) fn put(&mut self, destination: IpNet, routes: Vec<KernelRoute>) -> bool {
        if self.to(&destination) == routes {
            return false;
        }
        let _ = self.edit(destination, |known| {
            *known = routes;
            Trust::Sure
        });
        true
    }

    /// The first destination after this one, or of all.
    pub(super) fn after(&self, destination: Option<IpNet>) -> Option<IpNet> {
        let from = destination.map_or(Bound::Unbounded, Bound::Excluded);
        self.routes.range((from, Bound::Unbounded)).next().map(|(next, _)| *next)
    }

    /// Takes out the first destination.
    pub(super) fn pop_first(&mut self) -> Option<(IpNet, Vec<KernelRoute>)> {
        self.routes.pop_first()
    }

    /// The routes to one destination, best first.
    pub(super) fn to(&self, destination: &IpNet) -> &[KernelRoute] {
        self.routes.get(destination).map_or(&[], Vec::as_slice)
    }

    /// The next destination behind `after` with a route that uses a nexthop object.
    pub(super) fn user_of(&self, id: u32, after: Option<IpNet>) -> Option<IpNet> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.objects.get(&id)?.range((from, Bound::Unbounded)).next().copied()
    }

    /// Writes what a nexthop object stands for by now into the routes of a destination; those whose object is gone go, as they
    /// do in the kernel.
    pub(super) fn expand(&mut self, destination: IpNet, objects: &NextHops) {
        let _ = self.edit(destination, |routes| {
            routes.retain_mut(|route| objects.expand(route));
            Trust::Sure
        });
    }

    /// Whether any route goes through this gateway.
    pub(super) fn is_gateway(&self, index: u32, address: IpAddr) -> bool {
        self.gateways.contains_key(&(index, address))
    }

    /// How many destinations there are.
    pub(super) fn len(&self) -> usize {
        self.routes.len()
    }

    /// The gateways of all routes, by interface.
    pub(super) fn gateways(&self) -> impl Iterator<Item = (u32, IpAddr)> {
        self.gateways.keys().copied()
    }

    /// The dataplane is to be told of this destination again.
    pub(super) fn mark(&mut self, destination: IpNet) {
        self.untold.push_back(destination);
    }

    /// Whether [`Self::tell`] has something to do.
    pub(super) fn is_untold(&self) -> bool {
        !self.untold.is_empty() || self.sweep.is_some() || self.next_sweep.is_some()
    }

    /// Looks at up to `steps` destinations, and notes what the dataplane has to know of them; how many there were.
    pub(super) fn tell(
        &mut self,
        exits: &HashMap<u32, Exit>,
        steps: usize,
        changes: &mut Vec<Change>,
    ) -> usize {
        for step in 0..steps {
            let next = self.untold.pop_front().or_else(|| self.sweep_on());
            match next {
                Some(destination) => changes.push(self.change(destination, exits)),
                None if self.sweep.is_none() => return step,
                None => {}
            }
        }
        steps
    }

    /// What the dataplane has to know of a destination.
    fn change(&self, destination: IpNet, exits: &HashMap<u32, Exit>) -> Change {
        let table = self.id;
        match self.effective(destination, exits) {
            Some((action, mtu)) => Change::Route { table, route: Route { destination, action, mtu } },
            None => Change::RouteRemoved { table, destination },
        }
    }

    fn edit(&mut self, destination: IpNet, change: impl FnOnce(&mut Vec<KernelRoute>) -> Trust) -> Trust {
        self.settle(destination);
        let routes = self.routes.entry(destination).or_default();
        let special = Special::of(routes);
        count(&mut self.objects, &mut self.gateways, routes, false);
        let trust = change(routes);
        count(&mut self.objects, &mut self.gateways, routes, true);
        if routes.is_empty() {
            self.routes.remove(&destination);
        }
        let special_now = self.respecify(destination);
        self.mark(destination);
        self.mark_dependents(destination, special, special_now);
        trust
    }

    /// Writes down whether others depend on this destination.
    fn respecify(&mut self, destination: IpNet) -> Special {
        let special = Special::of(self.to(&destination));
        if special.any() {
            self.special.insert(destination, special);
        } else if !self.special.is_empty() {
            self.special.remove(&destination);
        }
        special
    }
}

/// Whether two lists hold the same routes in the same order, whatever the health of their hops.
pub(super) fn same_routes(one: &[KernelRoute], two: &[KernelRoute]) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.same(two))
}

/// Enters routes into the counts, or takes them out.
fn count(
    objects: &mut HashMap<u32, BTreeSet<IpNet>>,
    gateways: &mut HashMap<(u32, IpAddr), usize>,
    routes: &[KernelRoute],
    more: bool,
) {
    for route in routes {
        if let Some(id) = route.next_hop_object {
            enlist(objects, id, route.destination, more);
        }
        for hop in &route.hops {
            if let Some(gateway) = hop.gateway {
                tally(gateways, (hop.index, gateway), more);
            }
        }
    }
}

fn enlist(objects: &mut HashMap<u32, BTreeSet<IpNet>>, id: u32, destination: IpNet, more: bool) {
    if more {
        objects.entry(id).or_default().insert(destination);
    } else if let Some(users) = objects.get_mut(&id) {
        users.remove(&destination);
        if users.is_empty() {
            objects.remove(&id);
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
    let of_kind = |known: &KernelRoute| known.next_hop_object.is_some() || known.kind == gone.kind;
    let alike = |known: &KernelRoute| known.rank() == gone.rank() && of_kind(known);
    routes.retain_mut(|known| {
        if !alike(known) {
            return true;
        }
        if gone.next_hop_object != known.next_hop_object {
            return true;
        }
        if gone.next_hop_object.is_some() || gone.hops.is_empty() || known.hops.is_empty() {
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
