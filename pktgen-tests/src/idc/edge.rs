//! The tenants' Edge Relays (RFC 7756): tenant A's on the node of its FTP server, tenant B's in the network.
//!
//! ```text
//!  A, section 3.1:  lan-a --- [lan  ftp-a  er6] --- [r6  er-a  r4] --- [er4  ftp-a]      ftp-a: 192.0.2.4 on er4
//!                    ftp-a answers for ::4 on the LAN and hands it to the relay
//!  B, section 3.2:  lan-b --- [r6  er-b  r4] --- [seg  ftp-b]                            ftp-b: 192.0.2.5 on seg
//!                    er-b has ::e itself and is the default router of the segment
//! ```

use super::relays::processors;
use super::topology::Nodes;
use crate::lab::{LabError, Relay};

/// One Edge Relay.
struct Edge {
    node: &'static str,
    eam: (&'static str, &'static str),
    /// What `ip` is told once the twins are there.
    twins: &'static str,
}

const EDGES: [Edge; 2] = [
    Edge {
        node: "er-a",
        eam: ("192.0.2.4", "2001:db8:12:34::4"),
        twins: "addr add 192.0.0.1/32 dev bl-v4\nlink set bl-v4 up\nroute add 192.0.2.4/32 dev bl-v4\n\
                link set bl-v6 up\naddr add fe80::2/64 dev bl-v6 nodad\naddr add 2001:db8:12:34::4e/128 dev bl-v6 nodad\n\
                route add default via fe80::1 dev bl-v6",
    },
    Edge {
        node: "er-b",
        eam: ("192.0.2.5", "2001:db8:fe:dc::e"),
        // ::e is deprecated, so that nothing of this machine's own takes it for its source.
        twins: "addr add 10.46.0.1/24 dev bl-v4\nlink set bl-v4 up\nroute add 192.0.2.5/32 via 10.46.0.5\n\
                link set bl-v6 up\naddr add 2001:db8:fe:dc::ee/64 dev bl-v6 nodad\n\
                addr add 2001:db8:fe:dc::e/128 dev bl-v6 nodad preferred_lft 0\n\
                route add default via 2001:db8:fe:dc::ffff",
    },
];

/// Starts both.
pub(super) fn start(nodes: &Nodes) -> Result<Vec<Relay>, LabError> {
    let started = EDGES.iter().enumerate().map(|(number, edge)| {
        let namespace = nodes.get(edge.node);
        let relay = Relay::start_with(namespace, &config(edge, number % processors()), &["v4", "v6"])?;
        namespace.ip_lines(edge.twins)?;
        Ok(relay)
    });
    started.collect()
}

/// `lowest_ipv6_mtu` is that of the Border Relays (RFC 7756 section 4.1); the IPv4 port has 20 bytes less (4.2).
fn config(edge: &Edge, cpu: usize) -> String {
    let (ipv4, ipv6) = edge.eam;
    format!(
        "[dpdk]\nworkers = [{cpu}]\nmemory = \"no-huge\"\nmemory_mb = 64\npoll = \"sleep\"\n\n\
         [[port]]\nname = \"v4\"\ndevice = \"net_af_xdp0,iface=r4\"\nmtu = 1480\n\n\
         [[port]]\nname = \"v6\"\ndevice = \"net_af_xdp1,iface=r6\"\nmtu = 1500\n\n\
         [translation]\nrole = \"er\"\nprefixes = [\"2001:db8:46::/96\"]\ner_addresses = [\"{ipv6}\"]\n\
         lowest_ipv6_mtu = 1500\n\n\
         [[eam]]\nipv4 = \"{ipv4}\"\nipv6 = \"{ipv6}\"\n"
    )
}
