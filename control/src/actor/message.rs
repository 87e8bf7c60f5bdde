//! What can be said to the actor, and what it answers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dataplane::counters::Counts;
use dataplane::table::snapshot::Snapshot;
use dataplane::timing::Timings;
use tokio::sync::oneshot;

use super::activity::Activity;
use super::builder::Update;
use super::machine::{Link, PortCounts, PortFacts};
use super::stall::Longest;
use crate::announce::{Announcement, Sender};
use crate::config::Problems;
use crate::eam_set::ChangeCounts;
use crate::health::{Audit, HealthTest};
use crate::kernel::{KernelCounters, Queues};

/// A wish of a sender. Those with a place for the answer are answered in any case, unless the relay ends first.
pub(super) enum Request {
    /// Read the configuration again.
    Reload(Option<oneshot::Sender<ReloadOutcome>>),
    /// Change the tables: see [`super::ControlHandle::update`].
    Update(Update),
    /// What is the relay, and how is it?
    Status(oneshot::Sender<Status>),
    /// Everything that is counted.
    Counters(oneshot::Sender<Counters>),
    /// What the workers see now.
    Snapshot(oneshot::Sender<Arc<Snapshot>>),
    /// Take the relay out of service, with that lead if one is given.
    Drain(Option<Duration>, oneshot::Sender<Drained>),
    /// Take it back.
    Undrain(oneshot::Sender<Drained>),
    /// Print the counters.
    PrintCounters,
    /// End; a second time: at once.
    Stop,
    /// End at once, for another process that goes on with the twins and what is announced.
    HandOver,
}

/// What the relay is and how it is.
#[derive(Debug, Clone)]
pub struct Status {
    /// Time since the start.
    pub uptime: Duration,
    /// Publications so far.
    pub generation: u64,
    /// Mappings in use.
    pub eams: usize,
    /// Reloads so far.
    pub reloads: Reloads,
    /// What came of the last one; none if there was none.
    pub last_reload: Option<LastReload>,
    /// Since when a reload reads its files, if one does.
    pub reading_since: Option<Duration>,
    /// Whether the kernel's routing has been read and the workers have it.
    pub translating: bool,
    /// The ports, in the order of the configuration.
    pub ports: Vec<PortStatus>,
    /// The workers, in the order of the configuration.
    pub workers: Vec<WorkerStatus>,
    /// What is wrong at the moment, one sentence each: cause, then remedy.
    pub complaints: Vec<String>,
    /// Health, announcement and drain.
    pub service: InService,
    /// Where packets that were handed to the control thread are.
    pub queues: Queues,
    /// What the exception path counts.
    pub kernel: KernelCounters,
    /// The longest time the control thread was busy in one go.
    pub stalls: Stalls,
}

/// Whether the relay is in service.
#[derive(Debug, Clone)]
pub struct InService {
    /// Every test.
    pub health: Vec<HealthTest>,
    /// What is announced, and why the rest is not.
    pub announcement: Announcement,
    /// Who still sends to a relay that is being drained, with the name of the port, the greatest first.
    pub senders: Vec<(String, Sender)>,
    /// What the mappings in use hash to, whole and in parts; none until they were gone through.
    pub audit: Option<Audit>,
    /// What the other keys of `[translation]` hash to, in hexadecimal.
    pub settings: String,
}

/// What came of a reload, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReload {
    /// When it was over.
    pub at: SystemTime,
    /// Whether the configuration took over; else nothing was changed.
    pub applied: bool,
    /// What it changed, or why it did not, in one sentence.
    pub text: String,
}

/// What came of the order to drain, or to take it back.
#[derive(Debug, Clone)]
pub struct Drained {
    /// The announcement from now on.
    pub announcement: Announcement,
}

/// One port.
#[derive(Debug, Clone)]
pub struct PortStatus {
    /// What it is.
    pub facts: PortFacts,
    /// Its kernel twin.
    pub twin: String,
    /// Its cable; none as long as nobody knows.
    pub link: Option<Link>,
    /// What its driver counts.
    pub counts: PortCounts,
    /// What it hears and sends now, and since when it has not.
    pub activity: Activity,
}

/// One worker.
#[derive(Debug, Clone)]
pub struct WorkerStatus {
    /// Its CPU.
    pub cpu: u16,
    /// Share of the last second, 0 to 1, that it spent on packets.
    pub load: f64,
    /// Packets it received a second, over the same time.
    pub packets_per_second: u64,
    /// Everything it counts.
    pub counts: Counts,
}

/// Everything that is counted.
#[derive(Debug, Clone)]
pub struct Counters {
    /// The workers, in the order of the configuration.
    pub workers: Vec<Counts>,
    /// The exception path.
    pub kernel: KernelCounters,
    /// What the drivers count, with the names of the ports.
    pub ports: Vec<(String, PortCounts)>,
    /// Packet buffers that are not in the pool.
    pub mbufs_in_use: usize,
    /// Reloads since the start.
    pub reloads: Reloads,
    /// The longest time the control thread was busy in one go.
    pub stalls: Stalls,
    /// Where the workers' time goes, in their order.
    pub timings: Vec<Timings>,
    /// Cycles of the workers' clock in a second.
    pub hertz: u64,
}

/// Reloads since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reloads {
    /// Those whose configuration took over.
    pub applied: u64,
    /// Those that changed nothing, because something was wrong.
    pub refused: u64,
}

/// The longest stretches of each part of the control thread without giving way to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stalls {
    /// The actor.
    pub actor: Longest,
    /// Following the kernel, and the exception path.
    pub kernel: Longest,
}

/// What came of a reload.
#[derive(Debug, Clone)]
pub enum ReloadOutcome {
    /// The new configuration is published.
    Applied(Reloaded),
    /// Nothing has changed.
    Refused {
        /// Why, in one sentence.
        reason: String,
        /// What is wrong with the files, where that is the reason.
        problems: Problems,
    },
}

/// What a reload changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloaded {
    /// Mappings in use now.
    pub eams: usize,
    /// What is different about the mappings of the files.
    pub changes: ChangeCounts,
    /// The publication it came with.
    pub generation: u64,
}
