//! Routes and neighbours of the relay's interfaces, as the kernel has them and the workers use them.

use std::collections::HashMap;

use control::kernel::{Dump, KernelRoute, Reachability, RouteKind, Table, observe};
use control_api::{Code, Neighbor, Neighbors, Path, Refusal, Route, Routes};

/// The kernel's view, and which interfaces are the relay's.
pub(super) struct View {
    dump: Dump,
    ours: HashMap<u32, String>,
}

impl View {
    /// Of now. `twins` are the names of the ports' twins; their VLANs are the relay's as well.
    pub(super) fn now(twins: &[String]) -> Result<Self, Refusal> {
        let dump = observe().map_err(|error| {
            Refusal::new(Code::Unavailable, format!("the kernel does not answer: {error}"), "ask again")
        })?;
        let is_twin =
            |index: u32| dump.links.iter().any(|link| link.index == index && twins.contains(&link.name));
        let ours = dump
            .links
            .iter()
            .filter(|link| is_twin(link.index) || (link.vlan.is_some() && link.parent.is_some_and(is_twin)));
        let ours = ours.map(|link| (link.index, link.name.clone())).collect();
        Ok(Self { dump, ours })
    }

    /// So many routes at most. The kernel's own addresses are not among them.
    pub(super) fn routes(&self, limit: u32) -> Routes {
        let mut routes: Vec<&KernelRoute> = self
            .dump
            .routes
            .iter()
            .filter(|route| matches!(route.table, Table::Main | Table::Default) && self.concerns(route))
            .collect();
        routes.sort_by_key(|route| (route.destination, route.table, route.metric));
        let total = routes.len() as u64;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Routes { routes: routes.into_iter().take(limit).map(|route| self.route(route)).collect(), total }
    }

    /// Whether packets of the relay can take it.
    fn concerns(&self, route: &KernelRoute) -> bool {
        match route.kind {
            RouteKind::Unicast => route.hops.iter().any(|hop| self.ours.contains_key(&hop.index)),
            RouteKind::Local | RouteKind::Broadcast => false,
            RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Throw => true,
        }
    }

    fn route(&self, route: &KernelRoute) -> Route {
        let kind = match route.kind {
            RouteKind::Unicast => "unicast",
            RouteKind::Local => "local",
            RouteKind::Broadcast => "broadcast",
            RouteKind::Blackhole => "blackhole",
            RouteKind::Unreachable => "unreachable",
            RouteKind::Prohibit => "prohibit",
            RouteKind::Throw => "throw",
        };
        let path = |hop: &control::kernel::KernelHop| {
            let elsewhere = self.dump.links.iter().find(|link| link.index == hop.index);
            let interface = self.ours.get(&hop.index).or(elsewhere.map(|link| &link.name));
            Path {
                interface: interface.cloned().unwrap_or_else(|| hop.index.to_string()),
                gateway: hop.gateway.map(|gateway| gateway.to_string()),
                weight: hop.weight,
            }
        };
        // The kernel's unreachable routes stand on the loopback.
        let hops = if route.kind == RouteKind::Unicast { &route.hops[..] } else { &[] };
        Route {
            destination: route.destination.to_string(),
            kind: kind.to_owned(),
            metric: route.metric,
            mtu: route.mtu,
            paths: hops.iter().map(path).collect(),
            worker: String::new(),
        }
    }

    /// The neighbours on the relay's interfaces.
    pub(super) fn neighbors(&self) -> Neighbors {
        let on_ours = self.dump.neighbors.iter().filter_map(|neighbor| {
            let interface = self.ours.get(&neighbor.index)?;
            let state = match neighbor.reachability {
                Reachability::Incomplete => "incomplete",
                Reachability::Reachable => "reachable",
                Reachability::Stale => "stale",
                Reachability::Delay => "delay",
                Reachability::Probe => "probe",
                Reachability::Failed => "failed",
                Reachability::Permanent => "permanent",
                // Multicast groups and the like: nobody one would look for.
                Reachability::None | Reachability::NoArp => return None,
            };
            let mac = neighbor.mac.map(|mac| {
                let bytes: Vec<String> = mac.0.iter().map(|byte| format!("{byte:02x}")).collect();
                bytes.join(":")
            });
            let address = neighbor.address;
            let interface = interface.clone();
            Some((
                address,
                Neighbor {
                    address: address.to_string(),
                    interface,
                    state: state.to_owned(),
                    mac,
                    worker: String::new(),
                    service: None,
                    waiting: 0,
                    lost: 0,
                },
            ))
        });
        let mut neighbors: Vec<_> = on_ours.collect();
        neighbors.sort_by_key(|(address, _)| *address);
        Neighbors { neighbors: neighbors.into_iter().map(|(_, neighbor)| neighbor).collect() }
    }
}
