//! What moves: everything `borderctl top` makes rates of. Counts only grow; whoever reads keeps his own zero.

use serde::{Deserialize, Serialize};

/// Packets and bytes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes; those of ports with their link-layer headers, those of mappings from the IP header on.
    pub bytes: u64,
}

/// One port, as its driver counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PortLoad {
    /// Its name.
    pub name: String,
    /// Whether it has a link.
    pub up: bool,
    /// Megabits per second; none when the driver does not say.
    pub speed_mbps: Option<u32>,
    /// Handed to the workers.
    pub receive: Traffic,
    /// Sent.
    pub transmit: Traffic,
    /// Frames lost before a worker could fetch them.
    pub missed: u64,
    /// Frames with errors, both directions.
    pub errors: u64,
    /// Times there was no buffer to receive into.
    pub no_mbuf: u64,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerLoad {
    /// Its CPU.
    pub cpu: u16,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Cycles with work.
    pub busy_cycles: u64,
    /// Cycles without.
    pub idle_cycles: u64,
}

/// What a sample of packets cost, by what became of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CostLoad {
    /// `v4_to_v6`, `v6_to_v4`, or `none` for what was not translated.
    pub direction: String,
    /// `translated`, `native`, `punted` or `dropped`.
    pub verdict: String,
    /// Packets in the sample.
    pub packets: u64,
    /// Cycles they took.
    pub cycles: u64,
}

/// Packets with one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReasonLoad {
    /// The reason; docs/counters.md says what it means.
    pub reason: String,
    /// Packets.
    pub count: u64,
}

/// What is counted for mappings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MappingCounters {
    /// Nothing: `mappings` of `[metrics]` is off.
    #[default]
    Off,
    /// The busiest ones, estimated from a sample.
    Busiest,
    /// Everything of all.
    Exact,
}

/// Traffic of one mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MappingLoad {
    /// Its IPv4 prefix.
    pub ipv4: String,
    /// Its IPv6 prefix; none when the mapping is not there any more.
    #[serde(default)]
    pub ipv6: Option<String>,
    /// Who keeps it, as in the list of mappings; none when it is not there any more.
    #[serde(default)]
    pub owner: Option<String>,
    /// Translated from IPv4 to IPv6, as received.
    pub v4_to_v6: Traffic,
    /// Translated from IPv6 to IPv4, as received.
    pub v6_to_v4: Traffic,
}

/// What moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Load {
    /// Nanoseconds since the start of the relay: what rates are made with.
    pub at_ns: u64,
    /// Cycles of the workers' clock in a second.
    pub hertz: u64,
    /// The ports, in the order of the configuration.
    pub ports: Vec<PortLoad>,
    /// The workers, in the order of the configuration.
    pub workers: Vec<WorkerLoad>,
    /// What packets cost.
    pub costs: Vec<CostLoad>,
    /// Dropped packets, by reason; those that never happened are left out.
    pub drops: Vec<ReasonLoad>,
    /// What is counted for mappings.
    pub mapping_counters: MappingCounters,
    /// The busiest mappings, a hundred at most.
    pub mappings: Vec<MappingLoad>,
}
