//! `check`: every problem of a file at once, and with `--machine` all that a start would find.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use eam_store::{Author, Candidate, Eam, Edit, Options, Request, Row, Step, Store};
use tempfile::TempDir;

use crate::common::{BORDERLINE, Run};
use crate::lab::{Relay, skip_without_root};

#[test]
fn check_sums_up_a_good_file() {
    let relay = Relay::good();
    let path = relay.config();
    let mut toml = fs::read_to_string(&path).unwrap();
    toml.push_str("[[eam]]\nipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8:12:34::1\"\n");
    fs::write(&path, toml).unwrap();
    let run = Run::borderline([OsStr::new("check"), OsStr::new("--config"), path.as_os_str()]);
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:#?}");
    for word in ["relay.toml", "bltest", "2001:db8:46::/96", "1 EAM"] {
        assert!(run.stdout.contains(word), "{word:?} is missing\n{}", run.stdout);
    }
}

#[test]
fn addresses_may_end_in_dotted_decimal() {
    let relay = Relay::good();
    let path = relay.config();
    let mut toml = fs::read_to_string(&path).unwrap();
    toml.push_str("[[eam]]\nipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8:12:34::192.0.2.1\"\n");
    fs::write(&path, toml).unwrap();
    let run = Run::borderline([OsStr::new("check"), OsStr::new("--config"), path.as_os_str()]);
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:#?}");
}

#[test]
fn check_does_not_hold_this_machine_against_the_file() {
    let mut relay = Relay::good();
    relay.workers = "1000".to_owned();
    relay.memory = "memory_mb = 1048576".to_owned();
    let run = Run::borderline([OsStr::new("check"), OsStr::new("--config"), relay.config().as_os_str()]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    for word in ["no such CPU online", "vm.nr_hugepages="] {
        assert!(run.stdout.contains(word), "{word:?} is missing\n{}", run.stdout);
    }
}

#[test]
fn check_lists_every_problem_of_a_bad_file() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("relay.toml");
    let toml = "[dpdk]\nworkers = []\n[[port]]\nname = \"much-too-long-a-name\"\ndevice = \"eth0\"\nmtu = 1279\n\
                [translation]\nprefixes = [\"2001:db8::/44\"]\nhairpn = \"off\"\n";
    fs::write(&path, toml).unwrap();
    let run = Run::borderline([OsStr::new("check"), OsStr::new("--config"), path.as_os_str()]);
    assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{run:#?}");
    for (line, word) in [
        (2, "dpdk.workers"),
        (4, "12 or fewer"),
        (5, "\"eth0\""),
        (6, "1280 or more"),
        (8, "/44"),
        (9, "hairpin"),
    ] {
        let place = format!("relay.toml:{line}:");
        let found = run.stderr.lines().any(|text| text.contains(&place) && text.contains(word));
        assert!(found, "{place} {word}\n{}", run.stderr);
    }
    assert!(run.stderr.contains("6 problems"), "{}", run.stderr);
}

#[test]
fn a_configuration_that_is_missing_or_wrong_is_status_2() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("relay.toml");
    for command in ["run", "check"] {
        let arguments = [OsStr::new(command), OsStr::new("--config"), path.as_os_str()];
        Run::borderline(arguments)
            .failed_with(2, &["relay.toml: cannot be read", "there is no such file", "check the path"]);
    }
    fs::write(&path, "[translation]\nprefixes = [\"2001:db8::/44\"]\n").unwrap();
    let run = Run::borderline([OsStr::new("run"), OsStr::new("--config"), path.as_os_str()]);
    run.failed_with(2, &["relay.toml:2:", "/44 is no RFC 6052 length", "port: missing"]);
}

#[test]
fn check_machine_lists_at_once_what_a_start_would_find() {
    if skip_without_root() {
        return;
    }
    let relay = Relay::good();
    let path = relay.config();
    let toml = fs::read_to_string(&path).unwrap();
    let more = "[[port]]\nname = \"second\"\ndevice = \"net_af_xdp0,iface=nowhere0\"\n\
                [[port]]\nname = \"third\"\ndevice = \"0000:ff:1f.7\"\n[translation]";
    let control = "\n[control]\nsocket = \"/nowhere/at/all/control.sock\"\nstore = \"/nowhere/mappings.db\"\n\
                   group = \"no-such-group-7\"\n[metrics]\nlisten = \"[::1]:9\"\n";
    let toml = toml.replace("[translation]", more).replace("workers = [", "workers = [1000, ");
    fs::write(&path, toml + control).unwrap();
    let check = |arguments: &str| {
        let script = format!(
            "ip tuntap add dev bl-bltest mode tap; ip rule add from 198.18.0.0/15 lookup 7; exec \"$1\" check {arguments} --config \"$2\""
        );
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &script, "sh", BORDERLINE]).arg(&path);
        Run::command(&mut command)
    };
    let plain = check("");
    assert_eq!(plain.status, Some(0), "the file itself is good: {plain:#?}");
    let run = check("--machine");
    run.failed_with(
        2,
        &[
            "no such CPU online",
            "interface bl-bltest exists",
            "port second: device net_af_xdp0,iface=nowhere0",
            "nowhere0",
            "port third: device 0000:ff:1f.7",
            "1 policy rules are not followed",
            "there is no group \"no-such-group-7\"",
            "directory /nowhere/at/all",
            "mkdir -p /nowhere",
            "cannot listen at [::1]:9",
        ],
    );
}

