//! Another translator, shown what it does otherwise: TAYGA as Debian packages it, with real traffic, under
//! `borderline import` and `borderline compare`.

use std::collections::BTreeSet;
use std::path::Path;

use pktgen_tests::lab::{Cmd, LabError, Need, TestResult, relay_binary, skip_unless};
use serde_json::Value;

const NEEDS: &[Need] = &[
    Need::Root,
    Need::Relay,
    Need::Program("tayga"),
    Need::Program("dumpcap"),
    Need::Program("ping"),
    Need::Program("python3"),
];

/// Where TAYGA 0.9.2 leaves the RFCs with the traffic of `tayga/capture.sh`, and how it comes.
const KNOWN: &[(&str, &str)] = &[
    // DF on whatever goes to IPv4, outside of quotes and in them (RFC 6145).
    ("B2.5", "DF: ours 0, theirs 1"),
    ("B4.22", "quoted DF, fragment offset: ours 0x00, theirs 0x40"),
    // Two mapped hosts cannot talk.
    ("D13", "we translate it, they answered with an ICMP error"),
    // Its own errors have no precedence, and quote less.
    ("I10", "Type of Service: ours 192, theirs 0"),
    ("A6.4", "length of the quote: "),
    ("I15", "length of the quote: "),
    // Pieces of other sizes.
    ("A4.3", "bytes of the pieces: "),
    // A last hop that was spent in front of it, not in it.
    ("B2.6", "we do not translate it (hop_limit_exceeded), they sent something"),
];

fn run(command: Cmd) -> Result<String, LabError> {
    Ok(command.timeout(120).ok()?.stdout)
}

#[test]
#[ignore = "needs root, namespaces, TAYGA and the release binary; scripts/test runs it"]
fn what_tayga_does_otherwise_is_known_and_explained() -> TestResult {
    if skip_unless(NEEDS) {
        return Ok(());
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tayga/capture.sh");
    run(Cmd::new("bash").arg(script.display().to_string()).arg(path("")))?;

    let relay = relay_binary().expect("needed above").display().to_string();
    let toml = run(Cmd::new(&relay).arg("import").arg("--from").arg("tayga").arg(path("tayga.conf")))?;
    std::fs::write(path("relay.toml"), toml).expect("a writable directory");
    let mut compare = Cmd::new(&relay).arg("compare").arg("--config").arg(path("relay.toml"));
    for (option, value) in [("--before", path("tun.pcapng")), ("--after", path("tun.pcapng"))] {
        compare = compare.arg(option).arg(value);
    }
    let shape = ["--ipv4-address", "192.0.2.254", "--ipv6-address", "2001:db8:ff::254", "--json"];
    let text = run(shape.into_iter().fold(compare, Cmd::arg))?;
    let report: Value = serde_json::from_str(&text).expect("JSON");

    let count = |name: &str| report["counts"][name].as_u64().expect("a count");
    assert_eq!((count("missing"), count("extra"), count("unread")), (0, 0, 0), "{report:#}");
    assert!(count("equal") >= 20, "{report:#}");
    let mut seen = BTreeSet::new();
    for group in report["differences"].as_array().expect("a list") {
        let requirement = group["requirement"].as_str().expect("a requirement");
        for packet in group["packets"].as_array().expect("a list") {
            let what = packet["what"].as_str().expect("a text");
            let known = KNOWN.iter().any(|(id, start)| *id == requirement && what.starts_with(start));
            assert!(known, "{requirement}: {packet:#}");
        }
        assert!(group["known"].is_string() || requirement == "B2.6", "explained: {group:#}");
        seen.insert(requirement.to_owned());
    }
    // Were nothing found, nothing would have been compared.
    for always in ["B2.5", "B4.22", "D13", "I10"] {
        assert!(seen.contains(always), "{always} is not among {seen:?}");
    }
    Ok(())
}
