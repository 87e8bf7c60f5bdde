//! `pktgen plot`: results as SVG, one file per question the results can answer.
//!
//! - `throughput.svg`: packets per second and direction by frame size, against what wires of 10, 25 and 100 Gbit/s carry;
//! - `latency.svg`: latency percentiles;
//! - `table_size.svg`: packets per second by number of EAMs, for each frame size.

use std::ops::Range;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::config::{Direction, FrameBytes};
use super::error::PktgenError;
use super::report::Measurement;

/// Bytes a frame takes on the wire besides its own: preamble, start of frame, gap.
const WIRE_OVERHEAD: f64 = 20.0;
/// Bytes the IPv6 form of a frame is longer than its IPv4 form. The IPv6 side is the bottleneck of a translator.
const GROWTH: f64 = 20.0;

const SIZE: (u32, u32) = (960, 600);

/// Lines that are told apart on white, by readers with any colour vision.
const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(100, 60, 140),
    RGBColor(90, 90, 90),
];

/// Named lines through points, in the order of the results.
type Series = Vec<(String, Vec<(f64, f64)>)>;

/// Draws everything `measurements` have data for into files in `directory`; their names.
///
/// # Errors
/// When there is nothing to draw, or a file cannot be written.
pub fn draw(measurements: &[Measurement], directory: &Path) -> Result<Vec<PathBuf>, PktgenError> {
    std::fs::create_dir_all(directory).map_err(PktgenError::file(directory))?;
    let charts = [
        Chart {
            file: "throughput.svg",
            title: "Throughput by frame size",
            x: "frame size on the IPv4 side, bytes",
            y: "packets per second and direction",
            series: throughput(measurements),
            limits: wire_limits(measurements),
            legend: SeriesLabelPosition::LowerLeft,
        },
        Chart {
            file: "latency.svg",
            title: "Latency percentiles",
            x: "packets slower than this: one in ...",
            y: "microseconds",
            series: latencies(measurements),
            limits: Series::new(),
            legend: SeriesLabelPosition::UpperLeft,
        },
        Chart {
            file: "table_size.svg",
            title: "Rate by table size",
            x: "EAMs",
            y: "packets per second and direction",
            series: table_sizes(measurements),
            limits: Series::new(),
            legend: SeriesLabelPosition::LowerLeft,
        },
    ];
    let mut drawn = Vec::new();
    for chart in charts.iter().filter(|chart| !chart.series.is_empty()) {
        let file = directory.join(chart.file);
        chart
            .draw(&file)
            .map_err(|error| PktgenError::Plot { file: file.clone(), reason: error.to_string() })?;
        drawn.push(file);
    }
    if drawn.is_empty() {
        let reason = "no result has a rate or a latency to plot".into();
        return Err(PktgenError::Plot { file: directory.to_owned(), reason });
    }
    Ok(drawn)
}

struct Chart {
    file: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    series: Series,
    /// Thin lines without points, named where they begin.
    limits: Series,
    legend: SeriesLabelPosition,
}

impl Chart {
    /// Both axes are logarithmic.
    fn draw(&self, file: &Path) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let root = SVGBackend::new(file, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let points = || self.series.iter().chain(&self.limits).flat_map(|(_, points)| points);
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, ("sans-serif", 24))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(84)
            .build_cartesian_2d(
                around(points().map(|(x, _)| *x)).log_scale(),
                around(points().map(|(_, y)| *y)).log_scale(),
            )?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .draw()?;
        for (name, points) in &self.limits {
            chart.draw_series(LineSeries::new(points.iter().copied(), BLACK.mix(0.5)))?;
            let label = |point: &(f64, f64)| {
                EmptyElement::at(*point) + Text::new(name.clone(), (4, -14), ("sans-serif", 12))
            };
            chart.draw_series(points.first().map(label))?;
        }
        for (number, (name, points)) in self.series.iter().enumerate() {
            let color = COLORS[number % COLORS.len()];
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(self.legend.clone())
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        root.present()
    }
}

/// All values with some room around, also when there is only one.
fn around(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values
        .filter(|value| *value > 0.0)
        .fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    if low > high { 1.0..10.0 } else { low / 1.5..high * 1.5 }
}

/// A number in at most four digits and a letter.
fn short(value: f64) -> String {
    for (unit, letter) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value >= unit {
            return format!("{}{letter}", (value / unit * 100.0).round() / 100.0);
        }
    }
    format!("{}", (value * 100.0).round() / 100.0)
}

/// The rate a measurement is about, per direction.
fn rate(measurement: &Measurement) -> Option<f64> {
    let total = match measurement.procedure.as_str() {
        "throughput" => measurement.finding.throughput_pps?,
        "run" => measurement.received_pps,
        _ => return None,
    };
    let directions = if measurement.direction == Direction::Mixed { 2.0 } else { 1.0 };
    (total > 0.0).then_some(total / directions)
}

fn bytes(measurement: &Measurement) -> Option<f64> {
    match measurement.frame_bytes {
        FrameBytes::Bytes(bytes) => Some(bytes.into()),
        FrameBytes::Imix => None,
    }
}

fn direction(measurement: &Measurement) -> &'static str {
    match measurement.direction {
        Direction::V4ToV6 => "v4_to_v6",
        Direction::V6ToV4 => "v6_to_v4",
        Direction::Mixed => "mixed",
    }
}

