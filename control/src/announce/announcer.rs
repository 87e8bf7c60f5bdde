//! Which routes are there now.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::config;
use crate::kernel::Announced;

/// Decides what is announced, and with which metric.
pub struct Announcer {
    /// None where nothing is to be announced.
    config: Option<config::Announce>,
    destinations: BTreeSet<IpNet>,
}

impl Announcer {
    /// Nothing is announced yet.
    #[must_use]
    pub fn new(config: Option<&config::Announce>, destinations: BTreeSet<IpNet>) -> Self {
        Self { config: config.cloned(), destinations }
    }

    /// Other destinations lead here.
    pub fn lead_here(&mut self, destinations: BTreeSet<IpNet>) {
        self.destinations = destinations;
    }

    /// The routes that are to be there now.
    #[must_use]
    pub fn wanted(&self) -> Announced {
        let Some(config) = &self.config else { return Announced::new() };
        self.destinations.iter().map(|to| (*to, config.metric)).collect()
    }
}
