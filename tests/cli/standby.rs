//! One relay stands by for another: whom it gets the twins from, and what it still has when it begins anew.

use std::ffi::OsString;
use std::fs;

use crate::common::BORDERLINE;
use crate::lab::{ALONE, Relay, Running, SETPRIV, skip_without_root, with_capabilities};

/// What a relay needs that has no card or interface.
const NET_ADMIN: &str = "-all,+net_admin";

/// The words by which a program is run where another relay is.
fn beside(relay: &Running, words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let namespace = format!("--net=/proc/{}/ns/net", relay.pid());
    ["nsenter".into(), namespace.into(), "--".into()].into_iter().chain(words).collect()
}

#[test]
fn a_stranger_gets_no_twin_and_is_none_who_stands_by() {
    if skip_without_root() {
        return;
    }
    let relay = Relay::good();
    let mut running = relay.run();
    let (config, program) = (relay.directory.path().join("relay.toml"), relay.program_for_all());
    let words = SETPRIV.map(OsString::from).into_iter().chain([program.into()]);
    let mut stranger = Running::begin(&config, &beside(&running, words), &["--standby"]);
    assert!(
        stranger
            .says("that relay ends")
            .contains("made anew when that relay ends, without addresses: bltest")
    );
    stranger.has_said("ready to take over");
    running.send("USR2");
    running.says("SIGUSR2: nobody stands by");
    // Root's own one is trusted.
    let mut standby = Running::begin(&config, &beside(&running, [BORDERLINE.into()]), &["--standby"]);
    assert!(standby.says("that relay ends").contains("the twins will stay"));
    drop((stranger, standby));
    running.stop("TERM");
}

#[test]
fn root_takes_no_twin_of_a_stranger() {
    if skip_without_root() {
        return;
    }
    let relay = Relay::good();
    let (config, program) = (relay.config(), relay.program_for_all());
    let words: Vec<OsString> =
        ALONE[..3].iter().map(Into::into).chain(with_capabilities(NET_ADMIN, &program)).collect();
    let stranger = Running::begin(&config, &words, &[]).translating();
    let mut standby = Running::begin(&config, &beside(&stranger, [BORDERLINE.into()]), &["--standby"]);
    assert!(standby.says("that relay ends").contains("without addresses: bltest (Operation not permitted"));
    drop(standby);
    stranger.stop("TERM");
}

#[test]
fn one_that_begins_anew_has_its_capabilities_and_its_log() {
    if skip_without_root() {
        return;
    }
    let relay = Relay::good();
    let (config, program) = (relay.config(), relay.program_for_all());
    let nobody = || with_capabilities(NET_ADMIN, &program);
    let words: Vec<OsString> = ALONE[..3].iter().map(Into::into).chain(nobody()).collect();
    let first = Running::begin(&config, &words, &[]).translating();
    let mut standby = Running::begin(&config, &beside(&first, nobody()), &["--standby"]);
    standby.says("ready to take over");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("memory_mb = 64", "memory_mb = 80")).unwrap();
    first.stop("TERM");
    standby.says("it starts anew");
    standby.says("translating");
    standby.stop("TERM");
}
