//! The generated parts of docs/performance.md: tables, and the plots beside them.

use std::path::Path;

use super::compare::Change;
use super::plot::{self, Chart, Scale};
use super::report::{Report, Row};
use super::traffic::{Direction, Size, Table, Traffic};
use super::{BenchError, model, table};

/// Sizes of the tables in the benchmarks in memory: name of the rows, and in words.
const TABLES: [(&str, &str); 5] =
    [("1", "1"), ("1k", "1,000"), ("10k", "10,000"), ("100k", "100,000"), ("1m", "1,000,000")];

/// Name and content of every part the report has results for.
#[must_use]
pub(super) fn all(report: &Report) -> Vec<(&'static str, String)> {
    let parts = [
        ("machine", Some(machine(report))),
        ("cycles", cycles(report)),
        ("kinds", kinds(report)),
        ("ratio", ratio(report)),
        ("sizes", sizes(report)),
        ("latency", latency(report)),
        ("options", options(report)),
        ("features", features(report)),
        ("tables", tables(report)),
        ("model", model::markdown(report)),
    ];
    parts.into_iter().filter_map(|(name, content)| Some((name, content?))).collect()
}

/// Draws every plot the report has results for.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn draw(report: &Report, directory: &Path) -> Result<(), BenchError> {
    let plots = [
        ("cycles.svg", cycles_chart(report), Form::Lines(Scale::Linear)),
        ("ratio.svg", ratio_chart(report), Form::Bars),
        ("sizes.svg", sizes_chart(report), Form::Lines(Scale::Logarithmic)),
        ("latency.svg", latency_chart(report), Form::Lines(Scale::Logarithmic)),
        ("options.svg", options_chart(report), Form::Bars),
    ];
    for (name, chart, form) in plots {
        if chart.series.iter().all(|(_, values)| values.iter().all(Option::is_none)) {
            continue;
        }
        let path = directory.join(name);
        match form {
            Form::Lines(scale) => plot::lines(&path, &chart, scale)?,
            Form::Bars => plot::bars(&path, &chart)?,
        }
    }
    Ok(())
}

enum Form {
    Lines(Scale),
    Bars,
}

/// The median, and the range of the runs when there were several.
fn cell(row: Option<&Row>) -> String {
    match row {
        None => "-".into(),
        Some(row) if row.runs < 2 || row.min == row.max => table::number(row.value),
        Some(row) => {
            format!("{} ({} - {})", table::number(row.value), table::number(row.min), table::number(row.max))
        }
    }
}

/// A table of those rows that have a result.
fn grid(head: &[&str], rows: Vec<(String, Vec<Option<&Row>>)>) -> Option<String> {
    let rows = rows.into_iter().filter(|(_, cells)| cells.iter().any(Option::is_some));
    let rows = rows.map(|(title, cells)| std::iter::once(title).chain(cells.into_iter().map(cell)).collect());
    let rows: Vec<Vec<String>> = rows.collect();
    (!rows.is_empty()).then(|| table::markdown(head, &rows))
}

fn machine(report: &Report) -> String {
    let rows: Vec<_> =
        report.machine.facts().into_iter().map(|(name, value)| vec![name.into(), value]).collect();
    table::markdown(&["", "of this run"], &rows)
}

fn cycles(report: &Report) -> Option<String> {
    let rows = TABLES.map(|(label, title)| {
        let of = |direction: Direction| report.row(&format!("cycles_{}_eam_{label}", direction.name()));
        (title.to_owned(), Direction::ALL.map(of).to_vec())
    });
    grid(&["EAMs", "v4 to v6", "v6 to v4", "mixed"], rows.into())
}

