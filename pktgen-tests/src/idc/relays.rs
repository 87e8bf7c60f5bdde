//! The two relays: the same table, the same pools, one process each.

use std::path::PathBuf;

use tempfile::TempDir;

use super::Side;
use super::topology::Nodes;
use crate::lab::{LabError, Relay, directory};

/// The protocol number of what a relay wants announced; FRR takes 186 to 198 for its own.
pub(super) const ANNOUNCED: u32 = 146;
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

    fn config(&self, side: Side) -> String {
        let (socket, store) = (self.socket(side), self.0.path().join(format!("{}.db", NODES[side])));
        let mut text = format!(
            "[dpdk]\nworkers = [{}]\nmemory = \"no-huge\"\nmemory_mb = 128\npoll = \"adaptive\"\n\n\
             [[port]]\nname = \"v4\"\ndevice = \"net_af_xdp0,iface=r4\"\nmtu = 1500\n\n\
             [[port]]\nname = \"v6\"\ndevice = \"net_af_xdp1,iface=r6\"\nmtu = 1500\n\n\
             [translation]\nprefixes = [\"2001:db8:46::/96\"]\nservice_pools = [\"192.0.2.0/24\"]\n\
             lowest_ipv6_mtu = 1500\n\n\
             [control]\nsocket = \"{}\"\nstore = \"{}\"\n{}",
            side % processors(),
            socket.display(),
            store.display(),
            if announces() { "\n[announce]\nenabled = true\n" } else { "" },
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

/// STAND-IN until the relay announces.
fn announces() -> bool {
    let place = directory().expect("a directory");
    let file = place.path().join("x.toml");
    std::fs::write(&file, "[announce]\nenabled = true\n").expect("written");
    let binary = crate::lab::relay_binary().expect("built");
    let said = crate::lab::Cmd::new(&binary.display().to_string())
        .args("check --config")
        .arg(file.display().to_string())
        .run()
        .expect("runs");
    !said.text().contains("announce")
}

/// STAND-IN.
pub(super) fn stand_in(nodes: &Nodes, side: Side) -> Result<(), LabError> {
    let node = nodes.get(NODES[side]);
    if announces() {
        return Ok(());
    }
    if !node.has_link("bl-up") {
        node.ip_lines("link add bl-up type veth peer name up-peer\nlink set bl-up up\nlink set up-peer up")?;
        node.ip_lines(&format!("route add 192.0.2.0/24 dev bl-up proto {ANNOUNCED} metric 4242\nroute add 2001:db8:46::/96 dev bl-up proto {ANNOUNCED} metric 4242"))?;
    }
    Ok(())
}
