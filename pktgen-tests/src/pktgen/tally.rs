//! What was received of a stream, and of a port.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// What is wrong with a packet of ours; the first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Corruption {
    /// It came out of the wrong port.
    Port,
    /// Its length is none of the stream's.
    Length,
    /// MAC addresses or EtherType.
    Ethernet,
    /// Time to live or hop limit.
    HopLimit,
    /// Source address.
    Source,
    /// Destination address.
    Destination,
    /// The IPv4 header checksum.
    HeaderChecksum,
    /// Any other field of the IP header.
    Header,
    /// Ports, identifier and sequence number of an echo, or another transport field.
    Transport,
    /// The transport checksum.
    TransportChecksum,
    /// The tag names no packet of ours.
    Tag,
    /// The rest of the payload.
    Payload,
}

/// Counts of corrupt packets, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Corrupt {
    /// See [`Corruption::Port`].
    pub port: u64,
    /// See [`Corruption::Length`].
    pub length: u64,
    /// See [`Corruption::Ethernet`].
    pub ethernet: u64,
    /// See [`Corruption::HopLimit`].
    pub hop_limit: u64,
    /// See [`Corruption::Source`].
    pub source: u64,
    /// See [`Corruption::Destination`].
    pub destination: u64,
    /// See [`Corruption::HeaderChecksum`].
    pub header_checksum: u64,
    /// See [`Corruption::Header`].
    pub header: u64,
    /// See [`Corruption::Transport`].
    pub transport: u64,
    /// See [`Corruption::TransportChecksum`].
    pub transport_checksum: u64,
    /// See [`Corruption::Tag`].
    pub tag: u64,
    /// See [`Corruption::Payload`].
    pub payload: u64,
}

impl Corrupt {
    /// Counts one.
    pub fn count(&mut self, kind: Corruption) {
        *self.cell(kind) += 1;
    }

    fn cell(&mut self, kind: Corruption) -> &mut u64 {
        match kind {
            Corruption::Port => &mut self.port,
            Corruption::Length => &mut self.length,
            Corruption::Ethernet => &mut self.ethernet,
            Corruption::HopLimit => &mut self.hop_limit,
            Corruption::Source => &mut self.source,
            Corruption::Destination => &mut self.destination,
            Corruption::HeaderChecksum => &mut self.header_checksum,
            Corruption::Header => &mut self.header,
            Corruption::Transport => &mut self.transport,
            Corruption::TransportChecksum => &mut self.transport_checksum,
            Corruption::Tag => &mut self.tag,
            Corruption::Payload => &mut self.payload,
        }
    }

    /// All kinds with their names, in the order they are looked for.
    #[must_use]
    pub const fn list(&self) -> [(&'static str, u64); 12] {
        [
            ("port", self.port),
            ("length", self.length),
            ("ethernet", self.ethernet),
            ("hop_limit", self.hop_limit),
            ("source", self.source),
            ("destination", self.destination),
            ("header_checksum", self.header_checksum),
            ("header", self.header),
            ("transport", self.transport),
            ("transport_checksum", self.transport_checksum),
            ("tag", self.tag),
            ("payload", self.payload),
        ]
    }

    /// Over all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.list().iter().map(|(_, count)| count).sum()
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        self.port += other.port;
        self.length += other.length;
        self.ethernet += other.ethernet;
        self.hop_limit += other.hop_limit;
        self.source += other.source;
        self.destination += other.destination;
        self.header_checksum += other.header_checksum;
        self.header += other.header;
        self.transport += other.transport;
        self.transport_checksum += other.transport_checksum;
        self.tag += other.tag;
        self.payload += other.payload;
    }
}

/// What was received of one stream in one trial.
#[derive(Debug, Clone)]
pub struct StreamTally {
    /// Packets with a tag of this trial, each counted once.
    pub received: u64,
    /// Second and further copies.
    pub duplicated: u64,
    /// Overtaken within their flow.
    pub reordered: u64,
    /// Of earlier trials.
    pub stale: u64,
    /// Received, but not as they should be.
    pub corrupt: Corrupt,
    /// Cycles from sending to receiving.
    pub latency: Histogram<u64>,
    /// Largest time between two bursts with packets of this stream, in cycles.
    pub max_gap: u64,
    /// When the last one came, in cycles; 0 before the first.
    pub last: u64,
}

impl Default for StreamTally {
    fn default() -> Self {
        Self {
            received: 0,
            duplicated: 0,
            reordered: 0,
            stale: 0,
            corrupt: Corrupt::default(),
            latency: latencies(),
            max_gap: 0,
            last: 0,
        }
    }
}

/// An empty histogram of cycles: up to 2^37 (half a minute or more), to three digits.
pub(super) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1 << 37, 3).expect("the bounds are valid")
}

/// What was received that belongs to no stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Others {
    /// Neighbour discovery, routing, and whatever else a device says by itself.
    pub foreign: u64,
    /// ICMP errors: the device complains about packets of ours.
    pub icmp_errors: u64,
    /// Packets to us that should be ours and cannot be told.
    pub corrupt: Corrupt,
}
