//! What each verb does.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Lab, run};

#[test]
fn status_has_the_fields_that_other_tools_read() {
    let lab = Lab::new();
    let status = lab.json("status");
    for field in ["version", "uptime_seconds", "revision", "eams", "health", "ports", "workers"] {
        assert!(!status[field].is_null(), "{field} is missing in {status}");
    }
    assert_eq!(status["revision"]["id"], 1);
    assert!(status["revision"]["digest"].is_string() && status["revision"]["pending_until"].is_null());
    assert_eq!((&status["workers"][0]["cpu"], &status["workers"][0]["load"]), (&1.into(), &0.25.into()));
    let human = lab.good("status");
    for word in ["degraded", "port v6 has no link: check its cable", "25.0 %", "1 d 2 h"] {
        assert!(human.contains(word), "{word} is missing in {human}");
    }
    assert!(!human.contains('\x1b'), "no colours where nobody looks");
}

#[test]
fn every_number_people_see_is_one_that_programs_see() {
    let lab = Lab::new();
    lab.good("eam add 192.0.2.77 2001:db8::77 --comment 'note 4711'");
    lab.good("eam add 192.0.2.78 2001:db8::78 --stage");
    for verb in [
        "status",
        "eam list",
        "eam get 192.0.2.77",
        "eam lookup 192.0.2.77",
        "pool show",
        "check",
        "diff",
        "diff 1..2",
        "history",
        "ports",
        "routes",
        "neighbors",
        "workers",
        "counters",
        "explain --src 203.0.113.50 --dst 192.0.2.1",
        "version",
    ] {
        let human = lab.good(verb);
        let json = lab.good(&format!("--json {verb}"));
        let numbers = numbers(&json);
        for line in human.lines().filter(|line| !line.starts_with("relay ")) {
            for number in self::numbers(line) {
                let share = number.parse::<f64>().map(|number| (number / 100.0).to_string());
                // A share is shown as percent, and a count of what is listed is the length of a list.
                let known = numbers.contains(&number)
                    || share.is_ok_and(|share| numbers.contains(&share))
                    || (verb == "check" && number.len() == 1);
                assert!(known, "{verb}: {number} of {line:?} is not in {json}");
            }
        }
    }
}

/// The numbers in a text, those of addresses included; 25.0 counts as 25.
fn numbers(text: &str) -> BTreeSet<String> {
    let parts = text.split(|mark: char| !mark.is_ascii_alphanumeric() && mark != '.' && mark != ':');
    let parts = parts.map(|part| part.trim_start_matches(':'));
    let numbers = parts.filter(|part| part.starts_with(|first: char| first.is_ascii_digit()));
    numbers.map(|number| number.trim_end_matches(['.', ':']).trim_end_matches(".0").to_owned()).collect()
}

#[test]
fn mappings_are_added_listed_and_removed() {
    let lab = Lab::new();
    let out = lab.good("eam add 192.0.2.1 2001:db8::1 --comment 'web, one'");
    assert!(out.contains("revision 2: 1 added, 0 removed, 0 changed"), "{out}");
    let list = lab.good("--json eam list");
    let first: Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
    assert_eq!(first["ipv4"], "192.0.2.1/32");
    assert_eq!(first["ipv6"], "2001:db8::1/128");
    assert_eq!((&first["owner"], &first["comment"]), (&"store".into(), &"web, one".into()));
    assert_eq!(list.lines().count(), 2, "one object a line: {list}");
    let human = lab.good("eam list");
    assert!(human.lines().next().unwrap().starts_with("IPV4"), "{human}");
    assert!(human.contains("file:eams.csv:3"), "{human}");
    assert_eq!(lab.good("--json eam list --owner store").lines().count(), 1);
    assert_eq!(lab.good("--json eam list --within 192.0.2.8/29").lines().count(), 1);
    assert_eq!(lab.good("--json eam list --within 2001:db8:f::/48").lines().count(), 1);
    assert_eq!(lab.good("--json eam list --limit 1").lines().count(), 1);
    let same = lab.good("eam add 192.0.2.1 2001:db8::1");
    assert!(same.contains("revision 2 as before"), "twice is once: {same}");
    assert_eq!(lab.json("eam get 2001:db8::1")["ipv4"], "192.0.2.1/32");
    let changed = lab.good("eam add 192.0.2.1 2001:db8::5 --replace");
    assert!(changed.contains("1 changed"), "{changed}");
    assert_eq!(lab.json("eam get 192.0.2.1")["comment"], "web, one", "the note stays");
    lab.good("eam remove 2001:db8::5");
    assert_eq!(lab.good("--json eam list --owner store"), "");
}

