//! The kernel's view at one moment, for people: asked anew each time, so that nothing is kept for it and the follower is not
//! disturbed.

use std::io;
use std::net::IpAddr;

use super::event::{Dump, Event, KernelRoute, RouteKind, Table};
use super::netlink::attribute::Message;
use super::netlink::request::Request;
use super::netlink::socket::Caller;
use super::netlink::{decode, dump};

/// RTM_NEWROUTE, the answer to a question about one.
const RTM_NEWROUTE: u16 = 24;

/// Asks the kernel for every link, address, neighbour and route. Blocks until it has answered: not for the control thread.
///
/// # Errors
/// When the kernel does not answer.
pub fn observe() -> io::Result<Dump> {
    let (mut everything, mut routes) = (Dump::default(), Vec::new());
    dump::read(|piece| {
        routes.extend(piece.routes);
        if let Some(dumped) = piece.dumped {
            everything = dumped.dump;
        }
        true
    })?;
    everything.routes = routes;
    Ok(everything)
}

/// The route the kernel takes to an address, as it was configured (`ip route get fibmatch`); none where it has none. A few
/// microseconds, whatever the size of the table.
///
/// # Errors
/// When the kernel does not answer.
pub fn route_to(address: IpAddr) -> io::Result<Option<KernelRoute>> {
    let payload = match Caller::new()?.ask(Request::route_to(address)) {
        Ok(payload) => payload,
        Err(error) if is_unreachable(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let message = Message { kind: RTM_NEWROUTE, flags: 0, sequence: 1, payload: &payload };
    match decode::event(message) {
        // Some kernels say main whatever table they looked in; the box's own addresses are in the table local.
        Ok(Some(Event::Route { route, .. })) if route.kind == RouteKind::Local => {
            Ok(Some(KernelRoute { table: Table::Local, ..route }))
        }
        Ok(Some(Event::Route { route, .. })) => Ok(Some(route)),
        _ => Ok(None),
    }
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_loopback_is_a_route_of_the_table_local() {
        let route = route_to("127.0.0.1".parse().unwrap()).unwrap().unwrap();
        assert_eq!(route.table, Table::Local);
        assert!(route.destination.contains(&"127.0.0.1".parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn the_loopback_is_there() {
        let dump = observe().unwrap();
        assert!(dump.links.iter().any(|link| link.loopback), "{:?}", dump.links);
    }
}
