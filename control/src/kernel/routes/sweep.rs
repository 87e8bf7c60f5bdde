//! What concerns many destinations: looked for a few at a time, from where the last look ended.
//!
//! One sweep runs at a time. What comes up meanwhile waits for the next one, which starts when this one is through.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;

use ipnet::IpNet;

use super::effective::below;
use super::{KernelRoute, RouteKind, RouteTable, count};

/// A walk over the table.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// The last destination that was looked at.
    at: Option<IpNet>,
    /// Interfaces that are not what they were: routes over them may be others.
    changed: BTreeSet<u32>,
    /// Interfaces that went down, for which the kernel dropped IPv4 routes without a message.
    down: BTreeSet<u32>,
    /// Destinations ahead that were dealt with out of turn.
    settled: HashSet<IpNet>,
    /// Prefixes below which everything is looked at.
    below: BTreeSet<IpNet>,
}

impl RouteTable {
    /// Routes over this interface may be others.
    pub(in crate::kernel) fn interface_changed(&mut self, index: u32) {
        self.next_sweep().changed.insert(index);
    }

    /// Does what the kernel does to IPv4 routes when an interface goes down, without a message: those that lead
    /// nowhere else are dropped, broadcast addresses among them but not the box's own, else the hop is dead. They do not
    /// come back by themselves.
    pub(in crate::kernel) fn interface_down(&mut self, index: u32) {
        let sweep = self.next_sweep();
        sweep.down.insert(index);
        sweep.changed.insert(index);
    }

    /// Everything within a prefix may be something else.
    pub(super) fn sweep_below(&mut self, destination: IpNet) {
        self.next_sweep().below.insert(destination);
    }

    fn next_sweep(&mut self) -> &mut Sweep {
        self.next_sweep.get_or_insert_default()
    }

    /// Looks at one more destination; returned where the dataplane may have to be told of it.
    pub(super) fn sweep_on(&mut self) -> Option<IpNet> {
        if self.sweep.is_none() {
            self.sweep = self.next_sweep.take();
        }
        let sweep = self.sweep.as_mut()?;
        let Some(destination) = sweep.next(&self.routes) else {
            self.sweep = None;
            return None;
        };
        sweep.at = Some(destination);
        let mut dropped = false;
        if !sweep.settled.remove(&destination) && !sweep.down.is_empty() {
            let down = std::mem::take(&mut sweep.down);
            dropped = self.drop_silently(destination, &down);
            if let Some(sweep) = &mut self.sweep {
                sweep.down = down;
            }
        }
        let sweep = self.sweep.as_ref()?;
        let over = |route: &KernelRoute| route.hops.iter().any(|hop| sweep.changed.contains(&hop.index));
        let below = sweep.is_below(destination);
        let over = dropped || self.to(&destination).iter().any(over);
        if over {
            let special = self.special.get(&destination).copied().unwrap_or_default();
            self.mark_dependents(destination, special, special);
        }
        (over || below).then_some(destination)
    }

    /// Before a destination changes: it is brought up to where the sweeps ahead of it would have brought it.
    pub(super) fn settle(&mut self, destination: IpNet) {
        for next in [false, true] {
            let sweep = if next { &mut self.next_sweep } else { &mut self.sweep };
            let Some(sweep) = sweep.as_mut().filter(|sweep| !sweep.down.is_empty()) else { continue };
            if sweep.at.is_some_and(|at| at >= destination) || !sweep.settled.insert(destination) {
                continue;
            }
            let down = sweep.down.clone();
            self.drop_silently(destination, &down);
        }
    }

    /// Whether anything was dropped.
    fn drop_silently(&mut self, destination: IpNet, down: &BTreeSet<u32>) -> bool {
        let Self { routes, objects, gateways, .. } = self;
        let over = |route: &KernelRoute| {
            let over = route.hops.iter().any(|hop| down.contains(&hop.index) && !hop.dead);
            matches!(route.kind, RouteKind::Unicast | RouteKind::Broadcast) && over
        };
        let Some(candidates) = routes.get_mut(&destination) else { return false };
        if destination.addr().is_ipv6() || !candidates.iter().any(over) {
            return false;
        }
        count(objects, gateways, candidates, false);
        candidates.retain_mut(|route| {
            if !over(route) {
                return true;
            }
            route.hops.iter_mut().filter(|hop| down.contains(&hop.index)).for_each(|hop| hop.dead = true);
            route.hops.iter().any(|hop| !hop.dead)
        });
        count(objects, gateways, candidates, true);
        if candidates.is_empty() {
            routes.remove(&destination);
        }
        self.respecify(destination);
        true
    }
}

impl Sweep {
    /// The next destination to look at.
    fn next(&self, routes: &BTreeMap<IpNet, Vec<KernelRoute>>) -> Option<IpNet> {
        let from = self.at.map_or(Bound::Unbounded, Bound::Excluded);
        if !self.changed.is_empty() {
            return routes.range((from, Bound::Unbounded)).next().map(|(next, _)| *next);
        }
        // Only what is within the prefixes, which may lie within each other.
        self.below.iter().find_map(|prefix| {
            let (first, last) = below(*prefix);
            let from = match self.at {
                Some(at) if at >= last => return None,
                Some(at) if at >= first => Bound::Excluded(at),
                _ => Bound::Included(first),
            };
            routes.range((from, Bound::Included(last))).next().map(|(next, _)| *next)
        })
    }

    fn is_below(&self, destination: IpNet) -> bool {
        self.below.iter().any(|prefix| prefix.contains(&destination))
    }
}
