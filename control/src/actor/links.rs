//! The ports' link states: asked from the drivers, passed on to the kernel's side, which knows the twins.

use dataplane::table::routing::PortId;

use super::machine::{Link, Machine};
use crate::kernel::Kernel;

/// What is known of each port's cable.
#[derive(Default)]
pub(super) struct Links(Vec<Option<Link>>);

impl Links {
    /// The last known state of a port's cable.
    pub(super) fn of(&self, port: usize) -> Option<Link> {
        self.0.get(port).copied().flatten()
    }

    /// Asks the drivers, and passes on what is new.
    pub(super) fn follow(&mut self, machine: &impl Machine, kernel: &Kernel) {
        self.0.resize(machine.ports().len(), None);
        let mut changed = false;
        for (number, last) in (0_u16..).zip(&mut self.0) {
            let now = machine.link(usize::from(number));
            let up = |link: Option<Link>| link.map(|link| link.up);
            if up(now) != up(*last) {
                kernel.port_link(PortId(number), up(now));
            }
            changed |= now != *last;
            *last = now;
        }
        if changed {
            machine.links_changed();
        }
    }
}
