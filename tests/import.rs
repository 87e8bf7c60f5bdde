//! `borderline import`: configurations of other translators, and that each becomes one of ours that can be used.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::fs;

use tempfile::TempDir;

use common::Run;

/// Imports a text.
fn import(from: &str, text: &str, more: &[&str]) -> Run {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("theirs");
    fs::write(&path, text).unwrap();
    let mut arguments = vec!["import".to_owned(), "--from".to_owned(), from.to_owned()];
    arguments.extend(more.iter().map(ToString::to_string));
    arguments.push(path.to_str().unwrap().to_owned());
    Run::borderline(arguments)
}

/// Imports a text; the result passes `borderline check` and has these lines.
#[track_caller]
fn becomes(from: &str, text: &str, lines: &[&str], not: &[&str]) {
    let run = import(from, text, &["--check"]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    for line in lines {
        assert!(run.stdout.contains(line), "{line:?} is not in\n{}", run.stdout);
    }
    for line in not {
        assert!(!run.stdout.contains(line), "{line:?} is in\n{}", run.stdout);
    }
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("relay.toml");
    fs::write(&path, &run.stdout).unwrap();
    let check = Run::borderline(["check", "--config", path.to_str().unwrap()]);
    assert_eq!(check.status, Some(0), "{check:#?}");
}

#[test]
fn both_names_of_jools_denylist_count() {
    becomes(
        "jool",
        r#"{"pool6": "2001:db8:64::/96", "denylist4": ["198.51.100.0/30"], "blacklist4": ["10.0.0.0/8"]}"#,
        &["\ndenylist = [\"", "\"198.51.100.0/30\"", "\"10.0.0.0/8\""],
        &[],
    );
}

#[test]
fn jools_json_with_everything() {
    becomes(
        "jool",
        include_str!("../control/tests/config/jool-siit.json"),
        &[
            "\nrole = \"siit\"\nprefixes = [\"64:ff9b::/96\"]\n",
            "\ndenylist = [\"198.51.100.0\", \"198.51.100.32/27\"]\n",
            "\nudp_zero_checksum = \"drop\"\n",
            "\nhairpin = \"intrinsic\"\n",
            "\nmtu_plateaus = [1492, 576]\n",
            "\nicmp_source_choice = \"random\"\n",
            "\nicmp_source_pool = [\"198.51.100.0/28\"]\n",
            "\nwkp_strict = false\n",
            "\n[[eam]]\nipv4 = \"192.0.2.1/32\"\nipv6 = \"2001:db8:2::\"\ncomment = \"load balancer\"\n",
            "# - framework \"netfilter\": packets come from ports",
            "# - instance \"sample\"",
        ],
        &["traffic_class", "type_of_service"],
    );
}

#[test]
fn jools_settings_that_change_something() {
    becomes(
        "jool",
        r#"{"framework": "iptables", "global": {"pool6": null, "lowest-ipv6-mtu": 1500, "zeroize-traffic-class": true,
            "override-tos": true, "tos": 16, "mtu-plateaus": [68, 1492, 40], "amend-udp-checksum-zero": true,
            "eam-hairpin-mode": "simple", "randomize-rfc6791-addresses": false, "manually-enabled": false,
            "rfc6791v6-prefix": "2001:db8:1::/128", "udp-timeout": "0:05:00"},
            "eamt": [{"ipv4 prefix": "192.0.2.1", "ipv6 prefix": "2001:db8::1", "comment": "a \"b\"\nc"}]}"#,
        &[
            "\nprefixes = []\n",
            "\nlowest_ipv6_mtu = 1500\n",
            "\ntraffic_class = 0\n",
            "\ntype_of_service = 16\n",
            "\nmtu_plateaus = [1492, 68]\n",
            "\nudp_zero_checksum = \"compute\"\n",
            "\nhairpin = \"simple\"\n",
            "\nicmp_source_choice = \"hash\"\n",
            "comment = \"a \\\"b\\\"\\u000Ac\"\n",
            "# - manually-enabled false",
            "# - rfc6791v6-prefix 2001:db8:1::/128",
            "# - udp-timeout 0:05:00: a setting of Jool NAT64",
        ],
        &["wkp_strict"],
    );
}

#[test]
fn a_history_of_jool_commands_leaves_what_is_left_at_its_end() {
    becomes(
        "jool",
        "#!/bin/sh\n  501  sudo modprobe jool_siit\n502 jool_siit -i br instance add --netfilter -6 2001:db8:46::/96\n\
         root@br:~# jool_siit -i \"br\" eamt add 192.0.2.1 2001:db8:12:34::1\n\
         /usr/bin/jool_siit -i br eamt add --force 2001:db8:12:34::2/128 192.0.2.2/32   # the second\n\
         eamt add 192.0.2.3 2001:db8:12:34::3\neamt remove 192.0.2.2\njool_siit -i br eamt display\n\
         global update lowest-ipv6-mtu 1500\njool_siit global update mtu-plateaus 1492,576\n\
         jool_siit -i br denylist4 add 198.51.100.0/24\njool_siit -i br denylist4 add 203.0.113.0/24\n\
         jool_siit -i br denylist4 remove 203.0.113.0/24\njool_siit --pool6791 --add 198.51.100.1\n\
         jool_siit -i br global update eam-hairpin-mode off\nsysctl -w net.ipv4.conf.all.forwarding=1\n",
        &[
            "\nprefixes = [\"2001:db8:46::/96\"]\n",
            "\nlowest_ipv6_mtu = 1500\n",
            "\nmtu_plateaus = [1492, 576]\n",
            "\ndenylist = [\"198.51.100.0/24\"]\n",
            "\nicmp_source_pool = [\"198.51.100.1\"]\n",
            "\nhairpin = \"off\"\n",
            "ipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8:12:34::1\"\n",
            "ipv4 = \"192.0.2.3\"\nipv6 = \"2001:db8:12:34::3\"\n",
            "# - line 16 is for Linux, if it is still needed: sysctl",
        ],
        &["192.0.2.2"],
    );
}

