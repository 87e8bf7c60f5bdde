//! Designs in competition: ways to look up a mapping, to write headers, to verify a checksum.
//!
//! `cargo bench -p dataplane --features dpdk,testing --bench designs`; arguments as for `walk`. All designs of a contest
//! must agree before any is timed. They are timed in turns, on the same keys, a block of samples each, of which the
//! first half only warms the caches up.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a benchmark, not a service"
)]

use std::hint::black_box;
use std::net::Ipv6Addr;

use dataplane::io::BURST;
use dataplane::table::eam::Eam;

use adopted::Adopted;
use common::allocations::counted;
use common::clock::now;
use common::keys::{SIZES, eams};
use common::random::Random;
use common::report::{Arguments, Row, publish};
use direct::Direct;
use eytzinger::Eytzinger;
use fields::Fields;
use header::{Frame, Input, Write};
use lookup::{Lookup, Pair};
use memory::Pages;
use one_line::OneLine;
use standard::Standard;
use sums::{Count, HEADER};
use tags::Tags;
use template::Template;

#[path = "../common"]
mod common {
    pub(crate) mod allocations;
    pub(crate) mod clock;
    pub(crate) mod keys;
    pub(crate) mod random;
    pub(crate) mod report;
}

mod adopted;
mod direct;
mod eytzinger;
mod fields;
mod header;
mod lookup;
mod memory;
mod one_line;
mod prefetch;
mod standard;
mod sums;
mod tags;
mod template;
#[cfg(target_arch = "x86_64")]
mod vectors;

fn main() {
    let arguments = Arguments::read(1000);
    let mut rows = Vec::new();
    for (label, count) in [SIZES[2], SIZES[4]] {
        lookups(&arguments, label, count, &mut rows);
    }
    headers(&arguments, &mut rows);
    checksums(&arguments, &mut rows);
    publish(&arguments, &rows);
}

/// One who takes part: a name, and the work on one input.
type Contestant<'a, I> = (String, Box<dyn FnMut(&mut I) + 'a>);

/// Times everybody in turns. `input` makes the n-th input, which is worth `size` operations.
fn contest<I>(
    arguments: &Arguments,
    (unit, size): (&str, usize),
    mut input: impl FnMut(u64) -> I,
    contestants: Vec<Contestant<'_, I>>,
) -> Vec<Row> {
    const BLOCK: u64 = 40;
    let mut contestants: Vec<_> = contestants
        .into_iter()
        .filter(|(name, _)| arguments.wants(name))
        .map(|(name, work)| (name, work, Vec::new(), 0))
        .collect();
    for block in 0..(2 * arguments.bursts as u64).div_ceil(BLOCK) {
        for (_, work, costs, allocations) in &mut contestants {
            for round in 0..BLOCK {
                let mut input = input(block * BLOCK + round);
                let (spent, allocated) = counted(|| {
                    let before = now();
                    work(&mut input);
                    now() - before
                });
                *allocations += allocated;
                if round >= BLOCK / 2 {
                    costs.push(spent as f64 / size as f64);
                }
            }
        }
    }
    contestants
        .into_iter()
        .map(|(name, _, costs, allocated)| Row::of_ticks(&name, unit, costs).with_allocations(allocated))
        .collect()
}

/// Bursts of keys between two looks at the clock.
const BURSTS: usize = 16;

/// Keys of both families.
type Keys = Vec<([u32; BURST], [u128; BURST])>;

/// Makes one of the tables.
type Build<'a> = &'a dyn Fn() -> Box<dyn Lookup>;

