//! Publishes what changes through the socket: on the builder's thread, after a reload and before the next.

use std::sync::Arc;

use control::actor::{ControlHandle, UpdateError};
use control_api::{Code, Refusal};
use control_server::mappings::{Change, Next, Reach, Tables};
use dataplane::table::eam;
use dataplane::table::translation::Translation;
use eam_store::Eam;

/// The tables in use, by way of the actor.
pub(super) struct Published {
    handle: ControlHandle,
}

/// Why nothing is published.
enum Not {
    /// It was refused.
    Refused(Box<Refusal>),
    /// Nothing is different for packets.
    Same,
}

impl Published {
    pub(super) fn new(handle: ControlHandle) -> Self {
        Self { handle }
    }
}

impl Tables for Published {
    fn update(&self, change: Change) -> Result<Reach, Refusal> {
        let updated = self.handle.update(move |tables: &Arc<Translation>| {
            let mut after = After { tables, next: None };
            change(&mut after).map_err(|refusal| Not::Refused(Box::new(refusal)))?;
            after.next.ok_or(Not::Same)
        });
        match updated {
            Ok(updated) if updated.everywhere => Ok(Reach::Everywhere),
            Ok(_) => Ok(Reach::Awaited),
            Err(UpdateError::Refused(Not::Same)) => Ok(Reach::Nowhere),
            Err(UpdateError::Refused(Not::Refused(refusal))) => Err(*refusal),
            Err(UpdateError::Gone) => Err(stopping()),
        }
    }
}

/// The answer of a relay that ends.
pub(crate) fn stopping() -> Refusal {
    Refusal::new(
        Code::Unavailable,
        "the relay is stopping",
        "ask the one that takes over; `borderctl history` shows whether a change was made",
    )
}

struct After<'t> {
    tables: &'t Translation,
    next: Option<Translation>,
}

impl Next for After<'_> {
    fn apply(&mut self, lost: &[Eam], gained: &[Eam]) -> Result<(), Refusal> {
        let row = |eam: &Eam| eam::Eam { ipv4: eam.ipv4(), ipv6: eam.ipv6() };
        let gone = lost.iter().map(|eam| eam::Change::Remove(row(eam)));
        let new = gained.iter().map(|eam| eam::Change::Add(row(eam)));
        let steps: Vec<_> = gone.chain(new).collect();
        let next = self.next.as_ref().unwrap_or(self.tables).apply(&steps).map_err(|error| {
            Refusal::new(Code::Refused, error.to_string(), "report it: the relay's checks let it pass")
        })?;
        self.next = Some(next);
        Ok(())
    }
}
