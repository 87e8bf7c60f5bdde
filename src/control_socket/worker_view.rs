//! What the workers do with an address, by the tables they use: not by what is written, and not by what the kernel has.

use std::net::IpAddr;

use control_api::WorkerView;
use dataplane::table::fib::Path;
use dataplane::table::routing::TableId;
use dataplane::table::snapshot::Snapshot;

use crate::explain::{Places, interface_name, mac};

/// What the workers do with `address`.
pub(super) fn of(address: IpAddr, snapshot: &Snapshot, ports: &[String], places: &dyn Places) -> WorkerView {
    // What is for the box itself is its kernel's before anything is translated.
    let (translated, mapping) =
        if is_own(address, snapshot) { (None, None) } else { translation(address, snapshot) };
    let to = translated.unwrap_or(address);
    let path = snapshot.fib.lookup(to, || 0);
    let (interface, mac) = match path {
        Path::Adjacent(adjacency) => (Some(adjacency.interface), Some(mac(&adjacency.link_header(6)))),
        Path::Unresolved { interface, .. } => (Some(*interface), None),
        _ => (None, None),
    };
    WorkerView {
        generation: snapshot.generation,
        translated: translated.map(|address| address.to_string()),
        mapping,
        next_hop: word(path).to_owned(),
        interface: interface.map(|id| interface_name(id, snapshot, ports)),
        mac,
        mtu: path.mtu(),
        route: places.route(to).map(|used| format!("{} ({})", used.entry, used.origin)),
    }
}

/// Whether packets to an address are the kernel's because it is one of the box. What an Edge Relay holds for its node is
/// translated all the same (RFC 7756 3.1).
pub(super) fn is_own(address: IpAddr, snapshot: &Snapshot) -> bool {
    let is_nodes = matches!(address, IpAddr::V6(address) if snapshot.translation.is_er_ipv6(address));
    snapshot.fib.is_local(TableId::MAIN, address) && !is_nodes
}

/// The path of packets to an address in a word.
pub(super) fn next_hop(address: IpAddr, snapshot: &Snapshot) -> &'static str {
    word(snapshot.fib.lookup(address, || 0))
}

/// The other form of an address, and the mapping that decides.
fn translation(address: IpAddr, snapshot: &Snapshot) -> (Option<IpAddr>, Option<String>) {
    let translation = &snapshot.translation;
    let eams = &translation.eams;
    let (mapped, covering) = match address {
        IpAddr::V4(address) => {
            (eams.lookup_ipv4(address).map(|mapped| mapped.address.into()), eams.covering_ipv4(address))
        }
        IpAddr::V6(address) => {
            (eams.lookup_ipv6(address).map(|mapped| mapped.address.into()), eams.covering_ipv6(address))
        }
    };
    if let (Some(mapped), Some(eam)) = (mapped, covering.first()) {
        return (Some(mapped), Some(format!("{} = {}", eam.ipv4, eam.ipv6)));
    }
    let by_prefix = match address {
        // A free service address has no other form: it is answered.
        IpAddr::V4(address) if translation.service_pools.contains(address) => None,
        IpAddr::V4(address) if translation.denylist.contains(address) => None,
        IpAddr::V4(address) => translation.prefix.map(|prefix| prefix.embed(address).address.into()),
        IpAddr::V6(address) => {
            translation.prefix_of(address).map(|(prefix, _)| prefix.extract(address).into())
        }
    };
    (by_prefix, None)
}

/// The IPv4 service address that is mapped to a host, if one is.
pub(super) fn service_of(host: IpAddr, snapshot: &Snapshot) -> Option<String> {
    let IpAddr::V6(host) = host else { return None };
    snapshot.translation.eams.lookup_ipv6(host).map(|mapped| mapped.address.to_string())
}

const fn word(path: &Path) -> &'static str {
    match path {
        Path::Adjacent(_) => "ready",
        Path::Unresolved { .. } => "unresolved",
        Path::Failed => "failed",
        Path::Local => "local",
        Path::Kernel => "kernel",
        Path::Unreachable => "unreachable",
        Path::Prohibited => "prohibit",
        Path::Blackhole => "blackhole",
        Path::NoRoute => "no_route",
    }
}