fn cycles_chart(report: &Report) -> Chart<'static> {
    let series = Direction::ALL.map(|direction| {
        let value =
            |label| report.row(&format!("cycles_{}_eam_{label}", direction.name())).map(|row| row.value);
        (direction.title().to_owned(), TABLES.map(|(label, _)| value(label)).to_vec())
    });
    Chart {
        title: "Cycles per packet by number of EAMs, without the driver",
        axis: "cycles per packet",
        labels: TABLES.map(|(_, title)| title.to_owned()).to_vec(),
        series: series.into(),
    }
}

/// Every other count of cycles in memory.
fn kinds(report: &Report) -> Option<String> {
    let rows = report.results.iter().filter(|row| row.unit.contains("cycles") || row.unit.contains("ns"));
    let elsewhere =
        |name: &str| name.contains("_eam_") || name.starts_with("vdev_") || name.starts_with("feature_");
    let rows = rows.filter(|row| !elsewhere(&row.name));
    let rows = rows.map(|row| {
        let title = row.name.strip_prefix("cycles_").unwrap_or(&row.name).replace('_', " ");
        vec![title, cell(Some(row)), row.unit.clone()]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    (!rows.is_empty()).then(|| table::markdown(&["", "median (range)", "unit"], &rows))
}

/// What the features cost that look on: name of the rows, and in words.
const FEATURES: [(&str, &str); 13] = [
    ("nothing", "nothing, which tells how exact the others are: a flood of broken headers"),
    ("drops_unassigned", "samples of drops, a flood to service addresses that nobody has"),
    ("drops_broken", "samples of drops, a flood of broken headers: the cheapest drop there is"),
    ("counters_read_1k_per_second", "metrics, all counters read a thousand times a second"),
    ("capture_idle", "captures, nobody captures"),
    ("capture_no_match_short", "a capture that nothing matches, 192 bytes of a packet"),
    ("capture_no_match_whole", "a capture that nothing matches, whole packets"),
    ("capture_all_10k_per_second", "a capture of everything, 10,000 packets a second"),
    ("capture_all", "a capture of everything, without limit"),
    ("mappings_busiest_10k", "`mappings = \"busiest\"`, 10,000 mappings"),
    ("mappings_exact_10k", "`mappings = \"exact\"`, 10,000 mappings"),
    ("mappings_busiest_1m", "`mappings = \"busiest\"`, 1,000,000 mappings"),
    ("mappings_exact_1m", "`mappings = \"exact\"`, 1,000,000 mappings"),
];

fn features(report: &Report) -> Option<String> {
    let rows = FEATURES.map(|(name, title)| {
        let of = |what: &str| report.row(&format!("feature_{name}_{what}"));
        (title.to_owned(), vec![of("without"), of("with"), of("share"), of("memory_mb")])
    });
    grid(&["", "without", "with", "more, %", "MB for a worker"], rows.into())
}

/// Two revisions side by side: a packet's cycles in memory, and over the wires where these were measured.
#[must_use]
pub(super) fn against(revision: &str, changes: &[Change]) -> String {
    let sizes = [("10k", "10,000"), ("1m", "1,000,000")];
    let memory = sizes.into_iter().flat_map(|(label, title)| {
        Direction::ALL.map(|direction| {
            let title = format!("{}, {title} EAMs", direction.title());
            (title, format!("cycles_{}_eam_{label}", direction.name()))
        })
    });
    let wires = beside().flat_map(|(traffic, title)| {
        let name = |kind: &str| traffic.row(kind);
        [
            (format!("{title}, over wires, cycles"), name("vdev_cycles_relay")),
            (format!("{title}, over wires, Mpps"), name("vdev_rate_relay")),
        ]
    });
    let rows = memory.chain(wires).filter_map(|(title, name)| {
        let change = changes.iter().find(|change| change.name == name)?;
        let percent = |share: f64| format!("{:+.1} %", share * 100.0);
        let spread = format!("{:.1} %", change.spread * 100.0);
        Some(vec![
            title,
            table::number(change.before),
            table::number(change.after),
            percent(change.worse),
            spread,
        ])
    });
    table::markdown(&["", revision, "now", "worse by", "spread"], &rows.collect::<Vec<_>>())
}

/// Frame size and table of the rows beside testpmd, and their title.
fn beside() -> impl Iterator<Item = (Traffic, String)> {
    let sizes = [Size::SMALLEST, Size::Imix];
    let tables = [Table::One, Table::TenThousand, Table::Million];
    let all = Direction::ALL.into_iter().flat_map(move |direction| {
        sizes.into_iter().flat_map(move |size| tables.into_iter().map(move |table| (direction, size, table)))
    });
    all.map(|(direction, size, table)| {
        let traffic = Traffic::usual(direction, size, table);
        let title = traffic.to_string();
        (traffic, title)
    })
}

fn ratio(report: &Report) -> Option<String> {
    let rows = beside().map(|(traffic, title)| {
        let testpmd = Traffic { table: Table::TenThousand, ..traffic };
        let relay = |kind: &str| report.row(&traffic.row(kind));
        let cells = vec![
            relay("ratio_testpmd"),
            relay("ratio_rate_testpmd"),
            relay("ratio_testpmd_io"),
            relay("vdev_cycles_relay"),
            report.row(&testpmd.row("vdev_cycles_macswap")),
            relay("vdev_rate_relay"),
            report.row(&testpmd.row("vdev_rate_macswap")),
        ];
        if relay("ratio_testpmd").is_some() { (title, cells) } else { (title, Vec::new()) }
    });
    let head = [
        "",
        "relay / macswap",
        "the same by rates",
        "relay / io",
        "relay, cycles",
        "macswap, cycles",
        "relay, Mpps",
        "macswap, Mpps",
    ];
    grid(&head, rows.collect())
}

fn ratio_chart(report: &Report) -> Chart<'static> {
    let tables =
        [(Table::One, "1 EAM"), (Table::TenThousand, "10,000 EAMs"), (Table::Million, "1,000,000 EAMs")];
    let places = [Size::SMALLEST, Size::Imix]
        .into_iter()
        .flat_map(|size| Direction::ALL.map(|direction| (size, direction)));
    let places: Vec<(Size, Direction)> = places.collect();
    let labels = places.iter().map(|(size, direction)| {
        let size = if *size == Size::Imix { "IMIX" } else { "64 B" };
        format!("{}, {size}", direction.title())
    });
    let series = tables.map(|(table, title)| {
        let value = |&(size, direction): &(Size, Direction)| {
            report.row(&Traffic::usual(direction, size, table).row("ratio_testpmd")).map(|row| row.value)
        };
        (title.to_owned(), places.iter().map(value).collect())
    });
    Chart {
        title: "Relay as a share of testpmd macswap on the same wires",
        axis: "relay / macswap",
        labels: labels.collect(),
        series: series.into(),
    }
}

fn sizes(report: &Report) -> Option<String> {
    let rows = Size::SWEEP.into_iter().filter_map(|bytes| {
        let size = Size::Bytes(bytes);
        let row =
            |kind: &str| report.row(&Traffic::usual(Direction::V4ToV6, size, Table::TenThousand).row(kind));
        let first = [bytes.to_string(), cell(Some(row("vdev_rate_relay")?)), cell(row("vdev_rate_macswap"))];
        Some(first.into_iter().chain(model::WIRES.map(|wire| table::number(size.wire_mpps(wire)))).collect())
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let head = ["IPv4 frame, bytes", "relay, Mpps", "macswap, Mpps", "10G, Mpps", "25G, Mpps", "100G, Mpps"];
    (!rows.is_empty()).then(|| table::markdown(&head, &rows))
}

fn sizes_chart(report: &Report) -> Chart<'static> {
    let measured = |name: &str, kind: &str| {
        let value = |bytes| {
            let traffic = Traffic::usual(Direction::V4ToV6, Size::Bytes(bytes), Table::TenThousand);
            report.row(&traffic.row(kind)).map(|row| row.value)
        };
        (name.to_owned(), Size::SWEEP.map(value).to_vec())
    };
    let mut series = vec![
        measured("relay, one core", "vdev_rate_relay"),
        measured("macswap, one core", "vdev_rate_macswap"),
    ];
    if series[0].1.iter().any(Option::is_some) {
        let limits = model::WIRES.map(|wire| {
            let values = Size::SWEEP.map(|bytes| Some(Size::Bytes(bytes).wire_mpps(wire)));
            (format!("wire limit at {wire:.0}G"), values.to_vec())
        });
        series.extend(limits);
    }
    Chart {
        title: "Rate by frame size, v4 to v6, against the wire's IPv6 side",
        axis: "million packets per second",
        labels: Size::SWEEP.map(|bytes| format!("{bytes} B")).to_vec(),
        series,
    }
}

/// Names of rows and titles.
const QUANTILES: [(&str, &str); 3] = [("p50", "median"), ("p99", "99 %"), ("p999", "99.9 %")];
const MEASURED: [(&str, &str); 2] = [("relay", "relay"), ("macswap", "macswap")];

fn latency(report: &Report) -> Option<String> {
    let rows = Direction::ALL.into_iter().flat_map(|direction| {
        MEASURED.map(|(name, title)| {
            let of = |(quantile, _)| report.row(&format!("latency_{name}_{}_{quantile}", direction.name()));
            (format!("{title}, {}", direction.title()), QUANTILES.map(of).to_vec())
        })
    });
    grid(&["microseconds", "median", "99 %", "99.9 %"], rows.collect())
}

fn latency_chart(report: &Report) -> Chart<'static> {
    let series = Direction::ALL.into_iter().flat_map(|direction| {
        MEASURED.map(|(name, title)| {
            let value = |(quantile, _)| {
                report.row(&format!("latency_{name}_{}_{quantile}", direction.name())).map(|row| row.value)
            };
            (format!("{title}, {}", direction.title()), QUANTILES.map(value).to_vec())
        })
    });
    Chart {
        title: "Latency at half of the relay's rate, generator and wires included",
        axis: "microseconds",
        labels: QUANTILES.map(|(_, title)| title.to_owned()).to_vec(),
        series: series.collect(),
    }
}

fn option_rows(report: &Report) -> impl Iterator<Item = (&str, &Row)> {
    report.results.iter().filter_map(|row| Some((row.name.strip_prefix("option_")?, row)))
}

fn options(report: &Report) -> Option<String> {
    let rows = option_rows(report).map(|(name, row)| vec![format!("`{name}`"), cell(Some(row))]);
    let rows: Vec<Vec<String>> = rows.collect();
    (!rows.is_empty()).then(|| table::markdown(&["", "% more cycles per packet"], &rows))
}

fn options_chart(report: &Report) -> Chart<'static> {
    let (labels, values) =
        option_rows(report).map(|(name, row)| (name.replace('_', " "), Some(row.value))).unzip();
    Chart {
        title: "Cost of optional features",
        axis: "% more cycles per packet",
        labels,
        series: vec![("whole relay".into(), values)],
    }
}

