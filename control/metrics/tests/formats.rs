//! Both formats, read by those who define them: Prometheus' own checker, and the reference parser of OpenMetrics.
#![allow(clippy::panic, clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use common::{Relay, pipe};
use control_metrics::Format;

#[test]
fn promtool_has_nothing_to_say_about_the_text_format() {
    let page = Relay::new(2, 3, 20).page(Format::Text);
    let checked = pipe("promtool", &["check", "metrics"], &page);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success() && said.is_empty() && checked.stdout.is_empty(), "{said}");
    // It would have had: a counter must end in _total.
    let wrong = page.replace("_total", "");
    assert!(!pipe("promtool", &["check", "metrics"], &wrong).status.success());
}

/// Debian's, which has python3-prometheus-client.
const PYTHON: &str = "/usr/bin/python3";

/// Prints every sample that OpenMetrics' own parser finds: name, labels, value.
const PARSE: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()):
    for sample in family.samples:
        labels = ','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))
        print(family.name, family.type, family.unit, sample.name, labels, repr(float(sample.value)))
";

#[test]
fn the_reference_parser_reads_openmetrics_and_finds_the_same_numbers() {
    let relay = Relay::new(2, 3, 20);
    let parsed = pipe(PYTHON, &["-c", PARSE], &relay.page(Format::OpenMetrics));
    let (found, said) = (String::from_utf8_lossy(&parsed.stdout), String::from_utf8_lossy(&parsed.stderr));
    assert!(parsed.status.success(), "{said}");
    for line in [
        "borderline_received_packets counter  borderline_received_packets_total worker=2 3145728.0",
        "borderline_port_bytes counter bytes borderline_port_bytes_total direction=transmit,port=port1 5242880.0",
        "borderline_build info  borderline_build_info build=abcdef0,version=0.1.0 1.0",
        "borderline_uptime_seconds gauge seconds borderline_uptime_seconds  4.321",
        "borderline_turn_seconds histogram seconds borderline_turn_seconds_count worker=0 125829120.0",
    ] {
        assert!(found.lines().any(|found| found == line), "{line} in\n{found}");
    }
    let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(found.lines().count(), samples(&relay.page(Format::Text)), "as many as in the other format");
    let unended = relay.page(Format::OpenMetrics).replace("# EOF\n", "");
    assert!(!pipe(PYTHON, &["-c", PARSE], &unended).status.success(), "the parser does look");
}
