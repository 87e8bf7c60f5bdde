//! `top`, and the traffic of mappings.

use serde_json::Value;

use crate::lab::Lab;

#[test]
fn top_once_has_the_same_numbers_for_people_and_programs() {
    let lab = Lab::new();
    let rates: Value = serde_json::from_str(&lab.good("--json top --once")).unwrap();
    // The relay without ports is a second older at each look.
    assert_eq!(rates["seconds"], 1.0);
    assert_eq!(rates["ports"][0]["receive"]["packets_per_second"], 2000.0);
    assert_eq!(rates["ports"][0]["receive"]["bits_per_second"], 1_600_000.0);
    assert_eq!(
        (&rates["workers"][0]["load"], &rates["workers"][0]["capacity_per_second"]),
        (&0.25.into(), &8000.0.into())
    );
    assert_eq!(rates["costs"][0]["cycles_per_packet"], 150.0);
    assert_eq!(rates["drops"][0]["packets_per_second"], 4.0);
    assert_eq!(rates["mappings"][0]["ipv4"], "192.0.2.10/32", "the busiest first");
    assert_eq!(rates["mappings"][0]["v6_to_v4"]["bits_per_second"], 4_800_000.0);
    let human = lab.good("top");
    for line in [
        "v4    up      2000   1600000",
        "25.0 %  2000       8000",
        "translated v4_to_v6  150",
        "192.0.2.10/32",
    ] {
        assert!(human.contains(line), "{line:?} in\n{human}");
    }
}

#[test]
fn traffic_of_mappings_is_a_table_lines_or_a_bill() {
    let lab = Lab::new();
    let bill = lab.good("eam counters --format csv");
    let expected = "ipv4,ipv6,owner,v4_to_v6_packets,v4_to_v6_bytes,v6_to_v4_packets,v6_to_v4_bytes\n\
        192.0.2.10/32,2001:db8:f::10/128,store,9000,900000,18000,1800000\n\
        192.0.2.99/32,,,3000,300000,6000,600000\n";
    assert_eq!(bill, expected);
    let lines = lab.good("--json eam counters --top 1");
    let line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((&line["ipv6"], &line["v4_to_v6"]["bytes"]), (&"2001:db8:f::10/128".into(), &900_000.into()));
    let table = lab.good("eam counters");
    assert!(table.contains("4>6 PACKETS") && table.contains("1800000"), "{table}");
}
