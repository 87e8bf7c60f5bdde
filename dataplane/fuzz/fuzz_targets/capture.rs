//! Capture files: packets that lie inside of the file, or one sentence about what is wrong.
#![no_main]

use std::path::Path;

use capture::{Capture, Content};

libfuzzer_sys::fuzz_target!(|input: &[u8]| match Capture::parse(Path::new("x"), input.to_vec()) {
    Err(error) => assert!(!error.to_string().contains('\n')),
    Ok(capture) =>
        for packet in capture.packets() {
            assert_eq!(packet.is_cut(), packet.bytes.len() < packet.original);
            if let Content::Ip(inner) | Content::Ethernet(inner) | Content::Cooked { packet: inner, .. } =
                packet.content()
            {
                assert!(inner.len() <= packet.bytes.len());
            }
        },
});
