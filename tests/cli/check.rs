//! `check`: every problem of a file at once, and with `--machine` all that a start would find.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

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
