//! What the kernel says of one interface, asked for once.

use std::io;

use rustix::io::Errno;

use super::netlink::attribute::{Attributes, u32_of};
use super::netlink::request::Request;
use super::netlink::socket::Caller;

/// ifinfomsg: 4 index, 16 attributes.
const ATTRIBUTES_AT: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_MTU: u16 = 4;
const IFLA_STATS64: u16 = 23;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_PROG_ID: u16 = 4;

/// One interface of this network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InterfaceFacts {
    /// The XDP program on it.
    pub xdp_program: Option<u32>,
    /// Frames it received, those that a program took away included.
    pub received: u64,
    /// Its Ethernet address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// Its MTU, in bytes.
    pub mtu: u32,
}

/// Asks the kernel about interfaces, over one socket.
pub struct InterfaceFactsReader(Caller);

impl InterfaceFactsReader {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn new() -> io::Result<Self> {
        Caller::new().map(Self)
    }

    /// What the kernel says of an interface; `None` when there is none of that name.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn read(&self, name: &str) -> io::Result<Option<InterfaceFacts>> {
        match self.0.ask(Request::link(name)) {
            Ok(payload) => Ok(Some(facts(&payload))),
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn facts(payload: &[u8]) -> InterfaceFacts {
    let mut facts = InterfaceFacts::default();
    for (kind, value) in Attributes(payload.get(ATTRIBUTES_AT..).unwrap_or_default()) {
        match kind {
            IFLA_ADDRESS => facts.mac = value.try_into().ok(),
            IFLA_MTU => facts.mtu = u32_of(value).unwrap_or_default(),
            // struct rtnl_link_stats64 begins with the received packets.
            IFLA_STATS64 => {
                let first = value.first_chunk().copied().map(u64::from_ne_bytes);
                facts.received = first.unwrap_or_default();
            }
            IFLA_XDP => {
                let program = Attributes(value).find(|(kind, _)| *kind == IFLA_XDP_PROG_ID);
                facts.xdp_program = program.and_then(|(_, id)| u32_of(id)).filter(|id| *id != 0);
            }
            _ => {}
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_known_and_others_are_not() {
        let reader = InterfaceFactsReader::new().unwrap();
        assert_eq!(reader.read("lo").unwrap().unwrap().xdp_program, None);
        assert_eq!(reader.read("no-such-iface").unwrap(), None);
    }

    #[test]
    fn program_and_frames_are_found_among_other_attributes() {
        let mut payload = vec![0; ATTRIBUTES_AT];
        payload.extend([6, 0, 3, 0, b'r', 0, 0, 0]);
        payload.extend([12, 0, 23, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        payload.extend([20, 0, 43, 128, 5, 0, 2, 0, 1, 0, 0, 0, 8, 0, 4, 0, 9, 1, 0, 0]);
        let expected = InterfaceFacts { xdp_program: Some(265), received: 7, ..InterfaceFacts::default() };
        assert_eq!(facts(&payload), expected);
    }
}
