//! Ports, workers, routes, neighbours and counters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::condition::Flow;

/// One port, with the driver's own counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Port {
    /// Its name in the configuration.
    pub name: String,
    /// Its kernel twin.
    pub twin: String,
    /// The DPDK device.
    pub device: String,
    /// The DPDK driver.
    pub driver: String,
    /// Whether it has a link.
    pub up: bool,
    /// Megabits per second; none when the driver does not say.
    pub speed_mbps: Option<u32>,
    /// The MAC address of port and twin.
    pub mac: String,
    /// MTU in bytes.
    pub mtu: u16,
    /// Receive queues, one for each worker.
    pub queues: u16,
    /// Frames the driver received.
    pub received: u64,
    /// Frames the driver sent.
    pub sent: u64,
    /// Frames lost before a worker could fetch them.
    pub missed: u64,
    /// Frames with errors, both directions.
    pub errors: u64,
    /// Frames lost for want of buffers.
    pub no_mbuf: u64,
    /// What it hears now.
    #[serde(default)]
    pub receiving: Flow,
    /// What it sends now.
    #[serde(default)]
    pub sending: Flow,
}

/// Every port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ports {
    /// In the order of the configuration.
    pub ports: Vec<Port>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Worker {
    /// Its CPU.
    pub cpu: u16,
    /// Busy cycles of all cycles of the last second or more, 0 to 1.
    pub load: f64,
    /// Frames received since the start.
    pub received: u64,
    /// Frames sent since the start.
    pub sent: u64,
    /// Frames handed to the kernel since the start.
    pub punted: u64,
    /// Frames dropped since the start.
    pub dropped: u64,
    /// Cycles with work since the start.
    pub busy_cycles: u64,
    /// Cycles without since the start.
    pub idle_cycles: u64,
    /// Packets it received a second, over the last second or more.
    #[serde(default)]
    pub packets_per_second: u64,
    /// Packets a second at which it would be busy all the time, by what the last second's packets cost; none while it has too
    /// few to tell. Larger bursts cost less for each packet, so it holds more than that in truth.
    #[serde(default)]
    pub holds_packets_per_second: Option<u64>,
}

/// Every worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Workers {
    /// In the order of the configuration.
    pub workers: Vec<Worker>,
}

/// One way a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Path {
    /// The interface it leaves by.
    pub interface: String,
    /// The gateway; none on a connected network.
    pub gateway: Option<String>,
    /// Its share of the flows.
    pub weight: u16,
}

/// One route the workers use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Route {
    /// Its destination.
    pub destination: String,
    /// `unicast`, `blackhole`, `unreachable`, `prohibit` or `throw`.
    pub kind: String,
    /// Smaller is better.
    pub metric: u32,
    /// MTU in bytes; none where the port's applies.
    pub mtu: Option<u32>,
    /// Where it leads.
    pub paths: Vec<Path>,
    /// What the workers do with packets to its first address: `ready`, `unresolved`, `failed`, `local`, `kernel`,
    /// `unreachable`, `prohibit`, `blackhole` or `no_route`.
    #[serde(default)]
    pub worker: String,
}

/// The routes the workers use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Routes {
    /// Ordered by destination.
    pub routes: Vec<Route>,
    /// How many there are; more than are listed when a limit was given.
    pub total: u64,
}

/// One neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Neighbor {
    /// Its address.
    pub address: String,
    /// The interface it is behind.
    pub interface: String,
    /// `reachable`, `stale`, `delay`, `probe`, `permanent`, `incomplete` or `failed`.
    pub state: String,
    /// Its MAC address; none while it is not resolved.
    pub mac: Option<String>,
    /// What the workers know of it: `ready`, `unresolved`, `failed`, or why they do not send to it.
    #[serde(default)]
    pub worker: String,
    /// The IPv4 service address that is mapped to it, if one is.
    #[serde(default)]
    pub service: Option<String>,
    /// Packets that wait for it now.
    #[serde(default)]
    pub waiting: u64,
    /// Packets that were lost for it since it last answered.
    #[serde(default)]
    pub lost: u64,
}

/// The neighbours the workers use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Neighbors {
    /// Ordered by address.
    pub neighbors: Vec<Neighbor>,
}

/// Every counter, as SIGUSR1 prints them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Counters(pub BTreeMap<String, serde_json::Value>);
