//! The express lane ends every packet exactly as the walk alone does: same bytes, same verdict, same counts.
//!
//! Configurations and packets are those of `oracle`, which reach every setting, half of them built so that they pass.
//! Single packets from their IP header on, and bursts of frames through whole workers. `EXPRESS_PACKETS` sets how many are
//! compared.

mod oracle;

use oracle::bytes::Bytes;
use oracle::frames::Compared;
use oracle::packet;
use oracle::relay::Relay;
use oracle::world::World;

/// Packets per configuration.
const PER_WORLD: u64 = 500;

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
fn lane_and_walk_agree_on_every_packet() {
    let packets: u64 =
        std::env::var("EXPRESS_PACKETS").map_or(400_000, |count| count.parse().expect("a number"));
    let mut state = 0x0b0d_e211;
    let (mut compared, mut in_lane) = (0, 0);
    for _ in 0..packets.div_ceil(PER_WORLD) {
        let world = World::from_bytes(&bytes(&mut state, oracle::world::BYTES));
        let mut relay = Relay::new(&world);
        let mut alone = relay.copy();
        for _ in 0..PER_WORLD {
            let choices = bytes(&mut state, 96);
            let family = if random(&mut state) & 1 == 0 { 4 } else { 6 };
            let (_, made) = packet::from_bytes(world.clone(), &mut Bytes(&choices), family);
            for packet in made {
                let (by_lane, by_walk) = (relay.run(&packet), alone.run_walk(&packet));
                let same = format!("{:?}", by_lane.end) == format!("{:?}", by_walk.end)
                    && by_lane.out == by_walk.out
                    && relay.counts() == alone.counts();
                assert!(
                    same,
                    "{packet:02x?}\nlane {:?} {:02x?}\nwalk {:?} {:02x?}\n{world:?}",
                    by_lane.end, by_lane.out, by_walk.end, by_walk.out
                );
                compared += 1;
                in_lane += u64::from(relay.is_plain(&packet));
            }
        }
    }
    println!("{compared} packets agree, {in_lane} of them by the lane");
    assert!(
        in_lane * 20 > compared,
        "only {in_lane} of {compared} packets were plain: the comparison is empty"
    );
}

/// With everything a frame can have that a packet has not: VLANs, group and foreign addresses, padding, cuts; punts,
/// unresolved next hops, full queues and empty pools.
#[test]
fn workers_with_and_without_the_lane_agree_on_every_frame() {
    let wanted: u64 =
        std::env::var("EXPRESS_PACKETS").map_or(60_000, |count| count.parse().expect("a number"));
    let mut state = 0xf4a3_e5ee;
    let mut compared = Compared::default();
    while compared.frames < wanted {
        let world = World::from_bytes(&bytes(&mut state, oracle::world::BYTES));
        let choices = bytes(&mut state, 3200);
        match oracle::frames::compare(&world, &mut Bytes(&choices)) {
            Ok(more) => {
                compared.frames += more.frames;
                compared.translated += more.translated;
                compared.native += more.native;
            }
            Err(why) => panic!("{why}\n{world:?}"),
        }
    }
    let Compared { frames, translated, native } = compared;
    println!("{frames} frames agree, {translated} of them translated, {native} native");
    assert!(translated * 20 > frames, "only {translated} of {frames} frames were translated");
    assert!(native * 100 > frames, "only {native} of {frames} frames were native");
}
