//! Requirements that no golden packet covers, each through the whole walk. Requirement ids stand in the conformance
//! sheet (`tests/requirements`), which names these tests.
#![cfg(feature = "testing")]

mod addresses;
mod duties;
mod fragments;
mod hairpin;
mod icmp;
mod lab;
mod native;
mod transport;
