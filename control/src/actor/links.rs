//! Carries the ports' link states to their twins.

use std::sync::Arc;

use super::machine::{Link, Machine};
use crate::kernel::Twin;

/// What is known of each port's cable. A twin starts with carrier.
pub(super) struct Links {
    twins: Vec<Arc<Twin>>,
    last: Vec<Option<Link>>,
}

impl Links {
    pub(super) fn new(twins: Vec<Arc<Twin>>) -> Self {
        Self { last: vec![None; twins.len()], twins }
    }

    /// The last known state of a port's cable.
    pub(super) fn of(&self, port: usize) -> Option<Link> {
        self.last.get(port).copied().flatten()
    }

    /// Asks the drivers, and passes on what is new.
    pub(super) fn follow(&mut self, machine: &impl Machine) {
        for (port, (twin, last)) in self.twins.iter().zip(&mut self.last).enumerate() {
            let now = machine.link(port);
            let was_up = last.is_none_or(|link| link.up);
            *last = now.or(*last);
            let Some(now) = now.filter(|link| link.up != was_up) else {
                continue;
            };
            tracing::info!(twin = twin.name(), up = now.up, "link changed");
            if let Err(error) = twin.set_carrier(now.up) {
                tracing::warn!("{error}");
            }
        }
    }
}
