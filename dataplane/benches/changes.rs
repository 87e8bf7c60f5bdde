//! From changes of a million mappings to every worker's tables: [`Translation::apply`] and publication, with the version
//! before given back.
//!
//! `cargo bench -p dataplane --features testing --bench changes`; arguments as for `walk`. Mappings are taken out and put
//! back, scattered over the whole table; they lie in service pools, and two translation prefixes count what overlaps them.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a benchmark, not a service"
)]

use std::sync::Arc;
use std::time::Instant;

use dataplane::table::eam::{Change, Eam, EamTable};
use dataplane::table::fib::Fib;
use dataplane::table::icmp_source::{Choice, IcmpSourcePool};
use dataplane::table::prefix::TranslationPrefix;
use dataplane::table::publish::Publisher;
use dataplane::table::snapshot::Snapshot;
use dataplane::table::translation::{Settings, Translation, TranslationParts};
use dataplane::testing;

use common::keys::eams;
use common::random::Random;
use common::report::{Arguments, Row, publish};

#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod common {
    pub(crate) mod clock;
    pub(crate) mod keys;
    pub(crate) mod random;
    pub(crate) mod report;
}

const COUNT: u32 = 1_000_000;
/// Changes at once, and how often they are made.
const BATCHES: [(u32, usize); 4] = [(1, 2_000), (100, 400), (1_000, 100), (10_000, 60)];

fn main() {
    let arguments = Arguments::read(1000);
    let mut rows = Vec::new();
    let eams = eams(COUNT);
    let mut publisher = Publisher::new(Snapshot {
        generation: 0,
        translation: Arc::new(translation(&eams)),
        fib: Arc::new(Fib::build(&testing::routing(1500, 1500))),
    });
    let mut reader = publisher.reader();
    let mut random = Random::new(1);
    for (batch, runs) in BATCHES {
        let (name, freed) = (format!("apply_publish_{batch}_us"), format!("give_back_{batch}_us"));
        if !arguments.want_any([name.as_str(), freed.as_str()]) {
            continue;
        }
        let (mut changed, mut given_back) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            let first = random.below(COUNT);
            // The step has no divisor in common with the number of mappings: none is taken twice.
            let chosen = (0..batch).map(|step| eams[((first + step * 7_919) % COUNT) as usize]);
            let leave: Vec<Change> = chosen.clone().map(Change::Remove).collect();
            let come_back: Vec<Change> = chosen.map(Change::Add).collect();
            for changes in [leave, come_back] {
                let started = Instant::now();
                let next = Arc::new(publisher.current().translation.apply(&changes).unwrap());
                publisher.publish(|snapshot| snapshot.translation = next);
                let generation = reader.pin().generation;
                changed.push(started.elapsed().as_secs_f64() * 1e6);
                assert_eq!(generation, publisher.current().generation, "the worker has it");
                let started = Instant::now();
                drop(publisher.reclaim());
                given_back.push(started.elapsed().as_secs_f64() * 1e6);
            }
        }
        changed.sort_by(f64::total_cmp);
        let late = changed[changed.len() * 99 / 100];
        rows.push(Row::of(&name, "us", changed));
        rows.push(Row::of(&format!("apply_publish_{batch}_p99_us"), "us", vec![late]));
        rows.push(Row::of(&freed, "us", given_back));
    }
    publish(&arguments, &rows);
}

fn translation(eams: &[Eam]) -> Translation {
    let prefix = |text: &str| TranslationPrefix::new(text.parse().unwrap()).unwrap();
    Translation::new(TranslationParts {
        settings: Settings::default(),
        prefixes: vec![prefix("2001:db8:46::/96"), prefix("64:ff9b::/96")],
        eams: EamTable::build(eams).unwrap(),
        service_pools: vec!["100.64.0.0/12".parse().unwrap()],
        translatable_pools: Vec::new(),
        denylist: Vec::new(),
        er_addresses: Vec::new(),
        icmp_sources: IcmpSourcePool::new(&["198.51.100.1/32".parse().unwrap()], Choice::Hash),
    })
}
