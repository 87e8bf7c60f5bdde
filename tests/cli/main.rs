//! The command line: what it says, what it refuses, and that a relay that cannot start says why in one sentence and
//! leaves nothing behind.
//!
//! Those who run as root get a network namespace of their own for every relay. `BORDERLINE_REQUIRE_E2E=1` turns what
//! would be skipped into a failure.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../common/mod.rs"]
mod common;

mod check;
mod lab;
mod privileges;
mod refused;
mod running;
mod standby;
mod usage;
