//! The properties of `oracle`, for random inputs. The fuzzer in `dataplane/fuzz` checks the same, for longer.

mod oracle;

use proptest::prelude::*;

fn judge(judgement: oracle::Judgement) -> Result<(), TestCaseError> {
    judgement.map_err(TestCaseError::fail)
}

/// Choices for one packet, the first byte of which says how it is made: golden or built.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let world = proptest::collection::vec(any::<u8>(), oracle::world::BYTES);
    let packet = proptest::collection::vec(any::<u8>(), 0..160);
    (world, packet).prop_map(|(world, packet)| [world, packet].concat())
}

/// More cases than usual, for each is cheap; `PROPTEST_CASES` overrules. What fails once goes to `fuzz_regression.rs`.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if is_set { default.cases } else { 4000 };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn packets_from_ipv4(input in input()) {
        judge(oracle::packet(&input, 4))?;
    }

    #[test]
    fn packets_from_ipv6(input in input()) {
        judge(oracle::packet(&input, 6))?;
    }

    #[test]
    fn frames_on_both_ports(input in input()) {
        judge(oracle::frame(&input))?;
    }
}

#[test]
fn golden_packets_in_their_own_world() {
    for golden in [4, 6].into_iter().flat_map(oracle::golden::of_family) {
        if let Err(why) = oracle::check(&golden.world, std::slice::from_ref(&golden.packet)) {
            panic!("{}: {why}", golden.name);
        }
    }
}
