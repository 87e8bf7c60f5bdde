//! Whether the relay is in service: its tests, its routes, a drain; and what its tables hash to.

use serde::{Deserialize, Serialize};

/// One test of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealthTest {
    /// `routing`, `heartbeat`, `pipeline`, `mappings`, `link`, `next_hop`, `tables`, `control_loop`.
    pub name: String,
    /// Of which worker, port, pool or family; empty for the relay.
    pub subject: String,
    /// `passing`, `failing`, `unknown`.
    pub state: String,
    /// Since when, RFC 3339, UTC.
    pub since: String,
    /// Why it does not pass; empty when it does.
    pub why: String,
    /// What is not announced while it does not pass: `everything`, `nothing`, or a prefix.
    pub scope: String,
}

/// A destination that leads to the relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Destination {
    /// The pool or the prefix.
    pub prefix: String,
    /// Metric of its route; null while there is none.
    pub metric: Option<u32>,
    /// Why there is none; empty when there is one.
    pub why: String,
}

/// Where a drain stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Drain {
    /// `leading`: the routes are worse than usual; `withdrawn`: there are none, and still traffic; `done`.
    pub phase: String,
    /// Seconds since it began.
    pub seconds: u64,
    /// Seconds until the routes go.
    pub lead_seconds: u64,
    /// Seconds for which it has been quiet without a break.
    pub quiet_seconds: u64,
}

/// Who still sends to a relay that is being drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sender {
    /// The port it comes by.
    pub port: String,
    /// MAC address of the router next door that sends it here.
    pub router: String,
    /// Who has sent it.
    pub source: String,
    /// Its packets among the samples of the last ten seconds.
    pub samples: u32,
}

/// Whether the relay is in service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Announcement {
    /// `off`: nothing is configured; `announcing`, `withdrawn`, `draining`, `drained`.
    pub standing: String,
    /// The destinations.
    pub destinations: Vec<Destination>,
    /// Every test.
    pub tests: Vec<HealthTest>,
    /// Packets translated in the last second.
    pub translated_pps: u64,
    /// The drain, if there is one.
    pub drain: Option<Drain>,
    /// Who still sends, the greatest first.
    pub senders: Vec<Sender>,
}

/// The same in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Service {
    /// As [`Announcement::standing`].
    pub standing: String,
    /// Routes that are there.
    pub routes: u64,
    /// Packets translated in the last second.
    pub translated_pps: u64,
    /// Tests that fail.
    pub failing: Vec<HealthTest>,
    /// What the mappings in use hash to; empty until they were gone through.
    pub digest: String,
}

/// What the mappings of a part of the IPv4 addresses hash to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DigestPart {
    /// The part: an IPv4 prefix of 16 bits, or 0.0.0.0/0 for mappings of shorter prefixes.
    pub within: String,
    /// Mappings in it.
    pub mappings: u64,
    /// What they hash to.
    pub digest: String,
}

/// What the mappings in use hash to: the sum, modulo 2^256, of the BLAKE3 hashes of IPv4 address and length, IPv6 address and
/// length of each (22 bytes, network order). Two relays with equal digests translate the same addresses to the same ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Digests {
    /// Of all mappings.
    pub digest: String,
    /// How many they are.
    pub mappings: u64,
    /// Of the other keys of `[translation]`.
    pub settings: String,
    /// Of parts, where there are mappings.
    pub parts: Vec<DigestPart>,
}
