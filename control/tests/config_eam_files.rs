//! EAM files: CSV and Jool's JSON, good rows and bad ones.

use std::fs;
use std::path::Path;

use control::config::{Eam, Eams, TranslateConfig};

const TABLE: &str =
    "[translation]\nprefixes = [\"2001:db8:46::/96\"]\nicmp_source_pool = [\"203.0.113.1\"]\n";

/// Loads `content` as the EAM file `name`: its rows and warnings, or its problems, without the directory.
fn load(name: &str, content: impl AsRef<[u8]>) -> Result<(Eams, Vec<String>), Vec<String>> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join(name), content).expect("a writable directory");
    let path = directory.path().join("relay.toml");
    fs::write(&path, format!("eam_files = [\"{name}\"]\n{TABLE}")).expect("a writable directory");
    let prefix = format!("{}/", directory.path().display());
    let text = |finding: &dyn ToString| finding.to_string().replace(&prefix, "");
    match TranslateConfig::load(&path) {
        Ok((config, warnings)) => Ok((config.eams, warnings.iter().map(|warning| text(warning)).collect())),
        Err(problems) => Err(problems.iter().map(|problem| text(problem)).collect()),
    }
}

fn pairs(eams: &Eams) -> Vec<(u32, String)> {
    let text = |(row, eam): (usize, &Eam)| (eams.place(row).line, format!("{} {}", eam.ipv4, eam.ipv6));
    eams.iter().enumerate().map(text).collect()
}

fn pair(line: u32, text: &str) -> (u32, String) {
    (line, text.to_owned())
}

#[test]
fn csv_rows_comments_header_and_quotes() {
    let (eams, warnings) = load(
        "eams.csv",
        "# our table\r\n\r\nipv4,ipv6,comment\r\n192.0.2.1,2001:db8:12:34::1\r\n \
         192.0.2.2/32 , 2001:db8:12:34::2/128 , mail, \r\n"
            .replace("mail, ", "mail")
            + "\"192.0.2.3\",\"2001:db8::3\",\"say \"\"hi\"\", twice\"\n\n# more\n192.0.2.16/28,2001:db8:cccc::/124,\n",
    )
    .unwrap();
    assert_eq!(
        pairs(&eams),
        [
            pair(4, "192.0.2.1/32 2001:db8:12:34::1/128"),
            pair(5, "192.0.2.2/32 2001:db8:12:34::2/128"),
            pair(6, "192.0.2.3/32 2001:db8::3/128"),
            pair(9, "192.0.2.16/28 2001:db8:cccc::/124"),
        ]
    );
    let comments: Vec<Option<&str>> = (0..eams.len()).map(|row| eams.comment(row)).collect();
    assert_eq!(comments, [None, Some("mail"), Some("say \"hi\", twice"), None]);
    assert_eq!(warnings, [] as [String; 0]);
}

#[test]
fn csv_may_have_a_byte_order_mark_and_no_last_line_break() {
    let (eams, _) = load("eams.csv", "\u{feff}IPv4,IPv6\n192.0.2.1,2001:db8::1").unwrap();
    assert_eq!(pairs(&eams), [pair(2, "192.0.2.1/32 2001:db8::1/128")]);
}

/// One row of each table the crate `eamfile` knows; its own tests have the rest.
#[test]
fn separators_columns_and_headers_of_other_tools_are_taken() {
    for (content, line) in [
        ("IPv6 Prefix,IPv4 Prefix\n2001:db8::1/128,192.0.2.1/32\n", 2),
        ("\u{feff}sep=;\r\nipv4;ipv6\r\n192.0.2.1;2001:db8::1;www\r\n", 3),
        ("192.0.2.1\t2001:db8::1\n", 1),
        ("map 192.0.2.1 2001:db8::1 # www\n", 1),
    ] {
        let (eams, _) = load("eams", content).unwrap();
        assert_eq!(pairs(&eams), [pair(line, "192.0.2.1/32 2001:db8::1/128")], "{content:?}");
    }
}

#[test]
fn every_bad_row_is_reported_and_the_rest_still_checked() {
    let content = b"ipv4,ipv6
192.0.2.1/24,2001:db8::/120
192.0.2.1
192.0.2.2,2001:db8::2,a,b
2001:db8::3,192.0.2.3
\"192.0.2.4,2001:db8::4
192.0.2.5;2001:db8::5
192.0.2.0/24,2001:db8::/121
ipv4,ipv6
192.0.2.6,2001:db8::zz
\xff\xff
10.0.0.1,2001:db8::a
10.0.0.1,2001:db8::b
";
    let expected = [
        "eams.csv:2:1: ipv4 = \"192.0.2.1/24\": bits are set after the prefix length; write 192.0.2.0/24",
        "eams.csv:3:1: fields found: 1, separator seen: none; write `192.0.2.1,2001:db8::1`",
        "eams.csv:4:1: fields found: 4, separator seen: comma; write `192.0.2.2,2001:db8::2,a b`",
        "eams.csv:6:1: unbalanced quotes, separator seen: comma; write",
        "eams.csv:8:1: eam = 192.0.2.0/24 2001:db8::/121: the IPv4 suffix of 8 bits is longer",
        "eams.csv:9:1: ipv4 = \"ipv4\": not an IPv4 prefix",
        "eams.csv:9:1: ipv6 = \"ipv6\": not an IPv6 prefix",
        "eams.csv:10:1: ipv6 = \"2001:db8::zz\": not an IPv6 prefix",
        "eams.csv:11:1: not UTF-8 text",
        "eams.csv:13:1: eam = 10.0.0.1/32 2001:db8::b/128: its IPv4 prefix is already mapped by EAM 10.0.0.1/32 \
         2001:db8::a/128 (eams.csv:12)",
    ];
    let problems = load("eams.csv", content).expect_err("bad rows");
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{expected:?} does not begin {problem}");
    }
}

