//! What must hold for every packet under every configuration, judged without the code under test.
//!
//! One input is a string of bytes: the first [`world::BYTES`] choose a configuration ([`world`]), the others a packet,
//! a train of fragments ([`packet`]) or a few frames ([`frames`]). Every string means something, so the fuzzer in
//! `dataplane/fuzz` and the properties in `tests/property.rs` feed the same functions. The judges ([`judge`],
//! [`back`]) read packets, sum checksums and map addresses with the plain code of [`naive`]; nothing of the
//! relay's own is trusted but the types of its interface.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_update,
    clippy::cast_possible_truncation,
    clippy::missing_errors_doc,
    unreachable_pub,
    missing_docs,
    reason = "shared by tests and fuzz targets, none of which uses everything; a wrong fixture shall stop the run"
)]

/// Ends a judgement unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(format!($($why)+));
        }
    };
}

pub mod back;
pub mod bytes;
pub mod expect;
pub mod frames;
pub mod golden;
pub mod judge;
pub mod naive;
pub mod packet;
pub mod relay;
pub mod world;

use bytes::Bytes;
use relay::Relay;
use world::World;

/// What is wrong, in words.
pub type Judgement = Result<(), String>;

/// The parts of an input.
fn split(input: &[u8]) -> (&[u8], Bytes<'_>) {
    let (world, rest) = input.split_at(input.len().min(world::BYTES));
    (world, Bytes(rest))
}

/// One packet of `family` (4 or 6), or the fragments of one, through the relay.
pub fn packet(input: &[u8], family: u8) -> Judgement {
    let (world, mut rest) = split(input);
    let (world, packets) = packet::from_bytes(World::from_bytes(world), &mut rest, family);
    check(&world, &packets)
}

/// These packets, all of them fragments of one if there are several.
pub fn check(world: &World, packets: &[Vec<u8>]) -> Judgement {
    let relay = Relay::new(world);
    let another = relay.twin(world);
    judge::packets(world, relay, packets)
        .and_then(|()| back::packets(world, another, packets))
        .map_err(|why| explain(&why, world, packets))
}

/// A few frames on both ports through a worker.
pub fn frame(input: &[u8]) -> Judgement {
    let (world, mut rest) = split(input);
    frames::check(&World::from_bytes(world), &mut rest)
}

fn explain(why: &str, world: &World, packets: &[Vec<u8>]) -> String {
    use std::fmt::Write as _;
    let mut text = format!("{why}\n{world:?}\n");
    for packet in packets {
        let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "packet, {} bytes: {hex}", packet.len()).unwrap();
        for out in Relay::new(world).run(packet).out {
            let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "   out, {} bytes: {hex}", out.len()).unwrap();
        }
    }
    text
}
