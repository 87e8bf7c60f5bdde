//! Everything a relay counts, for Prometheus.
//!
//! [`render`] makes a page of what the control actor hands out, by the declarations that also make `docs/counters.md`: a new
//! counter, drop reason or punt reason is a metric without a further line. `page.rs` writes the two formats, `workers.rs`,
//! `relay.rs` and `ports.rs` say what is on a page. `docs/metrics.md` lists it all; a test compares.
//!
//! A page is bounded: its labels are ports, workers, reasons and directions, and never addresses but those of the busiest
//! mappings. Reasons appear with a zero for the first worker, so that rates know where they began, and for the others once
//! there is something to count.
#![forbid(unsafe_code)]

mod mappings;
mod page;
mod ports;
mod relay;
mod workers;

use control::actor::{Counters, Status};

use dataplane::meter::Traffic;
use ipnet::Ipv4Net;
pub use page::Format;
use page::Page;

/// What goes on a page.
#[derive(Debug, Clone, Copy)]
pub struct Readings<'r> {
    /// Everything that is counted.
    pub counters: &'r Counters,
    /// What the relay is and how it is.
    pub status: &'r Status,
    /// The program.
    pub version: &'r str,
    /// The commit it was built from.
    pub build: &'r str,
    /// What is wrong: as `reasons` of `borderctl status`.
    pub complaints: u64,
    /// Lines of the log that were lost.
    pub log_lines_lost: u64,
    /// The store; none without `[control]`.
    pub revision: Option<Revision>,
    /// Traffic of mappings; none while it is not counted.
    pub mappings: Option<Mappings<'r>>,
}

/// The store's revision in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    /// Its number.
    pub id: u64,
    /// Whether it is undone unless somebody confirms it.
    pub is_pending: bool,
    /// Changes that are staged.
    pub staged: u64,
}

/// Traffic of mappings.
#[derive(Debug, Clone, Copy)]
pub struct Mappings<'r> {
    /// The busiest ones, busiest first.
    pub busiest: &'r [(Ipv4Net, Traffic)],
    /// Packets for which there was no room.
    pub uncounted: u64,
    /// Bytes of memory.
    pub memory: u64,
}

/// Writes a page.
#[must_use]
pub fn render(readings: &Readings<'_>, format: Format) -> String {
    let mut page = Page::new(format);
    relay::families(&mut page, readings);
    ports::families(&mut page, readings.status);
    workers::families(&mut page, readings.counters, readings.status);
    relay::exception_path(&mut page, &readings.counters.kernel);
    if let Some(mappings) = &readings.mappings {
        mappings::families(&mut page, mappings);
    }
    page.finish()
}

/// Cycles as time.
#[expect(clippy::cast_precision_loss, reason = "a nanosecond in three months")]
fn seconds(cycles: u64, hertz: u64) -> f64 {
    cycles as f64 / hertz.max(1) as f64
}
