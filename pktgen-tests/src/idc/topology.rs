//! Nodes, wires and addresses. Those of the figure are the figure's.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::lab::{LabError, Namespace, veth};

/// The IPv4-only client.
pub const CLIENT4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 50);
/// The IPv6-only client.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xcafe, 0, 0, 0, 0, 0x50);

/// Everything but the relays' namespaces has frames as a network card would send them.
const DPDK_ENDS: [&str; 2] = ["r4", "r6"];

/// Node, what `ip` is told there. Twins come later, with their relay.
const NODES: &[(&str, &str)] = &[
    ("client4", "addr add 203.0.113.50/24 dev net\nroute add default via 203.0.113.1"),
    (
        "inet4",
        "addr add 203.0.113.1/24 dev net\naddr add 198.51.100.1/30 dev br1\naddr add 198.51.100.5/30 dev br2",
    ),
    ("br1", ""),
    ("br2", ""),
    (
        "dc",
        "addr add 2001:db8:0:1::1/64 dev br1\naddr add 2001:db8:0:2::1/64 dev br2\naddr add 2001:db8:0:6::2/64 dev net6\n\
         addr add 2001:db8:12:34::ffff/64 dev lan-a\naddr add 2001:db8:fe:dc::ffff/64 dev lan-b",
    ),
    ("inet6", "addr add 2001:db8:cafe::1/64 dev net\naddr add 2001:db8:0:6::1/64 dev dc"),
    ("client6", "addr add 2001:db8:cafe::50/64 dev net\nroute add default via 2001:db8:cafe::1"),
    ("www", "addr add 2001:db8:12:34::1/64 dev lan\nroute add default via 2001:db8:12:34::ffff"),
    ("mta", "addr add 2001:db8:12:34::2/64 dev lan\nroute add default via 2001:db8:12:34::ffff"),
    // A node with its Edge Relay on board (RFC 7756 section 3.1): ::3 is its own, ::4 is handed to the relay, and the IPv4
    // Service Address is an ordinary address of the virtual adapter, to which the default route of IPv4 points.
    (
        "ftp-a",
        "addr add 2001:db8:12:34::3/64 dev lan\nroute add default via 2001:db8:12:34::ffff\n\
         addr add fe80::1/64 dev er6\nroute add 2001:db8:12:34::4/128 via fe80::2 dev er6\n\
         route add 2001:db8:12:34::4e/128 via fe80::2 dev er6\n\
         neigh add proxy 2001:db8:12:34::4 dev lan\nneigh add proxy 2001:db8:12:34::4e dev lan\n\
         addr add 192.0.2.4/32 dev er4\nroute add default via 192.0.0.1 dev er4 onlink src 192.0.2.4",
    ),
    ("er-a", ""),
    ("www-lb", "addr add 2001:db8:fe:dc::1/64 dev lan\nroute add default via 2001:db8:fe:dc::ffff"),
    ("web", "addr add 2001:db8:fe:dc::80:1/64 dev lan\nroute add default via 2001:db8:fe:dc::ffff"),
    ("er-b", ""),
    // Behind a network relay, in the layout of RFC 7756 appendix A.2: a private address on the link, and the IPv4 Service
    // Address as another one, which is the source of everything.
    (
        "ftp-b",
        "addr add 10.46.0.5/24 dev seg\naddr add 192.0.2.5/32 dev seg\nroute add default via 10.46.0.1 src 192.0.2.5",
    ),
];

/// One end, the other, and the MTU.
type Wire = ((&'static str, &'static str), (&'static str, &'static str), u32);

/// What is 1480 carries IPv4 behind an Edge Relay: 20 bytes less than the IPv6 around it (RFC 7756 section 4.2).
const WIRES: &[Wire] = &[
    (("client4", "net"), ("inet4", "net"), 1500),
    (("inet4", "br1"), ("br1", "r4"), 1500),
    (("inet4", "br2"), ("br2", "r4"), 1500),
    (("dc", "br1"), ("br1", "r6"), 1500),
    (("dc", "br2"), ("br2", "r6"), 1500),
    (("dc", "net6"), ("inet6", "dc"), 1500),
    (("client6", "net"), ("inet6", "net"), 1500),
    (("www", "lan"), ("dc", "a-www"), 1500),
    (("mta", "lan"), ("dc", "a-mta"), 1500),
    (("ftp-a", "lan"), ("dc", "a-ftp"), 1500),
    (("ftp-a", "er4"), ("er-a", "r4"), 1480),
    (("ftp-a", "er6"), ("er-a", "r6"), 1500),
    (("www-lb", "lan"), ("dc", "b-www-lb"), 1500),
    (("web", "lan"), ("dc", "b-web"), 1500),
    (("er-b", "r6"), ("dc", "b-er"), 1500),
    (("ftp-b", "seg"), ("er-b", "r4"), 1480),
];

