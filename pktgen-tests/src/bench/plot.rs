//! Draws the plots of docs/performance.md: one colour per series, its name beside the plot, values where they can be
//! read.

use std::fmt::Display;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{BenchError, table};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

const SIZE: (u32, u32) = (900, 420);
const LEGEND: u32 = 190;
const FONT: &str = "sans-serif";
/// Also told apart by those who do not see all colours (Okabe and Ito).
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
];

/// What is drawn.
#[derive(Debug, Clone)]
pub(super) struct Chart<'a> {
    /// Above it.
    pub(super) title: &'a str,
    /// Beside the values.
    pub(super) axis: &'a str,
    /// Below the points or groups.
    pub(super) labels: Vec<String>,
    /// Name, and one value for each label; none leaves a gap.
    pub(super) series: Vec<(String, Vec<Option<f64>>)>,
}

/// How the values are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By their logarithm.
    Logarithmic,
}

/// Draws a line for each series.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn lines(path: &Path, chart: &Chart, scale: Scale) -> Result<(), BenchError> {
    draw(path, chart, |area| {
        let (low, high) = chart.range();
        draw_lines(
            area,
            chart,
            if scale == Scale::Linear { Axis::even(0.0, high * 1.08) } else { Axis::logarithmic(low, high) },
        )
    })
}

/// Draws a group of bars for each label.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn bars(path: &Path, chart: &Chart) -> Result<(), BenchError> {
    draw(path, chart, |area| {
        let (low, high) = chart.range();
        draw_bars(area, chart, Axis::even(low.min(0.0) * 1.15, high.max(0.0) * 1.15))
    })
}

impl Chart<'_> {
    fn values(&self) -> impl Iterator<Item = f64> {
        self.series.iter().flat_map(|(_, values)| values.iter().copied().flatten())
    }

    fn range(&self) -> (f64, f64) {
        let low = self.values().fold(f64::INFINITY, f64::min);
        let high = self.values().fold(f64::NEG_INFINITY, f64::max);
        if low.is_finite() { (low, high) } else { (0.0, 1.0) }
    }

    /// Label number n stands at n + 1/2.
    fn horizontal(&self) -> Axis {
        let marks = (0..self.labels.len()).map(middle).collect();
        Axis { low: 0.0, high: middle(self.labels.len()) - 0.5, marks, scale: Scale::Linear }
    }

    fn label(&self, place: f64) -> String {
        let found = self.labels.iter().enumerate().find(|(number, _)| (middle(*number) - place).abs() < 0.01);
        found.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a handful of labels")]
fn middle(number: usize) -> f64 {
    number as f64 + 0.5
}

/// One axis, and where its labels are.
#[derive(Debug, Clone)]
struct Axis {
    low: f64,
    high: f64,
    marks: Vec<f64>,
    scale: Scale,
}

impl Axis {
    /// From `low` to `high`, with about eight marks.
    fn even(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        let step = ladder().find(|step| (high - low) / step <= 8.0).unwrap_or(high - low);
        let marks = (-8..=8)
            .map(|number| f64::from(number) * step)
            .filter(|mark| (low..=high).contains(mark))
            .collect();
        Self { low, high, marks, scale: Scale::Linear }
    }

    /// From the last mark below `low` to the first above `high`.
    fn logarithmic(low: f64, high: f64) -> Self {
        let ladder: Vec<f64> = ladder().collect();
        let first = ladder.iter().rposition(|&mark| mark <= low).unwrap_or(0);
        let last = ladder.iter().position(|&mark| mark >= high).unwrap_or(ladder.len() - 1).max(first + 1);
        let marks = ladder[first..=last].to_vec();
        Self { low: marks[0], high: marks[marks.len() - 1], marks, scale: Scale::Logarithmic }
    }

    /// Where a value is, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let place = |value: f64| if self.scale == Scale::Logarithmic { value.ln() } else { value };
        (place(value) - place(self.low)) / (place(self.high) - place(self.low))
    }
}

/// 1, 2 and 5 times powers of ten, upwards.
fn ladder() -> impl Iterator<Item = f64> {
    (-6..9).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)))
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "a pixel")]
    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        first + (f64::from(last - first) * self.share(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.low..self.high
    }
}

fn draw(path: &Path, chart: &Chart, body: impl FnOnce(&Area) -> Drawn) -> Result<(), BenchError> {
    let drawn = || -> Drawn {
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let root = root.titled(chart.title, (FONT, 19))?;
        let (area, legend) = root.split_horizontally(SIZE.0 - LEGEND);
        body(&area)?;
        draw_legend(&legend, chart)?;
        root.present()?;
        Ok(())
    };
    drawn().map_err(|error| unplotted(path, &error))
}

fn unplotted(path: &Path, reason: &dyn Display) -> BenchError {
    BenchError::Plot { path: path.into(), reason: reason.to_string() }
}

