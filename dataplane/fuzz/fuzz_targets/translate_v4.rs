//! IPv4 packets, under any configuration.
#![no_main]

use dataplane_fuzz::{judge, oracle};

libfuzzer_sys::fuzz_target!(|input: &[u8]| judge(oracle::packet(input, 4)));
