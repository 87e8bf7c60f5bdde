//! What the data path would do with one frame, and why: the walk itself, on tables that are in use, in memory.
//!
//! Enters: a snapshot, a port, and a frame as that port would receive it. Leaves: every [`Step`] of its walk, how it ends, what
//! leaves the box, and which counters grow. Nothing of a worker is touched: buffers, keys and counts are made for this one
//! frame. What depends on what came before it is left out: limits of rates (an ICMP error is always granted, a punt always
//! taken), full queues, and empty pools.

use crate::buffer::Buffer;
use crate::counters::Counts;
use crate::memory::{MemoryBuffer, MemoryPool};
use crate::punt;
use crate::sink::Sink;
use crate::stage::parse::{self, Family, Link};
use crate::table::fib::Adjacency;
use crate::table::routing::{PortId, TableId};
use crate::table::snapshot::Snapshot;
use crate::verdict::{DropReason, PuntReason, Verdict};
use crate::walk::express::Lane;
use crate::walk::{End, LcoreState, Native, Output, Step, Walk, Wanted, Way};

/// How a frame ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Forwarded, or left to wait for the link-layer address of its next hop.
    Forwarded(Way),
    /// Refused, and its sender is told by an ICMP error.
    Answered(DropReason),
    /// Refused silently.
    Dropped(DropReason),
    /// The kernel's.
    Punted(PuntReason),
}

/// A packet that leaves the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// From the link-layer header on; from the IP header on if its next hop has no link-layer address yet.
    pub frame: Vec<u8>,
    /// Bytes of link-layer header.
    pub link: usize,
    /// Where to.
    pub to: To,
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// A next hop that is ready.
    Ready(Adjacency),
    /// One whose link-layer address is asked for; the packet waits meanwhile.
    Waits(Wanted),
    /// The box itself, by its kernel.
    Box(PuntReason),
}

impl Sent {
    /// The IP packet.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        &self.frame[self.link..]
    }
}

/// Everything about one frame's way.
#[derive(Debug)]
pub struct Explained {
    /// What its link-layer header says.
    pub link: Link,
    /// It is plain: a worker takes it through the express lane, where the same questions are asked a burst at a time.
    pub is_plain: bool,
    /// Each question of the walk, in its order.
    pub steps: Vec<Step>,
    /// How it ends.
    pub ending: Ending,
    /// What leaves the box, in order.
    pub sent: Vec<Sent>,
    /// What is counted: this frame alone. Not `received` and `sent`, which ports count.
    pub counts: Counts,
}

/// Takes a frame that `port` received through the walk. `lcore` has the keys for Identifications and the choice among several
/// sources of ICMP errors; without limits of its own it grants every error. `local_mtu` is the largest translated packet that the
/// box itself can be given, none if it cannot.
#[must_use]
pub fn frame(
    snapshot: &Snapshot,
    port: PortId,
    frame: &[u8],
    lcore: &mut LcoreState,
    local_mtu: Option<u16>,
) -> Explained {
    let mut sink = Sink::default();
    let mut output = Recorder { local_mtu, ..Recorder::default() };
    let link = parse::link(frame, port, &snapshot.fib);
    let mut is_plain = false;
    let ending = match link {
        Link::Drop(reason) => {
            sink.finish(MemoryBuffer::new(frame), Verdict::Dropped(reason));
            Ending::Dropped(reason)
        }
        Link::Punt(reason) => {
            sink.finish(MemoryBuffer::new(frame), Verdict::Punted(reason));
            Ending::Punted(reason)
        }
        Link::Ip { family, offset, ingress } => {
            let mut buffer = MemoryBuffer::new(frame);
            buffer.pull_front(offset);
            let table = snapshot.fib.table_of(ingress.interface);
            is_plain = !ingress.group && self::is_plain(buffer.data(), family, snapshot, table);
            let mut pool = MemoryPool::unlimited();
            let mut walk = Walk {
                snapshot,
                lcore,
                sink: &mut sink,
                pool: &mut pool,
                output: &mut output,
                native: Native::Forward,
                table,
            };
            let end = match family {
                Family::Ipv4 => walk.walk_ipv4(buffer, ingress),
                Family::Ipv6 => walk.walk_ipv6(buffer, ingress),
            };
            ending(end, family, &mut sink)
        }
    };
    let Recorder { steps, sent, .. } = output;
    Explained { link, is_plain, steps, ending, sent, counts: sink.counts }
}

fn is_plain(packet: &[u8], family: Family, snapshot: &Snapshot, table: TableId) -> bool {
    let mut lane = Lane::EMPTY;
    match family {
        Family::Ipv4 => lane.inspect_ipv4(packet, snapshot, table),
        Family::Ipv6 => lane.inspect_ipv6(packet, snapshot, table),
    }
    lane.resolve(snapshot);
    !lane.is_left()
}

fn ending(end: End<MemoryBuffer>, family: Family, sink: &mut Sink<MemoryBuffer>) -> Ending {
    match end {
        End::Forwarded(way) => Ending::Forwarded(way),
        End::Dropped { reason, answered: true } => Ending::Answered(reason),
        End::Dropped { reason, answered: false } => Ending::Dropped(reason),
        End::Punted(packet, reason) => {
            let reason = punt::of_packet(family, packet.data(), reason).class;
            sink.finish(packet, Verdict::Punted(reason));
            Ending::Punted(reason)
        }
    }
}

/// Listens to the walk, and keeps what it hands over.
#[derive(Default)]
struct Recorder {
    steps: Vec<Step>,
    sent: Vec<Sent>,
    local_mtu: Option<u16>,
}

impl Output<MemoryBuffer> for Recorder {
    fn forward(&mut self, mut packet: MemoryBuffer, adjacency: &Adjacency, sink: &mut Sink<MemoryBuffer>) {
        let link = adjacency.link_header(packet.data()[0] >> 4);
        if packet.push_front(link.length()).is_err() {
            sink.finish(packet, Verdict::Dropped(DropReason::NoBuffer));
            return;
        }
        link.write(packet.data_mut());
        let to = To::Ready(*adjacency);
        self.sent.push(Sent { frame: packet.data().to_vec(), link: link.length(), to });
    }

    fn unresolved(&mut self, packet: MemoryBuffer, wanted: Wanted, sink: &mut Sink<MemoryBuffer>) {
        self.sent.push(Sent { frame: packet.data().to_vec(), link: 0, to: To::Waits(wanted) });
        sink.finish(packet, Verdict::Punted(PuntReason::UnresolvedNextHop));
    }

    fn local_mtu(&self) -> Option<u16> {
        self.local_mtu
    }

    fn deliver(&mut self, packet: MemoryBuffer, sink: &mut Sink<MemoryBuffer>) {
        let family = if packet.data()[0] >> 4 == 4 { Family::Ipv4 } else { Family::Ipv6 };
        let class = punt::of_packet(family, packet.data(), PuntReason::LocalAddress).class;
        self.sent.push(Sent { frame: packet.data().to_vec(), link: 0, to: To::Box(class) });
        sink.finish(packet, Verdict::Punted(class));
    }

    fn note(&mut self, step: impl FnOnce() -> Step) {
        self.steps.push(step());
    }
}