#[test]
fn what_is_refused_names_the_mapping_and_the_remedy() {
    let lab = Lab::new();
    lab.good("eam add 192.0.2.1 2001:db8::1");
    for (line, words) in [
        ("eam add 192.0.2.1 2001:db8::2", &["192.0.2.1/32", "2001:db8::1", "--replace"][..]),
        ("eam add 192.0.2.2 2001:db8::1", &["IPv6 prefix is also in 192.0.2.1/32"]),
        (
            "eam add 192.0.2.300 2001:db8::2",
            &["192.0.2.300", "is not an IPv4 address or prefix", "write it as"],
        ),
        ("eam add 192.0.2.2 2001:db8::g", &["2001:db8::g", "is not an IPv6 address"]),
        ("eam add 192.0.2.2/24 2001:db8::/120", &["write 192.0.2.0/24"]),
        ("eam add 192.0.2.0/24 2001:db8::/127", &["more IPv4 than IPv6"]),
        ("eam add 224.0.0.1 2001:db8::2", &["224.0.0.1", "no unicast"]),
        ("eam add --auto 2001:db8::/64", &["no single address"]),
        ("eam remove 192.0.2.9", &["192.0.2.9", "not mapped", "eam list"]),
        ("eam remove 192.0.2.10", &["eams.csv, line 3", "reload"]),
        ("eam add 192.0.2.10 2001:db8::9 --replace", &["eams.csv, line 3"]),
        ("eam get 192.0.2.9", &["not mapped", "lookup"]),
        ("rollback 99", &["99", "history"]),
        ("diff 99", &["99"]),
        ("confirm", &["nothing awaits confirmation"]),
        ("commit", &["nothing is staged", "--stage"]),
        ("eam import nowhere.csv", &["nowhere.csv", "No such file"]),
        ("eam add 192.0.2.2 2001:db8::2 --on 1", &["revision 1", "uid", "--on"]),
    ] {
        let text = lab.refused(line);
        for word in words {
            assert!(text.contains(word), "{line}: {word:?} is missing in {text}");
        }
        let json = lab.run(&format!("--json {line}"));
        let refusal: Value = serde_json::from_str(&json.err).unwrap_or_else(|_| panic!("{line}: {json:?}"));
        assert_eq!(json.status, 1);
        assert!(refusal["message"].is_string() && refusal["remedy"].is_string(), "{refusal}");
        assert_eq!(json.out, "");
    }
}

#[test]
fn wrong_usage_is_two() {
    let lab = Lab::new();
    for line in [
        "",
        "nonsense",
        "eam",
        "eam add 192.0.2.1",
        "eam add --auto 192.0.2.1 2001:db8::1",
        "eam add 192.0.2.1 2001:db8::1 --confirm-within soon",
        "eam add 192.0.2.1 2001:db8::1 --stage --confirm-within 60s",
        "eam lookup nobody",
        "diff 3-5",
        "rollback",
        "history --limit many",
        "status --watch 0",
    ] {
        let run = lab.run(line);
        assert_eq!(run.status, 2, "{line}: {run:?}");
        assert!(!run.err.is_empty());
    }
}

#[test]
fn without_a_relay_the_reason_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.sock");
    let gone = run(&socket, directory.path(), "status", "");
    assert_eq!(gone.status, 1);
    assert!(gone.err.contains("none.sock") && gone.err.contains("[control]"), "{gone:?}");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let dead = run(&socket, directory.path(), "status", "");
    assert!(dead.err.contains("has died"), "{dead:?}");
}

#[test]
fn staged_changes_wait_for_a_commit() {
    let lab = Lab::new();
    assert_eq!(lab.good("diff"), "nothing is staged\n");
    lab.good("eam add 192.0.2.1 2001:db8::1 --stage");
    let staged = lab.good("eam add --auto 2001:db8::2 --stage");
    assert!(staged.contains("192.0.2.2/32 = 2001:db8::2/128") && staged.contains("staged"), "{staged}");
    assert_eq!(lab.good("--json eam list --owner store"), "", "not yet");
    let diff = lab.good("diff");
    assert!(diff.contains("+ 192.0.2.1/32 = 2001:db8::1/128") && diff.contains("2 added"), "{diff}");
    assert!(
        lab.good("check").contains("3 mappings with the staged changes: 0 problems"),
        "that of the file is one"
    );
    let committed = lab.good("commit --comment 'two at once'");
    assert!(committed.contains("revision 2: 2 added"), "{committed}");
    assert_eq!(lab.good("diff"), "nothing is staged\n");
    lab.good("eam remove 192.0.2.1 --stage");
    assert!(lab.good("discard").contains("1 removed"));
    assert_eq!(lab.good("discard"), "nothing was staged\n");
    lab.refused("commit");
}