/// Rates by frame size; a series with one size only is a point without a question.
fn throughput(measurements: &[Measurement]) -> Series {
    collect(measurements, |measurement| {
        let name = format!("{}, {}, {} EAMs", measurement.device, direction(measurement), measurement.eams);
        Some((name, (bytes(measurement)?, rate(measurement)?)))
    })
}

/// What wires carry of the sizes that were measured.
fn wire_limits(measurements: &[Measurement]) -> Series {
    let mut sizes: Vec<f64> =
        measurements.iter().filter(|measurement| rate(measurement).is_some()).filter_map(bytes).collect();
    sizes.sort_by(f64::total_cmp);
    let limit = |gigabits: f64| {
        sizes
            .iter()
            .map(move |size| (*size, gigabits * 1e9 / 8.0 / (size + GROWTH + WIRE_OVERHEAD)))
            .collect()
    };
    [10.0, 25.0, 100.0].map(|gigabits| (format!("wire, {gigabits} Gbit/s"), limit(gigabits))).into()
}

/// Rates by number of EAMs.
fn table_sizes(measurements: &[Measurement]) -> Series {
    collect(measurements, |measurement| {
        let size = measurement.frame_bytes;
        let name = format!("{}, {}, {size} bytes", measurement.device, direction(measurement));
        Some((name, (f64::from(measurement.eams), rate(measurement)?)))
    })
}

/// Median, 99th and 99.9th percentile, each at the number of packets of which one is slower.
fn latencies(measurements: &[Measurement]) -> Series {
    let mut series = Series::new();
    for measurement in measurements {
        let Some(latency) = &measurement.latency_us else { continue };
        let load = measurement.offered_pps.map_or_else(|| "max".into(), short);
        let name = format!(
            "{}, {}, {} bytes, {} EAMs, {load}/s",
            measurement.device,
            direction(measurement),
            measurement.frame_bytes,
            measurement.eams
        );
        series.push((name, vec![(2.0, latency.p50), (100.0, latency.p99), (1000.0, latency.p999)]));
    }
    series
}

/// Puts points into series, in the order of x, and leaves out series with one point.
fn collect(
    measurements: &[Measurement],
    point: impl Fn(&Measurement) -> Option<(String, (f64, f64))>,
) -> Series {
    let mut series = Series::new();
    for (name, point) in measurements.iter().filter_map(point) {
        match series.iter_mut().find(|(known, _)| *known == name) {
            Some((_, points)) => points.push(point),
            None => series.push((name, vec![point])),
        }
    }
    series.retain(|(_, points)| points.iter().any(|(x, _)| *x != points[0].0));
    for (_, points) in &mut series {
        points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(bytes: u16, eams: u32, rate: f64) -> Measurement {
        let text = format!(
            r#"{{"procedure":"throughput","device":"relay","direction":"mixed","protocol":"udp","frame_bytes":{bytes},
            "eams":{eams},"flows":{eams},"pattern":"uniform","native_ipv6":0,"native_ipv4":0,"offered_pps":{rate},
            "sent":10,"received":10,"lost":0,"unsent":0,"refused":0,"duplicated":0,"reordered":0,"stale":0,"foreign":0,
            "icmp_errors":0,"corrupt":{{}},"sent_pps":{rate},"received_pps":{rate},"loss_ratio":0.0,"seconds":1.0,
            "latency_us":{{"min":1.0,"p50":2.0,"p99":3.0,"p999":4.0,"max":5.0}},"max_gap_us":1.0,"max_pause_us":1.0,
            "streams":[],"ports":[],"throughput_pps":{rate}}}"#
        );
        serde_json::from_str(&text).expect("a result as pktgen writes it")
    }

    #[test]
    fn series_are_the_questions_results_answer() {
        let all = [measurement(64, 1, 10e6), measurement(512, 1, 8e6), measurement(64, 1000, 9e6)];
        let sizes = throughput(&all);
        assert_eq!(sizes.len(), 1, "one size alone is no series: {sizes:?}");
        assert_eq!(sizes[0], ("relay, mixed, 1 EAMs".into(), vec![(64.0, 5e6), (512.0, 4e6)]));
        let tables = table_sizes(&all);
        assert_eq!(tables, [("relay, mixed, 64 bytes".into(), vec![(1.0, 5e6), (1000.0, 4.5e6)])]);
        let (name, points) = &latencies(&all)[0];
        assert_eq!(name, "relay, mixed, 64 bytes, 1 EAMs, 10M/s");
        assert_eq!(points[2], (1000.0, 4.0));
        // 84 bytes in IPv6 and 20 between frames.
        let limit = wire_limits(&all)[0].1[0].1;
        assert!((limit - 12.02e6).abs() < 1e4, "{limit}");
    }

    #[test]
    fn plots_are_svg_with_their_series_in_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let all = [measurement(64, 1, 10e6), measurement(1518, 1, 8e6), measurement(64, 1000, 9e6)];
        let files = draw(&all, directory.path()).expect("it draws");
        assert_eq!(files.len(), 3);
        let text = std::fs::read_to_string(&files[0]).expect("the first plot");
        for part in
            ["<svg", "relay, mixed, 1 EAMs", "wire, 100 Gbit/s", "frame size on the IPv4 side", "</svg>"]
        {
            assert!(text.contains(part), "{part}");
        }
        assert!(draw(&[], directory.path()).is_err());
    }
}
