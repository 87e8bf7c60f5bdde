//! Files of others, in and out.

use crate::lab::{Lab, run};

const ROWS: [&str; 3] =
    ["192.0.2.1/32 2001:db8::1/128 web", "192.0.2.2/32 2001:db8::2/128 ", "192.0.2.16/28 2001:db8:1::/124 "];

/// What the store has, a line each.
#[track_caller]
fn stored(lab: &Lab) -> Vec<String> {
    let list = lab.good("--json eam list --owner store");
    let text = |entry: &serde_json::Value, field: &str| entry[field].as_str().unwrap().to_owned();
    list.lines()
        .map(|line| {
            let entry = serde_json::from_str(line).unwrap();
            format!("{} {} {}", text(&entry, "ipv4"), text(&entry, "ipv6"), text(&entry, "comment"))
        })
        .collect()
}

#[test]
fn every_format_comes_to_the_same() {
    for (name, text) in [
        (
            "comma.csv",
            "ipv4,ipv6,comment\n192.0.2.1,2001:db8::1,web\n192.0.2.2,2001:db8::2\n192.0.2.16/28,2001:db8:1::/124\n",
        ),
        (
            "semicolon.csv",
            "\u{feff}2001:db8::1;192.0.2.1;web\r\n2001:db8::2;192.0.2.2\r\n2001:db8:1::/124;192.0.2.16/28\r\n",
        ),
        ("tab.csv", "192.0.2.1\t2001:db8::1\tweb\n192.0.2.2\t2001:db8::2\n192.0.2.16/28\t2001:db8:1::/124\n"),
        (
            "eamt.csv",
            "IPv6 Prefix,IPv4 Prefix,Comment\n2001:db8::1/128,192.0.2.1/32,web\n2001:db8::2/128,192.0.2.2/32,\n2001:db8:1::/124,192.0.2.16/28,\n",
        ),
        (
            "jool.json",
            "{\"instance\": \"x\", \"framework\": \"netfilter\", \"eamt\": [\n\
             {\"ipv6 prefix\": \"2001:db8::1/128\", \"ipv4 prefix\": \"192.0.2.1/32\", \"comment\": \"web\"},\n\
             {\"ipv6 prefix\": \"2001:db8::2\", \"ipv4 prefix\": \"192.0.2.2\"},\n\
             {\"ipv6 prefix\": \"2001:db8:1::/124\", \"ipv4 prefix\": \"192.0.2.16/28\"}]}",
        ),
        (
            "tayga.conf",
            "tun-device nat64\nipv4-addr 192.168.255.1\nprefix 2001:db8:46::/96\nmap 192.0.2.1 2001:db8::1 # web\n\
             map 192.0.2.2 2001:db8::2\nmap 192.0.2.16/28 2001:db8:1::/124\n",
        ),
        (
            "lines",
            "{\"ipv4\":\"192.0.2.1\",\"ipv6\":\"2001:db8::1\",\"comment\":\"web\"}\n\
             {\"ipv4\":\"192.0.2.2\",\"ipv6\":\"2001:db8::2\"}\n{\"ipv4\":\"192.0.2.16/28\",\"ipv6\":\"2001:db8:1::/124\"}\n",
        ),
    ] {
        let lab = Lab::new();
        lab.write(name, text);
        let out = lab.good(&format!("eam import {name}"));
        assert!(out.contains("3 added"), "{name}: {out}");
        assert_eq!(stored(&lab), ROWS, "{name}");
        let again = lab.good(&format!("eam import {name}"));
        assert!(again.contains("3 as before"), "{name}: {again}");
    }
}

#[test]
fn refused_rows_are_named_with_line_value_and_remedy_and_nothing_is_changed() {
    let lab = Lab::new();
    lab.write(
        "bad.csv",
        "ipv4,ipv6\n192.0.2.1,2001:db8::1\n192.0.2.300,2001:db8::2\n192.0.2.3,2001:db8::g\n192.0.2.10,2001:db8::4\n",
    );
    let text = lab.refused("eam import bad.csv");
    for word in ["line 3: 192.0.2.300: is not", "line 4: 2001:db8::g: is not", "write it as"] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
    lab.write("clash.csv", "192.0.2.1,2001:db8::1\n192.0.2.10,2001:db8::4\n192.0.2.3,2001:db8::1\n");
    let text = lab.refused("eam import clash.csv");
    for word in [
        "line 2: 192.0.2.10/32 = 2001:db8::4/128",
        "eams.csv, line 3",
        "--owner store",
        "line 3: 192.0.2.3/32",
    ] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
    lab.write("quote.csv", "192.0.2.1,2001:db8::1\n192.0.2.2,\"2001:db8::2\n");
    let text = lab.refused("eam import quote.csv");
    assert!(text.contains("at line 2") && text.contains("quote"), "{text}");
    lab.write("latin.csv", b"192.0.2.1,2001:db8::1,caf\xe9\n");
    assert!(lab.refused("eam import latin.csv").contains("line 1 is not UTF-8"));
}

