//! What crosses the relays while something breaks: 1,000 packets per second in each direction, and downloads.
//!
//! Flows are hashed over the relays, so each flow's port is chosen such that it takes the relay that will break. TCP
//! connections cannot be chosen; there are four, in both directions each, so that most likely some take it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::servers::LARGE;
use super::{CLIENT4, Idc, Side};
use crate::lab::probe::udp_socket;
use crate::lab::{LabError, embedded, wait_until};
use crate::storm::flow::{Flow, Seen};

/// Tenant A's www, and its service address.
const WWW: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x34, 0, 0, 0, 1);
const SERVICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const DOWNLOADS: usize = 4;

/// Traffic on its way.
pub(super) struct Traffic {
    flows: [Flow; 2],
    downloads: Vec<JoinHandle<bool>>,
}

/// What became of it.
pub(super) struct Toll {
    /// From IPv4 to IPv6, and back.
    pub(super) flows: [Seen; 2],
    /// Downloads that arrived whole.
    pub(super) whole: usize,
}

impl Toll {
    pub(super) fn lost(&self) -> u64 {
        self.flows.iter().map(|seen| seen.lost).sum()
    }

    pub(super) fn all_whole(&self) -> bool {
        self.whole == DOWNLOADS
    }

    pub(super) fn downloads(&self) -> String {
        format!("{} of {DOWNLOADS}", self.whole)
    }
}

/// One direction: router that chooses, sender, its address, where to.
struct Way {
    router: &'static str,
    /// The first of the ports it may have; both ends of a flow have the same.
    port: u16,
    from: (&'static str, IpAddr),
    to: IpAddr,
    receiver: (&'static str, IpAddr),
}

fn ways() -> [Way; 2] {
    [
        Way {
            router: "inet4",
            port: 7001,
            from: ("client4", CLIENT4.into()),
            to: SERVICE,
            receiver: ("www", WWW.into()),
        },
        Way {
            router: "dc",
            port: 7101,
            from: ("www", WWW.into()),
            to: embedded(CLIENT4).into(),
            receiver: ("client4", CLIENT4.into()),
        },
    ]
}

impl Traffic {
    /// Starts flows that take the relay `side`, and downloads that last for about `time`.
    pub(super) fn start(idc: &Idc, side: Side, time: Duration) -> Result<Self, LabError> {
        let [there, back] = ways();
        let flows = [start(idc, &there, side)?, start(idc, &back, side)?];
        let rate = LARGE as u64 / time.as_secs().max(1);
        Ok(Self { flows, downloads: (0..DOWNLOADS).map(|_| download(idc, rate)).collect() })
    }

    /// Ends the flows, waits for the downloads.
    pub(super) fn finish(self) -> Toll {
        let flows = self.flows.map(Flow::finish);
        let whole = self.downloads.into_iter().filter_map(|download| download.join().ok());
        Toll { flows, whole: whole.filter(|whole| *whole).count() }
    }
}

fn start(idc: &Idc, way: &Way, side: Side) -> Result<Flow, LabError> {
    let port = port_over(idc, way, side)?;
    let ends = |(node, address): (&str, IpAddr)| (idc.node(node), address);
    Flow::start(ends(way.from), SocketAddr::new(way.to, port), ends(way.receiver))
}

/// A port whose flow the router sends over the relay `side`.
fn port_over(idc: &Idc, way: &Way, side: Side) -> Result<u16, LabError> {
    const PROBES: u64 = 200;
    for port in way.port..way.port + 60 {
        let socket = udp_socket(idc.node(way.from.0), way.from.1, port)?;
        let before = idc.sent_to_relays(way.router);
        for _ in 0..PROBES {
            socket.send_to(b"which way", SocketAddr::new(way.to, port))?;
        }
        let mut grown = [0, 0];
        // On a busy machine the router forwards them a while later.
        wait_until(Duration::from_secs(2), || {
            let after = idc.sent_to_relays(way.router);
            grown = [after[0] - before[0], after[1] - before[1]];
            grown.iter().any(|grown| *grown >= PROBES)
        });
        if grown[side] >= PROBES {
            return Ok(port);
        }
    }
    let text = format!("{:?}", idc.sent_to_relays(way.router));
    Err(LabError::Unreadable { what: format!("which flows of {} take relay {side}", way.router), text })
}

/// Whether everything arrived as it was sent.
fn download(idc: &Idc, rate: u64) -> JoinHandle<bool> {
    let command = idc
        .node("client4")
        .sh(&format!("curl -sSf --max-time 90 --limit-rate {rate} http://192.0.2.1/large | sha256sum"))
        .timeout(100);
    let good = idc.servers().sum.clone();
    thread::spawn(move || {
        command.ok().is_ok_and(|output| output.stdout.split_whitespace().next() == Some(&good))
    })
}