#[test]
fn a_candidate_on_an_old_view_is_refused_until_it_was_looked_at() {
    let lab = Lab::new();
    lab.good("eam add 192.0.2.1 2001:db8::1 --stage");
    lab.good("eam add 192.0.2.2 2001:db8::2 --comment 'the faster one'");
    let text = lab.refused("commit");
    assert!(text.contains("the faster one") && text.contains("uid"), "{text}");
    let diff = lab.good("diff");
    assert!(diff.contains("borderctl commit --on 2"), "{diff}");
    assert!(lab.good("commit --on 2").contains("revision 3: 1 added"));
}

#[test]
fn the_way_back_is_a_revision_of_its_own() {
    let lab = Lab::new();
    lab.good("eam add 192.0.2.1 2001:db8::1 --comment first");
    lab.good("eam remove 192.0.2.1");
    lab.good("rollback 2 --comment 'it was needed'");
    assert_eq!(lab.json("eam get 192.0.2.1")["comment"], "first");
    let history = lab.json("history");
    let revisions = history.as_array().unwrap();
    let ids: Vec<_> = revisions.iter().map(|revision| revision["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [4, 3, 2, 1], "newest first");
    for field in ["id", "parent", "time", "uid", "comment", "added", "removed", "changed", "digest", "state"]
    {
        assert!(!revisions[0][field].is_null(), "{field} is missing in {}", revisions[0]);
    }
    assert_eq!(revisions[0]["digest"], revisions[2]["digest"], "the same table, the same digest");
    assert_eq!(revisions[0]["comment"], "it was needed");
    assert_eq!(revisions[0]["state"], "active");
    assert_eq!(lab.json("history --limit 1 --before 3")[0]["id"], 2);
    let diff = lab.good("diff 2..3");
    assert!(diff.contains("- 192.0.2.1/32 = 2001:db8::1/128  first"), "{diff}");
    assert!(lab.good("history").contains("rollback to 2"));
}

#[test]
fn what_nobody_confirms_is_undone() {
    let lab = Lab::new();
    let out = lab.good("eam add 192.0.2.1 2001:db8::1 --confirm-within 1s");
    assert!(out.contains("unless confirmed"), "{out}");
    let started = Instant::now();
    while lab.run("eam get 192.0.2.1").status == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "still there");
        thread::sleep(Duration::from_millis(50));
    }
    let history = lab.json("history");
    assert_eq!((&history[0]["kind"], &history[1]["state"]), (&"not_confirmed".into(), &"reverted".into()));
    assert!(lab.json("status")["revision"]["pending_until"].is_null());
}

#[test]
fn what_is_confirmed_stays() {
    let lab = Lab::new();
    lab.good("eam add 192.0.2.1 2001:db8::1 --confirm-within 1h");
    assert!(lab.json("status")["revision"]["pending_until"].is_string());
    assert!(lab.good("status").contains("borderctl confirm"));
    assert_eq!(lab.good("confirm").trim(), "revision 2 stays");
    assert!(lab.json("status")["revision"]["pending_until"].is_null());
    assert!(!lab.json("history")[0]["confirmed"].is_null());
    assert!(lab.good("confirm 2").contains("revision 2 stays: it was confirmed before, at 20"));
    assert_eq!(lab.json("confirm 2")["state"], "active");
    // What never waited is nothing to confirm, whoever waits.
    assert!(lab.refused("confirm").contains("nothing awaits confirmation"));
    assert!(lab.refused("confirm 1").contains("revision 1"));
    assert!(lab.good("eam add 192.0.2.2 2001:db8::2 --confirm-within 1h").contains("borderctl confirm 3"));
    assert!(lab.refused("confirm 1").contains("revision 1"));
    assert!(lab.good("confirm 2").contains("confirmed before"));
    assert_eq!(lab.json("history")[0]["state"], "pending");
    assert_eq!(lab.run("eam get 192.0.2.1").status, 0);
}

