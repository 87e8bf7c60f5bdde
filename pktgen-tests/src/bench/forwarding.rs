//! The whole relay over virtual wires beside testpmd on the same wires: rates, and what they are of testpmd's.

use super::report::Collector;
use super::stand::{Measured, Stand, Subject};
use super::testpmd::Mode;
use super::traffic::{Direction, Size, Table, Traffic};
use super::{BenchError, Build};

/// One place of the plan: a kind of traffic, and the tables the relay is measured with.
struct Place {
    direction: Direction,
    size: Size,
    tables: &'static [Table],
}

/// The smallest frames and IMIX in every direction; and all sizes from IPv4 to IPv6, where the wire is the limit.
fn plan(quick: bool) -> Vec<Place> {
    const ALL: &[Table] = &[Table::TenThousand, Table::One, Table::Million];
    let places = |size, tables| Direction::ALL.map(|direction| Place { direction, size, tables });
    if quick {
        return places(Size::SMALLEST, &ALL[..1]).into();
    }
    let sweep = Size::SWEEP.map(Size::Bytes).into_iter().filter(|size| *size != Size::SMALLEST);
    let sweep = sweep.map(|size| Place { direction: Direction::V4ToV6, size, tables: &ALL[..1] });
    places(Size::SMALLEST, ALL).into_iter().chain(places(Size::Imix, ALL)).chain(sweep).collect()
}

/// One measurement of a place.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Turn {
    /// Which build, with which table.
    Relay(usize, Table),
    /// Testpmd.
    Testpmd(Mode),
}

/// The turns of a place. Every other round goes backwards (A B C, C B A), so that nobody always comes first and whoever
/// is compared is measured close together.
fn turns(builds: usize, tables: &[Table], round: u32) -> Vec<Turn> {
    let relays = |table: Table| (0..builds).map(move |build| Turn::Relay(build, table));
    let mut turns: Vec<Turn> = relays(tables[0]).collect();
    turns.extend([Turn::Testpmd(Mode::MacSwap), Turn::Testpmd(Mode::Io)]);
    turns.extend(tables[1..].iter().flat_map(|table| relays(*table)));
    if round % 2 == 1 {
        turns.reverse();
    }
    turns
}

/// One round of everything. Each build has a collector; testpmd's rates go to all of them.
///
/// # Errors
/// When the relay, testpmd or the generator fails.
pub(super) fn round(
    stand: &Stand,
    builds: &[Build],
    results: &mut [Collector],
    round: u32,
    quick: bool,
) -> Result<(), BenchError> {
    for place in plan(quick) {
        let traffic = |table| Traffic::usual(place.direction, place.size, table);
        for turn in turns(builds.len(), place.tables, round) {
            match turn {
                Turn::Relay(build, table) => {
                    let subject = Subject::Relay { build: &builds[build], translation: "" };
                    let measured = stand.saturate(subject, traffic(table))?;
                    record(&mut results[build], "relay", &traffic(table), measured);
                }
                Turn::Testpmd(mode) => {
                    let traffic = traffic(Table::TenThousand);
                    let measured = stand.saturate(Subject::Testpmd(mode), traffic)?;
                    results.iter_mut().for_each(|results| record(results, mode.name(), &traffic, measured));
                }
            }
        }
        for results in results.iter_mut() {
            place.tables.iter().for_each(|table| compare(results, &traffic(*table)));
        }
    }
    Ok(())
}

fn record(results: &mut Collector, subject: &str, traffic: &Traffic, measured: Measured) {
    results.add(&traffic.row(&format!("vdev_rate_{subject}")), "Mpps", measured.mpps);
    // A device that counted no busy poll at all has no cycles for a packet.
    if measured.cycles.is_finite() {
        results.add(&traffic.row(&format!("vdev_cycles_{subject}")), "cycles/packet", measured.cycles);
    }
}

/// What the relay forwards of what testpmd does on one core, both busy: testpmd's cycles for a packet by the relay's.
/// The share of the rates beside it is the one that is seen on the wires; it is also one of the generator, which verifies
/// every packet and may be the slowest of all.
fn compare(results: &mut Collector, traffic: &Traffic) {
    let testpmd = Traffic { table: Table::TenThousand, ..*traffic };
    for (mode, kind) in [(Mode::MacSwap, "ratio_testpmd"), (Mode::Io, "ratio_testpmd_io")] {
        let testpmd = results.last(&testpmd.row(&format!("vdev_cycles_{}", mode.name())));
        let relay = results.last(&traffic.row("vdev_cycles_relay"));
        if let (Some(relay), Some(testpmd)) = (relay, testpmd) {
            results.add(&traffic.row(kind), "ratio", testpmd / relay);
        }
    }
    let testpmd = results.last(&testpmd.row("vdev_rate_macswap"));
    let relay = results.last(&traffic.row("vdev_rate_relay"));
    if let (Some(relay), Some(testpmd)) = (relay, testpmd) {
        results.add(&traffic.row("ratio_rate_testpmd"), "ratio", relay / testpmd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_round_goes_backwards() {
        let forward = turns(2, &[Table::TenThousand], 0);
        let relay = |build| Turn::Relay(build, Table::TenThousand);
        let testpmd = [Turn::Testpmd(Mode::MacSwap), Turn::Testpmd(Mode::Io)];
        assert_eq!(forward, [relay(0), relay(1), testpmd[0], testpmd[1]]);
        let mut backward = turns(2, &[Table::TenThousand], 1);
        backward.reverse();
        assert_eq!(backward, forward);
    }

    #[test]
    fn quick_has_the_fixed_ratios_and_the_full_run_all_tables() {
        let rows = |quick| -> Vec<String> {
            let places = plan(quick).into_iter();
            let rows = places.flat_map(|place| {
                let traffic = move |table: &Table| Traffic::usual(place.direction, place.size, *table);
                place.tables.iter().map(move |table| traffic(table).row("ratio_testpmd")).collect::<Vec<_>>()
            });
            rows.collect()
        };
        assert_eq!(rows(true), ["ratio_testpmd_v4_to_v6", "ratio_testpmd_v6_to_v4", "ratio_testpmd_mixed"]);
        let full = rows(false);
        for row in
            ["ratio_testpmd_mixed_eam_1m_imix", "ratio_testpmd_v6_to_v4_eam_1", "ratio_testpmd_v4_to_v6_1280"]
        {
            assert!(full.iter().any(|found| found == row), "{row} is not in {full:?}");
        }
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let traffic = Traffic::usual(Direction::Mixed, Size::SMALLEST, Table::Million);
        let mut results = Collector::default();
        for (relay, testpmd) in [(200.0, 100.0), (250.0, 200.0)] {
            results.add("vdev_cycles_relay_mixed_eam_1m", "cycles/packet", relay);
            results.add("vdev_cycles_macswap_mixed", "cycles/packet", testpmd);
            results.add("vdev_rate_relay_mixed_eam_1m", "Mpps", 9.0);
            results.add("vdev_rate_macswap_mixed", "Mpps", 10.0);
            compare(&mut results, &traffic);
        }
        let ratios = results.entry("ratio_testpmd_mixed_eam_1m").unwrap().samples.runs();
        assert!(ratios == [0.5, 0.8], "{ratios:?}");
        let rates = results.entry("ratio_rate_testpmd_mixed_eam_1m").unwrap().samples.runs();
        assert!(rates == [0.9, 0.9], "{rates:?}");
        assert!(results.entry("ratio_testpmd_io_mixed_eam_1m").is_none());
    }
}
