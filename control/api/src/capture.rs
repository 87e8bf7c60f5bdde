//! Captures: packets before and after, as they pass.

use serde::{Deserialize, Serialize};

/// A frame, or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CapturedFrame {
    /// The port it was received on, or sent by.
    pub port: String,
    /// Bytes it had, link-layer header included.
    pub length: u64,
    /// The first of them, in hexadecimal.
    pub bytes: String,
}

/// A packet, from its coming to its going.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CapturedPacket {
    /// Its number in the capture, from 1 on; no two are the same.
    pub id: u64,
    /// When, RFC 3339, UTC, with microseconds.
    pub time: String,
    /// The same in nanoseconds since 1970.
    pub unix_ns: u64,
    /// The queue it was received from, which is its worker's number.
    pub queue: u16,
    /// What became of it, as in reports: `translated`, `hairpinned`, `native`, `icmp_error`, `dropped`, `punted`.
    pub verdict: String,
    /// Why, if it was refused or punted.
    pub reason: Option<String>,
    /// The mappings it took, as `192.0.2.1/32 = 2001:db8::1/128`.
    pub mappings: Vec<String>,
    /// The way it took, as words with ` > ` between them: port, family, lane, verdict, ports.
    pub path: String,
    /// Packets of the same queue that passed the filter since the one before, and are lost.
    pub lost: u64,
    /// As it was received.
    pub before: CapturedFrame,
    /// As it was sent: itself, its fragments, or the ICMP error that answers it. Nothing when nothing was sent.
    pub after: Vec<CapturedFrame>,
    /// How many frames were sent; five are kept at most.
    pub sent: u64,
}

/// Packets of a capture on one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CapturedPort {
    /// Its name.
    pub port: String,
    /// Packets that passed the filter and were received on it.
    pub received: u64,
    /// Those of them that are lost.
    pub received_lost: u64,
    /// Frames they became that were sent by it.
    pub sent: u64,
    /// Those of them that are lost.
    pub sent_lost: u64,
}

/// How a capture stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CaptureTotals {
    /// Packets that passed the filter: captured or lost.
    pub matched: u64,
    /// Packets that were sent to the client.
    pub captured: u64,
    /// Packets that passed the filter and were not sent: too many a second, or the client was too slow.
    pub lost: u64,
    /// By port.
    pub ports: Vec<CapturedPort>,
}

/// A line of a capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum CaptureLine {
    /// The first: what is captured.
    Begin {
        /// The filter; empty for every packet.
        filter: String,
        /// Packets at most.
        count: u64,
        /// Seconds at most.
        seconds: u64,
        /// Packets a second at most.
        rate: u32,
        /// Bytes of a frame at most.
        snap: u32,
        /// The names of all ports.
        ports: Vec<String>,
    },
    /// A packet.
    Packet(Box<CapturedPacket>),
    /// How it stands, once a second.
    Progress(CaptureTotals),
    /// The last: it is over.
    End {
        /// `count`, `time` or `stopping`.
        cause: String,
        /// What came of it.
        #[serde(flatten)]
        totals: CaptureTotals,
    },
}