#[test]
fn addresses_are_looked_up() {
    let lab = Lab::new();
    lab.good("eam add 192.0.2.16/28 2001:db8:1::/124");
    lab.good("eam add 192.0.2.17 2001:db8:2::17");
    let lookup = lab.json("eam lookup 192.0.2.17");
    assert_eq!(lookup["translated"], "2001:db8:2::17");
    assert_eq!(lookup["shadowed"][0]["ipv4"], "192.0.2.16/28");
    assert_eq!(lab.json("eam lookup 192.0.2.18")["translated"], "2001:db8:1::2");
    assert_eq!(lab.json("eam lookup 2001:db8:1::3")["translated"], "192.0.2.19");
    assert!(lab.good("eam lookup 192.0.2.200").contains("free address of the service pool"));
    assert_eq!(lab.json("eam lookup 198.51.100.1")["translated"], "2001:db8:46::c633:6401");
    assert!(lab.good("eam lookup 2001:db8:9::1").contains("nothing translates"));
}

#[test]
fn pools_say_what_is_free() {
    let lab = Lab::new();
    lab.good("eam add 192.0.2.16/28 2001:db8:1::/124");
    let pool = &lab.json("pool show")["pools"][0];
    assert_eq!((&pool["addresses"], &pool["used"], &pool["free"]), (&256.into(), &17.into(), &239.into()));
    assert!(lab.good("pool show").contains("192.0.2.0/24"));
}

#[test]
fn concurrent_callers_of_auto_get_addresses_of_their_own() {
    let lab = Lab::new();
    let lab = &lab;
    let got: BTreeSet<String> = thread::scope(|scope| {
        let callers: Vec<_> = (1..=8)
            .map(|number| scope.spawn(move || lab.json(&format!("eam add --auto 2001:db8::{number}"))))
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()["allocated"][0]["ipv4"].to_string()).collect()
    });
    assert_eq!(got.len(), 8, "{got:?}");
}

#[test]
fn the_machine_is_shown() {
    let lab = Lab::new();
    for (verb, words) in [
        ("ports", &["bl-v4", "net_null", "10000", "02:00:00:00:00:01"][..]),
        ("workers", &["25.0 %", "3000"]),
        ("routes", &["0.0.0.0/0", "203.0.113.254", "bl-v4", "1400"]),
        ("neighbors", &["203.0.113.254", "02:00:00:00:00:02", "reachable"]),
        ("counters", &["dropped.ttl_exceeded", "workers.0.sent"]),
        ("version", &["borderctl", "relay", "build fake", "API v1"]),
        ("reload", &["reloaded, 1 mapping"]),
    ] {
        let human = lab.good(verb);
        for word in words {
            assert!(human.contains(word), "{verb}: {word} is missing in {human}");
        }
        assert!(lab.json(verb).is_object());
    }
    let events = lab.good("events --count 1");
    assert_eq!(events, "revision 1 is in force\n");
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let lab = Lab::new();
    let rows: String =
        (0..20_000).map(|n| format!("10.0.{}.{},2001:db8::{n:x}\n", n / 256, n % 256)).collect();
    lab.write("many.csv", rows);
    lab.good("eam import many.csv");
    let shell =
        format!("{} --socket {} eam list | head -1", env!("CARGO_BIN_EXE_borderctl"), lab.socket.display());
    let output = std::process::Command::new("bash").args(["-o", "pipefail", "-c", &shell]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_packet_is_explained_for_people_and_programs() {
    let lab = Lab::new();
    let human = lab.good("explain --src 203.0.113.50 --dst 192.0.2.1 --port v4");
    for words in [
        " 1  destination  2001:db8:12:34::1: 192.0.2.1 becomes 2001:db8:12:34::1",
        "by 192.0.2.1/32 = 2001:db8:12:34::1/128  [relay.toml, line 18]",
        "before 192.0.2.0/24 = 2001:db8:12:34::/120  [store]",
        "RFC 7757 3.3.1",
        "ip.hop_limit  64      63",
        "in        45000028",
        "counters  translated_v4_to_v6 +1",
        "verdict   translated",
    ] {
        assert!(human.contains(words), "{words:?} is missing in\n{human}");
    }
    let json = lab.json("explain --hex 45000028");
    assert_eq!((&json["verdict"], &json["in"]), (&"translated".into(), &"45000028".into()));
    assert_eq!(json["phases"][0]["name"], "destination");
    for wrong in [
        "explain",
        "explain --src 203.0.113.50",
        "explain --hex 45 --src 203.0.113.50 --dst 192.0.2.1",
        "explain --hex 45 --ttl 7",
        "explain --pcap /nowhere.pcap",
    ] {
        let output = lab.run(wrong);
        assert_eq!(output.status, 2, "{wrong}: {}{}", output.out, output.err);
    }
}
