//! The relay in short.

use serde::{Deserialize, Serialize};

use crate::condition::{Agreement, Failing, Flow, LastExit, LastReload, Losses, Queues};
use crate::{PersistentDrop, Service};

/// Versions of the API, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiRange {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

impl std::fmt::Display for ApiRange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.min, self.max) {
            (min, max) if min == max => write!(formatter, "v{min}"),
            (min, max) => write!(formatter, "v{min} to v{max}"),
        }
    }
}

/// What answers, and what can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Versions {
    /// `borderline`.
    pub program: String,
    /// Its version.
    pub version: String,
    /// The commit it was built from, when that is known.
    pub build: String,
    /// The versions of the API it speaks.
    pub api: ApiRange,
    /// Where its description is.
    pub openapi: String,
}

/// Whether the relay does what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It does.
    Ok,
    /// It translates, and something needs attention.
    Degraded,
    /// It does not translate.
    Failed,
}

/// The revision in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevisionSummary {
    /// Its number; 0 without a store.
    pub id: u64,
    /// Of the whole table in the store.
    pub digest: String,
    /// When it is undone unless confirmed, RFC 3339, UTC; none when it is for good.
    pub pending_until: Option<String>,
}

/// One port in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PortSummary {
    /// Its name.
    pub name: String,
    /// Whether it has a link.
    pub up: bool,
    /// Frames the driver received.
    pub received: u64,
    /// Frames the driver sent.
    pub sent: u64,
    /// What it hears now.
    #[serde(default)]
    pub receiving: Flow,
    /// What it sends now.
    #[serde(default)]
    pub sending: Flow,
}

/// One worker in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerSummary {
    /// Its CPU.
    pub cpu: u16,
    /// Busy cycles of all cycles of the last second or more, 0 to 1.
    pub load: f64,
}

/// The relay in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Its pid.
    pub pid: u32,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Whether it does what it is for.
    pub health: Health,
    /// Why not, one sentence each; empty when all is well.
    pub reasons: Vec<String>,
    /// The revision in force.
    pub revision: RevisionSummary,
    /// Mappings in force, those of files included.
    pub eams: u64,
    /// Changes that are staged.
    pub staged: u64,
    /// The ports.
    pub ports: Vec<PortSummary>,
    /// The workers.
    pub workers: Vec<WorkerSummary>,
    /// Drop reasons that have grown for a minute and more.
    #[serde(default)]
    pub persistent_drops: Vec<PersistentDrop>,
    /// Whether it is in service; relays before this did not say.
    #[serde(default)]
    pub service: Option<Service>,
    /// The generation of the tables the workers use: how often tables were published.
    #[serde(default)]
    pub generation: u64,
    /// What came of the last reload; none if there was none since the start.
    #[serde(default)]
    pub last_reload: Option<LastReload>,
    /// Files of the configuration that are not as they were when they were read.
    #[serde(default)]
    pub files_changed: Vec<String>,
    /// How the relay before this one ended; none if nobody knows.
    #[serde(default)]
    pub last_exit: Option<LastExit>,
    /// Where packets that were handed to the control thread are.
    #[serde(default)]
    pub queues: Queues,
    /// What drivers and workers count.
    #[serde(default)]
    pub agreement: Agreement,
    /// Where packets are lost.
    #[serde(default)]
    pub losses: Losses,
    /// Next hops that packets were lost for since they last answered, latest first.
    #[serde(default)]
    pub failing: Vec<Failing>,
}
