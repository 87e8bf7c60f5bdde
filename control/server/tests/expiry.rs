//! What nobody confirms is undone, however often that takes trying.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use control_server::mappings::{Edit, Target};
use control_server::testing::FakeRelay;
use control_server::{Intent, Peer, Relay};

fn add(last: u8, confirm_within: Option<Duration>, relay: &FakeRelay) {
    let target = Target::Add {
        ipv4: format!("192.0.2.{last}/32").parse().unwrap(),
        ipv6: format!("2001:db8::{last}/128").parse().unwrap(),
    };
    let intent = Intent {
        peer: Peer { uid: 1000, pid: None },
        comment: String::new(),
        revision: None,
        key: None,
        request: Vec::new(),
        confirm_within,
    };
    relay.mappings().change(&intent, vec![Edit { target, comment: None, line: None }], false).unwrap();
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_way_back_that_the_tables_refuse_is_tried_until_it_is_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let relay = FakeRelay::new(&directory.path().join("mappings.db"));
    let mappings = relay.mappings();
    add(1, None, &relay);
    add(2, Some(Duration::from_secs(1)), &relay);
    let published = relay.published.load(Ordering::Relaxed);
    relay.refuses.store(true, Ordering::Relaxed);
    eventually("it is said why it is still in force", || !mappings.trouble().is_empty());
    let told = mappings.trouble().join("\n");
    for part in
        ["revision 3 was not confirmed", "revision 2 could not be put in force again", "tables are full"]
    {
        assert!(told.contains(part), "{told}");
    }
    // What the tables do not have, the store does not say.
    assert!(mappings.summary().0.id == 3 && mappings.summary().0.pending_until.is_some());
    thread::sleep(Duration::from_secs(2));
    assert_eq!((mappings.trouble().len(), relay.published.load(Ordering::Relaxed)), (1, published));
    relay.refuses.store(false, Ordering::Relaxed);
    let is_published = || relay.published.load(Ordering::Relaxed) > published;
    eventually("it is tried again", || mappings.trouble().is_empty() && is_published());
    assert_eq!(relay.published.load(Ordering::Relaxed), published + 1, "once");
    let revision = &mappings.history(None, 1).unwrap()[0];
    assert_eq!((revision.id, revision.kind.as_str(), revision.back_to), (4, "not_confirmed", Some(2)));
    add(3, None, &relay);
}
