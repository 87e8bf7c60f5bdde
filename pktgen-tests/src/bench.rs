//! `scripts/bench`: what the relay costs and how much it forwards, and whether a change made it worse.
//!
//! ```text
//! scripts/bench -> build -> for every round: micro, forwarding, options, latency, reload -> report
//!                                                                                              |
//!                                            table on the terminal, JSON, docs/performance.md, comparison
//! ```
//!
//! The *micro* benchmarks are programs of other crates that write rows as JSON. The others put a device under test (the
//! relay, or testpmd) and the generator at the two ends of virtual wires, on a processor each. What is compared is
//! measured alternately in one run, several times; results are medians, with the range and the spread of the runs.

mod args;
mod build;
mod compare;
mod cpus;
mod docs;
mod error;
mod forwarding;
mod generator;
mod latency;
mod machine;
mod micro;
mod model;
mod options;
mod plot;
mod relay;
mod reload;
mod report;
mod sections;
mod session;
mod stand;
mod stats;
mod table;
mod testpmd;
mod traffic;
mod vdev;
mod workspace;

use build::Build;
use error::BenchError;
use machine::Machine;

pub use args::{Args, Part, Vdev};
pub use session::main;
