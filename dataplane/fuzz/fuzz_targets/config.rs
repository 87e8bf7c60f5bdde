//! Configuration files.
#![no_main]

use dataplane_fuzz::{judge, settings};

libfuzzer_sys::fuzz_target!(|input: &[u8]| judge(settings::file(input)));