/// Tables of pairs, random hits.
fn lookups(arguments: &Arguments, label: &str, count: u32, rows: &mut Vec<Row>) {
    let bits = |eam: &Eam| (eam.ipv4.network().to_bits(), eam.ipv6.network().to_bits());
    let pairs: Vec<Pair> = eams(count).iter().map(bits).collect();
    let entrants: [(&str, Build<'_>); 8] = [
        ("adopted", &|| Box::new(Adopted::new(&pairs))),
        ("one_line", &|| Box::new(OneLine::<true>::new(&pairs, Pages::Huge))),
        ("one_line_no_prefetch", &|| Box::new(OneLine::<false>::new(&pairs, Pages::Huge))),
        ("one_line_small_pages", &|| Box::new(OneLine::<true>::new(&pairs, Pages::Small))),
        ("tags_and_entries", &|| Box::new(Tags::new(&pairs))),
        ("direct_16_8_8", &|| Box::new(Direct::new(&pairs))),
        ("standard_hash_map", &|| Box::new(Standard::new(&pairs))),
        ("eytzinger", &|| Box::new(Eytzinger::new(&pairs))),
    ];
    let name = |kind: &str, design: &str| format!("design_{kind}_{design}_eam_{label}");
    let kinds = ["lookup_v4", "lookup_v6", "memory"];
    let tables: Vec<(&str, Box<dyn Lookup>)> = entrants
        .into_iter()
        .filter(|(design, _)| kinds.iter().any(|kind| arguments.wants(&name(kind, design))))
        .map(|(design, build)| (design, build()))
        .collect();
    for (design, table) in &tables {
        check_table(design, table.as_ref(), &pairs);
        rows.push(Row::of(&name("memory", design), "MB", vec![table.memory() as f64 / 1e6]));
    }
    let keys = |seed: u64| -> Keys {
        let mut random = Random::new(seed);
        let mut burst = || [(); BURST].map(|()| pairs[random.below(count) as usize]);
        let split = |burst: [Pair; BURST]| (burst.map(|pair| pair.0), burst.map(|pair| pair.1));
        (0..BURSTS).map(|_| split(burst())).collect()
    };
    let unit = ("lookup", BURSTS * BURST);
    let from_ipv4 = tables.iter().map(|(design, table)| -> Contestant<'_, Keys> {
        let mut found = [0; BURST];
        let work = move |keys: &mut Keys| {
            for (ipv4, _) in keys {
                table.ipv4(ipv4, black_box(&mut found));
            }
        };
        (name("lookup_v4", design), Box::new(work))
    });
    rows.extend(contest(arguments, unit, keys, from_ipv4.collect()));
    let both = tables.iter().filter(|(_, table)| table.has_ipv6());
    let from_ipv6 = both.map(|(design, table)| -> Contestant<'_, Keys> {
        let mut found = [0; BURST];
        let work = move |keys: &mut Keys| {
            for (_, ipv6) in keys {
                table.ipv6(ipv6, black_box(&mut found));
            }
        };
        (name("lookup_v6", design), Box::new(work))
    });
    rows.extend(contest(arguments, unit, keys, from_ipv6.collect()));
}

/// Every pair is found from both sides, and what is not there is not.
fn check_table(design: &str, table: &dyn Lookup, pairs: &[Pair]) {
    let (mut ipv4, mut ipv6) = ([0; BURST], [0; BURST]);
    for start in 0..=pairs.len() - BURST {
        if !start.is_multiple_of(BURST) && start != pairs.len() - BURST {
            continue;
        }
        let burst: &[Pair; BURST] = pairs[start..].first_chunk().unwrap();
        table.ipv4(&burst.map(|pair| pair.0), &mut ipv6);
        assert_eq!(ipv6, burst.map(|pair| pair.1), "{design}");
        table.ipv4(&burst.map(|pair| pair.0 ^ 1 << 31), &mut ipv6);
        assert_eq!(ipv6, [0; BURST], "{design}");
        if table.has_ipv6() {
            table.ipv6(&burst.map(|pair| pair.1), &mut ipv4);
            assert_eq!(ipv4, burst.map(|pair| pair.0), "{design}");
            table.ipv6(&burst.map(|pair| pair.1 ^ 1 << 90), &mut ipv4);
            assert_eq!(ipv4, [0; BURST], "{design}");
        }
    }
}

/// Random headers to write.
fn inputs(random: &mut Random) -> [Input; BURST] {
    [(); BURST].map(|()| {
        let mut wide = || u128::from(random.bits()) << 64 | u128::from(random.bits());
        let mut link = wide().to_ne_bytes();
        link[14..].fill(0);
        let (source, destination) = (Ipv6Addr::from_bits(wide()), Ipv6Addr::from_bits(wide()));
        Input {
            link,
            first: 6 << 60 | random.bits() >> 4,
            source,
            destination,
            mapping: random.bits() as u32,
        }
    })
}

/// Ways that keep nothing from packet to packet.
fn stateless() -> Vec<(&'static str, Box<dyn Write>)> {
    let mut ways: Vec<(&str, Box<dyn Write>)> = vec![("fields", Box::new(Fields))];
    #[cfg(target_arch = "x86_64")]
    {
        use vectors::{Avx2, Avx512};
        ways.extend(Avx2::new().map(|way| ("avx2", Box::new(way) as Box<dyn Write>)));
        ways.extend(Avx512::new().map(|way| ("avx512", Box::new(way) as Box<dyn Write>)));
    }
    ways
}

/// Writing Ethernet and IPv6 headers.
fn headers(arguments: &Arguments, rows: &mut Vec<Row>) {
    const TIMES: usize = 4;
    const TEMPLATES: [(&str, usize); 3] =
        [("template_of_64", 64), ("template_of_10k", 10_000), ("template_of_1m", 1_000_000)];
    let name = |way: &str| format!("design_header_{way}");
    let mut ways = stateless();
    let all: Vec<String> = ways.iter().map(|way| way.0).chain(TEMPLATES.map(|way| way.0)).map(name).collect();
    if !arguments.want_any(all.iter().map(String::as_str)) {
        return;
    }
    check_headers(&ways);
    let mut random = Random::new(7);
    for (way, count) in TEMPLATES {
        let mappings: Vec<Input> = (0..count.div_ceil(BURST)).flat_map(|_| inputs(&mut random)).collect();
        ways.push((way, Box::new(Template::new(&mappings, Pages::Huge))));
    }
    let bursts = |seed: u64| {
        let mut random = Random::new(seed);
        [(); TIMES].map(|()| inputs(&mut random))
    };
    let contestants = ways.iter().map(|(way, write)| -> Contestant<'_, [[Input; BURST]; TIMES]> {
        let mut frames = dirty_frames();
        let work = move |bursts: &mut [[Input; BURST]; TIMES]| {
            for inputs in bursts {
                write.burst(inputs, black_box(&mut frames));
            }
        };
        (name(way), Box::new(work))
    });
    rows.extend(contest(arguments, ("packet", TIMES * BURST), bursts, contestants.collect()));
}

