//! One page of metrics, in either of the formats that Prometheus asks for.
//!
//! Why not the `metrics` crate with its exporter: each worker has its counts in cells of its own, and a registry would hold
//! them a second time; and the exporter knows no OpenMetrics. What is left of such a crate is this file.

use std::fmt::Write;

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The better of the two for what a client accepts, the value of its `Accept`.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let quality = |wanted: &str| {
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_wanted = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(wanted));
                let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
                is_wanted.then_some(quality.unwrap_or(1.0))
            });
            ranges.fold(0.0, f32::max)
        };
        let open = quality("application/openmetrics-text");
        if open > 0.0 && open >= quality("text/plain") { Self::OpenMetrics } else { Self::Text }
    }

    /// The `Content-Type` of such a page.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Info,
}

/// Labels of a sample.
pub(crate) type Labels<'l> = &'l [(&'l str, &'l str)];

/// A page that is being written. Samples go to the family that was begun last.
pub(crate) struct Page {
    format: Format,
    text: String,
    name: &'static str,
    suffix: &'static str,
}

impl Page {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, text: String::with_capacity(64 << 10), name: "", suffix: "" }
    }

    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// Begins a family. `name` comes without `borderline_` and without the ending of its kind (`_total`, `_info`).
    pub(crate) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let (word, suffix) = match (kind, self.format) {
            (Kind::Counter, _) => ("counter", "_total"),
            (Kind::Gauge, _) => ("gauge", ""),
            (Kind::Info, Format::OpenMetrics) => ("info", "_info"),
            (Kind::Info, Format::Text) => ("gauge", "_info"),
        };
        self.begin(name, word, suffix, help);
    }

    pub(crate) fn histogram(&mut self, name: &'static str, help: &str) {
        self.begin(name, "histogram", "", help);
    }

    fn begin(&mut self, name: &'static str, word: &str, suffix: &'static str, help: &str) {
        (self.name, self.suffix) = (name, suffix);
        // OpenMetrics names families without the endings of their samples.
        let ending = if self.format == Format::Text { suffix } else { "" };
        self.text.push_str("# HELP borderline_");
        self.text.push_str(name);
        self.text.push_str(ending);
        self.text.push(' ');
        escape(&mut self.text, help, self.format == Format::OpenMetrics);
        self.write(format_args!("\n# TYPE borderline_{name}{ending} {word}\n"));
        if self.format == Format::OpenMetrics
            && let Some(unit) = ["seconds", "bytes"].iter().find(|unit| name.ends_with(**unit))
        {
            self.write(format_args!("# UNIT borderline_{name} {unit}\n"));
        }
    }

    pub(crate) fn sample(&mut self, labels: Labels<'_>, value: u64) {
        self.head(self.suffix, labels, None);
        self.write(format_args!(" {value}\n"));
    }

    pub(crate) fn real(&mut self, labels: Labels<'_>, value: f64) {
        self.head(self.suffix, labels, None);
        self.write(format_args!(" {value}\n"));
    }

    /// A histogram's samples. `counts` has one more than `bounds`, and is not cumulated.
    pub(crate) fn buckets(&mut self, labels: Labels<'_>, bounds: &[f64], counts: &[u64], sum: f64) {
        let mut below = 0;
        let infinite = std::iter::once("+Inf".to_owned());
        let bounds = bounds.iter().map(|bound| format!("{bound:?}"));
        for (bound, count) in bounds.chain(infinite).zip(counts) {
            below += count;
            self.head("_bucket", labels, Some(&bound));
            self.write(format_args!(" {below}\n"));
        }
        self.head("_sum", labels, None);
        self.write(format_args!(" {sum}\n"));
        self.head("_count", labels, None);
        self.write(format_args!(" {below}\n"));
    }

    fn head(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>) {
        self.text.push_str("borderline_");
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        let mut mark = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            self.text.push(mark);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(&mut self.text, value, true);
            self.text.push('"');
            mark = ',';
        }
        if mark == ',' {
            self.text.push('}');
        }
    }

    fn write(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        self.text.write_fmt(arguments).ok();
    }
}

fn escape(text: &mut String, value: &str, quotes: bool) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes => text.push_str("\\\""),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_the_client_likes_best() {
        // What Prometheus 2.42 sends.
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
            version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for text in ["", "*/*", "text/plain", "text/plain, application/openmetrics-text;q=0.5"] {
            assert_eq!(Format::accepted(text), Format::Text, "{text}");
        }
        assert_eq!(Format::accepted("application/openmetrics-text; q=0"), Format::Text);
    }

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.family("odd_bytes", Kind::Counter, "A \"help\"\nwith \\.");
        page.sample(&[("port", "a\"b\\c\n")], 3);
        page.histogram("turn_seconds", "Turns.");
        page.buckets(&[], &[2.5e-7, 1.0], &[1, 0, 2], 0.5);
        page.family("build", Kind::Info, "Build.");
        page.sample(&[("version", "1")], 1);
        page.finish()
    }

    #[test]
    fn what_is_odd_is_escaped_and_buckets_are_cumulated() {
        let text = page(Format::Text);
        assert!(text.starts_with("# HELP borderline_odd_bytes_total A \"help\"\\nwith \\\\.\n"), "{text}");
        for line in [
            "# TYPE borderline_odd_bytes_total counter",
            "borderline_odd_bytes_total{port=\"a\\\"b\\\\c\\n\"} 3",
            "borderline_turn_seconds_bucket{le=\"2.5e-7\"} 1",
            "borderline_turn_seconds_bucket{le=\"1.0\"} 1",
            "borderline_turn_seconds_bucket{le=\"+Inf\"} 3",
            "borderline_turn_seconds_sum 0.5",
            "borderline_turn_seconds_count 3",
            "# TYPE borderline_build_info gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        let open = page(Format::OpenMetrics);
        for line in [
            "# HELP borderline_odd_bytes A \\\"help\\\"\\nwith \\\\.",
            "# UNIT borderline_odd_bytes bytes",
            "borderline_odd_bytes_total{port=\"a\\\"b\\\\c\\n\"} 3",
            "# TYPE borderline_build info",
            "borderline_build_info{version=\"1\"} 1",
        ] {
            assert!(open.lines().any(|found| found == line), "{line} in {open}");
        }
        assert!(open.ends_with("\n# EOF\n"));
    }
}