#[test]
fn replacing_makes_the_store_what_the_file_is() {
    let lab = Lab::new();
    lab.good("eam add 192.0.2.1 2001:db8::1");
    lab.good("eam add 192.0.2.2 2001:db8::2");
    lab.write("new.csv", "192.0.2.2,2001:db8::2\n192.0.2.3,2001:db8::3\n");
    let staged = lab.good("eam import new.csv --replace --stage");
    assert!(staged.contains("1 added, 1 removed, 0 changed"), "{staged}");
    lab.good("discard");
    lab.good("eam import new.csv --replace");
    assert_eq!(stored(&lab), ["192.0.2.2/32 2001:db8::2/128 ", "192.0.2.3/32 2001:db8::3/128 "]);
}

/// `jool ... | borderctl eam import - --replace`, and the left side failed.
#[test]
fn a_store_is_not_emptied_by_a_file_without_mappings() {
    let lab = Lab::new();
    lab.write("empty.csv", "# nothing\n");
    lab.write("removals", "{\"op\":\"remove\",\"ipv4\":\"192.0.2.1\"}\n");
    lab.good("eam import empty.csv --replace");
    lab.good("eam add 192.0.2.1 2001:db8::1");
    for file in ["empty.csv", "removals", "/dev/null", "empty.csv --stage"] {
        let told = lab.refused(&format!("eam import {file} --replace"));
        assert!(
            told.contains("the file has no mappings") && told.contains("--allow-empty"),
            "{file}: {told}"
        );
    }
    assert!(lab.good("eam import empty.csv --replace --allow-empty").contains("1 removed"));
    assert_eq!(stored(&lab), [""; 0]);
}

/// As docs/operations.md renumbers: every row has another IPv6 address, and some have each other's.
#[test]
fn an_exported_table_is_renumbered_and_imported_again() {
    let lab = Lab::new();
    for number in 1..=3 {
        lab.good(&format!("eam add 192.0.2.{number} 2001:db8::{number} --comment 'server {number}'"));
    }
    lab.good("eam add 192.0.2.4 2001:db8::4 --comment 'goes'");
    let rows =
        "192.0.2.1,2001:db8::2\n192.0.2.2,2001:db8::1\n192.0.2.3,2001:db8::33,moved\n192.0.2.5,2001:db8::3\n";
    let renumbered = [
        "192.0.2.1/32 2001:db8::2/128 server 1",
        "192.0.2.2/32 2001:db8::1/128 server 2",
        "192.0.2.3/32 2001:db8::33/128 moved",
        "192.0.2.5/32 2001:db8::3/128 ",
    ];
    lab.write("eams.csv", rows);
    let staged = lab.good("eam import eams.csv --replace --stage");
    assert!(staged.contains("1 added, 1 removed, 3 changed"), "{staged}");
    // Somebody else is faster, with something that is not in the way.
    lab.good("eam add 192.0.2.9 2001:db8::9");
    let head = lab.json("status")["revision"]["id"].clone();
    lab.good(&format!("commit --on {head}"));
    assert_eq!(stored(&lab), [&renumbered[..], &["192.0.2.9/32 2001:db8::9/128 "]].concat());
    lab.good("eam import eams.csv --replace");
    assert_eq!(stored(&lab), renumbered);
    lab.write("twice.csv", "192.0.2.1,2001:db8::2\n192.0.2.2,2001:db8::1\n192.0.2.2,2001:db8::7\n");
    let twice = lab.refused("eam import twice.csv --replace");
    assert!(twice.contains("192.0.2.2/32 = 2001:db8::7/128") && twice.contains("line 3"), "{twice}");
    // In one command at once, there and back.
    let csv = lab.good("eam export --owner store").replace("2001:db8::", "2001:db8:f::");
    lab.write("eams.csv", csv);
    assert!(lab.good("eam import eams.csv --replace").contains("0 added, 0 removed, 4 changed"));
}

#[test]
fn what_is_exported_can_be_imported() {
    let lab = Lab::new();
    lab.good("eam add 192.0.2.1 2001:db8::1 --comment 'with, comma and \"quotes\"'");
    lab.good("eam add 192.0.2.16/28 2001:db8:1::/124");
    let csv = lab.good("eam export --owner store");
    let lines = lab.good("--json eam list --owner store");
    let all = lab.good("--json eam list");
    for (text, told) in
        [(csv, ""), (lines, ""), (all, "1 mappings are the configuration's and were left out")]
    {
        let other = Lab::new();
        let run = run(&other.socket, other.directory.path(), "eam import - --replace", &text);
        assert!(
            run.status == 0 && run.err.contains(told) && run.err.is_empty() == told.is_empty(),
            "{run:?}"
        );
        assert_eq!(stored(&other), stored(&lab));
    }
}