fn dirty_frames() -> Box<[Frame; BURST]> {
    vec![Frame::DIRTY; BURST].try_into().ok().unwrap()
}

/// The same bytes from all ways, for a million packets; and no byte beside them.
fn check_headers(ways: &[(&str, Box<dyn Write>)]) {
    const PACKETS: usize = 1_000_000;
    let mut random = Random::new(5);
    let mut frames = dirty_frames();
    for _ in 0..PACKETS.div_ceil(BURST) {
        let mut inputs = inputs(&mut random);
        for (number, input) in (0..).zip(&mut inputs) {
            // The share of a template that is made for this packet.
            input.mapping = number << (32 - BURST.trailing_zeros());
        }
        let template = Template::new(&inputs, Pages::Small);
        let template: (&str, &dyn Write) = ("template", &template);
        for (way, write) in ways.iter().map(|(way, write)| (*way, write.as_ref())).chain([template]) {
            write.burst(&inputs, &mut frames);
            for (input, frame) in inputs.iter().zip(frames.iter_mut()) {
                assert_eq!(frame.headers()[..], plainly(input), "{way}");
                frame.headers().fill(0xee);
            }
        }
    }
    assert!(frames.iter().all(Frame::is_dirty), "bytes beside the headers were written");
}

/// The headers, put together as simply as can be.
fn plainly(input: &Input) -> Vec<u8> {
    let (first, source) = (input.first.to_be_bytes(), input.source.octets());
    [&input.link[..14], &first, &source, &input.destination.octets()].concat()
}

/// Verifying the checksum of an IPv4 header.
fn checksums(arguments: &Arguments, rows: &mut Vec<Row>) {
    const HEADERS: usize = 4 * BURST;
    #[cfg(target_arch = "x86_64")]
    let vectors = sums::avx2();
    #[cfg(not(target_arch = "x86_64"))]
    let vectors = None;
    let ways: [(&str, Option<Count>); 3] = [
        ("words_of_32", Some(sums::words_of_32)),
        ("words_of_64", Some(sums::words_of_64)),
        ("avx2", vectors),
    ];
    let ways: Vec<(&str, Count)> = ways.into_iter().filter_map(|(way, count)| Some((way, count?))).collect();
    let names = ways.iter().map(|(way, _)| format!("design_checksum_{way}"));
    if !arguments.want_any(names.clone().collect::<Vec<_>>().iter().map(String::as_str)) {
        return;
    }
    check_sums(&ways);
    let make = |seed: u64| {
        let mut random = Random::new(seed);
        (0..HEADERS).map(|_| header(&mut random).0).collect::<Vec<_>>()
    };
    let contestants = names.zip(&ways).map(|(name, (_, count))| -> Contestant<'_, Vec<[u8; HEADER]>> {
        let work = |headers: &mut Vec<_>| {
            black_box(count(black_box(headers)));
        };
        (name, Box::new(work))
    });
    rows.extend(contest(arguments, ("header", HEADERS), make, contestants.collect()));
}

/// A random header, right or with one wrong bit, and whether it is right.
fn header(random: &mut Random) -> ([u8; HEADER], bool) {
    let mut header = [0; HEADER];
    for word in header.as_chunks_mut::<4>().0 {
        *word = (random.bits() as u32).to_ne_bytes();
    }
    header[10..12].fill(0);
    let words = header.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let sum: u32 = words.sum();
    // Carries are added until there are none.
    let folded = (sum % 0xffff) as u16;
    header[10..12].copy_from_slice(&(!folded).to_be_bytes());
    let right = random.below(2) == 0;
    if !right {
        header[random.below(HEADER as u32) as usize] ^= 1 << random.below(8);
    }
    (header, right)
}

/// All ways find a million headers as right or wrong as they were made.
fn check_sums(ways: &[(&str, Count)]) {
    let mut random = Random::new(3);
    for _ in 0..1_000_000 {
        let (header, right) = header(&mut random);
        for (way, count) in ways {
            assert_eq!(count(&[header]), usize::from(right), "{way}: {header:02x?}");
        }
    }
    for (way, count) in ways {
        assert_eq!(count(&[[0xff; HEADER]]), 1, "{way}: as many carries as there can be");
    }
}