#[test]
fn check_machine_finds_what_only_an_attempt_shows() {
    if skip_without_root() {
        return;
    }
    let mut relay = Relay::good();
    relay.memory += "\nextra_args = [\"--no-such-option\"]";
    relay.check_machine().failed_with(2, &["--no-such-option", "correct extra_args in [dpdk]"]);

    relay = Relay::new("net_af_packet0,iface=under,blocksz=36864,framesz=9216\"\nmtu = \"9000");
    let path = relay.config();
    let toml = fs::read_to_string(&path).unwrap().replace("\"9000\"", "9000");
    fs::write(&path, toml).unwrap();
    // As `ip netns exec` does: what /sys says of interfaces is the namespace's.
    let script = "mount -t sysfs none /sys && ip link add under mtu 1500 type veth peer name other && \
                  exec \"$1\" check --machine --config \"$2\"";
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", script, "sh", BORDERLINE]).arg(&path);
    Run::command(&mut command)
        .failed_with(2, &["an MTU of 1500 bytes, 9000 is wanted", "ip link set under mtu 9000"]);
}

#[test]
fn check_machine_finds_a_store_that_cannot_be_opened_or_does_not_fit() {
    if skip_without_root() {
        return;
    }
    let relay = Relay::good();
    let (config, store) = (relay.config(), relay.directory.path().join("mappings.db"));
    let socket = relay.directory.path().join("control.sock");
    let control = format!("[control]\nsocket = \"{}\"\nstore = \"{}\"\n", socket.display(), store.display());
    let toml = fs::read_to_string(&config).unwrap() + &control;
    let check = |toml: &str| {
        fs::write(&config, toml).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--net", BORDERLINE, "check", "--machine", "--config"]).arg(&config);
        Run::command(&mut command)
    };
    assert_eq!(check(&toml).status, Some(0), "a store that is to be made");
    assert!(!store.exists(), "it is made by a relay");

    fs::write(&store, "something else").unwrap();
    check(&toml).failed_with(2, &["mappings.db", "no store of this relay", "name another file"]);
    fs::remove_file(&store).unwrap();

    let mut opened = Store::open(&store, Options::default()).unwrap().store;
    check(&toml).failed_with(2, &["mappings.db", "another process has it locked"]);
    put(&mut opened, "192.0.2.1", "2001:db8::1");
    // As a relay leaves it that was killed: with a full log, which may be the proof of something.
    let killed = relay.directory.path().join("killed.db");
    let beside = |path: &Path, name: &str| PathBuf::from(format!("{}{name}", path.display()));
    let parts = ["", "-wal", "-head"];
    let bytes = || parts.map(|part| fs::read(beside(&killed, part)).unwrap());
    for part in parts {
        fs::copy(beside(&store, part), beside(&killed, part)).unwrap();
    }
    let before = bytes();
    assert!(!before[1].is_empty(), "the commit is in the log");
    assert_eq!(check(&toml.replace("mappings.db", "killed.db")).status, Some(0));
    assert!(bytes() == before, "nothing of it has changed");
    assert!(!beside(&killed, "-shm").exists() && !beside(&killed, "-standby").exists());
    drop(opened);
    assert_eq!(check(&toml).status, Some(0), "nobody has it any more");
    let row = "[[eam]]\nipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8::2\"\n";
    check(&(toml.clone() + row)).failed_with(2, &["192.0.2.1"]);
    let store = Store::open(&store, Options::default()).unwrap();
    assert_eq!(store.eams.len(), 1, "what it held is what it holds");
}

/// Commits one mapping.
fn put(store: &mut Store, ipv4: &str, ipv6: &str) {
    let eam =
        Eam::new(format!("{ipv4}/32").parse().unwrap(), format!("{ipv6}/128").parse().unwrap()).unwrap();
    let mut candidate = Candidate::default();
    store.stage(&mut candidate, Edit::Put(Row::new(eam, None).unwrap())).unwrap();
    let author = Author { uid: 0, pid: 1, comment: "test".to_owned() };
    let request = Request { author, if_match: store.head().id, idempotency: None, confirm_within: None };
    match store.commit(&candidate, request).unwrap() {
        Step::Prepared(prepared) => drop(prepared.make_durable().unwrap().published()),
        Step::Done(receipt) => panic!("nothing to do: {receipt:?}"),
    }
}

#[test]
fn check_machine_is_content_with_a_machine_that_has_everything() {
    if skip_without_root() {
        return;
    }
    let relay = Relay::good();
    let mut command = Command::new("unshare");
    command.args(["--net", BORDERLINE, "check", "--machine", "--config"]).arg(relay.config());
    let run = Run::command(&mut command);
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:#?}");
}

#[test]
fn ports_that_dpdk_has_no_room_for_and_names_of_dots_are_refused_by_check() {
    let relay = Relay::good();
    let path = relay.config();
    let toml = fs::read_to_string(&path).unwrap();
    let port = |number| format!("[[port]]\nname = \"p{number}\"\ndevice = \"net_null{number}\"\n");
    let many: String = (1..=64).map(port).collect();
    let check = |toml: String| {
        fs::write(&path, toml).unwrap();
        Run::borderline([OsStr::new("check"), OsStr::new("--config"), path.as_os_str()])
    };
    check(toml.replace("[translation]", &format!("{many}[translation]")))
        .failed_with(2, &["65 ports; use 32 or fewer"]);
    for dots in [".", ".."] {
        check(toml.replace("bltest", dots)).failed_with(2, &["dots alone are no name"]);
    }
}
