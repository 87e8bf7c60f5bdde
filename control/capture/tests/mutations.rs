//! Whatever a file holds: an answer, no panic, and packets that lie inside of the file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use capture::{Capture, Content};
use proptest::prelude::*;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A pcap file of three packets, the second of them cut.
fn pcap() -> Vec<u8> {
    let mut file = words(&[0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 65_535, 1 | 1 << 26 | 2 << 28]);
    for (captured, original) in [(20_usize, 20_u32), (10, 40), (0, 0)] {
        file.extend(words(&[1, 2, u32::try_from(captured).unwrap(), original]));
        file.resize(file.len() + captured, 0x45);
    }
    file.extend([0; 40]);
    file
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap();
    [words(&[kind, length]), body.to_vec(), words(&[length])].concat()
}

/// A pcapng file with every block that has a packet, and options.
fn pcapng() -> Vec<u8> {
    let data = [0x45; 20];
    [
        block(0x0a0d_0d0a, &words(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX])),
        block(1, &[words(&[113, 0, 9 | 1 << 16, 9, 13 | 1 << 16, 4, 14 | 8 << 16, 1, 0, 0])].concat()),
        block(1, &words(&[101, 64])),
        block(6, &[words(&[0, 5, 6, 20, 24]), data.to_vec(), words(&[2 | 4 << 16, 4 << 5, 0])].concat()),
        block(2, &[words(&[1 | 7 << 16, 5, 6, 20, 20]), data.to_vec()].concat()),
        block(3, &[words(&[20]), data.to_vec()].concat()),
        block(5, &[0; 8]),
    ]
    .concat()
}

fn judge(file: &[u8]) {
    let length = file.len();
    if let Ok(capture) = Capture::parse(Path::new("x"), file.to_vec()) {
        for packet in capture.packets() {
            assert!(packet.bytes.len() <= length.max(1 << 16));
            assert_eq!(packet.is_cut(), packet.bytes.len() < packet.original);
            if let Content::Ip(inner) | Content::Ethernet(inner) | Content::Cooked { packet: inner, .. } =
                packet.content()
            {
                assert!(inner.len() <= packet.bytes.len());
            }
        }
    }
}

#[test]
fn the_files_that_are_mutated_are_good() {
    let capture = Capture::parse(Path::new("x"), pcap()).unwrap();
    let lengths: Vec<_> = capture.packets().map(|packet| (packet.bytes.len(), packet.original)).collect();
    // Four bytes of frame check sequence belong to no packet.
    assert_eq!(lengths, [(16, 16), (10, 36), (0, 0)]);
    let capture = Capture::parse(Path::new("x"), pcapng()).unwrap();
    let lengths: Vec<_> = capture.packets().map(|packet| (packet.bytes.len(), packet.original)).collect();
    assert_eq!(lengths, [(20, 20), (20, 20), (16, 16)]);
    assert_eq!(capture.packets().next().unwrap().timestamp.as_nanos(), (5 << 32) + 6 + 1_000_000_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes(file in prop::collection::vec(any::<u8>(), 0..200)) {
        judge(&file);
    }

    #[test]
    fn mutated_files(
        is_ng: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = if is_ng { pcapng() } else { pcap() };
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        judge(&file);
        file.truncate(cut.index(file.len()));
        judge(&file);
    }
}
