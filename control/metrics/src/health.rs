//! Whether the relay is in service, why not, and by which tables.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use control::actor::InService;
use control::announce::Standing;
use control::health::{TableDigest, TestState};

use crate::page::{Kind, Page};

/// Tests on a page at most: those that do not pass come first.
const MOST_TESTS: usize = 64;
/// Announced destinations on a page at most.
const MOST_DESTINATIONS: usize = 32;
/// Parts of the tables on a page at most: of larger ones, `borderctl digest` has them.
const MOST_PARTS: usize = 32;
/// Digits of a part's digest: enough to see that two are different.
const PART_DIGITS: usize = 16;

pub(crate) fn families(page: &mut Page, service: &InService, revision: Option<u64>) {
    tests(page, service);
    announcement(page, service);
    digests(page, service, revision);
}

fn tests(page: &mut Page, service: &InService) {
    let mut tests: Vec<_> = service.health.iter().collect();
    tests.sort_by_key(|test| test.state == TestState::Passing);
    tests.truncate(MOST_TESTS);
    page.family(
        "health_test",
        Kind::Gauge,
        "A test of the relay's health: 1 passes, 0 fails, -1 is not known yet. `borderctl health` says why.",
    );
    for test in &tests {
        let value = match test.state {
            TestState::Passing => 1.0,
            TestState::Failing => 0.0,
            TestState::Unknown => -1.0,
        };
        page.real(&[("test", test.name.name()), ("subject", &test.subject)], value);
    }
    page.family("health_test_changed_timestamp_seconds", Kind::Gauge, "Since when the test stands so.");
    for test in &tests {
        page.real(&[("test", test.name.name()), ("subject", &test.subject)], timestamp(test.since));
    }
    page.family(
        "health_tests_failing",
        Kind::Gauge,
        "Tests that fail, also those that mean nothing where nothing is announced.",
    );
    let failing = service.health.iter().filter(|test| test.state == TestState::Failing).count();
    page.sample(&[], failing as u64);
}

fn announcement(page: &mut Page, service: &InService) {
    let announcement = &service.announcement;
    page.family(
        "service_standing",
        Kind::Gauge,
        "1 for what the relay does about its routes, 0 for the others.",
    );
    let all =
        [Standing::Off, Standing::Announcing, Standing::Withdrawn, Standing::Draining, Standing::Drained];
    for standing in all {
        page.sample(&[("standing", standing.name())], u64::from(standing == announcement.standing));
    }
    let there = announcement.destinations.iter().filter(|destination| destination.metric.is_some());
    page.family("announced_routes", Kind::Gauge, "Routes of the relay's that are there.");
    page.sample(&[], there.count() as u64);
    page.family(
        "announced",
        Kind::Gauge,
        "Whether there is a route for the pool or prefix. `borderctl health` says why not.",
    );
    for destination in announcement.destinations.iter().take(MOST_DESTINATIONS) {
        let prefix = destination.prefix.to_string();
        page.sample(&[("destination", &prefix)], u64::from(destination.metric.is_some()));
    }
}

fn digests(page: &mut Page, service: &InService, revision: Option<u64>) {
    page.family(
        "tables_digest",
        Kind::Info,
        "What the mappings in use and the other keys of [translation] hash to: relays with the same have the same.",
    );
    if let Some(audit) = &service.audit {
        let revision = revision.map_or_else(String::new, |revision| revision.to_string());
        let (digest, settings) = (audit.digest.to_string(), &service.settings);
        page.sample(&[("digest", &digest), ("settings", settings), ("revision", &revision)], 1);
    }
    page.family(
        "tables_digest_part",
        Kind::Info,
        "The same of the mappings in each IPv4 prefix of 16 bits, the first 16 digits, of 32 prefixes at most; 0.0.0.0/0 \
         has those of shorter prefixes. `borderctl digest --compare` names the mappings that are different.",
    );
    let none = BTreeMap::<Option<u16>, (TableDigest, u64)>::new();
    let parts = service.audit.as_ref().map_or(&none, |audit| &audit.parts);
    for (part, (digest, _)) in parts.iter().take(MOST_PARTS) {
        let within = match part {
            Some(part) => format!("{}.{}.0.0/16", part >> 8, part & 0xff),
            None => "0.0.0.0/0".to_owned(),
        };
        let digest = digest.to_string();
        page.sample(&[("within", &within), ("digest", &digest[..PART_DIGITS])], 1);
    }
}

/// A moment as Prometheus has it.
pub(crate) fn timestamp(time: SystemTime) -> f64 {
    // To the millisecond: more is noise.
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    (seconds * 1e3).round() / 1e3
}
