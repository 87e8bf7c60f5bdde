//! The kernel's nexthop objects (`ip nexthop`), which routing daemons share among their routes.
//!
//! Routes name an object; what it stands for is kept here and written into the routes when it changes. A group of whatever sort
//! is the sum of its members, with their weights; resilient groups spread flows as others do. The kernel tells of each change
//! of a group, also when a member goes, but says nothing of the IPv4 routes that go with their object.

use std::collections::{BTreeSet, HashMap};

use super::event::{KernelHop, KernelRoute, NextHopKind, NextHopObject, RouteKind};

/// All objects of the namespace.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct NextHops(HashMap<u32, NextHopKind>);

impl NextHops {
    /// Enters an object, or a new meaning of a known one. The objects whose routes are others now.
    pub(super) fn put(&mut self, object: NextHopObject) -> BTreeSet<u32> {
        let NextHopObject { id, kind } = object;
        if self.0.get(&id) == Some(&kind) {
            return BTreeSet::new();
        }
        self.0.insert(id, kind);
        self.with_groups(id)
    }

    /// An object is gone, from its groups as well. The objects whose routes are others now.
    pub(super) fn remove(&mut self, id: u32) -> BTreeSet<u32> {
        let changed = self.with_groups(id);
        self.0.remove(&id);
        for kind in self.0.values_mut() {
            if let NextHopKind::Group(members) = kind {
                *members = members.iter().copied().filter(|(member, _)| *member != id).collect();
            }
        }
        self.0.retain(|_, kind| *kind != NextHopKind::Group(Box::default()));
        changed
    }

    /// The kernel drops the objects over an interface that goes down or loses its carrier, without a message. The objects whose
    /// routes are others now.
    pub(super) fn interface_dark(&mut self, index: u32) -> BTreeSet<u32> {
        let over = |kind: &NextHopKind| matches!(kind, NextHopKind::Single(hop) if hop.index == index);
        let gone: Vec<u32> = self.0.iter().filter(|(_, kind)| over(kind)).map(|(id, _)| *id).collect();
        gone.into_iter().flat_map(|id| self.remove(id)).collect()
    }

    /// Writes into a route what its object stands for; whether there is such an object. Without, the route has no hops.
    pub(super) fn expand(&self, route: &mut KernelRoute) -> bool {
        let Some(id) = route.next_hop_object else {
            return true;
        };
        let found = self.resolve(id);
        let known = found.is_some();
        (route.kind, route.hops) = found.unwrap_or((RouteKind::Unicast, Box::default()));
        known
    }

    /// What an object stands for; nothing if there is none.
    fn resolve(&self, id: u32) -> Option<(RouteKind, Box<[KernelHop]>)> {
        match self.0.get(&id)? {
            NextHopKind::Single(hop) => Some((RouteKind::Unicast, Box::new([hop.clone()]))),
            NextHopKind::Blackhole => Some((RouteKind::Blackhole, Box::default())),
            NextHopKind::Group(members) => self.resolve_group(members),
        }
    }

    /// Groups have no groups among their members, and a blackhole only alone.
    fn resolve_group(&self, members: &[(u32, u16)]) -> Option<(RouteKind, Box<[KernelHop]>)> {
        let mut hops = Vec::with_capacity(members.len());
        for (member, weight) in members {
            match self.0.get(member) {
                Some(NextHopKind::Single(hop)) => hops.push(KernelHop { weight: *weight, ..hop.clone() }),
                Some(NextHopKind::Blackhole) => return Some((RouteKind::Blackhole, Box::default())),
                Some(NextHopKind::Group(_)) | None => {}
            }
        }
        (!hops.is_empty()).then(|| (RouteKind::Unicast, hops.into_boxed_slice()))
    }

    fn with_groups(&self, id: u32) -> BTreeSet<u32> {
        let has = |kind: &NextHopKind| matches!(kind, NextHopKind::Group(members) if members.iter().any(|(member, _)| *member == id));
        let groups = self.0.iter().filter(|(_, kind)| has(kind)).map(|(group, _)| *group);
        groups.chain([id]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(last: u8, weight: u16) -> KernelHop {
        let gateway = Some([192, 0, 2, last].into());
        KernelHop { index: 7, gateway, weight, dead: false, encapsulated: false }
    }

    fn put(objects: &mut NextHops, id: u32, kind: NextHopKind) -> Vec<u32> {
        objects.put(NextHopObject { id, kind }).into_iter().collect()
    }

    fn hops(objects: &NextHops, id: u32) -> Option<Vec<KernelHop>> {
        objects.resolve(id).map(|(_, hops)| hops.into_vec())
    }

    #[test]
    fn a_group_is_the_sum_of_its_members_and_changes_with_them() {
        let mut objects = NextHops::default();
        assert_eq!(put(&mut objects, 1, NextHopKind::Single(hop(1, 1))), [1]);
        put(&mut objects, 2, NextHopKind::Single(hop(2, 1)));
        assert_eq!(put(&mut objects, 9, NextHopKind::Group([(1, 3), (2, 1)].into())), [9]);
        assert_eq!(hops(&objects, 9), Some(vec![hop(1, 3), hop(2, 1)]));
        assert_eq!(put(&mut objects, 2, NextHopKind::Single(hop(5, 1))), [2, 9]);
        assert_eq!(put(&mut objects, 2, NextHopKind::Single(hop(5, 1))), [0; 0], "nothing new");
        assert_eq!(hops(&objects, 9), Some(vec![hop(1, 3), hop(5, 1)]));
        assert_eq!(objects.remove(1).into_iter().collect::<Vec<_>>(), [1, 9]);
        assert_eq!((hops(&objects, 1), hops(&objects, 9)), (None, Some(vec![hop(5, 1)])));
        objects.remove(2);
        assert_eq!(hops(&objects, 9), None, "a group without members is none");
        assert_eq!(objects, NextHops::default());
    }

    #[test]
    fn blackholes_alone_and_in_a_group() {
        let mut objects = NextHops::default();
        put(&mut objects, 3, NextHopKind::Blackhole);
        put(&mut objects, 4, NextHopKind::Group([(3, 1)].into()));
        for id in [3, 4] {
            assert_eq!(objects.resolve(id), Some((RouteKind::Blackhole, Box::default())));
        }
    }
}