#[test]
fn a_tayga_configuration_with_everything() {
    becomes(
        "tayga",
        "tun-device nat64\nipv4-addr 198.51.100.1  # ours\nipv6-addr 2001:db8:ff::1\nprefix 64:ff9b::/96\nwkpf-strict no\n\
         map 192.0.2.1 2001:db8:12:34::1\nMAP\t192.0.2.16/28 2001:db8:12:35::/124\ndynamic-pool 192.168.255.0/24\n\
         data-dir /var/spool/tayga\nstrict-frag-hdr on\nudp-cksum-mode fwd\nofflink-mtu 1400\nlog drop reject\ntun-up yes\n",
        &[
            "\nprefixes = [\"64:ff9b::/96\"]\n",
            "\nicmp_source_pool = [\"198.51.100.1\"]\n",
            "\nwkp_strict = false\n",
            "\nudp_zero_checksum = \"forward\"\n",
            "\nlowest_ipv6_mtu = 1400\n",
            "\nfragment_df = \"ignore\"\n",
            "ipv4 = \"192.0.2.16/28\"\nipv6 = \"2001:db8:12:35::/124\"\n",
            "# - dynamic-pool 192.168.255.0/24",
            "# - strict-frag-hdr on",
            "# - data-dir /var/spool/tayga",
        ],
        &[],
    );
}

#[test]
fn a_clatd_configuration_is_an_edge_relay() {
    becomes(
        "clatd",
        "# Edge Relay\nquiet=1\nclat-v4-addr=192.0.2.4\nclat-v6-addr=2001:db8:12:34::4\nplat-prefix=2001:db8:46::/96\n\
         v4-defaultroute-mtu=1480\nscript-up=echo a = b\ncmd-ip=/sbin/ip\n",
        &[
            "\nrole = \"er\"\nprefixes = [\"2001:db8:46::/96\"]\n",
            "\ner_addresses = [\"2001:db8:12:34::4\"]\n",
            "ipv4 = \"192.0.2.4\"\nipv6 = \"2001:db8:12:34::4\"\n",
            "# - script-up=echo a = b",
        ],
        &["TO DO: clatd"],
    );
    becomes("clatd", "", &["# - TO DO: clatd made up its IPv6 address", "# - TO DO: clatd asked DNS64"], &[]);
}

#[test]
fn lines_that_cannot_be_read_are_named() {
    for (from, text, message) in [
        ("tayga", "tun-device nat64\ncolour blue\n", "theirs:2: TAYGA has no directive \"colour\""),
        ("tayga", "map 192.0.2.1\n", "theirs:1: map takes an IPv4 and an IPv6 prefix"),
        ("clatd", "\nplat-prefix\n", "theirs:2: not a line `key=value`: plat-prefix"),
        ("clatd", "colour=blue\n", "theirs:1: clatd has no key \"colour\""),
        ("jool", "{\n\"global\": {\n\"colour\": 1}}", "theirs:3: Jool SIIT has no setting \"colour\""),
        ("jool", "{\n\"eamt\": [{]}", "theirs:2: not JSON: "),
        ("jool", "{\"eamt\": [{\"ipv4 prefix\": \"192.0.2.1\"}]}", "theirs:1: row 1 of `eamt` has not both"),
        ("jool", "{\n\"colour\": 1}", "theirs:2: Jool SIIT has no \"colour\""),
        ("jool", "eamt add 192.0.2.1 192.0.2.2\n", "theirs:1: one IPv4 and one IPv6 prefix are expected"),
        ("jool", "\nfrobnicate\n", "theirs:2: not a jool_siit command: frobnicate"),
        ("jool", "eamt remove 192.0.2.1\n", "theirs:1: no mapping was added with 192.0.2.1"),
        (
            "jool",
            "jool_siit -i a eamt display\njool_siit -i b eamt display\n",
            "theirs:2: instance \"b\" after \"a\"",
        ),
    ] {
        import(from, text, &[]).failed_with(2, &[message]);
    }
}

#[test]
fn check_judges_the_result() {
    let run = import("tayga", "map 192.0.2.1/24 2001:db8::1\n", &["--check"]);
    run.failed_with(2, &["imported.toml:", "bits are set after the prefix length"]);
    assert!(run.stdout.contains("[[eam]]"));
}

#[test]
fn names_of_others_in_our_file_get_an_answer() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("relay.toml");
    let text = "pool6 = \"64:ff9b::/96\"\n[translation]\nprefixes = [\"2001:db8:46::/96\"]\neam-hairpin-mode = \"off\"\n\
                dynamic-pool = \"192.0.2.0/24\"\n";
    fs::write(&path, text).unwrap();
    let check = Run::borderline(["check", "--config", path.to_str().unwrap()]);
    check.failed_with(
        2,
        &[
            "pool6: unknown key; it is Jool's name; set translation.prefixes",
            "translation.eam-hairpin-mode: unknown key; it is Jool's name; set translation.hairpin",
            "translation.dynamic-pool: unknown key; it is TAYGA's name; nothing here corresponds to it, remove it",
        ],
    );
}
