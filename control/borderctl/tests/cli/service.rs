//! In service, out of it, and the same as another relay.

use crate::lab::Lab;

#[test]
fn health_names_the_test_that_fails_and_the_route_it_keeps_away() {
    let lab = Lab::new();
    let human = lab.good("health");
    for word in ["withdrawn", "1234 packets/s", "link", "failing", "no link: cable", "192.0.2.0/24"] {
        assert!(human.contains(word), "{word} is missing in {human}");
    }
    let health = lab.json("health");
    assert_eq!(
        (&health["tests"][0]["name"], &health["tests"][0]["scope"]),
        (&"link".into(), &"everything".into())
    );
    assert!(health["drain"].is_null() && health["destinations"][0]["metric"].is_null());
}

#[test]
fn a_drain_ends_when_it_is_quiet_and_is_taken_back() {
    let lab = Lab::new();
    let begun = lab.json("drain --lead 30s --no-wait");
    assert_eq!(begun["drain"]["lead_seconds"], 30);
    let done = lab.good("drain --lead 0s");
    assert!(done.contains("out of service after 14 s: 1234 packets/s"), "{done}");
    assert_eq!(lab.json("drain")["senders"][0]["source"], "203.0.113.50");
    let back = lab.good("undrain");
    assert!(back.contains("the drain is taken back; the service is withdrawn at this moment"), "{back}");
    assert!(lab.json("health")["drain"].is_null());
    for lead in ["soon", "2h", "0"] {
        let run = lab.run(&format!("drain --no-wait --lead {lead}"));
        let (is_good, told) = (lead == "0", run.err.contains("give 0s to 1h"));
        assert!((run.status == 0) == is_good && told != is_good, "{lead}: {run:?}");
    }
    assert_eq!(lab.run("drain --timeout 1s --no-wait").status, 2);
}

#[test]
fn the_one_mapping_that_two_relays_have_otherwise_is_named() {
    let (here, there) = (Lab::new(), Lab::new());
    for lab in [&here, &there] {
        lab.good("eam add 192.0.2.1 2001:db8::1");
        lab.good("eam add 203.0.113.1 2001:db8:1::1");
    }
    let compare = format!("digest --compare {}", there.socket.display());
    let equal = here.good(&compare);
    assert!(equal.contains("equal: 3 mappings"), "{equal}");
    there.good("eam add 192.0.2.2 2001:db8::2");
    there.good("eam add 203.0.113.1 2001:db8:1::9 --replace");
    let run = here.run(&format!("--json {compare}"));
    assert_eq!(run.status, 1, "{run:?}");
    let comparison: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let expected = serde_json::json!([
        {"ipv4": "192.0.2.2/32", "here": null, "there": "2001:db8::2/128"},
        {"ipv4": "203.0.113.1/32", "here": "2001:db8:1::1/128", "there": "2001:db8:1::9/128"},
    ]);
    assert_eq!(comparison["differences"], expected);
    let human = here.run(&compare);
    assert!(
        human.out.contains("2001:db8:1::9/128") && human.err.contains("differ in 2 mappings"),
        "{human:?}"
    );
    assert!(here.good("digest").contains("203.0.0.0/16"));
    assert_eq!(here.run("digest --compare ftp://there").status, 2);
    assert_eq!(here.run("digest --compare /nowhere.sock").status, 1);
}