fn draw_legend(area: &Area, chart: &Chart) -> Drawn {
    for (number, ((name, _), color)) in chart.series.iter().zip(COLORS.iter().cycle()).enumerate() {
        let y = 30 + 24 * i32::try_from(number)?;
        area.draw(&Rectangle::new([(4, y - 6), (18, y + 6)], color.filled()))?;
        let style = (FONT, 14).into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(name.clone(), (26, y), style))?;
    }
    Ok(())
}

fn draw_lines(area: &Area, chart: &Chart, vertical: Axis) -> Drawn {
    let mut plot = ChartBuilder::on(area)
        .margin(14)
        .x_label_area_size(34)
        .y_label_area_size(62)
        .build_cartesian_2d(chart.horizontal(), vertical)?;
    plot.configure_mesh()
        .light_line_style(TRANSPARENT)
        .y_desc(chart.axis)
        .label_style((FONT, 14))
        .x_label_formatter(&|place| chart.label(*place))
        .y_label_formatter(&|value| table::number(*value))
        .draw()?;
    for ((_, values), color) in chart.series.iter().zip(COLORS.iter().cycle()) {
        let points: Vec<(f64, f64)> = values
            .iter()
            .enumerate()
            .filter_map(|(number, value)| Some((middle(number), (*value)?)))
            .collect();
        plot.draw_series(LineSeries::new(points.clone(), color.stroke_width(2)))?;
        plot.draw_series(points.into_iter().map(|point| Circle::new(point, 4, color.filled())))?;
    }
    Ok(())
}

fn draw_bars(area: &Area, chart: &Chart, vertical: Axis) -> Drawn {
    let mut plot = ChartBuilder::on(area)
        .margin(14)
        .x_label_area_size(34)
        .y_label_area_size(62)
        .build_cartesian_2d(chart.horizontal(), vertical)?;
    plot.configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .y_desc(chart.axis)
        .label_style((FONT, 14))
        .x_label_formatter(&|place| chart.label(*place))
        .y_label_formatter(&|value| table::number(*value))
        .draw()?;
    let width = 0.8 / (middle(chart.series.len()) - 0.5);
    for (position, ((_, values), color)) in chart.series.iter().zip(COLORS.iter().cycle()).enumerate() {
        for (number, value) in values.iter().enumerate() {
            let Some(value) = *value else { continue };
            let left = middle(number) - 0.4 + width * (middle(position) - 0.5);
            let corners = [(left, 0.0), (left + width * 0.92, value)];
            plot.draw_series([Rectangle::new(corners, color.filled())])?;
            let below = if value < 0.0 { VPos::Top } else { VPos::Bottom };
            let style = (FONT, 12).into_text_style(area).pos(Pos::new(HPos::Center, below));
            let place = (left + width * 0.46, value);
            plot.draw_series([Text::new(table::number(value), place, style)])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart<'static> {
        Chart {
            title: "Title & more",
            axis: "Mpps",
            labels: vec!["first".into(), "second".into()],
            series: vec![("one".into(), vec![Some(1.25), Some(40.0)]), ("two".into(), vec![None, Some(7.5)])],
        }
    }

    fn drawn(draw: impl FnOnce(&Path) -> Result<(), BenchError>) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plot.svg");
        draw(&path).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn plots_show_names_labels_and_values() {
        let bars = drawn(|path| bars(path, &chart()));
        for text in ["Title &amp; more", "Mpps", "first", "second", "one", "two", "1.25", "40.0", "7.50"] {
            assert!(bars.contains(text), "{text} is missing in {bars}");
        }
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let lines = drawn(|path| lines(path, &chart(), scale));
            assert!(lines.contains("second") && lines.matches("<circle").count() == 3, "{lines}");
        }
    }

    #[test]
    fn a_logarithmic_axis_encloses_the_values() {
        assert_eq!(Axis::logarithmic(1.5, 40.0).marks, [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(Axis::logarithmic(2.0, 2.0).marks, [2.0, 5.0]);
        let axis = Axis::logarithmic(1.0, 100.0);
        assert_eq!(
            (axis.map(&1.0, (0, 200)), axis.map(&10.0, (0, 200)), axis.map(&100.0, (0, 200))),
            (0, 100, 200)
        );
    }

    #[test]
    fn an_even_axis_has_a_few_round_marks() {
        assert_eq!(Axis::even(0.0, 7.3).marks, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(Axis::even(-3.0, 12.0).marks, [-2.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
        assert_eq!(Axis::even(0.0, 0.0).marks.len(), 6);
    }

    #[test]
    fn a_plot_that_cannot_be_written_is_named() {
        let refused = bars(Path::new("/nonexistent/plot.svg"), &chart()).unwrap_err();
        assert!(refused.to_string().contains("/nonexistent/plot.svg"), "{refused}");
    }
}
