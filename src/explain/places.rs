//! Where an entry of the tables is written.

use std::net::IpAddr;

use control::kernel::{KernelRoute, RouteKind, Table, route_to};
use control_api::Used;
use control_server::mappings::Mappings;
use dataplane::table::eam::Eam;
use ipnet::IpNet;

/// Whom to ask where an entry comes from.
pub(crate) trait Places {
    /// Where a mapping is written.
    fn eam(&self, eam: &Eam) -> String;
    /// The kernel's route to an address.
    fn route(&self, address: IpAddr) -> Option<Used>;
    /// The service pool an address is in.
    fn service_pool(&self, address: IpAddr) -> Option<IpNet>;
}

/// The relay that runs.
pub(crate) struct Running<'r> {
    pub(crate) mappings: &'r Mappings,
}

impl Places for Running<'_> {
    fn eam(&self, eam: &Eam) -> String {
        match self.mappings.written(eam.ipv4) {
            Some((ipv6, place)) if ipv6 == eam.ipv6 => place,
            // What packets meet is not what is written: somebody must hear of it.
            Some((ipv6, place)) => format!("not written so: {place} has {} = {ipv6}", eam.ipv4),
            None => "in use, and written nowhere".to_owned(),
        }
    }

    fn route(&self, address: IpAddr) -> Option<Used> {
        route_to(address).ok().flatten().map(|route| used(&route))
    }

    fn service_pool(&self, address: IpAddr) -> Option<IpNet> {
        self.mappings.service_pool(address).map(IpNet::V4)
    }
}

fn used(route: &KernelRoute) -> Used {
    let kind = match route.kind {
        RouteKind::Unicast => "",
        RouteKind::Local => "local ",
        RouteKind::Broadcast => "broadcast ",
        RouteKind::Blackhole => "blackhole ",
        RouteKind::Unreachable => "unreachable ",
        RouteKind::Prohibit => "prohibit ",
        RouteKind::Throw => "throw ",
    };
    let via: Vec<String> =
        route.hops.iter().filter_map(|hop| hop.gateway.map(|gateway| format!(" via {gateway}"))).collect();
    let table = match route.table {
        Table::Local => "local".to_owned(),
        Table::Main => "main".to_owned(),
        Table::Default => "default".to_owned(),
        Table::Other(number) => number.to_string(),
    };
    Used {
        entry: format!("{kind}{}{}", route.destination, via.concat()),
        origin: format!(
            "kernel, table {table}, protocol {}, metric {}",
            protocol(route.protocol),
            route.metric
        ),
    }
}

/// As iproute2 calls them (`rt_protos`).
fn protocol(number: u8) -> String {
    let name = match number {
        2 => "kernel",
        3 => "boot",
        4 => "static",
        9 => "ra",
        11 => "zebra",
        12 => "bird",
        16 => "dhcp",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        other => return other.to_string(),
    };
    name.to_owned()
}