/// What has to be known once everything is up: node, prefix, interfaces.
pub(super) const ROUTES: &[(&str, &str, &[&str])] = &[
    ("inet4", "192.0.2.0/24", &["br1", "br2"]),
    ("dc", "2001:db8:46::/96", &["br1", "br2"]),
    ("dc", "::/0", &["net6"]),
    ("inet6", "2001:db8:12:34::/64", &["dc"]),
    ("inet6", "2001:db8:fe:dc::/64", &["dc"]),
    ("br1", "0.0.0.0/0", &["bl-v4"]),
    ("br2", "0.0.0.0/0", &["bl-v4"]),
    ("br1", "::/0", &["bl-v6"]),
    ("br2", "::/0", &["bl-v6"]),
    ("br1", "2001:db8:fe:dc::/64", &["bl-v6"]),
    ("br2", "2001:db8:fe:dc::/64", &["bl-v6"]),
];

/// Namespaces by the names of the figure.
#[derive(Debug)]
pub struct Nodes(BTreeMap<&'static str, Namespace>);

impl Nodes {
    /// Makes namespaces, wires, bridges and addresses.
    ///
    /// # Errors
    /// When the machine refuses a step.
    pub(super) fn lay() -> Result<Self, LabError> {
        let mut nodes = BTreeMap::new();
        for (name, _) in NODES {
            nodes.insert(*name, Namespace::new(name)?);
        }
        let nodes = Self(nodes);
        for ((at_a, a), (at_b, b), mtu) in WIRES {
            veth(nodes.get(at_a), a, nodes.get(at_b), b, *mtu)?;
            for (at, interface) in [(at_a, a), (at_b, b)] {
                if DPDK_ENDS.contains(interface) {
                    nodes.get(at).deafen(interface)?;
                } else {
                    nodes.get(at).plain_frames(interface)?;
                }
            }
        }
        nodes.bridge("lan-a", "a-")?;
        nodes.bridge("lan-b", "b-")?;
        nodes.settings()?;
        for (name, lines) in NODES {
            nodes.get(name).ip_lines(lines)?;
        }
        Ok(nodes)
    }

    /// A node.
    ///
    /// # Panics
    /// When there is none of that name: a mistake in the test.
    #[must_use]
    pub fn get(&self, name: &str) -> &Namespace {
        self.0.get(name).unwrap_or_else(|| unreachable!("there is no node {name}"))
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Namespace)> {
        self.0.iter().map(|(name, namespace)| (*name, namespace))
    }

    /// Frames an interface has sent.
    #[must_use]
    pub fn sent(&self, node: &str, interface: &str) -> u64 {
        let path = format!("/sys/class/net/{interface}/statistics/tx_packets");
        let text = self.get(node).cmd("cat").arg(path).ok().map(|output| output.stdout).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// A tenant's LAN: a bridge over all ports of dc whose names begin with `ports`.
    fn bridge(&self, name: &str, ports: &str) -> Result<(), LabError> {
        let dc = self.get("dc");
        let ends = WIRES.iter().flat_map(|(a, b, _)| [a, b]);
        let members = ends.filter(|(node, interface)| *node == "dc" && interface.starts_with(ports));
        let mut lines = format!("link add {name} mtu 1500 type bridge forward_delay 0 mcast_snooping 0\n");
        for (_, member) in members {
            lines += &format!("link set {member} master {name}\n");
        }
        dc.ip_lines(&format!("{lines}link set {name} up"))?;
        dc.plain_frames(name)
    }

    /// Routers forward, hash flows with their ports, and answer as fast as they are asked.
    fn settings(&self) -> Result<(), LabError> {
        for router in ["inet4", "dc", "inet6", "ftp-a", "br1", "br2", "er-a", "er-b"] {
            let router = self.get(router);
            router.sysctl("net.ipv4.ip_forward=1")?;
            router.sysctl("net.ipv6.conf.all.forwarding=1")?;
            router.sysctl("net.ipv4.icmp_ratelimit=0")?;
            router.sysctl("net.ipv6.icmp.ratelimit=0")?;
            router.sysctl("net.ipv4.fib_multipath_hash_policy=1")?;
            router.sysctl("net.ipv6.fib_multipath_hash_policy=1")?;
        }
        self.get("client4").sysctl("net.ipv6.conf.net.disable_ipv6=1")?;
        self.get("ftp-b").sysctl("net.ipv6.conf.seg.disable_ipv6=1")?;
        self.get("ftp-a").sysctl("net.ipv6.conf.lan.proxy_ndp=1")
    }
}
