//! Requirements that no golden packet covers, each through the whole walk. Requirement ids stand in the conformance
//! sheet (`tests/requirements`), which names these tests.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod addresses;
mod duties;
mod fragments;
mod hairpin;
mod icmp;
mod lab;
mod native;
mod plain;
mod transport;