#[test]
fn a_jool_file_gives_its_eamt_and_says_what_it_leaves_behind() {
    let content = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/jool-siit.json"));
    let (eams, warnings) = load("jool.json", content.unwrap()).unwrap();
    assert_eq!(
        pairs(&eams),
        [
            pair(23, "192.0.2.0/32 2001:db8:1::/128"),
            pair(28, "192.0.2.1/32 2001:db8:2::/128"),
            pair(31, "192.0.2.16/28 2001:db8:3::/124"),
        ]
    );
    assert_eq!(eams.comment(1), Some("load balancer"));
    let expected = [
        (6, "manually-enabled: not taken from a Jool file; nothing here corresponds to it"),
        (7, "pool6: not taken from a Jool file; set translation.prefixes"),
        (8, "lowest-ipv6-mtu: not taken from a Jool file; set translation.lowest_ipv6_mtu"),
        (9, "zeroize-traffic-class: not taken from a Jool file; set translation.traffic_class = 0"),
        (10, "override-tos: not taken from a Jool file; set translation.type_of_service"),
        (11, "tos: not taken from a Jool file; set translation.type_of_service"),
        (12, "mtu-plateaus: not taken from a Jool file; set translation.mtu_plateaus"),
        (
            13,
            "amend-udp-checksum-zero: not taken from a Jool file; set translation.udp_zero_checksum = \"compute\"",
        ),
        (14, "eam-hairpin-mode: not taken from a Jool file; set translation.hairpin"),
        (15, "randomize-rfc6791-addresses: not taken from a Jool file; set translation.icmp_source_choice"),
        (17, "rfc6791v4-prefix: not taken from a Jool file; set translation.icmp_source_pool"),
        (37, "denylist4: not taken from a Jool file; set translation.denylist"),
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, (line, text)) in warnings.iter().zip(expected) {
        assert!(
            warning.starts_with(&format!("jool.json:{line}:")) && warning.ends_with(text),
            "{text:?}: {warning}"
        );
    }
}

#[test]
fn bad_rows_of_a_jool_file_are_reported_one_by_one() {
    let content = r#"{
  "framework": "netfilter",
  "eamt": [
    { "ipv6 prefix": "2001:db8::1", "ipv4 prefix": "192.0.2.1/24" },
    { "ipv6 prefix": "2001:db8::2" },
    7,
    { "ipv6 prefix": 6, "ipv4 prefix": "192.0.2.3" },
    { "ipv6 prefix": "2001:db8::4", "ipv4 prefix": "192.0.2.4", "name": "x" },
    { "ipv6 prefix": "2001:db8::4", "ipv4 prefix": "192.0.2.5" }
  ]
}"#;
    let problems = load("jool.json", content).expect_err("bad rows");
    let expected = [
        "jool.json:4:5: ipv4 prefix = \"192.0.2.1/24\": bits are set",
        "jool.json:5:5: ipv4 prefix: missing; add `\"ipv4 prefix\": \"192.0.2.1\"`",
        "jool.json:6:5: not the JSON of a Jool SIIT configuration: invalid type: integer `7`, expected an object",
        "jool.json:7:22: not the JSON of a Jool SIIT configuration: invalid type: integer `6`, expected a string",
        "jool.json:9:5: eam = 192.0.2.5/32 2001:db8::4/128: its IPv6 prefix is already mapped",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{expected:?} does not begin {problem}");
    }
}

#[test]
fn broken_json_is_one_problem_with_its_place() {
    let cases = [
        ("{\n  \"eamt\": [\n", "jool.json:3:", "EOF while parsing"),
        ("{\n  \"eamt\": [ { \"ipv4 prefix\" \"x\" } ]\n}", "jool.json:2:", "expected `:`"),
        ("{ \"eamt\": {} }", "jool.json:1:11: ", "invalid type: map, expected a sequence"),
        ("{ \"eamt\": [] } x", "jool.json:1:16: ", "trailing characters"),
        ("{ \"global\": {} }", "jool.json: ", "no `eamt` in this Jool configuration"),
    ];
    for (content, place, message) in cases {
        let problems = load("jool.json", content).expect_err("broken");
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(
            problems[0].starts_with(place) && problems[0].contains(message),
            "{message:?}: {}",
            problems[0]
        );
    }
}

#[test]
fn a_file_named_twice_or_missing_is_a_problem_of_the_list() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.toml");
    fs::write(directory.path().join("a.csv"), "192.0.2.1,2001:db8::1\n").unwrap();
    fs::write(&path, format!("eam_files = [\"a.csv\", \"a.csv\", \"b.csv\"]\n{TABLE}")).unwrap();
    let problems = TranslateConfig::load(&path).expect_err("wrong list");
    let keys: Vec<(u32, u32)> =
        problems.iter().map(|problem| (problem.place.line, problem.place.column)).collect();
    assert_eq!(keys, [(1, 23), (1, 32)], "{problems}");
}

#[test]
fn rows_of_several_files_are_compared_with_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.toml");
    fs::write(directory.path().join("a.csv"), "192.0.2.1,2001:db8::1\n").unwrap();
    fs::write(directory.path().join("b.csv"), "\n192.0.2.1,2001:db8::2\n").unwrap();
    fs::write(&path, format!("eam_files = [\"a.csv\", \"b.csv\"]\n{TABLE}")).unwrap();
    let problems = TranslateConfig::load(&path).expect_err("a duplicate").to_string();
    assert!(
        problems.contains("b.csv:2:1: eam = 192.0.2.1/32 2001:db8::2/128: its IPv4 prefix is already mapped")
    );
    assert!(problems.contains("a.csv:1)"), "{problems}");
}
