//! Every storm of the laboratory, in its short form: what the witnesses see must hold.

use pktgen_tests::lab::{Need, TestResult, skip_unless};
use pktgen_tests::storm::{OWN_TURN, Row, SCENARIOS, Scale};

fn raise(name: &str) -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("bird")]) {
        return Ok(());
    }
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).expect("a storm of that name");
    let rows = (scenario.run)(&Scale::SHORT)?;
    rows.iter().for_each(|row| println!("{row:?}"));
    let broken: Vec<&Row> = rows.iter().filter(|row| !row.held && row.witness != OWN_TURN).collect();
    assert!(!rows.is_empty() && broken.is_empty(), "{broken:#?}");
    Ok(())
}

macro_rules! storms {
    ($($test:ident = $name:literal,)+) => {
        $(
            #[test]
            #[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
            fn $test() -> TestResult {
                raise($name)
            }
        )+

        #[test]
        fn every_storm_is_raised() {
            let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            assert_eq!(names, [$($name),+]);
        }
    };
}

storms! {
    a_scan_of_a_connected_64_leaves_living_hosts_alone = "nd-scan",
    a_scan_of_a_connected_16_leaves_living_hosts_alone = "arp-scan",
    a_flood_to_one_unresolved_next_hop_leaves_arp_alone = "unresolved",
    a_flood_of_any_class_of_punts_leaves_the_others_alone = "punts",
    expired_packets_do_not_mute_path_mtu_discovery = "expired",
    interfaces_of_others_that_come_and_go_delay_nobody = "interfaces",
    a_changing_routing_table_delays_nobody = "routes",
    a_table_of_other_mappings_delays_nobody = "mappings",
    a_failed_gateway_takes_no_other_flows_with_it = "gateway",
    a_new_mac_of_a_gateway_is_used_at_once = "neighbor-mac",
    no_reader_of_the_log_stops_the_relay = "output",
}