fn tables(report: &Report) -> Option<String> {
    let wanted = |name: &str| {
        ["load_", "memory_", "reload_"].iter().any(|prefix| name.starts_with(prefix))
            || name == "allocations_per_packet"
    };
    let rows = report.results.iter().filter(|row| wanted(&row.name));
    let rows: Vec<_> =
        rows.map(|row| vec![format!("`{}`", row.name), cell(Some(row)), row.unit.clone()]).collect();
    (!rows.is_empty()).then(|| table::markdown(&["", "median (range)", "unit"], &rows))
}

#[cfg(test)]
mod tests {
    use super::super::Machine;
    use super::super::report::Collector;
    use super::*;

    fn report() -> Report {
        let mut collector = Collector::default();
        for run in [1.0, 2.0, 3.0] {
            for (name, unit, value) in [
                ("cycles_v4_to_v6_eam_1", "cycles/packet", 40.0),
                ("cycles_mixed_eam_10k", "cycles/packet", 60.0),
                ("cycles_echo_v4_to_v6", "cycles/packet", 70.0),
                ("ratio_testpmd_mixed", "ratio", 0.25),
                ("vdev_rate_relay_v4_to_v6", "Mpps", 4.0),
                ("latency_relay_mixed_p50", "us", 9.0),
                ("option_anti_spoof", "%", 1.5),
                ("feature_mappings_exact_1m_without", "cycles/packet", 40.0),
                ("feature_mappings_exact_1m_with", "cycles/packet", 50.0),
                ("feature_mappings_exact_1m_share", "%", 25.0),
                ("feature_mappings_exact_1m_memory_mb", "MB", 65.0),
                ("load_1m_seconds", "s", 0.5),
            ] {
                collector.add(name, unit, value * run);
            }
        }
        Report {
            machine: Machine { cpu: "Some CPU".into(), ..Machine::default() },
            results: collector.rows(),
        }
    }

