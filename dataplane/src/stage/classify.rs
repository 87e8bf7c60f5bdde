//! Whose packet is it? Decided before anything of it is translated, so that the relay never takes the box's own
//! packets: routing protocols, neighbour discovery, its addresses, native traffic.
//!
//! Enters: a validated IP header. Leaves: translate (with the destination already mapped), native, punt or a
//! refusal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Refusal;
use super::lookup::{self, Mapping};
use crate::table::fib::Fib;
use crate::table::routing::TableId;
use crate::table::special::{never_destination_ipv4, never_forwarded_ipv6};
use crate::table::translation::{Role, Translation};
use crate::table::{MappedV4, MappedV6};
use crate::verdict::{DropReason, PuntReason};
use crate::wire::icmp;

/// What becomes of a packet. `D` is its translated destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class<D> {
    /// Translated.
    Translate(D),
    /// Forwarded as it is.
    Native,
    /// The kernel's.
    Punt(PuntReason),
}

/// The destination of a packet from IPv6 to IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestinationV4 {
    /// The address.
    pub mapped: MappedV4,
    /// By EAM or by prefix: RFC 7757 4.2.2 asks.
    pub by: Mapping,
}

/// Classifies an IPv4 packet by its destination; `group` tells a link-layer broadcast or multicast, `table` where the
/// interface it came in by looks destinations up.
///
/// # Errors
/// A destination that cannot be forwarded to, or an unassigned service address.
#[inline]
pub fn ipv4(
    destination: Ipv4Addr,
    group: bool,
    translation: &Translation,
    fib: &Fib,
    table: TableId,
) -> Result<Class<MappedV6>, Refusal> {
    if destination.is_multicast() || destination.is_link_local() || (group && destination.is_broadcast()) {
        return Ok(Class::Punt(PuntReason::LocalScope));
    }
    if fib.is_local(table, IpAddr::V4(destination)) {
        return Ok(Class::Punt(PuntReason::LocalAddress));
    }
    if group {
        return Err(DropReason::LinkBroadcast.into());
    }
    if never_destination_ipv4(destination) {
        return Err(DropReason::IllegalDestination.into());
    }
    if let Some(mapped) = translation.eams.lookup_ipv4(destination) {
        if never_forwarded_ipv6(mapped.address) {
            return Err(DropReason::IllegalDestination.into());
        }
        return Ok(Class::Translate(mapped));
    }
    let everything = translation.settings.role == Role::EdgeRelay;
    if translation.prefix.is_some() && (everything || translation.translatable_pools.contains(destination)) {
        return lookup::embed(translation, destination).map(Class::Translate);
    }
    if translation.service_pools.contains(destination) {
        return Err(Refusal::answered(
            DropReason::UnassignedServiceAddress,
            icmp::v4::UNREACHABLE,
            icmp::v4::HOST,
            [0; 4],
        ));
    }
    let plain = translation.settings.role == Role::Siit && translation.prefix.is_some();
    if plain && !fib.has_route_of_its_own(table, destination) {
        return lookup::embed(translation, destination).map(Class::Translate);
    }
    Ok(Class::Native)
}

/// Classifies an IPv6 packet by its destination; `group` and `table` as in [`ipv4`].
///
/// # Errors
/// A destination that cannot be forwarded to.
#[inline]
pub fn ipv6(
    destination: Ipv6Addr,
    group: bool,
    translation: &Translation,
    fib: &Fib,
    table: TableId,
) -> Result<Class<DestinationV4>, Refusal> {
    if destination.is_multicast() || destination.is_unicast_link_local() {
        return Ok(Class::Punt(PuntReason::LocalScope));
    }
    // An Edge Relay may hold its IPv6 Service Addresses itself, so that its kernel answers for them on the link and defends
    // them (RFC 7756 3.1); what is sent to them is the node's all the same.
    if fib.is_local(table, IpAddr::V6(destination)) && !translation.is_er_ipv6(destination) {
        return Ok(Class::Punt(PuntReason::LocalAddress));
    }
    if group {
        return Err(DropReason::LinkBroadcast.into());
    }
    if never_forwarded_ipv6(destination) {
        return Err(DropReason::IllegalDestination.into());
    }
    let Some(destination) = mapped_destination(destination, translation)? else {
        return Ok(Class::Native);
    };
    if never_destination_ipv4(destination.mapped.address) {
        return Err(DropReason::IllegalDestination.into());
    }
    Ok(Class::Translate(destination))
}

/// The IPv4 address that `destination` stands for here; none for native destinations.
///
/// On a Border Relay that is an address in a translation prefix, or under the EAM for 0.0.0.0/0 that stands for
/// the IPv4 Internet (RFC 7757 A.2). Native IPv6 to a mapped host is never intercepted (RFC 7755 1.1). An Edge Relay
/// translates what is for its own service addresses (RFC 7756 3). A plain translator asks EAMs and prefixes about
/// every destination.
#[inline]
fn mapped_destination(
    destination: Ipv6Addr,
    translation: &Translation,
) -> Result<Option<DestinationV4>, Refusal> {
    let by_eam = || translation.eams.lookup_ipv6(destination);
    if translation.settings.role == Role::EdgeRelay {
        let mapped = by_eam().filter(|mapped| mapped.default_eam || translation.is_er_ipv6(destination));
        return Ok(mapped.map(|mapped| DestinationV4 { mapped, by: Mapping::Eam }));
    }
    let Some((prefix, has_eams)) = translation.prefix_of(destination) else {
        let any = translation.serves_mapped_destinations();
        let mapped = by_eam().filter(|mapped| any || mapped.default_eam);
        return Ok(mapped.map(|mapped| DestinationV4 { mapped, by: Mapping::Eam }));
    };
    if has_eams && let Some(mapped) = by_eam() {
        return Ok(Some(DestinationV4 { mapped, by: Mapping::Eam }));
    }
    let mapped = lookup::extract(translation, prefix, destination)?;
    Ok(Some(DestinationV4 { mapped, by: Mapping::Prefix }))
}
