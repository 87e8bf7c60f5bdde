//! How the relay does: what flows, what waits, who does not answer, what was before.

use serde::{Deserialize, Serialize};

/// One direction of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Flow {
    /// Packets a second, over the last second or so.
    pub packets_per_second: u64,
    /// Bits a second, as the driver counts bytes.
    pub bits_per_second: u64,
    /// Seconds since the last packet; none if there was none since the start.
    pub idle_seconds: Option<u64>,
}

/// How the relay before this one ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LastExit {
    /// When, RFC 3339, UTC; of one that was killed, when it was last seen alive.
    pub time: String,
    /// It ended as it was asked to.
    pub orderly: bool,
    /// Why, in one sentence.
    pub cause: String,
    /// How long it ran.
    pub ran_seconds: u64,
    /// Its pid.
    pub pid: u32,
}

/// What came of the last reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LastReload {
    /// When it was over, RFC 3339, UTC.
    pub time: String,
    /// Whether the configuration took over; else nothing was changed.
    pub applied: bool,
    /// What it changed, or why it did not, in one sentence.
    pub text: String,
}

/// How full a ring is, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fill {
    /// Now.
    pub used: u64,
    /// At most since the start.
    pub highest: u64,
    /// In all.
    pub capacity: u64,
}

/// The rings between one worker and the control thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerQueues {
    /// The worker's CPU.
    pub cpu: u16,
    /// To the control thread: ARP, neighbour discovery, routing protocols, packets for the box.
    pub urgent: Fill,
    /// To the control thread: everything else.
    pub other: Fill,
    /// From the kernel to the worker.
    pub inject: Fill,
}

/// Where packets that were handed to the control thread are, and where they ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Queues {
    /// The rings of each worker.
    pub workers: Vec<WorkerQueues>,
    /// Packets that wait for a link-layer address now.
    pub waiting: u64,
    /// The oldest of them waits so long, in milliseconds.
    pub oldest_ms: u64,
    /// Packets that began to wait since the start.
    pub queued: u64,
    /// Packets that were sent when the address was known.
    pub delivered: u64,
    /// Packets whose next hop was not known in time.
    pub expired: u64,
    /// Packets whose next hop did not answer.
    pub failed: u64,
    /// Packets that found no room to wait.
    pub overflowed: u64,
    /// Packets and frames the twins took.
    pub to_twins: u64,
    /// The longest time the control thread was busy with other things in one go, in microseconds: so long a packet in a ring
    /// may have waited for its turn.
    pub longest_us: u64,
    /// The same without what others took of the processor meanwhile.
    #[serde(default)]
    pub longest_own_us: u64,
    /// How long packets waited in the queues.
    #[serde(default)]
    pub waits: Vec<QueueWait>,
}

/// How long packets waited in a queue since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueWait {
    /// `urgent` and `other`: the rings to the control thread, from the doorbell of a burst until the ring was empty. `neighbor`:
    /// packets that were sent when their next hop answered.
    pub queue: String,
    /// How many waits there were.
    pub count: u64,
    /// How long one took on average, in microseconds.
    pub mean_us: u64,
    /// How long the longest took, in microseconds.
    pub longest_us: u64,
}

/// Where packets are lost: here, before the workers, or on the cables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Losses {
    /// Packets a second, in the last minute, that the relay received and dropped, for whatever reason.
    pub dropped_rate_1m: f64,
    /// Frames lost before a worker could fetch them, since the start: the workers did not keep up.
    pub missed: u64,
    /// Times there was no buffer to receive into, since the start.
    pub no_buffer: u64,
    /// Frames that came damaged, since the start: a cable, or who sent them.
    pub receive_errors: u64,
    /// Frames that could not be sent, since the start.
    pub send_errors: u64,
}

/// A next hop that packets were lost for since it last answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failing {
    /// Its address.
    pub address: String,
    /// The interface it is behind.
    pub interface: String,
    /// The IPv4 service address that is mapped to it, if one is.
    pub service: Option<String>,
    /// Packets that were lost while they waited for it.
    pub lost: u64,
    /// Seconds since the first of them was given up.
    pub since_seconds: u64,
    /// Seconds since the last.
    pub last_seconds: u64,
}

/// What the workers do with an address: by the tables they use, not by what is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerView {
    /// The generation of the tables.
    pub generation: u64,
    /// What the address becomes; none if it is not translated.
    pub translated: Option<String>,
    /// The mapping that decides, if one does.
    pub mapping: Option<String>,
    /// `ready`, `unresolved`, `failed`, `local`, `kernel`, `unreachable`, `prohibit`, `blackhole` or `no_route`: the way of packets
    /// to the address, or to what it becomes.
    pub next_hop: String,
    /// The interface they leave by.
    pub interface: Option<String>,
    /// The MAC address they are sent to.
    pub mac: Option<String>,
    /// The largest packet on the way, in bytes.
    pub mtu: Option<u16>,
    /// The kernel's route that leads there, and where it comes from.
    pub route: Option<String>,
}

/// What the drivers count, and what the workers do, since the start. They agree but for frames that are on their way at that
/// moment; a worker also has frames that its driver refused, and some drivers count these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Agreement {
    /// Frames all drivers received.
    pub drivers_received: u64,
    /// Frames all workers received.
    pub workers_received: u64,
    /// Frames all drivers sent.
    pub drivers_sent: u64,
    /// Frames all workers handed to a port.
    pub workers_sent: u64,
}
