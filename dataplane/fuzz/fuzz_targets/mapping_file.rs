//! EAM files: CSV and Jool's JSON.
#![no_main]

use dataplane_fuzz::{judge, settings};

libfuzzer_sys::fuzz_target!(|input: &[u8]| judge(settings::mappings(input)));
