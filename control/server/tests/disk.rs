//! A disk that takes nothing more: refused with what helps, said in the status and once in the log, and over with the first
//! change that is kept.
//!
//! The test starts itself again on a disk of 300 KB in a mount namespace of its own; `BORDERLINE_DISK_CHILD` tells it where.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use control_api::{Committed, Refusal};
use control_server::mappings::{Edit, Target};
use control_server::testing::FakeRelay;
use control_server::{Intent, Peer, Relay};

const CHILD: &str = "BORDERLINE_DISK_CHILD";

fn add(number: u16, relay: &FakeRelay) -> Result<Committed, Refusal> {
    let [high, low] = number.to_be_bytes();
    let target = Target::Add {
        ipv4: format!("10.0.{high}.{low}/32").parse().unwrap(),
        ipv6: format!("2001:db8::{number:x}/128").parse().unwrap(),
    };
    let intent = Intent {
        peer: Peer { uid: 1000, pid: None },
        comment: "x".repeat(900),
        revision: None,
        key: None,
        request: Vec::new(),
        confirm_within: None,
    };
    relay.mappings().change(&intent, vec![Edit { target, comment: None, line: None }], false)
}

#[test]
fn child() {
    let Some(directory) = env::var_os(CHILD) else { return };
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stdout).init();
    let relay = FakeRelay::new(&Path::new(&directory).join("mappings.db"));
    let mappings = relay.mappings();
    let ballast = Path::new(&directory).join("ballast");
    fs::write(&ballast, [1; 100_000]).unwrap();
    for round in 0..2_u16 {
        let mut numbers = 1000 * round..1000 * (round + 1);
        let first = numbers.find_map(|number| add(number, &relay).err()).unwrap();
        let again: Vec<Refusal> =
            numbers.by_ref().take(3).filter_map(|number| add(number, &relay).err()).collect();
        for refusal in again.iter().chain([&first]) {
            assert!(refusal.remedy.starts_with("free space on its file system"), "{refusal}");
        }
        let trouble = mappings.trouble();
        assert!(trouble.len() == 1 && trouble[0].contains("free space on its file system"), "{trouble:?}");
        if round == 0 {
            fs::remove_file(&ballast).unwrap();
            add(900, &relay).unwrap();
            assert_eq!(mappings.trouble(), [""; 0]);
        }
    }
    println!("the child ended well");
}

#[test]
fn a_full_disk_is_said_when_it_begins_and_when_it_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=300k store \"$0\" && exec \"$@\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "sh", "-c", script]).arg(directory.path());
    unshare.arg(env::current_exe().unwrap()).args(["--exact", "child", "--nocapture"]);
    let output = unshare.env(CHILD, directory.path()).output().unwrap();
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(log.contains("the child ended well"), "{log}{}", String::from_utf8_lossy(&output.stderr));
    let told: Vec<&str> =
        log.lines().filter(|line| [" WARN ", " INFO "].iter().any(|level| line.contains(level))).collect();
    let [begins, over, again] = told[..] else { panic!("{told:#?}") };
    assert!(begins.contains("changes are refused") && begins.contains("the disk is full"), "{begins}");
    assert!(over.contains("the store takes changes again"), "{over}");
    assert!(again.contains("changes are refused"), "{again}");
}
