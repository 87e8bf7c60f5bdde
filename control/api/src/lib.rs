//! What the control socket is asked, and what it answers.
//!
//! HTTP/1.1 with JSON bodies over a Unix stream socket, under `/v1/`. This crate holds the types of both sides and nothing
//! else: no DPDK, no tables, no sockets. The relay makes the OpenAPI document of them (feature `openapi`), and
//! `borderctl` its tables for people. Within one version of the API only fields and paths are added, and whoever reads an answer
//! ignores what he does not know.
#![forbid(unsafe_code)]

mod announce;
mod capture;
mod condition;
mod drops;
mod eam;
mod error;
mod explain;
mod load;
mod network;
mod revision;
mod status;
mod time;

pub use announce::{Announcement, Destination, DigestPart, Digests, Drain, HealthTest, Sender, Service};
pub use capture::{CaptureLine, CaptureTotals, CapturedFrame, CapturedPacket, CapturedPort};
pub use condition::{
    Agreement, Failing, Fill, Flow, LastExit, LastReload, Losses, QueueWait, Queues, WorkerQueues, WorkerView,
};
pub use drops::{DropCount, DropSample, DropSamples, Drops, PersistentDrop, hex, unhex};
pub use eam::{Allocated, Change, Entry, Lookup, Op, Pool, Pools, STORE, Step};
pub use error::{Code, Finding, Refusal};
pub use explain::{Explanation, Field, Growth, Leaving, Phase, Question, Sampled, Used};
pub use load::{CostLoad, Load, MappingCounters, MappingLoad, PortLoad, ReasonLoad, Traffic, WorkerLoad};
pub use network::{Counters, Neighbor, Neighbors, Path, Port, Ports, Route, Routes, Worker, Workers};
pub use revision::{
    Candidate, Changed, Check, Committed, Diff, Event, History, Pending, Reloaded, Revision, State,
};
pub use status::{ApiRange, Health, PortSummary, RevisionSummary, Status, Versions, WorkerSummary};
pub use time::{rfc3339, rfc3339_micros};

/// The version of the API this crate describes, and the oldest one it still speaks.
pub const API: ApiRange = ApiRange { min: 1, max: 1 };

/// Where the socket is unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/borderline/control.sock";

/// What a line of a list is: `application/x-ndjson`, one JSON object a line.
pub const LINES: &str = "application/x-ndjson";

/// Paths of version 1.
pub mod path {
    /// What the relay is and which versions it speaks. The only path outside a version.
    pub const ROOT: &str = "/";
    /// The description of everything else.
    pub const OPENAPI: &str = "/v1/openapi.json";
    /// The relay in short.
    pub const STATUS: &str = "/v1/status";
    /// Every mapping, one object a line.
    pub const EAMS: &str = "/v1/eams";
    /// One mapping by its IPv4 or IPv6 prefix.
    pub const EAM: &str = "/v1/eam";
    /// How an address is translated.
    pub const LOOKUP: &str = "/v1/lookup";
    /// The service pools and what is free in them.
    pub const POOLS: &str = "/v1/pools";
    /// Changes, one object a line: committed at once, or staged.
    pub const CHANGES: &str = "/v1/changes";
    /// What is staged.
    pub const CANDIDATE: &str = "/v1/candidate";
    /// Commits what is staged.
    pub const COMMIT: &str = "/v1/commit";
    /// Keeps a revision that awaits confirmation.
    pub const CONFIRM: &str = "/v1/confirm";
    /// Goes back to an earlier revision.
    pub const ROLLBACK: &str = "/v1/rollback";
    /// What there is to say about the mappings as they are, or as they would be.
    pub const CHECK: &str = "/v1/check";
    /// What two revisions have different.
    pub const DIFF: &str = "/v1/diff";
    /// The revisions, newest first.
    pub const HISTORY: &str = "/v1/history";
    /// Reads the configuration again.
    pub const RELOAD: &str = "/v1/reload";
    /// The ports.
    pub const PORTS: &str = "/v1/ports";
    /// The routes the workers use.
    pub const ROUTES: &str = "/v1/routes";
    /// The neighbours the workers use.
    pub const NEIGHBORS: &str = "/v1/neighbors";
    /// The workers.
    pub const WORKERS: &str = "/v1/workers";
    /// Every counter.
    pub const COUNTERS: &str = "/v1/counters";
    /// Every drop reason: how many, how fast, since when.
    pub const DROPS: &str = "/v1/drops";
    /// Samples of dropped packets.
    pub const DROP_SAMPLES: &str = "/v1/drops/samples";
    /// One of them.
    pub const DROP_SAMPLE: &str = "/v1/drops/samples/{id}";
    /// Packets before and after, one object a line, as they pass.
    pub const CAPTURE: &str = "/v1/capture";
    /// Whether the relay is in service.
    pub const ANNOUNCEMENT: &str = "/v1/announcement";
    /// Takes the relay out of service.
    pub const DRAIN: &str = "/v1/drain";
    /// Takes it back.
    pub const UNDRAIN: &str = "/v1/undrain";
    /// What the mappings in use hash to.
    pub const DIGEST: &str = "/v1/digest";
    /// What moves: what rates are made of.
    pub const LOAD: &str = "/v1/load";
    /// Traffic of mappings, one object a line.
    pub const EAM_COUNTERS: &str = "/v1/eam-counters";
    /// Every counter, for Prometheus.
    pub const METRICS: &str = "/v1/metrics";
    /// What the data path would do with a packet.
    pub const EXPLAIN: &str = "/v1/explain";
    /// What happens, one object a line, until the client goes.
    pub const EVENTS: &str = "/v1/events";
}
