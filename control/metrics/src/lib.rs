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

mod drops;
mod health;
mod mappings;
mod page;
mod past;
mod ports;
mod queues;
mod relay;
mod workers;

use std::time::Duration;

use control::actor::{Counters, Status};
use control::observe::DropRow;

use dataplane::meter::Traffic;
use ipnet::Ipv4Net;
pub use page::Format;
use page::Page;

/// What goes on a page.
#[derive(Debug, Clone)]
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
    pub store: Option<Store>,
    /// What is known of each drop reason.
    pub drops: &'r [DropRow],
    /// Next hops that packets were lost for, latest first.
    pub failing: &'r [NextHop],
    /// Traffic of mappings; none while it is not counted.
    pub mappings: Option<Mappings<'r>>,
}

/// The store, and what is kept beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The revision in force.
    pub revision: Revision,
    /// How the relay before this one ended; none if nobody knows.
    pub last_exit: Option<LastExit>,
    /// Files of the configuration that are not as they were when they were read.
    pub files_changed: u64,
}

/// How the relay before this one ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastExit {
    /// When, in seconds since 1970.
    pub at: u64,
    /// As it was asked to.
    pub orderly: bool,
    /// Why, in one sentence.
    pub cause: String,
    /// How long it ran, in seconds.
    pub ran: u64,
}

/// A next hop that packets were lost for since it last answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// Its address.
    pub address: String,
    /// The interface it is behind.
    pub interface: String,
    /// The IPv4 service address that is mapped to it, if one is.
    pub service: Option<String>,
    /// Packets that were lost.
    pub lost: u64,
    /// Time since the first of them.
    pub since: Duration,
    /// Time since the last.
    pub last: Duration,
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
    past::families(&mut page, readings);
    let revision = readings.store.as_ref().map(|store| store.revision.id);
    health::families(&mut page, &readings.status.service, revision);
    ports::families(&mut page, readings.status);
    workers::families(&mut page, readings.counters, readings.status);
    drops::families(&mut page, readings.drops);
    relay::exception_path(&mut page, &readings.counters.kernel);
    queues::families(&mut page, &readings.status.queues, readings.failing);
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
