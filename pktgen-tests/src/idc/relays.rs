//! The two relays: the same table, the same pools, one process each.

use std::path::PathBuf;

use tempfile::TempDir;

use super::Side;
use super::topology::Nodes;
use crate::lab::{LabError, Relay, directory};

/// The protocol number of what a relay wants announced; FRR takes 186 to 198 for its own.
pub(super) const ANNOUNCED: u32 = 212;
/// Names of their nodes.
pub(super) const NODES: [&str; 2] = ["br1", "br2"];
/// The EAM table of the figure.
pub(super) const EAMS: [(&str, &str); 5] = [
    ("192.0.2.1", "2001:db8:12:34::1"),
    ("192.0.2.2", "2001:db8:12:34::2"),
    ("192.0.2.3", "2001:db8:fe:dc::1"),
    ("192.0.2.4", "2001:db8:12:34::4"),
    ("192.0.2.5", "2001:db8:fe:dc::e"),
];

/// Where the relays have their sockets and stores; it outlives each process.
pub(super) struct Files(TempDir);

impl Files {
    pub(super) fn new() -> Result<Self, LabError> {
        directory().map(Self)
    }

    pub(super) fn socket(&self, side: Side) -> PathBuf {
        self.0.path().join(format!("{}.sock", NODES[side]))
    }

    pub(super) fn start(&self, nodes: &Nodes, side: Side) -> Result<Relay, LabError> {
        Relay::start_with(nodes.get(NODES[side]), &self.config(side), &["v4", "v6"])
    }

    /// Another process that stands by for a relay.
    pub(super) fn stand_by(&self, nodes: &Nodes, side: Side) -> Result<Relay, LabError> {
        Relay::stand_by(nodes.get(NODES[side]), &self.config(side))
    }

    fn config(&self, side: Side) -> String {
        let (socket, store) = (self.socket(side), self.0.path().join(format!("{}.db", NODES[side])));
        let mut text = format!(
            "[dpdk]\nworkers = [{}]\nmemory = \"no-huge\"\nmemory_mb = 128\npoll = \"adaptive\"\n\n\
             [[port]]\nname = \"v4\"\ndevice = \"net_af_xdp0,iface=r4\"\nmtu = 1500\n\n\
             [[port]]\nname = \"v6\"\ndevice = \"net_af_xdp1,iface=r6\"\nmtu = 1500\n\n\
             [translation]\nprefixes = [\"2001:db8:46::/96\"]\nservice_pools = [\"192.0.2.0/24\"]\n\
             lowest_ipv6_mtu = 1500\n\n\
             [control]\nsocket = \"{}\"\nstore = \"{}\"\n\n[announce]\nenabled = true\ndefault_route = \"required\"\n",
            side % processors(),
            socket.display(),
            store.display(),
        );
        for (ipv4, ipv6) in EAMS {
            text += &format!("\n[[eam]]\nipv4 = \"{ipv4}\"\nipv6 = \"{ipv6}\"\n");
        }
        text
    }
}

pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What an operator gives the twins, once they are there.
pub(super) fn address(nodes: &Nodes, side: Side) -> Result<(), LabError> {
    let (ipv4, ipv6) = [("198.51.100.2", "2001:db8:0:1::2"), ("198.51.100.6", "2001:db8:0:2::2")][side];
    nodes.get(NODES[side]).ip_lines(&format!(
        "addr add {ipv4}/30 dev bl-v4\naddr add {ipv6}/64 dev bl-v6 nodad\nlink set bl-v4 up\nlink set bl-v6 up"
    ))
}
