//! The mappings of a running relay, as they are asked for and changed through the socket.
//!
//! The store keeps them, checks edits and makes revisions; tables translate packets by them. What is here is the order in which the two
//! are brought together: `edits.rs` makes the store's edits of what was asked, `engine.rs` is the order of a commit, `clock.rs` undoes
//! what nobody confirms, `answers.rs` is what is asked without changing anything, `convert.rs` the store's words as the API has them.
//!
//! Everything that changes mappings happens inside [`Tables::update`], one at a time and never beside a reload.

mod answers;
mod clock;
mod convert;
mod edits;
mod engine;

use std::fmt;
use std::net::IpAddr;

use control_api::Refusal;
use eam_store::Eam;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

pub use engine::{Mappings, Source};

/// What is asked for about one mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What.
    pub target: Target,
    /// A note; none leaves the one there is.
    pub comment: Option<Box<str>>,
    /// Where the request comes from, for messages.
    pub line: Option<u32>,
}

/// The prefixes of an [`Edit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A new mapping.
    Add {
        /// Its IPv4 prefix.
        ipv4: Ipv4Net,
        /// Its IPv6 prefix.
        ipv6: Ipv6Net,
    },
    /// A mapping that may be there, with another IPv6 prefix.
    Set {
        /// Its IPv4 prefix.
        ipv4: Ipv4Net,
        /// Its IPv6 prefix.
        ipv6: Ipv6Net,
    },
    /// A new mapping of the next free service address.
    Auto {
        /// Its IPv6 prefix, a whole address.
        ipv6: Ipv6Net,
    },
    /// No more mapping. With both prefixes, only if both are its own.
    Remove {
        /// Its IPv4 prefix.
        ipv4: Option<Ipv4Net>,
        /// Its IPv6 prefix.
        ipv6: Option<Ipv6Net>,
    },
}

/// Whether a change is in force everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Every worker uses it.
    Everywhere,
    /// A worker has not looked for long; it will use it as soon as it does.
    Awaited,
    /// There was nothing to publish.
    Nowhere,
}

/// The tables that packets are translated by.
pub trait Tables: Send + Sync {
    /// Runs `change` where tables are made, alone; publishes what it applied, and returns when every worker uses it.
    ///
    /// # Errors
    /// What `change` returned; nothing is published then. Or that the relay is stopping.
    fn update(&self, change: Change) -> Result<Reach, Refusal>;
}

/// See [`Tables::update`].
pub type Change = Box<dyn FnOnce(&mut dyn Next) -> Result<(), Refusal> + Send>;

/// The tables after those in use.
pub trait Next {
    /// Takes mappings out, then puts others in.
    ///
    /// # Errors
    /// Why the tables cannot hold them.
    fn apply(&mut self, lost: &[Eam], gained: &[Eam]) -> Result<(), Refusal>;
}

/// What the configuration says about addresses.
pub trait Rules: Send + Sync + fmt::Debug {
    /// The IPv4 Service Address Pools.
    fn pools(&self) -> Vec<Ipv4Net>;
    /// What the translation prefixes make of an address that has no mapping: the result, and the prefix.
    fn by_prefix(&self, address: IpAddr) -> Option<(IpAddr, IpNet)>;
    /// How the store checks mappings.
    fn of_store(&self) -> eam_store::Rules;
}