    #[test]
    fn every_part_shows_its_results() {
        let parts = all(&report());
        let names: Vec<_> = parts.iter().map(|(name, _)| *name).collect();
        let expected = [
            "machine", "cycles", "kinds", "ratio", "sizes", "latency", "options", "features", "tables",
            "model",
        ];
        assert_eq!(names, expected);
        for (name, line) in [
            ("machine", "| CPU | Some CPU |"),
            ("cycles", "| 1 | 80.0 (40.0 - 120) | - | - |"),
            ("kinds", "| echo v4 to v6 | 140 (70.0 - 210) | cycles/packet |"),
            ("ratio", "| mixed, 64 bytes, 10000 EAMs | 0.500 (0.250 - 0.750) | - | - | - | - | - |"),
            ("sizes", "| 64 | 8.00 (4.00 - 12.0) | - | 12.0 | 30.0 | 120 |"),
            ("latency", "| relay, mixed | 18.0 (9.00 - 27.0) | - | - |"),
            ("options", "| `anti_spoof` | 3.00 (1.50 - 4.50) |"),
            (
                "features",
                "| `mappings = \"exact\"`, 1,000,000 mappings | 80.0 (40.0 - 120) | 100 (50.0 - 150) | 50.0 (25.0 - 75.0) |",
            ),
            ("tables", "| `load_1m_seconds` | 1.00 (0.500 - 1.50) | s |"),
            ("model", "| 120 (translation alone, 10,000 EAMs) | 0.481 |"),
        ] {
            let content = &parts.iter().find(|(part, _)| *part == name).unwrap().1;
            assert!(content.contains(line), "{line} is not in\n{content}");
        }
    }

    #[test]
    fn two_revisions_stand_side_by_side() {
        let change = |name: &str, worse: f64| Change {
            name: name.into(),
            unit: "cycles/packet".into(),
            before: 60.0,
            after: 60.0 * (1.0 + worse),
            worse,
            spread: 0.02,
        };
        let changes = [change("cycles_v4_to_v6_eam_10k", -0.05), change("cycles_hairpin", 0.5)];
        let table = against("abc", &changes);
        assert!(table.contains("| abc | now |"), "{table}");
        assert!(table.contains("| v4 to v6, 10,000 EAMs | 60.0 | 57.0 | -5.0 % | 2.0 % |"), "{table}");
        assert!(!table.contains("1,000,000") && !table.contains("hairpin"), "{table}");
    }

    #[test]
    fn parts_without_results_are_left_alone() {
        let report = Report { machine: Machine::default(), results: Vec::new() };
        assert_eq!(all(&report).len(), 1);
        let directory = tempfile::tempdir().unwrap();
        draw(&report, directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn all_plots_are_drawn() {
        let directory = tempfile::tempdir().unwrap();
        draw(&report(), directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 5);
    }
}
