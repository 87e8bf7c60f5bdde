//! Mappings, and changes of them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::condition::WorkerView;

/// The owner of mappings that are changed through the socket.
pub const STORE: &str = "store";

/// One mapping (RFC 7757).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Entry {
    /// IPv4 prefix with its length, such as `192.0.2.1/32`.
    pub ipv4: String,
    /// IPv6 prefix with its length, such as `2001:db8:12:34::1/128`.
    pub ipv6: String,
    /// `store`, `config` or `file:NAME:LINE`. Only what the store owns can be changed here.
    pub owner: String,
    /// The operator's note; empty without one.
    #[serde(default)]
    pub comment: String,
    /// The line of the file that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// What is to be done with a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A new one; refused where its IPv4 or IPv6 prefix is mapped otherwise.
    #[default]
    Add,
    /// A new one, or another IPv6 prefix or comment for an IPv4 prefix that is mapped.
    Set,
    /// No more.
    Remove,
}

/// One line of a request to change mappings. Of several lines for one mapping, those that remove it come first, wherever they
/// stand: they name what was there before the request. The others follow in their order, each on what those before have made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Change<'a> {
    /// What to do; to add when left out.
    #[serde(default)]
    pub op: Op,
    /// IPv4 prefix or address. To add with `auto`, the relay takes the next free service address.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub ipv4: Option<Cow<'a, str>>,
    /// IPv6 prefix or address. To remove, one of the two is enough.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub ipv6: Option<Cow<'a, str>>,
    /// The operator's note.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub comment: Option<Cow<'a, str>>,
    /// The line of the file it came from, for messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What `eam list --json` adds to a mapping, so that its lines can be given back. It has no effect.
    #[serde(default, borrow, skip_serializing)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub owner: Option<Cow<'a, str>>,
}

/// The word in place of an IPv4 prefix that asks for the next free service address.
impl Change<'_> {
    /// See [`Change::ipv4`].
    pub const AUTO: &'static str = "auto";
}

/// A mapping that got its IPv4 address from the relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Allocated {
    /// The service address, with `/32`.
    pub ipv4: String,
    /// The IPv6 prefix it was asked for.
    pub ipv6: String,
}

/// One step from an address to its translation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Step {
    /// What was looked at: `eam`, `prefix`, `pool`, `denylist`.
    pub by: String,
    /// The prefix of it that covers the address.
    pub prefix: String,
    /// What follows from it.
    pub text: String,
}

/// How an address is translated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lookup {
    /// The address asked about.
    pub address: String,
    /// What it becomes; none if nothing translates it.
    pub translated: Option<String>,
    /// The mapping that decides, when one does.
    pub eam: Option<Entry>,
    /// The translation prefix that decides, when one does.
    pub prefix: Option<String>,
    /// Further mappings that cover the address and lose against a longer one, longest first.
    pub shadowed: Vec<Entry>,
    /// One sentence for people.
    pub text: String,
    /// What the workers do, by their own tables.
    #[serde(default)]
    pub worker: Option<WorkerView>,
}

/// An IPv4 Service Address Pool (RFC 7755).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pool {
    /// The pool.
    pub prefix: String,
    /// Addresses in it.
    pub addresses: u64,
    /// Those under a mapping.
    pub used: u64,
    /// The others.
    pub free: u64,
    /// The next one that `auto` would take; none when the pool is full.
    pub next_free: Option<String>,
}

/// Every service pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pools {
    /// In the order of the configuration.
    pub pools: Vec<Pool>,
}
