//! Frames on both ports of a worker, under any configuration and a few kinds of routes.
#![no_main]

use dataplane_fuzz::{judge, oracle};

libfuzzer_sys::fuzz_target!(|input: &[u8]| judge(oracle::frame(input)));
