//! What is explained is what a worker does: same bytes, same verdict, same counts, for random frames and configurations.
//!
//! `EXPLAIN_FRAMES` sets how many are compared.

mod oracle;

use oracle::bytes::Bytes;
use oracle::frames::explained::{Seen, explained};
use oracle::world::World;

/// `SplitMix64`: reproducible from the number of the packet.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn bytes(state: &mut u64, count: usize) -> Vec<u8> {
    (0..count.div_ceil(8)).flat_map(|_| random(state).to_le_bytes()).collect()
}

#[test]
fn a_worker_does_what_is_explained() {
    let wanted: u64 =
        std::env::var("EXPLAIN_FRAMES").map_or(20_000, |count| count.parse().expect("a number"));
    let mut state = 0x0e99_1a14;
    let mut seen = Seen::default();
    while seen.frames < wanted {
        let world = World::from_bytes(&bytes(&mut state, oracle::world::BYTES));
        let choices = bytes(&mut state, 3200);
        if let Err(why) = explained(&world, &mut Bytes(&choices), &mut seen) {
            panic!("{why}\n{world:?}");
        }
    }
    println!("{seen:?}");
    // Each way a packet can end is among them, and not by accident.
    assert!(seen.endings.iter().all(|count| count * 1000 > seen.frames), "{seen:?}");
    assert!(seen.plain * 100 > seen.frames, "{seen:?}");
}
